//! Commands that exclude others: for a while a reactor has a range of a device's blocks for itself, and all others hold
//! back what touches it. No lock, and nothing that two reactors write: they tell each other by messages over a
//! [mesh](machine::reactor::mesh).
//!
//! ```text
//!     asker                      home of the device                 every reactor, these two included
//!       │ ── Ask ──────────────────▶ │ ── Hold ─────────────────────────▶ │ new commands on the range wait;
//!       │                            │                                    │ those at the device come back
//!       │ ◀───────────────── Grant ─ │ ◀──────────────────── Held, all ── │
//!       │ compare, write             │                                    │
//!       │ ── Release ──────────────▶ │ ── Resume ───────────────────────▶ │ on with what waited
//! ```
//!
//! Other commands pay one look at a list that is empty ([`Exclusive::holds_back`]). Where it is not, a range that is
//! given away looks like a queue that is full: the command waits and is tried again.
//!
//! Every Ask is followed by one Grant and one Release, whatever happens to who asked: a request that nobody wants any
//! more is released as soon as it is granted, and one whose requests a device still has, when those are back. So no
//! message ever overtakes another's purpose, and nothing is left behind by connections that die.

mod home;
mod message;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use block::{Op, Range};
use machine::reactor::{Arm, Ports, mesh};
use machine::ring::Waker;

use crate::limits::{EXCLUSIVE, EXCLUSIVE_HOLDS, MESH};
use crate::shard::engine::Owner;
use home::{Ask, Home};
pub(crate) use message::{Key, Message};

/// Messages on their way out, with the reactor that each is for.
type Post = VecDeque<(usize, Message)>;

/// The meshes' ends for so many reactors.
pub(crate) fn ports(reactors: usize) -> Vec<Ports<Message>> {
    mesh(reactors, MESH)
}

/// A range that some reactor has, or is about to have, for itself.
struct Hold {
    home: usize,
    key: Key,
    range: Range,
    /// Whether this reactor has nothing there any more, and has said so.
    is_held: bool,
}

/// How far a request of this reactor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Asked,
    /// Asked, and nobody wants it any more.
    Unwanted,
    Granted,
    /// Granted; nobody wants it any more, but the device has a request there: that of this owner.
    Leaving(Owner),
}

/// A request of this reactor for a range.
struct Ticket {
    number: u32,
    key: Key,
    /// The connection; any of its slots.
    owner: Owner,
    stand: Stand,
}

/// One reactor's part: what it asks for, what it holds back, and the home of some devices.
pub(crate) struct Exclusive {
    ports: Ports<Message>,
    home: Home,
    holds: Vec<Hold>,
    tickets: Vec<Ticket>,
    last_ticket: u32,
    /// How many more exclusive commands may begin.
    room: usize,
    post: Post,
    granted: VecDeque<(Owner, u32)>,
}

impl Exclusive {
    pub(crate) fn new(ports: Ports<Message>) -> Self {
        let reactors = ports.reactors();
        Self {
            home: Home::new(reactors),
            ports,
            holds: Vec::with_capacity(reactors * EXCLUSIVE_HOLDS),
            tickets: Vec::with_capacity(EXCLUSIVE),
            last_ticket: 0,
            room: EXCLUSIVE,
            post: VecDeque::with_capacity(MESH),
            granted: VecDeque::with_capacity(EXCLUSIVE),
        }
    }

    /// From now on messages wake the reactor.
    pub(crate) fn attach(&mut self, waker: Waker) {
        self.ports.attach(waker);
    }

    /// Whether an operation on a device has to wait.
    #[inline]
    pub(crate) fn holds_back(&self, key: Key, op: &Op) -> bool {
        !self.holds.is_empty() && self.holds.iter().any(|hold| hold.key == key && touches(op, hold.range))
    }

    /// Takes room for an exclusive command; it is given back with [`Exclusive::over`]. Whether there was any.
    pub(crate) fn begin(&mut self) -> bool {
        let has_room = self.room > 0;
        self.room -= usize::from(has_room);
        has_room
    }

    /// Asks for a range. The number that [`Exclusive::granted`] gives when it is there.
    pub(crate) fn ask(&mut self, key: Key, range: Range, owner: Owner) -> u32 {
        self.last_ticket = self.last_ticket.wrapping_add(1);
        let number = self.last_ticket;
        self.tickets.push(Ticket { number, key, owner, stand: Stand::Asked });
        self.post.push_back((key.home(self.ports.reactors()), Message::Ask { ticket: number, key, range }));
        number
    }

    /// An exclusive command is over; with the ticket that it had, if it had asked. No device has anything of it.
    pub(crate) fn over(&mut self, ticket: Option<u32>) {
        let Some(number) = ticket else {
            self.room += 1;
            return;
        };
        let at = self.position(number);
        match self.tickets[at].stand {
            Stand::Asked => self.tickets[at].stand = Stand::Unwanted,
            Stand::Granted => self.release(at),
            other => unreachable!("a command is over once, and not when it is {other:?}"),
        }
    }

    /// The connection of an exclusive command is gone, while a device has its request of this owner.
    pub(crate) fn leave(&mut self, ticket: u32, owner: Owner) {
        let at = self.position(ticket);
        assert_eq!(self.tickets[at].stand, Stand::Granted, "nothing is at the device before");
        self.tickets[at].stand = Stand::Leaving(owner);
    }

    /// A request of a connection that is gone is back.
    pub(crate) fn returned(&mut self, owner: Owner) {
        if let Some(at) = self.tickets.iter().position(|ticket| ticket.stand == Stand::Leaving(owner)) {
            self.release(at);
        }
    }

    fn position(&self, number: u32) -> usize {
        self.tickets
            .iter()
            .position(|ticket| ticket.number == number)
            .expect("its ticket is there until it is released")
    }

    fn release(&mut self, at: usize) {
        let key = self.tickets.swap_remove(at).key;
        self.post.push_back((key.home(self.ports.reactors()), Message::Release { key }));
        self.room += 1;
    }

    /// Whether there is nothing to do: no message, and nothing that is to be told.
    pub(crate) fn is_quiet(&self) -> bool {
        self.post.is_empty() && self.holds.iter().all(|hold| hold.is_held) && self.ports.is_empty()
    }

    /// Takes the messages that are there, and sends its own; how many there were. What follows is to be had with
    /// [`Exclusive::granted`] and [`Exclusive::due`].
    pub(crate) fn exchange(&mut self) -> usize {
        let mut messages = 0;
        while let Some((from, message)) = self.next() {
            messages += 1;
            self.handle(from, message);
        }
        messages
    }

    /// A message to this reactor, its own included.
    fn next(&mut self) -> Option<(usize, Message)> {
        let me = self.ports.me();
        while let Some((to, message)) = self.post.pop_front() {
            if to == me {
                return Some((me, message));
            }
            // One that has ended serves nobody, and the target stops.
            let sent = self.ports.is_gone(to) || self.ports.send(to, message).is_ok();
            assert!(sent, "a way of the mesh has room for all messages that can be under way");
        }
        self.ports.take()
    }

    fn handle(&mut self, from: usize, message: Message) {
        match message {
            Message::Ask { ticket, key, range } => self.home.ask(Ask { from, ticket, key, range }, &mut self.post),
            Message::Held { key } => self.home.held(from, key, &mut self.post),
            Message::Release { key } => self.home.release(key, &mut self.post),
            Message::Hold { key, range } => self.holds.push(Hold { home: from, key, range, is_held: false }),
            Message::Resume { key } => {
                let at = self.holds.iter().position(|hold| hold.key == key).expect("it was told to hold back");
                self.holds.swap_remove(at);
            }
            Message::Grant { ticket } => {
                let at = self.position(ticket);
                match self.tickets[at].stand {
                    Stand::Unwanted => self.release(at),
                    Stand::Asked => {
                        self.tickets[at].stand = Stand::Granted;
                        self.granted.push_back((self.tickets[at].owner, ticket));
                    }
                    other => unreachable!("granted while it is {other:?}"),
                }
            }
        }
    }

    /// A request that was granted and is still wanted: its owner's connection, and its number.
    pub(crate) fn granted(&mut self) -> Option<(Owner, u32)> {
        while let Some((owner, number)) = self.granted.pop_front() {
            if self.tickets.iter().any(|ticket| ticket.number == number && ticket.stand == Stand::Granted) {
                return Some((owner, number));
            }
        }
        None
    }

    /// A range that is to be held back where this reactor's devices have nothing left: `is_busy` looks. To be told
    /// with [`Exclusive::settle`].
    pub(crate) fn due(&self, is_busy: impl Fn(Key, Range) -> bool) -> Option<usize> {
        self.holds.iter().position(|hold| !hold.is_held && !is_busy(hold.key, hold.range))
    }

    /// Tells the home of a range that nothing is left there.
    pub(crate) fn settle(&mut self, hold: usize) {
        let hold = &mut self.holds[hold];
        hold.is_held = true;
        self.post.push_back((hold.home, Message::Held { key: hold.key }));
    }

    /// Reactors that have ended have nothing anywhere: the target stops, and those that are left finish.
    pub(crate) fn bury(&mut self) {
        for reactor in (0..self.ports.reactors()).filter(|&reactor| self.ports.is_gone(reactor)) {
            while let Some(key) = self.home.waits_for(reactor) {
                self.home.held(reactor, key, &mut self.post);
            }
        }
    }

    /// Wakes those that were sent something.
    pub(crate) fn flush(&mut self) {
        self.ports.flush();
    }

    pub(crate) fn arm(&mut self) -> Arm {
        let arm = self.ports.arm();
        if self.post.is_empty() { arm } else { Arm::Busy }
    }

    /// Exclusive commands that have begun, ranges that are held back, and what this home has to do: nothing of it is
    /// left when all commands are answered.
    pub(crate) fn len(&self) -> usize {
        (EXCLUSIVE - self.room) + self.tickets.len() + self.holds.len() + self.home.len()
    }
}

/// Whether an operation touches a range. The sources of a copy are not known here: it may touch all.
fn touches(op: &Op, range: Range) -> bool {
    matches!(op, Op::Copy { .. }) || op.range().is_some_and(|touched| touched.overlaps(range))
}
