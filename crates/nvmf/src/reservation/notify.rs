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
    /// The host was told that there is something to read, and has not read since.
    announced: bool,
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

    /// Something happened.
    pub fn push(&mut self, nsid: u32, what: Notification) {
        if self.mask(nsid) & what.mask() != 0 {
            return;
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
    }

    /// Whether there is something to read that the host was not told of. It counts as told from then on.
    pub fn announce(&mut self) -> bool {
        !self.pages.is_empty() && !std::mem::replace(&mut self.announced, true)
    }

    /// Whether [`Notifications::announce`] would say so.
    #[must_use]
    pub fn is_news(&self) -> bool {
        !self.pages.is_empty() && !self.announced
    }

    /// The oldest page, which stays; an empty one if there is none.
    #[must_use]
    pub fn peek(&self) -> NotificationPage {
        let page = self.pages.front().copied().unwrap_or_else(NotificationPage::new_zeroed);
        NotificationPage { available: self.pages.len().saturating_sub(1) as u8, ..page }
    }

    /// Takes the oldest page (Get Log Page 80h without RAE); an empty one if there is none. The event is over: if
    /// there are more pages, they are news again.
    pub fn take(&mut self) -> NotificationPage {
        let page = self.peek();
        self.pages.pop_front();
        self.announced = false;
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::nvme::reservation::Notification::{RegistrationPreempted, ReservationReleased};

    #[test]
    fn the_first_page_is_announced_and_an_empty_one_ends_the_list() {
        let mut list = Notifications::default();
        list.push(1, RegistrationPreempted);
        assert!(list.announce() && !list.announce() && !list.is_news());
        list.push(2, ReservationReleased);
        assert!(!list.announce(), "one event until the log is read");
        assert_eq!(list.peek().count.get(), 1);
        let first = list.take();
        assert!(list.is_news(), "there is more");
        let second = list.take();
        assert_eq!((first.count.get(), first.kind, first.available, first.nsid.get()), (1, 1, 1, 1));
        assert_eq!((second.count.get(), second.kind, second.available, second.nsid.get()), (2, 2, 0, 2));
        assert_eq!(list.take(), NotificationPage::new_zeroed());
        assert!(!list.announce());
        list.push(1, RegistrationPreempted);
        assert!(list.announce(), "a new one is announced again");
    }

    #[test]
    fn masks_are_of_a_namespace_and_a_kind() {
        let mut list = Notifications::default();
        list.set_mask(1, u32::MAX);
        assert_eq!((list.mask(1), list.mask(2)), (mask::ALL, 0));
        list.set_mask(2, mask::RESERVATION_RELEASED);
        list.push(1, RegistrationPreempted);
        list.push(2, ReservationReleased);
        assert!(!list.is_news());
        list.push(2, RegistrationPreempted);
        list.set_mask(1, 0);
        list.push(1, ReservationReleased);
        assert_eq!((list.take().count.get(), list.take().count.get()), (1, 2), "what is masked is not counted");
    }

    #[test]
    fn a_full_list_loses_the_oldest_and_shows_it() {
        let mut list = Notifications::default();
        (0..RESERVATION_PAGES + 3).for_each(|_| list.push(1, ReservationReleased));
        let first = list.take();
        assert_eq!((first.count.get(), usize::from(first.available)), (4, RESERVATION_PAGES - 1));
        list.count = u64::MAX;
        list.push(1, ReservationReleased);
        assert_eq!(list.pages.back().unwrap().count.get(), 1, "0 is no number");
    }
}
