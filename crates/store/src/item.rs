//! The bytes of an item.
//!
//! ```text
//!    0      1       2..4     of a pool      of an item that has it:                        then
//!   | has | key's | value's | sequence, CRC | flags | expiry | CAS | length of a long key | key | value |
//!           bytes   bytes       7 and 4        4       6        8     2, over 255 bytes
//! ```
//!
//! Numbers are little-endian. An item without flags, expiry and CAS costs 5 bytes beside key and value. Expiry is in
//! milliseconds since 1970.
//!
//! In a pool each item carries the number of its change, counted over the whole store: of two items with one key the
//! higher one holds, whatever segments they are found in. In a durable pool it carries a checksum too: the CRC-32C of
//! all its bytes but the checksum itself and those bits of the first byte that change where the item lies, mixed with
//! the number of its segment. So bytes that did not reach the medium are told from those that did, and from what the
//! segment held before.
//!
//! An item's CAS is the number of its change; in memory, where it has none, the place it was first written to, as
//! segments have numbers that do not come again. An item whose CAS a client has been told keeps it when it is moved;
//! then it is written down.

use crc_fast::{CrcAlgorithm, Digest};

use crate::marks::Marks;
use crate::time::{Expiry, Time};

const HAS_FLAGS: u8 = 1;
const HAS_EXPIRY: u8 = 1 << 1;
const HAS_CAS: u8 = 1 << 2;
const HAS_LONG_KEY: u8 = 1 << 3;
/// The bits that say what the header has. The others are changed where the item lies.
const HAS: u8 = 0xf;
/// The table does not know it any more: it was overwritten or deleted. Only in a pool.
pub(crate) const DEAD: u8 = 1 << 6;
/// A client knows the CAS.
const TOLD_CAS: u8 = 1 << 7;

const FIXED_BYTES: usize = 5;
const SEQUENCE_BYTES: usize = 7;
const CRC_BYTES: usize = 4;
/// Most bytes in front of a key.
pub(crate) const MAX_HEADER_BYTES: usize = FIXED_BYTES + SEQUENCE_BYTES + CRC_BYTES + 4 + 6 + 8 + 2;
/// Sequences end here: after two hundred years of ten million changes a second.
pub(crate) const MAX_SEQUENCE: u64 = (1 << (8 * SEQUENCE_BYTES)) - 1;

/// What all items of a store carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// In memory: nothing more.
    Volatile,
    /// In a pool: the sequence.
    Warm,
    /// In a durable pool: sequence and checksum.
    Durable,
}

impl Layout {
    /// Bytes of the header that every item has.
    const fn fixed_bytes(self) -> usize {
        match self {
            Self::Volatile => FIXED_BYTES,
            Self::Warm => FIXED_BYTES + SEQUENCE_BYTES,
            Self::Durable => FIXED_BYTES + SEQUENCE_BYTES + CRC_BYTES,
        }
    }
}

/// An item as it lies in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// The client's, whatever they mean.
    pub flags: u32,
    /// When it expires.
    pub expiry: Expiry,
    /// Differs after each change of the item.
    pub cas: u64,
    /// What clients were told of it.
    pub marks: Marks,
}

/// What is in front of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) layout: Layout,
    /// The number of its change; 0 in memory.
    pub(crate) sequence: u64,
    pub(crate) key_bytes: usize,
    pub(crate) value_bytes: usize,
    pub(crate) flags: u32,
    pub(crate) expiry: Expiry,
    /// If it is not the sequence or the place.
    pub(crate) cas: Option<u64>,
    pub(crate) told_cas: bool,
    pub(crate) dead: bool,
}

impl Header {
    /// Of an item that never expires, without flags.
    pub(crate) const fn plain(layout: Layout, key_bytes: usize, value_bytes: usize) -> Self {
        let (flags, expiry, cas, told_cas, dead) = (0, Expiry::Never, None, false, false);
        Self { layout, sequence: 0, key_bytes, value_bytes, flags, expiry, cas, told_cas, dead }
    }

    /// Bytes in front of the key.
    pub(crate) fn bytes(&self) -> usize {
        let sizes = [(self.flags != 0, 4), (self.expiry != Expiry::Never, 6), (self.cas.is_some(), 8)];
        let optional: usize = sizes.iter().filter(|(has, _)| *has).map(|(_, bytes)| bytes).sum();
        self.layout.fixed_bytes() + optional + if self.key_bytes > 255 { 2 } else { 0 }
    }

    /// Bytes of the whole item.
    pub(crate) fn item_bytes(&self) -> usize {
        self.bytes() + self.key_bytes + self.value_bytes
    }

    /// Writes it to the front of the bytes, which are enough; how many they were. The checksum is written when the
    /// whole item is there: [`seal`].
    pub(crate) fn write(&self, to: &mut [u8]) -> usize {
        let mut has = if self.told_cas { TOLD_CAS } else { 0 } | if self.dead { DEAD } else { 0 };
        let mut at = self.layout.fixed_bytes();
        if self.layout != Layout::Volatile {
            to[FIXED_BYTES..][..SEQUENCE_BYTES].copy_from_slice(&self.sequence.to_le_bytes()[..SEQUENCE_BYTES]);
        }
        let mut put = |bit: u8, bytes: &[u8]| {
            has |= bit;
            to[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        if self.flags != 0 {
            put(HAS_FLAGS, &self.flags.to_le_bytes());
        }
        if let Expiry::At(time) = self.expiry {
            put(HAS_EXPIRY, &time.millis().to_le_bytes()[..6]);
        }
        if let Some(cas) = self.cas {
            put(HAS_CAS, &cas.to_le_bytes());
        }
        if self.key_bytes > 255 {
            put(HAS_LONG_KEY, &(self.key_bytes as u16).to_le_bytes());
        }
        to[0] = has;
        to[1] = if self.key_bytes > 255 { 0 } else { self.key_bytes as u8 };
        to[2..FIXED_BYTES].copy_from_slice(&(self.value_bytes as u32).to_le_bytes()[..3]);
        at
    }

    /// The header at the front of the bytes.
    #[inline]
    pub(crate) fn read(layout: Layout, from: &[u8]) -> Self {
        let has = from[0];
        let mut at = layout.fixed_bytes();
        let sequence = match layout {
            Layout::Volatile => 0,
            _ => number(&from[FIXED_BYTES..FIXED_BYTES + SEQUENCE_BYTES]),
        };
        let mut take = |bit: u8, bytes: usize| {
            if has & bit == 0 {
                return None;
            }
            at += bytes;
            Some(number(&from[at - bytes..at]))
        };
        let flags = take(HAS_FLAGS, 4).unwrap_or(0) as u32;
        let expiry = take(HAS_EXPIRY, 6).map_or(Expiry::Never, |millis| Expiry::At(Time::from_millis(millis)));
        let cas = take(HAS_CAS, 8);
        let key_bytes = take(HAS_LONG_KEY, 2).unwrap_or(u64::from(from[1])) as usize;
        let value_bytes = number(&from[2..FIXED_BYTES]) as usize;
        let (told_cas, dead) = (has & TOLD_CAS != 0, has & DEAD != 0);
        Self { layout, sequence, key_bytes, value_bytes, flags, expiry, cas, told_cas, dead }
    }

    /// The header of an item that is not known to be one; `None` if it would go on behind the bytes, or says that it
    /// has what it has not, as one does that was cut.
    pub(crate) fn read_untrusted(layout: Layout, from: &[u8]) -> Option<Self> {
        let mut front = [0; MAX_HEADER_BYTES];
        let bytes = from.len().min(MAX_HEADER_BYTES);
        front[..bytes].copy_from_slice(&from[..bytes]);
        let header = Self::read(layout, &front);
        let has = |bit: u8| front[0] & bit != 0;
        let is_one = has(HAS_FLAGS) == (header.flags != 0) && has(HAS_LONG_KEY) == (header.key_bytes > 255);
        (is_one && header.item_bytes() <= from.len()).then_some(header)
    }

    /// Notes on the item that these bytes begin with that a client knows its CAS.
    pub(crate) fn tell_cas(item: &mut [u8]) {
        item[0] |= TOLD_CAS;
    }
}

/// Writes the checksum of a whole item in the segment of this number.
pub(crate) fn seal(item: &mut [u8], segment_number: u64) {
    let sum = checksum(item, segment_number);
    crc_field(item).copy_from_slice(&sum.to_le_bytes());
}

/// Gives a copy of a sealed item from one segment to another, which says as much of its bytes as before.
pub(crate) fn reseal(item: &mut [u8], from_number: u64, to_number: u64) {
    let field = crc_field(item);
    let sum = number(field) as u32 ^ mixed(from_number) ^ mixed(to_number);
    field.copy_from_slice(&sum.to_le_bytes());
}

/// Whether a whole item is what was sealed in the segment of this number.
pub(crate) fn is_sealed(item: &[u8], segment_number: u64) -> bool {
    number(&item[FIXED_BYTES + SEQUENCE_BYTES..][..CRC_BYTES]) as u32 == checksum(item, segment_number)
}

fn crc_field(item: &mut [u8]) -> &mut [u8] {
    &mut item[FIXED_BYTES + SEQUENCE_BYTES..][..CRC_BYTES]
}

fn checksum(item: &[u8], segment_number: u64) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&[item[0] & HAS]);
    digest.update(&item[1..FIXED_BYTES + SEQUENCE_BYTES]);
    digest.update(&item[FIXED_BYTES + SEQUENCE_BYTES + CRC_BYTES..]);
    digest.finalize() as u32 ^ mixed(segment_number)
}

/// The number of a segment as 32 bits that differ in many places from those of its neighbours (Fibonacci hashing).
fn mixed(segment_number: u64) -> u32 {
    (segment_number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

/// Up to eight bytes as a number.
fn number(bytes: &[u8]) -> u64 {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(wide)
}

/// The key and the value of the item that these bytes begin with.
#[inline]
pub(crate) fn parts<'a>(header: &Header, item: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let key = header.bytes();
    let value = key + header.key_bytes;
    (&item[key..value], &item[value..value + header.value_bytes])
}

const _: () = assert!(MAX_HEADER_BYTES <= crate::limits::MAX_HEADER_BYTES);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: Header = Header::plain(Layout::Volatile, 20, 64);

    fn headers() -> impl Strategy<Value = Header> {
        let expiry = prop_oneof![Just(Expiry::Never), (0..1u64 << 48).prop_map(|ms| Expiry::At(Time::from_millis(ms)))];
        let lengths = (prop_oneof![0usize..300, Just(65_535)], prop_oneof![0usize..2000, Just(8 << 20)]);
        let layout = prop_oneof![Just((Layout::Volatile, 0)), (0..=MAX_SEQUENCE).prop_map(|n| (Layout::Durable, n))];
        let more = (prop_oneof![Just(0u32), any::<u32>()], expiry, any::<Option<u64>>(), any::<bool>());
        (layout, lengths, more).prop_map(|((layout, sequence), (key_bytes, value_bytes), more)| {
            let (flags, expiry, cas, told_cas) = more;
            Header { layout, sequence, key_bytes, value_bytes, flags, expiry, cas, told_cas, dead: false }
        })
    }

    proptest! {
        #[test]
        fn headers_are_read_as_they_are_written(header in headers()) {
            let mut bytes = [0xee; MAX_HEADER_BYTES];
            let written = header.write(&mut bytes);
            prop_assert_eq!(written, header.bytes());
            prop_assert_eq!(Header::read(header.layout, &bytes), header);
            Header::tell_cas(&mut bytes);
            prop_assert_eq!(Header::read(header.layout, &bytes), Header { told_cas: true, ..header });
            for end in 0..written {
                prop_assert_eq!(Header::read_untrusted(header.layout, &bytes[..end]), None);
            }
        }

        #[test]
        fn a_seal_holds_for_these_bytes_in_this_segment(
            value in prop::collection::vec(any::<u8>(), 0..200), numbers in (0u64..1 << 44, 0u64..1 << 44),
            flip in any::<prop::sample::Index>(),
        ) {
            let header = Header { layout: Layout::Durable, key_bytes: 0, value_bytes: value.len(), ..PLAIN };
            let mut item = vec![0; header.bytes()];
            header.write(&mut item);
            item.extend(&value);
            seal(&mut item, numbers.0);
            prop_assert!(is_sealed(&item, numbers.0));
            prop_assert_eq!(is_sealed(&item, numbers.1), numbers.0 == numbers.1);
            reseal(&mut item, numbers.0, numbers.1);
            item[0] |= DEAD | TOLD_CAS;
            prop_assert!(is_sealed(&item, numbers.1), "these bits are not in it");
            let bit = flip.index((item.len() - 1) * 8);
            item[1 + bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!is_sealed(&item, numbers.1), "bit {} of byte {}", bit % 8, 1 + bit / 8);
        }
    }

    #[test]
    fn what_is_cut_off_is_no_shorter_header() {
        for header in [Header { flags: 7 << 8, ..PLAIN }, Header { key_bytes: 65_535, ..PLAIN }] {
            let header = Header { value_bytes: 0, key_bytes: header.key_bytes & 0xff00, ..header };
            let mut bytes = [0; MAX_HEADER_BYTES];
            let written = header.write(&mut bytes);
            for end in 0..written {
                assert_eq!(Header::read_untrusted(Layout::Volatile, &bytes[..end]), None, "{header:?} of {end} bytes");
            }
        }
    }

    #[test]
    fn who_uses_little_pays_little() {
        assert_eq!(PLAIN.bytes(), 5);
        assert_eq!(Header { flags: 7, ..PLAIN }.bytes(), 9);
        assert_eq!(Header { layout: Layout::Warm, ..PLAIN }.bytes(), 12);
        assert_eq!(Header { layout: Layout::Durable, ..PLAIN }.bytes(), 16);
    }
}
