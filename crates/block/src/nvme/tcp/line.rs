//! One connection on the control path: blocking, one command at a time, every step with a time limit.
//!
//! The bytes are those of the same state machine that the data path uses; only the socket is an ordinary one. An I/O
//! connection begins its life here (ICReq, Connect) and is handed to a reactor's ring afterwards.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use wire::nvme::{Cqe, Sqe};
use wire::tcp::Slot;
use wire::tcp::digest::Crc32c;
use wire::tcp::host::{Direction, Host, HostConfig, HostEvent};

use super::error::{AdminError, STEP_RESOLVE, STEP_TCP};
use super::limits::{CALL_TIMEOUT, LINE_BYTES, MIN_TICK};
use crate::Transfer;

/// A connection that is used by one thread at a time.
pub(super) struct Line {
    stream: TcpStream,
    host: Host,
    out: Vec<u8>,
    input: Box<[u8]>,
    /// Received and not yet parsed: `input[..filled]`.
    filled: usize,
    /// A step failed half way: nothing that follows could be matched.
    broken: bool,
    /// The command that is in flight beside the others, until an event ends it.
    posted: Option<Slot>,
    /// How that ended.
    event: Option<Cqe>,
}

/// What a step waits for.
enum Goal {
    Initialized,
    Completion(Slot),
    /// Nothing: only what is there is taken.
    Nothing,
}

impl Line {
    /// Connects and negotiates (ICReq, ICResp), each within `limit`.
    pub(super) fn open(host: &str, port: u16, config: HostConfig, limit: Duration) -> Result<Self, AdminError> {
        let stream = dial(host, port, limit)?;
        let mut line = Self {
            stream,
            host: Host::new(config),
            out: Vec::with_capacity(LINE_BYTES),
            input: vec![0; LINE_BYTES].into_boxed_slice(),
            filled: 0,
            broken: false,
            posted: None,
            event: None,
        };
        const STEP: &str = "negotiate (ICReq)";
        line.host.start(&mut line.out);
        let deadline = Instant::now() + limit;
        line.run(STEP, limit, deadline, &Goal::Initialized, &mut Transfer::None)?;
        Ok(line)
    }

    /// Carries out one command. A status other than success is an [`AdminError::Status`].
    pub(super) fn command(
        &mut self,
        step: &'static str,
        sqe: Sqe,
        mut transfer: Transfer<'_>,
        limit: Duration,
    ) -> Result<Cqe, AdminError> {
        if self.broken {
            return Err(AdminError::Broken);
        }
        let deadline = Instant::now() + limit;
        let bytes = |len: usize| match u32::try_from(len) {
            Ok(len) if len > 0 => Ok(len),
            _ => Err(AdminError::protocol(step, "the data has no bytes, or too many")),
        };
        let direction = match &transfer {
            Transfer::None => Direction::None,
            Transfer::In(data) => Direction::Read { bytes: bytes(data.len())? },
            Transfer::Out(data) if data.len() <= self.host.in_capsule_bytes() as usize => {
                Direction::WriteInCapsule { bytes: bytes(data.len())? }
            }
            Transfer::Out(data) => Direction::Write { bytes: bytes(data.len())? },
        };
        let slot = self.host.submit(sqe, direction, &mut self.out);
        let slot = slot.expect("one command at a time: there is a free slot");
        if let (Direction::WriteInCapsule { .. }, Transfer::Out(data)) = (direction, &transfer) {
            self.append(data);
        }
        let cqe = self.run(step, limit, deadline, &Goal::Completion(slot), &mut transfer)?;
        let cqe = cqe.expect("a command ends with a completion");
        let (status, result) = (cqe.status(), cqe.result());
        if status.is_success() { Ok(cqe) } else { Err(AdminError::Status { step, status, result }) }
    }

    /// Sends a command that some event will end, not an answer: see [`Line::event`].
    pub(super) fn post(&mut self, step: &'static str, sqe: Sqe, limit: Duration) -> Result<(), AdminError> {
        assert!(self.posted.is_none(), "one such command at a time");
        if self.broken {
            return Err(AdminError::Broken);
        }
        let slot = self.host.submit(sqe, Direction::None, &mut self.out);
        self.posted = Some(slot.expect("one command at a time: there is a free slot"));
        self.broken = true;
        self.send(step, limit, Instant::now() + limit)?;
        self.broken = false;
        Ok(())
    }

    /// How the posted command ended, if it has.
    pub(super) fn event(&mut self) -> Option<Cqe> {
        self.event.take()
    }

    /// Takes what has come without being waited for, above all the end of the connection. Does not block.
    pub(super) fn look(&mut self, step: &'static str) -> Result<(), AdminError> {
        if self.broken {
            return Err(AdminError::Broken);
        }
        let io = |source| AdminError::Io { step, source };
        self.broken = true;
        self.stream.set_nonblocking(true).map_err(io)?;
        let read = self.stream.read(&mut self.input[self.filled..]);
        self.stream.set_nonblocking(false).map_err(io)?;
        if matches!(read, Ok(0)) {
            return Err(AdminError::Closed { step });
        }
        self.filled += progress(step, read)?;
        self.parse(step, &Goal::Nothing, &mut Transfer::None)?;
        self.broken = false;
        Ok(())
    }

    /// Gives up the connection, with the state machine as it is, to the data path.
    pub(super) fn into_parts(self) -> Result<(TcpStream, Host), AdminError> {
        const STEP: &str = "hand over the connection";
        if self.filled > 0 {
            return Err(AdminError::protocol(STEP, "the target sent bytes that nobody asked for"));
        }
        let io = |source| AdminError::Io { step: STEP, source };
        self.stream.set_read_timeout(None).map_err(io)?;
        self.stream.set_write_timeout(None).map_err(io)?;
        Ok((self.stream, self.host))
    }

    /// Connect has succeeded; see [`Host::set_queue`].
    pub(super) fn set_queue(&mut self, in_capsule_bytes: u32, flow_control_disabled: bool) {
        self.host.set_queue(in_capsule_bytes, flow_control_disabled);
    }

    fn run(
        &mut self,
        step: &'static str,
        limit: Duration,
        deadline: Instant,
        goal: &Goal,
        transfer: &mut Transfer<'_>,
    ) -> Result<Option<Cqe>, AdminError> {
        self.broken = true;
        loop {
            self.send(step, limit, deadline)?;
            if let Some(cqe) = self.parse(step, goal, transfer)? {
                self.broken = false;
                return Ok(cqe);
            }
            if self.out.is_empty() {
                self.receive(step, limit, deadline)?;
            }
        }
    }

    /// Handles what has been received; `Some` when the goal is reached.
    fn parse(
        &mut self,
        step: &'static str,
        goal: &Goal,
        transfer: &mut Transfer<'_>,
    ) -> Result<Option<Option<Cqe>>, AdminError> {
        let (mut used, mut reached) = (0, None);
        while reached.is_none() {
            let fed = self.host.feed(&self.input[used..self.filled], &mut self.out);
            used += fed.consumed;
            match fed.event {
                None => break,
                Some(HostEvent::Initialized) => {
                    if matches!(goal, Goal::Initialized) {
                        reached = Some(None);
                    }
                }
                Some(HostEvent::Data { offset, bytes, .. }) => {
                    let Transfer::In(data) = transfer else { unreachable!("the machine gives data to reads only") };
                    data[offset as usize..][..bytes.len()].copy_from_slice(bytes);
                }
                Some(HostEvent::WantsData { slot, .. }) => {
                    let Transfer::Out(data) = transfer else { unreachable!("the machine takes R2T for writes only") };
                    while let Some(chunk) = self.host.h2c(slot, u32::MAX, &mut self.out) {
                        let part = &data[chunk.offset as usize..][..chunk.bytes as usize];
                        append(&self.host, &mut self.out, part);
                    }
                }
                Some(HostEvent::Completed { digest_ok: false, .. }) => {
                    return Err(AdminError::protocol(step, "the data digest is wrong"));
                }
                Some(HostEvent::Completed { slot, cqe, .. }) if self.posted == Some(slot) => {
                    (self.posted, self.event) = (None, Some(cqe));
                }
                Some(HostEvent::Completed { slot, cqe, .. }) => {
                    assert!(matches!(goal, Goal::Completion(ours) if *ours == slot), "one command at a time");
                    reached = Some(Some(cqe));
                }
                Some(HostEvent::Closed(cause)) => {
                    // The peer should learn why (the termination request); whether it does changes nothing here.
                    let _ = self.stream.write_all(&self.out);
                    return Err(AdminError::protocol(step, cause.to_string()));
                }
            }
        }
        self.input.copy_within(used..self.filled, 0);
        self.filled -= used;
        Ok(reached)
    }

    fn append(&mut self, data: &[u8]) {
        append(&self.host, &mut self.out, data);
    }

    fn send(&mut self, step: &'static str, limit: Duration, deadline: Instant) -> Result<(), AdminError> {
        let mut sent = 0;
        while sent < self.out.len() {
            let left = remaining(step, limit, deadline)?;
            let result = self.stream.set_write_timeout(Some(left)).and_then(|()| self.stream.write(&self.out[sent..]));
            sent += progress(step, result)?;
        }
        self.out.clear();
        Ok(())
    }

    fn receive(&mut self, step: &'static str, limit: Duration, deadline: Instant) -> Result<(), AdminError> {
        assert!(self.filled < self.input.len(), "the machine takes any unit that fits the buffer");
        let left = remaining(step, limit, deadline)?;
        let place = &mut self.input[self.filled..];
        let result = self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(place));
        if matches!(result, Ok(0)) {
            return Err(AdminError::Closed { step });
        }
        self.filled += progress(step, result)?;
        Ok(())
    }
}

/// Data behind its header, and its digest behind it where one was negotiated.
fn append(host: &Host, out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(data);
    if host.data_digest() {
        out.extend_from_slice(&Crc32c::of(data));
    }
}

fn dial(host: &str, port: u16, limit: Duration) -> Result<TcpStream, AdminError> {
    let io = |step| move |source| AdminError::Io { step, source };
    let addresses = (host, port).to_socket_addrs().map_err(io(STEP_RESOLVE))?;
    let mut last = AdminError::protocol(STEP_RESOLVE, format!("{host} has no address"));
    for address in addresses {
        match again(limit, |limit| TcpStream::connect_timeout(&address, limit)) {
            // Trying a local port that nobody listens on, again and again, one meets oneself in the end: TCP connects
            // a socket that has been given this very port with itself.
            Ok(stream) if stream.local_addr().ok() == Some(address) => {
                last = AdminError::Io { step: STEP_TCP, source: io::ErrorKind::ConnectionRefused.into() };
            }
            Ok(stream) => {
                stream.set_nodelay(true).map_err(io(STEP_TCP))?;
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                last = AdminError::TimedOut { step: STEP_TCP, limit };
            }
            Err(source) => last = AdminError::Io { step: STEP_TCP, source },
        }
    }
    Err(last)
}

/// Makes a call for a connection anew every [`CALL_TIMEOUT`], until `limit` is over. The system itself repeats what is
/// lost ever later, up to minutes: a machine that has been away would be found long after it came back.
fn again<T>(limit: Duration, mut call: impl FnMut(Duration) -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match call(left.clamp(MIN_TICK, CALL_TIMEOUT)) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut && left > CALL_TIMEOUT => {}
            result => return result,
        }
    }
}

fn remaining(step: &'static str, limit: Duration, deadline: Instant) -> Result<Duration, AdminError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(AdminError::TimedOut { step, limit }) } else { Ok(left) }
}

/// Bytes moved; none when the socket's own time limit struck: the caller's deadline decides then.
fn progress(step: &'static str, result: io::Result<usize>) -> Result<usize, AdminError> {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, Interrupted, TimedOut, WouldBlock};
    match result {
        Ok(n) => Ok(n),
        Err(error) if matches!(error.kind(), Interrupted | TimedOut | WouldBlock) => Ok(0),
        Err(error) if matches!(error.kind(), ConnectionReset | ConnectionAborted | BrokenPipe) => {
            Err(AdminError::Closed { step })
        }
        Err(source) => Err(AdminError::Io { step, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_made_anew_until_somebody_answers_or_the_time_is_over() {
        let silence = |_| Err::<(), _>(io::Error::from(io::ErrorKind::TimedOut));
        let mut calls = Vec::new();
        let answered = again(100 * CALL_TIMEOUT, |limit| {
            calls.push(limit);
            if calls.len() < 5 { silence(limit) } else { Ok(()) }
        });
        assert!(answered.is_ok() && calls == [CALL_TIMEOUT; 5]);
        // No time is left for another one.
        let end = again(CALL_TIMEOUT / 2, silence).expect_err("nobody answers");
        assert_eq!(end.kind(), io::ErrorKind::TimedOut);
        let refused = again(100 * CALL_TIMEOUT, |_| Err::<(), _>(io::ErrorKind::ConnectionRefused.into()));
        assert_eq!(refused.expect_err("refused").kind(), io::ErrorKind::ConnectionRefused);
    }
}
