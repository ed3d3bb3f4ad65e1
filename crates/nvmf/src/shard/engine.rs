//! What the connections of one reactor share: the queues into the devices, the buffers, and the commands that wait.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use block::limits::MAX_COPY_SOURCES;
use block::{Completions, Data, Device, Info, Op, Queue, Range, Refused, Request, Tag};
use machine::clock::Coarse;
use machine::region::{Buf, Pool};
use machine::ring::Ring;
use wire::nvme::Status;
use wire::nvme::dsm::MAX_RANGES;

use crate::connection::command::{Payload, Stages};
use crate::connection::copy;
use crate::layout::order::Unopened;
use crate::layout::plan::{Plan, Served};
use crate::limits::{CONNECTIONS_PER_REACTOR, LANDING_BYTES, LARGE_BUFFER, RESERVED_BUFFERS, SMALL_BUFFER};
use crate::reservation::Access;
use crate::reservation::desk::Fence;
use crate::shard::exclusive::{Exclusive, Key};
use crate::stats::Recorder;
use crate::target::Target;
use crate::target::usage::Usage;

/// A command in flight at a device: which connection, which of its commands.
///
/// ```text
///   tag   | part 8 | connection 24 | generation 16 | slot 16 |     part: which request of a command that is several
/// ```
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
    /// The tag of its only request, or of the first one.
    pub(crate) fn tag(self) -> Tag {
        u64::from(self.connection) << 32 | u64::from(self.generation) << 16 | u64::from(self.slot)
    }

    /// The tag of one of its requests.
    pub(crate) fn tag_of(self, part: u32) -> Tag {
        u64::from(part) << 56 | self.tag()
    }

    /// Whose request that is, whichever of them.
    pub(crate) fn of(tag: Tag) -> Self {
        Self { connection: (tag >> 32) as u32 & LAST_CONNECTION, generation: (tag >> 16) as u16, slot: tag as u16 }
    }
}

/// The highest index of a connection that a tag has room for.
const LAST_CONNECTION: u32 = 0xff_ffff;
const _: () = assert!(CONNECTIONS_PER_REACTOR <= LAST_CONNECTION as usize && MAX_RANGES <= 1 << 8);

/// A namespace as this reactor reaches it.
pub(crate) struct Namespace {
    /// The number of the plan's namespace.
    pub(crate) id: u32,
    /// Whether it has gone: what devices have of it is still answered, and then it is closed.
    leaving: bool,
    pub(crate) device: Arc<dyn Device>,
    pub(crate) info: Info,
    queue: Box<dyn Queue>,
    submitted: bool,
    /// Who may do what: a snapshot of its reservations.
    pub(crate) access: Access,
    /// Its device, where blocks are given away.
    pub(crate) key: Key,
}

/// The namespaces of a subsystem as this reactor reaches them. Shared by the connections to it.
pub(crate) struct View {
    /// The subsystem's number.
    id: u32,
    nqn: String,
    /// By namespace ID, the index; it changes with the plan.
    places: RefCell<Vec<Option<u16>>>,
}

impl View {
    /// The subsystem's NQN.
    pub(crate) fn nqn(&self) -> &str {
        &self.nqn
    }

    /// The index of a namespace, if there is one of this ID.
    pub(crate) fn find(&self, nsid: u32) -> Option<usize> {
        self.places.borrow().get(nsid as usize).copied().flatten().map(usize::from)
    }
}

/// See the module.
pub(crate) struct Engine {
    pub(crate) target: Arc<Target>,
    /// The number of this reactor.
    pub(crate) reactor: usize,
    /// By index; the holes are free. Commands remember the index.
    namespaces: Vec<Option<Namespace>>,
    plan: Arc<Plan>,
    views: Vec<Rc<View>>,
    /// Commands that wait for a buffer or for room in a queue.
    pub(crate) waiting: VecDeque<Owner>,
    /// Commands of all connections, by stage.
    pub(crate) stages: Stages,
    /// What was read and written since it was last added to the target's total.
    pub(crate) usage: Usage,
    /// What was done for whom.
    pub(crate) stats: Recorder,
    /// Ranges of blocks that a reactor has for itself.
    pub(crate) exclusive: Exclusive,
    /// The sources of a copy that is being submitted; kept for its room.
    sources: Vec<Range>,
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
    /// An engine without namespaces: they come with a plan.
    pub(crate) fn new(
        target: Arc<Target>,
        exclusive: Exclusive,
        reactor: usize,
        stats: Recorder,
        (small, large): (Pool, Pool),
    ) -> Self {
        Self {
            target,
            reactor,
            namespaces: Vec::new(),
            plan: Arc::default(),
            views: Vec::new(),
            waiting: VecDeque::new(),
            stages: Stages::default(),
            usage: Usage::default(),
            stats,
            exclusive,
            sources: Vec::with_capacity(MAX_COPY_SOURCES),
            small,
            large,
        }
    }

    /// Gives the buffers back. No command may have one.
    pub(super) fn retire(mut self, ring: &mut Ring) -> (Pool, Pool) {
        self.close(ring, |_| true);
        (self.small, self.large)
    }

    /// Opens a queue into each device of `plan` that has none here yet. Commands do not reach it before
    /// [`Engine::install`].
    pub(crate) fn prepare(&mut self, ring: &mut Ring, plan: &Plan) -> Result<(), Unopened> {
        for (_, _, namespace) in plan.namespaces() {
            if self.index_of(namespace.id).is_some() {
                continue;
            }
            let device = namespace.device.clone();
            let queue =
                device.open_queue(ring).map_err(|error| Unopened { device: device.info().name.clone(), error })?;
            let info = device.info().clone();
            let key = Key::of(&info);
            let access = self.target.reservations.state(namespace.id).map_or_else(Access::open, |state| state.access());
            let opened = Some(Namespace {
                id: namespace.id,
                leaving: false,
                device,
                info,
                queue,
                submitted: false,
                access,
                key,
            });
            match self.namespaces.iter().position(Option::is_none) {
                Some(free) => self.namespaces[free] = opened,
                None => self.namespaces.push(opened),
            }
        }
        Ok(())
    }

    /// Closes what was prepared and is not in the plan.
    pub(crate) fn forget(&mut self, ring: &mut Ring) {
        let plan = self.plan.clone();
        self.close(ring, |namespace| !namespace.leaving && !plan.has_namespace(namespace.id));
    }

    /// Goes by `plan`, which was prepared. Namespaces that it does not have are leaving from now on.
    pub(crate) fn install(&mut self, plan: Arc<Plan>) {
        self.plan = plan;
        for namespace in self.namespaces.iter_mut().flatten() {
            namespace.leaving |= !self.plan.has_namespace(namespace.id);
        }
        self.views.retain(|view| Rc::strong_count(view) > 1);
        for view in &self.views {
            view.places.replace(self.places(view.id));
        }
    }

    /// The indexes of the namespaces that are leaving.
    pub(crate) fn leaving(&self) -> impl Iterator<Item = usize> {
        let all = self.namespaces.iter().enumerate();
        all.filter(|(_, at)| at.as_ref().is_some_and(|namespace| namespace.leaving)).map(|(index, _)| index)
    }

    /// Whether the device of a namespace has no request.
    pub(crate) fn is_idle(&self, at: usize) -> bool {
        self.namespaces[at].as_ref().is_none_or(|namespace| namespace.queue.in_flight() == 0)
    }

    /// Closes a namespace that no command needs any more.
    pub(crate) fn release(&mut self, ring: &mut Ring, at: usize) {
        let id = self.at(at).id;
        self.close(ring, |namespace| namespace.id == id);
    }

    fn close(&mut self, ring: &mut Ring, which: impl Fn(&Namespace) -> bool) {
        for place in &mut self.namespaces {
            if let Some(mut namespace) = place.take_if(|namespace| which(namespace)) {
                namespace.queue.close(ring);
            }
        }
    }

    /// Goes by the access of `fence` from now on. The index of its namespace, if that is served here.
    pub(crate) fn set_access(&mut self, fence: &Fence) -> Option<usize> {
        let at = self.index_of(fence.namespace)?;
        self.at_mut(at).access = fence.access.clone();
        Some(at)
    }

    pub(crate) fn index_of(&self, id: u32) -> Option<usize> {
        self.namespaces.iter().position(|place| place.as_ref().is_some_and(|namespace| namespace.id == id))
    }

    /// The namespaces of a subsystem, for a connection: it changes with the plan.
    pub(crate) fn view(&mut self, subsystem: &Served) -> Rc<View> {
        if let Some(view) = self.views.iter().find(|view| view.id == subsystem.id) {
            return view.clone();
        }
        let places = RefCell::new(self.places(subsystem.id));
        let view = Rc::new(View { id: subsystem.id, nqn: subsystem.nqn().to_owned(), places });
        self.views.push(view.clone());
        view
    }

    /// By namespace ID, the index of each namespace that a subsystem has by the plan.
    fn places(&self, subsystem: u32) -> Vec<Option<u16>> {
        let mut places = Vec::new();
        for (&nsid, namespace) in self.plan.by_id(subsystem).iter().flat_map(|served| served.namespaces()) {
            places.resize(nsid as usize + 1, None);
            places[nsid as usize] = self.index_of(namespace.id).map(|index| index as u16);
        }
        places
    }

    /// The namespace at an index that a command has.
    pub(crate) fn at(&self, at: usize) -> &Namespace {
        self.namespaces[at].as_ref().expect("it stays while a command needs it")
    }

    fn at_mut(&mut self, at: usize) -> &mut Namespace {
        self.namespaces[at].as_mut().expect("it stays while a command needs it")
    }

    /// A buffer of `bytes` for a transfer whose pace the peer decides: data it still has to send or to read. The last
    /// [`RESERVED_BUFFERS`] are not for those.
    pub(crate) fn buffer(&self, bytes: usize) -> Option<Buf> {
        self.take(bytes, RESERVED_BUFFERS)
    }

    /// A place for the data of a write that the host is asked for: the device's own memory if the write is large and
    /// the device lends, else a buffer. None if there is no room.
    pub(crate) fn place(&mut self, at: usize, op: Option<Op>, bytes: u32) -> Payload {
        let write = op.filter(|op| bytes >= LANDING_BYTES && matches!(op, Op::Write { .. }));
        let range = write.and_then(|op| op.range());
        match range.and_then(|range| self.at_mut(at).queue.land(range)) {
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
        for namespace in self.namespaces.iter_mut().flatten() {
            namespace.queue.begin();
        }
    }

    pub(crate) fn end(&mut self) {
        for namespace in self.namespaces.iter_mut().flatten() {
            namespace.queue.end();
        }
    }

    /// Submits a read of `bytes`: lent if the device lends, else into a buffer.
    pub(crate) fn read(&mut self, ring: &mut Ring, at: usize, tag: Tag, op: Op, bytes: usize) -> Result<(), Wait> {
        let data = if self.at(at).info.features.lends {
            Data::Lend
        } else {
            Data::Carried(self.buffer(bytes).ok_or(Wait::Buffer)?)
        };
        self.submit(ring, at, Request { tag, op, data })
    }

    /// Submits a write whose bytes lie in the receive buffer, or were received into a buffer.
    pub(crate) fn write(&mut self, ring: &mut Ring, at: usize, tag: Tag, op: Op, bytes: &[u8]) -> Result<(), Wait> {
        let data = if self.at(at).info.features.lends {
            Data::Inline(bytes)
        } else {
            Data::Carried(self.copy(bytes).ok_or(Wait::Buffer)?)
        };
        match self.submit(ring, at, Request { tag, op, data }) {
            Err(Wait::Queue(Payload::None)) => Err(Wait::Queue(self.copy(bytes).map_or(Payload::None, Payload::Buf))),
            other => other,
        }
    }

    /// Submits a request that needs no further buffer. While its blocks are given away, that is as if the queue were
    /// full.
    pub(crate) fn submit(&mut self, ring: &mut Ring, at: usize, request: Request<'_>) -> Result<(), Wait> {
        if self.exclusive.holds_back(self.at(at).key, &request.op) {
            return Err(Wait::Queue(Payload::of_refused(request.data)));
        }
        self.submit_exclusive(ring, at, request)
    }

    /// The same for a request whose blocks are given away to it.
    pub(crate) fn submit_exclusive(&mut self, ring: &mut Ring, at: usize, request: Request<'_>) -> Result<(), Wait> {
        let namespace = self.at_mut(at);
        match namespace.queue.submit(ring, request) {
            Ok(()) => {
                namespace.submitted = true;
                Ok(())
            }
            Err(Refused(Request { data, .. })) => Err(Wait::Queue(Payload::of_refused(data))),
        }
    }

    /// Submits a copy to the blocks from `to` on; its sources are the first so many of a list. Whether there was room.
    ///
    /// # Errors
    /// The status to answer with: the sources are too long.
    pub(crate) fn copy_blocks(
        &mut self,
        ring: &mut Ring,
        at: usize,
        tag: Tag,
        (list, count): (&[u8], u32),
        to: u64,
        fua: bool,
    ) -> Result<bool, Status> {
        let mut sources = std::mem::take(&mut self.sources);
        let range = copy::sources(list, count, to, &self.at(at).info, &mut sources);
        let submitted = range.map(|range| {
            let request = Request { tag, op: Op::Copy { range, fua }, data: Data::Sources(&sources) };
            self.submit(ring, at, request).is_ok()
        });
        self.sources = sources;
        submitted
    }

    /// Asks for the end of a request of which nobody will read the answer.
    pub(crate) fn cancel(&mut self, ring: &mut Ring, at: usize, tag: Tag) {
        self.at_mut(at).queue.cancel(ring, tag);
    }

    /// The same for all requests of these namespaces.
    pub(crate) fn cancel_all(&mut self, ring: &mut Ring, which: impl Fn(usize) -> bool) {
        for (at, namespace) in self.namespaces.iter_mut().enumerate() {
            if let Some(namespace) = namespace.as_mut().filter(|_| which(at)) {
                namespace.queue.cancel_all(ring);
            }
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
        // All kicked before one is polled: the first file polled gives the kernel the requests of all.
        for namespace in self.namespaces.iter_mut().flatten() {
            if std::mem::take(&mut namespace.submitted) {
                namespace.queue.kick(ring);
            }
        }
        for namespace in self.namespaces.iter_mut().flatten() {
            if namespace.queue.in_flight() > 0 {
                namespace.queue.poll(ring, out);
            }
        }
    }

    pub(crate) fn arm(&mut self, ring: &mut Ring) -> machine::reactor::Arm {
        use machine::reactor::Arm;
        let mut all = Arm::Armed;
        for namespace in self.namespaces.iter_mut().flatten() {
            if namespace.queue.in_flight() > 0 {
                all = all.and(namespace.queue.arm(ring));
            }
        }
        all
    }

    pub(crate) fn disarm(&mut self) {
        for namespace in self.namespaces.iter_mut().flatten() {
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
            Owner { connection: LAST_CONNECTION, generation: 1, slot: 127 },
            Owner { connection: 7, generation: u16::MAX, slot: u16::MAX },
        ] {
            assert_eq!(Owner::of(owner.tag()), owner);
            assert_eq!((Owner::of(owner.tag_of(255)), owner.tag_of(0)), (owner, owner.tag()));
        }
    }
}
