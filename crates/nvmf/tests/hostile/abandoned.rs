//! Connections that are given up at any step.

use wire::nvme::{ConnectData, Sqe};
use zerocopy::IntoBytes;

use crate::beside_a_bystander;
use crate::common::{ALL_DIGESTS, ANY_CONTROLLER, NO_DIGESTS, Raw, Rig, connect_data, pattern, pdu};

/// How far a connection gets before it is closed.
const STEPS: usize = 14;

/// Takes a new connection as far as `step`; it is closed by dropping it. Answers that were not read make that a reset.
fn up_to(step: usize, rig: &Rig, cntlid: u16, qid: u16) {
    let digests = ALL_DIGESTS[step % 4];
    let connect = Sqe::connect(0, 31, 0, 0);
    let data: ConnectData = connect_data(ANY_CONTROLLER);
    match step {
        0 => drop(Raw::new(rig.addr)),
        1 => Raw::new(rig.addr).send(&pdu::ic_req(digests, 0)[..60]),
        2 => Raw::new(rig.addr).send(&pdu::ic_req(digests, 0)),
        3 => drop(Raw::open(rig.addr, digests)),
        4 => Raw::open(rig.addr, digests).send(&pdu::command(connect, data.as_bytes(), digests)[..500]),
        5 => Raw::open(rig.addr, digests).command(connect, data.as_bytes()),
        6 => drop(Raw::admin(rig, digests)),
        7 => Raw::admin(rig, digests).0.command(Sqe::async_event(), &[]),
        8 => {
            let mut admin = Raw::admin(rig, digests).0;
            (0..20).for_each(|cid| admin.command(Sqe::identify(1, 0, 0, 0).with_cid(cid), &[]));
        }
        _ => {
            let mut io = Raw::io(rig.addr, cntlid, qid, 64, 4, digests);
            let read = Sqe::read(1, 600, 256).with_data_by_transport(128 << 10);
            let write = Sqe::write(1, 600, 256, false).with_data_by_transport(128 << 10);
            match step {
                9 => drop(io),
                10 => (0..40).for_each(|cid| io.command(read.with_cid(cid), &[])),
                11 => (0..40).for_each(|cid| io.command(write.with_cid(cid), &[])),
                12 => {
                    let capsule = Sqe::write(1, 600, 16, false).with_data_in_capsule(8192);
                    io.send(&pdu::command(capsule, &pattern(1, 8192), digests)[..5000]);
                }
                _ => {
                    io.command(write, &[]);
                    let ttag = io.pdu().r2t().ttag.get();
                    let bytes = pdu::h2c(0, ttag, 0, &pattern(1, 128 << 10), true, digests);
                    io.send(&bytes[..70_000]);
                }
            }
        }
    }
}

#[test]
fn a_connection_may_be_closed_at_any_step() {
    beside_a_bystander(|rig| {
        let (_admin, cntlid) = Raw::admin(rig, NO_DIGESTS);
        let mut qids = (1..=128).cycle();
        for _round in 0..4 {
            for step in 0..STEPS {
                up_to(step, rig, cntlid, qids.next().expect("endless"));
            }
        }
    });
}

/// An association whose connections are closed in any order, from both reactors at once, ends once.
#[test]
fn associations_end_once() {
    beside_a_bystander(|rig| {
        for round in 0..20 {
            let (admin, cntlid) = Raw::admin(rig, NO_DIGESTS);
            let mut queues: Vec<Raw> = (1..=4).map(|qid| Raw::io(rig.addr, cntlid, qid, 16, 4, NO_DIGESTS)).collect();
            let read = Sqe::read(1, 600, 256).with_data_by_transport(128 << 10);
            queues.iter_mut().for_each(|io| io.command(read, &[]));
            queues.truncate(round % 5);
            drop(admin);
            queues.iter_mut().for_each(Raw::is_closed);
        }
    });
}
