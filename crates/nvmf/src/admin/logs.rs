//! Log pages: 00h 01h 02h 03h 04h 05h 12h 80h of an I/O controller, 00h and 70h of a discovery controller (Base 2.0,
//! 5.16).

use machine::clock::Coarse;
use wire::nvme::feature::fid;
use wire::nvme::identify::ascii;
use wire::nvme::log::{effects, slice};
use wire::nvme::{
    CommandEffects, FidEffects, FirmwareSlot, NSID_ALL, SmartLog, Sqe, Status, SupportedLogPages, admin, io, lid,
};
use zerocopy::{FromZeros, IntoBytes};

use crate::admin::discovery;
use crate::connection::answer::Answer;
use crate::connection::session::Session;
use crate::limits::TRANSFER_BYTES;
use crate::reservation::Notifications;
use crate::target::Target;
use crate::target::controller::{Controller, Kind};

/// The logs of each kind of controller.
const IO_LOGS: [u8; 8] = [
    lid::SUPPORTED_LOG_PAGES,
    lid::ERROR,
    lid::SMART,
    lid::FIRMWARE_SLOT,
    lid::CHANGED_NAMESPACES,
    lid::COMMAND_EFFECTS,
    lid::FID_EFFECTS,
    lid::RESERVATION_NOTIFICATION,
];
const DISCOVERY_LOGS: [u8; 2] = [lid::SUPPORTED_LOG_PAGES, lid::DISCOVERY];

/// Answers Get Log Page: exactly the bytes asked for, zeros behind the end of the log.
pub(crate) fn answer(session: &mut Session, controller: &Controller, now: Coarse, sqe: &Sqe) -> Result<Answer, Status> {
    let bytes = sqe.log_bytes();
    if bytes > u64::from(TRANSFER_BYTES) || sqe.log_offset_is_index() {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    let log = match (sqe.lid(), controller.kind) {
        (lid::SUPPORTED_LOG_PAGES, Kind::Io) => SupportedLogPages::build(&IO_LOGS).as_bytes().to_vec(),
        (lid::SUPPORTED_LOG_PAGES, Kind::Discovery) => SupportedLogPages::build(&DISCOVERY_LOGS).as_bytes().to_vec(),
        (lid::ERROR, Kind::Io) => controller.errors().as_bytes().to_vec(),
        (lid::SMART, Kind::Io) => match sqe.nsid.get() {
            // The page is the controller's (LPA bit 0 is clear).
            0 | NSID_ALL => smart(&session.target, controller, now).as_bytes().to_vec(),
            _ => return Err(Status::INVALID_FIELD.with_dnr()),
        },
        (lid::FIRMWARE_SLOT, Kind::Io) => FirmwareSlot::single(ascii(env!("CARGO_PKG_VERSION"))).as_bytes().to_vec(),
        (lid::CHANGED_NAMESPACES, Kind::Io) => session.events.changed_namespaces(),
        (lid::COMMAND_EFFECTS, Kind::Io) => command_effects().as_bytes().to_vec(),
        (lid::FID_EFFECTS, Kind::Io) => feature_effects().as_bytes().to_vec(),
        // The host that has read the beginning of a page has read it, unless it says that the event is to stay.
        (lid::RESERVATION_NOTIFICATION, Kind::Io) if sqe.rae() || sqe.log_offset() > 0 => {
            controller.notifications(|list| list.peek()).as_bytes().to_vec()
        }
        (lid::RESERVATION_NOTIFICATION, Kind::Io) => controller.notifications(Notifications::take).as_bytes().to_vec(),
        (lid::DISCOVERY, Kind::Discovery) => {
            discovery::log(&session.target.plan(), &controller.host_nqn, session.local)
        }
        _ => return Err(Status::INVALID_LOG_PAGE.with_dnr()),
    };
    let mut part = slice(&log, sqe.log_offset(), bytes)?.to_vec();
    part.resize(bytes as usize, 0);
    if !sqe.rae() {
        session.events.read(sqe.lid());
    }
    Ok(Answer::data(part))
}

/// SMART / Health Information. What a served device cannot know (temperature, wear) is zero: "not reported".
fn smart(target: &Target, controller: &Controller, now: Coarse) -> SmartLog {
    let usage = target.usage.read();
    let mut log = SmartLog::new_zeroed();
    log.avail_spare = 100;
    log.data_units_read = SmartLog::data_units(usage.read_bytes);
    log.data_units_written = SmartLog::data_units(usage.written_bytes);
    log.host_reads = u128::from(usage.reads).into();
    log.host_writes = u128::from(usage.writes).into();
    log.power_cycles = 1.into();
    log.power_on_hours = u128::from(now.since(target.started()).as_secs() / 3600).into();
    log.num_err_log_entries = u128::from(controller.error_count()).into();
    log
}

/// The commands that [`crate::admin`], [`crate::connection::session`] and [`crate::connection::io`] know.
fn command_effects() -> CommandEffects {
    let mut log = CommandEffects::new_zeroed();
    for opcode in [
        admin::GET_LOG_PAGE,
        admin::IDENTIFY,
        admin::ABORT,
        admin::SET_FEATURES,
        admin::GET_FEATURES,
        admin::ASYNC_EVENT_REQUEST,
        admin::KEEP_ALIVE,
    ] {
        log.acs[usize::from(opcode)] = effects::SUPPORTED.into();
    }
    for (opcode, changes) in [
        (io::FLUSH, false),
        (io::READ, false),
        (io::WRITE, true),
        (io::WRITE_ZEROES, true),
        (io::DSM, true),
        (io::COMPARE, false),
        (io::VERIFY, false),
        (io::WRITE_UNCORRECTABLE, true),
        (io::COPY, true),
        (io::RESERVATION_REGISTER, false),
        (io::RESERVATION_REPORT, false),
        (io::RESERVATION_ACQUIRE, false),
        (io::RESERVATION_RELEASE, false),
    ] {
        let change = if changes { effects::CONTENT_CHANGE } else { 0 };
        log.iocs[usize::from(opcode)] = (effects::SUPPORTED | change).into();
    }
    log
}

/// The features that [`crate::admin::features`] knows.
fn feature_effects() -> FidEffects {
    let mut log = FidEffects::new_zeroed();
    for id in [
        fid::ARBITRATION,
        fid::POWER_MANAGEMENT,
        fid::TEMPERATURE_THRESHOLD,
        fid::ERROR_RECOVERY,
        fid::NUMBER_OF_QUEUES,
        fid::WRITE_ATOMICITY,
        fid::ASYNC_EVENT_CONFIG,
        fid::KATO,
    ] {
        log.fids[usize::from(id)] = (effects::SUPPORTED | effects::SCOPE_CONTROLLER).into();
    }
    for id in [fid::RESERVATION_NOTIFICATION, fid::RESERVATION_PERSISTENCE] {
        log.fids[usize::from(id)] = (effects::SUPPORTED | effects::SCOPE_NAMESPACE).into();
    }
    log
}
