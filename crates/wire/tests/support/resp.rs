//! The function behind the fuzz target `resp`: bytes of a Redis client, looked at in several ways.
//!
//! ```text
//!   | limits | bytes ... |        limits: 1 a stranger; 2 short commands only
//! ```
//!
//! Whatever a client sends, there is no panic, and the same commands come, and the same end, however the bytes are cut;
//! what the parser wants to see is what it then can use.

use qpair_wire::resp::{Answer, Fuel, Limits, Parsed, Skip, Version, matches, parse, unquote};

const STRANGER: u8 = 1;
const SHORT: u8 = 2;

/// What a stream was understood as.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Command(Vec<Vec<u8>>),
    TooLong,
    Wrong(Vec<u8>),
}

pub fn resp(input: &[u8]) {
    let Some((setup, stream)) = input.split_first() else { return };
    let command = if setup & SHORT != 0 { 64 } else { 1 << 20 };
    let limits = Limits { command, stranger: setup & STRANGER != 0, begins: false };
    let whole = follow(stream, limits, stream.len().max(1));
    for step in [1, 2, 7, 64] {
        assert_eq!(follow(stream, limits, step), whole, "in steps of {step}");
    }
    // The words of all commands are patterns, too.
    for said in &whole {
        let Said::Command(words) = said else { continue };
        for pattern in words {
            let mut fuel = Fuel(10_000);
            let _ = words.iter().filter(|name| matches(pattern, name, &mut fuel) == Some(true)).count();
        }
    }
}

/// Gives a stream to the parser in steps of so many bytes.
fn follow(stream: &[u8], limits: Limits, step: usize) -> Vec<Said> {
    let (mut said, mut kept, mut wanted, mut skip) = (Vec::new(), Vec::new(), 0, Skip::default());
    // A client that waits for an answer has sent what is wanted; at the end of a stream all is looked at.
    let mut end_comes = stream.len();
    for bytes in stream.chunks(step) {
        kept.extend_from_slice(bytes);
        end_comes -= bytes.len();
        if kept.len() < wanted && end_comes > 0 {
            continue;
        }
        let mut at = 0;
        wanted = 0;
        while at < kept.len() {
            let rest: &[u8] = &kept[at..];
            if !skip.is_done() {
                match skip.over(rest) {
                    Ok(0) => break,
                    Ok(used) => at += used,
                    Err(wrong) => return end(said, wrong),
                }
                continue;
            }
            match parse(rest, limits) {
                Parsed::More(more) => {
                    assert!(more > rest.len() && more <= rest.len().max(limits.command) + 1, "{more} bytes are wanted");
                    wanted = more;
                    break;
                }
                Parsed::Nothing(used) => at += used,
                Parsed::Command(args, used) => {
                    said.push(Said::Command(args.map(<[u8]>::to_vec).collect()));
                    at += used;
                }
                Parsed::Inline(line, used) => {
                    let mut words = Vec::new();
                    match unquote(line, &mut words) {
                        Ok(args) => said.push(Said::Command(args.map(<[u8]>::to_vec).collect())),
                        Err(wrong) => return end(said, wrong),
                    }
                    at += used;
                }
                Parsed::TooLong(rest, used) => {
                    said.push(Said::TooLong);
                    skip = rest;
                    at += used;
                }
                Parsed::Begun(_) => unreachable!("it was not asked for"),
                Parsed::Wrong(wrong) => return end(said, wrong),
            }
        }
        kept.drain(..at);
    }
    said
}

fn end(mut said: Vec<Said>, wrong: qpair_wire::resp::Wrong) -> Vec<Said> {
    let mut told = Vec::new();
    wrong.tell(&mut Answer::new(&mut told, Version::Resp2));
    assert!(told.starts_with(b"-ERR Protocol error: ") && told.ends_with(b"\r\n"));
    said.push(Said::Wrong(told));
    said
}

/// Streams that are right and streams that are not, by name.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let streams: [(&str, &[u8]); 12] = [
        ("set-get", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"),
        ("inline", b"SET k \"a\\x41\\n\" 'it\\'s'\r\nPING\n\r\n"),
        ("quotes", b"SET k \"a\"b\r\n"),
        ("pattern", b"*2\r\n$4\r\nKEYS\r\n$10\r\na*[^b-d]?\\*\r\n"),
        ("nothing", b"*0\r\n*-1\r\n\r\nPING\r\n"),
        ("count", b"*12x\r\n"),
        ("count-large", b"*2147483648\r\n"),
        ("bulk", b"*1\r\n$-1\r\n"),
        ("bulk-large", b"*2\r\n$3\r\nGET\r\n$536870913\r\n"),
        ("no-bulk", b"*1\r\n:1\r\n"),
        ("long", b"*2\r\n$30\r\n012345678901234567890123456789\r\n$20\r\n....................\r\nPING\r\n"),
        ("cut", b"*3\r\n$3\r\nSET\r\n$100\r\nk"),
    ];
    let each = streams.iter().flat_map(|(name, stream)| {
        (0..4u8).map(move |setup| (format!("{name}-{setup}"), [&[setup], *stream].concat()))
    });
    each.collect()
}
