//! The received bytes of a connection as a sequence of headers, pieces of data and data digests.
//!
//! ```text
//!     .--------> Header --------> (a whole PDU without streamed data) ---.
//!     |             | H2CData or C2HData                                 |
//!     |             v                                                    |
//!     |          Payload --- no digest in use ----> Settled --.          |
//!     |             |                                  ^      |          |
//!     |             '-------> Digest ------------------'      |          |
//!     '-------------------------------------------------------'----------'
//! ```
//!
//! Data is handed on as it comes and is not kept; the four bytes of a digest may be cut anywhere and are. `Settled` is
//! the moment in which the machine draws its conclusions from a PDU that is over.

use super::digest::Crc32c;
use super::limits::DIGEST_BYTES;
use super::{Incoming, Slot};

/// What the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Header,
    Payload,
    Digest,
    Settled,
}

/// The PDU whose data is being received.
#[derive(Debug)]
pub(super) struct Stream {
    stage: Stage,
    slot: Slot,
    /// Of the next byte, within the command's data.
    offset: u32,
    /// Bytes of data to come.
    remaining: u32,
    /// Whether a digest follows.
    digest: bool,
    digest_ok: bool,
    crc: Crc32c,
    /// The bytes of the digest that are there.
    have: u8,
    received: [u8; DIGEST_BYTES],
}

impl Stream {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Header,
            slot: Slot(0),
            offset: 0,
            remaining: 0,
            digest: false,
            digest_ok: true,
            crc: Crc32c::new(),
            have: 0,
            received: [0; DIGEST_BYTES],
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    pub(super) fn slot(&self) -> Slot {
        self.slot
    }

    pub(super) fn incoming(&self) -> Option<Incoming> {
        let Self { slot, offset, remaining, .. } = *self;
        (self.stage == Stage::Payload).then_some(Incoming { slot, offset, remaining })
    }

    /// A header announced `bytes` (more than 0) of data.
    pub(super) fn begin(&mut self, slot: Slot, offset: u32, bytes: u32, digest: bool) {
        assert!(self.stage == Stage::Header && bytes > 0, "data begins behind a header");
        self.stage = Stage::Payload;
        self.slot = slot;
        self.offset = offset;
        self.remaining = bytes;
        self.digest = digest;
        self.digest_ok = true;
        if digest {
            self.crc.reset();
            self.have = 0;
        }
    }

    /// Takes what `input` has of the data: the offset and the bytes.
    pub(super) fn take<'a>(&mut self, input: &'a [u8]) -> (u32, &'a [u8]) {
        let offset = self.offset;
        let bytes = &input[..input.len().min(self.remaining as usize)];
        self.absorb(bytes);
        (offset, bytes)
    }

    /// Counts data that has been received, wherever it is now.
    pub(super) fn absorb(&mut self, bytes: &[u8]) {
        assert!(self.stage == Stage::Payload && bytes.len() <= self.remaining as usize, "data of this PDU");
        if self.digest {
            self.crc.update(bytes);
        }
        // A command's data has fewer than 2^32 bytes, and the header was checked against its end.
        self.offset += bytes.len() as u32;
        self.remaining -= bytes.len() as u32;
        if self.remaining == 0 {
            self.stage = if self.digest { Stage::Digest } else { Stage::Settled };
        }
    }

    /// Takes what `input` has of the digest: how many bytes were taken and how many are missing.
    pub(super) fn take_digest(&mut self, input: &[u8]) -> (usize, usize) {
        let have = usize::from(self.have);
        let taken = input.len().min(DIGEST_BYTES - have);
        self.received[have..have + taken].copy_from_slice(&input[..taken]);
        self.have += taken as u8;
        let missing = DIGEST_BYTES - have - taken;
        if missing == 0 {
            self.digest_ok = self.received == self.crc.finish();
            self.stage = Stage::Settled;
        }
        (taken, missing)
    }

    /// The PDU is over: whose it was and whether its digest was right. A header follows.
    pub(super) fn settle(&mut self) -> (Slot, bool) {
        assert!(self.stage == Stage::Settled, "the PDU is over");
        self.stage = Stage::Header;
        (self.slot, self.digest_ok)
    }
}
