//! Opening files, and what can be told about them.
//!
//! All are opened so that others may read, write, rename and remove them at the same time, as on other systems; who
//! must be alone asks for the lock (`os::try_lock`).
//!
//! Not yet run on a real Windows: direct I/O that is refused (Wine takes all), the answers of `FileStorageInfo`, and
//! `FileAllocationInfo` (Wine has neither).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::thread;
use std::time::Duration;

use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_ALIGNMENT_INFO, FILE_ALLOCATION_INFO, FILE_ATTRIBUTE_SPARSE_FILE,
    FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_NO_BUFFERING, FILE_ID_INFO, FILE_INFO_BY_HANDLE_CLASS, FILE_STANDARD_INFO,
    FILE_STORAGE_INFO, FileAlignmentInfo, FileAllocationInfo, FileIdInfo, FileStandardInfo, FileStorageInfo,
    GetFileInformationByHandle, GetFileInformationByHandleEx, SetFileInformationByHandle,
};
use windows_sys::Win32::System::Ioctl::FSCTL_SET_SPARSE;

use super::error::kind;
use super::range::{cannot, fill_holes, fsctl, write_zeros, zero_data};
use super::{done, drive, is_wine, since_1970, unsupported};
use crate::os::{Alignment, FileKey, OpenMode};

/// Right for every disk whose sectors are at most a page: what direct I/O is given where the system does not say.
const CAUTIOUS: u32 = 4096;

/// How often a file is tried to be replaced, and how soon again: for a quarter of a second in all.
const REPLACE_TRIES: u32 = 25;
const REPLACE_INTERVAL: Duration = Duration::from_millis(10);

/// Opens a file or a drive for data. A new file is made sparse where the file system can do it: it takes space by use,
/// and gives it back. What is there already stays as it is, as other programs may not take sparse files (virtual
/// disks).
///
/// # Errors
/// Those of opening. A file system that does not do direct I/O gives `InvalidInput`.
pub fn open_data(path: &Path, mode: OpenMode) -> io::Result<File> {
    let create = mode.create && !mode.read_only;
    let file = OpenOptions::new()
        .read(true)
        .write(!mode.read_only)
        .create(create)
        .custom_flags(if mode.direct { FILE_FLAG_NO_BUFFERING } else { 0 })
        .open(path)?;
    if create && file.metadata().is_ok_and(|found| found.len() == 0) {
        // Where this cannot be done the space is taken with the length, and that gives the error.
        let _ = fsctl(&file, FSCTL_SET_SPARSE, &[]);
    }
    Ok(file)
}

/// What direct I/O on this file asks for: the sectors of its disk, and what the driver says of memory; else a page.
///
/// # Errors
/// None: what the system does not say is assumed cautiously.
pub fn direct_alignment(file: &File) -> io::Result<Alignment> {
    let sector = match ask::<FILE_STORAGE_INFO>(file, FileStorageInfo) {
        _ if drive::number(file).is_some() => drive::sectors(file).map_or(CAUTIOUS, |sectors| sectors.logical),
        Ok(storage) if storage.LogicalBytesPerSector.is_power_of_two() => storage.LogicalBytesPerSector,
        _ => CAUTIOUS,
    };
    // A mask: that of a driver that wants multiples of 4 is 3. Whole sectors are what is documented to be enough.
    let driver = ask::<FILE_ALIGNMENT_INFO>(file, FileAlignmentInfo).map_or(0, |driver| driver.AlignmentRequirement);
    let driver = driver.saturating_add(1).checked_next_power_of_two().unwrap_or(CAUTIOUS);
    Ok(Alignment { memory: driver.max(sector), offset: sector })
}

/// Whether it is a physical drive rather than a file.
///
/// # Errors
/// None.
pub fn is_block_device(file: &File) -> io::Result<bool> {
    Ok(drive::number(file).is_some())
}

/// Who may do what with a file is not told by nine bits here.
///
/// # Errors
/// None.
pub fn mode(_file: &File) -> io::Result<Option<u32>> {
    Ok(None)
}

/// The size of a drive, or of a file.
///
/// # Errors
/// Those of asking.
pub fn block_device_bytes(file: &File) -> io::Result<u64> {
    if drive::number(file).is_some() { drive::bytes(file) } else { Ok(file.metadata()?.len()) }
}

/// Space that a file takes on its file system, in bytes.
///
/// # Errors
/// Those of asking.
pub fn allocated_bytes(file: &File) -> io::Result<u64> {
    Ok(ask::<FILE_STANDARD_INFO>(file, FileStandardInfo)?.AllocationSize.cast_unsigned())
}

/// Makes a file at least so long, and takes the space for all of that: writing to it will not lack any. What is there
/// stays. Nobody may write to the file meanwhile.
///
/// # Errors
/// Those of the system; with `StorageFull` some of the space may have been taken.
pub fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    let found = file.metadata()?;
    if found.len() < bytes {
        // Never less than there is: that would cut it off.
        match take_space(file, bytes) {
            Ok(()) if found.file_attributes() & FILE_ATTRIBUTE_SPARSE_FILE == 0 => file.set_len(bytes)?,
            // A longer sparse file would have a hole at its end.
            Ok(()) => write_zeros(file, found.len(), bytes - found.len())?,
            Err(error) if cannot(&error) => write_zeros(file, found.len(), bytes - found.len())?,
            Err(error) => return Err(error),
        }
    }
    if allocated_bytes(file)? < bytes { fill_holes(file, bytes) } else { Ok(()) }
}

/// Has the file system set so many bytes aside for a file, whose length stays.
pub(super) fn take_space(file: &File, bytes: u64) -> io::Result<()> {
    let wanted = FILE_ALLOCATION_INFO { AllocationSize: bytes.cast_signed() };
    let len = size_of_val(&wanted) as u32;
    // SAFETY: the structure is the one of this class, and as long as is said.
    done(unsafe {
        SetFileInformationByHandle(file.as_raw_handle(), FileAllocationInfo, (&raw const wanted).cast(), len)
    })
}

/// Puts a file in the place of another one, or where none is: whoever looks finds either of them, also after a crash.
/// Who has the old one open keeps it. What is durable of it is said by [`sync_directory`].
///
/// An open file cannot be replaced before Windows 10, and on file systems without POSIX semantics (FAT, some of
/// networks); nor anywhere one that is mapped, or that is opened without sharing, as virus scanners may do with a file
/// that is new. Those who only look are done with it soon, so this tries again for a while.
///
/// # Errors
/// Those of the system; both files are as they were.
pub fn replace(new: &Path, path: &Path) -> io::Result<()> {
    let mut tries = 1..REPLACE_TRIES;
    loop {
        match fs::rename(new, path) {
            Err(error) if is_in_use(&error) && tries.next().is_some() => thread::sleep(REPLACE_INTERVAL),
            done => return done,
        }
    }
}

/// Whether somebody who has a file open may be the reason.
fn is_in_use(error: &io::Error) -> bool {
    matches!(kind(error), io::ErrorKind::PermissionDenied | io::ErrorKind::ResourceBusy)
}

/// Makes the names in a directory durable: what was made, renamed and removed in it before survives.
///
/// NTFS and ReFS keep names in a journal, and flushing any file of theirs flushes the journal up to its last change;
/// that of the directory itself is asked for here. A file system that refuses it for directories, as FAT does, writes
/// names in its own time: after a crash one is there or it is not.
///
/// # Errors
/// Those of opening the directory, and of the medium.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    let open = |write| OpenOptions::new().read(true).write(write).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path);
    match open(true).and_then(|directory| directory.sync_all()) {
        Err(error) if cannot(&error) || error.kind() == io::ErrorKind::PermissionDenied => open(false).map(drop),
        flushed => flushed,
    }
}

/// Whether it is a drive that takes no writes. It can be opened for them all the same.
#[must_use]
pub fn is_read_only_disk(file: &File) -> bool {
    drive::number(file).is_some() && drive::is_read_only(file)
}

/// Completions are not polled for.
#[must_use]
pub fn io_poll(_file: &File) -> Option<(String, bool)> {
    None
}

/// Whether holes can be punched: a range gives its space back and reads as zeros from then on. Only sparse files have
/// holes; TRIM, which drives have instead, leaves open what is read afterwards. To be asked of what is open for
/// writing; a file that is not gives false.
#[must_use]
pub fn punches_holes(file: &File) -> bool {
    // A hole behind the end is one already: this asks, and changes nothing.
    is_sparse(file) && file.metadata().is_ok_and(|found| zero_data(file, found.len(), CAUTIOUS.into()).is_ok())
}

/// Whether a file may have holes.
pub(super) fn is_sparse(file: &File) -> bool {
    file.metadata().is_ok_and(|found| found.file_attributes() & FILE_ATTRIBUTE_SPARSE_FILE != 0)
}

/// Extended attributes do not exist.
///
/// # Errors
/// Always `Unsupported`.
pub fn get_xattr(_file: &File, _name: &str, _value: &mut [u8]) -> io::Result<Option<usize>> {
    unsupported("an extended attribute")
}

/// Extended attributes do not exist.
///
/// # Errors
/// Always `Unsupported`.
pub fn set_xattr(_file: &File, _name: &str, _value: &[u8]) -> io::Result<()> {
    unsupported("an extended attribute")
}

/// What tells this file from a copy of it: its place in the table of files, and when it was made; of a drive, its
/// number.
///
/// # Errors
/// Those of asking.
pub fn file_key(file: &File) -> io::Result<FileKey> {
    if let Some(number) = drive::number(file) {
        return Ok(FileKey { inode: number.into(), born: None });
    }
    let inode = match ask::<FILE_ID_INFO>(file, FileIdInfo) {
        // NTFS uses 64 bits of them, and gives the same number as below; ReFS uses all.
        Ok(known) => {
            let id = u128::from_le_bytes(known.FileId.Identifier);
            id as u64 ^ ((id >> 64) as u64).rotate_left(32)
        }
        Err(_) => information(file)?.index,
    };
    // Linux does not tell Wine when a file was made: it gives the time of the last write instead.
    let made = if is_wine() { 0 } else { file.metadata()?.creation_time() };
    let born = (made != 0).then(|| since_1970(Duration::from_nanos_u128(100 * u128::from(made))));
    Ok(FileKey { inode, born })
}

/// Where a file lies: the volume, and the place in its table of files.
pub(crate) struct Information {
    pub(crate) volume: u32,
    pub(crate) index: u64,
}

/// What the system knows of an open file.
pub(crate) fn information(file: &File) -> io::Result<Information> {
    let mut known = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open, and the structure is the one that the call fills.
    done(unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut known) })?;
    let index = u64::from(known.nFileIndexHigh) << 32 | u64::from(known.nFileIndexLow);
    Ok(Information { volume: known.dwVolumeSerialNumber, index })
}

/// Answers of `GetFileInformationByHandleEx`: plain numbers, for which zeros are valid.
pub(super) trait Answer: Default {}
impl Answer for FILE_STORAGE_INFO {}
impl Answer for FILE_ALIGNMENT_INFO {}
impl Answer for FILE_STANDARD_INFO {}
impl Answer for FILE_ID_INFO {}

/// Asks for the class of information that `T` is the structure of.
pub(super) fn ask<T: Answer>(file: &File, class: FILE_INFO_BY_HANDLE_CLASS) -> io::Result<T> {
    let mut answer = T::default();
    let len = size_of::<T>() as u32;
    // SAFETY: the handle is open; no more than is said is filled, and the callers name the class of the structure.
    done(unsafe { GetFileInformationByHandleEx(file.as_raw_handle(), class, (&raw mut answer).cast(), len) })?;
    Ok(answer)
}
