//! What becomes of requests that were in flight when their connection broke.
//!
//! The target may have carried such a request out, or not, or in part. A request is **sent again** on the next
//! connection and its asker notices nothing but the time; or it **fails** with [`Failure::Disconnected`], and its asker
//! must find out. The caller chooses:
//!
//! | `retry=` | sent again |
//! |---|---|
//! | `none` | nothing |
//! | `idempotent` | what may be carried out twice without a difference to anybody who waits for completions (default) |
//! | `all` | everything |
//!
//! Whatever the caller chose, a request is sent `MAX_SENDS` times at most: it may be the reason why connections break.
//! Requests that had not been sent are not part of this: they wait for the next connection in any case.
//!
//! **What is idempotent.** What changes nothing is: reads, compares, verifies, flushes. What changes blocks - writes,
//! write zeroes, deallocations, write uncorrectables, copies - is as long as nobody changes the same blocks between the
//! first and the second time, for the second time would undo that change. Of this host's own requests, only one that
//! was in flight together with the first can be such a change: one that came later comes after the second time as well,
//! because the asker has no completion before. So a request that changes blocks is not sent again if it overlaps
//! another such request that is not over. (The sources of a copy do not count: with a change of them that was in flight
//! too, the copy may have either.) Three things cannot be seen from here, and who relies on them chooses `none`:
//!
//! * an overlapping write that was in flight together with the first and had ended before the connection broke: a
//!   reader may have seen the first, then the other, and sees the first again. NVMe does not order writes that are in
//!   flight together either;
//! * other hosts that write to the same blocks without a reservation or a lock that this host holds until its
//!   completion;
//! * a target that lost its volatile cache with the power and came back: writes that had completed, and were not
//!   flushed, are gone, and a flush that is sent again succeeds without them. No host can know.
//!
//! **The old connection.** A command that is still being carried out for the old connection while its second copy has
//! been answered could hit a later write. Before anything is sent again, the old controller is therefore disabled
//! (CC.EN = 0 until CSTS.RDY = 0), by which it has let go of all commands. This is tried for `FENCE_TIMEOUT` at most:
//! what a target that cannot be reached does with the commands of a broken connection is its own matter, as it is with
//! any host.
//!
//! **The order.** What is sent again goes in the order in which it was asked for, and before all that was asked for
//! later; but what is asked for on another path, while the old association is being ended, may overtake it. A flush is
//! sent when all that goes before it has been answered.

use machine::region::Bufs;
use wire::nvme::Status;

use super::connection::completion;
use super::limits::MAX_SENDS;
use crate::{Completion, Failure, Op, Outcome, Tag};

/// What is sent again when a connection broke; `nvme/tcp/fate.rs` tells what each choice promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retry {
    /// Nothing.
    None,
    /// What may be carried out twice.
    #[default]
    Idempotent,
    /// Everything.
    All,
}

impl Retry {
    /// The word of the address.
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "none" => Some(Self::None),
            "idempotent" => Some(Self::Idempotent),
            "all" => Some(Self::All),
            _ => None,
        }
    }
}

/// A request without a connection.
pub(super) struct Held {
    /// The how-manieth of its queue.
    pub(super) order: u64,
    pub(super) tag: Tag,
    pub(super) op: Op,
    pub(super) bufs: Bufs,
    /// How often a target may have seen it.
    pub(super) sends: u32,
    pub(super) cancelled: bool,
}

impl Held {
    /// Its end.
    pub(super) fn over(self, outcome: Outcome) -> Completion {
        completion(self.tag, self.op, outcome, self.bufs)
    }

    /// How it ends when no target will be there for it.
    pub(super) fn unreachable(&self) -> Failure {
        match (self.cancelled, self.sends) {
            (true, _) => Failure::Cancelled,
            (false, 0) => Failure::Unreachable,
            (false, _) => Failure::Disconnected,
        }
    }
}

/// Changes blocks: may not be repeated when something else changed them in between.
fn changes(op: &Op) -> Option<(u64, u64)> {
    match op {
        Op::Read(_) | Op::Flush | Op::Compare(_) | Op::Verify(_) => None,
        Op::Write { .. } | Op::WriteZeroes { .. } | Op::Deallocate(_) | Op::WriteUncorrectable(_) | Op::Copy { .. } => {
            op.range().map(|range| (range.lba, range.lba + range.blocks))
        }
    }
}

/// Of each of `broken`, requests whose connection broke: how it fails, or `None` if it is to be sent again. `others`
/// are the other requests of the queue that are not over.
pub(super) fn fates<'a>(retry: Retry, broken: &[Held], others: impl Iterator<Item = &'a Op>) -> Vec<Option<Failure>> {
    let mut fates: Vec<Option<Failure>> = broken
        .iter()
        .map(|held| match retry {
            _ if held.cancelled => Some(Failure::Cancelled),
            _ if held.sends >= MAX_SENDS => Some(Failure::Disconnected),
            Retry::None => Some(Failure::Disconnected),
            Retry::Idempotent | Retry::All => None,
        })
        .collect();
    if retry == Retry::Idempotent {
        let own = broken.iter().enumerate().filter_map(|(at, held)| Some((changes(&held.op)?, Some(at))));
        let others = others.filter_map(|op| Some((changes(op)?, None)));
        for at in overlapping(own.chain(others).collect()) {
            fates[at].get_or_insert(Failure::Disconnected);
        }
    }
    fates
}

/// The names of those ranges (start, end) that overlap another one.
fn overlapping(mut ranges: Vec<((u64, u64), Option<usize>)>) -> Vec<usize> {
    ranges.sort_unstable();
    let mut found = Vec::new();
    let (mut reach, mut furthest) = (0, None);
    for ((start, end), name) in ranges {
        if start < reach {
            found.extend(name);
            found.extend(furthest);
        }
        if end > reach {
            (reach, furthest) = (end, name);
        }
    }
    found
}

/// Whether a status tells of the connection or the controller instead of the command: the command is as good as broken
/// off, and its fate that of commands whose connection broke.
pub(super) fn is_about_the_path(status: Status) -> bool {
    status.same_code(Status::ABORTED_SQ_DELETION)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Range;

    fn held(op: Op) -> Held {
        Held { order: 0, tag: 0, op, bufs: Bufs::None, sends: 1, cancelled: false }
    }

    fn write(lba: u64, blocks: u64) -> Op {
        Op::Write { range: Range { lba, blocks }, fua: false }
    }

    #[test]
    fn the_caller_chooses() {
        let all = [Op::Read(Range { lba: 0, blocks: 8 }), write(0, 8), Op::Flush, write(20, 1), write(4, 8)];
        let broken = all.map(held);
        let fail = Some(Failure::Disconnected);
        assert_eq!(fates(Retry::None, &broken, [].iter()), [fail; 5]);
        assert_eq!(fates(Retry::All, &broken, [].iter()), [None; 5]);
        assert_eq!(fates(Retry::Idempotent, &broken, [].iter()), [None, fail, None, None, fail]);
        let other = [write(20, 2), Op::Read(Range { lba: 0, blocks: 99 })];
        assert_eq!(fates(Retry::Idempotent, &broken[2..4], other.iter()), [None, fail]);
        let often = [Held { sends: MAX_SENDS, ..held(Op::Flush) }];
        assert_eq!(fates(Retry::All, &often, [].iter()), [fail]);
        let cancelled = [Held { cancelled: true, ..held(Op::Flush) }];
        assert_eq!(fates(Retry::All, &cancelled, [].iter()), [Some(Failure::Cancelled)]);
    }

    proptest! {
        #[test]
        fn overlaps_are_found_as_by_comparing_all_pairs(
            ranges in prop::collection::vec((0u64..60, 1u64..9, any::<bool>()), 0..24),
        ) {
            let named: Vec<_> =
                ranges.iter().enumerate().map(|(at, r)| ((r.0, r.0 + r.1), r.2.then_some(at))).collect();
            let mut found = overlapping(named.clone());
            found.sort_unstable();
            found.dedup();
            let meet = |a: (u64, u64), b: (u64, u64)| a.0 < b.1 && b.0 < a.1;
            let expected: Vec<usize> = (0..named.len())
                .filter(|&at| named[at].1.is_some())
                .filter(|&at| (0..named.len()).any(|other| other != at && meet(named[at].0, named[other].0)))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
