//! A connection's commands and reservations: changes go to the keeper, reports are answered here, and what has lost
//! its right to the blocks is ended.

use block::Failure;
use wire::nvme::reservation::{Change, Keys};
use wire::nvme::{Sqe, Status};
use wire::tcp::Slot;

use super::Connection;
use crate::connection::command::{Payload, Stage};
use crate::connection::io::Work;
use crate::connection::session::Role;
use crate::reservation::desk::{Event, Fence, Job, What};
use crate::reservation::report::report;
use crate::reservation::{Command, HostId};
use crate::shard::engine::Pass;

impl Connection {
    /// The host of an I/O queue.
    pub(crate) fn host_id(&self) -> Option<HostId> {
        match self.session.role() {
            Role::Io(queue) => Some(queue.controller.host_id),
            _ => None,
        }
    }

    /// Reservation Report (Base 2.0, 7.5).
    pub(super) fn report(
        &mut self,
        pass: &mut Pass<'_>,
        slot: Slot,
        sqe: &Sqe,
        namespace: usize,
    ) -> Result<(), Status> {
        sqe.check_flags()?;
        let state = pass.engine.target.reservations.state(pass.engine.at(namespace).id);
        let state = state.ok_or(Status::INVALID_NAMESPACE.with_dnr())?;
        let bytes = report(&state, sqe.report_bytes(), sqe.report_extended())?;
        self.respond_data(pass, slot, sqe, &bytes, 0);
        Ok(())
    }

    /// The keys of a change are in: the keeper decides.
    pub(super) fn reserve(&mut self, pass: &mut Pass<'_>, slot: Slot, change: Change) {
        let command = &mut self.commands[slot.index()];
        let Payload::Buf(data) = std::mem::take(&mut command.payload) else { unreachable!("its keys are in a buffer") };
        let keys = Keys::read(&data).expect("the length was checked");
        let namespace = pass.engine.at(command.namespace).id;
        let host = self.host_id().expect("only I/O queues have I/O commands");
        self.ask(pass, slot, namespace, What::Command(host, Command { change, keys }));
    }

    /// Has the keeper decide about a command of this connection. The answer comes to [`Connection::ruled`].
    pub(super) fn ask(&mut self, pass: &mut Pass<'_>, slot: Slot, namespace: u32, what: What) {
        self.commands[slot.index()].work = Work::Asked;
        self.step(slot, Stage::Held, pass);
        let asker = (pass.engine.reactor, self.owner(slot));
        pass.engine.target.reservations.send(Event::Asked(Job { asker, namespace, what }));
    }

    /// The keeper has decided.
    pub(crate) fn ruled(&mut self, pass: &mut Pass<'_>, slot: Slot, status: Status) {
        let command = &self.commands[slot.index()];
        if command.stage() != Stage::Held || command.work != Work::Asked {
            return;
        }
        if status.is_success() && matches!(self.session.role(), Role::Io(_)) {
            self.succeeded(pass, slot, 0);
        }
        self.respond(pass, slot, status, 0);
    }

    /// Another access holds in the namespace at this index: what is not at the device yet and may not go there ends.
    pub(crate) fn obey(&mut self, pass: &mut Pass<'_>, at: usize, fence: &Fence) {
        let Some(host) = self.host_id().filter(|host| fence.hits(host)) else { return };
        let aborted = fence.fenced.contains(&host);
        let status = if aborted { Status::ABORTED_PREEMPT } else { Status::RESERVATION_CONFLICT.with_dnr() };
        for index in 0..self.commands.len() {
            let command = &self.commands[index];
            let Some(group) = command.work.group().filter(|_| command.needs(at)) else { continue };
            let hit = aborted || !fence.access.allows(&host, group);
            if hit && !self.cut(pass, Slot(index as u16), status) {
                // At the device. What follows of a command of several requests does not go there.
                let command = &mut self.commands[index];
                if let Work::Ranges { count, next } = command.work
                    && next < count
                {
                    command.failure.get_or_insert(Failure::Device(status));
                }
            }
        }
    }

    /// Whether the device of a namespace has nothing of this connection, or the host has lost no right by `fence`.
    pub(crate) fn has_drained(&self, at: usize, fence: &Fence) -> bool {
        let is_there = || self.commands.iter().any(|command| command.needs(at) && command.outstanding > 0);
        !self.host_id().is_some_and(|host| fence.hits(&host)) || !is_there()
    }

    /// Tells the host that there are reservation notifications, if it waits for events.
    pub(super) fn announce(&mut self, pass: &mut Pass<'_>) {
        self.session.announce();
        self.send_events(pass);
    }
}
