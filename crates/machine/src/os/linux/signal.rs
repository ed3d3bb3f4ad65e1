//! Signals as calls on a thread of their own, where everything is allowed.

use std::io;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::os::Wish;

/// How other processes reach one: by signals, which need no address.
pub(super) const DOOR: &str = "signal";

/// Calls `handler` for every wish from now on, on a thread of its own. For the whole process: call it once.
///
/// # Errors
/// The operating system's: no file descriptors, no threads.
pub fn on_signal(mut handler: impl FnMut(Wish) + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let watch = move || {
        for signal in signals.forever() {
            handler(match signal {
                SIGHUP => Wish::Reload,
                SIGINT => Wish::Interrupt,
                _ => Wish::Stop,
            });
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(watch)?;
    Ok(())
}

/// [`on_signal`] for a program that others of its user ask for something: [`super::Process::ask`], with the address
/// that this gives.
///
/// # Errors
/// As those of [`on_signal`].
pub fn on_wish(handler: impl FnMut(Wish) + Send + 'static) -> io::Result<String> {
    on_signal(handler)?;
    Ok(DOOR.to_owned())
}
