//! A target on the calling thread: a pass at a time, by a clock that the caller turns. For fuzzers and tests, which
//! want the same to happen every time; hosts are served by [`crate::Server`].

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use machine::clock::Fine;
use machine::os::connected_sockets;
use machine::reactor::{Context, Poller, Sender, mailbox};
use machine::ring::{Ring, Wait};

use crate::connection::command::{Stage, Stages};
use crate::connection::placing::Arrival;
use crate::layout::{Layout, Subsystem};
use crate::limits::{HANDED_OVER, ORDERS, RULINGS};
use crate::reservation::keeper::Keeper;
use crate::shard::memory::Memory;
use crate::shard::{Inlets, Shard, exclusive};
use crate::target::Target;

/// See the module.
pub struct Stepper {
    reactors: Vec<Stepped>,
    target: Arc<Target>,
    keeper: Keeper,
}

/// What a reactor has, without its thread.
struct Stepped {
    ring: Ring,
    shard: Shard,
    inbox: Sender<Arrival>,
}

impl Stepper {
    /// A target of one reactor that serves `subsystems` and does nothing by itself.
    ///
    /// # Errors
    /// A layout that cannot be served, no file descriptors, no memory, or what a device says when its queue is opened.
    pub fn new(subsystems: Vec<Subsystem>) -> io::Result<Self> {
        Self::with_reactors(subsystems, 1)
    }

    /// The same with several reactors.
    ///
    /// # Errors
    /// As above.
    pub fn with_reactors(subsystems: Vec<Subsystem>, reactors: usize) -> io::Result<Self> {
        let new = |_| {
            let mut ring = Ring::new()?;
            let memory = Memory::new(&mut ring)?;
            Ok((ring, memory))
        };
        Self::serve(subsystems, (0..reactors).map(new).collect::<io::Result<_>>()?)
    }

    /// Another target in place of this one, which is over and has no connections. The new one knows nothing of it; only
    /// the memory is the same, and what the operating system gave, which take long to get.
    ///
    /// # Errors
    /// As [`Stepper::new`].
    ///
    /// # Panics
    /// If there are connections.
    pub fn renew(self, subsystems: Vec<Subsystem>) -> io::Result<Self> {
        let kept = self.reactors.into_iter().map(|Stepped { mut ring, shard, .. }| {
            let memory = shard.retire(&mut ring);
            (ring, memory)
        });
        Self::serve(subsystems, kept.collect())
    }

    fn serve(subsystems: Vec<Subsystem>, reactors: Vec<(Ring, Memory)>) -> io::Result<Self> {
        let layout = Layout { subsystems, ..Layout::default() };
        layout.check().map_err(io::Error::other)?;
        let (target, events) = Target::new();
        let plan = Arc::new(target.plan().next(&layout));
        target.reservations.open(&plan).map_err(io::Error::other)?;
        let (mut all, mut ways) = (Vec::new(), Vec::new());
        for (ports, (mut ring, memory)) in exclusive::ports(reactors.len()).into_iter().zip(reactors) {
            let (inbox, received) = mailbox(HANDED_OVER, ring.waker());
            let (_, orders) = mailbox(ORDERS, ring.waker());
            let (rulings, ruled) = mailbox(RULINGS, ring.waker());
            ways.push(rulings);
            let inlets = Inlets { ports, streams: received, orders, rulings: ruled };
            let mut shard = Shard::new(target.clone(), &mut ring, inlets, Arc::default(), memory);
            shard.serve(&mut ring, plan.clone()).map_err(|unopened| unopened.error)?;
            all.push(Stepped { ring, shard, inbox });
        }
        let keeper = Keeper::new(target.clone(), events, ways);
        target.install(plan);
        Ok(Self { reactors: all, target, keeper })
    }

    /// The target.
    #[must_use]
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// A new connection to the first reactor, taken over in its next pass; the host's end of it.
    ///
    /// # Errors
    /// Of the sockets; `WouldBlock` if more connections wait than one pass takes over.
    pub fn connect(&mut self) -> io::Result<TcpStream> {
        self.connect_to(0)
    }

    /// The same to this reactor.
    ///
    /// # Errors
    /// As above.
    ///
    /// # Panics
    /// If there is no such reactor.
    pub fn connect_to(&mut self, reactor: usize) -> io::Result<TcpStream> {
        let (host, target) = connected_sockets()?;
        let arrival = Arrival { stream: target, progress: None };
        self.reactors[reactor].inbox.send(arrival).map_err(|_| io::ErrorKind::WouldBlock)?;
        Ok(host)
    }

    /// One pass of each reactor at this moment; what was done in it. Moments never go backwards.
    ///
    /// # Errors
    /// None that are known of.
    pub fn step(&mut self, now: Fine) -> io::Result<usize> {
        (0..self.reactors.len()).try_fold(0, |units, reactor| Ok(units + self.step_one(reactor, now)?))
    }

    /// One pass of one reactor.
    ///
    /// # Errors
    /// None that are known of.
    ///
    /// # Panics
    /// If there is no such reactor.
    pub fn step_one(&mut self, reactor: usize, now: Fine) -> io::Result<usize> {
        let Stepped { ring, shard, .. } = &mut self.reactors[reactor];
        ring.enter(Wait::No)?;
        let units = shard.poll(&mut Context { ring, now, stopping: false, spinning: true });
        self.keeper.turn();
        Ok(units)
    }

    /// Connections that are open, or wait for devices.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.reactors.iter().map(|reactor| reactor.shard.open_connections()).sum()
    }

    /// What commands are doing, and what they hold. All gone with the last connection, or something leaks.
    #[must_use]
    pub fn held(&self) -> Held {
        let mut held = Held { stages: Stages::default(), buffers: 0, exclusive: 0 };
        for reactor in &self.reactors {
            let engine = reactor.shard.engine();
            held.stages.add(&engine.stages);
            held.buffers += engine.buffers_in_use();
            held.exclusive += engine.exclusive.len();
        }
        held
    }
}

/// What the commands of all connections hold.
#[derive(Clone, Debug)]
pub struct Held {
    /// How many are in each stage.
    pub stages: Stages,
    /// Buffers that are not free.
    pub buffers: usize,
    /// Exclusive commands, and ranges of blocks that are asked for or held back.
    pub exclusive: usize,
}

impl Held {
    /// Whether it is nothing.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.buffers == 0 && self.exclusive == 0 && Stage::ALL.into_iter().all(|stage| self.stages.count(stage) == 0)
    }
}
