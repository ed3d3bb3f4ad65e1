//! How far a verb is: a bar on a terminal while it lasts, one line at the end.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use block::size::format_size;

use super::TICK;

/// Characters of the bar.
const BAR: usize = 30;

/// A bar on standard error.
pub(super) struct Progress {
    verb: &'static str,
    total: u64,
    started: Instant,
    shown: Option<Instant>,
    wanted: bool,
}

impl Progress {
    /// Of something that has `total` bytes, 0 if nobody knows. Nothing is shown if it is not `wanted`, or on anything
    /// but a terminal.
    pub(super) fn new(verb: &'static str, total: u64, wanted: bool) -> Self {
        let wanted = wanted && std::io::stderr().is_terminal();
        Self { verb, total, started: Instant::now(), shown: None, wanted }
    }

    /// So much is done; shown a few times a second.
    pub(super) fn show(&mut self, done: u64) {
        if !self.wanted || self.shown.is_some_and(|shown| shown.elapsed() < TICK) {
            return;
        }
        self.shown = Some(Instant::now());
        // `\x1b[K` clears the rest. A terminal that went away is no reason to stop.
        let _ = write!(std::io::stderr(), "\r{}\x1b[K", line(self.verb, done, self.total, self.started.elapsed()));
    }

    /// Takes the bar away; the time that it took.
    pub(super) fn finish(self) -> Duration {
        if self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
        self.started.elapsed()
    }
}

fn line(verb: &str, done: u64, total: u64, time: Duration) -> String {
    let rate = (done as f64 / time.as_secs_f64().max(0.001)) as u64;
    let rate = format!("{}/s", format_size(rate));
    if total == 0 {
        return format!("{verb} {}  {rate}", format_size(done));
    }
    let filled = (u128::from(done) * BAR as u128 / u128::from(total)) as usize;
    let percent = u128::from(done) * 100 / u128::from(total);
    let left = match done {
        0 => String::new(),
        _ => format!("  {}s left", (time.as_secs_f64() * (total - done) as f64 / done as f64).ceil()),
    };
    let (full, empty) = ("#".repeat(filled), "-".repeat(BAR - filled));
    format!("{verb} [{full}{empty}] {percent:>3} %  {} of {}  {rate}{left}", format_size(done), format_size(total))
}

/// The summary: what was done, how long it took.
pub(super) fn summary(what: &str, bytes: u64, time: Duration) -> String {
    let secs = time.as_secs_f64();
    let rate = format_size((bytes as f64 / secs.max(0.001)) as u64);
    format!("{what}: {} in {secs:.2} s, {rate}/s", format_size(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills() {
        let second = Duration::from_secs(1);
        assert_eq!(
            line("copying", 1 << 20, 4 << 20, second),
            "copying [#######-----------------------]  25 %  1 MiB of 4 MiB  1 MiB/s  3s left"
        );
        assert!(line("copying", 0, 4 << 20, second).contains("[------------------------------]   0 %  0 B of"));
        assert!(line("copying", 4 << 20, 4 << 20, second).contains("[##############################] 100 %"));
        assert_eq!(line("writing", 2 << 20, 0, second), "writing 2 MiB  2 MiB/s");
        assert!(line("copying", u64::MAX, u64::MAX, Duration::ZERO).contains("100 %"));
    }
}
