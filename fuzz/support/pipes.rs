//! A peer that is gone ends a program by SIGPIPE, which Rust's runtime prevents: a fuzzer starts without it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// To be called first: writing to a socket that nobody reads is an error from now on, and no more.
pub(crate) fn ignore_sigpipe() {
    let flag = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGPIPE, flag).expect("a handler of SIGPIPE");
}
