//! One queue, and what is in flight on it. A request's tag is the index of its slot.
//!
//! Bytes are *carried* - every slot has a buffer or a list of them, which travels with its request and comes back - or
//! *lent*: reads point into the device's memory and writes are taken as they lie, so that one buffer is enough.

use std::ops::Range;
use std::sync::Arc;

use block::{
    Command, Completed, Completions, Data, Device, Failure, Op, Queue, Refused, Request, Returned, Untaken, WhichZone,
    ZoneError, Zoned,
};
use machine::clock::Fine;
use machine::region::{Bufs, Pool};
use machine::ring::Ring;
use wire::nvme::Sqe;

use super::book::{Book, Run};
use super::filling::{Chore, Filling};
use super::limits::MAX_REDRAWS;
use super::live::Phase;
use super::pace::Pace;
use super::plan::{Shape, Stage};
use super::workload::{Direction, Generator, Job, Rng};

/// Which of a target's queues it is, counted over all reactors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) index: usize,
    pub(super) queues: usize,
}

/// A queue under load.
pub(super) struct Lane {
    pub(super) queue: Box<dyn Queue>,
    /// What the queue is on.
    device: Arc<dyn Device>,
    seat: Seat,
    slots: Vec<Slot>,
    /// Slots without a request.
    free: Vec<u32>,
    /// Requests of this stage that may be in flight at once.
    depth: usize,
    /// Buffers without a request, by [`Lane::stack`].
    buffers: [Vec<Bufs>; 2],
    /// With scatter lists: a unit in one piece.
    whole: Vec<u8>,
    /// Reads and writes have buffers of their own, so that what is written stays noise.
    split: bool,
    lend: bool,
    generator: Generator,
    /// In place of the generator, where zones are written.
    filling: Option<Filling>,
    /// In a sweep: the units still to visit, and which way.
    sweep: Option<(Direction, Range<u64>)>,
    /// With a rate: when requests are due.
    pace: Option<Pace>,
    /// A job that could not be submitted in the last pass.
    held: Option<Job>,
    completions: Completions,
    /// The most requests that were in flight in this stage.
    pub(super) peak: usize,
    /// Writes so far, to make each different.
    writes: u64,
}

/// A request, or room for one.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    in_flight: bool,
    pub(super) job: Job,
    /// Of a verified write.
    pub(super) generation: u32,
    /// When its latency starts.
    pub(super) sent: Fine,
}

impl Lane {
    /// A lane over an open queue; it takes its buffers from `pool`.
    pub(super) fn new(
        (seat, queue): (Seat, Box<dyn Queue>),
        device: Arc<dyn Device>,
        shape: &Shape,
        pool: &Pool,
        noise: &mut Rng,
    ) -> Self {
        let depth = shape.depth;
        let mut take = |len| {
            let mut buf = pool.take().expect("the pool has a buffer for every slot");
            buf.set_len(len);
            noise.fill(&mut buf);
            buf
        };
        let mut take = || match shape.iov {
            None => Bufs::One(take(shape.unit_bytes)),
            Some(_) => Bufs::Many(shape.lengths().map(&mut take).collect()),
        };
        let mut buffers = [Vec::with_capacity(depth), Vec::with_capacity(depth)];
        let stacks = if shape.split() { 2 } else { 1 };
        for stack in buffers.iter_mut().take(stacks) {
            stack.extend((0..shape.transfers() / stacks).map(|_| take()));
        }
        let job = Job { direction: Direction::Read, unit: 0 };
        let Seat { index, queues } = seat;
        let filling = shape.zones.map(|zones| {
            let share = shape.share(index, queues);
            Filling::new(shape, zones, share.start / zones.units..share.end / zones.units)
        });
        Self {
            queue,
            device,
            seat,
            slots: vec![Slot { in_flight: false, job, generation: 0, sent: Fine::from_nanos(0) }; depth],
            free: (0..depth as u32).rev().collect(),
            depth,
            buffers,
            whole: vec![0; shape.iov.map_or(0, |_| shape.unit_bytes)],
            split: shape.split(),
            lend: shape.lend,
            generator: Generator::new(shape.rw, shape.reads_percent, shape.units, index, queues, shape.seed),
            filling,
            sweep: None,
            pace: None,
            held: None,
            completions: Completions::default(),
            peak: 0,
            writes: 0,
        }
    }

    /// Prepares a stage.
    pub(super) fn begin(&mut self, stage: Stage, shape: &Shape) {
        let direction = match stage.phase {
            Phase::Fill => Some(Direction::Write),
            Phase::ReadBack => Some(Direction::Read),
            Phase::WarmUp | Phase::Measure => None,
        };
        self.sweep = direction.map(|direction| (direction, self.share(shape)));
        let Seat { index, queues } = self.seat;
        let rate = shape.rate.filter(|_| direction.is_none());
        self.pace = rate.map(|rate| Pace::new(rate, index, queues));
        self.depth = stage.depth.min(shape.depth);
        if let (Some(job), Some(filling)) =
            (self.held.take().filter(|job| job.direction == Direction::Write), &mut self.filling)
        {
            filling.give_back(job.unit);
        }
        self.peak = 0;
    }

    /// The units that this queue walks over.
    pub(super) fn share(&self, shape: &Shape) -> Range<u64> {
        shape.share(self.seat.index, self.seat.queues)
    }

    /// Requests under way.
    pub(super) fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len() + self.filling.as_ref().map_or(0, Filling::chores)
    }

    /// Nothing is left of the sweep.
    pub(super) fn swept(&self) -> bool {
        self.held.is_none() && self.sweep.as_ref().is_some_and(|(_, units)| units.is_empty())
    }

    /// Requests come by the clock.
    pub(super) fn paced(&self) -> bool {
        self.pace.is_some()
    }

    /// Which stack of buffers requests of this direction use.
    fn stack(&self, direction: Direction) -> usize {
        if self.split { direction as usize } else { 0 }
    }

    /// Handles what has completed; returns how many that were, and when, if there were any.
    pub(super) fn reap(&mut self, run: &mut Run, book: &mut Book<'_>, ring: &mut Ring) -> (usize, Option<Fine>) {
        self.queue.poll(ring, &mut self.completions);
        let Completions { list, lent, native } = &mut self.completions;
        if list.is_empty() && native.is_empty() {
            return (0, None);
        }
        let now = Fine::now();
        run.last_completion = Some(now);
        let count = list.len() + native.len();
        for completion in list.drain(..) {
            let slot = &mut self.slots[completion.tag as usize];
            assert!(slot.in_flight, "a completion for slot {} that has no request", completion.tag);
            slot.in_flight = false;
            if let (Some(filling), Direction::Write) = (&mut self.filling, slot.job.direction) {
                filling.ended(slot.job.unit, completion.outcome.is_ok());
            }
            match completion.data {
                Returned::Carried(buf) => {
                    book.ended(run, slot, completion.outcome, std::iter::once(&*buf), now);
                    let stack = if self.split { slot.job.direction as usize } else { 0 };
                    self.buffers[stack].push(buf.into());
                }
                Returned::Scattered(pieces) => {
                    let bufs = Bufs::Many(pieces);
                    if book.ledger.is_some() {
                        bufs.get(0, &mut self.whole);
                    }
                    book.ended(run, slot, completion.outcome, std::iter::once(&*self.whole), now);
                    let stack = if self.split { slot.job.direction as usize } else { 0 };
                    self.buffers[stack].push(bufs);
                }
                Returned::Lent(pieces) => {
                    book.ended(run, slot, completion.outcome, lent.range(..pieces).map(|piece| &**piece), now);
                    lent.drain(..pieces);
                }
                Returned::None => book.ended(run, slot, completion.outcome, std::iter::empty(), now),
            }
            self.free.push(completion.tag as u32);
        }
        if !self.completions.native.is_empty() {
            self.reap_native(run, book, now);
        }
        (count, Some(now))
    }

    /// Handles the ends of native commands: appends, and what was done with zones.
    fn reap_native(&mut self, run: &mut Run, book: &mut Book<'_>, now: Fine) {
        let filling = self.filling.as_mut().expect("only zones want native commands");
        for Completed { tag, outcome, data, .. } in self.completions.native.drain(..) {
            let Some(slot) = self.slots.get_mut(tag as usize) else {
                let place = tag as usize - self.slots.len();
                done(filling, run, book, place, outcome.map(drop).map_err(ZoneError::Failed));
                continue;
            };
            assert!(slot.in_flight, "a completion for slot {tag} that has no request");
            slot.in_flight = false;
            let zone = slot.job.unit;
            match outcome.map(|lba| (lba, filling.placed(zone, lba))) {
                Ok((_, Ok(unit))) => {
                    slot.job.unit = unit;
                    book.ended(run, slot, Ok(()), std::iter::empty(), now);
                }
                Ok((lba, Err(why))) => book.misplaced(run, lba, &why),
                Err(failure) => book.failed(run, slot.job, failure),
            }
            filling.ended(zone, outcome.is_ok());
            self.buffers[usize::from(self.split)].push(data);
            self.free.push(tag as u32);
        }
    }

    /// Does with zones what has to be done before they go on. How many commands were sent.
    fn do_chores(&mut self, run: &mut Run, book: &Book<'_>, ring: &mut Ring) -> usize {
        let Some(filling) = &mut self.filling else { return 0 };
        let mut sent = 0;
        while run.open
            && let Some(chore) = filling.chore()
        {
            let Some(nsid) = filling.nsid() else {
                let result = by_kernel(&*self.device, chore);
                done(filling, run, book, chore.place, result);
                continue;
            };
            let sqe = Sqe::zone_management_send(nsid, chore.lba, chore.action.code(), false);
            let tag = (self.slots.len() + chore.place) as u64;
            let command = Command { tag, sqe, data: Bufs::None, metadata: None, timeout: None };
            if self.queue.command(ring, command).is_err() {
                break;
            }
            filling.begun(chore);
            sent += 1;
        }
        sent
    }

    /// Submits until the queue is full or nothing more is wanted; returns how many were submitted. `now` is when this
    /// pass found completions: what is submitted counts from there, handling them included.
    pub(super) fn fill(&mut self, run: &mut Run, book: &Book<'_>, ring: &mut Ring, now: Option<Fine>) -> usize {
        let mut room = self.depth.saturating_sub(self.in_flight());
        if !run.open || room == 0 {
            return 0;
        }
        let now = now.unwrap_or_else(Fine::now);
        let mut submitted = if self.sweep.is_none() { self.do_chores(run, book, ring) } else { 0 };
        while room > 0 && run.remaining > 0 {
            let Some(since) = self.pace.as_mut().map_or(Some(now), |pace| pace.due(now)) else { break };
            let Some(job) = self.next(book) else { break };
            if !self.submit(book, ring, job, since) {
                break;
            }
            if let Some(pace) = &mut self.pace {
                pace.sent();
            }
            run.remaining -= 1;
            room -= 1;
            submitted += 1;
        }
        if submitted > 0 {
            run.started.get_or_insert(now);
            self.peak = self.peak.max(self.in_flight());
            self.queue.kick(ring);
        }
        submitted
    }

    /// Submits one job in a free slot. If the queue is full the job is held for the next pass.
    fn submit(&mut self, book: &Book<'_>, ring: &mut Ring, job: Job, since: Fine) -> bool {
        if book.shape.appends() && job.direction == Direction::Write {
            return self.append(book, ring, job, since);
        }
        let index = *self.free.last().expect("fewer requests than slots are in flight");
        let stack = self.stack(job.direction);
        let mut generation = 0;
        let range = book.shape.range(job.unit);
        let op = match job.direction {
            Direction::Read => Op::Read(range),
            Direction::Write => Op::Write { range, fua: book.shape.fua },
        };
        if job.direction == Direction::Write {
            self.writes += 1;
            let bufs = self.buffers[stack].last_mut().expect("a write has a buffer");
            generation = book.prepare_write(bufs, &mut self.whole, job.unit, self.writes);
        }
        let data = match (self.lend, job.direction) {
            (true, Direction::Read) => Data::Lend,
            (true, Direction::Write) => Data::Inline(&self.buffers[stack].last().expect("the one buffer").pieces()[0]),
            (false, _) => self.buffers[stack].pop().expect("a free slot has a buffer").into(),
        };
        if let Err(Refused(request)) = self.queue.submit(ring, Request { tag: u64::from(index), op, data }) {
            let bufs = request.data.into_bufs();
            if bufs.is_some() {
                self.buffers[stack].push(bufs);
            }
            book.give_back(job.unit);
            self.held = Some(job);
            return false;
        }
        self.slots[index as usize] = Slot { in_flight: true, job, generation, sent: since };
        self.free.pop();
        true
    }

    /// The same of an append to the zone of the job's unit.
    fn append(&mut self, book: &Book<'_>, ring: &mut Ring, job: Job, since: Fine) -> bool {
        let index = *self.free.last().expect("fewer requests than slots are in flight");
        let nsid = self.filling.as_ref().and_then(Filling::nsid).expect("appends are native commands");
        let range = book.shape.range(job.unit);
        let stack = self.stack(Direction::Write);
        let mut data = self.buffers[stack].pop().expect("a free slot has a buffer");
        self.writes += 1;
        let generation = book.prepare_append(&mut data, &mut self.whole, job.unit, self.writes);
        let mut sqe = Sqe::zone_append(nsid, range.lba, range.blocks as u32);
        if book.shape.fua {
            sqe = sqe.with_fua();
        }
        let command = Command { tag: u64::from(index), sqe, data, metadata: None, timeout: None };
        if let Err(Untaken { command, .. }) = self.queue.command(ring, command) {
            self.buffers[stack].push(command.data);
            self.held = Some(job);
            return false;
        }
        self.slots[index as usize] = Slot { in_flight: true, job, generation, sent: since };
        self.free.pop();
        true
    }

    /// The next job, with its unit taken if there is a ledger; `None` if there is none now.
    #[inline]
    fn next(&mut self, book: &Book<'_>) -> Option<Job> {
        let mut job = match self.held.take() {
            Some(job) => job,
            None => self.draw(book)?,
        };
        let Some(ledger) = book.ledger else { return Some(job) };
        // Nobody knows the unit of an append yet, and the queue has the zone for itself.
        if book.shape.appends() && job.direction == Direction::Write {
            return Some(job);
        }
        if ledger.try_take(job.unit) {
            return Some(job);
        }
        if self.sweep.is_none() && self.generator.random() {
            for _ in 0..MAX_REDRAWS {
                job.unit = self.generator.redraw();
                if ledger.try_take(job.unit) {
                    return Some(job);
                }
            }
        }
        self.held = Some(job);
        None
    }

    /// The next job of the sweep or of the generator.
    #[inline]
    fn draw(&mut self, book: &Book<'_>) -> Option<Job> {
        let Some((direction, units)) = &mut self.sweep else {
            let Some(filling) = &mut self.filling else { return Some(self.generator.next()) };
            return filling.claim().map(|unit| Job { direction: Direction::Write, unit });
        };
        let direction = *direction;
        let unit = match (direction, book.ledger) {
            // Only what must have a certain content is worth reading back.
            (Direction::Read, Some(ledger)) => units.find(|&unit| ledger.expected(unit).is_some()),
            _ => units.next(),
        };
        unit.map(|unit| Job { direction, unit })
    }
}

/// What has to be done with a zone of a block device. It blocks; that is once in the life of a zone.
fn by_kernel(device: &dyn Device, chore: Chore) -> Result<(), ZoneError> {
    let zoned = Zoned::open(device)?;
    zoned.ok_or(ZoneError::Failed(Failure::NotSupported))?.act(chore.action, WhichZone::At(chore.lba))
}

/// Something was done with a zone, or not.
fn done(filling: &mut Filling, run: &mut Run, book: &Book<'_>, place: usize, result: Result<(), ZoneError>) {
    let (chore, empty) = filling.done(place, result.is_ok());
    match result {
        Ok(()) => book.forget(empty),
        Err(error) => book.stuck(run, chore, &error),
    }
}
