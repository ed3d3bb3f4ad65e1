//! Get Log Page: what each log says, and that any offset and length is answered within the log.

use wire::nvme::log::effects;
use wire::nvme::{
    CommandEffects, ErrorEntry, FidEffects, FirmwareSlot, LogRequest, NSID_ALL, SmartLog, Sqe, Status,
    SupportedLogPages, lid,
};
use zerocopy::FromBytes;

use crate::common::{Association, Data, Host, Rig};

/// The logs of an I/O controller, with their sizes.
const LOGS: [(u8, u32); 8] =
    [(0x00, 1024), (0x01, 16 * 64), (0x02, 512), (0x03, 512), (0x04, 4096), (0x05, 4096), (0x12, 1024), (0x80, 64)];

fn request(lid: u8, offset: u64, bytes: u32) -> Sqe {
    Sqe::get_log(LogRequest { lid, lsp: 0, rae: false, offset, bytes, nsid: NSID_ALL })
}

fn log(admin: &mut Host, lid: u8, bytes: u32) -> Vec<u8> {
    admin.ok(request(lid, 0, bytes), Data::Read(bytes as usize)).data
}

#[test]
fn the_list_of_logs_is_what_is_answered() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut admin = Association::new(&rig).admin;
    let bytes = log(&mut admin, lid::SUPPORTED_LOG_PAGES, 1024);
    let list = SupportedLogPages::ref_from_bytes(&bytes).unwrap();
    for lid in 0..=u8::MAX {
        let done = admin.run(request(lid, 0, 512), Data::Read(512));
        let listed = list.lids[usize::from(lid)].get() & SupportedLogPages::LSUPP != 0;
        let expected = if listed { Status::SUCCESS } else { Status::INVALID_LOG_PAGE.with_dnr() };
        assert_eq!(done.status(), expected, "log {lid:02x}h");
        assert_eq!(listed, LOGS.iter().any(|log| log.0 == lid), "log {lid:02x}h");
    }
}

#[test]
fn pages_are_read_in_parts() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut admin = Association::new(&rig).admin;
    for (lid, size) in LOGS {
        let whole = log(&mut admin, lid, size);
        for (offset, bytes) in [(0, 4), (4, 4), (size - 4, 4), (size / 2, size / 2), (8, size - 8), (size / 4, 48)] {
            let part = admin.ok(request(lid, offset.into(), bytes), Data::Read(bytes as usize)).data;
            let (from, to) = (offset as usize, (offset + bytes) as usize);
            assert_eq!(part, whole[from..to], "log {lid:02x}h, {bytes} bytes from {offset}");
        }
        // Behind the end there are zeros, never something else's memory.
        let beyond = admin.ok(request(lid, (size - 8).into(), 64), Data::Read(64)).data;
        assert_eq!((&beyond[..8], &beyond[8..]), (&whole[size as usize - 8..], &[0; 56][..]), "log {lid:02x}h");
    }
}

#[test]
fn offsets_and_lengths_that_cannot_be() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut admin = Association::new(&rig).admin;
    let invalid = Status::INVALID_FIELD.with_dnr();
    for (lid, size) in LOGS {
        let size = u64::from(size);
        for offset in [size + 4, size + 4096, 1 << 32, u64::MAX - 3] {
            admin.fails(request(lid, offset, 512), Data::Read(512), invalid);
        }
        for unaligned in [1, 2, 3, 511] {
            let mut sqe = request(lid, 0, 512);
            sqe.cdw12 = unaligned.into();
            admin.fails(sqe, Data::Read(512), invalid);
        }
        let mut indexed = request(lid, 0, 512);
        indexed.cdw14 = (1 << 23).into();
        admin.fails(indexed, Data::Read(512), invalid);
        // NUMD beyond MDTS, up to 16 GiB.
        for numd in [(128 << 10) / 4, 0xffff, u32::MAX] {
            let mut sqe = request(lid, 0, 512);
            sqe.cdw10 = (u32::from(lid) | numd << 16).into();
            sqe.cdw11 = (numd >> 16).into();
            let status = admin.run(sqe, Data::Read(512)).status();
            assert!(!status.is_success() && status.dnr, "log {lid:02x}h, NUMD {numd:x}h: {status}");
        }
    }
}

/// NUMD and the SGL say the same, or the host would wait for bytes that do not come.
#[test]
fn the_transfer_is_as_long_as_numd_says() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut admin = Association::new(&rig).admin;
    for bytes in [508, 516, 4096] {
        admin.fails(request(lid::SMART, 0, 512), Data::Read(bytes), Status::INVALID_SGL_DATA_LENGTH.with_dnr());
    }
}

#[test]
fn smart_counts_what_was_read_and_written() {
    let rig = Rig::new(&["ram:8MiB"]);
    let mut association = Association::new(&rig);
    let mut io = association.io(1);
    for at in 0..10 {
        io.write(1, at * 256, &[7; 128 << 10], 512);
        io.read(1, at * 256, 256, 512);
    }
    io.fails(Sqe::read(1, 1 << 40, 1), Data::Read(512), Status::LBA_OUT_OF_RANGE.with_dnr());
    let admin = &mut association.admin;
    crate::common::eventually("the counts", || {
        let bytes = log(admin, lid::SMART, 512);
        let smart = SmartLog::ref_from_bytes(&bytes).unwrap();
        assert_eq!((smart.critical_warning, smart.avail_spare, smart.num_err_log_entries.get()), (0, 100, 1));
        // A unit is a thousand blocks of 512 bytes, begun ones included.
        (smart.host_reads.get(), smart.host_writes.get()) == (10, 10)
            && (smart.data_units_read.get(), smart.data_units_written.get()) == (3, 3)
    });
    for nsid in [1, 2] {
        let sqe = Sqe::get_log(LogRequest { lid: lid::SMART, lsp: 0, rae: false, offset: 0, bytes: 512, nsid });
        admin.fails(sqe, Data::Read(512), Status::INVALID_FIELD.with_dnr());
    }
}

/// NVM Command Set 1.2, 1.4.2: what counts as read for the host, and what does not.
#[test]
fn smart_counts_compare_and_verify() {
    let rig = Rig::new(&["ram:8MiB"]);
    let mut association = Association::new(&rig);
    let mut io = association.io(1);
    let zeros = [0; 128 << 10];
    for _ in 0..8 {
        io.ok(Sqe::compare(1, 0, 256), Data::R2t(&zeros));
    }
    io.fails(Sqe::compare(1, 0, 1), Data::Capsule(&[1; 512]), Status::COMPARE_FAILURE.with_dnr());
    io.ok(Sqe::verify(1, 0, 1024), Data::None);
    io.ok(Sqe::write_zeroes(1, 0, 1024, true, false), Data::None);
    io.ok(Sqe::write_uncorrectable(1, 0, 1), Data::None);
    io.fails(Sqe::verify(1, 0, 1024), Data::None, Status::UNRECOVERED_READ_ERROR.with_dnr());
    let admin = &mut association.admin;
    crate::common::eventually("the counts", || {
        let bytes = log(admin, lid::SMART, 512);
        let smart = SmartLog::ref_from_bytes(&bytes).unwrap();
        // 8 times 256 blocks, 1, and 1,024; a Verify is no read command.
        (smart.host_reads.get(), smart.data_units_read.get()) == (9, 4)
            && (smart.host_writes.get(), smart.data_units_written.get()) == (0, 0)
    });
}

#[test]
fn a_failed_command_is_in_the_error_log() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut association = Association::new(&rig);
    let mut io = association.io(3);
    let lba_status = Status::LBA_OUT_OF_RANGE.with_dnr();
    let sqe = Sqe::read(1, 4000, 8);
    let slot = io.submit(sqe, Data::Read(4096));
    let failed = io.wait();
    assert_eq!((failed.slot, failed.status()), (slot, lba_status));
    association.admin.fails(Sqe::get_features(0xee, 0), Data::None, Status::INVALID_FIELD.with_dnr());
    let bytes = log(&mut association.admin, lid::ERROR, 1024);
    let entries = <[ErrorEntry]>::ref_from_bytes(&bytes).unwrap();
    let [feature, read, rest @ ..] = entries else { panic!("16 entries") };
    assert_eq!((feature.error_count.get(), feature.sqid.get(), feature.opcode), (2, 0, 0x0a));
    assert_eq!((read.error_count.get(), read.sqid.get(), read.opcode), (1, 3, 0x02));
    assert_eq!((read.cid, read.nsid.get(), read.lba.get()), (failed.cqe.cid, 1, 4000));
    assert_eq!(Status::from_field(read.status.get()), lba_status);
    assert!(rest.iter().all(|entry| entry.error_count.get() == 0));
    // The newest sixteen are kept, and controllers do not see each other's.
    for _ in 0..20 {
        association.admin.fails(Sqe::get_features(0xee, 0), Data::None, Status::INVALID_FIELD.with_dnr());
    }
    let bytes = log(&mut association.admin, lid::ERROR, 1024);
    let counts = <[ErrorEntry]>::ref_from_bytes(&bytes).unwrap().iter().map(|entry| entry.error_count.get());
    assert!(counts.eq((7..=22).rev()));
    let bytes = log(&mut Association::new(&rig).admin, lid::ERROR, 1024);
    assert_eq!(bytes, [0; 1024]);
}

#[test]
fn the_firmware_slot_is_the_revision() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut admin = Association::new(&rig).admin;
    let bytes = log(&mut admin, lid::FIRMWARE_SLOT, 512);
    let slots = FirmwareSlot::ref_from_bytes(&bytes).unwrap();
    let id = admin.ok(Sqe::identify(1, 0, 0, 0), Data::Read(4096)).data;
    assert_eq!((slots.afi & 7, &slots.frs[0][..]), (1, &id[64..72]));
}

/// Every opcode that the log does not list is refused as unknown, and those it lists are not.
#[test]
fn the_effects_log_is_what_is_answered() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut association = Association::new(&rig);
    let mut io = association.io(1);
    let bytes = log(&mut association.admin, lid::COMMAND_EFFECTS, 4096);
    let log = CommandEffects::ref_from_bytes(&bytes).unwrap();
    for opcode in (0..=u8::MAX).filter(|&opcode| opcode != wire::nvme::FABRICS) {
        let sqe = Sqe { opcode, ..Sqe::flush(NSID_ALL - 1) };
        // An event request would not be answered.
        let admin_status = (opcode != 0x0c).then(|| association.admin.run(sqe, Data::None).status());
        let status = [admin_status, Some(io.run(Sqe { opcode, ..Sqe::flush(1) }, Data::None).status())];
        for (status, entry) in status.into_iter().zip([log.acs, log.iocs]) {
            let supported = entry[usize::from(opcode)].get() & effects::SUPPORTED != 0;
            let known = status.is_none_or(|status| !status.same_code(Status::INVALID_OPCODE));
            assert_eq!(supported, known, "opcode {opcode:02x}h: {status:?}");
            assert!(status.is_none_or(|status| status.is_success() || status.dnr), "{opcode:02x}h: {status:?}");
        }
    }
}

#[test]
fn the_log_of_features_is_what_is_answered() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut admin = Association::new(&rig).admin;
    let bytes = log(&mut admin, lid::FID_EFFECTS, 1024);
    let log = FidEffects::ref_from_bytes(&bytes).unwrap();
    for fid in 0..=u8::MAX {
        let status = admin.run(Sqe::get_features(fid, 1), Data::None).status();
        let supported = log.fids[usize::from(fid)].get() & effects::SUPPORTED != 0;
        let expected = if supported { Status::SUCCESS } else { Status::INVALID_FIELD.with_dnr() };
        assert_eq!(status, expected, "feature {fid:02x}h");
    }
}
