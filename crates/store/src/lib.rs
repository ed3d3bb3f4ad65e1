//! The store of a cache: items appended to segments, found by a hash table, forgotten by whole segments.
//!
//! ```text
//!   arena    | segment | segment | table | segment | free | segment | table | ...      equal pieces of one region
//!                 │         │                  │                │
//!   bucket of     └── 60 s ─┴── 60 s ──────────┘                └── never expires      chains, the oldest first
//!   time to live
//!   table    hash ──▶ bucket of 64 bytes ──▶ tag, frequency, segment, offset
//! ```
//!
//! A new item goes to the end of the open segment of those that live as long as it does. Nothing of an item is changed
//! where it lies: an overwrite is a new item, a delete takes its entry out of the table. So a segment is filled once,
//! in order, and is given back as a whole: when the last of its items has expired, or when room is needed. Then what
//! was asked for goes to where others of its chain have stayed before ([`Eviction`]).
//!
//! An item larger than a segment lies in a run of neighbouring segments, alone, so that its bytes are one slice.
//!
//! The table is made of the same pieces of memory. It grows bucket by bucket (linear hashing) with the items there are,
//! so that neither many small ones nor few large ones waste what is not theirs, and nothing ever stops to rehash.
//!
//! A store belongs to one thread. It has no clock: its caller says what time it is.
#![forbid(unsafe_code)]

mod ages;
mod chains;
mod check;
mod evict;
mod free;
mod heap;
mod item;
mod kept;
pub mod limits;
mod marks;
mod pins;
mod pool;
mod pooled;
mod random;
mod recover;
mod refit;
mod reserve;
mod run;
mod scan;
mod share;
mod slot;
mod standing;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod time;

pub use ages::Ages;
pub use evict::Eviction;
pub use item::Item;
pub use marks::Marks;
pub use pins::Loan;
pub use pool::{Found, Keep, Part, Pool, PoolError, Shape};
pub use recover::Recovered;
pub use refit::{Refitted, refit};
pub use reserve::{Joined, Reserved};
pub use scan::{CURSOR_BITS, Known};
pub use share::share;
pub use store::{Figures, NoRoom, Store, StoreOptions, TooLarge, Value};
pub use time::{Expiry, Time};
