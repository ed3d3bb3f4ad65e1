//! The run as it goes: the live line, a few times a second on a terminal, and the series that a page shows.
//!
//! The reactors only set counters, each its own; a thread of its own adds them up, so that neither a slow terminal nor
//! the series shows up in the latencies.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::limits::LIVE_INTERVAL;
use super::plan::Stage;
use super::series::{Moment, Series};
use super::text::grouped;

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Writing the whole range once.
    Fill,
    /// Running without counting.
    WarmUp,
    /// Running and counting.
    Measure,
    /// Reading everything that was written.
    ReadBack,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Fill, Self::WarmUp, Self::Measure, Self::ReadBack];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fill => "fill",
            Self::WarmUp => "warm-up",
            Self::Measure => "run",
            Self::ReadBack => "read back",
        }
    }
}

/// Written by one reactor once per pass that found completions, read by the thread of the live line. The counters say
/// nothing about other memory, so relaxed order will do. Aligned so that no two reactors write to one cache line, nor
/// to the one beside it, which processors fetch along.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Progress {
    phase: AtomicU8,
    depth: AtomicU32,
    /// Completed requests of this stage.
    pub(super) ios: AtomicU64,
    /// Sum of their latencies.
    pub(super) latency_ns: AtomicU64,
    /// Of this stage's goal, in thousandths.
    pub(super) permille: AtomicU64,
}

/// One look at all reactors' [`Progress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    phase: Phase,
    depth: u32,
    ios: u64,
    latency_ns: u64,
    /// On average.
    permille: u64,
}

impl Progress {
    /// A new stage begins: counters start from zero.
    pub(super) fn begin(&self, stage: Stage) {
        self.phase.store(stage.phase as u8, Relaxed);
        self.depth.store(u32::try_from(stage.depth).expect("MAX_DEPTH fits"), Relaxed);
        for counter in [&self.ios, &self.latency_ns, &self.permille] {
            counter.store(0, Relaxed);
        }
    }
}

fn sample(all: &[Arc<Progress>]) -> Sample {
    let sum = |word: fn(&Progress) -> &AtomicU64| all.iter().map(|one| word(one).load(Relaxed)).sum::<u64>();
    let first = &all[0];
    Sample {
        phase: Phase::ALL[usize::from(first.phase.load(Relaxed))],
        depth: first.depth.load(Relaxed),
        ios: sum(|one| &one.ios),
        latency_ns: sum(|one| &one.latency_ns),
        permille: sum(|one| &one.permille) / all.len() as u64,
    }
}

/// What happened between two looks that are `time` apart.
fn moment(before: Sample, now: Sample, at: Duration, time: Duration) -> Moment {
    // The counters start again with each stage, and may be caught between two stores.
    let same = (before.phase, before.depth) == (now.phase, now.depth);
    let before = if same { before } else { Sample { ios: 0, latency_ns: 0, ..now } };
    let (phase, depth) = (now.phase, now.depth);
    let ios = now.ios.saturating_sub(before.ios);
    Moment { at, time, phase, depth, ios, latency_ns: now.latency_ns.saturating_sub(before.latency_ns) }
}

/// The line for a moment.
fn line(moment: &Moment, permille: u64, bs: u64) -> String {
    let (phase, depth, percent) = (moment.phase.name(), moment.depth, permille.min(1000) / 10);
    let (iops, mean_us) = (moment.iops(), moment.mean_us().unwrap_or(0.0));
    let mib = iops * bs as f64 / f64::from(1 << 20);
    let iops = grouped(iops as u64);
    format!("{phase:<9} qd {depth:<5} {percent:>3} %   {iops:>11} IOPS   {mib:>9.1} MiB/s   mean {mean_us:.1} us")
}

/// What is wanted of a run as it goes.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// A line on standard error, if that is a terminal.
    pub(super) line: bool,
    /// The series.
    pub(super) series: bool,
}

/// Looks at a run until it is finished.
pub(super) struct Live {
    thread: Option<(Sender<()>, JoinHandle<Series>)>,
}

impl Live {
    /// Starts to look, if anything is wanted. Not from a pinned thread: this one would inherit the pin and compete with
    /// the reactor.
    pub(super) fn start(wanted: Wanted, bs: u64, progress: &[Arc<Progress>]) -> Self {
        let line = wanted.line && std::io::stderr().is_terminal();
        if !line && !wanted.series {
            return Self { thread: None };
        }
        let (stop, stopped) = mpsc::channel();
        let progress = progress.to_vec();
        let look = move || look(&progress, line.then_some(bs), wanted.series, &stopped);
        // Without the thread there is no line, and the run is as good.
        let thread = thread::Builder::new().name("live".to_owned()).spawn(look).ok();
        Self { thread: thread.map(|thread| (stop, thread)) }
    }

    /// Ends the line, and gives the series if one was wanted: it is empty otherwise.
    pub(super) fn finish(self) -> Series {
        let Some((stop, thread)) = self.thread else { return Series::new() };
        drop(stop);
        // It can only have panicked, which it has printed.
        thread.join().unwrap_or_else(|_| Series::new())
    }
}

/// The thread: with `bs` there is a line.
fn look(progress: &[Arc<Progress>], bs: Option<u64>, wants_series: bool, stopped: &Receiver<()>) -> Series {
    let (mut series, start) = (Series::new(), Instant::now());
    let (mut last, mut shown) = ((sample(progress), start), (sample(progress), start));
    loop {
        let pause = if wants_series { series.interval() } else { LIVE_INTERVAL };
        let pause = if bs.is_some() { pause.min(LIVE_INTERVAL) } else { pause };
        if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            break;
        }
        let (now, at) = (sample(progress), Instant::now());
        if wants_series && at - last.1 >= series.interval() {
            series.push(moment(last.0, now, at - start, at - last.1));
            last = (now, at);
        }
        if let Some(bs) = bs.filter(|_| at - shown.1 >= LIVE_INTERVAL) {
            let line = line(&moment(shown.0, now, at - start, at - shown.1), now.permille, bs);
            // `\x1b[K` clears the rest. A terminal that went away is no reason to stop measuring.
            let _ = write!(std::io::stderr(), "\r{line}\x1b[K");
            shown = (now, at);
        }
    }
    if bs.is_some() {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plan::Goal;

    fn at(phase: Phase, ios: u64, latency_ns: u64, permille: u64) -> Sample {
        Sample { phase, depth: 32, ios, latency_ns, permille }
    }

    /// The line for half a second.
    fn shown(before: Sample, now: Sample) -> String {
        let half = Duration::from_millis(500);
        line(&moment(before, now, half, half), now.permille, 4096)
    }

    #[test]
    fn the_line_shows_the_rate_since_the_last_one() {
        let before = at(Phase::Measure, 1_000, 10_000_000, 100);
        let now = at(Phase::Measure, 51_000, 1_010_000_000, 205);
        let line = shown(before, now);
        assert_eq!(line, "run       qd 32     20 %       100,000 IOPS       390.6 MiB/s   mean 20.0 us");
    }

    #[test]
    fn a_new_stage_starts_from_zero() {
        let before = at(Phase::WarmUp, 90_000, 9, 1000);
        let next = shown(before, at(Phase::Measure, 500, 0, 1001));
        assert!(next.starts_with("run       qd 32    100 %         1,000 IOPS"), "{next}");
        let deeper = shown(at(Phase::Measure, 90_000, 9, 1000), Sample { depth: 64, ..at(Phase::Measure, 500, 0, 1) });
        assert!(deeper.contains("1,000 IOPS"), "{deeper}");
    }

    #[test]
    fn the_progress_of_all_reactors_is_added_up_and_reset() {
        let all = [Arc::new(Progress::default()), Arc::new(Progress::default())];
        let stage = |phase| Stage { phase, goal: Goal::Sweep, depth: 32 };
        for (progress, permille) in all.iter().zip([400, 300]) {
            progress.begin(stage(Phase::Fill));
            progress.ios.store(5, Relaxed);
            progress.permille.store(permille, Relaxed);
        }
        assert_eq!(sample(&all), at(Phase::Fill, 10, 0, 350));
        all.iter().for_each(|progress| progress.begin(stage(Phase::ReadBack)));
        assert_eq!(sample(&all), at(Phase::ReadBack, 0, 0, 0));
    }

    #[test]
    fn nothing_wanted_no_thread() {
        let progress = [Arc::new(Progress::default())];
        let live = Live::start(Wanted { line: false, series: false }, 4096, &progress);
        assert!(live.thread.is_none());
        assert!(live.finish().moments().is_empty());
    }
}
