//! An entry of the table.
//!
//! ```text
//!   63      52 51     44 43          20 19         0
//!   |  tag   | frequency |   segment   |  offset   |      an item; its offset is behind the segment's header
//!   |              bucket              |     1     |      the last entry of a bucket that goes on elsewhere
//!   |                 0                            |      nothing
//! ```

/// Where an item lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
}

/// 64 bits of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(pub(crate) u64);

const OFFSET_BITS: u32 = 20;
const SEGMENT_BITS: u32 = 24;
const FREQUENCY_SHIFT: u32 = OFFSET_BITS + SEGMENT_BITS;
const TAG_SHIFT: u32 = FREQUENCY_SHIFT + 8;
/// Bits of a tag.
pub(crate) const TAG_BITS: u32 = 64 - TAG_SHIFT;
const MORE: u64 = 1;

impl Slot {
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) fn item(tag: u64, frequency: u8, place: Place) -> Self {
        let Place { segment, offset } = place;
        debug_assert!(offset > MORE as u32 && offset < 1 << OFFSET_BITS && segment < 1 << SEGMENT_BITS);
        let place = u64::from(segment) << OFFSET_BITS | u64::from(offset);
        Self(tag << TAG_SHIFT | u64::from(frequency) << FREQUENCY_SHIFT | place)
    }

    /// The entry that leads to another bucket.
    pub(crate) fn more(bucket: u32) -> Self {
        Self(u64::from(bucket) << OFFSET_BITS | MORE)
    }

    /// The bucket that it leads to.
    pub(crate) fn next(self) -> Option<u32> {
        (self.0 & ((1 << OFFSET_BITS) - 1) == MORE).then_some((self.0 >> OFFSET_BITS) as u32)
    }

    pub(crate) fn is_item(self) -> bool {
        self.0 & ((1 << OFFSET_BITS) - 1) > MORE
    }

    pub(crate) fn tag(self) -> u64 {
        self.0 >> TAG_SHIFT
    }

    pub(crate) fn place(self) -> Place {
        let segment = (self.0 >> OFFSET_BITS) as u32 & ((1 << SEGMENT_BITS) - 1);
        Place { segment, offset: self.0 as u32 & ((1 << OFFSET_BITS) - 1) }
    }

    pub(crate) fn frequency(self) -> u8 {
        (self.0 >> FREQUENCY_SHIFT) as u8
    }

    pub(crate) fn with_frequency(self, frequency: u8) -> Self {
        Self(self.0 & !(0xff << FREQUENCY_SHIFT) | u64::from(frequency) << FREQUENCY_SHIFT)
    }

    pub(crate) fn with_place(self, place: Place) -> Self {
        Self::item(self.tag(), self.frequency(), place)
    }
}
