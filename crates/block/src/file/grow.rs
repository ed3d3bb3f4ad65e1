//! Looking at a file that is served once more: did it grow, or is it to grow?

use std::path::Path;

use machine::os;

use super::FileDevice;
use super::open::{bad_size, cannot_ask, fail};
use crate::OpenError;
use crate::admit::check_size;
use crate::size::format_size;

/// The size in blocks that the medium has now, after it was made `want` bytes long if it is a shorter regular file.
///
/// # Errors
/// It cannot be asked or made longer, it has another size than the wanted one, or it got shorter.
pub(super) fn look_again(device: &FileDevice, want: Option<u64>) -> Result<u64, OpenError> {
    let path = Path::new(&device.info.name);
    let (block_bytes, is_block) = (device.info.block_bytes, device.info.kind == "block");
    let found = if is_block {
        os::block_device_bytes(&device.base)
    } else {
        device.base.metadata().map(|metadata| metadata.len())
    };
    let mut bytes = found.map_err(|error| cannot_ask(path, error))?;
    let served = device.size.blocks() * u64::from(block_bytes);
    if bytes < served {
        let why = format!("it has {} now, and {} are served", format_size(bytes), format_size(served));
        let hint = "A device never shrinks while it is served: give it its size back, or stop serving it.";
        return Err(fail(path, why, hint.to_owned(), None));
    }
    if let Some(want) = want.filter(|want| *want != bytes) {
        let why = |because: &str| format!("it has {}, not {}{because}", format_size(bytes), format_size(want));
        if want < bytes {
            let hint = "Leave the size out to serve all of it; it is not cut off.";
            return Err(fail(path, why(""), hint.to_owned(), None));
        }
        if is_block || device.info.features.read_only {
            let because = if is_block { ", and is a block device" } else { ", and is served read-only" };
            let hint = "Make it larger with the tools it was made with, and try again.";
            return Err(fail(path, why(because), hint.to_owned(), None));
        }
        check_size(want, block_bytes).map_err(|why| {
            fail(path, format!("a size of {want} bytes {why}"), "Choose another size.".to_owned(), None)
        })?;
        // Durable before anybody writes there.
        device.base.set_len(want).and_then(|()| device.base.sync_all()).map_err(|error| {
            let why = format!("it cannot be made {} long: {error}", format_size(want));
            let hint = "Choose a smaller size, or make room on its file system.";
            fail(path, why, hint.to_owned(), Some(error))
        })?;
        bytes = want;
    }
    check_size(bytes, block_bytes).map_err(|why| bad_size(path, bytes, block_bytes, is_block, &why))
}
