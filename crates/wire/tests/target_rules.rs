//! What a target refuses, tolerates and answers, rule by rule.

mod support;

use qpair_wire::nvme::{FABRICS, Sqe, Status};
use qpair_wire::tcp::controller::{Controller, Event, Limits, Phase, RequestState};
use qpair_wire::tcp::digest::Digests;
use qpair_wire::tcp::limits::{ADMIN_IN_CAPSULE_BYTES, MAX_QUEUE_DEPTH};
use qpair_wire::tcp::pdu::Fes;
use qpair_wire::tcp::{Cause, Fed, Slot};
use support::harness::ic_pdu;
use support::peers::{IN_CAPSULE, MAX_H2C, all_digests, limits};
use support::raw::*;

const PLAIN: Digests = Digests { header: false, data: false };

fn command_of(fed: Fed<Event<'_>>) -> (Slot, usize, bool) {
    match fed.event {
        Some(Event::Command { slot, data, duplicate, .. }) => (slot, data.len(), duplicate),
        event => panic!("{event:?}"),
    }
}

#[test]
fn icreq_field_by_field() {
    let refused = |at: usize, value: u8| {
        let mut request = ic_pdu(0, 0);
        request[at] = value;
        let violation = refused_by_target(&mut Controller::new(limits()), &request);
        (violation.fes, violation.fei)
    };
    assert_eq!(refused(8, 1), (Fes::UnsupportedParameter, 8), "PFV");
    assert_eq!(refused(9, 1), (Fes::UnsupportedParameter, 8), "PFV");
    assert_eq!(refused(10, 32), (Fes::InvalidHeaderField, 10), "HPDA");
    assert_eq!(refused(10, 255), (Fes::InvalidHeaderField, 10), "HPDA");
    // Any number of R2Ts is more than we use; reserved bytes and bits are not looked at.
    for at in [12, 13, 14, 15, 16, 127] {
        let mut request = ic_pdu(0, 0);
        request[at] = 255;
        request[11] = 0xfc;
        let mut machine = Controller::new(limits());
        assert_eq!(machine.feed(&request, &mut vec![]).event, Some(Event::Initialized));
        assert_eq!(machine.digests(), PLAIN);
    }
}

#[test]
fn icresp_has_only_what_was_asked_for_and_is_allowed() {
    for asked in all_digests() {
        for allowed in all_digests() {
            let limits = Limits { allow_header_digest: allowed.header, allow_data_digest: allowed.data, ..limits() };
            let mut machine = Controller::new(limits);
            let mut out = vec![];
            let request = ic_pdu(0, asked.bits());
            let fed = machine.feed(&request, &mut out);
            assert_eq!((fed.consumed, fed.event), (128, Some(Event::Initialized)));
            let mut expected = [0; 128];
            expected[..5].copy_from_slice(&[1, 0, 128, 0, 128]);
            // PFV 0, CPDA 0.
            expected[11] = asked.bits() & allowed.bits();
            expected[12..16].copy_from_slice(&MAX_H2C.to_le_bytes());
            assert_eq!(out, expected);
        }
    }
}

#[test]
fn maxh2cdata_must_be_one_that_linux_takes() {
    for (bytes, right) in [(4096, true), (4100, true), (4095, false), (4098, false), (4092, false), (0, false)] {
        let made = std::panic::catch_unwind(|| Controller::new(Limits { max_h2c_bytes: bytes, ..limits() }));
        assert_eq!(made.is_ok(), right, "{bytes}");
    }
}

#[test]
fn c2hdata_starts_where_the_host_wants_it() {
    for digests in all_digests() {
        for hpda in 0..=31 {
            let mut machine = Controller::new(limits());
            let mut request = ic_pdu(0, digests.bits());
            request[10] = hpda;
            machine.feed(&request, &mut vec![]);
            machine.feed(&command(Sqe::flush(1), &[], digests), &mut vec![]);
            let mut out = vec![];
            machine.send_data(Slot(0), 0, 512, true, &mut out);
            let alignment = (usize::from(hpda) + 1) * 4;
            assert!(out.len() % alignment == 0 && out.len() - 24 - digests.header_bytes() < alignment);
            assert_eq!(usize::from(out[3]), out.len(), "pdo");
            let plen = u32::from_le_bytes(out[4..8].try_into().unwrap()) as usize;
            assert_eq!(plen, out.len() + 512 + digests.data_bytes());
        }
    }
}

#[test]
fn a_second_icreq_is_out_of_sequence() {
    for mut machine in [handshake(PLAIN), idle_target(PLAIN)] {
        assert_eq!(refused_by_target(&mut machine, &ic_pdu(0, 0)).fes, Fes::SequenceError);
    }
}

#[test]
fn in_capsule_data_is_limited() {
    let write = Sqe::write(1, 0, 1, false);
    let fabrics = Sqe { opcode: FABRICS, ..Sqe::default() };
    let limit = IN_CAPSULE as usize / 4;
    for digests in all_digests() {
        for (sqe, most) in [(write, limit), (fabrics, ADMIN_IN_CAPSULE_BYTES as usize)] {
            let mut machine = idle_target(digests);
            let fits = command(sqe, &vec![1; most], digests);
            assert_eq!(command_of(machine.feed(&fits, &mut vec![])), (Slot(0), most, false));
            // One byte more: the header alone is enough to refuse it.
            let header = 72 + digests.header_bytes();
            let long = command(sqe, &vec![1; most + 1], digests);
            let violation = refused_by_target(&mut idle_target(digests), &long[..header]);
            assert_eq!((violation.fes, violation.fei), (Fes::InvalidHeaderField, 4));
        }
        // Before Connect, and on the Admin queue, any command may have 8 KiB.
        let fits = command(write, &[1; 8192], digests);
        assert_eq!(command_of(handshake(digests).feed(&fits, &mut vec![])).1, 8192);
        assert!(limits().largest_piece_bytes() >= fits.len());
    }
}

#[test]
fn one_command_before_the_queue_exists_then_as_many_as_it_takes() {
    let flush = |cid| command(Sqe::flush(1).with_cid(cid), &[], PLAIN);
    let mut machine = handshake(PLAIN);
    assert_eq!(command_of(machine.feed(&flush(0), &mut vec![])).0, Slot(0));
    assert_eq!(refused_by_target(&mut machine, &flush(1)).fes, Fes::SequenceError);

    let mut machine = handshake(PLAIN);
    machine.feed(&flush(0), &mut vec![]);
    machine.set_queue(MAX_QUEUE_DEPTH, false, IN_CAPSULE, true);
    for cid in 1..MAX_QUEUE_DEPTH {
        assert_eq!(command_of(machine.feed(&flush(cid), &mut vec![])), (Slot(cid), 0, false));
    }
    assert_eq!(machine.in_flight(), u32::from(MAX_QUEUE_DEPTH));
    assert_eq!(refused_by_target(&mut machine, &flush(7)).fes, Fes::SequenceError);
}

#[test]
fn a_duplicate_identifier_is_marked_and_leaves_the_first_command_alone() {
    let flush = |cid| command(Sqe::flush(1).with_cid(cid), &[], PLAIN);
    let mut machine = idle_target(PLAIN);
    assert_eq!(command_of(machine.feed(&flush(0xffff), &mut vec![])), (Slot(0), 0, false));
    assert_eq!(command_of(machine.feed(&flush(0xffff), &mut vec![])), (Slot(1), 0, true));
    let mut out = vec![];
    machine.respond(Slot(1), Status::COMMAND_ID_CONFLICT, 0, &mut out);
    assert_eq!(out, changed(response(0xffff, Status::COMMAND_ID_CONFLICT, PLAIN), 24, PLAIN, |pdu| pdu[16] = 2));
    // Still in flight.
    assert_eq!(command_of(machine.feed(&flush(0xffff), &mut vec![])), (Slot(1), 0, true));
    machine.respond(Slot(1), Status::COMMAND_ID_CONFLICT, 0, &mut out);
    machine.respond(Slot(0), Status::SUCCESS, 0, &mut out);
    assert_eq!(command_of(machine.feed(&flush(0xffff), &mut vec![])), (Slot(0), 0, false));
}

#[test]
fn r2t_as_drawn() {
    for digests in all_digests() {
        let mut machine = idle_target(digests);
        machine.feed(&command(Sqe::flush(1).with_cid(0x1234), &[], digests), &mut vec![]);
        let mut out = vec![];
        machine.request_data(Slot(0), 4096, &mut out);
        assert_eq!(out, r2t(0x1234, 0, 0, 4096, digests));
        assert_eq!(machine.state(Slot(0)), RequestState::AwaitingData);
    }
}

/// H2CData for the write of [`target`], of which `change` makes something else.
fn wrong_h2c(digests: Digests, at: u32, bytes: u32, last: bool, change: impl FnOnce(&mut [u8])) -> (Fes, u32) {
    let good = h2c(WRITE_CID, 0, at, &vec![1; bytes as usize], last, digests);
    let bad = changed(good, 24, digests, change);
    // The header alone is enough.
    let violation = refused_by_target(&mut target(digests), &bad[..24 + digests.header_bytes()]);
    (violation.fes, violation.fei)
}

#[test]
fn h2cdata_that_no_r2t_asked_for() {
    for digests in all_digests() {
        let wrong = |at, bytes, last| wrong_h2c(digests, at, bytes, last, |_| {});
        assert_eq!(wrong_h2c(digests, 0, 4096, false, |pdu| pdu[10] = 1), (Fes::SequenceError, 0), "free slot");
        assert_eq!(wrong_h2c(digests, 0, 4096, false, |pdu| pdu[10] = 4), (Fes::InvalidHeaderField, 10), "ttag");
        assert_eq!(wrong_h2c(digests, 0, 4096, false, |pdu| pdu[11] = 255), (Fes::InvalidHeaderField, 10), "ttag");
        assert_eq!(wrong_h2c(digests, 0, 4096, false, |pdu| pdu[8] ^= 1), (Fes::InvalidHeaderField, 8), "cccid");
        assert_eq!(wrong_h2c(digests, 0, 4096, false, |pdu| pdu[16] = 1), (Fes::InvalidHeaderField, 16), "datal");
        assert_eq!(wrong_h2c(digests, 0, 4096, false, |pdu| pdu[19] = 128), (Fes::InvalidHeaderField, 16), "datal");
        assert_eq!(wrong(4, 4096, false), (Fes::OutOfRange, 0), "a gap");
        assert_eq!(wrong(u32::MAX - 4095, 4096, true), (Fes::OutOfRange, 0), "far away");
        assert_eq!(wrong(0, MAX_H2C + 1, false), (Fes::LimitExceeded, 0), "beyond MAXH2CDATA");
        assert_eq!(wrong(0, 4096, true), (Fes::InvalidHeaderField, 1), "LAST_PDU too early");
    }
}

#[test]
fn h2cdata_at_the_end_of_its_r2t() {
    let half = vec![1; WRITE_BYTES as usize / 2];
    for digests in all_digests() {
        let with_half = || {
            let mut machine = target(digests);
            let first = h2c(WRITE_CID, 0, 0, &half, false, digests);
            let fed = machine.feed(&first, &mut vec![]);
            assert!(matches!(fed.event, Some(Event::Data { offset: 0, .. })));
            assert_eq!(machine.feed(&first[fed.consumed..], &mut vec![]).event, None);
            machine
        };
        let refused = |offset, data: &[u8], last| {
            let pdu = h2c(WRITE_CID, 0, offset, data, last, digests);
            let violation = refused_by_target(&mut with_half(), &pdu[..24 + digests.header_bytes()]);
            (violation.fes, violation.fei)
        };
        assert_eq!(refused(0, &half, true), (Fes::OutOfRange, 0), "the first again");
        assert_eq!(refused(4096, &half, false), (Fes::InvalidHeaderField, 1), "LAST_PDU missing");
        assert_eq!(refused(4095, &half, true), (Fes::OutOfRange, 0), "an overlap");
        // Two R2Ts of 4,092 and 8 bytes: the second H2CData would go beyond.
        let mut machine = idle_target(digests);
        machine.feed(&command(Sqe::flush(1), &[], digests), &mut vec![]);
        machine.request_data(Slot(0), 8, &mut vec![]);
        let violation = refused_by_target(&mut machine, &h2c(0, 0, 0, &[1; 12], true, digests));
        assert_eq!(violation.fes, Fes::OutOfRange);
    }
}

#[test]
fn h2cdata_in_every_state_that_does_not_await_it() {
    let data = h2c(WRITE_CID, 0, 0, &[1; 8], false, PLAIN);
    // Before the handshake, before Connect, without a command.
    assert_eq!(refused_by_target(&mut Controller::new(limits()), &data).fes, Fes::SequenceError);
    assert_eq!(refused_by_target(&mut handshake(PLAIN), &data).fes, Fes::SequenceError);
    assert_eq!(refused_by_target(&mut idle_target(PLAIN), &data).fes, Fes::SequenceError);
    // For a command that executes, that sends, that has sent, that is over.
    let executing = || {
        let mut machine = idle_target(PLAIN);
        machine.feed(&command(Sqe::flush(1).with_cid(WRITE_CID), &[], PLAIN), &mut vec![]);
        machine
    };
    assert_eq!(refused_by_target(&mut executing(), &data).fes, Fes::SequenceError);
    for last in [false, true] {
        let mut machine = executing();
        machine.send_data(Slot(0), 0, 512, last, &mut vec![]);
        assert_eq!(refused_by_target(&mut machine, &data).fes, Fes::SequenceError);
    }
    let mut machine = executing();
    machine.respond(Slot(0), Status::SUCCESS, 0, &mut vec![]);
    assert_eq!(refused_by_target(&mut machine, &data).fes, Fes::SequenceError);
    // After all that the R2T asked for.
    let mut machine = executing();
    machine.request_data(Slot(0), 8, &mut vec![]);
    let last = h2c(WRITE_CID, 0, 0, &[1; 8], true, PLAIN);
    assert_eq!(refused_by_target(&mut machine, &[last.clone(), last].concat()).fes, Fes::SequenceError);
}

#[test]
fn a_wrong_header_digest_is_fatal_and_shown() {
    let digests = Digests { header: true, data: false };
    let mut pdu = command(Sqe::flush(1), &[], digests);
    pdu[72..76].copy_from_slice(&[1, 2, 3, 4]);
    let violation = refused_by_target(&mut idle_target(digests), &pdu);
    assert_eq!((violation.fes, violation.fei), (Fes::HeaderDigestError, 0x0403_0201));
}

#[test]
fn the_hosts_term_request_ends_it_without_an_answer() {
    for digests in all_digests() {
        for (mut machine, quoted) in [
            (Controller::new(limits()), 0),
            (handshake(digests), 8),
            (idle_target(digests), 128),
            (target(digests), 128),
        ] {
            let mut pdu = [[2, 0, 24, 0, 24 + quoted, 0, 0, 0].as_slice(), &[5, 0, 9, 8, 7, 6]].concat();
            pdu.resize(24, 0);
            let mut out = vec![];
            let event = machine.feed(&pdu, &mut out).event;
            assert_eq!(event, Some(Event::Closed(Cause::Terminated { fes: 5, fei: 0x0607_0809 })));
            assert!(out.is_empty() && machine.phase() == Phase::Closed);
        }
    }
    // Too short, too long, with a digest: refused by its first bytes.
    for wrong in [[2, 0, 24, 0, 23], [2, 0, 24, 0, 153], [2, 0, 23, 0, 24], [2, 1, 24, 0, 24], [2, 2, 24, 0, 28]] {
        let pdu = [wrong.as_slice(), &[0; 3]].concat();
        assert_eq!(refused_by_target(&mut idle_target(PLAIN), &pdu).fes, Fes::InvalidHeaderField);
    }
}

#[test]
fn after_the_end_commands_only_free_their_slots() {
    let mut machine = target(PLAIN);
    let mut out = vec![];
    machine.feed(&command(Sqe::read(1, 0, 8).with_cid(1), &[], PLAIN), &mut out);
    machine.feed(&command(Sqe::write(1, 0, 8, false).with_cid(2), &[], PLAIN), &mut out);
    machine.feed(&h2c(WRITE_CID, 0, 0, &[1; 4096], false, PLAIN)[..100], &mut out);
    machine.close();
    machine.close();
    assert_eq!((machine.incoming(), machine.absorbed(&[1; 8])), (None, None));
    assert_eq!(machine.feed(&ic_pdu(0, 0), &mut out), Fed { consumed: 0, needs: 0, event: None });
    machine.send_data(Slot(1), 0, 4096, true, &mut out);
    machine.respond(Slot(1), Status::SUCCESS, 0, &mut out);
    machine.request_data(Slot(2), 4096, &mut out);
    machine.respond(Slot(2), Status::INTERNAL_ERROR, 0, &mut out);
    machine.respond(Slot(0), Status::INTERNAL_ERROR, 0, &mut out);
    machine.set_queue(8, false, 0, false);
    assert!(out.is_empty());
    assert_eq!(machine.states()[0], ("Free", 4));
}

#[test]
#[should_panic(expected = "a command is not answered while its data is on the way")]
fn the_caller_may_not_answer_a_command_whose_data_is_due() {
    target(PLAIN).respond(Slot(0), Status::INTERNAL_ERROR, 0, &mut vec![]);
}

#[test]
#[should_panic(expected = "RequestState: undeclared transition Free -> AwaitingData")]
fn the_caller_may_not_ask_data_for_no_command() {
    idle_target(PLAIN).request_data(Slot(0), 512, &mut vec![]);
}

#[test]
#[should_panic(expected = "RequestState: undeclared transition Free -> Free")]
fn the_caller_may_not_answer_twice() {
    idle_target(PLAIN).respond(Slot(0), Status::SUCCESS, 0, &mut vec![]);
}
