//! S3-FIFO (SOSP 2023) by segments: a tenth of them has what is new, the others what was asked for again.
//!
//! ```text
//!   chain   [ main ][ main ][ main . ] [ new ][ new ][ open . ]        . where something is appended
//!             ▲ oldest        ▲          │ oldest
//!             │               └──────────┴─▶ what was asked for more than once      others go, and are remembered
//!             └─ what was asked for goes behind the others, and counts one less
//! ```
//!
//! While what is new has more than its tenth, its oldest segments are emptied, else the oldest of the others. What is
//! stored under a key that is remembered is not new. Items are packed: of a segment that is emptied, what stays goes to
//! where the last one of its chain has left room.

use super::merge;
use crate::heap::{Chain, Heap, NONE};
use crate::limits::{MERGED, MOST_COUNTED, NEW_SHARE, PROMOTED};
use crate::store::Store;
use crate::time::Time;

/// What segments are emptied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    New,
    Main,
}

impl Store {
    /// Empties the segments whose turn it is.
    pub(super) fn evict_new_or_main(&mut self, now: Time) -> Option<()> {
        let all = self.heap.count() - self.heap.free_segments() - self.pages();
        let news = all.saturating_sub(self.heap.mains());
        let preferred = if news * NEW_SHARE > all { [Kind::New, Kind::Main] } else { [Kind::Main, Kind::New] };
        let mut segments = std::mem::take(&mut self.merging);
        let found = preferred.into_iter().find(|kind| turn(&self.heap, *kind, &mut segments));
        let done = match found {
            Some(kind) if self.heap.is_run(segments[0]) => {
                self.evict_run(segments[0], kind, now);
                Some(())
            }
            Some(kind) => {
                self.empty_segments(&segments, kind, now);
                Some(())
            }
            None => self.evict_whole(super::an_open_one(&self.heap)),
        };
        self.merging = segments;
        done
    }

    /// Moves what stays of some neighbours to the main segments of their chain, and frees them one by one.
    fn empty_segments(&mut self, segments: &[u32], kind: Kind, now: Time) {
        let mut kept = std::mem::take(&mut self.candidates);
        kept.clear();
        for &segment in segments {
            self.candidates_of(segment, now, &mut kept);
        }
        let before = kept.len();
        // Of the main ones something goes in any case: else all of them might have to be gone through for some room.
        let all = self.heap.capacity() * segments.len();
        let room = if kind == Kind::New { all } else { all / 4 * 3 };
        let heap = &mut self.heap;
        let mut ghosts = self.ghosts.as_mut().filter(|_| kind == Kind::New);
        merge::choose(&mut kept, kind.asked(), room, |gone| {
            if let Some(ghosts) = &mut ghosts {
                ghosts.remember(heap, gone.hash);
            }
        });
        self.count_evicted(self.heap.age(segments[0]), before - kept.len());
        let chain = usize::from(self.heap.segment(segments[0]).chain);
        let first_new = first_new(&self.heap, &self.heap.chain(chain));
        self.heap.set_turn(chain, first_new);
        let mut to = self.youngest_main(chain).filter(|main| !segments.contains(main));
        let mut next = 0;
        for &segment in segments {
            while let Some(candidate) = kept.get(next).filter(|candidate| candidate.place.segment == segment) {
                let main = self.main_with_room(chain, to, candidate.bytes as usize);
                // What was forgotten since it was listed may have moved its entry in the table.
                let at = self.table.find(&self.heap, candidate.hash, |place| place == candidate.place);
                let at = at.expect("it is there until it is moved");
                self.relocate(candidate.place, at, main, None);
                self.bury(candidate.place);
                let slot = at.read(&self.heap);
                at.write(&mut self.heap, slot.with_frequency(kind.left_of(candidate.frequency)));
                (to, next) = (Some(main), next + 1);
            }
            // What was not moved.
            self.forget(segment);
        }
        self.candidates = kept;
    }

    /// The main segment that takes so many bytes more: this one, or one behind it.
    fn main_with_room(&mut self, chain: usize, last: Option<u32>, bytes: usize) -> u32 {
        if let Some(main) = last.filter(|main| self.heap.has_room(*main, bytes)) {
            return main;
        }
        let behind = last.unwrap_or_else(|| self.in_front_of_new(chain));
        let opened = self.heap.open_main(chain, behind).expect("one is reserved, and as much is freed");
        if let Some(full) = last.filter(|main| !self.heap.segment(*main).sealed) {
            self.heap.seal(full);
        }
        opened
    }

    /// The main segment of a chain that was opened last.
    fn youngest_main(&self, chain: usize) -> Option<u32> {
        let last = self.in_front_of_new(chain);
        (last != NONE && self.heap.segment(last).main).then_some(last)
    }

    /// What stands in front of the new segments of a chain, whose turn is the first of them.
    fn in_front_of_new(&self, chain: usize) -> u32 {
        let Chain { turn, tail, .. } = self.heap.chain(chain);
        if turn == NONE { tail } else { self.heap.segment(turn).previous }
    }

    /// A run goes, or stays among the main ones.
    fn evict_run(&mut self, run: u32, kind: Kind, now: Time) {
        let mut items = std::mem::take(&mut self.candidates);
        items.clear();
        self.candidates_of(run, now, &mut items);
        let stays = items.first().copied().filter(|item| item.frequency >= kind.asked());
        self.candidates = items;
        let Some(item) = stays else {
            self.evict_segment(run);
            return;
        };
        let chain = usize::from(self.heap.segment(run).chain);
        let first_new = first_new(&self.heap, &self.heap.chain(chain));
        self.heap.set_turn(chain, first_new);
        let behind = self.in_front_of_new(chain);
        if behind != run && self.heap.segment(run).next != NONE {
            self.heap.move_behind(run, behind);
        }
        self.heap.make_main(run);
        let slot = item.at.read(&self.heap);
        item.at.write(&mut self.heap, slot.with_frequency(kind.left_of(item.frequency)));
    }
}

impl Kind {
    /// How often an item must have been asked for, to stay.
    fn asked(self) -> u8 {
        if self == Self::New { PROMOTED } else { 1 }
    }

    /// What counts from now on of the requests that there were.
    fn left_of(self, frequency: u8) -> u8 {
        if self == Self::New { 0 } else { frequency.min(MOST_COUNTED) - 1 }
    }
}

/// The first segment of a chain that is not a main one.
fn first_new(heap: &Heap, chain: &Chain) -> u32 {
    let start = if chain.turn == NONE { chain.head } else { chain.turn };
    heap.walk(start).find(|segment| !heap.segment(*segment).main).unwrap_or(NONE)
}

/// The oldest segments of a kind that may go, neighbours of one chain, or a run; whether there are any.
fn turn(heap: &Heap, kind: Kind, out: &mut Vec<u32>) -> bool {
    out.clear();
    let of = |chain: &Chain| {
        let from = if kind == Kind::New { first_new(heap, chain) } else { chain.head };
        let tail = chain.tail;
        let all = heap
            .walk(from)
            .take_while(move |segment| *segment != tail && (kind == Kind::New || heap.segment(*segment).main));
        all.filter(|segment| !heap.is_pinned(*segment) && heap.segment(*segment).main == (kind == Kind::Main))
    };
    let oldest = heap.chains().filter_map(|(_, chain)| Some((of(&chain).next()?, chain)));
    let Some((first, chain)) = oldest.min_by_key(|(first, _)| heap.segment(*first).number) else { return false };
    let most = if heap.is_run(first) { 1 } else { MERGED };
    out.extend(of(&chain).take_while(|segment| *segment == first || !heap.is_run(*segment)).take(most));
    true
}
