//! A run over time: rate and mean latency in equal intervals, never more than [`MAX_MOMENTS`] of them.
//!
//! When there is no room for another moment, neighbours become one, and from then on an interval is twice as long. So a
//! run of seconds has all its detail, and one of days takes as little memory.

use std::time::Duration;

use super::limits::{MAX_MOMENTS, SERIES_INTERVAL};
use super::live::Phase;

/// What happened in an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moment {
    /// Its end, from the start of the run.
    pub(super) at: Duration,
    /// How long it was.
    pub(super) time: Duration,
    /// What the run was doing at its end.
    pub(super) phase: Phase,
    /// Requests in flight on each queue then.
    pub(super) depth: u32,
    /// Requests that completed in it.
    pub(super) ios: u64,
    /// The sum of their latencies.
    pub(super) latency_ns: u64,
}

impl Moment {
    /// Requests a second.
    pub(super) fn iops(&self) -> f64 {
        if self.time.is_zero() { 0.0 } else { self.ios as f64 / self.time.as_secs_f64() }
    }

    /// Mean latency in microseconds; `None` if nothing completed.
    pub(super) fn mean_us(&self) -> Option<f64> {
        (self.ios > 0).then(|| self.latency_ns as f64 / self.ios as f64 / 1e3)
    }

    fn and(self, next: Self) -> Self {
        let (ios, latency_ns) = (self.ios + next.ios, self.latency_ns + next.latency_ns);
        Self { time: self.time + next.time, ios, latency_ns, ..next }
    }
}

/// The moments of a run.
#[derive(Clone, Debug)]
pub(super) struct Series {
    moments: Vec<Moment>,
    interval: Duration,
}

impl Series {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { moments: Vec::new(), interval: SERIES_INTERVAL }
    }

    /// How long the next moment should be.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// All, in order.
    pub(super) fn moments(&self) -> &[Moment] {
        &self.moments
    }

    /// One more.
    pub(super) fn push(&mut self, moment: Moment) {
        if self.moments.len() == MAX_MOMENTS {
            let pairs = self.moments.chunks_exact(2).map(|pair| pair[0].and(pair[1]));
            self.moments = pairs.collect();
            self.interval *= 2;
        }
        self.moments.push(moment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_has_longer_moments_and_loses_nothing() {
        let mut series = Series::new();
        let (mut at, mut pushed) = (Duration::ZERO, 0);
        for _ in 0..5 * MAX_MOMENTS {
            let time = series.interval();
            at += time;
            pushed += 1;
            series.push(Moment { at, time, phase: Phase::Measure, depth: 4, ios: 10, latency_ns: 20_000 });
            assert!(series.moments().len() <= MAX_MOMENTS);
        }
        let moments = series.moments();
        assert_eq!(moments.iter().map(|moment| moment.ios).sum::<u64>(), 10 * pushed);
        assert_eq!(moments.iter().map(|moment| moment.time).sum::<Duration>(), at, "no time is missing");
        assert!(moments.windows(2).all(|pair| pair[0].at + pair[1].time == pair[1].at));
        assert!(moments.iter().all(|moment| moment.mean_us() == Some(2.0)));
        assert!(series.interval() > SERIES_INTERVAL);
    }

    #[test]
    fn rates_and_means() {
        let time = Duration::from_millis(500);
        let moment = Moment { at: time, time, phase: Phase::Fill, depth: 1, ios: 100, latency_ns: 1_000_000 };
        assert_eq!((moment.iops(), moment.mean_us()), (200.0, Some(10.0)));
        let none = Moment { time: Duration::ZERO, ios: 0, ..moment };
        assert_eq!((none.iops(), none.mean_us()), (0.0, None));
    }
}
