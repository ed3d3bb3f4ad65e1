//! Commands that look at one reactor's keys before they change another one's: `RENAME`, `RENAMENX`, `MSETNX`.
//!
//! ```text
//!   RENAME a b     dump a ──▶ is it there? ──▶ restore b ──▶ stored? ──▶ delete a; OK
//!   MSETNX a 1 b 2 exists a, b ──▶ none? ──▶ mset; 1
//! ```
//!
//! Home goes from step to step; between two, the command is the first of its connection that is not carried out, and
//! what the step before has found is kept. They are no single step to others, who may see both keys of a `RENAME`, and
//! whose writes between the steps are lost or win. A connection by itself sees no difference.

use store::{Expiry, Time, Value};
use wire::resp::{Answer, Version};

use super::dispatch::{Dispatch, Dispatched, here, serve};
use super::resp::{Asked, bulk};
use super::{Dialect, Rule};
use crate::resp::{is_complete, table};
use crate::session::House;

impl Dispatch<'_> {
    /// A command for the keys of several reactors, from this step on.
    pub(super) fn steps(&mut self, asked: &Asked<'_>, step: usize) -> Dispatched {
        match asked.spec.name {
            "msetnx" if !is_complete(asked.spec, asked.args, self.house) => Dispatched::Here,
            "msetnx" => self.msetnx(asked, step),
            "rename" => self.rename(asked, step, false),
            "renamenx" => self.rename(asked, step, true),
            other => unreachable!("{other} has keys of several reactors, and nothing is known of it"),
        }
    }

    fn msetnx(&mut self, asked: &Asked<'_>, step: usize) -> Dispatched {
        if step == 0 {
            return match self.shares(asked, ("EXISTS", 1), Rule::Count, Rule::KeepCount) {
                Dispatched::Taken => Dispatched::Again(1),
                other => other,
            };
        }
        if self.kept[..] != *b":0\r\n" {
            self.say(asked, |answer| answer.integer(0));
            return Dispatched::Taken;
        }
        match self.shares(asked, ("MSET", 2), Rule::Done, asked.sum(Rule::SayOne)) {
            Dispatched::Again(_) => Dispatched::Again(1),
            other => other,
        }
    }

    fn rename(&mut self, asked: &Asked<'_>, mut step: usize, unless_there: bool) -> Dispatched {
        let mut args = asked.args.skip(1);
        let (Some(from), Some(to)) = (args.next(), args.next()) else { return Dispatched::Here };
        loop {
            let mut work = std::mem::take(&mut self.peers.work);
            work.clear();
            let (owner, dialect) = match step {
                0 => {
                    work.extend_from_slice(from);
                    (self.number(from), Dialect::Dump)
                }
                1 if self.kept.is_empty() => {
                    self.say(asked, |answer| answer.error(&[b"ERR no such key"]));
                    return Dispatched::Taken;
                }
                1 => {
                    Restore { unless_there, key: to, dump: self.kept }.write(&mut work);
                    (self.number(to), Dialect::Restore)
                }
                _ => {
                    self.peers.work = work;
                    return self.renamed(asked, from, unless_there);
                }
            };
            let is_here = owner == self.peers.me();
            let is_done = if is_here {
                self.kept.clear();
                serve(dialect, &work, self.house, self.kept);
                true
            } else {
                self.ask(owner, dialect, true, Rule::Keep, &[&work])
            };
            self.peers.work = work;
            step += usize::from(is_done);
            if !is_here {
                return Dispatched::Again(step);
            }
        }
    }

    /// The last step, behind the answer of the new key's owner.
    fn renamed(&mut self, asked: &Asked<'_>, from: &[u8], unless_there: bool) -> Dispatched {
        if self.kept[..] == *STORED {
            let owner = self.number(from);
            if owner == self.peers.me() {
                self.house.remove(from);
            } else {
                let mut work = self.begin(2);
                bulk(&mut work, b"DEL");
                bulk(&mut work, from);
                let is_asked = self.ask(owner, asked.dialect(), true, Rule::Drop, &[&work]);
                self.peers.work = work;
                if !is_asked {
                    return Dispatched::Again(2);
                }
            }
        }
        let kept = std::mem::take(self.kept);
        self.say(asked, |answer| match (&kept[..], unless_there) {
            (STORED, false) => answer.simple("OK"),
            (STORED, true) => answer.integer(1),
            (THERE, _) => answer.integer(0),
            (error, _) => answer.bytes.extend_from_slice(error),
        });
        Dispatched::Taken
    }

    fn say(&mut self, asked: &Asked<'_>, say: impl FnOnce(&mut Answer<'_>)) {
        if !asked.quiet {
            say(&mut Answer::new(here(self.flight, self.out), asked.version));
        }
    }
}

/// What the owner of a new key says when it has stored what was dumped.
const STORED: &[u8] = b"+";
/// The same, when it did not as there is a value.
const THERE: &[u8] = b"=";

/// What a new key's owner is asked.
struct Restore<'a> {
    unless_there: bool,
    key: &'a [u8],
    dump: &'a [u8],
}

impl<'a> Restore<'a> {
    fn write(&self, to: &mut Vec<u8>) {
        to.push(self.unless_there.into());
        to.extend_from_slice(&(self.key.len() as u32).to_le_bytes());
        to.extend_from_slice(self.key);
        to.extend_from_slice(self.dump);
    }

    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (unless_there, bytes) = bytes.split_first()?;
        let (length, bytes) = bytes.split_first_chunk()?;
        let (key, dump) = bytes.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        Some(Self { unless_there: *unless_there != 0, key, dump })
    }
}

/// Never, among times to expire at.
const NEVER: u64 = u64::MAX;

impl House {
    /// All that is known of an item, for [`House::restore`]; nothing if there is none.
    pub(super) fn dump(&self, key: &[u8], out: &mut Vec<u8>) {
        let Some(item) = self.known(key) else { return };
        let expiry = match item.expiry {
            Expiry::Never => NEVER,
            Expiry::At(time) => time.millis(),
        };
        out.extend_from_slice(&item.flags.to_le_bytes());
        out.extend_from_slice(&expiry.to_le_bytes());
        out.extend_from_slice(item.value);
    }

    /// Stores what was dumped, under the key that the bytes begin with.
    pub(super) fn restore(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let restore = Restore::read(bytes).expect("a reactor has written it");
        let parts = restore.dump.split_first_chunk().and_then(|(flags, rest)| Some((flags, rest.split_first_chunk()?)));
        let (flags, (expiry, value)) = parts.expect("a reactor has written it");
        if restore.unless_there && self.known(restore.key).is_some() {
            return out.extend_from_slice(THERE);
        }
        let expiry = match u64::from_le_bytes(*expiry) {
            NEVER => Expiry::Never,
            millis => Expiry::At(Time::from_millis(millis)),
        };
        let value = Value { parts: &[value], flags: u32::from_le_bytes(*flags), expiry };
        match self.store(restore.key, value) {
            Ok(()) => out.extend_from_slice(STORED),
            Err(failure) => {
                let spec = table::named(b"rename").expect("a command");
                failure.tell(spec, &mut Answer::new(out, Version::default()));
            }
        }
    }
}
