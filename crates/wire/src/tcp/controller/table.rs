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

/// A slot, and the head of a chain of slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    state: RequestState,
    /// No data digest was wrong so far.
    pub(super) digest_ok: bool,
    pub(super) cid: u16,
    /// The first command whose identifier belongs to this place ([`Table::bucket`]), or [`NONE`].
    head: u16,
    /// The next one of the chain that this command is in; of an empty slot, the next empty one.
    next: u16,
    /// Bytes of its data that have been moved, or announced by the header of a PDU that is on its way.
    pub(super) moved: u32,
    /// Where the open R2T ends.
    pub(super) until: u32,
}

const _: () = assert!(size_of::<Entry>() == 16, "four in a cache line");

/// The end of a chain.
const NONE: u16 = u16::MAX;

impl Entry {
    const FREE: Self =
        Self { state: RequestState::Free, digest_ok: true, cid: 0, head: NONE, next: NONE, moved: 0, until: 0 };
}

/// Slots that a table begins with, and keeps when its queue is idle.
const FEWEST: usize = 4;

const _: () = assert!(FEWEST.is_power_of_two() && MAX_QUEUE_DEPTH as usize > FEWEST && MAX_QUEUE_DEPTH < NONE);

/// The slots of a connection: as many as it has needed at once, not as many as its queue is deep.
///
/// ```text
///   cid & (len - 1) ─▶ [head] ─▶ slot ─▶ slot ─▶ NONE      commands in flight, to find an identifier that is in use
///              free ─▶ slot ─▶ slot ─▶ slot ─▶ NONE        empty slots, the last used first
/// ```
///
/// Hosts number their commands by a table of their own, so that a chain has one command; the worst has all of a queue.
/// Because the last used slot is taken first, none beyond the depth is ever taken.
#[derive(Debug)]
pub(super) struct Table {
    depth: u16,
    used: u16,
    /// The first empty slot, or [`NONE`].
    free: u16,
    /// A power of two of them.
    entries: Vec<Entry>,
    live: Live<{ RequestState::ALL.len() }>,
}

impl Table {
    /// A table for one command.
    pub(super) fn new() -> Self {
        let mut table = Self { depth: 0, used: 0, free: NONE, entries: Vec::new(), live: Live::new() };
        table.deepen(1);
        table
    }

    /// From now on there may be `depth` commands; those in flight stay.
    pub(super) fn deepen(&mut self, depth: u16) {
        assert!(depth <= MAX_QUEUE_DEPTH && depth >= self.depth, "a queue never gets shorter");
        self.live.add(RequestState::Free, u32::from(depth - self.depth));
        self.depth = depth;
    }

    /// Slots that take memory: every command in flight has one of a lower number.
    pub(super) fn slots(&self) -> usize {
        self.entries.len()
    }

    /// Gives back the memory of slots beyond the last one in use.
    pub(super) fn shrink(&mut self) {
        let last = self.entries.iter().rposition(|entry| entry.state != RequestState::Free);
        let slots = last.map_or(0, |last| last + 1).next_power_of_two().max(FEWEST);
        if slots < self.entries.len() {
            self.resize(slots);
            self.entries.shrink_to_fit();
        }
    }

    /// Has this many slots, a power of two that holds all those in use.
    fn resize(&mut self, slots: usize) {
        assert!(slots.is_power_of_two(), "identifiers are spread by their low bits");
        self.entries.resize(slots, Entry::FREE);
        self.free = NONE;
        self.entries.iter_mut().for_each(|entry| entry.head = NONE);
        for slot in (0..slots as u16).rev() {
            if self.entries[usize::from(slot)].state == RequestState::Free {
                self.entries[usize::from(slot)].next = self.free;
                self.free = slot;
            } else {
                self.link(slot);
            }
        }
    }

    /// Puts a command into the chain of its identifier.
    fn link(&mut self, slot: u16) {
        let bucket = self.bucket(self.entries[usize::from(slot)].cid);
        self.entries[usize::from(slot)].next = std::mem::replace(&mut self.entries[bucket].head, slot);
    }

    /// Takes a command out of the chain of its identifier.
    fn unlink(&mut self, slot: u16) {
        let Entry { cid, next, .. } = self.entries[usize::from(slot)];
        let bucket = self.bucket(cid);
        if self.entries[bucket].head == slot {
            self.entries[bucket].head = next;
            return;
        }
        let mut at = self.entries[bucket].head;
        while self.entries[usize::from(at)].next != slot {
            at = self.entries[usize::from(at)].next;
        }
        self.entries[usize::from(at)].next = next;
    }

    /// Whether a command with this identifier is in flight.
    fn has(&self, cid: u16) -> bool {
        let mut at = self.entries[self.bucket(cid)].head;
        while at != NONE {
            let entry = &self.entries[usize::from(at)];
            if entry.cid == cid {
                return true;
            }
            at = entry.next;
        }
        false
    }

    fn bucket(&self, cid: u16) -> usize {
        usize::from(cid) & (self.entries.len() - 1)
    }

    pub(super) fn is_full(&self) -> bool {
        self.used == self.depth
    }

    pub(super) fn in_flight(&self) -> u32 {
        u32::from(self.used)
    }

    pub(super) fn state(&self, slot: Slot) -> RequestState {
        self.entries.get(slot.index()).map_or(RequestState::Free, |entry| entry.state)
    }

    /// The entry of a slot that a peer named, if the queue is so deep.
    pub(super) fn get(&self, slot: Slot) -> Option<(&Entry, RequestState)> {
        let entry = self.entries.get(slot.index()).unwrap_or(&Entry::FREE);
        (slot.index() < usize::from(self.depth)).then_some((entry, entry.state))
    }

    /// The entry of a slot of ours.
    pub(super) fn entry(&mut self, slot: Slot) -> &mut Entry {
        &mut self.entries[slot.index()]
    }

    /// A command arrived and there is room for it: its slot, and whether its identifier is in use already.
    pub(super) fn begin(&mut self, cid: u16) -> (Slot, bool) {
        assert!(!self.is_full(), "the caller looked whether the table is full");
        if self.free == NONE {
            // The only allocation: a queue that has been this busy does not come here again.
            self.resize((2 * self.entries.len()).max(FEWEST));
        }
        let duplicate = self.has(cid);
        let slot = self.free;
        let entry = &mut self.entries[usize::from(slot)];
        self.free = entry.next;
        let (mut state, head) = (entry.state, entry.head);
        self.live.go(&mut state, RequestState::Executing);
        *entry = Entry { state, cid, head, ..Entry::FREE };
        self.link(slot);
        self.used += 1;
        (Slot(slot), duplicate)
    }

    /// A command changes its state; never to Free.
    pub(super) fn step(&mut self, slot: Slot, next: RequestState) {
        self.live.go(&mut self.entries[slot.index()].state, next);
    }

    /// A command is over: its slot and its identifier may be used again.
    pub(super) fn end(&mut self, slot: Slot) {
        self.step(slot, RequestState::Free);
        self.unlink(slot.0);
        self.entries[slot.index()].next = std::mem::replace(&mut self.free, slot.0);
        self.used -= 1;
    }

    pub(super) fn states(&self) -> [(&'static str, u32); RequestState::ALL.len()] {
        RequestState::ALL.map(|state| (state.name(), self.live.of(state)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Begin(u16),
        End(usize),
        Shrink,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            // Few identifiers, of which many share their low bits.
            6 => (0u16..8, 0u16..8).prop_map(|(high, low)| Act::Begin(high << 12 | low)),
            4 => any::<usize>().prop_map(Act::End),
            1 => Just(Act::Shrink),
        ]
    }

    proptest! {
        #[test]
        fn it_knows_the_identifiers_in_flight_whatever_its_size(
            depth in 1u16..40,
            acts in prop::collection::vec(act(), 0..300),
        ) {
            let (mut table, mut model) = (Table::new(), Vec::<(Slot, u16)>::new());
            table.deepen(depth);
            for act in acts {
                match act {
                    Act::Begin(_) if table.is_full() => prop_assert_eq!(model.len(), usize::from(depth)),
                    Act::Begin(cid) => {
                        let (slot, duplicate) = table.begin(cid);
                        prop_assert!(slot.0 < depth && slot.index() < table.slots());
                        prop_assert!(model.iter().all(|(taken, _)| *taken != slot));
                        prop_assert_eq!(duplicate, model.iter().any(|(_, known)| *known == cid));
                        model.push((slot, cid));
                    }
                    Act::End(_) if model.is_empty() => {}
                    Act::End(which) => {
                        let (slot, cid) = model.swap_remove(which % model.len());
                        prop_assert_eq!(table.entry(slot).cid, cid);
                        table.end(slot);
                    }
                    Act::Shrink => table.shrink(),
                }
                prop_assert_eq!(table.in_flight() as usize, model.len());
                prop_assert_eq!(table.states()[0].1 as usize, usize::from(depth) - model.len());
            }
        }
    }

    #[test]
    fn it_is_as_large_as_its_queue_is_busy() {
        let mut table = Table::new();
        table.deepen(128);
        let run = |table: &mut Table, commands: u16| {
            let slots: Vec<_> = (0..commands).map(|cid| table.begin(cid).0).collect();
            slots.into_iter().rev().for_each(|slot| table.end(slot));
            table.slots()
        };
        assert_eq!([1, 4, 5, 128, 1].map(|commands| run(&mut table, commands)), [4, 4, 8, 128, 128]);
        let (held, _) = table.begin(7);
        table.shrink();
        assert_eq!((table.slots(), table.state(held)), (4, RequestState::Executing));
    }
}
