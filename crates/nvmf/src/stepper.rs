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
use crate::shard::{Inlets, Shard};
use crate::target::Target;

/// See the module.
pub struct Stepper {
    ring: Ring,
    shard: Shard,
    target: Arc<Target>,
    keeper: Keeper,
    inbox: Sender<Arrival>,
}

impl Stepper {
    /// A target of one reactor that serves `subsystems` and does nothing by itself.
    ///
    /// # Errors
    /// A layout that cannot be served, no file descriptors, no memory, or what a device says when its queue is opened.
    pub fn new(subsystems: Vec<Subsystem>) -> io::Result<Self> {
        let mut ring = Ring::new()?;
        let memory = Memory::new(&mut ring)?;
        Self::serve(subsystems, ring, memory)
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
        let Self { mut ring, shard, .. } = self;
        let memory = shard.retire(&mut ring);
        Self::serve(subsystems, ring, memory)
    }

    fn serve(subsystems: Vec<Subsystem>, mut ring: Ring, memory: Memory) -> io::Result<Self> {
        let layout = Layout { subsystems, ..Layout::default() };
        layout.check().map_err(io::Error::other)?;
        let (target, events) = Target::new();
        let plan = Arc::new(target.plan().next(&layout));
        let (inbox, received) = mailbox(HANDED_OVER, ring.waker());
        let (_, orders) = mailbox(ORDERS, ring.waker());
        let (rulings, ruled) = mailbox(RULINGS, ring.waker());
        target.reservations.open(&plan).map_err(io::Error::other)?;
        let keeper = Keeper::new(target.clone(), events, vec![rulings]);
        let inlets = Inlets { reactor: 0, streams: received, orders, rulings: ruled };
        let mut shard = Shard::new(target.clone(), &mut ring, inlets, Arc::default(), memory);
        shard.serve(&mut ring, plan.clone()).map_err(|unopened| unopened.error)?;
        target.install(plan);
        Ok(Self { ring, shard, target, keeper, inbox })
    }

    /// The target.
    #[must_use]
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// A new connection, taken over in the next pass; the host's end of it.
    ///
    /// # Errors
    /// Of the sockets; `WouldBlock` if more connections wait than one pass takes over.
    pub fn connect(&mut self) -> io::Result<TcpStream> {
        let (host, target) = connected_sockets()?;
        self.inbox.send(Arrival { stream: target, progress: None }).map_err(|_| io::ErrorKind::WouldBlock)?;
        Ok(host)
    }

    /// One pass at this moment; what was done in it. Moments never go backwards.
    ///
    /// # Errors
    /// None that are known of.
    pub fn step(&mut self, now: Fine) -> io::Result<usize> {
        self.ring.enter(Wait::No)?;
        let mut cx = Context { ring: &mut self.ring, now, stopping: false, spinning: true };
        let units = self.shard.poll(&mut cx);
        self.keeper.turn();
        Ok(units)
    }

    /// Connections that are open, or wait for devices.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shard.open_connections()
    }

    /// What commands are doing, and the buffers that they hold. All gone with the last connection, or something leaks.
    #[must_use]
    pub fn held(&self) -> Held {
        let stages = &self.shard.engine().stages;
        Held { stages: stages.clone(), buffers: self.shard.engine().buffers_in_use() }
    }
}

/// What the commands of all connections hold.
#[derive(Clone, Debug)]
pub struct Held {
    /// How many are in each stage.
    pub stages: Stages,
    /// Buffers that are not free.
    pub buffers: usize,
}

impl Held {
    /// Whether it is nothing.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.buffers == 0 && Stage::ALL.into_iter().all(|stage| self.stages.count(stage) == 0)
    }
}
