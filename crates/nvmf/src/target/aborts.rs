//! Abort commands of one controller that are not answered yet (Base 2.0, 5.1). They come on the admin queue, what they
//! name is on an I/O queue, maybe on another reactor: this list, under a lock of the controller, is where both look.
//!
//! ```text
//!   admin queue ── ask ──▶ Asked ──the queue's connection──▶ Cancelling ──the command ends──▶ Over ──▶ answered
//!                            │                                   │                             ▲
//!                            └── the connection ends ────────────┴─── patience is up ──────────┘  not aborted
//! ```

use machine::clock::Coarse;
use wire::tcp::Slot;

use crate::limits::{ABORT_PATIENCE, ABORTS};

/// An I/O queue, and how often its controller had been reset when it was connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueId {
    pub(crate) qid: u16,
    pub(crate) resets: u32,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Aborts(Vec<Abort>);

struct Abort {
    /// Of the Abort command, on the admin queue.
    slot: Slot,
    queue: QueueId,
    cid: u16,
    since: Coarse,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The queue's connection has not looked yet.
    Asked,
    /// A device was asked to give the command back.
    Cancelling,
    Over {
        aborted: bool,
    },
}

impl Aborts {
    /// Keeps an Abort; false if there are as many as there can be.
    pub(crate) fn ask(&mut self, slot: Slot, queue: QueueId, cid: u16, now: Coarse) -> bool {
        if self.0.len() == ABORTS {
            return false;
        }
        self.0.push(Abort { slot, queue, cid, since: now, fate: Fate::Asked });
        true
    }

    /// A command of this queue that is to be aborted. How that ends, [`Aborts::over`] tells.
    pub(crate) fn next_asked(&mut self, queue: QueueId) -> Option<u16> {
        let asked = self.0.iter_mut().find(|abort| abort.queue == queue && abort.fate == Fate::Asked)?;
        asked.fate = Fate::Cancelling;
        Some(asked.cid)
    }

    /// What became of a command that [`Aborts::next_asked`] gave.
    pub(crate) fn over(&mut self, queue: QueueId, cid: u16, aborted: bool) {
        let these = |abort: &&mut Abort| abort.queue == queue && abort.cid == cid && abort.fate == Fate::Cancelling;
        self.0.iter_mut().filter(these).for_each(|abort| abort.fate = Fate::Over { aborted });
    }

    /// The connection of this queue has ended, with all its commands: none of them is aborted any more.
    pub(crate) fn queue_over(&mut self, queue: QueueId) {
        let open = |abort: &&mut Abort| abort.queue == queue && !matches!(abort.fate, Fate::Over { .. });
        self.0.iter_mut().filter(open).for_each(|abort| abort.fate = Fate::Over { aborted: false });
    }

    /// An Abort that can be answered, and whether its command was aborted. One that has taken too long was not.
    pub(crate) fn next_over(&mut self, now: Coarse) -> Option<(Slot, bool)> {
        let is_over =
            |abort: &Abort| matches!(abort.fate, Fate::Over { .. }) || now.since(abort.since) >= ABORT_PATIENCE;
        let Abort { slot, fate, .. } = self.0.remove(self.0.iter().position(is_over)?);
        Some((slot, fate == Fate::Over { aborted: true }))
    }

    /// The controller was reset: all are forgotten. The slots of the Abort commands.
    pub(crate) fn reset(&mut self) -> Vec<Slot> {
        self.0.drain(..).map(|abort| abort.slot).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: QueueId = QueueId { qid: 1, resets: 0 };
    const TWO: QueueId = QueueId { qid: 2, resets: 0 };

    fn at(millis: u64) -> Coarse {
        Coarse::from_millis(millis)
    }

    #[test]
    fn an_abort_goes_to_its_queue_and_comes_back() {
        let mut aborts = Aborts::default();
        assert!(aborts.ask(Slot(1), ONE, 7, at(0)) && aborts.ask(Slot(2), TWO, 7, at(0)));
        assert_eq!(aborts.next_asked(QueueId { resets: 1, ..ONE }), None, "a queue from after a reset is another one");
        assert_eq!((aborts.next_asked(TWO), aborts.next_asked(TWO)), (Some(7), None));
        assert_eq!(aborts.next_over(at(1)), None);
        aborts.over(TWO, 8, true);
        aborts.over(ONE, 7, true);
        assert_eq!(aborts.next_over(at(1)), None, "nobody has taken the one, and the other is not command 8");
        aborts.over(TWO, 7, true);
        assert_eq!((aborts.next_over(at(1)), aborts.next_over(at(1))), (Some((Slot(2), true)), None));
        aborts.queue_over(ONE);
        assert_eq!(aborts.next_over(at(1)), Some((Slot(1), false)));
        assert!(aborts.is_empty());
    }

    #[test]
    fn several_may_want_the_same_command() {
        let mut aborts = Aborts::default();
        assert!(aborts.ask(Slot(1), ONE, 7, at(0)) && aborts.ask(Slot(2), ONE, 7, at(0)));
        assert_eq!((aborts.next_asked(ONE), aborts.next_asked(ONE)), (Some(7), Some(7)));
        aborts.over(ONE, 7, true);
        assert_eq!((aborts.next_over(at(1)), aborts.next_over(at(1))), (Some((Slot(1), true)), Some((Slot(2), true))));
    }

    #[test]
    fn what_takes_too_long_was_not_aborted() {
        let mut aborts = Aborts::default();
        assert!(aborts.ask(Slot(1), ONE, 7, at(0)) && aborts.ask(Slot(2), ONE, 8, at(0)));
        assert_eq!(aborts.next_asked(ONE), Some(7));
        let late = at(0).plus(ABORT_PATIENCE);
        assert_eq!((aborts.next_over(late), aborts.next_over(late)), (Some((Slot(1), false)), Some((Slot(2), false))));
        aborts.over(ONE, 7, true);
        assert!(aborts.is_empty(), "whoever says so later finds nobody");
    }

    #[test]
    fn there_is_a_limit_and_a_reset_forgets_all() {
        let mut aborts = Aborts::default();
        for slot in 0..ABORTS as u16 {
            assert!(aborts.ask(Slot(slot), ONE, slot, at(0)));
        }
        assert!(!aborts.ask(Slot(9), ONE, 9, at(0)));
        assert_eq!(aborts.reset().len(), ABORTS);
        assert!(aborts.ask(Slot(9), ONE, 9, at(0)));
    }
}
