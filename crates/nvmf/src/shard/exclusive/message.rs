//! What reactors tell each other about exclusive ranges.

use block::{Info, Range};

/// Which blocks are meant: those of a device, however many namespaces it is served as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u128);

impl Key {
    /// That of a device: its UUID, which no other device has.
    pub(crate) fn of(info: &Info) -> Self {
        Self(info.identity.uuid.as_u128())
    }

    /// The device's home among so many reactors: the one that gives its ranges away.
    pub(crate) fn home(self, reactors: usize) -> usize {
        // Multiplied by 2^64 / golden ratio, so that UUIDs with a pattern are spread, too.
        let mixed = ((self.0 >> 64) as u64 ^ self.0 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize % reactors
    }

    #[cfg(test)]
    pub(super) fn test(number: u128) -> Self {
        Self(number)
    }
}

/// A message. One range of a device is given away at a time, so that the device names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// To the home: I want these blocks for myself.
    Ask { ticket: u32, key: Key, range: Range },
    /// To all, from the home: submit nothing that touches these blocks; tell when what you have there is done.
    Hold { key: Key, range: Range },
    /// To the home: it is done.
    Held { key: Key },
    /// To who asked: the blocks are yours.
    Grant { ticket: u32 },
    /// To the home: I do not need them any more.
    Release { key: Key },
    /// To all, from the home: go on.
    Resume { key: Key },
}
