//! NVMe commands to a drive.

use std::fs::File;
use std::io;
use std::path::Path;

use super::unsupported;

const NO_PASSTHROUGH: &str = "passing NVMe commands through";

/// Not here.
pub(crate) fn nvme_command(
    _file: &File,
    _queue: crate::passthru::NvmeQueue,
    _command: &crate::passthru::Command,
    _data: crate::passthru::Bytes<'_>,
    _metadata: crate::passthru::Bytes<'_>,
) -> Result<u64, crate::passthru::Fault> {
    unsupported(NO_PASSTHROUGH).map_err(crate::passthru::Fault::Host)
}

/// Not here.
pub(crate) fn nvme_nsid(_file: &File) -> io::Result<u32> {
    unsupported(NO_PASSTHROUGH)
}

/// Not here.
pub(crate) fn nvme_control(_file: &File, _control: crate::passthru::Control) -> io::Result<()> {
    unsupported(NO_PASSTHROUGH)
}

/// Nothing is one here.
pub(crate) fn nvme_node(_path: &Path) -> Option<crate::passthru::Node> {
    None
}

/// Nothing has any here.
pub(crate) fn nvme_has_poll_queues(_path: &Path) -> bool {
    false
}

/// Nothing has any here.
pub(crate) fn nvme_transfer_limits(_path: &Path) -> Option<crate::passthru::TransferLimits> {
    None
}
