//! Floor 4: what people say to qpair, on ordinary threads and never on a reactor.
//!
//! - [`config`]: the wanted state as one value, from a file or from the flags of `qpair serve`.
//! - [`live`]: a target that follows its configuration.
//! - [`status`]: what a running server tells other commands of its user.
//! - [`metrics`]: what a target and a cache do, for Prometheus.
#![forbid(unsafe_code)]

pub mod config;
pub mod limits;
pub mod live;
pub mod metrics;
pub mod status;
