//! From a device file to a namespace: opened, identified, checked; each step with its own advice.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use machine::os::{self, Claim, OpenMode};
use machine::passthru::{self, TransferLimits};
use wire::nvme::identify;

use super::{KernelDevice, KernelOptions, admin, is_controller, is_drive, is_namespace};
use crate::file::unclaimed;
use crate::limits::{KERNEL_TRANSFER_BYTES, KERNEL_TRANSFER_LEAST, PREFERRED_BYTES};
use crate::live_size::LiveSize;
use crate::nvme::describe::{self, Pages};
use crate::size::format_size;
use crate::{Identity, NvmeError, OpenError, path};

pub(super) fn open(path: &Path, options: &KernelOptions) -> Result<KernelDevice, OpenError> {
    let way = way(path, options)?;
    check_polling(path, way, options.polling)?;
    let file = if is_drive(path) { open_drive(path)? } else { open_file(path, options.read_only)? };
    let claim = claim(path, &file, options)?;
    let nsid = passthru::nsid(&file).map_err(|error| cannot_ask(path, &NvmeError::Host(error)))?;
    let found = look(path, &file, nsid).map_err(|error| cannot_ask(path, &error))?;
    let Found { controller, limits, namespace, mut identity } = found;
    // CAP is out of reach: the smallest page is the safe one, and the driver knows of larger ones.
    let pages = Pages { controller: &controller, limits: &limits, namespace: &namespace, mpsmin: 0 };
    let most = largest_transfer(passthru::transfer_limits(path));
    let described = pages.namespace(nsid, most);
    let mut namespace = described.map_err(|why| fail(path, why, "Choose another namespace, or format it.", None))?;
    namespace.read_only |= options.read_only;
    if is_drive(path) {
        namespace = namespace.of_windows();
    }
    if let Some(uuid) = options.uuid {
        identity = Identity::from_uuid(uuid);
    }
    let info = pages.info(path.display().to_string(), "nvme", &namespace, identity);
    let size = format_size(info.bytes());
    tracing::debug!(nsid, path = %way, "{}: {size}, {:?}, {identity:?}", info.name, namespace.format);
    if !namespace.format.is_bare() && !namespace.format.is_self_made() {
        let bytes = namespace.format.metadata_bytes;
        tracing::warn!("{}: its blocks have {bytes} bytes of metadata: it takes native commands only", info.name);
    }
    let size = LiveSize::new(info.blocks);
    let (file, polling) = (Arc::new(file), options.polling);
    Ok(KernelDevice { file, info, namespace, size, path: way, polling, _claim: claim })
}

/// Keeps others off a drive of Windows that is opened for writing. Elsewhere whoever sends commands answers for them.
fn claim(path: &Path, file: &File, options: &KernelOptions) -> Result<Option<Claim>, OpenError> {
    if options.read_only || !is_drive(path) {
        return Ok(None);
    }
    os::claim_drive(file, false, options.in_use).map(Some).map_err(|why| unclaimed(path, why))
}

/// The path to go, if it leads there.
fn way(path: &Path, options: &KernelOptions) -> Result<path::Path, OpenError> {
    let name = path.display().to_string();
    if is_controller(path) {
        let hint = "Name one of its namespaces, for example /dev/ng0n1.";
        return Err(fail(path, "this is an NVMe controller, which has no blocks".to_owned(), hint, None));
    }
    if is_drive(path) {
        return drive_way(path, options);
    }
    if !is_namespace(path) {
        let hint = "Name one, for example /dev/ng0n1: the block device /dev/nvme0n1 has it beside itself (Linux 5.13).";
        let why = "this is no NVMe namespace of the kernel's driver (a character device /dev/ngXnY)".to_owned();
        return Err(fail(path, why, hint, None));
    }
    match options.path {
        None => Ok(path::Path::UringCmd),
        Some(way) if way.is_native() => Ok(way),
        Some(way) => {
            let hint = "Leave path= out, or name the block device of the same namespace: /dev/nvmeXnY.";
            Err(way.refuse(&name, "a file or a block device", hint))
        }
    }
}

/// The path to go to a controller's admin queue, if it leads there.
pub(super) fn admin_way(path: &Path, options: &KernelOptions) -> Result<path::Path, OpenError> {
    if is_drive(path) {
        return drive_way(path, options);
    }
    if !is_controller(path) {
        let hint = "Name one, for example /dev/nvme0: without a namespace behind it.";
        return Err(fail(path, "this is no NVMe controller of the kernel's driver".to_owned(), hint, None));
    }
    let way = match options.path {
        None => path::Path::UringCmd,
        Some(way) if way.is_native() => way,
        Some(way) => return Err(way.refuse(&path.display().to_string(), "blocks", "Leave path= out.")),
    };
    if options.polling.iopoll {
        let why = "iopoll is for namespaces: the driver polls for no admin command".to_owned();
        return Err(fail(path, why, "Leave iopoll out.", None));
    }
    check_polling(path, way, options.polling)?;
    Ok(way)
}

/// The one path by which commands get to a drive of Windows.
fn drive_way(path: &Path, options: &KernelOptions) -> Result<path::Path, OpenError> {
    match options.path {
        None | Some(path::Path::Ioctl) => Ok(path::Path::Ioctl),
        Some(way) => Err(way.refuse(&path.display().to_string(), "commands on Linux", "Leave path= out.")),
    }
}

/// Whether that way can poll.
fn check_polling(path: &Path, way: path::Path, polling: path::Polling) -> Result<(), OpenError> {
    if polling.any() && way != path::Path::UringCmd {
        let why = format!("{polling} is for the path uring-cmd, not for {way}");
        return Err(fail(path, why, &format!("Leave {polling} or path={way} out."), None));
    }
    if polling.iopoll && !passthru::has_poll_queues(path) {
        let why = "iopoll needs queues for polling, and the driver has made none for this controller".to_owned();
        let hint = "Boot with nvme.poll_queues=1, or load the module so: modprobe nvme poll_queues=1. Over fabrics, \
                    connect with --nr-poll-queues=1.";
        return Err(fail(path, why, hint, None));
    }
    Ok(())
}

/// What the controller says.
struct Found {
    controller: Box<wire::nvme::IdentifyController>,
    limits: Box<wire::nvme::NvmIdentifyController>,
    namespace: Box<wire::nvme::IdentifyNamespace>,
    identity: Identity,
}

fn look(path: &Path, file: &File, nsid: u32) -> Result<Found, NvmeError> {
    let controller = admin::identify_controller(file)?;
    let namespace = admin::identify_namespace(file, nsid)?;
    let limits = admin::nvm_limits(file)?;
    let ids = admin::identifiers(file, controller.ver.get(), nsid)?.unwrap_or_else(|| {
        tracing::debug!("{}: no identification descriptors for this user or from this controller", path.display());
        Default::default()
    });
    let ids = describe::identifiers(ids, &namespace);
    let identity = describe::identity(&identify::text(&controller.subnqn), nsid, &ids);
    Ok(Found { controller, limits, namespace, identity })
}

/// A command is never split: its buffer, which starts with a page, must keep within both.
fn largest_transfer(limits: Option<TransferLimits>) -> u64 {
    let stated = limits.map_or(KERNEL_TRANSFER_LEAST, |TransferLimits { bytes, segments }| {
        bytes.min(segments.saturating_mul(PREFERRED_BYTES.into()))
    });
    stated.clamp(PREFERRED_BYTES.into(), KERNEL_TRANSFER_BYTES)
}

/// Opens a device file of the driver.
pub(super) fn open_file(path: &Path, read_only: bool) -> Result<File, OpenError> {
    passthru::open(path, read_only).map_err(|error| {
        let hint = match error.kind() {
            _ if is_drive(path) => "Check the number: `qpair list` shows the drives of this machine.".to_owned(),
            ErrorKind::PermissionDenied => {
                format!(
                    "It belongs to root alone unless somebody allows more: run qpair as root, or chmod 0660 and chgrp \
                     {} (a udev rule makes that last). Linux 6.2 and newer then pass through what the device's \
                     command effects say is harmless.",
                    path.display()
                )
            }
            ErrorKind::NotFound => "Check the name: ls /dev/ng*. Kernels before 5.13 have none.".to_owned(),
            _ => "Check that the device is still there: the system's log may tell.".to_owned(),
        };
        fail(path, format!("it cannot be opened: {error}"), &hint, Some(error))
    })
}

/// Opens a drive of Windows for I/O commands, which ask for the right to write even where they read.
fn open_drive(path: &Path) -> Result<File, OpenError> {
    os::open_data(path, OpenMode::default()).map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::PermissionDenied => "Commands to a drive are for administrators: start qpair as one.",
            _ => "Check the number: `qpair list` shows the drives of this machine.",
        };
        fail(path, format!("it cannot be opened: {error}"), hint, Some(error))
    })
}

pub(super) fn cannot_ask(path: &Path, error: &NvmeError) -> OpenError {
    let (hint, source) = match error {
        NvmeError::Host(error) => {
            let hint = match os::kind(error) {
                _ if is_drive(path) => {
                    "It may be no NVMe drive, or its driver not the one of Windows (StorNVMe): `qpair list` tells."
                }
                ErrorKind::PermissionDenied => {
                    "Before Linux 6.2 passing commands through needs CAP_SYS_ADMIN: run qpair as root."
                }
                ErrorKind::Unsupported => "NVMe commands pass through the kernel of Linux only.",
                _ => "The controller may be gone or resetting: the system's log tells.",
            };
            (hint, Some(copy(error)))
        }
        NvmeError::Status { .. } => ("The controller answers so to Identify: look at its state and firmware.", None),
    };
    fail(path, format!("the controller does not say what it is: {error}"), hint, source)
}

fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

fn fail(path: &Path, why: String, hint: &str, source: Option<io::Error>) -> OpenError {
    OpenError { device: path.display().to_string(), why, hint: hint.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_keeps_within_bytes_and_pages() {
        let limits = |bytes, segments| largest_transfer(Some(TransferLimits { bytes, segments }));
        assert_eq!(limits(512 << 10, 127), 127 * 4096);
        assert_eq!(limits(64 << 10, 127), 64 << 10);
        assert_eq!(limits(u64::MAX, u64::MAX), KERNEL_TRANSFER_BYTES);
        assert_eq!(largest_transfer(None), KERNEL_TRANSFER_LEAST);
    }

    #[test]
    fn what_is_no_namespace_is_refused_with_advice() {
        for path in ["/dev/null", "/does/not/exist", "."] {
            let error = KernelDevice::open(Path::new(path), &KernelOptions::default()).err().expect(path).to_string();
            assert!(error.contains("no NVMe namespace") && error.contains("/dev/ng0n1"), "{error}");
            let error = super::super::Controller::open(Path::new(path)).err().expect(path).to_string();
            assert!(error.contains("no NVMe controller") && error.contains("/dev/nvme0"), "{error}");
        }
    }

    #[test]
    fn commands_to_a_drive_of_windows_have_one_way() {
        let drive = Path::new(r"\\.\PhysicalDrive4000000000");
        let by = |path| KernelOptions { path, ..KernelOptions::default() };
        for path in [None, Some(path::Path::Ioctl)] {
            assert_eq!(drive_way(drive, &by(path)).ok(), Some(path::Path::Ioctl));
            // On other systems this is the name of a file.
            assert_eq!(way(drive, &by(path)).is_ok() && admin_way(drive, &by(path)).is_ok(), is_drive(drive));
        }
        for path in path::Path::ALL.into_iter().filter(|path| *path != path::Path::Ioctl) {
            let error = drive_way(drive, &by(Some(path))).expect_err("it leads elsewhere").to_string();
            assert!(error.contains(path.name()), "{error}");
        }
        let error = KernelDevice::open(drive, &by(None)).err().expect("no machine has so many").to_string();
        assert_eq!(error.contains("`qpair list`"), is_drive(drive), "{error}");
    }

    #[test]
    fn errors_say_what_to_do() {
        let ask = |error| cannot_ask(Path::new("/dev/ng0n1"), &error).to_string();
        assert!(ask(NvmeError::Host(ErrorKind::PermissionDenied.into())).contains("CAP_SYS_ADMIN"));
        let gone = os::disk_error_number("ENODEV").expect("it has one");
        assert!(ask(NvmeError::Host(io::Error::from_raw_os_error(gone))).contains("system's log"));
        let status = wire::nvme::Status::INVALID_FIELD;
        assert!(ask(NvmeError::Status { status, result: 0 }).contains("answered \"Invalid Field"));
    }
}
