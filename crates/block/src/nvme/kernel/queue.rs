//! A queue of a namespace behind the kernel's driver: block requests and native commands on the same way.

use std::fs::File;
use std::io;
use std::sync::Arc;

use machine::passthru::{Channel, ChannelOptions, Done, Fault, NvmeQueue, Task};
use machine::reactor::Arm;
use machine::region::{Buf, Bufs, Pool};
use machine::ring::{Owner, Ring};
use wire::nvme::opcode::io_name;

use super::command::{check, failure, passed, status_of};
use crate::admit::admit;
use crate::limits::KERNEL_QUEUE_DEPTH;
use crate::live_size::LiveSize;
use crate::nvme::namespace::{self, Namespace, Plan, copy_list, range_list};
use crate::{
    Command, Completed, Completion, Completions, Data, Failure, Info, Op, Outcome, Queue, Refused, Request, Returned,
    Tag, Untaken, Why,
};

/// How commands get into the kernel.
pub(super) enum Way {
    /// Many at once, through a ring.
    UringCmd(Box<Channel<Asked>>),
    /// One after the other, each waited for.
    Ioctl {
        file: Arc<File>,
        queue: NvmeQueue,
        /// For the next kick.
        waiting: Vec<Task<Asked>>,
        /// For the next poll.
        done: Vec<Done<Asked>>,
    },
}

/// Who asked for a command.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) tag: Tag,
    pub(super) opcode: u8,
    /// The block request that it comes from; none of a native command.
    pub(super) op: Option<Op>,
}

impl Way {
    /// By uring-cmd, or with `ioctl` by that.
    pub(super) fn new(
        ioctl: bool,
        options: ChannelOptions,
        file: &Arc<File>,
        ring: &mut Ring,
        owner: Owner,
    ) -> io::Result<Self> {
        let ChannelOptions { queue, depth, .. } = options;
        let file = Arc::clone(file);
        if ioctl {
            let (waiting, done) = (Vec::with_capacity(depth), Vec::with_capacity(depth));
            return Ok(Self::Ioctl { file, queue, waiting, done });
        }
        Ok(Self::UringCmd(Box::new(Channel::new(file, options, ring, owner)?)))
    }

    pub(super) fn in_flight(&self) -> usize {
        match self {
            Self::UringCmd(channel) => channel.in_flight(),
            Self::Ioctl { waiting, done, .. } => waiting.len() + done.len(),
        }
    }

    /// The caller has seen that there is room.
    pub(super) fn submit(&mut self, task: Task<Asked>) {
        match self {
            Self::UringCmd(channel) => assert!(channel.submit(task).is_ok(), "in flight are fewer than the depth"),
            Self::Ioctl { waiting, .. } => waiting.push(task),
        }
    }

    pub(super) fn kick(&mut self) {
        match self {
            Self::UringCmd(channel) => channel.kick(),
            Self::Ioctl { file, queue, waiting, done } => {
                done.extend(waiting.drain(..).map(|task| task.carry_out(file, *queue)));
            }
        }
    }

    pub(super) fn poll(&mut self, out: &mut Vec<Done<Asked>>) {
        self.kick();
        match self {
            Self::UringCmd(channel) => channel.poll(out),
            Self::Ioctl { done, .. } => out.append(done),
        }
    }

    pub(super) fn arm(&mut self) -> Arm {
        match self {
            Self::UringCmd(channel) => channel.arm(),
            Self::Ioctl { .. } if self.in_flight() > 0 => Arm::Busy,
            Self::Ioctl { .. } => Arm::Armed,
        }
    }

    pub(super) fn disarm(&mut self) {
        if let Self::UringCmd(channel) = self {
            channel.disarm();
        }
    }

    /// Gives back what it has of the ring.
    pub(super) fn close(&mut self) {
        if let Self::UringCmd(channel) = self {
            channel.silence();
        }
    }
}

/// One reactor's way to the namespace.
pub(super) struct KernelQueue {
    info: Info,
    namespace: Namespace,
    size: LiveSize,
    way: Way,
    /// Ranges of deallocations and copies.
    lists: Pool,
    owner: Owner,
    /// Ended without a command; for the next poll.
    over: Vec<Completion>,
    native_over: Vec<Completed>,
    /// Reused from poll to poll.
    done: Vec<Done<Asked>>,
    /// The error of this host that the log has heard of last.
    reported: Option<i32>,
}

impl KernelQueue {
    pub(super) fn new(info: Info, namespace: Namespace, size: LiveSize, way: Way, lists: Pool, owner: Owner) -> Self {
        let (over, native_over, done) = (Vec::new(), Vec::new(), Vec::with_capacity(KERNEL_QUEUE_DEPTH));
        Self { info, namespace, size, way, lists, owner, over, native_over, done, reported: None }
    }

    fn is_full(&self) -> bool {
        self.in_flight() >= KERNEL_QUEUE_DEPTH
    }

    /// Makes a command of a request that is admitted.
    fn send(&mut self, tag: Tag, op: Op, bufs: Bufs, list: Option<Buf>) {
        let carried = list.as_ref().map_or_else(|| bufs.len(), |list| list.len());
        let (sqe, ranges) = match self.namespace.plan(op, carried, self.size.blocks()) {
            Plan::Over(outcome) => return self.over.push(completion(tag, op, outcome, bufs)),
            Plan::Command { sqe, ranges, .. } => (sqe, ranges),
        };
        let data = match (op, list) {
            (Op::Deallocate(_), Some(list)) => range_list(list, &ranges).into(),
            (_, Some(list)) => list.into(),
            (_, None) => bufs,
        };
        let command = passed(&sqe, None).expect("block requests are not fused");
        let context = Asked { tag, opcode: sqe.opcode, op: Some(op) };
        self.way.submit(Task { context, command, data, metadata: None });
    }
}

impl Queue for KernelQueue {
    fn submit<'a>(&mut self, _ring: &mut Ring, request: Request<'a>) -> Result<(), Refused<'a>> {
        if self.is_full() {
            return Err(Refused(request));
        }
        let admitted = admit(&self.info, self.size.blocks(), &request);
        let Request { tag, op, data } = request;
        let list = match (&op, &data) {
            _ if admitted.is_err() => None,
            (Op::Deallocate(_) | Op::Copy { .. }, _) => match self.lists.take() {
                None => return Err(Refused(Request { tag, op, data })),
                list => list,
            },
            _ => None,
        };
        let list = match data {
            Data::Sources(sources) => list.map(|list| copy_list(list, sources)),
            _ => list,
        };
        let bufs = data.into_bufs();
        match admitted {
            Ok(()) => self.send(tag, op, bufs, list),
            Err(failure) => self.over.push(completion(tag, op, Err(failure), bufs)),
        }
        Ok(())
    }

    fn command(&mut self, _ring: &mut Ring, command: Command) -> Result<(), Untaken> {
        if self.is_full() {
            return Err(Untaken { command, why: Why::Full });
        }
        let checked = check(&command, &self.namespace).and_then(|()| passed(&command.sqe, command.timeout));
        let Command { tag, sqe, data, metadata, .. } = command;
        match checked {
            Ok(command) => {
                let context = Asked { tag, opcode: sqe.opcode, op: None };
                self.way.submit(Task { context, command, data, metadata });
            }
            Err(failure) => self.native_over.push(Completed { tag, outcome: Err(failure), data, metadata }),
        }
        Ok(())
    }

    fn kick(&mut self, _ring: &mut Ring) {
        self.way.kick();
    }

    fn poll(&mut self, _ring: &mut Ring, out: &mut Completions) {
        out.list.append(&mut self.over);
        out.native.append(&mut self.native_over);
        self.way.poll(&mut self.done);
        for Done { context: Asked { tag, opcode, op }, result, data, metadata } in self.done.drain(..) {
            if let Err(fault) = &result {
                report(&self.info.name, io_name(opcode), opcode, fault, &mut self.reported);
            }
            match op {
                Some(op) => {
                    let outcome = result.map(drop).map_err(|fault| named(op, failure(&fault)));
                    out.list.push(completion(tag, op, outcome, data));
                }
                None => {
                    let outcome = result.map_err(|fault| failure(&fault));
                    out.native.push(Completed { tag, outcome, data, metadata });
                }
            }
        }
    }

    fn in_flight(&self) -> usize {
        self.way.in_flight() + self.over.len() + self.native_over.len()
    }

    fn arm(&mut self, _ring: &mut Ring) -> Arm {
        if self.over.is_empty() && self.native_over.is_empty() { self.way.arm() } else { Arm::Busy }
    }

    fn disarm(&mut self) {
        self.way.disarm();
    }

    fn close(&mut self, ring: &mut Ring) {
        self.way.close();
        ring.release(self.owner);
    }
}

/// The end of a request. Its own buffers go back to who asked; a list goes back to its pool.
fn completion(tag: Tag, op: Op, outcome: Outcome, bufs: Bufs) -> Completion {
    let data = match op {
        Op::Read(_) | Op::Write { .. } | Op::Compare(_) => bufs.into(),
        _ => Returned::None,
    };
    Completion { tag, outcome, data }
}

/// What has a name of its own goes by it.
fn named(op: Op, failure: Failure) -> Failure {
    match failure {
        Failure::Device(status) => namespace::failure(op, status),
        other => other,
    }
}

/// A device's answer is its asker's to judge; an error of this host is worth a line of the log, once until another one
/// comes.
pub(super) fn report(device: &str, command: &str, opcode: u8, fault: &Fault, reported: &mut Option<i32>) {
    match fault {
        Fault::Status { status, .. } => {
            tracing::debug!(device, "{command} ({opcode:02x}h): {}", status_of(*status));
        }
        Fault::Host(error) if is_news(error, reported) => {
            tracing::warn!(device, "{command} ({opcode:02x}h) did not pass through: {error}");
        }
        Fault::Host(_) => {}
    }
}

/// Whether an error is another one than the last. Those without a number are all one.
fn is_news(error: &io::Error, reported: &mut Option<i32>) -> bool {
    let number = error.raw_os_error().unwrap_or(0);
    reported.replace(number) != Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_news_until_it_comes_again() {
        let mut reported = None;
        let mut news = |error: &io::Error| is_news(error, &mut reported);
        let (unnumbered, numbered) = (io::Error::other("why"), io::Error::from_raw_os_error(5));
        assert_eq!((news(&unnumbered), news(&unnumbered)), (true, false));
        assert_eq!((news(&numbered), news(&numbered), news(&io::Error::from_raw_os_error(6))), (true, false, true));
        assert!(news(&unnumbered));
    }
}
