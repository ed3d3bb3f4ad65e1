//! What was counted on one target in one stage: by one reactor first, then merged.

use super::latency::Latencies;
use super::report::{Errors, Verified};

/// Latencies, errors and what was verified.
#[derive(Clone)]
pub(super) struct Tally {
    /// Of reads and of writes that succeeded.
    pub(super) latencies: [Latencies; 2],
    pub(super) errors: Errors,
    pub(super) verified: Verified,
}

impl Tally {
    /// Nothing so far.
    pub(super) fn new() -> Self {
        let latencies = [Latencies::new(), Latencies::new()];
        Self { latencies, errors: Errors::default(), verified: Verified::default() }
    }

    /// Forgets everything.
    pub(super) fn reset(&mut self) {
        self.latencies.iter_mut().for_each(Latencies::reset);
        (self.errors, self.verified) = (Errors::default(), Verified::default());
    }

    /// Adds another tally.
    pub(super) fn merge(&mut self, other: &Self) {
        for (own, other) in self.latencies.iter_mut().zip(&other.latencies) {
            own.merge(other);
        }
        self.errors.merge(other.errors);
        self.verified.merge(other.verified);
    }

    /// Requests that succeeded.
    pub(super) fn ios(&self) -> u64 {
        self.latencies.iter().map(Latencies::count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn merging_adds_everything() {
        let (mut all, mut other) = (Tally::new(), Tally::new());
        all.latencies[0].record(Duration::from_micros(5));
        other.latencies[0].record(Duration::from_micros(50));
        other.latencies[1].record(Duration::from_micros(7));
        all.errors = Errors { read: 1, write: 2, unfinished: 3 };
        other.errors = Errors { read: 10, write: 20, unfinished: 30 };
        other.verified = Verified { checked: 4, skipped: 5, miscompares: 6, read_back: false };
        all.merge(&other);
        assert_eq!((all.ios(), all.latencies[0].count(), all.latencies[0].max_us()), (3, 2, 50.0));
        assert_eq!((all.errors.read, all.errors.write, all.errors.unfinished), (11, 22, 33));
        assert_eq!((all.verified.checked, all.verified.skipped, all.verified.miscompares), (4, 5, 6));
        all.reset();
        assert_eq!((all.ios(), all.errors.total(), all.verified.checked), (0, 0, 0));
    }
}
