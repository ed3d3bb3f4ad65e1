//! The fault layer: what each action does, how requests end, and a sweep that lets every request of a workload fail in
//! every way.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::sweep::{BLOCK, BLOCKS};
use common::{Rig, Way, config, drains, histories, pattern, play, refuses_what_is_wrong, sweep};
use machine::os::{IO_ERROR, disk_error_number};
use machine::ring::Wait;
use proptest::prelude::*;
use qpair_block::layers::fault::{FaultDevice, Faults};
use qpair_block::ram::RamDevice;
use qpair_block::spec::{Defaults, Spec};
use qpair_block::{Data, Device, Failure, Op, Range, Refused, Request};
use wire::nvme::Status;

const EIO: Failure = Failure::Host(IO_ERROR);

fn full() -> Failure {
    Failure::Host(disk_error_number("ENOSPC").expect("it has a number"))
}

/// A small RAM disk, with rules.
fn faulty(rules: &[&str]) -> FaultDevice {
    let ram = RamDevice::new("ram", BLOCKS * BLOCK as u64, Some(BLOCK as u32), false, None).expect("a small disk");
    let rules = rules.iter().map(|rule| rule.parse().expect("a rule")).collect();
    FaultDevice::new("fault:ram", Arc::new(ram), Faults { seed: 7, rules })
}

fn one(lba: u64) -> Range {
    Range { lba, blocks: 1 }
}

proptest! {
    #![proptest_config(config(16))]

    #[test]
    fn without_a_fault_it_is_the_device_below(history in histories(150, 40)) {
        let spec: Spec = "fault:ram:75KiB,bs=512,seed=3,rule=any:p=0.2:latency=1us-50us".parse().expect("a device");
        let device = spec.open(&Defaults::default()).expect("a small disk");
        play(&*device, &mut common::Model::new(&*device, false), &history);
    }
}

#[test]
fn queues_drain() {
    drains(&faulty(&[]));
    drains(&faulty(&["any:every=3:times=60:latency=60s"]));
    drains(&faulty(&["write:drop", "zeroes:every=2:drop", "flush:latency=1ms"]));
}

#[test]
fn wrong_requests_are_no_fault() {
    let device = faulty(&["any:panic"]);
    refuses_what_is_wrong(&device);
    assert_eq!((device.fired(), device.info().features.lends), (vec![0], false));
}

#[test]
fn errors_come_when_they_should_and_change_nothing() {
    let device =
        faulty(&["write:nth=2:error=ENOSPC", "read:blocks=5-5:times=1:status=2/81", "flush:every=2:error=EIO"]);
    let mut rig = Rig::new(&device);
    rig.write(5, 1, &[1; BLOCK], false, Way::Carried).expect("the first write");
    assert_eq!(rig.write(5, 1, &[2; BLOCK], false, Way::Carried), Err(full()));
    rig.write(6, 1, &[3; BLOCK], false, Way::Carried).expect("the third write");
    assert_eq!(rig.read(6, BLOCK, 1, Way::Carried), Ok(vec![3; BLOCK]));
    let status = Failure::Device(Status::UNRECOVERED_READ_ERROR);
    assert_eq!(rig.read(4, 3 * BLOCK, 3, Way::Carried), Err(status));
    assert_eq!(rig.read(5, BLOCK, 1, Way::Carried), Ok(vec![1; BLOCK]));
    let flushes: Vec<_> = (0..4).map(|_| rig.run(Op::Flush, Data::None).0).collect();
    assert_eq!(flushes, [Ok(()), Err(EIO), Ok(()), Err(EIO)]);
    assert_eq!(device.fired(), [1, 1, 2]);
}

#[test]
fn a_short_write_writes_its_first_blocks() {
    let device = faulty(&["write:nth=1:short=2:error=ENOSPC", "write:nth=2:short=0", "write:nth=3:short=99"]);
    let mut rig = Rig::new(&device);
    assert_eq!(rig.write(0, 4, &[7; 4 * BLOCK], true, Way::Carried), Err(full()));
    assert_eq!(rig.write(4, 4, &[7; 4 * BLOCK], true, Way::Carried), Err(EIO));
    assert_eq!(rig.write(8, 4, &[7; 4 * BLOCK], true, Way::Carried), Err(EIO));
    let found = rig.read(0, 12 * BLOCK, 12, Way::Carried).expect("a read");
    let written: Vec<bool> = found.chunks(BLOCK).map(|block| block == [7; BLOCK]).collect();
    assert_eq!(written, [true, true, false, false, false, false, false, false, true, true, true, true]);
}

#[test]
fn a_torn_write_writes_some_sectors() {
    let device = faulty(&["write:after=1:torn"]);
    let mut rig = Rig::new(&device);
    rig.write(0, 8, &[1; 8 * BLOCK], false, Way::Carried).expect("not torn");
    assert_eq!(rig.write(0, 8, &[2; 8 * BLOCK], false, Way::Carried), Err(EIO));
    let found = rig.read(0, 8 * BLOCK, 8, Way::Carried).expect("a read");
    let new = found.chunks(512).filter(|sector| **sector == [2; 512]).count();
    let old = found.chunks(512).filter(|sector| **sector == [1; 512]).count();
    assert!(new > 0 && old > 0 && new + old == 64, "{new} new and {old} old sectors");

    let again = faulty(&["write:after=1:torn"]);
    let mut other = Rig::new(&again);
    other.write(0, 8, &[1; 8 * BLOCK], false, Way::Carried).expect("not torn");
    assert_eq!(other.write(0, 8, &[2; 8 * BLOCK], false, Way::Carried), Err(EIO));
    assert!(other.read(0, 8 * BLOCK, 8, Way::Carried) == Ok(found), "the same seed tears the same sectors");
}

#[test]
fn a_delayed_request_is_not_early_and_holds_up_no_other() {
    const DELAY: Duration = Duration::from_millis(30);
    let device = faulty(&["write:nth=1:latency=30ms"]);
    let mut rig = Rig::new(&device);
    let start = Instant::now();
    let write = Request { tag: 1, op: Op::Write { range: one(0), fua: false }, data: rig.carried(&[9; BLOCK]) };
    let read = Request { tag: 2, op: Op::Read(one(0)), data: rig.carried(&[0xA5; BLOCK]) };
    rig.pass(&mut vec![read, write]);
    let mut ended = Vec::new();
    while ended.len() < 2 {
        ended.extend(rig.out.list.drain(..).map(|completion| (completion.tag, completion.outcome)));
        if ended.iter().any(|(tag, _)| *tag == 1) {
            assert!(start.elapsed() >= DELAY, "after {:?}", start.elapsed());
        }
        rig.ring.enter(Wait::For(Duration::from_millis(1))).expect("waits");
        rig.pass(&mut Vec::new());
    }
    assert_eq!(ended, [(2, Ok(())), (1, Ok(()))]);
    assert_eq!(rig.read(0, BLOCK, 1, Way::Carried), Ok(vec![9; BLOCK]), "its bytes were kept");
}

#[test]
fn what_is_dropped_ends_when_it_is_cancelled() {
    let device = faulty(&["any:nth=1:drop", "any:nth=2:latency=1s"]);
    let mut rig = Rig::new(&device);
    let write =
        |rig: &Rig, tag| Request { tag, op: Op::Write { range: one(tag), fua: false }, data: rig.carried(&[1; BLOCK]) };
    for tag in [1, 2] {
        let request = write(&rig, tag);
        rig.pass(&mut vec![request]);
    }
    for _ in 0..20 {
        rig.pass(&mut Vec::new());
    }
    assert!(rig.out.list.is_empty() && rig.queue.in_flight() == 2, "one is dropped, one has not begun");
    rig.queue.cancel(&mut rig.ring, 99);
    for tag in [2, 1] {
        rig.queue.cancel(&mut rig.ring, tag);
        rig.pass(&mut Vec::new());
        let ended = rig.out.list.pop().expect("it ends");
        assert_eq!((ended.tag, ended.outcome, rig.out.list.len()), (tag, Err(Failure::Cancelled), 0));
    }
    assert_eq!((rig.queue.in_flight(), rig.pool.free()), (0, 300));
    assert_eq!(rig.read(0, 4 * BLOCK, 4, Way::Carried), Ok(vec![0; 4 * BLOCK]), "nothing was written");

    let device = faulty(&["any:drop"]);
    let mut rig = Rig::new(&device);
    let mut refused = false;
    for tag in 0..1000 {
        let op = Op::Verify(one(0));
        refused |= rig.queue.submit(&mut rig.ring, Request { tag, op, data: Data::None }).is_err_and(|Refused(_)| true);
    }
    assert!(refused, "dropped requests take places, and those are limited");
}

#[test]
fn a_panic_says_who_and_what() {
    let device = faulty(&["flush:nth=2:panic"]);
    let mut rig = Rig::new(&device);
    assert_eq!(rig.run(Op::Flush, Data::None).0, Ok(()));
    let said = catch_unwind(AssertUnwindSafe(|| rig.run(Op::Flush, Data::None).0)).expect_err("a panic");
    let said = said.downcast::<String>().expect("a text");
    assert!(said.contains("fault:ram: a rule says that Flush panics"), "{said}");
}

#[test]
fn files_fail_as_well_and_growth_goes_through() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
    let text = format!("fault:{},size=1MiB,rule=write:nth=2:torn", dir.path().join("disk.img").display());
    let device = text.parse::<Spec>().expect("a device").open(&Defaults::default()).expect("creates it");
    let mut rig = Rig::new(&*device);
    let (old, new) = (pattern(1, 8192), pattern(2, 8192));
    rig.write(0, 16, &old, false, Way::Carried).expect("a write");
    assert_eq!(rig.write(0, 16, &new, false, Way::Carried), Err(EIO));
    let found = rig.read(0, 8192, 16, Way::Carried).expect("a read");
    let whole = |at: usize| found[at..at + 512] == old[at..at + 512] || found[at..at + 512] == new[at..at + 512];
    assert!((0..8192).step_by(512).all(whole));
    assert_eq!(device.refresh(Some(2 << 20)).expect("grows"), 4096);
    rig.write(4095, 1, &[1; 512], false, Way::Carried).expect("a write behind the old end");
    drop(rig);
    device.close().expect("closes");
}

/// After SQLite's out-of-memory and I/O error tests: the same workload again and again, and each time another request
/// of it fails. That one fails as it was told to, and nothing else happens to anybody.
#[test]
fn every_request_of_a_workload_fails_in_every_way() {
    let ops = sweep::workload();
    let kinds = [
        ("error=EIO", Err(EIO)),
        ("error=ENOSPC", Err(full())),
        ("status=2/80", Err(Failure::Device(Status::WRITE_FAULT))),
        ("short=1", Err(EIO)),
        ("torn", Err(EIO)),
        ("latency=1ms", Ok(())),
    ];
    for (what, end) in kinds {
        for at in 0..ops.len() {
            let Some(rule) = sweep::rule(&ops, at, what) else { continue };
            let device = faulty(&[&rule]);
            sweep::play(&device, &ops, at, &rule, end);
            assert_eq!(device.fired(), [1], "{rule}");
        }
    }
}
