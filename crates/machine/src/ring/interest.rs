//! Which sockets a ring looks after, and which of them are ready.
//!
//! ```text
//!   epoll token   63      32 31       0        slot        -> State  <-  Socket
//!                 [generation|  slot  ]        ready[owner] -> State, State, ...
//! ```
//!
//! A socket is registered once for life, edge-triggered, for both directions, so that arming costs nothing: the kernel
//! signals every time bytes or room come after there were none. `drained` remembers that there were none: the socket
//! gave "would block", or less than was asked for. An event clears it. Readiness is kept per owner until the owner
//! takes it.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use mio::Token;
use mio::event::Event;
use mio::net::TcpStream;

use super::events::{self, Registration, Registry, Watchable};
use super::{Owner, Ready};
use crate::limits::MAX_SOCKETS;

const _: () = assert!(usize::BITS == 64, "a token holds a slot and its generation");

/// The token of the ring's waker; no socket gets it because slots are far fewer.
pub(super) const WAKER_TOKEN: Token = Token(usize::MAX);
/// The token of what only ends a wait: what has happened is found where it was asked for.
pub(super) const SIGNAL_TOKEN: Token = Token(usize::MAX - 1);

/// What an event says of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Happened {
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The peer will send nothing more, or the connection is broken.
    pub(super) closing: bool,
}

impl Happened {
    pub(super) fn of(event: &Event) -> Self {
        let broken = event.is_error();
        Self {
            readable: event.is_readable() || event.is_read_closed() || broken,
            writable: event.is_writable() || event.is_write_closed() || broken,
            closing: event.is_read_closed() || broken,
        }
    }
}

/// What is known of one socket. Shared by the socket and the ring, on one thread.
pub(super) struct State {
    slot: u32,
    owner: Owner,
    registration: Registration,
    pub(super) key: u32,
    /// Nothing to receive when last tried: an edge will come.
    pub(super) drained: Cell<bool>,
    /// The peer closed or the connection broke: there may be no further edge, so only "would block" means drained.
    pub(super) closing: Cell<bool>,
    readable: Cell<bool>,
    writable: Cell<bool>,
    gone: Cell<bool>,
}

impl State {
    /// In its owner's list of ready ones.
    pub(super) fn listed(&self) -> bool {
        self.readable.get() || self.writable.get()
    }

    #[cfg(all(test, windows))]
    pub(super) fn is_readable(&self) -> bool {
        self.readable.get()
    }
}

#[derive(Default)]
struct Slot {
    generation: u32,
    state: Option<Rc<State>>,
}

#[derive(Default)]
struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// By owner.
    ready: Vec<Vec<Rc<State>>>,
}

/// Shared by a ring and its sockets, which deregister themselves when they are dropped.
pub(super) struct Interests {
    registry: Registry,
    table: RefCell<Table>,
}

impl Interests {
    pub(super) fn new(registry: Registry) -> Self {
        Self { registry, table: RefCell::default() }
    }

    pub(super) fn add_owner(&self) {
        self.table.borrow_mut().ready.push(Vec::new());
    }

    /// Whether there is nothing whose readiness anybody waits for.
    pub(super) fn is_empty(&self) -> bool {
        let table = self.table.borrow();
        table.free.len() == table.slots.len()
    }

    /// The owner takes no readiness any more.
    pub(super) fn release(&self, owner: Owner) {
        self.table.borrow_mut().ready[owner.index()].clear();
    }

    /// Registers a socket for life.
    pub(super) fn register(&self, source: &mut impl Watchable, owner: Owner, key: u32) -> io::Result<Rc<State>> {
        let mut table = self.table.borrow_mut();
        let slot = match table.free.last() {
            Some(&slot) => slot,
            None if table.slots.len() < MAX_SOCKETS => {
                let slot = table.slots.len() as u32;
                table.slots.push(Slot::default());
                table.free.push(slot);
                slot
            }
            None => {
                return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "all socket slots of this ring are taken"));
            }
        };
        let token = token(slot, table.slots[slot as usize].generation);
        let registration = events::register(&self.registry, source, token)?;
        let state = Rc::new(State {
            slot,
            owner,
            registration,
            key,
            drained: Cell::new(false),
            closing: Cell::new(false),
            readable: Cell::new(false),
            writable: Cell::new(false),
            gone: Cell::new(false),
        });
        table.free.pop();
        table.slots[slot as usize].state = Some(Rc::clone(&state));
        // Each socket is in the list once at most: the data path never grows it.
        let sockets = table.slots.len();
        let list = &mut table.ready[owner.index()];
        list.reserve(sockets.saturating_sub(list.len()));
        Ok(state)
    }

    /// The end of a socket. Events that are under way for it find another generation.
    pub(super) fn deregister(&self, source: &mut impl Watchable, state: &State) {
        events::deregister(&self.registry, source, &state.registration);
        state.gone.set(true);
        let mut table = self.table.borrow_mut();
        let slot = &mut table.slots[state.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.state = None;
        table.free.push(state.slot);
    }

    /// A call found nothing to receive or to accept.
    pub(super) fn await_readable(&self, state: &State) {
        state.drained.set(events::await_readable(&self.registry, &state.registration));
    }

    /// A receive got less than there was room for. Once the peer has closed, the edge for that may be gone, and the
    /// zero that tells it still has to be read.
    pub(super) fn await_more(&self, state: &State, stream: &TcpStream) {
        let told = !state.closing.get() && events::await_more(&self.registry, &state.registration, stream);
        state.drained.set(told);
    }

    /// A send found no room.
    pub(super) fn await_writable(&self, state: &State) {
        events::await_writable(&self.registry, &state.registration);
    }

    /// Takes note of one event.
    pub(super) fn note(&self, token: Token, Happened { readable, writable, closing }: Happened) {
        let (slot, generation) = split(token);
        let table = &mut *self.table.borrow_mut();
        let Some(Slot { generation: current, state: Some(state) }) = table.slots.get(slot as usize) else { return };
        if *current != generation {
            return;
        }
        if readable {
            state.drained.set(false);
        }
        if closing {
            state.closing.set(true);
        }
        if !state.listed() && (readable || writable) {
            table.ready[state.owner.index()].push(Rc::clone(state));
        }
        state.readable.set(state.readable.get() || readable);
        state.writable.set(state.writable.get() || writable);
    }

    /// Moves an owner's readiness to `out`.
    pub(super) fn take(&self, owner: Owner, out: &mut Vec<Ready>) {
        let mut table = self.table.borrow_mut();
        let live = table.ready[owner.index()].drain(..).filter(|state| !state.gone.get());
        out.extend(live.map(|state| Ready {
            key: state.key,
            readable: state.readable.take(),
            writable: state.writable.take(),
        }));
    }
}

fn token(slot: u32, generation: u32) -> Token {
    Token((generation as usize) << 32 | slot as usize)
}

fn split(token: Token) -> (u32, u32) {
    (token.0 as u32, (token.0 >> 32) as u32)
}
