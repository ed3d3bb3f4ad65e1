//! One bell for each reader of a mesh: how a sender wakes readers that sleep, or that are not there yet.
//!
//! ```text
//!      sender                                      reader
//!   a  push to the rings of some readers        1  attach: here is my waker
//!   b  one fence SeqCst for all of them         2  announce, fence SeqCst, look at every ring, sleep  (sleep.rs)
//!   c  no waker there? nothing to do
//!      there is one: wake it if it sleeps
//! ```
//!
//! No message is left lying. With a waker there, this is the argument of `sleep.rs`, with one fence in the place of
//! many. Without one: the two fences are in one total order. If b comes before 2, the look of 2 finds what was pushed.
//! If 2 comes before b, then so does 1, and c finds the waker.

use crate::limits::MAX_REACTORS;
use crate::ring::Waker;
use crate::sync::{OnceLock, Ordering, fence};

/// A reader's side of the sleep flag.
pub(super) trait Wake {
    /// Wakes it if it sleeps. A `SeqCst` fence lies between what was published for it and this call.
    fn wake_after_fence(&self);
}

impl Wake for Waker {
    fn wake_after_fence(&self) {
        Waker::wake_after_fence(self);
    }
}

/// The bells of all readers, by number.
pub(super) struct Bells<W> {
    wakers: Box<[OnceLock<W>]>,
}

impl<W: Wake> Bells<W> {
    pub(super) fn new(readers: usize) -> Self {
        assert!((1..=MAX_REACTORS).contains(&readers), "a mesh of {readers} reactors, and {MAX_REACTORS} at most");
        Self { wakers: (0..readers).map(|_| OnceLock::new()).collect() }
    }

    /// Step 1.
    pub(super) fn attach(&self, reader: usize, waker: W) {
        assert!(self.wakers[reader].set(waker).is_ok(), "reader {reader} is attached once");
    }

    /// Steps b and c, for the readers whose bits are set.
    pub(super) fn ring(&self, mut readers: u64) {
        if readers == 0 {
            return;
        }
        fence(Ordering::SeqCst);
        while readers != 0 {
            if let Some(waker) = self.wakers[readers.trailing_zeros() as usize].get() {
                waker.wake_after_fence();
            }
            readers &= readers - 1;
        }
    }
}

const _: () = assert!(MAX_REACTORS <= u64::BITS as usize);

#[cfg(all(test, loom))]
mod models {
    use std::sync::Arc;

    use super::*;
    use crate::reactor::SleepFlag;
    use crate::reactor::models::Signal;
    use crate::sync::{AtomicUsize, model};

    #[derive(Default)]
    struct Sleeper {
        flag: SleepFlag,
        signal: Signal,
    }

    impl Wake for Arc<Sleeper> {
        fn wake_after_fence(&self) {
            if self.flag.must_signal_after_fence() {
                self.signal.send();
            }
        }
    }

    /// Two readers that attach whenever they like, and a sender with a message for each and one flush. Then, while they
    /// may be asleep, another round. A lost wake-up is a deadlock, which loom reports.
    #[test]
    fn a_reader_that_attaches_late_or_sleeps_finds_its_message() {
        const ROUNDS: usize = 2;
        model(|| {
            let bells = Arc::new(Bells::new(2));
            let ways = Arc::new([(); 2].map(|()| AtomicUsize::new(0)));
            let readers = [0, 1].map(|me| {
                let (bells, ways) = (Arc::clone(&bells), Arc::clone(&ways));
                loom::thread::spawn(move || {
                    let sleeper = Arc::new(Sleeper::default());
                    bells.attach(me, Arc::clone(&sleeper));
                    let missing = || ways[me].load(Ordering::Acquire) < ROUNDS;
                    while missing() {
                        sleeper.flag.announce();
                        if missing() {
                            sleeper.signal.wait();
                        }
                        sleeper.flag.clear();
                    }
                })
            });
            for _ in 0..ROUNDS {
                for way in &*ways {
                    // What a single-producer ring does: only we write to it.
                    way.store(way.load(Ordering::Relaxed) + 1, Ordering::Release);
                }
                bells.ring(0b11);
            }
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        });
    }
}
