//! Every limit of this floor, in one place. Reaching one is back-pressure or a clear error, never growth.

use std::time::Duration;

// ---- Rings. ----

/// Sockets and listeners that one ring looks after.
pub const MAX_SOCKETS: usize = 16384;
/// Owners (connection tables, file queues) that one ring knows.
pub const MAX_OWNERS: usize = 1024;
/// Entries of one vectored send or receive: Linux' `IOV_MAX`.
pub const MAX_IOVECS: usize = 1024;
/// Readiness events taken from the operating system at once; more wait there for the next time.
pub const MAX_EVENTS: usize = 1024;
/// Connections that a listener keeps until they are accepted.
pub const LISTEN_BACKLOG: i32 = 1024;
/// A connection that is silent for so long is probed by TCP; how often and how soon it is given up, the system knows.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// Buffers of one request: what a largest transfer of most devices needs if each of its pages of 4 KiB (32 of 128 KiB)
/// is a piece, twice over. A ring that has as many requests as it takes has a MiB of pointers to them.
pub const MAX_PIECES: usize = 64;
/// Size asked for each socket buffer, in bytes.
pub const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// File tasks of one ring that are queued, running, or done and not yet reaped.
pub const MAX_FILE_TASKS: usize = 1024;
/// Looks for completions that a file request may wait for the sleep to submit it, while it is the only one: the look of
/// the pass that it was submitted in, and that of the pass that finds nothing to do.
pub const POSTPONED_PASSES: u32 = 2;
/// Entries of an `io_uring`'s submission queue, a power of two: one request for each task, and cancellations and the
/// ring's own beside them.
pub const URING_ENTRIES: usize = 2 * MAX_FILE_TASKS;
/// Files that one `io_uring` knows by number; more are looked up by descriptor for each request.
pub const MAX_REGISTERED_FILES: usize = 256;
/// Pools that one `io_uring` knows by number.
pub const MAX_REGISTERED_POOLS: usize = 16;
/// Rings of the kernel that a pool knows its numbers of: a thread's ordinary one, and those that poll, of which there
/// are three kinds.
pub const RINGS_OF_POOL: usize = 4;
/// Bytes that one overlapped call moves at most: whole pages that its length of 32 bits holds.
pub const MAX_OVERLAPPED_BYTES: usize = 1 << 30;
/// Threads of one ring that carry out file tasks: the portable ring's own, started with the first task, or those of
/// `io_uring` for what would block.
pub const FILE_WORKERS: usize = 4;
/// Jobs that the workers do before they tell the ring of the first of them, while there are others left.
pub const WORKER_BATCH: u32 = 8;
/// With so few jobs left the ring is told of every one that is done, so that the workers do not run out of them.
pub const WORKER_RESERVE: usize = FILE_WORKERS / 2;
/// How long a ring sleeps at most while it may not be told of every job.
pub const WORKER_PATIENCE: Duration = Duration::from_millis(1);
/// NVMe commands that one channel through the kernel has in flight.
pub const MAX_PASSED: usize = 1024;
/// How long the kernel's thread of a ring that has one (`SQPOLL`) looks for requests before it sleeps, in milliseconds.
pub const SQPOLL_IDLE_MS: u32 = 100;
/// Zeros written at once where the file system cannot zero a range by itself, in bytes: so many entries of that block.
pub const ZERO_BLOCK_BYTES: usize = 64 << 10;
/// Entries, each of [`ZERO_BLOCK_BYTES`], in one such write.
pub const ZERO_BLOCKS_PER_WRITE: usize = 16;

// ---- Reactors. ----

/// A reactor that found work in this many passes since it last entered its ring ...
pub const ENTER_PASSES: u32 = 2;
/// ... and that long ago enters it again. Sockets that are busy are received from directly meanwhile.
pub const ENTER_INTERVAL: Duration = Duration::from_micros(50);
/// How long a reactor that was asked to stop waits for its pollers to drain.
pub const STOP_LIMIT: Duration = Duration::from_secs(10);
/// A reactor on the calling thread looks at its end condition at least this often, also when nothing happens.
pub const UNTIL_INTERVAL: Duration = Duration::from_millis(100);
/// How long a reactor that decides by itself spins before it sleeps, while its core is its own.
pub const AUTO_SPIN: Duration = Duration::from_micros(50);
/// How often it looks whether the core is its own.
pub const AUTO_INTERVAL: Duration = Duration::from_secs(1);
/// The core is not its own if the scheduler took it away more often than this in one interval. A busy neighbour shows
/// as several hundred, the threads of an idle kernel as some dozens.
pub const AUTO_SWITCHES: u64 = 200;
/// How long it does not spin then.
pub const AUTO_BACK_OFF: Duration = Duration::from_secs(10);

const _: () = assert!(MAX_PIECES <= MAX_IOVECS);
const _: () = assert!(MAX_PASSED.is_power_of_two(), "entries of a ring are");
const _: () = assert!(URING_ENTRIES.is_power_of_two() && URING_ENTRIES > MAX_FILE_TASKS);
const _: () = assert!(MAX_FILE_TASKS >= FILE_WORKERS && MAX_OWNERS <= u32::MAX as usize);
const _: () = assert!(AUTO_BACK_OFF.as_nanos() > AUTO_INTERVAL.as_nanos());

// ---- Regions: buffers and slots. ----

/// Size of the huge page that large regions are aligned for, in bytes.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;
/// Mappings are asked for in multiples of this: the largest page size of the machines we run on.
pub(crate) const MAP_GRANULE_BYTES: usize = 64 << 10;
/// Files that are mapped at once, where mappings have to be watched.
#[cfg(unix)]
pub(crate) const MAX_MAPPED_FILES: usize = 64;
/// Buffers of a pool start at multiples of this: what direct I/O asks for at most.
pub const BUFFER_ALIGN: usize = 4096;
/// Buffers of one pool.
pub const MAX_POOL_BUFFERS: usize = 1 << 24;
/// Reactors that can share a device: handles of one slot map.
pub const MAX_REACTORS: usize = 64;
/// Bytes that all slots without data read from: a run of zeros up to this long is lent in one piece.
pub const SLOT_ZERO_BYTES: usize = 128 << 10;
/// Free slots that a handle fetches from the common stock at once.
pub const SLOT_BATCH: usize = 64;
/// Free slots that a handle keeps for itself between passes; more go back to the common stock.
pub const SLOT_KEPT: usize = 2 * SLOT_BATCH;
/// Retired slots that a handle keeps until their last reader is gone; more wait in the common stock, for anybody.
pub const SLOT_RETIRED: usize = 2 * SLOT_BATCH;
/// Retired slots that a handle gathers, while others use the map too, before it moves the common epoch on to free them:
/// one write to a word that all share for so many slots.
pub const SLOT_SETTLED: usize = 32;
/// Slots that an idle handle holds on to at most: a slot map needs so many spare ones for each handle.
pub const SLOT_HELD: usize = SLOT_KEPT + SLOT_RETIRED;
/// Slots that a handle has written and not yet put into the table; with more it does so at once. A single run may have
/// more of them.
pub const SLOT_STAGED: usize = 1024;
/// Slots that a handle has in landings: so many wait for data that peers were asked for. 8 MiB of 4 KiB slots.
pub const SLOT_LANDED: usize = 2048;
/// A free slot is fetched into the cache so many writes before it is filled.
pub const FRESH_PREFETCH_SLOTS: usize = 4;
/// Bytes at the beginning of each lent piece that are fetched into the cache when it is lent.
pub const LENT_PREFETCH_BYTES: usize = 512;
/// Passes of one handle that can have loans out and be told apart. With more, the loans of a new pass count for an old
/// one and hold up the reuse of slots for longer.
pub const MAX_LOAN_PASSES: usize = 64;

const _: () =
    assert!(HUGE_PAGE_BYTES.is_multiple_of(MAP_GRANULE_BYTES) && MAP_GRANULE_BYTES.is_multiple_of(BUFFER_ALIGN));
const _: () = assert!(SLOT_ZERO_BYTES.is_power_of_two() && SLOT_BATCH <= SLOT_KEPT && SLOT_SETTLED < SLOT_RETIRED);
const _: () = assert!(MAX_REACTORS == 64 && MAX_LOAN_PASSES == 64, "both are the bits of a u64");

// ---- Other processes of the user (Windows). ----

/// What a caller says at a process' door, in bytes: a word, before it a key or behind it a number.
pub const DOOR_LINE_BYTES: usize = 128;
/// A call at the door takes no longer.
pub const DOOR_TIME: Duration = Duration::from_secs(2);

// ---- Trying out what the system can do. ----

/// A trial of a call gets so long for its answer.
pub const PROBE_TIME: Duration = Duration::from_secs(10);
/// Requests that a trial of a ring has under way at once.
pub const PROBE_REQUESTS: usize = 16;
const _: () = assert!(PROBE_REQUESTS <= MAX_FILE_TASKS);

// ---- Drives of Windows. ----

/// Numbers of drives that are tried.
#[cfg(windows)]
pub(crate) const MAX_DRIVES: u32 = 256;
/// Longest answer of a drive or a volume about itself, in bytes: 100 partitions, or 600 parts of a volume.
#[cfg(windows)]
pub(crate) const DRIVE_ANSWER_BYTES: usize = 16 << 10;
/// Units of UTF-16 of a volume's name, and at first of the places where it can be reached.
#[cfg(windows)]
pub(crate) const VOLUME_NAME_UNITS: usize = 1024;
