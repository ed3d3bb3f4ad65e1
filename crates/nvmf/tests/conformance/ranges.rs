//! Dataset Management: one range, many, empty ones, wrong ones; in the capsule and by R2T.

use wire::nvme::{DsmRange, Sqe, Status};
use zerocopy::IntoBytes;

use crate::common::{Association, Data, Host, Rig, pattern};

const BLOCKS: u64 = 2048;

fn deallocate(io: &mut Host, ranges: &[DsmRange], in_capsule: bool) -> Status {
    let bytes = ranges.as_bytes();
    let data = if in_capsule { Data::Capsule(bytes) } else { Data::R2t(bytes) };
    io.run(Sqe::dsm(1, ranges.len() as u32, true), data).status()
}

/// All of a disk of 1 MiB.
fn read_all(io: &mut Host) -> Vec<u8> {
    (0..BLOCKS).step_by(256).flat_map(|slba| io.read(1, slba, 256, 512)).collect()
}

fn fill(io: &mut Host) -> Vec<u8> {
    let bytes = pattern(1, BLOCKS as usize * 512);
    for (slba, part) in (0..).step_by(256).zip(bytes.chunks(256 * 512)) {
        io.write(1, slba, part, 512);
    }
    bytes
}

#[test]
fn every_range_is_deallocated_and_nothing_else() {
    let rig = Rig::new(&["ram:1MiB,bs=512"]);
    let association = Association::new(&rig);
    let mut io = association.io(1);
    let scattered: Vec<DsmRange> = (0..256).map(|at| DsmRange::new(at * 8 + at % 8, 1 + (at % 3) as u32)).collect();
    let empty = [DsmRange::new(5, 0), DsmRange::new(BLOCKS, 0), DsmRange::new(7, 2), DsmRange::new(u64::MAX, 0)];
    let overlapping = [DsmRange::new(100, 50), DsmRange::new(120, 50), DsmRange::new(0, 2048)];
    let cases: [(&str, &[DsmRange]); 5] = [
        ("one", &[DsmRange::new(9, 30)]),
        ("256", &scattered[..]),
        ("empty ones", &empty),
        ("overlapping ones", &overlapping),
        ("the end", &[DsmRange::new(BLOCKS - 1, 1), DsmRange::new(0, 1)]),
    ];
    for (what, ranges) in cases {
        for in_capsule in [true, false] {
            let mut expected = fill(&mut io);
            assert_eq!(deallocate(&mut io, ranges, in_capsule), Status::SUCCESS, "{what}");
            for range in ranges.iter().filter(|range| range.nlb.get() > 0) {
                let from = range.slba.get() as usize * 512;
                expected[from..from + range.nlb.get() as usize * 512].fill(0);
            }
            assert!(read_all(&mut io) == expected, "{what}, in the capsule: {in_capsule}");
        }
    }
}

#[test]
fn a_range_beyond_the_end_fails_the_command() {
    let rig = Rig::new(&["ram:1MiB,bs=512"]);
    let association = Association::new(&rig);
    let mut io = association.io(1);
    for (slba, nlb) in [(BLOCKS, 1), (BLOCKS - 1, 2), (0, u32::MAX), (u64::MAX, 1), (u64::MAX, u32::MAX)] {
        for in_capsule in [true, false] {
            let bad = DsmRange::new(slba, nlb);
            let good = DsmRange::new(0, 1);
            for ranges in [&[bad][..], &[good, bad], &[bad, good], &[good, bad, bad, good]] {
                let status = deallocate(&mut io, ranges, in_capsule);
                assert_eq!(status, Status::LBA_OUT_OF_RANGE.with_dnr(), "{nlb} from {slba}");
            }
        }
    }
    // The queue works on.
    assert_eq!(deallocate(&mut io, &[DsmRange::new(0, 8)], false), Status::SUCCESS);
}

#[test]
fn hints_need_no_action() {
    let rig = Rig::new(&["ram:1MiB,bs=512"]);
    let association = Association::new(&rig);
    let mut io = association.io(1);
    let expected = fill(&mut io);
    for attributes in [0, 1, 2, 3] {
        let mut sqe = Sqe::dsm(1, 2, false);
        sqe.cdw11 = attributes.into();
        let ranges = [DsmRange::new(0, 8), DsmRange::new(100, 8)];
        io.ok(sqe, Data::Capsule(ranges.as_bytes()));
        io.ok(sqe, Data::R2t(ranges.as_bytes()));
    }
    assert!(read_all(&mut io) == expected);
}

/// Linux sends room for 256 ranges, however few count.
#[test]
fn the_data_may_be_longer_than_the_ranges_but_not_shorter() {
    let rig = Rig::new(&["ram:1MiB,bs=512"]);
    let association = Association::new(&rig);
    let mut io = association.io(1);
    let mut list = [DsmRange::new(u64::MAX, u32::MAX); 256];
    list[0] = DsmRange::new(0, 8);
    let three = Sqe::dsm(1, 3, true);
    io.ok(Sqe::dsm(1, 1, true), Data::Capsule(list.as_bytes()));
    io.ok(Sqe::dsm(1, 1, true), Data::R2t(list.as_bytes()));
    for bytes in [16, 32, 47] {
        io.fails(three, Data::R2t(&list.as_bytes()[..bytes]), Status::INVALID_SGL_DATA_LENGTH.with_dnr());
        io.fails(three, Data::Capsule(&list.as_bytes()[..bytes]), Status::INVALID_SGL_DATA_LENGTH.with_dnr());
    }
    let longer = vec![0; 4096 + 16];
    io.fails(three, Data::R2t(&longer), Status::INVALID_SGL_DATA_LENGTH.with_dnr());
}

#[test]
fn a_file_gives_space_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let rig = Rig::new(&[&format!("{}/disk.img,size=1MiB,bs=512", directory.path().display())]);
    let association = Association::new(&rig);
    let mut io = association.io(1);
    fill(&mut io);
    let many: Vec<DsmRange> = (0..256).map(|at| DsmRange::new(at * 8, 8)).collect();
    assert_eq!(deallocate(&mut io, &many, true), Status::SUCCESS);
    io.write(1, 77, &[7; 512], 512);
    assert_eq!(io.read(1, 77, 1, 512), [7; 512]);
}
