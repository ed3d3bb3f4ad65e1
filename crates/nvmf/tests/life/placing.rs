//! Queues are dealt out to the reactors by what they are, and lose nothing on their way there.

use wire::nvme::{Sqe, Status};
use zerocopy::IntoBytes;

use crate::common::{ALL_DIGESTS, Association, HOST, Raw, Rig, connect_data, eventually, pdu};

/// Reads that each reactor has served.
fn reads(rig: &Rig) -> Vec<u64> {
    let observer = rig.server().observer();
    let of = |served: Vec<qpair_nvmf::stats::Traffic>| served.iter().map(|served| served.kinds[0].operations()).sum();
    observer.reactors().iter().map(|reactor| of(reactor.served())).collect()
}

#[test]
fn hosts_with_one_io_queue_each_share_the_reactors() {
    let rig = Rig::on_two_reactors(&["ram:1MiB,bs=512"]);
    let connect = |_| {
        let association = Association::new(&rig);
        let io = association.io(1);
        (association, io)
    };
    let mut hosts: Vec<_> = (0..4).map(connect).collect();
    for (_, io) in &mut hosts {
        io.read(1, 0, 8, 512);
    }
    eventually("all reads are recorded", || reads(&rig).iter().sum::<u64>() == 4);
    assert_eq!(reads(&rig), [2, 2]);
}

#[test]
fn what_comes_with_a_connect_goes_where_the_connection_goes() {
    let rig = Rig::on_two_reactors(&["ram:1MiB,bs=512"]);
    for digests in ALL_DIGESTS {
        let association = Association::new(&rig);
        let mut open = Vec::new();
        let (mut cut, mut qid) = (0, 1);
        loop {
            // A host that does not wait for answers: ICReq, Connect and a read, torn somewhere.
            let mut bytes = pdu::ic_req(digests, 0);
            let connect = Sqe::connect(qid, 31, 0, 0).with_cid(7);
            bytes.extend(pdu::command(connect, connect_data(association.cntlid).as_bytes(), digests));
            bytes.extend(pdu::command(Sqe::read(1, 0, 1).with_data_by_transport(512).with_cid(8), &[], digests));
            if cut >= bytes.len() {
                break;
            }
            let mut raw = Raw::new(rig.addr);
            raw.send(&bytes[..cut]);
            raw.send(&bytes[cut..]);
            assert_eq!(raw.pdu().ic_resp().dgst, digests.bits());
            raw.digests = digests;
            let connected = raw.pdu().cqe();
            assert_eq!((connected.cid.get(), connected.status()), (7, Status::SUCCESS), "torn at {cut}");
            let read = raw.pdu();
            assert_eq!((read.c2h().cccid.get(), read.data.len()), (8, 512), "torn at {cut}");
            assert_eq!(raw.pdu().cqe().status(), Status::SUCCESS);
            open.push(raw);
            (cut, qid) = (cut + 61, qid + 1);
        }
        assert_eq!(rig.served().iter().filter(|served| served.key.host == HOST).count(), 2, "both reactors have some");
    }
}
