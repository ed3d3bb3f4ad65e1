//! The host against a small target of its own: connecting, every operation, every way to break.

mod connect;
mod faults;
mod io;
mod native;
mod paths;
mod patience;
mod reconnect;
mod target;

use std::time::{Duration, Instant};

use machine::region::{Bufs, Pool};
use machine::ring::{Ring, Wait};

use self::target::{Config, Fault, Target};
use super::{TcpDevice, Uri};
use crate::{Completion, Completions, Data, Device, Op, Outcome, Queue, Range, Request, Returned, Tag};

/// Longest wait for anything in these tests.
const PATIENCE: Duration = Duration::from_secs(10);
const BUFFER_BYTES: usize = 256 << 10;

/// A queue on a device, with a ring and buffers.
struct Rig {
    ring: Ring,
    queue: Box<dyn Queue>,
    pool: Pool,
    device: TcpDevice,
    out: Completions,
    /// Requests carry scatter lists of these lengths.
    cuts: Option<fn(usize) -> Vec<usize>>,
}

impl Rig {
    fn new(uri: Uri) -> Self {
        Self::on(TcpDevice::connect(uri).unwrap_or_else(|error| panic!("{error}")))
    }

    fn on(device: TcpDevice) -> Self {
        let mut ring = Ring::new().expect("a ring");
        let queue = device.open_queue(&mut ring).expect("a queue");
        let pool = Pool::anonymous(BUFFER_BYTES, 40).expect("memory");
        Self { ring, queue, pool, device, out: Completions::default(), cuts: None }
    }

    /// Submits; false if the queue is full.
    fn submit(&mut self, tag: Tag, op: Op) -> bool {
        self.submit_bytes(tag, op, &[])
    }

    /// Submits with a buffer that starts with `bytes`.
    fn submit_bytes(&mut self, tag: Tag, op: Op, bytes: &[u8]) -> bool {
        let data = match op {
            Op::Read(range) | Op::Write { range, .. } | Op::Compare(range) => {
                let whole = range.blocks as usize * self.device.info().block_bytes as usize;
                let piece = |len| {
                    let mut buf = self.pool.take().expect("enough buffers");
                    buf.set_len(len);
                    buf
                };
                let mut bufs = match self.cuts {
                    None => Bufs::One(piece(whole)),
                    Some(cuts) => Bufs::Many(cuts(whole).into_iter().map(piece).collect()),
                };
                bufs.put(0, bytes);
                bufs.into()
            }
            Op::Copy { range, .. } => {
                let source = [Range { lba: range.lba + range.blocks, ..range }];
                let data = Data::Sources(&source);
                return self.queue.submit(&mut self.ring, Request { tag, op, data }).is_ok();
            }
            _ => Data::None,
        };
        self.queue.submit(&mut self.ring, Request { tag, op, data }).is_ok()
    }

    /// Polls until something that was waited for has happened.
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.device.paths());
            self.queue.kick(&mut self.ring);
            self.ring.enter(Wait::For(Duration::from_millis(1))).expect("enter");
            self.queue.poll(&mut self.ring, &mut self.out);
        }
    }

    /// Polls until the association is over and the queue has seen it: what is submitted now is held.
    fn until_broken(&mut self) {
        self.until("the connection breaks", |rig| rig.device.paths.list[0].path().over() > 0);
        self.queue.poll(&mut self.ring, &mut self.out);
    }

    /// Polls until nothing is in flight.
    fn finish(&mut self) -> Vec<Completion> {
        let deadline = Instant::now() + PATIENCE;
        self.queue.kick(&mut self.ring);
        while self.queue.in_flight() > 0 {
            assert!(Instant::now() < deadline, "{} requests hang", self.queue.in_flight());
            self.ring.enter(Wait::For(Duration::from_millis(1))).expect("enter");
            self.queue.poll(&mut self.ring, &mut self.out);
        }
        self.out.list.drain(..).collect()
    }

    /// One request: how it ended.
    fn one(&mut self, op: Op, bytes: &[u8]) -> (Outcome, Vec<u8>) {
        assert!(self.submit_bytes(1, op, bytes), "there is room");
        let mut done = self.finish();
        assert_eq!(done.len(), 1);
        let done = done.remove(0);
        (done.outcome, carried(done.data))
    }

    fn read(&mut self, lba: u64, blocks: u64) -> Vec<u8> {
        let (outcome, bytes) = self.one(Op::Read(Range { lba, blocks }), &[]);
        assert_eq!(outcome, Ok(()));
        bytes
    }

    fn write(&mut self, lba: u64, bytes: &[u8]) {
        let blocks = bytes.len() as u64 / u64::from(self.device.info().block_bytes);
        let (outcome, _) = self.one(Op::Write { range: Range { lba, blocks }, fua: false }, bytes);
        assert_eq!(outcome, Ok(()));
    }
}

/// A device on a target with a fault, reached as the changed address says.
fn rig(fault: Fault, change: impl Fn(&mut Uri)) -> (Target, Rig) {
    let target = Target::start(Config { fault, ..Config::default() });
    let mut uri = target.uri();
    uri.reconnect_delay = Duration::from_millis(2);
    change(&mut uri);
    let rig = Rig::new(uri);
    (target, rig)
}

fn carried(data: Returned) -> Vec<u8> {
    assert!(!matches!(data, Returned::Lent(_)), "this device does not lend");
    data.into_bufs().to_vec()
}

/// Five pieces, of which one is empty and none ends with a block.
fn five(bytes: usize) -> Vec<usize> {
    vec![1, bytes / 3, 0, bytes - bytes / 3 - 3, 2]
}

/// Bytes that differ everywhere, and with the seed.
fn pattern(bytes: usize, seed: u32) -> Vec<u8> {
    (0..bytes as u32).map(|i| ((i + seed).wrapping_mul(0x9e37_79b1) >> 24) as u8).collect()
}
