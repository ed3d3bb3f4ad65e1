//! What a controller has recorded: persistent events, blocks that may be lost, boot partitions.
//!
//! ```text
//!   LID 0Dh   PersistentEventHeader | event | event | ...     events of any length; this is the header
//!   LID 0Eh   LbaStatusHeader | element | range | range | element | range | ...     16 bytes each
//!   LID 15h   BootPartitionHeader | the partition
//! ```

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Header of the persistent event log (Base 2.0, LID 0Dh), 512 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct PersistentEventHeader {
    /// The log's own identifier.
    pub lid: u8,
    /// Reserved.
    pub reserved1: [u8; 3],
    /// Events in the log.
    pub tnev: U32,
    /// Bytes of the log, with this header.
    pub tll: U64,
    /// Revision of the log.
    pub rv: u8,
    /// Reserved.
    pub reserved17: u8,
    /// Bytes of this header behind this field.
    pub lhl: U16,
    /// When the log was made: a timestamp of the controller, in ms in its lowest 48 bits.
    pub timestamp: U64,
    /// Hours with power.
    pub poh: U128,
    /// Power cycles.
    pub pcc: U64,
    /// PCI vendor.
    pub vid: U16,
    /// PCI vendor of the subsystem.
    pub ssvid: U16,
    /// Serial number.
    pub sn: [u8; 20],
    /// Model.
    pub mn: [u8; 40],
    /// NQN of the subsystem.
    pub subnqn: [u8; 256],
    /// Counts up with each log that is made.
    pub generation: U16,
    /// Reporting context: who has it, and where.
    pub rci: U32,
    /// Reserved.
    pub reserved378: [u8; 102],
    /// A bit for each type of event that is recorded.
    pub seb: [u8; 32],
}

const _: () = assert!(size_of::<PersistentEventHeader>() == 512);

impl PersistentEventHeader {
    /// The types of events that are recorded.
    pub fn events(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=u8::MAX).filter(|event| self.seb[usize::from(event / 8)] >> (event % 8) & 1 == 1)
    }
}

/// Header of the LBA status information log (Base 2.0, LID 0Eh), 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct LbaStatusHeader {
    /// Bytes of the log, with this header.
    pub lslplen: U32,
    /// Elements.
    pub nlslne: U32,
    /// Estimated number of blocks that cannot be read.
    pub estulb: U32,
    /// Reserved.
    pub reserved12: [u8; 2],
    /// Counts up when the log changes.
    pub lsgc: U16,
}

const _: () = assert!(size_of::<LbaStatusHeader>() == 16);

/// A namespace in this log, 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct LbaStatusElement {
    /// The namespace.
    pub nsid: U32,
    /// Ranges that follow; [`u32::MAX`]: none, all of its blocks are to be looked at.
    pub nlrd: U32,
    /// Recommended action type: what Get LBA Status is to be asked.
    pub ratype: u8,
    /// Reserved.
    pub reserved9: [u8; 7],
}

const _: () = assert!(size_of::<LbaStatusElement>() == 16);

/// A run of blocks in this log, 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct LbaStatusRange {
    /// First block.
    pub rslba: U64,
    /// Number of blocks.
    pub rnlb: U32,
    /// Reserved.
    pub reserved12: [u8; 4],
}

const _: () = assert!(size_of::<LbaStatusRange>() == 16);

/// The elements of an LBA status log and their ranges: as many as the header counts and as there are bytes for.
pub struct LbaStatusElements<'a> {
    left: u32,
    rest: &'a [u8],
}

impl<'a> LbaStatusElements<'a> {
    /// Of the bytes behind the header.
    #[must_use]
    pub fn new(header: &LbaStatusHeader, rest: &'a [u8]) -> Self {
        Self { left: header.nlslne.get(), rest }
    }
}

impl<'a> Iterator for LbaStatusElements<'a> {
    type Item = (&'a LbaStatusElement, &'a [LbaStatusRange]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (element, rest) = LbaStatusElement::ref_from_prefix(self.rest).ok()?;
        let said = if element.nlrd.get() == u32::MAX { 0 } else { element.nlrd.get() as usize };
        let there = rest.len() / size_of::<LbaStatusRange>();
        let (ranges, rest) =
            <[LbaStatusRange]>::ref_from_prefix_with_elems(rest, said.min(there)).expect("so many are there");
        self.rest = if said > there { &[] } else { rest };
        Some((element, ranges))
    }
}

/// Header of the boot partition log (Base 2.0, LID 15h), 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct BootPartitionHeader {
    /// The log's own identifier.
    pub lid: u8,
    /// Reserved.
    pub reserved1: [u8; 3],
    /// Bits 14:0: size of a partition, in units of 128 KiB; bit 31: which of the two is active.
    pub bpinfo: U32,
    /// Reserved.
    pub reserved8: [u8; 8],
}

const _: () = assert!(size_of::<BootPartitionHeader>() == 16);

impl BootPartitionHeader {
    /// Bytes of the unit that sizes count in.
    pub const UNIT_BYTES: u64 = 128 << 10;

    /// Size of a partition, in units of [`Self::UNIT_BYTES`].
    #[must_use]
    pub fn size(&self) -> u16 {
        self.bpinfo.get() as u16 & 0x7fff
    }

    /// The active partition, 0 or 1.
    #[must_use]
    pub fn active(&self) -> u8 {
        (self.bpinfo.get() >> 31) as u8
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn fields_are_where_the_specification_has_them() {
        offsets!(PersistentEventHeader:
            lid 0, tnev 4, tll 8, rv 16, lhl 18, timestamp 20, poh 28, pcc 44, vid 52, ssvid 54, sn 56, mn 76,
            subnqn 116, generation 372, rci 374, seb 480,
        );
        offsets!(LbaStatusHeader: lslplen 0, nlslne 4, estulb 8, lsgc 14,);
        offsets!(LbaStatusElement: nsid 0, nlrd 4, ratype 8,);
        offsets!(LbaStatusRange: rslba 0, rnlb 8,);
        offsets!(BootPartitionHeader: lid 0, bpinfo 4,);
    }

    #[test]
    fn bits_of_events_and_of_partitions() {
        let mut header = PersistentEventHeader::new_zeroed();
        (header.seb[0], header.seb[31]) = (0b10, 0x80);
        assert_eq!(header.events().collect::<Vec<_>>(), [1, 255]);
        let partition = BootPartitionHeader { bpinfo: 0x8000_8002.into(), ..BootPartitionHeader::new_zeroed() };
        assert_eq!((partition.size(), partition.active()), (2, 1));
    }

    #[test]
    fn elements_are_no_more_than_there_are_bytes_for() {
        let header = |elements: u32| LbaStatusHeader { nlslne: elements.into(), ..LbaStatusHeader::new_zeroed() };
        let element = |nsid: u32, ranges: u32| {
            let element = LbaStatusElement { nsid: nsid.into(), nlrd: ranges.into(), ..LbaStatusElement::new_zeroed() };
            element.as_bytes().to_vec()
        };
        let found = |elements, bytes: &[u8]| -> Vec<(u32, usize)> {
            let all = LbaStatusElements::new(&header(elements), bytes);
            all.map(|(element, ranges)| (element.nsid.get(), ranges.len())).collect()
        };
        let log = [element(1, 2), vec![9; 32], element(2, u32::MAX), element(3, 1), vec![9; 16]].concat();
        assert_eq!(found(3, &log), [(1, 2), (2, 0), (3, 1)]);
        assert_eq!(found(2, &log), [(1, 2), (2, 0)]);
        assert_eq!(found(u32::MAX, &log), [(1, 2), (2, 0), (3, 1)]);
        for cut in 0..log.len() {
            let whole = found(3, &log[..cut]);
            assert!(whole.len() <= 3 && whole.iter().map(|(_, ranges)| ranges).sum::<usize>() <= cut / 16, "{cut}");
        }
        assert_eq!(found(2, &[element(1, u32::MAX - 1), element(2, 0)].concat()), [(1, 1)], "the rest are its ranges");
    }
}
