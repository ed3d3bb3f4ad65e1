//! The home of all reservations: one ordinary thread that decides about changes, one at a time for each namespace.
//!
//! ```text
//!   asked ─▶ apply ─▶ durable, if it persists ─▶ every reactor goes by the new access, and has drained ─▶ known,
//!              │                                  what those had who lost theirs                           answered
//!              └─ refused ─▶ answered
//! ```
//!
//! A thread and no reactor: a change may wait for a write that is durable, and there are few of them. What waits for
//! reactors waits as an entry in a table, so that a device that hangs holds up its own namespace only.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use machine::os;
use machine::reactor::Sender;
use wire::nvme::Status;

use super::desk::{Event, Fence, Job, Ruling, What};
use super::{Refusal, Reservations, Step};
use crate::target::Target;

/// How long the keeper waits before it tries a full mailbox again.
const FULL: Duration = Duration::from_millis(1);

/// A change that waits for reactors.
struct Pending {
    change: u64,
    job: Job,
    step: Step,
    /// Reactors that have not drained yet.
    reactors: usize,
}

/// See the module.
pub(crate) struct Keeper {
    target: Arc<Target>,
    events: Receiver<Event>,
    reactors: Vec<Sender<Ruling>>,
    pending: BTreeMap<u32, Pending>,
    waiting: VecDeque<Job>,
    changes: u64,
    stopped: bool,
}

impl Keeper {
    pub(crate) fn new(target: Arc<Target>, events: Receiver<Event>, reactors: Vec<Sender<Ruling>>) -> Self {
        let (pending, waiting) = (BTreeMap::new(), VecDeque::new());
        Self { target, events, reactors, pending, waiting, changes: 0, stopped: false }
    }

    /// Works until it is told to stop.
    pub(crate) fn run(mut self) {
        while !self.stopped
            && let Ok(event) = self.events.recv()
        {
            self.handle(event);
        }
    }

    /// Does what is there to do, and does not wait for more.
    pub(crate) fn turn(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Asked(job) => self.start(job),
            Event::Drained { change } => {
                let Some(pending) = self.pending.values_mut().find(|pending| pending.change == change) else { return };
                pending.reactors -= 1;
                if pending.reactors == 0 {
                    let namespace = pending.job.namespace;
                    let Pending { job, step, .. } = self.pending.remove(&namespace).expect("it was found");
                    self.finish(job, step);
                    self.resume(namespace);
                }
            }
            Event::Stop => self.stopped = true,
        }
    }

    /// The next one that waits for this namespace; those that are answered at once do not hold up the one behind.
    fn resume(&mut self, namespace: u32) {
        while !self.pending.contains_key(&namespace)
            && let Some(at) = self.waiting.iter().position(|job| job.namespace == namespace)
        {
            let job = self.waiting.remove(at).expect("it was found");
            self.start(job);
        }
    }

    fn start(&mut self, job: Job) {
        if self.pending.contains_key(&job.namespace) {
            self.waiting.push_back(job);
            return;
        }
        let Some(before) = self.target.reservations.state(job.namespace) else {
            return self.answer(&job, Status::INVALID_NAMESPACE.with_dnr());
        };
        let step = match decide(&before, &job.what) {
            Ok(step) => step,
            Err(refusal) => {
                if refusal == Refusal::Full {
                    tracing::warn!("a host cannot be registered: {refusal}");
                }
                return self.answer(&job, refusal.status());
            }
        };
        if !self.make_durable(job.namespace, &before, &step.next) {
            return self.answer(&job, Status::INTERNAL_ERROR);
        }
        let access = step.next.access();
        if access == before.access() && step.fenced.is_empty() {
            return self.finish(job, step);
        }
        self.changes += 1;
        let fence = Fence { change: self.changes, namespace: job.namespace, access, fenced: step.fenced.clone() };
        let (fence, reactors) = (Arc::new(fence), self.reactors.len());
        self.pending.insert(job.namespace, Pending { change: self.changes, job, step, reactors });
        for reactor in 0..reactors {
            self.rule(reactor, Ruling::Access(fence.clone()));
        }
    }

    /// Whether what persists of the new state is on the medium.
    fn make_durable(&self, namespace: u32, before: &Reservations, next: &Reservations) -> bool {
        if before == next || !(before.persists() || next.persists()) {
            return true;
        }
        // Taken out meanwhile: admin commands look at the table and must not wait for a medium.
        let taken = self.target.reservations.table().get_mut(&namespace).and_then(|entry| entry.store.take());
        let Some(mut store) = taken else { return false };
        let write = store.next_write(next);
        let written = os::write_all_at(store.file(), &write.bytes, write.offset, true);
        match &written {
            Ok(()) => store.written(),
            Err(error) => tracing::error!("reservations cannot be stored, and their change is refused: {error}"),
        }
        if let Some(entry) = self.target.reservations.table().get_mut(&namespace) {
            entry.store = Some(store);
        }
        written.is_ok()
    }

    /// The change holds everywhere: it is known, those whom it concerns are told, and it is answered.
    fn finish(&mut self, job: Job, step: Step) {
        if let Some(entry) = self.target.reservations.table().get_mut(&job.namespace) {
            entry.state = Arc::new(step.next);
        }
        for notice in &step.notices {
            self.target.notify(job.namespace, &notice.host, notice.what);
        }
        match job.what {
            What::Persist(persist, mut rest) if !rest.is_empty() => {
                let namespace = rest.remove(0);
                self.start(Job { namespace, what: What::Persist(persist, rest), ..job });
            }
            _ => self.answer(&job, Status::SUCCESS),
        }
    }

    fn answer(&self, job: &Job, status: Status) {
        let (reactor, owner) = job.asker;
        self.rule(reactor, Ruling::Answer(owner, status));
    }

    /// Tells a reactor. A full mailbox is tried again: its reactor takes what is in it with its next pass.
    fn rule(&self, reactor: usize, mut ruling: Ruling) {
        while let Err(back) = self.reactors[reactor].send(ruling) {
            if self.target.has_stopped() {
                return;
            }
            ruling = back;
            std::thread::sleep(FULL);
        }
    }
}

fn decide(before: &Reservations, what: &What) -> Result<Step, Refusal> {
    match what {
        What::Command(host, command) => before.apply(*host, command),
        What::Persist(persist, _) => {
            let next = before.with_persistence(*persist)?;
            Ok(Step { next, notices: Vec::new(), fenced: Vec::new() })
        }
    }
}
