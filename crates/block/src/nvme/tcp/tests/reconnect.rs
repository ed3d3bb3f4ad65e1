//! Connections that break, and come back or not: what was in flight has the fate that was chosen for it, what is asked
//! for meanwhile waits, and the namespace is the same or the path is lost.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use machine::reactor::Arm;
use machine::ring::Wait;
use wire::nvme::{Status, io};

use super::target::{Config, Cut, Fault, Target};
use super::{PATIENCE, Rig, five, pattern};
use crate::nvme::tcp::{PathState, PathStats, Retry, Uri};
use crate::{Completion, Device, Failure, Op, Range};

fn range(lba: u64, blocks: u64) -> Range {
    Range { lba, blocks }
}

fn write(lba: u64, blocks: u64) -> Op {
    Op::Write { range: range(lba, blocks), fua: false }
}

fn rig(config: Config, change: impl Fn(&mut Uri)) -> (Target, Rig) {
    let target = Target::start(config);
    let mut uri = target.uri();
    uri.reconnect_delay = Duration::from_millis(2);
    change(&mut uri);
    let rig = Rig::new(uri);
    (target, rig)
}

fn path(rig: &Rig) -> PathStats {
    rig.device.paths().remove(0)
}

fn entered(rig: &Rig, state: PathState) -> u64 {
    path(rig).entered[state as usize].1
}

/// The target stops answering, gets these requests, hangs up, and is well again for whoever connects.
fn interrupted(target: &Target, rig: &mut Rig, ops: &[(Op, &[u8])]) -> Vec<Completion> {
    let before = target.seen().io_commands.load(SeqCst);
    for (tag, (op, bytes)) in ops.iter().enumerate() {
        assert!(rig.submit_bytes(tag as u64, *op, bytes));
    }
    rig.until("the commands arrive", |_| target.seen().io_commands.load(SeqCst) == before + ops.len());
    target.change(|config| config.fault = Fault::None);
    target.hang_up();
    let mut done = rig.finish();
    done.sort_by_key(|done| done.tag);
    done
}

fn outcomes(done: &[Completion]) -> Vec<crate::Outcome> {
    done.iter().map(|done| done.outcome).collect()
}

fn silent() -> Config {
    Config { fault: Fault::Silent, ..Config::default() }
}

#[test]
fn what_was_in_flight_has_the_fate_that_was_chosen() {
    let (small, large) = (pattern(512, 1), pattern(300 * 512, 2));
    let zeroes = Op::WriteZeroes { range: range(900, 4), fua: false, deallocate: false };
    let ops: [(Op, &[u8]); 7] = [
        (Op::Read(range(0, 8)), &[]),
        (write(10, 1), &small),
        (write(100, 300), &large),
        (Op::Flush, &[]),
        (zeroes, &[]),
        // These two overlap: which of them is on the disk is decided once.
        (write(1000, 4), &[]),
        (write(1003, 4), &[]),
    ];
    let fail = Err(Failure::Disconnected);
    for (retry, expected) in [
        (Retry::None, [fail; 7]),
        (Retry::Idempotent, [Ok(()), Ok(()), Ok(()), Ok(()), Ok(()), fail, fail]),
        (Retry::All, [Ok(()); 7]),
    ] {
        let (target, mut rig) = rig(silent(), |uri| uri.retry = retry);
        let done = interrupted(&target, &mut rig, &ops);
        assert_eq!(outcomes(&done), expected, "{retry:?}");
        drop(done);
        assert_eq!(rig.pool.free(), 40, "every buffer is back");
        if retry != Retry::None {
            assert_eq!(rig.read(10, 1), small);
            assert_eq!(rig.read(100, 300), large);
        }
        assert_eq!(rig.one(write(10, 1), &large[..512]).0, Ok(()), "what is asked for later is not touched");
        let stats = path(&rig);
        let failed = expected.iter().filter(|outcome| outcome.is_err()).count() as u64;
        assert_eq!((stats.state, stats.failed, stats.resent), (PathState::Live, failed, 7 - failed));
        assert_eq!((entered(&rig, PathState::Live), entered(&rig, PathState::Reconnecting)), (2, 1));
    }
}

#[test]
fn order_is_kept_and_a_flush_waits_for_what_was_before_it() {
    let (target, mut rig) = rig(silent(), |_| {});
    let large = pattern(300 * 512, 3);
    let done = interrupted(
        &target,
        &mut rig,
        &[(write(0, 300), &large), (Op::Flush, &[]), (write(400, 300), &large), (Op::Flush, &[]), (write(800, 1), &[])],
    );
    assert_eq!(outcomes(&done), [Ok(()); 5]);
    let log: Vec<u8> = target.seen().log.lock().expect("log").iter().skip(5).map(|(_, opcode)| *opcode).collect();
    assert_eq!(log, [io::WRITE, io::FLUSH, io::WRITE, io::FLUSH, io::WRITE]);
    assert_eq!(target.seen().early_flushes.load(SeqCst), 0, "the writes before it had been answered");
}

#[test]
fn a_connection_may_break_behind_any_byte() {
    // ICResp and the answer to Connect, which are part of opening a queue.
    const OPENED: (usize, usize) = (128 + 24, 128 + 72 + 1024);
    let (small, large) = (pattern(512, 1), pattern(20 * 512, 2));
    let sent = (OPENED.0..OPENED.0 + 200).step_by(1).chain((OPENED.0 + 200..OPENED.0 + 12_000).step_by(997));
    let received = (OPENED.1..OPENED.1 + 700).step_by(11).chain((OPENED.1 + 700..OPENED.1 + 12_000).step_by(997));
    let cuts = sent.map(|bytes| Cut::sent(2, bytes)).chain(received.map(|bytes| Cut::received(2, bytes)));
    for (number, cut) in cuts.enumerate() {
        let (target, mut rig) = rig(Config { cut: Some(cut), ..Config::default() }, |_| {});
        // What is sent again may be in several buffers.
        rig.cuts = (number % 2 == 0).then_some(five);
        for (tag, (op, bytes)) in
            [(write(5, 1), &small), (write(50, 20), &large), (Op::Flush, &small)].into_iter().enumerate()
        {
            assert!(rig.submit_bytes(tag as u64, op, bytes));
        }
        assert_eq!(outcomes(&rig.finish()), [Ok(()); 3], "{cut:?}");
        assert_eq!((rig.read(5, 1), rig.read(50, 20)), (small.clone(), large.clone()), "{cut:?}");
        assert_eq!(rig.pool.free(), 40, "{cut:?}");
        assert!(target.seen().connections.load(SeqCst) >= 2);
    }
}

#[test]
fn reconnecting_may_break_at_any_step() {
    // Connections 1 and 2 are the first association; 3 is the second's admin queue, 4 its I/O queue.
    let admin = (0..30).map(|step| Cut::sent(3, step * 13)).chain((0..60).map(|step| Cut::sent(3, 400 + step * 311)));
    let io = (0..153).step_by(9).map(|bytes| Cut::sent(4, bytes));
    let heard = (0..1300).step_by(173).flat_map(|bytes| [Cut::received(3, bytes), Cut::received(4, bytes)]);
    for cut in admin.chain(io).chain(heard) {
        let (target, mut rig) = rig(Config { cut: Some(cut), ..Config::default() }, |_| {});
        target.hang_up();
        let data = pattern(512, 9);
        rig.write(3, &data);
        assert_eq!(rig.read(3, 1), data, "{cut:?}");
        let stats = path(&rig);
        assert_eq!(stats.state, PathState::Live, "{cut:?}");
    }
}

#[test]
fn what_is_asked_for_meanwhile_waits_as_far_as_the_queue_is_deep() {
    let (target, mut rig) = rig(Config::default(), |uri| uri.depth = 8);
    target.change(|config| config.away = true);
    target.hang_up();
    rig.until_broken();
    let accepted = (0..20).filter(|tag| rig.submit_bytes(*tag, write(*tag, 1), &pattern(512, *tag as u32))).count();
    assert_eq!((accepted, rig.queue.in_flight()), (8, 8));
    assert_eq!(rig.pool.free(), 32, "what was refused has its buffer back");
    let connections = target.seen().connections.load(SeqCst);
    rig.until("it tries again and again", |_| target.seen().connections.load(SeqCst) > connections + 2);
    assert!(rig.out.list.is_empty());
    target.change(|config| config.away = false);
    assert_eq!(outcomes(&rig.finish()), [Ok(()); 8]);
    for tag in 0..8 {
        assert_eq!(rig.read(tag, 1), pattern(512, tag as u32));
    }
}

#[test]
fn a_target_that_stays_away_is_given_up() {
    let (target, mut rig) = rig(silent(), |uri| uri.ctrl_loss_timeout = Some(Duration::from_millis(150)));
    assert!(rig.submit(1, Op::Read(range(0, 8))));
    rig.until("the command arrives", |_| target.seen().io_commands.load(SeqCst) == 1);
    target.change(|config| config.away = true);
    target.hang_up();
    rig.until_broken();
    assert!(rig.submit(2, write(3, 1)));
    assert!(rig.submit(3, Op::Flush));
    let mut done = rig.finish();
    done.sort_by_key(|done| done.tag);
    let (maybe, not) = (Err(Failure::Disconnected), Err(Failure::Unreachable));
    assert_eq!(outcomes(&done), [maybe, not, not], "only the first may have been carried out");
    assert_eq!(rig.one(Op::Flush, &[]).0, not);
    assert_eq!(path(&rig).state, PathState::Lost);
    assert!(path(&rig).trouble.contains("no controller within 150ms"), "{}", path(&rig).trouble);
    assert_eq!(rig.queue.arm(&mut rig.ring), Arm::Armed, "a dead queue lets its reactor sleep");
    assert!(rig.device.open_queue(&mut rig.ring).is_err());
}

/// The target comes back changed, and the path is lost for this reason.
fn lost(change: impl FnOnce(&mut Config), why: &str) {
    let (target, mut rig) = rig(Config::default(), |_| {});
    target.change(change);
    target.hang_up();
    assert_eq!(rig.one(Op::Flush, &[]).0.map_err(|_| ()), Err(()));
    assert_eq!(path(&rig).state, PathState::Lost);
    assert!(path(&rig).trouble.contains(why), "{}", path(&rig).trouble);
}

#[test]
fn another_namespace_is_not_taken_for_the_first() {
    lost(|config| config.uuid[0] ^= 1, "is another one");
    lost(|config| config.namespace = |id| id.nguid[0] ^= 1, "is another one");
    lost(|config| config.namespaces = vec![2], "there is no namespace 1");
    lost(|config| config.namespaces.clear(), "no namespace for this host");
    lost(|config| config.namespace = |id| id.nsze = 4095.into(), "shrunk from 4096 to 4095 blocks");
    lost(|config| config.controller = |id| id.mdts = 5, "takes transfers of 131072 bytes now, not 262144");
    lost(|config| (config.block_bytes, config.blocks) = (4096, 8192), "blocks have 4096 bytes now, not 512");
    lost(|config| config.refusal = Some(Status::CONNECT_INVALID_HOST.with_dnr()), "Connect Invalid Host");
}

#[test]
fn a_refusal_that_may_pass_is_waited_for() {
    let (target, mut rig) = rig(Config::default(), |_| {});
    target.change(|config| config.refusal = Some(Status::CONNECT_CONTROLLER_BUSY));
    target.hang_up();
    rig.until("it is refused", |rig| path(rig).trouble.contains("Busy"));
    target.change(|config| config.refusal = None);
    assert_eq!(rig.read(0, 1), [0; 512]);
}

#[test]
fn a_namespace_that_has_grown_is_as_large_as_it_is() {
    let (target, mut rig) = rig(Config::default(), |_| {});
    assert_eq!(rig.one(Op::Read(range(4096, 1)), &[]).0, Err(Failure::OutOfRange));
    target.change(|config| config.blocks = 5000);
    target.grow_disk(5000);
    target.hang_up();
    rig.until("it is connected again", |rig| entered(rig, PathState::Live) == 2);
    rig.write(4999, &pattern(512, 4));
    assert_eq!(rig.read(4999, 1), pattern(512, 4));
    assert_eq!(rig.one(Op::Read(range(5000, 1)), &[]).0, Err(Failure::OutOfRange));
}

#[test]
fn an_answer_from_before_does_not_end_a_request_from_after() {
    let (target, mut rig) = rig(silent(), |_| {});
    for tag in 0..4 {
        assert!(rig.submit_bytes(tag, write(tag, 1), &pattern(512, tag as u32)));
    }
    rig.until("the commands arrive", |_| target.seen().io_commands.load(SeqCst) == 4);
    // The answers to these come on the next connection, ahead of its own: as if the commands there were done.
    target.change(|config| config.fault = Fault::Stale);
    target.hang_up();
    assert_eq!(outcomes(&rig.finish()), [Ok(()); 4]);
    for tag in 0..4 {
        assert_eq!(target.disk()[tag * 512..][..512], pattern(512, tag as u32), "it was carried out");
    }
    assert_eq!(entered(&rig, PathState::Reconnecting), 2, "the stale answer named no command: a violation");
}

#[test]
fn a_request_that_breaks_every_connection_fails_at_last() {
    let (target, mut rig) = rig(Config { fault: Fault::Garbage, ..Config::default() }, |_| {});
    assert_eq!(rig.one(Op::Read(range(0, 1)), &[]).0, Err(Failure::Disconnected));
    assert_eq!(target.seen().io_commands.load(SeqCst), crate::nvme::tcp::limits::MAX_SENDS as usize);
}

#[test]
fn queues_come_and_go_while_there_is_no_target() {
    let (target, mut rig) = rig(Config::default(), |_| {});
    target.change(|config| config.away = true);
    target.hang_up();
    rig.until_broken();
    let gone = rig.device.open_queue(&mut rig.ring).expect("it will be connected");
    let kept = rig.device.open_queue(&mut rig.ring).expect("this one too");
    drop(gone);
    let first = std::mem::replace(&mut rig.queue, kept);
    drop(first);
    assert!(rig.submit_bytes(1, write(7, 1), &pattern(512, 7)));
    target.change(|config| config.away = false);
    assert_eq!(outcomes(&rig.finish()), [Ok(())]);
    assert_eq!(rig.read(7, 1), pattern(512, 7));
    let second = rig.device.open_queue(&mut rig.ring).expect("numbers are given out again");
    drop(second);
}

#[test]
fn a_device_can_be_closed_while_there_is_no_target() {
    let (target, mut rig) = rig(Config::default(), |_| {});
    target.change(|config| config.away = true);
    target.hang_up();
    rig.until_broken();
    assert!(rig.submit(1, write(0, 1)));
    rig.device.close().expect("nothing to shut down");
    assert_eq!(outcomes(&rig.finish()), [Err(Failure::Unreachable)]);
    assert_eq!(path(&rig).state, PathState::Closed);
}

#[test]
fn a_connection_that_is_back_wakes_the_sleeper() {
    let (target, mut rig) = rig(silent(), |_| {});
    assert!(rig.submit(1, write(0, 1)));
    rig.until("the command arrives", |_| target.seen().io_commands.load(SeqCst) == 1);
    target.change(|config| config.fault = Fault::None);
    target.hang_up();
    while rig.out.list.is_empty() {
        rig.queue.kick(&mut rig.ring);
        let wait = if rig.queue.arm(&mut rig.ring) == Arm::Armed { Wait::For(PATIENCE) } else { Wait::No };
        rig.ring.enter(wait).expect("enter");
        rig.queue.poll(&mut rig.ring, &mut rig.out);
    }
    assert_eq!(outcomes(&rig.out.list), [Ok(())]);
}

#[test]
fn the_old_controller_is_disabled_before_anything_is_sent_again() {
    let (target, mut rig) = rig(Config { cut: Some(Cut::sent(2, 128 + 24 + 5)), ..Config::default() }, |_| {});
    rig.write(1, &pattern(512, 1));
    assert_eq!(target.seen().disabled.load(SeqCst), 1, "the admin connection was alive");
    assert_eq!(entered(&rig, PathState::Reconnecting), 1);
}
