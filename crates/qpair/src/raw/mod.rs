//! `qpair raw`: any NVMe command, as it is, and what the device answers, as it is.
//!
//! ```text
//!   --opcode, --nsid, --cdw2 ... ──▶ 64 bytes ─┬─ --admin ──▶ Device::nvme().admin ──▶ admin queue
//!   --in FILE ──▶ data, metadata ──────────────┴───────────▶ Channel::call_native ──▶ I/O queue
//!                                     status, two dwords, data and metadata ◀──┘
//! ```
//!
//! A drive of Windows is opened by the path `ioctl`; what Windows does not carry of either kind is refused with why.

mod command;
mod print;

use std::error::Error;
use std::fs;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use block::channel::{ChannelOptions, Native};
use block::nvme::kernel::is_drive;
use block::path::Path;
use block::size::parse_size;
use block::spec::Spec;
use block::{Channel, Device, Failure, NvmeError, OpenOptions, Transfer};
use machine::region::Buf;
use wire::nvme::opcode::Transfer as Direction;
use wire::nvme::{Sqe, Status};

use crate::data::guard::{self, Force};
use crate::data::trouble::{Trouble, conclude};
use crate::show::Format;
use command::Words;

/// Most bytes of data, and of metadata: more than any controller's largest transfer that is known of.
const MAX_BYTES: u64 = 16 << 20;

const EXAMPLES: &str = "\
The direction of the data is that of the opcode's lowest two bits, as the specification has it: 01b to the device, 10b
from it. Identifier, flags and pointers are set on the way. An opcode that may destroy something is refused on a block
device that is mounted, in use or partitioned, without --force. Windows carries a few admin commands, Read, Write,
Flush, Dataset Management and vendor specific commands to a drive (\\\\.\\PhysicalDrive1), and refuses others.

Examples:
  qpair raw DEVICE --admin --opcode 0x06 --cdw10 1 --data-len 4k              Identify Controller
  qpair raw DEVICE --opcode 0x02 --cdw10 8 --cdw12 7 --data-len 4k            read 8 blocks from 8
  qpair raw DEVICE --opcode 0x01 --cdw12 0 --in block.bin --dry-run           what would be sent
  qpair raw DEVICE --admin --opcode 0x02 --cdw10 0x007f0002 --data-len 512 --out smart.bin

Exit codes:
  0  the device answered with success
  1  an error of this host: the device cannot be opened or reached, a file cannot be read or written
  2  the command line is wrong, or what it asks for is refused before anything is sent
  3  the device answered with an error status
  4  the device takes no native commands on this path";

/// Send any NVMe command, admin or I/O
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// A device that takes native commands: nvme-tcp://HOST:PORT/NQN?ns=N, /dev/ng0n1; a few: \\.\PhysicalDrive1
    #[arg(value_name = "DEVICE")]
    device: String,

    #[command(flatten)]
    words: Words,

    /// To the admin queue, not to an I/O queue
    #[arg(long)]
    admin: bool,

    /// Bytes of data [default: those of --in]
    #[arg(long, value_name = "SIZE", value_parser = length)]
    data_len: Option<u64>,

    /// Take the data for the device from this file, or - for standard input
    #[arg(long, value_name = "FILE")]
    r#in: Option<String>,

    /// Write the data of the device to this file, or - for standard output, instead of showing it
    #[arg(long, value_name = "FILE")]
    out: Option<String>,

    /// Bytes of metadata apart from the data
    #[arg(long, value_name = "SIZE", value_parser = length, conflicts_with = "admin")]
    metadata_len: Option<u64>,

    /// Take the metadata from this file
    #[arg(long, value_name = "FILE", conflicts_with = "admin")]
    metadata_in: Option<String>,

    /// Write the metadata of the device to this file
    #[arg(long, value_name = "FILE", requires = "metadata_len")]
    metadata_out: Option<String>,

    /// Wait so long for the device [default: as long as the path does]
    #[arg(long, value_name = "MS", conflicts_with = "admin", value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: Option<u64>,

    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,

    #[command(flatten)]
    force: Force,
}

fn length(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        bytes if bytes > MAX_BYTES => {
            Err(format!("`{text}` is more than the {MAX_BYTES} bytes that one command may carry"))
        }
        bytes => Ok(bytes),
    }
}

/// What the device said.
struct Answer {
    status: Status,
    /// Dwords 0 and 1 of the completion; of an I/O command that failed nobody keeps them.
    result: Option<u64>,
    data: Vec<u8>,
    metadata: Vec<u8>,
}

/// What goes along with a command.
struct Load {
    /// Which way the bytes go.
    to_device: bool,
    data: Vec<u8>,
    metadata: Vec<u8>,
}

/// Runs the command.
///
/// # Errors
/// Standard output that cannot be written; the rest the exit code tells.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    match send(args) {
        Ok(None) => Ok(ExitCode::SUCCESS),
        Ok(Some(answer)) => {
            if let Err(trouble) = keep(args, &answer) {
                return Ok(conclude(Err(trouble)));
            }
            let dump = args.out.is_none() && !answer.data.is_empty();
            // Standard output is for the data if it is wanted there.
            let text = print::answer(&answer, args.output, dump);
            if args.out.as_deref() == Some("-") {
                io::stderr().write_all(text.as_bytes())?
            } else {
                crate::show::write(text.as_bytes())?
            }
            Ok(ExitCode::from(if answer.status.is_success() { 0 } else { 3 }))
        }
        Err(Refusal::NotNative) => {
            eprintln!(
                "qpair: {}: it takes no native NVMe commands on this path\n  Name a device that does: \
                 nvme-tcp://HOST:PORT/NQN?ns=N, the character device of a drive, /dev/ng0n1, or a drive of Windows, \
                 \\\\.\\PhysicalDrive1.",
                args.device
            );
            Ok(ExitCode::from(4))
        }
        Err(Refusal::Trouble(trouble)) => Ok(conclude(Err(trouble))),
    }
}

/// Why nothing was sent, or no answer came.
enum Refusal {
    NotNative,
    Trouble(Trouble),
}

impl<T: Into<Trouble>> From<T> for Refusal {
    fn from(trouble: T) -> Self {
        Self::Trouble(trouble.into())
    }
}

fn send(args: &Args) -> Result<Option<Answer>, Refusal> {
    let load = load(args)?;
    if args.words.may_destroy(args.admin) {
        guard::check(&args.device, &args.force)?;
    }
    let device = block::open(&args.device, &way(args))?;
    let Some(nvme) = device.nvme() else { return Err(Refusal::NotNative) };
    // An admin command is about no namespace unless somebody says so; an I/O command about the device's.
    let sqe = args.words.sqe(if args.admin { None } else { nvme.nsid() });
    if args.force.dry_run {
        crate::show::write(print::dry_run(&args.device, args.admin, &sqe, &load).as_bytes())
            .map_err(|source| Trouble::host("write to standard output", source))?;
        return Ok(None);
    }
    let answer = if args.admin { admin(nvme, sqe, load)? } else { io_command(args, &*device, sqe, &load)? };
    device.close().map_err(|source| Trouble::host("close the device", source))?;
    Ok(Some(answer))
}

/// How the device is opened. A drive of Windows, which is a file as well, by its commands; what only reads does not
/// need it alone, so that volumes may be on it.
fn way(args: &Args) -> OpenOptions {
    let words = &args.words;
    let reads = Direction::of(words.opcode) == Direction::ControllerToHost && !words.may_destroy(args.admin);
    let options = OpenOptions { in_use: args.force.force, controllers: args.admin, ..OpenOptions::default() };
    let drive = args.device.parse::<Spec>().is_ok_and(|spec| spec.target.path().is_some_and(is_drive));
    if !drive || args.admin {
        return options;
    }
    OpenOptions { path: Some(Path::Ioctl), read_only: reads || args.force.dry_run, ..options }
}

/// The bytes for the device, or room for those of the device.
fn load(args: &Args) -> Result<Load, Trouble> {
    let transfer = Direction::of(args.words.opcode);
    let data = filled("--data-len", args.data_len, args.r#in.as_deref())?;
    let metadata = filled("--metadata-len", args.metadata_len, args.metadata_in.as_deref())?;
    let given = args.r#in.is_some() || args.metadata_in.is_some();
    let opcode = args.words.opcode;
    let wrong = |why: &str, hint: &str| Err(Trouble::usage(format!("opcode {opcode:#04x} {why}"), hint.to_owned()));
    match transfer {
        Direction::None if !data.is_empty() || !metadata.is_empty() => {
            wrong("has no data: its lowest bits are 00b", "Leave the lengths and files out.")
        }
        Direction::Bidirectional => wrong("has data both ways, which no path here carries", "Choose another opcode."),
        Direction::ControllerToHost if given => {
            wrong("has data from the device: its lowest bits are 10b", "Write --data-len SIZE, and --out FILE.")
        }
        Direction::HostToController if !data.is_empty() && args.r#in.is_none() => {
            wrong("has data for the device: its lowest bits are 01b", "Write --in FILE.")
        }
        Direction::HostToController if args.out.is_some() || args.metadata_out.is_some() => {
            wrong("has no data from the device: its lowest bits are 01b", "Leave --out and --metadata-out out.")
        }
        _ => Ok(Load { to_device: transfer == Direction::HostToController, data, metadata }),
    }
}

/// So many zeros, or the bytes of a file, of which there must be so many.
fn filled(option: &str, len: Option<u64>, file: Option<&str>) -> Result<Vec<u8>, Trouble> {
    let Some(file) = file else { return Ok(vec![0; len.unwrap_or(0) as usize]) };
    let limit = len.unwrap_or(MAX_BYTES + 1);
    let reader: Box<dyn Read> = match file {
        "-" => Box::new(io::stdin().lock()),
        _ => Box::new(fs::File::open(file).map_err(|source| Trouble::host(&format!("read {file}"), source))?),
    };
    let mut bytes = Vec::new();
    let read = reader.take(limit).read_to_end(&mut bytes);
    read.map_err(|source| Trouble::host(&format!("read {file}"), source))?;
    let found = bytes.len() as u64;
    if len.is_some_and(|len| found < len) || found > MAX_BYTES {
        let (most, why) = (len.unwrap_or(MAX_BYTES), if found > MAX_BYTES { "more" } else { "fewer" });
        let why = format!("{file} has {why} bytes than the {most} of the transfer");
        return Err(Trouble::usage(why, format!("Give another file, or {option}.")));
    }
    Ok(bytes)
}

/// Sends an admin command.
fn admin(nvme: &dyn block::Nvme, sqe: Sqe, mut load: Load) -> Result<Answer, Trouble> {
    let transfer = match (load.data.is_empty(), load.to_device) {
        (true, _) => Transfer::None,
        (false, true) => Transfer::Out(&load.data),
        (false, false) => Transfer::In(&mut load.data),
    };
    let ended = nvme.admin(sqe, transfer);
    let (status, result) = match ended {
        Ok(result) => (Status::SUCCESS, result),
        Err(NvmeError::Status { status, result }) => (status, result),
        Err(NvmeError::Host(source)) => return Err(Trouble::host("carry out the command", source)),
    };
    let data = if load.to_device || !status.is_success() { Vec::new() } else { load.data };
    Ok(Answer { status, result: Some(result), data, metadata: Vec::new() })
}

/// Sends an I/O command.
fn io_command(args: &Args, device: &dyn Device, sqe: Sqe, load: &Load) -> Result<Answer, Refusal> {
    let buffer_bytes = load.data.len().max(load.metadata.len()).max(1);
    let options = ChannelOptions { depth: 1, buffers: Some(2), buffer_bytes, ..ChannelOptions::default() };
    let mut channel =
        Channel::<()>::new(&options).map_err(|source| Trouble::host("make a ring and buffers", source))?;
    let port = channel.attach(device).map_err(|source| Trouble::host("open a queue", source))?;
    let buffer = |bytes: &[u8]| -> Option<Buf> {
        let mut buf = channel.buffer().filter(|_| !bytes.is_empty())?;
        buf.set_len(bytes.len());
        buf.copy_from_slice(bytes);
        Some(buf)
    };
    let timeout = args.timeout_ms.map(Duration::from_millis);
    let native = Native { sqe, data: buffer(&load.data).into(), metadata: buffer(&load.metadata), timeout };
    let Ok(done) = channel.call_native(port, native) else { return Err(Refusal::NotNative) };
    let bytes = |buf: Option<Buf>| buf.filter(|_| !load.to_device).map(|buf| buf.to_vec()).unwrap_or_default();
    match done.outcome {
        Ok(result) => {
            let (data, metadata) = (bytes(done.data.one()), bytes(done.metadata));
            Ok(Answer { status: Status::SUCCESS, result: Some(result), data, metadata })
        }
        Err(Failure::Device(status)) => Ok(Answer { status, result: None, data: Vec::new(), metadata: Vec::new() }),
        Err(failure) => Err(Trouble::Failed { what: "carry out the command".to_owned(), failure }.into()),
    }
}

/// Writes what the device gave to where it is wanted.
fn keep(args: &Args, answer: &Answer) -> Result<(), Trouble> {
    for (file, bytes) in [(&args.out, &answer.data), (&args.metadata_out, &answer.metadata)] {
        let Some(file) = file.as_deref().filter(|_| answer.status.is_success()) else { continue };
        let written = if file == "-" { crate::show::write(bytes) } else { fs::write(file, bytes) };
        written.map_err(|source| Trouble::host(&format!("write to {file}"), source))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn opened(words: &str) -> OpenOptions {
        way(&Line::parse_from(std::iter::once("raw").chain(words.split(' '))).args)
    }

    #[test]
    fn a_drive_of_windows_is_opened_for_commands_and_alone_only_for_changes() {
        for device in [r"\\.\PhysicalDrive1", r"\\.\PhysicalDrive1,ro", "//./physicaldrive1"] {
            // On other systems these are names of files.
            let drive = is_drive(std::path::Path::new("//./physicaldrive1"));
            let by = |words: &str| {
                let OpenOptions { path, read_only, in_use, .. } = opened(&format!("{device} {words}"));
                (path == Some(Path::Ioctl), read_only, in_use)
            };
            assert_eq!(by("--opcode 2"), (drive, drive, false), "a read");
            assert_eq!(by("--opcode 1 --force"), (drive, false, true), "a write");
            assert_eq!(by("--opcode 0"), (drive, false, false), "a flush is nothing for readers");
            assert_eq!(by("--opcode 0x82"), (drive, false, false), "whoever knows what that is");
            assert_eq!(by("--opcode 1 --dry-run"), (drive, drive, false));
            assert_eq!(by("--admin --opcode 2"), (false, false, false));
            assert!(opened(&format!("{device} --admin --opcode 2")).controllers);
        }
        assert_eq!(opened("disk.img --opcode 2").path, None);
    }
}
