//! What was done for whom: plain words that each reactor writes for itself and everybody may read.
//!
//! ```text
//!   Recorder (of one reactor) ──writes──▶ ReactorStats ──▶ Cell for each (subsystem, host, namespace) it has served
//!                                            │               └─ for each kind of command: bytes, latencies; errors
//!                                            └─ commands by stage, connections
//! ```
//!
//! The clock is not read for it. A command is stamped with the time its pass began; those that a pass has finished are
//! recorded when the next pass begins, which has just read the clock: there is no sleep in between, for the pass has
//! found work. So a latency is from before the command was received to after its answer was sent, and not shorter than
//! what happened inside the target. Nothing is shared between reactors; a reader adds up.

mod histogram;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use machine::Word;
use machine::clock::Fine;
use wire::nvme::{Status, io as opcode};

use self::histogram::Histogram;
pub use self::histogram::{BUCKETS, bound};
use crate::connection::command::{Stage, Stages};
use crate::limits::{FINISHED_PER_PASS, STATS_CELLS, STATUS_WORDS};

/// Kinds of I/O commands, as they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Read.
    Read,
    /// Write.
    Write,
    /// Flush.
    Flush,
    /// Write Zeroes.
    WriteZeroes,
    /// Dataset Management.
    Deallocate,
    /// Compare.
    Compare,
    /// Verify.
    Verify,
    /// Copy.
    Copy,
    /// Everything else.
    Other,
}

impl Kind {
    /// All kinds, in the order of their words.
    pub const ALL: [Self; 9] = [
        Self::Read,
        Self::Write,
        Self::Flush,
        Self::WriteZeroes,
        Self::Deallocate,
        Self::Compare,
        Self::Verify,
        Self::Copy,
        Self::Other,
    ];

    fn of(code: u8) -> Self {
        match code {
            opcode::READ => Self::Read,
            opcode::WRITE => Self::Write,
            opcode::FLUSH => Self::Flush,
            opcode::WRITE_ZEROES => Self::WriteZeroes,
            opcode::DSM => Self::Deallocate,
            opcode::COMPARE => Self::Compare,
            opcode::VERIFY => Self::Verify,
            opcode::COPY => Self::Copy,
            _ => Self::Other,
        }
    }

    /// Its name as a label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::WriteZeroes => "write_zeroes",
            Self::Deallocate => "deallocate",
            Self::Compare => "compare",
            Self::Verify => "verify",
            Self::Copy => "copy",
            Self::Other => "other",
        }
    }
}

/// Whose commands a cell counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// NQN of the subsystem.
    pub subsystem: String,
    /// NQN of the host; empty where more hosts came than are told apart.
    pub host: String,
    /// The namespace; 0 for commands to namespaces that are not there.
    pub nsid: u32,
}

/// The commands of one host to one namespace, on one reactor.
#[derive(Debug)]
#[repr(align(128))]
struct Cell {
    key: Key,
    kinds: [KindWords; Kind::ALL.len()],
    /// One for each status that was seen, in the order they were.
    errors: [ErrorWords; STATUS_WORDS],
    /// Statuses beyond those.
    other_errors: Word,
}

#[derive(Debug, Default)]
struct KindWords {
    bytes: Word,
    nanos: Word,
    latencies: Histogram,
}

#[derive(Debug, Default)]
struct ErrorWords {
    /// Status field without DNR and More; 0, which is success: free.
    status: Word,
    count: Word,
}

/// What one reactor has done. Shared with readers; its words are on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ReactorStats {
    stages: [Word; Stage::ALL.len()],
    connections: Word,
    /// Locked when a host uses a namespace on this reactor for the first time, and by readers.
    cells: Mutex<Vec<Arc<Cell>>>,
}

/// The commands of one host to one namespace, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Whose.
    pub key: Key,
    /// What succeeded, in the order of [`Kind::ALL`].
    pub kinds: [KindTraffic; Kind::ALL.len()],
    /// How many commands failed with which status; `None` for statuses that were too many to tell apart.
    pub errors: Vec<(Option<Status>, u64)>,
}

/// The commands of one kind that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindTraffic {
    /// Bytes from or to the host.
    pub bytes: u64,
    /// The sum of their latencies, in nanoseconds.
    pub nanos: u64,
    /// How many had a latency within each bucket: see [`bound`].
    pub latencies: [u64; BUCKETS],
}

impl KindTraffic {
    /// How many there were.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.latencies.iter().sum()
    }

    /// Adds those of another reactor.
    pub fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.nanos += other.nanos;
        for (mine, more) in self.latencies.iter_mut().zip(other.latencies) {
            *mine += more;
        }
    }
}

impl ReactorStats {
    /// Commands in a stage now.
    #[must_use]
    pub fn stage(&self, stage: Stage) -> u64 {
        self.stages[stage as usize].get()
    }

    /// Connections now.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.get()
    }

    /// What was done so far, for whom.
    #[must_use]
    pub fn served(&self) -> Vec<Traffic> {
        self.cells().iter().map(|cell| cell.read()).collect()
    }

    fn cells(&self) -> MutexGuard<'_, Vec<Arc<Cell>>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cell {
    fn new(key: Key) -> Self {
        Self {
            key,
            kinds: std::array::from_fn(|_| KindWords::default()),
            errors: std::array::from_fn(|_| ErrorWords::default()),
            other_errors: Word::default(),
        }
    }

    fn fail(&self, status: Status) {
        let code = u64::from(Status::new(status.sct, status.sc).to_field());
        match self.errors.iter().find(|words| [0, code].contains(&words.status.get())) {
            Some(words) => {
                words.count.add(1);
                words.status.set(code);
            }
            None => self.other_errors.add(1),
        }
    }

    fn read(&self) -> Traffic {
        let errors = self.errors.iter().map(|words| {
            let status = u16::try_from(words.status.get()).expect("it was one");
            (Some(Status::from_field(status)), words.count.get())
        });
        let errors = errors.chain([(None, self.other_errors.get())]);
        Traffic {
            key: self.key.clone(),
            kinds: self.kinds.each_ref().map(|words| KindTraffic {
                bytes: words.bytes.get(),
                nanos: words.nanos.get(),
                latencies: words.latencies.read(),
            }),
            errors: errors.filter(|(status, count)| *count > 0 && status.is_none_or(|it| !it.is_success())).collect(),
        }
    }
}

/// The place of a cell on its reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CellId(u32);

/// A command that this pass has finished.
struct Finished {
    cell: CellId,
    kind: Kind,
    bytes: u32,
    since: Fine,
}

/// The writing end: belongs to one reactor.
pub(crate) struct Recorder {
    stats: Arc<ReactorStats>,
    cells: Vec<Arc<Cell>>,
    finished: Vec<Finished>,
    now: Fine,
}

impl Recorder {
    pub(crate) fn new(stats: Arc<ReactorStats>) -> Self {
        Self { stats, cells: Vec::new(), finished: Vec::with_capacity(FINISHED_PER_PASS), now: Fine::from_nanos(0) }
    }

    /// A pass begins: what the last one has finished is recorded.
    pub(crate) fn begin(&mut self, now: Fine) {
        self.now = now;
        self.settle();
    }

    /// A pass ends.
    pub(crate) fn end(&self, stages: &Stages, connections: usize) {
        for stage in Stage::ALL {
            self.stats.stages[stage as usize].set(stages.count(stage).into());
        }
        self.stats.connections.set(connections as u64);
    }

    /// When this pass began: the stamp of a command that it takes.
    pub(crate) fn now(&self) -> Fine {
        self.now
    }

    /// The cell for a host's commands to a namespace. For when a connection uses a namespace for the first time: it
    /// looks through all of them. With [`STATS_CELLS`] of them, hosts are no longer told apart.
    pub(crate) fn cell(&mut self, subsystem: &str, host: &str, nsid: u32) -> CellId {
        let mut key = Key { subsystem: subsystem.to_owned(), host: host.to_owned(), nsid };
        if let Some(id) = self.find(&key) {
            return id;
        }
        if self.cells.len() >= STATS_CELLS {
            key.host.clear();
            // One of these for each namespace is the bound then; where even those are many, the first one takes all.
            match self.find(&key) {
                Some(id) => return id,
                None if self.cells.len() >= 2 * STATS_CELLS => return CellId(STATS_CELLS as u32),
                None => {}
            }
        }
        let cell = Arc::new(Cell::new(key));
        self.stats.cells().push(cell.clone());
        self.cells.push(cell);
        CellId(self.cells.len() as u32 - 1)
    }

    fn find(&self, key: &Key) -> Option<CellId> {
        self.cells.iter().position(|cell| cell.key == *key).map(|at| CellId(at as u32))
    }

    /// A command has succeeded that was stamped at `since`.
    #[inline]
    pub(crate) fn succeeded(&mut self, cell: CellId, code: u8, bytes: u32, since: Fine) {
        if self.finished.len() == self.finished.capacity() {
            // More than a pass usually has: these are a part of the pass too early.
            self.settle();
        }
        self.finished.push(Finished { cell, kind: Kind::of(code), bytes, since });
    }

    /// A command has failed.
    pub(crate) fn failed(&self, cell: CellId, status: Status) {
        self.cells[cell.0 as usize].fail(status);
    }

    fn settle(&mut self) {
        for Finished { cell, kind, bytes, since } in self.finished.drain(..) {
            let words = &self.cells[cell.0 as usize].kinds[kind as usize];
            let nanos = self.now.nanos().saturating_sub(since.nanos());
            words.bytes.add(bytes.into());
            words.nanos.add(nanos);
            words.latencies.add(nanos);
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cells", self.cells.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(stats: &ReactorStats, nsid: u32) -> Traffic {
        stats.served().into_iter().find(|served| served.key.nsid == nsid).expect("it is there")
    }

    #[test]
    fn a_command_is_recorded_when_the_next_pass_begins() {
        let stats = Arc::new(ReactorStats::default());
        let mut recorder = Recorder::new(stats.clone());
        let cell = recorder.cell("nqn.a", "nqn.h", 1);
        assert_eq!(cell, recorder.cell("nqn.a", "nqn.h", 1));
        recorder.begin(Fine::from_nanos(1000));
        recorder.succeeded(cell, opcode::READ, 4096, recorder.now());
        assert_eq!(served(&stats, 1).kinds[Kind::Read as usize].operations(), 0);
        recorder.begin(Fine::from_nanos(3000));
        let read = served(&stats, 1).kinds[Kind::Read as usize];
        assert_eq!((read.operations(), read.bytes, read.nanos), (1, 4096, 2000));
        assert_eq!(read.latencies.iter().position(|count| *count > 0), Some(2), "up to 2048 ns");
    }

    #[test]
    fn a_pass_may_finish_any_number() {
        let stats = Arc::new(ReactorStats::default());
        let mut recorder = Recorder::new(stats.clone());
        let cell = recorder.cell("nqn.a", "nqn.h", 1);
        for _ in 0..3 * FINISHED_PER_PASS {
            recorder.succeeded(cell, opcode::WRITE, 1, recorder.now());
        }
        recorder.begin(Fine::from_nanos(1));
        assert_eq!(served(&stats, 1).kinds[Kind::Write as usize].bytes, 3 * FINISHED_PER_PASS as u64);
        assert_eq!(recorder.finished.capacity(), FINISHED_PER_PASS, "it did not grow");
    }

    #[test]
    fn errors_are_counted_by_status() {
        let stats = Arc::new(ReactorStats::default());
        let mut recorder = Recorder::new(stats.clone());
        let cell = recorder.cell("nqn.a", "nqn.h", 0);
        recorder.failed(cell, Status::LBA_OUT_OF_RANGE);
        recorder.failed(cell, Status::INVALID_FIELD);
        recorder.failed(cell, Status::LBA_OUT_OF_RANGE.with_dnr());
        let expected = vec![(Some(Status::LBA_OUT_OF_RANGE), 2), (Some(Status::INVALID_FIELD), 1)];
        assert_eq!(served(&stats, 0).errors, expected);
        for sc in 0..=u8::MAX {
            recorder.failed(cell, Status::new(7, sc));
        }
        let errors = served(&stats, 0).errors;
        assert_eq!(errors.len(), STATUS_WORDS + 1);
        assert_eq!(errors.last(), Some(&(None, 256 - (STATUS_WORDS as u64 - 2))));
    }

    #[test]
    fn hosts_without_end_share_cells() {
        let mut recorder = Recorder::new(Arc::default());
        for host in 0..3 * STATS_CELLS {
            recorder.cell("nqn.a", &format!("nqn.{host}"), 1);
        }
        assert_eq!(recorder.cells.len(), STATS_CELLS + 1);
        for nsid in 0..3 * STATS_CELLS as u32 {
            recorder.cell("nqn.a", "nqn.h", nsid);
        }
        assert_eq!(recorder.cells.len(), 2 * STATS_CELLS);
    }

    #[test]
    fn kinds_have_their_own_words_and_names() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
        let names: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
        assert_eq!((Kind::of(opcode::COPY), Kind::of(0xfe)), (Kind::Copy, Kind::Other));
    }
}
