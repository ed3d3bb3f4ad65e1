//! Faults under a target, seen by the host.

use block::{Data, Failure, Op, Range};
use wire::nvme::Status;

use crate::common::Rig;
use crate::device::sweep::{self, BLOCK, BLOCKS};
use crate::device::{self, Way};
use crate::remote;

/// Size of the device.
const KIB: u64 = BLOCKS * BLOCK as u64 / 1024;

/// How a request that met `what` ends for the host.
fn expected(what: &str, op: &Op) -> Result<(), Failure> {
    let reads = matches!(op, Op::Read(_) | Op::Compare(_) | Op::Verify(_));
    Err(Failure::Device(match what {
        "latency=1ms" => return Ok(()),
        "error=ENOSPC" | "short=1:error=ENOSPC" => Status::CAPACITY_EXCEEDED,
        "error=EROFS" => Status::NAMESPACE_IS_WRITE_PROTECTED.with_dnr(),
        "status=0/21" => Status::COMMAND_INTERRUPTED,
        "error=EIO" if reads => Status::UNRECOVERED_READ_ERROR,
        "error=EIO" | "short=1" | "torn" => Status::WRITE_FAULT,
        _ => unreachable!("no fault of this test"),
    }))
}

/// Lets every request of the workload meet every fault, on what `device` makes of a rule.
fn sweep_over_the_wire(faults: &[&str], device: impl Fn(&str) -> String, options: &str) {
    let ops = sweep::workload();
    for what in faults {
        for at in 0..ops.len() {
            let Some(rule) = sweep::rule(&ops, at, what) else { continue };
            let rig = Rig::new(&[&device(&rule)]);
            sweep::play(&remote(&rig, 1, options), &ops, at, &rule, expected(what, &ops[at].0));
        }
    }
}

/// The same sweep as on the device itself (`crates/block/tests/fault.rs`). A write that was short or torn has failed,
/// and each sector of it is as before or as written.
#[test]
fn every_request_fails_in_every_way_over_the_wire() {
    let device = |rule: &str| format!("fault:ram:{KIB}KiB,bs={BLOCK},seed=7,rule={rule}");
    sweep_over_the_wire(&["error=EIO", "error=ENOSPC", "error=EROFS", "status=0/21"], device, "");
    sweep_over_the_wire(&["short=1", "torn", "short=1:error=ENOSPC", "latency=1ms"], device, "&hdgst=1&ddgst=1");
}

#[test]
fn files_that_are_written_in_part_fail_over_the_wire() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
    let device = |rule: &str| {
        let path = dir.path().join(format!("{}.img", rule.replace([':', '='], "-")));
        format!("fault:{},size={KIB}KiB,bs={BLOCK},seed=7,rule={rule}", path.display())
    };
    sweep_over_the_wire(&["error=EIO", "short=1", "torn"], device, "");
}

/// The host has it aborted, and if that does not help it leaves; the target lets go of it either way.
#[test]
fn what_never_ends_fails_and_what_is_slow_does_not() {
    let rig = Rig::new(&["fault:ram:1MiB,bs=4096,rule=any:blocks=7-7:drop,rule=any:blocks=9-9:latency=50ms"]);
    let remote = remote(&rig, 1, "&io-timeout=1s&retry=none");
    let mut host = device::Rig::new(&remote);
    let new = [3; BLOCK];
    let given_up = |outcome| matches!(outcome, Err(Failure::TimedOut | Failure::Disconnected));
    assert!(given_up(host.write(7, 1, &new, false, Way::Carried)));
    assert!(given_up(host.run(Op::Verify(Range { lba: 7, blocks: 1 }), Data::None).0));
    assert_eq!(host.write(9, 1, &new, true, Way::Carried), Ok(()));
    assert_eq!(host.read(9, BLOCK, 1, Way::Carried), Ok(new.to_vec()));
}
