//! Logs about the media: self-tests, telemetry, endurance groups, predictable latency, sanitize.
//!
//! ```text
//!   06h  SelfTestLog    564 B      the operation under way, and the last 20 that ended
//!   07h  TelemetryHeader 512 B     host-initiated; 08h: controller-initiated. Blocks of 512 bytes follow
//!   09h  EnduranceLog   512 B      of the endurance group that the request names
//!   0Ah  LatencyLog     512 B      of the NVM set that the request names
//!   81h  SanitizeLog    512 B      the last sanitize operation, and how long one takes
//! ```

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A self-test that ended (Base 2.0, Self-test Result Data Structure), 28 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SelfTestResult {
    /// Bits 3:0 result, Fh: this entry is not used; bits 7:4 which test.
    pub dsts: u8,
    /// Segment that failed first.
    pub seg: u8,
    /// Which of the following fields are valid: bit 0 NSID, 1 failing LBA, 2 SCT, 3 SC.
    pub vdi: u8,
    /// Reserved.
    pub reserved3: u8,
    /// Power on hours when it ended.
    pub poh: U64,
    /// Namespace with the failure.
    pub nsid: U32,
    /// First block that failed.
    pub flba: U64,
    /// Status code type.
    pub sct: u8,
    /// Status code.
    pub sc: u8,
    /// Vendor specific.
    pub vs: U16,
}

const _: () = assert!(size_of::<SelfTestResult>() == 28);

impl SelfTestResult {
    /// Result of an entry that is not used.
    pub const UNUSED: u8 = 0xf;

    /// How it ended: 0 is well.
    #[must_use]
    pub const fn result(&self) -> u8 {
        self.dsts & 0xf
    }

    /// Which test: 1 short, 2 extended, Eh vendor specific.
    #[must_use]
    pub const fn code(&self) -> u8 {
        self.dsts >> 4
    }
}

/// Device Self-test (Base 2.0, LID 06h), 564 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SelfTestLog {
    /// Test under way, bits 3:0; 0 is none.
    pub current_operation: u8,
    /// How far it is in percent, bits 6:0.
    pub completion: u8,
    /// Reserved.
    pub reserved2: [u8; 2],
    /// The newest first.
    pub results: [SelfTestResult; 20],
}

const _: () = assert!(size_of::<SelfTestLog>() == 564);

/// Sanitize Status (Base 2.0, LID 81h), 512 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SanitizeLog {
    /// Progress in 1/65,536; FFFFh where none is under way.
    pub sprog: U16,
    /// Status: bits 2:0 how the last one ended, 7:3 passes, 8 nothing was written since.
    pub sstat: U16,
    /// Dword 10 of the last Sanitize.
    pub scdw10: U32,
    /// Seconds for overwrite, block erase, crypto erase, and for each without deallocation after it; FFFFFFFFh is not
    /// reported.
    pub times: [U32; 6],
    /// Reserved.
    pub reserved32: [u8; 480],
}

const _: () = assert!(size_of::<SanitizeLog>() == 512);

/// Endurance Group Information (Base 2.0, LID 09h), 512 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct EnduranceLog {
    /// Critical warning: bit 0 spare, 2 reliability, 3 read-only.
    pub critical_warning: u8,
    /// Endurance group features: bit 7 media are rotational.
    pub egfeat: u8,
    /// Reserved.
    pub reserved2: u8,
    /// Available spare in percent.
    pub avl_spare: u8,
    /// Available spare threshold in percent.
    pub avl_spare_threshold: u8,
    /// Percentage used; may exceed 100.
    pub percent_used: u8,
    /// Domain.
    pub did: U16,
    /// Reserved.
    pub reserved8: [u8; 24],
    /// Data that can be written in its life, in units of 10^9 bytes.
    pub endurance_estimate: U128,
    /// Read by hosts, in units of 10^9 bytes.
    pub data_units_read: U128,
    /// Written by hosts, in units of 10^9 bytes.
    pub data_units_written: U128,
    /// Written to the media, in units of 10^9 bytes.
    pub media_units_written: U128,
    /// Read commands.
    pub host_read_cmds: U128,
    /// Write commands.
    pub host_write_cmds: U128,
    /// Media and data integrity errors.
    pub media_data_integrity_err: U128,
    /// Entries of the error log.
    pub num_err_info_log_entries: U128,
    /// Capacity in bytes.
    pub tegcap: U128,
    /// Unallocated capacity in bytes.
    pub uegcap: U128,
    /// Reserved.
    pub reserved192: [u8; 320],
}

const _: () = assert!(size_of::<EnduranceLog>() == 512);

/// Header of the telemetry logs (Base 2.0, LID 07h and 08h), 512 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TelemetryHeader {
    /// The log's own identifier.
    pub lpi: u8,
    /// Reserved.
    pub reserved1: [u8; 4],
    /// IEEE OUI of whoever can read the data.
    pub ieee: [u8; 3],
    /// Last blocks of data areas 1 to 3; each area contains those before it.
    pub dalb: [U16; 3],
    /// Reserved.
    pub reserved14: [u8; 2],
    /// Last block of data area 4.
    pub dalb4: U32,
    /// Reserved.
    pub reserved20: [u8; 361],
    /// Generation number of host-initiated data.
    pub hostdgn: u8,
    /// 1: controller-initiated data are available.
    pub ctrlavail: u8,
    /// Generation number of controller-initiated data.
    pub ctrldgn: u8,
    /// Why the data were collected, in the vendor's words.
    pub rsnident: [u8; 128],
}

const _: () = assert!(size_of::<TelemetryHeader>() == 512);

/// Predictable Latency Per NVM Set (Base 2.0, LID 0Ah), 512 bytes. Times are in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct LatencyLog {
    /// Window, bits 2:0: 0 not enabled, 1 deterministic, 2 non-deterministic.
    pub status: u8,
    /// Reserved.
    pub reserved1: u8,
    /// Events that have happened.
    pub event_type: U16,
    /// Reserved.
    pub reserved4: [u8; 28],
    /// Reads of 4 KiB in a deterministic window, typically.
    pub dtwin_reads_typical: U64,
    /// Writes of the optimal size in a deterministic window, typically.
    pub dtwin_writes_typical: U64,
    /// Longest deterministic window.
    pub dtwin_time_maximum: U64,
    /// Shortest non-deterministic window after a long deterministic one.
    pub ndwin_time_minimum_high: U64,
    /// Shortest non-deterministic window.
    pub ndwin_time_minimum_low: U64,
    /// Reserved.
    pub reserved72: [u8; 56],
    /// Reads left in this window, an estimate.
    pub dtwin_reads_estimate: U64,
    /// Writes left in this window, an estimate.
    pub dtwin_writes_estimate: U64,
    /// Time left in this window, an estimate.
    pub dtwin_time_estimate: U64,
    /// Reserved.
    pub reserved152: [u8; 360],
}

const _: () = assert!(size_of::<LatencyLog>() == 512);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_specification_has_them() {
        offsets!(SelfTestResult: dsts 0, seg 1, vdi 2, poh 4, nsid 12, flba 16, sct 24, sc 25, vs 26,);
        offsets!(SelfTestLog: current_operation 0, completion 1, results 4,);
        offsets!(SanitizeLog: sprog 0, sstat 2, scdw10 4, times 8,);
        offsets!(TelemetryHeader:
            lpi 0, ieee 5, dalb 8, dalb4 16, hostdgn 381, ctrlavail 382, ctrldgn 383, rsnident 384,
        );
        offsets!(LatencyLog:
            status 0, event_type 2, dtwin_reads_typical 32, dtwin_writes_typical 40, dtwin_time_maximum 48,
            ndwin_time_minimum_high 56, ndwin_time_minimum_low 64, dtwin_reads_estimate 128,
            dtwin_writes_estimate 136, dtwin_time_estimate 144,
        );
        offsets!(EnduranceLog:
            critical_warning 0, egfeat 1, avl_spare 3, avl_spare_threshold 4, percent_used 5, did 6,
            endurance_estimate 32, data_units_read 48, data_units_written 64, media_units_written 80,
            host_read_cmds 96, host_write_cmds 112, media_data_integrity_err 128, num_err_info_log_entries 144,
            tegcap 160, uegcap 176,
        );
    }

    #[test]
    fn a_result_has_two_halves() {
        let result = SelfTestResult { dsts: 0x2f, ..SelfTestResult::default() };
        assert_eq!((result.result(), result.code()), (SelfTestResult::UNUSED, 2));
    }
}
