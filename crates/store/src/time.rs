//! Points in time as clients mean them: of the calendar.

use std::time::Duration;

/// Milliseconds since 1970, as the store's caller reads them; they are to never go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

impl Time {
    /// Longest representable: items keep 48 bits.
    pub const MAX: Self = Self((1 << 48) - 1);

    /// So many milliseconds after the beginning of 1970; no more than [`Time::MAX`].
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        if millis > Self::MAX.0 { Self::MAX } else { Self(millis) }
    }

    /// Milliseconds since the beginning of 1970.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Later by this much.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// What has gone by since `earlier`; zero if that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// When an item is not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It does not expire.
    Never,
    /// From this point in time on.
    At(Time),
}

impl Expiry {
    /// Whether that is now, or was.
    #[must_use]
    pub fn has_come(self, now: Time) -> bool {
        matches!(self, Self::At(time) if time <= now)
    }

    /// Of both, the one that comes later.
    #[must_use]
    pub fn later(self, other: Self) -> Self {
        match (self, other) {
            (Self::At(one), Self::At(two)) => Self::At(one.max(two)),
            _ => Self::Never,
        }
    }
}
