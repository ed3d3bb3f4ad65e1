//! The threads of a ring that carry out file tasks, because a file cannot be asked without blocking.
//!
//! Jobs and completions go through two bounded queues without locks. How a worker that finds no job sleeps, and why no
//! job is left lying, is told in `idle.rs`.
//!
//! A system call that wakes another thread costs more than reading 4 KiB that the system has in memory, and a good part
//! of what it costs to ask a disk for them, so both ways go in batches. The ring wakes one worker for all jobs of a
//! pass; a worker that leaves jobs behind wakes the next. The ring is told of what was done only when it matters: when
//! the workers will soon have nothing to do, or a batch of jobs is done that it was not told of (`untold.rs`).
//!
//! ```text
//!   jobs left      what a worker does after a job
//!   0 .. 2         tells the ring: it has new jobs before the workers have run out of theirs
//!   more           goes on; tells the ring with every 8th job that any of them has done
//! ```
//!
//! A medium that stops to answer while jobs are left must not hide those that are done: with so many under way the ring
//! never sleeps for longer than [`WORKER_PATIENCE`].

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;

use super::idle::Idle;
use super::registered::OneRings;
use super::untold::Untold;
use super::{FileOp, Waker};
use crate::limits::{FILE_WORKERS, MAX_FILE_TASKS, WORKER_PATIENCE, WORKER_RESERVE};
use crate::os;
use crate::region::{RawBytes, no_slices};

/// A task on its way to a worker.
pub(super) struct Job {
    pub(super) slot: u32,
    pub(super) file: Arc<OneRings>,
    pub(super) op: FileOp,
    pub(super) bytes: JobBytes,
}

/// The bytes of a job: of buffers that the ring's table keeps until the job's completion is in.
pub(super) enum JobBytes {
    None,
    One(RawBytes),
    /// The pieces of a scatter list. The list itself comes back with the completion.
    Many(Vec<RawBytes>),
}

/// The bytes of a read or a write that is done here and now.
pub(super) enum Moved<'a, 'b> {
    One(&'a mut [u8]),
    Many(&'a mut [IoSliceMut<'b>]),
}

/// A task on its way back.
pub(super) struct Done {
    pub(super) slot: u32,
    /// The list of a job with several pieces, for its room.
    pub(super) pieces: Vec<RawBytes>,
    pub(super) result: io::Result<()>,
}

struct Shared {
    jobs: ArrayQueue<Job>,
    done: ArrayQueue<Done>,
    untold: Untold,
    /// By slot: its job is not wanted any more.
    cancelled: Box<[AtomicBool]>,
    idle: Idle,
    stop: AtomicBool,
    /// Of the ring that the completions go to.
    ring: Waker,
}

/// The workers of one ring. Dropping it waits for the jobs that are running; those that are queued are not started.
pub(super) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Jobs were queued that no worker was woken for.
    unannounced: bool,
    /// Jobs pushed and not popped.
    in_flight: usize,
}

impl Workers {
    /// Starts [`FILE_WORKERS`] threads, or as many as the system gives; it is an error if that is none.
    pub(super) fn start(ring: &Waker) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(ring));
        let mut workers = Self { shared, threads: Vec::with_capacity(FILE_WORKERS), unannounced: false, in_flight: 0 };
        for number in 0..FILE_WORKERS {
            let shared = Arc::clone(&workers.shared);
            match thread::Builder::new().name(format!("ring-file-{number}")).spawn(move || shared.work()) {
                Ok(thread) => workers.threads.push(thread),
                Err(error) if workers.threads.is_empty() => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, started = workers.threads.len(), "fewer file workers than wanted");
                    break;
                }
            }
        }
        Ok(workers)
    }

    /// Queues a job; there is room because the ring counts its pending tasks. It may not begin before
    /// [`Workers::flush`].
    pub(super) fn push(&mut self, job: Job) {
        self.shared.cancelled[job.slot as usize].store(false, Ordering::Relaxed);
        assert!(self.shared.jobs.push(job).is_ok(), "at most MAX_FILE_TASKS are pending");
        self.unannounced = true;
        self.in_flight += 1;
    }

    /// Has somebody begin with what was queued.
    pub(super) fn flush(&mut self) {
        if std::mem::take(&mut self.unannounced) {
            self.shared.idle.wake_one();
        }
    }

    /// A job that no worker has begun is not begun any more; it ends as cancelled.
    pub(super) fn cancel(&self, slot: u32) {
        self.shared.cancelled[slot as usize].store(true, Ordering::Relaxed);
    }

    /// A job that has ended.
    pub(super) fn pop(&mut self) -> Option<Done> {
        // Costs no more than a comparison, unlike the queue, when there is nothing to wait for.
        let done = if self.in_flight > 0 { self.shared.done.pop() } else { None };
        self.in_flight -= usize::from(done.is_some());
        done
    }

    /// How long the ring may sleep without looking: `None` while it is told of every job.
    pub(super) fn patience(&self) -> Option<Duration> {
        // Beside the one that is done. No others may have begun yet: then all of them are left.
        (self.in_flight > WORKER_RESERVE + 1).then_some(WORKER_PATIENCE)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.idle.wake_all();
        for thread in self.threads.drain(..) {
            // A worker that panicked is through with its buffer all the same.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn new(ring: &Waker) -> Self {
        Self {
            jobs: ArrayQueue::new(MAX_FILE_TASKS),
            done: ArrayQueue::new(MAX_FILE_TASKS),
            untold: Untold::new(),
            cancelled: (0..MAX_FILE_TASKS).map(|_| AtomicBool::new(false)).collect(),
            idle: Idle::new(),
            stop: AtomicBool::new(false),
            ring: ring.clone(),
        }
    }

    fn work(&self) {
        // Threads inherit the core of the one that starts them; a file's blocking must not happen on the reactor's.
        if let Err(error) = os::unpin() {
            tracing::warn!(%error, "a file worker stays on its reactor's core");
        }
        loop {
            let job = self.next_now().or_else(|| {
                self.tell_if(self.untold.take());
                self.next()
            });
            let Some(job) = job else { return };
            if !self.jobs.is_empty() {
                self.idle.wake_one();
            }
            self.carry_out(job);
            self.tell_if(self.untold.add(self.jobs.len()));
        }
    }

    fn tell_if(&self, untold: bool) {
        if untold {
            self.ring.wake();
        }
    }

    fn carry_out(&self, mut job: Job) {
        let slot = job.slot;
        let cancelled = self.cancelled[slot as usize].load(Ordering::Relaxed);
        let result = if cancelled { Err(io::Error::from_raw_os_error(os::CANCELLED)) } else { run(&mut job) };
        let Job { file, bytes, .. } = job;
        // Before the completion is out.
        drop(file);
        let pieces = if let JobBytes::Many(pieces) = bytes { pieces } else { Vec::new() };
        assert!(self.done.push(Done { slot, pieces, result }).is_ok(), "at most MAX_FILE_TASKS are pending");
    }

    /// A job that is there, unless the ring is being dropped.
    fn next_now(&self) -> Option<Job> {
        if self.stop.load(Ordering::Relaxed) { None } else { self.jobs.pop() }
    }

    /// The next job; sleeps until there is one. `None`: the ring is being dropped.
    fn next(&self) -> Option<Job> {
        self.idle.wait_for(|| if self.stop.load(Ordering::SeqCst) { Some(None) } else { self.jobs.pop().map(Some) })
    }
}

/// Does what the job asks.
fn run(job: &mut Job) -> io::Result<()> {
    let Job { file, op, bytes, .. } = job;
    match bytes {
        JobBytes::None => perform(file, *op, Moved::One(&mut [])),
        // SAFETY: the Buf is in the ring's table of pending tasks, which neither uses nor drops it before this job's
        // completion has been popped; the table outlives this thread (`Files::drop` joins it first); one job is run by
        // one worker, and the slice is gone when this function returns.
        JobBytes::One(raw) => perform(file, *op, Moved::One(unsafe { raw.as_mut_slice() })),
        JobBytes::Many(pieces) => {
            let mut slices = no_slices();
            for (slice, raw) in slices.iter_mut().zip(&mut *pieces) {
                // SAFETY: as above; each is of another Buf.
                *slice = IoSliceMut::new(unsafe { raw.as_mut_slice() });
            }
            perform(file, *op, Moved::Many(&mut slices[..pieces.len()]))
        }
    }
}

/// Does a task on this thread, which waits for the medium. `bytes` are those of a read or a write.
pub(super) fn perform(file: &File, op: FileOp, bytes: Moved<'_, '_>) -> io::Result<()> {
    match (op, bytes) {
        (FileOp::Read { offset }, Moved::One(bytes)) => os::read_exact_at(file, bytes, offset),
        (FileOp::Read { offset }, Moved::Many(pieces)) => os::read_exact_vectored_at(file, pieces, offset),
        (FileOp::Write { offset, dsync }, Moved::One(bytes)) => os::write_all_at(file, bytes, offset, dsync),
        (FileOp::Write { offset, dsync }, Moved::Many(pieces)) => {
            os::write_all_vectored_at(file, pieces, offset, dsync)
        }
        (FileOp::Sync, _) => file.sync_data(),
        (FileOp::Zero { offset, len, dsync, deallocate }, _) => os::zero(file, offset, len, dsync, deallocate),
        (FileOp::Deallocate { offset, len }, _) => os::deallocate(file, offset, len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{Ring, RingKind};

    #[test]
    fn a_cancelled_job_is_not_begun_and_its_slot_is_clean_for_the_next_one() {
        let ring = Ring::of(RingKind::Portable).expect("a ring");
        // No threads: this test is the worker.
        let shared = Arc::new(Shared::new(&ring.waker()));
        let mut workers = Workers { shared, threads: Vec::new(), unannounced: false, in_flight: 0 };
        let file = OneRings::new(Arc::new(tempfile::tempfile().expect("a file")));
        let job = |slot| Job { slot, file: Arc::clone(&file), op: FileOp::Sync, bytes: JobBytes::None };
        let end = |workers: &mut Workers| {
            workers.shared.carry_out(workers.shared.next().expect("a job"));
            let Done { slot, result, .. } = workers.pop().expect("an end");
            (slot, result.map_err(|error| error.raw_os_error()))
        };
        workers.push(job(3));
        workers.push(job(4));
        workers.cancel(3);
        assert_eq!([end(&mut workers), end(&mut workers)], [(3, Err(Some(os::CANCELLED))), (4, Ok(()))]);
        assert_eq!(workers.patience(), None, "nothing is under way");
        let last = WORKER_RESERVE as u32 + 1;
        for slot in 0..=last {
            workers.push(job(slot));
        }
        assert_eq!(workers.patience(), Some(WORKER_PATIENCE), "the first of them is not told of");
        assert_eq!(end(&mut workers), (0, Ok(())));
        assert_eq!(workers.patience(), None, "all others are");
        for slot in 1..=last {
            assert_eq!(end(&mut workers), (slot, Ok(())));
        }
        workers.push(job(3));
        assert_eq!(end(&mut workers), (3, Ok(())));
    }
}
