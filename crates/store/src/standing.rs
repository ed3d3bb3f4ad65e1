//! What eviction knows of items beside themselves, from one process to the next: how often they were asked for, and
//! which are gone.
//!
//! ```text
//!   segments that are free, or the table's   | ghosts | ghosts | header, cells: 4 bits for some bytes of items | . |
//!   the directory's entries of them          | 0 | which part of the note it is |
//! ```
//!
//! A store that is closed in order leaves a note where its pool has nothing: in free segments, and in those whose place
//! the table has, which lies in memory. That takes no room from items, and nothing is written for it while the store is
//! used. The next process reads the note before it gives these segments out. A process that was killed has left none:
//! then nothing is known but which segments are main ones, as the directory says; the rest is learnt again.
//!
//! A cell is for so many bytes that hardly two items begin in them; where two do, the higher one holds. All of it is
//! only about who goes first: a note that is not whole is none.

use std::ops::Range;

use crc_fast::{CrcAlgorithm, Digest};

use crate::evict::ghosts::Ghosts;
use crate::heap::Heap;
use crate::item::Layout;
use crate::slot::Place;
use crate::store::Store;

/// Bytes in front of the cells: how many they are, their grain, segments of ghosts, and the checksum of all.
const HEADER_BYTES: usize = 32;
/// The smallest cells: for 16 bytes of items.
const LEAST_GRAIN: u32 = 4;
/// The largest: no segment is smaller.
const MOST_GRAIN: u32 = crate::limits::MIN_SEGMENT_BYTES.ilog2();

/// How often items were asked for, by where they lie.
pub(crate) struct Standing {
    /// A cell is for two to the power of this many bytes.
    grain: u32,
    /// Two to a byte.
    cells: Box<[u8]>,
}

impl Standing {
    fn new(heap: &Heap, items: usize, bytes: u64) -> Self {
        let half = (bytes / items.max(1) as u64 / 2).max(1);
        let grain = half.ilog2().clamp(LEAST_GRAIN, MOST_GRAIN);
        Self { grain, cells: vec![0; cells_for(heap, grain)].into_boxed_slice() }
    }

    /// How often the item at a place was asked for, about.
    pub(crate) fn frequency(&self, heap: &Heap, place: Place) -> u8 {
        let (byte, shift) = self.cell(heap, place);
        decoded(self.cells[byte] >> shift & 0xf)
    }

    fn raise(&mut self, heap: &Heap, place: Place, frequency: u8) {
        let (byte, shift) = self.cell(heap, place);
        let code = encoded(frequency).max(self.cells[byte] >> shift & 0xf);
        self.cells[byte] = self.cells[byte] & !(0xf << shift) | code << shift;
    }

    fn cell(&self, heap: &Heap, place: Place) -> (usize, u32) {
        let cell = heap.position(place) >> self.grain;
        (cell / 2, cell as u32 % 2 * 4)
    }
}

fn cells_for(heap: &Heap, grain: u32) -> usize {
    ((heap.count() * heap.segment_bytes()) >> grain).div_ceil(2)
}

/// Exact up to 3; then the doublings.
fn encoded(frequency: u8) -> u8 {
    if frequency < 4 { frequency } else { frequency.ilog2() as u8 + 2 }
}

fn decoded(code: u8) -> u8 {
    if code < 4 { code } else { 1 << (code - 2).min(7) }
}

/// What is in front of the cells.
#[derive(Clone, Copy)]
struct Header {
    cell_bytes: usize,
    grain: u32,
    /// Segments of ghosts.
    ghosts: usize,
    sum: u64,
}

impl Header {
    fn bytes(self) -> [u8; HEADER_BYTES] {
        let words = [self.cell_bytes as u64, u64::from(self.grain), self.ghosts as u64, self.sum];
        let mut bytes = [0; HEADER_BYTES];
        bytes.chunks_exact_mut(8).zip(words).for_each(|(to, word)| to.copy_from_slice(&word.to_le_bytes()));
        bytes
    }

    fn of(bytes: &[u8]) -> Self {
        let word = |at: usize| u64::from_le_bytes(bytes[at * 8..][..8].try_into().expect("they are eight"));
        Self { cell_bytes: word(0) as usize, grain: word(1) as u32, ghosts: word(2) as usize, sum: word(3) }
    }
}

/// Of so many bytes behind a header, the stretches that lie in one segment: where, and which of the bytes.
fn stretches(segment_bytes: usize, bytes: usize) -> impl Iterator<Item = (usize, usize, Range<usize>)> {
    let end = HEADER_BYTES + bytes;
    (0..end.div_ceil(segment_bytes)).map(move |segment| {
        let from = (segment * segment_bytes).max(HEADER_BYTES);
        let to = ((segment + 1) * segment_bytes).min(end);
        (segment, from % segment_bytes, from - HEADER_BYTES..to - HEADER_BYTES)
    })
}

impl Store {
    /// Leaves a note in a pool that is about to be closed, if there is room for one.
    pub(crate) fn note_standing(&mut self) {
        if self.heap.layout() == Layout::Volatile {
            return;
        }
        let before = self.recovery.as_mut().and_then(|recovery| recovery.standing.take());
        let mut standing = before.unwrap_or_else(|| Standing::new(&self.heap, self.table.items(), self.live_bytes));
        self.table.each(&self.heap, |slot| standing.raise(&self.heap, slot.place(), slot.frequency()));
        let Self { heap, ghosts, .. } = self;
        let ghosts = ghosts.as_ref().map_or(&[][..], Ghosts::pages);
        let mut others = heap.unused();
        others.retain(|segment| !ghosts.contains(segment));
        let segment_bytes = heap.segment_bytes();
        let wanted = (HEADER_BYTES + standing.cells.len()).div_ceil(segment_bytes);
        if others.len() < wanted {
            return;
        }
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        for &page in ghosts {
            digest.update(heap.page(page));
            heap.keep_page(page);
        }
        digest.update(&standing.cells);
        for (segment, offset, range) in stretches(segment_bytes, standing.cells.len()) {
            let place = Place { segment: others[segment], offset: offset as u32 };
            heap.note_bytes(place, &standing.cells[range]);
        }
        let (cell_bytes, grain) = (standing.cells.len(), standing.grain);
        let header = Header { cell_bytes, grain, ghosts: ghosts.len(), sum: digest.finalize() };
        heap.note_bytes(Place { segment: others[0], offset: 0 }, &header.bytes());
        heap.enter_notes(ghosts.iter().chain(&others[..wanted]));
    }

    /// What the note in these segments of a pool that was closed says of its items. What it says of those that are
    /// gone is remembered from now on.
    pub(crate) fn read_standing(&mut self, parts: &[u32]) -> Option<Standing> {
        let Self { heap, ghosts, .. } = self;
        let pages = ghosts.as_ref().map_or(&[][..], Ghosts::pages);
        // One of another policy has another number of them, and no header there.
        let (gone, others) = parts.split_at_checked(pages.len())?;
        let header = Header::of(heap.at(Place { segment: *others.first()?, offset: 0 }));
        let fits = (LEAST_GRAIN..=MOST_GRAIN).contains(&header.grain)
            && header.cell_bytes == cells_for(heap, header.grain)
            && header.ghosts == gone.len()
            && (HEADER_BYTES + header.cell_bytes).div_ceil(heap.segment_bytes()) == others.len();
        if !fits {
            return None;
        }
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        for (page, part) in pages.iter().zip(gone) {
            heap.load_page(*page, *part);
            digest.update(heap.page(*page));
        }
        let mut cells = vec![0; header.cell_bytes].into_boxed_slice();
        for (segment, offset, range) in stretches(heap.segment_bytes(), cells.len()) {
            let place = Place { segment: others[segment], offset: offset as u32 };
            let bytes = range.len();
            cells[range].copy_from_slice(&heap.at(place)[..bytes]);
        }
        digest.update(&cells);
        if digest.finalize() != header.sum {
            pages.iter().for_each(|page| heap.page_mut(*page).fill(0));
            return None;
        }
        Some(Standing { grain: header.grain, cells })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_are_about_kept() {
        for frequency in 0..=u8::MAX {
            let kept = decoded(encoded(frequency));
            assert!(encoded(frequency) < 16 && kept <= frequency && kept >= frequency / 2, "{frequency} became {kept}");
            assert!(frequency > 3 || kept == frequency);
        }
    }
}
