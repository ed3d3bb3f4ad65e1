//! A controller: one host's association with a subsystem.
//!
//! ```text
//!   admin Connect ─▶ Disabled ──CC.EN=1──▶ Ready ──CC.SHN──▶ ShutDown
//!                       ▲                    │                  │
//!                       └──────CC.EN=0───────┴──────────────────┘      (a reset ends the I/O queues)
//!   the admin connection closes, or keep-alives stay out ─▶ Ended: every connection of it closes
//! ```
//!
//! The admin connection lives on one reactor, the I/O connections wherever they were placed. They share this structure:
//! registers under a lock for the rare property and connect commands, a few words that the I/O connections look at.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use machine::clock::Coarse;

use super::aborts::{Aborts, QueueId};
use crate::limits::{ERROR_LOG_ENTRIES, IO_QUEUES, KAS, KEEP_ALIVE_SLACK, LOOKED, QUEUE_ENTRIES};
use crate::reservation::Notifications;
use wire::nvme::identify::KAS_UNIT_MS;
use wire::nvme::property::{self, Shutdown};
use wire::nvme::reservation::Notification;
use wire::nvme::{Cap, Cc, Crto, Csts, ErrorEntry, Status, Vs};
use zerocopy::FromZeros;

/// What a controller is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reads and writes namespaces.
    Io,
    /// Answers the discovery log.
    Discovery,
}

/// The version that Identify and the VS property claim: NVMe 2.0.
pub const VERSION: Vs = Vs::V2_0;

/// Where a controller is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// CC.EN is 0.
    Disabled,
    /// CC.EN is 1 and CSTS.RDY is 1.
    Ready,
    /// The host has shut it down.
    ShutDown,
    /// CC.EN was set with values that are not supported: CSTS.CFS.
    Failed,
}

struct Registers {
    cc: u32,
    state: State,
    io_queues: BTreeSet<u16>,
    /// Queues from before a reset of which connections or requests are left.
    stale_queues: usize,
    granted: Option<u16>,
    async_events: u32,
}

/// The error log: the newest entry first.
#[derive(Default)]
struct Errors {
    count: u64,
    entries: VecDeque<ErrorEntry>,
}

/// A keep-alive time-out in milliseconds, rounded up to what KAS can tell apart; `None` if it is too long for that.
pub(crate) fn keep_alive_timer(millis: u32) -> Option<u32> {
    millis.checked_next_multiple_of(u32::from(KAS) * KAS_UNIT_MS)
}

/// What a new controller is made from.
pub(crate) struct NewController {
    /// The number of its subsystem; none for discovery.
    pub(crate) subsystem: Option<u32>,
    /// Most in-capsule data of its I/O queues.
    pub(crate) in_capsule_bytes: u32,
    pub(crate) host_nqn: String,
    pub(crate) host_id: [u8; 16],
    pub(crate) kato_ms: u32,
    /// When its Connect came.
    pub(crate) asked: Coarse,
    pub(crate) now: Coarse,
}

/// One host's association.
pub struct Controller {
    /// The controller ID.
    pub id: u16,
    /// What it is for.
    pub kind: Kind,
    /// The number of its subsystem; none for discovery.
    pub(crate) subsystem: Option<u32>,
    /// Most in-capsule data of its I/O queues, in bytes.
    pub(crate) in_capsule_bytes: u32,
    /// Who uses it.
    pub host_nqn: String,
    /// The host identifier: with the NQN it ties I/O connections to this controller.
    pub host_id: [u8; 16],
    registers: Mutex<Registers>,
    errors: Mutex<Errors>,
    notifications: Mutex<Notifications>,
    /// Whether the host is to be told that there are some.
    news: AtomicBool,
    aborts: Mutex<Aborts>,
    /// Whether there are some.
    aborting: AtomicBool,
    ready: AtomicBool,
    ended: AtomicBool,
    resets: AtomicU32,
    kato_ms: AtomicU32,
    seen: AtomicU64,
    /// When its admin connection was last known not to have ended.
    stood: AtomicU64,
}

impl Controller {
    pub(crate) fn new(id: u16, new: NewController) -> Self {
        Self {
            id,
            kind: if new.subsystem.is_some() { Kind::Io } else { Kind::Discovery },
            subsystem: new.subsystem,
            in_capsule_bytes: new.in_capsule_bytes,
            host_nqn: new.host_nqn,
            host_id: new.host_id,
            registers: Mutex::new(Registers {
                cc: 0,
                state: State::Disabled,
                io_queues: BTreeSet::new(),
                stale_queues: 0,
                granted: None,
                async_events: 0,
            }),
            errors: Mutex::default(),
            notifications: Mutex::default(),
            news: AtomicBool::new(false),
            aborts: Mutex::default(),
            aborting: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            resets: AtomicU32::new(0),
            kato_ms: AtomicU32::new(new.kato_ms),
            seen: AtomicU64::new(new.now.millis()),
            stood: AtomicU64::new(new.now.millis()),
        }
    }

    fn registers(&self) -> MutexGuard<'_, Registers> {
        self.registers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is of the same host and for the same subsystem as a new one.
    pub(crate) fn is_of(&self, new: &NewController) -> bool {
        (self.subsystem, &self.host_nqn, self.host_id) == (new.subsystem, &new.host_nqn, new.host_id)
    }

    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> State {
        self.registers().state
    }

    /// Whether it takes I/O commands and most admin commands. One load: the data path asks.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Whether the association is over: its connections close.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Resets so far. An I/O connection made before the last one is to close.
    #[must_use]
    pub fn resets(&self) -> u32 {
        self.resets.load(Ordering::Acquire)
    }

    pub(crate) fn end(&self) {
        self.ready.store(false, Ordering::Release);
        self.ended.store(true, Ordering::Release);
    }

    /// Something came from the host (CTRATT.TBKAS: any command counts).
    pub(crate) fn touch(&self, now: Coarse) {
        self.seen.store(now.millis(), Ordering::Relaxed);
    }

    /// All that the admin connection's socket had was received, and it has not ended.
    pub(crate) fn stands(&self, now: Coarse) {
        self.stood.store(now.millis(), Ordering::Relaxed);
    }

    /// Whether devices may have requests of it, and its admin connection may have ended before `moment`.
    pub(crate) fn may_have_ended(&self, moment: Coarse) -> bool {
        let stood = Coarse::from_millis(self.stood.load(Ordering::Relaxed));
        !self.is_settled() && stood.since(moment) < LOOKED
    }

    /// Whether keep-alives have stayed out for longer than the host promised.
    pub(crate) fn is_overdue(&self, now: Coarse) -> bool {
        let kato = self.kato();
        let silent = now.since(Coarse::from_millis(self.seen.load(Ordering::Relaxed)));
        !kato.is_zero() && silent > kato + KEEP_ALIVE_SLACK
    }

    /// The keep-alive time-out; zero: none.
    #[must_use]
    pub fn kato(&self) -> Duration {
        Duration::from_millis(u64::from(self.kato_ms.load(Ordering::Relaxed)))
    }

    pub(crate) fn set_kato(&self, millis: u32) {
        self.kato_ms.store(millis, Ordering::Relaxed);
    }

    pub(crate) fn async_events(&self) -> u32 {
        self.registers().async_events
    }

    pub(crate) fn set_async_events(&self, mask: u32) {
        self.registers().async_events = mask;
    }

    /// The number of I/O queues granted, once the host has asked.
    pub(crate) fn granted_queues(&self) -> u16 {
        self.registers().granted.unwrap_or(IO_QUEUES)
    }

    /// Grants I/O queues (Set Features 07h). After the first I/O queue it is too late.
    pub(crate) fn grant_queues(&self, wanted: u16) -> Result<u16, Status> {
        let mut registers = self.registers();
        if !registers.io_queues.is_empty() {
            return Err(Status::COMMAND_SEQUENCE_ERROR);
        }
        let granted = wanted.clamp(1, IO_QUEUES);
        registers.granted = Some(granted);
        Ok(granted)
    }

    /// Claims an I/O queue ID for a connection; `Err` if the controller is not ready, the ID is taken or not granted.
    pub(crate) fn claim_queue(&self, qid: u16) -> Result<u32, ClaimError> {
        let mut registers = self.registers();
        if !registers.is_ready() {
            return Err(ClaimError::NotReady);
        }
        if qid == 0 || qid > registers.granted.unwrap_or(IO_QUEUES) || !registers.io_queues.insert(qid) {
            return Err(ClaimError::BadQueue);
        }
        Ok(self.resets())
    }

    /// The I/O queue of this ID as it is connected now.
    pub(crate) fn queue(&self, qid: u16) -> Option<QueueId> {
        let registers = self.registers();
        registers.io_queues.contains(&qid).then(|| QueueId { qid, resets: self.resets() })
    }

    /// Whether an I/O queue is connected.
    pub(crate) fn has_queues(&self) -> bool {
        !self.registers().io_queues.is_empty()
    }

    /// The connection of an I/O queue has closed, and no device has a request of it. `resets` is what
    /// [`Controller::claim_queue`] gave.
    pub(crate) fn release_queue(&self, qid: u16, resets: u32) {
        let mut registers = self.registers();
        if resets == self.resets() {
            registers.io_queues.remove(&qid);
        } else {
            registers.stale_queues -= 1;
            self.ready.store(registers.is_ready() && !self.has_ended(), Ordering::Release);
        }
    }

    /// Whether no device has a request of its I/O queues, nor will get one from a connection that is there.
    pub(crate) fn is_settled(&self) -> bool {
        let registers = self.registers();
        registers.io_queues.is_empty() && registers.stale_queues == 0
    }

    /// Notes a command that failed (Base 2.0, Error Information log).
    pub(crate) fn log_error(&self, mut entry: ErrorEntry) {
        let mut errors = self.lock_errors();
        errors.count += 1;
        entry.error_count = errors.count.into();
        errors.entries.truncate(ERROR_LOG_ENTRIES - 1);
        errors.entries.push_front(entry);
    }

    /// The error log, the newest entry first.
    pub(crate) fn errors(&self) -> [ErrorEntry; ERROR_LOG_ENTRIES] {
        let mut log = [ErrorEntry::new_zeroed(); ERROR_LOG_ENTRIES];
        for (to, from) in log.iter_mut().zip(&self.lock_errors().entries) {
            *to = *from;
        }
        log
    }

    /// Commands that have failed so far.
    pub(crate) fn error_count(&self) -> u64 {
        self.lock_errors().count
    }

    fn lock_errors(&self) -> MutexGuard<'_, Errors> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened to the reservation of a namespace.
    pub(crate) fn notify(&self, nsid: u32, what: Notification) {
        self.notifications(|list| list.push(nsid, what));
    }

    /// Works with the reservation notifications.
    pub(crate) fn notifications<T>(&self, work: impl FnOnce(&mut Notifications) -> T) -> T {
        let mut list = self.notifications.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = work(&mut list);
        self.news.store(list.is_news(), Ordering::Relaxed);
        outcome
    }

    /// Whether the host is to be told that there are notifications. One load: it is asked once a tick.
    pub(crate) fn has_news(&self) -> bool {
        self.news.load(Ordering::Relaxed)
    }

    /// Works with the Abort commands that are not answered yet.
    pub(crate) fn aborts<T>(&self, work: impl FnOnce(&mut Aborts) -> T) -> T {
        let mut aborts = self.aborts.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = work(&mut aborts);
        self.aborting.store(!aborts.is_empty(), Ordering::Relaxed);
        outcome
    }

    /// Whether there are some. One load: it is asked once a tick.
    pub(crate) fn has_aborts(&self) -> bool {
        self.aborting.load(Ordering::Relaxed)
    }

    /// The value of the property at `offset` (Fabrics, Property Get); `None` if there is none.
    pub(crate) fn property(&self, offset: u32) -> Option<u64> {
        let registers = self.registers();
        Some(match offset {
            property::CAP => capabilities().0,
            property::VS => u64::from(VERSION.0),
            property::CC => u64::from(registers.cc),
            property::CSTS => u64::from(registers.status().0),
            property::CRTO => u64::from(Crto::new(READY_HALF_SECONDS.into(), 0).0),
            _ => return None,
        })
    }

    /// Writes CC. Whether it was a reset.
    ///
    /// A shutdown takes effect at once. A reset has taken effect, and an enable after it can, when nothing is left of
    /// the I/O queues from before: a write that a device still has must not hit what the host writes next.
    pub(crate) fn set_configuration(&self, value: u32) -> bool {
        let mut registers = self.registers();
        let (old, new) = (Cc(registers.cc), Cc(value));
        registers.cc = value;
        let reset = old.en() && !new.en();
        if reset {
            registers.state = State::Disabled;
            registers.stale_queues += std::mem::take(&mut registers.io_queues).len();
            self.resets.fetch_add(1, Ordering::AcqRel);
        } else if !old.en() && new.en() {
            registers.state = if self.supports(new) { State::Ready } else { State::Failed };
        }
        if new.shn() != Shutdown::None && registers.state == State::Ready {
            registers.state = State::ShutDown;
        }
        self.ready.store(registers.is_ready(), Ordering::Release);
        reset
    }

    /// 64-byte and 16-byte entries (not meaningful for discovery), 4 KiB pages, the NVM command set.
    fn supports(&self, cc: Cc) -> bool {
        let entries = self.kind == Kind::Discovery || (cc.iosqes() == 6 && cc.iocqes() == 4);
        entries && cc.mps() == 0 && cc.css() == 0 && cc.ams() == 0
    }
}

impl Registers {
    /// Whether the controller is enabled and nothing from before is in its way.
    fn is_ready(&self) -> bool {
        self.state == State::Ready && self.stale_queues == 0
    }

    /// CSTS. After a reset, RDY stays 1 until nothing is left of the queues; after an enable that came too early, 0.
    fn status(&self) -> Csts {
        let csts = Csts::default();
        match self.state {
            State::Disabled => csts.with_rdy(self.stale_queues > 0),
            State::Ready => csts.with_rdy(self.stale_queues == 0),
            State::ShutDown => csts.with_rdy(true).with_shst(Csts::SHST_COMPLETE),
            State::Failed => csts.with_cfs(true),
        }
    }
}

/// Why an I/O queue could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimError {
    NotReady,
    BadQueue,
}

fn capabilities() -> Cap {
    Cap::default()
        .with_mqes(QUEUE_ENTRIES - 1)
        .with_cqr()
        .with_to(READY_HALF_SECONDS)
        .with_css(Cap::CSS_NVM)
        .with_crms(Cap::CRMS_WITH_MEDIA)
}

/// CAP.TO and CRTO.CRWMT: RDY follows EN within so many times 500 ms. At once, unless a device is slow to give back
/// what it has of the I/O queues.
const READY_HALF_SECONDS: u8 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn controller(kato_ms: u32) -> Controller {
        let now = Coarse::from_millis(1000);
        let (host_nqn, host_id) = ("nqn.h".into(), [1; 16]);
        Controller::new(
            1,
            NewController { subsystem: Some(1), in_capsule_bytes: 0, host_nqn, host_id, kato_ms, asked: now, now },
        )
    }

    #[test]
    fn enable_claim_reset() {
        let c = controller(0);
        assert_eq!(c.claim_queue(1), Err(ClaimError::NotReady));
        c.set_configuration(Cc::enable().0);
        assert!(c.is_ready());
        assert_eq!(c.grant_queues(4), Ok(4));
        let resets = c.claim_queue(1).unwrap();
        for taken_or_not_granted in [0, 1, 5] {
            assert_eq!(c.claim_queue(taken_or_not_granted), Err(ClaimError::BadQueue));
        }
        assert_eq!(c.grant_queues(4), Err(Status::COMMAND_SEQUENCE_ERROR), "queues are in use");
        assert!(c.set_configuration(Cc::enable().with_en(false).0), "a reset");
        assert_ne!(c.resets(), resets);
        let rdy = |c: &Controller| Csts(c.property(property::CSTS).unwrap() as u32).rdy();
        assert!(rdy(&c) && !c.is_ready() && !c.is_settled(), "a device may have requests of queue 1");
        c.set_configuration(Cc::enable().0);
        assert!(!rdy(&c) && !c.is_ready(), "not before they are back");
        assert_eq!(c.claim_queue(1), Err(ClaimError::NotReady));
        c.release_queue(1, resets);
        assert!(rdy(&c) && c.is_ready() && c.is_settled());
        let again = c.claim_queue(1).unwrap();
        assert_eq!(c.claim_queue(1), Err(ClaimError::BadQueue));
        c.release_queue(1, again);
        assert!(c.claim_queue(1).is_ok());
    }

    #[test]
    fn unsupported_configurations_fail() {
        let c = controller(0);
        c.set_configuration(Cc::enable().with_css(Cc::CSS_ALL).0);
        assert_eq!((c.state(), c.is_ready()), (State::Failed, false));
        assert!(Csts(c.property(property::CSTS).unwrap() as u32).cfs());
    }

    #[test]
    fn shutdown_completes_at_once() {
        let c = controller(0);
        c.set_configuration(Cc::enable().0);
        c.set_configuration(Cc::enable().with_normal_shutdown().0);
        assert_eq!(Csts(c.property(property::CSTS).unwrap() as u32).shst(), Csts::SHST_COMPLETE);
        assert!(!c.is_ready());
    }

    #[test]
    fn keep_alive_counts_from_the_last_command() {
        let c = controller(500);
        let last = Coarse::from_millis(1500).plus(KEEP_ALIVE_SLACK);
        let late = last.plus(Duration::from_millis(1));
        assert!(!c.is_overdue(last));
        assert!(c.is_overdue(late));
        c.touch(late);
        assert!(!c.is_overdue(late.plus(Duration::from_millis(500))));
        assert!(!controller(0).is_overdue(Coarse::from_millis(u64::MAX)), "0 means no time-out");
    }
}
