//! Every limit of this floor, in one place. Reaching one is a clear error.

use std::time::Duration;

/// Size of a configuration file in bytes.
pub const FILE_BYTES: usize = 1 << 20;
/// Mistakes that are told about one file; whoever has mended these sees the rest.
pub const MISTAKES: usize = 32;
/// Characters of the file that a message repeats.
pub const QUOTED_CHARS: usize = 80;
/// Subsystems of one configuration.
pub const SUBSYSTEMS: usize = 64;
/// Namespaces of one configuration, all subsystems together: each has an owner in every reactor's ring.
pub const NAMESPACES: usize = 256;
/// Highest namespace ID.
pub const NSID: u32 = 1024;
/// Hosts on the list of one subsystem.
pub const HOSTS: usize = 1024;
/// Addresses to listen on.
pub const LISTENERS: usize = 64;
/// Addresses of other discovery services.
pub const REFERRALS: usize = 64;
/// Scrapes at the same time.
pub const HTTP_CONNECTIONS: usize = 8;
/// Bytes of a request, without its body.
pub const HTTP_REQUEST_BYTES: usize = 8 << 10;
/// Header fields of a request.
pub const HTTP_HEADERS: usize = 64;
/// A request must be there and its answer taken by then.
pub const HTTP_TIME: Duration = Duration::from_secs(2);

const _: () = assert!(NAMESPACES < machine::limits::MAX_OWNERS / 2 && NAMESPACES <= NSID as usize);
const _: () = assert!(LISTENERS + nvmf::limits::CONNECTIONS_PER_REACTOR <= machine::limits::MAX_SOCKETS);
