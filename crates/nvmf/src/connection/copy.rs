//! Copy: from the source ranges that a host sends to what a device is asked (NVM Command Set 1.0, Copy).

use block::limits::{MAX_COPY_BYTES, MAX_COPY_SOURCES};
use block::{CopyLimits, Info, Range};
use wire::nvme::{CopySource, Status};

/// The one format of source ranges that is supported, and its bit in OCFS.
pub(crate) const FORMAT: u8 = 0;
pub(crate) const OCFS: u16 = 1 << FORMAT;

/// What one command may copy: MSRC, MSSRL and MCL of the namespace.
pub(crate) fn limits(info: &Info) -> Option<CopyLimits> {
    info.features.copy.map(|limits| limits.and(CopyLimits::most(info.block_bytes)))
}

// MSRC is 0's based and has 8 bits, MSSRL has 16.
const _: () = assert!(MAX_COPY_SOURCES <= wire::nvme::copy::MAX_SOURCES);
const _: () = assert!(MAX_COPY_BYTES / block::limits::BLOCK_BYTES[0] <= u16::MAX as u32);

/// Puts the `count` sources at the front of a command's data into `out`; where they go, if they are copied to `to`.
///
/// # Errors
/// [`Status::COMMAND_SIZE_LIMIT`] with DNR where they have more blocks than Identify Namespace allows. Whether they lie
/// on the namespace is for the device to say.
pub(crate) fn sources(data: &[u8], count: u32, to: u64, info: &Info, out: &mut Vec<Range>) -> Result<Range, Status> {
    out.clear();
    let list = CopySource::list(data, count)?;
    out.extend(list.iter().map(|source| Range { lba: source.slba.get(), blocks: source.blocks().into() }));
    let blocks = out.iter().map(|source| source.blocks).sum();
    let fit = |limits: CopyLimits| {
        blocks <= u64::from(limits.blocks) && out.iter().all(|source| source.blocks <= limits.source_blocks.into())
    };
    if !limits(info).is_some_and(fit) {
        return Err(Status::COMMAND_SIZE_LIMIT.with_dnr());
    }
    Ok(Range { lba: to, blocks })
}
