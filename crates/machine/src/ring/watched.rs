//! A descriptor whose events wake a ring, and mean nothing more: what they are for is asked for elsewhere.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use mio::unix::SourceFd;

use super::Owner;
use super::interest::{Interests, State};

/// A descriptor that is watched until this is dropped, which closes it.
pub(crate) struct Watched {
    fd: OwnedFd,
    state: Rc<State>,
    interests: Rc<Interests>,
}

impl Watched {
    pub(super) fn new(fd: OwnedFd, owner: Owner, interests: &Rc<Interests>) -> io::Result<Self> {
        let state = interests.register(&mut SourceFd(&fd.as_raw_fd()), owner, 0)?;
        Ok(Self { fd, state, interests: Rc::clone(interests) })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.interests.deregister(&mut SourceFd(&self.fd.as_raw_fd()), &self.state);
    }
}
