//! `qpair list`: the devices of this machine.
//!
//! ```text
//!   /sys ──▶ sysfs: subsystems, controllers, namespaces, other disks ──▶ print: text | JSON | YAML
//!   /dev ──▶ asked: sizes that sysfs does not tell                   ──┤
//!   /dev ──▶ ways: which paths lead to a device, by going them (-v)  ──┘
//! ```
//!
//! Namespaces come from where the kernel keeps them, not from what their names look like: the namespace ID of
//! `nvme0n2` need not be 2, and with multipath the `0` is the subsystem's number and no controller's.
//!
//! Where there is no sysfs, on Windows, the system's own list of drives takes its place (`drives.rs`).

mod asked;
mod drives;
mod print;
mod sysfs;
#[cfg(test)]
mod tests;
mod ways;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) use ways::{Way, ways};

use crate::show::{Format, printed, write};

const EXAMPLES: &str = "\
Examples:
  qpair list
  qpair list -v                      controllers, ways to a namespace, which paths work here and why others do not
  qpair list -o json | jq -r '.Devices[].DevicePath'

Keys of JSON and YAML are those of `nvme list -o json` and `nvme list -v -o json`, with BlockDevices (disks that are no
NVMe namespaces) and AccessPaths (what path= may be) beside them. Namespaces of remote targets are not listed unless the
kernel is connected to them: `qpair info nvme-tcp://HOST/NQN?ns=1` asks one.

Exit codes:
  0  there is a list, even if there is nothing in it
  1  it cannot be printed";

/// List the NVMe and block devices of this machine
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Where the kernel keeps what it knows.
struct Roots {
    sys: PathBuf,
    dev: PathBuf,
    etc: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// Standard output that cannot be written.
pub(crate) fn run(args: &Args, verbose: bool) -> Result<ExitCode, Box<dyn Error>> {
    let mut roots = Roots { sys: PathBuf::from("/sys"), dev: PathBuf::from("/dev"), etc: PathBuf::from("/etc") };
    let text = match machine::os::drives() {
        None => listed(&roots, args.output, verbose),
        Some(found) => {
            roots.dev = PathBuf::from(drives::DEVICES);
            shown(&drives::machine(&found, &drives::identify), &roots, args.output, verbose)
        }
    };
    write(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn listed(roots: &Roots, format: Format, verbose: bool) -> String {
    let mut machine = sysfs::Machine::read(roots);
    asked::fill_in(&mut machine, &roots.dev);
    shown(&machine, roots, format, verbose)
}

fn shown(machine: &sysfs::Machine, roots: &Roots, format: Format, verbose: bool) -> String {
    match (format, verbose) {
        (Format::Text, false) => print::text_list(machine, roots),
        (_, false) => printed(format, &print::devices(machine, roots)),
        (_, true) => printed(format, &print::details(machine, roots)),
    }
}
