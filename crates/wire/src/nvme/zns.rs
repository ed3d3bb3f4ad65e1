//! The zoned namespace command set: what it adds to Identify, its log, and the report of zones (ZNS 1.1).
//!
//! ```text
//!   report of zones     | number of zones | 0 .. |  descriptor  |  descriptor  | ...
//!                            8 bytes        to 64    64 bytes, and with "extended" so many more as the format says
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::IDENTIFY_BYTES;

/// I/O command set specific Identify Controller of the zoned namespace command set (CNS 06h, CSI 02h), 4,096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ZnsIdentifyController {
    /// Zone append size limit: 2^ZASL x 4 KiB (CAP.MPSMIN); 0 is MDTS.
    pub zasl: u8,
    /// Reserved.
    pub reserved1: [u8; 4095],
}

const _: () = assert!(size_of::<ZnsIdentifyController>() == IDENTIFY_BYTES);

/// What a format of blocks is to zones, 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ZoneFormat {
    /// Zone size in blocks.
    pub zsze: U64,
    /// Size of a zone descriptor extension, in units of 64 bytes; 0 is none.
    pub zdes: u8,
    /// Reserved.
    pub reserved9: [u8; 7],
}

const _: () = assert!(size_of::<ZoneFormat>() == 16);

/// I/O command set specific Identify Namespace of the zoned namespace command set (CNS 05h, CSI 02h), 4,096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ZnsIdentifyNamespace {
    /// Zone operation characteristics.
    pub zoc: U16,
    /// Optional zoned command support.
    pub ozcs: U16,
    /// Maximum active resources, 0's based; FFFFFFFFh is no limit.
    pub mar: U32,
    /// Maximum open resources, 0's based; FFFFFFFFh is no limit.
    pub mor: U32,
    /// Reset recommended limit in seconds.
    pub rrl: U32,
    /// Finish recommended limit in seconds.
    pub frl: U32,
    /// Reset recommended limits 1 to 3, in seconds.
    pub rrls: [U32; 3],
    /// Finish recommended limits 1 to 3, in seconds.
    pub frls: [U32; 3],
    /// Number of zone random write areas, 0's based; FFFFFFFFh is no limit.
    pub numzrwa: U32,
    /// Granularity at which a random write area is committed, in blocks.
    pub zrwafg: U16,
    /// Size of a random write area, in blocks.
    pub zrwasz: U16,
    /// Capabilities of random write areas.
    pub zrwacap: u8,
    /// Reserved.
    pub reserved53: [u8; 2763],
    /// What each format of blocks is to zones.
    pub lbafe: [ZoneFormat; 64],
    /// Vendor specific.
    pub vs: [u8; 256],
}

const _: () = assert!(size_of::<ZnsIdentifyNamespace>() == IDENTIFY_BYTES);

/// Most zones of a [`ChangedZones`].
pub const CHANGED_ZONES: usize = 511;

/// Changed Zone List (LID BFh), 4,096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ChangedZones {
    /// Number of zone identifiers; FFFFh: more than there is room for.
    pub nrzid: U16,
    /// Reserved.
    pub reserved2: [u8; 6],
    /// First block of each zone.
    pub zid: [U64; CHANGED_ZONES],
}

const _: () = assert!(size_of::<ChangedZones>() == 4096);

impl ChangedZones {
    /// The zones of the list, or `None`: too many have changed to list them.
    #[must_use]
    pub fn zones(&self) -> Option<&[U64]> {
        match usize::from(self.nrzid.get()) {
            0xffff => None,
            zones => Some(&self.zid[..zones.min(CHANGED_ZONES)]),
        }
    }
}

/// A zone descriptor, 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ZoneDescriptor {
    /// Zone type, bits 3:0: see [`zone_type`].
    pub zt: u8,
    /// Zone state, bits 7:4: see [`zone_state`].
    pub zs: u8,
    /// Zone attributes.
    pub za: u8,
    /// Zone attributes information.
    pub zai: u8,
    /// Reserved.
    pub reserved4: [u8; 4],
    /// Zone capacity in blocks.
    pub zcap: U64,
    /// First block.
    pub zslba: U64,
    /// Write pointer.
    pub wp: U64,
    /// Reserved.
    pub reserved32: [u8; 32],
}

const _: () = assert!(size_of::<ZoneDescriptor>() == 64);

/// Types of zones.
pub mod zone_type {
    /// Written anywhere. No zone of a namespace is; the kernel has such zones of other drives.
    pub const CONVENTIONAL: u8 = 1;
    /// Written in sequence, always.
    pub const SEQUENTIAL_WRITE_REQUIRED: u8 = 2;
    /// Best written in sequence. No zone of a namespace is such a one either.
    pub const SEQUENTIAL_WRITE_PREFERRED: u8 = 3;

    /// What a type is called.
    #[must_use]
    pub const fn name(kind: u8) -> Option<&'static str> {
        Some(match kind {
            CONVENTIONAL => "conventional",
            SEQUENTIAL_WRITE_REQUIRED => "sequential write required",
            SEQUENTIAL_WRITE_PREFERRED => "sequential write preferred",
            _ => return None,
        })
    }
}

/// Bits of a zone's attributes (ZA).
pub mod zone_attributes {
    /// The controller has finished it.
    pub const FINISHED_BY_CONTROLLER: u8 = 1 << 0;
    /// The controller recommends to finish it.
    pub const FINISH_RECOMMENDED: u8 = 1 << 1;
    /// The controller recommends to reset it.
    pub const RESET_RECOMMENDED: u8 = 1 << 2;
    /// It has a random write area.
    pub const RANDOM_WRITE_AREA: u8 = 1 << 3;
    /// Its descriptor extension is valid.
    pub const EXTENSION_VALID: u8 = 1 << 7;
}

/// What Zone Management Send does with a zone (ZSA).
pub mod action {
    /// Closes it: its resources are free for others.
    pub const CLOSE: u8 = 0x1;
    /// Makes it full.
    pub const FINISH: u8 = 0x2;
    /// Opens it.
    pub const OPEN: u8 = 0x3;
    /// Makes it empty.
    pub const RESET: u8 = 0x4;
    /// Takes it out of service.
    pub const OFFLINE: u8 = 0x5;
}

/// States of zones.
pub mod zone_state {
    /// Without a write pointer: a conventional zone, of which only the kernel knows.
    pub const NO_WRITE_POINTER: u8 = 0x0;
    /// Empty.
    pub const EMPTY: u8 = 0x1;
    /// Opened by a write.
    pub const IMPLICITLY_OPENED: u8 = 0x2;
    /// Opened by a command.
    pub const EXPLICITLY_OPENED: u8 = 0x3;
    /// Closed.
    pub const CLOSED: u8 = 0x4;
    /// Cannot be written any more.
    pub const READ_ONLY: u8 = 0xd;
    /// Full.
    pub const FULL: u8 = 0xe;
    /// Cannot be read or written any more.
    pub const OFFLINE: u8 = 0xf;

    /// What a state is called.
    #[must_use]
    pub const fn name(state: u8) -> Option<&'static str> {
        Some(match state {
            NO_WRITE_POINTER => "no write pointer",
            EMPTY => "empty",
            IMPLICITLY_OPENED => "implicitly opened",
            EXPLICITLY_OPENED => "explicitly opened",
            CLOSED => "closed",
            READ_ONLY => "read-only",
            FULL => "full",
            OFFLINE => "offline",
            _ => return None,
        })
    }
}

impl ZoneDescriptor {
    /// The state: see [`zone_state`].
    #[must_use]
    pub const fn state(&self) -> u8 {
        self.zs >> 4
    }
}

/// A report of zones, as Zone Management Receive gives it: a view of the bytes that are there.
#[derive(Clone, Copy, Debug)]
pub struct ZoneReport<'a> {
    /// Number of zones by the device's word: with a partial report, those in the report, else all that match.
    pub zones: u64,
    entries: &'a [u8],
    /// Bytes of a descriptor with its extension.
    stride: usize,
}

impl<'a> ZoneReport<'a> {
    /// Bytes before the first descriptor.
    pub const HEADER_BYTES: usize = 64;

    /// Reads a report; `zdes` is [`ZoneFormat::zdes`] for an extended one, else 0. `None`: the header is not whole.
    #[must_use]
    pub fn new(bytes: &'a [u8], zdes: u8) -> Option<Self> {
        let (header, entries) = bytes.split_at_checked(Self::HEADER_BYTES)?;
        let (zones, _) = U64::read_from_prefix(header).ok()?;
        Some(Self { zones: zones.get(), entries, stride: size_of::<ZoneDescriptor>() + usize::from(zdes) * 64 })
    }

    /// The descriptors that are whole, and their extensions: no more than the report counts.
    pub fn iter(&self) -> impl Iterator<Item = (&'a ZoneDescriptor, &'a [u8])> + use<'a> {
        let said = usize::try_from(self.zones).unwrap_or(usize::MAX);
        self.entries
            .chunks_exact(self.stride)
            .take(said)
            .map(|entry| ZoneDescriptor::ref_from_prefix(entry).expect("an entry is at least a descriptor"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn fields_are_where_the_specification_has_them() {
        offsets!(ZnsIdentifyNamespace:
            zoc 0, ozcs 2, mar 4, mor 8, rrl 12, frl 16, rrls 20, frls 32, numzrwa 44, zrwafg 48, zrwasz 50,
            zrwacap 52, lbafe 2816, vs 3840,
        );
        offsets!(ZoneFormat: zsze 0, zdes 8,);
        offsets!(ChangedZones: nrzid 0, zid 8,);
        offsets!(ZoneDescriptor: zt 0, zs 1, za 2, zai 3, zcap 8, zslba 16, wp 24,);
    }

    #[test]
    fn changed_zones_are_no_more_than_there_is_room_for() {
        let mut log = ChangedZones::new_zeroed();
        assert_eq!(log.zones().map(<[_]>::len), Some(0));
        log.nrzid = U16::new(0xfffe);
        assert_eq!(log.zones().map(<[_]>::len), Some(CHANGED_ZONES));
        log.nrzid = U16::new(0xffff);
        assert_eq!(log.zones(), None);
    }

    #[test]
    fn a_report_has_what_is_there() {
        let mut bytes = vec![0; 64 + 2 * 128 + 100];
        bytes[0] = 3;
        bytes[64 + 1] = zone_state::FULL << 4;
        bytes[64 + 128 + 16] = 7;
        let report = ZoneReport::new(&bytes, 1).unwrap();
        let zones: Vec<_> = report.iter().map(|(zone, more)| (zone.state(), zone.zslba.get(), more.len())).collect();
        assert_eq!((report.zones, zones), (3, vec![(zone_state::FULL, 0, 64), (0, 7, 64)]));
        bytes[0] = 1;
        assert_eq!(ZoneReport::new(&bytes, 0).unwrap().iter().count(), 1);
        assert!(ZoneReport::new(&bytes[..63], 0).is_none());
    }

    proptest! {
        #[test]
        fn any_report_is_within_its_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600), zdes: u8) {
            if let Some(report) = ZoneReport::new(&bytes, zdes) {
                prop_assert!(report.iter().count() * 64 * (1 + usize::from(zdes)) + 64 <= bytes.len());
            }
        }
    }
}
