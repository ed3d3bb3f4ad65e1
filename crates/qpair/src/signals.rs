//! The wish to stop as a flag, and the wish to reload as a call.
//!
//! The first wish to stop asks, the second one ends the process at once: whoever presses Ctrl-C twice does not want to
//! wait.

use std::io;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use machine::os::{self, Wish};

static STOP: AtomicBool = AtomicBool::new(false);

/// What a shell reports for a process that SIGINT ended: 128 + 2.
const EXIT_INTERRUPTED: i32 = 130;

/// Set once somebody wants the program to stop.
pub(crate) fn stop_flag() -> &'static AtomicBool {
    &STOP
}

/// Listens for the signals from now on. `wake` runs on a thread of its own, after the flag is set if it is about that.
/// A program with nothing to reload takes every wish as the one to stop.
///
/// # Errors
/// The operating system's.
pub(crate) fn watch(reloads: bool, mut wake: impl FnMut(Wish) + Send + 'static) -> io::Result<()> {
    os::on_signal(move |wish| {
        let wish = if reloads { wish } else { Wish::Stop };
        if wish == Wish::Stop && STOP.swap(true, Ordering::SeqCst) {
            process::exit(EXIT_INTERRUPTED);
        }
        wake(wish);
    })
}
