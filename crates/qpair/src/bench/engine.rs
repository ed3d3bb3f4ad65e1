//! The load generator of one reactor: a poller that keeps every queue full.
//!
//! ```text
//!   a pass:   poll ── completions ──▶ one clock reading ──▶ latencies, checks ──▶ slots free
//!             free slots ──▶ one clock reading ──▶ submit, submit, ... ──▶ one kick
//! ```
//!
//! A run is a sequence of stages (fill, warm-up, measure, ..., read back). A stage opens, submits until its goal is
//! reached, closes, and has ended when nothing is in flight any more: every request belongs to exactly one stage, and
//! the time of a stage goes from its first submission to its last completion.
//!
//! A latency goes from just before the batch of submissions that the request was part of to just after the poll that
//! brought its completion. It thus includes what the queue's own code costs, and waiting behind the batch; it is never
//! shorter than the truth. With a rate it goes from the moment the request was due (see [`super::pace`]).

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use block::{Device, Queue};
use machine::clock::Fine;
use machine::reactor::{Arm, Context, Poller};
use machine::region::Pool;

use super::book::{Book, Run};
use super::lane::{Lane, Seat};
use super::limits::{DRAIN_LIMIT, TICK};
use super::live::Progress;
use super::plan::{Goal, Shape, Stage};
use super::report::Ending;
use super::tally::Tally;
use super::verify::Ledger;
use super::workload::Rng;

/// What wants a stage to end before its goal is reached.
#[derive(Clone, Copy)]
pub(super) struct Halt<'a> {
    /// A signal.
    pub(super) stop: &'a AtomicBool,
    /// Another reactor's trouble; each says there when it has some itself.
    pub(super) trouble: &'a AtomicBool,
}

/// A target as one reactor sees it.
pub(super) struct Part<'a> {
    /// Its number among the targets of the run.
    pub(super) target: usize,
    /// What it is called in messages; empty if there is only one.
    pub(super) name: String,
    pub(super) device: &'a Arc<dyn Device>,
    pub(super) shape: Shape,
    pub(super) ledger: Option<&'a Ledger>,
    /// The queues that this reactor has on it.
    pub(super) queues: Vec<(Seat, Box<dyn Queue>)>,
}

/// The poller of a run.
pub(super) struct Engine<'a> {
    groups: Vec<Group<'a>>,
    run: Run,
    finished: Rc<Cell<bool>>,
    halt: Halt<'a>,
}

/// One target's queues.
struct Group<'a> {
    book: Book<'a>,
    lanes: Vec<Lane>,
}

/// What one reactor's stage came to.
pub(super) struct Found {
    /// First submission; `None` if there was none.
    pub(super) started: Option<Fine>,
    pub(super) last_completion: Option<Fine>,
    pub(super) ending: Ending,
    /// By target: its number and what was counted on it.
    pub(super) tallies: Vec<(usize, Tally)>,
    /// The most requests that were in flight, of each queue.
    pub(super) peaks: Vec<usize>,
    /// The first errors and miscompares, for people.
    pub(super) problems: Vec<String>,
}

impl<'a> Engine<'a> {
    /// An engine over open queues. `pool` has `Shape::buffers` for each of them.
    pub(super) fn new(parts: Vec<Part<'a>>, pool: &Pool, progress: Arc<Progress>, halt: Halt<'a>) -> Self {
        let group = |part: Part<'a>| {
            let Part { target, name, device, shape, ledger, queues } = part;
            let mut noise = Rng::new(shape.seed ^ 0x6e6f_6973_6500_0000);
            let mut lane = |seated| Lane::new(seated, Arc::clone(device), &shape, pool, &mut noise);
            Group { lanes: queues.into_iter().map(&mut lane).collect(), book: Book::new(target, name, shape, ledger) }
        };
        let groups = parts.into_iter().map(group).collect();
        Self { groups, run: Run::new(progress), finished: Rc::new(Cell::new(true)), halt }
    }

    /// Set when the stage has ended: the reactor's reason to return.
    pub(super) fn finished(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.finished)
    }

    /// Prepares a stage; the reactor then runs it.
    pub(super) fn begin(&mut self, stage: Stage) {
        assert!(self.finished.get() && self.in_flight() == 0, "the last stage has not ended");
        let mut units = 0;
        for Group { book, lanes } in &mut self.groups {
            book.tally.reset();
            for lane in lanes {
                lane.begin(stage, &book.shape);
                let share = lane.share(&book.shape);
                units += share.end - share.start;
            }
        }
        self.run.begin(stage, units);
        self.finished.set(false);
    }

    /// What the stage that just ended came to.
    pub(super) fn found(&mut self) -> Found {
        let Run { started, last_completion, ending, .. } = self.run;
        Found {
            started,
            last_completion,
            ending,
            tallies: self.groups.iter().map(|group| (group.book.target, group.book.tally.clone())).collect(),
            peaks: self.lanes().map(|lane| lane.peak).collect(),
            problems: std::mem::take(&mut self.run.problems),
        }
    }

    fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.groups.iter().flat_map(|group| &group.lanes)
    }

    fn in_flight(&self) -> usize {
        self.lanes().map(Lane::in_flight).sum()
    }

    /// Ends the stage if its goal is reached, or if somebody wants it to end.
    fn look_at_goal(&mut self, now: Fine) {
        if !self.run.open {
            return;
        }
        let over = match self.run.goal {
            Goal::For(time) => self.run.started.is_some_and(|started| now.since(started) >= time),
            Goal::Count(_) => self.run.remaining == 0,
            Goal::Sweep | Goal::LastSweep(_) => self.lanes().all(Lane::swept),
        };
        let interrupted = match self.run.goal {
            Goal::LastSweep(limit) => !over && self.run.started.is_some_and(|started| now.since(started) >= limit),
            _ => self.halt.stop.load(Relaxed),
        };
        if interrupted {
            self.run.close(Ending::Interrupt);
        } else if over || self.halt.trouble.load(Relaxed) {
            self.run.close(Ending::Goal);
        }
    }

    /// Ends the stage once nothing is in flight, or when the rest takes too long.
    fn look_at_drain(&mut self, now: Fine) {
        if self.run.open || self.finished.get() {
            return;
        }
        let closed = *self.run.closed.get_or_insert(now);
        let in_flight = self.in_flight();
        if in_flight == 0 {
            self.finished.set(true);
        } else if now.since(closed) > DRAIN_LIMIT {
            for Group { book, lanes } in &mut self.groups {
                book.tally.errors.unfinished += lanes.iter().map(Lane::in_flight).sum::<usize>() as u64;
            }
            self.run.problem(|| format!("{in_flight} requests did not complete within {DRAIN_LIMIT:?}"));
            self.run.close(Ending::Errors);
            self.finished.set(true);
        }
        if self.run.ending != Ending::Goal {
            self.halt.trouble.store(true, Relaxed);
        }
    }
}

impl Poller for Engine<'_> {
    fn name(&self) -> &'static str {
        "bench"
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> usize {
        self.look_at_goal(cx.now);
        let mut work = 0;
        for Group { book, lanes } in &mut self.groups {
            for lane in lanes {
                lane.queue.begin();
                let (reaped, now) = lane.reap(&mut self.run, book, cx.ring);
                work += reaped + lane.fill(&mut self.run, book, cx.ring, now);
                lane.queue.end();
            }
        }
        if work > 0 {
            self.run.publish(cx.now, self.groups.iter().map(|group| &group.book.tally));
        }
        self.look_at_drain(cx.now);
        work
    }

    fn arm(&mut self, cx: &mut Context<'_>) -> Arm {
        // What is due next is due sooner than a sleep is long.
        if self.finished.get() || (self.run.open && self.lanes().any(Lane::paced)) {
            return Arm::Busy;
        }
        // Nobody signals a deadline or an interrupt, and a full queue has no signal that there is room again.
        let mut sleep = TICK;
        if let (Goal::For(time), Some(started), true) = (self.run.goal, self.run.started, self.run.open) {
            sleep = sleep.min(time.saturating_sub(cx.now.since(started)));
        }
        let own = if sleep.is_zero() { Arm::Busy } else { Arm::PollEvery(sleep) };
        let lanes = self.groups.iter_mut().flat_map(|group| &mut group.lanes);
        lanes.fold(own, |arm, lane| arm.and(lane.queue.arm(cx.ring)))
    }

    fn disarm(&mut self, _cx: &mut Context<'_>) {
        self.groups.iter_mut().flat_map(|group| &mut group.lanes).for_each(|lane| lane.queue.disarm());
    }

    fn drained(&self) -> bool {
        // What did not complete in time is given up: waiting for it once more would not help.
        self.finished.get()
    }
}

impl Found {
    /// The time from the first submission of all reactors to their last completion.
    pub(super) fn elapsed<'f>(all: impl Iterator<Item = &'f Self> + Clone) -> Duration {
        let first = all.clone().filter_map(|found| found.started).min();
        let last = all.filter_map(|found| found.last_completion).max();
        first.zip(last).map_or(Duration::ZERO, |(first, last)| last.since(first))
    }
}
