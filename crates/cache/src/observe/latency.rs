//! How long commands take inside the server: from when all of one is received to when its answer is in the outbox.
//!
//! Reading the clock for each command would cost more than some commands do. So the commands of one receive in
//! [`TIMED_RECEIVES`] are timed, which one is by chance: the clock is read when the receive is back, and once for each
//! of its commands. One whose answer other reactors have to bring has it when the last answer of its connection is in.

use machine::Buckets;
use machine::clock::Fine;

use crate::limits::TIMED_RECEIVES;

/// What kind of command it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// It says a value.
    Get,
    /// It stores a value.
    Store,
    /// It deletes.
    Delete,
    /// It does something else.
    Other,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Get, Self::Store, Self::Delete, Self::Other];

    /// Its name as a label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Store => "store",
            Self::Delete => "delete",
            Self::Other => "other",
        }
    }
}

/// From 128 ns to a second.
pub const SCALE: Buckets = Buckets::new(7, 30);
const BUCKETS: usize = SCALE.count();

/// The latencies of one kind of commands, as far as they were timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latencies {
    /// How many there were in each bucket of [`SCALE`].
    pub counts: [u64; BUCKETS],
    /// Their sum, in nanoseconds.
    pub nanos: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], nanos: 0 }
    }
}

impl Latencies {
    fn add(&mut self, nanos: u64, count: u64) {
        self.counts[SCALE.of(nanos)] += count;
        self.nanos += nanos * count;
    }

    /// Commands that were timed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The time that this share of them took at most, in nanoseconds: the bound of a bucket. `None` if it has none, or
    /// nothing was timed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let wanted = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut sum = 0;
        let bucket = self.counts.iter().position(|count| {
            sum += count;
            sum >= wanted
        })?;
        SCALE.bound(bucket).map(|bound| bound.as_nanos() as u64)
    }

    pub(crate) fn numbers(&mut self) -> impl Iterator<Item = &mut u64> {
        self.counts.iter_mut().chain([&mut self.nanos])
    }
}

/// Commands of a receive whose answers are under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    since: Fine,
    counts: [u32; Kind::ALL.len()],
}

impl Waiting {
    pub(crate) fn new(since: Fine) -> Self {
        Self { since, counts: [0; _] }
    }

    pub(crate) fn add(&mut self, kind: Kind) {
        self.counts[kind as usize] += 1;
    }
}

/// The latencies of a reactor.
#[derive(Clone, Debug)]
pub(crate) struct Timing {
    pub(crate) kinds: [Latencies; Kind::ALL.len()],
    /// Receives up to the next one that is timed.
    left: u32,
    chance: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self { kinds: Default::default(), left: 1, chance: 0x9e37_79b9 }
    }
}

impl Timing {
    /// A receive is back: when that was, if its commands are to be timed.
    #[inline]
    pub(crate) fn turn(&mut self) -> Option<Fine> {
        self.left -= 1;
        if self.left == 0 { Some(self.begin()) } else { None }
    }

    #[cold]
    fn begin(&mut self) -> Fine {
        self.left = interval(&mut self.chance, TIMED_RECEIVES);
        Fine::now()
    }

    /// A command that has come then is answered now.
    pub(crate) fn answered(&mut self, kind: Kind, since: Fine) {
        self.kinds[kind as usize].add(Fine::now().since(since).as_nanos() as u64, 1);
    }

    /// Commands that had to wait for other reactors are answered now.
    pub(crate) fn all_answered(&mut self, waiting: &Waiting) {
        let nanos = Fine::now().since(waiting.since).as_nanos() as u64;
        for (kind, count) in self.kinds.iter_mut().zip(waiting.counts) {
            kind.add(nanos, count.into());
        }
    }
}

/// A number from 1 on whose mean is `mean`, by chance (xorshift).
pub(crate) fn interval(chance: &mut u32, mean: u32) -> u32 {
    *chance ^= *chance << 13;
    *chance ^= *chance >> 17;
    *chance ^= *chance << 5;
    1 + *chance % (2 * mean - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_their_mean() {
        let mut chance = 1;
        assert!((0..100).all(|_| interval(&mut chance, 1) == 1));
        let sum: u32 = (0..100_000).map(|_| interval(&mut chance, 16)).sum();
        assert!((1_550_000..1_650_000).contains(&sum), "{sum}");
    }

    #[test]
    fn quantiles_are_bounds() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile(0.5), None);
        latencies.add(100, 98);
        latencies.add(1000, 1);
        latencies.add(u64::MAX >> 8, 1);
        assert_eq!((latencies.quantile(0.5), latencies.quantile(0.98)), (Some(128), Some(128)));
        assert_eq!((latencies.quantile(0.99), latencies.quantile(1.0)), (Some(1024), None));
        assert_eq!(latencies.count(), 100);
    }
}
