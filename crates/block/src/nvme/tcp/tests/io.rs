//! Every operation, small and large, in every mode that is negotiated.

use std::sync::atomic::Ordering::SeqCst;

use machine::reactor::Arm;
use machine::region::{Buf, Bufs, Pool};
use machine::ring::Wait;
use wire::nvme::Status;
use wire::nvme::identify::oncs;

use super::target::{Config, Fault, Target};
use super::{PATIENCE, Rig, carried, five, pattern};
use crate::nvme::tcp::Uri;
use crate::nvme::tcp::limits::MAX_COPIES;
use crate::{CopyLimits, Data, Device, Failure, Op, Range, Request};

fn range(lba: u64, blocks: u64) -> Range {
    Range { lba, blocks }
}

/// Writes and reads of many sizes at once; what was written is on the disk, what is read is what was written.
fn round_trips(config: Config, change: impl Fn(&mut Uri)) -> (Target, Rig) {
    let target = Target::start(config);
    let mut uri = target.uri();
    change(&mut uri);
    let mut rig = Rig::new(uri);
    both_ways(&target, &mut rig);
    rig.cuts = Some(five);
    both_ways(&target, &mut rig);
    rig.cuts = None;
    (target, rig)
}

fn both_ways(target: &Target, rig: &mut Rig) {
    let sizes = [1u64, 7, 16, 17, 64, 200, 512];
    let (mut lba, mut placed) = (3, Vec::new());
    for (number, &blocks) in sizes.iter().enumerate() {
        let bytes = pattern(blocks as usize * 512, number as u32 * 77 + u32::from(rig.cuts.is_some()));
        assert!(rig.submit_bytes(number as u64, Op::Write { range: range(lba, blocks), fua: false }, &bytes));
        placed.push((lba, blocks, bytes));
        lba += blocks + 1;
    }
    let done = rig.finish();
    assert_eq!(done.len(), sizes.len());
    assert!(done.iter().all(|done| done.outcome == Ok(())));
    drop(done);
    for (lba, _, bytes) in &placed {
        assert_eq!(&target.disk()[*lba as usize * 512..][..bytes.len()], &bytes[..]);
    }
    for (number, (lba, blocks, _)) in placed.iter().enumerate() {
        assert!(rig.submit(number as u64, Op::Read(range(*lba, *blocks))));
    }
    for done in rig.finish() {
        assert_eq!(done.outcome, Ok(()));
        assert!(carried(done.data) == placed[done.tag as usize].2, "request {} is not what was written", done.tag);
    }
    assert_eq!(rig.pool.free(), 40, "every buffer is back");
}

#[test]
fn plain() {
    let (target, _rig) = round_trips(Config::default(), |_| {});
    // In one buffer, and in several.
    assert_eq!((target.seen().in_capsule.load(SeqCst), target.seen().r2ts.load(SeqCst)), (2 * 3, 2 * 4));
}

#[test]
fn pieces_may_end_anywhere() {
    let config = Config { max_h2c_bytes: 4096, r2t_bytes: 300, in_capsule_bytes: 0, piece: 90, ..Config::default() };
    for (config, digest) in [(Config::default(), false), (config, true)] {
        let target = Target::start(config);
        let mut uri = target.uri();
        uri.data_digest = digest;
        let mut rig = Rig::new(uri);
        for cut in 0..=512_usize {
            let list = |ends: [usize; 2], bytes: &[u8]| {
                let mut bufs = Bufs::Many(ends.map(|len| piece(&rig.pool, len)).into());
                bufs.put(0, bytes);
                Data::from(bufs)
            };
            let bytes = pattern(512, cut as u32);
            let (out, back) = (list([cut, 512 - cut], &bytes), list([512 - cut, cut], &[]));
            for (op, data) in [(Op::Write { range: range(7, 1), fua: false }, out), (Op::Read(range(7, 1)), back)] {
                assert!(rig.queue.submit(&mut rig.ring, Request { tag: 1, op, data }).is_ok());
                let mut done = rig.finish();
                let done = done.pop().expect("it ends");
                assert_eq!(done.outcome, Ok(()));
                assert!(carried(done.data) == bytes, "{op:?} cut at {cut}");
            }
        }
    }
}

fn piece(pool: &Pool, len: usize) -> Buf {
    let mut buf = pool.take().expect("enough buffers");
    buf.set_len(len);
    buf
}

#[test]
fn with_digests() {
    round_trips(Config::default(), |uri| uri.header_digest = true);
    round_trips(Config::default(), |uri| uri.data_digest = true);
    round_trips(Config::default(), |uri| (uri.header_digest, uri.data_digest) = (true, true));
}

#[test]
fn with_flow_control() {
    round_trips(Config::default(), |uri| uri.flow_control = true);
}

#[test]
fn bytes_may_come_in_any_pieces() {
    for piece in [1000, 4099, 70_000] {
        let config = Config { piece, ..Config::default() };
        round_trips(config, |uri| (uri.header_digest, uri.data_digest) = (piece != 4099, piece == 1000));
    }
}

#[test]
fn data_is_cut_as_the_target_asks() {
    let config = Config { max_h2c_bytes: 4096, r2t_bytes: 10_240, in_capsule_bytes: 0, ..Config::default() };
    let (target, mut rig) = round_trips(config, |uri| uri.data_digest = true);
    assert_eq!(target.seen().in_capsule.load(SeqCst), 0);
    assert_eq!(rig.one(Op::Deallocate(range(3, 1)), &[]).0, Ok(()));
    assert_eq!(target.disk()[3 * 512..4 * 512], [0; 512], "even 16 bytes of a range go by R2T here");
}

#[test]
fn every_operation() {
    let target = Target::start(Config::default());
    let mut rig = Rig::new(target.uri());
    rig.write(10, &pattern(4096, 5));
    let fua = Op::Write { range: range(20, 1), fua: true };
    assert_eq!(rig.one(fua, &pattern(512, 6)).0, Ok(()));
    assert_eq!(target.seen().fua.load(SeqCst), 1);
    assert_eq!(rig.one(Op::Flush, &[]).0, Ok(()));
    assert_eq!(rig.one(Op::WriteZeroes { range: range(11, 2), fua: false, deallocate: true }, &[]).0, Ok(()));
    assert_eq!(rig.one(Op::Deallocate(range(14, 1)), &[]).0, Ok(()));
    let mut expected = pattern(4096, 5);
    expected[512..1536].fill(0);
    expected[2048..2560].fill(0);
    assert_eq!(rig.read(10, 8), expected);
    assert_eq!(rig.read(20, 1), pattern(512, 6));
}

#[test]
fn what_cannot_be_fails_without_the_target() {
    let target = Target::start(Config { controller: |id| id.oncs = oncs::WRITE_ZEROES.into(), ..Config::default() });
    let mut rig = Rig::new(target.uri());
    let before = target.seen().io_commands.load(SeqCst);
    let (outcome, buffer) = rig.one(Op::Read(range(4095, 2)), &[]);
    assert_eq!((outcome, buffer.len()), (Err(Failure::OutOfRange), 1024), "the buffer comes back");
    assert_eq!(rig.one(Op::Deallocate(range(0, 1)), &[]).0, Ok(()), "without DSM the hint is dropped");
    for (data, op) in [
        (Data::None, Op::Read(range(0, 1))),
        (Data::Inline(&[0; 512]), Op::Write { range: range(0, 1), fua: false }),
        (Data::Lend, Op::Read(range(0, 1))),
    ] {
        assert!(rig.queue.submit(&mut rig.ring, Request { tag: 9, op, data }).is_ok());
        assert_eq!(rig.finish()[0].outcome, Err(Failure::BadTransfer));
    }
    assert_eq!(target.seen().io_commands.load(SeqCst), before);
}

/// A controller that has all optional commands, and a namespace that can be copied on.
fn able() -> Config {
    Config {
        controller: |id| {
            let commands = oncs::COMPARE | oncs::VERIFY | oncs::WRITE_UNCORRECTABLE | oncs::WRITE_ZEROES | oncs::COPY;
            (id.oncs, id.ocfs) = (commands.into(), 1.into());
        },
        namespace: |id| (id.mssrl, id.mcl, id.msrc) = (16.into(), 20.into(), 1),
        ..Config::default()
    }
}

#[test]
fn a_status_that_has_a_name_goes_by_it() {
    let one = range(0, 1);
    let copy = Op::Copy { range: one, fua: false };
    for (status, op, failure) in [
        (Status::COMPARE_FAILURE, Op::Compare(one), Failure::Miscompare),
        (Status::INVALID_OPCODE.with_dnr(), Op::Compare(one), Failure::NotSupported),
        (Status::INVALID_OPCODE.with_dnr(), Op::Verify(one), Failure::NotSupported),
        (Status::INVALID_OPCODE, Op::WriteUncorrectable(one), Failure::NotSupported),
        (Status::INVALID_OPCODE, copy, Failure::NotSupported),
        (Status::OVERLAPPING_IO_RANGE.with_dnr(), copy, Failure::Overlap),
        (Status::COMPARE_FAILURE, Op::Read(one), Failure::Device(Status::COMPARE_FAILURE)),
        (Status::INVALID_OPCODE, Op::Read(one), Failure::Device(Status::INVALID_OPCODE)),
    ] {
        let target = Target::start(Config { fault: Fault::Answer(status), ..able() });
        let mut rig = Rig::new(target.uri());
        assert_eq!(rig.one(op, &[]).0, Err(failure), "{status} to {op:?}");
        assert_eq!(target.seen().io_commands.load(SeqCst), 1, "{op:?} was sent");
    }
}

#[test]
fn copies_keep_within_what_the_namespace_states() {
    let target = Target::start(Config { fault: Fault::Answer(Status::SUCCESS), ..able() });
    let mut rig = Rig::new(target.uri());
    assert_eq!(rig.device.info().features.copy, Some(CopyLimits { sources: 2, source_blocks: 16, blocks: 20 }));
    let mut copy = |blocks, sources: &[Range]| {
        let op = Op::Copy { range: range(0, blocks), fua: false };
        let request = Request { tag: 1, op, data: Data::Sources(sources) };
        assert!(rig.queue.submit(&mut rig.ring, request).is_ok());
        rig.finish()[0].outcome
    };
    assert_eq!(copy(20, &[range(100, 16), range(200, 4)]), Ok(()));
    assert_eq!(copy(17, &[range(100, 17)]), Err(Failure::BadTransfer));
    assert_eq!(copy(3, &[range(100, 1), range(200, 1), range(300, 1)]), Err(Failure::BadTransfer));
    assert_eq!(copy(21, &[range(100, 16), range(200, 5)]), Err(Failure::BadTransfer));
    assert_eq!(copy(2, &[range(1, 2)]), Err(Failure::Overlap));
    assert_eq!(target.seen().io_commands.load(SeqCst), 1, "the others were not sent");
}

/// As many lists of sources as there are; then the queue is full for copies, until one is over.
#[test]
fn copies_in_flight_are_bounded() {
    let target = Target::start(Config { fault: Fault::Silent, ..able() });
    let mut rig = Rig::new(target.uri());
    let source = [range(100, 1)];
    let copies = (0..20u64).filter(|&at| {
        let op = Op::Copy { range: range(at, 1), fua: false };
        rig.queue.submit(&mut rig.ring, Request { tag: at, op, data: Data::Sources(&source) }).is_ok()
    });
    assert_eq!(copies.count(), MAX_COPIES);
    assert!(rig.submit(30, Op::Read(range(0, 1))), "there is room for others");
}

#[test]
fn a_full_queue_gives_requests_back() {
    let target = Target::start(Config::default());
    let mut uri = target.uri();
    uri.depth = 4;
    let mut rig = Rig::new(uri);
    let accepted = (0..10).filter(|tag| rig.submit(*tag, Op::Read(range(*tag, 1)))).count();
    assert_eq!((accepted, rig.queue.in_flight(), rig.pool.free()), (4, 4, 36));
    assert_eq!(rig.finish().len(), 4);
    assert!(rig.submit(11, Op::Flush), "there is room again");
    assert_eq!(rig.finish().len(), 1);
}

#[test]
fn the_queue_is_no_deeper_than_the_target_allows() {
    let target = Target::start(Config { mqes: 3, ..Config::default() });
    let mut rig = Rig::new(target.uri());
    assert_eq!((0..10).filter(|tag| rig.submit(*tag, Op::Flush)).count(), 3);
    assert_eq!(rig.finish().len(), 3);
}

#[test]
fn a_completion_wakes_the_sleeper() {
    let target = Target::start(Config::default());
    let mut rig = Rig::new(target.uri());
    for _ in 0..20 {
        assert!(rig.submit(1, Op::Read(range(0, 8))));
        rig.queue.kick(&mut rig.ring);
        while rig.out.list.is_empty() {
            if rig.queue.arm(&mut rig.ring) == Arm::Armed {
                rig.ring.enter(Wait::For(PATIENCE)).expect("enter");
                rig.queue.disarm();
            } else {
                rig.ring.enter(Wait::No).expect("enter");
            }
            rig.queue.poll(&mut rig.ring, &mut rig.out);
        }
        rig.out.list.clear();
        // Nothing is in flight: after one look, the queue agrees to sleep.
        rig.ring.enter(Wait::No).expect("enter");
        rig.queue.poll(&mut rig.ring, &mut rig.out);
        assert_eq!(rig.queue.arm(&mut rig.ring), Arm::Armed);
    }
}

#[test]
fn many_queues_share_an_association() {
    let target = Target::start(Config { queues: 3, ..Config::default() });
    let mut rig = Rig::new(target.uri());
    let second = rig.device.open_queue(&mut rig.ring).expect("a second");
    let third = rig.device.open_queue(&mut rig.ring).expect("a third");
    let Err(error) = rig.device.open_queue(&mut rig.ring) else { panic!("three were granted") };
    assert!(error.to_string().contains("grants 3 I/O queues"), "{error}");
    drop(second);
    let mut again = rig.device.open_queue(&mut rig.ring).expect("its number is free");
    assert!(again.submit(&mut rig.ring, Request { tag: 5, op: Op::Flush, data: Data::None }).is_ok());
    drop((again, third));
    assert_eq!(rig.read(0, 1), [0; 512]);
}

#[test]
fn a_large_block_namespace() {
    let target = Target::start(Config { block_bytes: 4096, blocks: 256, ..Config::default() });
    let mut rig = Rig::new(target.uri());
    assert_eq!((rig.device.info().block_bytes, rig.device.info().bytes()), (4096, 1 << 20));
    rig.write(200, &pattern(3 * 4096, 1));
    assert_eq!(rig.read(201, 1), pattern(3 * 4096, 1)[4096..8192]);
}
