//! Every limit of the cache server, in one place.

use std::time::Duration;

use block::limits::TAIL_BYTES;
pub use store::limits::MAX_VALUE_BYTES;
use wire::memcache::limits::{MAX_AWAITED_BYTES, MAX_GET_LINE_BYTES, MAX_LINE_BYTES};

/// Largest value, if the operator does not say otherwise: memcached's.
pub const DEFAULT_VALUE_BYTES: usize = 1 << 20;
/// A larger value has to come within this time after its line.
pub const LANDING: Duration = Duration::from_secs(60);
/// From this length on a value is sent from where it lies.
pub const LENT_BYTES: usize = 16 << 10;
/// What is lent to a client that does not read is copied after this time, if it is at most [`MAX_UNSENT_BYTES`]. Else
/// the client is disconnected.
pub const LENT: Duration = Duration::from_secs(5);
/// While this part of a store is pinned, values of [`LENT_BYTES`] are copied as far as they are small enough for
/// [`MAX_COPIED_BYTES`], and larger ones are not found.
pub const PINNED_SHARE: u64 = 2;
/// See [`PINNED_SHARE`].
pub const MAX_COPIED_BYTES: usize = 64 << 10;

const _: () = assert!(MAX_LINE_BYTES + MAX_AWAITED_BYTES + 2 <= TAIL_BYTES && MAX_GET_LINE_BYTES <= TAIL_BYTES);
const _: () = assert!(LENT_BYTES <= MAX_COPIED_BYTES && MAX_COPIED_BYTES <= MAX_UNSENT_BYTES);

/// Longest command of a Redis client with all its arguments: it is parsed when all of it is there.
pub const MAX_COMMAND_BYTES: usize = 1 << 20;
/// Longest options behind a large value of such a client.
pub const MAX_OPTION_BYTES: usize = 64 << 10;
/// What is put together of a value has a buffer, which is given back if it has become larger than this.
pub const WORK_BYTES: usize = 64 << 10;

const _: () = assert!(MAX_COMMAND_BYTES <= TAIL_BYTES);
const _: () = assert!(MAX_COMMAND_BYTES >= 4 * store::limits::MAX_KEY_BYTES, "two keys, and some to spare");
const _: () = assert!(MAX_LINE_BYTES + MAX_AWAITED_BYTES + 2 <= SHARE_BYTES && MAX_STRANGER_BYTES <= SHARE_BYTES);
// Two clients may have the longest commands and all their answers before the next one is hindered.
const _: () = assert!(2 * (MAX_COMMAND_BYTES + MAX_UNSENT_BYTES) <= MIN_BUFFER_BYTES / 2);

/// Steps that the names of one answer may take to be compared with a pattern: some milliseconds.
pub const PATTERN_FUEL: u64 = 1_000_000;

/// Keys that one step of a walk over all of them looks at: between two of them others have their turn.
pub const SCAN_ITEMS: usize = 1000;
/// Steps of a KEYS that another reactor has asked for: they are taken at once.
pub const KEYS_STEPS: usize = 32;
/// Names that KEYS may find.
pub const KEYS_BYTES: usize = 1 << 20;

/// Clients at once; each reactor has an equal share of them.
pub const MAX_CONNECTIONS: usize = 16_000;
/// Connections that are accepted in one pass.
pub const ACCEPTS_PER_PASS: usize = 64;
/// After the process had no file descriptor for a connection, none is accepted for so long.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Answers of so many bytes are sent although those of other reactors, which come behind them, are not there yet.
pub const HELD_BACK_BYTES: usize = 16 << 10;
/// Answers that wait for a client which does not read them: it is not listened to meanwhile.
pub const MAX_UNSENT_BYTES: usize = 1 << 20;
/// Such a client is disconnected after this time ...
pub const UNREAD: Duration = Duration::from_secs(30);
/// ... or after this one, while half of the memory for clients' buffers is taken.
pub const UNREAD_WHEN_SHORT: Duration = Duration::from_secs(2);
/// A client may make its reactor keep so much, whatever others do: a line and a value that is waited for.
pub const SHARE_BYTES: usize = 20 << 10;
/// What all clients make a cache keep beyond that: commands that are not whole, answers that are not read.
pub const BUFFER_BYTES: usize = 32 << 20;
/// Of that each reactor has an equal part, but so much at least ...
pub const MIN_BUFFER_BYTES: usize = 8 << 20;
/// ... and as much as so many of the largest values.
pub const BUFFERED_VALUES: usize = 4;
/// Flights that keep their room, of a reactor, beside those that are under way; more of them keep little.
pub const WARM_FLIGHTS: usize = 64;
/// What is kept of a flight then.
pub const COLD_FLIGHT_BYTES: usize = 1 << 10;
/// While the items of a pool are being found again, so many bytes of segments are looked at in one pass ...
pub const RECOVERY_BYTES_PER_PASS: usize = 1 << 20;
/// ... and for so long a get waits for an item that is not found yet.
pub const RECOVERY_PATIENCE: Duration = Duration::from_secs(1);
/// How often time-outs are looked at, and expired items.
pub const TICK: Duration = Duration::from_secs(1);
/// Connections that `stats conns` tells of; each reactor of an equal share of them.
pub const CONNECTIONS_TOLD: usize = 2000;
/// The commands of one receive in so many are timed.
pub const TIMED_RECEIVES: u32 = 16;
/// The command log has one command in so many, ...
pub const LOG_EVERY: u32 = 100;
/// ... files of so many bytes, ...
pub const LOG_FILE_BYTES: u64 = 64 << 20;
/// ... which are at least so long, ...
pub const MIN_LOG_FILE_BYTES: u64 = 64 << 10;
/// ... and so many files beside the one that is written, ...
pub const LOG_KEEP: u32 = 4;
/// ... of which there may be so many; unless the operator says otherwise.
pub const MAX_LOG_KEEP: u32 = 999;
/// Batches of lines that each reactor has.
pub const LOG_BATCHES: usize = 4;
/// A batch goes to the file when it has so many bytes.
pub const LOG_BATCH_BYTES: usize = 32 << 10;
/// Keys of one command that are logged.
pub const LOG_KEYS: usize = 64;
/// Of a key, so many bytes are logged.
pub const LOG_KEY_BYTES: usize = 250;
/// Most bytes of a line: each of a key may take four.
pub const LOG_LINE_BYTES: usize = 4 * LOG_KEY_BYTES + 256;
/// What lines that wait for answers may have had of a connection, before that is given back.
pub const LOG_FLIGHT_BYTES: usize = 16 << 10;
/// A log that could not be written is tried again after this time.
pub const LOG_PAUSE: Duration = Duration::from_secs(5);

const _: () = assert!(LOG_BATCH_BYTES + LOG_LINE_BYTES < MIN_LOG_FILE_BYTES as usize);

/// Passes without a word after which a connection is only listened to through the ring, while the reactor spins.
pub const COLD_PASSES: u32 = 64;

/// Parcels that a reactor may have under way to each of the others: one that is carried out, one that waits, and those
/// that come back meanwhile.
pub const PARCELS: usize = 4;
/// A parcel takes another command while it has less than so many ...
pub const PARCEL_ASKS: usize = 2048;
/// ... and so many bytes of them.
pub const PARCEL_BYTES: usize = 64 << 10;
/// With so many bytes of answers in a parcel, the rest of its commands are asked again.
pub const PARCEL_ANSWER_BYTES: usize = 256 << 10;
/// Answers of a connection that may wait for those in front, counted from the first that another reactor is asked for.
pub const FLIGHT_PIECES: usize = 1024;
/// What a connection may have kept for it before that is given back once it was said.
pub const FLIGHT_BYTES: usize = 64 << 10;

/// Users of one file.
pub const MAX_USERS: usize = 1000;
/// Prefixes of keys of one user.
pub const MAX_PREFIXES: usize = 64;
/// Who has not said who it is may send so much ...
pub const MAX_STRANGER_BYTES: usize = 16 << 10;
/// ... and is told so much; then the door closes.
pub const MAX_STRANGER_TOLD: usize = 4 << 10;
/// Name and password of a client of memcached's.
pub const MAX_LOGIN_BYTES: usize = 1 << 10;
