//! A process that looks after another one, without threads: it waits for the child's end, for signals, and for the
//! child's word that it is ready, all at once.
//!
//! ```text
//!     Guard                                                     Ward, a child with its own process group
//!       SIGCHLD ─┐                                              standard input: the other end of the socket
//!       SIGTERM ─┤ a pipe each, written by the signal handler   ward_ready: a byte
//!       SIGINT  ─┼─▶ poll                                       the guard gone: SIGTERM
//!       SIGHUP  ─┤
//!       socket ──┘
//! ```
//!
//! The child has a process group of its own because a terminal sends Ctrl-C to the whole group: it would get the signal
//! twice, once from its guard.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt, parent_id};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use super::process::signal;
use super::signal::DOOR;
use crate::os::{End, News, Wish};

/// Tells a child the process number of its guard.
const VARIABLE: &str = "QPAIR_GUARD";
/// Signals that are passed on to the child, and what they mean.
const PASSED_ON: [(i32, Wish); 3] = [(SIGTERM, Wish::Stop), (SIGINT, Wish::Interrupt), (SIGHUP, Wish::Reload)];

/// Waits for a child and for signals. One for a process.
pub struct Guard {
    ended: UnixStream,
    signals: [UnixStream; PASSED_ON.len()],
}

/// A child of a [`Guard`]. Dropping it leaves it running.
pub struct Ward {
    child: Child,
    /// Until it has said that it is ready, or never will.
    ready: Option<UnixStream>,
}

impl Guard {
    /// From now on signals come here.
    ///
    /// # Errors
    /// No file descriptors are left.
    pub fn new() -> io::Result<Self> {
        let [(first, _), (second, _), (third, _)] = PASSED_ON;
        let signals = [signal_pipe(first)?, signal_pipe(second)?, signal_pipe(third)?];
        Ok(Self { ended: signal_pipe(SIGCHLD)?, signals })
    }

    /// The address for [`super::Process::ask`], as that of [`super::on_wish`].
    #[must_use]
    pub fn door(&self) -> &str {
        DOOR
    }

    /// Starts this program again, with the arguments that it was given, as a child of this process.
    ///
    /// # Errors
    /// The system's: the program's file is gone, no memory, no processes left.
    pub fn start(&self) -> io::Result<Ward> {
        let (ready, theirs) = UnixStream::pair()?;
        ready.set_nonblocking(true)?;
        let mut arguments = std::env::args_os();
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg0(arguments.next().unwrap_or_default())
            .args(arguments)
            .env(VARIABLE, std::process::id().to_string());
        let child = command.stdin(Stdio::from(OwnedFd::from(theirs))).process_group(0).spawn()?;
        Ok(Ward { child, ready: Some(ready) })
    }

    /// Waits until there is news, at most so long: `None` then. Without a ward only signals are news.
    ///
    /// # Errors
    /// None that are known of: the descriptors waited on are its own.
    pub fn wait(&mut self, mut ward: Option<&mut Ward>, longest: Option<Duration>) -> io::Result<Option<News>> {
        loop {
            // Before the wait as well: what was there before must not need another signal.
            for (stream, (_, wish)) in self.signals.iter_mut().zip(PASSED_ON) {
                if emptied(stream)? {
                    return Ok(Some(News::Wish(wish)));
                }
            }
            if let Some(news) = ward.as_mut().map_or(Ok(None), |ward| ward.news())? {
                return Ok(Some(news));
            }
            if !self.sleep(ward.as_deref(), longest)? {
                return Ok(None);
            }
            emptied(&mut self.ended)?;
        }
    }

    /// False if the time is over.
    fn sleep(&self, ward: Option<&Ward>, longest: Option<Duration>) -> io::Result<bool> {
        let ready = ward.and_then(|ward| ward.ready.as_ref());
        let streams = self.signals.iter().chain([&self.ended]).chain(ready);
        let mut waits: Vec<_> = streams.map(|stream| PollFd::new(stream, PollFlags::IN)).collect();
        let timeout = longest.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        match poll(&mut waits, timeout.as_ref()) {
            Ok(count) => Ok(count > 0),
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

impl Ward {
    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it the wish that its guard heard.
    ///
    /// # Errors
    /// It has ended.
    pub fn pass_on(&self, wish: Wish) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal(wish))?)
    }

    /// First that it is ready, then that it has ended.
    fn news(&mut self) -> io::Result<Option<News>> {
        if let Some(stream) = &mut self.ready {
            match stream.read(&mut [0]) {
                Ok(0) => self.ready = None,
                Ok(_) => {
                    self.ready = None;
                    return Ok(Some(News::Ready));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The child is gone, and had not read what nobody wrote.
                Err(_) => self.ready = None,
            }
        }
        let ended = self.child.try_wait()?;
        Ok(ended.map(|status| News::Ended(status.code().map_or_else(|| killed(status.signal()), End::Code))))
    }
}

fn killed(signal: Option<i32>) -> End {
    End::Signal(signal.expect("who has no code was killed"))
}

fn signal_pipe(signal: i32) -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    pipe::register(signal, write)?;
    Ok(read)
}

/// Reads all that is there; whether that was anything.
fn emptied(stream: &mut UnixStream) -> io::Result<bool> {
    let mut any = false;
    loop {
        match stream.read(&mut [0; 64]) {
            Ok(0) => return Ok(any),
            Ok(_) => any = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(any),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The process number of the [`Guard`] that started this process, if one did.
#[must_use]
pub fn guard() -> Option<u32> {
    let guard = std::env::var(VARIABLE).ok()?.parse().ok()?;
    (guard == parent_id()).then_some(guard)
}

/// To be called early in a ward: when its guard dies, it gets the wish to stop. A ward without a guard would keep the
/// devices and the port from the next one.
///
/// # Errors
/// None that are known of.
pub fn end_with_guard() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    // The guard may have died before that.
    if guard().is_some() { Ok(()) } else { Err(io::Error::other("the supervisor is gone")) }
}

/// Tells the guard that this ward is ready.
///
/// # Errors
/// The guard is gone.
pub fn ward_ready() -> io::Result<()> {
    rustix::io::write(io::stdin().as_fd(), b"r")?;
    Ok(())
}
