//! Protection information: what a block brings along so that everybody on its way can tell whether it is whole, and
//! the one that was meant (NVM Command Set 1.0, Protection Information; the 16b guard).
//!
//! ```text
//!   | block data | metadata before it |  guard  | application tag | reference tag |     big-endian, 8 bytes
//!     '------ the guard covers ------'   CRC-16/T10-DIF     user's    type 1: the low half of the block's number
//! ```
//!
//! A command says in PRINFO who does what. With PRACT and 8 bytes of metadata the controller makes and takes away all
//! of it; without, the host makes it ([`Protection::of`]) and the controller checks what PRCHK names on its way in and
//! out, and the host what comes back ([`Protection::check`]). Where the metadata is larger, [`Place`] says which of its
//! bytes are meant.

use std::ops::Range;

use crc_fast::{CrcAlgorithm, Digest};
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::IdentifyNamespace;

/// PRINFO, bits 29:26 of dword 12.
pub mod prinfo {
    /// The controller makes the information of a write and takes that of a read away.
    pub const ACTION: u8 = 1 << 3;
    /// The controller checks the guard.
    pub const CHECK_GUARD: u8 = 1 << 2;
    /// The controller checks the application tag, against dword 15.
    pub const CHECK_APPLICATION: u8 = 1 << 1;
    /// The controller checks the reference tag, against dword 14 counted up from block to block.
    pub const CHECK_REFERENCE: u8 = 1 << 0;
}

/// Application tag of a block that nobody checks (types 1 and 2): one that was never written, for example.
pub const UNCHECKED: u16 = 0xffff;

/// The protection information of one block, 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Protection {
    /// CRC-16/T10-DIF of the data, and of what metadata lies before this.
    pub guard: U16,
    /// The user's.
    pub application: U16,
    /// Which block it is.
    pub reference: U32,
}

const _: () = assert!(size_of::<Protection>() == 8);

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The bytes are not those that the guard was made of.
    Guard {
        /// Of these bytes.
        wanted: u16,
        /// As it came.
        got: u16,
    },
    /// It is another block.
    Reference {
        /// Of this block.
        wanted: u32,
        /// As it came.
        got: u32,
    },
}

impl Protection {
    /// The information of a block: `covered` are its data and the metadata before the information, in order.
    #[must_use]
    pub fn of(covered: &[&[u8]], application: u16, reference: u32) -> Self {
        Self { guard: U16::new(guard(covered)), application: U16::new(application), reference: U32::new(reference) }
    }

    /// Checks a block that came with this information, as a controller does for types 1 and 2.
    ///
    /// # Errors
    /// What is wrong. Nothing is, if the application tag is [`UNCHECKED`].
    pub fn check(&self, covered: &[&[u8]], reference: u32) -> Result<(), Broken> {
        if self.application.get() == UNCHECKED {
            return Ok(());
        }
        let wanted = guard(covered);
        if self.guard.get() != wanted {
            return Err(Broken::Guard { wanted, got: self.guard.get() });
        }
        if self.reference.get() != reference {
            return Err(Broken::Reference { wanted: reference, got: self.reference.get() });
        }
        Ok(())
    }
}

/// Where the information lies in a block's metadata, which may be larger (Identify Namespace, DPS bit 3).
///
/// ```text
///   | data | other metadata | 8 bytes |     the last ones: the guard covers data and other metadata
///   | data | 8 bytes | other metadata |     the first ones: the guard covers the data alone
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    metadata_bytes: usize,
    first: bool,
}

/// DPS: the type, 0 is none.
const TYPE: u8 = 0b111;
/// DPS: the information is the first bytes of the metadata.
const FIRST: u8 = 1 << 3;

impl Place {
    /// That of a namespace; `None` if its blocks have none. That the guard has 16 bits the extended formats of the NVM
    /// command set say ([`super::NvmIdentifyNamespace`]); one of a controller before 2.0 has.
    #[must_use]
    pub fn of(id: &IdentifyNamespace) -> Option<Self> {
        let metadata_bytes = usize::from(id.format().ms.get());
        let is_there = id.dps & TYPE != 0 && metadata_bytes >= size_of::<Protection>();
        is_there.then_some(Self { metadata_bytes, first: id.dps & FIRST != 0 })
    }

    /// The bytes of the metadata that are the information.
    #[must_use]
    pub fn range(self) -> Range<usize> {
        let start = if self.first { 0 } else { self.metadata_bytes - size_of::<Protection>() };
        start..start + size_of::<Protection>()
    }

    /// Puts the information of a block into its metadata.
    ///
    /// # Panics
    /// If the metadata is not as long as the namespace has it.
    pub fn protect(self, data: &[u8], metadata: &mut [u8], application: u16, reference: u32) {
        let made = Protection::of(&[data, self.covered(metadata)], application, reference);
        metadata[self.range()].copy_from_slice(made.as_bytes());
    }

    /// Checks a block that came with this metadata: see [`Protection::check`].
    ///
    /// # Errors
    /// What is wrong.
    ///
    /// # Panics
    /// As for [`Self::protect`].
    pub fn check(self, data: &[u8], metadata: &[u8], reference: u32) -> Result<(), Broken> {
        let covered = self.covered(metadata);
        let made = Protection::read_from_bytes(&metadata[self.range()]).expect("8 bytes");
        made.check(&[data, covered], reference)
    }

    /// The metadata that the guard covers.
    fn covered(self, metadata: &[u8]) -> &[u8] {
        assert_eq!(metadata.len(), self.metadata_bytes, "metadata of one block");
        &metadata[..self.range().start]
    }
}

/// The guard of these bytes.
fn guard(covered: &[&[u8]]) -> u16 {
    let mut digest = Digest::new(CrcAlgorithm::Crc16T10Dif);
    covered.iter().for_each(|bytes| digest.update(bytes));
    digest.finalize() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_is_the_crc_of_t10() {
        // The check value of CRC-16/T10-DIF, and a block of FFh as SBC-3 has it.
        assert_eq!(guard(&[b"123456789"]), 0xd0db);
        assert_eq!(guard(&[b"1234", b"", b"56789"]), 0xd0db);
        assert_eq!(guard(&[&[0; 512]]), 0);
    }

    #[test]
    fn fields_are_big_endian_and_in_order() {
        let made =
            Protection { guard: U16::new(0x0102), application: U16::new(0x0304), reference: U32::new(0x0506_0708) };
        assert_eq!(made.as_bytes(), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_changed_byte_and_another_block_are_found() {
        let mut data = [7; 512];
        let made = Protection::of(&[&data], 3, 1000);
        assert_eq!(made.check(&[&data], 1000), Ok(()));
        assert_eq!(made.check(&[&data], 1001), Err(Broken::Reference { wanted: 1001, got: 1000 }));
        data[511] ^= 1;
        assert!(matches!(made.check(&[&data], 1000), Err(Broken::Guard { .. })));
        let unwritten = Protection { application: U16::new(UNCHECKED), ..made };
        assert_eq!(unwritten.check(&[&data], 1), Ok(()));
    }

    #[test]
    fn the_information_is_at_either_end_of_the_metadata() {
        use zerocopy::FromZeros;
        let mut id = IdentifyNamespace::new_zeroed();
        let place = |id: &IdentifyNamespace| Place::of(id).map(Place::range);
        id.lbaf[0].ms = 64.into();
        assert_eq!(place(&id), None, "metadata without information");
        id.dps = 1;
        assert_eq!(place(&id), Some(56..64));
        id.dps = 1 | FIRST;
        assert_eq!(place(&id), Some(0..8));
        id.lbaf[0].ms = 8.into();
        assert_eq!(place(&id), Some(0..8));
        id.dps = 1;
        assert_eq!(place(&id), Some(0..8));
        id.lbaf[0].ms = 7.into();
        assert_eq!(place(&id), None, "there is no room for it");
    }

    #[test]
    fn metadata_before_the_information_is_covered_and_metadata_behind_it_is_not() {
        let data = [7; 512];
        for first in [false, true] {
            let place = Place { metadata_bytes: 64, first };
            let mut metadata: Vec<u8> = (0..64).collect();
            place.protect(&data, &mut metadata, 3, 9);
            assert_eq!(place.check(&data, &metadata, 9), Ok(()));
            let rest = if first { 8..64 } else { 0..56 };
            assert!(metadata[rest.clone()].iter().zip(rest.clone()).all(|(byte, at)| *byte == at as u8), "it stays");
            for at in 0..64 {
                let mut other = metadata.clone();
                other[at] ^= 1;
                let harmless = first && rest.contains(&at) || place.range().skip(2).take(2).any(|tag| tag == at);
                assert_eq!(place.check(&data, &other, 9).is_ok(), harmless, "byte {at}");
            }
        }
    }
}
