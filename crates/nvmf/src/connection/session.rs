//! What a connection is for: nothing yet, the admin queue of a controller, or one of its I/O queues - and the commands
//! that are answered from that knowledge alone.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use machine::clock::Coarse;
use wire::nvme::discovery::TRTYPE_TCP;
use wire::nvme::feature::{Event, event_config};
use wire::nvme::{ErrorEntry, Sqe, Status, opcode};
use wire::tcp::Slot;
use zerocopy::FromZeros;

use crate::admin;
use crate::connection::answer::Answer;
use crate::connection::command::About;
use crate::connection::end::End;
use crate::connection::fabrics;
use crate::layout::changes::Changes;
use crate::reservation::Notifications;
use crate::shard::engine::{Pass, View};
use crate::target::aborts::{Aborts, QueueId};
use crate::target::controller::Controller;
use crate::target::events::Events;
use crate::target::{Counters, Target};

/// Bit 0 of the result of an Abort.
const NOT_ABORTED: u64 = 1;

/// What a connection is for.
pub(crate) enum Role {
    /// No Connect yet, or one that waits since then.
    New(Option<Coarse>),
    /// The admin queue.
    Admin(Arc<Controller>),
    /// An I/O queue.
    Io(IoQueue),
}

/// An I/O queue of a controller.
pub(crate) struct IoQueue {
    pub(crate) controller: Arc<Controller>,
    /// The namespaces that it reaches.
    pub(crate) view: Rc<View>,
    qid: u16,
    resets: u32,
    claim: Claim,
}

/// The claim on an I/O queue: kept until no device has a request of the queue, also beyond its connection.
pub(crate) struct Claim {
    target: Arc<Target>,
    controller: Arc<Controller>,
    qid: u16,
    resets: u32,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.controller.release_queue(self.qid, self.resets);
        if self.controller.has_ended() || self.controller.resets() != self.resets {
            // The host may wait for that, on another reactor.
            self.target.alert();
        }
    }
}

impl IoQueue {
    /// Whether the controller was reset since, or its association has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.controller.has_ended() || self.controller.resets() != self.resets
    }

    fn id(&self) -> QueueId {
        QueueId { qid: self.qid, resets: self.resets }
    }
}

/// See the module.
pub(crate) struct Session {
    pub(crate) target: Arc<Target>,
    /// The address that the host reached.
    pub(crate) local: SocketAddr,
    role: Role,
    /// Of an admin queue.
    pub(crate) events: Events,
}

impl Session {
    pub(crate) fn new(target: Arc<Target>, local: SocketAddr) -> Self {
        Self { target, local, role: Role::New(None), events: Events::default() }
    }

    pub(crate) fn role(&self) -> &Role {
        &self.role
    }

    /// The NQNs of the subsystem and of the host, for an I/O queue.
    pub(crate) fn names(&self) -> (&str, &str) {
        let Role::Io(queue) = &self.role else { unreachable!("it is asked for I/O commands only") };
        (queue.view.nqn(), &queue.controller.host_nqn)
    }

    /// The connection has become the admin queue of `controller`.
    pub(crate) fn become_admin(&mut self, controller: Arc<Controller>) {
        self.role = Role::Admin(controller);
    }

    /// The connection has become an I/O queue, claimed when `controller` had seen `resets` resets.
    pub(crate) fn become_io(&mut self, controller: Arc<Controller>, view: Rc<View>, qid: u16, resets: u32) {
        let claim = Claim { target: self.target.clone(), controller: controller.clone(), qid, resets };
        self.role = Role::Io(IoQueue { controller, view, qid, resets, claim });
    }

    /// When the Connect came that is decided about now.
    pub(crate) fn asked(&mut self, now: Coarse) -> Coarse {
        if let Role::New(asked) = &mut self.role { *asked.get_or_insert(now) } else { now }
    }

    /// Decides about any command but an I/O command of an I/O queue.
    pub(crate) fn execute(&mut self, pass: &mut Pass<'_>, slot: Slot, sqe: &Sqe, data: &[u8]) -> Answer {
        if let Err(status) = sqe.check_flags() {
            return status.into();
        }
        if sqe.is_fabrics() {
            return fabrics::execute(self, pass, sqe, data);
        }
        let Role::Admin(controller) = &self.role else { return Status::COMMAND_SEQUENCE_ERROR.with_dnr().into() };
        if !controller.is_ready() {
            return Status::COMMAND_SEQUENCE_ERROR.into();
        }
        let controller = controller.clone();
        match sqe.opcode {
            opcode::admin::ASYNC_EVENT_REQUEST => self.events.request(slot, sqe.cid.get()),
            opcode::admin::ABORT => self.abort(&controller, slot, sqe, pass.now),
            _ => admin::execute(self, &controller, pass, sqe).unwrap_or_else(Answer::from),
        }
    }

    /// Reservation notifications that the host was not told of become an event.
    pub(crate) fn announce(&mut self) {
        if let Role::Admin(controller) = &self.role
            && controller.has_news()
            && controller.notifications(Notifications::announce)
        {
            self.events.raise(Event::RESERVATION_LOG);
        }
    }

    /// Abort (Base 2.0, 5.1). An asynchronous event request is held here; whatever else an admin queue has is answered
    /// soon. What is on an I/O queue its connection looks after, and the Abort waits until it has.
    fn abort(&mut self, controller: &Controller, slot: Slot, sqe: &Sqe, now: Coarse) -> Answer {
        let (qid, cid) = (sqe.abort_sqid(), sqe.abort_cid());
        if qid == 0 {
            let held = self.events.abort(cid);
            return held.map_or(Answer::result(NOT_ABORTED), |slot| Answer::Aborted { slot });
        }
        let Some(queue) = controller.queue(qid) else { return Answer::result(NOT_ABORTED) };
        if !controller.aborts(|aborts| aborts.ask(slot, queue, cid, now)) {
            return Status::ABORT_COMMAND_LIMIT.into();
        }
        self.target.alert();
        Answer::Held
    }

    /// An Abort of this admin queue that can be answered now: its slot, and the result.
    pub(crate) fn next_abort_over(&self, now: Coarse) -> Option<(Slot, u64)> {
        let Role::Admin(controller) = &self.role else { return None };
        let controller = Some(controller).filter(|controller| controller.has_aborts())?;
        let (slot, aborted) = controller.aborts(|aborts| aborts.next_over(now))?;
        Some((slot, if aborted { 0 } else { NOT_ABORTED }))
    }

    /// A command of this I/O queue that its host wants aborted.
    pub(crate) fn next_abort(&self) -> Option<u16> {
        let Role::Io(queue) = &self.role else { return None };
        let controller = Some(&queue.controller).filter(|controller| controller.has_aborts())?;
        controller.aborts(|aborts| aborts.next_asked(queue.id()))
    }

    /// What became of a command of this I/O queue that was to be aborted.
    pub(crate) fn abort_over(&self, cid: u16, aborted: bool) {
        if let Role::Io(queue) = &self.role {
            queue.controller.aborts(|aborts| aborts.over(queue.id(), cid, aborted));
            self.target.alert();
        }
    }

    /// What is served has changed; what its controller's host wants to know of it becomes an event.
    pub(crate) fn notice(&mut self, changes: &Changes) {
        let Role::Admin(controller) = &self.role else { return };
        let enabled = controller.async_events();
        match controller.subsystem {
            Some(subsystem) => {
                for nsid in changes.namespaces_of(subsystem) {
                    self.events.namespace_changed(nsid, enabled & event_config::NAMESPACE_ATTRIBUTE != 0);
                }
            }
            None if changes.discovery_log && enabled & event_config::DISCOVERY_CHANGE != 0 => {
                self.events.raise(Event::DISCOVERY_CHANGED);
            }
            None => {}
        }
    }

    /// The controller was reset: the held requests are not held any more.
    pub(crate) fn reset(&mut self, controller: &Controller) -> Answer {
        let mut held = self.events.reset();
        held.extend(controller.aborts(Aborts::reset));
        Answer::Reset { held }
    }

    /// A command has failed: a line for the controller's error log.
    pub(crate) fn log_error(&self, status: Status, about: &About) {
        let (controller, qid) = match &self.role {
            Role::New(_) => return,
            Role::Admin(controller) => (controller, 0),
            Role::Io(queue) => (&queue.controller, queue.qid),
        };
        controller.log_error(ErrorEntry {
            sqid: qid.into(),
            cid: about.cid.into(),
            status: status.to_field().into(),
            // No byte of the command is singled out.
            parameter_error_location: 0xffff.into(),
            lba: about.lba.into(),
            nsid: about.nsid.into(),
            trtype: TRTYPE_TCP,
            opcode: about.opcode,
            ..ErrorEntry::new_zeroed()
        });
    }

    /// The host was heard of.
    pub(crate) fn touch(&self, now: Coarse) {
        match &self.role {
            Role::New(_) => {}
            Role::Admin(controller) => controller.touch(now),
            Role::Io(queue) => queue.controller.touch(now),
        }
    }

    /// All that the socket had was received, and it has not ended.
    pub(crate) fn stands(&self, now: Coarse) {
        if let Role::Admin(controller) = &self.role {
            controller.stands(now);
        }
    }

    /// Whether the association still stands.
    pub(crate) fn check(&self, now: Coarse) -> Result<(), End> {
        match &self.role {
            Role::Admin(controller) if controller.has_ended() => Err(End::Association),
            Role::Admin(controller) if controller.is_overdue(now) => Err(End::KeepAlive),
            Role::Io(queue) if queue.is_over() => Err(End::Association),
            _ => Ok(()),
        }
    }

    /// Whether it is the admin queue of a controller that has I/O queues.
    pub(crate) fn has_queues(&self) -> bool {
        matches!(&self.role, Role::Admin(controller) if controller.has_queues())
    }

    /// The connection is over: with the admin queue the association ends. The claim on an I/O queue is given back when
    /// devices have nothing of it any more.
    pub(crate) fn end(self, end: &End) -> Option<Claim> {
        let counters = &self.target.counters;
        match end {
            End::Protocol(_) => Counters::bump(&counters.protocol_errors),
            End::Handshake => Counters::bump(&counters.handshake_timeouts),
            End::KeepAlive => Counters::bump(&counters.keep_alive_timeouts),
            End::Stalled => Counters::bump(&counters.stalled),
            End::Closed | End::Socket(_) | End::Association | End::Disconnect | End::Stopped => {}
        }
        match self.role {
            Role::New(_) => None,
            Role::Admin(controller) => {
                self.target.remove_controller(controller.id);
                None
            }
            Role::Io(queue) => {
                if queue.controller.has_aborts() {
                    queue.controller.aborts(|aborts| aborts.queue_over(queue.id()));
                    self.target.alert();
                }
                Some(queue.claim)
            }
        }
    }
}
