//! Zoned disks: there are none.

use std::fs::File;
use std::io;

use super::unsupported;

/// Nothing is one here.
pub(crate) fn zoned_disk(_file: &File) -> io::Result<Option<crate::zoned::Disk>> {
    Ok(None)
}

/// Not supported yet.
pub(crate) fn zone_report(_file: &File, _sector: u64, _most: u32) -> io::Result<Vec<crate::zoned::Zone>> {
    unsupported("zoned block devices: the report of zones")
}

/// Not supported yet.
pub(crate) fn zone_action(_file: &File, _action: crate::zoned::Action, _sector: u64, _sectors: u64) -> io::Result<()> {
    unsupported("zoned block devices: the management of zones")
}
