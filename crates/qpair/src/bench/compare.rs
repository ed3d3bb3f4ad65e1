//! `--compare`: the same load on the paths of one device, taken in turns, and what each path gives and costs beside
//! the first.
//!
//! ```text
//!   round 1   uring    aio      threads      a machine that gets faster or slower meanwhile does so for all of them
//!   round 2   aio      threads  uring        each comes first as often as the others
//!   round 3   threads  uring    aio
//!   ratio     to the first path that is named, within each round; then the median of the rounds
//! ```
//!
//! For each measurement the device is opened anew: it can be open in one way only.

use std::error::Error;
use std::fmt::{Result as Written, Write};
use std::sync::atomic::Ordering;

use block::OpenError;
use block::path::Path;
use serde::Serialize;

use super::report::{Ending, Report, Step, Target, Workload};
use super::text::{counted, grouped, write_shape, write_target};
use super::{Args, close, fresh_seed, limits, open, run_once};

/// Version of the JSON object.
const SCHEMA: u32 = 1;

/// What the rounds found.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    schema: u32,
    version: &'static str,
    target: Target,
    workload: Workload,
    /// Those that were completed.
    rounds: usize,
    /// In the order in which they were named; ratios are to the first.
    paths: Vec<PathSteps>,
}

/// One path.
#[derive(Debug, Serialize)]
struct PathSteps {
    path: &'static str,
    steps: Vec<Row>,
}

/// One path at one depth: medians over the rounds, and medians of the rounds' ratios.
#[derive(Debug, Serialize)]
struct Row {
    depth: usize,
    #[serde(flatten)]
    median: Figures,
    iops_ratio: f64,
    cpu_ratio: f64,
    by_round: Vec<Figures>,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Figures {
    iops: f64,
    cpu_us_per_io: f64,
    p50_us: f64,
    p99_us: f64,
}

/// All measurements: path, round, step.
type Measured = Vec<Vec<Vec<Figures>>>;

/// Measures. `None`: a request failed, which has been said.
///
/// # Errors
/// What cannot be compared, or not be opened; the end of the first round was not reached.
pub(super) fn compare(args: &Args) -> Result<Option<Comparison>, Box<dyn Error>> {
    let mut args = Args { seed: Some(args.seed.unwrap_or_else(fresh_seed)), ..args.clone() };
    if args.count.is_none() {
        args.secs = args.secs.or(Some(limits::DEFAULT_COMPARE_SECS));
    }
    let paths = std::mem::take(&mut args.compare);
    check(&args, &paths)?;
    let rounds = args.rounds.unwrap_or(limits::DEFAULT_ROUNDS);
    let (mut found, mut first): (Measured, Option<Report>) = (vec![Vec::new(); paths.len()], None);
    let stop = crate::signals::stop_flag();
    for round in 0..rounds {
        for turn in 0..paths.len() {
            let place = (round + turn) % paths.len();
            args.path = Some(paths[place]);
            let devices = open(&args)?;
            let (report, _) = run_once(&devices, &args, stop)?;
            close(&devices, &report)?;
            for problem in &report.problems {
                eprintln!("{}: {problem}", paths[place]);
            }
            if !report.success() {
                return Ok(None);
            }
            // An interrupt ends the round, which then does not count.
            if report.ended_by == Ending::Interrupt || stop.load(Ordering::SeqCst) {
                return finish(&paths, found, first.as_ref());
            }
            found[place].push(report.steps.iter().map(Figures::new).collect());
            first.get_or_insert(report);
            args.fill = false;
        }
    }
    finish(&paths, found, first.as_ref())
}

/// Whether there is something to compare, and every path leads to the device.
fn check(args: &Args, paths: &[Path]) -> Result<(), Box<dyn Error>> {
    let [target] = &args.targets[..] else { return Err("--compare takes one target".into()) };
    let twice = paths.iter().enumerate().any(|(place, path)| paths[..place].contains(path));
    if paths.len() < 2 || twice {
        return Err("--compare takes several paths, as in --compare uring,aio,threads: each of them once".into());
    }
    for &path in paths {
        let devices = open(&Args { path: Some(path), ..args.clone() })?;
        if let Some(own) = devices[0].path().filter(|own| *own != path) {
            let (why, hint) = (format!("it names its own path, {own}"), "Take path= out.".to_owned());
            return Err(OpenError { device: target.clone(), why, hint, source: None }.into());
        }
    }
    Ok(())
}

fn finish(paths: &[Path], mut found: Measured, first: Option<&Report>) -> Result<Option<Comparison>, Box<dyn Error>> {
    let rounds = found.iter().map(Vec::len).min().unwrap_or(0);
    let Some(first) = first.filter(|_| rounds > 0) else {
        return Err("interrupted before the first round was over: there is nothing to compare".into());
    };
    found.iter_mut().for_each(|path| path.truncate(rounds));
    let depths: Vec<_> = first.steps.iter().map(|step| step.depth).collect();
    let rows = |place: usize| {
        let row = |(step, &depth): (usize, &usize)| row(depth, step, &found[place], &found[0]);
        depths.iter().enumerate().map(row).collect()
    };
    let paths = (0..).zip(paths).map(|(place, path)| PathSteps { path: path.name(), steps: rows(place) });
    let target = Target { path: None, ..first.targets[0].clone() };
    let (workload, paths) = (first.workload.clone(), paths.collect());
    Ok(Some(Comparison { schema: SCHEMA, version: first.version, target, workload, rounds, paths }))
}

fn row(depth: usize, step: usize, own: &[Vec<Figures>], base: &[Vec<Figures>]) -> Row {
    let by_round: Vec<Figures> = own.iter().map(|steps| steps[step]).collect();
    let of = |figure: fn(&Figures) -> f64| median(by_round.iter().map(figure));
    // Also where neither took any time that the system's clock tells, as in a short run on Windows.
    let of_base = |own: f64, base: f64| if own == base { 1.0 } else { own / base };
    let ratio = |figure: fn(&Figures) -> f64| {
        median(by_round.iter().zip(base).map(|(own, base)| of_base(figure(own), figure(&base[step]))))
    };
    let [iops, cpu]: [fn(&Figures) -> f64; 2] = [|it| it.iops, |it| it.cpu_us_per_io];
    let median =
        Figures { iops: of(iops), cpu_us_per_io: of(cpu), p50_us: of(|it| it.p50_us), p99_us: of(|it| it.p99_us) };
    Row { depth, median, iops_ratio: ratio(iops), cpu_ratio: ratio(cpu), by_round }
}

/// The one in the middle, or between the two there.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

impl Figures {
    fn new(step: &Step) -> Self {
        let latency = step.total.latency_us;
        Self { iops: step.total.iops, cpu_us_per_io: step.cpu.us_per_io, p50_us: latency.p50, p99_us: latency.p99 }
    }
}

impl Comparison {
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

    fn write_text(&self, out: &mut String) -> Written {
        write_target(out, &self.target)?;
        write_shape(out, &self.workload)?;
        let (queues, rounds) = (counted(self.workload.queues, "queue"), counted(self.rounds, "round"));
        writeln!(out, "on {queues}; medians of {rounds}, seed {}", self.workload.seed)?;
        let first = self.paths[0].path;
        let of = format!("of {first}");
        writeln!(out, " depth  path              IOPS {of:>11}   CPU us/IO {of:>11}    p50 us    p99 us")?;
        for step in 0..self.paths[0].steps.len() {
            for PathSteps { path, steps } in &self.paths {
                let Row { depth, median, iops_ratio, cpu_ratio, .. } = &steps[step];
                let Figures { iops, cpu_us_per_io, p50_us, p99_us } = median;
                let iops = grouped(iops.round() as u64);
                write!(out, "{depth:>6}  {path:<10} {iops:>11} {iops_ratio:>11.2} {cpu_us_per_io:>11.2} ")?;
                writeln!(out, "{cpu_ratio:>11.2} {p50_us:>9.1} {p99_us:>9.1}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(iops: f64, cpu_us_per_io: f64) -> Figures {
        Figures { iops, cpu_us_per_io, p50_us: 1.0, p99_us: 2.0 }
    }

    #[test]
    fn ratios_are_those_of_the_same_round() {
        // The machine doubles its speed from round to round; the second path is always half as fast.
        let base: Vec<_> = [100.0, 200.0, 400.0].map(|iops| vec![figures(iops, 4.0)]).into();
        let own: Vec<_> = [50.0, 100.0, 200.0].map(|iops| vec![figures(iops, 6.0)]).into();
        let row = row(32, 0, &own, &base);
        assert_eq!((row.depth, row.iops_ratio, row.cpu_ratio), (32, 0.5, 1.5));
        assert_eq!((row.median, row.by_round.len()), (figures(100.0, 6.0), 3));
        let coarse = vec![vec![figures(100.0, 0.0)]];
        assert_eq!(super::row(1, 0, &coarse, &coarse).cpu_ratio, 1.0);
    }

    #[test]
    fn the_median_of_an_even_number_is_between_two() {
        assert_eq!((median([3.0, 1.0, 2.0].into_iter()), median([4.0, 1.0, 2.0, 3.0].into_iter())), (2.0, 2.5));
    }
}
