//! Floor 2: block devices and their queues.
//!
//! A [`Device`] is the shared part that hardly changes: its size, its identity, what it can do. Each reactor opens one
//! [`Queue`] on it; requests go in, completions come out in any order, matched by a tag. Nothing is locked per I/O.
//!
//! | device | module | data |
//! |---|---|---|
//! | memory | [`ram`] | lent: reads point into the slot map |
//! | file or block device | [`mod@file`] | carried, aligned for direct I/O |
//! | nothing | [`null`] | reads give zeros, writes vanish |
//! | an NVMe/TCP namespace | [`nvme::tcp`] | carried |
//! | any of them, with faults | [`layers::fault`] | carried |
//!
//! [`pump`] moves bytes between a socket and a protocol's state machine; the NVMe/TCP host here and the target above
//! use it.
#![forbid(unsafe_code)]

mod admit;
mod bad_blocks;
mod device;
pub mod file;
pub mod identity;
pub mod layers;
pub mod limits;
mod live_size;
mod native;
pub mod null;
pub mod nvme;
mod open;
pub mod path;
pub mod pump;
mod queue;
pub mod ram;
pub mod size;
pub mod spec;

pub use device::{CopyLimits, Device, Features, Identity, Info, OpenError};
pub use native::{Command, Completed, Nvme, NvmeError, Transfer, Untaken, Why};
pub use open::{OpenOptions, open};
pub use queue::{Completion, Completions, Data, Failure, Op, Outcome, Queue, Range, Refused, Request, Returned, Tag};
