//! A connection that dies, or an association that is reset, at every step of a pair: nothing is left behind, and nobody
//! gets at the blocks while the device has something of it. On two reactors that are stepped by hand, with a device
//! that keeps what it has until it is let go.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use block::{Completion, Completions, Data, Device, Features, Identity, Info, Op, Queue, Refused, Request, Returned};
use machine::clock::Fine;
use machine::reactor::Arm;
use machine::ring::Ring;
use qpair_nvmf::{Stepper, Subsystem};
use wire::nvme::{Cc, ConnectResult, Fuse, Sqe, Status, property};
use zerocopy::IntoBytes;

use crate::common::{ANY_CONTROLLER, NQN, connect_data};
use crate::peer::{Done, Kind, Peer};

const REACTORS: usize = 2;
const BLOCK: [u8; 512] = [7; 512];

/// What the test and the queues share.
#[derive(Default)]
struct Gate {
    /// So many requests may still come back.
    permits: AtomicUsize,
    /// What the device has.
    has: Mutex<Vec<Op>>,
}

impl Gate {
    fn has(&self) -> Vec<Op> {
        self.has.lock().expect("no panic").clone()
    }

    fn let_go(&self, requests: usize) {
        self.permits.store(requests, Ordering::Relaxed);
    }
}

struct Gated(Info, Arc<Gate>);

struct GatedQueue(VecDeque<(Op, Completion)>, Arc<Gate>);

impl Device for Gated {
    fn info(&self) -> &Info {
        &self.0
    }

    fn open_queue(&self, _ring: &mut Ring) -> io::Result<Box<dyn Queue>> {
        Ok(Box::new(GatedQueue(VecDeque::new(), self.1.clone())))
    }
}

impl Queue for GatedQueue {
    fn submit<'a>(&mut self, _ring: &mut Ring, request: Request<'a>) -> Result<(), Refused<'a>> {
        let data = match request.data {
            Data::Carried(buf) => Returned::Carried(buf),
            _ => Returned::None,
        };
        self.1.has.lock().expect("no panic").push(request.op);
        self.0.push_back((request.op, Completion { tag: request.tag, outcome: Ok(()), data }));
        Ok(())
    }

    fn poll(&mut self, _ring: &mut Ring, out: &mut Completions) {
        let permits = self.1.permits.load(Ordering::Relaxed);
        let count = permits.min(self.0.len());
        self.1.let_go(permits - count);
        for (op, completion) in self.0.drain(..count) {
            let mut has = self.1.has.lock().expect("no panic");
            let at = has.iter().position(|other| *other == op).expect("it was submitted");
            has.remove(at);
            out.list.push(completion);
        }
    }

    fn in_flight(&self) -> usize {
        self.0.len()
    }

    fn arm(&mut self, _ring: &mut Ring) -> Arm {
        Arm::Busy
    }
}

fn device(gate: &Arc<Gate>, uuid: u128) -> Arc<dyn Device> {
    let info = Info {
        name: "gated".to_owned(),
        kind: "gated",
        block_bytes: 512,
        blocks: 2048,
        preferred_blocks: 1,
        max_transfer_bytes: 128 << 10,
        piece_bytes: 1,
        atomic_blocks: 1,
        features: Features { compare: true, ..Features::default() },
        identity: Identity::from_uuid(uuid::Uuid::from_u128(uuid)),
    };
    Arc::new(Gated(info, gate.clone()))
}

/// Two reactors, and some connections.
struct World {
    stepper: Stepper,
    gate: Arc<Gate>,
    now: Fine,
    peers: Vec<Option<Peer>>,
    done: Vec<(usize, Done)>,
}

impl World {
    fn new(uuid: u128) -> Self {
        let gate = Arc::new(Gate::default());
        let subsystem = Subsystem::new(NQN, vec![device(&gate, uuid)]);
        let stepper = Stepper::with_reactors(vec![subsystem], REACTORS).expect("memory and descriptors");
        Self { stepper, gate, now: Fine::from_nanos(1_000_000_000), peers: Vec::new(), done: Vec::new() }
    }

    fn step(&mut self) {
        self.now = self.now.plus(Duration::from_millis(10));
        self.stepper.step(self.now).expect("a ring");
        for (at, place) in self.peers.iter_mut().enumerate() {
            let (mut chunk, mut done) = ([0; 4096], Vec::new());
            if place.as_mut().is_some_and(|peer| !peer.receive(&mut chunk, &mut done)) {
                *place = None;
            }
            self.done.extend(done.into_iter().map(|done| (at, done)));
        }
    }

    fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        for _ in 0..200 {
            if is_so(self) {
                return;
            }
            self.step();
        }
        panic!("in vain: {what}");
    }

    /// Enough steps for whatever goes by itself.
    fn settle(&mut self) {
        (0..30).for_each(|_| self.step());
    }

    /// The end of the only command of a connection.
    fn end(&mut self, at: usize) -> Done {
        self.until("an answer", |world| world.done.iter().any(|(from, _)| *from == at));
        let place = self.done.iter().position(|(from, _)| *from == at).expect("it came");
        self.done.remove(place).1
    }

    fn open(&mut self, reactor: usize) -> usize {
        let stream = self.stepper.connect_to(reactor).expect("a connection");
        self.peers.push(Some(Peer::open(stream, 0)));
        self.settle();
        self.peers.len() - 1
    }

    fn send(&mut self, at: usize, sqe: Sqe, capsule: &[u8], by_transport: u32) {
        let sqe = if capsule.is_empty() { sqe } else { sqe.with_data_in_capsule(capsule.len() as u32) };
        let peer = self.peers[at].as_mut().expect("it is open");
        assert!(peer.command(sqe, capsule, by_transport, Kind::Other));
    }

    fn connect(&mut self, reactor: usize, queue: u16, cntlid: u16) -> (usize, u16) {
        let at = self.open(reactor);
        let data = connect_data(cntlid);
        // The Connect's own descriptor says where its data is.
        let peer = self.peers[at].as_mut().expect("it is open");
        assert!(peer.command(Sqe::connect(queue, 31, 0, 0), data.as_bytes(), 0, Kind::Other));
        let done = self.end(at);
        assert!(done.status.is_success(), "{}", done.status);
        let peer = self.peers[at].as_mut().expect("it is open");
        (peer.is_io, peer.depth) = (queue > 0, 32);
        (at, ConnectResult::from_result(done.result).cntlid)
    }

    /// An enabled controller with an I/O queue: both connections.
    fn host(&mut self, reactor: usize) -> (usize, usize) {
        let (admin, cntlid) = self.connect(0, 0, ANY_CONTROLLER);
        self.send(admin, Sqe::property_set(property::CC, false, Cc::enable().0.into()), &[], 0);
        assert!(self.end(admin).status.is_success());
        self.settle();
        (admin, self.connect(reactor, 1, cntlid).0)
    }

    fn write(&mut self, at: usize) {
        self.send(at, Sqe::write(1, 0, 1, false), &BLOCK, 0);
    }

    fn compares(&self) -> usize {
        self.gate.has().iter().filter(|op| matches!(op, Op::Compare(_))).count()
    }

    fn writes(&self) -> usize {
        self.gate.has().iter().filter(|op| matches!(op, Op::Write { .. })).count()
    }
}

/// How far a pair gets before its connection dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first half has come.
    Half,
    /// Both have come, and the second is asked for its data.
    Asked,
    /// Its blocks are asked for, while somebody else's write is at the device.
    Waiting,
    /// The device compares.
    Comparing,
    /// The device writes.
    Writing,
}

const PHASES: [Phase; 5] = [Phase::Half, Phase::Asked, Phase::Waiting, Phase::Comparing, Phase::Writing];

/// Takes a pair so far. `other` has a write at the device if that is what it waits for.
fn bring(world: &mut World, io: usize, other: usize, phase: Phase) {
    if phase == Phase::Waiting {
        world.write(other);
        world.until("a write at the device", |world| world.writes() == 1);
    }
    world.send(io, Sqe::compare(1, 0, 1).with_fuse(Fuse::First), &BLOCK, 0);
    let write = Sqe::write(1, 0, 1, false).with_fuse(Fuse::Second);
    match phase {
        Phase::Half => {}
        Phase::Asked => world.send(io, write, &[], 512),
        _ => world.send(io, write, &BLOCK, 0),
    }
    world.settle();
    match phase {
        Phase::Half | Phase::Asked => assert_eq!(world.gate.has(), []),
        Phase::Waiting => assert_eq!((world.compares(), world.writes()), (0, 1), "the blocks are not free yet"),
        Phase::Comparing => assert_eq!((world.compares(), world.writes()), (1, 0)),
        Phase::Writing => {
            world.gate.let_go(1);
            world.until("the pair's write", |world| (world.compares(), world.writes()) == (0, 1));
            assert!(world.end(io).status.is_success(), "the compare is answered");
        }
    }
}

fn dies(reactor: usize, uuid: u128, phase: Phase, by_reset: bool) {
    let mut world = World::new(uuid);
    let (admin, io) = world.host(reactor);
    let others = [world.host(0).1, world.host(1).1];
    bring(&mut world, io, others[1 - reactor], phase);
    if by_reset {
        world.send(admin, Sqe::property_set(property::CC, false, Cc::enable().with_en(false).0.into()), &[], 0);
        world.until("the end of the queue", |world| world.peers[io].is_none());
    } else {
        world.peers[io] = None;
    }
    world.settle();
    let at_device = world.gate.has().len();
    // Everybody writes to these blocks.
    others.into_iter().for_each(|other| world.write(other));
    world.settle();
    match phase {
        Phase::Half | Phase::Asked => assert_eq!(world.writes(), 2, "nothing is held back"),
        Phase::Waiting => assert_eq!(world.writes(), 1, "a range that is asked for is held back until it is released"),
        Phase::Comparing | Phase::Writing => {
            assert_eq!(world.gate.has().len(), at_device, "they wait for what the device has");
        }
    }
    world.gate.let_go(100);
    let expected = 2 + usize::from(phase == Phase::Waiting);
    for _ in 0..expected {
        world.until("the writes", |world| !world.done.iter().all(|(from, _)| *from == admin));
        let at = world.done.iter().position(|(from, _)| *from != admin).expect("it came");
        assert_eq!(world.done.remove(at).1.status, Status::SUCCESS);
    }
    world.until("nothing is left behind", |world| world.stepper.held().exclusive == 0);
    assert_eq!(world.gate.has(), []);
}

#[test]
fn nothing_is_left_of_a_connection_that_dies() {
    for uuid in 1..4 {
        for reactor in 0..REACTORS {
            PHASES.into_iter().for_each(|phase| dies(reactor, uuid, phase, false));
        }
    }
}

#[test]
fn nothing_is_left_of_an_association_that_is_reset() {
    for uuid in 1..4 {
        for reactor in 0..REACTORS {
            PHASES.into_iter().for_each(|phase| dies(reactor, uuid, phase, true));
        }
    }
}

/// A first half that nothing follows does not keep its buffer for ever.
#[test]
fn a_first_half_alone_is_answered_in_the_end() {
    let mut world = World::new(1);
    let io = world.host(1).1;
    world.send(io, Sqe::compare(1, 0, 1).with_fuse(Fuse::First), &BLOCK, 0);
    world.settle();
    assert!(world.done.is_empty() && world.stepper.held().exclusive > 0);
    world.now = world.now.plus(qpair_nvmf::limits::STALLED);
    assert_eq!(world.end(io).status, Status::ABORTED_MISSING_FUSED);
    assert_eq!(world.stepper.held().exclusive, 0);
    world.send(io, Sqe::write(1, 0, 1, false).with_fuse(Fuse::Second), &BLOCK, 0);
    assert_eq!(world.end(io).status, Status::ABORTED_MISSING_FUSED);
}

/// Two reactors with pairs on the same blocks, from both sides at once: one after the other.
#[test]
fn pairs_of_two_reactors_take_turns() {
    for uuid in 1..4 {
        let mut world = World::new(uuid);
        let hosts = [world.host(0).1, world.host(1).1];
        for io in hosts {
            for _ in 0..3 {
                world.send(io, Sqe::compare(1, 0, 1).with_fuse(Fuse::First), &BLOCK, 0);
                world.send(io, Sqe::write(1, 0, 1, false).with_fuse(Fuse::Second), &BLOCK, 0);
            }
        }
        for request in 0..12 {
            world.settle();
            assert_eq!(world.gate.has().len(), 1, "one at a time");
            assert_eq!(world.compares(), 1 - request % 2, "a write behind each compare");
            world.gate.let_go(1);
            world.until("it is back", |world| world.gate.permits.load(Ordering::Relaxed) == 0);
        }
        world.until("all answers", |world| world.done.len() == 12);
        assert!(world.done.iter().all(|(_, done)| done.status.is_success()));
        world.until("nothing is left behind", |world| world.stepper.held().exclusive == 0);
    }
}
