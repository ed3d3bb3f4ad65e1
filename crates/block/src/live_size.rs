//! The size that a device has now: one number that all of its queues look at, and that only grows.
//!
//! It is read with every request and hardly ever written, so that each core keeps its own copy of the cache line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number of logical blocks; clones are the same number.
#[derive(Clone, Debug)]
pub(crate) struct LiveSize(Arc<AtomicU64>);

impl LiveSize {
    pub(crate) fn new(blocks: u64) -> Self {
        Self(Arc::new(AtomicU64::new(blocks)))
    }

    /// The size now.
    pub(crate) fn blocks(&self) -> u64 {
        // Nothing else is published through it: a queue that sees the old size a little longer refuses what it would
        // have refused a moment ago.
        self.0.load(Ordering::Relaxed)
    }

    /// Grows to `blocks` if that is more; the size afterwards.
    pub(crate) fn grow(&self, blocks: u64) -> u64 {
        self.0.fetch_max(blocks, Ordering::Relaxed).max(blocks)
    }
}
