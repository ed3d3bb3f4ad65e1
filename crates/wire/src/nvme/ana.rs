//! The log of asymmetric namespace access: in which state this path has each group of namespaces.
//!
//! ```text
//!   header   0        8       10      16          group  0       4        8        16      17    32
//!            | chgcnt | ngrps | 0 ..  |                  | grpid | nnsids | chgcnt | state | 0 .. | nsid | nsid ..
//! ```

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Header of the log (Base 2.0, LID 0Ch), 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct AnaHeader {
    /// Changes of the log.
    pub chgcnt: U64,
    /// Number of group descriptors.
    pub ngrps: U16,
    /// Reserved.
    pub reserved10: [u8; 6],
}

const _: () = assert!(size_of::<AnaHeader>() == 16);

/// A group descriptor without its namespaces, 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct AnaGroup {
    /// Group.
    pub grpid: U32,
    /// Number of namespace identifiers that follow.
    pub nnsids: U32,
    /// Changes of this group.
    pub chgcnt: U64,
    /// State, bits 3:0.
    pub state: u8,
    /// Reserved.
    pub reserved17: [u8; 15],
}

const _: () = assert!(size_of::<AnaGroup>() == 32);

/// What a state is called.
#[must_use]
pub const fn state_name(state: u8) -> Option<&'static str> {
    Some(match state & 0xf {
        0x1 => "optimized",
        0x2 => "non-optimized",
        0x3 => "inaccessible",
        0x4 => "persistent loss",
        0xf => "change",
        _ => return None,
    })
}

/// The log: a view of the bytes that are there.
#[derive(Clone, Copy, Debug)]
pub struct AnaLog<'a> {
    /// The header.
    pub header: &'a AnaHeader,
    groups: &'a [u8],
}

impl<'a> AnaLog<'a> {
    /// Reads a log; `None`: not even the header is there.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let (header, groups) = AnaHeader::ref_from_prefix(bytes).ok()?;
        Some(Self { header, groups })
    }

    /// The groups that are there, no more than the header counts, each with those of its namespaces that are there.
    pub fn groups(&self) -> impl Iterator<Item = (&'a AnaGroup, &'a [U32])> + use<'a> {
        let mut rest = self.groups;
        let next = move || {
            let (group, after) = AnaGroup::ref_from_prefix(rest).ok()?;
            let there = after.len() / size_of::<U32>();
            let nsids = usize::try_from(group.nnsids.get()).unwrap_or(usize::MAX).min(there);
            let (nsids, after) = <[U32]>::ref_from_prefix_with_elems(after, nsids).ok()?;
            rest = after;
            Some((group, nsids))
        };
        std::iter::from_fn(next).take(usize::from(self.header.ngrps.get()))
    }

    /// Whether all groups that the header counts are there, with all of their namespaces: else the log goes on behind
    /// these bytes.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let complete = |(group, nsids): &(&AnaGroup, &[U32])| group.nnsids.get() as usize == nsids.len();
        self.groups().filter(complete).count() == usize::from(self.header.ngrps.get())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_where_the_specification_has_them() {
        offsets!(AnaHeader: chgcnt 0, ngrps 8,);
        offsets!(AnaGroup: grpid 0, nnsids 4, chgcnt 8, state 16,);
    }

    #[test]
    fn groups_have_the_namespaces_that_are_there() {
        let header = AnaHeader { ngrps: U16::new(3), ..AnaHeader::default() };
        let one = AnaGroup { grpid: U32::new(1), nnsids: U32::new(2), state: 1, ..AnaGroup::default() };
        let two = AnaGroup { grpid: U32::new(2), nnsids: U32::new(u32::MAX), state: 0xf, ..AnaGroup::default() };
        let bytes = [header.as_bytes(), one.as_bytes(), &[7, 0, 0, 0, 9, 0, 0, 0], two.as_bytes(), &[5, 0, 0, 0, 1]];
        let bytes = bytes.concat();
        let log = AnaLog::new(&bytes).unwrap();
        let groups: Vec<_> = log
            .groups()
            .map(|(group, nsids)| (group.grpid.get(), nsids.iter().map(|nsid| nsid.get()).collect::<Vec<_>>()))
            .collect();
        assert_eq!(groups, [(1, vec![7, 9]), (2, vec![5])]);
        assert_eq!((state_name(one.state), state_name(0)), (Some("optimized"), None));
        assert!(!log.is_whole());
        let header = AnaHeader { ngrps: U16::new(1), ..AnaHeader::default() };
        let bytes = [header.as_bytes(), one.as_bytes(), &[0; 8]].concat();
        let whole: Vec<bool> = (16..=56).map(|end| AnaLog::new(&bytes[..end]).unwrap().is_whole()).collect();
        assert!(whole[40] && !whole[..40].contains(&true));
    }

    proptest! {
        #[test]
        fn any_log_is_within_its_bytes(bytes in prop::collection::vec(0u8..3, 0..300)) {
            if let Some(log) = AnaLog::new(&bytes) {
                let used: usize = log.groups().map(|(_, nsids)| 32 + nsids.len() * 4).sum();
                prop_assert!(16 + used <= bytes.len());
            }
        }
    }
}
