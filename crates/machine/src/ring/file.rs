//! File tasks as their owners see them: what is asked, and how it ended.

use std::io;

use super::RingFile;
use crate::os;
use crate::region::Bufs;

/// What a file task does. Offsets and lengths in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOp {
    /// Fills the buffers up to their lengths. A file that ends before gives `UnexpectedEof`.
    Read {
        /// Where in the file.
        offset: u64,
    },
    /// Writes all bytes of the buffers.
    Write {
        /// Where in the file.
        offset: u64,
        /// The data is durable when the task is done (`RWF_DSYNC`, else `fdatasync` after it).
        dsync: bool,
    },
    /// All data written before is durable when the task is done (`fdatasync`).
    Sync,
    /// The range reads as zeros afterwards. Never makes the file longer.
    Zero {
        /// Where in the file.
        offset: u64,
        /// How much.
        len: u64,
        /// The zeros are durable when the task is done.
        dsync: bool,
        /// Gives the space back where that can be done, rather than keeping it.
        deallocate: bool,
    },
    /// A hint that the range is not needed any more; where it is followed, the range reads as zeros afterwards. Done
    /// without an error also where the file system cannot do it.
    Deallocate {
        /// Where in the file.
        offset: u64,
        /// How much.
        len: u64,
    },
}

/// Something to be done with a file, off the reactor's thread.
pub struct FileTask {
    /// Matches the completion.
    pub tag: u64,
    /// The file ([`super::Ring::file`]); kept open until the task is done.
    pub file: RingFile,
    /// What to do.
    pub op: FileOp,
    /// The bytes of a read or a write, [`MAX_PIECES`](crate::limits::MAX_PIECES) buffers at most; aligned as the file
    /// asks for it, each piece by itself.
    pub bufs: Bufs,
}

/// The end of a file task.
pub struct FileDone {
    /// The task's tag.
    pub tag: u64,
    /// What was asked.
    pub op: FileOp,
    /// The task's buffers.
    pub bufs: Bufs,
    /// How it ended; errors of the operating system keep their number (`raw_os_error`).
    pub result: io::Result<()>,
}

impl FileDone {
    /// Whether it was ended by [`super::Ring::cancel_file`], without effect or with a part of its effect.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.result.as_ref().is_err_and(|error| error.raw_os_error() == Some(os::CANCELLED))
    }
}
