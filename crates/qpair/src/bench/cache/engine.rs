//! The poller of a run: all connections, on one thread.
//!
//! ```text
//!   closed loop   all answers of a connection are there ──▶ it asks for the next ones, in one send
//!   open loop     requests are due by the clock, in turn on the connections ──▶ sent as far as the pipeline allows
//! ```
//!
//! A latency goes from just before the request was built, in an open loop from when it was due (see
//! [`crate::bench::pace`]), to just after the receive that brought the end of its answer.

use std::cell::Cell;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use block::pump::{Scratch, Sent};
use machine::clock::Fine;
use machine::os::Usage;
use machine::reactor::{Arm, Context, Poller, Snapshot};
use machine::ring::{Owner, Ready, Ring};

use super::book::Book;
use super::client::Client;
use super::limits::{CONNECT, DUE_PER_PASS};
use super::plan::Plan;
use super::report::Found;
use crate::bench::limits::{DRAIN_LIMIT, MAX_ERRORS, TICK};
use crate::bench::live::{Phase, Progress};
use crate::bench::plan::{Goal, Stage};
use crate::bench::report::Ending;

/// See the module.
pub(super) struct Engine<'a> {
    plan: &'a Plan,
    owner: Owner,
    clients: Vec<Client>,
    pub(super) book: Book,
    scratch: Scratch,
    ready: Vec<Ready>,
    hot: Vec<u32>,
    stage: Stage,
    /// Requests are still sent.
    open: bool,
    started: Option<Fine>,
    last: Option<Fine>,
    closed: Option<Fine>,
    /// Requests of an open loop that were due so far.
    due: u64,
    in_flight: usize,
    pub(super) ending: Ending,
    finished: Rc<Cell<bool>>,
    stop: &'a AtomicBool,
    progress: Arc<Progress>,
}

/// The shortest wait that the ring keeps to.
const GRAIN: Duration = Duration::from_millis(1);

impl<'a> Engine<'a> {
    /// Connects.
    ///
    /// # Errors
    /// The server is not there, or does not take so many connections: in words.
    pub(super) fn connect(
        plan: &'a Plan,
        ring: &mut Ring,
        stop: &'a AtomicBool,
        progress: Arc<Progress>,
    ) -> Result<Self, String> {
        let owner = ring.owner();
        let mut clients = Vec::with_capacity(plan.connections);
        for number in 0..plan.connections {
            let stream = TcpStream::connect_timeout(&plan.address, CONNECT);
            let socket = stream.and_then(|stream| ring.socket(stream, owner, number as u32));
            let failed = |error| format!("connection {} to {} failed: {error}", number + 1, plan.address);
            clients.push(Client::new(socket.map_err(failed)?, plan.pipeline));
        }
        Ok(Self {
            plan,
            owner,
            clients,
            book: Book::new(plan),
            scratch: Scratch::new(),
            ready: Vec::new(),
            hot: Vec::new(),
            stage: Stage { phase: Phase::Measure, goal: Goal::Sweep, depth: 0 },
            open: false,
            started: None,
            last: None,
            closed: None,
            due: 0,
            in_flight: 0,
            ending: Ending::Goal,
            finished: Rc::new(Cell::new(true)),
            stop,
            progress,
        })
    }

    /// Set when the stage has ended: the reactor's reason to return.
    pub(super) fn finished(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.finished)
    }

    /// Prepares a stage; the reactor then runs it.
    pub(super) fn begin(&mut self, stage: Stage) {
        assert!(self.finished.get() && self.in_flight == 0, "the last stage has not ended");
        self.book.begin(stage.goal == Goal::Sweep);
        self.progress.begin(stage);
        for client in &mut self.clients {
            (client.owed, client.due) = (0, 0);
        }
        (self.stage, self.open, self.due) = (stage, true, 0);
        (self.started, self.last, self.closed) = (None, None, None);
        self.finished.set(false);
    }

    /// What came of the last stage, with the reactor's clocks, and the CPU time of both sides before and after it.
    pub(super) fn found(self, clocks: Snapshot, used: [Usage; 2], server: Option<[Duration; 2]>) -> Found {
        let Book { tally, refused, checked, miscompares, problems, .. } = self.book;
        Found {
            ending: self.ending,
            tally,
            // From the first request to the last answer.
            elapsed: self.started.zip(self.last).map_or(Duration::ZERO, |(started, last)| last.since(started)),
            clocks,
            used,
            server,
            refused,
            checked,
            wrong: miscompares,
            problems,
        }
    }

    /// Requests come by the clock in this stage.
    fn rate(&self) -> Option<f64> {
        self.plan.rate.filter(|_| self.stage.goal != Goal::Sweep)
    }

    fn close(&mut self, ending: Ending) {
        self.open = false;
        self.ending = self.ending.max(ending);
    }

    /// A connection is over, and with it the run.
    fn fail(&mut self, problem: String) {
        if self.ending < Ending::Errors {
            self.book.problems.push(problem);
        }
        self.close(Ending::Errors);
        self.finished.set(true);
    }

    fn look_at_goal(&mut self, now: Fine) {
        if self.book.miscompares > 0 {
            self.close(Ending::Miscompare);
        } else if self.book.refused > MAX_ERRORS {
            self.close(Ending::Errors);
        } else if self.stop.load(Relaxed) {
            self.close(Ending::Interrupt);
        }
        match (self.stage.goal, self.started) {
            (Goal::For(time), Some(started)) if now.since(started) >= time => self.open = false,
            (Goal::Sweep, _) if self.book.swept() => self.open = false,
            _ => {}
        }
    }

    fn look_at_drain(&mut self, now: Fine) {
        if self.open || self.finished.get() {
            return;
        }
        let closed = *self.closed.get_or_insert(now);
        if self.in_flight == 0 {
            self.finished.set(true);
        } else if now.since(closed) > DRAIN_LIMIT {
            let left = self.in_flight;
            self.fail(format!("{left} requests were not answered within {DRAIN_LIMIT:?}"));
        }
    }

    /// The first requests of a stage.
    fn start(&mut self, now: Fine) -> usize {
        if self.started.is_some() || !self.open {
            return 0;
        }
        self.started = Some(now);
        if self.rate().is_none() {
            (0..self.clients.len() as u32).for_each(|index| self.ask_all(index));
        }
        1
    }

    /// Sends a connection's next requests, all at once: it has none under way.
    fn ask_all(&mut self, index: u32) {
        let depth = if self.stage.goal == Goal::Sweep { self.plan.prefill_pipeline() } else { self.plan.pipeline };
        let (client, now) = (&mut self.clients[index as usize], Fine::now());
        while client.in_flight() < depth && client.ask(&mut self.book, now) {
            self.in_flight += 1;
        }
        self.flush(index);
    }

    /// Sends those of a connection's requests that are due, as many as the pipeline has room for.
    fn ask_owed(&mut self, index: u32, rate: f64) {
        let (connections, started) = (self.clients.len() as u64, self.started.expect("a stage that runs"));
        let client = &mut self.clients[index as usize];
        while client.owed > 0 && client.in_flight() < self.plan.pipeline {
            let number = client.due - u64::from(client.owed);
            let nanos = (number * connections + u64::from(index)) as f64 * 1e9 / rate;
            client.ask(&mut self.book, started.plus(Duration::from_nanos(nanos as u64)));
            client.owed -= 1;
            self.in_flight += 1;
        }
        self.flush(index);
    }

    /// Takes note of what is due by now, each on the connection whose turn it is.
    fn look_at_clock(&mut self, now: Fine) -> usize {
        let (Some(rate), Some(started), true) = (self.rate(), self.started, self.open) else { return 0 };
        let due_by_now = (now.since(started).as_nanos() as f64 * rate / 1e9) as u64 + 1;
        let due = due_by_now.saturating_sub(self.due).min(DUE_PER_PASS.into());
        for _ in 0..due {
            let index = (self.due % self.clients.len() as u64) as u32;
            self.due += 1;
            let client = &mut self.clients[index as usize];
            client.due += 1;
            client.owed += 1;
            if client.in_flight() < self.plan.pipeline {
                self.ask_owed(index, rate);
            }
        }
        due as usize
    }

    fn flush(&mut self, index: u32) {
        match self.clients[index as usize].flush() {
            Ok(Sent::All | Sent::Blocked) => {}
            Err(problem) => self.fail(problem),
        }
    }

    /// Receives from a connection and asks for more if it is its turn; whether it is worth another receive at once.
    fn serve(&mut self, index: u32) -> (usize, bool) {
        let client = &mut self.clients[index as usize];
        let before = client.in_flight();
        let received = match client.receive(&mut self.book, &mut self.scratch) {
            Ok(received) => received,
            Err(problem) => {
                self.fail(problem);
                return (1, false);
            }
        };
        let (left, more, owed) = (client.in_flight(), client.has_more(), client.owed);
        self.in_flight -= before - left;
        if self.open {
            match self.rate() {
                None if left == 0 => self.ask_all(index),
                Some(rate) if owed > 0 && left < before => self.ask_owed(index, rate),
                _ => {}
            }
        }
        (received, more)
    }

    fn collect_readiness(&mut self, ring: &mut Ring) {
        let mut ready = std::mem::take(&mut self.ready);
        ring.ready(self.owner, &mut ready);
        for event in ready.drain(..) {
            if event.writable {
                self.flush(event.key);
            }
            let client = &mut self.clients[event.key as usize];
            if event.readable && !std::mem::replace(&mut client.hot, true) {
                self.hot.push(event.key);
            }
        }
        self.ready = ready;
    }

    fn publish(&self, now: Fine) {
        let Progress { ios, latency_ns, permille, .. } = &*self.progress;
        ios.store(self.book.tally.operations(), Relaxed);
        latency_ns.store(self.book.tally.latency_ns(), Relaxed);
        let share = match (self.stage.goal, self.started) {
            (Goal::For(time), Some(started)) => now.since(started).as_secs_f64() / time.as_secs_f64(),
            _ => self.book.tally.operations() as f64 / f64::from(self.plan.items),
        };
        permille.store((share * 1e3) as u64, Relaxed);
    }
}

impl Poller for Engine<'_> {
    fn name(&self) -> &'static str {
        "bench"
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> usize {
        if self.finished.get() {
            return 0;
        }
        self.look_at_goal(cx.now);
        self.collect_readiness(cx.ring);
        let mut work = self.start(cx.now);
        let mut hot = std::mem::take(&mut self.hot);
        hot.retain(|&index| {
            let (received, more) = self.serve(index);
            work += received;
            self.clients[index as usize].hot = more;
            more
        });
        self.hot = hot;
        if work > 0 {
            self.last = Some(Fine::now());
            self.publish(cx.now);
        }
        work += self.look_at_clock(cx.now);
        self.look_at_drain(cx.now);
        work
    }

    fn arm(&mut self, cx: &mut Context<'_>) -> Arm {
        if self.finished.get() || !self.hot.is_empty() {
            return Arm::Busy;
        }
        if self.plan.spins {
            return Arm::PollEvery(Duration::ZERO);
        }
        let since = self.started.map_or(Duration::ZERO, |started| cx.now.since(started));
        let mut sleep = TICK;
        if let (Goal::For(time), true) = (self.stage.goal, self.open) {
            sleep = sleep.min(time.saturating_sub(since));
        }
        if let (Some(rate), true) = (self.rate(), self.open) {
            let next = Duration::from_nanos((self.due as f64 * 1e9 / rate) as u64);
            // Nothing is late because the ring cannot sleep for so short a time.
            sleep = sleep.min(next.saturating_sub(since).saturating_sub(GRAIN));
        }
        Arm::PollEvery(sleep)
    }

    fn drained(&self) -> bool {
        self.finished.get()
    }
}
