//! Which kind of ring: the operator's wish, what the system can do, and why the wish was not followed.

use std::fmt;
use std::io;
use std::str::FromStr;

use super::uring::Uring;

/// What does the work of a ring's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RingKind {
    /// `io_uring` where the kernel has it and the container allows it, a completion port on Windows, else portable.
    #[default]
    Auto,
    /// `io_uring`, or no ring at all.
    Uring,
    /// A completion port, which Windows has.
    Iocp,
    /// Worker threads.
    Portable,
}

impl RingKind {
    /// What this wish amounts to here. Tries it out, with a ring that is thrown away.
    ///
    /// # Errors
    /// One of the system is asked for, and there is none to be had: why, and what to do about it.
    pub fn choose(self) -> Result<RingChoice, NoRing> {
        self.make().map(|(choice, _)| choice)
    }

    /// The kernel's part of a ring, if that is the choice.
    pub(super) fn make(self) -> Result<(RingChoice, Option<Uring>), NoRing> {
        let (kind, reason, uring) = match self {
            Self::Portable => (self, None, None),
            Self::Uring => (self, None, Some(Uring::new()?)),
            Self::Iocp | Self::Auto if cfg!(windows) => (Self::Iocp, None, None),
            Self::Iocp => return Err(NoRing::no_port()),
            Self::Auto => match Uring::new() {
                Ok(uring) => (Self::Uring, None, Some(uring)),
                Err(reason) => (Self::Portable, Some(reason.into()), None),
            },
        };
        Ok((RingChoice { kind, reason }, uring))
    }

    /// The same wish of those who have sockets and no files, which is all that `io_uring` would do here: left to us,
    /// it is a completion port or, on Linux, a ring without it.
    #[must_use]
    pub fn of_sockets(self) -> Self {
        match self {
            Self::Auto if cfg!(windows) => Self::Iocp,
            Self::Auto => Self::Portable,
            wish => wish,
        }
    }

    /// The word that a command line has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::Iocp => "iocp",
            Self::Portable => "portable",
        }
    }
}

impl fmt::Display for RingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for RingKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kinds = [Self::Auto, Self::Uring, Self::Iocp, Self::Portable];
        let found = kinds.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| "there are auto, uring, iocp and portable".to_owned())
    }
}

/// What became of a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingChoice {
    /// Any but [`RingKind::Auto`].
    pub kind: RingKind,
    /// Why it is portable, if that was not the wish.
    pub reason: Option<NoRing>,
}

impl fmt::Display for RingChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            None => write!(f, "{}", self.kind),
            Some(reason) => write!(f, "{}, because {}", self.kind, reason.why),
        }
    }
}

/// Why a ring of some kind is not to be had here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRing {
    /// What it would have been made of.
    pub what: &'static str,
    /// The end of a sentence.
    pub why: String,
    /// What the operator can do about it: sentences.
    pub hint: String,
}

impl NoRing {
    fn no_port() -> Self {
        let why = "this system is not Windows".to_owned();
        Self { what: "a completion port", why, hint: "--ring auto takes the best that there is.".to_owned() }
    }
}

impl fmt::Display for NoRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not available: {}\n  {}", self.what, self.why, self.hint)
    }
}

impl std::error::Error for NoRing {}

impl From<NoUring> for NoRing {
    fn from(NoUring { why, hint }: NoUring) -> Self {
        Self { what: "io_uring", why, hint }
    }
}

impl From<NoRing> for io::Error {
    fn from(reason: NoRing) -> Self {
        Self::new(io::ErrorKind::Unsupported, reason)
    }
}

/// Why there is no `io_uring` here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoUring {
    /// The end of a sentence.
    pub why: String,
    /// What the operator can do about it: sentences.
    pub hint: String,
}

impl fmt::Display for NoUring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "io_uring is not available: {}\n  {}", self.why, self.hint)
    }
}

impl std::error::Error for NoUring {}

impl From<NoUring> for io::Error {
    fn from(reason: NoUring) -> Self {
        Self::new(io::ErrorKind::Unsupported, reason)
    }
}
