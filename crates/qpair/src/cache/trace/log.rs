//! Command logs as traces: what `qpair cache --command-log` has written, all commands of it or a part.
//!
//! A log says the size of a value when it is stored or found. A get of what was not there has the size of what is
//! stored under the key next, or was before; one of what nobody ever stores is left out, and so is all that neither
//! gets, stores nor deletes. Lines of several reactors are put in the order of their times.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Op, Request};

/// A line that is of use.
pub(super) struct Line {
    millis: u64,
    id: u64,
    op: Op,
    bytes: Option<u32>,
    ttl: Option<u32>,
}

/// The requests of a log of these lines.
pub(super) fn requests(mut lines: Vec<Line>) -> Vec<Request> {
    lines.sort_by_key(|line| line.millis);
    let first = lines.first().map_or(0, |line| line.millis);
    // From the end, then from the beginning: what comes next is what a miss was followed by.
    fill(lines.iter_mut().rev());
    fill(lines.iter_mut());
    let request = |line: Line| {
        let at = u32::try_from((line.millis - first) / 1000).ok()?;
        let bytes = if line.op == Op::Delete { line.bytes.unwrap_or(0) } else { line.bytes? };
        Some(Request { at, op: line.op, id: line.id, bytes, ttl: line.ttl.unwrap_or(0) })
    };
    lines.into_iter().filter_map(request).collect()
}

/// Gives lines that lack them the size and the time to live of the last line of their key that has some.
fn fill<'a>(lines: impl Iterator<Item = &'a mut Line>) {
    let mut known: HashMap<u64, (Option<u32>, Option<u32>)> = HashMap::new();
    for line in lines {
        let (bytes, ttl) = known.entry(line.id).or_default();
        (*bytes, *ttl) = (line.bytes.or(*bytes), line.ttl.or(*ttl));
        (line.bytes, line.ttl) = (*bytes, *ttl);
    }
}

/// A line, if it is one that is of use: one that a crash has cut is not.
pub(super) fn parse(line: &str) -> Option<Line> {
    let words: Vec<&str> = line.split(',').collect();
    let &[time, _client, _protocol, verb, key, ttl, outcome, bytes] = &words[..] else { return None };
    let (seconds, millis) = time.split_once('.')?;
    let millis = seconds.parse::<u64>().ok()? * 1000 + millis.parse::<u64>().ok()?;
    let op = match verb {
        "get" | "gets" | "gat" | "gats" | "mg" | "getex" => Op::Get,
        "set" | "add" | "replace" | "cas" | "ms" | "setex" | "psetex" | "setnx" | "getset" | "mset" | "msetnx" => {
            Op::Set
        }
        "delete" | "md" | "del" | "unlink" | "getdel" => Op::Delete,
        _ => return None,
    };
    // What was refused changed nothing.
    if outcome == "error" || op == Op::Set && !matches!(outcome, "" | "stored") {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let bytes = bytes.parse::<u32>().ok().map(|bytes| bytes.saturating_add(key_bytes(key)));
    Some(Line { millis, id: hasher.finish(), op, bytes, ttl: ttl.parse().ok() })
}

/// Bytes of a key as it was before some of them were written as `\xNN`.
fn key_bytes(key: &str) -> u32 {
    (key.len() - 3 * key.matches("\\x").count()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_a_trace() {
        let log = "\
1700000002.000,127.0.0.1:1,memcache,get,key\\x2c,,hit,100
1700000000.000,127.0.0.1:1,memcache,get,key\\x2c,,miss,
1700000000.500,127.0.0.1:2,resp,set,key\\x2c,60,stored,100
1700000001.000,127.0.0.1:2,resp,set,other,0,not_stored,7
1700000001.000,127.0.0.1:2,resp,ping,,,ok,
1700000001.000,127.0.0.1:2,resp,get,nobody's,,miss,
1700000003.000,127.0.0.1:2,resp,del,key\\x2c,,hit,
1700000004.000,127.0.0.1:2,re";
        let found = requests(log.lines().filter_map(parse).collect());
        let id = found[0].id;
        let request = |at, op| Request { at, op, id, bytes: 104, ttl: 60 };
        assert_eq!(found, [request(0, Op::Get), request(0, Op::Set), request(2, Op::Get), request(3, Op::Delete)]);
    }
}
