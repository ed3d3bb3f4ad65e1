//! What the numbers of errors say of a disk.

use super::super::DiskError;

/// The number of an error that a disk gives when no more is known of it; also of a read behind the end of a file.
pub const IO_ERROR: i32 = libc::EIO;

/// Errors that disks give: their names in POSIX, and their numbers here.
pub const DISK_ERRORS: [(&str, i32); 8] = [
    ("EIO", IO_ERROR),
    ("ENOMEM", libc::ENOMEM),
    ("ENODEV", libc::ENODEV),
    ("ENOSPC", libc::ENOSPC),
    ("EROFS", libc::EROFS),
    ("ETIMEDOUT", libc::ETIMEDOUT),
    ("EDQUOT", libc::EDQUOT),
    ("EREMOTEIO", libc::EREMOTEIO),
];

/// What an error of a disk comes to.
#[must_use]
pub fn disk_error(number: i32) -> DiskError {
    match number {
        libc::ENOSPC | libc::EDQUOT | libc::EFBIG => DiskError::Full,
        libc::EROFS => DiskError::WriteProtected,
        // The block layer says ENODATA when a drive has told it of its medium; EIO is all the rest.
        libc::EIO | libc::ENODATA => DiskError::Medium,
        _ => DiskError::Other,
    }
}
