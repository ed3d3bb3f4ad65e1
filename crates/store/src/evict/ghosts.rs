//! What went while it was new: remembered by a part of its hash, so that it is not new when it comes again.
//!
//! ```text
//!   bucket   | tag | tag | tag | tag | tag | tag | tag | tag |      32 bytes; the last one goes when one comes
//! ```
//!
//! The buckets lie in segments of the store, as the table does: a 128th of them.

use crate::heap::Heap;

/// Bytes of a tag, and of a bucket.
const TAG_BYTES: usize = 4;
const BUCKET_BYTES: usize = 32;
/// One segment for so many of the store: a tag for 512 bytes.
const SEGMENTS_PER_PAGE: usize = 128;

/// See the module.
pub(crate) struct Ghosts {
    /// Segments that hold the buckets, in order.
    pages: Vec<u32>,
    per_page: usize,
}

impl Ghosts {
    /// For a heap; `None` if that has no segments for it.
    pub(crate) fn new(heap: &mut Heap) -> Option<Self> {
        let wanted = heap.count().div_ceil(SEGMENTS_PER_PAGE);
        let pages = (0..wanted).map(|_| heap.take()).collect::<Option<Vec<u32>>>()?;
        pages.iter().for_each(|page| heap.page_mut(*page).fill(0));
        Some(Self { pages, per_page: heap.segment_bytes() / BUCKET_BYTES })
    }

    /// Its segments.
    pub(crate) fn pages(&self) -> &[u32] {
        &self.pages
    }

    /// One of its segments, if it is, is another one now.
    pub(crate) fn page_moved(&mut self, from: u32, to: u32) -> bool {
        let page = self.pages.iter_mut().find(|page| **page == from);
        page.map(|page| *page = to).is_some()
    }

    /// Remembers a hash; the oldest one of its bucket is forgotten.
    pub(crate) fn remember(&mut self, heap: &mut Heap, hash: u64) {
        let (bucket, tag) = self.place_of(heap, hash);
        bucket.copy_within(..BUCKET_BYTES - TAG_BYTES, TAG_BYTES);
        bucket[..TAG_BYTES].copy_from_slice(&tag);
    }

    /// Whether a hash is remembered; it is not any more then.
    pub(crate) fn recall(&mut self, heap: &mut Heap, hash: u64) -> bool {
        let (bucket, tag) = self.place_of(heap, hash);
        let found = bucket.chunks_exact_mut(TAG_BYTES).find(|one| **one == tag);
        found.map(|one| one.fill(0)).is_some()
    }

    fn place_of<'a>(&self, heap: &'a mut Heap, hash: u64) -> (&'a mut [u8], [u8; TAG_BYTES]) {
        // The high bits tell the bucket, by a product instead of a division; the low ones are the tag, which is not 0.
        let buckets = self.pages.len() * self.per_page;
        let bucket = ((u128::from(hash) * buckets as u128) >> 64) as usize;
        let byte = bucket % self.per_page * BUCKET_BYTES;
        let page = heap.page_mut(self.pages[bucket / self.per_page]);
        (&mut page[byte..byte + BUCKET_BYTES], (hash as u32 | 1).to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use machine::region::{Arena, Region};

    use super::*;
    use crate::limits::MIN_SEGMENT_BYTES;

    #[test]
    fn what_went_is_known_once_until_others_have_gone() {
        let region = Region::anonymous(16 * MIN_SEGMENT_BYTES).expect("memory");
        let heap = &mut Heap::new(Arena::new(region), MIN_SEGMENT_BYTES);
        let mut ghosts = Ghosts::new(heap).expect("it is small");
        let hash = |number: u64| (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        assert!(!ghosts.recall(heap, hash(1)));
        ghosts.remember(heap, hash(1));
        assert!(ghosts.recall(heap, hash(1)) && !ghosts.recall(heap, hash(1)));
        ghosts.remember(heap, hash(2));
        (1000..13_000).for_each(|number| ghosts.remember(heap, hash(number)));
        assert!(!ghosts.recall(heap, hash(2)) && ghosts.recall(heap, hash(12_999)));
    }
}
