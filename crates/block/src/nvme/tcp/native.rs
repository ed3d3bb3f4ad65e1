//! Native commands over the network: what of them can be sent.
//!
//! | of the command | |
//! |---|---|
//! | opcode | all but those of fabrics, by which the transport itself lives |
//! | FUSE | as it is; both halves one behind the other, with nothing in between |
//! | data | as long as its buffers; which way, the opcode says |
//! | metadata | interleaved with the data only (Fabrics: metadata is contiguous with the block) |
//!
//! A native command is never sent twice: only its asker knows whether that makes a difference. If its connection breaks
//! it fails with [`Failure::Disconnected`], as soon as the target is known to have let go of it. While one is in flight
//! that may have changed blocks, requests that change blocks are not sent again, unless the user wants all to be.

use machine::region::Bufs;
use wire::nvme::Sqe;
use wire::nvme::opcode::{FABRICS, Transfer};
use wire::tcp::host::Direction;

use super::namespace::Namespace;
use crate::limits::MAX_PIECES;
use crate::{Command, Completed, Failure, Op, Range};

/// What a native command may have done to the blocks, for all that is known here.
pub(super) const ANY_CHANGE: Op = Op::WriteUncorrectable(Range { lba: 0, blocks: u64::MAX });

/// How the data of a command travels.
///
/// # Errors
/// Why it cannot be sent.
pub(super) fn direction(command: &Command, namespace: &Namespace) -> Result<Direction, Failure> {
    if command.sqe.opcode == FABRICS || command.metadata.is_some() {
        return Err(Failure::NotSupported);
    }
    let bytes = match &command.data {
        Bufs::None => return Ok(Direction::None),
        data => data.len() as u32,
    };
    if bytes == 0 || bytes > namespace.max_transfer_bytes || command.data.pieces().len() > MAX_PIECES {
        return Err(Failure::BadTransfer);
    }
    match Transfer::of(command.sqe.opcode) {
        Transfer::None => Err(Failure::BadTransfer),
        Transfer::HostToController => Ok(namespace.outward(bytes)),
        Transfer::ControllerToHost => Ok(Direction::Read { bytes }),
        Transfer::Bidirectional => Err(Failure::NotSupported),
    }
}

/// Whether all blocks are after the command as they were before it: one that brings data from the device.
pub(super) fn leaves_blocks(sqe: &Sqe) -> bool {
    Transfer::of(sqe.opcode) == Transfer::ControllerToHost
}

/// The end of a command that was not sent.
pub(super) fn over(command: Command, failure: Failure) -> Completed {
    let Command { tag, data, metadata, .. } = command;
    Completed { tag, outcome: Err(failure), data, metadata }
}
