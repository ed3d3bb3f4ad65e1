//! Two clocks with two types. [`Fine`] is read once per reactor pass and measures; [`Coarse`] is derived from it and
//! times out. They cannot be mixed up.
//!
//! Both count from the first reading in this process and never go back. The operating system is asked in one place
//! ([`Fine::now`]), so that a simulated clock can stand there later.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A point in time, in nanoseconds: for measuring. Reading it takes some tens of nanoseconds, without a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fine(u64);

impl Fine {
    /// The time now.
    #[must_use]
    pub fn now() -> Self {
        static START: OnceLock<Instant> = OnceLock::new();
        Self(nanos(START.get_or_init(Instant::now).elapsed()))
    }

    /// A point in time that a test or a simulation makes up.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Time that has gone by since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This point in time moved into the future.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// The coarse clock at this point in time.
    #[must_use]
    pub const fn coarse(self) -> Coarse {
        Coarse(self.0 / 1_000_000)
    }

    /// Nanoseconds since the first reading in this process.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }
}

/// A point in time, in milliseconds: for deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Coarse(u64);

impl Coarse {
    /// A point in time that a test or a simulation makes up.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Time that has gone by since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This point in time moved into the future, rounded up to a whole millisecond: a deadline is never early.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration).div_ceil(1_000_000)))
    }

    /// Milliseconds since the first reading in this process.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }
}

/// A duration in nanoseconds; 584 years and more count as that much.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_go_back() {
        let first = Fine::now();
        let second = Fine::now();
        assert!(second >= first);
        assert_eq!(first.since(second.plus(Duration::from_nanos(1))), Duration::ZERO);
    }

    #[test]
    fn coarse_follows_fine_and_deadlines_are_not_early() {
        let fine = Fine::from_nanos(7_999_999);
        assert_eq!(fine.coarse(), Coarse::from_millis(7));
        assert_eq!(fine.coarse().plus(Duration::from_micros(1)), Coarse::from_millis(8));
        assert_eq!(Coarse::from_millis(9).since(Coarse::from_millis(7)), Duration::from_millis(2));
        assert_eq!(fine.plus(Duration::MAX).nanos(), u64::MAX);
    }
}
