//! One way to the namespace: the association with a controller, and its state.
//!
//! ```text
//!   reactor                        any thread             thread of the path (keeper.rs)
//!   TcpQueue ── Seat ◀──────────── Path ◀──────────────── admin connection, keep-alive, reconnecting
//!      └── ask: "broken", ... ──────────────────────────────▶┘
//!
//!   state    Live ◀──▶ Reconnecting ──▶ Lost          Closed: from each of them
//! ```
//!
//! An association has a number, its *generation*; the next one has the next. A queue's connection belongs to one
//! generation. The path tells which generations are over ([`Path::over`]): a queue looks at that once per pass, and
//! nothing else of this is touched per I/O. A new connection is left in the queue's [`Seat`], which the queue looks at
//! while it has none.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use machine::clock::{Coarse, Fine};
use machine::ring::Waker;
use tracing::{debug, warn};
use wire::nvme::{Cqe, Nqn, Sqe};
use wire::tcp::states::States;

use super::admin::{Admin, Ready};
use super::connection::Commands;
use super::describe::{self, Found, Trouble};
use super::error::AdminError;
use super::keeper::{Ask, Keeper};
use super::limits::{ADMIN_TIMEOUT, LOOK_INTERVAL, MAX_ASKS, MAX_IO_QUEUES, MIN_TICK, STOP_TIMEOUT, TICKS_PER_TIMEOUT};
use super::namespace::Namespace;
use super::uri::Uri;
use crate::{Info, Transfer};

wire::states! {
    /// How a path is.
    pub enum PathState {
        /// Associated with a controller that is ready.
        Live => [Reconnecting, Closed],
        /// The association broke; another one is tried for, again and again.
        Reconnecting => [Live, Lost, Closed],
        /// Given up: for too long there was no controller, or the namespace is not what it was.
        Lost => [Closed],
        /// Shut down by its user.
        Closed => [],
    }
}

/// What a path has been through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStats {
    /// Where it leads.
    pub address: String,
    /// How it is.
    pub state: PathState,
    /// How often it was in each state.
    pub entered: [(&'static str, u64); PathState::ALL.len()],
    /// Commands that were sent.
    pub commands: u64,
    /// Requests that were sent again.
    pub resent: u64,
    /// Requests that failed because their connection broke.
    pub failed: u64,
    /// Why the last association ended, or the last attempt failed; empty if none did.
    pub trouble: String,
}

/// How long a command may take. No queue reads a clock for that: the thread of the path counts ticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) tick: Duration,
    /// A command has taken too long when so many ticks have begun since it was sent; `None`: never.
    pub(super) ticks: Option<u32>,
}

impl Patience {
    fn new(io_timeout: Duration) -> Self {
        let tick = (io_timeout / TICKS_PER_TIMEOUT).clamp(MIN_TICK, LOOK_INTERVAL);
        if io_timeout.is_zero() {
            return Self { tick: LOOK_INTERVAL, ticks: None };
        }
        let patience = Self { tick, ticks: None };
        Self { ticks: Some(patience.in_ticks(io_timeout)), ..patience }
    }

    /// A time in ticks. The tick in which a command was sent does not count.
    pub(super) fn in_ticks(&self, time: Duration) -> u32 {
        let ticks = time.as_nanos().div_ceil(self.tick.as_nanos());
        u32::try_from(ticks).unwrap_or(u32::MAX - 1) + 1
    }

    /// How often a sleeping reactor must look at these commands.
    pub(super) fn look(&self, commands: &Commands) -> Option<Duration> {
        if commands.is_impatient() {
            return Some(self.tick);
        }
        self.ticks.filter(|_| commands.live > 0).map(|ticks| self.tick * ticks.div_ceil(TICKS_PER_TIMEOUT))
    }
}

/// A connection for a queue.
pub(super) struct Offer {
    pub(super) ready: Ready,
    pub(super) generation: u32,
    pub(super) namespace: Namespace,
}

/// Where a queue finds its next connection.
pub(super) struct Seat {
    pub(super) qid: u16,
    waker: Waker,
    filled: AtomicBool,
    /// The generation of the last offer.
    served: AtomicU32,
    /// Commands that the queue sent on this path; only its reactor writes it.
    pub(super) commands: AtomicU64,
    offer: Mutex<Option<Offer>>,
}

impl Seat {
    /// Whether [`Seat::take`] is worth a call.
    pub(super) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }

    pub(super) fn take(&self) -> Option<Offer> {
        let offer = lock(&self.offer).take();
        self.filled.store(false, Ordering::Release);
        offer
    }

    /// Whether it had a connection of this generation already.
    pub(super) fn is_served(&self, generation: u32) -> bool {
        self.served.load(Ordering::Relaxed) == generation
    }

    pub(super) fn fill(&self, offer: Offer) {
        self.served.store(offer.generation, Ordering::Relaxed);
        let mut place = lock(&self.offer);
        *place = Some(offer);
        self.filled.store(true, Ordering::Release);
        drop(place);
        self.waker.wake();
    }
}

/// The queues of a path.
struct Seats {
    taken: Vec<Arc<Seat>>,
    /// Queue numbers that are free, the longest unused in front: the target may still be busy closing the last one.
    free: VecDeque<u16>,
    granted: u16,
}

/// What all paths of a device share.
pub(super) struct Common {
    /// Size of the namespace now.
    pub(super) blocks: AtomicU64,
    /// When a path was live last, in milliseconds of the coarse clock.
    alive: AtomicU64,
}

impl Common {
    pub(super) fn new(blocks: u64) -> Arc<Self> {
        let common = Self { blocks: AtomicU64::new(blocks), alive: AtomicU64::new(0) };
        common.live();
        Arc::new(common)
    }

    /// A path is live now.
    pub(super) fn live(&self) {
        self.alive.store(Fine::now().coarse().millis(), Ordering::Relaxed);
    }

    /// For so long no path has been live.
    pub(super) fn dead_for(&self) -> Duration {
        Fine::now().coarse().since(Coarse::from_millis(self.alive.load(Ordering::Relaxed)))
    }
}

/// What the queues, the device and the thread of a path share.
pub(super) struct Path {
    pub(super) uri: Uri,
    pub(super) subnqn: Nqn,
    name: String,
    /// The namespace as it was found first.
    pub(super) info: Info,
    pub(super) common: Arc<Common>,
    /// None while there is no controller.
    admin: Mutex<Option<Admin>>,
    /// Generations up to this one are over.
    over: AtomicU32,
    pub(super) patience: Patience,
    ticks: AtomicU32,
    seats: Mutex<Seats>,
    state: AtomicU8,
    entered: [AtomicU64; PathState::ALL.len()],
    /// Of queues that are gone; the others count in their seats.
    commands: AtomicU64,
    pub(super) resent: AtomicU64,
    pub(super) failed: AtomicU64,
    trouble: Mutex<String>,
}

impl Path {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn state(&self) -> PathState {
        PathState::ALL[usize::from(self.state.load(Ordering::Acquire))]
    }

    /// Changes the state; only the path's thread does.
    pub(super) fn enter(&self, next: PathState) {
        let state = self.state();
        assert!(state.check(next).is_ok(), "{} -> {}", state.name(), next.name());
        self.entered[next.index()].fetch_add(1, Ordering::Relaxed);
        self.state.store(next.index() as u8, Ordering::Release);
        if matches!(next, PathState::Lost | PathState::Closed) {
            self.wake();
        }
    }

    /// Whether no connection will come any more.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.state(), PathState::Lost | PathState::Closed)
    }

    /// Connections of generations up to this one are over, and so is what was sent on them.
    pub(super) fn over(&self) -> u32 {
        self.over.load(Ordering::Acquire)
    }

    /// The association of this generation is over.
    pub(super) fn end(&self, generation: u32) {
        self.over.store(generation, Ordering::Release);
        self.wake();
    }

    /// The time, for queues.
    pub(super) fn ticks(&self) -> u32 {
        self.ticks.load(Ordering::Relaxed)
    }

    pub(super) fn tick(&self, ticks: u32) {
        self.ticks.store(ticks, Ordering::Relaxed);
    }

    fn wake(&self) {
        for seat in &lock(&self.seats).taken {
            seat.waker.wake();
        }
    }

    pub(super) fn stats(&self) -> PathStats {
        let count = |state: PathState| (state.name(), self.entered[state.index()].load(Ordering::Relaxed));
        PathStats {
            address: self.name.clone(),
            state: self.state(),
            entered: PathState::ALL.map(count),
            commands: {
                let seats = lock(&self.seats);
                let open = seats.taken.iter().map(|seat| seat.commands.load(Ordering::Relaxed));
                self.commands.load(Ordering::Relaxed) + open.sum::<u64>()
            },
            resent: self.resent.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            trouble: lock(&self.trouble).clone(),
        }
    }

    /// Why things are as they are, for people.
    pub(super) fn note(&self, trouble: &str) {
        trouble.clone_into(&mut lock(&self.trouble));
    }

    /// The admin connection, if there is one.
    pub(super) fn admin(&self) -> MutexGuard<'_, Option<Admin>> {
        lock(&self.admin)
    }

    /// One admin command. After anything but an answer the connection is beyond use.
    pub(super) fn command(
        &self,
        step: &'static str,
        sqe: Sqe,
        data: Transfer<'_>,
        limit: Duration,
    ) -> Result<Cqe, AdminError> {
        match &mut *self.admin() {
            Some(admin) => admin.command(step, sqe, data, limit),
            None => Err(AdminError::Broken),
        }
    }

    /// Identifies the namespace once more. It must be the one that the askers know; if it has grown, they may know.
    pub(super) fn identify(&self, admin: &mut Admin) -> Result<Found, Trouble> {
        let found = describe::look(admin, &self.uri)?;
        describe::same(&self.info, self.common.blocks.load(Ordering::Relaxed), &found, &self.uri)?;
        let before = self.common.blocks.fetch_max(found.info.blocks, Ordering::Relaxed);
        if before < found.info.blocks {
            warn!(target = self.name(), "the namespace has grown from {before} to {} blocks", found.info.blocks);
        }
        Ok(found)
    }

    /// The seats of queues that are open, and how many queues were granted.
    pub(super) fn seats(&self) -> (Vec<Arc<Seat>>, u16) {
        let seats = lock(&self.seats);
        (seats.taken.clone(), seats.granted)
    }

    /// A controller grants so many queues now.
    pub(super) fn grant(&self, queues: u16) {
        let mut seats = lock(&self.seats);
        let taken: Vec<u16> = seats.taken.iter().map(|seat| seat.qid).collect();
        seats.free = (1..=queues).filter(|qid| !taken.contains(qid)).collect();
        seats.granted = queues;
    }

    fn take_seat(&self, waker: Waker) -> Result<Arc<Seat>, AdminError> {
        let mut seats = lock(&self.seats);
        let Some(qid) = seats.free.pop_front() else {
            let what = format!("{} grants {} I/O queues, and all are in use", self.name, seats.granted);
            return Err(AdminError::protocol("open a queue", what));
        };
        let seat = Arc::new(Seat {
            qid,
            waker,
            filled: AtomicBool::new(false),
            served: AtomicU32::new(0),
            commands: AtomicU64::new(0),
            offer: Mutex::new(None),
        });
        seats.taken.push(Arc::clone(&seat));
        Ok(seat)
    }

    fn give_back(&self, seat: &Arc<Seat>) {
        let mut seats = lock(&self.seats);
        seats.taken.retain(|other| !Arc::ptr_eq(other, seat));
        self.commands.fetch_add(seat.commands.load(Ordering::Relaxed), Ordering::Relaxed);
        if seat.qid <= seats.granted && !seats.free.contains(&seat.qid) {
            seats.free.push_back(seat.qid);
        }
    }
}

/// A path and its thread, which ends with it.
pub(super) struct Association {
    path: Arc<Path>,
    asks: SyncSender<Ask>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Association {
    /// Takes over a controller that is ready, with the I/O queues that it grants; without one, it is tried for.
    pub(super) fn start(
        uri: Uri,
        subnqn: Nqn,
        controller: Option<(Admin, u16)>,
        info: Info,
        namespace: Namespace,
        common: Arc<Common>,
    ) -> io::Result<Self> {
        let state = if controller.is_some() { PathState::Live } else { PathState::Reconnecting };
        // What will be granted is not known yet: `grant` puts it right.
        let (admin, queues) = controller.map_or((None, MAX_IO_QUEUES), |(admin, queues)| (Some(admin), queues));
        let path = Arc::new(Path {
            name: uri.to_string(),
            patience: Patience::new(uri.io_timeout),
            uri,
            subnqn,
            info,
            common,
            admin: Mutex::new(admin),
            over: AtomicU32::new(0),
            ticks: AtomicU32::new(0),
            seats: Mutex::new(Seats { taken: Vec::new(), free: (1..=queues).collect(), granted: queues }),
            state: AtomicU8::new(state as u8),
            entered: PathState::ALL.map(|each| AtomicU64::new(u64::from(each == state))),
            commands: AtomicU64::new(0),
            resent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            trouble: Mutex::new(String::new()),
        });
        let (asks, asked) = mpsc::sync_channel(MAX_ASKS);
        let keeper = Keeper::new(Arc::clone(&path), asked, namespace);
        let thread = thread::Builder::new().name("nvme-path".to_owned()).spawn(move || keeper.run())?;
        Ok(Self { path, asks, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A seat for a queue.
    pub(super) fn seat(&self, waker: Waker) -> Result<Arc<Seat>, AdminError> {
        self.path.take_seat(waker)
    }

    /// Connects the queue of a seat: the connection waits there then. While there is no controller, it comes later.
    pub(super) fn connect(&self, seat: &Arc<Seat>) -> Result<(), AdminError> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.asks.send(Ask::Connect { seat: Arc::clone(seat), reply }).map_err(|_| AdminError::Broken)?;
        // A thread that has ended drops what it was asked, and the sender of the answer with it.
        answer.recv().unwrap_or(Err(AdminError::Broken))
    }

    /// A queue is gone, its connection closed: its number is free.
    pub(super) fn close(&self, seat: &Arc<Seat>) {
        self.path.give_back(seat);
    }

    /// Tells the thread what a reactor has found out; false: not now, try again later.
    pub(super) fn tell(&self, ask: Ask) -> bool {
        !matches!(self.asks.try_send(ask), Err(mpsc::TrySendError::Full(_)))
    }

    /// Carries out an admin command; if the connection turns out to be broken, the thread is told.
    pub(super) fn admin(&self, sqe: Sqe, data: Transfer<'_>) -> Result<Cqe, AdminError> {
        let result = self.path.command("admin command", sqe, data, ADMIN_TIMEOUT);
        if result.as_ref().is_err_and(|error| !error.is_answer()) {
            let _ = self.tell(Ask::Look);
        }
        result
    }

    /// Shuts the controller down in good order, if there is one; nothing happens the second time.
    pub(super) fn shut_down(&self) -> Result<(), AdminError> {
        let Some(thread) = lock(&self.thread).take() else { return Ok(()) };
        let was_live = self.path.state() == PathState::Live;
        let (reply, answer) = mpsc::sync_channel(1);
        if self.asks.send(Ask::Stop { reply }).is_err() || !was_live {
            // A thread that is trying to connect ends when that has ended; nobody need wait.
            return Ok(());
        }
        let result = answer.recv_timeout(STOP_TIMEOUT).unwrap_or(Ok(()));
        if thread.is_finished() && thread.join().is_err() {
            warn!(target = self.path.name(), "the thread of the path panicked");
        }
        result
    }
}

impl Drop for Association {
    fn drop(&mut self) {
        if let Err(error) = self.shut_down() {
            debug!(target = self.path.name(), "{error}");
        }
    }
}

/// A panic elsewhere does not make these values wrong.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
