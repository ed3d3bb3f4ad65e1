//! What a reactor did with its time: words that it alone writes and everybody may read at any time.

use std::time::Duration;

use crate::word::Word;

/// What the time of a pass went into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spent {
    /// A pass that found work.
    Busy,
    /// A pass that found none.
    Idle,
    /// Arming and sleeping.
    Asleep,
}

#[derive(Debug)]
#[repr(align(128))]
struct PollerWords {
    name: &'static str,
    runs: Word,
    hits: Word,
    units: Word,
}

/// The account of one reactor. Its words are written in every pass: on cache lines of their own.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Account {
    busy: Word,
    idle: Word,
    asleep: Word,
    passes: Word,
    sleeps: Word,
    pollers: Vec<PollerWords>,
}

impl Account {
    pub(super) fn new(names: impl Iterator<Item = &'static str>) -> Self {
        let words = |name| PollerWords { name, runs: Word::default(), hits: Word::default(), units: Word::default() };
        Self {
            busy: Word::default(),
            idle: Word::default(),
            asleep: Word::default(),
            passes: Word::default(),
            sleeps: Word::default(),
            pollers: names.map(words).collect(),
        }
    }

    /// One interval between two readings of the clock.
    pub(super) fn spent(&self, on: Spent, time: Duration) {
        let (time_word, count) = match on {
            Spent::Busy => (&self.busy, &self.passes),
            Spent::Idle => (&self.idle, &self.passes),
            Spent::Asleep => (&self.asleep, &self.sleeps),
        };
        // 584 years fit.
        time_word.add(time.as_nanos() as u64);
        count.add(1);
    }

    /// One run of a poller.
    pub(super) fn ran(&self, poller: usize, units: usize) {
        let words = &self.pollers[poller];
        words.runs.add(1);
        if units > 0 {
            words.hits.add(1);
            words.units.add(units as u64);
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let stats = |words: &PollerWords| PollerStats {
            name: words.name,
            runs: words.runs.get(),
            hits: words.hits.get(),
            units: words.units.get(),
        };
        Snapshot {
            busy: Duration::from_nanos(self.busy.get()),
            idle: Duration::from_nanos(self.idle.get()),
            asleep: Duration::from_nanos(self.asleep.get()),
            passes: self.passes.get(),
            sleeps: self.sleeps.get(),
            pollers: self.pollers.iter().map(stats).collect(),
        }
    }
}

/// What a reactor has done since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Time of passes that found work.
    pub busy: Duration,
    /// Time of passes that found none.
    pub idle: Duration,
    /// Time asleep in the ring.
    pub asleep: Duration,
    /// Passes.
    pub passes: u64,
    /// Times it slept.
    pub sleeps: u64,
    /// Each poller, in the order they are polled.
    pub pollers: Vec<PollerStats>,
}

impl Snapshot {
    /// `busy / (busy + idle)`: 1 means that the core is overloaded, not merely spinning; 0 if it has not run. To be
    /// shown beside the share asleep.
    #[must_use]
    pub fn effective(&self) -> f64 {
        share(self.busy, self.busy + self.idle)
    }

    /// The share of all its time that it was asleep, from 0 to 1.
    #[must_use]
    pub fn share_asleep(&self) -> f64 {
        share(self.asleep, self.busy + self.idle + self.asleep)
    }
}

fn share(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { part.as_secs_f64() / whole.as_secs_f64() }
}

/// What one poller has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollerStats {
    /// [`super::Poller::name`].
    pub name: &'static str,
    /// Times it was polled.
    pub runs: u64,
    /// Times it found work.
    pub hits: u64,
    /// Work in its own units.
    pub units: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_and_runs_add_up() {
        let account = Account::new(["one", "two"].into_iter());
        assert_eq!(account.snapshot().effective(), 0.0);
        account.spent(Spent::Busy, Duration::from_millis(30));
        account.spent(Spent::Idle, Duration::from_millis(10));
        account.spent(Spent::Asleep, Duration::from_millis(60));
        account.ran(0, 0);
        account.ran(1, 5);
        account.ran(1, 0);
        let snapshot = account.snapshot();
        assert_eq!((snapshot.effective(), snapshot.share_asleep()), (0.75, 0.6));
        assert_eq!((snapshot.passes, snapshot.sleeps), (2, 1));
        assert_eq!(snapshot.pollers[0], PollerStats { name: "one", runs: 1, hits: 0, units: 0 });
        assert_eq!(snapshot.pollers[1], PollerStats { name: "two", runs: 2, hits: 1, units: 5 });
    }
}
