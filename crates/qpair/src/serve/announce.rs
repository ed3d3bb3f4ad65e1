//! What `qpair serve` says: when hosts can connect, and when it has stopped.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

use block::size::format_size;
use control::live::Live;
use control::status::Outcome;
use machine::reactor::Snapshot;
use machine::ring::{NoRing, RingKind};
use nvmf::{Served, Server, Target};
use serde::Serialize;

use crate::cache;
use crate::reload::Lines;
use crate::shares::ReactorShares;

/// Version of the JSON objects. Fields may be added; one that changes or goes makes a new version.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Listening<'a> {
    schema: u32,
    event: &'static str,
    service: &'static str,
    listen: &'a [SocketAddr],
    subsystems: Vec<Subsystem<'a>>,
    /// The first subsystem, as it was before there were several.
    nqn: &'a str,
    namespaces: Vec<Namespace<'a>>,
    reactors: usize,
    ring: &'static str,
    /// Why it is not `io_uring`, unless somebody wanted that.
    ring_reason: Option<&'a str>,
    /// Where metrics are served, if they are.
    metrics: Option<SocketAddr>,
}

#[derive(Serialize)]
struct Subsystem<'a> {
    nqn: &'a str,
    namespaces: Vec<Namespace<'a>>,
}

#[derive(Serialize)]
struct Reloaded<'a> {
    schema: u32,
    event: &'static str,
    config: &'a Path,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

#[derive(Clone, Serialize)]
struct Namespace<'a> {
    nsid: u32,
    name: &'a str,
    kind: &'static str,
    bytes: u64,
    block_bytes: u32,
    read_only: bool,
    uuid: String,
}

#[derive(Serialize)]
struct Stopped {
    schema: u32,
    event: &'static str,
    service: &'static str,
    reads: u64,
    writes: u64,
    read_bytes: u64,
    written_bytes: u64,
    connections: u64,
    failed_commands: u64,
    protocol_errors: u64,
    refused_connects: u64,
    handshake_timeouts: u64,
    keep_alive_timeouts: u64,
    stalled: u64,
    reactors: Vec<ReactorShares>,
}

/// What is served, in a few words each: for those who ask which servers run.
pub(super) fn serves(live: &Live) -> Vec<String> {
    let target = live.target().map(|server| server.target().plan().listeners()).unwrap_or_default();
    let mut serves: Vec<_> = target.iter().map(|address| format!("nvme-tcp {address}")).collect();
    if let (Some(server), Some(config)) = (live.cache(), &live.config().cache) {
        serves.extend(cache::serves(config, server));
    }
    serves
}

/// Hosts and clients can connect: what is served, and how to reach it.
pub(super) fn listening(live: &Live, json: bool) -> io::Result<()> {
    if let Some(server) = live.target() {
        target(live, server, json)?;
    }
    if let (Some(server), Some(cache)) = (live.cache(), &live.config().cache) {
        // The target has said where metrics are, if there is one; in JSON both do.
        let metrics = live.metrics().filter(|_| json || live.target().is_none());
        cache::listening(cache, server, metrics, json)?;
    }
    Ok(())
}

fn target(live: &Live, server: &Server, json: bool) -> io::Result<()> {
    let plan = server.target().plan();
    let listeners = plan.listeners();
    let mut out = io::stdout().lock();
    if json {
        let subsystems: Vec<_> = plan.subsystems().iter().map(|served| subsystem(served)).collect();
        let line = Listening {
            schema: SCHEMA,
            event: "listening",
            service: "nvme-tcp",
            listen: &listeners,
            nqn: subsystems[0].nqn,
            namespaces: subsystems[0].namespaces.clone(),
            subsystems,
            reactors: server.rings().count(),
            ring: ring_kind(server).name(),
            ring_reason: no_ring(server).map(|reason| reason.why.as_str()),
            metrics: live.metrics(),
        };
        serde_json::to_writer(&mut out, &line)?;
        writeln!(out)?;
        return out.flush();
    }
    for served in plan.subsystems() {
        writeln!(out, "serving {}", served.nqn())?;
        for Namespace { nsid, name, bytes, block_bytes, read_only, uuid, .. } in subsystem(served).namespaces {
            let (access, size) = (if read_only { ", read-only" } else { "" }, format_size(bytes));
            writeln!(out, "  namespace {nsid}  {name}  {size}, {block_bytes}-byte blocks{access}, uuid {uuid}")?;
        }
    }
    if let Some(reason) = no_ring(server) {
        writeln!(out, "without {}: {}\n  {}", reason.what, reason.why, reason.hint)?;
    }
    if let Some(metrics) = live.metrics() {
        writeln!(out, "metrics at http://{metrics}/metrics")?;
    }
    for address in &listeners {
        let (ip, port) = (reachable(address), address.port());
        writeln!(out, "on {address}; from Linux:")?;
        writeln!(out, "  nvme discover -t tcp -a {ip} -s {port}")?;
        for served in plan.subsystems() {
            writeln!(out, "  nvme connect -t tcp -a {ip} -s {port} -n {}", served.nqn())?;
        }
    }
    out.flush()
}

/// The configuration file was read again: how that went.
pub(super) fn reloaded(path: &Path, outcome: &Outcome, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &Reloaded { schema: SCHEMA, event: "reloaded", config: path, outcome })?;
        writeln!(out)?;
    } else if outcome.ok {
        write!(out, "{}", Lines(path, outcome))?;
    }
    out.flush()
}

/// The kind of ring that all reactors have; portable if only some got a better one.
fn ring_kind(server: &Server) -> RingKind {
    let kinds = || server.rings().map(|ring| ring.kind);
    let first = kinds().next().unwrap_or(RingKind::Portable);
    if kinds().all(|kind| kind == first) { first } else { RingKind::Portable }
}

/// Why a reactor has no better ring, although that was left to it.
fn no_ring(server: &Server) -> Option<&NoRing> {
    server.rings().find_map(|ring| ring.reason.as_ref())
}

/// The address for the connect line; a host cannot connect to "any address".
fn reachable(address: &SocketAddr) -> String {
    if address.ip().is_unspecified() { "ADDRESS-OF-THIS-MACHINE".to_owned() } else { address.ip().to_string() }
}

fn subsystem(served: &Served) -> Subsystem<'_> {
    let namespaces = served.namespaces().iter().map(|(&nsid, namespace)| {
        let info = namespace.device.info();
        Namespace {
            nsid,
            name: &info.name,
            kind: info.kind,
            bytes: namespace.blocks * u64::from(info.block_bytes),
            block_bytes: info.block_bytes,
            read_only: info.features.read_only,
            uuid: info.identity.uuid.to_string(),
        }
    });
    Subsystem { nqn: served.nqn(), namespaces: namespaces.collect() }
}

/// It has stopped: what was done.
pub(super) fn stopped(target: &Target, reactors: &[Snapshot], json: bool) -> io::Result<()> {
    use std::sync::atomic::Ordering::Relaxed;
    let (usage, counters) = (target.usage.read(), &target.counters);
    let mut out = io::stdout().lock();
    if json {
        let line = Stopped {
            schema: SCHEMA,
            event: "stopped",
            service: "nvme-tcp",
            reads: usage.reads,
            writes: usage.writes,
            read_bytes: usage.read_bytes,
            written_bytes: usage.written_bytes,
            connections: counters.connections.load(Relaxed),
            failed_commands: counters.failed_commands.load(Relaxed),
            protocol_errors: counters.protocol_errors.load(Relaxed),
            refused_connects: counters.refused_connects.load(Relaxed),
            handshake_timeouts: counters.handshake_timeouts.load(Relaxed),
            keep_alive_timeouts: counters.keep_alive_timeouts.load(Relaxed),
            stalled: counters.stalled.load(Relaxed),
            reactors: reactors.iter().map(ReactorShares::from).collect(),
        };
        serde_json::to_writer(&mut out, &line)?;
        writeln!(out)?;
        return out.flush();
    }
    let read = format_size(usage.read_bytes);
    let written = format_size(usage.written_bytes);
    writeln!(out, "stopped: {} reads ({read}), {} writes ({written})", usage.reads, usage.writes)?;
    for (number, reactor) in reactors.iter().enumerate() {
        let ReactorShares { busy_seconds, idle_seconds, asleep_seconds, effective } = reactor.into();
        writeln!(
            out,
            "  reactor {number}: busy {busy_seconds:.1} s, idle {idle_seconds:.1} s, asleep {asleep_seconds:.1} s, \
             effective {:.0} %",
            effective * 100.0
        )?;
    }
    out.flush()
}
