//! Commands that are timed or logged: what is done before and behind the carrying out of one, for those whose turn it
//! is. Nobody else pays for it.

use machine::clock::Fine;
use store::Expiry;

use super::Connection;
use crate::log::{self, Asked};
use crate::observe::{Kind, Outcome, Verb, Waiting};
use crate::peers::{Peers, here};
use crate::session::House;

/// How things stood before a command.
#[derive(Clone, Copy)]
pub(super) struct Before {
    /// Bytes of answers from here.
    told: usize,
    /// Answers that wait for each other.
    pieces: usize,
    /// A large value was coming.
    landing: bool,
}

/// A command that is logged when its value has come.
pub(super) struct Announced {
    key: Vec<u8>,
    expiry: Option<Expiry>,
    value: Option<usize>,
}

/// What became of a command.
#[derive(Clone, Copy)]
enum Told {
    Here(Option<Outcome>, Option<usize>),
    /// Another reactor will tell, at this place.
    Away(u32),
}

impl Connection {
    /// What comes next may be a command.
    pub(super) fn before(&mut self, house: &mut House) -> Before {
        house.operations.take_last();
        let (landing, pieces) = (self.is_landing(), self.pieces());
        Before { told: here(&mut self.flight, self.pump.out.bytes()).len(), pieces, landing }
    }

    /// These bytes were taken: a command, a part of one, or something else.
    pub(super) fn behind(
        &mut self,
        before: Before,
        bytes: &[u8],
        since: Option<Fine>,
        house: &mut House,
        peers: &mut Peers,
    ) {
        let begins = !before.landing && self.is_landing();
        let Some((verb, outcome)) = house.operations.take_last() else {
            if begins && house.is_logged() {
                self.announce(bytes, house);
            }
            return;
        };
        let pieces = self.pieces();
        match (since, &mut self.flight) {
            (Some(since), Some(flight)) if pieces > before.pieces => {
                flight.waiting.get_or_insert(Waiting::new(since)).add(verb.kind());
            }
            (Some(since), _) => house.timing.answered(verb.kind(), since),
            (None, _) => {}
        }
        if let Some(Announced { key, expiry, value }) = self.announced.take() {
            let told = self.told(before, verb, outcome);
            self.log(verb, told, &Asked { key: &key, expiry, value, alone: true }, house);
        } else if !before.landing && house.is_logged() {
            let told = self.told(before, verb, outcome);
            log::each(bytes, self.session.is_some(), house.now, |asked| {
                let told = if asked.alone { told } else { known(verb, &asked, house, peers) };
                self.log(verb, told, &asked, house);
            });
        }
    }

    /// A large value is coming, whose command is logged when it has come. All but its verb is known now.
    #[cold]
    fn announce(&mut self, bytes: &[u8], house: &House) {
        log::each(bytes, self.session.is_some(), house.now, |asked| {
            let Asked { key, expiry, value, .. } = asked;
            self.announced = Some(Announced { key: key.to_vec(), expiry, value });
        });
    }

    /// What became of a command about one key.
    fn told(&mut self, before: Before, verb: Verb, outcome: Option<Outcome>) -> Told {
        match &self.flight {
            Some(flight) if flight.pieces() > before.pieces => {
                flight.hole_since(before.pieces).map_or(Told::Here(None, None), Told::Away)
            }
            _ => {
                let answers = here(&mut self.flight, self.pump.out.bytes());
                let (_, bytes) = log::outcome(verb, answers.get(before.told..).unwrap_or_default());
                Told::Here(outcome, bytes)
            }
        }
    }

    /// Logs a command about a key, now or when its answer is here.
    #[cold]
    fn log(&mut self, verb: Verb, told: Told, asked: &Asked<'_>, house: &mut House) {
        let House { log: Some(logger), store, now, .. } = house else { return };
        let client = self.pump.socket().peer_addr();
        let key = (asked.key, store.hash(asked.key));
        let begin = |out: &mut Vec<u8>| log::begin(out, (*now, client), verb, key, asked.expiry);
        match (told, &mut self.flight) {
            (Told::Away(piece), Some(flight)) => flight.noted.note(piece, verb, asked.value, begin),
            (Told::Away(_), None) => {}
            (Told::Here(outcome, bytes), _) => logger.add(|out| {
                begin(out);
                log::end(out, outcome, asked.value.or(bytes));
            }),
        }
    }

    fn pieces(&self) -> usize {
        self.flight.as_ref().map_or(0, |flight| flight.pieces())
    }
}

/// What is known of one of several keys of a command that was just carried out: that of another reactor's is not.
fn known(verb: Verb, asked: &Asked<'_>, house: &House, peers: &Peers) -> Told {
    let hash = house.store.hash(asked.key);
    if verb.kind() != Kind::Get || store::share(hash, peers.count()) != peers.me() {
        return Told::Here(None, None);
    }
    let item = house.store.peek(hash, asked.key, house.now);
    Told::Here(Some(Outcome::found(item.is_some())), item.map(|item| item.value.len()))
}
