//! What every device of this crate checks before it touches a request: that it may be done, that its blocks exist, and
//! that its buffer fits them. A request that fails here completes with the reason; it is never refused.

use crate::limits::MAX_DEVICE_BYTES;
use crate::{Data, Failure, Info, Op, Range, Request};

/// Checks a request against what the device is, with the `blocks` that it has now.
///
/// # Errors
/// The status that the request must complete with.
pub(crate) fn admit(info: &Info, blocks: u64, request: &Request<'_>) -> Result<(), Failure> {
    if info.features.read_only && !matches!(request.op, Op::Read(_) | Op::Flush) {
        return Err(Failure::ReadOnly);
    }
    let moves_data = matches!(request.op, Op::Read(_) | Op::Write { .. });
    if !moves_data && !matches!(request.data, Data::None) {
        return Err(Failure::BadTransfer);
    }
    let Some(range) = request.op.range() else { return Ok(()) };
    if range.blocks == 0 {
        return Err(Failure::BadTransfer);
    }
    if range.lba.checked_add(range.blocks).is_none_or(|end| end > blocks) {
        return Err(Failure::OutOfRange);
    }
    if !moves_data {
        return Ok(());
    }
    // Without overflow from here on: the range lies on a device of at most `MAX_DEVICE_BYTES`.
    let bytes = range.blocks * u64::from(info.block_bytes);
    let fits = match (&request.op, &request.data) {
        (Op::Read(_), Data::Lend) => info.features.lends,
        (Op::Read(_) | Op::Write { .. }, Data::Carried(buf)) => buf.len() as u64 == bytes,
        (Op::Write { .. }, Data::Inline(data)) => info.features.lends && data.len() as u64 == bytes,
        (Op::Write { .. }, Data::Landed(landing)) => info.features.lends && landing.len() as u64 == bytes,
        _ => false,
    };
    if fits && bytes <= u64::from(info.max_transfer_bytes) { Ok(()) } else { Err(Failure::BadTransfer) }
}

/// The bytes of a range that [`admit`] has let through: offset and length.
pub(crate) fn bytes_of(info: &Info, range: Range) -> (u64, u64) {
    let block = u64::from(info.block_bytes);
    (range.lba * block, range.blocks * block)
}

/// Whether a device may have this size: whole blocks, at least one, and offsets that fit.
///
/// # Errors
/// Why not, as the end of a sentence that starts with the size.
pub(crate) fn check_size(bytes: u64, block_bytes: u32) -> Result<u64, String> {
    if bytes == 0 {
        return Err("is empty".to_owned());
    }
    if !bytes.is_multiple_of(u64::from(block_bytes)) {
        return Err(format!("is not a whole number of {block_bytes}-byte blocks"));
    }
    if bytes > MAX_DEVICE_BYTES {
        return Err("is larger than the 8 EiB that file offsets can reach".to_owned());
    }
    Ok(bytes / u64::from(block_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Features, Identity};
    use uuid::Uuid;

    fn info() -> Info {
        Info {
            name: "test".to_owned(),
            kind: "ram",
            block_bytes: 512,
            blocks: 1000,
            preferred_blocks: 8,
            max_transfer_bytes: 4096,
            features: Features { lends: true, ..Features::default() },
            identity: Identity::from_uuid(Uuid::nil()),
        }
    }

    fn ask(info: &Info, op: Op, data: Data<'_>) -> Result<(), Failure> {
        admit(info, info.blocks, &Request { tag: 0, op, data })
    }

    #[test]
    fn the_range_must_lie_on_the_device() {
        let info = info();
        let read = |lba, blocks| ask(&info, Op::Read(Range { lba, blocks }), Data::Lend);
        assert_eq!(read(999, 1), Ok(()));
        assert_eq!(read(999, 2), Err(Failure::OutOfRange));
        assert_eq!(read(1000, 1), Err(Failure::OutOfRange));
        assert_eq!(read(u64::MAX, 1), Err(Failure::OutOfRange));
        assert_eq!(read(1, u64::MAX), Err(Failure::OutOfRange));
        assert_eq!(read(0, 0), Err(Failure::BadTransfer));
        assert_eq!(read(0, 8), Ok(()));
        assert_eq!(read(0, 9), Err(Failure::BadTransfer), "more than the largest transfer");
    }

    #[test]
    fn write_zeroes_and_deallocate_have_no_transfer_limit() {
        let info = info();
        let range = Range { lba: 0, blocks: 1000 };
        assert_eq!(ask(&info, Op::Deallocate(range), Data::None), Ok(()));
        assert_eq!(ask(&info, Op::WriteZeroes { range, fua: true, deallocate: true }, Data::None), Ok(()));
        assert_eq!(ask(&info, Op::Flush, Data::None), Ok(()));
        assert_eq!(ask(&info, Op::Flush, Data::Lend), Err(Failure::BadTransfer), "a flush has no data");
        assert_eq!(ask(&info, Op::Deallocate(range), Data::Inline(&[0; 512])), Err(Failure::BadTransfer));
    }

    #[test]
    fn the_data_must_fit_the_blocks() {
        let mut info = info();
        let range = Range { lba: 0, blocks: 1 };
        let bytes = [0; 513];
        let write = Op::Write { range, fua: false };
        assert_eq!(ask(&info, write, Data::Inline(&bytes[..512])), Ok(()));
        assert_eq!(ask(&info, write, Data::Inline(&bytes)), Err(Failure::BadTransfer));
        assert_eq!(ask(&info, write, Data::None), Err(Failure::BadTransfer));
        assert_eq!(ask(&info, write, Data::Lend), Err(Failure::BadTransfer));
        assert_eq!(ask(&info, Op::Read(range), Data::Inline(&bytes[..512])), Err(Failure::BadTransfer));
        info.features.lends = false;
        assert_eq!(ask(&info, Op::Read(range), Data::Lend), Err(Failure::BadTransfer));
        assert_eq!(ask(&info, write, Data::Inline(&bytes[..512])), Err(Failure::BadTransfer));
    }

    #[test]
    fn a_read_only_device_takes_reads_and_flushes_only() {
        let mut info = info();
        info.features.read_only = true;
        let range = Range { lba: 0, blocks: 1 };
        assert_eq!(ask(&info, Op::Read(range), Data::Lend), Ok(()));
        assert_eq!(ask(&info, Op::Flush, Data::None), Ok(()));
        for op in [
            Op::Write { range, fua: false },
            Op::WriteZeroes { range, fua: false, deallocate: true },
            Op::Deallocate(range),
            // A range outside does not change the reason: the whole device is read-only.
            Op::Deallocate(Range { lba: 5000, blocks: 1 }),
        ] {
            assert_eq!(ask(&info, op, Data::None), Err(Failure::ReadOnly));
        }
    }

    #[test]
    fn sizes_are_whole_blocks() {
        assert_eq!(check_size(4096, 512), Ok(8));
        assert!(check_size(0, 512).is_err());
        assert!(check_size(513, 512).is_err());
        assert!(check_size(1 << 63, 512).is_err());
        assert_eq!(check_size((1 << 63) - 512, 512), Ok((1 << 54) - 1));
    }
}
