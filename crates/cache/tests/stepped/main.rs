//! Whole sessions under fire: four clients of both protocols send what they like, do not read, leave and come again, to
//! a small cache of one reactor or two, stepped by hand.
//!
//! The fuzz target `cache` (fuzz/) runs the same scripts; its corpus is replayed here, beside random ones. Steps count
//! on Linux: what one call sends over loopback, the next one receives. Elsewhere it comes when it comes.
#![cfg(unix)]
#![allow(dead_code, unreachable_pub, reason = "a part of it is shared with the fuzz target")]

mod answers;
mod bounds;
mod script;
mod silent;
mod world;

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use script::{FILL, LEAVE, READ, REPEAT, TIME, act, send};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/cache")
}

#[test]
fn every_file_of_the_corpus() {
    let mut files: Vec<PathBuf> =
        fs::read_dir(corpus()).expect("there is a corpus").map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        println!("{}", file.display());
        world::run(&fs::read(&file).expect("readable"));
    }
}

/// What clients ask, all verbs of both protocols; number [`LARGE`] is the beginning of a large value.
const MEMCACHE: &[&[u8]] = &[
    b"set a 1 0 3\r\n007\r\nget a b a\r\ngets a\r\nadd a 0 0 1\r\nx\r\nreplace a 0 0 2\r\n12\r\n",
    b"append a 0 0 1\r\n3\r\nprepend a 0 0 1\r\n0\r\nincr a 5\r\ndecr a 9\r\ntouch a 9\r\ngat 5 a\r\n",
    b"gats 0 a b\r\nset b 0 0 1 noreply\r\nx\r\ncas b 0 0 1 1\r\ny\r\ndelete b\r\nflush_all 2\r\nversion\r\n",
    b"mg a v t s f c k O1\r\nmg b N30 v t\r\nms b 3 T60 c\r\nabc\r\nma a N0 J5 v\r\nmd b I q\r\nmg b v\r\n",
    b"stats\r\nstats items\r\nstats slabs\r\nstats settings\r\nstats conns\r\nstats reset\r\nme a\r\nget \r\n",
    b"set a 0 0 69633\r\n",
    b"set login 0 0 9\r\ndefault p\r\nset a 0 0 1\r\nx\r\nget a\r\n",
];
const LARGE: usize = 5;
const RESP: &[&[u8]] = &[
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3\r\n007\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\nSET a 1 EX 10 GET\r\nMGET a b c a\r\n",
    b"MSET a 1 b 2 c 3\r\nMSETNX a 1 d 2\r\nDEL a b\r\nEXISTS a c\r\nRENAME c d\r\nKEYS *\r\nSCAN 0\r\nDBSIZE\r\n",
    b"INCRBYFLOAT f 1.5\r\nAPPEND s xyz\r\nSETRANGE s 5 x\r\nGETRANGE s 0 -1\r\nGETEX s PX 1500\r\nPTTL s\r\n",
    b"HELLO 3\r\nGET none\r\nINFO\r\nCLIENT LIST\r\nCOMMAND\r\nCONFIG GET *\r\nOBJECT FREQ s\r\nMEMORY USAGE s\r\n",
    b"CLIENT REPLY OFF\r\nGET a\r\nCLIENT REPLY ON\r\nFLUSHALL\r\nRANDOMKEY\r\nPING\r\nRESET\r\nQUIT\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$69633\r\n",
    b"HELLO 3 AUTH default p\r\nSET ab 1\r\nAUTH u p\r\nGET ab\r\nGET b\r\nSET ab 2\r\n",
];

/// Scripts that go all the way, for random ones to grow from.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut add =
        |name: String, setup: u8, parts: &[Vec<u8>]| seeds.push((name, [&[setup], &parts.concat()[..]].concat()));
    for (number, (memcache, resp)) in MEMCACHE.iter().zip(RESP).enumerate() {
        for setup in [0, 3].into_iter().filter(|_| number != LARGE) {
            add(format!("verbs-{number}-{setup}"), setup, &[send(0, memcache), send(2, resp), act(0, TIME, 5)]);
        }
        add(format!("users-{number}"), 16, &[send(1, MEMCACHE[6]), send(1, memcache), send(3, RESP[6]), send(3, resp)]);
    }
    for (setup, memory) in [(0, "small"), (1, "small-2"), (2, "large"), (3, "large-2"), (8, "full")] {
        let large =
            |client, start: &[u8]| [send(client, start), act(client, FILL, 17), send(client, b"x\r\n")].concat();
        let gets = [&[REPEAT << 2, 200, 7][..], b"get a\r\n", &[REPEAT << 2 | 2, 200, 7], b"GET a\r\n"].concat();
        let (one, two) = (large(0, MEMCACHE[LARGE]), large(2, RESP[LARGE]));
        let deaf = [act(0, READ, 0), act(2, READ, 0)].concat();
        add(format!("{memory}-large"), setup, &[one.clone(), two.clone(), gets.clone()]);
        add(format!("{memory}-deaf"), setup, &[one.clone(), deaf, gets, act(0, TIME, 255), two]);
        add(
            format!("{memory}-leaves"),
            setup,
            &[send(0, MEMCACHE[LARGE]), send(2, RESP[LARGE]), act(0, LEAVE, 0), one],
        );
    }
    seeds
}

/// The seeds in the tree are those that this file makes. One that is missing or has changed is written anew, and the
/// test fails once to say so: commit what it wrote.
#[test]
fn seeds_are_current() {
    let mut written = Vec::new();
    for (name, bytes) in seeds() {
        let file = corpus().join(format!("seed-{name}"));
        if fs::read(&file).ok().as_deref() != Some(&bytes) {
            fs::create_dir_all(corpus()).and_then(|()| fs::write(&file, bytes)).expect("the corpus can be written to");
            written.push(file);
        }
    }
    assert!(written.is_empty(), "these seeds were missing or out of date and are written anew: {written:#?}");
}

/// Else the fuzzer would begin before the first answer.
#[test]
fn the_seeds_are_answered() {
    for (name, bytes) in seeds() {
        assert!(world::run(&bytes) > 0, "{name}");
    }
}

/// Some commands, with a byte of them changed, or cut.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let commands = (0..4u8, 0..MEMCACHE.len(), any::<prop::sample::Index>(), any::<u8>(), any::<u8>());
    let said = commands.prop_map(|(client, number, at, byte, how)| {
        let mut bytes = if client < 2 { MEMCACHE[number] } else { RESP[number] }.to_vec();
        let at = at.index(bytes.len());
        match how % 4 {
            0 => bytes[at] = byte,
            1 => bytes.truncate(at),
            _ => {}
        }
        send(client, &bytes)
    });
    let did = (0..4u8, FILL..=TIME, any::<u8>()).prop_map(|(client, op, argument)| act(client, op, argument));
    prop_oneof![3 => said, 1 => did]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_scripts(setup in any::<u8>(), parts in prop::collection::vec(part(), 0..24)) {
        world::run(&[&[setup], &parts.concat()[..]].concat());
    }
}
