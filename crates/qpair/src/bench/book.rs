//! What the queues of a reactor have in common: the stage that is running ([`Run`]), and what was found out about each
//! target ([`Book`]).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use block::{Failure, Outcome, ZoneAction, ZoneError};
use machine::clock::Fine;
use machine::region::Bufs;

use super::filling::Chore;
use super::lane::Slot;
use super::limits::{MAX_ERRORS, MAX_PRINTED};
use super::live::Progress;
use super::plan::{Goal, Shape, Stage};
use super::report::Ending;
use super::tally::Tally;
use super::verify::Ledger;
use super::workload::{Direction, Job};

/// The stage that is running, and how the run goes.
pub(super) struct Run {
    pub(super) goal: Goal,
    /// New requests may be submitted.
    pub(super) open: bool,
    /// Submissions that the goal leaves.
    pub(super) remaining: u64,
    /// First submission of the stage.
    pub(super) started: Option<Fine>,
    pub(super) last_completion: Option<Fine>,
    pub(super) closed: Option<Fine>,
    pub(super) ending: Ending,
    /// The first errors and miscompares of the stage, for people.
    pub(super) problems: Vec<String>,
    /// What a sweep of this reactor goes over.
    units: u64,
    progress: Arc<Progress>,
}

impl Run {
    pub(super) fn new(progress: Arc<Progress>) -> Self {
        Self {
            goal: Goal::Sweep,
            open: false,
            remaining: 0,
            started: None,
            last_completion: None,
            closed: None,
            ending: Ending::Goal,
            problems: Vec::new(),
            units: 0,
            progress,
        }
    }

    /// A new stage over `units` units.
    pub(super) fn begin(&mut self, stage: Stage, units: u64) {
        self.goal = stage.goal;
        self.open = true;
        self.ending = Ending::Goal;
        self.remaining = if let Goal::Count(count) = stage.goal { count } else { u64::MAX };
        (self.started, self.last_completion, self.closed) = (None, None, None);
        self.units = units;
        self.problems = Vec::with_capacity(MAX_PRINTED as usize);
        self.progress.begin(stage);
    }

    /// No more submissions; `ending` says why.
    pub(super) fn close(&mut self, ending: Ending) {
        if self.ending == Ending::Goal {
            self.ending = ending;
        }
        self.open = false;
    }

    pub(super) fn problem(&mut self, text: impl FnOnce() -> String) {
        if (self.problems.len() as u64) < MAX_PRINTED {
            self.problems.push(text());
        }
    }

    /// Shows the live line's thread how far this reactor is.
    pub(super) fn publish<'t>(&self, now: Fine, tallies: impl Iterator<Item = &'t Tally>) {
        let (mut ios, mut latency_ns) = (0, 0);
        for latencies in tallies.flat_map(|tally| &tally.latencies) {
            ios += latencies.count();
            latency_ns += latencies.sum_ns();
        }
        let permille = match (self.goal, self.started) {
            (Goal::For(time), Some(started)) => (now.since(started).as_nanos() * 1000 / time.as_nanos().max(1)) as u64,
            (Goal::Count(count), _) => (u128::from(ios) * 1000 / u128::from(count.max(1))) as u64,
            _ => (u128::from(ios) * 1000 / u128::from(self.units.max(1))) as u64,
        };
        self.progress.ios.store(ios, Relaxed);
        self.progress.latency_ns.store(latency_ns, Relaxed);
        self.progress.permille.store(permille, Relaxed);
    }
}

/// What one reactor finds out about one target.
pub(super) struct Book<'a> {
    /// The target's number.
    pub(super) target: usize,
    /// Its name in messages; empty if there is only one.
    name: String,
    pub(super) shape: Shape,
    pub(super) ledger: Option<&'a Ledger>,
    /// Of this stage.
    pub(super) tally: Tally,
}

impl<'a> Book<'a> {
    pub(super) fn new(target: usize, name: String, shape: Shape, ledger: Option<&'a Ledger>) -> Self {
        Self { target, name, shape, ledger, tally: Tally::new() }
    }

    /// Fills a write's buffers, and says which generation of the unit it is. `whole` has room for a unit: a block may
    /// be in several pieces.
    pub(super) fn prepare_write(&self, bufs: &mut Bufs, whole: &mut [u8], unit: u64, serial: u64) -> u32 {
        let address = self.shape.address(unit);
        let Some(ledger) = &self.ledger else {
            // Noise, different in every write.
            bufs.put(0, &address.to_le_bytes());
            bufs.put(8, &serial.to_le_bytes());
            return 0;
        };
        let generation = ledger.next_generation(unit);
        stamp(ledger, bufs, whole, address, generation);
        generation
    }

    /// The same of an append to the zone that starts with this unit. Where it will go is not known, so its blocks say
    /// the zone and a number that no other append of the queue has.
    pub(super) fn prepare_append(&self, bufs: &mut Bufs, whole: &mut [u8], zone: u64, serial: u64) -> u32 {
        let Some(ledger) = &self.ledger else { return self.prepare_write(bufs, whole, zone, serial) };
        let generation = Ledger::generation_of(serial);
        stamp(ledger, bufs, whole, self.shape.address(zone), generation);
        generation
    }

    /// These units are empty again.
    pub(super) fn forget(&self, units: std::ops::Range<u64>) {
        if let Some(ledger) = &self.ledger {
            units.for_each(|unit| ledger.forget(unit));
        }
    }

    /// The byte that the blocks of a unit say of themselves.
    fn stamped_address(&self, unit: u64) -> u64 {
        match self.shape.zones {
            Some(zones) if zones.append => self.shape.address(unit - unit % zones.units),
            _ => self.shape.address(unit),
        }
    }

    /// An append that ended well, but not where it can have gone.
    #[cold]
    pub(super) fn misplaced(&mut self, run: &mut Run, lba: u64, why: &str) {
        self.tally.errors.write += 1;
        let name = &self.name;
        run.problem(|| format!("{name}the device has put an append at block {lba:#x}, {why}"));
        run.close(Ending::Errors);
    }

    /// Something could not be done with a zone: it takes nothing any more.
    #[cold]
    pub(super) fn stuck(&self, run: &mut Run, chore: Chore, error: &ZoneError) {
        let name = &self.name;
        let verb = if chore.action == ZoneAction::Reset { "reset" } else { "finished" };
        run.problem(|| format!("{name}the zone at block {:#x} is not {verb}: {error}", chore.lba));
        run.close(Ending::Errors);
    }

    /// A request could not be submitted.
    pub(super) fn give_back(&self, unit: u64) {
        if let Some(ledger) = &self.ledger {
            ledger.give_back(unit);
        }
    }

    /// A request has ended; `pieces` are the bytes that a read brought, in order.
    #[inline]
    pub(super) fn ended<'p>(
        &mut self,
        run: &mut Run,
        slot: &Slot,
        outcome: Outcome,
        pieces: impl Iterator<Item = &'p [u8]>,
        now: Fine,
    ) {
        let Job { direction, unit } = slot.job;
        match outcome {
            Ok(()) => self.tally.latencies[direction as usize].record(now.since(slot.sent)),
            Err(failure) => self.failed(run, slot.job, failure),
        }
        let Some(ledger) = self.ledger else { return };
        match direction {
            Direction::Write => ledger.written(unit, slot.generation, outcome.is_ok()),
            Direction::Read if outcome.is_ok() => self.check(run, ledger, unit, pieces),
            Direction::Read => {}
        }
        if direction == Direction::Read || !self.shape.appends() {
            ledger.give_back(unit);
        }
    }

    fn check<'p>(&mut self, run: &mut Run, ledger: &Ledger, unit: u64, pieces: impl Iterator<Item = &'p [u8]>) {
        let Some(expected) = ledger.expected(unit) else {
            self.tally.verified.skipped += 1;
            return;
        };
        self.tally.verified.checked += 1;
        let first = self.stamped_address(unit);
        let mut address = first;
        for piece in pieces {
            if let Err(miscompare) = ledger.stamper.check(piece, address, expected) {
                self.tally.verified.miscompares += 1;
                let moved = self.shape.address(unit) - first;
                let place = if moved > 0 { format!(" (appended {moved} bytes behind)") } else { String::new() };
                run.problem(|| format!("{}{miscompare}{place}", self.name));
                run.close(Ending::Miscompare);
                return;
            }
            address += piece.len() as u64;
        }
        assert_eq!(address, first + self.shape.unit_bytes as u64, "a read brings all of its bytes");
    }

    #[cold]
    pub(super) fn failed(&mut self, run: &mut Run, job: Job, failure: Failure) {
        let errors = &mut self.tally.errors;
        match job.direction {
            Direction::Read => errors.read += 1,
            Direction::Write => errors.write += 1,
        }
        // Without its connection every further request would fail at once.
        let lost = matches!(failure, Failure::Disconnected | Failure::Unreachable);
        let enough = lost || errors.total() >= MAX_ERRORS;
        let (address, name) = (self.shape.address(job.unit), &self.name);
        run.problem(|| format!("{name}{} at offset {address} failed: {}", job.direction.name(), failure));
        if enough {
            run.close(Ending::Errors);
        }
    }
}

/// Stamps the blocks of a write; those of a scatter list in `whole` first.
fn stamp(ledger: &Ledger, bufs: &mut Bufs, whole: &mut [u8], address: u64, generation: u32) {
    if let Bufs::One(buf) = bufs {
        ledger.stamper.stamp(buf, address, generation);
    } else {
        ledger.stamper.stamp(whole, address, generation);
        bufs.put(0, whole);
    }
}
