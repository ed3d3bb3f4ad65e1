//! Memory as a block device: an array of slot numbers over a region, one number per 4 KiB of the disk.
//!
//! ```text
//! blocks   | 0 1 2 3 4 5 6 7 | 8 9 ...        |                    logical blocks of 512 bytes
//! map      | slot 17         | none: zeros    | slot 3     |       atomic, one per 4 KiB
//! region   [ 0 ][ 1 ][ 2 ][ 3 ]...[ 17 ]...[ spare ]
//! ```
//!
//! A read is a loan: its completion points into the region, and the bytes do not change until they are sent. A write is
//! copied into a fresh slot, and one exchange of the number commits it, so that each 4 KiB is old or new for every
//! reader, never torn. The old slot is freed when its last loan is back. Slots that were never written read as zeros
//! and take no memory; write zeroes and deallocation make them so again.
//!
//! `submit` stages a write's bytes in fresh slots and notes which reads are to be lent; `poll` commits all writes, then
//! lends for all reads, so that cache misses overlap. Write zeroes and deallocation may cover the whole disk: they are
//! worked off a share per poll.
//!
//! With the power everything is lost, flushed or not. A flush has nothing to do, and hosts are told that there is no
//! volatile cache, so that they do not send any.

use std::collections::VecDeque;
use std::io;
use std::ops;
use std::sync::Arc;

use machine::os;
use machine::reactor::Arm;
use machine::region::{Full, Landing, Lent, SlotHandle, SlotMap};
use machine::ring::Ring;
use uuid::Uuid;

use crate::admit::{admit, bytes_of, check_size};
use crate::limits::{
    DEFAULT_BLOCK_BYTES, MAX_TRANSFER_BYTES, PREFERRED_BYTES, RAM_CLEAR_SLOTS, RAM_QUEUE_DEPTH, RAM_QUEUE_PIECES,
    RAM_SLOT_BYTES, RAM_SPARE_SHARE, RAM_SPARE_SLOTS_MIN,
};
use crate::size::format_size;
use crate::{
    Completion, Completions, Data, Device, Failure, Features, Identity, Info, Op, OpenError, Outcome, Queue, Range,
    Refused, Request, Returned, Tag,
};

/// A disk in memory.
pub struct RamDevice {
    info: Info,
    map: Arc<SlotMap>,
}

impl RamDevice {
    /// Makes an empty disk of `bytes`; memory is taken only as it is written. Without `uuid` it is a new disk each
    /// time, as its contents do not survive either.
    ///
    /// # Errors
    /// A size that is not a whole number of blocks, or that is more than this machine's memory.
    pub fn new(
        name: &str,
        bytes: u64,
        block_bytes: Option<u32>,
        read_only: bool,
        uuid: Option<Uuid>,
    ) -> Result<Self, OpenError> {
        let block_bytes = block_bytes.unwrap_or(DEFAULT_BLOCK_BYTES);
        let fail =
            |why: String, hint: &str, source| OpenError { device: name.to_owned(), why, hint: hint.to_owned(), source };
        let blocks = check_size(bytes, block_bytes).map_err(|why| {
            fail(format!("a size of {bytes} bytes {why}"), "Choose another size, for example ram:1GiB.", None)
        })?;
        if let Some(total) = os::total_memory().filter(|total| bytes > *total) {
            let why = format!("{} is more than this machine's memory of {}", format_size(bytes), format_size(total));
            return Err(fail(why, "Choose a smaller size, or serve a sparse file.", None));
        }
        if let Some(available) = os::available_memory().filter(|available| bytes > *available) {
            let (bytes, available) = (format_size(bytes), format_size(available));
            tracing::warn!("{name}: once {bytes} are written, memory runs out: only {available} can be had now");
        }
        let slots = bytes.div_ceil(RAM_SLOT_BYTES as u64);
        let spare = (slots / RAM_SPARE_SHARE).max(RAM_SPARE_SLOTS_MIN);
        let map = to_usize(slots, spare).and_then(|(slots, spare)| SlotMap::for_reactors(slots, RAM_SLOT_BYTES, spare));
        let map = map.map_err(|error| {
            let why = format!("there is no room for {}: {error}", format_size(bytes));
            fail(why, "Choose a smaller size; it has to fit in this machine's memory.", Some(error))
        })?;
        let info = Info {
            name: name.to_owned(),
            kind: "ram",
            block_bytes,
            blocks,
            preferred_blocks: PREFERRED_BYTES / block_bytes,
            max_transfer_bytes: MAX_TRANSFER_BYTES,
            features: Features {
                read_only,
                volatile_cache: false,
                lends: true,
                zeros_after_deallocate: true,
                thin: true,
            },
            identity: Identity::from_uuid(uuid.unwrap_or_else(Uuid::new_v4)),
        };
        Ok(Self { info, map })
    }
}

fn to_usize(slots: u64, spare: u64) -> io::Result<(usize, usize)> {
    let fit = usize::try_from(slots).ok().zip(usize::try_from(spare).ok());
    fit.ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
}

impl Device for RamDevice {
    fn info(&self) -> &Info {
        &self.info
    }

    fn open_queue(&self, _ring: &mut Ring) -> io::Result<Box<dyn Queue>> {
        Ok(Box::new(RamQueue {
            info: self.info.clone(),
            handle: self.map.handle(),
            done: VecDeque::with_capacity(RAM_QUEUE_DEPTH),
            lent: VecDeque::with_capacity(RAM_QUEUE_PIECES),
            reads: Vec::with_capacity(RAM_QUEUE_DEPTH),
            pieces: 0,
            clears: VecDeque::with_capacity(RAM_QUEUE_DEPTH),
        }))
    }

    fn used_blocks(&self) -> u64 {
        let bytes = self.map.mapped() as u64 * RAM_SLOT_BYTES as u64;
        (bytes / u64::from(self.info.block_bytes)).min(self.info.blocks)
    }
}

/// One reactor's way to the slots.
struct RamQueue {
    info: Info,
    handle: SlotHandle,
    /// Completions that wait for the poll.
    done: VecDeque<Completion>,
    /// The pieces of those that lend, in their order.
    lent: VecDeque<Lent>,
    /// Reads that the poll will lend: when many are at hand, finding their slots overlaps.
    reads: Vec<Read>,
    /// The most pieces that those can have.
    pieces: usize,
    /// Ranges that are being cleared.
    clears: VecDeque<Clear>,
}

/// Pieces of the largest read: its slots, and one more because it may begin inside one.
const MAX_PIECES: usize = MAX_TRANSFER_BYTES as usize / RAM_SLOT_BYTES + 1;

/// A read that is to be lent.
struct Read {
    tag: Tag,
    offset: u64,
    len: u64,
}

/// Write zeroes or deallocation on its way: the bytes still to be cleared.
struct Clear {
    tag: Tag,
    rest: ops::Range<u64>,
    cancelled: bool,
}

impl RamQueue {
    fn finish(&mut self, tag: Tag, outcome: Outcome, data: Returned) {
        self.done.push_back(Completion { tag, outcome, data });
    }

    /// Lends the bytes at `offset`; the number of pieces.
    fn lend(&mut self, offset: u64, len: u64) -> usize {
        let slot_bytes = RAM_SLOT_BYTES as u64;
        let from = (offset % slot_bytes) as usize;
        self.handle.lend_run((offset / slot_bytes) as usize, from..from + len as usize, &mut self.lent)
    }

    /// Lends what was asked for since the last poll.
    fn lend_all(&mut self) {
        let mut reads = std::mem::take(&mut self.reads);
        for Read { tag, offset, len } in reads.drain(..) {
            let pieces = self.lend(offset, len);
            self.finish(tag, Ok(()), Returned::Lent(pieces));
        }
        self.reads = reads;
        self.pieces = 0;
    }

    fn copy_out(&mut self, offset: u64, out: &mut [u8]) {
        let kept = self.lent.len();
        self.lend(offset, out.len() as u64);
        let mut rest = out;
        for piece in self.lent.range(kept..) {
            let (front, back) = rest.split_at_mut(piece.len());
            front.copy_from_slice(piece);
            rest = back;
        }
        assert!(rest.is_empty(), "the pieces are shorter than the read");
        self.lent.truncate(kept);
    }

    /// Works off a share of the ranges to clear.
    fn clear_some(&mut self) {
        let mut budget = RAM_CLEAR_SLOTS;
        while let Some(clear) = self.clears.front_mut() {
            while !clear.cancelled && !clear.rest.is_empty() {
                let slot_end = (clear.rest.start + 1).next_multiple_of(RAM_SLOT_BYTES as u64);
                let piece = clear.rest.start..slot_end.min(clear.rest.end);
                // Only a part of a slot needs a new one; when none is there, the next poll tries again.
                if budget == 0 || self.handle.clear_run(piece.start as usize..piece.end as usize).is_err() {
                    return;
                }
                clear.rest.start = piece.end;
                budget -= 1;
            }
            let outcome = if clear.rest.is_empty() { Ok(()) } else { Err(Failure::Cancelled) };
            let tag = clear.tag;
            self.clears.pop_front();
            self.finish(tag, outcome, Returned::None);
        }
    }
}

impl Queue for RamQueue {
    fn begin(&mut self) {
        self.handle.begin();
    }

    /// For whole slots; anything else has bytes of others in its first or last one.
    fn land(&mut self, range: Range) -> Option<Landing> {
        let (offset, len) = bytes_of(&self.info, range);
        let slot_bytes = RAM_SLOT_BYTES as u64;
        let whole = offset.is_multiple_of(slot_bytes) && len.is_multiple_of(slot_bytes);
        if !whole || len > u64::from(MAX_TRANSFER_BYTES) {
            return None;
        }
        self.handle.land((len / slot_bytes) as usize).ok()
    }

    fn submit<'a>(&mut self, _ring: &mut Ring, request: Request<'a>) -> Result<(), Refused<'a>> {
        if self.in_flight() == RAM_QUEUE_DEPTH || self.pieces + MAX_PIECES > RAM_QUEUE_PIECES {
            return Err(Refused(request));
        }
        let admitted = admit(&self.info, self.info.blocks, &request);
        let Request { tag, op, data } = request;
        if let Err(failure) = admitted {
            let back = match data {
                Data::Carried(buf) => Returned::Carried(buf),
                _ => Returned::None,
            };
            self.finish(tag, Err(failure), back);
            return Ok(());
        }
        let (offset, len) = op.range().map_or((0, 0), |range| bytes_of(&self.info, range));
        match (op, data) {
            (Op::Read(_), Data::Carried(mut buf)) => {
                self.copy_out(offset, &mut buf);
                self.finish(tag, Ok(()), Returned::Carried(buf));
            }
            (Op::Read(_), _) => {
                self.handle.prefetch(offset as usize);
                self.reads.push(Read { tag, offset, len });
                self.pieces += MAX_PIECES.min(len as usize / RAM_SLOT_BYTES + 2);
            }
            (Op::Write { .. }, Data::Inline(bytes)) => match self.handle.stage_run(offset as usize, bytes) {
                Ok(()) => self.finish(tag, Ok(()), Returned::None),
                Err(Full) => return Err(Refused(Request { tag, op, data: Data::Inline(bytes) })),
            },
            (Op::Write { .. }, Data::Carried(buf)) => match self.handle.stage_run(offset as usize, &buf) {
                Ok(()) => self.finish(tag, Ok(()), Returned::Carried(buf)),
                Err(Full) => return Err(Refused(Request { tag, op, data: Data::Carried(buf) })),
            },
            (Op::Write { .. }, Data::Landed(landing)) => {
                self.handle.stage_landed(offset as usize / RAM_SLOT_BYTES, landing);
                self.finish(tag, Ok(()), Returned::None);
            }
            (Op::WriteZeroes { .. } | Op::Deallocate(_), _) => {
                let mut end = offset + len;
                if end == self.info.bytes() {
                    // The last slot may be larger than what is left of the disk; it is freed as a whole, too.
                    end = end.next_multiple_of(RAM_SLOT_BYTES as u64);
                }
                self.clears.push_back(Clear { tag, rest: offset..end, cancelled: false });
            }
            (Op::Flush, _) => self.finish(tag, Ok(()), Returned::None),
            (Op::Write { .. }, Data::None | Data::Lend) => unreachable!("a write without bytes is not admitted"),
        }
        Ok(())
    }

    fn poll(&mut self, _ring: &mut Ring, out: &mut Completions) {
        // A write that is about to complete takes effect before the reads that come back with it.
        self.handle.commit_staged();
        self.clear_some();
        self.lend_all();
        out.list.extend(self.done.drain(..));
        out.lent.append(&mut self.lent);
    }

    fn end(&mut self) {
        self.handle.end();
    }

    fn cancel(&mut self, tag: Tag) {
        if let Some(clear) = self.clears.iter_mut().find(|clear| clear.tag == tag) {
            clear.cancelled = true;
        }
    }

    fn in_flight(&self) -> usize {
        self.done.len() + self.reads.len() + self.clears.len()
    }

    fn arm(&mut self, _ring: &mut Ring) -> Arm {
        if self.in_flight() == 0 { Arm::Armed } else { Arm::Busy }
    }
}
