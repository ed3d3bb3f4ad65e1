//! The arena in equal pieces, what each of them is for, and the chains they are in.
//!
//! ```text
//!   | items | items | table | head   . run of 3 .        | free | items | ...
//!                             one item of its own
//! ```
//!
//! An item larger than a segment lies in a *run*: neighbouring segments that begin with a head. Only the head is in a
//! chain, where it stands for all of them. Nothing is appended to a run.

use std::ops::Range;

use machine::region::Arena;

use crate::free::Free;
use crate::item::{Header, Layout};
use crate::kept::Kept;
use crate::limits::{CHAINS, ITEMS_START};
use crate::slot::Place;
use crate::time::{Expiry, Time};

/// No segment.
pub(crate) const NONE: u32 = u32::MAX;

/// What a segment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Free,
    /// It was taken for the table.
    Table,
    /// Items; or the head of a run.
    Items,
    /// The rest of the run that begins with this segment.
    Follower(u32),
    /// Bytes that are pinned, and items that the table does not know: in no chain, and free when the last pin is gone.
    Detached,
}

/// What is known of a segment beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) is: Use,
    /// Segments of the run that it is the head of; 1 if it stands for itself.
    pub(crate) run: u32,
    /// Counts up over all segments that were ever opened: with an offset, the name of an item's change.
    pub(crate) number: u64,
    /// Bytes that are written, those of the header included. Items lie from there on without gaps.
    pub(crate) used: u32,
    /// Bytes of the items that the table knows.
    pub(crate) live: u32,
    /// Who needs bytes of it as they are.
    pub(crate) pins: u32,
    /// From then on none of its items is there.
    pub(crate) expires: Expiry,
    /// Its chain, and its neighbours there.
    pub(crate) chain: u16,
    pub(crate) previous: u32,
    pub(crate) next: u32,
    /// Of a pool: nothing is appended to it any more.
    pub(crate) sealed: bool,
    /// Its items have stayed when others went.
    pub(crate) main: bool,
    /// The second in which it was opened, or the first one that what was moved to it comes from; 0 if nobody knows.
    pub(crate) since: u32,
    /// What begins in front of this byte was moved or has gone: it is being emptied.
    pub(crate) emptied: u32,
}

impl Segment {
    pub(crate) const FRESH: Self = Self {
        sealed: false,
        main: false,
        since: 0,
        emptied: ITEMS_START as u32,
        is: Use::Free,
        run: 1,
        number: 0,
        used: 0,
        live: 0,
        pins: 0,
        expires: Expiry::At(Time::from_millis(0)),
        chain: 0,
        previous: NONE,
        next: NONE,
    };
}

/// A chain of segments: written at its tail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    pub(crate) head: u32,
    pub(crate) tail: u32,
    pub(crate) segments: u32,
    /// Who is merged next; `NONE` stands for the head.
    pub(crate) turn: u32,
}

/// See the module.
pub(crate) struct Heap {
    pub(super) arena: Arena,
    /// Of a store in a pool: the table's segments lie in memory of their own, each at its place. The pool's bytes there
    /// are not used meanwhile.
    pub(super) pages: Option<Arena>,
    pub(crate) kept: Option<Box<Kept>>,
    pub(super) layout: Layout,
    pub(super) segment_bytes: usize,
    pub(super) segments: Box<[Segment]>,
    pub(super) chains: Box<[Chain]>,
    free: Free,
    pinned: usize,
    opened: u64,
    /// The second that it is; 0 until somebody says so.
    pub(super) clock: u32,
    /// Segments that are main ones.
    mains: usize,
}

impl Heap {
    /// As many free segments as fit.
    pub(crate) fn new(arena: Arena, segment_bytes: usize) -> Self {
        let count = arena.len() / segment_bytes;
        let segments = vec![Segment::FRESH; count].into_boxed_slice();
        let chains = vec![Chain { head: NONE, tail: NONE, segments: 0, turn: NONE }; CHAINS].into_boxed_slice();
        let (kept, layout, free) = (None, Layout::Volatile, Free::all(count));
        Self {
            arena,
            pages: None,
            kept,
            layout,
            segment_bytes,
            segments,
            chains,
            free,
            pinned: 0,
            opened: 0,
            clock: 0,
            mains: 0,
        }
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    pub(crate) fn segment_bytes(&self) -> usize {
        self.segment_bytes
    }

    pub(crate) fn count(&self) -> usize {
        self.segments.len()
    }

    pub(crate) fn free_segments(&self) -> usize {
        self.free.count()
    }

    /// Bytes of the largest item that one segment holds.
    pub(crate) fn capacity(&self) -> usize {
        self.segment_bytes - ITEMS_START
    }

    /// Segments that an item of so many bytes takes.
    pub(crate) fn segments_for(&self, bytes: usize) -> usize {
        (ITEMS_START + bytes).div_ceil(self.segment_bytes)
    }

    /// The first of so many free neighbours.
    pub(crate) fn room_for(&self, segments: usize) -> Option<u32> {
        if segments == 1 { self.free.first() } else { self.free.last_run(segments) }
    }

    pub(crate) fn segment(&self, segment: u32) -> &Segment {
        &self.segments[segment as usize]
    }

    pub(crate) fn chain(&self, chain: usize) -> Chain {
        self.chains[chain]
    }

    /// Sets who of a chain is merged next.
    pub(crate) fn set_turn(&mut self, chain: usize, segment: u32) {
        self.chains[chain].turn = segment;
    }

    /// A segment, and those behind it in its chain.
    pub(crate) fn walk(&self, start: u32) -> impl Iterator<Item = u32> + '_ {
        let some = |segment: u32| (segment != NONE).then_some(segment);
        std::iter::successors(some(start), move |segment| some(self.segment(*segment).next))
    }

    /// Whether a segment has items, or is the head of a run.
    pub(crate) fn is_items(&self, segment: u32) -> bool {
        self.segment(segment).is == Use::Items
    }

    /// Whether a segment is the last one of its chain, or of the main ones there: something may be appended to it.
    pub(crate) fn is_last_of_its_kind(&self, segment: u32) -> bool {
        let Segment { main, next, .. } = *self.segment(segment);
        next == NONE || main && !self.segment(next).main
    }

    /// Segments of those whose items have stayed when others went.
    pub(crate) fn mains(&self) -> usize {
        self.mains
    }

    /// What is in a segment of a chain has stayed.
    pub(crate) fn make_main(&mut self, segment: u32) {
        let meta = &mut self.segments[segment as usize];
        if !std::mem::replace(&mut meta.main, true) {
            self.mains += meta.run as usize;
            if let Some(kept) = &mut self.kept {
                kept.make_main(segment);
            }
        }
    }

    /// The chains that have segments.
    pub(crate) fn chains(&self) -> impl Iterator<Item = (usize, Chain)> + '_ {
        self.chains.iter().copied().enumerate().filter(|(_, chain)| chain.segments > 0)
    }

    /// All bytes of a segment that was taken for the table.
    #[inline]
    pub(crate) fn page(&self, segment: u32) -> &[u8] {
        &self.pages.as_ref().unwrap_or(&self.arena)[self.span(segment)]
    }

    #[inline]
    pub(crate) fn page_mut(&mut self, segment: u32) -> &mut [u8] {
        let span = self.span(segment);
        &mut self.pages.as_mut().unwrap_or(&mut self.arena)[span]
    }

    /// Hints that bytes of a segment that was taken for the table will be read soon.
    #[inline]
    pub(crate) fn prefetch_page(&self, segment: u32, byte: usize, bytes: usize) {
        let start = self.span(segment).start + byte;
        self.pages.as_ref().unwrap_or(&self.arena).prefetch(start, bytes);
    }

    /// Hints that an item will be read soon.
    #[inline]
    pub(crate) fn prefetch(&self, place: Place, bytes: usize) {
        self.arena.prefetch(self.position(place), bytes);
    }

    /// What begins at a place: an item, and whatever lies behind it.
    #[inline]
    pub(crate) fn at(&self, place: Place) -> &[u8] {
        &self.arena[self.position(place)..]
    }

    /// So many bytes from a place on.
    pub(crate) fn at_mut(&mut self, place: Place, bytes: usize) -> &mut [u8] {
        let start = self.position(place);
        &mut self.arena[start..start + bytes]
    }

    /// The header of the item at a place.
    #[inline]
    pub(crate) fn header(&self, place: Place) -> Header {
        Header::read(self.layout, self.at(place))
    }

    /// The name of the change that has put an item to its place: see `item.rs`.
    #[inline]
    pub(crate) fn cas_of(&self, place: Place, header: &Header) -> u64 {
        header.cas.unwrap_or_else(|| match self.layout {
            Layout::Volatile => self.segment(place.segment).number << 20 | u64::from(place.offset),
            _ => header.sequence,
        })
    }

    /// A sequence for a change; 0 in memory.
    #[inline]
    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.kept.as_mut().map_or(0, |kept| kept.next_sequence())
    }

    /// Takes a free segment for something else than items.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let segment = self.free.take_first()?;
        self.segments[segment as usize] = Segment { is: Use::Table, ..Segment::FRESH };
        Some(segment)
    }

    /// Gives back a segment that was taken.
    pub(crate) fn give_back(&mut self, segment: u32) {
        self.segments[segment as usize] = Segment::FRESH;
        self.free.give_back(segment);
    }

    /// Seconds since a segment was opened, if that is known.
    pub(crate) fn age(&self, segment: u32) -> Option<u32> {
        let since = self.segment(segment).since;
        (since > 0).then(|| self.clock.saturating_sub(since))
    }

    /// Something of one segment was moved to another one, which is as old from now on.
    pub(crate) fn inherit_age(&mut self, to: u32, from: u32) {
        let since = self.segment(from).since;
        let meta = &mut self.segments[to as usize];
        meta.since = meta.since.min(since);
    }

    /// Takes a free segment and puts it into a chain, behind `after` or as the first.
    pub(crate) fn open(&mut self, chain: usize, after: u32) -> Option<u32> {
        self.open_for(false, chain, after)
    }

    /// The same, for items that have stayed when others went.
    pub(crate) fn open_main(&mut self, chain: usize, after: u32) -> Option<u32> {
        self.open_for(true, chain, after)
    }

    fn open_for(&mut self, main: bool, chain: usize, after: u32) -> Option<u32> {
        let segment = self.free.take_first()?;
        let number = self.next_number();
        self.segments[segment as usize] =
            Segment { is: Use::Items, main, number, used: ITEMS_START as u32, ..Segment::FRESH };
        self.segments[segment as usize].since = self.clock;
        self.link(segment, chain, after);
        self.enter(segment);
        Some(segment)
    }

    /// Takes free neighbours as a run, which is in no chain and has a pin.
    pub(crate) fn open_detached(&mut self, head: u32, segments: usize) {
        let used = ITEMS_START as u32;
        self.mark_run(head, Segment { is: Use::Detached, run: segments as u32, used, ..Segment::FRESH });
        self.pin(head);
    }

    /// Takes free neighbours as a run and puts it into a chain.
    pub(crate) fn open_run(&mut self, head: u32, segments: usize, chain: usize) {
        self.mark_run(head, Segment { run: segments as u32, used: ITEMS_START as u32, ..Segment::FRESH });
        self.attach(head, chain);
    }

    /// Puts a run into a chain: in front of its open segment, which stays open. A pool knows of it when its item is
    /// written.
    pub(crate) fn attach(&mut self, head: u32, chain: usize) {
        let number = self.next_number();
        let meta = &mut self.segments[head as usize];
        (meta.is, meta.number, meta.since) = (Use::Items, number, self.clock);
        let tail = self.chains[chain].tail;
        let after = if tail == NONE || self.is_run(tail) { tail } else { self.segment(tail).previous };
        self.link(head, chain, after);
        self.enter(head);
    }

    fn next_number(&mut self) -> u64 {
        match &mut self.kept {
            Some(kept) => kept.next_number(),
            None => {
                self.opened += 1;
                self.opened
            }
        }
    }

    /// Takes a segment, or a run, out of its chain and frees it, if it is not pinned. What the table has of it is gone
    /// before.
    pub(crate) fn close(&mut self, segment: u32) {
        self.erase(segment);
        self.unlink(segment);
        if self.is_pinned(segment) {
            self.segments[segment as usize].is = Use::Detached;
        } else {
            self.free_run_of(segment);
        }
    }

    /// Whether bytes of a segment are needed as they are.
    pub(crate) fn is_pinned(&self, segment: u32) -> bool {
        self.segment(segment).pins > 0
    }

    /// Segments that have pins, those of runs counted.
    pub(crate) fn pinned_segments(&self) -> usize {
        self.pinned
    }

    /// Bytes of a segment are needed as they are, whatever becomes of its items.
    pub(crate) fn pin(&mut self, segment: u32) {
        let meta = &mut self.segments[segment as usize];
        meta.pins += 1;
        self.pinned += if meta.pins == 1 { meta.run as usize } else { 0 };
    }

    /// They are not any more.
    pub(crate) fn unpin(&mut self, segment: u32) {
        let meta = &mut self.segments[segment as usize];
        meta.pins -= 1;
        if meta.pins == 0 {
            self.pinned -= meta.run as usize;
            if meta.is == Use::Detached {
                self.free_run_of(segment);
            }
        }
    }

    /// Moves a segment of items, or a run, with all that is known of it, to free neighbours; where the table knows its
    /// items is the caller's.
    pub(crate) fn move_items(&mut self, from: u32, to: u32) {
        // What is overwritten is marked before: else the mark would come to the old place.
        self.settle();
        let meta = self.segments[from as usize];
        self.copy(Place { segment: from, offset: 0 }, Place { segment: to, offset: 0 }, meta.used as usize);
        self.mark_run(to, meta);
        self.free_run_of(from);
        if meta.is == Use::Detached {
            return;
        }
        self.enter_moved(from, to);
        let chain = usize::from(meta.chain);
        *self.link_before(chain, meta.next) = to;
        *self.link_behind(chain, meta.previous) = to;
        if self.chains[chain].turn == from {
            self.chains[chain].turn = to;
        }
    }

    /// Moves a segment that was taken for something else than items to the first free one, and tells which that is.
    pub(crate) fn move_taken(&mut self, from: u32) -> Option<u32> {
        let to = self.take()?;
        let span = self.span(from);
        let start = self.span(to).start;
        self.pages.as_mut().unwrap_or(&mut self.arena).copy_within(span, start);
        self.give_back(from);
        Some(to)
    }

    /// While a window is made free nothing is put there; an empty one ends that.
    pub(crate) fn set_fence(&mut self, window: Range<u32>) {
        self.free.set_fence(window);
    }

    /// Puts a segment or a run of a chain behind another one there, or to its front.
    pub(crate) fn move_behind(&mut self, segment: u32, after: u32) {
        let chain = usize::from(self.segments[segment as usize].chain);
        self.unlink(segment);
        self.link(segment, chain, after);
    }

    /// Whether a segment is the head of a run.
    pub(crate) fn is_run(&self, segment: u32) -> bool {
        self.segment(segment).run > 1
    }

    /// Takes the segments of a run and writes down what is known of it.
    pub(super) fn mark_run(&mut self, head: u32, meta: Segment) {
        for segment in head..head + meta.run {
            self.free.take(segment);
            self.segments[segment as usize] = Segment { is: Use::Follower(head), ..Segment::FRESH };
        }
        self.segments[head as usize] = meta;
    }

    fn free_run_of(&mut self, head: u32) {
        for segment in head..head + self.segments[head as usize].run {
            self.give_back(segment);
        }
    }

    pub(super) fn link(&mut self, segment: u32, chain: usize, after: u32) {
        let next = if after == NONE { self.chains[chain].head } else { self.segments[after as usize].next };
        let meta = &mut self.segments[segment as usize];
        (meta.chain, meta.previous, meta.next) = (chain as u16, after, next);
        *self.link_before(chain, next) = segment;
        *self.link_behind(chain, after) = segment;
        self.chains[chain].segments += 1;
        let Segment { main, run, .. } = self.segments[segment as usize];
        self.mains += if main { run as usize } else { 0 };
    }

    fn unlink(&mut self, segment: u32) {
        let Segment { chain, previous, next, main, run, .. } = self.segments[segment as usize];
        self.mains -= if main { run as usize } else { 0 };
        let chain = usize::from(chain);
        *self.link_before(chain, next) = previous;
        *self.link_behind(chain, previous) = next;
        let ends = &mut self.chains[chain];
        ends.segments -= 1;
        if ends.turn == segment {
            ends.turn = next;
        }
    }

    /// Whether so many bytes fit at the end of an open segment, or into a run, which takes one item.
    pub(crate) fn has_room(&self, segment: u32, bytes: usize) -> bool {
        let meta = self.segment(segment);
        let takes = !meta.sealed && (meta.run == 1 || meta.used as usize == ITEMS_START);
        takes && meta.used as usize + bytes <= self.segment_bytes * meta.run as usize
    }

    /// Room for so many bytes at the end of an open segment, which are live from now on; `None` if it is full.
    pub(crate) fn append(&mut self, segment: u32, bytes: usize, expiry: Expiry) -> Option<Place> {
        if !self.has_room(segment, bytes) {
            return None;
        }
        let meta = &mut self.segments[segment as usize];
        let place = Place { segment, offset: meta.used };
        meta.used += bytes as u32;
        meta.live += bytes as u32;
        meta.expires = meta.expires.later(expiry);
        Some(place)
    }

    /// The table knows an item of so many bytes from now on.
    pub(crate) fn revived(&mut self, segment: u32, bytes: usize) {
        self.segments[segment as usize].live += bytes as u32;
    }

    /// The table does not know an item of so many bytes any more.
    pub(crate) fn died(&mut self, segment: u32, bytes: usize) {
        self.segments[segment as usize].live -= bytes as u32;
    }

    /// Copies bytes from one place to another.
    pub(crate) fn copy(&mut self, from: Place, to: Place, bytes: usize) {
        let (from, to) = (self.position(from), self.position(to));
        self.arena.copy_within(from..from + bytes, to);
    }

    #[inline]
    pub(crate) fn position(&self, place: Place) -> usize {
        place.segment as usize * self.segment_bytes + place.offset as usize
    }

    pub(super) fn span(&self, segment: u32) -> Range<usize> {
        let start = segment as usize * self.segment_bytes;
        start..start + self.segment_bytes
    }

    /// What points from `next` back; of the end of a chain that is its tail.
    fn link_before(&mut self, chain: usize, next: u32) -> &mut u32 {
        if next == NONE { &mut self.chains[chain].tail } else { &mut self.segments[next as usize].previous }
    }

    /// What points from `previous` on; of the beginning of a chain that is its head.
    fn link_behind(&mut self, chain: usize, previous: u32) -> &mut u32 {
        if previous == NONE { &mut self.chains[chain].head } else { &mut self.segments[previous as usize].next }
    }
}
