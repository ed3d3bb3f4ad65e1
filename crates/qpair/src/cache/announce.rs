//! What a cache says: where clients are listened for and what its pool was, and what it did with its time.

use std::io::{self, Write};
use std::net::SocketAddr;

use block::size::format_size;
use cache::Server;
use control::config::{Cache, Protocol};
use machine::os::never_gives_huge_pages;
use machine::reactor::Snapshot;
use serde::Serialize;
use store::{Found, Keep, Refitted};

use crate::shares::ReactorShares;

/// Version of the JSON objects. Fields may be added; one that changes or goes makes a new version.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Listening<'a> {
    schema: u32,
    event: &'static str,
    service: &'static str,
    memcache: &'a [SocketAddr],
    resp: &'a [SocketAddr],
    memory: u64,
    max_value: usize,
    ring: &'static str,
    /// Where metrics are served.
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<SocketAddr>,
    /// What of the memory lies on huge pages, if that was asked for and the system says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    huge_bytes: Option<usize>,
    /// In what state the pool was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<&'static str>,
    /// What makes it survive a power cut: of a durable one.
    #[serde(skip_serializing_if = "Option::is_none")]
    persists_by: Option<String>,
}

#[derive(Serialize)]
struct Stopped {
    schema: u32,
    event: &'static str,
    service: &'static str,
    /// The sums of all reactors, and each.
    busy_seconds: f64,
    idle_seconds: f64,
    asleep_seconds: f64,
    reactors: Vec<ReactorShares>,
}

/// Clients can connect; and scrapers, if it is to be said here where.
pub(crate) fn listening(cache: &Cache, server: &Server, metrics: Option<SocketAddr>, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let (memcache, resp) = addresses(cache, server);
    if json {
        let found = server.found().map(|(found, _)| match found {
            Found::New => "new",
            Found::Closed => "closed",
            Found::Unclosed => "unclosed",
            Found::Dropped => "dropped",
        });
        let (memory, max_value, event, service) = (cache.memory, cache.max_item, "listening", "cache");
        let (schema, pool, persists_by) = (SCHEMA, found, persists_by(cache, server));
        let huge_bytes = server.huge_bytes();
        let line = Listening {
            schema,
            event,
            service,
            memcache,
            resp,
            memory,
            max_value,
            ring: cache.ring.of_sockets().name(),
            metrics,
            huge_bytes,
            pool,
            persists_by,
        };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
        return out.flush();
    }
    pool(&mut out, cache, server)?;
    if cache.huge_pages.is_some() {
        huge_pages(&mut out, server)?;
    }
    let memory = format_size(cache.memory);
    for (clients, addresses) in [("memcached", memcache), ("Redis", resp)] {
        for address in addresses {
            writeln!(out, "caching {memory} for {clients} clients on {address}")?;
        }
    }
    metrics.map_or(Ok(()), |metrics| writeln!(out, "metrics at http://{metrics}/metrics"))?;
    out.flush()
}

/// Where memcached clients are listened for, and Redis'.
fn addresses<'a>(cache: &Cache, server: &'a Server) -> (&'a [SocketAddr], &'a [SocketAddr]) {
    let memcached = cache.listen.iter().filter(|listen| listen.protocol == Protocol::Memcache).count();
    server.addresses().split_at(memcached)
}

/// What is served, in a few words each.
pub(crate) fn serves(cache: &Cache, server: &Server) -> impl Iterator<Item = String> {
    let (memcache, resp) = addresses(cache, server);
    let named = [("memcache", memcache), ("resp", resp)];
    named.into_iter().flat_map(|(name, all)| all.iter().map(move |address| format!("{name} {address}")))
}

/// What was got of the huge pages that were asked for.
fn huge_pages(out: &mut impl Write, server: &Server) -> io::Result<()> {
    let Some(bytes) = server.huge_bytes() else {
        return writeln!(out, "how much of the memory lies on huge pages, the system does not say");
    };
    let never = if never_gives_huge_pages().unwrap_or(false) {
        ": the system makes none by itself (on Linux: /sys/kernel/mm/transparent_hugepage/enabled says never)"
    } else {
        ""
    };
    let why = if bytes == 0 { never } else { "" };
    writeln!(out, "{} of the memory lie on huge pages{why}", format_size(bytes as u64))
}

/// In what state the pool was found, if there is one.
fn pool(out: &mut impl Write, cache: &Cache, server: &Server) -> io::Result<()> {
    let (Some((found, refitted)), Some(path)) = (server.found(), &cache.pool) else { return Ok(()) };
    let pool = format!("the {} pool {}", cache.keep(), path.display());
    if let Some(Refitted { items, evicted }) = refitted {
        writeln!(out, "{pool} was of another shape: {items} items were moved, {evicted} had no room")?;
    }
    match found {
        Found::New => writeln!(out, "{pool} is new")?,
        Found::Closed => writeln!(out, "{pool} was closed in order: its items are there again")?,
        Found::Unclosed => writeln!(out, "{pool} was not closed: its items are there again")?,
        Found::Dropped => writeln!(
            out,
            "{pool} was not closed before the machine was started anew: what it held may not be whole, and was dropped"
        )?,
    }
    persists_by(cache, server).map_or(Ok(()), |by| writeln!(out, "what is answered survives a power cut by {by}"))
}

/// What makes a durable pool survive a power cut.
fn persists_by(cache: &Cache, server: &Server) -> Option<String> {
    (cache.pool.is_some() && cache.keep() == Keep::Durable).then(|| server.durability().to_string())
}

/// It has stopped.
pub(crate) fn stopped(reactors: &[Snapshot], json: bool) -> io::Result<()> {
    if !json {
        return Ok(());
    }
    let reactors: Vec<ReactorShares> = reactors.iter().map(ReactorShares::from).collect();
    let sum = |seconds: fn(&ReactorShares) -> f64| reactors.iter().map(seconds).sum();
    let line = Stopped {
        schema: SCHEMA,
        event: "stopped",
        service: "cache",
        busy_seconds: sum(|reactor| reactor.busy_seconds),
        idle_seconds: sum(|reactor| reactor.idle_seconds),
        asleep_seconds: sum(|reactor| reactor.asleep_seconds),
        reactors,
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(&line)?)?;
    out.flush()
}
