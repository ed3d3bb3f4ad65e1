//! Every limit of the target, in one place. Reaching one is back-pressure or a clear status, never growth.

use std::time::Duration;

use machine::limits::STOP_LIMIT;

/// Entries of a submission queue (CAP.MQES + 1) and so the commands in flight on one connection.
pub const QUEUE_ENTRIES: u16 = 256;
/// I/O queues of one controller.
pub const IO_QUEUES: u16 = 128;
/// Subsystems of one target.
pub const SUBSYSTEMS: usize = 64;
/// Namespaces of one target, all subsystems together: each has an owner in every reactor's ring, and while a layout is
/// applied those that go are there beside those that come.
pub const NAMESPACES: usize = 256;
/// Highest namespace ID (NN and MNAN of Identify Controller). Namespaces come and go below it.
pub const LAST_NSID: u32 = 1024;
/// Addresses that a target listens on.
pub const LISTENERS: usize = 64;
/// Other discovery services that the discovery log names.
pub const REFERRALS: usize = 64;
/// Orders from the control thread on their way to one reactor: a layout is applied in a few steps, one after the other.
pub const ORDERS: usize = 16;
/// What the keeper of reservations has decided, on its way to one reactor; further rulings wait with the keeper.
pub const RULINGS: usize = 256;
/// How long a change waits for the requests that devices still have for namespaces that go. It is in force before.
pub const DRAIN: Duration = Duration::from_secs(10);
/// After so long devices are asked to give back what they have: for namespaces that go, or when the target stops.
pub const RECALL: Duration = Duration::from_secs(2);
/// Controllers of one target, discovery controllers included.
pub const CONTROLLERS: usize = 1024;
/// Connections of one reactor.
pub const CONNECTIONS_PER_REACTOR: usize = 16_000;
/// Asynchronous event requests that a controller holds (AERL + 1).
pub const ASYNC_EVENTS: usize = 4;
/// Abort commands of a controller that are not answered yet (ACL + 1).
pub const ABORTS: usize = 4;
/// An Abort waits so long for a device to give a command back; then the command was not aborted.
pub const ABORT_PATIENCE: Duration = Duration::from_secs(2);
/// Largest transfer of one command in bytes: MDTS 5 in units of 4 KiB.
pub const TRANSFER_BYTES: u32 = 4096 << MDTS;
/// Maximum data transfer size as the controller states it (2^n pages of 4 KiB).
pub const MDTS: u8 = 5;
/// Largest payload of one H2CData PDU.
pub const H2C_BYTES: u32 = TRANSFER_BYTES;
/// From this size on, the data of a write that is asked for is received into the device's own memory if it has some.
pub const LANDING_BYTES: u32 = 16 << 10;
/// In-capsule data of an I/O queue unless the operator says otherwise.
pub const IN_CAPSULE_DEFAULT_BYTES: u32 = 8 << 10;
/// Most in-capsule data that an operator may ask for; longer writes are better served by an R2T.
pub const IN_CAPSULE_MAX_BYTES: u32 = 64 << 10;
/// A buffer for small transfers, and how many of them a reactor has.
pub const SMALL_BUFFER: (usize, usize) = (8 << 10, 512);
/// A buffer for large transfers, and how many of them a reactor has.
pub const LARGE_BUFFER: (usize, usize) = (TRANSFER_BYTES as usize, 128);
/// Large buffers kept for in-capsule data: it must go somewhere once its capsule is taken.
pub const RESERVED_BUFFERS: usize = 8;
/// With so many bytes waiting to be sent, a connection takes no further commands.
pub const OUTBOX_BYTES: usize = 1 << 20;
/// Receives of one connection in one pass, so that a busy peer does not keep the others waiting.
pub const RECEIVES_PER_PASS: usize = 4;
/// Passes without a byte after which a connection is no longer asked, only listened to.
pub const COLD_PASSES: u32 = 64;
/// A connection that was silent for so long gives back the memory that it needed for work.
pub const IDLE: Duration = Duration::from_secs(1);
/// A connection must have finished ICReq and Connect by then.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// A Connect waits so long for devices to give back what they have of the host's last association; then the host is
/// asked to try again.
pub const SETTLING: Duration = Duration::from_secs(5);
/// What a socket had at one moment a reactor has seen so much later: by then it has asked its ring, and clocks that
/// tell milliseconds cannot be wrong about which was first.
pub const LOOKED: Duration = Duration::from_millis(2);
/// A peer that has not read its answers for so long has lent bytes copied out and the loans returned.
pub const LOAN: Duration = Duration::from_millis(200);
/// A peer that has not read its answers, or not sent the data it was asked for, for so long is disconnected.
pub const STALLED: Duration = Duration::from_secs(30);
/// The same while buffers are short, for then such a peer keeps others waiting: for one with loans that cannot be
/// copied out, and for all when no buffer is left.
pub const STALLED_WHILE_SHORT: Duration = Duration::from_secs(1);
/// How often time-outs are looked at.
pub const TICK: Duration = Duration::from_millis(100);
/// Connections of which one pass looks at the time-outs.
pub const TICKS_PER_PASS: usize = 64;
/// How often at most all connections look at their controllers because one of those has changed ...
pub const ALERT_PAUSE: Duration = Duration::from_millis(2);
/// ... and by how much less often for each connection: this takes a reactor a small part of its time, however many
/// connections it has.
pub const ALERT_PAUSE_EACH: Duration = Duration::from_micros(2);
/// How often a reactor with connections logs what its commands are doing (at the debug level).
pub const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// After a failed accept (no file descriptors left) the listener pauses so long.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Log lines about peers' mistakes in one second, of each reactor.
pub const LOG_LINES_PER_SECOND: u32 = 5;
/// Connections that are over and only wait for the peer to read their last word.
pub const LINGERING: usize = 64;
/// How long those may take, and how long a target that stops waits for a host that does not read.
pub const LAST_WORD: Duration = Duration::from_secs(1);
/// Commands that wait for a buffer or a queue and are tried again in one pass.
pub const RETRIES_PER_PASS: usize = 32;
/// How often a reactor that could sleep looks at commands that wait.
pub const WAITING_POLL: Duration = Duration::from_millis(1);
/// Connections accepted, or taken over by a reactor, in one pass: so many of them the commands of others wait for.
pub const ACCEPTS_PER_PASS: usize = 8;
/// Accepted connections on their way to one reactor.
pub const HANDED_OVER: usize = 4096;
/// Pairs of a host and a namespace whose commands one reactor counts apart, about 4 KiB each; those of further hosts
/// are counted together, in as many again.
pub const STATS_CELLS: usize = 1024;
/// Statuses that are counted apart for such a pair.
pub const STATUS_WORDS: usize = 16;
/// Commands that a pass has finished and that are recorded with the time of its end; further ones a little too early.
pub const FINISHED_PER_PASS: usize = 1024;
/// Keep-alive granularity that KAS states, in units of 100 ms.
pub const KAS: u16 = 1;
/// A keep-alive may be so much later than promised: what a host sends is noted once a [`TICK`], on whichever reactor it
/// came, and looked at once a tick on the reactor of the admin queue.
pub const KEEP_ALIVE_SLACK: Duration = Duration::from_millis(200);
/// Records of the error log (ELPE + 1).
pub const ERROR_LOG_ENTRIES: usize = 16;
/// Hosts that can be registered with one namespace.
pub const REGISTRANTS: usize = 256;
/// Pages of the reservation notification log that a controller holds; a host reads how many in 8 bits.
pub const RESERVATION_PAGES: usize = 64;
/// Exclusive commands (fused pairs) of one reactor, from their first half to their end. Further ones are interrupted:
/// the host tries again.
pub const EXCLUSIVE: usize = 48;
/// Ranges that one reactor gives away at a time, each of another device; further requests wait their turn.
pub const EXCLUSIVE_HOLDS: usize = 8;
/// Messages on their way from one reactor to another: what it asks for, and for each range that is given away, by this
/// one or the other, what is said before an answer is needed.
pub const MESH: usize = EXCLUSIVE + 5 * EXCLUSIVE_HOLDS;

const _: () = assert!(SETTLING.as_millis() < HANDSHAKE.as_millis());
const _: () = assert!(RECALL.as_millis() < DRAIN.as_millis() && RECALL.as_millis() < STOP_LIMIT.as_millis());
const _: () = assert!(LOAN.as_millis() < STALLED_WHILE_SHORT.as_millis());
const _: () = assert!(KEEP_ALIVE_SLACK.as_millis() == 2 * TICK.as_millis());
const _: () = assert!(IN_CAPSULE_MAX_BYTES as usize + 80 <= block::limits::TAIL_BYTES);
// A ring looks after the listeners and those who say their last word, too; when a layout is applied, of two layouts.
const _: () = assert!(CONNECTIONS_PER_REACTOR + LINGERING + 2 * LISTENERS <= machine::limits::MAX_SOCKETS);
const _: () = assert!(2 * NAMESPACES < machine::limits::MAX_OWNERS && NAMESPACES <= LAST_NSID as usize);
const _: () = assert!(H2C_BYTES >= 4096 && H2C_BYTES.is_multiple_of(4));
const _: () = assert!(SMALL_BUFFER.0 >= IN_CAPSULE_DEFAULT_BYTES as usize);
const _: () = assert!(LARGE_BUFFER.0 >= IN_CAPSULE_MAX_BYTES as usize);
const _: () = assert!(RESERVATION_PAGES <= 255);
// Both halves of an exclusive command may hold a buffer while they wait. What is left moves by itself.
const _: () = assert!(2 * EXCLUSIVE + RESERVED_BUFFERS < LARGE_BUFFER.1);
