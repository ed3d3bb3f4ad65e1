//! A cache on the calling thread: a pass at a time, by a clock that the caller turns. For fuzzers and tests, which want
//! the same to happen every time; clients are served by [`crate::Server`].

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use machine::clock::Fine;
use machine::os::connected_sockets;
use machine::reactor::{Context, Poller, Sender};
use machine::ring::{Ring, RingKind, Wait};
use store::Time;

use crate::access::Roll;
use crate::calendar::Calendar;
use crate::kept::Shared;
use crate::observe::Published;
use crate::peers;
use crate::server::{Begin, Options, StartError, build};
use crate::shard::{Arrival, Shard, Speaks};

/// See the module.
pub struct Stepper {
    reactors: Vec<Stepped>,
    /// Whose turn it is to get a client.
    next: usize,
}

/// What a reactor has, without its thread.
struct Stepped {
    ring: Ring,
    shard: Shard,
    arrivals: Sender<Arrival>,
}

/// The date when a stepped cache starts: a billion seconds of 1970's count.
const BORN: Duration = Duration::from_secs(1_000_000_000);

impl Stepper {
    /// A cache in memory that listens nowhere: of the options, what is about sockets, pools and threads is passed over.
    /// It starts at this moment.
    ///
    /// # Errors
    /// See [`StartError::Reactor`].
    pub fn new(options: &Options, now: Fine) -> Result<Self, StartError> {
        let (shared, roll) = (Arc::new(Shared::default()), Arc::new(Roll::new(options.users.clone())));
        let calendar = Calendar::at_date(now, Time::default().plus(BORN));
        let reactors = peers::ports(options.reactors).into_iter().map(|ports| {
            let mut ring = Ring::of(RingKind::Portable)?;
            let (shared, published) = (Arc::clone(&shared), Published::new());
            let roll = Arc::clone(&roll);
            let begin = Begin { ports, part: None, calendar, now, shared, roll, others: None, published, logger: None };
            let (shard, started) = build(&mut ring, begin, options)?;
            Ok(Stepped { ring, shard, arrivals: started.arrivals })
        });
        Ok(Self { reactors: reactors.collect::<Result<_, StartError>>()?, next: 0 })
    }

    /// A new client that speaks memcached's protocol, of one reactor after the other; its end of the connection.
    ///
    /// # Errors
    /// Of the sockets.
    pub fn connect_memcache(&mut self) -> io::Result<TcpStream> {
        self.connect(Speaks::Memcache)
    }

    /// The same of one that speaks Redis' protocol.
    ///
    /// # Errors
    /// As above.
    pub fn connect_resp(&mut self) -> io::Result<TcpStream> {
        self.connect(Speaks::Resp)
    }

    fn connect(&mut self, speaks: Speaks) -> io::Result<TcpStream> {
        let (client, stream) = connected_sockets()?;
        let reactor = &self.reactors[self.next];
        self.next = (self.next + 1) % self.reactors.len();
        reactor.arrivals.send(Arrival { stream, speaks }).map_err(|_| io::ErrorKind::WouldBlock)?;
        Ok(client)
    }

    /// One pass of each reactor at this moment; what was done in it. Moments never go backwards.
    ///
    /// # Errors
    /// None that are known of.
    pub fn step(&mut self, now: Fine) -> io::Result<usize> {
        self.reactors.iter_mut().try_fold(0, |units, Stepped { ring, shard, .. }| {
            ring.enter(Wait::No)?;
            Ok(units + shard.poll(&mut Context { ring, now, stopping: false, spinning: true }))
        })
    }

    /// Connections that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.reactors.iter().map(|reactor| reactor.shard.open_connections()).sum()
    }

    /// Bytes of the stores that stay as they are for clients.
    #[must_use]
    pub fn pinned_bytes(&self) -> usize {
        self.reactors.iter().map(|reactor| reactor.shard.pinned_bytes()).sum()
    }

    /// Bytes that clients make it keep, beyond the share of each.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.reactors.iter().map(|reactor| reactor.shard.buffered_bytes()).sum()
    }

    /// Asserts what is true between any two passes.
    pub fn check(&self) {
        self.reactors.iter().for_each(|reactor| reactor.shard.check());
    }
}
