//! Connecting: what is asked, what is learned, and what a person reads when it fails.

use std::net::TcpListener;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use uuid::Uuid;
use wire::nvme::identify::{oncs, vwc};
use wire::nvme::namespace::{nsattr, nsfeat};
use wire::nvme::{IDENTIFY_BYTES, LbaFormat, Sqe, Status, Vs, cns};
use wire::tcp::host::HostConfig;

use super::target::{Config, DOWNLOAD, Fault, NQN, Target, UUID};
use super::{PATIENCE, Rig, pattern};
use crate::nvme::tcp::line::Line;
use crate::nvme::tcp::{AdminError, EntryKind, TcpDevice, Uri, discover};
use crate::{Device, Failure, Nvme, Op, OpenError, Range, Transfer};

fn fails(uri: Uri) -> OpenError {
    match TcpDevice::connect(uri) {
        Ok(device) => panic!("{} was opened", device.info().name),
        Err(error) => error,
    }
}

/// Opening fails with an error whose reason and hint have these words.
fn refused(config: Config, change: impl Fn(&mut Uri), why: &str, hint: &str) {
    let target = Target::start(config);
    let mut uri = target.uri();
    change(&mut uri);
    let error = fails(uri);
    assert!(error.why.contains(why), "{error}");
    assert!(error.hint.contains(hint), "{error}");
}

#[test]
fn what_the_device_is() {
    let target = Target::start(Config {
        namespaces: vec![2, 5],
        controller: |id| (id.mdts, id.vwc) = (5, vwc::PRESENT),
        namespace: |id| {
            id.dlfeat = 1;
            id.nsfeat = nsfeat::OPTIMAL_IO | nsfeat::THIN;
            id.npwg = 7.into();
        },
        ..Config::default()
    });
    let address = format!("nvme-tcp://127.0.0.1:{}/{NQN}?ns=5", target.address.port());
    let device = TcpDevice::open(&address).unwrap_or_else(|error| panic!("{error}"));
    let info = device.info();
    assert_eq!(
        (info.name.as_str(), info.kind, device.nvme().and_then(Nvme::nsid)),
        (address.as_str(), "nvme-tcp", Some(5))
    );
    assert_eq!((info.block_bytes, info.blocks, info.preferred_blocks), (512, 4096, 8));
    assert_eq!(info.max_transfer_bytes, 128 << 10, "MDTS 5");
    assert_eq!(info.identity.uuid, Uuid::from_bytes(UUID));
    assert_eq!(&info.identity.nguid, b"old nguid field!");
    let features = info.features;
    assert!(features.volatile_cache && features.thin && features.zeros_after_deallocate);
    assert!(!features.read_only && !features.lends);
    assert_eq!(info.name.parse::<Uri>().expect("a name opens the device again").nsid, Some(5));
}

#[test]
fn a_namespace_without_a_uuid_has_one_all_the_same() {
    let config =
        || Config { vs: Vs::new(1, 2, 0), namespace: |id| id.nguid = *b"another nguid...", ..Config::default() };
    let (one, two) = (Target::start(config()), Target::start(config()));
    let identity = |target: &Target| TcpDevice::connect(target.uri()).expect("open").info().identity;
    assert_eq!(identity(&one), identity(&two), "it follows from the NGUID");
    assert!(!identity(&one).uuid.is_nil());
    let bare = Target::start(Config { vs: Vs::new(1, 2, 0), namespace: |id| id.nguid = [0; 16], ..Config::default() });
    assert_ne!(identity(&bare), identity(&one));
    assert_eq!(identity(&bare), identity(&bare), "or from the name of the subsystem");
}

#[test]
fn an_enabled_controller_is_enabled_again() {
    let target = Target::start(Config { enabled: true, ..Config::default() });
    assert_eq!(Rig::new(target.uri()).read(0, 1), [0; 512]);
}

#[test]
fn the_controller_is_shut_down_once() {
    let target = Target::start(Config::default());
    let device = TcpDevice::connect(target.uri()).expect("open");
    device.close().expect("closed");
    assert_eq!(target.seen().shutdowns.load(SeqCst), 1);
    assert!(matches!(device.admin(Sqe::keep_alive(), Transfer::None), Err(AdminError::Broken)));
    drop(device);
    assert_eq!(target.seen().shutdowns.load(SeqCst), 1);

    let mut rig = Rig::new(target.uri());
    assert_eq!(rig.read(0, 1), [0; 512]);
    drop(rig);
    assert_eq!(target.seen().shutdowns.load(SeqCst), 2);
}

#[test]
fn nobody_listens() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let error = fails(Uri::new("127.0.0.1", port, NQN));
    assert!(error.why.starts_with("connect by TCP"), "{error}");
    assert!(error.hint.contains("Nothing listens") && error.hint.contains(&port.to_string()), "{error}");
    assert!(error.source.is_some());
}

#[test]
fn a_target_that_says_nothing() {
    let target = Target::start(Config { fault: Fault::Mute, ..Config::default() });
    let start = Instant::now();
    let config = HostConfig { header_digest: false, data_digest: false, depth: 1 };
    let error = Line::open("127.0.0.1", target.address.port(), config, Duration::from_millis(100)).err();
    assert!(matches!(error, Some(AdminError::TimedOut { .. })), "{error:?}");
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn a_port_that_is_no_target() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let closer = std::thread::spawn(move || drop(listener.accept()));
    let error = fails(Uri::new("127.0.0.1", port, NQN));
    closer.join().expect("closed");
    assert!(error.why.contains("closed the connection"), "{error}");
    assert!(error.hint.contains("is an NVMe/TCP port"), "{error}");
}

#[test]
fn refusals_say_what_to_do() {
    let plain = Config::default;
    let wrong_nqn = |uri: &mut Uri| uri.subnqn.push('x');
    refused(plain(), wrong_nqn, "Connect Invalid Parameters", "no subsystem nqn.2026-01.org.example:testx");
    let closed = Config { allowed_host: Some("nqn.2026-01.org.example:host".to_owned()), ..plain() };
    refused(closed, |uri| uri.hostnqn = "nqn.me".to_owned(), "Connect Invalid Host", "add nqn.me to its allowed hosts");
    let many = || Config { namespaces: vec![1, 4], ..plain() };
    refused(many(), |uri| uri.nsid = Some(9), "no namespace 9", "the subsystem has 1, 4.");
    refused(many(), |_| {}, "has 2 namespaces", "Choose one with ?ns=");
    refused(
        Config { namespaces: (1..=3000).collect(), ..plain() },
        |_| {},
        "has 3000 namespaces",
        "1, 2, 3, 4, 5, 6, 7, 8, ...",
    );
    refused(Config { namespaces: vec![], ..plain() }, |_| {}, "no namespace for this host", "set up");
    refused(Config { namespace: |id| id.lbaf[0].ms = 8.into(), ..plain() }, |_| {}, "8 bytes of metadata", "");
    let large = Config { namespace: |id| id.lbaf[0] = LbaFormat::of_bytes(8192), ..plain() };
    refused(large, |_| {}, "8192 bytes; this host knows 512 and 4096", "");
}

#[test]
fn controllers_that_linux_would_refuse_as_well() {
    let with = |controller| Config { controller, ..Config::default() };
    refused(with(|id| id.cntlid = 8.into()), |_| {}, "CNTLID is 8, but Connect said 7", "cannot work with");
    refused(with(|id| id.kas = 0.into()), |_| {}, "KAS is 0", "");
    refused(with(|id| id.ioccsz = 3.into()), |_| {}, "IOCCSZ is 3", "");
    refused(with(|id| id.iorcsz = 0.into()), |_| {}, "IORCSZ is 0", "");
    refused(with(|id| id.icdoff = 1.into()), |_| {}, "ICDOFF is 1", "");
    refused(with(|id| id.sgls = 0.into()), |_| {}, "SGLs are not supported", "");
}

#[test]
fn a_write_protected_namespace_is_read_only() {
    let target = Target::start(Config { namespace: |id| id.nsattr = nsattr::WRITE_PROTECTED, ..Config::default() });
    let mut rig = Rig::new(target.uri());
    assert!(rig.device.info().features.read_only);
    let write = Op::Write { range: Range { lba: 0, blocks: 1 }, fua: false };
    assert_eq!(rig.one(write, &[]).0, Err(Failure::ReadOnly));
}

#[test]
fn a_device_can_be_opened_read_only() {
    let target = Target::start(Config::default());
    let device = TcpDevice::connect(target.uri()).expect("open").read_only();
    assert!(device.info().features.read_only);
    let mut rig = Rig::on(device);
    assert_eq!(rig.one(Op::Deallocate(Range { lba: 0, blocks: 1 }), &[]).0, Err(Failure::ReadOnly));
    assert_eq!(rig.read(0, 1).len(), rig.device.info().block_bytes as usize);
}

#[test]
fn raw_admin_commands() {
    let target = Target::start(Config { controller: |id| id.oncs = oncs::COPY.into(), ..Config::default() });
    let device = TcpDevice::connect(target.uri()).expect("open");
    let mut page = [0; IDENTIFY_BYTES];
    device.admin(Sqe::identify(cns::CONTROLLER, 0, 0, 0), Transfer::In(&mut page)).expect("identify");
    assert_eq!(u16::from_le_bytes([page[520], page[521]]), oncs::COPY);
    let refused = device.admin(Sqe::identify(0xee, 0, 0, 0), Transfer::In(&mut page)).expect_err("no such CNS");
    assert!(refused.is_answer() && refused.to_string().contains("Invalid Field"), "{refused}");
    assert!(matches!(refused, AdminError::Status { status, .. } if status.same_code(Status::INVALID_FIELD)));
    let again = device.admin(Sqe::identify(cns::CONTROLLER, 0, 0, 0), Transfer::In(&mut page));
    assert!(again.is_ok(), "an error status does not end the association");

    let image = pattern(100_000, 4);
    device.admin(Sqe { opcode: DOWNLOAD, ..Sqe::default() }, Transfer::Out(&image)).expect("by R2T");
    assert!(target.disk()[..image.len()] == image);
}

#[test]
fn discovery() {
    let target = Target::start(Config { entries: 11, changes: 2, ..Config::default() });
    let entries = discover("127.0.0.1", target.address.port()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(entries.len(), 11);
    for (number, entry) in entries.iter().enumerate() {
        assert_eq!(entry.subnqn, format!("{NQN}{number}"));
        assert_eq!((entry.traddr.as_str(), entry.trsvcid.as_str(), entry.tcp), ("192.0.2.1", "4420", true));
        assert_eq!((entry.kind, entry.portid), (EntryKind::Subsystem, number as u16));
    }
    // Header, three pieces, header: GENCTR has moved, so all is read again.
    assert_eq!(target.seen().log_reads.load(SeqCst), 10);
    assert_eq!(target.seen().shutdowns.load(SeqCst), 1);

    let restless = Target::start(Config { entries: 1, changes: usize::MAX, ..Config::default() });
    let error = discover("127.0.0.1", restless.address.port()).expect_err("it never rests");
    assert!(error.why.contains("changed each time"), "{error}");
    let huge = Target::start(Config { entries: 2000, ..Config::default() });
    let error = discover("127.0.0.1", huge.address.port()).expect_err("more than we keep");
    assert!(error.why.contains("2000 entries"), "{error}");
}
