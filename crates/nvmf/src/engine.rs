//! What the connections of one reactor share: the queues into the devices, the buffers, and the commands that wait.

use std::collections::VecDeque;
use std::sync::Arc;

use block::{Completions, Data, Device, Info, Op, Queue, Refused, Request, Tag};
use machine::clock::Coarse;
use machine::region::{Buf, Pool};
use machine::ring::Ring;

use crate::command::{Payload, Stages};
use crate::limits::{LANDING_BYTES, LARGE_BUFFER, RESERVED_BUFFERS, SMALL_BUFFER};
use crate::stats::Recorder;
use crate::target::Target;
use crate::usage::Usage;

/// A command in flight at a device: which connection, which of its commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Index of the connection on this reactor.
    pub(crate) connection: u32,
    /// Counts the connections that have had this index: a late completion cannot hit a new one.
    pub(crate) generation: u16,
    /// The command's slot.
    pub(crate) slot: u16,
}

impl Owner {
    pub(crate) fn tag(self) -> Tag {
        u64::from(self.connection) << 32 | u64::from(self.generation) << 16 | u64::from(self.slot)
    }

    pub(crate) fn of(tag: Tag) -> Self {
        Self { connection: (tag >> 32) as u32, generation: (tag >> 16) as u16, slot: tag as u16 }
    }
}

/// A namespace as this reactor reaches it.
pub(crate) struct Namespace {
    pub(crate) device: Arc<dyn Device>,
    pub(crate) info: Info,
    queue: Box<dyn Queue>,
    submitted: bool,
}

/// See the module.
pub(crate) struct Engine {
    pub(crate) target: Arc<Target>,
    pub(crate) namespaces: Vec<Namespace>,
    /// Commands that wait for a buffer or for room in a queue.
    pub(crate) waiting: VecDeque<Owner>,
    /// Commands of all connections, by stage.
    pub(crate) stages: Stages,
    /// What was read and written since it was last added to the target's total.
    pub(crate) usage: Usage,
    /// What was done for whom.
    pub(crate) stats: Recorder,
    small: Pool,
    large: Pool,
}

/// What a connection needs of its reactor while it works.
pub(crate) struct Pass<'a> {
    pub(crate) engine: &'a mut Engine,
    pub(crate) ring: &'a mut Ring,
    pub(crate) now: Coarse,
}

/// Why a request could not be submitted now: what is needed comes back with completions.
pub(crate) enum Wait {
    /// No buffer is free.
    Buffer,
    /// The device's queue is full; what was carried comes back.
    Queue(Payload),
}

impl Engine {
    /// Opens a queue on every device.
    ///
    /// # Errors
    /// Of the devices, or if there is no memory for the buffers.
    pub(crate) fn new(target: Arc<Target>, ring: &mut Ring, stats: Recorder) -> std::io::Result<Self> {
        let mut namespaces = Vec::new();
        for (_, device) in target.namespaces() {
            let queue = device.open_queue(ring)?;
            let info = device.info().clone();
            namespaces.push(Namespace { device: Arc::clone(device), info, queue, submitted: false });
        }
        let small = Pool::anonymous(SMALL_BUFFER.0, SMALL_BUFFER.1)?;
        // The small ones only: registered memory is resident, and of a limited amount.
        ring.register_pool(&small);
        let large = Pool::anonymous(LARGE_BUFFER.0, LARGE_BUFFER.1)?;
        Ok(Self {
            target,
            namespaces,
            waiting: VecDeque::new(),
            stages: Stages::default(),
            usage: Usage::default(),
            stats,
            small,
            large,
        })
    }

    /// The index of a namespace, if the ID is one of ours.
    pub(crate) fn namespace(&self, nsid: u32) -> Option<usize> {
        let index = nsid.checked_sub(1)? as usize;
        (index < self.namespaces.len()).then_some(index)
    }

    /// A buffer of `bytes` for a transfer whose pace the peer decides: data it still has to send or to read. The last
    /// [`RESERVED_BUFFERS`] are not for those.
    pub(crate) fn buffer(&self, bytes: usize) -> Option<Buf> {
        self.take(bytes, RESERVED_BUFFERS)
    }

    /// A place for the data of a write that the host is asked for: the device's own memory if the write is large and
    /// the device lends, else a buffer. None if there is no room.
    pub(crate) fn place(&mut self, at: usize, op: Option<Op>, bytes: u32) -> Payload {
        let range = op.and_then(|op| op.range()).filter(|_| bytes >= LANDING_BYTES);
        match range.and_then(|range| self.namespaces[at].queue.land(range)) {
            Some(landing) => Payload::Landing(landing),
            None => self.buffer(bytes as usize).map_or(Payload::None, Payload::Buf),
        }
    }

    /// A buffer that others are not short of: at least half of the large ones stay free.
    pub(crate) fn spare_buffer(&self, bytes: usize) -> Option<Buf> {
        self.take(bytes, LARGE_BUFFER.1 / 2)
    }

    /// Whether no large buffer is left for transfers whose pace the peer decides.
    pub(crate) fn is_short_of_buffers(&self) -> bool {
        self.large.free() <= RESERVED_BUFFERS
    }

    /// Whether a buffer for in-capsule data is certain to be had: asked before a capsule is taken. What holds the
    /// reserve is with a device and comes back by itself, so that this cannot stay false.
    pub(crate) fn has_buffer(&self) -> bool {
        self.large.free() > 0
    }

    /// Buffers that are not free.
    pub(crate) fn buffers_in_use(&self) -> usize {
        SMALL_BUFFER.1 + LARGE_BUFFER.1 - self.small.free() - self.large.free()
    }

    /// Small transfers take from the small pool first; large buffers only while more than `reserved` are free.
    fn take(&self, bytes: usize, reserved: usize) -> Option<Buf> {
        let small = if bytes <= SMALL_BUFFER.0 { self.small.take() } else { None };
        let large = || if self.large.free() > reserved { self.large.take() } else { None };
        let mut buf = small.or_else(large)?;
        buf.set_len(bytes);
        Some(buf)
    }

    pub(crate) fn begin(&mut self) {
        for namespace in &mut self.namespaces {
            namespace.queue.begin();
        }
    }

    pub(crate) fn end(&mut self) {
        for namespace in &mut self.namespaces {
            namespace.queue.end();
        }
    }

    /// Submits a read of `bytes`: lent if the device lends, else into a buffer.
    pub(crate) fn read(&mut self, ring: &mut Ring, at: usize, tag: Tag, op: Op, bytes: usize) -> Result<(), Wait> {
        let data = if self.namespaces[at].info.features.lends {
            Data::Lend
        } else {
            Data::Carried(self.buffer(bytes).ok_or(Wait::Buffer)?)
        };
        self.submit(ring, at, Request { tag, op, data })
    }

    /// Submits a write whose bytes lie in the receive buffer, or were received into a buffer.
    pub(crate) fn write(&mut self, ring: &mut Ring, at: usize, tag: Tag, op: Op, bytes: &[u8]) -> Result<(), Wait> {
        let data = if self.namespaces[at].info.features.lends {
            Data::Inline(bytes)
        } else {
            Data::Carried(self.copy(bytes).ok_or(Wait::Buffer)?)
        };
        match self.submit(ring, at, Request { tag, op, data }) {
            Err(Wait::Queue(Payload::None)) => Err(Wait::Queue(self.copy(bytes).map_or(Payload::None, Payload::Buf))),
            other => other,
        }
    }

    /// Submits a request that needs no further buffer.
    pub(crate) fn submit(&mut self, ring: &mut Ring, at: usize, request: Request<'_>) -> Result<(), Wait> {
        let namespace = &mut self.namespaces[at];
        match namespace.queue.submit(ring, request) {
            Ok(()) => {
                namespace.submitted = true;
                Ok(())
            }
            Err(Refused(Request { data, .. })) => Err(Wait::Queue(Payload::of_refused(data))),
        }
    }

    /// A buffer with a copy of `bytes`.
    pub(crate) fn copy(&self, bytes: &[u8]) -> Option<Buf> {
        let mut buf = self.take(bytes.len(), 0)?;
        buf.copy_from_slice(bytes);
        Some(buf)
    }

    /// Sends what was submitted on its way and collects what is finished.
    pub(crate) fn poll(&mut self, ring: &mut Ring, out: &mut Completions) {
        for namespace in &mut self.namespaces {
            if std::mem::take(&mut namespace.submitted) {
                namespace.queue.kick(ring);
            }
            if namespace.queue.in_flight() > 0 {
                namespace.queue.poll(ring, out);
            }
        }
    }

    pub(crate) fn arm(&mut self, ring: &mut Ring) -> machine::reactor::Arm {
        use machine::reactor::Arm;
        let mut all = Arm::Armed;
        for namespace in &mut self.namespaces {
            if namespace.queue.in_flight() > 0 {
                all = all.and(namespace.queue.arm(ring));
            }
        }
        all
    }

    pub(crate) fn disarm(&mut self) {
        for namespace in &mut self.namespaces {
            namespace.queue.disarm();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_name_their_owner() {
        for owner in [
            Owner { connection: 0, generation: 0, slot: 0 },
            Owner { connection: u32::MAX, generation: 1, slot: 127 },
            Owner { connection: 7, generation: u16::MAX, slot: u16::MAX },
        ] {
            assert_eq!(Owner::of(owner.tag()), owner);
        }
    }
}
