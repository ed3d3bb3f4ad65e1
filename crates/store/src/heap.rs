//! The arena in equal pieces, what each of them is for, and the chains they are in.

use std::ops::Range;

use machine::region::Arena;

use crate::limits::{CHAINS, SEGMENT_HEADER_BYTES};
use crate::slot::Place;
use crate::time::{Expiry, Time};

/// No segment.
pub(crate) const NONE: u32 = u32::MAX;

/// What is known of a segment beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    /// Counts up over all segments that were ever opened: with an offset, the name of an item's change.
    pub(crate) number: u64,
    /// Bytes that are written, those of the header included. Items lie from there on without gaps.
    pub(crate) used: u32,
    /// Bytes of the items that the table knows.
    pub(crate) live: u32,
    /// From then on none of its items is there.
    pub(crate) expires: Expiry,
    /// Its chain, and its neighbours there; of a free one only `next`.
    pub(crate) chain: u16,
    pub(crate) previous: u32,
    pub(crate) next: u32,
}

const FRESH: Segment = Segment {
    number: 0,
    used: 0,
    live: 0,
    expires: Expiry::At(Time::from_millis(0)),
    chain: 0,
    previous: NONE,
    next: NONE,
};

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
    arena: Arena,
    segment_bytes: usize,
    segments: Box<[Segment]>,
    chains: Box<[Chain]>,
    free: u32,
    free_segments: usize,
    opened: u64,
}

impl Heap {
    /// As many free segments as fit.
    pub(crate) fn new(arena: Arena, segment_bytes: usize) -> Self {
        let count = arena.len() / segment_bytes;
        let mut segments = vec![FRESH; count].into_boxed_slice();
        for (segment, next) in segments.iter_mut().zip(1..) {
            segment.next = if next as usize == count { NONE } else { next };
        }
        let chains = vec![Chain { head: NONE, tail: NONE, segments: 0, turn: NONE }; CHAINS].into_boxed_slice();
        Self { arena, segment_bytes, segments, chains, free: 0, free_segments: count, opened: 0 }
    }

    pub(crate) fn segment_bytes(&self) -> usize {
        self.segment_bytes
    }

    pub(crate) fn count(&self) -> usize {
        self.segments.len()
    }

    pub(crate) fn free_segments(&self) -> usize {
        self.free_segments
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

    /// The chains that have segments.
    pub(crate) fn chains(&self) -> impl Iterator<Item = (usize, Chain)> + '_ {
        self.chains.iter().copied().enumerate().filter(|(_, chain)| chain.segments > 0)
    }

    /// All bytes of a segment.
    pub(crate) fn bytes(&self, segment: u32) -> &[u8] {
        &self.arena[self.span(segment)]
    }

    pub(crate) fn bytes_mut(&mut self, segment: u32) -> &mut [u8] {
        let span = self.span(segment);
        &mut self.arena[span]
    }

    /// What begins at a place, to the end of its segment.
    #[inline]
    pub(crate) fn at(&self, place: Place) -> &[u8] {
        let start = place.segment as usize * self.segment_bytes;
        &self.arena[start + place.offset as usize..start + self.segment_bytes]
    }

    /// The item's change: see `item.rs`.
    pub(crate) fn name_of(&self, place: Place) -> u64 {
        self.segment(place.segment).number << 20 | u64::from(place.offset)
    }

    /// Takes a free segment for something else than items.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let segment = self.free;
        if segment == NONE {
            return None;
        }
        self.free = self.segments[segment as usize].next;
        self.free_segments -= 1;
        self.segments[segment as usize] = FRESH;
        Some(segment)
    }

    /// Gives back a segment that was taken.
    pub(crate) fn give_back(&mut self, segment: u32) {
        self.segments[segment as usize] = Segment { next: self.free, ..FRESH };
        self.free = segment;
        self.free_segments += 1;
    }

    /// Takes a free segment and puts it into a chain, behind `after` or as the first.
    pub(crate) fn open(&mut self, chain: usize, after: u32) -> Option<u32> {
        let segment = self.take()?;
        self.opened += 1;
        let head = self.chains[chain].head;
        let next = if after == NONE { head } else { self.segments[after as usize].next };
        let opened = Segment {
            number: self.opened,
            used: SEGMENT_HEADER_BYTES as u32,
            chain: chain as u16,
            previous: after,
            next,
            ..FRESH
        };
        self.segments[segment as usize] = opened;
        *self.link_before(chain, next) = segment;
        *self.link_behind(chain, after) = segment;
        self.chains[chain].segments += 1;
        Some(segment)
    }

    /// Takes a segment out of its chain and frees it. What the table has of it is gone before.
    pub(crate) fn close(&mut self, segment: u32) {
        let Segment { chain, previous, next, .. } = self.segments[segment as usize];
        let chain = usize::from(chain);
        *self.link_before(chain, next) = previous;
        *self.link_behind(chain, previous) = next;
        let ends = &mut self.chains[chain];
        ends.segments -= 1;
        if ends.turn == segment {
            ends.turn = next;
        }
        self.give_back(segment);
    }

    /// Whether so many bytes fit at the end of an open segment.
    pub(crate) fn has_room(&self, segment: u32, bytes: usize) -> bool {
        self.segment(segment).used as usize + bytes <= self.segment_bytes
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
        meta.expires = match (meta.expires, expiry) {
            (Expiry::At(one), Expiry::At(two)) => Expiry::At(one.max(two)),
            _ => Expiry::Never,
        };
        Some(place)
    }

    /// The table does not know an item of so many bytes any more.
    pub(crate) fn died(&mut self, segment: u32, bytes: usize) {
        self.segments[segment as usize].live -= bytes as u32;
    }

    /// Copies bytes from one place to another.
    pub(crate) fn copy(&mut self, from: Place, to: Place, bytes: usize) {
        let at = |place: Place| place.segment as usize * self.segment_bytes + place.offset as usize;
        let (from, to) = (at(from), at(to));
        self.arena.copy_within(from..from + bytes, to);
    }

    fn span(&self, segment: u32) -> Range<usize> {
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
