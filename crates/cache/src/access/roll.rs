//! The users while a cache runs: control code hangs up a new list, and each reactor sees in its next pass that there is
//! one. Clients of users that are gone, or have another password, are disconnected.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Users;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    /// Lists that there were: the one thing that a pass looks at.
    number: AtomicU64,
    users: Mutex<Option<Users>>,
}

impl Roll {
    pub(crate) fn new(users: Option<Users>) -> Self {
        Self { number: AtomicU64::new(0), users: Mutex::new(users) }
    }

    /// The list, and its number.
    pub(crate) fn read(&self) -> (u64, Option<Users>) {
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        (self.number.load(Ordering::Relaxed), users.clone())
    }

    /// Whether there is another list than that of this number.
    pub(crate) fn is_newer(&self, number: u64) -> bool {
        self.number.load(Ordering::Relaxed) != number
    }

    /// Hangs up another list; whether it says something else.
    pub(crate) fn hang(&self, new: Users) -> bool {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let differs = users.as_ref() != Some(&new);
        if differs {
            *users = Some(new);
            self.number.fetch_add(1, Ordering::Relaxed);
        }
        differs
    }
}
