//! The Redis protocol as bytes: what a client asks (RESP2 and RESP3 do not differ there), and how it is answered.
//!
//! ```text
//!   *3\r\n  $3\r\nSET\r\n  $1\r\nk\r\n  $5\r\nhello\r\n      an array of strings with their lengths
//!   SET k "hello"\r\n                                    the same for people: inline
//! ```
//!
//! A parser without state: it is given what has come and not been used, and finds a whole command in it, borrows the
//! arguments from there, or says how much it wants to see. Source of all rules: redis.io's "Redis serialization
//! protocol specification", and where that is silent, what Redis 7.0 answers.

mod answer;
mod glob;
mod inline;
pub mod limits;
mod number;
pub mod reply;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Version};
pub use glob::{Fuel, matches};
pub use inline::unquote;
use limits::{
    MAX_ARGUMENTS, MAX_AWAITED_BYTES, MAX_BULK_BYTES, MAX_LINE_BYTES, MAX_STRANGER_ARGUMENTS, MAX_STRANGER_BULK_BYTES,
    MIN_ARGUMENT_BYTES,
};
pub use number::integer;

/// The arguments of a command, its name first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Args<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Args<'a> {
    /// Of so many strings with their lengths, which are whole.
    fn of(strings: &'a [u8], count: usize) -> Self {
        Self { rest: strings, left: count }
    }

    /// The bytes that they lie in: each as `$`, its length, the bytes.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Args<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let (mut at, mut bytes) = (1, 0);
        while self.rest[at] != b'\r' {
            bytes = bytes * 10 + usize::from(self.rest[at] - b'0');
            at += 1;
        }
        let start = at + 2;
        let argument = &self.rest[start..start + bytes];
        self.rest = &self.rest[start + bytes + 2..];
        Some(argument)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Args<'_> {}

/// What the bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// Nothing whole: at least so many bytes are to be seen. A mistake in fewer is found when they have come.
    More(usize),
    /// So many bytes that ask for nothing.
    Nothing(usize),
    /// A command, of so many bytes.
    Command(Args<'a>, usize),
    /// The front of a command with an argument of more than [`limits::MAX_AWAITED_BYTES`] that is still coming.
    Begun(Begun<'a>),
    /// A line, of so many bytes with its end: [`unquote`] makes a command of it.
    Inline(&'a [u8], usize),
    /// A command that is longer than what is taken: what is to be skipped, behind so many bytes.
    TooLong(Skip, usize),
    /// Nothing that is understood: the stream is not followed any more.
    Wrong(Wrong),
}

/// What a client may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a command.
    pub command: usize,
    /// The client has not said who it is, and must.
    pub stranger: bool,
    /// Commands with large arguments are told of as [`Parsed::Begun`].
    pub begins: bool,
}

/// What is in front of a large argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun<'a> {
    /// The arguments in front of it.
    pub args: Args<'a>,
    /// Bytes in front of it, and with the line that says its length.
    pub start: usize,
    /// See `start`.
    pub used: usize,
    /// Its own bytes.
    pub bytes: usize,
    /// Arguments behind it: [`rest`] finds their end.
    pub behind: usize,
    /// All that comes from now on, if it is not carried out.
    pub skip: Skip,
}

/// Why a stream is not followed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A line without an end that should be a command.
    EndlessInline,
    /// One that should say how many arguments there are.
    EndlessCount,
    /// One that should say how long an argument is.
    EndlessBulk,
    /// No number of arguments.
    Count,
    /// More arguments than who has not said who it is may have.
    StrangerCount,
    /// This is where an argument should begin.
    NoBulk(u8),
    /// No length of an argument.
    Bulk,
    /// A longer argument than who has not said who it is may have.
    StrangerBulk,
    /// Quotes of an inline command that are not closed, or have something right behind.
    Quotes,
}

impl Wrong {
    /// Tells the client, before the door closes.
    pub fn tell(self, answer: &mut Answer<'_>) {
        let what: &[u8] = match &self {
            Self::EndlessInline => b"too big inline request",
            Self::EndlessCount => b"too big mbulk count string",
            Self::EndlessBulk => b"too big bulk count string",
            Self::Count => b"invalid multibulk length",
            Self::StrangerCount => b"unauthenticated multibulk length",
            // As C's printf has it, a NUL ends the text.
            Self::NoBulk(0) => return answer.error(&[b"ERR Protocol error: expected '$', got '"]),
            Self::NoBulk(byte) => return answer.error(&[b"ERR Protocol error: expected '$', got '", &[*byte], b"'"]),
            Self::Bulk => b"invalid bulk length",
            Self::StrangerBulk => b"unauthenticated bulk length",
            Self::Quotes => b"unbalanced quotes in request",
        };
        answer.error(&[b"ERR Protocol error: ", what]);
    }
}

/// What the bytes, of which there is at least one, begin with.
#[must_use]
#[inline]
pub fn parse(bytes: &[u8], limits: Limits) -> Parsed<'_> {
    if bytes[0] != b'*' {
        return inline::line(bytes);
    }
    match strings(bytes, limits) {
        Ok(parsed) => parsed,
        Err(wrong) => Parsed::Wrong(wrong),
    }
}

fn strings(bytes: &[u8], limits: Limits) -> Result<Parsed<'_>, Wrong> {
    let Some((number, start)) = counted(bytes, 1, Wrong::EndlessCount)? else {
        return Ok(Parsed::More(bytes.len() + 1));
    };
    let count = integer(number).filter(|count| *count <= MAX_ARGUMENTS).ok_or(Wrong::Count)?;
    if limits.stranger && count > MAX_STRANGER_ARGUMENTS {
        return Err(Wrong::StrangerCount);
    }
    let Some(count) = usize::try_from(count).ok().filter(|count| *count > 0) else {
        return Ok(Parsed::Nothing(start));
    };
    let (mut at, mut left) = (start, count);
    while left > 0 {
        let least = at + left * MIN_ARGUMENT_BYTES;
        if least > limits.command {
            return Ok(Parsed::TooLong(Skip { bytes: 0, arguments: left }, at));
        }
        let Some((length, data)) = bulk(bytes, at, limits.stranger)? else {
            return Ok(Parsed::More(least.max(bytes.len() + 1)));
        };
        left -= 1;
        let end = data + length + 2;
        if limits.begins && length > MAX_AWAITED_BYTES && bytes.len() < end {
            let args = Args::of(&bytes[start..at], count - left - 1);
            let skip = Skip { bytes: length + 2, arguments: left };
            return Ok(Parsed::Begun(Begun { args, start: at, used: data, bytes: length, behind: left, skip }));
        }
        let least = end + left * MIN_ARGUMENT_BYTES;
        if least > limits.command {
            return Ok(Parsed::TooLong(Skip { bytes: length + 2, arguments: left }, data));
        }
        if bytes.len() < end {
            return Ok(Parsed::More(least));
        }
        at = end;
    }
    Ok(Parsed::Command(Args::of(&bytes[start..at], count), at))
}

/// Where so many arguments, of which these are the bytes, end; `None` if that is not there.
///
/// # Errors
/// The stream cannot be followed.
pub fn rest(bytes: &[u8], arguments: usize) -> Result<Option<usize>, Wrong> {
    let mut at = 0;
    for _ in 0..arguments {
        let Some((length, data)) = bulk(bytes, at, false)? else { return Ok(None) };
        at = data + length + 2;
        if bytes.len() < at {
            return Ok(None);
        }
    }
    Ok(Some(at))
}

/// The length of the argument that begins at `at`, and where its bytes begin; `None` if that is not all there.
#[inline]
fn bulk(bytes: &[u8], at: usize, stranger: bool) -> Result<Option<(usize, usize)>, Wrong> {
    if at == bytes.len() {
        return Ok(None);
    }
    let Some((number, data)) = counted(bytes, at + 1, Wrong::EndlessBulk)? else { return Ok(None) };
    if bytes[at] != b'$' {
        return Err(Wrong::NoBulk(bytes[at]));
    }
    let length = integer(number).filter(|length| (0..=MAX_BULK_BYTES).contains(length)).ok_or(Wrong::Bulk)?;
    if stranger && length > MAX_STRANGER_BULK_BYTES {
        return Err(Wrong::StrangerBulk);
    }
    Ok(Some((length as usize, data)))
}

/// The line from `from` on up to its carriage return, and what is behind its end; `None` if that is not there.
#[inline]
fn counted(bytes: &[u8], from: usize, endless: Wrong) -> Result<Option<(&[u8], usize)>, Wrong> {
    let rest = &bytes[from..];
    let seen = &rest[..rest.len().min(MAX_LINE_BYTES)];
    match seen.iter().position(|byte| *byte == b'\r') {
        Some(end) => Ok((rest.len() >= end + 2).then(|| (&rest[..end], from + end + 2))),
        None if seen.len() == MAX_LINE_BYTES => Err(endless),
        None => Ok(None),
    }
}

/// The rest of a command that is not carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skip {
    /// Bytes up to the next argument.
    bytes: usize,
    /// Arguments behind them.
    arguments: usize,
}

impl Skip {
    /// Whether all of it has gone by.
    #[must_use]
    pub fn is_done(&self) -> bool {
        *self == Self::default()
    }

    /// How many of these bytes belong to it. What it leaves is to be given again with more behind it, if it is not
    /// done.
    ///
    /// # Errors
    /// The stream cannot be followed.
    pub fn over(&mut self, bytes: &[u8]) -> Result<usize, Wrong> {
        let mut at = 0;
        loop {
            let skipped = self.bytes.min(bytes.len() - at);
            self.bytes -= skipped;
            at += skipped;
            if self.bytes > 0 || self.arguments == 0 {
                return Ok(at);
            }
            let Some((length, data)) = bulk(bytes, at, false)? else { return Ok(at) };
            self.arguments -= 1;
            self.bytes = length + 2;
            at = data;
        }
    }
}
