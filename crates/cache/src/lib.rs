//! The cache server: clients of memcached's text protocol and of Redis', joined to a store.
//!
//! ```text
//!   socket ──▶ Scratch ──▶ wire::{memcache, resp} ──▶ House: what the command means ──▶ store::Store
//!     ▲        all commands that have come, one after the other                          │
//!     └──────────────────────── one send for all answers ◀── Outbox ◀────────────────────┘
//! ```
//!
//! A reactor has a store of its own and the connections that it serves from it. Keys and values never leave its thread.
#![forbid(unsafe_code)]

pub mod access;
mod ahead;
mod buffers;
mod calendar;
mod connection;
mod counters;
mod kept;
mod landing;
pub mod limits;
mod log;
mod observe;
mod peers;
mod resp;
mod server;
mod session;
mod shard;
mod stepper;
mod tally;

pub use counters::{Counters, Gauges};
pub use log::{CommandLog, HEAD as COMMAND_LOG_HEAD};
pub use observe::{Kind, Latencies, Logged, Observer, Outcome, SCALE, Totals};
pub use server::{Options, PoolFile, Server, StartError};
pub use stepper::Stepper;
pub use store::limits::AGE_BOUNDS;
pub use store::{Ages, Eviction, Figures, Keep, PoolError};
