//! Which engine carries out the tasks of a file: a choice for each file, whatever kind of ring it is registered with.
//!
//! ```text
//!   uring     the kernel's queues         done by the kernel; nothing blocks the ring's thread
//!   iocp      overlapped calls            done by the system (Windows); nothing blocks the ring's thread, but for
//!                                         what the system has to wait for itself: a file that becomes longer
//!   aio       the kernel's older AIO      done by the kernel for direct I/O; through the page cache it BLOCKS
//!   threads   a few worker threads        done by pread, pwrite, ... elsewhere; nothing blocks the ring's thread
//!   sync      the call itself             done when the task is submitted: BLOCKS the ring's thread until the medium
//!                                         has answered, and everything else on that thread waits
//! ```
//!
//! The first of them may poll ([`super::Polling`]). All have one surface, [`super::FileTask`] and [`super::FileDone`],
//! and keep the same promises about buffers.

use std::fmt;
use std::io;
use std::str::FromStr;

use super::NoUring;
use super::aio::Aio;
use super::uring::Uring;

/// What carries out the tasks of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileEngine {
    /// `io_uring`.
    Uring,
    /// Overlapped calls, whose ends come through the ring's completion port.
    Iocp,
    /// Worker threads.
    Threads,
    /// Linux' native AIO.
    Aio,
    /// The thread that submits, which waits for the medium.
    Sync,
}

impl FileEngine {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Uring, Self::Iocp, Self::Threads, Self::Aio, Self::Sync];

    /// Whether it can be had here. Tries it out and throws it away.
    ///
    /// # Errors
    /// Why not, and what to do about it.
    pub fn check(self) -> Result<(), NoEngine> {
        match self {
            Self::Uring => Ok(Uring::new().map(drop)?),
            Self::Aio => Aio::new().map(drop),
            Self::Iocp if cfg!(windows) => Ok(()),
            Self::Iocp => Err(NoEngine::no_port("this system is not Windows")),
            Self::Threads | Self::Sync => Ok(()),
        }
    }

    /// The word that a command line has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Iocp => "iocp",
            Self::Threads => "threads",
            Self::Aio => "aio",
            Self::Sync => "sync",
        }
    }
}

impl fmt::Display for FileEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FileEngine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|engine| engine.name() == text);
        found.ok_or_else(|| "there are uring, iocp, threads, aio and sync".to_owned())
    }
}

/// Why an engine is not to be had here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoEngine {
    /// Which one.
    pub engine: FileEngine,
    /// The end of a sentence.
    pub why: String,
    /// What the operator can do about it: sentences.
    pub hint: String,
}

impl NoEngine {
    pub(super) fn no_port(why: impl fmt::Display) -> Self {
        let hint = "The paths threads and sync do without it.".to_owned();
        Self { engine: FileEngine::Iocp, why: why.to_string(), hint }
    }
}

impl fmt::Display for NoEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not available: {}\n  {}", self.engine, self.why, self.hint)
    }
}

impl std::error::Error for NoEngine {}

impl From<NoUring> for NoEngine {
    fn from(NoUring { why, hint }: NoUring) -> Self {
        Self { engine: FileEngine::Uring, why, hint }
    }
}

impl From<NoEngine> for io::Error {
    fn from(reason: NoEngine) -> Self {
        Self::new(io::ErrorKind::Unsupported, reason)
    }
}
