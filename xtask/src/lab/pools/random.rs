//! Numbers that are others in every run.

use std::hash::{BuildHasher, RandomState};

/// Xorshift (Marsaglia, 2003).
pub(super) struct Random(u64);

impl Random {
    /// Begun by chance.
    pub(super) fn new() -> Self {
        Self(RandomState::new().hash_one(0) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Less than `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }
}
