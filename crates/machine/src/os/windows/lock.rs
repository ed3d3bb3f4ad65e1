//! Locks of whole files.
//!
//! A lock of Windows keeps everybody else from reading and writing the bytes that it is on, also other handles of
//! the same program (`LockFileEx`). Ours are a sign for those who look for it, as on other systems: they lie on one
//! byte far behind the end of every file, which nobody reads or writes.
//!
//! ```text
//!     |<------- the file ------->|  ...........................................  |x|
//!                                                                              2^62
//! ```

use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle;

use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, ERROR_LOCK_VIOLATION};
use windows_sys::Win32::Storage::FileSystem::{
    LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY, LockFileEx, UnlockFileEx,
};
use windows_sys::Win32::System::IO::{OVERLAPPED, OVERLAPPED_0, OVERLAPPED_0_0};

use super::done;

/// Behind the largest file that NTFS (2^60 bytes, less a little) and ReFS (2^62) can have, and a number with a sign.
const LOCKED_BYTE: u64 = 1 << 62;

/// Locks a file for this opening of it. False: somebody else has it, or this opening already does and one of the two is
/// exclusive.
pub(in crate::os) fn try_lock(file: &File, exclusive: bool) -> io::Result<bool> {
    let how = if exclusive { LOCKFILE_EXCLUSIVE_LOCK } else { 0 };
    let mut at = place();
    // SAFETY: the handle is open; the place outlives the call, which does not wait.
    let locked = unsafe { LockFileEx(file.as_raw_handle(), how | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &raw mut at) };
    match done(locked) {
        Ok(()) => Ok(true),
        Err(error) if HELD.contains(&error.raw_os_error().unwrap_or(0).cast_unsigned()) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a lock that is held elsewhere gives; the second as some file systems of other machines say it.
const HELD: [u32; 2] = [ERROR_LOCK_VIOLATION, ERROR_IO_PENDING];

/// Gives the lock of this opening back.
pub(in crate::os) fn unlock(file: &File) -> io::Result<()> {
    let mut at = place();
    // SAFETY: as above.
    done(unsafe { UnlockFileEx(file.as_raw_handle(), 0, 1, 0, &raw mut at) })
}

fn place() -> OVERLAPPED {
    let place = OVERLAPPED_0_0 { Offset: LOCKED_BYTE as u32, OffsetHigh: (LOCKED_BYTE >> 32) as u32 };
    OVERLAPPED { Anonymous: OVERLAPPED_0 { Anonymous: place }, ..OVERLAPPED::default() }
}
