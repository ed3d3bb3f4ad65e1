//! The home of some devices: gives away their blocks, one range of a device at a time, in the order of the requests.
//!
//! ```text
//!   Ask ──▶ waits ──▶ Hold to all ──▶ Held from all ──▶ Grant ──▶ Release ──▶ Resume to all ──▶ the next
//! ```
//!
//! It has no clock and does no I/O: messages come in, messages go out. Nobody can make it wait for ever: a reactor says
//! Held when its devices are done with what they have, whoever is granted a range releases it when its requests are
//! back, or at once if nobody is there any more who wanted it.

use std::collections::VecDeque;

use block::Range;

use super::Post;
use super::message::{Key, Message};
use crate::limits::{EXCLUSIVE, EXCLUSIVE_HOLDS};

/// A range that a reactor wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// The reactor.
    pub(super) from: usize,
    /// Its name for this.
    pub(super) ticket: u32,
    pub(super) key: Key,
    pub(super) range: Range,
}

/// A range that reactors hold back from.
struct Given {
    ask: Ask,
    /// A bit for each reactor that may still have something there. None: granted.
    missing: u64,
}

/// See the module.
pub(super) struct Home {
    reactors: usize,
    asks: VecDeque<Ask>,
    given: Vec<Given>,
}

impl Home {
    pub(super) fn new(reactors: usize) -> Self {
        // Each reactor asks for so many at a time, and this is never more than all of them.
        let asks = VecDeque::with_capacity(reactors * EXCLUSIVE);
        Self { reactors, asks, given: Vec::with_capacity(EXCLUSIVE_HOLDS) }
    }

    /// Ranges that are asked for or given away.
    pub(super) fn len(&self) -> usize {
        self.asks.len() + self.given.len()
    }

    /// A reactor asks for a range.
    pub(super) fn ask(&mut self, ask: Ask, post: &mut Post) {
        assert!(self.asks.len() < self.reactors * EXCLUSIVE, "a reactor asks for more than it may");
        self.asks.push_back(ask);
        self.start(post);
    }

    /// A reactor has nothing left in the range that is given away of this device.
    pub(super) fn held(&mut self, from: usize, key: Key, post: &mut Post) {
        let missing = |given: &&mut Given| given.ask.key == key && given.missing & 1 << from != 0;
        // A reactor that has ended is not waited for any more when its last word is read.
        let Some(given) = self.given.iter_mut().find(missing) else { return };
        given.missing &= !(1 << from);
        if given.missing == 0 {
            post.push_back((given.ask.from, Message::Grant { ticket: given.ask.ticket }));
        }
    }

    /// The range of this device that was granted is free again.
    pub(super) fn release(&mut self, key: Key, post: &mut Post) {
        let at = self.given.iter().position(|given| given.ask.key == key).expect("it was granted");
        let given = self.given.swap_remove(at);
        assert_eq!(given.missing, 0, "released before it was granted");
        post.extend((0..self.reactors).map(|to| (to, Message::Resume { key })));
        self.start(post);
    }

    /// A device with a range in which this reactor may still have something.
    pub(super) fn waits_for(&self, reactor: usize) -> Option<Key> {
        self.given.iter().find(|given| given.missing & 1 << reactor != 0).map(|given| given.ask.key)
    }

    /// Begins with what can be begun: the oldest request for each device of which nothing is given away.
    fn start(&mut self, post: &mut Post) {
        let mut at = 0;
        while at < self.asks.len() && self.given.len() < EXCLUSIVE_HOLDS {
            let key = self.asks[at].key;
            if self.given.iter().any(|given| given.ask.key == key) {
                at += 1;
                continue;
            }
            let ask = self.asks.remove(at).expect("it is there");
            self.given.push(Given { ask, missing: u64::MAX >> (64 - self.reactors) });
            let hold = Message::Hold { key, range: ask.range };
            post.extend((0..self.reactors).map(|to| (to, hold)));
        }
    }
}
