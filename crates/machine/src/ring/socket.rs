//! TCP sockets: called directly, never blocking; the ring says when another call is worth it.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;

use socket2::{Domain, Protocol, SockRef, TcpKeepalive, Type};

use super::Owner;
use super::interest::{Interests, State};
use crate::limits::{KEEPALIVE_IDLE, LISTEN_BACKLOG, MAX_IOVECS, SOCKET_BUFFER_BYTES};
use crate::os;
use crate::reactor::Arm;

/// The address of a socket that has none.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A connected TCP socket that belongs to one ring, until it leaves it. Dropping it closes the connection.
pub struct Socket {
    stream: mio::net::TcpStream,
    state: Rc<State>,
    interests: Rc<Interests>,
    peer: SocketAddr,
    local: SocketAddr,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, owner: Owner, key: u32, interests: &Rc<Interests>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let socket = SockRef::from(&stream);
        ask_for_buffers(&socket);
        let (peer, local) = if socket.local_addr()?.is_unix() {
            // Of `os::connected_sockets`.
            (NOWHERE, NOWHERE)
        } else {
            stream.set_nodelay(true)?;
            // A peer that is gone without a word is found out by the operating system, if by nobody else.
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_IDLE))?;
            (stream.peer_addr()?, stream.local_addr()?)
        };
        let mut stream = mio::net::TcpStream::from_std(stream);
        let state = interests.register(&mut stream, owner, key)?;
        Ok(Self { stream, state, interests: Rc::clone(interests), peer, local })
    }

    /// Receives into the buffers, in order. `None`: would block. `Some(0)`: the peer has closed its side.
    /// Only the first [`MAX_IOVECS`] buffers are used; together they must have room.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn try_recv(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        let used = bufs.len().min(MAX_IOVECS);
        let bufs = &mut bufs[..used];
        let room: usize = bufs.iter().map(|buf| buf.len()).sum();
        debug_assert!(room > 0, "without room the end of the stream cannot be told from nothing");
        // One buffer is the usual case, and for that recv is shorter than readv.
        let received = unless_blocked(|| match bufs {
            [one] => (&self.stream).read(one),
            _ => (&self.stream).read_vectored(bufs),
        })?;
        match received {
            None => self.interests.await_readable(&self.state),
            Some(0) => self.state.drained.set(true),
            Some(bytes) if bytes < room => self.interests.await_more(&self.state, &self.stream),
            Some(_) => self.state.drained.set(false),
        }
        Ok(received)
    }

    /// Sends from the buffers, in order; at most [`MAX_IOVECS`] of them. `None`: would block. After that, and when less
    /// than all was sent, [`super::Ready::writable`] comes when there is room again.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn try_send(&self, bufs: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        // As above; and sendmsg is shorter than writev, which first takes care of a file position.
        let sent = unless_blocked(|| match bufs {
            [one] => (&self.stream).write(one),
            _ => {
                let bufs = &bufs[..bufs.len().min(MAX_IOVECS)];
                self.stream.try_io(|| SockRef::from(&self.stream).send_vectored(bufs))
            }
        })?;
        match sent {
            None => self.interests.await_writable(&self.state),
            Some(bytes) if !SHORT_IS_BLOCKED => return Ok(Some(self.send_rest(bufs, bytes))),
            Some(_) => {}
        }
        Ok(sent)
    }

    /// Goes on until all is sent or a call has found no room; the bytes sent. If the connection breaks, the next call
    /// tells.
    fn send_rest(&self, bufs: &[IoSlice<'_>], mut sent: usize) -> usize {
        let mut end = 0;
        for buf in &bufs[..bufs.len().min(MAX_IOVECS)] {
            end += buf.len();
            while sent < end {
                match unless_blocked(|| (&self.stream).write(&buf[buf.len() - (end - sent)..])) {
                    Ok(Some(bytes)) => sent += bytes,
                    Ok(None) => {
                        self.interests.await_writable(&self.state);
                        return sent;
                    }
                    Err(_) => return sent,
                }
            }
        }
        sent
    }

    /// Tells the peer that nothing more will come; receiving goes on. The peer sees the end of the stream after all
    /// that was sent. Where that fails the connection is broken, which the next call tells.
    pub fn finish_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Nothing was left to receive when last tried, and no event has come since.
    #[must_use]
    pub fn drained(&self) -> bool {
        self.state.drained.get()
    }

    /// Takes the connection out of its ring, for another one.
    ///
    /// # Errors
    /// The process has no file descriptor left: for a moment it takes one more. The connection is closed then.
    pub fn leave(self) -> io::Result<TcpStream> {
        Ok(SockRef::from(&self.stream).try_clone()?.into())
    }

    /// The key it was registered with.
    #[must_use]
    pub fn key(&self) -> u32 {
        self.state.key
    }

    /// The other side.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// The address that the peer reached.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn arm(&self) -> Arm {
        arm(&self.state)
    }

    #[cfg(all(test, windows))]
    pub(super) fn is_readable(&self) -> bool {
        self.state.is_readable()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.interests.deregister(&mut self.stream, &self.state);
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket({} <- {})", self.local, self.peer)
    }
}

/// A listening TCP socket. Its readiness comes through [`super::Ring::ready`] under its key.
pub struct Listener {
    listener: mio::net::TcpListener,
    state: Rc<State>,
    interests: Rc<Interests>,
    local: SocketAddr,
}

impl Listener {
    pub(super) fn new(address: SocketAddr, owner: Owner, key: u32, interests: &Rc<Interests>) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for old connections to time out. On Windows the option means something else.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        // Accepted connections inherit the sizes; window scaling is agreed on before they are accepted.
        ask_for_buffers(&SockRef::from(&socket));
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(LISTEN_BACKLOG)?;
        let mut listener = mio::net::TcpListener::from_std(socket.into());
        let local = listener.local_addr()?;
        let state = interests.register(&mut listener, owner, key)?;
        Ok(Self { listener, state, interests: Rc::clone(interests), local })
    }

    /// The next connection and its peer; `None`: nobody waits. A connection that broke before it was accepted is
    /// skipped.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM` pass with time: the connections stay in the backlog, no new event comes
    /// for them, and the caller tries again a little later.
    pub fn try_accept(&self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        loop {
            match unless_blocked(|| self.listener.accept()) {
                Ok(Some((stream, peer))) => return Ok(Some((stream.into(), peer))),
                Ok(None) => {
                    self.interests.await_readable(&self.state);
                    return Ok(None);
                }
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The address it listens on, with the port that was chosen if it was 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn arm(&self) -> Arm {
        arm(&self.state)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.interests.deregister(&mut self.listener, &self.state);
    }
}

/// epoll(7) tells of room after a send that found too little, Windows only after one that found none.
const SHORT_IS_BLOCKED: bool = cfg!(unix);

fn arm(state: &State) -> Arm {
    if state.drained.get() && !state.listed() { Arm::Armed } else { Arm::Busy }
}

fn unless_blocked<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<Option<T>> {
    loop {
        match call() {
            Ok(value) => return Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Large buffers, so that a burst of 128 KiB transfers fits. Setting a size ends the kernel's own tuning of it, so this
/// is done only where the kernel would grant it. It is a hint: a refusal costs speed only.
fn ask_for_buffers(socket: &SockRef<'_>) {
    let largest = os::largest_socket_buffers();
    if largest.send >= SOCKET_BUFFER_BYTES {
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    }
    if largest.receive >= SOCKET_BUFFER_BYTES {
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    }
}
