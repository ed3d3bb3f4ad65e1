//! Blocks that are lent: an array of atomic slot numbers over a region.
//!
//! ```text
//!     table    | 0 | 35 | 0 | 33 | 34 | ...      one number per slot of the disk; 0 = never written, or cleared
//!                    |         |    |
//!     memory   | 0 zeros 31 | 32 | 33 | 34 | 35 | 36 ...      number times slot_bytes
//! ```
//!
//! A read takes the number and lends the bytes where they lie. A write copies into a slot that no reader can reach and
//! then swaps the number: each slot of the disk is old or new, never torn. The old slot is *retired*: it is written
//! again only when the last loan that may point into it is back. How that is known without a lock or a count per slot
//! is told, and argued, in [`epoch`]. A large write need not be copied: it is received into a [`landing`] of fresh
//! slots.
//!
//! ```text
//!     a slot:   free --(write copies in)--> mapped --(overwritten, cleared)--> retired --(last reader gone)--> free
//! ```
//!
//! Free slots are kept per handle and exchanged in batches with a common [`stock`]. Slots that were never used are
//! never touched: a new map costs no memory but address space.

mod epoch;
mod handle;
mod landing;
mod stock;
mod table;

#[cfg(all(test, loom))]
mod models;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

pub use epoch::Lent;
pub use handle::SlotHandle;
pub use landing::{Landing, PiecesMut};

use super::Region;
use crate::limits::{MAX_REACTORS, SLOT_HELD, SLOT_LANDED, SLOT_ZERO_BYTES};
use crate::sync::AtomicU32;
use epoch::Epochs;
use stock::Stock;
use table::Table;

/// The number of a slot without data. The first [`SLOT_ZERO_BYTES`] of the memory are zeros and never written, so that
/// this number, too, can simply be multiplied.
const UNMAPPED: u32 = 0;

/// No slot is free now. Some come free when loans are returned and other handles end their passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no slot is free")
    }
}

impl std::error::Error for Full {}

/// The shared part: table, memory, epochs, stock. Used through one [`SlotHandle`] per reactor.
pub struct SlotMap {
    shape: Shape,
    epochs: Epochs,
    stock: Stock,
    /// What `shape` points into; kept mapped as long as anything can reach it.
    _behind: (Region, Table),
}

impl SlotMap {
    /// A map of `slots` slots of `slot_bytes` that reads as zeros, with `spare` slots more than that to write into.
    ///
    /// A handle that rests may keep [`SLOT_HELD`](crate::limits::SLOT_HELD) of the spare slots, and what is overwritten
    /// while loans are out needs others: with fewer spare slots than handles times that, writes may see [`Full`].
    ///
    /// # Errors
    /// `InvalidInput` if the numbers do not fit into 32 bits; the system's refusal of so much memory.
    ///
    /// # Panics
    /// If `slot_bytes` is not a power of two, or there are no slots.
    pub fn new(slots: usize, slot_bytes: usize, spare: usize) -> io::Result<Arc<Self>> {
        Self::with_share(slots, slot_bytes, spare, 0)
    }

    /// The same, where each handle brings along what it may keep and have in landings: handles take no spare slots
    /// from each other by being there. A handle's share is address space before it is there, and stays when it goes,
    /// for the next one.
    ///
    /// # Errors
    /// As [`SlotMap::new`].
    ///
    /// # Panics
    /// As [`SlotMap::new`].
    pub fn for_reactors(slots: usize, slot_bytes: usize, spare: usize) -> io::Result<Arc<Self>> {
        Self::with_share(slots, slot_bytes, spare, SLOT_HELD + SLOT_LANDED)
    }

    fn with_share(slots: usize, slot_bytes: usize, spare: usize, share: usize) -> io::Result<Arc<Self>> {
        assert!(slot_bytes.is_power_of_two() && slots > 0, "{slots} slots of {slot_bytes} bytes");
        let zeros = SLOT_ZERO_BYTES.div_ceil(slot_bytes);
        let ready = slots.checked_add(spare).and_then(|count| count.checked_add(zeros));
        let numbers = ready.and_then(|ready| ready.checked_add(share * MAX_REACTORS));
        let numbers = numbers.filter(|numbers| u32::try_from(*numbers).is_ok());
        let bytes = numbers.and_then(|numbers| numbers.checked_mul(slot_bytes));
        let (Some(ready), Some(numbers), Some(bytes)) = (ready, numbers, bytes) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "more slots than 32 bits can number"));
        };
        let memory = Region::anonymous(bytes)?;
        let table = Table::new(slots)?;
        let shape = Shape {
            table: table.base(),
            memory: memory.base(),
            slots,
            shift: slot_bytes.trailing_zeros(),
            zero_bytes: zeros * slot_bytes,
        };
        let stock = Stock::new(zeros as u32..ready as u32, numbers as u32, share as u32)?;
        Ok(Arc::new(Self { shape, epochs: Epochs::new(), stock, _behind: (memory, table) }))
    }

    /// Slots of the disk.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.shape.slots
    }

    /// Bytes of a slot.
    #[must_use]
    pub fn slot_bytes(&self) -> usize {
        self.shape.slot_bytes()
    }

    /// Slots that hold data now. Exact while nobody writes.
    #[must_use]
    pub fn mapped(&self) -> usize {
        self.epochs.mapped()
    }

    /// A reactor's way in. Its place is free again when it and all of its loans are gone.
    ///
    /// # Panics
    /// If there are [`MAX_REACTORS`](crate::limits::MAX_REACTORS) already.
    #[must_use]
    pub fn handle(self: &Arc<Self>) -> SlotHandle {
        SlotHandle::new(Arc::clone(self))
    }
}

impl fmt::Debug for SlotMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlotMap({} of {} slots of {} bytes mapped)", self.mapped(), self.slots(), self.slot_bytes())
    }
}

/// Where table and memory lie. Every handle has a copy, so that the data path chases no pointers; a copy is valid as
/// long as its owner holds the map.
#[derive(Clone, Copy)]
struct Shape {
    table: NonNull<AtomicU32>,
    memory: NonNull<u8>,
    slots: usize,
    /// `slot_bytes` is 1 << shift.
    shift: u32,
    zero_bytes: usize,
}

// SAFETY: addresses and sizes, constant for the life of the map. The table behind them is atomic; who may touch which
// bytes of the memory, and when, is the argument of `epoch`.
unsafe impl Send for Shape {}
// SAFETY: as above.
unsafe impl Sync for Shape {}

impl Shape {
    fn slot_bytes(&self) -> usize {
        1 << self.shift
    }

    /// The table's entry for a slot of the disk.
    fn entry(&self, slot: usize) -> &AtomicU32 {
        assert!(slot < self.slots, "slot {slot} of {}", self.slots);
        // SAFETY: the table has `slots` entries, zeroed at first and only used as atomics; the owner of this copy holds
        // the map and with it the table.
        unsafe { self.table.add(slot).as_ref() }
    }

    /// The first byte of the slot with this number.
    fn at(&self, number: u32) -> NonNull<u8> {
        // SAFETY: numbers come from the table or the stock, and all of these lie inside the memory (see
        // `SlotMap::new`).
        unsafe { self.memory.add((number as usize) << self.shift) }
    }

    /// The slots that a range of bytes of the disk touches.
    fn touched(&self, range: &Range<usize>) -> Range<usize> {
        if range.is_empty() { 0..0 } else { range.start >> self.shift..range.end.div_ceil(self.slot_bytes()) }
    }

    /// Asserts that a range of bytes lies on the disk.
    fn check(&self, range: &Range<usize>) {
        let bytes = self.slots << self.shift;
        assert!(range.start <= range.end && range.end <= bytes, "{range:?} is outside of {bytes} bytes");
    }
}
