//! A controller as a device: its queues take admin commands, many at once, and it has no blocks.
//!
//! ```text
//!   Queue::command ──▶ check_admin ──▶ Way (uring-cmd, ioctl) ──▶ /dev/nvme0 ──▶ admin queue
//!   Queue::submit  ──▶ over: NotSupported
//! ```
//!
//! An admin command may take as long as it likes: a self-test, a format, an Asynchronous Event Request, which ends with
//! the next event. One that is known to be long needs a timeout that is longer: when it, or the kernel's own patience
//! (`nvme_core.admin_timeout`, a minute) is over, Linux *resets the controller*, and all that it had ends. Nothing else
//! takes a command back, so a queue that is dropped waits for its last one.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use machine::passthru::{ChannelOptions, Done, NvmeQueue, Task};
use machine::reactor::Arm;
use machine::region::Bufs;
use machine::ring::{Owner, Ring};
use wire::nvme::opcode::admin_name;
use wire::nvme::{Sqe, identify};

use super::command::{check_admin, failure, passed};
use super::queue::{Asked, Way, report};
use super::{KernelOptions, admin, is_drive, open};
use crate::limits::{KERNEL_ADMIN_DEPTH, KERNEL_TRANSFER_LEAST, PREFERRED_BYTES};
use crate::nvme::describe;
use crate::{
    Command, Completed, Completion, Completions, Device, Failure, Features, Identity, Info, Nvme, NvmeError, OpenError,
    Queue, Refused, Request, Transfer, Untaken, Why, path,
};

/// A controller of the kernel's driver (`/dev/nvmeX`), or that of a drive of Windows, for admin commands.
pub struct AdminDevice {
    file: Arc<File>,
    info: Info,
    path: path::Path,
    sqpoll: bool,
}

impl AdminDevice {
    /// Opens a controller's device file and asks the controller who it is. Blocks.
    ///
    /// # Errors
    /// It is no such file, may not be opened, or the path does not lead there: what, why and what to do.
    pub fn open(path: &Path, options: &KernelOptions) -> Result<Self, OpenError> {
        let way = open::admin_way(path, options)?;
        let file = open::open_file(path, options.read_only || !is_drive(path))?;
        let controller = admin::identify_controller(&file).map_err(|error| open::cannot_ask(path, &error))?;
        // As for a namespace: the smallest page is the safe one.
        let most = controller.max_transfer_bytes(0).unwrap_or(u64::MAX);
        let max_transfer_bytes = most.clamp(PREFERRED_BYTES.into(), KERNEL_TRANSFER_LEAST) as u32;
        let name = format!("{} controller {}", identify::text(&controller.subnqn), controller.cntlid);
        let info = Info {
            name: path.display().to_string(),
            kind: "controller",
            block_bytes: 512,
            blocks: 0,
            preferred_blocks: 1,
            atomic_blocks: 1,
            max_transfer_bytes,
            piece_bytes: 1,
            features: Features { read_only: options.read_only, ..Features::default() },
            identity: Identity::from_uuid(options.uuid.unwrap_or_else(|| describe::uuid_of(&name))),
        };
        Ok(Self { file: Arc::new(file), info, path: way, sqpoll: options.polling.sqpoll })
    }
}

impl Device for AdminDevice {
    fn info(&self) -> &Info {
        &self.info
    }

    fn open_queue(&self, ring: &mut Ring) -> io::Result<Box<dyn Queue>> {
        let (queue, depth) = (NvmeQueue::Admin, KERNEL_ADMIN_DEPTH);
        let options = ChannelOptions { queue, depth, polled: false, kernel_thread: self.sqpoll };
        let owner = ring.owner();
        let way = Way::new(self.path == path::Path::Ioctl, options, &self.file, ring, owner);
        let way = way.inspect_err(|_| ring.release(owner))?;
        Ok(Box::new(AdminQueue::new(self.info.clone(), way, owner)))
    }

    fn path(&self) -> Option<path::Path> {
        Some(self.path)
    }

    fn nvme(&self) -> Option<&dyn Nvme> {
        Some(self)
    }
}

impl Nvme for AdminDevice {
    fn nsid(&self) -> Option<u32> {
        None
    }

    fn admin(&self, sqe: Sqe, data: Transfer<'_>) -> Result<u64, NvmeError> {
        admin::admin(&self.file, sqe, data)
    }
}

/// One thread's way to the admin queue.
struct AdminQueue {
    info: Info,
    way: Way,
    owner: Owner,
    /// Requests for blocks, for the next poll.
    over: Vec<Completion>,
    /// Commands that ended without being sent.
    native_over: Vec<Completed>,
    /// Reused from poll to poll.
    done: Vec<Done<Asked>>,
    /// The error of this host that the log has heard of last.
    reported: Option<i32>,
}

impl AdminQueue {
    fn new(info: Info, way: Way, owner: Owner) -> Self {
        let (over, native_over, done) = (Vec::new(), Vec::new(), Vec::with_capacity(KERNEL_ADMIN_DEPTH));
        Self { info, way, owner, over, native_over, done, reported: None }
    }

    fn is_full(&self) -> bool {
        self.in_flight() >= KERNEL_ADMIN_DEPTH
    }
}

impl Queue for AdminQueue {
    fn submit<'a>(&mut self, _ring: &mut Ring, request: Request<'a>) -> Result<(), Refused<'a>> {
        if self.is_full() {
            return Err(Refused(request));
        }
        let Request { tag, data, .. } = request;
        self.over.push(Completion { tag, outcome: Err(Failure::NotSupported), data: data.into_bufs().into() });
        Ok(())
    }

    fn command(&mut self, _ring: &mut Ring, command: Command) -> Result<(), Untaken> {
        if self.is_full() {
            return Err(Untaken { command, why: Why::Full });
        }
        let checked = match (&self.way, &command.data) {
            // The kernel has a call with scatter lists for I/O commands only.
            (Way::Ioctl { .. }, Bufs::Many(_)) => Err(Failure::NotSupported),
            _ => check_admin(&command, &self.info).and_then(|()| passed(&command.sqe, command.timeout)),
        };
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
        for Done { context: Asked { tag, opcode, .. }, result, data, metadata } in self.done.drain(..) {
            if let Err(fault) = &result {
                report(&self.info.name, admin_name(opcode), opcode, fault, &mut self.reported);
            }
            let outcome = result.map_err(|fault| failure(&fault));
            out.native.push(Completed { tag, outcome, data, metadata });
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

#[cfg(test)]
mod tests {
    use machine::passthru::Channel;
    use machine::region::Pool;

    use super::*;
    use crate::{Data, Op, Range, Returned};

    fn info() -> Info {
        Info {
            name: "zero".to_owned(),
            kind: "controller",
            block_bytes: 512,
            blocks: 0,
            preferred_blocks: 1,
            atomic_blocks: 1,
            max_transfer_bytes: 4096,
            piece_bytes: 1,
            features: Features::default(),
            identity: Identity::from_uuid(uuid::Uuid::nil()),
        }
    }

    /// A queue to a file that is no controller: the system refuses all that is sent. None where it has no such ring.
    fn queue(ring: &mut Ring, ioctl: bool) -> Option<AdminQueue> {
        let file = Arc::new(File::open(std::env::current_exe().expect("this one")).expect("it runs"));
        let owner = ring.owner();
        let options = ChannelOptions { queue: NvmeQueue::Admin, depth: 4, polled: false, kernel_thread: false };
        if !ioctl && Channel::<Asked>::new(Arc::clone(&file), options, ring, owner).is_err() {
            return None;
        }
        Some(AdminQueue::new(info(), Way::new(ioctl, options, &file, ring, owner).expect("as before"), owner))
    }

    fn polled(queue: &mut AdminQueue, ring: &mut Ring) -> Completions {
        let mut out = Completions::default();
        queue.kick(ring);
        while queue.in_flight() > 0 {
            queue.poll(ring, &mut out);
        }
        out
    }

    #[test]
    fn commands_are_sent_and_requests_for_blocks_are_not() {
        let pool = Pool::anonymous(4096, 2).expect("memory");
        for ioctl in [true, false] {
            let mut ring = Ring::new().expect("a ring");
            let Some(mut queue) = queue(&mut ring, ioctl) else { continue };
            let sqe = Sqe::identify(wire::nvme::cns::CONTROLLER, 0, 0, 0);
            let command = Command { tag: 1, sqe, data: pool.take().into(), metadata: None, timeout: None };
            assert!(queue.command(&mut ring, command).is_ok());
            let read = Request {
                tag: 2,
                op: Op::Read(Range { lba: 0, blocks: 1 }),
                data: Data::Carried(pool.take().expect("the other one")),
            };
            assert!(queue.submit(&mut ring, read).is_ok());
            let out = polled(&mut queue, &mut ring);
            assert_eq!((out.list.len(), out.native.len()), (1, 1));
            assert_eq!((out.list[0].tag, out.list[0].outcome), (2, Err(Failure::NotSupported)));
            assert!(matches!(out.list[0].data, Returned::Carried(_)));
            assert!(matches!(out.native[0], Completed { tag: 1, outcome: Err(Failure::Host(_)), .. }));
            drop(out);
            assert_eq!(pool.free(), 2);
            queue.close(&mut ring);
        }
    }

    #[test]
    fn a_full_queue_gives_back() {
        let mut ring = Ring::new().expect("a ring");
        let mut queue = queue(&mut ring, true).expect("needs no ring of its own");
        let bare = |tag| Command { tag, sqe: Sqe::keep_alive(), data: Bufs::None, metadata: None, timeout: None };
        for tag in 0..KERNEL_ADMIN_DEPTH as u64 {
            assert!(queue.command(&mut ring, bare(tag)).is_ok());
        }
        assert_eq!(queue.command(&mut ring, bare(99)).err().map(|untaken| untaken.why), Some(Why::Full));
        let flush = Request { tag: 100, op: Op::Flush, data: Data::None };
        assert!(queue.submit(&mut ring, flush).is_err());
        assert_eq!(polled(&mut queue, &mut ring).native.len(), KERNEL_ADMIN_DEPTH);
        queue.close(&mut ring);
    }
}
