//! What a client is answered, followed by the parsers that clients have.

use wire::memcache::client as memcache;
use wire::replied::{Replied, VALUE_END};
use wire::resp::reply as resp;

/// Follows the answers of one connection.
#[derive(Default)]
pub struct Answers {
    is_resp: bool,
    /// What has come and was not understood yet.
    kept: Vec<u8>,
    /// Bytes of a value that are still to come, with the end of its line.
    value: usize,
    /// Answers within others that are still to come.
    within: usize,
}

impl Answers {
    pub fn new(is_resp: bool) -> Self {
        Self { is_resp, ..Self::default() }
    }

    /// Bytes have come.
    ///
    /// # Panics
    /// If they are no answers.
    pub fn come(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        let mut at = 0;
        while at < self.kept.len() {
            let rest = &self.kept[at..];
            if self.value > 0 {
                let taken = self.value.min(rest.len());
                // Of the end of a value as much as is there.
                let end = (taken + VALUE_END.len()).saturating_sub(self.value);
                let wanted = &VALUE_END[VALUE_END.len() - self.value.min(VALUE_END.len())..];
                assert!(
                    wanted.starts_with(&rest[taken - end.min(taken)..taken]),
                    "a value does not end: {}",
                    shown(rest)
                );
                (self.value, at) = (self.value - taken, at + taken);
                continue;
            }
            let Some((used, value, within)) = self.line(rest) else { break };
            self.within = (self.within + within).saturating_sub(1);
            (self.value, at) = (value.map_or(0, |bytes| bytes + VALUE_END.len()), at + used);
        }
        self.kept.drain(..at);
    }

    /// Whether all that has come is whole.
    pub fn are_whole(&self) -> bool {
        self.kept.is_empty() && self.value == 0 && self.within == 0
    }

    /// Bytes of a line, of a value behind it, and answers behind it; `None` if it is not whole.
    fn line(&self, bytes: &[u8]) -> Option<(usize, Option<usize>, usize)> {
        if self.is_resp {
            return match resp::reply(bytes) {
                Replied::More => None,
                Replied::Garbage => panic!("no answer to a Redis client: {}", shown(bytes)),
                Replied::Reply(resp::Reply::Bulk(value), used) => Some((used, Some(value), 0)),
                Replied::Reply(resp::Reply::Array(count), used) => Some((used, None, count)),
                Replied::Reply(resp::Reply::Map(count), used) => Some((used, None, 2 * count)),
                Replied::Reply(_, used) => Some((used, None, 0)),
            };
        }
        match memcache::reply(bytes) {
            Replied::More => None,
            Replied::Garbage => panic!("no answer to a memcached client: {}", shown(bytes)),
            Replied::Reply(memcache::Reply::Value { bytes, .. } | memcache::Reply::MetaValue(bytes, _), used) => {
                Some((used, Some(bytes), 0))
            }
            Replied::Reply(_, used) => Some((used, None, 0)),
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(200)].escape_ascii().to_string()
}
