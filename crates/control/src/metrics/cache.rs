//! All families of a cache. Base units: seconds and bytes; counters end in `_total`. The numbers are those of `stats`
//! and INFO, since the start: what sets those back does not set these.

use std::time::Duration;

use cache::{AGE_BOUNDS, Ages, Counters, Figures, Gauges, Kind, Latencies, Logged, Observer, SCALE, Totals};

use super::reactors;
use super::text::{Text, Type};

/// What a cache has done, and what it has.
pub(super) fn write(text: &mut Text, observer: &Observer) {
    let totals = observer.totals();
    operations(text, &totals);
    requests(text, &totals.counters);
    latencies(text, &totals.latencies);
    contents(text, &totals.figures);
    clients(text, &totals);
    pool(text, &totals.gauges);
    observer.logged().into_iter().for_each(|logged| log(text, logged, &totals.gauges));
    reactors::write(text, "qpair_cache", &observer.snapshots());
}

/// What was asked for. Verbs that nobody has used have no samples, as most have none.
fn operations(text: &mut Text, totals: &Totals) {
    let name = "qpair_cache_operations_total";
    let help = "Operations by protocol, verb and outcome: one for each key of a command, or one if it has none. MGET \
                counts as get; RENAME and MSETNX over several reactors count as what they are made of.";
    text.family(name, Type::Counter, help);
    for (protocol, verb, outcome, count) in &totals.operations {
        text.sample(name, &[("protocol", protocol), ("verb", verb), ("outcome", outcome.name())], count);
    }
}

/// Keys that were asked for, and what became of values.
fn requests(text: &mut Text, counters: &Counters) {
    let name = "qpair_cache_requests_total";
    text.family(
        name,
        Type::Counter,
        "Keys that were asked for by any command: hits / (hits + misses) is the hit ratio.",
    );
    text.sample(name, &[("outcome", "hit")], counters.get_hits);
    text.sample(name, &[("outcome", "miss")], counters.get_misses);
    let name = "qpair_cache_stores_total";
    text.family(name, Type::Counter, "Values that were to be stored, and those that were too large or had no room.");
    text.sample(name, &[("outcome", "stored")], counters.total_items);
    text.sample(name, &[("outcome", "too_large")], counters.store_too_large);
    text.sample(name, &[("outcome", "no_memory")], counters.store_no_memory);
    let help = "Times that everything was to be taken out.";
    text.single("qpair_cache_flushes_total", Type::Counter, help, counters.cmd_flush);
    let help = "Large values that were sent from where they lie.";
    text.single("qpair_cache_loans_total", Type::Counter, help, counters.loans);
}

fn latencies(text: &mut Text, latencies: &[Latencies]) {
    let name = "qpair_cache_command_duration_seconds";
    let help = "Time of commands in the server: from when a receive has brought all of one to when its answer is in \
                the outbox. A sample: the commands of one receive in 16, chosen by chance; the count is of those.";
    text.family(name, Type::Histogram, help);
    for (kind, latencies) in Kind::ALL.into_iter().zip(latencies) {
        let labels = [("command", kind.name())];
        let bounds = (0..).map(|bucket| SCALE.bound(bucket));
        text.histogram(name, &labels, bounds.zip(latencies.counts), latencies.nanos as f64 / 1e9);
    }
}

/// Items and the memory that they have.
fn contents(text: &mut Text, figures: &Figures) {
    let help = "Items, those among them that expired since the last look.";
    text.single("qpair_cache_items", Type::Gauge, help, figures.items);
    let name = "qpair_cache_memory_bytes";
    let help = "What --memory says, by state: live is what items have, dead what was overwritten, deleted or has \
                expired, and ends of segments; free are whole segments; table is what finds the items.";
    text.family(name, Type::Gauge, help);
    let Figures { bytes, live_bytes, table_bytes, free_bytes, .. } = *figures;
    // They may be a little apart, as they are read while reactors go on.
    let dead = bytes.saturating_sub(live_bytes + table_bytes + free_bytes);
    for (state, bytes) in [("live", live_bytes), ("dead", dead), ("free", free_bytes), ("table", table_bytes)] {
        text.sample(name, &[("state", state)], bytes);
    }
    let help = "Items that made room for others.";
    text.single("qpair_cache_evicted_items_total", Type::Counter, help, figures.evicted);
    let name = "qpair_cache_evicted_age_seconds";
    let help = "How long evicted items had lived, by their segment: exact, or too high for what has been moved before.";
    text.family(name, Type::Histogram, help);
    let bounds = AGE_BOUNDS.into_iter().map(|bound| Some(Duration::from_secs(bound.into()))).chain([None]);
    let Ages { counts, seconds } = figures.evicted_ages;
    text.histogram(name, &[], bounds.zip(counts), seconds as f64);
    let help = "Items that were found to have expired.";
    text.single("qpair_cache_expired_items_total", Type::Counter, help, figures.expired);
}

fn clients(text: &mut Text, Totals { counters, gauges, .. }: &Totals) {
    text.single("qpair_cache_connections", Type::Gauge, "Connections of clients now.", counters.curr_connections);
    let name = "qpair_cache_connections_total";
    text.family(name, Type::Counter, "Connections that came; those that were one too many were closed at once.");
    text.sample(name, &[("outcome", "accepted")], counters.total_connections);
    text.sample(name, &[("outcome", "refused")], counters.rejected_connections);
    let help = "Connections that were closed as their clients did not read what they were told.";
    text.single("qpair_cache_unread_connections_total", Type::Counter, help, counters.unread_connections);
    let name = "qpair_cache_network_bytes_total";
    text.family(name, Type::Counter, "Bytes of commands and answers.");
    text.sample(name, &[("direction", "received")], counters.bytes_read);
    text.sample(name, &[("direction", "sent")], counters.bytes_written);
    let name = "qpair_cache_logins_total";
    text.family(name, Type::Counter, "Times that clients said who they are.");
    text.sample(name, &[("outcome", "accepted")], counters.auth_cmds.saturating_sub(counters.auth_errors));
    text.sample(name, &[("outcome", "refused")], counters.auth_errors);
    let help = "Memory of commands that are not whole and of answers that are not sent, of all connections.";
    text.single("qpair_cache_buffer_bytes", Type::Gauge, help, gauges.buffer_bytes);
    let help = "Segments with bytes that are being received or sent: they stay where they are.";
    text.single("qpair_cache_pinned_bytes", Type::Gauge, help, gauges.pinned_bytes);
}

/// What is kept in a file; all zero without one.
fn pool(text: &mut Text, gauges: &Gauges) {
    let help = "Reactors that are still finding the items of their pool.";
    text.single("qpair_cache_pool_recovering_reactors", Type::Gauge, help, gauges.recovering);
    let name = "qpair_cache_pool_found_items";
    let help = "Items of the pool at the last start: found again; older ones of a key, which a crash had left; \
                dropped, as there was no room in the table.";
    text.family(name, Type::Gauge, help);
    text.sample(name, &[("state", "found")], gauges.found_items);
    text.sample(name, &[("state", "stale")], gauges.found_stale);
    text.sample(name, &[("state", "dropped")], gauges.found_dropped);
    let help = "Segments of the pool at the last start that ended with an item which was not whole.";
    text.single("qpair_cache_pool_torn_segments", Type::Gauge, help, gauges.found_torn);
    let help = "Times that what was done was made durable before anybody was told: fences, or calls of fdatasync.";
    text.single("qpair_cache_pool_syncs_total", Type::Counter, help, gauges.syncs);
}

fn log(text: &mut Text, logged: Logged, gauges: &Gauges) {
    let name = "qpair_cache_command_log_lines_total";
    let help = "Lines of the command log: written; dropped, as the writer was behind; lost, as the file could not be \
                written.";
    text.family(name, Type::Counter, help);
    text.sample(name, &[("outcome", "written")], logged.lines);
    text.sample(name, &[("outcome", "dropped")], gauges.log_dropped);
    text.sample(name, &[("outcome", "lost")], logged.lost);
    text.single("qpair_cache_command_log_bytes_total", Type::Counter, "Bytes of the lines written.", logged.bytes);
}
