//! A target that follows its configuration.
//!
//! ```text
//!   file ▶ load ▶ Config ▶ rules ▶ open new devices ▶ listen for metrics ▶ look at old devices ▶ Server::apply
//!           │                │             │                   │                   │                  │
//!           └────────────────┴─────────────┴───────────────────┴───────────────────┘                  ▼
//!              a mistake: nothing is different, all of them are told          hosts are told, what went is closed
//! ```
//!
//! I/O to what did not change goes on meanwhile. What the reactors are made of cannot change while they run.

mod devices;
mod options;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use machine::ring::RingKind;
use nvmf::{ApplyError, Changes, Layout, Referral, Server, StartError};

use self::devices::Devices;
use crate::config::{Config, Hosts, Machine, Problem, Source};
use crate::metrics::{Metrics, Sources};

/// See the module.
pub struct Live {
    server: Server,
    config: Config,
    devices: Devices,
    metrics: Option<Metrics>,
    source: Source,
}

impl Live {
    /// Opens what `config` names and serves it. When this returns, hosts can connect.
    ///
    /// # Errors
    /// Everything that keeps it from being served, in the words of `source`.
    pub fn start(config: Config, source: Source) -> Result<Self, Vec<Problem>> {
        let options = options::options(&config.machine)?;
        if options.ring == RingKind::Uring {
            // Known before anything is opened, and with its reason.
            options.ring.choose().map_err(|none| vec![Problem::new("ring", none.why, none.hint)])?;
        }
        let devices = Devices::default().next(&config, source)?;
        let server = Server::start(&layout(&config, &devices), &options).map_err(|error| match error {
            StartError::Apply(error) => vec![refused(&config, &error, source)],
            error @ StartError::Reactor(_) => vec![Problem::new("reactors", error.to_string(), REACTOR_HINT)],
        })?;
        let metrics = metrics(config.metrics, &server, source)?;
        Ok(Self { server, config, devices, metrics, source })
    }

    /// Serves `config` from now on, and tells what is different.
    ///
    /// # Errors
    /// Everything that is in the way. Nothing is different then, but for a file that was made or made longer already.
    pub fn change(&mut self, config: Config) -> Result<Changes, Vec<Problem>> {
        unchangeable(&self.config.machine, &config.machine)?;
        let devices = self.devices.next(&config, self.source)?;
        let moved = self.config.metrics != config.metrics;
        let metrics = if moved { metrics(config.metrics, &self.server, self.source)? } else { None };
        devices.refresh(&config)?;
        let layout = layout(&config, &devices);
        let changes = self.server.apply(&layout).map_err(|error| vec![refused(&config, &error, self.source)])?;
        if moved {
            self.metrics = metrics;
        }
        (self.config, self.devices) = (config, devices);
        Ok(changes)
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// What is served.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where metrics are served, if they are.
    #[must_use]
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(Metrics::address)
    }

    /// Ends the metrics and gives the server away, to be stopped.
    #[must_use]
    pub fn into_server(self) -> Server {
        self.server
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

/// Serves metrics where somebody wants them.
fn metrics(wanted: Option<SocketAddr>, server: &Server, source: Source) -> Result<Option<Metrics>, Vec<Problem>> {
    let Some(address) = wanted else { return Ok(None) };
    let started = Metrics::start(address, Sources { target: Some(server.observer()), cache: None });
    started.map(Some).map_err(|error| vec![cannot_listen("metrics", "--metrics", address, &error, source)])
}

/// What was changed that only a new start can change.
fn unchangeable(old: &Machine, new: &Machine) -> Result<(), Vec<Problem>> {
    let count = |reactors: Option<usize>| reactors.map_or("as many as are useful".to_owned(), |n| n.to_string());
    let fields = [
        ("reactors", count(old.reactors), count(new.reactors)),
        ("cpus", format!("{:?}", old.cpus), format!("{:?}", new.cpus)),
        ("dedicated", old.dedicated.to_string(), new.dedicated.to_string()),
        ("ring", old.ring.to_string(), new.ring.to_string()),
    ];
    let changed = fields.into_iter().filter(|(_, old, new)| old != new).map(|(field, old, new)| {
        let why = format!("it is {old}, and becomes {new} only by a restart");
        Problem::new(field, why, "Restart qpair for it, or take the change back to reload the rest.")
    });
    let problems: Vec<Problem> = changed.collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Why the target did not take the layout, as a problem with a field.
fn refused(config: &Config, error: &ApplyError, source: Source) -> Problem {
    match error {
        ApplyError::Listen(address, error) => {
            let index = config.listeners.iter().position(|listener| listener == address).unwrap_or(0);
            cannot_listen(&format!("listener[{index}].address"), "--listen", *address, error, source)
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

fn cannot_listen(field: &str, flag: &str, address: SocketAddr, error: &io::Error, source: Source) -> Problem {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            let any = match source {
                Source::Flags => format!("any free port with {flag} {}:0", address.ip()),
                Source::File => "another port; 0 is any free one".to_owned(),
            };
            format!("Another program uses the port, perhaps another qpair: stop it, or take {any}.")
        }
        io::ErrorKind::AddrNotAvailable => "No interface of this machine has the address.".to_owned(),
        io::ErrorKind::PermissionDenied => "Ports below 1024 need privileges; choose a higher one.".to_owned(),
        _ => "Choose another address.".to_owned(),
    };
    Problem::new(field, format!("cannot listen on {address}: {error}"), hint)
}
