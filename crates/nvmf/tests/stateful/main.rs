//! Whole associations under fire: scripts of Connect, commands, R2Ts, H2CData, aborts, resets, time-outs and closes in
//! any order, over up to four connections, against the real target stepped by hand.
//!
//! The fuzz target `target` (fuzz/) runs the same scripts; its corpus is replayed here, beside random ones. Steps count
//! on Linux: what one call sends over loopback, the next one receives. Elsewhere it comes when it comes.
#![cfg(unix)]
#![allow(dead_code, unreachable_pub, reason = "a part of it is shared with the fuzz target")]

mod model;
#[path = "../common/pdu.rs"]
mod pdu;
mod peer;
mod script;
mod world;

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/target")
}

#[test]
fn every_file_of_the_corpus() {
    let mut files: Vec<PathBuf> =
        fs::read_dir(corpus()).expect("the target has a corpus").map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        println!("{}", file.display());
        world::run(&fs::read(&file).expect("readable"));
    }
}

/// Opens the admin queue on connection 0 and two I/O queues on 1 and 2.
fn association(digests: u8) -> Vec<u8> {
    let mut script = vec![0, 0, digests, 17, 0, 2, 1, 0, 50, 17, 0, 2, 3, 0, 0, 17, 0, 2];
    for queue in [1, 2] {
        script.extend([0, queue, digests, 17, 0, 2, 2, queue, queue, 63, 1, 17, 0, 2]);
    }
    script
}

/// Scripts that go all the way, for random ones to grow from.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for digests in 0..4 {
        let mut add = |name: &str, rest: &[u8]| {
            seeds.push((format!("{name}-{digests}"), [&association(digests)[..], rest].concat()));
        };
        let write = [5, 1, 8, 0, 7, 1];
        let asked = [5, 2, 8, 0, 63, 0, 17, 0, 2];
        let data = [6, 2, 0, 32];
        let read = [4, 1, 8, 0, 63];
        add("in-capsule", &[&write[..], &read].concat());
        add("by-r2t", &[&asked[..], &data, &data, &read].concat());
        let swap = [18, 1, 8, 0, 7, 1, 0];
        let swap_asked = [18, 2, 8, 0, 7, 0, 0, 17, 0, 2];
        add("swap", &[&swap[..], &[17, 0, 3], &read].concat());
        add("swap-by-r2t", &[&swap_asked[..], &data, &data, &[17, 0, 3], &read].concat());
        add("swap-closed-in-the-middle", &[&swap_asked[..], &data, &[13, 2, 1, 17, 0, 2], &swap, &read].concat());
        add("reset-in-the-middle", &[&asked[..], &[3, 0, 1, 17, 0, 2], &data].concat());
        add("closed-in-the-middle", &[&asked[..], &[13, 2, 1, 17, 0, 2], &read].concat());
        add("time-out", &[&asked[..], &[16, 0, 255, 16, 0, 255, 16, 0, 255], &read].concat());
        add("deaf", &[&[15, 1, 0][..], &read.repeat(40), &[16, 0, 8, 17, 0, 3, 15, 1, 1, 17, 0, 9]].concat());
        add("events-and-aborts", &[10, 0, 9, 0, 0, 2, 9, 0, 1, 3, 10, 0, 10, 0, 10, 0, 10, 0, 3, 0, 2]);
        // A read, a write that waits for its data, ranges: the disk keeps them until they are aborted.
        let stuck = [4, 1, 8, 128, 7, 5, 2, 8, 128, 7, 0, 7, 1, 0, 128, 3, 1, 17, 0, 2, 6, 1, 255, 0, 17, 0, 2];
        let aborts: Vec<u8> = (1..3).flat_map(|qid| (1..4).flat_map(move |cid| [9, 0, qid, cid, 17, 0, 1])).collect();
        add("aborted", &[&stuck[..], &aborts, &[16, 0, 1, 17, 0, 4, 16, 0, 1, 17, 0, 4], &data, &read].concat());
        add("wrong-bit", &[&[12, 1, 60, 0][..], &write, &read].concat());
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

/// Else the fuzzer would begin before the first Connect.
#[test]
fn the_seeds_go_all_the_way() {
    for (name, bytes) in seeds() {
        let reads = world::run(&bytes);
        if ["in-capsule", "by-r2t", "swap"].iter().any(|kind| name.starts_with(kind)) {
            assert_eq!(reads, 1, "{name}");
        } else if name.starts_with("deaf") {
            assert_eq!(reads, 40, "{name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_scripts(start in 0..5_u8, script in prop::collection::vec(any::<u8>(), 0..400)) {
        let script = if start < 4 { [association(start), script].concat() } else { script };
        world::run(&script);
    }
}
