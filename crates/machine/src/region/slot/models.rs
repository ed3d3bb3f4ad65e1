//! The argument of `epoch`, checked by loom: every interleaving of a few passes, every value a load may see.
//!
//! The memory of slots is real memory here, which loom does not watch, so the handles' models check what the bytes
//! are. The first model has cells in the place of slots, which loom does watch: two threads that touch one without
//! order between them are an error.

use std::rc::Rc;
use std::sync::Arc;

use loom::cell::UnsafeCell;

use super::*;
use crate::limits::SLOT_BATCH;
use crate::sync::{Ordering, model};

/// Bytes of a slot of the models.
const BYTES: usize = 8;

fn write(handle: &mut SlotHandle, value: u8) -> Result<(), Full> {
    handle.begin();
    let written = handle.write(0, 0, &[value; BYTES]);
    handle.end();
    written
}

/// A pass that lends the only slot and returns the loan, after a look.
fn lend(handle: &mut SlotHandle) -> (Lent, u8) {
    handle.begin();
    let lent = handle.lend(0, 0..BYTES);
    let seen = uniform(&lent);
    handle.end();
    (lent, seen)
}

/// The value that all bytes have.
fn uniform(bytes: &[u8]) -> u8 {
    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "torn: {bytes:?}");
    bytes[0]
}

/// The steps of a reader (1 to 3) and of a writer (4 to 7), over cells.
#[test]
fn a_slot_is_written_again_when_its_last_reader_is_through() {
    struct Shared {
        map: Arc<SlotMap>,
        entry: crate::sync::AtomicU32,
        cells: [UnsafeCell<u32>; 2],
    }
    // SAFETY: the cells are what is tested: loom reports accesses that are not ordered.
    unsafe impl Sync for Shared {}
    // SAFETY: as above.
    unsafe impl Send for Shared {}

    model(|| {
        let map = SlotMap::new(1, BYTES, 1).unwrap();
        let cells = [UnsafeCell::new(0), UnsafeCell::new(1)];
        let shared = Arc::new(Shared { map, entry: crate::sync::AtomicU32::new(0), cells });
        let reader = {
            let shared = Arc::clone(&shared);
            loom::thread::spawn(move || {
                let ledger = epoch::Ledger::new(Arc::clone(&shared.map));
                ledger.begin();
                let number = shared.entry.load(Ordering::SeqCst);
                // SAFETY: only looks, and loom checks that nobody writes meanwhile.
                let seen = shared.cells[number as usize].with(|cell| unsafe { *cell });
                assert_eq!(seen, number);
                ledger.end();
            })
        };
        let ledger: Rc<epoch::Ledger> = epoch::Ledger::new(Arc::clone(&shared.map));
        ledger.begin();
        let old = shared.entry.swap(1, Ordering::SeqCst);
        let tag = shared.map.epochs.now();
        ledger.end();
        shared.map.epochs.advance(tag);
        if tag < shared.map.epochs.horizon() {
            // SAFETY: nobody can read it any more: that is what loom checks.
            shared.cells[old as usize].with_mut(|cell| unsafe { *cell = 7 });
        }
        drop(ledger);
        reader.join().unwrap();
    });
}

/// One spare slot and two overwrites: the second one may reuse the first one's slot only when the loan is back.
#[test]
fn a_loan_keeps_its_bytes_while_others_write() {
    model(|| {
        let map = SlotMap::new(1, BYTES, 1).unwrap();
        let mut writer = map.handle();
        write(&mut writer, 1).unwrap();
        let reader = {
            let map = Arc::clone(&map);
            loom::thread::spawn(move || {
                let mut handle = map.handle();
                let (lent, seen) = lend(&mut handle);
                loom::thread::yield_now();
                assert_eq!(uniform(&lent), seen, "lent bytes changed");
                drop(lent);
            })
        };
        for value in 2..=3 {
            // Full while the loan is out: then the old bytes stay.
            let _ = write(&mut writer, value);
        }
        reader.join().unwrap();
    });
}

/// Two writers of parts of one slot: both parts are there at the end, and no slot is in two places.
#[test]
fn two_partial_writers_keep_each_other() {
    model(|| {
        // Each handle fetches that many.
        let map = SlotMap::new(1, BYTES, 3 * SLOT_BATCH).unwrap();
        let mut first = map.handle();
        write(&mut first, 9).unwrap();
        let other = {
            let map = Arc::clone(&map);
            loom::thread::spawn(move || partial(&mut map.handle(), 0))
        };
        partial(&mut first, BYTES - 1);
        other.join().unwrap();
        first.begin();
        let lent = first.lend(0, 0..BYTES);
        assert_eq!((lent[0], lent[1], lent[BYTES - 1]), (5, 9, 5));
        first.end();
    });
}

/// Writes one byte of the slot.
fn partial(handle: &mut SlotHandle, at: usize) {
    handle.begin();
    handle.write(0, at, &[5]).unwrap();
    handle.end();
}
