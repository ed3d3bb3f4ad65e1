//! The commands in flight of a host's connection: one entry a slot, and its generation.

use super::super::limits::MAX_QUEUE_DEPTH;
use super::super::states::{Live, states};
use super::Slot;

states! {
    /// How far a connection is.
    pub enum Phase {
        /// Nothing was sent yet.
        New => [AwaitIcResp, Closed],
        /// ICReq is out.
        AwaitIcResp => [AwaitConnect, Closed],
        /// PDUs flow; one command may be in flight: Connect.
        AwaitConnect => [Live, Closed],
        /// The queue exists.
        Live => [Closed],
        /// Nothing is accepted or sent any more.
        Closed => [],
    }
}

states! {
    /// How far a command is.
    pub enum RequestState {
        /// The slot is empty.
        Free => [Waiting, Reading, Writing],
        /// All data has been moved (or there is none); the response is due.
        Waiting => [Free],
        /// More of its data is due.
        Reading => [Receiving, Free],
        /// In the middle of C2HData.
        Receiving => [Reading, Waiting, Free],
        /// An R2T is due, or the response.
        Writing => [Sending, Free],
        /// An R2T is open.
        Sending => [Writing],
    }
}

/// The lower bits of a command identifier: the slot.
const SLOT_MASK: u16 = MAX_QUEUE_DEPTH - 1;
const SLOT_BITS: u32 = SLOT_MASK.count_ones();
/// Generations, one fewer than there is room for: FFFFh is no command identifier.
const GENERATIONS: u16 = (1 << (u16::BITS - SLOT_BITS)) - 1;

/// A slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) state: RequestState,
    generation: u16,
    /// No data digest was wrong so far.
    pub(super) digest_ok: bool,
    /// All of its data that the transport moves, in bytes.
    pub(super) total: u32,
    /// Bytes that have been moved, or announced by the header of a PDU that is on its way.
    pub(super) moved: u32,
    /// Where the open R2T ends.
    pub(super) until: u32,
    /// The tag of the open R2T.
    pub(super) ttag: u16,
}

impl Entry {
    const FREE: Self =
        Self { state: RequestState::Free, generation: 0, digest_ok: true, total: 0, moved: 0, until: 0, ttag: 0 };
}

/// All slots of a connection.
#[derive(Debug)]
pub(super) struct Table {
    entries: Vec<Entry>,
    /// Empty slots, the last used on top.
    free: Vec<u16>,
    live: Live<{ RequestState::ALL.len() }>,
}

impl Table {
    pub(super) fn new(depth: u16) -> Self {
        let mut live = Live::new();
        live.add(RequestState::Free, u32::from(depth));
        Self { entries: vec![Entry::FREE; usize::from(depth)], free: (0..depth).rev().collect(), live }
    }

    /// Every slot's next command has this generation. Nothing is in flight.
    pub(super) fn start_at(&mut self, generation: u16) {
        assert_eq!(self.in_flight(), 0, "identifiers in use do not change");
        self.entries.iter_mut().for_each(|entry| entry.generation = generation % GENERATIONS);
    }

    pub(super) fn in_flight(&self) -> u32 {
        (self.entries.len() - self.free.len()) as u32
    }

    pub(super) fn state(&self, slot: Slot) -> RequestState {
        self.entries.get(slot.index()).map_or(RequestState::Free, |entry| entry.state)
    }

    /// The entry of a slot of ours.
    pub(super) fn entry(&mut self, slot: Slot) -> &mut Entry {
        &mut self.entries[slot.index()]
    }

    /// Starts a command in `state`, with `total` bytes of data for the transport to move.
    pub(super) fn begin(&mut self, state: RequestState, total: u32) -> Option<Slot> {
        let slot = Slot(self.free.pop()?);
        self.step(slot, state);
        let entry = self.entry(slot);
        *entry = Entry { state, total, generation: entry.generation, ..Entry::FREE };
        Some(slot)
    }

    /// A command changes its state.
    pub(super) fn step(&mut self, slot: Slot, next: RequestState) {
        self.live.go(&mut self.entries[slot.index()].state, next);
    }

    /// A command is over: its slot may be used again, with another identifier.
    pub(super) fn end(&mut self, slot: Slot) {
        self.step(slot, RequestState::Free);
        let entry = self.entry(slot);
        entry.generation = (entry.generation + 1) % GENERATIONS;
        self.free.push(slot.0);
    }

    /// The identifier of the command in `slot`.
    pub(super) fn cid(&self, slot: Slot) -> u16 {
        self.entries[slot.index()].generation << SLOT_BITS | slot.0
    }

    /// The command in flight that a controller named.
    pub(super) fn find(&self, cid: u16) -> Option<(Slot, &Entry)> {
        let slot = Slot(cid & SLOT_MASK);
        let entry = self.entries.get(slot.index())?;
        (entry.state != RequestState::Free && entry.generation == cid >> SLOT_BITS).then_some((slot, entry))
    }

    pub(super) fn states(&self) -> [(&'static str, u32); RequestState::ALL.len()] {
        RequestState::ALL.map(|state| (state.name(), self.live.of(state)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_starts_at_another_generation_does_not_know_old_identifiers() {
        let mut old = Table::new(4);
        let slot = old.begin(RequestState::Waiting, 0).unwrap();
        for generation in 1..=2 * GENERATIONS {
            let mut new = Table::new(4);
            new.start_at(generation);
            assert_eq!(new.begin(RequestState::Waiting, 0), Some(slot));
            assert_eq!(new.find(old.cid(slot)).is_some(), generation.is_multiple_of(GENERATIONS));
        }
    }

    #[test]
    fn an_identifier_comes_back_after_all_generations_and_is_never_ffff() {
        let mut table = Table::new(MAX_QUEUE_DEPTH);
        let slots: Vec<Slot> = (0..MAX_QUEUE_DEPTH).map(|_| table.begin(RequestState::Waiting, 0).unwrap()).collect();
        assert_eq!(table.begin(RequestState::Waiting, 0), None);
        let last = slots[usize::from(MAX_QUEUE_DEPTH) - 1];
        let mut seen = vec![];
        for _ in 0..GENERATIONS {
            let cid = table.cid(last);
            assert!(cid != 0xffff && !seen.contains(&cid), "{cid:04x}h");
            assert_eq!(table.find(cid).map(|(slot, _)| slot), Some(last));
            assert!(seen.iter().all(|&late| table.find(late).is_none()), "a late completion");
            seen.push(cid);
            table.end(last);
            assert!(table.find(cid).is_none());
            assert_eq!(table.begin(RequestState::Waiting, 0), Some(last));
        }
        assert_eq!(table.cid(last), seen[0]);
    }
}
