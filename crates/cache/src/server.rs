//! Starts a cache on a reactor of its own and stops it again.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;

use machine::reactor::{Handle, Mode, Poller, Reactor, ReactorConfig, Snapshot};
use machine::region::Region;
use machine::ring::{Listener, Ring, RingKind};
use store::{Store, StoreOptions};

use crate::calendar::Calendar;
use crate::session::House;
use crate::shard::Shard;

/// How a cache runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens for clients of memcached's text protocol; port 0 lets the system choose one.
    pub memcache: Vec<SocketAddr>,
    /// Bytes of items and of the table that finds them.
    pub memory: usize,
    /// Whether old items make room for new ones.
    pub evicts: bool,
    /// Of the hash of keys: to be chosen by chance.
    pub seed: u64,
    /// What the reactor does when it finds no work.
    pub mode: Mode,
    /// The processor to pin it to.
    pub cpu: Option<usize>,
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
    /// The reactor, or the memory.
    #[error("cannot start the cache: {0}")]
    Reactor(#[from] io::Error),
}

/// A cache that runs.
pub struct Server {
    reactor: Handle,
    addresses: Vec<SocketAddr>,
}

impl Server {
    /// Starts a cache. When this returns, clients can connect.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(options: &Options) -> Result<Self, StartError> {
        let config = ReactorConfig {
            name: "reactor-0".to_owned(),
            cpu: options.cpu,
            mode: options.mode,
            ring: RingKind::Portable,
        };
        let options = options.clone();
        let (report, told) = mpsc::channel();
        let started = Reactor::spawn(config, move |ring| {
            let (shard, addresses) = match build(ring, &options) {
                Ok(built) => built,
                Err(error) => {
                    let why = io::Error::other(error.to_string());
                    let _ = report.send(Err(error));
                    return Err(why);
                }
            };
            let _ = report.send(Ok(addresses));
            Ok(vec![Box::new(shard) as Box<dyn Poller>])
        });
        match (started, told.recv()) {
            (Ok(reactor), Ok(Ok(addresses))) => Ok(Self { reactor, addresses }),
            (_, Ok(Err(error))) => Err(error),
            (Err(error), _) => Err(error.into()),
            (Ok(_), Err(_)) => unreachable!("its poller was made, and it told where it listens"),
        }
    }

    /// Where it listens, in the order of the options.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How busy the reactor has been.
    #[must_use]
    pub fn stats(&self) -> Snapshot {
        self.reactor.stats()
    }

    /// Whether the reactor has ended, which it does not do by itself unless it panics.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.reactor.is_finished()
    }

    /// Stops: answers what has come, and closes the connections.
    ///
    /// # Errors
    /// The reactor panicked: what it said.
    pub fn stop(self) -> Result<(), String> {
        self.reactor.stop();
        self.reactor.join().map(|_| ()).map_err(|panic| panic.to_string())
    }
}

fn build(ring: &mut Ring, options: &Options) -> Result<(Shard, Vec<SocketAddr>), StartError> {
    let store_options = StoreOptions { seed: options.seed, evicts: options.evicts };
    let store = Store::new(Region::anonymous(options.memory)?, store_options)?;
    let calendar = Calendar::now();
    let owner = ring.owner();
    let mut listeners: Vec<Listener> = Vec::new();
    for (number, address) in options.memcache.iter().copied().enumerate() {
        let listener = ring.listener(address, owner, Shard::listener_key(number));
        listeners.push(listener.map_err(|source| StartError::Listen { address, source })?);
    }
    let addresses = listeners.iter().map(Listener::local_addr).collect();
    let house = House::new(store, calendar.at(machine::clock::Fine::now()));
    Ok((Shard::new(owner, listeners, house, calendar), addresses))
}
