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
//! lends for all reads, so that cache misses overlap. Write zeroes, deallocation, verify and write uncorrectable may
//! cover the whole disk: they are worked off a share per poll. A copy is a write whose bytes are lent from its sources.
//! Blocks that were made unreadable are noted beside the map, one bit each.
//!
//! With the power everything is lost, flushed or not. A flush has nothing to do, and hosts are told that there is no
//! volatile cache, so that they do not send any.

use std::collections::VecDeque;
use std::io;
use std::ops;
use std::sync::Arc;

use machine::os;
use machine::reactor::Arm;
use machine::region::{Bufs, Full, Landing, Lent, SlotHandle, SlotMap};
use machine::ring::Ring;
use uuid::Uuid;

use crate::admit::{admit, bytes_of, check_size};
use crate::bad_blocks::BadBlocks;
use crate::limits::{
    DEFAULT_BLOCK_BYTES, MAX_TRANSFER_BYTES, PREFERRED_BYTES, RAM_QUEUE_DEPTH, RAM_QUEUE_PIECES, RAM_SLOT_BYTES,
    RAM_SPARE_SHARE, RAM_SPARE_SLOTS_MIN, RAM_SWEEP_SLOTS,
};
use crate::size::format_size;
use crate::{
    Completion, Completions, CopyLimits, Data, Device, Failure, Features, Identity, Info, Op, OpenError, Outcome,
    Queue, Range, Refused, Request, Returned, Tag,
};

/// A disk in memory.
pub struct RamDevice {
    info: Info,
    map: Arc<SlotMap>,
    bad: Arc<BadBlocks>,
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
            atomic_blocks: RAM_SLOT_BYTES as u32 / block_bytes,
            max_transfer_bytes: MAX_TRANSFER_BYTES,
            piece_bytes: 1,
            features: Features {
                read_only,
                volatile_cache: false,
                lends: true,
                zeros_after_deallocate: true,
                thin: true,
                compare: true,
                verify: true,
                write_uncorrectable: true,
                copy: Some(CopyLimits::most(block_bytes)),
            },
            identity: Identity::from_uuid(uuid.unwrap_or_else(Uuid::new_v4)),
        };
        let bad = Arc::new(BadBlocks::new(blocks));
        Ok(Self { info, map, bad })
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
            bad: Arc::clone(&self.bad),
            done: Vec::with_capacity(RAM_QUEUE_DEPTH),
            lent: VecDeque::with_capacity(RAM_QUEUE_PIECES),
            sources: VecDeque::with_capacity(RAM_QUEUE_PIECES),
            copies: Vec::with_capacity(RAM_QUEUE_DEPTH),
            heals: Vec::new(),
            reads: Vec::with_capacity(RAM_QUEUE_DEPTH),
            pieces: 0,
            sweeps: VecDeque::with_capacity(RAM_QUEUE_DEPTH),
        }))
    }

    fn used_blocks(&self) -> u64 {
        let bytes = self.map.mapped() as u64 * RAM_SLOT_BYTES as u64;
        (bytes / u64::from(self.info.block_bytes)).min(self.info.blocks)
    }
}

/// The error number of Linux for "no memory".
const ENOMEM: i32 = 12;

/// One reactor's way to the slots.
struct RamQueue {
    info: Info,
    handle: SlotHandle,
    bad: Arc<BadBlocks>,
    /// Writes that the poll will commit, while there are bad blocks that they may heal.
    heals: Vec<Range>,
    /// Completions that wait for the poll.
    done: Vec<Completion>,
    /// The pieces of those that lend, in their order.
    lent: VecDeque<Lent>,
    /// What is to be copied in this poll, and the pieces that it is copied from, in the same order.
    copies: Vec<(Tag, Bufs, usize)>,
    sources: VecDeque<Lent>,
    /// Reads that the poll will look up: when many are at hand, finding their slots overlaps.
    reads: Vec<Read>,
    /// The most pieces that those can have.
    pieces: usize,
    /// Ranges of any length that are being worked off.
    sweeps: VecDeque<Sweep>,
}

/// Pieces of the largest read: its slots, and one more because it may begin inside one.
const MAX_PIECES: usize = MAX_TRANSFER_BYTES as usize / RAM_SLOT_BYTES + 1;

/// A read that is to be lent, or copied into the buffers that it carries.
struct Read {
    tag: Tag,
    range: Range,
    carried: Bufs,
}

/// A request on its way that may cover the whole disk: the blocks still to be done.
struct Sweep {
    tag: Tag,
    what: What,
    rest: ops::Range<u64>,
    cancelled: bool,
}

/// What is done with the blocks.
#[derive(Clone, Copy)]
enum What {
    /// Write zeroes, deallocate.
    Clear,
    /// Write uncorrectable.
    Mark,
    /// Verify.
    Look,
}

impl RamQueue {
    fn finish(&mut self, tag: Tag, outcome: Outcome, data: Returned) {
        self.done.push(Completion { tag, outcome, data });
    }

    /// Lends the bytes at `offset` into `out`; the number of pieces.
    fn lend(handle: &mut SlotHandle, offset: u64, len: u64, out: &mut VecDeque<Lent>) -> usize {
        let slot_bytes = RAM_SLOT_BYTES as u64;
        let from = (offset % slot_bytes) as usize;
        handle.lend_run((offset / slot_bytes) as usize, from..from + len as usize, out)
    }

    /// Lends or copies what was asked for since the last poll. All slots are looked up, and their beginnings fetched,
    /// before the first is copied.
    fn read_all(&mut self) {
        let mut reads = std::mem::take(&mut self.reads);
        for Read { tag, range, carried } in reads.drain(..) {
            let outcome = self.readable(range);
            let (offset, len) = bytes_of(&self.info, range);
            match carried {
                Bufs::None if outcome.is_ok() => {
                    let pieces = Self::lend(&mut self.handle, offset, len, &mut self.lent);
                    self.finish(tag, Ok(()), Returned::Lent(pieces));
                }
                bufs if outcome.is_ok() => {
                    let pieces = Self::lend(&mut self.handle, offset, len, &mut self.sources);
                    self.copies.push((tag, bufs, pieces));
                }
                bufs => self.finish(tag, outcome, bufs.into()),
            }
        }
        self.reads = reads;
        self.pieces = 0;
        self.copy_all();
    }

    fn copy_all(&mut self) {
        for (tag, mut bufs, pieces) in self.copies.drain(..) {
            fill(&mut bufs, self.sources.drain(..pieces));
            self.done.push(Completion { tag, outcome: Ok(()), data: bufs.into() });
        }
    }

    /// Stages a write; its data comes back if there are no slots for it.
    fn write<'a>(&mut self, tag: Tag, range: Range, data: Data<'a>) -> Result<(), Data<'a>> {
        let offset = bytes_of(&self.info, range).0 as usize;
        let back = match data {
            Data::Inline(bytes) => match self.handle.stage_run(offset, bytes) {
                Ok(()) => Returned::None,
                Err(Full) => return Err(data),
            },
            Data::Carried(buf) => match self.handle.stage_run(offset, &buf) {
                Ok(()) => Returned::Carried(buf),
                Err(Full) => return Err(Data::Carried(buf)),
            },
            Data::Scattered(pieces) => {
                let len = pieces.iter().map(|piece| piece.len()).sum();
                match self.handle.stage_pieces(offset, len, pieces.iter().map(|piece| &**piece)) {
                    Ok(()) => Returned::Scattered(pieces),
                    Err(Full) => return Err(Data::Scattered(pieces)),
                }
            }
            Data::Landed(landing) => {
                self.handle.stage_landed(offset / RAM_SLOT_BYTES, landing);
                Returned::None
            }
            Data::None | Data::Lend | Data::Sources(_) => unreachable!("a write without bytes is not admitted"),
        };
        self.will_heal(range);
        self.finish(tag, Ok(()), back);
        Ok(())
    }

    fn start_sweep(&mut self, tag: Tag, what: What, range: Range) {
        self.sweeps.push_back(Sweep { tag, what, rest: range.lba..range.lba + range.blocks, cancelled: false });
    }

    /// Works off a share of the long ranges.
    fn sweep_some(&mut self) {
        let slot_blocks = RAM_SLOT_BYTES as u64 / u64::from(self.info.block_bytes);
        let mut budget = RAM_SWEEP_SLOTS;
        while let Some(sweep) = self.sweeps.front() {
            let (tag, what, rest, cancelled) = (sweep.tag, sweep.what, sweep.rest.clone(), sweep.cancelled);
            let outcome = if cancelled {
                Err(Failure::Cancelled)
            } else {
                let slot_end = (rest.start + 1).next_multiple_of(slot_blocks);
                let piece = Range { lba: rest.start, blocks: slot_end.min(rest.end) - rest.start };
                // Only clearing a part of a slot needs a new one; when none is there, the next poll tries again.
                let Some(outcome) = (budget > 0).then(|| self.sweep(what, piece)).flatten() else { return };
                budget -= 1;
                outcome
            };
            let sweep = self.sweeps.front_mut().expect("it was there");
            sweep.rest.start = slot_end_of(&rest, slot_blocks);
            if sweep.rest.is_empty() || outcome.is_err() {
                self.sweeps.pop_front();
                self.finish(tag, outcome, Returned::None);
            }
        }
    }

    /// Does what a sweep does to blocks of one slot. None if there is no free slot.
    fn sweep(&mut self, what: What, piece: Range) -> Option<Outcome> {
        match what {
            What::Clear => {
                let (offset, len) = bytes_of(&self.info, piece);
                let mut end = offset + len;
                if end == self.info.bytes() {
                    // The last slot may be larger than what is left of the disk; it is freed as a whole, too.
                    end = end.next_multiple_of(RAM_SLOT_BYTES as u64);
                }
                self.handle.clear_run(offset as usize..end as usize).ok()?;
                self.bad.heal(piece);
                Some(Ok(()))
            }
            What::Mark if self.bad.mark(piece) => Some(Ok(())),
            What::Mark => Some(Err(Failure::Host(ENOMEM))),
            What::Look => Some(self.readable(piece)),
        }
    }

    /// Whether the blocks can be read.
    fn readable(&self, range: Range) -> Outcome {
        if self.bad.hit(range) { Err(Failure::Unreadable) } else { Ok(()) }
    }

    /// Compares blocks with the bytes of pieces, one behind the other.
    fn compare<'b>(&mut self, range: Range, pieces: impl IntoIterator<Item = &'b [u8]>) -> Outcome {
        self.readable(range)?;
        let kept = self.lent.len();
        let (mut offset, _) = bytes_of(&self.info, range);
        let same = pieces.into_iter().filter(|piece| !piece.is_empty()).all(|mut rest| {
            Self::lend(&mut self.handle, offset, rest.len() as u64, &mut self.lent);
            offset += rest.len() as u64;
            self.lent.drain(kept..).all(|piece| {
                let (here, behind) = rest.split_at(piece.len());
                rest = behind;
                *here == *piece
            })
        });
        if same { Ok(()) } else { Err(Failure::Miscompare) }
    }

    /// Copies blocks into fresh slots; they take effect together with the other writes.
    fn copy(&mut self, sources: &[Range], to: Range) -> Result<Outcome, Full> {
        if let Err(failure) = sources.iter().try_for_each(|source| self.readable(*source)) {
            return Ok(Err(failure));
        }
        let kept = self.lent.len();
        for source in sources {
            let (offset, len) = bytes_of(&self.info, *source);
            Self::lend(&mut self.handle, offset, len, &mut self.lent);
        }
        let (offset, len) = bytes_of(&self.info, to);
        let pieces = self.lent.range(kept..).map(|piece| &**piece);
        let staged = self.handle.stage_pieces(offset as usize, len as usize, pieces);
        self.lent.truncate(kept);
        staged.map(|()| {
            self.will_heal(to);
            Ok(())
        })
    }

    /// The blocks are written with the next commit.
    fn will_heal(&mut self, range: Range) {
        if self.bad.any() {
            self.heals.push(range);
        }
    }
}

/// Copies the lent pieces into the buffers, which have as many bytes.
fn fill(bufs: &mut Bufs, lent: impl Iterator<Item = Lent>) {
    let mut places = bufs.pieces_mut().iter_mut();
    let mut place: &mut [u8] = &mut [];
    for piece in lent {
        let mut rest = &piece[..];
        while !rest.is_empty() {
            if place.is_empty() {
                place = places.next().expect("the buffers are as long as the read");
            }
            let (to, behind) = place.split_at_mut(place.len().min(rest.len()));
            let (from, next) = rest.split_at(to.len());
            to.copy_from_slice(from);
            (place, rest) = (behind, next);
        }
    }
    assert!(place.is_empty() && places.all(|place| place.is_empty()), "the pieces are shorter than the read");
}

/// Where the slot ends that a rest begins in, or the rest.
fn slot_end_of(rest: &ops::Range<u64>, slot_blocks: u64) -> u64 {
    (rest.start + 1).next_multiple_of(slot_blocks).min(rest.end)
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
            self.finish(tag, Err(failure), data.into_bufs().into());
            return Ok(());
        }
        match (op, data) {
            (Op::Read(range), data) => {
                let carried = data.into_bufs();
                let (offset, len) = bytes_of(&self.info, range);
                self.handle.prefetch(offset as usize);
                self.reads.push(Read { tag, range, carried });
                self.pieces += MAX_PIECES.min(len as usize / RAM_SLOT_BYTES + 2);
            }
            (Op::Write { range, .. }, data) => {
                return self.write(tag, range, data).map_err(|data| Refused(Request { tag, op, data }));
            }
            (Op::Compare(range), data @ (Data::Carried(_) | Data::Scattered(_))) => {
                let bufs = data.into_bufs();
                let outcome = self.compare(range, bufs.pieces().iter().map(|piece| &**piece));
                self.finish(tag, outcome, bufs.into());
            }
            (Op::Compare(range), Data::Inline(bytes)) => {
                let outcome = self.compare(range, [bytes]);
                self.finish(tag, outcome, Returned::None);
            }
            (Op::Copy { range, .. }, Data::Sources(sources)) => match self.copy(sources, range) {
                Ok(outcome) => self.finish(tag, outcome, Returned::None),
                Err(Full) => return Err(Refused(Request { tag, op, data: Data::Sources(sources) })),
            },
            (Op::WriteZeroes { range, .. } | Op::Deallocate(range), _) => self.start_sweep(tag, What::Clear, range),
            (Op::WriteUncorrectable(range), _) => self.start_sweep(tag, What::Mark, range),
            (Op::Verify(range), _) => self.start_sweep(tag, What::Look, range),
            (Op::Flush, _) => self.finish(tag, Ok(()), Returned::None),
            (Op::Compare(_) | Op::Copy { .. }, _) => unreachable!("what comes without its bytes is not admitted"),
        }
        Ok(())
    }

    fn poll(&mut self, _ring: &mut Ring, out: &mut Completions) {
        // A write that is about to complete takes effect before the reads that come back with it.
        self.handle.commit_staged();
        while let Some(range) = self.heals.pop() {
            self.bad.heal(range);
        }
        self.sweep_some();
        self.read_all();
        out.list.append(&mut self.done);
        out.lent.append(&mut self.lent);
    }

    fn end(&mut self) {
        self.handle.end();
    }

    fn cancel(&mut self, _ring: &mut Ring, tag: Tag) {
        if let Some(sweep) = self.sweeps.iter_mut().find(|sweep| sweep.tag == tag) {
            sweep.cancelled = true;
        }
    }

    fn cancel_all(&mut self, _ring: &mut Ring) {
        self.sweeps.iter_mut().for_each(|sweep| sweep.cancelled = true);
    }

    fn in_flight(&self) -> usize {
        self.done.len() + self.reads.len() + self.sweeps.len()
    }

    fn arm(&mut self, _ring: &mut Ring) -> Arm {
        if self.in_flight() == 0 { Arm::Armed } else { Arm::Busy }
    }
}
