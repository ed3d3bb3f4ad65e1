//! From a path to a device, step by step; each step has its own ways to fail, and its own advice.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use machine::os::{self, Claim, NoClaim, NoFile, OpenMode};
use machine::region::Pool;
use machine::zoned;

use super::{FileDevice, FileOptions, polling};
use crate::admit::check_size;
use crate::identity::{self, Origin, Subject};
use crate::limits::{BLOCK_BYTES, DEFAULT_BLOCK_BYTES, MAX_TRANSFER_BYTES, PREFERRED_BYTES, SECTOR_BYTES};
use crate::live_size::LiveSize;
use crate::size::format_size;
use crate::{CopyLimits, Features, Info, OpenError};

pub(super) fn open(path: &Path, options: &FileOptions) -> Result<FileDevice, OpenError> {
    check_way(path, options)?;
    let create = look(path, options)?;
    let mode =
        OpenMode { read_only: options.read_only, direct: false, create, claim: !options.read_only && !options.in_use };
    let base = os::open_data(path, mode).map_err(|error| cannot_open(path, options, error))?;
    if !options.read_only && os::is_read_only_disk(&base) {
        let hint = "Add ,ro to open it so, or allow it writes: blockdev --setrw; on Windows, Set-Disk -IsReadOnly 0.";
        return Err(fail(path, "the block device takes no writes".to_owned(), hint.to_owned(), None));
    }
    let claim = claim(path, &base, options)?;
    let is_block = os::is_block_device(&base).map_err(|error| cannot_ask(path, error))?;
    let zoned = zoned::disk(&base).map_err(|error| cannot_ask(path, error))?;
    let block_bytes = block_size(path, &base, options, is_block || zoned.is_some())?;
    let bytes = match zoned {
        Some(zone) if !is_block => zone_file_bytes(path, zone.zone_sectors * SECTOR_BYTES as u64, options),
        _ if is_block => device_bytes(path, &base, options),
        _ => file_bytes(path, &base, options),
    };
    let bytes = bytes.inspect_err(|_| take_back(path, &base, create))?;
    let blocks = check_size(bytes, block_bytes).map_err(|why| bad_size(path, bytes, block_bytes, is_block, &why))?;

    let identified = if is_block {
        identity::of_block_device(path, &base, options.uuid)
    } else {
        Subject { path, file: &base, read_only: options.read_only, attributes: true }.identify(options.uuid)
    };
    let (identity, origin) = identified.map_err(|error| cannot_ask(path, error))?;
    let (io, piece_bytes, buffered) = match open_direct(path, &base, options, block_bytes) {
        Ok((direct, piece_bytes)) => (direct, piece_bytes, None),
        Err(why) => (open_again(path, &base, options, false).map_err(|error| cannot_ask(path, error))?, 1, Some(why)),
    };
    let io = Arc::new(io);
    if options.polling.any() {
        polling::check(path, &io, buffered.as_deref(), block_bytes, options.polling)?;
    }
    if let Some(why) = &buffered {
        tracing::info!("{}: through the page cache, because {why}", path.display());
    }
    let read_only = options.read_only;
    let info = Info {
        name: path.display().to_string(),
        kind: if is_block { "block" } else { "file" },
        block_bytes,
        blocks,
        preferred_blocks: PREFERRED_BYTES / block_bytes,
        atomic_blocks: 1,
        max_transfer_bytes: MAX_TRANSFER_BYTES,
        piece_bytes,
        features: Features {
            read_only,
            volatile_cache: !read_only,
            lends: false,
            zeros_after_deallocate: !read_only && os::punches_holes(&base),
            thin: !is_block,
            compare: true,
            verify: true,
            write_uncorrectable: false,
            copy: Some(CopyLimits::most(block_bytes)),
        },
        identity,
    };
    // The path of what was opened: whoever is given it may be in another directory.
    let beside = if is_block || read_only { None } else { path.canonicalize().ok() };
    tracing::debug!("{}: {}, {identity:?} ({origin:?})", info.name, format_size(bytes));
    let (size, way, polling) = (LiveSize::new(blocks), polling::way(options), options.polling);
    let passing_identity = origin == Origin::Node;
    let zoned = zoned.is_some();
    Ok(FileDevice { info, size, io, base, _claim: claim, beside, buffered, passing_identity, way, polling, zoned })
}

/// Takes a file away that was made a moment ago, and is of no use. Should somebody else have been faster and put
/// something in, it stays.
fn take_back(path: &Path, base: &File, created: bool) {
    if created && base.metadata().is_ok_and(|found| found.len() == 0) {
        let _ = fs::remove_file(path);
    }
}

/// Whether there is the way that is asked for.
fn check_way(path: &Path, options: &FileOptions) -> Result<(), OpenError> {
    polling::check_way(path, options)?;
    let Some(way) = polling::way(options) else { return Ok(()) };
    let name = path.display().to_string();
    let Some(engine) = way.engine() else {
        let hint = "Name the namespace's own device, for example /dev/ng0n1, or leave path= out.";
        return Err(way.refuse(&name, "an NVMe namespace as a character device of Linux (/dev/ngXnY)", hint));
    };
    engine.check().map_err(|none| {
        let (why, hint) = if options.polling.any() {
            let why = format!("{} needs the path {way}, which is not available: {}", options.polling, none.why);
            (why, format!("Leave {} out. {}", options.polling, none.hint))
        } else {
            (format!("the path {way} is not available: {}", none.why), none.hint.clone())
        };
        OpenError { device: name, why, hint, source: Some(none.into()) }
    })
}

/// Looks at what is there before anything is opened: opening a pipe would wait for its other end. Whether to create.
fn look(path: &Path, options: &FileOptions) -> Result<bool, OpenError> {
    if os::is_drive(path) {
        // It has no place in a file system that could be asked.
        return Ok(false);
    }
    if let Some(NoFile { why, hint }) = os::no_file(path) {
        return Err(fail(path, why, hint, None));
    }
    let found = match fs::metadata(path) {
        Ok(found) => found,
        // Windows says of that, too, that it is not found.
        Err(error) if error.kind() == ErrorKind::NotFound && path.ancestors().skip(1).any(Path::is_file) => {
            return Err(cannot_open(path, options, ErrorKind::NotADirectory.into()));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return may_create(path, options, error),
        Err(error) => return Err(cannot_open(path, options, error)),
    };
    if found.is_dir() {
        let hint = format!("Name a file in it, for example {}.", path.join("disk.img").display());
        return Err(fail(path, "this is a directory".to_owned(), hint, None));
    }
    Ok(false)
}

fn may_create(path: &Path, options: &FileOptions, error: io::Error) -> Result<bool, OpenError> {
    let missing = |hint: &str| fail(path, "there is no such file".to_owned(), hint.to_owned(), None);
    if path.starts_with("/dev") {
        return Err(missing(
            "Check the name; a device may also be gone by now: `qpair list` shows those that are there.",
        ));
    }
    if options.read_only {
        return Err(missing("Check the name; a file that is read-only is not created."));
    }
    let Some(size) = options.size else {
        return Err(missing("Check the name; to create it, give it a size: size=1GiB behind a comma, or --size 1GiB."));
    };
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
            let why = format!("the directory {} does not exist", parent.display());
            Err(fail(path, why, format!("Create it first: {}", os::directory_command(parent)), Some(error)))
        }
        _ => {
            let block_bytes = options.block_bytes.unwrap_or(DEFAULT_BLOCK_BYTES);
            check_size(size, block_bytes).map_err(|why| {
                let why = format!("a size of {size} bytes {why}");
                fail(path, why, "Choose another size, for example --size 1GiB.".to_owned(), None)
            })?;
            Ok(true)
        }
    }
}

/// Keeps a second server away, and of a drive of Windows whatever is mounted on it. It lasts as long as `file` and the
/// claim are there, and goes with the process.
fn claim(path: &Path, file: &File, options: &FileOptions) -> Result<Claim, OpenError> {
    if !os::is_drive(path) {
        lock(path, file, options)?;
    }
    os::claim_drive(file, options.read_only, options.in_use).map_err(|why| unclaimed(path, why))
}

/// Why a drive of Windows cannot be had, and what to do.
pub(crate) fn unclaimed(path: &Path, why: NoClaim) -> OpenError {
    match why {
        NoClaim::Held => held(path),
        NoClaim::Mounted(volumes) => {
            let why = format!("volumes of Windows are on it: {}", volumes.join("; "));
            let hint = "Name another drive, add ,ro, take this one offline first (Set-Disk -IsOffline 1), or add \
                        ,force: that locks and dismounts them.";
            fail(path, why, hint.to_owned(), None)
        }
        NoClaim::System { what, error } => {
            let hint = "Close what has files open there, and start qpair as an administrator.".to_owned();
            fail(path, format!("{what} cannot be had for qpair alone: {error}"), hint, Some(error))
        }
    }
}

fn held(path: &Path) -> OpenError {
    let hint = "Stop the other one first; two servers on one file would destroy it. Several may read: add ,ro.";
    let why = "another program, probably another qpair, has locked it".to_owned();
    fail(path, why, hint.to_owned(), None)
}

/// Takes the lock of a file.
fn lock(path: &Path, file: &File, options: &FileOptions) -> Result<(), OpenError> {
    // Any number of servers may read. Everything else needs the file for itself.
    let locked = if options.read_only { os::lock_shared(file) } else { os::lock_exclusive(file) };
    match locked {
        Ok(true) => Ok(()),
        Ok(false) => Err(held(path)),
        Err(error) => {
            tracing::warn!(
                "{}: it cannot be locked ({error}); make sure that no other server opens it",
                path.display()
            );
            Ok(())
        }
    }
}

fn block_size(path: &Path, file: &File, options: &FileOptions, is_block: bool) -> Result<u32, OpenError> {
    if !is_block {
        return Ok(options.block_bytes.unwrap_or(DEFAULT_BLOCK_BYTES));
    }
    // A block device takes direct I/O in its logical blocks.
    let own = os::direct_alignment(file).map_err(|error| cannot_ask(path, error))?.offset;
    if !BLOCK_BYTES.contains(&own) {
        let why = format!("its logical blocks have {own} bytes");
        return Err(fail(path, why, "Only 512 and 4096 can be served.".to_owned(), None));
    }
    match options.block_bytes {
        Some(asked) if asked < own => {
            let why = format!("a block of {asked} bytes is smaller than its own of {own}");
            Err(fail(path, why, format!("Leave bs= out, or write bs={own}."), None))
        }
        asked => Ok(asked.unwrap_or(own)),
    }
}

fn device_bytes(path: &Path, file: &File, options: &FileOptions) -> Result<u64, OpenError> {
    let bytes = os::block_device_bytes(file).map_err(|error| cannot_ask(path, error))?;
    match options.size {
        Some(size) if size != bytes => Err(other_size(path, bytes, size, "Leave the size out: it is a block device.")),
        _ => Ok(bytes),
    }
}

/// The size of a file that is a zone (zonefs): what it can hold, however long it is. Its length is never set here: that
/// would finish the zone.
fn zone_file_bytes(path: &Path, bytes: u64, options: &FileOptions) -> Result<u64, OpenError> {
    match options.size {
        Some(size) if size != bytes => Err(other_size(path, bytes, size, "Leave the size out: it is a zone.")),
        _ => Ok(bytes),
    }
}

/// The size of a regular file, which it is given first if it is new.
fn file_bytes(path: &Path, file: &File, options: &FileOptions) -> Result<u64, OpenError> {
    let found = file.metadata().map_err(|error| cannot_ask(path, error))?;
    if !found.is_file() {
        let why = "this is neither a regular file nor a block device".to_owned();
        return Err(fail(path, why, "Name a disk image or a block device.".to_owned(), None));
    }
    let bytes = found.len();
    match options.size {
        // New, or what a crash between creating and sizing it has left.
        Some(size) if bytes == 0 && !options.read_only => {
            // Durable before anybody hears of the disk; its entry in the directory, too.
            let made = file.set_len(size).and_then(|()| file.sync_all()).and_then(|()| identity::sync_parent(path));
            made.map_err(|error| {
                let why = format!("it cannot be made {} long: {error}", format_size(size));
                let hint = "Choose a smaller size, or a file system that takes files of this one.".to_owned();
                fail(path, why, hint, Some(error))
            })?;
            Ok(size)
        }
        Some(size) if size > bytes => {
            let hint = format!(
                "Leave the size out to serve it as it is, or make it larger first: {}",
                os::length_command(path, size)
            );
            Err(other_size(path, bytes, size, &hint))
        }
        Some(size) if size < bytes => {
            Err(other_size(path, bytes, size, "Leave the size out to serve it as it is; it is not cut off."))
        }
        _ => Ok(bytes),
    }
}

/// Opens the file once more, past the page cache, and tries it.
///
/// # Errors
/// Why that is not possible, as the end of a sentence.
fn open_direct(path: &Path, base: &File, options: &FileOptions, block_bytes: u32) -> Result<(File, u32), String> {
    let says = |error: io::Error| format!("the file system does not do direct I/O ({error})");
    let alignment = os::direct_alignment(base).map_err(says)?;
    if !block_bytes.is_multiple_of(alignment.offset) {
        return Err(format!(
            "a block of {block_bytes} bytes is smaller than the {} that direct I/O needs here; bs=4096 avoids it",
            alignment.offset
        ));
    }
    if alignment.memory > PREFERRED_BYTES {
        return Err(format!("direct I/O here needs buffers aligned to {} bytes", alignment.memory));
    }
    let mut file = open_again(path, base, options, true).map_err(says)?;
    // Some file systems take the flag and fail later: better to know it now.
    let pool = Pool::anonymous(PREFERRED_BYTES as usize, 1).map_err(says)?;
    let mut buf = pool.take().expect("a new pool has its buffer");
    buf.set_len(block_bytes as usize);
    match file.read(&mut buf) {
        Err(error) if error.kind() == ErrorKind::InvalidInput => Err(says(error)),
        // Whatever else is wrong, buffered reads would meet it as well.
        _ => Ok((file, alignment.offset)),
    }
}

/// Opens the file that `base` is once more, for the requests. They never use `base` itself: a kernel's ring lets go of
/// its files a little after it is closed, and the lock must not last that long.
fn open_again(path: &Path, base: &File, options: &FileOptions, direct: bool) -> io::Result<File> {
    // Not claimed once more: the claim of `base` is the one that counts.
    let mode = OpenMode { read_only: options.read_only, direct, ..OpenMode::default() };
    let file = os::open_data(path, mode)?;
    if os::file_key(base)? == os::file_key(&file)? {
        Ok(file)
    } else {
        Err(io::Error::other("the file was replaced while it was opened"))
    }
}

fn cannot_open(path: &Path, options: &FileOptions, error: io::Error) -> OpenError {
    let hint = match os::kind(&error) {
        ErrorKind::PermissionDenied if os::is_drive(path) => {
            "Drives are for administrators: start qpair from a console that was started as one.".to_owned()
        }
        ErrorKind::PermissionDenied if !options.read_only && os::open_data(path, READ).is_ok() => {
            "It may be read but not written: add ,ro, or change its permissions.".to_owned()
        }
        ErrorKind::PermissionDenied => "Change its permissions, or start qpair as a user who may open it.".to_owned(),
        ErrorKind::ReadOnlyFilesystem => "The file system is read-only: add ,ro to serve it so.".to_owned(),
        ErrorKind::ResourceBusy => {
            "It is in use: mounted, a part of a RAID or a volume, or served by another qpair. Stop that first; with \
             ,force it is opened all the same."
                .to_owned()
        }
        ErrorKind::NotADirectory => "A part of the path is a file, not a directory: check it.".to_owned(),
        _ => "Check the path. A device may be gone by now: `qpair list` shows those that are there.".to_owned(),
    };
    fail(path, format!("it cannot be opened: {error}"), hint, Some(error))
}

const READ: OpenMode = OpenMode { read_only: true, direct: false, create: false, claim: false };

pub(super) fn cannot_ask(path: &Path, error: io::Error) -> OpenError {
    let hint = "The medium or its file system may be damaged: look into the system's log.".to_owned();
    fail(path, format!("the operating system does not say what it is: {error}"), hint, Some(error))
}

fn other_size(path: &Path, bytes: u64, size: u64, hint: &str) -> OpenError {
    let why = format!("it has {bytes} bytes ({}), not {size} ({})", format_size(bytes), format_size(size));
    fail(path, why, hint.to_owned(), None)
}

pub(super) fn bad_size(path: &Path, bytes: u64, block_bytes: u32, is_block: bool, why: &str) -> OpenError {
    let hint = if is_block {
        "Leave bs= out; a drive that is empty may have no medium in it.".to_owned()
    } else if bytes == 0 {
        let command = os::length_command(path, 1 << 30);
        format!("Give it a size: size=1GiB behind a comma, --size 1GiB, or {command}")
    } else {
        let whole = bytes.next_multiple_of(u64::from(block_bytes));
        format!("Round it up: {}", os::length_command(path, whole))
    };
    fail(path, format!("its size of {bytes} bytes {why}"), hint, None)
}

pub(super) fn fail(path: &Path, why: String, hint: String, source: Option<io::Error>) -> OpenError {
    OpenError { device: path.display().to_string(), why, hint, source }
}
