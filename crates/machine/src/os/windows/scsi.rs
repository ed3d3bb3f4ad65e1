//! NVMe I/O commands as the SCSI commands that the driver of Windows makes the same NVMe commands of, and what comes
//! back: bytes, and no system calls. Numbers of SCSI are big-endian, those of the request little-endian.
//!
//! ```text
//!   Flush                           SYNCHRONIZE CACHE(10)   35h | 0 ...                                       10 bytes
//!   Write, Read                     WRITE(16), READ(16)     8Ah, 88h | FUA 08h | LBA 2 | blocks 10 | 0 0            16
//!   Dataset Management, Deallocate  UNMAP                   42h | 0 ... | bytes of the list 7 | 0                   10
//!                                      | bytes behind it | of ranges 2 | 0 4 | ranges: LBA, blocks 8, 0 12 | ...
//!
//!   request   | length | status 2 | place on the bus | bytes of the CDB 6 | of sense data | direction | bytes 12 |
//!             | seconds 16 | 0 | address of the data 24 | place of the sense data 32 | CDB 36 | 0 52 | sense data 56 |
//!   sense     | 70h | . | key 2 | ... | bytes behind it 7 | ... | ASC 12 | ASCQ 13 | ...            fixed format
//!             | 72h | key | ASC | ASCQ | ...                                                        descriptor format
//! ```
//!
//! These four are the I/O commands that "StorNVMe Command Set Support" has a SCSI command for, and that "StorNVMe SCSI
//! Translation Support" has as well. (Verify is only in one of them, so it is not carried.) Which sense data is which
//! status the NVM Express SCSI Translation Reference 1.5 says, read backwards: where several statuses have the same
//! sense data, nobody knows which it was, and the sense data is what is told. The request is
//! `SCSI_PASS_THROUGH_DIRECT` of `ntddscsi.h`, the commands are those of SBC-3, the sense data that of SPC-4. Written
//! from these, and not yet run on a drive.

use std::io::{self, ErrorKind};

use crate::passthru::{Command, Fault};

/// Bytes of `SCSI_PASS_THROUGH_DIRECT`, with addresses of 8 bytes.
pub(super) const FIXED_BYTES: usize = 56;
/// Where the request has the length of its command, that of its data, its time, the address of the data, the place of
/// the sense data, and the command.
pub(super) const CDB_BYTES_AT: usize = 6;
pub(super) const BYTES_AT: usize = 12;
pub(super) const SECONDS_AT: usize = 16;
pub(super) const ADDRESS_AT: usize = 24;
pub(super) const SENSE_AT: usize = 32;
pub(super) const CDB_AT: usize = 36;
/// Room for sense data: all that is looked at, in either format.
const SENSE_BYTES: usize = 32;
/// Bytes of a request, and of its answer.
pub(super) const REQUEST_BYTES: usize = FIXED_BYTES + SENSE_BYTES;
/// Seconds that a command may take if its asker does not say: a flush may take long.
const SECONDS: u32 = 60;

/// Bytes of a range of Dataset Management, and of UNMAP.
const RANGE_BYTES: usize = 16;
/// Ranges of one Dataset Management.
const MOST_RANGES: u64 = 256;
/// Bytes in front of the ranges of UNMAP.
const LIST_HEADER_BYTES: usize = 8;

/// Opcodes of NVMe.
const FLUSH: u8 = 0x00;
const WRITE: u8 = 0x01;
const READ: u8 = 0x02;
const DATASET_MANAGEMENT: u8 = 0x09;

/// What a command moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// Nothing.
    Nothing,
    /// So many blocks from the drive.
    In(u32),
    /// So many blocks to the drive.
    Out(u32),
    /// The drive is told of so many ranges.
    Ranges(usize),
}

impl Load {
    /// How many bytes of the asker's it is about, with blocks of so many bytes. `None`: more than a request has a
    /// number for.
    pub(super) fn bytes(self, block_bytes: u32) -> Option<u32> {
        match self {
            Self::Nothing => Some(0),
            Self::In(blocks) | Self::Out(blocks) => blocks.checked_mul(block_bytes),
            Self::Ranges(count) => Some((count * RANGE_BYTES) as u32),
        }
    }

    /// `SCSI_IOCTL_DATA_OUT`, `..._IN`, `..._UNSPECIFIED`.
    fn direction(self) -> u8 {
        match self {
            Self::Out(_) | Self::Ranges(_) => 0,
            Self::In(_) => 1,
            Self::Nothing => 2,
        }
    }
}

/// A command as SCSI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scsi {
    cdb: [u8; 16],
    cdb_bytes: u8,
    seconds: u32,
    pub(super) load: Load,
}

/// The SCSI command that means the same as an NVMe one.
///
/// # Errors
/// Windows carries none, or SCSI has no place for what the command says: which.
pub(super) fn pack(command: &Command) -> Result<Scsi, &'static str> {
    let [cdw10, cdw11, cdw12, cdw13, cdw14, cdw15] = command.cdw10;
    let mut cdb = [0; 16];
    if command.cdw2 | command.cdw3 != 0 {
        return Err("SCSI has no place for what is in dwords 2 and 3: storage tags, keys");
    }
    let (cdb_bytes, load) = match command.opcode {
        FLUSH if command.cdw10 != [0; 6] => return Err("dwords 10 to 15 of a Flush are reserved"),
        FLUSH => {
            cdb[0] = 0x35;
            (10, Load::Nothing)
        }
        WRITE | READ => {
            movable(cdw12, cdw13)?;
            if cdw14 | cdw15 != 0 {
                return Err("Windows has no protection information: dwords 14 and 15, its tags, must be 0");
            }
            let (writes, blocks) = (command.opcode == WRITE, (cdw12 & 0xffff) + 1);
            cdb[0] = if writes { 0x8a } else { 0x88 };
            cdb[1] = if cdw12 >> 30 & 1 != 0 { 1 << 3 } else { 0 };
            cdb[2..10].copy_from_slice(&(u64::from(cdw11) << 32 | u64::from(cdw10)).to_be_bytes());
            cdb[10..14].copy_from_slice(&blocks.to_be_bytes());
            (16, if writes { Load::Out(blocks) } else { Load::In(blocks) })
        }
        DATASET_MANAGEMENT => {
            if cdw11 != 1 << 2 {
                return Err("of Dataset Management, Windows carries Deallocate (dword 11: 4) and nothing else");
            }
            if cdw10 >> 8 | cdw12 | cdw13 | cdw14 | cdw15 != 0 {
                return Err("what is in dword 10 above the number of ranges, and in dwords 12 to 15, is reserved");
            }
            let count = (cdw10 & 0xff) as usize + 1;
            cdb[0] = 0x42;
            cdb[7..9].copy_from_slice(&((LIST_HEADER_BYTES + count * RANGE_BYTES) as u16).to_be_bytes());
            (10, Load::Ranges(count))
        }
        _ => {
            return Err(
                "of I/O commands, Windows carries Flush, Write, Read, Dataset Management with Deallocate, and \
                        vendor specific ones (80h and above), and no others",
            );
        }
    };
    let seconds = if command.timeout_ms == 0 { SECONDS } else { command.timeout_ms.div_ceil(1000) };
    Ok(Scsi { cdb, cdb_bytes, seconds, load })
}

/// Whether SCSI has a place for what dwords 12 and 13 of a Read or a Write say beside the number of blocks and FUA.
fn movable(cdw12: u32, cdw13: u32) -> Result<(), &'static str> {
    match cdw12 {
        _ if cdw12 >> 31 != 0 => Err("SCSI has no limited retry (LR, dword 12 bit 31)"),
        _ if cdw12 >> 26 & 0xf != 0 => {
            Err("Windows has no protection information: PRACT and PRCHK (dword 12 bits 26 to 29) must be 0")
        }
        _ if cdw12 >> 20 & 0xf != 0 || cdw13 >> 16 != 0 => {
            Err("Windows carries no directives (DTYPE, dword 12 bits 20 to 23; DSPEC, dword 13 bits 16 to 31)")
        }
        _ if cdw12 >> 24 & 1 != 0 => Err("Windows checks no storage tags (STC, dword 12 bit 24)"),
        _ if cdw12 >> 16 != 0 && cdw12 >> 16 != 1 << 14 => {
            Err("bits 16 to 19 and 25 of dword 12 are reserved, or an extension that SCSI has no place for")
        }
        _ if cdw13 != 0 => Err("SCSI has no place for hints and extensions (dword 13)"),
        _ => Ok(()),
    }
}

/// The Dataset Management that frees a range of a drive, in bytes, which is whole blocks of so many: the command, and
/// its ranges. `None` of no block, of parts of one, and of more than one command has room for.
pub(super) fn deallocate(nsid: u32, offset: u64, len: u64, block_bytes: u32) -> Option<(Command, Vec<u8>)> {
    let block = u64::from(block_bytes);
    if len == 0 || !offset.is_multiple_of(block) || !len.is_multiple_of(block) {
        return None;
    }
    let (mut lba, mut blocks) = (offset / block, len / block);
    let count = blocks.div_ceil(u32::MAX.into());
    if count > MOST_RANGES {
        return None;
    }
    let mut ranges = Vec::with_capacity(count as usize * RANGE_BYTES);
    while blocks > 0 {
        let part = blocks.min(u32::MAX.into());
        ranges.extend([0; 4]);
        ranges.extend((part as u32).to_le_bytes());
        ranges.extend(lba.to_le_bytes());
        (lba, blocks) = (lba + part, blocks - part);
    }
    let cdw10 = [count as u32 - 1, 1 << 2, 0, 0, 0, 0];
    Some((Command { opcode: DATASET_MANAGEMENT, nsid, cdw10, ..Command::default() }, ranges))
}

/// The ranges of Dataset Management as UNMAP has them.
///
/// # Errors
/// SCSI has no place for what they say.
pub(super) fn unmap_list(ranges: &[u8]) -> Result<Vec<u8>, &'static str> {
    let bytes = ranges.len() as u16;
    let mut list = vec![0; LIST_HEADER_BYTES];
    list[..2].copy_from_slice(&(bytes + LIST_HEADER_BYTES as u16 - 2).to_be_bytes());
    list[2..4].copy_from_slice(&bytes.to_be_bytes());
    for range in ranges.chunks_exact(RANGE_BYTES) {
        let (attributes, blocks, lba) = (&range[..4], &range[4..8], &range[8..]);
        if attributes != [0; 4] {
            return Err("SCSI has no place for the context attributes of a range: they must be 0");
        }
        list.extend(lba.iter().rev());
        list.extend(blocks.iter().rev());
        list.extend([0; 4]);
    }
    Ok(list)
}

impl Scsi {
    /// The request that sends it, with `bytes` of data at this address.
    pub(super) fn request(&self, address: u64, bytes: u32) -> [u8; REQUEST_BYTES] {
        let mut request = [0; REQUEST_BYTES];
        request[..2].copy_from_slice(&(FIXED_BYTES as u16).to_le_bytes());
        request[CDB_BYTES_AT..][..3].copy_from_slice(&[self.cdb_bytes, SENSE_BYTES as u8, self.load.direction()]);
        request[BYTES_AT..][..4].copy_from_slice(&bytes.to_le_bytes());
        request[SECONDS_AT..][..4].copy_from_slice(&self.seconds.to_le_bytes());
        request[ADDRESS_AT..][..8].copy_from_slice(&address.to_le_bytes());
        request[SENSE_AT..][..4].copy_from_slice(&(FIXED_BYTES as u32).to_le_bytes());
        request[CDB_AT..][..16].copy_from_slice(&self.cdb);
        request
    }

    /// What became of its request about so many bytes of data.
    ///
    /// # Errors
    /// The device's status where the sense data is that of one status, or else what the sense data says; an answer that
    /// is none.
    pub(super) fn unpack(&self, answer: &[u8], bytes: u32) -> Result<(), Fault> {
        let status = *answer.get(2).ok_or_else(|| odd("the system's answer is too short"))?;
        match status {
            0x00 => self.moved(answer, bytes),
            0x02 => match sense(answer) {
                // A recovered error is a success with a story to tell.
                Some(Sense { deferred: false, key: 1, .. }) => self.moved(answer, bytes),
                Some(sense) => Err(sense.fault()),
                None => Err(odd("the driver answered with an error (CHECK CONDITION) and does not tell which").into()),
            },
            0x18 => Err(device(0, 0x83)),
            0x40 => Err(device(0, 0x07)),
            0x08 | 0x28 => {
                let why = format!("the driver is busy: SCSI status {status:02X}h");
                Err(io::Error::new(ErrorKind::ResourceBusy, why).into())
            }
            _ => Err(io::Error::other(format!("the driver answered with SCSI status {status:02X}h")).into()),
        }
    }

    /// Whether all bytes of its blocks were moved.
    fn moved(&self, answer: &[u8], bytes: u32) -> Result<(), Fault> {
        let moved = super::storage::word(answer, BYTES_AT).ok_or_else(|| odd("the system's answer is too short"))?;
        if matches!(self.load, Load::In(_) | Load::Out(_)) && moved != bytes {
            let why = format!("the driver has moved {moved} bytes instead of {bytes}");
            return Err(io::Error::new(ErrorKind::InvalidData, why).into());
        }
        Ok(())
    }
}

/// Why a command failed, as SCSI says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sense {
    /// It is about a command before this one, and this one was not carried out.
    deferred: bool,
    key: u8,
    /// ASC and ASCQ, where there are any.
    code: Option<(u8, u8)>,
}

/// The sense data of an answer: as much as is there, and as the request has room for.
fn sense(answer: &[u8]) -> Option<Sense> {
    let told = usize::from(*answer.get(7)?).min(SENSE_BYTES);
    let bytes = answer.get(FIXED_BYTES..)?;
    let bytes = &bytes[..told.min(bytes.len())];
    let format = bytes.first()? & 0x7f;
    let pair = |at: usize| Some((*bytes.get(at)?, *bytes.get(at + 1)?));
    let (key, code) = match format {
        // The length counts the bytes behind itself.
        0x70 | 0x71 => (bytes.get(2)?, pair(12).filter(|_| bytes[7] >= 6)),
        0x72 | 0x73 => (bytes.get(1)?, pair(2)),
        _ => return None,
    };
    Some(Sense { deferred: format & 1 != 0, key: key & 0xf, code })
}

impl Sense {
    fn fault(self) -> Fault {
        let status = match (self.key, self.code) {
            _ if self.deferred => None,
            (0x2, Some((0x04, _))) => Some((0, 0x82)),
            (0x3, Some((0x03, 0x00))) => Some((2, 0x80)),
            (0x3, Some((0x11, 0x00))) => Some((2, 0x81)),
            // The end-to-end checks of guard, application tag, reference tag.
            (0x3 | 0xb, Some((0x10, check @ 1..=3))) => Some((2, 0x81 + check)),
            (0x4, Some((0x44, 0x00))) => Some((0, 0x06)),
            (0x5, Some((0x20, 0x00))) => Some((0, 0x01)),
            (0x5, Some((0x21, 0x00))) => Some((0, 0x80)),
            // In the command, in the list of UNMAP.
            (0x5, Some((0x24 | 0x26, 0x00))) => Some((0, 0x02)),
            (0x7, Some((0x27, 0x00))) => Some((0, 0x20)),
            (0xb, Some((0x00, 0x00))) => Some((0, 0x07)),
            (0xb, Some((0x0b, 0x08))) => Some((0, 0x05)),
            _ => None,
        };
        match status {
            Some((kind, code)) => device(kind, code),
            None => io::Error::other(self.told()).into(),
        }
    }

    fn told(self) -> String {
        const KEYS: [&str; 16] = [
            "no sense",
            "recovered error",
            "not ready",
            "medium error",
            "hardware error",
            "illegal request",
            "unit attention",
            "data protect",
            "blank check",
            "vendor specific",
            "copy aborted",
            "aborted command",
            "reserved",
            "volume overflow",
            "miscompare",
            "completed",
        ];
        let about = if self.deferred { " about a command before this one" } else { "" };
        let code = match self.code {
            Some((asc, ascq)) => format!("ASC {asc:02X}h, ASCQ {ascq:02X}h"),
            None => "and no ASC".to_owned(),
        };
        let (key, name) = (self.key, KEYS[usize::from(self.key)]);
        format!("the driver answered{about} with sense key {key:X}h ({name}), {code}")
    }
}

/// A status of NVMe: its type and its code. SCSI does not tell whether another try may succeed.
fn device(kind: u16, code: u8) -> Fault {
    Fault::Status { status: kind << 8 | u16::from(code), result: 0 }
}

fn odd(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(opcode: u8, cdw10: [u32; 6]) -> Command {
        Command { opcode, nsid: 1, cdw10, ..Command::default() }
    }

    fn packed(opcode: u8, cdw10: [u32; 6]) -> Scsi {
        pack(&command(opcode, cdw10)).expect("it is carried")
    }

    fn word(bytes: &[u8], at: usize) -> u32 {
        super::super::storage::word(bytes, at).expect("it is there")
    }

    #[test]
    fn reads_and_writes_have_their_blocks_and_fua() {
        for (opcode, scsi, load, direction) in [(2, 0x88, Load::In(8), 1), (1, 0x8a, Load::Out(8), 0)] {
            let plain = packed(opcode, [0x5566_7788, 0x1122_3344, 7, 0, 0, 0]);
            let cdb = [scsi, 0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0, 0, 0, 8, 0, 0];
            assert_eq!((plain.cdb, plain.cdb_bytes, plain.load), (cdb, 16, load));
            assert_eq!(plain.load.direction(), direction);
            let forced = packed(opcode, [0x5566_7788, 0x1122_3344, 1 << 30 | 7, 0, 0, 0]);
            assert_eq!((forced.cdb[1], &forced.cdb[2..]), (8, &cdb[2..]));
            let most = packed(opcode, [0, 0, 0xffff, 0, 0, 0]);
            assert_eq!(most.cdb[10..14], [0, 1, 0, 0]);
            assert_eq!((most.load.bytes(4096), most.load.bytes(1 << 16)), (Some(256 << 20), None));
        }
    }

    #[test]
    fn a_flush_is_for_the_whole_drive() {
        let flush = packed(0, [0; 6]);
        let mut cdb = [0; 16];
        cdb[0] = 0x35;
        assert_eq!((flush.cdb, flush.cdb_bytes, flush.load), (cdb, 10, Load::Nothing));
        assert_eq!((flush.load.bytes(512), flush.load.direction()), (Some(0), 2));
    }

    #[test]
    fn ranges_are_freed_by_a_list() {
        let two = packed(9, [1, 4, 0, 0, 0, 0]);
        assert_eq!((two.cdb[..10].to_vec(), two.cdb_bytes), (vec![0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0], 10));
        assert_eq!((two.load, two.load.bytes(512), two.load.direction()), (Load::Ranges(2), Some(32), 0));
        let most = packed(9, [255, 4, 0, 0, 0, 0]);
        assert_eq!((most.cdb[7..9].to_vec(), most.load.bytes(4096)), (4104_u16.to_be_bytes().to_vec(), Some(4096)));
        let mut ranges = vec![0; 32];
        ranges[4..16].copy_from_slice(&[0x44, 0x33, 0x22, 0x11, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01]);
        ranges[20] = 9;
        let list = unmap_list(&ranges).expect("no attributes");
        assert_eq!(list[..8], [0, 38, 0, 32, 0, 0, 0, 0]);
        assert_eq!(list[8..24], [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0]);
        assert_eq!(list[24..], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0]);
        let longest = unmap_list(&[0; 4096]).expect("256 ranges");
        assert_eq!((longest.len(), &longest[..4]), (4104, &[0x10, 0x06, 0x10, 0x00][..]));
        for at in [0, 3, 16, 19] {
            let mut ranges = vec![0; 32];
            ranges[at] = 1;
            assert!(unmap_list(&ranges).expect_err("an attribute").contains("context attributes"));
        }
    }

    #[test]
    fn a_range_of_bytes_is_freed_by_ranges_of_blocks() {
        let (command, ranges) = deallocate(7, 3 << 20, 1 << 20, 4096).expect("whole blocks");
        let expected = Command { opcode: 9, nsid: 7, cdw10: [0, 4, 0, 0, 0, 0], ..Command::default() };
        assert_eq!((command, ranges), (expected, vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0]));
        // One block more than a range has a number for.
        let (command, ranges) = deallocate(1, 512, 512 << 32, 512).expect("whole blocks");
        assert_eq!((command.cdw10[0], ranges.len()), (1, 32));
        assert_eq!(ranges[4..16], [255, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(ranges[20..], [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(pack(&command).expect("it is carried").load.bytes(512), Some(32));
        let most = MOST_RANGES * u64::from(u32::MAX) * 512;
        assert_eq!(deallocate(1, 0, most, 512).expect("it has room").1.len(), 4096);
        for (offset, len) in [(0, 0), (1, 512), (0, 511), (512, 513), (0, most + 512)] {
            assert_eq!(deallocate(1, offset, len, 512), None, "{len} bytes from {offset}");
        }
    }

    #[test]
    fn every_bit_that_scsi_has_no_place_for_is_refused() {
        let refused = |opcode, dword: usize, bit: u32| {
            let mut dwords = [0, if opcode == 9 { 4 } else { 0 }, 0, 0, 0, 0];
            dwords[dword] ^= 1 << bit;
            pack(&command(opcode, dwords)).err()
        };
        for opcode in [1, 2] {
            for (dword, bit) in (2..6).flat_map(|dword| (0..32).map(move |bit| (dword, bit))) {
                let carried = dword == 2 && (bit < 16 || bit == 30);
                assert_eq!(refused(opcode, dword, bit).is_none(), carried, "dword 1{dword} bit {bit}");
            }
            let why = |dword, bit| refused(opcode, dword, bit).expect("refused");
            assert!(why(2, 31).contains("limited retry") && why(2, 29).contains("PRACT"));
            assert!(why(2, 20).contains("directives") && why(3, 16).contains("directives"));
            assert!(why(2, 24).contains("storage tags") && why(3, 0).contains("hints") && why(5, 0).contains("tags"));
        }
        for (dword, bit) in (0..6).flat_map(|dword| (0..32).map(move |bit| (dword, bit))) {
            assert!(refused(0, dword, bit).expect("refused").contains("reserved"));
            assert_eq!(refused(9, dword, bit).is_none(), dword == 0 && bit < 8, "dword 1{dword} bit {bit}");
        }
        for bit in 0..32 {
            let command = Command { cdw2: 1 << bit, ..command(2, [0; 6]) };
            assert!(pack(&command).is_err() && pack(&Command { cdw2: 0, cdw3: 1 << bit, ..command }).is_err());
        }
    }

    #[test]
    fn no_other_command_is_carried() {
        for opcode in (0..=255).filter(|opcode| ![0, 1, 2].contains(opcode)) {
            // Dataset Management without Deallocate is a set of hints.
            let why = pack(&command(opcode, [0; 6])).expect_err("refused");
            assert!(why.contains(if opcode == 9 { "Deallocate" } else { "no others" }), "{opcode:02x}h: {why}");
        }
    }

    #[test]
    fn a_request_says_where_everything_is() {
        let read = Command { timeout_ms: 1500, ..command(2, [0, 0, 7, 0, 0, 0]) };
        let read = pack(&read).expect("it is carried");
        let request = read.request(0x1122_3344_5566_7000, 4096);
        assert_eq!(request.len(), 88);
        assert_eq!(request[..12], [56, 0, 0, 0, 0, 0, 16, 32, 1, 0, 0, 0]);
        assert_eq!([12, 16, 20, 32].map(|at| word(&request, at)), [4096, 2, 0, 56]);
        assert_eq!(request[24..32], 0x1122_3344_5566_7000_u64.to_le_bytes());
        assert_eq!(request[36..52], read.cdb);
        assert!(request[52..].iter().all(|byte| *byte == 0));
        let flush = packed(0, [0; 6]).request(0, 0);
        assert_eq!((flush[6], flush[8], word(&flush, 12), word(&flush, 16)), (10, 2, 0, 60));
        let unmap = packed(9, [0, 4, 0, 0, 0, 0]).request(4096, 24);
        assert_eq!((unmap[6], unmap[8], word(&unmap, 12)), (10, 0, 24));
    }

    /// An answer with this status, about so many bytes, with this sense data.
    fn answer(status: u8, bytes: u32, sense: &[u8]) -> Vec<u8> {
        let mut answer = packed(2, [0; 6]).request(0, bytes).to_vec();
        answer[2] = status;
        answer[7] = sense.len() as u8;
        answer[FIXED_BYTES..][..sense.len()].copy_from_slice(sense);
        answer
    }

    fn fixed(key: u8, asc: u8, ascq: u8) -> Vec<u8> {
        let mut sense = vec![0; 18];
        (sense[0], sense[2], sense[7], sense[12], sense[13]) = (0xf0, 0xa0 | key, 10, asc, ascq);
        sense
    }

    fn descriptor(key: u8, asc: u8, ascq: u8) -> Vec<u8> {
        vec![0x72, key, asc, ascq, 0, 0, 0, 0]
    }

    fn unpack(answer: &[u8], bytes: u32) -> Result<(), Fault> {
        packed(2, [0; 6]).unpack(answer, bytes)
    }

    fn host(result: Result<(), Fault>) -> io::Error {
        match result {
            Err(Fault::Host(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_success_has_moved_all_bytes() {
        assert!(unpack(&answer(0, 512, &[]), 512).is_ok());
        let short = host(unpack(&answer(0, 100, &[]), 512));
        assert_eq!(short.kind(), ErrorKind::InvalidData);
        assert!(short.to_string().contains("100 bytes instead of 512"));
        let recovered = answer(2, 512, &fixed(1, 0x17, 1));
        assert!(unpack(&recovered, 512).is_ok(), "it took a retry, and the data is there");
        assert_eq!(host(unpack(&recovered, 1024)).kind(), ErrorKind::InvalidData);
        assert!(packed(1, [0; 6]).unpack(&answer(0, 100, &[]), 512).is_err());
        // Of a list nobody says how much of it a driver counts.
        assert!(packed(9, [0, 4, 0, 0, 0, 0]).unpack(&answer(0, 0, &[]), 24).is_ok());
        assert!(packed(0, [0; 6]).unpack(&answer(0, 0, &[]), 0).is_ok());
    }

    #[test]
    fn sense_data_in_either_format_is_the_status_that_it_was_made_of() {
        for ((key, asc, ascq), status) in [
            ((2, 0x04, 0x00), 0x082),
            ((2, 0x04, 0x01), 0x082),
            ((3, 0x03, 0x00), 0x280),
            ((3, 0x11, 0x00), 0x281),
            ((3, 0x10, 0x01), 0x282),
            ((3, 0x10, 0x02), 0x283),
            ((11, 0x10, 0x03), 0x284),
            ((4, 0x44, 0x00), 0x006),
            ((5, 0x20, 0x00), 0x001),
            ((5, 0x21, 0x00), 0x080),
            ((5, 0x24, 0x00), 0x002),
            ((5, 0x26, 0x00), 0x002),
            ((7, 0x27, 0x00), 0x020),
            ((11, 0x00, 0x00), 0x007),
            ((11, 0x0b, 0x08), 0x005),
        ] {
            for sense in [fixed(key, asc, ascq), descriptor(key, asc, ascq)] {
                let fault = unpack(&answer(2, 0, &sense), 512);
                let is = matches!(fault, Err(Fault::Status { status: found, result: 0 }) if found == status);
                assert!(is, "{key:x}/{asc:02x}/{ascq:02x}: {fault:?}");
            }
        }
        for (scsi, status) in [(0x18, 0x083), (0x40, 0x007)] {
            let fault = unpack(&answer(scsi, 0, &[]), 512);
            assert!(matches!(fault, Err(Fault::Status { status: found, .. }) if found == status), "{fault:?}");
        }
    }

    #[test]
    fn what_several_statuses_may_have_been_is_told_as_it_is() {
        for (key, asc, ascq) in [(5, 0x20, 0x09), (3, 0, 0), (3, 0x11, 1), (3, 0x10, 0), (3, 0x10, 4), (6, 0x29, 0)] {
            for sense in [fixed(key, asc, ascq), descriptor(key, asc, ascq)] {
                let text = host(unpack(&answer(2, 0, &sense), 512)).to_string();
                let code = format!("sense key {key:X}h (");
                assert!(text.contains(&code) && text.contains(&format!("ASC {asc:02X}h, ASCQ {ascq:02X}h")), "{text}");
            }
        }
        let text = host(unpack(&answer(2, 0, &[0x73, 3, 0x11, 0]), 512)).to_string();
        assert!(text.contains("before this one") && text.contains("3h (medium error), ASC 11h"), "{text}");
        let before = host(unpack(&answer(2, 512, &[0x73, 1, 0x17, 0]), 512)).to_string();
        assert!(before.contains("recovered error"), "of another command, so this one was not carried out");
        assert!(host(unpack(&answer(0x30, 0, &[]), 512)).to_string().contains("status 30h"));
        for status in [0x08, 0x28] {
            assert_eq!(host(unpack(&answer(status, 0, &[]), 512)).kind(), ErrorKind::ResourceBusy);
        }
    }

    #[test]
    fn an_answer_that_is_cut_off_anywhere_is_an_error_and_never_a_success() {
        let success = answer(0, 512, &[]);
        for len in 0..16 {
            assert_eq!(host(unpack(&success[..len], 512)).kind(), ErrorKind::InvalidData, "{len} bytes");
        }
        assert!(unpack(&success[..16], 512).is_ok(), "all that is looked at");
        for (sense, key_at, code_at) in [(fixed(5, 0x21, 0), 2, 13), (descriptor(5, 0x21, 0), 1, 3)] {
            let whole = answer(2, 512, &sense);
            for len in 0..whole.len() {
                let told = len.saturating_sub(FIXED_BYTES);
                match unpack(&whole[..len], 512) {
                    Err(Fault::Status { status: 0x80, .. }) => assert!(told > code_at, "{len} bytes"),
                    Err(Fault::Host(error)) if told > key_at => {
                        assert!(told <= code_at && error.to_string().contains("5h (illegal request), and no ASC"));
                    }
                    Err(Fault::Host(error)) => assert_eq!(error.kind(), ErrorKind::InvalidData, "{len} bytes"),
                    other => panic!("{len} bytes: {other:?}"),
                }
            }
            // So, too, where the driver says that it has told fewer bytes than are there.
            for told in 0..=sense.len() {
                let mut short = whole.clone();
                short[7] = told as u8;
                let is_status = matches!(unpack(&short, 512), Err(Fault::Status { .. }));
                assert_eq!(is_status, told > code_at, "{told} bytes");
            }
        }
    }

    #[test]
    fn sense_data_that_is_none_is_not_believed() {
        let none = |sense: &[u8]| {
            let text = host(unpack(&answer(2, 512, sense), 512)).to_string();
            assert!(text.contains("does not tell which"), "{text}");
        };
        none(&[]);
        none(&[0; 18]);
        none(&[0x7f; 18]);
        none(&[0x74, 5, 0x21, 0]);
        // The length says that the codes are not there.
        let mut short = fixed(5, 0x21, 0);
        short[7] = 5;
        assert!(host(unpack(&answer(2, 0, &short), 512)).to_string().contains("no ASC"));
        // More sense data than there is room for.
        let mut long = answer(2, 0, &fixed(5, 0x21, 0));
        long[7] = 255;
        assert!(matches!(unpack(&long, 512), Err(Fault::Status { status: 0x80, .. })));
    }
}
