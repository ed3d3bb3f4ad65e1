//! Floor 4: what people say to qpair, on ordinary threads and never on a reactor.
//!
//! - [`config`]: the wanted state as one value, from a file or from the flags of `qpair serve`.
//! - [`metrics`]: what the target does, for Prometheus.
#![forbid(unsafe_code)]

pub mod config;
pub mod limits;
pub mod metrics;
