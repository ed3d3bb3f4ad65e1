//! The submission queue entry: 64 bytes that say what to do.
//!
//! ```text
//!    0        1       2     4      8       16     24      40      44             64
//!   | opcode | flags | cid | nsid | cdw2-3 | mptr | dptr  | cdw10 | cdw11 .. 15 |
//!              |                                    SGL descriptor
//!              bits 7:6 PSDT (01b on fabrics), bits 1:0 FUSE
//!
//!   a fabrics command (opcode 7Fh) has its type in byte 4 and its own fields from byte 40: see `fabrics`
//! ```
//!
//! This file has the structure and the readers that a target uses; `build` has the builders that a host uses.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::fuse::Fuse;
use super::opcode::FABRICS;
use super::{Sgl, SglDescriptor, Status};

/// The namespace identifier that means "all namespaces".
pub const NSID_ALL: u32 = 0xffff_ffff;

/// PSDT 01b in the flags: the data pointer is an SGL, metadata (if any) is contiguous. The only value on fabrics.
pub const PSDT_SGL: u8 = 0x40;
/// The bits of PSDT in the flags.
const PSDT_MASK: u8 = 0xc0;

/// Read, Write, Write Zeroes, cdw12: force unit access.
pub(super) const FUA: u32 = 1 << 30;
/// Write Zeroes, cdw12: deallocate.
pub(super) const DEAC: u32 = 1 << 25;
/// Read, Write, Write Zeroes, cdw12: protection information (PRINFO), bits 29:26.
pub(super) const PRINFO: u32 = 0xf << 26;
/// Dataset Management, cdw11: attribute deallocate (AD).
pub(super) const DSM_AD: u32 = 1 << 2;

/// A submission queue entry (Base 2.0, Common Command Format), 64 bytes: see the picture above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Sqe {
    /// See [`super::opcode`].
    pub opcode: u8,
    /// PSDT and FUSE.
    pub flags: u8,
    /// Command identifier, unique among the commands in flight on a queue.
    pub cid: U16,
    /// Namespace identifier; of a fabrics command, the lowest byte is its type.
    pub nsid: U32,
    /// Command dword 2.
    pub cdw2: U32,
    /// Command dword 3.
    pub cdw3: U32,
    /// Metadata pointer.
    pub mptr: U64,
    /// Where the data is.
    pub dptr: SglDescriptor,
    /// Command dword 10.
    pub cdw10: U32,
    /// Command dword 11.
    pub cdw11: U32,
    /// Command dword 12.
    pub cdw12: U32,
    /// Command dword 13.
    pub cdw13: U32,
    /// Command dword 14.
    pub cdw14: U32,
    /// Command dword 15.
    pub cdw15: U32,
}

const _: () = assert!(size_of::<Sqe>() == 64);

impl Sqe {
    /// The data of a command that has data: PSDT, FUSE and the descriptor are checked. `in_capsule_limit` is the most
    /// in-capsule data of this queue, in bytes.
    ///
    /// # Errors
    /// With DNR: [`Status::INVALID_FIELD`] for a PRP pointer (PSDT 00b), a metadata SGL or a fused command; else those
    /// of [`SglDescriptor::check`].
    pub fn data(&self, in_capsule_limit: u32) -> Result<Sgl, Status> {
        self.check_flags()?;
        self.dptr.check(in_capsule_limit)
    }

    /// Checks the flags: PSDT 01b, not fused. [`Sqe::data`] does it too; this is for commands without data.
    ///
    /// # Errors
    /// [`Status::INVALID_FIELD`] with DNR.
    pub fn check_flags(&self) -> Result<(), Status> {
        let fused = self.fuse() != Fuse::Normal;
        if fused || self.flags & PSDT_MASK != PSDT_SGL { Err(Status::INVALID_FIELD.with_dnr()) } else { Ok(()) }
    }

    /// Whether it is a fabrics command.
    #[must_use]
    pub const fn is_fabrics(&self) -> bool {
        self.opcode == FABRICS
    }

    /// The fabrics command type: byte 4.
    #[must_use]
    pub const fn fctype(&self) -> u8 {
        self.nsid.get() as u8
    }

    /// Read, Write, Write Zeroes and their like: the first logical block.
    #[must_use]
    pub const fn slba(&self) -> u64 {
        (self.cdw11.get() as u64) << 32 | self.cdw10.get() as u64
    }

    /// Read, Write, Write Zeroes and their like: the number of blocks, 1 to 65,536 (it is 0's based on the wire).
    #[must_use]
    pub const fn nlb(&self) -> u32 {
        (self.cdw12.get() & 0xffff) + 1
    }

    /// Read, Write, Write Zeroes: force unit access.
    #[must_use]
    pub const fn fua(&self) -> bool {
        self.cdw12.get() & FUA != 0
    }

    /// Write Zeroes: the blocks may be deallocated.
    #[must_use]
    pub const fn deac(&self) -> bool {
        self.cdw12.get() & DEAC != 0
    }

    /// Read, Write, Write Zeroes: the protection information field (PRINFO), 4 bits. A namespace without protection
    /// information ignores it.
    #[must_use]
    pub const fn prinfo(&self) -> u8 {
        ((self.cdw12.get() & PRINFO) >> 26) as u8
    }

    /// Dataset Management: the number of ranges, 1 to 256 (0's based on the wire).
    #[must_use]
    pub const fn dsm_ranges(&self) -> u32 {
        (self.cdw10.get() & 0xff) + 1
    }

    /// Dataset Management: the ranges may be deallocated (attribute AD).
    #[must_use]
    pub const fn dsm_deallocate(&self) -> bool {
        self.cdw11.get() & DSM_AD != 0
    }

    /// Identify: which structure.
    #[must_use]
    pub const fn cns(&self) -> u8 {
        self.cdw10.get() as u8
    }

    /// Identify: the controller.
    #[must_use]
    pub const fn cntid(&self) -> u16 {
        (self.cdw10.get() >> 16) as u16
    }

    /// Identify: the I/O command set.
    #[must_use]
    pub const fn csi(&self) -> u8 {
        (self.cdw11.get() >> 24) as u8
    }

    /// Get Log Page: which log.
    #[must_use]
    pub const fn lid(&self) -> u8 {
        self.cdw10.get() as u8
    }

    /// Get Log Page: log specific parameter, 7 bits.
    #[must_use]
    pub const fn lsp(&self) -> u8 {
        (self.cdw10.get() >> 8 & 0x7f) as u8
    }

    /// Get Log Page: retain the asynchronous event.
    #[must_use]
    pub const fn rae(&self) -> bool {
        self.cdw10.get() & 1 << 15 != 0
    }

    /// Get Log Page: the number of dwords, NUMDU:NUMDL + 1. Up to 2^32, hence 64 bits.
    #[must_use]
    pub const fn numd(&self) -> u64 {
        ((self.cdw11.get() as u64 & 0xffff) << 16 | self.cdw10.get() as u64 >> 16) + 1
    }

    /// Get Log Page: the number of bytes, [`Sqe::numd`] x 4.
    #[must_use]
    pub const fn log_bytes(&self) -> u64 {
        self.numd() * 4
    }

    /// Get Log Page: the offset, LPOU:LPOL. In bytes, unless [`Sqe::log_offset_is_index`].
    #[must_use]
    pub const fn log_offset(&self) -> u64 {
        (self.cdw13.get() as u64) << 32 | self.cdw12.get() as u64
    }

    /// Get Log Page: the offset counts entries (OT, cdw14 bit 23), for logs that allow it.
    #[must_use]
    pub const fn log_offset_is_index(&self) -> bool {
        self.cdw14.get() & 1 << 23 != 0
    }

    /// Get Log Page: log specific identifier.
    #[must_use]
    pub const fn lsi(&self) -> u16 {
        (self.cdw11.get() >> 16) as u16
    }

    /// Get or Set Features: which feature.
    #[must_use]
    pub const fn fid(&self) -> u8 {
        self.cdw10.get() as u8
    }

    /// Get Features: current (0), default (1), saved (2) or supported capabilities (3).
    #[must_use]
    pub const fn select(&self) -> u8 {
        (self.cdw10.get() >> 8 & 7) as u8
    }

    /// Set Features: keep the value over power cycles and resets.
    #[must_use]
    pub const fn save(&self) -> bool {
        self.cdw10.get() & 1 << 31 != 0
    }

    /// Abort: the submission queue of the command to abort.
    #[must_use]
    pub const fn abort_sqid(&self) -> u16 {
        self.cdw10.get() as u16
    }

    /// Abort: the identifier of the command to abort.
    #[must_use]
    pub const fn abort_cid(&self) -> u16 {
        (self.cdw10.get() >> 16) as u16
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::nvme::admin;

    #[test]
    fn bytes_are_as_drawn() {
        let bytes: [u8; 64] = std::array::from_fn(|i| i as u8);
        let sqe = Sqe::read_from_bytes(&bytes).unwrap();
        assert_eq!((sqe.opcode, sqe.flags, sqe.cid.get(), sqe.nsid.get()), (0, 1, 0x0302, 0x0706_0504));
        assert_eq!((sqe.fctype(), sqe.cdw2.get(), sqe.mptr.get()), (4, 0x0b0a_0908, 0x1716_1514_1312_1110));
        assert_eq!((sqe.dptr.length.get(), sqe.dptr.kind), (0x2322_2120, 0x27));
        assert_eq!((sqe.cdw10.get(), sqe.cdw15.get()), (0x2b2a_2928, 0x3f3e_3d3c));
        assert_eq!(sqe.as_bytes(), bytes);
    }

    #[test]
    fn flags_are_checked() {
        let flagged = |opcode, flags| Sqe { opcode, flags, ..Sqe::read(1, 0, 1) };
        for flags in 0..=u8::MAX {
            let psdt = flags & 0xc0 == 0x40;
            assert_eq!(flagged(admin::IDENTIFY, flags).check_flags().is_ok(), psdt && flags & 3 == 0, "{flags:02x}h");
            assert_eq!(flagged(FABRICS, flags).check_flags().is_ok(), psdt, "{flags:02x}h");
        }
        assert_eq!(flagged(admin::IDENTIFY, 0).data(8192), Err(Status::INVALID_FIELD.with_dnr()));
        let sqe = Sqe::write(1, 0, 1, false).with_data_in_capsule(512);
        assert_eq!(sqe.data(8192), Ok(Sgl::InCapsule { offset: 0, len: 512 }));
        assert_eq!(sqe.data(511), Err(Status::INVALID_SGL_DATA_LENGTH.with_dnr()));
    }

    proptest! {
        #[test]
        fn readers_take_any_bytes(bytes: [[u8; 16]; 4]) {
            let sqe: Sqe = zerocopy::transmute!(bytes);
            prop_assert!((1..=65_536).contains(&sqe.nlb()) && (1..=256).contains(&sqe.dsm_ranges()));
            prop_assert!((1..=1 << 32).contains(&sqe.numd()) && sqe.lsp() < 128 && sqe.select() < 8);
            if let Ok(Sgl::InCapsule { offset, len }) = sqe.data(8192) {
                prop_assert!(offset + len <= 8192);
            }
        }
    }
}
