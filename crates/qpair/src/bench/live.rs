//! The live line: what is happening, a few times a second, on a terminal.
//!
//! The reactor only adds to counters; a thread of its own reads them and writes the line, so that a slow terminal does
//! not show up in the latencies.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::limits::LIVE_INTERVAL;
use super::report::grouped;

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

    fn name(self) -> &'static str {
        match self {
            Self::Fill => "fill",
            Self::WarmUp => "warm-up",
            Self::Measure => "run",
            Self::ReadBack => "read back",
        }
    }
}

/// Written by the reactor once per pass that found completions, read by the thread of the live line. The counters say
/// nothing about other memory, so relaxed order will do.
#[derive(Default)]
pub(super) struct Progress {
    phase: AtomicU8,
    /// Completed requests of this phase.
    pub(super) ios: AtomicU64,
    /// Sum of their latencies.
    pub(super) latency_ns: AtomicU64,
    /// Of this phase's goal, in thousandths.
    pub(super) permille: AtomicU64,
}

/// One look at [`Progress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    phase: Phase,
    ios: u64,
    latency_ns: u64,
    permille: u64,
}

impl Progress {
    /// A new phase begins: counters start from zero.
    pub(super) fn begin(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
        for counter in [&self.ios, &self.latency_ns, &self.permille] {
            counter.store(0, Relaxed);
        }
    }

    fn sample(&self) -> Sample {
        Sample {
            phase: Phase::ALL[usize::from(self.phase.load(Relaxed))],
            ios: self.ios.load(Relaxed),
            latency_ns: self.latency_ns.load(Relaxed),
            permille: self.permille.load(Relaxed),
        }
    }
}

/// The line for what happened between two looks that are `secs` apart.
fn line(before: Sample, now: Sample, secs: f64, bs: u64) -> String {
    // The counters start again with each phase, and may be caught between two stores.
    let before = if before.phase == now.phase { before } else { Sample { ios: 0, latency_ns: 0, ..now } };
    let ios = now.ios.saturating_sub(before.ios);
    let latency_ns = now.latency_ns.saturating_sub(before.latency_ns);
    let mean_us = if ios == 0 { 0.0 } else { latency_ns as f64 / ios as f64 / 1e3 };
    let iops = grouped((ios as f64 / secs) as u64);
    let mib = (ios * bs) as f64 / secs / f64::from(1 << 20);
    let percent = now.permille.min(1000) / 10;
    format!("{:<9} {percent:>3} %   {iops:>11} IOPS   {mib:>9.1} MiB/s   mean {mean_us:.1} us", now.phase.name())
}

/// The live line; it ends and its line is cleared when this is dropped.
pub(super) struct Live {
    thread: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Live {
    /// Shows a line on standard error if that is a terminal and `wanted`. Start it before the caller pins itself: the
    /// thread would inherit the pin and compete with the reactor.
    pub(super) fn start(wanted: bool, bs: u64, progress: &Arc<Progress>) -> Self {
        if !wanted || !std::io::stderr().is_terminal() {
            return Self { thread: None };
        }
        let (stop, stopped) = mpsc::channel();
        let progress = Arc::clone(progress);
        let show = move || {
            let (mut before, mut at) = (progress.sample(), Instant::now());
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LIVE_INTERVAL) {
                let (now, secs) = (progress.sample(), at.elapsed().as_secs_f64());
                at = Instant::now();
                // `\x1b[K` clears the rest. A terminal that went away is no reason to stop measuring.
                let _ = write!(std::io::stderr(), "\r{}\x1b[K", line(before, now, secs, bs));
                before = now;
            }
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        };
        // Without the thread there is no line, and the run is as good.
        let thread = thread::Builder::new().name("live".to_owned()).spawn(show).ok();
        Self { thread: thread.map(|thread| (stop, thread)) }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.thread.take() {
            drop(stop);
            // It can only have panicked, which it has printed.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(phase: Phase, ios: u64, latency_ns: u64, permille: u64) -> Sample {
        Sample { phase, ios, latency_ns, permille }
    }

    #[test]
    fn the_line_shows_the_rate_since_the_last_one() {
        let before = sample(Phase::Measure, 1_000, 10_000_000, 100);
        let now = sample(Phase::Measure, 51_000, 1_010_000_000, 205);
        let line = line(before, now, 0.5, 4096);
        assert_eq!(line, "run        20 %       100,000 IOPS       390.6 MiB/s   mean 20.0 us");
    }

    #[test]
    fn a_new_phase_starts_from_zero() {
        let before = sample(Phase::WarmUp, 90_000, 9, 1000);
        let line = line(before, sample(Phase::Measure, 500, 0, 1001), 0.5, 4096);
        assert!(line.starts_with("run       100 %         1,000 IOPS"), "{line}");
    }

    #[test]
    fn progress_is_read_back_and_reset() {
        let progress = Progress::default();
        progress.begin(Phase::Fill);
        progress.ios.store(5, Relaxed);
        assert_eq!(progress.sample(), sample(Phase::Fill, 5, 0, 0));
        progress.begin(Phase::ReadBack);
        assert_eq!(progress.sample(), sample(Phase::ReadBack, 0, 0, 0));
    }

    #[test]
    fn no_terminal_no_thread() {
        assert!(Live::start(false, 4096, &Arc::new(Progress::default())).thread.is_none());
    }
}
