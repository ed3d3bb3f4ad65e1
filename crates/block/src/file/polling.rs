//! Whether what is asked to be polled for can be: each requirement by its name, because nothing else is taken instead.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use machine::os;
use machine::region::Pool;
use machine::ring::{FileOp, FileTask, Polling, Ring, RingKind, Wait};

use super::FileOptions;
use super::open::fail;
use crate::limits::PREFERRED_BYTES;
use crate::path::Path as Way;
use crate::{OpenError, path};

/// Whether the way that is asked for is one that polls.
pub(super) fn check_way(path: &Path, options: &FileOptions) -> Result<(), OpenError> {
    let FileOptions { path: way, polling, .. } = *options;
    match way {
        Some(way) if polling.any() && way != path::Path::Uring => {
            let why = format!("{polling} is for the paths uring and uring-cmd, not for {way}");
            Err(fail(path, why, format!("Leave {polling} or path={way} out."), None))
        }
        _ => Ok(()),
    }
}

/// The way to go: polling is one by `io_uring`, whatever a reactor's own ring is.
pub(super) fn way(options: &FileOptions) -> Option<Way> {
    if options.polling.any() { Some(Way::Uring) } else { options.path }
}

/// Whether `io` can be polled for so, which is tried. `buffered` is why it goes through the page cache, if it does.
pub(super) fn check(
    path: &Path,
    io: &Arc<File>,
    buffered: Option<&str>,
    block_bytes: u32,
    polling: Polling,
) -> Result<(), OpenError> {
    if let (true, Some(why)) = (polling.iopoll, buffered) {
        let hint = "Leave iopoll out, or choose a file system and a block size (bs=4096) that go past the page cache.";
        return Err(fail(path, format!("iopoll needs direct I/O: {why}"), hint.to_owned(), None));
    }
    if let (true, Some((disk, false))) = (polling.iopoll, os::io_poll(io)) {
        let why = format!("iopoll needs queues for polling: /sys/block/{disk}/queue/io_poll is 0");
        let hint = "Have the driver make some: nvme.poll_queues=1, virtio_blk.poll_queues=1 or null_blk.poll_queues=1 \
                    when it is loaded or at boot. Loop devices have none.";
        return Err(fail(path, why, hint.to_owned(), None));
    }
    match read_one(io, block_bytes, polling) {
        Err(error) if error.kind() == ErrorKind::Unsupported && error.raw_os_error().is_some() => {
            let why = format!("{polling} is not possible here: the first read ended with \"{error}\"");
            let hint = "Of file systems ext4 and xfs can, on a drive that can; of block devices those of drivers with \
                        queues for polling.";
            Err(fail(path, why, hint.to_owned(), Some(error)))
        }
        Err(error) if error.raw_os_error().is_none() => {
            let hint = format!("Leave {polling} out, or see that io_uring is to be had.");
            Err(fail(path, format!("{polling} is not available: {error}"), hint, Some(error)))
        }
        // Every way would meet other errors.
        _ => Ok(()),
    }
}

/// Reads the first block so.
fn read_one(io: &Arc<File>, block_bytes: u32, polling: Polling) -> io::Result<()> {
    let mut ring = Ring::of(RingKind::Portable)?;
    let (owner, file) = (ring.owner(), ring.file_polled(Arc::clone(io), polling)?);
    let pool = Pool::anonymous(PREFERRED_BYTES as usize, 1)?;
    let mut buf = pool.take().expect("a new pool has its buffer");
    buf.set_len(block_bytes as usize);
    let task = FileTask { tag: 0, file, op: FileOp::Read { offset: 0 }, bufs: buf.into() };
    assert!(ring.submit_file(owner, task).is_ok(), "a new ring has room");
    let mut done = Vec::new();
    while done.is_empty() {
        ring.enter(Wait::Forever)?;
        ring.files_done(owner, &mut done);
    }
    done.pop().expect("waited for").result
}
