//! Keep Alive, Asynchronous Event Request, Abort, and the flags of any command.

use wire::nvme::{Sqe, Status, cns};

use crate::common::{Association, Data, NO_DIGESTS, Raw, Rig};

#[test]
fn keep_alive_needs_a_timer() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut without = Association::new(&rig).admin;
    without.fails(Sqe::keep_alive(), Data::None, Status::KEEP_ALIVE_TIMEOUT_INVALID.with_dnr());
    let mut with = Association::with(&rig, NO_DIGESTS, 60_000).admin;
    with.ok(Sqe::keep_alive(), Data::None);
    // Set Features starts one, too.
    without.ok(Sqe::set_features(0x0f, 0, 60_000), Data::None);
    without.ok(Sqe::keep_alive(), Data::None);
}

#[test]
fn four_event_requests_are_held_and_a_fifth_is_refused() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut admin = Association::new(&rig).admin;
    for _ in 0..4 {
        admin.submit(Sqe::async_event(), Data::None);
    }
    for _ in 0..3 {
        admin.fails(Sqe::async_event(), Data::None, Status::ASYNC_EVENT_LIMIT.with_dnr());
    }
    admin.ok(Sqe::identify(cns::CONTROLLER, 0, 0, 0), Data::Read(4096));
    assert_eq!(admin.in_flight(), 4, "they wait for an event");
}

#[test]
fn an_event_request_can_be_aborted() {
    let rig = Rig::new(&["ram:1MiB"]);
    let (mut raw, _) = Raw::admin(&rig, NO_DIGESTS);
    for cid in 100..104 {
        raw.command(Sqe::async_event().with_cid(cid), &[]);
    }
    raw.command(Sqe::abort(0, 102).with_cid(7), &[]);
    let (aborted, abort) = (raw.pdu().cqe(), raw.pdu().cqe());
    assert_eq!((aborted.cid.get(), aborted.status()), (102, Status::ABORT_REQUESTED));
    assert_eq!((abort.cid.get(), abort.status(), abort.result()), (7, Status::SUCCESS, 0));
    // It is gone, and there is room for another.
    assert_eq!(raw.run(Sqe::abort(0, 102).with_cid(8), &[]).cqe.result(), 1);
    raw.command(Sqe::async_event().with_cid(102), &[]);
    assert_eq!(raw.run(Sqe::keep_alive().with_cid(9), &[]).cqe.cid.get(), 9);
}

#[test]
fn the_pointer_is_an_sgl_and_only_pairs_are_fused() {
    let rig = Rig::new(&["ram:1MiB"]);
    let (mut admin, cntlid) = Raw::admin(&rig, NO_DIGESTS);
    let mut io = Raw::io(rig.addr, cntlid, 1, 32, 4, NO_DIGESTS);
    let write = Sqe::write(1, 0, 1, false).with_data_by_transport(512);
    for flags in [0x00, 0x80, 0xc0, 0x41, 0x42, 0x43] {
        let with = |sqe| Sqe { flags, ..sqe };
        let invalid = Status::INVALID_FIELD.with_dnr();
        for sqe in [Sqe::identify(cns::CONTROLLER, 0, 0, 0), Sqe::keep_alive(), Sqe::async_event(), Sqe::abort(0, 0)] {
            admin.fails(with(sqe), &[], invalid);
        }
        for sqe in [Sqe::read(1, 0, 1).with_data_by_transport(512), Sqe::flush(1), Sqe::dsm(1, 1, true)] {
            io.fails(with(sqe), &[], invalid);
        }
        // A write can be the second half of a pair: see `fused`.
        if flags != 0x42 {
            io.fails(with(write), &[], invalid);
        }
    }
    // Fabrics commands cannot be fused: the bits are reserved there.
    assert!(admin.run(Sqe { flags: 0x41, ..Sqe::property_get(0, true) }, &[]).cqe.status().is_success());
}

#[test]
fn an_identifier_in_use_is_a_conflict() {
    let rig = Rig::new(&["ram:1MiB"]);
    let (mut raw, _) = Raw::admin(&rig, NO_DIGESTS);
    raw.command(Sqe::async_event().with_cid(3), &[]);
    raw.fails(Sqe::keep_alive().with_cid(3), &[], Status::COMMAND_ID_CONFLICT.with_dnr());
    // The error log says which command that was.
    let log = Sqe::get_log(wire::nvme::LogRequest {
        lid: 1,
        lsp: 0,
        rae: false,
        offset: 0,
        bytes: 64,
        nsid: wire::nvme::NSID_ALL,
    });
    let entry = raw.run(log.with_cid(4), &[]).data;
    assert_eq!((entry[10], entry[31]), (3, 0x18), "the identifier and the opcode");
}
