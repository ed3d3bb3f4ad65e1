//! The figures of a reactor as they travel to another one, and their sum.

use store::Figures;

use crate::counters::Counters;
use crate::session::House;

/// What reactors have done and what their stores have, added up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) counters: Counters,
    pub(crate) figures: Figures,
}

impl Tally {
    /// That of one reactor, since it was told to forget what it has done.
    pub(crate) fn of(house: &House) -> Self {
        let Self { counters, figures } = Self::ever(house);
        let (evicted, expired) = (house.forgotten.figures.evicted, house.forgotten.figures.expired);
        let figures = Figures { evicted: figures.evicted - evicted, expired: figures.expired - expired, ..figures };
        Self { counters: counters.since(house.forgotten.counters), figures }
    }

    /// The same, since it has started.
    pub(crate) fn ever(house: &House) -> Self {
        Self { counters: house.counters, figures: house.store.figures() }
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
        let Figures { items, live_bytes, bytes, table_bytes, free_bytes, evicted, expired } = &mut self.figures;
        let figures = [items, live_bytes, bytes, table_bytes, free_bytes, evicted, expired];
        self.counters.values().into_iter().chain(figures).collect()
    }
}
