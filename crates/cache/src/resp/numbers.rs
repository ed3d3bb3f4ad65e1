//! Values that are numbers.

use store::{Expiry, Value};
use wire::decimal::Buffer;
use wire::resp::integer;

use super::float::Extended;
use super::{Call, Done, Failure, Then};

/// `INCR key`
pub(super) fn incr(call: &mut Call<'_>) -> Done {
    let key = call.next()?;
    add(call, key, 1)
}

/// `DECR key`
pub(super) fn decr(call: &mut Call<'_>) -> Done {
    let key = call.next()?;
    add(call, key, -1)
}

/// `INCRBY key increment`
pub(super) fn incrby(call: &mut Call<'_>) -> Done {
    let (key, by) = (call.next()?, call.next_integer()?);
    add(call, key, by)
}

/// `DECRBY key decrement`
pub(super) fn decrby(call: &mut Call<'_>) -> Done {
    let (key, by) = (call.next()?, call.next_integer()?);
    let by = by.checked_neg().ok_or(Failure::Said("ERR decrement would overflow"))?;
    add(call, key, by)
}

fn add(call: &mut Call<'_>, key: &[u8], by: i64) -> Done {
    let (old, flags, expiry) = match call.house.asked(key) {
        Some(item) => (integer(item.value).ok_or(Failure::NoInteger)?, item.flags, item.expiry),
        None => (0, 0, Expiry::Never),
    };
    let sum = old.checked_add(by).ok_or(Failure::Said("ERR increment or decrement would overflow"))?;
    let mut digits = Buffer::new();
    call.house.store(key, Value { parts: &[digits.format(sum).as_bytes()], flags, expiry })?;
    call.out.integer(sum);
    Ok(Then::Go)
}

/// `INCRBYFLOAT key increment`
pub(super) fn incrbyfloat(call: &mut Call<'_>) -> Done {
    let (key, by) = (call.next()?, call.next()?);
    let no_float = Failure::Said("ERR value is not a valid float");
    let (old, flags, expiry) = match call.house.asked(key) {
        Some(item) => (Extended::parse(item.value).ok_or(no_float)?, item.flags, item.expiry),
        None => (Extended::ZERO, 0, Expiry::Never),
    };
    let by = Extended::parse(by).ok_or(no_float)?;
    let sum = old.plus(&by).and_then(|sum| sum.text());
    let text = sum.ok_or(Failure::Said("ERR increment would produce NaN or Infinity"))?;
    call.house.store(key, Value { parts: &[text.as_bytes()], flags, expiry })?;
    call.out.bulk(text.as_bytes());
    Ok(Then::Go)
}
