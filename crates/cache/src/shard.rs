//! One reactor's part of the cache: its store, its listeners and its connections, and the pass over them.

use std::io::ErrorKind;

use block::pump::{Pump, Scratch};
use machine::clock::Coarse;
use machine::reactor::{Arm, Context, Poller};
use machine::ring::{Listener, Owner, Ready, Ring};

use crate::calendar::Calendar;
use crate::connection::{Connection, End};
use crate::limits::{ACCEPT_PAUSE, ACCEPTS_PER_PASS, COLD_PASSES, MAX_CONNECTIONS, TICK};
use crate::session::House;

/// Keys of listeners in the ring begin here; below are those of connections.
const LISTENERS: u32 = 1 << 31;

/// See the module.
pub(crate) struct Shard {
    house: House,
    calendar: Calendar,
    owner: Owner,
    listeners: Vec<Listener>,
    /// A listener may have connections that were not taken.
    pending: bool,
    paused: Option<Coarse>,
    connections: Vec<Option<Box<Connection>>>,
    free: Vec<u32>,
    /// Those to receive from in this pass, and those that have something to send.
    hot: Vec<u32>,
    dirty: Vec<u32>,
    scratch: Scratch,
    ready: Vec<Ready>,
    ticked: Coarse,
}

impl Shard {
    pub(crate) fn new(owner: Owner, listeners: Vec<Listener>, house: House, calendar: Calendar) -> Self {
        Self {
            house,
            calendar,
            owner,
            listeners,
            pending: true,
            paused: None,
            connections: Vec::new(),
            free: Vec::new(),
            hot: Vec::new(),
            dirty: Vec::new(),
            scratch: Scratch::new(),
            ready: Vec::new(),
            ticked: Coarse::from_millis(0),
        }
    }

    /// The key of a listener in the ring.
    pub(crate) fn listener_key(number: usize) -> u32 {
        LISTENERS + number as u32
    }

    /// Notes which sockets have something to read or room to write.
    fn collect_readiness(&mut self, ring: &mut Ring) {
        let mut ready = std::mem::take(&mut self.ready);
        ring.ready(self.owner, &mut ready);
        for event in ready.drain(..) {
            if event.key >= LISTENERS {
                self.pending = true;
            } else if let Some(Some(connection)) = self.connections.get_mut(event.key as usize) {
                if event.writable {
                    mark(&mut connection.dirty, &mut self.dirty, event.key);
                }
                if event.readable {
                    connection.quiet = 0;
                    mark(&mut connection.hot, &mut self.hot, event.key);
                }
            }
        }
        self.ready = ready;
    }

    fn accept(&mut self, cx: &mut Context<'_>) -> usize {
        let now = cx.now.coarse();
        let waits = self.paused.is_some_and(|since| now.since(since) < ACCEPT_PAUSE);
        if !self.pending || waits || cx.stopping {
            return 0;
        }
        (self.pending, self.paused) = (false, None);
        let mut accepted = 0;
        for listener in &self.listeners {
            while accepted < ACCEPTS_PER_PASS {
                let stream = match listener.try_accept() {
                    Ok(Some((stream, _))) => stream,
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection now");
                        (self.pending, self.paused) = (true, Some(now));
                        break;
                    }
                };
                accepted += 1;
                let index = self.free.pop().unwrap_or(self.connections.len() as u32);
                if index as usize >= MAX_CONNECTIONS {
                    self.house.counters.rejected_connections += 1;
                    continue;
                }
                match cx.ring.socket(stream, self.owner, index) {
                    Ok(socket) => {
                        if index as usize == self.connections.len() {
                            self.connections.push(None);
                        }
                        let mut connection = Box::new(Connection::new(Pump::new(socket)));
                        mark(&mut connection.hot, &mut self.hot, index);
                        self.connections[index as usize] = Some(connection);
                        self.house.counters.curr_connections += 1;
                        self.house.counters.total_connections += 1;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a connection is gone already");
                        if (index as usize) < self.connections.len() {
                            self.free.push(index);
                        }
                    }
                }
            }
        }
        self.pending |= accepted == ACCEPTS_PER_PASS;
        accepted
    }

    /// Receives from all hot connections and carries out what they ask.
    fn receive(&mut self, spinning: bool) -> usize {
        let (mut units, mut at) = (0, 0);
        while let Some(&index) = self.hot.get(at) {
            let Some(connection) = &mut self.connections[index as usize] else {
                self.hot.swap_remove(at);
                continue;
            };
            let received = connection.receive(&mut self.house, &mut self.scratch);
            let brought = *received.as_ref().unwrap_or(&1);
            units += brought;
            connection.quiet = if brought > 0 { 0 } else { connection.quiet + 1 };
            connection.hot = connection.has_more() || spinning && connection.quiet < COLD_PASSES;
            if brought > 0 {
                mark(&mut connection.dirty, &mut self.dirty, index);
            }
            if connection.hot && received.is_ok() {
                at += 1;
            } else {
                self.hot.swap_remove(at);
            }
            if let Err(end) = received {
                self.close(index, &end);
            }
        }
        units
    }

    /// One send for each connection that has answers.
    fn flush(&mut self, now: Coarse) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            let Some(connection) = &mut self.connections[index as usize] else { continue };
            connection.dirty = false;
            if let Err(end) = connection.flush(&mut self.house, now) {
                self.close(index, &end);
            } else if connection.has_more() {
                mark(&mut connection.hot, &mut self.hot, index);
            }
        }
        self.dirty = dirty;
    }

    fn tick(&mut self, now: Coarse) {
        if now.since(self.ticked) < TICK {
            return;
        }
        self.ticked = now;
        self.house.tick();
        for index in 0..self.connections.len() as u32 {
            let Some(connection) = &mut self.connections[index as usize] else { continue };
            if let Err(end) = connection.tick(now) {
                self.close(index, &end);
            }
        }
    }

    fn close(&mut self, index: u32, end: &End) {
        let Some(connection) = self.connections[index as usize].take() else { return };
        match end {
            End::Broken(error) if error.kind() != ErrorKind::ConnectionReset => {
                tracing::info!(peer = %connection.pump().socket().peer_addr(), "connection ended: {end}");
            }
            _ => tracing::debug!(peer = %connection.pump().socket().peer_addr(), "connection ended: {end}"),
        }
        self.free.push(index);
        self.house.counters.curr_connections -= 1;
    }
}

impl Poller for Shard {
    fn name(&self) -> &'static str {
        "cache"
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> usize {
        self.house.now = self.calendar.at(cx.now);
        self.collect_readiness(cx.ring);
        let mut units = self.receive(cx.spinning);
        self.flush(cx.now.coarse());
        units += self.accept(cx);
        self.tick(cx.now.coarse());
        if cx.stopping {
            self.listeners.clear();
            let open: Vec<u32> = (0..self.connections.len() as u32).collect();
            open.into_iter().for_each(|index| self.close(index, &End::Left));
        }
        units
    }

    fn arm(&mut self, cx: &mut Context<'_>) -> Arm {
        let busy = !self.hot.is_empty() || !self.dirty.is_empty() || self.pending && self.paused.is_none();
        let start = if busy { Arm::Busy } else { Arm::PollEvery(TICK) };
        let listeners = self.listeners.iter().map(|listener| cx.ring.arm_listener(listener));
        let arm = listeners.fold(start, Arm::and);
        let paused = if self.paused.is_some() { Arm::PollEvery(ACCEPT_PAUSE) } else { Arm::Armed };
        // A connection that is on no list has an empty socket, or waits for its client to read.
        arm.and(paused)
    }

    fn drained(&self) -> bool {
        self.connections.iter().all(Option::is_none)
    }
}

/// Puts a connection on a list, once.
fn mark(marked: &mut bool, list: &mut Vec<u32>, index: u32) {
    if !std::mem::replace(marked, true) {
        list.push(index);
    }
}
