//! Copy: ranges in order to one place; its limits, and what it refuses.

use wire::nvme::{CopySource, IdentifyNamespace, Sqe, Status, cns};
use zerocopy::{FromBytes, IntoBytes};

use crate::common::{Association, Data, Host, Rig, pattern};

const BLOCK: usize = 512;
const BLOCKS: u64 = 8192;

fn copy(io: &mut Host, nsid: u32, to: u64, sources: &[CopySource], in_capsule: bool) -> Status {
    let bytes = sources.as_bytes();
    let data = if in_capsule { Data::Capsule(bytes) } else { Data::R2t(bytes) };
    io.run(Sqe::copy(nsid, to, sources.len() as u32, false), data).status()
}

/// A RAM disk and a file of 4 MiB: namespaces 1 and 2.
fn on_each(mut check: impl FnMut(&mut Host, u32)) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = format!("{}/disk.img,size=4MiB", directory.path().display());
    let rig = Rig::new(&["ram:4MiB,bs=512", &file]);
    let association = Association::new(&rig);
    let mut io = association.io(1);
    (1..=2).for_each(|nsid| check(&mut io, nsid));
}

/// Fills the front of a namespace.
fn fill(io: &mut Host, nsid: u32, blocks: u64) -> Vec<u8> {
    let bytes = pattern(nsid.into(), blocks as usize * BLOCK);
    for (slba, part) in (0..).step_by(256).zip(bytes.chunks(256 * BLOCK)) {
        io.write(nsid, slba, part, BLOCK);
    }
    bytes
}

fn read(io: &mut Host, nsid: u32, slba: u64, blocks: u64) -> Vec<u8> {
    let parts = (slba..slba + blocks).step_by(256);
    parts.flat_map(|at| io.read(nsid, at, (slba + blocks - at).min(256) as u32, BLOCK)).collect()
}

#[test]
fn sources_come_one_behind_the_other() {
    on_each(|io, nsid| {
        let bytes = fill(io, nsid, 2048);
        let scattered: Vec<_> = (0..128).map(|at| CopySource::new(at * 16 + at % 7, 1 + (at % 5) as u32)).collect();
        let all = [CopySource::new(0, 2048)];
        let cases: [(&str, &[CopySource]); 4] = [
            ("one block", &[CopySource::new(9, 1)]),
            ("one twice", &[CopySource::new(9, 3), CopySource::new(9, 3)]),
            ("128 ranges", &scattered),
            ("1 MiB", &all),
        ];
        for (what, sources) in cases {
            for in_capsule in [true, false] {
                let to = 4097;
                assert_eq!(copy(io, nsid, to, sources, in_capsule), Status::SUCCESS, "{what}");
                let part = |source: &CopySource| {
                    let from = source.slba.get() as usize * BLOCK;
                    &bytes[from..from + source.blocks() as usize * BLOCK]
                };
                let expected: Vec<u8> = sources.iter().flat_map(part).copied().collect();
                assert!(read(io, nsid, to, (expected.len() / BLOCK) as u64) == expected, "{what}");
            }
        }
        assert!(read(io, nsid, 0, 2048) == bytes, "sources stay as they are");
    });
}

#[test]
fn limits_are_those_of_identify() {
    let rig = Rig::new(&["ram:4MiB,bs=512", "ram:4MiB,bs=4096"]);
    let mut association = Association::new(&rig);
    for (nsid, blocks) in [(1, 2048), (2, 256)] {
        let page = association.admin.ok(Sqe::identify(cns::NAMESPACE, nsid, 0, 0), Data::Read(4096)).data;
        let id = IdentifyNamespace::ref_from_bytes(&page).expect("4,096 bytes");
        assert_eq!((u32::from(id.mssrl.get()), id.mcl.get(), id.msrc), (blocks, blocks, 127));
    }
    let mut io = association.io(1);
    let too_much = Status::COMMAND_SIZE_LIMIT.with_dnr();
    assert_eq!(copy(&mut io, 1, 4096, &[CopySource::new(0, 2049)], true), too_much);
    assert_eq!(copy(&mut io, 1, 4096, &[CopySource::new(0, 2048), CopySource::new(0, 1)], true), too_much);
    let many = [CopySource::new(0, 1); 129];
    assert_eq!(copy(&mut io, 1, 4096, &many, true), too_much);
    assert_eq!(copy(&mut io, 1, 4096, &many[..128], true), Status::SUCCESS);
    io.fails(Sqe::copy(1, 9, 2, false), Data::Capsule(&[0; 32]), Status::INVALID_SGL_DATA_LENGTH.with_dnr());
}

#[test]
fn what_is_refused_changes_nothing() {
    on_each(|io, nsid| {
        let bytes = fill(io, nsid, 512);
        let (beyond, overlap) = (Status::LBA_OUT_OF_RANGE.with_dnr(), Status::OVERLAPPING_IO_RANGE.with_dnr());
        assert_eq!(copy(io, nsid, 8, &[CopySource::new(0, 9)], true), overlap);
        assert_eq!(copy(io, nsid, 8, &[CopySource::new(100, 9), CopySource::new(16, 9)], true), overlap);
        assert_eq!(copy(io, nsid, BLOCKS - 8, &[CopySource::new(0, 9)], true), beyond);
        assert_eq!(copy(io, nsid, u64::MAX, &[CopySource::new(0, 1)], true), beyond);
        assert_eq!(copy(io, nsid, 8, &[CopySource::new(100, 4), CopySource::new(BLOCKS, 1)], true), beyond);
        let mut other_format = Sqe::copy(nsid, 8, 1, false);
        other_format.cdw12 = (1 << 8).into();
        io.fails(other_format, Data::Capsule(&[0; 32]), Status::INVALID_FIELD.with_dnr());
        assert!(read(io, nsid, 0, 512) == bytes);
    });
}
