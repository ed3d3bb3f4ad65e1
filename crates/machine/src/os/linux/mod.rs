//! Linux.

mod drive;
mod error;
mod file;
mod memory;
mod nvme;
mod pmem;
mod probe;
mod process;
mod range;
mod runtime;
mod signal;
mod socket;
mod thread;
mod ward;
mod zoned;

pub use drive::{Claim, claim_drive, drive_name, drive_serial, drive_volumes, drives, is_drive};
pub use error::{DISK_ERRORS, IO_ERROR, disk_error};
pub use file::{
    allocate, allocated_bytes, block_device_bytes, direct_alignment, file_key, get_xattr, io_poll, is_block_device,
    is_read_only_disk, kind, mode, open_data, punches_holes, replace, set_xattr, sync_directory,
};
pub(super) use file::{try_lock, unlock};
pub(crate) use memory::huge_bytes;
pub use memory::{huge_page_pool, never_gives_huge_pages};
pub(crate) use nvme::{
    RawCommand, nvme_command, nvme_control, nvme_entry, nvme_has_poll_queues, nvme_node, nvme_nsid, nvme_open,
    nvme_transfer_limits,
};
pub(crate) use pmem::persistence_domain;
pub(super) use probe::{AREAS, this_system};
pub use process::Process;
pub use range::write_all_at;
pub(crate) use range::{deallocate, read_exact_at, read_exact_vectored_at, write_all_vectored_at, zero};
pub use runtime::{boot_id, runtime_dir};
pub use signal::{on_signal, on_wish};
pub use socket::connected_sockets;
pub use thread::{
    allowed_cpus, available_memory, files, pin_to, process_cpu, raise_file_limit, rss_bytes, started, thread_usage,
    total_memory, usage,
};
pub(crate) use thread::{largest_socket_buffers, unpin};
pub use ward::{Guard, Ward, end_with_guard, guard, ward_ready};
pub(crate) use zoned::{zone_action, zone_report, zoned_disk};

/// The error number of a request that was cancelled.
pub(crate) const CANCELLED: i32 = libc::ECANCELED;
