//! Windows.

mod door;
mod drive;
mod error;
mod file;
mod lock;
mod memory;
mod nvme;
mod pipe;
mod probe;
mod process;
mod protocol;
mod range;
mod runtime;
mod scsi;
mod security;
mod signal;
mod socket;
mod storage;
mod thread;
mod ward;
mod zoned;

use std::ffi::CStr;
use std::io;
use std::os::windows::io::{FromRawHandle, OwnedHandle};
use std::sync::OnceLock;
use std::time::Duration;

use windows_sys::Win32::Foundation::{FARPROC, HANDLE};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};

pub(crate) use drive::drive_path;
pub use drive::{Claim, claim_drive, drive_name, drive_serial, drive_volumes, drives, is_drive};
pub use error::{DISK_ERRORS, IO_ERROR, disk_error, kind};
pub(crate) use file::information;
pub use file::{
    allocate, allocated_bytes, block_device_bytes, direct_alignment, file_key, get_xattr, io_poll, is_block_device,
    is_read_only_disk, mode, open_data, punches_holes, replace, set_xattr, sync_directory,
};
pub(super) use lock::{try_lock, unlock};
pub(crate) use memory::{allow_large_pages, huge_bytes};
pub use memory::{huge_page_pool, never_gives_huge_pages};
pub(crate) use nvme::{
    nvme_command, nvme_control, nvme_has_poll_queues, nvme_node, nvme_nsid, nvme_open, nvme_transfer_limits,
};
pub(super) use probe::{AREAS, this_system};
pub use process::Process;
pub use range::write_all_at;
pub(crate) use range::{deallocate, read_exact_at, read_exact_vectored_at, write_all_vectored_at, zero};
pub use runtime::{boot_id, runtime_dir};
pub use signal::{on_signal, on_wish};
pub use socket::connected_sockets;
pub(crate) use socket::largest_socket_buffers;
pub(crate) use thread::unpin;
pub use thread::{
    allowed_cpus, available_memory, files, pin_to, process_cpu, raise_file_limit, rss_bytes, started, thread_usage,
    total_memory, usage,
};
pub use ward::{Guard, Ward, end_with_guard, guard, ward_ready};
pub(crate) use zoned::{zone_action, zone_report, zoned_disk};

/// The error number of a request that was cancelled (`ERROR_OPERATION_ABORTED`).
pub(crate) const CANCELLED: i32 = 995;

fn unsupported<T>(what: &str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, format!("{what} is not supported on Windows yet")))
}

/// What a call that says nothing but "yes" or "no" has said.
fn done(yes: i32) -> io::Result<()> {
    if yes == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A handle that a call has made, or why it has not.
fn made(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call that the caller made gave it, so it is open and nobody else's.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// A time since 1601, when Windows begins to count, as one since 1970; zero before.
fn since_1970(time: Duration) -> Duration {
    time.saturating_sub(Duration::from_secs(11_644_473_600))
}

/// Whether this is Wine, which says what Linux knows.
fn is_wine() -> bool {
    static IS: OnceLock<bool> = OnceLock::new();
    *IS.get_or_init(|| exported(c"ntdll.dll", c"wine_get_version").is_some())
}

/// Where a library that is in every process has this function.
fn exported(library: &CStr, function: &CStr) -> FARPROC {
    // SAFETY: both names end with a zero.
    unsafe { GetProcAddress(GetModuleHandleA(library.as_ptr().cast()), function.as_ptr().cast()) }
}
