//! Metrics of `qpair cache`: what a scrape shows is what was done, and what clients are told.

use std::io::{Read, Write};
use std::net::TcpStream;

mod common;

use common::page::Page;
use common::{PATIENCE, Serve, eventually, output, qpair};

fn cache(arguments: &[&str]) -> Serve {
    let listen = ["--listen", "resp=127.0.0.1:0", "--listen", "memcache=127.0.0.1:0", "--metrics", "127.0.0.1:0"];
    Serve::spawn(qpair(&["cache", "--json"]).args(listen).args(arguments))
}

/// What is answered to these commands, the last of which ends the connection.
fn ask(serve: &Serve, protocol: &str, asked: &str) -> String {
    let address = serve.listening[protocol][0].as_str().expect("an address");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.write_all(asked.as_bytes()).expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answers, and the end");
    answer
}

#[test]
fn counters_are_what_was_done() {
    for reactors in ["1", "2"] {
        let cache = cache(&["--reactors", reactors]);
        let sets: String = (0..100).map(|key| format!("set k{key} 0 0 5\r\nhello\r\n")).collect();
        assert_eq!(ask(&cache, "memcache", &format!("{sets}quit\r\n")), "STORED\r\n".repeat(100));
        let gets: String = (50..200).map(|key| format!("get k{key}\r\n")).collect();
        ask(&cache, "memcache", &format!("{gets}delete k0\r\nquit\r\n"));
        ask(&cache, "resp", "GET k1\r\nMGET k2 k3 none\r\nSET other 1\r\nQUIT\r\n");
        let mut page = Page::scrape(&cache);
        eventually("all of them are counted", || {
            page = Page::scrape(&cache);
            page.sum("qpair_cache_stores_total", &[("outcome", "stored")]) == 101.0
                && page.sum("qpair_cache_connections", &[]) == 0.0
        });
        let requests = |outcome| page.sum("qpair_cache_requests_total", &[("outcome", outcome)]);
        assert_eq!((requests("hit"), requests("miss")), (53.0, 101.0), "{reactors}");
        assert_eq!(page.sum("qpair_cache_items", &[]), 100.0);
        let operations = |protocol, verb, outcome| {
            let labels = [("protocol", protocol), ("verb", verb), ("outcome", outcome)];
            page.sum("qpair_cache_operations_total", &labels)
        };
        assert_eq!((operations("memcache", "set", "stored"), operations("resp", "set", "stored")), (100.0, 1.0));
        assert_eq!((operations("memcache", "get", "hit"), operations("memcache", "get", "miss")), (50.0, 100.0));
        assert_eq!((operations("resp", "get", "hit"), operations("resp", "get", "miss")), (3.0, 1.0));
        assert_eq!(operations("memcache", "delete", "hit"), 1.0);
        let memory = |state| page.sum("qpair_cache_memory_bytes", &[("state", state)]);
        assert!(memory("live") >= 100.0 * 12.0 && memory("free") > memory("live") && memory("table") > 0.0);
        let timed = page.sum("qpair_cache_command_duration_seconds_count", &[]);
        assert_eq!(page.sum("qpair_cache_command_duration_seconds_bucket", &[("le", "+Inf")]), timed);
        assert_eq!(page.sum("qpair_cache_connections_total", &[("outcome", "accepted")]), 3.0);
        cache.stop();
    }
}

#[test]
fn a_log_is_written_and_simulated() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("commands.csv");
    let flag = format!("{},every=1,size=64KiB,keep=2", log.display());
    let cache = cache(&["--reactors", "2", "--command-log", &flag]);
    for round in 0..20 {
        let commands: String = (0..100)
            .map(|key| format!("get k{round}x{key}\r\nset k{round}x{key} 0 60 5\r\nhello\r\nget k{round}x{key}\r\n"))
            .collect();
        ask(&cache, "memcache", &format!("{commands}quit\r\n"));
    }
    eventually("all lines are written", || {
        Page::scrape(&cache).sum("qpair_cache_command_log_lines_total", &[("outcome", "written")]) >= 6000.0
    });
    let page = Page::scrape(&cache);
    for outcome in ["dropped", "lost"] {
        assert_eq!(page.sum("qpair_cache_command_log_lines_total", &[("outcome", outcome)]), 0.0);
    }
    assert!(page.sum("qpair_cache_command_log_bytes_total", &[]) > 6000.0 * 40.0);
    cache.stop();
    // 6000 lines of about 70 bytes: the oldest are gone, and each file is a trace by itself.
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 3);
    for name in ["commands.csv", "commands.csv.1", "commands.csv.2"] {
        let path = folder.path().join(name).display().to_string();
        let report = output(&mut qpair(&["cache", "simulate", &path, "--size", "1MiB"]));
        assert!(report.contains("s3fifo") || report.contains("S3-FIFO"), "{report}");
    }
}
