//! What the tests of the NVMe/TCP machines and the fuzz targets share.
//!
//! * `receive` - gives bytes to a machine, cut in several ways, and keeps a log of its events;
//! * `peers` - a target and a host that act on their own, to be connected in memory;
//! * `raw` - PDUs made by hand, right or wrong;
//! * `answers` - what a cache answers, for its fuzz target;
//! * `resp`, `memcache` - what clients of a cache ask, for its fuzz targets;
//! * `harness` - the functions that the fuzz targets call, and that the corpus is replayed through.

#![allow(dead_code, unreachable_pub, reason = "each test and fuzz target uses a part of it")]

pub mod answers;
pub mod harness;
pub mod memcache;
pub mod peers;
pub mod raw;
pub mod receive;
pub mod resp;
