//! Signals as calls on a thread of their own, where everything is allowed.

use std::io;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::os::Wish;

/// Calls `handler` for every wish from now on, on a thread of its own. For the whole process: call it once.
///
/// # Errors
/// The operating system's: no file descriptors, no threads.
pub fn on_signal(mut handler: impl FnMut(Wish) + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let watch = move || {
        for signal in signals.forever() {
            handler(if signal == SIGHUP { Wish::Reload } else { Wish::Stop });
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(watch)?;
    Ok(())
}

/// Sends a process the wish to reload (SIGHUP).
///
/// # Errors
/// `NotFound`: there is no such process. `PermissionDenied`: it belongs to somebody else.
pub fn ask_to_reload(pid: u32) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0).and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the number of a process"))?;
    match kill_process(pid, Signal::HUP) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::SRCH) => Err(io::Error::new(io::ErrorKind::NotFound, "there is no such process")),
        Err(error) => Err(error.into()),
    }
}
