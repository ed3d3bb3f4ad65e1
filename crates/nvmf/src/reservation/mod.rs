//! Reservations: hosts that share a namespace agree who may read and write it (Base 2.0, Reservations).
//!
//! ```text
//!   command ──▶ Reservations::apply ──▶ Step { next, notices, fenced }         nothing has changed yet
//!                                         │
//!                 next.access() ──▶ every reactor: drain, check I/O by the new snapshot
//!                 record::encode ──▶ the sidecar, if they persist through power loss
//!                 notices ──▶ Notifications of the controllers of those hosts; then the command is answered
//! ```
//!
//! [`state`] decides and does no I/O: the state before, the host and the command give the state after, or the status
//! that refuses. [`access`] is what the data path asks. [`record`] is the state as bytes that survive a torn write,
//! [`store`] the file of them. [`notify`] is what a controller has to tell its host, [`report`] what Reservation
//! Report answers.
//!
//! [`keeper`] is the thread that does all this, [`desk`] the way to it.
//!
//! A host is who its host identifier says: 128 bits, brought by Connect. All its controllers share its registration.

pub mod access;
pub(crate) mod desk;
pub(crate) mod keeper;
pub mod notify;
pub mod record;
pub mod report;
pub mod state;
pub mod store;

pub use access::{Access, Group};
pub use desk::Desk;
pub use notify::Notifications;
pub use state::{Command, HostId, Notice, Refusal, Registrant, Reservations, Step};
pub use store::{Store, StoreError};

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
