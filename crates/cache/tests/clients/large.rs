//! Values larger than what a connection keeps: received to their place, and sent from there.

use qpair_cache::Options;
use qpair_cache::limits::MAX_VALUE_BYTES;

use crate::common::{Cache, Client, options, until};

fn server(memory: usize, reactors: usize) -> Cache {
    Cache::start(&Options { reactors, memory, max_value: MAX_VALUE_BYTES, ..options() })
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
        Client::memcache(&server).says_in(&asked, portions, &expected);
    }
}

/// Each end of a value, and of what follows it, is cut once.
#[test]
fn a_stream_is_cut_at_every_byte_around_a_large_value() {
    let server = server(64 << 20, 1);
    let mut client = Client::memcache(&server);
    let value = value(3, 40_000);
    let asked = [&set("set", "k", &value)[..], b"get k\r\nversion\r\n"].concat();
    let version = concat!("VERSION ", env!("CARGO_PKG_VERSION"), "\r\n").as_bytes();
    let expected = [b"STORED\r\n", &given("k", &value)[..], version].concat();
    for cut in (1..30).chain(16_380..16_390).chain(asked.len() - 40..asked.len()) {
        client.says_in(&asked, &[cut, usize::MAX], &expected);
    }
}

#[test]
fn conditions_are_looked_at_when_the_value_is_whole() {
    let server = server(64 << 20, 1);
    let (mut slow, mut fast) = (Client::memcache(&server), Client::memcache(&server));
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
            fast.says(set("set", &key, &old), b"STORED\r\n");
        }
        slow.send(&asked[..50_000]);
        // An answer to this connection tells that the server has seen what came before.
        fast.says(b"version\r\n", concat!("VERSION ", env!("CARGO_PKG_VERSION"), "\r\n").as_bytes());
        if meanwhile {
            fast.says(set("set", &key, &old), b"STORED\r\n");
        }
        slow.says(&asked[50_000..], answer.as_bytes());
        let there = match answer {
            "STORED\r\n" => given(&key, &new),
            _ if meanwhile => given(&key, &old),
            _ => b"END\r\n".to_vec(),
        };
        fast.says(format!("get {key}\r\n").as_bytes(), &there);
    }
    // Both ends of a value.
    let both = [&new[..], &old, &new].concat();
    fast.says(set("set", "k", &old), b"STORED\r\n");
    fast.says_in(set("append", "k", &new), &[70_000], b"STORED\r\n");
    fast.says_in(set("prepend", "k", &new), &[70_000], b"STORED\r\n");
    fast.says(b"get k\r\n", given("k", &both));
}

#[test]
fn a_value_that_does_not_end_where_it_should_is_not_stored() {
    let server = server(64 << 20, 1);
    let mut client = Client::memcache(&server);
    let value = value(1, 100_000);
    client.says(set("set", "k", &value), b"STORED\r\n");
    let mut wrong = set("set", "k", &value[1..]);
    wrong.truncate(wrong.len() - 2);
    wrong.extend(b"xxget k\r\n");
    let expected = [b"CLIENT_ERROR bad data chunk\r\n", &given("k", &value)[..]].concat();
    client.says_in(&wrong, &[30_000], &expected);
    let line = format!("set k 0 0 {} noreply\r\n", 50_000);
    let quiet = [line.as_bytes(), &value[..50_000], b"yy"].concat();
    client.says_in([&quiet[..], b"get k\r\n"].concat(), &[30_000], given("k", &value));
}

/// Eight times what may be reserved at once, begun and not ended: the space is there for others afterwards.
#[test]
fn clients_that_leave_in_the_middle_leave_nothing_behind() {
    let server = server(64 << 20, 1);
    let value = value(1, MAX_VALUE_BYTES);
    let mut client = Client::memcache(&server);
    for round in 0..10 {
        let begun: Vec<Client> = (0..3).map(|_| Client::memcache(&server)).collect();
        for (number, client) in begun.iter().enumerate() {
            let asked = set("set", "k", &value);
            client.send(&asked[..1_000_000 * (number + 1) + round]);
        }
        drop(begun);
        until("they have left", || client.stat("curr_connections") == 1);
    }
    client.says(set("set", "k", &value), b"STORED\r\n");
    client.says(b"get k\r\n", given("k", &value));
}

/// More than half of the memory is never reserved: who asks for it is told, and goes on with the next command.
#[test]
fn too_much_at_once_is_refused_and_skipped() {
    let server = server(64 << 20, 1);
    let value = value(1, MAX_VALUE_BYTES);
    let (asked, half) = (set("set", "k", &value), value.len() / 2);
    let mut slow: Vec<Client> = (0..3).map(|_| Client::memcache(&server)).collect();
    for client in &slow {
        client.send(&asked[..half]);
    }
    let mut client = Client::memcache(&server);
    until("they have begun", || client.stat("bytes_read") > 3 * half as u64);
    let refused = [b"SERVER_ERROR out of memory storing object\r\n", &given("small", b"abc")[..]].concat();
    client.says(set("set", "small", b"abc"), b"STORED\r\n");
    client.says([&asked[..], b"get small\r\n"].concat(), &refused);
    for client in &mut slow {
        client.says(&asked[half..], b"STORED\r\n");
    }
    client.says(&asked, b"STORED\r\n");
}

/// What a client was answered is what it reads, however late, whatever became of the item.
#[test]
fn a_slow_reader_reads_what_was_there_when_it_asked() {
    let server = server(64 << 20, 1);
    let (mut slow, mut fast) = (Client::memcache(&server), Client::memcache(&server));
    let sizes = [8 << 20, 300_000, 20_000, 3 << 20];
    let mut expected = Vec::new();
    for (number, bytes) in sizes.into_iter().enumerate() {
        let (key, value) = (format!("k{number}"), value(number, bytes));
        fast.says(set("set", &key, &value), b"STORED\r\n");
        expected.extend(given(&key, &value));
    }
    slow.send(b"get k0\r\nget k1\r\nget k2\r\nget k3\r\n");
    until("the first is on its way", || fast.stat("get_hits") >= 1);
    for round in 0..3 {
        for (number, bytes) in sizes.into_iter().enumerate() {
            let (key, other) = (format!("other{number}"), value(100 + round, bytes));
            fast.says(set("set", &key, &other), b"STORED\r\n");
        }
        // It was asked for, and is not read: overwritten, deleted, all gone.
        let (asked, answer) =
            [("set k0 7 0 1\r\nx\r\n", "STORED\r\n"), ("delete k0\r\n", "DELETED\r\n"), ("flush_all\r\n", "OK\r\n")]
                [round];
        fast.says(asked.as_bytes(), answer.as_bytes());
    }
    let first = given("k0", &value(0, sizes[0]));
    assert!(slow.bytes(first.len()) == first, "what was lent has changed");
}

/// Values of a quarter of the store, an eighth, and small ones: nothing fails, and the last one is there.
#[test]
fn a_full_store_takes_the_largest_values_again_and_again() {
    let server = server(64 << 20, 1);
    let mut client = Client::memcache(&server);
    let small: Vec<u8> = (0..20_000).flat_map(|key| set("set", &format!("s{key}"), &value(key, 1000))).collect();
    client.says_in(&small, &[1 << 20], b"STORED\r\n".repeat(20_000));
    for round in 0..20 {
        let bytes = [MAX_VALUE_BYTES, 5 << 20, 300_000, 1 << 20][round % 4];
        let (key, value) = (format!("k{}", round % 7), value(round, bytes));
        let asked = [&set("set", &key, &value)[..], format!("get {key}\r\n").as_bytes()].concat();
        client.says(&asked, [b"STORED\r\n", &given(&key, &value)[..]].concat());
        let more = set("set", &format!("s{round}"), &value[..500]);
        client.says(&more, b"STORED\r\n");
    }
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
        let mut client = Client::resp(&server);
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
            says(&[b"SET", key, &value[..bytes / 2], b"EXAT", b"4000000000", b"GET"], &bulk(&value));
            says(&[b"APPEND", key, &value[bytes / 2..]], format!(":{bytes}\r\n").as_bytes());
            says(&[b"EXPIRETIME", key], b":4000000000\r\n");
            says(&[b"SETEX", key, b"500", &value], b"+OK\r\n");
            says(&[b"SET", key, &value, b"EX", b"soon"], b"-ERR value is not an integer or out of range\r\n");
            says(&[b"GETDEL", key], &bulk(&value));
            says(&[b"CLIENT", b"REPLY", b"SKIP"], b"");
            says(&[b"SET", key, &value], b"");
            says(&[b"STRLEN", key], format!(":{bytes}\r\n").as_bytes());
        }
        client.says_in(&asked, portions, &expected);
    }
}
