//! One connection: requests in order, answers in the same order.
//!
//! ```text
//!   asked    [ set 7 | get 3 | get 9 ]          the front one is being answered
//!   stream     STORED  VALUE k3 0 64 ........ END  VALUE k9
//!                                     ^ bytes of a value are looked at as they come, in any pieces
//! ```

use std::collections::VecDeque;

use block::pump::{Pump, Received, Scratch, Sent};
use machine::clock::Fine;
use machine::ring::Socket;
use wire::memcache::client::VALUE_END;

use super::book::{Asked, Book};
use super::protocol::{Heard, Verb};

/// See the module.
pub(super) struct Client {
    pump: Pump,
    asked: VecDeque<Asked>,
    /// A value that is being received: its bytes so far, and how many it has.
    body: Option<(usize, usize)>,
    /// That of the front request was there.
    valued: bool,
    /// Requests that are due and not sent.
    pub(super) owed: u32,
    /// How many were due so far, sent or not.
    pub(super) due: u64,
    /// On the list of those to receive from.
    pub(super) hot: bool,
}

impl Client {
    pub(super) fn new(socket: Socket, pipeline: usize) -> Self {
        let asked = VecDeque::with_capacity(pipeline);
        Self { pump: Pump::new(socket), asked, body: None, valued: false, owed: 0, due: 0, hot: false }
    }

    /// Requests that are not answered.
    pub(super) fn in_flight(&self) -> usize {
        self.asked.len()
    }

    /// Whether another receive is likely to bring something at once.
    pub(super) fn has_more(&self) -> bool {
        self.pump.has_more()
    }

    /// Asks for what is next; false if there is nothing.
    #[inline]
    pub(super) fn ask(&mut self, book: &mut Book, since: Fine) -> bool {
        let asked = book.ask(since, self.pump.out.bytes());
        self.asked.extend(asked);
        asked.is_some()
    }

    /// Sends what was asked; what the socket does not take goes when there is room again.
    ///
    /// # Errors
    /// The connection is over: why.
    pub(super) fn flush(&mut self) -> Result<Sent, String> {
        self.pump.flush().map_err(|error| format!("a connection broke: {error}"))
    }

    /// Receives once and looks at the answers; bytes that came.
    ///
    /// # Errors
    /// The connection is over, or the server said what is no answer: in words.
    pub(super) fn receive(&mut self, book: &mut Book, scratch: &mut Scratch) -> Result<usize, String> {
        let bytes = match self.pump.receive(scratch, []) {
            Ok(Received::Nothing) => return Ok(0),
            Ok(Received::Closed) => return Err("the server has closed a connection".to_owned()),
            Ok(Received::Bytes { rest, .. }) => rest,
            Err(error) => return Err(format!("a connection broke: {error}")),
        };
        let now = Fine::now();
        let mut at = 0;
        while at < bytes.len() {
            match self.hear(book, &bytes[at..], now)? {
                0 => break,
                used => at += used,
            }
        }
        self.pump.keep(&bytes[at..]);
        Ok(at.max(1))
    }

    /// Looks at what the bytes begin with; how many were used.
    #[inline]
    fn hear(&mut self, book: &mut Book, bytes: &[u8], now: Fine) -> Result<usize, String> {
        let Some(&asked) = self.asked.front() else {
            return Err(format!("the server answers what was not asked: {}", start(bytes)));
        };
        if let Some((so_far, all)) = self.body {
            let come = bytes.len().min(all + VALUE_END.len() - so_far);
            if book.verify {
                check(book, asked.number, so_far, &bytes[..come]);
            }
            self.body = Some((so_far + come, all));
            if so_far + come == all + VALUE_END.len() {
                self.body = None;
                self.valued = book.protocol.ends_a_get();
                if !self.valued {
                    self.done(book, asked, true, now);
                }
            }
            return Ok(come);
        }
        match book.protocol.hear(bytes, asked.verb, self.valued) {
            Heard::More => Ok(0),
            Heard::Value(key, all, used) => {
                if book.verify {
                    begin_check(book, asked.number, key, all);
                }
                self.body = Some((0, all));
                Ok(used)
            }
            Heard::Miss(used) => {
                self.done(book, asked, false, now);
                Ok(used)
            }
            Heard::Done(used) => {
                self.done(book, asked, asked.verb == Verb::Get, now);
                Ok(used)
            }
            Heard::Refused(why, used) => {
                book.refuse(&asked, why);
                self.asked.pop_front();
                self.valued = false;
                Ok(used)
            }
            Heard::Garbage => Err(format!("this is no answer to a {}: {}", asked.verb, start(bytes))),
        }
    }

    fn done(&mut self, book: &mut Book, asked: Asked, hit: bool, now: Fine) {
        self.asked.pop_front();
        self.valued = false;
        book.done(&asked, hit, now);
    }
}

/// A value begins: whose it is and how long.
fn begin_check(book: &mut Book, number: u32, key: Option<&[u8]>, bytes: usize) {
    book.checked += 1;
    let expected = book.items.value(number).len();
    if bytes != expected {
        book.miscompare(number, || format!("it has {bytes} bytes and not {expected}"));
    } else if key.is_some_and(|key| key != book.items.key(number)) {
        let key = key.unwrap_or_default().escape_ascii().to_string();
        book.miscompare(number, || format!("it is that of {key}"));
    }
}

/// Bytes of a value, and of the end of its line.
fn check(book: &mut Book, number: u32, so_far: usize, come: &[u8]) {
    let value = book.items.value(number);
    let left = &value[so_far.min(value.len())..];
    let (body, end) = come.split_at(come.len().min(left.len()));
    // Where the value is longer than it should be, there is no such place.
    let rest = (so_far + body.len()).checked_sub(value.len()).and_then(|at| VALUE_END.get(at..));
    if left.starts_with(body) && (end.is_empty() || rest.is_some_and(|rest| rest.starts_with(end))) {
        return;
    }
    let same = body.iter().zip(left).take_while(|(one, other)| one == other).count();
    book.miscompare(number, || format!("from byte {} on", so_far + same));
}

/// As much of it as fits a message.
fn start(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(40)].escape_ascii().to_string()
}
