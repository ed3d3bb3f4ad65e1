//! Peers that take their time: hosts that do not read what they asked for, connections that hardly say anything.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::pdu;
use crate::peer::{Host, Peer};
use crate::served::Served;
use crate::{eventually, full};

/// I/O queues of the host that does not read.
const QUEUES: u16 = 8;
/// What the target may hold for each connection that does not read (`OUTBOX_BYTES`).
const HELD_BYTES: u64 = 1 << 20;
/// What else is touched for the first time meanwhile.
const SLACK_BYTES: u64 = 4 << 20;

#[test]
fn a_host_that_reads_much_and_takes_nothing_holds_little_and_keeps_nobody_waiting() {
    let load = Duration::from_secs(if full() { 5 } else { 1 });
    let served = Served::start(&["ram:64MiB"], 2);
    let quiet = Served::load(served.addr, 1, load).succeeds();
    let files = served.usage().files;
    // The first one touches what is there for all.
    let first = stall(&served);
    let before = served.usage();
    let mut host = stall(&served);
    let held = served.usage().rss_bytes.saturating_sub(before.rss_bytes);
    assert!(held <= u64::from(QUEUES) * HELD_BYTES + SLACK_BYTES, "{held} bytes are held");
    // The load overwrites what was asked for: were the old bytes kept for the reader, the disk would run out of slots.
    let beside = Served::load(served.addr, 1, load).succeeds();
    println!(
        "stalled: {} KiB held for each of {QUEUES} connections that do not read; p99 of the load {:.0} us before, \
         {:.0} us beside them",
        (held >> 10) / u64::from(QUEUES),
        quiet.p99_us,
        beside.p99_us
    );
    if full() {
        // After 30 s without a byte taken they are disconnected, though their commands are not answered.
        eventually("the end of those who do not read", || served.usage().files <= files + 2);
    }
    drop(first);
    host.admin.run(wire::nvme::Sqe::get_features(7, 0), &[]).expect("its admin queue did nothing wrong");
}

/// A host that has asked for much, when the target has done all that it does for it.
fn stall(served: &Served) -> Host {
    let mut host = Host::connect(served.addr, QUEUES).expect("the target has room");
    host.read_much(1).expect("the commands fit the queues");
    let (mut last, mut times) = (0, 0);
    eventually("the memory of the target to stay as it is", || {
        let now = served.usage().rss_bytes;
        times = if now == last { times + 1 } else { 0 };
        last = now;
        // Longer than bytes are lent.
        times > 25
    });
    host
}

#[test]
fn connections_that_say_a_byte_a_second_are_closed() {
    let count = if full() { 1000 } else { 64 };
    let served = Served::start(&["ram:64MiB"], 2);
    let before = served.usage();
    let begun = Instant::now();
    let mut slow: Vec<_> = (0..count).map(|_| Peer::new(served.addr).expect("the target has room")).collect();
    let load = Served::load(served.addr, 1, Duration::from_secs(5));
    let hello = pdu::ic_req(wire::tcp::digest::Digests::default(), 0);
    for &byte in &hello {
        for peer in &mut slow {
            // It may be closed by now.
            let _ = peer.stream.write_all(&[byte]);
        }
        slow.retain_mut(|peer| !peer.is_closed());
        if slow.is_empty() {
            break;
        }
        thread::sleep(Duration::from_secs(1));
    }
    let took = begun.elapsed();
    println!("slowloris: {count} connections of a byte a second were closed after {took:.1?}");
    assert!(slow.is_empty(), "{} are still there after {took:?}", slow.len());
    load.succeeds();
    eventually("their files to be closed", || served.usage().files <= before.files);
}
