//! NVMe commands through the kernel's passthrough: the 64 bytes of a command, as they are, to a device that the
//! kernel's driver has.
//!
//! ```text
//!   /dev/nvme0     a controller     admin commands                    Node::Controller
//!   /dev/ng0n1     a namespace      its I/O commands, and admin       Node::Namespace
//!   \\.\PhysicalDrive0              some of both (Windows)            Node::Drive
//!
//!   Channel::submit ──▶ table (keeps the buffers) ──▶ a ring of 128-byte entries, of its own    (uring-cmd)
//!   admin, io       ──▶ ioctl: the calling thread waits                                         (ioctl)
//! ```
//!
//! Linux carries any command, Windows those that it has a request for: of the others it says why not.
//!
//! The kernel fills in what belongs to it: identifier, pointers, PSDT. It refuses fused commands, and what the user
//! may not do; it never splits a command. A [`Fault`] tells a device's answer from an error of this host: the kernel
//! gives the former as a positive number, the latter as a negative one.
//!
//! What a command does to memory beyond its buffers nobody checks here or in the kernel: a device moves as much data
//! as the command itself says (a Read of more blocks than its buffer holds, for example). Whoever lets a command
//! through answers for its length.

#[cfg(target_os = "linux")]
mod channel;
#[cfg(not(target_os = "linux"))]
#[path = "no_channel.rs"]
mod channel;

use std::fmt;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::path::Path;

pub use self::channel::Channel;
use crate::os;
use crate::region::{Buf, Bufs, no_slices};
use crate::ring::NoUring;

/// What a character device of the NVMe driver stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// `/dev/nvmeX`.
    Controller,
    /// `/dev/ngXnY`.
    Namespace,
    /// `\\.\PhysicalDriveN` of Windows: a namespace whose data goes by it as a file, too, and commands of those that
    /// the system carries.
    Drive,
}

/// Which queues of a controller commands go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NvmeQueue {
    /// The admin queue.
    Admin,
    /// The I/O queues.
    Io,
}

/// What a command has of its own: the kernel fills in the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Byte 0.
    pub opcode: u8,
    /// The namespace; for I/O it must be the one of the device.
    pub nsid: u32,
    /// Command dword 2.
    pub cdw2: u32,
    /// Command dword 3.
    pub cdw3: u32,
    /// Command dwords 10 to 15.
    pub cdw10: [u32; 6],
    /// How long the kernel waits before it aborts the command, in milliseconds; 0 is its own patience.
    pub timeout_ms: u32,
}

impl Command {
    /// Whether the device may write to the data: not if bit 0 of the opcode says that the data goes to it. Of fabrics
    /// commands (7Fh), which have their type where others have the namespace, that bit is in the type.
    #[must_use]
    pub fn fills_data(&self) -> bool {
        let says = if self.opcode == 0x7f { self.nsid as u8 } else { self.opcode };
        says & 1 == 0
    }
}

/// The bytes of a command that is waited for.
#[derive(Default)]
pub enum Bytes<'a> {
    /// None.
    #[default]
    None,
    /// For the device to fill, or to read.
    Mutable(&'a mut [u8]),
    /// The same, in pieces. Of the data of an I/O command only.
    Pieces(&'a mut [IoSliceMut<'a>]),
    /// For the device to read.
    Fixed(&'a [u8]),
}

/// Why a command failed.
#[derive(Debug)]
pub enum Fault {
    /// The device's answer.
    Status {
        /// Status code, type, CRD, More and DNR, as the kernel has them: the completion's field without the phase bit.
        status: u16,
        /// Dwords 0 and 1 of the completion.
        result: u64,
    },
    /// This host's: the kernel did not pass it through, or gave it up.
    Host(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Host(error)
    }
}

/// A command on its way through a [`Channel`]; `T` is the asker's.
pub struct Task<T> {
    /// What the completion is matched by.
    pub context: T,
    /// What is asked.
    pub command: Command,
    /// The data: [`MAX_PIECES`](crate::limits::MAX_PIECES) buffers at most.
    pub data: Bufs,
    /// Metadata that travels apart from the data.
    pub metadata: Option<Buf>,
}

impl<T> Task<T> {
    /// Carries the command out, and waits for its end.
    pub fn carry_out(self, file: &File, queue: NvmeQueue) -> Done<T> {
        let Self { context, command, mut data, mut metadata } = self;
        let mut slices = no_slices();
        let bytes = match &mut data {
            Bufs::None => Bytes::None,
            Bufs::One(buf) => Bytes::Mutable(buf),
            many @ Bufs::Many(_) => Bytes::Pieces(many.slices(&mut slices)),
        };
        let beside = metadata.as_deref_mut().map_or(Bytes::None, Bytes::Mutable);
        let result = os::nvme_command(file, queue, &command, bytes, beside);
        Done { context, result, data, metadata }
    }
}

/// The end of a [`Task`].
pub struct Done<T> {
    /// Of the task.
    pub context: T,
    /// Dwords 0 and 1 of the completion, or why it failed.
    pub result: Result<u64, Fault>,
    /// Of the task.
    pub data: Bufs,
    /// Of the task.
    pub metadata: Option<Buf>,
}

/// How a [`Channel`] is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelOptions {
    /// Where its commands go: to the I/O queues by the file of a [`Node::Namespace`], to the admin queue by that of a
    /// [`Node::Controller`].
    pub queue: NvmeQueue,
    /// Commands in flight at most, 1 to [`crate::limits::MAX_PASSED`].
    pub depth: usize,
    /// Completions are asked for instead of announced (`IOPOLL`). The driver needs queues for that
    /// (`nvme.poll_queues`) and has none for admin commands, and whoever waits for a completion spins.
    pub polled: bool,
    /// A thread of the kernel takes what is submitted (`SQPOLL`): no system call, and a core for it.
    pub kernel_thread: bool,
}

/// Carries out an admin command on a controller or a namespace's controller, and waits for its end.
///
/// # Errors
/// As [`Fault`] says; `InvalidInput` if the device would write to bytes that are fixed, or what must be in one piece is
/// not; `Unsupported` on other systems.
pub fn admin(file: &File, command: &Command, data: Bytes<'_>) -> Result<u64, Fault> {
    os::nvme_command(file, NvmeQueue::Admin, command, data, Bytes::None)
}

/// Opens what [`node`] knows, for commands.
///
/// # Errors
/// Those of opening. A drive of Windows is opened by anybody; what changes it then asks for the right to write.
pub fn open(path: &Path, read_only: bool) -> io::Result<File> {
    os::nvme_open(path, read_only)
}

/// What `path` is to the NVMe driver; `None` if it is something else, or nothing.
#[must_use]
pub fn node(path: &Path) -> Option<Node> {
    os::nvme_node(path)
}

/// The namespace that a device of [`Node::Namespace`] or [`Node::Drive`] stands for: its NSID.
///
/// # Errors
/// Those of `ioctl`; `Unsupported` on other systems.
pub fn nsid(file: &File) -> io::Result<u32> {
    os::nvme_nsid(file)
}

/// What the driver can be asked to do with a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Reset it.
    Reset,
    /// Reset its whole subsystem, where the controller can do that.
    ResetSubsystem,
    /// Look which namespaces it has.
    Rescan,
}

/// Has the driver do something with a controller, and waits for it. The user must be privileged.
///
/// # Errors
/// Those of `ioctl`, above all `PermissionDenied`; `Unsupported` on other systems.
pub fn control(file: &File, control: Control) -> io::Result<()> {
    os::nvme_control(file, control)
}

/// What the driver lets one command on this namespace move: it never splits one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferLimits {
    /// Bytes.
    pub bytes: u64,
    /// Pieces of memory, each within a page of 4,096 bytes.
    pub segments: u64,
}

/// The driver's limits of the namespace at `path`; `None` where the system does not tell.
#[must_use]
pub fn transfer_limits(path: &Path) -> Option<TransferLimits> {
    os::nvme_transfer_limits(path)
}

/// Whether the driver has made queues for polling for the controller of the namespace at `path`.
#[must_use]
pub fn has_poll_queues(path: &Path) -> bool {
    os::nvme_has_poll_queues(path)
}

/// Why there is no [`Channel`].
#[derive(Debug)]
pub enum NoChannel {
    /// There is no such ring here.
    Ring(NoUring),
    /// The process has no descriptor or no memory for it.
    Io(io::Error),
}

impl fmt::Display for NoChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(why) => why.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NoChannel {}

impl From<NoChannel> for io::Error {
    fn from(why: NoChannel) -> Self {
        match why {
            NoChannel::Ring(why) => why.into(),
            NoChannel::Io(error) => error,
        }
    }
}

impl From<io::Error> for NoChannel {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<NoUring> for NoChannel {
    fn from(why: NoUring) -> Self {
        Self::Ring(why)
    }
}
