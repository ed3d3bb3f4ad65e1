//! Slots that stay where they are until the slab is dropped, because the system writes to them.
//!
//! ```text
//!   chunks   [ 0 .. 31 ] [ 32 .. 63 ] ...    each allocated once, never moved, never given back
//!   free     numbers of slots that neither we nor the system use
//! ```

/// Slots of a chunk.
pub(super) const CHUNK: usize = 32;

/// So many slots as were ever needed at once, rounded up. `C` is what the slots of a chunk have in common.
pub(super) struct Slab<T, C = ()> {
    chunks: Vec<(C, Box<[T]>)>,
    free: Vec<u32>,
}

impl<T, C> Default for Slab<T, C> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: Vec::new() }
    }
}

impl<T: Default, C> Slab<T, C> {
    /// The number of a free slot, which is the caller's until it is given back. `more` makes what another chunk needs.
    pub(super) fn take<E>(&mut self, more: impl FnOnce() -> Result<C, E>) -> Result<u32, E> {
        if self.free.is_empty() {
            let common = more()?;
            let first = (self.chunks.len() * CHUNK) as u32;
            self.chunks.push((common, (0..CHUNK).map(|_| T::default()).collect()));
            // Room for all of them: giving back allocates nothing.
            self.free.reserve(self.chunks.len() * CHUNK);
            self.free.extend((first..first + CHUNK as u32).rev());
        }
        Ok(self.free.pop().expect("there is one now"))
    }

    pub(super) fn give_back(&mut self, number: u32) {
        debug_assert!(!self.free.contains(&number), "a slot is given back once");
        self.free.push(number);
    }

    /// A slot, and what its chunk has in common.
    pub(super) fn get(&self, number: u32) -> (&T, &C) {
        let (common, slots) = &self.chunks[number as usize / CHUNK];
        (&slots[number as usize % CHUNK], common)
    }

    /// Slots that are taken.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.chunks.len() * CHUNK - self.free.len()
    }
}
