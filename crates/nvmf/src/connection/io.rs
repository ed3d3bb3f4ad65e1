//! I/O commands: from a submission queue entry to what a device is asked.

use block::{Info, Op, Range};
use wire::nvme::reservation::Change;
use wire::nvme::{CopySource, DsmRange, Sqe, Status, io as opcode};

use crate::connection::copy;
use crate::limits::TRANSFER_BYTES;
use crate::reservation::Group;

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nothing more: a command that is answered where it is read.
    Nothing,
    /// One request.
    Block(Op),
    /// One request, of a half of a fused pair: see [`super::fused`].
    Fused(Op),
    /// One deallocation for each range of a Dataset Management command; `next` is the first not yet submitted.
    Ranges { count: u32, next: u32 },
    /// One copy to the blocks from `to` on; the sources are in the data.
    Copy { to: u64, sources: u32, fua: bool },
    /// A change of the reservation, with its keys as data.
    Reserve(Change),
    /// The keeper of reservations has it.
    Asked,
}

impl Work {
    /// The one request that it is, if it is one.
    pub(crate) fn op(self) -> Option<Op> {
        match self {
            Self::Block(op) | Self::Fused(op) => Some(op),
            _ => None,
        }
    }

    /// Whether it touches these blocks. Commands with a list of ranges may touch all.
    pub(crate) fn touches(self, blocks: Range) -> bool {
        match self {
            Self::Block(op) | Self::Fused(op) => op.range().is_some_and(|range| range.overlaps(blocks)),
            Self::Ranges { .. } | Self::Copy { .. } => true,
            Self::Nothing | Self::Reserve(_) | Self::Asked => false,
        }
    }

    /// The requests that the device has got of it at most: numbers for their tags.
    pub(crate) fn parts(self) -> u32 {
        if let Self::Ranges { next, .. } = self { next } else { 1 }
    }

    /// What it does to the blocks, for reservations; `None`: nothing.
    pub(crate) fn group(self) -> Option<Group> {
        match self {
            Self::Block(Op::Read(_) | Op::Compare(_) | Op::Verify(_)) | Self::Fused(Op::Compare(_)) => {
                Some(Group::Read)
            }
            Self::Block(_) | Self::Fused(_) | Self::Ranges { .. } | Self::Copy { .. } => Some(Group::Write),
            Self::Nothing | Self::Reserve(_) | Self::Asked => None,
        }
    }
}

/// A command that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) work: Work,
    /// Bytes that the host sends.
    pub(crate) from_host: u32,
    /// Bytes that the host receives.
    pub(crate) to_host: u32,
}

/// Checks an I/O command against the namespace it is for, which has `blocks` now.
///
/// # Errors
/// The status to answer with; with DNR where the same command can never succeed.
pub(crate) fn decode(sqe: &Sqe, info: &Info, blocks: u64) -> Result<Decoded, Status> {
    sqe.check_flags()?;
    let features = &info.features;
    match sqe.opcode {
        opcode::READ => {
            let (range, bytes) = transfer(sqe, info, blocks)?;
            Ok(Decoded { work: Work::Block(Op::Read(range)), from_host: 0, to_host: bytes })
        }
        opcode::WRITE => {
            let (range, bytes) = transfer(sqe, info, blocks)?;
            writable(info)?;
            let op = Op::Write { range, fua: sqe.fua() };
            Ok(Decoded { work: Work::Block(op), from_host: bytes, to_host: 0 })
        }
        opcode::FLUSH => Ok(Decoded { work: Work::Block(Op::Flush), from_host: 0, to_host: 0 }),
        opcode::WRITE_ZEROES => {
            let range = range(sqe, blocks)?;
            writable(info)?;
            let op = Op::WriteZeroes { range, fua: sqe.fua(), deallocate: sqe.deac() };
            Ok(Decoded { work: Work::Block(op), from_host: 0, to_host: 0 })
        }
        opcode::DSM => {
            writable(info)?;
            let count = sqe.dsm_ranges();
            let bytes = count * size_of::<DsmRange>() as u32;
            // The other attributes (integral read, integral write) are hints that need no action.
            let count = if sqe.dsm_deallocate() { count } else { 0 };
            Ok(Decoded { work: Work::Ranges { count, next: 0 }, from_host: bytes, to_host: 0 })
        }
        opcode::COMPARE if features.compare => {
            let (range, bytes) = transfer(sqe, info, blocks)?;
            Ok(Decoded { work: Work::Block(Op::Compare(range)), from_host: bytes, to_host: 0 })
        }
        opcode::VERIFY if features.verify => {
            let work = Work::Block(Op::Verify(range(sqe, blocks)?));
            Ok(Decoded { work, from_host: 0, to_host: 0 })
        }
        opcode::WRITE_UNCORRECTABLE if features.write_uncorrectable => {
            let range = range(sqe, blocks)?;
            writable(info)?;
            Ok(Decoded { work: Work::Block(Op::WriteUncorrectable(range)), from_host: 0, to_host: 0 })
        }
        opcode::COPY if features.copy.is_some() => copy(sqe, info),
        opcode::RESERVATION_REGISTER | opcode::RESERVATION_ACQUIRE | opcode::RESERVATION_RELEASE => {
            let change = Change::of(sqe)?;
            Ok(Decoded { work: Work::Reserve(change), from_host: change.data_bytes(), to_host: 0 })
        }
        // What a device cannot do is not there for its namespace.
        _ => Err(Status::INVALID_OPCODE.with_dnr()),
    }
}

/// Copy: its sources are checked when they are here.
fn copy(sqe: &Sqe, info: &Info) -> Result<Decoded, Status> {
    writable(info)?;
    if sqe.copy_format() != copy::FORMAT {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    let sources = sqe.copy_sources();
    if copy::limits(info).is_none_or(|limits| sources > u32::from(limits.sources)) {
        return Err(Status::COMMAND_SIZE_LIMIT.with_dnr());
    }
    let work = Work::Copy { to: sqe.slba(), sources, fua: sqe.fua() };
    Ok(Decoded { work, from_host: sources * size_of::<CopySource>() as u32, to_host: 0 })
}

/// The blocks of a command, all on the namespace.
fn range(sqe: &Sqe, blocks: u64) -> Result<Range, Status> {
    let range = Range { lba: sqe.slba(), blocks: u64::from(sqe.nlb()) };
    match range.lba.checked_add(range.blocks) {
        Some(end) if end <= blocks => Ok(range),
        _ => Err(Status::LBA_OUT_OF_RANGE.with_dnr()),
    }
}

/// The blocks of a read or write and their size in bytes, within MDTS.
fn transfer(sqe: &Sqe, info: &Info, blocks: u64) -> Result<(Range, u32), Status> {
    let range = range(sqe, blocks)?;
    match sqe.nlb().checked_mul(info.block_bytes) {
        Some(bytes) if bytes <= TRANSFER_BYTES => Ok((range, bytes)),
        _ => Err(Status::INVALID_FIELD.with_dnr()),
    }
}

fn writable(info: &Info) -> Result<(), Status> {
    if info.features.read_only { Err(Status::NAMESPACE_IS_WRITE_PROTECTED.with_dnr()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::{decode as decode_now, *};
    use block::{Features, Identity};

    fn decode(sqe: &Sqe, info: &Info) -> Result<Decoded, Status> {
        decode_now(sqe, info, info.blocks)
    }

    fn info(read_only: bool) -> Info {
        Info {
            name: "test".into(),
            kind: "ram",
            block_bytes: 512,
            blocks: 1000,
            preferred_blocks: 8,
            atomic_blocks: 1,
            max_transfer_bytes: TRANSFER_BYTES,
            piece_bytes: 1,
            features: Features { read_only, ..Features::default() },
            identity: Identity { uuid: uuid::Uuid::nil(), nguid: [0; 16] },
        }
    }

    #[test]
    fn ranges_end_with_the_namespace() {
        let good = decode(&Sqe::read(1, 992, 8), &info(false)).unwrap();
        assert_eq!(good.to_host, 4096);
        for (slba, nlb) in [(993, 8), (1000, 1), (u64::MAX, 1), (u64::MAX - 3, 8)] {
            let status = decode(&Sqe::read(1, slba, nlb), &info(false)).unwrap_err();
            assert_eq!(status, Status::LBA_OUT_OF_RANGE.with_dnr(), "slba {slba}");
        }
    }

    #[test]
    fn transfers_end_with_mdts() {
        assert!(decode(&Sqe::read(1, 0, 256), &info(false)).is_ok());
        assert_eq!(decode(&Sqe::read(1, 0, 257), &info(false)), Err(Status::INVALID_FIELD.with_dnr()));
        assert!(decode(&Sqe::write_zeroes(1, 0, 1000, false, false), &info(false)).is_ok(), "it has no transfer");
    }

    #[test]
    fn read_only_namespaces_refuse_every_change() {
        let denied = Err(Status::NAMESPACE_IS_WRITE_PROTECTED.with_dnr());
        assert_eq!(decode(&Sqe::write(1, 0, 1, false), &info(true)), denied);
        assert_eq!(decode(&Sqe::write_zeroes(1, 0, 1, false, false), &info(true)), denied);
        assert_eq!(decode(&Sqe::dsm(1, 1, true), &info(true)), denied);
        assert!(decode(&Sqe::flush(1), &info(true)).is_ok());
    }
}
