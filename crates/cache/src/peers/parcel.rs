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

use super::Dialect;
use crate::limits::{PARCEL_ANSWER_BYTES, PARCEL_ASKS, PARCEL_BYTES};

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

    /// Has the commands carried out, each by a call that appends its answer, until the answers are many.
    pub(crate) fn answer(&mut self, mut execute: impl FnMut(&Ask, &[u8], &mut Vec<u8>)) {
        let mut start = 0;
        for (ask, end) in &self.asks {
            if self.answers.len() >= PARCEL_ANSWER_BYTES {
                break;
            }
            execute(ask, &self.bytes[start..*end], &mut self.answers);
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
        let starts = std::iter::once(0).chain(self.asks.iter().map(|(_, end)| *end));
        let all = starts.zip(&self.asks).map(|(start, (ask, end))| (ask, &self.bytes[start..*end]));
        all.skip(self.ends.len())
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
