//! Redis: every byte of the answers is compared, but for what each server chooses: the order of keys, numbers of
//! clients, what it says of itself, and how long ago something was. Skipped, by name, where there is no redis-server.
//!
//! `QPAIR_CAMPAIGN=full` sends a million commands.

use std::net::{Shutdown, SocketAddr};

use crate::common::{Chance, Client, cache};
use crate::other::Other;

const COMMANDS: usize = 20_000;
const CAMPAIGN: usize = 1_000_000;
const END: &[u8] = b"$7\r\n~ end ~\r\n";

type Words = Vec<Vec<u8>>;

fn encoded(words: &Words) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn words(line: &str) -> Words {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// The keys there are.
fn keys() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = (b'a'..=b'h').map(|byte| vec![byte]).collect();
    keys.extend([Vec::new(), vec![b'k'; 300], b"\xff\0\r\n".to_vec(), b"a[*?\\".to_vec()]);
    keys
}

/// Where the answer that the bytes begin with ends, and its parts begin.
fn end_of(bytes: &[u8], parts: &mut Vec<usize>) -> Option<usize> {
    let line = bytes.windows(2).position(|two| two == b"\r\n")? + 2;
    let number = || std::str::from_utf8(&bytes[1..line - 2]).ok()?.parse::<i64>().ok();
    let count = match bytes[0] {
        b'$' | b'=' => {
            let length = number()?;
            let end = if length < 0 { line } else { line + length as usize + 2 };
            return (bytes.len() >= end).then_some(end);
        }
        b'*' | b'~' => number()?,
        b'%' => 2 * number()?,
        b'+' | b'-' | b':' | b'_' => 0,
        other => panic!("an answer begins with {}", other.escape_ascii()),
    };
    let mut at = line;
    for _ in 0..count {
        parts.push(at);
        at += end_of(&bytes[at..], &mut Vec::new())?;
    }
    Some(at)
}

/// An answer without what each server chooses.
fn comparable(command: &Words, answer: &[u8]) -> Vec<u8> {
    let upper: Vec<String> = command.iter().map(|word| String::from_utf8_lossy(word).to_uppercase()).collect();
    let upper: Vec<&str> = upper.iter().map(String::as_str).collect();
    match upper[..] {
        // Redis finds what has expired and was not asked for since.
        ["MEMORY", "USAGE", ..] if answer[0] != b'-' => Vec::new(),
        // Redis reads a number where there is hardly one; and only a large step is one step to the end.
        ["SCAN", cursor, ..] if cursor != "x" && (cursor != "0" || !upper.contains(&"100000")) => Vec::new(),
        ["KEYS" | "SCAN", ..] if answer[0] == b'*' => {
            // Of SCAN the second part.
            let mut parts = Vec::new();
            end_of(answer, &mut parts).expect("a whole answer");
            let start = if upper[0] == "SCAN" { parts[1] } else { 0 };
            parts.clear();
            let end = start + end_of(&answer[start..], &mut parts).expect("a whole answer");
            parts.iter_mut().for_each(|part| *part += start);
            let ends = parts.iter().skip(1).chain(std::iter::once(&end));
            let mut found: Vec<&[u8]> = parts.iter().zip(ends).map(|(from, to)| &answer[*from..*to]).collect();
            found.sort_unstable();
            [&answer[..parts.first().copied().unwrap_or(end)], &found.concat()].concat()
        }
        ["HELLO" | "INFO" | "DBSIZE" | "RANDOMKEY" | "TIME", ..]
        | ["OBJECT", "ENCODING", ..]
        | ["CLIENT", "ID" | "INFO" | "LIST", ..]
        | ["COMMAND"]
        | ["COMMAND", "COUNT" | "INFO" | "DOCS"]
            if answer[0] != b'-' =>
        {
            vec![if answer.starts_with(b"$-1") { b'_' } else { answer[0] }]
        }
        _ => answer.to_vec(),
    }
}

/// Whether two comparable answers to a command say the same.
fn alike(command: &Words, one: &[u8], two: &[u8]) -> bool {
    let verb = command[0].to_ascii_uppercase();
    let unit = match &verb[..] {
        b"TTL" | b"EXPIRETIME" => 1,
        b"PTTL" | b"PEXPIRETIME" => 1000,
        _ => return one == two,
    };
    let time = |answer: &[u8]| -> Option<i64> {
        let digits = answer.strip_prefix(b":")?.strip_suffix(b"\r\n")?;
        std::str::from_utf8(digits).ok()?.parse().ok().filter(|time| *time >= 0)
    };
    match (time(one), time(two)) {
        // The two are asked one after the other, and whoever waits for a processor is late.
        (Some(one), Some(two)) => one.abs_diff(two) <= 100 * unit,
        _ => one == two,
    }
}

/// One side.
struct Side(Client);

impl Side {
    /// Sends commands together; the answer to each, comparable.
    fn ask(&mut self, commands: &[Words]) -> Vec<Vec<u8>> {
        let bytes: Vec<u8> = commands.iter().flat_map(encoded).collect();
        let answers = self.0.until(bytes, END);
        let mut rest = &answers[..];
        let each = commands.iter().map(|command| {
            let end = end_of(rest, &mut Vec::new()).expect("an answer to each");
            let (answer, behind) = rest.split_at(end);
            rest = behind;
            comparable(command, answer)
        });
        each.collect()
    }
}

/// Commands by chance.
impl Chance {
    fn string(&mut self) -> Vec<u8> {
        let numbers = [
            "0",
            "1",
            "10",
            "-5",
            "007",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "3.0e3",
            "10.50",
            "0.30000000000000004",
            "-0",
            "+1",
            " 1",
            "1 ",
            "1e18",
            "1e400",
            "abc",
            "x\r\n$5\r\n",
        ];
        match self.below(6) {
            0 => (0..self.below(300)).map(|at| (at * 7) as u8).collect(),
            1 if self.below(20) == 0 => (0..self.below(20_000)).map(|at| (at * 7) as u8).collect(),
            2 => Vec::new(),
            _ => self.one_of(&numbers).as_bytes().to_vec(),
        }
    }

    fn float(&mut self) -> String {
        let some =
            ["0", "0.1", "-2.25", "3.0e3", "5e-5", "1e18", "abc", "", "nan", "inf", "1e5000", "1e-400", " 1", "1e4932"];
        match self.below(2) {
            0 => self.one_of(&some).to_owned(),
            _ => {
                let (whole, part) = (self.below(1 << 40) as i64 - (1 << 39), self.below(1 << 40));
                let power = self.one_of(&["", "", "", "e3", "e-7", "E+2"]);
                format!("{}.{part}{power}", whole >> self.below(40))
            }
        }
    }

    /// What a letter of a template stands for. Times that are compared with others are points in time.
    fn argument(&mut self, letter: &str) -> Vec<u8> {
        let text = match letter {
            "K" => return keys().swap_remove(self.below(keys().len())),
            "V" => return self.string(),
            "F" => return self.float().into_bytes(),
            "N" => self.one_of(&[
                "0",
                "1",
                "-1",
                "5",
                "-3",
                "100",
                "007",
                "+1",
                "x",
                "",
                "1.5",
                "9223372036854775807",
                "-9223372036854775808",
                "9223372036854775808",
                "3000000000",
            ]),
            // An offset: not one that makes a value large.
            "R" => self.one_of(&["0", "1", "5", "100", "2000", "-1", "x", "536870912", "9223372036854775807"]),
            "T" => self.one_of(&["1000", "2000", "100000", "0", "-1", "x", "9223372036854775807", "9223372036854775"]),
            "M" => self.one_of(&["1000000", "2000000", "100000000", "0", "-1", "x", "9223372036854775807"]),
            "A" => self.one_of(&["9999999999", "8888888888", "1", "0", "-1", "x", "9223372036854775807"]),
            "B" => self.one_of(&["9999999999999", "8888888888888", "1", "0", "-1", "x", "-9223372036854775808"]),
            "X" => self.one_of(&["NX", "xx", "Nx", "XX", "bogus"]),
            "Y" => self.one_of(&["NX", "xx", "GT", "LT", "gt", "lt", "bogus"]),
            "P" => self.one_of(&[
                "*",
                "a*",
                "?",
                "[a-c]",
                "[^a]*",
                "[c-a]",
                "k*",
                "*k",
                "\\a",
                "a\\[\\*?*",
                "[",
                "[a",
                "[]",
                "[^]",
                "a\\",
                "*[*]*",
                "",
                "??",
                "[a-",
                "[\\a]",
                "*k*k*",
            ]),
            other => other,
        };
        text.as_bytes().to_vec()
    }

    fn set_options(&mut self) -> String {
        let all =
            ["NX", "XX", "GET", "KEEPTTL", "EX T", "PX M", "EXAT A", "PXAT B", "nx", "get", "px M", "bogus", "EX"];
        (0..self.below(4)).map(|_| format!(" {}", self.one_of(&all))).collect()
    }

    fn words(&mut self) -> Words {
        let template = match self.below(10) {
            0 => format!("SET K V{}", self.set_options()),
            1 => format!("GETEX K{}", self.set_options().replace("KEEPTTL", "PERSIST")),
            2..=4 => self.one_of(COMMON).to_owned(),
            _ => self.one_of(TEMPLATES).to_owned(),
        };
        let mut command: Words = template.split(' ').map(|letter| self.argument(letter)).collect();
        // A word more or less, or another one.
        match self.below(25) {
            0 if command.len() > 1 => drop(command.pop()),
            1 => command.push(self.string()),
            2 if command.len() > 1 => {
                let at = 1 + self.below(command.len() - 1);
                command[at] = self.string();
            }
            3 => command[0] = command[0].to_ascii_lowercase(),
            _ => {}
        }
        // Redis waits for replicas that will never come.
        if command[0] == b"WAIT" && command.len() == 3 && command[1] != b"x" {
            command[1] = b"0".to_vec();
        }
        // Nothing is to expire while this runs.
        let first = match &command[0].to_ascii_lowercase()[..] {
            b"set" => 3,
            b"getex" | b"expire" | b"pexpire" | b"setex" | b"psetex" => 2,
            _ => usize::MAX,
        };
        let soon = |word: &&mut Vec<u8>| matches!(&word[..], b"1" | b"10");
        command.iter_mut().skip(first).filter(soon).for_each(|word| *word = b"1000000".to_vec());
        // Redis lets a key expire after so many milliseconds; here nothing expires after the year 10,889.
        let is_time = |word: &Vec<u8>| word.eq_ignore_ascii_case(b"pexpireat") || word.eq_ignore_ascii_case(b"pxat");
        if command.iter().any(is_time) {
            command.retain(|word| word != b"9223372036854775807");
        }
        command
    }

    fn redis_commands(&mut self) -> Vec<Words> {
        let mut commands: Vec<Words> = (0..1 + self.below(12)).map(|_| self.words()).collect();
        if self.below(1500) == 0 {
            commands.push(words(self.one_of(&["FLUSHALL", "FLUSHDB ASYNC", "flushall sync", "FLUSHALL bogus"])));
        }
        commands
    }
}

/// What is done most.
const COMMON: &[&str] =
    &["GET K", "SET K V", "DEL K", "MGET K K K", "INCR K", "EXPIRE K T", "TTL K", "APPEND K V", "SET K V EX T"];

const TEMPLATES: &[&str] = &[
    "MSET K V K V",
    "MSETNX K V K V",
    "MSET K V K",
    "SETEX K T V",
    "PSETEX K M V",
    "SETNX K V",
    "GETSET K V",
    "GETDEL K",
    "STRLEN K",
    "SETRANGE K R V",
    "GETRANGE K N N",
    "SUBSTR K N N",
    "DECR K",
    "INCRBY K N",
    "DECRBY K N",
    "INCRBYFLOAT K F",
    "INCRBYFLOAT K F",
    "SET K F",
    "DEL K K",
    "UNLINK K K",
    "EXISTS K K K",
    "TOUCH K K",
    "TYPE K",
    "PTTL K",
    "EXPIRETIME K",
    "PEXPIRETIME K",
    "PERSIST K",
    "EXPIRE K T X",
    "PEXPIRE K M X",
    "PEXPIRE K M",
    "EXPIREAT K A",
    "EXPIREAT K A Y",
    "PEXPIREAT K B",
    "PEXPIREAT K B Y",
    "EXPIREAT K A Y Y",
    "RENAME K K",
    "RENAMENX K K",
    "RANDOMKEY",
    "KEYS P",
    "SCAN 0 COUNT 100000",
    "SCAN 0 MATCH P COUNT 100000",
    "SCAN x",
    "SCAN 0 TYPE string COUNT 100000",
    "SCAN 0 TYPE hash COUNT 100000",
    "SCAN 0 COUNT 0",
    "SCAN 0 COUNT N bogus",
    "DBSIZE",
    "PING",
    "PING V",
    "ECHO V",
    "SELECT N",
    "HELLO",
    "HELLO 2",
    "HELLO 3",
    "HELLO 4",
    "HELLO x",
    "HELLO 3 SETNAME V",
    "HELLO 3 AUTH default V",
    "HELLO 2 AUTH V V",
    "HELLO 3 bogus",
    "RESET",
    "AUTH V",
    "AUTH V V",
    "AUTH default V",
    "CLIENT ID",
    "CLIENT GETNAME",
    "CLIENT SETNAME V",
    "CLIENT SETNAME name",
    "CLIENT INFO",
    "CLIENT LIST",
    "CLIENT LIST TYPE normal",
    "CLIENT LIST TYPE V",
    "CLIENT LIST ID N",
    "CLIENT NO-EVICT on",
    "CLIENT NO-EVICT V",
    "CLIENT V",
    "CLIENT",
    "INFO",
    "INFO server",
    "CONFIG GET databases",
    "CONFIG GET data*ases",
    "CONFIG GET V",
    "CONFIG SET databases 1",
    "CONFIG SET V V",
    "CONFIG SET databases",
    "CONFIG V",
    "COMMAND COUNT V",
    "COMMAND GETKEYS MSET K V K V",
    "COMMAND GETKEYS GET K",
    "COMMAND GETKEYS PING",
    "COMMAND GETKEYS V V",
    "COMMAND GETKEYS GET",
    "COMMAND V",
    "COMMAND INFO nosuch",
    "COMMAND DOCS nosuch",
    "MEMORY USAGE K",
    "MEMORY USAGE K SAMPLES 5",
    "MEMORY USAGE K bogus 5",
    "MEMORY V",
    "OBJECT ENCODING K",
    "OBJECT V",
    "OBJECT ENCODING",
    "WAIT 0 N",
    "WAIT x 0",
    "LATENCY LATEST",
    "LATENCY HISTORY V",
    "LATENCY RESET V",
    "LATENCY V",
    "SLOWLOG V",
    "SLOWLOG GET x",
    "SLOWLOG GET -2",
    "TIME",
    "nosuch V V V",
    "nosuch",
    "no\r\nsuch V",
];

fn shown(words: &Words) -> String {
    words.iter().map(|word| format!("'{}' ", word.escape_ascii())).collect()
}

#[test]
fn it_answers_as_redis_does() {
    answers_as_redis(1);
}

#[test]
fn two_reactors_answer_as_redis_does() {
    answers_as_redis(2);
}

fn answers_as_redis(reactors: usize) {
    let Some(redis) = Other::redis() else { return };
    let server = cache(reactors);
    let (mut theirs, mut ours) = (Side(Client::at(redis.address)), Side(Client::at(server.resp())));
    let count = if std::env::var_os("QPAIR_CAMPAIGN").is_some() { CAMPAIGN } else { COMMANDS };
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut done = 0;
    // Whatever became of the keys; and what has expired is asked for, so that it does not count any more.
    let mget = std::iter::once(b"MGET".to_vec()).chain(keys()).collect();
    let mut behind: Vec<Words> = vec![mget];
    behind.extend(keys().into_iter().map(|key| vec![b"PTTL".to_vec(), key]));
    behind.push(vec![b"ECHO".to_vec(), b"~ end ~".to_vec()]);
    while done < count {
        let mut commands = chance.redis_commands();
        done += commands.len();
        commands.extend_from_slice(&behind);
        let (expected, answered) = (theirs.ask(&commands), ours.ask(&commands));
        let is_scan = |command: &Words| command[0].eq_ignore_ascii_case(b"scan");
        for (number, (one, two)) in expected.iter().zip(&answered).enumerate() {
            // With several reactors a walk has a step for each of them.
            assert!(
                alike(&commands[number], one, two) || reactors > 1 && is_scan(&commands[number]),
                "{}: command {done} {}\nbefore: {}\nredis: {}\nqpair: {}",
                number,
                shown(&commands[number]),
                commands[..number].iter().map(shown).collect::<Vec<_>>().join("\n        "),
                one[..one.len().min(2000)].escape_ascii(),
                two[..two.len().min(2000)].escape_ascii()
            );
        }
    }
    println!("{done} commands were answered alike");
}

/// Sends bytes and nothing behind them; all that is answered, to the end of the connection.
fn told(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut client = Client::at(address);
    let writer = client.socket().try_clone().expect("a socket");
    let mut once = Some(bytes.to_vec());
    client.while_it_listens(|| {
        once.take().or_else(|| {
            let _ = writer.shutdown(Shutdown::Write);
            None
        })
    })
}

#[test]
fn what_is_no_protocol_is_answered_as_redis_does() {
    let Some(redis) = Other::redis() else { return };
    let server = cache(1);
    let mut streams: Vec<Vec<u8>> = [
        "*0\r\n*-5\r\nPING\r\n",
        "*x\r\n",
        "*1\r\n$x\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n$99999999999\r\n",
        "*99999999999\r\n",
        "\r\n\r\nPING\r\n",
        "PING\nPING\n",
        "SET a \"b c\" 'd'\r\nSET a \"b c\"\r\nGET a\r\n",
        "SET a \"b\r\n",
        "SET a \"b\"c\r\n",
        "SET a 'b\\'c'\r\nGET a\r\n",
        "SET a \"\\x41\\n\\t\\q\"\r\nGET a\r\n",
        "PING",
        "*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n",
        "*1\n$4\nPING\n",
        "QUIT\r\nPING\r\n",
        "*1\r\n$4\r\nQUIT\r\nPING\r\n",
        "*2\r\n$3\r\nGET\r\n$0\r\n\r\nPING\r\n",
        "*01\r\n",
        "*1\r\n$04\r\nPING\r\n",
        "* 1\r\n",
        "*+1\r\n",
        "*\r\n",
        "*1\r\n$\r\n",
        "PING a b\r\n",
        "client\r\n",
        "CLIENT REPLY SKIP\r\nPING\r\nPING\r\n",
        "CLIENT REPLY OFF\r\nPING\r\nCLIENT REPLY ON\r\n",
        "CLIENT REPLY OFF\r\nCLIENT REPLY SKIP\r\nCLIENT REPLY bogus\r\nRESET\r\nPING\r\n",
        "HELLO 3\r\nbogus\r\n*x\r\n",
    ]
    .iter()
    .map(|text| text.replace("HELLO 3\r\n", "").into_bytes())
    .collect();
    streams.push([&b"*"[..], &[b'1'; 70_000]].concat());
    streams.push([&b"*1\r\n$"[..], &[b'1'; 70_000]].concat());
    streams.push(vec![b'x'; 70_000]);
    // Whole commands with one byte changed, or cut.
    let whole = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\nabcd\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\nGET a\r\nPING \"x\"\r\n";
    let mut chance = Chance(7);
    for at in 0..whole.len() {
        streams.push(whole[..at].to_vec());
        let mut changed = whole.to_vec();
        changed[at] = chance.one_of(b"0123456789*$:\r\n \"'\\x-+a");
        streams.push(changed);
    }
    for stream in streams {
        let flush = told(redis.address, b"FLUSHALL\r\n") == told(server.resp(), b"FLUSHALL\r\n");
        assert!(flush, "both forget");
        let (expected, answered) = (told(redis.address, &stream), told(server.resp(), &stream));
        assert!(
            expected == answered,
            "{}\nredis: {}\nqpair: {}",
            stream[..stream.len().min(200)].escape_ascii(),
            expected.escape_ascii(),
            answered.escape_ascii()
        );
    }
}
