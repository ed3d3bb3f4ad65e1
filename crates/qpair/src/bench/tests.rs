//! Whole runs against memory, against nothing, and against a device that makes mistakes on purpose.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use block::{
    Completion, Completions, Data, Failure, Features, Identity, Info, Op, Outcome, Queue, Range, Refused, Request,
    Returned,
};
use clap::Parser;
use machine::reactor::Arm;
use machine::region::Pool;
use machine::ring::Ring;

use super::*;
use crate::bench::limits::{MAX_ERRORS, MAX_PRINTED};
use crate::bench::tally::Tally;

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

fn measure_all(devices: &[Arc<dyn Device>], args: &Args, stop: &AtomicBool) -> Report {
    let plan =
        Plan::new(args, &infos(devices), &vec![None; devices.len()], 7).unwrap_or_else(|error| panic!("{error}"));
    let progress: Vec<_> = plan.reactors.iter().map(|_| Arc::new(Progress::default())).collect();
    measure(devices, args, &plan, &progress, stop).expect("a report")
}

fn measure_on(device: Arc<dyn Device>, args: &Args, stop: &AtomicBool) -> Report {
    measure_all(&[device], args, stop)
}

/// Runs a whole command line.
fn bench(line: &str) -> Report {
    let args = args(line);
    measure_all(&open(&args).expect("devices"), &args, &NEVER)
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
/// with anything else in flight, on whatever queue.
struct Fake {
    info: Info,
    depth: usize,
    fault: Fault,
    memory: Arc<Mutex<Vec<u8>>>,
    busy: Arc<Mutex<Vec<Op>>>,
}

struct FakeQueue {
    depth: usize,
    fault: Fault,
    memory: Arc<Mutex<Vec<u8>>>,
    /// What is in flight on all queues.
    busy: Arc<Mutex<Vec<Op>>>,
    waiting: VecDeque<(u64, Op, block::Tag, machine::region::Buf)>,
    submitted: u64,
    writes: u64,
    hung: usize,
}

const BLOCK: usize = 512;

impl Fake {
    fn new(blocks: u64, depth: usize, fault: Fault) -> Arc<Self> {
        let info = Info {
            name: "fake".to_owned(),
            kind: "fake",
            block_bytes: BLOCK as u32,
            blocks,
            preferred_blocks: 1,
            atomic_blocks: 1,
            max_transfer_bytes: 128 << 10,
            piece_bytes: 1,
            features: Features::default(),
            identity: Identity::from_uuid(Uuid::nil()),
        };
        let memory = Arc::new(Mutex::new(vec![0; blocks as usize * BLOCK]));
        Arc::new(Self { info, depth, fault, memory, busy: Arc::default() })
    }

    fn bench(self: Arc<Self>, line: &str) -> Report {
        measure_on(self, &args(&format!("fake {line}")), &NEVER)
    }
}

impl Device for Fake {
    fn info(&self) -> &Info {
        &self.info
    }

    fn open_queue(&self, _ring: &mut Ring) -> io::Result<Box<dyn Queue>> {
        let Self { depth, fault, .. } = *self;
        let (memory, busy) = (Arc::clone(&self.memory), Arc::clone(&self.busy));
        Ok(Box::new(FakeQueue {
            depth,
            fault,
            memory,
            busy,
            waiting: VecDeque::new(),
            submitted: 0,
            writes: 0,
            hung: 0,
        }))
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
        let mut memory = self.memory.lock().expect("nobody has panicked");
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
        let mut busy = self.busy.lock().expect("nobody has panicked");
        for other in busy.iter() {
            let conflict = is_write(*other) || is_write(request.op);
            assert!(!conflict || !overlap(range, other.range().expect("as above")), "overlapping requests");
        }
        busy.push(request.op);
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
            let mut busy = self.busy.lock().expect("nobody has panicked");
            let at = busy.iter().position(|other| *other == op).expect("it was submitted");
            busy.swap_remove(at);
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
    assert_eq!((report.last().total.ios, report.last().total.bytes), (5000, 5000 * 4096));
    assert_eq!(report.last().read.as_ref().map(|read| read.ios), Some(5000));
    assert!(report.last().write.is_none());
    assert_eq!(report.ended_by, Ending::Goal);
    assert!(report.success() && report.last().elapsed_secs > 0.0 && report.last().total.iops > 0.0);
    assert_eq!(report.last().total.histogram.iter().map(|bar| bar.count).sum::<u64>(), 5000);
    assert_eq!(report.last().depth_reached, [16, 16, 16]);
}

#[test]
fn a_time_is_kept() {
    let report = bench("ram:16MiB --secs 0.1 --warmup 0.01 --rw rw --mix 50");
    assert!((0.1..1.0).contains(&report.last().elapsed_secs), "{}", report.last().elapsed_secs);
    let step = report.last();
    let (read, write) = (step.read.as_ref().expect("mixed"), step.write.as_ref().expect("mixed"));
    let reads = read.ios as f64 / report.last().total.ios as f64;
    assert!((0.4..0.6).contains(&reads), "{reads}");
    assert_eq!(read.ios + write.ios, report.last().total.ios);
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
            assert_eq!(report.last().total.ios, 500, "neither the fill nor the reading back is measured");
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
    let device = Arc::new(Sabotaged { inner: Arc::clone(&open(&args).expect("a device")[0]) });
    let report = measure_on(device, &args, &NEVER);
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
        assert_eq!(report.last().total.ios, 2000);
    }
}

#[test]
fn a_full_queue_is_back_pressure() {
    let report = Fake::new(1024, 5, Fault::None).bench("--rw randread --bs 512 --count 1000 --qd 32");
    assert_eq!((report.last().total.ios, report.last().depth_reached.as_slice()), (1000, [5].as_slice()));
    assert!(report.success());
    assert!(report.text().contains("at most 5 requests"));
}

#[test]
fn errors_are_counted_and_the_first_are_kept() {
    let report = Fake::new(1024, 64, Fault::Fail { every: 10 }).bench("--rw randread --bs 512 --count 1000");
    assert_eq!((report.errors.read, report.last().total.ios, report.ended_by), (100, 900, Ending::Goal));
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
    assert!(report.last().total.ios <= 50 && report.errors.read > 0);
    assert!(report.problems[0].contains("the connection broke"), "{:?}", report.problems);
}

#[test]
fn requests_that_never_complete_are_given_up() {
    let report = Fake::new(64, 64, Fault::Hang { after: 90 }).bench("--rw randread --bs 512 --count 100 --qd 20");
    assert_eq!((report.last().total.ios, report.errors.unfinished, report.ended_by), (90, 10, Ending::Errors));
    assert!(!report.success());
    assert!(report.problems[0].starts_with("10 requests did not complete within"), "{:?}", report.problems);
}

#[test]
fn an_interrupt_ends_the_run_with_the_figures_so_far() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let interrupter = std::thread::spawn(|| {
        // It has begun by then.
        std::thread::sleep(Duration::from_secs(1));
        STOP.store(true, SeqCst);
    });
    let args = args("null:1GiB --secs 60 --warmup 0");
    let report = measure_all(&open(&args).expect("a device"), &args, &STOP);
    interrupter.join().expect("it only sleeps");
    assert_eq!(report.ended_by, Ending::Interrupt);
    assert!(report.last().total.ios > 0 && report.last().elapsed_secs < 30.0);
    assert!(report.success(), "an interrupt is a wish, not a failure");
    assert!(report.text().contains("interrupted"));
}

/// Runs on a device, and wants to stop after a while.
fn interrupted(device: Arc<dyn Device>, line: &str) -> Report {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            stop.store(true, SeqCst);
        });
        measure_on(device, &args(line), &stop)
    })
}

#[test]
fn after_an_interrupt_what_was_written_is_read_back() {
    for fill in ["", "--fill --reactors 2 --queues 2"] {
        let line = format!("fake --rw randrw --verify --bs 512 --secs 60 {fill}");
        let report = interrupted(Fake::new(64, 64, Fault::None), &line);
        assert_eq!(report.ended_by, Ending::Interrupt);
        assert!(report.success() && report.verify.is_some_and(|verify| verify.read_back), "{:?}", report.problems);
        assert!(report.text().contains("everything written was read back"), "{}", report.text());
    }
    let wrong =
        interrupted(Fake::new(64, 64, Fault::LoseWrites { every: 10 }), "fake --rw randwrite --verify --bs 512");
    assert!(!wrong.success() && wrong.ended_by == Ending::Miscompare, "{}", wrong.text());
    assert!(wrong.problems[0].contains("an older write"), "{:?}", wrong.problems);
}

#[test]
fn a_read_back_that_takes_too_long_is_said_to_be_missing() {
    let report = interrupted(Fake::new(64, 64, Fault::Hang { after: 1000 }), "fake --rw randwrite --verify --bs 512");
    assert_eq!(report.verify.map(|verify| verify.read_back), Some(false));
    assert!(report.text().contains("NOT all that was written was read back"), "{}", report.text());
}

#[test]
fn reactors_share_a_count_and_are_merged() {
    let report = bench("null:1GiB --count 5001 --qd 16 --queues 5 --reactors 2");
    let step = report.last();
    assert_eq!((step.total.ios, report.ended_by), (5001, Ending::Goal));
    assert_eq!(step.total.histogram.iter().map(|bar| bar.count).sum::<u64>(), 5001);
    assert_eq!(step.depth_reached, [16; 5]);
    let each: Vec<_> = step.by_reactor.iter().map(|reactor| (reactor.queues, reactor.ios)).collect();
    assert_eq!(each, [(3, 2500), (2, 2501)]);
    // Fewer requests than reactors: some have nothing to do.
    assert_eq!(bench("null:1GiB --count 2 --reactors 4").last().total.ios, 2);
}

#[test]
fn what_one_reactor_writes_the_other_verifies() {
    for rw in ["randrw", "rw", "randread"] {
        let line = format!("ram:1MiB --rw {rw} --verify --count 4000 --queues 4 --reactors 2 --qd 8");
        let report = bench(&line);
        assert!(report.success(), "{:?}", report.problems);
        assert!(report.verify.is_some_and(|verify| verify.checked > 1000), "{rw}: {:?}", report.verify);
    }
    // The fake panics if two requests overlap, on whatever queue.
    let report = Fake::new(16, 64, Fault::None).bench("--rw randrw --verify --bs 1k --count 2000 --reactors 2 --qd 8");
    assert!(report.success() && report.last().total.ios == 2000, "{:?}", report.problems);
}

#[test]
fn trouble_of_one_reactor_ends_the_run_of_all() {
    let (fine, broken) = (Fake::new(64, 64, Fault::None), Fake::new(64, 64, Fault::Disconnect { after: 100 }));
    let args = args("fine broken --rw randread --bs 512 --secs 60 --warmup 0 --reactors 2");
    let report = measure_all(&[fine, broken], &args, &NEVER);
    assert_eq!(report.ended_by, Ending::Errors);
    let by_target = &report.last().by_target;
    assert!(by_target[0].errors.total() == 0 && by_target[1].errors.read > 0);
    assert!(report.problems[0].starts_with("fake: read at offset "), "{:?}", report.problems);
    assert_eq!(by_target[0].total.ios + by_target[1].total.ios, report.last().total.ios);
}

#[test]
fn a_queue_that_does_not_open_is_said_and_everybody_goes_home() {
    let args = args("null:1GiB null:1GiB --reactors 2 --secs 60");
    let devices: Vec<Arc<dyn Device>> =
        vec![Fake::new(64, 64, Fault::None), Arc::new(Closed(Fake::new(8, 8, Fault::None)))];
    let plan =
        Plan::new(&args, &infos(&devices), &vec![None; devices.len()], 7).unwrap_or_else(|error| panic!("{error}"));
    let progress: Vec<_> = plan.reactors.iter().map(|_| Arc::new(Progress::default())).collect();
    let error = measure(&devices, &args, &plan, &progress, &NEVER).expect_err("it does not open");
    assert_eq!(error.to_string(), "fake: I/O queue 1 does not open: no room");
}

/// A device with no room for a queue.
struct Closed(Arc<Fake>);

impl Device for Closed {
    fn info(&self) -> &Info {
        self.0.info()
    }

    fn open_queue(&self, _ring: &mut Ring) -> io::Result<Box<dyn Queue>> {
        Err(io::Error::other("no room"))
    }
}

#[test]
fn every_step_of_a_curve_is_measured_with_its_depth() {
    let report = bench("ram:16MiB --qd 1,8,2 --count 300 --queues 2 --fill --rw randrw");
    let steps: Vec<_> = report.steps.iter().map(|step| (step.depth, step.total.ios)).collect();
    assert_eq!(steps, [(1, 300), (8, 300), (2, 300)]);
    assert!(report.steps.iter().all(|step| step.depth_reached == [step.depth; 2]));
    assert_eq!((report.workload.depth, report.success()), (2, true));
}

#[test]
fn a_curve_that_fails_keeps_the_steps_before() {
    let report = Fake::new(64, 64, Fault::Disconnect { after: 100 }).bench("--qd 1,2,4 --count 60 --bs 512");
    let ios: Vec<_> = report.steps.iter().map(|step| step.total.ios).collect();
    assert_eq!((ios.as_slice(), report.ended_by), ([60, 40].as_slice(), Ending::Errors));
}

#[test]
fn several_targets_are_loaded_and_verified_each_by_itself() {
    let report = bench("ram:1MiB ram:2MiB null:4MiB --rw randread --count 3000 --queues 2 --reactors 2");
    let each: Vec<_> = report.last().by_target.iter().map(|target| target.total.ios).collect();
    assert_eq!(each.iter().sum::<u64>(), 3000);
    assert!(each.iter().all(|&ios| ios > 0), "{each:?}");
    let report = bench("ram:1MiB ram:2MiB --rw randrw --verify --count 3000 --reactors 2");
    assert!(report.success() && report.verify.is_some_and(|verify| verify.read_back), "{:?}", report.problems);
    let report = bench("ram:1MiB null:1MiB --rw randrw --verify --count 3000");
    assert!(report.problems[0].starts_with("null:1MiB: miscompare in block"), "{:?}", report.problems);
}

#[test]
fn lent_memory_verifies_too() {
    for bs in ["512", "4k", "64k"] {
        let report =
            bench(&format!("ram:4MiB --lend --verify --rw randrw --bs {bs} --count 1000 --queues 2 --reactors 2"));
        assert!(report.success(), "{bs}: {:?}", report.problems);
        assert!(report.verify.is_some_and(|verify| verify.checked > 0 && verify.read_back));
    }
    let report = bench("null:1MiB --lend --verify --count 100");
    assert_eq!(report.ended_by, Ending::Miscompare);
}

#[test]
fn scatter_lists_verify_too() {
    for iov in [1, 3, 64] {
        let report = bench(&format!("ram:4MiB --verify --rw randrw --iov {iov} --count 1000"));
        assert!(report.success(), "{iov}: {:?}", report.problems);
        assert!(report.verify.is_some_and(|verify| verify.checked > 0 && verify.read_back));
        assert_eq!(report.workload.iov, Some(iov));
    }
    assert!(bench("ram:4MiB --rw randrw --iov 3 --count 1000").success());
    assert_eq!(bench("null:1MiB --iov 5 --verify --count 100").ended_by, Ending::Miscompare);
}

#[test]
fn requests_that_come_by_the_clock_do_not_come_early() {
    let report = bench("null:1GiB --rate 2000 --count 100 --queues 2 --qd 4 --fill --size 1MiB");
    assert_eq!((report.last().total.ios, report.success()), (100, true));
    // 50 requests on each queue are 49 intervals of a millisecond.
    assert!(report.last().elapsed_secs >= 0.049, "{}", report.last().elapsed_secs);
}

/// Every element is closed within the one that it was opened in, and no text looks like one.
fn assert_well_formed(page: &str) {
    // What HTML itself closes.
    const OPEN: [&str; 8] = ["!doctype", "meta", "tr", "td", "th", "li", "line", "caption"];
    let mut open = Vec::new();
    for element in page.split('<').skip(1) {
        let (tag, _) = element.split_once('>').unwrap_or_else(|| panic!("{element} has no end"));
        let name = tag.trim_start_matches('/').split([' ', '/']).next().expect("a name");
        match (tag.starts_with('/'), tag.ends_with('/')) {
            _ if OPEN.contains(&name) => {}
            (true, _) => assert_eq!(open.pop(), Some(name)),
            (false, true) => {}
            (false, false) => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_page_shows_what_the_run_found_and_needs_nothing_else() {
    let mut report = bench("ram:1MiB --rw randrw --mix 50 --qd 1,4 --count 2000");
    report.targets[0].name = "<b>\"disk\" & 'co'</b>".to_owned();
    report.problems.push("2 < 3".to_owned());
    let mut series = series::Series::new();
    for (tenths, phase) in [live::Phase::Fill, live::Phase::WarmUp, live::Phase::Measure].into_iter().enumerate() {
        let time = Duration::from_millis(100);
        let at = time * (tenths as u32 + 1);
        series.push(series::Moment { at, time, phase, depth: 4, ios: 1000 * tenths as u64, latency_ns: 5_000_000 });
    }
    let page = report.html(&series);
    assert_well_formed(&page);
    // Load curve, reads and writes of two steps, rate and latency over time.
    assert_eq!(page.matches("<svg").count(), 7);
    for shown in
        ["&lt;b&gt;&quot;disk&quot; &amp; &#39;co&#39;&lt;/b&gt;", "2 &lt; 3", "Load curve", "depth 4", "Over time"]
    {
        assert!(page.contains(shown), "{shown}");
    }
    for foreign in ["<script", "http", "src=", "@import", "NaN", "inf"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[test]
fn a_page_of_nothing_is_a_page() {
    let mut report = bench("null:1MiB --count 1");
    let nothing = Tally::new();
    report.steps[0].total = report::Share::new(&nothing.latencies[0], 4096, Duration::ZERO);
    report.steps[0].read = Some(report.steps[0].total.clone());
    report.steps.push(report.steps[0].clone());
    let page = report.html(&series::Series::new());
    assert_well_formed(&page);
    assert!(!page.contains("NaN") && !page.contains("inf"));
}
