//! `stats`: what is told of the server, under memcached's names where they mean the same.
//!
//! What memcached has and this server has not - slabs of chunks, lists by age, a crawler, libevent - is left out rather
//! than told as zero. `items` and `slabs` know one class of all items, as segments are for all sizes.

use std::fmt::Display;
use std::io::Write;

use super::House;
use crate::tally::Tally;

/// What `stats settings` tells, and does not change while the server runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// Bytes of items and table, of all reactors.
    pub(crate) memory: usize,
    pub(crate) reactors: usize,
    pub(crate) connections: usize,
    pub(crate) evicts: bool,
    pub(crate) max_value: usize,
    /// Whether clients say who they are.
    pub(crate) auth: bool,
}

/// Lines of an answer.
pub(super) struct Stats<'a>(pub(super) &'a mut Vec<u8>);

impl Stats<'_> {
    pub(super) fn stat(&mut self, name: &str, value: impl Display) {
        write!(self.0, "STAT {name} {value}\r\n").expect("memory takes all");
    }
}

impl House {
    /// Answers `stats`; the last line is returned.
    pub(super) fn stats(&mut self, of: Option<&[u8]>, out: &mut Vec<u8>) -> &'static str {
        let tally = self.sums.take().unwrap_or_else(|| Box::new(Tally::of(self)));
        let mut stats = Stats(out);
        match of {
            None => self.general(&tally, &mut stats),
            Some(b"settings") => self.settings.tell(&mut stats),
            Some(b"items") => items(&tally, &mut stats),
            Some(b"slabs") => slabs(&tally, &mut stats),
            Some(b"conns") => self.present.tell(self.now, &mut stats),
            Some(b"sizes") => stats.stat("sizes_status", "disabled"),
            Some(b"reset") => {
                self.forget_done();
                return "RESET";
            }
            Some(b"cachedump") => return "CLIENT_ERROR stats cachedump not allowed",
            Some(_) => return "ERROR",
        }
        "END"
    }

    fn general(&self, Tally { counters, figures, .. }: &Tally, stats: &mut Stats<'_>) {
        stats.stat("pid", std::process::id());
        stats.stat("uptime", self.now.since(self.started).as_secs());
        stats.stat("time", self.now.millis() / 1000);
        stats.stat("version", env!("CARGO_PKG_VERSION"));
        stats.stat("pointer_size", usize::BITS);
        let usage = machine::os::usage();
        stats.stat("rusage_user", format_args!("{:.6}", usage.user.as_secs_f64()));
        stats.stat("rusage_system", format_args!("{:.6}", usage.system.as_secs_f64()));
        stats.stat("max_connections", self.settings.connections);
        counters.told().for_each(|(name, value)| stats.stat(name, value));
        stats.stat("threads", self.settings.reactors);
        stats.stat("hash_bytes", figures.table_bytes);
        stats.stat("limit_maxbytes", figures.bytes);
        stats.stat("bytes", figures.live_bytes);
        stats.stat("curr_items", figures.items);
        stats.stat("evictions", figures.evicted);
        stats.stat("reclaimed", figures.expired);
    }
}

impl Settings {
    fn tell(&self, stats: &mut Stats<'_>) {
        let yes = |is: bool| if is { "yes" } else { "no" };
        stats.stat("maxbytes", self.memory);
        stats.stat("maxconns", self.connections);
        stats.stat("udpport", 0);
        stats.stat("evictions", if self.evicts { "on" } else { "off" });
        stats.stat("shutdown_command", "no");
        stats.stat("num_threads", self.reactors);
        stats.stat("detail_enabled", "no");
        stats.stat("cas_enabled", "yes");
        stats.stat("binding_protocol", "ascii");
        stats.stat("auth_enabled_sasl", "no");
        stats.stat("auth_enabled_ascii", yes(self.auth));
        stats.stat("item_size_max", self.max_value);
        stats.stat("flush_enabled", "yes");
        stats.stat("dump_enabled", "no");
        stats.stat("track_sizes", "no");
        stats.stat("ssl_enabled", "no");
    }
}

/// All items are of one class.
fn items(Tally { counters, figures, .. }: &Tally, stats: &mut Stats<'_>) {
    if figures.items > 0 {
        stats.stat("items:1:number", figures.items);
        stats.stat("items:1:mem_requested", figures.live_bytes);
        stats.stat("items:1:evicted", figures.evicted);
        stats.stat("items:1:outofmemory", counters.store_no_memory);
        stats.stat("items:1:reclaimed", figures.expired);
    }
}

/// Its slabs are the segments.
fn slabs(Tally { counters, figures, .. }: &Tally, stats: &mut Stats<'_>) {
    let used = figures.bytes - figures.free_bytes - figures.table_bytes;
    if used > 0 {
        stats.stat("1:mem_requested", figures.live_bytes);
        let hits = [
            ("get_hits", counters.get_hits),
            ("cmd_set", counters.cmd_set),
            ("delete_hits", counters.delete_hits),
            ("incr_hits", counters.incr_hits),
            ("decr_hits", counters.decr_hits),
            ("cas_hits", counters.cas_hits),
            ("cas_badval", counters.cas_badval),
            ("touch_hits", counters.touch_hits),
        ];
        hits.into_iter().for_each(|(name, value)| stats.stat(&format!("1:{name}"), value));
    }
    stats.stat("active_slabs", u8::from(used > 0));
    stats.stat("total_malloced", used);
}
