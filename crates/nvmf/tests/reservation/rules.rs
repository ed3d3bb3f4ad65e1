//! Registration, limits, reports, and what Identify says of it all.

use qpair_nvmf::limits::{REGISTRANTS, TRANSFER_BYTES};
use wire::nvme::reservation::{
    AcquireAction, Change, Keys, RegisterAction, RegisteredController, ReleaseAction, ReservationStatus,
    ReservationType, rescap,
};
use wire::nvme::{IdentifyNamespace, Sqe, Status, cns};
use zerocopy::{FromBytes, IntoBytes};

use crate::common::{Data, Rig};
use crate::{Member, OK, conflict};

#[test]
fn seventeen_hosts_and_more_until_the_limit_says_so() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut first = Member::new(&rig, 0);
    // The same connections serve all: a registration outlives the association that made it.
    for number in 0..REGISTRANTS as u16 {
        assert_eq!(Member::new(&rig, number).register(u64::from(number) + 1, None), OK, "host {number}");
    }
    let mut late = Member::new(&rig, REGISTRANTS as u16);
    assert_eq!(late.register(7777, None), Status::INTERNAL_ERROR);
    assert_eq!(late.acquire(ReservationType::WriteExclusive, 7777), conflict());
    let (status, entries) = first.report();
    assert_eq!((status.generation.get(), status.rtype, entries.len()), (REGISTRANTS as u32, 0, REGISTRANTS));
    let keys: Vec<u64> = entries.iter().map(|(_, key, _)| *key).collect();
    assert_eq!(keys, (1..=REGISTRANTS as u64).collect::<Vec<_>>());
    assert_eq!(first.acquire(ReservationType::WriteExclusiveAll, 1), OK);
    assert!(first.report().1.iter().all(|(_, _, holds)| *holds), "all of them hold it");
    assert_eq!(first.unregister(1), OK);
    assert_eq!(late.register(7777, None), OK, "there is room again");
    assert!(first.report().1.iter().all(|(_, key, _)| *key != 1));
}

#[test]
fn keys_decide() {
    let rig = Rig::new(&["ram:1MiB"]);
    let (mut a, mut b) = (Member::new(&rig, 1), Member::new(&rig, 2));
    assert_eq!((a.register(10, None), b.register(20, None)), (OK, OK));
    assert_eq!((a.register(10, None), a.register(11, None)), (OK, conflict()), "the same key, another key");
    assert_eq!(a.register(0, None), Status::INVALID_FIELD.with_dnr());
    assert_eq!(a.unregister(99), conflict());
    let replace = |ignore_key| Change::Register { action: RegisterAction::Replace, ignore_key, persist: None };
    assert_eq!(a.change(replace(false), 99, 12), conflict());
    assert_eq!((a.change(replace(false), 10, 12), a.change(replace(true), 0, 13)), (OK, OK));
    let (status, entries) = b.report();
    assert_eq!((status.generation.get(), entries), (5, vec![(a.id, 13, false), (b.id, 20, false)]));
    let kind = ReservationType::ExclusiveAccess;
    assert_eq!((a.acquire(kind, 10), a.acquire(kind, 13), b.acquire(kind, 20)), (conflict(), OK, conflict()));
    assert_eq!(b.preempt(AcquireAction::Preempt, kind, 20, 0), Status::INVALID_FIELD.with_dnr());
    assert_eq!(b.preempt(AcquireAction::Preempt, kind, 20, 99), conflict());
    assert_eq!(a.release(ReservationType::WriteExclusive, 13), Status::INVALID_FIELD.with_dnr());
    assert_eq!((b.release(kind, 20), a.release(kind, 13)), (OK, OK));
    assert_eq!(a.report().0.rtype, 0);
}

/// Linux sent two keys with a release until 6.14.
#[test]
fn a_release_may_bring_a_second_key() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut a = Member::new(&rig, 1);
    let kind = ReservationType::WriteExclusive;
    assert_eq!((a.register(10, None), a.acquire(kind, 10)), (OK, OK));
    let release = Change::Release { action: ReleaseAction::Release, kind: kind.code() };
    let mut release = |bytes: usize| {
        let data = [Keys::new(10, 0).as_bytes(), &[0; 8]].concat();
        let sqe = Sqe::reservation(1, release).with_data_in_capsule(bytes as u32);
        a.io.run(sqe, Data::Capsule(&data[..bytes])).status()
    };
    let wrong = Status::INVALID_SGL_DATA_LENGTH.with_dnr();
    assert_eq!((release(7), release(17), release(16)), (wrong, wrong, OK));
    assert_eq!(a.report().0.rtype, 0);
}

#[test]
fn keys_come_by_r2t_as_well() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut a = Member::new(&rig, 1);
    let register = Change::Register { action: RegisterAction::Register, ignore_key: false, persist: None };
    a.io.ok(Sqe::reservation(1, register), Data::R2t(Keys::new(0, 5).as_bytes()));
    assert_eq!(a.report().1, [(a.id, 5, false)]);
    let short = a.io.run(Sqe::reservation(1, register), Data::Capsule(&[0; 8]));
    assert_eq!(short.status(), Status::INVALID_SGL_DATA_LENGTH.with_dnr());
}

#[test]
fn reports_of_every_length() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut a = Member::new(&rig, 1);
    assert_eq!(a.register(5, None), OK);
    let whole = a.io.ok(Sqe::reservation_report(1, 4096, true), Data::Read(4096)).data;
    for bytes in [4, 24, 64, 100, 128, TRANSFER_BYTES] {
        let part = a.io.ok(Sqe::reservation_report(1, bytes, true), Data::Read(bytes as usize)).data;
        let common = part.len().min(whole.len());
        assert_eq!(part[..common], whole[..common]);
    }
    let beyond = Sqe::reservation_report(1, TRANSFER_BYTES + 4, true);
    a.io.fails(beyond, Data::Read(TRANSFER_BYTES as usize + 4), Status::INVALID_FIELD.with_dnr());
    // 64-bit host identifiers are not what a fabrics host has.
    let bytes = size_of::<ReservationStatus>() + size_of::<RegisteredController>();
    let status = Status::HOST_IDENTIFIER_INCONSISTENT_FORMAT.with_dnr();
    a.io.fails(Sqe::reservation_report(1, bytes as u32, false), Data::Read(bytes), status);
    a.io.fails(Sqe::reservation_report(9, 64, true), Data::Read(64), Status::INVALID_NAMESPACE.with_dnr());
}

#[test]
fn a_disk_in_memory_says_that_nothing_persists() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut a = Member::new(&rig, 1);
    let page = a.admin.ok(Sqe::identify(cns::NAMESPACE, 1, 0, 0), Data::Read(4096)).data;
    let page = IdentifyNamespace::ref_from_bytes(&page).unwrap();
    assert_eq!((page.rescap, page.nmic & 1), (rescap::ALL_TYPES | rescap::IEKEY_1_3, 1));
    assert_eq!(a.register(1, Some(true)), Status::INVALID_FIELD.with_dnr());
    assert_eq!((a.register(1, Some(false)), a.report().0.ptpls), (OK, 0));
}
