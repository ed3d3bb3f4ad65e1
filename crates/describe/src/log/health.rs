//! How the controller is: errors, SMART / Health, firmware.

use wire::nvme::{ErrorEntry, FirmwareSlot, SmartLog, Status};
use zerocopy::FromBytes;

use crate::bits::{Bits, bit, range};
use crate::tree::Object;
use crate::units::{celsius, size};
use crate::{Short, view};

pub(super) const CRITICAL_WARNING: &[Bits] = &[
    bit(0, "the available spare is below its threshold"),
    bit(1, "a temperature is beyond its threshold"),
    bit(2, "the reliability is degraded"),
    bit(3, "the media are read-only"),
    bit(4, "the backup of volatile memory has failed"),
    bit(5, "the persistent memory region is read-only or unreliable"),
];

const AFI: &[Bits] = &[range(2, 0, "slot in use"), range(6, 4, "slot after the next reset")];

/// SMART / Health Information (Base 2.0, LID 02h): `nvme smart-log`.
pub(super) fn smart(bytes: &[u8]) -> Result<Object, Short> {
    let log: &SmartLog = view(bytes)?;
    let mut page = Object::page();
    page.bits("critical_warning", log.critical_warning, CRITICAL_WARNING);
    page.number("temperature", log.temperature.get()).means(celsius(log.temperature.get()));
    page.number("avail_spare", log.avail_spare).means("%");
    page.number("spare_thresh", log.spare_thresh).means("%");
    page.number("percent_used", log.percent_used).means("%");
    let summary = log.endu_grp_crit_warn_sumry;
    page.bits("endurance_grp_critical_warning_summary", summary, super::media::GROUP_WARNING);
    for (key, units) in [("data_units_read", log.data_units_read), ("data_units_written", log.data_units_written)] {
        page.wide(key, units).may_mean(units.get().checked_mul(512_000).map(size));
    }
    page.wide("host_read_commands", log.host_reads);
    page.wide("host_write_commands", log.host_writes);
    page.wide("controller_busy_time", log.ctrl_busy_time).means("minutes");
    page.wide("power_cycles", log.power_cycles);
    page.wide("power_on_hours", log.power_on_hours);
    page.wide("unsafe_shutdowns", log.unsafe_shutdowns);
    page.wide("media_errors", log.media_errors);
    page.wide("num_err_log_entries", log.num_err_log_entries);
    page.number("warning_temp_time", log.warning_temp_time.get()).means("minutes");
    page.number("critical_comp_time", log.critical_comp_time.get()).means("minutes");
    for (sensor, kelvin) in log.temp_sensor.iter().enumerate().filter(|(_, kelvin)| kelvin.get() != 0) {
        page.number(format!("temperature_sensor_{}", sensor + 1), kelvin.get()).means(celsius(kelvin.get()));
    }
    page.number("thm_temp1_trans_count", log.thm_temp1_trans_count.get());
    page.number("thm_temp2_trans_count", log.thm_temp2_trans_count.get());
    page.number("thm_temp1_total_time", log.thm_temp1_total_time.get()).means("s");
    page.number("thm_temp2_total_time", log.thm_temp2_total_time.get()).means("s");
    Ok(page)
}

/// Error Information (Base 2.0, LID 01h): `nvme error-log`. As many entries as there are bytes for.
pub(super) fn errors(bytes: &[u8]) -> Result<Object, Short> {
    let _: &ErrorEntry = view(bytes)?;
    let mut page = Object::page();
    let entries = bytes.chunks_exact(size_of::<ErrorEntry>());
    page.list("errors", entries.map(|entry| error(ErrorEntry::ref_from_bytes(entry).expect("an entry has this size"))));
    Ok(page)
}

fn error(entry: &ErrorEntry) -> Object {
    let mut object = Object::new();
    object.unused = entry.error_count.get() == 0;
    object.number("error_count", entry.error_count.get());
    let none = |field: u16| (field == u16::MAX).then_some("none");
    object.number("sqid", entry.sqid.get()).may_mean(none(entry.sqid.get()));
    object.hex("cmdid", entry.cid.get()).may_mean(none(entry.cid.get()));
    let status = entry.status.get();
    object.hex("status_field", status >> 1).means(Status::from_field(status).to_string());
    object.number("phase_tag", status & 1);
    let location = entry.parameter_error_location.get();
    let place = match location {
        u16::MAX => "none".to_owned(),
        _ => format!("byte {}, bit {}", location & 0xff, location >> 8 & 7),
    };
    object.hex("parm_error_location", location).means(place);
    object.hex("lba", entry.lba.get());
    object.hex("nsid", entry.nsid.get());
    object.hex("vs", entry.vs);
    object.number("trtype", entry.trtype).may_mean(super::paths::transport(entry.trtype));
    object.number("csi", entry.csi);
    object.hex("opcode", entry.opcode);
    object.hex("cs", entry.cs.get());
    object.hex("trtype_spec_info", entry.trtype_spec_info.get());
    object.number("log_page_version", entry.lpver);
    object
}

/// Firmware Slot Information (Base 2.0, LID 03h): `nvme fw-log`, whose text has these keys.
pub(super) fn firmware(bytes: &[u8]) -> Result<Object, Short> {
    let log: &FirmwareSlot = view(bytes)?;
    let mut page = Object::page();
    page.bits("afi", log.afi, AFI);
    for (slot, revision) in log.frs.iter().enumerate().filter(|(_, revision)| revision.iter().any(|&byte| byte != 0)) {
        page.ascii(format!("frs{}", slot + 1), revision);
    }
    Ok(page)
}
