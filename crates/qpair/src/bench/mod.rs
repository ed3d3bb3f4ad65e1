//! `qpair bench`: measures a block device, local or at the other end of an NVMe/TCP connection, or a cache.
//!
//! | file | idea |
//! |---|---|
//! | [`plan`] | arguments and device to phases, or to a sentence about why not |
//! | [`crew`] | the reactors, and who conducts them |
//! | [`engine`], [`lane`], [`book`] | the poller of a reactor, one of its queues, what it notes about a target |
//! | [`workload`], [`pace`] | which block next, and which way; when |
//! | [`zoned`], [`filling`] | targets with zones, and how a queue fills them |
//! | [`verify`] | blocks that say where they belong |
//! | [`latency`], [`tally`], [`report`], [`live`], [`series`] | what it found out |
//! | [`text`], [`html`] | the same for people |
//! | [`compare`] | the same on several paths of a device, beside each other |
//! | [`cache`] | caches, which are asked by keys |

mod book;
mod cache;
mod compare;
mod crew;
mod engine;
mod filling;
mod html;
mod lane;
mod latency;
mod limits;
mod live;
mod pace;
mod plan;
mod report;
mod series;
mod tally;
#[cfg(test)]
mod tests;
mod text;
mod verify;
mod workload;
mod zoned;
#[cfg(test)]
mod zoned_tests;

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path as FilePath, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use block::path::Path;
use block::size::parse_size;
use block::spec::Spec;
use block::{Device, Info, OpenError, OpenOptions};
use machine::ring::RingKind;
use uuid::Uuid;

pub(crate) use cache::{Zipf, keys, theta};
use crew::Work;
use live::{Live, Progress, Wanted};
use plan::{Goal, Plan};
use report::{Ending, Report, Step, Target, Workload};
use series::Series;
pub(crate) use workload::Rng;
use workload::Rw;

const EXAMPLES: &str = "\
Examples:
  qpair bench \"nvme-tcp://127.0.0.1:4420/nqn.2026-01.org.example:disk?ns=1\" --rw randread --bs 4k --qd 32 --secs 5
  qpair bench ram:1GiB --rw randrw --mix 70 --fill
  qpair bench disk.img --rw write --bs 128k --verify --count 100000 --json

  A load curve: what each depth gives, and what it costs in latency and CPU time
  qpair bench disk.img --qd 1,4,16,64 --secs 3

  Two reactors on two cores, four queues on each of two targets
  qpair bench \"nvme-tcp://10.0.0.1/NQN?ns=1\" \"nvme-tcp://10.0.0.2/NQN?ns=1\" --queues 4 --reactors 2 --cpus 0,1

  The same file by another path; several paths beside each other, in turns
  qpair bench disk.img,path=threads --qd 32
  qpair bench disk.img --compare uring,aio,threads,sync --qd 1,32 --shared

  The same as a page with charts
  qpair bench disk.img --qd 1,4,16,64 --html report.html

  Zone appends, each read back where the device put it
  qpair bench /dev/ng0n1 --rw append --bs 16k --qd 32 --verify

  Latencies at 50,000 requests a second, whatever the device does
  qpair bench disk.img --rate 50k --qd 256

  A cache: 100,000 items, nine gets for a set, 50 connections that send 16 requests together
  qpair bench memcache://127.0.0.1:11211 --prefill --zipf 0.99 --pipeline 16 --server-pid $(pidof qpair)

Without --rate, a queue asks again when it has an answer: while a device stalls nothing is asked, and the stall shows up
in as many latencies as the queue is deep (coordinated omission). With --rate, requests are due at fixed times, and a
latency starts when its request was due.

Writing is destructive: --rw write, randwrite, rw, randrw, append, --fill, and --verify (which fills the range first if
the workload only reads) overwrite what the targets hold, within --offset and --size.

Zones are written in sequence: --rw append and --rw write on a zoned target RESET all zones of the range first, fill
several of them in turn, and reset those that are filled again. Appends are native commands, at any depth; writes are
one at a time in each zone. What is not in sequence is refused.

A cache is driven by one thread, and the report says when that was the limit; --rate, --secs, --warmup, --seed, --cpus,
--dedicated, --verify, --json are as for devices. --verify knows what belongs to a key, but not an older value from a
newer one: both are the same.

The exit code is 1 if a request failed, did not complete, or gave back other data than was written.";

/// Measure devices: IOPS, throughput, latencies
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// nvme-tcp://HOST:PORT/NQN?ns=N, a path, ram:SIZE, null:SIZE, memcache:// or resp://HOST:PORT
    ///
    /// Several share the load; a cache is measured by itself.
    #[arg(required = true, value_name = "TARGET")]
    pub(crate) targets: Vec<String>,

    /// What to ask for; everything but read and randread OVERWRITES the target
    #[arg(long, value_enum, default_value_t = Rw::RandRead)]
    pub(crate) rw: Rw,

    /// Share of reads in rw and randrw, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 70, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) mix: u8,

    /// Bytes of a request
    #[arg(long, value_name = "SIZE", default_value = "4k", value_parser = parse_size)]
    pub(crate) bs: u64,

    /// Requests kept in flight on each queue; several, as 1,4,16, are measured one after the other
    #[arg(long, value_name = "N", default_value = "32", value_delimiter = ',', value_parser = plan::depth)]
    pub(crate) qd: Vec<usize>,

    /// I/O queues of each target, for NVMe/TCP one connection each [default: 1, or one for each reactor]
    #[arg(long, value_name = "N", value_parser = plan::queues)]
    pub(crate) queues: Option<usize>,

    /// Threads that the queues are dealt out to
    #[arg(long, value_name = "N", default_value = "1", value_parser = plan::reactor_count)]
    pub(crate) reactors: usize,

    /// Ask so many times a second (50k, 1.5M) instead of when there is an answer; --qd is the most in flight
    #[arg(long, value_name = "IOPS", value_parser = plan::rate)]
    pub(crate) rate: Option<f64>,

    /// Measure for so many seconds [default: 5, with --compare 1]
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

    /// Let the device lend its memory (ram, null): nothing is copied, and nothing read is looked at but with --verify
    #[arg(long)]
    pub(crate) lend: bool,

    /// Cut the bytes of each request into a scatter list of so many buffers, of odd lengths where the device takes them
    #[arg(long, value_name = "N", value_parser = plan::pieces, conflicts_with = "lend", hide_short_help = true)]
    pub(crate) iov: Option<usize>,

    /// Pin the reactors to these processors
    #[arg(long, value_name = "LIST", value_delimiter = ',', alias = "cpu")]
    pub(crate) cpus: Vec<usize>,

    /// Never sleep: poll all the time, for the shortest latencies
    #[arg(long)]
    pub(crate) dedicated: bool,

    /// Never spin: sleep as soon as there is nothing to do, for the least CPU time
    #[arg(long, conflicts_with = "dedicated", hide_short_help = true)]
    pub(crate) shared: bool,

    /// What serves files: uring, iocp, portable (worker threads), or auto, the better one that is available
    #[arg(long, value_name = "KIND", default_value_t = RingKind::Auto)]
    pub(crate) ring: RingKind,

    /// The way to all targets that do not name their own with path=: uring, iocp, threads, aio or sync for files
    #[arg(long)]
    pub(crate) path: Option<Path>,

    /// Measure these paths of one target in turns, and show their medians and ratios to the first
    #[arg(long, value_name = "PATH,PATH,...", value_delimiter = ',', conflicts_with_all = ["path", "html"])]
    pub(crate) compare: Vec<Path>,

    /// Rounds of --compare [default: 5]
    #[arg(long, value_name = "N", requires = "compare", value_parser = plan::rounds, hide_short_help = true)]
    pub(crate) rounds: Option<usize>,

    /// Print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,

    /// Write a page with tables and charts as well: one file, to be opened in any browser
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// No live line, as if standard error were no terminal
    #[arg(long, short)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) cache: cache::CacheArgs,
}

/// Runs the command; SIGINT and SIGTERM (see [`crate::signals`]) end it early, with the report so far. With `--verify`
/// what was written is still read back, for [`limits::LAST_READ_BACK_LIMIT`] at most.
///
/// # Errors
/// What keeps the run from starting; a run that has started ends with a report.
pub(crate) fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    if args.targets.iter().any(|target| cache::is_cache(target)) {
        return cache::run(&args);
    }
    if let Some(option) = args.cache.given() {
        return Err(format!("{option} is for caches: memcache://HOST:PORT, resp://HOST:PORT").into());
    }
    if !args.compare.is_empty() {
        crate::signals::watch(|| {})?;
        let Some(found) = compare::compare(&args)? else { return Ok(ExitCode::FAILURE) };
        print(if args.json { found.json() + "\n" } else { found.text() })?;
        return Ok(ExitCode::SUCCESS);
    }
    let devices = open(&args)?;
    let on_ring = devices.iter().any(|device| on_file(device.info()) && device.path().is_none());
    if on_ring && let Some(reason) = args.ring.choose()?.reason {
        eprintln!("without io_uring: {}\n  {}", reason.why, reason.hint);
    }
    crate::signals::watch(|| {})?;
    let page = args.html.as_deref().map(create_page).transpose()?;
    let (report, series) = run_once(&devices, &args, crate::signals::stop_flag())?;
    for problem in &report.problems {
        eprintln!("{problem}");
    }
    print(if args.json { report.json() + "\n" } else { report.text() })?;
    if let (Some(mut page), Some(path)) = (page, &args.html) {
        page.write_all(report.html(&series).as_bytes()).map_err(|error| page_error(path, &error))?;
    }
    close(&devices, &report)?;
    Ok(if report.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(text: String) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes())
}

/// 32 bits, so that every JSON reader can give the number back.
fn fresh_seed() -> u64 {
    Uuid::new_v4().as_u64_pair().0 >> 32
}

/// Plans and measures, with the live line; the series is empty unless a page is to show it.
fn run_once(devices: &[Arc<dyn Device>], args: &Args, stop: &AtomicBool) -> Result<(Report, Series), Box<dyn Error>> {
    let plan = Plan::new(args, &infos(devices), &zoned::maps(devices, args)?, fresh_seed())?;
    zoned::reset(devices, &plan)?;
    let progress: Vec<_> = plan.reactors.iter().map(|_| Arc::new(Progress::default())).collect();
    let live = Live::start(Wanted { line: !args.quiet, series: args.html.is_some() }, args.bs, &progress);
    let result = measure(devices, args, &plan, &progress, stop);
    let series = live.finish();
    Ok((result?, series))
}

/// Closes the devices. One that is lost has nothing left to say.
fn close(devices: &[Arc<dyn Device>], report: &Report) -> io::Result<()> {
    if report.ended_by == Ending::Errors { Ok(()) } else { devices.iter().try_for_each(|device| device.close()) }
}

/// Makes the file for the page before anything is measured: a run is not to be lost for a name that is wrong.
fn create_page(path: &FilePath) -> io::Result<File> {
    File::create(path).map_err(|error| page_error(path, &error))
}

fn page_error(path: &FilePath, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("the page {} cannot be written: {error}", path.display()))
}

/// Opens the targets. An address that does not name a depth gets queues as deep as the run needs.
fn open(args: &Args) -> Result<Vec<Arc<dyn Device>>, OpenError> {
    let depth = args.qd.iter().copied().max();
    let open = |name: &String| {
        let size = args.size.filter(|_| !has_a_size(name));
        block::open(name, &OpenOptions { size, depth, path: args.path, ..OpenOptions::default() })
    };
    args.targets.iter().map(open).collect()
}

/// Whether a target is there and has a size of its own, of which `--size` is a part.
fn has_a_size(name: &str) -> bool {
    let spec = name.parse::<Spec>();
    let found = spec.ok().and_then(|spec| std::fs::metadata(spec.target.path()?).ok());
    found.is_some_and(|found| !found.is_file() || found.len() > 0)
}

fn infos(devices: &[Arc<dyn Device>]) -> Vec<&Info> {
    devices.iter().map(|device| device.info()).collect()
}

/// Runs all stages and sums up what they found.
///
/// # Errors
/// Those of opening queues, of memory, and of the reactors.
fn measure(
    devices: &[Arc<dyn Device>],
    args: &Args,
    plan: &Plan,
    progress: &[Arc<Progress>],
    stop: &AtomicBool,
) -> io::Result<Report> {
    let outcome = crew::run(Work { devices, plan, progress, stop })?;
    let targets: Vec<Target> = devices.iter().map(|device| target(&**device, args.ring)).collect::<Result<_, _>>()?;
    let mut workload = workload(args, plan);
    let steps: Vec<Step> = outcome.steps.iter().map(|measured| Step::new(measured, &workload, &targets)).collect();
    workload.depth = steps.last().map_or(0, |step| step.depth);
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        targets,
        workload,
        ended_by: outcome.ending,
        steps,
        errors: outcome.errors,
        verify: args.verify.then_some(outcome.verified),
        problems: outcome.problems,
    })
}

/// What the report says of a device.
///
/// # Errors
/// The ring that its requests went by is not to be had any more.
fn target(device: &dyn Device, ring: RingKind) -> io::Result<Target> {
    let info = device.info();
    let path = match device.path() {
        None if on_file(info) => Some(match ring.choose()?.kind {
            RingKind::Uring => Path::Uring,
            RingKind::Iocp => Path::Iocp,
            RingKind::Portable | RingKind::Auto => Path::Threads,
        }),
        path => path,
    };
    let (name, path) = (info.name.clone(), path.map(Path::name));
    Ok(Target { name, kind: info.kind, path, block_bytes: info.block_bytes, size_bytes: info.bytes() })
}

fn on_file(info: &Info) -> bool {
    matches!(info.kind, "file" | "block")
}

fn workload(args: &Args, plan: &Plan) -> Workload {
    let shape = &plan.shapes[0];
    let secs = match plan.goal {
        Goal::For(time) => Some(time.as_secs_f64()),
        Goal::Count(_) | Goal::Sweep | Goal::LastSweep(_) => None,
    };
    Workload {
        rw: shape.rw,
        reads_percent: shape.reads_percent,
        bs_bytes: shape.unit_bytes as u64,
        depth: shape.depth,
        queues: plan.queues,
        reactors: plan.reactors.len(),
        offset_bytes: shape.address(0),
        range_bytes: shape.units * shape.unit_bytes as u64,
        seed: shape.seed,
        fua: shape.fua,
        filled: plan.fill,
        warmup_secs: plan.warmup.unwrap_or_default().as_secs_f64(),
        secs,
        count: args.count,
        rate: args.rate,
        cpu: args.cpus.first().copied(),
        cpus: args.cpus.clone(),
        dedicated: args.dedicated,
        shared: args.shared,
        lend: args.lend,
        iov: args.iov,
    }
}
