//! Every limit of the cache server, in one place.

use std::time::Duration;

use block::limits::TAIL_BYTES;
use wire::memcache::limits::{MAX_GET_LINE_BYTES, MAX_LINE_BYTES};

/// Largest value: a command is parsed when all of it is there, and so much is kept for a connection.
pub const MAX_VALUE_BYTES: usize = 64 << 10;

const _: () = assert!(MAX_LINE_BYTES + MAX_VALUE_BYTES + 2 <= TAIL_BYTES && MAX_GET_LINE_BYTES <= TAIL_BYTES);

/// Clients at once.
pub const MAX_CONNECTIONS: usize = 16_000;
/// Connections that are accepted in one pass.
pub const ACCEPTS_PER_PASS: usize = 64;
/// After the process had no file descriptor for a connection, none is accepted for so long.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Answers that wait for a client which does not read them: it is not listened to meanwhile.
pub const MAX_UNSENT_BYTES: usize = 1 << 20;
/// Such a client is disconnected after this time.
pub const UNREAD: Duration = Duration::from_secs(30);
/// How often time-outs are looked at, and expired items.
pub const TICK: Duration = Duration::from_secs(1);
/// Passes without a word after which a connection is only listened to through the ring, while the reactor spins.
pub const COLD_PASSES: u32 = 64;
