//! The reactors of a run, and who conducts them.
//!
//! ```text
//!   conductor   stage ──▶ all         all found ──▶ merge ──▶ next stage
//!   reactor 0        ├──▶ run ──▶ found ──▶┤
//!   reactor 1        └──▶ run ──▶ found ──▶┘      own ring, own queues, own pool, own counters
//! ```
//!
//! Between stages nothing is in flight anywhere. In a stage the reactors share nothing that is written, but for the
//! ledgers of `--verify` and a flag that says that one of them is in trouble.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, Scope};

use block::Device;
use machine::os::{self, Usage};
use machine::reactor::{Reactor, Snapshot};
use machine::region::Pool;
use machine::ring::Ring;

use super::engine::{Engine, Found, Halt, Part};
use super::limits::MAX_PRINTED;
use super::live::{Phase, Progress};
use super::plan::{Goal, Plan, Shape, Stage};
use super::report::{Ending, Errors, Verified};
use super::tally::Tally;
use super::verify::{Ledger, Stamper};

/// What the reactors work with.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) devices: &'a [Arc<dyn Device>],
    pub(super) plan: &'a Plan,
    /// One for each reactor.
    pub(super) progress: &'a [Arc<Progress>],
    pub(super) stop: &'a AtomicBool,
}

/// What a whole run came to.
pub(super) struct Outcome {
    /// The measurements, one a step as far as the run got; at least one, which may be empty.
    pub(super) steps: Vec<Measured>,
    pub(super) ending: Ending,
    /// Of all stages, and all targets.
    pub(super) errors: Errors,
    /// Of all stages, and all targets.
    pub(super) verified: Verified,
    /// The first errors and miscompares.
    pub(super) problems: Vec<String>,
}

/// One measurement: what each reactor found, and what the process used meanwhile.
pub(super) struct Measured {
    pub(super) depth: usize,
    /// Empty if the run ended before it came to measuring.
    pub(super) reactors: Vec<(Snapshot, Found)>,
    pub(super) before: Usage,
    pub(super) after: Usage,
}

impl Measured {
    /// What was counted on each target.
    pub(super) fn tallies(&self, targets: usize) -> Vec<Tally> {
        let mut all = vec![Tally::new(); targets];
        for (target, tally) in self.reactors.iter().flat_map(|(_, found)| &found.tallies) {
            all[*target].merge(tally);
        }
        all
    }

    /// The worst of what ended it.
    fn ending(&self) -> Ending {
        self.reactors.iter().map(|(_, found)| found.ending).max().unwrap_or(Ending::Goal)
    }
}

/// Runs all stages.
///
/// # Errors
/// Those of opening queues, of memory, and of the reactors and their threads.
pub(super) fn run(work: Work<'_>) -> io::Result<Outcome> {
    let ledgers = work.plan.shapes.iter().map(|shape| {
        let stamper = Stamper { seed: shape.seed, block_bytes: shape.block_bytes as usize };
        shape.verify.then(|| Ledger::new(stamper, shape.units))
    });
    let ledgers = ledgers.collect::<Vec<_>>();
    let trouble = AtomicBool::new(false);
    thread::scope(|scope| {
        let member = |number| Member { number, work, ledgers: &ledgers, trouble: &trouble };
        let crew = (0..work.plan.reactors.len()).map(|number| Hand::hire(scope, member(number)));
        let crew = crew.collect::<io::Result<Vec<Hand>>>()?;
        // All queues are open before the first request.
        crew.iter().try_for_each(Hand::ready)?;
        tracing::info!(reactors = crew.len(), "measuring");
        conduct(work.plan, &crew, &trouble)
    })
}

fn conduct(plan: &Plan, crew: &[Hand], trouble: &AtomicBool) -> io::Result<Outcome> {
    let (targets, mut steps, mut problems) = (plan.shapes.len(), Vec::new(), Vec::new());
    let (mut ending, mut errors, mut verified) = (Ending::Goal, Errors::default(), Verified::default());
    let mut stages: VecDeque<Stage> = plan.stages().into();
    while let Some(stage) = stages.pop_front() {
        let before = os::usage();
        for (number, hand) in crew.iter().enumerate() {
            hand.begin(Stage { goal: stage.goal.part(number, crew.len()), ..stage });
        }
        let reactors = crew.iter().map(Hand::found).collect::<io::Result<Vec<_>>>()?;
        let mut measured = Measured { depth: stage.depth, reactors, before, after: os::usage() };
        for tally in measured.tallies(targets) {
            errors.merge(tally.errors);
            verified.merge(tally.verified);
        }
        problems.extend(measured.reactors.iter_mut().flat_map(|(_, found)| found.problems.drain(..)));
        problems.truncate(MAX_PRINTED as usize);
        let this = measured.ending();
        ending = ending.max(this);
        if stage.phase == Phase::Measure {
            steps.push(measured);
        } else if ending != Ending::Goal && steps.is_empty() {
            steps.push(Measured { reactors: Vec::new(), after: before, ..measured });
        }
        verified.read_back |= stage.phase == Phase::ReadBack && this == Ending::Goal;
        if this != Ending::Goal {
            stages.clear();
        }
        // Whoever wants to stop wants to know all the same whether what was written is there. A device that has not
        // answered is not asked again.
        let heard = matches!(stage.goal, Goal::LastSweep(_));
        if this == Ending::Interrupt && !heard && errors.unfinished == 0 {
            trouble.store(false, Ordering::Relaxed);
            stages.extend(plan.last_stage());
        }
    }
    Ok(Outcome { steps, ending, errors, verified, problems })
}

/// The conductor's end of a reactor's thread, which ends when this is dropped.
struct Hand {
    number: usize,
    stages: Sender<Stage>,
    ready: Receiver<io::Result<()>>,
    found: Receiver<io::Result<(Snapshot, Found)>>,
}

impl Hand {
    /// Starts a reactor's thread.
    fn hire<'scope, 'env>(scope: &'scope Scope<'scope, 'env>, member: Member<'env>) -> io::Result<Self> {
        let (stages, orders) = mpsc::channel();
        let (tell_ready, ready) = mpsc::channel();
        let (tell_found, found) = mpsc::channel();
        let number = member.number;
        let name = member.work.plan.reactors[number].name.clone();
        thread::Builder::new().name(name).spawn_scoped(scope, move || member.run(&orders, &tell_ready, &tell_found))?;
        Ok(Self { number, stages, ready, found })
    }

    /// Waits until its queues are open.
    fn ready(&self) -> io::Result<()> {
        self.ready.recv().unwrap_or_else(|_| Err(self.gone()))
    }

    fn begin(&self, stage: Stage) {
        // If it is gone, `found` says so.
        let _ = self.stages.send(stage);
    }

    /// Waits for the end of the stage.
    fn found(&self) -> io::Result<(Snapshot, Found)> {
        self.found.recv().unwrap_or_else(|_| Err(self.gone()))
    }

    fn gone(&self) -> io::Error {
        io::Error::other(format!("reactor {} panicked", self.number))
    }
}

/// A reactor's thread.
struct Member<'a> {
    number: usize,
    work: Work<'a>,
    /// One for each target; none without `--verify`.
    ledgers: &'a [Option<Ledger>],
    trouble: &'a AtomicBool,
}

impl Member<'_> {
    /// Opens the queues, then runs the stages that it is told, until there are no more. That nobody listens any more
    /// means that the run has failed elsewhere.
    fn run(
        &self,
        stages: &Receiver<Stage>,
        ready: &Sender<io::Result<()>>,
        answers: &Sender<io::Result<(Snapshot, Found)>>,
    ) {
        let config = &self.work.plan.reactors[self.number];
        // Pinned first, so that memory is near.
        let ring = config.cpu.map_or(Ok(()), os::pin_to).and_then(|()| Ring::of(config.ring));
        let prepared = ring.and_then(|mut ring| self.engine(&mut ring).map(|engine| (ring, engine)));
        let (mut ring, mut engine) = match prepared {
            Ok(both) => both,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let _ = ready.send(Ok(()));
        let finished = engine.finished();
        while let Ok(stage) = stages.recv() {
            engine.begin(stage);
            let clocks = Reactor::run_here(config, &mut ring, &mut [&mut engine], || finished.get());
            let _ = answers.send(clocks.map(|clocks| (clocks, engine.found())));
        }
    }

    fn engine(&self, ring: &mut Ring) -> io::Result<Engine<'_>> {
        let Work { devices, plan, progress, stop } = self.work;
        let (mut parts, mut buffers) = (Vec::new(), 0);
        for (target, seats) in plan.deal(self.number) {
            let (device, shape) = (&devices[target], plan.shapes[target]);
            let name = if devices.len() > 1 { format!("{}: ", device.info().name) } else { String::new() };
            let mut queues = Vec::with_capacity(seats.len());
            for seat in seats {
                let queue = device.open_queue(ring).map_err(|error| {
                    let text = format!("{name}I/O queue {} does not open: {error}", seat.index + 1);
                    io::Error::new(error.kind(), text)
                })?;
                queues.push((seat, queue));
                buffers += shape.buffers();
            }
            parts.push(Part { target, name, device, shape, ledger: self.ledgers[target].as_ref(), queues });
        }
        let buffer_bytes = plan.shapes.iter().map(Shape::buffer_bytes).max().expect("there is a target");
        let pool = Pool::anonymous(buffer_bytes, buffers)?;
        ring.register_pool(&pool);
        let halt = Halt { stop, trouble: self.trouble };
        Ok(Engine::new(parts, &pool, Arc::clone(&progress[self.number]), halt))
    }
}
