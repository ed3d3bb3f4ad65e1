//! What all reactors of a cache have done, for those who are not on one.
//!
//! Once a tick a reactor writes its figures to words of its own; readers add them up. So what is read is as old as a
//! tick at most, and no command pays for it.

use std::sync::Arc;

use machine::Word;
use machine::reactor::{Snapshot, Watcher};
use store::Figures;

use crate::counters::Counters;
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
}

/// What all reactors together have done since the start, and what they have now.
#[derive(Clone, Debug)]
pub struct Totals {
    /// What was done.
    pub counters: Counters,
    /// What the stores have.
    pub figures: Figures,
}

impl Observer {
    /// The figures of all.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let sum = self.published.iter().map(|one| one.read()).fold(Tally::default(), Tally::and);
        Totals { counters: sum.counters, figures: sum.figures }
    }

    /// What each reactor did with its time.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.watchers.iter().map(Watcher::stats).collect()
    }
}
