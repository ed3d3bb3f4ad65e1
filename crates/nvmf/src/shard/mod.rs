//! One reactor's part of the target: its connections, its queues into the devices, and the pass over all of them.
//!
//! ```text
//!   a pass   receive and parse (hot ones) ▶ kick and poll devices ▶ answers ▶ one send each ▶ new connections
//! ```
//!
//! *Hot* connections are asked in every pass while the reactor spins; a connection that stays silent turns cold and is
//! only listened to through the ring. A reactor that sleeps between requests has no hot ones: it goes by wake-ups.

pub(crate) mod acceptor;
pub(crate) mod engine;
pub(crate) mod exclusive;
pub(crate) mod memory;
pub(crate) mod remains;

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use block::pump::{Pump, Received, Scratch, Sent};
use block::{Completions, Range};
use machine::clock::Coarse;
use machine::reactor::{Arm, Context, Mailbox, Poller, Ports};
use machine::ring::{Owner as RingOwner, Ready, Ring};
use wire::nvme::Status;
use wire::tcp::Slot;

use crate::connection::end::End;
use crate::connection::log_limit::LogLimit;
use crate::connection::placing::Arrival;
use crate::connection::session::Claim;
use crate::connection::{Connection, discard};
use crate::layout::changes::Changes;
use crate::layout::order::{Order, Unopened};
use crate::layout::plan::Plan;
use crate::limits::{
    ACCEPTS_PER_PASS, ALERT_PAUSE, ALERT_PAUSE_EACH, COLD_PASSES, CONNECTIONS_PER_REACTOR, LAST_WORD, LINGERING,
    RECALL, RETRIES_PER_PASS, STATUS_INTERVAL, TICK, TICKS_PER_PASS, WAITING_POLL,
};
use crate::reservation::HostId;
use crate::reservation::desk::{Event, Fence, Ruling};
use crate::stats::{ReactorStats, Recorder};
use crate::target::{Counters, Target};
use engine::{Engine, Owner, Pass};
use exclusive::{Exclusive, Key, Message};
use memory::Memory;
use remains::Remains;

/// The place of a connection on its reactor.
struct Entry {
    /// Counts the connections that have had this place.
    generation: u16,
    place: Place,
}

enum Place {
    Free,
    Open(Box<Connection>),
    /// The connection is gone, but devices still have requests of it: the place is not given away before they are back.
    Leaving {
        in_flight: u32,
        /// On the I/O queue that it was.
        claim: Option<Claim>,
        /// Whose they are.
        host: Option<HostId>,
        remains: Vec<Remains>,
    },
}

/// A connection that is over and has a last word to say; closed when the peer has closed, or after a while.
struct Lingering {
    pump: Pump,
    until: Coarse,
}

/// What comes to a shard from other threads.
pub(crate) struct Inlets {
    /// From and to other reactors; they know its number.
    pub(crate) ports: Ports<Message>,
    /// Connections, accepted or from another reactor.
    pub(crate) streams: Mailbox<Arrival>,
    /// What to serve.
    pub(crate) orders: Mailbox<Order>,
    /// What the keeper of reservations has decided.
    pub(crate) rulings: Mailbox<Ruling>,
}

/// What commands to a namespace that has gone are answered with.
const GONE: Status = Status::INVALID_NAMESPACE.with_dnr();

/// See the module.
pub(crate) struct Shard {
    engine: Engine,
    inbox: Mailbox<Arrival>,
    orders: Mailbox<Order>,
    rulings: Mailbox<Ruling>,
    /// Accesses that are gone by, while devices still have something of those who lost theirs.
    fences: Vec<Arc<Fence>>,
    /// Who waits for the namespaces to be gone that are leaving.
    drained: Vec<Sender<()>>,
    /// Since when, until their devices are asked to give back what they have.
    leaving_since: Option<Coarse>,
    /// Since when the target stops, and whether devices were asked to give back what they have.
    stopping: Option<(Coarse, bool)>,
    owner: RingOwner,
    entries: Vec<Entry>,
    free: Vec<u32>,
    hot: Vec<u32>,
    dirty: Vec<u32>,
    lingering: Vec<Lingering>,
    scratch: Scratch,
    completions: Completions,
    ready: Vec<Ready>,
    ticked: Coarse,
    /// The first connection that the look at the time-outs has not come to yet.
    to_tick: u32,
    /// The last alert of the target that was seen.
    alerts: u64,
    reported: Coarse,
    log: LogLimit,
}

impl Shard {
    /// The part of `target` on the reactor that owns `ring`.
    pub(crate) fn new(
        target: Arc<Target>,
        ring: &mut Ring,
        inlets: Inlets,
        stats: Arc<ReactorStats>,
        memory: Memory,
    ) -> Self {
        let Memory { small, large, scratch } = memory;
        let reactor = inlets.ports.me();
        let mut exclusive = Exclusive::new(inlets.ports);
        exclusive.attach(ring.waker());
        Self {
            engine: Engine::new(target, exclusive, reactor, Recorder::new(stats), (small, large)),
            inbox: inlets.streams,
            orders: inlets.orders,
            rulings: inlets.rulings,
            fences: Vec::new(),
            drained: Vec::new(),
            leaving_since: None,
            stopping: None,
            owner: ring.owner(),
            entries: Vec::new(),
            free: Vec::new(),
            hot: Vec::new(),
            dirty: Vec::new(),
            lingering: Vec::new(),
            scratch,
            completions: Completions::default(),
            ready: Vec::new(),
            ticked: Coarse::from_millis(0),
            to_tick: u32::MAX,
            alerts: 0,
            reported: Coarse::from_millis(0),
            log: LogLimit::default(),
        }
    }

    /// Ends a part of a target that has no connections any more.
    pub(crate) fn retire(self, ring: &mut Ring) -> Memory {
        assert_eq!(self.open_connections(), 0, "connections have commands that have buffers");
        let (small, large) = self.engine.retire(ring);
        drop(self.lingering);
        ring.release(self.owner);
        Memory { small, large, scratch: self.scratch }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn open_connections(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Serves by `plan` from the start on.
    ///
    /// # Errors
    /// A device of which no queue could be had.
    pub(crate) fn serve(&mut self, ring: &mut Ring, plan: Arc<Plan>) -> Result<(), Unopened> {
        self.engine.prepare(ring, &plan)?;
        self.engine.install(plan);
        Ok(())
    }

    /// Does what the control thread orders.
    fn obey(&mut self, cx: &mut Context<'_>) -> usize {
        let mut units = 0;
        while let Some(order) = self.orders.take() {
            units += 1;
            match order {
                // Whoever does not wait for the answer any more does not want to know.
                Order::Prepare(plan, reply) => drop(reply.send(self.engine.prepare(cx.ring, &plan))),
                Order::Notify(changes) => self.notify(cx, &changes),
                Order::Forget => self.engine.forget(cx.ring),
                Order::Install(plan, installing) => {
                    self.engine.install(plan);
                    self.withdraw(cx);
                    let _ = installing.installed.send(());
                    self.drained.push(installing.drained);
                    self.leaving_since = Some(cx.now.coarse());
                }
            }
        }
        units
    }

    /// Does what the keeper of reservations has decided.
    fn follow(&mut self, cx: &mut Context<'_>) -> usize {
        let mut units = 0;
        while let Some(ruling) = self.rulings.take() {
            units += 1;
            match ruling {
                Ruling::Access(fence) => {
                    if let Some(at) = self.engine.set_access(&fence) {
                        self.each(cx, |connection, pass| connection.obey(pass, at, &fence));
                    }
                    self.fences.push(fence);
                }
                Ruling::Answer(owner, status) => {
                    let Some(entry) = self.entries.get_mut(owner.connection as usize) else { continue };
                    if let (true, Place::Open(connection)) = (entry.generation == owner.generation, &mut entry.place) {
                        let mut pass = Pass { engine: &mut self.engine, ring: cx.ring, now: cx.now.coarse() };
                        connection.ruled(&mut pass, Slot(owner.slot), status);
                        mark(&mut connection.dirty, &mut self.dirty, owner.connection);
                    }
                }
            }
        }
        units
    }

    /// Tells the keeper of fences behind which nothing is left.
    fn lower_fences(&mut self) {
        let (engine, entries) = (&self.engine, &self.entries);
        self.fences.retain(|fence| {
            let at = engine.index_of(fence.namespace);
            let has_drained = |entry: &Entry| match (&entry.place, at) {
                (Place::Open(connection), Some(at)) => connection.has_drained(at, fence),
                (Place::Leaving { host: Some(host), .. }, Some(_)) => !fence.hits(host),
                _ => true,
            };
            let over = entries.iter().all(has_drained);
            if over {
                engine.target.reservations.send(Event::Drained { change: fence.change });
            }
            !over
        });
    }

    /// Tells the hosts whose admin queues are here what has changed.
    fn notify(&mut self, cx: &mut Context<'_>, changes: &Changes) {
        self.each(cx, |connection, pass| connection.notice(pass, changes));
    }

    /// Works on every connection.
    fn each(&mut self, cx: &mut Context<'_>, mut work: impl FnMut(&mut Connection, &mut Pass<'_>)) {
        for (index, entry) in (0..).zip(&mut self.entries) {
            let Place::Open(connection) = &mut entry.place else { continue };
            let mut pass = Pass { engine: &mut self.engine, ring: cx.ring, now: cx.now.coarse() };
            work(connection, &mut pass);
            mark(&mut connection.dirty, &mut self.dirty, index);
        }
    }

    /// Ends what waits for namespaces that are leaving.
    fn withdraw(&mut self, cx: &mut Context<'_>) {
        let leaving: Vec<usize> = self.engine.leaving().collect();
        self.each(cx, |connection, pass| leaving.iter().for_each(|&at| connection.withdraw(pass, GONE, at)));
    }

    /// Closes the namespaces that are leaving and that no command needs any more; tells when none is left. What a
    /// device has for long it is asked to give back.
    fn drain(&mut self, cx: &mut Context<'_>) {
        let now = cx.now.coarse();
        if self.leaving_since.take_if(|since| now.since(*since) >= RECALL).is_some() {
            let leaving: Vec<usize> = self.engine.leaving().collect();
            self.each(cx, |connection, pass| connection.recall(pass, GONE, |at| leaving.contains(&at)));
            self.engine.cancel_all(cx.ring, |at| leaving.contains(&at));
        }
        let is_needed = |at| self.entries.iter().any(|entry| matches!(&entry.place, Place::Open(it) if it.needs(at)));
        let over: Vec<usize> = self.engine.leaving().filter(|&at| self.engine.is_idle(at) && !is_needed(at)).collect();
        for at in over {
            self.engine.release(cx.ring, at);
        }
        if self.engine.leaving().next().is_none() {
            for waiting in self.drained.drain(..) {
                let _ = waiting.send(());
            }
        }
    }

    /// Takes connections that were handed over, some of them.
    fn accept(&mut self, cx: &mut Context<'_>) -> usize {
        let mut accepted = 0;
        while accepted < ACCEPTS_PER_PASS
            && let Some(Arrival { stream, progress }) = self.inbox.take()
        {
            accepted += 1;
            if self.open_connections() == CONNECTIONS_PER_REACTOR {
                if self.log.allows(cx.now.coarse()) {
                    tracing::warn!("refused a connection: {CONNECTIONS_PER_REACTOR} are open on this reactor");
                }
                continue;
            }
            let index = self.free.last().copied().unwrap_or(self.entries.len() as u32);
            let socket = match cx.ring.socket(stream, self.owner, index) {
                Ok(socket) => socket,
                Err(error) => {
                    if self.log.allows(cx.now.coarse()) {
                        tracing::warn!(%error, "cannot use an accepted connection");
                    }
                    continue;
                }
            };
            if self.free.pop().is_none() {
                self.entries.push(Entry { generation: 0, place: Place::Free });
            }
            let entry = &mut self.entries[index as usize];
            entry.generation = entry.generation.wrapping_add(1);
            let pass = Pass { engine: &mut self.engine, ring: cx.ring, now: cx.now.coarse() };
            entry.place = Place::Open(Box::new(Connection::new(socket, index, entry.generation, &pass)));
            self.hot.push(index);
            match progress {
                None => Counters::bump(&self.engine.target.counters.connections),
                Some(progress) => drop(self.with(cx, index, |connection, pass, _| connection.arrive(pass, *progress))),
            }
        }
        accepted
    }

    /// Gives a connection to the reactor that is to have it.
    fn hand_over(&mut self, cx: &mut Context<'_>, index: u32) {
        let Place::Open(connection) = std::mem::replace(&mut self.entries[index as usize].place, Place::Free) else {
            unreachable!("it has just said that it moves");
        };
        self.free.push(index);
        let peer = connection.peer();
        let arrived = match connection.depart() {
            Ok((reactor, arrival)) => self.engine.target.hand_over(reactor, arrival),
            Err(end) => return tracing::debug!(%peer, "connection ended: {end}"),
        };
        if !arrived && self.log.allows(cx.now.coarse()) {
            tracing::warn!(%peer, "refused a connection: its reactor has too many to take over");
        }
    }

    /// Notes which sockets have something to read or room to write.
    fn collect_readiness(&mut self, cx: &mut Context<'_>) {
        let mut ready = std::mem::take(&mut self.ready);
        cx.ring.ready(self.owner, &mut ready);
        for event in ready.drain(..) {
            let Some(Place::Open(connection)) = self.entries.get_mut(event.key as usize).map(|entry| &mut entry.place)
            else {
                continue;
            };
            if event.writable {
                connection.unblock();
                mark(&mut connection.dirty, &mut self.dirty, event.key);
            }
            if event.readable {
                connection.quiet = 0;
                mark(&mut connection.hot, &mut self.hot, event.key);
            }
        }
        self.ready = ready;
    }

    /// Receives from all hot connections.
    fn receive(&mut self, cx: &mut Context<'_>) -> usize {
        let (mut units, mut at) = (0, 0);
        while let Some(&index) = self.hot.get(at) {
            let spinning = cx.spinning;
            let (mut stays_hot, mut moves) = (false, false);
            let brought = self.with(cx, index, |connection, pass, scratch| {
                let brought = connection.receive(pass, scratch)?;
                connection.quiet = if brought > 0 { 0 } else { connection.quiet + 1 };
                stays_hot = connection.has_more() || (spinning && connection.quiet < COLD_PASSES);
                moves = connection.moves();
                stays_hot &= !moves;
                connection.hot = stays_hot;
                Ok(brought)
            });
            units += brought.unwrap_or(1);
            if moves {
                self.hand_over(cx, index);
            } else if brought.is_some_and(|brought| brought > 0) {
                self.mark_dirty(index);
            }
            if stays_hot {
                at += 1;
            } else {
                self.hot.swap_remove(at);
            }
        }
        units
    }

    /// Collects what devices have finished, then answers.
    fn complete(&mut self, cx: &mut Context<'_>) -> usize {
        let mut completions = std::mem::take(&mut self.completions);
        self.engine.poll(cx.ring, &mut completions);
        let units = completions.list.len();
        let now = cx.now.coarse();
        let Completions { list, lent, .. } = &mut completions;
        for completion in list.drain(..) {
            let owner = Owner::of(completion.tag);
            let entry = &mut self.entries[owner.connection as usize];
            assert_eq!(entry.generation, owner.generation, "a completion of a connection that is long gone");
            match &mut entry.place {
                Place::Open(connection) => {
                    let mut pass = Pass { engine: &mut self.engine, ring: cx.ring, now };
                    connection.complete(&mut pass, completion, lent);
                    mark(&mut connection.dirty, &mut self.dirty, owner.connection);
                }
                Place::Leaving { in_flight, claim, remains, .. } => {
                    *in_flight -= 1;
                    let left = *in_flight;
                    discard(completion.data, lent);
                    if remains::settle(remains, owner.slot) {
                        self.engine.exclusive.returned(owner);
                    }
                    if left == 0 {
                        drop(claim.take());
                        entry.place = Place::Free;
                        self.free.push(owner.connection);
                    }
                }
                Place::Free => unreachable!("its requests are all back"),
            }
        }
        self.completions = completions;
        units
    }

    /// Whether a device has something of this reactor that touches these blocks.
    fn is_busy(&self, key: Key, blocks: Range) -> bool {
        self.entries.iter().any(|entry| match &entry.place {
            Place::Free => false,
            Place::Open(connection) => connection.is_busy(&self.engine, key, blocks),
            Place::Leaving { remains, .. } => remains::touch(remains, key, blocks),
        })
    }

    /// Does what concerns exclusive ranges: here, and with other reactors.
    fn exclude(&mut self, cx: &mut Context<'_>) -> usize {
        let mut units = self.engine.exclusive.exchange();
        loop {
            while let Some(hold) = self.engine.exclusive.due(|key, blocks| self.is_busy(key, blocks)) {
                self.engine.exclusive.settle(hold);
            }
            while let Some((owner, ticket)) = self.engine.exclusive.granted() {
                let entry = &mut self.entries[owner.connection as usize];
                assert_eq!(entry.generation, owner.generation, "blocks are granted to a connection that is gone");
                let Place::Open(connection) = &mut entry.place else { unreachable!("it wants its blocks") };
                let mut pass = Pass { engine: &mut self.engine, ring: cx.ring, now: cx.now.coarse() };
                connection.granted(&mut pass, ticket);
                mark(&mut connection.dirty, &mut self.dirty, owner.connection);
            }
            match self.engine.exclusive.exchange() {
                0 => return units,
                messages => units += messages,
            }
        }
    }

    /// Tries again what waits for a buffer or for room in a device's queue.
    fn retry(&mut self, cx: &mut Context<'_>) -> usize {
        let mut units = 0;
        for _ in 0..self.engine.waiting.len().min(RETRIES_PER_PASS) {
            let Some(owner) = self.engine.waiting.pop_front() else { break };
            let waiting = self.engine.waiting.len();
            let Some(entry) = self.entries.get_mut(owner.connection as usize) else { continue };
            if let (true, Place::Open(connection)) = (entry.generation == owner.generation, &mut entry.place) {
                let mut pass = Pass { engine: &mut self.engine, ring: cx.ring, now: cx.now.coarse() };
                connection.retry(&mut pass, Slot(owner.slot));
                mark(&mut connection.dirty, &mut self.dirty, owner.connection);
            }
            units += usize::from(self.engine.waiting.len() == waiting);
        }
        units
    }

    /// Sends the answers of this pass: one send for each connection.
    fn flush(&mut self, cx: &mut Context<'_>) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            let mut more = false;
            self.with(cx, index, |connection, pass, _| {
                connection.dirty = false;
                if connection.has_output() {
                    connection.flush(pass.now)?;
                }
                more = connection.has_more() && !connection.hot;
                connection.hot |= more;
                Ok(())
            });
            if more {
                self.hot.push(index);
            }
        }
        self.dirty = dirty;
    }

    fn mark_dirty(&mut self, index: u32) {
        if let Place::Open(connection) = &mut self.entries[index as usize].place {
            mark(&mut connection.dirty, &mut self.dirty, index);
        }
    }

    /// How long after the last look at the time-outs an alert leads to the next one.
    fn alert_pause(&self) -> Duration {
        (ALERT_PAUSE + ALERT_PAUSE_EACH * self.open_connections() as u32).min(TICK)
    }

    /// Whether a look at the time-outs is under way.
    fn is_ticking(&self) -> bool {
        (self.to_tick as usize) < self.entries.len()
    }

    /// Looks at the time-outs, of some connections in each pass.
    fn tick(&mut self, cx: &mut Context<'_>) {
        if !self.is_ticking() {
            let (now, alerts) = (cx.now.coarse(), self.engine.target.alerts());
            if now.since(self.ticked) < if alerts == self.alerts { TICK } else { self.alert_pause() } {
                return;
            }
            self.alerts = alerts;
            self.ticked = now;
            self.to_tick = 0;
            self.tick_shared(now);
        }
        let end = self.entries.len().min(self.to_tick as usize + TICKS_PER_PASS) as u32;
        for index in self.to_tick..end {
            self.with(cx, index, |connection, pass, _| {
                connection.tick(pass)?;
                // A Connect that waited may have been answered, an event sent.
                if connection.has_output() { connection.flush(pass.now) } else { Ok(()) }
            });
        }
        self.to_tick = end;
    }

    /// Looks at those who say their last word, and adds up what was done.
    fn tick_shared(&mut self, now: Coarse) {
        let scratch = &mut self.scratch;
        self.lingering.retain_mut(|lingering| now < lingering.until && is_open(&mut lingering.pump, scratch));
        let target = self.engine.target.clone();
        target.usage.add(&mut self.engine.usage);
        if now.since(self.reported) >= STATUS_INTERVAL && self.open_connections() > 0 {
            self.reported = now;
            tracing::debug!(connections = self.open_connections(), "commands: {}", self.engine.stages);
        }
    }

    /// Ends the connections that have nothing under way: the target stops. What a device has for long it is asked to
    /// give back.
    fn sweep(&mut self, cx: &mut Context<'_>) {
        let (now, (since, recalled)) = (cx.now.coarse(), self.stopping.unwrap_or((cx.now.coarse(), false)));
        let late = now.since(since) >= RECALL;
        self.stopping = Some((since, late));
        if late && !recalled {
            self.each(cx, |connection, pass| connection.recall(pass, Status::ABORTED_SQ_DELETION, |_| true));
            self.engine.cancel_all(cx.ring, |_| true);
        }
        for index in 0..self.entries.len() as u32 {
            self.with(
                cx,
                index,
                |connection, pass, _| {
                    if connection.may_stop(pass.now) { Err(End::Stopped) } else { Ok(()) }
                },
            );
        }
        self.lingering.clear();
        // No further tick may come.
        let target = self.engine.target.clone();
        target.usage.add(&mut self.engine.usage);
    }

    /// Works on a connection; if that ends it, sees to the rest. `None` if it is not (or no longer) there.
    fn with<T>(
        &mut self,
        cx: &mut Context<'_>,
        index: u32,
        work: impl FnOnce(&mut Connection, &mut Pass<'_>, &mut Scratch) -> Result<T, End>,
    ) -> Option<T> {
        let Place::Open(connection) = &mut self.entries[index as usize].place else { return None };
        let mut pass = Pass { engine: &mut self.engine, ring: cx.ring, now: cx.now.coarse() };
        match work(connection, &mut pass, &mut self.scratch) {
            Ok(value) => Some(value),
            Err(end) => {
                self.end(cx, index, &end);
                None
            }
        }
    }

    fn end(&mut self, cx: &mut Context<'_>, index: u32, end: &End) {
        let entry = &mut self.entries[index as usize];
        let Place::Open(connection) = std::mem::replace(&mut entry.place, Place::Free) else { return };
        let host = connection.host_id();
        // A host that leaves or a target that stops is no news; anything else is.
        let routine = matches!(end, End::Closed | End::Disconnect | End::Association | End::Stopped);
        let now = cx.now.coarse();
        if routine {
            tracing::debug!(peer = %connection.peer(), "connection ended: {end}");
        } else if self.log.allows(now) {
            tracing::warn!(peer = %connection.peer(), "connection ended: {end}");
        }
        let mut pass = Pass { engine: &mut self.engine, ring: cx.ring, now };
        let in_flight = connection.in_flight();
        let remains = connection.remains(pass.engine);
        let (mut pump, claim) = connection.end(&mut pass, end);
        match in_flight {
            0 => {
                // Before the last word: the host may take the queue again at once.
                drop(claim);
                self.free.push(index);
            }
            in_flight => self.entries[index as usize].place = Place::Leaving { in_flight, claim, host, remains },
        }
        let last_word = matches!(end, End::Protocol(_) | End::Disconnect);
        if last_word && self.lingering.len() < LINGERING && matches!(pump.flush(), Ok(Sent::All)) {
            pump.socket().finish_sending();
            self.lingering.push(Lingering { pump, until: now.plus(LAST_WORD) });
        }
    }
}

impl Poller for Shard {
    fn name(&self) -> &'static str {
        "nvmf"
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> usize {
        self.engine.stats.begin(cx.now);
        let mut units = self.obey(cx);
        units += self.follow(cx);
        self.engine.begin();
        self.collect_readiness(cx);
        if !cx.stopping {
            units += self.receive(cx);
        }
        if !self.engine.exclusive.is_quiet() {
            units += self.exclude(cx);
        }
        units += self.complete(cx);
        if !self.engine.exclusive.is_quiet() {
            units += self.exclude(cx);
        }
        if !self.engine.waiting.is_empty() {
            units += self.retry(cx);
        }
        self.flush(cx);
        self.engine.end();
        if !self.drained.is_empty() {
            self.drain(cx);
        }
        if !self.fences.is_empty() {
            self.lower_fences();
        }
        // Those who are there come before those who come.
        units += self.accept(cx);
        self.tick(cx);
        if cx.stopping {
            self.sweep(cx);
            self.engine.exclusive.bury();
        }
        self.engine.exclusive.flush();
        self.engine.stats.end(&self.engine.stages, self.open_connections());
        units
    }

    fn arm(&mut self, cx: &mut Context<'_>) -> Arm {
        let mut hot = std::mem::take(&mut self.hot);
        let mut all = self.inbox.arm().and(self.orders.arm()).and(self.rulings.arm()).and(self.engine.arm(cx.ring));
        all = all.and(self.engine.exclusive.arm());
        hot.retain(|&index| {
            let Place::Open(connection) = &mut self.entries[index as usize].place else { return false };
            let arm = connection.arm(cx.ring);
            all = all.and(arm);
            connection.hot = arm == Arm::Busy;
            connection.hot
        });
        self.hot = hot;
        if self.engine.target.alerts() != self.alerts {
            all = all.and(Arm::PollEvery(self.alert_pause()));
        }
        if self.is_ticking() {
            all = all.and(Arm::Busy);
        }
        if !self.engine.waiting.is_empty() {
            all = all.and(Arm::PollEvery(WAITING_POLL));
        }
        if self.open_connections() > 0 || !self.lingering.is_empty() {
            all = all.and(Arm::PollEvery(TICK));
        }
        all
    }

    fn disarm(&mut self, _cx: &mut Context<'_>) {
        self.engine.disarm();
    }

    fn drained(&self) -> bool {
        self.open_connections() == 0 && self.inbox.is_empty()
    }
}

/// Puts `index` on a list, once.
fn mark(flag: &mut bool, list: &mut Vec<u32>, index: u32) {
    if !*flag {
        *flag = true;
        list.push(index);
    }
}

/// Whether the peer of a connection that is over has not closed yet. What it still sends is thrown away: a socket
/// closed over unread bytes would reset the connection, and the last word could be lost.
fn is_open(pump: &mut Pump, scratch: &mut Scratch) -> bool {
    loop {
        match pump.receive(scratch, None) {
            Ok(Received::Nothing) => return true,
            Ok(Received::Bytes { .. }) => {}
            Ok(Received::Closed) | Err(_) => return false,
        }
    }
}
