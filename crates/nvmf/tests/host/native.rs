//! Native commands of our host at our target: what block requests cannot say.

use std::time::{Duration, Instant};

use block::nvme::tcp::TcpDevice;
use block::{Command, Completed, Completions, Device, Failure, NvmeError, Queue, Transfer};
use machine::region::Pool;
use machine::ring::{Ring, Wait};
use wire::nvme::{Fuse, IDENTIFY_BYTES, IdentifyController, Sqe, Status, cns};
use zerocopy::FromBytes;

use crate::common::{NQN, Rig, pattern};
use crate::remote;

const BLOCK: usize = 512;
const PATIENCE: Duration = Duration::from_secs(20);

/// One queue, with room for a few commands.
struct Line {
    ring: Ring,
    queue: Box<dyn Queue>,
    pool: Pool,
}

impl Line {
    fn new(device: &TcpDevice) -> Self {
        let mut ring = Ring::new().expect("a ring");
        let queue = device.open_queue(&mut ring).expect("a queue");
        Self { ring, queue, pool: Pool::anonymous(4096, 8).expect("memory") }
    }

    /// Sends commands one behind the other; how each ended, by its place.
    fn run<const N: usize>(&mut self, commands: [(Sqe, &[u8]); N]) -> [Completed; N] {
        for (tag, (sqe, bytes)) in (0..).zip(commands) {
            let data = (!bytes.is_empty()).then(|| {
                let mut buf = self.pool.take().expect("enough buffers");
                buf.set_len(bytes.len());
                buf.copy_from_slice(bytes);
                buf
            });
            let command = Command { tag, sqe, data: data.into(), metadata: None, timeout: None };
            assert!(self.queue.command(&mut self.ring, command).is_ok(), "there is room");
        }
        let (mut out, deadline) = (Completions::default(), Instant::now() + PATIENCE);
        self.queue.kick(&mut self.ring);
        while self.queue.in_flight() > 0 {
            assert!(Instant::now() < deadline, "commands hang");
            self.ring.enter(Wait::For(Duration::from_millis(1))).expect("enter");
            self.queue.poll(&mut self.ring, &mut out);
        }
        out.native.sort_unstable_by_key(|done| done.tag);
        out.native.try_into().ok().expect("each comes back once")
    }
}

#[test]
fn a_fused_pair_compares_and_writes() {
    let rig = Rig::new(&["ram:1MiB"]);
    let remote = remote(&rig, 1, "");
    let mut line = Line::new(&remote);
    let (old, new, other) = (vec![0; 2 * BLOCK], pattern(5, 2 * BLOCK), pattern(6, 2 * BLOCK));
    let first = Sqe::compare(1, 6, 2).with_fuse(Fuse::First);
    let second = Sqe::write(1, 6, 2, false).with_fuse(Fuse::Second);
    let [compared, written] = line.run([(first, &old), (second, &new)]);
    assert_eq!((compared.outcome, written.outcome), (Ok(0), Ok(0)));
    let [compared, written] = line.run([(first, &old), (second, &other)]);
    let code = |outcome: Result<u64, Failure>| match outcome {
        Err(Failure::Device(status)) => status,
        outcome => panic!("{outcome:?}"),
    };
    assert!(code(compared.outcome).same_code(Status::COMPARE_FAILURE));
    assert!(code(written.outcome).same_code(Status::ABORTED_FAILED_FUSED));
    let [read] = line.run([(Sqe::read(1, 6, 2), &other)]);
    assert_eq!(read.data.to_vec(), new, "the second pair changed nothing");
}

#[test]
fn what_the_target_does_not_know_it_says() {
    let rig = Rig::new(&["ram:1MiB"]);
    let remote = remote(&rig, 1, "");
    let mut line = Line::new(&remote);
    let unknown = Sqe { opcode: 0x80, nsid: 1.into(), ..Sqe::default() };
    let elsewhere = Sqe::read(77, 0, 1);
    let [unknown, elsewhere] = line.run([(unknown, &[]), (elsewhere, &[0; BLOCK])]);
    let is =
        |done: &Completed, wanted| matches!(done.outcome, Err(Failure::Device(status)) if status.same_code(wanted));
    assert!(is(&unknown, Status::INVALID_OPCODE), "{:?}", unknown.outcome);
    assert!(is(&elsewhere, Status::INVALID_NAMESPACE), "{:?}", elsewhere.outcome);
}

#[test]
fn admin_commands_go_through_the_device() {
    let rig = Rig::new(&["ram:1MiB"]);
    let remote = remote(&rig, 1, "");
    let nvme = Device::nvme(&remote).expect("it is an NVMe device");
    assert_eq!(nvme.nsid(), Some(1));
    let mut page = vec![0; IDENTIFY_BYTES];
    let identify = Sqe::identify(cns::CONTROLLER, 0, 0, 0);
    assert_eq!(nvme.admin(identify, Transfer::In(&mut page)).expect("it identifies itself"), 0);
    let controller = IdentifyController::read_from_bytes(&page).expect("4,096 bytes");
    assert!(controller.subnqn.starts_with(NQN.as_bytes()));
    match nvme.admin(Sqe { opcode: 0xff, ..Sqe::default() }, Transfer::None) {
        Err(NvmeError::Status { status, .. }) => assert!(status.same_code(Status::INVALID_OPCODE)),
        other => panic!("{other:?}"),
    }
}
