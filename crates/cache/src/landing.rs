//! A large value on its way into the store: it is received to where it will lie.
//!
//! ```text
//!   set k 0 60 1048576\r\n     parsed when the line is there: space is reserved
//!   ...                        received by the system to its place, or copied there from what came with the line
//!   \r\n                       the command is carried out: now it is decided whether the value is stored
//! ```

use machine::clock::Coarse;
use store::{Reserved, Store};

use crate::limits::LANDING;

/// See the module.
pub(crate) struct Landing {
    /// The line of the command, as it came.
    line: Box<[u8]>,
    reserved: Reserved,
    landed: usize,
    bytes: usize,
    /// When it was first looked at.
    since: Option<Coarse>,
}

/// What became of bytes that have come.
pub(crate) enum Landed {
    /// So many of them are at their place.
    Some(usize),
    /// More are to be seen.
    More,
    /// The value is whole, and these bytes begin with what should be the end of it.
    Whole,
}

impl Landing {
    /// A value of so many bytes that follows this line.
    pub(crate) fn new(line: &[u8], reserved: Reserved, bytes: usize) -> Self {
        Self { line: line.into(), reserved, landed: 0, bytes, since: None }
    }

    /// One that is at its place.
    pub(crate) fn whole(line: Box<[u8]>, reserved: Reserved, bytes: usize) -> Self {
        Self { line, reserved, landed: bytes, bytes, since: None }
    }

    /// Bytes of memory that it has, without the value's, which are the store's.
    pub(crate) fn memory(&self) -> usize {
        self.line.len()
    }

    /// Where the rest of the value comes to.
    pub(crate) fn place<'a>(&self, store: &'a mut Store) -> &'a mut [u8] {
        &mut store.landing(&self.reserved)[self.landed..]
    }

    /// So many bytes have come to their place.
    pub(crate) fn has_come(&mut self, bytes: usize) {
        self.landed += bytes;
    }

    /// Brings bytes to their place.
    pub(crate) fn take(&mut self, bytes: &[u8], store: &mut Store) -> Landed {
        let wanted = (self.bytes - self.landed).min(bytes.len());
        if self.landed < self.bytes {
            self.place(store)[..wanted].copy_from_slice(&bytes[..wanted]);
            self.landed += wanted;
            return Landed::Some(wanted);
        }
        if bytes.len() < b"\r\n".len() { Landed::More } else { Landed::Whole }
    }

    /// The line, the space and the size of the value.
    pub(crate) fn end(self) -> (Box<[u8]>, Reserved, usize) {
        (self.line, self.reserved, self.bytes)
    }

    /// Whether the client takes too long.
    pub(crate) fn is_late(&mut self, now: Coarse) -> bool {
        now.since(*self.since.get_or_insert(now)) >= LANDING
    }
}
