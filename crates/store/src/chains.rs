//! Which items share their segments: those that live about as long.

use std::time::Duration;

use crate::limits::CHAINS;
use crate::time::{Expiry, Time};

/// The chain of those that never expire.
pub(crate) const NEVER: usize = CHAINS - 1;

/// The chain for what is written now with this expiry: eight for each doubling of seconds, so that no item of a chain
/// lives more than an eighth longer than another. One that expires within a second, or has, goes to the first.
pub(crate) fn of(expiry: Expiry, now: Time) -> usize {
    match expiry {
        Expiry::Never => NEVER,
        Expiry::At(time) => of_duration(time.since(now)),
    }
}

fn of_duration(lives: Duration) -> usize {
    let eighths = u32::try_from(lives.as_millis() / 125).unwrap_or(u32::MAX).max(8);
    let doublings = eighths.ilog2() - 3;
    let within = (eighths >> doublings) - 8;
    (doublings * 8 + within) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_an_eighth_wide() {
        let of = |millis| of_duration(Duration::from_millis(millis));
        assert_eq!([of(0), of(999), of(1000), of(1125), of(1999), of(2000)], [0, 0, 0, 1, 7, 8]);
        let (mut first, mut last) = (1000, of(1000));
        let mut millis = 1000;
        while millis < u64::from(u32::MAX) * 100 {
            let chain = of(millis);
            assert!(chain == last || chain == last + 1, "{millis}");
            if chain != last {
                // What the chain before held.
                assert!(millis * 1000 <= first * 1130, "{first} and {millis} were of one chain");
                (first, last) = (millis, chain);
            }
            millis += millis / 997 + 1;
        }
        assert!(of(u64::MAX) < NEVER);
        assert_eq!(super::of(Expiry::Never, Time::default()), NEVER);
    }
}
