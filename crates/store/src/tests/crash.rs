//! Power cuts: a durable pool on a medium that loses whatever it may.
//!
//! ```text
//!   memory    a b c d e f      what the store has written
//!   medium    a b . . e .      what was fenced, and of the rest any words that the caches have let go by chance
//! ```
//!
//! At every write-back and fence there may be a cut. From what is on the medium then, with any part of what was on its
//! way, the next process must find each key as it was when something was last acknowledged, or as it was made by a
//! later change: no other value, and none that is deleted. And so must the one after a cut in the middle of that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use machine::region::{Event, Region};

use super::*;
use crate::random::Random;
use crate::{Keep, Pool, Shape};

const WORD: usize = 8;
const LINE: usize = 64;

/// What there is of a key: its value and expiry.
type State = Option<(Vec<u8>, Expiry)>;

/// What may be found.
#[derive(Clone, Default)]
struct Allowed(BTreeMap<u8, Vec<State>>);

impl Allowed {
    /// A change that is not acknowledged yet.
    fn change(&mut self, key: u8, to: State) {
        self.0.entry(key).or_insert_with(|| vec![None]).push(to);
    }

    /// All changes are acknowledged.
    fn acknowledge(&mut self) {
        self.0.values_mut().for_each(|states| drop(states.drain(..states.len() - 1)));
    }

    fn last(&self, key: u8) -> State {
        self.0.get(&key)?.last()?.clone()
    }
}

/// The medium, and what is on its way there.
struct Medium {
    durable: Vec<u8>,
    /// Lines that are being written back, as they were then.
    pending: BTreeMap<usize, [u8; LINE]>,
    random: Random,
    allowed: Allowed,
    shape: Shape,
    evicts: bool,
    now: Time,
    /// A cut is tried at every so many events.
    every: u64,
    cuts: u64,
    /// Cuts during recovery are tried inside of this one.
    nested: bool,
}

impl Medium {
    fn on(&mut self, memory: &[u8], event: Event) {
        match event {
            Event::Persist(range) => {
                for line in range.start / LINE..range.end.div_ceil(LINE) {
                    let bytes = memory[line * LINE..(line + 1) * LINE].try_into().expect("a line");
                    self.pending.insert(line, bytes);
                }
            }
            Event::Fence => {
                self.maybe_cut(memory);
                for (line, bytes) in std::mem::take(&mut self.pending) {
                    self.durable[line * LINE..(line + 1) * LINE].copy_from_slice(&bytes);
                }
            }
        }
        // The caches let go of some lines by themselves.
        for _ in 0..2 {
            let line = self.random.next() as usize % (memory.len() / LINE);
            self.durable[line * LINE..(line + 1) * LINE].copy_from_slice(&memory[line * LINE..(line + 1) * LINE]);
        }
        self.maybe_cut(memory);
    }

    fn maybe_cut(&mut self, memory: &[u8]) {
        if self.random.next().is_multiple_of(self.every) {
            self.cuts += 1;
            let image = self.image(memory);
            open_after_cut(&image, self);
        }
    }

    /// What may be on the medium now.
    fn image(&mut self, memory: &[u8]) -> Vec<u8> {
        let mut image = self.durable.clone();
        // How much of what is on its way arrives, in 256ths.
        let share = self.random.next() % 257;
        for (line, bytes) in &self.pending {
            if self.random.next() % 256 < share {
                image[line * LINE..(line + 1) * LINE].copy_from_slice(bytes);
            }
        }
        for (at, words) in image.chunks_exact_mut(WORD).enumerate() {
            let new = &memory[at * WORD..(at + 1) * WORD];
            if words != new && self.random.next() % 256 < share {
                words.copy_from_slice(new);
            }
        }
        image
    }
}

const BOOT: u128 = 1;

fn open_region(region: Region, shape: Shape, evicts: bool, boot: u128) -> Store {
    let mut pool = Pool::over(region, shape, 5, false, boot).expect("it is not damaged");
    let mut store = Store::open(pool.parts.pop().expect("one"), StoreOptions { seed: 0, eviction: eviction(evicts) })
        .expect("memory");
    while store.is_recovering() {
        store.recover(3);
    }
    store.check();
    store
}

/// Opens what a cut has left, and compares.
fn open_after_cut(image: &[u8], medium: &Medium) {
    let region = if medium.nested {
        let inner = Medium {
            durable: image.to_vec(),
            pending: BTreeMap::new(),
            random: Random::new(medium.cuts),
            allowed: medium.allowed.clone(),
            nested: false,
            every: 3,
            ..*medium
        };
        region_of(image, Arc::new(Mutex::new(inner)))
    } else {
        copy_of(image, Region::anonymous(image.len()).expect("memory"))
    };
    // The machine was started anew.
    let boot = if medium.nested { BOOT + 1 } else { BOOT + 2 };
    let mut store = open_region(region, medium.shape, medium.evicts, boot);
    compare(&mut store, &medium.allowed, medium);
}

fn compare(store: &mut Store, allowed: &Allowed, medium: &Medium) {
    for (&key, states) in &allowed.0 {
        let name = [key; 5];
        let hash = store.hash(&name);
        let found = store.peek(hash, &name, medium.now).map(|item| (item.value.to_vec(), item.expiry));
        let alive = |state: &State| state.clone().filter(|(_, expiry)| !expiry.has_come(medium.now));
        let fits = states.iter().any(|state| alive(state) == found);
        let short =
            |state: &State| state.as_ref().map(|(value, expiry)| (value.len(), value.first().copied(), *expiry));
        assert!(
            fits || medium.evicts && found.is_none(),
            "cut {}: key {key} is {:?}, and may be {:?}",
            medium.cuts,
            short(&found),
            states.iter().map(short).collect::<Vec<_>>()
        );
    }
}

fn copy_of(image: &[u8], region: Region) -> Region {
    let mut arena = machine::region::Arena::new(region);
    arena.copy_from_slice(image);
    arena.into_region()
}

fn region_of(image: &[u8], medium: Arc<Mutex<Medium>>) -> Region {
    let region = Region::shown(image.len(), move |memory, event| medium.lock().expect("no panic").on(memory, event));
    copy_of(image, region.expect("memory"))
}

fn run(shape: Shape, evicts: bool, ops: Vec<Op>, seed: u64, every: u64) {
    let now = Time::from_millis(1_700_000_000_000);
    let blank = vec![0; shape.bytes as usize];
    let medium = Medium {
        durable: blank.clone(),
        pending: BTreeMap::new(),
        random: Random::new(seed),
        allowed: Allowed::default(),
        shape,
        evicts,
        now,
        every,
        cuts: 0,
        nested: true,
    };
    let medium = Arc::new(Mutex::new(medium));
    let mut store = open_region(region_of(&blank, Arc::clone(&medium)), shape, evicts, BOOT);
    let with = |change: &mut dyn FnMut(&mut Medium)| change(&mut medium.lock().expect("no panic"));
    for (number, op) in ops.into_iter().enumerate() {
        let now = medium.lock().expect("no panic").now;
        match op {
            Op::Put { key, bytes, seconds } => {
                let (value, expiry) = (vec![number as u8; bytes], expiry(seconds, now));
                with(&mut |medium| medium.allowed.change(key, Some((value.clone(), expiry))));
                if put_plain(&mut store, key, &value, expiry, now).is_err() {
                    with(&mut |medium| drop(medium.allowed.0.get_mut(&key).expect("it was put").pop()));
                }
            }
            Op::Reserve { key, bytes, seconds } => {
                let (value, expiry) = (vec![number as u8; bytes], expiry(seconds, now));
                let Ok(reserved) = store.reserve(&[key; 5], bytes, 0, expiry, now) else { continue };
                store.landing(&reserved).copy_from_slice(&value);
                with(&mut |medium| medium.allowed.change(key, Some((value.clone(), expiry))));
                let hash = store.hash(&[key; 5]);
                if store.complete(reserved, hash, (0, expiry), now).is_err() {
                    with(&mut |medium| drop(medium.allowed.0.get_mut(&key).expect("it was put").pop()));
                }
            }
            Op::Join { key, bytes, front, .. } => join(&mut store, &medium, key, &vec![number as u8; bytes], front),
            Op::Commit { .. }
            | Op::Get { .. }
            | Op::Mark { .. }
            | Op::Reopen { .. }
            | Op::Lend { .. }
            | Op::GiveBack { .. } => {
                store.sync().expect("memory");
                with(&mut |medium| medium.allowed.acknowledge());
            }
            Op::Remove { key } => {
                with(&mut |medium| medium.allowed.change(key, None));
                remove(&mut store, &[key; 5], now);
            }
            Op::Touch { key, seconds } => touch(&mut store, &medium, key, seconds),
            Op::Later { millis } => with(&mut |medium| medium.now = now.plus(Duration::from_millis(millis.into()))),
            Op::Expire => drop(store.expire(now)),
            Op::Clear => {
                with(&mut |medium| medium.allowed.0.values_mut().for_each(|states| states.push(None)));
                store.clear();
            }
        }
    }
    let now = medium.lock().expect("no panic").now;
    store.close(now).expect("memory");
    with(&mut |medium| medium.allowed.acknowledge());
    let medium = medium.lock().expect("no panic");
    open_after_cut(&medium.durable, &medium);
}

fn join(store: &mut Store, medium: &Mutex<Medium>, key: u8, more: &[u8], front: bool) {
    let allow = |state: State| medium.lock().expect("no panic").allowed.change(key, state);
    let now = medium.lock().expect("no panic").now;
    let before = medium.lock().expect("no panic").allowed.last(key).filter(|(_, old)| !old.has_come(now));
    if let Some((mut value, expiry)) = before.clone() {
        let at = if front { 0 } else { value.len() };
        value.splice(at..at, more.iter().copied());
        allow(Some((value, expiry)));
    }
    let hash = store.hash(&[key; 5]);
    let joined = store.join(hash, &[key; 5], Joined::Bytes(more), front, now);
    // Where there was no room it is as it was.
    if !matches!(joined, Ok(Some(_))) && before.is_some() {
        allow(before);
    }
}

fn touch(store: &mut Store, medium: &Mutex<Medium>, key: u8, seconds: u16) {
    let allow = |state: State| medium.lock().expect("no panic").allowed.change(key, state);
    let now = medium.lock().expect("no panic").now;
    let expiry = Expiry::At(now.plus(Duration::from_secs(seconds.into())));
    let before = medium.lock().expect("no panic").allowed.last(key).filter(|(_, old)| !old.has_come(now));
    if let Some((value, _)) = before.clone() {
        allow(Some((value, expiry)));
    }
    let hash = store.hash(&[key; 5]);
    // Where there was no room it is as it was.
    if store.touch(hash, &[key; 5], expiry, now) != Ok(true) && before.is_some() {
        allow(before);
    }
}

fn put_plain(store: &mut Store, key: u8, value: &[u8], expiry: Expiry, now: Time) -> Result<u64, NoRoom> {
    let hash = store.hash(&[key; 5]);
    store.put(hash, &[key; 5], Value { parts: &[value], flags: 0, expiry }, now)
}

fn shape(segments: u64) -> Shape {
    Shape { bytes: segments * limits::MIN_SEGMENT_BYTES as u64, parts: 1, keep: Keep::Durable }
}

/// Segments that are half empty are merged, as nothing else makes room; while they are, no segment is free. A cut is
/// tried at every event.
#[test]
fn a_full_pool_keeps_all_when_the_power_goes_while_it_makes_room() {
    const BYTES: usize = limits::MIN_SEGMENT_BYTES / 2 - 64;
    let put = |key| Op::Put { key, bytes: BYTES, seconds: None };
    let acknowledged = Op::Get { key: 0, cas: false };
    let full = (0..40).map(put);
    let pairs = (0..10).flat_map(|pair| [1, 2].map(|one| (4 * pair + one, 100 + 2 * pair + one)));
    let room = pairs.flat_map(|(old, new)| [Op::Remove { key: old }, acknowledged.clone(), put(new)]);
    let ops: Vec<Op> = full.chain([acknowledged.clone()]).chain(room).collect();
    for seed in 0..3 {
        run(shape(18), false, ops.clone(), seed, 1);
    }
}

/// Small changes of three keys, again and again before anything is acknowledged.
fn of_three_keys() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0u8..3, 0usize..50).prop_map(|(key, bytes)| Op::Put { key, bytes, seconds: None }),
        2 => (0u8..3).prop_map(|key| Op::Remove { key }),
        1 => (0u8..3, 1u16..4000).prop_map(|(key, seconds)| Op::Touch { key, seconds }),
        // It stands for an acknowledgement.
        3 => (0u8..3).prop_map(|key| Op::Get { key, cas: false }),
    ];
    prop::collection::vec(op, 1..100)
}

/// Histories, and at how many events a cut is tried once. `QPAIR_CAMPAIGN=full` tries some hundred thousand.
fn campaign() -> (u32, u64) {
    if std::env::var("QPAIR_CAMPAIGN").is_ok_and(|size| size == "full") { (1000, 3) } else { (24, 20) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(campaign().0))]

    #[test]
    fn nothing_acknowledged_is_lost_by_a_power_cut(ops in ops(), seed in any::<u64>()) {
        run(shape(64), false, ops, seed, campaign().1);
    }

    #[test]
    fn what_is_changed_again_at_once_is_as_it_was_left(ops in of_three_keys(), seed in any::<u64>()) {
        run(shape(18), false, ops, seed, campaign().1 / 3);
    }

    #[test]
    fn no_old_value_comes_back_after_a_power_cut(ops in ops(), seed in any::<u64>()) {
        run(shape(18), true, ops, seed, campaign().1);
    }
}
