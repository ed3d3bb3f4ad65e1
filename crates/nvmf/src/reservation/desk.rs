//! Where reservations are asked for and looked up: shared by all reactors, and never touched by reads and writes.
//!
//! ```text
//!   reactors ── Job ──▶ Desk ──▶ Keeper (a thread) ── Ruling::Access ──▶ every reactor: cuts, drains
//!                        ▲            └────────────── Ruling::Answer ──▶ the one that asked
//!                        └──────────────── Drained ──────────────────── every reactor
//! ```

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Access, Command, HostId, Reservations, Store, StoreError};
use crate::layout::plan::Plan;
use crate::shard::engine::Owner;
use wire::nvme::Status;

/// What is asked of the keeper.
pub(crate) enum What {
    /// A reservation command of a host.
    Command(HostId, Command),
    /// Set Features 83h, for the namespace and for those that follow it.
    Persist(bool, Vec<u32>),
}

/// Something that is to be changed.
pub(crate) struct Job {
    /// The reactor that asks, and the command that waits there.
    pub(crate) asker: (usize, Owner),
    /// The number of the plan's namespace.
    pub(crate) namespace: u32,
    pub(crate) what: What,
}

/// What the keeper hears.
pub(crate) enum Event {
    Asked(Job),
    /// A reactor goes by the access of this change, and nothing of those who lost theirs is at the device.
    Drained {
        change: u64,
    },
    /// The reactors have ended.
    Stop,
}

/// What the keeper tells a reactor.
pub(crate) enum Ruling {
    /// Who may do what in a namespace from now on.
    Access(Arc<Fence>),
    /// The end of a command that asked.
    Answer(Owner, Status),
}

/// A new access that every reactor has to go by before the change is answered.
pub(crate) struct Fence {
    pub(crate) change: u64,
    pub(crate) namespace: u32,
    pub(crate) access: Access,
    /// Hosts whose commands are to be aborted.
    pub(crate) fenced: Vec<HostId>,
}

impl Fence {
    /// Whether this host has lost something: its commands at the device are waited for.
    pub(crate) fn hits(&self, host: &HostId) -> bool {
        !self.access.allows(host, super::Group::Write) || self.fenced.contains(host)
    }
}

/// The reservations of a namespace that is served.
pub(super) struct Entry {
    pub(super) state: Arc<Reservations>,
    pub(super) store: Option<Store>,
}

/// See the module.
pub struct Desk {
    table: Mutex<BTreeMap<u32, Entry>>,
    events: Sender<Event>,
}

impl Desk {
    /// A desk, and what its keeper listens to.
    pub(crate) fn new() -> (Self, Receiver<Event>) {
        let (events, heard) = channel();
        (Self { table: Mutex::default(), events }, heard)
    }

    /// Has the reservations of every namespace of a plan that is about to be served. Blocks: for control threads.
    ///
    /// # Errors
    /// Reservations that were kept and cannot be read.
    pub(crate) fn open(&self, plan: &Plan) -> Result<(), StoreError> {
        for (_, _, namespace) in plan.namespaces() {
            if self.table().contains_key(&namespace.id) {
                continue;
            }
            let device = &namespace.device;
            let entry = match device.sidecar("reservations") {
                None => Entry { state: Arc::new(Reservations::new(false)), store: None },
                Some(path) => match Store::open(&path, device.info().identity.uuid) {
                    Ok((store, state)) => Entry { state: Arc::new(state), store: Some(store) },
                    Err(error @ StoreError::NoPlace { .. }) => {
                        tracing::info!("{error}: they do not persist through a loss of power");
                        Entry { state: Arc::new(Reservations::new(false)), store: None }
                    }
                    Err(error) => return Err(error),
                },
            };
            self.table().insert(namespace.id, entry);
        }
        Ok(())
    }

    /// Forgets the namespaces that `plan` does not have.
    pub(crate) fn retire(&self, plan: &Plan) {
        self.table().retain(|id, _| plan.has_namespace(*id));
    }

    /// The reservations of a namespace as they were answered last.
    pub(crate) fn state(&self, namespace: u32) -> Option<Arc<Reservations>> {
        self.table().get(&namespace).map(|entry| entry.state.clone())
    }

    /// Tells the keeper.
    pub(crate) fn send(&self, event: Event) {
        // Without a keeper the target has ended, and so will who asks.
        let _ = self.events.send(event);
    }

    pub(super) fn table(&self) -> MutexGuard<'_, BTreeMap<u32, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
