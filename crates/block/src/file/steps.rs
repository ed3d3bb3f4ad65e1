//! Requests that a file has no call for, in several steps of reading and writing through a buffer.
//!
//! ```text
//!   compare   read into the buffer ──▶ look at the bytes                                ──▶ over
//!   verify    read into the buffer ──▶ read on ──▶ ...                                  ──▶ over
//!   copy      read from a source ──▶ write to the destination ──▶ read on ──▶ write ... ──▶ over
//! ```
//!
//! Each request has one buffer and one step under way. The first error ends it.

use machine::region::{Buf, Bufs};
use machine::ring::FileOp;

use crate::{Failure, Outcome, Range};

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    /// This, with the buffer.
    Do(FileOp),
    /// Nothing: it is over.
    Over(Outcome),
}

/// A request that takes several steps: which they are. Offsets and lengths in bytes.
pub(super) enum Steps {
    Compare { offset: u64, with: Bufs },
    Verify { at: u64, end: u64 },
    Copy(Copy),
}

/// A copy on its way.
pub(super) struct Copy {
    /// What is still to be read, the next one last.
    pub(super) sources: Vec<(u64, u64)>,
    /// Where the next bytes are written.
    pub(super) to: u64,
    pub(super) dsync: bool,
    /// The buffer is full of bytes to be written.
    pub(super) full: bool,
}

impl Copy {
    /// With `list` as the place for the sources.
    pub(super) fn new(mut list: Vec<(u64, u64)>, sources: &[Range], block_bytes: u64, to: u64, dsync: bool) -> Self {
        let bytes = |source: &Range| (source.lba * block_bytes, source.blocks * block_bytes);
        list.extend(sources.iter().rev().map(bytes));
        Self { sources: list, to, dsync, full: false }
    }
}

impl Steps {
    /// The first step; sets the length of the buffer.
    pub(super) fn first(&mut self, buf: &mut Buf) -> Next {
        match self {
            Self::Compare { offset, with } => {
                buf.set_len(with.len());
                Next::Do(FileOp::Read { offset: *offset })
            }
            Self::Verify { at, end } => read(*at, *end - *at, buf),
            Self::Copy(copy) => match copy.sources.last() {
                Some(&(offset, len)) => read(offset, len, buf),
                None => Next::Over(Ok(())),
            },
        }
    }

    /// The step after one that has succeeded, with what is in the buffer now.
    pub(super) fn next(&mut self, buf: &mut Buf) -> Next {
        let done = buf.len() as u64;
        match self {
            Self::Compare { with, .. } => Next::Over(if with.holds(buf) { Ok(()) } else { Err(Failure::Miscompare) }),
            Self::Verify { at, end } => {
                *at += done;
                if at < end { self.first(buf) } else { Next::Over(Ok(())) }
            }
            Self::Copy(copy) if copy.full => {
                copy.full = false;
                copy.to += done;
                self.first(buf)
            }
            Self::Copy(copy) => {
                let (offset, len) = copy.sources.last_mut().expect("it was read from");
                (*offset, *len) = (*offset + done, *len - done);
                if *len == 0 {
                    copy.sources.pop();
                }
                copy.full = true;
                Next::Do(FileOp::Write { offset: copy.to, dsync: copy.dsync })
            }
        }
    }
}

/// Reads so much of `len` bytes as the buffer takes.
fn read(offset: u64, len: u64, buf: &mut Buf) -> Next {
    buf.set_len(len.min(buf.capacity() as u64) as usize);
    Next::Do(FileOp::Read { offset })
}
