//! What drives and volumes of Windows tell of themselves and are told, as the bytes that it comes in, and their names:
//! no system calls. The structures are those of `winioctl.h`; all of it may be damaged, and is then none.
//!
//! ```text
//!   STORAGE_DEVICE_DESCRIPTOR            ... | vendor at 12 | product at 16 | revision at 20 | serial at 24 | bus 28
//!                                        | ... | strings that end with a zero, where these places say
//!   STORAGE_ACCESS_ALIGNMENT_DESCRIPTOR  ... | bytes of a logical sector 16 | of a physical one 20 |
//!   DISK_GEOMETRY_EX                     ... | bytes of a sector 20 | bytes of the drive 24 |
//!   DRIVE_LAYOUT_INFORMATION_EX          | style | count 4 | ... 48 | partitions of 144 bytes: ... | length 16 | ...
//!   VOLUME_DISK_EXTENTS                  | count | ... 8 | parts of 24 bytes: drive | ... | start 8 | length 16 |
//!   DEVICE_TRIM_DESCRIPTOR               version | size | enabled, a byte |
//!   STORAGE_ADAPTER_DESCRIPTOR           ... | bytes of a transfer 8 | pages of one 12 | ...
//!   DEVICE_MANAGE_DATA_SET_ATTRIBUTES    size | action | flags | parameters | 0 | ranges 20 | bytes of them 24 |
//!                                        | 4 of padding | ranges of 16 bytes: start | length 8 |
//! ```

use std::path::{Path, PathBuf};

use crate::passthru::TransferLimits;

/// The number of a drive by the name that one gives it: `\\.\PhysicalDriveN`, in any case, with either slash.
pub(super) fn drive_number(path: &Path) -> Option<u32> {
    let name = path.to_str()?.replace('/', "\\").to_ascii_lowercase();
    let rest = name.strip_prefix(r"\\.\").or_else(|| name.strip_prefix(r"\\?\"))?;
    let number = rest.strip_prefix("physicaldrive")?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if digits { number.parse().ok() } else { None }
}

/// The name of the drive with this number.
pub(super) fn drive_path(number: u32) -> PathBuf {
    PathBuf::from(format!(r"\\.\PhysicalDrive{number}"))
}

/// What a drive says of itself (`StorageDeviceProperty`).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) vendor: Option<String>,
    pub(super) product: Option<String>,
    pub(super) revision: Option<String>,
    pub(super) serial: Option<String>,
    /// `STORAGE_BUS_TYPE`.
    pub(super) bus: u32,
}

impl Descriptor {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let text = |at| text(bytes, word(bytes, at)?);
        Some(Self { vendor: text(12), product: text(16), revision: text(20), serial: text(24), bus: word(bytes, 28)? })
    }

    /// The maker's name for it. NVMe drives have "NVMe" where others have the maker.
    pub(super) fn model(&self) -> Option<String> {
        match (&self.vendor, &self.product) {
            (Some(vendor), Some(product)) if !self.is_nvme() => Some(format!("{vendor} {product}")),
            (vendor, product) => product.clone().or_else(|| vendor.clone()),
        }
    }

    /// `BusTypeNvme`.
    pub(super) fn is_nvme(&self) -> bool {
        self.bus == 17
    }

    /// What tells this drive from all others, if it has a serial number.
    pub(super) fn unique(&self) -> Option<String> {
        let serial = self.serial.as_deref()?;
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        Some(format!("windows {} {} {serial}", part(&self.vendor), part(&self.product)))
    }
}

/// A string that begins there and ends with a zero, without the blanks around it; none at 0.
fn text(bytes: &[u8], at: u32) -> Option<String> {
    let rest = bytes.get(usize::try_from(at).ok().filter(|at| *at != 0)?..)?;
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let text = String::from_utf8_lossy(&rest[..end]).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// The word for a bus that tools of Windows use.
pub(super) fn bus_name(bus: u32) -> &'static str {
    match bus {
        1 => "scsi",
        2 => "atapi",
        3 => "ata",
        6 => "fibre",
        7 => "usb",
        8 => "raid",
        9 => "iscsi",
        10 => "sas",
        11 => "sata",
        12 => "sd",
        13 => "mmc",
        14 | 15 => "virtual",
        16 => "spaces",
        17 => "nvme",
        18 => "scm",
        19 => "ufs",
        20 => "nvmeof",
        _ => "other",
    }
}

/// The sectors of a drive, in bytes: those it is addressed by, and those its medium has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sectors {
    pub(super) logical: u32,
    pub(super) physical: u32,
}

impl Sectors {
    /// From `STORAGE_ACCESS_ALIGNMENT_DESCRIPTOR`.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let power = |at| word(bytes, at).filter(|bytes| bytes.is_power_of_two());
        let logical = power(16)?;
        Some(Self { logical, physical: power(20).unwrap_or(logical).max(logical) })
    }
}

/// Bytes of a sector, and of the drive, from `DISK_GEOMETRY_EX`.
pub(super) fn geometry(bytes: &[u8]) -> Option<(u32, u64)> {
    let sector = word(bytes, 20).filter(|bytes| bytes.is_power_of_two())?;
    Some((sector, long(bytes, 24)?))
}

/// How many partitions `DRIVE_LAYOUT_INFORMATION_EX` has; of an MBR, unused places do not count.
pub(super) fn partitions(bytes: &[u8]) -> Option<usize> {
    let count = word(bytes, 4)? as usize;
    let found = bytes.get(48..)?.chunks_exact(144).take(count);
    Some(found.filter(|partition| long(partition, 16).is_some_and(|len| len > 0)).count())
}

/// Whether a part of a volume is on this drive, by `VOLUME_DISK_EXTENTS`.
pub(super) fn is_on(bytes: &[u8], drive: u32) -> Option<bool> {
    let count = word(bytes, 0)? as usize;
    let mut parts = bytes.get(8..)?.chunks_exact(24).take(count);
    Some(parts.any(|part| word(part, 0) == Some(drive)))
}

/// Whether a drive takes TRIM, by `DEVICE_TRIM_DESCRIPTOR`. One that does not say so does not.
pub(super) fn trims(bytes: &[u8]) -> bool {
    bytes.get(8).is_some_and(|enabled| *enabled != 0)
}

/// Bytes of a request that frees one range.
pub(super) const TRIM_BYTES: usize = 48;

/// `DEVICE_MANAGE_DATA_SET_ATTRIBUTES` that frees a range of a drive, in bytes: `DeviceDsmAction_Trim`, of what no file
/// system has (`DEVICE_DSM_FLAG_TRIM_NOT_FS_ALLOCATED`), as whoever writes to a drive has its volumes dismounted.
/// `None` if it ends behind what the request has numbers for.
pub(super) fn trim(offset: u64, len: u64) -> Option<[u8; TRIM_BYTES]> {
    const TRIM: u32 = 1;
    const OF_NO_FILE_SYSTEM: u32 = 1 << 31;
    const RANGES_AT: u32 = 32;
    i64::try_from(offset.checked_add(len)?).ok()?;
    let mut bytes = [0; TRIM_BYTES];
    let words = [28, TRIM, OF_NO_FILE_SYSTEM, 0, 0, RANGES_AT, 16];
    bytes.chunks_exact_mut(4).zip(words).for_each(|(place, word)| place.copy_from_slice(&word.to_le_bytes()));
    bytes[RANGES_AT as usize..][..8].copy_from_slice(&offset.to_le_bytes());
    bytes[RANGES_AT as usize + 8..].copy_from_slice(&len.to_le_bytes());
    Some(bytes)
}

/// What the adapter of a drive moves at once, by `STORAGE_ADAPTER_DESCRIPTOR`. `None` from one that has no limit worth
/// the name.
pub(super) fn transfer_limits(bytes: &[u8]) -> Option<TransferLimits> {
    let (bytes, pages) = (word(bytes, 8)?, word(bytes, 12)?);
    (bytes > 0 && pages > 0).then_some(TransferLimits { bytes: bytes.into(), segments: pages.into() })
}

/// Strings in UTF-16 that end with a zero each, until an empty one.
pub(super) fn strings(units: &[u16]) -> Vec<String> {
    let parts = units.split(|unit| *unit == 0).take_while(|part| !part.is_empty());
    parts.map(String::from_utf16_lossy).collect()
}

/// 4 bytes, the lowest first.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// 8 bytes of a number that is not negative.
pub(super) fn long(bytes: &[u8], at: usize) -> Option<u64> {
    let number = i64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?);
    u64::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
        bytes[at..at + value.len()].copy_from_slice(value);
    }

    #[test]
    fn drives_are_known_by_their_names() {
        for (name, number) in [
            (r"\\.\PhysicalDrive0", Some(0)),
            (r"\\.\PHYSICALDRIVE12", Some(12)),
            (r"\\?\physicaldrive3", Some(3)),
            ("//./PhysicalDrive7", Some(7)),
            (r"\\.\PhysicalDrive", None),
            (r"\\.\PhysicalDrive1x", None),
            (r"\\.\PhysicalDrive+1", None),
            (r"\\.\PhysicalDrive99999999999", None),
            (r"\\.\PhysicalDrive1\file", None),
            (r"\\.\D:", None),
            ("PhysicalDrive0", None),
            ("disk.img", None),
        ] {
            assert_eq!(drive_number(Path::new(name)), number, "{name}");
        }
        assert_eq!(drive_number(&drive_path(5)), Some(5));
    }

    #[test]
    fn a_descriptor_has_strings_where_it_says() {
        let mut bytes = vec![0; 40];
        for (at, place) in [(12, 40_u32), (16, 46), (20, 59), (24, 65), (28, 11)] {
            put(&mut bytes, at, &place.to_le_bytes());
        }
        bytes.extend_from_slice(b"MAKER\0A DISK 1TB  \0\x20\x20\x20\x20\0\0S123\0");
        let found = Descriptor::read(&bytes).expect("a descriptor");
        assert_eq!(found.model().as_deref(), Some("MAKER A DISK 1TB"));
        assert_eq!((found.revision.as_deref(), found.serial.as_deref(), found.bus), (None, Some("S123"), 11));
        assert_eq!(found.unique().as_deref(), Some("windows MAKER A DISK 1TB S123"));
        assert_eq!((bus_name(found.bus), found.is_nvme()), ("sata", false));
        put(&mut bytes, 28, &17_u32.to_le_bytes());
        assert_eq!(Descriptor::read(&bytes).expect("one").model().as_deref(), Some("A DISK 1TB"));
        put(&mut bytes, 24, &u32::MAX.to_le_bytes());
        let found = Descriptor::read(&bytes).expect("one");
        assert_eq!((found.serial.as_deref(), found.unique()), (None, None), "behind the end");
        assert_eq!(Descriptor::read(&bytes[..30]), None);
    }

    #[test]
    fn sectors_sizes_and_partitions() {
        let mut bytes = vec![0; 28];
        put(&mut bytes, 16, &512_u32.to_le_bytes());
        put(&mut bytes, 20, &4096_u32.to_le_bytes());
        assert_eq!(Sectors::read(&bytes), Some(Sectors { logical: 512, physical: 4096 }));
        assert_eq!(Sectors::read(&bytes[..20]), Some(Sectors { logical: 512, physical: 512 }));
        put(&mut bytes, 16, &0_u32.to_le_bytes());
        assert_eq!(Sectors::read(&bytes), None);
        let mut bytes = vec![0; 32];
        put(&mut bytes, 20, &512_u32.to_le_bytes());
        put(&mut bytes, 24, &(1_u64 << 40).to_le_bytes());
        assert_eq!(geometry(&bytes), Some((512, 1 << 40)));
        put(&mut bytes, 24, &(-1_i64).to_le_bytes());
        assert_eq!((geometry(&bytes), geometry(&bytes[..24])), (None, None));
        let mut layout = vec![0; 48 + 4 * 144];
        put(&mut layout, 4, &4_u32.to_le_bytes());
        put(&mut layout, 48 + 16, &1000_u64.to_le_bytes());
        put(&mut layout, 48 + 2 * 144 + 16, &2000_u64.to_le_bytes());
        assert_eq!(
            (partitions(&layout), partitions(&layout[..100]), partitions(&layout[..7])),
            (Some(2), Some(0), None)
        );
    }

    #[test]
    fn a_drive_says_whether_it_trims_and_how_much_it_moves() {
        let mut told = [0; 12];
        put(&mut told, 0, &12_u32.to_le_bytes());
        put(&mut told, 4, &12_u32.to_le_bytes());
        assert!(!trims(&told));
        told[8] = 1;
        assert!(trims(&told) && trims(&told[..9]));
        assert!((0..9).all(|len| !trims(&told[..len])), "cut off");
        let mut adapter = [0; 32];
        assert_eq!(transfer_limits(&adapter), None);
        put(&mut adapter, 8, &(128_u32 << 10).to_le_bytes());
        assert_eq!(transfer_limits(&adapter), None, "of no pages");
        put(&mut adapter, 12, &u32::MAX.to_le_bytes());
        let limits = TransferLimits { bytes: 128 << 10, segments: u32::MAX.into() };
        assert_eq!((transfer_limits(&adapter), transfer_limits(&adapter[..16])), (Some(limits), Some(limits)));
        assert!((0..16).all(|len| transfer_limits(&adapter[..len]).is_none()), "cut off");
    }

    #[test]
    fn a_range_is_freed_by_its_bytes() {
        let bytes = trim(1 << 40, 3 << 20).expect("it has numbers for that");
        let words: Vec<_> = (0..8).map(|at| word(&bytes, 4 * at).expect("there")).collect();
        assert_eq!(words, [28, 1, 0x8000_0000, 0, 0, 32, 16, 0]);
        assert_eq!((long(&bytes, 32), long(&bytes, 40), bytes.len()), (Some(1 << 40), Some(3 << 20), 48));
        assert!(trim(i64::MAX as u64 - 512, 512).is_some());
        for (offset, len) in [(i64::MAX as u64, 1), (u64::MAX, 0), (u64::MAX, u64::MAX), (0, 1 << 63)] {
            assert_eq!(trim(offset, len), None, "{len} bytes from {offset}");
        }
    }

    #[test]
    fn a_volume_may_be_on_several_drives() {
        let mut bytes = vec![0; 8 + 2 * 24];
        put(&mut bytes, 0, &2_u32.to_le_bytes());
        put(&mut bytes, 8, &3_u32.to_le_bytes());
        put(&mut bytes, 32, &5_u32.to_le_bytes());
        let on = |drive| is_on(&bytes, drive);
        assert_eq!((on(3), on(5), on(0), is_on(&[], 0)), (Some(true), Some(true), Some(false), None));
        let units: Vec<u16> = "C:\\\0D:\\mnt\\\0\0rest\0".encode_utf16().collect();
        assert_eq!(strings(&units), ["C:\\", "D:\\mnt\\"]);
        assert!(strings(&[0, 0]).is_empty() && strings(&[]).is_empty());
    }
}
