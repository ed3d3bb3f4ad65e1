//! Floor 1: the machine - memory, the operating system and the cores, as qpair sees them.
//!
//! - [`region`]: memory with a stated durability; buffers and slots are carved from it.
//! - [`ring`]: the operating system as a queue: sockets that are called directly and files that complete later.
//! - [`passthru`]: NVMe commands to the kernel's driver, by a ring of their own or one at a time.
//! - [`zoned`]: zoned block devices of the kernel: their zones.
//! - [`reactor`]: one pinned thread that polls its queues and sleeps when all of them are armed.
//!
//! All `unsafe` code of the project lives in this crate, each block with its reason. Floors above see safe types only.

mod buckets;
pub mod clock;
pub mod limits;
pub mod os;
pub mod passthru;
pub mod reactor;
pub mod region;
pub mod ring;
mod sync;
mod word;
pub mod zoned;

pub use buckets::Buckets;
pub use word::Word;
