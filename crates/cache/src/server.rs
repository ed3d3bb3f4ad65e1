//! Starts a cache on reactors of its own and stops it again.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;

use machine::reactor::{Handle, Mode, Poller, Ports, Reactor, ReactorConfig, Sender, Snapshot, mailbox};
use machine::region::Region;
use machine::ring::{Ring, RingKind};
use store::{Store, StoreOptions};

use crate::calendar::Calendar;
use crate::limits::{MAX_CONNECTIONS, MAX_VALUE_BYTES};
use crate::peers::{self, Message, Peers};
use crate::session::{House, Settings};
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
    /// Whether old items make room for new ones.
    pub evicts: bool,
    /// Of the hash of keys: to be chosen by chance.
    pub seed: u64,
    /// What a reactor does when it finds no work.
    pub mode: Mode,
    /// The processors to pin the reactors to, one each, if there are enough of them.
    pub cpus: Vec<usize>,
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
    /// A reactor, or its memory.
    #[error("cannot start the cache: {0}")]
    Reactor(#[from] io::Error),
}

/// A cache that runs.
pub struct Server {
    reactors: Vec<Handle>,
    addresses: Vec<SocketAddr>,
}

/// What a reactor tells when it has started.
struct Started {
    arrivals: Sender<Arrival>,
    /// Where it listens, in the order of the options, if it does.
    addresses: Vec<SocketAddr>,
}

impl Server {
    /// Starts a cache. When this returns, clients can connect.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(options: &Options) -> Result<Self, StartError> {
        assert!(options.reactors > 0, "a cache runs on at least one reactor");
        let calendar = Calendar::now();
        let mut ports = peers::ports(options.reactors).into_iter();
        let first = ports.next().expect("one for each reactor");
        let mut server = Self { reactors: Vec::new(), addresses: Vec::new() };
        let mut deals = Vec::new();
        while let Some(next) = ports.next() {
            match spawn(next, options, calendar, None) {
                Ok((reactor, started)) => {
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
        match spawn(first, options, calendar, Some(deals)) {
            Ok((reactor, started)) => {
                server.reactors.insert(0, reactor);
                server.addresses = started.addresses;
                Ok(server)
            }
            Err(error) => Err(server.give_up(error)),
        }
    }

    /// Not all of it has started.
    fn give_up(self, error: StartError) -> StartError {
        // What they say now is less than why they stop.
        let _ = self.stop();
        error
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

    /// Whether a reactor has ended, which it does not do by itself unless it panics.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.reactors.iter().any(Handle::is_finished)
    }

    /// Stops: answers what has come, and closes the connections.
    ///
    /// # Errors
    /// A reactor panicked: what it said.
    pub fn stop(self) -> Result<(), String> {
        self.reactors.iter().for_each(Handle::stop);
        let ends: Vec<_> = self.reactors.into_iter().map(Handle::join).collect();
        ends.into_iter().collect::<Result<(), _>>().map_err(|panic| panic.to_string())
    }
}

/// Starts one reactor with its store; with the ways to the `others`, it listens for itself and them.
fn spawn(
    ports: Ports<Message>,
    options: &Options,
    calendar: Calendar,
    others: Option<Vec<Sender<Arrival>>>,
) -> Result<(Handle, Started), StartError> {
    let number = ports.me();
    let config = ReactorConfig {
        name: format!("reactor-{number}"),
        cpu: options.cpus.get(number).copied(),
        mode: options.mode,
        ring: RingKind::Portable,
    };
    let options = options.clone();
    let (report, told) = mpsc::channel();
    let started = Reactor::spawn(config, move |ring| {
        let (shard, started) = match build(ring, ports, &options, calendar, others) {
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
        evicts: options.evicts,
        max_value: options.max_value.min(MAX_VALUE_BYTES),
        auth: false,
    }
}

fn build(
    ring: &mut Ring,
    ports: Ports<Message>,
    options: &Options,
    calendar: Calendar,
    others: Option<Vec<Sender<Arrival>>>,
) -> Result<(Shard, Started), StartError> {
    let store_options = StoreOptions { seed: options.seed, evicts: options.evicts };
    let store = Store::new(Region::anonymous(options.memory / options.reactors)?, store_options)?;
    let owner = ring.owner();
    let (own, arrivals) = mailbox(MAX_CONNECTIONS, ring.waker());
    let mut doors = Doors { listeners: Vec::new(), deals: Vec::new(), arrivals };
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
    let addresses = doors.listeners.iter().map(|(listener, _)| listener.local_addr()).collect();
    let mut house = House::new(store, settings(options), calendar.at(machine::clock::Fine::now()));
    house.clients.share(ports.me(), options.reactors);
    let peers = Peers::new(ports, ring.waker());
    Ok((Shard::new(owner, doors, peers, house, calendar), Started { arrivals: own, addresses }))
}
