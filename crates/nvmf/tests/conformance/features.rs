//! Get and Set Features.

use wire::nvme::feature::{capability, fid, select};
use wire::nvme::{Sqe, Status};

use crate::common::{Association, Data, Host, NO_DIGESTS, NQN, Rig};

fn get(admin: &mut Host, fid: u8, select: u8) -> u64 {
    let mut sqe = Sqe::get_features(fid, 0);
    sqe.cdw10 = (sqe.cdw10.get() | u32::from(select) << 8).into();
    admin.ok(sqe, Data::None).result()
}

fn set(fid: u8, value: u32) -> Sqe {
    Sqe::set_features(fid, 0, value)
}

#[test]
fn the_number_of_queues_is_granted_once() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut association = Association::new(&rig);
    let admin = &mut association.admin;
    // What is asked for, what is granted: the larger of both counts, as queues come in pairs.
    for (asked, granted) in [(0, 0), (0x0007_0007, 0x0007_0007), (0x0003_0005, 0x0005_0005), (0xfffe_fffe, 0x007f_007f)]
    {
        assert_eq!(admin.ok(set(fid::NUMBER_OF_QUEUES, asked), Data::None).result(), granted, "{asked:x}h");
        assert_eq!(get(admin, fid::NUMBER_OF_QUEUES, select::CURRENT), granted);
    }
    for invalid in [0xffff, 0xffff_0000, u32::MAX] {
        admin.fails(set(fid::NUMBER_OF_QUEUES, invalid), Data::None, Status::INVALID_FIELD.with_dnr());
    }
    let io = association.io(1);
    let late = association.admin.run(set(fid::NUMBER_OF_QUEUES, 0), Data::None).status();
    assert!(late.same_code(Status::COMMAND_SEQUENCE_ERROR), "after the first I/O queue it is too late: {late}");
    drop(io);
}

#[test]
fn the_keep_alive_time_out_can_be_read_and_set() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut admin = Association::with(&rig, NO_DIGESTS, 120_000).admin;
    assert_eq!(get(&mut admin, fid::KATO, select::CURRENT), 120_000);
    // In units of KAS, rounded up.
    for (set_to, reads) in [(30_000, 30_000), (59_950, 60_000), (60_001, 60_100), (0, 0)] {
        admin.ok(set(fid::KATO, set_to), Data::None);
        assert_eq!(get(&mut admin, fid::KATO, select::CURRENT), reads);
    }
    admin.fails(set(fid::KATO, u32::MAX), Data::None, Status::KEEP_ALIVE_TIMEOUT_INVALID.with_dnr());
    assert_eq!(get(&mut admin, fid::KATO, select::CURRENT), 0);
}

#[test]
fn events_that_never_come_cannot_be_asked_for() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut admin = Association::new(&rig).admin;
    admin.ok(set(fid::ASYNC_EVENT_CONFIG, 0x1f), Data::None);
    assert_eq!(get(&mut admin, fid::ASYNC_EVENT_CONFIG, select::CURRENT), 0x1f);
    admin.ok(set(fid::ASYNC_EVENT_CONFIG, 0x11f), Data::None);
    for bit in 9..32 {
        admin.fails(set(fid::ASYNC_EVENT_CONFIG, 1 << bit), Data::None, Status::INVALID_FIELD.with_dnr());
    }
    assert_eq!(get(&mut admin, fid::ASYNC_EVENT_CONFIG, select::CURRENT), 0x11f);
}

#[test]
fn nothing_is_saved() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut admin = Association::new(&rig).admin;
    for fid in [fid::NUMBER_OF_QUEUES, fid::ASYNC_EVENT_CONFIG, fid::KATO] {
        let mut save = set(fid, 0);
        save.cdw10 = (save.cdw10.get() | 1 << 31).into();
        admin.fails(save, Data::None, Status::FEATURE_NOT_SAVEABLE.with_dnr());
    }
}

#[test]
fn what_select_asks_for_is_answered() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut admin = Association::new(&rig).admin;
    admin.ok(set(fid::NUMBER_OF_QUEUES, 0x0003_0003), Data::None);
    assert_eq!(get(&mut admin, fid::NUMBER_OF_QUEUES, select::CURRENT), 0x0003_0003);
    for select in [select::DEFAULT, select::SAVED] {
        assert_eq!(get(&mut admin, fid::NUMBER_OF_QUEUES, select), 0x007f_007f);
    }
    let capabilities = u64::from(capability::CHANGEABLE);
    for (fid, expected) in [(fid::NUMBER_OF_QUEUES, capabilities), (fid::KATO, capabilities), (fid::ARBITRATION, 0)] {
        assert_eq!(get(&mut admin, fid, select::SUPPORTED_CAPABILITIES), expected);
    }
    for reserved in 4..8 {
        let mut sqe = Sqe::get_features(fid::KATO, 0);
        sqe.cdw10 = (sqe.cdw10.get() | reserved << 8).into();
        admin.fails(sqe, Data::None, Status::INVALID_FIELD.with_dnr());
    }
}

#[test]
fn fixed_and_unknown_features_cannot_be_set() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut admin = Association::new(&rig).admin;
    for id in 0..=u8::MAX {
        let status = admin.run(set(id, 0), Data::None).status();
        let expected = match id {
            fid::NUMBER_OF_QUEUES | fid::ASYNC_EVENT_CONFIG | fid::KATO => Status::SUCCESS,
            // They belong to a namespace.
            0x82 | 0x83 => Status::INVALID_NAMESPACE.with_dnr(),
            0x01 | 0x02 | 0x04 | 0x05 | 0x0a => Status::FEATURE_NOT_CHANGEABLE.with_dnr(),
            _ => Status::INVALID_FIELD.with_dnr(),
        };
        assert_eq!(status, expected, "feature {id:02x}h");
    }
}

#[test]
fn a_new_association_starts_with_the_defaults() {
    let rig = Rig::new(&["ram:1MiB"]);
    let mut one = Association::new(&rig);
    one.admin.ok(set(fid::NUMBER_OF_QUEUES, 0), Data::None);
    assert!(one.try_io(2, 32, true).1.status().same_code(Status::CONNECT_INVALID_PARAMETERS));
    let mut two = Association::connected(&rig, NQN, NO_DIGESTS, 0);
    two.enable();
    assert_eq!(get(&mut two.admin, fid::NUMBER_OF_QUEUES, select::CURRENT), 0x007f_007f);
}
