//! What a cache is to be: the table `[cache]` of a file, or the flags of `qpair cache`.
//!
//! ```toml
//! [cache]                                       # all of it may be left out; these are the defaults
//! listen = ["memcache=127.0.0.1:11211", "resp=127.0.0.1:6379"]
//! memory = "64MiB"                              # bytes of items and of the table that finds them
//! max-item = "1MiB"
//! eviction = "s3fifo"                           # or merge, fifo, random, none
//! reactors = 1                                  # threads; also cpus = [2, 3] and dedicated = true
//! ring = "auto"                                 # or iocp, portable: what clients are waited for with
//!
//! pool = "/var/lib/cache.pool"                  # none: items end with the process
//! durability = "warm"                           # or durable
//! resize-pool = true                            # a pool of another size or durability is made to fit
//! auth-file = "/etc/qpair/users.toml"           # none: everybody may use it
//! command-log = "/var/log/cache.csv,every=100"  # none: nothing is written down; also size=64MiB and keep=4
//! huge-pages = "transparent"                    # or reserved; none: as the system likes it. Not with a pool
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use block::size::format_size;
use cache::limits::{DEFAULT_VALUE_BYTES, MAX_VALUE_BYTES};
use cache::{CommandLog, Eviction, Keep};
use machine::limits::MAX_REACTORS;
use machine::region::Huge;
use machine::ring::RingKind;

use super::mistake::{Log, quoted};
use super::read::Fields;
use super::write::{size, text};

/// Bytes of a cache of which nobody says how large it is.
const DEFAULT_MEMORY_BYTES: u64 = 64 << 20;

pub(super) const CACHE: [&str; 14] = [
    "listen",
    "memory",
    "max-item",
    "pool",
    "durability",
    "resize-pool",
    "eviction",
    "huge-pages",
    "auth-file",
    "command-log",
    "reactors",
    "cpus",
    "dedicated",
    "ring",
];

const LISTEN_HINT: &str = "Write for example listen = [\"memcache=127.0.0.1:11211\", \"resp=127.0.0.1:6379\"].";
const MAX_ITEM_HINT: &str = "Write for example max-item = \"1MiB\".";
const POOL_HINT: &str = "Write for example pool = \"/var/lib/cache.pool\".";
const AUTH_HINT: &str = "Write for example auth-file = \"/etc/qpair/users.toml\".";
const LOG_HINT: &str = "Write for example command-log = \"/var/log/cache.csv,every=100,size=64MiB,keep=4\".";

/// A cache: where clients are listened for, and what it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Where clients are listened for. Port 0 is any free port.
    pub listen: Vec<Listen>,
    /// Bytes of items and of the table that finds them.
    pub memory: u64,
    /// Bytes of the largest value.
    pub max_item: usize,
    /// The file that items are kept in, if they are.
    pub pool: Option<PathBuf>,
    /// What they survive, if somebody said that.
    pub durability: Option<Durability>,
    /// Whether a pool of another size or durability is made to fit.
    pub resize_pool: bool,
    /// What happens when the memory is full.
    pub eviction: Eviction,
    /// The huge pages that the memory is to lie on, if somebody insists on some.
    pub huge_pages: Option<Huge>,
    /// The file that says who may use it; without one everybody may.
    pub auth_file: Option<PathBuf>,
    /// Where one command in so many is written down, if anywhere.
    pub command_log: Option<CommandLog>,
    /// Number of reactors, 1 or more.
    pub reactors: usize,
    /// The processors to pin them to, one each; empty: the operating system chooses.
    pub cpus: Vec<usize>,
    /// Spin before sleeping.
    pub dedicated: bool,
    /// What clients are waited for with: any but [`RingKind::Uring`].
    pub ring: RingKind,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            listen: Listen::DEFAULT.to_vec(),
            memory: DEFAULT_MEMORY_BYTES,
            max_item: DEFAULT_VALUE_BYTES,
            pool: None,
            durability: None,
            resize_pool: false,
            eviction: Eviction::S3Fifo,
            huge_pages: None,
            auth_file: None,
            command_log: None,
            reactors: 1,
            cpus: Vec::new(),
            dedicated: false,
            ring: RingKind::Auto,
        }
    }
}

impl Cache {
    /// What the items survive, in the word of the file.
    pub(crate) fn durability_word(&self) -> &'static str {
        let unsaid = if self.pool.is_some() { Durability::Warm } else { Durability::Volatile };
        word_of(&DURABILITIES, &self.durability.unwrap_or(unsaid))
    }

    /// The huge pages that it is to lie on, in the word of the file.
    pub(crate) fn huge_pages_word(&self) -> &'static str {
        self.huge_pages.as_ref().map_or("unsaid", |huge| word_of(&HUGE_PAGES, huge))
    }

    /// What the items of its pool survive, if it has one.
    #[must_use]
    pub fn keep(&self) -> Keep {
        if self.durability == Some(Durability::Durable) { Keep::Durable } else { Keep::Warm }
    }

    /// What happens when the memory is full, in the word of the file.
    pub(crate) fn eviction_word(&self) -> &'static str {
        word_of(&EVICTIONS, &self.eviction)
    }
}

/// What the clients of a cache speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// memcached's text protocol.
    Memcache,
    /// Redis' protocol.
    Resp,
}

/// Where clients of a cache are listened for, and what they speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// What they speak.
    pub protocol: Protocol,
    /// Where; port 0 is any free port.
    pub address: SocketAddr,
}

impl Listen {
    /// Where nobody has said otherwise.
    pub const DEFAULT: [Self; 2] = [Self::local(Protocol::Memcache, 11211), Self::local(Protocol::Resp, 6379)];

    const fn local(protocol: Protocol, port: u16) -> Self {
        Self { protocol, address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port) }
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
        let address = address.parse().map_err(|_| format!("{} is no ADDR:PORT", quoted(address)))?;
        Ok(Self { protocol, address })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = if self.protocol == Protocol::Memcache { "memcache" } else { "resp" };
        write!(f, "{protocol}={}", self.address)
    }
}

/// What the items of a cache survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: there is no pool.
    Volatile,
    /// The end of the process, whatever it comes from.
    Warm,
    /// Power cuts, too.
    Durable,
}

/// The words of the file and of the flags.
const DURABILITIES: [(&str, Durability); 3] =
    [("volatile", Durability::Volatile), ("warm", Durability::Warm), ("durable", Durability::Durable)];
/// See [`DURABILITIES`].
const HUGE_PAGES: [(&str, Huge); 2] = [("transparent", Huge::Transparent), ("reserved", Huge::Reserved)];
/// See [`DURABILITIES`].
const EVICTIONS: [(&str, Eviction); 5] = [
    ("merge", Eviction::Merge),
    ("s3fifo", Eviction::S3Fifo),
    ("fifo", Eviction::Fifo),
    ("random", Eviction::Random),
    ("none", Eviction::None),
];

fn word<T: Copy>(words: &[(&str, T)], text: &str) -> Result<T, String> {
    let known = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    known.ok_or_else(|| {
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("{} is none of {}", quoted(text), all.join(", "))
    })
}

fn word_of<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> &'static str {
    words.iter().find(|(_, known)| known == value).expect("every value has its word").0
}

/// Reads how large a value may be, in bytes.
///
/// # Errors
/// What is possible.
pub fn max_item(bytes: u64) -> Result<usize, String> {
    if (1..=MAX_VALUE_BYTES as u64).contains(&bytes) {
        Ok(bytes as usize)
    } else {
        Err(format!("a value has at most {}", format_size(MAX_VALUE_BYTES as u64)))
    }
}

/// Reads what kind of ring a cache has. It has no files, which are what `io_uring` does in a ring.
///
/// # Errors
/// What is possible.
pub fn ring(text: &str) -> Result<RingKind, String> {
    match text.parse() {
        Ok(RingKind::Uring) => Err("io_uring is for files, and a cache has sockets: auto, iocp or portable".to_owned()),
        Ok(kind) => Ok(kind),
        Err(_) => Err(format!("{} is none of auto, iocp, portable", quoted(text))),
    }
}

/// Reads the table.
pub(super) fn read(log: &mut Log<'_>, table: &Fields<'_, '_>) -> Cache {
    let default = Cache::default();
    let max_item = table
        .size(log, "max-item")
        .and_then(|bytes| max_item(bytes).map_err(|why| table.wrong(log, "max-item", why, MAX_ITEM_HINT)).ok());
    let durability_hint = "Write for example durability = \"warm\".";
    let eviction_hint = "Write for example eviction = \"s3fifo\".";
    let huge_hint = "Write for example huge-pages = \"transparent\".";
    Cache {
        listen: table.texts(log, "listen", str::parse, LISTEN_HINT).unwrap_or(default.listen),
        memory: table.size(log, "memory").unwrap_or(default.memory),
        max_item: max_item.unwrap_or(default.max_item),
        pool: table.path(log, "pool", path, POOL_HINT),
        durability: table.text(log, "durability", |text| word(&DURABILITIES, text), durability_hint),
        resize_pool: table.flag(log, "resize-pool").unwrap_or(default.resize_pool),
        eviction: table.text(log, "eviction", |text| word(&EVICTIONS, text), eviction_hint).unwrap_or(default.eviction),
        huge_pages: table.text(log, "huge-pages", |text| word(&HUGE_PAGES, text), huge_hint),
        auth_file: table.path(log, "auth-file", path, AUTH_HINT),
        command_log: table.path(log, "command-log", str::parse, LOG_HINT),
        reactors: table.number(log, "reactors", 1..=MAX_REACTORS as u64).map_or(default.reactors, |n| n as usize),
        cpus: table.cpus(log, "cpus"),
        dedicated: table.flag(log, "dedicated").unwrap_or(default.dedicated),
        ring: table.text(log, "ring", ring, "Write for example ring = \"auto\".").unwrap_or(default.ring),
    }
}

fn path(text: &str) -> Result<PathBuf, &'static str> {
    if text.is_empty() { Err("this is no name of a file") } else { Ok(text.into()) }
}

/// Writes the table. What has its default is left out.
pub(super) fn write(out: &mut String, cache: &Cache) -> fmt::Result {
    use fmt::Write;
    let default = Cache::default();
    writeln!(out, "\n[cache]")?;
    if cache.listen != default.listen {
        let all: Vec<String> = cache.listen.iter().map(|listen| text(&listen.to_string())).collect();
        writeln!(out, "listen = [{}]", all.join(", "))?;
    }
    for (key, bytes, default) in
        [("memory", cache.memory, default.memory), ("max-item", cache.max_item as u64, default.max_item as u64)]
    {
        if bytes != default {
            writeln!(out, "{key} = {}", size(bytes))?;
        }
    }
    if cache.reactors != default.reactors {
        writeln!(out, "reactors = {}", cache.reactors)?;
    }
    if !cache.cpus.is_empty() {
        writeln!(out, "cpus = {:?}", cache.cpus)?;
    }
    for (key, path) in [("pool", &cache.pool), ("auth-file", &cache.auth_file)] {
        if let Some(path) = path {
            writeln!(out, "{key} = {}", text(&path.to_string_lossy()))?;
        }
    }
    if let Some(log) = &cache.command_log {
        writeln!(out, "command-log = {}", text(&log.to_string()))?;
    }
    if let Some(durability) = &cache.durability {
        writeln!(out, "durability = \"{}\"", word_of(&DURABILITIES, durability))?;
    }
    if cache.eviction != default.eviction {
        writeln!(out, "eviction = \"{}\"", cache.eviction_word())?;
    }
    if let Some(huge) = &cache.huge_pages {
        writeln!(out, "huge-pages = \"{}\"", word_of(&HUGE_PAGES, huge))?;
    }
    if cache.ring != default.ring {
        writeln!(out, "ring = \"{}\"", cache.ring)?;
    }
    for (key, is) in [("resize-pool", cache.resize_pool), ("dedicated", cache.dedicated)] {
        if is {
            writeln!(out, "{key} = true")?;
        }
    }
    Ok(())
}
