//! A controller without a namespace: admin commands, and what only the driver can do with it.

use std::fs::File;
use std::io;
use std::path::Path;

use machine::passthru::{self, Control};
use wire::nvme::Sqe;

use super::{admin, is_controller, is_drive, is_namespace, open};
use crate::{Nvme, NvmeError, OpenError, Transfer};

/// A controller of the kernel's driver, `/dev/nvmeX`, or the one behind a namespace or a drive.
pub struct Controller {
    file: File,
    /// Of a drive of Windows, which is one namespace.
    nsid: Option<u32>,
}

impl Controller {
    /// Opens a controller's device file. A namespace's (`/dev/ngXnY`) leads to its controller, and so does a drive of
    /// Windows.
    ///
    /// # Errors
    /// It is no such file, or may not be opened: what, why and what to do.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_as(path, false)
    }

    /// The same, for commands that change something: of a drive of Windows they ask for the right to write to it.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_to_change(path: &Path) -> Result<Self, OpenError> {
        Self::open_as(path, true)
    }

    fn open_as(path: &Path, changes: bool) -> Result<Self, OpenError> {
        let drive = is_drive(path);
        if !is_controller(path) && !is_namespace(path) && !drive {
            return Err(OpenError {
                device: path.display().to_string(),
                why: "this is no NVMe controller of the kernel's driver".to_owned(),
                hint: "Name one, for example /dev/nvme0: without a namespace behind it.".to_owned(),
                source: None,
            });
        }
        let file = open::open_file(path, !(drive && changes))?;
        let nsid = if drive { passthru::nsid(&file).ok() } else { None };
        Ok(Self { file, nsid })
    }

    /// Resets the controller and waits until it is ready again. What is in flight ends, or is sent again by the kernel.
    ///
    /// # Errors
    /// Those of the driver, above all `PermissionDenied`; `ENOTTY` if it was opened by a namespace's device file.
    pub fn reset(&self) -> io::Result<()> {
        passthru::control(&self.file, Control::Reset)
    }

    /// Resets the whole subsystem, with all of its controllers.
    ///
    /// # Errors
    /// As for [`Self::reset`]; `Unsupported` (`ENOTTY`) from a controller that cannot do it.
    pub fn reset_subsystem(&self) -> io::Result<()> {
        passthru::control(&self.file, Control::ResetSubsystem)
    }

    /// Has the driver look which namespaces there are, and waits until their device files are there.
    ///
    /// # Errors
    /// As for [`Self::reset`].
    pub fn rescan(&self) -> io::Result<()> {
        passthru::control(&self.file, Control::Rescan)
    }
}

impl Nvme for Controller {
    fn nsid(&self) -> Option<u32> {
        self.nsid
    }

    fn admin(&self, sqe: Sqe, data: Transfer<'_>) -> Result<u64, NvmeError> {
        admin::admin(&self.file, sqe, data)
    }
}
