//! What is different between two plans: for operators, and for the hosts that are told.

use std::net::SocketAddr;

use crate::layout::plan::{Namespace, Plan, Served};

/// What a new layout has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// NQNs of subsystems that came.
    pub subsystems_added: Vec<String>,
    /// NQNs of subsystems that went.
    pub subsystems_removed: Vec<String>,
    /// Namespaces that came, those of new subsystems included.
    pub namespaces_added: Vec<Changed>,
    /// Namespaces that went.
    pub namespaces_removed: Vec<Changed>,
    /// Namespaces whose device has another size than hosts were told.
    pub namespaces_resized: Vec<Changed>,
    /// Addresses that are listened on now.
    pub listeners_added: Vec<SocketAddr>,
    /// Addresses that are not listened on any more. Connections that came through them stay.
    pub listeners_removed: Vec<SocketAddr>,
    /// Whether the discovery log is another one: subsystems, who may use them, listeners, referrals.
    pub discovery_log: bool,
    /// Controllers that lost their subsystem, or whose host is not allowed any more.
    pub controllers_ended: usize,
    /// Whether devices still had requests for namespaces that went after [`crate::limits::DRAIN`]. Such a device is
    /// closed when the target stops.
    pub draining: bool,
    /// Devices that went and could not be closed cleanly, and why.
    pub close_errors: Vec<String>,
}

/// A namespace that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// NQN of its subsystem.
    pub nqn: String,
    /// Its ID.
    pub nsid: u32,
    /// What its device is called.
    pub device: String,
    /// Its subsystem's number.
    pub(crate) subsystem: u32,
}

impl Changed {
    fn new((subsystem, nsid, namespace): (&Served, u32, &Namespace)) -> Self {
        let device = namespace.device.info().name.clone();
        Self { nqn: subsystem.nqn().to_owned(), nsid, device, subsystem: subsystem.id }
    }
}

impl Changes {
    /// Whether nothing is different.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is different in `new`.
    pub(crate) fn between(old: &Plan, new: &Plan) -> Self {
        let names = |these: &Plan, without: &Plan| -> Vec<String> {
            let gone = these.subsystems().iter().filter(|subsystem| without.by_id(subsystem.id).is_none());
            gone.map(|subsystem| subsystem.nqn().to_owned()).collect()
        };
        let namespaces = |these: &Plan, without: &Plan| -> Vec<Changed> {
            let gone = these.namespaces().filter(|(_, _, namespace)| !without.has_namespace(namespace.id));
            gone.map(Changed::new).collect()
        };
        let addresses = |these: &Plan, without: &Plan| -> Vec<SocketAddr> {
            let gone = these.listeners.iter().filter(|listening| !without.listeners.contains(listening));
            gone.map(|listening| listening.bound).collect()
        };
        let resized = new.namespaces().filter(|(_, _, now)| {
            old.namespaces().any(|(_, _, before)| before.id == now.id && before.blocks != now.blocks)
        });
        Self {
            subsystems_added: names(new, old),
            subsystems_removed: names(old, new),
            namespaces_added: namespaces(new, old),
            namespaces_removed: namespaces(old, new),
            namespaces_resized: resized.map(Changed::new).collect(),
            listeners_added: addresses(new, old),
            listeners_removed: addresses(old, new),
            discovery_log: old.generation != new.generation,
            ..Self::default()
        }
    }

    /// The IDs of this subsystem's namespaces that came, went or have another size.
    pub(crate) fn namespaces_of(&self, subsystem: u32) -> impl Iterator<Item = u32> {
        let all = [&self.namespaces_added, &self.namespaces_removed, &self.namespaces_resized];
        all.into_iter().flatten().filter(move |changed| changed.subsystem == subsystem).map(|changed| changed.nsid)
    }
}
