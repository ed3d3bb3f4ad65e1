//! The reservation of a namespace and its registrants, and what each command makes of them.
//!
//! ```text
//!                    register                   acquire
//!   not registered ───────────▶ registrant ───────────────▶ holder         all-registrants types: every registrant
//!          ▲        ◀───────────             ◀───────────────               is a holder
//!          │         unregister                 release
//!          └── preempt (by another), clear ◀──────────────────┘
//! ```
//!
//! [`Reservations::apply`] is a function: it gives the state after the command and changes nothing. Whoever calls it
//! makes the new state durable and known first, and takes it up then.

use std::fmt;

use wire::nvme::Status;
use wire::nvme::reservation::{
    AcquireAction, Change, Keys, Notification, RegisterAction, ReleaseAction, ReservationType,
};

use super::access::Access;
use crate::limits::REGISTRANTS;

/// A host identifier.
pub type HostId = [u8; 16];

/// A host that is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registrant {
    /// The host.
    pub host: HostId,
    /// Its key: never 0, for a PRKEY of 0 means all.
    pub key: u64,
}

/// A reservation that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its type.
    pub kind: ReservationType,
    /// Who holds it. With the all-registrants types all registrants do, and this is the one that acquired it.
    pub holder: HostId,
}

/// A command that changes something, with its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// What is to change.
    pub change: Change,
    /// The keys that came as data.
    pub keys: Keys,
}

/// Something that a host is to be told, on all its controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The host.
    pub host: HostId,
    /// What happened.
    pub what: Notification,
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The state afterwards.
    pub next: Reservations,
    /// Whom to tell.
    pub notices: Vec<Notice>,
    /// Hosts whose commands are to be aborted (Preempt and Abort); those that can no longer be are waited for.
    pub fenced: Vec<HostId>,
}

/// Why a command is refused. [`Refusal::status`] is the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The host is not registered, its key is another one, or another host's reservation is in the way.
    Conflict,
    /// A field has a value that makes no sense here: a key of 0, a release of another type, persistence where there is
    /// none.
    Invalid,
    /// There are [`REGISTRANTS`] registrants.
    Full,
}

impl Refusal {
    /// The status to answer with. There is no status for "too many registrants": Internal Error without DNR, for the
    /// command succeeds once another host has unregistered.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Conflict => Status::RESERVATION_CONFLICT.with_dnr(),
            Self::Invalid => Status::INVALID_FIELD.with_dnr(),
            Self::Full => Status::INTERNAL_ERROR,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict => write!(f, "reservation conflict"),
            Self::Invalid => write!(f, "invalid field"),
            Self::Full => write!(f, "the namespace has {REGISTRANTS} registrants, which is the limit"),
        }
    }
}

impl std::error::Error for Refusal {}

/// The reservation of a namespace and its registrants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservations {
    /// By host.
    registrants: Vec<Registrant>,
    held: Option<Held>,
    generation: u32,
    persists: bool,
    can_persist: bool,
}

impl Reservations {
    /// Nobody registered. `can_persist`: there is a place that survives a loss of power.
    #[must_use]
    pub const fn new(can_persist: bool) -> Self {
        Self { registrants: Vec::new(), held: None, generation: 0, persists: false, can_persist }
    }

    /// A state that was stored, and so persists; `None` if it breaks a rule, and then it is none of ours.
    pub(super) fn restore(mut registrants: Vec<Registrant>, held: Option<Held>, generation: u32) -> Option<Self> {
        let distinct = |pair: &[Registrant]| pair[0].host < pair[1].host;
        registrants.sort_unstable_by_key(|registrant| registrant.host);
        let sound = registrants.len() <= REGISTRANTS
            && registrants.windows(2).all(distinct)
            && registrants.iter().all(|registrant| registrant.key != 0)
            && held.is_none_or(|held| {
                !registrants.is_empty()
                    && (held.kind.held_by_all() || registrants.iter().any(|registrant| registrant.host == held.holder))
            });
        sound.then_some(Self { registrants, held, generation, persists: true, can_persist: true })
    }

    /// The registrants, in the order of their host identifiers.
    #[must_use]
    pub fn registrants(&self) -> &[Registrant] {
        &self.registrants
    }

    /// The reservation, if one is held.
    #[must_use]
    pub const fn held(&self) -> Option<Held> {
        self.held
    }

    /// GEN of the report: wraps.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// PTPL: whether the state is kept through a loss of power.
    #[must_use]
    pub const fn persists(&self) -> bool {
        self.persists
    }

    /// Whether it could be (RESCAP bit 0).
    #[must_use]
    pub const fn can_persist(&self) -> bool {
        self.can_persist
    }

    /// Whether `host` holds the reservation: the one holder, or with the all-registrants types every registrant.
    #[must_use]
    pub fn is_holder(&self, host: &HostId) -> bool {
        self.held.is_some_and(
            |held| {
                if held.kind.held_by_all() { self.key_of(host).is_some() } else { held.holder == *host }
            },
        )
    }

    /// The key that a host is registered with.
    #[must_use]
    pub fn key_of(&self, host: &HostId) -> Option<u64> {
        self.find(host).ok().map(|at| self.registrants[at].key)
    }

    /// Who may do what, for the data path.
    #[must_use]
    pub fn access(&self) -> Access {
        let Some(held) = self.held else { return Access::open() };
        let admitted = if held.kind.admits_registrants() {
            self.registrants.iter().map(|registrant| registrant.host).collect()
        } else {
            vec![held.holder]
        };
        Access::restricted(held.kind.restricts_reads(), admitted)
    }

    /// What `command` of `host` makes of it.
    ///
    /// # Errors
    /// Why it is refused; then nothing changes.
    pub fn apply(&self, host: HostId, command: &Command) -> Result<Step, Refusal> {
        let (current, other) = (command.keys.current.get(), command.keys.other.get());
        let mut step = Step { next: self.clone(), notices: Vec::new(), fenced: Vec::new() };
        match command.change {
            Change::Register { action, ignore_key, persist } => {
                step.next.set_persistence(persist)?;
                let known = if ignore_key { None } else { Some(current) };
                step.register(host, action, known, other)?;
            }
            Change::Acquire { action, kind } => {
                self.must_know(&host, current)?;
                match action {
                    AcquireAction::Acquire => step.acquire(host, kind)?,
                    AcquireAction::Preempt => step.preempt(host, kind, other)?,
                    AcquireAction::PreemptAndAbort => {
                        step.preempt(host, kind, other)?;
                        step.fence(host, &self.registrants);
                    }
                }
            }
            Change::Release { action, kind } => {
                self.must_know(&host, current)?;
                match action {
                    ReleaseAction::Release => step.release(host, kind)?,
                    ReleaseAction::Clear => step.clear(host),
                }
            }
        }
        Ok(step)
    }

    /// Set Features 83h: whether the state is kept through a loss of power.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] where it cannot be.
    pub fn with_persistence(&self, persist: bool) -> Result<Self, Refusal> {
        let mut next = self.clone();
        next.set_persistence(Some(persist))?;
        Ok(next)
    }

    fn set_persistence(&mut self, persist: Option<bool>) -> Result<(), Refusal> {
        match persist {
            Some(true) if !self.can_persist => Err(Refusal::Invalid),
            Some(persist) => {
                self.persists = persist;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn find(&self, host: &HostId) -> Result<usize, usize> {
        self.registrants.binary_search_by(|registrant| registrant.host.cmp(host))
    }

    /// The host is registered with this key.
    fn must_know(&self, host: &HostId, key: u64) -> Result<(), Refusal> {
        if self.key_of(host) == Some(key) { Ok(()) } else { Err(Refusal::Conflict) }
    }

    fn counted(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }
}

impl Step {
    /// Reservation Register. `current` is the key that the host must be registered with; `None`: IEKEY.
    fn register(
        &mut self,
        host: HostId,
        action: RegisterAction,
        current: Option<u64>,
        new: u64,
    ) -> Result<(), Refusal> {
        let found = self.next.find(&host);
        if action != RegisterAction::Unregister && new == 0 {
            return Err(Refusal::Invalid);
        }
        match (action, found) {
            // CRKEY is of no meaning. Once more with the same key is no error.
            (RegisterAction::Register, Ok(at)) if self.next.registrants[at].key == new => {}
            (RegisterAction::Register, Ok(_)) => return Err(Refusal::Conflict),
            (RegisterAction::Register, Err(at)) => self.insert(at, Registrant { host, key: new })?,
            // Without regard to registration status and key.
            (RegisterAction::Replace, Err(at)) if current.is_none() => {
                self.insert(at, Registrant { host, key: new })?
            }
            (_, Err(_)) => return Err(Refusal::Conflict),
            (_, Ok(at)) if current.is_some_and(|key| key != self.next.registrants[at].key) => {
                return Err(Refusal::Conflict);
            }
            (RegisterAction::Replace, Ok(at)) => self.next.registrants[at].key = new,
            (RegisterAction::Unregister, Ok(at)) => {
                let was_holder = self.next.is_holder(&host);
                self.next.registrants.remove(at);
                self.holder_gone(host, was_holder);
            }
        }
        self.next.counted();
        Ok(())
    }

    fn insert(&mut self, at: usize, registrant: Registrant) -> Result<(), Refusal> {
        if self.next.registrants.len() >= REGISTRANTS {
            return Err(Refusal::Full);
        }
        self.next.registrants.insert(at, registrant);
        Ok(())
    }

    /// A registrant that `was_holder` is none any more. A reservation lasts as long as somebody holds it.
    fn holder_gone(&mut self, host: HostId, was_holder: bool) {
        let Some(held) = self.next.held.filter(|_| was_holder) else { return };
        match self.next.registrants.first() {
            Some(first) if held.kind.held_by_all() => {
                // The others hold it as well; should the report name one, it is one that is there.
                let holder = if held.holder == host { first.host } else { held.holder };
                self.next.held = Some(Held { holder, ..held });
            }
            _ => {
                self.next.held = None;
                self.notify_released(held.kind, host);
            }
        }
    }

    /// Reservation Acquire, action Acquire. It is no error to acquire what one holds.
    fn acquire(&mut self, host: HostId, kind: ReservationType) -> Result<(), Refusal> {
        match self.next.held {
            None => self.next.held = Some(Held { kind, holder: host }),
            Some(held) if held.kind == kind && self.next.is_holder(&host) => {}
            Some(_) => return Err(Refusal::Conflict),
        }
        Ok(())
    }

    /// Reservation Acquire, actions Preempt and Preempt and Abort.
    fn preempt(&mut self, host: HostId, kind: ReservationType, victim: u64) -> Result<(), Refusal> {
        let held = self.next.held;
        let by_all = held.is_some_and(|held| held.kind.held_by_all());
        if victim == 0 && !by_all {
            return Err(Refusal::Invalid);
        }
        // The reservation changes hands if PRKEY names its holder: that key, or 0 for all who hold it.
        let takes_over =
            held.is_some_and(|held| if by_all { victim == 0 } else { self.next.key_of(&held.holder) == Some(victim) });
        if takes_over {
            // The new holder first: so the old one leaves nothing behind that would have to be released.
            self.next.held = Some(Held { kind, holder: host });
            self.unregister_all(
                |registrant| registrant.host != host && (victim == 0 || registrant.key == victim),
                host,
            );
            if held.is_some_and(|before| before.kind != kind) {
                self.notify_others(host, Notification::ReservationReleased);
            }
        } else if !self.unregister_all(|registrant| registrant.key == victim, host) {
            return Err(Refusal::Conflict);
        }
        self.next.counted();
        Ok(())
    }

    /// Removes registrants, tells them (but not `by`), and says whether there were any.
    fn unregister_all(&mut self, which: impl Fn(&Registrant) -> bool, by: HostId) -> bool {
        let before = std::mem::take(&mut self.next.registrants);
        let (gone, stay): (Vec<_>, Vec<_>) = before.into_iter().partition(which);
        self.next.registrants = stay;
        for Registrant { host, .. } in &gone {
            if *host != by {
                self.notices.push(Notice { host: *host, what: Notification::RegistrationPreempted });
            }
        }
        if let Some(held) = self.next.held.filter(|held| gone.iter().any(|gone| gone.host == held.holder)) {
            self.holder_gone(held.holder, true);
        }
        !gone.is_empty()
    }

    /// Reservation Release, action Release. Without a reservation of its own there is nothing to release.
    fn release(&mut self, host: HostId, kind: u8) -> Result<(), Refusal> {
        match self.next.held {
            Some(held) if self.next.is_holder(&host) => {
                if held.kind.code() != kind {
                    return Err(Refusal::Invalid);
                }
                self.next.held = None;
                self.notify_released(held.kind, host);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Reservation Release, action Clear.
    fn clear(&mut self, host: HostId) {
        self.notify_others(host, Notification::ReservationPreempted);
        self.next.registrants.clear();
        self.next.held = None;
        self.next.counted();
    }

    /// Registrants had rights from these types that they have no more; from the other two they had none.
    fn notify_released(&mut self, kind: ReservationType, by: HostId) {
        if kind.admits_registrants() {
            self.notify_others(by, Notification::ReservationReleased);
        }
    }

    fn notify_others(&mut self, by: HostId, what: Notification) {
        let others = self.next.registrants.iter().filter(|registrant| registrant.host != by);
        self.notices.extend(others.map(|registrant| Notice { host: registrant.host, what }));
    }

    /// Those who were registrants `before` and are none now, but `by`, who has sent the command.
    fn fence(&mut self, by: HostId, before: &[Registrant]) {
        let gone = before.iter().filter(|registrant| self.next.find(&registrant.host).is_err());
        self.fenced = gone.map(|registrant| registrant.host).filter(|host| *host != by).collect();
    }
}
