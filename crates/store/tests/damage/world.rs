//! A pool's file with damage, and what must be true of it.
//!
//! ```text
//!   | setup | where 3 bytes, how 1, a byte | where, how, a byte | ...
//!
//!   setup   1 durable, 2 closed in order, 4 cut off at the last place
//!   how     a byte, so many bytes, a bit, or bytes from elsewhere in the file
//! ```
//!
//! 1. It is refused, or opened; nothing panics, and the store is what it should be.
//! 2. From a durable pool no value comes back that was not stored under its key, whole.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;

use qpair_store::{Eviction, Expiry, Keep, Pool, Shape, Store, StoreOptions, Time, Value};

const BYTES: usize = 320 << 10;
const KEYS: usize = 300;
/// Where most of what matters lies: the label, a state, the directory.
const HEAD: usize = 16 << 10;

pub(crate) const DURABLE: u8 = 1;
pub(crate) const CLOSED: u8 = 2;
pub(crate) const CUT: u8 = 4;

/// All that was ever stored under each key.
type Stored = HashMap<Vec<u8>, HashSet<Vec<u8>>>;

/// A pool that nothing has happened to.
struct Pristine {
    bytes: Vec<u8>,
    stored: Stored,
}

struct Bench {
    folder: tempfile::TempDir,
    pristine: Vec<Pristine>,
}

thread_local! {
    static BENCH: RefCell<Option<Bench>> = const { RefCell::new(None) };
}

/// What became of a damaged pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Refused,
    /// Opened, with so many items.
    Opened(usize),
}

/// Damages a pool as the script says, and opens it.
pub(crate) fn run(script: &[u8]) -> Outcome {
    BENCH.with_borrow_mut(|bench| bench.get_or_insert_with(Bench::new).run(script))
}

fn shape(durable: bool) -> Shape {
    Shape { bytes: BYTES as u64, parts: 1, keep: if durable { Keep::Durable } else { Keep::Warm } }
}

fn now() -> Time {
    Time::from_millis(1_000_000_000)
}

fn open(path: &std::path::Path, durable: bool) -> Option<Store> {
    let part = Pool::open(path, shape(durable), 7).ok()?.parts.pop().expect("it has one");
    Store::open(part, StoreOptions { seed: 0, eviction: Eviction::S3Fifo }).ok()
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let pristine = (0..4).map(|setup| pristine(&folder.path().join("new"), setup)).collect();
        Self { folder, pristine }
    }

    fn run(&self, script: &[u8]) -> Outcome {
        let (setup, script) = script.split_first().unwrap_or((&0, &[]));
        let Pristine { bytes, stored } = &self.pristine[usize::from(setup & 3)];
        let (mut damaged, durable) = (bytes.clone(), setup & DURABLE != 0);
        for step in script.chunks_exact(5) {
            let at = usize::from(step[0]) | usize::from(step[1]) << 8 | usize::from(step[2] & 0x7f) << 16;
            let at = if step[2] & 0x80 == 0 { at % HEAD } else { at % BYTES };
            damage(&mut damaged, at, step[3], step[4]);
        }
        if setup & CUT != 0
            && let Some([low, middle, high, ..]) = script.last_chunk::<5>()
        {
            damaged.truncate((usize::from(*low) | usize::from(*middle) << 8 | usize::from(*high) << 16) % BYTES);
        }
        let path: PathBuf = self.folder.path().join("pool");
        fs::write(&path, &damaged).expect("space");
        let outcome = self.look(&path, durable, stored);
        fs::remove_file(&path).expect("it is there");
        outcome
    }

    fn look(&self, path: &std::path::Path, durable: bool, stored: &Stored) -> Outcome {
        let Some(mut store) = open(path, durable) else { return Outcome::Refused };
        while store.recover(1).is_none() && store.is_recovering() {}
        store.check();
        let (mut items, mut cursor) = (0, 0);
        loop {
            cursor = store.walk(cursor, 1000, now(), |item| {
                items += 1;
                let was = stored.get(item.key).is_some_and(|values| values.contains(item.value));
                assert!(was || !durable, "{} was never this", item.key.escape_ascii());
            });
            if cursor == 0 {
                break;
            }
        }
        // It is a store like any other from now on.
        for number in 0..KEYS {
            let key = format!("after{number}");
            let hash = store.hash(key.as_bytes());
            let value = Value { parts: &[&[7; 500]], flags: 0, expiry: Expiry::Never };
            let _ = store.put(hash, key.as_bytes(), value, now());
        }
        store.check();
        let _ = store.close(now());
        Outcome::Opened(items)
    }
}

/// Changes bytes from a place on.
fn damage(bytes: &mut [u8], at: usize, how: u8, byte: u8) {
    let length = bytes.len();
    match how & 3 {
        0 => bytes[at] = byte,
        1 => bytes[at..length.min(at + usize::from(how))].fill(byte),
        2 => bytes[at] ^= 1 << (byte & 7),
        _ => {
            // Blocks that were written to the wrong place.
            let (from, to) = (at & !511, (usize::from(byte) << 9) % length);
            bytes.copy_within(from..length.min(from + 512), to.min(length - 512));
        }
    }
}

/// A pool of some items, of which some were changed or deleted.
fn pristine(path: &std::path::Path, setup: u8) -> Pristine {
    let durable = setup & DURABLE != 0;
    let mut store = open(path, durable).expect("a new pool");
    while store.recover(1).is_none() && store.is_recovering() {}
    let mut stored = Stored::new();
    for round in 0..3 {
        for number in (0..KEYS).step_by(round + 1) {
            let key = format!("key{number}").into_bytes();
            let value: Vec<u8> = format!("{number}.{round}.").repeat(1 + number % 40).into_bytes();
            let hash = store.hash(&key);
            let expiry = if number % 3 == 0 {
                Expiry::At(now().plus(std::time::Duration::from_secs(60)))
            } else {
                Expiry::Never
            };
            if number % 7 == round {
                store.remove(hash, &key, now());
                continue;
            }
            let parts = Value { parts: &[&value], flags: number as u32 % 2, expiry };
            if store.put(hash, &key, parts, now()).is_ok() {
                stored.entry(key).or_default().insert(value);
            }
        }
        store.sync().expect("a medium");
    }
    if setup & CLOSED != 0 {
        store.close(now()).expect("a medium");
    }
    drop(store);
    let bytes = fs::read(path).expect("the pool");
    fs::remove_file(path).expect("it is there");
    Pristine { bytes, stored }
}
