//! A process that looks after another one.
//!
//! ```text
//!     Guard                                                      Ward, a child with its own process group
//!       console ──────────┐                                        standard input: a pipe from the guard, with
//!       its door ─────────┼─▶ a channel ─▶ wait                      the guard's wishes, one a line
//!         "ready PID" ◀───│───────────────────────────────────── ward_ready
//!       the child's end ──┘ a thread that waits for it             the pipe ends: the guard is gone, the wish to stop
//! ```
//!
//! A ward whose guard is gone stops in order, as on Linux: a job object would end it at once, in the middle of what it
//! has in flight. The process group of its own keeps Ctrl-C from it; Ctrl-Break it ignores (`signal.rs`), as its guard
//! passes that on.

use std::io::{self, Write};
use std::os::windows::process::CommandExt;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use windows_sys::Win32::System::Threading::CREATE_NEW_PROCESS_GROUP;

use super::door::{self, Said};
use super::signal;
use crate::os::{End, News, Wish};

/// Tells a child the process number of its guard, and the guard's door.
const VARIABLE: &str = "QPAIR_GUARD";
/// Exit codes from here on are an `NTSTATUS` of severity "error", which no program chooses for itself.
const FIRST_EXCEPTION: u32 = 0xC000_0000;

/// Waits for a child and for wishes. One for a process.
pub struct Guard {
    door: String,
    heard: Receiver<Heard>,
    tell: Sender<Heard>,
}

/// A child of a [`Guard`]. Dropping it leaves it running, with the wish to stop.
pub struct Ward {
    pid: u32,
    wishes: ChildStdin,
}

/// With process numbers: what an earlier ward said is no news of this one.
enum Heard {
    Wish(Wish),
    Ready(u32),
    Ended(u32, io::Result<ExitStatus>),
}

impl Guard {
    /// From now on wishes come here.
    ///
    /// # Errors
    /// The system's: there can be no door.
    pub fn new() -> io::Result<Self> {
        let (tell, heard) = mpsc::channel();
        let (by_signal, by_door) = (tell.clone(), tell.clone());
        // The guard is gone only with its process.
        signal::on_signal(move |wish| by_signal.send(Heard::Wish(wish)).unwrap_or_default())?;
        let hear = move |said| {
            let heard = match said {
                Said::Wish(wish) => Heard::Wish(wish),
                Said::Ready(pid) => Heard::Ready(pid),
            };
            by_door.send(heard).unwrap_or_default();
        };
        Ok(Self { door: door::open(hear)?, heard, tell })
    }

    /// The address for [`super::Process::ask`], as that of [`super::on_wish`].
    #[must_use]
    pub fn door(&self) -> &str {
        &self.door
    }

    /// Starts this program again, with the arguments that it was given, as a child of this process.
    ///
    /// # Errors
    /// The system's: the program's file is gone, no memory, no processes left.
    pub fn start(&self) -> io::Result<Ward> {
        let guard = format!("{} {}", std::process::id(), self.door);
        let mut child = Command::new(std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .env(VARIABLE, guard)
            .stdin(Stdio::piped())
            .creation_flags(CREATE_NEW_PROCESS_GROUP)
            .spawn()?;
        let (pid, tell) = (child.id(), self.tell.clone());
        let wishes = child.stdin.take().expect("it was asked for");
        // The child's handle stays with the thread, and keeps its number from others until the end is told.
        let wait = move || tell.send(Heard::Ended(pid, child.wait())).unwrap_or_default();
        thread::Builder::new().name("ward".to_owned()).spawn(wait)?;
        Ok(Ward { pid, wishes })
    }

    /// Waits until there is news, at most so long: `None` then. Without a ward only wishes are news.
    ///
    /// # Errors
    /// None that are known of.
    pub fn wait(&mut self, ward: Option<&mut Ward>, longest: Option<Duration>) -> io::Result<Option<News>> {
        let ward = ward.map(|ward| ward.pid);
        let until = longest.map(|longest| Instant::now() + longest);
        loop {
            let heard = match until {
                None => self.heard.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(until) => self.heard.recv_timeout(until.saturating_duration_since(Instant::now())),
            };
            match heard {
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => unreachable!("the guard has a sender itself"),
                Ok(Heard::Wish(wish)) => return Ok(Some(News::Wish(wish))),
                Ok(Heard::Ready(pid)) if ward == Some(pid) => return Ok(Some(News::Ready)),
                Ok(Heard::Ended(pid, status)) if ward == Some(pid) => return Ok(Some(News::Ended(end(status?)))),
                Ok(Heard::Ready(_) | Heard::Ended(..)) => {}
            }
        }
    }
}

impl Ward {
    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends it the wish that its guard heard.
    ///
    /// # Errors
    /// It has ended.
    pub fn pass_on(&self, wish: Wish) -> io::Result<()> {
        writeln!(&self.wishes, "{}", door::word(wish))
    }
}

fn end(status: ExitStatus) -> End {
    let code = status.code().expect("on Windows every process that has ended has one");
    if code.cast_unsigned() >= FIRST_EXCEPTION { End::Exception(code.cast_unsigned()) } else { End::Code(code) }
}

/// The process number of the [`Guard`] that started this process, if one did.
#[must_use]
pub fn guard() -> Option<u32> {
    of_guard().map(|(pid, _)| pid)
}

/// Of the guard: its process number, its door.
fn of_guard() -> Option<(u32, String)> {
    let guard = std::env::var(VARIABLE).ok()?;
    let (pid, door) = guard.split_once(' ')?;
    Some((pid.parse().ok()?, door.to_owned()))
}

/// To be called early in a ward: when its guard dies, it gets the wish to stop. Here that is so from the moment on when
/// it listens for wishes, as the end of its standard input stays the end.
///
/// # Errors
/// None.
pub fn end_with_guard() -> io::Result<()> {
    Ok(())
}

/// In a ward, calls `hear` for what its guard wants, and for the guard's end.
///
/// # Errors
/// The system has no thread.
pub(super) fn on_guard(mut hear: impl FnMut(Wish) + Send + 'static) -> io::Result<()> {
    if guard().is_none() {
        return Ok(());
    }
    let listen = move || {
        let wishes = io::stdin().lines().map_while(Result::ok);
        wishes.filter_map(|line| door::wish(&line)).for_each(&mut hear);
        hear(Wish::Stop);
    };
    thread::Builder::new().name("guard".to_owned()).spawn(listen)?;
    Ok(())
}

/// Tells the guard that this ward is ready.
///
/// # Errors
/// The guard is gone.
pub fn ward_ready() -> io::Result<()> {
    let (_, door) = of_guard().ok_or_else(|| io::Error::other("there is no supervisor"))?;
    door::tell(&door, Said::Ready(std::process::id()))
}
