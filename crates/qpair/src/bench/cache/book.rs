//! What all connections of a run share: what to ask next, and what was found out.

use std::time::Duration;

use machine::clock::Fine;

use super::items::Items;
use super::plan::Plan;
use super::protocol::{Protocol, Verb};
use super::zipf::Zipf;
use crate::bench::latency::Latencies;
use crate::bench::limits::MAX_PRINTED;
use crate::bench::workload::Rng;

/// What was counted in one stage.
#[derive(Clone)]
pub(super) struct Tally {
    /// Of gets and of sets that were answered.
    pub(super) gets: Latencies,
    pub(super) sets: Latencies,
    pub(super) hits: u64,
    /// Bytes of values that were got and set.
    pub(super) value_bytes: u64,
}

impl Tally {
    fn new() -> Self {
        Self { gets: Latencies::new(), sets: Latencies::new(), hits: 0, value_bytes: 0 }
    }

    pub(super) fn operations(&self) -> u64 {
        self.gets.count() + self.sets.count()
    }

    pub(super) fn latency_ns(&self) -> u64 {
        self.gets.sum_ns() + self.sets.sum_ns()
    }
}

/// A request that was sent and not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) verb: Verb,
    pub(super) number: u32,
    /// When it was sent, or was due.
    pub(super) since: Fine,
}

/// See the module.
pub(super) struct Book {
    pub(super) protocol: Protocol,
    pub(super) items: Items,
    pub(super) verify: bool,
    ttl: u32,
    rng: Rng,
    zipf: Option<Zipf>,
    ratio: [u32; 2],
    /// Items are filled in, and this one is next.
    pub(super) sweep: Option<u32>,
    pub(super) tally: Tally,
    /// Of all stages.
    pub(super) refused: u64,
    pub(super) checked: u64,
    pub(super) miscompares: u64,
    /// The first ones, as sentences.
    pub(super) problems: Vec<String>,
}

impl Book {
    pub(super) fn new(plan: &Plan) -> Self {
        let seed = plan.seed;
        Self {
            protocol: plan.protocol,
            items: Items::new(plan.items, plan.key_bytes, plan.sizes, seed),
            verify: plan.verify,
            ttl: plan.ttl,
            rng: Rng::new(seed),
            zipf: plan.zipf.map(|theta| Zipf::new(plan.items.into(), theta)),
            ratio: plan.ratio,
            sweep: None,
            tally: Tally::new(),
            refused: 0,
            checked: 0,
            miscompares: 0,
            problems: Vec::new(),
        }
    }

    /// A stage begins; with `sweep` it sets every item once.
    pub(super) fn begin(&mut self, sweep: bool) {
        self.tally = Tally::new();
        self.sweep = sweep.then_some(0);
    }

    /// Whether every item has been asked for in a sweep.
    pub(super) fn swept(&self) -> bool {
        self.sweep == Some(self.items.count)
    }

    /// Draws the next request and appends it; `None` at the end of a sweep.
    #[inline]
    pub(super) fn ask(&mut self, since: Fine, out: &mut Vec<u8>) -> Option<Asked> {
        let (verb, number) = match &mut self.sweep {
            Some(next) if *next == self.items.count => return None,
            Some(next) => {
                *next += 1;
                (Verb::Set, *next - 1)
            }
            None => {
                let [gets, sets] = self.ratio;
                let all = u64::from(gets) + u64::from(sets);
                let verb = if self.rng.below(all) < u64::from(gets) { Verb::Get } else { Verb::Set };
                let number = match &self.zipf {
                    Some(zipf) => zipf.draw(&mut self.rng),
                    None => self.rng.below(self.items.count.into()),
                };
                (verb, number as u32)
            }
        };
        self.protocol.ask(verb, number, self.ttl, &mut self.items, out);
        Some(Asked { verb, number, since })
    }

    /// A request was answered as it should.
    #[inline]
    pub(super) fn done(&mut self, asked: &Asked, hit: bool, now: Fine) {
        let latency: Duration = now.since(asked.since);
        let tally = &mut self.tally;
        match asked.verb {
            Verb::Get => tally.gets.record(latency),
            Verb::Set => tally.sets.record(latency),
        }
        if hit {
            tally.hits += 1;
        }
        if hit || asked.verb == Verb::Set {
            tally.value_bytes += self.items.value(asked.number).len() as u64;
        }
    }

    /// The server refused a request.
    pub(super) fn refuse(&mut self, asked: &Asked, why: &[u8]) {
        self.refused += 1;
        let verb = asked.verb;
        self.problem(|key| format!("a {verb} of {key} was refused: {}", why.escape_ascii()), asked.number);
    }

    /// A value is not what it must be.
    pub(super) fn miscompare(&mut self, number: u32, why: impl FnOnce() -> String) {
        self.miscompares += 1;
        self.problem(|key| format!("the value of {key} is wrong: {}", why()), number);
    }

    fn problem(&mut self, text: impl FnOnce(&str) -> String, number: u32) {
        if (self.problems.len() as u64) < MAX_PRINTED {
            let key = String::from_utf8_lossy(self.items.key(number)).into_owned();
            self.problems.push(text(&key));
        }
    }
}
