//! The notification log, its mask, and the event that announces it.

use wire::nvme::feature::{Event, fid};
use wire::nvme::reservation::{AcquireAction, Notification, NotificationPage, ReservationType, mask};
use wire::nvme::{LogRequest, Sqe, Status, lid};
use zerocopy::FromBytes;

use crate::common::{Data, Rig};
use crate::{Member, OK};

fn page(member: &mut Member, rae: bool) -> (u8, u8) {
    let log = LogRequest { lid: lid::RESERVATION_NOTIFICATION, lsp: 0, rae, offset: 0, bytes: 64, nsid: 0 };
    let data = member.admin.ok(Sqe::get_log(log), Data::Read(64)).data;
    let page = NotificationPage::read_from_bytes(&data).unwrap();
    assert_eq!(page.nsid.get(), u32::from(page.kind != 0));
    (page.kind, page.available)
}

const PREEMPTED: u8 = Notification::RegistrationPreempted as u8;
const RELEASED: u8 = Notification::ReservationReleased as u8;
const CLEARED: u8 = Notification::ReservationPreempted as u8;

#[test]
fn those_concerned_are_told_and_read_one_page_after_the_other() {
    let rig = Rig::on_two_reactors(&["ram:1MiB"]);
    let (mut a, mut b, mut c) = (Member::new(&rig, 1), Member::new(&rig, 2), Member::new(&rig, 3));
    let kind = ReservationType::WriteExclusiveRegistrants;
    assert_eq!((a.register(1, None), b.register(2, None), c.register(3, None)), (OK, OK, OK));
    assert_eq!((a.acquire(kind, 1), a.release(kind, 1)), (OK, OK));
    assert_eq!(a.preempt(AcquireAction::Preempt, kind, 1, 2), OK);
    assert_eq!(a.clear(1), OK);
    assert_eq!(
        [page(&mut b, true), page(&mut b, false), page(&mut b, false)],
        [(RELEASED, 1), (RELEASED, 1), (PREEMPTED, 0)]
    );
    assert_eq!([page(&mut c, false), page(&mut c, false), page(&mut c, false)], [(RELEASED, 1), (CLEARED, 0), (0, 0)]);
    assert_eq!(page(&mut a, false), (0, 0), "who did it knows it");
}

#[test]
fn an_event_is_sent_once_until_the_log_is_read() {
    let rig = Rig::new(&["ram:1MiB"]);
    let (mut a, mut b) = (Member::new(&rig, 1), Member::new(&rig, 2));
    let kind = ReservationType::WriteExclusiveRegistrants;
    assert_eq!((a.register(1, None), b.register(2, None)), (OK, OK));
    assert_eq!((a.acquire(kind, 1), a.release(kind, 1)), (OK, OK));
    // The request comes after what it is to tell of.
    b.admin.submit(Sqe::async_event(), Data::None);
    let event = b.admin.wait();
    assert_eq!((event.status(), Event::from_result(event.result())), (OK, Event::RESERVATION_LOG));
    b.admin.submit(Sqe::async_event(), Data::None);
    assert_eq!((a.acquire(kind, 1), a.release(kind, 1)), (OK, OK));
    assert_eq!(page(&mut b, true), (RELEASED, 1), "and no event before it: the answer would not be the log");
    // Reading ends the event; what is left is another one.
    let log = LogRequest { lid: lid::RESERVATION_NOTIFICATION, lsp: 0, rae: false, offset: 0, bytes: 64, nsid: 0 };
    b.admin.submit(Sqe::get_log(log), Data::Read(64));
    let (first, second) = (b.admin.wait(), b.admin.wait());
    assert_eq!((first.data.len(), Event::from_result(second.result())), (64, Event::RESERVATION_LOG));
}

#[test]
fn masks_keep_notices_away() {
    let rig = Rig::new(&["ram:1MiB"]);
    let (mut a, mut b) = (Member::new(&rig, 1), Member::new(&rig, 2));
    let kind = ReservationType::WriteExclusiveRegistrants;
    let set = |nsid, value| Sqe::set_features(fid::RESERVATION_NOTIFICATION, nsid, value);
    b.admin.fails(set(1, 1), Data::None, Status::INVALID_FIELD.with_dnr());
    b.admin.fails(set(2, 0), Data::None, Status::INVALID_NAMESPACE.with_dnr());
    b.admin.ok(set(u32::MAX, mask::RESERVATION_RELEASED), Data::None);
    let get = Sqe::get_features(fid::RESERVATION_NOTIFICATION, 1);
    assert_eq!(b.admin.ok(get, Data::None).result(), u64::from(mask::RESERVATION_RELEASED));
    assert_eq!((a.register(1, None), b.register(2, None)), (OK, OK));
    assert_eq!((a.acquire(kind, 1), a.release(kind, 1), a.clear(1)), (OK, OK, OK));
    assert_eq!([page(&mut b, false), page(&mut b, false)], [(CLEARED, 0), (0, 0)]);
}
