//! Status: how a command ended.
//!
//! ```text
//!   completion dword 3, bits 31:16            bit 15   14    13:12  11:9   8:1    0
//!   as the u16 of `Cqe::status`                  DNR | more | CRD  | SCT  | SC  | phase
//! ```
//!
//! The phase bit means nothing on fabrics and is written as 0. CRD (command retry delay) is 0 unless the host enables
//! it in Host Behavior Support (ACRE), which is not offered: it is not kept.

use std::fmt;

/// Status Code Type 0h: generic command status.
pub const SCT_GENERIC: u8 = 0;
/// Status Code Type 1h: command specific status.
pub const SCT_COMMAND_SPECIFIC: u8 = 1;
/// Status Code Type 2h: media and data integrity errors.
pub const SCT_MEDIA: u8 = 2;
/// Status Code Type 3h: path related status.
pub const SCT_PATH: u8 = 3;
/// Status Code Type 7h: vendor specific.
pub const SCT_VENDOR: u8 = 7;

/// How a command ended (Base 2.0, Status Field). Equality looks at all four parts; use [`Status::same_code`] to ask
/// only "which error is it".
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status {
    /// Status Code Type, 3 bits.
    pub sct: u8,
    /// Status Code.
    pub sc: u8,
    /// Do Not Retry: the same command will fail again.
    pub dnr: bool,
    /// More information is in the Error Information log.
    pub more: bool,
}

/// Declares each code once: its constant and the name it is shown by.
macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = ($sct:literal, $sc:literal) $text:literal;)*) => {
        impl Status {
            $($(#[$doc])* pub const $name: Status = Status::new($sct, $sc);)*

            /// The name of the code, if it is one of those declared here.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match (self.sct, self.sc) {
                    $(($sct, $sc) => Some($text),)*
                    _ => None,
                }
            }

            /// Every code that has a name, for tables and tests.
            pub const NAMED: &'static [Status] = &[$(Status::$name),*];
        }
    };
}

statuses! {
    /// The command completed without error.
    SUCCESS = (0, 0x00) "Successful Completion";
    /// The opcode (or the fabrics command type) is not one we know.
    INVALID_OPCODE = (0, 0x01) "Invalid Command Opcode";
    /// A field of the command has a value that is not supported.
    INVALID_FIELD = (0, 0x02) "Invalid Field in Command";
    /// The command identifier is in use.
    COMMAND_ID_CONFLICT = (0, 0x03) "Command ID Conflict";
    /// The data could not be transferred.
    DATA_TRANSFER_ERROR = (0, 0x04) "Data Transfer Error";
    /// The power is about to fail.
    ABORTED_POWER_LOSS = (0, 0x05) "Commands Aborted due to Power Loss Notification";
    /// Something broke inside the controller.
    INTERNAL_ERROR = (0, 0x06) "Internal Error";
    /// An Abort command ended this one.
    ABORT_REQUESTED = (0, 0x07) "Command Abort Requested";
    /// The submission queue was deleted.
    ABORTED_SQ_DELETION = (0, 0x08) "Command Aborted due to SQ Deletion";
    /// The other half of the fused pair failed.
    ABORTED_FAILED_FUSED = (0, 0x09) "Command Aborted due to Failed Fused Command";
    /// The other half of the fused pair is missing.
    ABORTED_MISSING_FUSED = (0, 0x0a) "Command Aborted due to Missing Fused Command";
    /// The namespace or its format is invalid.
    INVALID_NAMESPACE = (0, 0x0b) "Invalid Namespace or Format";
    /// The command came at the wrong point of a sequence.
    COMMAND_SEQUENCE_ERROR = (0, 0x0c) "Command Sequence Error";
    /// An SGL segment or last-segment descriptor is wrong.
    INVALID_SGL_SEGMENT_DESCRIPTOR = (0, 0x0d) "Invalid SGL Segment Descriptor";
    /// There are too many, or too few, SGL descriptors.
    INVALID_SGL_DESCRIPTOR_COUNT = (0, 0x0e) "Invalid Number of SGL Descriptors";
    /// The SGL's length does not fit the command's.
    INVALID_SGL_DATA_LENGTH = (0, 0x0f) "Data SGL Length Invalid";
    /// The metadata SGL's length does not fit the command's.
    INVALID_SGL_METADATA_LENGTH = (0, 0x10) "Metadata SGL Length Invalid";
    /// The descriptor's type or sub type is not supported here.
    SGL_DESCRIPTOR_TYPE_INVALID = (0, 0x11) "SGL Descriptor Type Invalid";
    /// The controller memory buffer is used wrongly.
    INVALID_USE_OF_CMB = (0, 0x12) "Invalid Use of Controller Memory Buffer";
    /// A PRP entry has a wrong offset.
    INVALID_PRP_OFFSET = (0, 0x13) "PRP Offset Invalid";
    /// The write is larger than the atomic unit allows.
    ATOMIC_WRITE_UNIT_EXCEEDED = (0, 0x14) "Atomic Write Unit Exceeded";
    /// A right, a lock or a mode forbids it.
    OPERATION_DENIED = (0, 0x15) "Operation Denied";
    /// The offset of an in-capsule descriptor is wrong.
    INVALID_SGL_OFFSET = (0, 0x16) "SGL Offset Invalid";
    /// The host identifier has the wrong size for what is in use.
    HOST_IDENTIFIER_INCONSISTENT_FORMAT = (0, 0x18) "Host Identifier Inconsistent Format";
    /// The keep alive timer ran out.
    KEEP_ALIVE_TIMEOUT_EXPIRED = (0, 0x19) "Keep Alive Timer Expired";
    /// The keep alive timeout is not one that can be set (or is 0 where one is needed).
    KEEP_ALIVE_TIMEOUT_INVALID = (0, 0x1a) "Keep Alive Timeout Invalid";
    /// Ended by Reservation Acquire (preempt and abort).
    ABORTED_PREEMPT = (0, 0x1b) "Command Aborted due to Preempt and Abort";
    /// A sanitize operation failed and was not recovered from.
    SANITIZE_FAILED = (0, 0x1c) "Sanitize Failed";
    /// A sanitize operation is running.
    SANITIZE_IN_PROGRESS = (0, 0x1d) "Sanitize In Progress";
    /// The granularity of an SGL data block is not supported.
    SGL_DATA_BLOCK_GRANULARITY_INVALID = (0, 0x1e) "SGL Data Block Granularity Invalid";
    /// The command is not supported for this queue in the memory buffer.
    NOT_SUPPORTED_FOR_QUEUE_IN_CMB = (0, 0x1f) "Command Not Supported for Queue in CMB";
    /// The namespace is write protected: a read-only device.
    NAMESPACE_IS_WRITE_PROTECTED = (0, 0x20) "Namespace is Write Protected";
    /// Something passing interrupted it; another try may succeed.
    COMMAND_INTERRUPTED = (0, 0x21) "Command Interrupted";
    /// The transport failed for this command, such as a data digest error.
    TRANSIENT_TRANSPORT_ERROR = (0, 0x22) "Transient Transport Error";
    /// A lockdown forbids the command.
    PROHIBITED_BY_LOCKDOWN = (0, 0x23) "Command Prohibited by Command and Feature Lockdown";
    /// The media for admin commands are not ready yet.
    ADMIN_COMMAND_MEDIA_NOT_READY = (0, 0x24) "Admin Command Media Not Ready";
    /// The range is not within the namespace.
    LBA_OUT_OF_RANGE = (0, 0x80) "LBA Out of Range";
    /// No space is left behind a thin namespace.
    CAPACITY_EXCEEDED = (0, 0x81) "Capacity Exceeded";
    /// The namespace cannot be used yet.
    NAMESPACE_NOT_READY = (0, 0x82) "Namespace Not Ready";
    /// A reservation of another host is in the way.
    RESERVATION_CONFLICT = (0, 0x83) "Reservation Conflict";
    /// A format is running.
    FORMAT_IN_PROGRESS = (0, 0x84) "Format In Progress";

    /// The completion queue does not exist.
    INVALID_COMPLETION_QUEUE = (1, 0x00) "Completion Queue Invalid";
    /// The queue identifier is 0, too large or in use.
    INVALID_QUEUE_IDENTIFIER = (1, 0x01) "Invalid Queue Identifier";
    /// The queue size is 0 or larger than supported.
    INVALID_QUEUE_SIZE = (1, 0x02) "Invalid Queue Size";
    /// More Abort commands than ACL allows.
    ABORT_COMMAND_LIMIT = (1, 0x03) "Abort Command Limit Exceeded";
    /// More Asynchronous Event Requests than AERL allows.
    ASYNC_EVENT_LIMIT = (1, 0x05) "Asynchronous Event Request Limit Exceeded";
    /// The firmware slot does not exist or is read-only.
    INVALID_FIRMWARE_SLOT = (1, 0x06) "Invalid Firmware Slot";
    /// The firmware image is not one we can use.
    INVALID_FIRMWARE_IMAGE = (1, 0x07) "Invalid Firmware Image";
    /// The log page is not supported.
    INVALID_LOG_PAGE = (1, 0x09) "Invalid Log Page";
    /// The format is not supported.
    INVALID_FORMAT = (1, 0x0a) "Invalid Format";
    /// The feature identifier cannot be saved.
    FEATURE_NOT_SAVEABLE = (1, 0x0d) "Feature Identifier Not Saveable";
    /// The feature cannot be changed.
    FEATURE_NOT_CHANGEABLE = (1, 0x0e) "Feature Not Changeable";
    /// The feature does not belong to a namespace, but one was given.
    FEATURE_NOT_NAMESPACE_SPECIFIC = (1, 0x0f) "Feature Not Namespace Specific";
    /// The ranges of the command overlap.
    OVERLAPPING_RANGE = (1, 0x14) "Overlapping Range";
    /// The namespace identifier is not available.
    NAMESPACE_IDENTIFIER_UNAVAILABLE = (1, 0x16) "Namespace Identifier Unavailable";
    /// The namespace is attached already.
    NAMESPACE_ALREADY_ATTACHED = (1, 0x18) "Namespace Already Attached";
    /// The namespace belongs to one controller only.
    NAMESPACE_IS_PRIVATE = (1, 0x19) "Namespace Is Private";
    /// The namespace is not attached.
    NAMESPACE_NOT_ATTACHED = (1, 0x1a) "Namespace Not Attached";
    /// The controller list is wrong.
    INVALID_CONTROLLER_LIST = (1, 0x1c) "Controller List Invalid";
    /// The I/O command set is not supported.
    IO_COMMAND_SET_NOT_SUPPORTED = (1, 0x29) "I/O Command Set Not Supported";
    /// The I/O command set is not enabled.
    IO_COMMAND_SET_NOT_ENABLED = (1, 0x2a) "I/O Command Set Not Enabled";
    /// The combination of I/O command sets was refused.
    IO_COMMAND_SET_COMBINATION_REJECTED = (1, 0x2b) "I/O Command Set Combination Rejected";
    /// The I/O command set identifier is wrong.
    INVALID_IO_COMMAND_SET = (1, 0x2c) "Invalid I/O Command Set";
    /// Connect (fabrics), and for an I/O command: Conflicting Attributes (NVM command set).
    CONNECT_INCOMPATIBLE_FORMAT = (1, 0x80) "Connect Incompatible Format";
    /// Connect (fabrics): the controller is busy. For an I/O command: Invalid Protection Information.
    CONNECT_CONTROLLER_BUSY = (1, 0x81) "Connect Controller Busy";
    /// Connect (fabrics). For an I/O command: Attempted Write to Read Only Range.
    CONNECT_INVALID_PARAMETERS = (1, 0x82) "Connect Invalid Parameters";
    /// Connect (fabrics): the discovery must be done again. For an I/O command: [`Status::COMMAND_SIZE_LIMIT`].
    CONNECT_RESTART_DISCOVERY = (1, 0x83) "Connect Restart Discovery";
    /// The destination of Copy overlaps one of its sources (NVM command set).
    OVERLAPPING_IO_RANGE = (1, 0x87) "Overlapping I/O Range";
    /// Connect (fabrics): this host may not connect.
    CONNECT_INVALID_HOST = (1, 0x84) "Connect Invalid Host";
    /// The command is not allowed on this type of queue (fabrics).
    INVALID_QUEUE_TYPE = (1, 0x85) "Invalid Queue Type";
    /// The discovery log changed while it was read.
    DISCOVER_RESTART = (1, 0x90) "Discover Restart";
    /// The queue must be authenticated first.
    AUTHENTICATION_REQUIRED = (1, 0x91) "Authentication Required";
    /// The blocks do not all lie in the zone (zoned namespaces; so the others up to BFh).
    ZONE_BOUNDARY_ERROR = (1, 0xb8) "Zone Boundary Error";
    /// The zone takes no more until a reset.
    ZONE_IS_FULL = (1, 0xb9) "Zone Is Full";
    /// The zone can only be read.
    ZONE_IS_READ_ONLY = (1, 0xba) "Zone Is Read Only";
    /// The zone can be neither read nor written.
    ZONE_IS_OFFLINE = (1, 0xbb) "Zone Is Offline";
    /// A write does not start at the zone's write pointer, or an append not with a zone.
    ZONE_INVALID_WRITE = (1, 0xbc) "Zone Invalid Write";
    /// As many zones are open or closed as there may be.
    TOO_MANY_ACTIVE_ZONES = (1, 0xbd) "Too Many Active Zones";
    /// As many zones are open as there may be.
    TOO_MANY_OPEN_ZONES = (1, 0xbe) "Too Many Open Zones";
    /// The zone's state does not allow the action.
    INVALID_ZONE_STATE_TRANSITION = (1, 0xbf) "Invalid Zone State Transition";

    /// The blocks could not be written.
    WRITE_FAULT = (2, 0x80) "Write Fault";
    /// The blocks could not be read.
    UNRECOVERED_READ_ERROR = (2, 0x81) "Unrecovered Read Error";
    /// The guard of the protection information is wrong.
    GUARD_CHECK_ERROR = (2, 0x82) "End-to-end Guard Check Error";
    /// The application tag of the protection information is wrong.
    APPLICATION_TAG_CHECK_ERROR = (2, 0x83) "End-to-end Application Tag Check Error";
    /// The reference tag of the protection information is wrong.
    REFERENCE_TAG_CHECK_ERROR = (2, 0x84) "End-to-end Reference Tag Check Error";
    /// The Compare command found a difference.
    COMPARE_FAILURE = (2, 0x85) "Compare Failure";
    /// A right or a lock forbids it.
    ACCESS_DENIED = (2, 0x86) "Access Denied";
    /// The block is deallocated or was never written, and reading it is an error here.
    UNWRITTEN_BLOCK = (2, 0x87) "Deallocated or Unwritten Logical Block";

    /// The path failed inside the controller.
    INTERNAL_PATH_ERROR = (3, 0x00) "Internal Path Error";
    /// The namespace will not come back on this path.
    ANA_PERSISTENT_LOSS = (3, 0x01) "Asymmetric Access Persistent Loss";
    /// The namespace is not accessible on this path.
    ANA_INACCESSIBLE = (3, 0x02) "Asymmetric Access Inaccessible";
    /// The namespace changes its access state on this path.
    ANA_TRANSITION = (3, 0x03) "Asymmetric Access Transition";
    /// The controller saw a path error.
    CONTROLLER_PATHING_ERROR = (3, 0x60) "Controller Pathing Error";
    /// The host saw a path error. Hosts make this up; it is never on the wire.
    HOST_PATHING_ERROR = (3, 0x70) "Host Pathing Error";
    /// The host ended the command. Hosts make this up; it is never on the wire.
    ABORTED_BY_HOST = (3, 0x71) "Command Aborted By Host";
}

impl Status {
    /// An I/O command (NVM command set, Copy): more ranges or blocks than MSRC, MSSRL or MCL allow. The code of
    /// [`Status::CONNECT_RESTART_DISCOVERY`] on another command.
    pub const COMMAND_SIZE_LIMIT: Self = Self::new(SCT_COMMAND_SPECIFIC, 0x83);

    /// A status that may be retried.
    #[must_use]
    pub const fn new(sct: u8, sc: u8) -> Self {
        assert!(sct < 8, "SCT has three bits");
        Self { sct, sc, dnr: false, more: false }
    }

    /// The same status with Do Not Retry: the host gives up at once instead of trying again.
    #[must_use]
    pub const fn with_dnr(self) -> Self {
        Self { dnr: true, ..self }
    }

    /// The same status with More: the Error Information log says more.
    #[must_use]
    pub const fn with_more(self) -> Self {
        Self { more: true, ..self }
    }

    /// Whether the command succeeded.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.sct == SCT_GENERIC && self.sc == 0
    }

    /// Whether both have the same type and code, whatever DNR and More say.
    #[must_use]
    pub const fn same_code(self, other: Self) -> bool {
        self.sct == other.sct && self.sc == other.sc
    }

    /// The value of [`super::Cqe::status`]: phase bit 0.
    #[must_use]
    pub const fn to_field(self) -> u16 {
        (self.dnr as u16) << 15 | (self.more as u16) << 14 | (self.sct as u16 & 7) << 9 | (self.sc as u16) << 1
    }

    /// Reads the value of [`super::Cqe::status`]. Phase and CRD are dropped.
    #[must_use]
    pub const fn from_field(field: u16) -> Self {
        Self {
            sct: (field >> 9 & 7) as u8,
            sc: (field >> 1 & 0xff) as u8,
            dnr: field & 1 << 15 != 0,
            more: field & 1 << 14 != 0,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({:x}h/{:02x}h", self.sct, self.sc)?,
            None => write!(f, "status ({:x}h/{:02x}h", self.sct, self.sc)?,
        }
        if self.dnr {
            f.write_str(", do not retry")?;
        }
        f.write_str(")")
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_value_survives_but_phase_and_crd() {
        for field in 0..=u16::MAX {
            assert_eq!(Status::from_field(field).to_field(), field & !0x3001);
        }
    }

    #[test]
    fn known_values_as_linux_has_them() {
        // Linux keeps the field shifted right by one: NVME_SC_INVALID_FIELD | NVME_STATUS_DNR = 0x4002.
        assert_eq!(Status::INVALID_FIELD.with_dnr().to_field() >> 1, 0x4002);
        assert_eq!(Status::CONNECT_INVALID_PARAMETERS.to_field() >> 1, 0x182);
        assert_eq!(Status::UNRECOVERED_READ_ERROR.to_field() >> 1, 0x281);
        assert_eq!(Status::ANA_INACCESSIBLE.to_field() >> 1, 0x302);
        assert_eq!(Status::SUCCESS.to_field(), 0);
    }

    #[test]
    fn names_are_shown_and_unique() {
        assert_eq!(Status::INVALID_FIELD.with_dnr().to_string(), "Invalid Field in Command (0h/02h, do not retry)");
        assert_eq!(Status::new(7, 0xc0).to_string(), "status (7h/c0h)");
        for (i, status) in Status::NAMED.iter().enumerate() {
            assert!(status.name().is_some());
            assert!(!Status::NAMED[..i].contains(status), "{status} is declared twice");
        }
    }

    #[test]
    fn dnr_and_more_do_not_change_the_code() {
        let status = Status::LBA_OUT_OF_RANGE.with_dnr().with_more();
        assert!(status.same_code(Status::LBA_OUT_OF_RANGE) && status != Status::LBA_OUT_OF_RANGE);
        assert!(status.dnr && status.more && !status.is_success() && Status::SUCCESS.with_dnr().is_success());
    }
}
