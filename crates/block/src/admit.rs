//! What every device of this crate checks before it touches a request: that it may be done, that its blocks exist, and
//! that its buffer fits them. A request that fails here completes with the reason; it is never refused.

use machine::region::Buf;

use crate::limits::{MAX_DEVICE_BYTES, MAX_PIECES};
use crate::{Data, Failure, Info, Op, Range, Request};

/// Checks a request against what the device is, with the `blocks` that it has now.
///
/// # Errors
/// The status that the request must complete with.
pub(crate) fn admit(info: &Info, blocks: u64, request: &Request<'_>) -> Result<(), Failure> {
    let features = &info.features;
    if features.read_only && !request.op.only_reads() {
        return Err(Failure::ReadOnly);
    }
    let can = match request.op {
        Op::Compare(_) => features.compare,
        Op::Verify(_) => features.verify,
        Op::WriteUncorrectable(_) => features.write_uncorrectable,
        Op::Copy { .. } => features.copy.is_some(),
        Op::Read(_) | Op::Write { .. } | Op::Flush | Op::WriteZeroes { .. } | Op::Deallocate(_) => true,
    };
    if !can {
        return Err(Failure::NotSupported);
    }
    let moves_data = matches!(request.op, Op::Read(_) | Op::Write { .. } | Op::Compare(_));
    let copies = matches!(request.op, Op::Copy { .. });
    if !moves_data && !copies && !matches!(request.data, Data::None) {
        return Err(Failure::BadTransfer);
    }
    let Some(range) = request.op.range() else { return Ok(()) };
    on_device(range, blocks)?;
    if copies {
        return admit_sources(info, blocks, range, &request.data);
    }
    if !moves_data {
        return Ok(());
    }
    // Without overflow from here on: the range lies on a device of at most `MAX_DEVICE_BYTES`.
    let bytes = range.blocks * u64::from(info.block_bytes);
    let fits = match &request.data {
        Data::Carried(buf) => buf.len() as u64 == bytes,
        other => fits_otherwise(info, request.op, other, bytes),
    };
    if fits && bytes <= u64::from(info.max_transfer_bytes) { Ok(()) } else { Err(Failure::BadTransfer) }
}

/// Whether what is not one buffer fits a transfer of so many bytes. By itself, so that requests with one pay nothing.
#[inline(never)]
fn fits_otherwise(info: &Info, op: Op, data: &Data<'_>, bytes: u64) -> bool {
    let lends = info.features.lends;
    match (op, data) {
        (Op::Read(_), Data::Lend) => lends,
        (_, Data::Scattered(pieces)) => fits_pieces(info.piece_bytes, pieces, bytes),
        (Op::Write { .. } | Op::Compare(_), Data::Inline(data)) => lends && data.len() as u64 == bytes,
        (Op::Write { .. }, Data::Landed(landing)) => lends && landing.len() as u64 == bytes,
        _ => false,
    }
}

/// Whether a scatter list is one of a transfer of so many bytes.
fn fits_pieces(piece_bytes: u32, pieces: &[Buf], bytes: u64) -> bool {
    (1..=MAX_PIECES).contains(&pieces.len())
        && pieces.iter().all(|piece| piece.len().is_multiple_of(piece_bytes as usize))
        && pieces.iter().map(|piece| piece.len() as u64).sum::<u64>() == bytes
}

/// Checks that a range is not empty and lies on a device of so many blocks.
fn on_device(range: Range, blocks: u64) -> Result<(), Failure> {
    if range.blocks == 0 {
        return Err(Failure::BadTransfer);
    }
    if range.end().is_none_or(|end| end > blocks) { Err(Failure::OutOfRange) } else { Ok(()) }
}

/// Checks the sources of a copy to `range`.
fn admit_sources(info: &Info, blocks: u64, range: Range, data: &Data<'_>) -> Result<(), Failure> {
    let Data::Sources(sources) = data else { return Err(Failure::BadTransfer) };
    for source in *sources {
        on_device(*source, blocks)?;
    }
    if sources.iter().any(|source| source.overlaps(range)) {
        return Err(Failure::Overlap);
    }
    // Few sources, none longer than a device: the sum does not overflow 128 bits.
    let sum: u128 = sources.iter().map(|source| u128::from(source.blocks)).sum();
    let limits = info.features.copy.expect("looked at before");
    let small = range.blocks <= u64::from(limits.blocks)
        && sources.len() <= usize::from(limits.sources)
        && sources.iter().all(|source| source.blocks <= u64::from(limits.source_blocks));
    if small && sum == u128::from(range.blocks) { Ok(()) } else { Err(Failure::BadTransfer) }
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
    use crate::limits::MAX_COPY_SOURCES;
    use crate::{CopyLimits, Features, Identity};
    use uuid::Uuid;

    fn info() -> Info {
        Info {
            name: "test".to_owned(),
            kind: "ram",
            block_bytes: 512,
            blocks: 1000,
            preferred_blocks: 8,
            atomic_blocks: 1,
            max_transfer_bytes: 4096,
            piece_bytes: 1,
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
    fn a_device_says_what_it_cannot_do() {
        let mut info = info();
        let (range, bytes) = (Range { lba: 0, blocks: 1 }, [0; 512]);
        let compare = |info: &Info, bytes| ask(info, Op::Compare(range), Data::Inline(bytes));
        assert_eq!(compare(&info, &bytes), Err(Failure::NotSupported));
        info.features.compare = true;
        assert_eq!((compare(&info, &bytes), compare(&info, &bytes[1..])), (Ok(()), Err(Failure::BadTransfer)));
        assert_eq!(ask(&info, Op::Verify(range), Data::None), Err(Failure::NotSupported));
        assert_eq!(ask(&info, Op::WriteUncorrectable(range), Data::None), Err(Failure::NotSupported));
        (info.features.verify, info.features.write_uncorrectable, info.features.read_only) = (true, true, true);
        assert_eq!(ask(&info, Op::Verify(Range { lba: 0, blocks: 1000 }), Data::None), Ok(()));
        assert_eq!(compare(&info, &bytes), Ok(()), "it changes nothing");
        assert_eq!(ask(&info, Op::WriteUncorrectable(range), Data::None), Err(Failure::ReadOnly));
    }

    #[test]
    fn the_sources_of_a_copy_are_on_the_device_and_beside_its_destination() {
        let mut info = info();
        let copy = |info: &Info, lba, blocks, sources: &[(u64, u64)]| {
            let sources: Vec<_> = sources.iter().map(|&(lba, blocks)| Range { lba, blocks }).collect();
            ask(info, Op::Copy { range: Range { lba, blocks }, fua: false }, Data::Sources(&sources))
        };
        assert_eq!(copy(&info, 0, 1, &[(1, 1)]), Err(Failure::NotSupported));
        info.features.copy = Some(CopyLimits::most(512));
        assert_eq!(copy(&info, 10, 4, &[(0, 3), (9, 1)]), Ok(()));
        assert_eq!(copy(&info, 10, 4, &[(14, 4)]), Ok(()));
        assert_eq!(copy(&info, 10, 4, &[(13, 4)]), Err(Failure::Overlap));
        assert_eq!(copy(&info, 10, 4, &[(0, 1), (7, 4)]), Err(Failure::Overlap));
        assert_eq!(copy(&info, 10, 4, &[(0, 3)]), Err(Failure::BadTransfer), "too few");
        assert_eq!(copy(&info, 10, 1, &[(0, 1), (5, 0)]), Err(Failure::BadTransfer), "an empty source");
        assert_eq!(copy(&info, 10, 1, &[]), Err(Failure::BadTransfer));
        assert_eq!(copy(&info, 997, 4, &[(0, 4)]), Err(Failure::OutOfRange));
        assert_eq!(copy(&info, 0, 4, &[(997, 4)]), Err(Failure::OutOfRange));
        assert_eq!(copy(&info, 0, 4, &[(u64::MAX, 4)]), Err(Failure::OutOfRange));
        let many = [(200, 1); MAX_COPY_SOURCES + 1];
        assert_eq!(copy(&info, 0, many.len() as u64, &many), Err(Failure::BadTransfer));
        assert_eq!(copy(&info, 0, 128, &many[..128]), Ok(()), "a source may come twice");
        info.features.copy = Some(CopyLimits { sources: 2, source_blocks: 4, blocks: 6 });
        assert_eq!(copy(&info, 0, 6, &[(100, 4), (200, 2)]), Ok(()));
        assert_eq!(copy(&info, 0, 3, &many[..3]), Err(Failure::BadTransfer), "too many sources");
        assert_eq!(copy(&info, 0, 5, &[(100, 5)]), Err(Failure::BadTransfer), "one is too long");
        assert_eq!(copy(&info, 0, 7, &[(100, 4), (200, 3)]), Err(Failure::BadTransfer), "all are too long");
        assert_eq!(
            ask(&info, Op::Copy { range: Range { lba: 0, blocks: 1 }, fua: false }, Data::None),
            Err(Failure::BadTransfer)
        );
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
