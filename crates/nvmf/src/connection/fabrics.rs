//! Fabrics commands: Connect, Property Get and Set, Disconnect (Base 2.0, section 6).

use std::sync::Arc;

use wire::nvme::fabrics::{CNTLID_DYNAMIC, PropertyCommand};
use wire::nvme::{ConnectCommand, ConnectData, ConnectResult, InvalidParameter, Sgl, Sqe, Status, opcode, property};
use zerocopy::FromBytes;

use crate::connection::answer::{Answer, QueueShape};
use crate::connection::session::{Role, Session};
use crate::layout::plan::Served;
use crate::limits::QUEUE_ENTRIES;
use crate::shard::engine::Pass;
use crate::target::controller::{ClaimError, Controller, NewController, keep_alive_timer};
use crate::target::{Counters, Denied};

/// Decides about a fabrics command.
pub(crate) fn execute(session: &mut Session, pass: &mut Pass<'_>, sqe: &Sqe, data: &[u8]) -> Answer {
    use opcode::fabrics::{CONNECT, DISCONNECT, PROPERTY_GET, PROPERTY_SET};
    match (sqe.fctype(), session.role()) {
        (CONNECT, Role::New(_)) => connect(session, pass, sqe, data).unwrap_or_else(|refused| {
            if refused.settling {
                return Answer::Later;
            }
            Counters::bump(&session.target.counters.refused_connects);
            tracing::debug!(status = %refused.status, why = refused.why, "a Connect was refused");
            Answer::Done { status: refused.status, result: refused.result }
        }),
        // Also a second Connect on one connection.
        (_, Role::New(_)) | (CONNECT, _) => Status::COMMAND_SEQUENCE_ERROR.with_dnr().into(),
        (PROPERTY_GET, Role::Admin(controller)) => property_get(controller, sqe),
        (PROPERTY_SET, Role::Admin(controller)) => {
            let controller = controller.clone();
            property_set(session, &controller, sqe)
        }
        (DISCONNECT, Role::Io(_)) if sqe.cdw10.get() & 0xffff == 0 => Answer::Disconnect,
        (DISCONNECT, Role::Io(_)) => Status::CONNECT_INCOMPATIBLE_FORMAT.with_dnr().into(),
        // Disconnect is for I/O queues; properties are reached through the admin queue.
        (PROPERTY_GET | PROPERTY_SET | DISCONNECT, _) => Status::INVALID_FIELD.with_dnr().into(),
        _ => Status::INVALID_OPCODE.with_dnr().into(),
    }
}

/// Why a Connect is refused.
struct Refused {
    status: Status,
    result: u64,
    why: &'static str,
    /// It will not be refused once devices have given back what they have of the host's last association.
    settling: bool,
}

impl Refused {
    /// The same Connect will be refused again.
    fn new(status: Status, why: &'static str) -> Self {
        Self { status: status.with_dnr(), result: 0, why, settling: false }
    }

    fn parameter(parameter: InvalidParameter, why: &'static str) -> Self {
        Self { result: parameter.to_result(), ..Self::new(Status::CONNECT_INVALID_PARAMETERS, why) }
    }

    fn settling() -> Self {
        Self { settling: true, ..Self::busy() }
    }

    fn no_subsystem() -> Self {
        Self::parameter(InvalidParameter::SUBNQN, "there is no such subsystem")
    }

    fn no_controller() -> Self {
        Self::parameter(InvalidParameter::CNTLID, "there is no such controller")
    }

    fn host(nqn: &str) -> Self {
        tracing::info!(host = nqn, "refused a host that is not allowed");
        Self::new(Status::CONNECT_INVALID_HOST, "the host is not allowed")
    }

    /// A controller may be free later: the host is to try again.
    fn busy() -> Self {
        Self {
            status: Status::CONNECT_CONTROLLER_BUSY,
            result: 0,
            why: "there are too many controllers",
            settling: false,
        }
    }
}

/// Connect (Base 2.0, 6.3). The data comes in the capsule: the admin queue always takes 8 KiB there.
fn connect(session: &mut Session, pass: &mut Pass<'_>, sqe: &Sqe, data: &[u8]) -> Result<Answer, Refused> {
    let command = ConnectCommand::view(sqe);
    let data = match command.dptr.check(u32::try_from(data.len()).unwrap_or(u32::MAX)) {
        Ok(Sgl::InCapsule { offset, len }) => data.get(offset as usize..(offset + len) as usize).unwrap_or(&[]),
        Ok(Sgl::Transport { .. }) => {
            return Err(Refused::new(Status::SGL_DESCRIPTOR_TYPE_INVALID, "its data is not in the capsule"));
        }
        Err(status) => return Err(Refused::new(status, "its SGL is wrong")),
    };
    let data = ConnectData::ref_from_bytes(data)
        .map_err(|_| Refused::new(Status::INVALID_SGL_DATA_LENGTH, "its data is not 1,024 bytes"))?;
    if command.recfmt.get() != 0 {
        return Err(Refused::new(Status::CONNECT_INCOMPATIBLE_FORMAT, "its record format is not 0"));
    }
    let subsystem = data.subnqn().map_err(|_| Refused::parameter(InvalidParameter::SUBNQN, "SUBNQN is malformed"))?;
    let host = data.hostnqn().map_err(|_| Refused::parameter(InvalidParameter::HOSTNQN, "HOSTNQN is malformed"))?;
    let plan = session.target.plan();
    let served = match plan.subsystem(subsystem.as_str()) {
        Some(served) => Some(served),
        None if subsystem.is_discovery() => None,
        None => return Err(Refused::no_subsystem()),
    };
    if served.is_some_and(|served| !served.hosts().allow(host.as_str())) {
        return Err(Refused::host(host.as_str()));
    }
    // SQSIZE is 0's based; 0 is not a queue.
    let depth = match u16::try_from(command.depth()) {
        Ok(depth) if (2..=QUEUE_ENTRIES).contains(&depth) => depth,
        _ => return Err(Refused::parameter(InvalidParameter::SQSIZE, "SQSIZE is 0 or beyond CAP.MQES")),
    };
    let new = NewController {
        subsystem: served.map(|served| served.id),
        in_capsule_bytes: served.map_or(0, |served| served.in_capsule_bytes()),
        host_nqn: host.as_str().to_owned(),
        host_id: data.hostid,
        kato_ms: keep_alive_timer(command.kato.get())
            .ok_or(Refused::parameter(InvalidParameter::KATO, "KATO is too long"))?,
        asked: session.asked(pass.now),
        now: pass.now,
    };
    let controller = match (command.qid.get(), served) {
        (0, _) => connect_admin(session, data, new)?,
        (qid, Some(served)) => connect_io(session, pass, served, data, qid, &new)?,
        (_, None) => return Err(Refused::no_controller()),
    };
    let queue = QueueShape {
        depth,
        admin: command.qid.get() == 0,
        in_capsule_bytes: controller.in_capsule_bytes,
        flow_control_disabled: command.flow_control_disabled(),
    };
    Ok(Answer::Connected { result: ConnectResult::connected(controller.id).to_result(), queue })
}

/// The admin queue: a new controller.
fn connect_admin(session: &mut Session, data: &ConnectData, new: NewController) -> Result<Arc<Controller>, Refused> {
    if data.cntlid.get() != CNTLID_DYNAMIC {
        return Err(Refused::parameter(
            InvalidParameter::CNTLID,
            "the controller model is dynamic: CNTLID must be FFFFh",
        ));
    }
    let host = new.host_nqn.clone();
    let controller = session.target.create_controller(new).map_err(|denied| match denied {
        Denied::NoSubsystem => Refused::no_subsystem(),
        Denied::Host => Refused::host(&host),
        Denied::Settling => Refused::settling(),
        Denied::TooMany => Refused::busy(),
    })?;
    session.become_admin(controller.clone());
    Ok(controller)
}

/// An I/O queue of a controller that this host has.
fn connect_io(
    session: &mut Session,
    pass: &mut Pass<'_>,
    served: &Served,
    data: &ConnectData,
    qid: u16,
    host: &NewController,
) -> Result<Arc<Controller>, Refused> {
    let controller = session.target.controller(data.cntlid.get());
    let controller =
        controller.filter(|controller| controller.subsystem == Some(served.id)).ok_or(Refused::no_controller())?;
    if controller.host_nqn != host.host_nqn {
        return Err(Refused::parameter(InvalidParameter::HOSTNQN, "the controller belongs to another host"));
    }
    if controller.host_id != host.host_id {
        return Err(Refused::parameter(InvalidParameter::HOSTID, "the controller belongs to another host"));
    }
    let resets = controller.claim_queue(qid).map_err(|error| match error {
        ClaimError::NotReady => Refused::new(Status::COMMAND_SEQUENCE_ERROR, "the controller is not enabled"),
        ClaimError::BadQueue => Refused::parameter(InvalidParameter::QID, "the queue is taken or was not granted"),
    })?;
    session.become_io(controller.clone(), pass.engine.view(served), qid, resets);
    Ok(controller)
}

/// Property Get (Base 2.0, 6.5): the size asked for must be the property's.
fn property_get(controller: &Controller, sqe: &Sqe) -> Answer {
    let command = PropertyCommand::view(sqe);
    let offset = command.ofst.get();
    match controller.property(offset) {
        Some(value) if command.bytes() == property::bytes(offset) => Answer::result(value),
        _ => Status::INVALID_FIELD.with_dnr().into(),
    }
}

/// Property Set (Base 2.0, 6.6): CC alone can be set.
fn property_set(session: &mut Session, controller: &Controller, sqe: &Sqe) -> Answer {
    let command = PropertyCommand::view(sqe);
    if command.ofst.get() != property::CC || command.bytes() != Some(4) {
        return Status::INVALID_FIELD.with_dnr().into();
    }
    if controller.set_configuration(command.value.get() as u32) {
        session.target.alert();
        session.reset(controller)
    } else {
        Answer::ok()
    }
}
