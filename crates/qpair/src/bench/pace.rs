//! An open loop: requests are due at fixed times, whatever the device does.
//!
//! ```text
//!   due        |     |     |     |     |     |     |        every 1/rate seconds
//!   sent       |     |     |        ...stall... |||||        what could not be sent in time is sent when there is room
//!   latency                      |--------------->|          from when it was due, not from when it was sent
//! ```
//!
//! A loop that waits for an answer before it asks again leaves out just those requests that a stall would have made
//! wait (coordinated omission). Here the wait before a request could be sent is part of its latency. A device that
//! cannot keep up has latencies that grow to the end of the run.

use std::time::Duration;

use machine::clock::Fine;

/// When the requests of one queue are due.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    interval: Duration,
    /// Set by the first look.
    next: Option<Fine>,
    /// Share of an interval that the first request waits, so that queues take turns.
    offset: Duration,
}

impl Pace {
    /// So many requests a second from all `queues`, of which this is number `index`.
    pub(super) fn new(rate: f64, index: usize, queues: usize) -> Self {
        let interval = Duration::from_secs_f64(queues as f64 / rate);
        Self { interval, next: None, offset: interval.mul_f64(index as f64 / queues as f64) }
    }

    /// When the next request was due; `None` if it is not yet.
    pub(super) fn due(&mut self, now: Fine) -> Option<Fine> {
        let next = *self.next.get_or_insert(now.plus(self.offset));
        (next <= now).then_some(next)
    }

    /// It was sent.
    pub(super) fn sent(&mut self) {
        self.next = self.next.map(|next| next.plus(self.interval));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_their_times_also_after_a_stall() {
        let at = |us: u64| Fine::from_nanos(1_000_000 + us * 1000);
        // 50,000 a second from two queues: one every 40 us from each, the second queue 20 us later.
        let (mut first, mut second) = (Pace::new(50e3, 0, 2), Pace::new(50e3, 1, 2));
        assert_eq!((first.due(at(0)), second.due(at(0))), (Some(at(0)), None));
        assert_eq!(second.due(at(25)), Some(at(20)));
        first.sent();
        assert_eq!(first.due(at(39)), None);
        // Nobody looked for a while: what was due then is due since then.
        for missed in [40, 80, 120] {
            assert_eq!(first.due(at(130)), Some(at(missed)));
            first.sent();
        }
        assert_eq!(first.due(at(130)), None);
    }
}
