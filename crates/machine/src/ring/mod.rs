//! The operating system as a queue.
//!
//! A [`Ring`] belongs to one thread, a reactor's or a program's own. Two kinds of things go through it:
//!
//! ```text
//!   sockets   called directly: try_recv / try_send          ready(owner)  <- "another call is worth it"
//!   files     submit_file(owner, task)                      files_done(owner)  <- completions
//!                                   \                       /
//!                                    enter(wait): once per pass, the only call that may block
//! ```
//!
//! An [`Owner`] is whoever polls: a table of connections, a file queue. `enter` collects for everybody and keeps it on
//! the lists of the owners until they take it; nothing is called back.
//!
//! Behind the surface, sockets are watched by epoll through mio, edge-triggered, each registered once. Files are done
//! by `io_uring` where the kernel has it, and else by a few worker threads ([`RingKind`]), or by the engine that each
//! asks for ([`FileEngine`]). On Windows a completion port does both (`iocp`). What is outside of [`Ring`] is the same.
//! Other threads wake a sleeping ring with its [`Waker`]; `reactor/sleep.rs` says why that is never missed.
//!
//! A program that owns its ring waits like this, with [`Ring::arm`] taking part in the decision to wait:
//!
//! ```no_run
//! # use qpair_machine::{reactor::Arm, ring::{Ring, Wait}};
//! # fn main() -> std::io::Result<()> {
//! # let stream = std::net::TcpStream::connect("127.0.0.1:4420")?;
//! let mut ring = Ring::new()?;
//! let owner = ring.owner();
//! let socket = ring.socket(stream, owner, 0)?;
//! let mut ready = Vec::new();
//! loop {
//!     // Receive until the socket is drained, send what there is, and then:
//!     let wait = if ring.arm(&socket) == Arm::Armed { Wait::Forever } else { Wait::No };
//!     ring.enter(wait)?;
//!     ring.ready(owner, &mut ready);
//!     ready.clear();
//! }
//! # }
//! ```

#[cfg(target_os = "linux")]
mod aio;
#[cfg(not(target_os = "linux"))]
#[path = "no_aio.rs"]
mod aio;
mod descriptor;
mod engine;
#[cfg(not(windows))]
#[path = "events_mio.rs"]
mod events;
#[cfg(windows)]
#[path = "events_windows.rs"]
mod events;
mod file;
mod files;
mod idle;
mod interest;
#[cfg(windows)]
mod iocp;
#[cfg(not(windows))]
#[path = "no_iocp.rs"]
mod iocp;
mod kind;
mod polled;
mod polling;
mod registered;
mod socket;
mod untold;
#[cfg(target_os = "linux")]
mod uring;
#[cfg(not(target_os = "linux"))]
#[path = "no_uring.rs"]
mod uring;
mod waker;
#[cfg(target_os = "linux")]
mod watched;
mod worker;

#[cfg(all(test, target_os = "linux"))]
mod polled_tests;
#[cfg(all(test, target_os = "linux"))]
mod registered_tests;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub use descriptor::Descriptor;
pub use engine::{FileEngine, NoEngine};
use events::Poll;
pub use file::{FileDone, FileOp, FileTask};
use files::Files;
use interest::{Interests, SIGNAL_TOKEN, WAKER_TOKEN};
#[cfg(windows)]
pub(crate) use iocp::TRIALS as IOCP_TRIALS;
pub use kind::{NoRing, NoUring, RingChoice, RingKind};
pub use polling::Polling;
pub use registered::RingFile;
pub use socket::{Listener, Socket};
#[cfg(target_os = "linux")]
pub(crate) use uring::{TRIALS as URING_TRIALS, explain_uring};
pub use waker::Waker;
#[cfg(target_os = "linux")]
pub(crate) use watched::Watched;

use crate::limits::MAX_OWNERS;
use crate::reactor::Arm;
use crate::region::Pool;

/// Whoever polls one ring: a table of connections, a file queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(u32);

impl Owner {
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// How long [`Ring::enter`] may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    No,
    /// This long, rounded up to the granularity of the system (at most a millisecond).
    For(Duration),
    /// Until something comes.
    Forever,
}

/// A socket or listener is worth another call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The key it was registered with.
    pub key: u32,
    /// Bytes, a connection to accept, the end of the stream, or an error can be received.
    pub readable: bool,
    /// There is room to send.
    pub writable: bool,
}

/// One thread's way to the operating system.
pub struct Ring {
    files: Files,
    choice: RingChoice,
    poll: Poll,
    interests: Rc<Interests>,
    waker: Waker,
    owners: u32,
    /// Owners that were given back.
    released: Vec<Owner>,
}

impl Ring {
    /// A ring of the best kind there is here: see [`Ring::of`].
    ///
    /// # Errors
    /// The process has no file descriptors left (four are needed).
    pub fn new() -> io::Result<Self> {
        Self::of(RingKind::Auto)
    }

    /// A ring of this kind, without sockets or files. It stays on the thread that makes it.
    ///
    /// # Errors
    /// As for [`Ring::new`]; [`NoRing`] in an `Unsupported` if `kind` asks for what is not to be had.
    pub fn of(kind: RingKind) -> io::Result<Self> {
        let (choice, uring) = kind.make()?;
        let poll = Poll::new(choice.kind)?;
        let interests = Rc::new(Interests::new(poll.registry().try_clone()?));
        let waker = Waker::new(poll.registry(), WAKER_TOKEN)?;
        let files = Files::new(uring, poll.iocp(), waker.clone());
        Ok(Self { files, choice, poll, interests, waker, owners: 0, released: Vec::new() })
    }

    /// What kind it is, and why if that was left to it.
    #[must_use]
    pub fn choice(&self) -> &RingChoice {
        &self.choice
    }

    /// What other threads wake this ring with.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// A new owner.
    ///
    /// # Panics
    /// If [`MAX_OWNERS`] are taken: owners are for queues and tables, not for connections.
    pub fn owner(&mut self) -> Owner {
        if let Some(owner) = self.released.pop() {
            return owner;
        }
        assert!((self.owners as usize) < MAX_OWNERS, "all owners are taken");
        let owner = Owner(self.owners);
        self.owners += 1;
        self.interests.add_owner();
        self.files.add_owner();
        owner
    }

    /// Gives an owner back. It must not be used any more; sockets that were registered for it may still be dropped.
    ///
    /// # Panics
    /// If file tasks of it are pending, or done and not taken.
    pub fn release(&mut self, owner: Owner) {
        assert!(!self.released.contains(&owner), "an owner is given back once");
        self.files.release(owner);
        self.interests.release(owner);
        self.released.push(owner);
    }

    /// Takes a connected socket over: makes it non-blocking, without Nagle's delay, with large buffers, and registers
    /// it. Its readiness comes to `owner` under `key`.
    ///
    /// # Errors
    /// The connection is gone already, or [`crate::limits::MAX_SOCKETS`] are registered (`QuotaExceeded`).
    pub fn socket(&mut self, stream: TcpStream, owner: Owner, key: u32) -> io::Result<Socket> {
        Socket::new(stream, owner, key, &self.interests)
    }

    /// Listens on an address; port 0 lets the system choose one.
    ///
    /// # Errors
    /// Those of `bind` and `listen`, above all `AddrInUse` and `PermissionDenied`.
    pub fn listener(&mut self, address: SocketAddr, owner: Owner, key: u32) -> io::Result<Listener> {
        Listener::new(address, owner, key, &self.interests)
    }

    /// Has events of a descriptor wake [`Ring::enter`]: of one that belongs to something else with queues of its own.
    #[cfg(target_os = "linux")]
    pub(crate) fn watch(&mut self, fd: std::os::fd::OwnedFd, owner: Owner) -> io::Result<Watched> {
        Watched::new(fd, owner, &self.interests)
    }

    /// Makes sure that bytes that come from now on wake [`Ring::enter`]. `Busy`: the socket was not drained when it was
    /// last received from, so there may be bytes that no event will tell of. A socket that is not to be received from
    /// at the moment (no buffers) must not be asked: what its owner waits for wakes it.
    ///
    /// Room to send after a send that would have blocked wakes it too.
    #[must_use]
    pub fn arm(&self, socket: &Socket) -> Arm {
        socket.arm()
    }

    /// The same for connections to accept. `Busy` until [`Listener::try_accept`] has said `None`.
    #[must_use]
    pub fn arm_listener(&self, listener: &Listener) -> Arm {
        listener.arm()
    }

    /// The same for file tasks: `Busy` if completions are there to take, or if some are polled for.
    pub fn arm_files(&mut self, owner: Owner) -> Arm {
        if self.files.has_done(owner) || self.files.spins() { Arm::Busy } else { Arm::Armed }
    }

    /// Moves the readiness that [`Ring::enter`] collected for this owner to `out`. Each socket comes once.
    pub fn ready(&mut self, owner: Owner, out: &mut Vec<Ready>) {
        self.interests.take(owner, out);
    }

    /// Makes a file known to this ring: what tasks name. It stays open as long as there is a clone of the result. Its
    /// tasks are carried out by the ring's own engine ([`Ring::choice`]).
    pub fn file(&mut self, file: Arc<File>) -> RingFile {
        self.files.file(file)
    }

    /// The same for a file whose tasks are carried out by this engine, whatever the ring's own is.
    ///
    /// # Errors
    /// The engine is not to be had here: why, and what to do about it.
    pub fn file_by(&mut self, file: Arc<File>, engine: FileEngine) -> Result<RingFile, NoEngine> {
        self.files.file_by(file, engine, self.poll.registry())
    }

    /// The same for a file of [`FileEngine::Uring`] whose requests are polled for so, by one of the kernel's rings that
    /// stands beside the ordinary one. The file is one with direct I/O. Requests that the device or its file system
    /// cannot poll for end with `EOPNOTSUPP`; whether they do so only trying tells.
    ///
    /// # Errors
    /// There is no such ring to be had: why, and what to do about it.
    pub fn file_polled(&mut self, file: Arc<File>, polling: Polling) -> Result<RingFile, NoEngine> {
        self.files.file_polled(file, polling, self.poll.registry())
    }

    /// Wants the memory of a pool registered with the operating system, so that it is pinned once and not for each
    /// task: for pools whose buffers go through files. Done with the first [`Ring::file`]; the memory is resident from
    /// then on, and the ring keeps the pool. It counts against `RLIMIT_MEMLOCK`; what is too much is left out, which
    /// the log tells, and works as well. Without effect on portable rings.
    pub fn register_pool(&mut self, pool: &Pool) {
        self.files.register_pool(pool);
    }

    /// Whether this ring has the memory of the pool registered.
    #[must_use]
    pub fn has_registered(&self, pool: &Pool) -> bool {
        self.files.has_registered(pool)
    }

    /// Has something done with a file. Tasks run in any order, and several at once; those of a file of
    /// [`FileEngine::Sync`] run before this returns.
    ///
    /// # Errors
    /// Gives the task back when [`crate::limits::MAX_FILE_TASKS`] are pending.
    ///
    /// # Panics
    /// If a read or a write carries no buffer, or another task carries one.
    pub fn submit_file(&mut self, owner: Owner, task: FileTask) -> Result<(), FileTask> {
        self.files.submit(owner, task)
    }

    /// Asks for the end of a pending task. Its completion still comes: cancelled ([`FileDone::is_cancelled`]), or as it
    /// ended. A task that the medium has already, or that some thread has begun, mostly ends as if not asked. Without
    /// effect if there is no such task.
    pub fn cancel_file(&mut self, owner: Owner, tag: u64) {
        self.files.cancel(owner, Some(tag));
    }

    /// The same for all pending tasks of an owner.
    pub fn cancel_files(&mut self, owner: Owner) {
        self.files.cancel(owner, None);
    }

    /// Moves this owner's finished file tasks to `out`; those too that finished since the last [`Ring::enter`]. What
    /// anybody has submitted is on its way after this; a task that is alone may wait for one or two more calls, or for
    /// [`Ring::enter`], which submits and sleeps in one system call.
    pub fn files_done(&mut self, owner: Owner, out: &mut Vec<FileDone>) {
        self.files.take(owner, out);
    }

    /// Collects what has happened, for all owners, and waits if told so and nothing has. May return early.
    ///
    /// # Errors
    /// None that are known of: the descriptors waited on are the ring's own.
    pub fn enter(&mut self, wait: Wait) -> io::Result<()> {
        self.files.forget_files();
        let waits = wait != Wait::No;
        if waits {
            self.announce_sleep();
            self.files.arm();
        }
        let timeout = match wait {
            Wait::No => Some(Duration::ZERO),
            // After the announcement: the last look, at what the workers may have finished.
            _ if self.files.news() || self.files.spins() => Some(Duration::ZERO),
            Wait::For(duration) => Some(self.files.patience().map_or(duration, |most| duration.min(most))),
            Wait::Forever => self.files.patience(),
        };
        let waited = self.wait(timeout);
        if waits {
            self.cancel_sleep();
            self.files.disarm();
        }
        waited?;
        self.files.reap();
        Ok(())
    }

    /// Waits, for at most `limit`, if `arm` finds nothing to do: the one call in which a program that owns its ring
    /// sleeps. Whatever other threads publish from the moment on in which `arm` is called, and then wake the ring for,
    /// ends the wait; so `arm` asks everybody who polls this ring. May return early.
    ///
    /// # Errors
    /// As for [`Ring::enter`].
    pub fn sleep(&mut self, limit: Option<Duration>, arm: impl FnOnce(&mut Self) -> Arm) -> io::Result<()> {
        self.announce_sleep();
        let wait = match (arm(self), limit) {
            (Arm::Busy, _) => Wait::No,
            (Arm::PollEvery(time), None) | (Arm::Armed, Some(time)) => Wait::For(time),
            (Arm::PollEvery(time), Some(limit)) => Wait::For(time.min(limit)),
            (Arm::Armed, None) => Wait::Forever,
        };
        let entered = self.enter(wait);
        self.cancel_sleep();
        entered
    }

    /// What somebody else's event loop waits for, instead of [`Ring::sleep`]. `None` on Windows.
    #[must_use]
    pub fn descriptor(&self) -> Option<Descriptor> {
        Descriptor::of(&self.poll)
    }

    /// The first half of a [`Ring::sleep`] whose thread waits elsewhere: whatever comes from the moment on in which
    /// `arm` is called makes the descriptor readable. [`Arm::Busy`]: there is something to do already;
    /// [`Arm::PollEvery`]: after so long at the latest. [`Ring::come_back`] is the other half.
    ///
    /// # Errors
    /// The process has no file descriptors left (one is needed, the first time).
    pub fn leave(&mut self, arm: impl FnOnce(&mut Self) -> Arm) -> io::Result<Arm> {
        self.files.hang_bell(self.poll.registry())?;
        self.files.send();
        self.announce_sleep();
        self.files.arm();
        let armed = arm(self);
        if self.files.finished() || self.files.spins() {
            return Ok(Arm::Busy);
        }
        Ok(self.files.patience().map_or(armed, |most| armed.and(Arm::PollEvery(most))))
    }

    /// The thread is here again: collects what has happened.
    ///
    /// # Errors
    /// As for [`Ring::enter`].
    pub fn come_back(&mut self) -> io::Result<()> {
        self.cancel_sleep();
        self.files.disarm();
        if self.interests.is_empty() {
            // It would not be asked, and the descriptor says the same until it is.
            self.look(Some(Duration::ZERO))?;
        }
        self.enter(Wait::No)
    }

    /// Waits where there is something to wait for, and takes note of the sockets' events.
    fn wait(&mut self, mut timeout: Option<Duration>) -> io::Result<()> {
        let waits = timeout != Some(Duration::ZERO);
        if let Some(uring) = self.files.busy_uring() {
            if waits {
                uring.wait(&self.poll, timeout)?;
            } else {
                uring.flush()?;
            }
            self.files.reap();
            let fired = self.files.take_fired();
            if !fired && (waits || self.interests.is_empty()) {
                return Ok(());
            }
            timeout = Some(Duration::ZERO);
        } else if !waits && self.interests.is_empty() {
            // Others only end waits.
            return Ok(());
        }
        self.look(timeout)
    }

    /// Waits for events of sockets and of what wakes this ring, and takes note of the former.
    fn look(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.poll.wait(timeout, |token, happened| {
            if !matches!(token, WAKER_TOKEN | SIGNAL_TOKEN) {
                self.interests.note(token, happened);
            }
        })
    }

    /// Whether this thread looks again for a while before it sleeps: then nothing is to wait for the sleep.
    pub(crate) fn submit_at_once(&mut self, at_once: bool) {
        self.files.submit_at_once(at_once);
    }

    /// Makes others signal what they publish from now on; everybody on this thread looks once more after this.
    pub(crate) fn announce_sleep(&self) {
        self.waker.flag().announce();
    }

    /// Nobody need signal any more.
    pub(crate) fn cancel_sleep(&self) {
        self.waker.flag().clear();
    }
}
