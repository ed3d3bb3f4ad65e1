//! Headers that break a rule: the term request that says which, then the end.

use wire::nvme::Sqe;
use wire::tcp::digest::{Crc32c, Digests};
use wire::tcp::pdu::{Fes, kind};
use zerocopy::IntoBytes;

use crate::beside_a_bystander;
use crate::common::{ALL_DIGESTS, ANY_CONTROLLER, NO_DIGESTS, Raw, Rig, connect_data, pdu};

/// What is wrong, how it is answered, and how a right PDU becomes it.
type Case = (&'static str, Fes, fn(&mut Vec<u8>));

fn set_plen(bytes: &mut [u8], plen: u32) {
    bytes[4..8].copy_from_slice(&plen.to_le_bytes());
}

const IC_REQ: [Case; 17] = [
    ("hlen 0", Fes::InvalidHeaderField, |bytes| bytes[2] = 0),
    ("hlen 127", Fes::InvalidHeaderField, |bytes| bytes[2] = 127),
    ("hlen 129", Fes::InvalidHeaderField, |bytes| bytes[2] = 129),
    ("hlen 255", Fes::InvalidHeaderField, |bytes| bytes[2] = 255),
    ("pdo", Fes::InvalidHeaderField, |bytes| bytes[3] = 128),
    ("plen 0", Fes::InvalidHeaderField, |bytes| set_plen(bytes, 0)),
    ("plen 127", Fes::InvalidHeaderField, |bytes| set_plen(bytes, 127)),
    ("plen 129", Fes::InvalidHeaderField, |bytes| set_plen(bytes, 129)),
    ("plen 4 GiB", Fes::InvalidHeaderField, |bytes| set_plen(bytes, u32::MAX)),
    ("a header digest", Fes::InvalidHeaderField, |bytes| bytes[1] = 1),
    ("a data digest", Fes::InvalidHeaderField, |bytes| bytes[1] = 2),
    ("version 1", Fes::UnsupportedParameter, |bytes| bytes[8] = 1),
    ("version 256", Fes::UnsupportedParameter, |bytes| bytes[9] = 1),
    ("HPDA 32", Fes::InvalidHeaderField, |bytes| bytes[10] = 32),
    ("HPDA 255", Fes::InvalidHeaderField, |bytes| bytes[10] = 255),
    ("a command first", Fes::SequenceError, |bytes| bytes[0] = kind::CAPSULE_CMD),
    ("an unknown type", Fes::InvalidHeaderField, |bytes| bytes[0] = 0x0a),
];

/// Changes to a command of 512 bytes in its capsule, without regard to digests.
const COMMAND: [Case; 21] = [
    ("hlen 0", Fes::InvalidHeaderField, |bytes| bytes[2] = 0),
    ("hlen 8", Fes::InvalidHeaderField, |bytes| bytes[2] = 8),
    ("hlen 71", Fes::InvalidHeaderField, |bytes| bytes[2] = 71),
    ("hlen 73", Fes::InvalidHeaderField, |bytes| bytes[2] = 73),
    ("hlen 255", Fes::InvalidHeaderField, |bytes| bytes[2] = 255),
    ("pdo 0", Fes::InvalidHeaderField, |bytes| bytes[3] = 0),
    ("pdo in the header", Fes::InvalidHeaderField, |bytes| bytes[3] = 24),
    ("pdo in the data", Fes::InvalidHeaderField, |bytes| bytes[3] += 4),
    ("pdo 255", Fes::InvalidHeaderField, |bytes| bytes[3] = 255),
    ("plen 0", Fes::InvalidHeaderField, |bytes| set_plen(bytes, 0)),
    ("plen 8", Fes::InvalidHeaderField, |bytes| set_plen(bytes, 8)),
    ("plen 71", Fes::InvalidHeaderField, |bytes| set_plen(bytes, 71)),
    ("plen of too much data", Fes::InvalidHeaderField, |bytes| set_plen(bytes, 72 + 8 + 8193)),
    ("plen 2 GiB", Fes::InvalidHeaderField, |bytes| set_plen(bytes, 1 << 31)),
    ("plen 4 GiB", Fes::InvalidHeaderField, |bytes| set_plen(bytes, u32::MAX)),
    ("another header digest flag", Fes::InvalidHeaderField, |bytes| bytes[1] ^= 1),
    ("another data digest flag", Fes::InvalidHeaderField, |bytes| bytes[1] ^= 2),
    ("ICReq again", Fes::SequenceError, |bytes| bytes[0] = kind::IC_REQ),
    ("a response", Fes::SequenceError, |bytes| bytes[0] = kind::CAPSULE_RESP),
    ("an R2T", Fes::SequenceError, |bytes| bytes[0] = kind::R2T),
    ("type 08h", Fes::InvalidHeaderField, |bytes| bytes[0] = 0x08),
];

fn check(rig: &Rig, mut raw: Raw, right: &[u8], (what, fes, change): Case) {
    let protocol_errors = || rig.target.counters.protocol_errors.load(std::sync::atomic::Ordering::Relaxed);
    let before = protocol_errors();
    let mut bytes = right.to_vec();
    change(&mut bytes);
    raw.send(&bytes);
    raw.is_terminated(fes, what);
    assert_eq!(protocol_errors(), before + 1, "{what}");
}

#[test]
fn the_first_pdu() {
    beside_a_bystander(|rig| {
        for case in IC_REQ {
            check(rig, Raw::new(rig.addr), &pdu::ic_req(NO_DIGESTS, 0), case);
        }
    });
}

#[test]
fn command_capsules() {
    beside_a_bystander(|rig| {
        let (_admin, cntlid) = Raw::admin(rig, NO_DIGESTS);
        let mut qids = (1..=128).cycle();
        for digests in [NO_DIGESTS, ALL_DIGESTS[3]] {
            let write = Sqe::write(1, 600, 1, false).with_data_in_capsule(512);
            let connect = Sqe::connect(0, 31, 0, 0);
            let first = pdu::command(connect, connect_data(ANY_CONTROLLER).as_bytes(), digests);
            for case in COMMAND {
                // As the first command, and as one of many.
                check(rig, Raw::open(rig.addr, digests), &first, case);
                let io = Raw::io(rig.addr, cntlid, qids.next().expect("endless"), 32, 4, digests);
                check(rig, io, &pdu::command(write, &[1; 512], digests), case);
                let (admin, _) = Raw::admin(rig, digests);
                check(rig, admin, &pdu::command(Sqe::keep_alive(), &[1; 512], digests), case);
            }
        }
    });
}

/// All combinations of lengths, offsets and digest flags: whatever is not right ends the connection, and nothing hangs.
#[test]
fn every_combination_of_lengths() {
    beside_a_bystander(|rig| {
        for digests in [NO_DIGESTS, Digests { header: true, data: false }] {
            for kind in [0x04, 0x06] {
                for hlen in [0, 8, 24, 72, 128, 255] {
                    for pdo in [0, 24, 28, 72, 76, 255] {
                        let mut bytes = vec![kind, digests.bits(), hlen, pdo];
                        // Some of these are right; as commands they are refused, and the connection closed by us.
                        bytes.extend_from_slice(&(if pdo == 0 { 24u32 } else { 1 << 20 }).to_le_bytes());
                        bytes.resize(128, 0);
                        let digest = Crc32c::of(&bytes[..72]);
                        bytes[72..76].copy_from_slice(&digest);
                        let mut raw = Raw::open(rig.addr, digests);
                        raw.send(&bytes);
                        raw.finish_sending();
                        raw.is_closed();
                    }
                }
            }
        }
    });
}

/// A peer's own term request is the end, without another word.
#[test]
fn a_term_request_ends_the_connection() {
    beside_a_bystander(|rig| {
        let (_admin, cntlid) = Raw::admin(rig, NO_DIGESTS);
        let term = |bytes: usize| pdu::pdu(kind::H2C_TERM_REQ, 0, &[0; 16], &vec![0; bytes], NO_DIGESTS);
        for (qid, quoted) in [(1, 0), (2, 24), (3, 128)] {
            let mut bytes = term(quoted);
            bytes[3] = 0;
            for mut raw in
                [Raw::new(rig.addr), Raw::open(rig.addr, NO_DIGESTS), Raw::io(rig.addr, cntlid, qid, 32, 4, NO_DIGESTS)]
            {
                raw.send(&bytes);
                assert!(raw.try_pdu().is_none());
            }
        }
        let mut long = Raw::open(rig.addr, NO_DIGESTS);
        long.send(&term(129));
        long.is_terminated(Fes::InvalidHeaderField, "a term request of 153 bytes");
    });
}
