//! Campaigns against `qpair serve` as a program: many connections, peers that take their time, and hours of trouble.
//!
//! | module | who comes | what has to hold |
//! |---|---|---|
//! | [`storm`] | 10,000 idle connections, 1,000 of them back at once | little memory each, no error for others |
//! | [`stalled`] | hosts that read much and take nothing; a byte a second | bounded memory; they are closed |
//! | [`soak`] | verified load, and a fault every ten seconds | memory, files, slots and buffers as at the start |
//!
//! The ordinary test command runs each for seconds and asserts no times. With `QPAIR_CAMPAIGN=full` they are as large
//! and as long as the table says, print what they measured, and are best run one at a time on a release build:
//! `cargo xtask test --full --only campaign`.
#![cfg(unix)]

#[allow(dead_code, unreachable_pub, reason = "a part of it is used here")]
#[path = "../../../nvmf/tests/common/pdu.rs"]
mod pdu;

mod peer;
mod proxy;
mod served;
mod soak;
mod stalled;
mod storm;

use std::time::{Duration, Instant};

/// Longest wait for anything that should come soon. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the campaigns are to be as long as they are meant to be.
fn full() -> bool {
    std::env::var("QPAIR_CAMPAIGN").is_ok_and(|word| word == "full")
}

/// Waits for something that should be so soon.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
