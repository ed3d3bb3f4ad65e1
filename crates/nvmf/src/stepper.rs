//! A target on the calling thread: a pass at a time, by a clock that the caller turns. For fuzzers and tests, which
//! want the same to happen every time; hosts are served by [`crate::Server`].

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;

use machine::clock::Fine;
use machine::reactor::{Context, Poller, Sender, mailbox};
use machine::ring::{Ring, Wait};

use crate::command::{Stage, Stages};
use crate::limits::HANDED_OVER;
use crate::shard::Shard;
use crate::target::Target;

/// See the module.
pub struct Stepper {
    ring: Ring,
    shard: Shard,
    inbox: Sender<TcpStream>,
    listener: TcpListener,
}

impl Stepper {
    /// A reactor's part of `target` that does nothing by itself.
    ///
    /// # Errors
    /// No file descriptors, no memory, or what a device says when its queue is opened.
    pub fn new(target: Arc<Target>) -> io::Result<Self> {
        let mut ring = Ring::new()?;
        let (inbox, received) = mailbox(HANDED_OVER, ring.waker());
        let shard = Shard::new(target, &mut ring, received, Arc::default())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self { ring, shard, inbox, listener })
    }

    /// A new connection, taken over in the next pass; the host's end of it.
    ///
    /// # Errors
    /// Of the sockets; `WouldBlock` if more connections wait than one pass takes over.
    pub fn connect(&mut self) -> io::Result<TcpStream> {
        let host = TcpStream::connect(self.listener.local_addr()?)?;
        let (target, _) = self.listener.accept()?;
        self.inbox.send(target).map_err(|_| io::ErrorKind::WouldBlock)?;
        Ok(host)
    }

    /// One pass at this moment; what was done in it. Moments never go backwards.
    ///
    /// # Errors
    /// None that are known of.
    pub fn step(&mut self, now: Fine) -> io::Result<usize> {
        self.ring.enter(Wait::No)?;
        let mut cx = Context { ring: &mut self.ring, now, stopping: false, spinning: true };
        Ok(self.shard.poll(&mut cx))
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
