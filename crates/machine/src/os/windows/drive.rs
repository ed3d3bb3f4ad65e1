//! Physical drives, `\\.\PhysicalDriveN`: which there are, what they are, and having one for oneself.
//!
//! A drive is opened as a file, and read and written in whole sectors; the system has no cache in front of it. Who may
//! open it for its data is an administrator. What is on it, volumes with their file systems, goes on meanwhile:
//!
//! ```text
//!   claim, for writing   sign "a qpair writes" ── somebody's already ─────────────────────▶ held
//!                          └▶ volumes with a part on the drive ── any, and not forced ────▶ mounted: their names
//!                               └▶ each: FSCTL_LOCK_VOLUME ── open files on it ───────────▶ busy
//!                                          └▶ FSCTL_DISMOUNT_VOLUME ──▶ kept locked as long as the claim lives
//!   claim, for reading   sign "a qpair reads"; somebody's "writes" ───────────────────────▶ held
//! ```
//!
//! The system itself refuses writes to sectors of a volume that is mounted and not locked. A drive that is offline
//! (`Set-Disk -IsOffline`) has no volumes. The signs are named mutexes, because a drive takes no locks as files do.
//!
//! Written from the documentation, and not yet run on a drive: Wine has none that can be asked. What is in `storage.rs`
//! is tested without one.

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::path::{Path, PathBuf};
use std::ptr;

use windows_sys::Win32::Foundation::{
    ERROR_ALREADY_EXISTS, ERROR_INSUFFICIENT_BUFFER, ERROR_MORE_DATA, ERROR_NO_MORE_FILES, ERROR_WRITE_PROTECT,
    INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Storage::FileSystem::{
    FindFirstVolumeW, FindNextVolumeW, FindVolumeClose, GetVolumePathNamesForVolumeNameW,
    IOCTL_VOLUME_GET_VOLUME_DISK_EXTENTS, SYNCHRONIZE,
};
use windows_sys::Win32::System::IO::DeviceIoControl;
use windows_sys::Win32::System::Ioctl::{
    DEVICE_DATA_SET_RANGE, DEVICE_MANAGE_DATA_SET_ATTRIBUTES, FSCTL_DISMOUNT_VOLUME, FSCTL_LOCK_VOLUME,
    IOCTL_DISK_GET_DRIVE_GEOMETRY_EX, IOCTL_DISK_GET_DRIVE_LAYOUT_EX, IOCTL_DISK_GET_LENGTH_INFO,
    IOCTL_DISK_IS_WRITABLE, IOCTL_STORAGE_GET_DEVICE_NUMBER, IOCTL_STORAGE_MANAGE_DATA_SET_ATTRIBUTES,
    IOCTL_STORAGE_QUERY_PROPERTY, PropertyStandardQuery, STORAGE_PROPERTY_ID, StorageAccessAlignmentProperty,
    StorageAdapterProperty, StorageDeviceProperty, StorageDeviceTrimProperty,
};
use windows_sys::Win32::System::Threading::{CreateMutexW, OpenMutexW};

use super::file::information;
use super::range::cannot;
use super::security::wide;
use super::storage::{self, Descriptor, Sectors};
use super::{done, is_wine, made, nvme};
use crate::limits::{DRIVE_ANSWER_BYTES, MAX_DRIVES, VOLUME_NAME_UNITS};
use crate::os::{Drive, NoClaim};
use crate::passthru::{Fault, TransferLimits};

const _: () = assert!(
    storage::TRIM_BYTES
        == size_of::<DEVICE_MANAGE_DATA_SET_ATTRIBUTES>().next_multiple_of(8) + size_of::<DEVICE_DATA_SET_RANGE>()
);

/// `FILE_DEVICE_DISK`.
const DISK: u32 = 7;

/// Whether this is the name of a drive. Nothing is opened.
#[must_use]
pub fn is_drive(path: &Path) -> bool {
    storage::drive_number(path).is_some()
}

/// The drives of this machine.
///
/// They are tried by their numbers, of which some may be missing. Nobody has to be an administrator for this.
#[must_use]
pub fn drives() -> Option<Vec<Drive>> {
    if is_wine() {
        // It makes a drive of some size out of each folder that it shows as one.
        return Some(Vec::new());
    }
    Some((0..MAX_DRIVES).filter_map(look).collect())
}

fn look(number: u32) -> Option<Drive> {
    let path = storage::drive_path(number);
    let file = OpenOptions::new().access_mode(0).open(&path).ok()?;
    let known = descriptor(&file).unwrap_or_default();
    let (sector, bytes) = geometry(&file).unwrap_or_default();
    let sectors = sectors(&file);
    Some(Drive {
        name: path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned()),
        model: known.model(),
        bus: storage::bus_name(known.bus),
        nvme: known.is_nvme(),
        bytes,
        block_bytes: sectors.map_or(sector, |sectors| sectors.logical),
        physical_bytes: sectors.map_or(sector, |sectors| sectors.physical),
        read_only: is_read_only(&file),
        partitions: partitions(&file).unwrap_or(0),
        revision: known.revision,
        serial: known.serial,
    })
}

/// The first NVMe drive there is, or else the first of any kind: for questions.
///
/// # Errors
/// There is none that can be asked.
pub(super) fn first() -> io::Result<File> {
    let open = |number| OpenOptions::new().access_mode(0).open(storage::drive_path(number)).ok();
    let found: Vec<_> = (0..if is_wine() { 0 } else { MAX_DRIVES }).filter_map(open).collect();
    let nvme = found.iter().position(|file| descriptor(file).is_some_and(|known| known.is_nvme()));
    let none = || io::Error::new(io::ErrorKind::NotFound, "there is no drive that can be asked");
    found.into_iter().nth(nvme.unwrap_or(0)).ok_or_else(none)
}

/// What a drive is, and what it is connected by.
pub(super) fn described(file: &File) -> io::Result<String> {
    let known = Descriptor::read(&property(file, StorageDeviceProperty)?).ok_or(io::ErrorKind::InvalidData)?;
    Ok(format!("{}, {}", known.model().unwrap_or_default(), storage::bus_name(known.bus)))
}

/// Whether a drive takes TRIM.
pub(super) fn trims(file: &File) -> io::Result<bool> {
    Ok(storage::trims(&property(file, StorageDeviceTrimProperty)?))
}

/// The number of a drive that is open; `None` if it is something else.
pub(super) fn number(file: &File) -> Option<u32> {
    // Files and folders have a place in a file system, and devices have none.
    if information(file).is_ok() {
        return None;
    }
    let answer = ask(file, IOCTL_STORAGE_GET_DEVICE_NUMBER, &[]).ok()?;
    let [kind, number, partition] = [0, 4, 8].map(|at| storage::word(&answer, at));
    // Of a drive that cannot have partitions it is all ones.
    let whole = matches!(partition, Some(0 | u32::MAX));
    number.filter(|_| kind == Some(DISK) && whole)
}

/// The name that an open drive can be opened by once more.
pub(crate) fn drive_path(file: &File) -> Option<PathBuf> {
    number(file).map(storage::drive_path)
}

/// The one spelling of a drive's name: `\\.\PhysicalDriveN`, however somebody wrote it. `None` of anything else.
#[must_use]
pub fn drive_name(path: &Path) -> Option<PathBuf> {
    storage::drive_number(path).map(storage::drive_path)
}

/// What tells a drive from all others, for good: its maker, its model, its serial number. `None` without one.
#[must_use]
pub fn drive_serial(file: &File) -> Option<String> {
    number(file)?;
    descriptor(file)?.unique()
}

/// The sectors of an open drive.
pub(super) fn sectors(file: &File) -> Option<Sectors> {
    let told = property(file, StorageAccessAlignmentProperty).ok().and_then(|answer| Sectors::read(&answer));
    told.or_else(|| geometry(file).map(|(bytes, _)| Sectors { logical: bytes, physical: bytes }))
}

/// The size of an open drive in bytes.
pub(super) fn bytes(file: &File) -> io::Result<u64> {
    // This asks for the right to read, the other one for none.
    match ask(file, IOCTL_DISK_GET_LENGTH_INFO, &[]) {
        Ok(answer) => storage::long(&answer, 0).ok_or_else(|| io::ErrorKind::InvalidData.into()),
        Err(error) => geometry(file).map(|(_, bytes)| bytes).ok_or(error),
    }
}

/// Whether a drive takes no writes.
pub(super) fn is_read_only(file: &File) -> bool {
    let asked = ask(file, IOCTL_DISK_IS_WRITABLE, &[]);
    asked.is_err_and(|error| error.raw_os_error() == Some(ERROR_WRITE_PROTECT.cast_signed()))
}

/// Frees a range of an open drive if the drive can: a hint, after which nobody knows what is read there.
///
/// The documentation of `DeviceDsmAction_Trim`, which reaches drives of all kinds, has it as a request of drivers
/// rather than of programs, and programs are known to send it all the same. Where the system refuses it, UNMAP is sent,
/// which the driver of NVMe drives is documented to take. A drive that takes neither is left as it is.
pub(super) fn trim(file: &File, offset: u64, len: u64) -> io::Result<()> {
    if !trims(file).is_ok_and(|trims| trims) {
        return Ok(());
    }
    let request = storage::trim(offset, len).ok_or(io::ErrorKind::InvalidInput)?;
    match control(file, IOCTL_STORAGE_MANAGE_DATA_SET_ATTRIBUTES, &request, &mut []) {
        Err(error) if refuses(&error) => {}
        done => return done.map(drop),
    }
    match nvme::unmap(file, offset, len) {
        // Invalid Command Opcode, Invalid Field in Command.
        Ok(()) | Err(Fault::Status { status: 1 | 2, .. }) => Ok(()),
        Err(Fault::Host(error)) if refuses(&error) => Ok(()),
        Err(Fault::Host(error)) => Err(error),
        Err(Fault::Status { status, .. }) => {
            Err(io::Error::other(format!("UNMAP ended with the status {status:#05x}")))
        }
    }
}

/// Whether the system does not let this be done here, rather than having failed at it.
fn refuses(error: &io::Error) -> bool {
    cannot(error) || super::kind(error) == io::ErrorKind::PermissionDenied
}

/// What one request may move to or from an open drive.
pub(super) fn transfer_limits(file: &File) -> Option<TransferLimits> {
    storage::transfer_limits(&property(file, StorageAdapterProperty).ok()?)
}

fn descriptor(file: &File) -> Option<Descriptor> {
    Descriptor::read(&property(file, StorageDeviceProperty).ok()?)
}

fn geometry(file: &File) -> Option<(u32, u64)> {
    storage::geometry(&ask(file, IOCTL_DISK_GET_DRIVE_GEOMETRY_EX, &[]).ok()?)
}

fn partitions(file: &File) -> Option<usize> {
    storage::partitions(&ask(file, IOCTL_DISK_GET_DRIVE_LAYOUT_EX, &[]).ok()?)
}

/// `STORAGE_PROPERTY_QUERY`.
fn property(file: &File, property: STORAGE_PROPERTY_ID) -> io::Result<Vec<u8>> {
    let mut query = [0; 12];
    query[..4].copy_from_slice(&property.to_le_bytes());
    query[4..8].copy_from_slice(&PropertyStandardQuery.to_le_bytes());
    ask(file, IOCTL_STORAGE_QUERY_PROPERTY, &query)
}

/// A request whose answer has any length: the bytes that came.
fn ask(file: &File, request: u32, input: &[u8]) -> io::Result<Vec<u8>> {
    let mut answer = vec![0; DRIVE_ANSWER_BYTES];
    let len = control(file, request, input, &mut answer)?;
    answer.truncate(len);
    Ok(answer)
}

/// A request to a driver, which this waits for: how many bytes of the answer came.
pub(super) fn control(file: &File, request: u32, input: &[u8], answer: &mut [u8]) -> io::Result<usize> {
    let mut came = 0;
    let (start, room) = (answer.as_mut_ptr().cast::<c_void>(), answer.len() as u32);
    // SAFETY: the handle is open and one for calls that wait; both buffers are as long as is said.
    let yes = unsafe {
        let (input, len) = (input.as_ptr().cast(), input.len() as u32);
        DeviceIoControl(file.as_raw_handle(), request, input, len, start, room, &raw mut came, ptr::null_mut())
    };
    done(yes).map(|()| (came as usize).min(answer.len()))
}

/// What keeps others off a drive while it is open; see above.
pub struct Claim {
    _sign: Option<OwnedHandle>,
    /// Locked as long as they are open.
    _volumes: Vec<File>,
}

/// Claims an open drive. With `force`, its volumes are locked and dismounted: what their files have not written yet is
/// written, and they are there again when the claim is dropped. Anything but a drive needs no claim.
///
/// # Errors
/// Who has it, or what is on it.
pub fn claim_drive(file: &File, read_only: bool, force: bool) -> Result<Claim, NoClaim> {
    let Some(number) = number(file) else { return Ok(Claim { _sign: None, _volumes: Vec::new() }) };
    let sign = sign(number, !read_only)?;
    if read_only {
        return Ok(Claim { _sign: Some(sign), _volumes: Vec::new() });
    }
    let volumes = volumes(number).map_err(|error| NoClaim::System { what: "its volumes".to_owned(), error })?;
    if !volumes.is_empty() && !force {
        return Err(NoClaim::Mounted(volumes.iter().map(Volume::shown).collect()));
    }
    let locked = volumes.iter().map(|volume| {
        volume.take().map_err(|error| NoClaim::System { what: format!("the volume {}", volume.shown()), error })
    });
    Ok(Claim { _sign: Some(sign), _volumes: locked.collect::<Result<_, _>>()? })
}

/// The volumes that have a part on the drive of this name, as their users know them.
///
/// # Errors
/// Those of asking.
pub fn drive_volumes(path: &Path) -> io::Result<Vec<String>> {
    let Some(number) = storage::drive_number(path) else { return Ok(Vec::new()) };
    Ok(volumes(number)?.iter().map(Volume::shown).collect())
}

/// Says to other processes that this one writes to a drive, or reads it. It ends with the handle, also by a crash.
fn sign(drive: u32, writes: bool) -> Result<OwnedHandle, NoClaim> {
    let name = |writes| {
        let what = if writes { "writes" } else { "reads" };
        wide(&format!(r"Global\qpair-{what}-PhysicalDrive{drive}"))
    };
    let failed = |error: io::Error| match super::kind(&error) {
        // That of another user.
        io::ErrorKind::PermissionDenied => NoClaim::Held,
        _ => NoClaim::System { what: "a sign for other programs".to_owned(), error },
    };
    let (mine, others) = (name(writes), name(!writes));
    // SAFETY: the name ends with a zero.
    let mine = made(unsafe { CreateMutexW(ptr::null(), 0, mine.as_ptr()) });
    let was_there = io::Error::last_os_error().raw_os_error() == Some(ERROR_ALREADY_EXISTS.cast_signed());
    let mine = mine.map_err(failed)?;
    if writes && was_there {
        return Err(NoClaim::Held);
    }
    // Both put theirs up before they look for the other's: of two that come at once, one is told, or both are.
    // SAFETY: the name ends with a zero.
    match made(unsafe { OpenMutexW(SYNCHRONIZE, 0, others.as_ptr()) }) {
        Ok(_) => Err(NoClaim::Held),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(mine),
        Err(error) => Err(failed(error)),
    }
}

/// A volume of the system.
struct Volume {
    /// `\\?\Volume{...}\`.
    name: String,
    /// Where it can be reached: drive letters, folders.
    places: Vec<String>,
}

impl Volume {
    fn shown(&self) -> String {
        if self.places.is_empty() { self.name.clone() } else { self.places.join(", ") }
    }

    /// Opens the volume itself: without the backslash at the end, which would be its folder.
    fn open(name: &str, writes: bool) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let options = if writes { options.read(true).write(true) } else { options.access_mode(0) };
        options.open(name.trim_end_matches('\\'))
    }

    /// Locks and dismounts it. A volume with open files cannot be locked.
    fn take(&self) -> io::Result<File> {
        let file = Self::open(&self.name, true)?;
        control(&file, FSCTL_LOCK_VOLUME, &[], &mut [])?;
        control(&file, FSCTL_DISMOUNT_VOLUME, &[], &mut [])?;
        Ok(file)
    }

    fn is_on(name: &str, drive: u32) -> io::Result<bool> {
        let answer = Self::open(name, false).and_then(|file| ask(&file, IOCTL_VOLUME_GET_VOLUME_DISK_EXTENTS, &[]));
        match answer {
            Ok(answer) => storage::is_on(&answer, drive).ok_or_else(|| io::ErrorKind::InvalidData.into()),
            // More parts than fit: better one volume too many than one too few.
            Err(error) if error.raw_os_error() == Some(ERROR_MORE_DATA.cast_signed()) => Ok(true),
            // Not on drives: optical media, memory, the network. Or gone by now, or without a medium.
            Err(error) if cannot(&error) => Ok(false),
            Err(error) if matches!(super::kind(&error), io::ErrorKind::NotFound | io::ErrorKind::ResourceBusy) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// The volumes that have a part on a drive.
fn volumes(drive: u32) -> io::Result<Vec<Volume>> {
    let mut found = Vec::new();
    for name in volume_names()? {
        if Volume::is_on(&name, drive)? {
            found.push(Volume { places: places(&name)?, name });
        }
    }
    Ok(found)
}

/// The names of all volumes.
fn volume_names() -> io::Result<Vec<String>> {
    let mut name = [0; VOLUME_NAME_UNITS];
    // SAFETY: the buffer is as long as is said.
    let search = unsafe { FindFirstVolumeW(name.as_mut_ptr(), name.len() as u32) };
    if search == INVALID_HANDLE_VALUE {
        return match io::Error::last_os_error() {
            none if none.raw_os_error() == Some(ERROR_NO_MORE_FILES.cast_signed()) => Ok(Vec::new()),
            error => Err(error),
        };
    }
    let mut names = storage::strings(&name);
    let ended = loop {
        name.fill(0);
        // SAFETY: the search is open, and the buffer as long as is said.
        match done(unsafe { FindNextVolumeW(search, name.as_mut_ptr(), name.len() as u32) }) {
            Ok(()) => names.extend(storage::strings(&name)),
            Err(error) => break error,
        }
    };
    // SAFETY: the search is open, and ends here.
    unsafe { FindVolumeClose(search) };
    if ended.raw_os_error() == Some(ERROR_NO_MORE_FILES.cast_signed()) { Ok(names) } else { Err(ended) }
}

/// Where a volume can be reached.
fn places(volume: &str) -> io::Result<Vec<String>> {
    let name = wide(volume);
    let mut units = vec![0; VOLUME_NAME_UNITS];
    loop {
        let mut wanted = 0;
        // SAFETY: the name ends with a zero, and the buffer is as long as is said.
        let told = done(unsafe {
            let (start, len) = (units.as_mut_ptr(), units.len() as u32);
            GetVolumePathNamesForVolumeNameW(name.as_ptr(), start, len, &raw mut wanted)
        });
        match told {
            Ok(()) => return Ok(storage::strings(&units)),
            Err(error)
                if (error.raw_os_error() == Some(ERROR_MORE_DATA.cast_signed())
                    || error.raw_os_error() == Some(ERROR_INSUFFICIENT_BUFFER.cast_signed()))
                    && wanted as usize > units.len() =>
            {
                units.resize(wanted as usize, 0);
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_no_drives() {
        let file = tempfile::tempfile().expect("a file");
        assert_eq!((number(&file), drive_path(&file), drive_serial(&file)), (None, None, None));
        assert_eq!(transfer_limits(&file), None);
        trim(&file, 0, 4096).expect("what has no TRIM is left as it is");
        assert!(claim_drive(&file, false, false).is_ok());
    }

    #[test]
    fn one_writes_to_a_drive_or_several_read_it() {
        // No drive has this number.
        let drive = u32::MAX - 7;
        let held = |sign: Result<OwnedHandle, NoClaim>| matches!(sign, Err(NoClaim::Held));
        let writer = sign(drive, true).expect("nobody has it");
        assert!(held(sign(drive, true)) && held(sign(drive, false)));
        drop(writer);
        let readers = [sign(drive, false).expect("nobody writes"), sign(drive, false).expect("nobody writes")];
        assert!(held(sign(drive, true)));
        drop(readers);
        sign(drive, true).expect("it is free again");
    }

    #[test]
    fn volumes_have_names_and_places() {
        let names = volume_names().expect("told");
        for name in &names {
            assert!(name.starts_with(r"\\?\Volume{") && name.ends_with('\\'), "{name}");
            places(name).expect("told");
        }
        assert_eq!(drive_volumes(Path::new(r"D:\disk.img")).expect("no drive"), [""; 0]);
    }
}
