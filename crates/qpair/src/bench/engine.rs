//! The load generator: a poller that keeps every queue full.
//!
//! ```text
//!   a pass:   poll ── completions ──▶ one clock reading ──▶ latencies, checks ──▶ slots free
//!             free slots ──▶ one clock reading ──▶ submit, submit, ... ──▶ one kick
//! ```
//!
//! A run is a sequence of phases (fill, warm-up, measure, read back). A phase opens, submits until its goal is reached,
//! closes, and has ended when nothing is in flight any more: every request belongs to exactly one phase, and the time
//! of a phase goes from its first submission to its last completion.
//!
//! A latency goes from just before the batch of submissions that the request was part of to just after the poll that
//! brought its completion. It thus includes what the queue's own code costs, and waiting behind the batch; it is never
//! shorter than the truth.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use block::{Completions, Data, Failure, Op, Outcome, Queue, Refused, Request, Returned};
use machine::clock::Fine;
use machine::reactor::{Arm, Context, Poller};
use machine::region::{Buf, Pool};
use machine::ring::Ring;

use super::latency::Latencies;
use super::limits::{DRAIN_LIMIT, MAX_ERRORS, MAX_PRINTED, MAX_REDRAWS, TICK};
use super::live::{Phase, Progress};
use super::plan::Shape;
use super::report::{Ending, Errors, Verified};
use super::verify::Ledger;
use super::workload::{Direction, Generator, Job, Rng, share};

/// When a phase is over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    /// After this time.
    For(Duration),
    /// After so many requests.
    Count(u64),
    /// After every unit once.
    Sweep,
}

/// The poller of a run.
pub(super) struct Engine {
    lanes: Vec<Lane>,
    run: Run,
    finished: Rc<Cell<bool>>,
    stop: &'static AtomicBool,
}

/// One queue and what is in flight on it. A request's tag is the index of its slot.
struct Lane {
    queue: Box<dyn Queue>,
    slots: Vec<Slot>,
    /// Slots without a request.
    free: Vec<u32>,
    /// Buffers without a request, by [`Lane::stack`].
    buffers: [Vec<Buf>; 2],
    /// Reads and writes have buffers of their own, so that what is written stays noise.
    split: bool,
    generator: Generator,
    /// In a sweep: the units still to visit, and which way.
    sweep: Option<(Direction, std::ops::Range<u64>)>,
    /// A job that could not be submitted in the last pass.
    held: Option<Job>,
    completions: Completions,
    /// The most requests that were in flight.
    peak: usize,
    /// Writes so far, to make each different.
    writes: u64,
}

#[derive(Clone, Copy)]
struct Slot {
    in_flight: bool,
    job: Job,
    /// Of a verified write.
    generation: u32,
    sent: Fine,
}

/// What all lanes share.
struct Run {
    shape: Shape,
    goal: Goal,
    /// New requests may be submitted.
    open: bool,
    /// Submissions that the goal leaves.
    remaining: u64,
    /// First submission of the phase.
    started: Option<Fine>,
    last_completion: Option<Fine>,
    closed: Option<Fine>,
    ending: Ending,
    latencies: [Latencies; 2],
    ledger: Option<Ledger>,
    errors: Errors,
    verified: Verified,
    /// The first errors and miscompares, for people.
    problems: Vec<String>,
    progress: Arc<Progress>,
}

/// What a phase measured.
pub(super) struct Measured {
    pub(super) elapsed: Duration,
    /// Of reads and of writes.
    pub(super) latencies: [Latencies; 2],
}

impl Engine {
    /// An engine over open queues. `pool` has at least `buffers_per_slot` buffers for each slot of each queue.
    pub(super) fn new(
        queues: Vec<Box<dyn Queue>>,
        shape: Shape,
        pool: &Pool,
        ledger: Option<Ledger>,
        progress: Arc<Progress>,
        stop: &'static AtomicBool,
    ) -> Self {
        let mut noise = Rng::new(shape.seed ^ 0x6e6f_6973_6500_0000);
        let count = queues.len();
        let lanes = queues.into_iter().enumerate();
        let lanes = lanes.map(|(index, queue)| Lane::new(queue, &shape, index, count, pool, &mut noise)).collect();
        let run = Run {
            shape,
            goal: Goal::Sweep,
            open: false,
            remaining: 0,
            started: None,
            last_completion: None,
            closed: None,
            ending: Ending::Goal,
            latencies: [Latencies::new(), Latencies::new()],
            ledger,
            errors: Errors::default(),
            verified: Verified::default(),
            problems: Vec::with_capacity(MAX_PRINTED as usize),
            progress,
        };
        Self { lanes, run, finished: Rc::new(Cell::new(true)), stop }
    }

    /// Set when the phase has ended: the reactor's reason to return.
    pub(super) fn finished(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.finished)
    }

    /// Prepares a phase; the reactor then runs it.
    pub(super) fn begin(&mut self, phase: Phase, goal: Goal) {
        assert!(self.finished.get() && self.in_flight() == 0, "the last phase has not ended");
        let count = self.lanes.len();
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let direction = match phase {
                Phase::Fill => Some(Direction::Write),
                Phase::ReadBack => Some(Direction::Read),
                Phase::WarmUp | Phase::Measure => None,
            };
            assert_eq!(direction.is_some(), matches!(goal, Goal::Sweep), "a sweep has one direction");
            lane.sweep = direction.map(|direction| (direction, share(self.run.shape.units, index, count)));
            lane.held = None;
            lane.peak = 0;
        }
        let run = &mut self.run;
        run.goal = goal;
        run.open = true;
        run.remaining = if let Goal::Count(count) = goal { count } else { u64::MAX };
        (run.started, run.last_completion, run.closed) = (None, None, None);
        run.latencies.iter_mut().for_each(Latencies::reset);
        run.progress.begin(phase);
        self.finished.set(false);
    }

    /// What the phase that just ended measured.
    pub(super) fn measured(&self) -> Measured {
        let run = &self.run;
        let elapsed = match (run.started, run.last_completion) {
            (Some(started), Some(last)) => last.since(started),
            _ => Duration::ZERO,
        };
        Measured { elapsed, latencies: run.latencies.clone() }
    }

    /// Why the run cannot go on, if it cannot.
    pub(super) fn ending(&self) -> Ending {
        self.run.ending
    }

    /// Failed requests of all phases.
    pub(super) fn errors(&self) -> Errors {
        self.run.errors
    }

    /// What was verified in all phases.
    pub(super) fn verified(&self) -> Option<Verified> {
        self.run.ledger.as_ref().map(|_| self.run.verified)
    }

    /// The first errors and miscompares of all phases.
    pub(super) fn problems(&self) -> &[String] {
        &self.run.problems
    }

    /// The most requests that were in flight in this phase, of each queue.
    pub(super) fn peaks(&self) -> Vec<usize> {
        self.lanes.iter().map(|lane| lane.peak).collect()
    }

    fn in_flight(&self) -> usize {
        self.lanes.iter().map(Lane::in_flight).sum()
    }

    /// Ends the phase if its goal is reached, or if somebody wants it to end.
    fn look_at_goal(&mut self, now: Fine) {
        if !self.run.open {
            return;
        }
        let over = match self.run.goal {
            Goal::For(time) => self.run.started.is_some_and(|started| now.since(started) >= time),
            Goal::Count(_) => self.run.remaining == 0,
            Goal::Sweep => self.lanes.iter().all(Lane::swept),
        };
        if self.stop.load(Relaxed) {
            self.run.close(Ending::Interrupt);
        } else if over {
            self.run.close(Ending::Goal);
        }
    }

    /// Ends the phase once nothing is in flight, or when the rest takes too long.
    fn look_at_drain(&mut self, now: Fine) {
        if self.run.open || self.finished.get() {
            return;
        }
        let closed = *self.run.closed.get_or_insert(now);
        let in_flight = self.in_flight();
        if in_flight == 0 {
            self.finished.set(true);
        } else if now.since(closed) > DRAIN_LIMIT {
            self.run.errors.unfinished += in_flight as u64;
            self.run.problem(|| format!("{in_flight} requests did not complete within {DRAIN_LIMIT:?}"));
            if self.run.ending == Ending::Goal {
                self.run.ending = Ending::Errors;
            }
            self.finished.set(true);
        }
    }
}

impl Poller for Engine {
    fn name(&self) -> &'static str {
        "bench"
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> usize {
        self.look_at_goal(cx.now);
        let mut work = 0;
        for lane in &mut self.lanes {
            lane.queue.begin();
            let (reaped, now) = lane.reap(&mut self.run, cx.ring);
            work += reaped + lane.fill(&mut self.run, cx.ring, now);
            lane.queue.end();
        }
        if work > 0 {
            self.run.publish(cx.now);
        }
        self.look_at_drain(cx.now);
        work
    }

    fn arm(&mut self, cx: &mut Context<'_>) -> Arm {
        if self.finished.get() {
            return Arm::Busy;
        }
        // Nobody signals a deadline or an interrupt, and a full queue has no signal that there is room again.
        let mut sleep = TICK;
        if let (Goal::For(time), Some(started), true) = (self.run.goal, self.run.started, self.run.open) {
            sleep = sleep.min(time.saturating_sub(cx.now.since(started)));
        }
        let own = if sleep.is_zero() { Arm::Busy } else { Arm::PollEvery(sleep) };
        self.lanes.iter_mut().fold(own, |arm, lane| arm.and(lane.queue.arm(cx.ring)))
    }

    fn disarm(&mut self, _cx: &mut Context<'_>) {
        self.lanes.iter_mut().for_each(|lane| lane.queue.disarm());
    }

    fn drained(&self) -> bool {
        // What did not complete in time is given up: waiting for it once more would not help.
        self.finished.get()
    }
}

impl Lane {
    fn new(queue: Box<dyn Queue>, shape: &Shape, index: usize, count: usize, pool: &Pool, noise: &mut Rng) -> Self {
        let depth = shape.depth;
        let mut take = || {
            let mut buf = pool.take().expect("the pool has a buffer for every slot");
            buf.set_len(shape.unit_bytes);
            noise.fill(&mut buf);
            buf
        };
        let mut buffers = [Vec::with_capacity(depth), Vec::with_capacity(depth)];
        buffers.iter_mut().take(shape.buffers_per_slot()).for_each(|stack| stack.extend((0..depth).map(|_| take())));
        let job = Job { direction: Direction::Read, unit: 0 };
        Self {
            queue,
            slots: vec![Slot { in_flight: false, job, generation: 0, sent: Fine::from_nanos(0) }; depth],
            free: (0..depth as u32).rev().collect(),
            buffers,
            split: shape.buffers_per_slot() == 2,
            generator: Generator::new(shape.rw, shape.reads_percent, shape.units, index, count, shape.seed),
            sweep: None,
            held: None,
            completions: Completions::default(),
            peak: 0,
            writes: 0,
        }
    }

    fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Nothing is left of the sweep.
    fn swept(&self) -> bool {
        self.held.is_none() && self.sweep.as_ref().is_some_and(|(_, units)| units.is_empty())
    }

    /// Which stack of buffers requests of this direction use.
    fn stack(&self, direction: Direction) -> usize {
        if self.split { direction as usize } else { 0 }
    }

    /// Handles what has completed; returns how many that were, and when, if there were any.
    fn reap(&mut self, run: &mut Run, ring: &mut Ring) -> (usize, Option<Fine>) {
        self.queue.poll(ring, &mut self.completions);
        if self.completions.list.is_empty() {
            return (0, None);
        }
        let now = Fine::now();
        run.last_completion = Some(now);
        let count = self.completions.list.len();
        for completion in self.completions.list.drain(..) {
            let slot = &mut self.slots[completion.tag as usize];
            assert!(slot.in_flight, "a completion for slot {} that has no request", completion.tag);
            slot.in_flight = false;
            let Returned::Carried(buf) = completion.data else { panic!("a carried buffer comes back") };
            run.ended(slot, completion.outcome, &buf, now);
            let stack = if self.split { slot.job.direction as usize } else { 0 };
            self.buffers[stack].push(buf);
            self.free.push(completion.tag as u32);
        }
        (count, Some(now))
    }

    /// Submits until the queue is full or nothing more is wanted; returns how many were submitted. `now` is when this
    /// pass found completions: what is submitted counts from there, handling them included.
    fn fill(&mut self, run: &mut Run, ring: &mut Ring, now: Option<Fine>) -> usize {
        if !run.open || self.free.is_empty() {
            return 0;
        }
        let now = now.unwrap_or_else(Fine::now);
        let mut submitted = 0;
        while run.remaining > 0
            && let Some(&index) = self.free.last()
            && let Some(job) = self.next(run)
        {
            if !self.submit(run, ring, index, job, now) {
                break;
            }
            run.remaining -= 1;
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
    fn submit(&mut self, run: &mut Run, ring: &mut Ring, index: u32, job: Job, now: Fine) -> bool {
        let stack = self.stack(job.direction);
        let mut buf = self.buffers[stack].pop().expect("a free slot has a buffer");
        let mut generation = 0;
        let range = run.shape.range(job.unit);
        let op = match job.direction {
            Direction::Read => Op::Read(range),
            Direction::Write => {
                self.writes += 1;
                generation = run.prepare_write(&mut buf, job.unit, self.writes);
                Op::Write { range, fua: run.shape.fua }
            }
        };
        let request = Request { tag: u64::from(index), op, data: Data::Carried(buf) };
        if let Err(Refused(request)) = self.queue.submit(ring, request) {
            let Data::Carried(buf) = request.data else { panic!("a refused request comes back as it was") };
            self.buffers[stack].push(buf);
            run.give_back(job.unit);
            self.held = Some(job);
            return false;
        }
        self.slots[index as usize] = Slot { in_flight: true, job, generation, sent: now };
        self.free.pop();
        true
    }

    /// The next job, with its unit taken if there is a ledger; `None` if there is none now.
    #[inline]
    fn next(&mut self, run: &mut Run) -> Option<Job> {
        let mut job = match self.held.take() {
            Some(job) => job,
            None => self.draw(run)?,
        };
        let Some(ledger) = &mut run.ledger else { return Some(job) };
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
    fn draw(&mut self, run: &Run) -> Option<Job> {
        let Some((direction, units)) = &mut self.sweep else { return Some(self.generator.next()) };
        let direction = *direction;
        let unit = match (direction, &run.ledger) {
            // Only what must have a certain content is worth reading back.
            (Direction::Read, Some(ledger)) => units.find(|&unit| ledger.expected(unit).is_some()),
            _ => units.next(),
        };
        unit.map(|unit| Job { direction, unit })
    }
}

impl Run {
    /// No more submissions; `ending` says why.
    fn close(&mut self, ending: Ending) {
        if self.ending == Ending::Goal {
            self.ending = ending;
        }
        self.open = false;
    }

    /// Fills a write's buffer, and says which generation of the unit it is.
    fn prepare_write(&self, buf: &mut [u8], unit: u64, serial: u64) -> u32 {
        let address = self.shape.address(unit);
        let Some(ledger) = &self.ledger else {
            // Noise, different in every write.
            buf[..8].copy_from_slice(&address.to_le_bytes());
            buf[8..16].copy_from_slice(&serial.to_le_bytes());
            return 0;
        };
        let generation = ledger.next_generation(unit);
        ledger.stamper.stamp(buf, address, generation);
        generation
    }

    fn give_back(&mut self, unit: u64) {
        if let Some(ledger) = &mut self.ledger {
            ledger.give_back(unit);
        }
    }

    /// A request has ended.
    fn ended(&mut self, slot: &Slot, outcome: Outcome, bytes: &[u8], now: Fine) {
        let Job { direction, unit } = slot.job;
        match outcome {
            Ok(()) => self.latencies[direction as usize].record(now.since(slot.sent)),
            Err(failure) => self.failed(slot.job, failure),
        }
        let Some(ledger) = &mut self.ledger else { return };
        ledger.give_back(unit);
        match direction {
            Direction::Write => ledger.written(unit, slot.generation, outcome.is_ok()),
            Direction::Read if outcome.is_ok() => self.check(unit, bytes),
            Direction::Read => {}
        }
    }

    fn check(&mut self, unit: u64, bytes: &[u8]) {
        let ledger = self.ledger.as_ref().expect("only called with a ledger");
        let Some(expected) = ledger.expected(unit) else {
            self.verified.skipped += 1;
            return;
        };
        self.verified.checked += 1;
        if let Err(miscompare) = ledger.stamper.check(bytes, self.shape.address(unit), expected) {
            self.verified.miscompares += 1;
            self.problem(|| miscompare.to_string());
            self.close(Ending::Miscompare);
        }
    }

    fn failed(&mut self, job: Job, failure: Failure) {
        match job.direction {
            Direction::Read => self.errors.read += 1,
            Direction::Write => self.errors.write += 1,
        }
        let address = self.shape.address(job.unit);
        self.problem(|| format!("{} at offset {address} failed: {}", job.direction.name(), describe(failure)));
        // Without its connection every further request would fail at once.
        if matches!(failure, Failure::Disconnected | Failure::Unreachable) || self.errors.total() >= MAX_ERRORS {
            self.close(Ending::Errors);
        }
    }

    fn problem(&mut self, text: impl FnOnce() -> String) {
        if (self.problems.len() as u64) < MAX_PRINTED {
            self.problems.push(text());
        }
    }

    /// Shows the live line's thread how far we are.
    fn publish(&self, now: Fine) {
        let ios: u64 = self.latencies.iter().map(Latencies::count).sum();
        let latency_ns: u64 = self.latencies.iter().map(Latencies::sum_ns).sum();
        let permille = match (self.goal, self.started) {
            (Goal::For(time), Some(started)) => (now.since(started).as_nanos() * 1000 / time.as_nanos().max(1)) as u64,
            (Goal::Count(count), _) => (u128::from(ios) * 1000 / u128::from(count.max(1))) as u64,
            _ => (u128::from(ios) * 1000 / u128::from(self.shape.units)) as u64,
        };
        self.progress.ios.store(ios, Relaxed);
        self.progress.latency_ns.store(latency_ns, Relaxed);
        self.progress.permille.store(permille, Relaxed);
    }
}

/// A failure for people.
fn describe(failure: Failure) -> String {
    match failure {
        Failure::OutOfRange => "the blocks are not all on the device".to_owned(),
        Failure::ReadOnly => "the device is read-only".to_owned(),
        Failure::Cancelled => "the request was cancelled".to_owned(),
        Failure::BadTransfer => "the device does not take transfers of this size".to_owned(),
        Failure::Device(status) => format!("the device answered \"{status}\""),
        Failure::Host(error) => std::io::Error::from_raw_os_error(error).to_string(),
        Failure::Disconnected => "the connection broke".to_owned(),
        Failure::Unreachable => "the target is gone".to_owned(),
    }
}
