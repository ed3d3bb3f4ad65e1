//! Commands that exclude others: fused pairs of several hosts beside ordinary writes, and connections that die while
//! they have asked for blocks or have them.

#[path = "../common/mod.rs"]
mod common;
#[cfg(unix)]
#[allow(dead_code, unreachable_pub, reason = "it is shared with the stateful tests")]
#[path = "../stateful/peer.rs"]
mod peer;

mod counter;
// Stepped by hand: see the stateful tests.
#[cfg(unix)]
mod deaths;

#[cfg(unix)]
use common::pdu;
