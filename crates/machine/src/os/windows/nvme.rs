//! NVMe commands to a drive, `\\.\PhysicalDriveN`: those that the driver of Windows carries (`protocol.rs`), one after
//! the other. Data goes by the drive as a file.
//!
//! Written from the documentation, and not yet run on a drive.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;

use windows_sys::Win32::System::Ioctl::{
    IOCTL_STORAGE_PROTOCOL_COMMAND, IOCTL_STORAGE_QUERY_PROPERTY, IOCTL_STORAGE_SET_PROPERTY, STORAGE_PROTOCOL_COMMAND,
    STORAGE_PROTOCOL_SPECIFIC_DATA, STORAGE_PROTOCOL_SPECIFIC_DATA_EXT,
};

use super::drive::{control, is_drive, transfer_limits};
use super::protocol::{self, Call};
use super::storage::word;
use super::unsupported;
use crate::passthru::{Bytes, Command, Control, Fault, Node, NvmeQueue, TransferLimits};

const _: () = assert!(protocol::SPECIFIC_BYTES == size_of::<STORAGE_PROTOCOL_SPECIFIC_DATA>());
const _: () = assert!(protocol::SPECIFIC_EXT_BYTES == size_of::<STORAGE_PROTOCOL_SPECIFIC_DATA_EXT>());
const _: () = assert!(protocol::PASS_BYTES == std::mem::offset_of!(STORAGE_PROTOCOL_COMMAND, Command));

/// `IOCTL_SCSI_GET_ADDRESS`.
const SCSI_ADDRESS: u32 = 0x4_1018;

/// Opens a drive for commands: with the right to write, which changes ask for, or else, as anybody may, for questions.
pub(crate) fn nvme_open(path: &Path, read_only: bool) -> io::Result<File> {
    match OpenOptions::new().read(true).write(!read_only).open(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => OpenOptions::new().access_mode(0).open(path),
        opened => opened,
    }
}

/// Carries out a command and waits for its end.
pub(crate) fn nvme_command(
    file: &File,
    queue: NvmeQueue,
    command: &Command,
    mut data: Bytes<'_>,
    metadata: Bytes<'_>,
) -> Result<u64, Fault> {
    let wrong = |why: &str| Fault::Host(io::Error::new(ErrorKind::InvalidInput, why));
    let fills = command.fills_data();
    let len = match &data {
        Bytes::None => 0,
        Bytes::Mutable(bytes) => bytes.len(),
        Bytes::Fixed(_) if fills => return Err(wrong("by its opcode, the device fills the bytes of this command")),
        Bytes::Fixed(bytes) => bytes.len(),
        Bytes::Pieces(_) => return Err(wrong("only the data of an I/O command may be in pieces")),
    };
    if !matches!(metadata, Bytes::None) {
        return Err(wrong("an admin command has no metadata"));
    }
    let given: &[u8] = match &data {
        Bytes::Mutable(bytes) if !fills => bytes,
        Bytes::Fixed(bytes) => bytes,
        _ => &[],
    };
    let packed = protocol::pack(queue, command, len, given)
        .map_err(|why| Fault::Host(io::Error::new(ErrorKind::Unsupported, why)))?;
    let request = match packed.call {
        Call::Query => IOCTL_STORAGE_QUERY_PROPERTY,
        Call::Set => IOCTL_STORAGE_SET_PROPERTY,
        Call::Pass => IOCTL_STORAGE_PROTOCOL_COMMAND,
    };
    let mut answer = packed.bytes.clone();
    control(file, request, &packed.bytes, &mut answer)?;
    let filled = match &mut data {
        Bytes::Mutable(bytes) if fills => &mut **bytes,
        _ => &mut [],
    };
    protocol::unpack(packed.call, &answer, filled)
}

/// The namespace of a drive. The driver shows it as the logical unit of the number below its own.
pub(crate) fn nvme_nsid(file: &File) -> io::Result<u32> {
    // SCSI_ADDRESS: its length, and a byte each for port, path, target and logical unit.
    let mut address = [0; 8];
    let len = control(file, SCSI_ADDRESS, &[], &mut address)?;
    let known = word(&address[..len], 4).ok_or(ErrorKind::InvalidData)?;
    Ok((known >> 24) + 1)
}

/// What no request of Windows does.
pub(crate) fn nvme_control(_file: &File, _control: Control) -> io::Result<()> {
    unsupported("resetting a controller, and having it looked at again,")
}

/// By its name.
pub(crate) fn nvme_node(path: &Path) -> Option<Node> {
    is_drive(path).then_some(Node::Drive)
}

/// Nothing has any here.
pub(crate) fn nvme_has_poll_queues(_path: &Path) -> bool {
    false
}

/// Those of the adapter. Anybody may ask for them.
pub(crate) fn nvme_transfer_limits(path: &Path) -> Option<TransferLimits> {
    if !is_drive(path) {
        return None;
    }
    transfer_limits(&OpenOptions::new().access_mode(0).open(path).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_carried_is_refused_before_anything_is_asked() {
        let file = tempfile::tempfile().expect("a file");
        let ask = |queue, opcode, bytes: Bytes<'_>| {
            let command = Command { opcode, ..Command::default() };
            match nvme_command(&file, queue, &command, bytes, Bytes::None) {
                Err(Fault::Host(error)) => error,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(ask(NvmeQueue::Io, 2, Bytes::None).kind(), ErrorKind::Unsupported);
        assert_eq!(ask(NvmeQueue::Admin, 0x0d, Bytes::None).kind(), ErrorKind::Unsupported);
        assert_eq!(ask(NvmeQueue::Admin, 6, Bytes::Fixed(&[0; 8])).kind(), ErrorKind::InvalidInput);
        // A file is no drive, and the system says so.
        let mut page = [0; 4096];
        assert!(ask(NvmeQueue::Admin, 6, Bytes::Mutable(&mut page)).raw_os_error().is_some());
        assert!(nvme_nsid(&file).is_err());
    }

    #[test]
    fn drives_are_nodes_and_files_are_none() {
        assert_eq!(nvme_node(Path::new(r"\\.\PhysicalDrive3")), Some(Node::Drive));
        assert_eq!(nvme_node(Path::new(r"D:\disk.img")), None);
        let exe = std::env::current_exe().expect("this one");
        assert_eq!(nvme_transfer_limits(&exe), None);
    }
}
