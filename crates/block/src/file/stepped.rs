//! The requests of a file that take several steps and are under way: each has a place, a buffer, and one task at the
//! ring.
//!
//! Their tasks have an owner of their own, with the place as the tag, so that they cannot be taken for requests that
//! are one task. A ring that has no room for the next step is asked again with every poll.

use std::io;

use machine::reactor::Arm;
use machine::region::{Buf, Pool};
use machine::ring::{FileDone, FileOp, FileTask, Owner, Ring, RingFile};

use super::queue::outcome_of;
use super::steps::{Copy, Next, Steps};
use crate::limits::{FILE_QUEUE_STEPPED, MAX_COPY_SOURCES, MAX_TRANSFER_BYTES};
use crate::{Completion, Failure, Outcome, Returned, Tag};

pub(super) struct Stepped {
    file: RingFile,
    owner: Owner,
    pool: Pool,
    places: [Option<Job>; FILE_QUEUE_STEPPED],
    /// Steps that the ring had no room for: place and what to do.
    waiting: Vec<(usize, FileOp)>,
    finished: Vec<FileDone>,
    /// Lists of sources without a copy, kept for their room.
    lists: Vec<Vec<(u64, u64)>>,
}

struct Job {
    tag: Tag,
    steps: Steps,
    /// Unless the ring has it.
    buf: Option<Buf>,
    cancelled: bool,
}

impl Stepped {
    pub(super) fn new(file: RingFile, owner: Owner) -> io::Result<Self> {
        let pool = Pool::anonymous(MAX_TRANSFER_BYTES as usize, FILE_QUEUE_STEPPED)?;
        let (places, waiting) = (std::array::from_fn(|_| None), Vec::with_capacity(FILE_QUEUE_STEPPED));
        let finished = Vec::with_capacity(FILE_QUEUE_STEPPED);
        let lists = (0..FILE_QUEUE_STEPPED).map(|_| Vec::with_capacity(MAX_COPY_SOURCES)).collect();
        Ok(Self { file, owner, pool, places, waiting, finished, lists })
    }

    pub(super) fn has_place(&self) -> bool {
        self.places.iter().any(Option::is_none)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.places.iter().flatten().count()
    }

    /// An empty list for the sources of a copy, for which there is a place.
    pub(super) fn list(&mut self) -> Vec<(u64, u64)> {
        self.lists.pop().expect("a list for each place")
    }

    /// Starts a request, for which there is a place.
    pub(super) fn start(&mut self, ring: &mut Ring, tag: Tag, mut steps: Steps) {
        let place = self.places.iter().position(Option::is_none).expect("there is a place");
        let mut buf = self.pool.take().expect("a buffer for each place");
        let Next::Do(op) = steps.first(&mut buf) else { unreachable!("no request is empty") };
        self.places[place] = Some(Job { tag, steps, buf: Some(buf), cancelled: false });
        self.submit(ring, place, op);
    }

    /// Gives the ring the next step of a place.
    fn submit(&mut self, ring: &mut Ring, place: usize, op: FileOp) {
        let job = self.places[place].as_mut().expect("a request in its place");
        let task = FileTask { tag: place as u64, file: self.file.clone(), op, bufs: job.buf.take().into() };
        if let Err(FileTask { bufs, .. }) = ring.submit_file(self.owner, task) {
            job.buf = bufs.one();
            self.waiting.push((place, op));
        }
    }

    /// Takes what the ring has done, and goes on with it.
    pub(super) fn poll(&mut self, ring: &mut Ring, out: &mut Vec<Completion>) {
        if self.in_flight() == 0 {
            return;
        }
        for _ in 0..self.waiting.len() {
            let (place, op) = self.waiting.swap_remove(0);
            self.go_on(ring, place, Next::Do(op), out);
        }
        ring.files_done(self.owner, &mut self.finished);
        while let Some(mut done) = self.finished.pop() {
            let place = done.tag as usize;
            let job = self.places[place].as_mut().expect("a request in its place");
            job.buf = done.bufs.take().one();
            let next = match outcome_of(&done) {
                Ok(()) => job.steps.next(job.buf.as_mut().expect("steps carry the buffer")),
                Err(failure) => Next::Over(Err(failure)),
            };
            self.go_on(ring, place, next, out);
        }
    }

    fn go_on(&mut self, ring: &mut Ring, place: usize, next: Next, out: &mut Vec<Completion>) {
        let cancelled = self.places[place].as_ref().is_some_and(|job| job.cancelled);
        match next {
            Next::Do(op) if !cancelled => self.submit(ring, place, op),
            Next::Do(_) => self.finish(place, Err(Failure::Cancelled), out),
            Next::Over(outcome) => self.finish(place, outcome, out),
        }
    }

    fn finish(&mut self, place: usize, outcome: Outcome, out: &mut Vec<Completion>) {
        let Job { tag, steps, .. } = self.places[place].take().expect("a request in its place");
        let data = match steps {
            Steps::Compare { with, .. } => with.into(),
            Steps::Verify { .. } => Returned::None,
            Steps::Copy(Copy { mut sources, .. }) => {
                sources.clear();
                self.lists.push(sources);
                Returned::None
            }
        };
        out.push(Completion { tag, outcome, data });
    }

    /// Asks for the end of a request; false if it is not one of these.
    pub(super) fn cancel(&mut self, ring: &mut Ring, tag: Tag) -> bool {
        let wanted = |job: &Option<Job>| job.as_ref().is_some_and(|job| job.tag == tag);
        let Some(place) = self.places.iter().position(wanted) else { return false };
        self.places[place].as_mut().expect("found by its tag").cancelled = true;
        ring.cancel_file(self.owner, place as u64);
        true
    }

    /// Asks for the end of all of them.
    pub(super) fn cancel_all(&mut self, ring: &mut Ring) {
        self.places.iter_mut().flatten().for_each(|job| job.cancelled = true);
        ring.cancel_files(self.owner);
    }

    pub(super) fn close(&self, ring: &mut Ring) {
        ring.release(self.owner);
    }

    pub(super) fn arm(&self, ring: &mut Ring) -> Arm {
        match (self.in_flight(), self.waiting.is_empty()) {
            (0, _) => Arm::Armed,
            (_, true) => ring.arm_files(self.owner),
            (_, false) => Arm::Busy,
        }
    }
}
