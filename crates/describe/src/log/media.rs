//! How the media are: self-tests, sanitize, endurance groups.

use wire::nvme::Status;
use wire::nvme::media::{EnduranceLog, SanitizeLog, SelfTestLog, SelfTestResult};

use crate::bits::{Bits, bit, range};
use crate::tree::Object;
use crate::units::size;
use crate::{Short, view};

pub(super) const GROUP_WARNING: &[Bits] = &[
    bit(0, "the available spare is below its threshold"),
    bit(2, "the reliability is degraded"),
    bit(3, "the media are read-only"),
];

const VDI: &[Bits] =
    &[bit(0, "the namespace"), bit(1, "the failing LBA"), bit(2, "the status code type"), bit(3, "the status code")];

/// How a self-test ended, by its number.
const RESULTS: [&str; 10] = [
    "completed without error",
    "aborted by a Device Self-test command",
    "aborted by a controller reset",
    "aborted: a namespace was removed",
    "aborted by Format NVM",
    "a fatal error, not completed",
    "a segment failed, not known which",
    "segments failed",
    "aborted for another reason",
    "aborted by a sanitize operation",
];

const fn test(code: u8) -> Option<&'static str> {
    Some(match code {
        0 => "none",
        1 => "short",
        2 => "extended",
        0xe => "vendor specific",
        _ => return None,
    })
}

/// Device Self-test (Base 2.0, LID 06h): `nvme self-test-log`.
pub(super) fn self_test(bytes: &[u8]) -> Result<Object, Short> {
    let log: &SelfTestLog = view(bytes)?;
    let mut page = Object::page();
    page.number("Current Device Self-Test Operation", log.current_operation)
        .may_mean(test(log.current_operation & 0xf));
    page.number("Current Device Self-Test Completion", log.completion).means("%");
    page.list("List of Valid Reports", log.results.iter().map(self_test_result));
    Ok(page)
}

/// Fields that are not valid are not there.
fn self_test_result(entry: &SelfTestResult) -> Object {
    let mut object = Object::new();
    let result = entry.result();
    object.unused = result == SelfTestResult::UNUSED;
    object.number("Self test result", result).may_mean(RESULTS.get(usize::from(result)).copied());
    if object.unused {
        return object;
    }
    object.number("Self test code", entry.code()).may_mean(test(entry.code()));
    object.number("Segment number", entry.seg).may_mean((result != 7).then_some("not used"));
    object.bits("Valid Diagnostic Information", entry.vdi, VDI);
    object.number("Power on hours", entry.poh.get());
    if entry.vdi & 1 != 0 {
        object.number("Namespace Identifier", entry.nsid.get());
    }
    if entry.vdi & 2 != 0 {
        object.number("Failing LBA", entry.flba.get());
    }
    if entry.vdi & 4 != 0 {
        object.number("Status Code Type", entry.sct);
    }
    if entry.vdi & 8 != 0 {
        let name = Status::new(entry.sct & 7, entry.sc).name();
        object.number("Status Code", entry.sc).may_mean(name.filter(|_| entry.vdi & 4 != 0));
    }
    object.number("Vendor Specific", entry.vs.get());
    object
}

const SSTAT: &[Bits] =
    &[range(7, 3, "passes of overwriting completed"), bit(8, "nothing was written since: all data are erased")];

/// How a sanitize operation ended, by its number.
const ENDINGS: [&str; 5] =
    ["never sanitized", "completed", "under way", "failed", "completed, and deallocated although it was not to be"];

/// Sanitize Status (Base 2.0, LID 81h): `nvme sanitize-log`.
pub(super) fn sanitize(bytes: &[u8]) -> Result<Object, Short> {
    let log: &SanitizeLog = view(bytes)?;
    let mut page = Object::page();
    let progress = match log.sprog.get() {
        u16::MAX => "none under way".to_owned(),
        part => format!("{:.1} %", f64::from(part) * 100.0 / 65_536.0),
    };
    page.number("sprog", log.sprog.get()).means(progress);
    let sstat = log.sstat.get();
    let ending = ENDINGS.get(usize::from(sstat & 7)).copied().unwrap_or("reserved");
    let mut status = Object::new();
    status.number("global_erased", sstat >> 8 & 1);
    status.number("no_cmplted_passes", sstat >> 3 & 0x1f);
    status.number("code", sstat & 7).means(ending);
    page.object("sstat", status).notes = crate::bits::explain((sstat & !7).into(), SSTAT);
    page.hex("cdw10_info", log.scdw10.get());
    let keys = [
        "time_over_write",
        "time_block_erase",
        "time_crypto_erase",
        "time_over_write_no_dealloc",
        "time_block_erase_no_dealloc",
        "time_crypto_erase_no_dealloc",
    ];
    for (key, time) in keys.into_iter().zip(log.times) {
        page.number(key, time.get()).means(if time.get() == u32::MAX { "not reported" } else { "s" });
    }
    Ok(page)
}

/// Endurance Group Information (Base 2.0, LID 09h): `nvme endurance-log`.
pub(super) fn endurance(bytes: &[u8]) -> Result<Object, Short> {
    let log: &EnduranceLog = view(bytes)?;
    let mut page = Object::page();
    page.bits("critical_warning", log.critical_warning, GROUP_WARNING);
    page.bits("egfeat", log.egfeat, &[bit(7, "rotational media")]);
    page.number("avl_spare", log.avl_spare).means("%");
    page.number("avl_spare_threshold", log.avl_spare_threshold).means("%");
    page.number("percent_used", log.percent_used).means("%");
    page.number("domainid", log.did.get());
    for (key, units) in [
        ("endurance_estimate", log.endurance_estimate),
        ("data_units_read", log.data_units_read),
        ("data_units_written", log.data_units_written),
        ("media_units_written", log.media_units_written),
    ] {
        page.wide(key, units).may_mean(units.get().checked_mul(1_000_000_000).map(size));
    }
    page.wide("host_read_cmds", log.host_read_cmds);
    page.wide("host_write_cmds", log.host_write_cmds);
    page.wide("media_data_integrity_err", log.media_data_integrity_err);
    page.wide("num_err_info_log_entries", log.num_err_info_log_entries);
    page.wide("total_end_grp_cap", log.tegcap).means(size(log.tegcap.get()));
    page.wide("unalloc_end_grp_cap", log.uegcap).means(size(log.uegcap.get()));
    Ok(page)
}
