//! Every limit of the NVMe/TCP host, in one place.

use std::time::Duration;

/// The IANA port for NVMe/TCP I/O controllers.
pub const DEFAULT_PORT: u16 = 4420;
/// Requests in flight per queue unless the address says otherwise.
pub const DEFAULT_DEPTH: u16 = 128;
/// Most requests in flight per queue.
pub const MAX_DEPTH: u16 = wire::tcp::limits::MAX_QUEUE_DEPTH;
/// Most I/O queues of one device; a target may grant fewer.
pub const MAX_IO_QUEUES: u16 = 64;
/// Largest transfer of one request, in bytes; a target may take less (MDTS).
pub const MAX_TRANSFER_BYTES: u32 = 1 << 20;
/// Most logical blocks of one command: NLB has 16 bits, 0's based.
pub const MAX_COMMAND_BLOCKS: u64 = 1 << 16;

/// Keep-alive timeout unless the address says otherwise: what Linux uses.
pub const DEFAULT_KATO: Duration = Duration::from_secs(5);
/// Longest keep-alive timeout.
pub const MAX_KATO: Duration = Duration::from_secs(3600);

/// For each of: the TCP connection, ICReq, Connect.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For an admin command.
pub const ADMIN_TIMEOUT: Duration = Duration::from_secs(30);
/// For the controller to complete a shutdown.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks at CSTS.
pub const CSTS_INTERVAL: Duration = Duration::from_millis(10);

/// Requests in flight on the admin queue: one command at a time, and one that timed out.
pub const ADMIN_DEPTH: u16 = 2;
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
const _: () = assert!(MAX_TRANSFER_BYTES as u64 / 512 <= MAX_COMMAND_BLOCKS);
