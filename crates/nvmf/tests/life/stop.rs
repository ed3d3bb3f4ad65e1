//! Stopping: in-flight I/O is finished or left alone, and what was answered is on the disk.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use machine::limits::STOP_LIMIT;
use qpair_nvmf::Stage;
use wire::nvme::{DsmRange, Sqe, Status};
use zerocopy::IntoBytes;

use crate::common::{Association, Data, Host, NO_DIGESTS, Raw, Rig, eventually, pattern, same};

/// Bytes of the area that each writer has.
const AREA: usize = 1 << 20;
const WRITERS: u16 = 4;
const WRITE: usize = 32 << 10;

/// Writes extent after extent of its area, over and over, `depth` at a time, until the connection ends. What the
/// extents should hold: the generation answered last, and the last one sent.
fn writer(mut io: Host, number: u16, depth: u64) -> Vec<(u64, u64)> {
    let extents = (AREA / WRITE) as u64;
    let mut state = vec![(0, 0); extents as usize];
    let mut at = 0;
    loop {
        let mut batch = Vec::new();
        for _ in 0..depth {
            let extent = at % extents;
            let generation = at / extents + 1;
            at += 1;
            let bytes = extent_bytes(number, extent, generation);
            let slba = (u64::from(number) * AREA as u64 + extent * WRITE as u64) / 512;
            let sqe = Sqe::write(1, slba, (WRITE / 512) as u32, at % 3 == 0);
            batch.push((io.submit(sqe, Data::R2t(&bytes)), extent, generation));
            state[extent as usize].1 = generation;
        }
        for _ in 0..depth {
            let Some(done) = io.try_wait() else { return state };
            assert_eq!(done.status(), Status::SUCCESS);
            let (_, extent, generation) = batch.iter().find(|entry| entry.0 == done.slot).expect("it was sent");
            state[*extent as usize].0 = *generation;
        }
    }
}

fn extent_bytes(number: u16, extent: u64, generation: u64) -> Vec<u8> {
    if generation == 0 {
        return vec![0; WRITE];
    }
    pattern(u64::from(number) << 48 | extent << 32 | generation, WRITE)
}

/// A device that keeps requests for ever is asked to give them back.
#[test]
fn a_device_that_is_stuck_does_not_keep_the_target_from_stopping() {
    let mut rig = Rig::on_two_reactors(&["fault:ram:1MiB,bs=512,rule=any:drop"]);
    let association = Association::new(&rig);
    let mut io = association.io(1);
    // The device has room for the first.
    let ranges = [DsmRange::new(0, 1); 256];
    for _ in 0..3 {
        io.submit(Sqe::dsm(1, 256, true), Data::Capsule(ranges.as_bytes()));
    }
    eventually("two commands wait for the device", || {
        rig.server().observer().reactors().iter().any(|reactor| reactor.stage(Stage::Ready) == 2)
    });
    let took = rig.stop();
    assert!(took < STOP_LIMIT, "{took:?}");
    (0..3).for_each(|_| assert_eq!(io.wait().status(), Status::ABORTED_SQ_DELETION));
}

#[test]
fn what_was_answered_is_on_the_disk() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("disk.img");
    let mut rig = Rig::on_two_reactors(&[&format!("{},size=4MiB,bs=512", path.display())]);
    let association = Association::new(&rig);
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let io = association.io(number + 1);
            std::thread::spawn(move || writer(io, number, 8))
        })
        .collect();
    std::thread::sleep(Duration::from_millis(400));
    let took = rig.stop();
    assert!(took < STOP_LIMIT, "{took:?}");
    let mut file = File::open(&path).expect("the image");
    let mut answered = 0;
    for (number, writer) in (0..).zip(writers) {
        for (extent, (last, sent)) in (0..).zip(writer.join().expect("it ends with the connection")) {
            let mut bytes = vec![0; WRITE];
            file.seek(SeekFrom::Start(number as u64 * AREA as u64 + extent * WRITE as u64)).expect("its place");
            file.read_exact(&mut bytes).expect("its bytes");
            // One that was sent and not answered may be there, or a part of it.
            let old = extent_bytes(number, extent, last);
            if last == sent {
                same(&bytes, &old, &format!("extent {extent} of writer {number}, answered and then gone"));
            } else {
                let new = extent_bytes(number, extent, sent);
                let mixed = bytes.iter().zip(old.iter().zip(&new)).all(|(byte, (old, new))| byte == old || byte == new);
                assert!(mixed, "extent {extent} of writer {number} holds neither what was answered nor what was sent");
            }
            answered += last;
        }
    }
    assert!(answered > 0);
}

#[test]
fn idle_and_half_finished_connections_do_not_hold_it_up() {
    let mut rig = Rig::on_two_reactors(&["ram:1MiB"]);
    let mut association = Association::with(&rig, NO_DIGESTS, 60_000);
    association.admin.submit(Sqe::async_event(), Data::None);
    let mut idle = association.io(1);
    let mut half = Raw::io(rig.addr, association.cntlid, 2, 32, 4, NO_DIGESTS);
    half.command(Sqe::write(1, 0, 8, false).with_data_by_transport(4096), &[]);
    half.pdu().r2t();
    let silent = Raw::new(rig.addr);
    let took = rig.stop();
    assert!(took < Duration::from_secs(2), "{took:?}");
    idle.is_closed();
    association.admin.is_closed();
    for mut raw in [half, silent] {
        raw.is_closed();
    }
    assert_eq!(rig.target.controller_count(), 0);
}

/// Stopped while hosts come and go.
#[test]
fn stopping_amid_arrivals() {
    for _ in 0..5 {
        let mut rig = Rig::on_two_reactors(&["ram:1MiB"]);
        let addr = rig.addr;
        let arriving = std::thread::spawn(move || {
            for at in 0..1000u64 {
                let Ok(mut stream) = std::net::TcpStream::connect(addr) else { return };
                let bytes = crate::common::pdu::ic_req(NO_DIGESTS, 0);
                let _ = std::io::Write::write_all(&mut stream, &bytes[..(at as usize * 7) % 129]);
            }
        });
        std::thread::sleep(Duration::from_millis(20));
        rig.stop();
        arriving.join().expect("no panic");
    }
}
