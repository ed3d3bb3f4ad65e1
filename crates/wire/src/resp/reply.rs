//! The other end: what a client asks, and what it is answered, line by line.
//!
//! ```text
//!   *2\r\n $3\r\nGET\r\n $1\r\nk\r\n        $3\r\n              an answer is a line; bytes follow some of them, which
//!                                          abc\r\n            the caller takes as they come, and answers follow others
//! ```
//!
//! A parser without state, as the server's: it is given what has come and not been used, and finds a line in it.

use super::integer;
use crate::decimal::{self, Buffer};
use crate::replied::{self, VALUE_END, read};

/// A line of an answer, of RESP2 or RESP3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// `+`: a word or two.
    Simple(&'a [u8]),
    /// `-`: an error, which begins with its code.
    Error(&'a [u8]),
    /// `:`
    Integer(i64),
    /// `$` and `=`: so many bytes follow, and the end of a line ([`VALUE_END`]).
    Bulk(usize),
    /// `_`, and what RESP2 has in its place: `$-1` and `*-1`.
    Null,
    /// `*`, `~` and `>`: so many answers follow.
    Array(usize),
    /// `%` and `|`: so many pairs of answers follow.
    Map(usize),
    /// `#`
    Boolean(bool),
    /// `,` and `(`: other numbers, as they are written.
    Number(&'a [u8]),
}

/// What the bytes begin with.
pub type Replied<'a> = replied::Replied<Reply<'a>>;

/// What the bytes begin with.
#[must_use]
#[inline]
pub fn reply(bytes: &[u8]) -> Replied<'_> {
    read(bytes, |line| line.split_first().and_then(|(kind, text)| line_of(*kind, text)))
}

#[inline]
fn line_of(kind: u8, text: &[u8]) -> Option<Reply<'_>> {
    let count = || integer(text).and_then(|number| usize::try_from(number).ok());
    Some(match kind {
        b'+' => Reply::Simple(text),
        b'-' => Reply::Error(text),
        b':' => Reply::Integer(integer(text)?),
        b'$' | b'*' if text == b"-1" => Reply::Null,
        b'_' if text.is_empty() => Reply::Null,
        b'$' | b'=' => Reply::Bulk(count()?),
        b'*' | b'~' | b'>' => Reply::Array(count()?),
        b'%' | b'|' => Reply::Map(count()?),
        b'#' => match text {
            b"t" => Reply::Boolean(true),
            b"f" => Reply::Boolean(false),
            _ => return None,
        },
        b',' | b'(' if !text.is_empty() => Reply::Number(text),
        _ => return None,
    })
}

/// Appends a command of these arguments, its name first.
pub fn command(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    begin(out, arguments.len());
    arguments.iter().for_each(|argument| bulk(out, argument));
}

/// Appends the beginning of a command of so many arguments, its name among them: each is to follow ([`bulk`]).
#[inline]
pub fn begin(out: &mut Vec<u8>, arguments: usize) {
    header(out, b'*', arguments);
}

/// Appends an argument.
#[inline]
pub fn bulk(out: &mut Vec<u8>, argument: &[u8]) {
    header(out, b'$', argument.len());
    out.extend_from_slice(argument);
    out.extend_from_slice(VALUE_END);
}

/// Appends an argument that is a number.
#[inline]
pub fn number(out: &mut Vec<u8>, number: i64) {
    bulk(out, Buffer::new().format(number).as_bytes());
}

#[inline]
fn header(out: &mut Vec<u8>, kind: u8, number: usize) {
    out.push(kind);
    decimal::push(out, number);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replied::MAX_REPLY_LINE_BYTES;
    use crate::replied::tests::understood_whole_and_cut_anywhere;
    use crate::resp::{Answer, Version};
    use proptest::prelude::*;

    const ALL: [(&[u8], Reply<'static>); 18] = [
        (b"+OK\r\n", Reply::Simple(b"OK")),
        (b"+\r\n", Reply::Simple(b"")),
        (b"-ERR no\r\n", Reply::Error(b"ERR no")),
        (b":-12\r\n", Reply::Integer(-12)),
        (b"$0\r\n", Reply::Bulk(0)),
        (b"$64\r\n", Reply::Bulk(64)),
        (b"=15\r\n", Reply::Bulk(15)),
        (b"$-1\r\n", Reply::Null),
        (b"*-1\r\n", Reply::Null),
        (b"_\r\n", Reply::Null),
        (b"*2\r\n", Reply::Array(2)),
        (b"~0\r\n", Reply::Array(0)),
        (b">3\r\n", Reply::Array(3)),
        (b"%7\r\n", Reply::Map(7)),
        (b"|1\r\n", Reply::Map(1)),
        (b"#t\r\n", Reply::Boolean(true)),
        (b",1.5\r\n", Reply::Number(b"1.5")),
        (b"(12345678901234567890123\r\n", Reply::Number(b"12345678901234567890123")),
    ];

    #[test]
    fn every_answer_whole_and_cut_anywhere() {
        understood_whole_and_cut_anywhere(&ALL, reply);
    }

    #[test]
    fn what_no_server_says() {
        for bytes in
            [&b"\r\n"[..], b"+OK\n", b"$-2\r\n", b"$\r\n", b":1x\r\n", b"#x\r\n", b"_0\r\n", b",\r\n", b"OK\r\n"]
        {
            assert_eq!(reply(bytes), Replied::Garbage, "{}", bytes.escape_ascii());
        }
        assert_eq!(reply(&[b'+'; MAX_REPLY_LINE_BYTES]), Replied::Garbage);
    }

    #[test]
    fn the_server_understands_what_is_built() {
        let mut out = Vec::new();
        command(&mut out, &[b"SET", b"key", b""]);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$0\r\n\r\n");
    }

    #[test]
    fn what_the_server_answers_is_understood() {
        for version in [Version::Resp2, Version::Resp3] {
            let mut bytes = Vec::new();
            let mut answer = Answer::new(&mut bytes, version);
            answer.array(3);
            answer.null();
            answer.error(&[b"ERR ", b"no"]);
            answer.bulk(b"abc");
            let (mut at, mut lines) = (0, Vec::new());
            while at < bytes.len() {
                let Replied::Reply(line, used) = reply(&bytes[at..]) else { panic!("at {at}") };
                lines.push(line);
                at += used + if let Reply::Bulk(bytes) = line { bytes + VALUE_END.len() } else { 0 };
            }
            assert_eq!(lines, [Reply::Array(3), Reply::Null, Reply::Error(b"ERR no"), Reply::Bulk(3)]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_something(bytes in prop::collection::vec(any::<u8>(), 0..40), kind in 0..ALL.len()) {
            let bytes = [&ALL[kind].0[..1], &bytes].concat();
            if let Replied::Reply(_, used) = reply(&bytes) {
                prop_assert!(used <= bytes.len() && bytes[used - 1] == b'\n');
            }
        }
    }
}
