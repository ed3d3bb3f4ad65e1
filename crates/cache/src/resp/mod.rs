//! Redis clients: a session of each, and what their commands mean.
//!
//! ```text
//!   bytes ──▶ wire::resp::parse ──▶ table: which command, enough arguments? ──▶ its function ──▶ Answer
//!                                     │                                          strings, keys, ... : a store
//!                                     └── where its keys are among the arguments, client, server  : a session, too
//! ```
//!
//! Source of all rules: redis.io's pages of commands, and where those are silent, what Redis 7.0.15 answers.

mod clients;
mod command;
mod connection;
mod expiry;
mod failure;
mod float;
mod iterate;
mod keys;
mod numbers;
mod server;
mod strings;
pub(crate) mod table;

use store::limits::MAX_KEY_BYTES;
use store::{Expiry, Store};
use wire::resp::{Answer, Args, Begun, Limits, Parsed, Skip, Version, parse, rest, unquote};

pub(crate) use clients::Clients;
pub(crate) use expiry::Unit;
use failure::Failure;
use table::{LOADING, Run, Spec, Tells};

use crate::access::{Denied, Guest};
use crate::connection::Step;
use crate::kept::Finding;
use crate::landing::{Landed, Landing};
use crate::limits::{KEYS_STEPS, MAX_COMMAND_BYTES, MAX_OPTION_BYTES};
use crate::observe::{Before, Outcome, Verb};
use crate::peers::{Asked, Dispatch, Dispatched};
use crate::session::{House, Mode};

/// What the session does after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The next one.
    Go,
    /// The same one again, which knows by its [`Progress`] how far it was.
    Again,
    /// The same, when other reactors have answered, or all items of the pool are found.
    Stalled,
    /// It is over.
    Close,
}

/// Behind each argument.
const END: &[u8] = b"\r\n";

/// How a command ended.
pub(crate) type Done = Result<Then, Failure>;

/// How far the command at the front is.
#[derive(Default)]
pub(crate) struct Progress {
    /// Parts of its answer that are written.
    pub(crate) written: usize,
    /// Of a walk over all keys, where it is and what it has found.
    pub(crate) cursor: u64,
    pub(crate) found: Vec<u8>,
}

/// A command that is carried out.
pub(crate) struct Call<'a> {
    pub(crate) spec: &'static Spec,
    pub(crate) house: &'a mut House,
    /// Behind the name, or the names of command and subcommand.
    pub(crate) args: Args<'a>,
    pub(crate) out: Answer<'a>,
    pub(crate) progress: &'a mut Progress,
}

impl<'a> Call<'a> {
    /// The next argument.
    fn next(&mut self) -> Result<&'a [u8], Failure> {
        self.args.next().ok_or(Failure::Syntax)
    }

    /// Counts what was done, for arguments that begin with the name. What goes on is counted as far as it is.
    #[inline]
    fn count(&mut self, args: Args<'_>, before: Before, from: usize, then: Then) {
        if matches!(then, Then::Go | Then::Close) || self.spec.tells == Tells::Gets {
            let House { operations, counters, .. } = &mut *self.house;
            let keys = || self.spec.keys_of(args).map_or(0, Iterator::count) as u64;
            operations.resp(self.spec, keys, before, counters, &self.out.bytes[from..]);
        }
    }
}

/// Which of its answers a client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Replies {
    #[default]
    All,
    /// Not that of this command, nor that of the next.
    SkipNext,
    /// Not that of this command.
    Skip,
    None,
}

/// One client.
pub(crate) struct Session {
    /// Differs from that of every other client there was.
    pub(crate) id: u64,
    version: Version,
    guest: Guest,
    replies: Replies,
    /// The rest of a command that was too long.
    skip: Skip,
    progress: Progress,
    /// The value that is coming, and how many arguments there are behind it.
    landing: Option<(Landing, usize)>,
}

impl Session {
    fn new(id: u64) -> Self {
        let (version, replies) = (Version::default(), Replies::default());
        let guest = Guest::STRANGER;
        Self { id, version, guest, replies, skip: Skip::default(), progress: Progress::default(), landing: None }
    }

    /// Who it is, where that is asked.
    pub(crate) fn guest_mut(&mut self) -> &mut Guest {
        &mut self.guest
    }

    /// Carries out what the bytes begin with.
    pub(crate) fn step(&mut self, bytes: &[u8], way: &mut Dispatch<'_>) -> Step {
        if !self.skip.is_done() {
            return match self.skip.over(bytes) {
                Ok(0) => Step::More(bytes.len() + 1),
                Ok(used) => Step::Go(used),
                Err(wrong) => self.end(wrong, way.here()),
            };
        }
        if way.house.users.is_some() && self.guest.is_stranger() {
            return self.ask_who(bytes, way);
        }
        if let Some((landing, _)) = &mut self.landing {
            return match landing.take(bytes, &mut way.house.store) {
                Landed::Some(taken) => Step::Go(taken),
                Landed::More => Step::More(END.len()),
                Landed::Whole => self.finish(bytes, way),
            };
        }
        let limits = Limits { command: MAX_COMMAND_BYTES, stranger: false, begins: true };
        match parse(bytes, limits) {
            Parsed::Begun(begun) => match self.begin(&begun, bytes, way) {
                Some(step) => step,
                None => self.carry_out(parse(bytes, Limits { begins: false, ..limits }), way),
            },
            parsed => self.carry_out(parsed, way),
        }
    }

    /// Carries out what a stranger asks, while that is little.
    fn ask_who(&mut self, bytes: &[u8], way: &mut Dispatch<'_>) -> Step {
        let limit = self.guest.may_send().expect("a stranger");
        let before = way.here().len();
        let parsed = parse(bytes, Limits { command: limit, stranger: true, begins: false });
        let step = self.carry_out(parsed, way);
        let (used, goes) = match step {
            Step::Go(used) => (used, self.skip.is_done()),
            Step::More(_) => (0, bytes.len() <= limit),
            _ => (0, true),
        };
        if goes && self.guest.goes_on(used, way.here().len() - before) {
            return step;
        }
        way.here().truncate(before);
        Step::Close
    }

    fn carry_out(&mut self, parsed: Parsed<'_>, way: &mut Dispatch<'_>) -> Step {
        match parsed {
            Parsed::Begun(_) => unreachable!("it was not asked for"),
            Parsed::Command(args, used) => stepped(self.command(args, way), used),
            Parsed::More(wanted) => Step::More(wanted),
            Parsed::Nothing(used) => Step::Go(used),
            Parsed::Inline(line, used) => {
                let mut words = std::mem::take(&mut way.house.clients.words);
                let step = match unquote(line, &mut words) {
                    Ok(args) => stepped(self.command(args, way), used),
                    Err(wrong) => self.end(wrong, way.here()),
                };
                way.house.clients.words = words;
                step
            }
            Parsed::TooLong(skip, used) => {
                self.skip = skip;
                let most = MAX_COMMAND_BYTES.to_string();
                self.answer(way.here()).error(&[
                    b"ERR a command of more than ",
                    most.as_bytes(),
                    b" bytes is not taken",
                ]);
                Step::Go(used)
            }
            Parsed::Wrong(wrong) => self.end(wrong, way.here()),
        }
    }

    /// Makes room for a large value of one key, if this is a command that stores one, and the key is here.
    fn begin(&mut self, begun: &Begun<'_>, bytes: &[u8], way: &mut Dispatch<'_>) -> Option<Step> {
        let mut args = begun.args;
        let (name, key) = (args.next()?, args.next()?);
        let spec = table::named(name)?;
        let number = match spec.name {
            "set" | "setnx" | "getset" | "append" => 2,
            "setex" | "psetex" => 3,
            _ => return None,
        };
        let fits = key.len() <= MAX_KEY_BYTES && begun.bytes <= way.house.settings.max_value;
        if begun.args.len() != number || !fits || way.owner(key).is_some() {
            return None;
        }
        if way.house.finding != Finding::Done {
            return Some(Step::Stalled);
        }
        let now = way.house.now;
        match way.house.store.reserve(key, begun.bytes, 0, Expiry::Never, now) {
            Ok(reserved) => {
                let landing = Landing::new(&bytes[..begun.start], reserved, begun.bytes);
                self.landing = Some((landing, begun.behind));
            }
            Err(error) => {
                self.skip = begun.skip;
                if self.replies == Replies::All {
                    Failure::from(error).tell(spec, &mut self.answer(way.here()));
                }
                self.replies = self.replies.next();
            }
        }
        Some(Step::Go(begun.used))
    }

    /// A value has come, and these bytes behind it. Has its command carried out when that is whole.
    fn finish(&mut self, bytes: &[u8], way: &mut Dispatch<'_>) -> Step {
        let behind = self.landing.as_ref().expect("it has come").1;
        let end = match rest(&bytes[END.len()..], behind) {
            Ok(Some(end)) => END.len() + end,
            Ok(None) if bytes.len() < MAX_OPTION_BYTES => return Step::More(bytes.len() + 1),
            Ok(None) => return self.end(wire::resp::Wrong::EndlessBulk, way.here()),
            Err(wrong) => return self.end(wrong, way.here()),
        };
        let (front, reserved, _) = self.landing.take().expect("it has come").0.end();
        let command = [&front, &b"$0\r\n\r\n"[..], &bytes[END.len()..end]].concat();
        let limits = Limits { command: usize::MAX, stranger: false, begins: false };
        let Parsed::Command(args, _) = parse(&command, limits) else { unreachable!("it is whole") };
        way.house.landed = Some(reserved);
        let then = self.command(args, way);
        way.house.landed.take().into_iter().for_each(|reserved| way.house.store.abandon(reserved));
        stepped(then, end)
    }

    /// The value that is coming.
    pub(crate) fn landing(&mut self) -> Option<&mut Landing> {
        self.landing.as_mut().map(|(landing, _)| landing)
    }

    /// Bytes of memory that it has for the command at the front.
    pub(crate) fn memory(&self) -> usize {
        self.landing.as_ref().map_or(0, |(landing, _)| landing.memory()) + self.progress.found.capacity()
    }

    /// There is no memory for the rest of the command at the front: that is the last word.
    pub(crate) fn has_no_memory(&self, out: &mut Vec<u8>) {
        let text: &[u8] = b"ERR there is no memory for so long a command now: others have sent too many";
        self.answer(out).error(&[text]);
    }

    /// The connection is over.
    pub(crate) fn leave(&mut self, store: &mut Store) {
        self.landing.take().into_iter().for_each(|(landing, _)| store.abandon(landing.end().1));
    }

    fn answer<'a>(&self, out: &'a mut Vec<u8>) -> Answer<'a> {
        Answer::new(out, self.version)
    }

    fn end(&self, wrong: wire::resp::Wrong, out: &mut Vec<u8>) -> Step {
        wrong.tell(&mut self.answer(out));
        Step::Close
    }

    /// Carries a command out, or has the owners of its keys do so.
    fn command(&mut self, args: Args<'_>, way: &mut Dispatch<'_>) -> Then {
        let denied = self.denied(args, way.house);
        if denied.is_none()
            && way.house.finding != Finding::Done
            && !knows_enough_for(args, way.house, way.peers.is_alone())
        {
            return Then::Stalled;
        }
        if denied.is_none()
            && !way.peers.is_alone()
            && let Some(then) = self.ask(args, way)
        {
            return then;
        }
        let (house, out) = way.parts();
        house.counters.resp_commands += 1;
        let before = out.len();
        if self.replies != Replies::All {
            house.lending.mode = Mode::Copy;
        }
        let then = match denied {
            Some((spec, denied)) => {
                house.operations.count(Verb::of(spec), Outcome::Denied);
                denied.tell(spec, &mut self.answer(out));
                Then::Go
            }
            None => self.run(args, house, out),
        };
        if self.replies != Replies::All {
            self.hush(out, before);
        }
        then
    }

    /// Why a command is not carried out for this client, if it is not.
    fn denied(&self, args: Args<'_>, house: &House) -> Option<(&'static Spec, Denied)> {
        let users = house.users.as_ref()?;
        let (spec, _) = table::find(args).ok()?;
        self.guest.may_run(users, spec, args).err().map(|denied| (spec, denied))
    }

    /// Asks other reactors, if a command is about their keys.
    fn ask(&mut self, args: Args<'_>, way: &mut Dispatch<'_>) -> Option<Then> {
        let (spec, _) = table::find(args).ok()?;
        let asked = Asked { spec, args, version: self.version, quiet: self.replies != Replies::All };
        match way.resp(&asked, self.progress.written) {
            Dispatched::Here => None,
            Dispatched::Taken => {
                way.house.operations.is_away(Verb::of(spec));
                way.house.counters.resp_commands += 1;
                self.progress = Progress::default();
                self.replies = self.replies.next();
                Some(Then::Go)
            }
            Dispatched::Again(part) => {
                self.progress.written = part;
                Some(Then::Stalled)
            }
        }
    }

    fn run(&mut self, args: Args<'_>, house: &mut House, out: &mut Vec<u8>) -> Then {
        let (spec, rest) = match table::find(args) {
            Ok(found) => found,
            Err(unknown) => {
                house.operations.count(unknown.verb(), Outcome::Error);
                unknown.tell(args, &mut self.answer(out));
                return Then::Go;
            }
        };
        let Session { version, progress, .. } = self;
        let mut progress = std::mem::take(progress);
        let counted = Before::new(&house.counters);
        let mut call = Call { spec, house, args: rest, out: Answer::new(out, *version), progress: &mut progress };
        let before = call.out.bytes.len();
        let done = match spec.run {
            Run::Data(run) => run(&mut call),
            Run::Session(run) => run(&mut call, self),
        };
        let then = done.unwrap_or_else(|failure| {
            call.house.withdraw(before);
            call.out.bytes.truncate(before);
            failure.tell(spec, &mut call.out);
            Then::Go
        });
        call.count(args, counted, before, then);
        if then == Then::Again {
            self.progress = progress;
        }
        then
    }

    /// Takes back an answer that the client does not want.
    fn hush(&mut self, out: &mut Vec<u8>, before: usize) {
        out.truncate(before);
        self.replies = self.replies.next();
    }
}

impl Replies {
    /// For the next command.
    fn next(self) -> Self {
        match self {
            Self::SkipNext => Self::Skip,
            Self::Skip => Self::All,
            other => other,
        }
    }
}

/// Carries out a command that has come from another reactor, or from this one: about keys that are here, and whole.
pub(crate) fn serve(bytes: &[u8], version: Version, house: &mut House, out: &mut Vec<u8>) {
    let limits = Limits { command: usize::MAX, stranger: false, begins: false };
    let Parsed::Command(named, _) = parse(bytes, limits) else { unreachable!("home has parsed it") };
    let Ok((spec, args)) = table::find(named) else { unreachable!("home has found it") };
    let (before, counted) = (out.len(), Before::new(&house.counters));
    let mut progress = Progress::default();
    let mut call = Call { spec, house, args, out: Answer::new(out, version), progress: &mut progress };
    let Run::Data(run) = spec.run else { unreachable!("sessions stay at home") };
    // What is sent from elsewhere, or in another order, is not lent.
    let mode = std::mem::take(&mut call.house.lending.mode);
    let mut done = run(&mut call);
    for _ in 1..KEYS_STEPS {
        if done == Ok(Then::Again) {
            call.args = args;
            done = run(&mut call);
        }
    }
    let failed = match done {
        Ok(Then::Go) => None,
        Ok(_) => {
            Some(Failure::Said("ERR there are too many keys for KEYS on several reactors: ask for them with SCAN"))
        }
        Err(failure) => Some(failure),
    };
    if let Some(failure) = failed {
        call.out.bytes.truncate(before);
        failure.tell(spec, &mut call.out);
    }
    call.count(named, counted, before, Then::Go);
    house.lending.mode = mode;
}

/// Whether nothing is wrong with the arguments, name first, of a command that stores several values.
pub(crate) fn is_complete(spec: &Spec, args: Args<'_>, house: &House) -> bool {
    let mut pairs = args;
    pairs.next();
    spec.keys.is_none_or(|(_, _, step)| step == 1) || strings::are_pairs(pairs, house).is_ok()
}

/// Whether a command can be answered while items of the pool are still to be found.
fn knows_enough_for(args: Args<'_>, house: &House, alone: bool) -> bool {
    // One that is unknown is said to be so.
    let Ok((spec, mut args)) = table::find(args) else { return true };
    let get = spec.name == "get" && args.len() == 1;
    let known = |key| house.finding == Finding::Long || alone && house.knows(key);
    get && args.next().is_some_and(known) || spec.flags & LOADING != 0
}

fn stepped(then: Then, used: usize) -> Step {
    match then {
        Then::Go => Step::Go(used),
        Then::Again => Step::Again,
        Then::Stalled => Step::Stalled,
        Then::Close => Step::Close,
    }
}
