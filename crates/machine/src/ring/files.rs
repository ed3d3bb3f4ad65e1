//! The file side of a ring: which tasks are pending, who does them, and what is done.
//!
//! ```text
//!   submit ──▶ pending[slot]  (keeps the task and its buffer)               on the ring's thread
//!                 │ request: slot, pointer + length
//!                 ├──────▶ io_uring                          (uring)  ──┐
//!                 ├──────▶ ... another one, which polls               ──┤
//!                 ├──────▶ io_submit                           (aio)  ──┤
//!                 ├──────▶ ReadFile, WriteFile, overlapped    (iocp)  ──┤
//!                 └──────▶ worker threads: pread, fallocate  (worker) ──┤
//!                      what the kernel does not do, the workers do      │
//!   reap   ──▶ done[owner]    (the buffer goes back to who asked) ◀─────┘   on the ring's thread
//! ```
//!
//! Which engine it is, the file knows (`engine.rs`), and whether and how it polls (`polling.rs`). A task of a `sync`
//! file is over when it is submitted: it goes to `done` at once, and never is in the table.
//!
//! A buffer never leaves the ring's thread: the kernel or the worker gets its address, and `pending` keeps it until the
//! completion is in. When a ring is dropped, all that is under way is waited for first; the buffers go after.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::aio::Aio;
use super::events::Registry;
use super::iocp::{End, Iocp, Run, Step};
use super::polled::Polled;
use super::registered::Registered;
use super::uring::{Next, Stage, Uring};
use super::worker::{Done, Job, JobBytes, Moved, Workers, perform};
use super::{FileDone, FileEngine, FileOp, FileTask, NoEngine, Owner, Polling, RingFile, Waker};
use crate::limits::{MAX_FILE_TASKS, MAX_PIECES, POSTPONED_PASSES};
use crate::region::{Bufs, Pool, RawBytes, no_slices};

struct Pending {
    owner: Owner,
    task: FileTask,
    with: With,
    cancelled: bool,
}

/// Who has a pending task.
#[derive(Clone, Copy)]
enum With {
    Uring(Stage),
    /// The one with this number of those that poll.
    Polled(usize, Stage),
    Aio(Stage),
    Iocp(Run),
    Workers,
}

#[derive(Default)]
struct Slot {
    /// Counts the tasks that were here, so that a late cancellation does not hit the next one.
    generation: u32,
    pending: Option<Pending>,
    /// Where the pieces of a scatter list are, for whoever moves their bytes; kept for its room.
    pieces: Vec<RawBytes>,
}

/// The file side of a ring.
pub(super) struct Files {
    /// What wakes the ring, for the workers.
    waker: Waker,
    /// What files get that do not say.
    engine: FileEngine,
    /// There from the start if it is the ring's own engine, else from the first file on that asks for it.
    uring: Option<Uring>,
    /// Made with the first file that asks for one.
    polled: Vec<Polled>,
    /// Made with the first file that asks for it.
    aio: Option<Aio>,
    /// There if the ring has a port.
    iocp: Option<Iocp>,
    registered: Registered,
    /// Started with the first task that needs them.
    workers: Option<Workers>,
    /// Made with the first task.
    slots: Vec<Slot>,
    free: Vec<u32>,
    in_flight: usize,
    /// Nothing waits for the sleep to be submitted.
    at_once: bool,
    /// How often the only request was left to the sleep.
    postponed: u32,
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
    /// No tasks yet; without `uring` or a port the workers do those of files that do not ask for another engine.
    pub(super) fn new(uring: Option<Uring>, iocp: Option<Iocp>, waker: Waker) -> Self {
        let (slots, free, done) = (Vec::new(), Vec::new(), Vec::new());
        let engine = match (&uring, &iocp) {
            (Some(_), _) => FileEngine::Uring,
            (None, Some(_)) => FileEngine::Iocp,
            (None, None) => FileEngine::Threads,
        };
        let registered = Registered::new(None);
        let mut files = Self {
            waker,
            engine,
            uring: None,
            polled: Vec::new(),
            aio: None,
            iocp,
            registered,
            workers: None,
            slots,
            free,
            in_flight: 0,
            at_once: false,
            postponed: 0,
            done,
            fresh: 0,
        };
        if let Some(uring) = uring {
            files.attach(uring);
        }
        files
    }

    fn attach(&mut self, mut uring: Uring) {
        self.registered.attach(&mut uring);
        self.uring = Some(uring);
    }

    pub(super) fn add_owner(&mut self) {
        self.done.push(Inbox::default());
    }

    /// The owner has no tasks any more.
    pub(super) fn release(&self, owner: Owner) {
        let pending = self.slots.iter().any(|slot| slot.pending.as_ref().is_some_and(|pending| pending.owner == owner));
        assert!(!pending && self.done[owner.index()].list.is_empty(), "an owner with file tasks is given back");
    }

    /// See [`super::Ring::file`].
    pub(super) fn file(&mut self, file: Arc<File>) -> RingFile {
        let mut engine = self.engine;
        if let Some(iocp) = &self.iocp {
            match iocp.open(&file) {
                Ok(own) => return self.registered.overlapped_file(file, own),
                Err(error) => {
                    tracing::info!(%error, "a file cannot be opened again for overlapped calls: the workers have it");
                    engine = FileEngine::Threads;
                }
            }
        }
        self.registered.file(self.uring.as_mut(), file, engine)
    }

    /// See [`super::Ring::file_by`].
    pub(super) fn file_by(
        &mut self,
        file: Arc<File>,
        engine: FileEngine,
        registry: &Registry,
    ) -> Result<RingFile, NoEngine> {
        match engine {
            FileEngine::Uring if self.uring.is_none() => self.attach(Uring::new()?),
            FileEngine::Aio if self.aio.is_none() => {
                let aio = Aio::new()?;
                let hint = || "The paths uring and threads do without it.".to_owned();
                aio.wake(registry).map_err(|error| NoEngine { engine, why: error.to_string(), hint: hint() })?;
                self.aio = Some(aio);
            }
            FileEngine::Iocp => {
                let none = || NoEngine::no_port("this ring has no completion port");
                let own = self.iocp.as_ref().ok_or_else(none)?.open(&file).map_err(NoEngine::no_port)?;
                return Ok(self.registered.overlapped_file(file, own));
            }
            FileEngine::Uring | FileEngine::Aio | FileEngine::Threads | FileEngine::Sync => {}
        }
        Ok(self.registered.file(self.uring.as_mut(), file, engine))
    }

    /// See [`super::Ring::file_polled`].
    pub(super) fn file_polled(
        &mut self,
        file: Arc<File>,
        polling: Polling,
        registry: &Registry,
    ) -> Result<RingFile, NoEngine> {
        assert!(polling.any(), "a polled file that nothing polls for");
        // For what is not to be polled for.
        if self.uring.is_none() {
            self.attach(Uring::new()?);
        }
        let number = match self.polled.iter().position(|polled| polled.polling() == polling) {
            Some(number) => number,
            None => {
                let number = self.polled.len();
                self.polled.push(Polled::new(number, polling, self.registered.pools(), registry)?);
                number
            }
        };
        Ok(self.polled[number].file(file))
    }

    /// What tells this ring from others.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn ring_id(&self) -> u32 {
        self.registered.ring()
    }

    /// Requests that the kernel's ordinary ring was not told of.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn queued(&mut self) -> usize {
        self.uring.as_mut().map_or(0, Uring::queued)
    }

    /// What tells one that polls from others.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn polled_id(&self, number: usize) -> u32 {
        self.polled[number].id()
    }

    /// Waits until the thread of one that polls sleeps.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn polled_falls_asleep(&mut self, number: usize) {
        self.polled[number].falls_asleep();
    }

    /// Lets go of files that nobody has any more.
    pub(super) fn forget_files(&mut self) {
        if let Some(uring) = &mut self.uring {
            self.registered.forget_files(uring);
        }
        self.polled.iter_mut().for_each(Polled::forget_files);
    }

    /// See [`super::Ring::register_pool`].
    pub(super) fn register_pool(&mut self, pool: &Pool) {
        self.registered.pool(self.uring.as_mut(), pool);
        self.polled.iter_mut().for_each(|polled| polled.register_pool(pool));
    }

    /// See [`super::Ring::has_registered`].
    pub(super) fn has_registered(&self, pool: &Pool) -> bool {
        self.registered.has_pool(pool)
    }

    /// Makes completions that others announce end a sleep; whoever sleeps looks for [`Self::news`] after this.
    pub(super) fn arm(&mut self) {
        self.uring.iter_mut().for_each(Uring::arm);
        self.polled.iter_mut().for_each(Polled::arm);
    }

    /// Nobody sleeps any more.
    pub(super) fn disarm(&mut self) {
        self.uring.iter_mut().for_each(Uring::disarm);
        self.polled.iter_mut().for_each(Polled::disarm);
    }

    /// Whether completions are polled for, so that nothing would end a sleep.
    pub(super) fn spins(&self) -> bool {
        self.polled.iter().any(Polled::spins)
    }

    /// The kernel's ring while it has tasks: whoever waits for them waits there.
    pub(super) fn busy_uring(&mut self) -> Option<&mut Uring> {
        self.uring.as_mut().filter(|uring| uring.in_flight() > 0)
    }

    /// How long the ring may sleep without looking; `None`: it is woken in time.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.workers.as_ref().and_then(Workers::patience)
    }

    /// See [`Uring::take_fired`].
    pub(super) fn take_fired(&mut self) -> bool {
        self.uring.as_mut().is_some_and(Uring::take_fired)
    }

    /// Takes a task, or gives it back if too many are pending.
    pub(super) fn submit(&mut self, owner: Owner, task: FileTask) -> Result<(), FileTask> {
        let carries = matches!(task.op, FileOp::Read { .. } | FileOp::Write { .. });
        assert_eq!(carries, task.bufs.is_some(), "reads and writes carry buffers, others do not: {:?}", task.op);
        assert!(task.bufs.pieces().len() <= MAX_PIECES, "a scatter list is at most {MAX_PIECES} buffers");
        let engine = task.file.engine();
        if engine == FileEngine::Sync {
            return self.carry_out(owner, task);
        }
        if self.slots.is_empty() {
            self.slots.resize_with(MAX_FILE_TASKS, Slot::default);
            self.free = (0..MAX_FILE_TASKS as u32).rev().collect();
        }
        let Some(index) = self.free.pop() else { return Err(task) };
        let with = match (engine, task.file.polled()) {
            (FileEngine::Uring, Some(number)) if self.polled[number].does(&task.op) => {
                With::Polled(number, Stage::first(&task.op))
            }
            (FileEngine::Uring, _) => With::Uring(Stage::first(&task.op)),
            (FileEngine::Aio, _) if Aio::does(&task.op) => With::Aio(Stage::first(&task.op)),
            (FileEngine::Iocp, _) => Run::of(&task.op).map_or(With::Workers, With::Iocp),
            (FileEngine::Aio | FileEngine::Threads | FileEngine::Sync, _) => With::Workers,
        };
        self.slots[index as usize].pending = Some(Pending { owner, task, with, cancelled: false });
        self.in_flight += 1;
        self.start(index);
        Ok(())
    }

    /// Does a task here and now, and waits for the medium.
    fn carry_out(&mut self, owner: Owner, mut task: FileTask) -> Result<(), FileTask> {
        if self.done[owner.index()].list.len() >= MAX_FILE_TASKS {
            return Err(task);
        }
        let (file, op) = (task.file.file(), task.op);
        let result = match &mut task.bufs {
            Bufs::None => perform(file, op, Moved::One(&mut [])),
            Bufs::One(buf) => perform(file, op, Moved::One(buf)),
            many @ Bufs::Many(_) => perform(file, op, Moved::Many(many.slices(&mut no_slices()))),
        };
        self.put(owner, task, result);
        Ok(())
    }

    /// Hands the task in a slot to whoever has to do it next.
    fn start(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        let pending = slot.pending.as_mut().expect("a task to start");
        match pending.with {
            With::Uring(stage) => {
                let uring = self.uring.as_mut().expect("chosen because it is there");
                let entry = stage.entry(&mut pending.task, &mut slot.pieces, self.registered.ring());
                // SAFETY: the task keeps file and buffers, the slot the list of their pieces; both stay in the table
                // untouched until the completion has been popped, and the table is dropped after all of them have
                // (`Files::drop`).
                unsafe { uring.push(entry, user_data(index, slot.generation)) };
            }
            With::Polled(number, stage) => {
                // SAFETY: as above.
                unsafe {
                    self.polled[number].push(
                        stage,
                        &mut pending.task,
                        &mut slot.pieces,
                        user_data(index, slot.generation),
                    );
                }
            }
            With::Aio(stage) => {
                let aio = self.aio.as_mut().expect("made for the file");
                // SAFETY: as above.
                unsafe {
                    aio.push(index, stage, &mut pending.task, &mut slot.pieces, user_data(index, slot.generation))
                };
            }
            With::Iocp(run) => {
                let iocp = self.iocp.as_mut().expect("the file was opened for it");
                // SAFETY: as above.
                unsafe {
                    iocp.push(index, run, &mut pending.task, &mut slot.pieces, user_data(index, slot.generation))
                };
            }
            With::Workers => {
                let bytes = match &mut pending.task.bufs {
                    Bufs::None => JobBytes::None,
                    Bufs::One(buf) => JobBytes::One(buf.raw()),
                    many @ Bufs::Many(_) => {
                        many.raw(0, &mut slot.pieces);
                        JobBytes::Many(std::mem::take(&mut slot.pieces))
                    }
                };
                let job = Job { slot: index, file: Arc::clone(pending.task.file.file()), op: pending.task.op, bytes };
                match workers(&mut self.workers, &self.waker) {
                    Ok(workers) => workers.push(job),
                    Err(error) => {
                        drop(job);
                        self.finish(index, Err(error));
                    }
                }
            }
        }
    }

    /// Asks for the end of a task, or of all of an owner; see [`super::Ring::cancel_file`].
    pub(super) fn cancel(&mut self, owner: Owner, tag: Option<u64>) {
        for (index, slot) in (0..).zip(&mut self.slots) {
            let wanted = |it: &&mut Pending| it.owner == owner && tag.is_none_or(|tag| it.task.tag == tag);
            let Some(pending) = slot.pending.as_mut().filter(wanted) else { continue };
            if std::mem::replace(&mut pending.cancelled, true) {
                continue;
            }
            match pending.with {
                With::Uring(_) => {
                    let uring = self.uring.as_mut().expect("it has the task");
                    uring.cancel(user_data(index, slot.generation));
                }
                With::Polled(number, _) => self.polled[number].cancel(user_data(index, slot.generation)),
                With::Aio(_) => self.aio.as_mut().expect("it has the task").cancel(index),
                With::Iocp(_) => cancel_overlapped(self.iocp.as_ref(), index, pending),
                With::Workers => self.workers.as_ref().expect("they have the task").cancel(index),
            }
        }
    }

    /// Gives the kernel what was submitted, and moves what is finished to the lists of its owners. Costs a comparison
    /// when nothing is in flight.
    fn pass(&mut self) {
        if !self.postpones() {
            self.send();
        }
        self.polled.iter_mut().for_each(Polled::flush);
        if let Some(iocp) = &self.iocp {
            iocp.look();
        }
        self.reap();
    }

    /// Gives the kernel what was submitted for its ordinary ring.
    pub(super) fn send(&mut self) {
        if let Some(uring) = self.busy_uring() {
            uring.flush().expect("a ring's own descriptor, used on its own thread");
        }
    }

    /// See [`super::Ring::submit_at_once`].
    pub(super) fn submit_at_once(&mut self, at_once: bool) {
        self.at_once = at_once;
    }

    /// Whether the kernel gets what was submitted later. A request that is alone is mostly followed by a pass that
    /// finds nothing to do, and by the sleep, which submits it as well: one system call for both. A thread that finds
    /// other work meanwhile keeps it for [`POSTPONED_PASSES`] at most.
    fn postpones(&mut self) -> bool {
        let alone = self.in_flight == 1 && self.uring.as_mut().is_some_and(|uring| uring.queued() == 1);
        if !alone || self.at_once || self.postponed == POSTPONED_PASSES {
            self.postponed = 0;
            return false;
        }
        self.postponed += 1;
        true
    }

    /// Moves what is finished to the lists of its owners, and has the workers begin with what they were given.
    pub(super) fn reap(&mut self) {
        if self.in_flight == 0 {
            return;
        }
        while let Some((user_data, result)) = self.uring.as_mut().and_then(Uring::pop) {
            self.came_back(user_data, result);
        }
        for number in 0..self.polled.len() {
            while let Some((user_data, result)) = self.polled[number].pop() {
                self.came_back(user_data, result);
            }
        }
        self.reap_aio();
        while let Some(End { user_data, result }) = self.iocp.as_mut().and_then(Iocp::pop) {
            self.ran(user_data, result);
        }
        while let Some(Done { slot, pieces, result }) = self.workers.as_mut().and_then(Workers::pop) {
            self.slots[slot as usize].pieces = pieces;
            self.finish(slot, result);
        }
        if let Some(workers) = &mut self.workers {
            workers.flush();
        }
    }

    /// Hands over what was pushed, and takes what has come back, until nothing is left to hand over.
    fn reap_aio(&mut self) {
        while let Some(aio) = &mut self.aio {
            aio.flush();
            let Some((user_data, result)) = aio.pop() else { return };
            self.came_back(user_data, result);
        }
    }

    /// An overlapped call has ended.
    fn ran(&mut self, user_data: u64, result: io::Result<usize>) {
        let index = user_data as u32;
        let slot = &mut self.slots[index as usize];
        assert_eq!(u64::from(slot.generation), user_data >> 32, "a completion of a task that is over");
        let Some(Pending { task, with: With::Iocp(run), cancelled, .. }) = &mut slot.pending else {
            panic!("a completion of a task that others have")
        };
        match run.next(&task.op, task.bufs.len(), result, *cancelled) {
            Step::Done(result) => self.finish(index, result),
            Step::Go(next) => {
                *run = next;
                self.start(index);
            }
        }
    }

    /// A request of the kernel has ended.
    fn came_back(&mut self, user_data: u64, result: i32) {
        let index = user_data as u32;
        let slot = &mut self.slots[index as usize];
        assert_eq!(u64::from(slot.generation), user_data >> 32, "a completion of a task that is over");
        let Some(Pending { task, with, cancelled, .. }) = &mut slot.pending else { panic!("a slot completes once") };
        if matches!(with, With::Polled(number, _) if self.polled[*number].refuses(result)) {
            return self.finish(index, Err(io::Error::from_raw_os_error(-result)));
        }
        let (With::Uring(stage) | With::Polled(_, stage) | With::Aio(stage)) = with else {
            panic!("a completion of a task that the workers have")
        };
        let len = task.bufs.len();
        match stage.next(&task.op, len, result, *cancelled) {
            Next::Done(result) => self.finish(index, result),
            Next::Go(next) => {
                *stage = next;
                self.start(index);
            }
            Next::Workers => {
                *with = With::Workers;
                self.start(index);
            }
        }
    }

    /// Has completions of the kernel's ring wake whoever waits for this registry, between [`Self::arm`] and
    /// [`Self::disarm`]: for a thread that waits for the registry and not in that ring.
    pub(super) fn hang_bell(&mut self, registry: &Registry) -> io::Result<()> {
        self.uring.as_mut().map_or(Ok(()), |uring| uring.hang_bell(registry))
    }

    /// The last look of such a thread: what the kernel finished before the bell was armed did not ring it.
    pub(super) fn finished(&mut self) -> bool {
        self.pass();
        self.news()
    }

    /// Reaps, and tells whether completions were put on a list since this was asked before. The list's owner may have
    /// looked before that, so the ring must not sleep. An owner that is gone and never looks keeps it awake only once.
    pub(super) fn news(&mut self) -> bool {
        self.polled.iter_mut().for_each(Polled::flush);
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
        self.pass();
        let inbox = &mut self.done[owner.index()];
        out.append(&mut inbox.list);
        self.fresh -= usize::from(std::mem::take(&mut inbox.fresh));
    }

    /// Whether an owner has completions to take.
    pub(super) fn has_done(&mut self, owner: Owner) -> bool {
        self.reap();
        !self.done[owner.index()].list.is_empty()
    }

    /// Cancels what can be cancelled of the overlapped calls, and waits for all of them.
    fn finish_overlapped(&mut self) -> io::Result<()> {
        let Some(mut iocp) = self.iocp.take() else { return Ok(()) };
        for (index, slot) in (0..).zip(&self.slots) {
            if let Some(pending @ Pending { with: With::Iocp(_), .. }) = &slot.pending {
                cancel_overlapped(Some(&iocp), index, pending);
            }
        }
        iocp.finish()
    }

    /// Gives a task back to its owner.
    fn finish(&mut self, index: u32, result: io::Result<()>) {
        let slot = &mut self.slots[index as usize];
        let Pending { owner, task, .. } = slot.pending.take().expect("a slot completes once");
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
        self.in_flight -= 1;
        self.put(owner, task, result);
    }

    /// Puts a task that is over on its owner's list.
    fn put(&mut self, owner: Owner, task: FileTask, result: io::Result<()>) {
        let FileTask { tag, op, bufs, .. } = task;
        let inbox = &mut self.done[owner.index()];
        inbox.list.push(FileDone { tag, op, bufs, result });
        self.fresh += usize::from(!std::mem::replace(&mut inbox.fresh, true));
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // Not left to the order of the fields: a worker or the kernel may still write to a buffer in `slots`.
        drop(self.workers.take());
        drop(self.aio.take());
        let finished = self.polled.drain(..).try_for_each(Polled::finish);
        let finished = finished.and(self.uring.take().map_or(Ok(()), |mut uring| uring.finish()));
        let finished = finished.and(self.finish_overlapped());
        if let Err(error) = finished {
            tracing::error!(%error, "cannot wait for file requests: their buffers are lost");
            std::mem::forget(std::mem::take(&mut self.slots));
        }
    }
}

/// Asks for the end of a task that is under way by an overlapped call.
fn cancel_overlapped(iocp: Option<&Iocp>, index: u32, pending: &Pending) {
    let own = pending.task.file.own().expect("opened for it");
    iocp.expect("it has the task").cancel(index, own);
}

fn user_data(index: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(index)
}

/// The workers, started if they are not there yet.
fn workers<'a>(there: &'a mut Option<Workers>, waker: &Waker) -> io::Result<&'a mut Workers> {
    if there.is_none() {
        *there = Some(Workers::start(waker)?);
    }
    Ok(there.as_mut().expect("started above"))
}
