//! `qpair zones`: the zones of a zoned namespace, or of a zoned block device.
//!
//! ```text
//!   report ───────────────────────────────▶ block::Zoned ─┬─ Zone Management Receive, Send    /dev/ng0n1, nvme-tcp://
//!   open, close, finish, reset, offline ──▶   one by one  └─ the kernel's calls               /dev/nvme0n1, /dev/sda
//!   append ──▶ Channel::command, many at once ──────────────▶ Zone Append                     /dev/ng0n1, nvme-tcp://
//! ```

mod append;
mod change;
mod report;

use std::error::Error;
use std::fs;
use std::process::ExitCode;

use block::spec::Spec;
use block::{Device, ZoneError, Zoned};
use wire::nvme::zns::{ZoneDescriptor, zone_state};

use crate::data::trouble::{Trouble, conclude, help};

const EXAMPLES: &str = help!(
    "\
A DEVICE is a zoned namespace that is reached by native commands (/dev/ng0n1, nvme-tcp://), or a zoned block device;
those of this machine on Linux only. `append` and `offline` are native commands only.

Examples:
  qpair zones report /dev/ng0n1 --state open
  qpair zones reset /dev/nvme0n1 --zone 0x8000 --count 4
  qpair zones append /dev/ng0n1 --zone 0 --from log.bin --pad"
);

/// Show and change the zones of a zoned device, and append to them
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Verb {
    Report(report::Args),
    Open(change::Open),
    Close(change::Close),
    Finish(change::Finish),
    Reset(change::Reset),
    Offline(change::Offline),
    Append(append::Args),
}

/// Runs the command.
///
/// # Errors
/// Standard output that cannot be written; the rest the exit code tells.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let text = match &args.verb {
        Verb::Report(args) => report::report(args),
        Verb::Open(args) => args.run(),
        Verb::Close(args) => args.run(),
        Verb::Finish(args) => args.run(),
        Verb::Reset(args) => args.run(),
        Verb::Offline(args) => args.run(),
        Verb::Append(args) => append::append(args),
    };
    match text {
        Ok(text) => {
            crate::show::write(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(Cut { text, trouble }) => {
            crate::show::write(text.as_bytes())?;
            Ok(conclude(Err(trouble)))
        }
    }
}

/// What a verb prints, or what it has to print of that before it says what went wrong.
type Said = Result<String, Cut>;

/// Something went wrong, and this was done before.
struct Cut {
    text: String,
    trouble: Trouble,
}

impl<T: Into<Trouble>> From<T> for Cut {
    fn from(trouble: T) -> Self {
        Self { text: String::new(), trouble: trouble.into() }
    }
}

/// The zones of a device that must have some.
fn zoned(device: &dyn Device) -> Result<Zoned<'_>, Trouble> {
    let name = &device.info().name;
    let found = Zoned::open(device).map_err(|error| trouble(format!("ask {name} for its zones"), error))?;
    found.ok_or_else(|| Trouble::Unable {
        why: format!("{name} has no zones"),
        hint: "Name a zoned namespace (/dev/ng0n1, nvme-tcp://) or a zoned block device. On Linux `cat \
               /sys/block/*/queue/zoned` tells which are; drives of Windows are not reached as zoned ones."
            .to_owned(),
    })
}

/// What went wrong with zones, and what was wanted.
fn trouble(what: String, error: ZoneError) -> Trouble {
    match error {
        ZoneError::Failed(failure) => Trouble::Failed { what, failure },
        ZoneError::Host(source) => Trouble::Host { what, source },
        error @ ZoneError::Answer(_) => Trouble::Differs(format!("cannot {what}: {error}")),
    }
}

/// What only native commands can say was asked of a block device.
fn not_native(device: &str, what: &str) -> Trouble {
    let hint = match generic(device) {
        Some(node) => format!("Name the same namespace's own device, which takes native commands: {node}."),
        None => "That is a native NVMe command: it needs a namespace's own device, /dev/ngXnY.".to_owned(),
    };
    Trouble::Unable { why: format!("{device} is a block device, and those have no {what}"), hint }
}

/// The character device of the namespace that a block device belongs to.
fn generic(device: &str) -> Option<String> {
    let spec = device.parse::<Spec>().ok()?;
    let node = fs::canonicalize(spec.target.path()?).ok()?;
    let rest = node.file_name()?.to_str()?.strip_prefix("nvme")?;
    let generic = node.with_file_name(format!("ng{rest}"));
    generic.exists().then(|| generic.display().to_string())
}

/// The zone that starts with this block, which must be one.
fn start(zoned: &Zoned<'_>, device: &dyn Device, lba: u64) -> Result<u64, Trouble> {
    let (facts, name) = (zoned.facts(), &device.info().name);
    let behind = facts.zones * facts.zone_blocks;
    let start = facts.start_of(lba);
    if lba >= behind {
        let hint = format!("Its {} zones end with block {}.", facts.zones, behind - 1);
        return Err(Trouble::usage(format!("there is no zone at block {lba} of {name}"), hint));
    }
    if start != lba {
        let (size, zone) = (facts.zone_blocks, lba / facts.zone_blocks);
        let why = format!("no zone of {name} starts with block {lba}");
        let hint = format!("It is in zone {zone}: write {start:#x}. Zones start every {size:#x} blocks.");
        return Err(Trouble::usage(why, hint));
    }
    Ok(start)
}

/// What has been written of a zone, in blocks; `None` in states without a write pointer.
fn written(zone: &ZoneDescriptor) -> Option<u64> {
    match zone.state() {
        zone_state::EMPTY => Some(0),
        zone_state::IMPLICITLY_OPENED | zone_state::EXPLICITLY_OPENED | zone_state::CLOSED => {
            Some(zone.wp.get().saturating_sub(zone.zslba.get()))
        }
        zone_state::FULL => Some(zone.zcap.get()),
        _ => None,
    }
}

/// Zones by their number, for people.
fn words(zoned: &Zoned<'_>, first: u64, count: u64) -> String {
    let (size, zone) = (zoned.facts().zone_blocks, first / zoned.facts().zone_blocks);
    match count {
        1 => format!("zone {zone} (block {first:#x})"),
        _ => format!("zones {zone} to {} (blocks {first:#x} to {:#x})", zone + count - 1, first + count * size - 1),
    }
}
