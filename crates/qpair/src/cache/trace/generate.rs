//! A made-up trace.
//!
//! ```text
//!   z z o z z z o z | s s s s s | z o z ...      z: by popularity   o: once and never again   s: a scan
//! ```
//!
//! Size and time to live are a function of the object: whenever it comes, it is the same. Its popularity has nothing to
//! do with either.

use std::str::FromStr;

use block::size::parse_size;

use super::{Op, Request};
use crate::bench::{Rng, Zipf};

/// Bytes of objects, from the one to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Sizes {
    least: u32,
    most: u32,
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (least, most) = text.split_once('-').unwrap_or((text, text));
        let size = |text| parse_size(text).ok().and_then(|size| u32::try_from(size).ok());
        let sizes = size(least).zip(size(most)).filter(|(least, most)| 0 < *least && least <= most);
        sizes.map(|(least, most)| Self { least, most }).ok_or_else(|| "write sizes as 100 or 40-2k".to_owned())
    }
}

/// After so many requests a scan over so many objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Scan {
    every: u32,
    length: u32,
}

impl FromStr for Scan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let both = text.split_once(':').and_then(|(every, length)| Some((every.parse().ok()?, length.parse().ok()?)));
        both.filter(|(every, length)| *every > 0 && *length > 0)
            .map(|(every, length)| Self { every, length })
            .ok_or_else(|| "write a scan as EVERY:LENGTH, in requests".to_owned())
    }
}

/// What a trace is made of.
pub(in crate::cache) struct Mix {
    pub(in crate::cache) objects: u32,
    pub(in crate::cache) theta: f64,
    pub(in crate::cache) sizes: Sizes,
    pub(in crate::cache) ttls: Vec<u32>,
    pub(in crate::cache) one_hit: u8,
    pub(in crate::cache) scan: Option<Scan>,
    pub(in crate::cache) rate: u32,
    pub(in crate::cache) seed: u64,
}

/// Its requests, without end.
pub(in crate::cache) struct Generator<'a> {
    mix: &'a Mix,
    rng: Rng,
    zipf: Zipf,
    number: u64,
    /// The next objects of each kind.
    once: u64,
    scanned: u64,
    /// Requests that are left of this scan, and until the next one.
    scanning: u32,
    until_scan: u32,
}

/// Objects of the other kinds have numbers from here on.
const ONCE: u64 = 1 << 40;
const SCANNED: u64 = 1 << 41;

impl<'a> Generator<'a> {
    pub(in crate::cache) fn new(mix: &'a Mix) -> Self {
        Self {
            mix,
            rng: Rng::new(mix.seed),
            zipf: Zipf::new(mix.objects.into(), mix.theta),
            number: 0,
            once: ONCE,
            scanned: SCANNED,
            scanning: 0,
            until_scan: mix.scan.map_or(0, |scan| scan.every),
        }
    }

    fn object(&mut self) -> u64 {
        if let Some(scan) = self.mix.scan {
            if self.scanning == 0 && self.until_scan == 0 {
                (self.scanning, self.until_scan) = (scan.length, scan.every);
            }
            if self.scanning > 0 {
                self.scanning -= 1;
                self.scanned += 1;
                return self.scanned - 1;
            }
            self.until_scan -= 1;
        }
        if self.rng.below(100) < self.mix.one_hit.into() {
            self.once += 1;
            return self.once - 1;
        }
        self.zipf.draw(&mut self.rng)
    }
}

impl Iterator for Generator<'_> {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        let id = self.object();
        let at = (self.number / u64::from(self.mix.rate)) as u32;
        self.number += 1;
        let mut own = Rng::new(id ^ self.mix.seed << 48);
        let Sizes { least, most } = self.mix.sizes;
        // Evenly in the logarithm.
        let share = own.below(1 << 32) as f64 / f64::from(u32::MAX);
        let bytes = (f64::from(least) * (f64::from(most) / f64::from(least)).powf(share)) as u32;
        let ttl = self.mix.ttls[own.below(self.mix.ttls.len() as u64) as usize];
        Some(Request { at, op: Op::Get, id, bytes: bytes.clamp(least, most), ttl })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn a_trace_has_what_was_asked_for_and_is_the_same_again() {
        let scan = Some("1000:50".parse().expect("a scan"));
        let sizes = "40-2k".parse().expect("sizes");
        let mix = Mix { objects: 1000, theta: 0.9, sizes, ttls: vec![60, 0], one_hit: 20, scan, rate: 100, seed: 3 };
        let requests: Vec<Request> = Generator::new(&mix).take(21_000).collect();
        assert_eq!(requests, Generator::new(&mix).take(21_000).collect::<Vec<_>>());
        assert_eq!((requests[99].at, requests[100].at), (0, 1));
        let count = |wanted: fn(u64) -> bool| requests.iter().filter(|request| wanted(request.id)).count();
        assert_eq!(count(|id| id >= SCANNED), 1000);
        let once = count(|id| (ONCE..SCANNED).contains(&id));
        assert!((3600..4400).contains(&once), "{once}");
        let mut objects: HashMap<u64, Request> = HashMap::new();
        for request in &requests {
            let first = objects.entry(request.id).or_insert(*request);
            assert_eq!((first.bytes, first.ttl), (request.bytes, request.ttl));
            assert!((40..=2048).contains(&request.bytes));
        }
        let with_ttl = objects.values().filter(|request| request.ttl == 60).count();
        assert!((objects.len() * 4 / 10..objects.len() * 6 / 10).contains(&with_ttl), "{with_ttl}");
    }
}
