//! Walks over a store that changes meanwhile.

use std::collections::HashMap;

use super::*;

#[derive(Clone, Debug)]
enum Change {
    Add(u16),
    Remove(u16),
    Clear,
    Step(usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        8 => (1u16..3000).prop_map(Change::Add),
        2 => (1u16..3000).prop_map(Change::Remove),
        1 => Just(Change::Clear),
        8 => (1usize..60).prop_map(Change::Step),
    ];
    prop::collection::vec(change, 1..60)
}

proptest! {
    #[test]
    fn what_is_there_all_the_time_is_seen(before in 1u32..9000, changes in changes()) {
        let mut store = store(SMALL * 4, false);
        let now = Time::from_millis(1_000);
        // Whether a key has been there since the walk began.
        let mut there: HashMap<u32, bool> = HashMap::new();
        let mut next = 0u32;
        for _ in 0..before {
            put(&mut store, &next.to_le_bytes(), b"", Expiry::Never, now).expect("room");
            there.insert(next, true);
            next += 1;
        }
        let mut seen: HashMap<u32, u32> = HashMap::new();
        let (mut cursor, mut steps) = (0, 0);
        let mut walk = |store: &Store, items: usize, cursor: &mut u64| {
            *cursor = store.walk(*cursor, items, now, |item| {
                let key = u32::from_le_bytes(item.key.try_into().expect("four bytes"));
                *seen.entry(key).or_default() += 1;
            });
            *cursor == 0
        };
        let mut ended = false;
        for change in changes {
            match change {
                Change::Add(count) => for _ in 0..count {
                    if put(&mut store, &next.to_le_bytes(), b"", Expiry::Never, now).is_ok() {
                        there.insert(next, false);
                        next += 1;
                    }
                },
                Change::Remove(count) => for key in next.saturating_sub(count.into())..next {
                    remove(&mut store, &key.to_le_bytes(), now);
                    there.remove(&key);
                },
                Change::Clear => {
                    // A table that begins anew; what was there is not any more.
                    let again: Vec<u32> = there.keys().copied().take(50).collect();
                    store.clear();
                    there.clear();
                    for key in again {
                        put(&mut store, &key.to_le_bytes(), b"", Expiry::Never, now).expect("room");
                        there.insert(key, false);
                    }
                }
                Change::Step(items) => {
                    if walk(&store, items, &mut cursor) {
                        ended = true;
                        break;
                    }
                }
            }
        }
        while !ended {
            ended = walk(&store, 100, &mut cursor);
            steps += 1;
            prop_assert!(steps < 100_000);
        }
        for (key, always) in there {
            prop_assert!(!always || seen.contains_key(&key), "{} was not seen", key);
        }
    }
}

#[test]
fn a_walk_over_a_store_that_stays_as_it_is_sees_everything_once() {
    let mut store = store(1 << 20, false);
    let now = Time::from_millis(1_000);
    for key in 0..20_000u32 {
        let expiry = if key % 4 == 0 { Expiry::At(now) } else { Expiry::Never };
        put(&mut store, &key.to_le_bytes(), b"", expiry, now).expect("room");
    }
    let (mut seen, mut cursor) = (HashMap::new(), 0);
    loop {
        cursor = store.walk(cursor, 10, now, |item| *seen.entry(item.key.to_vec()).or_insert(0) += 1);
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen.len(), 15_000, "all but those that have expired");
    assert!(seen.values().all(|times| *times == 1));
    assert!(store.any(now).is_some_and(|item| seen.contains_key(item.key)));
    store.clear();
    assert_eq!((store.walk(0, usize::MAX, now, |_| panic!("it is empty")), store.any(now)), (0, None));
    put(&mut store, b"only", b"", Expiry::Never, now).expect("room");
    assert_eq!(store.any(now).map(|item| item.key.to_vec()).as_deref(), Some(&b"only"[..]));
}
