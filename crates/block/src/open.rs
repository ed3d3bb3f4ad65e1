//! From any name that a person writes to a device: one way for programs that use the library and for the tool.
//!
//! | name | device |
//! |---|---|
//! | `disk.img`, `/dev/nvme0n1`, `ram:1GiB`, `null:1TiB`, `fault:...`, with options | see [`crate::spec`] |
//! | `nvme-tcp://HOST:PORT/NQN?ns=1` | a namespace on a target: see [`Uri`] |
//!
//! What the name says itself holds; [`OpenOptions`] says what holds where the name is silent.

use std::sync::Arc;

use crate::nvme::tcp::limits::MAX_DEPTH;
use crate::nvme::tcp::{SCHEME, TcpDevice, Uri, UriError};
use crate::path::Path;
use crate::spec::{Defaults, Spec, is_address};
use crate::{Device, OpenError};

/// What the opener of a device wants where its name does not say otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// Size in bytes of a file that is not there yet. Without it no file is created.
    pub size: Option<u64>,
    /// Bytes of a logical block of files and memory. A namespace on a target has its own.
    pub block_bytes: Option<u32>,
    /// Refuse every request that changes the device. A file is then open for several readers.
    pub read_only: bool,
    /// Open a block device for writing also if it is mounted or somebody has claimed it. Dangerous.
    pub in_use: bool,
    /// Requests that the opener wants in flight on one queue. A remote device makes its queues so deep, as far as both
    /// sides can; the others are as deep as they are.
    pub depth: Option<usize>,
    /// The way to it. A device that this way does not lead to is an error.
    pub path: Option<Path>,
    /// Open a controller of the kernel's driver (`/dev/nvmeX`) as well: its queues take admin commands by
    /// [`crate::Queue::command`], and it has no blocks. Without this, a controller is an error. A drive of Windows
    /// (`\\.\PhysicalDriveN`) is opened so with it, and as a file without.
    pub controllers: bool,
}

/// Opens the device that `name` means. May block: for control threads.
///
/// # Errors
/// What went wrong, and what the user can do about it.
pub fn open(name: &str, options: &OpenOptions) -> Result<Arc<dyn Device>, OpenError> {
    let OpenOptions { size, block_bytes, read_only, in_use, depth, path, controllers } = *options;
    if name.starts_with(SCHEME) {
        if let Some(path) = path {
            let hint = "Leave the path out: an address is its own.";
            return Err(path.refuse(name, "a file or a drive of this machine", hint));
        }
        return connect(name, read_only, depth);
    }
    if is_address(name) {
        return Err(OpenError {
            device: name.to_owned(),
            why: "there is no such kind of address".to_owned(),
            hint: format!("Write {SCHEME}HOST:PORT/NQN?ns=1, or for a file of this name file: before it."),
            source: None,
        });
    }
    name.parse::<Spec>()?.open(&Defaults { size, block_bytes, read_only, in_use, path, controllers })
}

/// Connects to a namespace on a target.
fn connect(name: &str, read_only: bool, depth: Option<usize>) -> Result<Arc<dyn Device>, OpenError> {
    let wrong = |UriError { why, hint }| OpenError { device: name.to_owned(), why, hint, source: None };
    let mut uri: Uri = name.parse().map_err(wrong)?;
    let says_depth = name.contains("?depth=") || name.contains("&depth=");
    if let (Some(depth), false) = (depth, says_depth) {
        uri.depth = u16::try_from(depth).map_or(MAX_DEPTH, |depth| depth.clamp(1, MAX_DEPTH));
    }
    let device = TcpDevice::connect(uri)?;
    Ok(Arc::new(if read_only { device.read_only() } else { device }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str) -> String {
        open(name, &OpenOptions::default()).err().unwrap_or_else(|| panic!("{name} opens")).to_string()
    }

    #[test]
    fn names_of_all_kinds() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("disk.img");
        let path = path.to_str().expect("plain letters");
        let options = OpenOptions { size: Some(1 << 20), block_bytes: Some(4096), ..OpenOptions::default() };
        for (name, kind) in [(path, "file"), ("ram:1MiB", "ram"), ("null:1MiB", "null"), ("fault:ram:1MiB", "fault")] {
            let device = open(name, &options).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((device.info().kind, device.info().bytes()), (kind, 1 << 20), "{name}");
            assert_eq!(device.info().block_bytes, 4096);
        }
        let name = format!("{path},bs=512");
        let frozen = open(&name, &OpenOptions { read_only: true, ..options }).unwrap_or_else(|error| panic!("{error}"));
        let info = frozen.info();
        assert_eq!((info.block_bytes, info.features.read_only), (512, true), "what the name says holds");
    }

    #[test]
    fn errors_say_what_to_do() {
        assert!(error("rma:1GiB").contains("Did you mean ram:1GiB?"));
        assert!(error("nvme-tcp://").contains("nvme-tcp://"));
        let way = OpenOptions { path: Some(Path::Uring), ..OpenOptions::default() };
        let refused = open("nvme-tcp://127.0.0.1/x?ns=1", &way).err().expect("an address").to_string();
        assert!(refused.contains("the path uring does not lead there"), "{refused}");
        assert!(error("nvme-rdma://127.0.0.1/x").contains("nvme-tcp://HOST"));
        assert!(error("/does/not/exist").contains("there is no such file"));
        assert!(error("nvme-tcp://127.0.0.1:4420/nqn.2026-01.io.qpair:x?dept=1").contains("depth"));
    }
}
