//! Zoned block devices of the kernel: their zones, and what can be done with them (`linux/blkzoned.h`). A file of
//! zonefs that is written in sequence is a device of one zone.
//!
//! Everything here is in the kernel's sectors of 512 bytes, whatever the blocks of the device.

use std::fs::File;
use std::io;

use crate::os;

/// What the kernel tells of a zoned block device as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Sectors from the start of a zone to the start of the next.
    pub zone_sectors: u64,
    /// How many zones there are.
    pub zones: u32,
    /// Most zones that are open at once; `None` without a limit.
    pub max_open: Option<u32>,
    /// Most zones that are open or closed at once; `None` without a limit.
    pub max_active: Option<u32>,
}

/// A zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// First sector.
    pub start: u64,
    /// Sectors that can be written.
    pub capacity: u64,
    /// The next sector to be written, where the state has one.
    pub write_pointer: u64,
    /// `BLK_ZONE_TYPE_*`: 1 conventional, 2 written in sequence always, 3 best written in sequence.
    pub kind: u8,
    /// `BLK_ZONE_COND_*`: 0 no write pointer, else as NVMe numbers the states of zones.
    pub state: u8,
    /// The drive recommends a reset.
    pub reset_recommended: bool,
}

/// What can be done with zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Makes them empty: what they hold is lost.
    Reset,
    /// Opens them.
    Open,
    /// Closes them.
    Close,
    /// Makes them full.
    Finish,
}

/// What the kernel tells of a block device; `None` if it has no zones.
///
/// # Errors
/// Those of `ioctl`.
pub fn disk(file: &File) -> io::Result<Option<Disk>> {
    os::zoned_disk(file)
}

/// The zones from the one with this sector on, at most `most` of them.
///
/// # Errors
/// Those of `ioctl`; `Unsupported` on other systems.
pub fn report(file: &File, sector: u64, most: u32) -> io::Result<Vec<Zone>> {
    os::zone_report(file, sector, most)
}

/// Does something with all zones of a range, which starts and ends with a zone. The file must be open for writing.
///
/// # Errors
/// Those of `ioctl`, above all of the device; `Unsupported` on other systems.
pub fn act(file: &File, action: Action, sector: u64, sectors: u64) -> io::Result<()> {
    os::zone_action(file, action, sector, sectors)
}
