//! When a reactor sleeps, and who decides that.
//!
//! Spinning for a moment before sleeping saves the wake-up, which is most of a request's latency at queue depth 1. On a
//! core that others use too it takes their time and then, when the scheduler has had enough, the reactor's own. So:
//!
//! 1. an operator's explicit wish wins, always;
//! 2. without one, a process that has not more cores than reactors does not spin: something else has to run somewhere;
//! 3. else each reactor spins for 50 us, and looks once a second how often the scheduler took its core away although
//!    there was more to do. More than a few hundred times: the core is not its own, and it does not spin for 10 s.

use std::time::Duration;

use crate::clock::Fine;
use crate::limits::{AUTO_BACK_OFF, AUTO_INTERVAL, AUTO_SPIN, AUTO_SWITCHES};
use crate::os;

/// When a reactor that finds no work goes to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Never.
    Dedicated,
    /// After so much time without work.
    Spin(Duration),
    /// At once.
    Shared,
    /// After 50 us while the core is its own, at once while it is not: see [`Mode::choose`].
    Auto,
}

impl Mode {
    /// The mode for a process of so many reactors on so many cores ([`os::allowed_cpus`]): the operator's wish, else
    /// `Auto` if a core is left over, else `Shared`.
    #[must_use]
    pub fn choose(wish: Option<Self>, reactors: usize, cores: usize) -> Self {
        wish.unwrap_or(if cores > reactors { Self::Auto } else { Self::Shared })
    }
}

/// A mode at work.
pub(super) struct Pace {
    mode: Mode,
    /// Of this thread, when last looked.
    switches: u64,
    looked: Fine,
    /// `Auto` does not spin until then.
    shared_until: Option<Fine>,
}

impl Pace {
    pub(super) fn new(mode: Mode, now: Fine) -> Self {
        Self { mode, switches: os::thread_usage().involuntary_switches, looked: now, shared_until: None }
    }

    /// How long to go without work before sleeping; `None`: never sleep.
    pub(super) fn patience(&self) -> Option<Duration> {
        match self.mode {
            Mode::Dedicated => None,
            Mode::Spin(time) => Some(time),
            Mode::Shared => Some(Duration::ZERO),
            Mode::Auto if self.shared_until.is_some() => Some(Duration::ZERO),
            Mode::Auto => Some(AUTO_SPIN),
        }
    }

    /// Looks again whether the core is the reactor's own, if it is time to. To be called once a pass.
    pub(super) fn look(&mut self, now: Fine) {
        if self.mode == Mode::Auto && now.since(self.looked) >= AUTO_INTERVAL {
            let intervals = now.since(self.looked).as_secs_f64() / AUTO_INTERVAL.as_secs_f64();
            let switches = os::thread_usage().involuntary_switches;
            let taken_away = switches.saturating_sub(self.switches) as f64 / intervals;
            (self.switches, self.looked) = (switches, now);
            self.judge(now, taken_away);
        }
    }

    /// What follows from how often the core was taken away in one interval.
    fn judge(&mut self, now: Fine, taken_away: f64) {
        if taken_away > AUTO_SWITCHES as f64 {
            if self.shared_until.is_none() {
                tracing::debug!(taken_away, "the core is used by others: no spinning for a while");
            }
            self.shared_until = Some(now.plus(AUTO_BACK_OFF));
        } else if self.shared_until.is_some_and(|until| now >= until) {
            self.shared_until = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_wins_and_a_spare_core_is_needed_to_spin_unasked() {
        for wish in [Mode::Dedicated, Mode::Shared, Mode::Spin(Duration::from_millis(1))] {
            assert_eq!(Mode::choose(Some(wish), 8, 1), wish);
        }
        assert_eq!(Mode::choose(None, 1, 1), Mode::Shared);
        assert_eq!(Mode::choose(None, 2, 2), Mode::Shared);
        assert_eq!(Mode::choose(None, 1, 2), Mode::Auto);
    }

    #[test]
    fn auto_stops_spinning_on_a_contended_core_and_starts_again_later() {
        let start = Fine::from_nanos(1 << 40);
        let mut pace = Pace::new(Mode::Auto, start);
        assert_eq!(pace.patience(), Some(AUTO_SPIN));
        pace.judge(start, AUTO_SWITCHES as f64);
        assert_eq!(pace.patience(), Some(AUTO_SPIN));
        pace.judge(start, AUTO_SWITCHES as f64 + 1.0);
        assert_eq!(pace.patience(), Some(Duration::ZERO));
        pace.judge(start.plus(AUTO_BACK_OFF / 2), 0.0);
        assert_eq!(pace.patience(), Some(Duration::ZERO));
        pace.judge(start.plus(AUTO_BACK_OFF), 0.0);
        assert_eq!(pace.patience(), Some(AUTO_SPIN));
    }

    #[test]
    fn the_others_do_not_change() {
        let start = Fine::now();
        for (mode, patience) in [(Mode::Dedicated, None), (Mode::Shared, Some(Duration::ZERO))] {
            let mut pace = Pace::new(mode, start);
            pace.look(start.plus(AUTO_INTERVAL * 2));
            assert_eq!(pace.patience(), patience);
        }
    }
}
