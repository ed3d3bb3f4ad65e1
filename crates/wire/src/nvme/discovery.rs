//! The discovery log page: where the subsystems are.
//!
//! ```text
//!   header, 1,024 bytes    0        8        16       18     1024
//!                          | genctr | numrec | recfmt | 0 .. |
//!
//!   each entry, 1,024      0        1        2         3      4        6        8       10       12
//!                          | trtype | adrfam | subtype | treq | portid | cntlid | asqsz | eflags | 0 ..
//!
//!                          32        64     256      512      768    1024
//!                          | trsvcid | 0 .. | subnqn | traddr | tsas |
//! ```
//!
//! A host reads the header, then header and entries, then the header once more: if GENCTR changed, it starts again.

use std::net::{IpAddr, SocketAddr};

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::identify::{ascii, text};
use super::{Nqn, NqnError};

/// TRTYPE: TCP.
pub const TRTYPE_TCP: u8 = 3;
/// ADRFAM: IPv4.
pub const ADRFAM_IPV4: u8 = 1;
/// ADRFAM: IPv6.
pub const ADRFAM_IPV6: u8 = 2;
/// SUBTYPE: a referral to another discovery subsystem.
pub const SUBTYPE_REFERRAL: u8 = 1;
/// SUBTYPE: an NVM subsystem.
pub const SUBTYPE_NVM: u8 = 2;
/// SUBTYPE: the discovery subsystem that answers.
pub const SUBTYPE_CURRENT_DISCOVERY: u8 = 3;
/// TREQ bits 1:0 = 10b: a secure channel is not required.
pub const TREQ_SECURE_CHANNEL_NOT_REQUIRED: u8 = 2;
/// TREQ bit 2: the controller can do without submission queue flow control.
pub const TREQ_DISABLE_SQ_FLOW_CONTROL: u8 = 1 << 2;
/// EFLAGS bit 0: the entry repeats what a host that reached this address has got already.
pub const EFLAGS_DUPLICATE: u16 = 1 << 0;
/// EFLAGS bit 1: explicit persistent connections are supported (EPCSD).
pub const EFLAGS_PERSISTENT: u16 = 1 << 1;
/// CNTLID in an entry: the controllers are dynamic.
pub const CNTLID_DYNAMIC: u16 = 0xffff;
/// SECTYPE: no security.
pub const SECTYPE_NONE: u8 = 0;
/// The smallest ASQSZ that the specification allows.
pub const MIN_ASQSZ: u16 = 32;

/// The header of the log (Base 2.0, Discovery Log Page: LID 70h), 1,024 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DiscoveryLogHeader {
    /// Generation counter: changes with every change of the log.
    pub genctr: U64,
    /// Number of entries.
    pub numrec: U64,
    /// Record format: 0.
    pub recfmt: U16,
    /// Reserved.
    pub reserved18: [u8; 1006],
}

const _: () = assert!(size_of::<DiscoveryLogHeader>() == 1024);

impl DiscoveryLogHeader {
    /// A header.
    #[must_use]
    pub const fn new(genctr: u64, numrec: u64) -> Self {
        Self { genctr: U64::new(genctr), numrec: U64::new(numrec), recfmt: U16::ZERO, reserved18: [0; 1006] }
    }
}

/// An entry of the log (Base 2.0, Discovery Log Page Entry), 1,024 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DiscoveryLogEntry {
    /// Transport type.
    pub trtype: u8,
    /// Address family.
    pub adrfam: u8,
    /// Subsystem type.
    pub subtype: u8,
    /// Transport requirements.
    pub treq: u8,
    /// Port of the subsystem.
    pub portid: U16,
    /// Controller, or [`CNTLID_DYNAMIC`].
    pub cntlid: U16,
    /// Largest admin submission queue: not 0's based, at least [`MIN_ASQSZ`].
    pub asqsz: U16,
    /// Entry flags.
    pub eflags: U16,
    /// Reserved.
    pub reserved12: [u8; 20],
    /// Transport service: the port number in decimal, ASCII, space-padded.
    pub trsvcid: [u8; 32],
    /// Reserved.
    pub reserved64: [u8; 192],
    /// NQN of the subsystem.
    pub subnqn: [u8; 256],
    /// Transport address: the IP address, ASCII, space-padded.
    pub traddr: [u8; 256],
    /// Transport specific address subtype; TCP: the first byte is SECTYPE.
    pub tsas: [u8; 256],
}

const _: () = assert!(size_of::<DiscoveryLogEntry>() == 1024);

impl DiscoveryLogEntry {
    /// A subsystem that is reached by NVMe/TCP at `address`, without security, with dynamic controllers. `address` is
    /// what the host reached: an unspecified one (0.0.0.0) would send it nowhere.
    #[must_use]
    pub fn tcp(subtype: u8, portid: u16, subnqn: &Nqn, address: SocketAddr) -> Self {
        assert!(!address.ip().is_unspecified(), "a host cannot connect to an unspecified address");
        let ip = address.ip().to_canonical();
        Self {
            trtype: TRTYPE_TCP,
            adrfam: if ip.is_ipv4() { ADRFAM_IPV4 } else { ADRFAM_IPV6 },
            subtype,
            treq: TREQ_SECURE_CHANNEL_NOT_REQUIRED | TREQ_DISABLE_SQ_FLOW_CONTROL,
            portid: U16::new(portid),
            cntlid: U16::new(CNTLID_DYNAMIC),
            asqsz: U16::new(MIN_ASQSZ),
            trsvcid: ascii(&address.port().to_string()),
            subnqn: subnqn.to_field(),
            traddr: ascii(&ip.to_string()),
            ..Self::new_zeroed()
        }
    }

    /// Where to connect, for an entry of NVMe/TCP with a numeric address and port; `None` otherwise.
    #[must_use]
    pub fn socket_address(&self) -> Option<SocketAddr> {
        let family = |ip: &IpAddr| self.adrfam == if ip.is_ipv4() { ADRFAM_IPV4 } else { ADRFAM_IPV6 };
        let ip = text(&self.traddr).parse().ok().filter(family)?;
        let port = text(&self.trsvcid).parse().ok()?;
        (self.trtype == TRTYPE_TCP).then_some(SocketAddr::new(ip, port))
    }

    /// The NQN of the subsystem.
    ///
    /// # Errors
    /// What is wrong with the field.
    pub fn subnqn(&self) -> Result<Nqn, NqnError> {
        Nqn::from_field(&self.subnqn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(address: &str) -> DiscoveryLogEntry {
        let nqn = Nqn::new("nqn.2026-01.example:disk").unwrap();
        DiscoveryLogEntry::tcp(SUBTYPE_NVM, 1, &nqn, address.parse().unwrap())
    }

    #[test]
    fn bytes_are_as_drawn() {
        let entry = entry("10.0.2.2:4420");
        let bytes = entry.as_bytes();
        assert_eq!(bytes[..12], [3, 1, 2, 6, 1, 0, 0xff, 0xff, 32, 0, 0, 0]);
        assert_eq!(&bytes[32..64], b"4420                            ");
        assert!(bytes[256..].starts_with(b"nqn.2026-01.example:disk\0"));
        assert!(bytes[512..].starts_with(b"10.0.2.2  ") && bytes[767] == b' ');
        assert_eq!(bytes[768], SECTYPE_NONE);
        let header = DiscoveryLogHeader::new(0x0102, 3);
        assert_eq!(header.as_bytes()[..18], [2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn addresses_survive() {
        for address in ["127.0.0.1:4420", "[::1]:8009", "[2001:db8::7]:65535"] {
            assert_eq!(entry(address).socket_address(), Some(address.parse().unwrap()));
        }
        // A dual-stack listener sees IPv4 hosts under mapped addresses; they are told the IPv4 one.
        let mapped = entry("[::ffff:192.0.2.1]:4420");
        assert_eq!((mapped.adrfam, mapped.socket_address()), (ADRFAM_IPV4, Some("192.0.2.1:4420".parse().unwrap())));
    }

    #[test]
    fn zero_padding_is_read_as_well() {
        let mut entry = entry("127.0.0.1:4420");
        entry.traddr = [0; 256];
        entry.traddr[..7].copy_from_slice(b"1.2.3.4");
        assert_eq!(entry.socket_address(), Some("1.2.3.4:4420".parse().unwrap()));
    }

    #[test]
    fn what_a_peer_made_up_is_no_address() {
        let good = entry("127.0.0.1:4420");
        let broken = [
            DiscoveryLogEntry { trtype: 1, ..good },
            DiscoveryLogEntry { adrfam: ADRFAM_IPV6, ..good },
            DiscoveryLogEntry { trsvcid: ascii("65536"), ..good },
            DiscoveryLogEntry { trsvcid: [0; 32], ..good },
            DiscoveryLogEntry { traddr: ascii("localhost"), ..good },
            DiscoveryLogEntry { traddr: [0xff; 256], ..good },
        ];
        assert!(broken.iter().all(|entry| entry.socket_address().is_none()));
        assert_eq!(DiscoveryLogEntry { subnqn: [b'x'; 256], ..good }.subnqn(), Err(NqnError::NotTerminated));
        assert_eq!(good.subnqn().unwrap().as_str(), "nqn.2026-01.example:disk");
    }

    #[test]
    #[should_panic(expected = "unspecified")]
    fn an_unspecified_address_is_our_bug() {
        let _ = entry("0.0.0.0:4420");
    }
}
