//! NVMe commands as the storage stack of Windows takes them: bytes, and no system calls.
//!
//! It takes no command of 64 bytes but vendor specific ones. Other admin commands are questions about properties, whose
//! answers lie where the questions did, and other I/O commands are SCSI (`scsi.rs`). Numbers are little-endian, of 4
//! bytes if nothing else is said:
//!
//! ```text
//!   Query   | property | 0 | protocol, type, value, sub, offset, length, result, sub 2, 3, 4       40 | data |
//!   answer  | version, size | the same 40 bytes                                                       | data |
//!   Set     | property | 0 | the same 40, sub 5, 20 bytes that are 0                               64 | data |
//!   Pass    | version, length, protocol, flags, status, error, lengths, time, offsets, ... 80 |
//!           | command 64 | what the error log would have 64 | data |
//! ```
//!
//! `offset` is that of the data, from the beginning of the 40 or 64 bytes on. The structures are those of `winioctl.h`
//! (`STORAGE_PROTOCOL_SPECIFIC_DATA`, `..._EXT`, `STORAGE_PROTOCOL_COMMAND`); what goes where Microsoft's "Working with
//! NVMe drives" and `STORAGE_PROTOCOL_NVME_DATA_TYPE` say. Written from these, and not yet tried on a drive.

use std::io::{self, ErrorKind};

use crate::passthru::{Command, Fault, NvmeQueue};

/// Bytes in front of what is about a protocol: of a question, and of an answer.
const HEADER_BYTES: usize = 8;
/// Bytes of `STORAGE_PROTOCOL_SPECIFIC_DATA`.
pub(super) const SPECIFIC_BYTES: usize = 40;
/// Bytes of `STORAGE_PROTOCOL_SPECIFIC_DATA_EXT`.
pub(super) const SPECIFIC_EXT_BYTES: usize = 64;
/// Bytes of `STORAGE_PROTOCOL_COMMAND` in front of the command.
pub(super) const PASS_BYTES: usize = 80;
/// Bytes of a command, and of an entry of the error log.
const COMMAND_BYTES: usize = 64;
const ERROR_INFO_BYTES: usize = 64;
/// A query for a log page has room for at least so many bytes.
const LEAST_LOG_BYTES: usize = 512;
/// Seconds that a passed command may take if its asker does not say.
const PASS_SECONDS: u32 = 10;

/// The first vendor specific opcode of I/O commands: those below are not passed.
pub(super) const VENDOR_IO: u8 = 0x80;

/// `StorageAdapterProtocolSpecificProperty`: what is asked of the controller.
const OF_CONTROLLER: u32 = 49;
/// `StorageDeviceProtocolSpecificProperty`: what is asked of a namespace.
const OF_NAMESPACE: u32 = 50;
/// `ProtocolTypeNvme`.
const NVME: u32 = 3;
/// `NVMeDataTypeIdentify`, `...LogPage`, `...Feature`.
const IDENTIFY: u32 = 1;
const LOG_PAGE: u32 = 2;
const FEATURE: u32 = 3;

/// Which request of `DeviceIoControl` carries a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// `IOCTL_STORAGE_QUERY_PROPERTY`.
    Query,
    /// `IOCTL_STORAGE_SET_PROPERTY`: the drive is open for writing.
    Set,
    /// `IOCTL_STORAGE_PROTOCOL_COMMAND`: the drive is open for reading and writing.
    Pass,
}

/// A command as a request; the answer lies in as many bytes.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) call: Call,
    pub(super) bytes: Vec<u8>,
}

/// A command that moves `len` bytes of data; `given` are those for the device, if that is the way they go.
///
/// # Errors
/// Windows does not carry it: why, and what to do instead.
///
/// # Panics
/// If it is an I/O command below [`VENDOR_IO`].
pub(super) fn pack(queue: NvmeQueue, command: &Command, len: usize, given: &[u8]) -> Result<Packed, &'static str> {
    let [cdw10, cdw11, cdw12, cdw13, cdw14, cdw15] = command.cdw10;
    if queue == NvmeQueue::Io {
        assert!(command.opcode >= VENDOR_IO, "{:02x}h is SCSI", command.opcode);
        return Ok(pass(queue, command, len, given));
    }
    let property = if matches!(command.nsid, 0 | u32::MAX) { OF_CONTROLLER } else { OF_NAMESPACE };
    match command.opcode {
        0x02 if cdw14 >> 24 != 0 => Err("Windows has no log pages of a single command set"),
        0x02 => {
            // RAE in the lowest bit, LSP in the four above it (STORAGE_PROTOCOL_DATA_SUBVALUE_GET_LOG_PAGE).
            let more = cdw10 >> 15 & 1 | (cdw10 >> 8 & 0xf) << 1;
            let words = [LOG_PAGE, cdw10 & 0xff, cdw12, cdw13, cdw11 >> 16, more];
            Ok(query(property, words, len, len.max(LEAST_LOG_BYTES)))
        }
        0x06 => match (cdw10 & 0xff, cdw11 >> 24) {
            (0, 0) => Ok(query(OF_NAMESPACE, [IDENTIFY, 0, command.nsid, 0, 0, 0], len, len)),
            (1, 0) => Ok(query(OF_CONTROLLER, [IDENTIFY, 1, 0, 0, 0, 0], len, len)),
            _ => Err("of Identify, Windows has that of the controller (CNS 1) and of a namespace (CNS 0) only"),
        },
        0x0a => Ok(query(property, [FEATURE, cdw10, cdw11, cdw12, cdw13, cdw14], len, len)),
        0x09 => Ok(set(property, [cdw10, cdw11, cdw12, cdw13, cdw14, cdw15], given)),
        0x14 | 0xc0.. => Ok(pass(queue, command, len, given)),
        0x10 | 0x11 => Err("Windows updates firmware by itself: Update-StorageFirmware in PowerShell"),
        _ => Err("of admin commands, Windows passes Identify, Get Log Page, Get Features, Set Features, Device \
                  Self-test and vendor specific ones (C0h and above), and no others"),
    }
}

/// `[type, value, sub, sub 2, sub 3, sub 4]` of a question whose answer has `len` bytes in `room`.
fn query(property: u32, words: [u32; 6], len: usize, room: usize) -> Packed {
    let [kind, value, sub, sub2, sub3, sub4] = words;
    let (offset, room) = if len == 0 { (0, 0) } else { (SPECIFIC_BYTES as u32, room) };
    let mut bytes = vec![0; HEADER_BYTES + SPECIFIC_BYTES + room];
    put(&mut bytes, &[property, 0, NVME, kind, value, sub, offset, room as u32, 0, sub2, sub3, sub4]);
    Packed { call: Call::Query, bytes }
}

/// Set Features: command dwords 10 to 15, and data.
fn set(property: u32, [cdw10, cdw11, cdw12, cdw13, cdw14, cdw15]: [u32; 6], given: &[u8]) -> Packed {
    let mut bytes = vec![0; HEADER_BYTES + SPECIFIC_EXT_BYTES];
    let offset = if given.is_empty() { 0 } else { SPECIFIC_EXT_BYTES as u32 };
    let len = given.len() as u32;
    put(&mut bytes, &[property, 0, NVME, FEATURE, cdw10, cdw11, offset, len, 0, cdw12, cdw13, cdw14, cdw15]);
    bytes.extend_from_slice(given);
    Packed { call: Call::Set, bytes }
}

/// A command with all of its dwords.
fn pass(queue: NvmeQueue, command: &Command, len: usize, given: &[u8]) -> Packed {
    // STORAGE_PROTOCOL_STRUCTURE_VERSION.
    const VERSION: u32 = 1;
    // STORAGE_PROTOCOL_COMMAND_FLAG_ADAPTER_REQUEST; STORAGE_PROTOCOL_SPECIFIC_NVME_ADMIN_COMMAND, ..._NVM_COMMAND.
    let (flags, kind) = match queue {
        NvmeQueue::Admin => (1 << 31, 1),
        NvmeQueue::Io => (0, 2),
    };
    let error_at = PASS_BYTES + COMMAND_BYTES;
    let data_at = error_at + ERROR_INFO_BYTES;
    let mut bytes = vec![0; data_at + len];
    let seconds = if command.timeout_ms == 0 { PASS_SECONDS } else { command.timeout_ms.div_ceil(1000) };
    let there = |bytes: usize| if bytes == 0 { (0, 0) } else { (bytes as u32, data_at as u32) };
    let (to, to_at) = there(given.len());
    let (from, from_at) = there(if command.fills_data() { len } else { 0 });
    let (command_len, error_len) = (COMMAND_BYTES as u32, ERROR_INFO_BYTES as u32);
    // `Length` is the size of the structure with the first byte of the command, and what C aligns it to.
    let length = PASS_BYTES as u32 + 4;
    let lengths = [command_len, error_len, to, from];
    put(&mut bytes, &[VERSION, length, NVME, flags, 0, 0]);
    put(&mut bytes[24..], &lengths);
    put(&mut bytes[40..], &[seconds, error_at as u32, to_at, from_at, kind]);
    put(&mut bytes[PASS_BYTES..], &[command.opcode.into(), command.nsid, command.cdw2, command.cdw3]);
    put(&mut bytes[PASS_BYTES + 40..], &command.cdw10);
    bytes[data_at..][..given.len()].copy_from_slice(given);
    Packed { call: Call::Pass, bytes }
}

/// What came back for a command: fills `data`, and gives dwords 0 and 1 of the completion, of which only passed
/// commands have the second.
///
/// # Errors
/// The device's status where it is told; an answer that is none.
pub(super) fn unpack(call: Call, answer: &[u8], data: &mut [u8]) -> Result<u64, Fault> {
    match call {
        Call::Query => {
            let version = word(answer, 0)? as usize;
            let (offset, len) = (word(answer, HEADER_BYTES + 16)? as usize, word(answer, HEADER_BYTES + 20)? as usize);
            if version < HEADER_BYTES + SPECIFIC_BYTES || (!data.is_empty() && offset < SPECIFIC_BYTES) {
                return Err(odd("the system's answer is none").into());
            }
            let told = HEADER_BYTES.checked_add(offset).and_then(|start| answer.get(start..)).unwrap_or_default();
            fill(data, &told[..len.min(told.len())])?;
            Ok(word(answer, HEADER_BYTES + 24)?.into())
        }
        Call::Set => Ok(word(answer, HEADER_BYTES + 24)?.into()),
        Call::Pass => {
            let result = u64::from(word(answer, 64)?) | u64::from(word(answer, 68)?) << 32;
            passed(word(answer, 16)?, answer, result)?;
            fill(data, answer.get(PASS_BYTES + COMMAND_BYTES + ERROR_INFO_BYTES..).unwrap_or_default())?;
            Ok(result)
        }
    }
}

/// What became of a passed command (`STORAGE_PROTOCOL_STATUS_...`).
fn passed(status: u32, answer: &[u8], result: u64) -> Result<(), Fault> {
    let why = match status {
        1 => return Ok(()),
        2 => {
            // The status field of an entry of the error log, with the phase bit below it (NVMe Base 2.0, Error
            // Information).
            let status = (word(answer, PASS_BYTES + COMMAND_BYTES + 12)? as u16) >> 1;
            if status != 0 {
                return Err(Fault::Status { status, result });
            }
            "the device answered with an error that Windows does not tell"
        }
        3 => "the driver refuses the command",
        4 => "the device is gone",
        5 | 8 => "the driver is busy",
        6 => "the device has more data than was asked for",
        7 => "the driver has no memory for it",
        255 => "the device's Commands Supported and Effects log does not have the command, or the driver does not",
        _ => "the driver gives no reason",
    };
    let kind = if status == 255 { ErrorKind::Unsupported } else { ErrorKind::Other };
    Err(io::Error::new(kind, why).into())
}

fn fill(data: &mut [u8], told: &[u8]) -> io::Result<()> {
    match told.get(..data.len()) {
        Some(told) => data.copy_from_slice(told),
        None => return Err(odd("the answer has fewer bytes than were asked for")),
    }
    Ok(())
}

fn odd(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

fn put(bytes: &mut [u8], words: &[u32]) {
    bytes.chunks_exact_mut(4).zip(words).for_each(|(place, word)| place.copy_from_slice(&word.to_le_bytes()));
}

fn word(bytes: &[u8], at: usize) -> io::Result<u32> {
    super::storage::word(bytes, at).ok_or_else(|| odd("the system's answer is too short"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(bytes: &[u8]) -> Vec<u32> {
        bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().expect("4 bytes"))).collect()
    }

    fn admin(opcode: u8, nsid: u32, cdw10: [u32; 6], len: usize, given: &[u8]) -> Packed {
        let command = Command { opcode, nsid, cdw10, ..Command::default() };
        pack(NvmeQueue::Admin, &command, len, given).expect("it is carried")
    }

    #[test]
    fn identify_asks_the_controller_or_a_namespace() {
        let controller = admin(6, 0, [1, 0, 0, 0, 0, 0], 4096, &[]);
        assert_eq!((controller.call, controller.bytes.len()), (Call::Query, 8 + 40 + 4096));
        assert_eq!(words(&controller.bytes[..48]), [49, 0, 3, 1, 1, 0, 40, 4096, 0, 0, 0, 0]);
        let namespace = admin(6, 7, [0; 6], 4096, &[]);
        assert_eq!(words(&namespace.bytes[..48]), [50, 0, 3, 1, 0, 7, 40, 4096, 0, 0, 0, 0]);
    }

    #[test]
    fn a_log_page_has_its_offset_and_room_for_512_bytes() {
        // LID 2, LSP 5, RAE; LSI 9; an offset of two dwords.
        let log = admin(2, u32::MAX, [0x8502, 9 << 16, 0x1000, 3, 0, 0], 16, &[]);
        assert_eq!(log.bytes.len(), 8 + 40 + 512);
        assert_eq!(words(&log.bytes[..48]), [49, 0, 3, 2, 2, 0x1000, 40, 512, 0, 3, 9, 5 << 1 | 1]);
        assert_eq!(words(&admin(2, 1, [2, 0, 0, 0, 0, 0], 1024, &[]).bytes[..32])[..1], [50], "of a namespace");
    }

    #[test]
    fn features_are_asked_for_and_set_by_their_dwords() {
        let get = admin(10, 0, [0x106, 11, 12, 13, 14, 0], 0, &[]);
        assert_eq!(words(&get.bytes), [49, 0, 3, 3, 0x106, 11, 0, 0, 0, 12, 13, 14]);
        let set = admin(9, 2, [6, 11, 12, 13, 14, 15], 4, b"data");
        assert_eq!((set.call, set.bytes.len()), (Call::Set, 8 + 64 + 4));
        assert_eq!(words(&set.bytes[..60]), [50, 0, 3, 3, 6, 11, 64, 4, 0, 12, 13, 14, 15, 0, 0]);
        assert_eq!(&set.bytes[72..], b"data");
    }

    #[test]
    fn a_vendor_specific_command_goes_as_it_is() {
        let command =
            Command { opcode: 0xc2, nsid: 3, cdw2: 4, cdw3: 5, cdw10: [10, 11, 12, 13, 14, 15], timeout_ms: 1500 };
        let packed = pack(NvmeQueue::Admin, &command, 512, &[]).expect("it is carried");
        assert_eq!((packed.call, packed.bytes.len()), (Call::Pass, 80 + 64 + 64 + 512));
        let front = words(&packed.bytes[..80]);
        assert_eq!(front[..10], [1, 84, 3, 1 << 31, 0, 0, 64, 64, 0, 512]);
        assert_eq!(front[10..], [2, 144, 0, 208, 1, 0, 0, 0, 0, 0]);
        let sent = words(&packed.bytes[80..144]);
        assert_eq!(sent, [0xc2, 3, 4, 5, 0, 0, 0, 0, 0, 0, 10, 11, 12, 13, 14, 15]);
        let out = Command { opcode: 0xc1, ..command };
        let packed = pack(NvmeQueue::Admin, &out, 4, b"data").expect("it is carried");
        assert_eq!(words(&packed.bytes[32..56]), [4, 0, 2, 144, 208, 0]);
        assert_eq!(&packed.bytes[208..], b"data");
        // The same for the namespace: nothing of it is a matter of the controller.
        for opcode in [0x80, 0xc2, 0xfe] {
            let packed = pack(NvmeQueue::Io, &Command { opcode, ..command }, 512, &[]).expect("it is carried");
            let told = words(&packed.bytes[..80]);
            assert_eq!((packed.call, &told[..10]), (Call::Pass, &[1, 84, 3, 0, 0, 0, 64, 64, 0, 512][..]));
            assert_eq!(told[10..], [2, 144, 0, 208, 2, 0, 0, 0, 0, 0]);
            assert_eq!(words(&packed.bytes[80..144])[..4], [opcode.into(), 3, 4, 5]);
        }
    }

    #[test]
    fn what_windows_does_not_carry_is_refused_with_what_to_do() {
        let why = |opcode, cdw10| {
            let command = Command { opcode, cdw10: [cdw10, 0, 0, 0, 0, 0], ..Command::default() };
            pack(NvmeQueue::Admin, &command, 0, &[]).expect_err("it is not carried")
        };
        assert!(why(0x11, 0).contains("Update-StorageFirmware"));
        assert!(why(0x80, 0).contains("no others"));
        assert!(why(6, 3).contains("CNS 1"));
    }

    #[test]
    fn answers_have_their_data_where_they_say() {
        let answer = |len: u32, offset: u32| {
            let mut bytes = vec![0; 48 + 12];
            put(&mut bytes, &[48, 48, 3, 1, 1, 0, offset, len, 77]);
            bytes[48..].copy_from_slice(b"....controll");
            bytes
        };
        let mut data = [0; 8];
        assert_eq!(unpack(Call::Query, &answer(8, 44), &mut data).expect("an answer"), 77);
        assert_eq!(&data, b"controll");
        assert_eq!(unpack(Call::Query, &answer(0, 0), &mut []).expect("a feature without data"), 77);
        for (bytes, why) in [
            (answer(7, 44), "too few"),
            (answer(8, 48), "behind the end"),
            (answer(8, u32::MAX), "far behind the end"),
            (answer(8, 0), "over the question"),
            (answer(8, 44)[..40].to_vec(), "cut off"),
            (vec![0; 60], "nothing"),
            (Vec::new(), "no bytes"),
        ] {
            let failed = unpack(Call::Query, &bytes, &mut data);
            assert!(matches!(failed, Err(Fault::Host(error)) if error.kind() == ErrorKind::InvalidData), "{why}");
        }
        assert_eq!(unpack(Call::Set, &answer(0, 0), &mut []).expect("it is set"), 77);
    }

    #[test]
    fn a_passed_command_has_the_devices_status() {
        let answer = |status: u32, field: u16| {
            let mut bytes = vec![0; 80 + 64 + 64 + 4];
            bytes[16..20].copy_from_slice(&status.to_le_bytes());
            put(&mut bytes[64..], &[5, 6]);
            bytes[156..158].copy_from_slice(&field.to_le_bytes());
            bytes[208..].copy_from_slice(b"data");
            bytes
        };
        let mut data = [0; 4];
        assert_eq!(unpack(Call::Pass, &answer(1, 0), &mut data).expect("success"), 6 << 32 | 5);
        assert_eq!(&data, b"data");
        let failed = unpack(Call::Pass, &answer(2, 0x4005), &mut data);
        assert!(matches!(failed, Err(Fault::Status { status: 0x2002, .. })), "{failed:?}");
        let unsaid = unpack(Call::Pass, &answer(2, 0), &mut data);
        assert!(matches!(unsaid, Err(Fault::Host(error)) if error.to_string().contains("does not tell")));
        let none = unpack(Call::Pass, &answer(255, 0), &mut data);
        assert!(matches!(none, Err(Fault::Host(error)) if error.kind() == ErrorKind::Unsupported));
        let long = unpack(Call::Pass, &answer(1, 0), &mut [0; 5]);
        assert!(matches!(long, Err(Fault::Host(error)) if error.kind() == ErrorKind::InvalidData));
    }
}
