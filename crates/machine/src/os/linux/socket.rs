//! Sockets that are not made by connecting or accepting.

use std::io;
use std::net::TcpStream;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

/// Two stream sockets that are connected to each other, without a network between them.
///
/// # Errors
/// No file descriptors are left.
pub fn connected_sockets() -> io::Result<(TcpStream, TcpStream)> {
    let (one, other) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    Ok((one.into(), other.into()))
}
