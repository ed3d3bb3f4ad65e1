//! `qpair cache simulate`: what share of a trace's requests a cache of some size misses.
//!
//! ```text
//!   trace ──▶ the store itself, in the trace's time ──▶ misses
//!         ──▶ LRU, ARC, S3-FIFO, Belady            ──▶ misses      at the same bytes, those of metadata included
//! ```

mod lists;
mod policies;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use block::size::{format_size, parse_size};
use machine::region::Region;
use serde::Serialize;
use store::{Eviction, Expiry, Store, StoreOptions, Time, Value};

use self::policies::{Arc, Belady, Lru, S3Fifo};
use super::trace::{Op, Request, Trace, read};

const EXAMPLES: &str = "\
Each policy has the same bytes, for objects and for what it keeps about them. The store has its segments, its table
and what it remembers in them, as it is. The others are charged 15 bytes for an object (what this store has for one: a
header and a share of the table), 6 if it expires, and beside those: LRU 8 (two neighbours), ARC 9 and 22 for each
object that it only remembers, S3-FIFO 5 and 8, Belady nothing. They have no allocator and no rounding: less than that
cannot be had.

Examples:
  qpair cache trace zipf.csv --zipf 0.9 --ttl 300,3600,0 --one-hit 20
  qpair cache simulate zipf.csv --size 16MiB,64MiB";

/// Tell what this cache and others would miss of a trace
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// A trace: .csv (time,key,size,ttl,op), or oracleGeneral
    #[arg(value_name = "TRACE")]
    trace: PathBuf,

    /// Bytes of the cache; several are simulated one after the other
    #[arg(long, value_name = "SIZE,...", required = true, value_delimiter = ',', value_parser = parse_size)]
    size: Vec<u64>,

    /// Print one JSON object a line instead of text
    #[arg(long)]
    json: bool,
}

/// A request as the policies see it.
struct Access<'a> {
    /// Seconds.
    now: u32,
    id: u64,
    /// Of key and value.
    bytes: u32,
    /// The second from which on it is not there any more, if it is brought in now; `u32::MAX` is never.
    expires: u32,
    /// The number of the next request for it.
    next: Option<u32>,
    trace: &'a [Request],
}

/// A cache.
trait Policy {
    /// Whether it is there.
    fn get(&mut self, access: &Access<'_>) -> bool;
    /// Brings it in, or has it changed.
    fn put(&mut self, access: &Access<'_>);
    /// Takes it out.
    fn remove(&mut self, id: u64);
    /// How many there are.
    fn objects(&self) -> u64;
}

/// What a policy missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Missed {
    gets: u64,
    misses: u64,
    bytes: u64,
    missed_bytes: u64,
    /// At the end.
    objects: u64,
}

impl Missed {
    fn ratio(&self) -> f64 {
        self.misses as f64 / self.gets.max(1) as f64
    }

    fn byte_ratio(&self) -> f64 {
        self.missed_bytes as f64 / self.bytes.max(1) as f64
    }
}

/// The policies, in the order of the table: the store's own come first.
const NAMES: [&str; 8] =
    ["store, merge", "store, s3fifo", "store, fifo", "store, random", "LRU", "ARC", "S3-FIFO", "Belady"];
/// Those of them that the best one to compare with is one of.
const YARDSTICKS: std::ops::Range<usize> = 4..7;

fn policy(name: usize, size: u64) -> Result<Box<dyn Policy>, Box<dyn Error>> {
    Ok(match name {
        0 => Box::new(Real::new(size, Eviction::Merge)?),
        1 => Box::new(Real::new(size, Eviction::S3Fifo)?),
        2 => Box::new(Real::new(size, Eviction::Fifo)?),
        3 => Box::new(Real::new(size, Eviction::Random)?),
        4 => Box::new(Lru::new(size)),
        5 => Box::new(Arc::new(size)),
        6 => Box::new(S3Fifo::new(size)),
        _ => Box::new(Belady::new(size)),
    })
}

/// Has a policy serve a trace.
fn play(policy: &mut dyn Policy, trace: &Trace, nexts: &[Option<u32>]) -> Missed {
    let mut found = Missed::default();
    for (request, next) in trace.requests.iter().zip(nexts) {
        let &Request { at, op, id, bytes, ttl } = request;
        // Never, or the last second that is not.
        let expires = if ttl == 0 { u32::MAX } else { at.saturating_add(ttl).min(u32::MAX - 1) };
        let access = Access { now: at, id, bytes: bytes.max(KEY_BYTES), expires, next: *next, trace: &trace.requests };
        match op {
            Op::Get => {
                let hit = policy.get(&access);
                found.gets += 1;
                found.bytes += u64::from(access.bytes);
                if !hit {
                    found.misses += 1;
                    found.missed_bytes += u64::from(access.bytes);
                    policy.put(&access);
                }
            }
            Op::Set => policy.put(&access),
            Op::Delete => policy.remove(id),
        }
    }
    found.objects = policy.objects();
    found
}

/// Bytes of a key in the store: the object's number.
const KEY_BYTES: u32 = 8;

/// The store itself.
struct Real {
    store: Store,
    /// When expired segments were last looked for.
    second: u32,
    noise: Vec<u8>,
}

impl Real {
    fn new(size: u64, eviction: Eviction) -> Result<Self, Box<dyn Error>> {
        let region = Region::anonymous(usize::try_from(size)?)?;
        let store = Store::new(region, StoreOptions { seed: 1, eviction })?;
        Ok(Self { store, second: 0, noise: Vec::new() })
    }

    /// Once a second the store is told that time goes by, as a server does.
    fn look(&mut self, now: u32) -> Time {
        let time = Time::from_millis(1000 * u64::from(now) + 1);
        if now != self.second {
            self.second = now;
            self.store.expire(time);
        }
        time
    }
}

impl Policy for Real {
    fn get(&mut self, access: &Access<'_>) -> bool {
        let (now, key) = (self.look(access.now), access.id.to_le_bytes());
        self.store.get(self.store.hash(&key), &key, now).is_some()
    }

    fn put(&mut self, access: &Access<'_>) {
        let (now, key) = (self.look(access.now), access.id.to_le_bytes());
        let bytes = (access.bytes - KEY_BYTES) as usize;
        if self.noise.len() < bytes {
            self.noise.resize(bytes, b'x');
        }
        let expiry = match access.expires {
            u32::MAX => Expiry::Never,
            second => Expiry::At(Time::from_millis(1000 * u64::from(second))),
        };
        let value = Value { parts: &[&self.noise[..bytes]], flags: 0, expiry };
        // What is too large is not in it, as in a server.
        let hash = self.store.hash(&key);
        if self.store.put(hash, &key, value, now).is_err() {
            self.store.remove(hash, &key, now);
        }
    }

    fn remove(&mut self, id: u64) {
        let key = id.to_le_bytes();
        let now = self.look(self.second);
        self.store.remove(self.store.hash(&key), &key, now);
    }

    fn objects(&self) -> u64 {
        self.store.figures().items
    }
}

#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    policy: &'a str,
    size_bytes: u64,
    miss_ratio: f64,
    byte_miss_ratio: f64,
    /// Of the least that LRU, ARC and S3-FIFO miss.
    of_best: f64,
    #[serde(flatten)]
    missed: Missed,
}

/// Runs `qpair cache simulate`.
///
/// # Errors
/// The trace cannot be read, or there is no such store.
pub(super) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let trace = read(&args.trace)?;
    let nexts = trace.nexts();
    if !args.json {
        print_head(&trace);
    }
    for &size in &args.size {
        let mut found = Vec::new();
        for name in 0..NAMES.len() {
            found.push(play(&mut *policy(name, size)?, &trace, &nexts));
        }
        let best = found[YARDSTICKS].iter().map(Missed::ratio).fold(f64::INFINITY, f64::min);
        for (name, missed) in NAMES.into_iter().zip(found) {
            let (miss_ratio, byte_miss_ratio) = (missed.ratio(), missed.byte_ratio());
            let of_best = if best > 0.0 { miss_ratio / best } else { 1.0 };
            if args.json {
                let (policy, size_bytes) = (name, size);
                let line = Line { schema: 1, policy, size_bytes, miss_ratio, byte_miss_ratio, of_best, missed };
                println!("{}", serde_json::to_string(&line)?);
            } else {
                println!(
                    "{:>10}  {name:<20} {miss_ratio:>10.4} {byte_miss_ratio:>12.4} {of_best:>9.3} {:>12}",
                    format_size(size),
                    missed.objects
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_head(trace: &Trace) {
    let objects: std::collections::HashMap<u64, u32> =
        trace.requests.iter().map(|request| (request.id, request.bytes)).collect();
    let bytes: u64 = objects.values().map(|bytes| u64::from(*bytes)).sum();
    println!("{} requests of {} objects, {}", trace.requests.len(), objects.len(), format_size(bytes));
    let words = ["size", "policy", "missed", "missed bytes", "of best", "objects"];
    let [size, policy, missed, bytes, best, objects] = words;
    println!("{size:>10}  {policy:<20} {missed:>10} {bytes:>12} {best:>9} {objects:>12}");
}
