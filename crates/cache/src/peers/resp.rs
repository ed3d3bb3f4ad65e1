//! Whose a Redis command is, by the keys and the rule for joining answers that the table of commands has for it.
//!
//! ```text
//!   MGET a b c   ──▶ *3, then GET a, GET b, GET c, each where it belongs        Array: in the order of the keys
//!   DEL a b c    ──▶ DEL a c to one reactor, DEL b to another one               Sum: of their numbers
//!   MSET a 1 b 2 ──▶ MSET a 1 to one, MSET b 2 to another one                   Ok: or the first error
//!   DBSIZE       ──▶ to all                                                     Sum, without keys
//!   KEYS *       ──▶ to all                                                     Array, without keys
//!   RANDOMKEY    ──▶ to all                                                     Any: the first that is not null
//!   SCAN 0       ──▶ to one after the other                                     Cursor: its upper bits say to whom
//!   CLIENT LIST  ──▶ to all                                                     Text
//!   INFO         ──▶ to none: the figures of all come here                      Figures
//! ```
//!
//! A command whose keys all belong to one reactor goes there as it is. One that must look at the keys of several
//! before it changes them does so in steps: see [`steps`](super::steps).

use std::io::Write;

use wire::resp::{Answer, Args, Version};

use super::dispatch::{Dispatch, Dispatched, here};
use super::{Dialect, Rule};
use crate::limits::MAX_UNSENT_BYTES;
use crate::observe::{Outcome, Verb};
use crate::resp;
use crate::resp::table::{Join, Spec};

/// A command of a Redis client.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) spec: &'static Spec,
    /// Its name first.
    pub(crate) args: Args<'a>,
    pub(crate) version: Version,
    /// The client wants no answer.
    pub(crate) quiet: bool,
}

impl Asked<'_> {
    pub(super) fn dialect(&self) -> Dialect {
        Dialect::Resp(self.version)
    }

    /// A rule for what is said to the client.
    pub(super) fn rule(&self, rule: Rule) -> Rule {
        if self.quiet { Rule::Drop } else { rule }
    }

    /// A rule for what parts amount to.
    pub(super) fn sum(&self, rule: Rule) -> Rule {
        if self.quiet { Rule::Forget } else { rule }
    }
}

impl Dispatch<'_> {
    /// Of the parts of a command, those in front of `from` are under way or answered.
    pub(crate) fn resp(&mut self, asked: &Asked<'_>, from: usize) -> Dispatched {
        let Some(keys) = asked.spec.keys_of(asked.args) else {
            return match asked.spec.join {
                Join::Sum | Join::Ok | Join::Array | Join::Any | Join::Text => self.everybody(asked),
                Join::Figures => self.figures(asked, from),
                Join::Cursor => self.walk(asked),
                Join::One | Join::Together => Dispatched::Here,
            };
        };
        let mut owners = keys.clone().map(|key| self.number(key));
        let Some(first) = owners.next() else { return Dispatched::Here };
        if owners.all(|owner| owner == first) {
            return if first == self.peers.me() { Dispatched::Here } else { self.whole(asked, first) };
        }
        match asked.spec.join {
            Join::Array => self.array(asked, keys, from),
            join => match rules(join) {
                Some(_) if !resp::is_complete(asked.spec, asked.args, self.house) => Dispatched::Here,
                Some((each, all)) => self.shares(asked, (asked.spec.name, asked.step()), each, asked.sum(all)),
                None => self.steps(asked, from),
            },
        }
    }

    /// The whole command to its owner.
    fn whole(&mut self, asked: &Asked<'_>, owner: usize) -> Dispatched {
        let mut work = self.begin(asked.args.len());
        work.extend_from_slice(asked.args.bytes());
        let is_asked = self.ask(owner, asked.dialect(), true, asked.rule(Rule::Say), &[&work]);
        self.peers.work = work;
        if is_asked { Dispatched::Taken } else { Dispatched::Again(0) }
    }

    /// A step of a walk over all keys: a cursor, the first argument, says whose turn it is.
    fn walk(&mut self, asked: &Asked<'_>) -> Dispatched {
        let cursor = asked.args.clone().nth(1).and_then(|cursor| std::str::from_utf8(cursor).ok()?.parse::<u64>().ok());
        let owner = cursor.unwrap_or(0) >> store::CURSOR_BITS;
        match usize::try_from(owner) {
            Ok(owner) if owner < self.peers.count() && owner != self.peers.me() => self.whole(asked, owner),
            _ => Dispatched::Here,
        }
    }

    /// The same command to all, which has no keys.
    fn everybody(&mut self, asked: &Asked<'_>) -> Dispatched {
        let (me, count) = (self.peers.me(), self.peers.count());
        let others = (0..count).filter(|owner| *owner != me);
        if !others.clone().all(|owner| self.has_room(owner)) {
            return Dispatched::Again(0);
        }
        let (version, (each, all)) = match asked.spec.join {
            // Text is marked as such there.
            Join::Text => (Version::Resp3, (Rule::GatherText, Rule::SayText(asked.version))),
            join => (asked.version, rules(join).expect("it was asked")),
        };
        let mut work = self.begin(asked.args.len());
        work.extend_from_slice(asked.args.bytes());
        others.for_each(|owner| self.send(owner, Dialect::Resp(version), false, each, &[&work]));
        self.answer_here(version, &work, each);
        self.peers.work = work;
        self.end_with(asked.sum(all));
        Dispatched::Taken
    }

    /// A command about the figures of all.
    fn figures(&mut self, asked: &Asked<'_>, from: usize) -> Dispatched {
        let told = self.tell_everybody(from, Dialect::Tally, Rule::Add, b"");
        if told != Dispatched::Here {
            return told;
        }
        let mut work = self.begin(asked.args.len());
        work.extend_from_slice(asked.args.bytes());
        self.say_figures(&work, asked.rule(Rule::SumsResp(asked.version)));
        self.peers.work = work;
        Dispatched::Taken
    }

    /// To each owner a command of this name for its keys, with what belongs to them: so many arguments each.
    pub(super) fn shares(
        &mut self,
        asked: &Asked<'_>,
        (name, step): (&str, usize),
        each: Rule,
        all: Rule,
    ) -> Dispatched {
        let keys = || asked.spec.keys_of(asked.args).expect("they are why it has shares");
        let owners = keys().fold(0u64, |owners, key| owners | 1 << self.number(key));
        let me = self.peers.me();
        let is_in = |owner: &usize| owners >> owner & 1 == 1;
        if !(0..self.peers.count()).filter(is_in).all(|owner| owner == me || self.has_room(owner)) {
            return Dispatched::Again(0);
        }
        // Its own share last: then there is a flight in which its answer has a place.
        for owner in (0..self.peers.count()).filter(is_in).filter(|owner| *owner != me).chain([me]).filter(is_in) {
            let count = keys().filter(|key| self.number(key) == owner).count();
            let mut work = self.begin(1 + count * step);
            bulk(&mut work, name.as_bytes());
            // The key is the first of those that belong to it.
            let mut args = asked.args;
            args.next();
            for key in keys() {
                let is_its = self.number(key) == owner;
                for (at, arg) in args.by_ref().take(asked.step()).enumerate() {
                    if is_its && at < step {
                        bulk(&mut work, arg);
                    }
                }
            }
            if owner == me {
                self.answer_here(asked.version, &work, each);
            } else {
                self.send(owner, asked.dialect(), true, each, &[&work]);
            }
            self.peers.work = work;
        }
        self.end_with(all);
        Dispatched::Taken
    }

    /// The values of several keys.
    fn array<'a>(
        &mut self,
        asked: &Asked<'_>,
        keys: impl Iterator<Item = &'a [u8]> + Clone,
        from: usize,
    ) -> Dispatched {
        if from == 0 && !asked.quiet {
            Answer::new(here(self.flight, self.out), asked.version).array(keys.clone().count());
        }
        // The first part is the head, so that it is said once.
        for (number, key) in keys.enumerate().skip(from.saturating_sub(1)) {
            let owner = self.number(key);
            if owner != self.peers.me() {
                let mut work = self.begin(2);
                bulk(&mut work, b"GET");
                bulk(&mut work, key);
                let is_asked = self.ask(owner, asked.dialect(), true, asked.rule(Rule::Say), &[&work]);
                self.peers.work = work;
                if is_asked {
                    continue;
                }
                return Dispatched::Again(number + 1);
            }
            let out = here(self.flight, self.out);
            if out.len() >= MAX_UNSENT_BYTES {
                return Dispatched::Again(number + 1);
            }
            let item = self.house.asked(key);
            let outcome = Outcome::found(item.is_some());
            match item {
                _ if asked.quiet => {}
                Some(item) => Answer::new(out, asked.version).bulk(item.value),
                None => Answer::new(out, asked.version).null(),
            }
            self.house.operations.count(Verb::of(asked.spec), outcome);
        }
        Dispatched::Taken
    }

    /// Carries out here what is one of several parts.
    pub(super) fn answer_here(&mut self, version: Version, command: &[u8], rule: Rule) {
        let flight = self.flight.get_or_insert_with(|| self.peers.flight());
        flight.close(Rule::Say);
        resp::serve(command, version, self.house, flight.bytes());
        flight.close(rule);
    }

    /// Says what the parts amount to.
    fn end_with(&mut self, rule: Rule) {
        self.flight.as_mut().expect("it has parts").mark(rule);
    }

    /// The reactor that a key belongs to.
    pub(super) fn number(&self, key: &[u8]) -> usize {
        store::share(self.house.store.hash(key), self.peers.count())
    }

    /// The beginning of a command of so many strings.
    pub(super) fn begin(&mut self, strings: usize) -> Vec<u8> {
        let mut work = std::mem::take(&mut self.peers.work);
        work.clear();
        write!(work, "*{strings}\r\n").expect("memory takes all");
        work
    }
}

impl Asked<'_> {
    /// From one key to the next.
    fn step(&self) -> usize {
        self.spec.keys.map_or(1, |(_, _, step)| step)
    }
}

/// Adds a string to a command.
pub(super) fn bulk(command: &mut Vec<u8>, bytes: &[u8]) {
    write!(command, "${}\r\n", bytes.len()).expect("memory takes all");
    command.extend_from_slice(bytes);
    command.extend_from_slice(b"\r\n");
}

/// What becomes of the answers of the parts, and what is said when all are there.
fn rules(join: Join) -> Option<(Rule, Rule)> {
    match join {
        Join::Sum => Some((Rule::Count, Rule::SayCount)),
        Join::Ok => Some((Rule::Done, Rule::SayDone)),
        Join::Array => Some((Rule::Gather, Rule::SayGathered)),
        Join::Any => Some((Rule::Find, Rule::SayFound)),
        Join::One | Join::Together | Join::Cursor | Join::Text | Join::Figures => None,
    }
}
