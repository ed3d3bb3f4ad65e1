//! A region as plain bytes of one owner.

use std::ops::{Deref, DerefMut};
use std::slice;

use super::Region;

/// All bytes of a region: for structures that one thread keeps in it. Not of a file that others write to meanwhile.
pub struct Arena {
    region: Region,
}

impl Arena {
    /// Nothing else is carved from the region.
    #[must_use]
    pub fn new(region: Region) -> Self {
        Self { region }
    }

    /// The memory that the bytes lie in.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.region
    }
}

impl Deref for Arena {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the region is mapped for as long as it is there, all of it is initialized (zeros or a file's bytes),
        // and nobody else has it: it was taken by value, and a Region by itself hands out no bytes.
        unsafe { slice::from_raw_parts(self.region.base().as_ptr(), self.region.len()) }
    }
}

impl DerefMut for Arena {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; the borrow of this arena is exclusive.
        unsafe { slice::from_raw_parts_mut(self.region.base().as_ptr(), self.region.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_zeros_and_keep_what_is_written() {
        let mut arena = Arena::new(Region::anonymous(8192).expect("memory"));
        assert!(arena.iter().all(|byte| *byte == 0) && arena.len() == 8192);
        arena[8191] = 7;
        assert_eq!((arena[8191], arena.region().len()), (7, 8192));
    }
}
