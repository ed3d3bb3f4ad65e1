//! Floor 0: NVMe, NVMe/TCP, memcached and RESP as bytes.
//!
//! ```text
//!   nvme/   commands, completions, statuses, identify pages, logs, features, properties, Connect
//!   tcp/    PDUs, digests, and the state machine of each side of a connection: bytes in, actions out
//!   memcache/, resp/    what clients of caches ask, and how they are answered; `replied` is how clients read that
//!   glance  which keys they are about to ask for
//! ```
//!
//! Nothing here does I/O, reads a clock, draws a random number or allocates per command: time and randomness come in
//! as arguments. What a peer sent is checked here before anybody above looks at it; a peer's mistake is a value (a
//! [`nvme::Status`], a fatal error status), never a panic.
#![forbid(unsafe_code)]

pub mod decimal;
pub mod glance;
pub mod memcache;
pub mod nvme;
pub mod replied;
pub mod resp;
pub mod tcp;

pub use zerocopy;
