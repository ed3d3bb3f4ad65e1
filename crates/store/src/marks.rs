//! What clients are told of an item beside its value, so that one of them makes a new one: two bits of its first byte,
//! which are changed where it lies.

/// The value is old: a client who is to make a new one may still have it.
const STALE: u8 = 1 << 4;
/// A client was told to make a new value; the others wait, or take the old one.
const WON: u8 = 1 << 5;

/// Of an item; none of them when it is stored, and kept when it is moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Its value is out of date, but may be used while somebody makes a new one.
    pub stale: bool,
    /// Somebody makes a new one.
    pub won: bool,
}

impl Marks {
    /// Of the item that these bytes begin with.
    #[inline]
    pub(crate) fn of(item: &[u8]) -> Self {
        Self { stale: item[0] & STALE != 0, won: item[0] & WON != 0 }
    }

    /// Puts them on the item that these bytes begin with, in place of those it had.
    pub(crate) fn write(self, item: &mut [u8]) {
        let marks = if self.stale { STALE } else { 0 } | if self.won { WON } else { 0 };
        item[0] = item[0] & !(STALE | WON) | marks;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_change_no_other_bit() {
        for first in 0..=u8::MAX {
            for (stale, won) in [(false, false), (false, true), (true, false), (true, true)] {
                let mut item = [first, 7];
                Marks { stale, won }.write(&mut item);
                assert_eq!(Marks::of(&item), Marks { stale, won });
                assert_eq!((item[0] & 0xcf, item[1]), (first & 0xcf, 7));
            }
        }
    }
}
