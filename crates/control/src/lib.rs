//! Floor 4: what people say to qpair, on ordinary threads and never on a reactor.
//!
//! [`config`] is the wanted state as one value: from a file, or from the flags of `qpair serve`.
#![forbid(unsafe_code)]

pub mod config;
pub mod limits;
