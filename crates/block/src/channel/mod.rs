//! A program's own way to its devices: requests go in with a context, come back with it, and the program sleeps
//! meanwhile if it likes. For programs that have no reactor; `qpair read`, `write` and `copy` are such programs.
//!
//! ```text
//!   the program                     Channel                                          devices
//!   submit(port, op, buf, C) ────▶  contexts[place] = C ──▶ Queue::submit ─────────▶  port 0   ram, file, ...
//!   poll(|channel, done| ...) ◀───  Done { C, outcome, buf } ◀── Queue::poll ◀──────  port 1   another one
//!   wait(limit, |channel, done| )        all ports armed, then asleep in one ring
//! ```
//!
//! A channel has one ring, a pool of buffers and a queue on each device that is attached to it, so that one thread
//! waits for all of them at once and a buffer that one device has filled can be written to another as it is. It shares
//! nothing: each thread makes its own, on as few or many devices as it likes.
//!
//! # Why one handler, and not a closure for each request
//!
//! A boxed closure costs an allocation for each request, and it owns or borrows what it works on while all the others
//! do too. A *context* is a value of the program's own type, small as a rule (an index, an enum of what comes next),
//! moved into a table that was made once; the handler is one closure, given when completions are wanted, and so may
//! borrow all that the program has. It gets the channel back with each completion and asks for more from there. Nothing
//! is allocated, and the compiler sees the whole loop. Who wants boxed closures has them: they are one possible `C`.
//!
//! A program that waits in an event loop of its own does so with [`Channel::descriptor`] and [`Channel::arm`].
//!
//! A completion is handed out only in [`Channel::poll`], [`Channel::wait`] and [`Channel::drain`]; none comes out of
//! `submit`, `cancel` or `call`.

mod event_loop;
#[cfg(all(test, unix))]
mod event_loop_tests;
mod options;
mod slots;
#[cfg(test)]
mod tests;
mod wake;

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use machine::clock::Fine;
use machine::reactor::Arm;
use machine::region::{Buf, Bufs, Pool};
use machine::ring::Ring;
use wire::nvme::Sqe;

use crate::limits::CHANNEL_RETRY;
use crate::{
    Command, Completed, Completion, Completions, Data, Device, Failure, Op, Queue, Range, Refused, Request, Tag,
    Untaken, Why,
};
pub use options::ChannelOptions;
use slots::Slots;
pub use wake::Wake;

/// A device of a channel: what [`Channel::attach`] has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Port(u32);

/// A request under way, for [`Channel::cancel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    tag: Tag,
    port: u32,
}

/// A request that has ended.
pub struct Done<C> {
    /// What was given along with it.
    pub context: C,
    /// How it ended. Of a native command, dwords 0 and 1 of the completion; of a block request 0. A device's own status
    /// is [`Failure::Device`], an error number of this host [`Failure::Host`].
    pub outcome: Result<u64, Failure>,
    /// The buffers that it carried; after a read that went well they have the blocks.
    pub data: Bufs,
    /// The metadata that a native command carried.
    pub metadata: Option<Buf>,
}

/// There is no room for the request now; it is given back. It is worth another try after some have ended.
#[derive(Debug)]
pub struct Full<C> {
    /// Its context.
    pub context: C,
    /// Its buffers.
    pub data: Bufs,
}

/// A native command: see [`Command`], of which the channel knows the tag.
#[derive(Default)]
pub struct Native {
    /// Opcode, NSID and the dwords 2, 3 and 10 to 15.
    pub sqe: Sqe,
    /// The data; its length is the transfer's.
    pub data: Bufs,
    /// Metadata apart from the data.
    pub metadata: Option<Buf>,
    /// How long the path may wait for the device; `None` is the path's own patience.
    pub timeout: Option<Duration>,
}

/// A native command that was not taken, as it was.
pub struct NativeUntaken<C> {
    /// Its context.
    pub context: C,
    /// The command.
    pub native: Native,
    /// Why.
    pub why: Why,
}

/// What is under way belongs to the program, or to the one call that waits.
enum Asker<C> {
    Program(C),
    Call,
}

/// One thread's requests to one or more devices: see the [module](self).
///
/// Dropping a channel with requests in flight leaves it to the devices how they end; [`Channel::drain`] first.
pub struct Channel<C> {
    ports: Vec<Box<dyn Queue>>,
    /// [`Queue::begin`] was called and [`Queue::end`] not yet.
    in_pass: bool,
    slots: Slots<Asker<C>>,
    depth: usize,
    completions: Completions,
    /// What ended while a call waited for its own, and is for the next poll. Never more than `depth`.
    late: VecDeque<Completed>,
    pool: Pool,
    wake: Wake,
    /// Its thread waits elsewhere, or may: see [`Channel::arm`].
    armed: bool,
    // After the queues, which use it.
    ring: Ring,
}

impl<C> Channel<C> {
    /// A channel without devices.
    ///
    /// # Errors
    /// There is no memory for the buffers or no file descriptor for the ring, or the kind of ring that is asked for is
    /// not to be had.
    ///
    /// # Panics
    /// If the depth is 0, or 2^32 or more.
    pub fn new(options: &ChannelOptions) -> io::Result<Self> {
        let ChannelOptions { depth, buffers, buffer_bytes, fixed_buffers, ring } = *options;
        assert!(depth > 0, "a channel for no requests");
        let mut ring = Ring::of(ring)?;
        let pool = Pool::anonymous(buffer_bytes, buffers.unwrap_or(depth))?;
        if fixed_buffers {
            ring.register_pool(&pool);
        }
        let completions = Completions { list: Vec::with_capacity(depth), ..Completions::default() };
        Ok(Self {
            ports: Vec::new(),
            in_pass: false,
            // One more for a call, so that it never waits for completions that only the program can take.
            slots: Slots::new(depth + 1),
            depth,
            completions,
            late: VecDeque::with_capacity(depth),
            pool,
            wake: Wake::new(ring.waker()),
            armed: false,
            ring,
        })
    }

    /// Opens a queue on a device. May block.
    ///
    /// # Errors
    /// Whatever the operating system or the peer says while the queue is set up.
    pub fn attach(&mut self, device: &dyn Device) -> io::Result<Port> {
        let mut queue = device.open_queue(&mut self.ring)?;
        if self.in_pass {
            queue.begin();
        }
        self.ports.push(queue);
        Ok(Port(self.ports.len() as u32 - 1))
    }

    /// A buffer from the channel's pool, as long as the pool's buffers are; [`Buf::set_len`] makes it shorter. Dropping
    /// it gives it back. `None`: all are out.
    #[must_use]
    pub fn buffer(&self) -> Option<Buf> {
        self.pool.take()
    }

    /// Requests that may be in flight at once.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Requests whose ends the handler has not been told of.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.slots.taken()
    }

    /// What other threads end a [`Channel::wait`] with.
    #[must_use]
    pub fn wake(&self) -> Wake {
        self.wake.clone()
    }

    /// Asks a device for something. Its end comes with a poll or a wait, also if it failed at once. Reads, writes and
    /// compares carry a buffer, or a vector of them ([`Data::Scattered`]), whose length is that of the blocks; the
    /// others carry [`Bufs::None`]. For copies there is [`Channel::copy`].
    ///
    /// # Errors
    /// [`Full`] gives context and buffers back: `depth` requests are in flight, or the device has no room for more.
    #[inline]
    pub fn submit(&mut self, port: Port, op: Op, data: impl Into<Bufs>, context: C) -> Result<Ticket, Full<C>> {
        self.submit_bufs(port, op, data.into(), context)
    }

    /// As [`Channel::submit`], once for all kinds of buffers.
    fn submit_bufs(&mut self, port: Port, op: Op, data: Bufs, context: C) -> Result<Ticket, Full<C>> {
        if self.slots.taken() >= self.depth {
            return Err(Full { context, data });
        }
        match self.ask(port, op, data.into(), Asker::Program(context)) {
            Ok(ticket) => Ok(ticket),
            Err((Asker::Program(context), data)) => Err(Full { context, data: data.into_bufs() }),
            Err((Asker::Call, _)) => unreachable!("what comes back is what was given"),
        }
    }

    /// Asks for a copy of the sources, one behind the other, to a range of the same device.
    ///
    /// # Errors
    /// As for [`Channel::submit`].
    pub fn copy(
        &mut self,
        port: Port,
        sources: &[Range],
        range: Range,
        fua: bool,
        context: C,
    ) -> Result<Ticket, Full<C>> {
        if self.slots.taken() >= self.depth {
            return Err(Full { context, data: Bufs::None });
        }
        match self.ask(port, Op::Copy { range, fua }, Data::Sources(sources), Asker::Program(context)) {
            Ok(ticket) => Ok(ticket),
            Err((Asker::Program(context), _)) => Err(Full { context, data: Bufs::None }),
            Err((Asker::Call, _)) => unreachable!("what comes back is what was given"),
        }
    }

    /// Gives a native NVMe command to a device that takes such: see [`Device::nvme`].
    ///
    /// # Errors
    /// [`NativeUntaken`] gives it back: there is no room, or the device takes none.
    #[expect(clippy::result_large_err, reason = "it is the command, given back as it was; nothing is allocated for it")]
    pub fn command(&mut self, port: Port, native: Native, context: C) -> Result<Ticket, NativeUntaken<C>> {
        if self.slots.taken() >= self.depth {
            return Err(NativeUntaken { context, native, why: Why::Full });
        }
        match self.ask_native(port, native, Asker::Program(context)) {
            Ok(ticket) => Ok(ticket),
            Err((Asker::Program(context), native, why)) => Err(NativeUntaken { context, native, why }),
            Err((Asker::Call, ..)) => unreachable!("what comes back is what was given"),
        }
    }

    /// Asks for the end of a request. It still ends as all do: cancelled, or as if not asked. Without effect if it has
    /// ended.
    pub fn cancel(&mut self, ticket: Ticket) {
        if self.slots.has(ticket) {
            self.ports[ticket.port as usize].cancel(&mut self.ring, ticket.tag);
        }
    }

    /// Asks for the end of all requests.
    pub fn cancel_all(&mut self) {
        for queue in &mut self.ports {
            queue.cancel_all(&mut self.ring);
        }
    }

    /// Sends what was submitted on its way, and hands what has ended to the handler; how many that were. Never waits.
    #[inline]
    pub fn poll(&mut self, mut handle: impl FnMut(&mut Self, Done<C>)) -> usize {
        self.collect();
        self.deliver(&mut handle)
    }

    /// Waits until something has ended, asleep, and hands it to the handler; how many that were. It is 0 if nothing is
    /// in flight, after `limit`, or when [`Wake::wake`] was called.
    ///
    /// # Errors
    /// The operating system will not wait; none is known of.
    pub fn wait(&mut self, limit: Option<Duration>, mut handle: impl FnMut(&mut Self, Done<C>)) -> io::Result<usize> {
        let deadline = limit.map(|limit| Fine::now().plus(limit));
        loop {
            let count = self.poll(&mut handle);
            if count > 0 || self.in_flight() == 0 || self.wake.take() {
                return Ok(count);
            }
            let left = deadline.map(|deadline| deadline.since(Fine::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(0);
            }
            self.sleep(left)?;
        }
    }

    /// Waits until nothing is in flight, what the handler asks for included.
    ///
    /// # Errors
    /// As for [`Channel::wait`].
    pub fn drain(&mut self, mut handle: impl FnMut(&mut Self, Done<C>)) -> io::Result<()> {
        while self.in_flight() > 0 {
            self.wait(None, &mut handle)?;
        }
        Ok(())
    }

    /// Does one request and waits for its end, asleep. Others may be in flight: their ends are for the next poll.
    ///
    /// # Panics
    /// If the operating system will not wait; it is not known to.
    pub fn call(&mut self, port: Port, op: Op, data: impl Into<Bufs>) -> Done<()> {
        let mut data = Data::from(data.into());
        loop {
            match self.ask(port, op, data, Asker::Call) {
                Ok(ticket) => return self.finish_call(ticket),
                Err((_, back)) => data = back,
            }
            self.make_room();
        }
    }

    /// Does one native command and waits for its end: see [`Channel::call`].
    ///
    /// # Errors
    /// Gives the command back if the device takes none.
    ///
    /// # Panics
    /// As for [`Channel::call`].
    #[expect(clippy::result_large_err, reason = "as for Channel::command")]
    pub fn call_native(&mut self, port: Port, mut native: Native) -> Result<Done<()>, Native> {
        loop {
            match self.ask_native(port, native, Asker::Call) {
                Ok(ticket) => return Ok(self.finish_call(ticket)),
                Err((_, back, Why::NotNative)) => return Err(back),
                Err((_, back, Why::Full)) => native = back,
            }
            self.make_room();
        }
    }
}

/// How it is done.
impl<C> Channel<C> {
    /// Submits a request; asker and data come back if there is no room.
    #[inline]
    fn ask<'a>(&mut self, port: Port, op: Op, data: Data<'a>, asker: Asker<C>) -> Result<Ticket, (Asker<C>, Data<'a>)> {
        self.begin();
        let tag = self.slots.next_tag().expect("there is a place for a call, and depth was looked at");
        let queue = &mut self.ports[port.0 as usize];
        match queue.submit(&mut self.ring, Request { tag, op, data }) {
            Ok(()) => {
                self.slots.take(asker);
                Ok(Ticket { tag, port: port.0 })
            }
            Err(Refused(request)) => Err((asker, request.data)),
        }
    }

    #[expect(clippy::result_large_err, reason = "as for Queue::command")]
    fn ask_native(&mut self, port: Port, native: Native, asker: Asker<C>) -> Result<Ticket, (Asker<C>, Native, Why)> {
        self.begin();
        let tag = self.slots.next_tag().expect("there is a place for a call, and depth was looked at");
        let Native { sqe, data, metadata, timeout } = native;
        let command = Command { tag, sqe, data, metadata, timeout };
        match self.ports[port.0 as usize].command(&mut self.ring, command) {
            Ok(()) => {
                self.slots.take(asker);
                Ok(Ticket { tag, port: port.0 })
            }
            Err(Untaken { command: Command { sqe, data, metadata, timeout, .. }, why }) => {
                Err((asker, Native { sqe, data, metadata, timeout }, why))
            }
        }
    }

    /// Opens a pass of the queues, unless one is open. A pass ends with the poll after it.
    #[inline]
    fn begin(&mut self) {
        if !self.in_pass {
            self.in_pass = true;
            self.ports.iter_mut().for_each(|queue| queue.begin());
        }
    }

    /// Fetches what has ended.
    #[inline]
    fn collect(&mut self) {
        if self.armed {
            self.come_back();
        }
        self.begin();
        for queue in &mut self.ports {
            queue.kick(&mut self.ring);
            queue.poll(&mut self.ring, &mut self.completions);
            queue.end();
        }
        self.in_pass = false;
    }

    /// Hands out what was fetched. The handler may ask for more, call and even poll: the lists are its own meanwhile.
    #[inline]
    fn deliver(&mut self, handle: &mut impl FnMut(&mut Self, Done<C>)) -> usize {
        let mut count = 0;
        if !self.late.is_empty() {
            for _ in 0..self.late.len() {
                let Some(completed) = self.late.pop_front() else { break };
                count += 1;
                self.hand_out(completed, handle);
            }
        }
        if !self.completions.list.is_empty() {
            let mut list = std::mem::take(&mut self.completions.list);
            count += list.len();
            for Completion { tag, outcome, data } in list.drain(..) {
                let context = self.context_of(tag);
                let (outcome, data) = (outcome.map(|()| 0), data.into_bufs());
                handle(self, Done { context, outcome, data, metadata: None });
            }
            self.completions.list = list;
        }
        if !self.completions.native.is_empty() {
            let mut native = std::mem::take(&mut self.completions.native);
            count += native.len();
            native.drain(..).for_each(|completed| self.hand_out(completed, handle));
            self.completions.native = native;
        }
        count
    }

    fn hand_out(&mut self, completed: Completed, handle: &mut impl FnMut(&mut Self, Done<C>)) {
        let Completed { tag, outcome, data, metadata } = completed;
        let context = self.context_of(tag);
        handle(self, Done { context, outcome, data, metadata });
    }

    /// Ends a request of the program.
    #[inline]
    fn context_of(&mut self, tag: Tag) -> C {
        let Asker::Program(context) = self.slots.finish(tag) else { unreachable!("a call takes its end itself") };
        context
    }

    /// Sleeps until there may be something to collect.
    fn sleep(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let (ports, wake) = (&mut self.ports, &self.wake);
        let slept = self.ring.sleep(limit, |ring| {
            let own = if wake.is_set() { Arm::Busy } else { Arm::Armed };
            ports.iter_mut().fold(own, |arm, queue| arm.and(queue.arm(ring)))
        });
        ports.iter_mut().for_each(|queue| queue.disarm());
        slept
    }

    /// Waits for the end of a call.
    fn finish_call(&mut self, ticket: Ticket) -> Done<()> {
        loop {
            self.collect();
            if let Some(completed) = self.set_aside(Some(ticket)) {
                let Asker::Call = self.slots.finish(ticket.tag) else { unreachable!("the ticket is a call's") };
                let Completed { outcome, data, metadata, .. } = completed;
                return Done { context: (), outcome, data, metadata };
            }
            self.sleep(None).expect("the ring's own descriptors can be waited for");
        }
    }

    /// A device had no room for a call: gives it time, and fetches what has ended.
    #[cold]
    fn make_room(&mut self) {
        self.collect();
        let before = self.late.len();
        self.set_aside(None);
        if self.late.len() == before {
            self.sleep(Some(CHANNEL_RETRY)).expect("the ring's own descriptors can be waited for");
        }
    }

    /// Keeps what was fetched for the next poll, but for the end of the call.
    fn set_aside(&mut self, call: Option<Ticket>) -> Option<Completed> {
        let Self { completions: Completions { list, native, .. }, late, .. } = self;
        let mut own = None;
        for completed in list.drain(..).map(native_form).chain(native.drain(..)) {
            if call.is_some_and(|call| call.tag == completed.tag) {
                own = Some(completed);
            } else {
                late.push_back(completed);
            }
        }
        own
    }
}

/// A completion as one of a native command: the two kinds end in one way.
fn native_form(completion: Completion) -> Completed {
    let Completion { tag, outcome, data } = completion;
    Completed { tag, outcome: outcome.map(|()| 0), data: data.into_bufs(), metadata: None }
}
