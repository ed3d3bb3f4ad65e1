//! What is wrong with a configuration file: where, why, and what to do about it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::limits::{MISTAKES, QUOTED_CHARS};

/// What to do about a backslash that TOML takes for the beginning of something else.
const BACKSLASH_HINT: &str = "In double quotes a backslash begins an escape. Write a path of Windows in single quotes, \
    as 'D:\\data\\disk.img', or with / or \\\\ in the place of each one.";

/// What is wrong with a field, wherever the field comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The field, such as `subsystem[0].namespace[1].size`.
    pub field: String,
    /// What is wrong.
    pub why: String,
    /// What to do about it: complete sentences.
    pub hint: String,
}

impl Problem {
    /// `why` is wrong with `field`; `hint` tells what to do.
    pub fn new(field: impl Into<String>, why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { field: field.into(), why: why.into(), hint: hint.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  {}", self.why, self.hint)
    }
}

/// Where the fields of a configuration stand in its file.
#[derive(Clone, Debug, Default)]
pub struct Places {
    text: String,
    offsets: BTreeMap<String, usize>,
}

impl Places {
    /// A problem with a field as a mistake in the file.
    #[must_use]
    pub fn mistake(&self, problem: Problem) -> Mistake {
        let at = nearest(&self.offsets, &problem.field).unwrap_or(0);
        Found { at, problem }.into_mistake(&self.text)
    }
}

/// A problem and where it stands: lines and columns are counted only for those that are told.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    at: usize,
    problem: Problem,
}

impl Found {
    fn into_mistake(self, text: &str) -> Mistake {
        let (line, column) = position(text, self.at);
        let Problem { field, why, hint } = self.problem;
        Mistake { line, column, field, why, hint }
    }
}

/// What is known of a field, or of the table that it would be in.
fn nearest(offsets: &BTreeMap<String, usize>, mut field: &str) -> Option<usize> {
    loop {
        match (offsets.get(field), field.rfind(['.', '['])) {
            (Some(at), _) => return Some(*at),
            (None, Some(end)) => field = &field[..end],
            (None, None) => return None,
        }
    }
}

/// One mistake in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mistake {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// The field, such as `subsystem[0].namespace[1].size`; empty where the text is not TOML.
    pub field: String,
    /// What is wrong.
    pub why: String,
    /// What to do about it: complete sentences.
    pub hint: String,
}

impl fmt::Display for Mistake {
    /// `12:8: subsystem[0].nqn: why`, and the hint on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}\n  {}", self.why, self.hint)
    }
}

/// Collects mistakes while a text is read, and remembers where its fields stand.
pub(super) struct Log<'t> {
    text: &'t str,
    found: Vec<Found>,
    /// Where each field stands that was found, as an offset into the text.
    offsets: BTreeMap<String, usize>,
}

impl<'t> Log<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, found: Vec::new(), offsets: BTreeMap::new() }
    }

    /// A mistake at an offset.
    pub(super) fn add(&mut self, at: usize, field: &str, why: impl Into<String>, hint: impl Into<String>) {
        self.found.push(Found { at, problem: Problem::new(field, why, hint) });
    }

    /// The text is not TOML.
    pub(super) fn not_toml(&mut self, errors: &[toml::de::Error]) {
        // Each costs a look at its line, which may be the whole text.
        errors.iter().take(MISTAKES).for_each(|error| self.not_toml_at(error));
    }

    fn not_toml_at(&mut self, error: &toml::de::Error) {
        let at = error.span().map_or(self.text.len(), |span| span.start);
        let line_start = self.text[..self.text.floor_char_boundary(at)].rfind('\n').map_or(0, |end| end + 1);
        let line = self.text[line_start..].lines().next().unwrap_or_default();
        let escapes = line.split_once('"').is_some_and(|(_, rest)| rest.contains('\\'));
        let hint = if escapes { BACKSLASH_HINT } else { "The file has to be TOML: see https://toml.io." };
        self.add(at, "", error.message(), hint);
    }

    /// A string that names a file: a backslash and a letter are not to be taken for a tab or the like without a word.
    /// Whether they were, and the mistake is noted.
    pub(super) fn is_cut_by_escapes(&mut self, value: Range<usize>, field: &str) -> bool {
        let text = self.text.get(value.clone()).unwrap_or_default();
        let mut letters = text.chars();
        let mut next = || letters.find(|letter| *letter == '\\').and_then(|_| letters.next());
        let cut = text.starts_with('"') && std::iter::from_fn(&mut next).any(|letter| "betnfr".contains(letter));
        if cut {
            self.add(value.start, field, "a backslash and a letter stand for a control character here", BACKSLASH_HINT);
        }
        cut
    }

    /// Notes where a field stands.
    pub(super) fn place(&mut self, field: &str, at: usize) {
        self.offsets.insert(field.to_owned(), at);
    }

    /// Where a field stands; what is not there stands where its table begins.
    pub(super) fn find(&self, field: &str) -> usize {
        nearest(&self.offsets, field).unwrap_or(0)
    }

    pub(super) fn is_clean(&self) -> bool {
        self.found.is_empty()
    }

    /// Where all fields stand.
    pub(super) fn places(self) -> Places {
        Places { text: self.text.to_owned(), offsets: self.offsets }
    }

    /// The mistakes in the order of the text, the first [`MISTAKES`] of them.
    pub(super) fn finish(mut self) -> Vec<Mistake> {
        self.found.sort();
        self.found.dedup();
        self.found.truncate(MISTAKES);
        self.found.into_iter().map(|found| found.into_mistake(self.text)).collect()
    }
}

/// Line and column of an offset, both from 1. The column counts characters: it is what editors show.
fn position(text: &str, at: usize) -> (usize, usize) {
    let at = text.floor_char_boundary(at);
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    (1 + text[..start].matches('\n').count(), 1 + text[start..at].chars().count())
}

/// A piece of the file inside a message: short, and without characters that would disturb a terminal.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTED_CHARS).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    format!("`{}`", short.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions() {
        let text = "a = 1\n\nb = \"ü\" # x\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 4), (1, 5));
        assert_eq!(position(text, 6), (2, 1));
        assert_eq!(position(text, 7), (3, 1));
        // Behind the umlaut, and in the middle of it.
        assert_eq!(position(text, 14), (3, 7));
        assert_eq!(position(text, 13), (3, 6));
        assert_eq!(position(text, 999), (4, 1));
    }

    #[test]
    fn fields_that_are_missing_stand_where_their_table_does() {
        let mut log = Log::new("");
        log.place("subsystem[0]", 7);
        log.place("subsystem[0].nqn", 9);
        assert_eq!(log.find("subsystem[0].nqn"), 9);
        assert_eq!(log.find("subsystem[0].namespace[3].device"), 7);
        assert_eq!(log.find("listener[0]"), 0);
    }

    #[test]
    fn quotes_are_short_and_harmless() {
        assert_eq!(quoted("a\u{1b}[2J\"b\""), "`a\\u{1b}[2J\"b\"`");
        assert_eq!(quoted(&"x".repeat(1000)).len(), QUOTED_CHARS + 5);
    }
}
