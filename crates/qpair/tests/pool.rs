//! A cache whose contents outlive it: killed at any moment under load, and started again.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

mod common;

use common::{PATIENCE, Serve, qpair};

/// What a key may be after a kill: its value, or nothing; the last one was asked for last.
type May = Vec<Option<Vec<u8>>>;

/// On the kind of ring that `QPAIR_TEST_RING` names, or that users get.
fn start(pool: &Path, more: &[&str]) -> Serve {
    let listen = ["--listen", "memcache=127.0.0.1:0", "--pool"];
    let ring = std::env::var("QPAIR_TEST_RING").unwrap_or_else(|_| "auto".to_owned());
    let mut cache = qpair(&["cache", "--json", "--ring", &ring]);
    Serve::spawn(cache.args(listen).arg(pool).args(more).stderr(Stdio::null()))
}

fn connect(cache: &Serve) -> TcpStream {
    let address = cache.listening["memcache"][0].as_str().expect("an address");
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.set_nodelay(true).expect("a socket");
    stream
}

fn ask(cache: &Serve, asked: &[u8]) -> String {
    let mut stream = connect(cache);
    stream.write_all(asked).expect("it listens");
    stream.write_all(b"quit\r\n").expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answers, and the end");
    answer
}

/// What a cache takes beside `--memory`, as the README says: the program, and its first connections.
const PROGRAM_BYTES: u64 = 16 << 20;

/// What of a process lies in memory, in bytes, as it says itself.
fn resident(cache: &Serve) -> u64 {
    let mut stream = TcpStream::connect(cache.listening["resp"][0].as_str().expect("an address")).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.write_all(b"INFO memory\r\nQUIT\r\n").expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer, and the end");
    let bytes = answer.lines().find_map(|line| line.strip_prefix("used_memory_rss:")).expect("the system tells it");
    bytes.parse().expect("a number")
}

/// A number of a process, in bytes.
#[cfg(unix)]
fn status(cache: &Serve, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", cache.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("it has memory");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}

/// Fills a cache three times over; bytes of the table and of what eviction remembers then.
fn fill(cache: &Serve) -> u64 {
    let mut stream = connect(cache);
    let mut batch = Vec::new();
    for key in 0..6_000_000u32 {
        write!(batch, "set {key} 0 0 20 noreply\r\n01234567890123456789\r\n").expect("memory takes all");
        if batch.len() > 1 << 20 || key == 5_999_999 {
            stream.write_all(&batch).expect("it listens");
            batch.clear();
        }
    }
    let stats = ask(cache, b"stats\r\n");
    let table = stats.lines().find_map(|line| line.strip_prefix("STAT hash_bytes ")).expect("it is there");
    table.parse().expect("a number")
}

/// What the caches here may use.
const MEMORY: u64 = 96 << 20;

/// Items, the table, what eviction remembers.
#[test]
fn the_memory_of_a_full_cache_is_what_was_allowed() {
    let memory = format!("{}MiB", MEMORY >> 20);
    let listen = ["--listen", "memcache=127.0.0.1:0", "--listen", "resp=127.0.0.1:0"];
    let mut plain = qpair(&["cache", "--json", "--memory", &memory]);
    let cache = Serve::spawn(plain.args(listen).stderr(Stdio::null()));
    // Windows counts the program's file and the system's libraries, too.
    let files = if cfg!(unix) { 0 } else { resident(&cache) };
    fill(&cache);
    let resident = resident(&cache);
    assert!(resident > MEMORY / 8 * 7, "{resident}: it is not full");
    assert!(resident <= files + MEMORY + PROGRAM_BYTES, "{resident} bytes of {files}, {MEMORY} and {PROGRAM_BYTES}");
}

/// The latter two lie in memory, and what the file has for them is not used. Only Linux tells the pages of files from
/// others.
#[cfg(unix)]
#[test]
fn the_memory_of_a_cache_with_a_pool_is_its_table() {
    let dir = tempfile::tempdir().expect("a directory");
    let pool = dir.path().join("cache.pool");
    let memory = format!("{}MiB", MEMORY >> 20);
    let cache = start(&pool, &["--memory", &memory]);
    let table = fill(&cache);
    let (anonymous, file) = (status(&cache, "RssAnon:"), pool.metadata().expect("it is there").len());
    assert!(table > MEMORY / 8, "{table}: it is not full");
    assert!(anonymous <= table + PROGRAM_BYTES, "{anonymous} bytes, {table} of the table");
    assert_eq!(file, MEMORY);
}

#[test]
fn what_was_set_is_there_after_a_kill_and_after_a_stop() {
    let dir = tempfile::tempdir().expect("a directory");
    let pool = dir.path().join("cache.pool");
    for durability in ["warm", "durable"] {
        for reactors in ["1", "2"] {
            let start = || start(&pool, &["--memory", "4MiB", "--durability", durability, "--reactors", reactors]);
            let cache = start();
            assert_eq!(cache.listening["pool"], "new");
            assert_eq!(cache.listening["persists_by"].is_string(), durability == "durable");
            let sets =
                "set a 7 0 3\r\n007\r\nset b 0 0 1\r\nx\r\nset c 0 0 1\r\ny\r\ndelete c\r\nset b 0 100 1\r\nz\r\n";
            assert!(ask(&cache, sets.as_bytes()).ends_with("DELETED\r\nSTORED\r\n"));
            drop(cache);
            let there = "VALUE a 7 3\r\n007\r\nVALUE b 0 1\r\nz\r\nEND\r\n";
            let cache = start();
            assert_eq!(cache.listening["pool"], "unclosed");
            assert_eq!(ask(&cache, b"get a b c\r\n"), there);
            cache.stop();
            let cache = start();
            assert_eq!(cache.listening["pool"], "closed");
            assert_eq!(ask(&cache, b"get a b c\r\n"), there);
            assert_eq!(ask(&cache, b"flush_all\r\n"), "OK\r\n");
            drop(cache);
            let cache = start();
            assert_eq!(ask(&cache, b"get a b c\r\n"), "END\r\n");
            cache.stop();
            std::fs::remove_file(&pool).expect("the pool");
        }
    }
}

#[test]
fn a_pool_that_does_not_fit_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let pool = dir.path().join("cache.pool");
    start(&pool, &["--memory", "4MiB"]).stop();
    let refused = |path: &Path, more: &[&str]| {
        let listen = ["--listen", "memcache=127.0.0.1:0", "--pool"];
        let ended = qpair(&["cache"]).args(listen).arg(path).args(more).output().expect("it starts");
        assert!(!ended.status.success());
        String::from_utf8_lossy(&ended.stderr).into_owned()
    };
    let said = refused(&pool, &["--memory", "8MiB"]);
    assert!(said.contains("the pool is warm, of 4194304 bytes, for 1 store, wanted is warm, of 8388608"), "{said}");
    assert!(said.contains("--resize-pool makes it fit"), "{said}");
    let said = refused(&pool, &["--memory", "4MiB", "--durability", "durable"]);
    assert!(said.contains("wanted is durable"), "{said}");
    let other = dir.path().join("letters");
    std::fs::write(&other, "dear reader").expect("a file");
    let said = refused(&other, &["--memory", "4MiB"]);
    assert!(said.contains("is not a pool") && std::fs::read(&other).expect("the file") == b"dear reader", "{said}");
    let said = refused(dir.path(), &[]);
    assert!(said.contains("this is a directory") && said.contains("cache.pool"), "{said}");
    // Where there is no such device, no file is made in its place: it would be gone with the machine.
    let device = Path::new("/dev/pmem77");
    let said = refused(device, &[]);
    assert!(said.contains("/dev/pmem77: ") && said.contains("Name a file") && !device.exists(), "{said}");
    // A cache that cannot listen has not touched its pool: a power cut would not cost it.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let holds = std::net::TcpListener::bind(taken).expect("it is free again");
    let listens = format!("memcache={taken}");
    let ended = qpair(&["cache", "--memory", "4MiB", "--listen", &listens, "--pool"]).arg(&pool).output();
    assert!(!ended.expect("it starts").status.success());
    drop(holds);
    let running = start(&pool, &["--memory", "4MiB"]);
    assert_eq!(running.listening["pool"], "closed");
    let said = refused(&pool, &["--memory", "4MiB"]);
    assert!(said.contains("another program uses the file"), "{said}");
    running.stop();
}

#[test]
fn nothing_is_answered_from_a_part_of_the_items() {
    let dir = tempfile::tempdir().expect("a directory");
    let pool = dir.path().join("cache.pool");
    let listen = ["--listen", "memcache=127.0.0.1:0", "--listen", "resp=127.0.0.1:0", "--pool"];
    let start = || {
        let arguments = ["--memory", "128MiB", "--eviction", "none"];
        Serve::spawn(qpair(&["cache", "--json"]).args(listen).arg(&pool).args(arguments))
    };
    let cache = start();
    let sets: String = (0..150_000).map(|n| format!("set k{n} 0 0 100 noreply\r\n{n:0100}\r\n")).collect();
    assert_eq!(ask(&cache, format!("set n 0 0 1\r\n5\r\n{sets}").as_bytes()), "STORED\r\n");
    drop(cache);
    let cache = start();
    // The first segments are found last, and these are in the very first one.
    let asked = "add n 0 0 1\r\n1\r\nget n\r\nincr n 1\r\nappend k1 0 0 1\r\nx\r\ndelete k2\r\ntouch k3 100\r\n\
                 set k4 0 0 1\r\ny\r\nget k2 k4\r\nreplace none 0 0 1\r\nz\r\n";
    let answers = "NOT_STORED\r\nVALUE n 0 1\r\n5\r\nEND\r\n6\r\nSTORED\r\nDELETED\r\nTOUCHED\r\nSTORED\r\n\
                   VALUE k4 0 1\r\ny\r\nEND\r\nNOT_STORED\r\n";
    assert_eq!(ask(&cache, asked.as_bytes()), answers);
    cache.stop();
    let cache = start();
    let address = cache.listening["resp"][0].as_str().expect("an address");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let asked = b"PING\r\nSETNX n 9\r\nGET n\r\nAPPEND n 7\r\nSTRLEN k1\r\nEXISTS k2\r\nTTL k5\r\nGET k4\r\nQUIT\r\n";
    stream.write_all(asked).expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answers, and the end");
    assert_eq!(answer, "+PONG\r\n:0\r\n$1\r\n6\r\n:2\r\n:101\r\n:0\r\n:-1\r\n$1\r\ny\r\n+OK\r\n");
    cache.stop();
}

/// Nobody can cut off a file that is mapped on Windows.
#[cfg(unix)]
#[test]
fn a_pool_that_is_cut_off_under_a_running_cache_ends_it_with_a_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let pool = dir.path().join("cache.pool");
    let listen = ["--json", "--listen", "memcache=127.0.0.1:0", "--memory", "4MiB", "--pool"];
    let log = dir.path().join("log");
    let stderr = std::fs::File::create(&log).expect("a file");
    let mut cache = Serve::spawn(qpair(&["cache"]).args(listen).arg(&pool).stderr(stderr));
    assert_eq!(ask(&cache, b"set k 0 0 5\r\nhello\r\n"), "STORED\r\n");
    let file = std::fs::File::options().write(true).open(&pool).expect("the pool");
    file.set_len(5000).expect("it becomes shorter");
    // Nothing is told of what is read or written now: a value of zeros least of all.
    for asked in [&b"get k\r\n"[..], b"set k 0 0 1\r\nx\r\n"] {
        if let Ok(mut stream) = TcpStream::connect(cache.listening["memcache"][0].as_str().expect("an address")) {
            stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
            let _ = stream.write_all(asked);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert!(answer.is_empty(), "{}", answer.escape_ascii());
        }
    }
    assert!(!cache.wait().success());
    let said = std::fs::read_to_string(&log).expect("what it said");
    assert!(said.contains("are lost: the file was cut off"), "{said}");
}

#[test]
fn a_full_pool_refuses_or_evicts_and_is_found_again() {
    let dir = tempfile::tempdir().expect("a directory");
    for (durability, eviction) in [("warm", "none"), ("durable", "none"), ("warm", "s3fifo"), ("durable", "s3fifo")] {
        let pool = dir.path().join(format!("{durability}-{eviction}"));
        let start = || start(&pool, &["--memory", "4MiB", "--durability", durability, "--eviction", eviction]);
        let cache = start();
        // Twice what there is room for; some are large.
        let bytes = |n: usize| if n.is_multiple_of(50) { 60_000 } else { 1000 };
        let sets: String = (0..4000).map(|n| format!("set k{n} 0 0 {0}\r\n{n:00$}\r\n", bytes(n))).collect();
        let answers = ask(&cache, sets.as_bytes());
        let stored: Vec<bool> = answers.lines().map(|line| line == "STORED").collect();
        let refused = answers.lines().filter(|line| *line == "SERVER_ERROR out of memory storing object").count();
        let all = stored.iter().filter(|stored| **stored).count();
        assert_eq!(all + refused, 4000, "{durability} {eviction}");
        assert_eq!(refused > 0, eviction == "none", "{durability} {eviction}: {refused} were refused");
        // What was refused was never there; what was stored is, unless others were to go for new ones.
        let check = |cache: &Serve| {
            let gets: String = (0..4000).map(|n| format!("mg k{n} v\r\n")).collect();
            let answers = ask(cache, gets.as_bytes());
            let mut lines = answers.lines();
            for (n, stored) in stored.iter().enumerate() {
                let line = lines.next().expect("an answer");
                if line == "EN" {
                    assert!(!stored || eviction != "none", "k{n} is gone");
                } else {
                    assert!(*stored && line == format!("VA {}", bytes(n)), "k{n}: {line}");
                    assert_eq!(lines.next().expect("a value"), format!("{n:00$}", bytes(n)));
                }
            }
        };
        check(&cache);
        drop(cache);
        let cache = start();
        assert_eq!(cache.listening["pool"], "unclosed");
        check(&cache);
        // There is room for what comes when something goes.
        let deletes: String = (0..4000).step_by(2).map(|n| format!("delete k{n} noreply\r\n")).collect();
        let value = "x".repeat(1000);
        let sets: String = (0..500).map(|n| format!("set n{n} 0 0 1000\r\n{value}\r\n")).collect();
        assert_eq!(ask(&cache, format!("{deletes}{sets}").as_bytes()), "STORED\r\n".repeat(500));
        cache.stop();
    }
}

#[test]
fn a_pool_is_made_to_fit() {
    let dir = tempfile::tempdir().expect("a directory");
    let pool = dir.path().join("cache.pool");
    let cache = start(&pool, &["--memory", "4MiB"]);
    let sets: String = (0..2000).map(|n| format!("set k{n} {n} 0 4 noreply\r\n{n:04}\r\n")).collect();
    assert_eq!(ask(&cache, format!("{sets}mn\r\n").as_bytes()), "MN\r\n");
    drop(cache);
    let gets: String = (0..2000).map(|n| format!("get k{n}\r\n")).collect();
    let there: String = (0..2000).map(|n| format!("VALUE k{n} {n} 4\r\n{n:04}\r\nEND\r\n")).collect();
    for more in [
        &["--memory", "4MiB", "--reactors", "2"][..],
        &["--memory", "6MiB", "--resize-pool", "--durability", "durable"],
        &["--memory", "6MiB", "--durability", "durable"],
    ] {
        let cache = start(&pool, more);
        assert_eq!(cache.listening["pool"], "closed", "{more:?}");
        assert_eq!(ask(&cache, gets.as_bytes()), there, "{more:?}");
        cache.stop();
    }
}

/// Asks for changes, remembers what was answered, and stops when the server is gone.
fn load(stream: &TcpStream, client: u32, known: &mut HashMap<u32, May>, seed: u64) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let mut writer = stream;
    let mut random = seed | 1;
    let mut line = String::new();
    for round in 0u32.. {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let key = client * 100 + (random >> 8) as u32 % 100;
        let (command, becomes) = match random % 8 {
            0 => (format!("delete k{key}\r\n"), None),
            1 => {
                // Of two changes behind each other, both may be there, or the first, or none.
                let value = format!("{client}.{round}.again");
                (format!("set k{key} 0 0 {}\r\n{value}\r\n", value.len()), Some(value))
            }
            _ => {
                let value = format!("{client}.{round}.{}", "x".repeat((random >> 20) as usize % 3000));
                (format!("set k{key} 0 1000 {}\r\n{value}\r\n", value.len()), Some(value))
            }
        };
        let may = known.entry(key).or_insert_with(|| vec![None]);
        may.push(becomes.map(String::into_bytes));
        if writer.write_all(command.as_bytes()).is_err() {
            return;
        }
        line.clear();
        // An answer that is cut off is none.
        match reader.read_line(&mut line) {
            Ok(_) if line.ends_with("\r\n") => {
                assert!(["STORED\r\n", "DELETED\r\n", "NOT_FOUND\r\n"].contains(&line.as_str()), "{line:?}");
                drop(may.drain(..may.len() - 1));
            }
            _ => return,
        }
    }
}

fn value_of(stream: &mut BufReader<TcpStream>, key: u32) -> Option<Vec<u8>> {
    write!(stream.get_mut(), "get k{key}\r\n").expect("it listens");
    let mut line = String::new();
    stream.read_line(&mut line).expect("an answer");
    let bytes = line.strip_prefix("VALUE ")?.trim_end().rsplit(' ').next()?.parse().expect("a number");
    let mut value = vec![0; bytes];
    stream.read_exact(&mut value).expect("the value");
    for _ in 0..2 {
        stream.read_line(&mut line).expect("the end");
    }
    Some(value)
}

/// Clients that ask for changes until the server is killed; then it is started again and asked for everything.
fn kill_loop(durability: &str, rounds: u32) {
    let dir = tempfile::tempdir().expect("a directory");
    let pool = dir.path().join("cache.pool");
    let mut known: Vec<HashMap<u32, May>> = vec![HashMap::new(); 4];
    let arguments = ["--memory", "8MiB", "--eviction", "none", "--reactors", "2", "--durability", durability];
    for round in 0..rounds {
        let cache = start(&pool, &arguments);
        let mut reader = BufReader::new(connect(&cache));
        for may in known.iter_mut().flat_map(|known| known.iter_mut()) {
            let (key, may) = may;
            let found = value_of(&mut reader, *key);
            assert!(may.contains(&found), "round {round}: k{key} is {:?}", found.map(|value| value.len()));
            *may = vec![found];
        }
        thread::scope(|scope| {
            let streams: Vec<TcpStream> = (0..4).map(|_| connect(&cache)).collect();
            for ((client, known), stream) in (0..).zip(&mut known).zip(&streams) {
                let seed = u64::from(round * 4 + client + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let stream = stream.try_clone().expect("a socket");
                scope.spawn(move || load(&stream, client, known, seed));
            }
            // Any moment is as good as another one.
            thread::sleep(Duration::from_millis(20 + u64::from(round) * 37 % 150));
            drop(cache);
            streams.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        });
    }
}

fn rounds() -> u32 {
    if std::env::var("QPAIR_CAMPAIGN").is_ok_and(|size| size == "full") { 300 } else { 8 }
}

#[test]
fn killed_warm_nothing_answered_is_lost() {
    kill_loop("warm", rounds());
}

#[test]
fn killed_durable_nothing_answered_is_lost() {
    kill_loop("durable", rounds());
}
