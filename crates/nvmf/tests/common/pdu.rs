//! PDUs made by hand.

use wire::nvme::Sqe;
use wire::tcp::digest::{Crc32c, Digests};
use wire::tcp::pdu::{flags, kind};
use zerocopy::IntoBytes;

/// A PDU with the right lengths and digests. `fields` is the header without its first 8 bytes.
pub fn pdu(kind: u8, more_flags: u8, fields: &[u8], data: &[u8], digests: Digests) -> Vec<u8> {
    let used = Digests { data: digests.data && !data.is_empty(), ..digests };
    let start = 8 + fields.len() + used.header_bytes();
    let plen = (start + data.len() + used.data_bytes()) as u32;
    let pdo = if data.is_empty() { 0 } else { start as u8 };
    let mut bytes = vec![kind, more_flags | used.bits(), 8 + fields.len() as u8, pdo];
    bytes.extend_from_slice(&plen.to_le_bytes());
    bytes.extend_from_slice(fields);
    if used.header {
        bytes.extend_from_slice(&Crc32c::of(&bytes));
    }
    bytes.extend_from_slice(data);
    if used.data {
        bytes.extend_from_slice(&Crc32c::of(data));
    }
    bytes
}

/// ICReq that asks for digests and an alignment of (`hpda` + 1) x 4 bytes.
pub fn ic_req(digests: Digests, hpda: u8) -> Vec<u8> {
    let mut fields = [0; 120];
    (fields[2], fields[3]) = (hpda, digests.bits());
    pdu(kind::IC_REQ, 0, &fields, &[], Digests::default())
}

/// A command, with `data` in its capsule.
pub fn command(sqe: Sqe, data: &[u8], digests: Digests) -> Vec<u8> {
    pdu(kind::CAPSULE_CMD, 0, sqe.as_bytes(), data, digests)
}

/// H2CData.
pub fn h2c(cccid: u16, ttag: u16, offset: u32, data: &[u8], last: bool, digests: Digests) -> Vec<u8> {
    let mut fields = [cccid.to_le_bytes(), ttag.to_le_bytes()].concat();
    fields.extend_from_slice(&offset.to_le_bytes());
    fields.extend_from_slice(&(data.len() as u32).to_le_bytes());
    fields.extend_from_slice(&[0; 4]);
    pdu(kind::H2C_DATA, if last { flags::LAST } else { 0 }, &fields, data, digests)
}
