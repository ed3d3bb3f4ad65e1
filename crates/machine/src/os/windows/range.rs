//! Reading, writing, zeroing and freeing a range of a file: whole or not at all, as far as the caller is concerned.
//! Errors keep the system's number.
//!
//! Durable is what was written before a flush (`FlushFileBuffers`), which empties the cache of the system and that of
//! the disk. `FILE_FLAG_WRITE_THROUGH` would be a property of a handle, not of a request: a write that is to be durable
//! by itself (FUA) is a write and a flush.
//!
//! Reading and writing at a place moves the file's cursor here: who uses both sets it anew.
//!
//! Not yet run on a real Windows: TRIM of drives, and `FSCTL_SET_ZERO_DATA`. Wine has none, and what is done instead is
//! what is tested.

use std::ffi::c_void;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::windows::fs::FileExt;
use std::os::windows::io::AsRawHandle;

use windows_sys::Win32::Foundation::{
    ERROR_CALL_NOT_IMPLEMENTED, ERROR_INVALID_FUNCTION, ERROR_INVALID_PARAMETER, ERROR_NOT_SUPPORTED,
};
use windows_sys::Win32::System::IO::DeviceIoControl;
use windows_sys::Win32::System::Ioctl::{FILE_ZERO_DATA_INFORMATION, FSCTL_SET_ZERO_DATA};

use super::file::is_sparse;
use super::{done, drive};
use crate::limits::ZERO_BLOCK_BYTES;

/// Fills `bytes`, over as many short reads as it takes.
pub(crate) fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.seek_read(&mut bytes[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => done += read,
            // With direct I/O a file whose end is not aligned gives a short read, and then the rest is not aligned
            // either.
            Err(error) if done > 0 && refuses(&error, file, offset + done as u64) => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether a read was refused that begins at the end of the file.
fn refuses(error: &io::Error, file: &File, offset: u64) -> bool {
    error.kind() == io::ErrorKind::InvalidInput && file.metadata().is_ok_and(|found| found.len() <= offset)
}

/// Writes all of `bytes`, over as many short writes as it takes. With `dsync` they are durable on return.
///
/// # Errors
/// The system's; how much was written then is unknown.
pub fn write_all_at(file: &File, bytes: &[u8], offset: u64, dsync: bool) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.seek_write(&bytes[done..], offset + done as u64)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => done += written,
        }
    }
    if dsync { file.sync_data() } else { Ok(()) }
}

/// As [`read_exact_at`], piece by piece: calls for several want them in whole pages.
pub(crate) fn read_exact_vectored_at(file: &File, pieces: &mut [IoSliceMut<'_>], mut offset: u64) -> io::Result<()> {
    for piece in pieces {
        read_exact_at(file, piece, offset)?;
        offset += piece.len() as u64;
    }
    Ok(())
}

/// As [`write_all_at`], piece by piece.
pub(crate) fn write_all_vectored_at(
    file: &File,
    pieces: &[IoSliceMut<'_>],
    mut offset: u64,
    dsync: bool,
) -> io::Result<()> {
    for piece in pieces {
        write_all_at(file, piece, offset, false)?;
        offset += piece.len() as u64;
    }
    if dsync { file.sync_data() } else { Ok(()) }
}

/// Makes a range, which must lie within the file, read as zeros. The file system does it: it frees what it can of a
/// sparse file, whether that is wished for or not, and writes zeros to another one. Where it cannot, they are written
/// here.
pub(crate) fn zero(file: &File, offset: u64, len: u64, dsync: bool, _deallocate: bool) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    match zero_data(file, offset, len) {
        Ok(()) => {}
        Err(error) if cannot(&error) => write_zeros(file, offset, len)?,
        Err(error) => return Err(error),
    }
    if dsync { file.sync_data() } else { Ok(()) }
}

/// Frees a range of a drive (TRIM), or of a sparse file. Another file would be filled with zeros, which nobody has
/// asked for.
pub(crate) fn deallocate(file: &File, offset: u64, len: u64) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    if drive::number(file).is_some() {
        return drive::trim(file, offset, len);
    }
    if !is_sparse(file) {
        return Ok(());
    }
    match zero_data(file, offset, len) {
        Err(error) if !cannot(&error) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The file system's own zeros.
pub(super) fn zero_data(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let range = FILE_ZERO_DATA_INFORMATION {
        FileOffset: offset.cast_signed(),
        BeyondFinalZero: offset.saturating_add(len).cast_signed(),
    };
    // SAFETY: two numbers, read as the bytes that they are.
    let bytes = unsafe { std::slice::from_raw_parts((&raw const range).cast(), size_of_val(&range)) };
    fsctl(file, FSCTL_SET_ZERO_DATA, bytes)
}

/// Sends a request that gives no answer to the file system. The handle is one for calls that wait.
pub(super) fn fsctl(file: &File, request: u32, input: &[u8]) -> io::Result<()> {
    let (mut answered, nothing) = (0, std::ptr::null_mut::<c_void>());
    // SAFETY: the handle is open, and the input is as long as is said.
    done(unsafe {
        let (input, len) = (input.as_ptr().cast(), input.len() as u32);
        let waits = std::ptr::null_mut();
        DeviceIoControl(file.as_raw_handle(), request, input, len, nothing, 0, &raw mut answered, waits)
    })
}

/// The file system does not know this way, rather than having failed at it.
pub(super) fn cannot(error: &io::Error) -> bool {
    const REFUSALS: [u32; 4] =
        [ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED, ERROR_INVALID_PARAMETER, ERROR_CALL_NOT_IMPLEMENTED];
    error.raw_os_error().is_some_and(|number| REFUSALS.contains(&number.cast_unsigned()))
}

/// Aligned for direct I/O.
#[repr(align(4096))]
struct ZeroBlock([u8; ZERO_BLOCK_BYTES]);

static ZEROS: ZeroBlock = ZeroBlock([0; ZERO_BLOCK_BYTES]);

pub(super) fn write_zeros(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let mut done = 0;
    while done < len {
        let part = (len - done).min(ZERO_BLOCK_BYTES as u64);
        write_all_at(file, &ZEROS.0[..part as usize], offset + done, false)?;
        done += part;
    }
    Ok(())
}

/// Writes the first `len` bytes of a file over themselves, so that it has no holes there. Nobody may write meanwhile.
pub(super) fn fill_holes(file: &File, len: u64) -> io::Result<()> {
    let mut block = vec![0; ZERO_BLOCK_BYTES];
    let mut done = 0;
    while done < len {
        let part = (len - done).min(ZERO_BLOCK_BYTES as u64) as usize;
        read_exact_at(file, &mut block[..part], done)?;
        write_all_at(file, &block[..part], done, false)?;
        done += part as u64;
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
        changes_its_range_only(|file, _, _| fill_holes(file, file.metadata()?.len()), false);
    }
}
