//! The target: one NVM subsystem with its namespaces, the hosts that may use it, and the controllers they have now.
//!
//! Shared by all reactors. What the data path reads here never changes after the start; the table of controllers is
//! locked, and touched only when a connection comes or goes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use block::Device;
use machine::clock::{Coarse, Fine};

use crate::controller::{Controller, NewController};
use crate::limits::{CONTROLLERS, IN_CAPSULE_DEFAULT_BYTES, IN_CAPSULE_MAX_BYTES};
use crate::usage::TotalUsage;

/// What a target serves, and to whom.
pub struct Config {
    /// The subsystem's NQN.
    pub nqn: String,
    /// The devices; the first one is namespace 1.
    pub devices: Vec<Arc<dyn Device>>,
    /// Who may connect.
    pub hosts: Hosts,
    /// Most bytes of in-capsule data on an I/O queue: a multiple of 16, up to [`IN_CAPSULE_MAX_BYTES`].
    pub in_capsule_bytes: u32,
}

impl Config {
    /// A target for anyone who reaches it, with the default in-capsule size.
    #[must_use]
    pub fn new(nqn: impl Into<String>, devices: Vec<Arc<dyn Device>>) -> Self {
        Self { nqn: nqn.into(), devices, hosts: Hosts::Any, in_capsule_bytes: IN_CAPSULE_DEFAULT_BYTES }
    }
}

/// The hosts that may connect to the subsystem. Discovery is open to all who reach the port.
#[derive(Clone, Debug)]
pub enum Hosts {
    /// Any host.
    Any,
    /// Hosts with these NQNs.
    Listed(Vec<String>),
}

impl Hosts {
    /// Whether the host with this NQN may connect.
    #[must_use]
    pub fn allow(&self, nqn: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(list) => list.iter().any(|listed| listed == nqn),
        }
    }
}

/// A running target.
pub struct Target {
    config: Config,
    serial: String,
    controllers: Mutex<Table>,
    listeners: OnceLock<Vec<SocketAddr>>,
    started: Coarse,
    /// What peers did, for operators.
    pub counters: Counters,
    /// What hosts have read and written.
    pub usage: TotalUsage,
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

impl Target {
    /// A target for `config`. It serves nobody until reactors run [`crate::Shard`]s for it.
    ///
    /// # Panics
    /// If the in-capsule size is not a multiple of 16 up to [`IN_CAPSULE_MAX_BYTES`]: the caller checks what users say.
    #[must_use]
    pub fn new(config: Config) -> Arc<Self> {
        let in_capsule = config.in_capsule_bytes;
        assert!(in_capsule.is_multiple_of(16) && in_capsule <= IN_CAPSULE_MAX_BYTES, "in-capsule size {in_capsule}");
        let serial = serial_number(&config.nqn);
        Arc::new(Self {
            config,
            serial,
            controllers: Mutex::default(),
            listeners: OnceLock::new(),
            started: Fine::now().coarse(),
            counters: Counters::default(),
            usage: TotalUsage::default(),
        })
    }

    /// The subsystem's NQN.
    #[must_use]
    pub fn nqn(&self) -> &str {
        &self.config.nqn
    }

    /// The serial number that Identify Controller states: the same whenever the NQN is.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// When the target was made.
    #[must_use]
    pub fn started(&self) -> Coarse {
        self.started
    }

    /// The hosts that may connect.
    #[must_use]
    pub fn hosts(&self) -> &Hosts {
        &self.config.hosts
    }

    /// Most in-capsule data of an I/O queue.
    #[must_use]
    pub fn in_capsule_bytes(&self) -> u32 {
        self.config.in_capsule_bytes
    }

    /// The namespaces with their IDs, in order.
    pub fn namespaces(&self) -> impl Iterator<Item = (u32, &Arc<dyn Device>)> {
        (1..).zip(&self.config.devices)
    }

    /// Number of namespaces, which is also the highest ID.
    #[must_use]
    pub fn namespace_count(&self) -> u32 {
        u32::try_from(self.config.devices.len()).expect("a command line does not hold so many devices")
    }

    /// The device of a namespace.
    #[must_use]
    pub fn device(&self, nsid: u32) -> Option<&Arc<dyn Device>> {
        self.config.devices.get(nsid.checked_sub(1)? as usize)
    }

    /// Where the target listens; set once the listeners are bound.
    pub fn set_listeners(&self, addresses: Vec<SocketAddr>) {
        let _ = self.listeners.set(addresses);
    }

    /// Where the target listens.
    #[must_use]
    pub fn listeners(&self) -> &[SocketAddr] {
        self.listeners.get().map_or(&[], Vec::as_slice)
    }

    /// Makes a controller for a host; `None` if there are too many.
    pub(crate) fn create_controller(&self, new: NewController) -> Option<Arc<Controller>> {
        let mut table = self.table();
        if table.by_id.len() >= CONTROLLERS {
            return None;
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
        Some(controller)
    }

    /// The controller with this ID, if it is there.
    pub(crate) fn controller(&self, id: u16) -> Option<Arc<Controller>> {
        self.table().by_id.get(&id).cloned()
    }

    /// Forgets a controller whose association has ended.
    pub(crate) fn remove_controller(&self, id: u16) {
        if let Some(controller) = self.table().by_id.remove(&id) {
            controller.end();
        }
    }

    /// Controllers that hosts have now.
    #[must_use]
    pub fn controller_count(&self) -> usize {
        self.table().by_id.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.controllers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 20 characters that follow from the NQN (FNV-1a, 64 bits): two paths to one subsystem show the same serial number.
fn serial_number(nqn: &str) -> String {
    let hash = nqn
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("QP{hash:016X}")
}
