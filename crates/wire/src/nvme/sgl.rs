//! SGL descriptors: where the data of a command is.
//!
//! ```text
//!   0        8       12    15  16
//!   | address | length | 0 0 0 | type:4 sub:4 |
//!
//!   01h  data block, sub type offset     the data follows the command in its capsule, `address` bytes into it
//!   5Ah  transport data block            the transport moves the data: R2T and H2CData, or C2HData
//! ```
//!
//! NVMe/TCP knows these two and nothing else; a command has exactly one.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Status;

/// Type 0h (data block), sub type 1h (offset): data in the capsule.
pub const IN_CAPSULE: u8 = 0x01;
/// Type 5h (transport data block), sub type Ah (transport).
pub const TRANSPORT: u8 = 0x5a;

/// An SGL descriptor (Base 2.0, SGL descriptors), 16 bytes: see the picture above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SglDescriptor {
    /// In-capsule: offset in bytes from the start of the in-capsule data. Transport: reserved.
    pub address: U64,
    /// Length in bytes.
    pub length: U32,
    /// Reserved.
    pub reserved: [u8; 3],
    /// Type in bits 7:4, sub type in bits 3:0.
    pub kind: u8,
}

const _: () = assert!(size_of::<SglDescriptor>() == 16);

/// A descriptor that was checked: where the data of a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sgl {
    /// In the capsule, behind the command.
    InCapsule {
        /// Offset in bytes from the start of the in-capsule data. `offset + len` is within the limit.
        offset: u32,
        /// Length in bytes.
        len: u32,
    },
    /// Moved by the transport.
    Transport {
        /// Length in bytes. Unchecked: what is too long depends on the command.
        len: u32,
    },
}

impl Sgl {
    /// Length of the data in bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::InCapsule { len, .. } | Self::Transport { len } => len,
        }
    }
}

impl SglDescriptor {
    /// Data in the capsule, at its start.
    #[must_use]
    pub const fn in_capsule(bytes: u32) -> Self {
        Self { address: U64::ZERO, length: U32::new(bytes), reserved: [0; 3], kind: IN_CAPSULE }
    }

    /// Data moved by the transport. With 0 bytes: the descriptor of a command without data.
    #[must_use]
    pub const fn transport(bytes: u32) -> Self {
        Self { address: U64::ZERO, length: U32::new(bytes), reserved: [0; 3], kind: TRANSPORT }
    }

    /// Checks the descriptor of a command that has data. `in_capsule_limit` is the most in-capsule data that this queue
    /// takes, in bytes (IOCCSZ x 16 - 64; 8,192 on the admin queue).
    ///
    /// # Errors
    /// With DNR: [`Status::SGL_DESCRIPTOR_TYPE_INVALID`] for every other type, [`Status::INVALID_SGL_OFFSET`] for an
    /// offset beyond the limit, [`Status::INVALID_SGL_DATA_LENGTH`] for in-capsule data that would end beyond it.
    pub fn check(&self, in_capsule_limit: u32) -> Result<Sgl, Status> {
        let len = self.length.get();
        match self.kind {
            TRANSPORT => Ok(Sgl::Transport { len }),
            IN_CAPSULE => {
                let offset = u32::try_from(self.address.get()).ok().filter(|&offset| offset <= in_capsule_limit);
                let offset = offset.ok_or(Status::INVALID_SGL_OFFSET.with_dnr())?;
                if len > in_capsule_limit - offset {
                    return Err(Status::INVALID_SGL_DATA_LENGTH.with_dnr());
                }
                Ok(Sgl::InCapsule { offset, len })
            }
            _ => Err(Status::SGL_DESCRIPTOR_TYPE_INVALID.with_dnr()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_are_as_drawn() {
        let mut expected = [0; 16];
        expected[8..12].copy_from_slice(&[0x00, 0x10, 0, 0]);
        expected[15] = 0x5a;
        assert_eq!(SglDescriptor::transport(4096).as_bytes(), expected);
        expected[15] = 0x01;
        assert_eq!(SglDescriptor::in_capsule(4096).as_bytes(), expected);
    }

    #[test]
    fn limits_are_inclusive() {
        assert_eq!(SglDescriptor::in_capsule(8192).check(8192), Ok(Sgl::InCapsule { offset: 0, len: 8192 }));
        assert_eq!(SglDescriptor::in_capsule(8193).check(8192), Err(Status::INVALID_SGL_DATA_LENGTH.with_dnr()));
        assert_eq!(SglDescriptor::in_capsule(1).check(0), Err(Status::INVALID_SGL_DATA_LENGTH.with_dnr()));
        assert_eq!(SglDescriptor::transport(u32::MAX).check(0), Ok(Sgl::Transport { len: u32::MAX }));
        let at = |address| SglDescriptor { address: U64::new(address), ..SglDescriptor::in_capsule(512) };
        assert_eq!(at(7680).check(8192), Ok(Sgl::InCapsule { offset: 7680, len: 512 }));
        assert_eq!(at(7681).check(8192), Err(Status::INVALID_SGL_DATA_LENGTH.with_dnr()));
        assert_eq!(at(8193).check(8192), Err(Status::INVALID_SGL_OFFSET.with_dnr()));
        assert_eq!(at(1 << 32).check(8192), Err(Status::INVALID_SGL_OFFSET.with_dnr()));
    }

    #[test]
    fn every_other_type_is_refused() {
        for kind in (0..=u8::MAX).filter(|kind| ![IN_CAPSULE, TRANSPORT].contains(kind)) {
            let descriptor = SglDescriptor { kind, ..SglDescriptor::transport(512) };
            assert_eq!(descriptor.check(8192), Err(Status::SGL_DESCRIPTOR_TYPE_INVALID.with_dnr()), "{kind:02x}h");
        }
    }

    proptest! {
        #[test]
        fn what_passes_lies_within_the_capsule(bytes: [u8; 16], capsule in any::<bool>(), limit in 0u32..10_000) {
            let mut descriptor = SglDescriptor::read_from_bytes(&bytes).unwrap();
            if capsule {
                descriptor.kind = IN_CAPSULE;
                descriptor.address = U64::new(descriptor.address.get() % 12_000);
                descriptor.length = U32::new(descriptor.length.get() % 12_000);
            }
            match descriptor.check(limit) {
                Ok(Sgl::InCapsule { offset, len }) => prop_assert!(offset as u64 + len as u64 <= limit as u64),
                Ok(Sgl::Transport { len }) => prop_assert_eq!(len, descriptor.length.get()),
                Err(status) => prop_assert!(status.dnr && !status.is_success()),
            }
        }
    }
}
