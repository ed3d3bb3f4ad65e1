//! `qpair cache` as its users start it.

use std::io::{Read, Write};
use std::net::TcpStream;

mod common;

use common::{PATIENCE, Serve, qpair};

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

#[test]
fn what_is_not_there_is_said() {
    for (arguments, why) in [
        (&["cache", "--listen", "127.0.0.1:11211"][..], "this is memcache=ADDR:PORT or resp=ADDR:PORT"),
        (&["cache", "--listen", "resp=6379"], "`6379` is no ADDR:PORT"),
        (&["cache", "--memory", "1k", "--listen", "memcache=127.0.0.1:0"], "there are those of 262144"),
    ] {
        let ended = qpair(arguments).output().expect("it starts");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success() && said.contains(why), "{arguments:?}: {said}");
    }
}
