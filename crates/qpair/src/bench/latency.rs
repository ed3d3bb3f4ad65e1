//! Latencies of one direction: how many, how long, how spread.
//!
//! A recording is one increment in a table that is allocated at the start: values below 2^8 ns are exact, larger ones
//! are kept to 1/128 (0.8 %). Sum, smallest and largest are exact.

use std::time::Duration;

use histogram::Histogram;

/// Relative precision: 2^-7.
const GROUPING_POWER: u8 = 7;
/// 2^40 ns are 18 minutes; what takes longer counts as that.
const MAX_VALUE_POWER: u8 = 40;
/// Buckets of the picture are cut at powers of two of a microsecond, from 2^-4 us.
const FIRST_POWER: i32 = -4;

/// The latencies of one direction.
#[derive(Clone)]
pub(super) struct Latencies {
    histogram: Histogram,
    count: u64,
    sum_ns: u64,
    min_ns: u64,
    max_ns: u64,
}

/// A bar of the picture.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(super) struct Bar {
    /// From so many microseconds, twice as many excluded; 0 for the first, which has all that are shorter.
    pub(super) from_us: f64,
    /// The end, excluded.
    pub(super) to_us: f64,
    /// Requests.
    pub(super) count: u64,
}

impl Latencies {
    /// None so far.
    pub(super) fn new() -> Self {
        let histogram = Histogram::new(GROUPING_POWER, MAX_VALUE_POWER).expect("the powers are in range");
        Self { histogram, count: 0, sum_ns: 0, min_ns: u64::MAX, max_ns: 0 }
    }

    /// Forgets everything.
    pub(super) fn reset(&mut self) {
        self.histogram.reset();
        (self.count, self.sum_ns, self.min_ns, self.max_ns) = (0, 0, u64::MAX, 0);
    }

    /// One request took so long.
    #[inline]
    pub(super) fn record(&mut self, latency: Duration) {
        // 64 bits of nanoseconds are 584 years.
        let ns = latency.as_nanos() as u64;
        let clamped = ns.min((1 << MAX_VALUE_POWER) - 1);
        self.histogram.increment(clamped).expect("clamped to the histogram's range");
        self.count += 1;
        // Overflows after 584 years of waiting.
        self.sum_ns += ns;
        self.min_ns = self.min_ns.min(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds another recording.
    pub(super) fn merge(&mut self, other: &Self) {
        self.histogram.checked_add_assign(&other.histogram).expect("the same powers, and counts far from 2^64");
        self.count += other.count;
        self.sum_ns += other.sum_ns;
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Requests recorded.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all, in nanoseconds.
    pub(super) fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// The mean, in microseconds; 0 without requests.
    pub(super) fn mean_us(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum_ns as f64 / self.count as f64 / 1e3 }
    }

    /// The shortest, in microseconds; 0 without requests.
    pub(super) fn min_us(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.min_ns as f64 / 1e3 }
    }

    /// The longest, in microseconds.
    pub(super) fn max_us(&self) -> f64 {
        self.max_ns as f64 / 1e3
    }

    /// The latency that `quantile` (0 to 1) of the requests did not exceed, in microseconds; 0 without requests.
    pub(super) fn quantile_us(&self, quantile: f64) -> f64 {
        let bucket = self.histogram.quantile_bucket(quantile).expect("a quantile from 0 to 1");
        // The end of a bucket may lie beyond the longest latency that was seen.
        bucket.map_or(0.0, |bucket| bucket.end().clamp(self.min_ns, self.max_ns) as f64 / 1e3)
    }

    /// The picture: one bar for each power of two of a microsecond, from the first that has requests to the last.
    pub(super) fn bars(&self) -> Vec<Bar> {
        let mut bars: Vec<Bar> = Vec::new();
        for bucket in self.histogram.iter().filter(|bucket| bucket.count() > 0) {
            let us = bucket.start() as f64 / 1e3;
            let power = (us.log2().floor() as i32).max(FIRST_POWER);
            let end = |power: i32| 2_f64.powi(power + 1);
            let mut next = bars.last().map_or(power, |last| last.to_us.log2() as i32);
            while bars.last().is_none_or(|last| last.to_us < end(power)) {
                let from_us = if next == FIRST_POWER { 0.0 } else { 2_f64.powi(next) };
                bars.push(Bar { from_us, to_us: end(next), count: 0 });
                next += 1;
            }
            bars.last_mut().expect("just pushed").count += bucket.count();
        }
        bars
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(us: &[f64]) -> Latencies {
        let mut latencies = Latencies::new();
        us.iter().for_each(|us| latencies.record(Duration::from_nanos((us * 1e3) as u64)));
        latencies
    }

    fn near(got: f64, expected: f64) {
        assert!((got - expected).abs() <= expected * 0.01, "{got} is not near {expected}");
    }

    #[test]
    fn quantiles_are_within_a_per_cent() {
        let latencies = of(&(1..=10_000).map(f64::from).collect::<Vec<_>>());
        near(latencies.quantile_us(0.5), 5_000.0);
        near(latencies.quantile_us(0.9), 9_000.0);
        near(latencies.quantile_us(0.99), 9_900.0);
        near(latencies.quantile_us(0.999), 9_990.0);
        near(latencies.mean_us(), 5_000.5);
        assert_eq!((latencies.min_us(), latencies.max_us(), latencies.count()), (1.0, 10_000.0, 10_000));
    }

    #[test]
    fn no_quantile_lies_beyond_the_longest() {
        let latencies = of(&[1234.567]);
        for quantile in [0.0, 0.5, 0.999, 1.0] {
            assert_eq!(latencies.quantile_us(quantile), 1234.567);
        }
    }

    #[test]
    fn nothing_recorded_is_zeros() {
        let latencies = Latencies::new();
        assert_eq!((latencies.mean_us(), latencies.min_us(), latencies.max_us()), (0.0, 0.0, 0.0));
        assert_eq!(latencies.quantile_us(0.99), 0.0);
        assert!(latencies.bars().is_empty());
    }

    #[test]
    fn bars_are_contiguous_and_count_everything() {
        let latencies = of(&[0.01, 3.0, 3.9, 4.0, 70.0]);
        let bars = latencies.bars();
        assert_eq!(bars.first().map(|bar| (bar.from_us, bar.to_us, bar.count)), Some((0.0, 0.125, 1)));
        assert!(bars.windows(2).all(|pair| pair[0].to_us == pair[1].from_us));
        let found = |from: f64| bars.iter().find(|bar| bar.from_us == from).map(|bar| bar.count);
        assert_eq!((found(2.0), found(4.0), found(8.0), found(64.0)), (Some(2), Some(1), Some(0), Some(1)));
        assert_eq!(bars.iter().map(|bar| bar.count).sum::<u64>(), 5);
        assert_eq!(bars.len(), 11);
    }

    #[test]
    fn what_takes_forever_is_counted_as_long() {
        let mut latencies = of(&[1.0]);
        latencies.record(Duration::from_secs(7_200));
        assert_eq!(latencies.max_us(), 7.2e9);
        assert_eq!(latencies.count(), 2);
    }

    #[test]
    fn merging_and_reset() {
        let mut all = of(&[1.0, 2.0]);
        all.merge(&of(&[100.0]));
        assert_eq!((all.count(), all.min_us(), all.max_us()), (3, 1.0, 100.0));
        all.reset();
        assert_eq!((all.count(), all.max_us(), all.bars().len()), (0, 0.0, 0));
    }
}
