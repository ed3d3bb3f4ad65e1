//! Why a verb did not do what it was asked for, and whose fault it is.

use std::io;
use std::process::ExitCode;

use block::{Failure, OpenError};

use crate::signals::EXIT_INTERRUPTED;

/// Examples of a verb, for its help, and the exit codes behind them.
macro_rules! help {
    ($examples:literal) => {
        concat!(
            $examples,
            "\n\nExit codes:\n",
            "  0    done\n",
            "  1    an error of this host: a device cannot be opened or reached, a file cannot be read or written\n",
            "  2    the command line is wrong, or what it asks for is refused before anything is done\n",
            "  3    the device answered with an error status\n",
            "  4    the device cannot do this, or has other blocks than were written\n",
            "  130  stopped by Ctrl-C"
        )
    };
}
pub(crate) use help;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What is asked for makes no sense, or is refused: nothing was done.
    #[error("{why}\n  {hint}")]
    Refused { why: String, hint: String },
    /// The device cannot do what is asked for: nothing was done.
    #[error("{why}\n  {hint}")]
    Unable { why: String, hint: String },
    /// A request failed.
    #[error("cannot {what}: {failure}")]
    Failed { what: String, failure: Failure },
    /// Something of this host failed.
    #[error("cannot {what}: {source}")]
    Host { what: String, source: io::Error },
    /// A device has other blocks than it should have.
    #[error("{0}")]
    Differs(String),
    #[error("stopped")]
    Stopped,
    /// Any of these, and how far it got.
    #[error("{trouble}\n  {so_far}")]
    After { trouble: Box<Trouble>, so_far: String },
}

impl Trouble {
    pub(crate) fn usage(why: String, hint: String) -> Self {
        Self::Refused { why, hint }
    }

    pub(crate) fn host(what: &str, source: io::Error) -> Self {
        Self::Host { what: what.to_owned(), source }
    }

    /// The same, with a sentence about what was done before it.
    pub(crate) fn after(self, so_far: String) -> Self {
        Self::After { trouble: Box::new(self), so_far }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Open(_) | Self::Host { .. } => 1,
            Self::Refused { .. } => 2,
            Self::Failed { failure, .. } => match failure {
                Failure::Device(_) => 3,
                Failure::NotSupported | Failure::BadTransfer | Failure::Miscompare | Failure::ReadOnly => 4,
                _ => 1,
            },
            Self::Differs(_) | Self::Unable { .. } => 4,
            Self::Stopped => EXIT_INTERRUPTED,
            Self::After { trouble, .. } => trouble.code(),
        }
    }
}

/// Says what went wrong, if anything did, and ends with its exit code.
pub(crate) fn conclude(result: Result<(), Trouble>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("qpair: {trouble}");
            ExitCode::from(trouble.code())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::nvme::Status;

    #[test]
    fn errors_of_devices_and_of_hosts_are_told_apart() {
        let failed = |failure| Trouble::Failed { what: "write blocks 0 to 7".to_owned(), failure };
        let status = failed(Failure::Device(Status::INVALID_FIELD.with_dnr()));
        let text = status.to_string();
        assert!(text.contains("blocks 0 to 7: the device answered \"Invalid Field in Command (0h/02h"), "{text}");
        let full = failed(Failure::Host(28)).after("Nothing was written.".to_owned());
        assert!(full.to_string().ends_with("\n  Nothing was written."), "{full}");
        assert_eq!((status.code(), full.code(), failed(Failure::NotSupported).code()), (3, 1, 4));
    }
}
