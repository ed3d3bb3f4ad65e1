//! The same commands to this server and to one that we did not write: what the protocol fixes is the same.

#[path = "../common/mod.rs"]
mod common;

mod large;
mod memcached;
mod meta;
mod other;
mod redis_py;
mod resp;
