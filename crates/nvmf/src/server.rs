//! Starts a target on reactors of its own and stops it again.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use block::Device;
use machine::reactor::{Handle, Mode, Poller, Ports, Reactor, ReactorConfig, Sender, Snapshot, Watcher, mailbox};
use machine::ring::{RingChoice, RingKind};

use crate::connection::placing::Arrival;
use crate::layout::Layout;
use crate::layout::apply::{ApplyError, close, devices};
use crate::layout::order::{Listen, Order};
use crate::limits::{HANDED_OVER, ORDERS, RULINGS};
use crate::reservation::desk::Ruling;
use crate::reservation::keeper::Keeper;
use crate::shard::acceptor::Acceptor;
use crate::shard::exclusive::{self, Message};
use crate::shard::memory::Memory;
use crate::shard::{Inlets, Shard};
use crate::stats::ReactorStats;
use crate::target::Target;

/// How a target runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of reactors, 1 or more.
    pub reactors: usize,
    /// What a reactor does when it finds no work.
    pub mode: Mode,
    /// What serves files.
    pub ring: RingKind,
    /// The processors to pin the reactors to, one each, if there are enough of them.
    pub cpus: Vec<usize>,
}

/// Why a target could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A reactor could not be set up.
    #[error("cannot start a reactor: {0}")]
    Reactor(#[source] io::Error),
    /// What it is to serve cannot be served.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// A target that runs.
pub struct Server {
    target: Arc<Target>,
    reactors: Vec<Handle>,
    /// The way to each shard.
    pub(crate) orders: Vec<Sender<Order>>,
    /// The way to the acceptor.
    pub(crate) listen: Sender<Listen>,
    /// Devices of namespaces that went while the devices still had requests. Locked while a layout is applied.
    left_over: Mutex<Vec<Arc<dyn Device>>>,
    stats: Vec<Arc<ReactorStats>>,
    /// The keeper of reservations.
    keeper: JoinHandle<()>,
}

/// The ways to one reactor.
struct Reach {
    streams: Sender<Arrival>,
    orders: Sender<Order>,
    rulings: Sender<Ruling>,
    /// Of the one that accepts.
    listen: Option<Sender<Listen>>,
}

impl Server {
    /// Starts a target that serves `layout`. When this returns, hosts can connect.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(layout: &Layout, options: &Options) -> Result<Self, StartError> {
        assert!(options.reactors > 0, "a target runs on at least one reactor");
        let (target, events) = Target::new();
        let stats: Vec<Arc<ReactorStats>> = (0..options.reactors).map(|_| Arc::default()).collect();
        let (mut reactors, mut orders, mut streams, mut rulings) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut ports = exclusive::ports(options.reactors);
        let first = ports.remove(0);
        for ports in ports {
            let (reactor, reach) = spawn(ports, &target, options, &stats, None)?;
            reactors.push(reactor);
            orders.push(reach.orders);
            streams.push(reach.streams);
            rulings.push(reach.rulings);
        }
        // The first one accepts for all.
        let (reactor, reach) = spawn(first, &target, options, &stats, Some(streams.clone()))?;
        streams.insert(0, reach.streams);
        target.set_reactors(streams);
        reactors.insert(0, reactor);
        orders.insert(0, reach.orders);
        rulings.insert(0, reach.rulings);
        let listen = reach.listen.expect("the first one accepts");
        target.set_wakers(reactors.iter().map(Handle::waker).collect());
        let keeper = Keeper::new(target.clone(), events, rulings);
        let named = std::thread::Builder::new().name("reservations".to_owned());
        let keeper = named.spawn(move || keeper.run()).map_err(StartError::Reactor)?;
        let server = Self { target, reactors, orders, listen, left_over: Mutex::default(), stats, keeper };
        match server.apply(layout) {
            Ok(_) => Ok(server),
            Err(error) => {
                server.join();
                Err(error.into())
            }
        }
    }

    /// The target.
    #[must_use]
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// How busy each reactor has been.
    #[must_use]
    pub fn stats(&self) -> Vec<Snapshot> {
        self.reactors.iter().map(Handle::stats).collect()
    }

    /// The way to look at it from other threads, also when it has stopped.
    #[must_use]
    pub fn observer(&self) -> Observer {
        Observer {
            target: self.target.clone(),
            reactors: self.stats.clone(),
            watchers: self.reactors.iter().map(Handle::watcher).collect(),
        }
    }

    /// The kinds of the reactors' rings.
    pub fn rings(&self) -> impl Iterator<Item = &RingChoice> {
        self.reactors.iter().map(Handle::ring)
    }

    /// Whether a reactor has ended, which it does not do by itself unless it panics.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.reactors.iter().any(Handle::is_finished)
    }

    /// Stops: finishes what is in flight, answers it, closes the connections, and makes the devices' data durable.
    ///
    /// # Errors
    /// What went wrong, for a person to read: a reactor that panicked, a device that could not be flushed.
    pub fn stop(self) -> Result<(), Vec<String>> {
        let (plan, left_over) = (self.target.plan(), std::mem::take(&mut *self.lock_left_over()));
        let mut errors = self.join();
        errors.extend(close(devices(&plan).cloned().chain(left_over)));
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Ends the reactors; the messages of those that panicked.
    fn join(self) -> Vec<String> {
        self.reactors.iter().for_each(Handle::stop);
        let ends = self.reactors.into_iter().map(Handle::join);
        let errors = ends.filter_map(|end| Some(end.err()?.to_string())).collect();
        self.target.stop();
        self.keeper.join().expect("the keeper of reservations does not panic");
        errors
    }

    pub(crate) fn lock_left_over(&self) -> MutexGuard<'_, Vec<Arc<dyn Device>>> {
        self.left_over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at a server and changes nothing.
#[derive(Clone)]
pub struct Observer {
    target: Arc<Target>,
    reactors: Vec<Arc<ReactorStats>>,
    watchers: Vec<Watcher>,
}

impl Observer {
    /// The target.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What each reactor has done for whom.
    #[must_use]
    pub fn reactors(&self) -> &[Arc<ReactorStats>] {
        &self.reactors
    }

    /// What each reactor did with its time.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.watchers.iter().map(Watcher::stats).collect()
    }
}

/// Starts one reactor with its shard; with `others`, it accepts connections for itself and them.
fn spawn(
    ports: Ports<Message>,
    target: &Arc<Target>,
    options: &Options,
    stats: &[Arc<ReactorStats>],
    others: Option<Vec<Sender<Arrival>>>,
) -> Result<(Handle, Reach), StartError> {
    let number = ports.me();
    let config = ReactorConfig {
        name: format!("reactor-{number}"),
        cpu: options.cpus.get(number).copied(),
        mode: options.mode,
        ring: options.ring,
    };
    let (target, stats) = (target.clone(), stats[number].clone());
    let (report, started) = mpsc::channel();
    let handle = Reactor::spawn(config, move |ring| {
        let (streams, inbox) = mailbox(HANDED_OVER, ring.waker());
        let (orders, shard_orders) = mailbox(ORDERS, ring.waker());
        let (rulings, shard_rulings) = mailbox(RULINGS, ring.waker());
        let mut pollers: Vec<Box<dyn Poller>> = Vec::new();
        let listen = others.map(|mut shards| {
            shards.insert(0, streams.clone());
            let (listen, acceptor_orders) = mailbox(ORDERS, ring.waker());
            pollers.push(Box::new(Acceptor::new(ring, shards, acceptor_orders)));
            listen
        });
        let inlets = Inlets { ports, streams: inbox, orders: shard_orders, rulings: shard_rulings };
        let memory = Memory::new(ring)?;
        pollers.push(Box::new(Shard::new(target, ring, inlets, stats, memory)));
        let _ = report.send(Reach { streams, orders, rulings, listen });
        Ok(pollers)
    });
    let handle = handle.map_err(StartError::Reactor)?;
    Ok((handle, started.recv().expect("its pollers are made")))
}
