//! What a channel has asked for: a table of contexts, made once. A request's tag is the place in it and a generation.
//!
//! ```text
//!   tag   | generation, 32 bits | place, 32 bits |      a ticket that comes late finds another generation
//! ```

use super::Ticket;
use crate::Tag;

/// Marks the end of the free list.
const END: u32 = u32::MAX;

pub(super) struct Slots<C> {
    list: Vec<Slot<C>>,
    free: u32,
    taken: usize,
}

struct Slot<C> {
    generation: u32,
    state: State<C>,
}

enum State<C> {
    /// No request; the free place after this one.
    Free(u32),
    /// A request that the program has the context of.
    Asked(C),
}

impl<C> Slots<C> {
    /// Room for so many, fewer than 2^32.
    pub(super) fn new(count: usize) -> Self {
        assert!((count as u64) < u64::from(END), "{count} requests at once");
        let next = |place| if place + 1 == count { END } else { place as u32 + 1 };
        let list = (0..count).map(|place| Slot { generation: 0, state: State::Free(next(place)) }).collect();
        Self { list, free: if count == 0 { END } else { 0 }, taken: 0 }
    }

    /// Requests that have not ended.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// The tag that the next request will have; `None` if there is no room.
    #[inline]
    pub(super) fn next_tag(&self) -> Option<Tag> {
        let slot = self.list.get(self.free as usize)?;
        Some(u64::from(slot.generation) << 32 | u64::from(self.free))
    }

    /// Takes the place of [`Slots::next_tag`].
    #[inline]
    pub(super) fn take(&mut self, context: C) {
        let slot = &mut self.list[self.free as usize];
        let State::Free(next) = slot.state else { unreachable!("a place in the free list has no request") };
        slot.state = State::Asked(context);
        self.free = next;
        self.taken += 1;
    }

    /// Frees the place of a request that has ended; its context.
    #[inline]
    pub(super) fn finish(&mut self, tag: Tag) -> C {
        let place = tag as u32;
        let slot = &mut self.list[place as usize];
        assert!(slot.generation == (tag >> 32) as u32, "a completion for request {tag:#x} that is over");
        slot.generation = slot.generation.wrapping_add(1);
        let state = std::mem::replace(&mut slot.state, State::Free(self.free));
        self.free = place;
        self.taken -= 1;
        let State::Asked(context) = state else { panic!("a completion for place {place} that has no request") };
        context
    }

    /// Whether the ticket's request has not ended.
    pub(super) fn has(&self, ticket: Ticket) -> bool {
        let slot = self.list.get(ticket.tag as u32 as usize);
        slot.is_some_and(|slot| slot.generation == (ticket.tag >> 32) as u32 && matches!(slot.state, State::Asked(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_again_under_other_tags() {
        let mut slots = Slots::new(2);
        let take = |slots: &mut Slots<&str>, context| {
            let tag = slots.next_tag()?;
            slots.take(context);
            Some(tag)
        };
        let (a, b) = (take(&mut slots, "a").expect("room"), take(&mut slots, "b").expect("room"));
        assert_eq!((take(&mut slots, "c"), slots.taken()), (None, 2));
        assert_eq!((slots.finish(a), slots.taken()), ("a", 1));
        let c = take(&mut slots, "c").expect("room again");
        assert!(c != a && c as u32 == a as u32);
        let ticket = |tag| Ticket { tag, port: 0 };
        assert_eq!([a, b, c].map(|tag| slots.has(ticket(tag))), [false, true, true]);
        assert!(!slots.has(ticket(7)));
        assert_eq!((slots.finish(c), slots.finish(b), slots.taken()), ("c", "b", 0));
    }

    #[test]
    #[should_panic = "that is over"]
    fn a_request_ends_once() {
        let mut slots = Slots::new(1);
        let tag = slots.next_tag().expect("room");
        slots.take(());
        slots.finish(tag);
        slots.finish(tag);
    }
}
