//! A mapped file that loses bytes: it is cut off, its disk is full or broken. Touching them is then a SIGBUS.
//!
//! The handler puts zeroed memory where the bytes were, so that the thread that has touched them goes on, and notes on
//! the mapping that this happened. Whoever uses the mapping asks before it gives anything away that it has read there:
//! [`Watched::check`]. A SIGBUS at any other address ends the process as it always did.

use std::ffi::{c_int, c_void};
use std::io;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::mm::{self, MapFlags, ProtFlags};

use crate::limits::MAX_MAPPED_FILES;

/// A mapping, as the handler may look at it at any time.
struct Slot {
    /// 0 if there is none.
    base: AtomicUsize,
    bytes: AtomicUsize,
    /// 0, or one more than the place of the first byte that was lost.
    lost: AtomicUsize,
}

static SLOTS: [Slot; MAX_MAPPED_FILES] =
    [const { Slot { base: AtomicUsize::new(0), bytes: AtomicUsize::new(0), lost: AtomicUsize::new(0) } };
        MAX_MAPPED_FILES];

/// Bytes of a page of this machine.
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The handler that was there before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// A mapping of a file that is watched.
pub(super) struct Watched(&'static Slot);

impl Watched {
    /// Watches a mapping until this is dropped. Calls come one at a time.
    ///
    /// # Errors
    /// There are too many, or the system's refusal of the handler.
    pub(super) fn new(base: NonNull<u8>, bytes: usize) -> io::Result<Self> {
        install()?;
        let free = SLOTS.iter().find(|slot| slot.base.load(Ordering::Relaxed) == 0);
        let Some(slot) = free else {
            return Err(io::Error::other(format!("{MAX_MAPPED_FILES} files are mapped already")));
        };
        slot.lost.store(0, Ordering::Relaxed);
        slot.bytes.store(bytes, Ordering::Relaxed);
        // The handler looks at the rest only if this is there.
        slot.base.store(base.addr().get(), Ordering::Release);
        Ok(Self(slot))
    }

    /// Whether all bytes that were ever touched were those of the file.
    ///
    /// # Errors
    /// They were not.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.0.lost.load(Ordering::Acquire) {
            0 => Ok(()),
            lost => {
                let why = "the file was cut off, or its disk is full or broken";
                Err(io::Error::other(format!("bytes from {} on are lost: {why}", lost - 1)))
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.base.store(0, Ordering::Release);
    }
}

fn install() -> io::Result<()> {
    if BEFORE.get().is_some() {
        return Ok(());
    }
    // SAFETY: it asks for a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    PAGE_BYTES.store(usize::try_from(page).map_err(io::Error::other)?, Ordering::Relaxed);
    // SAFETY: all zeros are a sigaction: no flags, an empty mask.
    let (mut ours, mut before): (libc::sigaction, libc::sigaction) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_bus_error;
    ours.sa_sigaction = handler as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: both structures are valid, and the handler does only what a signal handler may: see there.
    unsafe {
        if libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut before) != 0 {
            return Err(io::Error::last_os_error());
        }
        let _ = BEFORE.set(before);
        if libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Runs on the thread that has touched the byte, in the middle of whatever it does: atomics and one system call.
extern "C" fn on_bus_error(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel gives a handler with SA_SIGINFO a valid structure; of a SIGBUS it has the address.
    let address = unsafe { (*info).si_addr() }.addr();
    for slot in &SLOTS {
        let base = slot.base.load(Ordering::Acquire);
        let offset = address.wrapping_sub(base);
        if base == 0 || offset >= slot.bytes.load(Ordering::Relaxed) {
            continue;
        }
        if replace(address) {
            let _ = slot.lost.compare_exchange(0, offset + 1, Ordering::AcqRel, Ordering::Relaxed);
            return;
        }
    }
    // Not ours, or there is no memory: the instruction is run again, with the handler that was there before.
    if let Some(before) = BEFORE.get() {
        // SAFETY: it is the structure that the system gave.
        unsafe { libc::sigaction(libc::SIGBUS, ptr::from_ref(before), ptr::null_mut()) };
    }
}

/// Puts a zeroed page where an address is.
fn replace(address: usize) -> bool {
    let bytes = PAGE_BYTES.load(Ordering::Relaxed);
    let flags = MapFlags::PRIVATE | MapFlags::FIXED;
    let place = ptr::without_provenance_mut(address - address % bytes);
    // SAFETY: the page lies in a mapping of a file that is ours and stays mapped: whoever drops it takes it out of the
    // slots before. Its bytes cannot be reached any more, so that nothing is lost by this.
    unsafe { mm::mmap_anonymous(place, bytes, ProtFlags::READ | ProtFlags::WRITE, flags) }.is_ok()
}

#[cfg(test)]
mod tests {
    use crate::region::{Arena, Region};

    #[test]
    fn a_file_that_is_cut_off_is_noticed_and_nobody_dies() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        let mut arena = Arena::new(Region::file(&file, 1 << 20).unwrap());
        arena.fill(7);
        arena.region().check().unwrap();
        file.set_len(500_000).unwrap();
        assert_eq!(arena[400_000], 7);
        arena.region().check().unwrap();
        assert_eq!(arena[600_000], 0);
        arena[700_000] = 1;
        let error = arena.region().check().unwrap_err().to_string();
        assert!(error.starts_with("bytes from 600000 on are lost"), "{error}");
        assert_eq!(arena[499_999], 7);
        drop(arena);
        let other = tempfile::tempfile().unwrap();
        other.set_len(4096).unwrap();
        Region::file(&other, 4096).unwrap().check().unwrap();
    }
}
