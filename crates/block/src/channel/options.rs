//! What a channel is made with.

use machine::ring::RingKind;

use crate::Device;
use crate::limits::{CHANNEL_DEPTH, MAX_TRANSFER_BYTES};

/// How a [`super::Channel`] is made. Any depth will do: nothing is rounded to a power of two.
#[derive(Clone, Copy, Debug)]
pub struct ChannelOptions {
    /// Requests in flight at once, on all devices together.
    pub depth: usize,
    /// Buffers in the pool; `None` is one for each request. They are address space until they are used.
    pub buffers: Option<usize>,
    /// Bytes of each buffer: the largest transfer.
    pub buffer_bytes: usize,
    /// Have the buffers registered with the operating system, which pins their memory once and not for each request.
    /// It counts against `RLIMIT_MEMLOCK`; what is too much for that works unregistered.
    pub fixed_buffers: bool,
    /// The kind of the ring.
    pub ring: RingKind,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            depth: CHANNEL_DEPTH,
            buffers: None,
            buffer_bytes: MAX_TRANSFER_BYTES as usize,
            fixed_buffers: false,
            ring: RingKind::Auto,
        }
    }
}

impl ChannelOptions {
    /// So deep, with buffers for the largest transfer of this device.
    #[must_use]
    pub fn for_device(device: &dyn Device, depth: usize) -> Self {
        Self { depth, buffer_bytes: device.info().max_transfer_bytes as usize, ..Self::default() }
    }
}
