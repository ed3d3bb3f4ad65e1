//! How workers without a job sleep, and how whoever has jobs for them wakes one.
//!
//! ```text
//!      worker                                      submitter, or a worker that leaves jobs to others
//!   1  lock, count itself idle                  a  push jobs
//!   2  fence SeqCst                             b  fence SeqCst
//!   3  look once more for a job                 c  nobody idle, or one on its way? done
//!   4  none: wait, which opens the lock         d  lock; still so: one is on its way, signal one that waits
//!   5  not idle any more, nobody on its way, unlock
//!   6  fence SeqCst
//!   7  look again; more jobs than the one found: wake the next, from b on
//! ```
//!
//! One wake-up at a time, however many jobs: whoever wakes up sees to the next one, if there is still something to do.
//!
//! No job is left lying while a worker sleeps. The fences are in one total order. If b comes before 2, the look of 3
//! finds the job. If 2 comes before b, c sees the worker's count, or that it has gone through 5 and looks again. The
//! lock of d is not to be had between 1 and 4: a worker that is counted waits by then, and the signal reaches it. If c
//! sees one on its way, that one's 6 comes after b, or else c would have seen its 5: its look of 7 finds the job. The
//! lock is taken only by workers that found nothing and by those who wake one.

use crate::sync::{AtomicBool, AtomicUsize, Condvar, Mutex, Ordering, PoisonError, fence};

/// The workers that sleep or are about to.
pub(super) struct Idle {
    count: AtomicUsize,
    /// One was signalled and has not woken yet.
    waking: AtomicBool,
    lock: Mutex<()>,
    more: Condvar,
}

impl Idle {
    pub(super) fn new() -> Self {
        let (count, waking) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { count, waking, lock: Mutex::new(()), more: Condvar::new() }
    }

    /// For a worker: what `look` finds, sooner or later. Sleeps while it finds nothing.
    pub(super) fn wait_for<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(found) = look() {
                return found;
            }
            let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.count.fetch_add(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            let found = look();
            if found.is_none() {
                guard = self.more.wait(guard).unwrap_or_else(PoisonError::into_inner);
                self.waking.store(false, Ordering::Relaxed);
            }
            self.count.fetch_sub(1, Ordering::Relaxed);
            drop(guard);
            if let Some(found) = found {
                return found;
            }
            fence(Ordering::SeqCst);
        }
    }

    /// For whoever has published something that a worker is to find. A worker that finds something and leaves more of
    /// it calls this, too.
    pub(super) fn wake_one(&self) {
        fence(Ordering::SeqCst);
        if self.has_sleeper() {
            let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            let wakes = self.has_sleeper();
            if wakes {
                self.waking.store(true, Ordering::Relaxed);
            }
            drop(guard);
            if wakes {
                self.more.notify_one();
            }
        }
    }

    /// Whether one sleeps and none is on its way.
    fn has_sleeper(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0 && !self.waking.load(Ordering::Relaxed)
    }

    /// For whoever has published something that all workers are to find.
    pub(super) fn wake_all(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.more.notify_all();
    }
}

#[cfg(all(test, loom))]
mod models {
    use std::sync::Arc;

    use super::*;
    use crate::sync::{AtomicBool, model};

    struct Shared {
        jobs: AtomicUsize,
        stop: AtomicBool,
        idle: Idle,
    }

    impl Shared {
        fn new() -> Arc<Self> {
            Arc::new(Self { jobs: AtomicUsize::new(0), stop: AtomicBool::new(false), idle: Idle::new() })
        }

        /// A queue that hands out each job once. Its own accesses order nothing but the job.
        fn pop(&self) -> Option<()> {
            let less = |jobs: usize| jobs.checked_sub(1);
            self.jobs.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).ok().map(|_| ())
        }

        /// A worker that does one job and leaves the others: it never looks again.
        fn work_once(&self) {
            self.idle.wait_for(|| self.pop());
            if self.jobs.load(Ordering::Relaxed) > 0 {
                self.idle.wake_one();
            }
        }

        fn push(&self, jobs: usize) {
            self.jobs.fetch_add(jobs, Ordering::Release);
            self.idle.wake_one();
        }
    }

    /// Every job is taken though both workers may be about to sleep; a lost one is a deadlock that loom reports.
    fn every_job_finds_a_worker(pushes: &'static [usize]) {
        model(move || {
            let shared = Shared::new();
            let workers = [(); 2].map(|()| {
                let shared = Arc::clone(&shared);
                loom::thread::spawn(move || shared.work_once())
            });
            pushes.iter().for_each(|jobs| shared.push(*jobs));
            workers.into_iter().for_each(|worker| worker.join().unwrap());
        });
    }

    #[test]
    fn every_job_finds_a_worker_one_by_one() {
        every_job_finds_a_worker(&[1, 1]);
    }

    #[test]
    fn every_job_finds_a_worker_when_they_come_together() {
        every_job_finds_a_worker(&[2]);
    }

    /// As `Workers::drop` does it: those that sleep and those about to sleep see the end.
    #[test]
    fn the_end_finds_every_worker() {
        model(|| {
            let shared = Shared::new();
            let workers = [(); 2].map(|()| {
                let shared = Arc::clone(&shared);
                let ended = move || shared.idle.wait_for(|| shared.stop.load(Ordering::SeqCst).then_some(()));
                loom::thread::spawn(ended)
            });
            shared.stop.store(true, Ordering::SeqCst);
            shared.idle.wake_all();
            workers.into_iter().for_each(|worker| worker.join().unwrap());
        });
    }
}
