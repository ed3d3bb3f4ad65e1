//! Many connections that do nothing, and many that come back at once.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::full;
use crate::peer::Host;
use crate::served::Served;

/// How much of it: idle connections, those of them that come back, reactors, and how long a load runs.
struct Scale {
    idle: usize,
    back: usize,
    reactors: usize,
    load: Duration,
}

/// I/O queues of a host; one more connection for its admin queue.
const QUEUES: u16 = 63;
const PER_HOST: usize = QUEUES as usize + 1;
/// Hosts that connect at the same time.
const CONNECTING: usize = 8;
/// Files of this process that are not connections.
const OTHER_FILES: usize = 200;
/// What a connection that does nothing may cost. It is about 2 KiB; the promise is 16 KiB.
const MOST_BYTES: u64 = 6 << 10;

/// The scale, cut to the files that this process may have open: the target is a process of its own with as many.
fn scale(reactors: usize) -> Scale {
    if !full() {
        return Scale { idle: 512, back: 128, reactors, load: Duration::from_secs(1) };
    }
    let files = machine::os::raise_file_limit().map_or(usize::MAX, |files| files as usize);
    let wanted = 10_000_usize.next_multiple_of(PER_HOST);
    let idle = wanted.min(files.saturating_sub(OTHER_FILES)) / PER_HOST * PER_HOST;
    if idle < wanted {
        println!("storm: {idle} connections instead of {wanted}: this process may have {files} open files");
    }
    Scale { idle, back: 1024.min(idle / 2), reactors, load: Duration::from_secs(5) }
}

/// Connects hosts, some at a time.
fn connect(served: &Served, hosts: usize) -> Vec<Host> {
    thread::scope(|scope| {
        let threads = (0..CONNECTING).map(|thread| {
            let mine = (hosts * (thread + 1) / CONNECTING) - (hosts * thread / CONNECTING);
            scope.spawn(move || {
                let host = |_| Host::connect(served.addr, QUEUES).expect("the target has room");
                (0..mine).map(host).collect::<Vec<_>>()
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it connects")).collect()
    })
}

#[test]
fn on_one_reactor_idle_connections_cost_little_and_their_return_disturbs_nobody() {
    storm(scale(1));
}

#[test]
fn on_two_reactors_idle_connections_cost_little_and_their_return_disturbs_nobody() {
    storm(scale(2));
}

fn storm(Scale { idle, back, reactors, load }: Scale) {
    let served = Served::start(&["ram:64MiB"], reactors);
    // What the first connection of a reactor sets up belongs to all.
    Served::load(served.addr, 1, load / 5).succeeds();
    let before = served.usage();
    let mut hosts = connect(&served, idle / PER_HOST);
    let after = served.usage();
    let each = after.rss_bytes.saturating_sub(before.rss_bytes) / idle as u64;
    println!("storm: {idle} idle connections on {reactors} reactors, {each} bytes each");
    assert!(each <= MOST_BYTES, "{each} bytes for a connection that does nothing");

    let quiet = Served::load(served.addr, 1, load).succeeds();
    let done = AtomicBool::new(false);
    let (stormy, storms, slowest) = thread::scope(|scope| {
        let storm = scope.spawn(|| {
            let (mut storms, mut slowest) = (0, Duration::ZERO);
            while storms == 0 || !done.load(Relaxed) {
                hosts.truncate(hosts.len() - back / PER_HOST);
                let begun = Instant::now();
                hosts.extend(connect(&served, back / PER_HOST));
                slowest = slowest.max(begun.elapsed());
                storms += 1;
            }
            (storms, slowest)
        });
        let stormy = Served::load(served.addr, 1, load).succeeds();
        done.store(true, Relaxed);
        let (storms, slowest) = storm.join().expect("all come back");
        (stormy, storms, slowest)
    });
    println!(
        "storm: {back} connections back at once, {storms} times, {slowest:?} at most; p99 of the load {:.0} us before, \
         {:.0} us meanwhile ({:.1}x), {:.0} and {:.0} IOPS",
        quiet.p99_us,
        stormy.p99_us,
        stormy.p99_us / quiet.p99_us,
        quiet.iops,
        stormy.iops
    );
    assert_eq!(hosts.iter().map(Host::connections).sum::<usize>(), idle);
    drop(hosts);
    crate::eventually("all connections to be closed", || served.usage().files < before.files + PER_HOST);
}
