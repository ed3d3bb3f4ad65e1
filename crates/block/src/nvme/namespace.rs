//! A namespace as its queues see it, and requests as the commands that go to it.

use machine::region::Buf;
use wire::nvme::protection::prinfo;
use wire::nvme::{CopySource, DsmRange, IdentifyNamespace, Sqe, Status};
use wire::tcp::host::Direction;
use zerocopy::IntoBytes;

use crate::limits::{MAX_COMMAND_BLOCKS, MAX_COPY_SOURCES};
use crate::{CopyLimits, Failure, Op, Range};

/// Bytes of the sources of a copy: the longest list of ranges.
pub(super) const LIST_BYTES: usize = MAX_COPY_SOURCES * size_of::<CopySource>();
/// Bytes of the one range that a Dataset Management command carries.
pub(super) const RANGE_BYTES: usize = size_of::<DsmRange>();

/// FLBAS: metadata lies at the end of each block's data.
const INTERLEAVED: u8 = 1 << 4;
/// DPS: the type of protection information, 0 to 3.
const PROTECTION: u8 = 0b111;
/// Type 3: the reference tag is the user's and not checked.
const TYPE_3: u8 = 3;
/// Bytes of protection information with a guard of 16 bits.
const PI_BYTES: u16 = 8;

/// What lies beside the data of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Format {
    /// Metadata of a block.
    pub(super) metadata_bytes: u16,
    /// It lies behind the data of its block, not apart.
    pub(super) interleaved: bool,
    /// The type of protection information in it; 0 is none.
    pub(super) protection: u8,
}

impl Format {
    /// That of a namespace.
    pub(super) fn of(id: &IdentifyNamespace) -> Self {
        Self {
            metadata_bytes: id.format().ms.get(),
            interleaved: id.flbas & INTERLEAVED != 0,
            protection: id.dps & PROTECTION,
        }
    }

    /// Whether a block is its data and nothing else.
    pub(super) fn is_bare(self) -> bool {
        self.metadata_bytes == 0
    }

    /// Whether the metadata is protection information and nothing else: the controller makes it, checks it and takes
    /// it away by itself when a command has PRACT (NVM Command Set 1.0, Protection Information).
    pub(super) fn is_self_made(self) -> bool {
        self.metadata_bytes == PI_BYTES && self.protection != 0
    }

    /// A block request's command, which has no metadata with it.
    fn dress(self, sqe: Sqe) -> Result<Sqe, Failure> {
        match self {
            _ if self.is_bare() => Ok(sqe),
            _ if self.is_self_made() => Ok(sqe.with_protection_by_controller(self.protection != TYPE_3)),
            _ => Err(Failure::NotSupported),
        }
    }
}

/// What a queue must know of the namespace and of its controller. Constant while connected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Namespace {
    pub(super) nsid: u32,
    pub(super) block_bytes: u32,
    pub(super) format: Format,
    /// When this controller was connected to; the size now is the device's.
    pub(super) blocks: u64,
    pub(super) max_transfer_bytes: u32,
    /// In-capsule data of an I/O queue: IOCCSZ x 16 - 64.
    pub(super) in_capsule_bytes: u32,
    pub(super) read_only: bool,
    /// It has Compare.
    pub(super) compare: bool,
    /// Most blocks of a Write Zeroes; 0: it does not have the command. So the next ones.
    pub(super) write_zeroes: u64,
    /// Of a Verify.
    pub(super) verify: u64,
    /// Of a Write Uncorrectable.
    pub(super) write_uncorrectable: u64,
    /// Of the one range of a Dataset Management command.
    pub(super) deallocate: u64,
    /// It has Copy, within these limits.
    pub(super) copy: Option<CopyLimits>,
}

/// What becomes of a request.
#[derive(Debug, PartialEq)]
pub(super) enum Plan {
    /// A command for the target. The data of a Dataset Management command comes with it.
    Command { sqe: Sqe, direction: Direction, ranges: [u8; RANGE_BYTES] },
    /// It is over already.
    Over(Result<(), Failure>),
}

impl Namespace {
    /// What of it Windows carries commands for: Read, Write, Flush and Dataset Management.
    pub(super) fn of_windows(self) -> Self {
        Self { compare: false, write_zeroes: 0, verify: 0, write_uncorrectable: 0, copy: None, ..self }
    }

    /// The command for a request whose buffer has `carried` bytes (0 without a buffer), with `blocks` blocks there now.
    /// The buffer of a copy has its [`CopySource`]s.
    pub(super) fn plan(&self, op: Op, carried: usize, blocks: u64) -> Plan {
        match self.command(op, carried, blocks) {
            Ok(plan) => plan,
            Err(failure) => Plan::Over(Err(failure)),
        }
    }

    fn command(&self, op: Op, carried: usize, blocks: u64) -> Result<Plan, Failure> {
        let nsid = self.nsid;
        if let Some(range) = op.range() {
            check(range, blocks)?;
        }
        if self.read_only && !op.only_reads() {
            return Err(Failure::ReadOnly);
        }
        let (sqe, direction) = match op {
            Op::Read(range) => {
                let bytes = self.transfer(range, carried)?;
                (self.format.dress(Sqe::read(nsid, range.lba, range.blocks as u32))?, Direction::Read { bytes })
            }
            Op::Write { range, fua } => {
                let bytes = self.transfer(range, carried)?;
                let sqe = Sqe::write(nsid, range.lba, range.blocks as u32, fua);
                (self.format.dress(sqe)?, self.outward(bytes))
            }
            Op::Flush => (Sqe::flush(nsid), Direction::None),
            Op::WriteZeroes { range, fua, deallocate } => {
                let blocks = within(range, self.write_zeroes)?;
                let sqe = Sqe::write_zeroes(nsid, range.lba, blocks, deallocate, fua);
                (self.format.dress(sqe)?, Direction::None)
            }
            Op::Deallocate(range) => return self.deallocate(range),
            Op::Compare(_) if !self.compare => return Err(Failure::NotSupported),
            Op::Compare(range) => {
                let bytes = self.transfer(range, carried)?;
                (Sqe::compare(nsid, range.lba, range.blocks as u32), self.outward(bytes))
            }
            Op::Verify(range) => (Sqe::verify(nsid, range.lba, within(range, self.verify)?), Direction::None),
            Op::WriteUncorrectable(range) => {
                let blocks = within(range, self.write_uncorrectable)?;
                (Sqe::write_uncorrectable(nsid, range.lba, blocks), Direction::None)
            }
            Op::Copy { range, fua } => {
                let sources = self.sources(range, carried)?;
                (Sqe::copy(nsid, range.lba, sources, fua), self.outward(carried as u32))
            }
        };
        Ok(Plan::Command { sqe, direction, ranges: [0; RANGE_BYTES] })
    }

    /// A hint: a target that does not take it is none the worse.
    fn deallocate(&self, range: Range) -> Result<Plan, Failure> {
        if self.deallocate == 0 {
            return Ok(Plan::Over(Ok(())));
        }
        let blocks = within(range, self.deallocate)?;
        let mut ranges = [0; RANGE_BYTES];
        ranges.copy_from_slice(DsmRange::new(range.lba, blocks).as_bytes());
        let direction = self.outward(RANGE_BYTES as u32);
        Ok(Plan::Command { sqe: Sqe::dsm(self.nsid, 1, true), direction, ranges })
    }

    /// How many sources are in the `carried` bytes of a copy to `range`. The limits of each were looked at when it was
    /// asked for.
    fn sources(&self, range: Range, carried: usize) -> Result<u32, Failure> {
        let Some(limits) = self.copy else { return Err(Failure::NotSupported) };
        let sources = carried / size_of::<CopySource>();
        if sources == 0 || sources > usize::from(limits.sources) || range.blocks > u64::from(limits.blocks) {
            return Err(Failure::BadTransfer);
        }
        Ok(sources as u32)
    }

    /// What a command that moves blocks moves of each: bytes of data, with what is interleaved, and of metadata apart.
    pub(super) fn bytes_of_block(&self, sqe: &Sqe) -> (u64, u64) {
        let (block, metadata) = (u64::from(self.block_bytes), u64::from(self.format.metadata_bytes));
        match self.format {
            format if format.is_self_made() && sqe.prinfo() & prinfo::ACTION != 0 => (block, 0),
            format if format.interleaved => (block + metadata, 0),
            _ => (block, metadata),
        }
    }

    pub(super) fn outward(&self, bytes: u32) -> Direction {
        if bytes <= self.in_capsule_bytes { Direction::WriteInCapsule { bytes } } else { Direction::Write { bytes } }
    }

    /// The bytes of a transfer, which must be those of its buffer.
    fn transfer(&self, range: Range, carried: usize) -> Result<u32, Failure> {
        let bytes = range.blocks.checked_mul(u64::from(self.block_bytes)).ok_or(Failure::BadTransfer)?;
        if bytes > u64::from(self.max_transfer_bytes) || range.blocks > MAX_COMMAND_BLOCKS || bytes != carried as u64 {
            return Err(Failure::BadTransfer);
        }
        Ok(bytes as u32)
    }
}

/// Why a block request failed, by the status of its command: what has a name of its own goes by it.
pub(super) fn failure(op: Op, status: Status) -> Failure {
    let is = |other| status.same_code(other);
    match op {
        Op::Compare(_) if is(Status::COMPARE_FAILURE) => Failure::Miscompare,
        Op::Copy { .. } if is(Status::OVERLAPPING_IO_RANGE) => Failure::Overlap,
        // ONCS is of the controller: a command may be there, and not for this namespace.
        op if is(Status::INVALID_OPCODE) && op.is_optional() => Failure::NotSupported,
        _ => Failure::Device(status),
    }
}

/// The sources of a copy as they are sent, in a buffer of [`LIST_BYTES`].
pub(super) fn copy_list(mut list: Buf, sources: &[Range]) -> Buf {
    const BYTES: usize = size_of::<CopySource>();
    list.set_len(sources.len() * BYTES);
    for (place, source) in list.chunks_exact_mut(BYTES).zip(sources) {
        place.copy_from_slice(CopySource::new(source.lba, source.blocks as u32).as_bytes());
    }
    list
}

/// The one range of a deallocation as it is sent, in a buffer of [`LIST_BYTES`].
pub(super) fn range_list(mut list: Buf, ranges: &[u8; RANGE_BYTES]) -> Buf {
    list.set_len(RANGE_BYTES);
    list.copy_from_slice(ranges);
    list
}

/// The blocks of a command that takes so many at most, 0 where there is none.
fn within(range: Range, most: u64) -> Result<u32, Failure> {
    match u32::try_from(range.blocks) {
        _ if most == 0 => Err(Failure::NotSupported),
        Ok(blocks) if range.blocks <= most => Ok(blocks),
        _ => Err(Failure::BadTransfer),
    }
}

fn check(range: Range, blocks: u64) -> Result<(), Failure> {
    let end = range.lba.checked_add(range.blocks).ok_or(Failure::OutOfRange)?;
    if range.blocks == 0 {
        return Err(Failure::BadTransfer);
    }
    if end > blocks { Err(Failure::OutOfRange) } else { Ok(()) }
}

#[cfg(test)]
pub(super) mod tests {
    use wire::nvme::io;

    use super::*;

    pub(in crate::nvme) const NAMESPACE: Namespace = Namespace {
        nsid: 3,
        block_bytes: 512,
        format: Format { metadata_bytes: 0, interleaved: false, protection: 0 },
        blocks: 1000,
        max_transfer_bytes: 16384,
        in_capsule_bytes: 8192,
        read_only: false,
        compare: true,
        write_zeroes: MAX_COMMAND_BLOCKS,
        verify: 16,
        write_uncorrectable: 8,
        deallocate: 0xffff_ffff,
        copy: Some(CopyLimits { sources: 2, source_blocks: 4, blocks: 6 }),
    };

    fn range(lba: u64, blocks: u64) -> Range {
        Range { lba, blocks }
    }

    fn direction(plan: &Plan) -> Direction {
        let Plan::Command { direction, .. } = plan else { panic!("{plan:?}") };
        *direction
    }

    #[test]
    fn small_writes_travel_in_their_capsule() {
        let write = |blocks| {
            let op = Op::Write { range: range(0, blocks), fua: false };
            direction(&NAMESPACE.plan(op, blocks as usize * 512, 1000))
        };
        assert_eq!(write(16), Direction::WriteInCapsule { bytes: 8192 });
        assert_eq!(write(17), Direction::Write { bytes: 8704 });
        let bare = Namespace { in_capsule_bytes: 0, ..NAMESPACE };
        assert_eq!(direction(&bare.plan(Op::Deallocate(range(1, 2)), 0, 1000)), Direction::Write { bytes: 16 });
    }

    #[test]
    fn commands_are_as_asked() {
        let Plan::Command { sqe, .. } = NAMESPACE.plan(Op::Write { range: range(7, 2), fua: true }, 1024, 1000) else {
            panic!()
        };
        assert_eq!((sqe.nsid.get(), sqe.slba(), sqe.nlb(), sqe.fua()), (3, 7, 2, true));
        let zeroes = Op::WriteZeroes { range: range(9, 5), fua: false, deallocate: true };
        let Plan::Command { sqe, direction, .. } = NAMESPACE.plan(zeroes, 0, 1000) else { panic!() };
        assert_eq!((sqe.slba(), sqe.nlb(), sqe.deac(), direction), (9, 5, true, Direction::None));
        let Plan::Command { sqe, ranges, .. } = NAMESPACE.plan(Op::Deallocate(range(4, 6)), 0, 1000) else { panic!() };
        assert!(sqe.dsm_deallocate() && sqe.dsm_ranges() == 1);
        assert_eq!(ranges, [0, 0, 0, 0, 6, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn optional_commands_are_as_asked() {
        let command = |op, carried| match NAMESPACE.plan(op, carried, 1000) {
            Plan::Command { sqe, direction, .. } => (sqe.opcode, sqe.slba(), sqe.nlb(), direction),
            plan => panic!("{op:?}: {plan:?}"),
        };
        let (in_capsule, none) = (Direction::WriteInCapsule { bytes: 1024 }, Direction::None);
        assert_eq!(command(Op::Compare(range(7, 2)), 1024), (io::COMPARE, 7, 2, in_capsule));
        assert_eq!(command(Op::Compare(range(0, 32)), 16384).3, Direction::Write { bytes: 16384 });
        assert_eq!(command(Op::Verify(range(1, 16)), 0), (io::VERIFY, 1, 16, none));
        assert_eq!(command(Op::WriteUncorrectable(range(2, 8)), 0), (io::WRITE_UNCORRECTABLE, 2, 8, none));
        let Plan::Command { sqe, direction, .. } = NAMESPACE.plan(Op::Copy { range: range(9, 6), fua: true }, 64, 1000)
        else {
            panic!()
        };
        assert_eq!((sqe.slba(), sqe.copy_sources(), sqe.fua()), (9, 2, true));
        assert_eq!(direction, Direction::WriteInCapsule { bytes: 64 });
        let frozen = Namespace { read_only: true, ..NAMESPACE };
        assert!(matches!(frozen.plan(Op::Verify(range(0, 1)), 0, 1000), Plan::Command { .. }), "it changes nothing");
    }

    #[test]
    fn protection_is_left_to_the_controller_and_other_metadata_is_not_made_up() {
        let with = |metadata_bytes, protection| Namespace {
            format: Format { metadata_bytes, interleaved: false, protection },
            ..NAMESPACE
        };
        let control = |namespace: &Namespace, op, carried| match namespace.plan(op, carried, 1000) {
            Plan::Command { sqe, .. } => Ok((sqe.prinfo(), sqe.cdw14.get())),
            Plan::Over(outcome) => Err(outcome),
        };
        let write = Op::Write { range: range(7, 1), fua: false };
        assert_eq!(control(&NAMESPACE, write, 512), Ok((0, 0)));
        // PRACT, the guard and the reference tag are bits 3, 2 and 0.
        assert_eq!(control(&with(8, 1), write, 512), Ok((0b1101, 7)));
        assert_eq!(control(&with(8, 3), Op::Read(range(7, 1)), 512), Ok((0b1100, 7)));
        for metadata in [with(8, 0), with(64, 1)] {
            assert_eq!(control(&metadata, write, 512), Err(Err(Failure::NotSupported)));
            assert_eq!(control(&metadata, Op::Flush, 0), Ok((0, 0)));
        }
    }

    #[test]
    fn what_cannot_be_is_over_at_once() {
        let fails = |namespace: &Namespace, op, carried| match namespace.plan(op, carried, namespace.blocks) {
            Plan::Over(Err(failure)) => failure,
            plan => panic!("{op:?}: {plan:?}"),
        };
        assert_eq!(fails(&NAMESPACE, Op::Read(range(999, 2)), 1024), Failure::OutOfRange);
        assert_eq!(fails(&NAMESPACE, Op::Read(range(u64::MAX, 2)), 1024), Failure::OutOfRange);
        assert_eq!(fails(&NAMESPACE, Op::Read(range(0, 2)), 512), Failure::BadTransfer);
        assert_eq!(fails(&NAMESPACE, Op::Read(range(0, 33)), 33 * 512), Failure::BadTransfer);
        assert_eq!(fails(&NAMESPACE, Op::Read(range(0, 0)), 0), Failure::BadTransfer);
        let frozen = Namespace { read_only: true, ..NAMESPACE };
        assert_eq!(fails(&frozen, Op::Write { range: range(0, 1), fua: false }, 512), Failure::ReadOnly);
        assert_eq!(fails(&frozen, Op::Deallocate(range(0, 1)), 0), Failure::ReadOnly);
        let old = Namespace {
            write_zeroes: 0,
            deallocate: 0,
            compare: false,
            verify: 0,
            write_uncorrectable: 0,
            copy: None,
            ..NAMESPACE
        };
        let zeroes = Op::WriteZeroes { range: range(0, 1), fua: false, deallocate: false };
        let copy = |blocks| Op::Copy { range: range(0, blocks), fua: false };
        assert_eq!(fails(&old, zeroes, 0), Failure::NotSupported);
        assert_eq!(fails(&old, Op::Compare(range(0, 1)), 512), Failure::NotSupported);
        assert_eq!(fails(&old, Op::Verify(range(0, 1)), 0), Failure::NotSupported);
        assert_eq!(fails(&old, Op::WriteUncorrectable(range(0, 1)), 0), Failure::NotSupported);
        assert_eq!(fails(&old, copy(1), 32), Failure::NotSupported);
        assert_eq!(fails(&NAMESPACE, Op::Compare(range(0, 2)), 512), Failure::BadTransfer);
        assert_eq!(fails(&NAMESPACE, Op::Verify(range(0, 17)), 0), Failure::BadTransfer);
        assert_eq!(fails(&NAMESPACE, Op::WriteUncorrectable(range(0, 9)), 0), Failure::BadTransfer);
        assert_eq!(fails(&NAMESPACE, copy(7), 64), Failure::BadTransfer);
        assert_eq!(fails(&NAMESPACE, copy(3), 96), Failure::BadTransfer);
        assert_eq!(old.plan(Op::Deallocate(range(0, 1)), 0, 1000), Plan::Over(Ok(())));
        let carried = NAMESPACE.of_windows();
        assert_eq!(fails(&carried, Op::Compare(range(0, 1)), 512), Failure::NotSupported);
        assert_eq!(fails(&carried, copy(1), 32), Failure::NotSupported);
        for op in [Op::Flush, Op::Deallocate(range(0, 1))] {
            assert_eq!(carried.plan(op, 0, 1000), NAMESPACE.plan(op, 0, 1000));
        }
        let huge = Namespace { blocks: 1 << 40, ..NAMESPACE };
        let zeroes = Op::WriteZeroes { range: range(0, MAX_COMMAND_BLOCKS + 1), fua: false, deallocate: false };
        assert_eq!(fails(&huge, zeroes, 0), Failure::BadTransfer);
        assert_eq!(fails(&huge, Op::Deallocate(range(0, 1 << 32)), 0), Failure::BadTransfer);
    }
}
