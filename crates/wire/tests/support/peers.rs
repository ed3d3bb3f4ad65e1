//! A target and a host that act on their own as soon as they see an event, and the cable between them.

use qpair_wire::nvme::{Sqe, Status, io};
use qpair_wire::tcp::Slot;
use qpair_wire::tcp::controller::{Controller, Limits};
use qpair_wire::tcp::digest::{Crc32c, Digests};
use qpair_wire::tcp::host::{Direction, Host, HostConfig};

use super::receive::{Entry, Inbox, Way};

/// How both sides are set up, and what goes over the connection.
#[derive(Clone, Debug)]
pub struct Plan {
    pub digests: Digests,
    pub depth: u16,
    pub flow_control_disabled: bool,
    /// The most data in one C2HData, in one R2T and in one H2CData.
    pub c2h_bytes: u32,
    pub r2t_bytes: u32,
    pub h2c_bytes: u32,
    pub commands: Vec<(Sqe, Direction)>,
}

pub const MAX_H2C: u32 = 4096;
pub const IN_CAPSULE: u32 = 8192;
pub const MAX_TRANSFER: u32 = 1 << 20;

impl Plan {
    /// Reads, writes of both kinds and commands without data, cut into `piece` bytes.
    pub fn mixed(digests: Digests, flow_control_disabled: bool, piece: u32) -> Self {
        let commands = vec![
            (Sqe::read(1, 0, 1), Direction::Read { bytes: 3 * piece + 4 }),
            (Sqe::write(1, 8, 1, false), Direction::WriteInCapsule { bytes: piece + 1 }),
            (Sqe::write(1, 8, 1, true), Direction::Write { bytes: 5 * piece + 4 }),
            (Sqe::flush(1), Direction::None),
            (Sqe::write(1, 8, 1, false), Direction::Write { bytes: piece }),
            (Sqe::read(1, 0, 1), Direction::Read { bytes: 4 }),
        ];
        let (r2t_bytes, h2c_bytes) = (3 * piece, piece);
        Self { digests, depth: 4, flow_control_disabled, c2h_bytes: piece, r2t_bytes, h2c_bytes, commands }
    }
}

/// Every combination of digests.
pub fn all_digests() -> [Digests; 4] {
    [0, 1, 2, 3].map(Digests::from_bits)
}

pub fn limits() -> Limits {
    Limits {
        in_capsule_bytes: IN_CAPSULE,
        max_h2c_bytes: MAX_H2C,
        allow_header_digest: true,
        allow_data_digest: true,
        max_transfer_bytes: MAX_TRANSFER,
    }
}

/// The byte at an offset of anybody's data.
pub fn pattern(offset: u32) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9) >> 24) as u8
}

pub fn data(offset: u32, bytes: u32) -> Vec<u8> {
    (offset..offset + bytes).map(pattern).collect()
}

/// Appends data and, if in use, its digest.
pub fn put(data: &[u8], digest: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(data);
    if digest {
        out.extend_from_slice(&Crc32c::of(data));
    }
}

/// A target that serves the pattern and forgets what is written.
pub struct Target {
    pub machine: Controller,
    pub inbox: Inbox,
    plan: Plan,
    /// Of each slot, the bytes that are still to be asked for.
    wanted: Vec<u32>,
    /// All that it ever sent.
    pub sent: Vec<u8>,
}

impl Target {
    pub fn new(plan: &Plan, way: Way) -> Self {
        let wanted = vec![0; usize::from(plan.depth)];
        Self { machine: Controller::new(limits()), inbox: Inbox::new(way), plan: plan.clone(), wanted, sent: vec![] }
    }

    pub fn receive(&mut self, bytes: &[u8]) {
        let Self { machine, inbox, plan, wanted, sent } = self;
        inbox.push(machine, bytes, sent, |machine, event, out| match *event {
            Entry::Command { slot, ref sqe, digest_ok, duplicate, .. } => {
                if duplicate || !digest_ok {
                    let status =
                        if duplicate { Status::COMMAND_ID_CONFLICT } else { Status::TRANSIENT_TRANSPORT_ERROR };
                    machine.respond(slot, status, 0, out);
                } else {
                    execute(machine, plan, wanted, slot, sqe, out);
                }
            }
            Entry::Received { slot, digest_ok: false } => {
                machine.respond(slot, Status::TRANSIENT_TRANSPORT_ERROR, 0, out);
            }
            Entry::Received { slot, digest_ok: true } => ask(machine, plan, wanted, slot, out),
            _ => {}
        });
    }
}

fn execute(m: &mut Controller, plan: &Plan, wanted: &mut [u32], slot: Slot, sqe: &Sqe, out: &mut Vec<u8>) {
    let bytes = sqe.dptr.length.get();
    if sqe.is_fabrics() {
        m.set_queue(plan.depth, false, IN_CAPSULE, plan.flow_control_disabled);
        return m.respond(slot, Status::SUCCESS, 7, out);
    }
    match (sqe.opcode, sqe.data(m.in_capsule_bytes())) {
        (io::READ, Ok(_)) => {
            let mut offset = 0;
            while offset < bytes {
                let piece = plan.c2h_bytes.min(bytes - offset);
                let sent = m.send_data(slot, offset, piece, offset + piece == bytes, out);
                put(&data(offset, piece), m.data_digest(), out);
                offset += piece;
                if sent.success {
                    return;
                }
            }
            m.respond(slot, Status::SUCCESS, 0, out);
        }
        (io::WRITE, Ok(qpair_wire::nvme::Sgl::Transport { len })) => {
            wanted[slot.index()] = len;
            ask(m, plan, wanted, slot, out);
        }
        (io::WRITE, Ok(_)) => m.respond(slot, Status::SUCCESS, 0, out),
        _ => m.respond(slot, Status::INVALID_OPCODE.with_dnr(), 0, out),
    }
}

fn ask(m: &mut Controller, plan: &Plan, wanted: &mut [u32], slot: Slot, out: &mut Vec<u8>) {
    let left = &mut wanted[slot.index()];
    let bytes = plan.r2t_bytes.min(*left);
    *left -= bytes;
    if bytes > 0 {
        m.request_data(slot, bytes, out);
    } else {
        m.respond(slot, Status::SUCCESS, 0, out);
    }
}

/// A host that connects and then runs the commands of its plan, as many at a time as the queue takes.
pub struct Initiator {
    pub machine: Host,
    pub inbox: Inbox,
    plan: Plan,
    next: usize,
    /// All that it ever sent.
    pub sent: Vec<u8>,
}

impl Initiator {
    /// ICReq is sent at once.
    pub fn new(plan: &Plan, way: Way) -> Self {
        let Digests { header: header_digest, data: data_digest } = plan.digests;
        let mut machine = Host::new(HostConfig { header_digest, data_digest, depth: plan.depth });
        let mut sent = Vec::new();
        machine.start(&mut sent);
        Self { machine, inbox: Inbox::new(way), plan: plan.clone(), next: 0, sent }
    }

    pub fn receive(&mut self, bytes: &[u8]) {
        let Self { machine, inbox, plan, next, sent } = self;
        inbox.push(machine, bytes, sent, |machine, event, out| match *event {
            Entry::Initialized => {
                submit(machine, Sqe::connect(1, 31, 0, 0), Direction::WriteInCapsule { bytes: 1024 }, out);
            }
            Entry::Completed { .. } => {
                if *next == 0 {
                    machine.set_queue(IN_CAPSULE, plan.flow_control_disabled);
                }
                while let Some(&(sqe, direction)) = plan.commands.get(*next)
                    && submit(machine, sqe, direction, out)
                {
                    *next += 1;
                }
            }
            Entry::WantsData { slot, .. } => {
                while let Some(chunk) = machine.h2c(slot, plan.h2c_bytes, out) {
                    put(&data(chunk.offset, chunk.bytes), machine.data_digest(), out);
                }
            }
            _ => {}
        });
    }

    pub fn is_done(&self) -> bool {
        self.next == self.plan.commands.len() && self.machine.in_flight() == 0
    }
}

fn submit(machine: &mut Host, sqe: Sqe, direction: Direction, out: &mut Vec<u8>) -> bool {
    let slot = machine.submit(sqe, direction, out);
    if let (Some(_), Direction::WriteInCapsule { bytes }) = (slot, direction) {
        put(&data(0, bytes), machine.data_digest(), out);
    }
    slot.is_some()
}

/// Connects both sides and runs the plan to its end.
pub fn run(plan: &Plan, way: Way) -> (Initiator, Target) {
    let (mut host, mut target) = (Initiator::new(plan, way), Target::new(plan, way));
    let (mut from_host, mut from_target) = (0, 0);
    while from_host < host.sent.len() || from_target < target.sent.len() {
        let bytes = host.sent[from_host..].to_vec();
        from_host = host.sent.len();
        target.receive(&bytes);
        let bytes = target.sent[from_target..].to_vec();
        from_target = target.sent.len();
        host.receive(&bytes);
    }
    assert!(host.is_done(), "the plan is carried out: {:?}", host.inbox.log.last());
    (host, target)
}
