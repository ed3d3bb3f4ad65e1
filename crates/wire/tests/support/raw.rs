//! PDUs made by hand, right or wrong, and machines that are far enough to be given one.

use qpair_wire::nvme::{Cqe, Sqe, Status};
use qpair_wire::tcp::controller::{Controller, Event};
use qpair_wire::tcp::digest::{Crc32c, Digests};
use qpair_wire::tcp::host::{Direction, Host, HostConfig, HostEvent};
use qpair_wire::tcp::pdu::flags;
use qpair_wire::tcp::{Cause, Slot, Violation};
use qpair_wire::zerocopy::IntoBytes;

use super::harness::ic_pdu;
use super::peers::{IN_CAPSULE, limits, put};

/// A PDU with the right lengths and digests. `fields` is the header without its first 8 bytes.
pub fn pdu(kind: u8, more_flags: u8, fields: &[u8], data: &[u8], digests: Digests) -> Vec<u8> {
    let used = Digests { data: digests.data && !data.is_empty(), ..digests };
    let start = 8 + fields.len() + used.header_bytes();
    let plen = (start + data.len() + used.data_bytes()) as u32;
    let pdo = if data.is_empty() { 0 } else { start as u8 };
    let mut bytes = vec![kind, more_flags | used.bits(), 8 + fields.len() as u8, pdo];
    bytes.extend_from_slice(&plen.to_le_bytes());
    bytes.extend_from_slice(fields);
    if used.header {
        bytes.extend_from_slice(&Crc32c::of(&bytes));
    }
    put(data, used.data, &mut bytes);
    bytes
}

/// The same PDU with `change` made to its header, under a header digest that is right again.
pub fn changed(mut bytes: Vec<u8>, hlen: usize, digests: Digests, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    change(&mut bytes[..hlen]);
    if digests.header {
        let digest = Crc32c::of(&bytes[..hlen]);
        bytes[hlen..hlen + digest.len()].copy_from_slice(&digest);
    }
    bytes
}

pub fn command(sqe: Sqe, data: &[u8], digests: Digests) -> Vec<u8> {
    pdu(4, 0, sqe.as_bytes(), data, digests)
}

pub fn response(cid: u16, status: Status, digests: Digests) -> Vec<u8> {
    pdu(5, 0, Cqe::new(cid, status, 0).as_bytes(), &[], digests)
}

fn fields(cccid: u16, ttag: u16, offset: u32, length: u32) -> Vec<u8> {
    let mut fields = [cccid.to_le_bytes(), ttag.to_le_bytes()].concat();
    fields.extend_from_slice(&offset.to_le_bytes());
    fields.extend_from_slice(&length.to_le_bytes());
    fields.extend_from_slice(&[0; 4]);
    fields
}

/// H2CData.
pub fn h2c(cccid: u16, ttag: u16, offset: u32, data: &[u8], last: bool, digests: Digests) -> Vec<u8> {
    pdu(6, if last { flags::LAST } else { 0 }, &fields(cccid, ttag, offset, data.len() as u32), data, digests)
}

/// C2HData.
pub fn c2h(cccid: u16, offset: u32, data: &[u8], more_flags: u8, digests: Digests) -> Vec<u8> {
    pdu(7, more_flags, &fields(cccid, 0, offset, data.len() as u32), data, digests)
}

pub fn r2t(cccid: u16, ttag: u16, offset: u32, length: u32, digests: Digests) -> Vec<u8> {
    pdu(9, 0, &fields(cccid, ttag, offset, length), &[], digests)
}

/// The identifier of the write that [`target`] has in flight; its slot is 0.
pub const WRITE_CID: u16 = 0x4321;
/// What its R2T asks for, in bytes.
pub const WRITE_BYTES: u32 = 8192;

/// A target behind its handshake.
pub fn handshake(digests: Digests) -> Controller {
    let mut machine = Controller::new(limits());
    assert_eq!(machine.feed(&ic_pdu(0, digests.bits()), &mut vec![]).event, Some(Event::Initialized));
    machine
}

/// A target with a queue of four and no command in flight.
pub fn idle_target(digests: Digests) -> Controller {
    let mut machine = handshake(digests);
    let connect = command(Sqe::connect(1, 3, 0, 0), &[0; 1024], digests);
    assert!(matches!(machine.feed(&connect, &mut vec![]).event, Some(Event::Command { .. })));
    machine.set_queue(4, false, IN_CAPSULE / 4, false);
    machine.respond(Slot(0), Status::SUCCESS, 0, &mut vec![]);
    machine
}

/// A target with a write in flight whose R2T is out.
pub fn target(digests: Digests) -> Controller {
    let mut machine = idle_target(digests);
    let write = command(Sqe::write(1, 0, 16, false).with_cid(WRITE_CID), &[], digests);
    assert!(matches!(machine.feed(&write, &mut vec![]).event, Some(Event::Command { slot: Slot(0), .. })));
    machine.request_data(Slot(0), WRITE_BYTES, &mut vec![]);
    machine
}

/// A host whose queue exists; SUCCESS is allowed. In flight: a read and a write, both of 8,192 bytes, and a flush.
/// Their slots and identifiers are 0, 1 and 2.
pub fn initiator(digests: Digests) -> Host {
    let Digests { header: header_digest, data: data_digest } = digests;
    let mut machine = Host::new(HostConfig { header_digest, data_digest, depth: 4 });
    machine.start(&mut vec![]);
    assert_eq!(machine.feed(&ic_pdu(1, digests.bits()), &mut vec![]).event, Some(HostEvent::Initialized));
    machine.set_queue(IN_CAPSULE, true);
    for (slot, direction) in
        [Direction::Read { bytes: 8192 }, Direction::Write { bytes: 8192 }, Direction::None].into_iter().enumerate()
    {
        let submitted = machine.submit(Sqe::flush(1), direction, &mut vec![]);
        assert_eq!(submitted, Some(Slot(slot as u16)));
    }
    machine
}

/// Feeds a target what closes its connection; checks the term request and returns the reason.
pub fn refused_by_target(machine: &mut Controller, bytes: &[u8]) -> Violation {
    let (mut at, mut out) = (0, Vec::new());
    loop {
        let fed = machine.feed(&bytes[at..], &mut out);
        at += fed.consumed;
        match fed.event {
            Some(Event::Closed(Cause::Violation(violation))) => {
                check_term_req(&out, 3, &bytes[at..], &violation);
                assert_eq!(machine.feed(bytes, &mut out).event, None, "nothing is accepted any more");
                return violation;
            }
            Some(Event::Closed(cause)) => panic!("closed by {cause}"),
            Some(_) => {}
            None => panic!("not refused: {} more bytes are needed", fed.needs),
        }
    }
}

/// Feeds a host what closes its connection; checks the term request and returns the reason.
pub fn refused_by_host(machine: &mut Host, bytes: &[u8]) -> Violation {
    let (mut at, mut out) = (0, Vec::new());
    loop {
        let fed = machine.feed(&bytes[at..], &mut out);
        at += fed.consumed;
        match fed.event {
            Some(HostEvent::Closed(Cause::Violation(violation))) => {
                check_term_req(&out, 2, &bytes[at..], &violation);
                assert_eq!(machine.feed(bytes, &mut out).event, None, "nothing is accepted any more");
                return violation;
            }
            Some(HostEvent::Closed(cause)) => panic!("closed by {cause}"),
            Some(_) => {}
            None => panic!("not refused: {} more bytes are needed", fed.needs),
        }
    }
}

/// 24 bytes that say why, then the beginning of the offending header, without digests.
fn check_term_req(out: &[u8], kind: u8, offending: &[u8], violation: &Violation) {
    let plen = out.len() as u32;
    assert!((24 + 8..=152).contains(&plen), "{plen}");
    assert_eq!(out[..4], [kind, 0, 24, 0]);
    assert_eq!(out[4..8], plen.to_le_bytes());
    assert_eq!(out[8..10], (violation.fes as u16).to_le_bytes());
    assert_eq!(out[10..14], violation.fei.to_le_bytes());
    assert_eq!(out[14..24], [0; 10]);
    assert_eq!(out[24..], offending[..out.len() - 24]);
}
