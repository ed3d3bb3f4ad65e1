//! RAM disks and null devices against the model, their loans, and what they refuse.

mod common;

use common::{Model, Rig, Way, bounded, config, drains, histories, pattern, play, refuses_what_is_wrong};
use proptest::prelude::*;
use qpair_block::null::NullDevice;
use qpair_block::ram::RamDevice;
use qpair_block::{Data, Device, Failure, Op, Range, Refused, Request, Returned};

fn ram(bytes: u64, block_bytes: u32) -> RamDevice {
    RamDevice::new("ram:test", bytes, Some(block_bytes), false, None).expect("a small disk")
}

fn null(bytes: u64, block_bytes: u32) -> NullDevice {
    NullDevice::new("null:test", bytes, Some(block_bytes), false, None).expect("any size")
}

/// Not a whole number of slots: the last one is used in part.
const ODD_BLOCKS: u64 = 1003;

proptest! {
    #![proptest_config(config(32))]

    #[test]
    fn ram_with_small_blocks(history in histories(ODD_BLOCKS, 60)) {
        let device = ram(ODD_BLOCKS * 512, 512);
        play(&device, &mut Model::new(&device, false), &history);
    }

    #[test]
    fn ram_with_large_blocks(history in histories(150, 60)) {
        let device = ram(150 * 4096, 4096);
        // 40 blocks of 4 KiB are more than one transfer.
        let history: Vec<_> = history.into_iter().map(common::within_transfer).collect();
        play(&device, &mut Model::new(&device, false), &history);
    }

    #[test]
    fn null_with_small_blocks(history in histories(ODD_BLOCKS, 30)) {
        let device = null(ODD_BLOCKS * 512, 512);
        play(&device, &mut Model::new(&device, true), &history);
    }
}

#[test]
fn wrong_requests() {
    refuses_what_is_wrong(&ram(1 << 20, 512));
    refuses_what_is_wrong(&ram(1 << 20, 4096));
    refuses_what_is_wrong(&null(1 << 20, 4096));
    let locked = RamDevice::new("ram:test", 1 << 20, None, true, None).expect("a small disk");
    refuses_what_is_wrong(&locked);
    let mut rig = Rig::new(&locked);
    assert_eq!(rig.write(0, 1, &[1; 512], false, Way::Lent), Err(Failure::ReadOnly));
    assert_eq!(rig.read(0, 512, 1, Way::Lent), Ok(vec![0; 512]));
}

#[test]
fn queues_drain() {
    for block_bytes in [512, 4096] {
        drains(&ram(1 << 20, block_bytes));
        drains(&null(1 << 20, block_bytes));
    }
}

#[test]
fn queues_are_bounded() {
    bounded(&ram(1 << 20, 512), 4000);
    bounded(&null(1 << 20, 512), 4000);
}

#[test]
fn sizes() {
    for bytes in [0, 513, u64::MAX, 1 << 63] {
        assert!(RamDevice::new("ram", bytes, Some(512), false, None).is_err(), "{bytes}");
        assert!(NullDevice::new("null", bytes, Some(512), false, None).is_err(), "{bytes}");
    }
    if machine::os::total_memory().is_some() {
        let error = RamDevice::new("ram", 1 << 60, None, false, None).err().expect("no machine has that much");
        assert!(error.to_string().contains("1 EiB is more than this machine's memory of"), "{error}");
    }
    let largest = null((1 << 63) - 4096, 4096);
    assert_eq!(largest.info().bytes(), (1 << 63) - 4096);
    let mut rig = Rig::new(&largest);
    assert_eq!(rig.read(largest.info().blocks - 1, 4096, 1, Way::Lent), Ok(vec![0; 4096]));
    assert_eq!(rig.read(largest.info().blocks, 4096, 1, Way::Lent), Err(Failure::OutOfRange));
}

#[test]
fn memory_does_not_grow() {
    for device in [&ram(1 << 20, 512) as &dyn Device, &null(1 << 20, 512)] {
        assert_eq!(device.refresh(None).expect("nothing to do"), 2048);
        assert_eq!(device.refresh(Some(1 << 20)).expect("nothing to do"), 2048);
        let error = device.refresh(Some(2 << 20)).expect_err("it does not grow").to_string();
        assert!(error.contains("do not change their size"), "{error}");
    }
}

#[test]
fn what_memory_says_of_itself() {
    let (a, b) = (ram(1 << 20, 512), ram(1 << 20, 512));
    assert_ne!(a.info().identity, b.info().identity, "a new disk each time");
    let features = a.info().features;
    assert!(features.lends && features.thin && features.zeros_after_deallocate && !features.volatile_cache);
    assert_eq!((a.info().blocks, a.info().preferred_blocks), (2048, 8));
    assert_eq!(ram(1 << 20, 4096).info().preferred_blocks, 1);
    let uuid = uuid::Uuid::from_u128(9);
    let known = RamDevice::new("ram", 4096, None, false, Some(uuid)).expect("a small disk");
    assert_eq!(known.info().identity.uuid, uuid);
}

#[test]
fn a_ram_disk_takes_space_as_it_is_written() {
    let device = ram(ODD_BLOCKS * 512, 512);
    let mut rig = Rig::new(&device);
    assert_eq!(device.used_blocks(), 0);
    rig.write(9, 1, &[1; 512], false, Way::Lent).expect("a write");
    assert_eq!(device.used_blocks(), 8, "one slot");
    rig.write(ODD_BLOCKS - 1, 1, &[1; 512], false, Way::Lent).expect("a write");
    assert_eq!(device.used_blocks(), 16);
    let all = Range { lba: 0, blocks: ODD_BLOCKS };
    assert_eq!(rig.run(Op::Deallocate(all), Data::None).0, Ok(()));
    assert_eq!(device.used_blocks(), 0, "the last slot, too, though the disk ends within it");
}

#[test]
fn a_loan_does_not_change() {
    let device = ram(1 << 20, 512);
    let mut rig = Rig::new(&device);
    let old = pattern(1, 8192);
    rig.write(3, 16, &old, false, Way::Carried).expect("a write");
    let mut read = vec![Request { tag: 1, op: Op::Read(Range { lba: 3, blocks: 16 }), data: Data::Lend }];
    rig.pass(&mut read);
    let loan = std::mem::take(&mut rig.out.lent);
    assert!(matches!(rig.out.list.pop().expect("it ended").data, Returned::Lent(pieces) if pieces == loan.len()));
    for round in 0..20 {
        rig.write(3, 16, &pattern(round, 8192), false, Way::Lent).expect("a write");
        let zeroes = Op::WriteZeroes { range: Range { lba: 0, blocks: 64 }, fua: false, deallocate: round % 2 == 0 };
        assert_eq!(rig.run(zeroes, Data::None).0, Ok(()));
    }
    let lent: Vec<u8> = loan.iter().flat_map(|piece| piece.to_vec()).collect();
    assert!(lent == old, "the bytes changed under the loan");
    drop(loan);
    assert_eq!(rig.read(3, 8192, 16, Way::Lent), Ok(vec![0; 8192]));
}

#[test]
fn writes_wait_for_slots_that_are_lent() {
    const SLOTS: u64 = 8192;
    let device = ram(SLOTS * 4096, 4096);
    let mut rig = Rig::new(&device);
    let bytes = pattern(1, 32 * 4096);
    let op = |lba| Op::Write { range: Range { lba, blocks: 32 }, fua: false };
    // What is lent and then written again keeps its slots: at some point none is left.
    let mut loans = Vec::new();
    let stuck = (0..SLOTS).step_by(32).cycle().take(2048).find(|lba| {
        let mut read = vec![Request { tag: 1, op: Op::Read(Range { lba: *lba, blocks: 32 }), data: Data::Lend }];
        rig.pass(&mut read);
        loans.extend(rig.out.lent.drain(..));
        let mut write = vec![Request { tag: 2, op: op(*lba), data: Data::Inline(&bytes) }];
        rig.pass(&mut write);
        rig.out.list.clear();
        !write.is_empty()
    });
    let stuck = stuck.expect("spare slots are limited");
    rig.queue.begin();
    let again = Request { tag: 3, op: op(stuck), data: Data::Inline(&bytes) };
    let Err(Refused(given_back)) = rig.queue.submit(&mut rig.ring, again) else { panic!("there is no slot") };
    rig.queue.end();
    assert!(given_back.tag == 3 && matches!(given_back.data, Data::Inline(same) if same.len() == bytes.len()));

    drop(loans);
    rig.write(stuck, 32, &bytes, false, Way::Lent).expect("the slots are back");
}

#[test]
fn whole_slots_can_be_landed_in() {
    let device = ram(ODD_BLOCKS * 512, 512);
    let mut rig = Rig::new(&device);
    for (lba, blocks) in [(1, 8), (0, 7), (0, 9), (ODD_BLOCKS / 8 * 8, ODD_BLOCKS % 8), (0, 264)] {
        assert!(rig.queue.land(Range { lba, blocks }).is_none(), "{blocks} blocks at {lba}");
    }
    let abandoned = rig.queue.land(Range { lba: 8, blocks: 256 }).expect("a transfer");
    let bytes = pattern(3, 256 * 512);
    let mut landing = rig.queue.land(Range { lba: 8, blocks: 256 }).expect("another one for the same blocks");
    landing.write(0, &bytes);
    assert_eq!(device.used_blocks(), 0, "the disk does not know of it yet");
    let range = Range { lba: 16, blocks: 256 };
    assert_eq!(rig.run(Op::Write { range, fua: false }, Data::Landed(landing)).0, Ok(()));
    drop(abandoned);
    assert_eq!(rig.read(16, bytes.len(), 256, Way::Carried), Ok(bytes));
    let short = rig.queue.land(Range { lba: 0, blocks: 8 }).expect("a slot");
    let wrong = Op::Write { range, fua: false };
    assert_eq!(rig.run(wrong, Data::Landed(short)).0, Err(Failure::BadTransfer));
}

#[test]
fn a_long_deallocation_is_worked_off_in_shares_and_can_be_cancelled() {
    let device = ram(256 << 20, 4096);
    let all = Op::Deallocate(Range { lba: 0, blocks: device.info().blocks });
    let mut rig = Rig::new(&device);
    rig.pass(&mut vec![Request { tag: 1, op: all, data: Data::None }]);
    assert!(rig.out.list.is_empty() && rig.queue.in_flight() == 1);
    // Others are not held up by it.
    let read = Op::Read(Range { lba: 0, blocks: 1 });
    rig.pass(&mut vec![Request { tag: 2, op: read, data: Data::Lend }]);
    assert_eq!(rig.out.list.pop().expect("the read is done").tag, 2);
    rig.out.lent.clear();
    rig.queue.cancel(&mut rig.ring, 1);
    rig.pass(&mut Vec::new());
    let ended = rig.out.list.pop().expect("a cancelled request ends, too");
    assert!(ended.tag == 1 && ended.outcome == Err(Failure::Cancelled));
    assert_eq!(rig.run(all, Data::None).0, Ok(()));
}

#[test]
fn two_reactors_never_see_half_a_slot() {
    let device = ram(16 << 10, 4096);
    let work = |writer: bool| {
        let mut rig = Rig::new(&device);
        for round in 0..3000_u32 {
            let lba = u64::from(round % 4);
            if writer {
                rig.write(lba, 1, &[round as u8; 4096], false, Way::Lent).expect("a write");
            } else {
                let bytes = rig.read(lba, 4096, 1, Way::Lent).expect("a read");
                assert!(bytes.iter().all(|byte| *byte == bytes[0]), "torn");
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| work(true));
        scope.spawn(|| work(true));
        work(false);
    });
}
