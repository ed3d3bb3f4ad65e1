//! Which kind of ring: the operator's wish, what the system can do, and why the wish was not followed.

use std::fmt;
use std::io;
use std::str::FromStr;

use super::uring::Uring;

/// What does the work of a ring's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RingKind {
    /// `io_uring` where the kernel has it and the container allows it, else portable.
    #[default]
    Auto,
    /// `io_uring`, or no ring at all.
    Uring,
    /// Worker threads.
    Portable,
}

impl RingKind {
    /// What this wish amounts to here. Tries it out, with a ring that is thrown away.
    ///
    /// # Errors
    /// [`Self::Uring`] is asked for, and there is none to be had: why, and what to do about it.
    pub fn choose(self) -> Result<RingChoice, NoUring> {
        self.make().map(|(choice, _)| choice)
    }

    /// The kernel's part of a ring, if that is the choice.
    pub(super) fn make(self) -> Result<(RingChoice, Option<Uring>), NoUring> {
        let (reason, uring) = match self {
            Self::Portable => (None, None),
            Self::Uring => (None, Some(Uring::new()?)),
            Self::Auto => match Uring::new() {
                Ok(uring) => (None, Some(uring)),
                Err(reason) => (Some(reason), None),
            },
        };
        let kind = if uring.is_some() { Self::Uring } else { Self::Portable };
        Ok((RingChoice { kind, reason }, uring))
    }

    /// The word that a command line has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
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
        let kinds = [Self::Auto, Self::Uring, Self::Portable];
        let found = kinds.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| "there are auto, uring and portable".to_owned())
    }
}

/// What became of a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingChoice {
    /// [`RingKind::Uring`] or [`RingKind::Portable`].
    pub kind: RingKind,
    /// Why it is not `io_uring`, if that was not the wish.
    pub reason: Option<NoUring>,
}

impl fmt::Display for RingChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            None => write!(f, "{}", self.kind),
            Some(reason) => write!(f, "{}, because {}", self.kind, reason.why),
        }
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
