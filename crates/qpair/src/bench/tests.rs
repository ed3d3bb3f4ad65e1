//! Whole runs against memory, against nothing, and against a device that makes mistakes on purpose.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::Ordering::SeqCst;

use block::{
    Completion, Completions, Data, Failure, Features, Identity, Info, Op, Outcome, Queue, Range, Refused, Request,
    Returned,
};
use clap::Parser;
use machine::reactor::Arm;

use super::*;
use crate::bench::limits::{MAX_ERRORS, MAX_PRINTED};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

static NEVER: AtomicBool = AtomicBool::new(false);

fn args(line: &str) -> Args {
    let words = ["bench", "--seed", "7"].into_iter().chain(line.split_whitespace());
    Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}")).args
}

fn measure_on(device: &dyn Device, args: &Args, stop: &'static AtomicBool) -> Report {
    let plan = Plan::new(args, device.info(), 7).unwrap_or_else(|error| panic!("{error}"));
    measure(device, args, &plan, &Arc::new(Progress::default()), stop).expect("a report")
}

/// Runs a whole command line.
fn bench(line: &str) -> Report {
    let args = args(line);
    measure_on(&*open(&args).expect("a device"), &args, &NEVER)
}

/// What goes wrong on a [`Fake`].
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// One byte of this block is wrong in every read.
    Corrupt {
        lba: u64,
    },
    /// Every so-manieth write says it succeeded and does nothing.
    LoseWrites {
        every: u64,
    },
    /// Every so-manieth request fails.
    Fail {
        every: u64,
    },
    /// So many requests succeed, then the connection breaks.
    Disconnect {
        after: u64,
    },
    /// So many requests complete, the others never.
    Hang {
        after: u64,
    },
}

/// A device in memory that refuses requests above its depth, completes out of order, and panics if a write overlaps
/// with anything else in flight.
struct Fake {
    info: Info,
    depth: usize,
    fault: Fault,
    memory: Arc<Mutex<Vec<u8>>>,
}

struct FakeQueue {
    depth: usize,
    fault: Fault,
    memory: Arc<Mutex<Vec<u8>>>,
    waiting: VecDeque<(u64, Op, block::Tag, machine::region::Buf)>,
    submitted: u64,
    writes: u64,
    hung: usize,
}

const BLOCK: usize = 512;

impl Fake {
    fn new(blocks: u64, depth: usize, fault: Fault) -> Self {
        let info = Info {
            name: "fake".to_owned(),
            kind: "fake",
            block_bytes: BLOCK as u32,
            blocks,
            preferred_blocks: 1,
            max_transfer_bytes: 128 << 10,
            features: Features::default(),
            identity: Identity::from_uuid(Uuid::nil()),
        };
        let memory = Arc::new(Mutex::new(vec![0; blocks as usize * BLOCK]));
        Self { info, depth, fault, memory }
    }

    fn bench(&self, line: &str) -> Report {
        measure_on(self, &args(&format!("fake {line}")), &NEVER)
    }
}

impl Device for Fake {
    fn info(&self) -> &Info {
        &self.info
    }

    fn open_queue(&self, _ring: &mut Ring) -> io::Result<Box<dyn Queue>> {
        let Self { depth, fault, .. } = *self;
        let memory = Arc::clone(&self.memory);
        Ok(Box::new(FakeQueue { depth, fault, memory, waiting: VecDeque::new(), submitted: 0, writes: 0, hung: 0 }))
    }
}

fn overlap(a: Range, b: Range) -> bool {
    a.lba < b.lba + b.blocks && b.lba < a.lba + a.blocks
}

fn is_write(op: Op) -> bool {
    matches!(op, Op::Write { .. })
}

impl FakeQueue {
    fn carry_out(&mut self, number: u64, op: Op, bytes: &mut [u8]) -> Outcome {
        match self.fault {
            Fault::Fail { every } if number.is_multiple_of(every) => return Err(Failure::Host(5)),
            Fault::Disconnect { after } if number > after => return Err(Failure::Disconnected),
            _ => {}
        }
        let Range { lba, blocks } = op.range().expect("reads and writes only");
        let mut memory = self.memory.lock().expect("one thread");
        let place = &mut memory[lba as usize * BLOCK..][..blocks as usize * BLOCK];
        if !is_write(op) {
            bytes.copy_from_slice(place);
            if let Fault::Corrupt { lba: bad } = self.fault
                && let Some(at) = bad.checked_sub(lba).filter(|at| *at < blocks)
            {
                bytes[at as usize * BLOCK + 100] ^= 1;
            }
            return Ok(());
        }
        self.writes += 1;
        if !matches!(self.fault, Fault::LoseWrites { every } if self.writes.is_multiple_of(every)) {
            place.copy_from_slice(bytes);
        }
        Ok(())
    }
}

impl Queue for FakeQueue {
    fn submit<'a>(&mut self, _ring: &mut Ring, request: Request<'a>) -> Result<(), Refused<'a>> {
        if self.waiting.len() == self.depth {
            return Err(Refused(request));
        }
        let range = request.op.range().expect("reads and writes only");
        for (_, other, ..) in &self.waiting {
            let conflict = is_write(*other) || is_write(request.op);
            assert!(!conflict || !overlap(range, other.range().expect("as above")), "overlapping requests");
        }
        let Data::Carried(buf) = request.data else { panic!("carried data only") };
        assert_eq!(buf.len(), range.blocks as usize * BLOCK);
        self.submitted += 1;
        self.waiting.push_back((self.submitted, request.op, request.tag, buf));
        Ok(())
    }

    fn poll(&mut self, _ring: &mut Ring, out: &mut Completions) {
        let mut hung = VecDeque::new();
        // The last half stays for another pass, what completes does so in reverse.
        let count = self.waiting.len().div_ceil(2);
        for (number, op, tag, mut buf) in self.waiting.drain(..count).rev().collect::<Vec<_>>() {
            if matches!(self.fault, Fault::Hang { after } if number > after) {
                hung.push_back((number, op, tag, buf));
                continue;
            }
            let outcome = self.carry_out(number, op, &mut buf);
            out.list.push(Completion { tag, outcome, data: Returned::Carried(buf) });
        }
        self.hung = hung.len();
        self.waiting.append(&mut hung);
    }

    fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    fn arm(&mut self, _ring: &mut Ring) -> Arm {
        if self.waiting.len() > self.hung { Arm::Busy } else { Arm::Armed }
    }
}

#[test]
fn a_count_is_exact_and_all_of_it_is_measured() {
    let report = bench("null:1GiB --count 5000 --qd 16 --queues 3");
    assert_eq!((report.total.ios, report.total.bytes), (5000, 5000 * 4096));
    assert_eq!(report.read.as_ref().map(|read| read.ios), Some(5000));
    assert!(report.write.is_none());
    assert_eq!(report.ended_by, Ending::Goal);
    assert!(report.success() && report.elapsed_secs > 0.0 && report.total.iops > 0.0);
    assert_eq!(report.total.histogram.iter().map(|bar| bar.count).sum::<u64>(), 5000);
    assert_eq!(report.depth_reached, [16, 16, 16]);
}

#[test]
fn a_time_is_kept() {
    let report = bench("ram:16MiB --secs 0.1 --warmup 0.01 --rw rw --mix 50");
    assert!((0.1..1.0).contains(&report.elapsed_secs), "{}", report.elapsed_secs);
    let (read, write) = (report.read.expect("mixed"), report.write.expect("mixed"));
    let reads = read.ios as f64 / report.total.ios as f64;
    assert!((0.4..0.6).contains(&reads), "{reads}");
    assert_eq!(read.ios + write.ios, report.total.ios);
}

#[test]
fn memory_verifies_in_every_workload() {
    for rw in ["read", "write", "randread", "randwrite", "rw", "randrw"] {
        for bs in ["512", "4k", "64k"] {
            let report = bench(&format!("ram:2MiB --rw {rw} --bs {bs} --verify --count 500 --queues 2 --qd 8"));
            let verify = report.verify.expect("asked for");
            assert!(report.success(), "{rw} {bs}: {:?}", report.problems);
            assert!(verify.checked > 0, "{rw} {bs}");
            assert_eq!(verify.read_back, !["read", "randread"].contains(&rw));
            assert_eq!(report.total.ios, 500, "neither the fill nor the reading back is measured");
        }
    }
}

#[test]
fn what_this_run_did_not_write_is_skipped() {
    let report = bench("ram:64MiB --rw randrw --verify --count 200");
    let verify = report.verify.expect("asked for");
    assert!(verify.skipped > 0 && report.success(), "{verify:?}");
}

#[test]
fn a_device_that_forgets_everything_is_found_out() {
    let report = bench("null:1MiB --verify --count 100");
    assert!(!report.success());
    assert_eq!(report.ended_by, Ending::Miscompare);
    assert!(report.problems[0].contains("all zeros"), "{:?}", report.problems);
    assert!(report.problems.len() as u64 <= MAX_PRINTED);
}

/// Memory, and a second queue on it that writes garbage as soon as something is read.
struct Sabotaged {
    inner: Arc<dyn Device>,
}

struct SabotagedQueue {
    inner: Box<dyn Queue>,
    /// The second queue, until it has done its work.
    other: Option<Box<dyn Queue>>,
}

impl Device for Sabotaged {
    fn info(&self) -> &Info {
        self.inner.info()
    }

    fn open_queue(&self, ring: &mut Ring) -> io::Result<Box<dyn Queue>> {
        let (inner, other) = (self.inner.open_queue(ring)?, Some(self.inner.open_queue(ring)?));
        Ok(Box::new(SabotagedQueue { inner, other }))
    }
}

impl SabotagedQueue {
    fn write_garbage(&mut self, ring: &mut Ring) {
        let Some(mut other) = self.other.take() else { return };
        let pool = Pool::anonymous(4096, 1).expect("a page");
        let mut garbage = pool.take().expect("one buffer");
        garbage.set_len(BLOCK);
        garbage.fill(0xa5);
        let op = Op::Write { range: Range { lba: 77, blocks: 1 }, fua: false };
        let mut done = Completions::default();
        other.begin();
        let accepted = other.submit(ring, Request { tag: 0, op, data: Data::Carried(garbage) });
        assert!(accepted.is_ok(), "an empty queue has room");
        other.kick(ring);
        other.poll(ring, &mut done);
        other.end();
        assert!(matches!(done.list[..], [Completion { outcome: Ok(()), .. }]));
    }
}

impl Queue for SabotagedQueue {
    fn begin(&mut self) {
        self.inner.begin();
    }

    fn submit<'a>(&mut self, ring: &mut Ring, request: Request<'a>) -> Result<(), Refused<'a>> {
        if matches!(request.op, Op::Read(_)) {
            self.write_garbage(ring);
        }
        self.inner.submit(ring, request)
    }

    fn kick(&mut self, ring: &mut Ring) {
        self.inner.kick(ring);
    }

    fn poll(&mut self, ring: &mut Ring, out: &mut Completions) {
        self.inner.poll(ring, out);
    }

    fn end(&mut self) {
        self.inner.end();
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }

    fn arm(&mut self, ring: &mut Ring) -> Arm {
        self.inner.arm(ring)
    }

    fn disarm(&mut self) {
        self.inner.disarm();
    }
}

#[test]
fn garbage_written_through_another_queue_is_found() {
    let args = args("ram:1MiB --rw read --verify --count 256 --bs 4k");
    let device = Sabotaged { inner: open(&args).expect("a device") };
    let report = measure_on(&device, &args, &NEVER);
    assert!(!report.success());
    assert_eq!(report.verify.map(|verify| verify.miscompares), Some(1));
    assert!(
        report.problems[0].starts_with("miscompare in block 77 at offset 39424: not written"),
        "{:?}",
        report.problems
    );
}

#[test]
fn one_wrong_bit_is_found() {
    let report = Fake::new(256, 64, Fault::Corrupt { lba: 200 }).bench("--rw read --verify --count 64 --bs 2k");
    assert_eq!(report.ended_by, Ending::Miscompare);
    assert!(report.problems[0].contains("block 200 at offset 102400: torn or corrupt"), "{:?}", report.problems);
}

#[test]
fn a_lost_write_is_found_when_everything_is_read_back() {
    let fake = Fake::new(64, 64, Fault::LoseWrites { every: 100 });
    let report = fake.bench("--rw write --verify --count 120 --bs 512 --qd 1");
    assert!(!report.success());
    // Write 100 is the second one of block 35.
    assert!(report.problems[0].contains("block 35 at offset 17920: an older write"), "{:?}", report.problems);
    assert_eq!(report.verify.map(|verify| verify.read_back), Some(false));
}

#[test]
fn verification_never_overlaps_requests_even_where_there_is_little_room() {
    // The fake panics if it did. Fewer units than depth: the queues wait for each other.
    for rw in ["randrw", "rw", "randwrite"] {
        let report =
            Fake::new(16, 64, Fault::None).bench(&format!("--rw {rw} --verify --bs 1k --count 2000 --queues 2"));
        assert!(report.success(), "{:?}", report.problems);
        assert_eq!(report.total.ios, 2000);
    }
}

#[test]
fn a_full_queue_is_back_pressure() {
    let report = Fake::new(1024, 5, Fault::None).bench("--rw randread --bs 512 --count 1000 --qd 32");
    assert_eq!((report.total.ios, report.depth_reached.as_slice()), (1000, [5].as_slice()));
    assert!(report.success());
    assert!(report.text().contains("at most 5 requests"));
}

#[test]
fn errors_are_counted_and_the_first_are_kept() {
    let report = Fake::new(1024, 64, Fault::Fail { every: 10 }).bench("--rw randread --bs 512 --count 1000");
    assert_eq!((report.errors.read, report.total.ios, report.ended_by), (100, 900, Ending::Goal));
    assert_eq!(report.problems.len() as u64, MAX_PRINTED);
    assert!(report.problems[0].starts_with("read at offset "), "{:?}", report.problems);
    assert!(!report.success());
}

#[test]
fn failed_writes_are_errors_but_not_miscompares() {
    let report = Fake::new(64, 64, Fault::Fail { every: 7 }).bench("--rw randrw --bs 512 --count 2000 --verify --qd 4");
    assert!(report.errors.write > 0 && report.errors.read > 0);
    assert_eq!(report.verify.map(|verify| (verify.miscompares, verify.read_back)), Some((0, true)));
}

#[test]
fn a_device_that_only_fails_ends_the_run() {
    let report = Fake::new(64, 64, Fault::Fail { every: 1 }).bench("--rw randread --bs 512 --secs 60");
    assert_eq!(report.ended_by, Ending::Errors);
    assert!((MAX_ERRORS..MAX_ERRORS + 64).contains(&report.errors.read), "{:?}", report.errors);
}

#[test]
fn a_broken_connection_ends_the_run() {
    let report =
        Fake::new(64, 64, Fault::Disconnect { after: 50 }).bench("--rw randread --bs 512 --secs 60 --warmup 0");
    assert_eq!(report.ended_by, Ending::Errors);
    assert!(report.total.ios <= 50 && report.errors.read > 0);
    assert!(report.problems[0].contains("the connection broke"), "{:?}", report.problems);
}

#[test]
fn requests_that_never_complete_are_given_up() {
    let report = Fake::new(64, 64, Fault::Hang { after: 90 }).bench("--rw randread --bs 512 --count 100 --qd 20");
    assert_eq!((report.total.ios, report.errors.unfinished, report.ended_by), (90, 10, Ending::Errors));
    assert!(!report.success());
    assert!(report.problems[0].starts_with("10 requests did not complete within"), "{:?}", report.problems);
}

#[test]
fn an_interrupt_ends_the_run_with_the_figures_so_far() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let interrupter = std::thread::spawn(|| {
        std::thread::sleep(Duration::from_millis(100));
        STOP.store(true, SeqCst);
    });
    let args = args("null:1GiB --secs 60 --warmup 0");
    let report = measure_on(&*open(&args).expect("a device"), &args, &STOP);
    interrupter.join().expect("it only sleeps");
    assert_eq!(report.ended_by, Ending::Interrupt);
    assert!(report.total.ios > 0 && report.elapsed_secs < 30.0);
    assert!(report.success(), "an interrupt is a wish, not a failure");
    assert!(report.text().contains("interrupted"));
}
