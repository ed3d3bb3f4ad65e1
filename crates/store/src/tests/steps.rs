//! Making room in steps: how much one of them does, and what may happen between two.

use super::*;
use crate::item::parts;
use crate::random::Random;
use crate::slot::Place;
use crate::{Keep, Pool, Shape};

const NOW: Time = Time::from_millis(1_000_000);
const ITEM_BYTES: usize = 5 + 4 + 50;

/// Nobody who stores an item waits for more than a part of a segment to be emptied.
#[test]
fn an_item_is_stored_for_a_few_that_go() {
    let mut store = store_that(64 << 20, Eviction::S3Fifo);
    let step = store.segment_bytes() / limits::STEPS_PER_SEGMENT;
    let mut random = Random::new(5);
    let (mut most, mut before) = (0, 0);
    for _ in 0..2_000_000 {
        // Some are asked for before they go.
        let key = (random.next() % 1_500_000) as u32;
        value_of(&mut store, &(key / 7).to_le_bytes(), NOW);
        put(&mut store, &key.to_le_bytes(), &[3; 50], Expiry::Never, NOW).expect("it evicts");
        let evicted = store.figures().evicted;
        most = most.max(evicted - before);
        before = evicted;
    }
    store.check();
    assert!(before > 500_000 && most > 1, "{before} were evicted");
    assert!(most as usize <= step / ITEM_BYTES + 2, "{most} items at once");
}

#[test]
fn what_has_expired_goes_in_steps() {
    let mut store = store_that(64 << 20, Eviction::S3Fifo);
    let after = Expiry::At(NOW.plus(Duration::from_secs(60)));
    for key in 0..300_000u32 {
        put(&mut store, &key.to_le_bytes(), &[3; 50], after, NOW).expect("there is room");
    }
    let later = NOW.plus(Duration::from_secs(61));
    assert!(!store.expire_some(NOW));
    let (mut most, mut before, mut steps) = (0, 0, 0);
    while store.expire_some(later) {
        let expired = store.figures().expired;
        most = most.max(expired - before);
        before = expired;
        steps += 1;
        if steps % 50 == 0 {
            // Between two steps anything may happen to their segments.
            store.check();
            put(&mut store, &steps.to_string().into_bytes(), &[4; 200_000], Expiry::Never, later).expect("it evicts");
        }
    }
    assert_eq!((before, store.expire(later)), (300_000, 0));
    assert!(most as usize <= limits::EXPIRY_STEP_BYTES / ITEM_BYTES + 2, "{most} items at once");
}

impl Store {
    /// Keys of the items in front of where a segment was emptied to.
    fn emptied_keys(&self, segment: u32) -> Vec<Vec<u8>> {
        let (mut keys, mut offset) = (Vec::new(), limits::ITEMS_START as u32);
        while offset < self.heap.segment(segment).emptied {
            let place = Place { segment, offset };
            let header = self.heap.header(place);
            keys.push(parts(&header, self.heap.at(place)).0.to_vec());
            offset += header.item_bytes() as u32;
        }
        keys
    }
}

/// A key that was moved or evicted out of a segment, and then deleted, is not found again where it was.
#[test]
fn nothing_comes_back_from_a_segment_that_is_half_empty() {
    let dir = tempfile::tempdir().expect("a directory");
    let shape = Shape { bytes: 2 << 20, parts: 1, keep: Keep::Warm };
    let open = || {
        let mut pool = Pool::open(&dir.path().join("pool"), shape, 7).expect("a pool");
        let options = StoreOptions { seed: 0, eviction: Eviction::S3Fifo };
        let mut store = Store::open(pool.parts.pop().expect("it has one"), options).expect("a store");
        store.recover(usize::MAX);
        store.check();
        store
    };
    let mut random = Random::new(11);
    let mut known: HashMap<u32, u8> = HashMap::new();
    let mut half_empty = 0;
    for round in 0..60 {
        let mut store = open();
        for (key, value) in &known {
            let found = value_of(&mut store, &key.to_le_bytes(), NOW);
            assert!(found.is_none_or(|found| found == [*value; 60]), "round {round}: another value of {key}");
        }
        for key in (0..40_000u32).filter(|key| !known.contains_key(key)) {
            assert_eq!(value_of(&mut store, &key.to_le_bytes(), NOW), None, "round {round}: {key} has come back");
        }
        for _ in 0..8000 + random.next() % 700 {
            let chance = random.next();
            let key = (chance >> 32) as u32 % 40_000;
            if chance.is_multiple_of(3) {
                remove(&mut store, &key.to_le_bytes(), NOW);
                known.remove(&key);
            } else {
                put(&mut store, &key.to_le_bytes(), &[round; 60], Expiry::Never, NOW).expect("it evicts");
                known.insert(key, round);
            }
        }
        if let Some(emptying) = store.emptying {
            half_empty += 1;
            for key in store.emptied_keys(emptying.segment) {
                remove(&mut store, &key, NOW);
                known.remove(&u32::from_le_bytes(key.try_into().expect("four bytes")));
            }
        }
    }
    assert!(half_empty > 10, "{half_empty} rounds ended in the middle of a segment");
}
