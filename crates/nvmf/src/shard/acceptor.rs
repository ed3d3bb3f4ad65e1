//! Accepts connections and deals them out to the reactors, one after the other, for their first words: see
//! [`placing`](crate::connection::placing).

use std::io::ErrorKind;
use std::net::SocketAddr;

use machine::clock::Coarse;
use machine::reactor::{Arm, Context, Mailbox, Poller, Sender};
use machine::ring::{Listener, Owner, Ready, Ring};

use crate::connection::log_limit::LogLimit;
use crate::connection::placing::Arrival;
use crate::layout::order::Listen;
use crate::layout::plan::Listening;
use crate::limits::{ACCEPT_PAUSE, ACCEPTS_PER_PASS};

/// See the module.
pub(crate) struct Acceptor {
    listeners: Vec<(SocketAddr, Listener)>,
    /// The wanted addresses that are to be listened on next, and the listeners that come with them.
    next_wanted: Vec<SocketAddr>,
    prepared: Vec<(SocketAddr, Listener)>,
    /// Addresses that were closed because a prepared one needs their port: as wanted, and as bound.
    displaced: Vec<(SocketAddr, SocketAddr)>,
    orders: Mailbox<Listen>,
    owner: Owner,
    shards: Vec<Sender<Arrival>>,
    next: usize,
    ready: Vec<Ready>,
    /// Whether a listener may have more connections than were taken.
    pending: bool,
    paused: Option<Coarse>,
    log: LogLimit,
}

impl Acceptor {
    /// Listens nowhere yet: that comes through `orders`.
    pub(crate) fn new(ring: &mut Ring, shards: Vec<Sender<Arrival>>, orders: Mailbox<Listen>) -> Self {
        Self {
            listeners: Vec::new(),
            next_wanted: Vec::new(),
            prepared: Vec::new(),
            displaced: Vec::new(),
            orders,
            owner: ring.owner(),
            shards,
            next: 0,
            ready: Vec::new(),
            pending: false,
            paused: None,
            log: LogLimit::default(),
        }
    }

    /// Does what the control thread orders.
    fn obey(&mut self, ring: &mut Ring) -> usize {
        let mut units = 0;
        while let Some(order) = self.orders.take() {
            units += 1;
            match order {
                // Whoever does not wait for the answer any more does not want to know.
                Listen::Prepare(wanted, reply) => drop(reply.send(self.prepare(ring, wanted))),
                Listen::Forget(reply) => {
                    self.forget(ring);
                    let _ = reply.send(());
                }
                Listen::Install(reply) => {
                    self.displaced.clear();
                    self.listeners.append(&mut self.prepared);
                    let mut wanted = std::mem::take(&mut self.next_wanted);
                    self.listeners.retain(|(address, _)| take(&mut wanted, address));
                    self.pending = true;
                    let _ = reply.send(());
                }
            }
        }
        units
    }

    /// Binds what is not bound yet; the bound addresses of all that are wanted.
    fn prepare(
        &mut self,
        ring: &mut Ring,
        wanted: Vec<SocketAddr>,
    ) -> Result<Vec<Listening>, (SocketAddr, std::io::Error)> {
        let mut going: Vec<_> =
            self.listeners.iter().map(|(address, listener)| (*address, listener.local_addr())).collect();
        let mut stays = |wanted: &SocketAddr| {
            let at = going.iter().position(|(known, _)| known == wanted);
            at.map(|at| going.swap_remove(at).1)
        };
        let known: Vec<_> = wanted.iter().map(|address| (*address, stays(address))).collect();
        let mut all = Vec::new();
        for (wanted, known) in known {
            let bound = known.map_or_else(|| self.bind(ring, wanted, &mut going), Ok).map_err(|error| {
                self.forget(ring);
                (wanted, error)
            })?;
            all.push(Listening { wanted, bound });
        }
        self.next_wanted = wanted;
        Ok(all)
    }

    /// Listens on an address. If its port is taken by listeners that are `going`, as when all addresses become one or
    /// one becomes all, those are closed first. What it is bound to.
    fn bind(
        &mut self,
        ring: &mut Ring,
        address: SocketAddr,
        going: &mut Vec<(SocketAddr, SocketAddr)>,
    ) -> std::io::Result<SocketAddr> {
        let mut outcome = ring.listener(address, self.owner, 0);
        if outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::AddrInUse) {
            let in_the_way: Vec<_> = going.extract_if(.., |(_, bound)| bound.port() == address.port()).collect();
            if !in_the_way.is_empty() {
                self.listeners.retain(|(_, listener)| in_the_way.iter().all(|(_, at)| *at != listener.local_addr()));
                self.displaced.extend(in_the_way);
                outcome = ring.listener(address, self.owner, 0);
            }
        }
        let listener = outcome?;
        let bound = listener.local_addr();
        self.prepared.push((address, listener));
        Ok(bound)
    }

    /// Listens as before.
    fn forget(&mut self, ring: &mut Ring) {
        self.prepared.clear();
        for (wanted, bound) in self.displaced.drain(..) {
            match ring.listener(bound, self.owner, 0) {
                Ok(listener) => self.listeners.push((wanted, listener)),
                Err(error) => tracing::error!(%error, "cannot listen on {bound} any more: reload to try it again"),
            }
        }
        self.pending = true;
    }

    fn accept(&mut self, now: Coarse) -> usize {
        let mut accepted = 0;
        self.pending = false;
        for (_, listener) in &self.listeners {
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
                        if shard.send(Arrival { stream, progress: None }).is_err() && self.log.allows(now) {
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
        let orders = self.obey(cx.ring);
        cx.ring.ready(self.owner, &mut self.ready);
        self.pending |= !self.ready.is_empty();
        self.ready.clear();
        if self.paused.is_some_and(|since| now.since(since) >= ACCEPT_PAUSE) {
            self.paused = None;
            self.pending = true;
        }
        let accepts = self.pending && self.paused.is_none() && !cx.stopping;
        orders + if accepts { self.accept(now) } else { 0 }
    }

    fn arm(&mut self, cx: &mut Context<'_>) -> Arm {
        if self.paused.is_some() {
            return self.orders.arm().and(Arm::PollEvery(ACCEPT_PAUSE));
        }
        self.listeners.iter().fold(self.orders.arm(), |all, (_, listener)| all.and(cx.ring.arm_listener(listener)))
    }
}

/// Takes one `address` off the list, if it is there.
fn take(list: &mut Vec<SocketAddr>, address: &SocketAddr) -> bool {
    let at = list.iter().position(|listed| listed == address);
    at.is_some_and(|at| *address == list.swap_remove(at))
}
