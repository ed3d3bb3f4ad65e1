//! Room for items larger than a segment: runs of neighbouring segments.
//!
//! ```text
//!   | s . s s . T . s . . s . . |      5 are free, and a run of 4 is wanted:
//!   | s s s s T s s[. . . .]. . |      the window with the least in it, of which all is moved to the rest
//! ```
//!
//! Enough segments are made free as for any other item, by expiry, eviction or compaction. Where they are not
//! neighbours, a window is emptied: segments are moved as they are, and so are those of the table. Another run in the
//! window is moved if there are neighbours for it elsewhere, so of all windows the one is taken that has fewest bytes
//! of runs, and of those the one with fewest bytes to move. If there are none, more is evicted, whose turn it is; when
//! that has not helped a few times, the run in the window is.
//!
//! So fragmentation alone never refuses an item to a store that evicts, unless much of it is pinned. One that does not
//! evict may have the room only in pieces between runs, and says that it is full.

use std::ops::Range;

use crate::evict::Eviction;
use crate::heap::Use;
use crate::item::parts;
use crate::limits::{ITEMS_START, MERGED, WINDOW_TURNS};
use crate::slot::Place;
use crate::store::Store;
use crate::time::Time;

/// What it costs to empty a window, in bytes: those of runs first that can only be moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    pinned_runs: usize,
    runs: usize,
    moved: usize,
}

impl Store {
    /// Makes sure of free neighbours, beside those segments that are reserved: the first of them.
    pub(crate) fn room_for_run(&mut self, segments: usize, now: Time) -> Option<u32> {
        self.spare_segments(segments, now)?;
        for turns in 0..=WINDOW_TURNS {
            if let Some(first) = self.heap.room_for(segments) {
                return Some(first);
            }
            let first = self.cheapest_window(segments as u32)?;
            let runs_go = self.options.eviction != Eviction::None && turns == WINDOW_TURNS;
            if self.empty(first..first + segments as u32, runs_go) {
                return Some(first);
            }
            if self.options.eviction == Eviction::None {
                break;
            }
            let room = self.heap.free_segments() + MERGED;
            while self.heap.free_segments() < room {
                self.evict(now)?;
            }
        }
        None
    }

    /// The window of so many segments with the least in it.
    fn cheapest_window(&self, segments: u32) -> Option<u32> {
        let mut cost = Cost::default();
        let mut cheapest: Option<(Cost, u32)> = None;
        for last in 0..self.heap.count() as u32 {
            if let Some(more) = self.cost(last) {
                cost.pinned_runs += more.pinned_runs;
                cost.runs += more.runs;
                cost.moved += more.moved;
            }
            let Some(first) = (last + 1).checked_sub(segments) else { continue };
            if cheapest.is_none_or(|(least, _)| cost <= least) {
                cheapest = Some((cost, first));
            }
            // What begins further left is out of the window with its last segment.
            let head = if let Use::Follower(head) = self.heap.segment(first).is { head } else { first };
            if head + self.heap.segment(head).run == first + 1 {
                let less = self.cost(head).expect("it is no follower");
                cost.pinned_runs -= less.pinned_runs;
                cost.runs -= less.runs;
                cost.moved -= less.moved;
            }
        }
        cheapest.map(|(_, first)| first)
    }

    /// What moving a segment, or a run, costs; `None` of one that goes with its head.
    fn cost(&self, segment: u32) -> Option<Cost> {
        let meta = self.heap.segment(segment);
        let nothing = Cost::default();
        match meta.is {
            Use::Free => Some(nothing),
            Use::Table => Some(Cost { moved: self.heap.segment_bytes(), ..nothing }),
            Use::Items | Use::Detached => Some(match (meta.run > 1, meta.pins > 0) {
                (true, true) => Cost { pinned_runs: meta.used as usize, ..nothing },
                (true, false) => Cost { runs: meta.used as usize, ..nothing },
                (false, _) => Cost { moved: meta.used as usize, ..nothing },
            }),
            Use::Follower(_) => None,
        }
    }

    /// Moves all there is in a window to elsewhere; runs that cannot be moved are evicted, or it is given up and the
    /// window is not empty. There are as many free segments as it has.
    fn empty(&mut self, window: Range<u32>, runs_go: bool) -> bool {
        self.heap.set_fence(window.clone());
        let first = match self.heap.segment(window.start).is {
            Use::Follower(head) => head,
            _ => window.start,
        };
        // Runs first: they need neighbours, of which others would leave fewer.
        let emptied = (first..window.end).all(|segment| self.make_way(segment, Some(runs_go)))
            && window.clone().all(|segment| self.make_way(segment, None));
        self.heap.set_fence(0..0);
        emptied
    }

    /// Moves a segment to elsewhere. With a word on whether runs may be evicted, that of a run, else any other.
    fn make_way(&mut self, segment: u32, runs_go: Option<bool>) -> bool {
        let meta = *self.heap.segment(segment);
        if (meta.run > 1) != runs_go.is_some() {
            return true;
        }
        match meta.is {
            Use::Free => true,
            Use::Follower(_) => unreachable!("its head went first"),
            Use::Table => {
                let to = self.heap.move_taken(segment).expect("there are as many as the window has");
                if !self.ghosts.as_mut().is_some_and(|ghosts| ghosts.page_moved(segment, to)) {
                    self.table.page_moved(segment, to);
                }
                true
            }
            Use::Items | Use::Detached => match self.heap.room_for(meta.run as usize) {
                Some(to) => {
                    self.move_segment(segment, to);
                    true
                }
                None if runs_go == Some(true) && meta.pins == 0 => {
                    self.evict_segment(segment);
                    true
                }
                None => false,
            },
        }
    }

    /// Moves a segment of items, or a run, to free neighbours.
    fn move_segment(&mut self, from: u32, to: u32) {
        self.heap.move_items(from, to);
        if self.heap.is_pinned(to) {
            self.pins.moved(from, to);
        }
        let mut offset = ITEMS_START as u32;
        while offset < self.heap.segment(to).used {
            let place = Place { segment: to, offset };
            let (item, header) = (self.heap.at(place), self.heap.header(place));
            let hash = self.hash(parts(&header, item).0);
            let old = Place { segment: from, offset };
            if let Some(at) = self.table.find(&self.heap, hash, |other| other == old) {
                let slot = at.read(&self.heap);
                at.write(&mut self.heap, slot.with_place(place));
            }
            offset += header.item_bytes() as u32;
        }
    }

    /// Of some runs of a chain lets those go that nobody has asked for. If all stay, their frequencies have become
    /// less: it is not for ever.
    pub(crate) fn thin(&mut self, runs: &[u32], now: Time) {
        let mut items = std::mem::take(&mut self.candidates);
        items.clear();
        for &run in runs {
            self.candidates_of(run, now, &mut items);
        }
        let before = items.len();
        items.retain(|item| item.class > 0);
        self.count_evicted(self.heap.age(runs[0]), before - items.len());
        let mut behind = self.heap.segment(runs[0]).previous;
        for &run in runs {
            let Some(item) = items.iter().find(|item| item.place.segment == run) else {
                self.forget(run);
                continue;
            };
            self.heap.move_behind(run, behind);
            behind = run;
            self.halve(item.place);
        }
        self.candidates = items;
    }

    /// Halves the frequency of an item that is there.
    fn halve(&mut self, place: Place) {
        let item = self.heap.at(place);
        let hash = self.hash(parts(&self.heap.header(place), item).0);
        let at = self.table.find(&self.heap, hash, |other| other == place).expect("it is there");
        let slot = at.read(&self.heap);
        at.write(&mut self.heap, slot.with_frequency(slot.frequency() / 2));
    }
}
