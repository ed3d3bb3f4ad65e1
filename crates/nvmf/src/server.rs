//! Starts a target on reactors of its own and stops it again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;

use machine::reactor::{Handle, Mode, Poller, Reactor, ReactorConfig, Sender, Snapshot, Watcher, mailbox};
use machine::ring::{RingChoice, RingKind};

use crate::acceptor::Acceptor;
use crate::limits::HANDED_OVER;
use crate::shard::Shard;
use crate::stats::ReactorStats;
use crate::target::Target;

/// Where and how a target runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses to listen on; port 0 is any free port.
    pub listen: Vec<SocketAddr>,
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
    /// An address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// A reactor could not be set up.
    #[error("cannot start a reactor: {0}")]
    Reactor(#[source] io::Error),
}

/// A target that runs.
pub struct Server {
    target: Arc<Target>,
    reactors: Vec<Handle>,
    stats: Vec<Arc<ReactorStats>>,
}

impl Server {
    /// Starts `target`. When this returns, hosts can connect.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(target: Arc<Target>, options: &Options) -> Result<Self, StartError> {
        assert!(options.reactors > 0, "a target runs on at least one reactor");
        let mut reactors = Vec::new();
        let mut shards = Vec::new();
        let stats: Vec<Arc<ReactorStats>> = (0..options.reactors).map(|_| Arc::default()).collect();
        for number in 1..options.reactors {
            let (reactor, shard) = spawn(number, &target, options, &stats, None)?;
            reactors.push(reactor);
            shards.push(shard);
        }
        // The first one accepts for all.
        let (reactor, _) = spawn(0, &target, options, &stats, Some(shards))?;
        reactors.insert(0, reactor);
        Ok(Self { target, reactors, stats })
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
        let mut errors = Vec::new();
        self.reactors.iter().for_each(Handle::stop);
        for reactor in self.reactors {
            if let Err(panicked) = reactor.join() {
                errors.push(panicked.to_string());
            }
        }
        for (nsid, device) in self.target.namespaces() {
            if let Err(error) = device.close() {
                errors.push(format!("namespace {nsid} ({}): the last flush failed: {error}", device.info().name));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
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

/// What a reactor sends back once its pollers are made.
type Started = Result<Sender<std::net::TcpStream>, StartError>;

/// Starts one reactor with its shard; with `others`, it accepts connections for itself and them.
fn spawn(
    number: usize,
    target: &Arc<Target>,
    options: &Options,
    stats: &[Arc<ReactorStats>],
    others: Option<Vec<Sender<std::net::TcpStream>>>,
) -> Result<(Handle, Sender<std::net::TcpStream>), StartError> {
    let config = ReactorConfig {
        name: format!("reactor-{number}"),
        cpu: options.cpus.get(number).copied(),
        mode: options.mode,
        ring: options.ring,
    };
    let (target, listen, stats) = (target.clone(), options.listen.clone(), stats[number].clone());
    let (report, started) = mpsc::channel::<Started>();
    let handle = Reactor::spawn(config, move |ring| {
        let (sender, inbox) = mailbox(HANDED_OVER, ring.waker());
        let mut pollers: Vec<Box<dyn Poller>> = Vec::new();
        if let Some(mut shards) = others {
            shards.insert(0, sender.clone());
            match Acceptor::new(ring, &listen, shards) {
                Ok(acceptor) => {
                    target.set_listeners(acceptor.addresses());
                    pollers.push(Box::new(acceptor));
                }
                Err((address, error)) => {
                    let kind = error.kind();
                    let _ = report.send(Err(StartError::Listen(address, error)));
                    return Err(kind.into());
                }
            }
        }
        pollers.push(Box::new(Shard::new(target, ring, inbox, stats)?));
        let _ = report.send(Ok(sender));
        Ok(pollers)
    });
    match (handle, started.recv()) {
        (Ok(handle), Ok(Ok(sender))) => Ok((handle, sender)),
        (_, Ok(Err(error))) => Err(error),
        (Err(error), _) => Err(StartError::Reactor(error)),
        (Ok(_), Err(_)) => Err(StartError::Reactor(io::Error::other("it ended while it started"))),
    }
}
