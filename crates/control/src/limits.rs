//! Every limit of this floor, in one place. Reaching one is a clear error. How much a target serves: `nvmf::limits`.

use std::time::Duration;

/// Size of a configuration file in bytes.
pub const FILE_BYTES: usize = 1 << 20;
/// Mistakes that are told about one file; whoever has mended these sees the rest.
pub const MISTAKES: usize = 32;
/// Characters of the file that a message repeats.
pub const QUOTED_CHARS: usize = 80;
/// Hosts on the list of one subsystem.
pub const HOSTS: usize = 1024;
/// Reactors that are started where nobody says how many: more help only under loads that somebody tunes for.
pub const MOST_USEFUL_REACTORS: usize = 8;
/// How long a dedicated reactor spins without work before it sleeps after all.
pub const DEDICATED_SPIN: Duration = Duration::from_millis(20);
/// Size of the file in which a server tells how its reloads went, in bytes.
pub const STATUS_BYTES: u64 = 4 << 20;
/// How often `qpair reload` looks whether the server is done.
pub const STATUS_INTERVAL: Duration = Duration::from_millis(10);
/// Scrapes at the same time.
pub const HTTP_CONNECTIONS: usize = 8;
/// Bytes of a request, without its body.
pub const HTTP_REQUEST_BYTES: usize = 8 << 10;
/// Header fields of a request.
pub const HTTP_HEADERS: usize = 64;
/// A request must be there and its answer taken by then.
pub const HTTP_TIME: Duration = Duration::from_secs(2);
