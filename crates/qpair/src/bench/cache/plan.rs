//! From what was asked to what will be done - or to a sentence about why that cannot be.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use machine::ring::RingKind;

use super::items::{Sizes, least_key_bytes};
use super::limits::{
    MAX_CONNECTIONS, MAX_ITEMS, MAX_KEY_BYTES, MAX_PIPELINE, MAX_UNSENT_BYTES, PREFILL_BYTES, PREFILL_PIPELINE,
};
use super::protocol::Protocol;
use crate::bench::Args;
use crate::bench::limits::{DEFAULT_SECS, DEFAULT_WARMUP_SECS};
use crate::bench::live::Phase;
use crate::bench::plan::{Goal, Stage, Unusable, unusable};
use crate::bench::workload::Rw;

/// Gets for so many sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) struct Ratio(pub(super) [u32; 2]);

impl FromStr for Ratio {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let both = text.split_once(':').and_then(|(gets, sets)| Some([gets.parse().ok()?, sets.parse().ok()?]));
        both.filter(|both| *both != [0, 0]).map(Self).ok_or_else(|| "write GET:SET as 9:1".to_owned())
    }
}

/// For `--zipf`.
pub(crate) fn theta(text: &str) -> Result<f64, String> {
    let theta = text.parse().ok().filter(|theta| *theta > 0.0 && *theta <= 4.0);
    theta.ok_or_else(|| "a skew above 0 and up to 4: 0.99 is usual".to_owned())
}

/// A run, checked.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) protocol: Protocol,
    pub(super) address: SocketAddr,
    pub(super) connections: usize,
    pub(super) pipeline: usize,
    pub(super) ratio: [u32; 2],
    pub(super) items: u32,
    pub(super) key_bytes: usize,
    pub(super) sizes: Sizes,
    pub(super) zipf: Option<f64>,
    /// Seconds; 0 is for ever.
    pub(super) ttl: u32,
    pub(super) prefill: bool,
    pub(super) verify: bool,
    /// Operations that are due in a second.
    pub(super) rate: Option<f64>,
    pub(super) warmup: Duration,
    pub(super) time: Duration,
    pub(super) seed: u64,
    pub(super) cpu: Option<usize>,
    /// It never sleeps.
    pub(super) spins: bool,
    pub(super) server: Option<u32>,
}

/// Whether a target is a cache.
pub(in crate::bench) fn is_cache(target: &str) -> bool {
    protocol(target).is_some()
}

fn protocol(target: &str) -> Option<(Protocol, &str)> {
    Protocol::ALL.into_iter().find_map(|(scheme, protocol)| Some((protocol, target.strip_prefix(scheme)?)))
}

impl Plan {
    /// Checks the arguments. `fresh` is the seed if none was given.
    pub(super) fn new(args: &Args, fresh: u64) -> Result<Self, Unusable> {
        let [name] = &args.targets[..] else {
            return unusable("a cache is measured by itself", "Name one target.");
        };
        let (protocol, place) = protocol(name).expect("somebody found out that it is a cache");
        if let Some(option) = of_devices(args) {
            return unusable(format!("{option} is for block devices, and {name} is a cache"), "Leave it out.");
        }
        let address = resolve(place, protocol)?;
        let cache = &args.cache;
        let plan = Self {
            name: name.clone(),
            protocol,
            address,
            connections: cache.connections.unwrap_or(50),
            pipeline: cache.pipeline.unwrap_or(1),
            ratio: cache.ratio.unwrap_or(Ratio([9, 1])).0,
            items: cache.keys.unwrap_or(100_000),
            key_bytes: cache.key_size.unwrap_or(20),
            sizes: cache.value_size.unwrap_or(Sizes { least: 64, most: 64 }),
            zipf: cache.zipf,
            ttl: cache.ttl.unwrap_or(0),
            prefill: cache.prefill,
            verify: args.verify,
            rate: args.rate,
            warmup: Duration::from_secs_f64(args.warmup.unwrap_or(DEFAULT_WARMUP_SECS)),
            time: Duration::from_secs_f64(args.secs.unwrap_or(DEFAULT_SECS)),
            seed: args.seed.unwrap_or(fresh),
            cpu: args.cpus.first().copied(),
            spins: args.dedicated,
            server: cache.server_pid,
        };
        plan.check()
    }

    fn check(self) -> Result<Self, Unusable> {
        let least = least_key_bytes(self.items);
        if self.key_bytes < least {
            let (items, bytes) = (self.items, self.key_bytes);
            let why = format!("keys of {bytes} bytes are too short to tell {items} items apart");
            return unusable(why, format!("They have to have {least}, or there are fewer of them."));
        }
        let request = self.key_bytes + self.sizes.most + 64;
        if self.connections * self.pipeline * request > MAX_UNSENT_BYTES {
            let why = format!("{} connections of {} requests each are too much", self.connections, self.pipeline);
            return unusable(why, format!("All requests together may have {MAX_UNSENT_BYTES} bytes."));
        }
        Ok(self)
    }

    pub(super) fn mean_value_bytes(&self) -> u64 {
        (self.sizes.least + self.sizes.most) as u64 / 2
    }

    /// Requests of a connection that are sent together while items are filled in.
    pub(super) fn prefill_pipeline(&self) -> usize {
        (PREFILL_BYTES / (self.key_bytes + self.sizes.most)).clamp(1, PREFILL_PIPELINE)
    }

    /// What is done, in order.
    pub(super) fn stages(&self) -> Vec<Stage> {
        let depth = (self.connections * self.pipeline).min(u32::MAX as usize);
        let stage = |phase, goal| Stage { phase, goal, depth };
        let mut stages = Vec::new();
        if self.prefill {
            stages.push(stage(Phase::Fill, Goal::Sweep));
        }
        if !self.warmup.is_zero() {
            stages.push(stage(Phase::WarmUp, Goal::For(self.warmup)));
        }
        stages.push(stage(Phase::Measure, Goal::For(self.time)));
        stages
    }
}

fn resolve(place: &str, protocol: Protocol) -> Result<SocketAddr, Unusable> {
    let place = place.strip_suffix('/').unwrap_or(place);
    let has_port = place.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let with_port = if has_port { place.to_owned() } else { format!("{place}:{}", protocol.port()) };
    let hint = "Write HOST:PORT; IPv6 addresses stand in brackets.";
    match with_port.to_socket_addrs().map(|mut all| all.next()) {
        Ok(Some(address)) => Ok(address),
        Ok(None) => unusable(format!("'{place}' has no address"), hint),
        Err(error) => unusable(format!("'{place}' is no address: {error}"), hint),
    }
}

/// An option that says nothing about a cache and is not at its default.
fn of_devices(args: &Args) -> Option<&'static str> {
    let given = [
        (args.rw != Rw::RandRead, "--rw"),
        (args.mix != 70, "--mix"),
        (args.bs != 4096, "--bs"),
        (args.qd != [32], "--qd"),
        (args.queues.is_some(), "--queues"),
        (args.reactors != 1, "--reactors"),
        (args.count.is_some(), "--count"),
        (args.size.is_some(), "--size"),
        (args.offset != 0, "--offset"),
        (args.fua, "--fua"),
        (args.fill, "--fill"),
        (args.lend, "--lend"),
        (args.iov.is_some(), "--iov"),
        (args.shared, "--shared"),
        (args.ring != RingKind::Auto, "--ring"),
        (args.path.is_some(), "--path"),
        (args.html.is_some(), "--html"),
        (args.cpus.len() > 1, "a list of --cpus"),
    ];
    given.into_iter().find_map(|(given, name)| given.then_some(name))
}

fn up_to(text: &str, what: &str, most: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("{what} is a number from 1 to {most}"))
}

/// For `--connections`.
pub(in crate::bench) fn connections(text: &str) -> Result<usize, String> {
    up_to(text, "the number of connections", MAX_CONNECTIONS)
}

/// For `--pipeline`.
pub(in crate::bench) fn pipeline(text: &str) -> Result<usize, String> {
    up_to(text, "the depth of a pipeline", MAX_PIPELINE)
}

/// For `--key-size`.
pub(in crate::bench) fn key_size(text: &str) -> Result<usize, String> {
    up_to(text, "the length of a key", MAX_KEY_BYTES)
}

/// A number of items or requests, also as 10k or 2M.
pub(crate) fn keys(text: &str) -> Result<u32, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1_000),
        Some((at, 'm' | 'M')) => (&text[..at], 1_000_000),
        _ => (text, 1),
    };
    let keys = number.parse::<u32>().ok().and_then(|number| number.checked_mul(unit));
    keys.filter(|keys| (1..=MAX_ITEMS).contains(keys))
        .ok_or_else(|| format!("a number from 1 to {MAX_ITEMS}, as 500, 10k or 2M"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plan::tests::args;

    fn why(line: &str) -> String {
        Plan::new(&args(line), 1).expect_err(line).to_string()
    }

    #[test]
    fn what_can_be_and_what_cannot() {
        let plan = Plan::new(&args("memcache://127.0.0.1:1 --ratio 3:1 --keys 2k --prefill --warmup 0 --secs 1"), 9);
        let plan = plan.expect("it can be");
        assert_eq!((plan.address.port(), plan.ratio, plan.items, plan.seed), (1, [3, 1], 2000, 9));
        let phases: Vec<_> = plan.stages().iter().map(|stage| stage.phase).collect();
        assert_eq!(phases, [Phase::Fill, Phase::Measure]);
        assert_eq!(Plan::new(&args("memcache://[::1]"), 1).expect("its port is known").address.port(), 11211);
        assert!(why("memcache://127.0.0.1 --qd 4").contains("--qd is for block devices"));
        assert!(why("memcache://127.0.0.1 memcache://127.0.0.2").contains("by itself"));
        assert!(why("memcache://127.0.0.1 --keys 10k --key-size 4").contains("have to have 5"));
        assert!(why("memcache://127.0.0.1 --connections 10000 --pipeline 10000").contains("too much"));
        assert!(why("memcache://:::").contains("no address"));
        assert!(is_cache("memcache://x") && !is_cache("x"));
    }
}
