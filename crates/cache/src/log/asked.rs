//! What a command asks for: read again from its bytes, which only those that are logged pay for.

use store::{Expiry, Time};
use wire::memcache::{self, Command, KeyRoom};
use wire::resp::{self, Args, Limits, unquote};

use crate::limits::{LOG_KEYS, MAX_VALUE_BYTES};
use crate::resp::{Unit, table};
use crate::session::expiry;

/// A key that a command is about, and what is said of it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) expiry: Option<Expiry>,
    /// Bytes of the value, if it brings one.
    pub(crate) value: Option<usize>,
    /// Whether the command is about this key alone.
    pub(crate) alone: bool,
}

impl<'a> Asked<'a> {
    fn one(key: &'a [u8], expiry: Option<Expiry>, value: Option<usize>) -> Self {
        Self { key, expiry, value, alone: true }
    }
}

/// Calls `with` for the first [`LOG_KEYS`] keys of a command of these bytes, or of its beginning; once, with an empty
/// key, for one that has none.
pub(crate) fn each(bytes: &[u8], is_resp: bool, now: Time, with: impl FnMut(Asked<'_>)) {
    if is_resp { each_of_redis(bytes, now, with) } else { each_of_memcached(bytes, now, with) }
}

fn each_of_memcached(bytes: &[u8], now: Time, mut with: impl FnMut(Asked<'_>)) {
    let (command, value) = match memcache::parse(bytes, MAX_VALUE_BYTES) {
        memcache::Parsed::Command(command, _) => (command, None),
        memcache::Parsed::Begun(begun) => (begun.command, Some(begun.bytes)),
        _ => return,
    };
    match command {
        Command::Get { keys, touch, .. } => {
            let alone = keys.count() == 1;
            let expiry = touch.map(|exptime| expiry(exptime, now));
            keys.take(LOG_KEYS).for_each(|key| with(Asked { alone, ..Asked::one(key, expiry, None) }));
        }
        Command::Store { key, exptime, value: bytes, .. } => {
            with(Asked::one(key, Some(expiry(exptime, now)), value.or(Some(bytes.len()))));
        }
        Command::Count { key, .. } | Command::Delete { key, .. } => with(Asked::one(key, None, None)),
        Command::Touch { key, exptime, .. } => with(Asked::one(key, Some(expiry(exptime, now)), None)),
        Command::Meta { meta, value: bytes } => {
            let mut room: KeyRoom = [0; _];
            let stores = meta.verb == memcache::MetaVerb::Set;
            let told = meta.options().exptime.map(|exptime| expiry(exptime, now));
            let lives = told.or(stores.then_some(Expiry::Never));
            with(Asked::one(meta.key.bytes(&mut room), lives, stores.then_some(value.unwrap_or(bytes.len()))));
        }
        _ => with(Asked::one(b"", None, None)),
    }
}

fn each_of_redis(bytes: &[u8], now: Time, with: impl FnMut(Asked<'_>)) {
    let limits = Limits { command: usize::MAX, stranger: false, begins: true };
    match resp::parse(bytes, limits) {
        resp::Parsed::Command(args, _) => each_argument(args, None, now, with),
        resp::Parsed::Begun(begun) => each_argument(begun.args, Some(begun.bytes), now, with),
        resp::Parsed::Inline(line, _) => {
            let mut words = Vec::new();
            let Ok(args) = unquote(line, &mut words) else { return };
            each_argument(args, None, now, with);
        }
        _ => {}
    }
}

/// Arguments, name first; behind them comes a value of so many bytes, if one does.
fn each_argument(args: Args<'_>, coming: Option<usize>, now: Time, mut with: impl FnMut(Asked<'_>)) {
    let mut rest = args;
    let Some(spec) = rest.next().and_then(table::named) else { return with(Asked::one(b"", None, None)) };
    // Of a command whose value is coming there is one key, and it is there.
    let keys = if coming.is_some() { None } else { spec.keys_of(args) };
    let Some(keys) = keys else {
        let key = rest.next().filter(|_| coming.is_some()).unwrap_or_default();
        let expiry = lives(spec.name, args, now);
        return with(Asked::one(key, expiry, coming));
    };
    let (alone, expiry) = (keys.clone().count() == 1, lives(spec.name, args, now));
    for (number, key) in keys.take(LOG_KEYS).enumerate() {
        let value = match spec.name {
            "set" | "setnx" | "getset" | "append" => args.clone().nth(2),
            "setex" | "psetex" | "setrange" => args.clone().nth(3),
            "mset" | "msetnx" => args.clone().nth(2 + 2 * number),
            _ => None,
        };
        with(Asked { key, expiry, value: value.map(<[u8]>::len), alone });
    }
}

/// When a Redis command has its key expire, if it says so.
fn lives(name: &str, args: Args<'_>, now: Time) -> Option<Expiry> {
    let at = |number: usize| args.clone().nth(number);
    let by = |unit: Unit, time: &[u8]| unit.time(time, now).ok().map(Expiry::At);
    let option = |from: usize| {
        let mut options = args.skip(from);
        while let Some(word) = options.next() {
            if let Some(unit) = Unit::named(word) {
                return by(unit, options.next()?);
            }
        }
        None
    };
    match name {
        "set" => Some(option(3).unwrap_or(Expiry::Never)),
        "getex" => option(2),
        "setnx" | "getset" | "mset" | "msetnx" => Some(Expiry::Never),
        "setex" | "expire" => by(Unit::Ex, at(2)?),
        "psetex" | "pexpire" => by(Unit::Px, at(2)?),
        "expireat" => by(Unit::ExAt, at(2)?),
        "pexpireat" => by(Unit::PxAt, at(2)?),
        "persist" => Some(Expiry::Never),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_values_and_times_are_found() {
        let now = Time::from_millis(1_700_000_000_000);
        let of = |bytes: &str, is_resp| {
            let mut all = Vec::new();
            each(bytes.as_bytes(), is_resp, now, |asked| {
                let key = String::from_utf8_lossy(asked.key).into_owned();
                let ttl = asked.expiry.map(|expiry| match expiry {
                    Expiry::Never => 0,
                    Expiry::At(time) => time.since(now).as_secs(),
                });
                all.push((key, ttl, asked.value, asked.alone));
            });
            all
        };
        let one = |key: &str, ttl, value| vec![(key.to_owned(), ttl, value, true)];
        assert_eq!(of("set k 0 60 5\r\nhello\r\n", false), one("k", Some(60), Some(5)));
        assert_eq!(of("gat 9 k\r\n", false), one("k", Some(9), None));
        assert_eq!(of("ms aw== 2 T7 b\r\nab\r\n", false), one("k", Some(7), Some(2)));
        assert_eq!(of("version\r\n", false), one("", None, None));
        assert_eq!(of("set k 0 60 100000\r\n", false), one("k", Some(60), Some(100_000)));
        let two = |flag| vec![("a".to_owned(), None, None, flag), ("b".to_owned(), None, None, flag)];
        assert_eq!((of("get a b\r\n", false), of("MGET a b\r\n", true)), (two(false), two(false)));
        assert_eq!(of("SET k hello EX 60 NX\r\n", true), one("k", Some(60), Some(5)));
        assert_eq!(of("*3\r\n$3\r\nset\r\n$1\r\nk\r\n$5\r\nhello\r\n", true), one("k", Some(0), Some(5)));
        assert_eq!(of("PSETEX k 2000 ab\r\n", true), one("k", Some(2), Some(2)));
        assert_eq!(of("AUTH a-user its-password\r\n", true), one("", None, None));
        assert_eq!(of("GETEX k EX\r\nEXPIRE\r\nnonsense x\r\n", true), one("k", None, None));
        assert_eq!(of("EXPIRE k nine\r\n", true), one("k", None, None));
        let pairs = vec![("a".to_owned(), Some(0), Some(1), false), ("b".to_owned(), Some(0), Some(2), false)];
        assert_eq!(of("MSET a 1 b 22\r\n", true), pairs);
        assert_eq!(of(&format!("get{}\r\n", " k".repeat(99)), false).len(), LOG_KEYS);
    }
}
