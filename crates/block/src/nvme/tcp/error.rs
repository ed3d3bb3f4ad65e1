//! What can go wrong on the control path, and what a person can do about it.

use std::io;
use std::time::Duration;

use wire::nvme::{InvalidParameter, Status};

use super::uri::Uri;
use crate::{NvmeError, OpenError};

/// Why an admin command, or a step of a connect, failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The operating system's word.
    #[error("{step}: {source}")]
    Io {
        /// What was done.
        step: &'static str,
        /// The error.
        source: io::Error,
    },
    /// No answer in time.
    #[error("{step}: no answer within {limit:?}")]
    TimedOut {
        /// What was done.
        step: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// The target closed the connection.
    #[error("{step}: the target closed the connection")]
    Closed {
        /// What was done.
        step: &'static str,
    },
    /// The peer broke the protocol, or does what this host cannot work with.
    #[error("{step}: {what}")]
    Protocol {
        /// What was done.
        step: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The target answered with an error.
    #[error("{step}: the target answered \"{status}\"{}", detail(*.result))]
    Status {
        /// What was done.
        step: &'static str,
        /// The answer.
        status: Status,
        /// Dwords 0 and 1 of the completion.
        result: u64,
    },
    /// The association ended earlier.
    #[error("the connection to the target is lost")]
    Broken,
}

impl AdminError {
    pub(super) fn protocol(step: &'static str, what: impl Into<String>) -> Self {
        Self::Protocol { step, what: what.into() }
    }

    /// Whether the connection can still be used: the target answered, if only with an error.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Status { .. })
    }

    /// The error as a device's opener shows it.
    pub(super) fn at(self, uri: &Uri) -> OpenError {
        let hint = self.hint(uri);
        let why = self.to_string();
        let source = if let Self::Io { source, .. } = self { Some(source) } else { None };
        OpenError { device: uri.to_string(), why, hint, source }
    }

    fn hint(&self, uri: &Uri) -> String {
        let (host, port, nqn) = (&uri.host, uri.port, &uri.subnqn);
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused => {
                format!("Nothing listens on {host} port {port}: check that the target runs, and the address.")
            }
            Self::Io { step: STEP_RESOLVE, .. } => format!("Check the name {host}, or write an address."),
            Self::Io { .. } => format!("Check that {host} can be reached from here."),
            Self::TimedOut { step: STEP_TCP, .. } => {
                format!("Check that {host} can be reached and that no firewall drops port {port}.")
            }
            Self::TimedOut { .. } | Self::Closed { .. } => {
                format!(
                    "Check that port {port} of {host} is an NVMe/TCP port without TLS, and look at the target's log."
                )
            }
            Self::Status { status, result, .. } => status_hint(*status, *result, uri),
            Self::Protocol { .. } => format!("This host cannot work with the target that serves {nqn}."),
            Self::Broken => "Connect again.".to_owned(),
        }
    }

    /// As whoever has asked for an admin command sees it.
    pub(super) fn answered(self) -> NvmeError {
        match self {
            Self::Status { status, result, .. } => NvmeError::Status { status, result },
            other => NvmeError::Host(other.into_io()),
        }
    }

    pub(super) fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::Io { source, .. } => source.kind(),
            Self::TimedOut { .. } => io::ErrorKind::TimedOut,
            Self::Closed { .. } | Self::Broken => io::ErrorKind::ConnectionAborted,
            Self::Protocol { .. } => io::ErrorKind::InvalidData,
            Self::Status { .. } => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }
}

pub(super) const STEP_RESOLVE: &str = "resolve the name";
pub(super) const STEP_TCP: &str = "connect by TCP";

fn detail(result: u64) -> String {
    if result == 0 { String::new() } else { format!(" (result {result:#x})") }
}

/// Connect Invalid Parameters says where the bad field is: see [`InvalidParameter`].
fn status_hint(status: Status, result: u64, uri: &Uri) -> String {
    if status.same_code(Status::CONNECT_INVALID_HOST) {
        let host = &uri.hostnqn;
        return format!("The target does not allow this host: add {host} to its allowed hosts, or set hostnqn=.");
    }
    if status.same_code(Status::CONNECT_INVALID_PARAMETERS) {
        return match InvalidParameter::from_result(result) {
            InvalidParameter::SUBNQN => {
                format!("The target has no subsystem {}: check the NQN, or discover it.", uri.subnqn)
            }
            InvalidParameter::HOSTNQN => format!("The target does not accept the host NQN {}.", uri.hostnqn),
            InvalidParameter { ipo, in_data: true } => {
                format!("The target does not accept byte {ipo} of the Connect data.")
            }
            InvalidParameter { ipo, .. } => format!("The target does not accept byte {ipo} of the Connect command."),
        };
    }
    if status.same_code(Status::CONNECT_CONTROLLER_BUSY) {
        return "The target has no room for another controller or queue: try again later.".to_owned();
    }
    "Look at the target's log.".to_owned()
}
