//! From a device's failure to an NVMe status. The one place where the two meet.

use block::Failure;
use wire::nvme::Status;

/// Linux error numbers that have a status of their own. The rest is an internal error.
mod errno {
    pub(super) const EIO: i32 = 5;
    pub(super) const ENOSPC: i32 = 28;
    pub(super) const EROFS: i32 = 30;
    pub(super) const EDQUOT: i32 = 122;
    pub(super) const EFBIG: i32 = 27;
}

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
        Failure::Host(errno::ENOSPC | errno::EDQUOT | errno::EFBIG) => Status::CAPACITY_EXCEEDED,
        Failure::Host(errno::EROFS) => Status::NAMESPACE_IS_WRITE_PROTECTED.with_dnr(),
        Failure::Host(errno::EIO) if write => Status::WRITE_FAULT,
        Failure::Host(errno::EIO) => Status::UNRECOVERED_READ_ERROR,
        Failure::Host(_) => Status::INTERNAL_ERROR,
        Failure::Disconnected | Failure::Unreachable => Status::NAMESPACE_NOT_READY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_disks_and_broken_disks_differ() {
        assert!(of(Failure::Host(28), true).same_code(Status::CAPACITY_EXCEEDED));
        assert!(!of(Failure::Host(28), true).dnr);
        assert!(of(Failure::Host(5), true).same_code(Status::WRITE_FAULT));
        assert!(of(Failure::Host(5), false).same_code(Status::UNRECOVERED_READ_ERROR));
        assert!(of(Failure::OutOfRange, false).dnr);
    }
}
