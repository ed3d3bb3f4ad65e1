//! How other threads end a wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use machine::ring::Waker;

/// Ends a [`super::Channel::wait`] of another thread, the one that is under way or else the next.
#[derive(Clone)]
pub struct Wake {
    ring: Waker,
    called: Arc<AtomicBool>,
}

impl Wake {
    pub(super) fn new(ring: Waker) -> Self {
        Self { ring, called: Arc::default() }
    }

    /// Ends the wait. What the waiting thread shall see is to be published before; several calls may end one wait.
    pub fn wake(&self) {
        self.called.store(true, Ordering::Release);
        self.ring.wake();
    }

    pub(super) fn is_set(&self) -> bool {
        self.called.load(Ordering::Relaxed)
    }

    /// Whether somebody has called since the last time; what they published before is seen from now on.
    pub(super) fn take(&self) -> bool {
        self.is_set() && self.called.swap(false, Ordering::Acquire)
    }
}
