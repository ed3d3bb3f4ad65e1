//! What clients have asked for, by protocol and verb, and what became of it.
//!
//! An operation is about one key: a get of three keys is three of them. It is counted where it is carried out, which is
//! at the owner of the key. What is made of other commands - a MGET of the keys of several reactors, a RENAME - is
//! counted as those are.

use wire::memcache::{self, Command, MetaVerb};

use super::latency::Kind;
use crate::counters::Counters;
use crate::resp::table::{COMMANDS, Spec, Tells};

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// The key was there.
    Hit,
    /// The key was not there.
    Miss,
    /// The value is stored.
    Stored,
    /// The value was not to be stored, as the key was there, or was not.
    NotStored,
    /// The value was not stored, as somebody else has changed the one there is.
    Exists,
    /// It was done.
    Ok,
    /// The user may not do that.
    Denied,
    /// It was malformed, or failed.
    Error,
}

/// How many there are.
const OUTCOMES: usize = Outcome::ALL.len();

impl Outcome {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] =
        [Self::Hit, Self::Miss, Self::Stored, Self::NotStored, Self::Exists, Self::Ok, Self::Denied, Self::Error];

    /// Its name as a label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stored => "stored",
            Self::NotStored => "not_stored",
            Self::Exists => "exists",
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::Error => "error",
        }
    }

    /// Of a key that was looked for.
    pub(crate) fn found(is: bool) -> Self {
        if is { Self::Hit } else { Self::Miss }
    }
}

/// What was asked for: a verb of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verb(u8);

/// Those of memcached's protocol; behind the last of them are Redis' commands, in the order of their table.
const MEMCACHE: [(&str, Kind); 26] = [
    ("get", Kind::Get),
    ("gets", Kind::Get),
    ("gat", Kind::Get),
    ("gats", Kind::Get),
    ("set", Kind::Store),
    ("add", Kind::Store),
    ("replace", Kind::Store),
    ("append", Kind::Store),
    ("prepend", Kind::Store),
    ("cas", Kind::Store),
    ("incr", Kind::Store),
    ("decr", Kind::Store),
    ("delete", Kind::Delete),
    ("touch", Kind::Other),
    ("mg", Kind::Get),
    ("ms", Kind::Store),
    ("md", Kind::Delete),
    ("ma", Kind::Store),
    ("me", Kind::Other),
    ("mn", Kind::Other),
    ("flush_all", Kind::Other),
    ("stats", Kind::Other),
    ("version", Kind::Other),
    ("verbosity", Kind::Other),
    ("quit", Kind::Other),
    ("refused", Kind::Other),
];

impl Verb {
    /// A command of memcached's.
    #[inline]
    pub(crate) fn of_memcached(command: &Command<'_>) -> Self {
        match command {
            Command::Get { cas, touch, .. } => Self::get(*cas, touch.is_some()),
            Command::Store { verb: memcache::Verb::Set, .. } => Self::SET,
            Command::Store { verb: memcache::Verb::Add, .. } => Self::ADD,
            Command::Store { verb: memcache::Verb::Replace, .. } => Self::REPLACE,
            Command::Store { verb: memcache::Verb::Append, .. } => Self::APPEND,
            Command::Store { verb: memcache::Verb::Prepend, .. } => Self::PREPEND,
            Command::Store { verb: memcache::Verb::Cas(_), .. } => Self::CAS,
            Command::Count { down: false, .. } => Self::INCR,
            Command::Count { down: true, .. } => Self::DECR,
            Command::Delete { .. } => Self::DELETE,
            Command::Touch { .. } => Self::TOUCH,
            Command::Meta { meta, .. } => match meta.verb {
                MetaVerb::Get => Self::META_GET,
                MetaVerb::Set => Self::META_SET,
                MetaVerb::Delete => Self::META_DELETE,
                MetaVerb::Count => Self::META_COUNT,
                MetaVerb::Describe => Self::META_DESCRIBE,
            },
            Command::MetaNoop => Self::META_NOOP,
            Command::FlushAll { .. } => Self::FLUSH_ALL,
            Command::Stats(_) => Self::STATS,
            Command::Version => Self::VERSION,
            Command::Verbosity { .. } => Self::VERBOSITY,
            Command::Quit => Self::QUIT,
        }
    }

    /// A get of memcached's.
    #[inline]
    pub(crate) fn get(cas: bool, touches: bool) -> Self {
        match (cas, touches) {
            (false, false) => Self::GET,
            (true, false) => Self::GETS,
            (false, true) => Self::GAT,
            (true, true) => Self::GATS,
        }
    }
}

/// Of Redis' commands, behind those of the table: what has a subcommand, and what there is not.
const BESIDE: [&str; 2] = ["subcommand", "unknown"];

/// Verbs of both protocols.
pub(crate) fn verbs() -> usize {
    MEMCACHE.len() + COMMANDS.len() + BESIDE.len()
}

impl Verb {
    pub(crate) const GET: Self = Self(0);
    pub(crate) const GETS: Self = Self(1);
    pub(crate) const GAT: Self = Self(2);
    pub(crate) const GATS: Self = Self(3);
    pub(crate) const SET: Self = Self(4);
    pub(crate) const ADD: Self = Self(5);
    pub(crate) const REPLACE: Self = Self(6);
    pub(crate) const APPEND: Self = Self(7);
    pub(crate) const PREPEND: Self = Self(8);
    pub(crate) const CAS: Self = Self(9);
    pub(crate) const INCR: Self = Self(10);
    pub(crate) const DECR: Self = Self(11);
    pub(crate) const DELETE: Self = Self(12);
    pub(crate) const TOUCH: Self = Self(13);
    pub(crate) const META_GET: Self = Self(14);
    pub(crate) const META_SET: Self = Self(15);
    pub(crate) const META_DELETE: Self = Self(16);
    pub(crate) const META_COUNT: Self = Self(17);
    pub(crate) const META_DESCRIBE: Self = Self(18);
    pub(crate) const META_NOOP: Self = Self(19);
    pub(crate) const FLUSH_ALL: Self = Self(20);
    pub(crate) const STATS: Self = Self(21);
    pub(crate) const VERSION: Self = Self(22);
    pub(crate) const VERBOSITY: Self = Self(23);
    pub(crate) const QUIT: Self = Self(24);
    pub(crate) const REFUSED: Self = Self(25);

    /// A Redis command, as which it counts.
    pub(crate) fn of(spec: &Spec) -> Self {
        Self(MEMCACHE.len() as u8 + spec.number.min(COMMANDS.len() as u8))
    }

    /// What there is not, of Redis'.
    pub(crate) fn unknown() -> Self {
        Self((verbs() - 1) as u8)
    }

    fn spec(self) -> Option<&'static Spec> {
        COMMANDS.get(usize::from(self.0).checked_sub(MEMCACHE.len())?)
    }

    /// The protocol and the name.
    pub(crate) fn name(self) -> (&'static str, &'static str) {
        let number = usize::from(self.0);
        match (MEMCACHE.get(number), self.spec()) {
            (Some((name, _)), _) => ("memcache", name),
            (None, Some(spec)) => ("resp", spec.name),
            (None, None) => ("resp", BESIDE[number - MEMCACHE.len() - COMMANDS.len()]),
        }
    }

    /// What its latency is counted with.
    pub(crate) fn kind(self) -> Kind {
        match (MEMCACHE.get(usize::from(self.0)), self.spec()) {
            (Some((_, kind)), _) => *kind,
            (None, Some(spec)) => spec.kind(),
            (None, None) => Kind::Other,
        }
    }
}

/// Counts of all operations of a reactor.
#[derive(Clone, Debug)]
pub(crate) struct Operations {
    cells: Box<[[u64; OUTCOMES]]>,
    /// What was counted last, since that was forgotten; without an outcome, what was asked of others.
    last: Option<(Verb, Option<Outcome>)>,
    /// 1; 0 while nothing is counted.
    step: u64,
}

impl Default for Operations {
    fn default() -> Self {
        Self { cells: vec![[0; OUTCOMES]; verbs()].into_boxed_slice(), last: None, step: 1 }
    }
}

/// The counters that tell, by how much they grow, what a Redis command has done.
#[derive(Clone, Copy)]
pub(crate) struct Before {
    hits: u64,
    misses: u64,
    stored: u64,
}

impl Before {
    #[inline]
    pub(crate) fn new(counters: &Counters) -> Self {
        Self { hits: counters.get_hits, misses: counters.get_misses, stored: counters.total_items }
    }
}

impl Operations {
    /// One operation.
    #[inline]
    pub(crate) fn count(&mut self, verb: Verb, outcome: Outcome) {
        self.add(verb, outcome, 1);
    }

    #[inline]
    fn add(&mut self, verb: Verb, outcome: Outcome, count: u64) {
        self.last = Some((verb, Some(outcome)));
        self.cells[usize::from(verb.0)][outcome as usize] += count * self.step;
    }

    /// Of several keys at once.
    #[inline]
    fn add_both(&mut self, verb: Verb, hits: u64, misses: u64) {
        if misses > 0 {
            self.add(verb, Outcome::Miss, misses);
        }
        if hits > 0 {
            self.add(verb, Outcome::Hit, hits);
        }
    }

    /// Whether operations from now on count.
    pub(crate) fn set_counting(&mut self, counts: bool) {
        self.step = counts.into();
    }

    /// An operation is carried out elsewhere, which counts it.
    #[inline]
    pub(crate) fn is_away(&mut self, verb: Verb) {
        self.last = Some((verb, None));
    }

    /// The last operation since the last call, and what became of it if that is known.
    pub(crate) fn take_last(&mut self) -> Option<(Verb, Option<Outcome>)> {
        self.last.take()
    }

    /// A Redis command of so many keys has said this, and the counters are like that.
    #[inline]
    pub(crate) fn resp(
        &mut self,
        spec: &Spec,
        keys: impl FnOnce() -> u64,
        before: Before,
        now: &Counters,
        answer: &[u8],
    ) {
        let verb = Verb::of(spec);
        if answer.first() == Some(&b'-') {
            return self.count(verb, Outcome::Error);
        }
        match spec.tells {
            Tells::Gets => {
                self.add_both(verb, now.get_hits - before.hits, now.get_misses - before.misses);
            }
            Tells::Stores => match now.total_items - before.stored {
                0 => self.count(verb, Outcome::NotStored),
                stored => self.add(verb, Outcome::Stored, stored),
            },
            Tells::Sum => {
                let (hits, keys) = (number(answer).unwrap_or(0), keys());
                self.add_both(verb, hits, keys.saturating_sub(hits));
            }
            Tells::Flag => self.count(verb, Outcome::found(!matches!(answer, b":0\r\n" | b":-2\r\n" | b"+none\r\n"))),
            Tells::Nothing => self.count(verb, Outcome::Ok),
        }
    }

    /// How many there were.
    pub(crate) fn total(&self) -> u64 {
        self.cells.iter().flatten().sum()
    }

    /// All numbers.
    pub(crate) fn numbers(&mut self) -> impl Iterator<Item = &mut u64> {
        self.cells.iter_mut().flatten()
    }

    /// Those that there were: protocol, verb, outcome and count.
    pub(crate) fn list(&self) -> impl Iterator<Item = (&'static str, &'static str, Outcome, u64)> {
        self.cells.iter().enumerate().flat_map(|(number, counts)| {
            let (protocol, verb) = Verb(number as u8).name();
            let all = Outcome::ALL.into_iter().zip(counts).filter(|(_, count)| **count > 0);
            all.map(move |(outcome, count)| (protocol, verb, outcome, *count))
        })
    }
}

/// The number that an answer is.
fn number(answer: &[u8]) -> Option<u64> {
    let digits = answer.strip_prefix(b":")?.strip_suffix(b"\r\n")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::table::named;

    #[test]
    fn verbs_have_the_names_of_their_protocols() {
        for (verb, name) in [
            (Verb::GET, "get"),
            (Verb::CAS, "cas"),
            (Verb::TOUCH, "touch"),
            (Verb::META_GET, "mg"),
            (Verb::META_NOOP, "mn"),
            (Verb::FLUSH_ALL, "flush_all"),
            (Verb::QUIT, "quit"),
            (Verb::REFUSED, "refused"),
        ] {
            assert_eq!(verb.name(), ("memcache", name));
        }
        let resp = |name: &str| Verb::of(named(name.as_bytes()).expect(name));
        assert_eq!((resp("get").name(), resp("mget").name()), (("resp", "get"), ("resp", "get")));
        assert_eq!((resp("setex").name(), resp("setex").kind()), (("resp", "setex"), Kind::Store));
        assert_eq!((resp("unlink").kind(), resp("exists").kind()), (Kind::Delete, Kind::Other));
        let subcommand = named(b"client").and_then(|client| client.subcommand(b"list")).expect("a subcommand");
        assert_eq!(Verb::of(subcommand).name(), ("resp", "subcommand"));
        assert_eq!(Verb::unknown().name(), ("resp", "unknown"));
        assert!(verbs() < usize::from(u8::MAX));
    }
}
