//! From a device's failure to an NVMe status. The one place where the two meet.

use block::Failure;
use machine::os::{DiskError, disk_error};
use wire::nvme::Status;

/// The status for a failed request; `write` tells the direction, where the media error depends on it.
///
/// No space left is retryable (DNR clear): an operator can make room. A media error is not.
pub(crate) fn of(failure: Failure, write: bool) -> Status {
    match failure {
        Failure::OutOfRange => Status::LBA_OUT_OF_RANGE.with_dnr(),
        Failure::ReadOnly => Status::NAMESPACE_IS_WRITE_PROTECTED.with_dnr(),
        Failure::Cancelled | Failure::TimedOut => Status::ABORT_REQUESTED,
        Failure::NotSupported => Status::INVALID_OPCODE.with_dnr(),
        Failure::Miscompare => Status::COMPARE_FAILURE.with_dnr(),
        Failure::Unreadable => Status::UNRECOVERED_READ_ERROR.with_dnr(),
        Failure::Overlap => Status::OVERLAPPING_IO_RANGE.with_dnr(),
        Failure::BadTransfer => Status::INVALID_FIELD.with_dnr(),
        Failure::Device(status) => status,
        Failure::Host(number) => match disk_error(number) {
            DiskError::Full => Status::CAPACITY_EXCEEDED,
            DiskError::WriteProtected => Status::NAMESPACE_IS_WRITE_PROTECTED.with_dnr(),
            DiskError::Medium if write => Status::WRITE_FAULT,
            DiskError::Medium => Status::UNRECOVERED_READ_ERROR,
            DiskError::Other => Status::INTERNAL_ERROR,
        },
        Failure::Disconnected | Failure::Unreachable => Status::NAMESPACE_NOT_READY,
    }
}

#[cfg(test)]
mod tests {
    use machine::os::disk_error_number;

    use super::*;

    fn host(name: &str, write: bool) -> Status {
        of(Failure::Host(disk_error_number(name).expect("it has a number")), write)
    }

    #[test]
    fn full_disks_and_broken_disks_differ() {
        for full in ["ENOSPC", "EDQUOT"] {
            assert!(host(full, true).same_code(Status::CAPACITY_EXCEEDED));
            assert!(!host(full, true).dnr);
        }
        assert!(host("EIO", true).same_code(Status::WRITE_FAULT));
        assert!(host("EIO", false).same_code(Status::UNRECOVERED_READ_ERROR));
        assert_eq!(host("EROFS", true), Status::NAMESPACE_IS_WRITE_PROTECTED.with_dnr());
        assert!(host("ENODEV", false).same_code(Status::INTERNAL_ERROR));
        assert!(of(Failure::OutOfRange, false).dnr);
    }
}
