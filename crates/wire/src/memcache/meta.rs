//! The meta commands: two letters, a key, and flags that say how it is meant and what is to be answered.
//!
//! ```text
//!   mg key v t O1\r\n            v   the value, please         T30  it expires in 30 s from now on
//!   ms key 3 T60 C7\r\n          t   and how long it lives     C7   only if this is its CAS
//!      abc\r\n                   O1  and this word again       q    no answer where all is well
//! ```
//!
//! A flag is a letter with or without a value behind it. The answer has those that ask for something in the order in
//! which they came, so a [`Meta`] keeps the words; what they say is read twice, when the line is checked and when it is
//! carried out, and stored nowhere. Source: memcached 1.6's `doc/protocol.txt`, and where that is silent, what
//! memcached 1.6.18 answers.

use super::base64::{MAX_DECODED_BYTES, decode};
use super::limits::{MAX_KEY_BYTES, MAX_META_WORDS, MAX_OPAQUE_BYTES};
use super::line::{Words, signed, unsigned};
use super::{Verb, Wrong};

/// The meta commands; for `mn` see [`super::Command::MetaNoop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaVerb {
    /// `mg`: gets, touches, makes an empty item where there is none.
    Get,
    /// `ms`: stores.
    Set,
    /// `md`: deletes, or marks stale.
    Delete,
    /// `ma`: adds and subtracts.
    Count,
    /// `me`: what is known of an item.
    Describe,
}

/// A key as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    word: &'a [u8],
    encoded: bool,
}

/// Room for a key that was sent as base64.
pub type KeyRoom = [u8; MAX_DECODED_BYTES];

impl<'a> Key<'a> {
    /// One that was sent as it is.
    pub(super) fn plain(word: &'a [u8]) -> Self {
        Self { word, encoded: false }
    }

    /// The word on the line.
    #[must_use]
    pub fn word(&self) -> &'a [u8] {
        self.word
    }

    /// Whether that is base64.
    #[must_use]
    pub fn is_encoded(&self) -> bool {
        self.encoded
    }

    /// The key itself, in the room if it has to be decoded.
    #[must_use]
    pub fn bytes<'b>(&self, room: &'b mut KeyRoom) -> &'b [u8]
    where
        'a: 'b,
    {
        if !self.encoded {
            return self.word;
        }
        let length = decode(self.word, room).expect("it was decoded when the line was checked");
        &room[..length]
    }
}

/// A meta command that can be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta<'a> {
    /// What.
    pub verb: MetaVerb,
    /// With which item.
    pub key: Key<'a>,
    flags: Words<'a>,
}

impl<'a> Meta<'a> {
    /// The flags as they came: each a letter and what is behind it.
    pub fn flags(&self) -> impl Iterator<Item = &'a [u8]> {
        self.flags
    }

    /// What the flags say.
    #[must_use]
    pub fn options(&self) -> Options {
        Options::of(self.flags, None).expect("they were understood when the line was checked")
    }
}

/// What the flags of a command say; each is for some verbs, and passed over by the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// `b`: the key is base64.
    pub encoded: bool,
    /// `v`: with the value.
    pub value: bool,
    /// `q`: no answer if it is the one that is hoped for, and none for a miss.
    pub quiet: bool,
    /// `u`: the item does not become younger by being asked for.
    pub peeks: bool,
    /// `I`: what is there becomes stale, or what is old may be stored as stale.
    pub stale: bool,
    /// `N`: where there is no item, one is made, which expires so (see [`super::Command::Touch`]).
    pub vivify: Option<i64>,
    /// `T`: it expires so.
    pub exptime: Option<i64>,
    /// `R`: who asks first when it lives shorter than so is to make a new one.
    pub recache: Option<i64>,
    /// `C`: only if this is its CAS.
    pub cas: Option<u64>,
    /// `F`: the client's flags.
    pub flags: u32,
    /// `J`: the number that a new item begins with.
    pub initial: u64,
    /// `D`: by how much.
    pub delta: u64,
    /// `M`: a letter that says how; 0 if there is none.
    mode: u8,
}

impl Options {
    /// How `ms` stores; `None` if there is no such mode.
    #[must_use]
    pub fn verb(&self) -> Option<Verb> {
        let unless_cas = |verb| self.cas.map_or(verb, Verb::Cas);
        Some(match self.mode {
            0 | b'S' => unless_cas(Verb::Set),
            b'R' => unless_cas(Verb::Replace),
            b'E' => Verb::Add,
            b'A' => Verb::Append,
            b'P' => Verb::Prepend,
            _ => return None,
        })
    }

    /// Whether `ma` subtracts; `None` if there is no such mode.
    #[must_use]
    pub fn down(&self) -> Option<bool> {
        match self.mode {
            0 | b'I' | b'+' => Some(false),
            b'D' | b'-' => Some(true),
            _ => None,
        }
    }

    /// Reads the flags, and sees that the key is as they say. Of several that are wrong the last one is told, but one
    /// that is unknown or comes twice at once.
    fn of(flags: Words<'_>, word: Option<&[u8]>) -> Result<Self, Wrong> {
        let mut options = Self {
            encoded: false,
            value: false,
            quiet: false,
            peeks: false,
            stale: false,
            vivify: None,
            exptime: None,
            recache: None,
            cas: None,
            flags: 0,
            initial: 0,
            delta: 1,
            mode: 0,
        };
        let (mut seen, mut wrong) = (0u128, None);
        for flag in flags {
            let (letter, value) = (flag[0], &flag[1..]);
            if letter >= 127 || seen & 1 << letter != 0 {
                return Err(Wrong::DuplicateFlag);
            }
            seen |= 1 << letter;
            match options.take(letter, value) {
                Err(Wrong::InvalidFlag) => return Err(Wrong::InvalidFlag),
                // What is wrong with F has no words of its own.
                Err(Wrong::Format) => wrong = wrong.or(Some(Wrong::Format)),
                Err(other) => wrong = Some(other),
                Ok(()) if letter == b'b' && word.is_some_and(|word| key(word, true).is_none()) => {
                    wrong = Some(Wrong::KeyEncoding);
                }
                Ok(()) => {}
            }
        }
        wrong.map_or(Ok(options), Err)
    }

    fn take(&mut self, letter: u8, value: &[u8]) -> Result<(), Wrong> {
        let time = || signed(value).map(Some).ok_or(Wrong::FlagValue);
        match letter {
            b'b' => self.encoded = true,
            b'v' => self.value = true,
            b'q' => self.quiet = true,
            b'u' => self.peeks = true,
            b'I' => self.stale = true,
            b'N' => self.vivify = time()?,
            b'T' => self.exptime = time()?,
            b'R' => self.recache = time()?,
            b'C' => self.cas = Some(unsigned(value).ok_or(Wrong::FlagValue)?),
            // The upper half of a larger number is lost, without a word.
            b'F' => self.flags = unsigned(value).ok_or(Wrong::Format)? as u32,
            b'J' => self.initial = unsigned(value).ok_or(Wrong::Initial)?,
            b'D' => self.delta = unsigned(value).ok_or(Wrong::DeltaFlag)?,
            b'M' => self.mode = *value.first().filter(|_| value.len() == 1).ok_or(Wrong::ModeLength)?,
            // To be answered; and P and L, which are for proxies.
            b'k' | b's' | b't' | b'c' | b'f' | b'h' | b'l' | b'O' | b'P' | b'L' => {}
            _ => return Err(Wrong::InvalidFlag),
        }
        Ok(())
    }
}

/// A line that is checked.
pub(super) enum Checked<'a> {
    /// All of it is there.
    Whole(Meta<'a>),
    /// A value of so many bytes follows.
    Store(Meta<'a>, usize),
    /// A value of so many bytes follows, and is not wanted.
    Refused(Wrong, usize),
}

/// Checks the words behind the verb.
pub(super) fn check(verb: MetaVerb, mut words: Words<'_>) -> Result<Checked<'_>, Wrong> {
    // The verb is a word, too.
    let count = 1 + words.count();
    let describes = verb == MetaVerb::Describe;
    let word = words.next().ok_or(if describes { Wrong::Format } else { Wrong::Unknown })?;
    if word.len() > MAX_KEY_BYTES {
        return Err(Wrong::Format);
    }
    if describes {
        let encoded = words.next() == Some(b"b");
        let key = key(word, encoded).ok_or(Wrong::Format)?;
        // What stands behind that is not looked at, and may be anything.
        return Ok(Checked::Whole(Meta { verb, key, flags: Words::of(b"") }));
    }
    let length = if verb == MetaVerb::Set { Some(words.next().ok_or(Wrong::Format)?) } else { None };
    if count >= MAX_META_WORDS {
        return Err(if verb == MetaVerb::Get { Wrong::ManyFlagsOfGet } else { Wrong::ManyFlags });
    }
    let meta = |key| Meta { verb, key, flags: words };
    match (length, flags(verb, word, words)) {
        (None, key) => key.map(|key| Checked::Whole(meta(key))),
        (Some(length), key) => {
            let bytes = super::value_bytes(length)?;
            Ok(key.map_or_else(|wrong| Checked::Refused(wrong, bytes), |key| Checked::Store(meta(key), bytes)))
        }
    }
}

/// Checks the flags; the key by them.
fn flags<'a>(verb: MetaVerb, word: &'a [u8], flags: Words<'a>) -> Result<Key<'a>, Wrong> {
    let all_one = |wrong| match verb {
        MetaVerb::Delete | MetaVerb::Count => Wrong::Flags,
        _ => wrong,
    };
    let options = Options::of(flags, Some(word)).map_err(all_one)?;
    let opaque = flags.into_iter().any(|flag| flag[0] == b'O' && flag.len() > MAX_OPAQUE_BYTES);
    match verb {
        MetaVerb::Set if options.verb().is_none() => Err(Wrong::SetMode),
        MetaVerb::Count if options.down().is_none() => Err(Wrong::CountMode),
        _ if opaque => Err(Wrong::LongOpaque),
        _ => Ok(Key { word, encoded: options.encoded }),
    }
}

/// The key that a word stands for.
fn key(word: &[u8], encoded: bool) -> Option<Key<'_>> {
    if encoded {
        decode(word, &mut [0; MAX_DECODED_BYTES])?;
    }
    Some(Key { word, encoded })
}
