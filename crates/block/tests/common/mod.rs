//! One harness for every device: a reactor's pass done by hand, and a model to compare a device with.

#![allow(dead_code, unreachable_pub, reason = "every test program has this file of its own and uses a part of it")]

pub mod sweep;

use std::time::Duration;

use machine::region::{Buf, Bufs, Pool};
use machine::ring::{Ring, RingKind, Wait};
use proptest::prelude::*;
use qpair_block::limits::MAX_PIECES;
use qpair_block::{Completion, Completions, Data, Device, Failure, Op, Queue, Range, Refused, Request, Returned};
use wire::nvme::Status;

/// Largest transfer that the tests make; some are unaligned and touch many slots.
pub const MAX_BLOCKS: u64 = 40;

/// How a request's bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In a buffer of the request.
    Carried,
    /// In several, cut anywhere by this seed.
    Scattered(u64),
    /// Lent by the device, or as they lie.
    Lent,
    /// Received into slots of the device, where it has some to give; else as above.
    Landed,
}

/// A queue of a device, and what a reactor has around it.
pub struct Rig {
    pub ring: Ring,
    pub queue: Box<dyn Queue>,
    pub pool: Pool,
    pub out: Completions,
    piece_bytes: usize,
}

/// A ring of the kind that this run of the tests asks for: see CONTRIBUTING.md.
pub fn ring() -> Ring {
    let kind = std::env::var("QPAIR_TEST_RING");
    Ring::of(kind.map_or(RingKind::Auto, |kind| kind.parse().expect("QPAIR_TEST_RING"))).expect("a ring")
}

impl Rig {
    pub fn new(device: &dyn Device) -> Self {
        let mut ring = ring();
        let queue = device.open_queue(&mut ring).expect("a queue");
        let pool = Pool::anonymous(device.info().max_transfer_bytes as usize, 300).expect("memory");
        let piece_bytes = device.info().piece_bytes as usize;
        Self { ring, queue, pool, out: Completions::default(), piece_bytes }
    }

    /// One pass around `submit`: what is given back stays at the front.
    pub fn pass(&mut self, requests: &mut Vec<Request<'_>>) {
        self.queue.begin();
        while let Some(request) = requests.pop() {
            if let Err(Refused(request)) = self.queue.submit(&mut self.ring, request) {
                requests.push(request);
                break;
            }
        }
        self.queue.kick(&mut self.ring);
        self.queue.poll(&mut self.ring, &mut self.out);
        self.queue.end();
    }

    /// Does one request and waits for its end: the outcome, and the bytes of a read.
    pub fn run(&mut self, op: Op, data: Data<'_>) -> (Result<(), Failure>, Option<Vec<u8>>) {
        let mut requests = vec![Request { tag: 77, op, data }];
        for _ in 0..10_000 {
            self.pass(&mut requests);
            if let Some(Completion { tag, outcome, data }) = self.out.list.pop() {
                assert!(tag == 77 && self.out.list.is_empty() && requests.is_empty());
                assert_eq!(self.queue.in_flight(), 0);
                return (outcome, self.bytes_of(data));
            }
            self.ring.enter(Wait::For(Duration::from_millis(1))).expect("waits");
        }
        panic!("{op:?} does not end");
    }

    fn bytes_of(&mut self, data: Returned) -> Option<Vec<u8>> {
        let bytes = match data {
            Returned::None => None,
            Returned::Carried(buf) => Some(buf.to_vec()),
            Returned::Scattered(pieces) => Some(Bufs::Many(pieces).to_vec()),
            Returned::Lent(pieces) => Some(self.out.lent.drain(..pieces).flat_map(|piece| piece.to_vec()).collect()),
        };
        assert!(self.out.lent.is_empty());
        bytes
    }

    pub fn carried(&self, bytes: &[u8]) -> Data<'static> {
        let mut buf = self.pool.take().expect("one request at a time");
        buf.set_len(bytes.len());
        buf.copy_from_slice(bytes);
        Data::Carried(buf)
    }

    /// A list of buffers of these lengths, with the bytes in them.
    pub fn listed(&self, bytes: &[u8], lengths: &[usize]) -> Vec<Buf> {
        let piece = |&len: &usize| {
            let mut buf = self.pool.take().expect("one request at a time");
            buf.set_len(len);
            buf
        };
        let mut bufs = Bufs::Many(lengths.iter().map(piece).collect());
        bufs.put(0, bytes);
        bufs.many().expect("it is one")
    }

    /// Bytes in several buffers, up to as many as there may be, of which some may be empty.
    pub fn scattered(&self, bytes: &[u8], seed: u64) -> Data<'static> {
        Data::Scattered(self.listed(bytes, &cuts(bytes.len(), self.piece_bytes, seed)))
    }

    pub fn read(&mut self, lba: u64, bytes: usize, blocks: u64, way: Way) -> Result<Vec<u8>, Failure> {
        let data = match way {
            // Old bytes in the buffer, so that a read that leaves some of them shows.
            Way::Carried => self.carried(&vec![0xA5; bytes]),
            Way::Scattered(seed) => self.scattered(&vec![0xA5; bytes], seed),
            Way::Lent | Way::Landed => Data::Lend,
        };
        let (outcome, bytes) = self.run(Op::Read(Range { lba, blocks }), data);
        outcome.map(|()| bytes.expect("a read has bytes"))
    }

    pub fn write(&mut self, lba: u64, blocks: u64, bytes: &[u8], fua: bool, way: Way) -> Result<(), Failure> {
        let op = Op::Write { range: Range { lba, blocks }, fua };
        match way {
            Way::Carried => {
                let data = self.carried(bytes);
                self.run(op, data).0
            }
            Way::Scattered(seed) => {
                let data = self.scattered(bytes, seed);
                self.run(op, data).0
            }
            Way::Lent => self.run(op, Data::Inline(bytes)).0,
            Way::Landed => match self.queue.land(Range { lba, blocks }) {
                Some(mut landing) => {
                    landing.write(0, bytes);
                    self.run(op, Data::Landed(landing)).0
                }
                None => self.run(op, Data::Inline(bytes)).0,
            },
        }
    }
}

/// The lengths of pieces of so many bytes, each a multiple of `unit`: mostly some, sometimes one or the most.
fn cuts(bytes: usize, unit: usize, seed: u64) -> Vec<usize> {
    let mut state = seed;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let count = [1, MAX_PIECES, 2 + random(6), 2 + random(MAX_PIECES - 2)][random(4)];
    let mut ends: Vec<usize> = (1..count).map(|_| random(bytes / unit + 1) * unit).chain([bytes]).collect();
    ends.sort_unstable();
    let mut start = 0;
    ends.into_iter().map(|end| end - std::mem::replace(&mut start, end)).collect()
}

/// So many cases; a failing one is printed, not kept in a file, as a test program has no place for it.
pub fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// One step of a random history.
#[derive(Clone, Debug)]
pub enum Step {
    Read {
        range: Range,
        way: Way,
    },
    Write {
        range: Range,
        way: Way,
        fua: bool,
        seed: u8,
    },
    WriteZeroes {
        range: Range,
        fua: bool,
        deallocate: bool,
    },
    Deallocate {
        range: Range,
    },
    /// With the bytes that are there, or with one that differs.
    Compare {
        range: Range,
        way: Way,
        differs: Option<usize>,
    },
    Verify {
        range: Range,
    },
    WriteUncorrectable {
        range: Range,
    },
    Copy {
        to: u64,
        sources: Vec<Range>,
        fua: bool,
    },
    Flush,
    Reopen,
}

/// Random histories on a device of so many blocks.
pub fn histories(blocks: u64, steps: usize) -> impl Strategy<Value = Vec<Step>> {
    let range =
        move || (0..blocks, 1..=MAX_BLOCKS).prop_map(move |(lba, len)| Range { lba, blocks: len.min(blocks - lba) });
    let wide = (0..blocks, 1..=blocks).prop_map(move |(lba, len)| Range { lba, blocks: len.min(blocks - lba) });
    let wide2 = wide.clone();
    let way =
        || prop_oneof![Just(Way::Carried), Just(Way::Lent), Just(Way::Landed), any::<u64>().prop_map(Way::Scattered)];
    let step = prop_oneof![
        6 => (range(), way()).prop_map(|(range, way)| Step::Read { range, way }),
        6 => (range(), way(), any::<bool>(), any::<u8>())
            .prop_map(|(range, way, fua, seed)| Step::Write { range, way, fua, seed }),
        2 => (prop_oneof![range().boxed(), wide.clone().boxed()], any::<bool>(), any::<bool>())
            .prop_map(|(range, fua, deallocate)| Step::WriteZeroes { range, fua, deallocate }),
        1 => prop_oneof![range().boxed(), wide.boxed()].prop_map(|range| Step::Deallocate { range }),
        2 => (range(), way(), proptest::option::of(0..1_000_000usize))
            .prop_map(|(range, way, differs)| Step::Compare { range, way, differs }),
        1 => wide2.prop_map(|range| Step::Verify { range }),
        1 => range().prop_map(|range| Step::WriteUncorrectable { range }),
        3 => (0..blocks, proptest::collection::vec(range(), 1..5), any::<bool>())
            .prop_map(|(to, sources, fua)| Step::Copy { to, sources, fua }),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..steps)
}

/// What a device should hold.
pub struct Model {
    bytes: Vec<u8>,
    block_bytes: usize,
    /// Blocks that cannot be read.
    bad: Vec<bool>,
    /// Writes vanish.
    forgets: bool,
    /// It makes blocks unreadable.
    pub uncorrectable: bool,
}

impl Model {
    pub fn new(device: &dyn Device, forgets: bool) -> Self {
        let info = device.info();
        let (bytes, bad) = (vec![0; info.bytes() as usize], vec![false; info.blocks as usize]);
        let uncorrectable = info.features.write_uncorrectable;
        Self { bytes, bad, block_bytes: info.block_bytes as usize, forgets, uncorrectable }
    }

    /// What a read of the range gives.
    fn read(&self, range: Range) -> Result<Vec<u8>, Failure> {
        self.readable(range)?;
        let from = range.lba as usize * self.block_bytes;
        Ok(self.bytes[from..from + range.blocks as usize * self.block_bytes].to_vec())
    }

    fn readable(&self, range: Range) -> Result<(), Failure> {
        let bad = self.bad[range.lba as usize..(range.lba + range.blocks) as usize].contains(&true);
        if bad { Err(Failure::Unreadable) } else { Ok(()) }
    }

    /// The range gets these bytes, unless the device forgets them.
    fn write(&mut self, range: Range, bytes: &[u8]) {
        self.mark(range, false);
        if !self.forgets {
            self.part(range).copy_from_slice(bytes);
        }
    }

    fn mark(&mut self, range: Range, bad: bool) {
        self.bad[range.lba as usize..(range.lba + range.blocks) as usize].fill(bad);
    }

    fn part(&mut self, range: Range) -> &mut [u8] {
        let from = range.lba as usize * self.block_bytes;
        &mut self.bytes[from..from + range.blocks as usize * self.block_bytes]
    }
}

/// Plays a history on a device and on the model; every read, and the whole at the end, must agree.
pub fn play(device: &dyn Device, model: &mut Model, history: &[Step]) {
    let features = device.info().features;
    let block_bytes = device.info().block_bytes as usize;
    let mut rig = Rig::new(device);
    let possible = |way| match way {
        Way::Lent | Way::Landed if !features.lends => Way::Carried,
        way => way,
    };
    for step in history {
        match *step {
            Step::Read { range, way } => {
                let bytes = range.blocks as usize * block_bytes;
                let found = rig.read(range.lba, bytes, range.blocks, possible(way));
                assert!(named(found) == model.read(range), "{step:?} reads something else");
            }
            Step::Write { range, way, fua, seed } => {
                let bytes = pattern(seed, range.blocks as usize * block_bytes);
                rig.write(range.lba, range.blocks, &bytes, fua, possible(way)).expect("a write");
                model.write(range, &bytes);
            }
            Step::WriteZeroes { range, fua, deallocate } => {
                let (outcome, _) = rig.run(Op::WriteZeroes { range, fua, deallocate }, Data::None);
                assert_eq!(outcome, Ok(()));
                model.part(range).fill(0);
                model.mark(range, false);
            }
            Step::Compare { range, way, differs } => play_compare(&mut rig, model, range, possible(way), differs),
            Step::Verify { range } => {
                assert_eq!(named(rig.run(Op::Verify(range), Data::None).0), model.readable(range), "{step:?}");
            }
            Step::WriteUncorrectable { range } => {
                let (outcome, _) = rig.run(Op::WriteUncorrectable(range), Data::None);
                if model.uncorrectable {
                    model.mark(range, true);
                    assert_eq!(outcome, Ok(()));
                } else {
                    assert_eq!(outcome, Err(Failure::NotSupported));
                }
            }
            Step::Copy { to, ref sources, fua } => play_copy(&mut rig, model, to, sources, fua),
            // Without the promise of zeros, what is read afterwards cannot be compared.
            Step::Deallocate { .. } if !features.zeros_after_deallocate => {}
            Step::Deallocate { range } => {
                assert_eq!(rig.run(Op::Deallocate(range), Data::None).0, Ok(()));
                model.part(range).fill(0);
                model.mark(range, false);
            }
            Step::Flush => assert_eq!(rig.run(Op::Flush, Data::None).0, Ok(())),
            Step::Reopen => rig = Rig::new(device),
        }
        assert!(device.used_blocks() <= device.info().blocks);
    }
    let (blocks, most) = (device.info().blocks, device.info().max_transfer_bytes as usize / block_bytes);
    for lba in (0..blocks).step_by(most) {
        let range = Range { lba, blocks: (most as u64).min(blocks - lba) };
        let bytes = range.blocks as usize * block_bytes;
        let found = rig.read(lba, bytes, range.blocks, Way::Carried);
        assert!(named(found) == model.read(range), "at the end: {range:?}");
    }
}

/// A compare with the bytes of the model, of which one may be changed.
fn play_compare(rig: &mut Rig, model: &mut Model, range: Range, way: Way, differs: Option<usize>) {
    let mut bytes = model.part(range).to_vec();
    if let Some(at) = differs {
        let at = at % bytes.len();
        bytes[at] ^= 1;
    }
    let same = if differs.is_some() { Err(Failure::Miscompare) } else { Ok(()) };
    let data = match way {
        Way::Carried => rig.carried(&bytes),
        Way::Scattered(seed) => rig.scattered(&bytes, seed),
        Way::Lent | Way::Landed => Data::Inline(&bytes),
    };
    let found = rig.run(Op::Compare(range), data).0;
    assert_eq!(named(found), model.readable(range).and(same), "{range:?} by {way:?}, {differs:?}");
}

/// A copy, on the device and on the model; one that would not fit or overlap is refused.
fn play_copy(rig: &mut Rig, model: &mut Model, to: u64, sources: &[Range], fua: bool) {
    let range = Range { lba: to, blocks: sources.iter().map(|source| source.blocks).sum() };
    let (outcome, _) = rig.run(Op::Copy { range, fua }, Data::Sources(sources));
    let expected = if range.lba + range.blocks > model.bad.len() as u64 {
        Err(Failure::OutOfRange)
    } else if sources.iter().any(|source| source.overlaps(range)) {
        Err(Failure::Overlap)
    } else {
        sources.iter().try_for_each(|source| model.readable(*source))
    };
    let outcome = named(outcome);
    assert_eq!(outcome, expected, "{sources:?} to {to}");
    if outcome.is_ok() {
        let bytes: Vec<u8> = sources.iter().flat_map(|source| model.part(*source).to_vec()).collect();
        model.write(range, &bytes);
    }
}

/// What a remote device says with a status, a device here says by a name.
fn named<T>(found: Result<T, Failure>) -> Result<T, Failure> {
    found.map_err(|failure| match failure {
        Failure::Device(status) if status.same_code(Status::UNRECOVERED_READ_ERROR) => Failure::Unreadable,
        failure => failure,
    })
}

/// Bytes that differ from block to block and from seed to seed.
pub fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|i| seed.wrapping_add((i / 512) as u8).wrapping_mul(31) ^ i as u8).collect()
}

/// What every device must say about requests that cannot be done.
pub fn refuses_what_is_wrong(device: &dyn Device) {
    let info = device.info();
    let (block, blocks) = (info.block_bytes as usize, info.blocks);
    let mut rig = Rig::new(device);
    assert_eq!(rig.read(blocks, block, 1, Way::Carried), Err(Failure::OutOfRange));
    assert_eq!(rig.read(u64::MAX, block, 1, Way::Carried), Err(Failure::OutOfRange));
    assert_eq!(rig.read(0, 2 * block, 1, Way::Carried), Err(Failure::BadTransfer));
    assert_eq!(rig.read(0, 0, 0, Way::Carried), Err(Failure::BadTransfer));
    let (outcome, _) = rig.run(Op::Read(Range { lba: 0, blocks: 1 }), Data::None);
    assert_eq!(outcome, Err(Failure::BadTransfer));
    refuses_wrong_lists(&mut rig, info.piece_bytes as usize, block);
    let (outcome, _) = rig.run(Op::Deallocate(Range { lba: blocks - 1, blocks: 2 }), Data::None);
    assert_eq!(outcome, Err(if info.features.read_only { Failure::ReadOnly } else { Failure::OutOfRange }));
    if !info.features.lends {
        assert_eq!(rig.read(0, block, 1, Way::Lent), Err(Failure::BadTransfer));
        let wrong = if info.features.read_only { Failure::ReadOnly } else { Failure::BadTransfer };
        assert_eq!(rig.write(0, 1, &vec![0; block], false, Way::Lent), Err(wrong));
    }
    assert_eq!(rig.pool.free(), 300, "every buffer came back");
}

/// Scatter lists that are too short, too long, of too many pieces or of none are refused, and come back.
fn refuses_wrong_lists(rig: &mut Rig, piece: usize, block: usize) {
    let (range, all) = (Range { lba: 0, blocks: 4 }, 4 * block);
    let mut wrong: Vec<Vec<usize>> = vec![vec![], vec![all - piece], vec![all, piece], vec![0, all + piece, 0]];
    wrong.push([&[0; MAX_PIECES][..], &[all]].concat());
    if piece > 1 {
        wrong.push(vec![piece / 2, all - piece / 2]);
    }
    for lengths in wrong {
        let data = Data::Scattered(rig.listed(&[], &lengths));
        assert_eq!(rig.run(Op::Read(range), data).0, Err(Failure::BadTransfer), "{lengths:?}");
    }
    let data = Data::Scattered(rig.listed(&[], &[all]));
    assert_eq!(rig.run(Op::Flush, data).0, Err(Failure::BadTransfer), "a flush has no data");
}

/// A history all at once, cancelled while it is in flight: every request ends once, as if not cancelled or as
/// cancelled, and every buffer is back; each block is as it was or as some request left it. Twice, for what one leaves
/// to the next.
pub fn drains(device: &dyn Device) {
    let (block, blocks) = (device.info().block_bytes as usize, device.info().blocks);
    let mut rig = Rig::new(device);
    for round in 1..3_u8 {
        let mut ended = [false; 200];
        let mut taken = 0;
        rig.queue.begin();
        for tag in 0..200 {
            let range = Range { lba: tag % (blocks - 8), blocks: 4 };
            let bytes = vec![round; 4 * block];
            let (op, data) = match tag % 5 {
                0 => (Op::Read(range), rig.carried(&bytes)),
                1 => (Op::Write { range, fua: tag % 2 == 0 }, rig.carried(&bytes)),
                2 => (Op::WriteZeroes { range, fua: false, deallocate: true }, Data::None),
                3 => (Op::Deallocate(Range { lba: 0, blocks }), Data::None),
                _ => (Op::Flush, Data::None),
            };
            match rig.queue.submit(&mut rig.ring, Request { tag, op, data }) {
                Ok(()) => taken += 1,
                Err(Refused(_)) => ended[tag as usize] = true,
            }
            if tag == 100 {
                rig.queue.kick(&mut rig.ring);
            }
        }
        assert!(taken > 10);
        rig.queue.cancel_all(&mut rig.ring);
        for _ in 0..10_000 {
            rig.queue.kick(&mut rig.ring);
            rig.queue.poll(&mut rig.ring, &mut rig.out);
            rig.queue.end();
            for Completion { tag, outcome, .. } in rig.out.list.drain(..) {
                assert!(matches!(outcome, Ok(()) | Err(Failure::Cancelled)), "{outcome:?}");
                assert!(!std::mem::replace(&mut ended[tag as usize], true), "{tag} ended twice");
            }
            if rig.queue.in_flight() == 0 {
                break;
            }
            rig.ring.enter(Wait::For(Duration::from_millis(1))).expect("waits");
            rig.queue.begin();
        }
        assert_eq!((rig.queue.in_flight(), rig.pool.free()), (0, 300));
        assert!(!ended.contains(&false), "a request was lost");
        for lba in 0..blocks {
            let bytes = rig.read(lba, block, 1, Way::Carried).expect("the queue works as before");
            assert!(bytes.iter().all(|&byte| byte == bytes[0] && byte <= round), "block {lba} is torn, or of nobody");
        }
    }
    rig.queue.close(&mut rig.ring);
}

/// More requests than the queue takes at once: all end, none is lost or done twice, and the queue is bounded.
pub fn bounded(device: &dyn Device, requests: u64) {
    let mut rig = Rig::new(device);
    let mut waiting: Vec<u64> = (0..requests).collect();
    let mut ended = vec![false; requests as usize];
    let mut refused = false;
    while ended.contains(&false) {
        rig.queue.begin();
        while let Some(&tag) = waiting.last() {
            let data = if device.info().features.lends {
                Data::Lend
            } else if let Some(mut buf) = rig.pool.take() {
                buf.set_len(device.info().block_bytes as usize);
                Data::Carried(buf)
            } else {
                break;
            };
            let op = Op::Read(Range { lba: tag % 8, blocks: 1 });
            if let Err(Refused(request)) = rig.queue.submit(&mut rig.ring, Request { tag, op, data }) {
                assert!(request.tag == tag && request.op == op);
                refused = true;
                break;
            }
            waiting.pop();
        }
        rig.queue.kick(&mut rig.ring);
        rig.queue.poll(&mut rig.ring, &mut rig.out);
        rig.out.lent.clear();
        for completion in rig.out.list.drain(..) {
            assert_eq!(completion.outcome, Ok(()));
            assert!(!std::mem::replace(&mut ended[completion.tag as usize], true), "{} ended twice", completion.tag);
        }
        rig.queue.end();
        rig.ring.enter(Wait::For(Duration::from_millis(1))).expect("waits");
    }
    assert!(refused, "the queue is not bounded");
    assert_eq!((rig.queue.in_flight(), rig.pool.free()), (0, 300));
}

/// The step with no more than 128 KiB in blocks of 4 KiB.
pub fn within_transfer(step: Step) -> Step {
    let cut = |range: Range| Range { blocks: range.blocks.min(32), ..range };
    match step {
        Step::Read { range, way } => Step::Read { range: cut(range), way },
        Step::Write { range, way, fua, seed } => Step::Write { range: cut(range), way, fua, seed },
        Step::Compare { range, way, differs } => Step::Compare { range: cut(range), way, differs },
        other => other,
    }
}
