//! How long to wait before the next attempt: twice as long each time, up to a limit, and never the same for two hosts.
//!
//! ```text
//!   attempt     1        2          3              4                     limit
//!   wait      [d/2, d] [d, 2d]   [2d, 4d]       [4d, 8d]     ...   [limit/2, limit]
//! ```
//!
//! A target that comes back finds its hosts spread over the second half of the wait instead of all at once.

use std::time::Duration;

use uuid::Uuid;

use super::limits::MAX_RECONNECT_DELAY;

/// The waits of one outage.
pub(super) struct BackOff {
    next: Duration,
    limit: Duration,
    random: u64,
}

impl BackOff {
    /// The first wait is at most `first`.
    pub(super) fn new(first: Duration) -> Self {
        Self::seeded(first, Uuid::new_v4().as_u64_pair().0)
    }

    fn seeded(first: Duration, random: u64) -> Self {
        // Zero would stay zero, in the generator too.
        Self { next: first.max(Duration::from_millis(1)), limit: MAX_RECONNECT_DELAY.max(first), random: random | 1 }
    }

    /// The wait before the next attempt.
    pub(super) fn wait(&mut self) -> Duration {
        let longest = self.next;
        self.next = (longest * 2).min(self.limit);
        // Marsaglia's xorshift; 16 bits of it are fine enough.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        longest / 2 + longest / 2 * (self.random & 0xffff) as u32 / 0xffff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_differ() {
        let first = Duration::from_millis(100);
        let (mut one, mut two) = (BackOff::seeded(first, 1), BackOff::seeded(first, 99));
        let mut longest = first;
        let mut same = 0;
        for _ in 0..12 {
            let (a, b) = (one.wait(), two.wait());
            for wait in [a, b] {
                assert!(wait >= longest / 2 && wait <= longest, "{wait:?} of {longest:?}");
            }
            same += usize::from(a == b);
            longest = (longest * 2).min(MAX_RECONNECT_DELAY);
        }
        assert!(same < 3 && longest == MAX_RECONNECT_DELAY);
    }

    #[test]
    fn a_long_first_wait_is_its_own_limit_and_none_is_a_short_one() {
        let mut long = BackOff::seeded(Duration::from_secs(20), 5);
        assert!((0..5).all(|_| long.wait() >= Duration::from_secs(10)));
        assert!(BackOff::seeded(Duration::ZERO, 5).wait() <= Duration::from_millis(1));
    }
}
