//! Which segments are free: a bit for each.
//!
//! ```text
//!   [ s s s . s | . . | runs of segments ]       single ones are taken from the front, runs from the back
//! ```
//!
//! So that free neighbours stay together where runs are looked for. While a window is made free for a run, a fence is
//! around it: nothing in there is given out.

use std::ops::Range;

/// See the module.
pub(crate) struct Free {
    /// Bit `n % 64` of word `n / 64` is set if segment `n` is free.
    words: Box<[u64]>,
    count: usize,
    /// No word in front of this one has a bit.
    lowest: usize,
    fence: Range<u32>,
}

impl Free {
    /// So many segments, all of them free.
    pub(crate) fn all(segments: usize) -> Self {
        let mut words = vec![u64::MAX; segments.div_ceil(64)].into_boxed_slice();
        if let (Some(last), rest @ 1..) = (words.last_mut(), segments % 64) {
            *last = (1 << rest) - 1;
        }
        Self { words, count: segments, lowest: 0, fence: 0..0 }
    }

    /// How many are free.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn has(&self, segment: u32) -> bool {
        self.words[segment as usize / 64] >> (segment % 64) & 1 == 1
    }

    /// From now on what lies in here is not given out; an empty window ends that.
    pub(crate) fn set_fence(&mut self, window: Range<u32>) {
        self.fence = window;
    }

    /// Takes the first one.
    pub(crate) fn take_first(&mut self) -> Option<u32> {
        self.lowest += self.words[self.lowest..].iter().position(|word| *word != 0)?;
        let first = self.first()?;
        self.take(first);
        Some(first)
    }

    /// The first one.
    pub(crate) fn first(&self) -> Option<u32> {
        (self.lowest..self.words.len()).map(|word| (word * 64) as u32).find_map(|first| {
            let mut bits = self.words[first as usize / 64];
            while bits != 0 {
                let segment = first + bits.trailing_zeros();
                if !self.fence.contains(&segment) {
                    return Some(segment);
                }
                bits &= bits - 1;
            }
            None
        })
    }

    /// Takes this one, which is free.
    pub(crate) fn take(&mut self, segment: u32) {
        assert!(self.has(segment), "segment {segment} is in use");
        self.words[segment as usize / 64] &= !(1 << (segment % 64));
        self.count -= 1;
    }

    /// Gives one back.
    pub(crate) fn give_back(&mut self, segment: u32) {
        assert!(!self.has(segment), "segment {segment} is free already");
        self.words[segment as usize / 64] |= 1 << (segment % 64);
        self.count += 1;
        self.lowest = self.lowest.min(segment as usize / 64);
    }

    /// The first one of the last so many neighbours that are free.
    pub(crate) fn last_run(&self, segments: usize) -> Option<u32> {
        let mut found = 0;
        for word in (0..self.words.len()).rev() {
            if self.words[word] == 0 {
                found = 0;
                continue;
            }
            for bit in (0..64).rev() {
                let segment = (word * 64) as u32 + bit;
                let fits = self.words[word] >> bit & 1 == 1 && !self.fence.contains(&segment);
                found = if fits { found + 1 } else { 0 };
                if found == segments {
                    return Some(segment);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn singles_come_from_the_front_and_runs_from_the_back() {
        let mut free = Free::all(200);
        assert_eq!((free.take_first(), free.take_first(), free.count()), (Some(0), Some(1), 198));
        assert_eq!((free.last_run(70), free.last_run(198), free.last_run(199)), (Some(130), Some(2), None));
        free.take(100);
        assert_eq!((free.last_run(100), free.last_run(99)), (None, Some(101)));
        free.give_back(100);
        free.give_back(0);
        assert_eq!((free.take_first(), free.take_first()), (Some(0), Some(2)));
    }

    #[test]
    fn what_is_fenced_is_not_given_out() {
        let mut free = Free::all(200);
        free.set_fence(0..150);
        assert_eq!((free.take_first(), free.last_run(49), free.last_run(50)), (Some(150), Some(151), None));
        free.set_fence(0..200);
        assert_eq!((free.take_first(), free.count()), (None, 199));
        free.set_fence(0..0);
        assert_eq!((free.take_first(), free.last_run(149)), (Some(0), Some(1)));
    }
}
