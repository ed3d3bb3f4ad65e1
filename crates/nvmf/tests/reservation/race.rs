//! Once a preempt is answered, no write of the host that was preempted lands: on any reactor, whatever it had in
//! flight.

use std::sync::atomic::{AtomicBool, Ordering};

use wire::nvme::reservation::{AcquireAction, ReservationType};
use wire::nvme::{Sqe, Status};

use crate::common::{Data, Rig};
use crate::{Member, OK};

const ROUNDS: u8 = 25;
const BLOCKS: u64 = 16;

#[test]
fn no_write_lands_behind_an_answered_preempt() {
    for action in [AcquireAction::Preempt, AcquireAction::PreemptAndAbort] {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("disk.img");
        std::fs::write(&path, vec![0; 1 << 20]).expect("a file");
        let file = path.display().to_string();
        for device in ["ram:1MiB", &file] {
            let rig = Rig::on_two_reactors(&[device]);
            // Their I/O queues are on different reactors.
            let mut hosts = [Member::new(&rig, 1), Member::new(&rig, 2)];
            let mut spare = Member::new(&rig, 3);
            for round in 1..=ROUNDS {
                race(&mut hosts, &mut spare, action, round);
            }
        }
    }
}

/// Sets a flag when it goes.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The first host writes as fast as it can, with a queue full of commands, while the second preempts it, writes, and
/// then looks whether its own data stays.
fn race([victim, taker]: &mut [Member; 2], spare: &mut Member, action: AcquireAction, round: u8) {
    let kind = ReservationType::WriteExclusive;
    assert_eq!((victim.register(1, None), taker.register(2, None)), (OK, OK));
    assert_eq!(victim.acquire(kind, 1), OK);
    let (started, over) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        // Whatever fails here, the other thread ends.
        let _end = OnDrop(&over);
        scope.spawn(|| {
            let (mut next, mut refused) = (0, 0);
            let mut send = |victim: &mut Member| {
                let byte = [0x80 | round; 512];
                let data = if next % 3 == 0 { Data::R2t(&byte) } else { Data::Capsule(&byte) };
                victim.io.submit(Sqe::write(1, next % BLOCKS, 1, false), data);
                next += 1;
            };
            (0..16).for_each(|_| send(victim));
            let mut left = 16;
            while left > 0 {
                let status = victim.io.wait().status();
                started.store(true, Ordering::Relaxed);
                let refusal = [Status::RESERVATION_CONFLICT, Status::ABORTED_PREEMPT];
                let refusal = refusal.into_iter().any(|refusal| status.same_code(refusal));
                assert!(status.is_success() || refusal, "{status}");
                refused += u32::from(refusal);
                if over.load(Ordering::Relaxed) {
                    left -= 1;
                } else {
                    send(victim);
                }
            }
            assert!(refused > 0, "it went on after the preempt");
        });
        while !started.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        assert_eq!(taker.preempt(action, kind, 2, 1), OK);
        let mine = vec![round; BLOCKS as usize * 512];
        taker.io.write(1, 0, &mine, 512);
        for _ in 0..20 {
            assert_eq!(taker.io.read(1, 0, BLOCKS as u32, 512), mine, "round {round}");
        }
    });
    assert_eq!(spare.io.read(1, 0, 1, 512), [round; 512]);
    assert_eq!(taker.clear(2), OK);
}
