//! Requests on their way through the rules.
//!
//! ```text
//!   submit ──▶ rules ──┬─▶ Delayed ──┐
//!                      │             ▼
//!                      ├──────────▶ to do: Whole, Short, TornRead ──▶ inner queue ──▶ over
//!                      │                               └── TornWrite ──┘
//!                      ├─▶ Dropped ── cancel ──▶ over
//!                      └─▶ over, with a failure
//! ```
//!
//! A request has one place for its life; the place's number is its tag at the inner queue. A torn write reads the
//! blocks first, puts some sectors of the new bytes among the old ones, and writes that.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use machine::clock::Fine;
use machine::reactor::Arm;
use machine::region::{Buf, Pool};
use machine::ring::Ring;

use super::Script;
use super::rule::{Action, Plan, mix};
use crate::admit::admit;
use crate::limits::{FAULT_QUEUE_DEPTH, FAULT_RETRY, FAULT_TORN, SECTOR_BYTES};
use crate::{
    Completion, Completions, Data, Device, Failure, Info, Op, Outcome, Queue, Range, Refused, Request, Returned, Tag,
};

pub(super) struct FaultQueue {
    info: Info,
    /// The device below, for its size.
    device: Arc<dyn Device>,
    script: Arc<Script>,
    inner: Box<dyn Queue>,
    places: Vec<Place>,
    free: Vec<usize>,
    /// Places whose time has not come.
    delayed: Vec<usize>,
    /// Places with something for the inner queue, in order.
    ready: VecDeque<usize>,
    /// Completions that no poll has fetched yet.
    done: Vec<Completion>,
    /// For what torn writes read.
    pool: Pool,
    /// What the inner queue has done; kept for its room.
    below: Completions,
}

#[derive(Default)]
struct Place {
    held: Option<Held>,
    /// The sources of a copy.
    sources: Vec<Range>,
}

/// A request.
struct Held {
    tag: Tag,
    op: Op,
    /// Its buffer, unless the inner queue has it.
    buf: Option<Buf>,
    plan: Plan,
    step: Step,
    at_inner: bool,
}

/// What is to be done, or under way, for a request.
enum Step {
    /// Nothing until then.
    Delayed(Fine),
    /// Nothing, ever.
    Dropped,
    /// All of it.
    Whole,
    /// A write of so many blocks of it.
    Short(u64, Failure),
    /// A read of what a torn write changes in part.
    TornRead(Failure),
    /// The write of these bytes, unless the inner queue has them.
    TornWrite(Option<Buf>, Failure),
}

impl FaultQueue {
    pub(super) fn new(
        info: &Info,
        script: Arc<Script>,
        device: Arc<dyn Device>,
        inner: Box<dyn Queue>,
    ) -> io::Result<Self> {
        Ok(Self {
            device,
            script,
            inner,
            places: (0..FAULT_QUEUE_DEPTH).map(|_| Place::default()).collect(),
            free: (0..FAULT_QUEUE_DEPTH).rev().collect(),
            delayed: Vec::with_capacity(FAULT_QUEUE_DEPTH),
            ready: VecDeque::with_capacity(FAULT_QUEUE_DEPTH),
            done: Vec::with_capacity(FAULT_QUEUE_DEPTH),
            pool: Pool::anonymous(info.max_transfer_bytes as usize, FAULT_TORN)?,
            below: Completions::default(),
            info: info.clone(),
        })
    }

    fn held(&mut self, place: usize) -> &mut Held {
        self.places[place].held.as_mut().expect("a request in its place")
    }

    /// A request is over; its place is free.
    fn finish(&mut self, place: usize, outcome: Outcome, back: Option<Buf>) {
        let held = self.places[place].held.take().expect("a request in its place");
        self.free.push(place);
        let data = back.or(held.buf).map_or(Returned::None, Returned::Carried);
        self.done.push(Completion { tag: held.tag, outcome, data });
    }

    /// The time of a request has come.
    fn begin_request(&mut self, place: usize) {
        let name = self.info.name.clone();
        let held = self.held(place);
        held.step = match held.plan.action {
            None => Step::Whole,
            Some(Action::Fail(failure)) => return self.finish(place, Err(failure), None),
            Some(Action::Short(blocks, failure)) => {
                let all = held.op.range().map_or(0, |range| range.blocks);
                match blocks.unwrap_or(held.plan.random % all.max(1)).min(all) {
                    0 => return self.finish(place, Err(failure), None),
                    blocks => Step::Short(blocks, failure),
                }
            }
            Some(Action::Torn(failure)) => Step::TornRead(failure),
            Some(Action::Drop) => {
                held.step = Step::Dropped;
                return;
            }
            Some(Action::Panic) => panic!("{name}: a rule says that {:?} panics", held.op),
        };
        self.ready.push_back(place);
    }

    /// Gives the inner queue what is ready, as far as it has room.
    fn hand_on(&mut self, ring: &mut Ring) {
        while let Some(&place) = self.ready.front() {
            if !self.hand(ring, place) {
                return;
            }
            self.ready.pop_front();
        }
    }

    /// Gives the inner queue what is to be done for a request. False: there is no room.
    fn hand(&mut self, ring: &mut Ring, place: usize) -> bool {
        let block_bytes = self.info.block_bytes as usize;
        let Place { held, sources } = &mut self.places[place];
        let held = held.as_mut().expect("a request in its place");
        let range = held.op.range();
        let first = |blocks| range.map(|range| Range { blocks, ..range }).expect("a write has blocks");
        let (op, data) = match &mut held.step {
            Step::Delayed(_) | Step::Dropped => unreachable!("it is not ready"),
            Step::Whole => match (held.buf.take(), held.op) {
                (Some(buf), op) => (op, Data::Carried(buf)),
                (None, op @ Op::Copy { .. }) => (op, Data::Sources(sources)),
                (None, op) => (op, Data::None),
            },
            Step::Short(blocks, _) => {
                let mut buf = held.buf.take().expect("a write has bytes");
                buf.set_len(*blocks as usize * block_bytes);
                (Op::Write { range: first(*blocks), fua: false }, Data::Carried(buf))
            }
            Step::TornRead(_) => {
                let Some(mut old) = self.pool.take() else { return false };
                old.set_len(held.buf.as_ref().expect("a write has bytes").len());
                (Op::Read(range.expect("a write has blocks")), Data::Carried(old))
            }
            Step::TornWrite(torn, _) => (held.op, Data::Carried(torn.take().expect("its bytes are here"))),
        };
        match self.inner.submit(ring, Request { tag: place as u64, op, data }) {
            Ok(()) => held.at_inner = true,
            Err(Refused(Request { data, .. })) => {
                if let Data::Carried(mut buf) = data {
                    match &mut held.step {
                        Step::TornRead(_) => {}
                        Step::TornWrite(torn, _) => *torn = Some(buf),
                        _ => {
                            buf.set_len(bytes_of(range, block_bytes));
                            held.buf = Some(buf);
                        }
                    }
                }
                return false;
            }
        }
        true
    }

    /// The inner queue has done what it was given.
    fn came_back(&mut self, place: usize, outcome: Outcome, data: Returned) {
        let block_bytes = self.info.block_bytes as usize;
        let held = self.held(place);
        held.at_inner = false;
        let back = match data {
            Returned::Carried(buf) => Some(buf),
            Returned::None => None,
            Returned::Lent(_) => unreachable!("it was not asked to lend"),
        };
        match (&held.step, back) {
            (Step::Whole, back) => self.finish(place, outcome, back),
            (&Step::Short(_, failure), back) => {
                let mut buf = back.expect("a write gives its bytes back");
                buf.set_len(bytes_of(held.op.range(), block_bytes));
                self.finish(place, Err(failure), Some(buf));
            }
            (&Step::TornRead(failure), Some(mut torn)) if outcome.is_ok() => {
                tear(&mut torn, held.buf.as_ref().expect("kept for this"), held.plan.random);
                held.step = Step::TornWrite(Some(torn), failure);
                self.ready.push_back(place);
            }
            (&(Step::TornRead(failure) | Step::TornWrite(_, failure)), _) => self.finish(place, Err(failure), None),
            (Step::Delayed(_) | Step::Dropped, _) => unreachable!("the inner queue does not have it"),
        }
    }

    /// Begins what was delayed until now.
    fn wake(&mut self) {
        if self.delayed.is_empty() {
            return;
        }
        let now = Fine::now();
        let mut at = 0;
        while let Some(&place) = self.delayed.get(at) {
            if self.due(place) > now {
                at += 1;
            } else {
                self.delayed.remove(at);
                self.begin_request(place);
            }
        }
    }

    /// Ends a request, unless the inner queue has it: that is asked to.
    fn cancel_place(&mut self, ring: &mut Ring, place: usize) {
        if self.held(place).at_inner {
            self.inner.cancel(ring, place as u64);
        } else {
            self.delayed.retain(|delayed| *delayed != place);
            self.ready.retain(|ready| *ready != place);
            self.finish(place, Err(Failure::Cancelled), None);
        }
    }

    fn due(&mut self, place: usize) -> Fine {
        match self.held(place).step {
            Step::Delayed(due) => due,
            _ => unreachable!("it is among the delayed"),
        }
    }
}

impl Queue for FaultQueue {
    fn begin(&mut self) {
        self.inner.begin();
    }

    fn submit<'a>(&mut self, ring: &mut Ring, request: Request<'a>) -> Result<(), Refused<'a>> {
        if self.done.len() == FAULT_QUEUE_DEPTH {
            return Err(Refused(request));
        }
        let admitted = admit(&self.info, self.device.blocks(), &request);
        if admitted.is_ok() && self.free.is_empty() {
            return Err(Refused(request));
        }
        let Request { tag, op, data } = request;
        let (buf, sources) = match data {
            Data::Carried(buf) => (Some(buf), &[][..]),
            Data::Sources(sources) => (None, sources),
            Data::None | Data::Inline(_) | Data::Landed(_) | Data::Lend => (None, &[][..]),
        };
        if let Err(failure) = admitted {
            let data = buf.map_or(Returned::None, Returned::Carried);
            self.done.push(Completion { tag, outcome: Err(failure), data });
            return Ok(());
        }
        let plan = self.script.plan(&op);
        let place = self.free.pop().expect("looked at above");
        self.places[place].sources.clear();
        self.places[place].sources.extend_from_slice(sources);
        let delayed = !plan.delay.is_zero();
        let step = if delayed { Step::Delayed(Fine::now().plus(plan.delay)) } else { Step::Whole };
        self.places[place].held = Some(Held { tag, op, buf, plan, step, at_inner: false });
        if delayed {
            self.delayed.push(place);
        } else {
            self.begin_request(place);
            self.hand_on(ring);
        }
        Ok(())
    }

    fn kick(&mut self, ring: &mut Ring) {
        self.inner.kick(ring);
    }

    fn poll(&mut self, ring: &mut Ring, out: &mut Completions) {
        self.wake();
        self.hand_on(ring);
        let mut below = std::mem::take(&mut self.below);
        self.inner.kick(ring);
        self.inner.poll(ring, &mut below);
        for Completion { tag, outcome, data } in below.list.drain(..) {
            self.came_back(tag as usize, outcome, data);
        }
        self.below = below;
        self.hand_on(ring);
        self.inner.kick(ring);
        out.list.append(&mut self.done);
    }

    fn end(&mut self) {
        self.inner.end();
    }

    fn cancel(&mut self, ring: &mut Ring, tag: Tag) {
        let wanted = |place: &Place| place.held.as_ref().is_some_and(|held| held.tag == tag);
        if let Some(place) = self.places.iter().position(wanted) {
            self.cancel_place(ring, place);
        }
    }

    fn cancel_all(&mut self, ring: &mut Ring) {
        for place in 0..self.places.len() {
            if self.places[place].held.is_some() {
                self.cancel_place(ring, place);
            }
        }
    }

    fn in_flight(&self) -> usize {
        FAULT_QUEUE_DEPTH - self.free.len() + self.done.len()
    }

    fn arm(&mut self, ring: &mut Ring) -> Arm {
        if !self.done.is_empty() {
            return Arm::Busy;
        }
        let mut arm = if self.inner.in_flight() > 0 { self.inner.arm(ring) } else { Arm::Armed };
        if !self.ready.is_empty() {
            arm = arm.and(Arm::PollEvery(FAULT_RETRY));
        }
        if !self.delayed.is_empty() {
            let now = Fine::now();
            let rest = (0..self.delayed.len()).map(|at| self.due(self.delayed[at]).since(now)).min();
            arm = arm.and(Arm::PollEvery(rest.unwrap_or(Duration::ZERO)));
        }
        arm
    }

    fn disarm(&mut self) {
        self.inner.disarm();
    }

    fn close(&mut self, ring: &mut Ring) {
        self.inner.close(ring);
    }
}

fn bytes_of(range: Option<Range>, block_bytes: usize) -> usize {
    range.map_or(0, |range| range.blocks as usize * block_bytes)
}

/// Puts some sectors of the new bytes among the old ones; never all of them, if there are two.
fn tear(old: &mut [u8], new: &[u8], random: u64) {
    let sectors = old.len() / SECTOR_BYTES;
    let spared = random as usize % sectors;
    for (at, (old, new)) in old.chunks_mut(SECTOR_BYTES).zip(new.chunks(SECTOR_BYTES)).enumerate() {
        if at != spared && mix(random ^ at as u64) & 1 == 0 {
            old.copy_from_slice(new);
        }
    }
}
