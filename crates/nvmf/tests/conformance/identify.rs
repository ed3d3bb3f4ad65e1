//! Identify: what a Linux host checks before it takes a controller or a namespace.

use qpair_nvmf::limits::{LAST_NSID, QUEUE_ENTRIES};
use wire::nvme::identify::{cntrltype, oaes, oncs, sgls, text, vwc};
use wire::nvme::{
    ActiveNamespaces, IdDescriptorList, IdentifyController, IdentifyNamespace, IoCommandSetIndependentNamespace,
    NSID_ALL, NvmIdentifyController, Sqe, Status, cns,
};
use zerocopy::{FromBytes, IntoBytes};

use crate::common::{Association, Data, Host, NO_DIGESTS, NQN, Raw, Rig};

const DEVICES: [&str; 4] = [
    "ram:1MiB,bs=512",
    "ram:2MiB,bs=4096,uuid=6ba7b810-9dad-41d1-80b4-00c04fd430c8",
    "null:1GiB,ro",
    "null:1TiB,bs=4096",
];

fn identify(admin: &mut Host, cns: u8, nsid: u32) -> Vec<u8> {
    admin.ok(Sqe::identify(cns, nsid, 0, 0), Data::Read(4096)).data
}

#[test]
fn the_controller_is_one_that_linux_takes() {
    let rig = Rig::new(&DEVICES);
    let mut association = Association::new(&rig);
    let bytes = identify(&mut association.admin, cns::CONTROLLER, 0);
    let id = IdentifyController::ref_from_bytes(&bytes).unwrap();
    assert_eq!(id.cntlid.get(), association.cntlid);
    assert_ne!(id.kas.get(), 0, "hosts refuse an I/O controller without keep-alive");
    assert!(id.ioccsz.get() >= 4 && id.iorcsz.get() >= 1 && id.icdoff.get() == 0);
    assert_eq!(id.in_capsule_bytes(), 8192);
    assert_ne!(id.sgls.get() & sgls::SUPPORTED_MASK, 0);
    assert_ne!(id.sgls.get() & sgls::OFFSET, 0, "in-capsule data has an offset");
    assert_ne!(id.sgls.get() & sgls::TRANSPORT, 0, "the transport descriptor is what R2T uses");
    assert_eq!((id.nn.get(), id.mnan.get()), (LAST_NSID, LAST_NSID), "namespaces may come");
    assert_eq!((id.cntrltype, id.ver.get(), id.msdbd), (cntrltype::IO, 0x2_0000, 1));
    assert_eq!((id.sqes, id.cqes, id.maxcmd.get()), (0x66, 0x44, QUEUE_ENTRIES));
    assert_eq!(id.max_transfer_bytes(0), Some(128 << 10));
    let optional = oncs::COMPARE
        | oncs::WRITE_UNCORRECTABLE
        | oncs::DSM
        | oncs::WRITE_ZEROES
        | oncs::RESERVATIONS
        | oncs::VERIFY
        | oncs::COPY;
    assert_eq!(id.oncs.get(), optional, "what is claimed is what io.rs tests");
    assert_ne!(id.vwc & vwc::PRESENT, 0, "a namespace with a volatile cache may come");
    assert_eq!(id.cmic & 1 << 3, 0, "no ANA: no ANA log is read");
    assert_eq!(text(&id.subnqn).trim_end_matches('\0'), NQN);
    assert!(id.sn.is_ascii() && !text(&id.sn).trim().is_empty() && !text(&id.mn).trim().is_empty());
    assert_eq!(id.fguid, [0; 16]);
    assert_eq!(id.oaes.get(), oaes::NAMESPACE_ATTRIBUTE, "no event is announced that never comes");
}

#[test]
fn namespaces_are_the_devices() {
    let rig = Rig::new(&DEVICES);
    let mut admin = Association::new(&rig).admin;
    let list = identify(&mut admin, cns::ACTIVE_NAMESPACES, 0);
    let nsids: Vec<u32> = ActiveNamespaces::ref_from_bytes(&list).unwrap().iter().collect();
    assert_eq!(nsids, [1, 2, 3, 4]);
    for (nsid, bytes, blocks, read_only) in
        [(1, 512, 2048, false), (2, 4096, 512, false), (3, 512, 1 << 21, true), (4, 4096, 1 << 28, false)]
    {
        let id = identify(&mut admin, cns::NAMESPACE, nsid);
        let id = IdentifyNamespace::ref_from_bytes(&id).unwrap();
        assert_eq!((id.nsze.get(), id.ncap.get(), id.format().bytes()), (blocks, blocks, Some(bytes)), "{nsid}");
        assert!(id.nuse.get() <= id.ncap.get() && id.nlbaf == 0 && id.flbas == 0);
        assert_eq!(id.nsattr & 1 != 0, read_only);
        let bytes = identify(&mut admin, cns::INDEPENDENT_NAMESPACE, nsid);
        let independent = IoCommandSetIndependentNamespace::ref_from_bytes(&bytes).unwrap();
        assert_eq!((independent.nstat & 1, independent.nsattr, independent.nmic), (1, id.nsattr, id.nmic));
        let bytes = identify(&mut admin, cns::NAMESPACE_DESCRIPTORS, nsid);
        let ids = IdDescriptorList::ref_from_bytes(&bytes).unwrap().parse().expect("a list");
        assert_eq!((ids.nguid, ids.csi), (Some(id.nguid), Some(0)), "the same NGUID in both");
        assert_ne!(ids.nguid, Some([0; 16]));
        let expected = rig.device(nsid).info().identity;
        assert_eq!((ids.uuid, ids.nguid), (Some(expected.uuid.into_bytes()), Some(expected.nguid)));
    }
}

#[test]
fn namespaces_have_different_names_that_all_controllers_agree_on() {
    let rig = Rig::on_two_reactors(&DEVICES);
    let names = |association: &mut Association| -> Vec<Vec<u8>> {
        (1..=4).map(|nsid| identify(&mut association.admin, cns::NAMESPACE_DESCRIPTORS, nsid)).collect()
    };
    let (one, two) = (names(&mut Association::new(&rig)), names(&mut Association::new(&rig)));
    assert_eq!(one, two);
    for (at, name) in one.iter().enumerate() {
        assert!(!one[..at].contains(name));
    }
}

#[test]
fn the_list_of_namespaces_starts_behind_the_one_given() {
    let rig = Rig::new(&DEVICES);
    let mut admin = Association::new(&rig).admin;
    for (after, expected) in [(0, 4), (1, 3), (4, 0), (5, 0), (0xffff_fffd, 0)] {
        let list = identify(&mut admin, cns::ACTIVE_NAMESPACES, after);
        assert_eq!(ActiveNamespaces::ref_from_bytes(&list).unwrap().iter().count(), expected, "after {after}");
    }
    for after in [NSID_ALL - 1, NSID_ALL] {
        let sqe = Sqe::identify(cns::ACTIVE_NAMESPACES, after, 0, 0);
        admin.fails(sqe, Data::Read(4096), Status::INVALID_NAMESPACE.with_dnr());
    }
}

#[test]
fn namespaces_that_are_not_there() {
    let rig = Rig::new(&DEVICES);
    let mut admin = Association::new(&rig).admin;
    for cns in [cns::NAMESPACE, cns::NAMESPACE_DESCRIPTORS, cns::COMMAND_SET_NAMESPACE, cns::INDEPENDENT_NAMESPACE] {
        for nsid in [0, LAST_NSID + 1, 1 << 16, NSID_ALL - 1, NSID_ALL] {
            let sqe = Sqe::identify(cns, nsid, 0, 0);
            admin.fails(sqe, Data::Read(4096), Status::INVALID_NAMESPACE.with_dnr());
        }
    }
}

#[test]
fn the_command_set_is_nvm() {
    let rig = Rig::new(&DEVICES);
    let mut admin = Association::new(&rig).admin;
    let bytes = admin.ok(Sqe::identify(cns::COMMAND_SET_CONTROLLER, 0, 0, 0), Data::Read(4096)).data;
    let limits = NvmIdentifyController::ref_from_bytes(&bytes).unwrap();
    assert!(limits.as_bytes().iter().all(|&byte| byte == 0), "no limits but MDTS");
    identify(&mut admin, cns::COMMAND_SET_NAMESPACE, 1);
    for cns in [cns::COMMAND_SET_CONTROLLER, cns::COMMAND_SET_NAMESPACE] {
        for csi in [1, 2, 0xff] {
            admin.fails(Sqe::identify(cns, 1, csi, 0), Data::Read(4096), Status::INVALID_FIELD.with_dnr());
        }
    }
}

#[test]
fn all_else_is_an_invalid_field() {
    let rig = Rig::new(&DEVICES);
    let mut admin = Association::new(&rig).admin;
    for cns in (0..=u8::MAX).filter(|cns| ![0, 1, 2, 3, 5, 6, 8].contains(cns)) {
        admin.fails(Sqe::identify(cns, 1, 0, 0), Data::Read(4096), Status::INVALID_FIELD.with_dnr());
    }
}

/// SGLS bit 18 is clear: an SGL longer than the data is not supported. And a host that waits for more than it gets
/// tears the queue down.
#[test]
fn the_transfer_is_4096_bytes() {
    let rig = Rig::new(&DEVICES);
    let (mut raw, _) = Raw::admin(&rig, NO_DIGESTS);
    let identify = Sqe::identify(cns::CONTROLLER, 0, 0, 0);
    for bytes in [0, 4, 4092, 4100, 8192, u32::MAX] {
        let status = Status::INVALID_SGL_DATA_LENGTH.with_dnr();
        raw.fails(identify.with_data_by_transport(bytes), &[], status);
    }
    let in_capsule = raw.run(identify.with_data_in_capsule(4096), &[0; 4096]).cqe.status();
    assert!(!in_capsule.is_success() && in_capsule.dnr, "data for the host cannot lie in its capsule");
    assert_eq!(raw.run(identify, &[]).data.len(), 4096);
}
