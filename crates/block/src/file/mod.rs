//! A regular file or a block device of the operating system as a block device.
//!
//! ```text
//! opening   look -> open -> lock -> size (create, check) -> identity -> direct or buffered
//! request   submit -> ring's file task -> done -> poll
//! ```
//!
//! Bytes are carried, past the page cache where the file system allows it and the logical block is not smaller than
//! what it asks of offsets; where not, through the page cache, and the log says why.
//!
//! | request | on the file |
//! |---|---|
//! | flush | `fdatasync`: covers every write that was completed before the flush was submitted |
//! | write with FUA | a write with `RWF_DSYNC` |
//! | write zeroes | `fallocate` zero range, else a hole, else zeros are written |
//! | ... that may deallocate | `fallocate` punch hole, else zero range, else zeros are written |
//! | deallocate | `fallocate` punch hole; TRIM of a drive of Windows; nothing where there is neither |
//! | compare, verify | reads; through the page cache, they see what it has, not the medium |
//! | copy | reads and writes through a buffer, range by range |
//! | write uncorrectable | not supported: a file has no place where that would last |
//!
//! A write is promised to be atomic for a single block only, and that is what the medium under the file promises for
//! its own: neither a file system nor the page cache lets larger writes be seen as a whole.
//!
//! Whether there are holes is asked at opening. If so, deallocated blocks read as zeros, blocks of 512 bytes in larger
//! ones of the file system included, and that is promised ([`crate::Features::zeros_after_deallocate`]).
//!
//! Errors of the operating system come out as [`crate::Failure::Host`]: a full file system as `ENOSPC` of the write
//! that found it full. The device goes on, and so do writes once there is space again.
//!
//! A file that somebody cuts off while it is served has lost blocks that were promised. A read of them is an error
//! (`EIO`), not zeros. A write behind the new end makes the file longer again, as on every file, and the blocks
//! between read as zeros from then on: to know it sooner would take a question to the file system with every write.
//! Write zeroes there may change nothing, so that reads go on to fail.
//!
//! A file that is made longer, or a block device that grew, is served with its new size once [`Device::refresh`] has
//! looked at it; queues that are open go on.
//!
//! Requests go by the engine of the ring that a queue is opened on, or by the one that [`FileOptions::path`] names:
//! `uring`, `threads`, `aio` or `sync`. On `sync` a request has ended when it was submitted, and the thread has waited
//! for it. `uring` may poll ([`FileOptions::polling`]), by a ring of its own; for completions only with direct I/O and
//! where the driver has queues for that, which is tried when the device is opened.
//!
//! A block device is claimed for writing as a mount claims it; one that is mounted is refused, and cannot be mounted
//! while it is served. A physical drive of Windows (`\\.\PhysicalDriveN`) is refused if a volume is on it; with
//! [`FileOptions::in_use`] its volumes are locked and dismounted, for as long as the device is there. Deallocating its
//! blocks is TRIM or UNMAP, if it has that: what is read there afterwards is not promised, so that zeros are written
//! where zeros are asked for. Written from the documentation of Windows, and not yet run on a drive.

mod grow;
mod open;
mod polling;
mod queue;
mod stepped;
mod steps;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use machine::os;
use machine::ring::Ring;
use uuid::Uuid;

pub(crate) use self::open::unclaimed;
use crate::identity::{self, SIDECAR_SUFFIX};
use crate::live_size::LiveSize;
use crate::path::{Path as Way, Polling};
use crate::{Device, Info, OpenError, Queue};

/// How a file is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileOptions {
    /// Size in bytes: a file that is not there is created with it, one that is there must have it. Without it, only a
    /// file that is there can be opened.
    pub size: Option<u64>,
    /// Bytes of a logical block; without it 512 for files, and their own for block devices.
    pub block_bytes: Option<u32>,
    /// Open for reading only.
    pub read_only: bool,
    /// Open a block device for writing also if it is mounted or claimed. Of a drive of Windows, this takes its volumes
    /// away from everybody else.
    pub in_use: bool,
    /// The identity, instead of the stored or a new one.
    pub uuid: Option<Uuid>,
    /// The way to it. Without one, requests go through the files of the ring that a queue is opened on.
    pub path: Option<Way>,
    /// What of [`Way::Uring`] polls; if anything does, that is the way.
    pub polling: Polling,
}

/// A file or a block device.
pub struct FileDevice {
    info: Info,
    size: LiveSize,
    /// What requests go to: past the page cache if that is possible.
    io: Arc<File>,
    /// What was opened first: it holds the lock, and is asked for sizes.
    base: File,
    /// What keeps others off a drive of Windows; the last to go.
    _claim: os::Claim,
    /// What files beside it are named after: a regular file that may be written, made absolute.
    beside: Option<PathBuf>,
    /// Why requests go through the page cache, if they do: the end of a sentence.
    buffered: Option<String>,
    /// The identity is derived from a name that may be another's tomorrow.
    passing_identity: bool,
    /// If it was asked for.
    way: Option<Way>,
    polling: Polling,
    /// It is a block device with zones.
    zoned: bool,
}

impl FileDevice {
    /// Opens `path`, or creates it.
    ///
    /// # Errors
    /// What went wrong, and what the user can do about it.
    pub fn open(path: &Path, options: &FileOptions) -> Result<Self, OpenError> {
        open::open(path, options)
    }

    /// Whether requests go past the page cache.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.buffered.is_none()
    }
}

impl Device for FileDevice {
    fn info(&self) -> &Info {
        &self.info
    }

    fn blocks(&self) -> u64 {
        self.size.blocks()
    }

    fn refresh(&self, want: Option<u64>) -> Result<u64, OpenError> {
        Ok(self.size.grow(grow::look_again(self, want)?))
    }

    fn open_queue(&self, ring: &mut Ring) -> io::Result<Box<dyn Queue>> {
        let file = match self.way.and_then(Way::engine) {
            None => ring.file(Arc::clone(&self.io)),
            Some(_) if self.polling.any() => ring.file_polled(Arc::clone(&self.io), self.polling)?,
            Some(engine) => ring.file_by(Arc::clone(&self.io), engine)?,
        };
        let (info, size) = (self.info.clone(), self.size.clone());
        let stepped = stepped::Stepped::new(file.clone(), ring.owner())?;
        Ok(Box::new(queue::FileQueue::new(info, size, file, ring.owner(), stepped)))
    }

    fn used_blocks(&self) -> u64 {
        if !self.info.features.thin {
            return self.blocks();
        }
        // Allocation is counted in the file system's blocks: one that is used in part is used.
        match os::allocated_bytes(&self.base) {
            Ok(bytes) => bytes.div_ceil(u64::from(self.info.block_bytes)).min(self.blocks()),
            Err(_) => self.blocks(),
        }
    }

    fn path(&self) -> Option<Way> {
        self.way
    }

    fn waits(&self) -> Option<String> {
        match (self.way?, &self.buffered) {
            (Way::Aio, Some(why)) => Some(format!("the path aio waits for the device without direct I/O ({why})")),
            (Way::Sync, _) => Some("the path sync waits for the device".to_owned()),
            _ => None,
        }
    }

    fn remark(&self) -> Option<String> {
        let uuid = self.info.identity.uuid;
        self.passing_identity.then(|| {
            format!(
                "the kernel knows no serial number of this block device, so its identity {uuid} may not survive a \
                 restart of the machine; uuid=UUID gives it one that does"
            )
        })
    }

    fn zoned_disk(&self) -> Option<&File> {
        self.zoned.then_some(&self.base)
    }

    fn sidecar(&self, what: &str) -> Option<PathBuf> {
        self.beside.as_deref().map(|path| identity::with_suffix(path, &format!("{SIDECAR_SUFFIX}-{what}")))
    }

    fn close(&self) -> io::Result<()> {
        if self.info.features.read_only { Ok(()) } else { self.io.sync_all() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aio_waits_without_direct_io_and_sync_always() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("disk.img");
        let waits = |way: Way, buffered: Option<&str>| {
            let options = FileOptions { size: Some(4096), path: Some(way), ..FileOptions::default() };
            let mut device = FileDevice::open(&path, &options).ok()?;
            device.buffered = buffered.map(str::to_owned);
            device.waits()
        };
        for why in [None, Some("it has none")] {
            assert_eq!(waits(Way::Threads, why), None);
            assert!(waits(Way::Sync, why).is_some_and(|why| why.contains("path sync waits")));
        }
        assert_eq!(waits(Way::Aio, None), None);
        if Way::Aio.engine().is_some_and(|engine| engine.check().is_ok()) {
            let why = waits(Way::Aio, Some("it has none")).expect("it waits");
            assert!(why.contains("path aio waits") && why.contains("(it has none)"), "{why}");
        }
    }
}
