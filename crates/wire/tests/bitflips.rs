//! One bit of a PDU is wrong: with digests in use it never passes unnoticed.

mod support;

use qpair_wire::nvme::{Sqe, Status};
use qpair_wire::tcp::digest::Digests;
use support::harness::cause;
use support::raw::{WRITE_BYTES, WRITE_CID, c2h, command, h2c, idle_target, initiator, r2t, response, target};
use support::receive::{Entry, Inbox, Machine, Way};

const BOTH: Digests = Digests { header: true, data: true };

fn log_of(mut machine: impl Machine, bytes: &[u8]) -> Vec<Entry> {
    let mut inbox = Inbox::new(Way::Whole);
    inbox.push(&mut machine, bytes, &mut vec![], |_, _, _| {});
    inbox.log
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

/// Any wrong bit of a header or of its digest ends the connection.
fn header_bits<M: Machine>(machine: impl Fn() -> M, pdu: &[u8]) {
    let header = usize::from(pdu[2]) + 4;
    assert_eq!(cause(&log_of(machine(), pdu)), None, "as it is, it is right");
    for bit in 0..header * 8 {
        // A longer plen alone would wait for bytes; they come in the end.
        let mut bytes = flipped(pdu, bit);
        bytes.resize(bytes.len() + 16 * 1024, 0);
        assert!(cause(&log_of(machine(), &bytes)).is_some(), "bit {bit}");
    }
}

#[test]
fn every_header_bit() {
    header_bits(|| idle_target(BOTH), &command(Sqe::flush(1), &[], BOTH));
    header_bits(|| idle_target(BOTH), &command(Sqe::write(1, 0, 1, false), &[5; 512], BOTH));
    header_bits(|| target(BOTH), &h2c(WRITE_CID, 0, 0, &[5; 512], false, BOTH));
    header_bits(|| initiator(BOTH), &response(2, Status::SUCCESS, BOTH));
    header_bits(|| initiator(BOTH), &r2t(1, 3, 0, 8192, BOTH));
    header_bits(|| initiator(BOTH), &c2h(0, 0, &[5; 512], 0, BOTH));
}

#[test]
fn every_bit_of_data_in_a_capsule() {
    let pdu = command(Sqe::write(1, 0, 1, false), &[5; 64], BOTH);
    for bit in (72 + 4) * 8..pdu.len() * 8 {
        let log = log_of(idle_target(BOTH), &flipped(&pdu, bit));
        assert!(matches!(log[..], [Entry::Command { digest_ok: false, .. }]), "bit {bit}");
    }
}

#[test]
fn every_bit_of_h2cdata() {
    // The wrong PDU is the first of two: the answer comes with the end of the R2T.
    let half = vec![5; WRITE_BYTES as usize / 2];
    let last = h2c(WRITE_CID, 0, WRITE_BYTES / 2, &half, true, BOTH);
    let first = h2c(WRITE_CID, 0, 0, &half, false, BOTH);
    let in_tail = (first.len() - 40) * 8..first.len() * 8;
    for bit in (28 * 8..30 * 8).chain(in_tail) {
        let log = log_of(target(BOTH), &[flipped(&first, bit), last.clone()].concat());
        assert!(matches!(log[..], [.., Entry::Received { digest_ok: false, .. }]), "bit {bit}");
    }
    let log = log_of(target(BOTH), &[first, last].concat());
    assert!(matches!(log[..], [.., Entry::Received { digest_ok: true, .. }]));
}

#[test]
fn every_bit_of_c2hdata() {
    let end = response(0, Status::SUCCESS, BOTH);
    let pdu = c2h(0, 0, &[5; 8192], 0x04, BOTH);
    let in_tail = (pdu.len() - 40) * 8..pdu.len() * 8;
    for bit in (28 * 8..30 * 8).chain(in_tail) {
        let log = log_of(initiator(BOTH), &[flipped(&pdu, bit), end.clone()].concat());
        assert!(matches!(log[..], [Entry::Data { .. }, Entry::Completed { digest_ok: false, .. }]), "bit {bit}");
    }
    // With SUCCESS the end is synthesized, and knows it too.
    let pdu = c2h(0, 0, &[5; 8192], 0x0c, BOTH);
    let log = log_of(initiator(BOTH), &flipped(&pdu, 100 * 8));
    assert!(matches!(log[..], [Entry::Data { .. }, Entry::Completed { digest_ok: false, .. }]));
}
