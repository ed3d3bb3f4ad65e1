//! A namespace as its queues see it, and requests as the commands that go to it.

use wire::nvme::{CopySource, DsmRange, Sqe};
use wire::tcp::host::Direction;
use zerocopy::IntoBytes;

use super::limits::MAX_COMMAND_BLOCKS;
use crate::{CopyLimits, Failure, Op, Range};

/// Bytes of the one range that a Dataset Management command carries.
pub(super) const RANGE_BYTES: usize = size_of::<DsmRange>();

/// What a queue must know of the namespace and of its controller. Constant while connected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Namespace {
    pub(super) nsid: u32,
    pub(super) block_bytes: u32,
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
                (Sqe::read(nsid, range.lba, range.blocks as u32), Direction::Read { bytes })
            }
            Op::Write { range, fua } => {
                let bytes = self.transfer(range, carried)?;
                (Sqe::write(nsid, range.lba, range.blocks as u32, fua), self.outward(bytes))
            }
            Op::Flush => (Sqe::flush(nsid), Direction::None),
            Op::WriteZeroes { range, fua, deallocate } => {
                let blocks = within(range, self.write_zeroes)?;
                (Sqe::write_zeroes(nsid, range.lba, blocks, deallocate, fua), Direction::None)
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
mod tests {
    use wire::nvme::io;

    use super::*;

    const NAMESPACE: Namespace = Namespace {
        nsid: 3,
        block_bytes: 512,
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
        let huge = Namespace { blocks: 1 << 40, ..NAMESPACE };
        let zeroes = Op::WriteZeroes { range: range(0, MAX_COMMAND_BLOCKS + 1), fua: false, deallocate: false };
        assert_eq!(fails(&huge, zeroes, 0), Failure::BadTransfer);
        assert_eq!(fails(&huge, Op::Deallocate(range(0, 1 << 32)), 0), Failure::BadTransfer);
    }
}
