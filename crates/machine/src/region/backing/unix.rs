//! Unix: `mmap`, and what Linux adds to it.

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::mm::{self, MapFlags, MprotectFlags, ProtFlags};

use super::{Held, Medium, rounded};
use crate::limits::HUGE_PAGE_BYTES;
use crate::os;
use crate::region::HugePages;
use crate::region::fault::Watched;

fn address(base: *mut c_void) -> io::Result<NonNull<u8>> {
    NonNull::new(base.cast()).ok_or_else(|| io::Error::other("the system mapped memory at address zero"))
}

/// `kept` is a multiple of 64 KiB.
pub(super) fn anonymous(kept: usize) -> io::Result<NonNull<u8>> {
    let slack = if kept >= HUGE_PAGE_BYTES { HUGE_PAGE_BYTES } else { 0 };
    let asked = kept.checked_add(slack).ok_or(io::ErrorKind::OutOfMemory)?;
    // SAFETY: a new private mapping at an address of the system's choice cannot touch existing memory.
    let start =
        unsafe { mm::mmap_anonymous(ptr::null_mut(), asked, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)? };
    if slack == 0 {
        return address(start);
    }
    let head = start.addr().next_multiple_of(HUGE_PAGE_BYTES) - start.addr();
    let tail = slack - head;
    // SAFETY: head + kept + tail is the mapping just made; nobody else knows of it. Both ends are multiples of the
    // page size: `start` is, `kept` and HUGE_PAGE_BYTES are multiples of 64 KiB.
    unsafe {
        let base = start.byte_add(head);
        if head > 0 {
            mm::munmap(start, head)?;
        }
        if tail > 0 {
            mm::munmap(base.byte_add(kept), tail)?;
        }
        address(base)
    }
}

/// `kept` bytes, a multiple of 64 KiB, that begin at a multiple of 2 MiB, between pages that may not be touched;
/// and all of the mapping.
pub(super) fn fenced(kept: usize) -> io::Result<(NonNull<u8>, Held)> {
    let all = kept.checked_add(2 * HUGE_PAGE_BYTES).ok_or(io::ErrorKind::OutOfMemory)?;
    // SAFETY: a new private mapping at an address of the system's choice cannot touch existing memory.
    let start = unsafe { mm::mmap_anonymous(ptr::null_mut(), all, ProtFlags::empty(), MapFlags::PRIVATE)? };
    let head = (start.addr() + 1).next_multiple_of(HUGE_PAGE_BYTES) - start.addr();
    // SAFETY: head is 1 to 2 MiB, so that head + kept and more is inside the mapping just made, which nobody else
    // knows of. Both ends are multiples of the page size.
    let made = unsafe {
        let base = start.byte_add(head);
        mm::mprotect(base, kept, MprotectFlags::READ | MprotectFlags::WRITE).map(|()| base)
    };
    let held = (address(start)?, all);
    match made {
        Ok(base) => Ok((address(base)?, held)),
        Err(error) => {
            // SAFETY: the mapping just made; nobody points into it.
            unsafe { unmap(held.0, held.1, false) };
            Err(error.into())
        }
    }
}

/// Huge pages of 2 MiB that are set aside, for `bytes`; and how many bytes they have.
#[cfg(target_os = "linux")]
pub(super) fn reserved(bytes: usize) -> io::Result<Held> {
    rounded(bytes)?;
    let held = bytes.checked_next_multiple_of(HUGE_PAGE_BYTES).ok_or(io::ErrorKind::OutOfMemory)?;
    let flags = MapFlags::PRIVATE | MapFlags::HUGETLB | MapFlags::HUGE_2MB;
    // SAFETY: a new private mapping at an address of the system's choice cannot touch existing memory.
    let base = unsafe { mm::mmap_anonymous(ptr::null_mut(), held, ProtFlags::READ | ProtFlags::WRITE, flags)? };
    Ok((address(base)?, held))
}

/// Other systems have such pages in other ways.
#[cfg(not(target_os = "linux"))]
pub(super) fn reserved(_bytes: usize) -> io::Result<Held> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "huge pages that are set aside are there on Linux only"))
}

/// Takes the pages of a mapping at once. A system that cannot (Linux before 5.14) takes them by use.
pub(super) fn populate(base: NonNull<u8>, bytes: usize) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    // SAFETY: MADV_POPULATE_WRITE does what a write to each page of our own mapping would do, and changes no byte.
    match unsafe { mm::madvise(base.as_ptr().cast(), bytes, mm::Advice::LinuxPopulateWrite) } {
        Ok(()) | Err(Errno::INVAL) => {}
        // What a write would end with SIGBUS for.
        Err(Errno::FAULT) => return Err(io::ErrorKind::OutOfMemory.into()),
        Err(error) => return Err(error.into()),
    }
    let _ = (base, bytes);
    Ok(())
}

/// Mapped without `MAP_NORESERVE`, more than the machine's memory would be refused.
pub(super) fn sparse(bytes: usize) -> io::Result<NonNull<u8>> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a new private mapping at an address of the system's choice cannot touch existing memory.
    address(unsafe { mm::mmap_anonymous(ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, flags)? })
}

/// `claim` has checked that the file is long enough and that nobody else in this process has it mapped.
pub(super) fn shared(claim: &Claim, bytes: usize) -> io::Result<(NonNull<u8>, Medium)> {
    let map = |flags: MapFlags| {
        // SAFETY: a new mapping at an address of the system's choice cannot touch existing memory.
        unsafe { mm::mmap(ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, flags, &claim.file, 0) }
    };
    #[cfg(target_os = "linux")]
    if let Ok(start) = map(MapFlags::SHARED_VALIDATE | MapFlags::SYNC) {
        use crate::os::{PersistenceDomain, persistence_domain};
        let medium = match persistence_domain(&claim.file) {
            Some(PersistenceDomain::Memory) => Medium::Memory,
            Some(PersistenceDomain::Caches) => Medium::MemoryAndCaches,
            None => Medium::Untold,
        };
        return Ok((address(start)?, medium));
    }
    Ok((address(map(MapFlags::SHARED)?)?, Medium::Pages))
}

/// Writes the pages of a file that were changed, and waits until they are there.
pub(in crate::region) fn sync(file: &File, _base: NonNull<u8>) -> io::Result<()> {
    file.sync_data()
}

/// # Safety
/// `base` and `bytes` are a whole mapping made here that nobody points into any more.
pub(super) unsafe fn unmap(base: NonNull<u8>, bytes: usize, _is_file: bool) {
    // SAFETY: the caller's promise.
    let done = unsafe { mm::munmap(base.as_ptr().cast(), bytes) };
    debug_assert!(done.is_ok(), "munmap of our own mapping: {done:?}");
}

pub(super) fn advise_huge(base: NonNull<u8>, bytes: usize) -> HugePages {
    #[cfg(target_os = "linux")]
    if bytes >= HUGE_PAGE_BYTES {
        // SAFETY: MADV_HUGEPAGE changes how our own mapping is backed, never what is in it.
        let advised = unsafe { mm::madvise(base.as_ptr().cast(), bytes, mm::Advice::LinuxHugepage) };
        if advised.is_ok() {
            return HugePages::Advised;
        }
    }
    let _ = (base, bytes);
    HugePages::Unavailable
}

/// Device and inode of the files that this process has mapped.
static MAPPED: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());

/// The right to map a file: held once in this process (by `MAPPED`) and, among programs that ask, once on this
/// machine (by an advisory lock), so that two regions never share bytes.
pub(super) struct Claim {
    file: File,
    id: (u64, u64),
    watched: Option<Watched>,
}

impl Claim {
    pub(super) fn new(file: &File, bytes: usize) -> io::Result<Self> {
        rounded(bytes)?;
        let meta = file.metadata()?;
        if !meta.is_file() || meta.len() < bytes as u64 {
            // A page beyond the file's end is a SIGBUS waiting to happen.
            let why = format!("a mapping of {bytes} bytes needs a regular file of that length, not {}", meta.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let id = (meta.dev(), meta.ino());
        let mut mapped = MAPPED.lock().unwrap_or_else(PoisonError::into_inner);
        if mapped.contains(&id) {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "the file is already mapped by this program"));
        }
        let file = file.try_clone()?;
        if !os::lock_exclusive(&file)? {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another program uses the file"));
        }
        mapped.insert(id);
        Ok(Self { file, id, watched: None })
    }

    /// Watches the mapping of the file.
    pub(super) fn watch(&mut self, base: NonNull<u8>, bytes: usize) -> io::Result<()> {
        let _one_at_a_time = MAPPED.lock().unwrap_or_else(PoisonError::into_inner);
        self.watched = Some(Watched::new(base, bytes)?);
        Ok(())
    }

    /// Ends that: the mapping goes.
    pub(super) fn forget(&mut self) {
        self.watched = None;
    }

    pub(super) fn check(&self) -> io::Result<()> {
        self.watched.as_ref().map_or(Ok(()), Watched::check)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        MAPPED.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
