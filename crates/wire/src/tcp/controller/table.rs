//! The commands in flight of a target's connection: one entry a slot, and the identifiers in use.

use super::super::limits::MAX_QUEUE_DEPTH;
use super::super::states::{Live, states};
use super::Slot;

states! {
    /// How far a connection is.
    pub enum Phase {
        /// Nothing was exchanged yet.
        AwaitIcReq => [AwaitConnect, Closed],
        /// PDUs flow; one command may be in flight: Connect.
        AwaitConnect => [Live, Closed],
        /// The queue exists.
        Live => [Closed],
        /// Nothing is accepted or written any more.
        Closed => [],
    }
}

states! {
    /// How far a command is.
    pub enum RequestState {
        /// The slot is empty.
        Free => [Executing],
        /// The caller has it.
        Executing => [AwaitingData, Sending, Sent, Free],
        /// An R2T is out. (Free: only once the connection is closed.)
        AwaitingData => [Receiving, Free],
        /// In the middle of H2CData. (Free: only once the connection is closed.)
        Receiving => [AwaitingData, Executing, Free],
        /// Part of its data went out.
        Sending => [Sending, Sent, Free],
        /// All of its data went out; the response is due.
        Sent => [Free],
    }
}

/// A slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    state: RequestState,
    pub(super) cid: u16,
    /// Another command with this identifier was in flight before: the mark in `in_use` is not ours.
    duplicate: bool,
    /// No data digest was wrong so far.
    pub(super) digest_ok: bool,
    /// Bytes of its data that have been moved, or announced by the header of a PDU that is on its way.
    pub(super) moved: u32,
    /// Where the open R2T ends.
    pub(super) until: u32,
}

impl Entry {
    const FREE: Self =
        Self { state: RequestState::Free, cid: 0, duplicate: false, digest_ok: true, moved: 0, until: 0 };
}

/// One bit for each command identifier: 8 KiB, of which a host touches few cache lines.
const CID_WORDS: usize = (u16::MAX as usize + 1) / u64::BITS as usize;

/// All slots of a connection.
#[derive(Debug)]
pub(super) struct Table {
    entries: Vec<Entry>,
    /// Empty slots, the last used on top.
    free: Vec<u16>,
    in_use: Box<[u64; CID_WORDS]>,
    live: Live<{ RequestState::ALL.len() }>,
}

impl Table {
    /// A table for one command.
    pub(super) fn new() -> Self {
        let mut table =
            Self { entries: Vec::new(), free: Vec::new(), in_use: Box::new([0; CID_WORDS]), live: Live::new() };
        table.grow(1);
        table
    }

    /// Grows to `depth` slots; those in use stay.
    pub(super) fn grow(&mut self, depth: u16) {
        assert!(depth <= MAX_QUEUE_DEPTH && usize::from(depth) >= self.entries.len(), "a table never shrinks");
        let have = self.entries.len() as u16;
        let mut free: Vec<u16> = (have..depth).rev().collect();
        free.append(&mut self.free);
        // A slot is given back without growing the list.
        free.reserve_exact(usize::from(depth) - free.len());
        self.free = free;
        self.entries.resize(usize::from(depth), Entry::FREE);
        self.live.add(RequestState::Free, u32::from(depth - have));
    }

    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    pub(super) fn in_flight(&self) -> u32 {
        (self.entries.len() - self.free.len()) as u32
    }

    pub(super) fn state(&self, slot: Slot) -> RequestState {
        self.entries.get(slot.index()).map_or(RequestState::Free, |entry| entry.state)
    }

    /// The entry of a slot that a peer named, if there is such a slot.
    pub(super) fn get(&self, slot: Slot) -> Option<(&Entry, RequestState)> {
        self.entries.get(slot.index()).map(|entry| (entry, entry.state))
    }

    /// The entry of a slot of ours.
    pub(super) fn entry(&mut self, slot: Slot) -> &mut Entry {
        &mut self.entries[slot.index()]
    }

    /// A command arrived and there is room for it: its slot, and whether its identifier is in use already.
    pub(super) fn begin(&mut self, cid: u16) -> (Slot, bool) {
        let slot = Slot(self.free.pop().expect("the caller looked whether the table is full"));
        let (word, bit) = Self::mark(cid);
        let duplicate = self.in_use[word] & bit != 0;
        self.in_use[word] |= bit;
        let entry = &mut self.entries[slot.index()];
        let mut state = entry.state;
        self.live.go(&mut state, RequestState::Executing);
        *entry = Entry { state, cid, duplicate, ..Entry::FREE };
        (slot, duplicate)
    }

    /// A command changes its state; never to Free.
    pub(super) fn step(&mut self, slot: Slot, next: RequestState) {
        self.live.go(&mut self.entries[slot.index()].state, next);
    }

    /// A command is over: its slot and its identifier may be used again.
    pub(super) fn end(&mut self, slot: Slot) {
        self.step(slot, RequestState::Free);
        let entry = self.entries[slot.index()];
        if !entry.duplicate {
            let (word, bit) = Self::mark(entry.cid);
            self.in_use[word] &= !bit;
        }
        self.free.push(slot.0);
    }

    pub(super) fn states(&self) -> [(&'static str, u32); RequestState::ALL.len()] {
        RequestState::ALL.map(|state| (state.name(), self.live.of(state)))
    }

    fn mark(cid: u16) -> (usize, u64) {
        (usize::from(cid) / u64::BITS as usize, 1 << (u32::from(cid) % u64::BITS))
    }
}
