//! A target on a loopback port, and two kinds of peers for it.
//!
//! ```text
//!   Rig ── a running Server, stopped (and checked) when it is dropped
//!   Association ── a well-behaved host: an admin queue and its I/O queues, each a [`Host`]
//!   Raw ── a connection of PDUs made by hand, right or wrong
//! ```
//!
//! Every socket has a time-out: a target that does not answer fails a test, it does not hang it.

#![allow(dead_code, unreachable_pub, reason = "every test program has this folder of its own and uses a part of it")]

pub mod bystander;
pub mod host;
pub mod pdu;
pub mod raw;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use block::Device;
use block::spec::{Defaults, Spec};
use machine::reactor::Mode;
use machine::ring::RingKind;
use qpair_nvmf::limits::IN_CAPSULE_DEFAULT_BYTES;
use qpair_nvmf::stats::Traffic;
use qpair_nvmf::{Changes, Hosts, Layout, Options, Server, Subsystem, Target};
use wire::nvme::{Cc, ConnectData, ConnectResult, Nqn, Sqe, property};
use wire::tcp::digest::Digests;
use zerocopy::IntoBytes;

pub use host::{Data, Done, Host};
pub use raw::Raw;

/// Longest wait for anything that should come at once.
pub const PATIENCE: Duration = Duration::from_secs(8);
/// The subsystem.
pub const NQN: &str = "nqn.2024-01.test.qpair:target";
/// The host, unless a test says otherwise.
pub const HOST: &str = "nqn.2024-01.test.qpair:host";
/// Its identifier.
pub const HOST_ID: [u8; 16] = [7; 16];
/// The controller model is dynamic.
pub const ANY_CONTROLLER: u16 = 0xffff;
/// Entries of the I/O queues that [`Association::io`] makes.
pub const DEPTH: u16 = 32;

/// No digests, both, and each alone.
pub const ALL_DIGESTS: [Digests; 4] = [
    Digests { header: false, data: false },
    Digests { header: true, data: false },
    Digests { header: false, data: true },
    Digests { header: true, data: true },
];
pub const NO_DIGESTS: Digests = ALL_DIGESTS[0];

/// Opens devices by their names, as a command line does.
pub fn devices(names: &[&str]) -> Vec<Arc<dyn Device>> {
    let open = |name: &&str| name.parse::<Spec>()?.open(&Defaults::default());
    names.iter().map(|name| open(name).unwrap_or_else(|error| panic!("{error}"))).collect()
}

/// The kind of ring that this run of the tests asks for: see CONTRIBUTING.md.
pub fn ring_kind() -> RingKind {
    std::env::var("QPAIR_TEST_RING").map_or(RingKind::Auto, |kind| kind.parse().expect("QPAIR_TEST_RING"))
}

/// A running target.
pub struct Rig {
    pub target: Arc<Target>,
    pub addr: SocketAddr,
    /// What is served.
    pub layout: Layout,
    server: Option<Server>,
}

impl Rig {
    /// On one reactor, with these devices.
    pub fn new(names: &[&str]) -> Self {
        Self::with(Subsystem::new(NQN, devices(names)), 1, Mode::Shared)
    }

    /// On two reactors: connections go to them in turns.
    pub fn on_two_reactors(names: &[&str]) -> Self {
        Self::with(Subsystem::new(NQN, devices(names)), 2, Mode::Shared)
    }

    pub fn with(subsystem: Subsystem, reactors: usize, mode: Mode) -> Self {
        let listen = vec!["127.0.0.1:0".parse().expect("an address")];
        Self::of(Layout { subsystems: vec![subsystem], listen, referrals: Vec::new() }, reactors, mode)
    }

    pub fn of(layout: Layout, reactors: usize, mode: Mode) -> Self {
        let options = Options { reactors, mode, ring: ring_kind(), cpus: Vec::new() };
        let server = Server::start(&layout, &options).expect("a port and threads");
        let target = server.target().clone();
        let addr = target.listeners()[0];
        Self { target, addr, layout, server: Some(server) }
    }

    pub fn allowing(names: &[&str], hosts: &[&str]) -> Self {
        let hosts = Hosts::Listed(hosts.iter().map(|&nqn| nqn.to_owned()).collect());
        Self::with(Subsystem { hosts, ..Subsystem::new(NQN, devices(names)) }, 1, Mode::Shared)
    }

    /// Changes what is served.
    pub fn apply(&mut self, change: impl FnOnce(&mut Layout)) -> Changes {
        change(&mut self.layout);
        self.server().apply(&self.layout).unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }

    /// In-capsule data of the first subsystem's I/O queues, in bytes.
    pub fn in_capsule_bytes(&self) -> u32 {
        self.layout.subsystems[0].in_capsule_bytes
    }

    /// The device of a namespace of the first subsystem.
    pub fn device(&self, nsid: u32) -> Arc<dyn Device> {
        self.layout.subsystems[0].namespaces[&nsid].clone()
    }

    /// Stops the target; how long that took.
    pub fn stop(&mut self) -> Duration {
        let started = Instant::now();
        self.server.take().expect("it runs").stop().unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
        started.elapsed()
    }

    /// What each reactor has done, for whom.
    pub fn served(&self) -> Vec<Traffic> {
        let server = self.server.as_ref().expect("it runs");
        server.observer().reactors().iter().flat_map(|stats| stats.served()).collect()
    }

    /// Waits until as many controllers are there.
    pub fn await_controllers(&self, count: usize) {
        eventually(&format!("{count} controllers"), || self.target.controller_count() == count);
    }
}

impl Drop for Rig {
    /// Whatever a test did to it, the target stops without a panic and leaves nothing behind.
    fn drop(&mut self) {
        if self.server.is_some() && !std::thread::panicking() {
            self.stop();
            assert_eq!(self.target.controller_count(), 0);
        }
    }
}

/// Waits for something that should be so soon.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Connect data of the usual host for the usual subsystem.
pub fn connect_data(cntlid: u16) -> ConnectData {
    connect_data_of(cntlid, NQN, HOST)
}

pub fn connect_data_of(cntlid: u16, subsystem: &str, host: &str) -> ConnectData {
    let nqn = |name| Nqn::new(name).expect("a name");
    ConnectData::new(HOST_ID, cntlid, &nqn(subsystem), &nqn(host))
}

/// A well-behaved host's association: its admin queue, and the way to I/O queues.
pub struct Association {
    pub admin: Host,
    pub cntlid: u16,
    pub subsystem: String,
    pub addr: SocketAddr,
    pub digests: Digests,
    /// In-capsule data of the I/O queues, in bytes.
    pub in_capsule_bytes: u32,
}

impl Association {
    /// Connected and enabled, without a keep-alive timer.
    pub fn new(rig: &Rig) -> Self {
        Self::with(rig, NO_DIGESTS, 0)
    }

    pub fn with(rig: &Rig, digests: Digests, kato_ms: u32) -> Self {
        let mut association = Self::connected(rig, NQN, digests, kato_ms);
        association.enable();
        association
    }

    /// Connected to a subsystem, not enabled.
    pub fn connected(rig: &Rig, subsystem: &str, digests: Digests, kato_ms: u32) -> Self {
        let mut association = Self::at(rig.addr, subsystem, digests, kato_ms);
        association.in_capsule_bytes = rig.in_capsule_bytes();
        association
    }

    /// The same at an address, with the default in-capsule size.
    pub fn at(addr: SocketAddr, subsystem: &str, digests: Digests, kato_ms: u32) -> Self {
        let mut admin = Host::open(addr, digests, DEPTH);
        let data = connect_data_of(ANY_CONTROLLER, subsystem, HOST);
        let connect = Sqe::connect(0, DEPTH - 1, kato_ms, 0);
        let done = admin.run(connect, Data::Capsule(data.as_bytes()));
        assert!(done.status().is_success(), "Connect: {}", done.status());
        admin.queue_is_there(8192, false);
        let cntlid = ConnectResult::from_result(done.result()).cntlid;
        let in_capsule_bytes = IN_CAPSULE_DEFAULT_BYTES;
        Self { admin, cntlid, subsystem: subsystem.to_owned(), addr, digests, in_capsule_bytes }
    }

    /// What a kernel does: CC.EN = 1, then CSTS.RDY = 1.
    pub fn enable(&mut self) {
        self.set_cc(Cc::enable());
        eventually("RDY", || self.csts() & 1 != 0);
    }

    pub fn set_cc(&mut self, cc: Cc) {
        self.admin.ok(Sqe::property_set(property::CC, false, cc.0.into()), Data::None);
    }

    pub fn csts(&mut self) -> u32 {
        self.admin.ok(Sqe::property_get(property::CSTS, false), Data::None).result() as u32
    }

    /// An I/O queue without flow control.
    pub fn io(&self, qid: u16) -> Host {
        self.io_with(qid, DEPTH, true)
    }

    pub fn io_with(&self, qid: u16, depth: u16, flow_control_disabled: bool) -> Host {
        let (host, done) = self.try_io(qid, depth, flow_control_disabled);
        assert!(done.status().is_success(), "Connect of queue {qid}: {}", done.status());
        host
    }

    /// Tries to connect an I/O queue; how Connect ended.
    pub fn try_io(&self, qid: u16, depth: u16, flow_control_disabled: bool) -> (Host, Done) {
        let mut host = Host::open(self.addr, self.digests, depth);
        let cattr = if flow_control_disabled { wire::nvme::fabrics::CATTR_DISABLE_SQ_FLOW_CONTROL } else { 0 };
        let data = connect_data_of(self.cntlid, &self.subsystem, HOST);
        let done = host.run(Sqe::connect(qid, depth - 1, 0, cattr), Data::Capsule(data.as_bytes()));
        if done.status().is_success() {
            host.queue_is_there(self.in_capsule_bytes, flow_control_disabled);
        }
        (host, done)
    }
}

/// Compares data without printing it.
pub fn same(left: &[u8], right: &[u8], what: &str) {
    let at = left.iter().zip(right).position(|(l, r)| l != r);
    assert!(at.is_none() && left.len() == right.len(), "{what}: the first difference is at {at:?}");
}

/// Bytes that tell their place and who wrote them.
pub fn pattern(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut all = Vec::with_capacity(bytes + 8);
    while all.len() < bytes {
        all.extend_from_slice(&next().to_le_bytes());
    }
    all.truncate(bytes);
    all
}
