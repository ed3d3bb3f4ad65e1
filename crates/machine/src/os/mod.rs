//! The operating system, where a ring is not the way: threads and cores, what the process uses, how files are opened,
//! known, and changed in place.
//!
//! One file per system behind the one surface that is re-exported here. What a system does not have is an error of kind
//! `Unsupported`, never a pretence.

#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
mod system;
#[cfg(windows)]
#[path = "windows/mod.rs"]
mod system;
// What is only bytes is tested on every system.
#[cfg(all(test, not(windows)))]
#[path = "windows/protocol.rs"]
mod protocol;
#[cfg(all(test, not(windows)))]
#[path = "windows/scsi.rs"]
mod scsi;
#[cfg(all(test, not(windows)))]
#[path = "windows/storage.rs"]
mod storage;

mod names;
pub(crate) mod probe;

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

pub use probe::{Finding, Outcome, System, probe, this_system};
pub(crate) use system::{
    CANCELLED, deallocate, huge_bytes, largest_socket_buffers, nvme_command, nvme_control, nvme_has_poll_queues,
    nvme_node, nvme_nsid, nvme_open, nvme_transfer_limits, read_exact_at, read_exact_vectored_at, unpin,
    write_all_vectored_at, zero, zone_action, zone_report, zoned_disk,
};
pub use system::{
    Claim, DISK_ERRORS, Guard, IO_ERROR, Process, Ward, allocate, allocated_bytes, allowed_cpus, available_memory,
    block_device_bytes, boot_id, claim_drive, connected_sockets, direct_alignment, disk_error, drive_name,
    drive_serial, drive_volumes, drives, end_with_guard, file_key, files, get_xattr, guard, huge_page_pool, io_poll,
    is_block_device, is_drive, is_read_only_disk, kind, mode, never_gives_huge_pages, on_signal, on_wish, open_data,
    pin_to, process_cpu, punches_holes, raise_file_limit, replace, rss_bytes, runtime_dir, set_xattr, started,
    sync_directory, thread_usage, total_memory, usage, ward_ready, write_all_at,
};
#[cfg(target_os = "linux")]
pub(crate) use system::{RawCommand, nvme_entry, persistence_domain};
#[cfg(windows)]
pub(crate) use system::{allow_large_pages, drive_path, information};

/// What a process or a thread has used so far. All zero where the system does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user mode.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// Times the scheduler took the core away although there was more to do.
    pub involuntary_switches: u64,
    /// The largest resident set so far, in bytes; of the process, also for a thread.
    pub max_rss_bytes: u64,
}

/// The file descriptors of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Files {
    /// Those that are open.
    pub open: u64,
    /// How many there may be; `None` without a limit.
    pub most: Option<u64>,
}

/// Huge pages of 2 MiB that are set aside for programs which ask for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HugePagePool {
    /// How many there are.
    pub all: usize,
    /// How many nobody has, and nobody was promised.
    pub free: usize,
}

/// What somebody outside wants of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To end in order: SIGTERM; on Windows, a console that is closed, a user who logs off, a machine that shuts down.
    Stop,
    /// The same by somebody at the keyboard, who asks again when it takes too long: SIGINT; on Windows, Ctrl-C and
    /// Ctrl-Break.
    Interrupt,
    /// To read its configuration again: SIGHUP. A program without one takes it as the wish to end, as is usual when a
    /// terminal goes away.
    Reload,
}

/// What a [`Guard`] hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The ward has said that it is ready.
    Ready,
    /// The ward has ended.
    Ended(End),
    /// Somebody outside wants something.
    Wish(Wish),
}

/// Why a path does not lead to the file of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoFile {
    /// What it is instead: a sentence without its end.
    pub why: String,
    /// What to do about it: sentences.
    pub hint: String,
}

/// Whether the system takes this path for something else than the file of that name, as Windows does with `NUL`, or has
/// nothing of its kind, as Windows has no `/dev`. Nothing is opened.
#[must_use]
pub fn no_file(path: &Path) -> Option<NoFile> {
    if cfg!(windows) { names::of_windows(path.to_str()?) } else { None }
}

/// The command of this system with which a person gives a file this length.
#[must_use]
pub fn length_command(path: &Path, bytes: u64) -> String {
    let path = path.display();
    if cfg!(windows) { format!("fsutil file setEOF {path} {bytes}") } else { format!("truncate -s {bytes} {path}") }
}

/// The command of this system with which a person makes a directory, and those above it.
#[must_use]
pub fn directory_command(path: &Path) -> String {
    format!("{} {}", if cfg!(windows) { "mkdir" } else { "mkdir -p" }, path.display())
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal: killed from outside, or by an abort.
    Signal(i32),
    /// Of Windows: by an exception that nobody handled, or by an abort; its `NTSTATUS`.
    Exception(u32),
}

/// A drive as the system tells of it, without its data being read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drive {
    /// The name of its device, without the folder of devices.
    pub name: String,
    /// What its maker calls it.
    pub model: Option<String>,
    /// Of its firmware.
    pub revision: Option<String>,
    /// As its driver has it.
    pub serial: Option<String>,
    /// What it is connected by: `nvme`, `sata`, `usb`.
    pub bus: &'static str,
    /// Whether it takes NVMe commands ([`crate::passthru`]).
    pub nvme: bool,
    /// Its size; 0 without a medium.
    pub bytes: u64,
    /// Bytes of the blocks that it is addressed by; 0 where the system does not say.
    pub block_bytes: u32,
    /// Bytes of the blocks of its medium: smaller writes are read, changed and written.
    pub physical_bytes: u32,
    /// It takes no writes.
    pub read_only: bool,
    /// How many there are on it.
    pub partitions: usize,
}

/// Why a drive cannot be claimed ([`claim_drive`]).
#[derive(Debug)]
pub enum NoClaim {
    /// Another process, which asks for claims as well, has it.
    Held,
    /// File systems of these names are on it.
    Mounted(Vec<String>),
    /// The system refuses something.
    System {
        /// What was asked for: a noun.
        what: String,
        /// Its reason.
        error: io::Error,
    },
}

/// How [`open_data`] opens a file or a block device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenMode {
    /// For reading only.
    pub read_only: bool,
    /// Past the page cache (`O_DIRECT`). A file system that cannot do it gives `InvalidInput`.
    pub direct: bool,
    /// Makes an empty file if there is none.
    pub create: bool,
    /// A block device is claimed (`O_EXCL`), as mounting it does: one that is mounted or claimed already gives
    /// `ResourceBusy`, and nobody else can claim it as long as the file is open. Without effect on regular files.
    pub claim: bool,
}

/// What direct I/O asks for, in bytes; both are powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alignment {
    /// Of the buffer's address.
    pub memory: u32,
    /// Of the offset in the file and of the length.
    pub offset: u32,
}

#[cfg(windows)]
impl Alignment {
    /// Whether direct I/O takes bytes at this address for a place in a file.
    pub(crate) fn admits(self, bytes: &[u8], offset: u64) -> bool {
        bytes.as_ptr().addr().is_multiple_of(self.memory as usize)
            && (offset | bytes.len() as u64).is_multiple_of(self.offset.into())
    }
}

/// What an error of the system says of a disk, as far as somebody who serves it tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// There is no space: on the file system, for this user, or in a file that cannot grow any more.
    Full,
    /// It must not be written to.
    WriteProtected,
    /// The medium cannot be read, or not be written to.
    Medium,
    /// Anything else, which says nothing of the blocks.
    Other,
}

/// The number of an error that disks give, by its name in POSIX: one of [`DISK_ERRORS`].
#[must_use]
pub fn disk_error_number(name: &str) -> Option<i32> {
    DISK_ERRORS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// How far a store has to get to survive a power cut.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PersistenceDomain {
    /// To the processor's caches, which are emptied with the last of the power (eADR).
    Caches,
    /// To the memory's controller: its line has to be written back.
    Memory,
}

/// Tells a file from its copies on the same file system: a copy has another inode, and a reused inode another birth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileKey {
    /// Inode number.
    pub inode: u64,
    /// When the inode was made, since 1970; `None` where the file system does not say.
    pub born: Option<Duration>,
}

/// The largest socket buffers that the kernel grants, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketBuffers {
    pub(crate) send: usize,
    pub(crate) receive: usize,
}

/// Whether a [`Guard`] started this process.
#[must_use]
pub fn is_ward() -> bool {
    guard().is_some()
}

/// Locks a file for this opening of it, against all others that ask for a lock. False: somebody else has one, or, on
/// some systems, this opening already. The lock goes when the file is closed, also by a crash, and keeps nobody from
/// reading and writing.
///
/// # Errors
/// The file system has no locks.
pub fn lock_exclusive(file: &File) -> io::Result<bool> {
    system::try_lock(file, true)
}

/// The same, with any number of others that do this, and nobody who has [`lock_exclusive`].
///
/// # Errors
/// The file system has no locks.
pub fn lock_shared(file: &File) -> io::Result<bool> {
    system::try_lock(file, false)
}

/// Gives the lock of this opening back.
///
/// # Errors
/// Those of the file system.
pub fn unlock(file: &File) -> io::Result<()> {
    system::unlock(file)
}

#[cfg(test)]
mod tests;
