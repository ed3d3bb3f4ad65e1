//! Accepts connections and deals them out to the reactors, one after the other, for life.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use machine::clock::Coarse;
use machine::reactor::{Arm, Context, Poller, Sender};
use machine::ring::{Listener, Owner, Ready, Ring};

use crate::limits::{ACCEPT_PAUSE, ACCEPTS_PER_PASS};
use crate::log_limit::LogLimit;

/// See the module.
pub(crate) struct Acceptor {
    listeners: Vec<Listener>,
    owner: Owner,
    shards: Vec<Sender<TcpStream>>,
    next: usize,
    ready: Vec<Ready>,
    /// Whether a listener may have more connections than were taken.
    pending: bool,
    paused: Option<Coarse>,
    log: LogLimit,
}

impl Acceptor {
    /// Listens on all of `addresses`.
    ///
    /// # Errors
    /// The first address that cannot be listened on, and why.
    pub(crate) fn new(
        ring: &mut Ring,
        addresses: &[SocketAddr],
        shards: Vec<Sender<TcpStream>>,
    ) -> Result<Self, (SocketAddr, std::io::Error)> {
        let owner = ring.owner();
        let listeners = (0..)
            .zip(addresses)
            .map(|(key, &address)| ring.listener(address, owner, key).map_err(|error| (address, error)))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            listeners,
            owner,
            shards,
            next: 0,
            ready: Vec::new(),
            pending: true,
            paused: None,
            log: LogLimit::default(),
        })
    }

    /// The addresses with the ports that were really bound.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(Listener::local_addr).collect()
    }

    fn accept(&mut self, now: Coarse) -> usize {
        let mut accepted = 0;
        self.pending = false;
        for listener in &self.listeners {
            loop {
                if accepted == ACCEPTS_PER_PASS {
                    self.pending = true;
                    return accepted;
                }
                match listener.try_accept() {
                    Ok(None) => break,
                    Ok(Some((stream, peer))) => {
                        accepted += 1;
                        let shard = &self.shards[self.next];
                        self.next = (self.next + 1) % self.shards.len();
                        if shard.send(stream).is_err() && self.log.allows(now) {
                            tracing::warn!(%peer, "refused a connection: its reactor has too many to take over");
                        }
                    }
                    Err(error) => {
                        if self.log.allows(now) {
                            tracing::warn!(%error, "cannot accept connections, pausing");
                        }
                        self.paused = Some(now);
                        return accepted;
                    }
                }
            }
        }
        accepted
    }
}

impl Poller for Acceptor {
    fn name(&self) -> &'static str {
        "accept"
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> usize {
        let now = cx.now.coarse();
        cx.ring.ready(self.owner, &mut self.ready);
        self.pending |= !self.ready.is_empty();
        self.ready.clear();
        if self.paused.is_some_and(|since| now.since(since) >= ACCEPT_PAUSE) {
            self.paused = None;
            self.pending = true;
        }
        if self.pending && self.paused.is_none() && !cx.stopping { self.accept(now) } else { 0 }
    }

    fn arm(&mut self, cx: &mut Context<'_>) -> Arm {
        if self.paused.is_some() {
            return Arm::PollEvery(ACCEPT_PAUSE.max(Duration::from_millis(1)));
        }
        self.listeners.iter().fold(Arm::Armed, |all, listener| all.and(cx.ring.arm_listener(listener)))
    }
}
