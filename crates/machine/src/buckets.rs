//! Times in fixed buckets: two for each power of two, so that a bucket's ends are at most half as far apart as they are
//! large.
//!
//! ```text
//!   bound    1024 ns   1536   2048   3072   4096   ...   2^34 ns = 17 s   ∞        Buckets::new(10, 34)
//!   bucket  0 ......|  1   |  2   |  3   |  4   |  ...              48   |  49
//! ```
//!
//! A time belongs to the first bucket whose bound it does not exceed.

use std::time::Duration;

/// A scale of buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets {
    first: u32,
    last: u32,
}

impl Buckets {
    /// The first bound is 2 to the one power, the last bound 2 to the other, in nanoseconds.
    ///
    /// # Panics
    /// If they are the wrong way round, or more than 64 bits.
    #[must_use]
    pub const fn new(first: u32, last: u32) -> Self {
        assert!(0 < first && first < last && last < 64);
        Self { first, last }
    }

    /// How many buckets there are, the one without a bound included.
    #[must_use]
    pub const fn count(self) -> usize {
        2 * (self.last - self.first) as usize + 2
    }

    /// The upper bound of a bucket, which belongs to it; none for the last one.
    #[must_use]
    pub fn bound(self, bucket: usize) -> Option<Duration> {
        let half = bucket as u32 % 2;
        let power = self.first + bucket as u32 / 2;
        let nanos = || (1 << power) + u64::from(half) * (1 << (power - 1));
        (bucket + 1 < self.count()).then(|| Duration::from_nanos(nanos()))
    }

    /// The bucket of so many nanoseconds.
    #[must_use]
    pub const fn of(self, nanos: u64) -> usize {
        // A time that is a bound belongs below it.
        let below = nanos.saturating_sub(1);
        if below < 1 << self.first {
            return 0;
        }
        let power = below.ilog2();
        let half = (below >> (power - 1)) & 1;
        let bucket = 2 * (power - self.first) as usize + half as usize + 1;
        if bucket < self.count() { bucket } else { self.count() - 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_rise_and_belong_to_their_buckets() {
        for (first, last) in [(10, 34), (7, 30)] {
            let buckets = Buckets::new(first, last);
            let bounds: Vec<u64> = (0..buckets.count()).map_while(|at| buckets.bound(at)).map(nanos).collect();
            let start = 1 << first;
            assert_eq!((bounds.len(), bounds[0], bounds[1]), (buckets.count() - 1, start, start + start / 2));
            assert_eq!((bounds[2], bounds.last()), (2 * start, Some(&(1 << last))));
            assert!(bounds.is_sorted_by(|a, b| a < b));
            for (index, bound) in bounds.into_iter().enumerate() {
                let of = [bound - 1, bound, bound + 1].map(|nanos| buckets.of(nanos));
                assert_eq!(of, [index, index, index + 1], "{bound}");
            }
            assert_eq!((buckets.of(0), buckets.of(u64::MAX)), (0, buckets.count() - 1));
        }
    }

    fn nanos(bound: Duration) -> u64 {
        bound.as_nanos() as u64
    }
}
