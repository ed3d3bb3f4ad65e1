//! Who may read and write, for each type of reservation.

use wire::nvme::reservation::{AcquireAction, ReservationType};
use wire::nvme::{DsmRange, Sqe};
use zerocopy::IntoBytes;

use crate::common::{Data, Rig};
use crate::{Member, OK, conflict};

#[test]
fn every_type_for_holder_registrant_and_others() {
    use ReservationType::{ExclusiveAccess, WriteExclusive};
    // On two reactors: each of them has to know.
    let rig = Rig::on_two_reactors(&["ram:1MiB"]);
    let mut members: Vec<Member> = (0..4).map(|number| Member::new(&rig, number)).collect();
    let [holder, registrant, stranger, other] = &mut members[..] else { unreachable!() };
    for member in [&mut *holder, registrant] {
        assert_eq!(member.register(7, None), OK);
    }
    for kind in ReservationType::ALL {
        assert_eq!(holder.acquire(kind, 7), OK);
        assert_eq!(holder.tries(), (OK, OK), "{kind:?}");
        let reads = if kind.restricts_reads() { conflict() } else { OK };
        for stranger in [&mut *stranger, other] {
            assert_eq!(stranger.tries(), (conflict(), reads), "{kind:?}");
        }
        let expected = match kind {
            WriteExclusive => (conflict(), OK),
            ExclusiveAccess => (conflict(), conflict()),
            _ => (OK, OK),
        };
        assert_eq!(registrant.tries(), expected, "{kind:?}");
        assert_eq!(holder.release(kind, 7), OK);
        assert_eq!((stranger.tries(), other.tries()), ((OK, OK), (OK, OK)));
    }
}

#[test]
fn every_command_that_changes_blocks_conflicts() {
    let rig = Rig::new(&["ram:1MiB"]);
    let (mut a, mut b) = (Member::new(&rig, 1), Member::new(&rig, 2));
    assert_eq!((a.register(1, None), a.acquire(ReservationType::WriteExclusive, 1)), (OK, OK));
    let range = DsmRange::new(0, 8);
    for (sqe, data) in [
        (Sqe::write(1, 0, 1, false), Data::R2t(&[3; 512][..])),
        (Sqe::write_zeroes(1, 0, 8, true, false), Data::None),
        (Sqe::dsm(1, 1, true), Data::Capsule(range.as_bytes())),
        (Sqe::flush(1), Data::None),
    ] {
        b.io.fails(sqe, data, conflict());
        a.io.ok(sqe, data);
    }
    assert_eq!(b.io.r2ts, 0, "data that would be refused is not asked for");
}

#[test]
fn registering_joins_a_reservation_of_all_registrants() {
    let rig = Rig::on_two_reactors(&["ram:1MiB"]);
    let (mut a, mut b, mut c) = (Member::new(&rig, 1), Member::new(&rig, 2), Member::new(&rig, 3));
    assert_eq!((a.register(1, None), a.acquire(ReservationType::ExclusiveAccessAll, 1)), (OK, OK));
    assert_eq!(b.tries(), (conflict(), conflict()));
    assert_eq!((b.register(2, None), b.tries()), (OK, (OK, OK)));
    assert_eq!((a.unregister(1), a.tries()), (OK, (conflict(), conflict())), "the reservation stays");
    assert_eq!((c.register(3, None), c.tries()), (OK, (OK, OK)));
    let kind = ReservationType::WriteExclusive;
    assert_eq!(c.preempt(AcquireAction::Preempt, kind, 3, 0), OK, "all others");
    assert_eq!((b.tries(), c.tries()), ((conflict(), OK), (OK, OK)));
    assert_eq!((c.report().1, c.clear(3)), (vec![(c.id, 3, true)], OK));
    assert_eq!((a.tries(), c.report().1.len()), ((OK, OK), 0));
}
