//! The heap of a store in a pool: what it finds there, and what it notes. In memory there is nothing to note.

use std::io;

use machine::region::{Arena, Region};

use crate::free::Free;
use crate::heap::{Heap, NONE, Segment, Use};
use crate::item::{self, Header, Layout};
use crate::kept::{Entry, word};
use crate::limits::ITEMS_START;
use crate::pool::Part;
use crate::slot::Place;
use crate::time::{Expiry, Time};

impl Heap {
    /// All segments of a part of a pool, as if they were free. The table's are made of memory beside it, of which only
    /// so much is taken as is used.
    ///
    /// # Errors
    /// The system's refusal of that memory.
    pub(crate) fn of_pool(part: Part) -> io::Result<Self> {
        let pages = Arena::new(Region::sparse(part.items.len())?);
        let layout = part.kept.layout;
        let mut heap = Self::new(part.items, part.segment_bytes);
        (heap.pages, heap.kept, heap.layout) = (Some(pages), Some(Box::new(part.kept)), layout);
        Ok(heap)
    }

    /// Takes the segments that the directory has: which they are. Of two that overlap, which a power cut may leave,
    /// the later one holds.
    pub(crate) fn enter_found(&mut self) -> Vec<u32> {
        let Some(kept) = &mut self.kept else { return Vec::new() };
        let count = self.segments.len() as u32;
        let mut found: Vec<(u32, Entry)> =
            (0..count).filter_map(|segment| Some((segment, kept.entry(segment)?))).collect();
        found.sort_unstable_by_key(|(_, entry)| std::cmp::Reverse(entry.number));
        let mut free = Free::all(self.segments.len());
        found.retain(|(segment, entry)| {
            let run = *segment..segment.saturating_add(entry.run);
            let fits = entry.run > 0 && run.end <= count && usize::from(entry.chain) < self.chains.len();
            let whole = fits && run.clone().all(|one| free.has(one));
            if whole {
                run.for_each(|one| free.take(one));
            } else {
                kept.erase(*segment);
            }
            whole
        });
        // As they stood in their chains: what has stayed in front of what is new, by age.
        found.sort_unstable_by_key(|(_, entry)| (!entry.main, entry.number));
        for (segment, entry) in &found {
            let Entry { number, used, run, chain, main, emptied, sealed } = *entry;
            let emptied = emptied.max(ITEMS_START as u32);
            let used = used.clamp(ITEMS_START as u32, (self.segment_bytes * run as usize) as u32);
            self.mark_run(
                *segment,
                Segment { is: Use::Items, run, number, used, main, emptied, sealed, ..Segment::FRESH },
            );
            let tail = self.chain(usize::from(chain)).tail;
            self.link(*segment, usize::from(chain), tail);
        }
        found.into_iter().map(|(segment, _)| segment).collect()
    }

    /// The segments that the directory has free, and of whose bytes nobody has any.
    pub(crate) fn unused(&self) -> Vec<u32> {
        let unused = |segment: &u32| matches!(self.segment(*segment).is, Use::Free | Use::Table);
        (0..self.segments.len() as u32).filter(unused).collect()
    }

    /// Writes bytes of a note to where no item is.
    pub(crate) fn note_bytes(&mut self, place: Place, bytes: &[u8]) {
        let start = self.position(place);
        self.arena[start..start + bytes.len()].copy_from_slice(bytes);
        if let Some(kept) = &mut self.kept {
            let arena = &self.arena;
            kept.wrote(|_| arena.persist(start..start + bytes.len()));
        }
    }

    /// Writes what is in memory of a segment that was taken to its place in the pool.
    pub(crate) fn keep_page(&mut self, page: u32) {
        let span = self.span(page);
        let (Some(pages), Some(kept)) = (&self.pages, &mut self.kept) else { return };
        self.arena[span.clone()].copy_from_slice(&pages[span.clone()]);
        let arena = &self.arena;
        kept.wrote(|_| arena.persist(span));
    }

    /// Reads it from where the process before has kept it.
    pub(crate) fn load_page(&mut self, page: u32, from: u32) {
        let (to, from) = (self.span(page), self.span(from));
        if let Some(pages) = &mut self.pages {
            pages[to].copy_from_slice(&self.arena[from]);
        }
    }

    /// Notes which segments have the note, in this order.
    pub(crate) fn enter_notes<'a>(&mut self, segments: impl Iterator<Item = &'a u32>) {
        if let Some(kept) = &mut self.kept {
            segments.zip(0..).for_each(|(segment, part)| kept.enter_note(*segment, part));
        }
    }

    /// Which segments have a note, in the order of its parts. It is there once.
    pub(crate) fn take_notes(&mut self) -> Vec<u32> {
        let Some(kept) = &mut self.kept else { return Vec::new() };
        let count = self.segments.len() as u32;
        let mut found: Vec<(u32, u32)> =
            (0..count).filter_map(|segment| Some((kept.take_note(segment)?, segment))).collect();
        found.sort_unstable();
        let whole = found.iter().zip(0..).all(|((part, _), number)| *part == number);
        let found = found.into_iter().map(|(_, segment)| segment);
        if whole { found.collect() } else { Vec::new() }
    }

    /// What the segment was found to have, all of it dead so far.
    pub(crate) fn set_found(&mut self, segment: u32, used: u32, emptied: u32, expires: Expiry) {
        let meta = &mut self.segments[segment as usize];
        (meta.used, meta.emptied, meta.expires) = (used, emptied, expires);
    }

    /// An item was found that holds.
    pub(crate) fn revive(&mut self, segment: u32, bytes: usize) {
        self.segments[segment as usize].live += bytes as u32;
    }

    /// Where a segment, or a run, ends.
    pub(crate) fn end_of(&self, segment: u32) -> u32 {
        (self.segment_bytes * self.segment(segment).run as usize) as u32
    }

    /// Notes that nothing more is appended to a segment, whose items are on the medium.
    pub(crate) fn seal(&mut self, segment: u32) {
        let meta = &mut self.segments[segment as usize];
        meta.sealed = true;
        let (used, run) = (meta.used, meta.run);
        if let Some(kept) = &mut self.kept {
            kept.set_used(segment, used, run);
            kept.filled(segment);
        }
    }

    /// Notes a segment that was opened.
    pub(super) fn enter(&mut self, segment: u32) {
        let Segment { number, used, run, chain, main, emptied, sealed, .. } = *self.segment(segment);
        // Whoever is in front of it now gets nothing more: only the last one of a chain is appended to.
        let before = self.chain(usize::from(chain)).tail;
        if let Some(kept) = &mut self.kept {
            kept.enter(segment, Entry { number, used, run, chain, main, emptied, sealed });
        }
        let previous = self.segment(segment).previous;
        if before == segment && previous != NONE && !self.segment(previous).sealed {
            self.seal(previous);
        }
    }

    /// What begins in front of this byte of a segment is elsewhere, or gone.
    pub(crate) fn set_emptied(&mut self, segment: u32, to: u32) {
        self.segments[segment as usize].emptied = to;
        if let Some(kept) = &mut self.kept {
            kept.set_emptied(segment, to);
        }
    }

    /// Notes that a segment is free: nothing that it held is needed any more.
    pub(super) fn erase(&mut self, segment: u32) {
        self.settle();
        if let Some(kept) = &mut self.kept {
            kept.erase(segment);
        }
    }

    /// Notes that a segment has moved with all that it holds.
    pub(super) fn enter_moved(&mut self, from: u32, to: u32) {
        let Segment { number, used, run, chain, main, emptied, sealed, .. } = *self.segment(to);
        let bytes = to as usize * self.segment_bytes..to as usize * self.segment_bytes + used as usize;
        let Some(kept) = &mut self.kept else { return };
        let arena = &self.arena;
        kept.wrote(|_| arena.persist(bytes));
        kept.enter(to, Entry { number, used, run, chain, main, emptied, sealed });
        self.erase(from);
    }

    /// All of an item lies at its place: from now on the next process finds it there.
    #[inline]
    pub(crate) fn written(&mut self, place: Place, bytes: usize) {
        if self.layout != Layout::Volatile {
            self.note_item(place, bytes, item::seal);
        }
    }

    /// A whole item was copied to its place from a segment, with its checksum.
    pub(crate) fn copied(&mut self, from: u32, to: Place, bytes: usize) {
        if self.layout != Layout::Volatile {
            let number = self.segment(from).number;
            self.note_item(to, bytes, |item, to_number| item::reseal(item, number, to_number));
        }
    }

    fn note_item(&mut self, place: Place, bytes: usize, seal: impl FnOnce(&mut [u8], u64)) {
        let Segment { number, used, run, .. } = *self.segment(place.segment);
        let start = self.position(place);
        let Some(kept) = &mut self.kept else { return };
        if self.layout == Layout::Durable {
            seal(&mut self.arena[start..start + bytes], number);
            let arena = &self.arena;
            kept.wrote(|_| arena.persist(start..start + bytes));
        }
        if run == 1 {
            kept.set_used(place.segment, used, run);
        } else {
            self.enter(place.segment);
            self.seal(place.segment);
        }
    }

    /// The first byte of an item was changed where it lies.
    pub(crate) fn changed(&mut self, place: Place) {
        let start = self.position(place);
        if let Some(kept) = &mut self.kept {
            let arena = &self.arena;
            kept.wrote(|_| arena.persist(start..start + 1));
        }
    }

    /// A newer item has come in the place of this one.
    pub(crate) fn overwritten(&mut self, hash: u64, place: Place) {
        if let Some(kept) = &mut self.kept {
            kept.overwritten(&mut self.arena, self.segment_bytes, hash, place);
        }
    }

    /// The item is to be gone.
    pub(crate) fn deleted(&mut self, hash: u64, place: Place) {
        if let Some(kept) = &mut self.kept {
            kept.deleted(&mut self.arena, self.segment_bytes, hash, place);
        }
    }

    /// All items that were ever stored are to be gone.
    pub(crate) fn deleted_all(&mut self) {
        if let Some(kept) = &mut self.kept {
            let last = kept.last_sequence();
            kept.store(word::EPOCH, last);
        }
    }

    /// Notes how many segments the table takes: the next process keeps so many for its own.
    pub(crate) fn note_table(&mut self, segments: usize) {
        if let Some(kept) = self.kept.as_mut().filter(|kept| kept.read(word::TABLE) != segments as u64) {
            kept.store(word::TABLE, segments as u64);
        }
    }

    /// Notes when everything is to be gone.
    pub(crate) fn note_clear_at(&mut self, at: Option<Time>) {
        if let Some(kept) = &mut self.kept {
            kept.store(word::CLEAR, at.map_or(0, Time::millis));
        }
    }

    /// Notes that nothing is left of what a power cut has torn, if it is durable that it is not.
    pub(crate) fn trust(&mut self, boot: u128) {
        self.settle();
        if let Some(kept) = &mut self.kept {
            kept.trust(boot);
        }
    }

    /// Notes what time it is, which is the age of segments; and the next process will not believe an earlier one.
    pub(crate) fn note_time(&mut self, now: Time) {
        self.clock = u32::try_from(now.millis() / 1000).unwrap_or(u32::MAX);
        if let Some(kept) = &mut self.kept {
            kept.note_time(now);
        }
    }

    /// Makes durable what was done.
    ///
    /// # Errors
    /// The medium failed, now or before, or a part of the pool's file was lost.
    pub(crate) fn commit(&mut self) -> io::Result<()> {
        let Some(kept) = &mut self.kept else { return Ok(()) };
        kept.commit(&mut self.arena, self.segment_bytes);
        kept.check()?;
        self.arena.region().check()
    }

    /// Makes durable what was done, and the marks on what was overwritten by it.
    pub(crate) fn settle(&mut self) {
        if let Some(kept) = &mut self.kept {
            kept.settle(&mut self.arena, self.segment_bytes);
        }
    }

    /// Makes all of the pool durable, for whoever opens it next.
    ///
    /// # Errors
    /// Those of [`Heap::commit`].
    pub(crate) fn close_pool(&mut self, now: Time) -> io::Result<()> {
        self.commit()?;
        self.settle();
        let Some(kept) = &mut self.kept else { return Ok(()) };
        kept.close(&self.arena, now)?;
        self.arena.region().check()
    }

    /// The header of the item at a place, if all of it is there and lies in front of `end`.
    pub(crate) fn whole_item(&self, place: Place, end: u32) -> Option<Header> {
        let start = self.position(place);
        let bytes = &self.arena[start..start + (end - place.offset) as usize];
        let header = Header::read_untrusted(self.layout, bytes)?;
        let number = self.segment(place.segment).number;
        let whole = self.layout != Layout::Durable || item::is_sealed(&bytes[..header.item_bytes()], number);
        (whole && header.sequence != 0).then_some(header)
    }

    /// Whether there is nothing at a place but what a new file has.
    pub(crate) fn is_blank(&self, place: Place) -> bool {
        let start = self.position(place);
        self.arena[start..].iter().take(item::MAX_HEADER_BYTES).all(|byte| *byte == 0)
    }
}
