//! Zoned namespaces: what the command set adds to Identify, its log, and the report of zones.

use wire::nvme::zns::{
    ChangedZones, ZnsIdentifyController, ZnsIdentifyNamespace, ZoneDescriptor, ZoneFormat, ZoneReport, zone_state,
    zone_type,
};

use crate::bits::{Bits, bit};
use crate::controller::pages;
use crate::tree::Object;
use crate::units::{count, size};
use crate::{Short, view};

const ZOC: &[Bits] = &[bit(0, "the capacity of a zone may change"), bit(1, "zones may be finished by the controller")];

const OZCS: &[Bits] = &[bit(0, "reads may go across the end of a zone"), bit(1, "zone random write area")];

const ZRWACAP: &[Bits] = &[bit(0, "a random write area is committed by a write beyond it")];

const ZA: &[Bits] = &[
    bit(0, "finished by the controller"),
    bit(1, "finish recommended"),
    bit(2, "reset recommended"),
    bit(3, "has a random write area"),
    bit(7, "its descriptor extension is valid"),
];

/// Identify Controller of the zoned namespace command set (ZNS 1.1, CNS 06h, CSI 02h): `nvme zns id-ctrl`.
///
/// # Errors
/// Fewer than 4,096 bytes.
pub fn controller(bytes: &[u8]) -> Result<Object, Short> {
    let id: &ZnsIdentifyController = view(bytes)?;
    let mut page = Object::page();
    let meaning = if id.zasl == 0 { Some("as MDTS".to_owned()) } else { pages(id.zasl) };
    page.number("zasl", id.zasl).may_mean(meaning);
    Ok(page)
}

/// Identify Namespace of the zoned namespace command set (ZNS 1.1, CNS 05h, CSI 02h): `nvme zns id-ns`. `formats` is
/// how many there are: [`wire::nvme::IdentifyNamespace::formats`].
///
/// # Errors
/// Fewer than 4,096 bytes.
pub fn namespace(bytes: &[u8], formats: usize) -> Result<Object, Short> {
    let id: &ZnsIdentifyNamespace = view(bytes)?;
    let mut page = Object::page();
    page.bits("zoc", id.zoc.get(), ZOC);
    page.bits("ozcs", id.ozcs.get(), OZCS);
    let resources = |field: u32| match field {
        u32::MAX => "no limit".to_owned(),
        field => count(u64::from(field) + 1, "zones"),
    };
    page.number("mar", id.mar.get()).means(resources(id.mar.get()));
    page.number("mor", id.mor.get()).means(resources(id.mor.get()));
    let seconds = |field: u32| if field == 0 { "not reported" } else { "s" };
    let [rrl1, rrl2, rrl3] = id.rrls;
    let [frl1, frl2, frl3] = id.frls;
    let times = [("rrl", id.rrl), ("frl", id.frl), ("rrl1", rrl1), ("rrl2", rrl2), ("rrl3", rrl3)];
    for (key, time) in times.into_iter().chain([("frl1", frl1), ("frl2", frl2), ("frl3", frl3)]) {
        page.number(key, time.get()).means(seconds(time.get()));
    }
    page.number("numzrwa", id.numzrwa.get());
    page.number("zrwafg", id.zrwafg.get()).means("blocks");
    page.number("zrwasz", id.zrwasz.get()).means("blocks");
    page.bits("zrwacap", id.zrwacap, ZRWACAP);
    page.list("lbafe", id.lbafe.iter().take(formats).map(format));
    Ok(page)
}

fn format(format: &ZoneFormat) -> Object {
    let mut object = Object::new();
    object.number("zsze", format.zsze.get()).means("blocks of a zone");
    object.number("zdes", format.zdes).means(size(u128::from(format.zdes) * 64));
    object
}

/// Changed Zone List (ZNS 1.1, LID BFh).
///
/// # Errors
/// Fewer than 4,096 bytes.
pub fn changed_zones(bytes: &[u8]) -> Result<Object, Short> {
    let log: &ChangedZones = view(bytes)?;
    let mut page = Object::page();
    let zones = log.zones();
    let field = page.number("nrzid", log.nrzid.get());
    if zones.is_none() {
        field.means("more zones than there is room for");
    }
    let zone = |zid: u64| {
        let mut object = Object::new();
        object.hex("zid", zid);
        object
    };
    page.list("zid_list", zones.unwrap_or_default().iter().map(|zid| zone(zid.get())));
    Ok(page)
}

/// A report of zones, extended by `zdes` units of 64 bytes, or plain (0): `nvme zns report-zones`.
///
/// # Errors
/// Fewer than the 64 bytes of the header.
pub fn report(bytes: &[u8], zdes: u8) -> Result<Object, Short> {
    let short = Short { needed: ZoneReport::HEADER_BYTES, given: bytes.len() };
    let report = ZoneReport::new(bytes, zdes).ok_or(short)?;
    Ok(zones(report.zones, report.iter()))
}

/// The same of zones that somebody has chosen, and of how many there are: descriptors and their extensions.
pub fn zones<'z>(count: u64, list: impl Iterator<Item = (&'z ZoneDescriptor, &'z [u8])>) -> Object {
    let mut page = Object::page();
    page.number("nr_zones", count);
    page.list("zone_list", list.map(|(descriptor, extension)| zone(descriptor, extension)));
    page
}

fn zone(descriptor: &ZoneDescriptor, extension: &[u8]) -> Object {
    let mut object = Object::new();
    let state = descriptor.state();
    object.hex("slba", descriptor.zslba.get());
    object.hex("wp", descriptor.wp.get());
    object.hex("cap", descriptor.zcap.get());
    object.text("state", state_name(state)).may_mean(zone_state::name(state));
    let kind = descriptor.zt & 0xf;
    object.text("type", type_name(kind)).may_mean(zone_type::name(kind));
    object.bits("attrs", descriptor.za, ZA);
    object.number("attrs_info", descriptor.zai);
    if !extension.is_empty() {
        object.bytes("ext_data", extension);
    }
    object
}

/// A state as nvme-cli writes it.
fn state_name(state: u8) -> &'static str {
    match state {
        zone_state::NO_WRITE_POINTER => "NOT_WP",
        zone_state::EMPTY => "EMPTY",
        zone_state::IMPLICITLY_OPENED => "IMP_OPENED",
        zone_state::EXPLICITLY_OPENED => "EXP_OPENED",
        zone_state::CLOSED => "CLOSED",
        zone_state::READ_ONLY => "READONLY",
        zone_state::FULL => "FULL",
        zone_state::OFFLINE => "OFFLINE",
        _ => "Unknown State",
    }
}

/// A type as nvme-cli writes it; those that no namespace has as the kernel does.
fn type_name(kind: u8) -> &'static str {
    match kind {
        zone_type::CONVENTIONAL => "CONVENTIONAL",
        zone_type::SEQUENTIAL_WRITE_REQUIRED => "SEQWRITE_REQ",
        zone_type::SEQUENTIAL_WRITE_PREFERRED => "SEQWRITE_PREF",
        _ => "Unknown",
    }
}
