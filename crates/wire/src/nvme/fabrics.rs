//! The fabrics commands: Connect, Property Get, Property Set, Disconnect.
//!
//! ```text
//!   all      0      1       2     4        5      24      40
//!            | 7Fh  | flags | cid | fctype | 0 .. | dptr  | ...
//!
//!   Connect  40       42    44       46      47  48     52      64
//!            | recfmt | qid | sqsize | cattr | 0 | kato | 0 ..  |      and 1,024 bytes of data: ConnectData
//!
//!   Property 40       41   44     48      56      64
//!            | attrib | 0  | ofst | value | 0 ..  |                    Get answers the value in the completion
//! ```
//!
//! Connect answers in dword 0 of the completion: a [`ConnectResult`] when it succeeds, an [`InvalidParameter`] when the
//! status is Connect Invalid Parameters.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use super::opcode::fabrics::*;
use super::{Nqn, NqnError, SglDescriptor, Sqe};

/// Connect, CATTR bit 2: the host does not want submission queue flow control.
pub const CATTR_DISABLE_SQ_FLOW_CONTROL: u8 = 1 << 2;

/// The controller identifier in Connect data that asks for any controller (dynamic model).
pub const CNTLID_DYNAMIC: u16 = 0xffff;
/// The controller identifier in Connect data that asks for any controller with saved settings (static model).
pub const CNTLID_STATIC: u16 = 0xfffe;

/// A Connect command (Base 2.0, Connect Command), 64 bytes: a view of an [`Sqe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ConnectCommand {
    /// 7Fh.
    pub opcode: u8,
    /// PSDT.
    pub flags: u8,
    /// Command identifier.
    pub cid: U16,
    /// 01h.
    pub fctype: u8,
    /// Reserved.
    pub reserved5: [u8; 19],
    /// Where the data is.
    pub dptr: SglDescriptor,
    /// Record format: 0.
    pub recfmt: U16,
    /// Queue to create: 0 is the admin queue.
    pub qid: U16,
    /// Size of the submission queue, 0's based; 0 is invalid.
    pub sqsize: U16,
    /// Connect attributes.
    pub cattr: u8,
    /// Reserved.
    pub reserved47: u8,
    /// Keep alive timeout in milliseconds; 0 turns the timer off.
    pub kato: U32,
    /// Reserved.
    pub reserved52: [u8; 12],
}

const _: () = assert!(size_of::<ConnectCommand>() == 64);

impl ConnectCommand {
    /// The same 64 bytes, seen as Connect. The caller knows that it is one.
    #[must_use]
    pub fn view(sqe: &Sqe) -> &Self {
        zerocopy::transmute_ref!(sqe)
    }

    /// Whether the host disabled submission queue flow control.
    #[must_use]
    pub const fn flow_control_disabled(&self) -> bool {
        self.cattr & CATTR_DISABLE_SQ_FLOW_CONTROL != 0
    }

    /// Entries of the queue, 1 to 65,536.
    #[must_use]
    pub const fn depth(&self) -> u32 {
        self.sqsize.get() as u32 + 1
    }
}

/// The data of a Connect command (Base 2.0, Connect Command: Data), 1,024 bytes.
///
/// ```text
///   0        16       18     256      512       768    1024
///   | hostid | cntlid | 0 .. | subnqn | hostnqn | 0 .. |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ConnectData {
    /// Host identifier.
    pub hostid: [u8; 16],
    /// Controller: [`CNTLID_DYNAMIC`] for the admin queue, the answer to that for the I/O queues.
    pub cntlid: U16,
    /// Reserved.
    pub reserved18: [u8; 238],
    /// NQN of the subsystem; see [`ConnectData::subnqn`].
    pub subnqn: [u8; 256],
    /// NQN of the host; see [`ConnectData::hostnqn`].
    pub hostnqn: [u8; 256],
    /// Reserved.
    pub reserved768: [u8; 256],
}

const _: () = assert!(size_of::<ConnectData>() == 1024);

impl ConnectData {
    /// What a host sends.
    #[must_use]
    pub fn new(hostid: [u8; 16], cntlid: u16, subnqn: &Nqn, hostnqn: &Nqn) -> Self {
        Self {
            hostid,
            cntlid: U16::new(cntlid),
            subnqn: subnqn.to_field(),
            hostnqn: hostnqn.to_field(),
            ..Self::new_zeroed()
        }
    }

    /// The NQN of the subsystem.
    ///
    /// # Errors
    /// What is wrong with the field; the answer is [`InvalidParameter::SUBNQN`].
    pub fn subnqn(&self) -> Result<Nqn, NqnError> {
        Nqn::from_field(&self.subnqn)
    }

    /// The NQN of the host.
    ///
    /// # Errors
    /// What is wrong with the field; the answer is [`InvalidParameter::HOSTNQN`].
    pub fn hostnqn(&self) -> Result<Nqn, NqnError> {
        Nqn::from_field(&self.hostnqn)
    }
}

/// What dword 0 of a successful Connect says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectResult {
    /// Controller identifier.
    pub cntlid: u16,
    /// The queue must be authenticated first (ATR, bit 17).
    pub authentication_required: bool,
    /// The queue must be authenticated first, and a secure channel made from it (ASCR, bit 18).
    pub secure_channel_required: bool,
}

impl ConnectResult {
    /// Connected, nothing more is asked.
    #[must_use]
    pub const fn connected(cntlid: u16) -> Self {
        Self { cntlid, authentication_required: false, secure_channel_required: false }
    }

    /// As the result of a completion.
    #[must_use]
    pub const fn to_result(self) -> u64 {
        self.cntlid as u64 | (self.authentication_required as u64) << 17 | (self.secure_channel_required as u64) << 18
    }

    /// From the result of a completion.
    #[must_use]
    pub const fn from_result(result: u64) -> Self {
        Self {
            cntlid: result as u16,
            authentication_required: result & 1 << 17 != 0,
            secure_channel_required: result & 1 << 18 != 0,
        }
    }
}

/// What dword 0 says beside Connect Invalid Parameters: which field is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidParameter {
    /// IPO: offset of the field in bytes.
    pub ipo: u16,
    /// IATTR bit 0: the offset counts in the data, not in the command.
    pub in_data: bool,
}

impl InvalidParameter {
    /// The queue identifier.
    pub const QID: Self = Self { ipo: 42, in_data: false };
    /// The queue size.
    pub const SQSIZE: Self = Self { ipo: 44, in_data: false };
    /// The connect attributes.
    pub const CATTR: Self = Self { ipo: 46, in_data: false };
    /// The keep alive timeout.
    pub const KATO: Self = Self { ipo: 48, in_data: false };
    /// The host identifier.
    pub const HOSTID: Self = Self { ipo: 0, in_data: true };
    /// The controller identifier.
    pub const CNTLID: Self = Self { ipo: 16, in_data: true };
    /// The NQN of the subsystem.
    pub const SUBNQN: Self = Self { ipo: 256, in_data: true };
    /// The NQN of the host.
    pub const HOSTNQN: Self = Self { ipo: 512, in_data: true };

    /// As the result of a completion.
    #[must_use]
    pub const fn to_result(self) -> u64 {
        self.ipo as u64 | (self.in_data as u64) << 16
    }

    /// From the result of a completion.
    #[must_use]
    pub const fn from_result(result: u64) -> Self {
        Self { ipo: result as u16, in_data: result & 1 << 16 != 0 }
    }
}

/// A Property Get or Property Set command (Base 2.0, Property Get and Property Set), 64 bytes: a view of an [`Sqe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct PropertyCommand {
    /// 7Fh.
    pub opcode: u8,
    /// PSDT.
    pub flags: u8,
    /// Command identifier.
    pub cid: U16,
    /// 00h Set, 04h Get.
    pub fctype: u8,
    /// Reserved.
    pub reserved5: [u8; 19],
    /// Reserved: these commands have no data.
    pub dptr: SglDescriptor,
    /// Bits 2:0: size of the property, 0 = 4 bytes, 1 = 8 bytes.
    pub attrib: u8,
    /// Reserved.
    pub reserved41: [u8; 3],
    /// Offset of the property: see [`super::property`].
    pub ofst: U32,
    /// Set: the value; the upper half counts for 8 bytes only.
    pub value: U64,
    /// Reserved.
    pub reserved56: [u8; 8],
}

const _: () = assert!(size_of::<PropertyCommand>() == 64);

impl PropertyCommand {
    /// The same 64 bytes, seen as Property Get or Set. The caller knows that it is one.
    #[must_use]
    pub fn view(sqe: &Sqe) -> &Self {
        zerocopy::transmute_ref!(sqe)
    }

    /// Size of the property in bytes, 4 or 8; `None` for a reserved size.
    #[must_use]
    pub const fn bytes(&self) -> Option<u32> {
        match self.attrib & 7 {
            0 => Some(4),
            1 => Some(8),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn connect_data_is_as_drawn() {
        let (sub, host) = (Nqn::new("nqn.a:sub").unwrap(), Nqn::new("nqn.b:host").unwrap());
        let data = ConnectData::new([7; 16], CNTLID_DYNAMIC, &sub, &host);
        let bytes = data.as_bytes();
        assert_eq!((&bytes[..16], &bytes[16..18]), (&[7; 16][..], &[0xff, 0xff][..]));
        assert!(bytes[256..].starts_with(b"nqn.a:sub\0") && bytes[512..].starts_with(b"nqn.b:host\0"));
        assert_eq!((data.subnqn(), data.hostnqn()), (Ok(sub), Ok(host)));
        assert!(ConnectData::read_from_bytes(&bytes[..1023]).is_err());
    }

    #[test]
    fn bad_names_are_told_apart() {
        let nqn = Nqn::discovery();
        let mut data = ConnectData::new([0; 16], CNTLID_STATIC, &nqn, &nqn);
        data.hostnqn = [b'x'; 256];
        assert_eq!((data.subnqn(), data.hostnqn()), (Ok(nqn), Err(NqnError::NotTerminated)));
        data.subnqn = [0; 256];
        assert_eq!(data.subnqn(), Err(NqnError::NoPrefix));
    }

    #[test]
    fn results_survive() {
        assert_eq!(ConnectResult::connected(0xfff0).to_result(), 0xfff0);
        for result in [0, 1, 0x2_0001, 0x4_0001, 0x6_ffff] {
            assert_eq!(ConnectResult::from_result(result).to_result(), result);
        }
        assert!(ConnectResult::from_result(1 << 17).authentication_required);
        assert!(ConnectResult::from_result(1 << 18).secure_channel_required);
    }

    #[test]
    fn invalid_parameters_point_at_the_fields() {
        let in_command = [
            (InvalidParameter::QID, offset_of!(ConnectCommand, qid)),
            (InvalidParameter::SQSIZE, offset_of!(ConnectCommand, sqsize)),
            (InvalidParameter::CATTR, offset_of!(ConnectCommand, cattr)),
            (InvalidParameter::KATO, offset_of!(ConnectCommand, kato)),
        ];
        let in_data = [
            (InvalidParameter::HOSTID, offset_of!(ConnectData, hostid)),
            (InvalidParameter::CNTLID, offset_of!(ConnectData, cntlid)),
            (InvalidParameter::SUBNQN, offset_of!(ConnectData, subnqn)),
            (InvalidParameter::HOSTNQN, offset_of!(ConnectData, hostnqn)),
        ];
        for (parameter, offset) in in_command {
            assert_eq!(parameter.to_result(), offset as u64);
            assert_eq!(InvalidParameter::from_result(parameter.to_result()), parameter);
        }
        for (parameter, offset) in in_data {
            assert_eq!(parameter.to_result(), 1 << 16 | offset as u64);
            assert_eq!(InvalidParameter::from_result(parameter.to_result()), parameter);
        }
    }

    #[test]
    fn property_sizes() {
        let mut command = *PropertyCommand::view(&Sqe::property_get(0, true));
        assert_eq!(command.bytes(), Some(8));
        command.attrib = 0b1111_1000;
        assert_eq!(command.bytes(), Some(4));
        command.attrib = 2;
        assert_eq!(command.bytes(), None);
    }
}
