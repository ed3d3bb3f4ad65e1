//! What a run found out, as text for people and as one JSON object for scripts. Pure: numbers in, characters out.
//!
//! The JSON object has all that the text says and `"schema": 1`; fields may be added under that number, but none
//! changes its name, unit or meaning. Units are in the names.

use std::fmt::Write as _;
use std::time::Duration;

use block::size::format_size as human;
use machine::os::Usage;
use machine::reactor::Snapshot;
use serde::Serialize;

use super::latency::{Bar, Latencies};
use super::limits::BAR_COLUMNS;
use super::workload::Rw;

/// Version of the JSON object.
pub(super) const SCHEMA: u32 = 1;

/// Everything about a run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) schema: u32,
    pub(super) version: &'static str,
    pub(super) target: Target,
    pub(super) workload: Workload,
    /// From the first submission of the measured phase to its last completion.
    pub(super) elapsed_secs: f64,
    pub(super) ended_by: Ending,
    pub(super) total: Share,
    /// Only for workloads that read.
    pub(super) read: Option<Share>,
    /// Only for workloads that write.
    pub(super) write: Option<Share>,
    pub(super) cpu: Cpu,
    pub(super) errors: Errors,
    /// Only with `--verify`.
    pub(super) verify: Option<Verified>,
    /// The most requests that were in flight at once, of each queue.
    pub(super) depth_reached: Vec<usize>,
    /// The first errors and miscompares, as sentences.
    pub(super) problems: Vec<String>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) block_bytes: u32,
    pub(super) size_bytes: u64,
}

/// What was asked of it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Workload {
    pub(super) rw: Rw,
    pub(super) reads_percent: u8,
    pub(super) bs_bytes: u64,
    pub(super) depth: usize,
    pub(super) queues: usize,
    pub(super) offset_bytes: u64,
    pub(super) range_bytes: u64,
    pub(super) seed: u64,
    pub(super) fua: bool,
    pub(super) filled: bool,
    pub(super) warmup_secs: f64,
    pub(super) secs: Option<f64>,
    pub(super) count: Option<u64>,
    pub(super) cpu: Option<usize>,
    pub(super) dedicated: bool,
}

/// Why the measured phase ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
    /// Shares of wall time of the one reactor, in per cent: passes that found work, passes that found none, asleep.
    pub(super) busy_percent: f64,
    pub(super) idle_percent: f64,
    pub(super) asleep_percent: f64,
    /// busy / (busy + idle): how loaded the reactor is, whether or not it spins.
    pub(super) effective_percent: f64,
    pub(super) user_secs: f64,
    pub(super) system_secs: f64,
    /// User and system time per completed request.
    pub(super) us_per_io: f64,
    pub(super) involuntary_switches: u64,
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

impl Cpu {
    /// From the reactor's clocks and the process's usage before and after.
    pub(super) fn new(clocks: &Snapshot, before: Usage, after: Usage, ios: u64) -> Self {
        let wall = (clocks.busy + clocks.idle + clocks.asleep).as_secs_f64();
        let percent = |part: Duration| if wall > 0.0 { part.as_secs_f64() / wall * 100.0 } else { 0.0 };
        let user_secs = after.user.saturating_sub(before.user).as_secs_f64();
        let system_secs = after.system.saturating_sub(before.system).as_secs_f64();
        Self {
            busy_percent: percent(clocks.busy),
            idle_percent: percent(clocks.idle),
            asleep_percent: percent(clocks.asleep),
            effective_percent: clocks.effective() * 100.0,
            user_secs,
            system_secs,
            us_per_io: if ios > 0 { (user_secs + system_secs) * 1e6 / ios as f64 } else { 0.0 },
            involuntary_switches: after.involuntary_switches.saturating_sub(before.involuntary_switches),
        }
    }
}

impl Share {
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
        self.errors.total() == 0 && self.verify.is_none_or(|verify| verify.miscompares == 0)
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

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        self.write_head(out)?;
        for (name, share) in [("read", &self.read), ("write", &self.write)] {
            if let Some(share) = share {
                write_share(out, name, share)?;
            }
        }
        if self.read.is_some() && self.write.is_some() {
            let Share { ios, iops, mib_per_sec, .. } = &self.total;
            let (iops, ios) = (grouped(iops.round() as u64), grouped(*ios));
            writeln!(out, "total  {iops} IOPS   {mib_per_sec:.1} MiB/s   {ios} I/Os")?;
        }
        self.write_cpu(out)?;
        self.write_problems(out)
    }

    fn write_head(&self, out: &mut String) -> std::fmt::Result {
        let Workload { rw, bs_bytes, depth, queues, offset_bytes, range_bytes, seed, .. } = &self.workload;
        let mix = if rw.mixed() { format!(" ({} % reads)", self.workload.reads_percent) } else { String::new() };
        let (bs, range) = (human(*bs_bytes), human(*range_bytes));
        let plural = if *queues == 1 { "" } else { "s" };
        writeln!(out, "{} ({}, {})", self.target.name, self.target.kind, human(self.target.size_bytes))?;
        write!(out, "{}{mix}, {bs}, depth {depth} on {queues} queue{plural}, {:.2} s", rw.name(), self.elapsed_secs)?;
        writeln!(out, ", {range} from offset {offset_bytes}, seed {seed}")
    }

    fn write_cpu(&self, out: &mut String) -> std::fmt::Result {
        let cpu = &self.cpu;
        writeln!(
            out,
            "cpu    reactor busy {:.1} %, idle {:.1} %, asleep {:.1} %; effective {:.1} %",
            cpu.busy_percent, cpu.idle_percent, cpu.asleep_percent, cpu.effective_percent
        )?;
        writeln!(
            out,
            "       process {:.2} s user, {:.2} s system, {:.2} us per I/O; {} involuntary context switches",
            cpu.user_secs,
            cpu.system_secs,
            cpu.us_per_io,
            grouped(cpu.involuntary_switches)
        )
    }

    fn write_problems(&self, out: &mut String) -> std::fmt::Result {
        if let Some(Verified { checked, skipped, miscompares, read_back }) = self.verify {
            let (checked, skipped) = (grouped(checked), grouped(skipped));
            let all = if read_back { "; everything written was read back" } else { "" };
            writeln!(
                out,
                "verify {checked} reads checked, {skipped} of unwritten blocks skipped, {miscompares} miscompares{all}"
            )?;
        }
        let Errors { read, write, unfinished } = self.errors;
        if self.errors.total() > 0 {
            writeln!(out, "errors {read} reads and {write} writes failed, {unfinished} requests did not complete")?;
        }
        if let Some(least) = self.depth_reached.iter().min().filter(|&&least| least < self.workload.depth) {
            writeln!(out, "note   a queue had at most {least} requests in flight; depth {} was asked", {
                self.workload.depth
            })?;
        }
        match self.ended_by {
            Ending::Goal => Ok(()),
            Ending::Interrupt => writeln!(out, "note   interrupted; these are the figures so far"),
            Ending::Errors => writeln!(out, "note   ended early because of errors"),
            Ending::Miscompare => writeln!(out, "note   ended early because of a miscompare"),
        }
    }
}

fn write_share(out: &mut String, name: &str, share: &Share) -> std::fmt::Result {
    let Share { ios, iops, mib_per_sec, latency_us, histogram, .. } = share;
    let (iops, ios) = (grouped(iops.round() as u64), grouped(*ios));
    writeln!(out, "{name:<6} {iops} IOPS   {mib_per_sec:.1} MiB/s   {ios} I/Os")?;
    let Summary { min, mean, p50, p90, p99, p99_9, max } = latency_us;
    writeln!(
        out,
        "       latency us: mean {mean:.1}  min {min:.1}  p50 {p50:.1}  p90 {p90:.1}  p99 {p99:.1}  p99.9 {p99_9:.1}  \
         max {max:.1}"
    )?;
    write_bars(out, histogram)
}

/// The picture: the longest bar is the bucket with the most requests; a bucket with any has at least a dot.
fn write_bars(out: &mut String, bars: &[Bar]) -> std::fmt::Result {
    let most = bars.iter().map(|bar| bar.count).max().unwrap_or(0);
    let all: u64 = bars.iter().map(|bar| bar.count).sum();
    for bar in bars {
        let columns = (bar.count as f64 / most as f64 * BAR_COLUMNS as f64).round() as usize;
        let drawn = match (columns, bar.count) {
            (0, 0) => String::new(),
            (0, _) => ".".to_owned(),
            (columns, _) => "#".repeat(columns),
        };
        let percent = bar.count as f64 / all as f64 * 100.0;
        writeln!(out, "{:>10} us |{drawn:<BAR_COLUMNS$}| {percent:>7.3} %", micros(bar.from_us))?;
    }
    Ok(())
}

/// A power of two of a microsecond, as short as it can be said.
fn micros(us: f64) -> String {
    if us >= 1.0 { grouped(us as u64) } else { format!("{us}") }
}

/// 1234567 as 1,234,567.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut latencies = Latencies::new();
        (1..=1000).for_each(|us| latencies.record(Duration::from_micros(us)));
        let share = Share::new(&latencies, 4096, Duration::from_secs(2));
        Report {
            schema: SCHEMA,
            version: "0",
            target: Target { name: "ram:1GiB".to_owned(), kind: "ram", block_bytes: 512, size_bytes: 1 << 30 },
            workload: Workload {
                rw: Rw::RandRead,
                reads_percent: 100,
                bs_bytes: 4096,
                depth: 32,
                queues: 1,
                offset_bytes: 0,
                range_bytes: 1 << 30,
                seed: 7,
                fua: false,
                filled: false,
                warmup_secs: 0.5,
                secs: Some(2.0),
                count: None,
                cpu: None,
                dedicated: false,
            },
            elapsed_secs: 2.0,
            ended_by: Ending::Goal,
            total: share.clone(),
            read: Some(share),
            write: None,
            cpu: Cpu { busy_percent: 75.0, user_secs: 1.5, us_per_io: 2.5, ..Cpu::default() },
            errors: Errors::default(),
            verify: None,
            depth_reached: vec![32],
            problems: Vec::new(),
        }
    }

    #[test]
    fn the_text_says_what_was_measured() {
        let text = report().text();
        assert!(text.contains("ram:1GiB (ram, 1 GiB)\nrandread, 4 KiB, depth 32 on 1 queue, 2.00 s"), "{text}");
        assert!(text.contains("read   500 IOPS   2.0 MiB/s   1,000 I/Os"), "{text}");
        assert!(text.contains("mean 500.5"), "{text}");
        assert!(text.contains("max 1000.0"), "{text}");
        assert!(text.contains("reactor busy 75.0 %"), "{text}");
        assert!(!text.contains("note") && !text.contains("errors") && !text.contains("total"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 120), "{text}");
    }

    #[test]
    fn the_longest_bar_is_full_and_no_request_is_invisible() {
        let text = report().text();
        let bars: Vec<&str> = text.lines().filter(|line| line.contains(" us |")).collect();
        assert_eq!(bars.len(), 10);
        assert!(bars[0].starts_with("         1 us |.  "), "{text}");
        assert!(bars[9].contains(&format!("512 us |{}|", "#".repeat(BAR_COLUMNS))), "{text}");
    }

    #[test]
    fn the_json_has_a_schema_and_every_figure() {
        let value: serde_json::Value = serde_json::from_str(&report().json()).expect("valid JSON");
        assert_eq!(value["schema"], 1);
        assert_eq!(value["workload"]["rw"], "randread");
        assert_eq!(value["read"]["ios"], 1000);
        assert_eq!(value["read"]["iops"], 500.0);
        assert!(value["read"]["latency_us"]["p99_9"].is_number());
        assert!(value["write"].is_null());
        assert_eq!(value["ended_by"], "goal");
        assert_eq!(value["cpu"]["us_per_io"], 2.5);
        assert_eq!(value["read"]["histogram"].as_array().map(Vec::len), Some(10));
    }

    #[test]
    fn mixed_runs_show_both_directions_and_the_total() {
        let mut report = report();
        report.workload.rw = Rw::RandRw;
        report.workload.reads_percent = 70;
        report.write = report.read.clone();
        let text = report.text();
        assert!(text.contains("randrw (70 % reads)"), "{text}");
        for start in ["read   ", "write  ", "total  "] {
            assert_eq!(text.lines().filter(|line| line.starts_with(start)).count(), 1, "{text}");
        }
    }

    #[test]
    fn errors_and_miscompares_are_failures_and_are_said() {
        let mut report = report();
        assert!(report.success());
        report.errors.write = 3;
        report.ended_by = Ending::Errors;
        report.depth_reached = vec![32, 16];
        assert!(!report.success());
        let text = report.text();
        assert!(text.contains("0 reads and 3 writes failed"), "{text}");
        assert!(text.contains("at most 16 requests in flight; depth 32 was asked"), "{text}");
        report.errors = Errors::default();
        report.verify = Some(Verified { checked: 10, miscompares: 1, ..Verified::default() });
        assert!(!report.success());
        assert!(report.text().contains("1 miscompares"));
    }

    #[test]
    fn an_empty_run_divides_by_nothing() {
        let mut report = report();
        report.read = Some(Share::new(&Latencies::new(), 4096, Duration::ZERO));
        let text = report.text();
        assert!(text.contains("read   0 IOPS   0.0 MiB/s   0 I/Os"), "{text}");
        assert!(!text.contains("NaN"), "{text}");
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!((grouped(0).as_str(), grouped(999).as_str(), grouped(1000).as_str()), ("0", "999", "1,000"));
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
