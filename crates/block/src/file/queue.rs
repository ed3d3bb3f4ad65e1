//! One reactor's way to a file: requests become file tasks of the ring, whose completions come back by tag. Those that
//! are several tasks are looked after by [`Stepped`].

use std::collections::VecDeque;

use machine::os::IO_ERROR;
use machine::reactor::Arm;
use machine::ring::{FileDone, FileOp, FileTask, Owner, Ring, RingFile};

use super::stepped::Stepped;
use super::steps::{Copy, Steps};
use crate::admit::{admit, bytes_of};
use crate::limits::FILE_QUEUE_DEPTH;
use crate::live_size::LiveSize;
use crate::{Completion, Completions, Data, Failure, Info, Op, Outcome, Queue, Refused, Request, Tag};

pub(super) struct FileQueue {
    info: Info,
    size: LiveSize,
    file: RingFile,
    owner: Owner,
    /// Tasks that the ring has.
    running: usize,
    /// Requests that are several tasks.
    stepped: Stepped,
    /// Completions of what never got to the ring.
    done: VecDeque<Completion>,
    /// What the ring gave back in this poll; kept for its room.
    finished: Vec<FileDone>,
}

impl FileQueue {
    pub(super) fn new(info: Info, size: LiveSize, file: RingFile, owner: Owner, stepped: Stepped) -> Self {
        let done = VecDeque::with_capacity(FILE_QUEUE_DEPTH);
        let finished = Vec::with_capacity(FILE_QUEUE_DEPTH);
        Self { info, size, file, owner, running: 0, stepped, done, finished }
    }

    /// What the file system has to do for `op`, which is admitted; none if there is nothing to do.
    fn file_op(&self, op: &Op) -> Option<FileOp> {
        let (offset, len) = op.range().map_or((0, 0), |range| bytes_of(&self.info, range));
        match *op {
            Op::Read(_) => Some(FileOp::Read { offset }),
            Op::Write { fua, .. } => Some(FileOp::Write { offset, dsync: fua }),
            // Whoever cannot write has nothing to make durable.
            Op::Flush => (!self.info.features.read_only).then_some(FileOp::Sync),
            Op::WriteZeroes { fua, deallocate, .. } => Some(FileOp::Zero { offset, len, dsync: fua, deallocate }),
            // Where zeros are promised, a hint is not enough.
            Op::Deallocate(_) if self.info.features.zeros_after_deallocate => {
                Some(FileOp::Zero { offset, len, dsync: false, deallocate: true })
            }
            Op::Deallocate(_) => Some(FileOp::Deallocate { offset, len }),
            Op::Compare(_) | Op::Verify(_) | Op::Copy { .. } => unreachable!("these take several steps"),
            Op::WriteUncorrectable(_) => unreachable!("a file does not do it"),
        }
    }

    /// The steps of a request that a file has no call for.
    fn steps(&mut self, op: Op, data: Data<'_>) -> Steps {
        let block = u64::from(self.info.block_bytes);
        match (op, data) {
            (Op::Compare(range), data) => Steps::Compare { offset: range.lba * block, with: data.into_bufs() },
            (Op::Verify(range), _) => {
                let (at, len) = bytes_of(&self.info, range);
                Steps::Verify { at, end: at + len }
            }
            (Op::Copy { range, fua }, Data::Sources(sources)) => {
                Steps::Copy(Copy::new(self.stepped.list(), sources, block, range.lba * block, fua))
            }
            _ => unreachable!("it was admitted, and is none of the others"),
        }
    }
}

impl Queue for FileQueue {
    fn submit<'a>(&mut self, ring: &mut Ring, request: Request<'a>) -> Result<(), Refused<'a>> {
        let stepped = matches!(request.op, Op::Compare(_) | Op::Verify(_) | Op::Copy { .. });
        if self.in_flight() == FILE_QUEUE_DEPTH || stepped && !self.stepped.has_place() {
            return Err(Refused(request));
        }
        let admitted = admit(&self.info, self.size.blocks(), &request);
        let Request { tag, op, data } = request;
        if let (Ok(()), true) = (admitted, stepped) {
            let steps = self.steps(op, data);
            self.stepped.start(ring, tag, steps);
            return Ok(());
        }
        // Lent and in-line data are not admitted for a file.
        let bufs = data.into_bufs();
        let task = match admitted.map(|()| self.file_op(&op)) {
            Ok(Some(op)) => FileTask { tag, file: self.file.clone(), op, bufs },
            at_once => {
                let outcome = at_once.map(|_| ());
                self.done.push_back(Completion { tag, outcome, data: bufs.into() });
                return Ok(());
            }
        };
        match ring.submit_file(self.owner, task) {
            Ok(()) => {
                self.running += 1;
                Ok(())
            }
            Err(FileTask { bufs, .. }) => Err(Refused(Request { tag, op, data: bufs.into() })),
        }
    }

    fn poll(&mut self, ring: &mut Ring, out: &mut Completions) {
        out.list.extend(self.done.drain(..));
        self.stepped.poll(ring, &mut out.list);
        ring.files_done(self.owner, &mut self.finished);
        self.running -= self.finished.len();
        out.list.extend(self.finished.drain(..).map(|done| {
            let outcome = outcome_of(&done);
            Completion { tag: done.tag, outcome, data: done.bufs.into() }
        }));
    }

    fn cancel(&mut self, ring: &mut Ring, tag: Tag) {
        if !self.stepped.cancel(ring, tag) {
            ring.cancel_file(self.owner, tag);
        }
    }

    fn cancel_all(&mut self, ring: &mut Ring) {
        self.stepped.cancel_all(ring);
        ring.cancel_files(self.owner);
    }

    fn in_flight(&self) -> usize {
        self.done.len() + self.running + self.stepped.in_flight()
    }

    fn close(&mut self, ring: &mut Ring) {
        ring.release(self.owner);
        self.stepped.close(ring);
    }

    fn arm(&mut self, ring: &mut Ring) -> Arm {
        if self.done.is_empty() { ring.arm_files(self.owner).and(self.stepped.arm(ring)) } else { Arm::Busy }
    }
}

/// How a task's end counts.
pub(super) fn outcome_of(done: &FileDone) -> Outcome {
    match &done.result {
        Ok(()) => Ok(()),
        Err(_) if done.is_cancelled() => Err(Failure::Cancelled),
        Err(error) => Err(Failure::Host(error.raw_os_error().unwrap_or(IO_ERROR))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;
    use std::time::Duration;

    use machine::os::disk_error_number;
    use machine::region::Pool;
    use machine::ring::Wait;
    use uuid::Uuid;

    use super::*;
    use crate::{Features, Identity, Range};

    #[test]
    fn a_full_medium_is_an_error_with_its_number() {
        let Ok(full) = File::options().read(true).write(true).open("/dev/full") else {
            eprintln!("SKIPPED a full medium: there is no /dev/full");
            return;
        };
        let info = Info {
            name: "full".to_owned(),
            kind: "file",
            block_bytes: 512,
            blocks: 100,
            preferred_blocks: 8,
            atomic_blocks: 1,
            max_transfer_bytes: 4096,
            piece_bytes: 1,
            features: Features::default(),
            identity: Identity::from_uuid(Uuid::nil()),
        };
        let mut ring = Ring::new().expect("a ring");
        let owner = ring.owner();
        let full = ring.file(Arc::new(full));
        let stepped = Stepped::new(full.clone(), ring.owner()).expect("memory");
        let mut queue = FileQueue::new(info, LiveSize::new(100), full, owner, stepped);
        let pool = Pool::anonymous(4096, 2).expect("memory");
        let range = Range { lba: 1, blocks: 8 };
        let ops = [
            (Op::Write { range, fua: false }, pool.take()),
            (Op::Write { range, fua: true }, pool.take()),
            (Op::WriteZeroes { range, fua: false, deallocate: true }, None),
        ];
        for (tag, (op, buf)) in ops.into_iter().enumerate() {
            let data = buf.map_or(Data::None, Data::Carried);
            assert!(queue.submit(&mut ring, Request { tag: tag as u64, op, data }).is_ok());
        }
        let mut out = Completions::default();
        while queue.in_flight() > 0 {
            ring.enter(Wait::For(Duration::from_millis(10))).expect("waits");
            queue.poll(&mut ring, &mut out);
        }
        assert_eq!(out.list.len(), 3);
        let full = Err(Failure::Host(disk_error_number("ENOSPC").expect("it has one")));
        assert!(out.list.iter().all(|completion| completion.outcome == full));
        drop(out);
        assert_eq!(pool.free(), 2);
    }
}
