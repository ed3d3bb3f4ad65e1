//! Drives as systems without sysfs have them: here they are block devices, of which sysfs tells more. Opening one
//! claims it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::os::{Drive, NoClaim};

/// What keeps others off a drive while it is open: nothing but that it is open.
pub struct Claim(());

/// Nothing has such a name here.
#[must_use]
pub fn is_drive(_path: &Path) -> bool {
    false
}

/// Nothing has such a name here.
#[must_use]
pub fn drive_name(_path: &Path) -> Option<PathBuf> {
    None
}

/// `None`: sysfs tells of them.
#[must_use]
pub fn drives() -> Option<Vec<Drive>> {
    None
}

/// `None`: sysfs tells it.
#[must_use]
pub fn drive_serial(_file: &File) -> Option<String> {
    None
}

/// None have one of those names.
///
/// # Errors
/// None.
pub fn drive_volumes(_path: &Path) -> io::Result<Vec<String>> {
    Ok(Vec::new())
}

/// Opening has done it.
///
/// # Errors
/// None.
pub fn claim_drive(_file: &File, _read_only: bool, _force: bool) -> Result<Claim, NoClaim> {
    Ok(Claim(()))
}
