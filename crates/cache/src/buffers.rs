//! Memory that clients make a reactor keep: commands that are not whole, answers that are not read.
//!
//! ```text
//!   a client    | its share, 20 KiB | beyond it: counted, of all clients of the reactor together
//!   all         0 ······················· half: short ······················· most: spent
//! ```
//!
//! A client that stays within its share is never hindered by others. What clients have beyond that is counted, room
//! that is kept for later included. While it is *short*, everybody gives back room that is not needed, nobody is
//! answered beyond a share at a time, and those that do not read their answers are disconnected soon. When it is
//! *spent*, whoever then has more than a share and does not become smaller by itself goes: a command that is not whole
//! is refused, and who does not read is disconnected. Who has nothing here is not received from in that pass.
//!
//! Nobody waits for ever: what is counted belongs to clients that are answered in the next pass, to those that do not
//! read, for [`UNREAD`](crate::limits::UNREAD) at most, or to commands that have [`LANDING`](crate::limits::LANDING) to
//! become whole. The last one of these that was counted left the rest of them below the limit, or it is gone.

use crate::limits::{BUFFER_BYTES, BUFFERED_VALUES, MAX_UNSENT_BYTES, MIN_BUFFER_BYTES, SHARE_BYTES};

/// See the module.
pub(crate) struct Buffers {
    taken: usize,
    most: usize,
}

/// What one client has of them.
#[derive(Debug, Default)]
pub(crate) struct Taken(usize);

impl Buffers {
    /// Those of one of so many reactors, for values of so many bytes: one of another reactor's travels through them.
    pub(crate) fn of(reactors: usize, max_value: usize) -> Self {
        let most = (BUFFER_BYTES / reactors.max(1)).max(MIN_BUFFER_BYTES).max(BUFFERED_VALUES * max_value);
        Self { taken: 0, most }
    }

    /// A client has so many bytes now.
    #[inline]
    pub(crate) fn count(&mut self, client: &mut Taken, bytes: usize) {
        let beyond = bytes.saturating_sub(SHARE_BYTES);
        self.taken = self.taken - client.0 + beyond;
        client.0 = beyond;
    }

    /// Bytes of all clients beyond their shares.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    pub(crate) fn are_short(&self) -> bool {
        self.taken >= self.most / 2
    }

    pub(crate) fn are_spent(&self) -> bool {
        self.taken >= self.most
    }

    /// With so many bytes of answers that wait, a client is asked for nothing more.
    #[inline]
    pub(crate) fn unsent(&self) -> usize {
        if self.are_short() { SHARE_BYTES } else { MAX_UNSENT_BYTES }
    }
}
