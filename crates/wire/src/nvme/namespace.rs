//! Identify Namespace: what a namespace is, in the three structures that a host may ask for.
//!
//! ```text
//!   CNS 00h        IdentifyNamespace                  sizes, formats, hints
//!   CNS 05h CSI 0  NvmIdentifyNamespace               protection information beyond CNS 00h
//!   CNS 08h        IoCommandSetIndependentNamespace   what holds for every command set
//! ```
//!
//! An inactive namespace is answered with a zeroed structure, not with an error.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::IDENTIFY_BYTES;

/// Namespace features.
pub mod nsfeat {
    /// Thin provisioning: NCAP may be less than NSZE, NUSE is tracked.
    pub const THIN: u8 = 1 << 0;
    /// NAWUN, NAWUPF and NACWU hold for this namespace.
    pub const ATOMICS: u8 = 1 << 1;
    /// Reading deallocated blocks may fail.
    pub const DEALLOCATED_ERROR: u8 = 1 << 2;
    /// NGUID and EUI64 are never reused.
    pub const UNIQUE_IDS: u8 = 1 << 3;
    /// NPWG, NPWA, NPDG, NPDA and NOWS hold.
    pub const OPTIMAL_IO: u8 = 1 << 4;
}

/// Deallocated block features.
pub mod dlfeat {
    /// Deallocated blocks read as zeros (bits 2:0 = 001b).
    pub const READ_ZEROS: u8 = 1;
    /// Write Zeroes may deallocate (DEAC).
    pub const WRITE_ZEROES_DEALLOCATES: u8 = 1 << 3;
}

/// Namespace multi-path and sharing capabilities.
pub mod nmic {
    /// Several controllers may have it attached.
    pub const SHARED: u8 = 1 << 0;
}

/// Namespace attributes.
pub mod nsattr {
    /// It is write protected.
    pub const WRITE_PROTECTED: u8 = 1 << 0;
}

/// Namespace status.
pub mod nstat {
    /// It is ready.
    pub const READY: u8 = 1 << 0;
}

/// A format of logical blocks (NVM Command Set 1.0, LBA Format Data Structure), 4 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct LbaFormat {
    /// Metadata bytes of a block.
    pub ms: U16,
    /// Data bytes of a block: 2^LBADS; 9 or more.
    pub lbads: u8,
    /// Relative performance, 0 is best.
    pub rp: u8,
}

const _: () = assert!(size_of::<LbaFormat>() == 4);

impl LbaFormat {
    /// Blocks of `bytes` (a power of two, 512 or more) without metadata.
    #[must_use]
    pub const fn of_bytes(bytes: u32) -> Self {
        assert!(bytes >= 512 && bytes.is_power_of_two(), "blocks are powers of two from 512 bytes");
        Self { ms: U16::ZERO, lbads: bytes.trailing_zeros() as u8, rp: 0 }
    }

    /// Data bytes of a block; `None` where the format is not available or no size that fits.
    #[must_use]
    pub const fn bytes(&self) -> Option<u32> {
        if self.lbads >= 9 && self.lbads < 32 { Some(1 << self.lbads) } else { None }
    }
}

/// Identify Namespace data structure (NVM Command Set 1.0, CNS 00h), 4,096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IdentifyNamespace {
    /// Size in blocks.
    pub nsze: U64,
    /// Capacity in blocks; a host ignores a namespace that has none.
    pub ncap: U64,
    /// Utilization in blocks.
    pub nuse: U64,
    /// See [`nsfeat`].
    pub nsfeat: u8,
    /// Number of LBA formats, 0's based.
    pub nlbaf: u8,
    /// Formatted LBA size: the index of the format in bits 6:5 and 3:0, bit 4 is metadata at the end of the data.
    pub flbas: u8,
    /// Metadata capabilities.
    pub mc: u8,
    /// End-to-end data protection capabilities.
    pub dpc: u8,
    /// End-to-end data protection type settings.
    pub dps: u8,
    /// See [`nmic`].
    pub nmic: u8,
    /// Reservation capabilities.
    pub rescap: u8,
    /// Format progress indicator.
    pub fpi: u8,
    /// See [`dlfeat`].
    pub dlfeat: u8,
    /// Namespace atomic write unit normal, in blocks, 0's based.
    pub nawun: U16,
    /// Namespace atomic write unit power fail, in blocks, 0's based.
    pub nawupf: U16,
    /// Namespace atomic compare and write unit, in blocks, 0's based.
    pub nacwu: U16,
    /// Namespace atomic boundary size normal, in blocks, 0's based.
    pub nabsn: U16,
    /// Namespace atomic boundary offset, in blocks.
    pub nabo: U16,
    /// Namespace atomic boundary size power fail, in blocks, 0's based.
    pub nabspf: U16,
    /// Optimal I/O boundary, in blocks; 0 is none.
    pub noiob: U16,
    /// NVM capacity in bytes.
    pub nvmcap: U128,
    /// Preferred write granularity, in blocks, 0's based.
    pub npwg: U16,
    /// Preferred write alignment, in blocks, 0's based.
    pub npwa: U16,
    /// Preferred deallocate granularity, in blocks, 0's based.
    pub npdg: U16,
    /// Preferred deallocate alignment, in blocks, 0's based.
    pub npda: U16,
    /// Optimal write size, in blocks, 0's based.
    pub nows: U16,
    /// Maximum single source range length of Copy, in blocks.
    pub mssrl: U16,
    /// Maximum copy length, in blocks.
    pub mcl: U32,
    /// Maximum source range count of Copy, 0's based.
    pub msrc: u8,
    /// Reserved.
    pub reserved81: u8,
    /// Number of unique capability LBA formats, 0's based.
    pub nulbaf: u8,
    /// Reserved.
    pub reserved83: [u8; 9],
    /// ANA group identifier.
    pub anagrpid: U32,
    /// Reserved.
    pub reserved96: [u8; 3],
    /// See [`nsattr`].
    pub nsattr: u8,
    /// NVM set identifier.
    pub nvmsetid: U16,
    /// Endurance group identifier.
    pub endgid: U16,
    /// Namespace globally unique identifier, big-endian; zero is none.
    pub nguid: [u8; 16],
    /// IEEE extended unique identifier, big-endian; zero is none.
    pub eui64: [u8; 8],
    /// LBA formats.
    pub lbaf: [LbaFormat; 64],
    /// Vendor specific.
    pub vs: [u8; 3712],
}

const _: () = assert!(size_of::<IdentifyNamespace>() == IDENTIFY_BYTES);

impl IdentifyNamespace {
    /// Index of the format in use, 0 to 63.
    #[must_use]
    pub const fn format_index(&self) -> usize {
        ((self.flbas >> 1 & 0x30) | (self.flbas & 0x0f)) as usize
    }

    /// How many formats there are, 1 to 64: those of all namespaces (NLBAF) and those with attributes of their own
    /// (NULBAF). A page that says more has no more.
    #[must_use]
    pub const fn formats(&self) -> usize {
        let said = self.nlbaf as usize + 1 + self.nulbaf as usize;
        if said < self.lbaf.len() { said } else { self.lbaf.len() }
    }

    /// The format in use.
    #[must_use]
    pub const fn format(&self) -> LbaFormat {
        self.lbaf[self.format_index()]
    }
}

/// I/O command set specific Identify Namespace of the NVM command set (NVM Command Set 1.0, CNS 05h, CSI 0), 4,096
/// bytes. All zero is a valid answer: no protection information.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct NvmIdentifyNamespace {
    /// Logical block storage tag mask.
    pub lbstm: U64,
    /// Protection information capabilities.
    pub pic: u8,
    /// Reserved.
    pub reserved9: [u8; 3],
    /// Extended LBA formats: storage tag size in bits 6:0, protection information format in bits 8:7.
    pub elbaf: [U32; 64],
    /// Reserved.
    pub reserved268: [u8; 3828],
}

const _: () = assert!(size_of::<NvmIdentifyNamespace>() == IDENTIFY_BYTES);

/// I/O command set independent Identify Namespace (Base 2.0, CNS 08h), 4,096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IoCommandSetIndependentNamespace {
    /// Features common to all command sets: [`nsfeat::UNIQUE_IDS`] is one.
    pub nsfeat: u8,
    /// See [`nmic`].
    pub nmic: u8,
    /// Reservation capabilities.
    pub rescap: u8,
    /// Format progress indicator.
    pub fpi: u8,
    /// ANA group identifier.
    pub anagrpid: U32,
    /// See [`nsattr`].
    pub nsattr: u8,
    /// Reserved.
    pub reserved9: u8,
    /// NVM set identifier.
    pub nvmsetid: U16,
    /// Endurance group identifier.
    pub endgid: U16,
    /// See [`nstat`].
    pub nstat: u8,
    /// Reserved.
    pub reserved15: [u8; 4081],
}

const _: () = assert!(size_of::<IoCommandSetIndependentNamespace>() == IDENTIFY_BYTES);

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn fields_are_where_the_specification_has_them() {
        offsets!(IdentifyNamespace:
            nsze 0, ncap 8, nuse 16, nsfeat 24, nlbaf 25, flbas 26, mc 27, dpc 28, dps 29, nmic 30, rescap 31,
            fpi 32, dlfeat 33, nawun 34, nawupf 36, nacwu 38, nabsn 40, nabo 42, nabspf 44, noiob 46, nvmcap 48,
            npwg 64, npwa 66, npdg 68, npda 70, nows 72, mssrl 74, mcl 76, msrc 80, nulbaf 82, anagrpid 92,
            nsattr 99, nvmsetid 100, endgid 102, nguid 104, eui64 120, lbaf 128, vs 384,
        );
        offsets!(NvmIdentifyNamespace: lbstm 0, pic 8, elbaf 12,);
        offsets!(IoCommandSetIndependentNamespace:
            nsfeat 0, nmic 1, rescap 2, fpi 3, anagrpid 4, nsattr 8, nvmsetid 10, endgid 12, nstat 14,
        );
    }

    #[test]
    fn the_format_in_use_has_a_split_index() {
        let mut page = IdentifyNamespace::new_zeroed();
        page.lbaf[0] = LbaFormat::of_bytes(512);
        page.lbaf[0x25] = LbaFormat::of_bytes(4096);
        assert_eq!(page.format().bytes(), Some(512));
        page.flbas = 0b101_0101;
        assert_eq!((page.format_index(), page.format().bytes()), (0x25, Some(4096)));
        page.flbas = 0xff;
        assert_eq!((page.format_index(), page.format().bytes()), (63, None));
    }

    #[test]
    fn there_are_as_many_formats_as_there_is_room_for() {
        let mut page = IdentifyNamespace::new_zeroed();
        assert_eq!(page.formats(), 1);
        (page.nlbaf, page.nulbaf) = (3, 2);
        assert_eq!(page.formats(), 6);
        (page.nlbaf, page.nulbaf) = (255, 255);
        assert_eq!(page.formats(), 64);
    }

    #[test]
    fn block_sizes_that_a_peer_made_up_are_no_sizes() {
        let bytes = |lbads| LbaFormat { lbads, ..LbaFormat::default() }.bytes();
        assert_eq!(
            [0, 8, 9, 12, 31, 32, 255].map(bytes),
            [None, None, Some(512), Some(4096), Some(1 << 31), None, None]
        );
        assert_eq!(LbaFormat::of_bytes(4096).as_bytes(), [0, 0, 12, 0]);
    }
}
