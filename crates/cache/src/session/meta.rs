//! memcached's meta commands.
//!
//! What they answer beside the value is written in the order of the flags that ask for it. Two things that memcached
//! knows are not kept here, as they would cost bytes of every item: when it was last asked for, and whether it ever
//! was. Who asks for them (`h`, `l`) is told so.

use store::{Expiry, Item, Joined, Marks, NoRoom, Time, Value};
use wire::decimal::{self, Integer};
use wire::memcache::{KeyRoom, Meta, MetaVerb, Options, encode_key};

use super::House;
use super::large::Gift;
use super::memcache::{Counted, Demand, NO_NUMBER, Outcome, expiry, line, not_stored};

/// What the answer to `h` and `l` would be made of is not there.
const NO_ACCESS: &[u8] = b"CLIENT_ERROR flags h and l are not there: the time of last access is not kept";

/// A meta command that is carried out.
struct Asked<'a> {
    meta: Meta<'a>,
    options: Options,
    key: &'a [u8],
    hash: u64,
}

impl Asked<'_> {
    fn has(&self, letter: u8) -> bool {
        self.meta.flags().any(|flag| flag[0] == letter)
    }

    /// When an item expires after this command. Of flags that say it the last one holds.
    fn expiry(&self, old: Expiry, is_new: bool, now: Time) -> Expiry {
        self.meta.flags().fold(old, |old, flag| self.expiry_by(flag[0], old, is_new, now))
    }

    /// When it expires after one of the flags.
    fn expiry_by(&self, letter: u8, old: Expiry, is_new: bool, now: Time) -> Expiry {
        match (letter, self.options.exptime, self.options.vivify) {
            (b'T', Some(exptime), _) => expiry(exptime, now),
            (b'N', _, Some(exptime)) if is_new => expiry(exptime, now),
            _ => old,
        }
    }

    /// Answers a word, the flags that come back as they are, and a CAS if one is wanted.
    fn answer(&self, word: &str, cas: Option<u64>, out: &mut Vec<u8>) {
        out.extend_from_slice(word.as_bytes());
        for flag in self.meta.flags() {
            match (flag[0], cas) {
                (b'c', Some(cas)) => number(b" c", cas, out),
                _ => self.echo(flag, out),
            }
        }
        line(out, b"");
    }

    /// What comes back as it came: the key and the opaque word.
    fn echo(&self, flag: &[u8], out: &mut Vec<u8>) {
        match flag[0] {
            b'O' => {
                out.push(b' ');
                out.extend_from_slice(flag);
            }
            b'k' if self.options.encoded => {
                out.extend_from_slice(b" k");
                encode_key(self.key, out);
                out.extend_from_slice(b" b");
            }
            b'k' => {
                out.extend_from_slice(b" k");
                out.extend_from_slice(self.key);
            }
            _ => {}
        }
    }

    /// Writes what the flags ask of an item, flag by flag: a time to live in front of the flag that changes it is the
    /// old one. Whether the client is to make a new value, by these flags.
    fn tell(&self, item: &Item<'_>, is_new: bool, now: Time, out: &mut Vec<u8>) -> bool {
        let mut lives = if is_new { Expiry::Never } else { item.expiry };
        let (mut won, gets) = (false, self.meta.verb == MetaVerb::Get);
        for flag in self.meta.flags() {
            lives = self.expiry_by(flag[0], lives, is_new, now);
            match flag[0] {
                b's' if gets => number(b" s", item.value.len(), out),
                b'f' if gets => number(b" f", item.flags, out),
                b'c' => number(b" c", item.cas, out),
                b't' => number(b" t", seconds_left(lives, now).unwrap_or(-1), out),
                letter => {
                    won |= letter == b'N' && is_new || letter == b'R' && !is_new && self.is_due(lives, now);
                    self.echo(flag, out);
                }
            }
        }
        won
    }

    /// Whether an item lives shorter than `R` says.
    fn is_due(&self, lives: Expiry, now: Time) -> bool {
        let limit = self.options.recache.and_then(|recache| seconds_left(expiry(recache, now), now));
        seconds_left(lives, now).zip(limit).is_some_and(|(left, limit)| left < limit)
    }
}

impl House {
    /// Carries a meta command out.
    pub(super) fn meta(&mut self, meta: Meta<'_>, value: &[u8], out: &mut Vec<u8>) {
        let mut room: KeyRoom = [0; _];
        let key = meta.key.bytes(&mut room);
        let asked = Asked { meta, options: meta.options(), key, hash: self.store.hash(key) };
        self.counters.cmd_meta += 1;
        match meta.verb {
            MetaVerb::Get if asked.has(b'h') || asked.has(b'l') => line(out, NO_ACCESS),
            MetaVerb::Get => self.meta_get(&asked, out),
            MetaVerb::Set => self.meta_set(&asked, value, out),
            MetaVerb::Delete => self.meta_delete(&asked, out),
            MetaVerb::Count => self.meta_count(&asked, out),
            MetaVerb::Describe => self.describe(&asked, out),
        }
    }

    fn meta_get(&mut self, asked: &Asked<'_>, out: &mut Vec<u8>) {
        let (now, options, hash, key) = (self.now, &asked.options, asked.hash, asked.key);
        let mode = self.lending.mode;
        let made = options.vivify.and_then(|_| self.vivify(asked, b""));
        let is_new = made.is_some();
        let item = match (options.peeks || is_new, asked.has(b'c')) {
            (false, false) => self.store.get(hash, key, now),
            (false, true) => self.store.get_with_cas(hash, key, now),
            (true, false) => self.store.peek(hash, key, now),
            (true, true) => self.store.peek_with_cas(hash, key, now),
        };
        if let (Some(cas), None) = (made, &item) {
            return self.tell_stillborn(asked, cas, out);
        }
        let gift = |item: &Item<'_>| if options.value { mode.gift(item.value.len()) } else { Gift::Copied };
        let Some((item, gift)) = item.map(|item| (item, gift(&item))).filter(|found| found.1 != Gift::Withheld) else {
            self.counters.cmd_get += 1;
            self.counters.get_misses += 1;
            if !options.quiet {
                asked.answer("EN", None, out);
            }
            return;
        };
        let marks = item.marks;
        begin(options.value.then_some(item.value.len()), out);
        let due = asked.tell(&item, is_new, now, out);
        // Who may only read makes no new value, and is not in the way of those who do.
        let won = !self.reads_only && !marks.won && (due || marks.stale);
        for (told, letter) in [(marks.won, b'Z'), (marks.stale, b'X'), (won, b'W')] {
            if told {
                out.extend_from_slice(&[b' ', letter]);
            }
        }
        line(out, b"");
        match gift {
            Gift::Lent => self.lend(key, out),
            _ if options.value => line(out, item.value),
            _ => {}
        }
        if won {
            self.store.mark(hash, key, Marks { won, ..marks }, now);
        }
        if options.exptime.is_some() {
            self.counters.cmd_touch += 1;
            self.counters.touch_hits += 1;
        } else {
            self.counters.cmd_get += 1;
            self.counters.get_hits += 1;
        }
        if !is_new {
            self.lives(asked);
        }
    }

    /// Tells of an item that this command has made, and that has expired by it: its client is to make a new one.
    fn tell_stillborn(&mut self, asked: &Asked<'_>, cas: u64, out: &mut Vec<u8>) {
        let (expiry, marks) = (asked.expiry(Expiry::Never, true, self.now), Marks::default());
        let item = Item { key: asked.key, value: b"", flags: 0, expiry, cas, marks };
        begin(asked.options.value.then_some(0), out);
        asked.tell(&item, true, self.now, out);
        line(out, b" W");
        if asked.options.value {
            line(out, b"");
        }
        self.counters.cmd_get += 1;
        self.counters.get_misses += 1;
    }

    /// Stores a first value if there is none; its CAS if it did.
    fn vivify(&mut self, asked: &Asked<'_>, value: &[u8]) -> Option<u64> {
        let now = self.now;
        if self.store.peek(asked.hash, asked.key, now).is_some() {
            return None;
        }
        let expiry = asked.expiry(Expiry::Never, true, now);
        let stored = self.store.put(asked.hash, asked.key, Value { parts: &[value], flags: 0, expiry }, now);
        self.counters.total_items += u64::from(stored.is_ok());
        stored.ok()
    }

    fn meta_set(&mut self, asked: &Asked<'_>, value: &[u8], out: &mut Vec<u8>) {
        let options = &asked.options;
        let verb = options.verb().expect("the line was checked");
        let demand = Demand { cas: options.cas.filter(|cas| *cas != 0), stale: options.stale };
        let expiry = asked.expiry(Expiry::Never, false, self.now);
        let (outcome, cas) = match self.store_as(verb, asked.key, (options.flags, expiry), value, demand) {
            Outcome::Stored(_) if options.quiet => return,
            Outcome::Stored(cas) => ("HD", cas),
            Outcome::NotStored => ("NS", 0),
            Outcome::Exists => ("EX", 0),
            Outcome::NotFound => ("NF", 0),
            Outcome::NoRoom(error) => {
                self.forget(asked.key);
                return line(out, not_stored(error).as_bytes());
            }
        };
        if asked.has(b'c') && cas != 0 {
            self.store.peek_with_cas(asked.hash, asked.key, self.now);
        }
        asked.answer(outcome, Some(cas), out);
    }

    fn meta_delete(&mut self, asked: &Asked<'_>, out: &mut Vec<u8>) {
        let (now, options) = (self.now, &asked.options);
        let old = self.store.peek(asked.hash, asked.key, now).map(|item| (item.cas, item.expiry));
        let outcome = match old {
            None => "NF",
            Some((cas, _)) if options.cas.is_some_and(|wanted| wanted != cas) => "EX",
            Some((_, expiry)) if options.stale => {
                if let Err(error) = self.invalidate(asked, asked.expiry(expiry, false, now)) {
                    return line(out, not_stored(error).as_bytes());
                }
                "HD"
            }
            Some(_) => {
                self.store.remove(asked.hash, asked.key, now);
                "HD"
            }
        };
        match outcome {
            "HD" if options.stale => {}
            "HD" => self.counters.delete_hits += 1,
            _ => self.counters.delete_misses += 1,
        }
        if !(options.quiet && outcome == "HD") {
            asked.answer(outcome, None, out);
        }
    }

    /// Marks an item stale, which changes its CAS: so it is stored again as it is.
    fn invalidate(&mut self, asked: &Asked<'_>, expiry: Expiry) -> Result<(), NoRoom> {
        let (hash, key, now) = (asked.hash, asked.key, self.now);
        self.store.join(hash, key, Joined::Bytes(b""), false, now)?;
        if self.store.peek(hash, key, now).is_some_and(|item| item.expiry != expiry) {
            self.store.touch(hash, key, expiry, now)?;
        }
        self.store.mark(hash, key, Marks { stale: true, won: false }, now);
        Ok(())
    }

    /// When an item expires that `ms` stores.
    pub(super) fn meta_expiry(&self, meta: Meta<'_>) -> Expiry {
        Asked { meta, options: meta.options(), key: b"", hash: 0 }.expiry(Expiry::Never, false, self.now)
    }

    fn meta_count(&mut self, asked: &Asked<'_>, out: &mut Vec<u8>) {
        let (now, options) = (self.now, &asked.options);
        let down = options.down().expect("the line was checked");
        let is_new = match self.add(asked.key, options.delta, down, options.cas) {
            Counted::Now => false,
            Counted::Missing if options.vivify.is_some() => {
                let mut first = std::mem::take(&mut self.work);
                first.clear();
                decimal::push(&mut first, options.initial);
                let is_new = self.vivify(asked, &first).is_some();
                self.work = first;
                if !is_new {
                    return line(out, b"SERVER_ERROR Out of memory allocating new item");
                }
                true
            }
            Counted::Missing => return asked.answer("NF", None, out),
            Counted::Exists => return asked.answer("EX", None, out),
            Counted::NoNumber => return line(out, NO_NUMBER.as_bytes()),
            Counted::NoRoom(error) => return line(out, not_stored(error).as_bytes()),
        };
        let item = if asked.has(b'c') {
            self.store.peek_with_cas(asked.hash, asked.key, now)
        } else {
            self.store.peek(asked.hash, asked.key, now)
        };
        if !options.quiet || is_new {
            begin(options.value.then_some(self.work.len()), out);
            // One that was made by this command may have expired as it was told to.
            item.inspect(|item| _ = asked.tell(item, is_new, now, out));
            line(out, b"");
            if options.value {
                line(out, &self.work);
            }
        }
        if !is_new {
            self.lives(asked);
        }
    }

    /// Gives an item the expiry that its command names.
    fn lives(&mut self, asked: &Asked<'_>) {
        if let Some(exptime) = asked.options.exptime {
            // Without room for it at its new place it stays as it was.
            let _ = self.store.touch(asked.hash, asked.key, expiry(exptime, self.now), self.now);
        }
    }

    fn describe(&mut self, asked: &Asked<'_>, out: &mut Vec<u8>) {
        let now = self.now;
        let Some(item) = self.store.peek_with_cas(asked.hash, asked.key, now) else { return line(out, b"EN") };
        out.extend_from_slice(b"ME ");
        out.extend_from_slice(asked.meta.key.word());
        let exp = seconds_left(item.expiry, now).map_or(-1, |seconds| -seconds);
        let bytes = item.key.len() + item.value.len();
        number(b" exp=", exp, out);
        number(b" cas=", item.cas, out);
        number(b" size=", bytes, out);
        line(out, b"");
    }
}

/// Whole seconds from now on, as clients count them: an item that was stored for 30 s a moment ago lives for 30 s.
fn seconds_left(expiry: Expiry, now: Time) -> Option<i64> {
    match expiry {
        Expiry::Never => None,
        Expiry::At(time) => Some(time.since(now).as_millis().div_ceil(1000) as i64),
    }
}

/// The first word of an answer, with the length of the value if there is one.
fn begin(value: Option<usize>, out: &mut Vec<u8>) {
    match value {
        None => out.extend_from_slice(b"HD"),
        Some(bytes) => number(b"VA ", bytes, out),
    }
}

/// A number behind a letter or a word.
fn number(front: &[u8], number: impl Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(front);
    decimal::push(out, number);
}
