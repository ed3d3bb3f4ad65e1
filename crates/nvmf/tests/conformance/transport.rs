//! NVMe/TCP: digests, capsules and R2Ts, who says SUCCESS, and the bounds of a queue.

use std::collections::HashSet;

use wire::nvme::fabrics::CATTR_DISABLE_SQ_FLOW_CONTROL;
use wire::nvme::{Sqe, Status};
use wire::tcp::digest::{Crc32c, Digests};
use wire::tcp::pdu::{Fes, flags, kind};

use crate::common::{ALL_DIGESTS, Association, Data, NO_DIGESTS, Raw, Rig, connect_data, pattern, pdu, same};

#[test]
fn all_sizes_with_all_digests() {
    let rig = Rig::on_two_reactors(&["ram:1MiB,bs=512"]);
    for (seed, digests) in (0..).zip(ALL_DIGESTS) {
        for flow_control_disabled in [false, true] {
            let association = Association::with(&rig, digests, 0);
            let mut io = association.io_with(1, 16, flow_control_disabled);
            // One H2CData, several of odd lengths, many of 4 bytes.
            for (blocks, chunk) in
                [(256, u32::MAX), (256, 40_004), (3, 4), (1, 512), (16, 4096), (17, 4096), (64, 5000)]
            {
                let bytes = pattern(seed * 100 + u64::from(blocks), blocks as usize * 512);
                (io.chunk, io.chunks) = (chunk, 0);
                io.write(1, 5, &bytes, 512);
                assert_eq!(io.chunks, bytes.len().div_ceil(chunk as usize));
                same(&io.read(1, 5, blocks, 512), &bytes, "by R2T");
                // From here on a RAM disk has whole slots to receive into.
                io.write(1, 16, &bytes, 512);
                same(&io.read(1, 16, blocks, 512), &bytes, "by R2T, aligned");
            }
            for blocks in [1, 8, 15, 16] {
                let bytes = pattern(seed + u64::from(blocks), blocks as usize * 512);
                io.ok(Sqe::write(1, 7, blocks, false), Data::Capsule(&bytes));
                same(&io.read(1, 7, blocks, 512), &bytes, "in the capsule");
            }
        }
    }
}

#[test]
fn ic_resp_is_what_linux_accepts() {
    let rig = Rig::new(&["ram:1MiB"]);
    for digests in ALL_DIGESTS {
        let mut raw = Raw::new(rig.addr);
        raw.send(&pdu::ic_req(digests, 0));
        let pdu = raw.pdu();
        let response = pdu.ic_resp();
        assert_eq!((response.pfv.get(), response.cpda, response.dgst), (0, 0, digests.bits()));
        assert!(response.maxh2cdata.get() >= 4096 && response.maxh2cdata.get().is_multiple_of(4));
        assert_eq!((pdu.ch.hlen, pdu.ch.pdo, pdu.ch.flags, pdu.ch.plen.get()), (128, 0, 0, 128));
        assert_eq!(response.reserved, [0; 112]);
    }
}

/// Data starts where the host wants it (HPDA).
#[test]
fn data_is_aligned_as_asked_for() {
    let rig = Rig::new(&["ram:1MiB"]);
    for hpda in [0, 1, 5, 6, 7, 15, 31] {
        for digests in ALL_DIGESTS {
            let mut raw = Raw::new(rig.addr);
            raw.send(&pdu::ic_req(digests, hpda));
            assert_eq!(raw.pdu().ic_resp().cpda, 0);
            raw.digests = digests;
            raw.connect(Sqe::connect(0, 31, 0, 0), &connect_data(0xffff));
            let enable = Sqe::property_set(0x14, false, wire::nvme::Cc::enable().0.into());
            assert!(raw.run(enable, &[]).cqe.status().is_success());
            raw.command(Sqe::identify(1, 0, 0, 0), &[]);
            let data = raw.pdu();
            let alignment = (u32::from(hpda) + 1) * 4;
            let start = u32::from(data.ch.pdo);
            assert!(start.is_multiple_of(alignment) && start < 28 + alignment, "HPDA {hpda}: {start}");
            assert_eq!(data.data.len(), 4096);
            assert!(raw.pdu().cqe().status().is_success());
        }
    }
}

/// With flow control the response has the head of the queue; without it, FFFFh, and reads need no response at all.
#[test]
fn success_and_sqhd_follow_flow_control() {
    const DEPTH: u16 = 4;
    let rig = Rig::new(&["ram:1MiB"]);
    let (_admin, cntlid) = Raw::admin(&rig, NO_DIGESTS);
    let read = |cid| Sqe::read(1, 0, 1).with_data_by_transport(512).with_cid(cid);
    let mut with = Raw::open(rig.addr, NO_DIGESTS);
    let connected = with.connect(Sqe::connect(1, DEPTH - 1, 0, 0), &connect_data(cntlid));
    let mut head = connected.sqhd.get();
    for cid in 0..20 {
        with.command(read(cid), &[]);
        let data = with.pdu();
        assert_eq!(data.ch.flags, flags::LAST, "no SUCCESS with flow control");
        let cqe = with.pdu().cqe();
        head = (head + 1) % DEPTH;
        assert_eq!((cqe.cid.get(), cqe.sqhd.get(), cqe.status()), (cid, head, Status::SUCCESS));
    }
    let cattr = CATTR_DISABLE_SQ_FLOW_CONTROL;
    let mut without = Raw::open(rig.addr, NO_DIGESTS);
    let connected = without.connect(Sqe::connect(2, DEPTH - 1, 0, cattr), &connect_data(cntlid));
    assert_eq!(connected.sqhd.get(), 0xffff);
    for cid in 0..20 {
        without.command(read(cid), &[]);
        assert_eq!(without.pdu().ch.flags, flags::LAST | flags::SUCCESS);
        let cqe = without.run(Sqe::flush(1).with_cid(cid), &[]).cqe;
        assert_eq!(cqe.sqhd.get(), 0xffff);
    }
    // A failed read has a response and no data.
    without.fails(Sqe::read(1, 1 << 40, 1).with_data_by_transport(512), &[], Status::LBA_OUT_OF_RANGE.with_dnr());
}

/// Results of the admin queue are in responses, also without flow control.
#[test]
fn the_admin_queue_always_responds() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut raw = Raw::open(rig.addr, NO_DIGESTS);
    raw.connect(Sqe::connect(0, 31, 0, CATTR_DISABLE_SQ_FLOW_CONTROL), &connect_data(0xffff));
    let enable = Sqe::property_set(0x14, false, wire::nvme::Cc::enable().0.into());
    assert!(raw.run(enable, &[]).cqe.status().is_success());
    raw.command(Sqe::identify(1, 0, 0, 0), &[]);
    assert_eq!(raw.pdu().ch.flags, flags::LAST);
    assert_eq!(raw.pdu().cqe().sqhd.get(), 0xffff);
}

/// R2Ts ask for all of a transfer at once, whatever MAXH2CDATA is, with the tag that H2CData has to echo.
#[test]
fn a_queue_of_writes_is_asked_for_in_full() {
    const DEPTH: u16 = 16;
    let rig = Rig::new(&["ram:4MiB,bs=4096"]);
    let (_admin, cntlid) = Raw::admin(&rig, NO_DIGESTS);
    let mut io = Raw::io(rig.addr, cntlid, 1, DEPTH, 4, NO_DIGESTS);
    let mut asked = Vec::new();
    for cid in 0..DEPTH {
        let sqe = Sqe::write(1, u64::from(cid) * 8, 8, false).with_data_by_transport(32 << 10).with_cid(cid);
        io.command(sqe, &[]);
        let pdu = io.pdu();
        let r2t = pdu.r2t();
        assert_eq!((r2t.cccid.get(), r2t.r2to.get(), r2t.r2tl.get()), (cid, 0, 32 << 10));
        asked.push((cid, r2t.ttag.get()));
    }
    let tags: HashSet<u16> = asked.iter().map(|asked| asked.1).collect();
    assert_eq!(tags.len(), usize::from(DEPTH));
    // The data may come in any order of commands, and interleaved.
    let halves = |cid: u16| pattern(cid.into(), 32 << 10);
    for &(cid, ttag) in asked.iter().rev() {
        io.send(&pdu::h2c(cid, ttag, 0, &halves(cid)[..16 << 10], false, NO_DIGESTS));
    }
    for &(cid, ttag) in &asked {
        io.send(&pdu::h2c(cid, ttag, 16 << 10, &halves(cid)[16 << 10..], true, NO_DIGESTS));
    }
    let mut answered: Vec<u16> = (0..DEPTH).map(|_| io.pdu().cqe().cid.get()).collect();
    answered.sort_unstable();
    assert!(answered.into_iter().eq(0..DEPTH));
    for cid in 0..DEPTH {
        let read = Sqe::read(1, u64::from(cid) * 8, 8).with_data_by_transport(32 << 10);
        assert!(io.run(read, &[]).data == halves(cid));
    }
}

#[test]
fn more_commands_than_the_queue_has_entries_end_the_connection() {
    for depth in [2, 5, 64] {
        let rig = Rig::new(&["ram:1MiB"]);
        let (_admin, cntlid) = Raw::admin(&rig, NO_DIGESTS);
        let mut io = Raw::io(rig.addr, cntlid, 1, depth, 4, NO_DIGESTS);
        for cid in 0..=depth {
            io.command(Sqe::write(1, 0, 1, false).with_data_by_transport(512).with_cid(cid), &[]);
        }
        for _ in 0..depth {
            io.pdu().r2t();
        }
        io.is_terminated(Fes::SequenceError, "a command too many");
    }
}

#[test]
fn a_wrong_data_digest_costs_one_command() {
    let digests = Digests { header: false, data: true };
    let rig = Rig::new(&["ram:1MiB"]);
    let (mut admin, cntlid) = Raw::admin(&rig, digests);
    let mut io = Raw::io(rig.addr, cntlid, 1, 32, 4, digests);
    let good = pattern(1, 4096);
    assert!(io.run(Sqe::write(1, 0, 8, false).with_data_in_capsule(4096), &good).cqe.status().is_success());
    let write = Sqe::write(1, 0, 8, false).with_cid(9);
    // In the capsule.
    let mut wrong = pdu::command(write.with_data_in_capsule(4096), &[1; 4096], digests);
    *wrong.last_mut().unwrap() ^= 1;
    io.send(&wrong);
    assert_eq!(io.pdu().cqe().status(), Status::TRANSIENT_TRANSPORT_ERROR);
    // In the first of two H2CData; the second one is right.
    io.command(write.with_data_by_transport(4096), &[]);
    let ttag = io.pdu().r2t().ttag.get();
    let mut wrong = pdu::h2c(9, ttag, 0, &[1; 2048], false, digests);
    *wrong.last_mut().unwrap() ^= 1;
    io.send(&wrong);
    io.send(&pdu::h2c(9, ttag, 2048, &[1; 2048], true, digests));
    assert_eq!(io.pdu().cqe().status(), Status::TRANSIENT_TRANSPORT_ERROR);
    // Nothing of it was written, the queue works on, and the error log knows the command.
    assert_eq!(io.run(Sqe::read(1, 0, 8).with_data_by_transport(4096), &[]).data, good);
    let log = wire::nvme::LogRequest { lid: 1, lsp: 0, rae: false, offset: 0, bytes: 128, nsid: 0xffff_ffff };
    let entries = admin.run(Sqe::get_log(log), &[]).data;
    assert_eq!([entries[10], entries[31], entries[74], entries[95]], [9, 1, 9, 1], "identifiers and opcodes");
}

#[test]
fn a_wrong_header_digest_ends_the_connection() {
    let digests = Digests { header: true, data: false };
    let rig = Rig::new(&["ram:1MiB"]);
    let (_admin, cntlid) = Raw::admin(&rig, digests);
    let mut io = Raw::io(rig.addr, cntlid, 1, 32, 4, digests);
    let mut wrong = pdu::command(Sqe::flush(1), &[], digests);
    wrong[40] ^= 1;
    io.send(&wrong);
    let term = loop {
        let pdu = io.pdu();
        if pdu.ch.kind == kind::C2H_TERM_REQ {
            break pdu;
        }
    };
    assert_eq!(term.data[..], wrong[..72], "it quotes the header");
    assert_ne!(Crc32c::of(&wrong[..72]), wrong[72..76]);
    assert!(io.try_pdu().is_none());
}
