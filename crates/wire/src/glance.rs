//! Keys that the commands of a pipeline are likely about, found faster than by parsing them.
//!
//! ```text
//!   get a\r\n  set b 0 0 5\r\n  hello\r\n          memcached: behind the first space of each line
//!       ▲          ▲
//!   *2\r\n  $3\r\n  GET\r\n  $1\r\n  a\r\n        Redis: three lines behind one that begins with an asterisk
//!                                      ▲
//! ```
//!
//! It is a guess: bytes of a value may look like a command, and other commands have their keys elsewhere. Who goes by
//! it may fetch something for nothing, and no more than that.

use memchr::memchr;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// memcached's text protocol.
    Memcache,
    /// Redis' protocol.
    Resp,
}

/// The keys, and for each where what was looked at ends.
pub struct Glance<'a> {
    speech: Speech,
    bytes: &'a [u8],
    at: usize,
}

/// Lines of a Redis command between the one that begins it and its first argument: `$3`, `GET`, `$1`.
const LINES_TO_KEY: usize = 3;

impl<'a> Glance<'a> {
    /// Of what has come, from the front of a command on.
    #[must_use]
    pub fn new(speech: Speech, bytes: &'a [u8]) -> Self {
        Self { speech, bytes, at: 0 }
    }

    /// The next line, without its end.
    #[inline]
    fn line(&mut self) -> Option<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let end = memchr(b'\n', rest)?;
        self.at += end + 1;
        Some(rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]))
    }
}

impl<'a> Iterator for Glance<'a> {
    type Item = (&'a [u8], usize);

    #[inline]
    fn next(&mut self) -> Option<(&'a [u8], usize)> {
        loop {
            let line = self.line()?;
            let key = match self.speech {
                Speech::Memcache => memchr(b' ', line).map(|space| {
                    let words = &line[space + 1..];
                    &words[..memchr(b' ', words).unwrap_or(words.len())]
                }),
                Speech::Resp if line.first() == Some(&b'*') => {
                    for _ in 0..LINES_TO_KEY {
                        self.line()?;
                    }
                    Some(self.line()?)
                }
                Speech::Resp => None,
            };
            if let Some(key) = key {
                return Some((key, self.at));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(speech: Speech, bytes: &[u8]) -> Vec<&[u8]> {
        Glance::new(speech, bytes).map(|(key, _)| key).collect()
    }

    #[test]
    fn the_keys_of_usual_commands_are_found() {
        let text = b"get one\r\nset two 0 0 5\r\nhello\r\nmn\r\nmg three v\r\nget four five\r\nget si";
        assert_eq!(keys(Speech::Memcache, text), [&b"one"[..], b"two", b"three", b"four"]);
        let strings =
            b"*2\r\n$3\r\nGET\r\n$3\r\none\r\n*3\r\n$3\r\nSET\r\n$3\r\ntwo\r\n$2\r\nab\r\n*2\r\n$3\r\nGET\r\n$5\r\nth";
        assert_eq!(keys(Speech::Resp, strings), [&b"one"[..], b"two"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'*')], 0..200),
        ) {
            for speech in [Speech::Memcache, Speech::Resp] {
                let mut before = 0;
                for (key, end) in Glance::new(speech, &bytes) {
                    prop_assert!(end > before && end <= bytes.len() && key.len() < end - before);
                    before = end;
                }
            }
        }
    }
}
