//! Large values: received to where they will lie, and sent from there.

use store::{Expiry, Joined, Loan, NoRoom, Reserved, Value};
use wire::memcache::{Begun, Command, KeyRoom};

use super::House;
use super::memcache::expiry;
use crate::limits::{LENT_BYTES, MAX_COPIED_BYTES, PINNED_SHARE};

/// How values are given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Copied, all of them: the answer is not one that a connection sends as it is.
    #[default]
    Copy,
    /// Large ones are lent.
    Lend,
    /// Much of the store is lent already: the largest are not given out at all.
    Withhold,
}

/// What is done with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gift {
    Copied,
    Lent,
    Withheld,
}

impl Mode {
    pub(crate) fn gift(self, bytes: usize) -> Gift {
        match self {
            Self::Lend if bytes >= LENT_BYTES => Gift::Lent,
            Self::Withhold if bytes > MAX_COPIED_BYTES => Gift::Withheld,
            _ => Gift::Copied,
        }
    }
}

/// Values that are in an answer without being copied.
#[derive(Default)]
pub(crate) struct Lending {
    pub(crate) mode: Mode,
    /// Behind which byte of the answers each belongs.
    pieces: Vec<(usize, Loan)>,
    bytes: usize,
}

impl Lending {
    /// What was lent since the last call; from now on all are copied.
    pub(crate) fn end(&mut self) -> impl Iterator<Item = (usize, Loan)> + '_ {
        (self.mode, self.bytes) = (Mode::Copy, 0);
        self.pieces.drain(..)
    }

    /// Bytes that were lent.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// How a value that is joined to another one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Front,
    Back,
}

impl House {
    /// Reserves the space for the value of a command.
    pub(crate) fn reserve(&mut self, begun: &Begun<'_>) -> Result<Reserved, NoRoom> {
        let (flags, expiry) = match begun.command {
            Command::Store { flags, exptime, .. } => (flags, expiry(exptime, self.now)),
            Command::Meta { meta, .. } => (meta.options().flags, self.meta_expiry(meta)),
            _ => unreachable!("it has a value"),
        };
        let mut room: KeyRoom = [0; _];
        self.store.reserve(begun.key.bytes(&mut room), begun.bytes, flags, expiry, self.now)
    }

    /// Stores a value, that of a command or the one that has landed.
    pub(crate) fn stow(&mut self, key: &[u8], value: &[u8], flags: u32, expiry: Expiry) -> Result<u64, NoRoom> {
        let hash = self.store.hash(key);
        match self.landed.take() {
            Some(landed) => self.store.complete(landed, hash, (flags, expiry), self.now),
            None => self.store.put(hash, key, Value { parts: &[value], flags, expiry }, self.now),
        }
    }

    /// Puts such a value in front of another one or behind it; `None` if that is not there any more.
    pub(crate) fn join(&mut self, key: &[u8], value: &[u8], end: End) -> Result<Option<u64>, NoRoom> {
        let (hash, front) = (self.store.hash(key), end == End::Front);
        let landed = self.landed.take();
        let more = landed.as_ref().map_or(Joined::Bytes(value), Joined::Reserved);
        let joined = self.store.join(hash, key, more, front, self.now);
        landed.into_iter().for_each(|landed| self.store.abandon(landed));
        joined
    }

    /// The answers from now on are for a connection that sends what is lent to it.
    pub(crate) fn begin_lending(&mut self) {
        let pinned = self.store.pinned_bytes();
        let much = pinned > 0 && pinned as u64 > self.store.figures().bytes / PINNED_SHARE;
        self.lending.mode = if much { Mode::Withhold } else { Mode::Lend };
    }

    /// Lends the value of an item that was just found, as the next part of an answer.
    pub(crate) fn lend(&mut self, key: &[u8], out: &mut Vec<u8>) {
        let loan = self.store.lend(self.store.hash(key), key).expect("it was found");
        self.lending.bytes += loan.bytes();
        self.lending.pieces.push((out.len(), loan));
        out.extend_from_slice(b"\r\n");
    }

    /// What was lent behind so many bytes of an answer is not given out.
    pub(crate) fn withdraw(&mut self, before: usize) {
        while let Some((_, loan)) = self.lending.pieces.pop_if(|(end, _)| *end > before) {
            self.lending.bytes -= loan.bytes();
            self.store.give_back(loan);
        }
    }
}
