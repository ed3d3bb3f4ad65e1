//! Aborts that are under way when something else happens: a device that does not give back, a connection that ends, a
//! reset, a stop.

use machine::reactor::Mode;
use qpair_nvmf::Subsystem;
use wire::nvme::{Cc, Sqe, Status, cns, property};

use super::slow::{Slow, submitted};
use crate::common::{NO_DIGESTS, NQN, Raw, Rig};

const NOT_ABORTED: u64 = 1;

/// A device that finishes what it has begun, an admin queue, and an I/O queue with nine writes at the device.
fn busy() -> (Rig, Raw, Raw) {
    let rig = Rig::with(Subsystem::new(NQN, vec![Slow::very()]), 2, Mode::Shared);
    let (admin, cntlid) = Raw::admin(&rig, NO_DIGESTS);
    let io = submitted(rig.addr, cntlid, 1);
    (rig, admin, io)
}

#[test]
fn the_device_has_the_last_word_and_the_limit_holds() {
    let (_rig, mut admin, mut io) = busy();
    let identify = Sqe::identify(cns::CONTROLLER, 0, 0, 0).with_data_by_transport(4096);
    let acl = u16::from(admin.run(identify, &[]).data[258]);
    (0..=acl + 1).for_each(|at| admin.command(Sqe::abort(1, 1 + at % 4).with_cid(100 + at), &[]));
    let refused = admin.pdu().cqe();
    assert_eq!((refused.cid.get(), refused.status()), (101 + acl, Status::ABORT_COMMAND_LIMIT));
    for _ in 0..=acl {
        let cqe = admin.pdu().cqe();
        assert_eq!((cqe.status(), cqe.result()), (Status::SUCCESS, NOT_ABORTED));
    }
    for cid in 1..10 {
        let cqe = io.pdu().cqe();
        assert_eq!((cqe.cid.get(), cqe.status()), (cid, Status::SUCCESS));
    }
    // There is room again.
    assert_eq!(admin.run(Sqe::abort(1, 1), &[]).cqe.status(), Status::SUCCESS);
}

#[test]
fn an_abort_ends_with_the_connection_it_is_for() {
    let (_rig, mut admin, io) = busy();
    admin.command(Sqe::abort(1, 1).with_cid(1), &[]);
    drop(io);
    let cqe = admin.pdu().cqe();
    assert_eq!((cqe.cid.get(), cqe.status(), cqe.result()), (1, Status::SUCCESS, NOT_ABORTED));
}

#[test]
fn an_abort_ends_with_a_reset() {
    let (_rig, mut admin, _io) = busy();
    admin.command(Sqe::abort(1, 1).with_cid(1), &[]);
    let disable = Cc::enable().with_en(false).0.into();
    admin.command(Sqe::property_set(property::CC, false, disable).with_cid(2), &[]);
    let ends: Vec<_> = (0..2).map(|_| admin.pdu().cqe()).map(|cqe| (cqe.cid.get(), cqe.status())).collect();
    assert_eq!(ends, [(1, Status::ABORTED_SQ_DELETION), (2, Status::SUCCESS)]);
}

#[test]
fn nothing_waits_for_an_abort() {
    let (rig, mut admin, _io) = busy();
    admin.command(Sqe::abort(1, 1).with_cid(1), &[]);
    drop(admin);
    rig.await_controllers(0);
    let (mut rig, mut admin, _io) = busy();
    admin.command(Sqe::abort(1, 1).with_cid(1), &[]);
    rig.stop();
}
