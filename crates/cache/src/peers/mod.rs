//! The other reactors: their keys are theirs, and are asked for by messages.
//!
//! ```text
//!      home of a connection                                owner of a key
//!        parse, hash: not mine                               │
//!        │ command, as it came ──▶ parcel ── Asks ─────────▶ │ parse, carry out; the answer goes
//!        │ other commands          one a pass                │ into the same parcel
//!        │                                                   │
//!        │ flight: a hole is filled ◀─────────── Answers ─── │
//!        ▼ answers leave in the order of the commands
//! ```
//!
//! A key belongs to the reactor that its hash names ([`store::share`]), for ever. What a reactor asks of another in a
//! pass is one message: a [`Parcel`], which comes back as the answer. Protocols are known to those who parse and carry
//! out; home only puts answers in order ([`flight`]).
//!
//! Nothing is lost and nobody waits for ever:
//!
//! 1. For each owner a reactor has [`PARCELS`] parcels and no more. A way from one reactor to another carries its own
//!    of them and those of the other that go back, and has room for both: a send never fails.
//! 2. To answer a parcel needs nothing but the parcel: what would make it too large stays unanswered in it. So a
//!    reactor answers all that it finds, whatever it waits for itself.
//! 3. Home takes every answer, also for a client that does not read, or that is gone. What it keeps of it has a bound:
//!    a connection with a flight is not read, and has at most one parcel under way to each owner.
//! 4. Who finds no parcel free waits for one of [`PARCELS`] that are under way; by 2 and 3 it comes. The first command
//!    of a parcel is answered in any case, so that what is asked again becomes less each time.
//!
//! [`Parcel`]: parcel::Parcel

mod dispatch;
mod flight;
mod parcel;
mod resp;
mod steps;
#[cfg(test)]
mod tests;

use machine::reactor::{Arm, Ports, mesh};
use machine::ring::Waker;
use wire::glance::Speech;
use wire::resp::Version;

pub(crate) use dispatch::{Dispatch, Dispatched, here};
pub(crate) use flight::{Flight, Rule};
pub(crate) use parcel::{Ask, Origin, Parcel};
pub(crate) use resp::Asked;

use crate::limits::{COLD_FLIGHT_BYTES, FLIGHT_BYTES, PARCELS, WARM_FLIGHTS};

/// How the bytes of a command are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// memcached's text protocol ...
    Memcache,
    /// ... of a user who may only read.
    MemcacheReader,
    /// Redis' protocol, and what the client understands of it.
    Resp(Version),
    /// Nobody's: the bytes are a key, and all of its item is wanted ...
    Dump,
    /// ... which is to be stored under another one.
    Restore,
    /// Nobody's: a [`Tally`](crate::tally::Tally) is wanted.
    Tally,
}

impl Dialect {
    /// What its commands look like; `None` if they are keys, as they are.
    fn speech(self) -> Option<Speech> {
        match self {
            Self::Memcache | Self::MemcacheReader => Some(Speech::Memcache),
            Self::Resp(_) => Some(Speech::Resp),
            Self::Dump | Self::Restore | Self::Tally => None,
        }
    }
}

/// A message of one reactor to another.
#[derive(Debug)]
pub(crate) enum Message {
    Asks(Parcel),
    Answers(Parcel),
    /// It stops, and has no connections any more.
    Bye,
}

/// Messages that a way has room for: the parcels of one end, those of the other, and one last word.
const MESSAGES: usize = 2 * PARCELS + 1;

/// The ends of the ways between so many reactors.
pub(crate) fn ports(reactors: usize) -> Vec<Ports<Message>> {
    mesh(reactors, MESSAGES)
}

/// What a reactor has for one of the others.
#[derive(Debug, Default)]
struct Way {
    /// What is to be sent at the end of this pass.
    open: Option<Parcel>,
    free: Vec<Parcel>,
    /// It has no connections any more.
    bye: bool,
}

/// See the module.
pub(crate) struct Peers {
    ports: Ports<Message>,
    ways: Vec<Way>,
    #[expect(clippy::vec_box, reason = "a box goes to a connection as it is, and comes back")]
    flights: Vec<Box<Flight>>,
    inbox: Vec<(usize, Message)>,
    /// For commands that are made of others.
    work: Vec<u8>,
    said_bye: bool,
}

impl Peers {
    /// On the thread of its reactor.
    pub(crate) fn new(mut ports: Ports<Message>, waker: Waker) -> Self {
        ports.attach(waker);
        let (me, count) = (ports.me(), ports.reactors());
        let parcels = |to| if to == me { 0 } else { PARCELS };
        let way = |to| Way { free: (0..parcels(to)).map(|_| Parcel::default()).collect(), ..Way::default() };
        let ways = (0..count).map(way).collect();
        let inbox = Vec::with_capacity(count * MESSAGES);
        Self { ports, ways, flights: Vec::new(), inbox, work: Vec::new(), said_bye: false }
    }

    /// Whether there are none.
    #[inline]
    pub(crate) fn is_alone(&self) -> bool {
        self.ways.len() == 1
    }

    /// Whether keys of a hash are this reactor's.
    #[inline]
    pub(crate) fn is_mine(&self, hash: u64) -> bool {
        self.is_alone() || store::share(hash, self.count()) == self.me()
    }

    pub(crate) fn me(&self) -> usize {
        self.ports.me()
    }

    /// Reactors, this one included.
    pub(crate) fn count(&self) -> usize {
        self.ways.len()
    }

    /// What is full goes, so that the next connection finds room.
    #[inline]
    pub(crate) fn send_full(&mut self) {
        if self.is_alone() {
            return;
        }
        for to in 0..self.ways.len() {
            if self.ways[to].open.as_ref().is_some_and(|parcel| !parcel.has_room()) {
                self.send(to);
            }
        }
    }

    /// Whether a command more can be asked of an owner.
    fn has_room(&self, owner: usize) -> bool {
        let way = &self.ways[owner];
        way.open.as_ref().map_or(!way.free.is_empty(), |parcel| parcel.has_room())
    }

    /// Asks an owner, who [has room](Peers::has_room), for the command that these parts are.
    fn ask(&mut self, owner: usize, ask: Ask, parts: &[&[u8]]) {
        let Way { open, free, .. } = &mut self.ways[owner];
        let parcel = open.get_or_insert_with(|| free.pop().expect("it was asked whether there is room"));
        parcel.push(ask, parts);
    }

    /// Asks again for what came back unanswered, as far as there is room; whether that was all.
    pub(crate) fn ask_again(&mut self, flight: &mut Flight) -> bool {
        flight.ask_again(|owner, ask, command| {
            let has_room = self.has_room(owner);
            if has_room {
                self.ask(owner, ask, &[command]);
            }
            has_room
        })
    }

    /// All that is to be asked goes, and those that sleep are woken.
    pub(crate) fn send_all(&mut self) {
        if self.is_alone() {
            return;
        }
        (0..self.ways.len()).for_each(|to| self.send(to));
        self.ports.flush();
    }

    fn send(&mut self, to: usize) {
        if let Some(parcel) = self.ways[to].open.take_if(|parcel| !parcel.is_empty()) {
            self.post(to, Message::Asks(parcel));
        }
    }

    fn post(&mut self, to: usize, message: Message) {
        // One that has ended serves nobody, and all are stopping.
        let sent = self.ports.is_gone(to) || self.ports.send(to, message).is_ok();
        assert!(sent, "a way has room for all messages that can be under way");
    }

    /// Parcels that have come, to be [answered](Parcel::answer) and [sent back](Peers::answered), or to be
    /// [put back](Peers::landed); each with the number of the other reactor. To be given back when it is drained.
    pub(crate) fn take(&mut self) -> Vec<(usize, Message)> {
        let mut inbox = std::mem::take(&mut self.inbox);
        self.ports.drain(&mut inbox);
        inbox
    }

    pub(crate) fn give_back(&mut self, inbox: Vec<(usize, Message)>) {
        assert!(inbox.is_empty(), "messages are not dropped");
        self.inbox = inbox;
    }

    /// An answered parcel goes back.
    pub(crate) fn answered(&mut self, to: usize, parcel: Parcel) {
        self.post(to, Message::Answers(parcel));
    }

    /// A parcel is back, and what it brought is with the connections.
    pub(crate) fn landed(&mut self, owner: usize, mut parcel: Parcel) {
        parcel.clear();
        self.ways[owner].free.push(parcel);
    }

    fn flight(&mut self) -> Box<Flight> {
        self.flights.pop().unwrap_or_default()
    }

    /// A flight is over, or its connection is.
    pub(crate) fn end(&mut self, mut flight: Box<Flight>) {
        flight.clear(if self.flights.len() < WARM_FLIGHTS { FLIGHT_BYTES } else { COLD_FLIGHT_BYTES });
        self.flights.push(flight);
    }

    /// Another reactor has said its last word.
    pub(crate) fn bye(&mut self, from: usize) {
        self.ways[from].bye = true;
    }

    /// This one has no connections any more, and gets none.
    pub(crate) fn say_bye(&mut self) {
        if !std::mem::replace(&mut self.said_bye, true) {
            let me = self.me();
            (0..self.count()).filter(|to| *to != me).for_each(|to| self.post(to, Message::Bye));
            self.ports.flush();
        }
    }

    /// Whether nobody asks any more.
    pub(crate) fn are_done(&self) -> bool {
        let is_done = |to: usize| to == self.me() || self.ways[to].bye || self.ports.is_gone(to);
        self.said_bye && (0..self.ways.len()).all(is_done)
    }

    /// Whether a message of theirs wakes the reactor from now on.
    pub(crate) fn arm(&mut self) -> Arm {
        self.ports.arm()
    }
}
