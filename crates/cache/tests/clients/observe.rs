//! What was done is counted, timed and logged, whichever reactor has done it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use qpair_cache::{CommandLog, Kind, Options, Outcome, Totals};

use crate::common::{Cache, Client, cache, options};

/// Starts one of so many reactors, has this done to it and stops it; what it says it has done.
fn after(reactors: usize, log: Option<CommandLog>, work: impl FnOnce(&Cache)) -> Totals {
    let cache = Cache::start(&Options { reactors, log, ..options() });
    work(&cache);
    let observer = cache.observer();
    drop(cache);
    observer.totals()
}

const SCRIPT: &str = "\
set a 0 0 1\r\n1\r\nset b 0 0 1 noreply\r\n1\r\nadd a 0 0 1\r\n2\r\nadd c 0 0 1 noreply\r\n2\r\n\
replace none 0 0 1\r\n3\r\ncas a 0 0 1 1\r\nx\r\ncas none 0 0 1 1\r\nx\r\nget a\r\nget a b none\r\ngets a\r\n\
gat 0 a none\r\nincr a 1\r\nincr none 1\r\ndecr b 1\r\nincr c x\r\nappend a 0 0 1\r\n1\r\n\
prepend none 0 0 1\r\n1\r\ntouch a 0\r\ntouch none 0\r\ndelete b\r\ndelete none noreply\r\nmg a v\r\n\
mg none v q\r\nmg none\r\nms d 1 q\r\n1\r\nms d 1 ME\r\n1\r\nmd d q\r\nmd none\r\nma a\r\nme a\r\nnonsense\r\n\
version\r\nverbosity 1\r\nflush_all 100\r\nstats\r\nstats reset\r\n";

const OPERATIONS: &[(&str, &str, u64)] = &[
    ("set", "stored", 2),
    ("add", "not_stored", 1),
    ("add", "stored", 1),
    ("replace", "not_stored", 1),
    ("cas", "exists", 1),
    ("cas", "miss", 1),
    ("get", "hit", 3),
    ("get", "miss", 1),
    ("gets", "hit", 1),
    ("gat", "hit", 1),
    ("gat", "miss", 1),
    ("incr", "hit", 1),
    ("incr", "miss", 1),
    ("decr", "hit", 1),
    ("append", "stored", 1),
    ("prepend", "not_stored", 1),
    ("touch", "hit", 1),
    ("touch", "miss", 1),
    ("delete", "hit", 1),
    ("delete", "miss", 1),
    ("mg", "hit", 1),
    ("mg", "miss", 2),
    ("ms", "stored", 1),
    ("ms", "not_stored", 1),
    ("md", "hit", 1),
    ("md", "miss", 1),
    ("ma", "hit", 1),
    ("me", "hit", 1),
    // `incr c x`, which has no number, and what is no command.
    ("refused", "error", 2),
    ("version", "ok", 1),
    ("verbosity", "ok", 1),
    ("flush_all", "ok", 1),
    ("stats", "ok", 2),
    ("mn", "ok", 1),
];

const RESP_SCRIPT: &str = "\
SET a 1\r\nSET a 2 NX\r\nSET b 2 EX 100\r\nGET a\r\nGET none\r\nMGET a b none\r\nMSET c 1 d 2\r\nINCR a\r\n\
INCR b\r\nAPPEND a 1\r\nSTRLEN a\r\nGETDEL d\r\nEXISTS a b none\r\nEXPIRE a 100\r\nEXPIRE none 100\r\n\
TTL none\r\nTYPE none\r\nDEL a none\r\nUNLINK b\r\nnonsense\r\nGET\r\nSET a 1 maybe\r\nPING\r\nCLIENT ID\r\n\
DBSIZE\r\nFLUSHALL\r\nINFO server\r\nCONFIG RESETSTAT\r\n";

const RESP_OPERATIONS: &[(&str, &str, u64)] = &[
    ("set", "stored", 2),
    ("set", "not_stored", 1),
    ("set", "error", 1),
    ("get", "hit", 3),
    ("get", "miss", 2),
    ("get", "error", 1),
    ("mset", "stored", 2),
    ("incr", "stored", 2),
    ("append", "stored", 1),
    ("strlen", "hit", 1),
    ("getdel", "hit", 1),
    ("exists", "hit", 2),
    ("exists", "miss", 1),
    ("expire", "hit", 1),
    ("expire", "miss", 1),
    ("ttl", "miss", 1),
    ("type", "miss", 1),
    ("del", "hit", 1),
    ("del", "miss", 1),
    ("unlink", "hit", 1),
    ("unknown", "error", 1),
    ("ping", "ok", 1),
    ("subcommand", "ok", 2),
    ("dbsize", "ok", 1),
    ("flushall", "ok", 1),
    ("info", "ok", 1),
    ("echo", "ok", 1),
];

type Operations = BTreeMap<(String, String), u64>;

fn operations(totals: &Totals, of: &str) -> Operations {
    let all = totals.operations.iter().filter(|(protocol, ..)| *protocol == of);
    all.map(|(_, verb, outcome, count)| (((*verb).to_owned(), outcome.name().to_owned()), *count)).collect()
}

fn expected(all: &[(&str, &str, u64)]) -> Operations {
    all.iter().map(|(verb, outcome, count)| (((*verb).to_owned(), (*outcome).to_owned()), *count)).collect()
}

#[test]
fn operations_are_what_clients_did() {
    for reactors in [1, 2, 3] {
        let totals = after(reactors, None, |cache| {
            Client::memcache(cache).asks(SCRIPT);
            Client::resp(cache).asks_resp(RESP_SCRIPT);
        });
        assert_eq!(operations(&totals, "memcache"), expected(OPERATIONS), "{reactors}");
        assert_eq!(operations(&totals, "resp"), expected(RESP_OPERATIONS), "{reactors}");
    }
}

#[test]
fn some_commands_are_timed() {
    for reactors in [1, 2] {
        let totals = after(reactors, None, |cache| {
            let mut client = Client::memcache(cache);
            for key in 0..500 {
                client.says(format!("set k{key} 0 0 1\r\n1\r\nget k{key}\r\ndelete k{key}\r\nversion\r\n"), {
                    format!("STORED\r\nVALUE k{key} 0 1\r\n1\r\nEND\r\nDELETED\r\nVERSION 0.1.0\r\n")
                });
            }
        });
        for (kind, latencies) in Kind::ALL.into_iter().zip(totals.latencies) {
            // One receive in sixteen, by chance: some of 500 to all but certainly not all of them.
            assert!((1..400).contains(&latencies.count()), "{kind:?}: {latencies:?}");
            assert!(latencies.nanos > 0, "{kind:?}");
        }
    }
}

#[test]
fn what_clients_are_told_is_what_is_counted() {
    for reactors in [1, 2] {
        let (mut told, mut info) = (BTreeMap::new(), BTreeMap::new());
        let totals = after(reactors, None, |cache| {
            let mut client = Client::memcache(cache);
            client.asks("set a 0 0 1\r\n1\r\nget a\r\nstats reset\r\nget none\r\n");
            client.asks((0..50).map(|key| format!("set k{key} 0 0 1\r\n1\r\nget k{key}\r\n")).collect::<String>());
            Client::resp(cache).asks_resp("GET k1\r\nGET none\r\n");
            let text = String::from_utf8(client.asks("stats\r\n")).expect("text");
            let stats = text.lines().filter_map(|line| line.strip_prefix("STAT ")?.split_once(' '));
            told = stats.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let text = String::from_utf8(Client::resp(cache).asks_resp("INFO\r\n")).expect("text");
            let lines = text.lines().filter_map(|line| line.split_once(':'));
            info = lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        });
        // They were set back once; what is counted was not.
        let is = |name: &str, value: u64| assert_eq!(told[name], value.to_string(), "{name}");
        is("get_hits", 51);
        is("get_misses", 2);
        is("cmd_set", 50);
        is("curr_items", 51);
        assert_eq!((totals.counters.get_hits, totals.counters.get_misses, totals.counters.cmd_set), (52, 2, 51));
        for (stat, line) in [
            ("get_hits", "keyspace_hits"),
            ("get_misses", "keyspace_misses"),
            ("evictions", "evicted_keys"),
            ("reclaimed", "expired_keys"),
            ("limit_maxbytes", "maxmemory"),
        ] {
            assert_eq!(told[stat], info[line], "{stat}");
        }
        assert_eq!(info["maxmemory"], totals.figures.bytes.to_string());
        assert_eq!(totals.figures.items, 51);
    }
}

/// The lines of a log, without their times and ports.
fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a log");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("time,client,protocol,verb,key,ttl,outcome,bytes"));
    lines
        .map(|line| {
            let words: Vec<&str> = line.split(',').collect();
            assert!(words.len() == 8 && words[0].parse::<f64>().is_ok_and(|time| time > 1e9), "{line}");
            assert!(words[1].starts_with("127.0.0.1:"), "{line}");
            words[2..].join(",")
        })
        .collect()
}

#[test]
fn a_log_has_every_command() {
    for reactors in [1, 2] {
        let folder = tempfile::tempdir().expect("a folder");
        let log = CommandLog { every: 1, ..CommandLog::new(folder.path().join("log.csv")) };
        let path = log.path.clone();
        after(reactors, Some(log), |cache| {
            let mut client = Client::memcache(cache);
            client.asks("set a,b 0 60 5\r\nhello\r\nget a,b\r\nget none\r\nadd a,b 0 0 1\r\n1\r\ndelete a,b\r\n");
            // A large value comes to its place first.
            client.asks(format!("set large 0 0 100000\r\n{}\r\nget large\r\n", "x".repeat(100_000)));
            client.asks("get \x1b\x07\r\nincr large 1\r\n");
            let mut client = Client::resp(cache);
            client
                .asks_resp("SET \"a\\nb\\xff\" hello EX 60\r\nGET \"a\\nb\\xff\"\r\nDEL \"a\\nb\\xff\" c\r\nPING\r\n");
            let large = format!("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n$100000\r\n{}\r\n", "x".repeat(100_000));
            client.asks_resp(large);
            // The address of a value that is not there does not matter, nor does a password.
            client.asks_resp("AUTH default secret\r\n");
        });
        let mut found = lines(&path);
        assert!(found.iter().all(|line| !line.contains("secret")), "{found:?}");
        // Each of several keys has a line; what another reactor found of them is not in it.
        let several = |line: &str| line.starts_with("resp,del,");
        assert_eq!(found.iter().filter(|line| several(line)).count(), 2, "{found:?}");
        found.retain(|line| !several(line));
        let mut wanted = vec![
            "memcache,set,a\\x2cb,60,stored,5",
            "memcache,get,a\\x2cb,,hit,5",
            "memcache,get,none,,miss,",
            "memcache,add,a\\x2cb,0,not_stored,1",
            "memcache,delete,a\\x2cb,,hit,",
            "memcache,set,large,0,stored,100000",
            "memcache,get,large,,hit,100000",
            "memcache,get,\\x1b\\x07,,miss,",
            "memcache,incr,large,,error,",
            "resp,set,a\\x0ab\\xff,60,stored,5",
            "resp,get,a\\x0ab\\xff,,hit,5",
            "resp,ping,,,ok,",
            "resp,set,large,0,stored,100000",
            "resp,auth,,,ok,",
            "memcache,mn,,,ok,",
            "memcache,mn,,,ok,",
            "memcache,mn,,,ok,",
            "resp,echo,,,ok,",
            "resp,echo,,,ok,",
            "resp,echo,,,ok,",
        ];
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{reactors}");
    }
}

#[test]
fn a_log_has_some_commands_and_no_folder_stops_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = CommandLog { every: 10, ..CommandLog::new(folder.path().join("log.csv")) };
    let path = log.path.clone();
    let work = |cache: &Cache| {
        Client::memcache(cache).asks("get a\r\n".repeat(10_000));
    };
    after(2, Some(log.clone()), work);
    let found = lines(&path).len();
    assert!((900..1100).contains(&found), "{found}");
    let nowhere = CommandLog { path: folder.path().join("none").join("log.csv"), ..log };
    let cache = Cache::start(&Options { log: Some(nowhere), ..options() });
    work(&cache);
    let observer = cache.observer();
    drop(cache);
    let (logged, totals) = (observer.logged().expect("there is one"), observer.totals());
    assert_eq!(logged.lines, 0);
    assert!(logged.lost + totals.gauges.log_dropped > 900, "{logged:?}");
    assert_eq!(operations(&totals, "memcache")[&("get".to_owned(), Outcome::Miss.name().to_owned())], 10_000);
}

#[test]
fn connections_of_all_reactors_are_told() {
    for reactors in [1, 2] {
        let cache = cache(reactors);
        let mut clients: Vec<Client> = (0..5).map(|_| Client::memcache(&cache)).collect();
        clients.iter_mut().for_each(|client| client.says("mn\r\n", "MN\r\n"));
        let mut resp = Client::resp(&cache);
        resp.says("PING\r\n", "+PONG\r\n");
        let text = String::from_utf8(clients[0].until("stats conns\r\n", b"END\r\n")).expect("text");
        let named = |name: &str| text.lines().filter(|line| line.contains(name)).count();
        // Two that listen.
        assert_eq!((named(":addr tcp:"), named(":state "), named(":state conn_listening")), (8, 8, 2), "{text}");
        assert_eq!((named(":listen_addr tcp:"), named(":secs_since_last_cmd ")), (6, 6), "{text}");
        for client in clients.iter().chain([&resp]) {
            let address = client.socket().local_addr().expect("an address");
            assert_eq!(named(&format!(":addr tcp:{address}")), 1, "{text}");
        }
        let mut numbers: Vec<&str> = text.lines().filter_map(|line| line.split_once(":state")).map(|it| it.0).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 8, "{text}");
        let text = String::from_utf8(resp.asks_resp("INFO all\r\nINFO\r\n")).expect("text");
        for (line, count) in [
            ("cmdstat_ping:calls=1,rejected_calls=0,failed_calls=0", 1),
            ("instantaneous_ops_per_sec:", 2),
            ("used_cpu_user:", 2),
            ("maxmemory_human:6", 2),
            ("loading:0", 2),
            ("# Latencystats", 1),
        ] {
            assert_eq!(text.lines().filter(|found| found.starts_with(line)).count(), count, "{line}: {text}");
        }
    }
}
