//! The loop of a reactor.

use std::io;
use std::time::Duration;

use super::account::{Account, Spent};
use super::mode::{Mode, Pace};
use super::{Arm, Context, Poller, Reactor, ReactorConfig, Snapshot};
use crate::clock::Fine;
use crate::limits::{ENTER_INTERVAL, ENTER_PASSES, STOP_LIMIT, UNTIL_INTERVAL};
use crate::os;
use crate::ring::{Ring, Wait};

impl Reactor {
    /// Runs on the calling thread, for programs that have nothing else to do with it, and tells what it did. `until` is
    /// asked once a pass and at least every [`UNTIL_INTERVAL`]; once it says yes the pollers see `stopping`, and it
    /// returns when they are drained or after [`STOP_LIMIT`].
    ///
    /// # Errors
    /// The thread cannot be pinned.
    pub fn run_here(
        config: &ReactorConfig,
        ring: &mut Ring,
        pollers: &mut [&mut dyn Poller],
        until: impl FnMut() -> bool,
    ) -> io::Result<Snapshot> {
        if let Some(cpu) = config.cpu {
            os::pin_to(cpu)?;
        }
        let account = Account::new(pollers.iter().map(|poller| poller.name()));
        let pollers = pollers.iter_mut().map(|poller| &mut **poller as &mut dyn Poller).collect();
        Loop::new(ring, pollers, &account, config.mode, Some(UNTIL_INTERVAL)).run(until)?;
        Ok(account.snapshot())
    }
}

/// A reactor at work.
pub(super) struct Loop<'a> {
    ring: &'a mut Ring,
    pollers: Vec<&'a mut dyn Poller>,
    account: &'a Account,
    pace: Pace,
    /// Sleeps no longer than this.
    longest_sleep: Option<Duration>,
    /// When this pass started; the last reading of the clock.
    now: Fine,
    last_work: Fine,
    last_enter: Fine,
    passes_since_enter: u32,
    stopping_since: Option<Fine>,
}

impl<'a> Loop<'a> {
    pub(super) fn new(
        ring: &'a mut Ring,
        pollers: Vec<&'a mut dyn Poller>,
        account: &'a Account,
        mode: Mode,
        longest_sleep: Option<Duration>,
    ) -> Self {
        let now = Fine::now();
        Self {
            ring,
            pollers,
            account,
            pace: Pace::new(mode, now),
            longest_sleep,
            now,
            last_work: now,
            last_enter: now,
            passes_since_enter: 0,
            stopping_since: None,
        }
    }

    /// Until `ending` says yes and the pollers are drained.
    pub(super) fn run(mut self, mut ending: impl FnMut() -> bool) -> io::Result<()> {
        loop {
            self.collect()?;
            self.pace.look(self.now);
            self.ring.submit_at_once(self.spins());
            if self.stopping_since.is_none() && ending() {
                self.stopping_since = Some(self.now);
            }
            let found = self.poll_all();
            let started = std::mem::replace(&mut self.now, Fine::now());
            self.account.spent(if found { Spent::Busy } else { Spent::Idle }, self.now.since(started));
            if self.may_end() {
                return Ok(());
            }
            if found {
                self.last_work = self.now;
            } else if self.is_patient() {
                std::hint::spin_loop();
            } else {
                self.sleep(&mut ending)?;
            }
        }
    }

    /// Enters the ring without waiting, now and then: a pass that is about to sleep enters it anyway, and sockets that
    /// are busy are received from directly.
    fn collect(&mut self) -> io::Result<()> {
        self.passes_since_enter = self.passes_since_enter.saturating_add(1);
        if self.passes_since_enter > ENTER_PASSES && self.now.since(self.last_enter) >= ENTER_INTERVAL {
            self.ring.enter(Wait::No)?;
            self.entered();
        }
        Ok(())
    }

    fn entered(&mut self) {
        self.last_enter = self.now;
        self.passes_since_enter = 0;
    }

    /// Polls everybody once; true if anybody found work.
    fn poll_all(&mut self) -> bool {
        let mut found = false;
        for at in 0..self.pollers.len() {
            let units = self.with(at, |poller, cx| poller.poll(cx));
            self.account.ran(at, units);
            found |= units > 0;
        }
        found
    }

    fn with<T>(&mut self, at: usize, call: impl FnOnce(&mut dyn Poller, &mut Context<'_>) -> T) -> T {
        let (stopping, spinning) = (self.stopping_since.is_some(), self.spins());
        let mut cx = Context { ring: self.ring, now: self.now, stopping, spinning };
        call(&mut *self.pollers[at], &mut cx)
    }

    fn may_end(&self) -> bool {
        let Some(since) = self.stopping_since else { return false };
        if self.pollers.iter().all(|poller| poller.drained()) {
            return true;
        }
        let late = self.now.since(since) >= STOP_LIMIT;
        if late {
            let left = self.pollers.iter().filter(|poller| !poller.drained()).map(|poller| poller.name());
            tracing::warn!(pollers = ?left.collect::<Vec<_>>(), "stopped with work under way");
        }
        late
    }

    /// Whether it looks again for a while before it sleeps.
    fn spins(&self) -> bool {
        self.pace.patience().is_none_or(|patience| !patience.is_zero())
    }

    fn is_patient(&self) -> bool {
        self.pace.patience().is_none_or(|patience| self.now.since(self.last_work) < patience)
    }

    /// Arms everybody and sleeps if all agree. The order is that of `sleep.rs`: announce, look once more, wait.
    fn sleep(&mut self, ending: &mut impl FnMut() -> bool) -> io::Result<()> {
        self.ring.announce_sleep();
        let mut arm = Arm::Armed;
        let mut armed = 0;
        while armed < self.pollers.len() && arm != Arm::Busy {
            arm = arm.and(self.with(armed, |poller, cx| poller.arm(cx)));
            armed += 1;
        }
        let mut wait = match arm {
            Arm::Busy => Wait::No,
            Arm::PollEvery(time) => Wait::For(time),
            Arm::Armed => Wait::Forever,
        };
        if let Some(since) = self.stopping_since {
            wait = no_longer_than(wait, STOP_LIMIT.saturating_sub(self.now.since(since)));
        } else if ending() {
            wait = Wait::No;
        }
        if let Some(longest) = self.longest_sleep {
            wait = no_longer_than(wait, longest);
        }
        if wait == Wait::No {
            self.ring.cancel_sleep();
        } else {
            self.ring.enter(wait)?;
            let slept_at = std::mem::replace(&mut self.now, Fine::now());
            self.account.spent(Spent::Asleep, self.now.since(slept_at));
            self.entered();
        }
        for at in 0..armed {
            self.with(at, |poller, cx| poller.disarm(cx));
        }
        Ok(())
    }
}

fn no_longer_than(wait: Wait, longest: Duration) -> Wait {
    match wait {
        Wait::No => Wait::No,
        Wait::For(time) => Wait::For(time.min(longest)),
        Wait::Forever => Wait::For(longest),
    }
}
