//! Traces as bytes.

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::path::Path;

use cache::COMMAND_LOG_HEAD;

use super::{Op, Request, log};

/// How a trace is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Format {
    Oracle,
    Csv,
}

/// All requests, in their order.
pub(in crate::cache) struct Trace {
    pub(in crate::cache) requests: Vec<Request>,
}

/// Requests that are held in memory: 24 bytes each.
const MAX_REQUESTS: usize = 64 << 20;
/// Bytes of a request in oracleGeneral.
const RECORD: usize = 24;
/// What stands there for a next request that does not come.
const NONE: i64 = -1;
/// How the bytes of a zstd frame begin.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const HEAD: &str = "time,key,size,ttl,op";

impl Format {
    /// By the name of a file.
    pub(in crate::cache) fn of(path: &Path) -> Self {
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")) {
            Self::Csv
        } else {
            Self::Oracle
        }
    }
}

impl Trace {
    /// For each request the number of the next one for the same object; `None` if there is none.
    pub(in crate::cache) fn nexts(&self) -> Vec<Option<u32>> {
        let mut last = HashMap::new();
        let mut nexts = vec![None; self.requests.len()];
        for (number, request) in self.requests.iter().enumerate().rev() {
            nexts[number] = last.insert(request.id, number as u32);
        }
        nexts
    }

    /// Writes all requests.
    ///
    /// # Errors
    /// Those of `out`.
    pub(super) fn write(&self, format: Format, out: &mut impl Write) -> io::Result<()> {
        if format == Format::Csv {
            writeln!(out, "{HEAD}")?;
            return self.requests.iter().try_for_each(|Request { at, op, id, bytes, ttl }| {
                let op = match op {
                    Op::Get => "get",
                    Op::Set => "set",
                    Op::Delete => "delete",
                };
                writeln!(out, "{at},{id},{bytes},{ttl},{op}")
            });
        }
        self.requests.iter().zip(self.nexts()).try_for_each(|(request, next)| {
            let next = next.map_or(NONE, i64::from);
            out.write_all(&request.at.to_le_bytes())?;
            out.write_all(&request.id.to_le_bytes())?;
            out.write_all(&request.bytes.to_le_bytes())?;
            out.write_all(&next.to_le_bytes())
        })
    }

    /// Reads all requests.
    ///
    /// # Errors
    /// In words: what is wrong, and where.
    pub(super) fn read(format: Format, mut from: impl BufRead) -> Result<Self, String> {
        let is_log = from.fill_buf().map_err(|error| error.to_string())?.starts_with(COMMAND_LOG_HEAD.as_bytes());
        let requests = match format {
            // Whatever it is called: logs have numbers behind their names.
            _ if is_log => read_log(from)?,
            Format::Oracle => read_oracle(from)?,
            Format::Csv => read_csv(from)?,
        };
        if requests.is_empty() { Err("there are no requests in it".to_owned()) } else { Ok(Self { requests }) }
    }
}

fn read_oracle(mut from: impl BufRead) -> Result<Vec<Request>, String> {
    if from.fill_buf().map_err(|error| error.to_string())?.starts_with(&ZSTD) {
        return Err("it is compressed: `zstd -d` makes of it what is read here".to_owned());
    }
    let mut requests = Vec::new();
    let mut record = [0; RECORD];
    loop {
        if from.fill_buf().map_err(|error| error.to_string())?.is_empty() {
            return Ok(requests);
        }
        from.read_exact(&mut record).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => format!("it does not end with a whole request of {RECORD} bytes"),
            _ => error.to_string(),
        })?;
        let number = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().expect("four bytes"));
        let id = u64::from(number(4)) | u64::from(number(8)) << 32;
        push(&mut requests, Request { at: number(0), op: Op::Get, id, bytes: number(12), ttl: 0 })?;
    }
}

fn read_csv(from: impl BufRead) -> Result<Vec<Request>, String> {
    let mut requests = Vec::new();
    for (number, line) in from.lines().enumerate() {
        let line = line.map_err(|error| error.to_string())?;
        if number == 0 && line.starts_with("time") || line.is_empty() {
            continue;
        }
        let request = request_of(&line);
        push(&mut requests, request.ok_or_else(|| format!("line {}: '{line}' is not {HEAD}", number + 1))?)?;
    }
    Ok(requests)
}

/// A line of a log is larger than a request of it.
fn read_log(from: impl BufRead) -> Result<Vec<Request>, String> {
    let mut lines = Vec::new();
    for line in from.lines().skip(1) {
        if lines.len() == MAX_REQUESTS {
            return Err(format!("more than {MAX_REQUESTS} lines are too many: cut it"));
        }
        lines.extend(log::parse(&line.map_err(|error| error.to_string())?));
    }
    Ok(log::requests(lines))
}

fn request_of(line: &str) -> Option<Request> {
    let mut words = line.split(',').map(str::trim);
    let (at, id) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (bytes, ttl) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let op = match words.next()? {
        "get" => Op::Get,
        "set" => Op::Set,
        "delete" => Op::Delete,
        _ => return None,
    };
    words.next().is_none().then_some(Request { at, op, id, bytes, ttl })
}

fn push(requests: &mut Vec<Request>, request: Request) -> Result<(), String> {
    if requests.len() == MAX_REQUESTS {
        return Err(format!("more than {MAX_REQUESTS} requests are too many: cut it"));
    }
    if requests.last().is_some_and(|last| last.at > request.at) {
        return Err(format!("the time goes back at request {}", requests.len() + 1));
    }
    requests.push(request);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(format: Format) -> Vec<Request> {
        let get = |at, id, bytes| Request { at, op: Op::Get, id, bytes, ttl: 0 };
        let mut all = vec![get(0, 7, 100), get(0, u64::MAX, 40), get(9, 7, 100)];
        if format == Format::Csv {
            all.push(Request { op: Op::Set, ttl: 60, ..get(10, 8, 99) });
            all.push(Request { op: Op::Delete, ..get(10, 8, 0) });
        }
        all
    }

    #[test]
    fn what_is_written_is_read() {
        for format in [Format::Oracle, Format::Csv] {
            let trace = Trace { requests: requests(format) };
            let mut bytes = Vec::new();
            trace.write(format, &mut bytes).expect("a Vec takes everything");
            assert_eq!(Trace::read(format, &bytes[..]).expect("it is whole").requests, trace.requests);
            for cut in 1..bytes.len() {
                // Whole requests, or an error: never something else.
                if let Ok(part) = Trace::read(format, &bytes[..cut]) {
                    let whole = part.requests.len() - usize::from(format == Format::Csv);
                    assert_eq!(part.requests[..whole], trace.requests[..whole]);
                }
            }
        }
    }

    #[test]
    fn the_layout_is_that_of_libcachesim() {
        let mut bytes = Vec::new();
        Trace { requests: requests(Format::Oracle) }.write(Format::Oracle, &mut bytes).expect("written");
        assert_eq!(bytes.len(), 3 * RECORD);
        assert_eq!(bytes[..16], [0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0]);
        assert_eq!(bytes[16..24], 2i64.to_le_bytes());
        assert_eq!(bytes[40..48], NONE.to_le_bytes());
    }

    #[test]
    fn what_is_no_trace_is_told() {
        let csv = |text: &str| Trace::read(Format::Csv, text.as_bytes()).err().expect(text);
        assert!(csv("1,2,3,4\n").contains("line 1"));
        assert!(csv("time,key,size,ttl,op\n1,2,3,0,put\n").contains("line 2"));
        assert!(csv("2,2,3,0,get\n1,2,3,0,get\n").contains("goes back at request 2"));
        assert!(csv("").contains("no requests"));
        let oracle = |bytes: &[u8]| Trace::read(Format::Oracle, bytes).err().expect("wrong");
        assert!(oracle(&[0; 25]).contains("whole request"));
        assert!(oracle(&ZSTD).contains("zstd -d"));
    }
}
