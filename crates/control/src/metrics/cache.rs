//! All families of a cache. Base units: seconds and bytes; counters end in `_total`. The numbers are those of `stats`
//! and INFO, since the start: what sets those back does not set these.

use cache::{Counters, Figures, Observer};

use super::reactors;
use super::text::{Text, Type};

/// What a cache has done, and what it has.
pub(super) fn write(text: &mut Text, observer: &Observer) {
    let totals = observer.totals();
    requests(text, &totals.counters);
    contents(text, &totals.figures);
    clients(text, &totals.counters);
    reactors::write(text, "qpair_cache", &observer.snapshots());
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
    let help = "Items that were found to have expired.";
    text.single("qpair_cache_expired_items_total", Type::Counter, help, figures.expired);
}

fn clients(text: &mut Text, counters: &Counters) {
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
}
