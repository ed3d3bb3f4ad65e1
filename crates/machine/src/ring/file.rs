//! File tasks: what is asked, what is pending, what is done.
//!
//! ```text
//!   submit --> pending[slot]  (keeps the task and its buffer)          on the ring's thread
//!                  | Job: slot, file, pointer + length
//!                  v
//!              worker threads: pread, pwrite, fdatasync, fallocate     (worker.rs)
//!                  | Done: slot, result
//!                  v
//!   reap   --> done[owner]    (the buffer goes back to who asked)      on the ring's thread
//! ```
//!
//! A buffer never leaves the ring's thread: the worker gets its address, and `pending` keeps it until the completion is
//! in. When a ring is dropped its workers are joined first, the buffers go after.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::worker::{Done, Job, Workers};
use super::{Owner, Waker};
use crate::limits::MAX_FILE_TASKS;
use crate::region::Buf;

/// What a file task does. Offsets and lengths in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOp {
    /// Fills the buffer up to its length. A file that ends before gives `UnexpectedEof`.
    Read {
        /// Where in the file.
        offset: u64,
    },
    /// Writes the whole buffer.
    Write {
        /// Where in the file.
        offset: u64,
        /// The data is durable when the task is done (`RWF_DSYNC`, else `fdatasync` after it).
        dsync: bool,
    },
    /// All data written before is durable when the task is done (`fdatasync`).
    Sync,
    /// The range reads as zeros afterwards. Never makes the file longer.
    Zero {
        /// Where in the file.
        offset: u64,
        /// How much.
        len: u64,
        /// The zeros are durable when the task is done.
        dsync: bool,
        /// Gives the space back where that can be done, rather than keeping it.
        deallocate: bool,
    },
    /// A hint that the range is not needed any more; where it is followed, the range reads as zeros afterwards. Done
    /// without an error also where the file system cannot do it.
    Deallocate {
        /// Where in the file.
        offset: u64,
        /// How much.
        len: u64,
    },
}

/// Something to be done with a file, off the reactor's thread.
pub struct FileTask {
    /// Matches the completion.
    pub tag: u64,
    /// The file; kept open until the task is done.
    pub file: Arc<File>,
    /// What to do.
    pub op: FileOp,
    /// The bytes of a read or a write; aligned as the file asks for it.
    pub buf: Option<Buf>,
}

/// The end of a file task.
pub struct FileDone {
    /// The task's tag.
    pub tag: u64,
    /// What was asked.
    pub op: FileOp,
    /// The task's buffer.
    pub buf: Option<Buf>,
    /// How it ended; errors of the operating system keep their number (`raw_os_error`).
    pub result: io::Result<()>,
}

struct Pending {
    owner: Owner,
    task: FileTask,
}

/// The file side of a ring.
#[derive(Default)]
pub(super) struct Files {
    /// Started with the first task. Dropped, and so joined, before `pending`.
    workers: Option<Workers>,
    pending: Vec<Option<Pending>>,
    free: Vec<u32>,
    in_flight: usize,
    /// By owner.
    done: Vec<Inbox>,
    /// How many of `done` are fresh.
    fresh: usize,
}

/// What is done for one owner.
#[derive(Default)]
struct Inbox {
    list: Vec<FileDone>,
    /// Something was put in after the owner last took and the ring last asked.
    fresh: bool,
}

impl Files {
    pub(super) fn add_owner(&mut self) {
        self.done.push(Inbox::default());
    }

    /// Hands a task to the workers, or gives it back if too many are pending.
    pub(super) fn submit(&mut self, owner: Owner, task: FileTask, waker: &Waker) -> Result<(), FileTask> {
        if self.workers.is_none() {
            match Workers::start(waker) {
                Ok(workers) => self.ready_for_tasks(workers),
                Err(error) => {
                    self.finish(Pending { owner, task }, Err(error));
                    return Ok(());
                }
            }
        }
        let Some(slot) = self.free.pop() else { return Err(task) };
        let pending = self.pending[slot as usize].insert(Pending { owner, task });
        let task = &mut pending.task;
        let carries = matches!(task.op, FileOp::Read { .. } | FileOp::Write { .. });
        assert_eq!(carries, task.buf.is_some(), "reads and writes carry a buffer, others do not: {:?}", task.op);
        let bytes = task.buf.as_mut().map(Buf::raw);
        let job = Job { slot, file: Arc::clone(&task.file), op: task.op, bytes };
        self.in_flight += 1;
        self.workers.as_ref().expect("started above").push(job);
        Ok(())
    }

    /// Moves what the workers have finished to the lists of its owners. Costs a comparison when nothing is in flight.
    pub(super) fn reap(&mut self) {
        if self.in_flight == 0 {
            return;
        }
        while let Some(Done { slot, result }) = self.workers.as_ref().and_then(Workers::pop) {
            let pending = self.pending[slot as usize].take().expect("a slot completes once");
            self.free.push(slot);
            self.in_flight -= 1;
            self.finish(pending, result);
        }
    }

    /// Reaps, and tells whether completions were put on a list since this was asked before. The list's owner may have
    /// looked before that, so the ring must not sleep. An owner that is gone and never looks keeps it awake only once.
    pub(super) fn news(&mut self) -> bool {
        self.reap();
        let news = self.fresh > 0;
        if news {
            self.done.iter_mut().for_each(|inbox| inbox.fresh = false);
            self.fresh = 0;
        }
        news
    }

    /// Moves an owner's completions to `out`.
    pub(super) fn take(&mut self, owner: Owner, out: &mut Vec<FileDone>) {
        self.reap();
        let inbox = &mut self.done[owner.index()];
        out.append(&mut inbox.list);
        self.fresh -= usize::from(std::mem::take(&mut inbox.fresh));
    }

    /// Whether an owner has completions to take.
    pub(super) fn has_done(&mut self, owner: Owner) -> bool {
        self.reap();
        !self.done[owner.index()].list.is_empty()
    }

    fn ready_for_tasks(&mut self, workers: Workers) {
        self.pending.resize_with(MAX_FILE_TASKS, || None);
        self.free = (0..MAX_FILE_TASKS as u32).rev().collect();
        self.workers = Some(workers);
    }

    fn finish(&mut self, Pending { owner, task }: Pending, result: io::Result<()>) {
        let FileTask { tag, op, buf, .. } = task;
        let inbox = &mut self.done[owner.index()];
        inbox.list.push(FileDone { tag, op, buf, result });
        self.fresh += usize::from(!std::mem::replace(&mut inbox.fresh, true));
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // Not left to the order of the fields: a worker may still write to a buffer in `pending`.
        drop(self.workers.take());
    }
}
