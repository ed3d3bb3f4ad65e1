//! Reading, writing, zeroing and freeing a range of a file or block device: whole or not at all, as far as the caller
//! is concerned. Errors keep the kernel's number.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2, pwrite, pwritev2, retry_on_intr};

use crate::limits::{MAX_PIECES, ZERO_BLOCK_BYTES, ZERO_BLOCKS_PER_WRITE};

/// Fills `bytes`, over as many short reads as it takes.
pub(crate) fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    read_all(file, bytes.len(), offset, |done| pread(file, &mut bytes[done..], offset + done as u64))
}

/// Fills the pieces one after the other, over as many short reads as it takes.
pub(crate) fn read_exact_vectored_at(file: &File, pieces: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<()> {
    read_pieces(file, pieces, offset, |rest, at| preadv2(file, rest, at, ReadWriteFlags::empty()))
}

/// Calls `read(rest, offset)` until nothing is left of the pieces.
fn read_pieces(
    file: &File,
    pieces: &mut [IoSliceMut<'_>],
    offset: u64,
    mut read: impl FnMut(&mut [IoSliceMut<'_>], u64) -> Result<usize, Errno>,
) -> io::Result<()> {
    let (len, mut rest, mut filled) = (pieces.iter().map(|piece| piece.len()).sum(), pieces, 0);
    read_all(file, len, offset, |done| {
        IoSliceMut::advance_slices(&mut rest, done - filled);
        filled = done;
        read(rest, offset + done as u64)
    })
}

/// Calls `read(done)` until all of `len` bytes from `offset` on are there.
fn read_all(
    file: &File,
    len: usize,
    offset: u64,
    mut read: impl FnMut(usize) -> Result<usize, Errno>,
) -> io::Result<()> {
    let mut done = 0;
    while done < len {
        match read(done) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => done += read,
            Err(Errno::INTR) => {}
            // With O_DIRECT a file whose end is not aligned gives a short read, and then the rest is not aligned
            // either.
            Err(Errno::INVAL) if done > 0 && file.metadata()?.len() <= offset + done as u64 => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Writes all of `bytes`, over as many short writes as it takes. With `dsync` they are durable on return.
///
/// # Errors
/// The system's; how much was written then is unknown.
pub fn write_all_at(file: &File, bytes: &[u8], offset: u64, dsync: bool) -> io::Result<()> {
    let durable = write_all(bytes.len(), dsync, |done, dsync| {
        let (rest, at) = (&bytes[done..], offset + done as u64);
        if dsync { pwritev2(file, &[IoSlice::new(rest)], at, ReadWriteFlags::DSYNC) } else { pwrite(file, rest, at) }
    })?;
    if dsync && !durable { file.sync_data() } else { Ok(()) }
}

/// Writes the pieces one after the other, over as many short writes as it takes; see [`write_all_at`].
///
/// # Panics
/// If there are more than [`MAX_PIECES`].
pub(crate) fn write_all_vectored_at(
    file: &File,
    pieces: &[IoSliceMut<'_>],
    offset: u64,
    dsync: bool,
) -> io::Result<()> {
    assert!(pieces.len() <= MAX_PIECES, "{} pieces", pieces.len());
    let mut slices: [IoSlice<'_>; MAX_PIECES] =
        std::array::from_fn(|at| IoSlice::new(pieces.get(at).map_or(&[], |piece| piece)));
    let durable = write_pieces(&mut slices[..pieces.len()], dsync, |rest, done, dsync| {
        let flags = if dsync { ReadWriteFlags::DSYNC } else { ReadWriteFlags::empty() };
        pwritev2(file, rest, offset + done as u64, flags)
    })?;
    if dsync && !durable { file.sync_data() } else { Ok(()) }
}

/// Calls `write(rest, done, dsync)` until nothing is left of the slices; see [`write_all`].
fn write_pieces(
    mut rest: &mut [IoSlice<'_>],
    dsync: bool,
    mut write: impl FnMut(&[IoSlice<'_>], usize, bool) -> Result<usize, Errno>,
) -> io::Result<bool> {
    let (len, mut written) = (rest.iter().map(|piece| piece.len()).sum(), 0);
    write_all(len, dsync, |done, dsync| {
        IoSlice::advance_slices(&mut rest, done - written);
        written = done;
        write(rest, done, dsync)
    })
}

/// Calls `write(done, dsync)` until all is done: with `dsync` (`RWF_DSYNC`) if asked for, until it says that it knows
/// no such thing, then without. Whether all of it was written with `dsync`.
fn write_all(
    len: usize,
    mut dsync: bool,
    mut write: impl FnMut(usize, bool) -> Result<usize, Errno>,
) -> io::Result<bool> {
    let mut done = 0;
    while done < len {
        match write(done, dsync) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => done += written,
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if dsync => dsync = false,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(dsync)
}

/// Makes a range read as zeros: in place or by freeing it, the one that `deallocate` wishes for first; where neither
/// can be done, by writing zeros. On a block device the kernel turns the first two into write-zeroes commands. The file
/// does not get longer by the first two; the range must lie within it.
pub(crate) fn zero(file: &File, offset: u64, len: u64, dsync: bool, deallocate: bool) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    let mut ways = [FallocateFlags::ZERO_RANGE, FallocateFlags::PUNCH_HOLE];
    if deallocate {
        ways.reverse();
    }
    for flags in ways {
        match retry_on_intr(|| fallocate(file, flags | FallocateFlags::KEEP_SIZE, offset, len)) {
            Ok(()) if dsync => return file.sync_data(),
            Ok(()) => return Ok(()),
            Err(error) if cannot(error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    write_zeros(file, offset, len)?;
    if dsync { file.sync_data() } else { Ok(()) }
}

/// Frees a range if the file system can. On a block device the kernel turns this into a write-zeroes command that may
/// unmap, so that what is read afterwards is certain.
pub(crate) fn deallocate(file: &File, offset: u64, len: u64) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match retry_on_intr(|| fallocate(file, flags, offset, len)) {
        Err(error) if !cannot(error) => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The file system or device does not know this way (`EINVAL`: not for this range), rather than having failed at it.
fn cannot(error: Errno) -> bool {
    matches!(error, Errno::OPNOTSUPP | Errno::NOSYS | Errno::NODEV | Errno::INVAL)
}

/// Aligned for direct I/O.
#[repr(align(4096))]
struct ZeroBlock([u8; ZERO_BLOCK_BYTES]);

pub(super) fn write_zeros(file: &File, offset: u64, len: u64) -> io::Result<()> {
    static ZEROS: ZeroBlock = ZeroBlock([0; ZERO_BLOCK_BYTES]);
    let mut done = 0;
    while done < len {
        let mut left = (len - done).min((ZERO_BLOCK_BYTES * ZERO_BLOCKS_PER_WRITE) as u64) as usize;
        let slices: [IoSlice<'_>; ZERO_BLOCKS_PER_WRITE] = std::array::from_fn(|_| {
            let part = left.min(ZERO_BLOCK_BYTES);
            left -= part;
            IoSlice::new(&ZEROS.0[..part])
        });
        match pwritev2(file, &slices, offset + done, ReadWriteFlags::empty()) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => done += written as u64,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::tests::changes_its_range_only;

    #[test]
    fn what_is_done_where_the_file_system_cannot() {
        changes_its_range_only(write_zeros, true);
    }

    #[test]
    fn a_durable_write_without_rwf_dsync_is_synced_afterwards() {
        // What each call gives, and whether it was asked to be durable.
        let play = |dsync, script: &[Result<usize, Errno>]| {
            let (mut script, mut asked) = (script.iter(), Vec::new());
            let end = write_all(10, dsync, |done, dsync| {
                asked.push((done, dsync));
                *script.next().expect("a call too many")
            });
            (end.map_err(|error| error.raw_os_error()), asked)
        };
        assert_eq!(play(true, &[Ok(4), Err(Errno::INTR), Ok(6)]), (Ok(true), vec![(0, true), (4, true), (4, true)]));
        for refused in [Errno::OPNOTSUPP, Errno::NOSYS] {
            assert_eq!(play(true, &[Err(refused), Ok(10)]), (Ok(false), vec![(0, true), (0, false)]));
        }
        // What was written with it before is durable, too; one sync covers the rest.
        let late = [Ok(4), Err(Errno::OPNOTSUPP), Ok(6)];
        assert_eq!(play(true, &late), (Ok(false), vec![(0, true), (4, true), (4, false)]));
        let twice = [Err(Errno::OPNOTSUPP), Err(Errno::OPNOTSUPP)];
        assert_eq!(play(true, &twice).0, Err(Some(Errno::OPNOTSUPP.raw_os_error())), "then it is an error");
    }

    #[test]
    fn a_short_transfer_goes_on_in_the_middle_of_a_piece() {
        const LENGTHS: [usize; 6] = [0, 3, 1, 0, 7, 2];
        let bytes: Vec<u8> = (1..=13).collect();
        let file = File::open("/dev/null").expect("there is one");
        for most in 1..=13 {
            // Each call moves so many bytes at most, and every other one is interrupted.
            let mut calls = 0;
            let mut moved = |left: usize| {
                calls += 1;
                if calls % 2 == 0 { Err(Errno::INTR) } else { Ok(left.min(most)) }
            };
            let mut back = [0; 13];
            let mut rest = &mut back[..];
            let mut pieces = LENGTHS.map(|len| IoSliceMut::new(rest.split_off_mut(..len).expect("13 in all")));
            let read = read_pieces(&file, &mut pieces, 100, |rest, at| {
                let left: Vec<&mut u8> = rest.iter_mut().flat_map(|piece| piece.iter_mut()).collect();
                let count = moved(left.len())?;
                left.into_iter().zip(&bytes[at as usize - 100..][..count]).for_each(|(to, from)| *to = *from);
                Ok(count)
            });
            assert!(read.is_ok() && back[..] == bytes, "{most} at a time");

            let (mut rest, mut written) = (&bytes[..], Vec::<u8>::new());
            let mut slices = LENGTHS.map(|len| IoSlice::new(rest.split_off(..len).expect("13 in all")));
            let wrote = write_pieces(&mut slices, true, |rest, done, dsync| {
                assert_eq!((done, dsync), (written.len(), true));
                let left: Vec<u8> = rest.iter().flat_map(|piece| piece.iter().copied()).collect();
                let count = moved(left.len())?;
                written.extend(&left[..count]);
                Ok(count)
            });
            assert!(wrote.is_ok_and(|durable| durable) && written == bytes, "{most} at a time");
        }
    }

    #[test]
    fn errors_keep_their_number() {
        let Ok(full) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/full") else { return };
        for dsync in [false, true] {
            let error = write_all_at(&full, &[0; 512], 0, dsync).expect_err("no space");
            assert_eq!(error.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
        }
        let error = zero(&full, 0, 512, false, true).expect_err("no fallocate there, and no space for zeros");
        assert_eq!(error.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
    }
}
