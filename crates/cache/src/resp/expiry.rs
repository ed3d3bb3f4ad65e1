//! When keys expire.

use store::{Expiry, Time};
use wire::resp::integer;

use super::table::as_text;
use super::{Call, Done, Failure, Then};
use crate::session::House;

/// How a time to expire at is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Seconds from now.
    Ex,
    /// Milliseconds from now.
    Px,
    /// Seconds since 1970.
    ExAt,
    /// Milliseconds since 1970.
    PxAt,
}

impl Unit {
    /// As SET and GETEX call it.
    pub(crate) fn named(word: &[u8]) -> Option<Self> {
        let units = [("ex", Self::Ex), ("px", Self::Px), ("exat", Self::ExAt), ("pxat", Self::PxAt)];
        units.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes())).map(|(_, unit)| unit)
    }

    /// Milliseconds since 1970.
    fn millis(self, number: i64, now: Time) -> Option<i64> {
        let millis = if matches!(self, Self::Ex | Self::ExAt) { number.checked_mul(1000)? } else { number };
        let from = if matches!(self, Self::Ex | Self::Px) { now.millis() as i64 } else { 0 };
        millis.checked_add(from).filter(|millis| *millis <= Time::MAX.millis() as i64)
    }

    /// The time that a client means, which is to be behind the beginning of 1970.
    pub(crate) fn time(self, text: &[u8], now: Time) -> Result<Time, Failure> {
        let number = integer(text).ok_or(Failure::NoInteger)?;
        let millis = self.millis(number, now).filter(|_| number > 0).ok_or(Failure::Expiry)?;
        Ok(Time::from_millis(millis.unsigned_abs()))
    }
}

impl House {
    /// Gives a key another expiry, or takes it out if that has come; whether the key was there.
    pub(super) fn expire(&mut self, key: &[u8], expiry: Expiry) -> Result<bool, Failure> {
        self.counters.cmd_touch += 1;
        let hash = self.store.hash(key);
        let hit = if expiry.has_come(self.now) {
            self.store.remove(hash, key, self.now)
        } else {
            self.store.touch(hash, key, expiry, self.now)?
        };
        *if hit { &mut self.counters.touch_hits } else { &mut self.counters.touch_misses } += 1;
        Ok(hit)
    }
}

/// When an expiry may take the place of another.
#[derive(Clone, Copy, Debug, Default)]
struct Conditions {
    /// If there is none.
    none: bool,
    /// If there is one.
    some: bool,
    /// If it is later.
    greater: bool,
    /// If it is earlier. None is later than all.
    less: bool,
}

impl Conditions {
    /// Those that are left of the arguments.
    fn read(call: &mut Call<'_>) -> Result<Option<Self>, Failure> {
        let mut conditions = Self::default();
        for word in call.args.by_ref() {
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            match () {
                () if is("nx") => conditions.none = true,
                () if is("xx") => conditions.some = true,
                () if is("gt") => conditions.greater = true,
                () if is("lt") => conditions.less = true,
                () => {
                    call.out.error(&[b"ERR Unsupported option ", as_text(word)]);
                    return Ok(None);
                }
            }
        }
        let Self { none, some, greater, less } = conditions;
        if none && (some || greater || less) {
            let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
            return Err(Failure::Said(text));
        }
        if greater && less {
            return Err(Failure::Said("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(Some(conditions))
    }

    fn hold(self, was: Expiry, millis: i64) -> bool {
        let was = match was {
            Expiry::Never => None,
            Expiry::At(time) => Some(time.millis() as i64),
        };
        let conditions = [
            (self.none, was.is_none()),
            (self.some, was.is_some()),
            (self.greater, was.is_some_and(|was| millis > was)),
            (self.less, was.is_none_or(|was| millis < was)),
        ];
        conditions.into_iter().all(|(asked, holds)| !asked || holds)
    }
}

fn set_expiry(call: &mut Call<'_>, unit: Unit) -> Done {
    let (key, time) = (call.next()?, call.next()?);
    let Some(conditions) = Conditions::read(call)? else { return Ok(Then::Go) };
    let number = integer(time).ok_or(Failure::NoInteger)?;
    // Before 1970 is allowed: the key goes.
    let millis = unit.millis(number, call.house.now).ok_or(Failure::Expiry)?;
    let was = call.house.known(key).map(|item| item.expiry);
    let set = was.is_some_and(|was| conditions.hold(was, millis));
    if set {
        call.house.expire(key, Expiry::At(Time::from_millis(millis.max(0).unsigned_abs())))?;
    }
    call.out.integer(set.into());
    Ok(Then::Go)
}

/// `EXPIRE key seconds [NX | XX | GT | LT]`
pub(super) fn expire(call: &mut Call<'_>) -> Done {
    set_expiry(call, Unit::Ex)
}

/// `PEXPIRE key milliseconds [NX | XX | GT | LT]`
pub(super) fn pexpire(call: &mut Call<'_>) -> Done {
    set_expiry(call, Unit::Px)
}

/// `EXPIREAT key unix-time-seconds [NX | XX | GT | LT]`
pub(super) fn expireat(call: &mut Call<'_>) -> Done {
    set_expiry(call, Unit::ExAt)
}

/// `PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]`
pub(super) fn pexpireat(call: &mut Call<'_>) -> Done {
    set_expiry(call, Unit::PxAt)
}

/// `PERSIST key`
pub(super) fn persist(call: &mut Call<'_>) -> Done {
    let key = call.next()?;
    let expires = call.house.known(key).is_some_and(|item| item.expiry != Expiry::Never);
    if expires {
        call.house.expire(key, Expiry::Never)?;
    }
    call.out.integer(expires.into());
    Ok(Then::Go)
}

/// Says when a key expires, in milliseconds as `say` wants them; -1 if never, -2 if it is not there.
fn say_expiry(call: &mut Call<'_>, say: fn(Time, Time) -> u64) -> Done {
    let key = call.next()?;
    let answer = match call.house.known(key).map(|item| item.expiry) {
        None => -2,
        Some(Expiry::Never) => -1,
        Some(Expiry::At(time)) => say(time, call.house.now) as i64,
    };
    call.out.integer(answer);
    Ok(Then::Go)
}

fn left(time: Time, now: Time) -> u64 {
    time.millis() - now.millis()
}

fn seconds(millis: u64) -> u64 {
    (millis + 500) / 1000
}

/// `TTL key`
pub(super) fn ttl(call: &mut Call<'_>) -> Done {
    say_expiry(call, |time, now| seconds(left(time, now)))
}

/// `PTTL key`
pub(super) fn pttl(call: &mut Call<'_>) -> Done {
    say_expiry(call, left)
}

/// `EXPIRETIME key`
pub(super) fn expiretime(call: &mut Call<'_>) -> Done {
    say_expiry(call, |time, _| seconds(time.millis()))
}

/// `PEXPIRETIME key`
pub(super) fn pexpiretime(call: &mut Call<'_>) -> Done {
    say_expiry(call, |time, _| time.millis())
}
