//! One client: its socket and its place in the stream of commands.

mod watch;

use std::collections::VecDeque;
use std::io;

use block::pump::{Pump, Received, Scratch, Sent};
use machine::clock::Coarse;
use store::{Loan, Time};
use wire::glance::Speech;
use wire::memcache::{Begun, Command, Key, Parsed, Refused, Verb as Store, Wrong, parse};

use crate::access::{Guest, Users};
use crate::ahead::Ahead;
use crate::buffers::{Buffers, Taken};
use crate::kept::Finding;
use crate::landing::{Landed, Landing};
use crate::limits::{
    HELD_BACK_BYTES, LANDING, LENT, MAX_LOGIN_BYTES, MAX_UNSENT_BYTES, MAX_VALUE_BYTES, SHARE_BYTES, UNREAD,
    UNREAD_WHEN_SHORT,
};
use crate::observe::{Outcome, Verb};
use crate::peers::{Ask, Dispatch, Dispatched, Flight, Origin, Peers, Rule, here};
use crate::resp::Session;
use crate::session::{House, Next, not_stored};

const BINARY: &str = "CLIENT_ERROR the binary protocol is not spoken here";
const DENIED: &str = "CLIENT_ERROR this user may not do that";
const UNKNOWN: &str = "CLIENT_ERROR unauthenticated";

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("the client has left")]
    Left,
    #[error("its answers were not read for {} s", UNREAD.as_secs())]
    Unread,
    #[error("the pool has failed")]
    Failed,
    #[error("it did not read a large value for {} s", LENT.as_secs())]
    Lent,
    #[error("a value or a long command did not come within {} s", LANDING.as_secs())]
    Late,
    #[error("its answers were not read, and there was no memory for them")]
    Spent,
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// What became of the bytes that a client has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing: so many of them are to be seen.
    More(usize),
    /// So many were carried out.
    Go(usize),
    /// A part of their command was carried out; the rest when the answers so far are sent, and others had their turn.
    Again,
    /// The same, when there is room in the parcels to other reactors.
    Stalled,
    /// The last word was said: nothing behind is looked at.
    Close,
}

/// See the module.
pub(crate) struct Connection {
    pump: Pump,
    /// Of a client that speaks Redis' protocol; the others speak memcached's.
    session: Option<Box<Session>>,
    /// Who it is, of memcached's clients.
    guest: Guest,
    /// Bytes of a value that is thrown away.
    skip: usize,
    /// Keys of the get at the front that are answered, or parts of a command that others were asked for.
    answered: usize,
    /// The value that is coming.
    landing: Option<Landing>,
    /// What is lent to the client, in the order of its answers.
    loans: VecDeque<Loan>,
    /// Who it is to the other reactors, and what it waits for from them: then it takes no commands.
    origin: Origin,
    flight: Option<Box<Flight>>,
    /// What a flight has found for the next step of the command at the front.
    kept: Vec<u8>,
    /// Of the value that is coming, if its command is to be logged.
    announced: Option<watch::Announced>,
    /// There was no room in the parcels: it is tried again when one is back.
    pub(crate) stalled: bool,
    /// The last word was said.
    closing: bool,
    /// Since when the client does not read.
    blocked: Option<Coarse>,
    /// What it has of the reactor's buffers, and since when that is a long command that is not whole.
    taken: Taken,
    begun: Option<Coarse>,
    /// On the lists of the shard.
    pub(crate) hot: bool,
    pub(crate) dirty: bool,
    /// Passes without a word.
    pub(crate) quiet: u32,
    /// When something came last.
    last: Time,
}

impl Connection {
    pub(crate) fn new(pump: Pump, origin: Origin, session: Option<Box<Session>>) -> Self {
        Self {
            pump,
            session,
            guest: Guest::STRANGER,
            skip: 0,
            answered: 0,
            landing: None,
            loans: VecDeque::new(),
            origin,
            flight: None,
            kept: Vec::new(),
            announced: None,
            stalled: false,
            closing: false,
            blocked: None,
            taken: Taken::default(),
            begun: None,
            hot: false,
            dirty: false,
            quiet: 0,
            last: Time::default(),
        }
    }

    pub(crate) fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }

    /// There are other users now. A client whose user is gone is told what it asked for before, and no more; whether it
    /// is such a one.
    pub(crate) fn meet(&mut self, old: &Users, new: &Users) -> bool {
        let guest = self.session.as_deref_mut().map_or(&mut self.guest, Session::guest_mut);
        let stays = guest.moves(old, new);
        self.closing |= !stays;
        !stays
    }

    pub(crate) fn pump(&self) -> &Pump {
        &self.pump
    }

    /// Receives once, and carries out all commands that are whole or asks the owners of their keys; bytes that came.
    pub(crate) fn receive(
        &mut self,
        house: &mut House,
        peers: &mut Peers,
        scratch: &mut Scratch,
    ) -> Result<usize, End> {
        let brought = self.receive_some(house, peers, scratch)?;
        self.count(house);
        if house.buffers.are_spent() && self.waits_for_much() {
            self.refuse_the_rest();
            self.count(house);
            return Ok(brought.max(1));
        }
        Ok(brought)
    }

    fn receive_some(&mut self, house: &mut House, peers: &mut Peers, scratch: &mut Scratch) -> Result<usize, End> {
        if self.flight.is_some() {
            return Ok(self.ask_again(house, peers));
        }
        if self.closing || self.stalled || self.is_full(&house.buffers) || self.comes_later(house) {
            return Ok(0);
        }
        peers.send_full();
        let mut landing = landing_of(&mut self.session, &mut self.landing);
        let place = landing.as_ref().map(|landing| landing.place(&mut house.store));
        let bytes = match self.pump.receive(scratch, place)? {
            Received::Nothing => return Ok(0),
            Received::Closed => return Err(End::Left),
            Received::Bytes { direct, rest } => {
                self.last = house.now;
                house.counters.bytes_read += direct as u64;
                landing.iter_mut().for_each(|landing| landing.has_come(direct));
                rest
            }
        };
        let since = house.timing.turn();
        let is_watched = since.is_some() || house.log.is_some();
        let (mut at, mut wanted, mut waits) = (0, 0, None);
        let mut ahead = Ahead::new(if self.session.is_some() { Speech::Resp } else { Speech::Memcache });
        while at < bytes.len() && !self.closing && !self.is_full(&house.buffers) && !self.keeps_much(&house.buffers) {
            ahead.look(at, bytes, &house.store, peers);
            let before = if is_watched { Some(self.before(house)) } else { None };
            match self.step(&bytes[at..], house, peers) {
                Step::Go(used) => {
                    if let Some(before) = before {
                        self.behind(before, &bytes[at..at + used], since, house, peers);
                    }
                    at += used;
                }
                Step::More(bytes) => {
                    wanted = bytes;
                    break;
                }
                Step::Close => self.closing = true,
                why => {
                    waits = Some(why);
                    break;
                }
            }
        }
        if let Some(flight) = &mut self.flight {
            flight.close(Rule::Say);
        }
        self.stalled = waits == Some(Step::Stalled) && self.flight.is_none() && !self.is_full(&house.buffers);
        if self.closing {
            // Nothing that comes behind the last word is looked at.
            at = bytes.len();
        }
        house.counters.bytes_read += at as u64;
        if at > 0 {
            self.begun = None;
        }
        let left = &bytes[at..];
        if waits.is_some() || self.is_full(&house.buffers) || self.keeps_much(&house.buffers) {
            self.pump.hold(left)
        } else {
            self.pump.keep_until(left, wanted)
        }
        Ok(at.max(1))
    }

    /// Carries out what the bytes, of which there are some, begin with.
    #[inline]
    fn step(&mut self, bytes: &[u8], house: &mut House, peers: &mut Peers) -> Step {
        let Self { session, origin, flight, pump, kept, .. } = self;
        if let Some(session) = session {
            if flight.is_none() {
                house.begin_lending();
            }
            let out = pump.out.bytes();
            let step = session.step(bytes, &mut Dispatch { peers, house, origin: *origin, flight, out, kept });
            self.take_loans(house);
            return step;
        }
        if self.skip > 0 {
            let thrown = self.skip.min(bytes.len());
            self.skip -= thrown;
            return Step::Go(thrown);
        }
        if house.users.is_some() && self.guest.is_stranger() {
            return self.ask_who(bytes, house);
        }
        if self.landing.is_some() {
            return self.take_value(bytes, house, peers);
        }
        match parse(bytes, house.settings.max_value) {
            Parsed::More(wanted) => Step::More(wanted),
            Parsed::Begun(begun) => self.begin(&begun, bytes, house, peers),
            Parsed::Command(command, used) => self.execute(command, &bytes[..used], house, peers),
            Parsed::Wrong(refused) => self.refuse(&refused, house, peers),
            Parsed::Endless => self.end_with("CLIENT_ERROR line too long"),
            Parsed::Binary => self.end_with(BINARY),
        }
    }

    /// Has a command of memcached's carried out, here or where its key is.
    fn execute(&mut self, command: Command<'_>, bytes: &[u8], house: &mut House, peers: &mut Peers) -> Step {
        if house.users.as_ref().is_some_and(|users| !self.guest.may(users, &command)) {
            return self.deny(&command, bytes.len(), house);
        }
        if house.finding != Finding::Done && !house.knows_enough_for(&command, peers.is_alone()) {
            return Step::Stalled;
        }
        house.reads_only = house.users.as_ref().is_some_and(|users| self.guest.reads_only(users));
        let dispatched = if peers.is_alone() {
            Dispatched::Here
        } else {
            let from = self.answered;
            self.dispatch(house, peers).dispatch(&command, bytes, from)
        };
        let next = match dispatched {
            Dispatched::Here => self.execute_here(command, house),
            Dispatched::Taken => {
                house.operations.is_away(Verb::of_memcached(&command));
                Next::Go
            }
            Dispatched::Again(part) => Next::Again(part),
        };
        house.reads_only = false;
        self.answered = if let Next::Again(part) = next { part } else { 0 };
        match next {
            Next::Go => Step::Go(bytes.len()),
            Next::Again(_) => Step::Stalled,
            Next::Close => Step::Close,
        }
    }

    /// What somebody says who has not said who it is: `set` with name and password as its value, as memcached has it.
    fn ask_who(&mut self, bytes: &[u8], house: &mut House) -> Step {
        let users = house.users.as_ref().expect("somebody asks");
        let limit = self.guest.may_send().expect("a stranger");
        let (answer, used) = match parse(bytes, MAX_LOGIN_BYTES) {
            Parsed::More(wanted) if bytes.len() <= limit => return Step::More(wanted),
            Parsed::Begun(begun) if bytes.len() <= limit => {
                return Step::More(begun.used + begun.bytes + b"\r\n".len());
            }
            Parsed::More(_) | Parsed::Begun(_) => return Step::Close,
            Parsed::Command(Command::Quit, _) => return Step::Close,
            Parsed::Command(Command::Store { verb: Store::Set, value, .. }, used) => {
                house.counters.auth_cmds += 1;
                let mut words = value.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
                let answer = match (words.next(), words.next()) {
                    (Some(name), Some(password)) if self.guest.login(users, name, password) => "STORED",
                    (Some(_), Some(_)) => {
                        house.counters.auth_errors += 1;
                        "CLIENT_ERROR authentication failure"
                    }
                    _ => "CLIENT_ERROR bad authentication token format",
                };
                (answer, used)
            }
            Parsed::Command(_, used) => (UNKNOWN, used),
            Parsed::Wrong(Refused { wrong: Wrong::Chunk, used, .. }) => {
                ("CLIENT_ERROR bad command line termination", used)
            }
            Parsed::Wrong(Refused { used, skip, .. }) => {
                self.skip = skip;
                (UNKNOWN, used)
            }
            Parsed::Endless => return self.end_with("CLIENT_ERROR line too long"),
            Parsed::Binary => return self.end_with(BINARY),
        };
        if !self.guest.goes_on(used + self.skip, answer.len() + 2) {
            return Step::Close;
        }
        say(self.here(), answer);
        Step::Go(used)
    }

    /// Does not carry out what its user may not do. Where no answer is wanted, there is none.
    fn deny(&mut self, command: &Command<'_>, used: usize, house: &mut House) -> Step {
        if !command.is_quiet() {
            say(self.here(), DENIED);
        }
        house.operations.count(Verb::of_memcached(command), Outcome::Denied);
        Step::Go(used)
    }

    /// Says a last word: the stream is not followed any more.
    fn end_with(&mut self, word: &str) -> Step {
        say(self.here(), word);
        Step::Close
    }

    fn execute_here(&mut self, command: Command<'_>, house: &mut House) -> Next {
        let Self { flight, pump, .. } = self;
        if flight.is_none() {
            house.begin_lending();
        }
        let next = house.execute(command, self.answered, here(flight, pump.out.bytes()));
        self.take_loans(house);
        next
    }

    /// What was lent is to be sent.
    fn take_loans(&mut self, house: &mut House) {
        for (end, loan) in house.lending.end() {
            house.counters.loans += 1;
            self.pump.out.held(end, loan.bytes());
            self.loans.push_back(loan);
        }
    }

    /// Makes room for a value that is coming.
    fn begin(&mut self, begun: &Begun<'_>, bytes: &[u8], house: &mut House, peers: &mut Peers) -> Step {
        if house.users.as_ref().is_some_and(|users| !self.guest.may(users, &begun.command)) {
            let skip = begun.bytes + b"\r\n".len();
            return self.refuse_with(DENIED, (begun.used, skip), begun.quiet, None, house, peers);
        }
        if house.finding != Finding::Done {
            return Step::Stalled;
        }
        match house.reserve(begun) {
            Ok(reserved) => {
                self.landing = Some(Landing::new(&bytes[..begun.used], reserved, begun.bytes));
                Step::Go(begun.used)
            }
            Err(error) => {
                let (wrong, skip) = (not_stored(error), begun.bytes + b"\r\n".len());
                self.refuse_with(wrong, (begun.used, skip), begun.quiet, begun.stale, house, peers)
            }
        }
    }

    /// Takes bytes of the value that is coming, or what ends it.
    fn take_value(&mut self, bytes: &[u8], house: &mut House, peers: &mut Peers) -> Step {
        let landing = self.landing.as_mut().expect("one is coming");
        match landing.take(bytes, &mut house.store) {
            Landed::Some(taken) => Step::Go(taken),
            Landed::More => Step::More(b"\r\n".len()),
            Landed::Whole => self.finish(bytes, house, peers),
        }
    }

    /// A value has come, and these bytes behind it. Has its command carried out.
    fn finish(&mut self, bytes: &[u8], house: &mut House, peers: &mut Peers) -> Step {
        let (line, reserved, landed) = self.landing.take().expect("it has come").end();
        let Parsed::Begun(begun) = parse(&line, MAX_VALUE_BYTES) else { unreachable!("it was begun") };
        if !bytes.starts_with(b"\r\n") {
            house.store.abandon(reserved);
            if !begun.quiet {
                say(self.here(), Wrong::Chunk.answer());
            }
            return Step::Go(b"\r\n".len());
        }
        match self.dispatch(house, peers).forward(begun.key, &line, &reserved) {
            None => {
                house.landed = Some(reserved);
                self.execute_here(begun.command, house);
                house.landed.take().into_iter().for_each(|reserved| house.store.abandon(reserved));
            }
            Some(true) => {
                house.operations.is_away(Verb::of_memcached(&begun.command));
                house.store.abandon(reserved);
            }
            Some(false) => {
                self.landing = Some(Landing::whole(line, reserved, landed));
                return Step::Stalled;
            }
        }
        Step::Go(b"\r\n".len())
    }

    /// Answers what is no command of memcached's, or one that is not carried out.
    fn refuse(&mut self, refused: &Refused<'_>, house: &mut House, peers: &mut Peers) -> Step {
        let Refused { wrong, used, skip, quiet, stale } = *refused;
        let step = self.refuse_with(wrong.answer(), (used, skip), quiet, stale, house, peers);
        if step != Step::Stalled {
            house.counters.store_too_large += u64::from(wrong == Wrong::TooLarge);
            house.operations.count(Verb::REFUSED, Outcome::Error);
        }
        step
    }

    fn refuse_with(
        &mut self,
        answer: &str,
        (used, skip): (usize, usize),
        quiet: bool,
        stale: Option<Key<'_>>,
        house: &mut House,
        peers: &mut Peers,
    ) -> Step {
        let may = |key: &Key<'_>| house.users.as_ref().is_none_or(|users| self.guest.may_forget(users, key));
        if let Some(key) = stale.filter(may)
            && (house.finding != Finding::Done || !self.dispatch(house, peers).forget(key))
        {
            return Step::Stalled;
        }
        if !quiet {
            say(self.here(), answer);
        }
        self.skip = skip;
        Step::Go(used)
    }

    fn dispatch<'a>(&'a mut self, house: &'a mut House, peers: &'a mut Peers) -> Dispatch<'a> {
        let Self { origin, flight, pump, kept, .. } = self;
        Dispatch { peers, house, origin: *origin, flight, out: pump.out.bytes(), kept }
    }

    /// Where answers from here go.
    fn here(&mut self) -> &mut Vec<u8> {
        here(&mut self.flight, self.pump.out.bytes())
    }

    /// Whether this is the connection that an answer is for.
    pub(crate) fn is(&self, origin: Origin) -> bool {
        self.origin == origin
    }

    /// An answer of another reactor.
    pub(crate) fn land(&mut self, ask: &Ask, answer: &[u8], house: &mut House, peers: &mut Peers) {
        let flight = self.flight.as_mut().expect("it waits for all that it asked for");
        flight.land(ask.piece, answer, house, self.pump.out.bytes());
        if !flight.noted.is_empty() {
            let House { log, .. } = house;
            log.iter_mut().for_each(|log| flight.noted.landed(ask.piece, answer, log));
        }
        if let Some(mut flight) = self.flight.take_if(|flight| flight.is_over()) {
            self.kept = flight.kept();
            flight.waiting.take().into_iter().for_each(|waiting| house.timing.all_answered(&waiting));
            peers.end(flight);
        }
    }

    /// A command that its owner gave back.
    pub(crate) fn returned(&mut self, owner: usize, ask: &Ask, command: &[u8]) {
        let flight = self.flight.as_mut().expect("it waits for all that it asked for");
        flight.returned(owner, *ask, command);
    }

    /// Asks again for what came back, if its answer can be taken; whether that was anything.
    fn ask_again(&mut self, house: &House, peers: &mut Peers) -> usize {
        let is_full = self.is_full(&house.buffers);
        let Some(flight) = self.flight.as_mut().filter(|flight| !is_full && flight.has_again()) else { return 0 };
        self.stalled = !peers.ask_again(flight);
        usize::from(!self.stalled)
    }

    /// When something came last.
    pub(crate) fn last(&self) -> Time {
        self.last
    }

    /// What it does, in memcached's words.
    pub(crate) fn state(&mut self) -> &'static str {
        match () {
            () if self.closing => "conn_closing",
            () if self.flight.is_some() => "conn_io_queue",
            () if self.is_blocked() => "conn_mwrite",
            () if self.is_landing() => "conn_nread",
            () if self.skip > 0 => "conn_swallow",
            () => "conn_read",
        }
    }

    fn is_landing(&mut self) -> bool {
        landing_of(&mut self.session, &mut self.landing).is_some()
    }

    /// Whether it waits for other reactors.
    pub(crate) fn is_waiting(&self) -> bool {
        self.flight.is_some()
    }

    /// It is over: what it waited for is nobody's.
    pub(crate) fn end(mut self, house: &mut House, peers: &mut Peers) {
        house.buffers.count(&mut self.taken, 0);
        self.loans.into_iter().for_each(|loan| house.store.give_back(loan));
        self.landing.into_iter().for_each(|landing| house.store.abandon(landing.end().1));
        self.session.into_iter().for_each(|mut session| session.leave(&mut house.store));
        self.flight.into_iter().for_each(|flight| peers.end(flight));
    }

    /// Whether so much is kept behind an answer that is not there yet that no more commands are taken.
    fn keeps_much(&self, buffers: &Buffers) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.queued() >= buffers.unsent())
    }

    /// Bytes of memory that it has beside itself and what lies in the store.
    pub(crate) fn memory(&self) -> usize {
        let flight = self.flight.as_ref().map_or(0, |flight| flight.memory());
        let session = self.session.as_ref().map_or(0, |session| session.memory());
        let landing = self.landing.as_ref().map_or(0, Landing::memory);
        self.pump.memory() + flight + session + landing + self.kept.capacity()
    }

    /// Tells how much it has.
    fn count(&mut self, house: &mut House) {
        let memory = self.memory();
        house.buffers.count(&mut self.taken, memory);
    }

    /// Whether nothing is received now, as there is no memory for it: those that have some are served first.
    fn comes_later(&self, house: &House) -> bool {
        house.buffers.are_spent() && self.pump.kept() == 0
    }

    /// Whether it has more than its share for a command that is not whole, or not carried out to its end.
    fn waits_for_much(&self) -> bool {
        let of_session = self.session.as_ref().map_or(0, |session| session.memory());
        !self.closing && (self.has_begun_much() || of_session > SHARE_BYTES)
    }

    fn has_begun_much(&self) -> bool {
        !self.pump.holds() && self.pump.kept() > SHARE_BYTES
    }

    /// Says that there is no memory for the rest of the command that has begun to come.
    fn refuse_the_rest(&mut self) {
        let Self { session, flight, pump, .. } = self;
        let out = here(flight, pump.out.bytes());
        match session {
            Some(session) => session.has_no_memory(out),
            None => say(out, "SERVER_ERROR out of memory reading request"),
        }
        self.closing = true;
        self.pump.forget();
    }

    /// Whether no more commands are taken: the socket has taken no more answers, or they are many. Then all are sent
    /// first, as only an empty outbox gives back the bytes of those that were sent.
    fn is_full(&self, buffers: &Buffers) -> bool {
        self.is_blocked() || self.pump.out.queued() >= buffers.unsent()
    }

    /// Whether receiving again is likely to bring something at once.
    pub(crate) fn has_more(&self, house: &House) -> bool {
        if self.stalled || self.is_full(&house.buffers) {
            return false;
        }
        self.flight.as_ref().map_or(!self.closing && self.pump.has_more(), |flight| flight.has_again())
    }

    /// Whether it waits for the client to read.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Whether what there is waits for the answers of others, so that the client gets all with one send.
    pub(crate) fn holds_back(&self) -> bool {
        self.flight.is_some() && !self.is_blocked() && self.pump.out.queued() < HELD_BACK_BYTES
    }

    /// Sends what there is.
    pub(crate) fn flush(&mut self, house: &mut House, now: Coarse) -> Result<(), End> {
        let before = self.pump.out.queued();
        let Self { pump, loans, .. } = self;
        let sent = pump.flush_held(|number| house.store.lent(&loans[number]))?;
        let sent_loans = self.pump.out.take_shown();
        self.give_back(sent_loans, house);
        house.counters.bytes_written += (before - self.pump.out.queued()) as u64;
        self.blocked = match sent {
            Sent::All if self.closing && self.flight.is_none() => return Err(End::Left),
            Sent::All => None,
            Sent::Blocked if self.pump.out.queued() < before => Some(now),
            Sent::Blocked => self.blocked.or(Some(now)),
        };
        if house.buffers.are_short() && sent == Sent::All {
            self.shrink();
        }
        self.count(house);
        if sent == Sent::Blocked && house.buffers.are_spent() && self.memory() > SHARE_BYTES {
            return Err(End::Spent);
        }
        Ok(())
    }

    /// The first so many loans are over.
    fn give_back(&mut self, loans: usize, house: &mut House) {
        self.loans.drain(..loans).for_each(|loan| house.store.give_back(loan));
    }

    /// Gives back room that is not needed now.
    fn shrink(&mut self) {
        self.pump.shrink();
        if self.pump.kept() == 0 {
            // There is no command at the front.
            self.kept = Vec::new();
        }
    }

    /// Looks at the time.
    pub(crate) fn tick(&mut self, house: &mut House, now: Coarse) -> Result<(), End> {
        let unread = self.blocked.map(|since| now.since(since)).unwrap_or_default();
        let is_short = house.buffers.are_short();
        if unread >= UNREAD || is_short && unread >= UNREAD_WHEN_SHORT && self.memory() > SHARE_BYTES {
            return Err(End::Unread);
        }
        if unread >= LENT && !self.loans.is_empty() {
            if is_short || self.pump.out.held_bytes() > MAX_UNSENT_BYTES {
                return Err(End::Lent);
            }
            let Self { pump, loans, .. } = self;
            let copied = pump.out.copy_held(|number| house.store.lent(&loans[number]));
            self.give_back(copied, house);
        }
        if landing_of(&mut self.session, &mut self.landing).is_some_and(|landing| landing.is_late(now)) {
            return Err(End::Late);
        }
        self.begun = if self.has_begun_much() { self.begun.or(Some(now)) } else { None };
        if self.begun.is_some_and(|since| now.since(since) >= LANDING) {
            return Err(End::Late);
        }
        if self.pump.out.is_empty() {
            self.shrink();
        }
        self.count(house);
        Ok(())
    }
}

/// The value that is coming, whatever the client speaks.
fn landing_of<'a>(session: &'a mut Option<Box<Session>>, landing: &'a mut Option<Landing>) -> Option<&'a mut Landing> {
    session.as_mut().and_then(|session| session.landing()).or(landing.as_mut())
}

fn say(out: &mut Vec<u8>, line: &str) {
    out.extend_from_slice(line.as_bytes());
    out.extend_from_slice(b"\r\n");
}
