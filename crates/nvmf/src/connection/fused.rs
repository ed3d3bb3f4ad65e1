//! Fused pairs: a Compare and the Write behind it, carried out as one (Base 2.0, Fused Operations; NVM Command Set 1.0,
//! Compare and Write).
//!
//! ```text
//!   Compare, FUSE 01b ──▶ its data ─┐
//!   Write,   FUSE 10b ──▶ its data ─┴─▶ both Ready ──Ask──▶ granted ──▶ compare ──equal──▶ write ──▶ Release
//!                                                                          └── else: the write is aborted
//! ```
//!
//! Each half is a command of its own, in the stages of [`command`](super::command), with its own answer. A pair knows
//! which two belong together, and has the ticket under which their blocks are asked for (`shard/exclusive`). When one
//! half fails, for whatever reason, the other one is aborted unless a device has it already.

use block::{Op, Request};
use machine::clock::Coarse;
use wire::nvme::{Fuse, Sqe, Status, io as opcode};
use wire::tcp::Slot;

use super::Connection;
use crate::connection::command::Stage;
use crate::connection::io::Work;
use crate::shard::engine::{Pass, Wait};

/// The pairs of a connection.
#[derive(Default)]
pub(super) struct Fused {
    pairs: Vec<Pair>,
    expected: Expected,
}

/// Whether the next command of the queue has to be a second half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expected {
    /// No.
    #[default]
    Nothing,
    /// That of the last pair, since then.
    Second(Coarse),
    /// One whose first half has failed.
    Failing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    /// It has not come.
    Awaited,
    At(Slot),
    /// It is answered, or will not come.
    Over,
}

struct Pair {
    compare: Half,
    write: Half,
    ticket: Option<u32>,
    is_granted: bool,
}

impl Fused {
    /// Whether a first half waits for its second one.
    fn is_open(&self) -> bool {
        matches!(self.expected, Expected::Second(_))
    }

    fn of(&mut self, slot: Slot) -> Option<&mut Pair> {
        self.pairs.iter_mut().find(|pair| [pair.compare, pair.write].contains(&Half::At(slot)))
    }

    /// The second half of the last pair will not come, or has its answer already: the slot of the first.
    fn give_up(&mut self) -> Option<Slot> {
        let is_open = self.is_open();
        self.expected = Expected::Nothing;
        let pair = self.pairs.last_mut().filter(|_| is_open)?;
        pair.write = Half::Over;
        let Half::At(first) = pair.compare else { unreachable!("an open pair has its first half") };
        Some(first)
    }
}

impl Connection {
    /// A command has come. If a second half should have, its first half is answered.
    pub(super) fn expect(&mut self, pass: &mut Pass<'_>, sqe: &Sqe) {
        if self.fused.expected != Expected::Nothing && sqe.fuse() != Fuse::Second {
            self.miss(pass);
        }
    }

    /// A second half has not come.
    fn miss(&mut self, pass: &mut Pass<'_>) {
        if let Some(first) = self.fused.give_up() {
            self.cut(pass, first, Status::ABORTED_MISSING_FUSED);
        }
    }

    /// The same, if it should have come by now.
    pub(super) fn miss_late(&mut self, pass: &mut Pass<'_>, patience: std::time::Duration) {
        if let Expected::Second(since) = self.fused.expected
            && pass.now.since(since) >= patience
        {
            self.miss(pass);
        }
    }

    /// Refuses an I/O command before it is started; the other half of its pair as well.
    pub(super) fn refuse(&mut self, pass: &mut Pass<'_>, slot: Slot, sqe: &Sqe, status: Status) {
        self.respond(pass, slot, status, 0);
        match sqe.fuse() {
            Fuse::First => self.fused.expected = Expected::Failing,
            Fuse::Second => {
                // Two that do not belong together are both wrong.
                let mismatch = status.same_code(Status::INVALID_FIELD);
                let other = if mismatch { status } else { Status::ABORTED_FAILED_FUSED };
                if let Some(first) = self.fused.give_up() {
                    self.cut(pass, first, other);
                }
            }
            Fuse::Normal | Fuse::Reserved => {}
        }
    }

    /// Starts an I/O command, alone or as half of a pair.
    pub(super) fn start_io(&mut self, pass: &mut Pass<'_>, slot: Slot, sqe: &Sqe, data: &[u8]) -> Result<(), Status> {
        if sqe.fuse() == Fuse::Normal {
            return self.start_plain(pass, slot, sqe, data, Fuse::Normal);
        }
        match (sqe.fuse(), sqe.opcode, self.fused.expected) {
            (Fuse::First, opcode::COMPARE, _) | (Fuse::Second, opcode::WRITE, Expected::Second(_)) => {}
            (Fuse::Second, opcode::WRITE, Expected::Failing) => return Err(Status::ABORTED_FAILED_FUSED),
            (Fuse::Second, opcode::WRITE, Expected::Nothing) => return Err(Status::ABORTED_MISSING_FUSED),
            // What cannot be part of a pair.
            _ => return Err(Status::INVALID_FIELD.with_dnr()),
        }
        self.start_plain(pass, slot, &sqe.with_fuse(Fuse::Normal), data, sqe.fuse())
    }

    /// A half that has been checked joins its pair; what it is to do.
    pub(super) fn join(
        &mut self,
        pass: &mut Pass<'_>,
        slot: Slot,
        fuse: Fuse,
        namespace: usize,
        work: Work,
    ) -> Result<Work, Status> {
        let Work::Block(op) = work else { unreachable!("compares and writes are one request") };
        if fuse == Fuse::First {
            if !pass.engine.exclusive.begin() {
                return Err(Status::COMMAND_INTERRUPTED);
            }
            let pair = Pair { compare: Half::At(slot), write: Half::Awaited, ticket: None, is_granted: false };
            self.fused.pairs.push(pair);
            self.fused.expected = Expected::Second(pass.now);
            return Ok(Work::Fused(op));
        }
        let pair = self.fused.pairs.last_mut().expect("a second half is expected");
        let Half::At(first) = pair.compare else { unreachable!("an open pair has its first half") };
        let first = &self.commands[first.index()];
        if first.namespace != namespace || first.work.op().and_then(|op| op.range()) != op.range() {
            return Err(Status::INVALID_FIELD.with_dnr());
        }
        pair.write = Half::At(slot);
        self.fused.expected = Expected::Nothing;
        Ok(Work::Fused(op))
    }

    /// Takes a half whose data is in as far as it gets.
    pub(super) fn drive_half(&mut self, pass: &mut Pass<'_>, slot: Slot, op: Op) {
        let owner = self.owner(slot);
        let is_ready = |half| matches!(half, Half::At(slot) if self.commands[slot.index()].stage() == Stage::Ready);
        let Some(pair) = self.fused.pairs.iter().find(|pair| [pair.compare, pair.write].contains(&Half::At(slot)))
        else {
            unreachable!("a half has a pair until it is answered")
        };
        if pair.is_granted {
            // The write goes when the compare has succeeded.
            if pair.compare == Half::At(slot) || pair.compare == Half::Over {
                self.submit_half(pass, slot, op);
            }
        } else if pair.ticket.is_none() && is_ready(pair.compare) && is_ready(pair.write) {
            let range = op.range().expect("compares and writes have blocks");
            let key = pass.engine.at(self.commands[slot.index()].namespace).key;
            let ticket = pass.engine.exclusive.ask(key, range, owner);
            self.fused.of(slot).expect("it was found").ticket = Some(ticket);
        }
    }

    fn submit_half(&mut self, pass: &mut Pass<'_>, slot: Slot, op: Op) {
        let tag = self.tag(slot);
        let command = &mut self.commands[slot.index()];
        let data = std::mem::take(&mut command.payload).into_data();
        match pass.engine.submit_exclusive(pass.ring, command.namespace, Request { tag, op, data }) {
            Ok(()) => self.submitted(pass, slot),
            Err(Wait::Queue(payload)) => {
                command.payload = payload;
                self.wait(pass, slot);
            }
            Err(Wait::Buffer) => unreachable!("it needs none"),
        }
    }

    /// The blocks of a pair are its own now.
    pub(crate) fn granted(&mut self, pass: &mut Pass<'_>, ticket: u32) {
        let granted = self.fused.pairs.iter_mut().find(|pair| pair.ticket == Some(ticket));
        let pair = granted.expect("a pair that is over does not want its blocks");
        pair.is_granted = true;
        let Half::At(compare) = pair.compare else { unreachable!("a pair of which one half failed is over") };
        // A connection whose association is over ends soon, and its commands with it.
        self.retry(pass, compare);
    }

    /// A half has its answer: on with the other one.
    pub(super) fn half_answered(&mut self, pass: &mut Pass<'_>, slot: Slot, status: Status) {
        let Some(pair) = self.fused.of(slot) else { return };
        let is_compare = pair.compare == Half::At(slot);
        let half = if is_compare { &mut pair.compare } else { &mut pair.write };
        *half = Half::Over;
        let other = if is_compare { pair.write } else { pair.compare };
        match other {
            Half::At(other) if status.is_success() => self.retry(pass, other),
            Half::At(other) => {
                self.cut(pass, other, Status::ABORTED_FAILED_FUSED);
            }
            Half::Awaited => {
                // It failed before the second half has come.
                pair.write = Half::Over;
                self.fused.expected = Expected::Failing;
            }
            Half::Over => {}
        }
        self.close_pairs(pass);
    }

    /// Lets go of pairs of which both halves are over.
    fn close_pairs(&mut self, pass: &mut Pass<'_>) {
        self.fused.pairs.retain(|pair| {
            let is_over = (pair.compare, pair.write) == (Half::Over, Half::Over);
            if is_over {
                pass.engine.exclusive.over(pair.ticket);
            }
            !is_over
        });
    }

    /// The connection is over, and its pairs with it: blocks are given back when devices have nothing there any more.
    pub(super) fn end_pairs(&mut self, pass: &mut Pass<'_>) {
        for pair in std::mem::take(&mut self.fused.pairs) {
            let halves = [pair.compare, pair.write].into_iter().filter_map(|half| match half {
                Half::At(slot) => Some(slot),
                Half::Awaited | Half::Over => None,
            });
            let at_device = halves.into_iter().find(|slot| self.commands[slot.index()].outstanding > 0);
            match (pair.ticket, at_device) {
                (Some(ticket), Some(slot)) => pass.engine.exclusive.leave(ticket, self.owner(slot)),
                (ticket, _) => pass.engine.exclusive.over(ticket),
            }
        }
    }
}
