//! Redis clients over loopback: what takes many steps, and what only one side of a connection sees.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use machine::reactor::Mode;
use qpair_cache::{Options, Server};

fn server() -> Server {
    let options = Options {
        memcache: Vec::new(),
        resp: vec!["127.0.0.1:0".parse().expect("an address")],
        reactors: 1,
        memory: 64 << 20,
        max_value: 1 << 20,
        pool: None,
        users: None,
        eviction: qpair_cache::Eviction::S3Fifo,
        seed: 3,
        mode: Mode::Shared,
        cpus: Vec::new(),
    };
    Server::start(&options).expect("it starts")
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn new(server: &Server) -> Self {
        let stream = TcpStream::connect(server.addresses()[0]).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
        Self(BufReader::new(stream))
    }

    fn send(&mut self, lines: &str) {
        self.0.get_mut().write_all(lines.as_bytes()).expect("it listens");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer");
        line.trim_end().to_owned()
    }

    fn says(&mut self, asked: &str, expected: &str) {
        self.send(&format!("{asked}\r\n"));
        for line in expected.split(' ') {
            assert_eq!(self.line(), line, "of the answer to {asked}");
        }
    }

    /// The strings of an array.
    fn strings(&mut self) -> Vec<String> {
        let count = self.line();
        let count = count.strip_prefix('*').and_then(|count| count.parse().ok());
        let count: usize = count.expect("an array");
        (0..count).map(|_| (self.line(), self.line()).1).collect()
    }
}

#[test]
fn keys_and_scan_find_all_of_many_keys() {
    let server = server();
    let mut client = Client::new(&server);
    let sets: String = (0..30_000).map(|number| format!("SET key-{number} {number}\r\n")).collect();
    client.send(&format!("CLIENT REPLY OFF\r\n{sets}CLIENT REPLY ON\r\n"));
    assert_eq!(client.line(), "+OK");
    client.says("DBSIZE", ":30000");
    client.send("KEYS key-1*9\r\n");
    let found: HashSet<String> = client.strings().into_iter().collect();
    let expected = (0..30_000).map(|n| n.to_string()).filter(|n| n.starts_with('1') && n.ends_with('9'));
    assert_eq!(found, expected.map(|number| format!("key-{number}")).collect());
    let (mut cursor, mut seen, mut steps) = ("0".to_owned(), HashSet::new(), 0);
    loop {
        client.send(&format!("SCAN {cursor} COUNT 1000000\r\n"));
        assert_eq!((client.line(), client.line().len()).0, "*2");
        cursor = client.line();
        seen.extend(client.strings());
        steps += 1;
        if cursor == "0" {
            break;
        }
    }
    assert!(seen.len() == 30_000 && steps >= 30, "{} keys in {steps} steps", seen.len());
    client.send("RANDOMKEY\r\n");
    assert!((client.line(), seen.contains(&client.line())).1);
    // More names than an answer may have.
    let long = "x".repeat(500);
    let sets: String = (0..3000).map(|number| format!("SET {long}{number} 1\r\n")).collect();
    client.send(&format!("CLIENT REPLY OFF\r\n{sets}CLIENT REPLY ON\r\n"));
    assert_eq!(client.line(), "+OK");
    client.send("KEYS *\r\nPING\r\n");
    assert!(client.line().starts_with("-ERR the names of these keys are more than 1 MiB"));
    // What could be compared for ever is not.
    let pattern = format!("*{}b", "x".repeat(250));
    client.send(&format!("KEYS {pattern}\r\nSCAN 0 MATCH {pattern} COUNT 1000\r\nPING\r\n"));
    assert_eq!(client.line(), "+PONG");
    let too_long = "-ERR comparing names with this pattern takes too long";
    assert_eq!([client.line(), client.line(), client.line()], [too_long, too_long, "+PONG"]);
    client.says("FLUSHALL", "+OK");
    client.says("KEYS *", "*0");
    server.stop().expect("it stops");
}

#[test]
fn answers_of_many_large_values_are_given_bit_by_bit() {
    let server = server();
    let mut client = Client::new(&server);
    let value = "v".repeat(30_000);
    client.says(&format!("SET k {value}"), "+OK");
    // 150 MB of answers to 20 kB, and nobody else waits for their end.
    let keys = 5000;
    client.send(&format!("MGET{}\r\nPING\r\n", " k".repeat(keys)));
    Client::new(&server).says("PING", "+PONG");
    assert_eq!(client.line(), format!("*{keys}"));
    let mut one = vec![0; value.len() + b"$30000\r\n\r\n".len()];
    for number in 0..keys {
        client.0.read_exact(&mut one).expect("an answer");
        assert!(one == format!("$30000\r\n{value}\r\n").as_bytes(), "answer {number}");
    }
    assert_eq!(client.line(), "+PONG");
    server.stop().expect("it stops");
}

#[test]
fn a_client_says_what_it_is_and_which_answers_it_wants() {
    let server = server();
    let (mut one, mut two) = (Client::new(&server), Client::new(&server));
    two.says("CLIENT SETNAME two", "+OK");
    one.says("CLIENT SETINFO LIB-NAME lib", "+OK");
    one.says("GET k", "$-1");
    one.says("HELLO 3 SETNAME one", "%7 $6 server $5 redis $7 version $6 7.0.15 $5 proto :3 $2 id :1 $4 mode");
    for _ in 0..8 {
        one.line();
    }
    assert_eq!(one.line(), "*0");
    one.says("GET k", "_");
    one.send("CLIENT LIST\r\n");
    let header = one.line();
    assert!(header.starts_with('='), "{header}");
    let (first, second, end) = (one.line(), one.line(), one.line());
    assert!(
        first.starts_with("txt:id=1 ") && first.contains(" name=one ") && first.contains(" lib-name=lib "),
        "{first}"
    );
    assert!(second.starts_with("id=2 ") && second.contains(" name=two ") && end.is_empty(), "{second}");
    one.says("CLIENT REPLY SKIP\r\nPING\r\nECHO x", "$1 x");
    one.says("CLIENT REPLY OFF\r\nPING\r\nECHO x\r\nCLIENT REPLY ON", "+OK");
    one.says("RESET", "+RESET");
    one.says("GET k", "$-1");
    one.says("QUIT\r\nPING", "+OK");
    assert_eq!(one.0.read(&mut [0]).expect("the end"), 0);
    server.stop().expect("it stops");
}

#[test]
fn a_long_command_in_crumbs_is_one_and_a_deep_pipeline_is_answered() {
    let server = server();
    let mut client = Client::new(&server);
    client.0.get_ref().set_nodelay(true).expect("a socket");
    // Nearly as long as a command may be, in 5,000 pieces.
    let pairs: String =
        (0..3200).map(|number| format!("$5\r\nk{number:04}\r\n$300\r\n{}\r\n", "x".repeat(300))).collect();
    let command = format!("*6401\r\n$4\r\nMSET\r\n{pairs}");
    for crumb in command.as_bytes().chunks(command.len() / 5000) {
        client.0.get_mut().write_all(crumb).expect("it listens");
    }
    assert_eq!(client.line(), "+OK");
    client.says("STRLEN k3199", ":300");
    let gets = "*2\r\n$3\r\nGET\r\n$2\r\nno\r\n".repeat(10_000);
    client.send(&gets);
    for _ in 0..10_000 {
        assert_eq!(client.line(), "$-1");
    }
    server.stop().expect("it stops");
}
