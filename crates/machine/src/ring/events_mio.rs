//! What tells of sockets and of other threads' wake-ups: `mio`, edge-triggered, each socket registered once. Windows
//! has `events_windows.rs` in its place.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use mio::event::Source;
use mio::{Interest, Token};

use super::RingKind;
use super::interest::Happened;
use super::iocp::Iocp;
use crate::limits::MAX_EVENTS;

/// Where sockets are registered.
pub(super) type Registry = mio::Registry;
/// What another thread ends a wait with.
pub(super) type Signal = mio::Waker;
/// What is kept of a registered socket: nothing.
pub(super) struct Registration;
/// What can be registered.
pub(super) use mio::event::Source as Watchable;

pub(super) struct Poll {
    poll: mio::Poll,
    events: mio::Events,
}

impl Poll {
    pub(super) fn new(_kind: RingKind) -> io::Result<Self> {
        Ok(Self { poll: mio::Poll::new()?, events: mio::Events::with_capacity(MAX_EVENTS) })
    }

    pub(super) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// The port of the ring, where files complete: there is none.
    pub(super) fn iocp(&self) -> Option<Iocp> {
        None
    }

    /// Waits for events, and tells what has happened to whom.
    pub(super) fn wait(&mut self, timeout: Option<Duration>, mut note: impl FnMut(Token, Happened)) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        self.events.iter().for_each(|event| note(event.token(), Happened::of(event)));
        Ok(())
    }
}

impl AsRawFd for Poll {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

pub(super) fn signal(registry: &Registry, token: Token) -> io::Result<Signal> {
    mio::Waker::new(registry, token)
}

pub(super) fn register(registry: &Registry, source: &mut impl Source, token: Token) -> io::Result<Registration> {
    registry.register(source, token, Interest::READABLE | Interest::WRITABLE)?;
    Ok(Registration)
}

pub(super) fn deregister(registry: &Registry, source: &mut impl Source, _: &Registration) {
    // An error means that the kernel has forgotten the socket already.
    let _ = registry.deregister(source);
}

/// After a call that found nothing to receive or to accept: whether what comes will be told of. Costs nothing here.
pub(super) fn await_readable(_registry: &Registry, _: &Registration) -> bool {
    true
}

/// After a receive that got less than there was room for: whether it has emptied the socket (epoll(7)), so that what
/// comes will be told of.
pub(super) fn await_more(_registry: &Registry, _: &Registration, _stream: &mio::net::TcpStream) -> bool {
    true
}

/// After a send that found no room: when there is some will be told of. Costs nothing here.
pub(super) fn await_writable(_registry: &Registry, _: &Registration) {}
