//! What all reactors of a cache have done, for those who are not on one.
//!
//! Once a tick a reactor writes its figures to words of its own; readers add them up. So what is read is as old as a
//! tick at most, and no command pays for it.

mod latency;
mod operations;

use std::sync::Arc;

use machine::Word;
use machine::reactor::{Snapshot, Watcher};
use store::Figures;

pub use self::latency::{Kind, Latencies, SCALE};
pub(crate) use self::latency::{Timing, Waiting, interval};
pub use self::operations::Outcome;
pub(crate) use self::operations::{Before, Operations, Verb};
use crate::counters::{Counters, Gauges};
use crate::log::Written;
use crate::tally::Tally;

/// The figures of a reactor: written by it, read by everybody.
#[derive(Debug)]
pub(crate) struct Published(Box<[Word]>);

impl Published {
    pub(crate) fn new() -> Arc<Self> {
        let words = Tally::default().numbers().iter().map(|_| Word::default()).collect();
        Arc::new(Self(words))
    }

    /// To be called by its reactor only.
    pub(crate) fn publish(&self, mut tally: Tally) {
        self.0.iter().zip(tally.numbers()).for_each(|(word, number)| word.set(*number));
    }

    fn read(&self) -> Tally {
        Tally::of_numbers(self.0.iter().map(Word::get))
    }
}

/// See the module. It may be asked also when the cache has stopped.
#[derive(Clone, Debug)]
pub struct Observer {
    pub(crate) published: Vec<Arc<Published>>,
    pub(crate) watchers: Vec<Watcher>,
    pub(crate) logged: Option<Arc<Written>>,
}

/// What all reactors together have done since the start, and what they have now.
#[derive(Clone, Debug)]
pub struct Totals {
    /// What was done.
    pub counters: Counters,
    /// What the stores have.
    pub figures: Figures,
    /// What else there is now.
    pub gauges: Gauges,
    /// Operations: protocol, verb, outcome and how many there were, if any.
    pub operations: Vec<(&'static str, &'static str, Outcome, u64)>,
    /// How long commands took, as far as they were timed: one for each of [`Kind::ALL`].
    pub latencies: [Latencies; Kind::ALL.len()],
}

/// What became of the lines of a command log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Lines that were written.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lines that could not be written.
    pub lost: u64,
}

impl Observer {
    /// The figures of all.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let sum = self.published.iter().map(|one| one.read()).fold(Tally::default(), Tally::and);
        let Tally { counters, figures, gauges, operations, latencies } = sum;
        Totals { counters, figures, gauges, operations: operations.list().collect(), latencies }
    }

    /// The command log, if there is one.
    #[must_use]
    pub fn logged(&self) -> Option<Logged> {
        let Written { lines, bytes, lost } = &**self.logged.as_ref()?;
        Some(Logged { lines: lines.get(), bytes: bytes.get(), lost: lost.get() })
    }

    /// What each reactor did with its time.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.watchers.iter().map(Watcher::stats).collect()
    }
}
