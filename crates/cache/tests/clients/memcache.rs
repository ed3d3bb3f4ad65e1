//! The cache over loopback, by a client that writes what it likes.

use std::io::Write;

use qpair_cache::{Eviction, Options};

use crate::common::{Cache, Client, options};

const MEMORY: usize = 64 << 20;

fn server() -> Cache {
    with(MEMORY, Eviction::S3Fifo)
}

fn with(memory: usize, eviction: Eviction) -> Cache {
    Cache::start(&Options { memory, eviction, max_value: 64 << 10, ..options() })
}

#[test]
fn what_is_set_is_got_by_everybody() {
    let server = server();
    let (mut one, mut two) = (Client::memcache(&server), Client::memcache(&server));
    one.says(b"get k\r\n", b"END\r\n");
    one.says(b"set k 7 0 3\r\n007\r\n", b"STORED\r\n");
    two.says(b"get k no k\r\n", b"VALUE k 7 3\r\n007\r\nVALUE k 7 3\r\n007\r\nEND\r\n");
    two.says(b"incr k 3\r\n", b"10\r\n");
    one.says(b"get k\r\n", b"VALUE k 7 3\r\n10 \r\nEND\r\n");
    one.says(b"append k 0 0 1\r\nx\r\n", b"STORED\r\n");
    one.says(b"prepend k 0 0 1\r\ny\r\n", b"STORED\r\n");
    two.says(b"get k\r\n", b"VALUE k 7 5\r\ny10 x\r\nEND\r\n");
    two.says(b"incr k 3\r\n", b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n");
    two.says(b"add k 0 0 1\r\na\r\n", b"NOT_STORED\r\n");
    two.says(b"replace q 0 0 1\r\na\r\n", b"NOT_STORED\r\n");
    two.says(b"touch k -1\r\n", b"TOUCHED\r\n");
    two.says(b"delete k\r\n", b"NOT_FOUND\r\n");
    two.says(b"set k 0 0 1 noreply\r\n1\r\ndecr k 5\r\n", b"0\r\n");
    two.says(b"flush_all\r\nget k\r\n", b"OK\r\nEND\r\n");
}

#[test]
fn a_cas_fails_when_somebody_was_faster() {
    let server = server();
    let mut client = Client::memcache(&server);
    client.says(b"cas k 0 0 1 1\r\na\r\n", b"NOT_FOUND\r\n");
    client.says(b"set k 0 0 1\r\na\r\n", b"STORED\r\n");
    let answer = String::from_utf8(client.asks("gets k\r\n")).expect("text");
    let unique: u64 = answer.lines().next().and_then(|line| line.split(' ').nth(4)?.parse().ok()).expect("a CAS");
    let cas = |unique: u64| format!("cas k 0 0 1 {unique}\r\nb\r\n").into_bytes();
    client.says(cas(unique + 1), b"EXISTS\r\n");
    client.says(cas(unique), b"STORED\r\n");
    client.says(cas(unique), b"EXISTS\r\n");
}

#[test]
fn commands_cut_at_every_byte_are_the_same_commands() {
    let server = server();
    let asked = b"set k 1 0 5\r\na\r\nbc\r\nget k\r\nbad\r\nset k 0 0 70000\r\n";
    let expected = b"STORED\r\nVALUE k 1 5\r\na\r\nbc\r\nEND\r\nERROR\r\nSERVER_ERROR object too large for cache\r\n";
    let large = vec![b'x'; 70_002];
    for cut in 0..asked.len() {
        let mut client = Client::memcache(&server);
        client.send(&asked[..cut]);
        client.says(&asked[cut..], expected);
        client.send(&large);
        client.says(b"mn\r\n", b"MN\r\n");
    }
}

#[test]
fn who_does_not_read_is_not_listened_to_and_disturbs_nobody() {
    let server = server();
    let (mut silent, mut other) = (Client::memcache(&server), Client::memcache(&server));
    let set = [b"set big 0 0 30000\r\n".to_vec(), vec![b'x'; 30_000], b"\r\n".to_vec()].concat();
    silent.says(&set, b"STORED\r\n");
    silent.socket().set_nonblocking(true).expect("a socket");
    let gets = b"get big\r\n".repeat(1000);
    // Far more than both sides' sockets hold.
    let mut asked = 0;
    while let Ok(written) = silent.socket().write(&gets) {
        asked += written;
        if asked > 1 << 17 {
            break;
        }
    }
    other.says(b"set k 0 0 1\r\na\r\nget k\r\n", b"STORED\r\nVALUE k 0 1\r\na\r\nEND\r\n");
    // It reads at last, and all its answers come.
    silent.socket().set_nonblocking(false).expect("a socket");
    let one = [&b"VALUE big 0 30000\r\n"[..], &[b'x'; 30_000], b"\r\nEND\r\n"].concat();
    for number in 0..asked / b"get big\r\n".len() {
        assert!(silent.bytes(one.len()) == one, "answer {number}");
    }
}

#[test]
fn bytes_behind_the_last_word_and_lines_without_an_end_cost_their_client_only() {
    let server = server();
    let mut other = Client::memcache(&server);
    let end = |first: &[u8], expected: &[u8]| {
        // More than is kept of a connection. It may be closed before all of it is sent.
        let answer = Client::memcache(&server).finish([first, &vec![b'x'; 1 << 20]].concat());
        assert!(expected.starts_with(&answer), "{}", answer.escape_ascii());
    };
    end(b"quit\r\n", b"");
    end(b"mn\r\nquit\r\n", b"MN\r\n");
    end(b"", b"CLIENT_ERROR line too long\r\n");
    end(b"get ", b"CLIENT_ERROR line too long\r\n");
    end(b"set k 0 0 5", b"CLIENT_ERROR line too long\r\n");
    let spaces = [b"set k 0 0 65536".to_vec(), vec![b' '; 60_000], b"\r\n".to_vec()].concat();
    end(&spaces, b"CLIENT_ERROR line too long\r\n");
    other.says(b"mn\r\n", b"MN\r\n");
}

#[test]
fn a_get_of_many_large_values_is_answered_bit_by_bit() {
    let server = server();
    let mut client = Client::memcache(&server);
    let set = [b"set k 0 0 30000\r\n".to_vec(), vec![b'x'; 30_000], b"\r\n".to_vec()].concat();
    client.says(&set, b"STORED\r\n");
    // 300 MB of answers to 20 kB.
    let keys = 10_000;
    let gets = [b"get".to_vec(), b" k".repeat(keys), b"\r\nmn\r\n".to_vec()].concat();
    client.send(&gets);
    let one = [b"VALUE k 0 30000\r\n".to_vec(), vec![b'x'; 30_000], b"\r\n".to_vec()].concat();
    for number in 0..keys {
        assert!(client.bytes(one.len()) == one, "answer {number}");
    }
    client.says(b"", b"END\r\nMN\r\n");
}

#[test]
fn only_a_set_that_fails_takes_the_old_value_away() {
    let server = with(256 << 10, Eviction::None);
    let mut client = Client::memcache(&server);
    client.says(b"set n 0 0 1\r\n5\r\nset old 0 0 1\r\nx\r\n", b"STORED\r\nSTORED\r\n");
    let set = |bytes| [format!("set old 0 0 {bytes}\r\n").into_bytes(), vec![b'y'; bytes], b"\r\n".to_vec()].concat();
    // Larger than the protocol's limit.
    client.says(b"set old 0 0 1\r\nx\r\n", b"STORED\r\n");
    client.says(set(70_000), b"SERVER_ERROR object too large for cache\r\n");
    client.says(b"get old\r\n", b"END\r\n");
    // Large ones until there is no room, then small ones.
    for bytes in [1000, 1] {
        let value = "f".repeat(bytes);
        let set = |number| format!("set f{bytes}-{number} 0 0 {bytes} noreply\r\n{value}\r\n");
        client.send((0..2000).map(set).collect::<String>().as_bytes());
    }
    client.says(b"incr n 1\r\n", b"SERVER_ERROR out of memory storing object\r\n");
    client.says(b"append n 0 0 1\r\n5\r\n", b"SERVER_ERROR out of memory storing object\r\n");
    client.says(b"get n\r\n", b"VALUE n 0 1\r\n5\r\nEND\r\n");
    client.says(b"set n 0 0 1\r\n6\r\nget n\r\n", b"SERVER_ERROR out of memory storing object\r\nEND\r\n");
}

#[test]
fn one_client_makes_a_stale_value_new_and_the_others_know() {
    let server = server();
    let (mut one, mut two) = (Client::memcache(&server), Client::memcache(&server));
    // Who asks first for what is not there makes it.
    one.says(b"mg k v N60 t\r\n", b"VA 0 t60 W\r\n\r\n");
    two.says(b"mg k v N60 t\r\n", b"VA 0 t60 Z\r\n\r\n");
    one.says(b"ms k 3 T60\r\nabc\r\n", b"HD\r\n");
    two.says(b"mg k v N60\r\n", b"VA 3\r\nabc\r\n");
    // Before it expires one of them makes it again; and when it is invalidated.
    two.says(b"mg k v R30 t\r\n", b"VA 3 t60\r\nabc\r\n");
    two.says(b"mg k v R90 t\r\n", b"VA 3 t60 W\r\nabc\r\n");
    one.says(b"mg k v R90 t\r\n", b"VA 3 t60 Z\r\nabc\r\n");
    one.says(b"md k I T30 q\r\nmg k v t\r\n", b"VA 3 t30 X W\r\nabc\r\n");
    two.says(b"mg k v t\r\n", b"VA 3 t30 Z X\r\nabc\r\n");
    // A value that is older than what is there may be taken for the time being, and stays stale.
    two.says(b"ms k 3 C1\r\nold\r\n", b"EX\r\n");
    two.says(b"ms k 3 C1 I T900\r\nold\r\n", b"HD\r\n");
    two.says(b"mg k v t\r\n", b"VA 3 t30 Z X\r\nold\r\n");
    one.says(b"ms k 3 q\r\nnew\r\nmg k v t\r\n", b"VA 3 t-1\r\nnew\r\n");
}

#[test]
fn what_is_not_kept_of_an_item_is_refused() {
    let server = server();
    let mut client = Client::memcache(&server);
    let refused = b"CLIENT_ERROR flags h and l are not there: the time of last access is not kept\r\n";
    client.says(b"ms k 3\r\nabc\r\nmg k v l\r\n", [b"HD\r\n", &refused[..]].concat());
    client.says(b"mg k h v\r\n", refused);
    client.says(b"mg k T30 t s k\r\n", b"HD t30 s3 kk\r\n");
    let answer = client.asks("me k\r\n");
    assert!(answer.starts_with(b"ME k exp=-30 cas="), "{}", answer.escape_ascii());
}

#[test]
fn both_protocols_see_the_same_keys() {
    let server = server();
    let (mut memcache, mut resp) = (Client::memcache(&server), Client::resp(&server));
    memcache.says(b"set k 7 0 3\r\n007\r\n", b"STORED\r\n");
    resp.says(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", b"$3\r\n007\r\n");
    resp.says(b"SET k \"a b\" EX 1000\r\n", b"+OK\r\n");
    memcache.says(b"get k\r\n", b"VALUE k 0 3\r\na b\r\nEND\r\n");
    resp.says(b"DEL k k\r\nPING\r\n", b":1\r\n+PONG\r\n");
    memcache.says(b"get k\r\n", b"END\r\n");
    resp.says(b"hgetall k\r\n", b"-ERR unknown command 'hgetall', with args beginning with: 'k' \r\n");
}

#[test]
fn figures_are_told_by_kind_and_set_back() {
    let server = server();
    let mut client = Client::memcache(&server);
    client.says(b"set k 0 0 3\r\nabc\r\nget k\r\nget no\r\n", b"STORED\r\nVALUE k 0 3\r\nabc\r\nEND\r\nEND\r\n");
    let mut stats = |of: &str| String::from_utf8(client.asks(format!("stats{of}\r\n"))).expect("text");
    let has = |text: &str, line: &str| assert!(text.contains(&format!("STAT {line}\r\n")), "{line}: {text}");
    let general = stats("");
    for line in ["cmd_get 2", "get_hits 1", "get_misses 1", "cmd_set 1", "curr_items 1", "bytes 9", "threads 1"] {
        has(&general, line);
    }
    has(&stats(" settings"), &format!("maxbytes {MEMORY}"));
    has(&stats(" items"), "items:1:number 1");
    has(&stats(" slabs"), "1:cmd_set 1");
    has(&stats(" sizes"), "sizes_status disabled");
    assert_eq!(stats(" reset"), "RESET\r\n");
    let general = stats("");
    for line in ["cmd_get 0", "get_hits 0", "curr_items 1", "curr_connections 1", "total_connections 0"] {
        has(&general, line);
    }
}

/// CVE-2016-8704 to 8706, CVE-2020-10931, and requests that a browser was made to send.
#[test]
fn other_protocols_are_refused_and_closed() {
    let server = server();
    let refused = "CLIENT_ERROR the binary protocol is not spoken here\r\n";
    for opcode in [0u8, 1, 0x0d, 0x21, 0xff] {
        for (key, extras, body) in [(0u16, 0u8, 0u32), (0xffff, 0, 1), (4, 255, 0), (250, 8, u32::MAX)] {
            let mut header = vec![0x80, opcode];
            header.extend_from_slice(&key.to_be_bytes());
            header.extend_from_slice(&[extras, 0, 0, 0]);
            header.extend_from_slice(&body.to_be_bytes());
            header.extend_from_slice(&[0; 12]);
            ends(&server, &header, refused);
        }
    }
    ends(&server, b"mn\r\n\x80\0\0", &format!("MN\r\n{refused}"));
    ends(&server, b"POST / HTTP/1.1\r\nset a 0 0 1\r\nx\r\n", "");
    Client::memcache(&server).says(b"get a\r\n", b"END\r\n");
}

/// Sends, and reads to the end of the connection.
fn ends(server: &Cache, asked: &[u8], expected: &str) {
    let answer = Client::memcache(server).finish(asked);
    assert_eq!(String::from_utf8_lossy(&answer), expected, "{}", asked.escape_ascii());
}

#[test]
fn what_is_switched_off_says_so() {
    let server = server();
    let mut client = Client::memcache(&server);
    for (asked, answer) in [
        ("cache_memlimit 64", "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust"),
        ("slabs reassign 1 2", "CLIENT_ERROR slab reassignment disabled"),
        ("slabs automove 0", "ERROR"),
        ("lru_crawler metadump all", "CLIENT_ERROR lru crawler disabled"),
        ("lru_crawler enable", "ERROR"),
        ("lru mode flat", "ERROR"),
        ("watch", "CLIENT_ERROR watch commands not allowed"),
        ("shutdown", "ERROR: shutdown not enabled"),
        ("stats cachedump 1 1", "CLIENT_ERROR stats cachedump not allowed"),
        ("stats detail on", "ERROR"),
    ] {
        client.says(format!("{asked}\r\n").as_bytes(), format!("{answer}\r\n").as_bytes());
    }
}
