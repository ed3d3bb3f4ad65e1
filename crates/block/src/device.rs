//! The shared part of a device: what it is, and the way to a queue of one's own.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use machine::ring::Ring;
use uuid::Uuid;

use crate::limits::{MAX_COPY_BYTES, MAX_COPY_SOURCES};
use crate::path::Path;
use crate::size::format_size;
use crate::{Nvme, Queue};

/// A block device. Shared by all reactors; everything per I/O goes through the [`Queue`] that each reactor opens.
pub trait Device: Send + Sync {
    /// What the device is. Constant for the life of the device; the size in it is the one that it was opened with.
    fn info(&self) -> &Info;

    /// The size now, in logical blocks. It never gets smaller.
    fn blocks(&self) -> u64 {
        self.info().blocks
    }

    /// Looks at the medium again, and tells the size that all queues go by from now on, in logical blocks. A regular
    /// file that is shorter than `want` bytes is made so long first. May block: for control threads.
    ///
    /// # Errors
    /// The device cannot have the wanted size, or the medium got shorter; the size stays as it was.
    fn refresh(&self, want: Option<u64>) -> Result<u64, OpenError> {
        let (info, blocks) = (self.info(), self.blocks());
        let bytes = blocks * u64::from(info.block_bytes);
        match want {
            Some(want) if want != bytes => Err(OpenError {
                device: info.name.clone(),
                why: format!("it has {}, and {} devices do not change their size", format_size(bytes), info.kind),
                hint: "Leave its size as it is, or serve another device.".to_owned(),
                source: None,
            }),
            _ => Ok(blocks),
        }
    }

    /// Opens a queue for the reactor that owns `ring`. The queue never leaves that reactor.
    ///
    /// # Errors
    /// Whatever the operating system or the peer says while the queue is set up.
    fn open_queue(&self, ring: &mut Ring) -> io::Result<Box<dyn Queue>>;

    /// Blocks that hold data now, for thin devices (NVMe's NUSE); the whole size for the others.
    fn used_blocks(&self) -> u64 {
        self.info().blocks
    }

    /// The way that was asked for, or that the device has picked. `None`: it has only one, or a file's requests go by
    /// whatever engine each reactor's ring has ([`machine::ring::Ring::choice`]).
    fn path(&self) -> Option<Path> {
        None
    }

    /// Why the thread that asks waits for the medium, and everything else on it with it, if it does: the end of a
    /// sentence. Nothing for a reactor that serves others.
    fn waits(&self) -> Option<String> {
        let way = self.path().filter(|way| way.waits())?;
        Some(format!("the path {way} waits for the device"))
    }

    /// What those who serve it day after day had better know: a sentence.
    fn remark(&self) -> Option<String> {
        None
    }

    /// The device as an NVMe device, for native commands. `None`: it is none, or is not reached as one.
    fn nvme(&self) -> Option<&dyn Nvme> {
        None
    }

    /// The open file of a block device that the kernel knows as zoned, or of a zone (zonefs); [`crate::Zoned`] asks it.
    /// `None`: it is none.
    fn zoned_disk(&self) -> Option<&File> {
        None
    }

    /// A place on stable storage for state that belongs to the device and not to its blocks, such as reservations that
    /// persist: the path of a file for the purpose `what`, which may not be there yet. `None`: there is no such place.
    fn sidecar(&self, what: &str) -> Option<PathBuf> {
        let _ = what;
        None
    }

    /// Makes everything completed so far durable. Called once at the end of a clean stop, when no queue is left.
    ///
    /// # Errors
    /// Those of the medium.
    fn close(&self) -> io::Result<()> {
        Ok(())
    }
}

/// What a device is.
#[derive(Clone, Debug)]
pub struct Info {
    /// What a person calls it: the path or the specification it was opened with.
    pub name: String,
    /// `ram`, `file`, `block`, `null`, `nvme`, `nvme-tcp`.
    pub kind: &'static str,
    /// Bytes of a logical block: 512 or 4096.
    pub block_bytes: u32,
    /// Size in logical blocks when it was opened; see [`Device::blocks`].
    pub blocks: u64,
    /// Blocks of the granule the device likes best for writes and deallocation (NVMe's NPWG, NPDG); at least 1.
    pub preferred_blocks: u32,
    /// A write within an aligned run of so many blocks is seen by every reader as a whole or not at all (NVMe's NAWUN
    /// and NABSN); 1 where only a single block is sure, or not even that is promised by anybody.
    pub atomic_blocks: u32,
    /// Largest transfer of one request, in bytes.
    pub max_transfer_bytes: u32,
    /// What the length of each buffer of a scatter list must be a multiple of, in bytes. 1, for any length, but with
    /// direct I/O: there the kernel wants the memory of each by itself in blocks of the medium.
    pub piece_bytes: u32,
    /// What it can and cannot do.
    pub features: Features,
    /// Who it is.
    pub identity: Identity,
}

impl Info {
    /// Size in bytes when it was opened.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.blocks * u64::from(self.block_bytes)
    }
}

/// What a device can and cannot do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Writes, write zeroes and deallocation are refused.
    pub read_only: bool,
    /// Completed writes may be lost with the power until a flush: the device wants [`crate::Op::Flush`].
    pub volatile_cache: bool,
    /// Reads can be lent, and in-line writes are taken as they lie: see [`crate::Data`].
    pub lends: bool,
    /// Deallocated blocks read as zeros afterwards.
    pub zeros_after_deallocate: bool,
    /// Blocks take space only once they are written.
    pub thin: bool,
    /// It does [`crate::Op::Compare`].
    pub compare: bool,
    /// It does [`crate::Op::Verify`].
    pub verify: bool,
    /// It does [`crate::Op::WriteUncorrectable`].
    pub write_uncorrectable: bool,
    /// It does [`crate::Op::Copy`], within these limits.
    pub copy: Option<CopyLimits>,
}

/// How much one [`crate::Op::Copy`] may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyLimits {
    /// Most sources; at least 1 (NVMe's MSRC counts from 0).
    pub sources: u16,
    /// Most blocks of one source (NVMe's MSSRL).
    pub source_blocks: u32,
    /// Most blocks of all of them together (NVMe's MCL).
    pub blocks: u32,
}

impl CopyLimits {
    /// Those of a device of this crate, and the most that any device may state.
    #[must_use]
    pub const fn most(block_bytes: u32) -> Self {
        let blocks = MAX_COPY_BYTES / block_bytes;
        Self { sources: MAX_COPY_SOURCES as u16, source_blocks: blocks, blocks }
    }

    /// What keeps within both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            sources: self.sources.min(other.sources),
            source_blocks: self.source_blocks.min(other.source_blocks),
            blocks: self.blocks.min(other.blocks),
        }
    }
}

/// Who a device is: the same on every path and after every restart, different for every other device, copies included.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The namespace's UUID (NVMe base specification, Namespace Identification Descriptor, NIDT 3h).
    pub uuid: Uuid,
    /// The namespace's NGUID (NIDT 2h); derived from the UUID unless the device brings its own.
    pub nguid: [u8; 16],
}

impl Identity {
    /// The identity that follows from a UUID: the NGUID has the same 16 bytes.
    #[must_use]
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self { uuid, nguid: uuid.into_bytes() }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.uuid)
    }
}

/// Why a device could not be opened: what was asked, why it failed, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{device}: {why}\n  {hint}")]
pub struct OpenError {
    /// The device as the user named it.
    pub device: String,
    /// What went wrong.
    pub why: String,
    /// What the user can do about it: a complete sentence.
    pub hint: String,
    /// The operating system's error, if there was one.
    #[source]
    pub source: Option<io::Error>,
}
