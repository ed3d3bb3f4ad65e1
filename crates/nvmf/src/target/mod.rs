//! The target: what it serves now, and the controllers that hosts have.
//!
//! Shared by all reactors, behind a lock that the data path never takes: it is for Connect, for admin commands, and for
//! the control thread that applies a layout. What commands of I/O queues look at lies with each reactor's
//! [`Engine`](crate::shard::engine::Engine). Plan and controllers are under one lock, so that no controller is made by
//! a plan that is gone.

pub(crate) mod aborts;
pub(crate) mod controller;
pub(crate) mod events;
pub(crate) mod usage;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use machine::clock::{Coarse, Fine};
use machine::reactor::Sender;
use machine::ring::Waker;
use wire::nvme::reservation::Notification;

use crate::connection::placing::Arrival;
use crate::layout::plan::Plan;
use crate::limits::CONTROLLERS;
use crate::reservation::HostId;
use crate::reservation::desk::{Desk, Event};
use controller::{Controller, NewController};
use usage::TotalUsage;

/// A running target.
pub struct Target {
    state: Mutex<State>,
    /// Counts what connections have to look at without waiting for their next tick.
    alerts: AtomicU64,
    /// What wakes the reactors.
    wakers: OnceLock<Vec<Waker>>,
    /// The way for connections to each reactor.
    reactors: OnceLock<Vec<Sender<Arrival>>>,
    /// Admin queues and I/O queues dealt out so far.
    dealt: [AtomicUsize; 2],
    /// The reservations of all namespaces.
    pub reservations: Desk,
    stopped: AtomicBool,
    started: Coarse,
    /// What peers did, for operators.
    pub counters: Counters,
    /// What hosts have read and written.
    pub usage: TotalUsage,
}

#[derive(Default)]
struct State {
    plan: Arc<Plan>,
    controllers: Table,
    /// Associations that are over, while devices may still have requests of them.
    ending: Vec<Arc<Controller>>,
}

/// Controllers by their ID.
#[derive(Default)]
struct Table {
    by_id: BTreeMap<u16, Arc<Controller>>,
    last_id: u16,
}

/// Rare events, counted by all reactors.
#[derive(Default, Debug)]
pub struct Counters {
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections ended because of a protocol error of the peer.
    pub protocol_errors: AtomicU64,
    /// Connections that did not finish their handshake in time.
    pub handshake_timeouts: AtomicU64,
    /// Controllers torn down because keep-alives stayed out.
    pub keep_alive_timeouts: AtomicU64,
    /// Connections ended because the peer stopped reading or sending.
    pub stalled: AtomicU64,
    /// Connect commands refused.
    pub refused_connects: AtomicU64,
    /// Commands answered with an error.
    pub failed_commands: AtomicU64,
}

impl Counters {
    /// One more.
    pub(crate) fn bump(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The highest controller ID that may be given out (NVMe-oF: FFF0h and above are reserved).
const LAST_CONTROLLER_ID: u16 = 0xffef;

/// Why there is no controller for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The subsystem has gone meanwhile.
    NoSubsystem,
    /// The host is not allowed to use it.
    Host,
    /// Devices may still have requests of the host's last association: writes of it could hit those of the next one.
    Settling,
    /// There are as many controllers as there can be.
    TooMany,
}

impl Target {
    /// A target that serves nothing yet.
    ///
    /// With it, what the keeper of its reservations listens to.
    pub(crate) fn new() -> (Arc<Self>, Receiver<Event>) {
        let (reservations, events) = Desk::new();
        let target = Arc::new(Self {
            state: Mutex::default(),
            alerts: AtomicU64::new(0),
            wakers: OnceLock::new(),
            reactors: OnceLock::new(),
            // The first reactor accepts: I/O queues begin with the second.
            dealt: [AtomicUsize::new(0), AtomicUsize::new(1)],
            reservations,
            stopped: AtomicBool::new(false),
            started: Fine::now().coarse(),
            counters: Counters::default(),
            usage: TotalUsage::default(),
        });
        (target, events)
    }

    /// What is served now.
    #[must_use]
    pub fn plan(&self) -> Arc<Plan> {
        self.state().plan.clone()
    }

    /// When the target was made.
    #[must_use]
    pub fn started(&self) -> Coarse {
        self.started
    }

    /// Where the target listens.
    #[must_use]
    pub fn listeners(&self) -> Vec<SocketAddr> {
        self.plan().listeners()
    }

    /// Serves by `plan` from now on. The number of controllers that ended: their subsystem has gone, or their host is
    /// not allowed any more.
    pub(crate) fn install(&self, plan: Arc<Plan>) -> usize {
        let mut state = self.state();
        let lost = |controller: &&Arc<Controller>| match controller.subsystem {
            Some(id) => plan.by_id(id).is_none_or(|subsystem| !subsystem.hosts().allow(&controller.host_nqn)),
            None => false,
        };
        let lost: Vec<_> = state.controllers.by_id.values().filter(lost).cloned().collect();
        lost.iter().for_each(|controller| controller.end());
        state.plan = plan;
        drop(state);
        self.alert();
        lost.len()
    }

    /// Makes a controller for a host, for its subsystem or for discovery.
    pub(crate) fn create_controller(&self, new: NewController) -> Result<Arc<Controller>, Denied> {
        let mut state = self.state();
        if let Some(id) = new.subsystem {
            let subsystem = state.plan.by_id(id).ok_or(Denied::NoSubsystem)?;
            if !subsystem.hosts().allow(&new.host_nqn) {
                return Err(Denied::Host);
            }
        }
        let state = &mut *state;
        state.ending.retain(|controller| !controller.is_settled());
        let ended = state.controllers.by_id.values().filter(|controller| controller.has_ended());
        let mut old = ended.chain(&state.ending);
        if old.any(|old| old.is_of(&new) && !old.is_settled()) {
            return Err(Denied::Settling);
        }
        // A host may have several controllers. One whose connection the host has closed before may not be seen as such
        // yet, on another reactor: that one is waited for. Of a host that is gone without a word nobody knows before
        // its keep-alives stay out; a host that comes again has to wait for that itself.
        let mut alive = state.controllers.by_id.values().filter(|controller| !controller.has_ended());
        if alive.any(|old| old.is_of(&new) && old.may_have_ended(new.asked)) {
            self.alert();
            return Err(Denied::Settling);
        }
        let table = &mut state.controllers;
        if table.by_id.len() >= CONTROLLERS {
            return Err(Denied::TooMany);
        }
        let mut id = table.last_id;
        loop {
            id = if id >= LAST_CONTROLLER_ID { 1 } else { id + 1 };
            if !table.by_id.contains_key(&id) {
                break;
            }
        }
        table.last_id = id;
        let controller = Arc::new(Controller::new(id, new));
        table.by_id.insert(id, controller.clone());
        Ok(controller)
    }

    /// Notes what has happened to the reservation of a namespace, for all controllers of a host.
    pub(crate) fn notify(&self, namespace: u32, host: &HostId, what: Notification) {
        let state = self.state();
        let found = state.plan.namespaces().find(|(_, _, served)| served.id == namespace);
        let Some((subsystem, nsid, _)) = found else { return };
        for controller in state.controllers.by_id.values() {
            if controller.subsystem == Some(subsystem.id) && controller.host_id == *host {
                controller.notify(nsid, what);
            }
        }
    }

    /// The reactors have ended.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.reservations.send(Event::Stop);
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// The controller with this ID, if it is there.
    pub(crate) fn controller(&self, id: u16) -> Option<Arc<Controller>> {
        self.state().controllers.by_id.get(&id).cloned()
    }

    /// Forgets a controller whose association has ended.
    pub(crate) fn remove_controller(&self, id: u16) {
        let mut state = self.state();
        let Some(controller) = state.controllers.by_id.remove(&id) else { return };
        controller.end();
        if !controller.is_settled() {
            state.ending.push(controller);
            drop(state);
            self.alert();
        }
    }

    /// The reactors that look after alerts.
    pub(crate) fn set_wakers(&self, wakers: Vec<Waker>) {
        assert!(self.wakers.set(wakers).is_ok(), "the reactors are started once");
    }

    /// The reactors that connections are dealt out to.
    pub(crate) fn set_reactors(&self, reactors: Vec<Sender<Arrival>>) {
        assert!(self.reactors.set(reactors).is_ok(), "the reactors are started once");
    }

    /// The reactor that is to have a queue: admin queues and I/O queues go to them in turns of their own. `None`: there
    /// is only one.
    pub(crate) fn deal(&self, qid: u16) -> Option<usize> {
        let reactors = self.reactors.get()?.len();
        Some(self.dealt[usize::from(qid > 0)].fetch_add(1, Ordering::Relaxed) % reactors)
    }

    /// Gives a connection to a reactor. Whether that has room for it; if not, the connection is closed.
    pub(crate) fn hand_over(&self, reactor: usize, arrival: Arrival) -> bool {
        self.reactors.get().is_some_and(|reactors| reactors[reactor].send(arrival).is_ok())
    }

    /// Has all connections look at their controllers now: one has ended, was reset, or has nothing left at devices.
    pub(crate) fn alert(&self) {
        self.alerts.fetch_add(1, Ordering::Release);
        self.wakers.get().into_iter().flatten().for_each(Waker::wake);
    }

    /// Another number after each [`Target::alert`].
    pub(crate) fn alerts(&self) -> u64 {
        self.alerts.load(Ordering::Acquire)
    }

    /// Controllers that hosts have now.
    #[must_use]
    pub fn controller_count(&self) -> usize {
        self.state().controllers.by_id.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
