//! What travels between two reactors: commands on the way there, and beside each its answer on the way back.
//!
//! ```text
//!   asks      | for whom, end | for whom, end | for whom, end |      written by the reactor that asks
//!   bytes     get a\r\n       set b 0 0 ...   get c\r\n
//!   ends      | end           | end           |                      written by the one that answers: here it has
//!   answers   VALUE a ...     STORED\r\n                              stopped before the third, which is asked again
//! ```
//!
//! The answers are in the order of the commands. Where they become many, the rest is not carried out: it returns as it
//! is. So a parcel has a bounded size both ways, whatever is asked for.

use store::Store;
use wire::glance::Glance;

use super::Dialect;
use super::dispatch::answer;
use crate::ahead::WINDOW;
use crate::limits::{PARCEL_ANSWER_BYTES, PARCEL_ASKS, PARCEL_BYTES};
use crate::session::House;

/// Who waits for an answer: a connection of the reactor that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) connection: u32,
    /// The place of a connection is used again; this number is not, before four thousand million others were.
    pub(crate) generation: u32,
}

/// A command of a parcel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) origin: Origin,
    /// The place of its answer in the origin's flight.
    pub(crate) piece: u32,
    pub(crate) dialect: Dialect,
    /// Whether it counts in the statistics there, or does at home.
    pub(crate) counts: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    asks: Vec<(Ask, usize)>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    answers: Vec<u8>,
}

impl Parcel {
    pub(crate) fn is_empty(&self) -> bool {
        self.asks.is_empty()
    }

    /// Whether a command more is taken, of any length.
    pub(crate) fn has_room(&self) -> bool {
        self.asks.len() < PARCEL_ASKS && self.bytes.len() < PARCEL_BYTES
    }

    /// Adds a command that lies in several parts.
    pub(crate) fn push(&mut self, ask: Ask, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.asks.push((ask, self.bytes.len()));
    }

    /// Has the commands carried out, until the answers are many.
    pub(crate) fn answer(&mut self, house: &mut House) {
        let mut start = 0;
        for (number, (ask, end)) in self.asks.iter().enumerate() {
            if self.answers.len() >= PARCEL_ANSWER_BYTES {
                break;
            }
            if number % WINDOW == 0 {
                prefetch(commands(&self.asks[number..], start, &self.bytes).take(WINDOW), &house.store);
            }
            answer(ask, &self.bytes[start..*end], house, &mut self.answers);
            self.ends.push(self.answers.len());
            start = *end;
        }
    }

    /// What was answered.
    pub(crate) fn answered(&self) -> impl Iterator<Item = (&Ask, &[u8])> {
        let starts = std::iter::once(&0).chain(&self.ends);
        let answers = starts.zip(&self.ends).map(|(start, end)| &self.answers[*start..*end]);
        self.asks.iter().map(|(ask, _)| ask).zip(answers)
    }

    /// What was not: it is to be asked again, in this order and before anything else of the same connection.
    pub(crate) fn left(&self) -> impl Iterator<Item = (&Ask, &[u8])> {
        commands(&self.asks, 0, &self.bytes).skip(self.ends.len())
    }

    /// Empty again. What one long command or answer made of it is given back.
    pub(crate) fn clear(&mut self) {
        self.asks.clear();
        self.bytes.clear();
        self.ends.clear();
        self.answers.clear();
        self.bytes.shrink_to(2 * PARCEL_BYTES);
        self.answers.shrink_to(2 * PARCEL_ANSWER_BYTES);
    }
}

/// Commands and their bytes, of which the first begin at `start`.
fn commands<'a>(asks: &'a [(Ask, usize)], start: usize, bytes: &'a [u8]) -> impl Iterator<Item = (&'a Ask, &'a [u8])> {
    let starts = std::iter::once(start).chain(asks.iter().map(|(_, end)| *end));
    starts.zip(asks).map(|(start, (ask, end))| (ask, &bytes[start..*end]))
}

/// Fetches what commands will ask for.
fn prefetch<'a>(commands: impl Iterator<Item = (&'a Ask, &'a [u8])>, store: &Store) {
    let key = |(ask, bytes): (&Ask, &'a [u8])| match ask.dialect.speech() {
        Some(speech) => Glance::new(speech, bytes).next().map(|(key, _)| key),
        None => Some(bytes),
    };
    let (mut hashes, mut count) = ([0; WINDOW], 0);
    for key in commands.filter_map(key) {
        hashes[count] = store.hash(key);
        count += 1;
    }
    store.prefetch(&hashes[..count]);
}
