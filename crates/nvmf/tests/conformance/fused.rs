//! Fused Compare and Write: what is stated, each right pair, and each wrong one (Base 2.0, Fused Operations).

use wire::nvme::{Fuse, IdentifyController, IdentifyNamespace, Sqe, Status, cns};
use wire::tcp::Slot;
use zerocopy::FromBytes;

use crate::common::{ALL_DIGESTS, Association, Data, Host, Rig, pattern};

const BLOCK: usize = 512;
const OK: Status = Status::SUCCESS;
const MISSING: Status = Status::ABORTED_MISSING_FUSED;
const FAILED: Status = Status::ABORTED_FAILED_FUSED;
const INVALID: Status = Status::INVALID_FIELD.with_dnr();
const DIFFERENT: Status = Status::COMPARE_FAILURE.with_dnr();

fn blocks(bytes: &[u8]) -> u32 {
    (bytes.len() / BLOCK) as u32
}

fn first(nsid: u32, slba: u64, bytes: &[u8]) -> Sqe {
    Sqe::compare(nsid, slba, blocks(bytes)).with_fuse(Fuse::First)
}

fn second(nsid: u32, slba: u64, bytes: &[u8]) -> Sqe {
    Sqe::write(nsid, slba, blocks(bytes), false).with_fuse(Fuse::Second)
}

/// The way of a command's data.
fn way(in_capsule: bool, bytes: &[u8]) -> Data<'_> {
    if in_capsule { Data::Capsule(bytes) } else { Data::R2t(bytes) }
}

/// Waits for these commands to end, in any order.
fn ends<const N: usize>(io: &mut Host, slots: [Slot; N]) -> [Status; N] {
    let mut ends = [None; N];
    for _ in 0..N {
        let done = io.wait();
        let at = slots.iter().position(|slot| *slot == done.slot).expect("one of these");
        assert!(ends[at].replace(done.status()).is_none(), "answered twice");
    }
    ends.map(|end| end.expect("all have ended"))
}

/// Submits two commands, one behind the other.
fn two(io: &mut Host, one: (Sqe, Data<'_>), other: (Sqe, Data<'_>)) -> [Status; 2] {
    let slots = [io.submit(one.0, one.1), io.submit(other.0, other.1)];
    ends(io, slots)
}

/// Compares with `old`, writes `new`.
fn pair(io: &mut Host, nsid: u32, slba: u64, old: &[u8], new: &[u8], ways: [bool; 2]) -> [Status; 2] {
    two(io, (first(nsid, slba, old), way(ways[0], old)), (second(nsid, slba, new), way(ways[1], new)))
}

/// A RAM disk and a file of 4 MiB: namespaces 1 and 2; on one reactor, and on two.
fn on_each(mut check: impl FnMut(&mut Host, u32)) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = format!("{}/disk.img,size=4MiB", directory.path().display());
    for start in [Rig::new, Rig::on_two_reactors] {
        let rig = start(&["ram:4MiB,bs=512", &file]);
        let association = Association::new(&rig);
        let mut io = association.io(1);
        (1..=2).for_each(|nsid| check(&mut io, nsid));
    }
}

#[test]
fn identify_states_it() {
    let rig = Rig::new(&["ram:4MiB,bs=512", "ram:4MiB,bs=4096"]);
    let mut association = Association::new(&rig);
    let page = association.admin.ok(Sqe::identify(cns::CONTROLLER, 0, 0, 0), Data::Read(4096)).data;
    let id = IdentifyController::ref_from_bytes(&page).expect("4,096 bytes");
    assert_eq!((id.fuses.get(), id.acwu.get()), (1, 31));
    for (nsid, nacwu) in [(1, 255), (2, 31)] {
        let page = association.admin.ok(Sqe::identify(cns::NAMESPACE, nsid, 0, 0), Data::Read(4096)).data;
        let id = IdentifyNamespace::ref_from_bytes(&page).expect("4,096 bytes");
        assert_eq!((id.nsfeat & 1 << 1, id.nacwu.get()), (1 << 1, nacwu));
    }
}

#[test]
fn what_is_equal_is_written_in_both_ways_of_data() {
    on_each(|io, nsid| {
        for (round, length) in [1, 3, 8, 16, 256].into_iter().enumerate() {
            for ways in [[true, true], [true, false], [false, true], [false, false]] {
                // What does not fit into a capsule is asked for.
                let ways = ways.map(|in_capsule| in_capsule && length <= 16);
                let (slba, bytes) = (8 * round as u64 + 1, length * BLOCK);
                let (old, new) = (pattern(1, bytes), pattern(2, bytes));
                io.write(nsid, slba, &old, BLOCK);
                assert_eq!(pair(io, nsid, slba, &old, &new, ways), [OK, OK]);
                assert!(io.read(nsid, slba, length as u32, BLOCK) == new, "{length} blocks");
                assert_eq!(pair(io, nsid, slba, &old, &old, ways), [DIFFERENT, FAILED]);
                assert!(io.read(nsid, slba, length as u32, BLOCK) == new, "{length} blocks");
            }
        }
    });
}

#[test]
fn pairs_work_with_digests() {
    let rig = Rig::on_two_reactors(&["ram:4MiB,bs=512"]);
    for digests in ALL_DIGESTS {
        let association = Association::with(&rig, digests, 0);
        let mut io = association.io(1);
        let (zeros, ones) = ([0; BLOCK], [1; BLOCK]);
        for ways in [[true, true], [false, false]] {
            assert_eq!(pair(&mut io, 1, 0, &zeros, &ones, ways), [OK, OK]);
            assert_eq!(pair(&mut io, 1, 0, &ones, &zeros, ways), [OK, OK]);
        }
    }
}

#[test]
fn many_pairs_at_a_time_are_each_carried_out_once() {
    on_each(|io, nsid| {
        let images: Vec<_> = (0..=15u8).map(|number| [number; BLOCK]).collect();
        io.write(nsid, 5, &images[0], BLOCK);
        let mut slots = Vec::new();
        for (old, new) in images.iter().zip(&images[1..]) {
            slots.push(io.submit(first(nsid, 5, old), Data::Capsule(old)));
            slots.push(io.submit(second(nsid, 5, new), Data::Capsule(new)));
        }
        // One after the other in the order in which they came: each finds what the one before wrote.
        let slots: [Slot; 30] = slots.try_into().expect("15 pairs");
        assert_eq!(ends(io, slots), [OK; 30]);
        assert_eq!(io.read(nsid, 5, 1, BLOCK), images[15]);
    });
}

#[test]
fn a_half_alone_is_missing_the_other() {
    on_each(|io, nsid| {
        let bytes = io.read(nsid, 0, 1, BLOCK);
        for in_capsule in [true, false] {
            let data = way(in_capsule, &bytes);
            io.fails(second(nsid, 0, &bytes), data, MISSING);
            // An ordinary command between them: it is carried out, the halves are not.
            let slots = [
                io.submit(first(nsid, 0, &bytes), data),
                io.submit(Sqe::flush(nsid), Data::None),
                io.submit(second(nsid, 0, &bytes), data),
            ];
            assert_eq!(ends(io, slots), [MISSING, OK, MISSING]);
            // Another first half: it begins a pair of its own.
            let slots = [
                io.submit(first(nsid, 0, &bytes), data),
                io.submit(first(nsid, 0, &bytes), data),
                io.submit(second(nsid, 0, &bytes), data),
                io.submit(second(nsid, 0, &bytes), data),
            ];
            assert_eq!(ends(io, slots), [MISSING, OK, OK, MISSING]);
        }
        assert_eq!(io.read(nsid, 0, 1, BLOCK), bytes);
    });
}

#[test]
fn two_that_do_not_match_are_both_wrong() {
    on_each(|io, nsid| {
        let (one, two_blocks) = ([0xaa; BLOCK], [0xaa; 2 * BLOCK]);
        io.write(nsid, 0, &[0xaa; 4 * BLOCK], BLOCK);
        let compare = (first(nsid, 0, &one), Data::Capsule(&one));
        let others = [
            (second(nsid, 1, &one), Data::Capsule(&one[..])),
            (second(nsid, 0, &two_blocks), Data::Capsule(&two_blocks)),
            (second(3 - nsid, 0, &one), Data::Capsule(&one)),
            (Sqe::read(nsid, 0, 1).with_fuse(Fuse::Second), Data::Read(BLOCK)),
            (first(nsid, 0, &one).with_fuse(Fuse::Second), Data::Capsule(&one)),
        ];
        for other in others {
            assert_eq!(two(io, compare, other), [INVALID, INVALID], "{:?}", other.0);
        }
        // FUSE 11b has no meaning, and is no second half.
        let reserved = second(nsid, 0, &one).with_fuse(Fuse::Reserved);
        assert_eq!(two(io, compare, (reserved, Data::Capsule(&one))), [MISSING, INVALID]);
        assert_eq!(io.read(nsid, 0, 4, BLOCK), [0xaa; 4 * BLOCK]);
    });
}

#[test]
fn when_one_half_is_wrong_the_other_is_aborted() {
    on_each(|io, nsid| {
        let bytes = io.read(nsid, 0, 1, BLOCK);
        let good = [(first(nsid, 0, &bytes), way(true, &bytes)), (second(nsid, 0, &bytes), way(false, &bytes))];
        let wrong = |sqe, end| ((sqe, Data::Capsule(&bytes[..])), end);
        let nowhere = Status::INVALID_NAMESPACE.with_dnr();
        let beyond = Status::LBA_OUT_OF_RANGE.with_dnr();
        let firsts = [
            // Not a compare.
            wrong(second(nsid, 0, &bytes).with_fuse(Fuse::First), INVALID),
            wrong(first(9, 0, &bytes), nowhere),
            wrong(first(nsid, 1 << 40, &bytes), beyond),
            wrong(Sqe::compare(nsid, 0, 2).with_fuse(Fuse::First), Status::INVALID_SGL_DATA_LENGTH.with_dnr()),
        ];
        for (half, end) in firsts {
            assert_eq!(two(io, half, good[1]), [end, FAILED], "{:?}", half.0);
        }
        let seconds = [
            wrong(second(9, 0, &bytes), nowhere),
            wrong(second(nsid, 1 << 40, &bytes), beyond),
            wrong(Sqe::write(nsid, 0, 2, false).with_fuse(Fuse::Second), INVALID),
        ];
        for (half, end) in seconds {
            let other = if end == INVALID { INVALID } else { FAILED };
            assert_eq!(two(io, good[0], half), [other, end], "{:?}", half.0);
        }
        assert_eq!(two(io, good[0], good[1]), [OK, OK]);
    });
}

#[test]
fn read_only_namespaces_have_no_pairs() {
    let rig = Rig::new(&["ram:4MiB,bs=512,ro"]);
    let association = Association::new(&rig);
    let mut io = association.io(1);
    let zeros = [0; BLOCK];
    let ends = pair(&mut io, 1, 0, &zeros, &zeros, [true, true]);
    assert_eq!(ends, [FAILED, Status::NAMESPACE_IS_WRITE_PROTECTED.with_dnr()]);
}

#[test]
fn admin_commands_are_never_fused() {
    let rig = Rig::new(&["ram:4MiB,bs=512"]);
    let mut association = Association::new(&rig);
    let sqe = Sqe::identify(cns::CONTROLLER, 0, 0, 0);
    for fuse in [Fuse::First, Fuse::Second, Fuse::Reserved] {
        association.admin.fails(sqe.with_fuse(fuse), Data::Read(4096), INVALID);
        association.admin.ok(sqe, Data::Read(4096));
    }
}

#[test]
fn a_namespace_that_goes_takes_its_pairs_along() {
    let mut rig = Rig::on_two_reactors(&["ram:4MiB,bs=512", "ram:4MiB,bs=512"]);
    let association = Association::new(&rig);
    let mut io = association.io(1);
    let zeros = [0; BLOCK];
    let half = io.submit(first(1, 0, &zeros), Data::Capsule(&zeros));
    let flush = io.submit(Sqe::flush(2), Data::None);
    assert_eq!(ends(&mut io, [half, flush]), [MISSING, OK]);
    let half = io.submit(first(1, 0, &zeros), Data::Capsule(&zeros));
    rig.apply(|layout| drop(layout.subsystems[0].namespaces.remove(&1)));
    assert_eq!(ends(&mut io, [half]), [Status::INVALID_NAMESPACE.with_dnr()]);
    io.fails(second(1, 0, &zeros), Data::Capsule(&zeros), FAILED);
    assert_eq!(pair(&mut io, 2, 0, &zeros, &zeros, [true, true]), [OK, OK]);
}
