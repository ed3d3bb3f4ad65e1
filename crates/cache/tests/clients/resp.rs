//! Redis clients over loopback: what takes many steps, and what only one side of a connection sees.

use crate::common::{Client, cache};
use std::collections::HashSet;

impl Client {
    /// Asks in words; the words of the answer, one a line.
    fn says_words(&mut self, asked: &str, expected: &str) {
        self.send(format!("{asked}\r\n"));
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
fn redis_commands_cut_at_every_byte_are_the_same_commands() {
    let server = cache(1);
    let asked = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\nGET k\r\n*1\r\n$3\r\nGET\r\n\
        *3\r\n$3\r\nset\r\n$1\r\nk\r\n$2000000\r\n";
    let expected = b"+OK\r\n$4\r\na\r\nb\r\n-ERR wrong number of arguments for 'get' command\r\n\
        -ERR a command of more than 1048576 bytes is not taken\r\n";
    let large = vec![b'x'; 2_000_002];
    for cut in 0..asked.len() {
        let mut client = Client::resp(&server);
        client.send(&asked[..cut]);
        client.says(&asked[cut..], expected);
        client.send(&large);
        client.says(b"ping\r\n", b"+PONG\r\n");
    }
}

#[test]
fn a_stream_that_is_no_redis_protocol_is_told_why_and_ended() {
    let server = cache(1);
    let answer = Client::resp(&server).finish(b"PING\r\n*1\r\n:5\r\nPING\r\n");
    assert_eq!(
        answer.escape_ascii().to_string(),
        "+PONG\\r\\n-ERR Protocol error: expected \\'$\\', got \\':\\'\\r\\n"
    );
}

#[test]
fn keys_and_scan_find_all_of_many_keys() {
    let server = cache(1);
    let mut client = Client::resp(&server);
    let sets: String = (0..30_000).map(|number| format!("SET key-{number} {number}\r\n")).collect();
    client.send(format!("CLIENT REPLY OFF\r\n{sets}CLIENT REPLY ON\r\n"));
    assert_eq!(client.line(), "+OK");
    client.says_words("DBSIZE", ":30000");
    client.send("KEYS key-1*9\r\n");
    let found: HashSet<String> = client.strings().into_iter().collect();
    let expected = (0..30_000).map(|n| n.to_string()).filter(|n| n.starts_with('1') && n.ends_with('9'));
    assert_eq!(found, expected.map(|number| format!("key-{number}")).collect());
    let (mut cursor, mut seen, mut steps) = ("0".to_owned(), HashSet::new(), 0);
    loop {
        client.send(format!("SCAN {cursor} COUNT 1000000\r\n"));
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
    client.send(format!("CLIENT REPLY OFF\r\n{sets}CLIENT REPLY ON\r\n"));
    assert_eq!(client.line(), "+OK");
    client.send("KEYS *\r\nPING\r\n");
    assert!(client.line().starts_with("-ERR the names of these keys are more than 1 MiB"));
    // What could be compared for ever is not.
    let pattern = format!("*{}b", "x".repeat(250));
    client.send(format!("KEYS {pattern}\r\nSCAN 0 MATCH {pattern} COUNT 1000\r\nPING\r\n"));
    assert_eq!(client.line(), "+PONG");
    let too_long = "-ERR comparing names with this pattern takes too long";
    assert_eq!([client.line(), client.line(), client.line()], [too_long, too_long, "+PONG"]);
    client.says_words("FLUSHALL", "+OK");
    client.says_words("KEYS *", "*0");
}

#[test]
fn answers_of_many_large_values_are_given_bit_by_bit() {
    let server = cache(1);
    let mut client = Client::resp(&server);
    let value = "v".repeat(30_000);
    client.says_words(&format!("SET k {value}"), "+OK");
    // 150 MB of answers to 20 kB, and nobody else waits for their end.
    let keys = 5000;
    client.send(format!("MGET{}\r\nPING\r\n", " k".repeat(keys)));
    Client::resp(&server).says_words("PING", "+PONG");
    assert_eq!(client.line(), format!("*{keys}"));
    let one = format!("$30000\r\n{value}\r\n").into_bytes();
    for number in 0..keys {
        assert!(client.bytes(one.len()) == one, "answer {number}");
    }
    assert_eq!(client.line(), "+PONG");
}

#[test]
fn a_client_says_what_it_is_and_which_answers_it_wants() {
    let server = cache(1);
    let (mut one, mut two) = (Client::resp(&server), Client::resp(&server));
    two.says_words("CLIENT SETNAME two", "+OK");
    one.says_words("CLIENT SETINFO LIB-NAME lib", "+OK");
    one.says_words("GET k", "$-1");
    one.says_words("HELLO 3 SETNAME one", "%7 $6 server $5 redis $7 version $6 7.0.15 $5 proto :3 $2 id :1 $4 mode");
    for _ in 0..8 {
        one.line();
    }
    assert_eq!(one.line(), "*0");
    one.says_words("GET k", "_");
    one.send("CLIENT LIST\r\n");
    let header = one.line();
    assert!(header.starts_with('='), "{header}");
    let (first, second, end) = (one.line(), one.line(), one.line());
    assert!(
        first.starts_with("txt:id=1 ") && first.contains(" name=one ") && first.contains(" lib-name=lib "),
        "{first}"
    );
    assert!(second.starts_with("id=2 ") && second.contains(" name=two ") && end.is_empty(), "{second}");
    one.says_words("CLIENT REPLY SKIP\r\nPING\r\nECHO x", "$1 x");
    one.says_words("CLIENT REPLY OFF\r\nPING\r\nECHO x\r\nCLIENT REPLY ON", "+OK");
    one.says_words("RESET", "+RESET");
    one.says_words("GET k", "$-1");
    assert_eq!(one.finish("QUIT\r\nPING\r\n"), b"+OK\r\n");
}

#[test]
fn a_long_command_in_crumbs_is_one_and_a_deep_pipeline_is_answered() {
    let server = cache(1);
    let mut client = Client::resp(&server);
    // Nearly as long as a command may be, in 5,000 pieces.
    let pairs: String =
        (0..3200).map(|number| format!("$5\r\nk{number:04}\r\n$300\r\n{}\r\n", "x".repeat(300))).collect();
    let command = format!("*6401\r\n$4\r\nMSET\r\n{pairs}");
    for crumb in command.as_bytes().chunks(command.len() / 5000) {
        client.send(crumb);
    }
    assert_eq!(client.line(), "+OK");
    client.says_words("STRLEN k3199", ":300");
    let gets = "*2\r\n$3\r\nGET\r\n$2\r\nno\r\n".repeat(10_000);
    client.send(&gets);
    for _ in 0..10_000 {
        assert_eq!(client.line(), "$-1");
    }
}

/// A command of several keys is held to its own length, and each value to what a value may have.
#[test]
fn mset_and_setrange_take_values_up_to_the_largest() {
    for reactors in [1, 3] {
        let server = cache(reactors);
        let mut client = Client::resp(&server);
        let mset = |bytes: usize, count: usize| {
            let value = "v".repeat(bytes);
            let pairs: String = (0..count).map(|key| format!("$2\r\nk{key}\r\n${bytes}\r\n{value}\r\n")).collect();
            format!("*{}\r\n$4\r\nMSET\r\n{pairs}", 1 + 2 * count)
        };
        client.send(mset(250_000, 4));
        assert_eq!(client.line(), "+OK");
        for key in 0..4 {
            client.says_words(&format!("STRLEN k{key}"), ":250000");
        }
        client.send(mset(300_000, 4));
        assert_eq!(client.line(), "-ERR a command of more than 1048576 bytes is not taken");
        client.says_words("SETRANGE r 1048570 abcdef", ":1048576");
        client.says_words("GETRANGE r 1048572 -1", "$4 cdef");
        for asked in ["APPEND r x\r\n", "SETRANGE r 1048571 abcdef\r\n"] {
            client.send(asked);
            assert_eq!(client.line(), "-ERR string exceeds maximum allowed size (proto-max-bulk-len)");
        }
    }
}

#[test]
fn keys_of_several_reactors_are_refused_when_they_are_many() {
    let server = cache(2);
    let mut client = Client::resp(&server);
    let fill = |from: u32, to: u32| {
        let sets: String = (from..to).map(|number| format!("SET key-{number} 1\r\n")).collect();
        format!("CLIENT REPLY OFF\r\n{sets}CLIENT REPLY ON\r\n")
    };
    client.send(fill(0, 50_000));
    assert_eq!(client.line(), "+OK");
    client.send("KEYS key-1234*\r\n");
    assert_eq!(client.strings().len(), 11);
    client.send(fill(50_000, 80_000));
    assert_eq!(client.line(), "+OK");
    let many = "-ERR there are too many keys for KEYS on several reactors: ask for them with SCAN";
    client.send("KEYS key-1234*\r\n");
    assert_eq!(client.line(), many);
}
