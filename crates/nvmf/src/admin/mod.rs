//! Admin commands: Identify, Get Log Page, Get and Set Features, Keep Alive.
//!
//! What is not here is answered with Invalid Command Opcode; the Commands Supported and Effects log says the same.

mod discovery;
mod features;
mod identify;
mod logs;
mod reservation;

use std::sync::Arc;

use wire::nvme::{Sqe, Status, opcode};

use crate::connection::answer::Answer;
use crate::connection::session::Session;
use crate::shard::engine::Pass;
use crate::target::controller::{Controller, Kind};

/// Decides about an admin command of an admin queue (asynchronous event requests and aborts are the session's).
///
/// # Errors
/// The status to answer with.
pub(crate) fn execute(
    session: &mut Session,
    controller: &Arc<Controller>,
    pass: &Pass<'_>,
    sqe: &Sqe,
) -> Result<Answer, Status> {
    use opcode::admin::{GET_FEATURES, GET_LOG_PAGE, IDENTIFY, KEEP_ALIVE, SET_FEATURES};
    match (sqe.opcode, controller.kind) {
        (IDENTIFY, _) => identify::answer(session, controller, sqe),
        (GET_LOG_PAGE, _) => logs::answer(session, controller, pass.now, sqe),
        (GET_FEATURES | SET_FEATURES, Kind::Io) if reservation::is_feature(sqe.fid()) => {
            reservation::feature(session, controller, sqe)
        }
        (GET_FEATURES, Kind::Io) => features::get(controller, sqe),
        (SET_FEATURES, Kind::Io) => features::set(controller, sqe),
        (GET_FEATURES | SET_FEATURES, Kind::Discovery) => features::of_discovery(controller, sqe),
        (KEEP_ALIVE, _) => keep_alive(controller),
        _ => Err(Status::INVALID_OPCODE.with_dnr()),
    }
}

/// Keep Alive (Base 2.0, 5.18). The timer itself restarts with any command; without a timer there is nothing to keep.
fn keep_alive(controller: &Controller) -> Result<Answer, Status> {
    if controller.kato().is_zero() { Err(Status::KEEP_ALIVE_TIMEOUT_INVALID.with_dnr()) } else { Ok(Answer::ok()) }
}
