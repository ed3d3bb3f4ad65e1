//! One reactor's part of the cache: its store, its listeners and its connections, and the pass over them.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::Arc;

use block::pump::{Pump, Scratch};
use machine::clock::Coarse;
use machine::reactor::{Arm, Context, Mailbox, Poller, Sender};
use machine::ring::{Listener, Owner, Ready, Ring};

use crate::access::Roll;
use crate::calendar::Calendar;
use crate::connection::{Connection, End};
use crate::kept::Keeping;
use crate::limits::{ACCEPT_PAUSE, ACCEPTS_PER_PASS, COLD_PASSES, MAX_CONNECTIONS, TICK};
use crate::observe::Published;
use crate::peers::{Ask, Message, Origin, Parcel, Peers};
use crate::session::House;
use crate::tally::Tally;

/// Keys of listeners in the ring begin here; below are those of connections.
const LISTENERS: u32 = 1 << 31;

/// What the clients of a listener speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Memcache,
    Resp,
}

/// A client that comes to a reactor.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) stream: TcpStream,
    pub(crate) speaks: Speaks,
}

/// Where clients come from.
pub(crate) struct Doors {
    /// Of the reactor that listens for all.
    pub(crate) listeners: Vec<(Listener, Speaks)>,
    /// Its way to each of them, itself included.
    pub(crate) deals: Vec<Sender<Arrival>>,
    pub(crate) arrivals: Mailbox<Arrival>,
    /// Who is let in.
    pub(crate) roll: Arc<Roll>,
}

/// See the module.
pub(crate) struct Shard {
    house: House,
    peers: Peers,
    calendar: Calendar,
    owner: Owner,
    doors: Doors,
    /// Whose turn it is to get a client.
    next: usize,
    /// A listener may have connections that were not taken.
    pending: bool,
    paused: Option<Coarse>,
    connections: Vec<Option<Box<Connection>>>,
    free: Vec<u32>,
    /// Clients that there were.
    generation: u32,
    /// Those that wait for a parcel to come back.
    stalled: Vec<u32>,
    /// Those to receive from in this pass, and those that have something to send.
    hot: Vec<u32>,
    dirty: Vec<u32>,
    scratch: Scratch,
    ready: Vec<Ready>,
    ticked: Coarse,
    stopping: bool,
    /// For a store that is kept in a pool.
    keeping: Option<Keeping>,
    /// Which list of users is known here.
    rolled: u64,
    /// The pool has failed.
    failed: bool,
    /// Parcels whose answers may be told when what was done for them is durable.
    answered: Vec<(usize, Parcel)>,
    published: Arc<Published>,
}

impl Shard {
    pub(crate) fn new(
        owner: Owner,
        doors: Doors,
        peers: Peers,
        mut house: House,
        calendar: Calendar,
        keeping: Option<Keeping>,
        published: Arc<Published>,
    ) -> Self {
        let (rolled, users) = doors.roll.read();
        house.users = users;
        Self {
            house,
            peers,
            calendar,
            owner,
            doors,
            next: 0,
            pending: true,
            paused: None,
            connections: Vec::new(),
            free: Vec::new(),
            generation: 0,
            stalled: Vec::new(),
            hot: Vec::new(),
            dirty: Vec::new(),
            scratch: Scratch::new(),
            ready: Vec::new(),
            ticked: Coarse::from_millis(0),
            stopping: false,
            keeping,
            rolled,
            failed: false,
            answered: Vec::new(),
            published,
        }
    }

    /// The key of a listener in the ring.
    pub(crate) fn listener_key(number: usize) -> u32 {
        LISTENERS + number as u32
    }

    /// Clients that are here.
    pub(crate) fn open_connections(&self) -> usize {
        self.connections.iter().flatten().count()
    }

    /// Bytes of the store that stay as they are for clients.
    pub(crate) fn pinned_bytes(&self) -> usize {
        self.house.store.pinned_bytes()
    }

    /// Bytes that its clients make it keep, beyond their shares.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.house.buffers.taken()
    }

    /// Asserts what is true between any two passes.
    pub(crate) fn check(&self) {
        self.house.store.check();
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

    /// Takes clients, some of them for the other reactors, in turns.
    fn accept(&mut self, cx: &mut Context<'_>) -> usize {
        let mut accepted = 0;
        while let Some(arrival) = self.doors.arrivals.take() {
            accepted += 1;
            self.admit(cx.ring, arrival);
        }
        let now = cx.now.coarse();
        let waits = self.paused.is_some_and(|since| now.since(since) < ACCEPT_PAUSE);
        if !self.pending || waits || cx.stopping {
            return accepted;
        }
        (self.pending, self.paused) = (false, None);
        let mut new = 0;
        for number in 0..self.doors.listeners.len() {
            while new < ACCEPTS_PER_PASS {
                let (listener, speaks) = &self.doors.listeners[number];
                let stream = match listener.try_accept() {
                    Ok(Some((stream, _))) => stream,
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection now");
                        (self.pending, self.paused) = (true, Some(now));
                        break;
                    }
                };
                new += 1;
                let arrival = Arrival { stream, speaks: *speaks };
                let to = self.next;
                self.next = (to + 1) % self.doors.deals.len();
                if to == self.peers.me() {
                    self.admit(cx.ring, arrival);
                } else if self.doors.deals[to].send(arrival).is_err() {
                    self.house.counters.rejected_connections += 1;
                }
            }
        }
        self.pending |= new == ACCEPTS_PER_PASS;
        accepted + new
    }

    /// A client is this reactor's from now on.
    fn admit(&mut self, ring: &mut Ring, arrival: Arrival) {
        let index = self.free.pop().unwrap_or(self.connections.len() as u32);
        if index as usize >= MAX_CONNECTIONS.div_ceil(self.peers.count()) {
            self.house.counters.rejected_connections += 1;
            return;
        }
        match ring.socket(arrival.stream, self.owner, index) {
            Ok(socket) => {
                if index as usize == self.connections.len() {
                    self.connections.push(None);
                }
                self.generation = self.generation.wrapping_add(1);
                let origin = Origin { connection: index, generation: self.generation };
                let addresses = [socket.peer_addr(), socket.local_addr()];
                let is_resp = arrival.speaks == Speaks::Resp;
                let session = is_resp.then(|| self.house.clients.welcome(addresses, self.house.now));
                let mut connection = Box::new(Connection::new(Pump::new(socket), origin, session));
                mark(&mut connection.hot, &mut self.hot, index);
                self.connections[index as usize] = Some(connection);
                self.house.present.enter(index, addresses, self.house.now);
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

    /// Answers what other reactors ask, and takes their answers; how many messages there were.
    fn exchange(&mut self) -> usize {
        if self.peers.is_alone() {
            return 0;
        }
        let mut inbox = self.peers.take();
        let messages = inbox.len();
        for (from, message) in inbox.drain(..) {
            match message {
                Message::Asks(mut parcel) => {
                    parcel.answer(&mut self.house);
                    self.answered.push((from, parcel));
                }
                Message::Answers(parcel) => self.land(from, parcel),
                Message::Bye => self.peers.bye(from),
            }
        }
        self.peers.give_back(inbox);
        messages
    }

    /// Gives the connections what a parcel brought, and the parcel to who waits for one.
    fn land(&mut self, owner: usize, parcel: Parcel) {
        let Self { house, peers, connections, dirty, .. } = self;
        let mut with = |ask: &Ask, work: &mut dyn FnMut(&mut Connection)| {
            let index = ask.origin.connection;
            // It may be gone, and another one in its place.
            let Some(Some(connection)) = connections.get_mut(index as usize) else { return };
            if connection.is(ask.origin) {
                work(connection);
                mark(&mut connection.dirty, dirty, index);
            }
        };
        for (ask, answer) in parcel.answered() {
            with(ask, &mut |connection| connection.land(ask, answer, house, peers));
        }
        for (ask, command) in parcel.left() {
            with(ask, &mut |connection| connection.returned(owner, ask, command));
        }
        self.peers.landed(owner, parcel);
        self.wake_stalled();
    }

    /// Receives from all hot connections and carries out what they ask.
    fn receive(&mut self, spinning: bool) -> usize {
        let (mut units, mut at) = (0, 0);
        while let Some(&index) = self.hot.get(at) {
            let Some(connection) = &mut self.connections[index as usize] else {
                self.hot.swap_remove(at);
                continue;
            };
            let had_stalled = connection.stalled;
            let received = connection.receive(&mut self.house, &mut self.peers, &mut self.scratch);
            let brought = *received.as_ref().unwrap_or(&1);
            units += brought;
            connection.quiet = if brought > 0 { 0 } else { connection.quiet + 1 };
            connection.hot = connection.has_more(&self.house) || spinning && connection.quiet < COLD_PASSES;
            if brought > 0 {
                mark(&mut connection.dirty, &mut self.dirty, index);
            }
            if connection.stalled && !had_stalled {
                self.stalled.push(index);
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

    /// One send for each connection that has answers, all that it waited for.
    fn flush(&mut self, now: Coarse) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            let Some(connection) = &mut self.connections[index as usize] else { continue };
            connection.dirty = false;
            // One that holds back is on the list again when its answers are there.
            let holds_back = connection.holds_back();
            if let Err(end) = if holds_back { Ok(()) } else { connection.flush(&mut self.house, now) } {
                self.close(index, &end);
            } else if connection.has_more(&self.house) {
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
            match connection.tick(&mut self.house, now) {
                Ok(()) => self.house.present.note(index, connection.last(), connection.state()),
                Err(end) => self.close(index, &end),
            }
        }
        self.publish();
    }

    /// Tells those who look from outside.
    fn publish(&mut self) {
        let buffers = self.connections.iter().flatten().map(|connection| connection.memory());
        self.house.gauges.buffer_bytes = buffers.sum::<usize>() as u64;
        self.keeping.iter().for_each(|keeping| keeping.tell(&mut self.house.gauges));
        self.house.gauges.syncs = self.house.store.syncs();
        self.published.publish(Tally::ever(&self.house));
    }

    /// Closes the connections that wait for no other reactor, and tells the others when there are none.
    fn stop(&mut self) {
        self.stopping = true;
        self.doors.listeners.clear();
        for index in 0..self.connections.len() as u32 {
            if self.connections[index as usize].as_ref().is_some_and(|connection| !connection.is_waiting()) {
                self.close(index, &End::Left);
            }
        }
        if self.connections.iter().all(Option::is_none) {
            self.peers.say_bye();
        }
        self.publish();
        if let Some(keeping) = &mut self.keeping
            && self.peers.are_done()
        {
            keeping.close(&mut self.house.store, self.house.now);
        }
    }

    /// There may be other users.
    fn look_at_roll(&mut self) {
        if !self.doors.roll.is_newer(self.rolled) {
            return;
        }
        let (number, new) = self.doors.roll.read();
        self.rolled = number;
        if let (Some(old), Some(new)) = (&self.house.users, &new) {
            for (index, connection) in (0..).zip(&mut self.connections) {
                let Some(connection) = connection else { continue };
                if connection.meet(old, new) {
                    mark(&mut connection.dirty, &mut self.dirty, index);
                }
            }
        }
        self.house.users = new;
    }

    /// Finds more of a pool's items, and lets those go on that wait for them.
    fn find(&mut self, now: Coarse) -> usize {
        let Some(keeping) = &mut self.keeping else { return 0 };
        let finds = keeping.is_finding();
        let finding = keeping.find(&mut self.house.store, now);
        if std::mem::replace(&mut self.house.finding, finding) != finding {
            self.wake_stalled();
        }
        usize::from(finds)
    }

    fn wake_stalled(&mut self) {
        for index in self.stalled.drain(..) {
            let Some(connection) = &mut self.connections[index as usize] else { continue };
            connection.stalled = false;
            mark(&mut connection.hot, &mut self.hot, index);
        }
    }

    /// What was done in this pass is durable where it has to be: now it can be told. If it is not, nobody is told
    /// anything any more.
    fn tell(&mut self, now: Coarse) {
        if self.keeping.as_ref().is_some_and(|keeping| !keeping.sync(&mut self.house.store)) {
            self.failed = true;
            self.doors.listeners.clear();
            (0..self.connections.len() as u32).for_each(|index| self.close(index, &End::Failed));
            return;
        }
        for (to, parcel) in self.answered.drain(..) {
            self.peers.answered(to, parcel);
        }
        self.peers.send_all();
        self.flush(now);
    }

    fn close(&mut self, index: u32, end: &End) {
        let Some(connection) = self.connections[index as usize].take() else { return };
        let peer = connection.pump().socket().peer_addr();
        connection.session().into_iter().for_each(|session| self.house.clients.goodbye(session));
        connection.end(&mut self.house, &mut self.peers);
        self.house.counters.unread_connections += u64::from(matches!(end, End::Unread | End::Lent));
        match end {
            End::Broken(error) if error.kind() != ErrorKind::ConnectionReset => {
                tracing::info!(%peer, "connection ended: {end}");
            }
            _ => tracing::debug!(%peer, "connection ended: {end}"),
        }
        self.free.push(index);
        self.house.present.leave(index);
        self.house.counters.curr_connections -= 1;
    }
}

impl Poller for Shard {
    fn name(&self) -> &'static str {
        "cache"
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> usize {
        self.house.now = self.calendar.at(cx.now);
        if self.failed {
            return 0;
        }
        self.look_at_roll();
        self.collect_readiness(cx.ring);
        let mut units = self.find(cx.now.coarse());
        units += self.exchange();
        if !self.stopping {
            units += self.receive(cx.spinning);
        }
        self.tell(cx.now.coarse());
        units += self.accept(cx);
        self.tick(cx.now.coarse());
        units += usize::from(self.house.give_back_expired());
        if cx.stopping {
            self.stop();
        }
        units
    }

    fn arm(&mut self, cx: &mut Context<'_>) -> Arm {
        let finds = self.keeping.as_ref().is_some_and(Keeping::is_finding);
        let busy = finds
            || self.house.expiring
            || !self.hot.is_empty()
            || !self.dirty.is_empty()
            || self.pending && self.paused.is_none();
        let start = if busy { Arm::Busy } else { Arm::PollEvery(TICK) };
        let listeners = self.doors.listeners.iter().map(|(listener, _)| cx.ring.arm_listener(listener));
        let arm = listeners.fold(start, Arm::and).and(self.doors.arrivals.arm()).and(self.peers.arm());
        let paused = if self.paused.is_some() { Arm::PollEvery(ACCEPT_PAUSE) } else { Arm::Armed };
        // A connection that is on no list has an empty socket, or waits for its client to read.
        arm.and(paused)
    }

    fn drained(&self) -> bool {
        self.failed || self.peers.are_done() && self.keeping.as_ref().is_none_or(Keeping::is_closed)
    }
}

/// Puts a connection on a list, once.
fn mark(marked: &mut bool, list: &mut Vec<u32>, index: u32) {
    if !std::mem::replace(marked, true) {
        list.push(index);
    }
}
