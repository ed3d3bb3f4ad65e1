//! Valid sessions, cut at every byte.

use wire::nvme::{Cc, LogRequest, NSID_ALL, Sqe, property};
use wire::tcp::digest::Digests;
use zerocopy::IntoBytes;

use crate::beside_a_bystander;
use crate::common::{ALL_DIGESTS, ANY_CONTROLLER, NO_DIGESTS, Raw, Rig, connect_data, pattern, pdu};

/// What a host sends on an admin connection.
fn admin_session(digests: Digests) -> Vec<u8> {
    let mut session = pdu::ic_req(digests, 0);
    let data = connect_data(ANY_CONTROLLER);
    let log = LogRequest { lid: 2, lsp: 0, rae: false, offset: 0, bytes: 512, nsid: NSID_ALL };
    let commands: [(Sqe, &[u8]); 7] = [
        (Sqe::connect(0, 31, 60_000, 0), data.as_bytes()),
        (Sqe::property_get(property::CAP, true), &[]),
        (Sqe::property_set(property::CC, false, Cc::enable().0.into()), &[]),
        (Sqe::identify(1, 0, 0, 0), &[]),
        (Sqe::async_event(), &[]),
        (Sqe::get_log(log), &[]),
        (Sqe::keep_alive(), &[]),
    ];
    for (cid, (sqe, data)) in (0..).zip(commands) {
        session.extend(pdu::command(sqe.with_cid(cid), data, digests));
    }
    session
}

#[test]
fn an_admin_session_leaves_no_controller() {
    beside_a_bystander(|rig| {
        for digests in [NO_DIGESTS, ALL_DIGESTS[3]] {
            let session = admin_session(digests);
            for cut in (0..session.len()).filter(|cut| digests == NO_DIGESTS || cut % 5 == 0) {
                let mut raw = Raw::new(rig.addr);
                raw.send(&session[..cut]);
                if cut % 3 == 0 {
                    // Some read what they are told, the others reset the connection by not reading it.
                    raw.digests = digests;
                    raw.finish_sending();
                    raw.is_closed();
                }
            }
        }
    });
}

/// What a host sends on an I/O connection, up to the data that an R2T asked for.
fn io_session(cntlid: u16, qid: u16, digests: Digests) -> Vec<u8> {
    let mut session = pdu::ic_req(digests, 0);
    session.extend(pdu::command(Sqe::connect(qid, 31, 0, 4), connect_data(cntlid).as_bytes(), digests));
    let in_capsule = Sqe::write(1, 600, 1, true).with_data_in_capsule(512).with_cid(1);
    session.extend(pdu::command(in_capsule, &pattern(1, 512), digests));
    session.extend(pdu::command(Sqe::read(1, 600, 1).with_data_by_transport(512).with_cid(2), &[], digests));
    let by_r2t = Sqe::write(1, 600, 256, false).with_data_by_transport(128 << 10).with_cid(3);
    session.extend(pdu::command(by_r2t, &[], digests));
    session
}

#[test]
fn an_io_session_leaves_no_buffer() {
    beside_a_bystander(|rig| {
        let (_admin, cntlid) = Raw::admin(rig, NO_DIGESTS);
        let mut qids = (1..=128).cycle();
        let mut next_qid = || qids.next().expect("endless");
        for digests in [NO_DIGESTS, ALL_DIGESTS[3]] {
            let length = io_session(cntlid, 1, digests).len();
            for cut in (0..length).step_by(3) {
                Raw::new(rig.addr).send(&io_session(cntlid, next_qid(), digests)[..cut]);
            }
            // The header of the data, a few of its bytes, around the places where a receive ends, and the last ones.
            let data = 24 + (128 << 10) + usize::from(digests.header) * 8;
            for cut in (0..40).chain([16_000, 16_384, 65_536, 100_000]).chain(data - 8..data) {
                cut_in_the_data(rig, cntlid, next_qid(), digests, cut);
            }
        }
    });
}

fn cut_in_the_data(rig: &Rig, cntlid: u16, qid: u16, digests: Digests, cut: usize) {
    let mut raw = Raw::new(rig.addr);
    raw.send(&pdu::ic_req(digests, 0));
    raw.pdu();
    raw.digests = digests;
    raw.send(&io_session(cntlid, qid, digests)[128..]);
    let ttag = loop {
        let pdu = raw.pdu();
        if pdu.ch.kind == wire::tcp::pdu::kind::R2T {
            break pdu.r2t().ttag.get();
        }
    };
    let bytes = pdu::h2c(3, ttag, 0, &pattern(2, 128 << 10), true, digests);
    raw.send(&bytes[..cut]);
}
