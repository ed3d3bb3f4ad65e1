//! The ring seen from its owner: sockets over loopback, wakers, and file tasks on temporary files.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use super::*;
use crate::limits::{MAX_FILE_TASKS, MAX_PIECES};
use crate::region::{Bufs, Pool};

/// Every test here is one of the ring of each kind.
macro_rules! on_all {
    ($($(#[$attribute:meta])* $test:ident,)*) => {
        on_all!(@ portable, RingKind::Portable, $($(#[$attribute])* $test,)*);
        on_all!(@ uring, RingKind::Uring, $($(#[$attribute])* $test,)*);
        on_all!(@ iocp, RingKind::Iocp, $($(#[$attribute])* $test,)*);
    };
    (@ $name:ident, $kind:expr, $($(#[$attribute:meta])* $test:ident,)*) => {
        mod $name {
            use super::*;
            $($(#[$attribute])* #[test] fn $test() {
                match kind_here($kind) {
                    Ok(()) => super::$test($kind),
                    Err(reason) => eprintln!("SKIPPED: {reason}"),
                }
            })*
        }
    };
}

on_all! {
    a_sleeping_ring_is_woken_by_every_answer,
    a_full_receive_is_not_drained_and_a_short_one_is,
    the_end_of_a_stream_is_seen_although_its_only_event_came_with_data,
    after_the_last_send_the_peer_sees_the_end_and_may_still_answer,
    room_to_send_is_signalled_after_a_send_that_would_block,
    sockets_without_a_network_are_as_good,
    readiness_of_a_dropped_socket_does_not_reach_its_successor,
    a_listener_accepts_and_says_what_is_wrong,
    wakers_end_a_wait_and_cost_nothing_while_awake,
}

/// By which way the tasks of a test's files go.
#[derive(Clone, Copy)]
enum Way {
    /// That of a ring of this kind.
    Own(RingKind),
    /// This one, on a ring of the other kind.
    By(FileEngine),
    /// A thread of the kernel, beside a ring of the other kind.
    Sqpoll,
}

/// Every test here is one of files, by every way.
macro_rules! by_every_way {
    ($($(#[$attribute:meta])* $test:ident,)*) => {
        by_every_way!(@ own_of_portable, Way::Own(RingKind::Portable), Ok(()), $($(#[$attribute])* $test,)*);
        by_every_way!(@ own_of_uring, Way::Own(RingKind::Uring), uring_here(), $($(#[$attribute])* $test,)*);
        by_every_way!(@ own_of_iocp, Way::Own(RingKind::Iocp), here(FileEngine::Iocp), $($(#[$attribute])* $test,)*);
        by_every_way!(@ by_iocp, Way::By(FileEngine::Iocp), here(FileEngine::Iocp), $($(#[$attribute])* $test,)*);
        by_every_way!(@ by_uring, Way::By(FileEngine::Uring), uring_here(), $($(#[$attribute])* $test,)*);
        by_every_way!(@ by_sqpoll, Way::Sqpoll, uring_here(), $($(#[$attribute])* $test,)*);
        by_every_way!(@ by_threads, Way::By(FileEngine::Threads), Ok(()), $($(#[$attribute])* $test,)*);
        by_every_way!(@ by_aio, Way::By(FileEngine::Aio), here(FileEngine::Aio), $($(#[$attribute])* $test,)*);
        by_every_way!(@ by_sync, Way::By(FileEngine::Sync), Ok(()), $($(#[$attribute])* $test,)*);
    };
    (@ $way:ident, $value:expr, $here:expr, $($(#[$attribute:meta])* $test:ident,)*) => {
        mod $way {
            use super::*;
            $($(#[$attribute])* #[test] fn $test() {
                let here: Result<(), NoEngine> = $here;
                match here {
                    Ok(()) => super::$test($value),
                    Err(reason) => eprintln!("SKIPPED: {reason}"),
                }
            })*
        }
    };
}

by_every_way! {
    file_tasks_do_what_they_say,
    pieces_are_one_run_of_bytes,
    #[cfg(target_os = "linux")]
    a_full_disk_is_told_by_its_number,
    no_completion_is_slept_through,
    many_tasks_at_once_and_back_pressure,
    a_completion_that_another_owner_reaped_keeps_the_ring_awake_once,
    every_cancelled_task_ends_once,
    dropping_a_ring_waits_for_running_tasks_and_gives_all_buffers_back,
}

/// On a thread of its own: the end of a ring that is thrown away may interrupt the waits of its thread.
fn here(engine: FileEngine) -> Result<(), NoEngine> {
    thread::spawn(move || engine.check()).join().expect("no panic")
}

fn kind_here(kind: RingKind) -> Result<(), NoRing> {
    thread::spawn(move || kind.choose().map(drop)).join().expect("no panic")
}

pub(super) fn uring_here() -> Result<(), NoEngine> {
    here(FileEngine::Uring)
}

/// Far longer than anything takes: a wait of this length that runs out is a lost wake-up.
const LOST: Duration = Duration::from_secs(20);

/// Both ends of a connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let (far, _) = listener.accept().expect("accepted");
    far.set_nodelay(true).expect("set");
    (near, far)
}

fn recv(socket: &Socket, room: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; room];
    let received = socket.try_recv(&mut [IoSliceMut::new(&mut bytes)])?;
    Ok(received.map(|count| bytes[..count].to_vec()))
}

/// Waits until something is ready for the owner.
fn wait_ready(ring: &mut Ring, owner: Owner) -> Vec<Ready> {
    let (mut ready, start) = (Vec::new(), Instant::now());
    while ready.is_empty() {
        ring.enter(Wait::For(LOST)).expect("own descriptors");
        ring.ready(owner, &mut ready);
        assert!(start.elapsed() < LOST, "nothing came");
    }
    ready
}

fn wait_readable(ring: &mut Ring, owner: Owner) {
    while !wait_ready(ring, owner).iter().any(|ready| ready.readable) {}
}

fn a_sleeping_ring_is_woken_by_every_answer(kind: RingKind) {
    let mut ring = Ring::of(kind).expect("a ring");
    let owner = ring.owner();
    ask_and_sleep(&mut ring, owner);
}

/// Sleeps after each of many requests until its answer comes.
fn ask_and_sleep(ring: &mut Ring, owner: Owner) {
    const ROUNDS: u32 = 3000;
    let (near, mut far) = pair();
    let echo = thread::spawn(move || {
        let mut word = [0; 4];
        while far.read_exact(&mut word).is_ok() {
            far.write_all(&word).expect("the other end is there");
        }
    });
    let socket = ring.socket(near, owner, 7).expect("registered");
    assert_eq!((socket.key(), ring.arm(&socket)), (7, Arm::Busy), "never received from: nobody knows");
    assert_eq!(recv(&socket, 16).expect("fine"), None);
    assert_eq!(ring.arm(&socket), Arm::Armed);
    for round in 0..ROUNDS {
        let word = round.to_be_bytes();
        let sent = socket.try_send(&[IoSlice::new(&word[..1]), IoSlice::new(&word[1..])]).expect("fine");
        assert_eq!(sent, Some(4));
        let start = Instant::now();
        let answer = loop {
            if ring.arm(&socket) == Arm::Armed {
                ring.enter(Wait::For(LOST)).expect("own descriptors");
                assert!(start.elapsed() < LOST, "lost a wake-up in round {round}");
            }
            ring.ready(owner, &mut Vec::new());
            if let Some(bytes) = recv(&socket, 16).expect("fine") {
                break bytes;
            }
        };
        assert_eq!(answer, word);
        assert!(socket.drained(), "less than asked for");
    }
    drop(socket);
    echo.join().expect("no panic");
}

fn a_full_receive_is_not_drained_and_a_short_one_is(kind: RingKind) {
    let (near, mut far) = pair();
    let mut ring = Ring::of(kind).expect("a ring");
    let owner = ring.owner();
    let socket = ring.socket(near, owner, 0).expect("registered");
    far.write_all(b"abcdef").expect("sent");
    wait_readable(&mut ring, owner);
    assert_eq!(recv(&socket, 4).expect("fine").as_deref(), Some(&b"abcd"[..]));
    assert_eq!(ring.arm(&socket), Arm::Busy);
    assert_eq!(recv(&socket, 4).expect("fine").as_deref(), Some(&b"ef"[..]));
    assert_eq!(ring.arm(&socket), Arm::Armed);
    far.write_all(b"g").expect("sent");
    wait_readable(&mut ring, owner);
    assert_eq!(ring.arm(&socket), Arm::Busy, "an event came since");
}

fn the_end_of_a_stream_is_seen_although_its_only_event_came_with_data(kind: RingKind) {
    let (near, mut far) = pair();
    far.write_all(b"bye").expect("sent");
    far.shutdown(Shutdown::Write).expect("shut");
    thread::sleep(Duration::from_millis(20));
    let mut ring = Ring::of(kind).expect("a ring");
    let owner = ring.owner();
    let socket = ring.socket(near, owner, 0).expect("registered");
    wait_readable(&mut ring, owner);
    assert_eq!(recv(&socket, 64).expect("fine").as_deref(), Some(&b"bye"[..]));
    assert_eq!(ring.arm(&socket), Arm::Busy, "short, but there is more to learn");
    assert_eq!(recv(&socket, 64).expect("fine").as_deref(), Some(&b""[..]));
    assert_eq!(ring.arm(&socket), Arm::Armed, "a half-closed connection may be waited on");
}

fn after_the_last_send_the_peer_sees_the_end_and_may_still_answer(kind: RingKind) {
    let (near, mut far) = pair();
    let mut ring = Ring::of(kind).expect("a ring");
    let owner = ring.owner();
    let socket = ring.socket(near, owner, 0).expect("registered");
    assert_eq!(socket.try_send(&[IoSlice::new(b"last")]).expect("fine"), Some(4));
    socket.finish_sending();
    let mut all = Vec::new();
    far.read_to_end(&mut all).expect("ends");
    assert_eq!(all, b"last");
    far.write_all(b"answer").expect("sent");
    wait_readable(&mut ring, owner);
    assert_eq!(recv(&socket, 64).expect("fine").as_deref(), Some(&b"answer"[..]));
    assert!(socket.try_send(&[IoSlice::new(b"more")]).is_err());
}

fn room_to_send_is_signalled_after_a_send_that_would_block(kind: RingKind) {
    let chunk = vec![1; 1 << 20];
    for after_less_than_all in [false, true] {
        room_is_signalled(kind, &[IoSlice::new(&chunk)], after_less_than_all);
        room_is_signalled(kind, &[IoSlice::new(&chunk), IoSlice::new(&chunk[..9])], after_less_than_all);
    }
}

fn room_is_signalled(kind: RingKind, parts: &[IoSlice<'_>], after_less_than_all: bool) {
    let all = parts.iter().map(|part| part.len()).sum();
    let (near, mut far) = pair();
    let mut ring = Ring::of(kind).expect("a ring");
    let owner = ring.owner();
    let socket = ring.socket(near, owner, 0).expect("registered");
    let mut sent = 0;
    while let Some(bytes) = socket.try_send(parts).expect("fine") {
        sent += bytes;
        if after_less_than_all && bytes < all {
            break;
        }
    }
    assert_eq!(recv(&socket, 1).expect("fine"), None);
    ring.enter(Wait::No).expect("own descriptors");
    ring.ready(owner, &mut Vec::new());
    let reader = thread::spawn(move || {
        let mut all = vec![0; sent];
        far.read_exact(&mut all).expect("all of it");
        far
    });
    while !wait_ready(&mut ring, owner).iter().any(|ready| ready.writable) {}
    assert!(socket.try_send(&[IoSlice::new(b"more")]).expect("fine").is_some());
    reader.join().expect("no panic");
}

fn sockets_without_a_network_are_as_good(kind: RingKind) {
    let mut ring = Ring::of(kind).expect("descriptors");
    let owner = ring.owner();
    let (mut host, target) = crate::os::connected_sockets().expect("descriptors");
    let socket = ring.socket(target, owner, 7).expect("a socket");
    // Windows has them over loopback.
    #[cfg(unix)]
    assert_eq!((socket.peer_addr().port(), socket.local_addr().port()), (0, 0));
    assert_eq!(recv(&socket, 100).expect("open"), None);
    host.write_all(b"question").expect("open");
    wait_readable(&mut ring, owner);
    assert_eq!(recv(&socket, 100).expect("open").as_deref(), Some(&b"question"[..]));
    assert_eq!(socket.try_send(&[IoSlice::new(b"answer")]).expect("open"), Some(6));
    drop(socket);
    let mut answer = String::new();
    host.read_to_string(&mut answer).expect("closed after all was sent");
    assert_eq!(answer, "answer");
}

fn readiness_of_a_dropped_socket_does_not_reach_its_successor(kind: RingKind) {
    let mut ring = Ring::of(kind).expect("a ring");
    let (one, two) = (ring.owner(), ring.owner());
    let (near, mut far) = pair();
    let first = ring.socket(near, one, 1).expect("registered");
    far.write_all(b"x").expect("sent");
    thread::sleep(Duration::from_millis(5));
    ring.enter(Wait::For(LOST)).expect("own descriptors");
    drop(first);
    // The same slot, another owner.
    let (near, _far) = pair();
    let second = ring.socket(near, two, 2).expect("registered");
    let mut ready = Vec::new();
    ring.ready(one, &mut ready);
    assert_eq!(ready, []);
    ring.enter(Wait::For(LOST)).expect("own descriptors");
    ring.ready(two, &mut ready);
    assert_eq!(ready, [Ready { key: 2, readable: false, writable: true }]);
    assert_eq!(recv(&second, 1).expect("fine"), None);
}

fn a_listener_accepts_and_says_what_is_wrong(kind: RingKind) {
    let mut ring = Ring::of(kind).expect("a ring");
    let owner = ring.owner();
    let listener = ring.listener("127.0.0.1:0".parse().expect("an address"), owner, 9).expect("listening");
    let busy = ring.listener(listener.local_addr(), owner, 10).err().expect("the port is taken");
    assert_eq!(busy.kind(), io::ErrorKind::AddrInUse);
    assert!(listener.try_accept().expect("fine").is_none());
    assert_eq!(ring.arm_listener(&listener), Arm::Armed);
    let client = TcpStream::connect(listener.local_addr()).expect("connected");
    let ready = wait_ready(&mut ring, owner);
    assert!(ready[0].readable && ready[0].key == 9);
    assert_eq!(ring.arm_listener(&listener), Arm::Busy);
    let (stream, peer) = listener.try_accept().expect("fine").expect("one waits");
    assert_eq!(peer, client.local_addr().expect("connected"));
    let socket = ring.socket(stream, owner, 11).expect("registered");
    assert_eq!((socket.peer_addr(), socket.local_addr()), (peer, listener.local_addr()));
    assert!(listener.try_accept().expect("fine").is_none());
}

fn wakers_end_a_wait_and_cost_nothing_while_awake(kind: RingKind) {
    let mut ring = Ring::of(kind).expect("a ring");
    let waker = ring.waker();
    waker.wake();
    let start = Instant::now();
    ring.enter(Wait::For(Duration::from_millis(20))).expect("own descriptors");
    assert!(start.elapsed() >= Duration::from_millis(20), "nobody slept when it was woken");
    let other = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        waker.wake();
    });
    ring.enter(Wait::Forever).expect("own descriptors");
    other.join().expect("no panic");
}

/// A task with a buffer of `fill`, if it is a read or a write.
pub(super) fn task(pool: &Pool, file: &RingFile, tag: u64, op: FileOp, fill: u8) -> FileTask {
    let buf = matches!(op, FileOp::Read { .. } | FileOp::Write { .. }).then(|| {
        let mut buf = pool.take().expect("enough buffers");
        buf.fill(fill);
        buf
    });
    FileTask { tag, file: file.clone(), op, bufs: buf.into() }
}

/// Submits one task and sleeps until it is done.
pub(super) fn run(ring: &mut Ring, owner: Owner, task: FileTask) -> FileDone {
    let tag = task.tag;
    assert!(ring.submit_file(owner, task).is_ok());
    let (mut done, start) = (Vec::new(), Instant::now());
    loop {
        ring.files_done(owner, &mut done);
        if let Some(done) = done.pop() {
            assert_eq!(done.tag, tag);
            return done;
        }
        ring.enter(Wait::For(LOST)).expect("own descriptors");
        assert!(start.elapsed() < LOST, "lost the completion of task {tag}");
    }
}

/// As the way has it.
fn register(ring: &mut Ring, file: File, way: Way) -> RingFile {
    match way {
        Way::Own(_) => ring.file(Arc::new(file)),
        Way::By(engine) => ring.file_by(Arc::new(file), engine).expect("asked before"),
        Way::Sqpoll => {
            let polling = Polling { iopoll: false, sqpoll: true };
            ring.file_polled(Arc::new(file), polling).expect("asked before")
        }
    }
}

/// A file without a name that goes with its last handle.
#[cfg(unix)]
fn temporary_file() -> File {
    tempfile::tempfile().expect("a file")
}

/// The same; that of `tempfile` cannot be opened again.
#[cfg(windows)]
fn temporary_file() -> File {
    use std::os::windows::fs::OpenOptionsExt;
    use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_DELETE_ON_CLOSE;
    let mut options = File::options();
    options.read(true).write(true).create_new(true).custom_flags(FILE_FLAG_DELETE_ON_CLOSE);
    let made = tempfile::Builder::new().make(|path| options.open(path)).expect("a file");
    made.keep().expect("it is there").0
}

fn files(way: Way) -> (Ring, Owner, Pool, RingFile) {
    let kind = match way {
        Way::Own(kind) => kind,
        Way::By(FileEngine::Uring) | Way::Sqpoll => RingKind::Portable,
        Way::By(_) => RingKind::Auto,
    };
    let mut ring = Ring::of(kind).expect("a ring");
    let owner = ring.owner();
    let file = temporary_file();
    file.set_len(64 << 10).expect("sparse");
    let file = register(&mut ring, file, way);
    if matches!(way, Way::Own(RingKind::Iocp)) {
        assert_eq!(file.engine(), FileEngine::Iocp, "it can be opened again");
    }
    (ring, owner, Pool::anonymous(4096, 256).expect("memory"), file)
}

fn file_tasks_do_what_they_say(way: Way) {
    let (mut ring, owner, pool, file) = files(way);
    let mut go = |op, fill| run(&mut ring, owner, task(&pool, &file, 1, op, fill));
    for (offset, dsync) in [(0, false), (4096, true), (8192, false)] {
        assert!(go(FileOp::Write { offset, dsync }, 0xab).result.is_ok());
    }
    assert!(go(FileOp::Sync, 0).result.is_ok());
    assert!(go(FileOp::Zero { offset: 4096, len: 4096, dsync: true, deallocate: false }, 0).result.is_ok());
    assert!(go(FileOp::Deallocate { offset: 8192, len: 4096 }, 0).result.is_ok());
    for (offset, expected) in [(0, 0xab), (4096, 0), (60 << 10, 0)] {
        let done = go(FileOp::Read { offset }, 0x55);
        assert!(done.result.is_ok() && done.op == FileOp::Read { offset });
        assert!(done.bufs.one().expect("comes back").iter().all(|&byte| byte == expected), "at {offset}");
    }
    for offset in [62 << 10, 64 << 10, 1 << 30] {
        let done = go(FileOp::Read { offset }, 0);
        assert_eq!(done.result.expect_err("the file is shorter").kind(), io::ErrorKind::UnexpectedEof);
        assert!(done.bufs.is_some());
    }
    assert_eq!(pool.free(), 256);
}

/// A task over buffers of these lengths, with the bytes in them.
fn scattered(pool: &Pool, file: &RingFile, op: FileOp, lengths: &[usize], bytes: &[u8]) -> FileTask {
    let piece = |&len: &usize| {
        let mut buf = pool.take().expect("enough buffers");
        buf.set_len(len);
        buf
    };
    let mut bufs = Bufs::Many(lengths.iter().map(piece).collect());
    bufs.put(0, bytes);
    FileTask { tag: 1, file: file.clone(), op, bufs }
}

fn pieces_are_one_run_of_bytes(way: Way) {
    let (mut ring, owner, pool, file) = files(way);
    let bytes: Vec<u8> = (0..9000_u32).map(|i| (i * 7 / 3) as u8).collect();
    let mut most = [140; MAX_PIECES];
    most[MAX_PIECES - 1] = 180;
    for (written, read, dsync) in [
        (&[9][..], &[1, 0, 8][..], false),
        (&[1, 4096, 0, 807, 4096], &[4096, 4000, 904], true),
        (&most, &[4096, 4096, 808], false),
        (&[4096, 4096, 0, 808], &most, false),
    ] {
        let bytes = &bytes[..written.iter().sum()];
        let write = scattered(&pool, &file, FileOp::Write { offset: 777, dsync }, written, bytes);
        let done = run(&mut ring, owner, write);
        assert!(done.result.is_ok() && done.bufs.holds(bytes), "the list comes back as it was");
        let list = scattered(&pool, &file, FileOp::Read { offset: 777 }, read, &[]);
        let done = run(&mut ring, owner, list);
        assert!(done.result.is_ok() && done.bufs.holds(bytes), "{written:?} read as {read:?}");
    }
    // The file ends in the middle of the second one.
    let behind = scattered(&pool, &file, FileOp::Read { offset: (64 << 10) - 150 }, &[100, 100, 100], &[9; 300]);
    let done = run(&mut ring, owner, behind);
    assert_eq!(done.result.expect_err("the file is shorter").kind(), io::ErrorKind::UnexpectedEof);
    assert!(done.bufs.holds(&[&[0; 150][..], &[9; 150]].concat()), "what there is has its place");
    drop(done.bufs);
    assert_eq!(pool.free(), 256);
}

#[cfg(target_os = "linux")]
fn a_full_disk_is_told_by_its_number(way: Way) {
    let (mut ring, owner, pool, _) = files(way);
    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    let full = register(&mut ring, full, way);
    let done = run(&mut ring, owner, task(&pool, &full, 3, FileOp::Write { offset: 0, dsync: false }, 1));
    assert_eq!(done.result.expect_err("full").raw_os_error(), Some(libc::ENOSPC));
}

fn no_completion_is_slept_through(way: Way) {
    let (mut ring, owner, pool, file) = files(way);
    for tag in 0..4000 {
        let op = if tag % 2 == 0 { FileOp::Write { offset: 0, dsync: false } } else { FileOp::Read { offset: 0 } };
        assert!(run(&mut ring, owner, task(&pool, &file, tag, op, 1)).result.is_ok());
    }
}

fn many_tasks_at_once_and_back_pressure(way: Way) {
    let (mut ring, owner, pool, file) = files(way);
    let read = FileOp::Read { offset: 0 };
    for tag in 0..MAX_FILE_TASKS as u64 {
        let deallocate = FileOp::Deallocate { offset: 0, len: 0 };
        let op = if tag < 200 { read } else { deallocate };
        assert!(ring.submit_file(owner, task(&pool, &file, tag, op, 0)).is_ok());
    }
    let refused = ring.submit_file(owner, task(&pool, &file, 4711, read, 0)).expect_err("full");
    assert_eq!((refused.tag, refused.bufs.len()), (4711, 4096));
    let mut done = Vec::new();
    while done.len() < MAX_FILE_TASKS {
        ring.enter(Wait::For(LOST)).expect("own descriptors");
        ring.files_done(owner, &mut done);
    }
    let mut tags: Vec<_> = done.iter().map(|done| done.tag).collect();
    tags.sort_unstable();
    assert!(tags.into_iter().eq(0..MAX_FILE_TASKS as u64));
    assert!(ring.submit_file(owner, refused).is_ok());
}

fn a_completion_that_another_owner_reaped_keeps_the_ring_awake_once(way: Way) {
    let (mut ring, owner, pool, file) = files(way);
    let other = ring.owner();
    assert!(ring.submit_file(owner, task(&pool, &file, 1, FileOp::Sync, 0)).is_ok());
    let start = Instant::now();
    while ring.arm_files(owner) == Arm::Armed {
        assert!(start.elapsed() < LOST);
        ring.files_done(other, &mut Vec::new());
    }
    ring.enter(Wait::For(LOST)).expect("own descriptors");
    assert!(start.elapsed() < LOST, "slept with a completion on a list");
    // Its owner still does not look: no reason to keep the core busy. (A stale signal may end the first wait.)
    ring.enter(Wait::For(Duration::from_millis(1))).expect("own descriptors");
    let start = Instant::now();
    ring.enter(Wait::For(Duration::from_millis(20))).expect("own descriptors");
    assert!(start.elapsed() >= Duration::from_millis(20));
}

fn dropping_a_ring_waits_for_running_tasks_and_gives_all_buffers_back(way: Way) {
    for _ in 0..5 {
        let (mut ring, owner, pool, file) = files(way);
        for tag in 0..200 {
            let op = if tag % 2 == 0 { FileOp::Write { offset: 0, dsync: true } } else { FileOp::Read { offset: 0 } };
            assert!(ring.submit_file(owner, task(&pool, &file, tag, op, 1)).is_ok());
        }
        drop(ring);
        assert_eq!((pool.free(), Arc::strong_count(file.file())), (256, 1));
    }
}

fn every_cancelled_task_ends_once(way: Way) {
    let (mut ring, owner, pool, file) = files(way);
    let read = FileOp::Read { offset: 0 };
    for tag in 0..200 {
        assert!(ring.submit_file(owner, task(&pool, &file, tag, read, 0)).is_ok());
    }
    (0..200).for_each(|tag| ring.cancel_file(owner, tag));
    let other = ring.owner();
    ring.cancel_file(other, 0);
    ring.cancel_file(owner, 4711);
    let (mut done, start) = (Vec::new(), Instant::now());
    while done.len() < 200 {
        ring.enter(Wait::For(LOST)).expect("own descriptors");
        ring.files_done(owner, &mut done);
        assert!(start.elapsed() < LOST, "only {} ended", done.len());
    }
    assert!(done.iter().all(|done| done.result.is_ok() || done.is_cancelled()));
    let mut tags: Vec<_> = done.drain(..).map(|done| done.tag).collect();
    tags.sort_unstable();
    assert!(tags.into_iter().eq(0..200));
    assert_eq!(pool.free(), 256);
    assert!(run(&mut ring, owner, task(&pool, &file, 0, read, 0)).result.is_ok(), "no cancellation is left over");
}

#[test]
fn files_of_all_engines_share_a_ring() {
    let (mut ring, owner, pool, own) = files(Way::Own(RingKind::Auto));
    let available: Vec<_> = FileEngine::ALL.into_iter().filter(|engine| here(*engine).is_ok()).collect();
    let same = || own.file().try_clone().expect("a descriptor");
    let files: Vec<_> = available.iter().map(|&engine| register(&mut ring, same(), Way::By(engine))).collect();
    assert!(files.iter().map(RingFile::engine).eq(available), "as asked for");
    let (mut done, start) = (Vec::new(), Instant::now());
    for round in 0..500 {
        let everywhere = || files.iter().zip(1u8..);
        for (file, place) in everywhere() {
            let op = FileOp::Write { offset: 4096 * u64::from(place), dsync: false };
            assert!(ring.submit_file(owner, task(&pool, file, place.into(), op, place ^ round as u8)).is_ok());
        }
        let mut pending = files.len();
        while pending > 0 {
            ring.enter(Wait::For(LOST)).expect("own descriptors");
            ring.files_done(owner, &mut done);
            assert!(start.elapsed() < LOST, "lost a completion in round {round}");
            pending -= done.len();
            assert!(done.drain(..).all(|done| done.result.is_ok()));
        }
        // What one has written, another one reads.
        for (file, place) in everywhere() {
            let written = place as usize % files.len() + 1;
            let read = run(&mut ring, owner, task(&pool, file, 0, FileOp::Read { offset: 4096 * written as u64 }, 0));
            let expected = written as u8 ^ round as u8;
            assert!(
                read.bufs.one().expect("comes back").iter().all(|&byte| byte == expected),
                "{} read it",
                file.engine()
            );
        }
    }
}

/// A ring that waits in `io_uring` because of a task that does not end: a read of a pipe that nobody writes to.
#[cfg(target_os = "linux")]
struct Waiting {
    ring: Ring,
    owner: Owner,
    pool: Pool,
    file: RingFile,
    pipe: RingFile,
    _writer: io::PipeWriter,
}

#[cfg(target_os = "linux")]
impl Waiting {
    /// None, and a word about it, where there is no `io_uring`.
    fn new() -> Option<Self> {
        if let Err(reason) = uring_here() {
            eprintln!("SKIPPED: {reason}");
            return None;
        }
        let (mut ring, owner, pool, file) = files(Way::Own(RingKind::Uring));
        let (reader, _writer) = io::pipe().expect("a pipe");
        let pipe = ring.file(Arc::new(File::from(std::os::fd::OwnedFd::from(reader))));
        let mut waiting = Self { ring, owner, pool, file, pipe, _writer };
        waiting.read_pipe(1);
        Some(waiting)
    }

    fn read_pipe(&mut self, tag: u64) {
        let read = task(&self.pool, &self.pipe, tag, FileOp::Read { offset: 0 }, 0);
        assert!(self.ring.submit_file(self.owner, read).is_ok());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn sockets_wakers_files_and_workers_wake_a_ring_that_waits_in_io_uring() {
    let Some(mut waiting) = Waiting::new() else { return };
    let Waiting { ring, pool, file, .. } = &mut waiting;
    let owner = ring.owner();
    ask_and_sleep(ring, owner);
    assert!(ring.files.busy_uring().is_some(), "it slept there");
    for round in 0..300 {
        let waker = ring.waker();
        let wake = move || waker.wake();
        if round % 2 == 0 {
            ring.announce_sleep();
            let (start, other) = (Instant::now(), thread::spawn(wake));
            ring.wait(Some(LOST)).expect("own descriptors");
            assert!(start.elapsed() < LOST, "slept through a signal");
            ring.cancel_sleep();
            other.join().expect("no panic");
        } else {
            let other = thread::spawn(wake);
            assert!(run(ring, owner, task(pool, file, round, FileOp::Read { offset: 0 }, 0)).result.is_ok());
            other.join().expect("no panic");
        }
    }
    // What is left of the signals ends the first wait at most; then it sleeps.
    ring.enter(Wait::For(Duration::from_millis(1))).expect("own descriptors");
    let start = Instant::now();
    ring.enter(Wait::For(Duration::from_millis(20))).expect("own descriptors");
    assert!(start.elapsed() >= Duration::from_millis(20), "it does not sleep");
    // Which has no `fallocate`: io_uring says so, and the workers know that it does not matter.
    let full = ring.file(Arc::new(File::options().write(true).open("/dev/full").expect("Linux has it")));
    for tag in 0..300 {
        let free = FileOp::Deallocate { offset: 0, len: 4096 };
        assert!(run(ring, owner, task(pool, &full, tag, free, 0)).result.is_ok());
    }
}

/// The call that sleeps submits it: two system calls become one. Who has other work does not keep it for long.
#[cfg(target_os = "linux")]
#[test]
fn a_request_that_is_alone_is_left_to_the_sleep_and_others_are_not() {
    if let Err(reason) = uring_here() {
        return eprintln!("SKIPPED: {reason}");
    }
    let (mut ring, owner, pool, file) = files(Way::Own(RingKind::Uring));
    let mut done = Vec::new();
    let read = |tag| task(&pool, &file, tag, FileOp::Read { offset: 0 }, 0);
    // How many looks it takes until the kernel is told.
    let mut looks = |ring: &mut Ring, tags: std::ops::Range<u64>, entered: bool| {
        tags.clone().for_each(|tag| assert!(ring.submit_file(owner, read(tag)).is_ok()));
        let mut looks = 0;
        while ring.files.queued() > 0 {
            looks += 1;
            ring.files_done(owner, &mut done);
            if entered {
                ring.enter(Wait::For(LOST)).expect("own descriptors");
            }
        }
        while done.len() < tags.clone().count() {
            ring.enter(Wait::For(LOST)).expect("own descriptors");
            ring.files_done(owner, &mut done);
        }
        done.clear();
        looks
    };
    assert_eq!(looks(&mut ring, 0..1, true), 1, "the sleep submits it");
    assert_eq!(looks(&mut ring, 1..2, false), crate::limits::POSTPONED_PASSES + 1);
    assert_eq!(looks(&mut ring, 2..4, false), 1, "two of them");
    ring.submit_at_once(true);
    assert_eq!(looks(&mut ring, 4..5, false), 1, "nobody is about to sleep");
}

/// Readiness is of no interest without sockets; with them it is asked for without waiting, too.
#[test]
fn a_look_without_a_wait_finds_what_there_is() {
    let mut ring = Ring::new().expect("a ring");
    ring.waker().wake();
    ring.enter(Wait::No).expect("own descriptors");
    let (near, mut far) = pair();
    let owner = ring.owner();
    let socket = ring.socket(near, owner, 7).expect("registered");
    far.write_all(b"x").expect("sent");
    let (mut ready, start) = (Vec::new(), Instant::now());
    while !ready.iter().any(|ready: &Ready| ready.key == 7 && ready.readable) {
        ring.enter(Wait::No).expect("own descriptors");
        ring.ready(owner, &mut ready);
        assert!(start.elapsed() < LOST, "nothing came");
    }
    drop(socket);
    ring.enter(Wait::No).expect("own descriptors");
}

/// A pipe gives what it has: the rest is asked for in the middle of a piece.
#[cfg(target_os = "linux")]
#[test]
fn a_short_read_of_io_uring_goes_on_in_the_middle_of_a_piece() {
    let Some(mut waiting) = Waiting::new() else { return };
    let Waiting { ring, owner, pool, pipe, _writer: writer, .. } = &mut waiting;
    let (owner, bytes) = (*owner, (1..=40).collect::<Vec<u8>>());
    ring.submit_at_once(true);
    let end = |ring: &mut Ring| {
        let (mut done, start) = (Vec::new(), Instant::now());
        while done.is_empty() {
            assert!(start.elapsed() < LOST, "a read hangs");
            ring.files_done(owner, &mut done);
            ring.enter(Wait::For(Duration::from_millis(1))).expect("own descriptors");
        }
        done.remove(0)
    };
    // The one that waits already takes its own.
    io::Write::write_all(writer, &[0; 4096]).expect("room");
    assert!(end(ring).result.is_ok());
    for first in 1..bytes.len() {
        io::Write::write_all(writer, &bytes[..first]).expect("room");
        let read = scattered(pool, pipe, FileOp::Read { offset: 0 }, &[7, 0, 13, 1, 19], &[]);
        assert!(ring.submit_file(owner, read).is_ok());
        // It takes what there is, and asks for the rest.
        ring.files_done(owner, &mut Vec::new());
        io::Write::write_all(writer, &bytes[first..]).expect("room");
        let done = end(ring);
        assert!(done.result.is_ok() && done.bufs.holds(&bytes), "{first} bytes first");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn io_uring_gives_up_what_waits() {
    let Some(mut waiting) = Waiting::new() else { return };
    let Waiting { ring, owner, pool, file, .. } = &mut waiting;
    let owner = *owner;
    assert!(run(ring, owner, task(pool, file, 2, FileOp::Read { offset: 0 }, 0)).result.is_ok(), "the other one waits");
    ring.cancel_file(owner, 1);
    let (mut done, start) = (Vec::new(), Instant::now());
    while done.is_empty() {
        ring.enter(Wait::For(LOST)).expect("own descriptors");
        ring.files_done(owner, &mut done);
        assert!(start.elapsed() < LOST, "not cancelled");
    }
    assert!(done[0].tag == 1 && done[0].is_cancelled());
    drop(done);
    // And when the ring goes.
    waiting.read_pipe(3);
    waiting.ring.enter(Wait::No).expect("own descriptors");
    let Waiting { ring, pool, pipe, .. } = waiting;
    drop(ring);
    assert_eq!((pool.free(), Arc::strong_count(pipe.file())), (256, 1));
}
