//! Registered files and buffers: that they are used, given back, and done without where they are not to be had.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getuid, setrlimit};

use super::tests::{run, task, uring_here};
use super::*;
use crate::limits::{MAX_REGISTERED_FILES, MAX_REGISTERED_POOLS};

/// Makes a test the child of itself, as a user without privileges.
const CHILD: &str = "QPAIR_TEST_AS_NOBODY";

/// Writes to a new file with buffers of the pool and reads it back.
fn write_and_read(ring: &mut Ring, file: &RingFile, pool: &Pool) {
    let owner = ring.owner();
    for (tag, dsync) in [(1, false), (2, true)] {
        let offset = 4096 * tag;
        let written = run(ring, owner, task(pool, file, tag, FileOp::Write { offset, dsync }, tag as u8));
        assert!(written.result.is_ok());
        drop(written);
        let read = run(ring, owner, task(pool, file, tag, FileOp::Read { offset }, 0));
        assert!(read.result.is_ok() && read.bufs.one().expect("comes back").iter().all(|&byte| byte == tag as u8));
    }
}

fn temporary(ring: &mut Ring) -> RingFile {
    ring.file(Arc::new(tempfile::tempfile().expect("a file")))
}

#[test]
fn a_pool_is_registered_once_there_is_a_file_and_works_on_every_ring() {
    let kind = if uring_here().is_ok() { RingKind::Uring } else { RingKind::Portable };
    let pool = Pool::anonymous(4096, 4).expect("memory");
    let mut rings = [kind, RingKind::Portable].map(|kind| Ring::of(kind).expect("a ring"));
    for ring in &mut rings {
        ring.register_pool(&pool);
        assert!(!ring.has_registered(&pool), "no file is there to use it with");
        let file = temporary(ring);
        assert_eq!(ring.has_registered(&pool), ring.choice().kind == RingKind::Uring);
        write_and_read(ring, &file, &pool);
    }
    let unregistered = Pool::anonymous(4096, 4).expect("memory");
    for ring in &mut rings {
        let file = temporary(ring);
        write_and_read(ring, &file, &pool);
        write_and_read(ring, &file, &unregistered);
    }
    drop(rings);
    assert_eq!(pool.free(), 4);
    let mut third = Ring::of(kind).expect("a ring");
    let file = temporary(&mut third);
    write_and_read(&mut third, &file, &pool);
}

#[test]
fn more_files_and_pools_than_can_be_registered_are_used_by_their_names() {
    let mut ring = Ring::new().expect("a ring");
    let pools = [(); MAX_REGISTERED_POOLS + 1].map(|()| Pool::anonymous(4096, 1).expect("memory"));
    pools.iter().for_each(|pool| ring.register_pool(pool));
    for _ in 0..2 {
        let file = Arc::new(tempfile::tempfile().expect("a file"));
        let all: Vec<_> = (0..=MAX_REGISTERED_FILES).map(|_| ring.file(Arc::clone(&file))).collect();
        let registered = all.iter().filter(|file| file.place(ring.files.ring_id()).is_some()).count();
        let expected = if ring.choice().kind == RingKind::Uring { MAX_REGISTERED_FILES } else { 0 };
        assert_eq!(registered, expected, "places are given back");
        for pool in [&pools[0], &pools[MAX_REGISTERED_POOLS]] {
            write_and_read(&mut ring, &all[0], pool);
            write_and_read(&mut ring, &all[MAX_REGISTERED_FILES], pool);
        }
    }
}

#[test]
fn a_file_that_nobody_has_any_more_is_closed() {
    let mut ring = Ring::new().expect("a ring");
    let (reader, mut writer) = io::pipe().expect("a pipe");
    let file = ring.file(Arc::new(File::from(std::os::fd::OwnedFd::from(reader))));
    let task = file.clone();
    drop(file);
    ring.enter(Wait::No).expect("own descriptors");
    writer.write_all(b"x").expect("a task has it");
    drop(task);
    ring.enter(Wait::No).expect("own descriptors");
    assert_eq!(writer.write_all(b"x").expect_err("nobody reads").kind(), io::ErrorKind::BrokenPipe);
}

/// Runs as a child of itself: as a user whose locked memory is limited, which root's is not.
#[test]
fn without_privileges_what_fits_the_limit_of_locked_memory_is_registered() {
    const NAME: &str = "ring::registered_tests::without_privileges_what_fits_the_limit_of_locked_memory_is_registered";
    const NOBODY: u32 = 65534;
    if std::env::var_os(CHILD).is_some() {
        return as_nobody();
    }
    let mut child = Command::new(std::env::current_exe().expect("this test"));
    child.args(["--exact", NAME, "--nocapture"]).env(CHILD, "1");
    if getuid().is_root() {
        child.uid(NOBODY).gid(NOBODY);
    }
    match child.status() {
        Ok(status) => assert!(status.success(), "see above"),
        Err(error) => eprintln!("SKIPPED: this test cannot be run as another user: {error}"),
    }
}

fn as_nobody() {
    assert!(!getuid().is_root());
    // The ring itself takes some of it.
    let limit = 1 << 20;
    setrlimit(Resource::Memlock, Rlimit { current: Some(limit), maximum: Some(limit) }).expect("lowered");
    let mut ring = Ring::new().expect("a ring");
    let small = Pool::anonymous(4096, 4).expect("memory");
    let large = Pool::anonymous(4096, 512).expect("memory");
    for pool in [&small, &large] {
        ring.register_pool(pool);
    }
    let file = temporary(&mut ring);
    match ring.choice() {
        RingChoice { kind: RingKind::Uring, .. } => assert!(ring.has_registered(&small)),
        choice => eprintln!("SKIPPED: {choice}"),
    }
    assert!(!ring.has_registered(&large), "2 MiB are more than 1 MiB");
    for pool in [&small, &large] {
        write_and_read(&mut ring, &file, pool);
    }
}
