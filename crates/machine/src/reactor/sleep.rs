//! The one flag between a ring that goes to sleep and those who have something for it.
//!
//! ```text
//!      sleeper                                   sender
//!   1  asleep = true                          a  publish (push to a queue, set a stop flag)
//!   2  fence SeqCst                           b  fence SeqCst
//!   3  look once more at everything           c  asleep? then asleep = false and
//!   4  nothing: wait in the kernel            d  signal the kernel object (an eventfd)
//!   5  asleep = false
//! ```
//!
//! No wake-up is lost. The two fences are in one total order. If b comes before 2, the look of 3 finds what was
//! published. If 2 comes before b, the load of c sees the `true` of 1 or something later:
//!
//! - `true`: this sender signals. The kernel object keeps a signal that comes before 4, so that 4 returns at once.
//! - the `false` of another sender, who passed c: that one signals.
//! - the `false` of 5: the sleeper is awake, and b comes before the 2 of its next sleep, or else c would have seen the
//!   `true` of that 1. So the look of that 3 finds it, if no pass has before.
//!
//! A signal left over from an earlier sleep makes 4 return for nothing, which is harmless.
//!
//! While the ring is awake a sender pays for a fence and a load, and nobody pays for a system call. Of many senders to
//! a sleeping ring the first one signals.

use crate::sync::{AtomicBool, Ordering, fence};

/// Whether a ring sleeps or is about to.
#[derive(Debug, Default)]
pub(crate) struct SleepFlag {
    asleep: AtomicBool,
}

impl SleepFlag {
    /// Steps 1 and 2: whatever is published from now on is signalled. The caller looks once more after this.
    pub(crate) fn announce(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Step 5: senders need not signal any more.
    pub(crate) fn clear(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Steps b and c: whether the caller, who has published, must signal. True for one caller of many.
    pub(crate) fn must_signal(&self) -> bool {
        fence(Ordering::SeqCst);
        self.must_signal_after_fence()
    }

    /// Step c: the caller has had its fence, perhaps one for several flags.
    pub(crate) fn must_signal_after_fence(&self) -> bool {
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn one_of_many_signals_and_only_while_asleep() {
        let flag = SleepFlag::default();
        assert!(!flag.must_signal());
        flag.announce();
        assert!(flag.must_signal());
        assert!(!flag.must_signal());
        flag.announce();
        flag.clear();
        assert!(!flag.must_signal());
    }

    /// The core of the argument, on real threads: never do both sides miss each other.
    #[test]
    fn either_the_sleeper_sees_the_message_or_the_sender_sees_the_sleeper() {
        for _ in 0..500 {
            let (flag, message) = (SleepFlag::default(), AtomicU64::new(0));
            let (seen, signalled) = std::thread::scope(|scope| {
                let sender = scope.spawn(|| {
                    message.store(1, Ordering::Relaxed);
                    flag.must_signal()
                });
                flag.announce();
                let seen = message.load(Ordering::Relaxed) == 1;
                (seen, sender.join().expect("no panic"))
            });
            assert!(seen || signalled);
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use std::sync::Arc;

    use super::*;
    use crate::reactor::models::Signal;
    use crate::sync::{AtomicUsize, model};

    /// A sleeper and two senders. A lost wake-up is a deadlock, which loom reports.
    #[test]
    fn no_wake_up_is_lost() {
        struct Shared {
            messages: AtomicUsize,
            flag: SleepFlag,
            signal: Signal,
        }
        model(|| {
            let shared = Arc::new(Shared {
                messages: AtomicUsize::new(0),
                flag: SleepFlag::default(),
                signal: Signal::default(),
            });
            let senders = [(); 2].map(|()| {
                let shared = Arc::clone(&shared);
                loom::thread::spawn(move || {
                    shared.messages.fetch_add(1, Ordering::Release);
                    if shared.flag.must_signal() {
                        shared.signal.send();
                    }
                })
            });
            while shared.messages.load(Ordering::Acquire) < 2 {
                shared.flag.announce();
                if shared.messages.load(Ordering::Acquire) < 2 {
                    shared.signal.wait();
                }
                shared.flag.clear();
            }
            senders.into_iter().for_each(|sender| sender.join().unwrap());
        });
    }
}
