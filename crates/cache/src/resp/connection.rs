//! What a client says of itself, and asks of its connection.

use std::io::Write;

use store::Time;
use wire::resp::{Version, integer};

use super::clients::Known;
use super::table::as_text;
use super::{Call, Done, Failure, Replies, Session, Then};
use crate::access::Guest;
use crate::session::House;

/// What clients are told that this is: they go by it for what there is.
pub(super) const REDIS_VERSION: &str = "7.0.15";

/// `PING [message]`
pub(super) fn ping(call: &mut Call<'_>) -> Done {
    match (call.args.next(), call.args.next()) {
        (None, _) => call.out.simple("PONG"),
        (Some(message), None) => call.out.bulk(message),
        _ => return Err(Failure::Arity),
    }
    Ok(Then::Go)
}

/// `ECHO message`
pub(super) fn echo(call: &mut Call<'_>) -> Done {
    let message = call.next()?;
    call.out.bulk(message);
    Ok(Then::Go)
}

/// `QUIT`
pub(super) fn quit(call: &mut Call<'_>) -> Done {
    call.out.simple("OK");
    Ok(Then::Close)
}

/// `SELECT index`: there is one, number 0.
pub(super) fn select(call: &mut Call<'_>) -> Done {
    match call.next_integer()? {
        0 => call.out.simple("OK"),
        number if i32::try_from(number).is_ok() => return Err(Failure::Said("ERR DB index is out of range")),
        _ => {
            let text = "ERR value is out of range, value must between -2147483648 and 2147483647";
            return Err(Failure::Said(text));
        }
    }
    Ok(Then::Go)
}

/// `RESET`
pub(super) fn reset(call: &mut Call<'_>, session: &mut Session) -> Done {
    session.replies = Replies::All;
    session.version = Version::Resp2;
    // What a stranger has sent and was told still counts.
    if !session.guest.is_stranger() {
        session.guest = Guest::STRANGER;
    }
    call.out.set_version(session.version);
    let known = known(call, session);
    known.name.clear();
    known.version = session.version;
    call.out.simple("RESET");
    Ok(Then::Go)
}

/// `HELLO [version [AUTH user password] [SETNAME name]]`
pub(super) fn hello(call: &mut Call<'_>, session: &mut Session) -> Done {
    let version = match call.args.next().map(integer) {
        None => session.version,
        Some(Some(2)) => Version::Resp2,
        Some(Some(3)) => Version::Resp3,
        Some(Some(_)) => return Err(Failure::Said("NOPROTO unsupported protocol version")),
        Some(None) => return Err(Failure::Said("ERR Protocol version is not an integer or out of range")),
    };
    while let Some(option) = call.args.next() {
        if option.eq_ignore_ascii_case(b"auth") && call.args.len() >= 2 {
            let (name, password) = (call.next()?, call.next()?);
            login(call, session, name, password)?;
        } else if option.eq_ignore_ascii_case(b"setname") && call.args.len() >= 1 {
            let name = call.next()?;
            set_name(call, session, name)?;
        } else {
            call.out.error(&[b"ERR Syntax error in HELLO option '", as_text(option), b"'"]);
            return Ok(Then::Go);
        }
    }
    if call.house.users.is_some() && session.guest.is_stranger() {
        return Err(Failure::Said(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
             <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the \
             same time",
        ));
    }
    session.version = version;
    known(call, session).version = version;
    let out = &mut call.out;
    out.set_version(version);
    out.map(7);
    let pairs: [(&[u8], &[u8]); 2] = [(b"server", b"redis"), (b"version", REDIS_VERSION.as_bytes())];
    pairs.iter().flat_map(|pair| [pair.0, pair.1]).for_each(|text| out.bulk(text));
    out.bulk(b"proto");
    out.integer(version.number());
    out.bulk(b"id");
    out.integer(session.id as i64);
    [&b"mode"[..], b"standalone", b"role", b"master", b"modules"].into_iter().for_each(|text| out.bulk(text));
    out.array(0);
    Ok(Then::Go)
}

/// `AUTH [user] password`
pub(super) fn auth(call: &mut Call<'_>, session: &mut Session) -> Done {
    let (first, second) = (call.next()?, call.args.next());
    if call.args.len() > 0 {
        return Err(Failure::Syntax);
    }
    match second {
        None if call.house.users.is_none() => {
            return Err(Failure::Said(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            ));
        }
        None => login(call, session, b"default", first)?,
        Some(password) => login(call, session, first, password)?,
    }
    call.out.simple("OK");
    Ok(Then::Go)
}

/// Where nobody is asked there is one user, whose password is anything.
fn login(call: &mut Call<'_>, session: &mut Session, name: &[u8], password: &[u8]) -> Result<(), Failure> {
    let House { users, counters, .. } = call.house;
    counters.auth_cmds += 1;
    let is = match users {
        Some(users) => session.guest.login(users, name, password),
        None => name == b"default",
    };
    counters.auth_errors += u64::from(!is);
    if is { Ok(()) } else { Err(Failure::Said("WRONGPASS invalid username-password pair or user is disabled.")) }
}

fn known<'a>(call: &'a mut Call<'_>, session: &Session) -> &'a mut Known {
    call.house.clients.known.get_mut(&session.id).expect("it was welcomed")
}

fn is_plain(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

fn set_name(call: &mut Call<'_>, session: &Session, name: &[u8]) -> Result<(), Failure> {
    if !is_plain(name) {
        let text = "ERR Client names cannot contain spaces, newlines or special characters.";
        return Err(Failure::Said(text));
    }
    known(call, session).name = name[..name.len().min(MAX_NAME_BYTES)].to_vec();
    Ok(())
}

/// Of what a client calls itself, so much is kept.
const MAX_NAME_BYTES: usize = 256;

/// `CLIENT ID`
pub(super) fn id(call: &mut Call<'_>, session: &mut Session) -> Done {
    call.out.integer(session.id as i64);
    Ok(Then::Go)
}

/// `CLIENT GETNAME`
pub(super) fn getname(call: &mut Call<'_>, session: &mut Session) -> Done {
    let Call { house, out, .. } = call;
    match house.clients.known.get(&session.id) {
        Some(known) if !known.name.is_empty() => out.bulk(&known.name),
        _ => out.null(),
    }
    Ok(Then::Go)
}

/// `CLIENT SETNAME name`
pub(super) fn setname(call: &mut Call<'_>, session: &mut Session) -> Done {
    let name = call.next()?;
    set_name(call, session, name)?;
    call.out.simple("OK");
    Ok(Then::Go)
}

/// `CLIENT SETINFO LIB-NAME | LIB-VER value` (Redis 7.2)
pub(super) fn setinfo(call: &mut Call<'_>, session: &mut Session) -> Done {
    let (what, value) = (call.next()?, call.next()?);
    let names = ["lib-name", "lib-ver"];
    let Some(number) = names.iter().position(|name| what.eq_ignore_ascii_case(name.as_bytes())) else {
        call.out.error(&[b"ERR Unrecognized option '", as_text(what), b"'"]);
        return Ok(Then::Go);
    };
    if !is_plain(value) {
        let name = names[number].as_bytes();
        call.out.error(&[b"ERR ", name, b" cannot contain spaces, newlines or special characters."]);
        return Ok(Then::Go);
    }
    known(call, session).library[number] = value[..value.len().min(MAX_NAME_BYTES)].to_vec();
    call.out.simple("OK");
    Ok(Then::Go)
}

/// `CLIENT REPLY ON | OFF | SKIP`
pub(super) fn reply(call: &mut Call<'_>, session: &mut Session) -> Done {
    let how = call.next()?;
    session.replies = match () {
        () if how.eq_ignore_ascii_case(b"on") => Replies::All,
        () if how.eq_ignore_ascii_case(b"off") => Replies::None,
        () if !how.eq_ignore_ascii_case(b"skip") => return Err(Failure::Syntax),
        () if session.replies == Replies::None => Replies::None,
        () => Replies::SkipNext,
    };
    call.out.simple("OK");
    Ok(Then::Go)
}

/// `CLIENT NO-EVICT ON | OFF`: no client is ever disconnected to make room for others.
pub(super) fn no_evict(call: &mut Call<'_>) -> Done {
    let how = call.next()?;
    if !how.eq_ignore_ascii_case(b"on") && !how.eq_ignore_ascii_case(b"off") {
        return Err(Failure::Syntax);
    }
    call.out.simple("OK");
    Ok(Then::Go)
}

/// `CLIENT INFO`
pub(super) fn info(call: &mut Call<'_>, session: &mut Session) -> Done {
    let Call { house, out, .. } = call;
    let mut text = Vec::new();
    house.clients.known.get(&session.id).into_iter().for_each(|known| known.line(session.id, house.now, &mut text));
    out.text(&text);
    Ok(Then::Go)
}

/// `CLIENT LIST [TYPE NORMAL | MASTER | REPLICA | PUBSUB] [ID id ...]`: all are normal ones.
pub(super) fn list(call: &mut Call<'_>) -> Done {
    let Call { house, args, out, .. } = call;
    let (mut normal, mut ids) = (true, Vec::new());
    match args.next() {
        None => {}
        Some(word) if word.eq_ignore_ascii_case(b"type") && args.len() == 1 => {
            let kind = args.next().unwrap_or_default();
            normal = kind.eq_ignore_ascii_case(b"normal");
            let is = |name: &str| kind.eq_ignore_ascii_case(name.as_bytes());
            if !normal && !["master", "slave", "replica", "pubsub"].into_iter().any(is) {
                out.error(&[b"ERR Unknown client type '", as_text(kind), b"'"]);
                return Ok(Then::Go);
            }
        }
        Some(word) if word.eq_ignore_ascii_case(b"id") && args.len() > 0 => {
            for id in args {
                ids.push(integer(id).ok_or(Failure::Said("ERR Invalid client ID"))?);
            }
        }
        Some(_) => return Err(Failure::Syntax),
    }
    let mut text = Vec::new();
    for (id, known) in house.clients.known.iter().filter(|_| normal) {
        if ids.is_empty() || ids.contains(&(*id as i64)) {
            known.line(*id, house.now, &mut text);
        }
    }
    out.text(&text);
    Ok(Then::Go)
}

impl Known {
    /// One line of `CLIENT LIST`.
    fn line(&self, id: u64, now: Time, to: &mut Vec<u8>) {
        let [from, at] = self.addresses;
        let (age, version) = (now.since(self.since).as_secs(), self.version.number());
        let mut put = |name: &str, bytes: &[u8]| {
            to.extend_from_slice(name.as_bytes());
            to.extend_from_slice(bytes);
        };
        put("id=", id.to_string().as_bytes());
        put(" addr=", from.to_string().as_bytes());
        put(" laddr=", at.to_string().as_bytes());
        put(" name=", &self.name);
        let _ = write!(to, " age={age} flags=N db=0 sub=0 psub=0 multi=-1 user=default resp={version}");
        let mut put = |name: &str, bytes: &[u8]| {
            to.extend_from_slice(name.as_bytes());
            to.extend_from_slice(bytes);
        };
        put(" lib-name=", &self.library[0]);
        put(" lib-ver=", &self.library[1]);
        put("\n", b"");
    }
}
