//! Hosts are told what changes: asynchronous events, and the logs that say more.

use wire::nvme::feature::{Event, event_config, fid};
use wire::nvme::{IdentifyNamespace, LogRequest, Sqe, Status, cns, lid, nqn};
use zerocopy::FromBytes;

use crate::common::{Association, Data, Host, NO_DIGESTS, Rig, devices};

fn enable(admin: &mut Host, events: u32) {
    admin.ok(Sqe::set_features(fid::ASYNC_EVENT_CONFIG, 0, events), Data::None);
}

fn log(lid: u8, rae: bool) -> Sqe {
    Sqe::get_log(LogRequest { lid, lsp: 0, rae, offset: 0, bytes: 4096, nsid: 0xffff_ffff })
}

/// The Changed Namespace List.
fn changed(admin: &mut Host, rae: bool) -> Vec<u32> {
    let log = admin.ok(log(lid::CHANGED_NAMESPACES, rae), Data::Read(4096)).data;
    let all = log.chunks(4).map(|nsid| u32::from_le_bytes(nsid.try_into().expect("four bytes")));
    all.take_while(|&nsid| nsid != 0).collect()
}

fn change(rig: &mut Rig, nsid: u32) {
    rig.apply(|layout| {
        let namespaces = &mut layout.subsystems[0].namespaces;
        if namespaces.remove(&nsid).is_none() {
            namespaces.insert(nsid, devices(&["ram:1MiB"]).remove(0));
        }
    });
}

fn event(admin: &mut Host) -> Event {
    let done = admin.wait();
    assert_eq!(done.status(), Status::SUCCESS);
    Event::from_result(done.result())
}

#[test]
fn a_host_learns_of_namespaces() {
    // The admin queues of two hosts are on different reactors.
    let mut rig = Rig::on_two_reactors(&["ram:1MiB"]);
    let mut hosts = [Association::new(&rig), Association::new(&rig)].map(|association| association.admin);
    for admin in &mut hosts {
        enable(admin, event_config::NAMESPACE_ATTRIBUTE);
        admin.submit(Sqe::async_event(), Data::None);
    }
    change(&mut rig, 7);
    for admin in &mut hosts {
        assert_eq!(event(admin), Event::NAMESPACES_CHANGED);
        // Not again before the list was read, and reading it so that the event is retained does not count.
        admin.submit(Sqe::async_event(), Data::None);
        assert_eq!(changed(admin, true), [7]);
    }
    change(&mut rig, 3);
    for admin in &mut hosts {
        assert_eq!(changed(admin, false), [3, 7]);
        assert_eq!(changed(admin, false), [0; 0]);
        assert!(!admin.has_done());
    }
    // Removed and added again without a host that reads in between: one event.
    change(&mut rig, 7);
    change(&mut rig, 7);
    for admin in &mut hosts {
        assert_eq!(event(admin), Event::NAMESPACES_CHANGED);
        assert_eq!(changed(admin, false), [7]);
    }
    // An event that nobody waits for is kept.
    change(&mut rig, 9);
    for admin in &mut hosts {
        admin.submit(Sqe::async_event(), Data::None);
        assert_eq!(event(admin), Event::NAMESPACES_CHANGED);
    }
}

#[test]
fn who_does_not_ask_is_not_told() {
    let mut rig = Rig::new(&["ram:1MiB"]);
    let mut admin = Association::new(&rig).admin;
    admin.submit(Sqe::async_event(), Data::None);
    change(&mut rig, 2);
    assert_eq!(changed(&mut admin, true), [2]);
    assert!(!admin.has_done());
    enable(&mut admin, event_config::NAMESPACE_ATTRIBUTE);
    change(&mut rig, 3);
    assert_eq!(event(&mut admin), Event::NAMESPACES_CHANGED);
}

#[test]
fn a_persistent_discovery_connection_learns_of_its_log() {
    let mut rig = Rig::on_two_reactors(&["ram:1MiB"]);
    let mut discovery = Association::connected(&rig, nqn::DISCOVERY, NO_DIGESTS, 10_000);
    discovery.enable();
    let admin = &mut discovery.admin;
    admin.fails(
        Sqe::set_features(fid::ASYNC_EVENT_CONFIG, 0, event_config::NAMESPACE_ATTRIBUTE),
        Data::None,
        Status::INVALID_FIELD.with_dnr(),
    );
    enable(admin, event_config::DISCOVERY_CHANGE);
    for round in 0..3u8 {
        admin.submit(Sqe::async_event(), Data::None);
        change(&mut rig, 2);
        assert!(!admin.has_done(), "a namespace is not in the log");
        let elsewhere = ([192, 0, 2, round + 1], 8009).into();
        rig.apply(|layout| layout.referrals = vec![qpair_nvmf::Referral { address: elsewhere }]);
        assert_eq!(event(admin), Event::DISCOVERY_CHANGED);
        admin.ok(log(lid::DISCOVERY, false), Data::Read(4096));
    }
}

#[test]
fn a_host_learns_that_a_namespace_has_grown() {
    let directory = tempfile::tempdir().expect("a directory");
    let name = format!("{},size=1MiB,bs=512", directory.path().join("disk.img").display());
    let mut rig = Rig::on_two_reactors(&[&name]);
    let mut association = Association::new(&rig);
    enable(&mut association.admin, event_config::NAMESPACE_ATTRIBUTE);
    association.admin.submit(Sqe::async_event(), Data::None);
    let mut io = [association.io(1), association.io(2)];
    for io in &mut io {
        io.fails(Sqe::read(1, 2048, 1), Data::Read(512), Status::LBA_OUT_OF_RANGE.with_dnr());
    }
    rig.device(1).refresh(Some(2 << 20)).expect("it grows");
    assert_eq!(rig.apply(|_| {}).namespaces_resized.len(), 1);
    assert_eq!(event(&mut association.admin), Event::NAMESPACES_CHANGED);
    assert_eq!(changed(&mut association.admin, false), [1]);
    let bytes = association.admin.ok(Sqe::identify(cns::NAMESPACE, 1, 0, 0), Data::Read(4096)).data;
    assert_eq!(IdentifyNamespace::ref_from_bytes(&bytes).expect("a page").nsze.get(), 4096);
    for io in &mut io {
        io.write(1, 4088, &[7; 4096], 512);
        assert_eq!(io.read(1, 4088, 8, 512), [7; 4096]);
    }
    assert!(rig.apply(|_| {}).is_empty());
}
