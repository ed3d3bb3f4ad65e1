//! Devices that fail, seen by a host: each request of a workload fails in each way, the host learns which and why, and
//! nothing else is lost; and a device that never answers keeps nobody from leaving.

#[path = "../common/mod.rs"]
mod common;

use common::{Association, Data, Host, Rig, pattern};
use wire::nvme::{CopySource, DsmRange, Sqe, Status};
use zerocopy::IntoBytes;

const BLOCK: usize = 4096;

/// A command of the workload: it, its data, and what it does to a model.
struct Step {
    sqe: Sqe,
    from_host: Vec<u8>,
    reads: usize,
    apply: fn(&mut [u8], &[u8]),
}

fn step(sqe: Sqe, from_host: Vec<u8>, reads: usize, apply: fn(&mut [u8], &[u8])) -> Step {
    Step { sqe, from_host, reads, apply }
}

/// Each command once or twice, on the first eight blocks of namespace 1.
fn workload() -> Vec<Step> {
    let bytes = pattern(5, 4 * BLOCK);
    vec![
        step(Sqe::write(1, 0, 4, false), bytes.clone(), 0, |disk, new| disk[..4 * BLOCK].copy_from_slice(new)),
        step(Sqe::read(1, 0, 4), Vec::new(), 4 * BLOCK, |_, _| {}),
        step(Sqe::compare(1, 0, 4), bytes, 0, |_, _| {}),
        step(Sqe::write(1, 5, 1, true), pattern(6, BLOCK), 0, |disk, new| {
            disk[5 * BLOCK..6 * BLOCK].copy_from_slice(new);
        }),
        step(Sqe::flush(1), Vec::new(), 0, |_, _| {}),
        step(Sqe::copy(1, 6, 1, false), CopySource::new(0, 2).as_bytes().to_vec(), 0, |disk, _| {
            disk.copy_within(..2 * BLOCK, 6 * BLOCK);
        }),
        step(Sqe::write_zeroes(1, 1, 1, true, false), Vec::new(), 0, |disk, _| disk[BLOCK..2 * BLOCK].fill(0)),
        step(Sqe::verify(1, 0, 8), Vec::new(), 0, |_, _| {}),
        step(Sqe::dsm(1, 1, true), DsmRange::new(6, 1).as_bytes().to_vec(), 0, |disk, _| {
            disk[6 * BLOCK..7 * BLOCK].fill(0);
        }),
        step(Sqe::read(1, 4, 4), Vec::new(), 4 * BLOCK, |_, _| {}),
    ]
}

fn run(io: &mut Host, step: &Step) -> Status {
    let data = match (step.from_host.len(), step.reads) {
        (0, 0) => Data::None,
        (0, bytes) => Data::Read(bytes),
        _ => Data::R2t(&step.from_host),
    };
    io.run(step.sqe, data).status()
}

/// What a host must see when the device says `fault` to a command.
fn expected(fault: &str, sqe: &Sqe) -> Status {
    let reads = matches!(sqe.opcode, wire::nvme::io::READ | wire::nvme::io::COMPARE | wire::nvme::io::VERIFY);
    match (fault, reads) {
        ("error=EIO", true) => Status::UNRECOVERED_READ_ERROR,
        ("error=EIO", false) => Status::WRITE_FAULT,
        ("error=ENOSPC", _) => Status::CAPACITY_EXCEEDED,
        ("error=EROFS", _) => Status::NAMESPACE_IS_WRITE_PROTECTED.with_dnr(),
        ("error=ENOMEM", _) => Status::INTERNAL_ERROR,
        ("status=0/21", _) => Status::COMMAND_INTERRUPTED,
        _ => unreachable!("no fault of this test"),
    }
}

#[test]
fn every_command_fails_in_every_way_with_the_right_status() {
    let steps = workload();
    for fault in ["error=EIO", "error=ENOSPC", "error=EROFS", "error=ENOMEM", "status=0/21"] {
        for fails in 0..steps.len() {
            let rig = Rig::new(&[&format!("fault:ram:1MiB,bs=4096,rule=any:nth={}:{fault}", fails + 1)]);
            let association = Association::new(&rig);
            let mut io = association.io(1);
            let mut disk = vec![0; 8 * BLOCK];
            for (at, step) in steps.iter().enumerate() {
                // After a write that failed, the bytes to compare with are others.
                let step = match step.sqe.opcode {
                    wire::nvme::io::COMPARE => &self::step(step.sqe, disk[..4 * BLOCK].to_vec(), 0, step.apply),
                    _ => step,
                };
                let status = run(&mut io, step);
                if at == fails {
                    assert_eq!(status, expected(fault, &step.sqe), "{fault}: command {at}");
                } else {
                    assert_eq!(status, Status::SUCCESS, "{fault} of command {fails}: command {at}");
                    (step.apply)(&mut disk, &step.from_host);
                }
            }
            assert!(io.read(1, 0, 8, BLOCK) == disk, "{fault} of command {fails}: at the end");
        }
    }
}

#[test]
fn other_commands_of_the_queue_do_not_wait_for_a_slow_one() {
    let rig = Rig::new(&["fault:ram:1MiB,bs=4096,rule=read:nth=1:latency=300ms"]);
    let association = Association::new(&rig);
    let mut io = association.io(1);
    let slow = io.submit(Sqe::read(1, 0, 1), Data::Read(BLOCK));
    let fast = io.submit(Sqe::read(1, 1, 1), Data::Read(BLOCK));
    assert_eq!(io.wait().slot, fast);
    let done = io.wait();
    assert_eq!((done.slot, done.status()), (slow, Status::SUCCESS));
}

#[test]
fn a_device_that_never_answers_keeps_nobody_from_leaving() {
    let mut rig = Rig::new(&["fault:ram:1MiB,bs=4096,rule=any:blocks=7-7:drop", "ram:1MiB,bs=4096"]);
    for round in 0..3 {
        let association = Association::new(&rig);
        let mut io = association.io(1);
        io.submit(Sqe::write(1, 7, 1, false), Data::R2t(&[1; BLOCK]));
        io.submit(Sqe::read(1, 6, 2), Data::Read(2 * BLOCK));
        // What it does not hold back goes on.
        let other = pattern(round, BLOCK);
        let write = io.submit(Sqe::write(2, round, 1, false), Data::R2t(&other));
        assert_eq!(io.wait().slot, write);
        drop((io, association));
        rig.await_controllers(0);
    }
    // Without the end of those commands the target would wait for them here.
    rig.stop();
}
