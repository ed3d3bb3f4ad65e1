//! memcached: every byte of the answers is compared, but for the numbers that each server chooses (CAS). Skipped, by
//! name, where there is no memcached.
//!
//! `QPAIR_CAMPAIGN=full` sends a million commands.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::common::{Chance, Client, cache};
use crate::meta;
use crate::other::Other;

const COMMANDS: usize = 20_000;
const CAMPAIGN: usize = 1_000_000;

/// One side: a connection, and the CAS that it told for each key.
struct Side {
    client: Client,
    told: HashMap<Vec<u8>, u64>,
}

impl Side {
    fn new(address: SocketAddr) -> Self {
        Self { client: Client::at(address), told: HashMap::new() }
    }

    /// Sends commands, and last one whose answer ends theirs; all answers, with the numbers taken out.
    fn ask(&mut self, commands: &[Asked]) -> Vec<u8> {
        let mut bytes: Vec<u8> = commands.iter().flat_map(|asked| asked.bytes(&self.told)).collect();
        // Whatever became of the keys.
        bytes.extend_from_slice(b"get a b c d e f g h i j \xff\x01\t ");
        bytes.extend_from_slice(&[b'k'; 250]);
        bytes.extend_from_slice(b"\r\nmg AQIgeg== b v f t\r\ngets a b c\r\n");
        let answers = self.client.asks(bytes);
        self.without_cas(&answers)
    }

    /// `VALUE key flags bytes cas` without the last word, which is remembered.
    fn without_cas(&mut self, answers: &[u8]) -> Vec<u8> {
        let (mut out, mut rest) = (Vec::new(), answers);
        while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
            let (line, after) = rest.split_at(end + 2);
            let words: Vec<&[u8]> = line[..end].split(|byte| *byte == b' ').collect();
            let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse::<u64>().ok();
            rest = after;
            if let [b"HD" | b"VA" | b"EN" | b"NS" | b"EX" | b"NF", flags @ ..] = &words[..] {
                rest = meta::compared(words[0], flags, after, &mut out);
                continue;
            }
            let [b"VALUE", key, _, bytes, cas @ ..] = &words[..] else {
                out.extend_from_slice(line);
                continue;
            };
            let shown = line.len() - cas.first().map_or(0, |cas| cas.len() + 1);
            out.extend_from_slice(&line[..shown - 2]);
            if let Some(cas) = cas.first().and_then(|cas| number(cas)) {
                self.told.insert(key.to_vec(), cas);
            }
            let (value, after) = rest.split_at(number(bytes).expect("a length") as usize + 2);
            out.extend_from_slice(value);
            rest = after;
        }
        out
    }
}

/// A command, which may name a CAS that only its server knows.
#[derive(Debug)]
pub(crate) enum Asked {
    Plain(Vec<u8>),
    Cas {
        key: Vec<u8>,
        rest: String,
        value: Vec<u8>,
    },
    /// The word `CAS` of this line is to become a number, of this key.
    Meta {
        key: Vec<u8>,
        line: String,
        value: Option<Vec<u8>>,
    },
}

impl Asked {
    fn bytes(&self, told: &HashMap<Vec<u8>, u64>) -> Vec<u8> {
        match self {
            Self::Plain(bytes) => bytes.clone(),
            Self::Cas { key, rest, value } => {
                let cas = told.get(key).copied().unwrap_or(1 << 60).to_string();
                let line = rest.replace("CAS", &cas);
                [b"cas ", &key[..], b" ", line.as_bytes(), b"\r\n", value, b"\r\n"].concat()
            }
            Self::Meta { key, line, value } => {
                let cas = told.get(key).copied().unwrap_or(1 << 60).to_string();
                let line = line.replace("CAS", &cas) + "\r\n";
                let value = value.as_ref().map(|value| [&value[..], b"\r\n"].concat()).unwrap_or_default();
                [line.into_bytes(), value].concat()
            }
        }
    }
}

impl Asked {
    fn starts_with(&self, verbs: &[&[u8]]) -> bool {
        let bytes = match self {
            Self::Plain(bytes) => bytes,
            Self::Cas { .. } => return false,
            Self::Meta { line, .. } => line.as_bytes(),
        };
        verbs.iter().any(|verb| bytes.starts_with(verb))
    }

    /// Of what.
    fn key(&self) -> Vec<u8> {
        if let Self::Meta { key, .. } = self {
            return key.clone();
        }
        let bytes = self.bytes(&HashMap::new());
        bytes.split(|byte| b" \r".contains(byte)).nth(1).unwrap_or_default().to_vec()
    }
}

fn shown(commands: &[Asked], side: &Side) -> String {
    let lines = commands.iter().map(|asked| some(&asked.bytes(&side.told)));
    lines.collect::<Vec<_>>().join("\n  ")
}

/// The first of these bytes.
fn some(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(300)].escape_ascii().to_string()
}

/// What is hardly a command. No delayed `flush_all`: memcached 1.6.18 forgets the one before it, and what was flushed
/// comes back.
const ODD: &[&str] = &[
    "\r\n",
    "get\r\n",
    "GET a\r\n",
    "gets\r\n",
    "gat 0\r\n",
    "set a\r\n",
    "set a 0 0\r\n",
    "cas a 0 0 1\r\n",
    "set a 0 0 -1\r\n",
    "set a 0 0 x\r\n",
    "set a 0 0 1\r\nab\r\n",
    "delete a 0\r\n",
    "delete a 5\r\n",
    "delete\r\n",
    "delete a 0 noreply\r\n",
    "incr a\r\n",
    "touch a\r\n",
    "verbosity 1\r\n",
    "verbosity\r\n",
    "verbosity 1 noreply\r\n",
    "get a\n",
    "  get   a  \r\n",
    "bogus a b c\r\n",
    "flush_all x\r\n",
    "set a 0 0 1 bogus\r\nx\r\n",
    "incr a 1 bogus\r\n",
    "set a 0 0 1 noreply x\r\n",
    "set a 0 0 1 x y\r\n",
    "cas a 0 0 1 1 x y\r\n",
    "incr a 1 2 3\r\n",
    "decr a +1\r\n",
    "touch a 1 2 3\r\n",
    "touch a +1000\r\n",
    "delete a 0 noreply x\r\n",
    "flush_all 1 2 3\r\n",
    "verbosity x\r\n",
    "verbosity 1 2 3\r\n",
    "bget a\r\n",
    "bget\r\n",
    "get a HTTP/1.1\r\n",
    "foo HTTP/1.0 x\r\n",
    "cache_memlimit\r\n",
    "cache_memlimit x\r\n",
    "lru\r\n",
    "lru tune\r\n",
    "lru_crawler\r\n",
    "slabs\r\n",
    "slabs x\r\n",
    "extstore\r\n",
    "extstore x y\r\n",
    "shutdown\r\n",
    "refresh_certs\r\n",
    "misbehave\r\n",
    "debugtime 1\r\n",
    "auth\r\n",
    "stats reset\r\n",
    "stats sizes\r\n",
    "stats foo\r\n",
    "stats noreply\r\n",
];

/// Commands by chance.
impl Chance {
    fn key(&mut self) -> Vec<u8> {
        match self.below(40) {
            0 => vec![b'k'; 250],
            1 => vec![b'k'; 251],
            2 => vec![0xff, 0x01, b'\t'],
            _ => vec![b'a' + self.below(10) as u8],
        }
    }

    pub(crate) fn value(&mut self) -> Vec<u8> {
        // None from 2^63 on: memcached 1.6.18 looks for a minus in such a number, and beyond its end.
        let numbers = ["0", "9", "10", "99", "007", "9223372036854775807", "18446744073709551616", "x1", "5 ", " 5"];
        match self.below(5) {
            0 => (0..self.below(3000)).map(|at| (at * 7) as u8).collect(),
            1 => b"x\r\nEND\r\nVALUE".to_vec(),
            2 => Vec::new(),
            _ => self.one_of(&numbers).as_bytes().to_vec(),
        }
    }

    fn exptime(&mut self) -> &'static str {
        // Seconds from now; a date long gone; one far ahead, but in 31 bits. None of them comes while this runs.
        self.one_of(&["0", "0", "0", "0", "1000", "2592000", "2592001", "2000000000", "-1", "soon", ""])
    }

    fn command(&mut self) -> Asked {
        let noreply = self.one_of(&["", "", "", " noreply"]);
        let (key, value, exptime) = (self.key(), self.value(), self.exptime());
        if self.below(5) < 2 {
            return self.meta();
        }
        let flags = self.one_of(&["0", "0", "7", "4294967295", "4294967296", "-1", "x"]);
        let named = String::from_utf8_lossy(&key).into_owned();
        let by = self.one_of(&["1", "5", "0", "18446744073709551615", "18446744073709551616", "-1", "x", ""]);
        Asked::Plain(match self.below(20) {
            0..=4 => {
                let verb = self.one_of(&["set", "set", "add", "replace", "append", "prepend"]);
                let line = format!(" {flags} {exptime} {}{noreply}\r\n", value.len());
                [verb.as_bytes(), b" ", &key, line.as_bytes(), &value, b"\r\n"].concat()
            }
            5 => {
                let unique = self.one_of(&["CAS", "CAS", "CAS", "0", "x"]);
                let rest = format!("{flags} {exptime} {} {unique}{noreply}", value.len());
                return Asked::Cas { key, rest, value };
            }
            6..=8 => [b"get ", &key[..], b" ", &self.key(), b"\r\n"].concat(),
            9 | 10 => [b"gets ", &key[..], b"\r\n"].concat(),
            11 => [b"gat ", exptime.as_bytes(), b" ", &key, b"\r\n"].concat(),
            // The second is no key that is too long: memcached has touched the first one by then.
            12 => [b"gats ", exptime.as_bytes(), b" ", &key, b" c\r\n"].concat(),
            13 | 14 => {
                let verb = self.one_of(&["incr", "decr"]);
                [verb.as_bytes(), b" ", &key, b" ", by.as_bytes(), noreply.as_bytes(), b"\r\n"].concat()
            }
            15 => [b"delete ", &key[..], noreply.as_bytes(), b"\r\n"].concat(),
            16 => [b"touch ", &key[..], b" ", exptime.as_bytes(), noreply.as_bytes(), b"\r\n"].concat(),
            17 if self.below(20) == 0 => format!("flush_all{noreply}\r\n").into_bytes(),
            _ => self.odd(&named),
        })
    }

    /// Some commands to be sent together. Two kinds are sent alone: behind a key that is too long memcached 1.6.18
    /// forgets the answers in front; and whether a number that became shorter is filled up with spaces depends on what
    /// its threads do at the moment, so that it is deleted at once.
    fn commands(&mut self) -> Vec<Asked> {
        let mut commands: Vec<Asked> = (0..1 + self.below(8)).map(|_| self.command()).collect();
        let is = |asked: &Asked, kind: fn(&[u8]) -> bool| matches!(asked, Asked::Plain(bytes) if kind(bytes));
        let verbs = [&b"incr "[..], b"decr ", b"ma "];
        let counts = |asked: &Asked| asked.starts_with(&verbs);
        let long = |asked: &Asked| is(asked, |bytes| bytes.windows(251).any(|key| key == [b'k'; 251]));
        if let Some(at) = commands.iter().position(|asked| counts(asked) || long(asked)) {
            commands = vec![commands.swap_remove(at)];
        }
        if counts(&commands[0]) {
            let delete = [b"delete ", &commands[0].key()[..], b" noreply\r\nmd AQIgeg== b q\r\n"].concat();
            commands.push(Asked::Plain(delete));
        }
        commands
    }

    /// One of those, or a get of many.
    fn odd(&mut self, key: &str) -> Vec<u8> {
        match self.below(4) {
            0 => format!("get {key} a b c d e f g h i j\r\n").into_bytes(),
            _ => self.one_of(ODD).as_bytes().to_vec(),
        }
    }
}

#[test]
fn it_answers_as_memcached_does() {
    answers_as_memcached(1);
}

#[test]
fn two_reactors_answer_as_memcached_does() {
    answers_as_memcached(2);
}

fn answers_as_memcached(reactors: usize) {
    let Some(memcached) = Other::memcached(&["-m", "64"]) else { return };
    let server = cache(reactors);
    let (mut theirs, mut ours) = (Side::new(memcached.address), Side::new(server.memcache()));
    let count = if std::env::var_os("QPAIR_CAMPAIGN").is_some() { CAMPAIGN } else { COMMANDS };
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut done = 0;
    let mut before = Vec::new();
    while done < count {
        let commands = chance.commands();
        done += commands.len();
        let (expected, answered) = (theirs.ask(&commands), ours.ask(&commands));
        let differs = expected.iter().zip(&answered).position(|(one, two)| one != two);
        let at = differs.unwrap_or(expected.len().min(answered.len())).saturating_sub(60);
        assert!(
            expected == answered,
            "before: {}\ncommand {done}: {}\nmemcached: {}\nqpair:     {}",
            some(&before),
            shown(&commands, &ours),
            some(&expected[at..]),
            some(&answered[at..])
        );
        before = expected;
    }
}
