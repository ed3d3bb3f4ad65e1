//! The hash table: from a key's hash to the places where the key may lie.
//!
//! ```text
//!   bucket 5   | slot | slot | slot | slot | slot | slot | slot | more ─┐      64 bytes, a cache line
//!   extra 17   | slot | slot |      |      |      |      |      |      ◀┘      where 8 are not enough
//! ```
//!
//! Linear hashing (Litwin, 1980): there are `2^n + split` buckets. A hash belongs to the bucket that its lowest n + 1
//! bits name, or, if that one is not there yet, its lowest n. With each [`ITEMS_PER_BUCKET`] items bucket number
//! `split` is split into two, and when all are, n is one more. What a split asks for is the next bit of the hash. The
//! tag has it, so that no key is read: it is the 12 bits above those that the first table went by. A table that has
//! doubled four times tells 256 keys of a bucket apart by it.
//!
//! The slots of a chain lie without gaps: the first empty one is its end.

use crate::heap::{Heap, NONE};
use crate::limits::{BUCKET_BYTES, BUCKET_SLOTS, BYTES_PER_FIRST_BUCKET, ITEMS_PER_BUCKET, MAX_DOUBLINGS};
use crate::slot::{Place, Slot, TAG_BITS};

/// The address of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct At {
    page: u32,
    byte: usize,
}

impl At {
    fn slot(self, number: usize) -> Self {
        Self { page: self.page, byte: self.byte + number * 8 }
    }

    pub(crate) fn read(self, heap: &Heap) -> Slot {
        let bytes = &heap.page(self.page)[self.byte..self.byte + 8];
        Slot(u64::from_ne_bytes(bytes.try_into().expect("they are eight")))
    }

    pub(crate) fn write(self, heap: &mut Heap, slot: Slot) {
        heap.page_mut(self.page)[self.byte..self.byte + 8].copy_from_slice(&slot.0.to_ne_bytes());
    }
}

/// What the table wants memory for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Buckets that chains go on in: the next insertion may need one.
    Extra,
    /// Its next buckets; without, chains become longer.
    Buckets,
}

/// See the module.
pub(crate) struct Table {
    /// Segments that hold the buckets, in order, and those that hold extra ones.
    pages: Vec<u32>,
    extra_pages: Vec<u32>,
    /// The buckets of a segment are two to the power of this.
    page_bits: u32,
    /// The first table had two to the power of this many buckets.
    first: u32,
    doublings: u32,
    split: usize,
    items: usize,
    /// Extra buckets that were used before, linked by their first slots; and those that never were.
    free_extra: u32,
    fresh_extra: usize,
    /// Slots on their way from one bucket to two.
    moving: Vec<Slot>,
}

impl Table {
    /// An empty table for a heap; `None` if that has no segment for it.
    pub(crate) fn new(heap: &mut Heap) -> Option<Self> {
        let page_bits = (heap.segment_bytes() / BUCKET_BYTES).ilog2();
        let bytes = heap.count() * heap.segment_bytes();
        let first = (bytes / BYTES_PER_FIRST_BUCKET).next_power_of_two().ilog2();
        let mut table = Self {
            pages: Vec::new(),
            extra_pages: Vec::new(),
            page_bits,
            first,
            doublings: 0,
            split: 0,
            items: 0,
            free_extra: NONE,
            fresh_extra: 0,
            moving: Vec::new(),
        };
        for _ in 0..(1usize << first).div_ceil(1 << page_bits) {
            let page = heap.take()?;
            table.give(heap, Wanted::Buckets, page);
        }
        Some(table)
    }

    /// Forgets all items; its segments, but for those it began with, go back to the heap.
    pub(crate) fn clear(&mut self, heap: &mut Heap) {
        let first = (1usize << self.first).div_ceil(self.per_page());
        self.pages.drain(first..).chain(self.extra_pages.drain(..)).for_each(|page| heap.give_back(page));
        for page in &self.pages {
            heap.page_mut(*page).fill(0);
        }
        (self.doublings, self.split, self.items) = (0, 0, 0);
        (self.free_extra, self.fresh_extra) = (NONE, 0);
    }

    /// One of its segments is another one now.
    pub(crate) fn page_moved(&mut self, from: u32, to: u32) {
        let page = self.pages.iter_mut().chain(&mut self.extra_pages).find(|page| **page == from);
        *page.expect("it is the table's") = to;
    }

    /// Items that it knows.
    pub(crate) fn items(&self) -> usize {
        self.items
    }

    /// Segments that it takes.
    pub(crate) fn segments(&self) -> usize {
        self.pages.len() + self.extra_pages.len()
    }

    fn buckets(&self) -> usize {
        (1 << (self.first + self.doublings)) + self.split
    }

    /// What the item of this hash is told apart by.
    pub(crate) fn tag(&self, hash: u64) -> u64 {
        hash >> self.first & ((1 << TAG_BITS) - 1)
    }

    /// What it wants memory for before the next insertion.
    pub(crate) fn wants(&self) -> Option<Wanted> {
        if self.free_extra == NONE && self.fresh_extra == 0 {
            Some(Wanted::Extra)
        } else if self.is_crowded() && self.buckets() == self.pages.len() * self.per_page() {
            Some(Wanted::Buckets)
        } else {
            None
        }
    }

    /// Gives it a segment.
    pub(crate) fn give(&mut self, heap: &mut Heap, wanted: Wanted, page: u32) {
        heap.page_mut(page).fill(0);
        match wanted {
            Wanted::Buckets => self.pages.push(page),
            Wanted::Extra => {
                assert_eq!(self.fresh_extra, 0, "it had none left");
                self.extra_pages.push(page);
                self.fresh_extra = self.per_page();
            }
        }
    }

    /// The slot of the item that `is` knows by its place.
    #[inline]
    pub(crate) fn find(&self, heap: &Heap, hash: u64, mut is: impl FnMut(Place) -> bool) -> Option<At> {
        let tag = self.tag(hash);
        self.slots(heap, hash).find(|(_, slot)| slot.tag() == tag && is(slot.place())).map(|(at, _)| at)
    }

    /// Hints that a hash will be looked up soon.
    #[inline]
    pub(crate) fn prefetch(&self, heap: &Heap, hash: u64) {
        let At { page, byte } = self.bucket_of(hash);
        heap.prefetch_page(page, byte, BUCKET_BYTES);
    }

    /// Where the item of a hash lies, as far as its bucket says: perhaps it is another one's.
    #[inline]
    pub(crate) fn likely(&self, heap: &Heap, hash: u64) -> Option<Place> {
        let tag = self.tag(hash);
        let bucket = self.bucket_of(hash);
        let slots = (0..BUCKET_SLOTS).map(|number| bucket.slot(number).read(heap));
        slots.filter(|slot| slot.is_item()).find(|slot| slot.tag() == tag).map(Slot::place)
    }

    /// The items of a hash's chain.
    #[inline]
    fn slots(&self, heap: &Heap, hash: u64) -> impl Iterator<Item = (At, Slot)> {
        self.slots_of(heap, self.bucket_of(hash))
    }

    #[inline]
    fn slots_of(&self, heap: &Heap, mut bucket: At) -> impl Iterator<Item = (At, Slot)> {
        let mut number = 0;
        std::iter::from_fn(move || {
            if number == BUCKET_SLOTS {
                return None;
            }
            let mut at = bucket.slot(number);
            let mut slot = at.read(heap);
            if let Some(next) = slot.next() {
                bucket = self.extra(next);
                (at, number) = (bucket, 0);
                slot = at.read(heap);
            }
            number += 1;
            slot.is_item().then_some((at, slot))
        })
    }

    /// Adds an item that is not there. [`Table::wants`] has said that there is room.
    pub(crate) fn insert(&mut self, heap: &mut Heap, hash: u64, frequency: u8, place: Place) {
        let slot = Slot::item(self.tag(hash), frequency, place);
        self.append(heap, self.bucket_of(hash), slot);
        self.items += 1;
        if self.is_crowded() && self.buckets() < self.pages.len() * self.per_page() {
            self.split(heap);
        }
    }

    /// Takes an item out; the last one of its chain comes to its place.
    pub(crate) fn remove(&mut self, heap: &mut Heap, hash: u64, at: At) {
        let (mut bucket, mut before) = (self.bucket_of(hash), None);
        while let Some(next) = bucket.slot(BUCKET_SLOTS - 1).read(heap).next() {
            before = Some((bucket.slot(BUCKET_SLOTS - 1), next));
            bucket = self.extra(next);
        }
        let slots = (0..BUCKET_SLOTS).rev().map(|number| bucket.slot(number));
        let last = slots.clone().find(|slot| slot.read(heap).is_item()).expect("the item is in its chain");
        at.write(heap, last.read(heap));
        last.write(heap, Slot::EMPTY);
        if let (true, Some((leads_here, number))) = (last == bucket, before) {
            leads_here.write(heap, Slot::EMPTY);
            self.free(heap, number);
        }
        self.items -= 1;
    }

    /// Shows the slots of all items.
    pub(crate) fn each(&self, heap: &Heap, mut see: impl FnMut(Slot)) {
        let buckets = (0..self.buckets()).map(|number| self.bucket(number));
        buckets.flat_map(|bucket| self.slots_of(heap, bucket)).for_each(|(_, slot)| see(slot));
    }

    /// Whether there are more items than buckets are for.
    fn is_crowded(&self) -> bool {
        self.items > self.buckets() * ITEMS_PER_BUCKET && self.doublings < MAX_DOUBLINGS
    }

    /// The places of the items in a hash's bucket.
    pub(crate) fn places(&self, heap: &Heap, hash: u64) -> impl Iterator<Item = Place> {
        self.slots(heap, hash).map(|(_, slot)| slot.place())
    }

    /// How many of its lowest bits the hashes in this one's bucket have in common.
    pub(crate) fn bits(&self, hash: u64) -> u32 {
        let bits = self.first + self.doublings;
        let is_split = hash as usize & ((1 << bits) - 1) < self.split;
        bits + u32::from(is_split)
    }

    fn bucket_of(&self, hash: u64) -> At {
        let low = |bits: u32| hash as usize & ((1 << bits) - 1);
        let bits = self.first + self.doublings;
        let wide = low(bits + 1);
        self.bucket(if wide < self.buckets() { wide } else { low(bits) })
    }

    fn bucket(&self, number: usize) -> At {
        let (page, byte) = self.paged(number);
        At { page: self.pages[page], byte }
    }

    fn extra(&self, number: u32) -> At {
        let (page, byte) = self.paged(number as usize);
        At { page: self.extra_pages[page], byte }
    }

    /// Which of the segments a bucket is in, and where there.
    fn paged(&self, number: usize) -> (usize, usize) {
        (number >> self.page_bits, (number & (self.per_page() - 1)) * BUCKET_BYTES)
    }

    fn per_page(&self) -> usize {
        1 << self.page_bits
    }

    /// Puts a slot at the end of a chain.
    fn append(&mut self, heap: &mut Heap, mut bucket: At, slot: Slot) {
        while let Some(next) = bucket.slot(BUCKET_SLOTS - 1).read(heap).next() {
            bucket = self.extra(next);
        }
        let mut slots = (0..BUCKET_SLOTS).map(|number| bucket.slot(number));
        if let Some(empty) = slots.find(|slot| slot.read(heap) == Slot::EMPTY) {
            return empty.write(heap, slot);
        }
        let number = self.take_extra(heap);
        let (last, more) = (bucket.slot(BUCKET_SLOTS - 1), self.extra(number));
        more.write(heap, last.read(heap));
        more.slot(1).write(heap, slot);
        last.write(heap, Slot::more(number));
    }

    /// Splits the next bucket in two.
    fn split(&mut self, heap: &mut Heap) {
        let old = self.bucket(self.split);
        let mut moving = std::mem::take(&mut self.moving);
        self.empty(heap, old, &mut moving);
        let new = self.bucket(self.buckets());
        for slot in moving.drain(..) {
            let upper = slot.tag() >> self.doublings & 1 == 1;
            self.append(heap, if upper { new } else { old }, slot);
        }
        self.moving = moving;
        self.split += 1;
        if self.split == 1 << (self.first + self.doublings) {
            self.doublings += 1;
            self.split = 0;
        }
    }

    /// Moves all items of a chain to a list, and frees what it has beside its bucket.
    fn empty(&mut self, heap: &mut Heap, first: At, to: &mut Vec<Slot>) {
        let mut bucket = Some((first, None));
        while let Some((at, number)) = bucket.take() {
            for slot in (0..BUCKET_SLOTS).map(|number| at.slot(number)) {
                let read = slot.read(heap);
                slot.write(heap, Slot::EMPTY);
                if read.is_item() {
                    to.push(read);
                }
                bucket = read.next().map(|next| (self.extra(next), Some(next)));
            }
            if let Some(number) = number {
                self.free(heap, number);
            }
        }
    }

    fn take_extra(&mut self, heap: &mut Heap) -> u32 {
        if self.free_extra != NONE {
            let number = self.free_extra;
            let link = self.extra(number);
            self.free_extra = link.read(heap).0 as u32;
            link.write(heap, Slot::EMPTY);
            return number;
        }
        assert!(self.fresh_extra > 0, "room was looked for before");
        self.fresh_extra -= 1;
        (self.extra_pages.len() * self.per_page() - self.fresh_extra - 1) as u32
    }

    /// Gives back an extra bucket, which is empty.
    fn free(&mut self, heap: &mut Heap, number: u32) {
        self.extra(number).write(heap, Slot(u64::from(self.free_extra)));
        self.free_extra = number;
    }
}
