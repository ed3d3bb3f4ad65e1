//! Native NVMe commands: what a device that is an NVMe namespace or controller takes beside block requests.
//!
//! A block request says what is wanted, and every device does it in its own way. A native command is the 64 bytes
//! themselves, of any command set: it travels to the device as it is, and what the device answers comes back as it is.
//!
//! ```text
//!   any thread, waits      Nvme::admin ─────────────────────────▶ admin queue
//!   a reactor, or a        Queue::command ──▶ I/O queue ──▶ Completions::native
//!   program with a ring    Queue::submit  ──▶ the same  ──▶ Completions::list      (block requests, in between)
//!   the same               Queue::command of a controller ──▶ admin queue ──▶ Completions::native
//! ```
//!
//! In a command the asker fills in opcode, NSID and the dwords 2, 3 and 10 to 15. The rest belongs to the path: it
//! sets identifier, PSDT and pointers, and refuses a fused command that it cannot carry.

use std::io;
use std::time::Duration;

use machine::region::{Buf, Bufs};
use wire::nvme::{Sqe, Status};

use crate::{Failure, Tag};

/// A native command for [`crate::Queue::command`].
pub struct Command {
    /// Matches the completion; unique among native commands and block requests together.
    pub tag: Tag,
    /// What is asked.
    pub sqe: Sqe,
    /// The data; its length is the transfer's, and a scatter list has 1 to [`MAX_PIECES`](crate::limits::MAX_PIECES)
    /// buffers. Which way it goes the opcode says ([`wire::nvme::opcode::Transfer`]).
    pub data: Bufs,
    /// Metadata that travels apart from the data. Where it is interleaved it is a part of `data`.
    pub metadata: Option<Buf>,
    /// How long the path may wait for the device; `None` is the path's own patience.
    pub timeout: Option<Duration>,
}

/// The end of a native command.
pub struct Completed {
    /// The command's tag.
    pub tag: Tag,
    /// Dwords 0 and 1 of the completion (the address of a zone append, for example), or why it failed: a device's own
    /// status is [`Failure::Device`], an error of this host [`Failure::Host`].
    pub outcome: Result<u64, Failure>,
    /// The data that came along.
    pub data: Bufs,
    /// The metadata that came along.
    pub metadata: Option<Buf>,
}

/// A native command that was not taken, as it was.
pub struct Untaken {
    /// The command.
    pub command: Command,
    /// Why.
    pub why: Why,
}

/// Why a native command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The queue is full; it is worth another try after the next poll.
    Full,
    /// The device has no native commands: it is no NVMe device, or not reached as one.
    NotNative,
}

/// The data of an admin command.
pub enum Transfer<'a> {
    /// None.
    None,
    /// From the controller.
    In(&'a mut [u8]),
    /// To the controller.
    Out(&'a [u8]),
}

/// Why an admin command failed.
#[derive(Debug, thiserror::Error)]
pub enum NvmeError {
    /// The controller's answer.
    #[error("the device answered \"{status}\"")]
    Status {
        /// The answer.
        status: Status,
        /// Dwords 0 and 1 of the completion.
        result: u64,
    },
    /// The way to the controller: the operating system, or the connection.
    #[error(transparent)]
    Host(#[from] io::Error),
}

/// A device as the NVMe namespace, or the mere controller, that it is.
pub trait Nvme: Send + Sync {
    /// The namespace; `None` for a controller without one.
    fn nsid(&self) -> Option<u32>;

    /// Carries out an admin command and waits for its end; dwords 0 and 1 of the completion. For control threads.
    ///
    /// # Errors
    /// [`NvmeError::Status`] is the controller's answer; after [`NvmeError::Host`] it is not known whether the
    /// controller has seen the command.
    fn admin(&self, sqe: Sqe, data: Transfer<'_>) -> Result<u64, NvmeError>;
}
