//! The two features that belong to a namespace: 82h, which reservation notifications are masked, and 83h, whether
//! reservations persist through a loss of power.

use wire::nvme::feature::{capability, fid, select};
use wire::nvme::reservation::{PERSIST, mask};
use wire::nvme::{NSID_ALL, Sqe, Status, admin};

use crate::connection::answer::Answer;
use crate::connection::session::Session;
use crate::target::controller::Controller;

/// Whether it is one of them.
pub(super) fn is_feature(id: u8) -> bool {
    matches!(id, fid::RESERVATION_NOTIFICATION | fid::RESERVATION_PERSISTENCE)
}

/// Get Features and Set Features of them.
///
/// # Errors
/// The status to answer with.
pub(super) fn feature(session: &Session, controller: &Controller, sqe: &Sqe) -> Result<Answer, Status> {
    let namespaces = namespaces(session, controller, sqe.nsid.get())?;
    let is_mask = sqe.fid() == fid::RESERVATION_NOTIFICATION;
    let value = sqe.cdw11.get();
    match (sqe.opcode == admin::SET_FEATURES, is_mask) {
        (true, _) if sqe.save() => Err(Status::FEATURE_NOT_SAVEABLE.with_dnr()),
        (true, true) if value & !mask::ALL != 0 => Err(Status::INVALID_FIELD.with_dnr()),
        (true, true) => {
            controller.notifications(|list| namespaces.iter().for_each(|(nsid, _)| list.set_mask(*nsid, value)));
            Ok(Answer::ok())
        }
        (true, false) if value & !PERSIST != 0 => Err(Status::INVALID_FIELD.with_dnr()),
        (true, false) => {
            let namespaces = namespaces.into_iter().map(|(_, id)| id).collect();
            Ok(Answer::Persist { persist: value & PERSIST != 0, namespaces })
        }
        // There is one value for each namespace, not one for all.
        (false, _) if namespaces.len() > 1 || sqe.nsid.get() == NSID_ALL => Err(Status::INVALID_FIELD.with_dnr()),
        (false, _) => {
            let (nsid, id) = namespaces[0];
            let persists = || session.target.reservations.state(id).is_some_and(|state| state.persists());
            match sqe.select() {
                select::CURRENT if is_mask => {
                    Ok(Answer::result(controller.notifications(|list| list.mask(nsid)).into()))
                }
                select::CURRENT => Ok(Answer::result(persists().into())),
                select::DEFAULT | select::SAVED => Ok(Answer::result(0)),
                select::SUPPORTED_CAPABILITIES => {
                    Ok(Answer::result((capability::CHANGEABLE | capability::NAMESPACE_SPECIFIC).into()))
                }
                _ => Err(Status::INVALID_FIELD.with_dnr()),
            }
        }
    }
}

/// The namespaces that are meant, with their numbers in the plan: one, or all; at least one.
fn namespaces(session: &Session, controller: &Controller, nsid: u32) -> Result<Vec<(u32, u32)>, Status> {
    let plan = session.target.plan();
    let served = controller.subsystem.and_then(|id| plan.by_id(id)).ok_or(Status::NAMESPACE_NOT_READY)?;
    let meant = served.namespaces().iter().filter(|(id, _)| nsid == NSID_ALL || **id == nsid);
    let meant: Vec<_> = meant.map(|(&nsid, namespace)| (nsid, namespace.id)).collect();
    if meant.is_empty() { Err(Status::INVALID_NAMESPACE.with_dnr()) } else { Ok(meant) }
}
