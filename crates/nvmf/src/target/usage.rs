//! What hosts have read and written. Reactors count in words of their own and add them up once in a while.
//!
//! Which commands count is for the command set to say (NVM Command Set 1.2, 1.4.2: SMART Data Units Read Command, SMART
//! Host Read Command, User Data Out Command):
//!
//! | | commands | data units |
//! |---|---|---|
//! | read | Read, Compare | Read, Compare, Verify |
//! | written | Write | Write |
//!
//! Only from that revision on a Copy counts as well, as a read and as a write; what is claimed here is older.

use std::sync::atomic::{AtomicU64, Ordering};

use block::{Failure, Op};

/// Commands and bytes since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Commands that read data for the host: Read and Compare.
    pub reads: u64,
    /// Commands that write data of the host.
    pub writes: u64,
    /// Bytes that were read for the host: by those, and by Verify.
    pub read_bytes: u64,
    /// Bytes of those writes.
    pub written_bytes: u64,
}

impl Usage {
    /// Counts a request that is over, if it read or wrote its blocks. A Compare that found a difference has read them.
    pub(crate) fn count(&mut self, op: Op, block_bytes: u32, failure: Option<Failure>) {
        let done = matches!((op, failure), (_, None) | (Op::Compare(_), Some(Failure::Miscompare)));
        let Some(range) = op.range().filter(|_| done) else { return };
        let bytes = range.blocks * u64::from(block_bytes);
        match op {
            Op::Read(_) | Op::Compare(_) => {
                self.reads += 1;
                self.read_bytes += bytes;
            }
            Op::Verify(_) => self.read_bytes += bytes,
            Op::Write { .. } => {
                self.writes += 1;
                self.written_bytes += bytes;
            }
            _ => {}
        }
    }
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
