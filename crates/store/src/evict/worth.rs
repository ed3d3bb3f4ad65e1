//! What main segments' items are worth, from which follows who of the next one stays.
//!
//! ```text
//!   bytes of the last segments, by class     | 0: not asked for | . . | border | . . . . . . |
//!                                              go ─────────────────────▶  some  ◀──── stay, eleven sixteenths in all
//! ```
//!
//! A segment is emptied in steps, and so it is not known in front of it which of its items are worth most. Its
//! neighbours are like it: those of them that went before it tell, the last one most. Where sizes differ, fewer that
//! stay would give more hits; where they are alike, more.

use super::merge::{CLASSES, Candidate};

/// Of all bytes so many sixteenths stay.
const STAY: u64 = 11;
/// Parts of the class on the border.
const PARTS: u64 = 1024;

/// See the module.
pub(crate) struct Worth {
    /// Bytes of items by their class.
    sizes: Box<[u64; CLASSES]>,
    /// The class of which only some stay; the others do that are above it.
    border: u16,
    /// How many parts of it.
    parts: u64,
}

impl Worth {
    /// All stay that were asked for.
    pub(crate) fn new() -> Self {
        Self { sizes: Box::new([0; CLASSES]), border: 0, parts: 0 }
    }

    /// Notes an item, and says whether it stays.
    pub(crate) fn stays(&mut self, item: &Candidate) -> bool {
        self.sizes[usize::from(item.class)] += u64::from(item.bytes);
        let some = item.class == self.border && item.class > 0;
        item.class > self.border || some && (item.hash >> 32) % PARTS < self.parts
    }

    /// To be called in front of each segment: finds the border, and lets what came before count less.
    pub(crate) fn next_segment(&mut self) {
        let (mut room, mut border) = (self.sizes.iter().sum::<u64>() / 16 * STAY, CLASSES - 1);
        while border > 0 && self.sizes[border] <= room {
            room -= self.sizes[border];
            border -= 1;
        }
        (self.border, self.parts) = (border as u16, room * PARTS / self.sizes[border].max(1));
        self.sizes.iter_mut().for_each(|bytes| *bytes -= bytes.div_ceil(4));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::Place;
    use crate::table::At;

    /// Bytes that stay of a segment of items of such frequencies and sizes.
    fn stay(worth: &mut Worth, frequencies: &[u8], bytes: usize) -> usize {
        worth.next_segment();
        let (mut stay, mut hash) = (0, 1u64);
        for &frequency in frequencies {
            hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
            let item = Candidate::new(Place { segment: 0, offset: 0 }, At::default(), bytes, frequency, hash);
            stay += if worth.stays(&item) { bytes } else { 0 };
        }
        stay
    }

    #[test]
    fn what_stays_is_worth_most() {
        let mut worth = Worth::new();
        let (few, all): (Vec<u8>, Vec<u8>) = ((0..4000).map(|n| u8::from(n % 4 == 0)).collect(), vec![1; 4000]);
        for _ in 0..8 {
            assert_eq!(stay(&mut worth, &few, 100), 100_000, "who was asked for");
        }
        for _ in 0..30 {
            stay(&mut worth, &all, 100);
        }
        let most = stay(&mut worth, &all, 100);
        assert!((260_000..290_000).contains(&most), "{most}");
        let mixed: Vec<u8> = (0..4000).map(|n| if n % 2 == 0 { 3 } else { 1 }).collect();
        for _ in 0..12 {
            stay(&mut worth, &mixed, 100);
        }
        let (twos, ones): (Vec<u8>, Vec<u8>) = (vec![3; 2000], vec![1; 2000]);
        worth.next_segment();
        let kept = |worth: &mut Worth, frequencies: &[u8]| {
            let items = frequencies.iter().enumerate().map(|(n, frequency)| {
                let hash = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                Candidate::new(Place { segment: 0, offset: 0 }, At::default(), 100, *frequency, hash)
            });
            items.filter(|item| worth.stays(item)).count()
        };
        assert_eq!(kept(&mut worth, &twos), 2000);
        let some = kept(&mut worth, &ones);
        assert!((600..900).contains(&some), "some of those on the border: {some}");
    }
}
