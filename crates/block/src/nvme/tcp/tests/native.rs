//! Native commands beside block requests, and what becomes of them when the connection breaks.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use machine::region::Pool;
use wire::nvme::Sqe;
use wire::nvme::opcode::FABRICS;

use super::target::Fault;
use super::{Rig, pattern, rig};
use crate::nvme::tcp::Retry;
use crate::nvme::tcp::limits::MAX_TRANSFER_BYTES;
use crate::{Command, Completed, Failure, Op, Range, Why};

const NSID: u32 = 1;

/// A command with a buffer of so many bytes, or without one.
fn command(rig: &Rig, tag: u64, sqe: Sqe, bytes: usize) -> Command {
    let data = (bytes > 0).then(|| {
        let mut buf = rig.pool.take().expect("enough buffers");
        buf.set_len(bytes);
        buf
    });
    Command { tag, sqe, data: data.into(), metadata: None, timeout: None }
}

fn run(rig: &mut Rig, command: Command) -> Completed {
    assert!(rig.queue.command(&mut rig.ring, command).is_ok(), "there is room");
    assert!(rig.finish().is_empty(), "it is no block request");
    assert_eq!(rig.out.native.len(), 1);
    rig.out.native.remove(0)
}

#[test]
fn they_read_and_write_what_requests_do() {
    let (target, mut rig) = rig(Fault::None, |_| {});
    for blocks in [1usize, 16, 200] {
        let bytes = pattern(blocks * 512, 3);
        let mut write = command(&rig, 1, Sqe::write(NSID, 9, blocks as u32, false), bytes.len());
        write.data.put(0, &bytes);
        let done = run(&mut rig, write);
        assert_eq!((done.tag, done.outcome), (1, Ok(0)));
        assert!(done.data.holds(&bytes), "the buffer comes back as it was");
        assert_eq!(&target.disk()[9 * 512..][..bytes.len()], &bytes[..]);
        assert_eq!(rig.read(9, blocks as u64), bytes);
        let read = command(&rig, 2, Sqe::read(NSID, 9, blocks as u32), bytes.len());
        let done = run(&mut rig, read);
        assert_eq!(done.outcome, Ok(0));
        assert!(done.data.holds(&bytes));
    }
    let flush = command(&rig, 3, Sqe::flush(NSID), 0);
    assert_eq!(run(&mut rig, flush).outcome, Ok(0));
    assert_eq!(rig.pool.free(), 40);
}

#[test]
fn what_cannot_be_sent_fails_at_once() {
    let (target, mut rig) = rig(Fault::None, |_| {});
    let before = target.seen().io_commands.load(SeqCst);
    let fabrics = Sqe { opcode: FABRICS, ..Sqe::default() };
    let vendor = Sqe { opcode: 0x83, ..Sqe::default() };
    let large = Pool::anonymous(2 * MAX_TRANSFER_BYTES as usize, 1).expect("memory");
    for (sqe, bytes, failure) in [
        (fabrics, 0, Failure::NotSupported),
        (vendor, 512, Failure::NotSupported),
        (Sqe::flush(NSID), 512, Failure::BadTransfer),
        (Sqe::read(NSID, 0, 1), large.buffer_bytes(), Failure::BadTransfer),
    ] {
        let mut data = large.take().expect("it is back");
        data.set_len(bytes);
        let data = (bytes > 0).then_some(data);
        let command = Command { tag: 7, sqe, data: data.into(), metadata: None, timeout: None };
        assert_eq!(run(&mut rig, command).outcome, Err(failure));
    }
    let mut apart = command(&rig, 8, Sqe::read(NSID, 0, 1), 512);
    apart.metadata = rig.pool.take();
    let done = run(&mut rig, apart);
    assert_eq!(done.outcome, Err(Failure::NotSupported), "metadata does not travel apart");
    assert!(done.data.is_some() && done.metadata.is_some());
    assert_eq!(target.seen().io_commands.load(SeqCst), before);
}

#[test]
fn a_full_queue_gives_them_back() {
    let (_target, mut rig) = rig(Fault::Silent, |uri| uri.depth = 2);
    for tag in 0..2 {
        let flush = command(&rig, tag, Sqe::flush(NSID), 0);
        assert!(rig.queue.command(&mut rig.ring, flush).is_ok());
    }
    let third = command(&rig, 2, Sqe::read(NSID, 0, 1), 512);
    let Err(untaken) = rig.queue.command(&mut rig.ring, third) else { panic!("there is no room") };
    assert_eq!((untaken.why, untaken.command.tag), (Why::Full, 2));
    assert!(untaken.command.data.is_some());
    assert!(!rig.submit(3, Op::Flush), "requests and commands share the queue");
}

#[test]
fn one_that_may_take_less_time_is_aborted_before_the_others() {
    let (target, mut rig) = rig(Fault::Silent, |uri| uri.io_timeout = Duration::ZERO);
    let mut flush = command(&rig, 1, Sqe::flush(NSID), 0);
    flush.timeout = Some(Duration::from_millis(20));
    assert_eq!(run(&mut rig, flush).outcome, Err(Failure::TimedOut));
    assert_eq!(target.seen().aborts.load(SeqCst), 1);
}

#[test]
fn they_are_not_sent_again() {
    let (target, mut rig) = rig(Fault::CloseAt(2), |uri| uri.retry = Retry::All);
    let write = command(&rig, 1, Sqe::write(NSID, 0, 1, false), 512);
    assert!(rig.queue.command(&mut rig.ring, write).is_ok());
    assert!(rig.submit(2, Op::Read(Range { lba: 4, blocks: 1 })));
    rig.until("it is broken off", |_| target.seen().io_commands.load(SeqCst) >= 2);
    target.change(|config| config.fault = Fault::None);
    let done = rig.finish();
    assert_eq!((done.len(), done[0].outcome), (1, Ok(())), "the request is sent again");
    drop(done);
    let Completed { tag, outcome, data, .. } = rig.out.native.remove(0);
    assert_eq!(tag, 1);
    assert!(matches!(outcome, Ok(0) | Err(Failure::Disconnected)), "{outcome:?}");
    drop(data);
    assert_eq!(rig.pool.free(), 40);
}

#[test]
fn requests_are_not_repeated_over_what_a_native_write_may_have_done() {
    let (target, mut rig) = rig(Fault::Silent, |_| {});
    let native = command(&rig, 1, Sqe::write(NSID, 900, 1, false), 512);
    assert!(rig.queue.command(&mut rig.ring, native).is_ok());
    assert!(rig.submit_bytes(2, Op::Write { range: Range { lba: 4, blocks: 1 }, fua: false }, &[7; 512]));
    assert!(rig.submit(3, Op::Read(Range { lba: 4, blocks: 1 })));
    rig.until("they arrive", |_| target.seen().io_commands.load(SeqCst) == 3);
    target.change(|config| config.fault = Fault::None);
    target.hang_up();
    let mut done: Vec<_> = rig.finish().into_iter().map(|done| (done.tag, done.outcome)).collect();
    done.sort_unstable_by_key(|done| done.0);
    assert_eq!(done, [(2, Err(Failure::Disconnected)), (3, Ok(()))]);
    assert_eq!(rig.out.native.remove(0).outcome, Err(Failure::Disconnected));
}
