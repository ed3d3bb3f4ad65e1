//! The rules of the specification once more, written as sentences over sets instead of steps, for three hosts and two
//! keys; and every state that these can reach compared with what [`super::state`] makes of every command.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wire::nvme::Status;
use wire::nvme::reservation::{
    AcquireAction, Change, Keys, Notification, RegisterAction, ReleaseAction, ReservationType,
};

use super::state::Held;
use super::{Command, Group, HostId, Reservations, Step};

const HOSTS: [HostId; 3] = [[1; 16], [2; 16], [3; 16]];
const KEYS: [u64; 4] = [0, 10, 20, 99];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Model {
    keys: BTreeMap<HostId, u64>,
    /// RTYPE and the host that acquired it.
    held: Option<(u8, HostId)>,
}

type Told = BTreeSet<(HostId, u8)>;

impl Model {
    fn of(state: &Reservations) -> Self {
        let keys = state.registrants().iter().map(|registrant| (registrant.host, registrant.key)).collect();
        // Which of all holders acquired it means nothing.
        let held = state.held().map(|Held { kind, holder }| {
            let holder = if kind.held_by_all() { [0; 16] } else { holder };
            (kind.code(), holder)
        });
        Self { keys, held }
    }

    fn holders(&self) -> BTreeSet<HostId> {
        match self.held {
            None => BTreeSet::new(),
            Some((5 | 6, _)) => self.keys.keys().copied().collect(),
            Some((_, holder)) => [holder].into(),
        }
    }

    fn set(&mut self, rtype: u8, holder: HostId) {
        self.held = Some((rtype, if rtype >= 5 { [0; 16] } else { holder }));
    }

    /// "A reservation is released when no holder is registered any more": who is told of that.
    fn without_holders(&mut self, by: HostId, told: &mut Told) {
        let Some((rtype, _)) = self.held else { return };
        if self.holders().iter().any(|holder| self.keys.contains_key(holder)) {
            return;
        }
        self.held = None;
        if rtype >= 3 {
            told.extend(self.others(by).map(|host| (host, Notification::ReservationReleased as u8)));
        }
    }

    fn others(&self, by: HostId) -> impl Iterator<Item = HostId> {
        self.keys.keys().copied().filter(move |host| *host != by)
    }

    fn run(&self, host: HostId, command: &Command) -> Result<(Self, Told), Status> {
        let conflict = Err(Status::RESERVATION_CONFLICT.with_dnr());
        let invalid = Err(Status::INVALID_FIELD.with_dnr());
        let (current, other) = (command.keys.current.get(), command.keys.other.get());
        let mine = self.keys.get(&host).copied();
        let (mut next, mut told) = (self.clone(), Told::new());
        match command.change {
            Change::Register { action, ignore_key, .. } => {
                let knows = ignore_key || mine == Some(current);
                match action {
                    RegisterAction::Register | RegisterAction::Replace if other == 0 => return invalid,
                    RegisterAction::Register if mine.is_some_and(|mine| mine != other) => return conflict,
                    RegisterAction::Replace if !knows => return conflict,
                    RegisterAction::Unregister if !knows || mine.is_none() => return conflict,
                    RegisterAction::Unregister => {
                        next.keys.remove(&host);
                        next.without_holders(host, &mut told);
                    }
                    _ => _ = next.keys.insert(host, other),
                }
            }
            _ if mine != Some(current) => return conflict,
            Change::Acquire { action: AcquireAction::Acquire, kind } => match self.held {
                None => next.set(kind.code(), host),
                Some((rtype, _)) if rtype == kind.code() && self.holders().contains(&host) => {}
                _ => return conflict,
            },
            Change::Acquire { kind, .. } => return self.preempt(host, kind, other),
            Change::Release { action: ReleaseAction::Clear, .. } => {
                told.extend(self.others(host).map(|host| (host, Notification::ReservationPreempted as u8)));
                next = Self { keys: BTreeMap::new(), held: None };
            }
            Change::Release { action: ReleaseAction::Release, kind } => match self.held {
                Some((rtype, _)) if self.holders().contains(&host) => {
                    if rtype != kind {
                        return invalid;
                    }
                    next.held = None;
                    if rtype >= 3 {
                        told.extend(self.others(host).map(|host| (host, Notification::ReservationReleased as u8)));
                    }
                }
                _ => {}
            },
        }
        Ok((next, told))
    }

    fn preempt(&self, host: HostId, kind: ReservationType, victim: u64) -> Result<(Self, Told), Status> {
        let (mut next, mut told) = (self.clone(), Told::new());
        let all = matches!(self.held, Some((5 | 6, _)));
        let named: BTreeSet<_> = self.keys.iter().filter(|(_, key)| **key == victim).map(|(host, _)| *host).collect();
        let gone: BTreeSet<_> = match (victim, all) {
            (0, false) => return Err(Status::INVALID_FIELD.with_dnr()),
            (0, true) => self.others(host).collect(),
            _ if named.is_empty() => return Err(Status::RESERVATION_CONFLICT.with_dnr()),
            _ => named,
        };
        // PRKEY 0, or the key of the one holder: release, unregister and acquire as one, and the host stays.
        let takes = victim == 0 || !all && self.holders().iter().any(|holder| self.keys[holder] == victim);
        for victim in gone {
            if !(takes && victim == host) {
                next.keys.remove(&victim);
            }
            if victim != host {
                told.insert((victim, Notification::RegistrationPreempted as u8));
            }
        }
        if takes {
            next.set(kind.code(), host);
            if self.held.map(|(rtype, _)| rtype) != Some(kind.code()) {
                told.extend(next.others(host).map(|host| (host, Notification::ReservationReleased as u8)));
            }
        } else {
            next.without_holders(host, &mut told);
        }
        Ok((next, told))
    }

    fn allows(&self, host: &HostId, group: Group) -> bool {
        let Some((rtype, _)) = self.held else { return true };
        let others_read = matches!(rtype, 1 | 3 | 5);
        let by_registration = rtype >= 3 && self.keys.contains_key(host);
        self.holders().contains(host) || by_registration || (others_read && group == Group::Read)
    }
}

/// Every command that three hosts can send with these keys.
fn commands() -> Vec<Command> {
    use wire::nvme::reservation::AcquireAction::{Acquire, Preempt, PreemptAndAbort};
    use wire::nvme::reservation::RegisterAction::{Register, Replace, Unregister};
    let mut changes = Vec::new();
    for ignore_key in [false, true] {
        changes.extend([Register, Unregister, Replace].map(|action| Change::Register {
            action,
            ignore_key,
            persist: None,
        }));
    }
    for kind in ReservationType::ALL {
        changes.extend([Acquire, Preempt, PreemptAndAbort].map(|action| Change::Acquire { action, kind }));
        changes.push(Change::Release { action: ReleaseAction::Release, kind: kind.code() });
    }
    changes.push(Change::Release { action: ReleaseAction::Release, kind: 0 });
    changes.push(Change::Release { action: ReleaseAction::Clear, kind: 0 });
    let keys = KEYS.into_iter().flat_map(|current| KEYS.map(|other| Keys::new(current, other)));
    keys.flat_map(|keys| changes.iter().map(move |&change| Command { change, keys })).collect()
}

fn compare(state: &Reservations, host: HostId, command: &Command) -> Option<Step> {
    let expected = Model::of(state).run(host, command);
    let got = state.apply(host, command);
    let context = || format!("{state:?}\n{host:?}\n{command:?}");
    match (got, expected) {
        (Ok(step), Ok((model, told))) => {
            assert_eq!(Model::of(&step.next), model, "{}", context());
            let got: Told = step.notices.iter().map(|notice| (notice.host, notice.what as u8)).collect();
            assert_eq!((got.len(), &got), (step.notices.len(), &told), "{}", context());
            let access = step.next.access();
            for host in HOSTS.iter().chain(&[[9; 16]]) {
                for group in [Group::Read, Group::Write] {
                    assert_eq!(access.allows(host, group), model.allows(host, group), "{host:?} {group:?} {model:?}");
                }
            }
            Some(step)
        }
        (Err(refusal), Err(status)) => {
            assert_eq!(refusal.status(), status, "{}", context());
            None
        }
        (got, expected) => panic!("{got:?} and not {expected:?}\n{}", context()),
    }
}

#[test]
fn every_command_in_every_state_that_three_hosts_can_reach() {
    let commands = commands();
    let start = Reservations::new(false);
    let mut seen = BTreeSet::from([Model::of(&start)]);
    let mut todo = VecDeque::from([start]);
    let (mut taken, mut refused) = (0, 0);
    while let Some(state) = todo.pop_front() {
        for host in HOSTS {
            for command in &commands {
                let Some(step) = compare(&state, host, command) else {
                    refused += 1;
                    continue;
                };
                taken += 1;
                let counts = match command.change {
                    Change::Register { .. } | Change::Release { action: ReleaseAction::Clear, .. } => 1,
                    Change::Acquire { action, .. } => u32::from(action != AcquireAction::Acquire),
                    Change::Release { .. } => 0,
                };
                assert_eq!(step.next.generation(), state.generation().wrapping_add(counts), "{command:?}");
                if seen.insert(Model::of(&step.next)) {
                    todo.push_back(step.next);
                }
            }
        }
    }
    // Each host has one of three keys or none. A reservation of the first four types is held by a registrant; one of
    // the other two needs a registrant, whoever that is.
    let (registered, holders) = (64, 4 * (3 * 3 * 16) + 2 * 63);
    assert_eq!(seen.len(), registered + holders);
    assert!(taken > 10_000 && refused > 10_000, "{taken} taken, {refused} refused");
}
