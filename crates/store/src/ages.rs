//! How old evicted items were.
//!
//! A segment knows the second in which it was opened. What is moved when others go keeps the age of the oldest segment
//! that it comes from, so the age of an item is that of the oldest one it ever lay beside: exact for what was evicted
//! without having been moved, and at most too high for others.

use crate::limits::AGE_BOUNDS;

/// Counts of ages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ages {
    /// How many items had at most each of [`AGE_BOUNDS`]; those that were older come last.
    pub counts: [u64; AGE_BOUNDS.len() + 1],
    /// The sum of all ages, in seconds.
    pub seconds: u64,
}

impl Ages {
    pub(crate) fn add(&mut self, seconds: u32, items: u64) {
        let bucket = AGE_BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(AGE_BOUNDS.len());
        self.counts[bucket] += items;
        self.seconds += u64::from(seconds) * items;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use machine::region::Region;

    use super::*;
    use crate::{Eviction, Expiry, Store, StoreOptions, Time, Value};

    #[test]
    fn what_makes_room_has_an_age() {
        for eviction in [Eviction::Merge, Eviction::S3Fifo, Eviction::Fifo, Eviction::Random] {
            let region = Region::anonymous(1 << 20).expect("memory");
            let mut store = Store::new(region, StoreOptions { seed: 1, eviction }).expect("a store");
            let start = Time::from_millis(1_700_000_000_000);
            for second in 0..100 {
                let now = start.plus(Duration::from_secs(second));
                store.expire(now);
                for number in 0..100u64 {
                    let (key, value) = ((second * 100 + number).to_le_bytes(), [0; 500]);
                    let (value, hash) = (&[&value[..]], store.hash(&key));
                    let value = Value { parts: value, flags: 0, expiry: Expiry::Never };
                    store.put(hash, &key, value, now).expect("there is room, or others go");
                    store.get(hash, &key, now);
                }
            }
            let figures = store.figures();
            let Ages { counts, seconds } = figures.evicted_ages;
            assert_eq!(counts.iter().sum::<u64>(), figures.evicted, "{eviction:?}");
            // About 20 s of items fit, of which the policies let some go sooner and some later.
            let mean = seconds / figures.evicted;
            assert!(figures.evicted > 5000 && (2..60).contains(&mean), "{eviction:?}: {mean} s, {figures:?}");
        }
    }

    #[test]
    fn ages_belong_below_their_bounds() {
        let mut ages = Ages::default();
        ages.add(0, 1);
        ages.add(AGE_BOUNDS[0], 2);
        ages.add(AGE_BOUNDS[0] + 1, 4);
        ages.add(u32::MAX, 8);
        assert_eq!((ages.counts[0], ages.counts[1], ages.counts[AGE_BOUNDS.len()]), (3, 4, 8));
    }
}
