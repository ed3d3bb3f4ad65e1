//! The Redis clients of a reactor: what they share, and what is known of each.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use store::{CURSOR_BITS, Time};
use wire::resp::Version;

use super::Session;

/// What clients are told of each other.
pub(crate) struct Known {
    /// Its address, and the one it came to.
    pub(crate) addresses: [SocketAddr; 2],
    pub(crate) since: Time,
    /// What it calls itself, its library and that one's version.
    pub(crate) name: Vec<u8>,
    pub(crate) library: [Vec<u8>; 2],
    pub(crate) version: Version,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Clients {
    /// By their numbers.
    pub(crate) known: BTreeMap<u64, Known>,
    /// Clients that there were.
    pub(crate) welcomed: u64,
    /// Other reactors whose clients have numbers between these, and how many of them in front.
    others: u64,
    before: u64,
    /// For the arguments of inline commands.
    pub(super) words: Vec<u8>,
}

impl Clients {
    /// The clients are those of one of several reactors: no two have the same number.
    pub(crate) fn share(&mut self, reactor: usize, reactors: usize) {
        (self.before, self.others) = (reactor as u64, reactors as u64 - 1);
    }

    /// The cursor that a client is told when the walk over this reactor's keys is at this one: behind their end it is
    /// the next reactor's turn.
    pub(super) fn cursor(&self, cursor: u64) -> u64 {
        match cursor {
            0 if self.before < self.others => (self.before + 1) << CURSOR_BITS,
            0 => 0,
            within => self.before << CURSOR_BITS | within,
        }
    }

    /// Whether it is this reactor's turn in a walk.
    pub(super) fn is_at(&self, cursor: u64) -> bool {
        cursor >> CURSOR_BITS == self.before
    }

    /// A client that has come, from the first address to the second.
    pub(crate) fn welcome(&mut self, addresses: [SocketAddr; 2], now: Time) -> Box<Session> {
        self.welcomed += 1;
        let known = Known {
            addresses,
            since: now,
            name: Vec::new(),
            library: [Vec::new(), Vec::new()],
            version: Version::default(),
        };
        let id = self.welcomed + (self.welcomed - 1) * self.others + self.before;
        self.known.insert(id, known);
        Box::new(Session::new(id))
    }

    /// A client that has gone.
    pub(crate) fn goodbye(&mut self, session: &Session) {
        self.known.remove(&session.id);
    }
}
