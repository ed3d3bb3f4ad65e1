//! A number that one thread writes and everybody may read at any time: how statistics leave a reactor.
//!
//! Words that belong together are read one after the other while their writer goes on, so they may be a little apart.

use std::sync::atomic::{AtomicU64, Ordering};

/// Written by one thread, so that adding needs no locked instruction.
#[derive(Debug, Default)]
pub struct Word(AtomicU64);

impl Word {
    /// Adds. For the one thread that writes it: with two, additions would be lost.
    #[inline]
    pub fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    /// Sets. For the one thread that writes it.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number now.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
