//! Another host of the same target, who must not notice what its neighbours do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wire::nvme::Sqe;

use super::{Association, Data, NO_DIGESTS, Raw, Rig, pattern, same};

/// Writes and reads namespace 1 (of 512-byte blocks), in and out of capsules, on two queues, until it is told to stop.
pub struct Bystander {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u64, Duration)>,
}

impl Bystander {
    /// Starts on the blocks from 0 to 512. Its three connections are there when this returns.
    pub fn start(rig: &Rig) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let association = Association::new(rig);
        let queues = [association.io(1), association.io(2)];
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || work(association, queues, &stop)
        });
        Self { stop, thread }
    }

    /// Stops; the rounds that were done, and how long the slowest took.
    pub fn finish(self) -> (u64, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let (rounds, slowest) = self.thread.join().expect("the bystander is not disturbed");
        assert!(rounds > 0);
        (rounds, slowest)
    }
}

fn work(mut association: Association, mut queues: [super::Host; 2], stop: &AtomicBool) -> (u64, Duration) {
    let (mut rounds, mut slowest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) || rounds == 0 {
        for (at, io) in (0..).zip(&mut queues) {
            let started = Instant::now();
            let (large, small) = (pattern(rounds * 4 + at, 128 << 10), pattern(rounds * 4 + at + 2, 4096));
            io.write(1, at * 256, &large, 512);
            io.ok(Sqe::write(1, at * 256 + 8, 8, false), Data::Capsule(&small));
            let read = io.read(1, at * 256, 256, 512);
            same(&read[..4096], &large[..4096], "what the bystander wrote");
            same(&read[4096..8192], &small, "what the bystander wrote over it");
            same(&read[8192..], &large[8192..], "what the bystander wrote");
            slowest = slowest.max(started.elapsed());
        }
        association.admin.ok(Sqe::get_features(7, 0), Data::None);
        rounds += 1;
    }
    (rounds, slowest)
}

/// How many large buffers each of the two reactors gives to one connection: as many R2Ts as it sends at once. The same
/// before and after whatever happened, or something was lost.
pub fn large_buffers(rig: &Rig) -> [usize; 2] {
    let controllers = rig.target.controller_count();
    let (admin, cntlid) = Raw::admin(rig, NO_DIGESTS);
    // The connections of the two queues are on different reactors.
    let mut counts = [1, 2].map(|qid| {
        let mut io = Raw::io(rig.addr, cntlid, qid, 200, 4, NO_DIGESTS);
        for cid in 0..200 {
            io.command(Sqe::write(1, 0, 256, false).with_data_by_transport(128 << 10).with_cid(cid), &[]);
        }
        io.stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a time");
        let mut asked = 0;
        while io.has_pdu() {
            asked += 1;
        }
        asked
    });
    counts.sort_unstable();
    drop(admin);
    rig.await_controllers(controllers);
    counts
}
