//! The Redis clients of a reactor: what they share, and what is known of each.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use store::Time;
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
    /// Commands of all of them.
    pub(crate) commands: u64,
    /// For the arguments of inline commands.
    pub(super) words: Vec<u8>,
}

impl Clients {
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
        self.known.insert(self.welcomed, known);
        Box::new(Session::new(self.welcomed))
    }

    /// A client that has gone.
    pub(crate) fn goodbye(&mut self, session: &Session) {
        self.known.remove(&session.id);
    }
}
