//! Every limit of this floor, in one place. Reaching one is back-pressure or a clear error, never growth.

use std::time::Duration;

pub use machine::limits::MAX_PIECES;
use machine::limits::{MAX_PASSED, SLOT_STAGED};

/// Bytes that one receive takes at most: enough for many requests, small enough to stay in a core's cache.
pub const SCRATCH_BYTES: usize = 256 << 10;
/// Longest cut unit that a state machine may leave over: a Redis client's command with all its arguments. The longest
/// capsule, with in-capsule data of 64 KiB and digests, is a fraction of it.
pub const TAIL_BYTES: usize = 1 << 20;
/// From this length on the rest of a payload is received straight into its place.
pub const DIRECT_BYTES: usize = 16 << 10;
/// Behind such a payload, so much is received for the headers that follow. Small, or the next payload would be copied.
pub const DIRECT_LOOK_AHEAD_BYTES: usize = 4 << 10;
/// Most parts of one vectored send (UIO_MAXIOV of Linux).
pub const IOV_ENTRIES: usize = 1024;

const _: () = assert!(MAX_PIECES <= IOV_ENTRIES, "the pieces of a request are sent together");

const _: () = assert!(DIRECT_LOOK_AHEAD_BYTES <= SCRATCH_BYTES && DIRECT_BYTES > DIRECT_LOOK_AHEAD_BYTES);

/// Sizes of logical blocks that a device may have: those that NVMe hosts have drivers and file systems for.
pub const BLOCK_BYTES: [u32; 2] = [512, 4096];
/// The logical block of memory and of files, unless somebody wants another: disk images are made for it.
pub const DEFAULT_BLOCK_BYTES: u32 = 512;
/// Largest transfer of one request on the devices of this crate that set their own limit.
pub const MAX_TRANSFER_BYTES: u32 = 128 << 10;
/// Largest device: offsets are signed 64-bit numbers in every operating system's file calls.
pub const MAX_DEVICE_BYTES: u64 = i64::MAX as u64;

/// Bytes of one slot of a RAM disk, the unit that is replaced as a whole.
pub const RAM_SLOT_BYTES: usize = 4096;
/// A RAM disk has one spare slot for so many slots of its size ...
pub const RAM_SPARE_SHARE: u64 = 64;
/// ... but never fewer than these, beside those that each reactor brings for itself. Spare slots take new data while
/// the old ones are still lent, or wait for the end of a pass to be freed; so they bound the bytes that can be written
/// meanwhile. They are address space until they are needed.
pub const RAM_SPARE_SLOTS_MIN: u64 = 4096;
/// Completions that a queue of a RAM disk holds until the next poll.
pub const RAM_QUEUE_DEPTH: usize = 1024;
/// Lent pieces that such a queue holds until the next poll.
pub const RAM_QUEUE_PIECES: usize = 8192;
/// Slots that one poll looks at for write zeroes, deallocation, verify and write uncorrectable; the rest of a long
/// range is done in later passes.
pub const RAM_SWEEP_SLOTS: u64 = 2048;
/// Completions that a queue of a null device holds until the next poll.
pub const NULL_QUEUE_DEPTH: usize = 1024;

/// Requests that a channel has in flight unless its maker wants another number.
pub const CHANNEL_DEPTH: usize = 128;
/// How often a call looks whether a device has room again that had none, while nothing of the channel is in flight.
pub const CHANNEL_RETRY: Duration = Duration::from_millis(1);

/// Most sources of one copy.
pub const MAX_COPY_SOURCES: usize = 128;
/// Most bytes of one copy. A RAM disk has all of them in fresh slots before any takes effect.
pub const MAX_COPY_BYTES: u32 = 1 << 20;

/// Requests of a file that take several steps (compare, verify, copy) and are under way on one queue; each has a buffer
/// of [`MAX_TRANSFER_BYTES`], that is memory once it is used.
pub const FILE_QUEUE_STEPPED: usize = 4;
/// Requests that one queue of a device with faults has in flight.
pub const FAULT_QUEUE_DEPTH: usize = 256;
/// Torn writes that are under way on such a queue; each has a buffer of the largest transfer.
pub const FAULT_TORN: usize = 4;
/// How often a reactor that could sleep looks whether the device below has room again.
pub const FAULT_RETRY: Duration = Duration::from_millis(1);
/// What a torn write writes as a whole: the smallest block that media have.
pub const SECTOR_BYTES: usize = 512;

/// Most logical blocks of one NVMe command: NLB has 16 bits, 0's based.
pub const MAX_COMMAND_BLOCKS: u64 = 1 << 16;
/// Commands that one queue of a namespace behind the kernel's driver has in flight.
pub const KERNEL_QUEUE_DEPTH: usize = 1024;
/// Admin commands that one queue of a controller there has in flight. The driver has room for some 30 and lets the
/// others wait.
pub const KERNEL_ADMIN_DEPTH: usize = 128;
/// Largest transfer of one request there, in bytes; controller and driver may take less.
pub const KERNEL_TRANSFER_BYTES: u64 = 1 << 20;
/// What such a driver takes at least, where the system does not tell.
pub const KERNEL_TRANSFER_LEAST: u64 = 128 << 10;
/// Deallocations and copies in flight on such a queue: each has a list of its ranges.
pub const KERNEL_LISTS: usize = 64;

/// The page that a controller counts its limits in, unless it tells a larger one (CAP.MPSMIN).
pub const NATIVE_PAGE_BYTES: u32 = 4096;
/// Bytes of a report of zones that one command or call asks for: a thousand zones.
pub const ZONE_REPORT_BYTES: u32 = 64 << 10;

/// Requests that one queue of a file has in flight.
pub const FILE_QUEUE_DEPTH: usize = 256;
/// Granule that files and block devices like best for writes and deallocation: the usual page and file system block.
pub const PREFERRED_BYTES: u32 = 4096;
/// Longest identity record that is read back, in bytes.
pub const IDENTITY_RECORD_BYTES: usize = 512;

const _: () = assert!(MAX_TRANSFER_BYTES as usize / RAM_SLOT_BYTES < RAM_QUEUE_PIECES);
// All slots of a copy are staged together, the first and the last in part.
const _: () = assert!(MAX_COPY_BYTES as usize / RAM_SLOT_BYTES + 2 * MAX_COPY_SOURCES <= SLOT_STAGED);
const _: () =
    assert!(KERNEL_QUEUE_DEPTH <= MAX_PASSED && KERNEL_ADMIN_DEPTH <= MAX_PASSED && KERNEL_LISTS <= KERNEL_QUEUE_DEPTH);
const _: () = assert!(FILE_QUEUE_STEPPED < FILE_QUEUE_DEPTH);
const _: () = assert!((MAX_TRANSFER_BYTES as usize / RAM_SLOT_BYTES) as u64 + 1 < RAM_SPARE_SLOTS_MIN);
