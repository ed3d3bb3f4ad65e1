//! What eviction knows of items beside themselves, from one process to the next: how often they were asked for, and
//! which are gone.
//!
//! ```text
//!   segments that are free, or the table's   | header | cells: 4 bits for some bytes of items | tags of ghosts | . |
//!   the directory's entries of them          | 0 | which part of the note it is |
//! ```
//!
//! A store that is closed in order leaves a note where its pool has nothing: in free segments, and in those whose place
//! the table has, which lies in memory. That takes no room from items, and nothing is written for it while the store is
//! used. The next process reads the note before it gives these segments out. A process that was killed has left none:
//! then nothing is known but which segments are main ones, as the directory says; the rest is learnt again.
//!
//! A cell is for so many bytes that hardly two items begin in them; where two do, the higher one holds. Where there is
//! little room, of each bucket of ghosts the newest ones are kept. All of it is only about who goes first: a note that
//! is not whole is none.

use crc_fast::{CrcAlgorithm, Digest};

use crate::evict::ghosts::Ghosts;
use crate::heap::Heap;
use crate::item::Layout;
use crate::slot::Place;
use crate::store::Store;

/// Bytes in front: of the cells, their grain, tags of a bucket, and the checksum of all that is behind.
const HEADER_BYTES: usize = 32;
/// What is written at once.
const BUFFER_BYTES: usize = 64 << 10;
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

/// What is in front of a note.
#[derive(Clone, Copy)]
struct Header {
    cell_bytes: usize,
    grain: u32,
    /// Of each bucket of ghosts.
    tags: usize,
    sum: u64,
}

impl Header {
    fn bytes(self) -> [u8; HEADER_BYTES] {
        let words = [self.cell_bytes as u64, u64::from(self.grain), self.tags as u64, self.sum];
        let mut bytes = [0; HEADER_BYTES];
        bytes.chunks_exact_mut(8).zip(words).for_each(|(to, word)| to.copy_from_slice(&word.to_le_bytes()));
        bytes
    }

    fn of(bytes: [u8; HEADER_BYTES]) -> Self {
        let word = |at: usize| u64::from_le_bytes(bytes[at * 8..][..8].try_into().expect("they are eight"));
        Self { cell_bytes: word(0) as usize, grain: word(1) as u32, tags: word(2) as usize, sum: word(3) }
    }
}

/// Bytes of a note in their order, wherever their segments lie.
struct Note {
    segments: Vec<u32>,
    at: usize,
    digest: Digest,
}

impl Note {
    fn over(segments: Vec<u32>) -> Self {
        Self { segments, at: HEADER_BYTES, digest: Digest::new(CrcAlgorithm::Crc32Iscsi) }
    }

    fn room(&self, heap: &Heap) -> usize {
        self.segments.len() * heap.segment_bytes()
    }

    fn write(&mut self, heap: &mut Heap, bytes: &[u8]) {
        self.digest.update(bytes);
        self.put(heap, self.at, bytes);
        self.at += bytes.len();
    }

    fn put(&self, heap: &mut Heap, mut at: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (place, fits) = self.place(heap, at);
            let (now, later) = bytes.split_at(fits.min(bytes.len()));
            heap.note_bytes(place, now);
            (at, bytes) = (at + now.len(), later);
        }
    }

    fn read(&mut self, heap: &Heap, bytes: &mut [u8]) {
        self.get(heap, self.at, bytes);
        self.digest.update(bytes);
        self.at += bytes.len();
    }

    fn get(&self, heap: &Heap, mut at: usize, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let (place, fits) = self.place(heap, at);
            let (now, later) = bytes.split_at_mut(fits.min(bytes.len()));
            now.copy_from_slice(&heap.at(place)[..now.len()]);
            (at, bytes) = (at + now.len(), later);
        }
    }

    /// Where a byte lies, and how many are behind it in its segment.
    fn place(&self, heap: &Heap, at: usize) -> (Place, usize) {
        let offset = at % heap.segment_bytes();
        let segment = self.segments[at / heap.segment_bytes()];
        (Place { segment, offset: offset as u32 }, heap.segment_bytes() - offset)
    }
}

impl Store {
    /// Leaves a note in a pool that is about to be closed, if there is room for one.
    pub(crate) fn note_standing(&mut self) {
        if self.heap.layout() == Layout::Volatile {
            return;
        }
        let mut note = Note::over(self.heap.unused());
        let before = self.recovery.as_mut().and_then(|recovery| recovery.standing.take());
        let mut standing = before.unwrap_or_else(|| Standing::new(&self.heap, self.table.items(), self.live_bytes));
        let Some(left) = note.room(&self.heap).checked_sub(HEADER_BYTES + standing.cells.len()) else { return };
        self.table.each(&self.heap, |slot| standing.raise(&self.heap, slot.place(), slot.frequency()));
        let tags = self.ghosts.as_ref().map_or(0, |ghosts| ghosts.tags_in(left));
        note.write(&mut self.heap, &standing.cells);
        if let Some(ghosts) = &self.ghosts {
            let mut buffer = Vec::with_capacity(BUFFER_BYTES);
            for tag in ghosts.newest(tags) {
                buffer.extend(tag.to_le_bytes());
                if buffer.len() == BUFFER_BYTES {
                    note.write(&mut self.heap, &buffer);
                    buffer.clear();
                }
            }
            note.write(&mut self.heap, &buffer);
        }
        let sum = note.digest.finalize();
        let header = Header { cell_bytes: standing.cells.len(), grain: standing.grain, tags, sum };
        note.put(&mut self.heap, 0, &header.bytes());
        let used = note.at.div_ceil(self.heap.segment_bytes());
        self.heap.enter_notes(&note.segments[..used]);
    }

    /// What a pool that was closed says of its items; of those that are gone, it is known from now on.
    pub(crate) fn read_standing(&mut self, segments: Vec<u32>) -> Option<Standing> {
        let heap = &self.heap;
        let mut note = Note::over(segments);
        let mut bytes = [0; HEADER_BYTES];
        if note.room(heap) < HEADER_BYTES {
            return None;
        }
        note.get(heap, 0, &mut bytes);
        let header = Header::of(bytes);
        let fits = (LEAST_GRAIN..=MOST_GRAIN).contains(&header.grain)
            && header.cell_bytes == cells_for(heap, header.grain)
            && header.cell_bytes <= note.room(heap) - HEADER_BYTES;
        if !fits {
            return None;
        }
        let mut cells = vec![0; header.cell_bytes].into_boxed_slice();
        note.read(heap, &mut cells);
        let mut ghosts = self.ghosts.as_ref().map(Ghosts::emptied);
        if let Some(ghosts) = &mut ghosts {
            if header.tags > ghosts.tags_in(note.room(heap) - note.at) {
                return None;
            }
            for tag in ghosts.newest_mut(header.tags) {
                let mut bytes = [0; 4];
                note.read(heap, &mut bytes);
                *tag = u32::from_le_bytes(bytes);
            }
        }
        // A policy without ghosts leaves them unread, and the sum unknown: its cells are only about who goes first.
        if ghosts.is_some() || header.tags == 0 {
            if note.digest.finalize() != header.sum {
                return None;
            }
            self.ghosts = ghosts;
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
