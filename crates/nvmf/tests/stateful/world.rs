//! A target, up to four connections, and what must be true whatever they do.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use block::ram::RamDevice;
use block::spec::{Defaults, Spec};
use block::{Completions, Data, Device, Op as BlockOp, Queue, Range, Request};
use machine::clock::Fine;
use machine::ring::{Ring, RingKind};
use qpair_nvmf::limits::IN_CAPSULE_DEFAULT_BYTES;
use qpair_nvmf::{Stepper, Subsystem, Target};
use wire::nvme::{Cc, ConnectData, ConnectResult, DsmRange, Fuse, LogRequest, Nqn, Sqe, Status, property};
use zerocopy::IntoBytes;

use crate::model::{BLOCK, BLOCKS, Model, ZEROS};
use crate::peer::{CHUNK_BYTES, Done, Kind, Peer};
use crate::script::{Op, Script};

const PEERS: usize = 4;
const NQN: &str = "nqn.2024-01.test.qpair:stateful";
const HOST: &str = "nqn.2024-01.test.qpair:host";
const ADMIN_DEPTH: u16 = 32;
/// Commands to blocks with this bit go to the disk that is stuck.
const STUCK: u16 = 0x8000;
const TICK: Duration = Duration::from_millis(50);
/// After so many passes the target has seen that a connection is closed, and a RAM disk has answered.
const SETTLED: usize = 4;
/// When all hosts are gone, the target has forgotten them after so many passes, each a second later.
const PASSES_TO_FORGET: usize = 60;

/// What takes long to get and is kept for the next script: memory and descriptors, and an empty disk. The target that
/// it served and the connections are gone.
struct Workbench {
    stepper: Stepper,
    device: Arc<RamDevice>,
    stuck: Arc<dyn Device>,
    /// A way to the disk past the target.
    queue: Box<dyn Queue>,
    ring: Ring,
    /// What hosts receive into.
    chunk: Box<[u8]>,
}

thread_local! {
    static WORKBENCH: Cell<Option<Workbench>> = const { Cell::new(None) };
}

struct World {
    bench: Workbench,
    target: Arc<Target>,
    now: Fine,
    peers: [Option<Peer>; PEERS],
    model: Model,
    cntlid: u16,
    writes: u32,
    /// Commands whose connection is gone, and for how many passes.
    orphans: Vec<(Kind, usize)>,
    reads: usize,
}

/// Runs a script; how many reads brought what they should.
pub fn run(input: &[u8]) -> usize {
    let bench = WORKBENCH.take().map_or_else(Workbench::new, Workbench::cleared);
    let target = bench.stepper.target().clone();
    let mut world = World {
        bench,
        target,
        now: Fine::from_nanos(1_000_000_000),
        peers: Default::default(),
        model: Model::new(),
        cntlid: 0,
        writes: ZEROS,
        orphans: Vec::new(),
        reads: 0,
    };
    for (peer, op) in Script::new(input) {
        world.act(peer % PEERS, op);
        world.pass();
    }
    world.all_leave();
    let World { bench, reads, .. } = world;
    WORKBENCH.set(Some(bench));
    reads
}

impl Workbench {
    fn new() -> Self {
        let device = RamDevice::new("ram:stateful", BLOCKS * BLOCK as u64, None, false, None).expect("a small disk");
        let device = Arc::new(device);
        let stuck = stuck();
        let stepper = Stepper::new(subsystems(&device, &stuck)).expect("descriptors and memory");
        let mut ring = Ring::of(RingKind::Portable).expect("descriptors");
        let queue = device.open_queue(&mut ring).expect("memory");
        Self { stepper, device, stuck, queue, ring, chunk: vec![0; CHUNK_BYTES].into_boxed_slice() }
    }

    /// As new: an empty disk, and a target that nobody has talked to.
    fn cleared(mut self) -> Self {
        self.stepper = self.stepper.renew(subsystems(&self.device, &self.stuck)).expect("as before");
        let op = BlockOp::WriteZeroes { range: Range { lba: 0, blocks: BLOCKS }, fua: false, deallocate: true };
        let request = Request { tag: 0, op, data: Data::None };
        assert!(self.queue.submit(&mut self.ring, request).is_ok(), "the queue is empty");
        let mut done = Completions::default();
        while done.list.is_empty() {
            self.queue.begin();
            self.queue.poll(&mut self.ring, &mut done);
            self.queue.end();
        }
        assert_eq!(done.list[0].outcome, Ok(()));
        assert_eq!(self.device.used_blocks(), 0, "an empty disk holds no slot");
        self
    }
}

fn subsystems(device: &Arc<RamDevice>, stuck: &Arc<dyn Device>) -> Vec<Subsystem> {
    vec![Subsystem::new(NQN, vec![device.clone(), stuck.clone()])]
}

impl World {
    fn act(&mut self, at: usize, op: Op) {
        match op {
            Op::Open { digests } => {
                self.close(at);
                let stream = self.bench.stepper.connect().expect("a connection");
                self.peers[at] = Some(Peer::open(stream, digests));
            }
            Op::Close { reset } => {
                if !reset && let Some(peer) = &mut self.peers[at] {
                    peer.finish();
                    self.pass();
                }
                self.close(at);
            }
            Op::Time { ticks } => self.now = self.now.plus(TICK * u32::from(ticks)),
            Op::Passes { count } => (0..count).for_each(|_| self.pass()),
            _ => {
                if let Some(peer) = self.peers[at].take() {
                    self.peers[at] = Some(self.talk(peer, op));
                }
            }
        }
    }

    /// What needs a connection.
    fn talk(&mut self, mut peer: Peer, op: Op) -> Peer {
        match op {
            Op::ConnectAdmin { kato } => {
                let sqe = Sqe::connect(0, ADMIN_DEPTH - 1, u32::from(kato) * 100, 0);
                let data = connect_data(0xffff);
                let kind = Kind::Connect { qid: 0, depth: ADMIN_DEPTH.into() };
                peer.command(sqe, data.as_bytes(), 0, kind);
            }
            Op::ConnectIo { qid, depth, flow_control_disabled } => {
                let qid = u16::from(qid % 6);
                let sqe = Sqe::connect(qid, u16::from(depth), 0, u8::from(flow_control_disabled) << 2);
                let data = connect_data(self.cntlid);
                let kind = Kind::Connect { qid, depth: usize::from(depth) + 1 };
                peer.command(sqe, data.as_bytes(), 0, kind);
            }
            Op::Property { which } => {
                peer.command(self::property(which), &[], 0, Kind::Other);
            }
            Op::Read { .. } | Op::Write { .. } | Op::Clear { .. } if peer.is_io => self.io(&mut peer, op),
            Op::Swap { lba, blocks, in_capsule, ago } if peer.is_io => {
                self.swap(&mut peer, place(lba, blocks), in_capsule, u32::from(ago));
            }
            Op::Data { dwords } => peer.data(u32::from(dwords) * 4, |kind, offset, len| match kind {
                Kind::Compare { lba, blocks, number } => {
                    Model::bytes(lba, blocks, number)[offset as usize..][..len as usize].to_vec()
                }
                Kind::Write { lba, blocks, number } if number != ZEROS => {
                    Model::bytes(lba, blocks, number)[offset as usize..][..len as usize].to_vec()
                }
                // The range of a Dataset Management command, at its front.
                Kind::Write { lba, blocks, .. } => {
                    let range = DsmRange::new(lba, blocks as u32);
                    let all = [range.as_bytes(), &[0; 4096]].concat();
                    all[(offset as usize).min(4096)..][..len as usize].to_vec()
                }
                _ => vec![0; len as usize],
            }),
            Op::Any { opcode, nsid, cdw } => {
                if peer.is_io && matches!(opcode & 0x7f, 1 | 4 | 8 | 9 | 0x19) {
                    self.model.taint();
                }
                any(&mut peer, opcode, nsid, cdw);
            }
            Op::Abort { qid, cid } => {
                let (qid, cid) = (u16::from(qid % 6), u16::from(cid));
                let sent = peer.command(Sqe::abort(qid, cid), &[], 0, Kind::Abort { qid, cid });
                if let (true, Some(victim)) = (sent, self.victim(&peer, qid)) {
                    victim.reserved.push(cid);
                }
            }
            Op::Event => {
                peer.command(Sqe::async_event(), &[], 0, Kind::Other);
            }
            Op::Garbage { bytes, seed } => {
                self.model.taint();
                peer.garbage(&(0..bytes).map(|byte| byte.wrapping_mul(seed)).collect::<Vec<_>>());
            }
            Op::Flip { at } => {
                self.model.taint();
                peer.flip_next(at);
            }
            Op::Finish => peer.finish(),
            Op::Reading { on } => peer.reading = on,
            _ => {}
        }
        peer
    }

    fn io(&mut self, peer: &mut Peer, op: Op) {
        if let Op::Read { lba, blocks } | Op::Write { lba, blocks, .. } | Op::Clear { lba, blocks, .. } = op
            && lba & STUCK != 0
        {
            return on_stuck(peer, op, u64::from(lba % 128), u32::from(blocks) + 1);
        }
        let (kind, sent) = match op {
            Op::Read { lba, blocks } => {
                let (lba, blocks) = place(lba, blocks);
                let kind = Kind::Read { lba, blocks };
                (kind, peer.command(Sqe::read(1, lba, blocks as u32), &[], blocks as u32 * BLOCK as u32, kind))
            }
            Op::Write { lba, blocks, in_capsule } => {
                let (lba, blocks) = place(lba, blocks);
                self.writes += 1;
                let kind = Kind::Write { lba, blocks, number: self.writes };
                let sqe = Sqe::write(1, lba, blocks as u32, blocks.is_multiple_of(2));
                let bytes = Model::bytes(lba, blocks, self.writes);
                let capsule = in_capsule && bytes.len() <= IN_CAPSULE_DEFAULT_BYTES as usize;
                let sqe = if capsule { sqe.with_data_in_capsule(bytes.len() as u32) } else { sqe };
                let (data, by_transport) = if capsule { (&bytes[..], 0) } else { (&[][..], bytes.len() as u32) };
                (kind, peer.command(sqe, data, by_transport, kind))
            }
            Op::Clear { lba, blocks, range } => {
                let (lba, blocks) = place(lba, blocks);
                let kind = Kind::Write { lba, blocks, number: ZEROS };
                let (sqe, bytes) = match range {
                    true => (Sqe::dsm(1, 1, true), 16),
                    false => (Sqe::write_zeroes(1, lba, blocks as u32, true, false), 0),
                };
                (kind, peer.command(sqe, &[], bytes, kind))
            }
            _ => return,
        };
        if sent && let Some((lba, blocks, number)) = touched(kind) {
            self.model.start(lba, blocks, number);
        }
    }

    /// A fused pair.
    fn swap(&mut self, peer: &mut Peer, (lba, blocks): (u64, u64), in_capsule: bool, ago: u32) {
        let old = self.writes.saturating_sub(ago);
        self.writes += 1;
        let compare = (Sqe::compare(1, lba, blocks as u32).with_fuse(Fuse::First), old);
        let write = (Sqe::write(1, lba, blocks as u32, false).with_fuse(Fuse::Second), self.writes);
        for (sqe, number) in [compare, write] {
            let kind = match sqe.fuse() {
                Fuse::First => Kind::Compare { lba, blocks, number },
                _ => Kind::Write { lba, blocks, number },
            };
            let bytes = Model::bytes(lba, blocks, number);
            let len = bytes.len() as u32;
            let sent = if in_capsule && len <= IN_CAPSULE_DEFAULT_BYTES {
                peer.command(sqe.with_data_in_capsule(len), &bytes, 0, kind)
            } else {
                peer.command(sqe, &[], len, kind)
            };
            if sent && let Some((lba, blocks, number)) = touched(kind) {
                self.model.start(lba, blocks, number);
            }
        }
    }

    /// One pass of the target; then every host hears what was said.
    fn pass(&mut self) {
        self.now = self.now.plus(Duration::from_micros(1));
        self.bench.stepper.step(self.now).expect("a ring");
        for at in 0..PEERS {
            let Some(peer) = &mut self.peers[at] else { continue };
            let mut done = Vec::new();
            let open = peer.receive(&mut self.bench.chunk, &mut done);
            let clean = peer.clean;
            done.into_iter().for_each(|done| self.ended(at, &done));
            if !clean {
                self.model.taint();
            }
            if !open {
                self.close(at);
            }
        }
        self.orphans.iter_mut().for_each(|orphan| orphan.1 += 1);
        for (kind, _) in self.orphans.extract_if(.., |orphan| orphan.1 >= SETTLED) {
            if let Some((lba, blocks, _)) = touched(kind) {
                self.model.end(lba, blocks, None);
            }
        }
    }

    fn ended(&mut self, at: usize, done: &Done) {
        let well = done.status.is_success();
        match done.kind {
            Kind::Read { lba, blocks } => {
                self.model.end(lba, blocks, None);
                if well {
                    self.model.check(lba, &done.data);
                    self.reads += 1;
                }
            }
            Kind::Compare { lba, blocks, .. } => self.model.end(lba, blocks, None),
            Kind::Write { lba, blocks, number } => self.model.end(lba, blocks, well.then_some(number)),
            Kind::Connect { qid, depth } if well => {
                let cntlid = ConnectResult::from_result(done.result).cntlid;
                if qid == 0 {
                    self.cntlid = cntlid;
                }
                if let Some(peer) = &mut self.peers[at] {
                    (peer.is_io, peer.depth, peer.queue) = (qid != 0, depth, Some((cntlid, qid)));
                }
            }
            Kind::Abort { qid, cid } => self.abort_ended(at, qid, cid, well && done.result & 1 == 0),
            Kind::Connect { .. } | Kind::Other => {}
        }
    }

    /// An Abort is answered: what is aborted has ended so, or will.
    fn abort_ended(&mut self, at: usize, qid: u16, cid: u16, aborted: bool) {
        let Some(admin) = self.peers[at].take() else { return };
        if let Some(victim) = self.victim(&admin, qid)
            && let Some(reserved) = victim.reserved.iter().position(|reserved| *reserved == cid)
        {
            victim.reserved.swap_remove(reserved);
            match victim.pending.get_mut(&cid) {
                Some(pending) => pending.aborted |= aborted,
                None if aborted && victim.clean => {
                    assert_eq!(victim.ends.get(&cid), Some(&Status::ABORT_REQUESTED), "aborted, it says");
                }
                None => {}
            }
        }
        self.peers[at] = Some(admin);
    }

    /// The connection that is a queue of the controller of `admin`, which is not among the others. None if there are
    /// two: one of them is over, and the host does not know which.
    fn victim(&mut self, admin: &Peer, qid: u16) -> Option<&mut Peer> {
        let (cntlid, _) = admin.queue.filter(|queue| queue.1 == 0 && qid != 0)?;
        let mut found = self.peers.iter_mut().flatten().filter(|peer| peer.queue == Some((cntlid, qid)));
        let one = found.next()?;
        found.next().is_none().then_some(one)
    }

    fn close(&mut self, at: usize) {
        if let Some(peer) = self.peers[at].take() {
            self.orphans.extend(peer.pending.into_values().map(|pending| (pending.kind, 0)));
        }
    }

    /// All hosts are gone: nothing of them is left.
    fn all_leave(&mut self) {
        (0..PEERS).for_each(|at| self.close(at));
        for _ in 0..PASSES_TO_FORGET {
            self.now = self.now.plus(Duration::from_secs(1));
            self.pass();
            if self.bench.stepper.connections() == 0 && self.orphans.is_empty() {
                break;
            }
        }
        assert_eq!(self.bench.stepper.connections(), 0, "connections are left");
        assert_eq!(self.target.controller_count(), 0, "controllers are left");
        let held = self.bench.stepper.held();
        assert!(held.is_nothing(), "left over: {held:?}");
    }
}

/// The blocks that a command touches, and what it writes there.
fn touched(kind: Kind) -> Option<(u64, u64, Option<u32>)> {
    match kind {
        Kind::Read { lba, blocks } | Kind::Compare { lba, blocks, .. } => Some((lba, blocks, None)),
        Kind::Write { lba, blocks, number } => Some((lba, blocks, Some(number))),
        Kind::Connect { .. } | Kind::Abort { .. } | Kind::Other => None,
    }
}

/// A disk of which nothing comes back unless it is cancelled.
fn stuck() -> Arc<dyn Device> {
    let spec: Spec = "fault:ram:64KiB,bs=512,rule=any:drop".parse().expect("a device");
    spec.open(&Defaults::default()).expect("a small disk")
}

/// Blocks on the disk, most of them; some ranges end behind it.
fn place(lba: u16, blocks: u8) -> (u64, u64) {
    (u64::from(lba) % (BLOCKS + 4), u64::from(blocks) + 1)
}

fn connect_data(cntlid: u16) -> ConnectData {
    let nqn = |name| Nqn::new(name).expect("a name");
    ConnectData::new([7; 16], cntlid, &nqn(NQN), &nqn(HOST))
}

fn property(which: u8) -> Sqe {
    match which % 5 {
        0 => Sqe::property_set(property::CC, false, Cc::enable().0.into()),
        1 => Sqe::property_set(property::CC, false, Cc::enable().with_en(false).0.into()),
        2 => Sqe::property_set(property::CC, false, Cc::enable().with_normal_shutdown().0.into()),
        3 => Sqe::property_get(property::CSTS, false),
        _ => Sqe::property_get(property::CAP, true),
    }
}

/// A command to the disk that is stuck.
fn on_stuck(peer: &mut Peer, op: Op, lba: u64, blocks: u32) {
    let (sqe, bytes) = match op {
        Op::Read { .. } => (Sqe::read(2, lba, blocks), blocks * BLOCK as u32),
        Op::Write { .. } => (Sqe::write(2, lba, blocks, false), blocks * BLOCK as u32),
        // Some ranges, of zeros.
        Op::Clear { range: true, .. } => (Sqe::dsm(2, blocks, true), blocks * 16),
        _ => (Sqe::write_zeroes(2, lba, blocks, true, false), 0),
    };
    peer.command(sqe, &[], bytes, Kind::Other);
}

/// A command of any kind; one that the target knows has a chance to be right.
fn any(peer: &mut Peer, opcode: u8, nsid: u8, cdw: [u8; 4]) {
    let [a, b, c, d] = cdw;
    let (sqe, bytes) = match opcode % 8 {
        0 => (Sqe::identify(a, nsid.into(), b, c.into()), 4096),
        1 => {
            let (offset, bytes) = (u64::from(b) * 4, (u32::from(c) + 1) * 4);
            let nsid = if nsid == 1 { 1 } else { u32::MAX };
            (Sqe::get_log(LogRequest { lid: a, lsp: d, rae: d & 1 == 1, offset, bytes, nsid }), bytes)
        }
        2 => (Sqe::get_features(a, nsid.into()), 0),
        3 => (Sqe::set_features(a, nsid.into(), u32::from_le_bytes([b, c, d, 0])), 0),
        4 => (Sqe::keep_alive(), 0),
        5 => (Sqe::disconnect(), 0),
        _ => {
            let mut sqe = Sqe::flush(nsid.into());
            sqe.opcode = opcode;
            sqe.cdw10 = u32::from_le_bytes(cdw).into();
            (sqe, u32::from(d) * 4)
        }
    };
    peer.command(sqe, &[], bytes, Kind::Other);
}
