//! H2CData that nobody asked for, or not like this.

use wire::nvme::{Sqe, Status};
use wire::tcp::digest::Digests;
use wire::tcp::pdu::Fes;

use crate::beside_a_bystander;
use crate::common::{ALL_DIGESTS, NO_DIGESTS, Raw, Rig, pattern, pdu, same};

const CID: u16 = 77;
const BYTES: u32 = 8192;

/// An I/O queue with a write of [`BYTES`] whose R2T is out; its tag.
fn asked(rig: &Rig, cntlid: u16, qid: u16, digests: Digests) -> (Raw, u16) {
    let mut io = Raw::io(rig.addr, cntlid, qid, 32, 4, digests);
    io.command(Sqe::write(1, 600, 16, false).with_data_by_transport(BYTES).with_cid(CID), &[]);
    let ttag = io.pdu().r2t().ttag.get();
    (io, ttag)
}

/// H2CData with a header of any content.
struct Wrong {
    what: &'static str,
    fes: Fes,
    cccid: u16,
    /// Added to the right one.
    ttag: u16,
    offset: u32,
    bytes: usize,
    last: bool,
    /// Added to the right one.
    datal: i32,
}

const RIGHT: Wrong = Wrong {
    what: "",
    fes: Fes::SequenceError,
    cccid: CID,
    ttag: 0,
    offset: 0,
    bytes: BYTES as usize,
    last: true,
    datal: 0,
};

const WRONG: [Wrong; 14] = [
    Wrong { what: "another tag of the table", ttag: 1, ..RIGHT },
    Wrong { what: "no tag of the table", ttag: 5000, fes: Fes::InvalidHeaderField, ..RIGHT },
    Wrong { what: "another command", cccid: CID + 1, fes: Fes::InvalidHeaderField, ..RIGHT },
    Wrong { what: "an offset ahead", offset: 4, bytes: 8188, fes: Fes::OutOfRange, ..RIGHT },
    Wrong { what: "an offset at the end", offset: BYTES, bytes: 4, fes: Fes::OutOfRange, ..RIGHT },
    Wrong { what: "an offset that overflows", offset: u32::MAX - 3, bytes: 8, fes: Fes::OutOfRange, ..RIGHT },
    Wrong { what: "4 bytes too many", bytes: 8196, fes: Fes::OutOfRange, ..RIGHT },
    Wrong { what: "as much as MAXH2CDATA", bytes: 128 << 10, fes: Fes::OutOfRange, ..RIGHT },
    Wrong { what: "more than MAXH2CDATA", bytes: (128 << 10) + 4, fes: Fes::LimitExceeded, ..RIGHT },
    Wrong { what: "no LAST on the last", last: false, fes: Fes::InvalidHeaderField, ..RIGHT },
    Wrong { what: "LAST on the first", bytes: 4096, fes: Fes::InvalidHeaderField, ..RIGHT },
    Wrong { what: "no data", bytes: 0, fes: Fes::InvalidHeaderField, ..RIGHT },
    Wrong { what: "DATAL too long", datal: 4, fes: Fes::InvalidHeaderField, ..RIGHT },
    Wrong { what: "DATAL too short", datal: -4, fes: Fes::InvalidHeaderField, ..RIGHT },
];

impl Wrong {
    fn pdu(&self, ttag: u16, digests: Digests) -> Vec<u8> {
        let mut fields = [self.cccid.to_le_bytes(), ttag.wrapping_add(self.ttag).to_le_bytes()].concat();
        fields.extend_from_slice(&self.offset.to_le_bytes());
        fields.extend_from_slice(&(self.bytes as u32).wrapping_add_signed(self.datal).to_le_bytes());
        fields.extend_from_slice(&[0; 4]);
        pdu::pdu(6, if self.last { 4 } else { 0 }, &fields, &pattern(9, self.bytes), digests)
    }
}

#[test]
fn wrong_data_ends_its_connection() {
    beside_a_bystander(|rig| {
        let (mut admin, cntlid) = Raw::admin(rig, NO_DIGESTS);
        let mut qids = (1..=128).cycle();
        for digests in [NO_DIGESTS, ALL_DIGESTS[3]] {
            for wrong in &WRONG {
                let (mut io, ttag) = asked(rig, cntlid, qids.next().expect("endless"), digests);
                io.send(&wrong.pdu(ttag, digests));
                io.is_terminated(wrong.fes, wrong.what);
            }
        }
        assert!(admin.run(Sqe::get_features(7, 0), &[]).cqe.status().is_success());
        let mut io = Raw::io(rig.addr, cntlid, 128, 32, 4, NO_DIGESTS);
        let read = io.run(Sqe::read(1, 600, 16).with_data_by_transport(BYTES), &[]).data;
        same(&read, &[0; BYTES as usize], "nothing of it was written");
    });
}

#[test]
fn data_without_an_r2t_ends_its_connection() {
    beside_a_bystander(|rig| {
        let (_admin, cntlid) = Raw::admin(rig, NO_DIGESTS);
        let data = |cid, ttag| pdu::h2c(cid, ttag, 0, &[1; 512], true, NO_DIGESTS);
        let mut before = Raw::new(rig.addr);
        before.send(&data(0, 0));
        before.is_terminated(Fes::SequenceError, "before ICReq");
        for ttag in [0, 1, 0xffff] {
            let mut before = Raw::open(rig.addr, NO_DIGESTS);
            before.send(&data(0, ttag));
            let fes = if ttag == 0 { Fes::SequenceError } else { Fes::InvalidHeaderField };
            before.is_terminated(fes, "before Connect");
        }
        let (mut held, _) = Raw::admin(rig, NO_DIGESTS);
        held.command(Sqe::async_event().with_cid(9), &[]);
        (0..31).for_each(|ttag| held.send(&data(9, ttag)));
        held.is_terminated(Fes::SequenceError, "for a command without data");
        let (mut admin, _) = Raw::admin(rig, NO_DIGESTS);
        admin.send(&data(0, 0));
        admin.is_terminated(Fes::SequenceError, "on an admin queue");
        let mut reading = Raw::io(rig.addr, cntlid, 1, 32, 0, NO_DIGESTS);
        let read = pdu::command(Sqe::read(1, 600, 256).with_data_by_transport(128 << 10), &[], NO_DIGESTS);
        reading.send(&[read, data(0, 0)].concat());
        reading.is_terminated(Fes::SequenceError, "for a read");
        let (mut done, ttag) = asked(rig, cntlid, 2, NO_DIGESTS);
        let all = pdu::h2c(CID, ttag, 0, &[0; BYTES as usize], true, NO_DIGESTS);
        done.send(&all);
        assert_eq!(done.pdu().cqe().status(), Status::SUCCESS);
        done.send(&all);
        done.is_terminated(Fes::SequenceError, "after the command was over");
        let (mut twice, ttag) = asked(rig, cntlid, 3, NO_DIGESTS);
        let all = pdu::h2c(CID, ttag, 0, &[0; BYTES as usize], true, NO_DIGESTS);
        twice.send(&[all.clone(), all].concat());
        twice.is_terminated(Fes::SequenceError, "twice");
    });
}
