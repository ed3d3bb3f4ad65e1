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
use machine::region::{Buf, Bufs, Pool};
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
    /// The lengths of the buffers of a short write, which are shorter below.
    lengths: Vec<usize>,
}

/// A request.
struct Held {
    tag: Tag,
    op: Op,
    /// Its buffers, unless the inner queue has them.
    bufs: Bufs,
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
    fn finish(&mut self, place: usize, outcome: Outcome, back: Bufs) {
        let held = self.places[place].held.take().expect("a request in its place");
        self.free.push(place);
        let bufs = if back.is_some() { back } else { held.bufs };
        self.done.push(Completion { tag: held.tag, outcome, data: bufs.into() });
    }

    /// The time of a request has come.
    fn begin_request(&mut self, place: usize) {
        let name = self.info.name.clone();
        let held = self.held(place);
        held.step = match held.plan.action {
            None => Step::Whole,
            Some(Action::Fail(failure)) => return self.finish(place, Err(failure), Bufs::None),
            Some(Action::Short(blocks, failure)) => {
                let all = held.op.range().map_or(0, |range| range.blocks);
                match blocks.unwrap_or(held.plan.random % all.max(1)).min(all) {
                    0 => return self.finish(place, Err(failure), Bufs::None),
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
        let Place { held, sources, lengths } = &mut self.places[place];
        let held = held.as_mut().expect("a request in its place");
        let range = held.op.range();
        let first = |blocks| range.map(|range| Range { blocks, ..range }).expect("a write has blocks");
        let (op, data) = match &mut held.step {
            Step::Delayed(_) | Step::Dropped => unreachable!("it is not ready"),
            Step::Whole => match held.op {
                op @ Op::Copy { .. } => (op, Data::Sources(sources)),
                op => (op, held.bufs.take().into()),
            },
            Step::Short(blocks, _) => {
                let mut bufs = held.bufs.take();
                shorten(&mut bufs, *blocks as usize * block_bytes, lengths);
                (Op::Write { range: first(*blocks), fua: false }, bufs.into())
            }
            Step::TornRead(_) => {
                let Some(mut old) = self.pool.take() else { return false };
                old.set_len(held.bufs.len());
                (Op::Read(range.expect("a write has blocks")), Data::Carried(old))
            }
            Step::TornWrite(torn, _) => (held.op, Data::Carried(torn.take().expect("its bytes are here"))),
        };
        match self.inner.submit(ring, Request { tag: place as u64, op, data }) {
            Ok(()) => held.at_inner = true,
            Err(Refused(Request { data, .. })) => {
                let mut bufs = data.into_bufs();
                match &mut held.step {
                    Step::TornRead(_) => {}
                    Step::TornWrite(torn, _) => *torn = bufs.one(),
                    step => {
                        if let Step::Short(..) = step {
                            lengthen(&mut bufs, lengths);
                        }
                        held.bufs = bufs;
                    }
                }
                return false;
            }
        }
        true
    }

    /// The inner queue has done what it was given.
    fn came_back(&mut self, place: usize, outcome: Outcome, data: Returned) {
        let Place { held, lengths, .. } = &mut self.places[place];
        let held = held.as_mut().expect("a request in its place");
        held.at_inner = false;
        assert!(!matches!(data, Returned::Lent(_)), "it was not asked to lend");
        match (&held.step, data.into_bufs()) {
            (Step::Whole, back) => self.finish(place, outcome, back),
            (&Step::Short(_, failure), mut back) => {
                lengthen(&mut back, lengths);
                self.finish(place, Err(failure), back);
            }
            (&Step::TornRead(failure), Bufs::One(mut torn)) if outcome.is_ok() => {
                tear(&mut torn, &held.bufs, held.plan.random);
                held.step = Step::TornWrite(Some(torn), failure);
                self.ready.push_back(place);
            }
            (&(Step::TornRead(failure) | Step::TornWrite(_, failure)), _) => {
                self.finish(place, Err(failure), Bufs::None)
            }
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
            self.finish(place, Err(Failure::Cancelled), Bufs::None);
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
        let sources = if let Data::Sources(sources) = data { sources } else { &[] };
        let bufs = data.into_bufs();
        if let Err(failure) = admitted {
            self.done.push(Completion { tag, outcome: Err(failure), data: bufs.into() });
            return Ok(());
        }
        let plan = self.script.plan(&op);
        let place = self.free.pop().expect("looked at above");
        self.places[place].sources.clear();
        self.places[place].sources.extend_from_slice(sources);
        let delayed = !plan.delay.is_zero();
        let step = if delayed { Step::Delayed(Fine::now().plus(plan.delay)) } else { Step::Whole };
        self.places[place].held = Some(Held { tag, op, bufs, plan, step, at_inner: false });
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

/// Leaves the first `bytes` in use, and notes what the lengths were.
fn shorten(bufs: &mut Bufs, mut bytes: usize, lengths: &mut Vec<usize>) {
    lengths.clear();
    for piece in bufs.pieces_mut() {
        lengths.push(piece.len());
        piece.set_len(bytes.min(piece.len()));
        bytes -= piece.len();
    }
}

/// Undoes [`shorten`].
fn lengthen(bufs: &mut Bufs, lengths: &[usize]) {
    bufs.pieces_mut().iter_mut().zip(lengths).for_each(|(piece, &len)| piece.set_len(len));
}

/// Puts some sectors of the new bytes among the old ones; never all of them, if there are two.
fn tear(old: &mut [u8], new: &Bufs, random: u64) {
    let sectors = old.len() / SECTOR_BYTES;
    let spared = random as usize % sectors;
    for (at, old) in old.chunks_mut(SECTOR_BYTES).enumerate() {
        if at != spared && mix(random ^ at as u64) & 1 == 0 {
            new.get(at * SECTOR_BYTES, old);
        }
    }
}
