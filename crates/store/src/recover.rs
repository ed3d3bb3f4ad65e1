//! A store that finds its items again: what it does with a pool that was used before.
//!
//! ```text
//!   directory ──▶ segments, chains, free ones      at once: some bytes for each segment
//!   segments  ──▶ items ──▶ table                  in steps, while the store is in use already
//! ```
//!
//! Of two items with one key the one with the higher sequence holds, and the other one is marked. That can only be
//! where a crash came between a change and its mark, so one of the two is in a segment that was written last. Those are
//! looked at first, before anything is answered.
//!
//! After a power cut the items of such a segment end where a checksum does not fit, and nothing is appended to it any
//! more: behind the torn item there may be whole ones that nobody was told of.
//!
//! Of an item and a copy of it, which has its sequence, that of the segment with the lower number holds. A segment that
//! a crash has kept from being filled with copies is empty again then, and is free when all is found: a full pool has
//! no segment to spare.
//!
//! Until all is found the store makes no room for new items by evicting others: dropping one might uncover an older
//! one that is not found yet. Nor do new items get what the table will need for the others: as much as it had before.

use std::io;

use crate::heap::Heap;
use crate::item::{Header, parts};
use crate::kept::word;
use crate::limits::ITEMS_START;
use crate::marks::Marks;
use crate::pool::Part;
use crate::slot::Place;
use crate::standing::Standing;
use crate::store::{Store, StoreOptions};
use crate::time::{Expiry, Time};

/// What was found in a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Items that are there again; some of them may have expired.
    pub items: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
    /// Segments that were looked at.
    pub segments: u64,
    /// Segments that end with an item which did not reach the medium whole; nobody was told of it.
    pub torn: u64,
    /// Older items of a key, which a crash had left unmarked.
    pub stale: u64,
    /// Items that the table had no room for, and that were deleted.
    pub dropped: u64,
}

/// What is left to be done.
pub(crate) struct Recovery {
    /// Segments, the first one last.
    segments: Vec<u32>,
    trusted: bool,
    epoch: u64,
    found: Recovered,
    /// How often items were asked for, if the pool says so.
    pub(crate) standing: Option<Standing>,
}

impl Store {
    /// A store with the items of a part of a pool. Those that were written last are found at once, the others by
    /// [`Store::recover`].
    ///
    /// # Errors
    /// There is no memory for its table, or the pool cannot be written.
    pub fn open(mut part: Part, options: StoreOptions) -> io::Result<Self> {
        let (trusted, boot) = (part.trusted, part.boot);
        let options = StoreOptions { seed: part.seed, ..options };
        let epoch = part.kept.read(word::EPOCH);
        let clear_at = part.kept.read(word::CLEAR);
        let table_was = part.kept.read(word::TABLE);
        let closed = part.kept.read(word::CLEAN) == 1;
        part.kept.begin()?;
        let mut heap = Heap::of_pool(part)?;
        let mut segments = heap.enter_found();
        let notes = heap.take_notes();
        segments.sort_unstable_by_key(|segment| {
            let meta = heap.segment(*segment);
            (!meta.sealed, meta.number)
        });
        let unsealed = segments.iter().filter(|segment| !heap.segment(**segment).sealed).count();
        let mut store = Self::over(heap, options);
        store.clear_at = (clear_at != 0).then(|| Time::from_millis(clear_at));
        store.recovering = true;
        // It is no more than a wish: damaged, it is one that cannot be had.
        store.table_was = usize::try_from(table_was).map_or(store.heap.count(), |was| was.min(store.heap.count()));
        let standing = if closed { store.read_standing(&notes) } else { None };
        store.recovery = Some(Recovery { segments, trusted, epoch, found: Recovered::default(), standing });
        store.recover(unsealed);
        store.heap.trust(boot);
        Ok(store)
    }

    /// Whether there are items in the pool that are not found yet.
    #[must_use]
    pub fn is_recovering(&self) -> bool {
        self.recovering
    }

    /// Looks at so many segments more; what was found in all when there are no more.
    pub fn recover(&mut self, segments: usize) -> Option<Recovered> {
        let mut recovery = self.recovery.take()?;
        for _ in 0..segments {
            let Some(segment) = recovery.segments.pop() else { break };
            self.scan(segment, &mut recovery);
        }
        if recovery.segments.is_empty() {
            self.recovering = false;
            self.heap.settle();
            self.free_what_holds_nothing();
            self.heap.note_table(self.table.segments());
            return Some(recovery.found);
        }
        self.recovery = Some(recovery);
        None
    }

    /// Frees the segments that have no item any more, as those that were being filled with copies.
    fn free_what_holds_nothing(&mut self) {
        let empty = |segment: &u32| self.heap.is_items(*segment) && self.heap.segment(*segment).live == 0;
        let empty: Vec<u32> = (0..self.heap.count() as u32).filter(empty).collect();
        empty.into_iter().for_each(|segment| self.heap.close(segment));
    }

    /// Puts the items of a segment into the table.
    fn scan(&mut self, segment: u32, recovery: &mut Recovery) {
        recovery.found.segments += 1;
        let meta = *self.heap.segment(segment);
        let exact = recovery.trusted || meta.sealed;
        let end = if exact { meta.used } else { self.heap.end_of(segment) };
        let (mut offset, mut expires) = (ITEMS_START as u32, Expiry::At(Time::default()));
        let mut emptied = offset;
        self.heap.set_found(segment, offset, emptied, expires);
        while offset < end {
            let place = Place { segment, offset };
            let Some(header) = self.heap.whole_item(place, end) else {
                recovery.found.torn += u64::from(exact || !self.heap.is_blank(place));
                break;
            };
            offset += header.item_bytes() as u32;
            expires = expires.later(header.expiry);
            if place.offset < meta.emptied {
                emptied = offset;
                continue;
            }
            if !header.dead && header.sequence > recovery.epoch {
                let standing = recovery.standing.as_ref();
                let frequency = standing.map_or(0, |standing| standing.frequency(&self.heap, place));
                self.found(place, &header, frequency, &mut recovery.found);
            }
        }
        self.heap.set_found(segment, offset, emptied, expires);
        let last = meta.run == 1 && self.heap.is_last_of_its_kind(segment);
        if meta.run > 1 && self.heap.segment(segment).live == 0 {
            return self.heap.close(segment);
        }
        if !(meta.sealed || recovery.trusted && last && offset == end) {
            self.heap.seal(segment);
        }
    }

    /// An item that holds, unless there is a newer one of its key.
    fn found(&mut self, place: Place, header: &Header, frequency: u8, found: &mut Recovered) {
        let key = parts(header, self.heap.at(place)).0;
        let hash = self.hash(key);
        let bytes = header.item_bytes();
        let Some(at) = self.find(hash, key) else {
            if self.room_in_table(Time::default()).is_ok() {
                self.heap.revive(place.segment, bytes);
                self.live_bytes += bytes as u64;
                self.table.insert(&mut self.heap, hash, frequency, place);
                found.items += 1;
                found.bytes += bytes as u64;
            } else {
                self.heap.deleted(hash, place);
                found.dropped += 1;
            }
            return;
        };
        found.stale += 1;
        let slot = at.read(&self.heap);
        let other = self.heap.header(slot.place());
        let number = |place: Place| self.heap.segment(place.segment).number;
        let older = std::cmp::Reverse;
        if (other.sequence, older(number(slot.place()))) >= (header.sequence, older(number(place))) {
            self.heap.overwritten(hash, place);
            return;
        }
        if other.sequence == header.sequence {
            // A client may have put them on the copy since the store was opened.
            let marks = Marks::of(self.heap.at(slot.place()));
            marks.write(self.heap.at_mut(place, 1));
            self.heap.changed(place);
        }
        self.heap.revive(place.segment, bytes);
        self.live_bytes += bytes as u64;
        found.bytes += bytes as u64;
        found.bytes -= other.item_bytes() as u64;
        at.write(&mut self.heap, slot.with_place(place));
        self.replaced(hash, slot.place());
    }
}
