//! What `qpair serve` says: when hosts can connect, and when it has stopped.

use std::io::{self, Write};
use std::net::SocketAddr;

use block::Info;
use block::size::format_size;
use control::metrics::Metrics;
use machine::reactor::Snapshot;
use machine::ring::{NoUring, RingKind};
use nvmf::{Options, Server, Target};
use serde::Serialize;

/// Version of the JSON objects. Fields may be added; one that changes or goes makes a new version.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Listening<'a> {
    schema: u32,
    event: &'static str,
    listen: &'a [SocketAddr],
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

#[derive(Serialize)]
struct ReactorShares {
    busy_seconds: f64,
    idle_seconds: f64,
    asleep_seconds: f64,
    effective: f64,
}

/// Hosts can connect: what is served, and how to reach it.
pub(super) fn listening(server: &Server, options: &Options, metrics: Option<&Metrics>, json: bool) -> io::Result<()> {
    let plan = server.target().plan();
    let (listeners, subsystem) = (plan.listeners(), &plan.subsystems()[0]);
    let mut out = io::stdout().lock();
    if json {
        let line = Listening {
            schema: SCHEMA,
            event: "listening",
            listen: &listeners,
            nqn: subsystem.nqn(),
            namespaces: subsystem.namespaces().iter().map(|(nsid, it)| namespace(*nsid, it.device.info())).collect(),
            reactors: options.reactors,
            ring: ring_kind(server).name(),
            ring_reason: no_uring(server).map(|reason| reason.why.as_str()),
            metrics: metrics.map(Metrics::address),
        };
        serde_json::to_writer(&mut out, &line)?;
        writeln!(out)?;
        return out.flush();
    }
    writeln!(out, "serving {}", subsystem.nqn())?;
    for (nsid, namespace) in subsystem.namespaces() {
        let info = namespace.device.info();
        let access = if info.features.read_only { ", read-only" } else { "" };
        let (size, block) = (format_size(info.bytes()), info.block_bytes);
        writeln!(
            out,
            "  namespace {nsid}  {}  {size}, {block}-byte blocks{access}, uuid {}",
            info.name, info.identity.uuid
        )?;
    }
    if let Some(reason) = no_uring(server) {
        writeln!(out, "without io_uring: {}\n  {}", reason.why, reason.hint)?;
    }
    if let Some(metrics) = metrics {
        writeln!(out, "metrics at http://{}/metrics", metrics.address())?;
    }
    for address in &listeners {
        let (ip, port) = (reachable(address), address.port());
        writeln!(out, "on {address}; from Linux:")?;
        writeln!(out, "  nvme discover -t tcp -a {ip} -s {port}")?;
        writeln!(out, "  nvme connect -t tcp -a {ip} -s {port} -n {}", subsystem.nqn())?;
    }
    out.flush()
}

/// The kind of ring that all reactors have; portable if only some got a better one.
fn ring_kind(server: &Server) -> RingKind {
    if server.rings().all(|ring| ring.kind == RingKind::Uring) { RingKind::Uring } else { RingKind::Portable }
}

/// Why a reactor has no `io_uring`, although that was left to it.
fn no_uring(server: &Server) -> Option<&NoUring> {
    server.rings().find_map(|ring| ring.reason.as_ref())
}

/// The address for the connect line; a host cannot connect to "any address".
fn reachable(address: &SocketAddr) -> String {
    if address.ip().is_unspecified() { "ADDRESS-OF-THIS-MACHINE".to_owned() } else { address.ip().to_string() }
}

fn namespace(nsid: u32, info: &Info) -> Namespace<'_> {
    Namespace {
        nsid,
        name: &info.name,
        kind: info.kind,
        bytes: info.bytes(),
        block_bytes: info.block_bytes,
        read_only: info.features.read_only,
        uuid: info.identity.uuid.to_string(),
    }
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
            reactors: reactors.iter().map(shares).collect(),
        };
        serde_json::to_writer(&mut out, &line)?;
        writeln!(out)?;
        return out.flush();
    }
    let read = format_size(usage.read_bytes);
    let written = format_size(usage.written_bytes);
    writeln!(out, "stopped: {} reads ({read}), {} writes ({written})", usage.reads, usage.writes)?;
    for (number, reactor) in reactors.iter().enumerate() {
        let ReactorShares { busy_seconds, idle_seconds, asleep_seconds, effective } = shares(reactor);
        writeln!(
            out,
            "  reactor {number}: busy {busy_seconds:.1} s, idle {idle_seconds:.1} s, asleep {asleep_seconds:.1} s, \
             effective {:.0} %",
            effective * 100.0
        )?;
    }
    out.flush()
}

fn shares(reactor: &Snapshot) -> ReactorShares {
    ReactorShares {
        busy_seconds: reactor.busy.as_secs_f64(),
        idle_seconds: reactor.idle.as_secs_f64(),
        asleep_seconds: reactor.asleep.as_secs_f64(),
        effective: reactor.effective(),
    }
}
