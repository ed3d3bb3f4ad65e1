//! Items larger than a segment, where room for them is hard to find.

use super::*;

const LARGEST: usize = limits::MAX_VALUE_BYTES;
const NOW: Time = Time::from_millis(1_000_000);

fn put_filled(store: &mut Store, key: u32, bytes: usize) -> Result<u64, NoRoom> {
    put(store, &key.to_le_bytes(), &vec![key as u8; bytes], Expiry::Never, NOW)
}

fn is_there(store: &mut Store, key: u32, bytes: usize) -> bool {
    let value = value_of(store, &key.to_le_bytes(), NOW);
    assert!(value.iter().all(|value| *value == vec![key as u8; bytes]), "{key} is another one");
    value.is_some()
}

/// Every item of a window is moved to elsewhere, and the pages of the table that lie in it.
#[test]
fn the_largest_value_has_room_in_a_store_full_of_small_ones() {
    let mut store = store(64 << 20, true);
    let mut items = 0;
    while store.figures().evicted == 0 {
        put_filled(&mut store, items, 200).expect("it evicts");
        items += 1;
    }
    // No two neighbours are free.
    for round in 0..40 {
        let key = items + round;
        put_filled(&mut store, key, LARGEST - round as usize).expect("there is room for a quarter of the store");
        assert!(is_there(&mut store, key, LARGEST - round as usize), "round {round}");
        store.check();
        (0..1000).for_each(|key| put_filled(&mut store, round * 1000 + key, 200).map(drop).expect("it evicts"));
    }
    (0..items).for_each(|key| _ = is_there(&mut store, key, 200));
}

/// The same, with a table that has grown to about half of the store.
#[test]
fn the_largest_value_has_room_beside_the_largest_table() {
    let mut store = store(64 << 20, true);
    let mut items = 0;
    while store.figures().evicted == 0 {
        put(&mut store, &(items as u32).to_le_bytes()[..3], b"", Expiry::Never, NOW).expect("it evicts");
        items += 1;
    }
    let figures = store.figures();
    assert!(figures.table_bytes > figures.bytes / 2, "{figures:?}");
    put_filled(&mut store, u32::MAX, LARGEST).expect("there is room for a quarter of the store");
    assert!(is_there(&mut store, u32::MAX, LARGEST));
    store.check();
}

#[test]
fn nothing_is_lost_where_moving_makes_the_room() {
    let mut store = store(64 << 20, false);
    let mut items = 0;
    while put_filled(&mut store, items, 1 << 20).is_ok() {
        items += 1;
    }
    assert!(items > 60, "{items}");
    // Holes of 33 segments, with runs and small items between them.
    for key in (0..items).step_by(2) {
        assert!(remove(&mut store, &key.to_le_bytes(), NOW));
    }
    (0..200).for_each(|key| put_filled(&mut store, 1000 + key, 20_000).map(drop).expect("there is room"));
    for (key, mib) in [(2000, 8), (2001, 8), (2002, 4)] {
        put_filled(&mut store, key, mib << 20).expect("there is room, in pieces");
        store.check();
        assert!(is_there(&mut store, key, mib << 20));
    }
    for key in 0..items {
        assert_eq!(is_there(&mut store, key, 1 << 20), key % 2 == 1, "{key}");
    }
    assert!((0..200).all(|key| is_there(&mut store, 1000 + key, 20_000)));
    assert_eq!(store.figures().evicted, 0);
}

#[test]
fn large_values_that_are_asked_for_stay_among_others() {
    let mut store = store(64 << 20, true);
    for round in 0..2000u32 {
        put_filled(&mut store, round, 200_000 + round as usize % 7 * 10_000).expect("it evicts");
        for small in 0..20 {
            put_filled(&mut store, 10_000 + round * 20 + small, 2000).expect("it evicts");
        }
        for hot in 0..10u32 {
            if round > hot {
                is_there(&mut store, hot, 200_000 + hot as usize % 7 * 10_000);
            }
        }
    }
    let hot = (0..10u32).filter(|hot| is_there(&mut store, *hot, 200_000 + *hot as usize % 7 * 10_000)).count();
    assert!(hot == 10, "{hot} of 10 are there");
}

/// A small item behind a large one goes to the segment that was open, not to one of its own.
#[test]
fn a_run_leaves_the_open_segment_open() {
    let mut store = store(64 << 20, false);
    for key in 0..300 {
        put_filled(&mut store, key, 40_000).expect("there is room");
        put_filled(&mut store, 1000 + key, 10).expect("there is room");
    }
    let Figures { bytes, table_bytes, free_bytes, .. } = store.figures();
    assert_eq!(bytes - table_bytes - free_bytes, (300 * 2 + 1) * (32 << 10));
    store.check();
}

#[test]
fn a_run_is_room_again_when_its_item_goes() {
    let mut store = store(64 << 20, false);
    let free = |store: &Store| store.figures().free_bytes + store.figures().table_bytes;
    let all = free(&store);
    for round in 0..50 {
        put_filled(&mut store, round % 3, LARGEST).expect("the old one goes");
    }
    assert!((0..3).all(|key| remove(&mut store, &u32::to_le_bytes(key), NOW)));
    assert_eq!(free(&store), all);
    let after = |seconds| Expiry::At(NOW.plus(Duration::from_secs(seconds)));
    put(&mut store, b"k", &vec![1; LARGEST], after(10), NOW).expect("there is room");
    let hash = store.hash(b"k");
    let told = store.get_with_cas(hash, b"k", NOW).expect("it is there").cas;
    assert_eq!(store.touch(hash, b"k", after(100), NOW), Ok(true));
    assert_eq!(store.expire(NOW.plus(Duration::from_secs(99))), 0);
    assert_eq!(store.get_with_cas(hash, b"k", NOW).expect("it is there").cas, told);
    assert_eq!(store.expire(NOW.plus(Duration::from_secs(100))), 1);
    assert_eq!(free(&store), all);
}
