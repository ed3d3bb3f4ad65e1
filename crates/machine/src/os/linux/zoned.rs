//! The zones of block devices: the kernel's structures and calls (`linux/blkzoned.h`). A file of the file system zonefs
//! is a zone as well, a device of one zone: its length is the write pointer, and setting the length resets or finishes.
//!
//! ```text
//!    0        8          12      16
//!   | sector | nr_zones | flags | zone | zone | ...          blk_zone_report: asked with the first two
//!
//!    0       8     16   24     25     26        27      32         40
//!   | start | len | wp | type | cond | non_seq | reset | capacity | reserved |   blk_zone, 64 bytes
//! ```

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{fstatfs, major, minor};

use crate::zoned::{Action, Disk, Zone};

/// 2 bits of direction, 14 of size, 8 of type, 8 of number, as `_IOC` of the kernel has it.
const fn request(direction: u32, number: u32, bytes: u32) -> u32 {
    direction << 30 | bytes << 16 | 0x12 << 8 | number
}

const WRITE: u32 = 1;
const READ: u32 = 2;
const REPORT: u32 = request(READ | WRITE, 130, 16);
const RESET: u32 = request(WRITE, 131, 16);
const ZONE_SECTORS: u32 = request(READ, 132, 4);
const ZONE_COUNT: u32 = request(READ, 133, 4);
const OPEN: u32 = request(WRITE, 134, 16);
const CLOSE: u32 = request(WRITE, 135, 16);
const FINISH: u32 = request(WRITE, 136, 16);

/// The kernel counts in sectors of so many bytes.
const SECTOR_BYTES: u64 = 512;
/// `BLK_ZONE_TYPE_SEQWRITE_REQ`, and some of `BLK_ZONE_COND_*`.
const SEQUENTIAL_WRITE_REQUIRED: u8 = 2;
const EMPTY: u8 = 1;
const CLOSED: u8 = 4;
const FULL: u8 = 0xe;
/// Words of 8 bytes in front of the zones, and in each.
const HEADER_WORDS: usize = 2;
const ZONE_WORDS: usize = 8;
/// In the flags of a report: its zones have a capacity (Linux 5.9).
const HAS_CAPACITY: u32 = 1;

/// What `statfs` calls zonefs (`linux/magic.h`).
const ZONEFS_MAGIC: u64 = 0x5a4f_4653;
/// The folder of the zones that are written in sequence; the others are files like any.
const ZONEFS_SEQUENTIAL: &str = "seq";

/// Size of the zones, their number and limits; `None` if it is no zoned block device and no zone.
pub(crate) fn zoned_disk(file: &File) -> io::Result<Option<Disk>> {
    let metadata = file.metadata()?;
    if let Some(zone) = file_of_zonefs(file, &metadata)? {
        return Ok(Some(Disk { zone_sectors: zone.capacity, zones: 1, max_open: None, max_active: None }));
    }
    if !metadata.file_type().is_block_device() {
        return Ok(None);
    }
    // A kernel that is built without zones does not know the question.
    let zone_sectors = number(file, ZONE_SECTORS).unwrap_or(0);
    if zone_sectors == 0 {
        return Ok(None);
    }
    let (max_open, max_active) =
        (queue_limit(metadata.rdev(), "max_open_zones"), queue_limit(metadata.rdev(), "max_active_zones"));
    Ok(Some(Disk { zone_sectors: zone_sectors.into(), zones: number(file, ZONE_COUNT)?, max_open, max_active }))
}

/// The zone that a file of zonefs is; `None` if it is something else.
fn file_of_zonefs(file: &File, metadata: &Metadata) -> io::Result<Option<Zone>> {
    if !metadata.is_file() || fstatfs(file)?.f_type as u64 != ZONEFS_MAGIC {
        return Ok(None);
    }
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    if path.parent().and_then(Path::file_name) != Some(OsStr::new(ZONEFS_SEQUENTIAL)) {
        return Ok(None);
    }
    // The blocks of the file are those that it can have, written or not. Whether its zone is open nobody tells.
    let (capacity, written) = (metadata.blocks(), metadata.len() / SECTOR_BYTES);
    let state = match written {
        0 => EMPTY,
        _ if written >= capacity => FULL,
        _ => CLOSED,
    };
    let kind = SEQUENTIAL_WRITE_REQUIRED;
    Ok(Some(Zone { start: 0, capacity, write_pointer: written, kind, state, reset_recommended: false }))
}

/// A question whose answer is a number.
fn number(file: &File, request: u32) -> io::Result<u32> {
    let mut answer = 0_u32;
    // SAFETY: both questions write four bytes to where the argument points, which is ours.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request as _, &raw mut answer) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// A limit of the queue of the block device with this number; `None` if there is no limit.
fn queue_limit(device: u64, name: &str) -> Option<u32> {
    let device = fs::canonicalize(format!("/sys/dev/block/{}:{}", major(device), minor(device))).ok()?;
    // A partition has the queue of its disk, which is the directory above.
    let disk = if device.join("partition").exists() { device.parent()? } else { &device };
    let read = |disk: &Path| fs::read_to_string(disk.join("queue").join(name)).ok()?.trim().parse().ok();
    let own = read(disk).filter(|&limit| limit > 0);
    // An NVMe namespace with several paths says nothing of the limits that each of its paths has.
    own.or_else(|| paths_of(disk).iter().filter_map(|path| read(path)).filter(|&limit| limit > 0).min())
}

/// The block devices of the single paths to the namespace that `nvme0n1` leads to: `nvme0c0n1`, `nvme0c1n1`.
fn paths_of(disk: &Path) -> Vec<PathBuf> {
    let name = disk.file_name().and_then(OsStr::to_str);
    let Some((subsystem, namespace)) = name.and_then(|name| name.strip_prefix("nvme")?.split_once('n')) else {
        return Vec::new();
    };
    let Ok(all) = fs::read_dir("/sys/block") else { return Vec::new() };
    let is_path = |name: &OsStr| {
        let rest = name.to_str().and_then(|name| name.strip_prefix("nvme")?.strip_prefix(subsystem)?.strip_prefix('c'));
        rest.and_then(|rest| rest.split_once('n')).is_some_and(|(_, last)| last == namespace)
    };
    all.flatten().filter(|entry| is_path(&entry.file_name())).map(|entry| entry.path()).collect()
}

/// See [`crate::zoned::report`].
pub(crate) fn zone_report(file: &File, sector: u64, most: u32) -> io::Result<Vec<Zone>> {
    if let Some(zone) = file_of_zonefs(file, &file.metadata()?)? {
        return Ok(if sector < zone.capacity && most > 0 { vec![zone] } else { Vec::new() });
    }
    let mut words = vec![0_u64; HEADER_WORDS + most as usize * ZONE_WORDS];
    (words[0], words[1]) = (sector, pair(most, 0));
    // SAFETY: the kernel writes the header and at most `most` zones of 64 bytes, for which there is room.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), REPORT as _, words.as_mut_ptr()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let (found, flags) = unpair(words[1]);
    let zones = words[HEADER_WORDS..].chunks_exact(ZONE_WORDS).take(found as usize);
    Ok(zones.map(|words| zone(words, flags & HAS_CAPACITY != 0)).collect())
}

fn zone(words: &[u64], has_capacity: bool) -> Zone {
    let [kind, state, _, reset, ..] = words[3].to_ne_bytes();
    let capacity = if has_capacity { words[4] } else { words[1] };
    Zone { start: words[0], capacity, write_pointer: words[2], kind, state, reset_recommended: reset != 0 }
}

/// Two numbers as they lie one behind the other in memory.
fn pair(first: u32, second: u32) -> u64 {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&first.to_ne_bytes());
    bytes[4..].copy_from_slice(&second.to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

fn unpair(word: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]))
}

/// See [`crate::zoned::act`].
pub(crate) fn zone_action(file: &File, action: Action, sector: u64, sectors: u64) -> io::Result<()> {
    if let Some(zone) = file_of_zonefs(file, &file.metadata()?)? {
        return match action {
            Action::Reset => file.set_len(0),
            Action::Finish => file.set_len(zone.capacity * SECTOR_BYTES),
            Action::Open | Action::Close => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "zonefs opens and closes the zone of a file by itself, with the file",
            )),
        };
    }
    let request = match action {
        Action::Reset => RESET,
        Action::Open => OPEN,
        Action::Close => CLOSE,
        Action::Finish => FINISH,
    };
    let range = [sector, sectors];
    // SAFETY: all four requests read 16 bytes, a `blk_zone_range`, and write nothing.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request as _, range.as_ptr()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_those_of_the_kernel() {
        // As the C compiler has them from linux/blkzoned.h 6.1.
        let requests = [REPORT, RESET, ZONE_SECTORS, ZONE_COUNT, OPEN, CLOSE, FINISH];
        let kernel = [0xc010_1282, 0x4010_1283, 0x8004_1284, 0x8004_1285, 0x4010_1286, 0x4010_1287, 0x4010_1288];
        assert_eq!(requests, kernel);
    }

    #[test]
    fn zones_are_read_where_the_kernel_has_them() {
        let mut bytes = [0_u8; 64];
        for (at, value) in [(0, 1_u64), (8, 2), (16, 3), (32, 4)] {
            bytes[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        }
        bytes[24..28].copy_from_slice(&[2, 0xe, 9, 1]);
        let words: Vec<u64> = bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect();
        let expected = Zone { start: 1, capacity: 4, write_pointer: 3, kind: 2, state: 0xe, reset_recommended: true };
        assert_eq!(zone(&words, true), expected);
        assert_eq!(zone(&words, false), Zone { capacity: 2, ..expected });
        assert_eq!(unpair(pair(7, 9)), (7, 9));
    }

    #[test]
    fn what_is_no_zoned_block_device_has_no_zones() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(zoned_disk(&file).unwrap(), None);
        assert!(zone_report(&file, 0, 1).is_err() && zone_action(&file, Action::Reset, 0, 8).is_err());
    }
}
