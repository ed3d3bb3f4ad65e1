//! Latencies in fixed buckets.

use std::time::Duration;

use machine::{Buckets, Word};

/// From a microsecond to 17 seconds.
const SCALE: Buckets = Buckets::new(10, 34);
/// Number of buckets, the one without a bound included.
pub const BUCKETS: usize = SCALE.count();

/// Counts of latencies; written by one reactor.
#[derive(Debug)]
pub(super) struct Histogram([Word; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Word::default()))
    }
}

impl Histogram {
    pub(super) fn add(&self, nanos: u64) {
        self.0[SCALE.of(nanos)].add(1);
    }

    pub(super) fn read(&self) -> [u64; BUCKETS] {
        self.0.each_ref().map(Word::get)
    }
}

/// The upper bound of a bucket, which belongs to it; none for the last one.
#[must_use]
pub fn bound(bucket: usize) -> Option<Duration> {
    SCALE.bound(bucket)
}
