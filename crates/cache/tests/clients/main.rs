//! The cache seen from its sockets: one module for what memcached's clients see, one for Redis clients, and one for
//! each thing that is hard about both.

#[path = "../common/mod.rs"]
mod common;

mod access;
mod hostile;
mod large;
mod memcache;
mod mistakes;
mod observe;
mod reactors;
mod resp;
