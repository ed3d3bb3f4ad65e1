//! Connect (Base 2.0, 6.3): what is refused, with which status, and which field is named.

use qpair_nvmf::limits::QUEUE_ENTRIES;
use wire::nvme::fabrics::CNTLID_STATIC;
use wire::nvme::{ConnectData, Cqe, InvalidParameter, Nqn, SglDescriptor, Sqe, Status};
use zerocopy::IntoBytes;

use crate::common::{
    ANY_CONTROLLER, Association, Data, HOST, HOST_ID, NO_DIGESTS, NQN, Raw, Rig, connect_data, connect_data_of,
};

/// What is wrong, and how it is answered.
struct Case {
    what: &'static str,
    status: Status,
    result: u64,
    sqe: Sqe,
    data: Vec<u8>,
}

impl Case {
    fn new(what: &'static str, status: Status, sqe: Sqe, data: &ConnectData) -> Self {
        Self { what, status: status.with_dnr(), result: 0, sqe, data: data.as_bytes().to_vec() }
    }

    fn parameter(what: &'static str, parameter: InvalidParameter, sqe: Sqe, data: &ConnectData) -> Self {
        Self { result: parameter.to_result(), ..Self::new(what, Status::CONNECT_INVALID_PARAMETERS, sqe, data) }
    }

    fn check(&self, rig: &Rig) -> Raw {
        let mut raw = Raw::open(rig.addr, NO_DIGESTS);
        let Cqe { dw0, dw1, .. } = {
            let cqe = raw.run(self.sqe, &self.data).cqe;
            assert_eq!(cqe.status(), self.status, "{}", self.what);
            cqe
        };
        assert_eq!((u64::from(dw0.get()), dw1.get()), (self.result, 0), "{}", self.what);
        raw
    }
}

fn admin() -> Sqe {
    Sqe::connect(0, 31, 0, 0)
}

#[test]
fn wrong_admin_connects_are_refused_and_the_right_one_follows() {
    let rig = Rig::new(&["ram:1MiB"]);
    let good = connect_data(ANY_CONTROLLER);
    let with = |change: &dyn Fn(&mut ConnectData)| {
        let mut data = good;
        change(&mut data);
        data
    };
    let mut unknown_format = admin();
    unknown_format.cdw10 = 1.into();
    let mut cases = vec![
        Case::new("record format 1", Status::CONNECT_INCOMPATIBLE_FORMAT, unknown_format, &good),
        Case::parameter("another subsystem", InvalidParameter::SUBNQN, admin(), &{
            connect_data_of(ANY_CONTROLLER, "nqn.2024-01.test.qpair:other", HOST)
        }),
    ];
    for sqsize in [0, QUEUE_ENTRIES, u16::MAX] {
        let sqe = Sqe::connect(0, sqsize, 0, 0);
        cases.push(Case::parameter("SQSIZE 0 or beyond CAP.MQES", InvalidParameter::SQSIZE, sqe, &good));
    }
    for cntlid in [0, 1, CNTLID_STATIC] {
        let data = connect_data(cntlid);
        cases.push(Case::parameter("a controller of its choice", InvalidParameter::CNTLID, admin(), &data));
    }
    let unterminated = [b'n'; 256];
    let mut long = [0; 256];
    long[..224].fill(b'a');
    long[..4].copy_from_slice(b"nqn.");
    let mut control = Nqn::new(NQN).unwrap().to_field();
    control[5] = 7;
    let mut not_utf8 = Nqn::new(NQN).unwrap().to_field();
    not_utf8[5] = 0xff;
    for (what, field) in [
        ("an NQN without its NUL", unterminated),
        ("an NQN of 224 bytes", long),
        ("an empty NQN", [0; 256]),
        ("an NQN with a control character", control),
        ("an NQN that is no UTF-8", not_utf8),
    ] {
        let (sub, host) = (with(&|data| data.subnqn = field), with(&|data| data.hostnqn = field));
        cases.push(Case::parameter(what, InvalidParameter::SUBNQN, admin(), &sub));
        cases.push(Case::parameter(what, InvalidParameter::HOSTNQN, admin(), &host));
    }
    let refused = cases.len();
    for case in cases {
        let mut raw = case.check(&rig);
        let cqe = raw.connect(admin(), &good);
        assert!(cqe.status().is_success(), "after {}: {}", case.what, cqe.status());
    }
    let counted = rig.target.counters.refused_connects.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(counted, refused as u64);
}

#[test]
fn the_data_of_connect_is_1024_bytes_in_the_capsule() {
    let rig = Rig::new(&["ram:1MiB"]);
    let good = connect_data(ANY_CONTROLLER);
    let by_transport = admin().with_data_by_transport(1024);
    let short = admin().with_data_in_capsule(1020);
    let mut keyed = admin();
    keyed.dptr.kind = 0x40;
    let beyond = Sqe { dptr: SglDescriptor { address: 4.into(), ..SglDescriptor::in_capsule(1024) }, ..admin() };
    let mut prp = admin();
    prp.flags = 0;
    let type_invalid = Status::SGL_DESCRIPTOR_TYPE_INVALID;
    for case in [
        Case { data: vec![], ..Case::new("data out of the capsule", type_invalid, by_transport, &good) },
        Case::new("data in the capsule, but an SGL that says transport", type_invalid, by_transport, &good),
        Case::new("a keyed descriptor", type_invalid, keyed, &good),
        Case::new("an SGL of 1,020 bytes", Status::INVALID_SGL_DATA_LENGTH, short, &good),
        Case::new("an SGL beyond the data", Status::INVALID_SGL_DATA_LENGTH, beyond, &good),
        Case { data: vec![0; 512], ..Case::new("half the data", Status::INVALID_SGL_DATA_LENGTH, admin(), &good) },
        Case { data: vec![], ..Case::new("no data", Status::INVALID_SGL_DATA_LENGTH, admin(), &good) },
        Case::new("PRPs", Status::INVALID_FIELD, prp, &good),
    ] {
        case.check(&rig);
    }
    // At an offset within longer data it is taken.
    let mut shifted = vec![0xaa; 16];
    shifted.extend_from_slice(good.as_bytes());
    let at_16 = Sqe { dptr: SglDescriptor { address: 16.into(), ..SglDescriptor::in_capsule(1024) }, ..admin() };
    assert!(Raw::open(rig.addr, NO_DIGESTS).run(at_16, &shifted).cqe.status().is_success());
}

#[test]
fn wrong_io_connects_are_refused() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut association = Association::new(&rig);
    // Four queues are asked for and granted.
    let granted = association.admin.ok(Sqe::set_features(7, 0, 0x0003_0003), Data::None);
    assert_eq!(granted.result(), 0x0003_0003);
    let _first = association.io(1);
    let cntlid = association.cntlid;
    let good = connect_data(cntlid);
    let other_host = connect_data_of(cntlid, NQN, "nqn.2024-01.test.qpair:stranger");
    let mut other_id = good;
    other_id.hostid[15] ^= 1;
    let elsewhere = connect_data_of(cntlid, "nqn.2024-01.test.qpair:other", HOST);
    let discovery = connect_data_of(cntlid, wire::nvme::nqn::DISCOVERY, HOST);
    let io = |qid| Sqe::connect(qid, 31, 0, 0);
    for case in [
        Case::parameter("a queue that is there", InvalidParameter::QID, io(1), &good),
        Case::parameter("a queue that was not granted", InvalidParameter::QID, io(5), &good),
        Case::parameter("the last queue ID", InvalidParameter::QID, io(u16::MAX), &good),
        Case::parameter("SQSIZE 0", InvalidParameter::SQSIZE, Sqe::connect(2, 0, 0, 0), &good),
        Case::parameter("SQSIZE beyond MQES", InvalidParameter::SQSIZE, Sqe::connect(2, QUEUE_ENTRIES, 0, 0), &good),
        Case::parameter("no such controller", InvalidParameter::CNTLID, io(2), &connect_data(cntlid + 1)),
        Case::parameter("any controller", InvalidParameter::CNTLID, io(2), &connect_data(ANY_CONTROLLER)),
        Case::parameter("another host", InvalidParameter::HOSTNQN, io(2), &other_host),
        Case::parameter("another host ID", InvalidParameter::HOSTID, io(2), &other_id),
        Case::parameter("another subsystem", InvalidParameter::SUBNQN, io(2), &elsewhere),
        Case::parameter("the discovery subsystem", InvalidParameter::CNTLID, io(2), &discovery),
    ] {
        case.check(&rig);
    }
    let mut second = association.io(4);
    assert_eq!(second.read(1, 0, 1, 512), [0; 512]);
    // MQES itself is allowed.
    association.io_with(3, QUEUE_ENTRIES, false);
}

#[test]
fn io_queues_need_an_enabled_controller() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut association = Association::connected(&rig, NQN, NO_DIGESTS, 0);
    assert!(association.try_io(1, 32, true).1.status().same_code(Status::COMMAND_SEQUENCE_ERROR));
    association.enable();
    association.io(1);
}

#[test]
fn hosts_that_are_not_listed_are_refused() {
    const STRANGER: &str = "nqn.2024-01.test.qpair:stranger";
    let rig = Rig::allowing(&["ram:1MiB"], &["nqn.2024-01.test.qpair:somebody", HOST]);
    let stranger = connect_data_of(ANY_CONTROLLER, NQN, STRANGER);
    Case::new("a stranger", Status::CONNECT_INVALID_HOST, admin(), &stranger).check(&rig);
    assert_eq!(rig.target.controller_count(), 0);
    let _host = Association::new(&rig);
    // Discovery is open to all.
    let discovery = connect_data_of(ANY_CONTROLLER, wire::nvme::nqn::DISCOVERY, STRANGER);
    assert!(Raw::open(rig.addr, NO_DIGESTS).connect(admin(), &discovery).status().is_success());
}

#[test]
fn connect_comes_first_and_once() {
    let rig = Rig::new(&["ram:1MiB"]);
    let sequence = Status::COMMAND_SEQUENCE_ERROR.with_dnr();
    let mut raw = Raw::open(rig.addr, NO_DIGESTS);
    for early in [Sqe::property_get(0, true), Sqe::read(1, 0, 1), Sqe::identify(1, 0, 0, 0), Sqe::disconnect()] {
        raw.fails(early, &[], sequence);
    }
    assert!(raw.connect(admin(), &connect_data(ANY_CONTROLLER)).status().is_success());
    raw.fails(admin(), connect_data(ANY_CONTROLLER).as_bytes(), sequence);
    let (_other, cntlid) = Raw::admin(&rig, NO_DIGESTS);
    let mut io = Raw::io(rig.addr, cntlid, 1, 32, 0, NO_DIGESTS);
    io.fails(Sqe::connect(2, 31, 0, 0), connect_data(cntlid).as_bytes(), sequence);
    assert!(io.run(Sqe::read(1, 0, 1).with_data_by_transport(512), &[]).cqe.status().is_success());
}

#[test]
fn controllers_have_ids_of_their_own() {
    let rig = Rig::new(&["ram:1MiB"]);
    let many: Vec<Association> = (0..5).map(|_| Association::new(&rig)).collect();
    let mut ids: Vec<u16> = many.iter().map(|association| association.cntlid).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), rig.target.controller_count()), (5, 5));
    assert!(ids.iter().all(|&id| (1..0xfff0).contains(&id)));
    drop(many);
    rig.await_controllers(0);
    // The same host ID from another NQN is another host: it gets a controller, too.
    let nqn = |name| Nqn::new(name).unwrap();
    let data = ConnectData::new(HOST_ID, ANY_CONTROLLER, &nqn(NQN), &nqn("nqn.2024-01.test.qpair:stranger"));
    assert!(Raw::open(rig.addr, NO_DIGESTS).connect(admin(), &data).status().is_success());
}
