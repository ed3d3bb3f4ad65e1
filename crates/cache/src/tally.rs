//! The figures of a reactor as they travel to another one, and their sum.

use store::Figures;

use crate::counters::Counters;
use crate::session::House;

/// What reactors have done and what their stores have, added up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) counters: Counters,
    pub(crate) figures: Figures,
    /// Of Redis clients.
    pub(crate) commands: u64,
}

impl Tally {
    /// That of one reactor.
    pub(crate) fn of(house: &House) -> Self {
        Self { counters: house.counters, figures: house.figures(), commands: house.clients.commands }
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
        let mut tally = Self::default();
        let (words, rest) = bytes.as_chunks();
        let mut numbers = tally.numbers();
        assert!(words.len() == numbers.len() && rest.is_empty(), "all reactors are of one build");
        numbers.iter_mut().zip(words).for_each(|(number, word)| **number = u64::from_le_bytes(*word));
        tally
    }

    fn numbers(&mut self) -> Vec<&mut u64> {
        let Figures { items, live_bytes, bytes, table_bytes, free_bytes, evicted, expired } = &mut self.figures;
        let figures = [items, live_bytes, bytes, table_bytes, free_bytes, evicted, expired];
        self.counters.values().into_iter().chain(figures).chain([&mut self.commands]).collect()
    }
}
