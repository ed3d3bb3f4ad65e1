//! Opening files and block devices, and what can be told about them.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rustix::fs::{
    AtFlags, FallocateFlags, StatxFlags, XattrFlags, fallocate, fgetxattr, fsetxattr, ioctl_blksszget, major, minor,
    statx,
};
use rustix::io::{Errno, retry_on_intr};

use crate::os::{Alignment, FileKey, OpenMode};

/// Right for every disk whose blocks are at most a page: what direct I/O is given where the kernel does not say.
const CAUTIOUS: u32 = 4096;

/// Opens a file or block device for data.
///
/// # Errors
/// Those of `open`; `InvalidInput` where direct I/O is not possible: it is worth another try without. `ResourceBusy`:
/// a block device to be claimed is mounted, or claimed by somebody else.
pub fn open_data(path: &Path, mode: OpenMode) -> io::Result<File> {
    let mut flags = if mode.direct { libc::O_DIRECT } else { 0 };
    // Together with O_CREAT the flag means something else, and without it nothing but on a block device (open(2)).
    let claim = mode.claim && fs::metadata(path).is_ok_and(|found| found.file_type().is_block_device());
    if claim {
        flags |= libc::O_EXCL;
    }
    OpenOptions::new()
        .read(true)
        .write(!mode.read_only)
        .create(mode.create && !mode.read_only && !claim)
        .custom_flags(flags)
        .open(path)
}

/// What direct I/O on this file asks for: `STATX_DIOALIGN` (Linux 6.1), else a block device's logical block, else a
/// page.
///
/// # Errors
/// Those of `statx`.
pub fn direct_alignment(file: &File) -> io::Result<Alignment> {
    let stat = match statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) {
        Ok(stat) => Some(stat),
        Err(Errno::NOSYS) => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(stat) = stat
        && stat.stx_mask & StatxFlags::DIOALIGN.bits() != 0
        && stat.stx_dio_offset_align != 0
    {
        return Ok(Alignment { memory: stat.stx_dio_mem_align.max(1), offset: stat.stx_dio_offset_align });
    }
    let offset = if is_block_device(file)? { ioctl_blksszget(file)? } else { CAUTIOUS };
    Ok(Alignment { memory: CAUTIOUS, offset })
}

/// Whether it is a block device rather than a file.
///
/// # Errors
/// Those of `fstat`.
pub fn is_block_device(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.file_type().is_block_device())
}

/// Who may do what with a file: the nine bits of its mode.
///
/// # Errors
/// As `fstat`.
pub fn mode(file: &File) -> io::Result<Option<u32>> {
    Ok(Some(file.metadata()?.mode() & 0o777))
}

/// Whether it is a block device that takes no writes. It can be opened for them all the same (Linux 6.5).
#[must_use]
pub fn is_read_only_disk(file: &File) -> bool {
    let Ok(metadata) = file.metadata() else { return false };
    let device = format!("/sys/dev/block/{}:{}/ro", major(metadata.rdev()), minor(metadata.rdev()));
    metadata.file_type().is_block_device() && fs::read_to_string(device).is_ok_and(|ro| ro.trim() != "0")
}

/// The size of a block device (its metadata says 0). Moves the file's cursor.
///
/// # Errors
/// Those of `lseek`.
pub fn block_device_bytes(mut file: &File) -> io::Result<u64> {
    file.seek(SeekFrom::End(0))
}

/// Space that a file takes on its file system, in bytes.
///
/// # Errors
/// Those of `fstat`.
pub fn allocated_bytes(file: &File) -> io::Result<u64> {
    // In units of 512 bytes whatever the file system's block is (stat(3type)).
    Ok(file.metadata()?.blocks() * 512)
}

/// Makes a file at least so long, and takes the space for all of that: writing to it will not lack any. What is there
/// stays.
///
/// # Errors
/// Those of `fallocate`; with `StorageFull` some of the space may have been taken.
pub fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    Ok(retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, bytes))?)
}

/// Puts a file in the place of another one, or where none is: whoever looks finds either of them, also after a crash.
/// Who has the old one open keeps it. What is durable of it is said by [`sync_directory`].
///
/// # Errors
/// Those of the system; both files are as they were.
pub fn replace(new: &Path, path: &Path) -> io::Result<()> {
    fs::rename(new, path)
}

/// Makes the names in a directory durable.
///
/// # Errors
/// Those of opening it and of `fsync`.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Whether holes can be punched: a range gives its space back and reads as zeros from then on, also where it covers a
/// file system's block only in part. To be asked of what is open for writing; a file that is not gives false.
#[must_use]
pub fn punches_holes(file: &File) -> bool {
    let Ok(metadata) = file.metadata() else { return false };
    if metadata.file_type().is_block_device() {
        // There the kernel makes a write-zeroes command that may unmap out of it, and refuses it if the device has
        // none (blkdev_fallocate); trying it would cost data.
        return writes_zeroes(metadata.rdev());
    }
    // A hole behind the end is one already: this asks, and changes nothing.
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let end = metadata.len().next_multiple_of(CAUTIOUS.into());
    retry_on_intr(|| fallocate(file, flags, end, CAUTIOUS.into())).is_ok()
}

/// Whether the kernel has a write-zeroes command for the block device with this number.
fn writes_zeroes(device: u64) -> bool {
    disk(device).and_then(|disk| queue_limit(&disk, "write_zeroes_max_bytes")).is_some_and(|bytes| bytes > 0)
}

/// The disk that a block device is or is a part of, or that a file's file system is on, and whether its driver has made
/// queues for polling. `None` where the system does not tell, as of a file system on several disks.
#[must_use]
pub fn io_poll(file: &File) -> Option<(String, bool)> {
    let metadata = file.metadata().ok()?;
    let device = if metadata.file_type().is_block_device() { metadata.rdev() } else { metadata.dev() };
    let disk = disk(device)?;
    let polls = queue_limit(&disk, "io_poll")? > 0;
    Some((disk.file_name()?.to_str()?.to_owned(), polls))
}

/// Where the kernel tells of the disk that the block device with this number is, or is a part of.
fn disk(device: u64) -> Option<PathBuf> {
    let device = fs::canonicalize(format!("/sys/dev/block/{}:{}", major(device), minor(device))).ok()?;
    // A partition has the queue of its disk, which is the directory above.
    let disk = device.ancestors().take(2).find(|directory| directory.join("queue").is_dir());
    disk.map(Path::to_owned)
}

/// A number that the kernel tells of a disk's queue.
fn queue_limit(disk: &Path, name: &str) -> Option<u64> {
    fs::read_to_string(disk.join("queue").join(name)).ok()?.trim().parse().ok()
}

/// Reads an extended attribute, such as `user.qpair.uuid`, into `value` and gives its length. `None`: it is not set.
///
/// # Errors
/// `Unsupported`: the file system has none. `ERANGE`: the attribute is longer than `value`. Device nodes give
/// `PermissionDenied` for names that start with `user.`.
pub fn get_xattr(file: &File, name: &str, value: &mut [u8]) -> io::Result<Option<usize>> {
    match fgetxattr(file, name, value) {
        Ok(len) => Ok(Some(len)),
        Err(Errno::NODATA) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sets an extended attribute. It survives a power loss once the file is synced.
///
/// # Errors
/// As with [`get_xattr`]; `StorageFull` or `ENOSPC` where there is no room for it.
pub fn set_xattr(file: &File, name: &str, value: &[u8]) -> io::Result<()> {
    Ok(fsetxattr(file, name, value, XattrFlags::empty())?)
}

/// What tells this file from a copy of it.
///
/// # Errors
/// Those of `statx`.
pub fn file_key(file: &File) -> io::Result<FileKey> {
    let metadata = file.metadata()?;
    let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    Ok(FileKey { inode: metadata.ino(), born })
}

/// Locks a file for this opening of it. False: somebody else has it.
pub(in crate::os) fn try_lock(file: &File, exclusive: bool) -> io::Result<bool> {
    match if exclusive { file.try_lock() } else { file.try_lock_shared() } {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Gives the lock of this opening back.
pub(in crate::os) fn unlock(file: &File) -> io::Result<()> {
    file.unlock()
}

/// What an error is: the standard library knows all kinds of this system.
#[must_use]
pub fn kind(error: &io::Error) -> io::ErrorKind {
    error.kind()
}
