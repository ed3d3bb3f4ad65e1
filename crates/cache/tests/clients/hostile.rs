//! Bugs that other caches shipped, as clients that try them here. Each test names those it is for.

use std::net::{Shutdown, UdpSocket};

use qpair_cache::limits::LENT_BYTES;
use wire::memcache::limits::{MAX_GET_LINE_BYTES, MAX_KEY_BYTES, MAX_LINE_BYTES};

use crate::common::{Client, cache, until};

/// Where numbers of 31, 32, 63 and 64 bits, with a sign or without, end or begin to be other ones.
const EDGES: [&str; 16] = [
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "-1",
    "-2147483648",
    "-2147483649",
    "-4294967296",
    "-9223372036854775808",
    "-9223372036854775809",
    "-18446744073709551616",
];

/// CVE-2018-1000115: 50,000 bytes for each one that is sent, with the address of a victim.
#[test]
fn nobody_listens_for_datagrams() {
    let server = cache(2);
    for address in server.addresses() {
        UdpSocket::bind(address).expect("the port is free");
    }
}

/// CVE-2018-1000127, the reference count of an item: 72,000 gets of one are under way when it goes.
#[test]
fn an_item_is_asked_for_more_often_than_16_bits_count() {
    let server = cache(1);
    let mut owner = Client::memcache(&server);
    let value = "v".repeat(LENT_BYTES);
    let set = format!("set k 0 0 {LENT_BYTES}\r\n{value}\r\n");
    let one = format!("VALUE k 0 {LENT_BYTES}\r\n{value}\r\n");
    owner.says(&set, "STORED\r\n");
    let mut silent: Vec<Client> = (0..60).map(|_| Client::memcache(&server)).collect();
    silent.iter().for_each(|client| client.send(b"get k k k k k k k k k k\r\n".repeat(120)));
    // Others come in its place, and more than there is room for.
    owner.says("delete k\r\nget k\r\n", "DELETED\r\nEND\r\n");
    let other = |key: u32| format!("set o{key} 0 0 20000 noreply\r\n{}\r\n", "o".repeat(20_000));
    owner.asks((0..6000).map(other).collect::<String>());
    // Most leave. Who reads at last reads what was there when its get was looked at.
    silent.truncate(6);
    for client in &mut silent {
        for _ in 0..120 {
            let mut line = client.line();
            while line.starts_with("VALUE k ") {
                assert!(client.bytes(LENT_BYTES + 2) == format!("{value}\r\n").as_bytes());
                line = client.line();
            }
            assert_eq!(line, "END");
        }
    }
    drop(silent);
    until("all have left", || owner.stat("curr_connections") == 1);
    owner.says(format!("{set}get k\r\n"), format!("STORED\r\n{one}END\r\n"));
}

/// CVE-2023-46852 and CVE-2023-46853: spaces between the keys of a get, lines that end without `\r`.
#[test]
fn spaces_and_line_feeds_are_counted_as_they_are() {
    let server = cache(1);
    let mut client = Client::memcache(&server);
    client.says("set a 0 0 1\r\nx\r\n", "STORED\r\n");
    let found = "VALUE a 0 1\r\nx\r\n";
    for spaces in [1, 2, 3, 7, 8, 9, 23, 24, 25, 1000, MAX_GET_LINE_BYTES - 20] {
        let space = " ".repeat(spaces);
        client.says(format!("get{space}a\r\n"), format!("{found}END\r\n"));
        client.says(format!("get a{space}\r\n"), format!("{found}END\r\n"));
        client.says(format!("get a{space}a\n"), format!("{found}{found}END\r\n"));
        client.says(format!("get{space}\r\nmn\r\n"), "ERROR\r\nMN\r\n");
    }
    for spaces in [2, 9, 24, 1000, MAX_LINE_BYTES - 30] {
        let space = " ".repeat(spaces);
        client.says(format!("set{space}b{space}0 0 1\n\n\r\n").replacen(&space, " ", 1), "STORED\r\n");
        client.says(format!("mg b v{space}\nmn\n"), "VA 1\r\n\n\r\nMN\r\n");
        client.says(format!("touch b{space}0\ndelete{space}b\n"), "TOUCHED\r\nDELETED\r\n");
    }
    // The end of a value is no line feed alone, and what comes behind it is a command again.
    assert!(client.asks("set c 0 0 1\r\nx\nmn\r\n").starts_with(b"CLIENT_ERROR bad data chunk\r\n"));
    client.says("get c a\r\n", format!("{found}END\r\n"));
}

/// The same, and CVE-2019-11596 (a command with too few words): the longest key, one that is longer, and none.
#[test]
fn keys_are_as_long_as_they_may_be_and_not_longer() {
    let server = cache(1);
    let mut client = Client::memcache(&server);
    let (longest, longer) = ("k".repeat(MAX_KEY_BYTES), "k".repeat(MAX_KEY_BYTES + 1));
    client.says(format!("set {longest} 0 0 1\r\n5\r\n"), "STORED\r\n");
    client.says(format!("get {longest}\r\n"), format!("VALUE {longest} 0 1\r\n5\r\nEND\r\n"));
    client.says(
        format!("incr {longest} 2\r\ntouch {longest} 0\r\nmg {longest} k v\r\n"),
        format!("7\r\nTOUCHED\r\nVA 1 k{longest}\r\n7\r\n"),
    );
    for end in ["\r\n", "\n"] {
        for command in [
            "get {}",
            "get a {}",
            "gets {}",
            "gat 0 {}",
            "incr {} 1",
            "decr {} 1",
            "touch {} 0",
            "delete {}",
            "mg {} v",
            "md {}",
            "ma {}",
            "me {}",
        ] {
            let answer = client.asks(command.replace("{}", &longer) + end);
            assert!(answer.starts_with(b"CLIENT_ERROR "), "{command}: {}", answer.escape_ascii());
        }
        for command in [
            "get", "gets", "gat 0", "gat", "incr", "touch", "delete", "mg", "md", "ma", "me", "lru", "lru mode",
            "stats ",
        ] {
            let answer = client.asks(format!("{command}{end}"));
            assert!(!answer.is_empty(), "{command}");
        }
    }
    client.says(format!("delete {longest}\r\nget {longest}\r\n"), "DELETED\r\nEND\r\n");
}

/// CVE-2021-21309, CVE-2021-41099, CVE-2021-32762, CVE-2022-35977, CVE-2023-41056: numbers that overflow when they are
/// read, added, multiplied or made a length. Whatever the answer is, there is one, and nothing else has changed.
#[test]
fn every_number_of_a_memcached_client_may_be_too_large() {
    let server = cache(2);
    let (mut client, mut other) = (Client::memcache(&server), Client::memcache(&server));
    other.says("set witness 7 0 4\r\nhere\r\n", "STORED\r\n");
    for edge in EDGES {
        for command in [
            "set k {} 0 1\r\nx",
            "set k 0 {} 1\r\nx",
            "cas k 0 0 1 {}\r\nx",
            "touch k {}",
            "gat {} k",
            "gats {} k",
            "incr n {}",
            "decr n {}",
            "verbosity {}",
            "mg n t T{}",
            "mg new v N{}",
            "mg n t R{}",
            "ms k 1 T{}\r\nx",
            "ms k 1 F{}\r\nx",
            "ms k 1 C{}\r\nx",
            "ms k 1 E{}\r\nx",
            "ma n v D{}",
            "ma n MD D{}",
            "ma m N0 J{}",
            "ma m N{}",
            "md n C{}",
            "md n I T{}",
            "md n E{}",
        ] {
            client.asks("set n 0 0 20\r\n18446744073709551610\r\n");
            let answer = client.asks(command.replace("{}", edge) + "\r\n");
            assert!(answer.ends_with(b"\r\n") && answer.len() < 200, "{command} {edge}: {}", answer.escape_ascii());
        }
        // The length of what follows: it would have to come, so that each has a client of its own.
        for command in ["set k 0 0 {}", "append k 0 0 {}", "cas k 0 0 {} 1", "ms k {}", "ms k {} MA"] {
            let mut client = Client::memcache(&server);
            client.send(command.replace("{}", edge) + "\r\n");
            let answer = client.line();
            assert!(answer.contains("_ERROR "), "{command} {edge}: {answer}");
        }
        other.says("get witness\r\n", "VALUE witness 7 4\r\nhere\r\nEND\r\n");
        let answer = client.asks(format!("flush_all {edge}\r\n"));
        assert!(answer == b"OK\r\n" || answer.starts_with(b"CLIENT_ERROR "), "{edge}: {}", answer.escape_ascii());
        other.says("set witness 7 0 4\r\nhere\r\n", "STORED\r\n");
    }
}

/// The same of Redis clients.
#[test]
fn every_number_of_a_redis_client_may_be_too_large() {
    let server = cache(2);
    let (mut client, mut other) = (Client::resp(&server), Client::resp(&server));
    other.says("SET witness here\r\n", "+OK\r\n");
    for edge in EDGES {
        for command in [
            "SETRANGE s {} x",
            "GETRANGE s 0 {}",
            "GETRANGE s {} -1",
            "INCRBY n {}",
            "DECRBY n {}",
            "INCRBYFLOAT f {}",
            "EXPIRE k {}",
            "PEXPIRE k {}",
            "EXPIREAT k {}",
            "PEXPIREAT k {}",
            "SETEX k {} x",
            "PSETEX k {} x",
            "SET k x EX {}",
            "SET k x PX {}",
            "SET k x EXAT {}",
            "SET k x PXAT {}",
            "GETEX k EX {}",
            "GETEX k PX {}",
            "GETEX k EXAT {}",
            "GETEX k PXAT {}",
            "SCAN {}",
            "SCAN 0 COUNT {}",
            "SELECT {}",
            "CLIENT LIST ID {}",
            "HELLO {}",
            "WAIT {} 0",
            "WAIT 0 {}",
            "SLOWLOG GET {}",
            "MEMORY USAGE k SAMPLES {}",
        ] {
            client.asks_resp("SET s abc\r\nSET n 9223372036854775800\r\nSET k x\r\n");
            let answer = client.asks_resp(command.replace("{}", edge) + "\r\n");
            assert!(answer.ends_with(b"\r\n") && answer.len() < 4000, "{command} {edge}: {}", answer.escape_ascii());
            client.says("STRLEN s\r\n", ":3\r\n");
        }
        for announced in [
            "*{}\r\n$4\r\nPING\r\n",
            "*2\r\n$3\r\nGET\r\n${}\r\nwitness\r\n",
            "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\nx\r\n",
        ] {
            let client = Client::resp(&server);
            client.send(announced.replace("{}", edge));
            // Nothing more comes.
            client.socket().shutdown(Shutdown::Write).expect("a socket");
            let answer = client.finish("");
            assert!(
                answer.is_empty() || answer.starts_with(b"-ERR ") || answer.starts_with(b"+PONG"),
                "{announced} {edge}: {}",
                answer.escape_ascii()
            );
        }
        other.says("GET witness\r\n", "$4\r\nhere\r\n");
    }
}

/// CVE-2022-36021, CVE-2024-31228: patterns that take exponential time, or a stack for every byte.
#[test]
fn patterns_of_hundred_thousands_of_bytes_are_answered_and_others_are_served_meanwhile() {
    let server = cache(1);
    let (mut client, mut other) = (Client::resp(&server), Client::resp(&server));
    let sets: String = (0..500).map(|key| format!("SET {}{key} x\r\n", "a".repeat(2000))).collect();
    other.asks_resp(sets);
    let times = 100_000;
    for (part, times) in [
        ("*?[", times),
        ("*a", times),
        ("*", times),
        ("?", times),
        ("[", times),
        ("[a", times),
        ("[^", times),
        ("\\", times),
        ("*[a-", times),
        ("*a?[ab]", times),
    ] {
        for (before, behind) in [("", ""), ("", "b"), ("a", "*"), ("*", "]")] {
            let pattern = format!("{before}{}{behind}", part.repeat(times));
            let bytes = pattern.len();
            for command in [
                format!("*2\r\n$4\r\nKEYS\r\n${bytes}\r\n{pattern}\r\n"),
                format!("*4\r\n$4\r\nSCAN\r\n$1\r\n0\r\n$5\r\nMATCH\r\n${bytes}\r\n{pattern}\r\n"),
            ] {
                client.send(&command);
                other.says("PING\r\n", "+PONG\r\n");
                let answer = client.asks_resp("");
                let is_one =
                    answer.starts_with(b"*") || answer == b"-ERR comparing names with this pattern takes too long\r\n";
                assert!(is_one, "{before}{part}...{behind}: {}", answer[..answer.len().min(200)].escape_ascii());
            }
        }
    }
}

/// What a client of each kind asks, with values for `{}`.
const MEMCACHE: &str = "set a 0 0 20000\r\n{}\r\nget a b c d e f\r\nms b 20000 c\r\n{}\r\nmg a v\r\n\
                        incr n 1\r\nget a a a a a a b b b b b\r\n";
const RESP: &str = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$20000\r\n{}\r\nMGET a b c d e f\r\nSET b 1\r\n\
                    MSET c 1 d 2 e 3\r\nKEYS *\r\nMGET a a a a b\r\nRENAME a b\r\n";

/// CVE-2026-23479, CVE-2025-49844: something goes on with a client that is gone. Clients leave at every byte, whatever
/// the reactors wait for then: the rest of a command or of a value, room in the socket, another reactor. There is
/// nothing that runs scripts.
#[test]
fn clients_leave_wherever_they_are_waited_for() {
    for reactors in [1, 2] {
        let server = cache(reactors);
        let mut other = Client::memcache(&server);
        for (listener, session) in [(0, MEMCACHE), (1, RESP)] {
            let session = session.replace("{}", &"v".repeat(20_000));
            // Each byte where lines are, and some within values.
            let ends = (0..session.len()).filter(|at| !session[..*at].ends_with(&"v".repeat(20)) || at % 1999 == 0);
            for (number, end) in ends.enumerate() {
                let client = Client::at(server.addresses()[listener]);
                // Behind the answers of a pipeline that is not read, at times.
                client.send(session.repeat(number % 3));
                client.send(&session[..end]);
                if number % 2 == 0 {
                    client.socket().shutdown(Shutdown::Both).expect("a socket");
                }
            }
        }
        until("all have left", || other.stat("curr_connections") == 1);
        other.says("set z 0 0 1\r\nz\r\nget z\r\n", "STORED\r\nVALUE z 0 1\r\nz\r\nEND\r\n");
        let mut other = Client::resp(&server);
        for script in ["EVAL 'return 1' 0", "EVALSHA 0 0", "SCRIPT LOAD x", "FCALL f 0", "FUNCTION LIST"] {
            let answer = other.asks_resp(format!("{script}\r\n"));
            assert!(answer.starts_with(b"-ERR unknown command"), "{script}: {}", answer.escape_ascii());
        }
    }
}
