//! Features, read and set with Get Features and Set Features, and the events that one of them enables.
//!
//! ```text
//!   07h number of queues   dword 11 and the result     31:16 completion queues  15:0 submission queues   0's based
//!   0Bh async events       dword 11 and the result     one bit an event: see `event_config`
//!   0Fh KATO               dword 11 and the result     milliseconds
//!
//!   an asynchronous event  result of the request       23:16 log page  15:8 information  2:0 type
//! ```

/// Feature identifiers (Base 2.0, Feature Identifiers).
pub mod fid {
    /// Arbitration.
    pub const ARBITRATION: u8 = 0x01;
    /// Power Management.
    pub const POWER_MANAGEMENT: u8 = 0x02;
    /// Temperature Threshold.
    pub const TEMPERATURE_THRESHOLD: u8 = 0x04;
    /// Error Recovery.
    pub const ERROR_RECOVERY: u8 = 0x05;
    /// Volatile Write Cache: bit 0 of dword 11 is WCE.
    pub const VOLATILE_WRITE_CACHE: u8 = 0x06;
    /// Number of Queues.
    pub const NUMBER_OF_QUEUES: u8 = 0x07;
    /// Interrupt Coalescing; not on fabrics.
    pub const INTERRUPT_COALESCING: u8 = 0x08;
    /// Interrupt Vector Configuration; not on fabrics.
    pub const INTERRUPT_VECTOR: u8 = 0x09;
    /// Write Atomicity Normal: bit 0 of dword 11 is DN.
    pub const WRITE_ATOMICITY: u8 = 0x0a;
    /// Asynchronous Event Configuration.
    pub const ASYNC_EVENT_CONFIG: u8 = 0x0b;
    /// Timestamp.
    pub const TIMESTAMP: u8 = 0x0e;
    /// Keep Alive Timer.
    pub const KATO: u8 = 0x0f;
    /// Host Behavior Support.
    pub const HOST_BEHAVIOR: u8 = 0x16;
    /// I/O Command Set Profile.
    pub const IO_COMMAND_SET_PROFILE: u8 = 0x19;
    /// Host Identifier.
    pub const HOST_ID: u8 = 0x81;
    /// Reservation Notification Mask.
    pub const RESERVATION_NOTIFICATION: u8 = 0x82;
    /// Reservation Persistence.
    pub const RESERVATION_PERSISTENCE: u8 = 0x83;
    /// Namespace Write Protection Config.
    pub const WRITE_PROTECTION: u8 = 0x84;
}

/// Select of Get Features: which value (Base 2.0, Get Features).
pub mod select {
    /// The value in use.
    pub const CURRENT: u8 = 0;
    /// The value after a reset of a new controller.
    pub const DEFAULT: u8 = 1;
    /// The value after a power cycle.
    pub const SAVED: u8 = 2;
    /// What can be done with it: the result has the bits of [`super::capability`].
    pub const SUPPORTED_CAPABILITIES: u8 = 3;
}

/// The result of Get Features with [`select::SUPPORTED_CAPABILITIES`].
pub mod capability {
    /// It can be saved.
    pub const SAVEABLE: u32 = 1 << 0;
    /// It belongs to a namespace.
    pub const NAMESPACE_SPECIFIC: u32 = 1 << 1;
    /// It can be changed.
    pub const CHANGEABLE: u32 = 1 << 2;
}

/// Number of Queues: what a host asks for, or what a controller grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueCounts {
    /// I/O submission queues, 1 to 65,535.
    pub submission: u32,
    /// I/O completion queues, 1 to 65,535.
    pub completion: u32,
}

impl QueueCounts {
    /// As many of each.
    #[must_use]
    pub const fn of(queues: u32) -> Self {
        Self { submission: queues, completion: queues }
    }

    /// From dword 11 of the command or from the result; `None` for a count of 65,536, which is invalid.
    #[must_use]
    pub const fn from_dword(dword: u32) -> Option<Self> {
        let (submission, completion) = ((dword & 0xffff) + 1, (dword >> 16) + 1);
        if submission > 0xffff || completion > 0xffff { None } else { Some(Self { submission, completion }) }
    }

    /// As dword 11 of the command, or as the result.
    #[must_use]
    pub const fn to_dword(self) -> u32 {
        let (submission, completion) = (self.submission.wrapping_sub(1), self.completion.wrapping_sub(1));
        assert!(submission < 0xffff && completion < 0xffff, "there are 1 to 65,535 queues");
        completion << 16 | submission
    }
}

/// Asynchronous Event Configuration: the events that a host wants.
pub mod event_config {
    /// SMART / Health critical warnings: the bits of [`crate::nvme::SmartLog::critical_warning`].
    pub const SMART: u32 = 0xff;
    /// Namespace attribute notices.
    pub const NAMESPACE_ATTRIBUTE: u32 = 1 << 8;
    /// Firmware activation notices.
    pub const FIRMWARE_ACTIVATION: u32 = 1 << 9;
    /// Asymmetric namespace access change notices.
    pub const ANA_CHANGE: u32 = 1 << 11;
    /// Discovery log page change notices.
    pub const DISCOVERY_CHANGE: u32 = 1 << 31;
}

/// An asynchronous event: the result of an Asynchronous Event Request (Base 2.0, Asynchronous Event Request).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Type, 3 bits: 0 error, 1 SMART / health, 2 notice, 6 command set, 7 vendor.
    pub kind: u8,
    /// Information: what of that type.
    pub information: u8,
    /// The log page to read; reading it (without RAE) clears the event.
    pub lid: u8,
}

impl Event {
    /// Type 2h, notice.
    pub const NOTICE: u8 = 2;
    /// Notice 00h: namespaces changed; the list of changed ones is log 04h.
    pub const NAMESPACES_CHANGED: Self =
        Self { kind: Self::NOTICE, information: 0x00, lid: super::lid::CHANGED_NAMESPACES };
    /// Notice F0h: the discovery log changed.
    pub const DISCOVERY_CHANGED: Self = Self { kind: Self::NOTICE, information: 0xf0, lid: super::lid::DISCOVERY };
    /// Type 6h (I/O command set specific), 00h: a page of the reservation notification log can be read.
    pub const RESERVATION_LOG: Self = Self { kind: 6, information: 0x00, lid: super::lid::RESERVATION_NOTIFICATION };

    /// As the result of the request.
    #[must_use]
    pub const fn to_result(self) -> u64 {
        assert!(self.kind < 8, "the type has three bits");
        (self.lid as u64) << 16 | (self.information as u64) << 8 | self.kind as u64
    }

    /// From the result of the request.
    #[must_use]
    pub const fn from_result(result: u64) -> Self {
        Self { kind: result as u8 & 7, information: (result >> 8) as u8, lid: (result >> 16) as u8 }
    }
}

/// Abort: the result's bit 0 is 0 when the command was aborted, 1 when it was not.
#[must_use]
pub const fn abort_result(aborted: bool) -> u64 {
    !aborted as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_counts_are_zero_based() {
        assert_eq!(QueueCounts::from_dword(0x0003_0007), Some(QueueCounts { submission: 8, completion: 4 }));
        assert_eq!(QueueCounts::of(16).to_dword(), 0x000f_000f);
        assert_eq!(QueueCounts::from_dword(0xfffe_fffe), Some(QueueCounts::of(65_535)));
        assert_eq!([0xffff_0000, 0x0000_ffff, u32::MAX].map(QueueCounts::from_dword), [None; 3]);
    }

    #[test]
    #[should_panic(expected = "65,535 queues")]
    fn no_queue_cannot_be_granted() {
        let _ = QueueCounts::of(0).to_dword();
    }

    #[test]
    fn events_as_linux_reads_them() {
        assert_eq!(Event::DISCOVERY_CHANGED.to_result(), 0x0070_f002);
        assert_eq!(Event::NAMESPACES_CHANGED.to_result(), 0x0004_0002);
        assert_eq!(Event::from_result(0x0070_f002), Event::DISCOVERY_CHANGED);
        assert_eq!((abort_result(true), abort_result(false)), (0, 1));
    }
}
