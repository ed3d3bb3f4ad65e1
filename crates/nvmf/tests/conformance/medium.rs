//! Compare, Verify and Write Uncorrectable: what they say of the medium, and what they leave there.

use wire::nvme::{DsmRange, Sqe, Status};
use zerocopy::IntoBytes;

use crate::common::{Association, Data, Host, Rig, pattern};

const BLOCK: usize = 512;

/// A RAM disk and a file of 1 MiB: namespaces 1 and 2.
fn on_each(mut check: impl FnMut(&mut Host, u32)) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = format!("{}/disk.img,size=1MiB", directory.path().display());
    let rig = Rig::new(&["ram:1MiB,bs=512", &file]);
    let association = Association::new(&rig);
    let mut io = association.io(1);
    (1..=2).for_each(|nsid| check(&mut io, nsid));
}

#[test]
fn compare_finds_any_byte_that_differs() {
    on_each(|io, nsid| {
        for (slba, blocks) in [(0, 1), (3, 13), (64, 64), (1000, 256)] {
            let bytes = pattern(slba, blocks * BLOCK);
            io.write(nsid, slba, &bytes, BLOCK);
            let compare = Sqe::compare(nsid, slba, blocks as u32);
            io.ok(compare, Data::R2t(&bytes));
            for at in [0, bytes.len() / 2, bytes.len() - 1] {
                let mut other = bytes.clone();
                other[at] ^= 1;
                io.fails(compare, Data::R2t(&other), Status::COMPARE_FAILURE.with_dnr());
                if bytes.len() <= 8192 {
                    io.ok(compare, Data::Capsule(&bytes));
                    io.fails(compare, Data::Capsule(&other), Status::COMPARE_FAILURE.with_dnr());
                }
            }
            assert!(io.read(nsid, slba, blocks as u32, BLOCK) == bytes, "a compare changes nothing");
        }
    });
}

#[test]
fn compare_and_verify_end_with_the_namespace_and_compare_with_mdts() {
    on_each(|io, nsid| {
        let beyond = Status::LBA_OUT_OF_RANGE.with_dnr();
        io.fails(Sqe::compare(nsid, 2047, 2), Data::R2t(&[0; 2 * BLOCK]), beyond);
        io.fails(Sqe::verify(nsid, 2047, 2), Data::None, beyond);
        io.fails(Sqe::compare(nsid, 0, 257), Data::R2t(&[0; 257 * BLOCK]), Status::INVALID_FIELD.with_dnr());
        io.ok(Sqe::verify(nsid, 0, 2048), Data::None);
    });
}

#[test]
fn uncorrectable_blocks_fail_until_they_are_written() {
    let rig = Rig::new(&["ram:1MiB,bs=512"]);
    let association = Association::new(&rig);
    let mut io = association.io(1);
    let bytes = pattern(1, 32 * BLOCK);
    io.write(1, 0, &bytes, BLOCK);
    let lost = Status::UNRECOVERED_READ_ERROR.with_dnr();
    let heal: [&dyn Fn(&mut Host); 3] = [
        &|io| io.write(1, 10, &[7; 5 * BLOCK], BLOCK),
        &|io| drop(io.ok(Sqe::write_zeroes(1, 10, 5, true, false), Data::None)),
        &|io| drop(io.ok(Sqe::dsm(1, 1, true), Data::Capsule(DsmRange::new(10, 5).as_bytes()))),
    ];
    for heal in heal {
        io.ok(Sqe::write_uncorrectable(1, 10, 5), Data::None);
        io.fails(Sqe::read(1, 14, 1), Data::Read(BLOCK), lost);
        io.fails(Sqe::read(1, 0, 32), Data::Read(32 * BLOCK), lost);
        io.fails(Sqe::verify(1, 0, 2048), Data::None, lost);
        io.fails(Sqe::compare(1, 10, 1), Data::R2t(&[0; BLOCK]), lost);
        // Neighbours in the same 4 KiB are as they were.
        assert!(io.read(1, 0, 10, BLOCK) == bytes[..10 * BLOCK]);
        assert!(io.read(1, 15, 17, BLOCK) == bytes[15 * BLOCK..]);
        io.ok(Sqe::verify(1, 15, 100), Data::None);
        heal(&mut io);
        io.read(1, 0, 32, BLOCK);
        io.ok(Sqe::verify(1, 0, 2048), Data::None);
    }
}

#[test]
fn what_a_device_cannot_do_is_no_command_of_its_namespace() {
    on_each(|io, nsid| {
        let command = Sqe::write_uncorrectable(nsid, 0, 1);
        match nsid {
            1 => drop(io.ok(command, Data::None)),
            _ => io.fails(command, Data::None, Status::INVALID_OPCODE.with_dnr()),
        }
    });
}

#[test]
fn a_read_only_namespace_is_compared_and_verified_only() {
    let rig = Rig::new(&["ram:1MiB,bs=512,ro"]);
    let association = Association::new(&rig);
    let mut io = association.io(1);
    io.ok(Sqe::compare(1, 0, 1), Data::R2t(&[0; BLOCK]));
    io.ok(Sqe::verify(1, 0, 1), Data::None);
    let denied = Status::NAMESPACE_IS_WRITE_PROTECTED.with_dnr();
    io.fails(Sqe::write_uncorrectable(1, 0, 1), Data::None, denied);
    io.fails(Sqe::copy(1, 0, 1, false), Data::Capsule(&[0; 32]), denied);
}
