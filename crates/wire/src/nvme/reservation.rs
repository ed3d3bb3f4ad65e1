//! Reservations: hosts that share a namespace agree who may read and write it.
//!
//! ```text
//!                 opcode   dword 10                                             data
//!   register        0Dh    2:0 action  3 IEKEY              31:30 CPTPL         CRKEY  NRKEY     16 B from the host
//!   report          0Eh    31:0 dwords, 0's based; dword 11 bit 0 EDS           ReservationStatus + registrants
//!   acquire         11h    2:0 action  3 IEKEY  15:8 type                       CRKEY  PRKEY     16 B from the host
//!   release         15h    2:0 action  3 IEKEY  15:8 type                       CRKEY             8 B from the host
//!
//!   report with EDS 1    | status 64 B | registrant 64 B | ...      host identifiers of 128 bits, as fabrics has them
//!   report with EDS 0    | status 24 B | registrant 24 B | ...      host identifiers of 64 bits
//! ```
//!
//! Base 2.0, Reservation Acquire, Register, Release and Report; Reservations. Also here: the Reservation Notification
//! log (80h), the bits of its mask (feature 82h), and of what a namespace is capable of (RESCAP).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::opcode::io;
use super::{Sqe, Status};

/// What a namespace is capable of (RESCAP of Identify Namespace).
pub mod rescap {
    /// Reservations and registrations can be made to persist through power loss.
    pub const PTPL: u8 = 1 << 0;
    /// Write Exclusive.
    pub const WRITE_EXCLUSIVE: u8 = 1 << 1;
    /// Exclusive Access.
    pub const EXCLUSIVE_ACCESS: u8 = 1 << 2;
    /// Write Exclusive - Registrants Only.
    pub const WRITE_EXCLUSIVE_REGISTRANTS: u8 = 1 << 3;
    /// Exclusive Access - Registrants Only.
    pub const EXCLUSIVE_ACCESS_REGISTRANTS: u8 = 1 << 4;
    /// Write Exclusive - All Registrants.
    pub const WRITE_EXCLUSIVE_ALL: u8 = 1 << 5;
    /// Exclusive Access - All Registrants.
    pub const EXCLUSIVE_ACCESS_ALL: u8 = 1 << 6;
    /// Ignore Existing Key as revision 1.3 and later define it: only Reservation Register takes it.
    pub const IEKEY_1_3: u8 = 1 << 7;
    /// All six types.
    pub const ALL_TYPES: u8 = 0x7e;
}

/// The bits of feature 82h, Reservation Notification Mask: a set one keeps the notification away.
pub mod mask {
    /// Registration Preempted.
    pub const REGISTRATION_PREEMPTED: u32 = 1 << 1;
    /// Reservation Released.
    pub const RESERVATION_RELEASED: u32 = 1 << 2;
    /// Reservation Preempted.
    pub const RESERVATION_PREEMPTED: u32 = 1 << 3;
    /// Those that there are.
    pub const ALL: u32 = REGISTRATION_PREEMPTED | RESERVATION_RELEASED | RESERVATION_PREEMPTED;
}

/// Feature 83h, Reservation Persistence, dword 11 and result: PTPL, persist through power loss.
pub const PERSIST: u32 = 1 << 0;
/// CNTLID of a registrant whose host has no static controller: every one with dynamic controllers.
pub const CNTLID_DYNAMIC: u16 = 0xffff;

/// IEKEY in dword 10.
const IEKEY: u32 = 1 << 3;
/// EDS in dword 11 of Reservation Report: the extended data structure.
const EDS: u32 = 1 << 0;

/// RTYPE: who may do what (Base 2.0, Reservation Type Encoding).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ReservationType {
    /// Only the holder writes; all read.
    WriteExclusive = 1,
    /// Only the holder reads and writes.
    ExclusiveAccess = 2,
    /// Only registrants write; all read.
    WriteExclusiveRegistrants = 3,
    /// Only registrants read and write.
    ExclusiveAccessRegistrants = 4,
    /// Only registrants, who all are holders, write; all read.
    WriteExclusiveAll = 5,
    /// Only registrants, who all are holders, read and write.
    ExclusiveAccessAll = 6,
}

impl ReservationType {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::WriteExclusive,
        Self::ExclusiveAccess,
        Self::WriteExclusiveRegistrants,
        Self::ExclusiveAccessRegistrants,
        Self::WriteExclusiveAll,
        Self::ExclusiveAccessAll,
    ];

    /// From RTYPE; `None` for 0 (no reservation) and for what is reserved.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code.checked_sub(1)?)).copied()
    }

    /// RTYPE.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Every registrant is a holder.
    #[must_use]
    pub const fn held_by_all(self) -> bool {
        matches!(self, Self::WriteExclusiveAll | Self::ExclusiveAccessAll)
    }

    /// Registrants that do not hold it may do what the holder may: "registrants only" and "all registrants".
    #[must_use]
    pub const fn admits_registrants(self) -> bool {
        !matches!(self, Self::WriteExclusive | Self::ExclusiveAccess)
    }

    /// Reads are restricted, too.
    #[must_use]
    pub const fn restricts_reads(self) -> bool {
        matches!(self, Self::ExclusiveAccess | Self::ExclusiveAccessRegistrants | Self::ExclusiveAccessAll)
    }
}

/// RREGA: what Reservation Register does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RegisterAction {
    /// Register Reservation Key.
    Register = 0,
    /// Unregister Reservation Key.
    Unregister = 1,
    /// Replace Reservation Key.
    Replace = 2,
}

/// RACQA: what Reservation Acquire does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AcquireAction {
    /// Acquire.
    Acquire = 0,
    /// Preempt.
    Preempt = 1,
    /// Preempt and Abort: also ends the commands of those who lose their registration.
    PreemptAndAbort = 2,
}

/// RRELA: what Reservation Release does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReleaseAction {
    /// Release the reservation.
    Release = 0,
    /// Clear: release it and unregister all.
    Clear = 1,
}

/// A reservation command that changes something: dword 10, checked, without its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Reservation Register.
    Register {
        /// What it does.
        action: RegisterAction,
        /// IEKEY: the current key is not looked at.
        ignore_key: bool,
        /// CPTPL: the new state of persist through power loss; `None` leaves it.
        persist: Option<bool>,
    },
    /// Reservation Acquire.
    Acquire {
        /// What it does.
        action: AcquireAction,
        /// The type of the reservation wanted.
        kind: ReservationType,
    },
    /// Reservation Release.
    Release {
        /// What it does.
        action: ReleaseAction,
        /// RTYPE: the type that the host believes to hold. Of no meaning for Clear.
        kind: u8,
    },
}

impl Change {
    /// The change that a command asks for.
    ///
    /// # Errors
    /// With DNR: [`Status::INVALID_FIELD`] for an action, a type or a CPTPL that is reserved, and for IEKEY in Acquire
    /// and Release (RESCAP bit 7); [`Status::INVALID_OPCODE`] for a command that changes no reservation.
    pub fn of(sqe: &Sqe) -> Result<Self, Status> {
        let dword = sqe.cdw10.get();
        let (action, ignore_key, kind) = (dword & 7, dword & IEKEY != 0, (dword >> 8) as u8);
        let invalid = Status::INVALID_FIELD.with_dnr();
        match sqe.opcode {
            io::RESERVATION_REGISTER => {
                let action = match action {
                    0 => RegisterAction::Register,
                    1 => RegisterAction::Unregister,
                    2 => RegisterAction::Replace,
                    _ => return Err(invalid),
                };
                let persist = match dword >> 30 {
                    0 => None,
                    2 => Some(false),
                    3 => Some(true),
                    _ => return Err(invalid),
                };
                Ok(Self::Register { action, ignore_key, persist })
            }
            io::RESERVATION_ACQUIRE => {
                let action = match action {
                    0 => AcquireAction::Acquire,
                    1 => AcquireAction::Preempt,
                    2 => AcquireAction::PreemptAndAbort,
                    _ => return Err(invalid),
                };
                match ReservationType::from_code(kind) {
                    Some(kind) if !ignore_key => Ok(Self::Acquire { action, kind }),
                    _ => Err(invalid),
                }
            }
            io::RESERVATION_RELEASE => match action {
                _ if ignore_key => Err(invalid),
                0 => Ok(Self::Release { action: ReleaseAction::Release, kind }),
                1 => Ok(Self::Release { action: ReleaseAction::Clear, kind }),
                _ => Err(invalid),
            },
            _ => Err(Status::INVALID_OPCODE.with_dnr()),
        }
    }

    /// Bytes of keys that come with it.
    #[must_use]
    pub const fn data_bytes(self) -> u32 {
        match self {
            Self::Register { .. } | Self::Acquire { .. } => size_of::<Keys>() as u32,
            Self::Release { .. } => size_of::<U64>() as u32,
        }
    }

    const fn to_dword(self) -> u32 {
        match self {
            Self::Register { action, ignore_key, persist } => {
                let persist = match persist {
                    None => 0,
                    Some(false) => 2,
                    Some(true) => 3,
                };
                action as u32 | if ignore_key { IEKEY } else { 0 } | persist << 30
            }
            Self::Acquire { action, kind } => action as u32 | (kind as u32) << 8,
            Self::Release { action, kind } => action as u32 | (kind as u32) << 8,
        }
    }

    const fn opcode(self) -> u8 {
        match self {
            Self::Register { .. } => io::RESERVATION_REGISTER,
            Self::Acquire { .. } => io::RESERVATION_ACQUIRE,
            Self::Release { .. } => io::RESERVATION_RELEASE,
        }
    }
}

/// The keys of a change (Base 2.0, Reservation Register and Acquire Data Structures), 16 bytes. Release sends only the
/// first: [`Keys::read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Keys {
    /// CRKEY: the key that the host is registered with.
    pub current: U64,
    /// NRKEY of Register: the new key. PRKEY of Acquire: the key of those to preempt.
    pub other: U64,
}

const _: () = assert!(size_of::<Keys>() == 16);

impl Keys {
    /// As numbers on the host's side.
    #[must_use]
    pub const fn new(current: u64, other: u64) -> Self {
        Self { current: U64::new(current), other: U64::new(other) }
    }

    /// The keys at the front of a command's data; the second is 0 where there are only 8 bytes. `None`: fewer than 8.
    #[must_use]
    pub fn read(data: &[u8]) -> Option<Self> {
        let (current, rest) = U64::read_from_prefix(data).ok()?;
        let other = U64::read_from_prefix(rest).map_or(U64::ZERO, |(other, _)| other);
        Some(Self { current, other })
    }
}

/// What every report starts with (Base 2.0, Reservation Status Data Structure), 24 bytes; the extended structure has
/// 40 reserved bytes behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ReservationStatus {
    /// GEN: counts changes, wrapping.
    pub generation: U32,
    /// RTYPE: 0, or the code of a [`ReservationType`].
    pub rtype: u8,
    /// REGCTL: registrants that follow.
    pub regctl: U16,
    /// Reserved.
    pub reserved7: [u8; 2],
    /// PTPLS: 1 when reservations persist through power loss.
    pub ptpls: u8,
    /// Reserved.
    pub reserved10: [u8; 14],
}

const _: () = assert!(size_of::<ReservationStatus>() == 24);

/// A registrant of a report with EDS 0 (Base 2.0, Registered Controller Data Structure), 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RegisteredController {
    /// The controller, or [`CNTLID_DYNAMIC`].
    pub cntlid: U16,
    /// RCSTS: bit 0, its host holds the reservation.
    pub rcsts: u8,
    /// Reserved.
    pub reserved3: [u8; 5],
    /// HOSTID of 64 bits.
    pub hostid: U64,
    /// RKEY: the key that it is registered with.
    pub rkey: U64,
}

const _: () = assert!(size_of::<RegisteredController>() == 24);

/// A registrant of a report with EDS 1 (Base 2.0, Registered Controller Extended Data Structure), 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RegisteredControllerExtended {
    /// The controller, or [`CNTLID_DYNAMIC`].
    pub cntlid: U16,
    /// RCSTS: bit 0, its host holds the reservation.
    pub rcsts: u8,
    /// Reserved.
    pub reserved3: [u8; 5],
    /// RKEY: the key that it is registered with.
    pub rkey: U64,
    /// HOSTID of 128 bits, as Connect brought it.
    pub hostid: [u8; 16],
    /// Reserved.
    pub reserved32: [u8; 32],
}

const _: () = assert!(size_of::<RegisteredControllerExtended>() == 64);

/// Bytes before the first registrant of an extended report.
pub const EXTENDED_STATUS_BYTES: usize = 64;

impl RegisteredControllerExtended {
    /// RCSTS: its host holds the reservation.
    pub const HOLDER: u8 = 1 << 0;
}

/// What a notification is about (Base 2.0, LID 80h: Reservation Notification Log Page Type).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Notification {
    /// Another host has removed this host's registration.
    RegistrationPreempted = 1,
    /// The reservation was released, or changed its type.
    ReservationReleased = 2,
    /// Another host has cleared reservation and registrations.
    ReservationPreempted = 3,
}

impl Notification {
    /// Its bit in the mask of feature 82h.
    #[must_use]
    pub const fn mask(self) -> u32 {
        1 << self as u32
    }
}

/// A page of the Reservation Notification log (Base 2.0, LID 80h), 64 bytes. Reading one takes it from the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct NotificationPage {
    /// LPC: the number of this notification; 0 in an empty page.
    pub count: U64,
    /// RNLPT: a [`Notification`], 0 in an empty page.
    pub kind: u8,
    /// NALP: pages that can be read after this one.
    pub available: u8,
    /// Reserved.
    pub reserved10: [u8; 2],
    /// The namespace.
    pub nsid: U32,
    /// Reserved.
    pub reserved16: [u8; 48],
}

const _: () = assert!(size_of::<NotificationPage>() == 64);

impl Sqe {
    /// A reservation command that changes something; its [`Keys`] follow by the transport.
    #[must_use]
    pub const fn reservation(nsid: u32, change: Change) -> Self {
        let bare = Self::with_data(change.opcode(), nsid, change.data_bytes());
        Self { cdw10: U32::new(change.to_dword()), ..bare }
    }

    /// Reservation Report: `bytes` (a multiple of 4, not 0) of it, with host identifiers of 128 bits if `extended`.
    #[must_use]
    pub const fn reservation_report(nsid: u32, bytes: u32, extended: bool) -> Self {
        assert!(bytes > 0 && bytes.is_multiple_of(4), "reports are read in dwords");
        Self {
            cdw10: U32::new(bytes / 4 - 1),
            cdw11: U32::new(if extended { EDS } else { 0 }),
            ..Self::with_data(io::RESERVATION_REPORT, nsid, bytes)
        }
    }

    /// Reservation Report: the number of bytes wanted, up to 2^34.
    #[must_use]
    pub const fn report_bytes(&self) -> u64 {
        (self.cdw10.get() as u64 + 1) * 4
    }

    /// Reservation Report: with host identifiers of 128 bits (EDS).
    #[must_use]
    pub const fn report_extended(&self) -> bool {
        self.cdw11.get() & EDS != 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::nvme::feature::Event;
    use crate::nvme::opcode::Transfer;

    #[test]
    fn fields_are_where_the_specification_has_them() {
        offsets!(Keys: current 0, other 8,);
        offsets!(ReservationStatus: generation 0, rtype 4, regctl 5, ptpls 9,);
        offsets!(RegisteredController: cntlid 0, rcsts 2, hostid 8, rkey 16,);
        offsets!(RegisteredControllerExtended: cntlid 0, rcsts 2, rkey 8, hostid 16,);
        offsets!(NotificationPage: count 0, kind 8, available 9, nsid 12,);
    }

    /// Numbers of libnvme's types.h.
    #[test]
    fn codes_as_libnvme_has_them() {
        use io::{RESERVATION_ACQUIRE, RESERVATION_REGISTER, RESERVATION_RELEASE, RESERVATION_REPORT};
        let opcodes = [RESERVATION_REGISTER, RESERVATION_REPORT, RESERVATION_ACQUIRE, RESERVATION_RELEASE];
        assert_eq!(opcodes, [0x0d, 0x0e, 0x11, 0x15]);
        let host = Transfer::HostToController;
        assert_eq!(opcodes.map(Transfer::of), [host, Transfer::ControllerToHost, host, host]);
        assert_eq!(ReservationType::ALL.map(ReservationType::code), [1, 2, 3, 4, 5, 6]);
        assert_eq!(ReservationType::ALL.map(|kind| 1 << kind.code()).iter().sum::<u8>(), rescap::ALL_TYPES);
        assert_eq!([0, 7, 255].map(ReservationType::from_code), [None; 3]);
        use Notification::{RegistrationPreempted, ReservationPreempted, ReservationReleased};
        let masks = [RegistrationPreempted, ReservationReleased, ReservationPreempted].map(Notification::mask);
        assert_eq!(masks, [2, 4, 8]);
        assert_eq!((masks.iter().sum::<u32>(), Event::RESERVATION_LOG.to_result()), (mask::ALL, 0x0080_0006));
    }

    #[test]
    fn dwords_as_a_host_sends_them() {
        let register = |persist| Change::Register { action: RegisterAction::Replace, ignore_key: true, persist };
        let dword = |change| Sqe::reservation(1, change).cdw10.get();
        assert_eq!([None, Some(false), Some(true)].map(register).map(dword), [0x0a, 0x8000_000a, 0xc000_000a]);
        let kind = ReservationType::ExclusiveAccessAll;
        assert_eq!(dword(Change::Acquire { action: AcquireAction::PreemptAndAbort, kind }), 0x602);
        assert_eq!(dword(Change::Release { action: ReleaseAction::Clear, kind: 3 }), 0x301);
        let report = Sqe::reservation_report(1, 4096, true);
        assert_eq!((report.cdw10.get(), report.cdw11.get(), report.dptr.length.get()), (1023, 1, 4096));
    }

    #[test]
    fn what_is_reserved_is_refused() {
        let change = |opcode, dword| Change::of(&Sqe { opcode, cdw10: U32::new(dword), ..Sqe::flush(1) });
        let invalid = Err(Status::INVALID_FIELD.with_dnr());
        for action in 3..8 {
            assert_eq!(change(io::RESERVATION_REGISTER, action), invalid);
            assert_eq!(change(io::RESERVATION_ACQUIRE, action | 1 << 8), invalid);
        }
        for action in 2..8 {
            assert_eq!(change(io::RESERVATION_RELEASE, action | 1 << 8), invalid);
        }
        assert_eq!(change(io::RESERVATION_REGISTER, 1 << 30), invalid, "CPTPL 01b");
        for kind in [0, 7, 255] {
            assert_eq!(change(io::RESERVATION_ACQUIRE, kind << 8), invalid);
        }
        assert_eq!(change(io::RESERVATION_ACQUIRE, 1 << 8 | IEKEY), invalid);
        assert_eq!(change(io::RESERVATION_RELEASE, 1 << 8 | IEKEY), invalid);
        assert_eq!(change(io::READ, 0), Err(Status::INVALID_OPCODE.with_dnr()));
    }

    #[test]
    fn keys_are_read_as_far_as_they_are_there() {
        let bytes: Vec<u8> = (0..20).collect();
        assert_eq!(Keys::read(&bytes), Some(Keys::new(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908)));
        assert_eq!(Keys::read(&bytes[..8]), Some(Keys::new(0x0706_0504_0302_0100, 0)));
        assert_eq!(Keys::read(&bytes[..7]), None);
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_was_sent(opcode in prop::sample::select(vec![0x0du8, 0x11, 0x15]), dword: u32) {
            let sqe = Sqe { opcode, cdw10: U32::new(dword), ..Sqe::flush(1) };
            if let Ok(change) = Change::of(&sqe) {
                prop_assert_eq!(Change::of(&Sqe::reservation(1, change)), Ok(change));
            }
        }

        #[test]
        fn reports_survive(dwords in 1u32..=1 << 29, extended: bool) {
            let sqe = Sqe::reservation_report(7, dwords * 4, extended);
            prop_assert_eq!((sqe.report_bytes(), sqe.report_extended()), (u64::from(dwords) * 4, extended));
        }
    }
}
