//! An association's life: its connections come and go together, and keep-alives hold it up.

use std::time::{Duration, Instant};

use wire::nvme::{Sqe, Status};

use crate::common::{Association, Data, Host, NO_DIGESTS, PATIENCE, Raw, Rig};

#[test]
fn the_admin_connection_takes_all_others_along() {
    let rig = Rig::on_two_reactors(&["ram:1MiB"]);
    let association = Association::new(&rig);
    let mut queues: Vec<Host> = (1..=4).map(|qid| association.io(qid)).collect();
    let bystander = Association::new(&rig);
    let mut other = bystander.io(1);
    drop(association.admin);
    queues.iter_mut().for_each(Host::is_closed);
    rig.await_controllers(1);
    other.write(1, 0, &[1; 512], 512);
}

#[test]
fn an_io_connection_goes_alone_and_its_queue_can_be_had_again() {
    let rig = Rig::on_two_reactors(&["ram:1MiB"]);
    let mut association = Association::new(&rig);
    let (one, mut two) = (association.io(1), association.io(2));
    drop(one);
    crate::common::eventually("queue 1", || association.try_io(1, 32, true).1.status().is_success());
    two.write(1, 0, &[1; 512], 512);
    association.admin.ok(Sqe::get_features(7, 0), Data::None);
}

#[test]
fn disconnect_ends_one_io_queue() {
    let rig = Rig::on_two_reactors(&["ram:1MiB"]);
    let (mut admin, cntlid) = Raw::admin(&rig, NO_DIGESTS);
    admin.fails(Sqe::disconnect(), &[], Status::INVALID_FIELD.with_dnr());
    let mut io = Raw::io(rig.addr, cntlid, 1, 32, 0, NO_DIGESTS);
    let mut format = Sqe::disconnect();
    format.cdw10 = 1.into();
    io.fails(format, &[], Status::CONNECT_INCOMPATIBLE_FORMAT.with_dnr());
    assert!(io.run(Sqe::disconnect(), &[]).cqe.status().is_success());
    assert!(io.try_pdu().is_none(), "the answer is the last word");
    Raw::io(rig.addr, cntlid, 1, 32, 0, NO_DIGESTS);
    assert!(admin.run(Sqe::get_features(7, 0), &[]).cqe.status().is_success());
}

/// Without a word from the host the association ends, on whichever reactor its connections are; with I/O it does not,
/// nor with keep-alives, nor without a timer.
#[test]
fn keep_alive_is_enforced() {
    const KATO: u32 = 400;
    let rig = Rig::on_two_reactors(&["ram:1MiB"]);
    let started = Instant::now();
    let mut silent = Association::with(&rig, NO_DIGESTS, KATO);
    let mut queues: Vec<Host> = (1..=3).map(|qid| silent.io(qid)).collect();
    let mut patient = Association::new(&rig);
    // Keep-alives alone, and I/O alone, on a queue of the other reactor and on one of the same.
    let mut alive = Association::with(&rig, NO_DIGESTS, KATO);
    let mut busy = [Association::with(&rig, NO_DIGESTS, KATO), Association::with(&rig, NO_DIGESTS, KATO)];
    let mut reading = [busy[0].io(1), busy[1].io(1), busy[1].io(2)];
    reading.swap(1, 2);
    let mut ended = None;
    while started.elapsed() < Duration::from_millis(4 * u64::from(KATO)) {
        alive.admin.ok(Sqe::keep_alive(), Data::None);
        for io in &mut reading[..2] {
            io.read(1, 0, 8, 512);
        }
        if rig.target.controller_count() == 4 {
            ended.get_or_insert(started.elapsed());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let ended = ended.expect("the silent association ends");
    assert!(ended >= Duration::from_millis(KATO.into()), "not before its time: {ended:?}");
    assert!(ended < PATIENCE);
    silent.admin.is_closed();
    queues.iter_mut().for_each(Host::is_closed);
    assert_eq!(rig.target.controller_count(), 4);
    for association in &mut busy {
        association.admin.ok(Sqe::keep_alive(), Data::None);
    }
    patient.admin.ok(Sqe::get_features(7, 0), Data::None);
    assert_eq!(rig.target.counters.keep_alive_timeouts.load(std::sync::atomic::Ordering::Relaxed), 1);
}

/// A time-out below what KAS can tell apart is rounded up to it: a host that is busy is never too late.
#[test]
fn the_shortest_time_out_does_not_end_a_busy_host() {
    let rig = Rig::on_two_reactors(&["ram:1MiB"]);
    let mut association = Association::with(&rig, NO_DIGESTS, 1);
    let mut io = association.io(1);
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(600) {
        io.read(1, 0, 1, 512);
        association.admin.ok(Sqe::keep_alive(), Data::None);
    }
}
