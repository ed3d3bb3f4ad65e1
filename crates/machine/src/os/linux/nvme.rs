//! The kernel's NVMe passthrough: its structures, its calls, its devices (`linux/nvme_ioctl.h`).
//!
//! ```text
//!    0        1       2       4      8      12     16         24     32             36
//!   | opcode | flags | rsvd1 | nsid | cdw2 | cdw3 | metadata | addr | metadata_len | data_len |
//!    40             64           68      72       80
//!   | cdw10 .. 15  | timeout_ms | rsvd2 | result |      nvme_passthru_cmd64, 80 bytes
//!   | the same up to here ............. |               nvme_uring_cmd, 72 bytes; then 8 bytes that stay 0
//! ```

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};

use super::open_data;
use crate::os::OpenMode;
use crate::passthru::{Bytes, Command, Control, Fault, Node, NvmeQueue, TransferLimits};

/// A command as both ways into the kernel take it: see the picture above.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct RawCommand {
    opcode: u8,
    flags: u8,
    rsvd1: u16,
    nsid: u32,
    cdw2: u32,
    cdw3: u32,
    metadata: u64,
    addr: u64,
    metadata_len: u32,
    data_len: u32,
    cdw10: [u32; 6],
    timeout_ms: u32,
    rsvd2: u32,
    result: u64,
}

/// Bytes of [`RawCommand`], which are those that an entry of a ring has for its command.
pub(crate) const RAW_BYTES: usize = 80;
/// Bytes of `struct nvme_uring_cmd`.
const URING_BYTES: usize = 72;

const _: () = assert!(size_of::<RawCommand>() == RAW_BYTES && align_of::<RawCommand>() == 8);

impl RawCommand {
    /// The command with bytes by address and length. Only numbers: nothing is looked at.
    pub(crate) fn new(command: &Command, data: (u64, u32), metadata: (u64, u32)) -> Self {
        let Command { opcode, nsid, cdw2, cdw3, cdw10, timeout_ms } = *command;
        let ((addr, data_len), (metadata, metadata_len)) = (data, metadata);
        Self { opcode, nsid, cdw2, cdw3, metadata, addr, metadata_len, data_len, cdw10, timeout_ms, ..Self::default() }
    }

    /// As an entry of a ring carries it.
    pub(crate) fn bytes(&self) -> [u8; RAW_BYTES] {
        // SAFETY: 80 bytes of integers without padding between them (asserted above), and any bytes are a `[u8; 80]`.
        unsafe { std::mem::transmute(*self) }
    }
}

/// Read and write, as `_IOWR` of the kernel has it: 2 bits of direction, 14 of size, 8 of type, 8 of number.
const fn iowr(number: u32, bytes: usize) -> u32 {
    3 << 30 | (bytes as u32) << 16 | plain(number)
}

/// Without a structure: `_IO`.
const fn plain(number: u32) -> u32 {
    (b'N' as u32) << 8 | number
}

const ID: u32 = plain(0x40);
const RESET: u32 = plain(0x44);
const SUBSYS_RESET: u32 = plain(0x45);
const RESCAN: u32 = plain(0x46);
const ADMIN64: u32 = iowr(0x47, RAW_BYTES);
const IO64: u32 = iowr(0x48, RAW_BYTES);
const IO64_VEC: u32 = iowr(0x49, RAW_BYTES);
const URING_IO: u32 = iowr(0x80, URING_BYTES);
const URING_IO_VEC: u32 = iowr(0x81, URING_BYTES);
const URING_ADMIN: u32 = iowr(0x82, URING_BYTES);
const URING_ADMIN_VEC: u32 = iowr(0x83, URING_BYTES);

/// The operation of an entry of a ring: `NVME_URING_CMD_ADMIN`, `NVME_URING_CMD_IO`. With a `list`, the same `_VEC`:
/// `addr` is that of a list of `struct iovec`, and `data_len` how many there are.
pub(crate) const fn nvme_entry(queue: NvmeQueue, list: bool) -> u32 {
    match (queue, list) {
        (NvmeQueue::Admin, false) => URING_ADMIN,
        (NvmeQueue::Admin, true) => URING_ADMIN_VEC,
        (NvmeQueue::Io, false) => URING_IO,
        (NvmeQueue::Io, true) => URING_IO_VEC,
    }
}

/// Carries out a command and waits for its end: `NVME_IOCTL_ADMIN64_CMD`, `NVME_IOCTL_IO64_CMD`, and
/// `NVME_IOCTL_IO64_CMD_VEC`, of which `addr` and `data_len` are as with [`nvme_entry`].
pub(crate) fn nvme_command(
    file: &File,
    queue: NvmeQueue,
    command: &Command,
    mut data: Bytes<'_>,
    mut metadata: Bytes<'_>,
) -> Result<u64, Fault> {
    let fixed = matches!(data, Bytes::Fixed(_)) || matches!(metadata, Bytes::Fixed(_));
    if fixed && command.fills_data() {
        let why = "by its opcode, the device fills the bytes of this command, and they must not change";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why).into());
    }
    let request = match (queue, &data, &metadata) {
        (NvmeQueue::Io, Bytes::Pieces(_), Bytes::None | Bytes::Mutable(_) | Bytes::Fixed(_)) => IO64_VEC,
        (_, Bytes::Pieces(_), _) | (_, _, Bytes::Pieces(_)) => {
            let why = "only the data of an I/O command may be in pieces";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why).into());
        }
        (NvmeQueue::Admin, ..) => ADMIN64,
        (NvmeQueue::Io, ..) => IO64,
    };
    let mut raw = RawCommand::new(command, address(&mut data)?, address(&mut metadata)?);
    // SAFETY: all these requests take this structure. The bytes that it points to are borrowed until the call is over,
    // and the kernel maps no others; it writes to them only if the opcode says so, and then they are not shared.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), request as _, &raw mut raw) };
    match answer {
        0 => Ok(raw.result),
        status if status > 0 => Err(Fault::Status { status: status as u16, result: raw.result }),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// Where the bytes are, and how many; of pieces where their list is, and how many there are.
fn address(bytes: &mut Bytes<'_>) -> Result<(u64, u32), io::Error> {
    let (start, len) = match bytes {
        Bytes::None => return Ok((0, 0)),
        Bytes::Mutable(bytes) => (bytes.as_mut_ptr().cast_const(), bytes.len()),
        Bytes::Fixed(bytes) => (bytes.as_ptr(), bytes.len()),
        // The standard library promises that these are `struct iovec`.
        Bytes::Pieces(pieces) => (pieces.as_mut_ptr().cast_const().cast(), pieces.len()),
    };
    let len = u32::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok((start.expose_provenance() as u64, len))
}

/// Opens a device of the driver.
pub(crate) fn nvme_open(path: &Path, read_only: bool) -> io::Result<File> {
    open_data(path, OpenMode { read_only, ..OpenMode::default() })
}

/// The namespace of a device.
pub(crate) fn nvme_nsid(file: &File) -> io::Result<u32> {
    let nsid = call(file, ID)?;
    Ok(nsid as u32)
}

/// Reset, rescan.
pub(crate) fn nvme_control(file: &File, control: Control) -> io::Result<()> {
    let request = match control {
        Control::Reset => RESET,
        Control::ResetSubsystem => SUBSYS_RESET,
        Control::Rescan => RESCAN,
    };
    call(file, request).map(drop)
}

/// A request without a structure.
fn call(file: &File, request: u32) -> io::Result<i32> {
    // SAFETY: these requests take no argument and touch no memory of ours.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), request as _) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// By the class of the device, whatever its name: `nvme` or `nvme-generic`.
pub(crate) fn nvme_node(path: &Path) -> Option<Node> {
    let class = fs::read_link(sysfs(path)?.join("subsystem")).ok()?;
    match class.file_name()?.to_str()? {
        "nvme" => Some(Node::Controller),
        "nvme-generic" => Some(Node::Namespace),
        _ => None,
    }
}

/// What the kernel tells of a character device.
fn sysfs(path: &Path) -> Option<PathBuf> {
    let found = fs::metadata(path).ok()?;
    let device = found.rdev();
    let is_char = found.file_type().is_char_device();
    is_char.then(|| PathBuf::from(format!("/sys/dev/char/{}:{}", major(device), minor(device))))
}

/// What one command may move.
pub(crate) fn nvme_transfer_limits(path: &Path) -> Option<TransferLimits> {
    let bytes = queue_limit(path, "max_hw_sectors_kb")? * 1024;
    Some(TransferLimits { bytes, segments: queue_limit(path, "max_segments")? })
}

/// Whether completions can be polled for.
pub(crate) fn nvme_has_poll_queues(path: &Path) -> bool {
    queue_limit(path, "io_poll").is_some_and(|polls| polls > 0)
}

/// A number that the kernel tells of the block device of the same namespace: `ng0n1` and `nvme0n1` have the same
/// queues.
fn queue_limit(path: &Path, name: &str) -> Option<u64> {
    let device = fs::canonicalize(sysfs(path)?).ok()?;
    let disk = disk_of(device.file_name()?.to_str()?)?;
    fs::read_to_string(format!("/sys/block/{disk}/queue/{name}")).ok()?.trim().parse().ok()
}

/// The block device beside a generic one.
fn disk_of(generic: &str) -> Option<String> {
    Some(format!("nvme{}", generic.strip_prefix("ng")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMAND: Command =
        Command { opcode: 2, nsid: 3, cdw2: 4, cdw3: 5, cdw10: [10, 11, 12, 13, 14, 15], timeout_ms: 16 };

    #[test]
    fn numbers_are_those_of_the_kernels_header() {
        // As the C compiler has them from linux/nvme_ioctl.h 6.1.
        assert_eq!((ID, RESET, SUBSYS_RESET, RESCAN), (0x4e40, 0x4e44, 0x4e45, 0x4e46));
        assert_eq!((ADMIN64, IO64, IO64_VEC), (0xc050_4e47, 0xc050_4e48, 0xc050_4e49));
        assert_eq!((nvme_entry(NvmeQueue::Io, false), nvme_entry(NvmeQueue::Admin, false)), (0xc048_4e80, 0xc048_4e82));
        assert_eq!((nvme_entry(NvmeQueue::Io, true), nvme_entry(NvmeQueue::Admin, true)), (0xc048_4e81, 0xc048_4e83));
    }

    #[test]
    fn fields_are_where_the_kernel_has_them() {
        let bytes = RawCommand::new(&COMMAND, (0x1111_2222_3333_4444, 7), (0x5555_6666_7777_8888, 9)).bytes();
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let long = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        assert_eq!((bytes[0], bytes[1], bytes[2], bytes[3]), (2, 0, 0, 0), "flags are refused, so they are 0");
        assert_eq!((word(4), word(8), word(12)), (3, 4, 5));
        assert_eq!((long(16), long(24)), (0x5555_6666_7777_8888, 0x1111_2222_3333_4444));
        assert_eq!((word(32), word(36)), (9, 7));
        assert_eq!([40, 44, 48, 52, 56, 60].map(word), [10, 11, 12, 13, 14, 15]);
        assert_eq!((word(64), word(68), long(72)), (16, 0, 0));
    }

    #[test]
    fn bytes_that_must_not_change_are_not_given_to_a_command_that_fills_them() {
        let file = File::open("/dev/null").expect("there is one");
        let read = nvme_command(&file, NvmeQueue::Io, &COMMAND, Bytes::Fixed(&[0; 8]), Bytes::None);
        assert!(matches!(read, Err(Fault::Host(error)) if error.kind() == io::ErrorKind::InvalidInput));
        let property_get = Command { opcode: 0x7f, nsid: 4, ..COMMAND };
        assert!(property_get.fills_data() && !Command { nsid: 1, ..property_get }.fills_data());
        // One that is let through comes back from the kernel: this is no NVMe device.
        let write = Command { opcode: 1, ..COMMAND };
        let written = nvme_command(&file, NvmeQueue::Io, &write, Bytes::Fixed(&[0; 8]), Bytes::None);
        assert!(matches!(written, Err(Fault::Host(error)) if error.raw_os_error() == Some(libc::ENOTTY)));
    }

    #[test]
    fn other_devices_are_none() {
        for path in ["/dev/null", "/dev", "/does/not/exist"] {
            assert_eq!(nvme_node(Path::new(path)), None, "{path}");
        }
        assert_eq!(disk_of("ng12n3").as_deref(), Some("nvme12n3"));
        assert!(nvme_nsid(&File::open("/dev/null").expect("there is one")).is_err());
    }
}
