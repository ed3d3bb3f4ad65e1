//! Nine mistakes of other servers, each a test: what it was, and why it cannot happen here.

use std::any::TypeId;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};

use machine::clock::{Coarse, Fine};
use qpair_cache::limits::SHARE_BYTES;
use qpair_cache::{Eviction, Options, PoolFile, Stepper};
use store::{Found, Keep};

use crate::common::{Cache, Client, cache, options};

/// A value that looks like a number was kept as one, and `007` came back as `7`. Here a value is bytes, whatever they
/// are; a command that counts reads them, and writes others.
#[test]
fn mistake_1_values_that_look_like_numbers_are_encoded_anew() {
    for reactors in [1, 2] {
        let cache = cache(reactors);
        let (mut memcache, mut resp) = (Client::memcache(&cache), Client::resp(&cache));
        let values = ["007", "0", "-0", "+5", " 5", "5 ", "1e3", "0x10", "18446744073709551616", "3.0", "00", "-", ""];
        for (number, value) in values.into_iter().enumerate() {
            let (key, bytes) = (format!("k{number}"), value.len());
            let given = format!("VALUE {key} 0 {bytes}\r\n{value}\r\nEND\r\n");
            let bulk = format!("${bytes}\r\n{value}\r\n");
            memcache.says(format!("set {key} 0 0 {bytes}\r\n{value}\r\n"), "STORED\r\n");
            resp.says(format!("GET {key}\r\n"), &bulk);
            resp.says(format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n{bulk}", key.len()), "+OK\r\n");
            memcache.says(format!("get {key}\r\n"), given);
        }
        // Neither does counting change what is not counted, nor how what was stored is given back.
        memcache.says("set n 0 0 3\r\n007\r\nincr n 0\r\n", "STORED\r\n7\r\n");
        memcache.says("set n 0 0 3\r\n007\r\nappend n 0 0 1\r\n0\r\nget n\r\n", {
            "STORED\r\nSTORED\r\nVALUE n 0 4\r\n0070\r\nEND\r\n"
        });
    }
}

/// A table of fixed buckets refused inserts when a third of it was used. Here full buckets go on in others, and the
/// table grows: a set fails only where nothing may be evicted and there is no byte of memory, and then nearly all of it
/// is used.
#[test]
fn mistake_2_an_insert_fails_for_lack_of_slots() {
    const ITEMS: usize = 150_000;
    let sets: String = (0..ITEMS).map(|key| format!("set {key} 0 0 1\r\nx\r\n")).collect();
    let cache = Cache::start(&Options { memory: 2 << 20, ..options() });
    let mut client = Client::memcache(&cache);
    client.says(&sets, "STORED\r\n".repeat(ITEMS));
    let cache = Cache::start(&Options { memory: 2 << 20, eviction: Eviction::None, ..options() });
    let mut client = Client::memcache(&cache);
    let answers = String::from_utf8(client.asks(&sets)).expect("text");
    let stored = answers.lines().take_while(|line| *line == "STORED").count();
    let limit = client.stat("limit_maxbytes");
    let used = client.stat("bytes") + client.stat("hash_bytes");
    assert!(stored < ITEMS && used * 10 >= limit * 9, "after {stored} items {used} of {limit} bytes are used");
}

/// An error line was sent for a `noreply` command, and each answer behind it was taken for that of the next command.
/// Here an outcome passes through one place that knows whether it is wanted; only a line that is no command is answered
/// in any case, as memcached answers it.
#[test]
fn mistake_3_an_error_is_said_where_no_answer_is_wanted() {
    let large = format!("set large 0 0 2000000 noreply\r\n{}\r\n", "x".repeat(2_000_000));
    let quiet = [
        "set a 0 0 1 noreply\r\nx\r\n",
        "add a 0 0 1 noreply\r\nx\r\n",
        "replace none 0 0 1 noreply\r\nx\r\n",
        "append none 0 0 1 noreply\r\nx\r\n",
        "prepend none 0 0 1 noreply\r\nx\r\n",
        "cas a 0 0 1 1 noreply\r\nx\r\n",
        "cas none 0 0 1 1 noreply\r\nx\r\n",
        "incr a 1 noreply\r\n",
        "decr none 1 noreply\r\n",
        "incr a x noreply\r\n",
        "delete none noreply\r\n",
        "touch none 1 noreply\r\n",
        "touch a soon noreply\r\n",
        "set a 0 0 1 noreply\r\nxy\r\n",
        "set a b c 1 noreply\r\n",
        "verbosity 1 noreply\r\n",
        "mg none q\r\n",
        "ms a 1 q\r\nx\r\n",
        "md a q\r\n",
        &large,
        "flush_all noreply\r\n",
    ];
    for reactors in [1, 3] {
        let cache = Cache::start(&Options { reactors, ..options() });
        let mut client = Client::memcache(&cache);
        for asked in quiet {
            // What is behind a value that is too long is a line that is no command.
            let expected: &[u8] = if asked.ends_with("xy\r\n") { b"ERROR\r\n" } else { b"" };
            let said = client.asks(asked);
            assert!(said == expected, "{}: {}", asked[..asked.len().min(60)].trim(), said.escape_ascii());
        }
    }
}

/// One request of a connection was answered in a turn of the loop, and each answer waited for the one before to be
/// acknowledged (Nagle): 300 operations a second. Here one pass answers all that has come, by one send, and sockets
/// send at once.
// Elsewhere than on Linux what one call sends over loopback is not always there for the next one.
#[cfg(unix)]
#[test]
fn mistake_4_a_pipeline_is_answered_one_command_a_turn() {
    let now = Fine::from_nanos(1);
    let mut cache = Stepper::new(&Options::default(), now).expect("memory");
    for (resp, one, miss) in [(false, "get a\r\n", "END\r\n"), (true, "GET a\r\n", "$-1\r\n")] {
        let stream = if resp { cache.connect_resp() } else { cache.connect_memcache() };
        let mut stream = stream.expect("descriptors");
        cache.step(now).expect("a pass");
        stream.write_all(one.repeat(1000).as_bytes()).expect("the socket takes it");
        cache.step(now).expect("a pass");
        let mut answers = vec![0; miss.len() * 1000];
        stream.set_nonblocking(true).expect("a socket");
        // All of it is there: it came by one pass.
        stream.read_exact(&mut answers).expect("all answers");
        assert!(answers == miss.repeat(1000).as_bytes());
    }
}

/// A stream of a million `noreply` sets made the read buffer grow without a bound, and its rest was moved after each
/// command. Here commands are carried out where they were received, and of a connection only the cut one at the end is
/// kept: less than its share of memory, at any time.
#[test]
fn mistake_5_a_stream_of_quiet_sets_makes_a_buffer_grow() {
    let now = Fine::from_nanos(1);
    let mut cache = Stepper::new(&Options::default(), now).expect("memory");
    let mut stream = cache.connect_memcache().expect("descriptors");
    stream.set_nonblocking(true).expect("a socket");
    let mut sets = String::new();
    (0..1_000_000).for_each(|key| write!(sets, "set k{} 0 0 2 noreply\r\nab\r\n", key % 5000).expect("memory"));
    sets += "get k4999\r\n";
    let (mut left, mut passes) = (sets.as_bytes(), 0);
    while !left.is_empty() {
        left = &left[stream.write(left).unwrap_or(0)..];
        cache.step(now).expect("a pass");
        passes += 1;
        assert_eq!(cache.buffered_bytes(), 0, "beyond {SHARE_BYTES} bytes, after {passes} passes");
        assert!(passes < 100_000, "it takes what has come");
    }
    let expected = b"VALUE k4999 0 2\r\nab\r\nEND\r\n";
    let mut answer = [0; 64];
    let bytes = loop {
        match stream.read(&mut answer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => _ = cache.step(now).expect("a pass"),
            read => break read.expect("an answer"),
        }
        passes += 1;
        assert!(passes < 100_000, "it answers");
    };
    assert_eq!(answer[..bytes], expected[..]);
}

/// A free slot in the first bucket was taken before the key was looked for in the second: it stood twice, and after a
/// delete the old value was there. Here the whole chain of a key is looked through before anything is entered.
#[test]
fn mistake_6_a_key_stands_twice_and_its_old_value_comes_back() {
    const KEYS: usize = 30_000;
    let cache = Cache::start(&Options { memory: 16 << 20, ..options() });
    let mut client = Client::memcache(&cache);
    let each = |step: usize, from: usize, line: fn(usize) -> String| -> String {
        (from..KEYS).step_by(step).map(line).collect()
    };
    // Slots become free in all buckets; then keys are changed whose slots lie behind them.
    client.asks(each(1, 0, |key| format!("set {key} 0 0 3 noreply\r\nold\r\n")));
    client.asks(each(2, 0, |key| format!("delete {key} noreply\r\n")));
    client.asks(each(2, 1, |key| format!("set {key} 0 0 3 noreply\r\nnew\r\n")));
    assert_eq!(client.stat("curr_items"), KEYS as u64 / 2);
    let all = |found: &str| -> String {
        let one = |key: usize| if key % 2 == 1 { found.replace("KEY", &key.to_string()) } else { String::new() };
        (0..KEYS).map(|key| one(key) + "END\r\n").collect()
    };
    let gets = each(1, 0, |key| format!("get {key}\r\n"));
    client.says(&gets, all("VALUE KEY 0 3\r\nnew\r\n"));
    client.asks(each(2, 1, |key| format!("delete {key} noreply\r\n")));
    client.says(&gets, all(""));
    assert_eq!(client.stat("curr_items"), 0);
}

/// A clean stop lost what was kept, and a start within two seconds found nothing, and said nothing. Here a stop closes
/// the pool, the next start says how it was found, and at once serves all of it. (`qpair/tests/pool.rs` has signals and
/// kills.)
#[test]
fn mistake_7_a_stop_or_a_quick_start_loses_what_was_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pool");
    for keep in [Keep::Warm, Keep::Durable] {
        let pool = PoolFile { path: path.clone(), keep, refits: true };
        let options = Options { memory: 4 << 20, pool: Some(pool), ..options() };
        for round in 0..5 {
            let cache = Cache::start(&options);
            let found = cache.found().expect("it has a pool").0;
            assert_ne!(found, if round > 0 { Found::New } else { Found::Unclosed });
            assert!(round == 0 || found == Found::Closed, "{found:?}");
            let mut client = Client::memcache(&cache);
            let there: String = (0..round).map(|key| format!("VALUE {key} 0 1\r\nx\r\n")).collect();
            client.says("get 0 1 2 3 4\r\n", there + "END\r\n");
            client.says(format!("set {round} 0 0 1\r\nx\r\n"), "STORED\r\n");
        }
        std::fs::remove_file(&path).expect("the pool");
    }
}

/// Commands were parsed and then answered "not supported", or closed the connection. Here what is parsed is carried
/// out: the type of commands has none that is not.
#[test]
fn mistake_8_commands_are_parsed_and_not_carried_out() {
    let cache = cache(2);
    let mut client = Client::memcache(&cache);
    for (asked, answer) in [
        ("set k 5 0 1\r\nb\r\n", "STORED\r\n"),
        ("append k 0 0 1\r\nc\r\n", "STORED\r\n"),
        ("prepend k 0 0 1\r\na\r\n", "STORED\r\n"),
        ("get k\r\n", "VALUE k 5 3\r\nabc\r\nEND\r\n"),
        ("touch k 100\r\n", "TOUCHED\r\n"),
        ("gat 200 k none\r\n", "VALUE k 5 3\r\nabc\r\nEND\r\n"),
        ("mg k t f s v O9 k\r\n", "VA 3 t200 f5 s3 O9 kk\r\nabc\r\n"),
        ("ms k 2 T0 F7\r\n41\r\n", "HD\r\n"),
        ("ma k v\r\n", "VA 2\r\n42\r\n"),
        ("incr k 8\r\n", "50\r\n"),
        ("mg aw== b t v f\r\n", "VA 2 t-1 f7\r\n50\r\n"),
        ("md k I T30\r\n", "HD\r\n"),
        ("mg k v\r\n", "VA 2 X W\r\n50\r\n"),
        ("mn\r\n", "MN\r\n"),
        ("verbosity 1\r\n", "OK\r\n"),
        ("flush_all\r\n", "OK\r\n"),
        ("get k\r\n", "END\r\n"),
        ("stats reset\r\n", "RESET\r\n"),
    ] {
        client.says(asked, answer);
    }
    assert!(client.asks("gats 0 k\r\nversion\r\n").starts_with(b"END\r\nVERSION "));
}

/// A clock of seconds and a clock of nanoseconds were types of one name, and one was taken for the other. Here there
/// are three types with three names - a moment for measuring, one for deadlines, a date for expiry - and the compiler
/// takes none for another.
#[test]
fn mistake_9_coarse_and_fine_clocks_are_one_type() {
    let types = [TypeId::of::<Fine>(), TypeId::of::<Coarse>(), TypeId::of::<store::Time>()];
    assert!(types[0] != types[1] && types[1] != types[2] && types[0] != types[2]);
    // What they count differs, and none is made of another's numbers without saying so.
    let fine = Fine::from_nanos(1_999_999_999);
    assert_eq!(fine.coarse(), Coarse::from_millis(1999));
}
