//! NVMe commands to a drive, `\\.\PhysicalDriveN`: those that the driver of Windows carries, one after the other.
//!
//! ```text
//!   admin, vendor specific I/O   protocol.rs   its own request, with the data in it
//!   other I/O                    scsi.rs       SCSI, which the driver makes NVMe of again; from and to the buffer
//! ```
//!
//! The buffer of SCSI has to lie as the adapter wants it. Whole pages are right for all of them, and other buffers, or
//! several, are copied through one of those.
//!
//! Written from the documentation, and not yet run on a drive.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::mem::offset_of;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::ptr;

use windows_sys::Win32::Storage::IscsiDisc::{
    IOCTL_SCSI_GET_ADDRESS, IOCTL_SCSI_PASS_THROUGH_DIRECT, SCSI_PASS_THROUGH_DIRECT,
};
use windows_sys::Win32::System::IO::DeviceIoControl;
use windows_sys::Win32::System::Ioctl::{
    IOCTL_STORAGE_PROTOCOL_COMMAND, IOCTL_STORAGE_QUERY_PROPERTY, IOCTL_STORAGE_SET_PROPERTY, STORAGE_PROTOCOL_COMMAND,
    STORAGE_PROTOCOL_SPECIFIC_DATA, STORAGE_PROTOCOL_SPECIFIC_DATA_EXT,
};

use super::drive::{control, is_drive, sectors, transfer_limits};
use super::protocol::{self, Call};
use super::scsi::{self, Load, Scsi};
use super::storage::word;
use super::{done, unsupported};
use crate::limits::BUFFER_ALIGN;
use crate::passthru::{Bytes, Command, Control, Fault, Node, NvmeQueue, TransferLimits};
use crate::region::{Buf, Pool};

const _: () = assert!(protocol::SPECIFIC_BYTES == size_of::<STORAGE_PROTOCOL_SPECIFIC_DATA>());
const _: () = assert!(protocol::SPECIFIC_EXT_BYTES == size_of::<STORAGE_PROTOCOL_SPECIFIC_DATA_EXT>());
const _: () = assert!(protocol::PASS_BYTES == offset_of!(STORAGE_PROTOCOL_COMMAND, Command));

const _: () = assert!(scsi::FIXED_BYTES == size_of::<SCSI_PASS_THROUGH_DIRECT>());
const _: () = assert!(scsi::CDB_BYTES_AT == offset_of!(SCSI_PASS_THROUGH_DIRECT, CdbLength));
const _: () = assert!(scsi::BYTES_AT == offset_of!(SCSI_PASS_THROUGH_DIRECT, DataTransferLength));
const _: () = assert!(scsi::SECONDS_AT == offset_of!(SCSI_PASS_THROUGH_DIRECT, TimeOutValue));
const _: () = assert!(scsi::ADDRESS_AT == offset_of!(SCSI_PASS_THROUGH_DIRECT, DataBuffer));
const _: () = assert!(scsi::SENSE_AT == offset_of!(SCSI_PASS_THROUGH_DIRECT, SenseInfoOffset));
const _: () = assert!(scsi::CDB_AT == offset_of!(SCSI_PASS_THROUGH_DIRECT, Cdb));

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
    let fills = command.fills_data();
    match (&data, queue) {
        (Bytes::Fixed(_), _) if fills => {
            return Err(wrong("by its opcode, the device fills the bytes of this command"));
        }
        (Bytes::Pieces(_), NvmeQueue::Admin) => return Err(wrong("only the data of an I/O command may be in pieces")),
        _ => {}
    }
    if !matches!(metadata, Bytes::None) {
        return Err(not_carried("Windows carries no metadata apart from the data"));
    }
    if queue == NvmeQueue::Io && command.opcode < protocol::VENDOR_IO {
        return scsi_command(file, command, data).map(|()| 0);
    }
    let given = if fills { Vec::new() } else { gathered(&data) };
    let packed = protocol::pack(queue, command, bytes_of(&data), &given).map_err(not_carried)?;
    let request = match packed.call {
        Call::Query => IOCTL_STORAGE_QUERY_PROPERTY,
        Call::Set => IOCTL_STORAGE_SET_PROPERTY,
        Call::Pass => IOCTL_STORAGE_PROTOCOL_COMMAND,
    };
    let mut answer = packed.bytes.clone();
    control(file, request, &packed.bytes, &mut answer)?;
    let mut told = vec![0; if fills { bytes_of(&data) } else { 0 }];
    let result = protocol::unpack(packed.call, &answer, &mut told)?;
    scatter(&told, &mut data);
    Ok(result)
}

/// Carries out an I/O command as the SCSI command that means the same.
fn scsi_command(file: &File, command: &Command, mut data: Bytes<'_>) -> Result<(), Fault> {
    let scsi = scsi::pack(command).map_err(not_carried)?;
    // SCSI names no namespace: the drive is one.
    if nvme_nsid(file)? != command.nsid {
        return Err(wrong("an I/O command to a drive is for its own namespace"));
    }
    let bytes =
        scsi.load.bytes(block_bytes(file)?).map(|bytes| bytes as usize).filter(|bytes| *bytes <= bytes_of(&data));
    let bytes = bytes.ok_or_else(|| wrong("the command is about more bytes than its buffer has"))?;
    let list = match scsi.load {
        Load::Ranges(_) => Some(scsi::unmap_list(&gathered(&data)[..bytes]).map_err(not_carried)?),
        _ => None,
    };
    match (&mut data, list) {
        _ if bytes == 0 => send(file, &scsi, &mut []),
        (_, Some(list)) => {
            let mut page = page(list.len())?;
            page.copy_from_slice(&list);
            send(file, &scsi, &mut page)
        }
        (Bytes::Mutable(piece), None) if piece.as_ptr().addr().is_multiple_of(BUFFER_ALIGN) => {
            send(file, &scsi, &mut piece[..bytes])
        }
        _ => {
            let mut page = page(bytes)?;
            if !command.fills_data() {
                page.copy_from_slice(&gathered(&data)[..bytes]);
            }
            send(file, &scsi, &mut page)?;
            if command.fills_data() {
                scatter(&page, &mut data);
            }
            Ok(())
        }
    }
}

/// Frees a range of a drive, which is whole blocks.
pub(super) fn unmap(file: &File, offset: u64, len: u64) -> Result<(), Fault> {
    let block = block_bytes(file)?;
    let asked = scsi::deallocate(nvme_nsid(file)?, offset, len, block);
    let (command, ranges) = asked.ok_or_else(|| wrong("the range is no whole blocks, or too many"))?;
    scsi_command(file, &command, Bytes::Fixed(&ranges))
}

/// The size of a drive's blocks.
fn block_bytes(file: &File) -> Result<u32, Fault> {
    let sectors = sectors(file).ok_or_else(|| wrong("the drive does not tell the size of its blocks"))?;
    Ok(sectors.logical)
}

/// Sends a SCSI command with these bytes, which are those that it is about, and waits for its end.
fn send(file: &File, scsi: &Scsi, data: &mut [u8]) -> Result<(), Fault> {
    let address = if data.is_empty() { 0 } else { data.as_mut_ptr().expose_provenance() as u64 };
    let bytes = u32::try_from(data.len()).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
    let request = scsi.request(address, bytes);
    let (mut answer, mut came) = (request, 0);
    let (start, len) = (answer.as_mut_ptr().cast(), answer.len() as u32);
    // SAFETY: the handle is open and one for calls that wait; request and answer are as long as is said. What the
    // request has the address of is borrowed for writing until the call is over, and as long as the request says; by
    // its blocks, of the size that the drive tells, the command moves no more.
    done(unsafe {
        let request = request.as_ptr().cast();
        DeviceIoControl(
            file.as_raw_handle(),
            IOCTL_SCSI_PASS_THROUGH_DIRECT,
            request,
            len,
            start,
            len,
            &raw mut came,
            ptr::null_mut(),
        )
    })?;
    scsi.unpack(&answer[..(came as usize).min(answer.len())], bytes)
}

/// Memory that every adapter takes.
fn page(bytes: usize) -> io::Result<Buf> {
    Pool::anonymous(bytes, 1)?.take().ok_or_else(|| ErrorKind::OutOfMemory.into())
}

fn wrong(why: &str) -> Fault {
    Fault::Host(io::Error::new(ErrorKind::InvalidInput, why))
}

fn not_carried(why: &str) -> Fault {
    Fault::Host(io::Error::new(ErrorKind::Unsupported, why))
}

fn bytes_of(data: &Bytes<'_>) -> usize {
    match data {
        Bytes::None => 0,
        Bytes::Mutable(bytes) => bytes.len(),
        Bytes::Fixed(bytes) => bytes.len(),
        Bytes::Pieces(pieces) => pieces.iter().map(|piece| piece.len()).sum(),
    }
}

/// All of it, one after the other.
fn gathered(data: &Bytes<'_>) -> Vec<u8> {
    match data {
        Bytes::None => Vec::new(),
        Bytes::Mutable(bytes) => bytes.to_vec(),
        Bytes::Fixed(bytes) => bytes.to_vec(),
        Bytes::Pieces(pieces) => pieces.iter().flat_map(|piece| piece.iter().copied()).collect(),
    }
}

/// Puts bytes where the asker wants them, of which there may be fewer than there is room for.
fn scatter(mut bytes: &[u8], data: &mut Bytes<'_>) {
    match data {
        Bytes::None | Bytes::Fixed(_) => {}
        Bytes::Mutable(place) => place[..bytes.len()].copy_from_slice(bytes),
        Bytes::Pieces(pieces) => {
            for place in pieces.iter_mut() {
                let (now, later) = bytes.split_at(bytes.len().min(place.len()));
                place[..now.len()].copy_from_slice(now);
                bytes = later;
            }
        }
    }
}

/// The namespace of a drive. The driver shows it as the logical unit of the number below its own.
pub(crate) fn nvme_nsid(file: &File) -> io::Result<u32> {
    // SCSI_ADDRESS: its length, and a byte each for port, path, target and logical unit.
    let mut address = [0; 8];
    let len = control(file, IOCTL_SCSI_GET_ADDRESS, &[], &mut address)?;
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
    use std::io::IoSliceMut;

    use super::*;

    #[test]
    fn what_is_not_carried_is_refused_before_anything_is_asked() {
        let file = tempfile::tempfile().expect("a file");
        let ask_with = |queue, opcode, bytes: Bytes<'_>, metadata: Bytes<'_>| {
            let command = Command { opcode, ..Command::default() };
            match nvme_command(&file, queue, &command, bytes, metadata) {
                Err(Fault::Host(error)) => error,
                other => panic!("{other:?}"),
            }
        };
        let ask = |queue, opcode, bytes: Bytes<'_>| ask_with(queue, opcode, bytes, Bytes::None);
        assert_eq!(ask(NvmeQueue::Io, 8, Bytes::None).kind(), ErrorKind::Unsupported);
        assert_eq!(ask(NvmeQueue::Io, 9, Bytes::None).kind(), ErrorKind::Unsupported);
        assert_eq!(ask(NvmeQueue::Admin, 0x0d, Bytes::None).kind(), ErrorKind::Unsupported);
        assert_eq!(ask(NvmeQueue::Admin, 6, Bytes::Fixed(&[0; 8])).kind(), ErrorKind::InvalidInput);
        assert_eq!(ask(NvmeQueue::Io, 2, Bytes::Fixed(&[0; 512])).kind(), ErrorKind::InvalidInput);
        assert_eq!(ask(NvmeQueue::Admin, 6, Bytes::Pieces(&mut [])).kind(), ErrorKind::InvalidInput);
        let beside = ask_with(NvmeQueue::Io, 2, Bytes::Mutable(&mut [0; 512]), Bytes::Mutable(&mut [0; 8]));
        assert_eq!(beside.kind(), ErrorKind::Unsupported);
        // A file is no drive, and the system says so.
        let mut page = [0; 4096];
        assert!(ask(NvmeQueue::Admin, 6, Bytes::Mutable(&mut page)).raw_os_error().is_some());
        for (opcode, bytes) in [(0, Bytes::None), (1, Bytes::Fixed(&[0; 512])), (2, Bytes::Mutable(&mut page))] {
            assert!(ask(NvmeQueue::Io, opcode, bytes).raw_os_error().is_some(), "{opcode:02x}h");
        }
        assert!(ask(NvmeQueue::Io, 0xc1, Bytes::Fixed(&[0; 512])).raw_os_error().is_some());
        let flush = scsi::pack(&Command::default()).expect("it is carried");
        assert!(matches!(send(&file, &flush, &mut []), Err(Fault::Host(error)) if error.raw_os_error().is_some()));
        assert!(nvme_nsid(&file).is_err() && unmap(&file, 0, 512).is_err());
    }

    #[test]
    fn data_in_pieces_is_one_piece_on_its_way() {
        let (mut first, mut second) = ([1; 3], [2; 4]);
        let mut pieces = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        let mut data = Bytes::Pieces(&mut pieces);
        assert_eq!((bytes_of(&data), gathered(&data)), (7, vec![1, 1, 1, 2, 2, 2, 2]));
        scatter(&[5, 6, 7, 8, 9], &mut data);
        assert_eq!(gathered(&data), [5, 6, 7, 8, 9, 2, 2]);
        let mut whole = [3; 4];
        let mut data = Bytes::Mutable(&mut whole);
        scatter(&[4; 2], &mut data);
        assert_eq!((bytes_of(&data), gathered(&data)), (4, vec![4, 4, 3, 3]));
        assert_eq!((bytes_of(&Bytes::None), gathered(&Bytes::Fixed(&[7; 2]))), (0, vec![7, 7]));
        assert!(page(5000).expect("memory").as_ptr().addr().is_multiple_of(BUFFER_ALIGN));
    }

    #[test]
    fn drives_are_nodes_and_files_are_none() {
        assert_eq!(nvme_node(Path::new(r"\\.\PhysicalDrive3")), Some(Node::Drive));
        assert_eq!(nvme_node(Path::new(r"D:\disk.img")), None);
        let exe = std::env::current_exe().expect("this one");
        assert_eq!(nvme_transfer_limits(&exe), None);
    }
}
