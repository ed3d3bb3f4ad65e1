//! However a valid exchange is cut into pieces, the same events come and the same bytes are answered - for both sides.

mod support;

use proptest::prelude::*;
use qpair_wire::nvme::Status;
use qpair_wire::tcp::Slot;
use qpair_wire::tcp::controller::RequestState;
use qpair_wire::tcp::digest::Digests;
use support::peers::{Initiator, Plan, Target, all_digests, run};
use support::receive::{Entry, Machine, Way};

/// What a side received, and what it made of it.
struct Recording {
    received: Vec<u8>,
    log: Vec<Entry>,
    sent: Vec<u8>,
}

/// An exchange of a few thousand bytes with everything in it, as each side saw it.
fn record(digests: Digests, flow_control_disabled: bool) -> (Plan, Recording, Recording) {
    let plan = Plan::mixed(digests, flow_control_disabled, 60);
    let (host, target) = run(&plan, Way::Whole);
    let of_target = Recording { received: host.sent.clone(), log: target.inbox.log, sent: target.sent.clone() };
    let of_host = Recording { received: target.sent, log: host.inbox.log, sent: host.sent };
    (plan, of_host, of_target)
}

fn replay_target<'a>(plan: &Plan, way: Way, pieces: impl Iterator<Item = &'a [u8]>, expected: &Recording) {
    let mut target = Target::new(plan, way);
    pieces.for_each(|piece| target.receive(piece));
    assert!(target.inbox.log == expected.log && target.sent == expected.sent);
}

fn replay_host<'a>(plan: &Plan, way: Way, pieces: impl Iterator<Item = &'a [u8]>, expected: &Recording) {
    let mut host = Initiator::new(plan, way);
    pieces.for_each(|piece| host.receive(piece));
    assert!(host.inbox.log == expected.log && host.sent == expected.sent);
}

#[test]
fn cut_at_every_byte() {
    for digests in all_digests() {
        for way in [Way::Whole, Way::Direct] {
            let (plan, of_host, of_target) = record(digests, way == Way::Direct);
            for cut in 0..=of_target.received.len() {
                let (front, back) = of_target.received.split_at(cut);
                replay_target(&plan, way, [front, back].into_iter(), &of_target);
            }
            for cut in 0..=of_host.received.len() {
                let (front, back) = of_host.received.split_at(cut);
                replay_host(&plan, way, [front, back].into_iter(), &of_host);
            }
        }
    }
}

#[test]
fn byte_by_byte() {
    for digests in all_digests() {
        let (plan, of_host, of_target) = record(digests, false);
        replay_target(&plan, Way::Bytes, [of_target.received.as_slice()].into_iter(), &of_target);
        replay_host(&plan, Way::Bytes, [of_host.received.as_slice()].into_iter(), &of_host);
    }
}

/// Cuts `bytes` into pieces of these lengths, again and again.
fn pieces<'a>(mut bytes: &'a [u8], lengths: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut lengths = lengths.iter().cycle();
    std::iter::from_fn(move || {
        let (piece, rest) = bytes.split_at(bytes.len().min(*lengths.next()?));
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn random_pieces(
        bits in 0u8..4,
        no_flow_control: bool,
        direct: bool,
        lengths in prop::collection::vec(prop_oneof![1usize..12, 1usize..200], 1..40),
    ) {
        let way = if direct { Way::Direct } else { Way::Whole };
        let (plan, of_host, of_target) = record(Digests::from_bits(bits), no_flow_control);
        replay_target(&plan, way, pieces(&of_target.received, &lengths), &of_target);
        replay_host(&plan, way, pieces(&of_host.received, &lengths), &of_host);
    }
}

#[test]
fn closed_at_every_byte_every_slot_is_freed_once() {
    for digests in all_digests() {
        let (plan, _, of_target) = record(digests, false);
        for cut in 0..=of_target.received.len() {
            let mut target = Target::new(&plan, Way::Whole);
            target.receive(&of_target.received[..cut]);
            let (machine, sent) = (&mut target.machine, target.sent.len());
            machine.close();
            for slot in (0..plan.depth).map(Slot) {
                if machine.state(slot) != RequestState::Free {
                    machine.respond(slot, Status::INTERNAL_ERROR, 0, &mut target.sent);
                }
            }
            assert_eq!((machine.in_flight(), target.sent.len()), (0, sent));
            target.receive(&of_target.received[cut..]);
            assert_eq!(target.sent.len(), sent, "nothing is accepted any more");
        }
    }
}

/// With one byte less than it needs, a machine gets no further; with so many it does.
fn needs_is_exact(machine: &mut impl Machine, bytes: &[u8], mut act: impl FnMut(&Entry) -> bool) {
    let (mut at, mut given, mut out) = (0, 0, Vec::new());
    while at < bytes.len() {
        let (consumed, needs, event) = machine.feed(&bytes[at..given.max(at)], &mut out);
        at += consumed;
        match event {
            Some(event) => {
                if act(&event) {
                    return;
                }
            }
            None => {
                assert!(needs > 0);
                if needs > 1 {
                    let (consumed, again, event) = machine.feed(&bytes[at..at + needs - 1], &mut out);
                    at += consumed;
                    assert!(event.is_none() && again == needs - consumed, "{again} after {needs} - 1");
                    given = at + again;
                } else {
                    given = at + 1;
                }
            }
        }
    }
}

#[test]
fn needs_is_exact_up_to_the_first_command() {
    for digests in all_digests() {
        let (_, of_host, of_target) = record(digests, false);
        let mut target = qpair_wire::tcp::controller::Controller::new(support::peers::limits());
        let mut commands = 0;
        needs_is_exact(&mut target, &of_target.received, |event| {
            commands += usize::from(matches!(event, Entry::Command { .. }));
            commands == 1
        });
        assert_eq!(commands, 1);
        let mut host = Initiator::new(&Plan::mixed(digests, false, 60), Way::Whole).machine;
        let mut initialized = false;
        needs_is_exact(&mut host, &of_host.received, |event| {
            initialized = matches!(event, Entry::Initialized);
            initialized
        });
        assert!(initialized);
    }
}
