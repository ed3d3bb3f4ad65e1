//! Blocks that were made unreadable, one bit each: what Write Uncorrectable leaves behind.
//!
//! The table is made when the first block is marked, and memory is taken only where bits are set. As long as no block
//! is bad, which is nearly always, a request pays one look at a number that nobody changes.
//!
//! A write takes effect before its bits are taken back, so that a reader who finds a block good again finds the new
//! bytes. Requests that run at the same time have no order, here as elsewhere.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use zerocopy::FromZeros;

use crate::Range;

/// Blocks in one word of the table.
const WORD: u64 = u64::BITS as u64;

pub(crate) struct BadBlocks {
    /// Blocks of the device.
    blocks: u64,
    /// How many are bad.
    count: AtomicU64,
    words: OnceLock<Option<Box<[AtomicU64]>>>,
}

impl BadBlocks {
    pub(crate) fn new(blocks: u64) -> Self {
        Self { blocks, count: AtomicU64::new(0), words: OnceLock::new() }
    }

    /// Whether any block is bad. Asked with every request.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Whether any block of the range is bad.
    pub(crate) fn hit(&self, range: Range) -> bool {
        self.any() && self.words(range).any(|(word, mask)| word.load(Ordering::SeqCst) & mask != 0)
    }

    /// Marks a range. False: there is no memory for the table, and nothing is marked.
    pub(crate) fn mark(&self, range: Range) -> bool {
        let words = self.words.get_or_init(|| {
            let words = usize::try_from(self.blocks.div_ceil(WORD)).ok()?;
            <[AtomicU64]>::new_box_zeroed_with_elems(words).ok()
        });
        if words.is_none() {
            return false;
        }
        for (word, mask) in self.words(range) {
            // Counted first: whoever finds none bad must not have missed one.
            self.count.fetch_add(u64::from(mask.count_ones()), Ordering::SeqCst);
            let before = word.fetch_or(mask, Ordering::SeqCst);
            self.count.fetch_sub(u64::from((before & mask).count_ones()), Ordering::SeqCst);
        }
        true
    }

    /// The blocks of the range were written, cleared or deallocated.
    pub(crate) fn heal(&self, range: Range) {
        if !self.any() {
            return;
        }
        for (word, mask) in self.words(range) {
            let before = word.fetch_and(!mask, Ordering::SeqCst);
            self.count.fetch_sub(u64::from((before & mask).count_ones()), Ordering::SeqCst);
        }
    }

    /// The words that a range touches, and its bits in each.
    fn words(&self, range: Range) -> impl Iterator<Item = (&AtomicU64, u64)> {
        let words = self.words.get().and_then(|words| words.as_deref()).unwrap_or_default();
        let end = range.lba + range.blocks;
        (range.lba / WORD..end.div_ceil(WORD)).zip(&words[(range.lba / WORD) as usize..]).map(move |(at, word)| {
            let from = range.lba.max(at * WORD) - at * WORD;
            let to = end.min((at + 1) * WORD) - at * WORD;
            (word, (u64::MAX >> (WORD - (to - from))) << from)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_are_those_of_a_model(steps in proptest::collection::vec((0..3, 0..200u64, 1..200u64), 1..60)) {
            let bad = BadBlocks::new(200);
            let mut model = [false; 200];
            for (step, lba, blocks) in steps {
                let range = Range { lba, blocks: blocks.min(200 - lba) };
                let part = &mut model[lba as usize..(lba + range.blocks) as usize];
                match step {
                    0 => {
                        prop_assert!(bad.mark(range));
                        part.fill(true);
                    }
                    1 => {
                        bad.heal(range);
                        part.fill(false);
                    }
                    _ => prop_assert_eq!(bad.hit(range), part.contains(&true)),
                }
                prop_assert_eq!(bad.count.load(Ordering::SeqCst), model.iter().filter(|bad| **bad).count() as u64);
            }
        }
    }

    #[test]
    fn a_whole_device_of_whole_words() {
        let bad = BadBlocks::new(128);
        let all = Range { lba: 0, blocks: 128 };
        assert!(!bad.hit(all));
        bad.heal(all);
        assert!(bad.mark(all) && bad.hit(Range { lba: 127, blocks: 1 }));
        bad.heal(all);
        assert!(!bad.any());
    }
}
