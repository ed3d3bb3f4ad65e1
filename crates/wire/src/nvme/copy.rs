//! The source ranges of Copy.
//!
//! ```text
//!   0          8      16    18         24     26  28       30       32
//!   | reserved | slba | nlb | reserved | eilbrt | elbat | elbatm |        format 0, 32 bytes
//! ```
//!
//! The command itself says where to: SDLBA in dwords 10 and 11; the number of ranges, 0's based, in bits 7:0 of dword
//! 12, the format of the descriptors in bits 11:8.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Sqe, Status};

/// Most ranges of one command (NR is 8 bits, 0's based).
pub const MAX_SOURCES: usize = 256;

/// One source range (NVM Command Set 1.0, Copy: Source Range Entries Descriptor Format 0h), 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CopySource {
    /// Reserved.
    pub reserved0: U64,
    /// First logical block.
    pub slba: U64,
    /// Number of logical blocks, 0's based.
    pub nlb: U16,
    /// Reserved.
    pub reserved18: [u8; 6],
    /// Expected initial logical block reference tag; without protection information it means nothing.
    pub eilbrt: U32,
    /// Expected logical block application tag.
    pub elbat: U16,
    /// Expected logical block application tag mask.
    pub elbatm: U16,
}

const _: () = assert!(size_of::<CopySource>() == 32);

impl CopySource {
    /// `nlb` blocks from `slba` on.
    ///
    /// # Panics
    /// If `nlb` is not 1 to 65,536: the caller splits larger ranges.
    #[must_use]
    pub fn new(slba: u64, nlb: u32) -> Self {
        assert!((1..=1 << 16).contains(&nlb), "{nlb} blocks in a range of 1 to 65,536");
        Self { slba: slba.into(), nlb: ((nlb - 1) as u16).into(), ..Self::default() }
    }

    /// Number of logical blocks.
    #[must_use]
    pub const fn blocks(&self) -> u32 {
        self.nlb.get() as u32 + 1
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

impl Sqe {
    /// Number of source ranges of a Copy, 1 to 256.
    #[must_use]
    pub const fn copy_sources(&self) -> u32 {
        (self.cdw12.get() & 0xff) + 1
    }

    /// The format of a Copy's source ranges.
    #[must_use]
    pub const fn copy_format(&self) -> u8 {
        (self.cdw12.get() >> 8 & 0xf) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_specification_has_them() {
        offsets!(CopySource: slba 8, nlb 16, eilbrt 24, elbat 28, elbatm 30,);
        let mut bytes = [0; 32];
        (bytes[8], bytes[9], bytes[16]) = (1, 2, 7);
        assert_eq!(CopySource::new(0x201, 8).as_bytes(), bytes);
        assert_eq!((CopySource::new(0, 1 << 16).blocks(), CopySource::new(0, 1).blocks()), (1 << 16, 1));
    }

    #[test]
    fn a_short_list_is_refused() {
        let data = [0; 95];
        assert_eq!(CopySource::list(&data, 2).unwrap().len(), 2);
        assert_eq!(CopySource::list(&data, 3), Err(Status::INVALID_SGL_DATA_LENGTH.with_dnr()));
    }
}
