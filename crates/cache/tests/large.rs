//! Values larger than what a connection keeps: received to their place, and sent from there.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use machine::reactor::Mode;
use qpair_cache::limits::MAX_VALUE_BYTES;
use qpair_cache::{Options, Server};

fn server(memory: usize, reactors: usize) -> Server {
    let options = Options {
        memcache: vec!["127.0.0.1:0".parse().expect("an address")],
        resp: vec!["127.0.0.1:0".parse().expect("an address")],
        reactors,
        memory,
        pool: None,
        max_value: MAX_VALUE_BYTES,
        users: None,
        eviction: qpair_cache::Eviction::S3Fifo,
        seed: 11,
        mode: Mode::Shared,
        cpus: Vec::new(),
    };
    Server::start(&options).expect("it starts")
}

struct Client(TcpStream);

impl Client {
    fn of(server: &Server) -> Self {
        let stream = TcpStream::connect(server.addresses()[0]).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
        stream.set_write_timeout(Some(Duration::from_secs(60))).expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        Self(stream)
    }

    /// Sends bytes in portions of these sizes, in turns, while the answers are read.
    fn says(&self, asked: &[u8], portions: &[usize], expected: &[u8]) {
        let mut reader = self.0.try_clone().expect("a socket");
        let wanted = expected.len();
        let answers = std::thread::spawn(move || {
            let mut answers = vec![0; wanted];
            reader.read_exact(&mut answers).expect("answers");
            answers
        });
        let (mut at, mut turns) = (0, portions.iter().cycle());
        while at < asked.len() {
            let end = asked.len().min(at + turns.next().expect("it is a cycle"));
            (&self.0).write_all(&asked[at..end]).expect("it is read");
            at = end;
        }
        let answers = answers.join().expect("no panic");
        let differs = answers.iter().zip(expected).position(|(one, two)| one != two);
        assert!(differs.is_none(), "at byte {differs:?} of {wanted}");
    }
}

/// Bytes that tell their place, and their value.
fn value(seed: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at.wrapping_mul(31) ^ at >> 9 ^ seed.wrapping_mul(131)) as u8).collect()
}

fn set(verb: &str, key: &str, value: &[u8]) -> Vec<u8> {
    let line = format!("{verb} {key} 7 0 {}\r\n", value.len());
    [line.as_bytes(), value, b"\r\n"].concat()
}

fn given(key: &str, value: &[u8]) -> Vec<u8> {
    let line = format!("VALUE {key} 7 {}\r\n", value.len());
    [line.as_bytes(), value, b"\r\nEND\r\n"].concat()
}

const SIZES: [usize; 12] = [
    1,
    16 << 10,
    (16 << 10) + 1,
    32_000,
    33_000,
    (64 << 10) - 1,
    (256 << 10) - 30,
    (256 << 10) + 1,
    1 << 20,
    3_000_000,
    MAX_VALUE_BYTES - 1,
    MAX_VALUE_BYTES,
];

/// One stream of sets and gets of all sizes with small ones between, cut in many ways, with one reactor and with two.
#[test]
fn values_of_all_sizes_come_back_however_the_stream_is_cut() {
    for (reactors, portions) in [
        (1, &[usize::MAX][..]),
        (1, &[65_536 + 17, 3, 1, 300_000]),
        (1, &[16_384, 1]),
        (2, &[usize::MAX]),
        (2, &[100_000, 1, 2, 40_000]),
    ] {
        let server = server(128 << 20, reactors);
        let (mut asked, mut expected) = (Vec::new(), Vec::new());
        for (number, bytes) in SIZES.into_iter().enumerate() {
            let (key, value) = (format!("k{number}"), value(number, bytes));
            asked.extend(set("set", &key, &value));
            asked.extend(set("set", "small", b"abc"));
            asked.extend(format!("get {key}\r\nget small\r\n").as_bytes());
            expected.extend(b"STORED\r\nSTORED\r\n");
            expected.extend(given(&key, &value));
            expected.extend(given("small", b"abc"));
        }
        Client::of(&server).says(&asked, portions, &expected);
        server.stop().expect("no panic");
    }
}

/// Each end of a value, and of what follows it, is cut once.
#[test]
fn a_stream_is_cut_at_every_byte_around_a_large_value() {
    let server = server(64 << 20, 1);
    let client = Client::of(&server);
    let value = value(3, 40_000);
    let asked = [&set("set", "k", &value)[..], b"get k\r\nversion\r\n"].concat();
    let version = concat!("VERSION ", env!("CARGO_PKG_VERSION"), "\r\n").as_bytes();
    let expected = [b"STORED\r\n", &given("k", &value)[..], version].concat();
    for cut in (1..30).chain(16_380..16_390).chain(asked.len() - 40..asked.len()) {
        client.says(&asked, &[cut, usize::MAX >> 1], &expected);
    }
    server.stop().expect("no panic");
}

#[test]
fn conditions_are_looked_at_when_the_value_is_whole() {
    let server = server(64 << 20, 1);
    let (slow, fast) = (Client::of(&server), Client::of(&server));
    let (old, new) = (value(1, 100_000), value(2, 100_000));
    let begins = |verb: &str, key: &str| set(verb, key, &new);
    for (verb, before, meanwhile, answer) in [
        ("add", false, true, "NOT_STORED\r\n"),
        ("add", false, false, "STORED\r\n"),
        ("replace", false, true, "STORED\r\n"),
        ("replace", true, false, "STORED\r\n"),
        ("append", false, false, "NOT_STORED\r\n"),
    ] {
        let key = format!("{verb}{before}{meanwhile}");
        let asked = begins(verb, &key);
        if before {
            fast.says(&set("set", &key, &old), &[usize::MAX], b"STORED\r\n");
        }
        (&slow.0).write_all(&asked[..50_000]).expect("it is read");
        // An answer to this connection tells that the server has seen what came before.
        fast.says(b"version\r\n", &[usize::MAX], concat!("VERSION ", env!("CARGO_PKG_VERSION"), "\r\n").as_bytes());
        if meanwhile {
            fast.says(&set("set", &key, &old), &[usize::MAX], b"STORED\r\n");
        }
        slow.says(&asked[50_000..], &[usize::MAX], answer.as_bytes());
        let there = match answer {
            "STORED\r\n" => given(&key, &new),
            _ if meanwhile => given(&key, &old),
            _ => b"END\r\n".to_vec(),
        };
        fast.says(format!("get {key}\r\n").as_bytes(), &[usize::MAX], &there);
    }
    // Both ends of a value.
    let both = [&new[..], &old, &new].concat();
    fast.says(&set("set", "k", &old), &[usize::MAX], b"STORED\r\n");
    fast.says(&set("append", "k", &new), &[70_000], b"STORED\r\n");
    fast.says(&set("prepend", "k", &new), &[70_000], b"STORED\r\n");
    fast.says(b"get k\r\n", &[usize::MAX], &given("k", &both));
    server.stop().expect("no panic");
}

#[test]
fn a_value_that_does_not_end_where_it_should_is_not_stored() {
    let server = server(64 << 20, 1);
    let client = Client::of(&server);
    let value = value(1, 100_000);
    client.says(&set("set", "k", &value), &[usize::MAX], b"STORED\r\n");
    let mut wrong = set("set", "k", &value[1..]);
    wrong.truncate(wrong.len() - 2);
    wrong.extend(b"xxget k\r\n");
    let expected = [b"CLIENT_ERROR bad data chunk\r\n", &given("k", &value)[..]].concat();
    client.says(&wrong, &[30_000], &expected);
    let line = format!("set k 0 0 {} noreply\r\n", 50_000);
    let quiet = [line.as_bytes(), &value[..50_000], b"yy"].concat();
    client.says(&[&quiet[..], b"get k\r\n"].concat(), &[30_000], &given("k", &value));
    server.stop().expect("no panic");
}

fn stat(client: &Client, name: &str) -> u64 {
    (&client.0).write_all(b"stats\r\n").expect("it is read");
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    while !answer.ends_with(b"END\r\n") {
        let bytes = (&client.0).read(&mut part).expect("an answer");
        answer.extend_from_slice(&part[..bytes]);
    }
    let text = String::from_utf8(answer).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
    line.expect("it is told").parse().expect("a number")
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Eight times what may be reserved at once, begun and not ended: the space is there for others afterwards.
#[test]
fn clients_that_leave_in_the_middle_leave_nothing_behind() {
    let server = server(64 << 20, 1);
    let value = value(1, MAX_VALUE_BYTES);
    let client = Client::of(&server);
    for round in 0..10 {
        let begun: Vec<Client> = (0..3).map(|_| Client::of(&server)).collect();
        for (number, client) in begun.iter().enumerate() {
            let asked = set("set", "k", &value);
            (&client.0).write_all(&asked[..1_000_000 * (number + 1) + round]).expect("it is read");
        }
        drop(begun);
        until("they have left", || stat(&client, "curr_connections") == 1);
    }
    client.says(&set("set", "k", &value), &[usize::MAX], b"STORED\r\n");
    client.says(b"get k\r\n", &[usize::MAX], &given("k", &value));
    server.stop().expect("no panic");
}

/// More than half of the memory is never reserved: who asks for it is told, and goes on with the next command.
#[test]
fn too_much_at_once_is_refused_and_skipped() {
    let server = server(64 << 20, 1);
    let value = value(1, MAX_VALUE_BYTES);
    let (asked, half) = (set("set", "k", &value), value.len() / 2);
    let slow: Vec<Client> = (0..3).map(|_| Client::of(&server)).collect();
    for client in &slow {
        (&client.0).write_all(&asked[..half]).expect("it is read");
    }
    let client = Client::of(&server);
    until("they have begun", || stat(&client, "bytes_read") > 3 * half as u64);
    let refused = [b"SERVER_ERROR out of memory storing object\r\n", &given("small", b"abc")[..]].concat();
    client.says(&set("set", "small", b"abc"), &[usize::MAX], b"STORED\r\n");
    client.says(&[&asked[..], b"get small\r\n"].concat(), &[usize::MAX], &refused);
    for client in &slow {
        client.says(&asked[half..], &[usize::MAX], b"STORED\r\n");
    }
    client.says(&asked, &[usize::MAX], b"STORED\r\n");
    server.stop().expect("no panic");
}

/// What a client was answered is what it reads, however late, whatever became of the item.
#[test]
fn a_slow_reader_reads_what_was_there_when_it_asked() {
    let server = server(64 << 20, 1);
    let (slow, fast) = (Client::of(&server), Client::of(&server));
    let sizes = [8 << 20, 300_000, 20_000, 3 << 20];
    let mut expected = Vec::new();
    for (number, bytes) in sizes.into_iter().enumerate() {
        let (key, value) = (format!("k{number}"), value(number, bytes));
        fast.says(&set("set", &key, &value), &[usize::MAX], b"STORED\r\n");
        expected.extend(given(&key, &value));
    }
    (&slow.0).write_all(b"get k0\r\nget k1\r\nget k2\r\nget k3\r\n").expect("it is read");
    until("the first is on its way", || stat(&fast, "get_hits") >= 1);
    for round in 0..3 {
        for (number, bytes) in sizes.into_iter().enumerate() {
            let (key, other) = (format!("other{number}"), value(100 + round, bytes));
            fast.says(&set("set", &key, &other), &[usize::MAX], b"STORED\r\n");
        }
        // It was asked for, and is not read: overwritten, deleted, all gone.
        let (asked, answer) =
            [("set k0 7 0 1\r\nx\r\n", "STORED\r\n"), ("delete k0\r\n", "DELETED\r\n"), ("flush_all\r\n", "OK\r\n")]
                [round];
        fast.says(asked.as_bytes(), &[usize::MAX], answer.as_bytes());
    }
    let first = given("k0", &value(0, sizes[0]));
    let mut answer = vec![0; first.len()];
    (&slow.0).read_exact(&mut answer).expect("an answer");
    assert!(answer == first, "what was lent has changed");
    server.stop().expect("no panic");
}

/// Values of a quarter of the store, an eighth, and small ones: nothing fails, and the last one is there.
#[test]
fn a_full_store_takes_the_largest_values_again_and_again() {
    let server = server(64 << 20, 1);
    let client = Client::of(&server);
    let small: Vec<u8> = (0..20_000).flat_map(|key| set("set", &format!("s{key}"), &value(key, 1000))).collect();
    client.says(&small, &[1 << 20], &b"STORED\r\n".repeat(20_000));
    for round in 0..20 {
        let bytes = [MAX_VALUE_BYTES, 5 << 20, 300_000, 1 << 20][round % 4];
        let (key, value) = (format!("k{}", round % 7), value(round, bytes));
        let asked = [&set("set", &key, &value)[..], format!("get {key}\r\n").as_bytes()].concat();
        client.says(&asked, &[usize::MAX], &[b"STORED\r\n", &given(&key, &value)[..]].concat());
        let more = set("set", &format!("s{round}"), &value[..500]);
        client.says(&more, &[usize::MAX], b"STORED\r\n");
    }
    client.0.shutdown(Shutdown::Both).expect("it is open");
    server.stop().expect("no panic");
}

/// A command of Redis' protocol.
fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    words.iter().for_each(|word| bytes.extend(bulk(word)));
    bytes
}

fn bulk(word: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"].concat()
}

/// The same for Redis clients, with what stands behind a value, in front of it, and with conditions.
#[test]
fn redis_clients_store_and_get_values_of_all_sizes_however_the_stream_is_cut() {
    for portions in [&[usize::MAX][..], &[65_536 + 17, 3, 1, 300_000], &[16_384, 1]] {
        let server = server(128 << 20, 1);
        let client = Client(TcpStream::connect(server.addresses()[1]).expect("it listens"));
        client.0.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
        let (mut asked, mut expected) = (Vec::new(), Vec::new());
        let mut says = |words: &[&[u8]], answer: &[u8]| {
            asked.extend(command(words));
            expected.extend_from_slice(answer);
        };
        for (number, bytes) in SIZES.into_iter().enumerate() {
            let (key, value) = (format!("k{number}"), value(number, bytes));
            let key = key.as_bytes();
            says(&[b"SET", key, &value], b"+OK\r\n");
            says(&[b"GET", key], &bulk(&value));
            says(&[b"set", key, &value[1..], b"NX"], b"$-1\r\n");
            says(&[b"setnx", b"other", &value], if number == 0 { b":1\r\n" } else { b":0\r\n" });
            says(&[b"SET", key, &value[..bytes / 2], b"EX", b"1000", b"GET"], &bulk(&value));
            says(&[b"APPEND", key, &value[bytes / 2..]], format!(":{bytes}\r\n").as_bytes());
            says(&[b"TTL", key], b":1000\r\n");
            says(&[b"SETEX", key, b"500", &value], b"+OK\r\n");
            says(&[b"SET", key, &value, b"EX", b"soon"], b"-ERR value is not an integer or out of range\r\n");
            says(&[b"GETDEL", key], &bulk(&value));
            says(&[b"CLIENT", b"REPLY", b"SKIP"], b"");
            says(&[b"SET", key, &value], b"");
            says(&[b"STRLEN", key], format!(":{bytes}\r\n").as_bytes());
        }
        client.says(&asked, portions, &expected);
        server.stop().expect("no panic");
    }
}
