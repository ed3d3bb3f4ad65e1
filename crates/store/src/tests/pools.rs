//! Pools: what the next process finds.

use std::path::Path;

use super::*;
use crate::{Found, Keep, Pool, PoolError, Shape};

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
        } else {
            drop(store);
        }
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
            } else {
                drop(store);
            }
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
        (|bytes| bytes[8] = 2, "of version 2, this program knows version 1"),
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
