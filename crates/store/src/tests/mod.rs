//! The store against a model that forgets nothing, and what it costs.

use std::collections::HashMap;
use std::time::Duration;

use machine::region::Region;
use proptest::prelude::*;

use super::*;

mod crash;
mod pools;
mod restart;
mod runs;
mod scan;
mod steps;

const SMALL: usize = 16 * limits::MIN_SEGMENT_BYTES;

fn store(bytes: usize, evicts: bool) -> Store {
    store_that(bytes, eviction(evicts))
}

fn store_that(bytes: usize, eviction: Eviction) -> Store {
    let region = Region::anonymous(bytes).expect("memory");
    Store::new(region, StoreOptions { seed: 7, eviction }).expect("a store")
}

/// The default policy, or none.
fn eviction(evicts: bool) -> Eviction {
    if evicts { Eviction::S3Fifo } else { Eviction::None }
}

/// Those that are not the default.
fn other_policies() -> impl Strategy<Value = Eviction> {
    prop_oneof![Just(Eviction::Merge), Just(Eviction::Fifo), Just(Eviction::Random)]
}

fn put(store: &mut Store, key: &[u8], value: &[u8], expiry: Expiry, now: Time) -> Result<u64, NoRoom> {
    let hash = store.hash(key);
    store.put(hash, key, Value { parts: &[value], flags: value.len() as u32 % 3, expiry }, now)
}

fn value_of(store: &mut Store, key: &[u8], now: Time) -> Option<Vec<u8>> {
    let hash = store.hash(key);
    store.get(hash, key, now).map(|item| item.value.to_vec())
}

fn remove(store: &mut Store, key: &[u8], now: Time) -> bool {
    let hash = store.hash(key);
    store.remove(hash, key, now)
}

fn expiry(seconds: Option<u16>, now: Time) -> Expiry {
    seconds.map_or(Expiry::Never, |seconds| Expiry::At(now.plus(Duration::from_secs(seconds.into()))))
}

#[derive(Clone, Debug)]
enum Op {
    Put {
        key: u8,
        bytes: usize,
        seconds: Option<u16>,
    },
    Get {
        key: u8,
        cas: bool,
    },
    Remove {
        key: u8,
    },
    Touch {
        key: u8,
        seconds: u16,
    },
    Mark {
        key: u8,
        marks: Marks,
    },
    Reserve {
        key: u8,
        bytes: usize,
        seconds: Option<u16>,
    },
    Commit {
        which: prop::sample::Index,
        abandon: bool,
    },
    Join {
        key: u8,
        bytes: usize,
        front: bool,
        reserves: bool,
    },
    Lend {
        key: u8,
    },
    GiveBack {
        which: prop::sample::Index,
    },
    Later {
        millis: u32,
    },
    Expire,
    Clear,
    /// A pool is opened by the next process.
    Reopen {
        closes: bool,
    },
}

/// With values of less than a segment, about one, and a few.
fn ops() -> impl Strategy<Value = Vec<Op>> {
    let bytes = prop_oneof![4 => 0usize..300, 3 => 4000usize..16_400, 2 => 16_400usize..70_000];
    ops_of(bytes.boxed())
}

/// With values of up to 8 MiB, for segments of 32 KiB.
fn large_ops() -> impl Strategy<Value = Vec<Op>> {
    let most = limits::MAX_VALUE_BYTES;
    let bytes = prop_oneof![3 => 0usize..40_000, 3 => 40_000usize..1 << 20, 2 => 1 << 20..most, 1 => Just(most)];
    ops_of(bytes.boxed())
}

fn ops_of(bytes: BoxedStrategy<usize>) -> impl Strategy<Value = Vec<Op>> {
    let seconds = prop_oneof![Just(None), (0u16..40).prop_map(Some), Just(Some(3000))];
    let put = (0u8..60, bytes, seconds);
    let which = any::<prop::sample::Index>;
    let op = prop_oneof![
        8 => put.clone().prop_map(|(key, bytes, seconds)| Op::Put { key, bytes, seconds }),
        2 => put.clone().prop_map(|(key, bytes, seconds)| Op::Reserve { key, bytes, seconds }),
        2 => (which(), prop::bool::weighted(0.2)).prop_map(|(which, abandon)| Op::Commit { which, abandon }),
        2 => (put.clone(), any::<bool>(), any::<bool>()).prop_map(|((key, bytes, _), front, reserves)| {
            Op::Join { key, bytes: bytes / 4 * 3, front, reserves }
        }),
        2 => (0u8..60).prop_map(|key| Op::Lend { key }),
        2 => which().prop_map(|which| Op::GiveBack { which }),
        6 => (0u8..60, any::<bool>()).prop_map(|(key, cas)| Op::Get { key, cas }),
        2 => (0u8..60).prop_map(|key| Op::Remove { key }),
        2 => (0u8..60, 1u16..4000).prop_map(|(key, seconds)| Op::Touch { key, seconds }),
        1 => (0u8..60, any::<bool>(), any::<bool>())
            .prop_map(|(key, stale, won)| Op::Mark { key, marks: Marks { stale, won } }),
        2 => (0u32..9000).prop_map(|millis| Op::Later { millis }),
        1 => Just(Op::Expire),
        1 => Just(Op::Clear),
        1 => any::<bool>().prop_map(|closes| Op::Reopen { closes }),
    ];
    prop::collection::vec(op, 1..250)
}

/// What a client may believe of a key.
struct Known {
    value: Vec<u8>,
    expiry: Expiry,
    /// Of the last change.
    cas: u64,
    /// A client knows it.
    told: bool,
    marks: Marks,
}

impl Known {
    /// It is what a client gets, perhaps with its CAS, which stays from then on, wherever the item is moved to.
    fn is_given(&mut self, item: &Item<'_>, cas: bool) -> Result<(), TestCaseError> {
        prop_assert_eq!(item.value, &self.value);
        prop_assert_eq!((item.expiry, item.marks), (self.expiry, self.marks));
        prop_assert_eq!(item.flags, self.value.len() as u32 % 3);
        prop_assert!(!self.told || self.cas == item.cas, "it was not changed");
        if cas {
            (self.cas, self.told) = (item.cas, true);
        }
        Ok(())
    }
}

/// What was begun and not ended.
#[derive(Default)]
struct Begun {
    reserved: Vec<(Reserved, u8, Vec<u8>, Expiry)>,
    loans: Vec<(Loan, Vec<u8>)>,
}

impl Begun {
    fn step(
        &mut self,
        op: Op,
        store: &mut Store,
        known: &mut HashMap<u8, Known>,
        fill: u8,
        now: Time,
    ) -> Result<(), TestCaseError> {
        match op {
            Op::Reserve { key, bytes, seconds } => {
                let expiry = expiry(seconds, now);
                match store.reserve(&[key; 3], bytes, bytes as u32 % (2 + fill as u32 % 2), expiry, now) {
                    Ok(reserved) => self.reserved.push((reserved, key, vec![fill; bytes], expiry)),
                    Err(NoRoom::Full) => {
                        prop_assert!(store.options.eviction == Eviction::None || store.pinned_bytes() > 0)
                    }
                    Err(NoRoom::TooLarge(_)) => prop_assert!(bytes + 40 > store.largest_item()),
                }
            }
            Op::Commit { which, abandon } if !self.reserved.is_empty() => {
                let (reserved, key, value, expiry) = self.reserved.swap_remove(which.index(self.reserved.len()));
                store.landing(&reserved).copy_from_slice(&value);
                let hash = store.hash(&[key; 3]);
                // As it was reserved, or with other flags than that.
                let flags = value.len() as u32 % 3;
                if abandon {
                    store.abandon(reserved);
                } else if let Ok(cas) = store.complete(reserved, hash, (flags, expiry), now) {
                    let marks = Marks::default();
                    let old = known.insert(key, Known { value, expiry, cas, told: false, marks });
                    prop_assert!(old.is_none_or(|old| old.cas != cas), "a change has a CAS of its own");
                }
            }
            Op::Join { key, bytes, front, reserves } => {
                join(store, known, key, &vec![fill; bytes / 3 * 3], (front, reserves), now)?;
            }
            Op::Lend { key } => {
                let hash = store.hash(&[key; 3]);
                if let Some(value) = value_of(store, &[key; 3], now) {
                    self.loans.push((store.lend(hash, &[key; 3]).expect("it is there"), value));
                }
            }
            Op::GiveBack { which } if !self.loans.is_empty() => {
                store.give_back(self.loans.swap_remove(which.index(self.loans.len())).0);
            }
            _ => {}
        }
        Ok(())
    }

    fn check(&self, store: &Store) {
        assert!(self.loans.iter().all(|(loan, value)| store.lent(loan) == value), "what is lent has changed");
        let keys = |(reserved, key, _, _): &(Reserved, u8, _, _)| store.reserved_key(reserved) == [*key; 3];
        assert!(self.reserved.iter().all(keys));
    }

    /// Ends everything.
    fn end(self, store: &mut Store) {
        self.loans.into_iter().for_each(|(loan, _)| store.give_back(loan));
        self.reserved.into_iter().for_each(|(reserved, ..)| store.abandon(reserved));
        store.check();
        assert_eq!(store.pinned_bytes(), 0);
    }
}

fn join(
    store: &mut Store,
    known: &mut HashMap<u8, Known>,
    key: u8,
    more: &[u8],
    (front, reserves): (bool, bool),
    now: Time,
) -> Result<(), TestCaseError> {
    let hash = store.hash(&[key; 3]);
    let reserved = reserves.then(|| store.reserve(&[key; 3], more.len(), 0, Expiry::Never, now));
    let joined = match reserved {
        Some(Err(_)) => return Ok(()),
        Some(Ok(reserved)) => {
            store.landing(&reserved).copy_from_slice(more);
            let joined = store.join(hash, &[key; 3], Joined::Reserved(&reserved), front, now);
            store.abandon(reserved);
            joined
        }
        None => store.join(hash, &[key; 3], Joined::Bytes(more), front, now),
    };
    match (joined, known.get_mut(&key).filter(|known| !known.expiry.has_come(now))) {
        (Ok(Some(cas)), Some(known)) => {
            prop_assert!(known.cas != cas);
            let at = if front { 0 } else { known.value.len() };
            known.value.splice(at..at, more.iter().copied());
            (known.cas, known.told, known.marks) = (cas, false, Marks::default());
        }
        (Ok(Some(_)), None) => prop_assert!(false, "{} came back", key),
        (Ok(None), Some(_)) => prop_assert!(store.options.eviction != Eviction::None, "{} is lost", key),
        (Ok(None), None) | (Err(_), _) => {}
    }
    Ok(())
}

/// Runs operations on a store and on a map. An evicting store may have forgotten an item, and has never an old one.
fn behaves(store: Store, evicts: bool, ops: Vec<Op>) -> Result<(), TestCaseError> {
    behaves_over_time(store, evicts, ops, |store, _, _| store)
}

fn touched(
    store: &mut Store,
    known: &mut HashMap<u8, Known>,
    evicts: bool,
    key: u8,
    expiry: Expiry,
    now: Time,
) -> Result<(), TestCaseError> {
    let hash = store.hash(&[key; 3]);
    let expected = known.get_mut(&key).filter(|known| !known.expiry.has_come(now));
    match (store.touch(hash, &[key; 3], expiry, now), expected) {
        (Ok(true), Some(expected)) => expected.expiry = expiry,
        (Ok(true), None) => prop_assert!(false, "{} came back", key),
        (Ok(false), Some(_)) => prop_assert!(evicts, "{} is lost", key),
        (Ok(false), None) | (Err(NoRoom::TooLarge(_)), _) => {}
        (Err(NoRoom::Full), _) => prop_assert!(!evicts || store.pinned_bytes() > 0),
    }
    Ok(())
}

/// With what happens to the store when its process ends in order or not.
fn behaves_over_time(
    mut store: Store,
    evicts: bool,
    ops: Vec<Op>,
    mut reopen: impl FnMut(Store, bool, Time) -> Store,
) -> Result<(), TestCaseError> {
    let mut known: HashMap<u8, Known> = HashMap::new();
    let mut begun = Begun::default();
    let mut now = Time::from_millis(1_700_000_000_000);
    for (number, op) in ops.into_iter().enumerate() {
        match op {
            Op::Put { key, bytes, seconds } => {
                let value = vec![number as u8; bytes];
                let expiry = expiry(seconds, now);
                match put(&mut store, &[key; 3], &value, expiry, now) {
                    Ok(cas) => {
                        let old = known.insert(key, Known { value, expiry, cas, told: false, marks: Marks::default() });
                        prop_assert!(old.is_none_or(|old| old.cas != cas), "a change has a CAS of its own");
                    }
                    Err(NoRoom::Full) => prop_assert!(!evicts || store.pinned_bytes() > 0),
                    Err(NoRoom::TooLarge(_)) => prop_assert!(bytes + 40 > store.largest_item()),
                }
            }
            Op::Get { key, cas } => {
                let expected = known.get(&key).filter(|known| !known.expiry.has_come(now));
                let hash = store.hash(&[key; 3]);
                let item = if cas { store.get_with_cas(hash, &[key; 3], now) } else { store.get(hash, &[key; 3], now) };
                match (item, expected) {
                    (Some(item), Some(_)) => known.get_mut(&key).expect("it was there").is_given(&item, cas)?,
                    (Some(_), None) => prop_assert!(false, "{} came back", key),
                    (None, Some(_)) => prop_assert!(evicts, "{} is lost", key),
                    (None, None) => {}
                }
            }
            Op::Mark { key, marks } if store.mark(store.hash(&[key; 3]), &[key; 3], marks, now) => {
                known.get_mut(&key).expect("it was there").marks = marks;
            }
            Op::Remove { key } => {
                let was = known.remove(&key).is_some_and(|known| !known.expiry.has_come(now));
                prop_assert!(remove(&mut store, &[key; 3], now) == was || evicts && was);
            }
            Op::Touch { key, seconds } => {
                touched(&mut store, &mut known, evicts, key, expiry(Some(seconds), now), now)?
            }
            Op::Later { millis } => now = now.plus(Duration::from_millis(millis.into())),
            Op::Expire => drop(store.expire(now)),
            Op::Clear => {
                store.clear();
                known.clear();
                prop_assert_eq!((store.figures().items, store.figures().live_bytes), (0, 0));
            }
            Op::Reopen { closes } => {
                std::mem::take(&mut begun).end(&mut store);
                store = reopen(store, closes, now);
            }
            op => begun.step(op, &mut store, &mut known, number as u8, now)?,
        }
        if number % 3 == 0 {
            store.sync().expect("a medium");
        }
        if number % 8 == 0 {
            store.check();
        }
        begun.check(&store);
    }
    begun.end(&mut store);
    Ok(())
}

proptest! {
    #[test]
    fn a_large_store_is_a_map(ops in ops()) {
        behaves(store(8 << 20, false), false, ops)?;
    }

    #[test]
    fn a_small_store_forgets_but_never_remembers_wrongly(ops in ops()) {
        behaves(store(SMALL, true), true, ops)?;
    }

    #[test]
    fn so_does_one_of_another_policy(policy in other_policies(), ops in ops()) {
        behaves(store_that(SMALL, policy), true, ops)?;
    }

    #[test]
    fn a_small_store_that_does_not_evict_says_that_it_is_full(ops in ops()) {
        behaves(store(SMALL, false), false, ops)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn values_of_8_mib_have_room_in_64_mib(ops in large_ops()) {
        behaves(store(64 << 20, true), true, ops)?;
    }

    #[test]
    fn so_they_have_with_other_policies(policy in other_policies(), ops in large_ops()) {
        behaves(store_that(64 << 20, policy), true, ops)?;
    }

    #[test]
    fn values_of_8_mib_are_never_lost_without_eviction(ops in large_ops()) {
        behaves(store(64 << 20, false), false, ops)?;
    }
}

#[test]
fn a_cas_that_was_told_stays_while_items_are_merged() {
    let mut store = store(SMALL, true);
    let now = Time::from_millis(1_000_000);
    put(&mut store, b"kept", b"value", Expiry::Never, now).expect("room");
    let hash = store.hash(b"kept");
    let told = store.get_with_cas(hash, b"kept", now).expect("it is there").cas;
    let mut moved = 0;
    for round in 0..20_000u32 {
        put(&mut store, &round.to_le_bytes(), &[1; 50], Expiry::Never, now).expect("room");
        // Asked for often enough to stay.
        if round % 100 == 0 {
            let item = store.get_with_cas(hash, b"kept", now).expect("it is asked for most");
            assert_eq!((item.cas, item.value), (told, &b"value"[..]));
            moved += 1;
        }
    }
    assert!(moved == 200 && store.figures().evicted > 10_000, "{store:?}");
}

#[test]
fn the_table_grows_with_small_items_and_no_insertion_fails() {
    let mut store = store(64 << 20, false);
    let now = Time::from_millis(0);
    let mut stored = 0u32;
    while put(&mut store, &stored.to_le_bytes(), b"", Expiry::Never, now).is_ok() {
        stored += 1;
    }
    let figures = store.figures();
    assert!(stored > 2_000_000 && figures.items == u64::from(stored), "{stored} items, {figures:?}");
    for key in (0..stored).step_by(997) {
        assert_eq!(value_of(&mut store, &key.to_le_bytes(), now).as_deref(), Some(&b""[..]), "{key}");
    }
    for key in 0..stored {
        assert!(remove(&mut store, &key.to_le_bytes(), now), "{key}");
    }
    assert_eq!((store.figures().items, store.figures().live_bytes), (0, 0));
}

/// Of the memory of a full store, per item, beside key and value: 5 bytes of header, 4 of flags, and the table.
#[test]
fn an_item_with_flags_costs_20_bytes() {
    let mut store = store(64 << 20, false);
    let now = Time::from_millis(0);
    let mut stored = 0u64;
    let mut key = [b'k'; 20];
    loop {
        key[..8].copy_from_slice(&stored.to_le_bytes());
        let hash = store.hash(&key);
        let value = Value { parts: &[&[1; 64]], flags: 1, expiry: Expiry::Never };
        if store.put(hash, &key, value, now).is_err() {
            break;
        }
        stored += 1;
    }
    let figures = store.figures();
    let table = figures.table_bytes as f64 / stored as f64;
    let all = figures.bytes as f64 / stored as f64 - 84.0;
    println!("{all} {table}");
    assert!(all <= 20.5, "{all:.2} bytes an item, {table:.2} of them in the table");
}

#[test]
fn expired_items_give_their_segments_back_without_being_asked_for() {
    let mut store = store(1 << 20, false);
    let now = Time::from_millis(5_000);
    let free = |store: &Store| store.figures().free_bytes + store.figures().table_bytes;
    let all = free(&store);
    let after = |seconds| Expiry::At(now.plus(Duration::from_secs(seconds)));
    for key in 0..100u32 {
        put(&mut store, &key.to_le_bytes(), &[0; 100], after(60 + u64::from(key % 3)), now).expect("room");
        put(&mut store, &(1000 + key).to_le_bytes(), &[0; 100], after(6000), now).expect("room");
    }
    assert_eq!(store.expire(now.plus(Duration::from_secs(59))), 0);
    assert_eq!(store.expire(now.plus(Duration::from_secs(62))), 100);
    assert_eq!(store.figures().items, 100);
    assert_eq!(store.expire(now.plus(Duration::from_secs(6001))), 100);
    assert_eq!((store.figures().items, free(&store)), (0, all));
}

#[test]
fn what_is_asked_for_stays() {
    let mut store = store(1 << 20, true);
    let now = Time::from_millis(0);
    for round in 0..50_000u32 {
        put(&mut store, &round.to_le_bytes(), &[2; 80], Expiry::Never, now).expect("room");
        for hot in 0..20u32 {
            if round > hot {
                value_of(&mut store, &hot.to_le_bytes(), now);
            }
        }
    }
    let hot = (0..20u32).filter(|hot| value_of(&mut store, &hot.to_le_bytes(), now).is_some()).count();
    assert!(hot >= 19, "{hot} of 20 are there");
}

#[test]
fn what_never_fits_is_refused() {
    let mut store = store(SMALL, true);
    let largest = store.largest_item();
    let now = Time::from_millis(0);
    assert!(put(&mut store, b"k", &vec![0; largest - 10], Expiry::Never, now).is_ok());
    let refused = put(&mut store, b"k", &vec![0; largest - 1], Expiry::Never, now);
    assert!(matches!(refused, Err(NoRoom::TooLarge(_))), "{refused:?}");
    assert!(value_of(&mut store, b"k", now).is_some(), "the old one is still there");
    let region = Region::anonymous(SMALL - 1).expect("memory");
    assert!(Store::new(region, StoreOptions { seed: 0, eviction: Eviction::Merge }).is_err());
}

/// Nothing is evicted, and what was overwritten or deleted is room again.
#[test]
fn a_store_that_does_not_evict_is_not_filled_by_changes() {
    let mut store = store(SMALL, false);
    let now = Time::from_millis(0);
    for round in 0..20_000u32 {
        let key = (round * 7919 % 300).to_le_bytes();
        if round % 5 == 0 {
            remove(&mut store, &key, now);
        } else {
            let stored = put(&mut store, &key, &[round as u8; 300], Expiry::Never, now);
            assert!(stored.is_ok(), "round {round}: {stored:?}, {store:?}");
            let hash = store.hash(&key);
            store.get_with_cas(hash, &key, now).expect("it was stored");
        }
    }
    assert_eq!(store.figures().evicted, 0);
}

#[test]
fn what_is_asked_for_outlasts_a_scan() {
    let now = Time::from_millis(1_000_000);
    let mut store = store_that(64 * limits::MIN_SEGMENT_BYTES, Eviction::S3Fifo);
    let set = |store: &mut Store, key: u32| {
        put(store, &key.to_le_bytes(), &[1; 200], Expiry::Never, now).expect("it evicts");
    };
    (0..500).for_each(|key| set(&mut store, key));
    // Twice what the store holds, in all.
    for round in 1..=100 {
        assert!((0..500u32).all(|key| value_of(&mut store, &key.to_le_bytes(), now).is_some()), "in round {round}");
        (0..100).for_each(|key| set(&mut store, round * 1000 + key));
    }
    store.check();
}

/// CVE-2018-1000127: the count of those who use an item's bytes.
#[test]
fn an_item_is_lent_more_often_than_16_bits_count() {
    let mut store = store(SMALL, true);
    let now = Time::default();
    put(&mut store, b"k", b"value", Expiry::Never, now).expect("room");
    let hash = store.hash(b"k");
    let loans: Vec<Loan> = (0..70_000).map(|_| store.lend(hash, b"k").expect("it is there")).collect();
    assert!(remove(&mut store, b"k", now));
    for round in 0..1000u32 {
        put(&mut store, &round.to_le_bytes(), &[0; 1000], Expiry::Never, now).expect("others go for it");
    }
    let pinned = store.pinned_bytes();
    for loan in loans {
        assert_eq!((store.lent(&loan), store.pinned_bytes()), (&b"value"[..], pinned));
        store.give_back(loan);
    }
    assert!(pinned > 0 && store.pinned_bytes() == 0);
    store.check();
}
