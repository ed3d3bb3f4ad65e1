//! A ring of its own for commands: `io_uring` with entries of 128 bytes and completions of 32.
//!
//! ```text
//!   submit ──▶ table[slot]        (keeps the task and its buffers)
//!                 │ entry: slot, 80 bytes of command, the number of the registered buffer
//!              [submission queue] ── kick: one io_uring_enter for all ──▶ the driver
//!                                                                            │
//!   poll   ──▶ done    ◀── [completion queue]: status or errno, 64-bit result ┘
//! ```
//!
//! It stands beside the [`Ring`] of its thread, whose entries are smaller, and wakes it: completions raise an eventfd
//! that the ring's epoll watches, but only between [`Channel::arm`] and [`Channel::disarm`]. A polled channel raises
//! nothing; whoever waits for it spins.
//!
//! The device is registered, and so is the memory of each pool from the first buffer on, up to
//! [`MAX_REGISTERED_POOLS`]: the kernel pins it once, and not for each command. It counts against `RLIMIT_MEMLOCK`;
//! what is too much is pinned for each command, which the log tells.
//!
//! A command that the driver has cannot be called back: it ends when the device answers, or when the kernel's patience
//! is over (`nvme_core.io_timeout`, or the command's own). Dropping a channel waits for that.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use io_uring::squeue::Entry128;
use io_uring::types::{Fixed, SubmitArgs};
use io_uring::{EnterFlags, IoUring, Probe, cqueue, opcode};
use rustix::event::{EventfdFlags, eventfd};

use super::{ChannelOptions, Done, Fault, NoChannel, Task};
use crate::limits::{MAX_PASSED, MAX_PIECES, MAX_REGISTERED_POOLS, SQPOLL_IDLE_MS};
use crate::os::{RawCommand, nvme_entry};
use crate::reactor::Arm;
use crate::region::{Buf, Bufs, Pool, RawBytes};
use crate::ring::{NoUring, Owner, Ring, Watched, explain_uring};

type Uring = IoUring<Entry128, cqueue::Entry32>;

/// What a user without such a ring does.
const WITHOUT: &str = "path=ioctl";

/// The way of many commands at once to one device. Belongs to the thread that makes it.
pub struct Channel<T> {
    ring: Uring,
    options: ChannelOptions,
    /// Raised by completions while this is armed; `None` for a polled one.
    bell: Option<Watched>,
    table: Vec<Slot<T>>,
    free: Vec<u32>,
    pools: Pools,
    /// The ring has it open too; this is for the log.
    _file: Arc<File>,
}

struct Slot<T> {
    /// What the kernel has, or gets with the next kick.
    task: Option<Task<T>>,
    /// Where the pieces of its data are, if it is a scatter list; kept for its room.
    pieces: Vec<RawBytes>,
}

impl<T> Channel<T> {
    /// A way to `file`, which fits the queue of the options, that wakes `ring` for `owner`.
    ///
    /// # Errors
    /// The kernel has no such ring, or refuses it: why, and what to do.
    ///
    /// # Panics
    /// If the depth is 0 or more than [`MAX_PASSED`].
    pub fn new(file: Arc<File>, options: ChannelOptions, ring: &mut Ring, owner: Owner) -> Result<Self, NoChannel> {
        let ChannelOptions { depth, polled, .. } = options;
        assert!((1..=MAX_PASSED).contains(&depth), "{depth} commands in flight");
        let uring = build(options)?;
        uring.submitter().register_files(&[file.as_raw_fd()])?;
        let mut pools = Pools::default();
        pools.make_table(&uring);
        let bell = if polled { None } else { Some(hang_bell(&uring, ring, owner)?) };
        let table = (0..depth).map(|_| Slot { task: None, pieces: Vec::new() }).collect();
        Ok(Self { ring: uring, options, bell, table, free: (0..depth as u32).rev().collect(), pools, _file: file })
    }

    /// Commands that were taken and have not come back.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.table.len() - self.free.len()
    }

    /// Takes a command. It goes out with the next [`Channel::kick`].
    ///
    /// # Errors
    /// Gives the task back when as many as the depth are in flight.
    pub fn submit(&mut self, task: Task<T>) -> Result<(), Task<T>> {
        assert!(task.data.pieces().len() <= MAX_PIECES, "a scatter list is at most {MAX_PIECES} buffers");
        let Some(slot) = self.free.pop() else { return Err(task) };
        let Slot { task: place, pieces } = &mut self.table[slot as usize];
        let task = place.insert(task);
        let list = matches!(task.data, Bufs::Many(_));
        let mut command = opcode::UringCmd80::new(Fixed(0), nvme_entry(self.options.queue, list));
        let data = match &mut task.data {
            Bufs::None => (0, 0),
            Bufs::One(buf) => {
                command = command.buf_index(self.pools.number(&self.ring, buf));
                address(Some(buf))
            }
            // Registered or not: the kernel takes no lists of registered memory before Linux 6.15.
            many @ Bufs::Many(_) => {
                many.raw(0, pieces);
                (pieces.as_ptr().expose_provenance() as u64, pieces.len() as u32)
            }
        };
        let raw = RawCommand::new(&task.command, data, address(task.metadata.as_mut()));
        let entry = command.cmd(raw.bytes()).build().user_data(slot.into());
        // SAFETY: the table keeps task, buffers and the list of pieces, untouched, until the completion has been
        // popped; it is dropped after all of them have (`Channel::drop`). The device is registered with the ring.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("as many entries as slots");
        Ok(())
    }

    /// Sends out what was submitted: one system call for all, none if there is nothing.
    pub fn kick(&mut self) {
        if !self.ring.submission().is_empty() {
            self.enter(0).expect("a ring's own descriptor, used on its own thread");
        }
    }

    /// Moves the commands that have ended to `out`. Costs no system call unless the kernel says that one is due, or the
    /// channel is polled and has commands in flight.
    pub fn poll(&mut self, out: &mut Vec<Done<T>>) {
        if self.in_flight() == 0 {
            return;
        }
        self.collect();
        while let Some(done) = self.ring.completion().next() {
            let slot = done.user_data() as u32;
            let task = self.table[slot as usize].task.take().expect("a slot completes once");
            self.free.push(slot);
            let Task { context, data, metadata, .. } = task;
            let result = result(done.result(), done.big_cqe()[0]);
            out.push(Done { context, result, data, metadata });
        }
    }

    /// Makes completions wake the ring, then looks once more.
    pub fn arm(&mut self) -> Arm {
        if self.bell.is_none() {
            return if self.in_flight() == 0 { Arm::Armed } else { Arm::Busy };
        }
        self.ring.completion().enable_eventfd();
        if self.in_flight() > 0 {
            self.collect();
        }
        if self.ring.completion().is_empty() { Arm::Armed } else { Arm::Busy }
    }

    /// Nobody sleeps any more.
    pub fn disarm(&mut self) {
        if self.bell.is_some() {
            self.ring.completion().disable_eventfd();
        }
    }

    /// Gives back what the channel has of its ring: nothing is in flight, and nothing will be asked any more.
    pub fn silence(&mut self) {
        self.bell = None;
    }

    /// Has the kernel finish what it can, without waiting.
    fn collect(&mut self) {
        let queue = self.ring.submission();
        let polls = self.options.polled && !self.options.kernel_thread;
        let due = queue.taskrun() || queue.cq_overflow() || polls;
        drop(queue);
        if due && self.ring.completion().is_empty() {
            self.enter(0).expect("a ring's own descriptor, used on its own thread");
        }
    }

    /// The system call: submits all that is queued and waits for so many completions.
    fn enter(&mut self, wanted: u32) -> io::Result<()> {
        let queue = self.ring.submission();
        let (queued, asleep) = (queue.len() as u32, self.options.kernel_thread && queue.need_wakeup());
        drop(queue);
        let mut flags = EnterFlags::GETEVENTS;
        if asleep {
            flags |= EnterFlags::SQ_WAKEUP;
        } else if self.options.kernel_thread && wanted == 0 {
            // It looks by itself.
            return Ok(());
        }
        // SAFETY: without EXT_ARG there is no argument to point to.
        match unsafe { self.ring.submitter().enter::<SubmitArgs<'_, '_>>(queued, wanted, flags.bits(), None) } {
            Ok(_) => Ok(()),
            // These pass by themselves: a signal, a lack of memory. It is tried again with the next entry.
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Waits for all that is in flight.
    fn finish(&mut self) -> io::Result<()> {
        let mut ended = Vec::new();
        self.poll(&mut ended);
        while self.in_flight() > 0 {
            self.enter(1)?;
            self.poll(&mut ended);
        }
        // The kernel takes a ring apart some time after it is closed; device and memory are given back now.
        let submitter = self.ring.submitter();
        let _ = submitter.unregister_files();
        let _ = submitter.unregister_buffers();
        Ok(())
    }
}

impl<T> Drop for Channel<T> {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::error!(%error, "cannot wait for NVMe commands: their buffers are lost");
            std::mem::forget(std::mem::take(&mut self.table));
        }
    }
}

/// What a completion says: a status is positive, an error of this host negative.
fn result(said: i32, result: u64) -> Result<u64, Fault> {
    match said {
        0 => Ok(result),
        status if status > 0 => Err(Fault::Status { status: status as u16, result }),
        errno => Err(Fault::Host(io::Error::from_raw_os_error(-errno))),
    }
}

/// Where the bytes are, and how many.
fn address(buf: Option<&mut Buf>) -> (u64, u32) {
    buf.map_or((0, 0), |buf| (buf.as_mut_ptr().expose_provenance() as u64, buf.len() as u32))
}

/// The ring, if the kernel has all that is needed.
fn build(options: ChannelOptions) -> Result<Uring, NoUring> {
    let explain = |error: io::Error| explain_uring(&error, WITHOUT);
    let mut builder = Uring::builder();
    builder.setup_single_issuer().setup_submit_all();
    if options.kernel_thread {
        builder.setup_sqpoll(SQPOLL_IDLE_MS);
    } else {
        builder.setup_defer_taskrun().setup_taskrun_flag();
    }
    if options.polled {
        builder.setup_iopoll();
    }
    let ring = builder.build(options.depth.next_power_of_two() as u32).map_err(explain)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(explain)?;
    if probe.is_supported(opcode::UringCmd80::CODE) {
        return Ok(ring);
    }
    let hint = format!("Linux 6.1 or newer has all that is needed. Without it, {WITHOUT} serves as well, slower.");
    Err(NoUring { why: "the kernel's has no operation URING_CMD".to_owned(), hint })
}

/// An eventfd that completions raise, watched by the thread's ring. Silent until it is asked for.
fn hang_bell(uring: &Uring, ring: &mut Ring, owner: Owner) -> io::Result<Watched> {
    let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    uring.submitter().register_eventfd(bell.as_raw_fd())?;
    ring.watch(bell, owner)
}

/// The pools whose memory is registered: a buffer's address tells whose it is.
#[derive(Default)]
struct Pools {
    /// The kernel has made a table for them.
    table: bool,
    /// By number.
    known: Vec<Pool>,
    /// Those that the kernel did not take.
    refused: Vec<Pool>,
}

impl Pools {
    fn make_table(&mut self, ring: &Uring) {
        match ring.submitter().register_buffers_sparse(MAX_REGISTERED_POOLS as u32) {
            Ok(()) => self.table = true,
            Err(error) => tracing::debug!(%error, "no table of registered buffers"),
        }
    }

    /// The number of a buffer's memory, which is registered if this is the first time that it is seen.
    fn number(&mut self, ring: &Uring, buf: &Buf) -> Option<u16> {
        let known = self.known.iter().position(|pool| buf.is_of(pool));
        if let Some(number) = known {
            return Some(number as u16);
        }
        let full = self.known.len() + self.refused.len() >= MAX_REGISTERED_POOLS;
        if !self.table || full || self.refused.iter().any(|pool| buf.is_of(pool)) {
            return None;
        }
        let (number, pool) = (self.known.len(), buf.pool());
        let region = pool.region();
        let bytes = region.len();
        let whole = libc::iovec { iov_base: region.base().as_ptr().cast(), iov_len: bytes };
        // SAFETY: `known` keeps the pool, and so the mapping, until the ring is gone: it is a later field.
        match unsafe { ring.submitter().register_buffers_update(number as u32, &[whole], None) } {
            Ok(()) => {
                tracing::debug!("{bytes} bytes of buffers are registered for NVMe commands");
                self.known.push(pool);
                Some(number as u16)
            }
            Err(error) => {
                tracing::info!(
                    "{bytes} bytes of buffers are pinned for each NVMe command anew, because they cannot be registered \
                     with io_uring ({error}). If that is for the limit of locked memory: ulimit -l, or LimitMEMLOCK= \
                     in a systemd unit."
                );
                self.refused.push(pool);
                None
            }
        }
    }
}

#[cfg(test)]
#[path = "channel_tests.rs"]
mod tests;
