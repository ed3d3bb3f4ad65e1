//! `qpair cache` as its users start it.

use std::io::{Read, Write};
use std::net::TcpStream;

mod common;

use common::{PATIENCE, Serve, qpair};
use machine::ring::RingKind;

fn ask(serve: &Serve, protocol: &str, asked: &[u8], expected: &str) {
    let address = serve.listening[protocol][0].as_str().expect("an address");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.write_all(asked).expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answers, and the end");
    assert_eq!(answer, expected);
}

#[test]
fn it_caches_until_it_is_told_to_stop() {
    let listen = ["--listen", "resp=127.0.0.1:0", "--listen", "memcache=127.0.0.1:0"];
    let cache = Serve::spawn(qpair(&["cache", "--json"]).args(listen));
    assert_eq!(cache.listening["memory"], 64 << 20);
    ask(&cache, "memcache", b"set k 1 60 5\r\nhello\r\nquit\r\n", "STORED\r\n");
    ask(&cache, "memcache", b"get k\r\nmg k v\r\nquit\r\n", "VALUE k 1 5\r\nhello\r\nEND\r\nVA 5\r\nhello\r\n");
    ask(&cache, "resp", b"GET k\r\nEXISTS k\r\nQUIT\r\n", "$5\r\nhello\r\n:1\r\n+OK\r\n");
    cache.stop();
}

/// Left to itself it takes a completion port where there is one.
#[test]
fn the_ring_is_the_one_that_is_named() {
    let port = RingKind::Iocp.choose();
    let best = if port.is_ok() { "iocp" } else { "portable" };
    for (wish, ring) in [("auto", best), ("portable", "portable"), ("iocp", "iocp")] {
        let asked = ["cache", "--json", "--listen", "memcache=127.0.0.1:0", "--reactors", "2", "--ring", wish];
        if let (Err(none), "iocp") = (&port, wish) {
            let ended = qpair(&asked).output().expect("it starts");
            let said = String::from_utf8_lossy(&ended.stderr);
            assert!(ended.status.code() == Some(1) && said.contains(&format!("--ring: {}", none.why)), "{said}");
            continue;
        }
        let cache = Serve::spawn(&mut qpair(&asked));
        assert_eq!(cache.listening["ring"], ring);
        // Of each reactor some, by large values, which do not fit into what a socket holds.
        let value = "x".repeat(512 << 10);
        for key in 0..8 {
            let set = format!("set {key} 0 0 {}\r\n{value}\r\nget {key}\r\nquit\r\n", value.len());
            let expected = format!("STORED\r\nVALUE {key} 0 {}\r\n{value}\r\nEND\r\n", value.len());
            ask(&cache, "memcache", set.as_bytes(), &expected);
        }
        cache.stop();
    }
}

/// What the kernel says of itself; empty if it says nothing.
#[cfg(unix)]
fn kernel(file: &str) -> String {
    std::fs::read_to_string(format!("/sys/kernel/mm/{file}")).unwrap_or_default()
}

#[cfg(unix)]
#[test]
fn huge_pages_are_claimed_only_as_far_as_they_are_there() {
    let listen = ["--memory", "16MiB", "--reactors", "2", "--listen", "memcache=127.0.0.1:0"];
    let cache = Serve::spawn(qpair(&["cache", "--json", "--huge-pages"]).args(listen));
    let said = cache.listening["huge_bytes"].as_u64().expect("it says so");
    // The process as a whole has at least as much: the kernel adds up what we were told of each part.
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", cache.pid())).expect("it runs");
    let there = rollup.lines().find_map(|line| line.strip_prefix("AnonHugePages:")).expect("a figure");
    let there: u64 = there.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(said <= 16 << 20 && said <= there << 10, "{said} {there}");
    assert!(!kernel("transparent_hugepage/enabled").contains("[never]") || said == 0);
    ask(&cache, "memcache", b"set k 1 60 5\r\nhello\r\nget k\r\nquit\r\n", "STORED\r\nVALUE k 1 5\r\nhello\r\nEND\r\n");
    cache.stop();
    let plain = Serve::spawn(qpair(&["cache", "--json"]).args(listen));
    assert!(plain.listening["huge_bytes"].is_null(), "nobody has asked");
    plain.stop();
    let said = no_huge_pages();
    if !kernel("hugepages/hugepages-2048kB/nr_hugepages").is_empty() {
        assert!(said.contains("huge pages of 2 MiB are needed, and"), "{said}");
        assert!(said.contains("sysctl vm.nr_hugepages="), "{said}");
    }
}

/// What is said where there are not so many: more than any machine has set aside, and more than its memory.
fn no_huge_pages() -> String {
    let huge = ["cache", "--huge-pages=reserved", "--memory", "1TiB", "--listen", "memcache=127.0.0.1:0"];
    let ended = qpair(&huge).output().expect("it starts");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.code() == Some(1) && said.contains("--huge-pages: "), "{said}");
    said
}

#[test]
fn huge_pages_that_cannot_be_had_are_told_as_such() {
    let said = no_huge_pages();
    // What of them Linux has set aside is in the test above.
    assert!(cfg!(unix) || said.contains("there are no huge pages: "), "{said}");
    assert!(!said.contains("--memory"), "{said}");
}

#[test]
fn what_is_not_there_is_said() {
    for (arguments, why) in [
        (&["cache", "--listen", "127.0.0.1:11211"][..], "this is memcache=ADDR:PORT or resp=ADDR:PORT"),
        (&["cache", "--listen", "resp=6379"], "`6379` is no ADDR:PORT"),
        (&["cache", "--ring", "uring"], "io_uring is for files, and a cache has sockets"),
        (&["cache", "--memory", "1k", "--listen", "memcache=127.0.0.1:0"], "there are those of 262144"),
    ] {
        let ended = qpair(arguments).output().expect("it starts");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success() && said.contains(why), "{arguments:?}: {said}");
    }
}
