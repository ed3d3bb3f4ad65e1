//! The lists of Identify: which namespaces there are and who each is, which controllers, which command sets.
//!
//! ```text
//!   active namespaces (CNS 02h)       | nsid | nsid | ... | 0 | 0 |          1,024 of them, ascending
//!
//!   identification descriptors        | nidt | nidl | 0 0 | nid ... | nidt | nidl | ... | 0 0 0 0 |
//!   of one namespace (CNS 03h)           1      1     2     nidl
//!
//!   controllers (CNS 12h, 13h)        | number | cntlid | cntlid | ...       16 bits each, at most 2,047
//!
//!   UUIDs (CNS 17h)                   | 32 x 0 | header | uuid | header | uuid | ...     16 bytes each, at most 127
//!
//!   combinations of command sets      | bits of combination 0 | of 1 | ...   64 bits each, bit n is CSI n
//!   (CNS 1Ch)
//! ```
//!
//! All are 4,096 bytes. Builders fill a page; parsers read one that a peer sent.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{IDENTIFY_BYTES, NSID_ALL};

/// Most namespaces of one list.
pub const LIST_ENTRIES: usize = 1024;

/// A list of active namespaces (Base 2.0, CNS 02h), 4,096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ActiveNamespaces {
    /// Namespace identifiers, ascending; zero ends the list.
    pub nsid: [U32; LIST_ENTRIES],
}

const _: () = assert!(size_of::<ActiveNamespaces>() == IDENTIFY_BYTES);

impl ActiveNamespaces {
    /// The identifiers greater than `after`, at most [`LIST_ENTRIES`]. `all` is ascending.
    #[must_use]
    pub fn build(all: impl IntoIterator<Item = u32>, after: u32) -> Self {
        let mut list = Self::new_zeroed();
        let mut last = after;
        for (slot, nsid) in list.nsid.iter_mut().zip(all.into_iter().filter(|&nsid| nsid > after)) {
            assert!(nsid > last && nsid < NSID_ALL, "namespace identifiers are valid and ascend");
            last = nsid;
            *slot = U32::new(nsid);
        }
        list
    }

    /// The identifiers up to the end of the list.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.nsid.iter().map(|nsid| nsid.get()).take_while(|&nsid| nsid != 0)
    }
}

/// A list of controllers (Base 2.0, Controller List), 4,096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ControllerList {
    /// Number of controllers.
    pub number: U16,
    /// Controller identifiers, ascending.
    pub cntlid: [U16; 2047],
}

const _: () = assert!(size_of::<ControllerList>() == IDENTIFY_BYTES);

impl ControllerList {
    /// The identifiers: no more than the page has room for.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.cntlid.iter().take(usize::from(self.number.get())).map(|cntlid| cntlid.get())
    }
}

/// An entry of [`Uuids`] (Base 2.0, UUID List Entry), 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct UuidEntry {
    /// Bits 1:0: the vendor that it belongs to, 1 that of PCI, 2 that of the subsystem; 0 does not say.
    pub header: u8,
    /// Reserved.
    pub reserved1: [u8; 15],
    /// The UUID.
    pub uuid: [u8; 16],
}

const _: () = assert!(size_of::<UuidEntry>() == 32);

/// The UUIDs that commands can mean by an index, from 1 on (Base 2.0, CNS 17h), 4,096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Uuids {
    /// Reserved.
    pub reserved0: [u8; 32],
    /// In the order of their indexes; the first one of zeros ends the list.
    pub entries: [UuidEntry; 127],
}

const _: () = assert!(size_of::<Uuids>() == IDENTIFY_BYTES);

impl Uuids {
    /// The entries up to the end of the list.
    pub fn iter(&self) -> impl Iterator<Item = &UuidEntry> {
        self.entries.iter().take_while(|entry| entry.uuid != [0; 16])
    }
}

/// The combinations of I/O command sets that a controller can enable together (Base 2.0, CNS 1Ch), 4,096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CommandSets {
    /// A bit for each CSI; the first combination without any ends the list.
    pub iocsc: [U64; 512],
}

const _: () = assert!(size_of::<CommandSets>() == IDENTIFY_BYTES);

impl CommandSets {
    /// The combinations up to the end of the list.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.iocsc.iter().map(|sets| sets.get()).take_while(|&sets| sets != 0)
    }
}

/// One identification of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdDescriptor {
    /// NIDT 1h: IEEE extended unique identifier, big-endian.
    Eui64([u8; 8]),
    /// NIDT 2h: namespace globally unique identifier, big-endian.
    Nguid([u8; 16]),
    /// NIDT 3h: UUID, big-endian (RFC 4122).
    Uuid([u8; 16]),
    /// NIDT 4h: command set identifier.
    Csi(u8),
}

impl IdDescriptor {
    /// NIDT.
    #[must_use]
    pub const fn nidt(&self) -> u8 {
        match self {
            Self::Eui64(_) => 1,
            Self::Nguid(_) => 2,
            Self::Uuid(_) => 3,
            Self::Csi(_) => 4,
        }
    }

    /// NID.
    #[must_use]
    pub const fn nid(&self) -> &[u8] {
        match self {
            Self::Eui64(nid) => nid,
            Self::Nguid(nid) | Self::Uuid(nid) => nid,
            Self::Csi(nid) => std::slice::from_ref(nid),
        }
    }

    /// A descriptor from its type and its bytes; `None` for a type that we do not know.
    fn parse(nidt: u8, nid: &[u8]) -> Result<Option<Self>, BadDescriptor> {
        let length = BadDescriptor::Length { nidt, nidl: nid.len() as u8 };
        Ok(Some(match nidt {
            1 => Self::Eui64(nid.try_into().map_err(|_| length)?),
            2 => Self::Nguid(nid.try_into().map_err(|_| length)?),
            3 => Self::Uuid(nid.try_into().map_err(|_| length)?),
            4 => Self::Csi(<[u8; 1]>::try_from(nid).map_err(|_| length)?[0]),
            _ => return Ok(None),
        }))
    }
}

/// What is wrong with a list of identification descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadDescriptor {
    /// The length does not fit the type.
    Length {
        /// Type.
        nidt: u8,
        /// Length.
        nidl: u8,
    },
    /// The descriptor goes beyond the end of the page.
    Truncated,
    /// The type occurs twice.
    Repeated {
        /// Type.
        nidt: u8,
    },
}

impl std::fmt::Display for BadDescriptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Length { nidt, nidl } => write!(f, "a descriptor of type {nidt:x}h has {nidl} bytes"),
            Self::Truncated => f.write_str("a descriptor goes beyond the end of the list"),
            Self::Repeated { nidt } => write!(f, "two descriptors of type {nidt:x}h"),
        }
    }
}

impl std::error::Error for BadDescriptor {}

/// Size of a descriptor's header.
const HEADER_BYTES: usize = 4;

/// The identification descriptors of one namespace (Base 2.0, CNS 03h), 4,096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IdDescriptorList {
    /// The page.
    pub bytes: [u8; IDENTIFY_BYTES],
}

const _: () = assert!(size_of::<IdDescriptorList>() == IDENTIFY_BYTES);

impl IdDescriptorList {
    /// The page for these descriptors; each type at most once.
    #[must_use]
    pub fn build(descriptors: &[IdDescriptor]) -> Self {
        let mut list = Self::new_zeroed();
        let mut at = 0;
        for (i, descriptor) in descriptors.iter().enumerate() {
            let repeated = descriptors[..i].iter().any(|earlier| earlier.nidt() == descriptor.nidt());
            assert!(!repeated, "a namespace has one identification of each type");
            let nid = descriptor.nid();
            list.bytes[at] = descriptor.nidt();
            list.bytes[at + 1] = nid.len() as u8;
            list.bytes[at + HEADER_BYTES..][..nid.len()].copy_from_slice(nid);
            at += HEADER_BYTES + nid.len();
        }
        list
    }

    /// The descriptors of types that we know, in the order of the list; others are skipped.
    ///
    /// # Errors
    /// The first thing that is wrong; nothing of such a list is to be trusted.
    pub fn parse(&self) -> Result<Identifiers, BadDescriptor> {
        let mut found = Identifiers::default();
        for entry in self.entries() {
            let RawDescriptor { nidt, nid, .. } = entry?;
            if let Some(descriptor) = IdDescriptor::parse(nidt, nid)? {
                found.set(descriptor)?;
            }
        }
        Ok(found)
    }

    /// The descriptors of all types as they lie in the page; [`BadDescriptor::Truncated`] is the last one.
    pub fn entries(&self) -> impl Iterator<Item = Result<RawDescriptor<'_>, BadDescriptor>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let (&[nidt, nidl, _, _], body) = self.bytes[at..].split_first_chunk::<HEADER_BYTES>()?;
            if nidl == 0 {
                return None;
            }
            let Some(nid) = body.get(..usize::from(nidl)) else {
                at = self.bytes.len();
                return Some(Err(BadDescriptor::Truncated));
            };
            let descriptor = RawDescriptor { at, nidt, nid };
            at += HEADER_BYTES + nid.len();
            Some(Ok(descriptor))
        })
    }
}

/// A descriptor as it lies in the page, whatever it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawDescriptor<'a> {
    /// Where it begins, in bytes.
    pub at: usize,
    /// NIDT.
    pub nidt: u8,
    /// NID; its length is NIDL, 1 to 255.
    pub nid: &'a [u8],
}

/// Who a namespace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Identifiers {
    /// IEEE extended unique identifier.
    pub eui64: Option<[u8; 8]>,
    /// Namespace globally unique identifier.
    pub nguid: Option<[u8; 16]>,
    /// UUID.
    pub uuid: Option<[u8; 16]>,
    /// Command set identifier.
    pub csi: Option<u8>,
}

impl Identifiers {
    fn set(&mut self, descriptor: IdDescriptor) -> Result<(), BadDescriptor> {
        let repeated = match descriptor {
            IdDescriptor::Eui64(nid) => self.eui64.replace(nid).is_some(),
            IdDescriptor::Nguid(nid) => self.nguid.replace(nid).is_some(),
            IdDescriptor::Uuid(nid) => self.uuid.replace(nid).is_some(),
            IdDescriptor::Csi(nid) => self.csi.replace(nid).is_some(),
        };
        if repeated { Err(BadDescriptor::Repeated { nidt: descriptor.nidt() }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn active(all: impl IntoIterator<Item = u32>, after: u32) -> Vec<u32> {
        ActiveNamespaces::build(all, after).iter().collect()
    }

    #[test]
    fn active_lists_start_after_an_nsid() {
        assert_eq!(active([1, 2, 7], 0), [1, 2, 7]);
        assert_eq!(active([1, 2, 7], 1), [2, 7]);
        assert_eq!(active([1, 2, 7], 5), [7]);
        assert_eq!(active([1, 2, 7], 7), []);
        assert_eq!(active([], 0), []);
        assert_eq!(ActiveNamespaces::build([0x0102], 0).as_bytes()[..8], [2, 1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn active_lists_stop_at_1024() {
        assert_eq!(active(1..=2000, 0), (1..=1024).collect::<Vec<_>>());
        assert_eq!(active(1..=2000, 1024), (1025..=2000).collect::<Vec<_>>());
    }

    #[test]
    #[should_panic(expected = "ascend")]
    fn active_lists_ascend() {
        let _ = ActiveNamespaces::build([2, 1], 0);
    }

    #[test]
    fn descriptors_are_as_drawn() {
        let list = IdDescriptorList::build(&[IdDescriptor::Uuid([0xaa; 16]), IdDescriptor::Csi(0)]);
        assert_eq!(list.bytes[..4], [3, 16, 0, 0]);
        assert_eq!(list.bytes[4..20], [0xaa; 16]);
        assert_eq!(list.bytes[20..25], [4, 1, 0, 0, 0]);
        assert!(list.bytes[25..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn descriptors_survive() {
        let all = [
            IdDescriptor::Eui64([1; 8]),
            IdDescriptor::Nguid([2; 16]),
            IdDescriptor::Uuid([3; 16]),
            IdDescriptor::Csi(0),
        ];
        let found = IdDescriptorList::build(&all).parse().unwrap();
        let expected = Identifiers { eui64: Some([1; 8]), nguid: Some([2; 16]), uuid: Some([3; 16]), csi: Some(0) };
        assert_eq!(found, expected);
        assert_eq!(IdDescriptorList::build(&[]).parse(), Ok(Identifiers::default()));
    }

    fn page(front: &[u8]) -> IdDescriptorList {
        let mut list = IdDescriptorList::new_zeroed();
        list.bytes[..front.len()].copy_from_slice(front);
        list
    }

    #[test]
    fn wrong_lists_are_refused() {
        for (nidt, right) in [(1, 8), (2, 16), (3, 16), (4, 1)] {
            for nidl in (1..=u8::MAX).filter(|&nidl| nidl != right) {
                let error = BadDescriptor::Length { nidt, nidl };
                assert_eq!(page(&[nidt, nidl]).parse(), Err(error), "{error}");
            }
        }
        assert_eq!(page(&[4, 1, 0, 0, 0, 4, 1]).parse(), Err(BadDescriptor::Repeated { nidt: 4 }));
    }

    #[test]
    fn unknown_types_are_skipped() {
        let list = page(&[0xe0, 3, 0, 0, 9, 9, 9, 4, 1, 0, 0, 2]);
        assert_eq!(list.parse(), Ok(Identifiers { csi: Some(2), ..Identifiers::default() }));
    }

    #[test]
    fn entries_are_as_they_lie() {
        let list = page(&[0xe0, 3, 0, 0, 9, 9, 9, 4, 1, 0, 0, 2]);
        let entries: Vec<_> = list.entries().map(Result::unwrap).collect();
        let expected = [RawDescriptor { at: 0, nidt: 0xe0, nid: &[9; 3] }, RawDescriptor { at: 7, nidt: 4, nid: &[2] }];
        assert_eq!(entries, expected);
    }

    #[test]
    fn controllers_are_no_more_than_there_is_room_for() {
        let mut list = ControllerList::new_zeroed();
        list.cntlid[0] = U16::new(7);
        assert_eq!(list.iter().count(), 0);
        list.number = U16::new(2);
        assert_eq!(list.iter().collect::<Vec<_>>(), [7, 0]);
        list.number = U16::new(u16::MAX);
        assert_eq!(list.iter().count(), 2047);
        let mut sets = CommandSets::new_zeroed();
        (sets.iocsc[0], sets.iocsc[1]) = (U64::new(1), U64::new(5));
        assert_eq!(sets.iter().collect::<Vec<_>>(), [1, 5]);
    }

    #[test]
    fn a_full_page_has_no_terminator() {
        // 4 + 251 bytes sixteen times leave 16 bytes: one more descriptor fills them to the last byte, or overruns.
        let mut list = IdDescriptorList::new_zeroed();
        (0..16).for_each(|i| list.bytes[i * 255..][..2].copy_from_slice(&[0xe0, 251]));
        list.bytes[4080..4082].copy_from_slice(&[0xe1, 12]);
        assert_eq!(list.parse(), Ok(Identifiers::default()));
        list.bytes[4081] = 13;
        assert_eq!(list.parse(), Err(BadDescriptor::Truncated));
    }

    proptest! {
        #[test]
        fn any_page_is_a_list_or_an_error(front in prop::collection::vec(0u8..20, 0..200), fill: u8) {
            let mut list = IdDescriptorList { bytes: [fill; IDENTIFY_BYTES] };
            list.bytes[..front.len()].copy_from_slice(&front);
            let _ = list.parse();
        }
    }
}
