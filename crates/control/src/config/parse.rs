//! From the text of a file to a [`Config`]: one function a section. A section with mistakes is left out and the rest is
//! read, so that all of them are found at once.

use std::net::SocketAddr;

use block::limits::BLOCK_BYTES;
use machine::limits::MAX_REACTORS;
use nvmf::limits::{IN_CAPSULE_DEFAULT_BYTES, LAST_NSID, LISTENERS, NAMESPACES, REFERRALS, SUBSYSTEMS};
use toml::de::DeTable;
use uuid::Uuid;
use wire::nvme::Nqn;

use super::mistake::{Log, quoted};
use super::read::Fields;
use super::{
    Config, DEFAULT_LISTENER, Hosts, Machine, Mistake, Namespace, Places, Source, Subsystem, cache, in_capsule,
};
use crate::metrics;

const TOP: [&str; 10] =
    ["reactors", "cpus", "dedicated", "ring", "in-capsule", "metrics", "listener", "subsystem", "referral", "cache"];
/// What is about subsystems only.
const TARGET: [&str; 7] = ["reactors", "cpus", "dedicated", "ring", "in-capsule", "listener", "referral"];
const SUBSYSTEM: [&str; 4] = ["nqn", "hosts", "allow-any-host", "namespace"];
const NAMESPACE: [&str; 6] = ["nsid", "device", "size", "block-size", "read-only", "uuid"];
const ADDRESS: [&str; 1] = ["address"];

const NQN_HINT: &str = "An NQN looks like nqn.2026-01.org.example:disk1.";
const METRICS_HINT: &str = "Write a port on loopback, metrics = 9420, or an address, metrics = \"192.168.1.10:9420\".";
const ADDRESS_HINT: &str = "Write an IP address and a port, for example address = \"192.168.1.10:4420\".";

pub(super) fn parse(text: &str) -> Result<(Config, Places), Vec<Mistake>> {
    let mut log = Log::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What a broken text seems to say would only be more confusing.
        log.not_toml(&errors);
        return Err(log.finish());
    }
    let top = Fields::new(&mut log, document.get_ref(), "", 0, &TOP);
    let config = Config {
        machine: machine(&mut log, &top),
        listeners: listeners(&mut log, &top),
        subsystems: subsystems(&mut log, &top),
        referrals: referrals(&mut log, &top),
        in_capsule_bytes: in_capsule_bytes(&mut log, &top),
        metrics: top.port_or_text(&mut log, "metrics", metrics::address, METRICS_HINT),
        cache: top.table(&mut log, "cache", &cache::CACHE).map(|table| cache::read(&mut log, &table)),
    };
    if !top.has("subsystem") && top.has("cache") {
        for key in TARGET.into_iter().filter(|key| top.has(key)) {
            let why = "this is about subsystems, and there is none";
            top.wrong(&mut log, key, why, "Move it below [cache] if it is about the cache; else take it out.");
        }
    }
    // Rules between fields make sense once the fields do.
    if log.is_clean() {
        for broken in config.broken_rules() {
            let (why, hint) = broken.rule.explain(Source::File);
            log.add(log.find(&broken.field), &broken.field, why, hint);
        }
    }
    if log.is_clean() { Ok((config, log.places())) } else { Err(log.finish()) }
}

fn machine(log: &mut Log<'_>, top: &Fields<'_, '_>) -> Machine {
    let default = Machine::default();
    Machine {
        reactors: top.number(log, "reactors", 1..=MAX_REACTORS as u64).map(|n| n as usize),
        cpus: top.cpus(log, "cpus"),
        dedicated: top.flag(log, "dedicated").unwrap_or(default.dedicated),
        ring: top.text(log, "ring", str::parse, "Write for example ring = \"auto\".").unwrap_or(default.ring),
    }
}

fn in_capsule_bytes(log: &mut Log<'_>, top: &Fields<'_, '_>) -> u32 {
    let bytes = top.size(log, "in-capsule").and_then(|bytes| {
        let hint = "Write for example in-capsule = \"16KiB\".";
        in_capsule(bytes).map_err(|why| top.wrong(log, "in-capsule", format!("it has to be {why}"), hint)).ok()
    });
    bytes.unwrap_or(IN_CAPSULE_DEFAULT_BYTES)
}

fn listeners(log: &mut Log<'_>, top: &Fields<'_, '_>) -> Vec<SocketAddr> {
    let listeners = addresses(log, top, "listener", LISTENERS);
    if listeners.is_empty() { vec![DEFAULT_LISTENER] } else { listeners }
}

/// A host is sent there, so it has to be a place.
fn referrals(log: &mut Log<'_>, top: &Fields<'_, '_>) -> Vec<SocketAddr> {
    let referrals = addresses(log, top, "referral", REFERRALS);
    for (index, address) in referrals.iter().enumerate() {
        if address.port() == 0 || address.ip().is_unspecified() {
            let why = format!("no host can connect to {address}");
            top.wrong(log, &format!("referral[{index}].address"), why, ADDRESS_HINT);
        }
    }
    referrals
}

/// `[[key]]` with one `address` each.
fn addresses(log: &mut Log<'_>, top: &Fields<'_, '_>, key: &str, most: usize) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for table in top.tables(log, key, most, &ADDRESS) {
        addresses.extend(required(log, &table, "address", address, ADDRESS_HINT));
    }
    addresses
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{} is not an address with a port", quoted(text)))
}

fn subsystems(log: &mut Log<'_>, top: &Fields<'_, '_>) -> Vec<Subsystem> {
    let mut subsystems = Vec::new();
    for table in top.tables(log, "subsystem", SUBSYSTEMS, &SUBSYSTEM) {
        let nqn = required(log, &table, "nqn", Nqn::new, NQN_HINT);
        let hosts = hosts(log, &table);
        let namespaces = namespaces(log, &table);
        subsystems.extend(nqn.map(|nqn| Subsystem { nqn: Some(nqn), hosts, namespaces }));
    }
    subsystems
}

fn hosts(log: &mut Log<'_>, table: &Fields<'_, '_>) -> Hosts {
    let listed =
        table.texts(log, "hosts", Nqn::new, "Write hosts = [\"NQN\", ...]; Linux has its in /etc/nvme/hostnqn.");
    match (listed, table.flag(log, "allow-any-host").unwrap_or(false)) {
        (Some(_), true) => {
            let why = "any host may connect, so a list of hosts means nothing";
            table.wrong(log, "allow-any-host", why, "Take `hosts` or `allow-any-host` out.");
            Hosts::Any
        }
        (Some(hosts), false) => Hosts::Listed(hosts),
        (None, true) => Hosts::Any,
        (None, false) => Hosts::Unsaid,
    }
}

/// The namespaces of a subsystem. Those without a number get the lowest ones that nobody asks for.
fn namespaces(log: &mut Log<'_>, subsystem: &Fields<'_, '_>) -> Vec<Namespace> {
    let mut namespaces = Vec::new();
    let mut unnumbered = Vec::new();
    for table in subsystem.tables(log, "namespace", NAMESPACES, &NAMESPACE) {
        let nsid = table.number(log, "nsid", 1..=u64::from(LAST_NSID)).map(|nsid| nsid as u32);
        let Some(namespace) = namespace(log, &table, nsid.unwrap_or(0)) else { continue };
        if nsid.is_none() {
            unnumbered.push(namespaces.len());
        }
        namespaces.push(namespace);
    }
    let mut next = 1;
    for index in unnumbered {
        while namespaces.iter().any(|namespace: &Namespace| namespace.nsid == next) {
            next += 1;
        }
        namespaces[index].nsid = next;
    }
    namespaces
}

fn namespace(log: &mut Log<'_>, table: &Fields<'_, '_>, nsid: u32) -> Option<Namespace> {
    let hint = "Write for example device = \"/data/disk.img\" or device = \"ram:1GiB\".";
    if !table.has("device") {
        table.wrong(log, "device", "it is missing", hint);
    }
    let text = table.path(log, "device", |text| Ok::<_, String>(text.to_owned()), hint);
    let options = options(log, table);
    let mut namespace = match Namespace::new(nsid, text?) {
        Ok(namespace) => namespace,
        Err(error) => {
            table.wrong(log, "device", error.why, error.hint);
            return None;
        }
    };
    for (key, option) in options {
        match namespace.with(&option) {
            Ok(more) => namespace = more,
            Err(error) => table.wrong(log, key, error.why, error.hint),
        }
    }
    Some(namespace)
}

/// The keys of a namespace that are options of its device, as they are written behind it.
fn options(log: &mut Log<'_>, table: &Fields<'_, '_>) -> Vec<(&'static str, String)> {
    let mut options = Vec::new();
    options.extend(table.size(log, "size").map(|bytes| ("size", format!("size={bytes}"))));
    if let Some(bytes) = table.size(log, "block-size") {
        if BLOCK_BYTES.iter().any(|&known| u64::from(known) == bytes) {
            options.push(("block-size", format!("bs={bytes}")));
        } else {
            let why = format!("a block of {bytes} bytes is not possible");
            table.wrong(log, "block-size", why, "Write block-size = 512 or block-size = 4096.");
        }
    }
    if table.flag(log, "read-only") == Some(true) {
        options.push(("read-only", "ro".to_owned()));
    }
    let uuid = |text: &str| {
        let uuid = Uuid::parse_str(text).ok().filter(|uuid| !uuid.is_nil());
        uuid.ok_or_else(|| format!("{} is not a UUID that can be used", quoted(text)))
    };
    let hint = "A UUID looks like 6ba7b810-9dad-41d1-80b4-00c04fd430c8; `uuidgen` makes one.";
    options.extend(table.text(log, "uuid", uuid, hint).map(|uuid| ("uuid", format!("uuid={uuid}"))));
    options
}

/// A text that has to be there.
fn required<T, E: std::fmt::Display>(
    log: &mut Log<'_>,
    table: &Fields<'_, '_>,
    key: &str,
    convert: impl FnOnce(&str) -> Result<T, E>,
    hint: &str,
) -> Option<T> {
    if !table.has(key) {
        table.wrong(log, key, "it is missing", hint);
        return None;
    }
    table.text(log, key, convert, hint)
}
