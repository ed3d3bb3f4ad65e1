//! Every limit of the NVMe/TCP host, in one place.

use std::time::Duration;

use crate::limits::MAX_COMMAND_BLOCKS;

/// The IANA port for NVMe/TCP I/O controllers.
pub const DEFAULT_PORT: u16 = 4420;
/// Requests in flight per queue unless the address says otherwise.
pub const DEFAULT_DEPTH: u16 = 128;
/// Most requests in flight per queue.
pub const MAX_DEPTH: u16 = wire::tcp::limits::MAX_QUEUE_DEPTH;
/// Ways to one namespace.
pub const MAX_PATHS: usize = 4;
/// Most I/O queues of one device; a target may grant fewer.
pub const MAX_IO_QUEUES: u16 = 64;
/// Largest transfer of one request, in bytes; a target may take less (MDTS).
pub const MAX_TRANSFER_BYTES: u32 = 1 << 20;

/// Copies in flight per queue: each has a list of its sources.
pub const MAX_COPIES: usize = 8;

/// Keep-alive timeout unless the address says otherwise: what Linux uses.
pub const DEFAULT_KATO: Duration = Duration::from_secs(5);
/// Longest keep-alive timeout.
pub const MAX_KATO: Duration = Duration::from_secs(3600);

/// The first wait before a broken association is established again, unless the address says otherwise. It doubles up
/// to [`MAX_RECONNECT_DELAY`], and each wait is between half of it and all of it.
pub const DEFAULT_RECONNECT_DELAY: Duration = Duration::from_millis(100);
/// Longest wait between two attempts, unless the first one is longer.
pub const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(1);
/// Longest first wait that an address may ask for.
pub const MAX_FIRST_DELAY: Duration = Duration::from_secs(60);
/// Without a controller for so long, the namespace is given up, unless the address says otherwise: what Linux uses.
pub const DEFAULT_CTRL_LOSS_TIMEOUT: Duration = Duration::from_secs(600);
/// Longest controller-loss timeout but for "never".
pub const MAX_CTRL_LOSS_TIMEOUT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Times a request is sent at most: one that breaks every connection must not do so for ever.
pub const MAX_SENDS: u32 = 16;
/// For the old controller of a broken association to be disabled, by which it lets go of its commands.
pub const FENCE_TIMEOUT: Duration = Duration::from_secs(1);
/// A command that is not answered within this is aborted, unless the address says otherwise: what Linux waits.
pub const DEFAULT_IO_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest I/O timeout.
pub const MAX_IO_TIMEOUT: Duration = Duration::from_secs(3600);
/// An I/O timeout is counted in ticks of this part of it; a tick is no longer than [`LOOK_INTERVAL`].
pub const TICKS_PER_TIMEOUT: u32 = 4;
/// Shortest tick.
pub const MIN_TICK: Duration = Duration::from_millis(5);
/// How often the admin connection is looked at for what comes without being asked for.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Messages that wait for the thread of a path.
pub const MAX_ASKS: usize = 1024;

/// For each of: the TCP connection, ICReq, Connect.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For one call of a TCP connection, which is then made anew: longer than systems wait before they repeat a lost one.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// For an admin command.
pub const ADMIN_TIMEOUT: Duration = Duration::from_secs(30);
/// For the thread of a path to end, the controller's shutdown included.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// For the controller to complete a shutdown.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks at CSTS.
pub const CSTS_INTERVAL: Duration = Duration::from_millis(10);

/// Commands in flight on the admin queue: one at a time, and the request for the next event.
pub const ADMIN_DEPTH: u16 = 2;
/// Bytes that are read of a log page to clear the event that announced it.
pub const EVENT_LOG_BYTES: usize = 512;
/// Entries of the admin submission queue that Connect asks for: the least that the specification lets a target offer.
pub const ADMIN_QUEUE_ENTRIES: u16 = 32;
/// Receive buffer of a connection on the control path.
pub const LINE_BYTES: usize = 16 << 10;

/// Receives that one poll makes at most, so that one queue does not keep a reactor for itself.
pub const RECEIVES_PER_POLL: usize = 64;

/// Entries of a discovery log page that are kept.
pub const MAX_DISCOVERY_ENTRIES: u64 = 1024;
/// Entries of a discovery log page that are read with one command.
pub const DISCOVERY_ENTRIES_PER_READ: u64 = 4;
/// How often a discovery log page is read again because it changed under the reader.
pub const DISCOVERY_ATTEMPTS: usize = 10;
/// Namespaces of a controller that an error message lists.
pub const NAMESPACES_LISTED: usize = 8;

const _: () = assert!(DEFAULT_DEPTH <= MAX_DEPTH && ADMIN_DEPTH < ADMIN_QUEUE_ENTRIES);
const _: () = assert!(MIN_TICK.as_millis() <= LOOK_INTERVAL.as_millis() && TICKS_PER_TIMEOUT > 0);
const _: () = assert!(DEFAULT_RECONNECT_DELAY.as_millis() <= MAX_RECONNECT_DELAY.as_millis());
const _: () = assert!(CALL_TIMEOUT.as_millis() < CONNECT_TIMEOUT.as_millis() && !MIN_TICK.is_zero());
const _: () = assert!(MAX_TRANSFER_BYTES as u64 / 512 <= MAX_COMMAND_BLOCKS);
