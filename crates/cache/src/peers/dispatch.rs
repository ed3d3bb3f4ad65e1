//! Whose a command is: carried out here, sent to the reactor whose key it names, or split between several.

use store::Reserved;
use wire::memcache::{Command, Key, Keys, Parsed, parse};

use super::{Ask, Dialect, Flight, Origin, Peers, Rule};
use crate::limits::{MAX_UNSENT_BYTES, MAX_VALUE_BYTES};
use crate::resp;
use crate::session::{House, Next};
use crate::tally::Tally;

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dispatched {
    /// Nothing yet: it is to be carried out here.
    Here,
    /// It is answered, or will be.
    Taken,
    /// The same one again, from this part on, when its answers so far are sent, or when there is room with the peers.
    Again(usize),
}

/// Whose keys a command is about.
enum Whose<'a> {
    Nobodys,
    One(&'a [u8]),
    /// One that may have to be decoded.
    Meta(Key<'a>),
    /// A get of several.
    Several(Keys<'a>),
    /// Everything that all have.
    Everybodys,
    /// What each has to tell.
    Lists,
    /// Figures of all.
    Figures,
}

fn whose<'a>(command: &Command<'a>) -> Whose<'a> {
    match *command {
        Command::Get { mut keys, .. } => {
            let all = keys;
            match (keys.next(), keys.next()) {
                (Some(key), None) => Whose::One(key),
                _ => Whose::Several(all),
            }
        }
        Command::Store { key, .. }
        | Command::Count { key, .. }
        | Command::Delete { key, .. }
        | Command::Touch { key, .. } => Whose::One(key),
        Command::Meta { meta, .. } => Whose::Meta(meta.key),
        Command::FlushAll { .. } | Command::Stats(Some(b"reset")) => Whose::Everybodys,
        Command::Stats(Some(b"conns")) => Whose::Lists,
        Command::Stats(_) => Whose::Figures,
        Command::Version | Command::Verbosity { .. } | Command::MetaNoop | Command::Quit => Whose::Nobodys,
    }
}

/// A connection's way to the peers, while its commands are looked at.
pub(crate) struct Dispatch<'a> {
    pub(crate) peers: &'a mut Peers,
    pub(crate) house: &'a mut House,
    pub(crate) origin: Origin,
    pub(crate) flight: &'a mut Option<Box<Flight>>,
    /// What the client is told before all that waits.
    pub(crate) out: &'a mut Vec<u8>,
    /// What the step before has found, of a command in [steps](super::steps).
    pub(crate) kept: &'a mut Vec<u8>,
}

impl Dispatch<'_> {
    /// Where answers from here go.
    pub(crate) fn here(&mut self) -> &mut Vec<u8> {
        here(self.flight, self.out)
    }

    /// What a command is carried out with here.
    pub(crate) fn parts(&mut self) -> (&mut House, &mut Vec<u8>) {
        (self.house, here(self.flight, self.out))
    }

    /// A command of these bytes; of its parts, those in front of `from` are under way or answered.
    pub(crate) fn dispatch(&mut self, command: &Command<'_>, bytes: &[u8], from: usize) -> Dispatched {
        match whose(command) {
            Whose::Nobodys => Dispatched::Here,
            Whose::One(key) => self.one(key, bytes),
            Whose::Meta(key) => self.one(key.bytes(&mut [0; _]), bytes),
            Whose::Several(keys) => self.get(command, bytes, keys, from),
            Whose::Everybodys => self.tell_everybody(from, Dialect::Memcache, Rule::Drop, bytes),
            // Without the last line, but that of this reactor, which comes last.
            Whose::Lists => self.tell_everybody(from, Dialect::Memcache, Rule::Values, bytes),
            Whose::Figures => match self.tell_everybody(from, Dialect::Tally, Rule::Add, b"") {
                Dispatched::Here => {
                    self.say_figures(bytes, Rule::Sums);
                    Dispatched::Taken
                }
                other => other,
            },
        }
    }

    /// A command about this key.
    fn one(&mut self, key: &[u8], bytes: &[u8]) -> Dispatched {
        match self.owner(key) {
            None => Dispatched::Here,
            Some(owner) => {
                let dialect = if self.house.reads_only { Dialect::MemcacheReader } else { Dialect::Memcache };
                taken(self.ask(owner, dialect, true, Rule::Say, &[bytes]), 0)
            }
        }
    }

    /// The key of a value that is refused: nobody is to find what it was to replace. Whether the owner will be told.
    pub(crate) fn forget(&mut self, key: Key<'_>) -> bool {
        let mut room = [0; _];
        let bytes = key.bytes(&mut room);
        match self.owner(bytes) {
            None => {
                self.house.forget(bytes);
                true
            }
            Some(owner) => {
                let encoded: &[u8] = if key.is_encoded() { b" b" } else { b"" };
                let parts = [b"md ", key.word(), encoded, b"\r\n"];
                self.ask(owner, Dialect::Memcache, false, Rule::Drop, &parts)
            }
        }
    }

    /// Asks the owner of a key to store a value that has come to its place here; `None` if that is this reactor, and
    /// `false` if there is no room for it now.
    pub(crate) fn forward(&mut self, key: Key<'_>, line: &[u8], value: &Reserved) -> Option<bool> {
        let owner = self.owner(key.bytes(&mut [0; _]))?;
        if !self.has_room(owner) {
            return Some(false);
        }
        let flight = self.flight.get_or_insert_with(|| self.peers.flight());
        let ask = Ask { origin: self.origin, piece: flight.hole(Rule::Say), dialect: Dialect::Memcache, counts: true };
        self.peers.ask(owner, ask, &[line, self.house.store.landing(value), b"\r\n"]);
        Some(true)
    }

    /// The other reactor that a key belongs to.
    pub(crate) fn owner(&self, key: &[u8]) -> Option<usize> {
        let owner = store::share(self.house.store.hash(key), self.peers.count());
        Some(owner).filter(|owner| *owner != self.peers.me())
    }

    /// Whether an owner can be asked for something more.
    pub(super) fn has_room(&self, owner: usize) -> bool {
        self.flight.as_ref().is_none_or(|flight| flight.has_room()) && self.peers.has_room(owner)
    }

    /// Asks an owner for something; `false` if there is no room for that now.
    pub(super) fn ask(&mut self, owner: usize, dialect: Dialect, counts: bool, rule: Rule, parts: &[&[u8]]) -> bool {
        let has_room = self.has_room(owner);
        if has_room {
            self.send(owner, dialect, counts, rule, parts);
        }
        has_room
    }

    /// Asks an owner, who has room.
    pub(super) fn send(&mut self, owner: usize, dialect: Dialect, counts: bool, rule: Rule, parts: &[&[u8]]) {
        let flight = self.flight.get_or_insert_with(|| self.peers.flight());
        let ask = Ask { origin: self.origin, piece: flight.hole(rule), dialect, counts };
        self.peers.ask(owner, ask, parts);
    }

    /// A get of several keys, each a command of its own for its owner.
    fn get(&mut self, command: &Command<'_>, bytes: &[u8], keys: Keys<'_>, from: usize) -> Dispatched {
        let &Command::Get { cas, touch, .. } = command else { unreachable!("it is a get") };
        let verb = words(bytes, if touch.is_some() { 2 } else { 1 });
        for (number, key) in keys.enumerate().skip(from) {
            if let Some(owner) = self.owner(key) {
                let parts = [verb, b" ", key, b"\r\n"];
                if !self.ask(owner, Dialect::Memcache, true, Rule::Values, &parts) {
                    return Dispatched::Again(number);
                }
                continue;
            }
            if here(self.flight, self.out).len() >= MAX_UNSENT_BYTES {
                return Dispatched::Again(number);
            }
            let out = here(self.flight, self.out);
            let one = Command::Get { keys: Keys::only(key), cas, touch };
            let next = self.house.execute(one, 0, out);
            assert_eq!(next, Next::Go, "one key is answered at once");
            out.truncate(out.len() - b"END\r\n".len());
        }
        here(self.flight, self.out).extend_from_slice(b"END\r\n");
        Dispatched::Taken
    }

    /// Answers a command with the figures of all, for which the others were asked.
    pub(super) fn say_figures(&mut self, command: &[u8], rule: Rule) {
        let flight = self.flight.as_mut().expect("all the others were asked");
        flight.close(Rule::Say);
        // As it is now, before anything that comes behind.
        Tally::of(self.house).write(flight.bytes());
        flight.close(Rule::Add);
        flight.bytes().extend_from_slice(command);
        flight.close(rule);
    }

    /// Asks all the others, beginning with number `from`; [`Dispatched::Here`] when that is done.
    pub(super) fn tell_everybody(&mut self, from: usize, dialect: Dialect, rule: Rule, bytes: &[u8]) -> Dispatched {
        let (me, count) = (self.peers.me(), self.peers.count());
        let refused = (from..count).find(|owner| *owner != me && !self.ask(*owner, dialect, false, rule, &[bytes]));
        refused.map_or(Dispatched::Here, Dispatched::Again)
    }
}

/// Where answers from here go.
pub(crate) fn here<'a>(flight: &'a mut Option<Box<Flight>>, out: &'a mut Vec<u8>) -> &'a mut Vec<u8> {
    match flight {
        Some(flight) => flight.bytes(),
        None => out,
    }
}

/// The first so many words of a line.
fn words(line: &[u8], count: usize) -> &[u8] {
    let ends = (1..=line.len()).filter(|&at| line[at - 1] != b' ' && line.get(at).is_none_or(|byte| *byte == b' '));
    &line[..ends.take(count).last().unwrap_or(0)]
}

fn taken(is: bool, part: usize) -> Dispatched {
    if is { Dispatched::Taken } else { Dispatched::Again(part) }
}

/// Answers a command about figures, which are these.
pub(super) fn tell_sums(sums: Option<Box<Tally>>, bytes: &[u8], house: &mut House, out: &mut Vec<u8>) {
    house.sums = sums;
    execute(bytes, house, out);
}

/// Carries out a whole command that has been parsed before.
fn execute(bytes: &[u8], house: &mut House, out: &mut Vec<u8>) {
    let Parsed::Command(command, used) = parse(bytes, MAX_VALUE_BYTES) else { unreachable!("home has parsed it") };
    let next = house.execute(command, 0, out);
    assert!(used == bytes.len() && next == Next::Go, "one command that is answered at once, and nothing else");
}

/// Carries out what another reactor asks, or this one of itself.
pub(crate) fn serve(dialect: Dialect, bytes: &[u8], house: &mut House, out: &mut Vec<u8>) {
    match dialect {
        Dialect::Memcache => execute(bytes, house, out),
        Dialect::MemcacheReader => {
            house.reads_only = true;
            execute(bytes, house, out);
            house.reads_only = false;
        }
        Dialect::Resp(version) => resp::serve(bytes, version, house, out),
        Dialect::Tally => Tally::of(house).write(out),
        Dialect::Dump => house.dump(bytes, out),
        Dialect::Restore => house.restore(bytes, out),
    }
}

/// Carries out what another reactor asks.
pub(super) fn answer(ask: &Ask, bytes: &[u8], house: &mut House, out: &mut Vec<u8>) {
    let before = (!ask.counts).then_some(house.counters);
    house.operations.set_counting(ask.counts);
    serve(ask.dialect, bytes, house, out);
    house.operations.set_counting(true);
    if let Some(counters) = before {
        house.counters = counters;
    }
}
