//! `qpair bench`: measures a block device, local or at the other end of an NVMe/TCP connection.
//!
//! | file | idea |
//! |---|---|
//! | [`plan`] | arguments and device to phases, or to a sentence about why not |
//! | [`workload`] | which block next, and which way |
//! | [`engine`] | the poller that keeps the queues full |
//! | [`verify`] | blocks that say where they belong |
//! | [`latency`], [`report`], [`live`] | what it found out |
//!
//! All queues are polled by one reactor on the calling thread.

mod engine;
mod latency;
mod limits;
mod live;
mod plan;
mod report;
#[cfg(test)]
mod tests;
mod verify;
mod workload;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use block::nvme::tcp::limits::MAX_DEPTH;
use block::nvme::tcp::{SCHEME, TcpDevice, Uri, UriError};
use block::size::parse_size;
use block::spec::{Defaults, Spec};
use block::{Device, OpenError};
use machine::os;
use machine::reactor::Reactor;
use machine::region::Pool;
use machine::ring::{Ring, RingKind};
use uuid::Uuid;

use engine::{Engine, Goal, Measured};
use latency::Latencies;
use live::{Live, Phase, Progress};
use plan::Plan;
use report::{Cpu, Ending, Report, SCHEMA, Share, Target, Workload};
use verify::{Ledger, Stamper};
use workload::Rw;

const EXAMPLES: &str = "\
Examples:
  qpair bench 'nvme-tcp://127.0.0.1:4420/nqn.2026-01.org.example:disk?ns=1' --rw randread --bs 4k --qd 32 --secs 5
  qpair bench ram:1GiB --rw randrw --mix 70 --fill
  qpair bench disk.img --rw write --bs 128k --verify --count 100000 --json

Writing is destructive: --rw write, randwrite, rw, randrw, --fill, and --verify (which fills the range first if the \
workload only reads) overwrite what the target holds, within --offset and --size.

The exit code is 1 if a request failed, did not complete, or gave back other data than was written.";

/// Measure a device: IOPS, throughput, latencies
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// nvme-tcp://HOST:PORT/NQN?ns=N, a path, ram:SIZE or null:SIZE
    pub(crate) target: String,

    /// What to ask for; everything but read and randread OVERWRITES the target
    #[arg(long, value_enum, default_value_t = Rw::RandRead)]
    pub(crate) rw: Rw,

    /// Share of reads in rw and randrw, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 70, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) mix: u8,

    /// Bytes of a request
    #[arg(long, value_name = "SIZE", default_value = "4k", value_parser = parse_size)]
    pub(crate) bs: u64,

    /// Requests kept in flight on each queue
    #[arg(long, value_name = "N", default_value = "32", value_parser = plan::depth)]
    pub(crate) qd: usize,

    /// I/O queues, for NVMe/TCP one connection each; one thread polls them all
    #[arg(long, value_name = "N", default_value = "1", value_parser = plan::queues)]
    pub(crate) queues: usize,

    /// Measure for so many seconds [default: 5]
    #[arg(long, value_name = "SECONDS", value_parser = plan::some_seconds, conflicts_with = "count")]
    pub(crate) secs: Option<f64>,

    /// Measure so many requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Run so many seconds before measuring [default: 0.5, with --count 0]
    #[arg(long, value_name = "SECONDS", value_parser = plan::any_seconds)]
    pub(crate) warmup: Option<f64>,

    /// Use only so many bytes of the target [default: all from --offset on]
    ///
    /// A file that is not there is created with this size.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) size: Option<u64>,

    /// Start at this byte of the target
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = parse_size)]
    pub(crate) offset: u64,

    /// Repeat a run's addresses and data [default: a new seed, which the report names]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Make every write durable before it completes (force unit access)
    #[arg(long)]
    pub(crate) fua: bool,

    /// Write the whole range once before measuring, so that reads are not of unwritten blocks
    #[arg(long)]
    pub(crate) fill: bool,

    /// Write blocks that carry address, generation and checksum, and check every read
    ///
    /// Workloads that only read fill the range first, which OVERWRITES it. Others skip reads of blocks that they have
    /// not written yet, and read back everything they wrote at the end. No two requests are in flight on one block.
    #[arg(long)]
    pub(crate) verify: bool,

    /// Run on this CPU
    #[arg(long, value_name = "N")]
    pub(crate) cpu: Option<usize>,

    /// Never sleep: poll all the time, for the shortest latencies
    #[arg(long)]
    pub(crate) dedicated: bool,

    /// What serves files: io_uring, worker threads (portable), or the better one that is available
    #[arg(long, value_name = "auto|uring|portable", default_value_t = RingKind::Auto)]
    pub(crate) ring: RingKind,

    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,

    /// No live line (there is none either if standard error is not a terminal)
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// Runs the command; SIGINT and SIGTERM (see [`crate::signals`]) end it early, with the report so far.
///
/// # Errors
/// What keeps the run from starting; a run that has started ends with a report.
pub(crate) fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let device = open(&args)?;
    // 32 bits, so that every JSON reader can give the number back.
    let fresh = Uuid::new_v4().as_u64_pair().0 >> 32;
    let plan = Plan::new(&args, device.info(), fresh)?;
    let on_files = matches!(device.info().kind, "file" | "block");
    if on_files && let Some(reason) = args.ring.choose()?.reason {
        eprintln!("without io_uring: {}\n  {}", reason.why, reason.hint);
    }
    crate::signals::watch(false, |_| {})?;
    let progress = Arc::new(Progress::default());
    let live = Live::start(!args.quiet, args.bs, &progress);
    let result = measure(&*device, &args, &plan, &progress, crate::signals::stop_flag());
    drop(live);
    let report = result?;
    for problem in &report.problems {
        eprintln!("{problem}");
    }
    let text = if args.json { report.json() + "\n" } else { report.text() };
    io::stdout().write_all(text.as_bytes())?;
    // A device that is lost has nothing left to say.
    if report.ended_by != Ending::Errors {
        device.close()?;
    }
    Ok(if report.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Opens the target. An address that does not name a depth gets queues as deep as the run needs.
fn open(args: &Args) -> Result<Arc<dyn Device>, OpenError> {
    let text = &args.target;
    if !text.starts_with(SCHEME) {
        return text.parse::<Spec>()?.open(&Defaults { size: args.size, ..Defaults::default() });
    }
    let wrong = |UriError { why, hint }| OpenError { device: text.clone(), why, hint, source: None };
    let mut uri: Uri = text.parse().map_err(wrong)?;
    if !text.contains("?depth=") && !text.contains("&depth=") {
        uri.depth = u16::try_from(args.qd).map_or(MAX_DEPTH, |depth| depth.min(MAX_DEPTH));
    }
    Ok(Arc::new(TcpDevice::connect(uri)?))
}

/// Runs all phases on the calling thread.
///
/// # Errors
/// Those of opening queues, of memory, and of the reactor.
fn measure(
    device: &dyn Device,
    args: &Args,
    plan: &Plan,
    progress: &Arc<Progress>,
    stop: &'static AtomicBool,
) -> io::Result<Report> {
    let shape = plan.shape;
    let mut ring = Ring::of(plan.reactor.ring)?;
    let open_queue = |index| {
        let said = |error: io::Error| io::Error::new(error.kind(), format!("I/O queue {index} does not open: {error}"));
        device.open_queue(&mut ring).map_err(said)
    };
    let queues = (1..=plan.queues).map(open_queue).collect::<io::Result<Vec<_>>>()?;
    let pool = Pool::anonymous(shape.unit_bytes, plan.queues * shape.depth * shape.buffers_per_slot())?;
    let stamper = Stamper { seed: shape.seed, block_bytes: shape.block_bytes as usize };
    let ledger = shape.verify.then(|| Ledger::new(stamper, shape.units));
    let mut engine = Engine::new(queues, shape, &pool, ledger, Arc::clone(progress), stop);
    let finished = engine.finished();

    let nothing = [Latencies::new(), Latencies::new()];
    let mut measured = Measured { elapsed: Duration::ZERO, latencies: nothing };
    let (mut cpu, mut depth_reached, mut read_back) = (Cpu::default(), Vec::new(), false);
    for (phase, goal) in plan.phases() {
        engine.begin(phase, goal);
        let before = os::usage();
        let clocks = Reactor::run_here(&plan.reactor, &mut ring, &mut [&mut engine], || finished.get())?;
        if phase == Phase::Measure {
            measured = engine.measured();
            let ios = measured.latencies.iter().map(Latencies::count).sum();
            cpu = Cpu::new(&clocks, before, os::usage(), ios);
            depth_reached = engine.peaks();
        }
        if engine.ending() != Ending::Goal {
            break;
        }
        read_back |= phase == Phase::ReadBack;
    }

    let bs = shape.unit_bytes as u64;
    let share = |latencies: &Latencies| Share::new(latencies, bs, measured.elapsed);
    let [reads, writes] = &measured.latencies;
    let mut all = reads.clone();
    all.merge(writes);
    Ok(Report {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        target: target(device),
        workload: workload(args, plan),
        elapsed_secs: measured.elapsed.as_secs_f64(),
        ended_by: engine.ending(),
        total: share(&all),
        read: (shape.reads_percent > 0).then(|| share(reads)),
        write: (shape.reads_percent < 100).then(|| share(writes)),
        cpu,
        errors: engine.errors(),
        verify: engine.verified().map(|verified| report::Verified { read_back, ..verified }),
        depth_reached,
        problems: engine.problems().to_vec(),
    })
}

fn target(device: &dyn Device) -> Target {
    let info = device.info();
    Target { name: info.name.clone(), kind: info.kind, block_bytes: info.block_bytes, size_bytes: info.bytes() }
}

fn workload(args: &Args, plan: &Plan) -> Workload {
    let shape = plan.shape;
    let secs = match plan.goal {
        Goal::For(time) => Some(time.as_secs_f64()),
        Goal::Count(_) | Goal::Sweep => None,
    };
    Workload {
        rw: shape.rw,
        reads_percent: shape.reads_percent,
        bs_bytes: shape.unit_bytes as u64,
        depth: shape.depth,
        queues: plan.queues,
        offset_bytes: shape.address(0),
        range_bytes: shape.units * shape.unit_bytes as u64,
        seed: shape.seed,
        fua: shape.fua,
        filled: plan.fill,
        warmup_secs: plan.warmup.unwrap_or_default().as_secs_f64(),
        secs,
        count: args.count,
        cpu: args.cpu,
        dedicated: args.dedicated,
    }
}
