//! What a restart costs: misses of a trace after it, beside those of a store that goes on.

use super::*;
use crate::random::Random;
use crate::{Keep, Pool, Shape};

const SHAPE: Shape = Shape { bytes: 4 << 20, parts: 1, keep: Keep::Warm };
const ITEM_BYTES: usize = 400;
const NOW: Time = Time::from_millis(1_000_000);

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    Not,
    Closed,
    /// After it was opened, and has not found all of its items.
    ClosedEarly,
    Killed,
}

/// Keys of which some are asked for much more often than others, and in between such as nobody asks for again.
struct Trace {
    random: Random,
    fresh: u32,
}

impl Trace {
    fn next(&mut self) -> u32 {
        let chance = self.random.next();
        if chance.is_multiple_of(20) {
            self.fresh += 1;
            return 1 << 31 | self.fresh;
        }
        // A key's rank is about a power of two by chance, and any of those of this doubling.
        let doubling = 8 + (chance >> 8) % 4 + (chance >> 16) % 4;
        (1 << doubling) + (chance >> 32) as u32 % (1 << doubling)
    }

    /// Asks for so many keys and stores what is not there; how many were not.
    fn play(&mut self, store: &mut Store, requests: u32) -> u32 {
        let mut misses = 0;
        for _ in 0..requests {
            let key = self.next().to_le_bytes();
            if value_of(store, &key, NOW).is_none() {
                misses += 1;
                put(store, &key, &[7; ITEM_BYTES], Expiry::Never, NOW).expect("it evicts");
            }
        }
        misses
    }
}

fn misses_after(ends: Ends) -> u32 {
    let dir = tempfile::tempdir().expect("a directory");
    let open = || {
        let mut pool = Pool::open(&dir.path().join("pool"), SHAPE, 7).expect("a pool");
        let part = pool.parts.pop().expect("it has one");
        Store::open(part, StoreOptions { seed: 0, eviction: Eviction::S3Fifo }).expect("a store")
    };
    let mut trace = Trace { random: Random::new(3), fresh: 0 };
    let mut store = open();
    store.recover(usize::MAX);
    trace.play(&mut store, 300_000);
    if ends != Ends::Not {
        if ends != Ends::Killed {
            store.close(NOW).expect("a medium");
        }
        drop(store);
        store = open();
        if ends == Ends::ClosedEarly {
            store.recover(5);
            store.close(NOW).expect("a medium");
            drop(store);
            store = open();
        }
        store.recover(usize::MAX);
        store.check();
    }
    trace.play(&mut store, 20_000)
}

#[test]
fn misses_go_on_as_before() {
    let unbroken = misses_after(Ends::Not);
    assert!((3_000..10_000).contains(&unbroken), "{unbroken} misses of an unbroken store");
    // In thousandths.
    for (ends, bound) in [(Ends::Closed, 5), (Ends::ClosedEarly, 5), (Ends::Killed, 40)] {
        let misses = misses_after(ends);
        assert!(misses <= unbroken + unbroken * bound / 1000, "{ends:?}: {misses} misses, unbroken {unbroken}");
    }
}
