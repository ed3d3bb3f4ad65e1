//! A preempt is answered when what the host that was preempted has at the device is back, and not before: with a
//! device that keeps what it has until a gate opens.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use block::{
    Completion, Completions, Data as Bytes, Device, Features, Identity, Info, Queue, Refused, Request, Returned,
};
use machine::reactor::{Arm, Mode};
use machine::ring::Ring;
use qpair_nvmf::Subsystem;
use wire::nvme::Sqe;
use wire::nvme::reservation::{AcquireAction, Change, Keys, ReservationType};
use zerocopy::IntoBytes;

use crate::common::{Data, NQN, Rig, eventually};
use crate::{Member, OK, conflict};

/// What the test and the queues share.
#[derive(Default)]
struct Gate {
    open: AtomicBool,
    held: AtomicUsize,
}

struct Gated(Info, Arc<Gate>);

impl Device for Gated {
    fn info(&self) -> &Info {
        &self.0
    }

    fn open_queue(&self, _ring: &mut Ring) -> std::io::Result<Box<dyn Queue>> {
        Ok(Box::new(GatedQueue(VecDeque::new(), self.1.clone())))
    }
}

struct GatedQueue(VecDeque<Completion>, Arc<Gate>);

impl Queue for GatedQueue {
    fn submit<'a>(&mut self, _ring: &mut Ring, request: Request<'a>) -> Result<(), Refused<'a>> {
        let data = match request.data {
            Bytes::Carried(buf) => Returned::Carried(buf),
            _ => Returned::None,
        };
        self.1.held.fetch_add(1, Ordering::SeqCst);
        self.0.push_back(Completion { tag: request.tag, outcome: Ok(()), data });
        Ok(())
    }

    fn poll(&mut self, _ring: &mut Ring, out: &mut Completions) {
        if self.1.open.load(Ordering::SeqCst) {
            self.1.held.fetch_sub(self.0.len(), Ordering::SeqCst);
            out.list.extend(self.0.drain(..));
        }
    }

    fn in_flight(&self) -> usize {
        self.0.len()
    }

    fn arm(&mut self, _ring: &mut Ring) -> Arm {
        if self.0.is_empty() { Arm::Armed } else { Arm::PollEvery(Duration::from_millis(1)) }
    }
}

fn device(gate: &Arc<Gate>) -> Arc<dyn Device> {
    let info = Info {
        name: "gated".to_owned(),
        kind: "gated",
        block_bytes: 512,
        blocks: 2048,
        preferred_blocks: 1,
        max_transfer_bytes: 128 << 10,
        piece_bytes: 1,
        atomic_blocks: 1,
        features: Features::default(),
        identity: Identity::from_uuid("6ba7b810-9dad-41d1-80b4-00c04fd430c8".parse().expect("a UUID")),
    };
    Arc::new(Gated(info, gate.clone()))
}

#[test]
fn a_preempt_waits_for_the_device_on_every_reactor() {
    let kind = ReservationType::WriteExclusive;
    for action in [AcquireAction::Preempt, AcquireAction::PreemptAndAbort] {
        for (victim_leaves, same_reactor) in [(false, false), (false, true), (true, false), (true, true)] {
            let gate = Arc::new(Gate::default());
            let rig = Rig::with(Subsystem::new(NQN, vec![device(&gate)]), 2, Mode::Shared);
            // Their I/O queues are on the two reactors in turns.
            let mut victim = Member::new(&rig, 1);
            let between = same_reactor.then(|| Member::new(&rig, 2));
            let mut taker = Member::new(&rig, 3);
            assert_eq!((victim.register(1, None), taker.register(2, None), victim.acquire(kind, 1)), (OK, OK, OK));
            for block in 0..3 {
                victim.io.submit(Sqe::write(1, block, 1, false), Data::Capsule(&[1; 512]));
            }
            eventually("the writes are at the device", || gate.held.load(Ordering::SeqCst) == 3);
            let mut victim = Some(victim);
            if victim_leaves {
                victim = None;
            }
            let change = Change::Acquire { action, kind };
            taker.io.submit(Sqe::reservation(1, change), Data::Capsule(Keys::new(2, 1).as_bytes()));
            let early = taker.io.wait_for(150);
            assert!(early.is_none(), "{action:?}, leaves {victim_leaves}: answered while writes were at the device");
            // From the moment on that it is waited for, nothing new goes to the device.
            if let Some(victim) = &mut victim {
                assert_eq!(victim.try_write(9, 9).status(), conflict());
            }
            assert_eq!(gate.held.load(Ordering::SeqCst), 3);
            gate.open.store(true, Ordering::SeqCst);
            assert_eq!(taker.io.wait().status(), OK);
            assert_eq!(gate.held.load(Ordering::SeqCst), 0, "what it waited for is back");
            drop(between);
        }
    }
}
