//! `io_uring`: requests go to the kernel and come back through two queues in shared memory.
//!
//! ```text
//!   push ──▶ [submission queue] ──┐                       ┌──▶ [completion queue] ──▶ pop
//!                                 └── one io_uring_enter ─┘
//!                                     submits, finishes, waits
//! ```
//!
//! The kernel works for this ring only while the ring's thread is in `io_uring_enter` (`DEFER_TASKRUN`): no interrupts
//! of the reactor's own code, and a flag in shared memory tells when there is something to finish. So a pass with
//! nothing new costs no system call.
//!
//! Sockets stay with epoll, because a reactor that is awake calls them directly. When file requests are under way, the
//! reactor sleeps here, with a one-shot poll request on the epoll descriptor (*the watch*) beside them; when there are
//! none, it sleeps in epoll itself. A request and its answer over loopback cost the same CPU time in both: medians of
//! 12 alternating runs of 3,000 are 8.1 us here and 8.4 us in epoll, each between 7.8 and 9.7 us.
//!
//! A ring that polls ([`Polling`]) stands beside that one. Nobody sleeps in it: its completions are polled for, or they
//! raise an eventfd in the reactor's epoll (*the bell*), and that only while the reactor is about to sleep.

mod probe;
mod stage;
mod trials;

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, opcode, squeue};
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use rustix::event::{EventfdFlags, eventfd};

pub(crate) use probe::explain_uring;
pub(super) use stage::{Next, Stage};
pub(crate) use trials::TRIALS;

use super::events::Poll;
use super::interest::SIGNAL_TOKEN;
use super::{NoUring, Polling};
use crate::limits::{MAX_FILE_TASKS, MAX_REGISTERED_FILES, MAX_REGISTERED_POOLS};
use crate::region::Pool;

/// User data of the watch; no task has it, as slots are far fewer.
const WATCH: u64 = u64::MAX;
/// User data of cancel requests.
const CANCEL: u64 = u64::MAX - 1;

/// What is known of the request that looks after the epoll descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    Off,
    Armed,
    /// It said that there are events; nobody has asked epoll for them since.
    Fired,
}

/// The kernel's end of one ring. Belongs to the thread that makes it (`SINGLE_ISSUER`).
pub(super) struct Uring {
    ring: IoUring,
    /// Requests pushed for tasks and not yet popped.
    in_flight: usize,
    watch: Watch,
    polling: Polling,
    /// What completions raise while somebody wants to sleep.
    bell: Option<OwnedFd>,
}

impl Uring {
    /// A ring, if the kernel has all that is needed.
    pub(super) fn new() -> Result<Self, NoUring> {
        Self::polled(Polling::default())
    }

    /// A ring that polls so.
    pub(super) fn polled(polling: Polling) -> Result<Self, NoUring> {
        let ring = probe::build(polling)?;
        probe::set_workers(&ring);
        Ok(Self { ring, in_flight: 0, watch: Watch::Off, polling, bell: None })
    }

    /// Has completions wake whoever waits for this registry, between [`Self::arm`] and [`Self::disarm`]. The eventfd
    /// is never read: each signal is an edge of its own. Those that are polled for raise nothing.
    pub(super) fn hang_bell(&mut self, registry: &Registry) -> io::Result<()> {
        if !self.polling.iopoll && self.bell.is_none() {
            let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            self.ring.submitter().register_eventfd(bell.as_raw_fd())?;
            self.ring.completion().disable_eventfd();
            registry.register(&mut SourceFd(&bell.as_raw_fd()), SIGNAL_TOKEN, Interest::READABLE)?;
            self.bell = Some(bell);
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn falls_asleep(&mut self) {
        while !self.ring.submission().need_wakeup() {
            std::thread::yield_now();
        }
    }

    /// Whether this result of a request says that completions of its file cannot be polled for.
    pub(super) fn refuses(&self, result: i32) -> bool {
        self.polling.iopoll && result == -libc::EOPNOTSUPP
    }

    /// From now on completions ring the bell. Whoever sleeps afterwards looks once more first.
    pub(super) fn arm(&mut self) {
        if self.bell.is_some() && self.in_flight > 0 {
            self.ring.completion().enable_eventfd();
        }
    }

    /// Nobody sleeps any more.
    pub(super) fn disarm(&mut self) {
        if self.bell.is_some() {
            self.ring.completion().disable_eventfd();
        }
    }

    /// Makes empty tables for files and for pools; false if the kernel does not give them.
    pub(super) fn make_tables(&mut self) -> bool {
        let submitter = self.ring.submitter();
        let made = submitter
            .register_buffers_sparse(MAX_REGISTERED_POOLS as u32)
            .and_then(|()| submitter.register_files_sparse(MAX_REGISTERED_FILES as u32));
        if let Err(error) = &made {
            tracing::debug!(%error, "no table of registered files");
        }
        made.is_ok()
    }

    /// Puts a file into the table, or takes it out; false if that is not possible.
    pub(super) fn set_file(&mut self, place: u32, file: Option<&File>) -> bool {
        let number = file.map_or(-1, AsRawFd::as_raw_fd);
        self.ring.submitter().register_files_update(place, &[number]).is_ok()
    }

    /// Registers the memory of a pool, which pins it.
    pub(super) fn set_buffer(&mut self, number: u32, pool: &Pool) -> io::Result<()> {
        let region = pool.region();
        let whole = libc::iovec { iov_base: region.base().as_ptr().cast(), iov_len: region.len() };
        // SAFETY: the caller keeps the pool, and so the mapping, until this ring is gone (`Registered`).
        unsafe { self.ring.submitter().register_buffers_update(number, &[whole], None) }
    }

    /// Requests of tasks that have not come back.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Queues a request of a task under `user_data`. It goes out with the next [`Self::flush`] or [`Self::wait`].
    ///
    /// # Safety
    /// The file and the bytes that the entry names stay as they are, and nobody uses the bytes, until
    /// [`Self::pop`] gives `user_data` back.
    pub(super) unsafe fn push(&mut self, entry: Entry, user_data: u64) {
        debug_assert!(user_data < CANCEL);
        // SAFETY: the caller's promise.
        let pushed = unsafe { self.ring.submission().push(&entry.user_data(user_data)) };
        // Each task has one request at most, and the others leave room for all of them.
        pushed.expect("as many entries as tasks");
        self.in_flight += 1;
    }

    /// Requests that the kernel was not told of yet.
    pub(super) fn queued(&mut self) -> usize {
        self.ring.submission().len()
    }

    /// Asks the kernel to give up a task's request. Its completion still comes, cancelled or not. A ring that polls for
    /// completions knows no such request.
    pub(super) fn cancel(&mut self, user_data: u64) {
        if self.polling.iopoll {
            return;
        }
        let cancel = opcode::AsyncCancel::new(user_data).build().flags(squeue::Flags::SKIP_SUCCESS);
        // Without room the request is not cancelled, which is what may happen to any cancellation.
        let _ = self.push_own(cancel, CANCEL);
    }

    /// Queues a request that names no memory; false if there is no room beside those of tasks.
    fn push_own(&mut self, entry: Entry, user_data: u64) -> bool {
        let mut queue = self.ring.submission();
        if queue.len() + MAX_FILE_TASKS >= queue.capacity() {
            return false;
        }
        // SAFETY: these requests have no buffer, and the kernel looks descriptors up by itself.
        unsafe { queue.push(&entry.user_data(user_data)) }.is_ok()
    }

    /// Sends out what was pushed, and has the kernel finish what it can, without waiting. Without either no call.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let queue = self.ring.submission();
        let finished = queue.taskrun() || queue.cq_overflow();
        // A thread of the kernel that is awake looks by itself, for requests and for completions that are polled for.
        let begins = if self.polling.sqpoll { queue.need_wakeup() } else { true };
        let due = finished || begins && (!queue.is_empty() || self.polling.iopoll && self.in_flight > 0);
        drop(queue);
        if due { self.enter(0, None) } else { Ok(()) }
    }

    /// Like [`Self::flush`], and waits until a request is done or `poll`, the same each time, has events; `None` is for
    /// ever. May return early.
    pub(super) fn wait(&mut self, poll: &Poll, timeout: Option<Duration>) -> io::Result<()> {
        if self.watch == Watch::Off {
            let watch = opcode::PollAdd::new(Fd(poll.as_raw_fd()), libc::POLLIN as u32).build();
            if self.push_own(watch, WATCH) {
                self.watch = Watch::Armed;
            }
        }
        if self.watch != Watch::Armed || !self.ring.completion().is_empty() {
            return self.flush();
        }
        self.enter(1, timeout)
    }

    /// The system call: submits all that is queued and waits for so many completions.
    fn enter(&mut self, wanted: u32, timeout: Option<Duration>) -> io::Result<()> {
        let queued = self.ring.submission().len() as u32;
        let mut flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if self.polling.sqpoll {
            flags |= EnterFlags::SQ_WAKEUP;
        }
        let time = timeout.map(Timespec::from);
        let mut args = SubmitArgs::new();
        if let Some(time) = &time {
            args = args.timespec(time);
        }
        // SAFETY: EXT_ARG takes this structure, whose `time` lives on to the end of this function.
        transient(unsafe { self.ring.submitter().enter(queued, wanted, flags.bits(), Some(&args)) })
    }

    /// Whether the watch has found events since this was last asked; then epoll is to be asked for them.
    pub(super) fn take_fired(&mut self) -> bool {
        let fired = self.watch == Watch::Fired;
        if fired {
            self.watch = Watch::Off;
        }
        fired
    }

    /// The end of a request: its user data, and what the kernel says.
    pub(super) fn pop(&mut self) -> Option<(u64, i32)> {
        loop {
            let done = self.ring.completion().next()?;
            match done.user_data() {
                WATCH => self.watch = Watch::Fired,
                CANCEL => {}
                user_data => {
                    self.in_flight -= 1;
                    return Some((user_data, done.result()));
                }
            }
        }
    }

    /// Cancels what can be cancelled and waits for all requests of tasks. After an error the kernel may still use
    /// their buffers.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.in_flight > 0 && !self.polling.iopoll {
            let _ = self.push_own(opcode::AsyncCancel2::new(CancelBuilder::any().all()).build(), CANCEL);
        }
        while self.in_flight > 0 {
            self.enter(1, None)?;
            while self.pop().is_some() {}
        }
        // The kernel takes a ring apart some time after it is closed; files and memory are given back now.
        let submitter = self.ring.submitter();
        let _ = submitter.unregister_files();
        let _ = submitter.unregister_buffers();
        Ok(())
    }
}

/// What passes by itself, or was no error: the end of the time, a signal, a lack of memory. It is tried again with the
/// next entry.
fn transient(entered: io::Result<usize>) -> io::Result<()> {
    match entered {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => Ok(()),
            _ => Err(error),
        },
    }
}
