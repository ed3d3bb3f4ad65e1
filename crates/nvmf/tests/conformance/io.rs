//! Read, Write, Flush and Write Zeroes on every kind of device, up to the edges.

use wire::nvme::{NSID_ALL, Sqe, Status};

use crate::common::{Association, Data, Host, NO_DIGESTS, Raw, Rig, pattern, same};

/// 1 MiB each; a file in `directory` is the last.
fn devices(directory: &tempfile::TempDir) -> Vec<String> {
    let file = format!("{}/disk.img,size=1MiB", directory.path().display());
    ["ram:1MiB,bs=512", "ram:1MiB,bs=4096", &file].map(str::to_owned).to_vec()
}

const BLOCK_BYTES: [usize; 3] = [512, 4096, 512];
const DISK: usize = 1 << 20;

fn rig(directory: &tempfile::TempDir) -> Rig {
    let names = devices(directory);
    Rig::new(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Runs `check` with an I/O queue on each namespace: its ID, bytes of a block, and blocks.
fn on_each(mut check: impl FnMut(&mut Host, u32, usize, u64)) {
    let directory = tempfile::tempdir().expect("a directory");
    let rig = rig(&directory);
    let association = Association::new(&rig);
    let mut io = association.io(1);
    for (nsid, block) in (1..).zip(BLOCK_BYTES) {
        check(&mut io, nsid, block, (DISK / block) as u64);
    }
}

#[test]
fn what_is_written_is_read() {
    on_each(|io, nsid, block, blocks| {
        for (seed, (slba, count)) in
            (1..).zip([(0, 1), (3, 7), (blocks - 1, 1), (blocks - 8, 8), (1, 128 * 1024 / block)])
        {
            let bytes = pattern(seed, count * block);
            let (nlb, fua) = (count as u32, seed % 2 == 0);
            io.ok(Sqe::write(nsid, slba, nlb, fua), Data::R2t(&bytes));
            same(&io.read(nsid, slba, nlb, block), &bytes, &format!("namespace {nsid}, {count} from {slba}"));
            if bytes.len() <= 8192 {
                let bytes = pattern(seed + 100, bytes.len());
                io.ok(Sqe::write(nsid, slba, nlb, fua), Data::Capsule(&bytes));
                same(&io.read(nsid, slba, nlb, block), &bytes, &format!("namespace {nsid}, {count} from {slba}"));
            }
        }
        io.ok(Sqe::flush(nsid), Data::None);
    });
}

#[test]
fn blocks_beyond_the_end_are_out_of_range() {
    on_each(|io, nsid, block, blocks| {
        let beyond = [(blocks, 1), (blocks - 1, 2), (u64::MAX, 1), (u64::MAX - 1, 2), (1 << 63, 1), (blocks - 7, 8)];
        for (slba, nlb) in beyond {
            let bytes = vec![1; nlb as usize * block];
            let status = Status::LBA_OUT_OF_RANGE.with_dnr();
            io.fails(Sqe::read(nsid, slba, nlb), Data::Read(bytes.len()), status);
            io.fails(Sqe::write_zeroes(nsid, slba, nlb, true, false), Data::None, status);
            io.fails(Sqe::write(nsid, slba, nlb, false), Data::R2t(&bytes), status);
            if bytes.len() <= 8192 {
                io.fails(Sqe::write(nsid, slba, nlb, false), Data::Capsule(&bytes), status);
            }
        }
        assert_eq!(io.r2ts, 0, "nothing was asked for in vain");
    });
}

#[test]
fn transfers_end_with_mdts() {
    on_each(|io, nsid, block, _| {
        let most = 128 * 1024 / block as u32;
        let bytes = vec![1; 128 * 1024 + block];
        io.read(nsid, 0, most, block);
        let status = Status::INVALID_FIELD.with_dnr();
        io.fails(Sqe::read(nsid, 0, most + 1), Data::Read(bytes.len()), status);
        io.fails(Sqe::write(nsid, 0, most + 1, false), Data::R2t(&bytes), status);
        // Write Zeroes moves no data: MDTS does not count.
        io.ok(Sqe::write_zeroes(nsid, 0, most + 1, false, false), Data::None);
    });
}

#[test]
fn zeroes_are_written_where_they_should_be() {
    on_each(|io, nsid, block, blocks| {
        let bytes = pattern(5, 128 * 1024);
        let count = (bytes.len() / block) as u64;
        for (deac, fua) in [(false, false), (true, false), (true, true)] {
            io.write(nsid, 0, &bytes, block);
            io.ok(Sqe::write_zeroes(nsid, 3, 5, deac, fua), Data::None);
            let mut expected = bytes.clone();
            expected[3 * block..8 * block].fill(0);
            same(&io.read(nsid, 0, count as u32, block), &expected, &format!("namespace {nsid}, DEAC {deac}"));
        }
        io.ok(Sqe::write_zeroes(nsid, 0, blocks as u32, true, false), Data::None);
        same(&io.read(nsid, 0, count as u32, block), &vec![0; bytes.len()], "zeros");
    });
}

#[test]
fn the_sgl_is_as_long_as_the_blocks() {
    let directory = tempfile::tempdir().expect("a directory");
    let rig = rig(&directory);
    let (_admin, cntlid) = Raw::admin(&rig, NO_DIGESTS);
    let mut io = Raw::io(rig.addr, cntlid, 1, 32, 4, NO_DIGESTS);
    let status = Status::INVALID_SGL_DATA_LENGTH.with_dnr();
    for nsid in 1..=3 {
        for bytes in [0, 1, 4095, 4097, 8192, u32::MAX] {
            let nlb = 4096 / BLOCK_BYTES[nsid as usize - 1] as u32;
            io.fails(Sqe::read(nsid, 0, nlb).with_data_by_transport(bytes), &[], status);
            let write = Sqe::write(nsid, 0, nlb, false);
            io.fails(write.with_data_by_transport(bytes), &[], status);
            if bytes <= 8192 {
                io.fails(write.with_data_in_capsule(bytes), &vec![0; bytes as usize], status);
            }
        }
    }
    // More than the capsule holds, or at an offset beyond it.
    let write = Sqe::write(2, 0, 1, false).with_data_in_capsule(4096);
    io.fails(write, &[0; 4092], status);
    let mut shifted = write;
    shifted.dptr.address = 4.into();
    io.fails(shifted, &[0; 4096], status);
    shifted.dptr.address = 4097.into();
    io.fails(shifted, &[0; 8192], status);
    shifted.dptr.address = 8193.into();
    io.fails(shifted, &[0; 4096], Status::INVALID_SGL_OFFSET.with_dnr());
    shifted.dptr.address = (1 << 32).into();
    io.fails(shifted, &[0; 4096], Status::INVALID_SGL_OFFSET.with_dnr());
    // At an offset within it: fine, SGLS says so.
    shifted.dptr.address = 4096.into();
    let data = [pattern(1, 4096), pattern(2, 4096)].concat();
    assert!(io.run(shifted, &data).cqe.status().is_success());
    assert_eq!(io.run(Sqe::read(2, 0, 1).with_data_by_transport(4096), &[]).data, data[4096..]);
    for kind in [0x00, 0x02, 0x0a, 0x10, 0x20, 0x30, 0x40, 0x4f, 0x50, 0x5b, 0xff] {
        let mut sqe = write;
        sqe.dptr.kind = kind;
        io.fails(sqe, &[0; 4096], Status::SGL_DESCRIPTOR_TYPE_INVALID.with_dnr());
    }
    // A read cannot go into a capsule.
    let read = Sqe::read(2, 0, 1).with_data_in_capsule(4096);
    let reply = io.run(read, &[]);
    assert!(!reply.cqe.status().is_success() && reply.cqe.status().dnr);
}

#[test]
fn namespaces_that_are_not_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let rig = rig(&directory);
    let association = Association::new(&rig);
    let mut io = association.io(1);
    let status = Status::INVALID_NAMESPACE.with_dnr();
    for nsid in [0, 4, 5, NSID_ALL - 1, NSID_ALL] {
        io.fails(Sqe::read(nsid, 0, 1), Data::Read(512), status);
        io.fails(Sqe::write(nsid, 0, 1, false), Data::R2t(&[0; 512]), status);
        io.fails(Sqe::write(nsid, 0, 1, false), Data::Capsule(&[0; 512]), status);
        io.fails(Sqe::write_zeroes(nsid, 0, 1, false, false), Data::None, status);
        // VWC says that Flush does not take all namespaces at once.
        io.fails(Sqe::flush(nsid), Data::None, status);
    }
}

#[test]
fn read_only_namespaces_stay_as_they_are() {
    let rig = Rig::new(&["ram:1MiB,ro", "null:1MiB,ro"]);
    let association = Association::new(&rig);
    let mut io = association.io(1);
    let status = Status::NAMESPACE_IS_WRITE_PROTECTED.with_dnr();
    for nsid in 1..=2 {
        io.fails(Sqe::write(nsid, 0, 1, false), Data::R2t(&[1; 512]), status);
        io.fails(Sqe::write(nsid, 0, 1, true), Data::Capsule(&[1; 512]), status);
        io.fails(Sqe::write_zeroes(nsid, 0, 1, true, false), Data::None, status);
        io.fails(Sqe::dsm(nsid, 1, true), Data::Capsule(&[0; 16]), status);
        io.ok(Sqe::flush(nsid), Data::None);
        assert_eq!(io.read(nsid, 0, 1, 512), [0; 512]);
    }
}

#[test]
fn io_stops_with_the_shutdown() {
    let rig = Rig::on_two_reactors(&["ram:1MiB"]);
    let mut association = Association::new(&rig);
    let mut io = association.io(1);
    io.write(1, 0, &[1; 512], 512);
    association.set_cc(wire::nvme::Cc::enable().with_normal_shutdown());
    let status = io.run(Sqe::write(1, 0, 1, false), Data::Capsule(&[2; 512])).status();
    assert!(status.same_code(Status::COMMAND_SEQUENCE_ERROR), "{status}");
}
