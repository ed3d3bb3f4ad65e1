//! `qpair serve --supervise`: a small process that starts the serving one, and starts it again when it crashes.
//!
//! ```text
//!     start ──▶ not listening yet ──▶ serving ──▶ killed, aborted, or failed ──▶ wait ──▶ start
//!                     │                  │                                         │
//!                     │ ended            │ asked to stop (SIGTERM, SIGINT)         │ asked to stop
//!                     ▼                  ▼                                         ▼
//!               its code, if none   its code                                     its code
//!               ever came to listen
//! ```
//!
//! The first crash is followed by a start at once, so that hosts find somebody when they reconnect; one that crashes
//! again and again is started less and less often. What `ram:` devices held is gone with the process that held it. If
//! the program's file was replaced meanwhile, the new one is started.

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use machine::os::{End, Guard, News, Ward, Wish};

/// One that served for so long was not about to crash again: the next start is at once.
const STEADY: Duration = Duration::from_secs(10);
/// Crashes, none of them after [`STEADY`], that are followed by a start at once.
const CRASHES_AT_ONCE: u32 = 3;
/// The wait before the start after that, doubled with each further crash ...
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// ... up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// What a shell reports for a process that a signal ended: this and the signal's number.
const KILLED: i32 = 128;

const _: () = assert!(FIRST_WAIT.as_millis() < LONGEST_WAIT.as_millis());

/// Supervises until the serving process ends as it was asked to, or cannot be started; ends with its code.
///
/// # Errors
/// The operating system's: no processes or descriptors left.
pub(super) fn run() -> Result<ExitCode, Box<dyn Error>> {
    let guard = Guard::new().map_err(|error| format!("--supervise: {error}"))?;
    let _beacon = super::light(guard.door(), vec![], None);
    let code =
        Supervisor { guard, asked_to_stop: false, ever_listened: false, crashes: Crashes::default(), crashed: None }
            .run()?;
    Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
}

struct Supervisor {
    guard: Guard,
    asked_to_stop: bool,
    /// Some child came to listen: what it was told to serve can be served.
    ever_listened: bool,
    crashes: Crashes,
    /// When the last child crashed, until the next one listens.
    crashed: Option<Instant>,
}

/// Crashes in a row, each before its process was steady.
#[derive(Default)]
struct Crashes(u32);

impl Crashes {
    /// How long to wait after one that ran for so long.
    fn next_wait(&mut self, ran: Duration) -> Duration {
        self.0 = if ran >= STEADY { 1 } else { self.0.saturating_add(1) };
        match self.0.checked_sub(CRASHES_AT_ONCE + 1) {
            None => Duration::ZERO,
            Some(doublings) => FIRST_WAIT.saturating_mul(1 << doublings.min(16)).min(LONGEST_WAIT),
        }
    }
}

impl Supervisor {
    fn run(mut self) -> Result<i32, Box<dyn Error>> {
        loop {
            let started = Instant::now();
            let ward = self.guard.start().map_err(|error| format!("--supervise: cannot start qpair again: {error}"))?;
            tracing::info!(pid = ward.pid(), "the serving process has started");
            let end = self.look_after(ward)?;
            if self.asked_to_stop || end == End::Code(0) || !self.ever_listened {
                return Ok(code(end));
            }
            let (now, ran) = (Instant::now(), started.elapsed());
            let wait = self.crashes.next_wait(ran);
            tracing::warn!("the serving process {} after {ran:.1?}; it is started again {}", how(end), when(wait));
            self.crashed = Some(now);
            if !self.pause(wait)? {
                return Ok(code(end));
            }
        }
    }

    /// Until the child ends. Signals are passed on to it.
    fn look_after(&mut self, mut ward: Ward) -> Result<End, Box<dyn Error>> {
        loop {
            match self.guard.wait(Some(&mut ward), None)? {
                Some(News::Ended(end)) => return Ok(end),
                Some(News::Ready) => {
                    self.ever_listened = true;
                    if let Some(crashed) = self.crashed.take() {
                        tracing::warn!("serving again {:.1?} after the crash", crashed.elapsed());
                    }
                }
                Some(News::Wish(wish)) => {
                    self.asked_to_stop |= wish != Wish::Reload;
                    // It may be ending at this moment: then its end is the next news.
                    let _ = ward.pass_on(wish);
                }
                None => {}
            }
        }
    }

    /// Waits; false if asked to stop meanwhile.
    fn pause(&mut self, wait: Duration) -> Result<bool, Box<dyn Error>> {
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.guard.wait(None, Some(left))? {
                None => return Ok(true),
                // A reload while nobody serves: the next one reads its configuration anyway.
                Some(News::Wish(Wish::Reload)) => {}
                Some(_) => return Ok(false),
            }
        }
    }
}

fn code(end: End) -> i32 {
    match end {
        End::Code(code) => code,
        End::Signal(signal) => KILLED + signal,
        End::Exception(status) => status.cast_signed(),
    }
}

fn how(end: End) -> String {
    match end {
        End::Code(code) => format!("failed with code {code}"),
        End::Signal(signal) => format!("was ended by signal {signal}"),
        End::Exception(status) => format!("was ended by an exception or an abort (NTSTATUS {status:#010x})"),
    }
}

fn when(wait: Duration) -> String {
    if wait.is_zero() { "at once".to_owned() } else { format!("in {wait:?}, as it crashes again and again") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crashes_in_a_row_are_followed_by_longer_and_longer_waits() {
        let mut crashes = Crashes::default();
        let waits: Vec<_> = (0..6).map(|_| crashes.next_wait(Duration::from_secs(1)).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100, 200, 400]);
        for _ in 0..100 {
            crashes.next_wait(Duration::ZERO);
        }
        assert_eq!(crashes.next_wait(Duration::ZERO), LONGEST_WAIT);
        assert_eq!(crashes.next_wait(STEADY), Duration::ZERO, "it served for a while");
        assert_eq!(crashes.next_wait(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn codes_are_those_of_a_shell() {
        assert_eq!((code(End::Code(3)), code(End::Signal(6))), (3, 134));
    }
}
