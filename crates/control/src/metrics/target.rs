//! All families of a target. Base units: seconds and bytes; counters end in `_total`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use nvmf::stats::{Key, Kind, KindTraffic, Traffic, bound};
use nvmf::{Observer, Stage};
use wire::nvme::Status;

use super::reactors::{self, each};
use super::text::{Text, Type};

/// What a target has done, and what it has.
pub(super) fn write(text: &mut Text, observer: &Observer) {
    commands(text, observer);
    requests(text, observer);
    peers(text, observer);
    namespaces(text, observer);
    reactors::write(text, "qpair", &observer.snapshots());
}

/// What all reactors together did for one host with one namespace.
#[derive(Default)]
struct Total {
    kinds: Vec<KindTraffic>,
    errors: BTreeMap<Option<u16>, u64>,
}

fn totals(observer: &Observer) -> BTreeMap<Key, Total> {
    let mut totals: BTreeMap<Key, Total> = BTreeMap::new();
    for Traffic { key, kinds, errors } in observer.reactors().iter().flat_map(|stats| stats.served()) {
        let total = totals.entry(key).or_default();
        if total.kinds.is_empty() {
            total.kinds = kinds.to_vec();
        } else {
            total.kinds.iter_mut().zip(&kinds).for_each(|(sum, more)| sum.add(more));
        }
        for (status, count) in errors {
            *total.errors.entry(status.map(Status::to_field)).or_default() += count;
        }
    }
    totals
}

/// Operations, bytes, latencies and errors of each host and namespace.
fn commands(text: &mut Text, observer: &Observer) {
    let totals = totals(observer);
    // Kinds that a host never used have no samples: most have seven of them.
    let used = || {
        totals.iter().flat_map(|(key, total)| {
            let kinds = Kind::ALL.into_iter().zip(&total.kinds).filter(|(_, served)| served.operations() > 0);
            kinds.map(move |(kind, served)| (key, kind, served))
        })
    };
    let name = "qpair_commands_total";
    text.family(name, Type::Counter, "I/O commands that succeeded.");
    for (key, kind, served) in used() {
        labelled(key, |labels| text.sample(name, &[labels, &[("command", kind.name())]].concat(), served.operations()));
    }
    let name = "qpair_data_bytes_total";
    text.family(name, Type::Counter, "Data of those commands, from or to the host.");
    for (key, kind, served) in used() {
        labelled(key, |labels| text.sample(name, &[labels, &[("command", kind.name())]].concat(), served.bytes));
    }
    let name = "qpair_command_duration_seconds";
    text.family(name, Type::Histogram, "Time of those commands inside the target, from their arrival to their answer.");
    for (key, kind, served) in used() {
        let buckets = || (0..).map(bound).zip(served.latencies);
        labelled(key, |labels| {
            text.histogram(name, &[labels, &[("command", kind.name())]].concat(), buckets(), served.nanos as f64 / 1e9);
        });
    }
    let name = "qpair_command_errors_total";
    text.family(name, Type::Counter, "I/O commands that failed, by the status they were answered with.");
    for (key, total) in &totals {
        for (status, count) in &total.errors {
            let status = status.map(Status::from_field);
            let named = status.map_or("other", |status| status.name().unwrap_or("without a name"));
            let code = status.map_or(String::new(), |status| format!("{:x}h/{:02x}h", status.sct, status.sc));
            labelled(key, |labels| {
                text.sample(name, &[labels, &[("status", named), ("code", &code)]].concat(), count);
            });
        }
    }
}

/// Calls `then` with the labels of a host and a namespace.
fn labelled(key: &Key, then: impl FnOnce(&[(&str, &str)])) {
    let nsid = key.nsid.to_string();
    then(&[("subsystem", &key.subsystem), ("nsid", &nsid), ("host", &key.host)]);
}

/// What commands are doing now.
fn requests(text: &mut Text, observer: &Observer) {
    let name = "qpair_commands_in_progress";
    text.family(name, Type::Gauge, "Commands by what they are doing now, admin commands included.");
    for (number, stats) in each(observer.reactors()) {
        for stage in Stage::ALL.into_iter().filter(|stage| *stage != Stage::Free) {
            text.sample(name, &[("reactor", &number), ("stage", stage.name())], stats.stage(stage));
        }
    }
    let name = "qpair_connections";
    text.family(name, Type::Gauge, "Connections of hosts now.");
    for (number, stats) in each(observer.reactors()) {
        text.sample(name, &[("reactor", &number)], stats.connections());
    }
}

/// Controllers, and what peers did.
fn peers(text: &mut Text, observer: &Observer) {
    let target = observer.target();
    let controllers = target.controller_count();
    text.single("qpair_controllers", Type::Gauge, "Controllers that hosts have now.", controllers);
    let counters = &target.counters;
    let mut counter = |name, help, counter: &AtomicU64| {
        text.single(name, Type::Counter, help, counter.load(Ordering::Relaxed));
    };
    counter("qpair_connections_accepted_total", "Connections accepted.", &counters.connections);
    counter("qpair_connects_refused_total", "Connect commands refused.", &counters.refused_connects);
    let help = "Connections ended because the peer broke the protocol.";
    counter("qpair_protocol_errors_total", help, &counters.protocol_errors);
    let help = "Connections that did not finish their handshake in time.";
    counter("qpair_handshake_timeouts_total", help, &counters.handshake_timeouts);
    let help = "Controllers torn down because keep-alives stayed out.";
    counter("qpair_keep_alive_timeouts_total", help, &counters.keep_alive_timeouts);
    let help = "Connections ended because the peer stopped reading or sending.";
    counter("qpair_stalled_connections_total", help, &counters.stalled);
}

fn namespaces(text: &mut Text, observer: &Observer) {
    let name = "qpair_namespace_size_bytes";
    text.family(name, Type::Gauge, "Size of a namespace.");
    for (subsystem, nsid, namespace) in observer.target().plan().namespaces() {
        let (nsid, info) = (nsid.to_string(), namespace.device.info());
        let labels = [("subsystem", subsystem.nqn()), ("nsid", &nsid), ("device", &info.name), ("kind", info.kind)];
        text.sample(name, &labels, namespace.device.blocks() * u64::from(info.block_bytes));
    }
}
