//! No increment is lost, and no write: several hosts count in one block by read and fused compare-and-write, while
//! others write to blocks beside it that the pairs carry along.
//!
//! ```text
//!   blocks   0      1      2      3        4 ... 7
//!          [ A ]  [ B ]  [   ]  [ count ]  [     ]     a pair compares and writes all eight
//!            └──────└── each written by one host with numbers that go up, and read back behind every write
//! ```
//!
//! A write that lands between the compare and the write of a pair would be undone by it, and its host would read an
//! older number than it wrote.

use std::sync::atomic::{AtomicU32, Ordering};

use wire::nvme::{Fuse, Sqe, Status};

use crate::common::{Association, Data, Host, Rig, devices};

const BLOCK: usize = 512;
const BLOCKS: u32 = 8;
const COUNT: usize = 3 * BLOCK;
/// Hosts that count, and how far each.
const COUNTERS: u32 = 4;
const INCREMENTS: u32 = 40;
/// Hosts that write.
const WRITERS: usize = 2;

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes[..4].try_into().expect("4 bytes"))
}

/// Compares and writes; whether they were equal.
fn swap(io: &mut Host, old: &[u8], new: &[u8], in_capsule: bool) -> bool {
    let way = |bytes| if in_capsule { Data::Capsule(bytes) } else { Data::R2t(bytes) };
    let compare = io.submit(Sqe::compare(1, 0, BLOCKS).with_fuse(Fuse::First), way(old));
    io.submit(Sqe::write(1, 0, BLOCKS, false).with_fuse(Fuse::Second), way(new));
    let mut ends = [io.wait(), io.wait()];
    ends.sort_by_key(|done| done.slot != compare);
    match ends.map(|done| done.status()) {
        [Status::SUCCESS, Status::SUCCESS] => true,
        [compared, Status::ABORTED_FAILED_FUSED] if compared.same_code(Status::COMPARE_FAILURE) => false,
        other => panic!("{other:?}"),
    }
}

/// Adds one, as often as it is to; how often another host was faster.
fn count(io: &mut Host, in_capsule: bool) -> u32 {
    let mut missed = 0;
    for _ in 0..INCREMENTS {
        loop {
            let old = io.read(1, 0, BLOCKS, BLOCK);
            let mut new = old.clone();
            new[COUNT..COUNT + 4].copy_from_slice(&(number(&old[COUNT..]) + 1).to_le_bytes());
            if swap(io, &old, &new, in_capsule) {
                break;
            }
            missed += 1;
        }
    }
    missed
}

/// Writes numbers to a block of its own until nobody counts any more.
fn write(io: &mut Host, lba: u64, counting: &AtomicU32) -> u32 {
    let mut last = 0_u32;
    while counting.load(Ordering::Relaxed) > 0 {
        last += 1;
        io.write(1, lba, &last.to_le_bytes().repeat(BLOCK / 4), BLOCK);
        // Leaves the hosts that count some time to succeed.
        for _ in 0..8 {
            assert_eq!(number(&io.read(1, lba, 1, BLOCK)), last, "a pair has undone a write to block {lba}");
        }
    }
    last
}

fn race(device: &str, reactors: usize) {
    let subsystem = qpair_nvmf::Subsystem::new(crate::common::NQN, devices(&[device]));
    let rig = Rig::with(subsystem, reactors, machine::reactor::Mode::Shared);
    let association = Association::new(&rig);
    // One after the other on the reactors in turns.
    let mut queues = (1..).map(|qid| association.io(qid));
    let writers: Vec<Host> = queues.by_ref().take(WRITERS).collect();
    let counters: Vec<Host> = queues.take(COUNTERS as usize).collect();
    let counting = AtomicU32::new(COUNTERS);
    std::thread::scope(|scope| {
        let counting = &counting;
        let write = |(lba, mut io): (u64, Host)| scope.spawn(move || self::write(&mut io, lba, counting));
        let threads: Vec<_> = (0..).zip(writers).map(write).collect();
        for (at, mut io) in counters.into_iter().enumerate() {
            scope.spawn(move || {
                let _over = OnDrop(counting);
                count(&mut io, at % 2 == 0)
            });
        }
        for thread in threads {
            assert!(thread.join().expect("no write is undone") > 0, "the writers have written");
        }
    });
    let mut io = association.io(100);
    assert_eq!(number(&io.read(1, 3, 1, BLOCK)), COUNTERS * INCREMENTS, "an increment was lost");
}

/// Counts down when it goes: whatever fails here, the other threads end.
struct OnDrop<'a>(&'a AtomicU32);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn nothing_is_lost_on_a_ram_disk() {
    [1, 2, 4].into_iter().for_each(|reactors| race("ram:1MiB,bs=512", reactors));
}

#[test]
fn nothing_is_lost_on_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    for reactors in [1, 2, 4] {
        race(&format!("{}/disk-{reactors}.img,size=1MiB", directory.path().display()), reactors);
    }
}
