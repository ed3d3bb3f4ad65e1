//! What a target is to serve, as one value: control code describes all of it, [`crate::Server::apply`] finds the
//! difference to what is served now.
//!
//! Subsystems are told apart by their NQN, namespaces by their ID and their device (the same `Arc`), listeners by the
//! address that was asked for. What is equal is not touched.

pub(crate) mod apply;
pub(crate) mod changes;
pub(crate) mod order;
pub(crate) mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use block::Device;
use wire::nvme::{Nqn, NqnError};

use crate::limits::{
    IN_CAPSULE_DEFAULT_BYTES, IN_CAPSULE_MAX_BYTES, LAST_NSID, LISTENERS, NAMESPACES, REFERRALS, SUBSYSTEMS,
};

/// All that a target serves.
#[derive(Clone, Default)]
pub struct Layout {
    /// The subsystems; each is reached through every listener.
    pub subsystems: Vec<Subsystem>,
    /// Addresses to listen on; port 0 is any free port.
    pub listen: Vec<SocketAddr>,
    /// Other discovery services, which the discovery log names.
    pub referrals: Vec<Referral>,
}

/// An NVM subsystem: namespaces, and who may use them.
#[derive(Clone)]
pub struct Subsystem {
    /// Its NQN.
    pub nqn: String,
    /// Who may connect.
    pub hosts: Hosts,
    /// The devices by namespace ID, 1 to [`LAST_NSID`]; there may be gaps.
    pub namespaces: BTreeMap<u32, Arc<dyn Device>>,
    /// Most bytes of in-capsule data on an I/O queue: a multiple of 16, up to [`IN_CAPSULE_MAX_BYTES`]. A change holds
    /// for controllers that are made later.
    pub in_capsule_bytes: u32,
}

impl Subsystem {
    /// A subsystem for anyone who reaches it, with the default in-capsule size; the first device is namespace 1.
    #[must_use]
    pub fn new(nqn: impl Into<String>, devices: Vec<Arc<dyn Device>>) -> Self {
        let namespaces = (1..).zip(devices).collect();
        Self { nqn: nqn.into(), hosts: Hosts::Any, namespaces, in_capsule_bytes: IN_CAPSULE_DEFAULT_BYTES }
    }
}

/// The hosts that may connect to a subsystem. Discovery is open to all who reach a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Another discovery service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Referral {
    /// Where it is reached by NVMe/TCP.
    pub address: SocketAddr,
}

/// Why a layout cannot be served. Whoever reads what users write finds these before, with a better place for each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Two subsystems have the same name.
    #[error("there are two subsystems {0}")]
    SameNqn(String),
    /// The name cannot be one.
    #[error("{0:?} cannot be the NQN of a subsystem: {1}")]
    Nqn(String, NqnError),
    /// The discovery service has this name on every target.
    #[error("the NQN of a subsystem cannot be that of discovery services")]
    DiscoveryNqn,
    /// The namespace ID is 0 or beyond [`LAST_NSID`].
    #[error("namespace ID {nsid} of {nqn}: IDs are from 1 to {LAST_NSID}")]
    Nsid {
        /// The subsystem.
        nqn: String,
        /// The ID.
        nsid: u32,
    },
    /// One device would be two namespaces; hosts could not tell that their blocks are the same.
    #[error("{0} is there twice; a device is one namespace of one subsystem")]
    SameDevice(String),
    /// The in-capsule size is not one.
    #[error("in-capsule data of {0} bytes: it has to be a multiple of 16 up to {IN_CAPSULE_MAX_BYTES}")]
    InCapsule(u32),
    /// An address is there twice.
    #[error("{0} is listed twice among the listeners")]
    SameListener(SocketAddr),
    /// No host can connect to such an address.
    #[error("a referral to {0} leads nowhere")]
    Referral(SocketAddr),
    /// There is a limit.
    #[error("{count} {what}, there can be {most}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// The limit.
        most: usize,
    },
}

impl Layout {
    /// Whether it can be served, as far as that can be known without trying.
    ///
    /// # Errors
    /// The first thing that cannot be.
    pub fn check(&self) -> Result<(), LayoutError> {
        let namespaces = self.subsystems.iter().map(|subsystem| subsystem.namespaces.len()).sum();
        for (what, count, most) in [
            ("subsystems", self.subsystems.len(), SUBSYSTEMS),
            ("namespaces", namespaces, NAMESPACES),
            ("listeners", self.listen.len(), LISTENERS),
            ("referrals", self.referrals.len(), REFERRALS),
        ] {
            if count > most {
                return Err(LayoutError::TooMany { what, count, most });
            }
        }
        let (mut names, mut devices) = (BTreeSet::new(), BTreeSet::new());
        for subsystem in &self.subsystems {
            subsystem.check()?;
            if !names.insert(&subsystem.nqn) {
                return Err(LayoutError::SameNqn(subsystem.nqn.clone()));
            }
            for device in subsystem.namespaces.values() {
                if !devices.insert(Arc::as_ptr(device).cast::<()>()) {
                    return Err(LayoutError::SameDevice(device.info().name.clone()));
                }
            }
        }
        // Any free port is another one each time.
        let mut listeners = BTreeSet::new();
        if let Some(&twice) = self.listen.iter().find(|address| address.port() != 0 && !listeners.insert(**address)) {
            return Err(LayoutError::SameListener(twice));
        }
        let nowhere = |address: &SocketAddr| address.ip().is_unspecified() || address.port() == 0;
        match self.referrals.iter().map(|referral| referral.address).find(nowhere) {
            Some(address) => Err(LayoutError::Referral(address)),
            None => Ok(()),
        }
    }
}

impl Subsystem {
    fn check(&self) -> Result<(), LayoutError> {
        let nqn = Nqn::new(&self.nqn).map_err(|error| LayoutError::Nqn(self.nqn.clone(), error))?;
        if nqn.is_discovery() {
            return Err(LayoutError::DiscoveryNqn);
        }
        if let Some(&nsid) = self.namespaces.keys().find(|nsid| !(1..=LAST_NSID).contains(*nsid)) {
            return Err(LayoutError::Nsid { nqn: self.nqn.clone(), nsid });
        }
        let bytes = self.in_capsule_bytes;
        if !bytes.is_multiple_of(16) || bytes > IN_CAPSULE_MAX_BYTES {
            return Err(LayoutError::InCapsule(bytes));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::spec::{Defaults, Spec};

    fn device() -> Arc<dyn Device> {
        "null:1MiB".parse::<Spec>().expect("a device").open(&Defaults::default()).expect("it opens")
    }

    fn layout(change: impl FnOnce(&mut Layout)) -> Result<(), LayoutError> {
        let address = |text: &str| text.parse().expect("an address");
        let mut layout = Layout {
            subsystems: ["a", "b"]
                .map(|name| Subsystem::new(format!("nqn.2024-01.test:{name}"), vec![device()]))
                .into(),
            listen: ["127.0.0.1:4420", "127.0.0.1:0", "127.0.0.1:0"].map(address).into(),
            referrals: vec![Referral { address: address("192.0.2.1:8009") }],
        };
        change(&mut layout);
        layout.check()
    }

    #[test]
    fn what_cannot_be_served_is_named() {
        let first = |layout: &mut Layout| layout.subsystems[0].clone();
        assert_eq!(layout(|_| {}), Ok(()));
        assert_eq!(Layout::default().check(), Ok(()), "a target may serve nothing yet");
        let same = layout(|it| it.subsystems[1].nqn = first(it).nqn);
        assert!(matches!(same, Err(LayoutError::SameNqn(_))));
        let shared = layout(|it| it.subsystems[1].namespaces = first(it).namespaces);
        assert!(matches!(shared, Err(LayoutError::SameDevice(_))));
        assert!(matches!(layout(|it| it.subsystems[0].nqn = "disk".into()), Err(LayoutError::Nqn(..))));
        let discovery = Nqn::discovery().as_str().to_owned();
        assert_eq!(layout(|it| it.subsystems[0].nqn = discovery), Err(LayoutError::DiscoveryNqn));
        for nsid in [0, LAST_NSID + 1, u32::MAX] {
            let refused = layout(|it| drop(it.subsystems[0].namespaces.insert(nsid, device())));
            assert!(matches!(refused, Err(LayoutError::Nsid { .. })), "{nsid}");
        }
        assert_eq!(layout(|it| drop(it.subsystems[0].namespaces.insert(LAST_NSID, device()))), Ok(()));
        assert_eq!(layout(|it| it.subsystems[0].in_capsule_bytes = 8), Err(LayoutError::InCapsule(8)));
        assert!(matches!(layout(|it| it.listen[2] = it.listen[0]), Err(LayoutError::SameListener(_))));
        assert!(matches!(layout(|it| it.referrals[0].address.set_port(0)), Err(LayoutError::Referral(_))));
        let many = layout(|it| it.listen = (0..=LISTENERS as u16).map(|at| ([127, 0, 0, 1], at + 1).into()).collect());
        assert!(matches!(many, Err(LayoutError::TooMany { what: "listeners", .. })));
    }
}
