//! Reservations over sockets: several hosts, each with its own identifier, on one namespace.

#[path = "../common/mod.rs"]
mod common;

mod access;
mod gate;
mod notices;
mod persistence;
mod race;
mod rules;

use common::{ANY_CONTROLLER, DEPTH, Data, Done, Host, NO_DIGESTS, NQN, Rig};
use wire::nvme::reservation::{
    AcquireAction, Change, EXTENDED_STATUS_BYTES, Keys, RegisterAction, RegisteredControllerExtended, ReleaseAction,
    ReservationStatus, ReservationType,
};
use wire::nvme::{Cc, ConnectData, ConnectResult, Nqn, Sqe, Status, property};
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of a report of so many registrants.
fn report_bytes(registrants: usize) -> usize {
    EXTENDED_STATUS_BYTES + registrants * size_of::<RegisteredControllerExtended>()
}

/// One of several hosts, with an admin queue and an I/O queue.
pub(crate) struct Member {
    pub(crate) id: [u8; 16],
    pub(crate) admin: Host,
    pub(crate) io: Host,
}

impl Member {
    /// Host `number`, whose identifier says so.
    pub(crate) fn new(rig: &Rig, number: u16) -> Self {
        let mut id = [0xa0; 16];
        id[14..].copy_from_slice(&number.to_be_bytes());
        let host = format!("nqn.2024-01.test.qpair:member-{number}");
        let nqn = |name| Nqn::new(name).expect("a name");
        let data = |cntlid| ConnectData::new(id, cntlid, &nqn(NQN), &nqn(&host));
        let connect = |queue: u16, cntlid| {
            let mut connection = Host::open(rig.addr, NO_DIGESTS, DEPTH);
            let done = connection.run(Sqe::connect(queue, DEPTH - 1, 0, 0), Data::Capsule(data(cntlid).as_bytes()));
            assert!(done.status().is_success(), "Connect: {}", done.status());
            connection.queue_is_there(8192, false);
            (connection, ConnectResult::from_result(done.result()).cntlid)
        };
        // Three connections each: so the I/O queues of hosts one after the other are on two reactors in turns.
        drop(Host::open(rig.addr, NO_DIGESTS, DEPTH));
        let (mut admin, cntlid) = connect(0, ANY_CONTROLLER);
        admin.ok(Sqe::property_set(property::CC, false, Cc::enable().0.into()), Data::None);
        let io = connect(1, cntlid).0;
        Self { id, admin, io }
    }

    pub(crate) fn change(&mut self, change: Change, current: u64, other: u64) -> Status {
        let keys = Keys::new(current, other);
        let data = &keys.as_bytes()[..change.data_bytes() as usize];
        self.io.run(Sqe::reservation(1, change), Data::Capsule(data)).status()
    }

    pub(crate) fn register(&mut self, key: u64, persist: Option<bool>) -> Status {
        self.change(Change::Register { action: RegisterAction::Register, ignore_key: false, persist }, 0, key)
    }

    pub(crate) fn unregister(&mut self, key: u64) -> Status {
        let change = Change::Register { action: RegisterAction::Unregister, ignore_key: false, persist: None };
        self.change(change, key, 0)
    }

    pub(crate) fn acquire(&mut self, kind: ReservationType, key: u64) -> Status {
        self.change(Change::Acquire { action: AcquireAction::Acquire, kind }, key, 0)
    }

    pub(crate) fn preempt(&mut self, action: AcquireAction, kind: ReservationType, key: u64, victim: u64) -> Status {
        self.change(Change::Acquire { action, kind }, key, victim)
    }

    pub(crate) fn release(&mut self, kind: ReservationType, key: u64) -> Status {
        self.change(Change::Release { action: ReleaseAction::Release, kind: kind.code() }, key, 0)
    }

    pub(crate) fn clear(&mut self, key: u64) -> Status {
        self.change(Change::Release { action: ReleaseAction::Clear, kind: 0 }, key, 0)
    }

    /// The status part of a report, and its registrants as host identifier, key and whether it holds.
    pub(crate) fn report(&mut self) -> (ReservationStatus, Vec<([u8; 16], u64, bool)>) {
        let bytes = report_bytes(300);
        let data = self.io.ok(Sqe::reservation_report(1, bytes as u32, true), Data::Read(bytes)).data;
        let (status, _) = ReservationStatus::read_from_prefix(&data).expect("it is long enough");
        let entries = &data[EXTENDED_STATUS_BYTES..report_bytes(status.regctl.get().into())];
        let entries = <[RegisteredControllerExtended]>::ref_from_bytes(entries).expect("whole entries");
        (status, entries.iter().map(|entry| (entry.hostid, entry.rkey.get(), entry.rcsts == 1)).collect())
    }

    pub(crate) fn try_write(&mut self, slba: u64, byte: u8) -> Done {
        self.io.run(Sqe::write(1, slba, 1, false), Data::Capsule(&[byte; 512]))
    }

    /// How a write and a read of it end.
    pub(crate) fn tries(&mut self) -> (Status, Status) {
        let write = self.try_write(0, 1).status();
        (write, self.io.run(Sqe::read(1, 0, 1), Data::Read(512)).status())
    }
}

pub(crate) const OK: Status = Status::SUCCESS;

pub(crate) fn conflict() -> Status {
    Status::RESERVATION_CONFLICT.with_dnr()
}
