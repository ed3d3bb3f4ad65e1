//! What went while it was new: remembered by a part of its hash, so that it is not new when it comes again.
//!
//! ```text
//!   bucket   | tag | tag | tag | tag | tag | tag | tag | tag |      32 bytes; the last one goes when one comes
//! ```

/// Tags of a bucket.
const TAGS: usize = 8;
/// One tag for so many bytes of the store.
const BYTES_PER_TAG: usize = 512;

/// See the module.
pub(crate) struct Ghosts {
    buckets: Box<[[u32; TAGS]]>,
}

impl Ghosts {
    /// For a store of so many bytes: a 128th of it.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { buckets: vec![[0; TAGS]; (bytes / BYTES_PER_TAG / TAGS).max(1)].into_boxed_slice() }
    }

    /// Bytes that it takes for a store of so many.
    pub(crate) fn bytes_for(bytes: usize) -> usize {
        bytes / BYTES_PER_TAG * size_of::<u32>()
    }

    /// As many that remember nothing.
    pub(crate) fn emptied(&self) -> Self {
        Self { buckets: vec![[0; TAGS]; self.buckets.len()].into_boxed_slice() }
    }

    /// How many of each bucket fit into so many bytes.
    pub(crate) fn tags_in(&self, bytes: usize) -> usize {
        (bytes / size_of::<u32>() / self.buckets.len()).min(TAGS)
    }

    /// So many of each bucket, the newest ones.
    pub(crate) fn newest(&self, tags: usize) -> impl Iterator<Item = u32> {
        self.buckets.iter().flat_map(move |bucket| bucket[..tags].iter().copied())
    }

    /// Where they are.
    pub(crate) fn newest_mut(&mut self, tags: usize) -> impl Iterator<Item = &mut u32> {
        self.buckets.iter_mut().flat_map(move |bucket| bucket[..tags].iter_mut())
    }

    /// Remembers a hash; the oldest one of its bucket is forgotten.
    pub(crate) fn remember(&mut self, hash: u64) {
        let (bucket, tag) = self.place_of(hash);
        bucket.rotate_right(1);
        bucket[0] = tag;
    }

    /// Whether a hash is remembered; it is not any more then.
    pub(crate) fn recall(&mut self, hash: u64) -> bool {
        let (bucket, tag) = self.place_of(hash);
        let found = bucket.iter_mut().find(|one| **one == tag);
        let known = found.is_some();
        if let Some(one) = found {
            *one = 0;
        }
        known
    }

    fn place_of(&mut self, hash: u64) -> (&mut [u32; TAGS], u32) {
        // The high bits tell the bucket, by a product instead of a division; the low ones are the tag, which is not 0.
        let bucket = ((u128::from(hash) * self.buckets.len() as u128) >> 64) as usize;
        (&mut self.buckets[bucket], hash as u32 | 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_is_known_once_until_others_have_gone() {
        let mut ghosts = Ghosts::new(1 << 16);
        let hash = |number: u64| (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        assert!(!ghosts.recall(hash(1)));
        ghosts.remember(hash(1));
        assert!(ghosts.recall(hash(1)) && !ghosts.recall(hash(1)));
        ghosts.remember(hash(2));
        (1000..3000).for_each(|number| ghosts.remember(hash(number)));
        assert!(!ghosts.recall(hash(2)) && ghosts.recall(hash(2999)));
        assert_eq!(Ghosts::bytes_for(1 << 20), 1 << 13);
    }
}
