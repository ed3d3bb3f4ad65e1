//! Linux' native AIO: the asynchronous I/O that was there before `io_uring`, by its system calls.
//!
//! ```text
//!   push ──▶ [blocks, one a slot] ── io_submit ──▶ kernel ──▶ [completion ring, shared memory] ──▶ pop
//!                                                    └──▶ eventfd, which the ring's epoll listens to
//! ```
//!
//! One `io_submit` a pass hands over all that was pushed. Completions are taken out of the ring that the kernel maps
//! into this process, without a call (`io_getevents` would copy the same memory). The kernel signals the eventfd after
//! it has put a completion there, so that whoever has looked and then sleeps in epoll is woken; nobody reads the
//! eventfd, because every signal is an edge of its own.
//!
//! What AIO does not do, the workers do: zeroing and deallocating, and what the kernel refuses. And it is asynchronous
//! only for direct I/O: through the page cache `io_submit` itself reads and writes, and the thread waits for it.
//!
//! The context and its ring are described in io_setup(2), io_submit(2), io_cancel(2) and io_destroy(2), the structures
//! in `linux/aio_abi.h`.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use rustix::event::{EventfdFlags, eventfd};

use super::interest::SIGNAL_TOKEN;
use super::uring::Stage;
use super::{FileEngine, FileOp, FileTask, NoEngine};
use crate::limits::MAX_FILE_TASKS;
use crate::os;
use crate::region::{Bufs, RawBytes};

const IOCB_CMD_PREAD: u16 = 0;
const IOCB_CMD_PWRITE: u16 = 1;
const IOCB_CMD_FDSYNC: u16 = 3;
const IOCB_CMD_PREADV: u16 = 7;
const IOCB_CMD_PWRITEV: u16 = 8;
/// The completion signals `resfd`.
const IOCB_FLAG_RESFD: u32 = 1;
/// What the ring of completions starts with.
const RING_MAGIC: u32 = 0xa10a_10a1;

/// `struct iocb`, as the kernel has it on little-endian machines.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Block {
    data: u64,
    /// The kernel's.
    key: u32,
    rw_flags: i32,
    opcode: u16,
    priority: i16,
    fd: u32,
    buf: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    resfd: u32,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Event {
    data: u64,
    block: u64,
    result: i64,
    result2: i64,
}

/// `struct aio_ring`, the start of the memory at the context's address; events follow at `header_bytes`.
#[repr(C)]
struct Header {
    id: u32,
    /// Events in the ring.
    events: u32,
    /// Written here: the next event to take.
    head: AtomicU32,
    /// Written by the kernel: the next event to fill.
    tail: AtomicU32,
    magic: u32,
    compatible: u32,
    incompatible: u32,
    header_bytes: u32,
}

const _: () = assert!(size_of::<Block>() == 64 && size_of::<Event>() == 32 && size_of::<Header>() == 32);
const _: () = assert!(cfg!(target_endian = "little"), "the halves of `struct iocb` are swapped otherwise");

/// A context of the kernel, which is also the address of its ring of completions.
struct Context {
    ring: NonNull<Header>,
}

impl Context {
    fn new() -> io::Result<Self> {
        let mut context: libc::c_ulong = 0;
        // SAFETY: io_setup(2) writes the context's handle to the address, which is valid for that.
        let done = unsafe { libc::syscall(libc::SYS_io_setup, MAX_FILE_TASKS as libc::c_ulong, &raw mut context) };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        let context = Self { ring: NonNull::new(context as *mut Header).expect("a ring is mapped at its address") };
        if context.header().magic != RING_MAGIC || context.header().incompatible != 0 {
            return Err(io::Error::other("its ring of completions has a form that is not known here"));
        }
        Ok(context)
    }

    fn handle(&self) -> libc::c_ulong {
        self.ring.as_ptr() as libc::c_ulong
    }

    fn header(&self) -> &Header {
        // SAFETY: the kernel has mapped the ring there, readable and writable, until `drop` destroys the context. What
        // changes meanwhile are `head` and `tail`, which are atomics.
        unsafe { self.ring.as_ref() }
    }

    /// The next completion: user data and result.
    fn pop(&self) -> Option<(u64, i32)> {
        let header = self.header();
        let head = header.head.load(Ordering::Relaxed);
        // After the event that it counts: aio_complete() writes that first.
        if head == header.tail.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: `events` of them follow the header within the mapping, and `head` is the number of one. The kernel
        // does not write to it before `head` has gone on.
        let Event { data, result, .. } = unsafe {
            let events = self.ring.byte_add(header.header_bytes as usize).cast::<Event>();
            events.add((head % header.events) as usize).read()
        };
        header.head.store((head + 1) % header.events, Ordering::Release);
        // A transfer has less than 2 GiB (read(2)).
        Some((data, result as i32))
    }
}

impl Drop for Context {
    /// Waits for everything that is under way.
    fn drop(&mut self) {
        // SAFETY: the context is this one's own and is not used any more.
        let done = unsafe { libc::syscall(libc::SYS_io_destroy, self.handle()) };
        assert_eq!(done, 0, "a context is destroyed once: {}", io::Error::last_os_error());
    }
}

/// The kernel's end of the AIO files of one ring.
pub(super) struct Aio {
    context: Context,
    signal: OwnedFd,
    /// By slot. They stay where they are: a cancellation names a request by the address of its block.
    blocks: Box<[Block]>,
    /// Slots that were pushed and that the kernel does not have yet.
    queued: Vec<u32>,
    /// Their blocks, for the call; kept for its room.
    call: Vec<*mut Block>,
    /// What ended without the kernel: user data and result.
    ended: Vec<(u64, i32)>,
    /// Requests that the kernel has.
    in_flight: usize,
}

impl Aio {
    /// A context, if there is one to be had.
    pub(super) fn new() -> Result<Self, NoEngine> {
        let number = |name| fs::read_to_string(format!("/proc/sys/fs/{name}")).ok()?.trim().parse().ok();
        let none = |error| explain(&error, number("aio-nr"), number("aio-max-nr"));
        let signal = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|error| none(error.into()))?;
        Ok(Self {
            context: Context::new().map_err(none)?,
            signal,
            blocks: vec![Block::default(); MAX_FILE_TASKS].into(),
            queued: Vec::with_capacity(MAX_FILE_TASKS),
            call: Vec::with_capacity(MAX_FILE_TASKS),
            ended: Vec::with_capacity(MAX_FILE_TASKS),
            in_flight: 0,
        })
    }

    /// Has completions wake whoever waits for this registry.
    pub(super) fn wake(&self, registry: &Registry) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.signal.as_raw_fd()), SIGNAL_TOKEN, Interest::READABLE)
    }

    /// Whether it can do this at all.
    pub(super) fn does(op: &FileOp) -> bool {
        matches!(op, FileOp::Read { .. } | FileOp::Write { .. } | FileOp::Sync)
    }

    /// Queues the request of a task's stage under `user_data`. It goes out with the next [`Self::flush`]. Of a scatter
    /// list, `pieces` is made the list that the request names.
    ///
    /// # Safety
    /// The task keeps its file and its bytes, and nobody uses the bytes or changes `pieces`, until [`Self::pop`] gives
    /// `user_data` back.
    pub(super) unsafe fn push(
        &mut self,
        slot: u32,
        stage: Stage,
        task: &mut FileTask,
        pieces: &mut Vec<RawBytes>,
        user_data: u64,
    ) {
        let resfd = self.signal.as_raw_fd() as u32;
        let block = block(stage, task, pieces);
        self.blocks[slot as usize] = Block { data: user_data, flags: IOCB_FLAG_RESFD, resfd, ..block };
        self.queued.push(slot);
    }

    /// Hands over what was pushed, in one call if the kernel takes it all.
    pub(super) fn flush(&mut self) {
        while !self.queued.is_empty() {
            let first = self.blocks.as_mut_ptr();
            self.call.clear();
            self.call.extend(self.queued.iter().map(|&slot| first.wrapping_add(slot as usize)));
            let (handle, count) = (self.context.handle(), self.call.len());
            // SAFETY: so many pointers to blocks, which the kernel copies in the call, and writes a key into. What the
            // blocks name is alive and left alone until their completions are in: the promise of `push`.
            let taken = unsafe { libc::syscall(libc::SYS_io_submit, handle, count, self.call.as_mut_ptr()) };
            if let Ok(taken) = usize::try_from(taken) {
                self.in_flight += taken;
                self.queued.drain(..taken);
                continue;
            }
            let error = io::Error::last_os_error().raw_os_error().expect("an error of the system has a number");
            if error == libc::EAGAIN && self.in_flight > 0 {
                // No room: there is some when something has come back.
                return;
            }
            let slot = self.queued.remove(0);
            // Not a mistake in the request, which would have ended as one: the file has no such calls, or not this one.
            let error = if error == libc::EINVAL { libc::EOPNOTSUPP } else { error };
            self.ended.push((self.blocks[slot as usize].data, -error));
        }
    }

    /// Gives a task's request up if the kernel does not have it yet; else the kernel is asked, which mostly does not.
    pub(super) fn cancel(&mut self, slot: u32) {
        let block = &raw mut self.blocks[slot as usize];
        if let Some(at) = self.queued.iter().position(|&queued| queued == slot) {
            self.queued.remove(at);
            self.ended.push((self.blocks[slot as usize].data, -os::CANCELLED));
            return;
        }
        let mut event = Event::default();
        // SAFETY: the block is only looked at, and its address compared with those of requests under way; no kernel
        // writes the event any more, and if one does it is valid for that. The completion comes through the ring.
        let _ = unsafe { libc::syscall(libc::SYS_io_cancel, self.context.handle(), block, &raw mut event) };
    }

    /// The end of a request: its user data, and what the kernel says.
    pub(super) fn pop(&mut self) -> Option<(u64, i32)> {
        if self.in_flight > 0
            && let Some(done) = self.context.pop()
        {
            self.in_flight -= 1;
            return Some(done);
        }
        self.ended.pop()
    }
}

/// The request of a task's stage; it names the task's file and bytes, those of a scatter list by `pieces`, which then
/// says where they are.
fn block(stage: Stage, task: &mut FileTask, pieces: &mut Vec<RawBytes>) -> Block {
    let fd = task.file.file().as_raw_fd() as u32;
    let (done, (calls, offset, dsync)) = match (stage, task.op) {
        (Stage::Move(done), FileOp::Read { offset }) => (done, ([IOCB_CMD_PREAD, IOCB_CMD_PREADV], offset, false)),
        (Stage::Move(done), FileOp::Write { offset, dsync }) => {
            (done, ([IOCB_CMD_PWRITE, IOCB_CMD_PWRITEV], offset, dsync))
        }
        (Stage::Sync, _) => return Block { fd, opcode: IOCB_CMD_FDSYNC, ..Block::default() },
        (stage, op) => unreachable!("{op:?} in {stage:?} is for the workers"),
    };
    let [one, many] = calls;
    let (opcode, buf, bytes) = match &mut task.bufs {
        Bufs::None => unreachable!("reads and writes have bytes"),
        Bufs::One(buf) => (one, buf[done..].as_mut_ptr() as u64, (buf.len() - done) as u64),
        list @ Bufs::Many(_) => {
            list.raw(done, pieces);
            (many, pieces.as_ptr() as u64, pieces.len() as u64)
        }
    };
    Block {
        fd,
        opcode,
        rw_flags: if dsync { libc::RWF_DSYNC } else { 0 },
        buf,
        bytes,
        offset: (offset + done as u64) as i64,
        ..Block::default()
    }
}

/// What an error says about the system. `used` and `most` are what all contexts of the machine have together.
fn explain(error: &io::Error, used: Option<u64>, most: Option<u64>) -> NoEngine {
    let say = |why: String, hint: String| NoEngine { engine: FileEngine::Aio, why, hint };
    let otherwise = "The paths uring and threads do without it.";
    match (error.raw_os_error(), used, most) {
        (Some(libc::ENOSYS), ..) => {
            say("the kernel has no AIO (CONFIG_AIO), or a container's seccomp filter hides it".into(), otherwise.into())
        }
        (Some(libc::EPERM | libc::EACCES), ..) => say(
            "it is forbidden here, probably by a container's seccomp filter".into(),
            format!("Allow io_setup, io_submit, io_cancel and io_destroy in the profile. {otherwise}"),
        ),
        (Some(libc::EAGAIN), Some(used), Some(most)) => say(
            format!("fs.aio-max-nr allows {most} requests on this machine; {used} are taken, {MAX_FILE_TASKS} wanted"),
            format!(
                "Raise it: sysctl fs.aio-max-nr={}",
                (most + MAX_FILE_TASKS as u64).next_power_of_two().max(1 << 20)
            ),
        ),
        (Some(libc::EMFILE | libc::ENFILE), ..) => {
            say("there is no file descriptor left".into(), "Raise the limit of open files: ulimit -n 65536.".into())
        }
        _ => say(error.to_string(), otherwise.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::region::Pool;
    use crate::ring::Ring;

    #[test]
    fn every_refusal_says_what_to_do() {
        let say = |code| explain(&io::Error::from_raw_os_error(code), Some(65000), Some(65536)).to_string();
        for (code, why, hint) in [
            (libc::ENOSYS, "CONFIG_AIO", "uring and threads"),
            (libc::EPERM, "seccomp", "io_setup"),
            (libc::EAGAIN, "65536 requests on this machine; 65000", "sysctl fs.aio-max-nr=1048576"),
            (libc::EMFILE, "descriptor", "ulimit -n"),
            (libc::EIO, "os error 5", "threads"),
        ] {
            let said = say(code);
            assert!(said.starts_with("aio is not available") && said.contains(why) && said.contains(hint), "{said}");
        }
    }

    #[test]
    fn what_the_kernel_refuses_ends_and_what_comes_after_it_goes_on() {
        let Ok(mut aio) = Aio::new().inspect_err(|none| eprintln!("SKIPPED: {none}")) else { return };
        let mut ring = Ring::new().expect("a ring");
        let pool = Pool::anonymous(4096, 8).expect("memory");
        let file = tempfile::tempfile().expect("a file");
        file.set_len(1 << 20).expect("sparse");
        // Not for reading: the kernel refuses reads at once.
        let null = fs::File::options().write(true).open("/dev/null").expect("Unix has it");
        let (good, bad) = (ring.file(Arc::new(file)), ring.file(Arc::new(null)));
        let mut tasks = [&good, &bad, &bad, &good, &bad, &good].map(|file| FileTask {
            tag: 0,
            file: file.clone(),
            op: FileOp::Read { offset: 0 },
            bufs: pool.take().into(),
        });
        for (slot, task) in (0..).zip(&mut tasks) {
            // SAFETY: the tasks live until all have come back.
            unsafe { aio.push(slot, Stage::Move(0), task, &mut Vec::new(), slot.into()) };
        }
        aio.cancel(5);
        let mut ended = Vec::new();
        while ended.len() < tasks.len() {
            aio.flush();
            ended.extend(std::iter::from_fn(|| aio.pop()));
        }
        ended.sort_unstable();
        let (bad, cancelled) = (-libc::EBADF, -libc::ECANCELED);
        assert_eq!(ended, [(0, 4096), (1, bad), (2, bad), (3, 4096), (4, bad), (5, cancelled)]);
    }
}
