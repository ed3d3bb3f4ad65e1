//! What a run found out, as numbers, and as one JSON object for scripts. Pure. [`super::text`] has the words.
//!
//! The JSON object has all that the text says and `"schema": 1`; fields may be added under that number, but none
//! changes its name, unit or meaning. Units are in the names.
//!
//! A run has one step, or one for each depth of a load curve. The fields of the last step stand at the top of the
//! object, where they are when there is no curve; a curve has all of them in `steps`.

use std::time::Duration;

use machine::os::Usage;
use machine::reactor::Snapshot;
use serde::Serialize;

use super::crew::Measured;
use super::engine::Found;
use super::latency::{Bar, Latencies};
use super::tally::Tally;
use super::workload::Rw;

/// Version of the JSON object.
const SCHEMA: u32 = 1;

/// Everything about a run.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) version: &'static str,
    pub(super) targets: Vec<Target>,
    pub(super) workload: Workload,
    pub(super) ended_by: Ending,
    /// At least one.
    pub(super) steps: Vec<Step>,
    pub(super) errors: Errors,
    /// Only with `--verify`.
    pub(super) verify: Option<Verified>,
    /// The first errors and miscompares, as sentences.
    pub(super) problems: Vec<String>,
}

/// The report as a JSON object.
#[derive(Serialize)]
struct Json<'a> {
    schema: u32,
    version: &'a str,
    /// The first, which is the only one in most runs.
    target: &'a Target,
    #[serde(skip_serializing_if = "<[Target]>::is_empty")]
    targets: &'a [Target],
    workload: &'a Workload,
    ended_by: Ending,
    #[serde(flatten)]
    last: &'a Step,
    #[serde(skip_serializing_if = "<[Step]>::is_empty")]
    steps: &'a [Step],
    errors: Errors,
    verify: Option<Verified>,
    problems: &'a [String],
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Step {
    /// Requests in flight on each queue.
    pub(super) depth: usize,
    /// From the first submission to the last completion.
    pub(super) elapsed_secs: f64,
    pub(super) total: Share,
    /// Only for workloads that read.
    pub(super) read: Option<Share>,
    /// Only for workloads that write.
    pub(super) write: Option<Share>,
    pub(super) cpu: Cpu,
    /// The most requests that were in flight at once, of each queue, reactor by reactor.
    pub(super) depth_reached: Vec<usize>,
    /// Each target, if there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) by_target: Vec<TargetStep>,
    /// Each reactor, if there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) by_reactor: Vec<ReactorStep>,
}

/// What one of several targets did.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TargetStep {
    pub(super) name: String,
    pub(super) total: Share,
    pub(super) errors: Errors,
}

/// What one of several reactors did.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct ReactorStep {
    pub(super) ios: u64,
    pub(super) queues: usize,
    #[serde(flatten)]
    pub(super) clocks: Clocks,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) kind: &'static str,
    /// The way that its requests went, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<&'static str>,
    pub(super) block_bytes: u32,
    pub(super) size_bytes: u64,
}

/// What was asked of it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Workload {
    pub(super) rw: Rw,
    pub(super) reads_percent: u8,
    pub(super) bs_bytes: u64,
    /// Of the last step.
    pub(super) depth: usize,
    /// Of each target.
    pub(super) queues: usize,
    pub(super) reactors: usize,
    pub(super) offset_bytes: u64,
    pub(super) range_bytes: u64,
    pub(super) seed: u64,
    pub(super) fua: bool,
    pub(super) filled: bool,
    pub(super) warmup_secs: f64,
    pub(super) secs: Option<f64>,
    pub(super) count: Option<u64>,
    /// Requests due in a second, if they came by the clock.
    pub(super) rate: Option<f64>,
    /// Of the first reactor.
    pub(super) cpu: Option<usize>,
    pub(super) cpus: Vec<usize>,
    pub(super) dedicated: bool,
    /// Reactors slept as soon as there was nothing to do.
    pub(super) shared: bool,
    /// The device lent its memory; otherwise requests carried buffers.
    pub(super) lend: bool,
    /// Buffers of the scatter list that each request carried, if it was one.
    pub(super) iov: Option<usize>,
}

/// Why the measured phase ended; the worst of what several reactors say is last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Ending {
    /// `--secs` were over, or `--count` requests were done.
    Goal,
    /// SIGINT or SIGTERM.
    Interrupt,
    /// Too many errors, or the connection broke.
    Errors,
    /// A read did not give what had been written.
    Miscompare,
}

/// The requests of one direction, or of both. Failed ones are not in it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Share {
    pub(super) ios: u64,
    pub(super) bytes: u64,
    pub(super) iops: f64,
    pub(super) mib_per_sec: f64,
    pub(super) latency_us: Summary,
    pub(super) histogram: Vec<Bar>,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Summary {
    pub(super) min: f64,
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p99_9: f64,
    pub(super) max: f64,
}

/// What the measured phase cost this process.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Cpu {
    /// Of all reactors together.
    #[serde(flatten)]
    pub(super) clocks: Clocks,
    pub(super) user_secs: f64,
    pub(super) system_secs: f64,
    /// User and system time per completed request.
    pub(super) us_per_io: f64,
    pub(super) involuntary_switches: u64,
}

/// Shares of wall time in per cent: passes that found work, passes that found none, asleep.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Clocks {
    pub(super) busy_percent: f64,
    pub(super) idle_percent: f64,
    pub(super) asleep_percent: f64,
    /// busy / (busy + idle): how loaded the reactor is, whether or not it spins.
    pub(super) effective_percent: f64,
}

/// Requests that did not do what they should.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Errors {
    pub(super) read: u64,
    pub(super) write: u64,
    /// Still in flight when the program gave up waiting.
    pub(super) unfinished: u64,
}

impl Errors {
    /// Of all kinds.
    pub(super) fn total(&self) -> u64 {
        self.read + self.write + self.unfinished
    }

    /// Adds others.
    pub(super) fn merge(&mut self, other: Self) {
        self.read += other.read;
        self.write += other.write;
        self.unfinished += other.unfinished;
    }
}

/// What `--verify` did, in all phases.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Verified {
    /// Reads that were compared.
    pub(super) checked: u64,
    /// Reads of units that this run had not written (or whose write failed).
    pub(super) skipped: u64,
    pub(super) miscompares: u64,
    /// Whether everything written was read back once at the end.
    pub(super) read_back: bool,
}

impl Verified {
    /// Adds another count.
    pub(super) fn merge(&mut self, other: Self) {
        self.checked += other.checked;
        self.skipped += other.skipped;
        self.miscompares += other.miscompares;
        self.read_back |= other.read_back;
    }
}

impl Clocks {
    /// Of reactors together: each counts for as long as it ran.
    fn new<'a>(reactors: impl Iterator<Item = &'a Snapshot>) -> Self {
        let mut all = Snapshot::default();
        for one in reactors {
            all.busy += one.busy;
            all.idle += one.idle;
            all.asleep += one.asleep;
        }
        let wall = (all.busy + all.idle + all.asleep).as_secs_f64();
        let percent = |part: Duration| if wall > 0.0 { part.as_secs_f64() / wall * 100.0 } else { 0.0 };
        Self {
            busy_percent: percent(all.busy),
            idle_percent: percent(all.idle),
            asleep_percent: percent(all.asleep),
            effective_percent: all.effective() * 100.0,
        }
    }
}

impl Cpu {
    /// From the reactors' clocks and the process's usage before and after.
    fn new(clocks: Clocks, before: Usage, after: Usage, ios: u64) -> Self {
        let user_secs = after.user.saturating_sub(before.user).as_secs_f64();
        let system_secs = after.system.saturating_sub(before.system).as_secs_f64();
        Self {
            clocks,
            user_secs,
            system_secs,
            us_per_io: if ios > 0 { (user_secs + system_secs) * 1e6 / ios as f64 } else { 0.0 },
            involuntary_switches: after.involuntary_switches.saturating_sub(before.involuntary_switches),
        }
    }
}

impl Step {
    /// Sums up a measurement of requests of the workload's size on these targets.
    pub(super) fn new(measured: &Measured, workload: &Workload, targets: &[Target]) -> Self {
        let found = measured.reactors.iter().map(|(_, found)| found);
        let (bs, elapsed) = (workload.bs_bytes, Found::elapsed(found.clone()));
        let tallies = measured.tallies(targets.len());
        let mut all = Tally::new();
        tallies.iter().for_each(|tally| all.merge(tally));
        let [reads, writes] = &all.latencies;
        let by_target = targets.iter().zip(&tallies).map(|(target, tally)| TargetStep {
            name: target.name.clone(),
            total: Share::both(tally, bs, elapsed),
            errors: tally.errors,
        });
        let by_reactor = measured.reactors.iter().map(|(snapshot, found)| ReactorStep {
            ios: found.tallies.iter().map(|(_, tally)| tally.ios()).sum(),
            queues: found.peaks.len(),
            clocks: Clocks::new(std::iter::once(snapshot)),
        });
        let clocks = Clocks::new(measured.reactors.iter().map(|(snapshot, _)| snapshot));
        Self {
            depth: measured.depth,
            elapsed_secs: elapsed.as_secs_f64(),
            total: Share::both(&all, bs, elapsed),
            read: (workload.reads_percent > 0).then(|| Share::new(reads, bs, elapsed)),
            write: (workload.reads_percent < 100).then(|| Share::new(writes, bs, elapsed)),
            cpu: Cpu::new(clocks, measured.before, measured.after, all.ios()),
            depth_reached: found.flat_map(|found| found.peaks.iter().copied()).collect(),
            by_target: if targets.len() > 1 { by_target.collect() } else { Vec::new() },
            by_reactor: if measured.reactors.len() > 1 { by_reactor.collect() } else { Vec::new() },
        }
    }
}

impl Share {
    /// Reads and writes together.
    fn both(tally: &Tally, bs: u64, elapsed: Duration) -> Self {
        let [reads, writes] = &tally.latencies;
        let mut all = reads.clone();
        all.merge(writes);
        Self::new(&all, bs, elapsed)
    }

    /// Sums up requests of `bs` bytes each that completed within `elapsed`.
    pub(super) fn new(latencies: &Latencies, bs: u64, elapsed: Duration) -> Self {
        let (ios, secs) = (latencies.count(), elapsed.as_secs_f64());
        let per_sec = |amount: f64| if secs > 0.0 { amount / secs } else { 0.0 };
        Self {
            ios,
            bytes: ios * bs,
            iops: per_sec(ios as f64),
            mib_per_sec: per_sec((ios * bs) as f64 / f64::from(1 << 20)),
            latency_us: Summary {
                min: latencies.min_us(),
                mean: latencies.mean_us(),
                p50: latencies.quantile_us(0.5),
                p90: latencies.quantile_us(0.9),
                p99: latencies.quantile_us(0.99),
                p99_9: latencies.quantile_us(0.999),
                max: latencies.max_us(),
            },
            histogram: latencies.bars(),
        }
    }
}

impl Report {
    /// Whether the program should exit with 0.
    pub(super) fn success(&self) -> bool {
        let well = self.ended_by != Ending::Errors && self.errors.total() == 0;
        well && self.verify.is_none_or(|verify| verify.miscompares == 0)
    }

    /// The last step, which is the only one if there is no curve.
    pub(super) fn last(&self) -> &Step {
        self.steps.last().expect("a run has a step")
    }

    /// One JSON object, in one line.
    pub(super) fn json(&self) -> String {
        let json = Json {
            schema: SCHEMA,
            version: self.version,
            target: &self.targets[0],
            targets: if self.targets.len() > 1 { &self.targets } else { &[] },
            workload: &self.workload,
            ended_by: self.ended_by,
            last: self.last(),
            steps: if self.steps.len() > 1 { &self.steps } else { &[] },
            errors: self.errors,
            verify: self.verify,
            problems: &self.problems,
        };
        serde_json::to_string(&json).expect("numbers and strings only")
    }
}
