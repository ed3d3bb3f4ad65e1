//! A place to land: fresh slots that a write is received into, before it is known that all of it comes.
//!
//! ```text
//!     land     stock --> [ 50 | 51 | 52 | 40 ]     nobody can reach these slots: the network fills them, in any order
//!     stage    all is in: the numbers wait beside those of other writes, and are committed with them
//!     drop     the peer is gone, or its data was wrong: the slots are free again, the disk never knew
//! ```

use std::fmt;
use std::ops::Range;
use std::ptr;
use std::rc::Rc;
use std::slice;

use super::epoch::Ledger;

/// Fresh slots for a write, in the order of its bytes. They are its own until [`super::SlotHandle::stage_landed`] takes
/// them; dropped before that, they are free again.
pub struct Landing {
    ledger: Rc<Ledger>,
    /// Taken off the stock, in no table and on no list.
    numbers: Vec<u32>,
}

impl Landing {
    pub(super) fn new(ledger: Rc<Ledger>, numbers: Vec<u32>) -> Self {
        ledger.count_landed(numbers.len() as isize);
        Self { ledger, numbers }
    }

    /// The slots, which are the caller's from here on.
    pub(super) fn take(&mut self) -> Vec<u32> {
        let numbers = std::mem::take(&mut self.numbers);
        self.ledger.count_landed(-(numbers.len() as isize));
        numbers
    }

    /// Whether its slots are of the map that this ledger belongs to, and were counted there.
    pub(super) fn belongs_to(&self, ledger: &Rc<Ledger>) -> bool {
        Rc::ptr_eq(&self.ledger, ledger)
    }

    /// Bytes that fit: those of its slots.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.len() * self.ledger.map().shape.slot_bytes()
    }

    /// Whether it has no slots.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The places of a range of its bytes, in order; slots that lie one behind the other are one piece.
    ///
    /// # Panics
    /// If the range is not inside of it.
    pub fn pieces_mut(&mut self, range: Range<usize>) -> PiecesMut<'_> {
        assert!(range.start <= range.end && range.end <= self.len(), "{range:?} of {} bytes", self.len());
        PiecesMut { landing: self, range }
    }

    /// Puts bytes at an offset.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        let mut rest = bytes;
        for piece in self.pieces_mut(offset..offset.saturating_add(bytes.len())) {
            let (here, behind) = rest.split_at(piece.len());
            piece.copy_from_slice(here);
            rest = behind;
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if !self.numbers.is_empty() {
            let numbers = self.take();
            self.ledger.map().stock.open().give(numbers.into_iter());
        }
    }
}

impl fmt::Debug for Landing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Landing({} slots)", self.numbers.len())
    }
}

/// See [`Landing::pieces_mut`].
pub struct PiecesMut<'a> {
    landing: &'a mut Landing,
    /// What is still to come.
    range: Range<usize>,
}

impl<'a> Iterator for PiecesMut<'a> {
    type Item = &'a mut [u8];

    fn next(&mut self) -> Option<&'a mut [u8]> {
        if self.range.is_empty() {
            return None;
        }
        let (shape, numbers) = (&self.landing.ledger.map().shape, &self.landing.numbers);
        let at = self.range.start >> shape.shift;
        let within = self.range.start & (shape.slot_bytes() - 1);
        let neighbours = numbers[at..].windows(2).take_while(|pair| pair[1] == pair[0] + 1).count();
        let len = (((neighbours + 1) << shape.shift) - within).min(self.range.len());
        self.range.start += len;
        let start = shape.at(numbers[at]).as_ptr();
        // SAFETY: `len` bytes after `within` lie in slots one behind the other, which belong to the landing alone: no
        // table has them, so nobody lends or writes them. It is borrowed mutably for 'a, and as the range only moves
        // forward, no byte is handed out twice. The ledger keeps the map mapped.
        Some(unsafe { slice::from_raw_parts_mut(ptr::addr_of_mut!(*start.add(within)), len) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Full, SlotMap};
    use crate::limits::{SLOT_HELD, SLOT_LANDED};

    const SLOT: usize = 512;

    #[test]
    fn what_lands_is_there_once_it_is_committed() {
        let map = SlotMap::new(8, SLOT, 4 * SLOT_HELD).unwrap();
        let mut handle = map.handle();
        handle.begin();
        handle.write_run(0, &[9; 8 * SLOT]).unwrap();
        let mut landing = handle.land(3).unwrap();
        assert_eq!((landing.len(), landing.is_empty()), (3 * SLOT, false));
        // In an order and in pieces that no slot knows of.
        landing.write(700, &[2; 3 * SLOT - 700]);
        landing.write(0, &[1; 700]);
        assert_eq!(*handle.lend(2, 0..SLOT), [9; SLOT], "nobody sees it yet");
        handle.stage_landed(2, landing);
        handle.commit_staged();
        let disk: Vec<u8> = (0..8).flat_map(|slot| handle.lend(slot, 0..SLOT).to_vec()).collect();
        assert_eq!(disk, [vec![9; 2 * SLOT], vec![1; 700], vec![2; 3 * SLOT - 700], vec![9; 3 * SLOT]].concat());
        handle.end();
    }

    #[test]
    fn pieces_cover_a_range_once_and_in_order() {
        let map = SlotMap::new(8, SLOT, 4 * SLOT_HELD).unwrap();
        let mut handle = map.handle();
        handle.begin();
        // Old slots come back among new ones: not all are neighbours.
        handle.write_run(0, &[1; 4 * SLOT]).unwrap();
        handle.write_run(SLOT, &[1; SLOT]).unwrap();
        handle.end();
        handle.begin();
        let mut landing = handle.land(8).unwrap();
        for (start, end) in [(0, 8 * SLOT), (0, 0), (1, SLOT), (SLOT - 1, SLOT + 1), (600, 3000)] {
            let mut count = 0;
            for piece in landing.pieces_mut(start..end) {
                piece.iter_mut().for_each(|byte| *byte = 7);
                count += piece.len();
            }
            assert_eq!(count, end - start);
            let all: Vec<u8> = landing.pieces_mut(0..8 * SLOT).flat_map(|piece| piece.to_vec()).collect();
            assert!(all[start..end].iter().all(|byte| *byte == 7));
            landing.write(0, &[0; 8 * SLOT]);
        }
        handle.end();
    }

    #[test]
    fn what_is_dropped_is_free_again() {
        let map = SlotMap::new(4, SLOT, SLOT_HELD).unwrap();
        let mut handle = map.handle();
        let before = handle.spare();
        handle.begin();
        for _ in 0..10 * SLOT_HELD {
            let mut landing = handle.land(4).unwrap();
            landing.write(0, &[3; 4 * SLOT]);
        }
        assert_eq!(*handle.lend(0, 0..SLOT), [0; SLOT]);
        handle.end();
        drop(handle.land(1));
        assert_eq!(handle.spare(), before);
    }

    #[test]
    fn a_landing_outlives_its_handle() {
        let map = SlotMap::new(4, SLOT, SLOT_HELD).unwrap();
        let mut handle = map.handle();
        let spare = handle.spare();
        let mut landing = handle.land(2).unwrap();
        drop(handle);
        landing.write(0, &[3; 2 * SLOT]);
        drop(landing);
        assert_eq!(map.handle().spare(), spare);
    }

    #[test]
    fn landings_are_bounded() {
        let map = SlotMap::new(4, SLOT, 2 * (SLOT_HELD + SLOT_LANDED)).unwrap();
        let mut handle = map.handle();
        let first = handle.land(SLOT_LANDED).unwrap();
        assert_eq!(handle.land(1).unwrap_err(), Full);
        assert!(map.handle().land(1).is_ok(), "each handle has its own share");
        drop(first);
        assert!(handle.land(1).is_ok());
    }

    #[test]
    #[should_panic(expected = "another handle's")]
    fn a_landing_goes_back_to_its_own_handle() {
        let map = SlotMap::new(4, SLOT, 4 * SLOT_HELD).unwrap();
        let (mut one, mut other) = (map.handle(), map.handle());
        let landing = one.land(1).unwrap();
        other.begin();
        other.stage_landed(0, landing);
    }
}
