//! memcached's verbs.

use std::time::Duration;

use store::{Expiry, Item, Marks, NoRoom, Time, Value};
use wire::decimal;
use wire::memcache::limits::MAX_RELATIVE_SECONDS;
use wire::memcache::{Command, Keys, Verb as Store};

use super::large::{End, Gift, Mode};
use super::{House, Next};
use crate::limits::MAX_UNSENT_BYTES;
use crate::observe::{Outcome as Done, Verb};

impl House {
    /// Carries a command out; the answer goes to `out`. Of the keys of a get, those in front of `from` are answered.
    pub(crate) fn execute(&mut self, command: Command<'_>, from: usize, out: &mut Vec<u8>) -> Next {
        let (asked, before) = (Verb::of_memcached(&command), out.len());
        let (answer, quiet) = match command {
            Command::Get { keys, cas, touch } => return self.get(keys, from, cas, touch, out),
            Command::Store { verb, key, flags, exptime, value, quiet } => {
                (self.put(verb, key, flags, exptime, value), quiet)
            }
            Command::Count { key, by, down, quiet } => (self.count(key, by, down, quiet, out), quiet),
            Command::Delete { key, quiet } => (self.delete(key), quiet),
            Command::Touch { key, exptime, quiet } => (self.touch(key, exptime), quiet),
            Command::FlushAll { delay, quiet } => (self.flush_all(delay), quiet),
            Command::Meta { meta, value } => {
                self.meta(meta, value, out);
                self.operations.count(asked, of_meta(asked, &out[before..]));
                return Next::Go;
            }
            Command::Version => (concat!("VERSION ", env!("CARGO_PKG_VERSION")), false),
            Command::Verbosity { quiet } => ("OK", quiet),
            Command::MetaNoop => ("MN", false),
            Command::Stats(of) => (self.stats(of, out), false),
            Command::Quit => {
                self.operations.count(asked, Done::Ok);
                return Next::Close;
            }
        };
        self.operations.count(asked, of_answer(answer));
        if !quiet && !answer.is_empty() {
            line(out, answer.as_bytes());
        }
        Next::Go
    }

    fn get(&mut self, keys: Keys<'_>, from: usize, cas: bool, touch: Option<i64>, out: &mut Vec<u8>) -> Next {
        let (before, mode) = (out.len(), self.lending.mode);
        let asked = Verb::get(cas, touch.is_some());
        for (number, key) in keys.enumerate().skip(from) {
            if out.len() - before + self.lending.bytes() >= MAX_UNSENT_BYTES {
                return Next::Again(number);
            }
            let hash = self.store.hash(key);
            self.counters.cmd_get += 1;
            let item =
                if cas { self.store.get_with_cas(hash, key, self.now) } else { self.store.get(hash, key, self.now) };
            let given = item.and_then(|item| give(&item, cas, mode, out));
            let hit = given.is_some();
            if given == Some(Gift::Lent) {
                self.lend(key, out);
            }
            *if hit { &mut self.counters.get_hits } else { &mut self.counters.get_misses } += 1;
            self.operations.count(asked, Done::found(hit));
            if let Some(exptime) = touch {
                self.counters.cmd_touch += 1;
                *if hit { &mut self.counters.touch_hits } else { &mut self.counters.touch_misses } += 1;
                // It was given out as it is. Without room for it at its new place it stays as it was.
                let _ = self.store.touch(hash, key, expiry(exptime, self.now), self.now);
            }
        }
        line(out, b"END");
        Next::Go
    }

    fn put(&mut self, verb: Store, key: &[u8], flags: u32, exptime: i64, value: &[u8]) -> &'static str {
        let expiry = expiry(exptime, self.now);
        match self.store_as(verb, key, (flags, expiry), value, Demand::default()) {
            Outcome::Stored(_) => "STORED",
            Outcome::NotStored => "NOT_STORED",
            Outcome::Exists => "EXISTS",
            Outcome::NotFound => "NOT_FOUND",
            Outcome::NoRoom(error) => {
                if verb == Store::Set {
                    self.forget(key);
                }
                not_stored(error)
            }
        }
    }

    /// Stores a value with flags and expiry as the verb says. Appended and prepended values have those that are there.
    pub(super) fn store_as(
        &mut self,
        verb: Store,
        key: &[u8],
        (flags, mut expiry): (u32, Expiry),
        value: &[u8],
        demand: Demand,
    ) -> Outcome {
        let (hash, now) = (self.store.hash(key), self.now);
        self.counters.cmd_set += 1;
        let old = if verb == Store::Set { None } else { self.store.peek(hash, key, now) };
        let (mut marks, mut end) = (Marks::default(), None);
        match (verb, old) {
            (Store::Set, _) | (Store::Add, None) | (Store::Replace, Some(_)) => {}
            (Store::Cas(wanted), Some(old)) if old.cas == wanted => self.counters.cas_hits += 1,
            // Newer than what the client knows, but the client's will do until somebody makes one that is newer still.
            (Store::Cas(wanted @ 1..), Some(old)) if demand.stale && wanted < old.cas => {
                (expiry, marks) = (old.expiry, Marks { stale: true, won: old.marks.won });
            }
            (Store::Cas(_), Some(_)) => {
                self.counters.cas_badval += 1;
                return Outcome::Exists;
            }
            (Store::Cas(_), None) => {
                self.counters.cas_misses += 1;
                return Outcome::NotFound;
            }
            (Store::Append | Store::Prepend, Some(old)) if demand.cas.is_none_or(|cas| cas == old.cas) => {
                end = Some(if verb == Store::Append { End::Back } else { End::Front });
            }
            (Store::Append | Store::Prepend, Some(_)) => return Outcome::Exists,
            (Store::Add, Some(_)) | (Store::Replace | Store::Append | Store::Prepend, None) => {
                return Outcome::NotStored;
            }
        }
        self.counters.total_items += 1;
        let stored = match end {
            Some(end) => self.join(key, value, end),
            None => self.stow(key, value, flags, expiry).map(Some),
        };
        match stored {
            Ok(None) => Outcome::NotStored,
            Ok(Some(cas)) => {
                if marks != Marks::default() {
                    self.store.mark(hash, key, marks, now);
                }
                Outcome::Stored(cas)
            }
            Err(error) => {
                *match error {
                    NoRoom::TooLarge(_) => &mut self.counters.store_too_large,
                    NoRoom::Full => &mut self.counters.store_no_memory,
                } += 1;
                Outcome::NoRoom(error)
            }
        }
    }

    /// A `set` of this key failed: the old value is not what anybody should find.
    pub(crate) fn forget(&mut self, key: &[u8]) {
        let hash = self.store.hash(key);
        self.store.remove(hash, key, self.now);
    }

    fn count(&mut self, key: &[u8], by: u64, down: bool, quiet: bool, out: &mut Vec<u8>) -> &'static str {
        match self.add(key, by, down, None) {
            Counted::Now => {
                if !quiet {
                    line(out, &self.work);
                }
                ""
            }
            Counted::Missing => "NOT_FOUND",
            Counted::Exists => unreachable!("no CAS was asked for"),
            Counted::NoNumber => NO_NUMBER,
            Counted::NoRoom(error) => not_stored(error),
        }
    }

    /// Adds to a number or subtracts from it; the digits are in `work` then. A number that becomes shorter is filled up
    /// with spaces, as memcached does; subtraction ends at 0, addition goes round at 64 bits.
    pub(super) fn add(&mut self, key: &[u8], by: u64, down: bool, cas: Option<u64>) -> Counted {
        let (hash, now) = (self.store.hash(key), self.now);
        let Some(old) = self.store.get(hash, key, now) else {
            *if down { &mut self.counters.decr_misses } else { &mut self.counters.incr_misses } += 1;
            return Counted::Missing;
        };
        if !old.value.is_empty() && cas.is_some_and(|cas| cas != 0 && cas != old.cas) {
            return Counted::Exists;
        }
        let Some(number) = number(old.value) else { return Counted::NoNumber };
        let number = if down { number.saturating_sub(by) } else { number.wrapping_add(by) };
        let (flags, expiry, width, marks) = (old.flags, old.expiry, old.value.len(), old.marks);
        self.work.clear();
        decimal::push(&mut self.work, number);
        let digits = self.work.len();
        self.work.resize(digits.max(width), b' ');
        *if down { &mut self.counters.decr_hits } else { &mut self.counters.incr_hits } += 1;
        let value = Value { parts: &[&self.work], flags, expiry };
        if let Err(error) = self.store.put(hash, key, value, now) {
            return Counted::NoRoom(error);
        }
        // memcached writes a number that is not longer where the old one lies: what it was told stays.
        if digits <= width && marks != Marks::default() {
            self.store.mark(hash, key, marks, now);
        }
        self.work.truncate(digits);
        Counted::Now
    }

    fn delete(&mut self, key: &[u8]) -> &'static str {
        let hash = self.store.hash(key);
        let removed = self.store.remove(hash, key, self.now);
        *if removed { &mut self.counters.delete_hits } else { &mut self.counters.delete_misses } += 1;
        if removed { "DELETED" } else { "NOT_FOUND" }
    }

    fn touch(&mut self, key: &[u8], exptime: i64) -> &'static str {
        let hash = self.store.hash(key);
        self.counters.cmd_touch += 1;
        let touched = self.store.touch(hash, key, expiry(exptime, self.now), self.now);
        let hit = touched == Ok(true);
        *if hit { &mut self.counters.touch_hits } else { &mut self.counters.touch_misses } += 1;
        match touched {
            Ok(true) => "TOUCHED",
            Ok(false) => "NOT_FOUND",
            Err(error) => not_stored(error),
        }
    }

    fn flush_all(&mut self, delay: i64) -> &'static str {
        self.counters.cmd_flush += 1;
        match expiry(delay, self.now) {
            Expiry::At(time) if time > self.now => self.store.set_clear_at(Some(time)),
            _ => {
                self.store.clear();
            }
        }
        "OK"
    }
}

/// What became of a command, by what is answered if that is wanted.
fn of_answer(answer: &str) -> Done {
    match answer.as_bytes() {
        [] | [b'D' | b'T', ..] => Done::Hit,
        [b'S', b'T', ..] => Done::Stored,
        [b'N', b'O', b'T', b'_', b'S', ..] => Done::NotStored,
        [b'N', b'O', ..] => Done::Miss,
        [b'E', b'X', ..] => Done::Exists,
        [b'S', b'E', ..] | [b'C', b'L', ..] | [b'E', b'R', ..] => Done::Error,
        _ => Done::Ok,
    }
}

/// The same of a meta command, which is quiet if what was hoped for has come true; of a get, if it has not.
fn of_meta(asked: Verb, answer: &[u8]) -> Done {
    match answer {
        [] if asked == Verb::META_GET => Done::Miss,
        [] | [b'H', b'D', ..] if asked == Verb::META_SET => Done::Stored,
        [] | [b'H', b'D', ..] | [b'V', b'A', ..] | [b'M', b'E', ..] => Done::Hit,
        [b'E', b'N', ..] | [b'N', b'F', ..] => Done::Miss,
        [b'N', b'S', ..] => Done::NotStored,
        [b'E', b'X', ..] => Done::Exists,
        _ => Done::Error,
    }
}

/// What a value that replaces another one depends on, beside the verb.
#[derive(Clone, Copy, Default)]
pub(super) struct Demand {
    /// Appended and prepended only to a value of this CAS.
    pub(super) cas: Option<u64>,
    /// With a CAS that is older than the one there is, stored all the same, as stale.
    pub(super) stale: bool,
}

/// What became of a value.
pub(super) enum Outcome {
    /// With this CAS.
    Stored(u64),
    NotStored,
    Exists,
    NotFound,
    NoRoom(NoRoom),
}

/// What became of a number.
pub(super) enum Counted {
    /// Its digits are in `work`.
    Now,
    Missing,
    /// It has another CAS.
    Exists,
    NoNumber,
    NoRoom(NoRoom),
}

pub(super) const NO_NUMBER: &str = "CLIENT_ERROR cannot increment or decrement non-numeric value";

pub(crate) fn not_stored(error: NoRoom) -> &'static str {
    match error {
        NoRoom::TooLarge(_) => "SERVER_ERROR object too large for cache",
        NoRoom::Full => "SERVER_ERROR out of memory storing object",
    }
}

pub(super) fn line(out: &mut Vec<u8>, words: &[u8]) {
    out.extend_from_slice(words);
    out.extend_from_slice(b"\r\n");
}

/// Gives a value out, or what is in front of one that is lent; `None` if it is withheld.
fn give(item: &Item<'_>, cas: bool, mode: Mode, out: &mut Vec<u8>) -> Option<Gift> {
    let gift = mode.gift(item.value.len());
    if gift == Gift::Withheld {
        return None;
    }
    out.extend_from_slice(b"VALUE ");
    out.extend_from_slice(item.key);
    out.push(b' ');
    decimal::push(out, item.flags);
    out.push(b' ');
    decimal::push(out, item.value.len());
    if cas {
        out.push(b' ');
        decimal::push(out, item.cas);
    }
    line(out, b"");
    if gift == Gift::Copied {
        line(out, item.value);
    }
    Some(gift)
}

/// What a client means by a time.
pub(crate) fn expiry(exptime: i64, now: Time) -> Expiry {
    match exptime {
        0 => Expiry::Never,
        ..0 => Expiry::At(Time::default()),
        1..=MAX_RELATIVE_SECONDS => Expiry::At(now.plus(Duration::from_secs(exptime.unsigned_abs()))),
        _ => Expiry::At(Time::default().plus(Duration::from_secs(exptime.unsigned_abs()))),
    }
}

/// The number that a value begins with, behind spaces and a plus; white space or a NUL may follow, and anything behind.
fn number(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii_start();
    let value = value.strip_prefix(b"+").unwrap_or(value);
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let ends = matches!(value.get(digits), None | Some(0 | b'\t'..=b'\r' | b' '));
    let text = std::str::from_utf8(&value[..digits]).ok().filter(|_| ends)?;
    text.parse().ok()
}
