//! Every limit of this floor, in one place. Reaching one is a clear error.

use std::time::Duration;

/// Size of a configuration file in bytes.
pub const FILE_BYTES: usize = 1 << 20;
/// Mistakes that are told about one file; whoever has mended these sees the rest.
pub const MISTAKES: usize = 32;
/// Characters of the file that a message repeats.
pub const QUOTED_CHARS: usize = 80;
/// Subsystems of one configuration.
pub const SUBSYSTEMS: usize = nvmf::limits::SUBSYSTEMS;
/// Namespaces of one configuration, all subsystems together: each has an owner in every reactor's ring.
pub const NAMESPACES: usize = nvmf::limits::NAMESPACES;
/// Highest namespace ID.
pub const NSID: u32 = nvmf::limits::LAST_NSID;
/// Hosts on the list of one subsystem.
pub const HOSTS: usize = 1024;
/// Addresses to listen on.
pub const LISTENERS: usize = nvmf::limits::LISTENERS;
/// Addresses of other discovery services.
pub const REFERRALS: usize = nvmf::limits::REFERRALS;
/// Scrapes at the same time.
pub const HTTP_CONNECTIONS: usize = 8;
/// Bytes of a request, without its body.
pub const HTTP_REQUEST_BYTES: usize = 8 << 10;
/// Header fields of a request.
pub const HTTP_HEADERS: usize = 64;
/// A request must be there and its answer taken by then.
pub const HTTP_TIME: Duration = Duration::from_secs(2);
