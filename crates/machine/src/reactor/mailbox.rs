//! Messages to a reactor: a bounded queue that wakes its reader only if the reader sleeps.
//!
//! A sender pushes, then asks the reader's sleep flag (`reactor/sleep.rs` has the argument why nothing is lost). The
//! reader takes in its `poll` and answers [`Mailbox::arm`] from its own `arm`.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use super::Arm;
use crate::ring::Waker;

/// Makes a mailbox for `capacity` messages; `waker` is that of the ring whose reactor reads it.
///
/// # Panics
/// If `capacity` is zero.
#[must_use]
pub fn mailbox<T: Send>(capacity: usize, waker: Waker) -> (Sender<T>, Mailbox<T>) {
    let queue = Arc::new(ArrayQueue::new(capacity));
    (Sender { queue: Arc::clone(&queue), waker }, Mailbox { queue })
}

/// The writing end, one for each thread that sends.
pub struct Sender<T> {
    queue: Arc<ArrayQueue<T>>,
    waker: Waker,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), waker: self.waker.clone() }
    }
}

impl<T: Send> Sender<T> {
    /// Puts a message in and wakes the reader if it sleeps.
    ///
    /// # Errors
    /// Gives the message back when the mailbox is full.
    pub fn send(&self, message: T) -> Result<(), T> {
        self.queue.push(message)?;
        self.waker.wake();
        Ok(())
    }
}

/// The reading end.
pub struct Mailbox<T> {
    queue: Arc<ArrayQueue<T>>,
}

impl<T> Mailbox<T> {
    /// The oldest message.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        self.queue.pop()
    }

    /// Whether nothing is to be taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The answer for the reader's `arm`: a message that comes from now on wakes the reactor.
    #[must_use]
    pub fn arm(&self) -> Arm {
        if self.is_empty() { Arm::Armed } else { Arm::Busy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Ring;

    #[test]
    fn full_gives_the_message_back_and_order_is_kept() {
        let ring = Ring::new().expect("a ring");
        let (sender, mailbox) = mailbox(2, ring.waker());
        let other = sender.clone();
        assert_eq!(mailbox.arm(), Arm::Armed);
        assert_eq!(sender.send(1), Ok(()));
        assert_eq!(other.send(2), Ok(()));
        assert_eq!(sender.send(3), Err(3));
        assert_eq!(mailbox.arm(), Arm::Busy);
        assert_eq!((mailbox.take(), mailbox.take(), mailbox.take()), (Some(1), Some(2), None));
        assert!(mailbox.is_empty());
    }
}
