//! The common stock of slots that nobody's table entry points to. A lock guards it, taken once per batch.
//!
//! ```text
//!     free    | 40 41 42 |        used before, nobody points there; the next one is at the end
//!     fresh   | 50 .. 99 |        never used, never touched
//!     limbo   | 43/5 44/5 |       retired with their tags; free when their last readers are gone
//! ```
//!
//! Neighbours stay neighbours: slots are handed out in the order in which they were retired, so that what was written
//! as one run, and is overwritten as one, lies in one run again and is lent in one piece.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use crate::sync::{Mutex, MutexGuard, PoisonError};

/// A slot that is out of the table but may still be read.
#[derive(Clone, Copy)]
pub(super) struct Retired {
    /// The epoch after it was taken out: readers with a higher pin do not know it.
    pub(super) tag: u64,
    pub(super) number: u32,
}

pub(super) struct Stock(Mutex<Slots>);

pub(super) struct Slots {
    free: Vec<u32>,
    fresh: Range<u32>,
    /// What the places of handles that have not been taken yet would add to `fresh`: so many each.
    share: u32,
    /// Places that have added theirs.
    shared: usize,
    limbo: VecDeque<Retired>,
}

impl Stock {
    /// A stock of the slots with these numbers, none of them used, and of `share` more for each handle up to `end`.
    ///
    /// # Errors
    /// `OutOfMemory`. The lists never grow: they have room for all slots from the start (and touch it when they need
    /// it).
    pub(super) fn new(fresh: Range<u32>, end: u32, share: u32) -> io::Result<Self> {
        let (mut free, mut limbo) = (Vec::new(), VecDeque::new());
        let all = (end - fresh.start) as usize;
        free.try_reserve_exact(all).map_err(|_| io::ErrorKind::OutOfMemory)?;
        limbo.try_reserve_exact(all).map_err(|_| io::ErrorKind::OutOfMemory)?;
        Ok(Self(Mutex::new(Slots { free, fresh, share, shared: 0, limbo })))
    }

    /// Opens it. Between any two of its operations it is whole, so that a panic elsewhere does no harm.
    pub(super) fn open(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    /// A handle has taken this place: the shares of all places up to it are there to be used.
    pub(super) fn welcome(&mut self, place: usize) {
        let new = (place + 1).saturating_sub(self.shared);
        self.fresh.end += new as u32 * self.share;
        self.shared += new;
    }

    /// Frees what was retired before the horizon.
    pub(super) fn settle(&mut self, horizon: u64) {
        // Tags of several handles are not quite in order; one that is early waits behind one that is late.
        let free = self.limbo.iter().take_while(|retired| retired.tag < horizon).count();
        self.free.extend(self.limbo.drain(..free).rev().map(|retired| retired.number));
    }

    /// Slots that can be taken.
    pub(super) fn available(&self) -> usize {
        self.free.len() + self.fresh.len()
    }

    /// Moves up to `count` slots to the end of `to`, used ones first.
    pub(super) fn take(&mut self, count: usize, to: &mut Vec<u32>) {
        let fresh = count.saturating_sub(self.free.len()).min(self.fresh.len());
        let fresh = self.fresh.start..self.fresh.start + fresh as u32;
        self.fresh.start = fresh.end;
        to.extend(fresh.rev());
        to.extend(self.free.drain(self.free.len().saturating_sub(count)..));
    }

    pub(super) fn give(&mut self, numbers: impl Iterator<Item = u32>) {
        self.free.extend(numbers);
    }

    pub(super) fn retire(&mut self, retired: impl Iterator<Item = Retired>) {
        self.limbo.extend(retired);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_stay_runs() {
        let stock = Stock::new(10..20, 20, 0).unwrap();
        let mut stock = stock.open();
        let mut mine = Vec::new();
        stock.take(4, &mut mine);
        assert_eq!(mine, [13, 12, 11, 10], "the next one is at the end");
        stock.retire([10, 11, 12].map(|number| Retired { tag: 5, number }).into_iter());
        stock.settle(5);
        assert_eq!(stock.available(), 6);
        stock.settle(6);
        mine.clear();
        stock.take(5, &mut mine);
        assert_eq!(mine, [15, 14, 12, 11, 10]);
        stock.take(100, &mut mine);
        assert_eq!((mine.len(), stock.available()), (9, 0));
    }

    #[test]
    fn each_place_brings_its_share_once() {
        let stock = Stock::new(10..20, 26, 3).unwrap();
        let mut stock = stock.open();
        for (place, available) in [(0, 13), (0, 13), (1, 16), (0, 16)] {
            stock.welcome(place);
            assert_eq!(stock.available(), available, "place {place}");
        }
    }
}
