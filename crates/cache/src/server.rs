//! Starts a cache on reactors of its own and stops it again.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use machine::clock::Fine;
use machine::limits::HUGE_PAGE_BYTES;
use machine::os::{self, HugePagePool};
use machine::reactor::{Handle, Mode, Poller, Ports, Reactor, ReactorConfig, Sender, Snapshot, mailbox};
use machine::region::{Durability, Huge, Region};
use machine::ring::{Ring, RingKind};
use store::{Eviction, Found, Keep, Part, Pool, PoolError, Refitted, Shape, Store, StoreOptions, Time, refit};

use crate::access::{Roll, Users};
use crate::calendar::Calendar;
use crate::kept::{Keeping, Shared};
use crate::limits::{DEFAULT_VALUE_BYTES, MAX_CONNECTIONS, MAX_VALUE_BYTES};
use crate::log::{self, CommandLog, Logger, Writer};
use crate::observe::{Observer, Published};
use crate::peers::{self, Message, Peers};
use crate::session::{House, Present, Settings};
use crate::shard::{Arrival, Doors, Shard, Speaks};

/// How a cache runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens for clients of memcached's text protocol; port 0 lets the system choose one.
    pub memcache: Vec<SocketAddr>,
    /// Where it listens for Redis clients.
    pub resp: Vec<SocketAddr>,
    /// Number of reactors, 1 or more.
    pub reactors: usize,
    /// Bytes of items and of the table that finds them; each reactor has an equal share.
    pub memory: usize,
    /// Largest value, in bytes: at most [`MAX_VALUE_BYTES`](crate::limits::MAX_VALUE_BYTES). A value takes at most a
    /// quarter of a reactor's memory, too.
    pub max_value: usize,
    /// The file that items are kept in; else they end with the process.
    pub pool: Option<PoolFile>,
    /// The huge pages that its memory is to lie on, unless it has a pool; `None` leaves that to the system.
    pub huge_pages: Option<Huge>,
    /// Who may use it; `None` is everybody.
    pub users: Option<Users>,
    /// Which old items make room for new ones.
    pub eviction: Eviction,
    /// Of the hash of keys: to be chosen by chance.
    pub seed: u64,
    /// Where one command in so many is written down, if anywhere.
    pub log: Option<CommandLog>,
    /// What a reactor does when it finds no work.
    pub mode: Mode,
    /// What kind of ring reactors have: what clients are waited for with.
    pub ring: RingKind,
    /// The processors to pin the reactors to, one each, if there are enough of them.
    pub cpus: Vec<usize>,
}

impl Default for Options {
    /// A cache of 64 MiB on one reactor, for everybody, that listens nowhere yet and keeps nothing.
    fn default() -> Self {
        Self {
            memcache: Vec::new(),
            resp: Vec::new(),
            reactors: 1,
            memory: 64 << 20,
            max_value: DEFAULT_VALUE_BYTES,
            pool: None,
            huge_pages: None,
            users: None,
            eviction: Eviction::S3Fifo,
            log: None,
            seed: 0,
            mode: Mode::Shared,
            ring: RingKind::Auto,
            cpus: Vec::new(),
        }
    }
}

/// A file that items are kept in.
#[derive(Clone, Debug)]
pub struct PoolFile {
    /// Which. It is made if it is not there.
    pub path: PathBuf,
    /// What its items survive.
    pub keep: Keep,
    /// Whether one of another size, or that survives something else, is made to fit. One for another number of reactors
    /// is in any case.
    pub refits: bool,
}

/// Why a cache could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Its pool cannot be used.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// There are not so many huge pages set aside as it needs.
    #[error("{needed} huge pages of 2 MiB are needed, and {free} of those that are set aside are free")]
    HugePages {
        /// Of all reactors.
        needed: usize,
        /// When it was started.
        free: usize,
        /// How many are set aside.
        all: usize,
    },
    /// The system refuses huge pages for another reason.
    #[error("there are no huge pages: {0}")]
    NoHugePages(#[source] io::Error),
    /// A reactor, or its memory.
    #[error("cannot start the cache: {0}")]
    Reactor(#[from] io::Error),
}

/// A cache that runs.
pub struct Server {
    reactors: Vec<Handle>,
    addresses: Vec<SocketAddr>,
    found: Option<(Found, Option<Refitted>)>,
    durability: Durability,
    shared: Arc<Shared>,
    published: Vec<Arc<Published>>,
    roll: Arc<Roll>,
    log: Option<Writer>,
    huge_bytes: Option<usize>,
}

/// What a reactor tells when it has started.
pub(crate) struct Started {
    pub(crate) arrivals: Sender<Arrival>,
    /// Where it listens, in the order of the options, if it does.
    addresses: Vec<SocketAddr>,
    /// What of the store's memory lies on huge pages, if that was asked for and the system says so.
    huge_bytes: Option<usize>,
}

impl Server {
    /// Starts a cache. When this returns, clients can connect.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(options: &Options) -> Result<Self, StartError> {
        assert!(options.reactors > 0, "a cache runs on at least one reactor");
        let pool = options.pool.as_ref().map(|file| open_pool(file, options)).transpose()?;
        let found = pool.as_ref().map(|(pool, refitted)| (pool.found, *refitted));
        let durability = pool.as_ref().map_or(Durability::None, |(pool, _)| pool.durability);
        let mut parts = pool.into_iter().flat_map(|(pool, _)| pool.parts).collect::<Vec<_>>().into_iter();
        let seen = parts.as_slice().iter().map(Part::time).max().unwrap_or_default();
        let shared = Arc::new(Shared::default());
        let roll = Arc::new(Roll::new(options.users.clone()));
        let (log, loggers) = options.log.as_ref().map(|log| log::start(log, options.reactors)).transpose()?.unzip();
        let mut loggers = loggers.into_iter().flatten();
        let mut begin = |ports| Begin {
            ports,
            part: parts.next(),
            calendar: Calendar::now(seen),
            now: Fine::now(),
            shared: Arc::clone(&shared),
            roll: Arc::clone(&roll),
            others: None,
            published: Published::new(),
            logger: loggers.next(),
        };
        let mut ports = peers::ports(options.reactors).into_iter();
        let first = ports.next().expect("one for each reactor");
        let first = begin(first);
        let (reactors, addresses, published) = (Vec::new(), Vec::new(), vec![Arc::clone(&first.published)]);
        let (shared, roll) = (Arc::clone(&shared), Arc::clone(&roll));
        let huge_bytes = options.huge_pages.map(|_| 0);
        let mut server = Self { reactors, addresses, found, durability, shared, published, roll, log, huge_bytes };
        let mut deals = Vec::new();
        while let Some(next) = ports.next() {
            let next = begin(next);
            server.published.push(Arc::clone(&next.published));
            match spawn(next, options) {
                Ok((reactor, started)) => {
                    server.has_started(&started);
                    server.reactors.push(reactor);
                    deals.push(started.arrivals);
                }
                Err(error) => {
                    // Nobody waits for those that will never start.
                    drop((first, ports));
                    return Err(server.give_up(error));
                }
            }
        }
        // The first one listens for all.
        match spawn(Begin { others: Some(deals), ..first }, options) {
            Ok((reactor, started)) => {
                server.has_started(&started);
                server.reactors.insert(0, reactor);
                server.addresses = started.addresses;
                Ok(server)
            }
            Err(error) => Err(server.give_up(error)),
        }
    }

    fn has_started(&mut self, started: &Started) {
        self.huge_bytes = self.huge_bytes.zip(started.huge_bytes).map(|(sum, more)| sum + more);
    }

    /// Not all of it has started.
    fn give_up(self, error: StartError) -> StartError {
        // What they say now is less than why they stop.
        let _ = self.stop();
        match (error, os::huge_page_pool()) {
            // Some were taken when it was found that there are too few.
            (StartError::HugePages { needed, .. }, Ok(HugePagePool { free, all })) => {
                StartError::HugePages { needed, free, all }
            }
            (error, _) => error,
        }
    }

    /// Where it listens, in the order of the options: for memcached clients, then for Redis clients.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How busy each reactor has been.
    #[must_use]
    pub fn stats(&self) -> Vec<Snapshot> {
        self.reactors.iter().map(Handle::stats).collect()
    }

    /// The way to look at it from other threads, also when it has stopped.
    #[must_use]
    pub fn observer(&self) -> Observer {
        let watchers = self.reactors.iter().map(Handle::watcher).collect();
        let logged = self.log.as_ref().map(|log| Arc::clone(&log.written));
        Observer { published: self.published.clone(), watchers, logged }
    }

    /// In what state its pool was found, and what was moved if it was made to fit.
    #[must_use]
    pub fn found(&self) -> Option<(Found, Option<Refitted>)> {
        self.found
    }

    /// What makes its pool survive a power cut: at every change if it is durable, at the end if it is warm.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// Bytes of its memory that lay on huge pages when it had started: `None` if nobody has asked for them, or the
    /// system does not say.
    #[must_use]
    pub fn huge_bytes(&self) -> Option<usize> {
        self.huge_bytes
    }

    /// Whether a reactor has ended, which it does not do by itself unless it panics.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.reactors.iter().any(Handle::is_finished)
    }

    /// Why it serves nobody any more: its pool has failed. It cannot be stopped in order then.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.shared.failure()
    }

    /// Lets in these users and nobody else from now on; whether that is a change. Clients of those that are gone, or
    /// have another password, are disconnected when what they have asked for is answered.
    ///
    /// # Panics
    /// If it was started without users: its clients were never asked.
    #[must_use = "whether there was something to do"]
    pub fn admit(&self, users: Users) -> bool {
        assert!(self.roll.read().1.is_some(), "a cache without users asks nobody who he is");
        let differs = self.roll.hang(users);
        self.reactors.iter().for_each(|reactor| reactor.waker().wake());
        differs
    }

    /// Stops: answers what has come, closes the connections, and the pool.
    ///
    /// # Errors
    /// A reactor panicked, or the pool could not be closed: what it said.
    pub fn stop(self) -> Result<(), String> {
        self.reactors.iter().for_each(Handle::stop);
        let ends: Vec<_> = self.reactors.into_iter().map(Handle::join).collect();
        ends.into_iter().collect::<Result<(), _>>().map_err(|panic| panic.to_string())?;
        // With its last reactor the log has all its lines.
        self.log.into_iter().for_each(|log| log.thread.join().unwrap_or_default());
        self.shared.failure().map_or(Ok(()), |failure| Err(failure.to_owned()))
    }
}

/// Opens the pool, made to fit if that is allowed; then what that has cost, too.
fn open_pool(file: &PoolFile, options: &Options) -> Result<(Pool, Option<Refitted>), StartError> {
    let shape = Shape { bytes: options.memory as u64, parts: options.reactors, keep: file.keep };
    let found = match Pool::open(&file.path, shape, options.seed) {
        Err(PoolError::Shape { found, .. }) if file.refits || (Shape { parts: shape.parts, ..found }) == shape => found,
        opened => return Ok((opened?, None)),
    };
    let now = Calendar::now(Time::default()).at(Fine::now());
    let refitted = refit(&file.path, found, shape, options.eviction, now)?;
    Ok((Pool::open(&file.path, shape, options.seed)?, Some(refitted)))
}

/// What a reactor begins with.
pub(crate) struct Begin {
    pub(crate) ports: Ports<Message>,
    /// Of the pool.
    pub(crate) part: Option<Part>,
    pub(crate) calendar: Calendar,
    pub(crate) now: Fine,
    pub(crate) shared: Arc<Shared>,
    pub(crate) roll: Arc<Roll>,
    /// The ways to those that it listens for.
    pub(crate) others: Option<Vec<Sender<Arrival>>>,
    pub(crate) published: Arc<Published>,
    pub(crate) logger: Option<Logger>,
}

/// Starts one reactor with its store; with the ways to others, it listens for itself and them.
fn spawn(begin: Begin, options: &Options) -> Result<(Handle, Started), StartError> {
    let number = begin.ports.me();
    let config = ReactorConfig {
        name: format!("cache-{number}"),
        cpu: options.cpus.get(number).copied(),
        mode: options.mode,
        ring: options.ring.of_sockets(),
    };
    let options = options.clone();
    let (report, told) = mpsc::channel();
    let started = Reactor::spawn(config, move |ring| {
        let (shard, started) = match build(ring, begin, &options) {
            Ok(built) => built,
            Err(error) => {
                let why = io::Error::other(error.to_string());
                let _ = report.send(Err(error));
                return Err(why);
            }
        };
        let _ = report.send(Ok(started));
        Ok(vec![Box::new(shard) as Box<dyn Poller>])
    });
    match (started, told.recv()) {
        (Ok(reactor), Ok(Ok(started))) => Ok((reactor, started)),
        (_, Ok(Err(error))) => Err(error),
        (Err(error), _) => Err(error.into()),
        (Ok(_), Err(_)) => unreachable!("its poller was made, and it told where it listens"),
    }
}

fn settings(options: &Options) -> Settings {
    Settings {
        memory: options.memory,
        reactors: options.reactors,
        connections: MAX_CONNECTIONS,
        evicts: options.eviction != Eviction::None,
        max_value: options.max_value.min(MAX_VALUE_BYTES),
        auth: options.users.is_some(),
    }
}

/// The memory of one reactor's store, which is in no pool.
fn region(options: &Options) -> Result<Region, StartError> {
    let bytes = options.memory / options.reactors;
    let Some(huge) = options.huge_pages else { return Ok(Region::anonymous(bytes)?) };
    Region::huge(bytes, huge).map_err(|error| match os::huge_page_pool() {
        Ok(HugePagePool { free, all }) if huge == Huge::Reserved && error.kind() == io::ErrorKind::OutOfMemory => {
            StartError::HugePages { needed: bytes.div_ceil(HUGE_PAGE_BYTES) * options.reactors, free, all }
        }
        _ if huge == Huge::Reserved => StartError::NoHugePages(error),
        _ => error.into(),
    })
}

/// A reactor's part of the cache, on its thread.
pub(crate) fn build(ring: &mut Ring, begin: Begin, options: &Options) -> Result<(Shard, Started), StartError> {
    let Begin { ports, part, calendar, now, shared, roll, others, published, logger } = begin;
    let owner = ring.owner();
    let (own, arrivals) = mailbox(MAX_CONNECTIONS, ring.waker());
    let mut doors = Doors { listeners: Vec::new(), deals: Vec::new(), arrivals, roll };
    if let Some(others) = others {
        doors.deals.push(own.clone());
        doors.deals.extend(others);
        let memcache = options.memcache.iter().map(|address| (*address, Speaks::Memcache));
        let all = memcache.chain(options.resp.iter().map(|address| (*address, Speaks::Resp)));
        for (number, (address, speaks)) in all.enumerate() {
            let listener = ring.listener(address, owner, Shard::listener_key(number));
            doors.listeners.push((listener.map_err(|source| StartError::Listen { address, source })?, speaks));
        }
    }
    // Last: what keeps a cache from starting leaves its pool as it was.
    let store_options = StoreOptions { seed: options.seed, eviction: options.eviction };
    let (is_kept, mut huge_bytes) = (part.is_some(), None);
    let store = match part {
        Some(part) => Store::open(part, store_options)?,
        None => {
            let region = region(options)?;
            huge_bytes = options.huge_pages.and_then(|_| region.huge_bytes().ok());
            Store::new(region, store_options)?
        }
    };
    let keeping = is_kept.then(|| Keeping::new(shared, &store));
    let addresses: Vec<_> = doors.listeners.iter().map(|(listener, _)| listener.local_addr()).collect();
    let mut house = House::new(store, settings(options), calendar.at(now));
    house.clients.share(ports.me(), options.reactors);
    house.log = logger.map(Box::new);
    house.present = Present::new(Vec::clone(&addresses), ports.me(), options.reactors);
    let peers = Peers::new(ports, ring.waker());
    let started = Started { arrivals: own, addresses, huge_bytes };
    Ok((Shard::new(owner, doors, peers, house, calendar, keeping, published), started))
}
