//! The two protocols as far as a run needs them: a get and a set, and what is answered.

use std::fmt;

use serde::Serialize;
use wire::memcache::client::{self as memcache, VALUE_END};
use wire::replied::Replied;
use wire::resp::reply as resp;

use super::items::Items;

/// What a target speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Protocol {
    Memcache,
    Resp,
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
    pub(super) const ALL: [(&'static str, Self); 2] = [("memcache://", Self::Memcache), ("resp://", Self::Resp)];

    /// The port where it is served.
    pub(super) fn port(self) -> u16 {
        match self {
            Self::Memcache => 11211,
            Self::Resp => 6379,
        }
    }

    /// Whether something is said behind a value.
    pub(super) fn ends_a_get(self) -> bool {
        match self {
            Self::Memcache => true,
            Self::Resp => false,
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
            (Self::Resp, Verb::Get) => {
                resp::begin(out, 2);
                resp::bulk(out, b"GET");
                resp::bulk(out, items.key(number));
            }
            (Self::Resp, Verb::Set) => {
                resp::begin(out, if ttl == 0 { 3 } else { 5 });
                resp::bulk(out, b"SET");
                resp::bulk(out, items.key(number));
                resp::bulk(out, items.value(number));
                if ttl > 0 {
                    resp::bulk(out, b"EX");
                    resp::number(out, ttl.into());
                }
            }
        }
    }

    /// What the answer to a request begins with; `value`: that of a get was there already.
    #[inline]
    pub(super) fn hear(self, bytes: &[u8], verb: Verb, value: bool) -> Heard<'_> {
        match self {
            Self::Memcache => hear_memcache(bytes, verb, value),
            Self::Resp => hear_resp(bytes, verb),
        }
    }
}

#[inline]
fn hear_memcache(bytes: &[u8], verb: Verb, value: bool) -> Heard<'_> {
    let (reply, used) = match memcache::reply(bytes) {
        Replied::More => return Heard::More,
        Replied::Garbage => return Heard::Garbage,
        Replied::Reply(reply, used) => (reply, used),
    };
    match (reply, verb) {
        (memcache::Reply::Value { key, bytes, .. }, Verb::Get) if !value => Heard::Value(Some(key), bytes, used),
        (memcache::Reply::End, Verb::Get) if value => Heard::Done(used),
        (memcache::Reply::End, Verb::Get) => Heard::Miss(used),
        (memcache::Reply::Stored, Verb::Set) => Heard::Done(used),
        (memcache::Reply::NotStored, Verb::Set) => Heard::Refused(b"NOT_STORED", used),
        (memcache::Reply::ServerError(why) | memcache::Reply::ClientError(why), _) => Heard::Refused(why, used),
        (memcache::Reply::Error, _) => Heard::Refused(b"ERROR", used),
        _ => Heard::Garbage,
    }
}

#[inline]
fn hear_resp(bytes: &[u8], verb: Verb) -> Heard<'_> {
    let (reply, used) = match resp::reply(bytes) {
        Replied::More => return Heard::More,
        Replied::Garbage => return Heard::Garbage,
        Replied::Reply(reply, used) => (reply, used),
    };
    match (reply, verb) {
        (resp::Reply::Bulk(bytes), Verb::Get) => Heard::Value(None, bytes, used),
        (resp::Reply::Null, Verb::Get) => Heard::Miss(used),
        (resp::Reply::Simple(b"OK"), Verb::Set) => Heard::Done(used),
        (resp::Reply::Error(why), _) => Heard::Refused(why, used),
        _ => Heard::Garbage,
    }
}
