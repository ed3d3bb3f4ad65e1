//! The time of day, read from the clock of the pass.

use std::time::SystemTime;

use machine::clock::Fine;
use store::Time;

/// The calendar as it was at the start: later changes of the system's clock move no expiry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calendar {
    then: Fine,
    date: Time,
}

impl Calendar {
    /// By the system's clock, but not before a time that was seen already: nothing that has expired is there again
    /// because somebody has set the clock back.
    pub(crate) fn now(seen: Time) -> Self {
        let date = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { then: Fine::now(), date: Time::default().plus(date).max(seen) }
    }

    /// One by which it is this date at this moment.
    pub(crate) fn at_date(then: Fine, date: Time) -> Self {
        Self { then, date }
    }

    pub(crate) fn at(self, now: Fine) -> Time {
        self.date.plus(now.since(self.then))
    }
}
