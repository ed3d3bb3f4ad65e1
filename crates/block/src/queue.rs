//! The asking end of a queue pair: requests in, completions out, in any order, matched by a tag.
//!
//! A pass of a reactor submits what it has, kicks once, and polls. A request owns its buffer until its completion gives
//! it back; what a device could not take is given back at once ([`Refused`]).
//!
//! To drain a queue: [`Queue::cancel_all`] if there is no patience for what is in flight, then poll until
//! [`Queue::in_flight`] is 0, then [`Queue::close`]. Nothing else may be submitted meanwhile.
//!
//! | device | what is cancelled | what ends as if not asked |
//! |---|---|---|
//! | `ram` | clearing and copying of large ranges, where it is | all else: it ends with the next poll |
//! | `null` | | everything: it ends with the next poll |
//! | `file` | what no thread, or the kernel, has begun; requests of several steps, between two of them | the rest |
//! | `nvme` | | everything: the kernel takes no command back, and gives it up after its own patience |
//! | `nvme-tcp` | what waits for a connection; what the target gives back: it is sent an Abort | the rest |
//! | `fault` | what is delayed or dropped; else what the device below cancels | the rest |

use std::collections::VecDeque;
use std::{fmt, io};

use machine::reactor::Arm;
use machine::region::{Buf, Bufs, Landing, Lent};
use machine::ring::Ring;
use wire::nvme::Status;

use crate::native::{Command, Completed, Untaken, Why};

/// What matches a completion to its request. Chosen by the asker; unique among what is in flight on one queue.
pub type Tag = u64;

/// A run of logical blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First logical block.
    pub lba: u64,
    /// Number of blocks, 1 or more.
    pub blocks: u64,
}

impl Range {
    /// The block behind the last one; `None` beyond 64 bits.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        self.lba.checked_add(self.blocks)
    }

    /// Whether the two have a block in common.
    #[must_use]
    pub fn overlaps(&self, other: Self) -> bool {
        let (end, other_end) = (self.lba.saturating_add(self.blocks), other.lba.saturating_add(other.blocks));
        self.lba < other_end && other.lba < end
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Read the blocks.
    Read(Range),
    /// Write the blocks; with `fua` they are durable when the completion comes.
    Write {
        /// Where.
        range: Range,
        /// Force unit access.
        fua: bool,
    },
    /// Make all completed writes durable.
    Flush,
    /// The blocks read as zeros afterwards. With `deallocate` the space may be freed.
    WriteZeroes {
        /// Where.
        range: Range,
        /// Force unit access.
        fua: bool,
        /// The device may free the space.
        deallocate: bool,
    },
    /// A hint that the blocks are not needed any more.
    Deallocate(Range),
    /// Compare the blocks with the bytes that come along: [`Failure::Miscompare`] if any differs.
    Compare(Range),
    /// Read the blocks and give no bytes back: whether the medium still has them.
    Verify(Range),
    /// The blocks cannot be read any more, until they are written, cleared or deallocated.
    WriteUncorrectable(Range),
    /// Write the bytes of [`Data::Sources`], one range behind the other, to this range. No source may overlap it.
    Copy {
        /// Where to; as many blocks as the sources have together.
        range: Range,
        /// Force unit access.
        fua: bool,
    },
}

impl Op {
    /// The blocks it touches; none for a flush.
    #[must_use]
    pub fn range(&self) -> Option<Range> {
        match *self {
            Self::Read(range) | Self::Deallocate(range) | Self::Compare(range) => Some(range),
            Self::Verify(range) | Self::WriteUncorrectable(range) => Some(range),
            Self::Write { range, .. } | Self::WriteZeroes { range, .. } | Self::Copy { range, .. } => Some(range),
            Self::Flush => None,
        }
    }

    /// Whether there are devices that do not have it: see [`crate::Features`].
    #[must_use]
    pub fn is_optional(&self) -> bool {
        matches!(
            self,
            Self::WriteZeroes { .. }
                | Self::Compare(_)
                | Self::Verify(_)
                | Self::WriteUncorrectable(_)
                | Self::Copy { .. }
        )
    }

    /// Whether it leaves all blocks as they are, so that a read-only device takes it.
    #[must_use]
    pub fn only_reads(&self) -> bool {
        matches!(self, Self::Read(_) | Self::Flush | Self::Compare(_) | Self::Verify(_))
    }
}

/// The bytes that go with a request.
pub enum Data<'a> {
    /// None: flush, write zeroes, deallocate, verify, write uncorrectable.
    None,
    /// A buffer that the request carries: filled by a read (its length is the transfer's), taken from by a write
    /// or a compare.
    Carried(Buf),
    /// A scatter list that the request carries, 1 to [`MAX_PIECES`](crate::limits::MAX_PIECES) buffers: their bytes,
    /// one behind the other, are those of a [`Data::Carried`]. A piece may end anywhere, unless the device wants
    /// [whole ones](crate::Info::piece_bytes). The vector comes back with the buffers.
    Scattered(Vec<Buf>),
    /// The bytes of a write or a compare as they lie in a receive buffer; valid during `submit` only. For devices
    /// with `features.lends`.
    Inline(&'a [u8]),
    /// A write whose bytes are in slots that [`Queue::land`] gave for the same blocks: they become the device's.
    Landed(Landing),
    /// A read whose bytes the device lends: the completion points into its memory. For devices with `features.lends`.
    Lend,
    /// Where a copy takes its bytes from, in order: at most [`MAX_COPY_SOURCES`](crate::limits::MAX_COPY_SOURCES)
    /// ranges; valid during `submit` only.
    Sources(&'a [Range]),
}

impl Data<'_> {
    /// The buffers that the request carries.
    #[inline]
    #[must_use]
    pub fn into_bufs(self) -> Bufs {
        if let Self::Carried(buf) = self { Bufs::One(buf) } else { self.into_other_bufs() }
    }

    /// Not one buffer: by itself, so that the way of one is short.
    #[inline(never)]
    fn into_other_bufs(self) -> Bufs {
        if let Self::Scattered(pieces) = self { Bufs::Many(pieces) } else { Bufs::None }
    }

    #[inline(never)]
    fn from_other_bufs(bufs: Bufs) -> Self {
        bufs.many().map_or(Self::None, Self::Scattered)
    }
}

impl From<Bufs> for Data<'_> {
    #[inline]
    fn from(bufs: Bufs) -> Self {
        if let Bufs::One(buf) = bufs { Self::Carried(buf) } else { Self::from_other_bufs(bufs) }
    }
}

/// A command for a [`Queue`].
pub struct Request<'a> {
    /// Matches the completion.
    pub tag: Tag,
    /// What is asked.
    pub op: Op,
    /// The bytes that go with it.
    pub data: Data<'a>,
}

/// The queue is full; the request is given back as it was. It is worth another try after the next poll.
pub struct Refused<'a>(pub Request<'a>);

/// Why a request failed. A device's own status and a host's error number stay apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The blocks are not all on the device.
    OutOfRange,
    /// The device is read-only.
    ReadOnly,
    /// The request was cancelled.
    Cancelled,
    /// The device cannot do this at all: see [`crate::Features`].
    NotSupported,
    /// The blocks differ from the bytes they were compared with.
    Miscompare,
    /// The blocks were made unreadable and not written since.
    Unreadable,
    /// A source of a copy overlaps its destination.
    Overlap,
    /// The transfer is larger than the device takes, or its buffers do not fit its blocks.
    BadTransfer,
    /// An NVMe device answered with this status.
    Device(Status),
    /// The operating system answered with this error number.
    Host(i32),
    /// The connection to a remote device broke; whether the command was carried out is unknown.
    Disconnected,
    /// A remote device did not answer in time, and has let go of the request since.
    TimedOut,
    /// A remote device was given up: it did not come back in time, or not as it was. The command was not carried out.
    Unreachable,
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device(status) => return write!(f, "the device answered \"{status}\""),
            Self::Host(error) => return io::Error::from_raw_os_error(*error).fmt(f),
            Self::OutOfRange => "the blocks are not all on the device",
            Self::ReadOnly => "the device is read-only",
            Self::Cancelled => "the request was cancelled",
            Self::BadTransfer => "the device does not take transfers of this size",
            Self::NotSupported => "the device does not know this command",
            Self::Miscompare => "the blocks differ",
            Self::Unreadable => "the blocks were made unreadable",
            Self::Overlap => "source and destination overlap",
            Self::Disconnected => "the connection broke",
            Self::TimedOut => "there was no answer in time",
            Self::Unreachable => "the target is gone",
        })
    }
}

/// How a request ended.
pub type Outcome = Result<(), Failure>;

/// What a completion gives back.
pub enum Returned {
    /// Nothing: there was no buffer, or it was [`Data::Inline`] or [`Data::Landed`].
    None,
    /// The buffer that the request carried.
    Carried(Buf),
    /// The scatter list that it carried.
    Scattered(Vec<Buf>),
    /// So many pieces at the front of [`Completions::lent`] are the blocks, in order.
    Lent(usize),
}

impl Returned {
    /// The buffers that the request carried.
    #[inline]
    #[must_use]
    pub fn into_bufs(self) -> Bufs {
        if let Self::Carried(buf) = self { Bufs::One(buf) } else { self.into_other_bufs() }
    }

    /// As [`Data::into_other_bufs`].
    #[inline(never)]
    fn into_other_bufs(self) -> Bufs {
        if let Self::Scattered(pieces) = self { Bufs::Many(pieces) } else { Bufs::None }
    }

    #[inline(never)]
    fn from_other_bufs(bufs: Bufs) -> Self {
        bufs.many().map_or(Self::None, Self::Scattered)
    }
}

impl From<Bufs> for Returned {
    #[inline]
    fn from(bufs: Bufs) -> Self {
        if let Bufs::One(buf) = bufs { Self::Carried(buf) } else { Self::from_other_bufs(bufs) }
    }
}

/// The end of a request.
pub struct Completion {
    /// The request's tag.
    pub tag: Tag,
    /// How it ended.
    pub outcome: Outcome,
    /// What it gives back.
    pub data: Returned,
}

/// Where a queue puts completions: collected first, handled afterwards. Reused from pass to pass.
#[derive(Default)]
pub struct Completions {
    /// The completions of this pass.
    pub list: Vec<Completion>,
    /// The lent pieces of those with [`Returned::Lent`], in the order of `list`.
    pub lent: VecDeque<Lent>,
    /// The completions of native commands.
    pub native: Vec<Completed>,
}

/// One reactor's way into a device.
pub trait Queue {
    /// Called at the start of a reactor's pass, before any `submit`. Loans taken in this pass live in its epoch.
    fn begin(&mut self) {}

    /// A place in the device's own memory to receive the bytes of a write into, which then comes as [`Data::Landed`].
    /// `None` if there is none at the moment, or never: the bytes are to be carried.
    fn land(&mut self, _range: Range) -> Option<Landing> {
        None
    }

    /// Takes a request, or gives it back if the queue is full. Its completion comes through [`Queue::poll`], also if it
    /// failed at once. The range must be non-empty; a range outside the device completes with [`Failure::OutOfRange`].
    ///
    /// # Errors
    /// [`Refused`] gives the request back when no room is left.
    fn submit<'a>(&mut self, ring: &mut Ring, request: Request<'a>) -> Result<(), Refused<'a>>;

    /// Takes a native NVMe command, or gives it back. Its completion comes through [`Queue::poll`] in
    /// [`Completions::native`], also if it failed at once.
    ///
    /// # Errors
    /// [`Untaken`] gives the command back when no room is left, or when the device has none: only one whose
    /// [`crate::Device::nvme`] is there takes native commands.
    #[expect(clippy::result_large_err, reason = "it is the command, given back as it was; nothing is allocated for it")]
    fn command(&mut self, _ring: &mut Ring, command: Command) -> Result<(), Untaken> {
        Err(Untaken { command, why: Why::NotNative })
    }

    /// Sends what was submitted on its way: one doorbell or one packet for many.
    fn kick(&mut self, _ring: &mut Ring) {}

    /// Moves finished requests to `out`.
    fn poll(&mut self, ring: &mut Ring, out: &mut Completions);

    /// Called at the end of a reactor's pass, after all completions are handled.
    fn end(&mut self) {}

    /// Asks for the end of a request. Its completion still comes: cancelled, or as it ended; what a medium has begun
    /// mostly ends as if not asked. Without effect if there is no such request.
    fn cancel(&mut self, _ring: &mut Ring, _tag: Tag) {}

    /// Asks for the end of all requests, as [`Queue::cancel`] does for one. A queue whose requests all end with the
    /// next poll has nothing to do.
    fn cancel_all(&mut self, _ring: &mut Ring) {}

    /// Requests taken and not yet completed.
    fn in_flight(&self) -> usize;

    /// Makes a completion wake the reactor, then looks once more.
    fn arm(&mut self, ring: &mut Ring) -> Arm;

    /// The reactor is awake again.
    fn disarm(&mut self) {}

    /// Nothing is in flight and nothing will be asked any more: gives back what the queue has of its ring. The last
    /// call before the queue is dropped; a queue that lives as long as its ring needs none.
    fn close(&mut self, _ring: &mut Ring) {}
}
