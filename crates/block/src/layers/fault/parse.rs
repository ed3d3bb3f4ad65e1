//! Rules as people write them.

use std::str::FromStr;
use std::time::Duration;

use machine::os::{DISK_ERRORS, IO_ERROR, disk_error_number};
use wire::nvme::Status;

use super::rule::{Action, CERTAIN, Chance, Delay, KINDS, Rule, WRITE};
use crate::spec::nearest;
use crate::{Failure, Range};

/// Why a rule cannot be used, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRule {
    /// What is wrong.
    pub why: String,
    /// A complete sentence.
    pub hint: String,
}

/// What a write that fails in a part of it fails with.
const IO: Failure = Failure::Host(IO_ERROR);
/// The largest error number of Linux. On Windows disks give no larger ones, either.
const MAX_ERROR: i32 = 4095;

const PARTS: [&str; 13] =
    ["nth", "every", "after", "times", "p", "blocks", "latency", "error", "status", "short", "torn", "drop", "panic"];

fn bad(why: String, hint: &str) -> BadRule {
    BadRule { why, hint: hint.to_owned() }
}

impl FromStr for Rule {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Self, BadRule> {
        let mut parts = text.split(':');
        let kinds = kinds(parts.next().unwrap_or_default())?;
        let mut rule = Self {
            kinds,
            nth: None,
            every: None,
            after: 0,
            times: u64::MAX,
            chance: None,
            blocks: None,
            delay: None,
            action: None,
        };
        let (mut failure, mut given) = (None, Vec::new());
        for part in parts {
            let (key, value) = part.split_once('=').map_or((part, None), |(key, value)| (key, Some(value)));
            rule.set(key, value, &mut failure)?;
            if given.contains(&key) {
                return Err(bad(format!("the rule has `{key}` twice"), "Write it once, or make two rules of it."));
            }
            given.push(key);
        }
        rule.complete(failure)
    }
}

impl Rule {
    /// Sets what one part says.
    fn set(&mut self, key: &str, value: Option<&str>, failure: &mut Option<Failure>) -> Result<(), BadRule> {
        let needed = |example: &str| {
            value.ok_or_else(|| bad(format!("`{key}` of a rule needs a value"), &format!("Write {key}={example}.")))
        };
        let number = |example| needed(example).and_then(|value| number(key, value));
        match key {
            "nth" => self.nth = Some(number("100")?),
            "every" => self.every = Some(number("1000")?),
            "after" => self.after = number("100")?,
            "times" => self.times = number("1")?,
            "p" => self.chance = Some(chance(needed("0.01")?)?),
            "blocks" => self.blocks = Some(blocks(needed("0-7")?)?),
            "latency" => self.delay = Some(delay(needed("10ms")?)?),
            "error" => self.fail(failure, error(needed("EIO")?)?)?,
            "status" => self.fail(failure, status(needed("2/81")?)?)?,
            "short" => self.act(Action::Short(value.map(|value| size(key, value)).transpose()?, IO))?,
            "torn" | "drop" | "panic" if value.is_some() => {
                return Err(bad(format!("`{key}` of a rule takes no value"), &format!("Write {key} alone.")));
            }
            "torn" => self.act(Action::Torn(IO))?,
            "drop" => self.act(Action::Drop)?,
            "panic" => self.act(Action::Panic)?,
            _ => {
                let like = nearest(key, &PARTS).map(|like| format!("Did you mean `{like}`? ")).unwrap_or_default();
                let hint = format!("{like}Behind its kinds, a rule has {}.", PARTS.join(", "));
                return Err(bad(format!("there is nothing called `{key}` in a rule"), &hint));
            }
        }
        Ok(())
    }

    fn fail(&self, failure: &mut Option<Failure>, new: Failure) -> Result<(), BadRule> {
        match (failure.replace(new), self.action) {
            (None, None | Some(Action::Short(..) | Action::Torn(_))) => Ok(()),
            _ => Err(two_actions()),
        }
    }

    fn act(&mut self, action: Action) -> Result<(), BadRule> {
        if self.action.replace(action).is_some() { Err(two_actions()) } else { Ok(()) }
    }

    /// All parts are known.
    fn complete(mut self, failure: Option<Failure>) -> Result<Self, BadRule> {
        self.action = match (self.action, failure) {
            (None, Some(failure)) => Some(Action::Fail(failure)),
            (Some(Action::Short(blocks, _)), Some(failure)) => Some(Action::Short(blocks, failure)),
            (Some(Action::Torn(_)), Some(failure)) => Some(Action::Torn(failure)),
            (Some(Action::Drop | Action::Panic), Some(_)) => return Err(two_actions()),
            (action, _) => action,
        };
        if self.action.is_none() && self.delay.is_none() {
            let hint = "Add latency=, error=, status=, short, torn, drop or panic.";
            return Err(bad("the rule does not say what is to happen".to_owned(), hint));
        }
        if matches!(self.action, Some(Action::Short(..) | Action::Torn(_))) && self.kinds != WRITE {
            let hint = "Write rule=write:... for it.";
            return Err(bad("`short` and `torn` are for writes only".to_owned(), hint));
        }
        Ok(self)
    }
}

fn two_actions() -> BadRule {
    bad("the rule has two endings for one request".to_owned(), "Make two rules of it; the first that fits decides.")
}

fn kinds(text: &str) -> Result<u16, BadRule> {
    if text == "any" {
        return Ok((1 << KINDS.len()) - 1);
    }
    let mut kinds = 0;
    for word in text.split('+') {
        match KINDS.iter().position(|kind| *kind == word) {
            Some(place) => kinds |= 1 << place,
            None => {
                let like = nearest(word, &KINDS).map(|like| format!("Did you mean `{like}`? ")).unwrap_or_default();
                let hint = format!("{like}A rule begins with any, or some of {}.", KINDS.join("+"));
                return Err(bad(format!("there is no kind of request called `{word}`"), &hint));
            }
        }
    }
    Ok(kinds)
}

/// A number from 1 on.
fn number(key: &str, text: &str) -> Result<u64, BadRule> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(bad(format!("`{key}={text}` is not a number from 1 on"), "Write digits only.")),
    }
}

/// A number from 0 on.
fn size(key: &str, text: &str) -> Result<u64, BadRule> {
    text.parse().map_err(|_| bad(format!("`{key}={text}` is not a number"), "Write digits only."))
}

fn chance(text: &str) -> Result<Chance, BadRule> {
    match text.parse::<f64>() {
        Ok(chance) if (0.0..=1.0).contains(&chance) => Ok(Chance((chance * f64::from(CERTAIN)).round() as u32)),
        _ => Err(bad(format!("`{text}` is not a probability"), "Write a number from 0 to 1, for example p=0.01.")),
    }
}

fn blocks(text: &str) -> Result<Range, BadRule> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (size("blocks", first)?, size("blocks", last)?);
    match last.checked_sub(first).and_then(|more| more.checked_add(1)) {
        Some(blocks) => Ok(Range { lba: first, blocks }),
        None => Err(bad(format!("`{text}` is not a range of blocks"), "Write the smaller number first: blocks=0-7.")),
    }
}

fn delay(text: &str) -> Result<Delay, BadRule> {
    let (min, max) = text.split_once('-').unwrap_or((text, text));
    let (min, max) = (duration(min)?, duration(max)?);
    if min <= max {
        Ok(Delay { min, max })
    } else {
        Err(bad(format!("`{text}` is not a range of times"), "Write the shorter time first: latency=1ms-20ms."))
    }
}

fn duration(text: &str) -> Result<Duration, BadRule> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let nanos = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        _ => 0,
    };
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(nanos)) {
        Some(total) if nanos > 0 => Ok(Duration::from_nanos(total)),
        _ => Err(bad(format!("`{text}` is not a time"), "Write a whole number and ns, us, ms or s: latency=10ms.")),
    }
}

fn error(text: &str) -> Result<Failure, BadRule> {
    match disk_error_number(text).or_else(|| text.parse().ok()) {
        Some(number) if (1..=MAX_ERROR).contains(&number) => Ok(Failure::Host(number)),
        _ => {
            let names = DISK_ERRORS.map(|(name, _)| name).join(", ");
            Err(bad(format!("`{text}` is not an error number"), &format!("Write a number, or one of {names}.")))
        }
    }
}

fn status(text: &str) -> Result<Failure, BadRule> {
    let hint = "Write type and code in hexadecimal, for example status=2/81 or status=0/6/dnr.";
    let mut parts = text.split('/');
    let mut hex = || parts.next().and_then(|part| u8::from_str_radix(part, 16).ok());
    let (sct, sc) = (hex(), hex());
    match (sct, sc, parts.next(), parts.next()) {
        (Some(sct), Some(sc), dnr @ (None | Some("dnr")), None) if sct < 8 && (sct, sc) != (0, 0) => {
            let status = Status::new(sct, sc);
            Ok(Failure::Device(if dnr.is_some() { status.with_dnr() } else { status }))
        }
        _ => Err(bad(format!("`{text}` is not a status of a failure"), hint)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        text.parse().unwrap_or_else(|BadRule { why, hint }| panic!("{text}: {why} {hint}"))
    }

    #[test]
    fn rules() {
        let full = Failure::Host(disk_error_number("ENOSPC").expect("it is known"));
        let all = rule("read+write:nth=1:every=2:after=3:times=4:p=0.5:blocks=6-7:latency=8us-9s:error=ENOSPC");
        assert_eq!(
            all,
            Rule {
                kinds: 0b11,
                nth: Some(1),
                every: Some(2),
                after: 3,
                times: 4,
                chance: Some(Chance(CERTAIN / 2)),
                blocks: Some(Range { lba: 6, blocks: 2 }),
                delay: Some(Delay { min: Duration::from_micros(8), max: Duration::from_secs(9) }),
                action: Some(Action::Fail(full)),
            }
        );
        let action = |text| rule(text).action.expect("an action");
        assert_eq!(action("any:error=71"), Action::Fail(Failure::Host(71)));
        let media = Failure::Device(Status::UNRECOVERED_READ_ERROR);
        assert_eq!(action("read:status=2/81"), Action::Fail(media));
        assert_eq!(action("read:status=0/6/dnr"), Action::Fail(Failure::Device(Status::INTERNAL_ERROR.with_dnr())));
        assert_eq!(action("write:short"), Action::Short(None, Failure::Host(IO_ERROR)));
        assert_eq!(action("write:short=0:status=2/81"), Action::Short(Some(0), media));
        assert_eq!(action("write:error=28:torn"), Action::Torn(Failure::Host(28)));
        assert_eq!((action("any:drop"), action("flush:panic")), (Action::Drop, Action::Panic));
        assert_eq!(rule("any:latency=1ms").kinds, 0x1ff);
    }

    #[test]
    fn mistakes_say_what_to_do() {
        for (text, part) in [
            ("", "no kind of request called ``"),
            ("reed:drop", "Did you mean `read`?"),
            ("read", "does not say what is to happen"),
            ("read:nth=3", "does not say what is to happen"),
            ("read:ntf=3:drop", "Did you mean `nth`?"),
            ("read:nth:drop", "Write nth=100"),
            ("read:nth=0:drop", "not a number from 1 on"),
            ("read:nth=1:nth=2:drop", "`nth` twice"),
            ("read:p=2:drop", "not a probability"),
            ("read:p=nan:drop", "not a probability"),
            ("read:blocks=7-6:drop", "smaller number first"),
            ("read:latency=10", "not a time"),
            ("read:latency=2s-1s", "shorter time first"),
            ("read:latency=99999999999s", "not a time"),
            ("read:error=EGAL", "not an error number"),
            ("read:error=0", "not an error number"),
            ("read:status=0/0", "not a status of a failure"),
            ("read:status=2/81/no", "not a status of a failure"),
            ("read:status=8/81", "not a status of a failure"),
            ("read:drop=1", "takes no value"),
            ("read:torn", "for writes only"),
            ("write+zeroes:short=1", "for writes only"),
            ("read:drop:panic", "two endings"),
            ("read:drop:error=EIO", "two endings"),
            ("read:error=EIO:drop", "two endings"),
            ("read:error=EIO:status=2/81", "two endings"),
        ] {
            let Err(BadRule { why, hint }) = text.parse::<Rule>() else { panic!("{text} is a rule") };
            assert!(format!("{why} {hint}").contains(part), "{text}: {why} {hint}");
        }
    }
}
