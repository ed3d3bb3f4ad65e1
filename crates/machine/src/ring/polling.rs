//! What of a file's requests is polled for: see [`super::Ring::file_polled`].
//!
//! ```text
//!                  requests                                    completions
//!   (neither)      one io_uring_enter a pass                   the kernel says so; nobody waits awake
//!   iopoll         one io_uring_enter a pass                   that same call asks the device; whoever waits spins
//!   sqpoll         a thread of the kernel sees them            the kernel says so
//!   both           a thread of the kernel sees them            that thread asks the device; whoever waits spins
//! ```
//!
//! Each combination is a ring of the kernel of its own beside the ordinary one, made for the first file that asks for
//! it. A ring for `iopoll` takes reads and writes only, and only of files with direct I/O. What changes files in other
//! ways, and writes that are to be durable, which are a flush as well on many devices, go by the ordinary one.

use std::fmt;

/// What of a path through `io_uring` looks all the time, instead of being told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Polling {
    /// For completions (`IOPOLL`): the device raises no interrupt, and whoever waits for it spins. The driver needs
    /// queues for that.
    pub iopoll: bool,
    /// For requests (`SQPOLL`): a thread of the kernel takes them, and asking is no system call.
    pub sqpoll: bool,
}

impl Polling {
    /// Whether anything is polled.
    #[must_use]
    pub fn any(self) -> bool {
        self.iopoll || self.sqpoll
    }
}

impl fmt::Display for Polling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.iopoll, self.sqpoll) {
            (false, false) => "no polling",
            (true, false) => "iopoll",
            (false, true) => "sqpoll",
            (true, true) => "iopoll and sqpoll",
        })
    }
}
