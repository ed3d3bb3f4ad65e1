//! What the commands of clients mean: a command, a store, an answer. What all of a reactor's sessions share, and the
//! verbs of a protocol a file.

mod memcache;
mod meta;

use store::{Store, Time};

use crate::counters::Counters;
use crate::resp::Clients;
use crate::tally::Tally;

/// What a connection does after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next one.
    Go,
    /// The same one, from this key on, when its answers so far are sent.
    Again(usize),
    /// It is over.
    Close,
}

/// What all sessions of a reactor share.
pub(crate) struct House {
    pub(crate) store: Store,
    pub(crate) counters: Counters,
    /// Of all reactors, for the next command that is about them; else it is about this one.
    pub(crate) sums: Option<Tally>,
    /// The time at the start of this pass, and at that of the program.
    pub(crate) now: Time,
    pub(crate) started: Time,
    /// When everything goes: `flush_all` with a delay.
    pub(crate) flush_at: Option<Time>,
    /// For values that are made of others.
    pub(crate) work: Vec<u8>,
    /// Those that speak Redis' protocol.
    pub(crate) clients: Clients,
}

impl House {
    pub(crate) fn new(store: Store, now: Time) -> Self {
        let counters = Counters::default();
        let (work, clients) = (Vec::new(), Clients::default());
        Self { store, counters, sums: None, now, started: now, flush_at: None, work, clients }
    }

    /// What is due by the clock: `flush_all` with a delay, and what has expired.
    pub(crate) fn tick(&mut self) {
        if self.flush_at.is_some_and(|time| time <= self.now) {
            self.flush_at = None;
            self.store.clear();
        }
        self.store.expire(self.now);
    }
}
