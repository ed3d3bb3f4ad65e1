//! Metrics of `qpair cache`: what a scrape shows is what was done, and what clients are told.

use std::io::{Read, Write};
use std::net::TcpStream;

mod common;

use common::page::Page;
use common::{PATIENCE, Serve, eventually, qpair};

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
        assert_eq!(page.sum("qpair_cache_connections_total", &[("outcome", "accepted")]), 3.0);
        cache.stop();
    }
}
