//! Applying a layout while hosts are connected: on a control thread, by orders to the reactors.
//!
//! ```text
//!   check ▶ bind new listeners ▶ every reactor opens its new queues     nothing is different yet: a failure ends here
//!         ▶ every reactor goes by the new plan ▶ Connect and admin commands do ▶ hosts are told ▶ accept
//!         ▶ what devices had of namespaces that went is back ▶ those devices are closed
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use block::Device;

use crate::layout::changes::Changes;
use crate::layout::order::{Installing, Listen, Order};
use crate::layout::plan::{Listening, Plan};
use crate::layout::{Layout, LayoutError};
use crate::limits::DRAIN;
use crate::reservation::StoreError;
use crate::server::Server;

/// How often a thread that waits for reactors looks whether they are still there.
const WATCH: Duration = Duration::from_millis(100);

/// Why a layout is not served. Everything is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It cannot be served.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// An address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// A device cannot be used.
    #[error("cannot use {0}: {1}")]
    Device(String, #[source] io::Error),
    /// Reservations that were kept cannot be read.
    #[error(transparent)]
    Reservations(#[from] StoreError),
    /// A reactor has ended; the target cannot go on.
    #[error("a reactor has ended")]
    Ended,
}

impl Server {
    /// Serves `layout` from now on, and tells what is different. Blocks: new devices get their queues opened, and what
    /// devices have of namespaces that go is waited for, up to [`DRAIN`]. I/O to what did not change goes on meanwhile.
    ///
    /// A namespace whose device has grown counts as changed: hosts are told.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub fn apply(&self, layout: &Layout) -> Result<Changes, ApplyError> {
        layout.check()?;
        let mut left_over = self.lock_left_over();
        let old = self.target().plan();
        let mut new = old.next(layout);
        new.listeners = self.bind(layout)?;
        new.count_change(&old);
        let new = Arc::new(new);
        let reservations = &self.target().reservations;
        if let Err(error) = reservations.open(&new).map_err(ApplyError::from).and_then(|()| self.prepare(&new)) {
            reservations.retire(&old);
            self.order(|| Order::Forget);
            let (reply, forgotten) = mpsc::channel();
            self.listen(Listen::Forget(reply));
            self.wait(&forgotten)?;
            return Err(error);
        }
        let mut changes = Changes::between(&old, &new);
        let drained = self.install(&new)?;
        changes.controllers_ended = self.target().install(new.clone());
        let told = Arc::new(changes.clone());
        self.order(|| Order::Notify(told.clone()));
        let (reply, accepting) = mpsc::channel();
        self.listen(Listen::Install(reply));
        self.wait(&accepting)?;
        reservations.retire(&new);
        let went = devices(&old).filter(|device| !devices(&new).any(|stays| Arc::ptr_eq(device, stays))).cloned();
        if self.drain(&drained)? {
            changes.close_errors = close(went);
        } else {
            changes.draining = true;
            left_over.extend(went);
        }
        Ok(changes)
    }

    /// Binds the addresses that are not bound yet.
    fn bind(&self, layout: &Layout) -> Result<Vec<Listening>, ApplyError> {
        let (reply, bound) = mpsc::channel();
        self.listen(Listen::Prepare(layout.listen.clone(), reply));
        self.wait(&bound)?.map_err(|(address, error)| ApplyError::Listen(address, error))
    }

    /// Has every reactor open its queues.
    fn prepare(&self, plan: &Arc<Plan>) -> Result<(), ApplyError> {
        let (reply, prepared) = mpsc::channel();
        self.order(|| Order::Prepare(plan.clone(), reply.clone()));
        // All of them are waited for, so that none prepares when the others are told to forget.
        let mut outcome = Ok(());
        for _ in 0..self.reactors() {
            let one = self.wait(&prepared)?;
            outcome = outcome.and(one.map_err(|unopened| ApplyError::Device(unopened.device, unopened.error)));
        }
        outcome
    }

    /// Has every reactor go by `plan`. What tells when they have drained.
    fn install(&self, plan: &Arc<Plan>) -> Result<Receiver<()>, ApplyError> {
        let (reply, installed) = mpsc::channel();
        let (drain, drained) = mpsc::channel();
        self.order(|| Order::Install(plan.clone(), Installing { installed: reply.clone(), drained: drain.clone() }));
        (0..self.reactors()).try_for_each(|_| self.wait(&installed))?;
        Ok(drained)
    }

    /// Whether all reactors have drained in time.
    fn drain(&self, drained: &Receiver<()>) -> Result<bool, ApplyError> {
        let deadline = Instant::now() + DRAIN;
        for _ in 0..self.reactors() {
            if self.wait_until(drained, Some(deadline))?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// An order to every reactor.
    fn order(&self, order: impl Fn() -> Order) {
        for orders in &self.orders {
            assert!(orders.send(order()).is_ok(), "each step is waited for: they cannot pile up");
        }
    }

    fn listen(&self, order: Listen) {
        assert!(self.listen.send(order).is_ok(), "each step is waited for: they cannot pile up");
    }

    fn reactors(&self) -> usize {
        self.orders.len()
    }

    /// Waits for an answer while all reactors are there.
    fn wait<T>(&self, answers: &Receiver<T>) -> Result<T, ApplyError> {
        Ok(self.wait_until(answers, None)?.expect("there is no deadline"))
    }

    /// The same, until the deadline.
    fn wait_until<T>(&self, answers: &Receiver<T>, deadline: Option<Instant>) -> Result<Option<T>, ApplyError> {
        loop {
            match answers.recv_timeout(WATCH) {
                Ok(answer) => return Ok(Some(answer)),
                // An order that nobody takes any more keeps its way for answers open.
                Err(RecvTimeoutError::Timeout) if !self.has_failed() => {}
                Err(_) => return Err(ApplyError::Ended),
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(None);
            }
        }
    }
}

/// The devices of a plan.
pub(crate) fn devices(plan: &Plan) -> impl Iterator<Item = &Arc<dyn Device>> {
    plan.namespaces().map(|(_, _, namespace)| &namespace.device)
}

/// Makes durable what the devices have; what went wrong, for a person to read.
pub(crate) fn close(devices: impl Iterator<Item = Arc<dyn Device>>) -> Vec<String> {
    let closed = devices.map(|device| (device.close(), device.info().name.clone()));
    closed.filter_map(|(closed, name)| Some(format!("{name}: the last flush failed: {}", closed.err()?))).collect()
}
