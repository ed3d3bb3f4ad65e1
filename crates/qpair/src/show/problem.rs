//! Why there is no answer, and whose fault it is.

use std::io;
use std::process::ExitCode;

use block::{NvmeError, OpenError};
use describe::{Object, Short};
use wire::nvme::Status;

/// Examples of a command, for its help, and the exit codes behind them.
macro_rules! help {
    ($examples:literal) => {
        concat!(
            $examples,
            "\n\nExit codes:\n",
            "  0  the device answered\n",
            "  1  an error of this host: the device cannot be opened or reached\n",
            "  2  the command line is wrong\n",
            "  3  the device answered with an error status\n",
            "  4  it is not reached as an NVMe device, or its answer cannot be what was asked for"
        )
    };
}
pub(super) use help;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(
        "{device}: not reached as an NVMe device\n  Name one that is, for example /dev/ng0n1, /dev/nvme0, on Windows \
         \\\\.\\PhysicalDrive1, or nvme-tcp://HOST:PORT/NQN?ns=1."
    )]
    NotNvme { device: String },
    #[error("{what}: {}", words(*.status))]
    Status { what: String, status: Status, result: u64 },
    #[error("{what}: {source}{}", doubt(.source))]
    Host { what: String, source: io::Error },
    #[error("{what}: {why}")]
    Answer { what: String, why: String },
    #[error("{0}")]
    Usage(String),
}

impl Problem {
    /// That of an admin command called `what`.
    pub(super) fn of(what: &str, error: NvmeError) -> Self {
        let what = what.to_owned();
        match error {
            NvmeError::Status { status, result } => Self::Status { what, status, result },
            NvmeError::Host(source) => Self::Host { what, source },
        }
    }

    /// That of an answer that is too short to be one.
    pub(super) fn short(what: &str, short: Short) -> Self {
        Self::Answer { what: what.to_owned(), why: short.to_string() }
    }

    /// See [`help`].
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Open(_) | Self::Host { .. } => 1,
            Self::Usage(_) => 2,
            Self::Status { .. } => 3,
            Self::NotNvme { .. } | Self::Answer { .. } => 4,
        })
    }

    /// For programs. The keys `error`, `type` and `value` are those of nvme-cli; `value` has its number of a status,
    /// and `errno` is the operating system's, where it had a word.
    pub(super) fn object(&self) -> Object {
        let mut object = Object::page();
        let text = self.to_string();
        object.text("error", text.lines().next().unwrap_or_default());
        match self {
            Self::Status { status, result, .. } => {
                object.text("type", "nvme");
                object.hex("value", status.to_field() >> 1);
                object.hex("sct", status.sct);
                object.hex("sc", status.sc);
                object.flag("dnr", status.dnr);
                object.flag("more", status.more);
                object.hex("result", *result);
            }
            Self::Open(OpenError { source: Some(source), .. }) | Self::Host { source, .. } => {
                object.text("type", "host");
                if let Some(errno) = source.raw_os_error() {
                    object.number("errno", errno.unsigned_abs());
                }
            }
            Self::Open(_) | Self::NotNvme { .. } | Self::Answer { .. } | Self::Usage(_) => {
                object.text("type", "host");
            }
        }
        object
    }
}

/// What nobody knows after an error of this host, unless it was one of not even trying.
fn doubt(source: &io::Error) -> &'static str {
    match machine::os::kind(source) {
        // The system refused it, and not the part of this program that knows what the system refuses.
        io::ErrorKind::Unsupported if source.raw_os_error().is_some() => {
            "\n  Its driver does not take this. It may be no NVMe drive: `qpair list` tells."
        }
        io::ErrorKind::Unsupported => "",
        _ => "\n  It is not known whether the device has seen the command.",
    }
}

/// A status with all its parts.
fn words(status: Status) -> String {
    let name = status.name().unwrap_or("a status without a name here");
    let retry = if status.dnr { "do not retry (DNR)" } else { "may be retried" };
    let more = if status.more { ", more in the error log (M): `qpair log error`" } else { "" };
    format!(
        "the device answered \"{name}\"\n  status code type {:x}h, status code {:02x}h, {retry}{more}",
        status.sct, status.sc
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_devices_and_of_hosts_are_told_apart() {
        let status = Status::INVALID_FIELD.with_dnr().with_more();
        let device = Problem::of("Identify", NvmeError::Status { status, result: 7 });
        assert_eq!(
            device.to_string(),
            "Identify: the device answered \"Invalid Field in Command\"\n  status code type 0h, status code 02h, do \
             not retry (DNR), more in the error log (M): `qpair log error`"
        );
        let json = serde_json::to_string(&device.object()).expect("a tree");
        assert!(
            json.contains("\"type\":\"nvme\",\"value\":24578,\"sct\":0,\"sc\":2,\"dnr\":true,\"more\":true"),
            "{json}"
        );
        let host = Problem::of("Identify", NvmeError::Host(io::Error::from_raw_os_error(5)));
        let json = serde_json::to_string(&host.object()).expect("a tree");
        assert!(json.contains("\"type\":\"host\",\"errno\":5"), "{json}");
        assert!(device.exit_code() != host.exit_code());
        assert!(host.to_string().contains("not known whether"), "{host}");
        let never = Problem::of("Identify", NvmeError::Host(io::Error::new(io::ErrorKind::Unsupported, "not here")));
        assert_eq!(never.to_string(), "Identify: not here");
    }
}
