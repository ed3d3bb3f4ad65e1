//! What was done for whom is counted, on whichever reactor it was done.

use qpair_nvmf::stats::{BUCKETS, Kind, Traffic};
use wire::nvme::{Sqe, Status};

use crate::common::{Association, Data, HOST, NQN, Rig, eventually, pattern};

/// What all reactors have done for the host of the tests with a namespace: operations and bytes by kind.
fn counted(rig: &Rig, nsid: u32) -> Vec<(Kind, u64, u64)> {
    let served = rig.served().into_iter().filter(|served| served.key.nsid == nsid);
    let mut total = Kind::ALL.map(|kind| (kind, 0, 0));
    for Traffic { key, kinds, .. } in served {
        assert_eq!((key.subsystem.as_str(), key.host.as_str()), (NQN, HOST));
        for (sum, kind) in total.iter_mut().zip(kinds) {
            sum.1 += kind.operations();
            sum.2 += kind.bytes;
        }
    }
    total.into_iter().filter(|(_, operations, _)| *operations > 0).collect()
}

#[test]
fn commands_are_counted_by_host_namespace_and_kind() {
    let rig = Rig::on_two_reactors(&["ram:1MiB,bs=512", "ram:1MiB,bs=4096"]);
    let association = Association::new(&rig);
    let mut queues = [association.io(1), association.io(2)];
    let bytes = pattern(1, 4096);
    for (index, io) in queues.iter_mut().enumerate() {
        for _ in 0..=index {
            io.ok(Sqe::write(1, 8, 8, false), Data::Capsule(&bytes));
            io.ok(Sqe::write(2, 1, 1, false), Data::R2t(&bytes));
            io.read(1, 0, 16, 512);
            io.ok(Sqe::flush(1), Data::None);
            io.ok(Sqe::write_zeroes(2, 0, 3, false, false), Data::None);
        }
    }
    eventually("the last of them is recorded", || counted(&rig, 2).len() == 2 && counted(&rig, 2)[1].1 == 3);
    assert_eq!(counted(&rig, 1), [(Kind::Read, 3, 3 * 8192), (Kind::Write, 3, 3 * 4096), (Kind::Flush, 3, 0)]);
    assert_eq!(counted(&rig, 2), [(Kind::Write, 3, 3 * 4096), (Kind::WriteZeroes, 3, 0)]);
    let reactors = rig.served().iter().filter(|served| served.key.nsid == 1).count();
    assert_eq!(reactors, 2, "each reactor has counted for itself");
    for served in rig.served() {
        for kind in served.kinds.iter().filter(|kind| kind.operations() > 0) {
            assert!(kind.nanos > 0 && kind.latencies[BUCKETS - 1] == 0, "{kind:?}");
        }
    }
}

#[test]
fn failures_are_counted_by_status() {
    let rig = Rig::new(&["ram:1MiB,bs=512,ro"]);
    let association = Association::new(&rig);
    let mut io = association.io(1);
    for _ in 0..2 {
        io.fails(Sqe::read(1, 1 << 40, 1), Data::Read(512), Status::LBA_OUT_OF_RANGE.with_dnr());
    }
    let protected = Status::NAMESPACE_IS_WRITE_PROTECTED;
    io.fails(Sqe::write(1, 0, 1, false), Data::Capsule(&[0; 512]), protected.with_dnr());
    // Whatever a host makes up, it is one cell.
    for nsid in [2, 77, 0xffff_0000] {
        io.fails(Sqe::read(nsid, 0, 1), Data::Read(512), Status::INVALID_NAMESPACE.with_dnr());
    }
    let errors = |nsid| rig.served().into_iter().find(|served| served.key.nsid == nsid).expect("it is there").errors;
    assert_eq!(errors(1), [(Some(Status::LBA_OUT_OF_RANGE), 2), (Some(protected), 1)]);
    assert_eq!(errors(0), [(Some(Status::INVALID_NAMESPACE), 3)]);
    assert_eq!(rig.served().len(), 2);
    assert!(counted(&rig, 1).is_empty(), "failures have no latency");
}
