//! What a target serves at one time, and how that follows from a [`Layout`] and what was served before.
//!
//! ```text
//!   Plan ──▶ Served (a subsystem) ──▶ Namespace ──▶ a Device
//!    └── where it listens, referrals, generation of the discovery log
//! ```
//!
//! A plan never changes; another one takes its place. Subsystems and namespaces have numbers that are never used again,
//! so that whoever remembers one can tell whether it is still the same.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use block::Device;

use crate::layout::{Hosts, Layout, Referral, Subsystem};

/// See the module.
#[derive(Default)]
pub struct Plan {
    subsystems: Vec<Arc<Served>>,
    /// As they were asked for, and as they were bound.
    pub(crate) listeners: Vec<Listening>,
    pub(crate) referrals: Vec<Referral>,
    /// Counts the changes of the discovery log.
    pub(crate) generation: u64,
    /// The last number that was given to a subsystem or a namespace.
    last_id: u32,
}

/// An address that is listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listening {
    /// As it was asked for.
    pub(crate) wanted: SocketAddr,
    /// With the port that was bound.
    pub(crate) bound: SocketAddr,
}

/// A subsystem that is served.
pub struct Served {
    /// Never the number of another subsystem.
    pub(crate) id: u32,
    nqn: String,
    serial: String,
    hosts: Hosts,
    in_capsule_bytes: u32,
    namespaces: BTreeMap<u32, Namespace>,
}

/// A namespace that is served.
#[derive(Clone)]
pub struct Namespace {
    /// Never the number of another namespace.
    pub(crate) id: u32,
    /// Its device.
    pub device: Arc<dyn Device>,
    /// Its size in logical blocks, as hosts were told.
    pub blocks: u64,
}

impl Served {
    /// The subsystem's NQN.
    #[must_use]
    pub fn nqn(&self) -> &str {
        &self.nqn
    }

    /// The serial number that Identify Controller states: the same whenever the NQN is.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The hosts that may connect.
    #[must_use]
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Most in-capsule data of an I/O queue, in bytes.
    #[must_use]
    pub fn in_capsule_bytes(&self) -> u32 {
        self.in_capsule_bytes
    }

    /// The namespaces by ID.
    #[must_use]
    pub fn namespaces(&self) -> &BTreeMap<u32, Namespace> {
        &self.namespaces
    }

    /// The device of a namespace.
    #[must_use]
    pub fn device(&self, nsid: u32) -> Option<&Arc<dyn Device>> {
        self.namespaces.get(&nsid).map(|namespace| &namespace.device)
    }
}

impl Plan {
    /// The subsystems, in the order of the layout.
    #[must_use]
    pub fn subsystems(&self) -> &[Arc<Served>] {
        &self.subsystems
    }

    /// The subsystem of this name.
    #[must_use]
    pub fn subsystem(&self, nqn: &str) -> Option<&Arc<Served>> {
        self.subsystems.iter().find(|subsystem| subsystem.nqn == nqn)
    }

    /// The subsystem of this number.
    pub(crate) fn by_id(&self, id: u32) -> Option<&Arc<Served>> {
        self.subsystems.iter().find(|subsystem| subsystem.id == id)
    }

    /// Where the target listens.
    #[must_use]
    pub fn listeners(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|listening| listening.bound).collect()
    }

    /// The namespaces of all subsystems, with their IDs.
    pub fn namespaces(&self) -> impl Iterator<Item = (&Served, u32, &Namespace)> {
        self.subsystems.iter().flat_map(|subsystem| {
            subsystem.namespaces.iter().map(move |(nsid, namespace)| (&**subsystem, *nsid, namespace))
        })
    }

    /// Whether the namespace of this number is served.
    pub(crate) fn has_namespace(&self, id: u32) -> bool {
        self.namespaces().any(|(_, _, namespace)| namespace.id == id)
    }

    /// The plan for `layout`, which was checked, after this one: what is the same keeps its number.
    pub(crate) fn next(&self, layout: &Layout) -> Self {
        let mut last_id = self.last_id;
        let mut number = |known: Option<u32>| {
            known.unwrap_or_else(|| {
                last_id += 1;
                last_id
            })
        };
        let subsystems = layout.subsystems.iter().map(|wanted| self.serve(wanted, &mut number)).collect();
        Self {
            subsystems,
            listeners: Vec::new(),
            referrals: layout.referrals.clone(),
            generation: self.generation,
            last_id,
        }
    }

    /// Counts a change of the discovery log, if there is one to what `old` had.
    pub(crate) fn count_change(&mut self, old: &Self) {
        let names = |plan: &Self| -> Vec<_> {
            plan.subsystems.iter().map(|subsystem| (subsystem.id, subsystem.hosts.clone())).collect()
        };
        let same = self.listeners == old.listeners && self.referrals == old.referrals && names(self) == names(old);
        self.generation += u64::from(!same);
    }

    fn serve(&self, wanted: &Subsystem, number: &mut impl FnMut(Option<u32>) -> u32) -> Arc<Served> {
        let before = self.subsystem(&wanted.nqn);
        let namespaces = wanted.namespaces.iter().map(|(&nsid, device)| {
            let known = before.and_then(|before| before.namespaces.get(&nsid));
            let known = known.filter(|known| Arc::ptr_eq(&known.device, device));
            let id = number(known.map(|known| known.id));
            (nsid, Namespace { id, device: device.clone(), blocks: device.blocks() })
        });
        let namespaces = namespaces.collect();
        Arc::new(Served {
            id: number(before.map(|before| before.id)),
            nqn: wanted.nqn.clone(),
            serial: serial_number(&wanted.nqn),
            hosts: wanted.hosts.clone(),
            in_capsule_bytes: wanted.in_capsule_bytes,
            namespaces,
        })
    }
}

/// 20 characters that follow from the NQN (FNV-1a, 64 bits): two paths to one subsystem show the same serial number.
fn serial_number(nqn: &str) -> String {
    let hash = nqn
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("QP{hash:016X}")
}
