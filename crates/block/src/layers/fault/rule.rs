//! Which requests a rule is for, and what it does to them. No clock and no I/O: a request goes in, a plan comes out.

use std::time::Duration;

use crate::{Failure, Op, Range};

/// A probability in parts of a billion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chance(pub u32);

/// The whole of a [`Chance`].
pub(super) const CERTAIN: u32 = 1_000_000_000;

/// How much longer a request takes: a time from this range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// At least.
    pub min: Duration,
    /// At most.
    pub max: Duration,
}

/// What becomes of a request, beside a delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It fails, and nothing is done.
    Fail(Failure),
    /// A write writes its first blocks, so many or some, and then fails.
    Short(Option<u64>, Failure),
    /// A write writes some of its sectors, and then fails.
    Torn(Failure),
    /// It never ends by itself.
    Drop,
    /// The thread panics.
    Panic,
}

/// One rule: see [the module](super) for what its parts mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// A bit for each of [`KINDS`].
    pub(super) kinds: u16,
    pub(super) nth: Option<u64>,
    pub(super) every: Option<u64>,
    pub(super) after: u64,
    pub(super) times: u64,
    pub(super) chance: Option<Chance>,
    pub(super) blocks: Option<Range>,
    pub(super) delay: Option<Delay>,
    pub(super) action: Option<Action>,
}

/// The kinds of requests by name, each with the bit of its place.
pub(super) const KINDS: [&str; 9] =
    ["read", "write", "flush", "zeroes", "deallocate", "compare", "verify", "uncorrectable", "copy"];
/// The bit of writes.
pub(super) const WRITE: u16 = 1 << 1;

fn kind(op: &Op) -> u16 {
    let place = match op {
        Op::Read(_) => 0,
        Op::Write { .. } => 1,
        Op::Flush => 2,
        Op::WriteZeroes { .. } => 3,
        Op::Deallocate(_) => 4,
        Op::Compare(_) => 5,
        Op::Verify(_) => 6,
        Op::WriteUncorrectable(_) => 7,
        Op::Copy { .. } => 8,
    };
    1 << place
}

impl Rule {
    fn fits(&self, op: &Op) -> bool {
        let blocks = self.blocks.is_none_or(|blocks| op.range().is_some_and(|range| range.overlaps(blocks)));
        self.kinds & kind(op) != 0 && blocks
    }

    /// Whether it is for the `number`th request that fits, counted from 1, with `luck` for its chance.
    fn wants(&self, number: u64, luck: u64) -> bool {
        number > self.after
            && self.nth.is_none_or(|nth| number == nth)
            && self.every.is_none_or(|every| (number - self.after).is_multiple_of(every))
            && self.chance.is_none_or(|Chance(parts)| luck % u64::from(CERTAIN) < u64::from(parts))
    }
}

/// What is to become of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) delay: Duration,
    pub(super) action: Option<Action>,
    /// What further choices follow from.
    pub(super) random: u64,
}

/// Asks all rules about a request. `count` counts a request that fits a rule and tells how many there were before;
/// `fire` tells whether the rule may do something to one more, of so many at most.
pub(super) fn plan(
    faults: &super::Faults,
    op: &Op,
    mut count: impl FnMut(usize) -> u64,
    mut fire: impl FnMut(usize, u64) -> bool,
) -> Plan {
    let mut plan = Plan::default();
    for (at, rule) in faults.rules.iter().enumerate().filter(|(_, rule)| rule.fits(op)) {
        let number = count(at) + 1;
        let luck = mix(faults.seed ^ mix(at as u64 ^ mix(number)));
        let decided = plan.action.is_some() && rule.delay.is_none();
        if decided || !rule.wants(number, luck) || !fire(at, rule.times) {
            continue;
        }
        if let Some(Delay { min, max }) = rule.delay {
            let spread = u64::try_from((max - min).as_nanos()).unwrap_or(u64::MAX - 1);
            plan.delay += min + Duration::from_nanos(mix(luck ^ 1) % (spread + 1));
        }
        if plan.action.is_none() {
            plan.action = rule.action;
            plan.random = mix(luck ^ 2);
        }
    }
    plan
}

/// SplitMix64's finaliser: numbers that differ in one bit become numbers that differ in half of them.
pub(super) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::super::Faults;
    use super::*;

    /// The numbers of the requests, of so many, that the rules do something to.
    fn hits(rules: &[&str], seed: u64, op: Op, requests: u64) -> Vec<u64> {
        let faults = Faults { seed, rules: rules.iter().map(|rule| rule.parse().expect("a rule")).collect() };
        let (mut fitted, mut fired) = (vec![0; rules.len()], vec![0; rules.len()]);
        let hit = |_: &u64| {
            let count = |at: usize| {
                fitted[at] += 1;
                fitted[at] - 1
            };
            let fire = |at: usize, most| {
                fired[at] += 1;
                fired[at] <= most
            };
            plan(&faults, &op, count, fire) != Plan::default()
        };
        (1..=requests).filter(hit).collect()
    }

    const READ: Op = Op::Read(Range { lba: 10, blocks: 10 });

    #[test]
    fn conditions() {
        assert_eq!(hits(&["read:nth=3:error=EIO"], 0, READ, 10), [3]);
        assert_eq!(hits(&["any:every=4:drop"], 0, READ, 10), [4, 8]);
        assert_eq!(hits(&["read+write:after=7:drop"], 0, READ, 10), [8, 9, 10]);
        assert_eq!(hits(&["read:after=2:every=3:times=2:drop"], 0, READ, 100), [5, 8]);
        assert_eq!(hits(&["write+flush:drop"], 0, READ, 10), [0; 0]);
        assert_eq!(hits(&["read:blocks=19-30:nth=1:drop"], 0, READ, 10), [1]);
        assert_eq!(hits(&["read:blocks=0-9:drop"], 0, READ, 10), [0; 0]);
        assert_eq!(hits(&["any:blocks=0-9:drop"], 0, Op::Flush, 10), [0; 0]);
        assert_eq!(hits(&["read:nth=2:drop", "read:nth=5:latency=1ms"], 0, READ, 10), [2, 5]);
    }

    #[test]
    fn chance_follows_from_the_seed() {
        let some = hits(&["read:p=0.1:drop"], 7, READ, 10_000);
        assert!((800..1200).contains(&some.len()), "{}", some.len());
        assert_eq!(some, hits(&["read:p=0.1:drop"], 7, READ, 10_000));
        assert_ne!(some, hits(&["read:p=0.1:drop"], 8, READ, 10_000));
        assert_eq!(hits(&["read:p=1:drop"], 7, READ, 10).len(), 10);
        assert_eq!(hits(&["read:p=0:drop"], 7, READ, 10).len(), 0);
    }

    #[test]
    fn delays_add_up_and_the_first_action_decides() {
        let rules = ["read:latency=1ms:error=EIO", "read:latency=2ms-3ms", "read:drop", "write:panic"];
        let faults = Faults { seed: 1, rules: rules.map(|rule| rule.parse().expect("a rule")).to_vec() };
        let plan = plan(
            &faults,
            &READ,
            |_| 0,
            |rule, _| {
                assert!(rule < 2, "the third rule has nothing to do");
                true
            },
        );
        assert!((Duration::from_millis(3)..=Duration::from_millis(4)).contains(&plan.delay), "{:?}", plan.delay);
        assert_eq!(plan.action, Some(Action::Fail(Failure::Host(machine::os::IO_ERROR))));
    }
}
