//! The ranges of Dataset Management.
//!
//! ```text
//!   0       4     8      16
//!   | cattr | nlb | slba |      up to 256 of them, `Sqe::dsm_ranges()`
//! ```

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Status;

/// Most ranges of one command (NR is 8 bits, 0's based).
pub const MAX_RANGES: usize = 256;

/// One range (NVM Command Set 1.0, Dataset Management: Range Definition), 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DsmRange {
    /// Context attributes: hints.
    pub cattr: U32,
    /// Length in logical blocks, not 0's based: 0 is an empty range.
    pub nlb: U32,
    /// First logical block.
    pub slba: U64,
}

const _: () = assert!(size_of::<DsmRange>() == 16);

impl DsmRange {
    /// A range without hints.
    #[must_use]
    pub const fn new(slba: u64, nlb: u32) -> Self {
        Self { cattr: U32::ZERO, nlb: U32::new(nlb), slba: U64::new(slba) }
    }

    /// Whether all its blocks are below `blocks`, the size of the namespace.
    #[must_use]
    pub const fn within(&self, blocks: u64) -> bool {
        self.slba.get() <= blocks && self.nlb.get() as u64 <= blocks - self.slba.get()
    }

    /// The `ranges` ranges at the front of a command's data.
    ///
    /// # Errors
    /// [`Status::INVALID_SGL_DATA_LENGTH`] with DNR when the data is shorter than that.
    pub fn list(data: &[u8], ranges: u32) -> Result<&[Self], Status> {
        match <[Self]>::ref_from_prefix_with_elems(data, ranges as usize) {
            Ok((list, _)) => Ok(list),
            Err(_) => Err(Status::INVALID_SGL_DATA_LENGTH.with_dnr()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_as_drawn() {
        let bytes = [0, 0, 0, 0, 8, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0];
        assert_eq!(DsmRange::new(0x201, 8).as_bytes(), bytes);
    }

    #[test]
    fn within_does_not_overflow() {
        assert!(DsmRange::new(0, 100).within(100) && DsmRange::new(100, 0).within(100));
        assert!(!DsmRange::new(1, 100).within(100) && !DsmRange::new(u64::MAX, u32::MAX).within(100));
        assert!(!DsmRange::new(u64::MAX, 1).within(u64::MAX) && DsmRange::new(u64::MAX - 1, 1).within(u64::MAX));
    }

    #[test]
    fn a_short_list_is_refused() {
        let data = [0; 47];
        assert_eq!(DsmRange::list(&data, 2).unwrap().len(), 2);
        assert_eq!(DsmRange::list(&data, 3), Err(Status::INVALID_SGL_DATA_LENGTH.with_dnr()));
    }
}
