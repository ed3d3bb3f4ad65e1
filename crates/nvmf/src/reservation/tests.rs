//! Rules that the model does not cover - limits, persistence, fences, reports - and the record under torn writes.

use std::fs;

use machine::os;
use proptest::prelude::*;
use uuid::Uuid;
use wire::nvme::Status;
use wire::nvme::reservation::{
    AcquireAction, Change, EXTENDED_STATUS_BYTES, Keys, RegisterAction, RegisteredControllerExtended, ReleaseAction,
    ReservationStatus, ReservationType,
};
use zerocopy::FromBytes;

use super::record::{FILE_BYTES, RECORD_BYTES, decode, encode, newest};
use super::report::report;
use super::*;
use crate::limits::{REGISTRANTS, TRANSFER_BYTES};

const DISK: Uuid = Uuid::from_u128(7);

fn host(number: u16) -> HostId {
    let mut host = [0xab; 16];
    host[..2].copy_from_slice(&number.to_be_bytes());
    host
}

fn register(key: u64, persist: Option<bool>) -> Command {
    let change = Change::Register { action: RegisterAction::Register, ignore_key: false, persist };
    Command { change, keys: Keys::new(0, key) }
}

fn acquire(action: AcquireAction, kind: ReservationType, key: u64, victim: u64) -> Command {
    Command { change: Change::Acquire { action, kind }, keys: Keys::new(key, victim) }
}

/// `count` registrants, each with a key of its own; the first holds the reservation.
fn crowd(count: u16, kind: ReservationType) -> Reservations {
    let mut state = Reservations::new(true);
    for number in 0..count {
        state = state.apply(host(number), &register(u64::from(number) + 1, Some(true))).unwrap().next;
    }
    state.apply(host(0), &acquire(AcquireAction::Acquire, kind, 1, 0)).unwrap().next
}

#[test]
fn the_last_place_is_taken_and_the_next_one_refused() {
    let full = crowd(REGISTRANTS as u16, ReservationType::WriteExclusiveAll);
    assert_eq!(full.registrants().len(), REGISTRANTS);
    let refused = full.apply(host(REGISTRANTS as u16), &register(7, None));
    assert_eq!(refused, Err(Refusal::Full));
    assert_eq!(Refusal::Full.status(), Status::INTERNAL_ERROR);
    let replace = Change::Register { action: RegisterAction::Replace, ignore_key: true, persist: None };
    let refused = full.apply(host(REGISTRANTS as u16), &Command { change: replace, keys: Keys::new(0, 7) });
    assert_eq!(refused, Err(Refusal::Full));
    assert!(full.apply(host(3), &register(4, None)).is_ok(), "who is registered may say so again");
    let leave = Change::Register { action: RegisterAction::Unregister, ignore_key: false, persist: None };
    let fewer = full.apply(host(0), &Command { change: leave, keys: Keys::new(1, 0) }).unwrap().next;
    let again = fewer.apply(host(REGISTRANTS as u16), &register(7, None)).unwrap().next;
    assert_eq!((again.registrants().len(), again.held().is_some()), (REGISTRANTS, true));
}

#[test]
fn persistence_is_refused_where_there_is_no_place() {
    let none = Reservations::new(false);
    assert_eq!(none.apply(host(1), &register(1, Some(true))), Err(Refusal::Invalid));
    assert_eq!(none.with_persistence(true), Err(Refusal::Invalid));
    assert!(!none.with_persistence(false).unwrap().persists());
    let some = Reservations::new(true).apply(host(1), &register(1, Some(true))).unwrap().next;
    assert!(some.persists() && !some.with_persistence(false).unwrap().persists());
    assert!(some.apply(host(1), &register(1, None)).unwrap().next.persists(), "no change");
    assert_eq!(some.apply(host(1), &register(2, Some(false))), Err(Refusal::Conflict), "and then PTPL stays as it is");
}

#[test]
fn preempt_and_abort_fences_those_who_lost_their_registration() {
    let kind = ReservationType::ExclusiveAccessAll;
    let crowd = crowd(4, kind);
    let step = crowd.apply(host(2), &acquire(AcquireAction::PreemptAndAbort, kind, 3, 0)).unwrap();
    assert_eq!(step.fenced, [host(0), host(1), host(3)]);
    let step = crowd.apply(host(2), &acquire(AcquireAction::PreemptAndAbort, kind, 3, 3)).unwrap();
    assert_eq!((step.fenced, step.notices), (vec![], vec![]), "who preempts itself is not told, and goes on");
    let step = crowd.apply(host(2), &acquire(AcquireAction::Preempt, kind, 3, 0)).unwrap();
    assert!(step.fenced.is_empty(), "its commands finish");
}

#[test]
fn a_report_of_all_registrants_fits_and_a_short_one_is_cut() {
    let full = crowd(REGISTRANTS as u16, ReservationType::WriteExclusiveRegistrants);
    let bytes = report(&full, report::REPORT_BYTES as u64, true).unwrap();
    let (status, _) = ReservationStatus::ref_from_prefix(&bytes).unwrap();
    assert_eq!((status.generation.get(), status.rtype, status.ptpls), (REGISTRANTS as u32, 3, 1));
    assert_eq!(usize::from(status.regctl.get()), REGISTRANTS);
    let list = <[RegisteredControllerExtended]>::ref_from_bytes(&bytes[EXTENDED_STATUS_BYTES..]).unwrap();
    for (number, entry) in (0..).zip(list) {
        let expected = (0xffff, u8::from(number == 0), u64::from(number) + 1, host(number));
        assert_eq!((entry.cntlid.get(), entry.rcsts, entry.rkey.get(), entry.hostid), expected);
    }
    assert_eq!(report(&full, 4, true).unwrap(), bytes[..4]);
    assert!(report(&full, u64::from(TRANSFER_BYTES), true).unwrap()[bytes.len()..].iter().all(|&byte| byte == 0));
    assert_eq!(report(&full, u64::from(TRANSFER_BYTES) + 4, true), Err(Status::INVALID_FIELD.with_dnr()));
    let short_ids = report(&full, 4096, false);
    assert_eq!(short_ids, Err(Status::HOST_IDENTIFIER_INCONSISTENT_FORMAT.with_dnr()));
}

/// A file with the records of two states, the second one newer.
fn pair(old: &Reservations, new: &Reservations) -> Vec<u8> {
    [encode(old, 4, DISK), encode(new, 5, DISK)].concat()
}

#[test]
fn a_write_cut_at_any_byte_leaves_the_older_record() {
    let (old, new) = (crowd(3, ReservationType::WriteExclusive), crowd(200, ReservationType::ExclusiveAccessAll));
    let before = pair(&old, &crowd(100, ReservationType::ExclusiveAccess));
    let next = encode(&new, 6, DISK);
    for cut in 0..=RECORD_BYTES {
        let mut file = before.clone();
        file[..cut].copy_from_slice(&next[..cut]);
        // What was there before may be the same bytes as what was still to come.
        let whole = file[..RECORD_BYTES] == next;
        let found = newest(&file).unwrap();
        assert_eq!(found.number, if whole { 6 } else { 5 }, "cut at {cut}");
        assert_eq!(found.state.registrants().len(), if whole { 200 } else { 100 });
    }
    // The same with sectors that arrive in any order.
    for missing in 0..RECORD_BYTES / 512 {
        let mut file = before.clone();
        file[..RECORD_BYTES].copy_from_slice(&next);
        let sector = missing * 512..(missing + 1) * 512;
        file[sector.clone()].copy_from_slice(&before[sector.clone()]);
        let whole = before[sector.clone()] == next[sector];
        assert_eq!(newest(&file).unwrap().number, if whole { 6 } else { 5 }, "sector {missing}");
    }
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let (old, new) = (crowd(2, ReservationType::WriteExclusive), crowd(9, ReservationType::ExclusiveAccessAll));
    let mut file = pair(&old, &new);
    for bit in 0..RECORD_BYTES * 8 {
        let at = RECORD_BYTES + bit / 8;
        file[at] ^= 1 << (bit % 8);
        let found = newest(&file).unwrap();
        assert_eq!((found.number, &found.state), (4, &old), "bit {bit} of the newer record");
        file[at] ^= 1 << (bit % 8);
    }
    assert_eq!(newest(&file).unwrap().state, new);
    file[100] ^= 1;
    file[RECORD_BYTES + 100] ^= 1;
    assert_eq!(newest(&file), None);
}

#[test]
fn a_record_that_is_whole_but_senseless_is_none() {
    let good = encode(&crowd(2, ReservationType::WriteExclusive), 4, DISK);
    // Type, number of registrants, holder, a host twice, a key of 0; the sum is right each time.
    let senseless: [(usize, &[u8]); 6] =
        [(36, &[7]), (38, &[0x53, 1]), (38, &[0xff, 0xff]), (40, &[9; 16]), (88, &good[64..80]), (80, &[0; 8])];
    for (at, bytes) in senseless {
        let mut record = good[..RECORD_BYTES - 4].to_vec();
        record[at..at + bytes.len()].copy_from_slice(bytes);
        record.extend_from_slice(&wire::tcp::digest::Crc32c::of(&record));
        assert_eq!(decode(&record), None, "{at}");
    }
    let twice = [good.clone(), good].concat();
    assert_eq!(newest(&twice).unwrap().number, 4);
    assert_eq!(newest(&twice[..FILE_BYTES - 1]), None, "a file that was cut off");
    assert_eq!(newest(&[0; FILE_BYTES]), None);
}

#[test]
fn what_does_not_persist_is_not_stored() {
    let state = crowd(5, ReservationType::WriteExclusive).with_persistence(false).unwrap();
    assert_eq!(decode(&encode(&state, 0, DISK)).unwrap().state, Reservations::new(true));
}

#[test]
fn a_store_remembers_and_tells_damage_from_absence() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.img.qpair-reservations");
    let write = |store: &Store, state: &Reservations| {
        let write = store.next_write(state);
        os::write_all_at(store.file(), &write.bytes, write.offset, false).unwrap();
    };
    let (mut store, state) = Store::open(&path, DISK).unwrap();
    assert_eq!(state, Reservations::new(true));
    for count in 1..6 {
        write(&store, &crowd(count, ReservationType::ExclusiveAccess));
        store.written();
    }
    // A write that failed half way: the next one goes to the same place.
    let torn = store.next_write(&crowd(9, ReservationType::WriteExclusive));
    os::write_all_at(store.file(), &torn.bytes[..700], torn.offset, false).unwrap();
    drop(store);
    let (mut store, state) = Store::open(&path, DISK).unwrap();
    assert_eq!(state, crowd(5, ReservationType::ExclusiveAccess));
    write(&store, &crowd(6, ReservationType::ExclusiveAccess));
    store.written();
    assert_eq!(Store::open(&path, DISK).unwrap().1.registrants().len(), 6);
    assert_eq!(Store::open(&path, Uuid::from_u128(8)).unwrap().1, Reservations::new(true), "a copy of the disk");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left behind");
    // A file that is open keeps its name on some systems when it is removed.
    drop(store);

    fs::write(&path, [0; 100]).unwrap();
    let error = Store::open(&path, DISK).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }) && error.to_string().contains("qpair-reservations"), "{error}");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(Store::open(&path, DISK).unwrap_err(), StoreError::Unreadable { .. }));
    let nowhere = dir.path().join("not-there").join("x");
    assert!(matches!(Store::open(&nowhere, DISK).unwrap_err(), StoreError::NoPlace { .. }));
}

proptest! {
    #[test]
    fn states_survive_the_record(count in 1u16..=256, kind in 0usize..6, number: u64) {
        let state = crowd(count, ReservationType::ALL[kind]);
        let found = decode(&encode(&state, number, DISK)).unwrap();
        prop_assert_eq!((found.number, found.disk), (number, DISK));
        prop_assert_eq!(found.state, state);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), RECORD_BYTES..=RECORD_BYTES)) {
        let mut bytes = bytes;
        prop_assert_eq!(decode(&bytes), None);
        // The sum right and the magic there: what it says may be anything.
        bytes[..8].copy_from_slice(b"qp-resv1");
        let at = RECORD_BYTES - 4;
        let crc = wire::tcp::digest::Crc32c::of(&bytes[..at]);
        bytes[at..].copy_from_slice(&crc);
        let _ = decode(&bytes);
    }
}

#[test]
fn release_of_another_type_is_an_error_only_for_the_holder() {
    let held = crowd(2, ReservationType::WriteExclusive);
    let release = |kind, key| Command {
        change: Change::Release { action: ReleaseAction::Release, kind },
        keys: Keys::new(key, 0),
    };
    assert_eq!(held.apply(host(0), &release(2, 1)), Err(Refusal::Invalid));
    assert_eq!(held.apply(host(1), &release(2, 2)).unwrap().next, held);
    assert_eq!(held.apply(host(0), &release(1, 1)).unwrap().next.held(), None);
}
