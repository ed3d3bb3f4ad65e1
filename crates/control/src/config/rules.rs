//! The rules between fields: what a field by itself cannot know. The same for files and flags; only the words differ.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use block::path::Path as Way;

use super::{Cache, Config, Durability, Hosts, Namespace, Subsystem};
use crate::limits::HOSTS;
use nvmf::limits::{LISTENERS, NAMESPACES};

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The field where it shows, as in a file.
    pub field: String,
    /// Which one.
    pub rule: Rule,
}

/// What has to hold between fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Something is served: a file that was cut off must not take everything away.
    Something,
    /// A subsystem does not take the name that all discovery services have.
    NotDiscovery,
    /// What has a name or number has it for itself; the other one is named.
    Unique(&'static str, String),
    /// A file is served once, unless all are read-only: two would destroy it. The other namespace is named.
    OneServer(String),
    /// No device is reached on a way whose calls wait: the reactor would wait with them, and everybody it serves.
    NoWaiting(Way),
    /// Whoever can be reached from other machines says which hosts may connect. The address that can be reached.
    HostsSaid(SocketAddr),
    /// A cache can be reached.
    Reachable,
    /// What is about a pool has one.
    HasPool,
    /// What is kept in a pool is not volatile.
    NotVolatile,
    /// The memory of a pool is its file's.
    NoHugePool,
    /// There are enough processors in the list: processors, reactors.
    EnoughCpus(usize, usize),
    /// Limits that count over several tables: what, how many, the most.
    Most(&'static str, usize, usize),
}

/// Where a configuration comes from, and so what people have to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File,
    /// The flags of `qpair serve` or `qpair cache`.
    Flags,
}

impl Rule {
    /// What is wrong, and what to do about it.
    #[must_use]
    pub fn explain(&self, source: Source) -> (String, String) {
        let file = source == Source::File;
        let (why, hint): (String, &str) = match self {
            Self::Something => {
                let why = "there is no subsystem and no cache, so nothing would be served";
                (why.to_owned(), "Add one: [[subsystem]], or [cache].")
            }
            Self::NotDiscovery => {
                ("this is the name that all discovery services have".to_owned(), "Choose a name of your own.")
            }
            Self::Unique(what, other) if file => (format!("{other} is the same {what}"), "Take one of them out."),
            Self::Unique(what, _) => (format!("the same {what} is there twice"), "Give it once."),
            Self::OneServer(other) => (
                format!("{other} is the same file, and two that write would destroy it"),
                "Take one of them out, or make all of them read-only.",
            ),
            Self::NoWaiting(way) => {
                let why = format!("the path {way} waits for the device, and all hosts of a reactor would wait with it");
                (why, "Leave path= out, or choose one that does not wait.")
            }
            Self::HostsSaid(open) => {
                let why =
                    format!("{open} can be reached from other machines, and nothing says which hosts may connect");
                let hint = if file {
                    "Name them with hosts = [\"NQN\"] (a Linux host has its NQN in /etc/nvme/hostnqn), or write \
                     allow-any-host = true."
                } else {
                    "Name them with --allow-host NQN (a Linux host has its NQN in /etc/nvme/hostnqn), or give \
                     --allow-any-host."
                };
                (why, hint)
            }
            Self::Reachable => ("nobody could reach the cache".to_owned(), "Name an address, or take the field out."),
            Self::HasPool if file => ("there is no pool".to_owned(), "Add pool = \"FILE\", or take the field out."),
            Self::HasPool => ("there is no pool".to_owned(), "Add --pool FILE, or leave it out."),
            Self::NotVolatile => {
                let why = "the contents of a pool survive the process: they are warm or durable";
                (why.to_owned(), "Choose one of these, or leave the pool out.")
            }
            Self::NoHugePool => {
                let why = "the memory of a pool is that of its file, and not ours to choose pages for";
                (why.to_owned(), "Leave one of both out.")
            }
            Self::EnoughCpus(cpus, reactors) => {
                (format!("{cpus} processors are named for {reactors} reactors"), "Name one for each reactor.")
            }
            Self::Most(what, count, most) => (format!("{count} {what} are too many: at most {most}"), "Take some out."),
        };
        (why, hint.to_owned())
    }
}

pub(super) fn broken(config: &Config) -> Vec<Broken> {
    let mut broken = Vec::new();
    if config.subsystems.is_empty() && config.cache.is_none() {
        broken.push(Broken { field: "subsystem".to_owned(), rule: Rule::Something });
    }
    machine(config, &mut broken);
    addresses(config, &mut broken);
    names(config, &mut broken);
    hosts(config, &mut broken);
    namespaces(config, &mut broken);
    files(config, &mut broken);
    ways(config, &mut broken);
    if let Some(one) = &config.cache {
        cache(one, &mut broken);
    }
    broken
}

/// Notes every item that is equal to an earlier one.
fn unique<T: Ord>(items: impl Iterator<Item = (String, T)>, what: &'static str, broken: &mut Vec<Broken>) {
    let mut seen: BTreeMap<T, String> = BTreeMap::new();
    for (field, item) in items {
        match seen.get(&item) {
            Some(other) => broken.push(Broken { field, rule: Rule::Unique(what, other.clone()) }),
            None => drop(seen.insert(item, field)),
        }
    }
}

fn most(field: &str, what: &'static str, count: usize, most: usize, broken: &mut Vec<Broken>) {
    if count > most {
        broken.push(Broken { field: field.to_owned(), rule: Rule::Most(what, count, most) });
    }
}

/// The processors of target and cache: each has one reactor.
fn machine(config: &Config, broken: &mut Vec<Broken>) {
    let target = ("cpus", &config.machine.cpus, config.machine.reactors);
    let cache = config.cache.as_ref().map(|cache| ("cache.cpus", &cache.cpus, Some(cache.reactors)));
    let mut named = Vec::new();
    for (field, cpus, reactors) in [target].into_iter().chain(cache) {
        if let Some(reactors) = reactors.filter(|&reactors| !cpus.is_empty() && cpus.len() < reactors) {
            broken.push(Broken { field: field.to_owned(), rule: Rule::EnoughCpus(cpus.len(), reactors) });
        }
        named.extend((0..).zip(cpus).map(|(i, cpu): (usize, _)| (format!("{field}[{i}]"), *cpu)));
    }
    unique(named.into_iter(), "processor", broken);
}

fn addresses(config: &Config, broken: &mut Vec<Broken>) {
    most("listener", "listeners", config.listeners.len(), LISTENERS, broken);
    let numbered = |key: &'static str, all: &[SocketAddr]| -> Vec<(String, SocketAddr)> {
        (0..).zip(all).map(|(i, address): (usize, _)| (format!("{key}[{i}].address"), *address)).collect()
    };
    let mut listens = if config.subsystems.is_empty() { Vec::new() } else { numbered("listener", &config.listeners) };
    listens.extend(config.metrics.map(|address| ("metrics".to_owned(), address)));
    if let Some(cache) = &config.cache {
        most("cache.listen", "addresses", cache.listen.len(), LISTENERS, broken);
        let all = (0..).zip(&cache.listen);
        listens.extend(all.map(|(i, listen): (usize, _)| (format!("cache.listen[{i}]"), listen.address)));
    }
    for items in [listens, numbered("referral", &config.referrals)] {
        // Port 0 is another port every time.
        unique(items.into_iter().filter(|(_, address)| address.port() != 0), "address", broken);
    }
}

fn cache(cache: &Cache, broken: &mut Vec<Broken>) {
    let mut must = |field: &str, holds: bool, rule: Rule| {
        if !holds {
            broken.push(Broken { field: format!("cache.{field}"), rule });
        }
    };
    let has_pool = cache.pool.is_some();
    must("listen", !cache.listen.is_empty(), Rule::Reachable);
    must("resize-pool", has_pool || !cache.resize_pool, Rule::HasPool);
    must("huge-pages", !has_pool || cache.huge_pages.is_none(), Rule::NoHugePool);
    match cache.durability {
        Some(Durability::Volatile) => must("durability", !has_pool, Rule::NotVolatile),
        Some(Durability::Warm | Durability::Durable) => must("durability", has_pool, Rule::HasPool),
        None => {}
    }
}

fn indexed(config: &Config) -> impl Iterator<Item = (String, &Subsystem)> {
    (0..).zip(&config.subsystems).map(|(i, subsystem): (usize, _)| (format!("subsystem[{i}]"), subsystem))
}

fn names(config: &Config, broken: &mut Vec<Broken>) {
    let named = || indexed(config).filter_map(|(path, subsystem)| Some((format!("{path}.nqn"), subsystem.nqn?)));
    for (field, _) in named().filter(|(_, nqn)| nqn.is_discovery()) {
        broken.push(Broken { field, rule: Rule::NotDiscovery });
    }
    unique(named(), "name", broken);
}

fn hosts(config: &Config, broken: &mut Vec<Broken>) {
    let open = config.listeners.iter().find(|address| !address.ip().to_canonical().is_loopback());
    for (path, subsystem) in indexed(config) {
        match (&subsystem.hosts, open) {
            (Hosts::Unsaid, Some(open)) => {
                broken.push(Broken { field: format!("{path}.hosts"), rule: Rule::HostsSaid(*open) });
            }
            (Hosts::Listed(hosts), _) => {
                most(&format!("{path}.hosts"), "hosts", hosts.len(), HOSTS, broken);
                let items = (0..).zip(hosts).map(|(i, host): (usize, _)| (format!("{path}.hosts[{i}]"), *host));
                unique(items, "host", broken);
            }
            _ => {}
        }
    }
}

/// All namespaces with their paths.
fn all(config: &Config) -> impl Iterator<Item = (String, &Namespace)> {
    indexed(config).flat_map(|(path, subsystem)| {
        let namespaces = (0..).zip(&subsystem.namespaces);
        namespaces.map(move |(i, namespace): (usize, _)| (format!("{path}.namespace[{i}]"), namespace))
    })
}

fn namespaces(config: &Config, broken: &mut Vec<Broken>) {
    most("subsystem", "namespaces", config.namespace_count(), NAMESPACES, broken);
    for (path, subsystem) in indexed(config) {
        let namespaces = (0..).zip(&subsystem.namespaces);
        let ids = namespaces.map(|(i, ns): (usize, _)| (format!("{path}.namespace[{i}].nsid"), ns.nsid));
        unique(ids, "namespace ID", broken);
    }
}

/// A file that is there under two names is found when it is opened: it is locked then.
fn files(config: &Config, broken: &mut Vec<Broken>) {
    let mut seen: BTreeMap<&Path, (String, bool)> = BTreeMap::new();
    for (path, namespace) in all(config) {
        let Some(file) = namespace.spec.target.path() else { continue };
        let read_only = namespace.spec.options.read_only;
        let field = format!("{path}.device");
        match seen.get(file) {
            Some((_, true)) if read_only => {}
            Some((other, _)) => broken.push(Broken { field, rule: Rule::OneServer(other.clone()) }),
            None => drop(seen.insert(file, (field, read_only))),
        }
    }
}

fn ways(config: &Config, broken: &mut Vec<Broken>) {
    for (path, namespace) in all(config) {
        if let Some(way) = namespace.spec.options.path.filter(|way| way.waits()) {
            broken.push(Broken { field: format!("{path}.device"), rule: Rule::NoWaiting(way) });
        }
    }
}
