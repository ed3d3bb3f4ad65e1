//! Users, over loopback: who is let in, what they may do, and how little strangers get.

use qpair_cache::Options;
use qpair_cache::access::{Rights, Secret, User, Users};
use qpair_cache::limits::{MAX_STRANGER_BYTES, MAX_STRANGER_TOLD};

use crate::common::{Cache, Client, options};

fn user(name: &str, password: &str, read_only: bool, prefixes: &[&str]) -> User {
    let prefixes = prefixes.iter().map(|prefix| prefix.as_bytes().to_vec()).collect();
    let secret = Secret::of(password.as_bytes());
    User { name: name.to_owned(), secret, rights: Rights { read_only, prefixes } }
}

/// With one reactor, or several.
fn server(reactors: usize) -> Cache {
    let users = Users::new(vec![
        user("default", "all", false, &[]),
        user("app", "secret", false, &["app:", "both:"]),
        user("look", "only", true, &[]),
    ]);
    Cache::start(&Options { reactors, memory: 16 << 20, users: Some(users), ..options() })
}

/// A memcached client, by name and password.
fn memcache(server: &Cache, login: &str) -> Client {
    let mut client = Client::memcache(server);
    client.says(format!("set login 0 0 {}\r\n{login}\r\n", login.len()), "STORED\r\n");
    client
}

/// A Redis client, by name and password.
fn resp(server: &Cache, login: &str) -> Client {
    let mut client = Client::resp(server);
    client.says(format!("AUTH {login}\r\n"), "+OK\r\n");
    client
}

#[test]
fn memcached_clients_say_who_they_are_first() {
    let server = server(1);
    let mut client = Client::memcache(&server);
    client.says("get k\r\n", "CLIENT_ERROR unauthenticated\r\n");
    client.says("set k 0 0 9\r\napp wrong\r\n", "CLIENT_ERROR authentication failure\r\n");
    client.says("set k 0 0 3\r\napp\r\n", "CLIENT_ERROR bad authentication token format\r\n");
    let both = "CLIENT_ERROR bad command line termination\r\nCLIENT_ERROR unauthenticated\r\n";
    client.says("set k 0 0 10\r\napp secretxy\r\n", both);
    client.says("set k 0 0 10\r\napp secret\r\nget app:k\r\n", "STORED\r\nEND\r\n");
    client.says("stats settings\r\n", "STAT maxbytes 16777216\r\n");
}

#[test]
fn redis_clients_say_who_they_are_first() {
    let server = server(1);
    let mut client = Client::resp(&server);
    client.says("GET k\r\n", "-NOAUTH Authentication required.\r\n");
    client.says("HELLO 3\r\n", "-NOAUTH HELLO must be called");
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    let mut client = Client::resp(&server);
    client.says("AUTH wrong\r\n", wrong);
    client.says("AUTH app all\r\n", wrong);
    client.says("AUTH all\r\nGET k\r\n", "+OK\r\n$-1\r\n");
    client.says("RESET\r\nGET k\r\n", "+RESET\r\n-NOAUTH Authentication required.\r\n");
    client.says("HELLO 3 AUTH app secret\r\n", "%7\r\n");
}

#[test]
fn memcached_users_do_what_they_may() {
    for reactors in [1, 2] {
        let server = server(reactors);
        let mut all = memcache(&server, "default all");
        let mut app = memcache(&server, "app secret");
        let mut look = memcache(&server, "look only");
        let no = "CLIENT_ERROR this user may not do that\r\n";
        all.says("set k 0 0 1\r\nx\r\nset app:k 0 0 1\r\ny\r\n", "STORED\r\nSTORED\r\n");
        for asked in [
            "get k",
            "get app:k k",
            "gat 0 k",
            "delete k",
            "incr k 1",
            "touch k 0",
            "flush_all",
            "stats reset",
            "mg k v",
            "md k",
            "ma k",
            "me k",
            "set k 0 0 1\r\nx",
            "ms k 1\r\nx",
            "mg aw== b v",
        ] {
            app.says(format!("{asked}\r\n"), no);
        }
        app.says("set k 0 0 1 noreply\r\nz\r\ndelete k noreply\r\nget app:k\r\n", "VALUE app:k 0 1\r\ny\r\nEND\r\n");
        app.says("set both:k 0 0 1\r\nz\r\nmg YXBwOms= b v\r\n", "STORED\r\nVA 1\r\ny\r\n");
        for asked in [
            "gat 0 k",
            "delete k",
            "incr k 1",
            "touch k 0",
            "flush_all",
            "mg k T30",
            "mg k N30",
            "md k I",
            "ma k",
            "append k 0 0 1\r\nx",
            "ms k 1\r\nx",
        ] {
            look.says(format!("{asked}\r\n"), no);
        }
        look.says("get k app:k\r\n", "VALUE k 0 1\r\nx\r\nVALUE app:k 0 1\r\ny\r\nEND\r\n");
        look.says("mg k v\r\n", "VA 1\r\nx\r\n");
        // It sees that a value is stale, and takes the task to make a new one from nobody.
        all.says("md k I\r\n", "HD\r\n");
        look.says("mg k v\r\nmg k v\r\n", "VA 1 X\r\nx\r\nVA 1 X\r\nx\r\n");
        all.says("mg k v\r\n", "VA 1 X W\r\nx\r\n");
        look.says("mg k v\r\n", "VA 1 Z X\r\nx\r\n");
        all.says("set k 0 0 1\r\nx\r\n", "STORED\r\n");
        let large = "x".repeat(300_000);
        look.says(format!("set k 0 0 300000\r\n{large}\r\n"), no);
        app.says(format!("set k 0 0 300000\r\n{large}\r\n"), no);
        // What is too large takes nothing away from others.
        look.says("set k 0 0 20000000\r\n", "SERVER_ERROR object too large for cache\r\n");
        all.says("get k\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n");
    }
}

#[test]
fn redis_users_do_what_they_may() {
    for reactors in [1, 2] {
        redis_users(&server(reactors));
    }
}

fn redis_users(server: &Cache) {
    let mut all = resp(server, "default all");
    let mut app = resp(server, "app secret");
    let mut look = resp(server, "look only");
    all.says("SET k x\r\nSET app:k y\r\n", "+OK\r\n+OK\r\n");
    let no_key = "-NOPERM this user has no permissions to access one of the keys used as arguments\r\n";
    for asked in ["GET k", "SET k z", "MGET app:k k", "DEL k", "EXISTS k"] {
        app.says(format!("{asked}\r\n"), no_key);
    }
    app.says("FLUSHALL\r\n", "-NOPERM this user has no permissions to run the 'flushall' command\r\n");
    app.says("DBSIZE\r\n", "-NOPERM this user has no permissions to run the 'dbsize' command\r\n");
    app.says("GET app:k\r\nSET both:k z\r\nPING\r\n", "$1\r\ny\r\n+OK\r\n+PONG\r\n");
    look.says("SET k z\r\n", "-NOPERM this user has no permissions to run the 'set' command\r\n");
    look.says("FLUSHALL\r\n", "-NOPERM this user has no permissions to run the 'flushall' command\r\n");
    look.says("GET k\r\nDBSIZE\r\n", "$1\r\nx\r\n:3\r\n");
}

/// CVE-2021-32675, CVE-2025-21605: who has not said who it is makes the server keep little, and say little.
#[test]
fn strangers_are_listened_to_for_16_kib_and_told_4_kib() {
    let server = server(1);
    let endless: [(usize, &[u8]); 8] = [
        (0, b"get a\r\n"),
        (0, b"x"),
        (0, b"get a b c d e f g h i j k l m n o p q r s t u v w x y z"),
        (0, b"set a 0 0 9\r\napp wrong\r\n"),
        (0, b"set a 0 0 1000000\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n"),
        (1, b"PING\r\n"),
        (1, b"RESET\r\n"),
        (1, b"*1\r\n$16000\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ];
    for (listener, bytes) in endless {
        // As much as it takes at most, with what lies in the sockets, and an end.
        let mut left = (64 << 20) / bytes.len();
        let said = Client::at(server.addresses()[listener]).while_it_listens(|| {
            left = left.checked_sub(100).expect("it reads more than it should");
            Some(bytes.repeat(100))
        });
        assert!(said.len() <= MAX_STRANGER_TOLD, "{}: {} bytes", bytes.escape_ascii(), said.len());
    }
    // So much is read of them, and what is behind is not: it says who it is too late.
    let mut late = b"get a\r\n".repeat(100);
    late.extend(b" ".repeat(MAX_STRANGER_BYTES));
    late.extend_from_slice(b"\r\nset a 0 0 10\r\napp secret\r\nget app:a\r\n");
    let said = Client::memcache(&server).finish(late);
    assert!(!String::from_utf8_lossy(&said).contains("STORED"), "{}", said.escape_ascii());
    let mut other = memcache(&server, "default all");
    other.says("set k 0 0 1\r\nx\r\n", "STORED\r\n");
}
