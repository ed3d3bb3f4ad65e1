//! Who may read and write: a snapshot of the reservations that every reactor keeps for its own checks.
//!
//! ```text
//!                        holder       registrant     other host        (NVM Command Set 1.0, Command Behavior in the
//!                        R    W        R    W         R    W            Presence of a Reservation)
//!   Write Exclusive      yes  yes      yes  -         yes  -
//!   Exclusive Access     yes  yes      -    -         -    -
//!   ... Registrants      yes  yes      yes  yes       as above
//! ```

use super::state::HostId;

/// What a command does to the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Reads them: Read, Compare, Verify.
    Read,
    /// Changes them or their state: Write, Write Zeroes, Write Uncorrectable, Dataset Management, Copy, Flush.
    Write,
}

/// Who may read and write. Without a reservation a check is one branch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    rule: Rule,
    /// Those whom the rule does not hit, sorted.
    admitted: Box<[HostId]>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rule {
    #[default]
    Open,
    /// Others may read only.
    Writes,
    /// Others may do nothing.
    All,
}

impl Access {
    /// No reservation: everybody may do everything.
    #[must_use]
    pub fn open() -> Self {
        Self::default()
    }

    /// A reservation: only those `admitted` write, and with `reads` only they read.
    pub(super) fn restricted(reads: bool, mut admitted: Vec<HostId>) -> Self {
        admitted.sort_unstable();
        Self { rule: if reads { Rule::All } else { Rule::Writes }, admitted: admitted.into() }
    }

    /// Whether a command of `host` may go on; else it is answered with Reservation Conflict.
    #[must_use]
    #[inline]
    pub fn allows(&self, host: &HostId, group: Group) -> bool {
        match (self.rule, group) {
            (Rule::Open, _) | (Rule::Writes, Group::Read) => true,
            _ => self.admitted.binary_search(host).is_ok(),
        }
    }
}
