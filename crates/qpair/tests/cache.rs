//! `qpair cache` as its users start it.

use std::io::{Read, Write};
use std::net::TcpStream;

mod common;

use common::{PATIENCE, Serve, qpair};

fn ask(serve: &Serve, asked: &[u8], expected: &str) {
    let address = serve.listening["memcache"][0].as_str().expect("an address");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.write_all(asked).expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answers, and the end");
    assert_eq!(answer, expected);
}

#[test]
fn it_caches_until_it_is_told_to_stop() {
    let cache = Serve::spawn(&mut qpair(&["cache", "--json", "--listen", "memcache=127.0.0.1:0"]));
    assert_eq!(cache.listening["memory"], 64 << 20);
    ask(&cache, b"set k 1 60 5\r\nhello\r\nquit\r\n", "STORED\r\n");
    ask(&cache, b"get k\r\nmg k v\r\nquit\r\n", "VALUE k 1 5\r\nhello\r\nEND\r\nVA 5\r\nhello\r\n");
    cache.stop();
}

#[test]
fn what_is_not_there_is_said() {
    for (arguments, why) in [
        (&["cache", "--listen", "resp=127.0.0.1:6379"][..], "Redis' protocol is not there yet"),
        (&["cache", "--listen", "127.0.0.1:11211"], "this is memcache=ADDR:PORT"),
        (&["cache", "--memory", "1k", "--listen", "memcache=127.0.0.1:0"], "a store of 1024 bytes"),
    ] {
        let ended = qpair(arguments).output().expect("it starts");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success() && said.contains(why), "{arguments:?}: {said}");
    }
}
