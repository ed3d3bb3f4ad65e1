//! The functions behind the fuzz targets: a script of received bytes and caller's actions, run in every [`Way`].
//!
//! ```text
//!   pdu          | role, digests | bytes cut here and there ...
//!   controller   | digests, flow control | op | op | ...
//!   host         | digests, flow control | op | op | ...
//!
//!   op    RAW  | 0 | n | n bytes |             received
//!         SEAL | 1 | n | n bytes |             received, with their CRC-32C behind them: digests that are right
//!         LONG | 2 | n lo | n hi | n bytes |   received
//!         the rest: actions, each with its own few bytes
//! ```
//!
//! An action that the machine's state forbids is left out: the caller is ours and does not do it. Whatever the peer
//! sends, there is no panic, the same events come whichever way the bytes are cut, data lies within what was asked for,
//! and the bytes to be sent are PDUs.

use qpair_wire::nvme::{Sqe, Status};
use qpair_wire::tcp::controller::{self, Controller, RequestState};
use qpair_wire::tcp::digest::{Crc32c, Digests};
use qpair_wire::tcp::host::{self, Direction, Host, HostConfig};
use qpair_wire::tcp::limits::MAX_QUEUE_DEPTH;
use qpair_wire::tcp::{Cause, Slot};

use super::peers::{IN_CAPSULE, MAX_TRANSFER, limits, put};
use super::receive::{Entry, Inbox, Machine, Way};

pub const RAW: u8 = 0;
pub const SEAL: u8 = 1;
pub const LONG: u8 = 2;
/// Controller: slot, status byte.
pub const RESPOND: u8 = 3;
/// Controller: slot, bytes (16 bits).
pub const REQUEST: u8 = 4;
/// Controller: slot, bytes (16 bits, the highest says "last").
pub const SEND: u8 = 5;
/// Host: direction, bytes (16 bits).
pub const SUBMIT: u8 = 3;
/// Host: slot, the most bytes (16 bits).
pub const CHUNK: u8 = 4;
/// Both: depth or in-capsule bytes (16 bits).
pub const SET_QUEUE: u8 = 6;
/// Both.
pub const CLOSE: u8 = 7;
const OPS: u8 = 8;

const WAYS: [Way; 3] = [Way::Whole, Way::Bytes, Way::Direct];
/// The depth of a host's queue here.
const HOST_DEPTH: u16 = 16;

/// The bytes of a script, read from the front; what is missing is 0.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn word(&mut self) -> u16 {
        u16::from(self.byte()) | u16::from(self.byte()) << 8
    }

    fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(bytes.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// The bytes received by one of the first three operations.
    fn received(&mut self, op: u8) -> Option<Vec<u8>> {
        let bytes = match op {
            RAW | SEAL => usize::from(self.byte()),
            LONG => usize::from(self.word()),
            _ => return None,
        };
        let mut bytes = self.take(bytes).to_vec();
        if op == SEAL {
            bytes.extend_from_slice(&Crc32c::of(&bytes));
        }
        Some(bytes)
    }
}

/// Arbitrary bytes to a machine behind its handshake.
pub fn pdu(input: &[u8]) {
    let mut script = Script(input);
    let setup = script.byte();
    let bytes = script.0;
    let ran = WAYS.map(|way| {
        let mut inbox = Inbox::new(way);
        let mut out = Vec::new();
        if setup & 4 != 0 {
            let mut machine = Controller::new(limits());
            inbox.push(&mut machine, &ic_pdu(0, setup), &mut out, |_, _, _| {});
            inbox.push(&mut machine, bytes, &mut out, |_, _, _| {});
        } else {
            let mut machine = host_in_use(setup, &mut out);
            inbox.push(&mut machine, bytes, &mut out, |_, _, _| {});
        }
        (inbox.log, out)
    });
    assert!(ran[0] == ran[1] && ran[0] == ran[2], "the same, however the bytes are cut");
}

/// A host after Connect, with a read and a write in flight.
fn host_in_use(setup: u8, out: &mut Vec<u8>) -> Host {
    let mut machine = new_host(setup);
    machine.start(out);
    Machine::feed(&mut machine, &ic_pdu(1, setup), out);
    machine.set_queue(IN_CAPSULE, setup & 8 != 0);
    machine.submit(Sqe::read(1, 0, 1), Direction::Read { bytes: 512 }, out);
    machine.submit(Sqe::write(1, 0, 1, false), Direction::Write { bytes: 512 }, out);
    machine
}

fn new_host(setup: u8) -> Host {
    let Digests { header: header_digest, data: data_digest } = Digests::from_bits(setup);
    Host::new(HostConfig { header_digest, data_digest, depth: HOST_DEPTH })
}

/// ICReq (type 0) or ICResp (type 1) with the digests of `setup`.
pub fn ic_pdu(kind: u8, setup: u8) -> [u8; 128] {
    let mut bytes = [0; 128];
    bytes[..12].copy_from_slice(&[kind, 0, 128, 0, 128, 0, 0, 0, 0, 0, 0, setup & 3]);
    if kind == 1 {
        bytes[13] = 0x10;
    }
    bytes
}

/// A script for the target's side.
pub fn controller(input: &[u8]) {
    let ran = WAYS.map(|way| run_controller(Script(input), way));
    assert!(ran[0] == ran[1] && ran[0] == ran[2], "the same, however the bytes are cut");
}

fn run_controller(mut script: Script<'_>, way: Way) -> (Vec<Entry>, Vec<u8>) {
    let setup = script.byte();
    let mut machine = Controller::new(limits());
    let mut inbox = Inbox::new(way);
    let mut out = Vec::new();
    let mut depth = 1;
    // Of each slot, the bytes that were asked for.
    let mut asked = vec![0; usize::from(MAX_QUEUE_DEPTH)];
    while !script.0.is_empty() {
        let op = script.byte() % OPS;
        if let Some(bytes) = script.received(op) {
            inbox.push(&mut machine, &bytes, &mut out, |_, _, _| {});
            continue;
        }
        match op {
            SET_QUEUE => {
                let wanted = script.word() % MAX_QUEUE_DEPTH + 1;
                if machine.phase() == controller::Phase::AwaitConnect {
                    depth = wanted;
                    machine.set_queue(depth, setup & 16 != 0, u32::from(setup) * 32, setup & 8 != 0);
                }
            }
            CLOSE => machine.close(),
            _ => {
                let slot = Slot(u16::from(script.byte()) % depth);
                act(&mut machine, op, slot, &mut asked[slot.index()], script.word(), &mut out);
            }
        }
    }
    let slots: u32 = machine.states().iter().map(|(_, live)| live).sum();
    assert_eq!(slots, u32::from(depth));
    let free = machine.states()[RequestState::Free as usize];
    assert_eq!(free, ("Free", slots - machine.in_flight()));
    check_log(&inbox.log, u32::from(depth));
    check_sent(&out, machine.phase() == controller::Phase::Closed);
    (inbox.log, out)
}

/// What a caller may do with a command in this state.
fn act(machine: &mut Controller, op: u8, slot: Slot, asked: &mut u32, value: u16, out: &mut Vec<u8>) {
    let closed = machine.phase() == controller::Phase::Closed;
    match (op, machine.state(slot)) {
        (RESPOND, RequestState::Executing | RequestState::Sending | RequestState::Sent) => {
            machine.respond(slot, Status::from_field(value & 0xfffe), u64::from(value), out);
            *asked = 0;
        }
        (RESPOND, RequestState::AwaitingData | RequestState::Receiving) if closed => {
            machine.respond(slot, Status::INTERNAL_ERROR, 0, out);
            *asked = 0;
        }
        (REQUEST, RequestState::Executing) => {
            let bytes = u32::from(value) + 1;
            if *asked + bytes <= MAX_TRANSFER {
                *asked += bytes;
                machine.request_data(slot, bytes, out);
            }
        }
        // A command that receives data does not send any.
        (SEND, RequestState::Executing) if *asked == 0 => {
            let (bytes, last) = (u32::from(value) % 0x4000 + 1, value & 0x8000 != 0);
            machine.send_data(slot, 0, bytes, last, out);
            if !closed {
                put(&vec![0; bytes as usize], machine.data_digest(), out);
            }
        }
        _ => {}
    }
}

/// A script for the host's side.
pub fn host(input: &[u8]) {
    let ran = WAYS.map(|way| run_host(Script(input), way));
    assert!(ran[0] == ran[1] && ran[0] == ran[2], "the same, however the bytes are cut");
}

fn run_host(mut script: Script<'_>, way: Way) -> (Vec<Entry>, Vec<u8>) {
    let setup = script.byte();
    let mut machine = new_host(setup);
    let mut inbox = Inbox::new(way);
    let mut out = Vec::new();
    machine.start(&mut out);
    while !script.0.is_empty() {
        let op = script.byte() % OPS;
        if let Some(bytes) = script.received(op) {
            inbox.push(&mut machine, &bytes, &mut out, |_, _, _| {});
            continue;
        }
        match op {
            SET_QUEUE => {
                let in_capsule = u32::from(script.word());
                if machine.phase() == host::Phase::AwaitConnect {
                    machine.set_queue(in_capsule, setup & 8 != 0);
                }
            }
            CLOSE => machine.close(),
            SUBMIT => {
                let (direction, bytes) = (script.byte(), u32::from(script.word()) + 1);
                let direction = match direction % 4 {
                    0 => Direction::None,
                    1 => Direction::Read { bytes },
                    2 => Direction::Write { bytes },
                    _ => Direction::WriteInCapsule { bytes: bytes.min(machine.in_capsule_bytes()) },
                };
                if direction != (Direction::WriteInCapsule { bytes: 0 })
                    && machine.submit(Sqe::flush(1), direction, &mut out).is_some()
                    && let Direction::WriteInCapsule { bytes } = direction
                {
                    put(&vec![0; bytes as usize], machine.data_digest(), &mut out);
                }
            }
            CHUNK => {
                let (slot, max) = (Slot(u16::from(script.byte()) % HOST_DEPTH), u32::from(script.word()) + 1);
                if let Some(chunk) = machine.h2c(slot, max, &mut out) {
                    put(&vec![0; chunk.bytes as usize], machine.data_digest(), &mut out);
                }
            }
            _ => {}
        }
    }
    let slots: u32 = machine.states().iter().map(|(_, live)| live).sum();
    assert_eq!(slots, u32::from(HOST_DEPTH));
    assert_eq!(machine.states()[0], ("Free", slots - machine.in_flight()));
    check_log(&inbox.log, slots);
    check_sent(&out, machine.phase() == host::Phase::Closed);
    (inbox.log, out)
}

/// Events that make sense: slots within the table, data in order, nothing behind the end.
fn check_log(log: &[Entry], depth: u32) {
    let mut data_end = vec![0; depth as usize];
    for (at, entry) in log.iter().enumerate() {
        let end = &mut data_end;
        match *entry {
            Entry::Command { slot, .. } => end[slot.index()] = 0,
            Entry::Data { slot, offset, ref bytes } => {
                assert_eq!(offset, end[slot.index()], "data in order");
                end[slot.index()] += bytes.len() as u32;
            }
            Entry::Received { slot, .. } => assert!(end[slot.index()] > 0),
            Entry::WantsData { slot, length, .. } => assert!(slot.index() < end.len() && length > 0),
            Entry::Completed { slot, .. } => end[slot.index()] = 0,
            Entry::Initialized => assert_eq!(at, 0),
            Entry::Closed(_) => assert_eq!(at, log.len() - 1),
        }
    }
}

/// What is to be sent is a sequence of PDUs, with a term request only at the end.
fn check_sent(mut sent: &[u8], closed: bool) {
    while !sent.is_empty() {
        let plen = u32::from_le_bytes(sent[4..8].try_into().expect("a common header")) as usize;
        assert!(plen >= usize::from(sent[2]).max(24) && plen <= sent.len(), "a whole PDU");
        if matches!(sent[0], 2 | 3) {
            assert!(closed && plen == sent.len() && plen <= 152, "the term request comes last");
        }
        sent = &sent[plen..];
    }
}

/// The cause in a log that ended with one.
pub fn cause(log: &[Entry]) -> Option<Cause> {
    match log.last() {
        Some(Entry::Closed(cause)) => Some(*cause),
        _ => None,
    }
}
