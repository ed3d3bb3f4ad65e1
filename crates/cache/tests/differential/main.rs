//! The same commands to this server and to one that we did not write: what the protocol fixes is the same.

mod large;
mod memcached;
mod meta;
mod redis_py;
mod resp;
