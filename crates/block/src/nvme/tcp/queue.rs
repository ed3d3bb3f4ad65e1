//! An I/O queue of the namespace: requests on a connection, and requests that wait for one.
//!
//! ```text
//!   submit ──▶ Connection ──▶ target ──▶ completion ──▶ poll
//!     │ none, or        │ breaks
//!     │ others wait     ▼
//!     │              broken ── the path says that the old association is over (fate.rs) ──▶ fails
//!     ▼                 ▼
//!    held ◀─────────────┘ in the order they were asked for
//!     └── a connection again ──▶ Connection         no path is left ──▶ fails
//! ```
//!
//! With several paths, the queue has a connection on each. Requests go to the first path that has one: when it breaks,
//! to the next, what was in flight too, and to the better one again as soon as it is back. What is in flight on a path
//! that works ends there.
//!
//! However long it takes, a queue holds no more requests than it is deep: then it refuses, as it always does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use machine::reactor::Arm;
use machine::region::Pool;
use machine::ring::{Owner, Ready, Ring};
use tracing::warn;

use super::association::{PathState, Seat};
use super::connection::{Broken, Connection, completion};
use super::error::AdminError;
use super::fate::{Held, Retry, fates};
use super::keeper::Ask;
use super::namespace::{Namespace, Plan, copy_list};
use super::native;
use super::{Paths, association::Path};
use crate::admit::admit;
use crate::pump::{Pump, Scratch};
use crate::{Command, Completions, Data, Failure, Op, Queue, Refused, Request, Tag, Untaken, Why};

/// An I/O queue of a namespace on a target.
pub(super) struct TcpQueue {
    paths: Arc<Paths>,
    retry: Retry,
    depth: usize,
    /// Requests taken and not yet handed back.
    taken: usize,
    /// Requests taken since the beginning.
    order: u64,
    owner: Owner,
    ready: Vec<Ready>,
    scratch: Scratch,
    /// As some controller had it last: what cannot be is known without a connection too.
    namespace: Namespace,
    /// The device was opened so, or was so when it was opened.
    read_only: bool,
    /// One for each path.
    lanes: Vec<Lane>,
    /// The lane that new requests go to: the first that has a connection.
    active: Option<usize>,
    /// Requests that wait for a connection, in order.
    held: VecDeque<Held>,
    /// Completions that no poll has fetched yet.
    over: Completions,
    /// For the sources of copies.
    lists: Pool,
}

/// A queue's way along one path.
struct Lane {
    seat: Arc<Seat>,
    connection: Option<Connection>,
    /// The generation of the last connection.
    generation: u32,
    /// What was in flight when it broke, until the association is known to be over.
    broken: Broken,
    /// The path's thread knows that it broke.
    told: bool,
    /// The tick that was looked at last.
    now: u32,
    /// Commands sent, as the seat shows it after each pass.
    commands: u64,
}

impl TcpQueue {
    /// A queue with a seat on each path.
    pub(super) fn new(
        paths: Arc<Paths>,
        seats: Vec<Arc<Seat>>,
        namespace: Namespace,
        depth: u16,
        owner: Owner,
        lists: Pool,
    ) -> Self {
        let depth = usize::from(depth);
        let lane = |seat| Lane {
            seat,
            connection: None,
            generation: 0,
            broken: Broken::default(),
            told: true,
            now: 0,
            commands: 0,
        };
        Self {
            retry: paths.retry,
            paths,
            depth,
            taken: 0,
            order: 0,
            owner,
            ready: Vec::new(),
            scratch: Scratch::new(),
            namespace,
            read_only: namespace.read_only,
            lanes: seats.into_iter().map(lane).collect(),
            active: None,
            held: VecDeque::with_capacity(depth),
            over: Completions { list: Vec::with_capacity(depth), ..Completions::default() },
            lists,
        }
    }

    /// Has a connection put into every seat.
    ///
    /// # Errors
    /// There is none on any path.
    pub(super) fn connect_all(&self) -> Result<(), AdminError> {
        let mut first = None;
        for (lane, association) in self.lanes.iter().zip(&self.paths.list) {
            if let Err(error) = association.connect(&lane.seat) {
                warn!(target = association.path().name(), qid = lane.seat.qid, "{error}");
                first.get_or_insert(error);
            }
        }
        let none =
            self.lanes.iter().zip(&self.paths.list).all(|(lane, association)| {
                !lane.seat.is_filled() && association.path().state() != PathState::Reconnecting
            });
        if none && let Some(error) = first { Err(error) } else { Ok(()) }
    }

    fn path(&self, at: usize) -> &Path {
        self.paths.list[at].path()
    }

    /// Looks after the paths: connections that came and that went.
    pub(super) fn look(&mut self, ring: &mut Ring) {
        for at in 0..self.lanes.len() {
            let over = self.path(at).over();
            let lane = &self.lanes[at];
            if lane.connection.is_some() && lane.generation <= over {
                self.close(at, &"the association with the target ended");
            }
            if self.lanes[at].connection.is_none() {
                self.without_connection(at, over, ring);
            }
            let now = self.path(at).ticks();
            if now != self.lanes[at].now {
                self.lanes[at].now = now;
                self.look_at_time(at);
            }
        }
    }

    /// Has commands aborted that are not wanted, or late; if that does not help, the connection is over.
    #[cold]
    fn look_at_time(&mut self, at: usize) {
        let association = &self.paths.list[at];
        let Lane { seat, connection, generation, now, .. } = &mut self.lanes[at];
        let Some(connection) = connection else { return };
        let (generation, qid) = (*generation, seat.qid);
        let abort = |cid| association.tell(Ask::Abort { generation, qid, cid });
        if !connection.commands.look_at_time(*now, association.path().patience.ticks, abort) {
            self.close(at, &"a command was not answered in time, nor after an Abort");
        }
    }

    #[cold]
    fn without_connection(&mut self, at: usize, over: u32, ring: &mut Ring) {
        let lane = &mut self.lanes[at];
        if lane.generation > over && !lane.told {
            lane.told = self.paths.list[at].tell(Ask::Broken { generation: lane.generation });
        }
        if lane.generation <= over && !lane.broken.is_empty() {
            self.settle(at);
        }
        if self.lanes[at].seat.is_filled() {
            self.connect(at, ring);
        }
        if !self.held.is_empty() && self.is_gone() {
            while let Some(held) = self.held.pop_front() {
                let failure = held.unreachable();
                self.over.list.push(held.over(Err(failure)));
            }
        }
    }

    /// Whether no connection will come on any path.
    fn is_gone(&self) -> bool {
        let none =
            |(at, lane): (usize, &Lane)| self.path(at).is_gone() && lane.connection.is_none() && !lane.seat.is_filled();
        self.lanes.iter().enumerate().all(none)
    }

    /// Takes the connection that was left in the seat.
    fn connect(&mut self, at: usize, ring: &mut Ring) {
        let Some(offer) = self.lanes[at].seat.take() else { return };
        if offer.generation <= self.path(at).over() {
            return;
        }
        let generation = offer.generation;
        let read_only = offer.namespace.read_only || self.read_only;
        let namespace = Namespace { read_only, ..offer.namespace };
        self.lanes[at].generation = generation;
        match ring.socket(offer.ready.stream, self.owner, at as u32) {
            Ok(socket) => {
                let (host, depth) = (offer.ready.host, offer.ready.depth);
                self.namespace = namespace;
                let connection = Connection::new(namespace, host, depth, Pump::new(socket), self.lanes[at].now);
                self.lanes[at].connection = Some(connection);
                self.choose();
            }
            Err(error) => {
                warn!(target = self.path(at).name(), "the connection cannot be used: {error}");
                self.lanes[at].told = self.paths.list[at].tell(Ask::Broken { generation });
            }
        }
    }

    fn choose(&mut self) {
        self.active = self.lanes.iter().position(|lane| lane.connection.is_some());
    }

    /// The connection of a lane is over: what was in flight waits until the association is.
    #[cold]
    fn close(&mut self, at: usize, why: &dyn std::fmt::Display) {
        let lane = &mut self.lanes[at];
        let Some(connection) = lane.connection.take() else { return };
        let (qid, in_flight) = (lane.seat.qid, connection.commands.live);
        connection.close(&mut lane.broken, &mut self.over);
        lane.told = self.paths.list[at].tell(Ask::Broken { generation: lane.generation });
        self.choose();
        warn!(target = self.path(at).name(), qid, in_flight, "connection lost: {why}");
    }

    /// The association is over: what was in flight is to be sent again, or fails.
    fn settle(&mut self, at: usize) {
        let Broken { held: broken, native: mut failed_native, has_changed } =
            std::mem::take(&mut self.lanes[at].broken);
        self.over.native.append(&mut failed_native);
        let held = self.held.iter().chain(self.lanes.iter().flat_map(|lane| &lane.broken.held)).map(|held| &held.op);
        let flying = self.lanes.iter().filter_map(|lane| lane.connection.as_ref()).flat_map(|c| c.commands.ops());
        let native = has_changed.then_some(&native::ANY_CHANGE);
        let fates = fates(self.retry, &broken, held.chain(flying).chain(native));
        let mut failed = 0;
        for (held, fate) in broken.into_iter().zip(fates) {
            match fate {
                None => self.held.push_back(held),
                Some(failure) => {
                    failed += 1;
                    self.over.list.push(held.over(Err(failure)));
                }
            }
        }
        self.held.make_contiguous().sort_unstable_by_key(|held| held.order);
        self.path(at).failed.fetch_add(failed, Relaxed);
    }

    /// Sends requests that waited, as far as the connection takes them.
    #[cold]
    fn resume(&mut self) {
        let Some(at) = self.active else { return };
        let blocks = self.paths.common.blocks.load(Relaxed);
        let mut resent = 0;
        while let Some(next) = self.held.front() {
            let quiet = self.lanes.iter().all(|lane| lane.connection.as_ref().is_none_or(|c| c.commands.live == 0));
            let connection = self.lanes[at].connection.as_mut().expect("the active lane has one");
            if !connection.has_room() || next.op == Op::Flush && !quiet {
                break;
            }
            let held = self.held.pop_front().expect("it was looked at");
            resent += u64::from(held.sends > 0);
            self.lanes[at].commands += 1;
            let connection = self.lanes[at].connection.as_mut().expect("it was there before");
            if let Err(over) = connection.start(held, blocks) {
                self.over.list.push(over);
            }
        }
        self.path(at).resent.fetch_add(resent, Relaxed);
    }

    fn send(&mut self) {
        for at in 0..self.lanes.len() {
            if let Some(connection) = &mut self.lanes[at].connection
                && !connection.pump.out.is_empty()
                && let Err(why) = connection.send(&mut self.over)
            {
                self.close(at, &why);
            }
        }
    }

    fn receive(&mut self, out: &mut Completions) {
        for at in 0..self.lanes.len() {
            // With nothing in flight only an event (the target closes) is worth a system call.
            if let Some(connection) = &mut self.lanes[at].connection
                && (connection.commands.live > 0 || !connection.pump.socket().drained())
                && let Err(why) = connection.receive(&mut self.scratch, out)
            {
                self.close(at, &why);
            }
        }
    }

    /// A request that is valid as far as it goes. It is sent, or held.
    fn take(&mut self, held: Held) {
        let blocks = self.paths.common.blocks.load(Relaxed);
        if self.held.is_empty()
            && let Some(at) = self.active
            && let lane = &mut self.lanes[at]
            && let Some(connection) = &mut lane.connection
            && connection.has_room()
        {
            lane.commands += 1;
            if let Err(over) = connection.start(held, blocks) {
                self.over.list.push(over);
            }
            return;
        }
        match self.namespace.plan(held.op, held.bufs.len(), blocks) {
            Plan::Over(outcome) => self.over.list.push(held.over(outcome)),
            Plan::Command { .. } if self.is_gone() => {
                let failure = held.unreachable();
                self.over.list.push(held.over(Err(failure)));
            }
            Plan::Command { .. } => self.held.push_back(held),
        }
    }
}

impl Queue for TcpQueue {
    fn submit<'a>(&mut self, _ring: &mut Ring, request: Request<'a>) -> Result<(), Refused<'a>> {
        if self.taken >= self.depth {
            return Err(Refused(request));
        }
        let blocks = self.paths.common.blocks.load(Relaxed);
        // As all paths have it. What a single one cannot do now, its plan says.
        let admitted = admit(&self.path(0).info, blocks, &request);
        let Request { tag, op, data } = request;
        let bufs = match data {
            Data::Sources(sources) if admitted.is_ok() => {
                match self.lists.take().map(|list| copy_list(list, sources)) {
                    Some(list) => list.into(),
                    None => return Err(Refused(Request { tag, op, data })),
                }
            }
            data => data.into_bufs(),
        };
        self.taken += 1;
        self.order += 1;
        match admitted {
            Ok(()) => self.take(Held { order: self.order, tag, op, bufs, sends: 0, cancelled: false }),
            Err(failure) => self.over.list.push(completion(tag, op, Err(failure), bufs)),
        }
        Ok(())
    }

    /// Without a connection a command is not taken: it would have to wait for it with the requests, in order.
    fn command(&mut self, _ring: &mut Ring, command: Command) -> Result<(), Untaken> {
        let at = self.active.filter(|_| self.taken < self.depth && self.held.is_empty());
        let Some((at, connection)) = at.and_then(|at| Some((at, self.lanes[at].connection.as_mut()?))) else {
            if self.taken < self.depth && self.is_gone() {
                self.taken += 1;
                self.over.native.push(native::over(command, Failure::Unreachable));
                return Ok(());
            }
            return Err(Untaken { command, why: Why::Full });
        };
        if !connection.has_room() {
            return Err(Untaken { command, why: Why::Full });
        }
        let patience = command.timeout.map(|timeout| self.paths.list[at].path().patience.in_ticks(timeout));
        self.taken += 1;
        match connection.start_native(command, patience) {
            Ok(()) => self.lanes[at].commands += 1,
            Err(over) => self.over.native.push(over),
        }
        Ok(())
    }

    fn kick(&mut self, _ring: &mut Ring) {
        self.send();
    }

    fn poll(&mut self, ring: &mut Ring, out: &mut Completions) {
        let before = out.list.len() + out.native.len();
        self.look(ring);
        ring.ready(self.owner, &mut self.ready);
        self.ready.clear();
        self.receive(out);
        if !self.held.is_empty() {
            self.resume();
        }
        self.send();
        for lane in &self.lanes {
            lane.seat.commands.store(lane.commands, Relaxed);
        }
        out.list.append(&mut self.over.list);
        out.native.append(&mut self.over.native);
        self.taken -= out.list.len() + out.native.len() - before;
    }

    fn in_flight(&self) -> usize {
        self.taken
    }

    /// What waits for a connection is cancelled at once. For what a target has, an Abort is sent: it ends as the target
    /// says, and is not sent again should the connection break.
    fn cancel(&mut self, _ring: &mut Ring, tag: Tag) {
        if let Some(at) = self.held.iter().position(|held| held.tag == tag) {
            let held = self.held.remove(at).expect("it was found there");
            self.over.list.push(held.over(Err(Failure::Cancelled)));
            return;
        }
        for at in 0..self.lanes.len() {
            let lane = &mut self.lanes[at];
            lane.broken.held.iter_mut().filter(|held| held.tag == tag).for_each(|held| held.cancelled = true);
            if let Some(connection) = &mut lane.connection {
                connection.commands.cancel(tag);
                self.look_at_time(at);
            }
        }
    }

    fn cancel_all(&mut self, _ring: &mut Ring) {
        for held in self.held.drain(..) {
            self.over.list.push(completion(held.tag, held.op, Err(Failure::Cancelled), held.bufs));
        }
        for at in 0..self.lanes.len() {
            let lane = &mut self.lanes[at];
            lane.broken.held.iter_mut().for_each(|held| held.cancelled = true);
            if let Some(connection) = &mut lane.connection {
                connection.commands.cancel_all();
                self.look_at_time(at);
            }
        }
    }

    fn close(&mut self, ring: &mut Ring) {
        ring.release(self.owner);
    }

    fn arm(&mut self, ring: &mut Ring) -> Arm {
        if !self.over.list.is_empty() || !self.over.native.is_empty() {
            return Arm::Busy;
        }
        let mut arm = Arm::Armed;
        for (at, lane) in self.lanes.iter().enumerate() {
            let over = lane.generation <= self.path(at).over();
            arm = arm.and(match &lane.connection {
                Some(_) if over => Arm::Busy,
                Some(connection) => {
                    let late = self.path(at).patience.look(&connection.commands);
                    connection.pump.arm(ring).and(late.map_or(Arm::Armed, Arm::PollEvery))
                }
                None if lane.seat.is_filled() || !lane.told || over && !lane.broken.is_empty() => Arm::Busy,
                None => Arm::Armed,
            });
        }
        if !self.held.is_empty() && self.is_gone() { Arm::Busy } else { arm }
    }
}

impl Drop for TcpQueue {
    fn drop(&mut self) {
        for (lane, association) in self.lanes.iter_mut().zip(&self.paths.list) {
            // The connection first, then its number: the target must not see the number twice.
            lane.connection = None;
            drop(lane.seat.take());
            association.close(&lane.seat);
        }
    }
}
