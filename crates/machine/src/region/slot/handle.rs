//! One reactor's way into a slot map: lends, writes, clears.
//!
//! ```text
//!     begin()   lend ... write ... lend ...   end()        loans may stay out; their passes are remembered
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::iter;
use std::mem;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::Arc;

use super::epoch::{Epochs, Ledger, Lent};
use super::stock::Retired;
use super::{Full, Landing, Shape, SlotMap, UNMAPPED};
use crate::limits::{
    FRESH_PREFETCH_SLOTS, LENT_PREFETCH_BYTES, SLOT_BATCH, SLOT_HELD, SLOT_KEPT, SLOT_LANDED, SLOT_RETIRED,
    SLOT_SETTLED, SLOT_STAGED,
};
use crate::region::prefetch::prefetch;
use crate::sync::Ordering;

/// One reactor's way into a [`SlotMap`]. Everything but `spare` and `land` needs a pass to be open: between
/// [`SlotHandle::begin`] and [`SlotHandle::end`].
pub struct SlotHandle {
    shape: Shape,
    ledger: Rc<Ledger>,
    /// Free slots; the next one is at the end.
    free: Vec<u32>,
    /// In the order of their tags.
    retired: VecDeque<Retired>,
    /// Written, and not in the table yet.
    staged: Vec<Staged>,
    /// Lists of landings that are through, kept for their room.
    lists: Vec<Vec<u32>>,
}

/// A fresh slot with the bytes `new` of a slot of the disk; the others are still to come from the slot before it.
struct Staged {
    slot: usize,
    fresh: u32,
    new: Range<usize>,
}

impl SlotHandle {
    pub(super) fn new(map: Arc<SlotMap>) -> Self {
        Self {
            shape: map.shape,
            ledger: Ledger::new(map),
            free: Vec::with_capacity(SLOT_HELD + SLOT_BATCH),
            retired: VecDeque::with_capacity(SLOT_RETIRED),
            staged: Vec::with_capacity(SLOT_STAGED),
            lists: Vec::new(),
        }
    }

    /// Starts a pass: from here on no slot that is found in the table is reused.
    ///
    /// # Panics
    /// If a pass is open.
    pub fn begin(&mut self) {
        self.ledger.begin();
    }

    /// Ends the pass: slots stay as they are only for the loans that are out. Frees what nobody reads any more.
    ///
    /// # Panics
    /// If no pass is open.
    pub fn end(&mut self) {
        self.ledger.end();
        let gathered = if self.epochs().is_shared() { SLOT_SETTLED } else { 1 };
        if self.retired.len() >= gathered || self.free.is_empty() {
            self.settle();
        }
        if self.free.len() > SLOT_KEPT {
            // The coldest are at the front.
            let surplus = self.free.len() - SLOT_KEPT;
            self.ledger.map().stock.open().give(self.free.drain(..surplus));
        }
    }

    /// Hints that the bytes at this offset of the disk will be lent or written soon: with many requests at hand, hint
    /// for all of them first, so that finding one slot overlaps with finding the others.
    ///
    /// # Panics
    /// If the offset is not on the disk.
    #[inline]
    pub fn prefetch(&self, offset: usize) {
        prefetch(NonNull::from(self.shape.entry(offset >> self.shape.shift)).cast(), 1);
    }

    /// Lends bytes of one slot, as they are at this moment. Zeros if the slot has no data.
    ///
    /// # Panics
    /// If no pass is open, or the bytes are not inside the slot.
    #[must_use]
    pub fn lend(&self, slot: usize, within: Range<usize>) -> Lent {
        self.assert_pass();
        assert!(within.start <= within.end && within.end <= self.shape.slot_bytes(), "{within:?} of a slot");
        let number = self.shape.entry(slot).load(Ordering::SeqCst);
        // SAFETY: the number comes from the table, in this pass; `within` lies in its slot.
        unsafe { self.ledger.lend(self.shape.at(number).add(within.start), within.len() as u32) }
    }

    /// Lends a range of bytes that may span slots, counted from the start of slot `first`. Appends the pieces in order
    /// and returns how many there are: slots that lie one behind the other are one piece. Each slot is as it is at
    /// some moment of this call.
    ///
    /// # Panics
    /// If no pass is open, the bytes are not all on the disk, or are 4 GiB and more.
    pub fn lend_run(&self, first: usize, within: Range<usize>, out: &mut VecDeque<Lent>) -> usize {
        self.assert_pass();
        let shape = &self.shape;
        assert!(first < shape.slots, "slot {first} of {}", shape.slots);
        let base = first << shape.shift;
        let range = base.saturating_add(within.start)..base.saturating_add(within.end);
        shape.check(&range);
        assert!(u32::try_from(range.len()).is_ok(), "{} bytes in one run", range.len());
        let before = out.len();
        let mut slots = shape.touched(&range).map(|slot| shape.entry(slot).load(Ordering::SeqCst)).peekable();
        let (mut offset, mut left) = (range.start & (shape.slot_bytes() - 1), range.len());
        while left > 0 {
            let number = slots.next().expect("the slots cover the range");
            let mut room = shape.slot_bytes();
            // A piece goes on while the next slot lies right behind, or, for zeros, while the zero area is long enough.
            while room - offset < left {
                let behind = if number == UNMAPPED {
                    if room < shape.zero_bytes { UNMAPPED } else { break }
                } else {
                    number + (room >> shape.shift) as u32
                };
                if slots.next_if_eq(&behind).is_none() {
                    break;
                }
                room += shape.slot_bytes();
            }
            let len = left.min(room - offset);
            // Whoever borrows it reads it after the other loans of this pass: fetch its beginning meanwhile.
            prefetch(shape.at(number), len.min(LENT_PREFETCH_BYTES));
            // SAFETY: all numbers come from the table, in this pass. `room` bytes from `number` on are those slots, or
            // the zero area.
            out.push_back(unsafe { self.ledger.lend(shape.at(number).add(offset), len as u32) });
            left -= len;
            offset = 0;
        }
        out.len() - before
    }

    /// Writes bytes into one slot: a reader finds all of the slot's bytes as they were, or all with the change.
    ///
    /// # Errors
    /// [`Full`] if no slot is free; nothing was written.
    ///
    /// # Panics
    /// If no pass is open, or the bytes do not fit into the slot.
    pub fn write(&mut self, slot: usize, offset: usize, bytes: &[u8]) -> Result<(), Full> {
        self.write_run(self.in_slot(slot, offset..offset.saturating_add(bytes.len())).start, bytes)
    }

    /// Writes bytes at a byte offset of the disk, over as many slots as it takes: each of them is old or new.
    ///
    /// # Errors
    /// [`Full`] if not enough slots are free for all of it; nothing was written.
    ///
    /// # Panics
    /// If no pass is open, or the bytes are not all on the disk.
    pub fn write_run(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Full> {
        self.stage_run(offset, bytes)?;
        self.commit_staged();
        Ok(())
    }

    /// The first half of [`SlotHandle::write_run`]: the bytes are in fresh slots, and nobody finds them there before
    /// [`SlotHandle::commit_staged`], in this pass or in a later one. With many writes at hand, stage all of them
    /// first: a commit waits until the bytes before it have left the core, and so it is waited for once.
    ///
    /// # Errors
    /// [`Full`] if not enough slots are free for all of it; nothing was written.
    ///
    /// # Panics
    /// If no pass is open, or the bytes are not all on the disk.
    pub fn stage_run(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Full> {
        self.stage_pieces(offset, bytes.len(), iter::once(bytes))
    }

    /// As [`SlotHandle::stage_run`], of `len` bytes that are in several pieces, one behind the other. A slot that
    /// several pieces have parts of is replaced once, by all of them.
    ///
    /// # Errors
    /// As for [`SlotHandle::stage_run`].
    ///
    /// # Panics
    /// As [`SlotHandle::stage_run`], and if the pieces have fewer bytes.
    pub fn stage_pieces<'b>(
        &mut self,
        offset: usize,
        len: usize,
        pieces: impl IntoIterator<Item = &'b [u8]>,
    ) -> Result<(), Full> {
        self.assert_pass();
        let range = offset..offset.saturating_add(len);
        self.shape.check(&range);
        let slots = self.shape.touched(&range);
        self.stock_up(slots.len())?;
        if self.staged.len() + slots.len() > SLOT_STAGED {
            self.commit_staged();
        }
        let (mut pieces, mut piece) = (pieces.into_iter(), &[][..]);
        let (mut left, mut within) = (len, offset & (self.shape.slot_bytes() - 1));
        for slot in slots {
            let new = within..self.shape.slot_bytes().min(within + left);
            let fresh = self.free.pop().expect("stocked up for all slots");
            // The table's entry is far away, and the commit waits for it: it can come while the bytes are copied.
            self.prefetch(slot << self.shape.shift);
            let mut at = new.start;
            while at < new.end {
                if piece.is_empty() {
                    piece = pieces.next().expect("the pieces have as many bytes as they are said to");
                }
                let (here, rest) = piece.split_at(piece.len().min(new.end - at));
                // SAFETY: `here` fits into the slot after `at`. The slot is fresh: nobody else reads or writes it, and
                // `here` does not lie in it, as a caller can only have lent slots of this memory.
                unsafe { ptr::copy_nonoverlapping(here.as_ptr(), self.shape.at(fresh).as_ptr().add(at), here.len()) };
                (at, piece) = (at + here.len(), rest);
            }
            self.prefetch_fresh();
            (left, within) = (left - new.len(), 0);
            self.staged.push(Staged { slot, fresh, new });
        }
        Ok(())
    }

    /// Fresh slots that a write of so many whole slots can be received into.
    ///
    /// # Errors
    /// [`Full`] if not enough slots are free, or the landings of this handle would have more than [`SLOT_LANDED`]: how
    /// long they are out is up to a peer, and others need slots too.
    pub fn land(&mut self, slots: usize) -> Result<Landing, Full> {
        if self.ledger.landed() + slots > SLOT_LANDED {
            return Err(Full);
        }
        self.stock_up(slots)?;
        let mut numbers = self.lists.pop().unwrap_or_default();
        numbers.extend(self.free.drain(self.free.len() - slots..).rev());
        Ok(Landing::new(Rc::clone(&self.ledger), numbers))
    }

    /// Stages a landing that is filled, for the slots of the disk from `first` on: as [`SlotHandle::stage_run`] does,
    /// but nothing is copied.
    ///
    /// # Panics
    /// If no pass is open, the slots are not all on the disk, or the landing is another handle's.
    pub fn stage_landed(&mut self, first: usize, mut landing: Landing) {
        self.assert_pass();
        assert!(landing.belongs_to(&self.ledger), "the landing is another handle's");
        let mut numbers = landing.take();
        assert!(first + numbers.len() <= self.shape.slots, "{} slots from {first} on", numbers.len());
        if self.staged.len() + numbers.len() > SLOT_STAGED {
            self.commit_staged();
        }
        let whole = 0..self.shape.slot_bytes();
        self.staged.extend((first..).zip(numbers.drain(..)).map(|(slot, fresh)| Staged {
            slot,
            fresh,
            new: whole.clone(),
        }));
        self.lists.push(numbers);
    }

    /// Puts what was staged into the table, in the order in which it was staged.
    ///
    /// # Panics
    /// If no pass is open.
    pub fn commit_staged(&mut self) {
        self.assert_pass();
        let mut staged = mem::take(&mut self.staged);
        for Staged { slot, fresh, new } in staged.drain(..) {
            self.commit(slot, fresh, new);
        }
        self.staged = staged;
    }

    /// Makes bytes of one slot zeros; the whole slot gives up its data.
    ///
    /// # Errors
    /// [`Full`] if part of a slot is cleared and no slot is free; nothing was cleared.
    ///
    /// # Panics
    /// If no pass is open, or the bytes are not inside the slot.
    pub fn clear(&mut self, slot: usize, within: Range<usize>) -> Result<(), Full> {
        self.clear_run(self.in_slot(slot, within))
    }

    /// Makes a range of bytes of the disk zeros; whole slots give up their data.
    ///
    /// # Errors
    /// [`Full`] if the range begins or ends inside a slot and no slot is free; nothing was cleared.
    ///
    /// # Panics
    /// If no pass is open, or the bytes are not all on the disk.
    pub fn clear_run(&mut self, range: Range<usize>) -> Result<(), Full> {
        self.assert_pass();
        self.shape.check(&range);
        let slots = self.shape.touched(&range);
        let whole = range.start.div_ceil(self.shape.slot_bytes())..range.end >> self.shape.shift;
        self.stock_up(slots.len() - whole.len())?;
        for slot in slots {
            let start = slot << self.shape.shift;
            let within = range.start.max(start) - start..(range.end - start).min(self.shape.slot_bytes());
            if self.shape.entry(slot).load(Ordering::SeqCst) == UNMAPPED {
                continue;
            }
            if within.len() == self.shape.slot_bytes() {
                let old = self.shape.entry(slot).swap(UNMAPPED, Ordering::SeqCst);
                self.retire(old);
                self.ledger.count_mapped(-isize::from(old != UNMAPPED));
            } else {
                let fresh = self.free.pop().expect("stocked up for both ends");
                // SAFETY: the bytes lie in the slot, and the slot is fresh: nobody else reads or writes it.
                unsafe { self.shape.at(fresh).add(within.start).write_bytes(0, within.len()) };
                self.commit(slot, fresh, within);
            }
        }
        Ok(())
    }

    /// Slots that could be written now, if no other handle took any. Exact when it is small; when there are plenty,
    /// only those at hand are counted.
    pub fn spare(&mut self) -> usize {
        if self.free.len() >= SLOT_BATCH {
            return self.free.len();
        }
        let horizon = self.epochs().horizon();
        self.reclaim(horizon);
        let mut stock = self.ledger.map().stock.open();
        stock.settle(horizon);
        self.free.len() + stock.available()
    }

    fn epochs(&self) -> &Epochs {
        &self.ledger.map().epochs
    }

    fn assert_pass(&self) {
        assert!(self.ledger.in_pass(), "outside of a pass: begin() comes first");
    }

    /// Bytes of one slot as bytes of the disk.
    fn in_slot(&self, slot: usize, within: Range<usize>) -> Range<usize> {
        assert!(slot < self.shape.slots, "slot {slot} of {}", self.shape.slots);
        assert!(within.start <= within.end && within.end <= self.shape.slot_bytes(), "{within:?} of a slot");
        let start = slot << self.shape.shift;
        start + within.start..start + within.end
    }

    /// Puts a fresh slot, whose bytes `new` are filled in, into the table. The other bytes come from the slot before
    /// it.
    fn commit(&mut self, slot: usize, fresh: u32, new: Range<usize>) {
        let entry = self.shape.entry(slot);
        let old = if new.len() == self.shape.slot_bytes() {
            entry.swap(fresh, Ordering::SeqCst)
        } else {
            self.merge(slot, fresh, new, entry.load(Ordering::SeqCst))
        };
        self.retire(old);
        self.ledger.count_mapped(isize::from(old == UNMAPPED));
    }

    /// Completes the fresh slot from `old`, which was found in the table in this pass, and puts it there. Once more,
    /// if the table has a newer slot by now. Returns the one that it replaced.
    fn merge(&self, slot: usize, fresh: u32, new: Range<usize>, mut old: u32) -> u32 {
        let (entry, to) = (self.shape.entry(slot), self.shape.at(fresh).as_ptr());
        let tail = self.shape.slot_bytes() - new.end;
        loop {
            let from = self.shape.at(old).as_ptr();
            // SAFETY: both are slots; `fresh` is ours alone, and `old`, found in the table in this pass, is only read
            // by anybody until the pass ends. They differ, as a fresh slot is not in the table.
            unsafe {
                ptr::copy_nonoverlapping(from, to, new.start);
                ptr::copy_nonoverlapping(from.add(new.end), to.add(new.end), tail);
            }
            match entry.compare_exchange(old, fresh, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(old) => return old,
                Err(newer) => old = newer,
            }
        }
    }

    /// A free slot is cold, as it was overwritten long ago: those that the next writes fill are fetched meanwhile.
    fn prefetch_fresh(&self) {
        if let Some(&soon) = self.free.len().checked_sub(FRESH_PREFETCH_SLOTS).and_then(|at| self.free.get(at)) {
            prefetch(self.shape.at(soon), self.shape.slot_bytes());
        }
    }

    /// Keeps a slot that was just taken out of the table until its last reader is gone.
    fn retire(&mut self, number: u32) {
        if number == UNMAPPED {
            return;
        }
        if self.retired.len() == SLOT_RETIRED {
            self.spill();
        }
        self.retired.push_back(Retired { tag: self.epochs().now(), number });
    }

    /// Hands what is retired to the stock, where whoever needs a slot can see it freed.
    #[cold]
    fn spill(&mut self) {
        let Some(last) = self.retired.back() else { return };
        let map = self.ledger.map();
        map.epochs.advance(last.tag);
        map.stock.open().retire(self.retired.drain(..));
    }

    /// Lets what is retired go as soon as its readers are through, and frees what has none any more.
    fn settle(&mut self) {
        if let Some(last) = self.retired.back() {
            self.epochs().advance(last.tag);
            self.reclaim(self.epochs().horizon());
        }
    }

    /// Frees what was retired before the horizon; what was retired first is used first.
    fn reclaim(&mut self, horizon: u64) {
        let free = self.retired.partition_point(|retired| retired.tag < horizon);
        self.free.extend(self.retired.drain(..free).rev().map(|retired| retired.number));
    }

    /// Makes sure that `count` slots are at hand.
    fn stock_up(&mut self, count: usize) -> Result<(), Full> {
        if self.free.len() >= count { Ok(()) } else { self.refill(count) }
    }

    #[cold]
    fn refill(&mut self, count: usize) -> Result<(), Full> {
        let horizon = self.epochs().horizon();
        self.reclaim(horizon);
        if self.free.len() < count {
            let mut stock = self.ledger.map().stock.open();
            stock.settle(horizon);
            stock.take((count - self.free.len()).max(SLOT_BATCH), &mut self.free);
        }
        if self.free.len() >= count { Ok(()) } else { Err(Full) }
    }
}

impl Drop for SlotHandle {
    fn drop(&mut self) {
        if self.ledger.in_pass() {
            self.ledger.end();
        }
        self.spill();
        self.free.extend(self.staged.drain(..).map(|staged| staged.fresh));
        self.ledger.map().stock.open().give(self.free.drain(..));
    }
}

impl fmt::Debug for SlotHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlotHandle({} free, {} retired)", self.free.len(), self.retired.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The race between two partial writers of a slot, step by step.
    #[test]
    fn a_partial_write_that_comes_second_keeps_the_first() {
        let map = SlotMap::new(1, 512, 2 * SLOT_HELD).unwrap();
        let (mut one, mut other) = (map.handle(), map.handle());
        one.begin();
        other.begin();
        one.write(0, 0, &[1; 512]).unwrap();
        let seen = map.shape.entry(0).load(Ordering::SeqCst);
        other.write(0, 400, &[2; 112]).unwrap();
        let fresh = one.free.pop().unwrap();
        // SAFETY: 100 bytes inside of a slot that is not in the table.
        unsafe { map.shape.at(fresh).write_bytes(3, 100) };
        let old = one.merge(0, fresh, 0..100, seen);
        assert_ne!(old, seen);
        one.retire(old);
        assert_eq!(*one.lend(0, 0..512), [[3; 100].as_slice(), &[1; 300], &[2; 112]].concat());
    }

    /// The epoch is the one word that all writers of a map write to.
    #[test]
    fn the_common_epoch_is_moved_once_for_many_overwrites() {
        let map = SlotMap::new(1, 512, 2 * SLOT_HELD).unwrap();
        let mut one = map.handle();
        let mut write = |count: usize| {
            let before = map.epochs.now();
            for _ in 0..count {
                one.begin();
                one.write(0, 0, &[1; 512]).unwrap();
                one.end();
            }
            map.epochs.now() - before
        };
        // The first one overwrites nothing.
        assert_eq!(write(6), 5, "alone: nobody else minds");
        let other = map.handle();
        assert_eq!(write(10 * SLOT_SETTLED), 10);
        drop(other);
        assert_eq!(write(5), 5);
    }
}
