//! The two protocols as far as a run needs them: a get and a set, and what is answered.

use std::fmt;

use serde::Serialize;
use wire::memcache::client::{self as memcache, Replied, Reply, VALUE_END};

use super::items::Items;

/// What a target speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Protocol {
    Memcache,
}

/// What a request is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Set,
}

/// What the bytes of an answer begin with. All but the first and the last say how many bytes that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    /// Too little.
    More,
    /// So many bytes of a value follow, and an end of line; with the key, if the server says it.
    Value(Option<&'a [u8]>, usize, usize),
    /// The item is not there.
    Miss(usize),
    /// Behind a value: that was all. Of a set: stored.
    Done(usize),
    /// The server refuses, and says why.
    Refused(&'a [u8], usize),
    /// This is no answer to that.
    Garbage,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "get",
            Self::Set => "set",
        })
    }
}

impl Protocol {
    pub(super) const ALL: [(&'static str, Self); 1] = [("memcache://", Self::Memcache)];

    /// The port where it is served.
    pub(super) fn port(self) -> u16 {
        match self {
            Self::Memcache => 11211,
        }
    }

    /// Whether something is said behind a value.
    pub(super) fn ends_a_get(self) -> bool {
        match self {
            Self::Memcache => true,
        }
    }

    /// Appends a request.
    #[inline]
    pub(super) fn ask(self, verb: Verb, number: u32, ttl: u32, items: &mut Items, out: &mut Vec<u8>) {
        match (self, verb) {
            (Self::Memcache, Verb::Get) => memcache::get(out, items.key(number)),
            (Self::Memcache, Verb::Set) => {
                let bytes = items.value(number).len();
                memcache::set(out, items.key(number), ttl, bytes);
                out.extend_from_slice(items.value(number));
                out.extend_from_slice(VALUE_END);
            }
        }
    }

    /// What the answer to a request begins with; `value`: that of a get was there already.
    #[inline]
    pub(super) fn hear(self, bytes: &[u8], verb: Verb, value: bool) -> Heard<'_> {
        match self {
            Self::Memcache => match (memcache::reply(bytes), verb, value) {
                (Replied::More, ..) => Heard::More,
                (Replied::Reply(Reply::Value { key, bytes, .. }, used), Verb::Get, false) => {
                    Heard::Value(Some(key), bytes, used)
                }
                (Replied::Reply(Reply::End, used), Verb::Get, false) => Heard::Miss(used),
                (Replied::Reply(Reply::End, used), Verb::Get, true) => Heard::Done(used),
                (Replied::Reply(Reply::Stored, used), Verb::Set, _) => Heard::Done(used),
                (Replied::Reply(Reply::ServerError(why) | Reply::ClientError(why), used), ..) => {
                    Heard::Refused(why, used)
                }
                (Replied::Reply(Reply::Error, used), ..) => Heard::Refused(b"ERROR", used),
                (Replied::Reply(Reply::NotStored, used), Verb::Set, _) => Heard::Refused(b"NOT_STORED", used),
                (Replied::Reply(..) | Replied::Garbage, ..) => Heard::Garbage,
            },
        }
    }
}
