//! Every value of hlen, pdo and plen, with every combination of digest flags, in both roles: what the first 8 bytes of
//! a PDU show to be wrong is refused before the rest is there.

mod support;

use qpair_wire::nvme::{Sqe, Status};
use qpair_wire::tcp::controller::Controller;
use qpair_wire::tcp::digest::Digests;
use qpair_wire::tcp::host::{Host, HostConfig};
use qpair_wire::tcp::pdu::Fes;
use support::harness::{cause, ic_pdu};
use support::peers::{MAX_H2C, all_digests, limits};
use support::raw::{WRITE_CID, c2h, command, h2c, idle_target, initiator, r2t, response, target};
use support::receive::{Inbox, Machine, Way};

/// Feeds the first 8 bytes of a PDU: the offset of the field that is refused, if one is.
fn refused_field(mut machine: impl Machine, header: &[u8]) -> Option<(Fes, u32)> {
    let mut inbox = Inbox::new(Way::Whole);
    inbox.push(&mut machine, &header[..8], &mut vec![], |_, _, _| {});
    cause(&inbox.log).map(|cause| match cause {
        qpair_wire::tcp::Cause::Violation(violation) => (violation.fes, violation.fei),
        cause => panic!("closed by {cause}"),
    })
}

/// A type of PDU: a valid one without and one with data, who receives it, how much data it may have at most.
struct Case {
    name: &'static str,
    pdu: Vec<u8>,
    hlen: usize,
    /// The least and the most data, in bytes.
    data: (u32, u32),
    machine: Box<dyn Fn() -> Box<dyn Machine>>,
    digests: Digests,
}

impl Machine for Box<dyn Machine> {
    fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, usize, Option<support::receive::Entry>) {
        (**self).feed(input, out)
    }

    fn incoming(&self) -> Option<qpair_wire::tcp::Incoming> {
        (**self).incoming()
    }

    fn absorbed(&mut self, bytes: &[u8]) -> Option<support::receive::Entry> {
        (**self).absorbed(bytes)
    }

    fn is_closed(&self) -> bool {
        (**self).is_closed()
    }
}

fn new_host(digests: Digests) -> Host {
    let Digests { header: header_digest, data: data_digest } = digests;
    let mut machine = Host::new(HostConfig { header_digest, data_digest, depth: 4 });
    machine.start(&mut vec![]);
    machine
}

fn cases(negotiated: Digests) -> Vec<Case> {
    let case = |name, pdu: Vec<u8>, data, machine: Box<dyn Fn() -> Box<dyn Machine>>| {
        let digests = if pdu[2] == 128 { Digests::default() } else { negotiated };
        Case { name, hlen: usize::from(pdu[2]), pdu, data, machine, digests }
    };
    let d = negotiated;
    vec![
        case("ICReq", ic_pdu(0, d.bits()).to_vec(), (0, 0), Box::new(|| Box::new(Controller::new(limits())))),
        case("CapsuleCmd", command(Sqe::flush(1), &[], d), (0, 8192), Box::new(move || Box::new(idle_target(d)))),
        case(
            "CapsuleCmd+",
            command(Sqe::flush(1), &[7; 512], d),
            (0, 8192),
            Box::new(move || Box::new(idle_target(d))),
        ),
        case("H2CData", h2c(WRITE_CID, 0, 0, &[7; 64], false, d), (1, MAX_H2C), Box::new(move || Box::new(target(d)))),
        case("ICResp", ic_pdu(1, d.bits()).to_vec(), (0, 0), Box::new(move || Box::new(new_host(d)))),
        case("CapsuleResp", response(2, Status::SUCCESS, d), (0, 0), Box::new(move || Box::new(initiator(d)))),
        case("C2HData", c2h(0, 0, &[7; 64], 0, d), (1, u32::MAX), Box::new(move || Box::new(initiator(d)))),
        case("R2T", r2t(1, 9, 0, 4096, d), (0, 0), Box::new(move || Box::new(initiator(d)))),
    ]
}

#[test]
fn every_hlen_but_the_right_one() {
    for case in all_digests().into_iter().flat_map(cases) {
        for hlen in 0..=u8::MAX {
            let mut header = case.pdu.clone();
            header[2] = hlen;
            let right = usize::from(hlen) == case.hlen;
            let expected = if right { None } else { Some((Fes::InvalidHeaderField, 2)) };
            assert_eq!(refused_field((case.machine)(), &header), expected, "{} hlen {hlen}", case.name);
        }
    }
}

#[test]
fn every_pdo_but_where_the_data_starts() {
    for case in all_digests().into_iter().flat_map(cases) {
        let start = case.hlen + case.digests.header_bytes();
        let has_data = case.pdu.len() > start;
        for pdo in 0..=u8::MAX {
            let mut header = case.pdu.clone();
            header[3] = pdo;
            // A command without data may have either in it.
            let right = match (has_data, case.data.1 > 0) {
                (true, _) => usize::from(pdo) == start,
                (false, true) => pdo == 0 || usize::from(pdo) == start,
                (false, false) => pdo == 0,
            };
            let expected = if right { None } else { Some((Fes::InvalidHeaderField, 3)) };
            assert_eq!(refused_field((case.machine)(), &header), expected, "{} pdo {pdo}", case.name);
        }
    }
}

#[test]
fn every_plen_that_does_not_fit() {
    for case in all_digests().into_iter().flat_map(cases) {
        let start = (case.hlen + case.digests.header_bytes()) as u32;
        let digest = case.digests.data_bytes() as u32;
        let with_data = case.pdu.len() as u32 > start;
        let limit = u64::from(start) + u64::from(case.data.1) + u64::from(digest);
        let edges = (limit.saturating_sub(5)..=limit + 5).filter_map(|plen| u32::try_from(plen).ok());
        let powers = (9..32).map(|bit| 1 << bit);
        for plen in (0..700).chain(edges).chain(powers).chain([u32::MAX]) {
            let mut header = case.pdu.clone();
            header[4..8].copy_from_slice(&plen.to_le_bytes());
            let right = match plen.checked_sub(start) {
                None => false,
                // No data; but then a flag that says "data digest" is wrong.
                Some(0) => case.data.0 == 0 && !(with_data && case.digests.data),
                Some(rest) => with_data && rest > digest && rest - digest <= case.data.1,
            };
            let refused = refused_field((case.machine)(), &header);
            assert_eq!(refused.is_none(), right, "{} plen {plen}: {refused:?}", case.name);
            if let Some((fes, fei)) = refused {
                let too_long = case.name == "H2CData" && plen > start + digest + case.data.1;
                let limit_exceeded = fes == Fes::LimitExceeded && too_long;
                let wrong_field = fes == Fes::InvalidHeaderField && matches!(fei, 1 | 3 | 4);
                assert!(limit_exceeded || wrong_field, "{} plen {plen}: {fes:?} {fei}", case.name);
            }
        }
    }
}

#[test]
fn digest_flags_that_do_not_match_what_was_negotiated() {
    for case in all_digests().into_iter().flat_map(cases) {
        let with_data = case.pdu.len() > case.hlen + case.digests.header_bytes();
        let right = Digests { data: case.digests.data && with_data, ..case.digests };
        for flags in all_digests() {
            let mut header = case.pdu.clone();
            header[1] = header[1] & !3 | flags.bits();
            let expected = if flags == right { None } else { Some((Fes::InvalidHeaderField, 1)) };
            assert_eq!(refused_field((case.machine)(), &header), expected, "{} flags {flags:?}", case.name);
        }
    }
}

#[test]
fn types_that_do_not_exist_or_come_from_the_other_side() {
    for digests in all_digests() {
        for kind in 0..=u8::MAX {
            let mut header = [0; 8];
            header[0] = kind;
            let wrong = match kind {
                0..=7 | 9 => (Fes::SequenceError, 0),
                _ => (Fes::InvalidHeaderField, 0),
            };
            if !matches!(kind, 2 | 4 | 6) {
                assert_eq!(refused_field(target(digests), &header), Some(wrong), "to the target: {kind:02x}h");
            }
            if !matches!(kind, 3 | 5 | 7 | 9) {
                assert_eq!(refused_field(initiator(digests), &header), Some(wrong), "to the host: {kind:02x}h");
            }
            // Before the handshake, only its own PDU.
            if !matches!(kind, 0 | 2) {
                assert_eq!(refused_field(Controller::new(limits()), &header), Some(wrong), "first: {kind:02x}h");
            }
            if !matches!(kind, 1 | 3) {
                assert_eq!(refused_field(new_host(digests), &header), Some(wrong), "first: {kind:02x}h");
            }
        }
    }
}
