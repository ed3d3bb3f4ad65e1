//! Pools: what the next process finds.

use std::path::Path;

use super::*;
use crate::{Found, Keep, Pool, PoolError, Refitted, Shape, refit};

/// A part with as many segments as a small store has, and those that hold its label, state and directory.
const BYTES: u64 = 1 << 20;

fn shape(keep: Keep) -> Shape {
    Shape { bytes: BYTES, parts: 1, keep }
}

fn open(path: &Path, keep: Keep) -> (Store, Found) {
    open_as(path, shape(keep), true)
}

fn open_as(path: &Path, shape: Shape, evicts: bool) -> (Store, Found) {
    let mut pool = Pool::open(path, shape, 7).expect("a pool");
    let part = pool.parts.pop().expect("it has one");
    let mut store = Store::open(part, StoreOptions { seed: 0, eviction: eviction(evicts) }).expect("a store");
    while store.is_recovering() {
        store.recover(1);
        store.check();
    }
    (store, pool.found)
}

/// The model over a pool that is closed or abandoned, and opened again.
fn is_found_again(shape: Shape, evicts: bool, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("pool");
    let (store, _) = open_as(&path, shape, evicts);
    behaves_over_time(store, evicts, ops, |mut store, closes, now| {
        if closes {
            store.close(now).expect("a medium");
        }
        drop(store);
        open_as(&path, shape, evicts).0
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_pool_is_a_map(ops in ops(), durable in any::<bool>()) {
        let keep = if durable { Keep::Durable } else { Keep::Warm };
        is_found_again(Shape { bytes: 8 << 20, parts: 1, keep }, false, ops)?;
    }

    #[test]
    fn a_small_pool_forgets_but_never_remembers_wrongly(ops in ops(), durable in any::<bool>()) {
        let keep = if durable { Keep::Durable } else { Keep::Warm };
        is_found_again(Shape { bytes: 20 * limits::MIN_SEGMENT_BYTES as u64, parts: 1, keep }, true, ops)?;
    }

    #[test]
    fn a_small_pool_that_does_not_evict_says_that_it_is_full(ops in ops(), durable in any::<bool>()) {
        let keep = if durable { Keep::Durable } else { Keep::Warm };
        is_found_again(Shape { bytes: 20 * limits::MIN_SEGMENT_BYTES as u64, parts: 1, keep }, false, ops)?;
    }
}

fn now() -> Time {
    Time::from_millis(1_000_000)
}

fn set(store: &mut Store, key: &[u8], value: &[u8]) -> u64 {
    put(store, key, value, Expiry::Never, now()).expect("room")
}

/// A process that dies while segments are merged leaves copies: the items have what clients said of either, and the
/// segment of the copies is free again.
#[test]
fn of_an_item_and_its_copy_one_is_left() {
    for keep in [Keep::Warm, Keep::Durable] {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("pool");
        let (mut store, _) = open_as(&path, shape(keep), false);
        let value = [7; 4000];
        // The first segments get nothing more.
        (0..20).for_each(|key: u8| _ = set(&mut store, &[key; 5], &value));
        let free = store.heap.free_segments();
        let hash = store.hash(&[0; 5]);
        let place = store.find(hash, &[0; 5]).expect("it is there").read(&store.heap).place();
        let chain = usize::from(store.heap.segment(place.segment).chain);
        let to = store.heap.open(chain, crate::heap::NONE).expect("there is a free one");
        let at = store.candidate(place).expect("it is there").at;
        store.relocate(place, at, to, None);
        store.bury(place);
        store.sync().expect("a medium");
        drop(store);

        let mut pool = Pool::open(&path, shape(keep), 7).expect("a pool");
        let options = StoreOptions { seed: 0, eviction: eviction(false) };
        let mut store = Store::open(pool.parts.pop().expect("one"), options).expect("a store");
        assert!(store.is_recovering());
        assert!(store.mark(hash, &[0; 5], Marks { stale: true, won: false }, now()), "the copy is there at once");
        while store.is_recovering() {
            store.recover(1);
            store.check();
        }
        assert_eq!((store.figures().items, store.heap.free_segments()), (20, free));
        let slot = store.find(hash, &[0; 5]).expect("it is there").read(&store.heap);
        assert_eq!(slot.place(), place, "where it was");
        let item = store.peek(hash, &[0; 5], now()).expect("it is there");
        assert!(item.value == value && item.marks.stale, "{:?}", item.marks);
    }
}

#[test]
fn a_pool_that_was_closed_or_not_has_everything() {
    for keep in [Keep::Warm, Keep::Durable] {
        for closes in [true, false] {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("pool");
            let (mut store, found) = open(&path, keep);
            assert_eq!(found, Found::New);
            set(&mut store, b"kept", b"1");
            set(&mut store, b"changed", b"old");
            let cas = set(&mut store, b"changed", b"new");
            set(&mut store, b"deleted", b"2");
            assert!(remove(&mut store, b"deleted", now()));
            set(&mut store, b"large", &[3; 100_000]);
            put(&mut store, b"mortal", b"4", Expiry::At(now().plus(Duration::from_secs(9))), now()).expect("room");
            let hash = store.hash(b"changed");
            assert_eq!(
                store.touch(hash, b"changed", Expiry::At(now().plus(Duration::from_secs(100))), now()),
                Ok(true)
            );
            store.sync().expect("a medium");
            if closes {
                store.close(now()).expect("a medium");
            }
            drop(store);
            let (mut store, found) = open(&path, keep);
            assert_eq!(found, if closes { Found::Closed } else { Found::Unclosed });
            store.check();
            assert_eq!(value_of(&mut store, b"kept", now()).as_deref(), Some(&b"1"[..]));
            assert_eq!(value_of(&mut store, b"deleted", now()), None);
            assert_eq!(value_of(&mut store, b"large", now()), Some(vec![3; 100_000]));
            assert_eq!(value_of(&mut store, b"mortal", now()).as_deref(), Some(&b"4"[..]));
            assert_eq!(value_of(&mut store, b"mortal", now().plus(Duration::from_secs(9))), None);
            let item = store.get(hash, b"changed", now()).expect("it is there");
            assert_eq!((item.value, item.cas), (&b"new"[..], cas));
            assert_eq!(item.expiry, Expiry::At(now().plus(Duration::from_secs(100))));
            assert!(set(&mut store, b"changed", b"newer") > cas);
            assert_eq!(store.figures().items, 4);
            store.clear();
            drop(store);
            assert_eq!(open(&path, keep).0.figures().items, 0);
        }
    }
}

#[test]
fn a_pool_is_made_one_of_another_shape() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("pool");
    let shape = |bytes: u64, parts: usize, keep: Keep| Shape { bytes, parts, keep };
    let first = shape(4 << 20, 1, Keep::Warm);
    let (mut store, _) = open_as(&path, first, false);
    let later = Expiry::At(now().plus(Duration::from_secs(50)));
    let mut known = HashMap::new();
    for number in 0u32..3000 {
        let expiry = if number % 3 == 0 { later } else { Expiry::Never };
        let value = vec![number as u8; number as usize % 700];
        let cas = put(&mut store, &number.to_le_bytes(), &value, expiry, now()).expect("room");
        known.insert(number, (value, expiry, cas));
    }
    let hash = store.hash(&7u32.to_le_bytes());
    assert!(store.mark(hash, &7u32.to_le_bytes(), Marks { stale: true, won: false }, now()));
    assert!(remove(&mut store, &8u32.to_le_bytes(), now()));
    known.remove(&8);
    drop(store);
    let shapes = [shape(4 << 20, 3, Keep::Warm), shape(6 << 20, 2, Keep::Durable), shape(8 << 20, 1, Keep::Durable)];
    let mut found = first;
    for wanted in shapes.into_iter().chain([first]) {
        let refitted = refit(&path, found, wanted, eviction(false), now()).expect("there is room");
        assert_eq!(refitted, Refitted { items: 2999, evicted: 0 });
        let pool = Pool::open(&path, wanted, 0).expect("a pool");
        assert_eq!(pool.found, Found::Closed);
        let options = StoreOptions { seed: 0, eviction: eviction(false) };
        let mut stores: Vec<Store> =
            pool.parts.into_iter().map(|part| Store::open(part, options).expect("a store")).collect();
        for store in &mut stores {
            while store.is_recovering() {
                store.recover(1);
            }
            store.check();
        }
        for (number, (value, expiry, cas)) in &known {
            let key = number.to_le_bytes();
            let hash = stores[0].hash(&key);
            let store = &mut stores[crate::share(hash, wanted.parts)];
            let item = store.peek(hash, &key, now()).expect("it was moved");
            assert_eq!((item.value, item.expiry, item.cas), (&value[..], *expiry, *cas));
            assert_eq!((item.marks.stale, item.flags), (*number == 7, value.len() as u32 % 3));
        }
        // What is changed from now on is newer than all there was.
        let newest = known.values().map(|(_, _, cas)| *cas).max().expect("some");
        assert!(
            stores.iter_mut().all(|store| put(store, b"new", b"", Expiry::At(now()), now()).expect("room") > newest)
        );
        drop(stores);
        found = wanted;
    }
    // Too small for all of them.
    let small = shape(1 << 20, 1, Keep::Warm);
    let before = std::fs::read(&path).expect("the pool");
    assert!(matches!(refit(&path, found, small, eviction(false), now()), Err(PoolError::TooSmall { .. })));
    assert_eq!(std::fs::read(&path).expect("the pool").len(), before.len());
    assert_eq!(Pool::open(&path, found, 0).expect("a pool").found, Found::Closed, "a power cut would not cost it");
    let refitted = refit(&path, found, small, eviction(true), now()).expect("some go");
    assert!(refitted.evicted > 0 && refitted.items > 500, "{refitted:?}");
    assert!(!dir.path().join("pool.refit").exists());
}

#[test]
fn a_pool_of_another_kind_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("pool");
    let (mut store, _) = open(&path, Keep::Warm);
    set(&mut store, b"k", b"v");
    drop(store);
    let before = std::fs::read(&path).expect("the pool");
    let refused = |shape: Shape| match Pool::open(&path, shape, 1) {
        Ok(_) => panic!("{shape:?} is not its shape"),
        Err(error) => error.to_string(),
    };
    for (shape, says) in [
        (shape(Keep::Durable), "the pool is warm, of 1048576 bytes, for 1 store, wanted is durable"),
        (Shape { bytes: BYTES * 2, ..shape(Keep::Warm) }, "wanted is warm, of 2097152 bytes"),
        (Shape { parts: 2, ..shape(Keep::Warm) }, "for 2 stores"),
        (Shape { parts: 0, ..shape(Keep::Warm) }, "the smallest has"),
        (Shape { bytes: 1, ..shape(Keep::Warm) }, "the smallest has"),
    ] {
        let error = refused(shape);
        assert!(error.contains(says), "{error}");
    }
    assert!(std::fs::read(&path).expect("the pool") == before);
    type Change = fn(&mut Vec<u8>);
    let changes: [(Change, &str); 6] = [
        (|bytes| bytes[8] = 1, "of version 1, this program knows version 2"),
        (|bytes| bytes[0] = b'Q', "is not a pool"),
        (|bytes| bytes[33] ^= 1, "is not a pool"),
        (|bytes| bytes.truncate(1000), "cut off"),
        (|bytes| bytes.truncate(10), "is not a pool"),
        (|bytes| bytes.clear(), "is not a pool"),
    ];
    for (change, says) in changes {
        let mut bytes = before.clone();
        change(&mut bytes);
        std::fs::write(&path, &bytes).expect("a file");
        let error = refused(shape(Keep::Warm));
        assert!(error.contains(says), "{error}");
        assert!(std::fs::read(&path).expect("the file") == bytes);
    }
    std::fs::write(&path, &before).expect("a file");
    let first = open(&path, Keep::Warm);
    assert!(matches!(Pool::open(&path, shape(Keep::Warm), 1), Err(PoolError::System { .. })), "it is in use");
    drop(first);
}
