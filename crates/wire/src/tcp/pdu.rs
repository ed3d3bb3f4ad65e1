//! The PDUs of NVMe/TCP as bytes.
//!
//! ```text
//!   0      1       2      3     4      8
//!   | type | flags | hlen | pdo | plen | the type's own fields ... | HDGST | pad | data ... | DDGST |
//!                                      '---------- hlen bytes in all --------->
//!   '---------------------------------------- plen bytes in all ------------------------------------>
//!   pdo: where the data starts, 0 if the type cannot have any
//!
//!   type  name         hlen  data            from
//!   00h   ICReq         128                  host
//!   01h   ICResp        128                  controller
//!   02h   H2CTermReq     24  header, <= 128  host          the first PDU of each direction is IC, then
//!   03h   C2HTermReq     24  header, <= 128  controller    any of the others; a term request is the last
//!   04h   CapsuleCmd     72  in-capsule      host
//!   05h   CapsuleResp    24                  controller
//!   06h   H2CData        24  always          host
//!   07h   C2HData        24  always          controller
//!   09h   R2T            24                  controller
//! ```

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::nvme::{Cqe, Sqe};

/// PDU types (NVMe/TCP, PDU Type).
pub mod kind {
    /// Initialize Connection Request, host to controller.
    pub const IC_REQ: u8 = 0x00;
    /// Initialize Connection Response, controller to host.
    pub const IC_RESP: u8 = 0x01;
    /// Host to Controller Terminate Connection Request.
    pub const H2C_TERM_REQ: u8 = 0x02;
    /// Controller to Host Terminate Connection Request.
    pub const C2H_TERM_REQ: u8 = 0x03;
    /// Command Capsule, host to controller.
    pub const CAPSULE_CMD: u8 = 0x04;
    /// Response Capsule, controller to host.
    pub const CAPSULE_RESP: u8 = 0x05;
    /// Host to Controller Data.
    pub const H2C_DATA: u8 = 0x06;
    /// Controller to Host Data.
    pub const C2H_DATA: u8 = 0x07;
    /// Ready to Transfer, controller to host.
    pub const R2T: u8 = 0x09;
}

/// PDU flags. Reserved bits are ignored when received.
pub mod flags {
    /// HDGSTF: a header digest follows the header.
    pub const HEADER_DIGEST: u8 = 1 << 0;
    /// DDGSTF: a data digest follows the data.
    pub const DATA_DIGEST: u8 = 1 << 1;
    /// LAST_PDU: the last data PDU of a command (C2HData) or of an R2T (H2CData).
    pub const LAST: u8 = 1 << 2;
    /// SUCCESS, of C2HData with LAST only: the command succeeded and no response capsule follows.
    pub const SUCCESS: u8 = 1 << 3;
}

/// Fatal Error Status: why a term request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Fes {
    /// 01h: a field of the header is wrong; FEI has its offset.
    InvalidHeaderField = 0x01,
    /// 02h: the PDU is not expected now.
    SequenceError = 0x02,
    /// 03h: the header digest is wrong; FEI has the one received.
    HeaderDigestError = 0x03,
    /// 04h: data outside of what was asked for.
    OutOfRange = 0x04,
    /// 05h: more data than MAXH2CDATA (from the controller), or more R2Ts than MAXR2T (from the host).
    LimitExceeded = 0x05,
    /// 06h: a parameter of the header is not supported; FEI has its offset.
    UnsupportedParameter = 0x06,
}

impl Fes {
    /// The name of a fatal error status that a peer sent.
    #[must_use]
    pub const fn name(code: u16) -> &'static str {
        match code {
            0x01 => "invalid PDU header field",
            0x02 => "PDU sequence error",
            0x03 => "header digest error",
            0x04 => "data transfer out of range",
            0x05 => "data transfer or R2T limit exceeded",
            0x06 => "unsupported parameter",
            _ => "reserved fatal error status",
        }
    }
}

/// The first 8 bytes of every PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CommonHeader {
    /// See [`kind`].
    pub kind: u8,
    /// See [`flags`].
    pub flags: u8,
    /// Length of the header in bytes, without digest.
    pub hlen: u8,
    /// Offset of the data from the start of the PDU in bytes.
    pub pdo: u8,
    /// Length of the PDU in bytes: header, digests, padding and data.
    pub plen: U32,
}

/// Initialize Connection Request: 128 bytes.
///
/// ```text
///   0    8     10     11     12       16         128
///   | CH | pfv | hpda | dgst | maxr2t | reserved |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IcReq {
    /// Common header.
    pub ch: CommonHeader,
    /// PDU format version: 0.
    pub pfv: U16,
    /// Host PDU data alignment: C2HData must start at a multiple of (hpda + 1) x 4 bytes. 0 to 31.
    pub hpda: u8,
    /// Digests that the host wants: bit 0 header, bit 1 data.
    pub dgst: u8,
    /// Most outstanding R2Ts for a command, 0's based.
    pub maxr2t: U32,
    /// Reserved.
    pub reserved: [u8; 112],
}

/// Initialize Connection Response: 128 bytes.
///
/// ```text
///   0    8     10     11     12           16         128
///   | CH | pfv | cpda | dgst | maxh2cdata | reserved |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IcResp {
    /// Common header.
    pub ch: CommonHeader,
    /// PDU format version: 0.
    pub pfv: U16,
    /// Controller PDU data alignment, as [`IcReq::hpda`]. Linux takes nothing but 0.
    pub cpda: u8,
    /// Digests in use: a subset of those wanted.
    pub dgst: u8,
    /// The most data in one H2CData, in bytes: at least 4,096, a multiple of 4.
    pub maxh2cdata: U32,
    /// Reserved.
    pub reserved: [u8; 112],
}

/// Command Capsule: 72 bytes, then in-capsule data, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CapsuleCmd {
    /// Common header.
    pub ch: CommonHeader,
    /// The command.
    pub sqe: Sqe,
}

/// Response Capsule: 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CapsuleResp {
    /// Common header.
    pub ch: CommonHeader,
    /// The completion.
    pub cqe: Cqe,
}

/// Data, in either direction: H2CData and C2HData, 24 bytes, then data.
///
/// ```text
///   0    8       10     12      16      20         24
///   | CH | cccid | ttag | datao | datal | reserved |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Data {
    /// Common header.
    pub ch: CommonHeader,
    /// Command identifier of the command.
    pub cccid: U16,
    /// H2CData: the tag of the R2T. C2HData: reserved.
    pub ttag: U16,
    /// Offset of this data within the command's data, in bytes.
    pub datao: U32,
    /// Length of this data in bytes.
    pub datal: U32,
    /// Reserved.
    pub reserved: [u8; 4],
}

/// Host to Controller Data.
pub type H2cData = Data;
/// Controller to Host Data.
pub type C2hData = Data;

/// Ready to Transfer: 24 bytes.
///
/// ```text
///   0    8       10     12     16     20         24
///   | CH | cccid | ttag | r2to | r2tl | reserved |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct R2t {
    /// Common header.
    pub ch: CommonHeader,
    /// Command identifier of the command.
    pub cccid: U16,
    /// The controller's tag, echoed in H2CData.
    pub ttag: U16,
    /// Offset of the data asked for within the command's data, in bytes.
    pub r2to: U32,
    /// Length of the data asked for, in bytes.
    pub r2tl: U32,
    /// Reserved.
    pub reserved: [u8; 4],
}

/// Terminate Connection Request, either direction: 24 bytes, then up to 128 bytes of the offending header.
///
/// ```text
///   0    8     10    14         24
///   | CH | fes | fei | reserved | header ...
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TermReq {
    /// Common header.
    pub ch: CommonHeader,
    /// Fatal error status: see [`Fes`].
    pub fes: U16,
    /// Fatal error information: what it means depends on the status.
    pub fei: U32,
    /// Reserved.
    pub reserved: [u8; 10],
}

const _: () = {
    assert!(size_of::<CommonHeader>() == 8);
    assert!(size_of::<IcReq>() == 128);
    assert!(size_of::<IcResp>() == 128);
    assert!(size_of::<CapsuleCmd>() == 72);
    assert!(size_of::<CapsuleResp>() == 24);
    assert!(size_of::<Data>() == 24);
    assert!(size_of::<R2t>() == 24);
    assert!(size_of::<TermReq>() == 24);
};
