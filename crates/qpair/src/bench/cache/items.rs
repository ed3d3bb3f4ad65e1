//! What the items of a run are: the key of a number, and the value that belongs to it.
//!
//! ```text
//!   number  41  ──▶  key    k0000000000000000041        as long as asked for
//!               ──▶  value  a piece of one run of noise, whose place and length are a hash of the number
//! ```
//!
//! A value is a function of its key, so that every hit can be checked, whichever connection wrote it. The value of
//! another key, a shifted one or a torn one is found; an older value of the same key would be the same bytes.

use std::fmt;
use std::str::FromStr;

use block::size::parse_size;

use super::super::workload::Rng;
use super::limits::{MAX_VALUE_BYTES, NOISE_BYTES};

/// Sizes of values: all the same, or evenly between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) struct Sizes {
    pub(super) least: usize,
    pub(super) most: usize,
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = |text: &str| {
            let size = parse_size(text)?;
            usize::try_from(size)
                .ok()
                .filter(|size| *size <= MAX_VALUE_BYTES)
                .ok_or_else(|| format!("a value has at most {MAX_VALUE_BYTES} bytes"))
        };
        let (least, most) = text.split_once('-').unwrap_or((text, text));
        let sizes = Self { least: size(least)?, most: size(most)? };
        if sizes.least > sizes.most { Err("write sizes as 64, 1k or 64-1k".to_owned()) } else { Ok(sizes) }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { least, most } = self;
        if least == most { write!(f, "{least}") } else { write!(f, "{least}-{most}") }
    }
}

/// The items of a run.
pub(super) struct Items {
    pub(super) count: u32,
    sizes: Sizes,
    key: Vec<u8>,
    noise: Box<[u8]>,
}

impl Items {
    /// So many, with keys of this length, which must have room for the last number behind one letter.
    pub(super) fn new(count: u32, key_bytes: usize, sizes: Sizes, seed: u64) -> Self {
        assert!(count > 0 && key_bytes >= least_key_bytes(count), "keys of {key_bytes} bytes");
        let mut key = vec![b'0'; key_bytes];
        key[0] = b'k';
        let mut noise = vec![0; NOISE_BYTES + sizes.most].into_boxed_slice();
        Rng::new(seed ^ 0x6974_656d_7300_0000).fill(&mut noise);
        Self { count, sizes, key, noise }
    }

    /// The key of an item.
    #[inline]
    pub(super) fn key(&mut self, number: u32) -> &[u8] {
        let (mut rest, mut at) = (number, self.key.len());
        let first = at - DIGITS.min(at - 1);
        while at > first {
            at -= 1;
            self.key[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        &self.key
    }

    /// The value of an item.
    #[inline]
    pub(super) fn value(&self, number: u32) -> &[u8] {
        let hash = u64::from(number).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let start = (hash >> 32) as usize % NOISE_BYTES;
        let span = self.sizes.most - self.sizes.least + 1;
        let hash = (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bytes = self.sizes.least + (((hash >> 32) * span as u64) >> 32) as usize;
        &self.noise[start..start + bytes]
    }
}

/// Digits that a number has at most.
const DIGITS: usize = 10;

/// The shortest key that tells so many items apart.
pub(super) fn least_key_bytes(count: u32) -> usize {
    (count - 1).checked_ilog10().map_or(1, |log| log as usize + 1) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn keys_are_all_different_and_of_their_length() {
        for (count, bytes) in [(1, 2), (10, 2), (11, 3), (1000, 4), (1000, 20), (1000, 250)] {
            let mut items = Items::new(count, bytes, Sizes { least: 1, most: 1 }, 3);
            let keys: HashSet<Vec<u8>> = (0..count).map(|number| items.key(number).to_vec()).collect();
            assert_eq!(keys.len(), count as usize);
            assert!(keys.iter().all(|key| key.len() == bytes));
        }
        assert_eq!(least_key_bytes(u32::MAX), 11);
        assert_eq!(Items::new(9, 5, Sizes { least: 1, most: 1 }, 0).key(7), b"k0007");
    }

    #[test]
    fn values_are_of_the_sizes_and_belong_to_their_key() {
        let sizes = "10-1k".parse().expect("sizes");
        let (items, again) = (Items::new(5000, 8, sizes, 3), Items::new(5000, 8, sizes, 3));
        let mut lengths = HashSet::new();
        for number in 0..5000 {
            let value = items.value(number);
            assert!((10..=1024).contains(&value.len()));
            lengths.insert(value.len());
            assert_eq!(value, again.value(number));
            assert_ne!(value, items.value((number + 1) % 5000));
        }
        assert!(lengths.len() > 900, "{}", lengths.len());
        assert_eq!("64".parse(), Ok(Sizes { least: 64, most: 64 }));
        assert!("2k-1k".parse::<Sizes>().is_err() && "9m".parse::<Sizes>().is_err());
    }
}
