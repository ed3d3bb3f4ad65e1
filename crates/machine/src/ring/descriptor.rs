//! What somebody else's event loop waits for in the place of a ring.

use super::events::Poll;

/// Readable when there may be something to do for its ring, from [`super::Ring::leave`] on. It stays the ring's own,
/// is valid as long as the ring is, and nothing is read from it. There are none on systems that wait for something else
/// than descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    #[cfg(unix)]
    fd: std::os::fd::RawFd,
    #[cfg(not(unix))]
    none: std::convert::Infallible,
}

impl Descriptor {
    #[cfg(unix)]
    pub(super) fn of(poll: &Poll) -> Option<Self> {
        Some(Self { fd: std::os::fd::AsRawFd::as_raw_fd(poll) })
    }

    #[cfg(not(unix))]
    pub(super) fn of(_poll: &Poll) -> Option<Self> {
        None
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd
    }
}
