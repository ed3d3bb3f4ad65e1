//! One client: its socket and its place in the stream of commands.

use std::io;

use block::pump::{Pump, Received, Scratch, Sent};
use machine::clock::Coarse;
use wire::memcache::{Parsed, Refused, parse};

use crate::limits::{MAX_UNSENT_BYTES, MAX_VALUE_BYTES, UNREAD};
use crate::session::{House, Next};

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("the client has left")]
    Left,
    #[error("its answers were not read for {} s", UNREAD.as_secs())]
    Unread,
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// See the module.
pub(crate) struct Connection {
    pump: Pump,
    /// Bytes of a value that is thrown away.
    skip: usize,
    /// Keys of the get at the front that are answered.
    answered: usize,
    /// The last word was said.
    closing: bool,
    /// Since when the client does not read.
    blocked: Option<Coarse>,
    /// On the lists of the shard.
    pub(crate) hot: bool,
    pub(crate) dirty: bool,
    /// Passes without a word.
    pub(crate) quiet: u32,
}

impl Connection {
    pub(crate) fn new(pump: Pump) -> Self {
        Self { pump, skip: 0, answered: 0, closing: false, blocked: None, hot: false, dirty: false, quiet: 0 }
    }

    pub(crate) fn pump(&self) -> &Pump {
        &self.pump
    }

    /// Receives once and carries out all commands that are whole; bytes that came.
    pub(crate) fn receive(&mut self, house: &mut House, scratch: &mut Scratch) -> Result<usize, End> {
        if self.closing || self.is_full() {
            return Ok(0);
        }
        let bytes = match self.pump.receive(scratch, [])? {
            Received::Nothing => return Ok(0),
            Received::Closed => return Err(End::Left),
            Received::Bytes { rest, .. } => rest,
        };
        let mut at = 0;
        while at < bytes.len() {
            let thrown = self.skip.min(bytes.len() - at);
            self.skip -= thrown;
            at += thrown;
            if self.closing || self.is_full() {
                break;
            }
            let out = self.pump.out.bytes();
            match parse(&bytes[at..], MAX_VALUE_BYTES) {
                Parsed::More(_) => break,
                Parsed::Command(command, used) => match house.execute(command, self.answered, out) {
                    Next::Again(key) => {
                        self.answered = key;
                        break;
                    }
                    next => {
                        self.answered = 0;
                        self.closing = next == Next::Close;
                        at += used;
                    }
                },
                Parsed::Wrong(Refused { wrong, used, skip, quiet, stale }) => {
                    stale.into_iter().for_each(|key| house.forget(key));
                    if !quiet {
                        out.extend_from_slice(wrong.answer().as_bytes());
                        out.extend_from_slice(b"\r\n");
                    }
                    at += used;
                    self.skip = skip;
                }
                Parsed::Endless => {
                    out.extend_from_slice(b"CLIENT_ERROR line too long\r\n");
                    self.closing = true;
                }
            }
        }
        if self.closing {
            // Nothing that comes behind the last word is looked at.
            at = bytes.len();
        }
        house.counters.bytes_read += at as u64;
        let left = &bytes[at..];
        if self.is_full() {
            self.pump.hold(left)
        } else {
            self.pump.keep(left)
        }
        Ok(at.max(1))
    }

    /// Whether no more commands are taken: the socket has taken no more answers, or they are many. Then all are sent
    /// first, as only an empty outbox gives back the bytes of those that were sent.
    fn is_full(&self) -> bool {
        self.is_blocked() || self.pump.out.queued() >= MAX_UNSENT_BYTES
    }

    /// Whether receiving again is likely to bring something at once.
    pub(crate) fn has_more(&self) -> bool {
        !self.closing && !self.is_full() && self.pump.has_more()
    }

    /// Whether it waits for the client to read.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Sends what there is.
    pub(crate) fn flush(&mut self, house: &mut House, now: Coarse) -> Result<(), End> {
        let before = self.pump.out.queued();
        let sent = self.pump.flush()?;
        house.counters.bytes_written += (before - self.pump.out.queued()) as u64;
        self.blocked = match sent {
            Sent::All if self.closing => return Err(End::Left),
            Sent::All => None,
            Sent::Blocked if self.pump.out.queued() < before => Some(now),
            Sent::Blocked => self.blocked.or(Some(now)),
        };
        Ok(())
    }

    /// Looks at the time.
    pub(crate) fn tick(&mut self, now: Coarse) -> Result<(), End> {
        if self.blocked.is_some_and(|since| now.since(since) >= UNREAD) {
            return Err(End::Unread);
        }
        if self.pump.out.is_empty() {
            self.pump.shrink();
        }
        Ok(())
    }
}
