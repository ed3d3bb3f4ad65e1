//! The store: what its owner calls.

use std::{fmt, io};

use machine::region::{Arena, Region};
use twox_hash::XxHash3_64;

use crate::ages::Ages;
use crate::chains;
use crate::evict::Eviction;
use crate::evict::ghosts::Ghosts;
use crate::evict::merge::{self, Candidate};
use crate::evict::s3fifo::Emptying;
use crate::evict::worth::Worth;
use crate::heap::{Heap, NONE};
use crate::item::{Header, Item, Layout, parts};
use crate::limits::{
    AHEAD_SHARE, EXPIRY_STEP_BYTES, ITEM_SHARE, ITEMS_START, MAX_ITEM_BYTES, MAX_KEY_BYTES, MAX_SEGMENT_BYTES,
    MAX_SEGMENTS, MAX_VALUE_BYTES, MIN_SEGMENT_BYTES, MIN_SEGMENTS, PREFETCHED_BYTES, PROMOTED, RESERVED_SEGMENTS,
    SEGMENTS_WANTED,
};
use crate::marks::Marks;
use crate::pins::Pins;
use crate::random::Random;
use crate::recover::Recovery;
use crate::slot::Place;
use crate::table::{At, Table, Wanted};
use crate::time::{Expiry, Time};

/// How a store is made.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Of the hash of keys: not known to those who choose keys.
    pub seed: u64,
    /// Which old items make room for new ones.
    pub eviction: Eviction,
}

/// What is to be stored under a key.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    /// Its bytes, one part behind the other.
    pub parts: &'a [&'a [u8]],
    /// The client's flags.
    pub flags: u32,
    /// When it expires.
    pub expiry: Expiry,
}

/// The item is larger than the store takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an item of {bytes} bytes is larger than the {most} that the store takes")]
pub struct TooLarge {
    /// With its header.
    pub bytes: usize,
    /// With its header.
    pub most: usize,
}

/// An item was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// It never fits.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The store is full and does not evict, or too much of it is reserved or lent.
    #[error("the store is full")]
    Full,
}

/// What there is and what was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Items that the table knows; those that have expired are in it until their segment is given back.
    pub items: u64,
    /// Bytes of those items, headers included.
    pub live_bytes: u64,
    /// Bytes of the segments and the table.
    pub bytes: u64,
    /// Bytes of the table and of what eviction remembers, of those.
    pub table_bytes: u64,
    /// Bytes of segments that have nothing, of those.
    pub free_bytes: u64,
    /// Items that made room for others.
    pub evicted: u64,
    /// Items that were found to have expired.
    pub expired: u64,
    /// How old those were that made room, as far as that is known.
    pub evicted_ages: Ages,
}

/// Where an item is put.
#[derive(Clone, Copy)]
pub(crate) enum Room {
    /// At the end of the open segment of its chain.
    Tail(u32),
    /// Into free neighbours, from this one on, as a run of that chain.
    Run { chain: usize, head: u32, segments: usize },
}

/// Which items of segments stay when they are merged.
#[derive(Clone, Copy)]
pub(crate) enum Keep {
    /// Those that were asked for most, as many as fit.
    Best,
    /// All.
    All,
}

/// See the [crate].
pub struct Store {
    pub(crate) heap: Heap,
    pub(crate) table: Table,
    pub(crate) random: Random,
    pub(crate) options: StoreOptions,
    pub(crate) evicted: u64,
    pub(crate) ages: Ages,
    pub(crate) expired: u64,
    pub(crate) live_bytes: u64,
    pub(crate) pins: Pins,
    pub(crate) reserved_bytes: usize,
    /// Kept for their room.
    pub(crate) merging: Vec<u32>,
    pub(crate) candidates: Vec<Candidate>,
    /// S3-FIFO: with fewer free segments than this room is made, a part with each item. What is being emptied, who of
    /// it stays, and bytes that are to be emptied for those that were stored since the last step.
    pub(crate) ahead: usize,
    pub(crate) emptying: Option<Emptying>,
    pub(crate) worth: Worth,
    pub(crate) owed: usize,
    /// The segment whose expired items go, by its number, and how far they have.
    pub(crate) expiring: Option<(u32, u64, u32)>,
    /// What went early, if the policy wants to know.
    pub(crate) ghosts: Option<Ghosts>,
    /// Of a pool that was used before: what is not found yet.
    pub(crate) recovery: Option<Recovery>,
    pub(crate) recovering: bool,
    /// Segments that the table had in the process before.
    pub(crate) table_was: usize,
    pub(crate) clear_at: Option<Time>,
}

impl Store {
    /// An empty store in a region, which it takes whole.
    ///
    /// # Errors
    /// `InvalidInput` if the region is smaller than the smallest store or larger than the largest.
    pub fn new(region: Region, options: StoreOptions) -> io::Result<Self> {
        let segment_bytes = segment_bytes(region.len());
        let segments = region.len() / segment_bytes;
        if !(MIN_SEGMENTS..=MAX_SEGMENTS).contains(&segments) {
            let (least, most) = (MIN_SEGMENTS * MIN_SEGMENT_BYTES, MAX_SEGMENTS * MAX_SEGMENT_BYTES);
            let why = format!("a store of {} bytes: there are those of {least} to {most}", region.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        Ok(Self::over(Heap::new(Arena::new(region), segment_bytes), options))
    }

    /// A store with an empty table.
    pub(crate) fn over(mut heap: Heap, options: StoreOptions) -> Self {
        let table = Table::new(&mut heap).expect("the first table is a small part");
        let remembers = options.eviction == Eviction::S3Fifo;
        let ghosts = remembers.then(|| Ghosts::new(&mut heap).expect("it is a small part, too"));
        let ahead = 1 + RESERVED_SEGMENTS + heap.count().div_ceil(AHEAD_SHARE);
        Self {
            ahead: if remembers { ahead } else { 0 },
            emptying: None,
            worth: Worth::new(),
            owed: 0,
            expiring: None,
            heap,
            table,
            random: Random::new(options.seed),
            options,
            evicted: 0,
            ages: Ages::default(),
            expired: 0,
            live_bytes: 0,
            pins: Pins::default(),
            reserved_bytes: 0,
            merging: Vec::new(),
            candidates: Vec::new(),
            ghosts,
            recovery: None,
            recovering: false,
            table_was: 0,
            clear_at: None,
        }
    }

    /// The hash of a key, which all calls want with it.
    #[must_use]
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        XxHash3_64::oneshot_with_seed(self.options.seed, key)
    }

    /// Bytes of a segment.
    #[must_use]
    pub fn segment_bytes(&self) -> usize {
        self.heap.segment_bytes()
    }

    /// Bytes of the largest item, header and key included.
    #[must_use]
    pub fn largest_item(&self) -> usize {
        let bytes = self.heap.count() / ITEM_SHARE * self.heap.segment_bytes() - ITEMS_START;
        bytes.min(MAX_ITEM_BYTES)
    }

    /// Hints that the items of these hashes will be looked up soon, so that they are fetched all at once, and while
    /// others are carried out. It changes nothing but the time that takes.
    #[inline]
    pub fn prefetch(&self, hashes: &[u64]) {
        hashes.iter().for_each(|hash| self.table.prefetch(&self.heap, *hash));
        let places = hashes.iter().filter_map(|hash| self.table.likely(&self.heap, *hash));
        places.for_each(|place| self.heap.prefetch(place, PREFETCHED_BYTES));
    }

    /// Looks an item up for a client who asked for it, which counts.
    #[inline]
    pub fn get(&mut self, hash: u64, key: &[u8], now: Time) -> Option<Item<'_>> {
        let (at, place, header) = self.live(hash, key, now)?;
        self.count_request(at);
        Some(self.item(place, &header))
    }

    /// Looks an item up for another reason.
    #[must_use]
    pub fn peek(&self, hash: u64, key: &[u8], now: Time) -> Option<Item<'_>> {
        let (_, place, header) = self.live(hash, key, now)?;
        Some(self.item(place, &header))
    }

    /// As [`Store::get`], for a client who will know the item's CAS, and may ask for a change of just this one.
    pub fn get_with_cas(&mut self, hash: u64, key: &[u8], now: Time) -> Option<Item<'_>> {
        let (at, place, header) = self.live(hash, key, now)?;
        self.count_request(at);
        Some(self.told_item(place, &header))
    }

    /// As [`Store::peek`], for a client who will know the item's CAS.
    pub fn peek_with_cas(&mut self, hash: u64, key: &[u8], now: Time) -> Option<Item<'_>> {
        let (_, place, header) = self.live(hash, key, now)?;
        Some(self.told_item(place, &header))
    }

    /// Puts marks on an item, in place of those it has. That is no change of it. Whether it was there.
    pub fn mark(&mut self, hash: u64, key: &[u8], marks: Marks, now: Time) -> bool {
        let Some((_, place, _)) = self.live(hash, key, now) else { return false };
        marks.write(self.heap.at_mut(place, 1));
        self.heap.changed(place);
        true
    }

    /// Stores an item, in the place of one of this key if there is one. Its new CAS.
    ///
    /// # Errors
    /// [`NoRoom`]. The old item is still there then.
    ///
    /// # Panics
    /// If the key is longer than [`MAX_KEY_BYTES`].
    pub fn put(&mut self, hash: u64, key: &[u8], value: Value<'_>, now: Time) -> Result<u64, NoRoom> {
        assert!(key.len() <= MAX_KEY_BYTES, "a key of {} bytes", key.len());
        let value_bytes = value.parts.iter().map(|part| part.len()).sum();
        let Value { flags, expiry, .. } = value;
        let mut header = Header { flags, expiry, ..Header::plain(self.heap.layout(), key.len(), value_bytes) };
        let bytes = header.item_bytes();
        let most = self.largest_item();
        if bytes > most || value_bytes > MAX_VALUE_BYTES {
            return Err(TooLarge { bytes, most }.into());
        }
        let room = self.room(chains::of(expiry, now), bytes, now)?;
        let segment = self.open_room(room);
        let place = self.heap.append(segment, bytes, expiry).expect("there is room");
        header.sequence = self.heap.next_sequence();
        let to = self.heap.at_mut(place, bytes);
        let mut at = header.write(to);
        for part in std::iter::once(&key).chain(value.parts) {
            to[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        self.live_bytes += bytes as u64;
        self.heap.written(place, bytes);
        // After the room was made: making it may have evicted the old one.
        self.show(hash, place);
        Ok(self.heap.cas_of(place, &header))
    }

    /// Takes an item out; whether it was there.
    pub fn remove(&mut self, hash: u64, key: &[u8], now: Time) -> bool {
        let Some(at) = self.find(hash, key) else { return false };
        let place = at.read(&self.heap).place();
        let was_there = !self.heap.header(place).expiry.has_come(now);
        self.table.remove(&mut self.heap, hash, at);
        self.heap.deleted(hash, place);
        self.let_go(place);
        was_there
    }

    /// Gives an item another expiry, which is no change of it: its CAS stays. Whether it was there.
    ///
    /// # Errors
    /// [`NoRoom`]: what expires at another time lies elsewhere, and there is no room, or none for an item that large
    /// with its expiry and CAS. It is as it was then.
    pub fn touch(&mut self, hash: u64, key: &[u8], expiry: Expiry, now: Time) -> Result<bool, NoRoom> {
        let Some((_, _, old)) = self.live(hash, key, now) else { return Ok(false) };
        // A client that was told the CAS may have 8 bytes more from now on.
        let bytes = Header { expiry: Expiry::At(now), cas: Some(0), ..old }.item_bytes();
        let most = self.largest_item();
        if bytes > most {
            return Err(TooLarge { bytes, most }.into());
        }
        // Making room may move the item, or evict it.
        let room = self.room(chains::of(expiry, now), bytes, now)?;
        let Some((at, place, _)) = self.live(hash, key, now) else { return Ok(false) };
        let segment = self.open_room(room);
        self.relocate(place, at, segment, Some(expiry));
        self.replaced(hash, place);
        Ok(true)
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.set_clear_at(None);
        self.heap.deleted_all();
        (self.recovery, self.recovering) = (None, false);
        let chains: Vec<u32> = self.heap.chains().map(|(_, chain)| chain.head).collect();
        for head in chains {
            let segments: Vec<u32> = self.chain(head).collect();
            segments.into_iter().for_each(|segment| self.heap.close(segment));
        }
        self.table.clear(&mut self.heap);
        self.heap.note_table(self.table.segments());
        self.live_bytes = 0;
    }

    /// When everything is to be taken out, if at all: [`Store::expire`] does it then.
    #[must_use]
    pub fn clear_at(&self) -> Option<Time> {
        self.clear_at
    }

    /// Sets that. A pool keeps it.
    pub fn set_clear_at(&mut self, at: Option<Time>) {
        if self.clear_at != at {
            self.clear_at = at;
            self.heap.note_clear_at(at);
        }
    }

    /// Gives back what has expired: to be called about once a second. How many items those were.
    pub fn expire(&mut self, now: Time) -> u64 {
        let before = self.expired;
        self.look_at(now);
        while self.expire_some(now) {}
        self.expired - before
    }

    /// What is due at this time but for items that have expired, which [`Store::expire_some`] gives back: to be called
    /// about once a second.
    pub fn look_at(&mut self, now: Time) {
        self.heap.note_time(now);
        if self.clear_at.is_some_and(|time| time <= now) {
            self.clear();
        }
    }

    /// Gives back some of what has expired, at most [`EXPIRY_STEP_BYTES`] and an item; whether there is more.
    pub fn expire_some(&mut self, now: Time) -> bool {
        if self.is_recovering() {
            return false;
        }
        let begun = self.expiring.take().filter(|(segment, number, _)| {
            self.heap.is_items(*segment) && self.heap.segment(*segment).number == *number
        });
        let has_come = |segment: &u32| self.heap.segment(*segment).expires.has_come(now);
        let first = || self.heap.chains().map(|(_, chain)| chain.head).find(has_come);
        let next = begun.or_else(|| first().map(|first| (first, self.heap.segment(first).number, ITEMS_START as u32)));
        let Some((segment, number, from)) = next else { return false };
        match self.forget_some(segment, from, EXPIRY_STEP_BYTES) {
            (count, Some(to)) => {
                self.expired += count;
                self.expiring = Some((segment, number, to));
            }
            (count, None) => self.expired += count,
        }
        true
    }

    /// Makes durable what was done, in a pool that survives a power cut. To be called before anybody is told of it.
    ///
    /// # Errors
    /// The pool's medium failed, now or before, or a part of its file was lost: nothing that was done or read since the
    /// last call is to be told, and the store is of no more use.
    pub fn sync(&mut self) -> io::Result<()> {
        self.heap.commit()
    }

    /// Times that [`Store::sync`] had something to do.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.heap.kept.as_ref().map_or(0, |kept| kept.commits())
    }

    /// Ends the use of a pool: all of it is made durable, and noted to be whole. Nothing is changed in it after that.
    /// What eviction knows of its items is written beside them, for the next process.
    ///
    /// # Errors
    /// Those of [`Store::sync`].
    pub fn close(&mut self, now: Time) -> io::Result<()> {
        self.sync()?;
        self.note_standing();
        self.heap.close_pool(now)
    }

    /// What there is and what was done.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let bytes = |segments: usize| (segments * self.heap.segment_bytes()) as u64;
        Figures {
            items: self.table.items() as u64,
            live_bytes: self.live_bytes,
            bytes: bytes(self.heap.count()),
            table_bytes: bytes(self.pages()),
            free_bytes: bytes(self.heap.free_segments()),
            evicted: self.evicted,
            evicted_ages: self.ages,
            expired: self.expired,
        }
    }
}

/// How it is done.
impl Store {
    /// The slot of a key.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<At> {
        self.table.find(&self.heap, hash, |place| {
            let item = self.heap.at(place);
            let header = self.heap.header(place);
            header.key_bytes == key.len() && parts(&header, item).0 == key
        })
    }

    /// Makes the item at a place the one of its key.
    pub(crate) fn show(&mut self, hash: u64, place: Place) {
        match self.find(hash, parts(&self.heap.header(place), self.heap.at(place)).0) {
            Some(at) => {
                let slot = at.read(&self.heap);
                at.write(&mut self.heap, slot.with_place(place));
                self.replaced(hash, slot.place());
            }
            None => {
                let again = self.ghosts.as_mut().is_some_and(|ghosts| ghosts.recall(&mut self.heap, hash));
                self.table.insert(&mut self.heap, hash, if again { PROMOTED } else { 0 }, place);
            }
        }
    }

    /// An item that has not expired.
    #[inline]
    pub(crate) fn live(&self, hash: u64, key: &[u8], now: Time) -> Option<(At, Place, Header)> {
        let at = self.find(hash, key)?;
        let place = at.read(&self.heap).place();
        let header = self.heap.header(place);
        (!header.expiry.has_come(now)).then_some((at, place, header))
    }

    pub(crate) fn item(&self, place: Place, header: &Header) -> Item<'_> {
        let (key, value) = parts(header, self.heap.at(place));
        let cas = self.heap.cas_of(place, header);
        Item { key, value, flags: header.flags, expiry: header.expiry, cas, marks: Marks::of(self.heap.at(place)) }
    }

    /// The item, whose CAS is told from now on.
    fn told_item(&mut self, place: Place, header: &Header) -> Item<'_> {
        if self.heap.layout() == Layout::Volatile {
            Header::tell_cas(self.heap.at_mut(place, 1));
        }
        self.item(place, header)
    }

    /// Exact for the first 16 requests; then each counts with a chance that falls as they become more.
    #[inline]
    fn count_request(&mut self, at: At) {
        let slot = at.read(&self.heap);
        let frequency = slot.frequency();
        let counts = frequency < 16 || frequency < u8::MAX && self.random.next().is_multiple_of(u64::from(frequency));
        if counts {
            at.write(&mut self.heap, slot.with_frequency(frequency + 1));
        }
    }

    /// Makes sure that there is room for an item in a chain, and for its entry in the table.
    pub(crate) fn room(&mut self, chain: usize, bytes: usize, now: Time) -> Result<Room, NoRoom> {
        self.work_ahead(bytes, now);
        self.room_in_table(now)?;
        let segments = self.heap.segments_for(bytes);
        if segments > 1 {
            let head = self.room_for_run(segments, now).ok_or(NoRoom::Full)?;
            return Ok(Room::Run { chain, head, segments });
        }
        let tail = self.heap.chain(chain).tail;
        if tail == NONE || self.heap.segment(tail).main || !self.heap.has_room(tail, bytes) {
            self.spare_segments(1, now).ok_or(NoRoom::Full)?;
            // It may have been the chain's turn, with its tail.
            let tail = self.heap.chain(chain).tail;
            return Ok(Room::Tail(self.heap.open(chain, tail).expect("there is a spare one")));
        }
        Ok(Room::Tail(tail))
    }

    /// Makes sure that there is room for an entry in the table.
    pub(crate) fn room_in_table(&mut self, now: Time) -> Result<(), NoRoom> {
        while let Some(wanted) = self.table.wants() {
            match (self.spare_for_table(wanted, now), wanted) {
                (Some(()), _) => {
                    let page = self.heap.take().expect("there is a spare one");
                    self.table.give(&mut self.heap, wanted, page);
                    if !self.is_recovering() {
                        self.heap.note_table(self.table.segments());
                    }
                }
                (None, Wanted::Extra) => return Err(NoRoom::Full),
                (None, Wanted::Buckets) => break,
            }
        }
        Ok(())
    }

    /// Makes sure of a free segment for the table. While items are still to be found it takes the reserved one as well:
    /// in a full pool a crash may have left no other, as items were being moved, and what the table has no room for is
    /// lost. Longer chains come before that.
    fn spare_for_table(&mut self, wanted: Wanted, now: Time) -> Option<()> {
        if self.is_recovering() {
            let beside = usize::from(wanted == Wanted::Buckets);
            return (self.heap.free_segments() > beside).then_some(());
        }
        self.spare_segments(1, now)
    }

    /// The segment, or the head of the run, that has the room.
    pub(crate) fn open_room(&mut self, room: Room) -> u32 {
        match room {
            Room::Tail(segment) => segment,
            Room::Run { chain, head, segments } => {
                self.heap.open_run(head, segments, chain);
                head
            }
        }
    }

    /// Makes sure of so many free segments beside those that are reserved, and beside those that the table will want
    /// for items that are not found yet.
    pub(crate) fn spare_segments(&mut self, segments: usize, now: Time) -> Option<()> {
        let wanted = segments + RESERVED_SEGMENTS;
        if self.is_recovering() {
            let for_table = self.table_was.saturating_sub(self.table.segments());
            return (self.heap.free_segments() >= wanted + for_table).then_some(());
        }
        if self.heap.free_segments() < wanted {
            self.look_at(now);
        }
        while self.heap.free_segments() < wanted && self.expire_some(now) {}
        while self.heap.free_segments() < wanted {
            if self.options.eviction != Eviction::None {
                self.evict(now)?;
            } else {
                self.compact(now)?;
            }
        }
        Some(())
    }

    /// Makes one segment of two neighbours, of which overwrites and deletes have left so little that all of it fits;
    /// `None` if there are none.
    fn compact(&mut self, now: Time) -> Option<()> {
        let live = |segment: u32| self.heap.segment(segment).live as usize;
        let found = self.heap.chains().find_map(|(_, chain)| {
            let mut closed = self.chain(chain.head).filter(|one| {
                let meta = self.heap.segment(*one);
                *one != chain.tail && meta.run == 1 && meta.pins == 0
            });
            let mut first = closed.next()?;
            closed.find_map(|second| {
                let first = std::mem::replace(&mut first, second);
                (live(first) + live(second) <= self.heap.capacity()).then_some([first, second])
            })
        });
        self.merge(&found?, now, Keep::All)
    }

    /// Makes one segment of several neighbours; `None` if all are to be kept and do not fit.
    pub(crate) fn merge(&mut self, segments: &[u32], now: Time, keep: Keep) -> Option<()> {
        let mut kept = std::mem::take(&mut self.candidates);
        kept.clear();
        for &segment in segments {
            self.candidates_of(segment, now, &mut kept);
        }
        let before = kept.len();
        // Those whose CAS was told are larger where they come to.
        let fit = kept.iter().map(|one| one.bytes as usize).sum::<usize>() <= self.heap.capacity();
        match (keep, self.heap.free_segments()) {
            // What is reserved can be used up after a crash in the middle of this.
            (Keep::Best, 0) => kept.clear(),
            // Those nobody has asked for are left out in any case.
            (Keep::Best, _) => merge::choose(&mut kept, self.heap.capacity()),
            (Keep::All, 1..) if fit => {}
            (Keep::All, _) => {
                self.candidates = kept;
                return None;
            }
        }
        self.count_evicted(self.heap.age(segments[0]), before - kept.len());
        let first = segments[0];
        let chain = usize::from(self.heap.segment(first).chain);
        // What came of the last merge may have room left.
        let mut merged = self.heap.segment(first).previous;
        for candidate in &kept {
            if merged == NONE || !self.heap.has_room(merged, candidate.bytes as usize) {
                let full = merged;
                merged = self.heap.open(chain, full).expect("one is reserved");
                if full != NONE && !self.heap.segment(full).sealed {
                    self.heap.seal(full);
                }
            }
            self.relocate(candidate.place, candidate.at, merged, None);
            self.bury(candidate.place);
            let slot = candidate.at.read(&self.heap);
            candidate.at.write(&mut self.heap, slot.with_frequency(slot.frequency() / 2));
        }
        self.candidates = kept;
        for &segment in segments {
            // What was not moved.
            self.forget(segment);
        }
        Some(())
    }

    /// Lists the items of a segment that are there.
    pub(crate) fn candidates_of(&mut self, segment: u32, now: Time, out: &mut Vec<Candidate>) {
        let mut offset = ITEMS_START as u32;
        while offset < self.heap.segment(segment).used {
            let place = Place { segment, offset };
            let header = self.heap.header(place);
            offset += header.item_bytes() as u32;
            let candidate = self.candidate(place);
            if candidate.is_some() && header.expiry.has_come(now) {
                // It goes with its segment: nothing is taken out of the table while places in it are noted.
                self.expired += 1;
            } else {
                out.extend(candidate);
            }
        }
    }

    /// The item at a place, if it is there.
    pub(crate) fn candidate(&self, place: Place) -> Option<Candidate> {
        let (item, header) = (self.heap.at(place), self.heap.header(place));
        let hash = self.hash(parts(&header, item).0);
        let at = self.table.find(&self.heap, hash, |other| other == place)?;
        let frequency = at.read(&self.heap).frequency();
        let extra = if header.told_cas && header.cas.is_none() { 8 } else { 0 };
        Some(Candidate::new(place, at, header.item_bytes() + extra, frequency, hash))
    }

    /// Moves an item to the end of a segment that has room for it, perhaps with another expiry. What is left of it at
    /// its old place is the caller's.
    pub(crate) fn relocate(&mut self, from: Place, at: At, segment: u32, expiry: Option<Expiry>) {
        let mut header = self.heap.header(from);
        let old = (header.bytes(), header.item_bytes());
        let cas = self.heap.cas_of(from, &header);
        if header.told_cas {
            header.cas = Some(cas);
        }
        if let Some(expiry) = expiry {
            header.expiry = expiry;
            if self.heap.layout() != Layout::Volatile {
                // The later one of the two holds; its CAS is that of the other.
                (header.sequence, header.cas) = (self.heap.next_sequence(), Some(cas));
            }
        }
        let to = self.heap.append(segment, header.item_bytes(), header.expiry).expect("there is room");
        if expiry.is_none() && header.bytes() == old.0 {
            self.heap.copy(from, to, old.1);
            self.heap.copied(from.segment, to, old.1);
        } else {
            let marks = Marks::of(self.heap.at(from));
            let item = self.heap.at_mut(to, header.bytes());
            header.write(item);
            marks.write(item);
            let body = |place: Place, bytes: usize| Place { offset: place.offset + bytes as u32, ..place };
            self.heap.copy(body(from, old.0), body(to, header.bytes()), old.1 - old.0);
            self.heap.written(to, header.item_bytes());
        }
        self.live_bytes += header.item_bytes() as u64;
        if expiry.is_none() {
            self.heap.inherit_age(segment, from.segment);
        }
        let slot = at.read(&self.heap);
        at.write(&mut self.heap, slot.with_place(to));
    }

    /// Takes all items of a segment out and frees it; how many they were.
    pub(crate) fn forget(&mut self, segment: u32) -> u64 {
        self.forget_some(segment, ITEMS_START as u32, usize::MAX).0
    }

    /// Takes items of a segment out from a place on, of about so many bytes, and frees it after the last one. How many
    /// they were, and where the next one is.
    fn forget_some(&mut self, segment: u32, from: u32, bytes: usize) -> (u64, Option<u32>) {
        let (mut count, mut offset) = (0, from);
        while offset < self.heap.segment(segment).used && self.heap.segment(segment).live > 0 {
            if (offset - from) as usize >= bytes {
                return (count, Some(offset));
            }
            let place = Place { segment, offset };
            let (item, header) = (self.heap.at(place), self.heap.header(place));
            offset += header.item_bytes() as u32;
            let hash = self.hash(parts(&header, item).0);
            if let Some(at) = self.table.find(&self.heap, hash, |other| other == place) {
                self.table.remove(&mut self.heap, hash, at);
                self.bury(place);
                count += 1;
            }
        }
        self.heap.close(segment);
        (count, None)
    }

    /// A newer item has come in the place of this one.
    pub(crate) fn replaced(&mut self, hash: u64, place: Place) {
        self.heap.overwritten(hash, place);
        self.let_go(place);
    }

    /// The table does not know the item at this place any more; a run, which has nothing else, goes.
    pub(crate) fn let_go(&mut self, place: Place) {
        self.bury(place);
        if self.heap.is_run(place.segment) {
            self.heap.close(place.segment);
        }
    }

    /// The table does not know the item at this place any more.
    pub(crate) fn bury(&mut self, place: Place) {
        let bytes = self.heap.header(place).item_bytes();
        self.heap.died(place.segment, bytes);
        self.live_bytes -= bytes as u64;
    }

    /// Segments of the table and of what eviction remembers.
    pub(crate) fn pages(&self) -> usize {
        self.table.segments() + self.ghosts.as_ref().map_or(0, |ghosts| ghosts.pages().len())
    }

    pub(crate) fn chain(&self, head: u32) -> impl Iterator<Item = u32> + '_ {
        self.heap.walk(head)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({:?})", self.figures())
    }
}

/// Many segments in a small store, large ones in a large store.
pub(crate) fn segment_bytes(bytes: usize) -> usize {
    let wanted = (bytes / SEGMENTS_WANTED).max(1);
    let power = 1 << wanted.ilog2();
    usize::clamp(power, MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES)
}
