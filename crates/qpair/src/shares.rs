//! What a reactor did with its time, in words of the JSON objects.

use machine::reactor::Snapshot;
use serde::Serialize;

/// The shares of one reactor; the seconds add up to its time.
#[derive(Serialize)]
pub(crate) struct ReactorShares {
    pub(crate) busy_seconds: f64,
    pub(crate) idle_seconds: f64,
    pub(crate) asleep_seconds: f64,
    /// Of the time that it was awake, the share in which it found work.
    pub(crate) effective: f64,
}

impl From<&Snapshot> for ReactorShares {
    fn from(reactor: &Snapshot) -> Self {
        Self {
            busy_seconds: reactor.busy.as_secs_f64(),
            idle_seconds: reactor.idle.as_secs_f64(),
            asleep_seconds: reactor.asleep.as_secs_f64(),
            effective: reactor.effective(),
        }
    }
}
