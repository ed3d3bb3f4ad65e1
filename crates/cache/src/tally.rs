//! The figures of a reactor as they travel to another one, and their sum.

use store::{Ages, Figures};

use crate::counters::{Counters, Gauges};
use crate::observe::{Kind, Latencies, Operations};
use crate::session::House;

/// What reactors have done and what they have, added up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) counters: Counters,
    pub(crate) figures: Figures,
    pub(crate) gauges: Gauges,
    pub(crate) operations: Operations,
    pub(crate) latencies: [Latencies; Kind::ALL.len()],
}

impl Tally {
    /// That of one reactor, since it was told to forget what it has done.
    pub(crate) fn of(house: &House) -> Self {
        let mut tally = Self::ever(house);
        if let Some(then) = &house.forgotten {
            tally.forget(then);
        }
        tally
    }

    /// The same, since it has started.
    pub(crate) fn ever(house: &House) -> Self {
        Self {
            counters: house.counters,
            figures: house.store.figures(),
            gauges: house.gauges(),
            operations: house.operations.clone(),
            latencies: house.timing.kinds,
        }
    }

    /// Leaves what was done since it was like this, and what there is.
    fn forget(&mut self, then: &Self) {
        let mut then = then.clone();
        then.counters.curr_connections = 0;
        let now = self.done().into_iter().zip(then.done());
        now.for_each(|(now, then)| *now -= *then);
    }

    /// Both together.
    pub(crate) fn and(mut self, mut other: Self) -> Self {
        self.numbers().into_iter().zip(other.numbers()).for_each(|(sum, number)| *sum += *number);
        self
    }

    /// As bytes, behind those of `out`.
    pub(crate) fn write(mut self, out: &mut Vec<u8>) {
        self.numbers().into_iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    }

    /// From its bytes.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks();
        assert!(rest.is_empty(), "it is made of words");
        Self::of_numbers(words.iter().map(|word| u64::from_le_bytes(*word)))
    }

    /// From its numbers.
    pub(crate) fn of_numbers(all: impl ExactSizeIterator<Item = u64>) -> Self {
        let mut tally = Self::default();
        let numbers = tally.numbers();
        assert!(numbers.len() == all.len(), "all reactors are of one build");
        numbers.into_iter().zip(all).for_each(|(number, value)| *number = value);
        tally
    }

    /// All its numbers, in an order that does not change.
    pub(crate) fn numbers(&mut self) -> Vec<&mut u64> {
        let Self { counters, figures, gauges, operations, latencies } = self;
        let (done, has) = halves(figures);
        let latencies = latencies.iter_mut().flat_map(Latencies::numbers);
        let all = counters.values().into_iter().chain(operations.numbers()).chain(latencies);
        all.chain(done).chain(has).chain(gauges.values()).collect()
    }

    /// Those of them that only grow; and `curr_connections`, which is among them.
    fn done(&mut self) -> Vec<&mut u64> {
        let Self { counters, figures, operations, latencies, .. } = self;
        let latencies = latencies.iter_mut().flat_map(Latencies::numbers);
        let all = counters.values().into_iter().chain(operations.numbers()).chain(latencies);
        all.chain(halves(figures).0).collect()
    }
}

/// What stores have done, and what they have.
fn halves(figures: &mut Figures) -> (Vec<&mut u64>, [&mut u64; 5]) {
    let Figures { items, live_bytes, bytes, table_bytes, free_bytes, evicted, expired, evicted_ages } = figures;
    let Ages { counts, seconds } = evicted_ages;
    (
        counts.iter_mut().chain([evicted, expired, seconds]).collect(),
        [items, live_bytes, bytes, table_bytes, free_bytes],
    )
}
