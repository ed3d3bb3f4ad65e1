//! `qpair bench memcache://...`, `resp://...`: measures a cache, as many clients on one thread.
//!
//! | file | idea |
//! |---|---|
//! | [`plan`] | arguments to what is done, or to a sentence about why not |
//! | [`items`], [`zipf`] | keys and the values that belong to them; how often each is asked for |
//! | [`engine`], [`client`], [`book`] | the poller, one of its connections, what they share |
//! | [`protocol`] | what is sent, and what is answered |
//! | [`report`] | what it found out |

mod book;
mod client;
mod engine;
mod items;
mod limits;
mod plan;
mod protocol;
mod report;
#[cfg(test)]
mod tests;
mod zipf;

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use machine::os;
use machine::reactor::{Mode, Reactor, ReactorConfig, Snapshot};
use machine::ring::{Ring, RingKind};

use self::engine::Engine;
use self::items::Sizes;
pub(super) use self::plan::is_cache;
use self::plan::{Plan, Ratio};
pub(crate) use self::plan::{keys, theta};
use self::report::Report;
pub(crate) use self::zipf::Zipf;
use super::live::{Live, Progress, Wanted};
use super::report::Ending;
use super::{Args, fresh_seed, print};

/// What is asked of a cache.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Options for memcache:// and resp://")]
pub(crate) struct CacheArgs {
    /// Gets for so many sets [default: 9:1]
    #[arg(long, value_name = "GET:SET", hide_short_help = true)]
    pub(super) ratio: Option<Ratio>,

    /// Items, as 10k or 2M [default: 100k]
    #[arg(long, value_name = "N", value_parser = plan::keys, hide_short_help = true)]
    pub(super) keys: Option<u32>,

    /// Bytes of a key [default: 20]
    #[arg(long, value_name = "BYTES", value_parser = plan::key_size, hide_short_help = true)]
    pub(super) key_size: Option<usize>,

    /// Bytes of a value, or evenly from one size to another, as 64-1k [default: 64]
    #[arg(long, value_name = "SIZE[-SIZE]", hide_short_help = true)]
    pub(super) value_size: Option<Sizes>,

    /// Ask for item k in proportion to k^-THETA [default: for all alike]
    #[arg(long, value_name = "THETA", value_parser = plan::theta, hide_short_help = true)]
    pub(super) zipf: Option<f64>,

    /// Connections [default: 50]
    #[arg(long, value_name = "N", value_parser = plan::connections, hide_short_help = true)]
    pub(super) connections: Option<usize>,

    /// Requests that a connection sends together, and again when all are answered; with --rate, at most in flight
    /// [default: 1]
    #[arg(long, value_name = "N", value_parser = plan::pipeline, hide_short_help = true)]
    pub(super) pipeline: Option<usize>,

    /// What is set expires after so many seconds [default: never]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..), hide_short_help = true)]
    pub(super) ttl: Option<u32>,

    /// Set every item once before measuring
    #[arg(long, hide_short_help = true)]
    pub(super) prefill: bool,

    /// Tell the CPU time of this process for each operation: the server's, on this machine
    #[arg(long, value_name = "PID", hide_short_help = true)]
    pub(super) server_pid: Option<u32>,
}

impl CacheArgs {
    /// An option that says nothing about a block device.
    pub(super) fn given(&self) -> Option<&'static str> {
        let given = [
            (self.ratio.is_some(), "--ratio"),
            (self.keys.is_some(), "--keys"),
            (self.key_size.is_some(), "--key-size"),
            (self.value_size.is_some(), "--value-size"),
            (self.zipf.is_some(), "--zipf"),
            (self.connections.is_some(), "--connections"),
            (self.pipeline.is_some(), "--pipeline"),
            (self.ttl.is_some(), "--ttl"),
            (self.prefill, "--prefill"),
            (self.server_pid.is_some(), "--server-pid"),
        ];
        given.into_iter().find_map(|(given, name)| given.then_some(name))
    }
}

/// Runs the command against a cache. SIGINT and SIGTERM end it early, with the report so far.
///
/// # Errors
/// What keeps the run from starting; a run that has started ends with a report.
pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let plan = Plan::new(args, fresh_seed())?;
    let _ = os::raise_file_limit();
    crate::signals::watch(|| {})?;
    let progress = Arc::new(Progress::default());
    let wanted = Wanted { line: !args.quiet, series: false };
    let live = Live::start(wanted, plan.mean_value_bytes(), &[Arc::clone(&progress)]);
    let report = measure(&plan, crate::signals::stop_flag(), progress);
    live.finish();
    let report = report?;
    for problem in report.problems() {
        eprintln!("{problem}");
    }
    print(if args.json { report.json() + "\n" } else { report.text() })?;
    Ok(if report.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs all stages, on the calling thread.
///
/// # Errors
/// Those of the connections, of the processor to pin to, and of the server's process.
fn measure(plan: &Plan, stop: &AtomicBool, progress: Arc<Progress>) -> Result<Report, Box<dyn Error>> {
    let config = ReactorConfig { name: "bench".into(), cpu: plan.cpu, mode: Mode::Shared, ring: RingKind::Portable };
    if let Some(cpu) = plan.cpu {
        // First, so that memory is near.
        os::pin_to(cpu)?;
    }
    server_cpu(plan)?;
    let mut ring = Ring::of(config.ring)?;
    let mut engine = Engine::connect(plan, &mut ring, stop, progress)?;
    let (mut clocks, mut used, mut server) = (Snapshot::default(), [os::usage(); 2], None);
    for stage in plan.stages() {
        let before = (os::usage(), server_cpu(plan)?);
        engine.begin(stage);
        let finished = engine.finished();
        clocks = Reactor::run_here(&config, &mut ring, &mut [&mut engine], || finished.get())?;
        let after = (os::usage(), server_cpu(plan).unwrap_or(before.1));
        used = [before.0, after.0];
        server = before.1.zip(after.1).map(|(before, after)| [before, after]);
        if engine.ending != Ending::Goal {
            break;
        }
    }
    Ok(Report::new(plan, engine.found(clocks, used, server)))
}

/// The CPU time of the server's process so far, if it is known which that is.
fn server_cpu(plan: &Plan) -> io::Result<Option<Duration>> {
    let Some(pid) = plan.server else { return Ok(None) };
    let used = os::process_cpu(pid);
    used.map(Some).map_err(|error| io::Error::new(error.kind(), format!("the CPU time of process {pid}: {error}")))
}
