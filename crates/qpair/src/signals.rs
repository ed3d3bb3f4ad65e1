//! The wish to stop as a flag, and the wish to reload as a call.
//!
//! Whoever presses Ctrl-C when the program is stopping already does not want to wait: that ends the process at once.
//! Other wishes to stop may come twice, such as from a service manager and by a supervisor, and mean the same.

use std::io;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use machine::os::{self, Wish};

static STOP: AtomicBool = AtomicBool::new(false);

/// What a shell reports for a process that SIGINT ended: 128 + 2.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// Set once somebody wants the program to stop.
pub(crate) fn stop_flag() -> &'static AtomicBool {
    &STOP
}

/// Listens from now on for whoever wants the program to stop. `wake` runs on a thread of its own, after the flag is
/// set.
///
/// # Errors
/// The operating system's.
pub(crate) fn watch(mut wake: impl FnMut() + Send + 'static) -> io::Result<()> {
    os::on_signal(move |wish| {
        if stops(wish, false) {
            wake();
        }
    })
}

/// The same for a server, which other commands ask for something, too; and to reload, if it `reloads`. `wake` gets
/// [`Wish::Stop`] and [`Wish::Reload`] only. The address where it is asked.
///
/// # Errors
/// The operating system's.
pub(crate) fn listen(reloads: bool, mut wake: impl FnMut(Wish) + Send + 'static) -> io::Result<String> {
    os::on_wish(move |wish| wake(if stops(wish, reloads) { Wish::Stop } else { Wish::Reload }))
}

/// Whether this wish is about to stop the program: one with nothing to reload takes every wish so.
fn stops(wish: Wish, reloads: bool) -> bool {
    if wish == Wish::Reload && reloads {
        return false;
    }
    if STOP.swap(true, Ordering::SeqCst) && wish == Wish::Interrupt {
        process::exit(EXIT_INTERRUPTED.into());
    }
    true
}
