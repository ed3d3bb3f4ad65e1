//! Both machines connected in memory: whole connections, with every combination of digests.

mod support;

use qpair_wire::nvme::completion::SQHD_NO_FLOW_CONTROL;
use qpair_wire::nvme::{Sqe, Status};
use qpair_wire::tcp::Slot;
use qpair_wire::tcp::host::Direction;
use support::peers::{MAX_H2C, Plan, all_digests, data, run};
use support::receive::{Entry, Way};

/// What the host saw of the commands of its plan, in order of completion.
fn completions(log: &[Entry]) -> Vec<(Slot, Status, u16, bool)> {
    log.iter()
        .filter_map(|entry| match *entry {
            Entry::Completed { slot, cqe, digest_ok } => Some((slot, cqe.status(), cqe.sqhd.get(), digest_ok)),
            _ => None,
        })
        .skip(1)
        .collect()
}

fn data_of(log: &[Entry]) -> Vec<(u32, &[u8])> {
    log.iter()
        .filter_map(|entry| match entry {
            Entry::Data { offset, bytes, .. } => Some((*offset, bytes.as_slice())),
            _ => None,
        })
        .collect()
}

#[test]
fn a_mix_of_commands_with_every_combination_of_digests() {
    for digests in all_digests() {
        for flow_control_disabled in [false, true] {
            for way in [Way::Whole, Way::Bytes, Way::Direct] {
                let plan = Plan::mixed(digests, flow_control_disabled, 512);
                let (host, target) = run(&plan, way);
                assert_eq!(target.machine.digests(), digests);
                let ends = completions(&host.inbox.log);
                assert_eq!(ends.len(), plan.commands.len());
                assert_eq!(ends.iter().filter(|end| end.1.is_success()).count(), plan.commands.len() - 1);
                assert!(ends.iter().any(|end| end.1 == Status::INVALID_OPCODE.with_dnr()), "the flush");
                assert!(ends.iter().all(|end| end.3), "no digest is wrong");
                // What was written: one in-capsule write, then 2,564 bytes in two R2Ts and 512 in one.
                let written: usize = data_of(&target.inbox.log).iter().map(|(_, bytes)| bytes.len()).sum();
                assert_eq!(written, 2564 + 512);
                for (offset, bytes) in data_of(&target.inbox.log).into_iter().chain(data_of(&host.inbox.log)) {
                    assert_eq!(bytes, data(offset, bytes.len() as u32));
                }
                for (name, live) in host.machine.states().into_iter().chain(target.machine.states()) {
                    assert_eq!(live, if name == "Free" { 4 } else { 0 }, "{name}");
                }
            }
        }
    }
}

#[test]
fn a_long_write_is_cut_at_maxh2cdata() {
    for digests in all_digests() {
        let mut plan = Plan::mixed(digests, false, 512);
        let bytes = 5 * MAX_H2C + 4;
        (plan.r2t_bytes, plan.h2c_bytes) = (u32::MAX, u32::MAX);
        plan.commands = vec![(Sqe::write(1, 0, 1, false), Direction::Write { bytes })];
        let (host, target) = run(&plan, Way::Whole);
        let wants = Entry::WantsData { slot: Slot(0), offset: 0, length: bytes };
        assert_eq!(host.inbox.log.iter().filter(|&entry| *entry == wants).count(), 1, "one R2T for the whole transfer");
        assert_eq!(data_of(&target.inbox.log), [(0, data(0, bytes).as_slice())]);
        let header = 24 + digests.header_bytes() + digests.data_bytes();
        let command = 72 + digests.header_bytes();
        let connect = command + 1024 + digests.data_bytes();
        assert_eq!(host.sent.len(), 128 + connect + command + 6 * header + bytes as usize);
    }
}

#[test]
fn success_in_the_data_only_without_flow_control() {
    for flow_control_disabled in [false, true] {
        let mut plan = Plan::mixed(Default::default(), flow_control_disabled, 4096);
        plan.commands = vec![(Sqe::read(1, 0, 8), Direction::Read { bytes: 4096 }); 3];
        let (host, target) = run(&plan, Way::Whole);
        let per_read = 24 + 4096 + if flow_control_disabled { 0 } else { 24 };
        assert_eq!(target.sent.len(), 128 + 24 + 3 * per_read);
        let flags: Vec<u8> = (0..3).map(|read| target.sent[128 + 24 + read * per_read + 1]).collect();
        assert_eq!(flags, [if flow_control_disabled { 0x0c } else { 0x04 }; 3]);
        assert!(completions(&host.inbox.log).iter().all(|end| end.1.is_success()));
    }
}

#[test]
fn sqhd_counts_and_wraps_or_is_ffff() {
    for flow_control_disabled in [false, true] {
        let mut plan = Plan::mixed(Default::default(), flow_control_disabled, 4096);
        plan.commands = vec![(Sqe::flush(1), Direction::None); 6];
        let (host, _) = run(&plan, Way::Whole);
        let sqhd: Vec<u16> = completions(&host.inbox.log).iter().map(|end| end.2).collect();
        // Connect was the first of a queue of four.
        let counted = [2, 3, 0, 1, 2, 3];
        assert_eq!(sqhd, if flow_control_disabled { [SQHD_NO_FLOW_CONTROL; 6] } else { counted });
    }
}
