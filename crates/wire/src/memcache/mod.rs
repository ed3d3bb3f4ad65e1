//! The memcached text protocol as bytes: what a client asks.
//!
//! ```text
//!   get k1 k2\r\n      set k 0 60 3\r\n      incr n 1 noreply\r\n        a line of words ...
//!                      abc\r\n                                           ... and of what is stored the bytes
//! ```
//!
//! A parser without state: it is given what has come and not been used, and finds a whole command in it, borrows key
//! and value from there, or says how much it wants to see. Source of all rules: memcached 1.6's `doc/protocol.txt`, and
//! where that is silent, what memcached 1.6.18 answers.

mod base64;
pub mod client;
pub mod limits;
mod line;
mod meta;
#[cfg(test)]
mod tests;

pub use base64::encode as encode_key;
pub use meta::{Key, KeyRoom, Meta, MetaVerb, Options};

use limits::{MAX_AWAITED_BYTES, MAX_GET_LINE_BYTES, MAX_KEY_BYTES, MAX_LINE_BYTES};
use line::{Words, signed, unsigned};

/// How a value is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// In any case.
    Set,
    /// If there is none.
    Add,
    /// If there is one.
    Replace,
    /// Behind the one that is there.
    Append,
    /// In front of the one that is there.
    Prepend,
    /// If the one that is there has this CAS.
    Cas(u64),
}

/// What a client asks. `quiet` is its wish for no answer (`noreply`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `get`, `gets`, `gat`, `gats`.
    Get {
        /// Which.
        keys: Keys<'a>,
        /// With the CAS of each.
        cas: bool,
        /// Their new expiry: see [`Command::Touch`].
        touch: Option<i64>,
    },
    /// `set`, `add`, `replace`, `append`, `prepend`, `cas`.
    Store {
        /// How.
        verb: Verb,
        /// Under what.
        key: &'a [u8],
        /// The client's own; it gets them back.
        flags: u32,
        /// See [`Command::Touch`].
        exptime: i64,
        /// What.
        value: &'a [u8],
        /// No answer.
        quiet: bool,
    },
    /// `incr`, `decr`.
    Count {
        /// Of what.
        key: &'a [u8],
        /// By how much.
        by: u64,
        /// `decr`.
        down: bool,
        /// No answer.
        quiet: bool,
    },
    /// `delete`.
    Delete {
        /// What.
        key: &'a [u8],
        /// No answer.
        quiet: bool,
    },
    /// `touch`: seconds from now; beyond 30 days, seconds since 1970; 0 is never, and less is at once.
    Touch {
        /// What.
        key: &'a [u8],
        /// Until when it is there from now on.
        exptime: i64,
        /// No answer.
        quiet: bool,
    },
    /// `flush_all`: everything goes, so many seconds from now.
    FlushAll {
        /// 0 is now.
        delay: i64,
        /// No answer.
        quiet: bool,
    },
    /// `version`.
    Version,
    /// `verbosity`, which changes nothing here.
    Verbosity {
        /// No answer.
        quiet: bool,
    },
    /// `stats`, and of what.
    Stats(Option<&'a [u8]>),
    /// `mg`, `md`, `ma`, `me`; and `ms`, whose value this is.
    Meta {
        /// What.
        meta: Meta<'a>,
        /// Nothing for all but `ms`.
        value: &'a [u8],
    },
    /// `mn`.
    MetaNoop,
    /// `quit`.
    Quit,
}

impl Command<'_> {
    /// Whether no answer is wanted.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        match *self {
            Self::Store { quiet, .. }
            | Self::Count { quiet, .. }
            | Self::Delete { quiet, .. }
            | Self::Touch { quiet, .. }
            | Self::FlushAll { quiet, .. }
            | Self::Verbosity { quiet } => quiet,
            _ => false,
        }
    }
}

/// The words of a line that are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys<'a>(Words<'a>);

impl<'a> Keys<'a> {
    /// One key, which has no space.
    #[must_use]
    pub fn only(key: &'a [u8]) -> Self {
        Self(Words::of(key))
    }
}

impl<'a> Iterator for Keys<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.next()
    }
}

/// What the bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// Nothing whole: at least so many bytes are to be seen.
    More(usize),
    /// A command, of so many bytes.
    Command(Command<'a>, usize),
    /// The line of a command whose value, of more than [`limits::MAX_AWAITED_BYTES`], is still coming.
    Begun(Begun<'a>),
    /// Nothing that is understood.
    Wrong(Refused<'a>),
    /// A line that is too long, or has no end: the stream is not followed any more.
    Endless,
    /// The binary protocol, which is not spoken here.
    Binary,
}

/// A command that is to be carried out when its value and an end of line have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun<'a> {
    /// With nothing as its value.
    pub command: Command<'a>,
    /// Bytes of its line.
    pub used: usize,
    /// Bytes of its value.
    pub bytes: usize,
    /// Its key.
    pub key: Key<'a>,
    /// No answer is wanted, whatever becomes of it.
    pub quiet: bool,
    /// See [`Refused::stale`].
    pub stale: Option<Key<'a>>,
}

/// A command that is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// Why.
    pub wrong: Wrong,
    /// Its bytes.
    pub used: usize,
    /// Bytes of a value behind them, which are to be thrown away.
    pub skip: usize,
    /// No answer is wanted.
    pub quiet: bool,
    /// Of a `set` or an `ms`, its key: whoever asks for it next must not find what it was to replace.
    pub stale: Option<Key<'a>>,
}

/// What is wrong with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// No such command, or too few words.
    Unknown,
    /// A word is not what it should be.
    Format,
    /// A value does not end where it should.
    Chunk,
    /// A value is larger than the limit.
    TooLarge,
    /// What is to be added or subtracted is not a number of 64 bits.
    Delta,
    /// A time is not a number.
    Exptime,
    /// A delete has words it should not have.
    DeleteUsage,
    /// A meta command has a flag that there is not.
    InvalidFlag,
    /// It has a flag twice.
    DuplicateFlag,
    /// Of `md` and `ma`: what is wrong with a flag is not told.
    Flags,
    /// It has too many flags: of `mg` ...
    ManyFlagsOfGet,
    /// ... and of the others.
    ManyFlags,
    /// Behind a flag there is no number.
    FlagValue,
    /// Behind J there is none.
    Initial,
    /// Behind D there is none.
    DeltaFlag,
    /// Behind M there is not one letter.
    ModeLength,
    /// Of `ms`: M has another letter.
    SetMode,
    /// Of `ma`: M has another letter.
    CountMode,
    /// The key is not base64.
    KeyEncoding,
    /// Behind O there is too much.
    LongOpaque,
    /// `cache_memlimit`: the memory is what it is.
    MemoryLimit,
    /// `slabs reassign`: there are no slabs.
    Slabs,
    /// `lru_crawler`: nothing crawls here.
    Crawler,
    /// `watch`: there is no log to be watched.
    Watch,
    /// `shutdown` is not for clients.
    Shutdown,
    /// `refresh_certs`: there are none.
    Certificates,
}

impl Wrong {
    /// The answer to it, without the end of the line.
    #[must_use]
    pub fn answer(self) -> &'static str {
        match self {
            Self::Unknown => "ERROR",
            Self::Format => "CLIENT_ERROR bad command line format",
            Self::Chunk => "CLIENT_ERROR bad data chunk",
            Self::TooLarge => "SERVER_ERROR object too large for cache",
            Self::Delta => "CLIENT_ERROR invalid numeric delta argument",
            Self::Exptime => "CLIENT_ERROR invalid exptime argument",
            Self::DeleteUsage => "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]",
            Self::InvalidFlag => "CLIENT_ERROR invalid flag",
            Self::DuplicateFlag => "CLIENT_ERROR duplicate flag",
            Self::Flags => "CLIENT_ERROR invalid or duplicate flag",
            Self::ManyFlagsOfGet => "CLIENT_ERROR options flags are too long",
            Self::ManyFlags => "CLIENT_ERROR options flags too long",
            Self::FlagValue => "CLIENT_ERROR bad token in command line format",
            Self::Initial => "CLIENT_ERROR invalid numeric initial value",
            Self::DeltaFlag => "CLIENT_ERROR invalid numeric delta value",
            Self::ModeLength => "CLIENT_ERROR incorrect length for M token",
            Self::SetMode => "CLIENT_ERROR invalid mode for ms M token",
            Self::CountMode => "CLIENT_ERROR invalid mode for ma M token",
            Self::KeyEncoding => "CLIENT_ERROR error decoding key",
            Self::LongOpaque => "CLIENT_ERROR opaque token too long",
            Self::MemoryLimit => "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust",
            Self::Slabs => "CLIENT_ERROR slab reassignment disabled",
            Self::Crawler => "CLIENT_ERROR lru crawler disabled",
            Self::Watch => "CLIENT_ERROR watch commands not allowed",
            Self::Shutdown => "ERROR: shutdown not enabled",
            Self::Certificates => "Error TLS not enabled",
        }
    }
}

/// The first byte of a request of the binary protocol.
const BINARY_MAGIC: u8 = 0x80;

/// What the bytes begin with; values of at most `max_value` bytes.
#[must_use]
pub fn parse(bytes: &[u8], max_value: usize) -> Parsed<'_> {
    if bytes.first() == Some(&BINARY_MAGIC) {
        return Parsed::Binary;
    }
    let gets = bytes.starts_with(b"get") || bytes.starts_with(b"gat");
    let longest = if gets { MAX_GET_LINE_BYTES } else { MAX_LINE_BYTES };
    let seen = &bytes[..bytes.len().min(longest)];
    let Some(end) = seen.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() < longest { Parsed::More(bytes.len() + 1) } else { Parsed::Endless };
    };
    let line = seen[..end].strip_suffix(b"\r").unwrap_or(&seen[..end]);
    let used = end + 1;
    match command(line) {
        Ok(Line::Whole(command)) => Parsed::Command(command, used),
        Ok(Line::Store(store)) => store.with_value(bytes, used, max_value),
        Ok(Line::Refused(wrong, value)) => {
            Parsed::Wrong(Refused { wrong, used, skip: value + 2, quiet: false, stale: None })
        }
        Err(wrong) => {
            // A line with too few words is answered in any case, and a meta command knows no `noreply`.
            let quiet = wrong != Wrong::Unknown && !is_meta(line) && Words::of(line).is_quiet();
            Parsed::Wrong(Refused { wrong, used, skip: 0, quiet, stale: None })
        }
    }
}

/// What a line says.
enum Line<'a> {
    Whole(Command<'a>),
    Store(Store<'a>),
    /// What is wrong with it, and the bytes of the value that follows.
    Refused(Wrong, usize),
}

/// A line that a value follows.
struct Store<'a> {
    what: What<'a>,
    bytes: usize,
    quiet: bool,
}

/// How the value is to be stored.
enum What<'a> {
    Plain { verb: Verb, key: &'a [u8], flags: u32, exptime: i64 },
    Meta(Meta<'a>),
}

impl<'a> Store<'a> {
    fn with_value(self, bytes: &'a [u8], line: usize, max_value: usize) -> Parsed<'a> {
        let Self { what, bytes: length, quiet } = self;
        let whole = length + 2;
        if length > max_value {
            let wrong = Wrong::TooLarge;
            return Parsed::Wrong(Refused { wrong, used: line, skip: whole, quiet, stale: what.replaces() });
        }
        let Some(value) = bytes.get(line..line + whole) else {
            if length <= MAX_AWAITED_BYTES {
                return Parsed::More(line + whole);
            }
            let (key, stale, command) = (what.key(), what.replaces(), what.with(b"", quiet));
            return Parsed::Begun(Begun { command, used: line, bytes: length, key, quiet, stale });
        };
        let Some(value) = value.strip_suffix(b"\r\n") else {
            let used = line + whole;
            return Parsed::Wrong(Refused { wrong: Wrong::Chunk, used, skip: 0, quiet, stale: None });
        };
        Parsed::Command(what.with(value, quiet), line + whole)
    }
}

impl<'a> What<'a> {
    fn with(self, value: &'a [u8], quiet: bool) -> Command<'a> {
        match self {
            Self::Plain { verb, key, flags, exptime } => Command::Store { verb, key, flags, exptime, value, quiet },
            Self::Meta(meta) => Command::Meta { meta, value },
        }
    }

    fn key(&self) -> Key<'a> {
        match self {
            Self::Plain { key, .. } => Key::plain(key),
            Self::Meta(meta) => meta.key,
        }
    }

    /// The key whose old value must not be found when the new one is not taken.
    fn replaces(&self) -> Option<Key<'a>> {
        match self {
            Self::Plain { verb: Verb::Set, key, .. } => Some(Key::plain(key)),
            Self::Plain { .. } => None,
            Self::Meta(meta) => Some(meta.key),
        }
    }
}

fn is_meta(line: &[u8]) -> bool {
    let verb = Words::of(line).next();
    matches!(verb, Some(b"mg" | b"ms" | b"md" | b"ma" | b"me"))
}

fn command(line: &[u8]) -> Result<Line<'_>, Wrong> {
    let mut words = Words::of(line);
    let verb = words.next().ok_or(Wrong::Unknown)?;
    Ok(Line::Whole(match verb {
        b"get" | b"bget" => get(words, false, false)?,
        b"gets" => get(words, true, false)?,
        b"gat" => get(words, false, true)?,
        b"gats" => get(words, true, true)?,
        b"set" => return store(Verb::Set, words),
        b"add" => return store(Verb::Add, words),
        b"replace" => return store(Verb::Replace, words),
        b"append" => return store(Verb::Append, words),
        b"prepend" => return store(Verb::Prepend, words),
        b"cas" => return store(Verb::Cas(0), words),
        b"incr" => count(words, false)?,
        b"decr" => count(words, true)?,
        b"delete" => delete(words)?,
        b"touch" => touch(words)?,
        b"flush_all" => flush_all(words)?,
        b"version" => Command::Version,
        b"verbosity" => {
            few(words, 1..=2)?;
            let quiet = words.is_quiet();
            words.next().and_then(unsigned).ok_or(Wrong::Format)?;
            Command::Verbosity { quiet }
        }
        b"stats" => Command::Stats(words.next()),
        b"mg" => return meta(MetaVerb::Get, words),
        b"ms" => return meta(MetaVerb::Set, words),
        b"md" => return meta(MetaVerb::Delete, words),
        b"ma" => return meta(MetaVerb::Count, words),
        b"me" => return meta(MetaVerb::Describe, words),
        b"mn" => Command::MetaNoop,
        b"quit" => Command::Quit,
        _ => return other(verb, words),
    }))
}

/// What memcached does and this server does not, answered as memcached does where it is switched off; and what nobody
/// knows. A request of HTTP ends it: somebody may have made a browser send that, and commands behind it.
fn other<'a>(verb: &[u8], words: Words<'a>) -> Result<Line<'a>, Wrong> {
    let count = words.count();
    Err(match verb {
        b"cache_memlimit" if (1..=2).contains(&count) => match words.into_iter().next().and_then(unsigned) {
            Some(_) => Wrong::MemoryLimit,
            None => Wrong::Unknown,
        },
        b"slabs" if count == 3 && words.into_iter().next() == Some(b"reassign") => Wrong::Slabs,
        b"lru_crawler" if count == 2 => match words.into_iter().next() {
            Some(b"crawl" | b"metadump") => Wrong::Crawler,
            _ => Wrong::Unknown,
        },
        b"watch" => Wrong::Watch,
        b"shutdown" => Wrong::Shutdown,
        b"refresh_certs" => Wrong::Certificates,
        _ if words.last().is_some_and(|word| word.starts_with(b"HTTP/")) => return Ok(Line::Whole(Command::Quit)),
        _ => Wrong::Unknown,
    })
}

/// Whether the words that are left are as many as there may be.
fn few(words: Words<'_>, many: std::ops::RangeInclusive<usize>) -> Result<(), Wrong> {
    if many.contains(&words.count()) { Ok(()) } else { Err(Wrong::Unknown) }
}

fn get(mut words: Words<'_>, cas: bool, touches: bool) -> Result<Command<'_>, Wrong> {
    let touch = if touches {
        // No key is no mistake then.
        Some(signed(words.next().ok_or(Wrong::Unknown)?).ok_or(Wrong::Exptime)?)
    } else {
        words.clone().next().ok_or(Wrong::Unknown)?;
        None
    };
    if words.clone().any(|key| key.len() > MAX_KEY_BYTES) {
        return Err(Wrong::Format);
    }
    Ok(Command::Get { keys: Keys(words), cas, touch })
}

fn store(verb: Verb, mut words: Words<'_>) -> Result<Line<'_>, Wrong> {
    let mut next = || words.next().ok_or(Wrong::Unknown);
    let (name, flags, exptime, bytes) = (next()?, next()?, next()?, next()?);
    let unique = if let Verb::Cas(_) = verb { Some(next()?) } else { None };
    few(words, 0..=1)?;
    let key = key(Some(name))?;
    // The upper half of a larger number is lost, without a word.
    let flags = unsigned(flags).ok_or(Wrong::Format)? as u32;
    let exptime = signed(exptime).ok_or(Wrong::Format)?;
    let bytes = value_bytes(bytes)?;
    let verb = match unique {
        Some(unique) => Verb::Cas(unsigned(unique).ok_or(Wrong::Format)?),
        None => verb,
    };
    Ok(Line::Store(Store { what: What::Plain { verb, key, flags, exptime }, bytes, quiet: words.is_quiet() }))
}

/// The length of a value. Two bytes more are read, and a signed 32-bit number is what memcached makes of them.
fn value_bytes(word: &[u8]) -> Result<usize, Wrong> {
    unsigned(word).filter(|bytes| *bytes <= i32::MAX as u64 - 2).map(|bytes| bytes as usize).ok_or(Wrong::Format)
}

fn meta(verb: MetaVerb, words: Words<'_>) -> Result<Line<'_>, Wrong> {
    Ok(match meta::check(verb, words)? {
        meta::Checked::Whole(meta) => Line::Whole(Command::Meta { meta, value: b"" }),
        // Its own word for no answer is not known before it is carried out.
        meta::Checked::Store(meta, bytes) => Line::Store(Store { what: What::Meta(meta), bytes, quiet: false }),
        meta::Checked::Refused(wrong, bytes) => Line::Refused(wrong, bytes),
    })
}

fn count(mut words: Words<'_>, down: bool) -> Result<Command<'_>, Wrong> {
    let (name, by) = (words.next().ok_or(Wrong::Unknown)?, words.next().ok_or(Wrong::Unknown)?);
    few(words, 0..=1)?;
    let key = key(Some(name))?;
    Ok(Command::Count { key, by: unsigned(by).ok_or(Wrong::Delta)?, down, quiet: words.is_quiet() })
}

fn touch(mut words: Words<'_>) -> Result<Command<'_>, Wrong> {
    let (name, exptime) = (words.next().ok_or(Wrong::Unknown)?, words.next().ok_or(Wrong::Unknown)?);
    few(words, 0..=1)?;
    let key = key(Some(name))?;
    Ok(Command::Touch { key, exptime: signed(exptime).ok_or(Wrong::Exptime)?, quiet: words.is_quiet() })
}

/// An old client may send a time of 0 with it.
fn delete(mut words: Words<'_>) -> Result<Command<'_>, Wrong> {
    few(words, 1..=3)?;
    let key = key(words.next())?;
    let quiet = words.is_quiet();
    let (first, second) = (words.next(), words.next());
    let fits = match (first, second) {
        (None, _) => true,
        (Some(b"0"), None) => true,
        (Some(b"0"), Some(_)) => quiet,
        (Some(_), None) => quiet,
        _ => false,
    };
    if fits { Ok(Command::Delete { key, quiet }) } else { Err(Wrong::DeleteUsage) }
}

fn flush_all(mut words: Words<'_>) -> Result<Command<'_>, Wrong> {
    few(words, 0..=2)?;
    let quiet = words.is_quiet();
    let delay = match words.next() {
        None | Some(b"noreply") => 0,
        Some(word) => signed(word).ok_or(Wrong::Exptime)?,
    };
    Ok(Command::FlushAll { delay, quiet })
}

fn key(word: Option<&[u8]>) -> Result<&[u8], Wrong> {
    let key = word.ok_or(Wrong::Unknown)?;
    if key.len() > MAX_KEY_BYTES { Err(Wrong::Format) } else { Ok(key) }
}
