//! Commands that take too long or are not wanted any more, and what the controller says without being asked.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use machine::reactor::Arm;
use wire::nvme::Status;
use wire::nvme::feature::Event;

use super::target::Fault;
use super::{Rig, pattern, rig};
use crate::nvme::tcp::{PathState, Retry};
use crate::{Device, Failure, Op, Range};

fn range(lba: u64, blocks: u64) -> Range {
    Range { lba, blocks }
}

fn entered(rig: &Rig, state: PathState) -> u64 {
    rig.device.paths()[0].entered[state as usize].1
}

#[test]
fn a_command_that_is_not_answered_is_aborted() {
    let (target, mut rig) = rig(Fault::Silent, |uri| uri.io_timeout = Duration::from_secs(1));
    for tag in 0..3 {
        assert!(rig.submit(tag, Op::Read(range(tag, 8))));
    }
    assert!(rig.finish().iter().all(|done| done.outcome == Err(Failure::TimedOut)));
    assert_eq!(target.seen().aborts.load(SeqCst), 3);
    assert_eq!(rig.pool.free(), 40);
    assert_eq!(entered(&rig, PathState::Reconnecting), 0, "the connection lives on");
}

#[test]
fn if_an_abort_does_not_help_the_controller_is_reset() {
    for (retry, outcome) in [(Retry::Idempotent, Ok(())), (Retry::None, Err(Failure::Disconnected))] {
        // The Abort must be answered within this time too, also on a machine that does much else.
        let (target, mut rig) = rig(Fault::Deaf, |uri| {
            (uri.io_timeout, uri.retry) = (Duration::from_millis(400), retry);
        });
        assert!(rig.submit_bytes(1, Op::Write { range: range(3, 1), fua: false }, &pattern(512, 3)));
        rig.until("it is aborted", |_| target.seen().aborts.load(SeqCst) > 0);
        target.change(|config| config.fault = Fault::None);
        let done = rig.finish();
        assert_eq!((done.len(), done[0].outcome), (1, outcome));
        let resets = entered(&rig, PathState::Reconnecting);
        assert!(resets > 0);
        assert_eq!(target.seen().disabled.load(SeqCst) as u64, resets, "the old controller has let go of it");
    }
}

#[test]
fn a_sleeper_looks_in_time_while_commands_are_in_flight() {
    let (_target, mut rig) = rig(Fault::Silent, |uri| uri.io_timeout = Duration::from_secs(8));
    assert!(matches!(rig.queue.arm(&mut rig.ring), Arm::Armed | Arm::Busy));
    assert!(rig.submit(1, Op::Flush));
    rig.until("it may sleep", |rig| rig.queue.arm(&mut rig.ring) != Arm::Busy);
    let Arm::PollEvery(time) = rig.queue.arm(&mut rig.ring) else { panic!("nothing will wake it") };
    assert!(time <= Duration::from_secs(3), "{time:?}");
    let (_target, mut rig) = super::rig(Fault::Silent, |uri| uri.io_timeout = Duration::ZERO);
    assert!(rig.submit(1, Op::Flush));
    rig.until("it may sleep", |rig| rig.queue.arm(&mut rig.ring) == Arm::Armed);
}

#[test]
fn what_is_cancelled_is_aborted_or_withdrawn() {
    let (target, mut rig) = rig(Fault::Silent, |uri| uri.io_timeout = Duration::ZERO);
    assert!(rig.submit(1, Op::Read(range(0, 8))));
    assert!(rig.submit(2, Op::Read(range(0, 8))));
    rig.until("they arrive", |_| target.seen().io_commands.load(SeqCst) == 2);
    rig.queue.cancel(&mut rig.ring, 2);
    rig.queue.cancel(&mut rig.ring, 77);
    rig.until("one ends", |rig| !rig.out.list.is_empty());
    let done = rig.out.list.remove(0);
    assert_eq!((done.tag, done.outcome), (2, Err(Failure::Cancelled)));
    assert_eq!((rig.queue.in_flight(), target.seen().aborts.load(SeqCst)), (1, 1));
    drop(done);

    target.change(|config| (config.away, config.fault) = (true, Fault::None));
    target.hang_up();
    rig.until_broken();
    assert!(rig.submit(3, Op::Read(range(0, 8))));
    assert!(rig.submit(4, Op::Read(range(0, 8))));
    rig.queue.cancel(&mut rig.ring, 3);
    rig.queue.cancel(&mut rig.ring, 1);
    target.change(|config| config.away = false);
    let mut done = rig.finish();
    done.sort_by_key(|done| done.tag);
    let cancelled = Err(Failure::Cancelled);
    let ends: Vec<_> = done.iter().map(|done| (done.tag, done.outcome)).collect();
    assert_eq!(ends, [(1, cancelled), (3, cancelled), (4, Ok(()))]);
    drop(done);
    assert_eq!(rig.pool.free(), 40);
}

#[test]
fn a_queue_drains() {
    let (target, mut rig) = rig(Fault::Silent, |uri| uri.io_timeout = Duration::ZERO);
    (1..4).for_each(|tag| assert!(rig.submit(tag, Op::Read(range(0, 8)))));
    rig.until("they arrive", |_| target.seen().io_commands.load(SeqCst) == 3);
    rig.queue.cancel_all(&mut rig.ring);
    let sent = rig.finish();
    target.change(|config| config.away = true);
    target.hang_up();
    rig.until_broken();
    (4..6).for_each(|tag| assert!(rig.submit(tag, Op::Read(range(0, 8)))));
    rig.queue.cancel_all(&mut rig.ring);
    let held = rig.finish();
    assert_eq!((sent.len(), held.len()), (3, 2));
    assert!(sent.iter().chain(&held).all(|done| done.outcome == Err(Failure::Cancelled)));
    drop((sent, held));
    assert_eq!(rig.pool.free(), 40);
}

#[test]
fn an_abort_that_nobody_asked_for_is_the_devices_answer() {
    let (_target, mut rig) = rig(Fault::Answer(Status::ABORT_REQUESTED), |_| {});
    assert_eq!(rig.one(Op::Flush, &[]).0, Err(Failure::Device(Status::ABORT_REQUESTED)));
}

#[test]
fn a_namespace_that_grows_is_larger_at_once() {
    let (target, mut rig) = rig(Fault::None, |_| {});
    for blocks in [5000, 6000] {
        assert_eq!(rig.one(Op::Read(range(blocks - 1, 1)), &[]).0, Err(Failure::OutOfRange));
        target.grow_disk(blocks as usize);
        target.change(|config| config.blocks = blocks);
        target.tell(Event::NAMESPACES_CHANGED);
        rig.until("it has grown", |rig| rig.one(Op::Read(range(blocks - 1, 1)), &[]).0 == Ok(()));
    }
    assert_eq!(entered(&rig, PathState::Reconnecting), 0);
    assert_eq!((rig.device.blocks(), rig.device.info().blocks), (6000, 4096));

    target.change(|config| config.blocks = 7000);
    assert_eq!(rig.device.refresh(Some(7000 * 512)).expect("it is asked"), 7000);
    let error = rig.device.refresh(Some(7001 * 512)).expect_err("not from here");
    assert!(error.hint.contains("the target"), "{error}");
}

#[test]
fn a_namespace_that_shrinks_is_another_one() {
    let (target, mut rig) = rig(Fault::None, |_| {});
    target.change(|config| config.blocks = 100);
    target.tell(Event::NAMESPACES_CHANGED);
    rig.until("it is given up", |rig| rig.device.paths()[0].state == PathState::Lost);
    assert!(rig.device.paths()[0].trouble.contains("shrunk from 4096 to 100"));
    assert_eq!(rig.one(Op::Flush, &[]).0, Err(Failure::Unreachable));
}

#[test]
fn other_events_change_nothing() {
    let (target, mut rig) = rig(Fault::None, |_| {});
    target.tell(Event { kind: 1, information: 0, lid: 2 });
    target.tell(Event::NAMESPACES_CHANGED);
    target.change(|config| config.blocks = 5000);
    target.grow_disk(5000);
    rig.until("the second is told too", |rig| rig.one(Op::Read(range(4999, 1)), &[]).0 == Ok(()));
}
