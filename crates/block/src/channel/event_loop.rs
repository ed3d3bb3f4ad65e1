//! A channel in an event loop that is not its own: `epoll`, `mio`, `tokio`'s `AsyncFd`, another library's.
//!
//! ```text
//!   loop {
//!       match channel.arm()? {                 what was submitted is on its way
//!           Armed         wait for the descriptor and for all else, as long as you like
//!           PollEvery(t)  the same, for at most t
//!           Busy          do not wait
//!       }
//!       channel.poll(...)                      after each wait, whatever has ended it, EINTR too
//!   }
//! ```

use std::io;

use machine::reactor::Arm;
use machine::ring::Descriptor;

use super::Channel;

impl<C> Channel<C> {
    /// What an event loop waits on: readable while there may be something to poll, as long as the channel is armed.
    /// `None` on Windows.
    #[must_use]
    pub fn descriptor(&self) -> Option<Descriptor> {
        self.ring.descriptor()
    }

    /// To be called before each wait for [`Channel::descriptor`]: sends what was submitted on its way, and says how
    /// long the wait may be. [`Channel::poll`] is to be called after it. [`Wake::wake`](super::Wake::wake) ends such a
    /// wait too, and counts as seen.
    ///
    /// # Errors
    /// The process has no file descriptors left (one is needed, the first time).
    pub fn arm(&mut self) -> io::Result<Arm> {
        self.collect();
        let ended = self.completions.list.len() + self.completions.native.len() + self.late.len();
        if ended > 0 || self.wake.take() {
            return Ok(Arm::Busy);
        }
        self.armed = true;
        let (ports, wake) = (&mut self.ports, &self.wake);
        self.ring.leave(|ring| {
            let own = if wake.is_set() { Arm::Busy } else { Arm::Armed };
            ports.iter_mut().fold(own, |arm, queue| arm.and(queue.arm(ring)))
        })
    }

    /// The thread has waited, or could have.
    #[cold]
    pub(super) fn come_back(&mut self) {
        self.armed = false;
        self.wake.take();
        self.ports.iter_mut().for_each(|queue| queue.disarm());
        self.ring.come_back().expect("the ring's own descriptors can be asked");
    }
}
