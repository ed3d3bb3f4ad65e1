//! Another process, held by a descriptor (pidfd): when it ends, its number may soon be that of somebody else, who must
//! not get its signals.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::os::Wish;

/// Another process, which may have ended meanwhile.
pub struct Process(OwnedFd);

impl Process {
    /// The process that has this number now.
    ///
    /// # Errors
    /// `NotFound`: there is none.
    pub fn open(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "not the number of a process"))?;
        pidfd_open(pid, PidfdFlags::empty()).map(Self).map_err(found)
    }

    /// Tells it a wish, by a signal: `door`, the address that its [`super::on_wish`] gave, is not needed here.
    ///
    /// # Errors
    /// `NotFound`: it has ended. `PermissionDenied`: it belongs to somebody else.
    pub fn ask(&self, _door: &str, wish: Wish) -> io::Result<()> {
        pidfd_send_signal(&self.0, signal(wish)).map_err(found)
    }

    /// Waits for its end, at most so long; false if it has not ended.
    ///
    /// # Errors
    /// None that are known of.
    pub fn wait(&self, longest: Duration) -> io::Result<bool> {
        let timeout = Timespec::try_from(longest).map_err(io::Error::other)?;
        let ended = retry_on_intr(|| poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&timeout)))?;
        Ok(ended > 0)
    }
}

/// The signal for a wish.
pub(super) fn signal(wish: Wish) -> Signal {
    match wish {
        Wish::Stop => Signal::TERM,
        Wish::Interrupt => Signal::INT,
        Wish::Reload => Signal::HUP,
    }
}

fn found(error: Errno) -> io::Error {
    match error {
        Errno::SRCH => io::Error::new(ErrorKind::NotFound, "there is no such process"),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_asked_until_it_has_ended() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("it starts");
        let process = Process::open(child.id()).expect("it runs");
        assert!(!process.wait(Duration::ZERO).expect("it is asked"));
        process.ask("", Wish::Stop).expect("it runs");
        assert!(process.wait(Duration::from_secs(20)).expect("it is asked"), "it has ended");
        child.wait().expect("it has ended");
        assert_eq!(process.ask("", Wish::Stop).expect_err("it is gone").kind(), ErrorKind::NotFound);
    }
}
