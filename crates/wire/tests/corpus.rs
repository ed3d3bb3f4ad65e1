//! The corpus of the fuzz targets, replayed; and where it comes from.
//!
//! The seeds (`seed-*`), valid exchanges and broken ones, are made here. What fuzzing finds is added beside them
//! (CONTRIBUTING.md says how) and replayed with them.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use qpair_wire::nvme::{Sqe, Status};
use qpair_wire::tcp::digest::Digests;
use support::harness::{self, CHUNK, CLOSE, LONG, REQUEST, RESPOND, SEAL, SEND, SET_QUEUE, SUBMIT, ic_pdu};
use support::peers::all_digests;
use support::raw::{WRITE_CID, c2h, command, h2c, r2t, response};

/// A fuzz target: its name and its function.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 6] = [
    ("pdu", harness::pdu),
    ("controller", harness::controller),
    ("host", harness::host),
    ("answers", support::answers::answers),
    ("resp", support::resp::resp),
    ("memcache", support::memcache::memcache),
];

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

#[test]
fn every_file_of_the_corpus() {
    for (name, target) in TARGETS {
        let mut files: Vec<PathBuf> = fs::read_dir(corpus(name))
            .expect("fuzz/corpus has a folder for each target")
            .map(|entry| entry.expect("readable").path())
            .collect();
        files.sort();
        assert!(!files.is_empty(), "{name} has a corpus");
        for file in files {
            println!("{}", file.display());
            target(&fs::read(&file).expect("readable"));
        }
    }
}

/// The seeds in the tree are those that this file makes. A seed that is missing or has changed is written anew, and the
/// test fails once to say so: commit what it wrote.
#[test]
fn seeds_are_current() {
    let mut written = Vec::new();
    let (resp, memcache) = (support::resp::seeds(), support::memcache::seeds());
    let seeds = [pdu_seeds(), controller_seeds(), host_seeds(), answers_seeds(), resp, memcache];
    for ((target, _), seeds) in TARGETS.into_iter().zip(seeds) {
        for (name, bytes) in seeds {
            let file = corpus(target).join(format!("seed-{name}"));
            if fs::read(&file).ok().as_deref() != Some(&bytes) {
                fs::write(&file, bytes).expect("the corpus can be written to");
                written.push(file);
            }
        }
    }
    assert!(written.is_empty(), "these seeds were missing or out of date and are written anew: {written:#?}");
}

type Seeds = Vec<(String, Vec<u8>)>;

/// Received bytes as an operation of a script.
fn received(bytes: &[u8]) -> Vec<u8> {
    [&[LONG, bytes.len() as u8, (bytes.len() >> 8) as u8], bytes].concat()
}

/// The header of a PDU under a digest that the harness computes, whatever fuzzing makes of it; then the rest.
fn sealed(pdu: &[u8], digests: Digests) -> Vec<u8> {
    let hlen = usize::from(pdu[2]);
    if !digests.header || hlen == 128 {
        return received(pdu);
    }
    let rest = &pdu[hlen + 4..];
    let mut script = [&[SEAL, hlen as u8], &pdu[..hlen]].concat();
    if rest.len() > 4 && digests.data && rest.len() - 4 <= usize::from(u8::MAX) {
        let data = &rest[..rest.len() - 4];
        script.extend_from_slice(&[SEAL, data.len() as u8]);
        script.extend_from_slice(data);
    } else if !rest.is_empty() {
        script.extend_from_slice(&received(rest));
    }
    script
}

fn pdu_seeds() -> Seeds {
    let mut seeds = Seeds::new();
    let mut add = |name: &str, digests: Digests, to_target: bool, pdu: Vec<u8>| {
        let setup = digests.bits() | u8::from(to_target) << 2 | 8;
        seeds.push((format!("{name}-{}", digests.bits()), [&[setup], pdu.as_slice()].concat()));
    };
    for d in all_digests() {
        add("command", d, true, command(Sqe::flush(1), &[], d));
        add("command-data", d, true, command(Sqe::write(1, 0, 1, false), &[1; 32], d));
        add("h2cdata", d, true, h2c(0, 0, 0, &[1; 32], true, d));
        add("response", d, false, response(0, Status::INTERNAL_ERROR, d));
        add("c2hdata", d, false, c2h(0, 0, &[1; 32], 0, d));
        add("c2hdata-success", d, false, c2h(0, 0, &[1; 512], 0x0c, d));
        add("r2t", d, false, r2t(1, 0, 0, 512, d));
    }
    let plain = Digests::default();
    add("icreq", plain, true, ic_pdu(0, 0).to_vec());
    add("icresp", plain, false, ic_pdu(1, 0).to_vec());
    for (name, to_target, kind) in [("h2ctermreq", true, 2), ("c2htermreq", false, 3)] {
        add(name, plain, to_target, [&[kind, 0, 24, 0, 32, 0, 0, 0, 1, 0], [0; 22].as_slice()].concat());
    }
    add("http", plain, true, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec());
    seeds
}

fn controller_seeds() -> Seeds {
    let mut seeds = Seeds::new();
    for d in all_digests() {
        let setup = d.bits() | 8;
        let connect = [
            vec![setup],
            received(&ic_pdu(0, d.bits())),
            sealed(&command(Sqe::connect(1, 31, 0, 4), &[0; 64], d), d),
            vec![SET_QUEUE, 31, 0, RESPOND, 0, 0, 0],
        ]
        .concat();
        let mut add = |name: &str, rest: Vec<u8>| {
            seeds.push((format!("{name}-{}", d.bits()), [connect.as_slice(), &rest].concat()));
        };
        let write = Sqe::write(1, 0, 1, false).with_cid(WRITE_CID);
        add("connect", vec![]);
        add("read", [sealed(&command(Sqe::read(1, 0, 1), &[], d), d), vec![SEND, 0, 255, 0x81]].concat());
        add("read-respond", {
            [sealed(&command(Sqe::read(1, 0, 1), &[], d), d), vec![SEND, 0, 63, 0, RESPOND, 0, 4, 0]].concat()
        });
        add("write-in-capsule", [sealed(&command(write, &[1; 32], d), d), vec![RESPOND, 0, 0, 0]].concat());
        let asked = [sealed(&command(write, &[], d), d), vec![REQUEST, 0, 63, 0]].concat();
        let halves = |last: &[u8]| [sealed(&h2c(WRITE_CID, 0, 0, &[1; 32], false, d), d), sealed(last, d)].concat();
        let second = h2c(WRITE_CID, 0, 32, &[2; 32], true, d);
        add("write", [asked.clone(), halves(&second), vec![RESPOND, 0, 0, 0]].concat());
        add("write-again", [asked.clone(), halves(&second), vec![REQUEST, 0, 7, 0]].concat());
        add("write-without-last", [asked.clone(), halves(&h2c(WRITE_CID, 0, 32, &[2; 32], false, d))].concat());
        add("write-beyond", [asked.clone(), halves(&h2c(WRITE_CID, 0, 32, &[2; 36], true, d))].concat());
        add("write-cut", [asked.clone(), received(&second[..20]), vec![CLOSE, RESPOND, 0, 0, 0]].concat());
        add("duplicate", sealed(&command(write, &[], d), d).repeat(2));
        add("unsolicited", sealed(&second, d));
    }
    seeds
}

fn host_seeds() -> Seeds {
    let mut seeds = Seeds::new();
    for d in all_digests() {
        let setup = d.bits() | 8;
        let connect = [
            vec![setup],
            received(&ic_pdu(1, d.bits())),
            vec![SUBMIT, 3, 255, 3],
            sealed(&response(0, Status::SUCCESS, d), d),
            vec![SET_QUEUE, 0, 32],
        ]
        .concat();
        // The slot of Connect is used again: its second identifier.
        let first = 1 << 10;
        let mut add = |name: &str, rest: Vec<u8>| {
            seeds.push((format!("{name}-{}", d.bits()), [connect.as_slice(), &rest].concat()));
        };
        let read = vec![SUBMIT, 1, 63, 0];
        let write = vec![SUBMIT, 2, 63, 0];
        add("flush", [vec![SUBMIT, 0, 0, 0], sealed(&response(first, Status::SUCCESS, d), d)].concat());
        add("in-capsule", [vec![SUBMIT, 3, 63, 0], sealed(&response(first, Status::SUCCESS, d), d)].concat());
        let data = |offset, flags| sealed(&c2h(first, offset, &[1; 32], flags, d), d);
        add("read", [read.clone(), data(0, 0), data(32, 4), sealed(&response(first, Status::SUCCESS, d), d)].concat());
        add("read-success", [read.clone(), data(0, 0), data(32, 12)].concat());
        add("read-short", [read.clone(), data(0, 12)].concat());
        add("read-gap", [read.clone(), data(32, 4)].concat());
        add("read-error", [read, data(0, 0), sealed(&response(first, Status::INTERNAL_ERROR, d), d)].concat());
        let asked = [write, sealed(&r2t(first, 5, 0, 64, d), d)].concat();
        let end = sealed(&response(first, Status::SUCCESS, d), d);
        add("write", [asked.clone(), vec![CHUNK, 0, 31, 0, CHUNK, 0, 255, 0], end.clone()].concat());
        add("write-early-end", [asked.clone(), vec![CHUNK, 0, 31, 0], end].concat());
        add("write-second-r2t", [asked, sealed(&r2t(first, 5, 0, 64, d), d)].concat());
        add("close", vec![CLOSE, SUBMIT, 0, 0, 0]);
    }
    seeds
}

/// Lines of either protocol, without the values that would lie between them.
fn answers_seeds() -> Seeds {
    let memcache = "VALUE k 0 3\r\nVALUE k 7 3 9\r\nEND\r\nSTORED\r\nNOT_STORED\r\nEXISTS\r\nNOT_FOUND\r\nDELETED\r\n\
                    TOUCHED\r\nOK\r\n18\r\nVERSION 1\r\nSTAT pid 1\r\nERROR\r\nCLIENT_ERROR x\r\nSERVER_ERROR y\r\n\
                    RESET\r\nHD t1 c2\r\nVA 3 W\r\nMN\r\nERROR: z\r\nMEMLIMIT_ADJUST_FAILED z\r\n";
    let resp = "+OK\r\n-ERR no\r\n:-1\r\n$3\r\n$-1\r\n*2\r\n*-1\r\n_\r\n\
                %1\r\n~1\r\n>1\r\n|1\r\n#t\r\n#f\r\n,1.5\r\n(12\r\n=4\r\n";
    let seed = |name: &str, protocol: u8, text: &str| (name.to_owned(), [&[protocol], text.as_bytes()].concat());
    vec![seed("memcache", 0, memcache), seed("resp", 1, resp)]
}
