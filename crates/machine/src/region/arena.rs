//! A region as plain bytes of one owner.

use std::io;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::Region;
use super::prefetch::prefetch;

/// Bytes of a region that one thread keeps structures in. Not of a file that others write to meanwhile.
pub struct Arena {
    region: Arc<Region>,
    /// Of the region, these bytes; no other arena has any of them.
    range: Range<usize>,
}

impl Arena {
    /// All bytes of a region: nothing else is carved from it.
    #[must_use]
    pub fn new(region: Region) -> Self {
        let range = 0..region.len();
        Self { region: Arc::new(region), range }
    }

    /// Two arenas of one: the first `bytes`, and the rest.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn split_at(self, bytes: usize) -> (Self, Self) {
        assert!(bytes <= self.range.len(), "{bytes} of {:?}", self.range);
        let middle = self.range.start + bytes;
        let first = Self { region: Arc::clone(&self.region), range: self.range.start..middle };
        (first, Self { range: middle..self.range.end, ..self })
    }

    /// The region again, if this has all of it.
    ///
    /// # Panics
    /// If it was split.
    #[must_use]
    pub fn into_region(self) -> Region {
        assert_eq!(self.range, 0..self.region.len(), "a part of a region");
        Arc::into_inner(self.region).expect("no other part of it is left")
    }

    /// The memory that the bytes lie in.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Hints that the bytes from `start` on will be read soon, those that there are.
    #[inline]
    pub fn prefetch(&self, start: usize, bytes: usize) {
        let bytes = &self[start..(start + bytes).min(self.range.len())];
        prefetch(NonNull::from(bytes).cast(), bytes.len());
    }

    /// Stores a word of eight bytes at once, behind everything that this thread has stored before: whoever sees it,
    /// which may be the next process to map the file, sees that too. Nothing is said of a power cut: see
    /// [`Arena::persist`].
    ///
    /// # Panics
    /// If the place is not a multiple of eight in the region, or outside.
    pub fn publish(&mut self, at: usize, word: u64) {
        let bytes = &mut self[at..at + 8];
        assert!(bytes.as_ptr().addr().is_multiple_of(8), "a word at {at}");
        // SAFETY: eight bytes of ours, aligned as was just checked; the borrow of this arena is exclusive.
        let place = unsafe { AtomicU64::from_ptr(bytes.as_mut_ptr().cast()) };
        place.store(word.to_le(), Ordering::Release);
    }

    /// As [`Arena::publish`], of one byte, which may be anywhere.
    pub fn publish_byte(&mut self, at: usize, byte: u8) {
        let place: *mut u8 = &raw mut self[at];
        // SAFETY: a byte of ours; the borrow of this arena is exclusive.
        unsafe { AtomicU8::from_ptr(place) }.store(byte, Ordering::Release);
    }

    /// Starts making bytes durable: they are when the next [`Arena::fence`] of any arena of this region returns.
    ///
    /// # Errors
    /// Those of the medium.
    pub fn persist(&self, range: Range<usize>) -> io::Result<()> {
        assert!(range.end <= self.range.len(), "{range:?} of {:?}", self.range);
        self.region.persist(self.range.start + range.start..self.range.start + range.end)
    }

    /// Waits until everything persisted before is durable.
    ///
    /// # Errors
    /// Those of the medium.
    pub fn fence(&self) -> io::Result<()> {
        self.region.fence()
    }
}

impl Deref for Arena {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the region is mapped for as long as it is there, all of it is initialized (zeros or a file's bytes),
        // and nobody else has these bytes: the region was taken by value, which by itself hands out none, and split
        // into ranges that do not overlap.
        unsafe { slice::from_raw_parts(self.region.base().as_ptr().add(self.range.start), self.range.len()) }
    }
}

impl DerefMut for Arena {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; the borrow of this arena is exclusive.
        unsafe { slice::from_raw_parts_mut(self.region.base().as_ptr().add(self.range.start), self.range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::Event;

    #[test]
    fn bytes_are_zeros_and_keep_what_is_written() {
        let mut arena = Arena::new(Region::anonymous(8192).expect("memory"));
        assert!(arena.iter().all(|byte| *byte == 0) && arena.len() == 8192);
        arena[8191] = 7;
        assert_eq!((arena[8191], arena.region().len()), (7, 8192));
    }

    #[test]
    fn parts_share_no_bytes_and_one_fence() {
        let (tell, told) = std::sync::mpsc::channel();
        let region = Region::shown(8192, move |_, event| tell.send(event).expect("a listener")).expect("memory");
        let (mut first, mut second) = Arena::new(region).split_at(4096);
        first.fill(1);
        second.publish(8, 0x0807_0605_0403_0201);
        second.publish_byte(17, 9);
        assert!(first.iter().all(|byte| *byte == 1));
        assert_eq!(second[7..18], [0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 9][..]);
        second.persist(8..18).expect("memory");
        first.fence().expect("memory");
        drop((first, second));
        assert!(told.iter().eq([Event::Persist(4104..4114), Event::Fence]));
    }

    #[test]
    #[should_panic = "a word at 4"]
    fn words_are_aligned() {
        Arena::new(Region::anonymous(64).expect("memory")).publish(4, 1);
    }
}
