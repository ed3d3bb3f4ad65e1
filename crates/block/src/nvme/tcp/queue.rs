//! One I/O connection as a [`Queue`].
//!
//! ```text
//!   submit ── capsule ──▶ Outbox ── kick: one send ──▶ target
//!              small writes with their data, behind it
//!   poll ◀── completions ◀── state machine ◀── one receive for many ── target
//!              C2HData: copied from the scratch buffer, or received straight into the request's buffer
//!              R2T: H2CData from the request's buffer into the outbox
//! ```
//!
//! The slots of the state machine index a table of what is pending: no look-up, no allocation. A request's buffer is in
//! one of two places, its pending entry or the outbox (lent out for sending, under a key of slot and generation). A
//! completion that overtakes its own bytes waits, parked, until the outbox gives them back.
//!
//! When the connection breaks, everything in flight completes with [`Failure::Disconnected`], and so does everything
//! submitted afterwards: there is no reconnecting yet. A target that hangs is found by the keep-alive of the admin
//! connection. `cancel` does nothing yet (no Abort): the completion comes as the request ends.

use std::sync::Arc;

use machine::reactor::Arm;
use machine::region::Buf;
use machine::ring::{Owner, Ready, Ring};
use tracing::warn;
use wire::nvme::{Cqe, Status};
use wire::tcp::Slot;
use wire::tcp::digest::Crc32c;
use wire::tcp::host::{Direction, Host, HostEvent};

use super::association::Association;
use super::limits::RECEIVES_PER_POLL;
use super::namespace::{Namespace, Plan, RANGE_BYTES};
use crate::pump::{Outbox, Pump, Received, Scratch, Sent};
use crate::{Completion, Completions, Data, Failure, Op, Outcome, Queue, Refused, Request, Returned, Tag};

/// An I/O queue of a namespace on a target.
pub(super) struct TcpQueue {
    association: Arc<Association>,
    namespace: Namespace,
    qid: u16,
    depth: usize,
    owner: Owner,
    ready: Vec<Ready>,
    /// None once the connection is lost.
    pump: Option<Pump>,
    scratch: Scratch,
    commands: Commands,
    /// Completions that no poll has fetched yet: requests that were over at once, or lost with the connection.
    over: Vec<Completion>,
}

/// A request that the target has, or will have with the next send.
#[derive(Default)]
struct Pending {
    tag: Tag,
    /// The request's buffer, unless the outbox has it.
    buf: Option<Buf>,
    /// The outbox has the buffer.
    lent: bool,
    /// The target asked for (more) data.
    wanted: bool,
    live: bool,
    generation: u16,
    /// The data of a Dataset Management command.
    ranges: [u8; RANGE_BYTES],
}

/// A completion whose buffer is still being sent.
struct Parked {
    key: u32,
    tag: Tag,
    outcome: Outcome,
}

/// The commands in flight.
struct Commands {
    host: Host,
    pending: Box<[Pending]>,
    live: usize,
    parked: Vec<Parked>,
}

impl TcpQueue {
    pub(super) fn new(
        association: Arc<Association>,
        namespace: Namespace,
        qid: u16,
        depth: u16,
        host: Host,
        pump: Pump,
        owner: Owner,
    ) -> Self {
        let depth = usize::from(depth);
        let pending = (0..depth).map(|_| Pending::default()).collect();
        Self {
            association,
            namespace,
            qid,
            depth,
            owner,
            ready: Vec::new(),
            pump: Some(pump),
            scratch: Scratch::new(),
            commands: Commands { host, pending, live: 0, parked: Vec::with_capacity(depth) },
            over: Vec::with_capacity(depth),
        }
    }

    /// The connection is over: everything in flight completes.
    #[cold]
    fn lost(&mut self, why: &dyn std::fmt::Display) {
        let Some(mut pump) = self.pump.take() else { return };
        let (target, qid, in_flight) = (self.association.name(), self.qid, self.commands.live);
        warn!(target, qid, in_flight, "connection lost: {why}");
        pump.out.clear();
        self.commands.take_back(&mut pump.out, &mut self.over);
        self.commands.abandon(&mut self.over);
    }

    /// Sends what there is, and what becomes possible by that.
    fn send(&mut self) {
        while let Some(pump) = &mut self.pump {
            let result = pump.flush();
            self.commands.take_back(&mut pump.out, &mut self.over);
            match result {
                Ok(Sent::All) if !pump.out.is_empty() => {}
                Ok(_) => return,
                Err(error) => return self.lost(&error),
            }
        }
    }

    fn receive(&mut self, out: &mut Completions) {
        for _ in 0..RECEIVES_PER_POLL {
            let Some(pump) = &mut self.pump else { return };
            let slot = self.commands.host.incoming().map(|incoming| incoming.slot);
            let direct = self.commands.destination();
            match pump.receive(&mut self.scratch, direct) {
                Ok(Received::Nothing) => return,
                Ok(Received::Closed) => return self.lost(&"the target closed it"),
                Err(error) => return self.lost(&error),
                Ok(Received::Bytes { direct, rest }) => {
                    let end = self.commands.absorb(slot, direct, &mut pump.out, out);
                    let end = end.and_then(|()| self.commands.parse(rest, &mut pump.out, out));
                    match end {
                        Ok(left) => pump.keep(left),
                        Err(why) => {
                            // The peer should learn why; the socket may be full, and then it does not.
                            let _ = pump.flush();
                            return self.lost(&why);
                        }
                    }
                    if pump.socket().drained() {
                        return;
                    }
                }
            }
        }
    }
}

impl Queue for TcpQueue {
    fn submit<'a>(&mut self, _ring: &mut Ring, request: Request<'a>) -> Result<(), Refused<'a>> {
        if self.in_flight() >= self.depth {
            return Err(Refused(request));
        }
        let Request { tag, op, data } = request;
        let (buf, fits) = match (data, op) {
            (Data::Carried(buf), Op::Read(_) | Op::Write { .. }) => (Some(buf), true),
            (Data::Carried(buf), _) => (Some(buf), false),
            (Data::None, Op::Flush | Op::WriteZeroes { .. } | Op::Deallocate(_)) => (None, true),
            // The device does not lend: these are not for it.
            (Data::None | Data::Inline(_) | Data::Landed(_) | Data::Lend, _) => (None, false),
        };
        let plan = if fits {
            self.namespace.plan(op, buf.as_ref().map_or(0, |buf| buf.len()))
        } else {
            Plan::Over(Err(Failure::BadTransfer))
        };
        match (plan, &mut self.pump) {
            (Plan::Command { sqe, direction, ranges }, Some(pump)) => {
                let slot = self.commands.host.submit(sqe, direction, pump.out.bytes());
                let slot = slot.expect("fewer commands are in flight than there are slots");
                self.commands.start(slot, tag, buf, direction, ranges, &mut pump.out);
            }
            (Plan::Command { .. }, None) => self.over.push(completion(tag, Err(Failure::Disconnected), buf)),
            (Plan::Over(outcome), _) => self.over.push(completion(tag, outcome, buf)),
        }
        Ok(())
    }

    fn kick(&mut self, _ring: &mut Ring) {
        if self.pump.as_ref().is_some_and(|pump| !pump.out.is_empty()) {
            self.send();
        }
    }

    fn poll(&mut self, ring: &mut Ring, out: &mut Completions) {
        if self.association.is_lost() {
            self.lost(&"the association with the target ended");
        }
        if let Some(pump) = &self.pump {
            ring.ready(self.owner, &mut self.ready);
            self.ready.clear();
            // With nothing in flight only an event (the target closes) is worth a system call.
            if self.commands.live > 0 || !pump.socket().drained() {
                self.receive(out);
            }
        }
        if self.pump.as_ref().is_some_and(|pump| !pump.out.is_empty()) {
            self.send();
        }
        out.list.append(&mut self.over);
    }

    fn in_flight(&self) -> usize {
        self.commands.live + self.commands.parked.len() + self.over.len()
    }

    fn arm(&mut self, ring: &mut Ring) -> Arm {
        match &self.pump {
            _ if !self.over.is_empty() => Arm::Busy,
            Some(_) if self.association.is_lost() => Arm::Busy,
            Some(pump) => pump.arm(ring),
            None => Arm::Armed,
        }
    }
}

impl Drop for TcpQueue {
    fn drop(&mut self) {
        // The connection first, then its number: the target must not see the number twice.
        self.pump = None;
        self.association.give_back(self.qid);
    }
}

impl Commands {
    /// A command has been given a slot and its header is in the outbox; small data follows it.
    fn start(
        &mut self,
        slot: Slot,
        tag: Tag,
        buf: Option<Buf>,
        direction: Direction,
        ranges: [u8; RANGE_BYTES],
        outbox: &mut Outbox,
    ) {
        let pending = &mut self.pending[slot.index()];
        assert!(!pending.live, "the state machine gives out free slots only");
        let generation = pending.generation.wrapping_add(1);
        *pending = Pending { tag, buf, live: true, generation, ranges, ..Pending::default() };
        self.live += 1;
        if let Direction::WriteInCapsule { bytes } = direction {
            self.append(slot, 0, bytes, outbox);
        }
    }

    /// Where the payload that is being received belongs.
    fn destination(&mut self) -> Option<&mut [u8]> {
        let incoming = self.host.incoming()?;
        let buf = self.pending[incoming.slot.index()].buf.as_mut()?;
        Some(&mut buf[incoming.offset as usize..][..incoming.remaining as usize])
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
        let buf = self.pending[slot.index()].buf.as_ref().expect("bytes were received into it");
        let bytes = &buf[incoming.offset as usize..][..direct];
        match self.host.absorbed(bytes) {
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
                let buf = self.pending[slot.index()].buf.as_mut().expect("only reads receive data");
                buf[offset as usize..][..bytes.len()].copy_from_slice(bytes);
            }
            HostEvent::WantsData { slot, .. } => {
                self.pending[slot.index()].wanted = true;
                self.supply(slot, outbox);
            }
            HostEvent::Completed { slot, cqe, digest_ok } => self.complete(slot, &cqe, digest_ok, out),
            HostEvent::Initialized => unreachable!("the connection was initialized before it came here"),
            HostEvent::Closed(cause) => return Err(cause.to_string()),
        }
        Ok(())
    }

    /// Sends the next H2CData of a command, if it is asked for and its buffer is at hand.
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
        let digest = |data: &[u8]| self.host.data_digest().then(|| Crc32c::of(data));
        let digest = if let Some(buf) = pending.buf.take() {
            let digest = digest(&buf[part.clone()]);
            pending.lent = true;
            outbox.carried(buf, part, Some(key(slot, pending.generation)));
            digest
        } else {
            let data = &pending.ranges[part];
            outbox.bytes().extend_from_slice(data);
            digest(data)
        };
        if let Some(digest) = digest {
            outbox.bytes().extend_from_slice(&digest);
        }
    }

    /// Takes buffers back that have been sent; those of commands that are over already complete.
    fn take_back(&mut self, outbox: &mut Outbox, over: &mut Vec<Completion>) {
        while let Some((key, buf)) = outbox.returned().pop() {
            let (slot, generation) = (Slot(key as u16), (key >> 16) as u16);
            let pending = &mut self.pending[slot.index()];
            if pending.live && pending.generation == generation {
                pending.buf = Some(buf);
                pending.lent = false;
                self.supply(slot, outbox);
            } else {
                let parked = self.parked.iter().position(|parked| parked.key == key);
                let parked = self.parked.swap_remove(parked.expect("a buffer belongs to a command"));
                over.push(completion(parked.tag, parked.outcome, Some(buf)));
            }
        }
    }

    fn complete(&mut self, slot: Slot, cqe: &Cqe, digest_ok: bool, out: &mut Completions) {
        let status = cqe.status();
        let outcome = match (status.is_success(), digest_ok) {
            (true, true) => Ok(()),
            // The command was carried out, but what arrived is not what was sent: as Linux has it, worth another try.
            (true, false) => Err(Failure::Device(Status::DATA_TRANSFER_ERROR)),
            (false, _) => Err(Failure::Device(status)),
        };
        let pending = &mut self.pending[slot.index()];
        pending.live = false;
        self.live -= 1;
        if pending.lent {
            self.parked.push(Parked { key: key(slot, pending.generation), tag: pending.tag, outcome });
        } else {
            out.list.push(completion(pending.tag, outcome, pending.buf.take()));
        }
    }

    /// Everything completes: the connection is over, and all buffers are back.
    fn abandon(&mut self, over: &mut Vec<Completion>) {
        assert!(self.parked.is_empty(), "the outbox was emptied");
        for pending in self.pending.iter_mut().filter(|pending| pending.live) {
            pending.live = false;
            over.push(completion(pending.tag, Err(Failure::Disconnected), pending.buf.take()));
        }
        self.live = 0;
    }
}

/// What names a buffer in the outbox: a slot may be used again while its last buffer is still being sent.
fn key(slot: Slot, generation: u16) -> u32 {
    u32::from(generation) << 16 | u32::from(slot.0)
}

fn completion(tag: Tag, outcome: Outcome, buf: Option<Buf>) -> Completion {
    Completion { tag, outcome, data: buf.map_or(Returned::None, Returned::Carried) }
}

#[cfg(test)]
mod tests {
    use machine::region::Pool;
    use wire::nvme::Sqe;
    use wire::tcp::controller::{Controller, Limits};
    use wire::tcp::host::HostConfig;
    use wire::tcp::pdu::{CapsuleResp, CommonHeader, kind};
    use zerocopy::IntoBytes;

    use super::*;

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
        Commands { host, pending, live: 0, parked: Vec::new() }
    }

    fn write(commands: &mut Commands, tag: Tag, pool: &Pool, outbox: &mut Outbox) -> (Slot, u16) {
        let start = outbox.bytes().len();
        let direction = Direction::WriteInCapsule { bytes: BYTES };
        let slot = commands.host.submit(Sqe::write(1, 0, 16, false), direction, outbox.bytes()).expect("room");
        let cid = u16::from_le_bytes([outbox.bytes()[start + CID_AT], outbox.bytes()[start + CID_AT + 1]]);
        let mut buf = pool.take().expect("a buffer");
        buf.set_len(BYTES as usize);
        commands.start(slot, tag, Some(buf), direction, [0; RANGE_BYTES], outbox);
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
        let (pool, mut over) = (Pool::anonymous(BYTES as usize, 2).expect("memory"), Vec::new());
        let (slot, cid) = write(&mut commands, 1, &pool, &mut outbox);
        commands.parse(response(cid).as_bytes(), &mut outbox, &mut out).expect("a response that is in order");
        assert!(out.list.is_empty() && commands.live == 0 && commands.parked.len() == 1);

        let (again, _) = write(&mut commands, 2, &pool, &mut outbox);
        assert_eq!(again, slot, "the slot is free, its buffer is not");
        let sent = outbox.flush(|parts| Ok(Some(parts.iter().map(|part| part.len()).sum())));
        assert!(matches!(sent, Ok(Sent::All)));
        commands.take_back(&mut outbox, &mut over);
        assert_eq!((over.len(), over[0].tag, over[0].outcome), (1, 1, Ok(())));
        assert!(commands.parked.is_empty() && commands.live == 1);
        assert!(commands.pending[slot.index()].buf.is_some() && !commands.pending[slot.index()].lent);
        over.clear();
        assert_eq!(pool.free(), 1);

        commands.abandon(&mut over);
        assert_eq!((over.len(), over[0].tag, over[0].outcome), (1, 2, Err(Failure::Disconnected)));
    }
}
