//! Several reactors answer as one does: over loopback, whatever they ask of each other.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use machine::reactor::Mode;
use qpair_cache::{Options, Server};

fn server(reactors: usize) -> Server {
    let options = Options {
        memcache: vec!["127.0.0.1:0".parse().expect("an address")],
        resp: Vec::new(),
        reactors,
        memory: 64 << 20,
        evicts: true,
        seed: 11,
        mode: Mode::Shared,
        cpus: Vec::new(),
    };
    Server::start(&options).expect("it starts")
}

fn client(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.addresses()[0]).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
    stream.set_nodelay(true).expect("a socket");
    stream
}

/// Sends commands, reading meanwhile; all answers up to that of an `mn` behind them.
fn ask(stream: &TcpStream, asked: &[u8]) -> Vec<u8> {
    let (mut writer, mut reader) = (stream.try_clone().expect("a socket"), stream);
    let (mut answers, mut part) = (Vec::new(), [0; 64 << 10]);
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(&[asked, b"mn\r\n"].concat()).expect("it listens"));
        while !answers.ends_with(b"MN\r\n") {
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
}

#[test]
fn several_answer_as_one_does() {
    let servers: Vec<Server> = (1..=3).map(server).collect();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let servers = &servers;
            scope.spawn(move || {
                let streams: Vec<TcpStream> = servers.iter().map(client).collect();
                let mut chance = Chance(0x9e37_79b9_7f4a_7c15 + number as u64);
                for round in 0..40 {
                    let asked = chance.pipeline(number);
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
