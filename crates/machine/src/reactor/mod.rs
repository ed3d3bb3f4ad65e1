//! One thread that polls its queues, and sleeps when all of them are armed.
//!
//! A reactor shares nothing: its ring, its pollers and all they own stay on its thread; other threads reach it through
//! a [`mailbox`], other reactors through a [`mesh`]. One pass polls every [`Poller`] once. Then:
//!
//! ```text
//!             +-----------------------------------------------+
//!             v                                               |
//!      poll everybody -- found work ------------------------->+
//!             | nothing                                       |
//!      spun long enough? -- no ------------------------------>+
//!             | yes                                           |
//!      arm everybody -- somebody is Busy -- disarm ---------->+
//!             | all Armed or PollEvery                        |
//!      ring.enter: the only place that blocks -- disarm ----->+
//! ```
//!
//! The clock is read once per pass, and once more after a sleep. Every interval between two readings is counted as busy
//! (the pass found work), idle (it found none) or asleep, so that the three add up to the time that went by.

mod account;
mod bells;
mod mailbox;
mod mesh;
mod mode;
mod panic;
mod run;
mod sleep;
mod thread;
mod timer;

#[cfg(all(test, loom))]
pub(crate) mod models;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use account::{PollerStats, Snapshot};
pub use mailbox::{Mailbox, Sender, mailbox};
pub use mesh::{Ports, mesh};
pub use mode::Mode;
pub use panic::on_panic_abort;
pub(crate) use sleep::SleepFlag;
pub use thread::{Handle, Panicked, Watcher};
pub use timer::Timers;

use crate::clock::Fine;
use crate::ring::{Ring, RingKind};

/// What a poller says when its reactor wants to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// Whatever comes for it from now on wakes the ring.
    Armed,
    /// There is work already.
    Busy,
    /// Nothing can wake the ring for it: it wants to be polled again after this time.
    PollEvery(Duration),
}

impl Arm {
    /// What two things say together: busy if one of them is, else the shorter time.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Busy, _) | (_, Self::Busy) => Self::Busy,
            (Self::PollEvery(one), Self::PollEvery(two)) => Self::PollEvery(one.min(two)),
            (Self::PollEvery(time), Self::Armed) | (Self::Armed, Self::PollEvery(time)) => Self::PollEvery(time),
            (Self::Armed, Self::Armed) => Self::Armed,
        }
    }
}

/// What a poller gets to work with.
pub struct Context<'a> {
    /// The reactor's ring.
    pub ring: &'a mut Ring,
    /// The time at the start of this pass.
    pub now: Fine,
    /// The reactor has been asked to stop: finish what is under way, take nothing new.
    pub stopping: bool,
    /// The reactor does not sleep between two requests if it can help it: sockets that were busy lately are worth a
    /// direct receive without a ready event. If false, drained sockets are better left to [`Ring::ready`].
    pub spinning: bool,
}

/// One kind of source or queue that a reactor polls. One poller for a kind, never one for a connection.
pub trait Poller {
    /// What the statistics call it.
    fn name(&self) -> &'static str;

    /// Does what there is to do, within reason, and tells how much that was in units of its own (requests, messages).
    /// Zero only if there was nothing to do.
    fn poll(&mut self, cx: &mut Context<'_>) -> usize;

    /// The reactor wants to sleep: make whatever comes wake it, then look once more.
    fn arm(&mut self, cx: &mut Context<'_>) -> Arm;

    /// The reactor does not sleep, or not any more. Follows each [`Poller::arm`].
    fn disarm(&mut self, _cx: &mut Context<'_>) {}

    /// Whether nothing is under way. Asked while stopping, after each pass; the reactor ends when all pollers say yes,
    /// or after [`crate::limits::STOP_LIMIT`].
    fn drained(&self) -> bool {
        true
    }
}

/// How a reactor is to run.
#[derive(Clone, Debug)]
pub struct ReactorConfig {
    /// The name of its thread.
    pub name: String,
    /// The core it is pinned to, if any.
    pub cpu: Option<usize>,
    /// When it sleeps.
    pub mode: Mode,
    /// The kind of its ring, if the reactor makes it ([`Reactor::spawn`]).
    pub ring: RingKind,
}

/// The way to start a reactor: [`Reactor::spawn`] on a thread of its own, [`Reactor::run_here`] on the calling one.
pub struct Reactor;
