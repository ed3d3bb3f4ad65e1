//! Several reactors answer as one does: over loopback, whatever they ask of each other.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use machine::reactor::Mode;
use qpair_cache::{Options, Server};

fn server(reactors: usize) -> Server {
    let options = Options {
        memcache: vec!["127.0.0.1:0".parse().expect("an address")],
        resp: vec!["127.0.0.1:0".parse().expect("an address")],
        reactors,
        memory: 64 << 20,
        max_value: 1 << 20,
        pool: None,
        users: None,
        eviction: qpair_cache::Eviction::S3Fifo,
        seed: 11,
        mode: Mode::Shared,
        cpus: Vec::new(),
    };
    Server::start(&options).expect("it starts")
}

fn client(server: &Server) -> TcpStream {
    connect(server, 0)
}

/// One that speaks Redis' protocol.
fn resp(server: &Server) -> TcpStream {
    connect(server, 1)
}

fn connect(server: &Server, listener: usize) -> TcpStream {
    let stream = TcpStream::connect(server.addresses()[listener]).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
    stream.set_nodelay(true).expect("a socket");
    stream
}

/// Sends commands of memcached's; all answers up to that of an `mn` behind them.
fn ask(stream: &TcpStream, asked: &[u8]) -> Vec<u8> {
    exchange(stream, &[asked, b"mn\r\n"].concat(), b"MN\r\n")
}

/// Sends commands of Redis'; all answers up to that of an `ECHO` behind them.
fn ask_resp(stream: &TcpStream, asked: &[u8]) -> Vec<u8> {
    exchange(stream, &[asked, b"ECHO it-ends-here\r\n"].concat(), b"$12\r\nit-ends-here\r\n")
}

/// Sends, reading meanwhile up to this end.
fn exchange(stream: &TcpStream, asked: &[u8], end: &[u8]) -> Vec<u8> {
    let (mut writer, mut reader) = (stream.try_clone().expect("a socket"), stream);
    let (mut answers, mut part) = (Vec::new(), [0; 64 << 10]);
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(asked).expect("it listens"));
        while !answers.ends_with(end) {
            let read = reader.read(&mut part).expect("an answer");
            assert!(read > 0, "it ended behind {}", answers[answers.len().saturating_sub(99)..].escape_ascii());
            answers.extend_from_slice(&part[..read]);
        }
    });
    answers
}

/// Numbers by chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % most
    }

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
    answers_are_the_same(client, ask, Chance::pipeline);
}

#[test]
fn several_answer_redis_clients_as_one_does() {
    answers_are_the_same(resp, ask_resp, Chance::resp_pipeline);
}

/// Random pipelines of several clients at once, to one, two and three reactors.
fn answers_are_the_same(
    connect: fn(&Server) -> TcpStream,
    ask: fn(&TcpStream, &[u8]) -> Vec<u8>,
    pipeline: fn(&mut Chance, usize) -> Vec<u8>,
) {
    let servers: Vec<Server> = (1..=3).map(server).collect();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let servers = &servers;
            scope.spawn(move || {
                let streams: Vec<TcpStream> = servers.iter().map(connect).collect();
                let mut chance = Chance(0x9e37_79b9_7f4a_7c15 + number as u64);
                for round in 0..40 {
                    let asked = pipeline(&mut chance, number);
                    let mut answers = streams.iter().map(|stream| ask(stream, &asked));
                    let expected = answers.next().expect("of one");
                    for (others, answer) in answers.enumerate() {
                        assert!(answer == expected, "client {number}, round {round}: {} reactors", others + 2);
                    }
                }
            });
        }
    });
    servers.into_iter().for_each(|server| server.stop().expect("it stops"));
}

#[test]
fn what_is_about_all_keys_is_about_those_of_all_reactors() {
    let server = server(3);
    let stream = resp(&server);
    let says = |asked: &str, expected: &str| {
        let answer = ask_resp(&stream, asked.as_bytes());
        let end = answer.len() - b"$12\r\nit-ends-here\r\n".len();
        assert_eq!(answer[..end].escape_ascii().to_string(), expected.as_bytes().escape_ascii().to_string(), "{asked}");
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
        let text = String::from_utf8(ask_resp(&stream, asked.as_bytes())).expect("text");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(lines("INFO keyspace\r\n").contains(&"db0:keys=10,expires=0,avg_ttl=0".to_owned()));
    let memory = lines("INFO memory\r\n");
    let most = memory.iter().find_map(|line| line.strip_prefix("maxmemory:")?.parse::<usize>().ok());
    // Each third in whole segments.
    assert!(most.is_some_and(|most| (63 << 20..=64 << 20).contains(&most)), "{memory:?}");
    let others: Vec<TcpStream> = (0..5).map(|_| resp(&server)).collect();
    others.iter().for_each(|other| assert!(ask_resp(other, b"CLIENT SETNAME other\r\n").starts_with(b"+OK")));
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
    server.stop().expect("it stops");
}

#[test]
fn a_thousand_clients_are_served() {
    let server = server(2);
    let streams: Vec<TcpStream> = (0..1000).map(|_| client(&server)).collect();
    for (number, mut stream) in streams.iter().enumerate() {
        let asked = format!("set {number} 0 0 1\r\nx\r\nget {number} {}\r\n", (number + 1) % 1000);
        stream.write_all(asked.as_bytes()).expect("it listens");
    }
    for (number, mut stream) in streams.iter().enumerate() {
        let mut expected = format!("STORED\r\nVALUE {number} 0 1\r\n").into_bytes();
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(answer.escape_ascii().to_string(), expected.escape_ascii().to_string());
        expected.clear();
    }
    let stats = ask(&client(&server), b"stats\r\n");
    let stats = String::from_utf8(stats).expect("text");
    assert!(stats.contains("STAT curr_connections 1001\r\n"), "{stats}");
    assert!(stats.contains("STAT cmd_set 1000\r\n"), "{stats}");
    server.stop().expect("it stops");
}

#[test]
fn who_does_not_read_or_goes_away_disturbs_nobody() {
    let server = server(2);
    let large = (0..16).map(|key| format!("set large{key} 0 0 60000\r\n{}\r\n", "x".repeat(60_000)));
    ask(&client(&server), large.collect::<String>().as_bytes());
    let gets: String = (0..2000).map(|number| format!("get large{} large{}\r\n", number % 16, number % 7)).collect();
    // They ask for 240 MB each, and read nothing.
    let silent: Vec<TcpStream> = (0..6).map(|_| client(&server)).collect();
    for mut stream in &silent {
        stream.write_all(gets.as_bytes()).expect("it listens");
    }
    let other = client(&server);
    for round in 0..50 {
        let asked = format!("set a{round} 0 0 1\r\nx\r\nset b{round} 0 0 1\r\ny\r\nget a{round} b{round}\r\n");
        let expected =
            format!("STORED\r\nSTORED\r\nVALUE a{round} 0 1\r\nx\r\nVALUE b{round} 0 1\r\ny\r\nEND\r\nMN\r\n");
        assert_eq!(
            ask(&other, asked.as_bytes()).escape_ascii().to_string(),
            expected.as_bytes().escape_ascii().to_string()
        );
        // Some of them leave, with answers under way.
        if round % 10 == 0 {
            let _ = silent[round / 10].shutdown(std::net::Shutdown::Both);
            let mut gone = client(&server);
            gone.write_all(gets.as_bytes()).expect("it listens");
        }
    }
    // The last one reads at last.
    let mut last = &silent[5];
    let one = |key: usize| format!("VALUE large{key} 0 60000\r\n{}\r\n", "x".repeat(60_000));
    for number in 0..2000 {
        let expected = format!("{}{}END\r\n", one(number % 16), one(number % 7));
        let mut answer = vec![0; expected.len()];
        last.read_exact(&mut answer).expect("an answer");
        assert!(answer == expected.as_bytes(), "answer {number}");
    }
    server.stop().expect("it stops");
}

#[test]
fn it_stops_with_clients_that_wait() {
    for reactors in 1..=3 {
        let server = server(reactors);
        let streams: Vec<TcpStream> = (0..20).map(|_| client(&server)).collect();
        for mut stream in &streams {
            stream
                .write_all("set a 0 0 1 noreply\r\nx\r\nget a b c d e f g\r\n".repeat(500).as_bytes())
                .expect("it listens");
        }
        server.stop().expect("it stops");
    }
}
