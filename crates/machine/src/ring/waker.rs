//! How other threads wake a ring that sleeps.

use std::io;
use std::sync::Arc;

use super::events::{self, Registry, Signal};
use crate::reactor::SleepFlag;

/// Wakes a sleeping ring; cheap to clone, may be used on any thread, and outlives the ring.
#[derive(Clone)]
pub struct Waker {
    shared: Arc<Shared>,
}

/// Alone on its cache lines: the flag is written whenever its reactor falls asleep or wakes.
#[repr(align(128))]
struct Shared {
    flag: SleepFlag,
    signal: Signal,
}

impl Waker {
    pub(super) fn new(registry: &Registry, token: mio::Token) -> io::Result<Self> {
        let shared = Shared { flag: SleepFlag::default(), signal: events::signal(registry, token)? };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Makes a sleeping [`crate::ring::Ring::enter`] return. To be called after what the sleeper shall find has been
    /// published; costs a fence and a load while the ring is awake.
    pub fn wake(&self) {
        if self.shared.flag.must_signal() {
            self.signal();
        }
    }

    /// The same without the fence: the caller has had one, after all that it has published for this sleeper.
    pub(crate) fn wake_after_fence(&self) {
        if self.shared.flag.must_signal_after_fence() {
            self.signal();
        }
    }

    fn signal(&self) {
        if let Err(error) = self.shared.signal.wake() {
            // Writing to one's own eventfd does not fail; if it does, the sleeper's timeout is what is left.
            tracing::error!(%error, "cannot wake a ring");
        }
    }

    pub(crate) fn flag(&self) -> &SleepFlag {
        &self.shared.flag
    }
}
