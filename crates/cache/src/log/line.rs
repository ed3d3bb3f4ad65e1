//! One line: time, client, protocol, verb, key, time to live, outcome, bytes of the value.
//!
//! It is CSV without quotes: what a client may choose has no comma, quote, end of line or anything else in it that is
//! not printable ASCII, but `\xNN` for it. A long key is cut, and ends with its hash, so that it stays one of its own.
//! What is not known is left out.

use std::io::Write;
use std::net::SocketAddr;

use store::{Expiry, Time};

use super::Logger;
use crate::limits::{LOG_FLIGHT_BYTES, LOG_KEY_BYTES};
use crate::observe::{Kind, Outcome, Verb};

/// The first line of a file: the names of what is between commas.
pub const HEAD: &str = "time,client,protocol,verb,key,ttl,outcome,bytes\n";

/// What is known of a command when it comes.
pub(crate) fn begin(
    out: &mut Vec<u8>,
    (now, client): (Time, SocketAddr),
    verb: Verb,
    (key, hash): (&[u8], u64),
    expiry: Option<Expiry>,
) {
    let (protocol, verb) = verb.name();
    let (seconds, millis) = (now.millis() / 1000, now.millis() % 1000);
    write!(out, "{seconds}.{millis:03},{client},{protocol},{verb},").expect("memory takes all");
    let is_long = key.len() > LOG_KEY_BYTES;
    for byte in &key[..key.len().min(LOG_KEY_BYTES)] {
        match byte {
            b',' | b'"' | b'\'' | b'\\' => write!(out, "\\x{byte:02x}").expect("memory takes all"),
            b'!'..=b'~' => out.push(*byte),
            _ => write!(out, "\\x{byte:02x}").expect("memory takes all"),
        }
    }
    if is_long {
        write!(out, "\\...{hash:016x}").expect("memory takes all");
    }
    out.push(b',');
    if let Some(expiry) = expiry {
        let seconds = match expiry {
            Expiry::Never => 0,
            Expiry::At(time) => time.since(now).as_millis().div_ceil(1000).max(1),
        };
        write!(out, "{seconds}").expect("memory takes all");
    }
    out.push(b',');
}

/// What became of it.
pub(crate) fn end(out: &mut Vec<u8>, outcome: Option<Outcome>, bytes: Option<usize>) {
    out.extend_from_slice(outcome.map_or("", Outcome::name).as_bytes());
    out.push(b',');
    if let Some(bytes) = bytes {
        write!(out, "{bytes}").expect("memory takes all");
    }
    out.push(b'\n');
}

/// What an answer to a command about one key says became of it, and the length of the value in it. Nothing of one that
/// the client did not want.
pub(crate) fn outcome(verb: Verb, answer: &[u8]) -> (Option<Outcome>, Option<usize>) {
    let line = answer.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    let mut words = line.split(|byte| *byte == b' ');
    let first = words.next().unwrap_or_default();
    let number = |word: Option<&[u8]>| std::str::from_utf8(word?).ok()?.parse().ok();
    let outcome = match (first, verb.kind()) {
        (b"", _) => return (None, None),
        (b"VALUE", _) => return (Some(Outcome::Hit), number(words.nth(2))),
        (b"VA", Kind::Get) => return (Some(Outcome::Hit), number(words.next())),
        (b"END" | b"EN" | b"NF" | b"NOT_FOUND", _) => Outcome::Miss,
        (b"HD" | b"VA", _) if verb == Verb::META_COUNT => Outcome::Hit,
        ([b'0'..=b'9', ..], _) => Outcome::Hit,
        (b"STORED", _) | (b"HD" | b"+OK", Kind::Store) => Outcome::Stored,
        (b"NOT_STORED" | b"NS", _) | (b"$-1" | b"_", Kind::Store) => Outcome::NotStored,
        (b"EXISTS" | b"EX", _) => Outcome::Exists,
        (b"DELETED" | b"TOUCHED" | b"ME", _) | (b"HD", Kind::Get | Kind::Delete) => Outcome::Hit,
        (b"$-1" | b"_", _) | (b":0", Kind::Delete) => Outcome::Miss,
        ([b'-', ..] | b"ERROR" | b"CLIENT_ERROR" | b"SERVER_ERROR", _) => Outcome::Error,
        (_, Kind::Delete) => Outcome::Hit,
        (_, Kind::Store) => Outcome::Stored,
        ([b'$', digits @ ..], Kind::Get) => return (Some(Outcome::Hit), number(Some(digits))),
        _ => Outcome::Ok,
    };
    (Some(outcome), None)
}

/// Lines of commands whose answers are under way, by the places of those.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    lines: Vec<Note>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Note {
    piece: u32,
    start: usize,
    end: usize,
    verb: Verb,
    value: Option<usize>,
}

impl Noted {
    /// The command of this verb, with a value of so many bytes if it has one, has an answer coming to this place.
    pub(crate) fn note(&mut self, piece: u32, verb: Verb, value: Option<usize>, begin: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        begin(&mut self.bytes);
        self.lines.push(Note { piece, start, end: self.bytes.len(), verb, value });
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The answer to that place is here.
    pub(crate) fn landed(&mut self, piece: u32, answer: &[u8], logger: &mut Logger) {
        let Some(at) = self.lines.iter().position(|note| note.piece == piece) else { return };
        let Note { start, end: behind, verb, value, .. } = self.lines.remove(at);
        let (outcome, bytes) = outcome(verb, answer);
        logger.add(|out| {
            out.extend_from_slice(&self.bytes[start..behind]);
            end(out, outcome, value.or(bytes));
        });
    }

    pub(crate) fn clear(&mut self) {
        self.lines.clear();
        self.bytes.clear();
        self.bytes.shrink_to(LOG_FLIGHT_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn line(key: &[u8], expiry: Option<Expiry>) -> String {
        let now = Time::from_millis(1_700_000_000_042);
        let mut out = Vec::new();
        let client = "[::1]:99".parse().expect("an address");
        begin(&mut out, (now, client), Verb::SET, (key, 0xabc), expiry);
        end(&mut out, Some(Outcome::Stored), Some(7));
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn keys_cannot_leave_their_place() {
        assert_eq!(line(b"a:b/c", None), "1700000000.042,[::1]:99,memcache,set,a:b/c,,stored,7\n");
        let hostile = b"a,b\"c\r\nd\\x2c\x00\x1b[31m\xff =1";
        let expected = "a\\x2cb\\x22c\\x0d\\x0ad\\x5cx2c\\x00\\x1b[31m\\xff\\x20=1";
        let text = line(hostile, Some(Expiry::Never));
        assert_eq!(text, format!("1700000000.042,[::1]:99,memcache,set,{expected},0,stored,7\n"));
        for byte in 0..=u8::MAX {
            let text = line(&[byte; 3], None);
            assert!(text.is_ascii() && text.lines().count() == 1 && text.split(',').count() == 8, "{text:?}");
        }
        let long = line(&[b'\n'; 65_535], Some(Expiry::At(Time::MAX)));
        assert!(long.len() < crate::limits::LOG_LINE_BYTES && long.contains("\\...0000000000000abc,"), "{long}");
    }

    #[test]
    fn times_to_live_are_seconds() {
        let now = Time::from_millis(1_700_000_000_042);
        for (expiry, seconds) in [
            (Expiry::Never, "0"),
            (Expiry::At(now.plus(Duration::from_secs(60))), "60"),
            (Expiry::At(now.plus(Duration::from_millis(59_001))), "60"),
            (Expiry::At(Time::default()), "1"),
        ] {
            assert!(line(b"k", Some(expiry)).contains(&format!(",k,{seconds},stored")), "{expiry:?}");
        }
    }

    #[test]
    fn answers_tell_what_became_of_it() {
        use Outcome::{Error, Exists, Hit, Miss, NotStored, Stored};
        let resp = |name: &str| Verb::of(crate::resp::table::named(name.as_bytes()).expect(name));
        for (verb, answer, expected) in [
            (Verb::GET, "VALUE k 0 12\r\n...", (Some(Hit), Some(12))),
            (Verb::GETS, "VALUE k 0 12 99\r\n...", (Some(Hit), Some(12))),
            (Verb::GET, "END\r\n", (Some(Miss), None)),
            (Verb::SET, "STORED\r\n", (Some(Stored), None)),
            (Verb::SET, "", (None, None)),
            (Verb::CAS, "EXISTS\r\n", (Some(Exists), None)),
            (Verb::ADD, "NOT_STORED\r\n", (Some(NotStored), None)),
            (Verb::INCR, "12\r\n", (Some(Hit), None)),
            (Verb::DELETE, "DELETED\r\n", (Some(Hit), None)),
            (Verb::DELETE, "NOT_FOUND\r\n", (Some(Miss), None)),
            (Verb::META_GET, "VA 5 f0\r\nhello\r\n", (Some(Hit), Some(5))),
            (Verb::META_GET, "HD\r\n", (Some(Hit), None)),
            (Verb::META_GET, "EN\r\n", (Some(Miss), None)),
            (Verb::META_SET, "HD\r\n", (Some(Stored), None)),
            (Verb::META_SET, "NS\r\n", (Some(NotStored), None)),
            (Verb::META_SET, "CLIENT_ERROR bad data chunk\r\n", (Some(Error), None)),
            (resp("get"), "$5\r\nhello\r\n", (Some(Hit), Some(5))),
            (resp("get"), "$-1\r\n", (Some(Miss), None)),
            (resp("get"), "_\r\n", (Some(Miss), None)),
            (resp("set"), "+OK\r\n", (Some(Stored), None)),
            (resp("set"), "$-1\r\n", (Some(NotStored), None)),
            (resp("set"), "-ERR syntax error\r\n", (Some(Error), None)),
            (resp("del"), ":1\r\n", (Some(Hit), None)),
            (resp("del"), ":0\r\n", (Some(Miss), None)),
            (resp("incr"), ":0\r\n", (Some(Stored), None)),
        ] {
            assert_eq!(outcome(verb, answer.as_bytes()), expected, "{verb:?} {answer}");
        }
    }
}
