//! Linux.

mod file;
mod range;
mod thread;

pub use file::{
    allocated_bytes, block_device_bytes, direct_alignment, file_key, get_xattr, is_block_device, open_data, set_xattr,
};
pub(crate) use range::{deallocate, read_exact_at, write_all_at, zero};
pub use thread::{allowed_cpus, pin_to, rss_bytes, thread_usage, usage};
pub(crate) use thread::{largest_socket_buffers, unpin};
