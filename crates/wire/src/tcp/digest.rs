//! Digests: CRC-32C (Castagnoli) over a header, or over the data of a PDU.
//!
//! ```text
//!   | header: hlen bytes | HDGST | pad | data ... | DDGST |
//!   '---- covered by --->'             '-- by --->'
//! ```
//!
//! Reflected, initial value and final XOR all ones, four bytes in little-endian order (NVMe/TCP, PDU digests). Without
//! negotiation nothing of this runs.

use crc_fast::{CrcAlgorithm, Digest};

use super::limits::DIGEST_BYTES;

/// A CRC-32C computed in pieces. One is kept per connection and [reset](Crc32c::reset) for each PDU: making one costs
/// more than a reset.
pub struct Crc32c(Digest);

impl Crc32c {
    /// Of no bytes yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    /// Starts again.
    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes so far, as it goes onto the wire.
    #[must_use]
    pub fn finish(&self) -> [u8; DIGEST_BYTES] {
        (self.0.finalize() as u32).to_le_bytes()
    }

    /// The digest of `bytes` alone, as it goes onto the wire.
    #[must_use]
    pub fn of(bytes: &[u8]) -> [u8; DIGEST_BYTES] {
        crc_fast::crc32_iscsi(bytes).to_le_bytes()
    }
}

impl Default for Crc32c {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Crc32c {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crc32c({:02x?})", self.finish())
    }
}

/// Which digests a connection uses: the bits of ICReq and ICResp, once both sides have spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Digests {
    /// HDGST behind every header, except those of ICReq, ICResp and term requests.
    pub header: bool,
    /// DDGST behind the data of every PDU that has data.
    pub data: bool,
}

impl Digests {
    const HEADER_BIT: u8 = 1;
    const DATA_BIT: u8 = 2;

    /// From the DGST byte of ICReq or ICResp; reserved bits are ignored.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self { header: bits & Self::HEADER_BIT != 0, data: bits & Self::DATA_BIT != 0 }
    }

    /// The DGST byte. PDU flags have the same two bits: HDGSTF and DDGSTF.
    #[must_use]
    pub const fn bits(self) -> u8 {
        (if self.header { Self::HEADER_BIT } else { 0 }) | (if self.data { Self::DATA_BIT } else { 0 })
    }

    /// What both sides want.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { header: self.header && other.header, data: self.data && other.data }
    }

    /// Bytes of the header digest: 4 or 0.
    #[must_use]
    pub const fn header_bytes(self) -> usize {
        if self.header { DIGEST_BYTES } else { 0 }
    }

    /// Bytes of the data digest of a PDU that has data: 4 or 0.
    #[must_use]
    pub const fn data_bytes(self) -> usize {
        if self.data { DIGEST_BYTES } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // RFC 3720, B.4: 32 bytes of zeros, of ones, ascending.
        assert_eq!(Crc32c::of(&[0; 32]), [0xaa, 0x36, 0x91, 0x8a]);
        assert_eq!(Crc32c::of(&[0xff; 32]), [0x43, 0xab, 0xa8, 0x62]);
        assert_eq!(Crc32c::of(&std::array::from_fn::<u8, 32, _>(|i| i as u8)), [0x4e, 0x79, 0xdd, 0x46]);
    }

    #[test]
    fn pieces_make_the_whole() {
        let bytes: Vec<u8> = (0..1000u32).map(|i| (i * 7 % 251) as u8).collect();
        let mut crc = Crc32c::new();
        for cut in 0..=bytes.len() {
            crc.reset();
            crc.update(&bytes[..cut]);
            crc.update(&bytes[cut..]);
            assert_eq!(crc.finish(), Crc32c::of(&bytes));
        }
    }

    #[test]
    fn bits_of_the_handshake() {
        for bits in 0..4 {
            assert_eq!(Digests::from_bits(bits).bits(), bits);
            assert_eq!(Digests::from_bits(bits | 0xfc).bits(), bits);
        }
        assert_eq!(Digests::from_bits(1).and(Digests::from_bits(3)), Digests { header: true, data: false });
    }
}
