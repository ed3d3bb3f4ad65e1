//! What must be done so that the bytes of a region survive: the seam between memory and durability.
//!
//! ```text
//!     write bytes ... persist(range) ... persist(range) ... fence()     only now may anybody be told
//! ```
//!
//! Three ways today: nothing helps ([`None`]), `msync` ([`Msync`]), and one that only writes down what it was asked
//! ([`Recorder`]) so that tests can check the order. Cache-line write-back on persistent memory will be the fourth.

use std::io;
use std::mem;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::backing::Mapping;

/// What makes the bytes of a region survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: they end with the process.
    None,
    /// A system call that writes pages to the file.
    Msync,
}

/// One way to make bytes survive.
pub(super) trait Persist: Send + Sync {
    fn durability(&self) -> Durability;

    /// `range` is inside of the mapping.
    fn persist(&self, mapping: &Mapping, range: Range<usize>) -> io::Result<()>;

    fn fence(&self) -> io::Result<()>;
}

/// Bytes that end with the process: there is nothing to do.
pub(super) struct None;

impl Persist for None {
    fn durability(&self) -> Durability {
        Durability::None
    }

    fn persist(&self, _mapping: &Mapping, _range: Range<usize>) -> io::Result<()> {
        Ok(())
    }

    fn fence(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Pages of a file's mapping. `msync(MS_SYNC)` waits, so that nothing is left for the fence.
pub(super) struct Msync;

impl Persist for Msync {
    fn durability(&self) -> Durability {
        Durability::Msync
    }

    fn persist(&self, mapping: &Mapping, range: Range<usize>) -> io::Result<()> {
        mapping.sync(range)
    }

    fn fence(&self) -> io::Result<()> {
        Ok(())
    }
}

/// What a [`Recorder`] saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// [`super::Region::persist`] with this range of bytes.
    Persist(Range<usize>),
    /// [`super::Region::fence`].
    Fence,
}

/// Writes down what is done for the durability of a region, in order. For tests: it grows with every call.
#[derive(Default)]
pub struct Recorder {
    events: Mutex<Vec<Event>>,
}

impl Recorder {
    /// What happened since the last call.
    pub fn take(&self) -> Vec<Event> {
        mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

impl Persist for Arc<Recorder> {
    fn durability(&self) -> Durability {
        Durability::Msync
    }

    fn persist(&self, _mapping: &Mapping, range: Range<usize>) -> io::Result<()> {
        self.note(Event::Persist(range));
        Ok(())
    }

    fn fence(&self) -> io::Result<()> {
        self.note(Event::Fence);
        Ok(())
    }
}
