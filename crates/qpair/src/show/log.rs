//! `qpair log`: log pages, by name or number, whole or in part.

use std::error::Error;
use std::process::ExitCode;

use block::size::parse_size;
use block::spec::nearest;
use describe::log::{self, Length, Log};
use wire::nvme::ana::AnaLog;
use wire::nvme::discovery::{DiscoveryLogEntry, DiscoveryLogHeader};
use wire::nvme::identify::cns;
use wire::nvme::{IdentifyController, NSID_ALL, lid};
use zerocopy::FromBytes;

use super::ask::{Asked, Part};
use super::number::{number, number8, number16};
use super::problem::{Problem, help};
use super::{Answer, Common};

/// Most bytes of a log that are read.
const MOST_BYTES: u64 = 64 << 20;
/// Logs of unknown length are read in pieces of so many bytes.
const PIECE_BYTES: u64 = 4096;
/// Bytes of the header of a log that states its length.
const STATED_BYTES: u64 = 16;
/// Bytes of a log whose length nobody says.
const UNKNOWN_BYTES: u64 = 512;

const HELP: &str = help!(
    "\
Examples:
  qpair log smart \"nvme-tcp://127.0.0.1:4420/NQN?ns=1\"
  qpair log error \"nvme-tcp://127.0.0.1:4420/NQN?ns=1\" -o json | jq '.errors[0]'
  qpair log smart \\\\.\\PhysicalDrive1                  a drive of Windows, as an administrator
  qpair log discovery nvme-tcp://127.0.0.1:4420           the subsystems of a target, as its discovery controller says
  qpair log telemetry-host --len 64KiB --raw /dev/nvme0 > telemetry.bin
  qpair log 0xc0 --len 4096 --raw \"nvme-tcp://127.0.0.1:4420/NQN?ns=1\" > vendor.bin

Names: supported-logs, error, smart, firmware, changed-ns, effects, self-test, telemetry-host, telemetry-controller,
endurance, latency, ana, persistent, lba-status, feature-effects, mi-effects, boot-partition, discovery, reservation,
sanitize, changed-zones; those of nvme-cli are taken too (smart-log). Of persistent events (--lsp 1 makes a log of
them, 2 ends it) and boot partitions the header is shown; --len and --raw have the rest. Which of them the device has,
supported-logs tells. Keys and values of JSON and YAML are those of `nvme smart-log -o json` and its like."
);

/// Show a log page of an NVMe device
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = HELP)]
pub(crate) struct Args {
    /// The log: a name, or a number (LID) such as 0xc0
    #[arg(value_name = "NAME|ID", value_parser = which)]
    log: u8,

    /// Show the bytes from here on, a multiple of 4, instead of the fields
    #[arg(long, value_name = "BYTES", value_parser = number)]
    offset: Option<u64>,

    /// Read so many bytes, a multiple of 4
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    len: Option<u64>,

    /// Log specific parameter, 0 to 127
    #[arg(long, value_name = "N", default_value = "0", value_parser = number8)]
    lsp: u8,

    /// Log specific identifier: the endurance group, for example
    #[arg(long, value_name = "N", default_value = "0", value_parser = number16)]
    lsi: u16,

    /// I/O command set: 0 NVM, 2 zoned namespaces
    #[arg(long, value_name = "N", default_value = "0", value_parser = number8)]
    csi: u8,

    /// Let the reading clear the event that announced the log: the device may then announce the next one
    #[arg(long)]
    clear_event: bool,

    #[command(flatten)]
    common: Common,
}

/// Reads the name or the number of a log.
fn which(text: &str) -> Result<u8, String> {
    if let Some(log) = log::by_name(text) {
        return Ok(log.lid);
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return number8(text);
    }
    let names: Vec<&str> = log::LOGS.iter().map(|log| log.name).collect();
    let like = nearest(text, &names).map(|name| format!("did you mean {name}? ")).unwrap_or_default();
    Err(format!("{like}the logs are {}, and numbers", names.join(", ")))
}

/// Runs the command.
///
/// # Errors
/// Standard output that cannot be written; the rest the exit code tells.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    super::run(&args.common, false, |asked| ask(args, asked))
}

fn ask(args: &Args, asked: &Asked) -> Result<Answer, Problem> {
    let known = log::by_lid(args.log);
    let what =
        known.map_or_else(|| format!("Get Log Page {:02x}h", args.log), |log| format!("Get Log Page ({})", log.title));
    let whole = args.offset.is_none() && args.len.is_none();
    let offset = args.offset.unwrap_or(0);
    let part = |offset, bytes| Part {
        lid: args.log,
        lsp: args.lsp,
        lsi: args.lsi,
        csi: args.csi,
        rae: !args.clear_event,
        nsid: namespace_of(args, asked),
        offset,
        bytes,
    };
    let bytes = match (args.len, known) {
        (Some(bytes), _) => bytes,
        (None, Some(log)) => {
            length(log, asked, |offset, bytes| asked.log(&what, part(offset, bytes)))?.saturating_sub(offset)
        }
        (None, None) => UNKNOWN_BYTES,
    };
    check(offset, bytes, args.lsp)?;
    let bytes = asked.log(&what, part(offset, bytes))?;
    let object = match known {
        Some(log) if whole => (log.describe)(&bytes).map_err(|short| Problem::short(&what, short))?,
        _ => log::raw(args.log, offset, &bytes),
    };
    Ok(Answer { bytes, object })
}

fn check(offset: u64, bytes: u64, lsp: u8) -> Result<(), Problem> {
    let usage = |text: String| Err(Problem::Usage(text));
    if !offset.is_multiple_of(4) || !bytes.is_multiple_of(4) || bytes == 0 {
        return usage(format!("logs are read in dwords\n  Offset {offset} and length {bytes} must be multiples of 4."));
    }
    if bytes > MOST_BYTES || offset.checked_add(bytes).is_none() {
        return usage(format!("{bytes} bytes from {offset} are too many\n  Read at most {MOST_BYTES} at once: --len."));
    }
    if lsp > 0x7f {
        return usage(format!("--lsp {lsp} has more than 7 bits"));
    }
    Ok(())
}

/// The namespace of the request: none for the controller's own logs, unless the command line has one.
fn namespace_of(args: &Args, asked: &Asked) -> u32 {
    match args.log {
        lid::CHANGED_ZONES | lid::RESERVATION_NOTIFICATION => asked.namespace().unwrap_or(NSID_ALL),
        _ => args.common.nsid.unwrap_or(NSID_ALL),
    }
}

/// How long a log is; `read` reads bytes of it from an offset on.
fn length(log: &Log, asked: &Asked, read: impl Fn(u64, u64) -> Result<Vec<u8>, Problem>) -> Result<u64, Problem> {
    let controller = || asked.identify("Identify Controller", cns::CONTROLLER, 0, 0);
    let id = |page: &[u8]| *IdentifyController::ref_from_bytes(page).expect("an Identify structure is one page");
    Ok(match log.length {
        Length::Bytes(bytes) => bytes.into(),
        Length::ErrorEntries(bytes) => u64::from(bytes) * (u64::from(id(&controller()?).elpe) + 1),
        Length::Groups => groups(read)?,
        Length::Stated => {
            let front = read(0, STATED_BYTES)?;
            let stated = u32::from_le_bytes(*front.first_chunk().expect("so many bytes were read"));
            u64::from(stated).next_multiple_of(4).clamp(STATED_BYTES, MOST_BYTES)
        }
        Length::Discovery => {
            let header = read(0, size_of::<DiscoveryLogHeader>() as u64)?;
            let (header, _) = DiscoveryLogHeader::ref_from_prefix(&header).expect("so many bytes were read");
            let entries = header.numrec.get().saturating_mul(size_of::<DiscoveryLogEntry>() as u64);
            entries.saturating_add(size_of::<DiscoveryLogHeader>() as u64).min(MOST_BYTES)
        }
    })
}

/// How long the log of groups is, in whole pieces: it is read until all groups are there.
fn groups(mut read: impl FnMut(u64, u64) -> Result<Vec<u8>, Problem>) -> Result<u64, Problem> {
    let mut log = Vec::new();
    loop {
        log.extend(read(log.len() as u64, PIECE_BYTES)?);
        let bytes = log.len() as u64;
        if bytes >= MOST_BYTES || AnaLog::new(&log).is_some_and(|log| log.is_whole()) {
            return Ok(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!((which("smart"), which("smart-log"), which("0xc0"), which("2")), (Ok(2), Ok(2), Ok(0xc0), Ok(2)));
        assert!(which("smrt").unwrap_err().starts_with("did you mean smart?"));
        assert!(which("256").is_err() && which("").is_err());
        for log in log::LOGS {
            assert!(HELP.contains(log.name), "{} is in the help", log.name);
        }
    }

    /// Nothing is read behind the piece in which the log ends: a device may refuse that.
    #[test]
    fn groups_are_read_until_all_are_there() {
        // 128 groups of one namespace each.
        let mut log = [&[0, 0, 0, 0, 0, 0, 0, 0, 128, 0, 0, 0, 0, 0, 0, 0][..], &[0; 128 * 36]].concat();
        (0..128).for_each(|group| log[16 + group * 36 + 4] = 1);
        log.resize(8192, 0);
        let mut asked = Vec::new();
        let bytes = groups(|offset, bytes| {
            asked.push(offset);
            Ok(log[offset as usize..][..bytes as usize].to_vec())
        });
        assert_eq!((bytes.expect("it ends"), asked), (8192, vec![0, 4096]));
        let endless = groups(|_, bytes| Ok(vec![0xff; bytes as usize]));
        assert_eq!(endless.expect("it ends"), MOST_BYTES);
    }

    #[test]
    fn only_dwords_and_not_too_many() {
        assert!(check(4, 8, 0).is_ok());
        for (offset, bytes, lsp) in
            [(2, 8, 0), (0, 6, 0), (0, 0, 0), (0, MOST_BYTES + 4, 0), (u64::MAX - 3, 8, 0), (0, 4, 128)]
        {
            assert!(check(offset, bytes, lsp).is_err(), "{offset} {bytes} {lsp}");
        }
    }
}
