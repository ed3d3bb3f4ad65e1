//! Commands about all keys, or any.

use wire::resp::{Answer, Fuel, integer, matches};

use super::{Call, Done, Failure, Then};
#[cfg(doc)]
use crate::limits::KEYS_STEPS;
use crate::limits::{KEYS_BYTES, PATTERN_FUEL, SCAN_ITEMS};

/// What is told of names that would be compared for too long.
const TOO_LONG: Failure = Failure::Said("ERR comparing names with this pattern takes too long");

/// Which keys are wanted.
struct Wanted<'a> {
    pattern: Option<&'a [u8]>,
    fuel: Fuel,
    /// There was no time for all comparisons.
    gave_up: bool,
}

impl<'a> Wanted<'a> {
    fn new(pattern: Option<&'a [u8]>) -> Self {
        let pattern = pattern.filter(|pattern| *pattern != b"*");
        Self { pattern, fuel: Fuel(PATTERN_FUEL), gave_up: false }
    }

    fn is(&mut self, key: &[u8]) -> bool {
        let Some(pattern) = self.pattern else { return true };
        let is = matches(pattern, key, &mut self.fuel);
        self.gave_up |= is.is_none();
        is.unwrap_or(false)
    }
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`. A step looks at no more than [`SCAN_ITEMS`] keys, whatever
/// the count.
pub(super) fn scan(call: &mut Call<'_>) -> Done {
    let cursor = call.next()?;
    let cursor = std::str::from_utf8(cursor).ok().and_then(|text| text.parse::<u64>().ok());
    let cursor = cursor.ok_or(Failure::Said("ERR invalid cursor"))?;
    let (mut pattern, mut items, mut strings) = (None, 10, true);
    while let Some(option) = call.args.next() {
        let value = call.next()?;
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        if is("count") {
            let count = integer(value).ok_or(Failure::NoInteger)?;
            items = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(Failure::Syntax)?.min(SCAN_ITEMS);
        } else if is("match") {
            pattern = Some(value);
        } else if is("type") {
            strings = value.eq_ignore_ascii_case(b"string");
        } else {
            return Err(Failure::Syntax);
        }
    }
    let Call { house, out, .. } = call;
    house.work.clear();
    let (mut wanted, mut count) = (Wanted::new(pattern), 0);
    let mut found = Answer::new(&mut house.work, out.version());
    let see = |item: &store::Item<'_>| {
        if strings && wanted.is(item.key) {
            found.bulk(item.key);
            count += 1;
        }
    };
    // No walk comes to a reactor that is not there.
    let is_here = house.clients.is_at(cursor);
    let next = if is_here { house.clients.cursor(house.store.walk(cursor, items, house.now, see)) } else { 0 };
    if wanted.gave_up {
        return Err(TOO_LONG);
    }
    out.array(2);
    out.display(next);
    out.array(count);
    out.bytes.extend_from_slice(&house.work);
    Ok(Then::Go)
}

/// `KEYS pattern`: in steps of [`SCAN_ITEMS`] keys, between which others have their turn; the names that are found may
/// take [`KEYS_BYTES`].
pub(super) fn keys(call: &mut Call<'_>) -> Done {
    let pattern = call.next()?;
    let Call { house, out, progress, .. } = call;
    let mut wanted = Wanted::new(Some(pattern));
    let mut found = Answer::new(&mut progress.found, out.version());
    let count = &mut progress.written;
    progress.cursor = house.store.walk(progress.cursor, SCAN_ITEMS, house.now, |item| {
        if found.bytes.len() <= KEYS_BYTES && wanted.is(item.key) {
            found.bulk(item.key);
            *count += 1;
        }
    });
    if wanted.gave_up {
        return Err(TOO_LONG);
    }
    if progress.found.len() > KEYS_BYTES {
        return Err(Failure::Said("ERR the names of these keys are more than 1 MiB: ask for them with SCAN"));
    }
    if progress.cursor != 0 {
        return Ok(Then::Again);
    }
    out.array(progress.written);
    out.bytes.extend_from_slice(&progress.found);
    Ok(Then::Go)
}

/// `RANDOMKEY`
pub(super) fn randomkey(call: &mut Call<'_>) -> Done {
    match call.house.store.any(call.house.now) {
        Some(item) => call.out.bulk(item.key),
        None => call.out.null(),
    }
    Ok(Then::Go)
}
