//! Arbitrary bytes for the parsers of a cache's answers: the first one chooses the protocol.

use qpair_wire::memcache::client as memcache;
use qpair_wire::resp::reply as resp;

/// Reads line after line, each with every byte one more: what was a line is the same with more behind it, and what was
/// none is not one with less.
pub fn answers(input: &[u8]) {
    let Some((protocol, mut bytes)) = input.split_first() else { return };
    let used = if protocol & 1 == 0 { memcache_line } else { resp_line };
    while let Some(line) = used(bytes, bytes.len()) {
        assert!(line > 0 && line <= bytes.len(), "{line} of {}", bytes.len());
        // Lines are short, but there may be many: the last bytes of each.
        for cut in line.saturating_sub(64)..line {
            assert_eq!(used(bytes, cut), None, "cut at {cut} of {line}");
        }
        assert_eq!(used(bytes, line), Some(line));
        bytes = &bytes[line..];
    }
}

/// The bytes of the line that `bytes[..seen]` begins with.
fn memcache_line(bytes: &[u8], seen: usize) -> Option<usize> {
    match memcache::reply(&bytes[..seen]) {
        memcache::Replied::Reply(memcache::Reply::Value { key, .. }, used) => {
            assert!(!key.is_empty() && key.len() < used);
            Some(used)
        }
        memcache::Replied::Reply(_, used) => Some(used),
        memcache::Replied::More | memcache::Replied::Garbage => None,
    }
}

/// The same of RESP.
fn resp_line(bytes: &[u8], seen: usize) -> Option<usize> {
    match resp::reply(&bytes[..seen]) {
        resp::Replied::Reply(_, used) => Some(used),
        resp::Replied::More | resp::Replied::Garbage => None,
    }
}
