//! What a host refuses, tolerates and sends, rule by rule.

mod support;

use qpair_wire::nvme::{Cqe, Sqe, Status};
use qpair_wire::tcp::digest::Digests;
use qpair_wire::tcp::host::{Chunk, Direction, Host, HostConfig, HostEvent, Phase, RequestState};
use qpair_wire::tcp::pdu::Fes;
use qpair_wire::tcp::{Cause, Fed, Slot};
use support::harness::ic_pdu;
use support::peers::all_digests;
use support::raw::*;

const PLAIN: Digests = Digests { header: false, data: false };
const LAST: u8 = 0x04;
const LAST_AND_SUCCESS: u8 = 0x0c;
/// The commands of [`initiator`]: slot and identifier.
const READ: u16 = 0;
const WRITE: u16 = 1;
const FLUSH: u16 = 2;

fn new_host(digests: Digests) -> Host {
    let Digests { header: header_digest, data: data_digest } = digests;
    let mut machine = Host::new(HostConfig { header_digest, data_digest, depth: 4 });
    machine.start(&mut vec![]);
    machine
}

fn refused(digests: Digests, pdu: &[u8]) -> (Fes, u32) {
    let violation = refused_by_host(&mut initiator(digests), pdu);
    (violation.fes, violation.fei)
}

/// Feeds all of it and returns the last event.
fn feed_all<'a>(machine: &mut Host, mut bytes: &'a [u8]) -> Option<HostEvent<'a>> {
    let mut last = None;
    loop {
        let fed = machine.feed(bytes, &mut vec![]);
        bytes = &bytes[fed.consumed..];
        if fed.event.is_none() {
            return last;
        }
        last = fed.event;
    }
}

#[test]
fn icreq_as_drawn() {
    for digests in all_digests() {
        let Digests { header: header_digest, data: data_digest } = digests;
        let mut out = vec![];
        Host::new(HostConfig { header_digest, data_digest, depth: 1 }).start(&mut out);
        assert_eq!(out, ic_pdu(0, digests.bits()));
    }
}

#[test]
fn icresp_field_by_field() {
    let refused = |at: usize, value: &[u8]| {
        let mut response = ic_pdu(1, 0);
        response[at..at + value.len()].copy_from_slice(value);
        let violation = refused_by_host(&mut new_host(PLAIN), &response);
        (violation.fes, violation.fei)
    };
    assert_eq!(refused(8, &[1]), (Fes::UnsupportedParameter, 8), "PFV");
    assert_eq!(refused(9, &[1]), (Fes::UnsupportedParameter, 8), "PFV");
    assert_eq!(refused(10, &[1]), (Fes::UnsupportedParameter, 10), "CPDA");
    for bytes in [0u32, 4092, 4095, 4098, u32::MAX] {
        assert_eq!(refused(12, &bytes.to_le_bytes()), (Fes::InvalidHeaderField, 12), "MAXH2CDATA {bytes}");
    }
    for (bytes, cut_at) in [(4096u32, 4096), (131_072, 131_072), (u32::MAX - 3, 1 << 30)] {
        let mut response = ic_pdu(1, 0);
        response[12..16].copy_from_slice(&bytes.to_le_bytes());
        let mut machine = new_host(PLAIN);
        assert_eq!(machine.feed(&response, &mut vec![]).event, Some(HostEvent::Initialized));
        assert_eq!(machine.max_h2c(), cut_at);
    }
}

#[test]
fn digests_other_than_asked_for_are_refused_in_both_directions() {
    for asked in all_digests() {
        for answered in all_digests() {
            let response = ic_pdu(1, answered.bits());
            if asked == answered {
                assert_eq!(new_host(asked).feed(&response, &mut vec![]).event, Some(HostEvent::Initialized));
            } else {
                let violation = refused_by_host(&mut new_host(asked), &response);
                assert_eq!((violation.fes, violation.fei), (Fes::UnsupportedParameter, 11));
            }
        }
    }
}

#[test]
fn one_command_before_the_queue_exists() {
    let mut machine = new_host(PLAIN);
    let mut out = vec![];
    assert_eq!(machine.submit(Sqe::flush(1), Direction::None, &mut out), None, "before ICResp");
    machine.feed(&ic_pdu(1, 0), &mut out);
    assert_eq!(machine.submit(Sqe::flush(1), Direction::None, &mut out), Some(Slot(0)));
    assert_eq!(machine.submit(Sqe::flush(1), Direction::None, &mut out), None, "before Connect");
    machine.set_queue(0, false);
    for slot in 1..4 {
        assert_eq!(machine.submit(Sqe::flush(1), Direction::None, &mut out), Some(Slot(slot)));
    }
    assert_eq!(machine.submit(Sqe::flush(1), Direction::None, &mut out), None, "full");
    machine.close();
    assert_eq!(machine.submit(Sqe::flush(1), Direction::None, &mut out), None, "closed");
}

#[test]
fn commands_as_drawn() {
    for digests in all_digests() {
        let mut machine = initiator(digests);
        let mut out = vec![];
        machine.feed(&response(FLUSH, Status::SUCCESS, digests), &mut out);
        let direction = Direction::WriteInCapsule { bytes: 512 };
        assert_eq!(machine.submit(Sqe::write(1, 8, 1, false), direction, &mut out), Some(Slot(2)));
        support::peers::put(&[3; 512], machine.data_digest(), &mut out);
        // The second command of the slot: generation 1. PSDT and the SGL are filled in.
        let sqe = Sqe::write(1, 8, 1, false).with_cid(1 << 10 | 2).with_data_in_capsule(512);
        assert_eq!(out, command(sqe, &[3; 512], digests));
    }
}

#[test]
fn a_late_completion_does_not_hit_the_next_command() {
    let mut machine = initiator(PLAIN);
    let end = response(FLUSH, Status::SUCCESS, PLAIN);
    assert!(matches!(machine.feed(&end, &mut vec![]).event, Some(HostEvent::Completed { slot: Slot(2), .. })));
    assert_eq!(machine.submit(Sqe::flush(1), Direction::None, &mut vec![]), Some(Slot(2)));
    let violation = refused_by_host(&mut machine, &end);
    assert_eq!((violation.fes, violation.fei), (Fes::InvalidHeaderField, 20));
}

#[test]
fn responses_that_cannot_be() {
    for digests in all_digests() {
        for cid in [3, 4, 0x400, 0xffff] {
            let refused = refused(digests, &response(cid, Status::SUCCESS, digests));
            assert_eq!(refused, (Fes::InvalidHeaderField, 20), "cid {cid:04x}h is not in flight");
        }
        assert_eq!(refused(digests, &response(READ, Status::SUCCESS, digests)), (Fes::SequenceError, 0), "no data");
        assert_eq!(refused(digests, &response(WRITE, Status::SUCCESS, digests)), (Fes::SequenceError, 0), "no R2T");
        let short = [c2h(READ, 0, &[1; 8188], LAST, digests), response(READ, Status::SUCCESS, digests)].concat();
        assert_eq!(refused(digests, &short), (Fes::SequenceError, 0), "a short read");
        let open = [r2t(WRITE, 0, 0, 8192, digests), response(WRITE, Status::INTERNAL_ERROR, digests)].concat();
        assert_eq!(refused(digests, &open), (Fes::SequenceError, 0), "data is still asked for");
    }
}

#[test]
fn an_error_may_come_instead_of_data_or_in_the_middle_of_it() {
    for digests in all_digests() {
        let mut machine = initiator(digests);
        let bytes = [
            c2h(READ, 0, &[1; 512], 0, digests),
            response(READ, Status::INTERNAL_ERROR, digests),
            response(WRITE, Status::LBA_OUT_OF_RANGE, digests),
        ]
        .concat();
        let event = feed_all(&mut machine, &bytes);
        let cqe = Cqe::new(WRITE, Status::LBA_OUT_OF_RANGE, 0);
        assert_eq!(event, Some(HostEvent::Completed { slot: Slot(1), cqe, digest_ok: true }));
        assert_eq!(machine.in_flight(), 1);
    }
}

#[test]
fn c2hdata_that_cannot_be() {
    for digests in all_digests() {
        let data = |cid, offset, bytes, flags| c2h(cid, offset, &vec![1; bytes], flags, digests);
        let header = 24 + digests.header_bytes();
        let refused = |pdu: Vec<u8>| refused(digests, &pdu[..header]);
        assert_eq!(refused(data(3, 0, 512, 0)), (Fes::InvalidHeaderField, 8), "not in flight");
        assert_eq!(refused(data(WRITE, 0, 512, 0)), (Fes::SequenceError, 0), "of a write");
        assert_eq!(refused(data(FLUSH, 0, 512, 0)), (Fes::SequenceError, 0), "of a flush");
        assert_eq!(refused(data(READ, 4, 512, 0)), (Fes::OutOfRange, 0), "a gap");
        assert_eq!(refused(data(READ, u32::MAX, 512, 0)), (Fes::OutOfRange, 0), "far away");
        assert_eq!(refused(data(READ, 0, 8193, 0)), (Fes::OutOfRange, 0), "too much");
        let wrong = changed(data(READ, 0, 512, 0), 24, digests, |pdu| pdu[16] = 1);
        assert_eq!(refused(wrong), (Fes::InvalidHeaderField, 16), "datal");
        assert_eq!(refused(data(READ, 0, 8192, 0x08)), (Fes::InvalidHeaderField, 1), "SUCCESS without LAST");
        assert_eq!(refused(data(READ, 0, 512, LAST_AND_SUCCESS)), (Fes::SequenceError, 0), "a short read");
    }
    // After LAST nothing more.
    let twice = [c2h(READ, 0, &[1; 512], LAST, PLAIN), c2h(READ, 512, &[1; 512], LAST, PLAIN)].concat();
    assert_eq!(refused(PLAIN, &twice), (Fes::SequenceError, 0));
}

#[test]
fn success_only_without_flow_control() {
    let pdu = c2h(READ, 0, &[1; 512], LAST_AND_SUCCESS, PLAIN);
    for flow_control_disabled in [false, true] {
        let mut machine = new_host(PLAIN);
        machine.feed(&ic_pdu(1, 0), &mut vec![]);
        machine.set_queue(0, flow_control_disabled);
        machine.submit(Sqe::read(1, 0, 1), Direction::Read { bytes: 512 }, &mut vec![]);
        if flow_control_disabled {
            let cqe = Cqe::new(READ, Status::SUCCESS, 0);
            let completed = HostEvent::Completed { slot: Slot(0), cqe, digest_ok: true };
            assert_eq!(feed_all(&mut machine, &pdu), Some(completed));
        } else {
            let violation = refused_by_host(&mut machine, &pdu);
            assert_eq!((violation.fes, violation.fei), (Fes::InvalidHeaderField, 1));
        }
    }
}

#[test]
fn r2ts_that_cannot_be() {
    for digests in all_digests() {
        let refused = |pdu: Vec<u8>| refused(digests, &pdu);
        assert_eq!(refused(r2t(3, 0, 0, 512, digests)), (Fes::InvalidHeaderField, 8), "not in flight");
        assert_eq!(refused(r2t(READ, 0, 0, 512, digests)), (Fes::SequenceError, 0), "for a read");
        assert_eq!(refused(r2t(FLUSH, 0, 0, 512, digests)), (Fes::SequenceError, 0), "for a flush");
        assert_eq!(refused(r2t(WRITE, 0, 0, 0, digests)), (Fes::InvalidHeaderField, 16), "for nothing");
        assert_eq!(refused(r2t(WRITE, 0, 4, 512, digests)), (Fes::OutOfRange, 0), "a gap");
        assert_eq!(refused(r2t(WRITE, 0, 0, 8193, digests)), (Fes::OutOfRange, 0), "too much");
        assert_eq!(refused(r2t(WRITE, 0, 0, u32::MAX, digests)), (Fes::OutOfRange, 0), "too much");
        let twice = [r2t(WRITE, 0, 0, 512, digests), r2t(WRITE, 0, 512, 512, digests)].concat();
        assert_eq!(refused(twice), (Fes::LimitExceeded, 0), "two at a time");
    }
    // An R2T for what was sent already.
    let mut machine = initiator(PLAIN);
    machine.feed(&r2t(WRITE, 0, 0, 4096, PLAIN), &mut vec![]);
    while machine.h2c(Slot(1), 4096, &mut vec![]).is_some() {}
    assert_eq!(refused_by_host(&mut machine, &r2t(WRITE, 0, 0, 4096, PLAIN)).fes, Fes::OutOfRange);
}

#[test]
fn h2cdata_as_drawn_in_several_pieces_and_r2ts() {
    for digests in all_digests() {
        let mut machine = initiator(digests);
        let mut out = vec![];
        for (ttag, from) in [(9, 0), (0xfffe, 4096)] {
            let pdu = r2t(WRITE, ttag, from, 4096, digests);
            let wanted = machine.feed(&pdu, &mut out).event;
            assert_eq!(wanted, Some(HostEvent::WantsData { slot: Slot(1), offset: from, length: 4096 }));
            for (offset, bytes, last) in [(from, 3000, false), (from + 3000, 1096, true)] {
                assert_eq!(machine.h2c(Slot(1), 3000, &mut out), Some(Chunk { offset, bytes, last }));
                let data = vec![4; bytes as usize];
                support::peers::put(&data, machine.data_digest(), &mut out);
                assert_eq!(out, h2c(WRITE, ttag, offset, &data, last, digests));
                out.clear();
            }
            assert_eq!(machine.h2c(Slot(1), 3000, &mut out), None);
            assert_eq!(machine.state(Slot(1)), RequestState::Writing);
        }
        let end = response(WRITE, Status::SUCCESS, digests);
        assert!(matches!(machine.feed(&end, &mut out).event, Some(HostEvent::Completed { slot: Slot(1), .. })));
    }
}

#[test]
fn the_controllers_term_request_ends_it_without_an_answer() {
    for mut machine in [new_host(PLAIN), initiator(PLAIN), initiator(Digests { header: true, data: true })] {
        let mut pdu = [[3, 0, 24, 0, 32, 0, 0, 0].as_slice(), &[2, 0]].concat();
        pdu.resize(32, 0);
        let mut out = vec![];
        let event = machine.feed(&pdu, &mut out).event;
        assert_eq!(event, Some(HostEvent::Closed(Cause::Terminated { fes: 2, fei: 0 })));
        assert!(out.is_empty() && machine.phase() == Phase::Closed);
        assert_eq!(machine.feed(&pdu, &mut out), Fed { consumed: 0, needs: 0, event: None });
    }
}
