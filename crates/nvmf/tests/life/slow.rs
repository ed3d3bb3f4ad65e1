//! A device that takes its time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use block::{Completion, Completions, Device, Features, Identity, Info, Queue, Refused, Request};
use machine::reactor::{Arm, Mode};
use machine::ring::Ring;
use qpair_nvmf::Subsystem;
use wire::nvme::{Cc, Sqe, Status};

use crate::common::{self, Association, NQN, Raw, Rig, pdu};

const DELAY: Duration = Duration::from_millis(600);

/// What it is, how many requests its queues have, and how long it has them.
pub(crate) struct Slow(Info, Arc<AtomicUsize>, Duration);

impl Slow {
    pub(crate) fn device() -> Arc<dyn Device> {
        Arc::new(Self::named("slow"))
    }

    /// One that takes longer than an Abort waits.
    pub(crate) fn very() -> Arc<dyn Device> {
        Arc::new(Self(Self::named("very slow").0, Arc::default(), DELAY * 4))
    }

    /// The device, and how many requests it has.
    fn counted() -> (Arc<dyn Device>, Arc<AtomicUsize>) {
        let slow = Self::named("slow");
        let count = slow.1.clone();
        (Arc::new(slow), count)
    }

    fn named(name: &str) -> Self {
        let info = Info {
            name: name.to_owned(),
            kind: "slow",
            block_bytes: 512,
            blocks: 2048,
            preferred_blocks: 1,
            atomic_blocks: 1,
            max_transfer_bytes: 128 << 10,
            piece_bytes: 1,
            features: Features::default(),
            identity: Identity::from_uuid("6ba7b810-9dad-41d1-80b4-00c04fd430c8".parse().expect("a UUID")),
        };
        Self(info, Arc::default(), DELAY)
    }
}

impl Device for Slow {
    fn info(&self) -> &Info {
        &self.0
    }

    fn open_queue(&self, _ring: &mut Ring) -> std::io::Result<Box<dyn Queue>> {
        Ok(Box::new(SlowQueue(VecDeque::new(), self.1.clone(), self.2)))
    }
}

/// A device without queues.
pub(crate) struct Broken(Slow);

impl Broken {
    pub(crate) fn device() -> Arc<dyn Device> {
        Arc::new(Self(Slow::named("broken")))
    }
}

impl Device for Broken {
    fn info(&self) -> &Info {
        &self.0.0
    }

    fn open_queue(&self, _ring: &mut Ring) -> std::io::Result<Box<dyn Queue>> {
        Err(std::io::Error::other("out of order"))
    }
}

/// What waits, and until when.
struct SlowQueue(VecDeque<(Instant, Completion)>, Arc<AtomicUsize>, Duration);

impl Queue for SlowQueue {
    fn submit<'a>(&mut self, _ring: &mut Ring, request: Request<'a>) -> Result<(), Refused<'a>> {
        let data = request.data.into_bufs().into();
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.push_back((Instant::now() + self.2, Completion { tag: request.tag, outcome: Ok(()), data }));
        Ok(())
    }

    fn poll(&mut self, _ring: &mut Ring, out: &mut Completions) {
        while self.0.front().is_some_and(|entry| entry.0 <= Instant::now()) {
            self.1.fetch_sub(1, Ordering::SeqCst);
            out.list.extend(self.0.pop_front().map(|entry| entry.1));
        }
    }

    fn in_flight(&self) -> usize {
        self.0.len()
    }

    fn arm(&mut self, _ring: &mut Ring) -> Arm {
        if self.0.is_empty() { Arm::Armed } else { Arm::PollEvery(Duration::from_millis(5)) }
    }
}

fn rig() -> Rig {
    Rig::with(Subsystem::new(NQN, vec![Slow::device()]), 2, Mode::Shared)
}

/// Writes of both ways, all at the device.
pub(crate) fn submitted(addr: SocketAddr, cntlid: u16, qid: u16) -> Raw {
    let mut io = Raw::io(addr, cntlid, qid, 32, 4, common::NO_DIGESTS);
    io.command(Sqe::write(1, 8, 8, false).with_data_by_transport(4096).with_cid(1), &[]);
    let ttag = io.pdu().r2t().ttag.get();
    io.send(&pdu::h2c(1, ttag, 0, &[1; 4096], true, common::NO_DIGESTS));
    for cid in 2..10 {
        io.command(Sqe::write(1, 0, 8, false).with_data_in_capsule(4096).with_cid(cid), &[2; 4096]);
    }
    std::thread::sleep(DELAY / 6);
    io
}

#[test]
fn a_target_that_stops_answers_what_the_device_has() {
    let mut rig = rig();
    let association = Association::new(&rig);
    let mut io =
        [submitted(association.addr, association.cntlid, 1), submitted(association.addr, association.cntlid, 2)];
    rig.stop();
    for io in &mut io {
        let mut answered: Vec<u16> = std::iter::from_fn(|| io.try_pdu())
            .map(|pdu| {
                assert_eq!(pdu.cqe().status(), Status::SUCCESS);
                pdu.cqe().cid.get()
            })
            .collect();
        answered.sort_unstable();
        assert!(answered.iter().copied().eq(1..10), "{answered:?}");
    }
}

/// Completions that come after their connection has gone find their buffers' way home, and nobody else's command.
#[test]
fn late_completions_hit_nobody() {
    let rig = rig();
    let before = common::bystander::large_buffers(&rig);
    let association = Association::new(&rig);
    for round in 0..6 {
        drop(submitted(association.addr, association.cntlid, round * 2 + 1));
        let mut next = submitted(association.addr, association.cntlid, round * 2 + 2);
        for cid in 1..10 {
            assert_eq!(next.pdu().cqe().cid.get(), cid);
        }
    }
    drop(association);
    rig.await_controllers(0);
    std::thread::sleep(DELAY);
    assert_eq!(common::bystander::large_buffers(&rig), before);
}

/// A write that the device still has would hit what the host writes after the reset.
#[test]
fn a_reset_has_taken_effect_when_the_device_has_nothing_left() {
    let (device, requests) = Slow::counted();
    let rig = Rig::with(Subsystem::new(NQN, vec![device]), 2, Mode::Shared);
    let mut association = Association::new(&rig);
    for round in 0..3 {
        let old =
            [submitted(association.addr, association.cntlid, 1), submitted(association.addr, association.cntlid, 2)];
        assert_eq!(requests.load(Ordering::SeqCst), 18);
        association.set_cc(Cc::enable().with_en(false));
        assert_ne!(association.csts() & 1, 0, "RDY");
        common::eventually("RDY is 0", || association.csts() & 1 == 0);
        assert_eq!(requests.load(Ordering::SeqCst), 0, "round {round}");
        association.enable();
        drop(old);
    }
    // Who does not wait for RDY to be 0 waits for it to be 1 again.
    let _old = submitted(association.addr, association.cntlid, 1);
    association.set_cc(Cc::enable().with_en(false));
    association.enable();
    assert_eq!(requests.load(Ordering::SeqCst), 0);
    let mut io = association.io(1);
    assert_eq!(io.run(Sqe::flush(1), common::Data::None).status(), Status::SUCCESS);
}

/// The same for a host that comes again after its connections broke.
#[test]
fn a_new_association_waits_for_what_devices_have_of_the_last_one() {
    let (device, requests) = Slow::counted();
    let rig = Rig::with(Subsystem::new(NQN, vec![device]), 2, Mode::Shared);
    for round in 0..3 {
        let association = Association::new(&rig);
        let old =
            [submitted(association.addr, association.cntlid, 1), submitted(association.addr, association.cntlid, 2)];
        drop(association);
        rig.await_controllers(0);
        assert_eq!(requests.load(Ordering::SeqCst), 18);
        let next = Association::connected(&rig, NQN, common::NO_DIGESTS, 0);
        assert_eq!(requests.load(Ordering::SeqCst), 0, "round {round}");
        drop((next, old));
        rig.await_controllers(0);
    }
}

/// Also if the target has not seen yet that the last one is over; a controller that the host keeps is not waited for.
#[test]
fn a_new_association_waits_for_one_that_the_host_has_just_closed() {
    let (device, requests) = Slow::counted();
    let rig = Rig::with(Subsystem::new(NQN, vec![device]), 2, Mode::Shared);
    for round in 0..4 {
        let association = Association::new(&rig);
        let old = submitted(rig.addr, association.cntlid, 1);
        // Another reactor, every other time.
        let bystander = (round % 2 == 0).then(|| Raw::new(rig.addr));
        drop(association);
        let next = Association::new(&rig);
        assert_eq!(requests.load(Ordering::SeqCst), 0, "round {round}");
        let beside = submitted(rig.addr, next.cntlid, 1);
        let third = Association::new(&rig);
        assert_eq!(requests.load(Ordering::SeqCst), 9, "a second path does not wait for the first");
        drop((next, old, bystander, beside, third));
        rig.await_controllers(0);
    }
}
