//! Keys: whether they are there, what is under them, and their names.

use super::{Call, Done, Failure, Then};

/// Says how many of the arguments `is` holds for.
fn count(call: &mut Call<'_>, is: impl Fn(&mut crate::session::House, &[u8]) -> bool) -> Done {
    let keys = call.args.filter(|key| is(call.house, key)).count();
    call.out.integer(keys as i64);
    Ok(Then::Go)
}

/// `DEL key [key ...]`, `UNLINK key [key ...]`
pub(super) fn del(call: &mut Call<'_>) -> Done {
    count(call, |house, key| house.remove(key))
}

/// `EXISTS key [key ...]`
pub(super) fn exists(call: &mut Call<'_>) -> Done {
    count(call, |house, key| house.known(key).is_some())
}

/// `TOUCH key [key ...]`
pub(super) fn touch(call: &mut Call<'_>) -> Done {
    count(call, |house, key| house.asked(key).is_some())
}

/// `TYPE key`
pub(super) fn r#type(call: &mut Call<'_>) -> Done {
    let key = call.next()?;
    let is_there = call.house.known(key).is_some();
    call.out.simple(if is_there { "string" } else { "none" });
    Ok(Then::Go)
}

/// `RENAME key newkey`
pub(super) fn rename(call: &mut Call<'_>) -> Done {
    let (from, to) = (call.next()?, call.next()?);
    moved(call, from, to)?;
    call.out.simple("OK");
    Ok(Then::Go)
}

/// `RENAMENX key newkey`
pub(super) fn renamenx(call: &mut Call<'_>) -> Done {
    let (from, to) = (call.next()?, call.next()?);
    let free = call.house.known(to).is_none();
    if free || call.house.known(from).is_none() {
        moved(call, from, to)?;
    }
    call.out.integer(free.into());
    Ok(Then::Go)
}

/// Moves what is under one key to another.
fn moved(call: &mut Call<'_>, from: &[u8], to: &[u8]) -> Result<(), Failure> {
    if call.house.known(from).is_none() {
        return Err(Failure::Said("ERR no such key"));
    }
    if from != to {
        let (flags, expiry) = call.house.load(from);
        call.house.store_work(to, flags, expiry)?;
        call.house.remove(from);
    }
    Ok(())
}

/// `DBSIZE`
pub(super) fn dbsize(call: &mut Call<'_>) -> Done {
    call.out.integer(call.house.store.figures().items as i64);
    Ok(Then::Go)
}

/// `FLUSHDB [ASYNC | SYNC]`, `FLUSHALL [ASYNC | SYNC]`: it is quick in either way.
pub(super) fn flush(call: &mut Call<'_>) -> Done {
    let how =
        call.args.next().is_none_or(|how| [&b"async"[..], b"sync"].iter().any(|one| how.eq_ignore_ascii_case(one)));
    if !how || call.args.next().is_some() {
        return Err(Failure::Syntax);
    }
    call.house.counters.cmd_flush += 1;
    call.house.store.clear();
    call.out.simple("OK");
    Ok(Then::Go)
}
