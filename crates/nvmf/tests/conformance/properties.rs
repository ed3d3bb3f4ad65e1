//! Properties, and what enabling, resetting and shutting down do.

use qpair_nvmf::limits::QUEUE_ENTRIES;
use wire::nvme::fabrics::PropertyCommand;
use wire::nvme::{Cap, Cc, Csts, Sqe, Status, property};
use zerocopy::IntoBytes;

use crate::common::{Association, Data, NO_DIGESTS, NQN, Raw, Rig, pattern, same};

#[test]
fn a_property_has_one_size_and_the_others_do_not_exist() {
    let rig = Rig::new(&["ram:1MiB"]);
    let (mut raw, _) = Raw::admin(&rig, NO_DIGESTS);
    let there = [(property::CAP, true), (property::VS, false), (property::CC, false), (property::CSTS, false)];
    let there: Vec<_> = there.into_iter().chain([(property::CRTO, false)]).collect();
    for offset in (0..0x80).chain([0x1000, u32::MAX - 3, u32::MAX]) {
        for eight in [false, true] {
            let cqe = raw.run(Sqe::property_get(offset, eight), &[]).cqe;
            let expected =
                if there.contains(&(offset, eight)) { Status::SUCCESS } else { Status::INVALID_FIELD.with_dnr() };
            assert_eq!(cqe.status(), expected, "offset {offset:x}h, eight bytes: {eight}");
        }
    }
    for attrib in 2..8 {
        let command = PropertyCommand { attrib, ..*PropertyCommand::view(&Sqe::property_get(0, true)) };
        raw.fails(zerocopy::transmute!(command), &[], Status::INVALID_FIELD.with_dnr());
    }
}

#[test]
fn only_cc_can_be_set() {
    let rig = Rig::new(&["ram:1MiB"]);
    let (mut raw, _) = Raw::admin(&rig, NO_DIGESTS);
    let value = u64::from(Cc::enable().0);
    for (offset, eight) in (0..0x80).flat_map(|offset| [(offset, false), (offset, true)]) {
        if (offset, eight) != (property::CC, false) {
            raw.fails(Sqe::property_set(offset, eight, value), &[], Status::INVALID_FIELD.with_dnr());
        }
    }
    assert_eq!(raw.run(Sqe::property_get(property::CC, false), &[]).cqe.result(), value);
}

#[test]
fn capabilities_are_what_a_host_can_use() {
    let rig = Rig::new(&["ram:1MiB"]);
    let (mut raw, _) = Raw::admin(&rig, NO_DIGESTS);
    let mut get = |offset, eight| raw.run(Sqe::property_get(offset, eight), &[]).cqe.result();
    let cap = Cap(get(property::CAP, true));
    assert_eq!((cap.mqes(), cap.cqr(), cap.mpsmin(), cap.dstrd()), (QUEUE_ENTRIES - 1, true, 0, 0));
    assert!(cap.css() & Cap::CSS_NVM != 0 && cap.css() & Cap::CSS_IOCSS == 0, "the NVM command set and no other");
    assert!(cap.to() > 0, "a time-out of 0 is no time to get ready in");
    // CAP.CRMS says that CRTO is there.
    assert!(cap.crms() & Cap::CRMS_WITH_MEDIA != 0 && get(property::CRTO, false) > 0);
    assert_eq!(get(property::VS, false), 0x2_0000);
}

#[test]
fn enable_reset_shutdown() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut association = Association::connected(&rig, NQN, NO_DIGESTS, 0);
    assert_eq!(association.csts(), 0);
    // Nothing but fabrics commands before CC.EN.
    for early in [Sqe::keep_alive(), Sqe::async_event(), Sqe::abort(0, 1), Sqe::get_features(7, 0)] {
        let done = association.admin.run(early, Data::None);
        assert!(done.status().same_code(Status::COMMAND_SEQUENCE_ERROR), "{early:?}: {}", done.status());
    }
    association.set_cc(Cc::enable());
    assert_eq!(association.csts(), Csts::default().with_rdy(true).0);
    // The same value once more changes nothing.
    association.set_cc(Cc::enable());
    association.admin.ok(Sqe::get_features(7, 0), Data::None);
    association.set_cc(Cc::enable().with_normal_shutdown());
    assert_eq!(Csts(association.csts()).shst(), Csts::SHST_COMPLETE);
    // A reset makes it usable again.
    association.set_cc(Cc::enable().with_en(false));
    assert_eq!(association.csts(), 0);
    association.enable();
    association.admin.ok(Sqe::get_features(7, 0), Data::None);
}

#[test]
fn unsupported_settings_are_a_fatal_status() {
    let rig = Rig::new(&["ram:1MiB"]);
    let enable = Cc::enable();
    for cc in [
        enable.with_css(Cc::CSS_ALL),
        enable.with_css(Cc::CSS_ADMIN_ONLY),
        Cc(enable.0 & !(0xf << 16)),
        Cc(enable.0 & !(0xf << 20)),
        Cc(enable.0 | 1 << 7),
        Cc(enable.0 | 1 << 11),
    ] {
        let mut association = Association::connected(&rig, NQN, NO_DIGESTS, 0);
        association.set_cc(cc);
        let csts = Csts(association.csts());
        assert_eq!((csts.cfs(), csts.rdy()), (true, false), "{cc:?}");
        association.set_cc(Cc::default());
        association.enable();
    }
}

#[test]
fn a_reset_ends_what_was_there_before() {
    let rig = Rig::on_two_reactors(&["ram:1MiB"]);
    let mut association = Association::new(&rig);
    let (mut one, mut two) = (association.io(1), association.io(2));
    one.write(1, 0, &[1; 512], 512);
    two.write(1, 1, &[2; 512], 512);
    let event = association.admin.submit(Sqe::async_event(), Data::None);
    association.admin.submit(Sqe::property_set(property::CC, false, 0), Data::None);
    let aborted = association.admin.wait();
    assert_eq!((aborted.slot, aborted.status()), (event, Status::ABORTED_SQ_DELETION));
    assert!(association.admin.wait().status().is_success());
    association.enable();
    one.is_closed();
    two.is_closed();
    let mut again = association.io(1);
    assert_eq!(again.read(1, 0, 1, 512), [1; 512]);
    assert_eq!(rig.target.controller_count(), 1);
}

/// A write whose data comes after a reset is not carried out: the host has long sent it again elsewhere.
#[test]
fn data_that_comes_after_a_reset_is_not_written() {
    let rig = Rig::on_two_reactors(&["ram:1MiB"]);
    let mut association = Association::new(&rig);
    let mut old = Raw::io(rig.addr, association.cntlid, 1, 32, 0, NO_DIGESTS);
    old.command(Sqe::write(1, 0, 8, false).with_data_by_transport(4096), &[]);
    let (cccid, ttag) = {
        let pdu = old.pdu();
        (pdu.r2t().cccid.get(), pdu.r2t().ttag.get())
    };
    association.set_cc(Cc::enable().with_en(false));
    old.send(&crate::common::pdu::h2c(cccid, ttag, 0, &pattern(1, 4096), true, NO_DIGESTS));
    old.is_closed();
    association.enable();
    same(&association.io(1).read(1, 0, 8, 512), &[0; 4096], "what was there before");
}

#[test]
fn properties_are_reached_through_the_admin_queue_alone() {
    let rig = Rig::new(&["ram:1MiB"]);
    let (mut admin, cntlid) = Raw::admin(&rig, NO_DIGESTS);
    let mut io = Raw::io(rig.addr, cntlid, 1, 32, 0, NO_DIGESTS);
    for sqe in [Sqe::property_get(property::CSTS, false), Sqe::property_set(property::CC, false, 0)] {
        io.fails(sqe, &[], Status::INVALID_FIELD.with_dnr());
    }
    assert_eq!(admin.run(Sqe::property_get(property::CSTS, false), &[]).cqe.as_bytes()[0], 1);
}
