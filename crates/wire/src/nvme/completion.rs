//! The completion queue entry.
//!
//! ```text
//!   0      4      8      10     12    14       16
//!   | dw0  | dw1  | sqhd | sqid | cid | status |
//! ```

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Status;

/// SQHD when the host disabled submission queue flow control in Connect (Fabrics, CATTR bit 2).
pub const SQHD_NO_FLOW_CONTROL: u16 = 0xffff;

/// A completion queue entry (Base 2.0, Common Completion Queue Entry Layout), 16 bytes: see the picture above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Cqe {
    /// Command specific.
    pub dw0: U32,
    /// Command specific; the upper half of a Property Get's value.
    pub dw1: U32,
    /// Submission queue head pointer.
    pub sqhd: U16,
    /// Submission queue identifier; reserved on fabrics.
    pub sqid: U16,
    /// The command's identifier.
    pub cid: U16,
    /// See [`Status::to_field`].
    pub status: U16,
}

const _: () = assert!(size_of::<Cqe>() == 16);

impl Cqe {
    /// The completion of the command `cid`; `result` fills dword 0 (lower half) and dword 1. SQHD is 0.
    #[must_use]
    pub const fn new(cid: u16, status: Status, result: u64) -> Self {
        Self {
            dw0: U32::new(result as u32),
            dw1: U32::new((result >> 32) as u32),
            sqhd: U16::ZERO,
            sqid: U16::ZERO,
            cid: U16::new(cid),
            status: U16::new(status.to_field()),
        }
    }

    /// The same completion with a submission queue head pointer.
    #[must_use]
    pub const fn with_sqhd(self, sqhd: u16) -> Self {
        Self { sqhd: U16::new(sqhd), ..self }
    }

    /// How the command ended.
    #[must_use]
    pub const fn status(&self) -> Status {
        Status::from_field(self.status.get())
    }

    /// Dword 0 and, above it, dword 1.
    #[must_use]
    pub const fn result(&self) -> u64 {
        (self.dw1.get() as u64) << 32 | self.dw0.get() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_as_drawn() {
        let cqe = Cqe::new(0x1234, Status::INVALID_FIELD.with_dnr(), 0x8877_6655_4433_2211).with_sqhd(0x0a0b);
        let bytes = [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x0b, 0x0a, 0, 0, 0x34, 0x12, 0x04, 0x80];
        assert_eq!(cqe.as_bytes(), bytes);
        let read = Cqe::read_from_bytes(&bytes).unwrap();
        assert_eq!((read.status(), read.result()), (Status::INVALID_FIELD.with_dnr(), 0x8877_6655_4433_2211));
    }
}
