//! Asynchronous events of one controller (Base 2.0, 5.2): what has happened, and the requests that wait for it. They
//! live with the admin connection, on its reactor; what happens elsewhere comes there as an order or a message.
//!
//! ```text
//!   raise ──▶ pending ──a request is there──▶ sent, and masked ──its log is read without RAE──▶ may be raised again
//! ```
//!
//! What happens while an event is pending or masked needs no other one: the host finds it in the log.

use std::collections::BTreeSet;

use wire::nvme::feature::Event;
use wire::nvme::{Status, lid};
use wire::tcp::Slot;

use crate::connection::answer::Answer;
use crate::limits::{ASYNC_EVENTS, LAST_NSID};

/// Entries of the Changed Namespace List.
const LISTED: usize = 1024;
const _: () = assert!(LAST_NSID as usize <= LISTED, "all namespaces fit on the list");

/// See the module.
#[derive(Default)]
pub(crate) struct Events {
    /// Requests that wait, the oldest first, with their command identifiers.
    held: Vec<(Slot, u16)>,
    /// Events that wait for a request, the oldest first.
    pending: Vec<Event>,
    /// The logs of events that were sent.
    masked: Vec<u8>,
    /// Namespaces that changed since the host read the list.
    changed: BTreeSet<u32>,
}

impl Events {
    /// Asynchronous Event Request: answered now if something has happened, else kept.
    pub(crate) fn request(&mut self, slot: Slot, cid: u16) -> Answer {
        if self.held.len() == ASYNC_EVENTS {
            return Status::ASYNC_EVENT_LIMIT.with_dnr().into();
        }
        self.held.push((slot, cid));
        // Nothing is pending while a request is held: it is this one.
        self.next().map_or(Answer::Held, |(_, event)| Answer::result(event.to_result()))
    }

    /// Takes the request of this command identifier back, if it is held.
    pub(crate) fn abort(&mut self, cid: u16) -> Option<Slot> {
        let at = self.held.iter().position(|held| held.1 == cid)?;
        Some(self.held.remove(at).0)
    }

    /// A reset: events are forgotten; the requests that were held.
    pub(crate) fn reset(&mut self) -> Vec<Slot> {
        std::mem::take(self).held.into_iter().map(|held| held.0).collect()
    }

    /// Something has happened.
    pub(crate) fn raise(&mut self, event: Event) {
        if !self.masked.contains(&event.lid) && !self.pending.contains(&event) {
            self.pending.push(event);
        }
    }

    /// A namespace has come, gone or changed; the host wants to be told if `enabled`.
    pub(crate) fn namespace_changed(&mut self, nsid: u32, enabled: bool) {
        self.changed.insert(nsid);
        if enabled {
            self.raise(Event::NAMESPACES_CHANGED);
        }
    }

    /// An event to be sent now, and the request that it answers.
    pub(crate) fn next(&mut self) -> Option<(Slot, Event)> {
        if self.held.is_empty() || self.pending.is_empty() {
            return None;
        }
        let event = self.pending.remove(0);
        self.masked.push(event.lid);
        Some((self.held.remove(0).0, event))
    }

    /// The Changed Namespace List (log 04h): ascending, zeros behind.
    pub(crate) fn changed_namespaces(&self) -> Vec<u8> {
        let mut log: Vec<u8> = self.changed.iter().flat_map(|nsid| nsid.to_le_bytes()).collect();
        log.resize(LISTED * size_of::<u32>(), 0);
        log
    }

    /// A log was read without RAE: its event may come again.
    pub(crate) fn read(&mut self, log: u8) {
        self.masked.retain(|&masked| masked != log);
        self.pending.retain(|event| event.lid != log);
        if log == lid::CHANGED_NAMESPACES {
            self.changed.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(answer: &Answer) -> Option<u64> {
        match answer {
            Answer::Done { status, result } if status.is_success() => Some(*result),
            Answer::Held => None,
            _ => panic!("neither held nor answered"),
        }
    }

    #[test]
    fn an_event_waits_for_a_request_and_is_sent_once_until_its_log_is_read() {
        let mut events = Events::default();
        let changed = Some(Event::NAMESPACES_CHANGED.to_result());
        events.namespace_changed(7, true);
        events.namespace_changed(3, true);
        assert!(events.next().is_none(), "nobody has asked");
        assert_eq!(result(&events.request(Slot(1), 1)), changed);
        assert_eq!(result(&events.request(Slot(2), 2)), None, "both are one event");
        events.namespace_changed(9, true);
        assert!(events.next().is_none(), "the list was not read");
        assert_eq!(events.changed_namespaces()[..16], [3, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        events.read(lid::CHANGED_NAMESPACES);
        assert!(events.next().is_none(), "what the list told needs no event");
        assert_eq!(events.changed_namespaces(), [0; 4096]);
        events.namespace_changed(7, true);
        events.raise(Event::RESERVATION_LOG);
        assert_eq!(events.next(), Some((Slot(2), Event::NAMESPACES_CHANGED)));
        assert_eq!(events.next(), None);
        assert_eq!(result(&events.request(Slot(3), 3)), Some(Event::RESERVATION_LOG.to_result()));
    }

    #[test]
    fn who_does_not_want_events_has_the_list_all_the_same() {
        let mut events = Events::default();
        assert_eq!(result(&events.request(Slot(1), 1)), None);
        events.namespace_changed(1, false);
        assert_eq!(events.next(), None);
        assert_eq!(events.changed_namespaces()[0], 1);
        assert_eq!((events.abort(2), events.abort(1), events.abort(1)), (None, Some(Slot(1)), None));
    }

    #[test]
    fn a_reset_forgets_all() {
        let mut events = Events::default();
        events.namespace_changed(1, true);
        assert!(events.reset().is_empty());
        assert_eq!(result(&events.request(Slot(4), 4)), None);
        assert_eq!((events.reset(), events.changed_namespaces()), (vec![Slot(4)], vec![0; 4096]));
    }
}
