//! Rings that poll: what goes by them, what does not, and that it is told where nothing can be polled for. Devices with
//! queues for polling are in the lab (`lab/tests/blocks.sh`).

use std::os::unix::fs::OpenOptionsExt;

use super::tests::{run, task, uring_here};
use super::*;

const IOPOLL: Polling = Polling { iopoll: true, sqpoll: false };
const SQPOLL: Polling = Polling { iopoll: false, sqpoll: true };
const BOTH: Polling = Polling { iopoll: true, sqpoll: true };

/// A file of 1 MiB; past the page cache where the file system can.
fn file(direct: bool) -> Arc<File> {
    let there = tempfile::NamedTempFile::new().expect("a file");
    there.as_file().set_len(1 << 20).expect("sparse");
    let open = |flags| File::options().read(true).write(true).custom_flags(flags).open(there.path());
    Arc::new(open(if direct { libc::O_DIRECT } else { 0 }).or_else(|_| open(0)).expect("made above"))
}

#[test]
fn what_cannot_be_polled_for_goes_by_the_ordinary_ring_and_what_is_not_possible_is_an_error() {
    if let Err(reason) = uring_here() {
        return eprintln!("SKIPPED: {reason}");
    }
    for (polling, direct) in [(IOPOLL, true), (BOTH, true), (IOPOLL, false), (BOTH, false)] {
        // The ordinary ring is made for it.
        let mut ring = Ring::of(RingKind::Portable).expect("a ring");
        let (owner, pool) = (ring.owner(), Pool::anonymous(4096, 8).expect("memory"));
        ring.register_pool(&pool);
        let file = ring.file_polled(file(direct), polling).expect("the ordinary one is to be had");
        let (offset, len) = (4096, 4096);
        for op in [
            FileOp::Write { offset, dsync: true },
            FileOp::Sync,
            FileOp::Zero { offset, len, dsync: true, deallocate: false },
            FileOp::Deallocate { offset, len },
        ] {
            let done = run(&mut ring, owner, task(&pool, &file, 1, op, 1));
            assert!(done.result.is_ok(), "{polling}: {op:?}: {:?}", done.result);
        }
        for op in [FileOp::Read { offset }, FileOp::Write { offset, dsync: false }] {
            let done = run(&mut ring, owner, task(&pool, &file, 2, op, 1));
            match done.result {
                Ok(()) if direct => println!("{polling}: there are queues for polling here"),
                other => {
                    let error = other.expect_err("through the page cache");
                    assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP), "{polling}: {error}");
                }
            }
        }
        assert_eq!(ring.arm_files(owner), Arm::Armed, "nothing is under way");
        drop(ring);
        assert_eq!(pool.free(), 8);
    }
}

#[test]
fn files_that_poll_alike_share_a_ring_and_each_ring_knows_the_pools() {
    if let Err(reason) = uring_here() {
        return eprintln!("SKIPPED: {reason}");
    }
    let mut ring = Ring::of(RingKind::Uring).expect("a ring");
    let pools = [(); 2].map(|()| Pool::anonymous(4096, 2).expect("memory"));
    ring.register_pool(&pools[0]);
    let ordinary = ring.file(file(true));
    let polled = [SQPOLL, IOPOLL, SQPOLL, BOTH].map(|polling| ring.file_polled(file(true), polling).expect("asked"));
    let numbers = polled.each_ref().map(RingFile::polled);
    assert_eq!((ordinary.polled(), numbers), (None, [Some(0), Some(1), Some(0), Some(2)]));
    ring.register_pool(&pools[1]);
    for pool in &pools {
        let mut buf = pool.take().expect("its own");
        let known = (0..3).map(|number| ring.files.polled_id(number)).chain([ring.files.ring_id()]);
        assert!(known.into_iter().all(|id| buf.registered(id).is_some()));
        buf.fill(7);
    }
    let owner = ring.owner();
    for file in [&polled[0], &polled[2], &ordinary] {
        let done = run(&mut ring, owner, task(&pools[1], file, 3, FileOp::Read { offset: 0 }, 1));
        assert!(done.result.is_ok() && done.bufs.one().expect("comes back").iter().all(|&byte| byte == 0));
    }
    drop(polled);
    ring.enter(Wait::No).expect("closes them");
}

#[test]
fn a_thread_of_the_kernel_that_fell_asleep_is_woken() {
    if let Err(reason) = uring_here() {
        return eprintln!("SKIPPED: {reason}");
    }
    let mut ring = Ring::of(RingKind::Portable).expect("a ring");
    let (owner, pool) = (ring.owner(), Pool::anonymous(4096, 2).expect("memory"));
    let file = ring.file_polled(file(false), SQPOLL).expect("asked");
    for tag in 0..3 {
        let done = run(&mut ring, owner, task(&pool, &file, tag, FileOp::Write { offset: 0, dsync: false }, 1));
        assert!(done.result.is_ok());
        ring.files.polled_falls_asleep(0);
    }
}
