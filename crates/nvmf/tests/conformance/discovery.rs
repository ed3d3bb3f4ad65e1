//! The discovery controller: one log, and nothing of an I/O controller.

use wire::nvme::discovery::{DiscoveryLogEntry, DiscoveryLogHeader, SUBTYPE_NVM, TREQ_DISABLE_SQ_FLOW_CONTROL};
use wire::nvme::identify::cntrltype;
use wire::nvme::{IdentifyController, LogRequest, Nqn, Sqe, Status, SupportedLogPages, cns, lid, nqn};
use zerocopy::FromBytes;

use crate::common::{Association, Data, NO_DIGESTS, NQN, Rig};

fn discovery(rig: &Rig) -> Association {
    let mut association = Association::connected(rig, nqn::DISCOVERY, NO_DIGESTS, 0);
    association.enable();
    association
}

fn request(lid: u8, offset: u64, bytes: u32) -> Sqe {
    Sqe::get_log(LogRequest { lid, lsp: 0, rae: false, offset, bytes, nsid: 0 })
}

#[test]
fn the_log_has_the_address_that_the_host_reached() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut admin = discovery(&rig).admin;
    // As nvme-cli reads it: the header, then all of it in parts, then the header again.
    let header = admin.ok(request(lid::DISCOVERY, 0, 1024), Data::Read(1024)).data;
    let first = *DiscoveryLogHeader::ref_from_bytes(&header).unwrap();
    assert_eq!((first.numrec.get(), first.recfmt.get()), (1, 0));
    let mut all = Vec::new();
    for offset in (0..2048).step_by(512) {
        all.extend(admin.ok(request(lid::DISCOVERY, offset, 512), Data::Read(512)).data);
    }
    let (header, entry) = all.split_at(1024);
    assert_eq!(DiscoveryLogHeader::ref_from_bytes(header).unwrap().genctr, first.genctr);
    let entry = DiscoveryLogEntry::ref_from_bytes(entry).unwrap();
    assert_eq!(entry.socket_address(), Some(rig.addr));
    assert_eq!((entry.subnqn(), entry.subtype), (Nqn::new(NQN), SUBTYPE_NVM));
    assert_eq!((entry.cntlid.get(), entry.asqsz.get()), (0xffff, 32));
    assert_ne!(entry.treq & TREQ_DISABLE_SQ_FLOW_CONTROL, 0, "hosts turn flow control off if this says so");
    for offset in [2052, 4096, u64::MAX - 3] {
        admin.fails(request(lid::DISCOVERY, offset, 512), Data::Read(512), Status::INVALID_FIELD.with_dnr());
    }
}

#[test]
fn it_says_what_it_is() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut association = discovery(&rig);
    let bytes = association.admin.ok(Sqe::identify(cns::CONTROLLER, 0, 0, 0), Data::Read(4096)).data;
    let id = IdentifyController::ref_from_bytes(&bytes).unwrap();
    assert_eq!((id.cntrltype, id.cntlid.get(), id.nn.get()), (cntrltype::DISCOVERY, association.cntlid, 0));
    assert!(id.ioccsz.get() >= 4 && id.iorcsz.get() >= 1 && id.sgls.get() & 3 != 0);
    assert!(id.subnqn.starts_with(nqn::DISCOVERY.as_bytes()));
    let logs = association.admin.ok(request(lid::SUPPORTED_LOG_PAGES, 0, 1024), Data::Read(1024)).data;
    let logs = SupportedLogPages::ref_from_bytes(&logs).unwrap();
    for lid in 0..=u8::MAX {
        let status = association.admin.run(request(lid, 0, 512), Data::Read(512)).status();
        let listed = logs.lids[usize::from(lid)].get() & SupportedLogPages::LSUPP != 0;
        assert_eq!((status.is_success(), lid == 0 || lid == lid::DISCOVERY), (listed, listed), "log {lid:02x}h");
    }
    for cns in (0..=u8::MAX).filter(|&cns| cns != cns::CONTROLLER) {
        let sqe = Sqe::identify(cns, 1, 0, 0);
        association.admin.fails(sqe, Data::Read(4096), Status::INVALID_FIELD.with_dnr());
    }
}

#[test]
fn there_is_no_io() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut association = discovery(&rig);
    let refused = association.try_io(1, 32, false).1.status();
    assert_eq!(refused, Status::CONNECT_INVALID_PARAMETERS.with_dnr());
    let admin = &mut association.admin;
    // An I/O opcode on the admin queue is an admin opcode: 01h and 00h are Create and Delete Queue.
    for opcode in [0x00, 0x01, 0x04, 0x05, 0x09, 0x0a] {
        let status = admin.run(Sqe { opcode, ..Sqe::flush(1) }, Data::None).status();
        assert!(!status.is_success() && status.dnr, "opcode {opcode:02x}h: {status}");
    }
    admin.fails(Sqe::set_features(7, 0, 3), Data::None, Status::INVALID_FIELD.with_dnr());
    admin.ok(Sqe::get_features(0x0f, 0), Data::None);
}

#[test]
fn a_persistent_connection_has_a_timer_and_events() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut association = Association::connected(&rig, nqn::DISCOVERY, NO_DIGESTS, 120_000);
    association.enable();
    association.admin.ok(Sqe::keep_alive(), Data::None);
    association.admin.submit(Sqe::async_event(), Data::None);
    association.admin.ok(Sqe::get_features(0x0f, 0), Data::None);
    drop(association);
    rig.await_controllers(0);
}
