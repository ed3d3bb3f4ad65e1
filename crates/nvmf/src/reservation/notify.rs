//! What a controller has to tell its host about reservations: the pages of log 80h.
//!
//! ```text
//!   Notice ── masked? ──▶ dropped
//!      └────────────────▶ pages ── the first one while none was waiting: an asynchronous event ──▶ Get Log Page 80h
//! ```
//!
//! A page that does not fit pushes the oldest one out. The pages are numbered, so the host sees that one is missing
//! (Base 2.0, Reservation Notification log: Log Page Count).

use std::collections::{BTreeMap, VecDeque};

use wire::nvme::reservation::{Notification, NotificationPage, mask};
use zerocopy::FromZeros;

use crate::limits::RESERVATION_PAGES;

/// The notifications of one controller.
#[derive(Debug, Default)]
pub struct Notifications {
    pages: VecDeque<NotificationPage>,
    /// The number of the last page.
    count: u64,
    /// Feature 82h of each namespace that has bits set.
    masks: BTreeMap<u32, u32>,
}

impl Notifications {
    /// The mask of a namespace (Get Features 82h).
    #[must_use]
    pub fn mask(&self, nsid: u32) -> u32 {
        self.masks.get(&nsid).copied().unwrap_or(0)
    }

    /// Sets the mask of a namespace (Set Features 82h); bits that mean nothing are dropped.
    pub fn set_mask(&mut self, nsid: u32, bits: u32) {
        match bits & mask::ALL {
            0 => self.masks.remove(&nsid),
            bits => self.masks.insert(nsid, bits),
        };
    }

    /// Something happened. Whether the host is to be told that there is something to read.
    pub fn push(&mut self, nsid: u32, what: Notification) -> bool {
        if self.mask(nsid) & what.mask() != 0 {
            return false;
        }
        // 0 is the number of an empty page: the count wraps to 1.
        self.count = self.count.checked_add(1).unwrap_or(1);
        if self.pages.len() == RESERVATION_PAGES {
            self.pages.pop_front();
        }
        let page = NotificationPage {
            count: self.count.into(),
            kind: what as u8,
            nsid: nsid.into(),
            ..NotificationPage::new_zeroed()
        };
        self.pages.push_back(page);
        self.pages.len() == 1
    }

    /// Takes the oldest page (Get Log Page 80h); an empty one if there is none. Whether the host is to be told of
    /// another one: [`NotificationPage::available`] is not 0.
    pub fn take(&mut self) -> NotificationPage {
        let page = self.pages.pop_front().unwrap_or_else(NotificationPage::new_zeroed);
        NotificationPage { available: self.pages.len() as u8, ..page }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::nvme::reservation::Notification::{RegistrationPreempted, ReservationReleased};

    #[test]
    fn the_first_page_is_announced_and_an_empty_one_ends_the_list() {
        let mut list = Notifications::default();
        assert!(list.push(1, RegistrationPreempted) && !list.push(2, ReservationReleased));
        let (first, second) = (list.take(), list.take());
        assert_eq!((first.count.get(), first.kind, first.available, first.nsid.get()), (1, 1, 1, 1));
        assert_eq!((second.count.get(), second.kind, second.available, second.nsid.get()), (2, 2, 0, 2));
        assert_eq!(list.take(), NotificationPage::new_zeroed());
        assert!(list.push(1, RegistrationPreempted), "a new one is announced again");
    }

    #[test]
    fn masks_are_of_a_namespace_and_a_kind() {
        let mut list = Notifications::default();
        list.set_mask(1, u32::MAX);
        assert_eq!((list.mask(1), list.mask(2)), (mask::ALL, 0));
        list.set_mask(2, mask::RESERVATION_RELEASED);
        assert!(!list.push(1, RegistrationPreempted) && !list.push(2, ReservationReleased));
        assert!(list.push(2, RegistrationPreempted));
        list.set_mask(1, 0);
        list.push(1, ReservationReleased);
        assert_eq!((list.take().count.get(), list.take().count.get()), (1, 2), "what is masked is not counted");
    }

    #[test]
    fn a_full_list_loses_the_oldest_and_shows_it() {
        let mut list = Notifications::default();
        (0..RESERVATION_PAGES + 3).for_each(|_| _ = list.push(1, ReservationReleased));
        let first = list.take();
        assert_eq!((first.count.get(), usize::from(first.available)), (4, RESERVATION_PAGES - 1));
        list.count = u64::MAX;
        list.push(1, ReservationReleased);
        assert_eq!(list.pages.back().unwrap().count.get(), 1, "0 is no number");
    }
}
