//! The memory of the table: one atomic number for each slot of the disk, all 0 at first.

use std::io;
use std::ptr::NonNull;

use crate::sync::AtomicU32;

/// Keeps the entries where they are. A mapping: entries that were never used cost nothing but address space.
#[cfg(not(loom))]
pub(super) struct Table(crate::region::Region);

#[cfg(not(loom))]
impl Table {
    /// A table of so many entries.
    ///
    /// # Errors
    /// The system's refusal of so much memory.
    pub(super) fn new(slots: usize) -> io::Result<Self> {
        crate::region::Region::anonymous(slots * size_of::<AtomicU32>()).map(Self)
    }

    /// The first entry: page-aligned, zeroed, the others behind it.
    pub(super) fn base(&self) -> NonNull<AtomicU32> {
        self.0.base().cast()
    }
}

/// The model checker's atomics are more than four bytes and must be made one by one.
#[cfg(loom)]
pub(super) struct Table(Box<[AtomicU32]>);

#[cfg(loom)]
impl Table {
    pub(super) fn new(slots: usize) -> io::Result<Self> {
        Ok(Self((0..slots).map(|_| AtomicU32::new(0)).collect()))
    }

    pub(super) fn base(&self) -> NonNull<AtomicU32> {
        NonNull::from(&*self.0).cast()
    }
}
