//! What there is: `COMMAND`, and the `HELP` of commands that have subcommands, from the table.

use wire::resp::{Answer, Fuel, matches};

use super::table::{self, ADMIN, COMMANDS, DENYOOM, FAST, Flags, Group, Join, LOADING, NO_AUTH, READONLY, Spec, WRITE};
use super::table::{NOSCRIPT, SENTINEL, STALE};
use super::{Call, Done, Failure, Then};
use crate::limits::PATTERN_FUEL;

/// `COMMAND`
pub(super) fn command(call: &mut Call<'_>) -> Done {
    call.out.array(COMMANDS.len());
    COMMANDS.iter().for_each(|spec| row(spec, &mut call.out));
    Ok(Then::Go)
}

/// `COMMAND COUNT`
pub(super) fn count(call: &mut Call<'_>) -> Done {
    call.out.integer(COMMANDS.len() as i64);
    Ok(Then::Go)
}

/// `COMMAND INFO [name ...]`
pub(super) fn info(call: &mut Call<'_>) -> Done {
    if call.args.len() == 0 {
        return command(call);
    }
    call.out.array(call.args.len());
    for name in call.args {
        match named(name) {
            Some(spec) => row(spec, &mut call.out),
            None => call.out.null(),
        }
    }
    Ok(Then::Go)
}

/// `COMMAND DOCS [name ...]`
pub(super) fn docs(call: &mut Call<'_>) -> Done {
    let all = call.args.len() == 0;
    let named = call.args.filter_map(named).count();
    call.out.map(if all { COMMANDS.len() } else { named });
    let out = &mut call.out;
    COMMANDS.iter().filter(|_| all).for_each(|spec| doc(spec, out));
    call.args.filter_map(self::named).for_each(|spec| doc(spec, out));
    Ok(Then::Go)
}

/// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`
pub(super) fn list(call: &mut Call<'_>) -> Done {
    let mut wanted: Vec<&Spec> = COMMANDS.iter().collect();
    if call.args.len() > 0 {
        let (word, by, what) = (call.next()?, call.next()?, call.next()?);
        if !word.eq_ignore_ascii_case(b"filterby") || call.args.len() > 0 {
            return Err(Failure::Syntax);
        }
        let is = |name: &str| by.eq_ignore_ascii_case(name.as_bytes());
        match () {
            () if is("module") => wanted.clear(),
            () if is("aclcat") => wanted.retain(|spec| {
                let mut any = false;
                categories(spec, |name| any |= what.eq_ignore_ascii_case(&name.as_bytes()[1..]));
                any
            }),
            () if is("pattern") => {
                let lower = what.to_ascii_lowercase();
                let mut fuel = Fuel(PATTERN_FUEL);
                wanted.retain(|spec| matches(&lower, spec.name.as_bytes(), &mut fuel) == Some(true));
            }
            () => return Err(Failure::Syntax),
        }
    }
    call.out.array(wanted.len());
    wanted.iter().for_each(|spec| call.out.bulk(spec.name.as_bytes()));
    Ok(Then::Go)
}

/// `COMMAND GETKEYS command [argument ...]`
pub(super) fn getkeys(call: &mut Call<'_>) -> Done {
    let args = call.args;
    let spec = match table::find(args) {
        Ok((spec, _)) => spec,
        Err(table::Unknown::Arity(_)) => {
            return Err(Failure::Said("ERR Invalid number of arguments specified for command"));
        }
        Err(_) => return Err(Failure::Said("ERR Invalid command specified")),
    };
    let keys = spec.keys_of(args).ok_or(Failure::Said("ERR The command has no key arguments"))?;
    call.out.array(keys.clone().count());
    keys.for_each(|key| call.out.bulk(key));
    Ok(Then::Go)
}

/// `HELP` of a command that has subcommands.
pub(super) fn help(call: &mut Call<'_>) -> Done {
    let name = call.spec.name.split('|').next().unwrap_or_default();
    let spec = table::named(name.as_bytes()).ok_or(Failure::Syntax)?;
    let subcommands: Vec<&Spec> = spec.subcommands.iter().collect();
    call.out.array(1 + 2 * subcommands.len());
    let name = name.to_ascii_uppercase();
    call.out.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for sub in subcommands {
        call.out.simple(&sub.last_name().to_ascii_uppercase());
        call.out.simple(&format!("    {}.", sub.summary));
    }
    Ok(Then::Go)
}

/// A command, or a subcommand with a `|` between its names.
fn named(name: &[u8]) -> Option<&'static Spec> {
    let at = name.iter().position(|byte| *byte == b'|');
    let spec = table::named(&name[..at.unwrap_or(name.len())])?;
    if at.is_none() { Some(spec) } else { spec.subcommand(&name[at? + 1..]) }
}

/// What bits are called.
const FLAGS: &[(Flags, &str)] = &[
    (WRITE, "write"),
    (READONLY, "readonly"),
    (DENYOOM, "denyoom"),
    (ADMIN, "admin"),
    (NOSCRIPT, "noscript"),
    (LOADING, "loading"),
    (STALE, "stale"),
    (FAST, "fast"),
    (NO_AUTH, "no_auth"),
    (SENTINEL, "sentinel"),
];

fn categories(spec: &Spec, mut put: impl FnMut(&'static str)) {
    let is = |flags| spec.flags & flags != 0;
    if spec.keys.is_some() || matches!(spec.group, Group::Generic) {
        put("@keyspace");
    }
    let group = match spec.group {
        Group::String => Some("@string"),
        Group::Connection => Some("@connection"),
        Group::Generic | Group::Server => None,
    };
    group.into_iter().for_each(&mut put);
    for (flags, name) in [(READONLY, "@read"), (WRITE, "@write"), (ADMIN, "@admin"), (ADMIN, "@dangerous")] {
        if is(flags) {
            put(name);
        }
    }
    put(if is(FAST) { "@fast" } else { "@slow" });
}

/// How a client that has many servers is to ask all of them.
fn tips(join: Join, has_keys: bool) -> &'static [&'static str] {
    match (join, has_keys) {
        (Join::One | Join::Together | Join::Text | Join::Figures, _) => &[],
        (Join::Array, true) => &["request_policy:multi_shard"],
        (Join::Array, false) => &["request_policy:all_shards", "nondeterministic_output_order"],
        (Join::Sum, true) => &["request_policy:multi_shard", "response_policy:agg_sum"],
        (Join::Sum, false) => &["request_policy:all_shards", "response_policy:agg_sum"],
        (Join::Any, _) => &["request_policy:all_shards", "response_policy:special", "nondeterministic_output"],
        (Join::Cursor, _) => &["request_policy:special", "nondeterministic_output"],
        (Join::Ok, true) => &["request_policy:multi_shard", "response_policy:all_succeeded"],
        (Join::Ok, false) => &["request_policy:all_shards", "response_policy:all_succeeded"],
    }
}

/// A row as `COMMAND INFO` says it.
fn row(spec: &Spec, out: &mut Answer<'_>) {
    out.array(10);
    out.bulk(spec.name.as_bytes());
    out.integer(spec.arity.into());
    let flags = || FLAGS.iter().filter(|(flag, _)| spec.flags & flag != 0);
    out.set(flags().count());
    flags().for_each(|(_, name)| out.simple(name));
    let (first, last, step) = spec.keys.unwrap_or_default();
    [first as i64, last as i64, step as i64].into_iter().for_each(|number| out.integer(number));
    let mut count = 0;
    categories(spec, |_| count += 1);
    out.set(count);
    categories(spec, |name| out.simple(name));
    let tips = tips(spec.join, spec.keys.is_some());
    out.set(tips.len());
    tips.iter().for_each(|tip| out.bulk(tip.as_bytes()));
    out.set(usize::from(spec.keys.is_some()));
    if spec.keys.is_some() {
        key_spec(spec, out);
    }
    out.array(spec.subcommands.len());
    spec.subcommands.iter().for_each(|sub| row(sub, out));
}

/// Where the keys are, in the words of Redis 7.
fn key_spec(spec: &Spec, out: &mut Answer<'_>) {
    let (first, last, step) = spec.keys.unwrap_or_default();
    // The last is counted from the first, unless it is counted from the end.
    let last = if last < 0 { last } else { last - first as isize };
    out.map(3);
    out.bulk(b"flags");
    let flags: &[&str] = if spec.flags & READONLY != 0 { &["RO", "access"] } else { &["RW", "access", "update"] };
    out.set(flags.len());
    flags.iter().for_each(|flag| out.simple(flag));
    let mut named = |name: &str, kind: &str, numbers: &[(&str, i64)]| {
        out.bulk(name.as_bytes());
        out.map(2);
        out.bulk(b"type");
        out.bulk(kind.as_bytes());
        out.bulk(b"spec");
        out.map(numbers.len());
        for (name, number) in numbers {
            out.bulk(name.as_bytes());
            out.integer(*number);
        }
    };
    named("begin_search", "index", &[("index", first as i64)]);
    named("find_keys", "range", &[("lastkey", last as i64), ("keystep", step as i64), ("limit", 0)]);
}

/// A row as `COMMAND DOCS` says it, with its name.
fn doc(spec: &Spec, out: &mut Answer<'_>) {
    let group = match spec.group {
        Group::String => "string",
        Group::Generic => "generic",
        Group::Connection => "connection",
        Group::Server => "server",
    };
    out.bulk(spec.name.as_bytes());
    let has_more = !spec.subcommands.is_empty();
    out.map(3 + usize::from(has_more));
    for text in ["summary", spec.summary, "since", spec.since, "group", group] {
        out.bulk(text.as_bytes());
    }
    if has_more {
        out.bulk(b"subcommands");
        out.map(spec.subcommands.len());
        spec.subcommands.iter().for_each(|sub| doc(sub, out));
    }
}
