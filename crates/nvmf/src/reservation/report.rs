//! What Reservation Report answers.

use wire::nvme::Status;
use wire::nvme::reservation::{CNTLID_DYNAMIC, EXTENDED_STATUS_BYTES, RegisteredControllerExtended, ReservationStatus};
use zerocopy::{FromZeros, IntoBytes};

use super::state::Reservations;
use crate::limits::{REGISTRANTS, TRANSFER_BYTES};

/// Bytes of the longest report.
pub const REPORT_BYTES: usize = EXTENDED_STATUS_BYTES + REGISTRANTS * size_of::<RegisteredControllerExtended>();

const _: () = assert!(REPORT_BYTES <= TRANSFER_BYTES as usize, "a host can read all of it");

/// The report, `bytes` long: cut, or filled with zeros. Controllers are dynamic, so every registrant is there once,
/// with the CNTLID that says so.
///
/// # Errors
/// With DNR: [`Status::HOST_IDENTIFIER_INCONSISTENT_FORMAT`] unless `extended` (host identifiers have 128 bits on
/// fabrics); [`Status::INVALID_FIELD`] for more than MDTS.
pub fn report(state: &Reservations, bytes: u64, extended: bool) -> Result<Vec<u8>, Status> {
    if !extended {
        return Err(Status::HOST_IDENTIFIER_INCONSISTENT_FORMAT.with_dnr());
    }
    if bytes > u64::from(TRANSFER_BYTES) {
        return Err(Status::INVALID_FIELD.with_dnr());
    }
    let status = ReservationStatus {
        generation: state.generation().into(),
        rtype: state.held().map_or(0, |held| held.kind.code()),
        regctl: (state.registrants().len() as u16).into(),
        ptpls: state.persists().into(),
        ..ReservationStatus::new_zeroed()
    };
    let mut report = status.as_bytes().to_vec();
    report.resize(EXTENDED_STATUS_BYTES, 0);
    for registrant in state.registrants() {
        let holder = state.is_holder(&registrant.host);
        let entry = RegisteredControllerExtended {
            cntlid: CNTLID_DYNAMIC.into(),
            rcsts: if holder { RegisteredControllerExtended::HOLDER } else { 0 },
            rkey: registrant.key.into(),
            hostid: registrant.host,
            ..RegisteredControllerExtended::new_zeroed()
        };
        report.extend_from_slice(entry.as_bytes());
    }
    report.resize(bytes as usize, 0);
    Ok(report)
}
