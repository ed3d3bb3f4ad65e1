//! Hosts that take and do not give: they do not read what they asked for, do not send what they were asked for, or do
//! not say what they came for.
//!
//! All on one reactor, with a [`common::bystander::Bystander`] in their midst. Its I/O has to go on at once, not when a
//! time-out of half a minute has come for the others. A program of its own, because it looks at the memory of the
//! whole process.

#[path = "../common/mod.rs"]
mod common;

mod handshake;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::bystander::Bystander;
use common::{Association, NO_DIGESTS, Raw, Rig, pattern, pdu};
use wire::nvme::Sqe;

/// One test at a time: they measure memory and time.
static ALONE: Mutex<()> = Mutex::new(());

/// How long the bystander works beside the greedy ones.
const MEANWHILE: Duration = Duration::from_millis(1200);
/// Longest that a round of the bystander may take: far below the time-outs of the greedy, far above a busy machine's
/// hiccups.
const PROMPT: Duration = Duration::from_secs(4);
/// Buffers of a reactor (20 MiB) and a little for the connections.
const GROWTH_BYTES: u64 = 32 << 20;
/// Spare slots of the RAM disk, those of its one reactor among them: they take what is written while old ones are lent.
const SPARE_BYTES: u64 = 26 << 20;
const DISK: &str = "ram:48MiB,bs=512";

fn rss() -> u64 {
    machine::os::rss_bytes().expect("the process knows its memory")
}

/// Lets a bystander work for a while beside what `greedy` has started, and looks at the memory.
fn others_go_on<T>(rig: &Rig, growth: u64, greedy: impl FnOnce() -> T) {
    let before = rss();
    let started = greedy();
    let bystander = Bystander::start(rig);
    std::thread::sleep(MEANWHILE);
    let grown = rss().saturating_sub(before);
    let (rounds, slowest) = bystander.finish();
    assert!(slowest < PROMPT, "a round of {rounds} took {slowest:?}");
    assert!(grown < growth, "the process grew by {} MiB", grown >> 20);
    drop(started);
    rig.await_controllers(0);
}

/// Fills the disk, so that reads lend real slots.
fn filled(rig: &Rig) {
    let mut association = Association::new(rig);
    let mut io = association.io(1);
    let bytes = pattern(1, 128 << 10);
    for extent in 0..48 * 8 {
        io.write(1, extent * 256, &bytes, 512);
    }
    association.csts();
    drop((association, io));
    rig.await_controllers(0);
}

/// Reads of 128 KiB on each of some connections, more than all socket buffers hold; nothing of it is received.
fn never_reads(rig: &Rig, connections: u16) -> (Raw, Vec<Raw>) {
    let (admin, cntlid) = Raw::admin(rig, NO_DIGESTS);
    let queues = (1..=connections).map(|qid| {
        let mut io = Raw::io(rig.addr, cntlid, qid, 255, 4, NO_DIGESTS);
        let mut commands = Vec::new();
        // Without flow control nobody says how many may be sent: those beyond the queue's depth are not taken up.
        for cid in 0..2000 {
            let slba = 512 + u64::from(cid % 255) * 256;
            let read = Sqe::read(1, slba, 256).with_data_by_transport(128 << 10).with_cid(cid);
            commands.extend(pdu::command(read, &[], NO_DIGESTS));
        }
        io.send(&commands);
        io
    });
    let queues = queues.collect();
    (admin, queues)
}

#[test]
fn hosts_that_never_read() {
    let _alone = ALONE.lock();
    let rig = Rig::new(&[DISK]);
    filled(&rig);
    others_go_on(&rig, GROWTH_BYTES + SPARE_BYTES, || never_reads(&rig, 24));
}

/// The same from a file, whose reads are carried in buffers.
#[test]
fn hosts_that_never_read_a_file() {
    let _alone = ALONE.lock();
    let directory = tempfile::tempdir().expect("a directory");
    let rig = Rig::new(&[&format!("{}/disk.img,size=48MiB,bs=512", directory.path().display())]);
    others_go_on(&rig, GROWTH_BYTES, || never_reads(&rig, 24));
}

/// Writes of 128 KiB by R2T whose data never comes, as many as the queue takes.
#[test]
fn hosts_that_never_send() {
    let _alone = ALONE.lock();
    let rig = Rig::new(&[DISK]);
    others_go_on(&rig, GROWTH_BYTES, || {
        let (admin, cntlid) = Raw::admin(&rig, NO_DIGESTS);
        let queues = (1..=4).map(|qid| {
            let mut io = Raw::io(rig.addr, cntlid, qid, 255, 4, NO_DIGESTS);
            for cid in 0..255 {
                let write = Sqe::write(1, 512, 256, false).with_data_by_transport(128 << 10).with_cid(cid);
                io.command(write, &[]);
            }
            io
        });
        (admin, queues.collect::<Vec<_>>())
    });
}

/// Admin commands with much data to answer, and nobody who reads it.
#[test]
fn admin_queues_that_never_read() {
    let _alone = ALONE.lock();
    let rig = Rig::new(&[DISK]);
    others_go_on(&rig, GROWTH_BYTES, || {
        let log = wire::nvme::LogRequest { lid: 5, lsp: 0, rae: false, offset: 0, bytes: 128 << 10, nsid: u32::MAX };
        let hosts = (0..8).map(|_| {
            let (mut admin, _) = Raw::admin(&rig, NO_DIGESTS);
            admin.stream.set_write_timeout(Some(Duration::from_millis(50))).expect("a time");
            for round in 0..8 {
                let commands =
                    (0..32).flat_map(|cid| pdu::command(Sqe::get_log(log).with_cid(round * 32 + cid), &[], NO_DIGESTS));
                admin.send(&commands.collect::<Vec<u8>>());
            }
            admin
        });
        hosts.collect::<Vec<_>>()
    });
}

/// A target that stops does not wait for those who do not read.
#[test]
fn stopping_does_not_wait_for_them() {
    let _alone = ALONE.lock();
    let mut rig = Rig::new(&[DISK]);
    filled(&rig);
    let _greedy = never_reads(&rig, 3);
    std::thread::sleep(Duration::from_millis(200));
    let started = Instant::now();
    rig.stop();
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}
