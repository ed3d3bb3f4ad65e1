//! The bytes of an item.
//!
//! ```text
//!    0      1       2..4     then, of an item that has it:                          then
//!   | has | key's | value's | flags | expiry | CAS | length of a key over 255 bytes | key | value |
//!           bytes   bytes     4       6        8     2
//! ```
//!
//! Numbers are little-endian. An item without flags, expiry and CAS costs 5 bytes beside key and value. Expiry is in
//! milliseconds since 1970.
//!
//! An item's CAS is the place it was first written to, as segments have numbers that do not come again. An item whose
//! CAS a client has been told keeps it when it is moved; then it is written down.

use crate::marks::Marks;
use crate::time::{Expiry, Time};

const HAS_FLAGS: u8 = 1;
const HAS_EXPIRY: u8 = 1 << 1;
const HAS_CAS: u8 = 1 << 2;
const HAS_LONG_KEY: u8 = 1 << 3;
/// A client knows the CAS: the one bit that is changed where it lies.
const TOLD_CAS: u8 = 1 << 7;

const FIXED_BYTES: usize = 5;

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
    pub(crate) key_bytes: usize,
    pub(crate) value_bytes: usize,
    pub(crate) flags: u32,
    pub(crate) expiry: Expiry,
    /// If it is not the item's place.
    pub(crate) cas: Option<u64>,
    pub(crate) told_cas: bool,
}

impl Header {
    /// Bytes in front of the key.
    pub(crate) fn bytes(&self) -> usize {
        let sizes = [(self.flags != 0, 4), (self.expiry != Expiry::Never, 6), (self.cas.is_some(), 8)];
        let optional: usize = sizes.iter().filter(|(has, _)| *has).map(|(_, bytes)| bytes).sum();
        FIXED_BYTES + optional + if self.key_bytes > 255 { 2 } else { 0 }
    }

    /// Bytes of the whole item.
    pub(crate) fn item_bytes(&self) -> usize {
        self.bytes() + self.key_bytes + self.value_bytes
    }

    /// Writes it to the front of the bytes, which are enough; how many they were.
    pub(crate) fn write(&self, to: &mut [u8]) -> usize {
        let mut has = if self.told_cas { TOLD_CAS } else { 0 };
        let mut at = FIXED_BYTES;
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
    pub(crate) fn read(from: &[u8]) -> Self {
        let has = from[0];
        let mut at = FIXED_BYTES;
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
        Self { key_bytes, value_bytes, flags, expiry, cas, told_cas: has & TOLD_CAS != 0 }
    }

    /// Notes on the item that these bytes begin with that a client knows its CAS.
    pub(crate) fn tell_cas(item: &mut [u8]) {
        item[0] |= TOLD_CAS;
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Most bytes in front of a key.
    const MAX_HEADER_BYTES: usize = FIXED_BYTES + 4 + 6 + 8 + 2;

    fn headers() -> impl Strategy<Value = Header> {
        let expiry = prop_oneof![Just(Expiry::Never), (0..1u64 << 48).prop_map(|ms| Expiry::At(Time::from_millis(ms)))];
        let lengths = (prop_oneof![0usize..300, Just(65_535)], prop_oneof![0usize..2000, Just(8 << 20)]);
        (lengths, prop_oneof![Just(0u32), any::<u32>()], expiry, any::<Option<u64>>(), any::<bool>()).prop_map(
            |((key_bytes, value_bytes), flags, expiry, cas, told_cas)| Header {
                key_bytes,
                value_bytes,
                flags,
                expiry,
                cas,
                told_cas,
            },
        )
    }

    proptest! {
        #[test]
        fn headers_are_read_as_they_are_written(header in headers()) {
            let mut bytes = [0xee; MAX_HEADER_BYTES];
            let written = header.write(&mut bytes);
            prop_assert_eq!(written, header.bytes());
            prop_assert_eq!(Header::read(&bytes), header);
            Header::tell_cas(&mut bytes);
            prop_assert_eq!(Header::read(&bytes), Header { told_cas: true, ..header });
        }
    }

    #[test]
    fn who_uses_little_pays_little() {
        let plain =
            Header { key_bytes: 20, value_bytes: 64, flags: 0, expiry: Expiry::Never, cas: None, told_cas: false };
        assert_eq!(plain.bytes(), 5);
        assert_eq!(Header { flags: 7, ..plain }.bytes(), 9);
    }
}
