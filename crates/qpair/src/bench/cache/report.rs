//! What a run against a cache found out, as one JSON object and in words.

use std::fmt::{Result, Write as _};
use std::time::Duration;

use block::size::format_size as human;
use machine::os::Usage;
use machine::reactor::Snapshot;
use serde::Serialize;

use super::book::Tally;
use super::limits::LIMIT_BUSY;
use super::plan::Plan;
use super::protocol::Protocol;
use crate::bench::latency::{Bar, Latencies};
use crate::bench::report::Ending;
use crate::bench::text::{KEPT_UP, counted, grouped, write_bars};

/// Version of the JSON object. Fields may be added; one that changes or goes makes a new version.
const SCHEMA: u32 = 1;

/// Everything about a run. Units are in the names.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    schema: u32,
    version: &'static str,
    target: String,
    protocol: Protocol,
    workload: Workload,
    ended_by: Ending,
    elapsed_secs: f64,
    operations: u64,
    operations_per_sec: f64,
    /// Of values, in both directions.
    mib_per_sec: f64,
    hits: u64,
    misses: u64,
    /// Requests that the server refused, in all stages.
    errors: u64,
    latency_us: Percentiles,
    get: Option<Share>,
    set: Option<Share>,
    generator: Generator,
    server: Option<Server>,
    verify: Option<Verified>,
    problems: Vec<String>,
}

/// What was asked.
#[derive(Clone, Debug, Serialize)]
struct Workload {
    gets: u32,
    sets: u32,
    keys: u32,
    key_bytes: usize,
    value_bytes_least: usize,
    value_bytes_most: usize,
    /// Uniform if there is none.
    zipf: Option<f64>,
    ttl_secs: u32,
    connections: usize,
    pipeline: usize,
    rate: Option<f64>,
    prefilled: bool,
    warmup_secs: f64,
    secs: f64,
    seed: u64,
}

/// The requests of one kind.
#[derive(Clone, Debug, Serialize)]
struct Share {
    operations: u64,
    latency_us: Percentiles,
    histogram: Vec<Bar>,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Percentiles {
    min: f64,
    mean: f64,
    p50: f64,
    p90: f64,
    p95: f64,
    p99: f64,
    p99_9: f64,
    p99_99: f64,
    max: f64,
}

/// What the run cost this process.
#[derive(Clone, Copy, Debug, Serialize)]
struct Generator {
    /// Of its thread's time.
    busy_percent: f64,
    cpu_us_per_operation: f64,
    /// It had hardly any time left: the server may be able to do more.
    was_the_limit: bool,
}

/// What it cost the server.
#[derive(Clone, Copy, Debug, Serialize)]
struct Server {
    pid: u32,
    cpu_us_per_operation: f64,
    /// Of one core.
    busy_percent: f64,
}

/// What `--verify` looked at, in all stages.
#[derive(Clone, Copy, Debug, Serialize)]
struct Verified {
    checked: u64,
    wrong: u64,
}

/// What was measured.
pub(super) struct Found {
    pub(super) ending: Ending,
    pub(super) tally: Tally,
    pub(super) elapsed: Duration,
    pub(super) clocks: Snapshot,
    pub(super) used: [Usage; 2],
    /// CPU time of the server, before and after.
    pub(super) server: Option<[Duration; 2]>,
    pub(super) refused: u64,
    pub(super) checked: u64,
    pub(super) wrong: u64,
    pub(super) problems: Vec<String>,
}

impl Percentiles {
    fn of(latencies: &Latencies) -> Self {
        Self {
            min: latencies.min_us(),
            mean: latencies.mean_us(),
            p50: latencies.quantile_us(0.5),
            p90: latencies.quantile_us(0.9),
            p95: latencies.quantile_us(0.95),
            p99: latencies.quantile_us(0.99),
            p99_9: latencies.quantile_us(0.999),
            p99_99: latencies.quantile_us(0.9999),
            max: latencies.max_us(),
        }
    }
}

impl Share {
    fn of(latencies: &Latencies) -> Option<Self> {
        let operations = latencies.count();
        let share = || Self { operations, latency_us: Percentiles::of(latencies), histogram: latencies.bars() };
        (operations > 0).then(share)
    }
}

impl Report {
    pub(super) fn new(plan: &Plan, found: Found) -> Self {
        let Found { tally, elapsed, .. } = &found;
        let (operations, secs) = (tally.operations(), elapsed.as_secs_f64());
        let per_sec = |amount: f64| if secs > 0.0 { amount / secs } else { 0.0 };
        let per_operation = |time: Duration| time.as_secs_f64() * 1e6 / operations.max(1) as f64;
        let [before, after] = found.used;
        let used = (after.user + after.system).saturating_sub(before.user + before.system);
        let Snapshot { busy, idle, asleep, .. } = found.clocks;
        let busy = busy.as_secs_f64() / (busy + idle + asleep).as_secs_f64().max(1e-9);
        let server = found.server.zip(plan.server).map(|([before, after], pid)| {
            let used = after.saturating_sub(before);
            let busy_percent = per_sec(used.as_secs_f64()) * 100.0;
            Server { pid, cpu_us_per_operation: per_operation(used), busy_percent }
        });
        let mut all = tally.gets.clone();
        all.merge(&tally.sets);
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            target: plan.name.clone(),
            protocol: plan.protocol,
            workload: Workload::of(plan),
            ended_by: found.ending,
            elapsed_secs: secs,
            operations,
            operations_per_sec: per_sec(operations as f64),
            mib_per_sec: per_sec(tally.value_bytes as f64 / f64::from(1 << 20)),
            hits: tally.hits,
            misses: tally.gets.count() - tally.hits,
            errors: found.refused,
            latency_us: Percentiles::of(&all),
            get: Share::of(&tally.gets),
            set: Share::of(&tally.sets),
            generator: Generator {
                busy_percent: busy * 100.0,
                cpu_us_per_operation: per_operation(used),
                was_the_limit: busy >= LIMIT_BUSY,
            },
            server,
            verify: plan.verify.then_some(Verified { checked: found.checked, wrong: found.wrong }),
            problems: found.problems,
        }
    }

    /// The first problems, as sentences.
    pub(super) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Whether the program should exit with 0.
    pub(super) fn success(&self) -> bool {
        matches!(self.ended_by, Ending::Goal | Ending::Interrupt) && self.errors == 0
    }

    /// One JSON object, in one line.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers and strings only")
    }

    /// The text for people, ending with a line break.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        self.write_text(&mut out).expect("a String takes everything");
        out
    }

    fn write_text(&self, out: &mut String) -> Result {
        writeln!(out, "{}", self.target)?;
        self.workload.write(out, self.elapsed_secs)?;
        let (rate, all) = (grouped(self.operations_per_sec.round() as u64), grouped(self.operations));
        writeln!(out, "total  {rate} operations/s   {:.1} MiB/s   {all} operations", self.mib_per_sec)?;
        let (hits, misses) = (self.hits, self.misses);
        if hits + misses > 0 {
            let percent = hits as f64 / (hits + misses) as f64 * 100.0;
            writeln!(out, "       {percent:.2} % hits: {} hits, {} misses", grouped(hits), grouped(misses))?;
        }
        for (name, share) in [("get", &self.get), ("set", &self.set)] {
            let Some(Share { operations, latency_us, histogram }) = share else { continue };
            writeln!(out, "{name}    {} operations", grouped(*operations))?;
            latency_us.write(out)?;
            write_bars(out, histogram)?;
        }
        let Generator { busy_percent, cpu_us_per_operation, .. } = self.generator;
        writeln!(out, "cpu    generator busy {busy_percent:.1} %, {cpu_us_per_operation:.2} us per operation")?;
        if let Some(Server { pid, cpu_us_per_operation, busy_percent }) = self.server {
            writeln!(
                out,
                "       server {pid} {busy_percent:.1} % of a core, {cpu_us_per_operation:.2} us per operation"
            )?;
        }
        self.write_notes(out)
    }

    fn write_notes(&self, out: &mut String) -> Result {
        if let Some(Verified { checked, wrong }) = self.verify {
            writeln!(out, "verify {} values checked, {wrong} wrong", grouped(checked))?;
        }
        if self.errors > 0 {
            writeln!(out, "errors {} requests were refused", grouped(self.errors))?;
        }
        if self.generator.was_the_limit {
            writeln!(out, "note   the generator was the limit: its thread was busy all the time")?;
        }
        if let Some(rate) = self.workload.rate.filter(|rate| self.operations_per_sec < rate * KEPT_UP) {
            let (done, rate) = (grouped(self.operations_per_sec.round() as u64), grouped(rate.round() as u64));
            writeln!(out, "note   {done} of {rate} operations a second were done: latencies grow to the end")?;
        }
        match self.ended_by {
            Ending::Goal => Ok(()),
            Ending::Interrupt => writeln!(out, "note   interrupted; these are the figures so far"),
            Ending::Errors => writeln!(out, "note   ended early because of errors"),
            Ending::Miscompare => writeln!(out, "note   ended early because of a wrong value"),
        }
    }
}

impl Workload {
    fn of(plan: &Plan) -> Self {
        let [gets, sets] = plan.ratio;
        Self {
            gets,
            sets,
            keys: plan.items,
            key_bytes: plan.key_bytes,
            value_bytes_least: plan.sizes.least,
            value_bytes_most: plan.sizes.most,
            zipf: plan.zipf,
            ttl_secs: plan.ttl,
            connections: plan.connections,
            pipeline: plan.pipeline,
            rate: plan.rate,
            prefilled: plan.prefill,
            warmup_secs: plan.warmup.as_secs_f64(),
            secs: plan.time.as_secs_f64(),
            seed: plan.seed,
        }
    }

    fn write(&self, out: &mut String, elapsed: f64) -> Result {
        let Self { gets, sets, key_bytes, value_bytes_least: least, value_bytes_most: most, pipeline, seed, .. } = self;
        write!(out, "get:set {gets}:{sets}, {} keys of {}, ", grouped(self.keys.into()), human(*key_bytes as u64))?;
        match (least == most, human(*least as u64), human(*most as u64)) {
            (true, size, _) => write!(out, "values of {size}, ")?,
            (false, least, most) => write!(out, "values of {least} to {most}, ")?,
        }
        match self.zipf {
            Some(theta) => write!(out, "zipf {theta}")?,
            None => write!(out, "uniform")?,
        }
        let rate = self.rate.map(|rate| format!("{} a second, ", grouped(rate.round() as u64))).unwrap_or_default();
        let connections = counted(self.connections, "connection");
        writeln!(out, "\n{rate}{connections}, pipeline {pipeline}, {elapsed:.2} s, seed {seed}")
    }
}

impl Percentiles {
    fn write(&self, out: &mut String) -> Result {
        let Self { min, mean, p50, p90, p95, p99, p99_9, p99_99, max } = self;
        writeln!(out, "       latency us: mean {mean:.1}  min {min:.1}  p50 {p50:.1}  p90 {p90:.1}  p95 {p95:.1}")?;
        writeln!(out, "                   p99 {p99:.1}  p99.9 {p99_9:.1}  p99.99 {p99_99:.1}  max {max:.1}")
    }
}
