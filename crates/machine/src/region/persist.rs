//! What must be done so that the bytes of a region survive: the seam between memory and durability.
//!
//! ```text
//!     write bytes ... persist(range) ... persist(range) ... fence()     only now may anybody be told
//! ```
//!
//! Nothing helps ([`None`]); pages of a file are written by one system call at the fence ([`Synced`]); lines of the
//! processor's caches are written back to persistent memory one by one ([`super::lines::Lines`]), unless the caches
//! themselves survive. A fourth way only shows what it was asked ([`Shown`]), so that tests can check the order.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::slice;
use std::sync::{Mutex, PoisonError};

/// What makes the bytes of a region survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: they end with the process.
    None,
    /// A system call that writes the file's pages. Without it they survive the process, but not a power cut.
    Sync,
    /// The same system call, although the file lies on persistent memory: the system does not tell what of it survives.
    SyncUntold,
    /// The file is persistent memory, mapped as it is (`MAP_SYNC`): lines of the processor's caches are written back.
    Lines(WriteBack),
}

/// What makes a line of the processor's caches survive. A fence comes behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteBack {
    /// It keeps the line in the cache.
    Clwb,
    /// It drops the line.
    Clflushopt,
    /// It drops the line, and waits for that.
    Clflush,
    /// Nothing has to: the platform empties its caches when the power goes (eADR).
    Needless,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "nothing",
            Self::Sync => "fdatasync",
            Self::SyncUntold => "fdatasync, as the system does not tell what survives of this persistent memory",
            Self::Lines(WriteBack::Clwb) => "MAP_SYNC and clwb",
            Self::Lines(WriteBack::Clflushopt) => "MAP_SYNC and clflushopt",
            Self::Lines(WriteBack::Clflush) => "MAP_SYNC and clflush",
            Self::Lines(WriteBack::Needless) => "MAP_SYNC and fences (eADR)",
        })
    }
}

/// One way to make bytes survive.
pub(super) trait Persist: Send + Sync {
    fn durability(&self) -> Durability;

    /// `range` is inside of the mapping that starts at `base`.
    fn persist(&self, base: NonNull<u8>, range: Range<usize>) -> io::Result<()>;

    fn fence(&self, base: NonNull<u8>) -> io::Result<()>;
}

/// Bytes that end with the process: there is nothing to do.
pub(super) struct None;

impl Persist for None {
    fn durability(&self) -> Durability {
        Durability::None
    }

    fn persist(&self, _base: NonNull<u8>, _range: Range<usize>) -> io::Result<()> {
        Ok(())
    }

    fn fence(&self, _base: NonNull<u8>) -> io::Result<()> {
        Ok(())
    }
}

/// Pages of a file's mapping: `fdatasync` writes all of them that were changed, whichever they are.
pub(super) struct Synced {
    pub(super) file: File,
    /// Whether something quicker might do, if the system told more.
    pub(super) untold: bool,
}

impl Persist for Synced {
    fn durability(&self) -> Durability {
        if self.untold { Durability::SyncUntold } else { Durability::Sync }
    }

    fn persist(&self, _base: NonNull<u8>, _range: Range<usize>) -> io::Result<()> {
        Ok(())
    }

    fn fence(&self, base: NonNull<u8>) -> io::Result<()> {
        super::backing::sync(&self.file, base)
    }
}

/// What is done for the durability of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// [`super::Region::persist`] with this range of bytes.
    Persist(Range<usize>),
    /// [`super::Region::fence`].
    Fence,
}

/// Shows what is done to somebody, with all bytes of the region as they are then: for tests.
pub(super) struct Shown<F> {
    pub(super) bytes: usize,
    pub(super) to: Mutex<F>,
}

impl<F: FnMut(&[u8], Event) + Send> Shown<F> {
    fn show(&self, base: NonNull<u8>, event: Event) {
        // SAFETY: the mapping is of so many bytes, and whoever writes to it on this thread has called here instead.
        let bytes = unsafe { slice::from_raw_parts(base.as_ptr(), self.bytes) };
        (self.to.lock().unwrap_or_else(PoisonError::into_inner))(bytes, event);
    }
}

impl<F: FnMut(&[u8], Event) + Send> Persist for Shown<F> {
    fn durability(&self) -> Durability {
        Durability::Lines(WriteBack::Clflush)
    }

    fn persist(&self, base: NonNull<u8>, range: Range<usize>) -> io::Result<()> {
        self.show(base, Event::Persist(range));
        Ok(())
    }

    fn fence(&self, base: NonNull<u8>) -> io::Result<()> {
        self.show(base, Event::Fence);
        Ok(())
    }
}
