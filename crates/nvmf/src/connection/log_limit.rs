//! Keeps hostile peers from filling the log: so many lines about them in a second, and the number of the others.

use std::time::Duration;

use machine::clock::Coarse;

use crate::limits::LOG_LINES_PER_SECOND;

/// See the module.
#[derive(Default)]
pub(crate) struct LogLimit {
    second: Option<Coarse>,
    lines: u32,
    dropped: u64,
}

impl LogLimit {
    /// Whether another line may be written now. What was held back is told with the first line of a later second.
    pub(crate) fn allows(&mut self, now: Coarse) -> bool {
        if self.second.is_none_or(|second| now.since(second) >= Duration::from_secs(1)) {
            if self.dropped > 0 {
                tracing::warn!("{} more lines like these were left out", self.dropped);
            }
            *self = Self { second: Some(now), lines: 0, dropped: 0 };
        }
        self.lines += 1;
        self.dropped += u64::from(self.lines > LOG_LINES_PER_SECOND);
        self.lines <= LOG_LINES_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_limited() {
        let mut limit = LogLimit::default();
        let at = Coarse::from_millis;
        let allowed = |limit: &mut LogLimit, from| (from..from + 900).filter(|&ms| limit.allows(at(ms))).count();
        assert_eq!(allowed(&mut limit, 0), LOG_LINES_PER_SECOND as usize);
        assert_eq!(allowed(&mut limit, 2000), LOG_LINES_PER_SECOND as usize);
    }
}
