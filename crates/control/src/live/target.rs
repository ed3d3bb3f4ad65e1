//! A target that follows its configuration.

use std::collections::BTreeMap;

use machine::ring::RingKind;
use nvmf::{ApplyError, Changes, Layout, Referral, Server, StartError};

use super::devices::Devices;
use super::{cannot_listen, only_by_restart, options};
use crate::config::{Config, Hosts, Machine, Problem, Source};

/// See the module.
pub(super) struct Target {
    pub(super) server: Server,
    devices: Devices,
    source: Source,
}

impl Target {
    /// Opens what `config` names and serves it. When this returns, hosts can connect.
    ///
    /// # Errors
    /// Everything that keeps it from being served, in the words of `source`.
    pub(super) fn start(config: &Config, source: Source) -> Result<Self, Vec<Problem>> {
        let options = options::target(config)?;
        if matches!(options.ring, RingKind::Uring | RingKind::Iocp) {
            // Known before anything is opened, and with its reason.
            options.ring.choose().map_err(|none| vec![Problem::new("ring", none.why, none.hint)])?;
        }
        let devices = Devices::default().next(config, source)?;
        let server = Server::start(&layout(config, &devices), &options).map_err(|error| match error {
            StartError::Apply(error) => vec![refused(config, &error, source)],
            error @ StartError::Reactor(_) => vec![Problem::new("reactors", error.to_string(), REACTOR_HINT)],
        })?;
        Ok(Self { server, devices, source })
    }

    /// Serves `config` from now on, and tells what is different.
    ///
    /// # Errors
    /// Everything that is in the way. Nothing is different then, but for a file that was made or made longer already.
    pub(super) fn change(&mut self, config: &Config) -> Result<Changes, Vec<Problem>> {
        let devices = self.devices.next(config, self.source)?;
        devices.refresh(config)?;
        let layout = layout(config, &devices);
        let changes = self.server.apply(&layout).map_err(|error| vec![refused(config, &error, self.source)])?;
        self.devices = devices;
        Ok(changes)
    }
}

const REACTOR_HINT: &str = "Fewer reactors need fewer threads, files and less locked memory.";

/// What the configuration amounts to, with its devices.
fn layout(config: &Config, devices: &Devices) -> Layout {
    let subsystems = config.subsystems.iter().zip(&devices.0).map(|(subsystem, open)| {
        let numbered = subsystem.namespaces.iter().zip(open);
        let namespaces: BTreeMap<_, _> =
            numbered.map(|(namespace, open)| (namespace.nsid, open.device.clone())).collect();
        let nqn = match (&subsystem.nqn, namespaces.first_key_value()) {
            (Some(nqn), _) => nqn.as_str().to_owned(),
            (None, Some((_, first))) => format!("nqn.2014-08.org.nvmexpress:uuid:{}", first.info().identity.uuid),
            (None, None) => unreachable!("a subsystem without a name comes from flags, which name a device"),
        };
        let hosts = match &subsystem.hosts {
            Hosts::Unsaid | Hosts::Any => nvmf::Hosts::Any,
            Hosts::Listed(list) => nvmf::Hosts::Listed(list.iter().map(|nqn| nqn.as_str().to_owned()).collect()),
        };
        nvmf::Subsystem { nqn, hosts, namespaces, in_capsule_bytes: config.in_capsule_bytes }
    });
    Layout {
        subsystems: subsystems.collect(),
        listen: config.listeners.clone(),
        referrals: config.referrals.iter().map(|&address| Referral { address }).collect(),
    }
}

/// What was changed that only a new start can change.
pub(super) fn unchangeable(old: &Machine, new: &Machine) -> Vec<Problem> {
    let count = |reactors: Option<usize>| reactors.map_or("as many as are useful".to_owned(), |n| n.to_string());
    only_by_restart([
        ("reactors", count(old.reactors), count(new.reactors)),
        ("cpus", format!("{:?}", old.cpus), format!("{:?}", new.cpus)),
        ("dedicated", old.dedicated.to_string(), new.dedicated.to_string()),
        ("ring", old.ring.to_string(), new.ring.to_string()),
    ])
}

/// Why the target did not take the layout, as a problem with a field.
fn refused(config: &Config, error: &ApplyError, source: Source) -> Problem {
    match error {
        ApplyError::Listen(address, error) => {
            let index = config.listeners.iter().position(|listener| listener == address).unwrap_or(0);
            let free = format!("--listen {}:0", address.ip());
            cannot_listen(&format!("listener[{index}].address"), &free, *address, error, source)
        }
        ApplyError::Layout(_) | ApplyError::Device(..) => {
            Problem::new("subsystem", error.to_string(), "The target cannot serve that: change it.")
        }
        ApplyError::Reservations(_) => Problem::new(
            "subsystem",
            error.to_string(),
            "Hosts may rely on what that file says: restore it, or remove it once no host does.",
        ),
        ApplyError::Ended => Problem::new("", error.to_string(), "This is a bug; restart qpair and report it."),
    }
}
