//! What is served changes while hosts are connected.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use machine::limits::MAX_OWNERS;
use machine::reactor::Mode;
use qpair_nvmf::{ApplyError, Changes, Hosts, Layout, Referral, Stage, Subsystem};
use wire::nvme::discovery::{DiscoveryLogEntry, DiscoveryLogHeader, SUBTYPE_NVM, SUBTYPE_REFERRAL};
use wire::nvme::{ActiveNamespaces, IdentifyNamespace, LogRequest, Sqe, Status, cns, lid, nqn};
use zerocopy::FromBytes;

use super::slow;
use crate::common::bystander::Bystander;
use crate::common::{Association, Data, HOST, Host, NO_DIGESTS, NQN, Rig, devices, eventually, pattern, same};

const OTHER: &str = "nqn.2024-01.test.qpair:other";
const GONE: Status = Status::INVALID_NAMESPACE.with_dnr();

fn active(admin: &mut Host) -> Vec<u32> {
    let list = admin.ok(Sqe::identify(cns::ACTIVE_NAMESPACES, 0, 0, 0), Data::Read(4096)).data;
    ActiveNamespaces::ref_from_bytes(&list).expect("a page").iter().collect()
}

fn add(layout: &mut Layout, nsid: u32, name: &str) {
    layout.subsystems[0].namespaces.insert(nsid, devices(&[name]).remove(0));
}

fn remove(layout: &mut Layout, nsid: u32) {
    layout.subsystems[0].namespaces.remove(&nsid).expect("it is there");
}

#[test]
fn namespaces_come_and_go_while_others_work() {
    let mut rig = Rig::on_two_reactors(&["ram:1MiB,bs=512"]);
    let mut association = Association::new(&rig);
    let mut queues = [association.io(1), association.io(2)];
    let bystander = Bystander::start(&rig);
    for round in 0..20u64 {
        let changes = rig.apply(|layout| add(layout, 7, "ram:1MiB,bs=512"));
        assert_eq!((changes.namespaces_added.len(), changes.namespaces_added[0].nsid), (1, 7));
        assert_eq!(active(&mut association.admin), [1, 7], "there may be gaps");
        for (seed, io) in (round * 2..).zip(&mut queues) {
            assert_eq!(io.read(7, 8, 1, 512), [0; 512], "a new device each time");
            let bytes = pattern(seed, 64 << 10);
            io.write(7, 64, &bytes, 512);
            same(&io.read(7, 64, 128, 512), &bytes, "what was written");
        }
        let changes = rig.apply(|layout| remove(layout, 7));
        assert_eq!((changes.namespaces_removed.len(), changes.draining), (1, false));
        assert_eq!(active(&mut association.admin), [1]);
        for io in &mut queues {
            io.fails(Sqe::read(7, 0, 1), Data::Read(512), GONE);
            io.fails(Sqe::write(7, 0, 8, false), Data::Capsule(&[0; 4096]), GONE);
            io.fails(Sqe::flush(7), Data::None, GONE);
        }
    }
    bystander.finish();
    assert_eq!(rig.apply(|_| {}), Changes::default());
}

/// What the device has is finished and answered; what waits for the host's data fails when it is in.
#[test]
fn what_is_under_way_finishes_before_the_device_goes() {
    let layout = |device| Subsystem::new(NQN, vec![device]);
    let mut rig = Rig::with(layout(slow::Slow::device()), 2, Mode::Shared);
    let mut association = Association::new(&rig);
    let mut io = slow::submitted(association.addr, association.cntlid, 1);
    io.command(Sqe::write(1, 0, 8, false).with_data_by_transport(4096).with_cid(20), &[]);
    let ttag = io.pdu().r2t().ttag.get();
    let changes = rig.apply(|layout| remove(layout, 1));
    assert!(!changes.draining);
    assert_eq!(active(&mut association.admin), [0; 0]);
    for cid in 1..10 {
        let cqe = io.pdu().cqe();
        assert_eq!((cqe.cid.get(), cqe.status()), (cid, Status::SUCCESS));
    }
    io.send(&crate::common::pdu::h2c(20, ttag, 0, &[1; 4096], true, NO_DIGESTS));
    let cqe = io.pdu().cqe();
    assert_eq!((cqe.cid.get(), cqe.status()), (20, GONE));
}

/// A device that keeps requests for ever is asked to give them back.
#[test]
fn a_namespace_goes_though_its_device_is_stuck() {
    let mut rig = Rig::on_two_reactors(&["fault:ram:1MiB,bs=512,rule=any:drop"]);
    let association = Association::new(&rig);
    let mut queues = [association.io(1), association.io(2)];
    let stuck = queues
        .each_mut()
        .map(|io| [io.submit(Sqe::flush(1), Data::None), io.submit(Sqe::read(1, 0, 1), Data::Read(512))]);
    let at_device = |rig: &Rig| rig.server().observer().reactors().iter().map(|it| it.stage(Stage::AtDevice)).sum();
    eventually("4 commands at the device", || 4u64 == at_device(&rig));
    let changes = rig.apply(|layout| remove(layout, 1));
    assert!(!changes.draining);
    for (io, slots) in queues.iter_mut().zip(stuck) {
        for _ in slots {
            let done = io.wait();
            assert!(slots.contains(&done.slot));
            assert_eq!(done.status(), GONE);
        }
    }
}

/// The slots that a host's data is received into outlive the queue that lent them.
#[test]
fn a_device_goes_while_its_memory_is_lent() {
    let mut rig = Rig::on_two_reactors(&["ram:1MiB,bs=512"]);
    let association = Association::new(&rig);
    let mut io = crate::common::Raw::io(rig.addr, association.cntlid, 1, 32, 4, NO_DIGESTS);
    io.command(Sqe::write(1, 0, 64, false).with_data_by_transport(32 << 10).with_cid(3), &[]);
    let ttag = io.pdu().r2t().ttag.get();
    rig.apply(|layout| remove(layout, 1));
    io.send(&crate::common::pdu::h2c(3, ttag, 0, &pattern(1, 32 << 10), true, NO_DIGESTS));
    assert_eq!(io.pdu().cqe().status(), GONE);
}

#[test]
fn subsystems_and_hosts_come_and_go() {
    let mut rig = Rig::on_two_reactors(&["ram:1MiB"]);
    let mut first = Association::new(&rig);
    let mut io = first.io(1);
    let changes = rig.apply(|layout| layout.subsystems.push(Subsystem::new(OTHER, devices(&["ram:2MiB"]))));
    assert_eq!((&changes.subsystems_added[..], changes.namespaces_added.len()), (&[OTHER.to_owned()][..], 1));
    let mut second = Association::connected(&rig, OTHER, NO_DIGESTS, 0);
    second.enable();
    let mut other_io = second.io(1);
    let bytes = second.admin.ok(Sqe::identify(cns::NAMESPACE, 1, 0, 0), Data::Read(4096)).data;
    assert_eq!(IdentifyNamespace::ref_from_bytes(&bytes).expect("a page").nsze.get(), 4096);
    // Each has its own namespace 1.
    io.write(1, 0, &[1; 512], 512);
    other_io.write(1, 0, &[2; 512], 512);
    assert_eq!((io.read(1, 0, 1, 512), other_io.read(1, 0, 1, 512)), (vec![1; 512], vec![2; 512]));
    // A host that is not allowed any more loses its controller, the other one does not notice.
    let changes = rig.apply(|layout| layout.subsystems[1].hosts = Hosts::Listed(vec!["nqn.2024-01.test:x".into()]));
    assert_eq!(changes.controllers_ended, 1);
    second.admin.is_closed();
    other_io.is_closed();
    rig.await_controllers(1);
    assert_eq!(refused(&rig, OTHER), Status::CONNECT_INVALID_HOST.with_dnr());
    assert_eq!(io.read(1, 0, 1, 512), [1; 512]);
    // Allowed again, and then the subsystem goes as a whole.
    rig.apply(|layout| layout.subsystems[1].hosts = Hosts::Listed(vec![HOST.to_owned()]));
    let mut again = Association::connected(&rig, OTHER, NO_DIGESTS, 0);
    let changes = rig.apply(|layout| drop(layout.subsystems.pop()));
    assert_eq!((&changes.subsystems_removed[..], changes.controllers_ended), (&[OTHER.to_owned()][..], 1));
    again.admin.is_closed();
    assert_eq!(refused(&rig, OTHER), Status::CONNECT_INVALID_PARAMETERS.with_dnr());
    assert_eq!(io.read(1, 0, 1, 512), [1; 512]);
    assert_eq!(active(&mut first.admin), [1]);
}

/// How Connect to a subsystem ends that does not take the host.
fn refused(rig: &Rig, subsystem: &str) -> Status {
    let mut admin = Host::open(rig.addr, NO_DIGESTS, 32);
    let data = crate::common::connect_data_of(0xffff, subsystem, HOST);
    admin.run(Sqe::connect(0, 31, 0, 0), Data::Capsule(zerocopy::IntoBytes::as_bytes(&data))).status()
}

#[test]
fn listeners_come_and_go() {
    let mut rig = Rig::on_two_reactors(&["ram:1MiB,bs=512"]);
    let mut association = Association::new(&rig);
    let mut io = association.io(1);
    let other = "127.0.0.2:0".parse().expect("an address");
    let changes = rig.apply(|layout| layout.listen.push(other));
    let (first, second) = (rig.addr, changes.listeners_added[0]);
    assert_eq!(rig.target.listeners(), [first, second]);
    rig.addr = second;
    let mut through_second = Association::new(&rig);
    let changes = rig.apply(|layout| layout.listen.retain(|&address| address == other));
    assert_eq!((&changes.listeners_added[..], &changes.listeners_removed[..]), (&[][..], &[first][..]));
    assert!(TcpStream::connect(first).is_err(), "nobody listens there any more");
    // Connections stay, wherever they came through.
    assert_eq!(io.read(1, 0, 1, 512), [0; 512]);
    assert_eq!(active(&mut association.admin), active(&mut through_second.admin));
}

/// All addresses become one of them and the other way round, at the same port: the old one is closed for that, and
/// opened again if the layout does not hold.
#[test]
fn a_listener_takes_the_port_of_one_that_goes() {
    let mut rig = Rig::on_two_reactors(&["ram:1MiB,bs=512"]);
    let association = Association::new(&rig);
    let mut io = association.io(1);
    let reaches = |address: &str, port: u16| TcpStream::connect((address, port)).is_ok();
    let any = "0.0.0.0:0".parse().expect("an address");
    let changes = rig.apply(|layout| layout.listen = vec![any]);
    let bound = changes.listeners_added[0];
    let port = bound.port();
    let one: SocketAddr = ([127, 0, 0, 1], port).into();
    let mut broken = [rig.layout.clone(), rig.layout.clone()];
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    broken[0].listen = vec![one, taken.local_addr().expect("an address")];
    broken[1].listen = vec![one];
    broken[1].subsystems[0].namespaces.insert(2, slow::Broken::device());
    for layout in &broken {
        assert!(rig.server().apply(layout).is_err());
        assert!(reaches("127.0.0.2", port) && rig.target.listeners() == [bound], "as it was");
    }
    for (listen, old, new, elsewhere) in [(one, bound, one, false), (bound, one, bound, true)] {
        let changes = rig.apply(|layout| layout.listen = vec![listen]);
        assert_eq!((&changes.listeners_added[..], &changes.listeners_removed[..]), (&[new][..], &[old][..]));
        assert_eq!((reaches("127.0.0.1", port), reaches("127.0.0.2", port)), (true, elsewhere));
    }
    assert_eq!(io.read(1, 0, 1, 512), [0; 512]);
}

#[test]
fn what_cannot_be_applied_changes_nothing() {
    let mut rig = Rig::on_two_reactors(&["ram:1MiB,bs=512"]);
    let mut association = Association::new(&rig);
    let mut io = association.io(1);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address");
    let before = rig.layout.clone();
    let mut broken = [before.clone(), before.clone(), before.clone()];
    broken[0].listen.push(taken);
    broken[1].subsystems.push(before.subsystems[0].clone());
    broken[2].subsystems[0].namespaces.insert(2, slow::Broken::device());
    for layout in &mut broken {
        layout.subsystems[0].hosts = Hosts::Listed(Vec::new());
        add(layout, 3, "ram:1MiB");
        layout.listen.push("127.0.0.1:0".parse().expect("an address"));
    }
    let errors = broken.map(|layout| rig.server().apply(&layout).expect_err("it cannot be served"));
    assert!(matches!(errors[0], ApplyError::Listen(address, _) if address == taken), "{}", errors[0]);
    assert!(matches!(errors[1], ApplyError::Layout(_)), "{}", errors[1]);
    assert!(matches!(&errors[2], ApplyError::Device(name, _) if name == "broken"), "{}", errors[2]);
    assert_eq!(active(&mut association.admin), [1]);
    assert_eq!(rig.target.listeners(), [rig.addr]);
    assert_eq!(io.read(1, 0, 1, 512), [0; 512]);
    assert_eq!(rig.apply(|_| {}), Changes::default());
}

/// Every file has an owner in the ring of each reactor; they are given back.
#[test]
fn namespaces_may_come_and_go_for_ever() {
    let directory = tempfile::tempdir().expect("a directory");
    let name = format!("{},size=1MiB", directory.path().join("disk.img").display());
    let mut rig = Rig::on_two_reactors(&["ram:1MiB"]);
    for _ in 0..MAX_OWNERS + 10 {
        rig.apply(|layout| add(layout, 2, &name));
        rig.apply(|layout| remove(layout, 2));
    }
}

/// Layout after layout, while hosts connect, work and go.
#[test]
fn hosts_arrive_amid_changes() {
    let mut rig = Rig::on_two_reactors(&["ram:1MiB,bs=512"]);
    let stop = AtomicBool::new(false);
    let addr = rig.addr;
    std::thread::scope(|scope| {
        let host = |qid: u16| {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut association = Association::at(addr, NQN, NO_DIGESTS, 0);
                    association.enable();
                    let mut io = association.io(qid);
                    assert_eq!(io.read(1, 0, 8, 512), [0; 4096]);
                    let status = io.run(Sqe::read(2, 0, 8), Data::Read(4096)).status();
                    assert!(status.is_success() || status == GONE, "{status}");
                }
            });
        };
        (1..4).for_each(host);
        for _ in 0..100 {
            rig.apply(|layout| add(layout, 2, "ram:1MiB,bs=512"));
            rig.apply(|layout| remove(layout, 2));
        }
        stop.store(true, Ordering::Relaxed);
    });
    rig.await_controllers(0);
    eventually("nothing is left", || {
        rig.server().observer().reactors().iter().all(|reactor| reactor.connections() == 0)
    });
}

fn discovery_log(admin: &mut Host) -> (u64, Vec<DiscoveryLogEntry>) {
    let request = LogRequest { lid: lid::DISCOVERY, lsp: 0, rae: false, offset: 0, bytes: 8192, nsid: 0 };
    let log = admin.ok(Sqe::get_log(request), Data::Read(8192)).data;
    let header = DiscoveryLogHeader::ref_from_bytes(&log[..1024]).expect("a header");
    let entries = log[1024..].chunks(1024).map(|entry| *DiscoveryLogEntry::ref_from_bytes(entry).expect("an entry"));
    (header.genctr.get(), entries.take(header.numrec.get() as usize).collect())
}

#[test]
fn the_discovery_log_has_what_the_host_may_use_where_it_is() {
    let mut rig = Rig::on_two_reactors(&["ram:1MiB"]);
    let mut discovery = Association::connected(&rig, nqn::DISCOVERY, NO_DIGESTS, 10_000);
    discovery.enable();
    let (generation, entries) = discovery_log(&mut discovery.admin);
    assert_eq!(entries.len(), 1);
    rig.apply(|layout| add(layout, 5, "ram:1MiB"));
    assert_eq!(discovery_log(&mut discovery.admin).0, generation, "a namespace is not in the log");
    let elsewhere = "192.0.2.7:8009".parse().expect("an address");
    rig.apply(|layout| {
        layout.subsystems.push(Subsystem::new(OTHER, Vec::new()));
        let hosts = Hosts::Listed(vec!["nqn.2024-01.test:x".into()]);
        layout.subsystems.push(Subsystem { hosts, ..Subsystem::new("nqn.2024-01.test:secret", Vec::new()) });
        layout.listen.push("127.0.0.1:0".parse().expect("an address"));
        layout.referrals.push(Referral { address: elsewhere });
    });
    let (changed, entries) = discovery_log(&mut discovery.admin);
    assert_eq!(changed, generation + 1);
    let seen: Vec<_> = entries
        .iter()
        .map(|entry| {
            let name = entry.subnqn().expect("a name").as_str().to_owned();
            (entry.subtype, name, entry.socket_address().expect("an address"))
        })
        .collect();
    let listeners = rig.target.listeners();
    let nvm = |name: &str, at: usize| (SUBTYPE_NVM, name.to_owned(), listeners[at]);
    let referral = (SUBTYPE_REFERRAL, nqn::DISCOVERY.to_owned(), elsewhere);
    assert_eq!(seen, [nvm(NQN, 0), nvm(NQN, 1), nvm(OTHER, 0), nvm(OTHER, 1), referral]);
}
