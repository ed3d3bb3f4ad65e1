//! How clients of caches read what they are answered, in either protocol: a line, and what follows some of them.
//!
//! ```text
//!   bytes that came ──▶ read ──▶ More      the beginning of a line
//!                                Reply     what it says, and its bytes; values behind it are taken as they come
//!                                Garbage   nothing that the protocol has
//! ```

/// Longest line of an answer that has no length: a word, a number, a key, or what a server says of itself.
pub const MAX_REPLY_LINE_BYTES: usize = 4 << 10;
/// What comes behind a value.
pub const VALUE_END: &[u8] = b"\r\n";

/// What the bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replied<R> {
    /// The beginning of a line.
    More,
    /// A line, of so many bytes.
    Reply(R, usize),
    /// Nothing that this protocol has: the stream is not followed any more.
    Garbage,
}

/// What the line says that the bytes begin with.
#[inline]
pub(crate) fn read<'a, R>(bytes: &'a [u8], understand: impl FnOnce(&'a [u8]) -> Option<R>) -> Replied<R> {
    let seen = &bytes[..bytes.len().min(MAX_REPLY_LINE_BYTES)];
    let Some(end) = seen.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() < MAX_REPLY_LINE_BYTES { Replied::More } else { Replied::Garbage };
    };
    let reply = seen[..end].strip_suffix(b"\r").and_then(understand);
    reply.map_or(Replied::Garbage, |reply| Replied::Reply(reply, end + 1))
}

/// What is true of every reader of lines, for the tests of each.
#[cfg(test)]
pub(crate) mod tests {
    use std::fmt::Debug;

    use super::Replied;

    /// Each line is understood as it should, whole, with more behind it, and not before its last byte.
    pub(crate) fn understood_whole_and_cut_anywhere<R: Debug + PartialEq + Copy>(
        all: &[(&'static [u8], R)],
        reply: fn(&'static [u8]) -> Replied<R>,
    ) {
        for (bytes, expected) in all.iter().copied() {
            assert_eq!(reply(bytes), Replied::Reply(expected, bytes.len()));
            for cut in 0..bytes.len() {
                assert_eq!(reply(&bytes[..cut]), Replied::More, "{} cut at {cut}", bytes.escape_ascii());
            }
            let more = [bytes, b"END"].concat().leak();
            assert_eq!(reply(more), Replied::Reply(expected, bytes.len()));
        }
    }
}
