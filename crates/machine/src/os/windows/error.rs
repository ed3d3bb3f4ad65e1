//! What the numbers of errors mean.
//!
//! An error of the system keeps its number (`raw_os_error`), as it says most to those who look it up. The standard
//! library knows the kinds of many, but not of all that callers tell apart: [`kind`] does.

use std::io::{self, ErrorKind};

use windows_sys::Win32::Foundation::{
    ERROR_BAD_NET_NAME, ERROR_BAD_NETPATH, ERROR_BAD_UNIT, ERROR_COMMITMENT_LIMIT, ERROR_CONNECTION_ABORTED,
    ERROR_CONNECTION_REFUSED, ERROR_CRC, ERROR_DATA_CHECKSUM_ERROR, ERROR_DEV_NOT_EXIST, ERROR_DEVICE_IN_USE,
    ERROR_DEVICE_NOT_CONNECTED, ERROR_DEVICE_REMOVED, ERROR_DISK_CORRUPT, ERROR_DISK_FULL, ERROR_DISK_QUOTA_EXCEEDED,
    ERROR_DRIVE_LOCKED, ERROR_FILE_CORRUPT, ERROR_FILE_SYSTEM_LIMITATION, ERROR_FILE_TOO_LARGE, ERROR_GEN_FAILURE,
    ERROR_HANDLE_DISK_FULL, ERROR_HANDLE_EOF, ERROR_INVALID_FUNCTION, ERROR_INVALID_NAME, ERROR_IO_DEVICE,
    ERROR_LOCK_VIOLATION, ERROR_NETNAME_DELETED, ERROR_NO_SUCH_DEVICE, ERROR_NO_SYSTEM_RESOURCES,
    ERROR_NOT_ENOUGH_MEMORY, ERROR_NOT_READY, ERROR_NOT_SUPPORTED, ERROR_PRIVILEGE_NOT_HELD, ERROR_READ_FAULT,
    ERROR_SECTOR_NOT_FOUND, ERROR_SEEK, ERROR_SEM_TIMEOUT, ERROR_SHARING_BUFFER_EXCEEDED, ERROR_SHARING_VIOLATION,
    ERROR_TOO_MANY_OPEN_FILES, ERROR_UNRECOGNIZED_VOLUME, ERROR_USER_MAPPED_FILE, ERROR_WORKING_SET_QUOTA,
    ERROR_WRITE_FAULT, ERROR_WRITE_PROTECT, NTSTATUS, RtlNtStatusToDosError,
};

use crate::os::DiskError;

/// Kinds that the standard library gives no name to.
const KINDS: [(u32, ErrorKind); 28] = [
    (ERROR_BAD_UNIT, ErrorKind::NotFound),
    (ERROR_DEV_NOT_EXIST, ErrorKind::NotFound),
    (ERROR_BAD_NETPATH, ErrorKind::NotFound),
    (ERROR_BAD_NET_NAME, ErrorKind::NotFound),
    (ERROR_NO_SUCH_DEVICE, ErrorKind::NotFound),
    (ERROR_DEVICE_NOT_CONNECTED, ErrorKind::NotFound),
    (ERROR_DEVICE_REMOVED, ErrorKind::NotFound),
    (ERROR_INVALID_NAME, ErrorKind::InvalidFilename),
    (ERROR_SHARING_VIOLATION, ErrorKind::ResourceBusy),
    (ERROR_LOCK_VIOLATION, ErrorKind::ResourceBusy),
    (ERROR_DRIVE_LOCKED, ErrorKind::ResourceBusy),
    (ERROR_DEVICE_IN_USE, ErrorKind::ResourceBusy),
    (ERROR_USER_MAPPED_FILE, ErrorKind::ResourceBusy),
    (ERROR_NOT_READY, ErrorKind::ResourceBusy),
    (ERROR_SHARING_BUFFER_EXCEEDED, ErrorKind::QuotaExceeded),
    (ERROR_TOO_MANY_OPEN_FILES, ErrorKind::QuotaExceeded),
    (ERROR_PRIVILEGE_NOT_HELD, ErrorKind::PermissionDenied),
    (ERROR_NOT_SUPPORTED, ErrorKind::Unsupported),
    (ERROR_INVALID_FUNCTION, ErrorKind::Unsupported),
    (ERROR_UNRECOGNIZED_VOLUME, ErrorKind::Unsupported),
    (ERROR_NO_SYSTEM_RESOURCES, ErrorKind::OutOfMemory),
    (ERROR_COMMITMENT_LIMIT, ErrorKind::OutOfMemory),
    (ERROR_WORKING_SET_QUOTA, ErrorKind::OutOfMemory),
    (ERROR_HANDLE_EOF, ErrorKind::UnexpectedEof),
    (ERROR_CRC, ErrorKind::InvalidData),
    // Of sockets, as a completion port tells of them.
    (ERROR_NETNAME_DELETED, ErrorKind::ConnectionReset),
    (ERROR_CONNECTION_REFUSED, ErrorKind::ConnectionRefused),
    (ERROR_CONNECTION_ABORTED, ErrorKind::ConnectionAborted),
];

/// The number of an error that a disk gives when no more is known of it; also of a read behind the end of a file.
pub const IO_ERROR: i32 = ERROR_IO_DEVICE.cast_signed();

/// Errors that disks give: what POSIX calls them, and their numbers here.
pub const DISK_ERRORS: [(&str, i32); 8] = [
    ("EIO", IO_ERROR),
    ("ENOMEM", ERROR_NOT_ENOUGH_MEMORY.cast_signed()),
    ("ENODEV", ERROR_DEV_NOT_EXIST.cast_signed()),
    ("ENOSPC", ERROR_DISK_FULL.cast_signed()),
    ("EROFS", ERROR_WRITE_PROTECT.cast_signed()),
    // What a request to a drive gives that has not answered in time (`STATUS_IO_TIMEOUT`).
    ("ETIMEDOUT", ERROR_SEM_TIMEOUT.cast_signed()),
    ("EDQUOT", ERROR_DISK_QUOTA_EXCEEDED.cast_signed()),
    ("EREMOTEIO", ERROR_GEN_FAILURE.cast_signed()),
];

/// What an error of a disk comes to.
#[must_use]
pub fn disk_error(number: i32) -> DiskError {
    match number.cast_unsigned() {
        // NTFS gives the last one for a file in too many fragments to be told of any more.
        ERROR_DISK_FULL
        | ERROR_HANDLE_DISK_FULL
        | ERROR_DISK_QUOTA_EXCEEDED
        | ERROR_FILE_TOO_LARGE
        | ERROR_FILE_SYSTEM_LIMITATION => DiskError::Full,
        ERROR_WRITE_PROTECT => DiskError::WriteProtected,
        // Behind the end of a file there is nothing to read, as in a sector that is gone.
        ERROR_IO_DEVICE
        | ERROR_CRC
        | ERROR_SEEK
        | ERROR_SECTOR_NOT_FOUND
        | ERROR_WRITE_FAULT
        | ERROR_READ_FAULT
        | ERROR_GEN_FAILURE
        | ERROR_HANDLE_EOF
        | ERROR_DATA_CHECKSUM_ERROR
        | ERROR_FILE_CORRUPT
        | ERROR_DISK_CORRUPT => DiskError::Medium,
        _ => DiskError::Other,
    }
}

/// What an error is, whoever has found its number.
#[must_use]
pub fn kind(error: &io::Error) -> ErrorKind {
    let number = error.raw_os_error().map(i32::cast_unsigned);
    let known = KINDS.iter().find(|(known, _)| Some(*known) == number);
    known.map_or_else(|| error.kind(), |(_, kind)| *kind)
}

/// The error that a status of the kernel is: it has the Win32 number and text, as all others have.
pub(in crate::os) fn of_status(status: NTSTATUS) -> io::Error {
    // SAFETY: a table look-up; it knows all numbers.
    io::Error::from_raw_os_error(unsafe { RtlNtStatusToDosError(status) }.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use windows_sys::Win32::Foundation as win32;

    fn kind_of(number: u32) -> ErrorKind {
        let error = io::Error::from_raw_os_error(number.cast_signed());
        assert_eq!(error.raw_os_error(), Some(number.cast_signed()));
        kind(&error)
    }

    #[test]
    fn what_callers_tell_apart_has_its_kind() {
        for (number, want) in [
            (win32::ERROR_FILE_NOT_FOUND, ErrorKind::NotFound),
            (win32::ERROR_PATH_NOT_FOUND, ErrorKind::NotFound),
            (win32::ERROR_ACCESS_DENIED, ErrorKind::PermissionDenied),
            (win32::ERROR_SHARING_VIOLATION, ErrorKind::ResourceBusy),
            (win32::ERROR_BUSY, ErrorKind::ResourceBusy),
            (win32::ERROR_DISK_FULL, ErrorKind::StorageFull),
            (win32::ERROR_HANDLE_DISK_FULL, ErrorKind::StorageFull),
            (win32::ERROR_WRITE_PROTECT, ErrorKind::ReadOnlyFilesystem),
            (win32::ERROR_DIRECTORY, ErrorKind::NotADirectory),
            (win32::ERROR_INVALID_PARAMETER, ErrorKind::InvalidInput),
            (win32::ERROR_CALL_NOT_IMPLEMENTED, ErrorKind::Unsupported),
            (win32::ERROR_NOT_SUPPORTED, ErrorKind::Unsupported),
            (win32::ERROR_NOT_ENOUGH_MEMORY, ErrorKind::OutOfMemory),
            // Of sockets.
            (10048, ErrorKind::AddrInUse),
            (10049, ErrorKind::AddrNotAvailable),
            (10013, ErrorKind::PermissionDenied),
            (10054, ErrorKind::ConnectionReset),
            (10061, ErrorKind::ConnectionRefused),
            (10035, ErrorKind::WouldBlock),
            (10060, ErrorKind::TimedOut),
        ] {
            assert_eq!(kind_of(number), want, "{number}");
        }
        assert_eq!(kind(&ErrorKind::WriteZero.into()), ErrorKind::WriteZero, "no number");
    }

    #[test]
    fn what_drives_and_file_systems_say_of_a_disk_is_told_apart() {
        for (number, want) in [
            (win32::ERROR_DISK_FULL, DiskError::Full),
            (win32::ERROR_HANDLE_DISK_FULL, DiskError::Full),
            (win32::ERROR_DISK_QUOTA_EXCEEDED, DiskError::Full),
            (win32::ERROR_WRITE_PROTECT, DiskError::WriteProtected),
            (win32::ERROR_CRC, DiskError::Medium),
            (win32::ERROR_IO_DEVICE, DiskError::Medium),
            (win32::ERROR_SECTOR_NOT_FOUND, DiskError::Medium),
            (win32::ERROR_ACCESS_DENIED, DiskError::Other),
            (win32::ERROR_OUT_OF_PAPER, DiskError::Other),
            (win32::ERROR_NOT_READY, DiskError::Other),
        ] {
            assert_eq!(disk_error(number.cast_signed()), want, "{number}");
        }
        // Also where the kernel tells of them itself, as a completion port does.
        for (status, want) in [
            (win32::STATUS_DISK_FULL, DiskError::Full),
            (win32::STATUS_MEDIA_WRITE_PROTECTED, DiskError::WriteProtected),
            (win32::STATUS_IO_DEVICE_ERROR, DiskError::Medium),
            (win32::STATUS_DEVICE_DATA_ERROR, DiskError::Medium),
            (win32::STATUS_DATA_ERROR, DiskError::Medium),
            (win32::STATUS_CRC_ERROR, DiskError::Medium),
        ] {
            assert_eq!(disk_error(of_status(status).raw_os_error().expect("a number")), want, "{status:#x}");
        }
    }

    #[test]
    fn a_status_of_the_kernel_has_the_number_that_everybody_knows() {
        for (status, number) in [
            (win32::STATUS_DISK_FULL, win32::ERROR_DISK_FULL),
            (win32::STATUS_CANCELLED, win32::ERROR_OPERATION_ABORTED),
            (win32::STATUS_SHARING_VIOLATION, win32::ERROR_SHARING_VIOLATION),
            (win32::STATUS_END_OF_FILE, win32::ERROR_HANDLE_EOF),
            (win32::STATUS_CONNECTION_RESET, win32::ERROR_NETNAME_DELETED),
        ] {
            assert_eq!(of_status(status).raw_os_error(), Some(number.cast_signed()), "{status:#x}");
        }
    }
}
