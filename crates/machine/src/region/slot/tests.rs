//! The slot map against a plain array of bytes, and against itself on several threads.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::limits::{MAX_LOAN_PASSES, MAX_REACTORS, SLOT_BATCH, SLOT_HELD};

fn in_pass<T>(handle: &mut SlotHandle, work: impl FnOnce(&mut SlotHandle) -> T) -> T {
    handle.begin();
    let done = work(handle);
    handle.end();
    done
}

/// When all handles and loans are gone, every slot is in the table or in the stock, and in one of them once.
fn assert_no_slot_is_lost(map: &SlotMap, numbers: usize) {
    let mut stock = map.stock.open();
    stock.settle(map.epochs.horizon());
    let (mut all, room) = (Vec::new(), stock.available());
    stock.take(usize::MAX, &mut all);
    assert_eq!(all.len(), room);
    let mapped = (0..map.slots()).map(|slot| map.shape.entry(slot).load(Ordering::SeqCst)).filter(|n| *n != UNMAPPED);
    all.extend(mapped);
    assert_eq!((all.len(), map.mapped()), (numbers, all.len() - room));
    let first = (map.shape.zero_bytes >> map.shape.shift) as u32;
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), (first..first + numbers as u32).collect());
}

#[test]
fn reads_zeros_then_what_was_written_and_loans_stay() {
    let map = SlotMap::new(8, 4096, 8).unwrap();
    let mut handle = map.handle();
    handle.begin();
    let zeros = handle.lend(3, 100..4096);
    handle.write(3, 0, &[1; 4096]).unwrap();
    let ones = handle.lend(3, 0..4096);
    handle.write(3, 4000, &[2; 96]).unwrap();
    let mixed = handle.lend(3, 3999..4001);
    handle.clear(3, 0..4096).unwrap();
    assert_eq!((handle.lend(3, 0..4096).as_ref(), map.mapped()), ([0; 4096].as_slice(), 0));
    handle.end();
    assert_eq!(
        (zeros.as_ref(), ones.as_ref(), mixed.as_ref()),
        ([0; 3996].as_slice(), [1; 4096].as_slice(), [1, 2].as_slice())
    );
    drop(handle);
    assert_eq!((map.slots(), map.slot_bytes(), ones.len()), (8, 4096, 4096));
    drop(map);
    assert!(ones.iter().all(|byte| *byte == 1), "loans keep the map");
}

#[test]
fn runs_are_lent_in_as_few_pieces_as_they_lie_in() {
    let slots = 2 * SLOT_ZERO_BYTES / 4096;
    let map = SlotMap::new(slots, 4096, SLOT_HELD).unwrap();
    let mut handle = map.handle();
    let mut out = VecDeque::new();
    let mut lens = |handle: &SlotHandle, first, within| {
        let pieces = handle.lend_run(first, within, &mut out);
        assert_eq!(pieces, out.len());
        out.drain(..).map(|lent| lent.len()).collect::<Vec<_>>()
    };
    handle.begin();
    assert_eq!(lens(&handle, 0, 0..0), []);
    assert_eq!(lens(&handle, 0, 0..SLOT_ZERO_BYTES), [SLOT_ZERO_BYTES], "zeros are one piece as far as they reach");
    assert_eq!(lens(&handle, 1, 5..SLOT_ZERO_BYTES + 6), [SLOT_ZERO_BYTES - 5, 6]);
    handle.write_run(4096, &vec![1; 16 * 4096]).unwrap();
    assert_eq!(lens(&handle, 0, 0..18 * 4096), [4096, 16 * 4096, 4096]);
    assert_eq!(lens(&handle, 2, 10..8202), [8192], "the middle of a run");
    handle.write(5, 0, &[2; 1]).unwrap();
    assert_eq!(lens(&handle, 1, 0..16 * 4096), [4 * 4096, 4096, 11 * 4096]);
    for _ in 0..3 {
        handle.end();
        handle.begin();
        handle.write_run(4096, &vec![3; 16 * 4096]).unwrap();
    }
    assert_eq!(lens(&handle, 1, 0..16 * 4096).len(), 2, "a run that is overwritten as one lies almost as one again");
    handle.end();
}

#[test]
fn staged_bytes_are_found_after_the_commit_in_the_order_of_staging() {
    let map = SlotMap::new(4, 512, 2 * SLOT_HELD).unwrap();
    let (mut handle, mut reader) = (map.handle(), map.handle());
    in_pass(&mut handle, |handle| {
        handle.stage_run(100, &[1; 600]).unwrap();
        handle.stage_run(500, &[2; 20]).unwrap();
    });
    let bytes = |reader: &mut SlotHandle| in_pass(reader, |reader| reader.lend(0, 0..512).to_vec());
    assert_eq!(bytes(&mut reader), [0; 512], "not before the commit, which may be in a later pass");
    in_pass(&mut handle, SlotHandle::commit_staged);
    assert_eq!(bytes(&mut reader), [[0; 100].as_slice(), &[1; 400], &[2; 12]].concat());
    let second = in_pass(&mut reader, |reader| reader.lend(1, 0..512).to_vec());
    assert_eq!(second, [[2; 8].as_slice(), &[1; 180], &[0; 324]].concat());
    in_pass(&mut handle, |handle| handle.stage_run(0, &[9; 512]).unwrap());
    drop(handle);
    assert_eq!(bytes(&mut reader)[511], 2, "what is never committed is never found");
    drop(reader);
    assert_no_slot_is_lost(&map, 4 + 2 * SLOT_HELD);
}

#[test]
fn full_until_loans_are_back_and_nothing_is_half_written() {
    let map = SlotMap::new(4, 512, 2).unwrap();
    let mut handle = map.handle();
    in_pass(&mut handle, |handle| handle.write_run(0, &[1; 4 * 512])).unwrap();
    let held = in_pass(&mut handle, |handle| {
        let held = handle.lend(0, 0..512);
        handle.write(0, 0, &[2; 512]).unwrap();
        assert_eq!(handle.spare(), 1);
        assert_eq!(handle.write_run(512, &[2; 1024]), Err(Full));
        assert!(handle.lend(1, 0..512).iter().all(|byte| *byte == 1), "all or nothing");
        handle.write(0, 0, &[3; 512]).unwrap();
        assert_eq!((handle.write(3, 1, &[2]), handle.clear(3, 1..2)), (Err(Full), Err(Full)));
        held
    });
    assert_eq!(in_pass(&mut handle, |handle| (handle.spare(), handle.write(3, 1, &[2]))), (0, Err(Full)));
    in_pass(&mut handle, |handle| handle.clear_run(512..1024)).unwrap();
    assert_eq!(in_pass(&mut handle, |handle| handle.spare()), 0, "even what is cleared later waits for the loan");
    assert!(held.iter().all(|byte| *byte == 1));
    drop(held);
    assert_eq!(in_pass(&mut handle, |handle| (handle.spare(), handle.write_run(512, &[5; 1500]))), (3, Ok(())));
    drop(handle);
    assert_no_slot_is_lost(&map, 6);
}

#[test]
fn a_resting_handle_holds_up_nobody_and_a_loan_elsewhere_does() {
    let map = SlotMap::new(64, 512, 2 * SLOT_HELD).unwrap();
    let (mut one, mut other) = (map.handle(), map.handle());
    let rounds = 4 * SLOT_HELD;
    let overwrite = |one: &mut SlotHandle, round| in_pass(one, |one| one.write(round % 64, 0, &[7; 512]));
    let mut overwrite_all = || (0..rounds).take_while(|round| overwrite(&mut one, *round).is_ok()).count();
    in_pass(&mut other, |_| ());
    assert_eq!(overwrite_all(), rounds);
    let held = in_pass(&mut other, |other| other.lend(5, 0..512));
    assert!((SLOT_HELD..rounds).contains(&overwrite_all()), "the loan should have used up the spare slots");
    drop(held);
    assert_eq!(overwrite_all(), rounds, "the loan is back, though the other handle still rests");
    let held = in_pass(&mut other, |other| other.lend(5, 0..512));
    overwrite_all();
    drop(other);
    assert_eq!(overwrite_all(), 0, "the loan outlives its handle");
    drop(held);
    assert_eq!(overwrite_all(), rounds);
    drop(one);
    assert_no_slot_is_lost(&map, 64 + 2 * SLOT_HELD);
}

#[test]
fn what_a_handle_leaves_behind_is_used_by_others() {
    let map = SlotMap::new(1, 512, 8).unwrap();
    let mut other = map.handle();
    for _ in 0..3 {
        let mut one = map.handle();
        one.begin();
        while one.write(0, 0, &[1; 512]).is_ok() {}
        assert_eq!(in_pass(&mut other, |other| other.write(0, 0, &[2; 512])), Err(Full));
        drop(one);
        in_pass(&mut other, |other| other.write(0, 0, &[2; 512])).unwrap();
        other = map.handle();
    }
    drop(other);
    assert_no_slot_is_lost(&map, 9);
}

#[test]
fn more_passes_with_loans_than_tickets() {
    const SPARE: usize = 2 * MAX_LOAN_PASSES + 1;
    let map = SlotMap::new(1, 512, SPARE).unwrap();
    let mut handle = map.handle();
    let mut held = VecDeque::new();
    for round in 0..2 * MAX_LOAN_PASSES {
        in_pass(&mut handle, |handle| {
            handle.write(0, 0, &[round as u8; 512]).unwrap();
            held.push_back((round as u8, handle.lend(0, 0..512)));
        });
    }
    let mut written = 0;
    while let Some((round, _)) = held.pop_front() {
        written += usize::from(in_pass(&mut handle, |handle| handle.write(0, 0, &[255; 512])).is_ok());
        assert!(held.iter().all(|(round, lent)| lent.iter().all(|byte| byte == round)), "after {round}");
    }
    assert!(written >= MAX_LOAN_PASSES - 2, "passes with a ticket of their own free their slots: {written}");
    assert_eq!(in_pass(&mut handle, |handle| handle.spare()), SPARE);
    drop(handle);
    assert_no_slot_is_lost(&map, 1 + SPARE);
}

#[test]
fn places_are_used_again_and_limited() {
    let map = SlotMap::new(1, 512, 1).unwrap();
    let mut handles = (0..MAX_REACTORS).map(|_| map.handle()).collect::<Vec<_>>();
    let held = in_pass(&mut handles[7], |handle| handle.lend(0, 0..512));
    handles.truncate(7);
    drop(held);
    handles.extend((7..MAX_REACTORS).map(|_| map.handle()));
    let refused = thread::spawn(move || drop(map.handle())).join().unwrap_err();
    assert!(refused.downcast::<String>().unwrap().contains("64 reactors"));
}

#[test]
fn impossible_sizes_are_errors() {
    for (slots, spare) in [(u32::MAX as usize, 1), (1, usize::MAX), (usize::MAX, 1)] {
        assert_eq!(SlotMap::new(slots, 4096, spare).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    }
}

#[test]
#[should_panic = "outside of a pass"]
fn lending_outside_of_a_pass_is_a_bug() {
    let _ = SlotMap::new(1, 512, 1).unwrap().handle().lend(0, 0..1);
}

#[test]
#[should_panic = "slot 1 of 1"]
fn a_slot_outside_of_the_disk_is_a_bug() {
    let mut handle = SlotMap::new(1, 512, 1).unwrap().handle();
    handle.begin();
    let _ = handle.lend(1, 0..0);
}

#[derive(Clone, Debug)]
enum Step {
    Pass,
    Lend(Range<usize>),
    Return(prop::sample::Index),
    Write(Range<usize>, u8),
    Clear(Range<usize>),
    /// Of whole slots.
    Land(Range<usize>, u8),
    /// Stages a landing of this handle, or drops it.
    Touchdown(prop::sample::Index, bool),
    Renew,
}

const DISK: usize = 12 * 512;

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    // Ranges begin and end at slots as often as not.
    let place = || prop_oneof![(0..=DISK / 512).prop_map(|slot| slot * 512), 0..=DISK];
    let range = move || (place(), place()).prop_map(|(a, b)| a.min(b)..a.max(b));
    let slots = (0..DISK / 512, 1..=DISK / 512).prop_map(|(first, count)| first..(first + count).min(DISK / 512));
    let step = prop_oneof![
        6 => Just(Step::Pass),
        6 => range().prop_map(Step::Lend),
        5 => any::<prop::sample::Index>().prop_map(Step::Return),
        8 => (range(), 1..=u8::MAX).prop_map(|(range, byte)| Step::Write(range, byte)),
        3 => range().prop_map(Step::Clear),
        3 => (slots, 1..=u8::MAX).prop_map(|(range, byte)| Step::Land(range, byte)),
        3 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(index, all)| Step::Touchdown(index, all)),
        1 => Just(Step::Renew),
    ];
    prop::collection::vec((0..3_usize, step), 1..120)
}

/// Three handles, spare slots for `spare` overwritten ones, and a plain array that says what must be read.
fn check_against_model(steps: Vec<(usize, Step)>, spare: usize) {
    let map = SlotMap::new(DISK / 512, 512, spare).unwrap();
    let mut handles = [map.handle(), map.handle(), map.handle()];
    handles.iter_mut().for_each(SlotHandle::begin);
    let mut model = vec![0; DISK];
    let mut loans: Vec<(VecDeque<Lent>, Vec<u8>)> = Vec::new();
    let mut landings: [Vec<(Range<usize>, u8, Landing)>; 3] = Default::default();
    for (who, step) in steps {
        let handle = &mut handles[who];
        match step {
            Step::Pass => {
                handle.end();
                handle.begin();
            }
            Step::Lend(range) => {
                let mut lent = VecDeque::new();
                let first = range.start / 512;
                let first = if first == DISK / 512 { first - 1 } else { first };
                handle.lend_run(first, range.start - first * 512..range.end - first * 512, &mut lent);
                loans.push((lent, model[range].to_vec()));
            }
            Step::Return(index) if !loans.is_empty() => drop(loans.swap_remove(index.index(loans.len()))),
            Step::Return(_) => {}
            Step::Write(range, byte) => {
                if handle.write_run(range.start, &vec![byte; range.len()]).is_ok() {
                    model[range].fill(byte);
                }
            }
            Step::Clear(range) => {
                if handle.clear_run(range.clone()).is_ok() {
                    model[range].fill(0);
                }
            }
            Step::Land(slots, byte) => {
                if let Ok(mut landing) = handle.land(slots.len()) {
                    landing.pieces_mut(0..slots.len() * 512).for_each(|piece| piece.fill(byte));
                    landings[who].push((slots, byte, landing));
                }
            }
            Step::Touchdown(index, all) if !landings[who].is_empty() => {
                let index = index.index(landings[who].len());
                let (slots, byte, landing) = landings[who].swap_remove(index);
                if all {
                    handle.stage_landed(slots.start, landing);
                    handle.commit_staged();
                    model[slots.start * 512..slots.end * 512].fill(byte);
                }
            }
            Step::Touchdown(..) => {}
            Step::Renew => {
                *handle = map.handle();
                handle.begin();
                landings[who].clear();
            }
        }
        for (lent, want) in &loans {
            assert!(lent.iter().flat_map(|lent| lent.iter()).eq(want), "a loan changed");
        }
    }
    for slot in 0..map.slots() {
        assert_eq!(*handles[0].lend(slot, 0..512), model[slot * 512..][..512]);
    }
    drop(landings);
    drop(handles);
    drop(loans);
    assert_no_slot_is_lost(&map, DISK / 512 + spare);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_an_array(steps in steps(), spare in prop_oneof![0..40_usize, 3 * SLOT_BATCH..4 * SLOT_HELD]) {
        check_against_model(steps, spare);
    }
}

/// A byte that tells who wrote a block, and when.
fn pattern(writer: usize, round: usize) -> u8 {
    (writer * 64 + round % 64) as u8
}

/// Writes whole slots and runs of them, and 512-byte blocks of its own inside of slots that other writers share.
fn write_until(stop: &AtomicBool, map: &Arc<SlotMap>, writer: usize) {
    let mut handle = map.handle();
    let (shared, slots) = (map.slots() / 2, map.slots());
    let mut mine = vec![None; shared];
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        handle.begin();
        for step in 0..8 {
            let at = round * 7 + step * 5 + writer * 3;
            let run = 1 + at % 3;
            let whole = shared + at % (slots - shared - run);
            match handle.write_run(whole * 4096, &vec![pattern(writer, round); run * 4096]) {
                Ok(()) if at.is_multiple_of(5) => handle.clear(whole, 0..4096).unwrap(),
                Ok(()) | Err(Full) => {}
            }
            let slot = at % shared;
            if handle.write(slot, writer * 512, &[pattern(writer, round); 512]).is_ok() {
                mine[slot] = Some(pattern(writer, round));
            }
            let slot = (at * 11) % shared;
            let want = mine[slot].unwrap_or(0);
            assert!(
                handle.lend(slot, writer * 512..(writer + 1) * 512).iter().all(|byte| *byte == want),
                "lost update"
            );
        }
        handle.end();
    }
}

/// Holds loans over passes and checks that blocks are whole, and the same at the end as at the beginning.
fn read_until(stop: &AtomicBool, map: &Arc<SlotMap>) -> usize {
    let mut handle = map.handle();
    let mut held: VecDeque<(Lent, Vec<u8>)> = VecDeque::new();
    let (shared, mut checks) = (map.slots() / 2, 0);
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        handle.begin();
        for step in 0..16 {
            let slot = (round * 13 + step * 29) % map.slots();
            let lent = handle.lend(slot, 0..4096);
            let block = if slot < shared { 512 } else { 4096 };
            for block in lent.chunks(block) {
                assert!(block.iter().all(|byte| *byte == block[0]), "slot {slot} is torn");
            }
            if (round + step).is_multiple_of(16) {
                let copy = lent.to_vec();
                held.push_back((lent, copy));
            }
            checks += 1;
        }
        while held.len() > 24 {
            let (lent, copy) = held.pop_front().unwrap();
            assert!(*lent == *copy, "a lent slot was written");
        }
        handle.end();
    }
    checks
}

#[test]
fn readers_never_see_a_torn_slot() {
    const SPARE: usize = 4 * SLOT_HELD + 512;
    let map = SlotMap::new(64, 4096, SPARE).unwrap();
    let stop = AtomicBool::new(false);
    let checks = thread::scope(|scope| {
        for writer in 0..2 {
            let (map, stop) = (&map, &stop);
            scope.spawn(move || write_until(stop, map, writer));
        }
        let readers = [0, 1].map(|_| scope.spawn(|| read_until(&stop, &map)));
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(500) && !readers.iter().any(|reader| reader.is_finished()) {
            thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
        readers.map(|reader| reader.join().unwrap())
    });
    assert!(checks.iter().all(|checks| *checks > 0));
    assert_no_slot_is_lost(&map, 64 + SPARE);
}
