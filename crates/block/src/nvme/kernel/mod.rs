//! NVMe namespaces and controllers that the kernel's driver has, reached as what they are: by NVMe commands.
//!
//! ```text
//!   /dev/ng0n1   KernelDevice ── open_queue ──▶ KernelQueue ── uring-cmd ──▶ a ring of its own ──▶ driver ──▶ device
//!                     │                              └──────── ioctl ──────▶ the calling thread waits ──▶ ...
//!                     └── Nvme::admin ── ioctl ──▶ admin queue
//!   /dev/nvme0   AdminDevice ── open_queue ──▶ admin commands, many at once, on either path
//!                Controller ── Nvme::admin, reset, rescan
//!
//!   \\.\PhysicalDrive0   AdminDevice, Controller ── the requests of Windows that carry a command ──▶ driver
//!                        KernelDevice ── SCSI commands, which the driver translates; vendor specific ones ──▶ driver
//! ```
//!
//! Windows carries few commands, one at a time (`ioctl`), and tells no status of most (`machine::os`,
//! `windows/protocol.rs`, `windows/scsi.rs`). A drive is opened so when somebody asks for that path; as a file it takes
//! many requests at once. This was written from its documentation, and has not yet been run on a drive.
//!
//! Block requests and native commands go to the same queue, and become the same 64 bytes. The kernel adds nothing to
//! them: no page cache, no splitting, no scheduler; and it holds nothing back: writes to a namespace that is mounted
//! reach it. The namespace says itself which it is, not its name.
//!
//! | path | a queue of it |
//! |---|---|
//! | `uring-cmd` | up to 1,024 commands at once; sleeping reactors are woken; the usual one |
//! | `ioctl` | one command after the other, in `kick`, which *waits for each*: any kernel, Windows, and to compare |
//!
//! A namespace with metadata takes block requests if its metadata is protection information of 8 bytes, which the
//! controller then makes and checks by itself. With other metadata it takes native commands only.
//!
//! While a controller is being reset, the kernel does not let commands wait: Linux 6.12 ends them with `EINVAL` by
//! `uring-cmd`, with `EAGAIN` by `ioctl`; those that the device had with `EINTR` or a status. All of them end.
//!
//! Who may do what the kernel decides: root anything; others what their right to open the device file and the
//! controller's Commands Supported and Effects log allow (Linux 6.2), and of admin commands only Identify.

mod admin;
mod admin_device;
mod command;
mod controller;
mod open;
mod queue;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use machine::os::Claim;
use machine::passthru::{self, ChannelOptions, NvmeQueue};
use machine::region::Pool;
use machine::ring::Ring;
use uuid::Uuid;
use wire::nvme::Sqe;

pub use self::admin_device::AdminDevice;
pub use self::controller::Controller;
use self::queue::{KernelQueue, Way};
use super::namespace::{LIST_BYTES, Namespace};
use crate::limits::{KERNEL_LISTS, KERNEL_QUEUE_DEPTH};
use crate::live_size::LiveSize;
use crate::size::format_size;
use crate::{Device, Info, Nvme, NvmeError, OpenError, Queue, Transfer, path};

/// How a namespace, or a controller, is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelOptions {
    /// Refuse every request and every native command that may change the namespace.
    pub read_only: bool,
    /// The identity, instead of the namespace's own.
    pub uuid: Option<Uuid>,
    /// [`path::Path::UringCmd`] or [`path::Path::Ioctl`]; without it, the former.
    pub path: Option<path::Path>,
    /// What of [`path::Path::UringCmd`] polls.
    pub polling: path::Polling,
    /// Open a drive of Windows for writing also if volumes are on it: they are locked and dismounted.
    pub in_use: bool,
}

/// Whether `path` is a namespace's own device file (`/dev/ngXnY`), which [`KernelDevice::open`] takes.
#[must_use]
pub fn is_namespace(path: &Path) -> bool {
    passthru::node(path) == Some(passthru::Node::Namespace)
}

/// Whether `path` is a controller's device file (`/dev/nvmeX`), which [`AdminDevice::open`] and [`Controller::open`]
/// take.
#[must_use]
pub fn is_controller(path: &Path) -> bool {
    passthru::node(path) == Some(passthru::Node::Controller)
}

/// Whether `path` is a drive of Windows (`\\.\PhysicalDriveN`), which [`AdminDevice::open`] and [`Controller::open`]
/// take for its admin commands, and [`KernelDevice::open`] for its I/O commands. Its data goes by it as a file, too.
#[must_use]
pub fn is_drive(path: &Path) -> bool {
    passthru::node(path) == Some(passthru::Node::Drive)
}

/// A namespace behind the kernel's driver.
pub struct KernelDevice {
    file: Arc<File>,
    info: Info,
    namespace: Namespace,
    size: LiveSize,
    path: path::Path,
    polling: path::Polling,
    /// Of a drive of Windows that is open for writing: keeps others off it.
    _claim: Option<Claim>,
}

impl KernelDevice {
    /// Opens a namespace's device file and identifies what is behind it. Blocks.
    ///
    /// # Errors
    /// It is no such file, may not be opened, or is nothing that can be worked with: what, why and what to do.
    pub fn open(path: &Path, options: &KernelOptions) -> Result<Self, OpenError> {
        open::open(path, options)
    }
}

impl Device for KernelDevice {
    fn info(&self) -> &Info {
        &self.info
    }

    fn blocks(&self) -> u64 {
        self.size.blocks()
    }

    fn refresh(&self, want: Option<u64>) -> Result<u64, OpenError> {
        let fail = |why, source| OpenError {
            device: self.info.name.clone(),
            why,
            hint: "A namespace is made larger by its controller (Namespace Management).".to_owned(),
            source,
        };
        let id = admin::identify_namespace(&self.file, self.namespace.nsid)
            .map_err(|error| fail(format!("the controller does not tell its size: {error}"), None))?;
        let (blocks, block_bytes) = (id.nsze.get(), u64::from(self.info.block_bytes));
        if blocks < self.blocks() {
            let why = format!("it has {blocks} blocks now, and {} were there", self.blocks());
            return Err(fail(why, None));
        }
        match want {
            Some(want) if want > blocks * block_bytes => {
                Err(fail(format!("it has {}", format_size(blocks * block_bytes)), None))
            }
            _ => Ok(self.size.grow(blocks)),
        }
    }

    fn open_queue(&self, ring: &mut Ring) -> io::Result<Box<dyn Queue>> {
        let lists = Pool::anonymous(LIST_BYTES, KERNEL_LISTS)?;
        let owner = ring.owner();
        let path::Polling { iopoll, sqpoll } = self.polling;
        let (queue, depth) = (NvmeQueue::Io, KERNEL_QUEUE_DEPTH);
        let options = ChannelOptions { queue, depth, polled: iopoll, kernel_thread: sqpoll };
        let way = Way::new(self.path == path::Path::Ioctl, options, &self.file, ring, owner);
        let way = way.inspect_err(|_| ring.release(owner))?;
        Ok(Box::new(KernelQueue::new(self.info.clone(), self.namespace, self.size.clone(), way, lists, owner)))
    }

    fn path(&self) -> Option<path::Path> {
        Some(self.path)
    }

    fn nvme(&self) -> Option<&dyn Nvme> {
        Some(self)
    }
}

impl Nvme for KernelDevice {
    fn nsid(&self) -> Option<u32> {
        Some(self.namespace.nsid)
    }

    fn admin(&self, sqe: Sqe, data: Transfer<'_>) -> Result<u64, NvmeError> {
        admin::admin(&self.file, sqe, data)
    }
}
