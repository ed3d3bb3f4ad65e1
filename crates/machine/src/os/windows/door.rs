//! How a process hears what others of its user want of it. On Linux these are signals.
//!
//! ```text
//!   caller                        the one that is called: a thread
//!     │ stop, reload, ... ─────────▶ │
//!     │ ◀─────────────────────── ok  │
//!     │ gone ──────────────────────▶ │ the handler
//! ```
//!
//! The door is a named pipe that only this user and administrators can open (`pipe.rs`). Where there can be none, it is
//! a port on loopback, which anybody can connect to: then the line starts with a key, which callers read in a file
//! that only they can. A door is told as text: `pipe:PID` or `tcp:ADDRESS:PORT/KEY`.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::pipe::{self, Caller, Pipe};
use super::security;
use crate::limits::{DOOR_LINE_BYTES, DOOR_TIME};
use crate::os::Wish;

const OK: &[u8] = b"ok\n";
const NO: &[u8] = b"no\n";

/// What a caller says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Wish(Wish),
    /// The ward with this process number is ready.
    Ready(u32),
}

impl Said {
    fn parse(line: &str) -> Option<Self> {
        Some(match line.split_once(' ') {
            None => Self::Wish(wish(line)?),
            Some(("ready", pid)) => Self::Ready(pid.parse().ok()?),
            Some(_) => return None,
        })
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wish(wish) => f.write_str(word(*wish)),
            Self::Ready(pid) => write!(f, "ready {pid}"),
        }
    }
}

/// A wish as a word.
pub(super) fn word(wish: Wish) -> &'static str {
    match wish {
        Wish::Stop => "stop",
        Wish::Interrupt => "interrupt",
        Wish::Reload => "reload",
    }
}

/// The wish that a word tells.
pub(super) fn wish(wanted: &str) -> Option<Wish> {
    [Wish::Stop, Wish::Interrupt, Wish::Reload].into_iter().find(|&wish| word(wish) == wanted)
}

/// Opens the door of this process: from now on `hear` gets what callers say. Where it is.
///
/// # Errors
/// Neither a pipe nor a port can be had.
pub(super) fn open(hear: impl FnMut(Said) + Send + 'static) -> io::Result<String> {
    match Pipe::new() {
        Ok(pipe) => by_pipe(pipe, hear),
        Err(error) => {
            tracing::debug!(%error, "no named pipe, a port on loopback instead");
            by_port(hear)
        }
    }
}

fn by_pipe(mut pipe: Pipe, mut hear: impl FnMut(Said) + Send + 'static) -> io::Result<String> {
    let serve = move || {
        loop {
            match pipe.accept() {
                Ok(mut caller) => answer(&mut caller, "", &mut hear),
                Err(error) => return tracing::error!(%error, "this process is deaf now: its pipe has failed"),
            }
        }
    };
    thread::Builder::new().name("door".to_owned()).spawn(serve)?;
    Ok(format!("pipe:{}", std::process::id()))
}

fn by_port(mut hear: impl FnMut(Said) + Send + 'static) -> io::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let (address, key) = (listener.local_addr()?, security::key()?);
    let door = format!("tcp:{address}/{key}");
    let serve = move || {
        // A caller that has gone before it was taken is no reason to hear nobody any more.
        for mut caller in listener.incoming().flatten() {
            answer(&mut caller, &key, &mut hear);
        }
    };
    thread::Builder::new().name("door".to_owned()).spawn(serve)?;
    Ok(door)
}

/// What calls come by.
trait Line {
    fn read_within(&mut self, bytes: &mut [u8], longest: Duration) -> io::Result<usize>;
    fn write_within(&mut self, bytes: &[u8], longest: Duration) -> io::Result<()>;
}

impl Line for Caller<'_> {
    fn read_within(&mut self, bytes: &mut [u8], longest: Duration) -> io::Result<usize> {
        self.read(bytes, longest)
    }

    fn write_within(&mut self, bytes: &[u8], longest: Duration) -> io::Result<()> {
        self.write(bytes, longest)
    }
}

impl Line for TcpStream {
    fn read_within(&mut self, bytes: &mut [u8], longest: Duration) -> io::Result<usize> {
        self.set_read_timeout(Some(longest))?;
        self.read(bytes)
    }

    fn write_within(&mut self, bytes: &[u8], longest: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(longest))?;
        self.write_all(bytes)
    }
}

/// One call, from its line to the caller's leaving; all of it takes a bounded time.
fn answer(caller: &mut impl Line, key: &str, hear: &mut impl FnMut(Said)) {
    let until = Instant::now() + DOOR_TIME;
    let Ok(line) = line(caller, until) else { return };
    let said = line.strip_prefix(key).and_then(|line| Said::parse(line.trim_start_matches(' ')));
    // A caller that does not wait for the answer has said what it wants nevertheless.
    if caller.write_within(if said.is_some() { OK } else { NO }, DOOR_TIME).is_ok() {
        // What hangs up first takes the answer from a pipe's other end.
        let _ = caller.read_within(&mut [0], left(until));
    }
    if let Some(said) = said {
        hear(said);
    }
}

fn line(caller: &mut impl Line, until: Instant) -> io::Result<String> {
    let mut line = Vec::new();
    let mut bytes = [0; DOOR_LINE_BYTES];
    loop {
        let read = caller.read_within(&mut bytes, left(until))?;
        line.extend_from_slice(&bytes[..read]);
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            line.truncate(end);
            return String::from_utf8(line).map_err(io::Error::other);
        }
        if read == 0 || line.len() > DOOR_LINE_BYTES || Instant::now() >= until {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// The time that is left; never none, which sockets do not take.
fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

/// Says something at the door of another process.
///
/// # Errors
/// Nobody is there, nobody answers in time, or it is not understood.
pub(super) fn tell(door: &str, said: Said) -> io::Result<()> {
    let (door, told) = (door.to_owned(), mpsc::sync_channel(1));
    // A thread, because a pipe is opened and read without a time. One that waits for ever ends with the process.
    thread::Builder::new().name("caller".to_owned()).spawn(move || told.0.send(exchange(&door, said)))?;
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("it has not answered for {DOOR_TIME:?}"));
    // The call before may take its whole time, too.
    let answer = told.1.recv_timeout(DOOR_TIME * 3).map_err(|_| late())??;
    match &answer[..] {
        OK => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has not understood `{said}`"))),
    }
}

fn exchange(door: &str, said: Said) -> io::Result<Vec<u8>> {
    let strange = || io::Error::new(io::ErrorKind::InvalidData, format!("`{door}` is no address"));
    let mut answer = vec![0; OK.len()];
    match door.split_once(':').ok_or_else(strange)? {
        ("pipe", pid) => {
            let mut file = pipe::call(pid.parse().map_err(|_| strange())?, DOOR_TIME * 2)?;
            file.write_all(format!("{said}\n").as_bytes())?;
            file.read_exact(&mut answer)?;
        }
        ("tcp", rest) => {
            let (address, key) = rest.split_once('/').ok_or_else(strange)?;
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(format!("{key} {said}\n").as_bytes())?;
            stream.read_exact(&mut answer)?;
        }
        _ => return Err(strange()),
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: [Said; 4] =
        [Said::Wish(Wish::Stop), Said::Wish(Wish::Interrupt), Said::Wish(Wish::Reload), Said::Ready(4_294_967_295)];

    /// Both kinds of doors; the process has one pipe, so this is one test.
    #[test]
    fn what_is_said_is_heard_at_either_door() {
        for by_port in [false, true] {
            let (tell_test, heard) = mpsc::channel();
            let hear = move |said| tell_test.send(said).expect("the test waits");
            let door = if by_port { self::by_port(hear) } else { open(hear) }.expect("it opens");
            assert_eq!(door.starts_with("tcp:"), by_port, "{door}");
            for said in SAID {
                tell(&door, said).expect("it is answered");
                assert_eq!(heard.recv(), Ok(said));
            }
            strangers(&door);
            tell(&door, SAID[0]).expect("it is answered");
            assert_eq!(heard.recv(), Ok(SAID[0]), "and nothing of the strangers");
        }
    }

    /// Who has no key, who says nonsense, who says nothing, who says too much.
    fn strangers(door: &str) {
        if let Some((place, key)) = door.split_once('/') {
            let refused = tell(&format!("{place}/{}", key.replace(char::is_numeric, "x")), SAID[0]);
            assert_eq!(refused.expect_err("it has another key").kind(), io::ErrorKind::InvalidData);
            let mut stream = TcpStream::connect(place.strip_prefix("tcp:").expect("a port")).expect("it listens");
            let _ = stream.write_all(&[b'x'; 4 * DOOR_LINE_BYTES]);
            assert!(!matches!(stream.read(&mut [0]), Ok(1..)), "nothing is answered");
        } else {
            let mut file = pipe::call(std::process::id(), DOOR_TIME).expect("it is open");
            file.write_all(b"stopp\n").expect("it is read");
            let mut answer = [0; NO.len()];
            file.read_exact(&mut answer).expect("an answer");
            assert_eq!(answer, NO);
            drop(file);
            drop(pipe::call(std::process::id(), DOOR_TIME).expect("it is open"));
        }
    }

    #[test]
    fn doors_that_are_none() {
        for door in ["", "signal", "pipe:x", "tcp:127.0.0.1:1"] {
            assert_eq!(tell(door, SAID[0]).expect_err("none").kind(), io::ErrorKind::InvalidData, "{door}");
        }
        // No process has the number 1: they are multiples of 4.
        assert_eq!(tell("pipe:1", SAID[0]).expect_err("none").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn lines_are_read_back() {
        for said in SAID {
            assert_eq!(Said::parse(&said.to_string()), Some(said));
        }
        for line in ["", "stopp", "stop ", "ready", "ready x", "ready 1 2"] {
            assert_eq!(Said::parse(line), None, "{line}");
        }
    }
}
