//! The server: its figures, its settings, and what Redis has that is not here, said as it says that there is none.

use std::fmt::Write;

use store::Figures;
use wire::resp::{Fuel, integer, matches};

use super::connection::REDIS_VERSION;
use super::table::as_text;
use super::{Call, Done, Failure, Then};
use crate::limits::{MAX_COMMAND_BYTES, MAX_CONNECTIONS, MAX_VALUE_BYTES, PATTERN_FUEL};
use crate::observe::{Kind, Outcome};
use crate::session::House;
use crate::tally::Tally;

/// `TIME`
pub(super) fn time(call: &mut Call<'_>) -> Done {
    let millis = call.house.now.millis();
    call.out.array(2);
    call.out.display(millis / 1000);
    call.out.display(millis % 1000 * 1000);
    Ok(Then::Go)
}

/// `WAIT numreplicas timeout`: there are none, and none will come.
pub(super) fn wait(call: &mut Call<'_>) -> Done {
    call.next_integer()?;
    let timeout = integer(call.next()?).ok_or(Failure::Said("ERR timeout is not an integer or out of range"))?;
    if timeout < 0 {
        return Err(Failure::Said("ERR timeout is negative"));
    }
    call.out.integer(0);
    Ok(Then::Go)
}

/// `MEMORY USAGE key [SAMPLES count]`: with its entry in the table.
pub(super) fn usage(call: &mut Call<'_>) -> Done {
    let key = call.next()?;
    if let Some(option) = call.args.next() {
        let count = call.next_integer();
        if !option.eq_ignore_ascii_case(b"samples") || call.args.len() > 0 {
            return Err(Failure::Syntax);
        }
        if count? < 0 {
            return Err(Failure::Syntax);
        }
    }
    match known(call.house, key) {
        Some(known) => call.out.integer((known.bytes + SLOT_BYTES) as i64),
        None => call.out.null(),
    }
    Ok(Then::Go)
}

/// Of an entry in the table.
const SLOT_BYTES: usize = store::limits::BUCKET_BYTES / store::limits::BUCKET_SLOTS;

fn known(house: &House, key: &[u8]) -> Option<store::Known> {
    house.store.known(house.store.hash(key), key, house.now)
}

/// `OBJECT FREQ key`: as eviction sees it.
pub(super) fn freq(call: &mut Call<'_>) -> Done {
    let key = call.next()?;
    match known(call.house, key) {
        Some(known) => call.out.integer(known.frequency.into()),
        None => call.out.null(),
    }
    Ok(Then::Go)
}

/// `OBJECT ENCODING key`: as Redis would store the value.
pub(super) fn encoding(call: &mut Call<'_>) -> Done {
    let key = call.next()?;
    match call.house.known(key) {
        Some(item) if integer(item.value).is_some() => call.out.bulk(b"int"),
        Some(item) if item.value.len() <= EMBEDDED_BYTES => call.out.bulk(b"embstr"),
        Some(_) => call.out.bulk(b"raw"),
        None => call.out.null(),
    }
    Ok(Then::Go)
}

/// Longest value that Redis stores with its object (`OBJ_ENCODING_EMBSTR_SIZE_LIMIT`).
const EMBEDDED_BYTES: usize = 44;

/// `SLOWLOG GET [count]`: slow commands are not looked for.
pub(super) fn slowlog(call: &mut Call<'_>) -> Done {
    if let Some(count) = call.args.next() {
        let wrong = Failure::Said("ERR count should be greater than or equal to -1");
        if call.args.len() > 0 {
            let text = "ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.";
            return Err(Failure::Said(text));
        }
        integer(count).filter(|count| *count >= -1).ok_or(wrong)?;
    }
    call.out.array(0);
    Ok(Then::Go)
}

/// `SLOWLOG LEN`, `LATENCY RESET [event ...]`
pub(super) fn zero(call: &mut Call<'_>) -> Done {
    call.out.integer(0);
    Ok(Then::Go)
}

/// `SLOWLOG RESET`
pub(super) fn ok(call: &mut Call<'_>) -> Done {
    call.out.simple("OK");
    Ok(Then::Go)
}

/// `LATENCY LATEST`, `LATENCY HISTORY event`: slow events are not looked for.
pub(super) fn none(call: &mut Call<'_>) -> Done {
    call.out.array(0);
    Ok(Then::Go)
}

/// What there is to be read with `CONFIG GET`.
fn settings(house: &House) -> [(&'static str, String); 12] {
    let policy = if house.store.evicts() { "allkeys-lfu" } else { "noeviction" };
    [
        ("appendonly", "no".to_owned()),
        ("client-query-buffer-limit", MAX_COMMAND_BYTES.to_string()),
        ("databases", "1".to_owned()),
        ("latency-monitor-threshold", "0".to_owned()),
        ("maxclients", MAX_CONNECTIONS.to_string()),
        ("maxmemory", house.settings.memory.to_string()),
        ("maxmemory-policy", policy.to_owned()),
        ("proto-max-bulk-len", MAX_VALUE_BYTES.to_string()),
        ("save", String::new()),
        ("slowlog-log-slower-than", "-1".to_owned()),
        ("slowlog-max-len", "0".to_owned()),
        ("timeout", "0".to_owned()),
    ]
}

/// `CONFIG GET pattern [pattern ...]`
pub(super) fn config_get(call: &mut Call<'_>) -> Done {
    let (settings, mut fuel) = (settings(call.house), Fuel(PATTERN_FUEL));
    let mut wanted = [false; 12];
    for pattern in call.args {
        let pattern = pattern.to_ascii_lowercase();
        for (wanted, (name, _)) in wanted.iter_mut().zip(&settings) {
            *wanted |= matches(&pattern, name.as_bytes(), &mut fuel) == Some(true);
        }
    }
    call.out.map(wanted.iter().filter(|wanted| **wanted).count());
    for (_, (name, value)) in wanted.iter().zip(&settings).filter(|(wanted, _)| **wanted) {
        call.out.bulk(name.as_bytes());
        call.out.bulk(value.as_bytes());
    }
    Ok(Then::Go)
}

/// `CONFIG SET name value [name value ...]`: nothing can be changed while it runs.
pub(super) fn config_set(call: &mut Call<'_>) -> Done {
    if !call.args.len().is_multiple_of(2) {
        return Err(Failure::Syntax);
    }
    let settings = settings(call.house);
    let name = call.next()?;
    if settings.iter().any(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes())) {
        let before = b"ERR CONFIG SET failed (possibly related to argument '";
        call.out.error(&[before, as_text(name), b"') - can't set immutable config"]);
    } else {
        call.out.error(&[b"ERR Unknown option or number of arguments for CONFIG SET - '", as_text(name), b"'"]);
    }
    Ok(Then::Go)
}

/// `CONFIG RESETSTAT`
pub(super) fn resetstat(call: &mut Call<'_>) -> Done {
    call.house.forget_done();
    call.out.simple("OK");
    Ok(Then::Go)
}

/// Sections that are told only to those who ask for them, or for all.
const ON_DEMAND: [&str; 2] = ["Commandstats", "Latencystats"];

/// What a section of INFO says.
type Section = fn(&House, &Tally, &mut String);

const SECTIONS: [(&str, Section); 10] = [
    ("Server", about_server),
    ("Clients", about_clients),
    ("Memory", about_memory),
    ("Persistence", about_persistence),
    ("Stats", about_stats),
    ("Replication", about_replication),
    ("CPU", about_cpu),
    ("Commandstats", about_commands),
    ("Latencystats", about_latencies),
    ("Keyspace", about_keyspace),
];

/// `INFO [section ...]`
pub(super) fn info(call: &mut Call<'_>) -> Done {
    let all = call.args.len() == 0;
    let asked = |name: &str| {
        let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let (usual, mut words) = (!ON_DEMAND.contains(&name), call.args);
        let means = |word: &[u8]| is(word, name) || is(word, "all") || is(word, "everything");
        all && usual || words.any(|word| means(word) || usual && is(word, "default"))
    };
    let tally = call.house.sums.take().unwrap_or_else(|| Box::new(Tally::of(call.house)));
    let mut text = String::new();
    for (name, say) in SECTIONS.iter().filter(|(name, _)| asked(name)) {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        let _ = write!(text, "# {name}\r\n");
        say(call.house, &tally, &mut text);
    }
    call.out.text(text.as_bytes());
    Ok(Then::Go)
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = write!(text, "{name}:{value}\r\n");
}

fn about_server(house: &House, _: &Tally, text: &mut String) {
    let seconds = house.now.since(house.started).as_secs();
    line(text, "redis_version", REDIS_VERSION);
    line(text, "qpair_version", env!("CARGO_PKG_VERSION"));
    line(text, "redis_mode", "standalone");
    line(text, "os", std::env::consts::OS);
    line(text, "arch_bits", usize::BITS);
    line(text, "process_id", std::process::id());
    line(text, "server_time_usec", house.now.millis() * 1000);
    line(text, "uptime_in_seconds", seconds);
    line(text, "uptime_in_days", seconds / 86_400);
}

fn about_clients(_: &House, tally: &Tally, text: &mut String) {
    line(text, "connected_clients", tally.counters.curr_connections);
    line(text, "maxclients", MAX_CONNECTIONS);
    line(text, "blocked_clients", 0);
}

fn about_memory(house: &House, tally: &Tally, text: &mut String) {
    let Figures { bytes, live_bytes, table_bytes, free_bytes, .. } = tally.figures;
    line(text, "used_memory", bytes - free_bytes);
    line(text, "used_memory_human", human(bytes - free_bytes));
    machine::os::rss_bytes().into_iter().for_each(|rss| line(text, "used_memory_rss", rss));
    line(text, "used_memory_dataset", live_bytes);
    line(text, "used_memory_overhead", table_bytes);
    line(text, "mem_clients_normal", tally.gauges.buffer_bytes);
    line(text, "maxmemory", bytes);
    line(text, "maxmemory_human", human(bytes));
    line(text, "maxmemory_policy", if house.store.evicts() { "allkeys-lfu" } else { "noeviction" });
}

fn about_stats(_: &House, Tally { counters, figures, gauges, operations, .. }: &Tally, text: &mut String) {
    line(text, "total_connections_received", counters.total_connections);
    line(text, "total_commands_processed", counters.resp_commands);
    line(text, "instantaneous_ops_per_sec", gauges.operations_rate);
    line(text, "instantaneous_input_kbps", format_args!("{:.2}", gauges.received_rate as f64 / 1024.0));
    line(text, "instantaneous_output_kbps", format_args!("{:.2}", gauges.sent_rate as f64 / 1024.0));
    line(text, "rejected_connections", counters.rejected_connections);
    line(text, "total_net_input_bytes", counters.bytes_read);
    line(text, "total_net_output_bytes", counters.bytes_written);
    line(text, "expired_keys", figures.expired);
    line(text, "evicted_keys", figures.evicted);
    line(text, "keyspace_hits", counters.get_hits);
    line(text, "keyspace_misses", counters.get_misses);
    let errors =
        operations.list().filter(|(protocol, _, outcome, _)| *protocol == "resp" && *outcome == Outcome::Error);
    line(text, "total_error_replies", errors.map(|(.., count)| count).sum::<u64>());
}

fn about_persistence(_: &House, tally: &Tally, text: &mut String) {
    line(text, "loading", u8::from(tally.gauges.recovering > 0));
}

fn about_cpu(_: &House, _: &Tally, text: &mut String) {
    let usage = machine::os::usage();
    line(text, "used_cpu_sys", format_args!("{:.6}", usage.system.as_secs_f64()));
    line(text, "used_cpu_user", format_args!("{:.6}", usage.user.as_secs_f64()));
}

/// Operations, which are what Redis has calls for.
fn about_commands(_: &House, tally: &Tally, text: &mut String) {
    let mut all: Vec<(&str, [u64; 3])> = Vec::new();
    for (_, verb, outcome, count) in tally.operations.list().filter(|(protocol, ..)| *protocol == "resp") {
        if all.last().is_none_or(|(last, _)| *last != verb) {
            all.push((verb, [0; 3]));
        }
        let [calls, rejected, failed] = &mut all.last_mut().expect("one was added").1;
        *calls += count;
        *rejected += if outcome == Outcome::Denied { count } else { 0 };
        *failed += if outcome == Outcome::Error { count } else { 0 };
    }
    for (verb, [calls, rejected, failed]) in all {
        let _ = write!(text, "cmdstat_{verb}:calls={calls},rejected_calls={rejected},failed_calls={failed}\r\n");
    }
}

/// By kind of command, those of memcached's clients among them, as far as they are timed.
fn about_latencies(_: &House, tally: &Tally, text: &mut String) {
    for (kind, latencies) in Kind::ALL.into_iter().zip(&tally.latencies) {
        let micros = |share| latencies.quantile(share).map(|nanos| nanos as f64 / 1000.0);
        if let (Some(p50), Some(p99), Some(p999)) = (micros(0.5), micros(0.99), micros(0.999)) {
            let name = kind.name();
            let _ = write!(text, "latency_percentiles_usec_{name}:p50={p50:.3},p99={p99:.3},p99.9={p999:.3}\r\n");
        }
    }
}

/// Bytes as Redis writes them for people.
fn human(bytes: u64) -> String {
    let units = ["B", "K", "M", "G", "T", "P", "E"];
    let step = bytes.max(1).ilog2() as usize / 10;
    if step == 0 {
        format!("{bytes}B")
    } else {
        format!("{:.2}{}", bytes as f64 / (1u64 << (10 * step)) as f64, units[step])
    }
}

fn about_replication(_: &House, _: &Tally, text: &mut String) {
    line(text, "role", "master");
    line(text, "connected_slaves", 0);
}

fn about_keyspace(_: &House, tally: &Tally, text: &mut String) {
    let keys = tally.figures.items;
    if keys > 0 {
        line(text, "db0", format_args!("keys={keys},expires=0,avg_ttl=0"));
    }
}
