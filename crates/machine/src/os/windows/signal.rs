//! What somebody outside wants of the process: by its console, by its guard, by other programs of its user.
//!
//! ```text
//!   Ctrl-C, Ctrl-Break ────────▶ console() ─┐   on a thread that the system starts for it
//!   close, logoff, shutdown ───▶ console() ─┤   which stays there: the system ends the process when it returns
//!   a guard's lines (ward.rs) ──────────────┼─▶ hear() ─▶ the handler
//!   another process (door.rs) ──────────────┘
//! ```
//!
//! A console that is closed gives its programs about 5 s, a shutdown up to 20 s (`WaitToKillServiceTimeout` for a
//! service); Windows ends what is still there then. Closing, logging off and shutting down are not yet tried on a real
//! Windows: Wine has no such events without a desktop.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT, SetConsoleCtrlHandler,
};
use windows_sys::Win32::System::RemoteDesktop::ProcessIdToSessionId;
use windows_sys::core::BOOL;

use super::door::{self, Said};
use super::ward;
use crate::os::Wish;

type Handler = Box<dyn FnMut(Wish) + Send>;

static HANDLER: Mutex<Option<Handler>> = Mutex::new(None);

fn handler() -> MutexGuard<'static, Option<Handler>> {
    HANDLER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hear(wish: Wish) {
    if let Some(handler) = &mut *handler() {
        handler(wish);
    }
}

/// Calls `handler` for every wish from now on, on threads of its own, one at a time. For the whole process: call it
/// once.
///
/// # Errors
/// The operating system's.
pub fn on_signal(new: impl FnMut(Wish) + Send + 'static) -> io::Result<()> {
    let old = handler().replace(Box::new(new));
    assert!(old.is_none(), "one handler for a process");
    // SAFETY: the function lives as long as the program.
    if unsafe { SetConsoleCtrlHandler(Some(console), 1) } == 0 {
        return Err(io::Error::last_os_error());
    }
    ward::on_guard(hear)
}

/// [`on_signal`] for a program that others of its user ask for something: [`super::Process::ask`], with the address
/// that this gives.
///
/// # Errors
/// As those of [`on_signal`]; neither a named pipe nor a port on loopback can be had.
pub fn on_wish(handler: impl FnMut(Wish) + Send + 'static) -> io::Result<String> {
    on_signal(handler)?;
    door::open(|said| {
        if let Said::Wish(wish) = said {
            hear(wish);
        }
    })
}

/// What the console says. Nonzero: it is dealt with.
unsafe extern "system" fn console(event: u32) -> BOOL {
    match event {
        // A ward has the console of its guard, which passes on what it hears.
        CTRL_C_EVENT | CTRL_BREAK_EVENT if ward::guard().is_some() => 1,
        CTRL_C_EVENT | CTRL_BREAK_EVENT => {
            hear(Wish::Interrupt);
            1
        }
        // Services hear of everybody who logs off, and go on.
        CTRL_LOGOFF_EVENT if is_service() => 1,
        CTRL_CLOSE_EVENT | CTRL_LOGOFF_EVENT | CTRL_SHUTDOWN_EVENT => {
            hear(Wish::Stop);
            // When this returns the process is over. It ends by itself when all is flushed, or when the system has had
            // enough of it.
            loop {
                thread::park();
            }
        }
        _ => 0,
    }
}

/// Whether this process runs in the session of services, which no user logs on to.
fn is_service() -> bool {
    let mut session = 0;
    // SAFETY: `session` is what the call fills.
    let known = unsafe { ProcessIdToSessionId(std::process::id(), &raw mut session) } != 0;
    known && session == 0
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn what_the_console_says_is_a_wish() {
        let (tell, told) = mpsc::channel();
        let old = handler().replace(Box::new(move |wish| tell.send(wish).expect("the test listens")));
        assert!(old.is_none(), "no other test has one");
        for event in [CTRL_C_EVENT, CTRL_BREAK_EVENT] {
            // SAFETY: the function does nothing but what is said of it.
            assert_eq!(unsafe { console(event) }, 1, "else the system would end the process");
            assert_eq!(told.try_recv(), Ok(Wish::Interrupt));
        }
        // A user logs off: that is nothing to a service, whose session stays.
        let stops = [Some(CTRL_CLOSE_EVENT), (!is_service()).then_some(CTRL_LOGOFF_EVENT), Some(CTRL_SHUTDOWN_EVENT)];
        for event in stops.into_iter().flatten() {
            // The thread stays there, as the system's would, until the process ends: it would end at once otherwise.
            // SAFETY: as above.
            let stays = thread::spawn(move || unsafe { console(event) });
            assert_eq!(told.recv(), Ok(Wish::Stop), "event {event}");
            assert!(!stays.is_finished(), "event {event}");
        }
        // SAFETY: as above.
        assert_eq!(unsafe { console(CTRL_SHUTDOWN_EVENT + 1) }, 0, "an event that nobody knows is not dealt with");
        assert!(told.try_recv().is_err());
    }
}
