//! Log pages, read with Get Log Page.
//!
//! ```text
//!   00h  SupportedLogPages  1,024 B      05h  CommandEffects   4,096 B
//!   01h  ErrorEntry            64 B each 12h  FidEffects       1,024 B
//!   02h  SmartLog             512 B      70h  discovery: see the module of that name
//!   03h  FirmwareSlot         512 B      80h  reservation notification: see `reservation`
//!                                        06h to 0Ah, 81h: see `media`; 0Ch: `ana`; BFh: `zns`
//! ```
//!
//! A host reads any part of a log: [`slice()`] cuts it and checks the offset.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Status;

/// LID: which log (Base 2.0, Get Log Page: Log Page Identifiers).
pub mod lid {
    /// Supported Log Pages.
    pub const SUPPORTED_LOG_PAGES: u8 = 0x00;
    /// Error Information.
    pub const ERROR: u8 = 0x01;
    /// SMART / Health Information.
    pub const SMART: u8 = 0x02;
    /// Firmware Slot Information.
    pub const FIRMWARE_SLOT: u8 = 0x03;
    /// Changed Namespace List.
    pub const CHANGED_NAMESPACES: u8 = 0x04;
    /// Commands Supported and Effects.
    pub const COMMAND_EFFECTS: u8 = 0x05;
    /// Device Self-test.
    pub const SELF_TEST: u8 = 0x06;
    /// Telemetry, host-initiated.
    pub const TELEMETRY_HOST: u8 = 0x07;
    /// Telemetry, controller-initiated.
    pub const TELEMETRY_CONTROLLER: u8 = 0x08;
    /// Endurance Group Information.
    pub const ENDURANCE: u8 = 0x09;
    /// Predictable Latency Per NVM Set.
    pub const PREDICTABLE_LATENCY: u8 = 0x0a;
    /// Asymmetric Namespace Access.
    pub const ANA: u8 = 0x0c;
    /// Persistent Event.
    pub const PERSISTENT_EVENT: u8 = 0x0d;
    /// LBA Status Information.
    pub const LBA_STATUS: u8 = 0x0e;
    /// Feature Identifiers Supported and Effects.
    pub const FID_EFFECTS: u8 = 0x12;
    /// NVMe-MI Commands Supported and Effects.
    pub const MI_EFFECTS: u8 = 0x13;
    /// Boot Partition.
    pub const BOOT_PARTITION: u8 = 0x15;
    /// Discovery.
    pub const DISCOVERY: u8 = 0x70;
    /// Reservation Notification.
    pub const RESERVATION_NOTIFICATION: u8 = 0x80;
    /// Sanitize Status.
    pub const SANITIZE: u8 = 0x81;
    /// Changed Zone List (ZNS 1.1).
    pub const CHANGED_ZONES: u8 = 0xbf;
}

/// The part of a log that a host asks for: up to `bytes` bytes from `offset`. It is shorter than asked where the log
/// ends before; the caller fills the rest with zeros.
///
/// # Errors
/// [`Status::INVALID_FIELD`] with DNR for an offset that is not a multiple of 4 or lies beyond the log.
pub fn slice(log: &[u8], offset: u64, bytes: u64) -> Result<&[u8], Status> {
    let start = usize::try_from(offset).ok().filter(|start| start.is_multiple_of(4) && *start <= log.len());
    let rest = &log[start.ok_or(Status::INVALID_FIELD.with_dnr())?..];
    Ok(&rest[..rest.len().min(usize::try_from(bytes).unwrap_or(usize::MAX))])
}

/// Supported Log Pages (Base 2.0, LID 00h), 1,024 bytes: one entry for each LID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SupportedLogPages {
    /// Bit 0: supported (LSUPP); bit 1: an offset may be an index (IOS); bits 31:16: LID specific.
    pub lids: [U32; 256],
}

const _: () = assert!(size_of::<SupportedLogPages>() == 1024);

impl SupportedLogPages {
    /// Bit 0: the log is supported.
    pub const LSUPP: u32 = 1 << 0;
    /// Bit 1: the offset may count entries.
    pub const IOS: u32 = 1 << 1;

    /// The page for these logs.
    #[must_use]
    pub fn build(lids: &[u8]) -> Self {
        let mut log = Self { lids: [U32::ZERO; 256] };
        lids.iter().for_each(|&lid| log.lids[usize::from(lid)] = U32::new(Self::LSUPP));
        log
    }
}

/// An entry of the Error Information log (Base 2.0, LID 01h), 64 bytes. The newest entry comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ErrorEntry {
    /// Counts errors over the life of the controller; 0 is no entry.
    pub error_count: U64,
    /// Submission queue of the command; FFFFh if the error belongs to none.
    pub sqid: U16,
    /// Command; FFFFh if the error belongs to none.
    pub cid: U16,
    /// Its status, as in [`super::Cqe::status`].
    pub status: U16,
    /// Where the wrong parameter is: byte of the command in bits 7:0, bit in 10:8; FFFFh for none.
    pub parameter_error_location: U16,
    /// First logical block with the error.
    pub lba: U64,
    /// Namespace.
    pub nsid: U32,
    /// Vendor specific log page with more about it; 0 for none.
    pub vs: u8,
    /// Transport: [`super::discovery::TRTYPE_TCP`].
    pub trtype: u8,
    /// Command set of the command.
    pub csi: u8,
    /// Opcode of the command.
    pub opcode: u8,
    /// Command specific.
    pub cs: U64,
    /// Transport specific.
    pub trtype_spec_info: U16,
    /// Reserved.
    pub reserved42: [u8; 21],
    /// Version of this entry's layout: 1 where csi and opcode hold.
    pub lpver: u8,
}

const _: () = assert!(size_of::<ErrorEntry>() == 64);

/// SMART / Health Information (Base 2.0, LID 02h), 512 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SmartLog {
    /// Critical warning: bit 0 spare, 1 temperature, 2 reliability, 3 read-only, 4 volatile memory backup, 5 PMR.
    pub critical_warning: u8,
    /// Composite temperature in kelvin.
    pub temperature: U16,
    /// Available spare in percent.
    pub avail_spare: u8,
    /// Available spare threshold in percent.
    pub spare_thresh: u8,
    /// Percentage used; may exceed 100.
    pub percent_used: u8,
    /// Endurance group critical warning summary.
    pub endu_grp_crit_warn_sumry: u8,
    /// Reserved.
    pub reserved7: [u8; 25],
    /// Data units read: see [`SmartLog::data_units`].
    pub data_units_read: U128,
    /// Data units written: see [`SmartLog::data_units`].
    pub data_units_written: U128,
    /// Read commands.
    pub host_reads: U128,
    /// Write commands.
    pub host_writes: U128,
    /// Controller busy time in minutes.
    pub ctrl_busy_time: U128,
    /// Power cycles.
    pub power_cycles: U128,
    /// Power on hours.
    pub power_on_hours: U128,
    /// Unsafe shutdowns.
    pub unsafe_shutdowns: U128,
    /// Media and data integrity errors.
    pub media_errors: U128,
    /// Error log entries over the life of the controller.
    pub num_err_log_entries: U128,
    /// Warning composite temperature time in minutes.
    pub warning_temp_time: U32,
    /// Critical composite temperature time in minutes.
    pub critical_comp_time: U32,
    /// Temperature sensors in kelvin; 0 is none.
    pub temp_sensor: [U16; 8],
    /// Transitions of thermal management temperature 1.
    pub thm_temp1_trans_count: U32,
    /// Transitions of thermal management temperature 2.
    pub thm_temp2_trans_count: U32,
    /// Seconds in thermal management temperature 1.
    pub thm_temp1_total_time: U32,
    /// Seconds in thermal management temperature 2.
    pub thm_temp2_total_time: U32,
    /// Reserved.
    pub reserved232: [u8; 280],
}

const _: () = assert!(size_of::<SmartLog>() == 512);

impl SmartLog {
    /// Bytes as data units: thousands of 512 bytes, rounded up.
    #[must_use]
    pub const fn data_units(bytes: u64) -> U128 {
        U128::new(bytes.div_ceil(512_000) as u128)
    }
}

/// Firmware Slot Information (Base 2.0, LID 03h), 512 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FirmwareSlot {
    /// Active firmware info: active slot in bits 2:0, slot of the next reset in bits 6:4.
    pub afi: u8,
    /// Reserved.
    pub reserved1: [u8; 7],
    /// Firmware revision of each slot, ASCII; zero is an empty slot.
    pub frs: [[u8; 8]; 7],
    /// Reserved.
    pub reserved64: [u8; 448],
}

const _: () = assert!(size_of::<FirmwareSlot>() == 512);

impl FirmwareSlot {
    /// One slot, active, with this revision.
    #[must_use]
    pub const fn single(revision: [u8; 8]) -> Self {
        let mut frs = [[0; 8]; 7];
        frs[0] = revision;
        Self { afi: 1, reserved1: [0; 7], frs, reserved64: [0; 448] }
    }
}

/// What a command does beside its result.
pub mod effects {
    /// CSUPP: the command is supported.
    pub const SUPPORTED: u32 = 1 << 0;
    /// LBCC: it may change the content of logical blocks.
    pub const CONTENT_CHANGE: u32 = 1 << 1;
    /// NCC: it may change the capability of a namespace.
    pub const NAMESPACE_CHANGE: u32 = 1 << 2;
    /// NIC: it may change the inventory of namespaces.
    pub const INVENTORY_CHANGE: u32 = 1 << 3;
    /// CCC: it may change the capability of the controller.
    pub const CONTROLLER_CHANGE: u32 = 1 << 4;
    /// CSP bit 0 (bits 31:20): the command's scope is a namespace.
    pub const SCOPE_NAMESPACE: u32 = 1 << 20;
    /// CSP bit 1: the command's scope is the controller.
    pub const SCOPE_CONTROLLER: u32 = 1 << 21;
    /// CSP bit 5: the command's scope is the NVM subsystem.
    pub const SCOPE_SUBSYSTEM: u32 = 1 << 25;
}

/// Commands Supported and Effects (Base 2.0, LID 05h), 4,096 bytes: one entry for each opcode, see [`effects`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CommandEffects {
    /// Admin commands.
    pub acs: [U32; 256],
    /// I/O commands.
    pub iocs: [U32; 256],
    /// Reserved.
    pub reserved2048: [u8; 2048],
}

const _: () = assert!(size_of::<CommandEffects>() == 4096);

/// Feature Identifiers Supported and Effects (Base 2.0, LID 12h), 1,024 bytes: one entry for each FID. Bit 0 is
/// "supported" (FSUPP), bit 1 "changes user data" (UDCC), the other bits are those of [`effects`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FidEffects {
    /// Features.
    pub fids: [U32; 256],
}

const _: () = assert!(size_of::<FidEffects>() == 1024);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_where_the_specification_has_them() {
        offsets!(ErrorEntry:
            error_count 0, sqid 8, cid 10, status 12, parameter_error_location 14, lba 16, nsid 24, vs 28, trtype 29,
            csi 30, opcode 31, cs 32, trtype_spec_info 40, lpver 63,
        );
        offsets!(SmartLog:
            critical_warning 0, temperature 1, avail_spare 3, spare_thresh 4, percent_used 5,
            endu_grp_crit_warn_sumry 6, data_units_read 32, data_units_written 48, host_reads 64, host_writes 80,
            ctrl_busy_time 96, power_cycles 112, power_on_hours 128, unsafe_shutdowns 144, media_errors 160,
            num_err_log_entries 176, warning_temp_time 192, critical_comp_time 196, temp_sensor 200,
            thm_temp1_trans_count 216, thm_temp2_trans_count 220, thm_temp1_total_time 224, thm_temp2_total_time 228,
        );
        offsets!(FirmwareSlot: afi 0, frs 8,);
        offsets!(CommandEffects: acs 0, iocs 1024,);
    }

    #[test]
    fn data_units_round_up() {
        let units = |bytes| SmartLog::data_units(bytes).get();
        assert_eq!([0, 1, 512_000, 512_001].map(units), [0, 1, 1, 2]);
        assert_eq!(units(u64::MAX), 36_028_797_018_964);
    }

    #[test]
    fn pages_say_what_there_is() {
        let log = SupportedLogPages::build(&[lid::ERROR, lid::DISCOVERY]);
        let supported: Vec<_> = (0..256).filter(|&lid| log.lids[lid].get() & SupportedLogPages::LSUPP != 0).collect();
        assert_eq!(supported, [1, 0x70]);
        let slots = FirmwareSlot::single(*b"0.1.0   ");
        assert_eq!(slots.as_bytes()[..24], *b"\x01\0\0\0\0\0\0\x000.1.0   \0\0\0\0\0\0\0\0");
    }

    #[test]
    fn slices_stop_at_the_end() {
        let log: Vec<u8> = (0..64).collect();
        assert_eq!(slice(&log, 0, 64), Ok(&log[..]));
        assert_eq!(slice(&log, 60, 4096), Ok(&log[60..]));
        assert_eq!(slice(&log, 64, 4), Ok(&log[64..]));
        for offset in [1, 2, 3, 62, 68, 1 << 32, u64::MAX, u64::MAX - 3] {
            assert_eq!(slice(&log, offset, 4), Err(Status::INVALID_FIELD.with_dnr()), "{offset}");
        }
    }

    proptest! {
        #[test]
        fn slices_are_within_the_log(log in prop::collection::vec(any::<u8>(), 0..40), offset in 0u64..50, bytes: u64) {
            match slice(&log, offset, bytes) {
                Ok(part) => prop_assert!(log[offset as usize..].starts_with(part) && part.len() as u64 <= bytes),
                Err(_) => prop_assert!(offset % 4 != 0 || offset > log.len() as u64),
            }
        }
    }
}
