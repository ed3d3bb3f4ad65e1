//! Reservations that outlive the target.

use std::fs;
use std::path::Path;

use machine::reactor::Mode;
use qpair_nvmf::{ApplyError, Layout, Options, Server, StartError, Subsystem};
use wire::nvme::feature::fid;
use wire::nvme::reservation::{ReservationType, rescap};
use wire::nvme::{IdentifyNamespace, Sqe, cns};
use zerocopy::FromBytes;

use crate::common::{self, Data, NQN, Rig};
use crate::{Member, OK, conflict};

fn image(dir: &Path) -> String {
    let path = dir.join("disk.img");
    fs::write(&path, vec![0; 1 << 20]).expect("a file");
    path.display().to_string()
}

const KIND: ReservationType = ReservationType::ExclusiveAccess;

#[test]
fn a_restart_keeps_what_persists_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let name = image(dir.path());
    for persist in [false, true] {
        let rig = Rig::new(&[&name]);
        let (mut a, mut b) = (Member::new(&rig, 1), Member::new(&rig, 2));
        let page = a.admin.ok(Sqe::identify(cns::NAMESPACE, 1, 0, 0), Data::Read(4096)).data;
        assert_eq!(IdentifyNamespace::ref_from_bytes(&page).unwrap().rescap & rescap::PTPL, rescap::PTPL);
        assert_eq!((a.report().1.len(), a.tries(), b.tries()), (0, (OK, OK), (OK, OK)), "nothing was kept before");
        assert_eq!((a.register(1, Some(persist)), a.acquire(KIND, 1)), (OK, OK));
        assert_eq!((a.report().0.ptpls, b.tries()), (u8::from(persist), (conflict(), conflict())));
    }
    let rig = Rig::new(&[&name]);
    let (mut a, mut b) = (Member::new(&rig, 1), Member::new(&rig, 2));
    assert_eq!((a.tries(), b.tries()), ((OK, OK), (conflict(), conflict())), "from the first command on");
    let (status, entries) = a.report();
    assert_eq!((status.ptpls, status.rtype, entries), (1, KIND.code(), vec![(a.id, 1, true)]));
    // Switched off by its feature: the next start knows nothing.
    let get = Sqe::get_features(fid::RESERVATION_PERSISTENCE, 1);
    assert_eq!(a.admin.ok(get, Data::None).result(), 1);
    a.admin.ok(Sqe::set_features(fid::RESERVATION_PERSISTENCE, u32::MAX, 0), Data::None);
    assert_eq!((a.admin.ok(get, Data::None).result(), b.tries()), (0, (conflict(), conflict())));
    drop((a, b, rig));
    let rig = Rig::new(&[&name]);
    let mut b = Member::new(&rig, 2);
    assert_eq!((b.report().1.len(), b.tries()), (0, (OK, OK)));
}

#[test]
fn damage_is_an_error_and_not_silence() {
    let dir = tempfile::tempdir().expect("a directory");
    let name = image(dir.path());
    let rig = Rig::new(&[&name]);
    assert_eq!(Member::new(&rig, 1).register(1, Some(true)), OK);
    drop(rig);
    let file = dir.path().join("disk.img.qpair-reservations");
    let mut bytes = fs::read(&file).expect("it was made");
    for at in [80, 8192 + 80] {
        bytes[at] ^= 1;
    }
    fs::write(&file, bytes).expect("writes");
    let layout = Layout { subsystems: vec![Subsystem::new(NQN, common::devices(&[&name]))], ..Layout::default() };
    let options = Options { reactors: 1, mode: Mode::Shared, ring: common::ring_kind(), cpus: Vec::new() };
    let error = Server::start(&layout, &options).err().expect("it does not start");
    assert!(matches!(&error, StartError::Apply(ApplyError::Reservations(_))), "{error}");
    assert!(error.to_string().contains("qpair-reservations are damaged"), "{error}");
}
