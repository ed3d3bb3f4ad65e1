//! Latencies in fixed buckets: two for each power of two, so that a bucket's ends are at most half as far apart as they
//! are large.
//!
//! ```text
//!   bound    1024 ns   1536   2048   3072   4096   ...   2^34 ns = 17 s   ∞
//!   bucket  0 ......|  1   |  2   |  3   |  4   |  ...              48   |  49
//! ```
//!
//! A latency belongs to the first bucket whose bound it does not exceed.

use std::time::Duration;

use machine::Word;

/// The first bound is 2 to this power, in nanoseconds: a microsecond.
const FIRST: u32 = 10;
/// The last bound is 2 to this power, in nanoseconds: 17 seconds.
const LAST: u32 = 34;
/// Number of buckets, the one without a bound included.
pub const BUCKETS: usize = 2 * (LAST - FIRST) as usize + 2;

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
        self.0[bucket(nanos)].add(1);
    }

    pub(super) fn read(&self) -> [u64; BUCKETS] {
        self.0.each_ref().map(Word::get)
    }
}

/// The upper bound of a bucket, which belongs to it; none for the last one.
#[must_use]
pub fn bound(bucket: usize) -> Option<Duration> {
    let half = bucket as u32 % 2;
    let power = FIRST + bucket as u32 / 2;
    (bucket + 1 < BUCKETS).then(|| Duration::from_nanos((1 << power) + u64::from(half) * (1 << (power - 1))))
}

fn bucket(nanos: u64) -> usize {
    // A latency that is a bound belongs below it.
    let below = nanos.saturating_sub(1);
    if below < 1 << FIRST {
        return 0;
    }
    let power = below.ilog2();
    let half = (below >> (power - 1)) & 1;
    (2 * (power - FIRST) as usize + half as usize + 1).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_rise_and_belong_to_their_buckets() {
        let bounds: Vec<u64> = (0..BUCKETS).map_while(bound).map(|bound| bound.as_nanos() as u64).collect();
        assert_eq!((bounds.len(), bounds[0], bounds[1], bounds[2]), (BUCKETS - 1, 1024, 1536, 2048));
        assert_eq!(bounds.last(), Some(&(1 << LAST)));
        assert!(bounds.is_sorted_by(|a, b| a < b));
        for (index, bound) in bounds.into_iter().enumerate() {
            assert_eq!((bucket(bound - 1), bucket(bound), bucket(bound + 1)), (index, index, index + 1), "{bound}");
        }
        assert_eq!((bucket(0), bucket(u64::MAX)), (0, BUCKETS - 1));
    }
}
