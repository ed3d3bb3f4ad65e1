//! Why a command was not carried out, in the words of Redis.

use store::NoRoom;
use wire::resp::Answer;

use super::table::Spec;

const _: () = assert!(store::limits::MAX_KEY_BYTES == 65_535, "as it is told");

/// What is wrong with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Too few arguments, or too many.
    Arity,
    /// An argument is none of the words that could stand there.
    Syntax,
    /// A whole number of 64 bits was expected.
    NoInteger,
    /// A time that is no time to expire at.
    Expiry,
    /// A key is longer than the store takes.
    KeyTooLong,
    /// A value would be larger than the limit.
    TooLong,
    /// The store is full and does not evict.
    Full,
    /// What there is to say, its code first.
    Said(&'static str),
}

impl Failure {
    /// Tells the client.
    pub(crate) fn tell(self, spec: &Spec, answer: &mut Answer<'_>) {
        let name = spec.name.as_bytes();
        let text = match self {
            Self::Arity => return answer.error(&[b"ERR wrong number of arguments for '", name, b"' command"]),
            Self::Expiry => return answer.error(&[b"ERR invalid expire time in '", name, b"' command"]),
            Self::Syntax => "ERR syntax error",
            Self::NoInteger => "ERR value is not an integer or out of range",
            Self::KeyTooLong => "ERR a key of more than 65535 bytes is not taken",
            Self::TooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            Self::Full => "OOM command not allowed when used memory > 'maxmemory'.",
            Self::Said(text) => text,
        };
        answer.error(&[text.as_bytes()]);
    }
}

impl From<NoRoom> for Failure {
    fn from(error: NoRoom) -> Self {
        match error {
            NoRoom::TooLarge(_) => Self::TooLong,
            NoRoom::Full => Self::Full,
        }
    }
}
