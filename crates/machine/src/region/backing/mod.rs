//! Where a region's bytes come from: one mapping of the operating system.
//!
//! ```text
//!     what the system gives    |...........|<-------------- 2 MiB aligned --------------->|......|
//!     what is kept                         |  bytes, rounded up to 64 KiB                 |
//!     given back at once       |...........|                                              |......|
//! ```
//!
//! Nothing is touched here: pages come with their first use, so a large region costs nothing until it holds something.
//! A huge page can only stand where virtual and physical addresses agree in their low 21 bits, hence the alignment.
//!
//! [`Mapping`] has the same surface everywhere; one file per system is behind it.

use std::fs::File;
use std::io;
use std::ptr::NonNull;

#[cfg(unix)]
#[path = "unix.rs"]
mod system;
#[cfg(windows)]
#[path = "windows.rs"]
mod system;

use super::HugePages;
use crate::limits::MAP_GRANULE_BYTES;
pub(super) use system::sync;

/// What a mapped file is.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "other systems do not tell persistent memory apart"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Medium {
    /// Pages that the system writes to wherever they belong.
    Pages,
    /// The medium itself, persistent memory: cache lines have to be written back, and nothing else.
    Memory,
    /// The same, of a platform that empties its caches when the power goes.
    MemoryAndCaches,
    /// Persistent memory of a platform that does not tell what survives.
    Untold,
}

/// What the system has mapped: where that begins, and its bytes.
type Held = (NonNull<u8>, usize);

/// The length to ask for when `bytes` are wanted.
fn rounded(bytes: usize) -> io::Result<usize> {
    if bytes == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a region of no bytes"));
    }
    bytes.checked_next_multiple_of(MAP_GRANULE_BYTES).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// One mapping: readable and writable memory that stays where it is until this is dropped.
pub(super) struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
    /// All that the system has mapped, and where that begins: `bytes`, rounded up for anonymous memory, with a fence
    /// of pages that nobody may touch around it where it is to have huge pages.
    held: Held,
    /// Keeps a mapped file open, locked, watched and known as mapped.
    file: Option<system::Claim>,
}

// SAFETY: a mapping belongs to the process, not to a thread. It hands out nothing but its address; whoever turns that
// into references (pool, slot map) answers for their exclusiveness.
unsafe impl Send for Mapping {}
// SAFETY: as above; `sync` and `advise` are system calls that any thread may make on any mapping.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Zeroed private memory; starts at a multiple of 2 MiB if it is at least as long.
    pub(super) fn anonymous(bytes: usize) -> io::Result<Self> {
        let held = rounded(bytes)?;
        let base = system::anonymous(held)?;
        Ok(Self { base, bytes, held: (base, held), file: None })
    }

    /// The same on pages of which the system is asked to make huge ones, and that are taken at once. The fence keeps it
    /// apart from other mappings, so that the system's figures of it are about nothing else.
    pub(super) fn transparent(bytes: usize) -> io::Result<Self> {
        let kept = rounded(bytes)?;
        // What is taken at once has to be there, or the kernel looks for somebody to kill.
        if let Some(there) = crate::os::available_memory().filter(|&there| there < kept as u64) {
            let why = format!("{bytes} bytes are to be taken at once, and {there} are available");
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, why));
        }
        let (base, held) = system::fenced(kept)?;
        let mapping = Self { base, bytes, held, file: None };
        mapping.advise_huge();
        system::populate(base, kept)?;
        Ok(mapping)
    }

    /// The same on huge pages that are set aside for programs which ask for them.
    pub(super) fn reserved(bytes: usize) -> io::Result<Self> {
        let (base, held) = system::reserved(bytes)?;
        let mapping = Self { base, bytes, held: (base, held), file: None };
        system::populate(base, held)?;
        Ok(mapping)
    }

    /// Zeroed private memory that the system sets nothing aside for.
    pub(super) fn sparse(bytes: usize) -> io::Result<Self> {
        let held = rounded(bytes)?;
        let base = system::sparse(held)?;
        Ok(Self { base, bytes, held: (base, held), file: None })
    }

    /// The first `bytes` of a file, shared with it; and what that is.
    pub(super) fn file(file: &File, bytes: usize) -> io::Result<(Self, Medium)> {
        let claim = system::Claim::new(file, bytes)?;
        let (base, medium) = system::shared(&claim, bytes)?;
        let mut mapping = Self { base, bytes, held: (base, bytes), file: Some(claim) };
        mapping.file.as_mut().expect("it was just put there").watch(base, bytes)?;
        Ok((mapping, medium))
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// See [`super::Region::check`].
    pub(super) fn check(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), system::Claim::check)
    }

    /// Asks for huge pages; only advice, so that nothing depends on it.
    pub(super) fn advise_huge(&self) -> HugePages {
        system::advise_huge(self.base, self.bytes)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if let Some(claim) = &mut self.file {
            claim.forget();
        }
        let (start, bytes) = self.held;
        // SAFETY: `held` is the mapping that was made for us alone, and whoever points into it holds the region and
        // thereby this mapping.
        unsafe { system::unmap(start, bytes, self.file.is_some()) };
    }
}
