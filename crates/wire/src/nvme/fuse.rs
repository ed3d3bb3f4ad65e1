//! Fused operations: two commands, one behind the other in a queue, that are carried out as one (Base 2.0, Fused
//! Operations). There is one kind: Compare, then Write, to the same blocks.

use super::Sqe;

/// The bits of FUSE in the flags.
pub(super) const FUSE_MASK: u8 = 0x03;

/// Whether a command belongs to a fused pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fuse {
    /// 00b: it stands alone.
    Normal = 0,
    /// 01b: the next command of the queue is its second half.
    First = 1,
    /// 10b: the second half.
    Second = 2,
    /// 11b: no meaning.
    Reserved = 3,
}

impl Sqe {
    /// Whether it belongs to a fused pair. Fabrics commands never do: the bits have no meaning there.
    #[must_use]
    pub const fn fuse(&self) -> Fuse {
        match self.flags & FUSE_MASK {
            _ if self.is_fabrics() => Fuse::Normal,
            0 => Fuse::Normal,
            1 => Fuse::First,
            2 => Fuse::Second,
            _ => Fuse::Reserved,
        }
    }

    /// The same command as this part of a pair.
    #[must_use]
    pub const fn with_fuse(self, fuse: Fuse) -> Self {
        Self { flags: self.flags & !FUSE_MASK | fuse as u8, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nvme::FABRICS;

    #[test]
    fn fuse_leaves_the_other_flags_alone() {
        let sqe = Sqe::compare(1, 0, 1);
        for fuse in [Fuse::Normal, Fuse::First, Fuse::Second, Fuse::Reserved] {
            let half = sqe.with_fuse(fuse);
            assert_eq!(half.fuse(), fuse);
            assert_eq!(half.flags & !FUSE_MASK, sqe.flags);
            assert_eq!(half.with_fuse(Fuse::Normal), sqe);
            assert_eq!(Sqe { opcode: FABRICS, ..half }.fuse(), Fuse::Normal);
        }
    }
}
