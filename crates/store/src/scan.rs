//! A walk over all items, in steps between which anything may happen.
//!
//! ```text
//!   hash, its bits read from the lowest:   0 0 1 . .     0 1 . . .    1 . . . .
//!   bucket of a growing table:             |--00--|      |---01---|   |------1------|
//!   cursor:                                       └──▶ always a border between buckets
//! ```
//!
//! A bucket has the items whose hashes end alike, so in the order of the bits read backwards it is one stretch, and
//! what it is split into are two halves of that stretch. The cursor is a place in this order. A step takes the bucket
//! that has it and goes on at the end of its stretch: a table that grows has a border there, too, and in one that has
//! become smaller the cursor is within a bucket, of which some are seen once more. So an item that is there all the
//! time is seen, whatever else comes and goes; one may be seen twice.

use crate::slot::Place;
use crate::store::Store;
use crate::{Eviction, Item, Time};

/// Bits of a cursor. The first and the last one are 0.
pub const CURSOR_BITS: u32 = 48;
const END: u64 = 1 << CURSOR_BITS;

/// What is known of an item beside what clients gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Bytes that it takes, header included, but for its entry in the table.
    pub bytes: usize,
    /// How often it was asked for, as eviction sees it.
    pub frequency: u8,
}

impl Store {
    /// Shows items from a cursor on, 0 for the first step: about `items` of them, and looks at no more than ten times
    /// as many buckets. The cursor for the next step; 0 when all were seen.
    pub fn walk(&self, cursor: u64, items: usize, now: Time, mut see: impl FnMut(&Item<'_>)) -> u64 {
        let (mut cursor, mut seen) = (cursor % END, 0);
        for _ in 0..items.saturating_mul(10).max(1) {
            let hash = hash_at(cursor);
            for place in self.table.places(&self.heap, hash) {
                self.alive(place, now).iter().for_each(&mut see);
                seen += 1;
            }
            let stretch = END >> self.table.bits(hash);
            cursor = (cursor | (stretch - 1)) + 1;
            if cursor == END {
                return 0;
            }
            if seen >= items {
                break;
            }
        }
        cursor
    }

    /// Some item by chance, if there is one. One in a bucket with few is more likely. Quick, unless the table has room
    /// for thousands of times what there is.
    pub fn any(&mut self, now: Time) -> Option<Item<'_>> {
        for _ in 0..TRIES {
            let chance = self.random.next();
            let alive = |place: &Place| self.alive(*place, now).is_some();
            let count = self.table.places(&self.heap, chance).filter(alive).count();
            if count > 0 {
                let number = (chance >> 56) as usize % count;
                let place = self.table.places(&self.heap, chance).filter(alive).nth(number)?;
                return self.alive(place, now);
            }
        }
        let place = self.first(now)?;
        self.alive(place, now)
    }

    /// Whether old items make room for new ones.
    #[must_use]
    pub fn evicts(&self) -> bool {
        self.options.eviction != Eviction::None
    }

    /// What is known of an item.
    #[must_use]
    pub fn known(&self, hash: u64, key: &[u8], now: Time) -> Option<Known> {
        let (at, _, header) = self.live(hash, key, now)?;
        Some(Known { bytes: header.item_bytes(), frequency: at.read(&self.heap).frequency() })
    }

    /// The first item of a walk.
    fn first(&self, now: Time) -> Option<Place> {
        let mut cursor = 0;
        loop {
            let hash = hash_at(cursor);
            let found = self.table.places(&self.heap, hash).find(|place| self.alive(*place, now).is_some());
            cursor += END >> self.table.bits(hash);
            if found.is_some() || cursor == END {
                return found;
            }
        }
    }

    fn alive(&self, place: Place, now: Time) -> Option<Item<'_>> {
        let header = self.heap.header(place);
        (!header.expiry.has_come(now)).then(|| self.item(place, &header))
    }
}

/// Buckets that are looked at by chance.
const TRIES: usize = 64;

/// The lowest bits of the hashes at this place of the walk.
fn hash_at(cursor: u64) -> u64 {
    (cursor << (u64::BITS - CURSOR_BITS)).reverse_bits()
}
