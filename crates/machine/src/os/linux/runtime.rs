//! A directory for what a running program tells its user's other programs.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The directory `name` of this user for files of running programs, made if it is not there: in `$XDG_RUNTIME_DIR`,
/// else in `/run` for root, else in `/tmp` with the user's number. Nobody else can enter it.
///
/// # Errors
/// It cannot be made, or what is there in its place is not ours alone.
pub fn runtime_dir(name: &str) -> io::Result<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let path = match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| Path::new(dir).is_absolute()) {
        Some(dir) => Path::new(&dir).join(name),
        None if user == 0 => Path::new("/run").join(name),
        None => Path::new("/tmp").join(format!("{name}-{user}")),
    };
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Not through a link: in /tmp it could be anybody's.
    let found = fs::symlink_metadata(&path)?;
    if !found.is_dir() || found.uid() != user || found.mode() & 0o077 != 0 {
        let why = format!("{} is not a directory that only this user can enter", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(path)
}

/// A number that the machine has drawn when it was started: what memory held before has another one.
///
/// # Errors
/// Those of reading it from `/proc` (random(4)), or it is not one.
pub fn boot_id() -> io::Result<u128> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.trim().split('-').collect();
    u128::from_str_radix(&digits, 16).map_err(|_| io::Error::other(format!("no boot ID: {text}")))
}
