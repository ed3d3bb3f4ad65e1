//! What hosts have read and written. Reactors count in words of their own and add them up once in a while.

use std::sync::atomic::{AtomicU64, Ordering};

/// Commands and bytes since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Read commands that succeeded.
    pub reads: u64,
    /// Write commands that succeeded.
    pub writes: u64,
    /// Bytes of those reads.
    pub read_bytes: u64,
    /// Bytes of those writes.
    pub written_bytes: u64,
}

/// The sum over all reactors.
#[derive(Debug, Default)]
pub struct TotalUsage([AtomicU64; 4]);

impl TotalUsage {
    /// Adds what a reactor has counted since it last did, and sets that to zero.
    pub(crate) fn add(&self, usage: &mut Usage) {
        let Usage { reads, writes, read_bytes, written_bytes } = std::mem::take(usage);
        for (total, part) in self.0.iter().zip([reads, writes, read_bytes, written_bytes]) {
            if part > 0 {
                total.fetch_add(part, Ordering::Relaxed);
            }
        }
    }

    /// The sum as of the last additions.
    #[must_use]
    pub fn read(&self) -> Usage {
        let [reads, writes, read_bytes, written_bytes] = self.0.each_ref().map(|word| word.load(Ordering::Relaxed));
        Usage { reads, writes, read_bytes, written_bytes }
    }
}
