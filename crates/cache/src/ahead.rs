//! A look at the commands of a pipeline that come next: their items are fetched from memory all at once.
//!
//! ```text
//!   received   | get a | get b | set c 0 0 2 .. | get d | get e | ...
//!                ▲ next          └── a window of these: the buckets of all, then the items of all ──┘
//! ```
//!
//! An item that is asked for is in no cache of the processor, as a rule, and neither is its bucket. One after the other
//! they are waited for twice a command; asked for together, a window of them takes about as long as one.

use store::Store;
use wire::glance::{Glance, Speech};

use crate::peers::Peers;

/// Keys that are looked at together.
pub(crate) const WINDOW: usize = 16;

/// How far into what was received it was looked.
#[derive(Debug)]
pub(crate) struct Ahead {
    speech: Speech,
    until: usize,
}

impl Ahead {
    pub(crate) fn new(speech: Speech) -> Self {
        Self { speech, until: 0 }
    }

    /// To be called in front of each command, which begins at `at`.
    #[inline]
    pub(crate) fn look(&mut self, at: usize, bytes: &[u8], store: &Store, peers: &Peers) {
        if at >= self.until {
            self.until = at + look(self.speech, &bytes[at..], store, peers);
        }
    }
}

/// Fetches what the next commands will ask for; the bytes of those.
fn look(speech: Speech, bytes: &[u8], store: &Store, peers: &Peers) -> usize {
    let (mut hashes, mut count, mut end) = ([0; WINDOW], 0, bytes.len());
    for (key, until) in Glance::new(speech, bytes) {
        if until == bytes.len() && count == 0 {
            // Nothing else is carried out meanwhile.
            return end;
        }
        let hash = store.hash(key);
        if !peers.is_mine(hash) {
            continue;
        }
        hashes[count] = hash;
        count += 1;
        if count == WINDOW {
            end = until;
            break;
        }
    }
    store.prefetch(&hashes[..count]);
    end
}
