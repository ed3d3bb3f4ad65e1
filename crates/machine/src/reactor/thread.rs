//! A reactor on a thread of its own, and the handle that others hold.

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use super::account::Account;
use super::run::Loop;
use super::{Poller, Reactor, ReactorConfig, Snapshot};
use crate::os;
use crate::ring::{Ring, RingChoice, Waker};

/// What a reactor's thread tells once its pollers are built.
struct Started {
    waker: Waker,
    account: Arc<Account>,
    ring: RingChoice,
}

impl Reactor {
    /// Starts a thread, pins it, makes its ring, and has `build` make its pollers there. Returns when they are made.
    ///
    /// # Errors
    /// The thread cannot be started or pinned, there is no ring to be had, or whatever `build` says.
    pub fn spawn(
        config: ReactorConfig,
        build: impl FnOnce(&mut Ring) -> io::Result<Vec<Box<dyn Poller>>> + Send + 'static,
    ) -> io::Result<Handle> {
        let name = config.name.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, told) = mpsc::sync_channel(1);
        let asked = Arc::clone(&stop);
        let thread =
            thread::Builder::new().name(name.clone()).spawn(move || run_thread(&config, build, &asked, &tell))?;
        match told.recv() {
            Ok(Ok(Started { waker, account, ring })) => Ok(Handle { name, waker, account, ring, stop, thread }),
            Ok(Err(error)) => Err(error),
            // It went away without a word: `build` panicked.
            Err(mpsc::RecvError) => {
                let message = thread.join().err().map_or_else(String::new, |payload| message(&*payload));
                Err(io::Error::other(Panicked { reactor: name, message }))
            }
        }
    }
}

fn run_thread(
    config: &ReactorConfig,
    build: impl FnOnce(&mut Ring) -> io::Result<Vec<Box<dyn Poller>>>,
    stop: &AtomicBool,
    tell: &mpsc::SyncSender<io::Result<Started>>,
) {
    let prepare = || {
        if let Some(cpu) = config.cpu {
            os::pin_to(cpu)?;
        }
        let mut ring = Ring::of(config.ring)?;
        let pollers = build(&mut ring)?;
        Ok((ring, pollers))
    };
    let (mut ring, mut pollers) = match prepare() {
        Ok(made) => made,
        Err(error) => {
            // Nobody listens only if the starting thread is gone; then nobody wants to know.
            let _ = tell.send(Err(error));
            return;
        }
    };
    let account = Arc::new(Account::new(pollers.iter().map(|poller| poller.name())));
    let started = Started { waker: ring.waker(), account: Arc::clone(&account), ring: ring.choice().clone() };
    let _ = tell.send(Ok(started));
    let borrowed = pollers.iter_mut().map(|poller| &mut **poller as &mut dyn Poller).collect();
    Loop::new(&mut ring, borrowed, &account, config.mode, None)
        .run(|| stop.load(Ordering::Acquire))
        .expect("a ring waits on its own descriptors only");
}

/// The outside of a running reactor.
pub struct Handle {
    name: String,
    waker: Waker,
    account: Arc<Account>,
    ring: RingChoice,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Handle {
    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What wakes it; for mailboxes.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// The kind of its ring.
    #[must_use]
    pub fn ring(&self) -> &RingChoice {
        &self.ring
    }

    /// Asks it to stop: its pollers see `stopping`, and it ends when they are drained.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether it has ended, by itself or by a panic.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> Snapshot {
        self.account.snapshot()
    }

    /// The same for others to ask, also when the reactor has ended.
    #[must_use]
    pub fn watcher(&self) -> Watcher {
        Watcher(Arc::clone(&self.account))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It panicked.
    pub fn join(self) -> Result<(), Panicked> {
        self.thread.join().map_err(|payload| Panicked { reactor: self.name, message: message(&*payload) })
    }
}

/// Tells what a reactor has done.
#[derive(Clone, Debug)]
pub struct Watcher(Arc<Account>);

impl Watcher {
    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> Snapshot {
        self.0.snapshot()
    }
}

/// A reactor's thread panicked: a bug. What it served is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked {
    /// The reactor's name.
    pub reactor: String,
    /// The panic's message.
    pub message: String,
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reactor {} panicked: {}", self.reactor, self.message)
    }
}

impl std::error::Error for Panicked {}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}
