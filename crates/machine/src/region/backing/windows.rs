//! Windows: `VirtualAlloc2` for memory, sections for files.
//!
//! Memory is committed: the system promises it, with its page file, when it is mapped, and takes it at the first use.
//! A file that is mapped cannot be cut off by anybody; a medium that fails under it ends the process.

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

use windows_sys::Win32::Foundation::{CloseHandle, HANDLE};
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_READ, FILE_MAP_WRITE, FlushViewOfFile, GetLargePageMinimum, MEM_ADDRESS_REQUIREMENTS,
    MEM_COMMIT, MEM_EXTENDED_PARAMETER, MEM_EXTENDED_PARAMETER_0, MEM_EXTENDED_PARAMETER_1, MEM_LARGE_PAGES,
    MEM_RELEASE, MEM_RESERVE, MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile, MemExtendedParameterAddressRequirements,
    PAGE_READWRITE, UnmapViewOfFile, VirtualAlloc, VirtualAlloc2, VirtualFree,
};

use super::{Held, Medium, rounded};
use crate::limits::HUGE_PAGE_BYTES;
use crate::os;
use crate::region::HugePages;

/// What the system gave, or why not.
fn address(base: *mut c_void) -> io::Result<NonNull<u8>> {
    NonNull::new(base.cast()).ok_or_else(io::Error::last_os_error)
}

/// `kept` is a multiple of 64 KiB, the granule of the system's addresses.
pub(super) fn anonymous(kept: usize) -> io::Result<NonNull<u8>> {
    let mut wanted = MEM_ADDRESS_REQUIREMENTS {
        LowestStartingAddress: ptr::null_mut(),
        HighestEndingAddress: ptr::null_mut(),
        Alignment: if kept >= HUGE_PAGE_BYTES { HUGE_PAGE_BYTES } else { 0 },
    };
    let mut parameter = MEM_EXTENDED_PARAMETER {
        Anonymous1: MEM_EXTENDED_PARAMETER_0 { _bitfield: MemExtendedParameterAddressRequirements as u64 },
        Anonymous2: MEM_EXTENDED_PARAMETER_1 { Pointer: (&raw mut wanted).cast() },
    };
    let how = MEM_RESERVE | MEM_COMMIT;
    // SAFETY: new memory at an address of the system's choice cannot touch existing memory; the one parameter and what
    // it points to outlive the call.
    address(unsafe { VirtualAlloc2(ptr::null_mut(), ptr::null(), kept, how, PAGE_READWRITE, &raw mut parameter, 1) })
}

/// Nobody merges pages behind our back here, so that there is nothing to be fenced off from.
pub(super) fn fenced(kept: usize) -> io::Result<(NonNull<u8>, Held)> {
    let base = anonymous(kept)?;
    Ok((base, (base, kept)))
}

/// Large pages, which are resident at once. The user needs the right to lock pages in memory.
pub(super) fn reserved(bytes: usize) -> io::Result<Held> {
    rounded(bytes)?;
    // SAFETY: it asks for a number.
    let page = unsafe { GetLargePageMinimum() };
    if page == 0 {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "this machine has no large pages"));
    }
    let held = bytes.checked_next_multiple_of(page).ok_or(io::ErrorKind::OutOfMemory)?;
    os::allow_large_pages()?;
    let how = MEM_RESERVE | MEM_COMMIT | MEM_LARGE_PAGES;
    // SAFETY: as for `anonymous`.
    Ok((address(unsafe { VirtualAlloc(ptr::null(), held, how, PAGE_READWRITE) })?, held))
}

/// Pages are taken by use, and the system has promised them already.
pub(super) fn populate(_base: NonNull<u8>, _bytes: usize) -> io::Result<()> {
    Ok(())
}

/// The system promises all that it maps: more than it has is refused.
pub(super) fn sparse(bytes: usize) -> io::Result<NonNull<u8>> {
    anonymous(bytes)
}

/// `claim` has checked that the file is long enough and that nobody else in this process has it mapped.
pub(super) fn shared(claim: &Claim, bytes: usize) -> io::Result<(NonNull<u8>, Medium)> {
    let (high, low) = ((bytes as u64 >> 32) as u32, bytes as u32);
    // SAFETY: the handle is open; there are no attributes and no name.
    let section = unsafe {
        let file: HANDLE = claim.file.as_raw_handle();
        CreateFileMappingW(file, ptr::null(), PAGE_READWRITE, high, low, ptr::null())
    };
    if section.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new view at an address of the system's choice cannot touch existing memory.
    let view = unsafe { MapViewOfFile(section, FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, bytes) };
    let base = address(view.Value);
    // SAFETY: the section was opened above. A view keeps it alive by itself.
    unsafe { CloseHandle(section) };
    Ok((base?, Medium::Pages))
}

/// Writes the pages of a file that were changed in the mapping that starts at `base`, and waits until they are there.
pub(in crate::region) fn sync(file: &File, base: NonNull<u8>) -> io::Result<()> {
    // SAFETY: the caller's mapping starts there; no length means all of it.
    if unsafe { FlushViewOfFile(base.as_ptr().cast(), 0) } == 0 {
        return Err(io::Error::last_os_error());
    }
    file.sync_data()
}

/// # Safety
/// `base` is what a function of this file gave, and nobody points into it any more.
pub(super) unsafe fn unmap(base: NonNull<u8>, _bytes: usize, is_file: bool) {
    let start = base.as_ptr().cast();
    // SAFETY: the caller's promise.
    let done = unsafe {
        if is_file {
            UnmapViewOfFile(MEMORY_MAPPED_VIEW_ADDRESS { Value: start })
        } else {
            VirtualFree(start, 0, MEM_RELEASE)
        }
    };
    debug_assert!(done != 0, "unmapping our own memory: {}", io::Error::last_os_error());
}

/// There is no such advice.
pub(super) fn advise_huge(_base: NonNull<u8>, _bytes: usize) -> HugePages {
    HugePages::Unavailable
}

/// Volume and index of the files that this process has mapped.
static MAPPED: Mutex<BTreeSet<(u32, u64)>> = Mutex::new(BTreeSet::new());

/// The right to map a file: held once in this process (by `MAPPED`) and once on this machine (by a lock), so that two
/// regions never share bytes.
pub(super) struct Claim {
    file: File,
    id: (u32, u64),
}

impl Claim {
    pub(super) fn new(file: &File, bytes: usize) -> io::Result<Self> {
        rounded(bytes)?;
        let meta = file.metadata()?;
        if !meta.is_file() || meta.len() < bytes as u64 {
            // A section that is longer than the file would make the file longer.
            let why = format!("a mapping of {bytes} bytes needs a regular file of that length, not {}", meta.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let known = os::information(file)?;
        let id = (known.volume, known.index);
        let mut mapped = MAPPED.lock().unwrap_or_else(PoisonError::into_inner);
        if mapped.contains(&id) {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "the file is already mapped by this program"));
        }
        let file = file.try_clone()?;
        if !os::lock_exclusive(&file)? {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another program uses the file"));
        }
        mapped.insert(id);
        Ok(Self { file, id })
    }

    /// Nobody can take bytes away from a file that is mapped.
    pub(super) fn watch(&mut self, _base: NonNull<u8>, _bytes: usize) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn forget(&mut self) {}

    pub(super) fn check(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The handle here is one of several on one opening, which keeps its lock until the last of them is closed.
        let _ = os::unlock(&self.file);
        MAPPED.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
