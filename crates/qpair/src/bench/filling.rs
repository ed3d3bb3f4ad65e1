//! How one queue fills its zones: some at a time, one request in each in turn.
//!
//! ```text
//!            ┌────────────────────── the next zone of the share ◀──────────────────────┐
//!            ▼ (from its second time on)                                               │
//!   reset ──▶ fill ── a unit, a unit, ... ──▶ all are back ──▶ finish, if it is not full ┘
//! ```
//!
//! Appends are many at once in each zone. Writes are one at a time in each: the next one belongs where the last one has
//! ended, and devices may take two that are in flight in any order.

use std::ops::Range;

use block::ZoneAction;

use super::plan::Shape;
use super::zoned::Zones;

/// The zones of a queue. Zones are numbered from the first of the target's range on.
pub(super) struct Filling {
    zones: Zones,
    first_lba: u64,
    unit_blocks: u64,
    /// The zones that are this queue's.
    share: Range<u64>,
    /// The next one to take up, if it is not being filled.
    next: u64,
    /// All of the share were taken up once: what comes now has to be reset.
    again: bool,
    open: Vec<Open>,
    /// Whose turn it is.
    turn: usize,
}

/// A zone that is being filled.
struct Open {
    zone: u64,
    step: Step,
    /// Units that were asked for, and those of them that are under way.
    issued: u64,
    in_flight: u64,
    /// A request failed, so that nobody knows how full it is.
    failed: bool,
    /// Units that the device has put something in, a bit each.
    seen: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It takes units.
    Fill,
    /// This has to be done with it first.
    Due(ZoneAction),
    /// This is under way.
    Doing(ZoneAction),
}

/// Something to be done with a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chore {
    /// Which of the queue's open zones.
    pub(super) place: usize,
    pub(super) action: ZoneAction,
    /// Its first block.
    pub(super) lba: u64,
}

impl Filling {
    /// Fills the zones from `share` on, of a target whose zones are empty.
    pub(super) fn new(shape: &Shape, zones: Zones, share: Range<u64>) -> Self {
        assert!(zones.open > 0 && zones.open as u64 <= share.end - share.start, "a queue has its zones");
        let words = zones.units.div_ceil(64) as usize;
        let open = |zone| Open { zone, step: Step::Fill, issued: 0, in_flight: 0, failed: false, seen: vec![0; words] };
        let mut filling = Self {
            zones,
            first_lba: shape.first_lba,
            unit_blocks: shape.unit_blocks,
            next: share.start,
            share,
            again: false,
            open: Vec::new(),
            turn: 0,
        };
        filling.open = (0..zones.open).map(|_| open(filling.pick())).collect();
        filling
    }

    /// The namespace, for native commands.
    pub(super) fn nsid(&self) -> Option<u32> {
        self.zones.nsid
    }

    /// The next zone of the share that is not being filled.
    fn pick(&mut self) -> u64 {
        loop {
            let zone = self.next;
            self.next += 1;
            if self.next == self.share.end {
                (self.next, self.again) = (self.share.start, true);
            }
            if self.open.iter().all(|open| open.zone != zone) {
                return zone;
            }
        }
    }

    /// The unit that the next request is for: that of a write, or the first one of the zone of an append. `None`: all
    /// zones wait for something.
    pub(super) fn claim(&mut self) -> Option<u64> {
        let most = if self.zones.append { u64::MAX } else { 1 };
        for _ in 0..self.open.len() {
            let place = self.turn;
            self.turn = (self.turn + 1) % self.open.len();
            let open = &mut self.open[place];
            if open.step == Step::Fill && open.issued < self.zones.units && open.in_flight < most {
                let unit = open.zone * self.zones.units + if self.zones.append { 0 } else { open.issued };
                open.issued += 1;
                open.in_flight += 1;
                return Some(unit);
            }
        }
        None
    }

    /// What was claimed was not sent.
    pub(super) fn give_back(&mut self, unit: u64) {
        let open = self.of(unit);
        open.issued -= 1;
        open.in_flight -= 1;
    }

    fn of(&mut self, unit: u64) -> &mut Open {
        let zone = unit / self.zones.units;
        self.open.iter_mut().find(|open| open.zone == zone).expect("a zone with a request stays")
    }

    /// The first block of a zone.
    fn lba(&self, zone: u64) -> u64 {
        self.first_lba + zone * self.zones.stride
    }

    /// A request for this unit has ended.
    pub(super) fn ended(&mut self, unit: u64, succeeded: bool) {
        let (units, rest) = (self.zones.units, self.zones.rest);
        let open = self.of(unit);
        open.in_flight -= 1;
        open.failed |= !succeeded;
        // A write that failed has not moved the write pointer: those behind it would fail, too.
        let over = open.issued == units || (open.failed && !self.zones.append);
        let open = self.of(unit);
        if !over || open.in_flight > 0 {
            return;
        }
        if rest || open.failed {
            open.step = Step::Due(ZoneAction::Finish);
        } else {
            let zone = open.zone;
            self.take_up(zone);
        }
    }

    /// Where an append to the zone of this unit went, by the device's word.
    ///
    /// # Errors
    /// Why that cannot be, as the end of a sentence.
    pub(super) fn placed(&mut self, unit: u64, lba: u64) -> Result<u64, String> {
        let (units, unit_blocks) = (self.zones.units, self.unit_blocks);
        let start = self.lba(unit / units);
        let Some(behind) = lba.checked_sub(start).filter(|behind| *behind < units * unit_blocks) else {
            return Err(format!("which is not in what was appended to the zone at block {start:#x}"));
        };
        if !behind.is_multiple_of(unit_blocks) {
            return Err(format!("which is not a whole number of appends behind the start of the zone, {start:#x}"));
        }
        let within = behind / unit_blocks;
        let word = &mut self.of(unit).seen[within as usize / 64];
        let bit = 1 << (within % 64);
        if *word & bit != 0 {
            return Err("where another append has gone".to_owned());
        }
        *word |= bit;
        Ok(unit / units * units + within)
    }

    /// Replaces a zone by the next one.
    fn take_up(&mut self, zone: u64) {
        let place = self.open.iter().position(|open| open.zone == zone).expect("it was being filled");
        let again = self.again;
        // The zone itself may be the only one that is left.
        self.open[place].zone = u64::MAX;
        let zone = self.pick();
        let open = &mut self.open[place];
        open.seen.fill(0);
        (open.zone, open.issued, open.failed) = (zone, 0, false);
        open.step = if again { Step::Due(ZoneAction::Reset) } else { Step::Fill };
    }

    /// Something that has to be done with a zone before it goes on.
    pub(super) fn chore(&self) -> Option<Chore> {
        self.open.iter().enumerate().find_map(|(place, open)| match open.step {
            Step::Due(action) => Some(Chore { place, action, lba: self.lba(open.zone) }),
            Step::Fill | Step::Doing(_) => None,
        })
    }

    /// It is under way.
    pub(super) fn begun(&mut self, chore: Chore) {
        self.open[chore.place].step = Step::Doing(chore.action);
    }

    /// Chores that are under way.
    pub(super) fn chores(&self) -> usize {
        self.open.iter().filter(|open| matches!(open.step, Step::Doing(_))).count()
    }

    /// A chore has ended: what it was, and the units of a zone that is empty now.
    pub(super) fn done(&mut self, place: usize, succeeded: bool) -> (Chore, Range<u64>) {
        let Open { zone, step, .. } = self.open[place];
        let (Step::Doing(action) | Step::Due(action)) = step else { panic!("nothing was done with zone {zone}") };
        let chore = Chore { place, action, lba: self.lba(zone) };
        let mut empty = 0..0;
        match (action, succeeded) {
            (_, false) => self.open[place].step = Step::Due(action),
            (ZoneAction::Finish, true) => self.take_up(zone),
            (_, true) => {
                self.open[place].step = Step::Fill;
                empty = zone * self.zones.units..(zone + 1) * self.zones.units;
            }
        }
        (chore, empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plan::tests::{args, plan_with};

    /// Zones of 16 blocks, units of 4 blocks from block 32 on.
    fn filling(append: bool, rest: bool, open: usize, share: Range<u64>) -> Filling {
        let plan = plan_with(&args("null:1MiB --bs 2k --offset 16k"), &[None]).expect("a plan");
        let zones = Zones { stride: 16, units: 3, open, rest, append, nsid: Some(1) };
        Filling::new(&plan.shapes[0], zones, share)
    }

    #[test]
    fn appends_go_to_all_open_zones_in_turn() {
        let mut filling = filling(true, false, 2, 4..7);
        let claims: Vec<_> = std::iter::from_fn(|| filling.claim()).collect();
        assert_eq!(claims, [12, 15, 12, 15, 12, 15]);
        // The device chooses: any place in the zone, each once.
        assert_eq!([104, 96, 100].map(|lba| filling.placed(12, lba)), [Ok(14), Ok(12), Ok(13)]);
        assert!(filling.placed(12, 100).expect_err("taken").contains("another append"));
        assert!(filling.placed(15, 100).expect_err("another zone").contains("0x70"));
        assert!(filling.placed(15, 114).expect_err("between two").contains("whole number"));
        assert!(filling.placed(15, 112 + 12).expect_err("behind the last").contains("not in what"));
        (0..3).for_each(|_| filling.ended(12, true));
        // Zone 4 is full, and zone 6 follows; then zone 4 again, which has to be reset.
        assert_eq!((filling.claim(), filling.chore()), (Some(18), None));
        (0..3).for_each(|_| filling.ended(15, true));
        let chore = filling.chore().expect("a zone is taken up again");
        assert_eq!(chore, Chore { place: 1, action: ZoneAction::Reset, lba: 96 });
        filling.begun(chore);
        assert_eq!((filling.chores(), filling.chore()), (1, None));
        assert_eq!(filling.done(1, true), (chore, 12..15));
        assert_eq!(filling.placed(12, 100), Ok(13));
        assert_eq!([filling.claim(), filling.claim(), filling.claim()], [Some(12), Some(18), Some(12)]);
    }

    #[test]
    fn writes_are_one_at_a_time_in_each_zone_and_in_sequence() {
        let mut filling = filling(false, false, 2, 0..2);
        assert_eq!([filling.claim(), filling.claim(), filling.claim()], [Some(0), Some(3), None]);
        filling.ended(3, true);
        filling.ended(0, true);
        assert_eq!([filling.claim(), filling.claim(), filling.claim()], [Some(1), Some(4), None]);
        filling.give_back(4);
        assert_eq!((filling.claim(), filling.claim()), (Some(4), None));
        filling.ended(4, true);
        assert_eq!(filling.claim(), Some(5));
        filling.ended(5, true);
        // The only zone that is free is the one that was just filled.
        assert_eq!(filling.chore(), Some(Chore { place: 1, action: ZoneAction::Reset, lba: 32 + 16 }));
    }

    #[test]
    fn a_zone_that_is_not_full_is_finished_first() {
        let mut filling = filling(false, true, 1, 0..2);
        for unit in 0..3 {
            assert_eq!(filling.claim(), Some(unit));
            filling.ended(unit, true);
        }
        let chore = filling.chore().expect("it has a rest");
        assert_eq!((chore.action, chore.lba, filling.claim()), (ZoneAction::Finish, 32, None));
        filling.begun(chore);
        // It is due again until it succeeds.
        assert_eq!(filling.done(0, false), (chore, 0..0));
        assert_eq!(filling.chore(), Some(chore));
        filling.begun(chore);
        assert_eq!(filling.done(0, true), (chore, 0..0));
        assert_eq!((filling.chore(), filling.claim()), (None, Some(3)));
    }

    #[test]
    fn after_a_failure_a_zone_is_given_up() {
        let mut filling = filling(false, false, 1, 0..2);
        assert_eq!(filling.claim(), Some(0));
        filling.ended(0, false);
        assert_eq!(filling.chore().map(|chore| chore.action), Some(ZoneAction::Finish));
        let mut filling = self::filling(true, false, 1, 0..2);
        assert_eq!([filling.claim(), filling.claim(), filling.claim()], [Some(0); 3]);
        [true, false, true].into_iter().for_each(|succeeded| filling.ended(0, succeeded));
        assert_eq!(filling.chore().map(|chore| chore.action), Some(ZoneAction::Finish));
    }
}
