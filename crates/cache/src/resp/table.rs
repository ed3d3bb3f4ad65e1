//! The commands there are: one table for their arguments, their keys, what is said of them, and what they do.

use wire::resp::{Answer, Args};

use super::{Call, Done, Session, command, connection, expiry, iterate, keys, numbers, server as about, strings};
use crate::observe::{Kind, Verb};

/// What a command is like: bits.
pub(crate) type Flags = u16;
pub(crate) const READONLY: Flags = 1;
pub(crate) const WRITE: Flags = 1 << 1;
/// It may need memory.
pub(crate) const DENYOOM: Flags = 1 << 2;
/// Its time does not depend on how much there is.
pub(crate) const FAST: Flags = 1 << 3;
pub(crate) const ADMIN: Flags = 1 << 4;
pub(crate) const NOSCRIPT: Flags = 1 << 5;
pub(crate) const LOADING: Flags = 1 << 6;
pub(crate) const STALE: Flags = 1 << 7;
/// Who has not said who it is may ask for it.
pub(crate) const NO_AUTH: Flags = 1 << 8;
pub(crate) const SENTINEL: Flags = 1 << 9;

/// What a command does.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// To the store: any reactor that has it can do so.
    Data(fn(&mut Call<'_>) -> Done),
    /// To the client.
    Session(fn(&mut Call<'_>, &mut Session) -> Done),
}

/// Which arguments are keys: the first, the last (from the end, if it is negative) and how far from one to the next.
/// The name is number 0. `None`: there are none.
pub(crate) type Keys = Option<(usize, isize, usize)>;

/// How the answers of parts of a command become one, when several reactors have a share of it. A part has the
/// arguments up to the first key and some of the keys with what belongs to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    /// It has no parts: the reactor that has its key answers, or without a key any of them.
    One,
    /// It has no parts, but keys that may be those of different reactors.
    Together,
    /// Their arrays, in the order of the keys.
    Array,
    /// The sum of their numbers.
    Sum,
    /// OK, if all say so.
    Ok,
    /// The first that is not null.
    Any,
    /// One after the other: the bits of a cursor above [`store::CURSOR_BITS`] say whose turn it is.
    Cursor,
    /// Their text, one behind the other.
    Text,
    /// It is answered with the sum of all figures.
    Figures,
}

/// What a command belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    String,
    Generic,
    Connection,
    Server,
}

/// A row of the table: a command, or a subcommand.
#[derive(Clone, Copy)]
pub(crate) struct Spec {
    /// A subcommand's has that of its command in front: `client|list`.
    pub(crate) name: &'static str,
    /// Arguments, names included; if negative, so many or more.
    pub(crate) arity: i32,
    pub(crate) flags: Flags,
    pub(crate) keys: Keys,
    pub(crate) join: Join,
    pub(crate) group: Group,
    /// The version of Redis that first had it.
    pub(crate) since: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) subcommands: &'static [Spec],
    pub(crate) run: Run,
    /// Its row, by which operations are counted; that of another command, if it counts as that one.
    pub(crate) number: u8,
    /// How it tells what became of it.
    pub(crate) tells: Tells,
}

/// How a command tells what became of it, if that is no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tells {
    /// By the hits and misses that it adds to the counters.
    Gets,
    /// By the values that it adds to them.
    Stores,
    /// By the number that it answers: so many of its keys were there.
    Sum,
    /// By the number or word that it answers: 0, -2 and `none` are a miss.
    Flag,
    /// It has nothing to tell.
    Nothing,
}

impl Spec {
    const fn data(name: &'static str, arity: i32, flags: Flags, run: fn(&mut Call<'_>) -> Done) -> Self {
        Self::new(name, arity, flags, Run::Data(run))
    }

    const fn new(name: &'static str, arity: i32, flags: Flags, run: Run) -> Self {
        let (group, join, tells) = (Group::Generic, Join::One, Tells::Nothing);
        let (keys, since, summary, subcommands, number) = (None, "", "", &[], u8::MAX);
        Self { name, arity, flags, keys, join, group, since, summary, subcommands, run, number, tells }
    }

    /// How it tells what became of it, if nobody says otherwise.
    const fn by_its_kind(mut self) -> Self {
        self.tells = match (self.tells, self.keys, self.group) {
            (Tells::Nothing, Some(_), _) if matches!(self.join, Join::Sum) => Tells::Sum,
            (Tells::Nothing, Some(_), Group::String) if self.flags & READONLY != 0 => Tells::Gets,
            (Tells::Nothing, Some(_), Group::String) => Tells::Stores,
            (Tells::Nothing, Some(_), _) => Tells::Flag,
            (tells, ..) => tells,
        };
        self
    }

    /// It tells by what it gets.
    const fn gets(mut self) -> Self {
        self.tells = Tells::Gets;
        self
    }

    /// What its latency is counted with.
    pub(crate) fn kind(&self) -> Kind {
        match self.tells {
            Tells::Gets => Kind::Get,
            Tells::Stores => Kind::Store,
            Tells::Sum if self.flags & WRITE != 0 => Kind::Delete,
            _ => Kind::Other,
        }
    }

    /// What is said of it.
    const fn said(mut self, group: Group, since: &'static str, summary: &'static str) -> Self {
        (self.group, self.since, self.summary) = (group, since, summary);
        self
    }

    /// Its first argument is its key.
    const fn key(self) -> Self {
        self.keys(1, 1, 1)
    }

    const fn keys(mut self, first: usize, last: isize, step: usize) -> Self {
        self.keys = Some((first, last, step));
        self
    }

    const fn join(mut self, join: Join) -> Self {
        self.join = join;
        self
    }

    const fn with(mut self, subcommands: &'static [Spec]) -> Self {
        self.subcommands = subcommands;
        self
    }

    /// The subcommand of this name.
    pub(crate) fn subcommand(&self, name: &[u8]) -> Option<&'static Spec> {
        self.subcommands.iter().find(|sub| name.eq_ignore_ascii_case(sub.last_name().as_bytes()))
    }

    /// The keys among arguments, which begin with the name; `None` if this command has none.
    pub(crate) fn keys_of<'a>(&self, args: Args<'a>) -> Option<impl Iterator<Item = &'a [u8]> + Clone + use<'a>> {
        let (first, last, step) = self.keys?;
        let end = if last < 0 { args.len().saturating_add_signed(last + 1) } else { last as usize + 1 };
        Some(args.take(end).skip(first).step_by(step))
    }

    /// The name behind that of its command.
    pub(crate) fn last_name(&self) -> &'static str {
        self.name.rsplit('|').next().unwrap_or(self.name)
    }

    fn takes(&self, arguments: usize) -> bool {
        let arguments = i32::try_from(arguments).unwrap_or(i32::MAX);
        if self.arity < 0 { arguments >= -self.arity } else { arguments == self.arity }
    }
}

/// All commands.
pub(crate) static COMMANDS: &[Spec] = &numbered([
    string("append", 3, WRITE | DENYOOM | FAST, "2.0.0", "Adds to the end of a value", strings::append),
    string("decr", 2, WRITE | DENYOOM | FAST, "1.0.0", "Subtracts one", numbers::decr),
    string("decrby", 3, WRITE | DENYOOM | FAST, "1.0.0", "Subtracts a number", numbers::decrby),
    string("incr", 2, WRITE | DENYOOM | FAST, "1.0.0", "Adds one", numbers::incr),
    string("incrby", 3, WRITE | DENYOOM | FAST, "1.0.0", "Adds a number", numbers::incrby),
    string("incrbyfloat", 3, WRITE | DENYOOM | FAST, "2.6.0", "Adds a number with a point", numbers::incrbyfloat),
    string("get", 2, READONLY | FAST, "1.0.0", "Says a value", strings::get),
    string("getdel", 2, WRITE | FAST, "6.2.0", "Says a value and takes its key out", strings::getdel).gets(),
    string("getex", -2, WRITE | FAST, "6.2.0", "Says a value and changes when it expires", strings::getex).gets(),
    string("getrange", 4, READONLY, "2.4.0", "Says a part of a value", strings::getrange),
    string("getset", 3, WRITE | DENYOOM | FAST, "1.0.0", "Says a value and stores another", strings::getset),
    string("mget", -2, READONLY | FAST, "1.0.0", "Says several values", strings::mget).keys(1, -1, 1).join(Join::Array),
    string("mset", -3, WRITE | DENYOOM, "1.0.1", "Stores several values", strings::mset).keys(1, -1, 2).join(Join::Ok),
    string("msetnx", -3, WRITE | DENYOOM, "1.0.1", "Stores values if none of the keys is there", strings::msetnx)
        .keys(1, -1, 2)
        .join(Join::Together),
    string("psetex", 4, WRITE | DENYOOM, "2.6.0", "Stores a value for so many milliseconds", strings::psetex),
    string("set", -3, WRITE | DENYOOM, "1.0.0", "Stores a value", strings::set),
    string("setex", 4, WRITE | DENYOOM, "2.0.0", "Stores a value for so many seconds", strings::setex),
    string("setnx", 3, WRITE | DENYOOM | FAST, "1.0.0", "Stores a value if its key is not there", strings::setnx),
    string("setrange", 4, WRITE | DENYOOM, "2.2.0", "Overwrites a part of a value", strings::setrange),
    string("strlen", 2, READONLY | FAST, "2.2.0", "Says how long a value is", strings::strlen),
    string("substr", 4, READONLY, "1.0.0", "Says a part of a value", strings::getrange),
    generic("del", -2, WRITE, "1.0.0", "Takes keys out", keys::del).keys(1, -1, 1).join(Join::Sum),
    generic("exists", -2, READONLY | FAST, "1.0.0", "Says how many keys are there", keys::exists)
        .keys(1, -1, 1)
        .join(Join::Sum),
    generic("expire", -3, WRITE | FAST, "1.0.0", "Has a key expire in so many seconds", expiry::expire),
    generic("expireat", -3, WRITE | FAST, "1.2.0", "Has a key expire at a second", expiry::expireat),
    generic("expiretime", 2, READONLY | FAST, "7.0.0", "Says the second a key expires at", expiry::expiretime),
    generic_all("keys", 2, READONLY, "1.0.0", "Says the keys that a pattern is that of", iterate::keys)
        .join(Join::Array),
    generic_all("object", -2, 0, "2.2.3", "What is known of a value", command::help).with(OBJECT),
    generic("persist", 2, WRITE | FAST, "2.2.0", "Has a key expire never", expiry::persist),
    generic("pexpire", -3, WRITE | FAST, "2.6.0", "Has a key expire in so many milliseconds", expiry::pexpire),
    generic("pexpireat", -3, WRITE | FAST, "2.6.0", "Has a key expire at a millisecond", expiry::pexpireat),
    generic("pexpiretime", 2, READONLY | FAST, "7.0.0", "Says the millisecond a key expires at", expiry::pexpiretime),
    generic("pttl", 2, READONLY | FAST, "2.6.0", "Says in how many milliseconds a key expires", expiry::pttl),
    generic_all("randomkey", 1, READONLY, "1.0.0", "Says a key by chance", iterate::randomkey).join(Join::Any),
    generic_all("scan", -2, READONLY, "2.8.0", "Says keys, some at a time", iterate::scan).join(Join::Cursor),
    generic_all("wait", 3, NOSCRIPT, "3.0.0", "Says how many replicas have it: none", about::wait),
    generic("rename", 3, WRITE, "1.0.0", "Moves a value to another key", keys::rename)
        .keys(1, 2, 1)
        .join(Join::Together),
    generic("renamenx", 3, WRITE | FAST, "1.0.0", "Moves a value to a key that is not there", keys::renamenx)
        .keys(1, 2, 1)
        .join(Join::Together),
    generic("touch", -2, READONLY | FAST, "3.2.1", "Asks for keys without their values", keys::touch)
        .keys(1, -1, 1)
        .join(Join::Sum),
    generic("ttl", 2, READONLY | FAST, "1.0.0", "Says in how many seconds a key expires", expiry::ttl),
    generic("type", 2, READONLY | FAST, "1.0.0", "Says what is under a key", keys::r#type),
    generic("unlink", -2, WRITE | FAST, "4.0.0", "Takes keys out", keys::del).keys(1, -1, 1).join(Join::Sum),
    server("config", -2, ADMIN, "2.0.0", "Settings", command::help).with(CONFIG),
    server("info", -1, LOADING | STALE | SENTINEL, "1.0.0", "Says what there is and what was done", about::info)
        .join(Join::Figures),
    server("latency", -2, ADMIN, "2.8.13", "Slow events, of which none are kept", command::help).with(LATENCY),
    server("memory", -2, 0, "4.0.0", "Memory", command::help).with(MEMORY),
    server("slowlog", -2, ADMIN, "2.2.12", "Slow commands, of which none are kept", command::help).with(SLOWLOG),
    server("time", 1, LOADING | STALE | FAST, "2.6.0", "Says what time it is", about::time),
    server("dbsize", 1, READONLY | FAST, "1.0.0", "Says how many keys there are", keys::dbsize).join(Join::Sum),
    server("flushall", -1, WRITE, "1.0.0", "Takes all keys out", keys::flush).join(Join::Ok),
    server("flushdb", -1, WRITE, "1.0.0", "Takes all keys out", keys::flush).join(Join::Ok),
    on_connection("auth", -2, NOSCRIPT | NO_AUTH, "1.0.0", "Says who the client is", Run::Session(connection::auth)),
    on_connection("client", -2, 0, "2.4.0", "Clients", Run::Data(command::help)).with(CLIENT),
    on_connection("echo", 2, 0, "1.0.0", "Says what it was told", Run::Data(connection::echo)),
    on_connection("hello", -1, NOSCRIPT | NO_AUTH, "6.0.0", "Chooses RESP2 or RESP3", Run::Session(connection::hello)),
    on_connection("ping", -1, 0, "1.0.0", "Says that the connection is there", Run::Data(connection::ping)),
    on_connection("quit", -1, NOSCRIPT | NO_AUTH, "1.0.0", "Ends the connection", Run::Data(connection::quit)),
    on_connection(
        "reset",
        1,
        NOSCRIPT | NO_AUTH,
        "6.2.0",
        "Makes the connection a new one",
        Run::Session(connection::reset),
    ),
    on_connection(
        "select",
        2,
        0,
        "1.0.0",
        "Chooses the database, of which there is one",
        Run::Data(connection::select),
    ),
    server("command", -1, LOADING | STALE | SENTINEL, "2.8.13", "Says what commands there are", command::command)
        .with(COMMAND),
]);

/// The table with the numbers of its rows. MGET counts as GET: its parts are GETs where its keys are.
const fn numbered<const N: usize>(mut rows: [Spec; N]) -> [Spec; N] {
    let (mut number, mut get) = (0, N);
    while number < N {
        rows[number] = rows[number].by_its_kind();
        rows[number].number = number as u8;
        match rows[number].name.as_bytes() {
            b"get" => get = number,
            b"mget" => rows[number].number = get as u8,
            _ => {}
        }
        number += 1;
    }
    assert!(get < N, "GET stands in front of MGET");
    rows
}

/// The subcommands of CONFIG.
static CONFIG: &[Spec] = &[
    server("config|get", -3, ADMIN | NOSCRIPT | LOADING | STALE, "2.0.0", "Says settings", about::config_get),
    server("config|help", 2, LOADING | STALE, "5.0.0", "Says what subcommands there are", command::help),
    server(
        "config|resetstat",
        2,
        ADMIN | NOSCRIPT | LOADING | STALE,
        "2.0.0",
        "Forgets what was done",
        about::resetstat,
    )
    .join(Join::Ok),
    server(
        "config|set",
        -4,
        ADMIN | NOSCRIPT | LOADING | STALE,
        "2.0.0",
        "Changes settings: none here",
        about::config_set,
    ),
];

/// The subcommands of LATENCY.
static LATENCY: &[Spec] = &[
    server("latency|help", 2, LOADING | STALE, "2.8.13", "Says what subcommands there are", command::help),
    server("latency|history", 3, ADMIN | NOSCRIPT | LOADING | STALE, "2.8.13", "Says none", about::none),
    server("latency|latest", 2, ADMIN | NOSCRIPT | LOADING | STALE, "2.8.13", "Says none", about::none),
    server("latency|reset", -2, ADMIN | NOSCRIPT | LOADING | STALE, "2.8.13", "Forgets none", about::zero),
];

/// The subcommands of MEMORY.
static MEMORY: &[Spec] = &[
    server("memory|help", 2, LOADING | STALE, "4.0.0", "Says what subcommands there are", command::help),
    server("memory|usage", -3, READONLY, "4.0.0", "Says how many bytes a key takes", about::usage).keys(2, 2, 1),
];

/// The subcommands of OBJECT.
static OBJECT: &[Spec] = &[
    generic("object|encoding", 3, READONLY, "2.2.3", "Says how Redis would store a value", about::encoding)
        .keys(2, 2, 1),
    generic("object|freq", 3, READONLY, "4.0.0", "Says how often a key was asked for", about::freq).keys(2, 2, 1),
    generic_all("object|help", 2, LOADING | STALE, "6.2.0", "Says what subcommands there are", command::help),
];

/// The subcommands of SLOWLOG.
static SLOWLOG: &[Spec] = &[
    server("slowlog|get", -2, ADMIN | LOADING | STALE, "2.2.12", "Says none", about::slowlog),
    server("slowlog|help", 2, LOADING | STALE, "6.2.0", "Says what subcommands there are", command::help),
    server("slowlog|len", 2, ADMIN | LOADING | STALE, "2.2.12", "Says how many: none", about::zero),
    server("slowlog|reset", 2, ADMIN | LOADING | STALE, "2.2.12", "Forgets none", about::ok),
];

/// The subcommands of CLIENT.
static CLIENT: &[Spec] = &[
    on_connection("client|getname", 2, NOSCRIPT, "2.6.9", "Says the client's name", Run::Session(connection::getname)),
    on_connection("client|help", 2, 0, "5.0.0", "Says what subcommands there are", Run::Data(command::help)),
    on_connection("client|id", 2, NOSCRIPT, "5.0.0", "Says the client's number", Run::Session(connection::id)),
    on_connection(
        "client|info",
        2,
        NOSCRIPT,
        "6.2.0",
        "Says what is known of the client",
        Run::Session(connection::info),
    ),
    on_connection(
        "client|list",
        -2,
        NOSCRIPT | ADMIN,
        "2.4.0",
        "Says what is known of all",
        Run::Data(connection::list),
    )
    .join(Join::Text),
    on_connection(
        "client|no-evict",
        3,
        NOSCRIPT | ADMIN,
        "7.0.0",
        "Changes nothing: no client makes room for others",
        Run::Data(connection::no_evict),
    ),
    on_connection(
        "client|reply",
        3,
        NOSCRIPT,
        "3.2.0",
        "Chooses which commands are answered",
        Run::Session(connection::reply),
    ),
    on_connection(
        "client|setinfo",
        4,
        NOSCRIPT,
        "7.2.0",
        "Says what library the client uses",
        Run::Session(connection::setinfo),
    ),
    on_connection("client|setname", 3, NOSCRIPT, "2.6.9", "Gives the client a name", Run::Session(connection::setname)),
];

/// The subcommands of COMMAND.
static COMMAND: &[Spec] = &[
    server("command|count", 2, LOADING | STALE, "2.8.13", "Says how many commands there are", command::count),
    server("command|docs", -2, LOADING | STALE, "7.0.0", "Says what commands are for", command::docs),
    server("command|getkeys", -4, LOADING | STALE, "2.8.13", "Says the keys of a command", command::getkeys),
    server("command|help", 2, LOADING | STALE, "5.0.0", "Says what subcommands there are", command::help),
    server("command|info", -2, LOADING | STALE, "2.8.13", "Says what commands are like", command::info),
    server("command|list", -2, LOADING | STALE, "7.0.0", "Says the names of commands", command::list),
];

type Data = fn(&mut Call<'_>) -> Done;

const fn string(
    name: &'static str,
    arity: i32,
    flags: Flags,
    since: &'static str,
    says: &'static str,
    run: Data,
) -> Spec {
    Spec::data(name, arity, flags, run).key().said(Group::String, since, says)
}

const fn generic(
    name: &'static str,
    arity: i32,
    flags: Flags,
    since: &'static str,
    says: &'static str,
    run: Data,
) -> Spec {
    Spec::data(name, arity, flags, run).key().said(Group::Generic, since, says)
}

/// About no key in particular.
const fn generic_all(
    name: &'static str,
    arity: i32,
    flags: Flags,
    since: &'static str,
    says: &'static str,
    run: Data,
) -> Spec {
    Spec::data(name, arity, flags, run).said(Group::Generic, since, says)
}

const fn on_connection(
    name: &'static str,
    arity: i32,
    flags: Flags,
    since: &'static str,
    says: &'static str,
    run: Run,
) -> Spec {
    Spec::new(name, arity, flags | LOADING | STALE | FAST, run).said(Group::Connection, since, says)
}

const fn server(
    name: &'static str,
    arity: i32,
    flags: Flags,
    since: &'static str,
    says: &'static str,
    run: Data,
) -> Spec {
    Spec::data(name, arity, flags, run).said(Group::Server, since, says)
}

/// Longest name.
const MAX_NAME_BYTES: usize = 16;
/// Places of [`INDEX`], of which at most half are taken.
const PLACES: usize = 256;
/// Where no command is.
const NOTHING: u8 = u8::MAX;

/// The numbers of commands, each at the place that its name says, or behind it.
static INDEX: [u8; PLACES] = index();

const fn index() -> [u8; PLACES] {
    assert!(COMMANDS.len() * 2 <= PLACES);
    let mut index = [NOTHING; PLACES];
    let mut number = 0;
    while number < COMMANDS.len() {
        let Some(word) = fold(COMMANDS[number].name.as_bytes()) else { panic!("a long name") };
        let mut at = place(word);
        while index[at] != NOTHING {
            at = (at + 1) % PLACES;
        }
        index[at] = number as u8;
        number += 1;
    }
    index
}

/// A name as a number, whatever its case; `None` if it is longer than any.
#[inline]
const fn fold(name: &[u8]) -> Option<u128> {
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    let (mut word, mut at) = (0u128, 0);
    while at < name.len() {
        word = word << 8 | name[at].to_ascii_lowercase() as u128;
        at += 1;
    }
    Some(word)
}

const fn place(word: u128) -> usize {
    let half = word as u64 ^ (word >> 64) as u64;
    (half.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize % PLACES
}

/// The command of this name.
#[inline]
pub(crate) fn named(name: &[u8]) -> Option<&'static Spec> {
    let word = fold(name)?;
    let mut at = place(word);
    while INDEX[at] != NOTHING {
        let spec = &COMMANDS[usize::from(INDEX[at])];
        if name.eq_ignore_ascii_case(spec.name.as_bytes()) {
            return Some(spec);
        }
        at = (at + 1) % PLACES;
    }
    None
}

/// Why arguments are no command.
pub(crate) enum Unknown {
    Command,
    Subcommand(&'static Spec),
    Arity(&'static Spec),
}

/// The row for these arguments, and those behind its name.
#[inline]
pub(crate) fn find(mut args: Args<'_>) -> Result<(&'static Spec, Args<'_>), Unknown> {
    let all = args.len();
    let mut spec = args.next().and_then(named).ok_or(Unknown::Command)?;
    if !spec.subcommands.is_empty() {
        let mut behind = args;
        if let Some(name) = behind.next() {
            spec = spec.subcommand(name).ok_or(Unknown::Subcommand(spec))?;
            args = behind;
        }
    }
    if spec.takes(all) { Ok((spec, args)) } else { Err(Unknown::Arity(spec)) }
}

impl Unknown {
    /// As what it counts.
    pub(crate) fn verb(&self) -> Verb {
        match self {
            Self::Command => Verb::unknown(),
            Self::Subcommand(spec) | Self::Arity(spec) => Verb::of(spec),
        }
    }

    /// Tells the client.
    pub(crate) fn tell(&self, mut args: Args<'_>, answer: &mut Answer<'_>) {
        let name = args.next().unwrap_or_default();
        match self {
            Self::Command => {
                let mut parts = Vec::new();
                args.fold(0, |shown, arg| {
                    let room = SHOWN_BYTES.saturating_sub(shown);
                    let arg = shown_part(arg, room);
                    if room > 0 {
                        parts.extend_from_slice(&[b"'", arg, b"' "]);
                    }
                    shown + arg.len() + 3
                });
                let before: [&[u8]; 3] =
                    [b"ERR unknown command '", shown_part(name, SHOWN_BYTES), b"', with args beginning with: "];
                answer.error(&[&before[..], &parts].concat());
            }
            Self::Subcommand(spec) => {
                let help = spec.name.to_ascii_uppercase();
                let sub = shown_part(args.next().unwrap_or_default(), SHOWN_BYTES);
                answer.error(&[b"ERR unknown subcommand '", sub, b"'. Try ", help.as_bytes(), b" HELP."]);
            }
            Self::Arity(spec) => super::Failure::Arity.tell(spec, answer),
        }
    }
}

/// Of what a client has sent, so much is shown to it.
const SHOWN_BYTES: usize = 128;

fn shown_part(text: &[u8], most: usize) -> &[u8] {
    as_text(&text[..text.len().min(most)])
}

/// As C's printf shows it: up to a NUL.
pub(super) fn as_text(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}
