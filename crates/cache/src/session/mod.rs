//! What the commands of clients mean: a command, a store, an answer. What all of a reactor's sessions share, and the
//! verbs of a protocol a file.

mod large;
mod memcache;
mod meta;
mod present;
mod stats;

use store::{Reserved, Store, Time};
use wire::memcache::Command;

pub(crate) use large::{End, Gift, Lending, Mode};
pub(crate) use memcache::not_stored;
pub(crate) use present::Present;

use crate::access::Users;
use crate::buffers::Buffers;
use crate::counters::{Counters, Gauges};
use crate::kept::Finding;
use crate::log::Logger;
use crate::observe::{Operations, Timing};
use crate::resp::Clients;
use crate::tally::Tally;

pub(crate) use memcache::expiry;
pub(crate) use stats::Settings;

/// What a connection does after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next one.
    Go,
    /// The same one, from this key on, when its answers so far are sent.
    Again(usize),
    /// It is over.
    Close,
}

/// What all sessions of a reactor share.
pub(crate) struct House {
    pub(crate) store: Store,
    pub(crate) counters: Counters,
    /// Of all reactors, for the next command that is about them; else it is about this one.
    pub(crate) sums: Option<Box<Tally>>,
    /// The time at the start of this pass, and at that of the program.
    pub(crate) now: Time,
    pub(crate) started: Time,
    /// Of a pool, how far its items are found.
    pub(crate) finding: Finding,
    /// For values that are made of others.
    pub(crate) work: Vec<u8>,
    /// The value of the next command that stores one, if it has come to its place; else it is with the command.
    pub(crate) landed: Option<Reserved>,
    pub(crate) lending: Lending,
    /// Those that speak Redis' protocol.
    pub(crate) clients: Clients,
    /// There may be more that has expired.
    pub(crate) expiring: bool,
    /// What the clients make it keep.
    pub(crate) buffers: Buffers,
    pub(crate) settings: Settings,
    /// The command that is carried out is of a user who may only read.
    pub(crate) reads_only: bool,
    /// Who may use the cache, if not everybody may.
    pub(crate) users: Option<Users>,
    /// What was counted when the counters were set back.
    pub(crate) forgotten: Option<Box<Tally>>,
    pub(crate) operations: Operations,
    pub(crate) timing: Timing,
    /// As it was at the last tick; when that was, and how many operations and bytes of both ways there were.
    pub(crate) gauges: Gauges,
    ticked: Time,
    last_done: [u64; 3],
    /// Who is connected.
    pub(crate) present: Present,
    /// The command log, if there is one.
    pub(crate) log: Option<Box<Logger>>,
}

impl House {
    pub(crate) fn new(store: Store, settings: Settings, now: Time) -> Self {
        Self {
            store,
            counters: Counters::default(),
            sums: None,
            now,
            started: now,
            finding: Finding::default(),
            work: Vec::new(),
            landed: None,
            lending: Lending::default(),
            clients: Clients::default(),
            expiring: false,
            buffers: Buffers::of(settings.reactors, settings.max_value),
            settings,
            reads_only: false,
            users: None,
            forgotten: None,
            operations: Operations::default(),
            timing: Timing::default(),
            gauges: Gauges::default(),
            ticked: now,
            last_done: [0; 3],
            present: Present::default(),
            log: None,
        }
    }

    /// Sets back what clients are told of what was done. What there is stays as it is.
    pub(crate) fn forget_done(&mut self) {
        self.forgotten = Some(Box::new(Tally::ever(self)));
    }

    /// Whether the command that was just carried out is to be logged.
    pub(crate) fn is_logged(&mut self) -> bool {
        self.log.as_mut().is_some_and(|log| log.is_turn())
    }

    /// What there is beside the store.
    pub(crate) fn gauges(&self) -> Gauges {
        let log_dropped = self.log.as_ref().map_or(0, |log| log.dropped());
        Gauges { pinned_bytes: self.store.pinned_bytes() as u64, log_dropped, ..self.gauges }
    }

    /// Whether a command of memcached's can be answered while items of the pool are still to be found.
    pub(crate) fn knows_enough_for(&self, command: &Command<'_>, alone: bool) -> bool {
        match command {
            Command::Get { keys, touch: None, .. } => {
                self.finding == Finding::Long || alone && keys.clone().all(|key| self.knows(key))
            }
            Command::Version | Command::Verbosity { .. } | Command::MetaNoop | Command::Stats(_) | Command::Quit => {
                true
            }
            _ => false,
        }
    }

    /// Whether the item of a key is found.
    pub(crate) fn knows(&self, key: &[u8]) -> bool {
        self.store.peek(self.store.hash(key), key, self.now).is_some()
    }

    /// What is due by the clock: `flush_all` with a delay; then [`House::give_back_expired`] has something to do.
    pub(crate) fn tick(&mut self) {
        let elapsed = self.now.since(self.ticked).as_millis() as u64;
        if elapsed > 0 {
            let done = [self.operations.total(), self.counters.bytes_read, self.counters.bytes_written];
            let [operations, received, sent] =
                std::array::from_fn(|at| (done[at] - self.last_done[at]) * 1000 / elapsed);
            let gauges = &mut self.gauges;
            (gauges.operations_rate, gauges.received_rate, gauges.sent_rate) = (operations, received, sent);
            (self.last_done, self.ticked) = (done, self.now);
        }
        self.store.look_at(self.now);
        self.expiring = true;
        self.log.iter_mut().for_each(|log| log.hand_over());
    }

    /// Gives back some of what has expired; whether there was any.
    pub(crate) fn give_back_expired(&mut self) -> bool {
        self.expiring = self.expiring && self.store.expire_some(self.now);
        self.expiring
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use machine::region::Region;
    use store::StoreOptions;
    use wire::memcache::{Parsed, parse};

    use super::*;

    fn ask(house: &mut House, asked: &str) -> String {
        let Parsed::Command(command, _) = parse(asked.as_bytes(), 100) else { panic!("{asked}") };
        let mut out = Vec::new();
        house.execute(command, 0, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn flush_all_with_a_delay_takes_what_is_there_when_it_comes() {
        let region = Region::anonymous(1 << 20).expect("memory");
        let start = Time::from_millis(1_700_000_000_000);
        let store = Store::new(region, StoreOptions { seed: 1, eviction: store::Eviction::Merge }).expect("a store");
        let mut house = House::new(store, Settings::default(), start);
        let at = |house: &mut House, seconds: u64| {
            house.now = start.plus(Duration::from_secs(seconds));
            house.tick();
        };
        assert_eq!(ask(&mut house, "set a 0 0 1\r\nx\r\n"), "STORED\r\n");
        assert_eq!(ask(&mut house, "flush_all 10\r\n"), "OK\r\n");
        at(&mut house, 9);
        assert_eq!(ask(&mut house, "set b 0 0 1\r\ny\r\n"), "STORED\r\n");
        assert_eq!(ask(&mut house, "get a b\r\n"), "VALUE a 0 1\r\nx\r\nVALUE b 0 1\r\ny\r\nEND\r\n");
        at(&mut house, 10);
        assert_eq!(ask(&mut house, "get a b\r\n"), "END\r\n");
        assert_eq!(ask(&mut house, "set a 0 0 1\r\nz\r\n"), "STORED\r\n");
        at(&mut house, 11);
        assert_eq!(ask(&mut house, "get a\r\n"), "VALUE a 0 1\r\nz\r\nEND\r\n");
        // A later one takes the place of the one before; one without a delay, too.
        ask(&mut house, "flush_all 20\r\n");
        ask(&mut house, "flush_all 30 noreply\r\n");
        at(&mut house, 35);
        assert_eq!(ask(&mut house, "get a\r\n"), "VALUE a 0 1\r\nz\r\nEND\r\n");
        assert_eq!(ask(&mut house, "flush_all\r\n"), "OK\r\n");
        assert_eq!(ask(&mut house, "get a\r\n"), "END\r\n");
        assert_eq!(ask(&mut house, "set a 0 0 1\r\nz\r\n"), "STORED\r\n");
        at(&mut house, 100);
        assert_eq!(ask(&mut house, "get a\r\n"), "VALUE a 0 1\r\nz\r\nEND\r\n");
    }
}
