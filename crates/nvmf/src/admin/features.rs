//! Features: number of queues, keep-alive, asynchronous events, and the few that are mandatory (Base 2.0, 5.27).
//!
//! No feature is saveable or changes per namespace.

use wire::nvme::feature::{QueueCounts, capability, event_config, fid, select};
use wire::nvme::{Sqe, Status};

use crate::connection::answer::Answer;
use crate::limits::IO_QUEUES;
use crate::target::controller::{Controller, Kind, keep_alive_timer};

/// What Get Features and Set Features know about a feature.
struct Feature {
    /// The value now.
    current: u32,
    /// The value before any Set Features.
    default: u32,
    changeable: bool,
}

fn feature(controller: &Controller, id: u8) -> Option<Feature> {
    let fixed = |value| Feature { current: value, default: value, changeable: false };
    Some(match id {
        // One queue at a time is answered, without bursts: there is nothing to arbitrate or to set.
        fid::ARBITRATION | fid::POWER_MANAGEMENT | fid::ERROR_RECOVERY | fid::WRITE_ATOMICITY => fixed(0),
        fid::TEMPERATURE_THRESHOLD => fixed(0xffff),
        fid::NUMBER_OF_QUEUES => Feature {
            current: QueueCounts::of(controller.granted_queues().into()).to_dword(),
            default: QueueCounts::of(IO_QUEUES.into()).to_dword(),
            changeable: true,
        },
        fid::ASYNC_EVENT_CONFIG => Feature { current: controller.async_events(), default: 0, changeable: true },
        fid::KATO => {
            let millis = u32::try_from(controller.kato().as_millis()).unwrap_or(u32::MAX);
            Feature { current: millis, default: 0, changeable: true }
        }
        _ => return None,
    })
}

/// Get Features.
pub(crate) fn get(controller: &Controller, sqe: &Sqe) -> Result<Answer, Status> {
    let feature = feature(controller, sqe.fid()).ok_or(Status::INVALID_FIELD.with_dnr())?;
    let value = match sqe.select() {
        select::CURRENT => feature.current,
        // Nothing is saveable: the saved value is the default one.
        select::DEFAULT | select::SAVED => feature.default,
        select::SUPPORTED_CAPABILITIES if feature.changeable => capability::CHANGEABLE,
        select::SUPPORTED_CAPABILITIES => 0,
        _ => return Err(Status::INVALID_FIELD.with_dnr()),
    };
    Ok(Answer::result(value.into()))
}

/// Set Features.
pub(crate) fn set(controller: &Controller, sqe: &Sqe) -> Result<Answer, Status> {
    if sqe.save() {
        return Err(Status::FEATURE_NOT_SAVEABLE.with_dnr());
    }
    let value = sqe.cdw11.get();
    match sqe.fid() {
        fid::NUMBER_OF_QUEUES => {
            let wanted = QueueCounts::from_dword(value).ok_or(Status::INVALID_FIELD.with_dnr())?;
            let wanted = wanted.submission.max(wanted.completion).min(IO_QUEUES.into()) as u16;
            let granted = controller.grant_queues(wanted)?;
            Ok(Answer::result(QueueCounts::of(granted.into()).to_dword().into()))
        }
        fid::ASYNC_EVENT_CONFIG => {
            if value & !events(controller.kind) != 0 {
                return Err(Status::INVALID_FIELD.with_dnr());
            }
            controller.set_async_events(value);
            Ok(Answer::ok())
        }
        fid::KATO => set_keep_alive(controller, value),
        id if feature(controller, id).is_some() => Err(Status::FEATURE_NOT_CHANGEABLE.with_dnr()),
        _ => Err(Status::INVALID_FIELD.with_dnr()),
    }
}

/// The events that a host may ask for: those that OAES names, and those of SMART, which never come.
fn events(kind: Kind) -> u32 {
    match kind {
        Kind::Io => event_config::SMART | event_config::NAMESPACE_ATTRIBUTE,
        Kind::Discovery => event_config::DISCOVERY_CHANGE,
    }
}

/// A discovery controller has the keep-alive timer and its events alone.
pub(crate) fn of_discovery(controller: &Controller, sqe: &Sqe) -> Result<Answer, Status> {
    match (sqe.fid(), sqe.opcode) {
        (fid::KATO | fid::ASYNC_EVENT_CONFIG, wire::nvme::admin::GET_FEATURES) => get(controller, sqe),
        (fid::KATO | fid::ASYNC_EVENT_CONFIG, _) => set(controller, sqe),
        _ => Err(Status::INVALID_FIELD.with_dnr()),
    }
}

/// The keep-alive timer; zero stops it.
fn set_keep_alive(controller: &Controller, millis: u32) -> Result<Answer, Status> {
    controller.set_kato(keep_alive_timer(millis).ok_or(Status::KEEP_ALIVE_TIMEOUT_INVALID.with_dnr())?);
    Ok(Answer::ok())
}
