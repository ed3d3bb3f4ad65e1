//! A report in words: the run, its figures, a picture of its latencies; for a load curve a table instead.

use std::fmt::{Result, Write as _};

use block::size::format_size as human;

use super::latency::Bar;
use super::limits::BAR_COLUMNS;
use super::report::{Clocks, Cpu, Ending, Errors, Report, Share, Step, Summary, Target, Verified, Workload};

impl Report {
    /// The text for people, ending with a line break.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        self.write_text(&mut out).expect("a String takes everything");
        out
    }

    fn write_text(&self, out: &mut String) -> Result {
        self.write_head(out)?;
        if let [step] = &self.steps[..] {
            write_step(out, step)?;
            write_cpu(out, step)?;
        } else {
            self.write_curves(out)?;
        }
        self.write_problems(out)
    }

    fn write_head(&self, out: &mut String) -> Result {
        for target in &self.targets {
            write_target(out, target)?;
        }
        let Workload { queues, reactors, offset_bytes, range_bytes, seed, .. } = &self.workload;
        write_shape(out, &self.workload)?;
        let last = self.last();
        let depth = if self.steps.len() == 1 { format!("depth {} ", last.depth) } else { String::new() };
        let each = if self.targets.len() > 1 { " each" } else { "" };
        write!(out, "{depth}on {}{each}", counted(*queues, "queue"))?;
        if *reactors > 1 {
            write!(out, ", {}", counted(*reactors, "reactor"))?;
        }
        let elapsed: f64 = self.steps.iter().map(|step| step.elapsed_secs).sum();
        writeln!(out, ", {elapsed:.2} s, {} from offset {offset_bytes}, seed {seed}", human(*range_bytes))
    }

    /// A table for all targets together, and one for each.
    fn write_curves(&self, out: &mut String) -> Result {
        writeln!(out, "{CURVE_HEAD}   CPU us/IO   effective")?;
        for step in &self.steps {
            write_curve_row(out, step.depth, &step.total)?;
            let Cpu { us_per_io, clocks, .. } = &step.cpu;
            writeln!(out, " {us_per_io:>11.2} {:>9.1} %", clocks.effective_percent)?;
        }
        for number in 0..self.last().by_target.len() {
            writeln!(out, "{}\n{CURVE_HEAD}", self.targets[number].name)?;
            for step in &self.steps {
                write_curve_row(out, step.depth, &step.by_target[number].total)?;
                writeln!(out)?;
            }
        }
        Ok(())
    }

    fn write_problems(&self, out: &mut String) -> Result {
        if let Some(Verified { checked, skipped, miscompares, read_back }) = self.verify {
            let (checked, skipped) = (grouped(checked), grouped(skipped));
            let all = match (read_back, self.workload.reads_percent) {
                (true, _) => "; everything written was read back",
                (false, 100) => "",
                (false, _) => "; NOT all that was written was read back",
            };
            writeln!(
                out,
                "verify {checked} reads checked, {skipped} of unwritten blocks skipped, {miscompares} miscompares{all}"
            )?;
        }
        let Errors { read, write, unfinished } = self.errors;
        if self.errors.total() > 0 {
            writeln!(out, "errors {read} reads and {write} writes failed, {unfinished} requests did not complete")?;
        }
        for Step { depth, depth_reached, total, .. } in &self.steps {
            // By the clock, a queue is only as deep as it has to be.
            match (depth_reached.iter().min(), self.workload.rate) {
                (Some(least), None) if least < depth => {
                    writeln!(out, "note   a queue had at most {least} requests in flight; depth {depth} was asked")?;
                }
                (_, Some(rate)) if total.iops < rate * KEPT_UP => {
                    let (iops, rate) = (grouped(total.iops.round() as u64), grouped(rate.round() as u64));
                    writeln!(out, "note   {iops} of {rate} requests a second were done: latencies grow to the end")?;
                }
                _ => {}
            }
        }
        match self.ended_by {
            Ending::Goal => Ok(()),
            Ending::Interrupt => writeln!(out, "note   interrupted; these are the figures so far"),
            Ending::Errors => writeln!(out, "note   ended early because of errors"),
            Ending::Miscompare => writeln!(out, "note   ended early because of a miscompare"),
        }
    }
}

pub(super) fn write_target(out: &mut String, target: &Target) -> Result {
    let by = target.path.map(|path| format!(", by {path}")).unwrap_or_default();
    writeln!(out, "{} ({}, {}{by})", target.name, target.kind, human(target.size_bytes))
}

/// What requests look like and when they come: the beginning of a line.
pub(super) fn write_shape(out: &mut String, workload: &Workload) -> Result {
    let Workload { rw, bs_bytes, .. } = workload;
    let mix = if rw.mixed() { format!(" ({} % reads)", workload.reads_percent) } else { String::new() };
    let lent = if workload.lend { " lent" } else { "" };
    let iov = workload.iov.map(|pieces| format!(" in {pieces} pieces")).unwrap_or_default();
    write!(out, "{}{mix}, {}{lent}{iov}, ", rw.name(), human(*bs_bytes))?;
    match workload.rate {
        Some(rate) => write!(out, "{} a second, ", grouped(rate.round() as u64)),
        None => Ok(()),
    }
}

/// Less than this share of the rate that was asked for is worth a note.
pub(super) const KEPT_UP: f64 = 0.98;

const CURVE_HEAD: &str = " depth         IOPS      MiB/s   mean us    p50 us    p99 us  p99.9 us     max us";

fn write_curve_row(out: &mut String, depth: usize, share: &Share) -> Result {
    let Share { iops, mib_per_sec, latency_us: Summary { mean, p50, p99, p99_9, max, .. }, .. } = share;
    let iops = grouped(iops.round() as u64);
    write!(out, "{depth:>6} {iops:>12} {mib_per_sec:>10.1} {mean:>9.1} {p50:>9.1} {p99:>9.1} {p99_9:>9.1} {max:>10.1}")
}

fn write_step(out: &mut String, step: &Step) -> Result {
    for (name, share) in [("read", &step.read), ("write", &step.write)] {
        if let Some(share) = share {
            write_share(out, name, share)?;
        }
    }
    let several = step.by_target.len() > 1;
    if several || (step.read.is_some() && step.write.is_some()) {
        let Share { ios, iops, mib_per_sec, .. } = &step.total;
        let (iops, ios) = (grouped(iops.round() as u64), grouped(*ios));
        writeln!(out, "total  {iops} IOPS   {mib_per_sec:.1} MiB/s   {ios} I/Os")?;
    }
    if several {
        writeln!(out, "         IOPS      MiB/s    p50 us    p99 us  p99.9 us   errors  target")?;
    }
    for target in &step.by_target {
        let Share { iops, mib_per_sec, latency_us: Summary { p50, p99, p99_9, .. }, .. } = &target.total;
        let (iops, errors) = (grouped(iops.round() as u64), grouped(target.errors.total()));
        let name = &target.name;
        writeln!(out, "{iops:>13} {mib_per_sec:>10.1} {p50:>9.1} {p99:>9.1} {p99_9:>9.1} {errors:>8}  {name}")?;
    }
    Ok(())
}

fn write_cpu(out: &mut String, step: &Step) -> Result {
    let cpu = &step.cpu;
    let who = if step.by_reactor.is_empty() { "reactor" } else { "reactors" };
    writeln!(out, "cpu    {who} {}", clocks(&cpu.clocks))?;
    for (number, reactor) in step.by_reactor.iter().enumerate() {
        let (ios, queues) = (grouped(reactor.ios), counted(reactor.queues, "queue"));
        writeln!(out, "       {number}: {}; {ios} I/Os on {queues}", clocks(&reactor.clocks))?;
    }
    writeln!(
        out,
        "       process {:.2} s user, {:.2} s system, {:.2} us per I/O; {} involuntary context switches",
        cpu.user_secs,
        cpu.system_secs,
        cpu.us_per_io,
        grouped(cpu.involuntary_switches)
    )
}

fn clocks(clocks: &Clocks) -> String {
    format!(
        "busy {:.1} %, idle {:.1} %, asleep {:.1} %; effective {:.1} %",
        clocks.busy_percent, clocks.idle_percent, clocks.asleep_percent, clocks.effective_percent
    )
}

/// 1 queue, 2 queues.
pub(super) fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn write_share(out: &mut String, name: &str, share: &Share) -> Result {
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
pub(super) fn write_bars(out: &mut String, bars: &[Bar]) -> Result {
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
    use crate::bench::latency::Latencies;
    use crate::bench::report::{ReactorStep, TargetStep};
    use crate::bench::workload::Rw;
    use std::time::Duration;

    fn share() -> Share {
        let mut latencies = Latencies::new();
        (1..=1000).for_each(|us| latencies.record(Duration::from_micros(us)));
        Share::new(&latencies, 4096, Duration::from_secs(2))
    }

    fn report() -> Report {
        let clocks = Clocks { busy_percent: 75.0, ..Clocks::default() };
        let step = Step {
            depth: 32,
            elapsed_secs: 2.0,
            total: share(),
            read: Some(share()),
            write: None,
            cpu: Cpu { clocks, user_secs: 1.5, us_per_io: 2.5, ..Cpu::default() },
            depth_reached: vec![32],
            by_target: Vec::new(),
            by_reactor: Vec::new(),
        };
        Report {
            version: "0",
            targets: vec![Target {
                name: "ram:1GiB".to_owned(),
                kind: "ram",
                path: None,
                block_bytes: 512,
                size_bytes: 1 << 30,
            }],
            workload: Workload {
                rw: Rw::RandRead,
                reads_percent: 100,
                bs_bytes: 4096,
                depth: 32,
                queues: 1,
                reactors: 1,
                offset_bytes: 0,
                range_bytes: 1 << 30,
                seed: 7,
                fua: false,
                filled: false,
                warmup_secs: 0.5,
                secs: Some(2.0),
                count: None,
                rate: None,
                cpu: None,
                cpus: Vec::new(),
                dedicated: false,
                shared: false,
                lend: false,
                iov: None,
            },
            ended_by: Ending::Goal,
            steps: vec![step],
            errors: Errors::default(),
            verify: None,
            problems: Vec::new(),
        }
    }

    /// Two reactors on two targets.
    fn several() -> Report {
        let mut report = report();
        report.targets.push(Target { name: "ram:2GiB".to_owned(), ..report.targets[0].clone() });
        report.workload.reactors = 2;
        let step = &mut report.steps[0];
        let by_target =
            |target: &Target| TargetStep { name: target.name.clone(), total: share(), errors: Errors::default() };
        step.by_target = report.targets.iter().map(by_target).collect();
        step.by_target[1].errors.read = 4;
        step.by_reactor = vec![ReactorStep { ios: 500, queues: 1, clocks: step.cpu.clocks }; 2];
        report
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
        assert_eq!(value["cpu"]["busy_percent"], 75.0);
        assert_eq!(value["target"]["name"], "ram:1GiB");
        assert_eq!(value["depth_reached"], serde_json::json!([32]));
        assert!(value.get("steps").is_none() && value.get("by_target").is_none());
        assert_eq!(value["read"]["histogram"].as_array().map(Vec::len), Some(10));
    }

    #[test]
    fn a_curve_is_a_table_and_the_last_step_is_at_the_top_of_the_json() {
        let mut report = report();
        report.steps.push(Step { depth: 64, elapsed_secs: 1.0, ..report.steps[0].clone() });
        let text = report.text();
        let row = "    32          500        2.0     500.5     501.8     991.2     999.4     1000.0        2.50";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("randread, 4 KiB, on 1 queue, 3.00 s"), "{text}");
        assert!(text.lines().any(|line| line.starts_with("    64 ")) && !text.contains("us |"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 120), "{text}");
        assert!(text.contains("at most 32 requests in flight; depth 64 was asked"), "{text}");
        let value: serde_json::Value = serde_json::from_str(&report.json()).expect("valid JSON");
        assert_eq!((&value["depth"], &value["elapsed_secs"]), (&64.into(), &1.0.into()));
        assert_eq!(value["steps"].as_array().map(Vec::len), Some(2));
        assert_eq!((&value["steps"][0]["depth"], &value["steps"][0]["total"]["ios"]), (&32.into(), &1000.into()));
    }

    #[test]
    fn several_targets_and_reactors_are_shown_one_by_one_and_together() {
        let mut report = several();
        let text = report.text();
        assert!(text.contains("depth 32 on 1 queue each, 2 reactors, 2.00 s"), "{text}");
        assert!(text.contains("        4  ram:2GiB\n"), "{text}");
        assert!(text.contains("cpu    reactors busy 75.0 %") && text.contains("\n       1: busy 75.0 %"), "{text}");
        assert!(text.contains("total  500 IOPS"), "{text}");
        let value: serde_json::Value = serde_json::from_str(&report.json()).expect("valid JSON");
        assert_eq!(
            (&value["targets"][1]["name"], &value["by_target"][1]["errors"]["read"]),
            (&"ram:2GiB".into(), &4.into())
        );
        assert_eq!(
            (&value["by_reactor"][1]["queues"], &value["by_reactor"][1]["busy_percent"]),
            (&1.into(), &75.0.into())
        );
        report.steps.push(Step { depth: 64, ..report.steps[0].clone() });
        let text = report.text();
        assert_eq!(text.lines().filter(|line| line.starts_with("    64 ")).count(), 3, "{text}");
    }

    #[test]
    fn a_device_that_does_not_keep_up_is_told() {
        let mut report = report();
        report.workload.rate = Some(500.0);
        report.steps[0].depth_reached = vec![3];
        assert!(report.text().contains("4 KiB, 500 a second, depth 32") && !report.text().contains("note"));
        report.workload.rate = Some(600.0);
        assert!(report.text().contains("note   500 of 600 requests a second were done"));
    }

    #[test]
    fn mixed_runs_show_both_directions_and_the_total() {
        let mut report = report();
        report.workload.rw = Rw::RandRw;
        report.workload.reads_percent = 70;
        report.steps[0].write = report.steps[0].read.clone();
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
        report.steps[0].depth_reached = vec![32, 16];
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
        report.steps[0].read = Some(Share::new(&Latencies::new(), 4096, Duration::ZERO));
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
