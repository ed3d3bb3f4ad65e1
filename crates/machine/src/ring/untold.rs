//! The jobs that workers have done and that their ring was not told of.
//!
//! ```text
//!      worker                                      ring
//!   1  publish the job's end                    a  take all ends that are published
//!   2  count it untold                          b  none of its jobs is left? done
//!   3  a batch is untold, or few jobs are left  c  sleep until it is told
//!      or there is none: take the count, tell
//! ```
//!
//! The ring does not sleep past an end. The additions and takings of 2 and 3 are in one order, and each sees what was
//! published before those ahead of it: whoever takes a count tells of all ends in it. A worker that finds no job takes
//! what is left, its own last end at least if nobody did: so when all workers rest, nothing is untold.

use crate::limits::{WORKER_BATCH, WORKER_RESERVE};
use crate::sync::{AtomicU32, Ordering};

/// The count of one ring's workers.
pub(super) struct Untold(AtomicU32);

impl Untold {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// After a job's end was published: whether the ring is to be told now.
    pub(super) fn add(&self, jobs_left: usize) -> bool {
        let untold = self.0.fetch_add(1, Ordering::AcqRel) + 1;
        (untold >= WORKER_BATCH || jobs_left <= WORKER_RESERVE) && self.take()
    }

    /// Whether there is something to tell, which the caller does then.
    pub(super) fn take(&self) -> bool {
        self.0.swap(0, Ordering::AcqRel) > 0
    }
}

#[cfg(all(test, loom))]
mod models {
    use std::sync::Arc;

    use super::*;
    use crate::reactor::models::Signal;
    use crate::sync::{AtomicUsize, model};

    struct Shared {
        jobs: AtomicUsize,
        done: AtomicUsize,
        untold: Untold,
        told: Signal,
    }

    impl Shared {
        fn work(&self) {
            let less = |jobs: usize| jobs.checked_sub(1);
            while self.jobs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
                self.done.fetch_add(1, Ordering::Release);
                // What it sees of the others' jobs may be old.
                if self.untold.add(self.jobs.load(Ordering::Relaxed)) {
                    self.told.send();
                }
            }
            if self.untold.take() {
                self.told.send();
            }
        }
    }

    /// The ring, which sleeps without patience, learns of every end; a lost one is a deadlock that loom reports.
    fn every_end_is_told(jobs: usize) {
        model(move || {
            let (left, done) = (AtomicUsize::new(jobs), AtomicUsize::new(0));
            let shared = Arc::new(Shared { jobs: left, done, untold: Untold::new(), told: Signal::default() });
            let workers = [(); 2].map(|()| {
                let shared = Arc::clone(&shared);
                loom::thread::spawn(move || shared.work())
            });
            while shared.done.load(Ordering::Acquire) < jobs {
                shared.told.wait();
            }
            workers.into_iter().for_each(|worker| worker.join().unwrap());
        });
    }

    #[test]
    fn every_end_is_told_with_few_jobs() {
        every_end_is_told(2);
    }

    #[test]
    fn every_end_is_told_with_more_jobs_than_the_reserve() {
        every_end_is_told(WORKER_RESERVE + 2);
    }
}
