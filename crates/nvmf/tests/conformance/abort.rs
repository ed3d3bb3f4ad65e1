//! Abort of I/O commands: on an admin queue, for a command of another connection on another reactor.

use qpair_nvmf::Stage;
use wire::nvme::{DsmRange, Sqe, Status};
use zerocopy::IntoBytes;

use crate::common::{NO_DIGESTS, Raw, Rig, eventually, pdu};

const NOT_ABORTED: u64 = 1;
/// Writes and deallocations never end by themselves.
const STUCK: &str = "fault:ram:4MiB,bs=512,rule=write:drop,rule=deallocate:drop";

/// An admin queue on one reactor, an I/O queue on the other.
fn on_two_reactors(device: &str) -> (Rig, Raw, Raw) {
    let rig = Rig::on_two_reactors(&[device]);
    let (admin, cntlid) = Raw::admin(&rig, NO_DIGESTS);
    let io = Raw::io(rig.addr, cntlid, 1, 255, 4, NO_DIGESTS);
    (rig, admin, io)
}

/// Aborts a command of queue 1; bit 0 of the result.
fn abort(admin: &mut Raw, cid: u16) -> u64 {
    let cqe = admin.run(Sqe::abort(1, cid).with_cid(900), &[]).cqe;
    assert_eq!(cqe.status(), Status::SUCCESS);
    cqe.result()
}

fn is_aborted(io: &mut Raw, cid: u16) {
    let cqe = io.pdu().cqe();
    assert_eq!((cqe.cid.get(), cqe.status()), (cid, Status::ABORT_REQUESTED));
}

/// Waits until the target holds as many commands in a stage as the counter says: what was sent before is there.
fn await_stage(rig: &Rig, stage: Stage, count: u64) {
    eventually(&format!("{count} commands {}", stage.name()), || {
        rig.server().observer().reactors().iter().map(|reactor| reactor.stage(stage)).sum::<u64>() == count
    });
}

#[test]
fn what_a_device_gives_back_is_aborted() {
    let (rig, mut admin, mut io) = on_two_reactors(STUCK);
    for cid in 1..=3 {
        io.command(Sqe::write(1, 0, 8, false).with_data_in_capsule(4096).with_cid(cid), &[1; 4096]);
    }
    await_stage(&rig, Stage::AtDevice, 3);
    for cid in [2, 3, 1] {
        assert_eq!(abort(&mut admin, cid), 0);
        is_aborted(&mut io, cid);
        assert_eq!(abort(&mut admin, cid), NOT_ABORTED, "it is gone");
    }
    // The identifiers are free again, and the queue works.
    assert_eq!(io.run(Sqe::flush(1).with_cid(2), &[]).cqe.status(), Status::SUCCESS);
}

#[test]
fn what_has_ended_is_not_aborted() {
    let (rig, mut admin, mut io) = on_two_reactors("fault:ram:1MiB,bs=512,rule=flush:latency=60s");
    io.command(Sqe::write(1, 0, 1, false).with_data_in_capsule(512).with_cid(5), &[1; 512]);
    assert_eq!(io.pdu().cqe().status(), Status::SUCCESS);
    for (sqid, cid) in [(1, 5), (2, 5), (0, 5), (0, 0xffff), (0xffff, 0xffff)] {
        assert_eq!(admin.run(Sqe::abort(sqid, cid), &[]).cqe.result(), NOT_ABORTED, "it has ended, or never was");
    }
    io.command(Sqe::flush(1).with_cid(5), &[]);
    await_stage(&rig, Stage::AtDevice, 1);
    assert_eq!(abort(&mut admin, 5), 0, "what is only delayed can be given back");
    is_aborted(&mut io, 5);
}

/// The host was asked for the data and may be sending it: the command ends when it is in, and nothing is written.
#[test]
fn what_waits_for_the_host_is_aborted_when_its_data_is_in() {
    let (_rig, mut admin, mut io) = on_two_reactors("ram:1MiB,bs=512");
    io.command(Sqe::write(1, 0, 8, false).with_data_by_transport(4096).with_cid(5), &[]);
    let ttag = io.pdu().r2t().ttag.get();
    assert_eq!((abort(&mut admin, 5), abort(&mut admin, 5)), (0, 0));
    io.send(&pdu::h2c(5, ttag, 0, &[9; 4096], true, NO_DIGESTS));
    is_aborted(&mut io, 5);
    assert_eq!(io.run(Sqe::read(1, 0, 8).with_data_by_transport(4096), &[]).data, [0; 4096]);
}

/// 17 connections with seven reads each hold all buffers but one that there are for them.
#[test]
fn what_waits_for_a_buffer_is_aborted() {
    let rig = Rig::new(&["fault:ram:4MiB,bs=512,rule=read:drop"]);
    let (mut admin, cntlid) = Raw::admin(&rig, NO_DIGESTS);
    let mut queues: Vec<_> = (1..=18).map(|qid| Raw::io(rig.addr, cntlid, qid, 32, 4, NO_DIGESTS)).collect();
    let read = Sqe::read(1, 0, 256).with_data_by_transport(128 << 10);
    queues[1..].iter_mut().for_each(|io| (1..=7).for_each(|cid| io.command(read.with_cid(cid), &[])));
    await_stage(&rig, Stage::AtDevice, 119);
    let io = &mut queues[0];
    (1..=6).for_each(|cid| io.command(read.with_cid(cid), &[]));
    await_stage(&rig, Stage::NeedsBuffer, 5);
    // Again and again in the same place.
    for _ in 0..40 {
        assert_eq!(abort(&mut admin, 6), 0);
        is_aborted(io, 6);
        io.command(read.with_cid(6), &[]);
        await_stage(&rig, Stage::NeedsBuffer, 5);
    }
    // A buffer is back: it is for one that is still there.
    queues.pop();
    await_stage(&rig, Stage::NeedsBuffer, 0);
    await_stage(&rig, Stage::AtDevice, 118);
}

/// The device's queue is full, some ranges of the last command are not there yet.
#[test]
fn all_ranges_of_a_command_are_given_back() {
    let (rig, mut admin, mut io) = on_two_reactors(STUCK);
    let ranges: Vec<DsmRange> = (0..200).map(|at| DsmRange::new(at * 8, 8)).collect();
    let data = ranges.as_bytes();
    let dsm = Sqe::dsm(1, 200, true).with_data_in_capsule(data.len() as u32);
    for cid in 1..=8 {
        io.command(dsm.with_cid(cid), data);
    }
    await_stage(&rig, Stage::Ready, 8 - FULL);
    for cid in [2, 3, 8, 1] {
        assert_eq!(abort(&mut admin, cid), 0, "command {cid}");
        is_aborted(&mut io, cid);
    }
}

/// How many commands of 200 ranges fit into the device's queue.
const FULL: u64 = block::limits::FAULT_QUEUE_DEPTH as u64 / 200;
