//! `qpair cache`: a cache for clients of memcached's text protocol and of Redis'.

mod simulate;
mod trace;

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::mpsc;
use std::time::Duration;

use block::size::{format_size, parse_size};
use cache::limits::{DEFAULT_VALUE_BYTES, MAX_VALUE_BYTES};
use cache::{Options, PoolFile, Server, StartError};
use control::config::load_users;
use control::limits::DEDICATED_SPIN;
use control::metrics::{Metrics, Sources};
use machine::os;
use machine::reactor::{Mode, on_panic_abort};
use serde::Serialize;
use store::{Found, Keep, PoolError, Refitted};
use uuid::Uuid;

use crate::serve::parse_reactors;
use crate::shares::ReactorShares;
use crate::signals;

const EXAMPLES: &str = "\
Protocols:
  memcache=ADDR:PORT   memcached's text protocol: get gets gat gats set add replace append prepend cas incr decr
                       delete touch flush_all version verbosity stats quit, and the meta commands mg ms md ma me mn.
                       The binary protocol and UDP will not come.
  resp=ADDR:PORT       Redis' protocol, RESP2 and RESP3: strings and keys; COMMAND LIST says what there is. Both
                       protocols see the same keys.

Memory:
  --memory is what items, the table that finds them and what eviction remembers take; the program takes up to 16 MiB
  beside it, and programs that connect some KiB each. An item costs 5 bytes beside its key and value, 4 more if it has
  flags, 6 more if it expires, and 10 to 11 in the table.

Examples:
  qpair cache
  qpair cache --memory 4GiB --pool /var/lib/cache.pool
  qpair cache --memory 4GiB --listen memcache=0.0.0.0:11211
  printf 'set k 0 60 5\\r\\nhello\\r\\nget k\\r\\nquit\\r\\n' | nc 127.0.0.1 11211";

/// What clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Memcache,
    Resp,
}

/// Where clients are listened for, and what they speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listen(Protocol, SocketAddr);

impl Listen {
    /// Where nobody has said otherwise.
    const DEFAULT: [Self; 2] = [Self::local(Protocol::Memcache, 11211), Self::local(Protocol::Resp, 6379)];

    const fn local(protocol: Protocol, port: u16) -> Self {
        Self(protocol, SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (protocol, address) = match text.split_once('=') {
            Some(("memcache", address)) => (Protocol::Memcache, address),
            Some(("resp", address)) => (Protocol::Resp, address),
            _ => return Err("this is memcache=ADDR:PORT or resp=ADDR:PORT".to_owned()),
        };
        address.parse().map(|address| Self(protocol, address)).map_err(|_| format!("'{address}' is no ADDR:PORT"))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = if self.0 == Protocol::Memcache { "memcache" } else { "resp" };
        write!(f, "{protocol}={}", self.1)
    }
}

/// Bytes of the largest value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MaxItem(usize);

impl fmt::Display for MaxItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_size(self.0 as u64))
    }
}

fn parse_max_item(text: &str) -> Result<MaxItem, String> {
    let bytes = parse_size(text)?;
    if (1..=MAX_VALUE_BYTES as u64).contains(&bytes) {
        Ok(MaxItem(bytes as usize))
    } else {
        Err(format!("a value has at most {}", format_size(MAX_VALUE_BYTES as u64)))
    }
}

/// What happens when the memory is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Eviction {
    /// Segments are merged into one, of the items that were asked for most
    Merge,
    /// What nobody asks for while it is new goes first: a tenth of the memory is for that
    #[value(name = "s3fifo")]
    S3Fifo,
    /// The oldest segment goes, whatever it has
    Fifo,
    /// Some segment goes, by chance
    Random,
    /// Nothing is given up: what does not fit is refused
    None,
}

impl From<Eviction> for cache::Eviction {
    fn from(eviction: Eviction) -> Self {
        match eviction {
            Eviction::Merge => Self::Merge,
            Eviction::S3Fifo => Self::S3Fifo,
            Eviction::Fifo => Self::Fifo,
            Eviction::Random => Self::Random,
            Eviction::None => Self::None,
        }
    }
}

/// What the contents survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Durability {
    /// The end of the process, whatever it comes from; a power cut may lose all of them (the default with --pool)
    Warm,
    /// Power cuts: what is answered is on the medium
    Durable,
}

/// Serve a cache to memcached and Redis clients
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Listen here, and speak this; may be repeated. Port 0 is any free port
    #[arg(long, value_name = "PROTOCOL=ADDR:PORT", default_values_t = Listen::DEFAULT)]
    listen: Vec<Listen>,

    /// Bytes of items and of the table that finds them
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "64MiB")]
    memory: u64,

    /// Largest value, at most 8MiB; a quarter of a reactor's memory is a limit, too
    #[arg(long, value_name = "SIZE", value_parser = parse_max_item, default_value_t = MaxItem(DEFAULT_VALUE_BYTES))]
    max_item: MaxItem,

    /// Keep the contents in this file, which is made if it is not there: the next start serves them again. The file
    /// takes as many bytes as --memory says
    #[arg(long, value_name = "FILE")]
    pool: Option<PathBuf>,

    /// Make a pool of another size or durability fit. It takes space for both until it is done
    #[arg(long, requires = "pool")]
    resize_pool: bool,

    /// What the contents survive
    #[arg(long, value_enum, requires = "pool")]
    durability: Option<Durability>,

    /// What happens when the memory is full
    #[arg(long, value_enum, default_value_t = Eviction::S3Fifo)]
    eviction: Eviction,

    /// Let in only the users of this file, of whom each may have a name, a password, read-only = true and prefixes
    #[arg(long, value_name = "FILE")]
    auth_file: Option<PathBuf>,

    /// Serve metrics for Prometheus here; a port alone is one on loopback
    #[arg(long, value_name = "ADDR:PORT", value_parser = control::metrics::address)]
    metrics: Option<SocketAddr>,

    /// Number of reactors (threads); connections and keys are dealt out to them, and each has its share of the memory
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_reactors)]
    reactors: usize,

    /// Pin the reactors to these processors
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cpus: Vec<usize>,

    /// Spin before sleeping: the shortest latencies, for cores that nothing else needs
    #[arg(long)]
    dedicated: bool,

    /// Print one JSON object a line instead of text
    #[arg(long)]
    json: bool,
}

/// What is done instead of serving.
#[derive(clap::Subcommand, Clone, Debug)]
enum Command {
    Simulate(simulate::Args),
    Trace(trace::Args),
}

/// Version of the JSON objects. Fields may be added; one that changes or goes makes a new version.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Listening<'a> {
    schema: u32,
    event: &'static str,
    memcache: &'a [SocketAddr],
    resp: &'a [SocketAddr],
    memory: u64,
    max_value: usize,
    /// Where metrics are served.
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<SocketAddr>,
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
    /// The sums of all reactors, and each.
    busy_seconds: f64,
    idle_seconds: f64,
    asleep_seconds: f64,
    reactors: Vec<ReactorShares>,
}

/// How often it is looked whether the reactor has died.
const WATCH: Duration = Duration::from_millis(500);

/// Runs the command: returns after SIGINT or SIGTERM.
///
/// # Errors
/// What keeps the cache from serving.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    match &args.command {
        Some(Command::Simulate(args)) => return simulate::run(args),
        Some(Command::Trace(args)) => return trace::run(args),
        None => {}
    }
    on_panic_abort();
    let allowed = os::allowed_cpus();
    check_cpus(args, &allowed)?;
    let _ = os::raise_file_limit();
    let (wake, woken) = mpsc::channel();
    signals::watch(false, move |wish| wake.send(wish).unwrap_or_default())?;
    let options = Options {
        reactors: args.reactors,
        memcache: args.addresses(Protocol::Memcache),
        resp: args.addresses(Protocol::Resp),
        memory: usize::try_from(args.memory)?,
        max_value: args.max_item.0,
        pool: args.pool.clone().map(|path| PoolFile { path, keep: args.keep(), refits: args.resize_pool }),
        users: args.auth_file.as_deref().map(load_users).transpose()?,
        eviction: args.eviction.into(),
        seed: Uuid::new_v4().as_u64_pair().0,
        mode: Mode::choose(args.dedicated.then_some(Mode::Spin(DEDICATED_SPIN)), args.reactors, allowed.len()),
        cpus: args.cpus.clone(),
    };
    let server = Server::start(&options).map_err(|error| match &error {
        StartError::Pool(PoolError::Shape { .. }) => {
            format!("{error}\n  --resize-pool makes it fit, with space for both.")
        }
        _ => error.to_string(),
    })?;
    let metrics = args.metrics.map(|address| serve_metrics(address, &server)).transpose()?;
    announce(args, &server, metrics.as_ref().map(Metrics::address))?;
    while woken.recv_timeout(WATCH) == Err(mpsc::RecvTimeoutError::Timeout) && !server.has_failed() {
        if let Some(failure) = server.failure() {
            return Err(failure.to_owned().into());
        }
    }
    let reactors = server.stats();
    server.stop()?;
    if args.json {
        let reactors: Vec<ReactorShares> = reactors.iter().map(ReactorShares::from).collect();
        let sum = |seconds: fn(&ReactorShares) -> f64| reactors.iter().map(seconds).sum();
        let stopped = Stopped {
            schema: SCHEMA,
            event: "stopped",
            busy_seconds: sum(|reactor| reactor.busy_seconds),
            idle_seconds: sum(|reactor| reactor.idle_seconds),
            asleep_seconds: sum(|reactor| reactor.asleep_seconds),
            reactors,
        };
        println!("{}", serde_json::to_string(&stopped)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn serve_metrics(address: SocketAddr, server: &Server) -> Result<Metrics, String> {
    let sources = Sources { cache: Some(server.observer()), ..Sources::default() };
    Metrics::start(address, sources)
        .map_err(|error| format!("--metrics: cannot listen on {address}: {error}\n  Choose another address or port."))
}

/// The processors that are named are there, and are enough.
fn check_cpus(args: &Args, allowed: &[usize]) -> Result<(), String> {
    let (cpus, reactors) = (&args.cpus, args.reactors);
    if let Some(missing) = cpus.iter().find(|cpu| !allowed.contains(cpu)) {
        return Err(format!("--cpus: processor {missing} is not available here\n  Choose from {allowed:?}."));
    }
    if !cpus.is_empty() && cpus.len() < reactors {
        let count = cpus.len();
        return Err(format!("--cpus: {count} processors are named for {reactors} reactors\n  Name one for each."));
    }
    Ok(())
}

impl Args {
    fn keep(&self) -> Keep {
        match self.durability {
            Some(Durability::Durable) => Keep::Durable,
            _ => Keep::Warm,
        }
    }

    fn addresses(&self, protocol: Protocol) -> Vec<SocketAddr> {
        self.listen.iter().filter(|listen| listen.0 == protocol).map(|listen| listen.1).collect()
    }
}

fn announce(args: &Args, server: &Server, metrics: Option<SocketAddr>) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let found = server.found().map(|(found, _)| match found {
        Found::New => "new",
        Found::Closed => "closed",
        Found::Unclosed => "unclosed",
        Found::Dropped => "dropped",
    });
    let persists_by = (args.pool.is_some() && args.keep() == Keep::Durable).then(|| server.durability().to_string());
    let (memcache, resp) = server.addresses().split_at(args.addresses(Protocol::Memcache).len());
    if args.json {
        let (memory, max_value) = (args.memory, args.max_item.0);
        let (schema, event, pool) = (SCHEMA, "listening", found);
        let listening = Listening { schema, event, memcache, resp, memory, max_value, metrics, pool, persists_by };
        writeln!(out, "{}", serde_json::to_string(&listening)?)?;
    } else {
        let memory = format_size(args.memory);
        if let (Some((found, refitted)), Some(path)) = (server.found(), &args.pool) {
            let pool = format!("the {} pool {}", args.keep(), path.display());
            if let Some(Refitted { items, evicted }) = refitted {
                writeln!(out, "{pool} was of another shape: {items} items were moved, {evicted} had no room")?;
            }
            match found {
                Found::New => writeln!(out, "{pool} is new")?,
                Found::Closed => writeln!(out, "{pool} was closed in order: its items are there again")?,
                Found::Unclosed => writeln!(out, "{pool} was not closed: its items are there again")?,
                Found::Dropped => writeln!(
                    out,
                    "{pool} was not closed before the machine was started anew: what it held may not be whole, and was \
                     dropped"
                )?,
            }
            if let Some(by) = persists_by {
                writeln!(out, "what is answered survives a power cut by {by}")?;
            }
        }
        for (clients, addresses) in [("memcached", memcache), ("Redis", resp)] {
            for address in addresses {
                writeln!(out, "caching {memory} for {clients} clients on {address}")?;
            }
        }
        if let Some(metrics) = metrics {
            writeln!(out, "metrics at http://{metrics}/metrics")?;
        }
    }
    Ok(out.flush()?)
}
