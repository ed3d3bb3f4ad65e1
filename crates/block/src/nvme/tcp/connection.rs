//! One I/O connection of a queue: what is in flight on it, and the bytes on their way.
//!
//! ```text
//!   start ── capsule ──▶ Outbox ── send: one system call ──▶ target
//!              small writes with their data, behind it
//!   receive ◀── completions ◀── state machine ◀── one receive for many ── target
//!              C2HData: copied from the scratch buffer, or received straight into the request's buffers
//!              R2T: H2CData from the request's buffers into the outbox
//! ```
//!
//! The slots of the state machine index a table of what is pending: no look-up, no allocation. A request's buffers are
//! in one of two places, its pending entry or the outbox (lent out for sending, under a key of slot and generation). A
//! completion that overtakes its own bytes waits, parked, until the outbox gives them back.

use std::fmt;
use std::io;

use machine::region::Bufs;
use wire::nvme::{Cqe, Sqe, Status};
use wire::tcp::Slot;
use wire::tcp::digest::Crc32c;
use wire::tcp::host::{Direction, Host, HostEvent};
use wire::tcp::limits::DIGEST_BYTES;

use super::fate::{Held, is_about_the_path};
use super::limits::RECEIVES_PER_POLL;
use super::namespace::{self, Namespace, Plan, RANGE_BYTES};
use super::native;
use crate::pump::{Outbox, Pump, Received, Scratch, Sent};
use crate::{Command, Completed, Completion, Completions, Failure, Op, Outcome, Returned, Tag};

/// Why a connection is over.
pub(super) enum Lost {
    /// The target closed it.
    Closed,
    /// The operating system says so.
    Io(io::Error),
    /// The target broke the protocol, or told us to leave.
    Refused(String),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the target closed it"),
            Self::Io(error) => error.fmt(f),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

/// A connection that is ready for commands.
pub(super) struct Connection {
    pub(super) namespace: Namespace,
    pub(super) pump: Pump,
    pub(super) commands: Commands,
}

impl Connection {
    pub(super) fn new(namespace: Namespace, host: Host, depth: u16, pump: Pump, now: u32) -> Self {
        let pending = (0..depth).map(|_| Pending::default()).collect();
        let parked = Vec::with_capacity(usize::from(depth));
        let commands = Commands { host, pending, live: 0, impatient: 0, parked, now };
        Self { namespace, pump, commands }
    }

    /// Whether the target takes another command.
    pub(super) fn has_room(&self) -> bool {
        self.commands.live < self.commands.pending.len()
    }

    /// Puts a request on its way, if it is one that the namespace can carry out.
    ///
    /// # Errors
    /// It is over already.
    pub(super) fn start(&mut self, held: Held, blocks: u64) -> Result<(), Completion> {
        match self.namespace.plan(held.op, held.bufs.len(), blocks) {
            Plan::Over(outcome) => Err(held.over(outcome)),
            Plan::Command { sqe, direction, ranges } => {
                self.commands.start(sqe, direction, Pending::of(held, ranges), &mut self.pump.out);
                Ok(())
            }
        }
    }

    /// Puts a native command on its way, if it is one that can be sent. It has `patience` ticks, if not the path's.
    ///
    /// # Errors
    /// It is over already.
    pub(super) fn start_native(&mut self, command: Command, patience: Option<u32>) -> Result<(), Completed> {
        match native::direction(&command, &self.namespace) {
            Err(failure) => Err(native::over(command, failure)),
            Ok(direction) => {
                let Command { tag, sqe, data, .. } = command;
                let pending = Pending::native(tag, native::leaves_blocks(&sqe), data, patience);
                self.commands.start(sqe, direction, pending, &mut self.pump.out);
                Ok(())
            }
        }
    }

    /// Sends what there is, and what becomes possible by that.
    pub(super) fn send(&mut self, over: &mut Completions) -> Result<(), Lost> {
        loop {
            let result = self.pump.flush();
            self.commands.take_back(&mut self.pump.out, over);
            match result {
                Ok(Sent::All) if !self.pump.out.is_empty() => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(Lost::Io(error)),
            }
        }
    }

    /// Receives and handles what is there.
    pub(super) fn receive(&mut self, scratch: &mut Scratch, out: &mut Completions) -> Result<(), Lost> {
        let Self { pump, commands, .. } = self;
        for _ in 0..RECEIVES_PER_POLL {
            let slot = commands.host.incoming().map(|incoming| incoming.slot);
            let direct = commands.destination();
            match pump.receive(scratch, direct) {
                Ok(Received::Nothing) => return Ok(()),
                Ok(Received::Closed) => return Err(Lost::Closed),
                Err(error) => return Err(Lost::Io(error)),
                Ok(Received::Bytes { direct, rest }) => {
                    let end = commands.absorb(slot, direct, &mut pump.out, out);
                    let end = end.and_then(|()| commands.parse(rest, &mut pump.out, out));
                    match end {
                        Ok(left) => pump.keep(left),
                        Err(why) => {
                            // The peer should learn why; the socket may be full, and then it does not.
                            let _ = pump.flush();
                            return Err(Lost::Refused(why));
                        }
                    }
                    if pump.socket().drained() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Closes the connection. What was in flight goes to `broken`; what the target had answered is over.
    pub(super) fn close(mut self, broken: &mut Broken, over: &mut Completions) {
        self.pump.out.clear();
        self.commands.take_back(&mut self.pump.out, over);
        self.commands.abandon(broken);
    }
}

/// What was in flight when a connection broke.
#[derive(Default)]
pub(super) struct Broken {
    /// Requests, whose fate their queue decides.
    pub(super) held: Vec<Held>,
    /// Native commands: they fail, as nobody but their asker knows whether they may be carried out twice.
    pub(super) native: Vec<Completed>,
    /// One of those may have changed blocks.
    pub(super) has_changed: bool,
}

impl Broken {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.native.is_empty()
    }
}

/// What a slot is used for.
#[derive(Clone, Copy, Default)]
enum Asked {
    #[default]
    Nothing,
    Op(Op),
    /// A native command.
    Native {
        /// It is one that no other command can tell from its not having been there.
        leaves_blocks: bool,
    },
}

/// A request that the target has, or will have with the next send.
#[derive(Default)]
struct Pending {
    tag: Tag,
    asked: Asked,
    /// Ticks that it may take, if not the path's.
    patience: Option<u32>,
    /// The how-manieth request of its queue.
    order: u64,
    /// How often it was sent, this time included.
    sends: u32,
    /// The tick in which it was sent, or in which its time was over.
    since: u32,
    /// It took too long.
    late: bool,
    /// It is not wanted any more.
    cancelled: bool,
    /// Its end has been asked for.
    aborted: bool,
    /// The request's buffers, unless the outbox has them.
    bufs: Bufs,
    /// The outbox has the buffers.
    lent: bool,
    /// The target asked for (more) data.
    wanted: bool,
    generation: u16,
    /// The data of a Dataset Management command.
    ranges: [u8; RANGE_BYTES],
}

impl Pending {
    fn of(held: Held, ranges: [u8; RANGE_BYTES]) -> Self {
        let Held { order, tag, op, bufs, sends, cancelled } = held;
        Self { tag, asked: Asked::Op(op), order, sends: sends + 1, cancelled, bufs, ranges, ..Self::default() }
    }

    fn native(tag: Tag, leaves_blocks: bool, bufs: Bufs, patience: Option<u32>) -> Self {
        Self { tag, asked: Asked::Native { leaves_blocks }, bufs, patience, ..Self::default() }
    }

    fn is_live(&self) -> bool {
        !matches!(self.asked, Asked::Nothing)
    }

    /// How it failed. An Abort of ours is not the device's doing; what has a name of its own goes by it.
    fn failure(&self, status: Status) -> Failure {
        let is = |other| status.same_code(other);
        match self.asked {
            _ if self.aborted && is(Status::ABORT_REQUESTED) && self.cancelled => Failure::Cancelled,
            _ if self.aborted && is(Status::ABORT_REQUESTED) => Failure::TimedOut,
            Asked::Op(op) => namespace::failure(op, status),
            _ => Failure::Device(status),
        }
    }
}

/// A completion whose buffers are still being sent.
struct Parked {
    key: u32,
    end: End,
}

/// How a request or a native command ended.
struct End {
    tag: Tag,
    asked: Asked,
    /// Dwords 0 and 1, of which only native commands hear.
    outcome: Result<u64, Failure>,
}

impl End {
    /// Tells the asker.
    fn tell(self, bufs: Bufs, out: &mut Completions) {
        let Self { tag, asked, outcome } = self;
        match asked {
            Asked::Op(op) => out.list.push(completion(tag, op, outcome.map(|_| ()), bufs)),
            Asked::Native { .. } => out.native.push(Completed { tag, outcome, data: bufs, metadata: None }),
            Asked::Nothing => unreachable!("it was asked for"),
        }
    }
}

/// The commands in flight.
pub(super) struct Commands {
    pub(super) host: Host,
    pending: Box<[Pending]>,
    pub(super) live: usize,
    /// Those with a patience of their own.
    impatient: usize,
    parked: Vec<Parked>,
    /// The tick that it is.
    now: u32,
}

impl Commands {
    /// Puts a command into the outbox, small data behind it.
    fn start(&mut self, sqe: Sqe, direction: Direction, new: Pending, outbox: &mut Outbox) -> Slot {
        let slot = self.host.submit(sqe, direction, outbox.bytes());
        let slot = slot.expect("fewer commands are in flight than there are slots");
        let pending = &mut self.pending[slot.index()];
        assert!(!pending.is_live(), "the state machine gives out free slots only");
        let generation = pending.generation.wrapping_add(1);
        *pending = Pending { since: self.now, generation, ..new };
        self.live += 1;
        self.impatient += usize::from(pending.patience.is_some());
        if let Direction::WriteInCapsule { bytes } = direction {
            self.append(slot, 0, bytes, outbox);
        }
        slot
    }

    /// Where the payload that is being received belongs.
    fn destination(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let (place, part) = self.host.incoming().map_or((0, 0..0), |incoming| {
            let start = incoming.offset as usize;
            (incoming.slot.index(), start..start + incoming.remaining as usize)
        });
        self.pending[place].bufs.parts_mut(part)
    }

    /// `direct` bytes of payload have been received in their place.
    fn absorb(
        &mut self,
        slot: Option<Slot>,
        direct: usize,
        outbox: &mut Outbox,
        out: &mut Completions,
    ) -> Result<(), String> {
        let Some(slot) = slot.filter(|_| direct > 0) else { return Ok(()) };
        let incoming = self.host.incoming().expect("nothing was parsed since");
        let start = incoming.offset as usize;
        let mut end = None;
        for part in self.pending[slot.index()].bufs.parts(start..start + direct) {
            end = self.host.absorbed(part);
        }
        match end {
            Some(event) => self.handle(event, outbox, out),
            None => Ok(()),
        }
    }

    /// Parses all that has been received; what is left belongs to a unit that is not complete.
    fn parse<'a>(
        &mut self,
        mut input: &'a [u8],
        outbox: &mut Outbox,
        out: &mut Completions,
    ) -> Result<&'a [u8], String> {
        loop {
            let fed = self.host.feed(input, outbox.bytes());
            input = &input[fed.consumed..];
            match fed.event {
                Some(event) => self.handle(event, outbox, out)?,
                None => return Ok(input),
            }
        }
    }

    fn handle(&mut self, event: HostEvent<'_>, outbox: &mut Outbox, out: &mut Completions) -> Result<(), String> {
        match event {
            HostEvent::Data { slot, offset, bytes } => {
                self.pending[slot.index()].bufs.put(offset as usize, bytes);
            }
            HostEvent::WantsData { slot, .. } => {
                self.pending[slot.index()].wanted = true;
                self.supply(slot, outbox);
            }
            // The command stays in flight: what becomes of it is decided with the others of the connection.
            HostEvent::Completed { cqe, .. } if is_about_the_path(cqe.status()) => {
                return Err(format!("the target has ended the queue: {}", cqe.status()));
            }
            HostEvent::Completed { slot, cqe, digest_ok } => self.complete(slot, &cqe, digest_ok, out),
            HostEvent::Initialized => unreachable!("the connection was initialized before it came here"),
            HostEvent::Closed(cause) => return Err(cause.to_string()),
        }
        Ok(())
    }

    /// Sends the next H2CData of a command, if it is asked for and its buffers are at hand.
    fn supply(&mut self, slot: Slot, outbox: &mut Outbox) {
        while self.pending[slot.index()].wanted && !self.pending[slot.index()].lent {
            match self.host.h2c(slot, u32::MAX, outbox.bytes()) {
                Some(chunk) => self.append(slot, chunk.offset, chunk.bytes, outbox),
                None => self.pending[slot.index()].wanted = false,
            }
        }
    }

    /// Data of a command behind its header, and the digest behind it where one was negotiated.
    fn append(&mut self, slot: Slot, offset: u32, bytes: u32, outbox: &mut Outbox) {
        let pending = &mut self.pending[slot.index()];
        let part = offset as usize..offset as usize + bytes as usize;
        let digested = self.host.data_digest();
        let digest = match pending.bufs.take() {
            Bufs::None => {
                let data = &pending.ranges[part];
                outbox.bytes().extend_from_slice(data);
                digested.then(|| Crc32c::of(data))
            }
            bufs => {
                let digest = digested.then(|| digest_of(bufs.parts(part.clone())));
                pending.lent = true;
                outbox.carried(bufs, part, Some(key(slot, pending.generation)));
                digest
            }
        };
        if let Some(digest) = digest {
            outbox.bytes().extend_from_slice(&digest);
        }
    }

    /// Takes buffers back that have been sent; those of commands that are over already complete.
    fn take_back(&mut self, outbox: &mut Outbox, over: &mut Completions) {
        while let Some((key, bufs)) = outbox.returned().pop() {
            let (slot, generation) = (Slot(key as u16), (key >> 16) as u16);
            let pending = &mut self.pending[slot.index()];
            if pending.is_live() && pending.generation == generation {
                pending.bufs = bufs;
                pending.lent = false;
                self.supply(slot, outbox);
            } else {
                let parked = self.parked.iter().position(|parked| parked.key == key);
                let parked = self.parked.swap_remove(parked.expect("a buffer belongs to a command"));
                parked.end.tell(bufs, over);
            }
        }
    }

    fn complete(&mut self, slot: Slot, cqe: &Cqe, digest_ok: bool, out: &mut Completions) {
        let status = cqe.status();
        let outcome = match (status.is_success(), digest_ok) {
            (true, true) => Ok(cqe.result()),
            // The command was carried out, but what arrived is not what was sent: as Linux has it, worth another try.
            (true, false) => Err(Failure::Device(Status::DATA_TRANSFER_ERROR)),
            (false, _) => Err(self.pending[slot.index()].failure(status)),
        };
        let pending = &mut self.pending[slot.index()];
        assert!(pending.is_live(), "the state machine completes what is in flight");
        let end = End { tag: pending.tag, asked: std::mem::take(&mut pending.asked), outcome };
        self.live -= 1;
        self.impatient -= usize::from(pending.patience.is_some());
        if pending.lent {
            self.parked.push(Parked { key: key(slot, pending.generation), end });
        } else {
            end.tell(pending.bufs.take(), out);
        }
    }

    /// The requests that the target has not answered. Nothing may follow: the connection is over.
    fn abandon(&mut self, broken: &mut Broken) {
        assert!(self.parked.is_empty(), "the outbox was emptied");
        for pending in &mut self.pending {
            let Pending { order, tag, sends, cancelled, .. } = *pending;
            let bufs = pending.bufs.take();
            match std::mem::take(&mut pending.asked) {
                Asked::Nothing => {}
                Asked::Op(op) => broken.held.push(Held { order, tag, op, bufs, sends, cancelled }),
                Asked::Native { leaves_blocks } => {
                    broken.has_changed |= !leaves_blocks;
                    let failure = if cancelled { Failure::Cancelled } else { Failure::Disconnected };
                    broken.native.push(Completed { tag, outcome: Err(failure), data: bufs, metadata: None });
                }
            }
        }
        (self.live, self.impatient) = (0, 0);
    }

    /// A request is not wanted any more.
    pub(super) fn cancel(&mut self, tag: Tag) {
        let live = self.pending.iter_mut().filter(|pending| pending.is_live() && pending.tag == tag);
        live.for_each(|pending| pending.cancelled = true);
    }

    /// None is wanted any more.
    pub(super) fn cancel_all(&mut self) {
        self.pending.iter_mut().filter(|pending| pending.is_live()).for_each(|pending| pending.cancelled = true);
    }

    /// It is tick `now`. Commands that have taken `patience` ticks are late; for those that are, or are cancelled,
    /// `abort` is asked to end them, with their identifier, until it has done so. False if a command has taken that
    /// long once more.
    pub(super) fn look_at_time(&mut self, now: u32, patience: Option<u32>, mut abort: impl FnMut(u16) -> bool) -> bool {
        self.now = now;
        let Self { host, pending, .. } = self;
        for (slot, pending) in pending.iter_mut().enumerate().filter(|(_, pending)| pending.is_live()) {
            let patience = pending.patience.or(patience);
            if patience.is_some_and(|patience| now.wrapping_sub(pending.since) >= patience) {
                if pending.late {
                    return false;
                }
                (pending.late, pending.since) = (true, now);
            }
            if (pending.late || pending.cancelled) && !pending.aborted {
                let cid = host.cid(Slot(slot as u16)).expect("it is in flight");
                pending.aborted = abort(cid);
            }
        }
        true
    }

    /// What is asked for by the commands in flight.
    pub(super) fn ops(&self) -> impl Iterator<Item = &Op> {
        self.pending.iter().filter_map(|pending| match &pending.asked {
            Asked::Nothing | Asked::Native { leaves_blocks: true } => None,
            Asked::Op(op) => Some(op),
            Asked::Native { .. } => Some(&native::ANY_CHANGE),
        })
    }

    /// Whether a command has a patience of its own.
    pub(super) fn is_impatient(&self) -> bool {
        self.impatient > 0
    }
}

/// What names a buffer in the outbox: a slot may be used again while its last buffer is still being sent.
fn key(slot: Slot, generation: u16) -> u32 {
    u32::from(generation) << 16 | u32::from(slot.0)
}

/// The end of a request. The list of a copy's sources is the queue's own: nobody gets it back.
pub(super) fn completion(tag: Tag, op: Op, outcome: Outcome, bufs: Bufs) -> Completion {
    let data = if matches!(op, Op::Copy { .. }) { Returned::None } else { bufs.into() };
    Completion { tag, outcome, data }
}

/// The digest of pieces, one behind the other.
fn digest_of<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> [u8; DIGEST_BYTES] {
    let mut digest = Crc32c::new();
    pieces.for_each(|piece| digest.update(piece));
    digest.finish()
}

#[cfg(test)]
mod tests {
    use machine::region::Pool;
    use wire::tcp::controller::{Controller, Limits};
    use wire::tcp::host::HostConfig;
    use wire::tcp::pdu::{CapsuleResp, CommonHeader, kind};
    use zerocopy::IntoBytes;

    use super::*;
    use crate::Range;

    const BYTES: u32 = 8192;
    /// In a capsule: behind the common header, and opcode and flags of the command.
    const CID_AT: usize = 8 + 2;

    /// A connection of two commands, initialized and connected.
    fn commands() -> Commands {
        let mut host = Host::new(HostConfig { header_digest: false, data_digest: false, depth: 2 });
        let mut target = Controller::new(Limits {
            in_capsule_bytes: BYTES,
            max_h2c_bytes: 4096,
            allow_header_digest: false,
            allow_data_digest: false,
            max_transfer_bytes: BYTES,
        });
        let (mut sent, mut answer) = (Vec::new(), Vec::new());
        host.start(&mut sent);
        assert!(target.feed(&sent, &mut answer).event.is_some());
        assert_eq!(host.feed(&answer, &mut sent).event, Some(HostEvent::Initialized));
        host.set_queue(BYTES, true);
        let pending = (0..2).map(|_| Pending::default()).collect();
        Commands { host, pending, live: 0, impatient: 0, parked: Vec::new(), now: 0 }
    }

    fn write(commands: &mut Commands, tag: Tag, pool: &Pool, outbox: &mut Outbox) -> (Slot, u16) {
        let start = outbox.bytes().len();
        let direction = Direction::WriteInCapsule { bytes: BYTES };
        let mut buf = pool.take().expect("a buffer");
        buf.set_len(BYTES as usize);
        let op = Op::Write { range: Range { lba: 0, blocks: 16 }, fua: false };
        let held = Held { order: tag, tag, op, bufs: buf.into(), sends: 0, cancelled: false };
        let pending = Pending::of(held, [0; RANGE_BYTES]);
        let slot = commands.start(Sqe::write(1, 0, 16, false), direction, pending, outbox);
        let cid = u16::from_le_bytes([outbox.bytes()[start + CID_AT], outbox.bytes()[start + CID_AT + 1]]);
        (slot, cid)
    }

    fn response(cid: u16) -> CapsuleResp {
        let plen = (size_of::<CapsuleResp>() as u32).into();
        let ch = CommonHeader { kind: kind::CAPSULE_RESP, flags: 0, hlen: 24, pdo: 0, plen };
        CapsuleResp { ch, cqe: Cqe::new(cid, Status::SUCCESS, 0) }
    }

    #[test]
    fn a_completion_that_overtakes_its_data_waits_for_the_buffer() {
        let (mut commands, mut outbox, mut out) = (commands(), Outbox::default(), Completions::default());
        let (pool, mut over) = (Pool::anonymous(BYTES as usize, 2).expect("memory"), Completions::default());
        let (slot, cid) = write(&mut commands, 1, &pool, &mut outbox);
        commands.parse(response(cid).as_bytes(), &mut outbox, &mut out).expect("a response that is in order");
        assert!(out.list.is_empty() && commands.live == 0 && commands.parked.len() == 1);

        let (again, _) = write(&mut commands, 2, &pool, &mut outbox);
        assert_eq!(again, slot, "the slot is free, its buffer is not");
        let sent = outbox.flush(|parts| Ok(Some(parts.iter().map(|part| part.len()).sum())));
        assert!(matches!(sent, Ok(Sent::All)));
        commands.take_back(&mut outbox, &mut over);
        assert_eq!((over.list.len(), over.list[0].tag, over.list[0].outcome), (1, 1, Ok(())));
        assert!(commands.parked.is_empty() && commands.live == 1);
        assert!(commands.pending[slot.index()].bufs.is_some() && !commands.pending[slot.index()].lent);
        over.list.clear();
        assert_eq!(pool.free(), 1);

        let mut broken = Broken::default();
        commands.abandon(&mut broken);
        assert_eq!((broken.held.len(), broken.held[0].tag, broken.held[0].sends), (1, 2, 1));
        assert!(broken.held[0].bufs.is_some() && commands.live == 0);
    }
}
