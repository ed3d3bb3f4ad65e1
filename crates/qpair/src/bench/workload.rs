//! What to ask next: the generator of addresses and directions.
//!
//! The range is cut into units of one block size each; every request is exactly one unit, so two requests overlap only
//! if they name the same unit.
//!
//! ```text
//!  offset                                                    offset + size
//!  | unit 0 | unit 1 | unit 2 | ...                         | unit n-1 |    random: every queue draws from all of them
//!  |------- queue 0 --------->|------- queue 1 ------------>|               sequential: each queue walks its own share
//! ```

use std::ops::Range;

use clap::ValueEnum;
use serde::Serialize;

/// What a run asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[value(rename_all = "lower")]
#[serde(rename_all = "lowercase")]
#[expect(clippy::enum_variant_names, reason = "the words of fio, which everybody knows")]
pub(crate) enum Rw {
    /// Sequential reads.
    Read,
    /// Sequential writes.
    Write,
    /// Random reads.
    RandRead,
    /// Random writes.
    RandWrite,
    /// Sequential reads and writes mixed (--mix).
    Rw,
    /// Random reads and writes mixed (--mix).
    RandRw,
    /// Zone appends, to the zones in turn.
    Append,
}

impl Rw {
    /// The name on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::RandRead => "randread",
            Self::RandWrite => "randwrite",
            Self::Rw => "rw",
            Self::RandRw => "randrw",
            Self::Append => "append",
        }
    }

    /// Addresses are drawn at random.
    pub(super) fn random(self) -> bool {
        matches!(self, Self::RandRead | Self::RandWrite | Self::RandRw)
    }

    /// Both directions occur.
    pub(super) fn mixed(self) -> bool {
        matches!(self, Self::Rw | Self::RandRw)
    }

    /// Reads in per cent, where `mix` is what was asked for mixed workloads.
    pub(super) fn reads_percent(self, mix: u8) -> u8 {
        match self {
            Self::Read | Self::RandRead => 100,
            Self::Write | Self::RandWrite | Self::Append => 0,
            Self::Rw | Self::RandRw => mix,
        }
    }
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

impl Direction {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// One request to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) direction: Direction,
    /// Which unit of the range.
    pub(super) unit: u64,
}

/// xorshift64* (Marsaglia; Vigna's multiplier): a few cycles a number, and all the randomness that addresses need.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// Any seed will do; seeds that differ by one give unrelated streams.
    pub(crate) fn new(seed: u64) -> Self {
        // SplitMix64's finaliser spreads the seed; the state of an xorshift must not be zero.
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((z ^ (z >> 31)).max(1))
    }

    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, by the high half of a product instead of a division.
    #[inline]
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Fills `bytes` with noise, so that no layer below can compress or deduplicate it away.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// The share of queue `index` of `queues` in `units`, for walks: the shares are disjoint and cover all units.
pub(super) fn share(units: u64, index: usize, queues: usize) -> Range<u64> {
    let at = |index: usize| (u128::from(units) * index as u128 / queues as u128) as u64;
    at(index)..at(index + 1)
}

/// The endless stream of jobs of one queue.
#[derive(Clone, Debug)]
pub(super) struct Generator {
    rng: Rng,
    random: bool,
    /// A draw below this is a read; `None` is one direction only.
    read_below: Option<u32>,
    /// The direction where there is one only.
    direction: Direction,
    /// Random: all units. Sequential: this queue's share.
    within: Range<u64>,
    next: u64,
}

impl Generator {
    /// The stream of queue `index` of `queues` over `units` units, with `mix` per cent reads where `rw` is mixed.
    pub(super) fn new(rw: Rw, mix: u8, units: u64, index: usize, queues: usize, seed: u64) -> Self {
        let within = if rw.random() { 0..units } else { share(units, index, queues) };
        assert!(!within.is_empty(), "a queue without units");
        let reads = rw.reads_percent(mix);
        let read_below = (1..100).contains(&reads).then(|| (u64::from(reads) * (1 << 32) / 100) as u32);
        let direction = if reads == 0 { Direction::Write } else { Direction::Read };
        let rng = Rng::new(seed ^ ((index as u64) << 48));
        Self { rng, random: rw.random(), read_below, direction, next: within.start, within }
    }

    /// The next job.
    #[inline]
    pub(super) fn next(&mut self) -> Job {
        let direction = match self.read_below {
            None => self.direction,
            Some(limit) if ((self.rng.next() >> 32) as u32) < limit => Direction::Read,
            Some(_) => Direction::Write,
        };
        Job { direction, unit: self.unit() }
    }

    /// Addresses may be drawn again without changing what the workload is.
    pub(super) fn random(&self) -> bool {
        self.random
    }

    /// An address for a job that was drawn onto a busy unit. Random streams only.
    pub(super) fn redraw(&mut self) -> u64 {
        debug_assert!(self.random, "a sequential stream has one next unit");
        self.unit()
    }

    #[inline]
    fn unit(&mut self) -> u64 {
        if self.random {
            return self.rng.below(self.within.end);
        }
        let unit = self.next;
        self.next = if unit + 1 == self.within.end { self.within.start } else { unit + 1 };
        unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_disjoint_and_cover_everything() {
        for (units, queues) in [(10, 3), (7, 7), (1, 1), (u64::MAX / 2, 5), (64, 4)] {
            let mut end = 0;
            for index in 0..queues {
                let share = share(units, index, queues);
                assert_eq!(share.start, end);
                assert!(!share.is_empty());
                end = share.end;
            }
            assert_eq!(end, units);
        }
    }

    #[test]
    fn sequential_streams_walk_their_share_and_wrap() {
        let mut stream = Generator::new(Rw::Write, 70, 10, 1, 2, 1);
        let units: Vec<u64> = (0..7).map(|_| stream.next().unit).collect();
        assert_eq!(units, [5, 6, 7, 8, 9, 5, 6]);
        assert_eq!(stream.next().direction, Direction::Write);
    }

    #[test]
    fn random_streams_stay_in_range_and_reach_every_unit() {
        let mut stream = Generator::new(Rw::RandRead, 70, 37, 0, 4, 9);
        let mut seen = [false; 37];
        for _ in 0..2_000 {
            let job = stream.next();
            assert_eq!(job.direction, Direction::Read);
            seen[job.unit as usize] = true;
        }
        assert!(seen.iter().all(|&seen| seen));
    }

    #[test]
    fn the_mix_is_what_was_asked() {
        for (mix, low, high) in [(70, 0.68, 0.72), (1, 0.005, 0.015), (0, 0.0, 0.0), (100, 1.0, 1.0)] {
            let mut stream = Generator::new(Rw::RandRw, mix, 1_000, 0, 1, 3);
            let reads = (0..20_000).filter(|_| stream.next().direction == Direction::Read).count();
            let share = reads as f64 / 20_000.0;
            assert!((low..=high).contains(&share), "{mix} % gave {share}");
        }
    }

    #[test]
    fn seeds_and_queues_give_different_streams_and_the_same_seed_the_same() {
        let draw = |seed, index| {
            let mut stream = Generator::new(Rw::RandRead, 70, 1 << 30, index, 2, seed);
            std::array::from_fn::<u64, 8, _>(|_| stream.next().unit)
        };
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
        assert_ne!(draw(1, 0), draw(2, 0));
        assert_ne!(Rng::new(0).next(), 0);
    }
}
