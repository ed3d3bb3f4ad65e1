//! Sockets that go in every state of their requests, a port that goes after them, and files that are opened again.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Instant;

use super::*;
use crate::region::Pool;
use crate::ring::events::Registry;
use crate::ring::tests::{run, task};
use crate::ring::{FileEngine, FileOp, Owner, Ring, RingKind, Socket, Wait};

const LOST: Duration = Duration::from_secs(20);

fn port(ring: &Ring) -> Rc<Port> {
    match ring.poll.registry() {
        Registry::Port(port) => Rc::clone(port),
        Registry::Mio(_) => panic!("asked for one"),
    }
}

fn ring() -> (Ring, Owner, Rc<Port>) {
    let mut ring = Ring::of(RingKind::Iocp).expect("a port");
    let (owner, port) = (ring.owner(), port(&ring));
    (ring, owner, port)
}

fn pair(ring: &mut Ring, owner: Owner) -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let far = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let (near, _) = listener.accept().expect("accepted");
    (ring.socket(near, owner, 1).expect("registered"), far)
}

/// Until the packets of all requests are there.
fn settle(port: &Port) {
    let start = Instant::now();
    while port.polls.borrow().pending() > 0 {
        port.collect(Some(LOST)).expect("its own port");
        assert!(start.elapsed() < LOST, "a request does not come back");
    }
}

fn fill(socket: &Socket) {
    while socket.try_send(&[IoSlice::new(&[1; 1 << 18])]).expect("open").is_some() {}
}

/// As `what` has left the socket, it is dropped: no event comes any more, and all slots are free in the end.
fn goes_after(what: impl Fn(&mut Ring, Owner, &Socket, &mut TcpStream)) {
    let (mut ring, owner, port) = ring();
    for _ in 0..3 {
        let (socket, mut far) = pair(&mut ring, owner);
        what(&mut ring, owner, &socket, &mut far);
        drop(socket);
        settle(&port);
        assert_eq!(port.polls.borrow().taken(), 0);
        let mut ready = Vec::new();
        ring.enter(Wait::No).expect("its own port");
        ring.ready(owner, &mut ready);
        assert_eq!(ready, []);
    }
}

#[test]
fn a_socket_goes_in_every_state_of_its_requests() {
    // Waiting to receive.
    goes_after(|_, _, _, _| {});
    // Waiting for both.
    goes_after(|_, _, socket, _| fill(socket));
    // With a packet that nobody has taken.
    goes_after(|_, _, _, far| {
        far.write_all(b"x").expect("open");
        std::thread::sleep(Duration::from_millis(5));
    });
    // With an event that nobody has taken.
    goes_after(|ring, _, socket, far| {
        far.write_all(b"x").expect("open");
        let start = Instant::now();
        while !socket.is_readable() {
            ring.enter(Wait::For(LOST)).expect("its own port");
            assert!(start.elapsed() < LOST);
        }
    });
    // With nothing under way.
    goes_after(|ring, owner, _, far| {
        far.write_all(b"x").expect("open");
        let (mut ready, start) = (Vec::new(), Instant::now());
        while !ready.iter().any(|ready: &crate::ring::Ready| ready.readable) {
            ring.enter(Wait::For(LOST)).expect("its own port");
            ring.ready(owner, &mut ready);
            assert!(start.elapsed() < LOST);
        }
    });
    // After the peer.
    goes_after(|_, _, socket, far| {
        fill(socket);
        far.shutdown(std::net::Shutdown::Both).expect("open");
    });
}

#[test]
fn sockets_outlive_their_ring_and_the_port_goes_last() {
    let (mut ring, owner, port) = ring();
    let mut pairs: Vec<_> = (0..100).map(|_| pair(&mut ring, owner)).collect();
    let listener = ring.listener("127.0.0.1:0".parse().expect("an address"), owner, 2).expect("listening");
    pairs.iter().step_by(2).for_each(|(socket, _)| fill(socket));
    let waker = ring.waker();
    drop(ring);
    pairs[0].1.write_all(b"x").expect("open");
    assert_eq!(pairs[0].0.try_recv(&mut [IoSliceMut::new(&mut [0; 2])]).expect("open"), Some(1));
    pairs.drain(..50);
    let gone = Rc::downgrade(&port);
    drop((pairs, port));
    assert!(gone.upgrade().is_some(), "the listener has it");
    drop(listener);
    assert!(gone.upgrade().is_none());
    waker.flag().announce();
    waker.wake();
}

#[test]
fn a_socket_leaves_for_another_ring_with_its_requests_under_way() {
    let (mut one, first, port) = ring();
    let (mut two, second, _) = ring();
    let (socket, mut far) = pair(&mut one, first);
    let moved = two.socket(socket.leave().expect("a handle"), second, 5).expect("registered");
    far.write_all(b"hello").expect("open");
    let (mut ready, start) = (Vec::new(), Instant::now());
    while !ready.iter().any(|ready: &crate::ring::Ready| ready.readable) {
        two.enter(Wait::For(LOST)).expect("its own port");
        two.ready(second, &mut ready);
        assert!(start.elapsed() < LOST);
    }
    let mut bytes = [0; 8];
    assert_eq!(moved.try_recv(&mut [IoSliceMut::new(&mut bytes)]).expect("open"), Some(5));
    settle(&port);
    one.enter(Wait::No).expect("its own port");
    one.ready(first, &mut ready);
    assert!(ready.iter().all(|ready| ready.key == 5), "the first ring has nothing of it");
}

#[test]
fn many_signals_are_one_wake_up() {
    let (mut ring, _, port) = ring();
    let waker = ring.waker();
    waker.flag().announce();
    (0..10).for_each(|_| waker.wake());
    let mut packets = port.room.take();
    port.completions.take(&mut packets, Some(LOST)).expect("its own port");
    assert_eq!(packets.iter().map(|packet| packet.key()).collect::<Vec<_>>(), [Key::Wake]);
    waker.flag().clear();
    ring.enter(Wait::No).expect("its own port");
}

#[test]
fn a_file_is_opened_again_as_it_was() {
    use std::os::windows::fs::OpenOptionsExt;
    use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_NO_BUFFERING, FILE_FLAG_WRITE_THROUGH};
    let (mut ring, owner, port) = ring();
    let pool = Pool::anonymous(4096, 4).expect("memory");
    let named = tempfile::NamedTempFile::new().expect("a file");
    named.as_file().set_len(4096).expect("room");
    let iocp = Iocp::of(&port);
    for flags in [0, FILE_FLAG_NO_BUFFERING, FILE_FLAG_WRITE_THROUGH, FILE_FLAG_NO_BUFFERING | FILE_FLAG_WRITE_THROUGH]
    {
        let mut options = File::options();
        let file = options.read(true).write(true).custom_flags(flags).open(named.path()).expect("it is there");
        let own = iocp.open(&file).expect("for everybody");
        assert_eq!(own.flags().expect("open"), flags);
    }
    let read_only = ring.file(File::open(named.path()).expect("it is there").into());
    assert_eq!(read_only.engine(), FileEngine::Iocp);
    let read = run(&mut ring, owner, task(&pool, &read_only, 1, FileOp::Read { offset: 0 }, 1));
    assert!(read.result.is_ok());
    let write = run(&mut ring, owner, task(&pool, &read_only, 2, FileOp::Write { offset: 0, dsync: false }, 1));
    assert_eq!(write.result.expect_err("not for this").raw_os_error(), Some(5), "ERROR_ACCESS_DENIED");
}

#[test]
fn direct_io_takes_what_is_aligned_and_nothing_else() {
    use std::os::windows::fs::OpenOptionsExt;
    use windows_sys::Win32::Foundation::ERROR_INVALID_PARAMETER;
    use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_NO_BUFFERING;
    let (mut ring, owner, _) = ring();
    let named = tempfile::NamedTempFile::new().expect("a file");
    // Two sectors of the largest disks, and a bit.
    named.as_file().set_len(8200).expect("room");
    let mut options = File::options();
    let file = options.read(true).write(true).custom_flags(FILE_FLAG_NO_BUFFERING).open(named.path());
    let file = ring.file(file.expect("it is there").into());
    assert_eq!(file.engine(), FileEngine::Iocp);
    let mut result = |block_bytes: usize, op| {
        let pool = Pool::anonymous(block_bytes, 4).expect("memory");
        let code = |error: io::Error| (error.kind(), error.raw_os_error());
        run(&mut ring, owner, task(&pool, &file, 1, op, 1)).result.map_err(code)
    };
    let (read, write) = (|offset| FileOp::Read { offset }, |offset| FileOp::Write { offset, dsync: false });
    let refused = Err((io::ErrorKind::InvalidInput, Some(ERROR_INVALID_PARAMETER as i32)));
    assert_eq!(result(4096, read(4096)), Ok(()));
    assert_eq!(result(4096, write(0)), Ok(()));
    assert_eq!(result(4096, read(100)), refused);
    assert_eq!(result(4096, write(8)), refused);
    assert_eq!(result(8192, write(4104)), refused);
    assert_eq!(result(8192, read(4096)), Err((io::ErrorKind::UnexpectedEof, None)), "the end is not aligned");
    assert_eq!(result(4096, write(4096)), Ok(()));
}

#[test]
fn a_file_of_one_user_is_left_to_the_workers() {
    let (mut ring, owner, _) = ring();
    let pool = Pool::anonymous(4096, 4).expect("memory");
    let file = std::sync::Arc::new(tempfile::tempfile().expect("a file"));
    let refused = ring.file_by(file.clone(), FileEngine::Iocp).expect_err("nobody else may open it");
    assert_eq!(refused.engine, FileEngine::Iocp);
    let file = ring.file(file);
    assert_eq!(file.engine(), FileEngine::Threads);
    let write = FileOp::Write { offset: 0, dsync: false };
    assert!(run(&mut ring, owner, task(&pool, &file, 1, write, 7)).result.is_ok());
    let read = run(&mut ring, owner, task(&pool, &file, 2, FileOp::Read { offset: 0 }, 0));
    assert!(read.result.is_ok() && read.bufs.holds(&[7; 4096]));
}
