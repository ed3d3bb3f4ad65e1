//! How workers without a job sleep, and how whoever has a job for them wakes one.
//!
//! ```text
//!      worker                                      submitter
//!   1  lock, count itself idle                  a  push a job
//!   2  fence SeqCst                             b  fence SeqCst
//!   3  look once more for a job                 c  nobody idle? done
//!   4  none: wait, which opens the lock         d  lock and unlock, signal one that waits
//!   5  not idle any more, unlock
//! ```
//!
//! No job is left lying while a worker sleeps. The two fences are in one total order. If b comes before 2, the look of
//! 3 finds the job. If 2 comes before b, c sees the worker's count, or that it has gone through 5 and looks again. The
//! lock of d is not to be had between 1 and 4: a worker that is counted waits by then, and the signal reaches it. The
//! lock is taken only by workers that found nothing and by submitters that find one idle.

use crate::sync::{AtomicUsize, Condvar, Mutex, Ordering, PoisonError, fence};

/// The workers that sleep or are about to.
pub(super) struct Idle {
    count: AtomicUsize,
    lock: Mutex<()>,
    more: Condvar,
}

impl Idle {
    pub(super) fn new() -> Self {
        Self { count: AtomicUsize::new(0), lock: Mutex::new(()), more: Condvar::new() }
    }

    /// For a worker: what `look` finds, sooner or later. Sleeps while it finds nothing.
    pub(super) fn wait_for<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(found) = look() {
                return found;
            }
            let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.count.fetch_add(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            let found = look();
            if found.is_none() {
                drop(self.more.wait(guard).unwrap_or_else(PoisonError::into_inner));
            }
            self.count.fetch_sub(1, Ordering::Relaxed);
            if let Some(found) = found {
                return found;
            }
        }
    }

    /// For whoever has published something that one worker is to find.
    pub(super) fn wake_one(&self) {
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::Relaxed) > 0 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.more.notify_one();
        }
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

        fn push(&self) {
            self.jobs.fetch_add(1, Ordering::Release);
            self.idle.wake_one();
        }
    }

    /// Every job is taken though both workers may be about to sleep; a lost one is a deadlock that loom reports.
    #[test]
    fn every_job_finds_a_worker() {
        model(|| {
            let shared = Shared::new();
            let workers = [(); 2].map(|()| {
                let shared = Arc::clone(&shared);
                loom::thread::spawn(move || shared.idle.wait_for(|| shared.pop()))
            });
            shared.push();
            shared.push();
            workers.into_iter().for_each(|worker| worker.join().unwrap());
        });
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
