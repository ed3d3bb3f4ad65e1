//! The wish to stop: SIGINT and SIGTERM (on Windows, Ctrl-C and closing the console) as a flag.
//!
//! The first one asks, the second one ends the process at once: whoever presses Ctrl-C twice does not want to wait.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);

/// What a shell reports for a process that SIGINT ended: 128 + 2.
const EXIT_INTERRUPTED: i32 = 130;

/// Set once somebody wants the program to stop.
pub(crate) fn flag() -> &'static AtomicBool {
    &STOP
}

/// Listens for the signals from now on. `wake` runs on a thread of its own after the flag is set.
///
/// # Errors
/// The operating system's, or a second call in one process.
pub(crate) fn on_signal(wake: impl Fn() + Send + 'static) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(move || {
        if STOP.swap(true, Ordering::SeqCst) {
            process::exit(EXIT_INTERRUPTED);
        }
        wake();
    })
}
