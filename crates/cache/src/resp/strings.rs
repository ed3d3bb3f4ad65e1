//! Strings that are stored and got again.

use store::limits::{MAX_HEADER_BYTES, MAX_KEY_BYTES};
use store::{Expiry, Item, Value};
use wire::resp::{Args, integer};

use super::expiry::Unit;
use super::{Call, Done, Failure, Then};
use crate::limits::{MAX_UNSENT_BYTES, WORK_BYTES};
use crate::session::{End, Gift, House};

impl House {
    /// What is stored under a key, for a client who asked for it.
    #[inline]
    pub(crate) fn asked(&mut self, key: &[u8]) -> Option<Item<'_>> {
        let hash = self.store.hash(key);
        self.counters.cmd_get += 1;
        let item = self.store.get(hash, key, self.now);
        *if item.is_some() { &mut self.counters.get_hits } else { &mut self.counters.get_misses } += 1;
        item
    }

    /// What is stored under a key, for another reason.
    pub(crate) fn known(&self, key: &[u8]) -> Option<Item<'_>> {
        self.store.peek(self.store.hash(key), key, self.now)
    }

    /// Stores a value, or takes the key out if its time has come already.
    #[inline]
    pub(crate) fn store(&mut self, key: &[u8], value: Value<'_>) -> Result<(), Failure> {
        put(self, key, value)
    }

    /// The same, with [`House::work`] as the value.
    pub(super) fn store_work(&mut self, key: &[u8], flags: u32, expiry: Expiry) -> Result<(), Failure> {
        let work = std::mem::take(&mut self.work);
        let stored = put(self, key, Value { parts: &[&work], flags, expiry });
        self.work = work;
        stored
    }

    /// Takes a key out; whether it was there.
    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        let hash = self.store.hash(key);
        self.store.remove(hash, key, self.now)
    }
}

#[inline]
fn put(house: &mut House, key: &[u8], value: Value<'_>) -> Result<(), Failure> {
    if key.len() > MAX_KEY_BYTES {
        return Err(Failure::KeyTooLong);
    }
    if value.parts.iter().map(|part| part.len()).sum::<usize>() > house.settings.max_value {
        return Err(Failure::TooLong);
    }
    let House { store, counters, now, landed, .. } = house;
    counters.cmd_set += 1;
    let hash = store.hash(key);
    if value.expiry.has_come(*now) {
        store.remove(hash, key, *now);
        return Ok(());
    }
    match landed.take() {
        Some(landed) => store.complete(landed, hash, (value.flags, value.expiry), *now)?,
        None => store.put(hash, key, value, *now)?,
    };
    counters.total_items += 1;
    Ok(())
}

/// A value and nothing else.
fn plain<'a>(parts: &'a [&'a [u8]]) -> Value<'a> {
    Value { parts, flags: 0, expiry: Expiry::Never }
}

/// Says the value of a key, or null.
#[inline]
fn give(call: &mut Call<'_>, key: &[u8]) -> bool {
    let mode = call.house.lending.mode;
    let item = call.house.asked(key);
    let gift = item.as_ref().map(|item| mode.gift(item.value.len()));
    match (&item, gift) {
        (Some(item), Some(Gift::Copied)) => call.out.bulk(item.value),
        (Some(item), Some(Gift::Lent)) => call.out.begin_bulk(item.value.len()),
        _ => call.out.null(),
    }
    if gift == Some(Gift::Lent) {
        call.house.lend(key, call.out.bytes);
    }
    gift.is_some()
}

/// `GET key`
pub(super) fn get(call: &mut Call<'_>) -> Done {
    let key = call.next()?;
    give(call, key);
    Ok(Then::Go)
}

/// `MGET key [key ...]`
pub(super) fn mget(call: &mut Call<'_>) -> Done {
    let before = call.out.bytes.len();
    let from = call.progress.written;
    if from == 0 {
        call.out.array(call.args.len());
    }
    for (number, key) in call.args.enumerate().skip(from) {
        if call.out.bytes.len() - before + call.house.lending.bytes() >= MAX_UNSENT_BYTES {
            call.progress.written = number;
            return Ok(Then::Again);
        }
        give(call, key);
    }
    Ok(Then::Go)
}

/// `STRLEN key`
pub(super) fn strlen(call: &mut Call<'_>) -> Done {
    let key = call.next()?;
    let bytes = call.house.asked(key).map_or(0, |item| item.value.len());
    call.out.integer(bytes as i64);
    Ok(Then::Go)
}

/// `GETRANGE key start end`, `SUBSTR key start end`
pub(super) fn getrange(call: &mut Call<'_>) -> Done {
    let (key, start, end) = (call.next()?, call.next_integer()?, call.next_integer()?);
    let item = call.house.asked(key);
    let value = item.map_or(&b""[..], |item| item.value);
    let bytes = value.len() as i64;
    // Both from the end and the wrong way round: nothing, even if there is no value to be had there.
    if start < 0 && end < 0 && start > end {
        call.out.bulk(b"");
        return Ok(Then::Go);
    }
    let from_front = |at: i64| if at < 0 { at.saturating_add(bytes).max(0) } else { at };
    let (start, end) = (from_front(start), from_front(end).min(bytes - 1));
    let range = if start > end { 0..0 } else { start as usize..end as usize + 1 };
    call.out.bulk(&value[range]);
    Ok(Then::Go)
}

/// What SET is told beside key and value.
#[derive(Default)]
struct SetOptions<'a> {
    /// Only if it is there; only if it is not.
    only_if: Option<bool>,
    /// The old value is the answer.
    get: bool,
    keep_expiry: bool,
    expires: Option<(Unit, &'a [u8])>,
}

impl<'a> SetOptions<'a> {
    fn read(call: &mut Call<'a>) -> Result<Self, Failure> {
        let mut options = Self::default();
        while let Some(word) = call.args.next() {
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            let condition = if is("nx") { Some(false) } else { is("xx").then_some(true) };
            if let Some(condition) = condition
                && options.only_if.is_none_or(|other| other == condition)
            {
                options.only_if = Some(condition);
            } else if is("get") {
                options.get = true;
            } else if is("keepttl") && options.expires.is_none() {
                options.keep_expiry = true;
            } else {
                let unit = Unit::named(word).filter(|_| !options.keep_expiry).ok_or(Failure::Syntax)?;
                let same = options.expires.is_none_or(|(other, _)| other == unit);
                options.expires = Some((unit, call.args.next().filter(|_| same).ok_or(Failure::Syntax)?));
            }
        }
        Ok(options)
    }
}

/// `SET key value [NX | XX] [GET] [EX seconds | PX ms | EXAT seconds | PXAT ms | KEEPTTL]`
pub(super) fn set(call: &mut Call<'_>) -> Done {
    let (key, value) = (call.next()?, call.next()?);
    if call.args.len() == 0 {
        call.house.store(key, plain(&[value]))?;
        call.out.simple("OK");
        return Ok(Then::Go);
    }
    let options = SetOptions::read(call)?;
    let now = call.house.now;
    let mut expiry = match options.expires {
        Some((unit, time)) => Expiry::At(unit.time(time, now)?),
        None => Expiry::Never,
    };
    let was = call.house.known(key).map(|item| item.expiry);
    if options.get {
        give(call, key);
    }
    if options.only_if.is_some_and(|wanted| wanted != was.is_some()) {
        if !options.get {
            call.out.null();
        }
        return Ok(Then::Go);
    }
    if let (true, Some(was)) = (options.keep_expiry, was) {
        expiry = was;
    }
    call.house.store(key, Value { expiry, ..plain(&[value]) })?;
    if !options.get {
        call.out.simple("OK");
    }
    Ok(Then::Go)
}

/// `SETNX key value`
pub(super) fn setnx(call: &mut Call<'_>) -> Done {
    let (key, value) = (call.next()?, call.next()?);
    let free = call.house.known(key).is_none();
    if free {
        call.house.store(key, plain(&[value]))?;
    }
    call.out.integer(free.into());
    Ok(Then::Go)
}

/// `SETEX key seconds value`
pub(super) fn setex(call: &mut Call<'_>) -> Done {
    set_expiring(call, Unit::Ex)
}

/// `PSETEX key milliseconds value`
pub(super) fn psetex(call: &mut Call<'_>) -> Done {
    set_expiring(call, Unit::Px)
}

fn set_expiring(call: &mut Call<'_>, unit: Unit) -> Done {
    let (key, time, value) = (call.next()?, call.next()?, call.next()?);
    let expiry = Expiry::At(unit.time(time, call.house.now)?);
    call.house.store(key, Value { expiry, ..plain(&[value]) })?;
    call.out.simple("OK");
    Ok(Then::Go)
}

/// `GETSET key value`
pub(super) fn getset(call: &mut Call<'_>) -> Done {
    let (key, value) = (call.next()?, call.next()?);
    give(call, key);
    call.house.store(key, plain(&[value]))?;
    Ok(Then::Go)
}

/// `GETDEL key`
pub(super) fn getdel(call: &mut Call<'_>) -> Done {
    let key = call.next()?;
    if give(call, key) {
        call.house.remove(key);
    }
    Ok(Then::Go)
}

/// `GETEX key [EX seconds | PX ms | EXAT seconds | PXAT ms | PERSIST]`
pub(super) fn getex(call: &mut Call<'_>) -> Done {
    let key = call.next()?;
    let (mut persist, mut expires) = (false, None::<(Unit, &[u8])>);
    while let Some(word) = call.args.next() {
        if word.eq_ignore_ascii_case(b"persist") && expires.is_none() {
            persist = true;
            continue;
        }
        let unit = Unit::named(word).filter(|_| !persist).ok_or(Failure::Syntax)?;
        let same = expires.is_none_or(|(other, _)| other == unit);
        expires = Some((unit, call.args.next().filter(|_| same).ok_or(Failure::Syntax)?));
    }
    if call.house.known(key).is_none() {
        give(call, key);
        return Ok(Then::Go);
    }
    let expiry = match expires {
        Some((unit, time)) => Some(Expiry::At(unit.time(time, call.house.now)?)),
        None => persist.then_some(Expiry::Never),
    };
    give(call, key);
    if let Some(expiry) = expiry {
        call.house.expire(key, expiry)?;
    }
    Ok(Then::Go)
}

/// `MSET key value [key value ...]`
pub(super) fn mset(call: &mut Call<'_>) -> Done {
    store_pairs(call)?;
    call.out.simple("OK");
    Ok(Then::Go)
}

/// `MSETNX key value [key value ...]`
pub(super) fn msetnx(call: &mut Call<'_>) -> Done {
    are_pairs(call.args, call.house)?;
    let free = call.args.step_by(2).all(|key| call.house.known(key).is_none());
    if free {
        store_pairs(call)?;
    }
    call.out.integer(free.into());
    Ok(Then::Go)
}

/// Whether these are keys and values. What can be known to be wrong is known before anything is stored.
pub(super) fn are_pairs(mut pairs: Args<'_>, house: &House) -> Result<(), Failure> {
    if !pairs.len().is_multiple_of(2) {
        return Err(Failure::Arity);
    }
    while let (Some(key), Some(value)) = (pairs.next(), pairs.next()) {
        if key.len() > MAX_KEY_BYTES {
            return Err(Failure::KeyTooLong);
        }
        let bytes = MAX_HEADER_BYTES + key.len() + value.len();
        if value.len() > house.settings.max_value || bytes > house.store.largest_item() {
            return Err(Failure::TooLong);
        }
    }
    Ok(())
}

fn store_pairs(call: &mut Call<'_>) -> Result<(), Failure> {
    are_pairs(call.args, call.house)?;
    let mut pairs = call.args;
    while let (Some(key), Some(value)) = (pairs.next(), pairs.next()) {
        call.house.store(key, plain(&[value]))?;
    }
    Ok(())
}

/// `APPEND key value`
pub(super) fn append(call: &mut Call<'_>) -> Done {
    let (key, value) = (call.next()?, call.next()?);
    let more = call.house.landed.as_ref().map_or(value.len(), |landed| call.house.store.reserved_bytes(landed));
    let old = call.house.known(key).map(|item| item.value.len());
    let bytes = old.unwrap_or(0) + more;
    if bytes > call.house.settings.max_value {
        return Err(Failure::TooLong);
    }
    match old {
        None => call.house.store(key, plain(&[value]))?,
        // Making room may have evicted it.
        Some(_) => {
            call.house.join(key, value, End::Back)?.ok_or(Failure::Full)?;
            call.house.counters.cmd_set += 1;
            call.house.counters.total_items += 1;
        }
    }
    call.out.integer(bytes as i64);
    Ok(Then::Go)
}

/// `SETRANGE key offset value`
pub(super) fn setrange(call: &mut Call<'_>) -> Done {
    let (key, offset, value) = (call.next()?, call.next_integer()?, call.next()?);
    let offset = usize::try_from(offset).map_err(|_| Failure::Said("ERR offset is out of range"))?;
    let (flags, expiry) = call.house.load(key);
    if !value.is_empty() {
        let most = call.house.settings.max_value;
        let end = offset.checked_add(value.len()).filter(|end| *end <= most).ok_or(Failure::TooLong)?;
        let work = &mut call.house.work;
        work.resize(work.len().max(end), 0);
        work[offset..end].copy_from_slice(value);
        call.house.store_work(key, flags, expiry)?;
    }
    call.out.integer(call.house.work.len() as i64);
    call.house.work.clear();
    call.house.work.shrink_to(WORK_BYTES);
    Ok(Then::Go)
}

impl House {
    /// Copies the value of a key, which may be none, to [`House::work`]; its flags and expiry.
    pub(super) fn load(&mut self, key: &[u8]) -> (u32, Expiry) {
        self.work.clear();
        let hash = self.store.hash(key);
        match self.store.get(hash, key, self.now) {
            Some(item) => {
                self.work.extend_from_slice(item.value);
                (item.flags, item.expiry)
            }
            None => (0, Expiry::Never),
        }
    }
}

impl<'a> Call<'a> {
    /// The next argument, which is to be a whole number.
    pub(super) fn next_integer(&mut self) -> Result<i64, Failure> {
        integer(self.next()?).ok_or(Failure::NoInteger)
    }
}
