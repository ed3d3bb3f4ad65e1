//! The function behind the fuzz target `memcache`: bytes of a client of the text protocol.
//!
//! ```text
//!   | largest value, in units of 64 bytes | bytes ... |
//! ```
//!
//! Whatever a client sends, there is no panic, and the same commands come, and the same end, however the bytes are cut;
//! what the parser wants to see is what it then can use. Keys are as long as keys may be.

use qpair_wire::memcache::limits::MAX_KEY_BYTES;
use qpair_wire::memcache::{Command, Key, Parsed, parse};

pub fn memcache(input: &[u8]) {
    let Some((setup, stream)) = input.split_first() else { return };
    let max_value = usize::from(*setup) << 6;
    let whole = follow(stream, max_value, stream.len().max(1));
    for step in [1, 2, 7, 64] {
        assert_eq!(follow(stream, max_value, step), whole, "in steps of {step}");
    }
}

/// Gives a stream to the parser in steps of so many bytes; what it was understood as.
fn follow(stream: &[u8], max_value: usize, step: usize) -> Vec<String> {
    let (mut said, mut kept, mut wanted, mut skip) = (Vec::new(), Vec::new(), 0, 0);
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
            if skip > 0 {
                let skipped = rest.len().min(skip);
                (skip, at) = (skip - skipped, at + skipped);
                continue;
            }
            match parse(rest, max_value) {
                Parsed::More(more) => {
                    assert!(more > rest.len(), "{more} bytes are wanted, and {} there", rest.len());
                    wanted = more;
                    break;
                }
                Parsed::Begun(begun) => {
                    assert!(begun.used <= rest.len() && begun.bytes <= max_value);
                    is_key(begun.key);
                    wanted = begun.used + begun.bytes + 2;
                    assert!(wanted > rest.len(), "all of it is there");
                    break;
                }
                Parsed::Command(command, used) => {
                    check(&command);
                    said.push(format!("{command:?}"));
                    at += used;
                }
                Parsed::Wrong(refused) => {
                    assert!(refused.used <= rest.len());
                    refused.stale.into_iter().for_each(is_key);
                    said.push(format!("{:?} {} {:?}", refused.wrong, refused.quiet, refused.stale));
                    (skip, at) = (refused.skip, at + refused.used);
                }
                end @ (Parsed::Endless | Parsed::Binary) => {
                    said.push(format!("{end:?}"));
                    return said;
                }
            }
        }
        kept.drain(..at);
    }
    said
}

/// Reads all of a command that is read when it is carried out.
fn check(command: &Command<'_>) {
    match command {
        Command::Get { keys, .. } => (*keys).for_each(|key| assert!(key.len() <= MAX_KEY_BYTES)),
        Command::Store { key, .. }
        | Command::Count { key, .. }
        | Command::Delete { key, .. }
        | Command::Touch { key, .. } => assert!((1..=MAX_KEY_BYTES).contains(&key.len())),
        Command::Meta { meta, .. } => {
            is_key(meta.key);
            let _ = meta.options();
            assert!(meta.flags().all(|flag| !flag.is_empty()));
        }
        _ => {}
    }
}

fn is_key(key: Key<'_>) {
    let bytes = key.bytes(&mut [0; _]).len();
    assert!((1..=MAX_KEY_BYTES).contains(&bytes), "a key of {bytes} bytes");
}

/// Streams that are right and streams that are not, by name.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let streams: [(&str, &[u8]); 9] = [
        ("store", b"set k 7 60 3\r\nabc\r\nadd k 0 0 0 noreply\r\n\r\ncas k 0 -1 1 99\r\nx\r\nappend k 0 0 1\r\ny\r\n"),
        ("get", b"get a b  c\r\ngets a\ngat 0 a b\r\ngats 2592001 a\r\n"),
        ("others", b"incr k 5\r\ndecr k 18446744073709551615 noreply\r\ndelete k 0\r\ntouch k 9\r\nflush_all 10\r\n"),
        ("said", b"version\r\nverbosity 1\r\nstats items\r\nslabs reassign 1 2\r\nwatch\r\nshutdown\r\nquit\r\n"),
        ("meta", b"mg k v t c O1 N30 R5 k\r\nms Zm9v 3 b T9 I MA\r\nabc\r\nmd k q I T3\r\nma k N0 J9 D2 MD\r\n"),
        ("odd", b"get\r\nset k 0 0\r\nset k x 0 1\r\ny\r\nmg k Z\r\nmg k v v\r\ndelete k 5\r\nincr k x\r\nbogus\r\n"),
        ("chunk", b"set k 0 0 3\r\nabcdeget k\r\nset k 0 0 99999\r\nx"),
        ("binary", b"get k\r\n\x80\x01\0\x01"),
        ("http", b"POST / HTTP/1.1\r\nget k\r\n"),
    ];
    let mut seeds: Vec<_> =
        streams.iter().map(|(name, stream)| ((*name).to_owned(), [b"\x10", *stream].concat())).collect();
    let large = [b"\xffset k 0 0 16320\r\n", &[b'x'; 16_320][..], b"\r\nget k\r\n"].concat();
    seeds.push(("large".to_owned(), large));
    seeds
}
