//! Sockets, where a ring is not the way.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use crate::limits::SOCKET_BUFFER_BYTES;
use crate::os::SocketBuffers;

/// Two sockets that are connected to each other, over loopback.
///
/// # Errors
/// Those of the sockets.
pub fn connected_sockets() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let one = TcpStream::connect(listener.local_addr()?)?;
    Ok((one, listener.accept()?.0))
}

/// Windows sets no limit that could be read.
pub(crate) fn largest_socket_buffers() -> SocketBuffers {
    SocketBuffers { send: SOCKET_BUFFER_BYTES, receive: SOCKET_BUFFER_BYTES }
}
