//! What the controller supports: logs, commands, features; each with what it does beside its purpose.

use wire::nvme::log::SupportedLogPages;
use wire::nvme::opcode::{admin_name, io_name};
use wire::nvme::{CommandEffects, FidEffects};
use zerocopy::little_endian::U32;

use crate::tree::Object;
use crate::{Short, feature, view};

/// Entries that are supported (bit 0), with their numbers.
fn supported(table: &[U32; 256]) -> impl Iterator<Item = (u8, u32)> + '_ {
    (0..=u8::MAX).zip(table.iter().map(|entry| entry.get())).filter(|(_, entry)| entry & 1 != 0)
}

/// Supported Log Pages (Base 2.0, LID 00h): `nvme supported-log-pages`.
pub(super) fn logs(bytes: &[u8]) -> Result<Object, Short> {
    let log: &SupportedLogPages = view(bytes)?;
    let mut page = Object::page();
    let entry = |(lid, entry): (u8, u32)| {
        let mut object = Object::new();
        object.hex("lid", lid);
        object.text("name", super::by_lid(lid).map_or("", |log| log.title));
        object.flag("ios", entry & SupportedLogPages::IOS != 0);
        object.hex("lidsp", entry >> 16);
        object
    };
    page.list("supported_logs", supported(&log.lids).map(entry));
    Ok(page)
}

/// What all entries of effects have in common: `changes` is the key of bit 1, what is changed by the thing itself.
fn effects(object: &mut Object, changes: &'static str, entry: u32) {
    object.hex("effects", entry);
    object.flag(changes, entry & 1 << 1 != 0);
    object.flag("ncc", entry & 1 << 2 != 0);
    object.flag("nic", entry & 1 << 3 != 0);
    object.flag("ccc", entry & 1 << 4 != 0);
}

/// Commands Supported and Effects (Base 2.0, LID 05h): `nvme effects-log`.
pub(super) fn commands(bytes: &[u8]) -> Result<Object, Short> {
    let log: &CommandEffects = view(bytes)?;
    let mut page = Object::page();
    for (key, table, name) in
        [("acs", &log.acs, admin_name as fn(u8) -> &'static str), ("iocs", &log.iocs, io_name as fn(u8) -> _)]
    {
        let entry = |(opcode, entry): (u8, u32)| {
            let mut object = Object::new();
            object.hex("opcode", opcode);
            object.text("name", name(opcode));
            effects(&mut object, "lbcc", entry);
            object.number("cse", entry >> 16 & 7).means(submission(entry));
            object.text("scope", &scope(entry));
            object
        };
        page.list(key, supported(table).map(entry));
    }
    Ok(page)
}

/// Feature Identifiers Supported and Effects (Base 2.0, LID 12h): `nvme fid-support-effects-log`.
pub(super) fn features(bytes: &[u8]) -> Result<Object, Short> {
    let log: &FidEffects = view(bytes)?;
    let mut page = Object::page();
    let entry = |(fid, entry): (u8, u32)| {
        let mut object = Object::new();
        object.hex("fid", fid);
        object.text("name", feature::by_fid(fid).map_or("", |feature| feature.title));
        effects(&mut object, "udcc", entry);
        object.text("scope", &scope(entry));
        object
    };
    page.list("fids", supported(&log.fids).map(entry));
    Ok(page)
}

/// NVMe-MI Commands Supported and Effects (Base 2.0, LID 13h): `nvme mi-cmd-support-effects-log`. It begins as the
/// features' log does.
pub(super) fn management(bytes: &[u8]) -> Result<Object, Short> {
    let log: &FidEffects = view(bytes)?;
    let mut page = Object::page();
    let entry = |(opcode, entry): (u8, u32)| {
        let mut object = Object::new();
        object.hex("opcode", opcode);
        effects(&mut object, "udcc", entry);
        object.text("scope", &scope(entry));
        object
    };
    page.list("mi_commands", supported(&log.fids).map(entry));
    Ok(page)
}

/// CSE: what must not run beside the command.
fn submission(entry: u32) -> &'static str {
    match entry >> 16 & 7 {
        0 => "with others",
        1 => "alone on its namespace",
        2 => "alone on all namespaces",
        _ => "reserved",
    }
}

/// CSP, FSP: what it is about.
fn scope(entry: u32) -> String {
    const SCOPES: [&str; 6] = ["namespace", "controller", "NVM set", "endurance group", "domain", "subsystem"];
    let set: Vec<&str> = (0..6).filter(|bit| entry >> 20 >> bit & 1 != 0).map(|bit| SCOPES[bit]).collect();
    if set.is_empty() { "not reported".to_owned() } else { set.join(", ") }
}
