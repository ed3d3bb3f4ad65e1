//! Targets that fail, lie, hang or go away, without reconnecting: requests end, buffers come back, nothing panics.

use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use machine::reactor::Arm;
use machine::ring::Wait;
use wire::nvme::Status;

use super::target::{Config, Fault, Target};
use super::{PATIENCE, Rig, pattern};
use crate::nvme::tcp::Uri;
use crate::{Device, Failure, Op, Range};

fn range(lba: u64, blocks: u64) -> Range {
    Range { lba, blocks }
}

fn rig(fault: Fault, change: impl Fn(&mut Uri)) -> (Target, Rig) {
    let target = Target::start(Config { fault, ..Config::default() });
    let mut uri = target.uri();
    uri.ctrl_loss_timeout = Some(Duration::ZERO);
    change(&mut uri);
    let rig = Rig::new(uri);
    (target, rig)
}

/// Reads, small and large writes, all at once; all of them end with `failure` and give their buffers back.
fn all_fail(rig: &mut Rig, failure: Failure) {
    for tag in 0..8 {
        assert!(rig.submit(tag, Op::Read(range(tag, 64))));
        assert!(rig.submit_bytes(tag + 10, Op::Write { range: range(tag, 1), fua: false }, &pattern(512, 1)));
        assert!(rig.submit_bytes(tag + 20, Op::Write { range: range(tag, 300), fua: false }, &pattern(512, 2)));
    }
    assert!(rig.submit(99, Op::Flush));
    let mut done = rig.finish();
    done.sort_by_key(|done| done.tag);
    let tags: Vec<u64> = done.iter().map(|done| done.tag).collect();
    assert_eq!(tags, (0..8).chain(10..18).chain(20..28).chain([99]).collect::<Vec<u64>>(), "each ends once");
    assert!(done.iter().all(|done| done.outcome == Err(failure)));
    drop(done);
    assert_eq!(rig.pool.free(), 40, "every buffer is back");
}

#[test]
fn a_status_comes_through() {
    let status = Status::UNRECOVERED_READ_ERROR.with_dnr();
    let (_target, mut rig) = rig(Fault::Answer(status), |_| {});
    all_fail(&mut rig, Failure::Device(status));
    all_fail(&mut rig, Failure::Device(status));
}

#[test]
fn a_lost_connection_ends_everything() {
    for last in [1, 5, 12] {
        let (_target, mut rig) = rig(Fault::CloseAt(last), |_| {});
        for tag in 0..32 {
            assert!(rig.submit(tag, Op::Read(range(tag, 64))));
        }
        let done = rig.finish();
        let lost = done.iter().filter(|done| done.outcome == Err(Failure::Disconnected)).count();
        assert!(done.len() == 32 && lost > 32 - last, "{lost} of {} were lost", done.len());
        drop(done);
        assert_eq!(rig.pool.free(), 40);
        all_fail(&mut rig, Failure::Unreachable);
        assert_eq!(rig.queue.arm(&mut rig.ring), Arm::Armed, "a dead queue lets its reactor sleep");
    }
}

#[test]
fn a_wrong_digest_fails_one_request() {
    let (_target, mut rig) = rig(Fault::Corrupt, |uri| uri.data_digest = true);
    for blocks in [1, 300] {
        let (outcome, _) = rig.one(Op::Read(range(0, blocks)), &[]);
        assert_eq!(outcome, Err(Failure::Device(Status::DATA_TRANSFER_ERROR)));
    }
    rig.write(0, &pattern(512, 3));
}

#[test]
fn success_with_too_little_data_ends_the_connection() {
    for flow_control in [false, true] {
        let (_target, mut rig) = rig(Fault::Short, |uri| uri.flow_control = flow_control);
        assert_eq!(rig.one(Op::Read(range(0, 64)), &[]).0, Err(Failure::Disconnected));
        assert_eq!(rig.one(Op::Flush, &[]).0, Err(Failure::Unreachable));
    }
}

#[test]
fn garbage_ends_the_connection() {
    let (_target, mut rig) = rig(Fault::Garbage, |_| {});
    all_fail(&mut rig, Failure::Disconnected);
}

#[test]
fn keep_alives_keep_the_association() {
    let (target, mut rig) = rig(Fault::None, |uri| uri.kato = Duration::from_millis(400));
    let deadline = Instant::now() + PATIENCE;
    while target.seen().keep_alives.load(SeqCst) < 3 {
        assert!(Instant::now() < deadline, "no keep-alives");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(rig.read(0, 1), [0; 512]);
}

#[test]
fn a_target_that_hangs_is_found_and_wakes_the_sleeper() {
    let (_target, mut rig) = rig(Fault::Hang, |uri| uri.kato = Duration::from_millis(150));
    for tag in 0..5 {
        assert!(rig.submit(tag, Op::Read(range(0, 8))));
    }
    rig.queue.kick(&mut rig.ring);
    let start = Instant::now();
    while rig.out.list.is_empty() {
        assert!(start.elapsed() < PATIENCE, "the sleeper was not woken");
        let wait = if rig.queue.arm(&mut rig.ring) == Arm::Armed { Wait::For(PATIENCE) } else { Wait::No };
        rig.ring.enter(wait).expect("enter");
        rig.queue.poll(&mut rig.ring, &mut rig.out);
    }
    assert_eq!(rig.out.list.len(), 5);
    assert!(rig.out.list.iter().all(|done| done.outcome == Err(Failure::Disconnected)));
    assert!(rig.device.open_queue(&mut rig.ring).is_err(), "the association is over");
}
