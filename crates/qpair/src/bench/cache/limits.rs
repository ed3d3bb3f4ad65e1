//! The limits of a run against a cache.

use std::time::Duration;

/// Connections of a run.
pub(in crate::bench) const MAX_CONNECTIONS: usize = 16_000;
/// Requests that a connection sends before it has an answer.
pub(in crate::bench) const MAX_PIPELINE: usize = 16_384;
/// Items of a run.
pub(in crate::bench) const MAX_ITEMS: u32 = 1 << 30;
/// Largest value.
pub(super) const MAX_VALUE_BYTES: usize = 8 << 20;
/// Largest key.
pub(super) const MAX_KEY_BYTES: usize = 250;
/// Bytes of requests that all connections send before they have an answer: they may lie in this process.
pub(super) const MAX_UNSENT_BYTES: usize = 2 << 30;
/// Values are pieces of a run of noise that begin in its first bytes.
pub(super) const NOISE_BYTES: usize = 1 << 20;
/// Requests of a connection that are sent together while items are filled in.
pub(super) const PREFILL_PIPELINE: usize = 32;
/// Bytes of them at most.
pub(super) const PREFILL_BYTES: usize = 64 << 10;
/// Requests that are due and are sent before answers are looked at.
pub(super) const DUE_PER_PASS: u32 = 256;
/// A server that does not take a connection within this time is not there.
pub(super) const CONNECT: Duration = Duration::from_secs(5);
/// A thread that is busy for this share of the time is what limits a run.
pub(super) const LIMIT_BUSY: f64 = 0.95;

const _: () = assert!(MAX_CONNECTIONS < machine::limits::MAX_SOCKETS);
const _: () = assert!(MAX_UNSENT_BYTES > MAX_VALUE_BYTES);
