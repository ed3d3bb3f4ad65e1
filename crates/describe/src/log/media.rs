//! How the media are: self-tests, telemetry, endurance groups, predictable latency, sanitize.

use wire::nvme::Status;
use wire::nvme::media::{EnduranceLog, LatencyLog, SanitizeLog, SelfTestLog, SelfTestResult, TelemetryHeader};

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

/// The header of the telemetry logs (Base 2.0, LID 07h and 08h): `nvme telemetry-log` saves them whole.
pub(super) fn telemetry(bytes: &[u8]) -> Result<Object, Short> {
    let log: &TelemetryHeader = view(bytes)?;
    let mut page = Object::page();
    page.hex("lpi", log.lpi);
    let [low, middle, high] = log.ieee;
    page.hex("ieee", u32::from_le_bytes([low, middle, high, 0]));
    let area = |last: u32| format!("{} with the header", size((u128::from(last) + 1) * 512));
    for (key, last) in ["dalb1", "dalb2", "dalb3"].into_iter().zip(log.dalb) {
        page.number(key, last.get()).means(area(last.get().into()));
    }
    page.number("dalb4", log.dalb4.get()).means(area(log.dalb4.get()));
    page.number("hostdgn", log.hostdgn);
    page.number("ctrlavail", log.ctrlavail).means(if log.ctrlavail & 1 == 0 { "none" } else { "available" });
    page.number("ctrldgn", log.ctrldgn);
    page.bytes("rsnident", &log.rsnident);
    Ok(page)
}

const EVENTS: &[Bits] = &[
    bit(0, "the reads of a deterministic window are nearly used up"),
    bit(1, "the writes of a deterministic window are nearly used up"),
    bit(2, "the time of a deterministic window is nearly over"),
    bit(14, "left the deterministic window: a typical value was exceeded"),
    bit(15, "left the deterministic window: something else"),
];

/// Predictable Latency Per NVM Set (Base 2.0, LID 0Ah): `nvme predictable-lat-log`.
pub(super) fn latency(bytes: &[u8]) -> Result<Object, Short> {
    let log: &LatencyLog = view(bytes)?;
    let mut page = Object::page();
    const WINDOWS: [&str; 3] = ["not enabled", "in the deterministic window", "in the non-deterministic window"];
    page.number("status", log.status).may_mean(WINDOWS.get(usize::from(log.status & 7)).copied());
    page.bits("event_type", log.event_type.get(), EVENTS);
    page.number("dtwin_reads_typical", log.dtwin_reads_typical.get()).means("reads of 4 KiB");
    page.number("dtwin_writes_typical", log.dtwin_writes_typical.get()).means("writes of the optimal size");
    page.number("dtwin_time_maximum", log.dtwin_time_maximum.get()).means("ms");
    page.number("ndwin_time_minimum_high", log.ndwin_time_minimum_high.get()).means("ms");
    page.number("ndwin_time_minimum_low", log.ndwin_time_minimum_low.get()).means("ms");
    page.number("dtwin_reads_estimate", log.dtwin_reads_estimate.get()).means("reads of 4 KiB");
    page.number("dtwin_writes_estimate", log.dtwin_writes_estimate.get()).means("writes of the optimal size");
    page.number("dtwin_time_estimate", log.dtwin_time_estimate.get()).means("ms");
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
