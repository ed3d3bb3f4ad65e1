//! The ways to one device: by which calls of the operating system its commands travel.
//!
//! ```text
//!   NVMe namespace   /dev/ng0n1     uring-cmd  ioctl
//!   block device     /dev/nvme0n1   uring  iocp  threads  aio  sync
//!   regular file     disk.img       uring  iocp  threads  aio  sync
//!   Windows drive    \\.\Physic...  iocp  threads  sync  ioctl
//! ```
//!
//! A device picks one by what it is; `path=NAME` behind its name picks another. What is asked for is what is used: a
//! path that a device cannot go is an [`OpenError`], never another path instead.
//!
//! A path through `io_uring` may poll ([`Polling`]): shorter latencies for cores that never rest.

use std::fmt;
use std::str::FromStr;

use machine::ring::FileEngine;
pub use machine::ring::Polling;

use crate::OpenError;

/// A way to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// NVMe commands through an `io_uring` of their own: any command of a namespace, many at once.
    UringCmd,
    /// NVMe commands, one at a time, in calls that wait: for any kernel, and to compare.
    Ioctl,
    /// Reads and writes through the reactor's `io_uring`: files and block devices, many at once.
    Uring,
    /// Reads and writes by overlapped calls through the reactor's completion port: files on Windows, many at once.
    Iocp,
    /// Reads and writes by worker threads: many at once where there is neither.
    Threads,
    /// Reads and writes by Linux's older asynchronous calls, which wait where the page cache is used: to compare.
    Aio,
    /// Reads and writes, one at a time, in calls that wait: the least that can be done, to compare.
    Sync,
}

impl Path {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::UringCmd, Self::Ioctl, Self::Uring, Self::Iocp, Self::Threads, Self::Aio, Self::Sync];

    /// The word that a person has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UringCmd => "uring-cmd",
            Self::Ioctl => "ioctl",
            Self::Uring => "uring",
            Self::Iocp => "iocp",
            Self::Threads => "threads",
            Self::Aio => "aio",
            Self::Sync => "sync",
        }
    }

    /// Whether NVMe commands travel on it, rather than reads and writes of a file.
    #[must_use]
    pub fn is_native(self) -> bool {
        matches!(self, Self::UringCmd | Self::Ioctl)
    }

    /// Whether the thread that submits waits for the medium, and everything else on it with it: nothing for a reactor
    /// that serves others.
    #[must_use]
    pub fn waits(self) -> bool {
        matches!(self, Self::Ioctl | Self::Sync)
    }

    /// What carries out the tasks of a file on this way; `None`: it does not lead to files.
    pub(crate) fn engine(self) -> Option<FileEngine> {
        match self {
            Self::Uring => Some(FileEngine::Uring),
            Self::Iocp => Some(FileEngine::Iocp),
            Self::Threads => Some(FileEngine::Threads),
            Self::Aio => Some(FileEngine::Aio),
            Self::Sync => Some(FileEngine::Sync),
            Self::UringCmd | Self::Ioctl => None,
        }
    }

    /// The answer of a device that this way does not lead to. `needs` ends the sentence "it needs ...".
    pub(crate) fn refuse(self, device: &str, needs: &str, hint: &str) -> OpenError {
        let why = format!("the path {self} does not lead there: it needs {needs}");
        OpenError { device: device.to_owned(), why, hint: hint.to_owned(), source: None }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|path| path.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            let (last, others) = names.split_last().expect("there are some");
            format!("there is no path called `{text}`: there are {} and {last}", others.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_a_mistake_shows_all() {
        for path in Path::ALL {
            assert_eq!(path.to_string().parse(), Ok(path));
        }
        let error = "uring_cmd".parse::<Path>().expect_err("an underscore");
        for path in Path::ALL {
            assert!(error.contains(path.name()), "{error}");
        }
    }
}
