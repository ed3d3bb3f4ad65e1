//! What tells of sockets and of other threads' wake-ups on Windows: a completion port, which is `mio`'s own for a
//! portable ring and ours (`iocp`) for one of that kind.
//!
//! Neither tells twice by itself, as epoll does with its edges: after each event it has to be asked anew, and that is
//! when a call finds nothing to do.

use std::io::{self, ErrorKind};
use std::os::windows::io::AsRawSocket;
use std::rc::Rc;
use std::time::Duration;

use mio::event::Source;
use mio::{Interest, Token};

use super::RingKind;
use super::interest::Happened;
use super::iocp::{Iocp, Port, PortSignal, Watch};
use crate::limits::MAX_EVENTS;

/// Where sockets are registered.
pub(super) enum Registry {
    Mio(mio::Registry),
    Port(Rc<Port>),
}

impl Registry {
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Mio(registry) => Self::Mio(registry.try_clone()?),
            Self::Port(port) => Self::Port(Rc::clone(port)),
        })
    }
}

/// What is kept of a registered socket.
pub(super) enum Registration {
    /// Nothing: the socket itself keeps it.
    Mio,
    Port(Watch),
}

/// What another thread ends a wait with.
pub(super) enum Signal {
    Mio(mio::Waker),
    Port(PortSignal),
}

impl Signal {
    pub(super) fn wake(&self) -> io::Result<()> {
        match self {
            Self::Mio(waker) => waker.wake(),
            Self::Port(signal) => signal.wake(),
        }
    }
}

/// What can be registered.
pub(super) trait Watchable: Source + AsRawSocket {}

impl<T: Source + AsRawSocket> Watchable for T {}

pub(super) struct Poll {
    registry: Registry,
    mio: Option<(mio::Poll, mio::Events)>,
}

impl Poll {
    pub(super) fn new(kind: RingKind) -> io::Result<Self> {
        if kind == RingKind::Iocp {
            return Ok(Self { registry: Registry::Port(Port::new()?), mio: None });
        }
        let poll = mio::Poll::new()?;
        let registry = Registry::Mio(poll.registry().try_clone()?);
        Ok(Self { registry, mio: Some((poll, mio::Events::with_capacity(MAX_EVENTS))) })
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The port of the ring, where files complete, if it is ours.
    pub(super) fn iocp(&self) -> Option<Iocp> {
        match &self.registry {
            Registry::Mio(_) => None,
            Registry::Port(port) => Some(Iocp::of(port)),
        }
    }

    /// Waits for events, and tells what has happened to whom.
    pub(super) fn wait(&mut self, timeout: Option<Duration>, mut note: impl FnMut(Token, Happened)) -> io::Result<()> {
        match (&self.registry, &mut self.mio) {
            (Registry::Port(port), _) => {
                port.wait(timeout)?;
                port.take_events(note);
            }
            (Registry::Mio(_), mio) => {
                let (poll, events) = mio.as_mut().expect("made with the registry");
                poll.poll(events, timeout)?;
                events.iter().for_each(|event| note(event.token(), Happened::of(event)));
            }
        }
        Ok(())
    }
}

pub(super) fn signal(registry: &Registry, token: Token) -> io::Result<Signal> {
    Ok(match registry {
        Registry::Mio(registry) => Signal::Mio(mio::Waker::new(registry, token)?),
        Registry::Port(port) => Signal::Port(port.signal()),
    })
}

pub(super) fn register(registry: &Registry, source: &mut impl Watchable, token: Token) -> io::Result<Registration> {
    Ok(match registry {
        Registry::Mio(registry) => {
            registry.register(source, token, Interest::READABLE | Interest::WRITABLE)?;
            Registration::Mio
        }
        Registry::Port(port) => Registration::Port(port.watch(source.as_raw_socket(), token)?),
    })
}

pub(super) fn deregister(registry: &Registry, source: &mut impl Watchable, registration: &Registration) {
    match (registry, registration) {
        (Registry::Port(port), Registration::Port(watch)) => port.forget(watch),
        (Registry::Mio(registry), _) => {
            // An error means that the system has forgotten the socket already.
            let _ = registry.deregister(source);
        }
        (Registry::Port(_), Registration::Mio) => unreachable!("registered elsewhere"),
    }
}

/// After a call that found nothing to receive or to accept: whether what comes will be told of, or something has come.
/// `mio` has seen the call.
pub(super) fn await_readable(registry: &Registry, registration: &Registration) -> bool {
    match (registry, registration) {
        (Registry::Port(port), Registration::Port(watch)) => port.await_readable(watch),
        _ => true,
    }
}

/// After a receive that got less than there was room for: whether what comes will be told of. `mio` has to see a call
/// that finds nothing first.
pub(super) fn await_more(registry: &Registry, registration: &Registration, stream: &mio::net::TcpStream) -> bool {
    match registry {
        Registry::Mio(_) => stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
        Registry::Port(_) => await_readable(registry, registration),
    }
}

/// After a send that found no room: when there is some will be told of. `mio` has seen the call.
pub(super) fn await_writable(registry: &Registry, registration: &Registration) {
    if let (Registry::Port(port), Registration::Port(watch)) = (registry, registration) {
        port.await_writable(watch);
    }
}
