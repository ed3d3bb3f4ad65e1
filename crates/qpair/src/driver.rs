//! `qpair reset` and `qpair rescan`: what only the kernel's driver can do with an NVMe controller of this machine.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use block::OpenError;
use block::nvme::kernel::{Controller, is_controller};

const RESET_EXAMPLES: &str = "\
On Linux only. Commands in flight there end with an error, or are sent again by the kernel; what is mounted waits and
goes on. Needs root. On Windows, `pnputil /restart-device ID` restarts the device with this instance ID.

Examples:
  qpair reset /dev/nvme0
  qpair reset /dev/nvme0 --subsystem    all controllers of its subsystem, where the drive can do that";

/// Reset an NVMe controller of this machine
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = RESET_EXAMPLES)]
pub(crate) struct Reset {
    /// The controller, for example /dev/nvme0
    #[arg(value_name = "CONTROLLER")]
    controller: PathBuf,

    /// The whole subsystem
    #[arg(long)]
    subsystem: bool,
}

const RESCAN_EXAMPLES: &str = "\
On Linux only. Needs root. On Windows, `rescan` of diskpart or Update-HostStorageCache of PowerShell does it for all.

Examples:
  qpair rescan /dev/nvme0";

/// Have the kernel look which namespaces an NVMe controller of this machine has, and how large they are
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = RESCAN_EXAMPLES)]
pub(crate) struct Rescan {
    /// The controller, for example /dev/nvme0
    #[arg(value_name = "CONTROLLER")]
    controller: PathBuf,
}

/// Runs `qpair reset`.
///
/// # Errors
/// It is no controller, or the driver refuses.
pub(crate) fn reset(args: &Reset) -> Result<ExitCode, Box<dyn Error>> {
    let act = if args.subsystem { Controller::reset_subsystem } else { Controller::reset };
    ask(&args.controller, act, "On Windows, `pnputil /restart-device ID` restarts a device.")
}

/// Runs `qpair rescan`.
///
/// # Errors
/// As for [`reset`].
pub(crate) fn rescan(args: &Rescan) -> Result<ExitCode, Box<dyn Error>> {
    ask(&args.controller, Controller::rescan, "On Windows, `rescan` of diskpart does it for all drives.")
}

/// Has the driver act; `instead` is what there is where only the system's own tools can.
fn ask(path: &Path, act: fn(&Controller) -> io::Result<()>, instead: &str) -> Result<ExitCode, Box<dyn Error>> {
    let device = path.display().to_string();
    if !is_controller(path) {
        let why = "this is no NVMe controller of this machine".to_owned();
        let hint =
            format!("Name one, for example /dev/nvme0: without the n1 of a namespace. Only Linux has this. {instead}");
        return Err(OpenError { device, why, hint, source: None }.into());
    }
    act(&Controller::open(path)?).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => "The driver lets only root do that (CAP_SYS_ADMIN).",
            _ => "The system's log may tell more. Not every drive can have its subsystem reset.",
        };
        let (why, hint) = (format!("the driver refuses: {error}"), hint.to_owned());
        OpenError { device, why, hint, source: Some(error) }
    })?;
    Ok(ExitCode::SUCCESS)
}
