//! What a client is answered: the same methods for RESP2 and RESP3.

use std::fmt::{self, Write};

use crate::decimal;

/// What a client understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// What a connection begins with.
    #[default]
    Resp2,
    /// After `HELLO 3`: with maps, sets and a null of its own.
    Resp3,
}

impl Version {
    /// As `HELLO` calls it.
    #[must_use]
    pub fn number(self) -> i64 {
        if self == Self::Resp3 { 3 } else { 2 }
    }
}

/// Where answers are written to.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The bytes of all answers so far.
    pub bytes: &'a mut Vec<u8>,
    version: Version,
}

impl<'a> Answer<'a> {
    /// Behind what is there.
    pub fn new(bytes: &'a mut Vec<u8>, version: Version) -> Self {
        Self { bytes, version }
    }

    /// What the client understands.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// From now on.
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// `+OK` and its like.
    #[inline]
    pub fn simple(&mut self, word: &str) {
        self.bytes.push(b'+');
        self.bytes.extend_from_slice(word.as_bytes());
        self.end();
    }

    /// An error, part behind part: its first word is its code. It is one line, whatever the parts have.
    pub fn error(&mut self, parts: &[&[u8]]) {
        self.bytes.push(b'-');
        let start = self.bytes.len();
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        let is_break = |byte: u8| matches!(byte, b'\r' | b'\n');
        while self.bytes[start..].last().is_some_and(|last| is_break(*last)) {
            self.bytes.pop();
        }
        self.bytes[start..].iter_mut().filter(|byte| is_break(**byte)).for_each(|byte| *byte = b' ');
        self.end();
    }

    /// A number.
    #[inline]
    pub fn integer(&mut self, number: i64) {
        self.header(b':', number);
    }

    /// What is in front of so many bytes, which the caller adds with an end of line.
    pub fn begin_bulk(&mut self, bytes: usize) {
        self.header(b'$', bytes as i64);
    }

    /// Bytes.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.header(b'$', bytes.len() as i64);
        self.bytes.extend_from_slice(bytes);
        self.end();
    }

    /// What is displayed, as bytes.
    pub fn display(&mut self, text: impl fmt::Display) {
        self.header(b'$', Length::of(&text) as i64);
        let _ = write!(Plain(self.bytes), "{text}");
        self.end();
    }

    /// Text for people.
    pub fn text(&mut self, text: &[u8]) {
        if self.version == Version::Resp2 {
            return self.bulk(text);
        }
        self.header(b'=', text.len() as i64 + 4);
        self.bytes.extend_from_slice(b"txt:");
        self.bytes.extend_from_slice(text);
        self.end();
    }

    /// Nothing, where bytes could be.
    #[inline]
    pub fn null(&mut self) {
        let null: &[u8] = if self.version == Version::Resp2 { b"$-1\r\n" } else { b"_\r\n" };
        self.bytes.extend_from_slice(null);
    }

    /// So many answers follow, which are one.
    pub fn array(&mut self, count: usize) {
        self.header(b'*', count as i64);
    }

    /// So many pairs of answers follow.
    pub fn map(&mut self, pairs: usize) {
        match self.version {
            Version::Resp2 => self.array(2 * pairs),
            Version::Resp3 => self.header(b'%', pairs as i64),
        }
    }

    /// So many answers follow, in no order.
    pub fn set(&mut self, count: usize) {
        match self.version {
            Version::Resp2 => self.array(count),
            Version::Resp3 => self.header(b'~', count as i64),
        }
    }

    #[inline]
    fn header(&mut self, kind: u8, number: i64) {
        self.bytes.push(kind);
        decimal::push(self.bytes, number);
        self.end();
    }

    #[inline]
    fn end(&mut self) {
        self.bytes.extend_from_slice(b"\r\n");
    }
}

/// Bytes that take text.
struct Plain<'a>(&'a mut Vec<u8>);

impl Write for Plain<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Counts bytes of text.
struct Length(usize);

impl Length {
    fn of(text: &impl fmt::Display) -> usize {
        let mut length = Self(0);
        let _ = write!(length, "{text}");
        length.0
    }
}

impl Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}
