//! The other end of the text protocol: what a client sends, and what it is answered.
//!
//! ```text
//!   get k\r\n                     VALUE k 0 3\r\n           an answer is a line; bytes of a value follow some of them,
//!                                 abc\r\n                   which the caller takes as they come: they may be many
//!                                 END\r\n
//! ```
//!
//! A parser without state, as the server's: it is given what has come and not been used, and finds a line in it.

use super::line::{Words, unsigned};
pub use crate::replied::VALUE_END;
use crate::replied::{self, read};

/// A line of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// An item: so many bytes of value follow, and the end of a line ([`VALUE_END`]).
    Value {
        /// Which.
        key: &'a [u8],
        /// What was stored with it.
        flags: u32,
        /// Of the value.
        bytes: usize,
        /// If it was asked for.
        cas: Option<u64>,
    },
    /// There are no more items, or statistics.
    End,
    /// `STORED`.
    Stored,
    /// `NOT_STORED`.
    NotStored,
    /// `EXISTS`: the item has another CAS.
    Exists,
    /// `NOT_FOUND`.
    NotFound,
    /// `DELETED`.
    Deleted,
    /// `TOUCHED`.
    Touched,
    /// `OK`.
    Ok,
    /// `RESET`: the statistics are.
    Reset,
    /// How a meta command ended (`HD`, `EN`, `NF`, `NS`, `EX`, `MN`, `ME`), and what was asked for.
    Meta(&'a [u8], &'a [u8]),
    /// `VA`: so many bytes of value follow, and [`VALUE_END`]; and what else was asked for.
    MetaValue(usize, &'a [u8]),
    /// What was counted to.
    Number(u64),
    /// `VERSION`, and which.
    Version(&'a [u8]),
    /// `STAT`: a name.
    Stat(&'a [u8], &'a [u8]),
    /// `ERROR`: there is no such command.
    Error,
    /// `ERROR:`, `Error` or `MEMLIMIT_ADJUST_FAILED`: what is asked of the server itself is not done, and why.
    Refused(&'a [u8]),
    /// `CLIENT_ERROR`, and why.
    ClientError(&'a [u8]),
    /// `SERVER_ERROR`, and why.
    ServerError(&'a [u8]),
}

/// What the bytes begin with.
pub type Replied<'a> = replied::Replied<Reply<'a>>;

/// What the bytes begin with.
#[must_use]
#[inline]
pub fn reply(bytes: &[u8]) -> Replied<'_> {
    // What is answered most.
    if let Some(b"END\r\n") = bytes.get(..5) {
        return Replied::Reply(Reply::End, 5);
    }
    if let Some(b"STORED\r\n") = bytes.get(..8) {
        return Replied::Reply(Reply::Stored, 8);
    }
    read(bytes, line_of)
}

fn line_of(line: &[u8]) -> Option<Reply<'_>> {
    let mut words = Words::of(line);
    let first = words.next()?;
    let text = line.get(first.len() + 1..).unwrap_or_default();
    Some(match first {
        b"VALUE" => value(words)?,
        b"END" => Reply::End,
        b"STORED" => Reply::Stored,
        b"NOT_STORED" => Reply::NotStored,
        b"EXISTS" => Reply::Exists,
        b"NOT_FOUND" => Reply::NotFound,
        b"DELETED" => Reply::Deleted,
        b"TOUCHED" => Reply::Touched,
        b"OK" => Reply::Ok,
        b"RESET" => Reply::Reset,
        b"VA" => {
            let bytes = words.next()?;
            let behind = text.get(bytes.len() + 1..).unwrap_or_default();
            Reply::MetaValue(usize::try_from(unsigned(bytes)?).ok()?, behind)
        }
        b"HD" | b"EN" | b"NF" | b"NS" | b"EX" | b"MN" | b"ME" => Reply::Meta(first, text),
        b"VERSION" => Reply::Version(text),
        b"STAT" => Reply::Stat(words.next()?, text.splitn(2, |byte| *byte == b' ').nth(1).unwrap_or_default()),
        b"ERROR" => Reply::Error,
        b"ERROR:" | b"Error" | b"MEMLIMIT_ADJUST_FAILED" => Reply::Refused(text),
        b"CLIENT_ERROR" => Reply::ClientError(text),
        b"SERVER_ERROR" => Reply::ServerError(text),
        number => Reply::Number(unsigned(number)?),
    })
}

fn value<'a>(mut words: Words<'a>) -> Option<Reply<'a>> {
    let key = words.next()?;
    let flags = u32::try_from(unsigned(words.next()?)?).ok()?;
    let bytes = usize::try_from(unsigned(words.next()?)?).ok()?;
    let cas = match words.next() {
        Some(word) => Some(unsigned(word)?),
        None => None,
    };
    Some(Reply::Value { key, flags, bytes, cas })
}

/// Appends a `get`.
#[inline]
pub fn get(out: &mut Vec<u8>, key: &[u8]) {
    out.extend_from_slice(b"get ");
    out.extend_from_slice(key);
    out.extend_from_slice(b"\r\n");
}

/// Appends the line of a `set` without flags; `bytes` of value and [`VALUE_END`] are to follow.
#[inline]
pub fn set(out: &mut Vec<u8>, key: &[u8], exptime: u32, bytes: usize) {
    out.extend_from_slice(b"set ");
    out.extend_from_slice(key);
    out.extend_from_slice(b" 0 ");
    decimal(out, exptime.into());
    out.push(b' ');
    decimal(out, bytes as u64);
    out.extend_from_slice(b"\r\n");
}

/// Appends a number.
fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcache::{Command, Parsed, Verb, parse};
    use crate::replied::MAX_REPLY_LINE_BYTES;
    use crate::replied::tests::understood_whole_and_cut_anywhere;
    use proptest::prelude::*;

    const ALL: [(&[u8], Reply<'static>); 24] = [
        (b"VALUE k 7 3\r\n", Reply::Value { key: b"k", flags: 7, bytes: 3, cas: None }),
        (b"VALUE k 0 0 9\r\n", Reply::Value { key: b"k", flags: 0, bytes: 0, cas: Some(9) }),
        (b"END\r\n", Reply::End),
        (b"STORED\r\n", Reply::Stored),
        (b"NOT_STORED\r\n", Reply::NotStored),
        (b"EXISTS\r\n", Reply::Exists),
        (b"NOT_FOUND\r\n", Reply::NotFound),
        (b"DELETED\r\n", Reply::Deleted),
        (b"TOUCHED\r\n", Reply::Touched),
        (b"OK\r\n", Reply::Ok),
        (b"RESET\r\n", Reply::Reset),
        (b"HD\r\n", Reply::Meta(b"HD", b"")),
        (b"EX c7 Oabc\r\n", Reply::Meta(b"EX", b"c7 Oabc")),
        (b"VA 3\r\n", Reply::MetaValue(3, b"")),
        (b"VA 0 t-1 W\r\n", Reply::MetaValue(0, b"t-1 W")),
        (b"ERROR: shutdown not enabled\r\n", Reply::Refused(b"shutdown not enabled")),
        (b"MEMLIMIT_ADJUST_FAILED why\r\n", Reply::Refused(b"why")),
        (b"18446744073709551615\r\n", Reply::Number(u64::MAX)),
        // What is counted down keeps its length.
        (b"9  \r\n", Reply::Number(9)),
        (b"VERSION 1.6.18\r\n", Reply::Version(b"1.6.18")),
        (b"STAT threads 4\r\n", Reply::Stat(b"threads", b"4")),
        (b"ERROR\r\n", Reply::Error),
        (b"CLIENT_ERROR bad data chunk\r\n", Reply::ClientError(b"bad data chunk")),
        (b"SERVER_ERROR out of memory\r\n", Reply::ServerError(b"out of memory")),
    ];

    #[test]
    fn every_answer_whole_and_cut_anywhere() {
        understood_whole_and_cut_anywhere(&ALL, reply);
    }

    #[test]
    fn what_no_server_says() {
        for bytes in
            [&b"\r\n"[..], b"END\n", b"VALUE k 0\r\n", b"VALUE k 0 -1\r\n", b"stored\r\n", b"12a\r\n", b"VA\r\n"]
        {
            assert_eq!(reply(bytes), Replied::Garbage, "{}", bytes.escape_ascii());
        }
        assert_eq!(reply(&[b'x'; MAX_REPLY_LINE_BYTES]), Replied::Garbage);
    }

    #[test]
    fn the_server_understands_what_is_built() {
        let mut out = Vec::new();
        get(&mut out, b"key");
        let Parsed::Command(Command::Get { keys, cas: false, touch: None }, used) = parse(&out, 0) else {
            panic!("a get");
        };
        assert_eq!((keys.collect::<Vec<_>>(), used), (vec![&b"key"[..]], out.len()));
        out.clear();
        set(&mut out, b"key", 60, 3);
        out.extend_from_slice(b"abc");
        out.extend_from_slice(VALUE_END);
        let (verb, key, value) = (Verb::Set, &b"key"[..], &b"abc"[..]);
        let expected = Command::Store { verb, key, flags: 0, exptime: 60, value, quiet: false };
        assert_eq!(parse(&out, 3), Parsed::Command(expected, out.len()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_something(bytes in prop::collection::vec(any::<u8>(), 0..40), verb in 0..ALL.len()) {
            let bytes = [&ALL[verb].0[..3], &bytes].concat();
            if let Replied::Reply(_, used) = reply(&bytes) {
                prop_assert!(used <= bytes.len() && bytes[used - 1] == b'\n');
            }
        }

        #[test]
        fn numbers_are_as_they_are_printed(number in any::<u64>()) {
            let mut out = Vec::new();
            decimal(&mut out, number);
            prop_assert_eq!(out, number.to_string().into_bytes());
        }
    }
}
