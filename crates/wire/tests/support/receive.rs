//! Gives bytes to a machine, cut in several ways, and keeps a log of its events that does not depend on the cuts.

use qpair_wire::nvme::{Cqe, Sqe};
use qpair_wire::tcp::controller::{Controller, Event};
use qpair_wire::tcp::host::{Host, HostEvent};
use qpair_wire::tcp::{Cause, Incoming, Slot, controller, host};

/// An event of either side that owns its bytes. Neighbouring pieces of data are one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Initialized,
    Command { slot: Slot, sqe: Sqe, data: Vec<u8>, digest_ok: bool, duplicate: bool },
    Data { slot: Slot, offset: u32, bytes: Vec<u8> },
    Received { slot: Slot, digest_ok: bool },
    WantsData { slot: Slot, offset: u32, length: u32 },
    Completed { slot: Slot, cqe: Cqe, digest_ok: bool },
    Closed(Cause),
}

impl From<Event<'_>> for Entry {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Initialized => Self::Initialized,
            Event::Command { slot, sqe, data, digest_ok, duplicate } => {
                Self::Command { slot, sqe, data: data.to_vec(), digest_ok, duplicate }
            }
            Event::Data { slot, offset, bytes } => Self::Data { slot, offset, bytes: bytes.to_vec() },
            Event::Received { slot, digest_ok } => Self::Received { slot, digest_ok },
            Event::Closed(cause) => Self::Closed(cause),
        }
    }
}

impl From<HostEvent<'_>> for Entry {
    fn from(event: HostEvent<'_>) -> Self {
        match event {
            HostEvent::Initialized => Self::Initialized,
            HostEvent::Data { slot, offset, bytes } => Self::Data { slot, offset, bytes: bytes.to_vec() },
            HostEvent::WantsData { slot, offset, length } => Self::WantsData { slot, offset, length },
            HostEvent::Completed { slot, cqe, digest_ok } => Self::Completed { slot, cqe, digest_ok },
            HostEvent::Closed(cause) => Self::Closed(cause),
        }
    }
}

/// Either side of a connection.
pub trait Machine {
    /// Consumed, needs, event.
    fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, usize, Option<Entry>);
    fn incoming(&self) -> Option<Incoming>;
    fn absorbed(&mut self, bytes: &[u8]) -> Option<Entry>;
    fn is_closed(&self) -> bool;
}

impl Machine for Controller {
    fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, usize, Option<Entry>) {
        let fed = self.feed(input, out);
        (fed.consumed, fed.needs, fed.event.map(Entry::from))
    }

    fn incoming(&self) -> Option<Incoming> {
        self.incoming()
    }

    fn absorbed(&mut self, bytes: &[u8]) -> Option<Entry> {
        self.absorbed(bytes).map(Entry::from)
    }

    fn is_closed(&self) -> bool {
        self.phase() == controller::Phase::Closed
    }
}

impl Machine for Host {
    fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, usize, Option<Entry>) {
        let fed = self.feed(input, out);
        (fed.consumed, fed.needs, fed.event.map(Entry::from))
    }

    fn incoming(&self) -> Option<Incoming> {
        self.incoming()
    }

    fn absorbed(&mut self, bytes: &[u8]) -> Option<Entry> {
        self.absorbed(bytes).map(Entry::from)
    }

    fn is_closed(&self) -> bool {
        self.phase() == host::Phase::Closed
    }
}

/// How bytes that came together are given to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As they came.
    Whole,
    /// One by one.
    Bytes,
    /// As they came, except for data, which is received in place.
    Direct,
}

/// The received side of a connection: the bytes not consumed yet and the log.
#[derive(Debug)]
pub struct Inbox {
    way: Way,
    tail: Vec<u8>,
    pub log: Vec<Entry>,
}

impl Inbox {
    pub fn new(way: Way) -> Self {
        Self { way, tail: Vec::new(), log: Vec::new() }
    }

    /// Gives bytes to the machine; `act` sees each event at once and may act on the machine.
    pub fn push<M: Machine>(
        &mut self,
        machine: &mut M,
        bytes: &[u8],
        out: &mut Vec<u8>,
        mut act: impl FnMut(&mut M, &Entry, &mut Vec<u8>),
    ) {
        match self.way {
            // Nothing new is a call as well: what is there may be judged by the limits of a queue made meanwhile.
            _ if bytes.is_empty() => self.give(machine, bytes, out, &mut act),
            Way::Whole | Way::Direct => self.give(machine, bytes, out, &mut act),
            Way::Bytes => bytes.iter().for_each(|&byte| self.give(machine, &[byte], out, &mut act)),
        }
    }

    fn give<M: Machine>(
        &mut self,
        machine: &mut M,
        bytes: &[u8],
        out: &mut Vec<u8>,
        act: &mut impl FnMut(&mut M, &Entry, &mut Vec<u8>),
    ) {
        self.tail.extend_from_slice(bytes);
        let mut at = 0;
        loop {
            let rest = &self.tail[at..];
            let incoming = machine.incoming().filter(|_| self.way == Way::Direct && !rest.is_empty());
            let event = if let Some(Incoming { slot, offset, remaining }) = incoming {
                let piece = &rest[..rest.len().min(remaining as usize)];
                let event = machine.absorbed(piece);
                at += piece.len();
                note(&mut self.log, Entry::Data { slot, offset, bytes: piece.to_vec() });
                let Some(event) = event else { continue };
                event
            } else {
                let closed = machine.is_closed();
                let (consumed, needs, event) = machine.feed(rest, out);
                at += consumed;
                let left = self.tail.len() - at;
                assert!(event.is_none() || !closed, "an event after the end");
                let Some(event) = event else {
                    assert!(machine.is_closed() || needs > left, "{needs} bytes are needed and {left} are there");
                    break;
                };
                assert!(needs == 0);
                event
            };
            note(&mut self.log, event.clone());
            act(machine, &event, out);
        }
        if machine.is_closed() {
            at = self.tail.len();
        }
        self.tail.drain(..at);
    }
}

/// Adds an event to a log, data to the data before it.
fn note(log: &mut Vec<Entry>, entry: Entry) {
    if let Entry::Data { slot, offset, bytes } = &entry
        && let Some(Entry::Data { slot: before, offset: start, bytes: so_far }) = log.last_mut()
        && slot == before
        && *offset == *start + so_far.len() as u32
    {
        so_far.extend_from_slice(bytes);
    } else {
        log.push(entry);
    }
}
