//! How the resources of a subsystem are divided: NVM sets, domains, endurance groups, and the queues and interrupts of
//! virtual controllers.
//!
//! ```text
//!   CNS 04h   NvmSets                number | 0 .. to 128 | set | set | ...     128 bytes each, at most 31
//!   CNS 14h   PrimaryCapabilities    queues (VQ) and interrupts (VI): total, given away, of the primary controller
//!   CNS 15h   SecondaryControllers   number | 0 .. to 32 | controller | ...     32 bytes each, at most 127
//!   CNS 18h   Domains                number | 0 .. to 128 | domain | ...        128 bytes each, at most 31
//!   CNS 19h   EnduranceGroups        number | endgid | endgid | ...             16 bits each, at most 2,047
//! ```

use zerocopy::little_endian::{U16, U32, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::IDENTIFY_BYTES;

/// An NVM set (Base 2.0, NVM Set Attributes Entry), 128 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct NvmSet {
    /// NVM set identifier.
    pub nvmsetid: U16,
    /// Endurance group identifier.
    pub endgid: U16,
    /// Reserved.
    pub reserved4: [u8; 4],
    /// Typical time of a random read of 4 KiB, in units of 100 ns.
    pub r4krt: U32,
    /// Optimal write size in bytes.
    pub ows: U32,
    /// Capacity in bytes.
    pub tnvmsetcap: U128,
    /// Unallocated capacity in bytes.
    pub unvmsetcap: U128,
    /// Reserved.
    pub reserved48: [u8; 80],
}

const _: () = assert!(size_of::<NvmSet>() == 128);

/// A list of NVM sets (Base 2.0, CNS 04h), 4,096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct NvmSets {
    /// Number of entries.
    pub number: u8,
    /// Reserved.
    pub reserved1: [u8; 127],
    /// Entries, ascending.
    pub sets: [NvmSet; 31],
}

const _: () = assert!(size_of::<NvmSets>() == IDENTIFY_BYTES);

impl NvmSets {
    /// The sets: no more than the page has room for.
    pub fn iter(&self) -> impl Iterator<Item = &NvmSet> {
        self.sets.iter().take(self.number.into())
    }
}

/// Primary Controller Capabilities (Base 2.0, CNS 14h), 4,096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct PrimaryCapabilities {
    /// Controller.
    pub cntlid: U16,
    /// Port.
    pub portid: U16,
    /// Controller resource types: bit 0 queues, bit 1 interrupts.
    pub crt: u8,
    /// Reserved.
    pub reserved5: [u8; 27],
    /// Queues that can be given to any controller, all of them.
    pub vqfrt: U32,
    /// Of these, given to secondary controllers.
    pub vqrfa: U32,
    /// Of these, given to the primary controller.
    pub vqrfap: U16,
    /// Queues that are the primary controller's own.
    pub vqprt: U16,
    /// Most queues of a secondary controller.
    pub vqfrsm: U16,
    /// Queues are given in such numbers.
    pub vqgran: U16,
    /// Reserved.
    pub reserved48: [u8; 16],
    /// Interrupts that can be given to any controller, all of them.
    pub vifrt: U32,
    /// Of these, given to secondary controllers.
    pub virfa: U32,
    /// Of these, given to the primary controller.
    pub virfap: U16,
    /// Interrupts that are the primary controller's own.
    pub viprt: U16,
    /// Most interrupts of a secondary controller.
    pub vifrsm: U16,
    /// Interrupts are given in such numbers.
    pub vigran: U16,
    /// Reserved.
    pub reserved80: [u8; 4016],
}

const _: () = assert!(size_of::<PrimaryCapabilities>() == IDENTIFY_BYTES);

/// A secondary controller (Base 2.0, Secondary Controller Entry), 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SecondaryController {
    /// The controller.
    pub scid: U16,
    /// Its primary controller.
    pub pcid: U16,
    /// State, bit 0: online.
    pub scs: u8,
    /// Reserved.
    pub reserved5: [u8; 3],
    /// Virtual function number of PCI; 0 is none.
    pub vfn: U16,
    /// Queues that were given to it.
    pub nvq: U16,
    /// Interrupts that were given to it.
    pub nvi: U16,
    /// Reserved.
    pub reserved14: [u8; 18],
}

const _: () = assert!(size_of::<SecondaryController>() == 32);

/// A list of secondary controllers (Base 2.0, CNS 15h), 4,096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SecondaryControllers {
    /// Number of entries.
    pub number: u8,
    /// Reserved.
    pub reserved1: [u8; 31],
    /// Entries, ascending.
    pub controllers: [SecondaryController; 127],
}

const _: () = assert!(size_of::<SecondaryControllers>() == IDENTIFY_BYTES);

impl SecondaryControllers {
    /// The controllers: no more than the page has room for.
    pub fn iter(&self) -> impl Iterator<Item = &SecondaryController> {
        self.controllers.iter().take(self.number.into())
    }
}

/// A domain (Base 2.0, Domain Attributes Entry), 128 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Domain {
    /// Domain identifier.
    pub domid: U16,
    /// Reserved.
    pub reserved2: [u8; 14],
    /// Capacity in bytes.
    pub dcap: U128,
    /// Of it, in no endurance group.
    pub udcap: U128,
    /// Capacity of the largest endurance group that can be made, in bytes.
    pub megdcap: U128,
    /// Reserved.
    pub reserved64: [u8; 64],
}

const _: () = assert!(size_of::<Domain>() == 128);

/// A list of domains (Base 2.0, CNS 18h), 4,096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Domains {
    /// Number of entries.
    pub number: u8,
    /// Reserved.
    pub reserved1: [u8; 127],
    /// Entries, ascending.
    pub domains: [Domain; 31],
}

const _: () = assert!(size_of::<Domains>() == IDENTIFY_BYTES);

impl Domains {
    /// The domains: no more than the page has room for.
    pub fn iter(&self) -> impl Iterator<Item = &Domain> {
        self.domains.iter().take(self.number.into())
    }
}

/// A list of endurance groups (Base 2.0, CNS 19h), 4,096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct EnduranceGroups {
    /// Number of identifiers.
    pub number: U16,
    /// Endurance group identifiers, ascending.
    pub endgid: [U16; 2047],
}

const _: () = assert!(size_of::<EnduranceGroups>() == IDENTIFY_BYTES);

impl EnduranceGroups {
    /// The identifiers: no more than the page has room for.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.endgid.iter().take(self.number.get().into()).map(|endgid| endgid.get())
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn fields_are_where_the_specification_has_them() {
        offsets!(NvmSet: nvmsetid 0, endgid 2, r4krt 8, ows 12, tnvmsetcap 16, unvmsetcap 32,);
        offsets!(NvmSets: number 0, sets 128,);
        offsets!(PrimaryCapabilities:
            cntlid 0, portid 2, crt 4, vqfrt 32, vqrfa 36, vqrfap 40, vqprt 42, vqfrsm 44, vqgran 46, vifrt 64,
            virfa 68, virfap 72, viprt 74, vifrsm 76, vigran 78,
        );
        offsets!(SecondaryController: scid 0, pcid 2, scs 4, vfn 8, nvq 10, nvi 12,);
        offsets!(SecondaryControllers: number 0, controllers 32,);
        offsets!(Domain: domid 0, dcap 16, udcap 32, megdcap 48,);
        offsets!(Domains: number 0, domains 128,);
    }

    #[test]
    fn entries_are_no_more_than_there_is_room_for() {
        let mut list = NvmSets::new_zeroed();
        assert_eq!(list.iter().count(), 0);
        list.number = u8::MAX;
        assert_eq!(list.iter().count(), 31);
        let secondary = SecondaryControllers { number: u8::MAX, ..SecondaryControllers::new_zeroed() };
        assert_eq!(secondary.iter().count(), 127);
        let domains = Domains { number: u8::MAX, ..Domains::new_zeroed() };
        assert_eq!(domains.iter().count(), 31);
        let groups = EnduranceGroups { number: u16::MAX.into(), ..EnduranceGroups::new_zeroed() };
        assert_eq!(groups.iter().count(), 2047);
    }
}
