//! A client of a cache that knows every answer beforehand, and what the cache may hold after it died.
//!
//! ```text
//!   key 17   | after what was acknowledged last | after the 1st change since then | after the 2nd | ...
//!              goes when the next one is acknowledged
//! ```
//!
//! Of the changes that it did not acknowledge a cache may have made any, so each of these states is right. Nobody else
//! changes the keys.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::random::Random;

/// Numbers, which `incr` counts up, are in the first of them.
const KEYS: usize = 200;
const NUMBERS: usize = KEYS / 8;
/// Changes that are sent at once.
const MOST_AT_ONCE: u64 = 32;
/// Bytes of usual values, and of those that do not fit into a segment.
const VALUE_BYTES: u64 = 3000;
const LARGE_BYTES: u64 = 50_000;
/// Seconds that an item has to live; 0 is for ever. No test takes as long.
const LIVES: [u32; 4] = [0, 20_000, 40_000, 60_000];
/// By so much less may be left, in seconds: how long a test takes.
const AGED_S: u32 = 10_000;
/// No answer takes as long. The guest is slow, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    value: Vec<u8>,
    lives: u32,
}

/// What is under a key.
type State = Option<Item>;

/// A command that changes something.
struct Change {
    command: Vec<u8>,
    answer: String,
    /// Else all of them.
    key: Option<usize>,
    becomes: State,
}

/// What is known of a cache.
pub(in crate::lab) struct Client {
    pub(in crate::lab) name: &'static str,
    address: (&'static str, u16),
    keys: Vec<VecDeque<State>>,
    random: Random,
    sent: u64,
}

impl Client {
    /// Of an empty cache that listens on this port of this machine.
    pub(in crate::lab) fn new(name: &'static str, port: u16) -> Self {
        let keys = vec![VecDeque::from([None]); KEYS];
        Self { name, address: ("127.0.0.1", port), keys, random: Random::new(), sent: 0 }
    }

    /// Changes things until the cache is gone. Counts what was acknowledged.
    ///
    /// # Errors
    /// It has answered otherwise than it should.
    pub(in crate::lab) fn load(&mut self, acknowledged: &AtomicU64) -> Result<(), String> {
        let Ok((mut reader, mut writer)) = self.connect() else { return Ok(()) };
        loop {
            let changes: Vec<Change> = (0..=self.random.below(MOST_AT_ONCE)).map(|_| self.next_change()).collect();
            let commands: Vec<u8> = changes.iter().flat_map(|change| change.command.iter().copied()).collect();
            if writer.write_all(&commands).is_err() {
                return Ok(());
            }
            for change in changes {
                let mut answer = String::new();
                // One that is cut off is none.
                if reader.read_line(&mut answer).is_err() || !answer.ends_with("\r\n") {
                    return Ok(());
                }
                if answer.trim_end() != change.answer {
                    let command = change.command.escape_ascii().to_string();
                    let command = &command[..command.len().min(60)];
                    return Err(format!("{}: {command}: {answer:?} instead of {:?}", self.name, change.answer));
                }
                self.states(change.key).for_each(|states| drop(states.pop_front()));
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Makes up a change, and notes what it may lead to.
    fn next_change(&mut self) -> Change {
        self.sent += 1;
        let key = self.random.below(KEYS as u64) as usize;
        let is = self.keys[key].back().expect("there is always one");
        let there = |yes: &str| if is.is_some() { yes.to_owned() } else { "NOT_FOUND".to_owned() };
        let lives = LIVES[self.random.below(LIVES.len() as u64) as usize];
        let change = match self.random.below(500) {
            0 => Change { command: b"flush_all\r\n".to_vec(), answer: "OK".to_owned(), key: None, becomes: None },
            1..=79 => {
                let command = format!("delete k{key}\r\n").into_bytes();
                Change { command, answer: there("DELETED"), key: Some(key), becomes: None }
            }
            80..=179 => {
                let command = format!("touch k{key} {lives}\r\n").into_bytes();
                let becomes = is.clone().map(|item| Item { lives, ..item });
                Change { command, answer: there("TOUCHED"), key: Some(key), becomes }
            }
            180..=279 if key < NUMBERS => {
                let becomes = is.clone().map(|item| Item { value: plus_7(&item.value), ..item });
                let sum = becomes.as_ref().map_or(String::new(), |item| item.value.escape_ascii().to_string());
                let command = format!("incr k{key} 7\r\n").into_bytes();
                Change { command, answer: there(&sum), key: Some(key), becomes }
            }
            _ => {
                let value = self.value(key);
                let mut command = format!("set k{key} 0 {lives} {}\r\n", value.len()).into_bytes();
                command.extend_from_slice(&value);
                command.extend_from_slice(b"\r\n");
                Change { command, answer: "STORED".to_owned(), key: Some(key), becomes: Some(Item { value, lives }) }
            }
        };
        let becomes = change.becomes.clone();
        self.states(change.key).for_each(|states| states.push_back(becomes.clone()));
        change
    }

    /// One that no other change has.
    fn value(&mut self, key: usize) -> Vec<u8> {
        if key < NUMBERS {
            return self.sent.to_string().into_bytes();
        }
        let most = if self.random.below(40) == 0 { LARGE_BYTES } else { VALUE_BYTES };
        let (bytes, word) = (self.random.below(most) as usize, format!("{}.{} ", self.sent, self.random.next()));
        word.bytes().cycle().take(word.len() + bytes).collect()
    }

    /// Of the key, or of all.
    fn states(&mut self, key: Option<usize>) -> impl Iterator<Item = &mut VecDeque<State>> {
        let which = key.map_or(0..KEYS, |key| key..key + 1);
        self.keys[which].iter_mut()
    }

    /// It has lost everything, and says so.
    pub(in crate::lab) fn expect_nothing(&mut self) {
        self.keys.fill(VecDeque::from([None]));
    }

    /// Looks at all keys: how many are there, and of how many.
    ///
    /// # Errors
    /// What is there cannot be, after what was asked for and acknowledged.
    pub(in crate::lab) fn check(&mut self) -> Result<(usize, usize), String> {
        let (mut reader, mut writer) = self.connect().map_err(|e| format!("{}: {e}", self.name))?;
        let gets: String = (0..KEYS).map(|key| format!("mg k{key} v t\r\n")).collect();
        writer.write_all(gets.as_bytes()).map_err(|e| format!("{}: {e}", self.name))?;
        let mut there = 0;
        for (key, states) in self.keys.iter_mut().enumerate() {
            let found = read_item(&mut reader).map_err(|e| format!("{}: k{key}: {e}", self.name))?;
            let Some(state) = states.iter().find(|state| fits(state, found.as_ref())) else {
                let may: Vec<_> = states.iter().map(|state| shown(state.as_ref())).collect();
                return Err(format!("{}: k{key} is {}, may be {}", self.name, shown(found.as_ref()), may.join(" or ")));
            };
            there += usize::from(state.is_some());
            *states = VecDeque::from([state.clone()]);
        }
        Ok((there, KEYS))
    }

    fn connect(&self) -> std::io::Result<(BufReader<TcpStream>, TcpStream)> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok((BufReader::new(stream.try_clone()?), stream))
    }
}

fn plus_7(number: &[u8]) -> Vec<u8> {
    let number = number.iter().fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    (number + 7).to_string().into_bytes()
}

/// An answer to `mg KEY v t`: `EN`, or `VA BYTES tSECONDS` and the value. What lives for ever has -1 second.
fn read_item(reader: &mut impl BufRead) -> Result<State, String> {
    let mut line = String::new();
    reader.read_line(&mut line).map_err(|e| e.to_string())?;
    if line == "EN\r\n" {
        return Ok(None);
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["VA", bytes, lives] = words[..] else { return Err(format!("{line:?} instead of an item")) };
    let bytes: usize = bytes.parse().map_err(|_| format!("{line:?}"))?;
    let lives: i64 = lives.trim_start_matches('t').parse().map_err(|_| format!("{line:?}"))?;
    let mut value = vec![0; bytes + 2];
    reader.read_exact(&mut value).map_err(|e| e.to_string())?;
    value.truncate(bytes);
    Ok(Some(Item { value, lives: u32::try_from(lives.max(0)).map_err(|e| e.to_string())? }))
}

/// Whether this state was found; of what it has to live, some may have gone by.
fn fits(state: &State, found: Option<&Item>) -> bool {
    match (state, found) {
        (Some(is), Some(found)) => {
            let least = if is.lives == 0 { 0 } else { is.lives - AGED_S };
            is.value == found.value && (least..=is.lives).contains(&found.lives)
        }
        (None, None) => true,
        _ => false,
    }
}

fn shown(item: Option<&Item>) -> String {
    item.map_or("nothing".to_owned(), |Item { value, lives }| {
        let start = value[..value.len().min(30)].escape_ascii();
        format!("'{start}' ({} bytes, {lives} s)", value.len())
    })
}
