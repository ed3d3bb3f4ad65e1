//! A connection that waits for answers of other reactors, and what it has to say behind them.
//!
//! ```text
//!   commands   get a   get b   set c   get d   get e          a and d are another reactor's keys
//!   pieces     hole    bytes───────    hole    bytes
//!                ▲
//!                └── front: what comes first to the client is not there yet; when it is, it goes out, and so does
//!                    what is there behind it, up to the next hole
//! ```
//!
//! A connection takes no further commands while it has a flight, so that what is kept for it has a bound. A flight has
//! at most one parcel under way to each reactor. What a parcel brings back unanswered is asked again in the same order,
//! and nothing else before: so the commands for one reactor are carried out in the order of the client.

use wire::resp::{Answer, Version};

use super::dispatch::tell_sums;
use super::parcel::Ask;
use crate::limits::{FLIGHT_BYTES, FLIGHT_PIECES};
use crate::log::Noted;
use crate::observe::Waiting;
use crate::resp;
use crate::session::House;
use crate::tally::Tally;

/// What becomes of a piece when it is its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// It is said as it is.
    Say,
    /// A part of the answer to a get: without its last line, `END`.
    Values,
    /// Nothing: somebody else says it.
    Drop,
    /// Figures of a reactor, which are added up ...
    Add,
    /// ... for the command that these bytes are.
    Sums,
    /// The same, of a Redis client.
    SumsResp(Version),
    /// Of a Redis client's command: a number, which is added up, or an error, of which the first is said ...
    Count,
    /// ... and this is where.
    SayCount,
    /// The same, kept for the next step of the command.
    KeepCount,
    /// OK, or an error, of which the first is said ...
    Done,
    /// ... here, or else OK, ...
    SayDone,
    /// ... or 1.
    SayOne,
    /// It is kept for the next step of the command.
    Keep,
    /// An array, to be added to others, or an error, of which the first is said ...
    Gather,
    /// ... and this is where.
    SayGathered,
    /// Something or null, of which the first something is said ...
    Find,
    /// ... here.
    SayFound,
    /// Text in RESP3, which is gathered ...
    GatherText,
    /// ... and said here.
    SayText(Version),
    /// What parts amount to is not said.
    Forget,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    rule: Rule,
    /// Where it lies in the bytes; a hole until it is there.
    part: Option<(usize, usize)>,
}

/// A command that is to be asked again.
#[derive(Clone, Copy, Debug)]
struct Again {
    owner: usize,
    ask: Ask,
    start: usize,
    end: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    pieces: Vec<Piece>,
    /// What is kept of the pieces.
    bytes: Vec<u8>,
    /// Up to here of the bytes, all belongs to a piece.
    closed: usize,
    /// Pieces that have been said, and how many bytes are kept of them still.
    front: usize,
    said: usize,
    again: Vec<Again>,
    again_bytes: Vec<u8>,
    /// Figures of reactors, added up so far.
    tally: Option<Box<Tally>>,
    /// Of the parts of a Redis client's command: the sum of their numbers, and the first error.
    count: i64,
    error: Vec<u8>,
    kept: Vec<u8>,
    /// Commands that are timed until it is over, and that are logged when their answers are here.
    pub(crate) waiting: Option<Waiting>,
    pub(crate) noted: Noted,
}

/// Whether an answer is null, of either version.
fn is_null(answer: &[u8]) -> bool {
    matches!(answer, b"$-1\r\n" | b"_\r\n")
}

impl Flight {
    /// Whether more may wait in it.
    pub(crate) fn has_room(&self) -> bool {
        self.pieces.len() < FLIGHT_PIECES
    }

    /// Answers so far, those that are not there yet included.
    pub(crate) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// The last answer, if it is behind the first so many and not there yet.
    pub(crate) fn hole_since(&self, pieces: usize) -> Option<u32> {
        let last = self.pieces.len().checked_sub(1).filter(|last| *last >= pieces)?;
        self.pieces[last].part.is_none().then_some(last as u32)
    }

    /// Where answers from here go, that are said behind the last hole.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes that are kept.
    pub(crate) fn queued(&self) -> usize {
        self.bytes.len()
    }

    /// The next answer will come later: the number of its piece.
    pub(crate) fn hole(&mut self, rule: Rule) -> u32 {
        self.close(Rule::Say);
        self.pieces.push(Piece { rule, part: None });
        self.pieces.len() as u32 - 1
    }

    /// The bytes since the last piece are one.
    pub(crate) fn close(&mut self, rule: Rule) {
        let end = self.bytes.len();
        if end > self.closed {
            self.pieces.push(Piece { rule, part: Some((self.closed, end)) });
            self.closed = end;
        }
    }

    /// The next piece has no bytes, and means something.
    pub(crate) fn mark(&mut self, rule: Rule) {
        self.close(Rule::Say);
        self.pieces.push(Piece { rule, part: Some((self.closed, self.closed)) });
    }

    /// What was kept for the next step of a command.
    pub(crate) fn kept(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.kept)
    }

    /// An answer has come. What can be said goes to `out`.
    pub(crate) fn land(&mut self, piece: u32, answer: &[u8], house: &mut House, out: &mut Vec<u8>) {
        let piece = piece as usize;
        assert!(self.pieces[piece].part.is_none(), "a hole is filled once");
        if piece == self.front {
            self.say(self.pieces[piece].rule, answer, house, out);
            self.front += 1;
            self.advance(house, out);
        } else {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(answer);
            self.pieces[piece].part = Some((start, self.bytes.len()));
        }
    }

    fn advance(&mut self, house: &mut House, out: &mut Vec<u8>) {
        let bytes = std::mem::take(&mut self.bytes);
        while let Some(Piece { rule, part: Some((start, end)) }) = self.pieces.get(self.front).copied() {
            self.say(rule, &bytes[start..end], house, out);
            self.said += end - start;
            self.front += 1;
        }
        self.bytes = bytes;
        if self.said >= FLIGHT_BYTES && self.said >= self.bytes.len() / 2 {
            self.compact();
        }
    }

    /// Forgets what was said.
    fn compact(&mut self) {
        let mut kept = Vec::with_capacity(self.bytes.len() - self.said);
        for (start, end) in self.pieces[self.front..].iter_mut().filter_map(|piece| piece.part.as_mut()) {
            let from = kept.len();
            kept.extend_from_slice(&self.bytes[*start..*end]);
            (*start, *end) = (from, kept.len());
        }
        (self.bytes, self.said) = (kept, 0);
    }

    fn say(&mut self, rule: Rule, bytes: &[u8], house: &mut House, out: &mut Vec<u8>) {
        match rule {
            Rule::Say => out.extend_from_slice(bytes),
            Rule::Values => out.extend_from_slice(bytes.strip_suffix(b"END\r\n").expect("a get ends with it")),
            Rule::Drop => {}
            Rule::Add => {
                let sum = self.tally.take().map_or_else(Tally::default, |tally| *tally);
                self.tally = Some(Box::new(sum.and(Tally::read(bytes))));
            }
            Rule::Sums => tell_sums(self.tally.take(), bytes, house, out),
            Rule::SumsResp(version) => {
                house.sums = self.tally.take();
                resp::serve(bytes, version, house, out);
            }
            Rule::Count | Rule::Done => self.join(bytes),
            Rule::SayCount => self.say_joined(None, out),
            Rule::SayDone => self.say_joined(Some(b"+OK\r\n"), out),
            Rule::SayOne => self.say_joined(Some(b":1\r\n"), out),
            Rule::KeepCount => {
                let mut kept = self.kept();
                kept.clear();
                self.say_joined(None, &mut kept);
                self.kept = kept;
            }
            Rule::Keep => {
                self.kept.clear();
                self.kept.extend_from_slice(bytes);
            }
            Rule::Gather => self.gather(bytes),
            Rule::SayGathered => {
                let count = std::mem::take(&mut self.count);
                let mut found = std::mem::take(&mut self.kept);
                if self.error.is_empty() {
                    Answer::new(out, Version::default()).array(count as usize);
                    out.append(&mut found);
                }
                out.append(&mut self.error);
            }
            Rule::Find if self.kept.is_empty() || is_null(&self.kept) => {
                self.kept.clear();
                self.kept.extend_from_slice(bytes);
            }
            Rule::Find => {}
            Rule::SayFound => out.append(&mut self.kept),
            Rule::GatherText => self.gather_text(bytes),
            Rule::SayText(version) => {
                if self.error.is_empty() {
                    Answer::new(out, version).text(&self.kept);
                }
                self.kept.clear();
                out.append(&mut self.error);
            }
            Rule::Forget => {
                self.count = 0;
                self.kept.clear();
                self.error.clear();
            }
        }
    }

    /// The array that a part of a command has found.
    fn gather(&mut self, answer: &[u8]) {
        let end = answer.iter().position(|byte| *byte == b'\n').expect("an answer ends a line") + 1;
        match &answer[..end] {
            [b'*', count @ .., b'\r', b'\n'] => {
                self.count += wire::resp::integer(count).expect("a reactor has written it");
                self.kept.extend_from_slice(&answer[end..]);
            }
            _ => self.join(answer),
        }
    }

    /// The text that a part of a command has found.
    fn gather_text(&mut self, answer: &[u8]) {
        let end = answer.iter().position(|byte| *byte == b'\n').expect("an answer ends a line") + 1;
        match answer[end..].strip_prefix(b"txt:").and_then(|text| text.strip_suffix(b"\r\n")) {
            Some(text) => self.kept.extend_from_slice(text),
            None => self.join(answer),
        }
    }

    /// The answer to a part of a Redis client's command.
    fn join(&mut self, answer: &[u8]) {
        match answer {
            [b':', number @ .., b'\r', b'\n'] => {
                self.count += wire::resp::integer(number).expect("a reactor has written it");
            }
            [b'-', ..] if self.error.is_empty() => self.error.extend_from_slice(answer),
            _ => {}
        }
    }

    /// What the parts amount to: an error, or this, or their sum.
    fn say_joined(&mut self, done: Option<&[u8]>, out: &mut Vec<u8>) {
        match done {
            _ if !self.error.is_empty() => out.append(&mut self.error),
            Some(done) => out.extend_from_slice(done),
            None => Answer::new(out, Version::default()).integer(self.count),
        }
        self.error.clear();
        self.count = 0;
    }

    /// Whether all of it was said.
    pub(crate) fn is_over(&self) -> bool {
        self.front == self.pieces.len()
    }

    /// A command came back from its owner as it was.
    pub(crate) fn returned(&mut self, owner: usize, ask: Ask, command: &[u8]) {
        let start = self.again_bytes.len();
        self.again_bytes.extend_from_slice(command);
        self.again.push(Again { owner, ask, start, end: self.again_bytes.len() });
    }

    /// Whether it cannot go on before something is asked again.
    pub(crate) fn has_again(&self) -> bool {
        self.next_owner().is_some()
    }

    /// Who has to be asked again before anything more can be said. The others have to wait: their answers would be
    /// kept, without a bound, while the front has none.
    fn next_owner(&self) -> Option<usize> {
        self.again.iter().find(|again| again.ask.piece as usize == self.front).map(|again| again.owner)
    }

    /// Puts what is to be asked again in the order of the client: of a parcel that had no room for all of it, some may
    /// have come back once more, behind those that stayed.
    fn sort_again(&mut self) {
        if self.again.is_sorted_by_key(|again| again.ask.piece) {
            return;
        }
        self.again.sort_unstable_by_key(|again| again.ask.piece);
        let mut bytes = Vec::with_capacity(self.again_bytes.len());
        for Again { start, end, .. } in &mut self.again {
            let from = bytes.len();
            bytes.extend_from_slice(&self.again_bytes[*start..*end]);
            (*start, *end) = (from, bytes.len());
        }
        self.again_bytes = bytes;
    }

    /// Asks again for what the front waits for, and for what its owner has not answered behind it, as long as `ask`
    /// takes it; whether it took all.
    pub(crate) fn ask_again(&mut self, mut ask: impl FnMut(usize, Ask, &[u8]) -> bool) -> bool {
        self.sort_again();
        let next = self.next_owner();
        let (mut takes, mut at) = (true, 0);
        self.again.retain_mut(|again| {
            let part = again.start..again.end;
            if Some(again.owner) == next && takes {
                takes = ask(again.owner, again.ask, &self.again_bytes[part.clone()]);
                if takes {
                    return false;
                }
            }
            self.again_bytes.copy_within(part.clone(), at);
            (again.start, again.end) = (at, at + part.len());
            at = again.end;
            true
        });
        self.again_bytes.truncate(at);
        takes
    }

    /// Bytes of memory that it has.
    pub(crate) fn memory(&self) -> usize {
        let lists = self.pieces.capacity() * size_of::<Piece>() + self.again.capacity() * size_of::<Again>();
        lists + self.bytes.capacity() + self.again_bytes.capacity() + self.kept.capacity() + self.error.capacity()
    }

    /// As new, with its room, but for what is more than so many bytes.
    pub(crate) fn clear(&mut self, room: usize) {
        self.pieces.clear();
        self.pieces.shrink_to(room / size_of::<Piece>());
        self.bytes.clear();
        self.bytes.shrink_to(room);
        self.again.clear();
        self.again.shrink_to(room / size_of::<Again>());
        self.again_bytes.clear();
        self.again_bytes.shrink_to(room);
        (self.closed, self.front, self.said, self.tally, self.count) = (0, 0, 0, None, 0);
        self.waiting = None;
        self.noted.clear();
        self.error.clear();
        self.kept.clear();
        self.kept.shrink_to(room);
    }
}
