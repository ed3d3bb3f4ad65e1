//! One host's connection: one queue pair, on one reactor for life from its Connect on.
//!
//! The pump receives, the wire's state machine finds commands in the bytes, and each command goes the way of
//! [`command`]. What it answers is collected in the outbox and leaves in one send at the end of the pass.

pub(crate) mod answer;
mod busy;
pub(crate) mod command;
pub(crate) mod copy;
mod counting;
mod cut;
pub(crate) mod end;
pub(crate) mod fabrics;
mod fused;
pub(crate) mod io;
pub(crate) mod log_limit;
pub(crate) mod placing;
mod reservation;
pub(crate) mod session;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use block::pump::{Pump, Received, Scratch, Sent};
use block::{Completion, Data, Failure, Op, Range, Request, Returned};
use machine::clock::Coarse;
use machine::region::Lent;
use machine::ring::{Ring, Socket};
use wire::nvme::dsm::MAX_RANGES;
use wire::nvme::reservation::Keys;
use wire::nvme::{DsmRange, Fuse, Sgl, Sqe, Status, opcode};
use wire::tcp::Slot;
use wire::tcp::controller::{Controller as Wire, Event, Limits as WireLimits};
use wire::tcp::digest::Crc32c;

use crate::layout::changes::Changes;
use crate::limits::{
    H2C_BYTES, HANDSHAKE, IDLE, IN_CAPSULE_MAX_BYTES, LARGE_BUFFER, LAST_WORD, LOAN, OUTBOX_BYTES, RECEIVES_PER_PASS,
    STALLED, STALLED_WHILE_SHORT, TRANSFER_BYTES,
};
use crate::reservation::Group;
use crate::reservation::desk::What;
use crate::shard::engine::{Owner, Pass, Wait};
use crate::stats::CellId;
use crate::status;
use crate::target::Counters;
use answer::Answer;
use command::{About, Command, Payload, Stage};
use end::End;
use fused::Fused;
use io::{Work, decode};
use placing::Waiting;
use session::{Claim, Role, Session};

/// Bytes of all the ranges that a Dataset Management command can have.
const DSM_BYTES: u32 = (MAX_RANGES * size_of::<DsmRange>()) as u32;

/// See the module.
pub(crate) struct Connection {
    pump: Pump,
    wire: Wire,
    session: Session,
    /// By slot, as many as the wire's state machine has.
    commands: Vec<Command>,
    fused: Box<Fused>,
    /// Where commands are counted: one for each namespace that was used, by its ID.
    cells: Vec<(u32, CellId)>,
    index: u32,
    generation: u16,
    /// Requests at devices; until they are back the connection's place is not given to another.
    in_flight: u32,
    /// Bytes of reads that are not in the outbox yet.
    reading: usize,
    opened: Coarse,
    /// Since when the socket has taken nothing.
    blocked: Option<Coarse>,
    /// Commands whose data the host was asked for, and since when it has completed none of them.
    asked: u32,
    asked_since: Coarse,
    /// Whether something has come since the last look at the time-outs; then, when that was.
    heard: bool,
    heard_at: Coarse,
    /// Whether nothing is left of the memory that it needed for work.
    lean: bool,
    /// A Connect that cannot be answered yet.
    waiting: Option<Box<Waiting>>,
    /// The reactor that is to carry out the Connect that waits.
    moving: Option<usize>,
    /// Passes in a row that brought nothing.
    pub(crate) quiet: u32,
    /// Whether it is among those that are asked in every pass.
    pub(crate) hot: bool,
    /// Whether it is among those that are flushed at the end of this pass.
    pub(crate) dirty: bool,
}

// 1 KiB but for the socket, which has a word more on Windows.
const _: () = assert!(size_of::<Connection>() - size_of::<Socket>() <= 928, "10,000 of them may be idle");

impl Connection {
    pub(crate) fn new(socket: Socket, index: u32, generation: u16, pass: &Pass<'_>) -> Self {
        let limits = WireLimits {
            // Which subsystem it is for, and so what it takes, Connect tells.
            in_capsule_bytes: IN_CAPSULE_MAX_BYTES,
            max_h2c_bytes: H2C_BYTES,
            allow_header_digest: true,
            allow_data_digest: true,
            max_transfer_bytes: TRANSFER_BYTES,
        };
        let session = Session::new(pass.engine.target.clone(), socket.local_addr());
        Self {
            pump: Pump::new(socket),
            wire: Wire::new(limits),
            session,
            commands: Vec::new(),
            fused: Box::default(),
            cells: Vec::new(),
            index,
            generation,
            in_flight: 0,
            reading: 0,
            opened: pass.now,
            blocked: None,
            asked: 0,
            asked_since: pass.now,
            heard: false,
            heard_at: pass.now,
            lean: false,
            waiting: None,
            moving: None,
            quiet: 0,
            hot: true,
            dirty: false,
        }
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.pump.socket().peer_addr()
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Whether the target, which stops, may close it: nothing is under way (no command at a device, nothing to send),
    /// or the host does not read its answers. An admin connection takes the others along, and so is the last.
    pub(crate) fn may_stop(&self, now: Coarse) -> bool {
        let idle = self.in_flight == 0 && self.pump.out.is_empty();
        let deaf = self.blocked.is_some_and(|since| now.since(since) >= LAST_WORD);
        deaf || idle && !self.session.has_queues()
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.pump.out.is_empty() && self.blocked.is_none()
    }

    /// Whether receiving may bring something without a wake-up.
    pub(crate) fn has_more(&self) -> bool {
        self.pump.has_more() && self.may_answer()
    }

    pub(crate) fn arm(&self, ring: &mut Ring) -> machine::reactor::Arm {
        if self.may_answer() { self.pump.arm(ring) } else { machine::reactor::Arm::Armed }
    }

    /// The socket has room again.
    pub(crate) fn unblock(&mut self) {
        self.blocked = None;
    }

    /// Receives and handles what there is, within the share of a pass; the number of receives that brought something.
    pub(crate) fn receive(&mut self, pass: &mut Pass<'_>, scratch: &mut Scratch) -> Result<usize, End> {
        for round in 0..RECEIVES_PER_PASS {
            let incoming = self.wire.incoming();
            let places = incoming.map(|at| {
                let payload = &mut self.commands[at.slot.index()].payload;
                payload.pieces_mut(at.offset as usize, at.remaining as usize)
            });
            match self.pump.receive(scratch, places.into_iter().flatten()).map_err(End::Socket)? {
                Received::Nothing => return Ok(round),
                Received::Closed => return Err(End::Closed),
                Received::Bytes { direct, rest } => {
                    if direct > 0 {
                        self.absorb(pass, direct)?;
                    }
                    self.parse(pass, rest)?;
                }
            }
            self.heard = true;
            if !self.has_more() {
                return Ok(round + 1);
            }
        }
        Ok(RECEIVES_PER_PASS)
    }

    /// Bytes of a write's data have been received where they belong.
    fn absorb(&mut self, pass: &mut Pass<'_>, bytes: usize) -> Result<(), End> {
        let at = self.wire.incoming().expect("the place was found through it");
        let payload = &mut self.commands[at.slot.index()].payload;
        let mut over = None;
        for piece in payload.pieces_mut(at.offset as usize, bytes) {
            over = self.wire.absorbed(piece);
        }
        over.map_or(Ok(()), |event| self.handle(pass, event))
    }

    /// Finds everything that is in `rest`, as far as there is room for the answers.
    fn parse(&mut self, pass: &mut Pass<'_>, rest: &[u8]) -> Result<(), End> {
        let mut at = 0;
        loop {
            if self.wire.incoming().is_none() && !(self.may_answer() && pass.engine.has_buffer()) {
                self.pump.hold(&rest[at..]);
                return Ok(());
            }
            let fed = self.wire.feed(&rest[at..], self.pump.out.bytes());
            at += fed.consumed;
            match fed.event {
                Some(event) => self.handle(pass, event)?,
                None => break,
            }
        }
        self.pump.keep(&rest[at..]);
        Ok(())
    }

    /// Whether there is room for another answer.
    fn may_answer(&self) -> bool {
        self.pump.out.queued() + self.reading < OUTBOX_BYTES && self.moving.is_none()
    }

    fn handle(&mut self, pass: &mut Pass<'_>, event: Event<'_>) -> Result<(), End> {
        match event {
            Event::Initialized => Ok(()),
            Event::Command { slot, sqe, data, digest_ok, duplicate } => {
                let (cid, nsid) = (sqe.cid.get(), sqe.nsid.get());
                if slot.index() >= self.commands.len() {
                    self.commands.resize_with(self.wire.slots(), Command::free);
                }
                let command = &mut self.commands[slot.index()];
                command.about = About { cid, opcode: sqe.opcode, nsid, lba: sqe.slba() };
                (command.since, command.cell) = (pass.engine.stats.now(), None);
                self.expect(pass, &sqe);
                if !digest_ok {
                    self.refuse(pass, slot, &sqe, Status::TRANSIENT_TRANSPORT_ERROR);
                } else if duplicate {
                    self.refuse(pass, slot, &sqe, Status::COMMAND_ID_CONFLICT.with_dnr());
                } else {
                    self.command(pass, slot, &sqe, data)?;
                }
                Ok(())
            }
            Event::Data { slot, offset, bytes } => {
                let mut rest = bytes;
                for piece in self.commands[slot.index()].payload.pieces_mut(offset as usize, bytes.len()) {
                    let (here, behind) = rest.split_at(piece.len());
                    piece.copy_from_slice(here);
                    rest = behind;
                }
                assert!(rest.is_empty(), "its place was there when the R2T went out");
                Ok(())
            }
            Event::Received { slot, digest_ok } => {
                // After a reset the host may have written these blocks anew, on another connection.
                self.session.check(pass.now)?;
                self.asked -= 1;
                self.asked_since = pass.now;
                match self.commands[slot.index()].cut {
                    _ if !digest_ok => self.respond(pass, slot, Status::TRANSIENT_TRANSPORT_ERROR, 0),
                    Some(status) => self.respond(pass, slot, status, 0),
                    None => {
                        self.step(slot, Stage::Ready, pass);
                        self.drive(pass, slot);
                    }
                }
                Ok(())
            }
            Event::Closed(cause) => Err(End::Protocol(cause)),
        }
    }

    /// A command has arrived.
    fn command(&mut self, pass: &mut Pass<'_>, slot: Slot, sqe: &Sqe, data: &[u8]) -> Result<(), End> {
        if self.waiting.is_some() {
            self.respond(pass, slot, Status::COMMAND_SEQUENCE_ERROR.with_dnr(), 0);
            return Ok(());
        }
        if let (false, Role::Io(queue)) = (sqe.is_fabrics(), self.session.role()) {
            if queue.is_over() {
                return Err(End::Association);
            }
            let ready = queue.controller.is_ready();
            let started =
                if ready { self.start_io(pass, slot, sqe, data) } else { Err(Status::COMMAND_SEQUENCE_ERROR) };
            if let Err(status) = started {
                self.refuse(pass, slot, sqe, status);
            }
            return Ok(());
        }
        let waiting = || Some(Box::new(Waiting { slot, sqe: *sqe, data: data.to_vec() }));
        if let Some(reactor) = self.place(pass, sqe) {
            (self.waiting, self.moving) = (waiting(), Some(reactor));
            return Ok(());
        }
        let answer = self.session.execute(pass, slot, sqe, data);
        if let Answer::Later = answer {
            self.waiting = waiting();
        }
        self.answer(pass, slot, sqe, answer)
    }

    /// Carries out what the session decided about an admin or fabrics command.
    fn answer(&mut self, pass: &mut Pass<'_>, slot: Slot, sqe: &Sqe, answer: Answer) -> Result<(), End> {
        match answer {
            Answer::Done { status, result } => self.respond(pass, slot, status, result),
            Answer::Data { bytes, result } => self.respond_data(pass, slot, sqe, &bytes, result),
            Answer::Connected { result, queue } => {
                self.wire.set_queue(queue.depth, queue.admin, queue.in_capsule_bytes, queue.flow_control_disabled);
                self.respond(pass, slot, Status::SUCCESS, result);
            }
            Answer::Held | Answer::Later => {
                self.commands[slot.index()].work = Work::Nothing;
                self.step(slot, Stage::Held, pass);
            }
            Answer::Persist { persist, mut namespaces } => {
                let first = namespaces.remove(0);
                self.ask(pass, slot, first, What::Persist(persist, namespaces));
            }
            Answer::Aborted { slot: aborted } => {
                self.respond(pass, aborted, Status::ABORT_REQUESTED, 0);
                self.respond(pass, slot, Status::SUCCESS, 0);
            }
            Answer::Reset { held } => {
                for slot in held {
                    self.respond(pass, slot, Status::ABORTED_SQ_DELETION, 0);
                }
                self.respond(pass, slot, Status::SUCCESS, 0);
            }
            Answer::Disconnect => {
                self.respond(pass, slot, Status::SUCCESS, 0);
                return Err(End::Disconnect);
            }
        }
        Ok(())
    }

    /// Answers with data that was made here: identify, logs.
    fn respond_data(&mut self, pass: &mut Pass<'_>, slot: Slot, sqe: &Sqe, bytes: &[u8], result: u64) {
        match sqe.data(0) {
            // SGLS does not say that the SGL may be longer than the data.
            Ok(Sgl::Transport { len }) if len as usize == bytes.len() => {}
            Ok(_) => return self.respond(pass, slot, Status::INVALID_SGL_DATA_LENGTH.with_dnr(), 0),
            Err(status) => return self.respond(pass, slot, status, 0),
        }
        let out = self.pump.out.bytes();
        let sent = self.wire.send_data(slot, 0, bytes.len() as u32, true, out);
        out.extend_from_slice(bytes);
        if self.wire.data_digest() {
            out.extend_from_slice(&Crc32c::of(bytes));
        }
        if !sent.success {
            self.wire.respond(slot, Status::SUCCESS, result, out);
        }
    }

    /// Checks an I/O command and starts it; `fuse` was taken out of it.
    fn start_plain(
        &mut self,
        pass: &mut Pass<'_>,
        slot: Slot,
        sqe: &Sqe,
        data: &[u8],
        fuse: Fuse,
    ) -> Result<(), Status> {
        let Role::Io(queue) = self.session.role() else { unreachable!("only I/O queues have I/O commands") };
        let namespace = queue.view.find(sqe.nsid.get()).ok_or(Status::INVALID_NAMESPACE.with_dnr())?;
        let cell = self.cell(pass, sqe.nsid.get());
        self.commands[slot.index()].cell = Some(cell);
        if sqe.opcode == opcode::io::RESERVATION_REPORT {
            return self.report(pass, slot, sqe, namespace);
        }
        let Role::Io(queue) = self.session.role() else { unreachable!("only I/O queues have I/O commands") };
        let at = pass.engine.at(namespace);
        let decoded = decode(sqe, &at.info, at.device.blocks())?;
        if decoded.work.group().is_some_and(|group| !at.access.allows(&queue.controller.host_id, group)) {
            return Err(Status::RESERVATION_CONFLICT.with_dnr());
        }
        let work = match fuse {
            Fuse::Normal => decoded.work,
            _ => self.join(pass, slot, fuse, namespace, decoded.work)?,
        };
        let command = &mut self.commands[slot.index()];
        command.work = work;
        command.namespace = namespace;
        (command.outstanding, command.failure, command.cut) = (0, None, None);
        if decoded.to_host > 0 {
            match sqe.data(0)? {
                Sgl::Transport { len } if len == decoded.to_host => command.bytes = len,
                _ => return Err(Status::INVALID_SGL_DATA_LENGTH.with_dnr()),
            }
            self.reading += decoded.to_host as usize;
            self.step(slot, Stage::NeedsBuffer, pass);
        } else if decoded.from_host > 0 {
            return self.start_transfer(pass, slot, sqe, decoded.from_host, data);
        } else {
            command.bytes = 0;
            self.step(slot, Stage::Ready, pass);
        }
        self.drive(pass, slot);
        Ok(())
    }

    /// A command with data from the host: in the capsule, or to be asked for.
    fn start_transfer(
        &mut self,
        pass: &mut Pass<'_>,
        slot: Slot,
        sqe: &Sqe,
        bytes: u32,
        data: &[u8],
    ) -> Result<(), Status> {
        let command = &mut self.commands[slot.index()];
        let sgl = sqe.data(self.wire.in_capsule_bytes())?;
        // A host may send all 256 ranges of a Dataset Management command, however few count, and a second key with a
        // release, which has one: so does Linux, the latter until 6.14.
        let fits = match command.work {
            Work::Ranges { .. } => (bytes..=DSM_BYTES).contains(&sgl.bytes()),
            Work::Reserve(_) => (bytes..=size_of::<Keys>() as u32).contains(&sgl.bytes()),
            _ => sgl.bytes() == bytes,
        };
        if !fits {
            return Err(Status::INVALID_SGL_DATA_LENGTH.with_dnr());
        }
        command.bytes = sgl.bytes();
        match sgl {
            Sgl::Transport { .. } => {
                self.step(slot, Stage::NeedsBuffer, pass);
                self.drive(pass, slot);
            }
            Sgl::InCapsule { offset, len } => {
                let end = (offset + len) as usize;
                let bytes = data.get(offset as usize..end).ok_or(Status::INVALID_SGL_DATA_LENGTH.with_dnr())?;
                self.submit_in_capsule(pass, slot, bytes);
            }
        }
        Ok(())
    }

    /// Submits a command whose data lies in the receive buffer; if that is not possible now, its data is copied.
    fn submit_in_capsule(&mut self, pass: &mut Pass<'_>, slot: Slot, bytes: &[u8]) {
        let tag = self.tag(slot);
        let command = &mut self.commands[slot.index()];
        if let Work::Block(op) = command.work {
            match pass.engine.write(pass.ring, command.namespace, tag, op, bytes) {
                Ok(()) => return self.submitted(pass, slot),
                Err(Wait::Queue(payload)) => command.payload = payload,
                Err(Wait::Buffer) => unreachable!("parse makes sure of a buffer before it takes a capsule"),
            }
        } else {
            command.payload = pass.engine.copy(bytes).map_or(Payload::None, Payload::Buf);
        }
        assert!(!command.payload.is_none(), "parse makes sure of a buffer before it takes a capsule");
        self.step(slot, Stage::Ready, pass);
        self.drive(pass, slot);
    }

    /// Takes a command that waited further, if the association still stands: else the connection is about to end.
    pub(crate) fn retry(&mut self, pass: &mut Pass<'_>, slot: Slot) {
        self.commands[slot.index()].queued = false;
        if self.session.check(pass.now).is_ok() {
            self.drive(pass, slot);
        }
    }

    /// What is served has changed: its host is told if it wants to be.
    pub(crate) fn notice(&mut self, pass: &mut Pass<'_>, changes: &Changes) {
        self.session.notice(changes);
        self.send_events(pass);
    }

    /// Sends the events that the host has requests for.
    fn send_events(&mut self, pass: &mut Pass<'_>) {
        while let Some((slot, event)) = self.session.events.next() {
            self.respond(pass, slot, Status::SUCCESS, event.to_result());
        }
    }

    /// Takes a command as far as it gets now; where it has to wait, it is put among those that wait.
    fn drive(&mut self, pass: &mut Pass<'_>, slot: Slot) {
        let tag = self.tag(slot);
        let command = &mut self.commands[slot.index()];
        let waits = match (command.stage(), command.work) {
            (Stage::NeedsBuffer, Work::Block(op @ Op::Read(_))) => {
                match pass.engine.read(pass.ring, command.namespace, tag, op, command.bytes as usize) {
                    Ok(()) => return self.submitted(pass, slot),
                    Err(Wait::Buffer | Wait::Queue(_)) => true,
                }
            }
            (Stage::NeedsBuffer, work) => match pass.engine.place(command.namespace, work.op(), command.bytes) {
                Payload::None => true,
                place => {
                    command.payload = place;
                    self.wire.request_data(slot, self.commands[slot.index()].bytes, self.pump.out.bytes());
                    if self.asked == 0 {
                        self.asked_since = pass.now;
                    }
                    self.asked += 1;
                    self.step(slot, Stage::Receiving, pass);
                    false
                }
            },
            (Stage::Ready, Work::Block(op)) => {
                let data = std::mem::take(&mut command.payload).into_data();
                match pass.engine.submit(pass.ring, command.namespace, Request { tag, op, data }) {
                    Ok(()) => return self.submitted(pass, slot),
                    Err(Wait::Queue(payload)) => command.payload = payload,
                    Err(Wait::Buffer) => unreachable!("it needs none"),
                }
                true
            }
            (Stage::Ready, Work::Fused(op)) => return self.drive_half(pass, slot, op),
            (Stage::Ready, Work::Ranges { .. }) => return self.drive_ranges(pass, slot),
            (Stage::Ready, Work::Copy { to, sources, fua }) => return self.drive_copy(pass, slot, to, sources, fua),
            (Stage::Ready, Work::Reserve(change)) => return self.reserve(pass, slot, change),
            // It was answered or abandoned while it waited.
            _ => false,
        };
        if waits {
            self.wait(pass, slot);
        }
    }

    /// Puts a command among those that wait, once; also for one that has been there for an earlier command of its slot.
    fn wait(&mut self, pass: &mut Pass<'_>, slot: Slot) {
        if !std::mem::replace(&mut self.commands[slot.index()].queued, true) {
            pass.engine.waiting.push_back(self.owner(slot));
        }
    }

    /// Submits one deallocation after the other.
    fn drive_ranges(&mut self, pass: &mut Pass<'_>, slot: Slot) {
        let owner = self.owner(slot);
        loop {
            let command = &mut self.commands[slot.index()];
            let Work::Ranges { count, next } = command.work else { return };
            if next < count && command.cut.is_some() {
                command.failure.get_or_insert(Failure::Cancelled);
            }
            if next == count || command.failure.is_some() {
                break;
            }
            let Payload::Buf(ranges) = &command.payload else { unreachable!("its ranges are in a buffer") };
            let range = DsmRange::list(ranges, count).expect("the length was checked")[next as usize];
            if range.nlb.get() > 0 {
                let range = Range { lba: range.slba.get(), blocks: range.nlb.get().into() };
                let request = Request { tag: owner.tag_of(next), op: Op::Deallocate(range), data: Data::None };
                if pass.engine.submit(pass.ring, command.namespace, request).is_err() {
                    return self.wait(pass, slot);
                }
                command.outstanding += 1;
                self.in_flight += 1;
            }
            command.work = Work::Ranges { count, next: next + 1 };
        }
        if self.commands[slot.index()].outstanding == 0 {
            self.finish(pass, slot);
        } else {
            self.step(slot, Stage::AtDevice, pass);
        }
    }

    /// Submits a copy, whose sources have come.
    fn drive_copy(&mut self, pass: &mut Pass<'_>, slot: Slot, to: u64, count: u32, fua: bool) {
        let tag = self.tag(slot);
        let command = &self.commands[slot.index()];
        let Payload::Buf(list) = &command.payload else { unreachable!("its sources are in a buffer") };
        match pass.engine.copy_blocks(pass.ring, command.namespace, tag, (list, count), to, fua) {
            Ok(true) => self.submitted(pass, slot),
            Ok(false) => self.wait(pass, slot),
            Err(status) => self.respond(pass, slot, status, 0),
        }
    }

    /// The device has taken the command's one request.
    fn submitted(&mut self, pass: &mut Pass<'_>, slot: Slot) {
        self.commands[slot.index()].outstanding += 1;
        self.in_flight += 1;
        self.step(slot, Stage::AtDevice, pass);
    }

    /// A request of a command is back. `lent` has its lent pieces at the front.
    pub(crate) fn complete(&mut self, pass: &mut Pass<'_>, completion: Completion, lent: &mut VecDeque<Lent>) {
        let slot = Slot(Owner::of(completion.tag).slot);
        let command = &mut self.commands[slot.index()];
        self.in_flight -= 1;
        command.outstanding -= 1;
        if let Err(failure) = completion.outcome {
            command.failure.get_or_insert(failure);
        }
        match command.work {
            Work::Block(Op::Read(_)) => {
                self.reading -= command.bytes as usize;
                if completion.outcome.is_ok() {
                    return self.finish_read(pass, slot, completion.data, lent);
                }
                discard(completion.data, lent);
            }
            Work::Ranges { .. } if command.outstanding > 0 || command.stage() == Stage::Ready => return,
            _ => {}
        }
        self.finish(pass, slot);
    }

    /// Answers a read with its data.
    fn finish_read(&mut self, pass: &mut Pass<'_>, slot: Slot, data: Returned, lent: &mut VecDeque<Lent>) {
        let bytes = self.commands[slot.index()].bytes;
        self.count(pass, slot);
        self.succeeded(pass, slot, bytes);
        if self.commands[slot.index()].cut.is_some() {
            self.was_cancelled(slot, false);
        }
        let sent = self.wire.send_data(slot, 0, bytes, true, self.pump.out.bytes());
        let mut digest = self.wire.data_digest().then(Crc32c::new);
        match data {
            Returned::Lent(pieces) => {
                for piece in lent.drain(..pieces) {
                    if let Some(digest) = &mut digest {
                        digest.update(&piece);
                    }
                    self.pump.out.lent(piece);
                }
            }
            Returned::Carried(buf) => {
                if let Some(digest) = &mut digest {
                    digest.update(&buf);
                }
                self.pump.out.carried(buf, 0..bytes as usize, None);
            }
            Returned::Scattered(_) => unreachable!("a command has one buffer"),
            Returned::None => unreachable!("a read that succeeds brings its data"),
        }
        let out = self.pump.out.bytes();
        if let Some(digest) = digest {
            out.extend_from_slice(&digest.finish());
        }
        if !sent.success {
            self.wire.respond(slot, Status::SUCCESS, 0, out);
        }
        self.step(slot, Stage::Free, pass);
    }

    /// Answers a command that has no data for the host.
    fn finish(&mut self, pass: &mut Pass<'_>, slot: Slot) {
        let command = &self.commands[slot.index()];
        let reads = command.work.group() == Some(Group::Read);
        let mut status = command.failure.map_or(Status::SUCCESS, |failure| status::of(failure, !reads));
        if let Some(cut) = command.cut {
            status = if status.same_code(Status::ABORT_REQUESTED) { cut } else { status };
            self.was_cancelled(slot, status == Status::ABORT_REQUESTED);
        }
        self.count(pass, slot);
        let command = &self.commands[slot.index()];
        if status.is_success() {
            // Ranges are no data.
            let ranges = matches!(command.work, Work::Ranges { .. } | Work::Copy { .. });
            let bytes = if ranges { 0 } else { command.bytes };
            self.succeeded(pass, slot, bytes);
        }
        self.respond(pass, slot, status, 0);
    }

    /// Answers with a response capsule; the slot is free.
    fn respond(&mut self, pass: &mut Pass<'_>, slot: Slot, status: Status, result: u64) {
        if !status.is_success() {
            Counters::bump(&pass.engine.target.counters.failed_commands);
            self.session.log_error(status, &self.commands[slot.index()].about);
            self.failed(pass, slot, status);
        }
        self.commands[slot.index()].payload = Payload::None;
        self.step(slot, Stage::Free, pass);
        self.wire.respond(slot, status, result, self.pump.out.bytes());
        if let Work::Fused(_) = self.commands[slot.index()].work {
            self.half_answered(pass, slot, status);
        }
    }

    fn step(&mut self, slot: Slot, next: Stage, pass: &mut Pass<'_>) {
        self.commands[slot.index()].become_stage(next, &mut pass.engine.stages);
    }

    fn owner(&self, slot: Slot) -> Owner {
        Owner { connection: self.index, generation: self.generation, slot: slot.0 }
    }

    fn tag(&self, slot: Slot) -> u64 {
        self.owner(slot).tag()
    }

    /// Sends what there is.
    pub(crate) fn flush(&mut self, now: Coarse) -> Result<(), End> {
        let before = self.pump.out.queued();
        match self.pump.flush().map_err(End::Socket)? {
            Sent::All => self.blocked = None,
            Sent::Blocked if self.pump.out.queued() < before => self.blocked = Some(now),
            Sent::Blocked => self.blocked = self.blocked.or(Some(now)),
        }
        self.pump.out.returned().clear();
        Ok(())
    }

    /// Gives back the memory that it needed for work.
    fn shrink(&mut self) {
        self.wire.shrink();
        self.commands.truncate(self.wire.slots());
        self.commands.shrink_to_fit();
        self.pump.shrink();
        self.lean = true;
    }

    /// Looks at the time-outs.
    pub(crate) fn tick(&mut self, pass: &mut Pass<'_>) -> Result<(), End> {
        let now = pass.now;
        if std::mem::take(&mut self.heard) {
            self.session.touch(now);
            (self.heard_at, self.lean) = (now, false);
        }
        // Whatever waits may be a command that was answered meanwhile: its slot is looked at once more.
        if !self.lean && now.since(self.heard_at) >= IDLE && pass.engine.waiting.is_empty() {
            self.shrink();
        }
        self.session.check(now)?;
        if !self.has_more() {
            self.session.stands(now);
        }
        self.connect_again(pass)?;
        self.announce(pass);
        self.abort_what_is_asked(pass);
        self.answer_aborts(pass);
        if matches!(self.session.role(), Role::New(_)) && now.since(self.opened) >= HANDSHAKE {
            return Err(End::Handshake);
        }
        // Others wait for the buffers that a slow peer holds: there is less patience with it.
        let patience = if pass.engine.is_short_of_buffers() { STALLED_WHILE_SHORT } else { STALLED };
        if self.asked > 0 && now.since(self.asked_since) >= patience {
            return Err(End::Stalled);
        }
        self.miss_late(pass, patience);
        let blocked = self.blocked.map_or(Duration::ZERO, |since| now.since(since));
        if blocked >= patience {
            return Err(End::Stalled);
        }
        if blocked >= LOAN && self.pump.out.has_loans() {
            let left = self.pump.out.copy_out(LARGE_BUFFER.0, |bytes| pass.engine.spare_buffer(bytes));
            if left > 0 && blocked >= STALLED_WHILE_SHORT {
                return Err(End::Stalled);
            }
        }
        Ok(())
    }

    /// The connection is over: its commands end, devices are asked to give back what they have of them. The socket is
    /// given back for a last word, and the claim on an I/O queue.
    pub(crate) fn end(mut self, pass: &mut Pass<'_>, end: &End) -> (Pump, Option<Claim>) {
        self.end_pairs(pass);
        for index in 0..self.commands.len() {
            if self.commands[index].outstanding > 0 {
                // Nobody waits for it any more. Its place is free when it is back all the same.
                self.cancel_requests(pass, Slot(index as u16));
            }
            self.commands[index].abandon(&mut pass.engine.stages);
        }
        (self.pump, self.session.end(end))
    }
}

/// Drops what a request brought back that nobody waits for.
pub(crate) fn discard(data: Returned, lent: &mut VecDeque<Lent>) {
    if let Returned::Lent(pieces) = data {
        lent.drain(..pieces);
    }
}
