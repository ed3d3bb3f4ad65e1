//! Room for new items in a store that is full: who goes.
//!
//! | policy | who goes |
//! |---|---|
//! | [`merge`] | of the oldest segments what was asked for least, for its size |
//! | [`s3fifo`] | what nobody asks for while it is new, then what nobody asks for any more |
//! | `fifo` | the oldest segment |
//! | `random` | any segment |
//!
//! A segment that is pinned has no turn, and the open one at the end of a chain only if there is nothing else.

pub(crate) mod ghosts;
pub(crate) mod merge;
pub(crate) mod s3fifo;
pub(crate) mod worth;

use crate::heap::{Heap, NONE};
use crate::store::{Keep, Store};
use crate::time::Time;

/// What happens when the memory is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// Segments are merged into one, of the items that were asked for most.
    Merge,
    /// A tenth for what is new, and the rest for what was asked for again.
    S3Fifo,
    /// The oldest segment goes.
    Fifo,
    /// Some segment goes.
    Random,
    /// Nobody goes: a full store takes nothing.
    None,
}

impl Store {
    /// Makes some room; `None` if there are no segments of items that could go.
    pub(crate) fn evict(&mut self, now: Time) -> Option<()> {
        match self.options.eviction {
            Eviction::Merge => self.evict_by_merge(now),
            Eviction::S3Fifo => self.evict_new_or_main(now),
            Eviction::Fifo => self.evict_whole(oldest(&self.heap)),
            Eviction::Random => {
                let chance = self.random.next();
                self.evict_whole(any(&self.heap, chance))
            }
            Eviction::None => None,
        }
    }

    /// Merges the segments whose turn it is, or thins the runs.
    fn evict_by_merge(&mut self, now: Time) -> Option<()> {
        let mut segments = std::mem::take(&mut self.merging);
        let turn = merge::turn(&self.heap, &mut segments);
        let done = segments.first().map(|&first| {
            let chain = usize::from(self.heap.segment(first).chain);
            if segments.len() == 1 {
                self.evict_segment(first);
            } else if self.heap.is_run(first) {
                self.thin(&segments, now);
            } else {
                self.merge(&segments, now, Keep::Best).expect("the best of them fit");
            }
            self.heap.set_turn(chain, turn);
        });
        self.merging = segments;
        done
    }

    /// A segment goes with all its items.
    pub(crate) fn evict_segment(&mut self, segment: u32) {
        let age = self.heap.age(segment);
        let items = self.forget(segment);
        self.count_evicted(age, items as usize);
    }

    /// So many items of a segment of this age, if it is known, have made room.
    pub(crate) fn count_evicted(&mut self, age: Option<u32>, items: usize) {
        self.evicted += items as u64;
        if let Some(age) = age {
            self.ages.add(age, items as u64);
        }
    }

    fn evict_whole(&mut self, segment: Option<u32>) -> Option<()> {
        self.evict_segment(segment?);
        Some(())
    }
}

/// The oldest segment that may go.
fn oldest(heap: &Heap) -> Option<u32> {
    let firsts = heap.chains().filter_map(|(_, chain)| {
        heap.walk(chain.head).find(|segment| *segment != chain.tail && !heap.is_pinned(*segment))
    });
    firsts.min_by_key(|segment| heap.segment(*segment).number).or_else(|| an_open_one(heap))
}

/// Some segment, by chance.
fn any(heap: &Heap, chance: u64) -> Option<u32> {
    let closed = |segment: &u32| heap.is_items(*segment) && !heap.is_pinned(*segment) && !is_tail(heap, *segment);
    let start = (chance % heap.count() as u64) as u32;
    let all = (start..heap.count() as u32).chain(0..start);
    all.into_iter().find(closed).or_else(|| an_open_one(heap))
}

fn is_tail(heap: &Heap, segment: u32) -> bool {
    heap.chain(usize::from(heap.segment(segment).chain)).tail == segment
}

/// The open segment of some chain: there is nothing else.
fn an_open_one(heap: &Heap) -> Option<u32> {
    let open = heap.chains().map(|(_, chain)| chain.tail).filter(|tail| *tail != NONE && !heap.is_pinned(*tail));
    open.min_by_key(|segment| heap.segment(*segment).number)
}
