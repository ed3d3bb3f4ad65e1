//! Where there is no `io_uring`: the same surface, and never a value of it.

use std::convert::Infallible;
use std::fs::File;
use std::marker::PhantomData;
use std::sync::Arc;

use super::{ChannelOptions, Done, NoChannel, Task};
use crate::reactor::Arm;
use crate::ring::{NoUring, Owner, Ring};

/// The way of many commands at once to one device: not on this system.
pub struct Channel<T>(Infallible, PhantomData<T>);

#[allow(clippy::missing_errors_doc, reason = "see the other one")]
impl<T> Channel<T> {
    /// None.
    pub fn new(_: Arc<File>, _: ChannelOptions, _: &mut Ring, _: Owner) -> Result<Self, NoChannel> {
        let why = "this system is not Linux".to_owned();
        let hint = "On Windows, path=ioctl takes commands to a drive, one at a time.".to_owned();
        Err(NoChannel::Ring(NoUring { why, hint }))
    }

    /// Never called.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        match self.0 {}
    }

    /// Never called.
    pub fn submit(&mut self, _task: Task<T>) -> Result<(), Task<T>> {
        match self.0 {}
    }

    /// Never called.
    pub fn kick(&mut self) {
        match self.0 {}
    }

    /// Never called.
    pub fn poll(&mut self, _out: &mut Vec<Done<T>>) {
        match self.0 {}
    }

    /// Never called.
    pub fn arm(&mut self) -> Arm {
        match self.0 {}
    }

    /// Never called.
    pub fn silence(&mut self) {
        match self.0 {}
    }

    /// Never called.
    pub fn disarm(&mut self) {
        match self.0 {}
    }
}
