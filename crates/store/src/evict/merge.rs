//! Room for new items: some segments of a chain become one, of the items that were asked for most.
//!
//! ```text
//!   chain   [ a B c ][ D e ][ f G h ][ I j ] ─ ...        capitals were asked for more often, for their size
//!   chain   [ B D G I ] ─ ...                             and three segments are free
//! ```
//!
//! Where what came of the last merge has left room, the next one goes on: merged segments are full.
//!
//! What is left out is gone as if it had expired. What stays keeps its order, and half of its frequency, so that what
//! is not asked for any more does not stay for ever. The oldest segment of all chains has its turn, with those behind
//! it; what came of a merge is as young as if it were new. The open segment at the end of a chain is not merged, and
//! given up only when there is nothing else.
//!
//! Runs have their turn among themselves: of [`MERGED`] of them those go that nobody has asked for. The others stay
//! with half of their frequency, as young as if they were new; so one that was asked for `f` times stays for `log2 f`
//! turns more. Segments between runs wait for the next turn, as runs do that lie between segments.

use crate::heap::{Chain, Heap, NONE};
use crate::limits::{MERGED, TURN_SEGMENTS};
use crate::slot::Place;
use crate::table::At;

/// An item that could stay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) place: Place,
    pub(crate) at: At,
    /// As it would lie in the merged segment.
    pub(crate) bytes: u32,
    pub(crate) class: u16,
    pub(crate) frequency: u8,
    pub(crate) hash: u64,
}

impl Candidate {
    pub(crate) fn new(place: Place, at: At, bytes: usize, frequency: u8, hash: u64) -> Self {
        Self { place, at, bytes: bytes as u32, class: class(frequency, bytes), frequency, hash }
    }
}

/// The segments of the chain that has its turn, or runs of it, oldest first: one alone is given up. Whose turn is next
/// there. What is pinned has no turn: it would not be free.
pub(crate) fn turn(heap: &Heap, out: &mut Vec<u32>) -> u32 {
    out.clear();
    let firsts = heap.chains().filter_map(|(_, chain)| Some((first(heap, &chain)?, chain)));
    let Some((first, chain)) = firsts.min_by_key(|(first, _)| heap.segment(*first).number) else { return NONE };
    let (mut next, mut skipped, mut looked) = (first, NONE, 0);
    while next != chain.tail && out.len() < MERGED && looked < TURN_SEGMENTS {
        if heap.is_run(next) != heap.is_run(first) {
            skipped = if skipped == NONE { next } else { skipped };
        } else if !heap.is_pinned(next) {
            out.push(next);
        }
        next = heap.segment(next).next;
        looked += 1;
    }
    if out.is_empty() {
        out.push(first);
        return NONE;
    }
    if skipped == NONE { next } else { skipped }
}

/// Who of a chain has its turn: behind the last one that is not open it is the first one's again, and the open one's
/// only if there is no other.
fn first(heap: &Heap, chain: &Chain) -> Option<u32> {
    let from = |start: u32| {
        let some = |segment: u32| (segment != NONE).then_some(segment);
        let mut segments = std::iter::successors(some(start), move |segment| some(heap.segment(*segment).next));
        segments.find(|segment| !heap.is_pinned(*segment))
    };
    let open = |found: &u32| *found != chain.tail;
    from(chain.turn).filter(open).or_else(|| from(chain.head))
}

/// Classes of worth: eight for each doubling of requests for a byte, and two for less.
pub(crate) const CLASSES: usize = 8 * 32 + 2;

/// What an item is worth for its size. Nothing if nobody has asked for it.
fn class(frequency: u8, bytes: usize) -> u16 {
    let worth = (u32::from(frequency) << 21) / bytes.max(1) as u32;
    if worth < 8 {
        return u16::from(frequency > 0);
    }
    let doublings = worth.ilog2() - 3;
    (doublings * 8 + (worth >> doublings) - 8) as u16 + 2
}

/// Leaves of the candidates those that were asked for, and of them those that are worth most, as many as have room, in
/// their order.
pub(crate) fn choose(candidates: &mut Vec<Candidate>, room: usize) {
    let mut sizes = [0u64; CLASSES];
    for candidate in candidates.iter() {
        sizes[usize::from(candidate.class)] += u64::from(candidate.bytes);
    }
    let (mut room, mut lowest) = (room as u64, sizes.len());
    while lowest > 1 && sizes[lowest - 1] <= room {
        lowest -= 1;
        room -= sizes[lowest];
    }
    candidates.retain(|candidate| {
        let class = usize::from(candidate.class);
        let bytes = u64::from(candidate.bytes);
        // Of the class on the border, the first ones that there is room for.
        let border = class + 1 == lowest && class > 0 && bytes <= room;
        if border {
            room -= bytes;
        }
        class >= lowest || border
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worth_grows_with_requests_and_falls_with_size() {
        assert_eq!(class(0, 100), 0);
        assert!(class(1, 1 << 20) >= 1 && usize::from(class(255, 1)) < CLASSES);
        assert!(class(2, 100) > class(1, 100) && class(1, 100) > class(1, 200));
        assert!(class(1, 1 << 20) < class(1, 1 << 16));
    }
}
