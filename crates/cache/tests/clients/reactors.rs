//! Several reactors answer as one does: over loopback, whatever they ask of each other.

use std::cell::RefCell;
use std::net::Shutdown;

use crate::common::{Cache, Chance, Client, cache};

impl Chance {
    /// A pipeline about keys that only this client has, of all that a command may do to several reactors.
    fn pipeline(&mut self, client: usize) -> Vec<u8> {
        let mut all = Vec::new();
        for _ in 0..1 + self.below(40) {
            let mut key = || format!("c{client}k{}", self.below(9));
            let (one, two, three) = (key(), key(), key());
            let quiet = ["", " noreply"][self.below(2)];
            let bytes = [0, 1, 2, 300, 9000][self.below(5)];
            let value = "4".repeat(bytes);
            let command = match self.below(14) {
                0..=3 => format!("set {one} {bytes} 0 {bytes}{quiet}\r\n{value}\r\n"),
                4 => format!("add {one} 0 0 {bytes}\r\n{value}\r\nreplace {two} 0 0 1\r\n9\r\n"),
                5 | 6 => format!("get {one} {two} {three} {one}\r\n"),
                7 => format!("get {one}\r\nget {two}\r\n"),
                8 => format!("delete {one}{quiet}\r\n"),
                9 => format!("gat 0 {two} {one}\r\ntouch {three} 0\r\n"),
                10 => format!("append {one} 0 0 1{quiet}\r\n5\r\nprepend {two} 0 0 1\r\n6\r\n"),
                11 => format!("incr {two} 7{quiet}\r\nversion\r\n"),
                // Refused, and the old value is gone.
                12 => format!("set {one} 0 0 70000{quiet}\r\n{}\r\nget {one}\r\n", "x".repeat(70_000)),
                _ => format!("nonsense {one}\r\nget {} {one}\r\n", "k".repeat(251)),
            };
            all.extend_from_slice(command.as_bytes());
        }
        all
    }

    /// The same of a Redis client.
    fn resp_pipeline(&mut self, client: usize) -> Vec<u8> {
        let mut all = Vec::new();
        for _ in 0..1 + self.below(40) {
            let mut key = || format!("c{client}k{}", self.below(9));
            let (one, two, three) = (key(), key(), key());
            let bytes = [0, 1, 2, 300, 9000][self.below(5)];
            let value = format!("\"{}\"", "4".repeat(bytes));
            let command = match self.below(16) {
                0..=2 => format!("SET {one} {value}"),
                3 => format!("SET {one} {value} PXAT 4000000000000"),
                4 => format!("MGET {one} {two} {three} {one} {two}"),
                5 => format!("MSET {one} {value} {two} 7 {one} {value}"),
                6 => format!("MSETNX {one} {value} {two} 8"),
                7 => format!("RENAME {one} {two}"),
                8 => format!("RENAMENX {one} {two}"),
                9 => format!("{} {one} {two} {three}", ["DEL", "UNLINK"][self.below(2)]),
                10 => format!("{} {one} {two} {one} {three}", ["EXISTS", "TOUCH"][self.below(2)]),
                11 => format!("APPEND {one} x\r\nGETRANGE {two} 0 5\r\nSTRLEN {three}"),
                12 => format!("PEXPIRETIME {one}\r\nINCR {two}"),
                13 => format!("CLIENT REPLY {}\r\nGET {one}", ["SKIP", "ON"][self.below(2)]),
                14 => format!("nonsense {one}\r\nMSET {one} 1 {two}\r\nRENAME {one}"),
                _ => format!("*2\r\n$3\r\nGET\r\n${}\r\n{one}", one.len()),
            };
            all.extend_from_slice(command.as_bytes());
            all.extend_from_slice(b"\r\n");
        }
        all
    }
}

#[test]
fn several_answer_as_one_does() {
    answers_are_the_same(Client::memcache, Client::asks, Chance::pipeline);
}

#[test]
fn several_answer_redis_clients_as_one_does() {
    answers_are_the_same(Client::resp, Client::asks_resp, Chance::resp_pipeline);
}

/// Random pipelines of several clients at once, to one, two and three reactors.
fn answers_are_the_same(
    connect: fn(&Cache) -> Client,
    ask: fn(&mut Client, Vec<u8>) -> Vec<u8>,
    pipeline: fn(&mut Chance, usize) -> Vec<u8>,
) {
    let servers: Vec<Cache> = (1..=3).map(cache).collect();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let servers = &servers;
            scope.spawn(move || {
                let mut clients: Vec<Client> = servers.iter().map(connect).collect();
                let mut chance = Chance(0x9e37_79b9_7f4a_7c15 + number as u64);
                for round in 0..40 {
                    let asked = pipeline(&mut chance, number);
                    let mut answers = clients.iter_mut().map(|client| ask(client, asked.clone()));
                    let expected = answers.next().expect("of one");
                    for (others, answer) in answers.enumerate() {
                        assert!(answer == expected, "client {number}, round {round}: {} reactors", others + 2);
                    }
                }
            });
        }
    });
}

#[test]
fn what_is_about_all_keys_is_about_those_of_all_reactors() {
    let server = cache(3);
    let client = RefCell::new(Client::resp(&server));
    let says = |asked: &str, expected: &str| {
        let answer = client.borrow_mut().asks_resp(asked);
        assert_eq!(answer.escape_ascii().to_string(), expected.as_bytes().escape_ascii().to_string(), "{asked}");
    };
    let all: Vec<String> = (0..2000).map(|key| format!("k{key}")).collect();
    let pairs: Vec<String> = all.iter().map(|key| format!("{key} v{key}")).collect();
    says(&format!("MSET {}\r\nDBSIZE\r\n", pairs.join(" ")), "+OK\r\n:2000\r\n");
    says("MSET a\r\nMSET a 1 b\r\n", &"-ERR wrong number of arguments for 'mset' command\r\n".repeat(2));
    let values: String = all.iter().map(|key| format!("${}\r\nv{key}\r\n", key.len() + 1)).collect();
    says(&format!("MGET {}\r\n", all.join(" ")), &format!("*2000\r\n{values}"));
    says(&format!("EXISTS {}\r\nFLUSHALL maybe\r\n", all.join(" ")), ":2000\r\n-ERR syntax error\r\n");
    says(&format!("DEL none {}\r\nDBSIZE\r\n", all[..1990].join(" ")), ":1990\r\n:10\r\n");
    let lines = |asked: &str| {
        let text = String::from_utf8(client.borrow_mut().asks_resp(asked)).expect("text");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(lines("INFO keyspace\r\n").contains(&"db0:keys=10,expires=0,avg_ttl=0".to_owned()));
    let memory = lines("INFO memory\r\n");
    let most = memory.iter().find_map(|line| line.strip_prefix("maxmemory:")?.parse::<usize>().ok());
    // Each third in whole segments.
    assert!(most.is_some_and(|most| (63 << 20..=64 << 20).contains(&most)), "{memory:?}");
    let mut others: Vec<Client> = (0..5).map(|_| Client::resp(&server)).collect();
    others.iter_mut().for_each(|other| other.says("CLIENT SETNAME other\r\n", "+OK\r\n"));
    let list = lines("CLIENT LIST\r\n");
    let mut ids: Vec<&str> = list.iter().filter_map(|line| line.strip_prefix("id=")?.split(' ').next()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() == 6 && list.iter().filter(|line| line.contains(" name=other ")).count() == 5, "{list:?}");
    says("SET a 1\r\nDBSIZE\r\nFLUSHALL\r\nDBSIZE\r\nGET a\r\nSET a 2\r\nDBSIZE\r\n", {
        "+OK\r\n:11\r\n+OK\r\n:0\r\n$-1\r\n+OK\r\n:1\r\n"
    });
    says(
        "CLIENT REPLY OFF\r\nMGET a b c d e\r\nDBSIZE\r\nMSET f 1 g 2\r\nRENAME f h\r\nCLIENT REPLY ON\r\n",
        "+OK\r\n",
    );
    says("CLIENT REPLY SKIP\r\nMSETNX f 1 i 2 j 3\r\nMGET f g h i j k\r\n", {
        "*6\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$-1\r\n"
    });
}

#[test]
fn a_thousand_clients_are_served() {
    let server = cache(2);
    let mut clients: Vec<Client> = (0..1000).map(|_| Client::memcache(&server)).collect();
    for (number, client) in clients.iter().enumerate() {
        client.send(format!("set {number} 0 0 1\r\nx\r\nget {number} {}\r\n", (number + 1) % 1000));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        client.says("", format!("STORED\r\nVALUE {number} 0 1\r\n"));
    }
    let mut other = Client::memcache(&server);
    assert_eq!((other.stat("curr_connections"), other.stat("cmd_set")), (1001, 1000));
}

#[test]
fn who_does_not_read_or_goes_away_disturbs_nobody() {
    let server = cache(2);
    let large = (0..16).map(|key| format!("set large{key} 0 0 60000\r\n{}\r\n", "x".repeat(60_000)));
    let mut other = Client::memcache(&server);
    other.asks(large.collect::<String>());
    let gets: String = (0..2000).map(|number| format!("get large{} large{}\r\n", number % 16, number % 7)).collect();
    // They ask for 240 MB each, and read nothing.
    let mut silent: Vec<Client> = (0..6).map(|_| Client::memcache(&server)).collect();
    silent.iter().for_each(|client| client.send(&gets));
    for round in 0..50 {
        let asked = format!("set a{round} 0 0 1\r\nx\r\nset b{round} 0 0 1\r\ny\r\nget a{round} b{round}\r\n");
        let expected = format!("STORED\r\nSTORED\r\nVALUE a{round} 0 1\r\nx\r\nVALUE b{round} 0 1\r\ny\r\nEND\r\n");
        other.says(asked, expected);
        // Some of them leave, with answers under way.
        if round % 10 == 0 {
            let _ = silent[round / 10].socket().shutdown(Shutdown::Both);
            Client::memcache(&server).send(&gets);
        }
    }
    // The last one reads at last.
    let one = |key: usize| format!("VALUE large{key} 0 60000\r\n{}\r\n", "x".repeat(60_000));
    for number in 0..2000 {
        silent[5].says("", format!("{}{}END\r\n", one(number % 16), one(number % 7)));
    }
}

#[test]
fn it_stops_with_clients_that_wait() {
    for reactors in 1..=3 {
        let server = cache(reactors);
        let clients: Vec<Client> = (0..20).map(|_| Client::memcache(&server)).collect();
        let asked = "set a 0 0 1 noreply\r\nx\r\nget a b c d e f g\r\n".repeat(500);
        clients.iter().for_each(|client| client.send(&asked));
    }
}
