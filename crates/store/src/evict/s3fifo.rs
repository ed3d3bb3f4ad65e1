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
//!
//! A segment of 1 MiB may have ten thousand items, and going through them takes a millisecond or more. So it is emptied
//! in steps, ahead of who stores: while few segments are free, each item that is stored pays for some that go. Between
//! two steps clients change what they like. In a warm pool the directory says how far the segment was emptied, or what
//! is deleted from where it was moved to would be found again where it was. In a durable one that would take a fence,
//! for each step as for each segment, so there all of a segment goes at once.

use super::merge::Candidate;
use crate::heap::{Chain, Heap, NONE};
use crate::item::Layout;
use crate::limits::{EMPTIED_UNIT, EVICTION_PACE, ITEMS_START, MOST_COUNTED, NEW_SHARE, PROMOTED, STEPS_PER_SEGMENT};
use crate::slot::Place;
use crate::store::Store;
use crate::time::Time;

/// What segments are emptied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    New,
    Main,
}

/// A segment that is being emptied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Emptying {
    pub(crate) segment: u32,
    /// Where it is another one by now, that is known by its number.
    number: u64,
    /// Bytes of it that were moved.
    moved: usize,
}

impl Emptying {
    fn is_there(&self, heap: &Heap) -> bool {
        heap.is_items(self.segment) && heap.segment(self.segment).number == self.number
    }
}

impl Store {
    /// Empties a part of the segment whose turn it is: all of it in a durable pool.
    pub(super) fn evict_new_or_main(&mut self, now: Time) -> Option<()> {
        let begun = self.emptying.take().filter(|begun| begun.is_there(&self.heap));
        let Some(mut emptying) = begun.or_else(|| self.begin()) else {
            return self.evict_whole(super::an_open_one(&self.heap));
        };
        let segment = emptying.segment;
        if self.heap.is_run(segment) {
            self.evict_run(segment, now);
        } else if self.empty_some(&mut emptying, now) {
            self.heap.close(segment);
        } else {
            self.emptying = Some(emptying);
        }
        Some(())
    }

    /// Makes room before it is needed, so much for each item that is stored that nobody waits for all of a segment.
    #[inline]
    pub(crate) fn work_ahead(&mut self, bytes: usize, now: Time) {
        if self.heap.free_segments() < self.ahead {
            self.owed += bytes * EVICTION_PACE;
            if self.owed >= self.heap.segment_bytes() / STEPS_PER_SEGMENT && !self.is_recovering() {
                self.owed = 0;
                if !self.expire_some(now) {
                    let _ = self.evict(now);
                }
            }
        }
    }

    /// The segment whose turn it is.
    fn begin(&mut self) -> Option<Emptying> {
        let all = self.heap.count() - self.heap.free_segments() - self.pages();
        let news = all.saturating_sub(self.heap.mains());
        let preferred = if news * NEW_SHARE > all { [Kind::New, Kind::Main] } else { [Kind::Main, Kind::New] };
        let segment = preferred.into_iter().find_map(|kind| turn(&self.heap, kind))?;
        if Kind::of(&self.heap, segment) == Kind::Main {
            self.worth.next_segment();
        }
        Some(Emptying { segment, number: self.heap.segment(segment).number, moved: 0 })
    }

    /// Moves what stays of the next items of a segment to the main segments of its chain; whether those were the last.
    fn empty_some(&mut self, emptying: &mut Emptying, now: Time) -> bool {
        let segment = emptying.segment;
        let kind = Kind::of(&self.heap, segment);
        let chain = usize::from(self.heap.segment(segment).chain);
        let first_new = first_new(&self.heap, &self.heap.chain(chain));
        self.heap.set_turn(chain, first_new);
        let mut to = self.youngest_main(chain).filter(|main| *main != segment);
        // Of the main ones something goes in any case, however wrong the neighbours were: else all of them might have
        // to be gone through for some room.
        let all = self.heap.capacity();
        let room = if kind == Kind::New { all } else { all / 8 * 7 };
        let start = self.heap.segment(segment).emptied;
        let end = match self.heap.layout() {
            Layout::Durable => u32::MAX,
            _ => start + (self.heap.segment_bytes() / STEPS_PER_SEGMENT) as u32,
        };
        let (mut last, mut offset, mut gone) = (start, start, 0);
        let mut done = true;
        while offset < self.heap.segment(segment).used && self.heap.segment(segment).live > 0 {
            // What was handled, and no more, begins in front of a whole unit.
            if offset >= end && offset / EMPTIED_UNIT > last / EMPTIED_UNIT {
                self.heap.set_emptied(segment, offset);
                done = false;
                break;
            }
            let place = Place { segment, offset };
            last = offset;
            offset += self.heap.header(place).item_bytes() as u32;
            let Some(candidate) = self.candidate(place) else { continue };
            if self.heap.header(place).expiry.has_come(now) {
                self.drop_item(&candidate);
                self.expired += 1;
                continue;
            }
            let bytes = candidate.bytes as usize;
            let asked_for = match kind {
                Kind::New => candidate.frequency >= PROMOTED,
                Kind::Main => self.worth.stays(&candidate),
            };
            let stays = asked_for && emptying.moved + bytes <= room;
            match if stays { self.main_with_room(chain, to, bytes) } else { None } {
                Some(main) => {
                    self.relocate(place, candidate.at, main, None);
                    self.bury(place);
                    let slot = candidate.at.read(&self.heap);
                    candidate.at.write(&mut self.heap, slot.with_frequency(kind.left_of(candidate.frequency)));
                    to = Some(main);
                    emptying.moved += bytes;
                }
                None => {
                    if let (Kind::New, Some(ghosts)) = (kind, &mut self.ghosts) {
                        ghosts.remember(&mut self.heap, candidate.hash);
                    }
                    self.drop_item(&candidate);
                    gone += 1;
                }
            }
        }
        self.count_evicted(self.heap.age(segment), gone);
        done
    }

    fn drop_item(&mut self, item: &Candidate) {
        self.table.remove(&mut self.heap, item.hash, item.at);
        self.bury(item.place);
    }

    /// The main segment that takes so many bytes more: this one, or one behind it; `None` if there is none free.
    fn main_with_room(&mut self, chain: usize, last: Option<u32>, bytes: usize) -> Option<u32> {
        if let Some(main) = last.filter(|main| self.heap.has_room(*main, bytes)) {
            return Some(main);
        }
        let behind = last.unwrap_or_else(|| self.in_front_of_new(chain));
        let opened = self.heap.open_main(chain, behind)?;
        if let Some(full) = last.filter(|main| !self.heap.segment(*main).sealed) {
            self.heap.seal(full);
        }
        Some(opened)
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
    fn evict_run(&mut self, run: u32, now: Time) {
        let kind = Kind::of(&self.heap, run);
        let place = Place { segment: run, offset: ITEMS_START as u32 };
        let has_expired = self.heap.header(place).expiry.has_come(now);
        let item = self.candidate(place).filter(|item| item.frequency >= kind.asked() && !has_expired);
        let Some(item) = item else {
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
    fn of(heap: &Heap, segment: u32) -> Self {
        if heap.segment(segment).main { Self::Main } else { Self::New }
    }

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

/// The oldest segment of a kind that may go, or a run, if there is one.
fn turn(heap: &Heap, kind: Kind) -> Option<u32> {
    let of = |chain: &Chain| {
        let from = if kind == Kind::New { first_new(heap, chain) } else { chain.head };
        let tail = chain.tail;
        let all = heap
            .walk(from)
            .take_while(move |segment| *segment != tail && (kind == Kind::New || heap.segment(*segment).main));
        let mut may_go = all.filter(|segment| !heap.is_pinned(*segment) && Kind::of(heap, *segment) == kind);
        may_go.next()
    };
    let oldest = heap.chains().filter_map(|(_, chain)| of(&chain));
    oldest.min_by_key(|segment| heap.segment(*segment).number)
}
