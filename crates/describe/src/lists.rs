//! The lists of Identify: namespaces, their descriptors, controllers, UUIDs, command sets.

use wire::nvme::nsid::{CommandSets, ControllerList, RawDescriptor, UuidEntry, Uuids};
use wire::nvme::{ActiveNamespaces, IdDescriptorList};

use crate::bits::{Bits, bit};
use crate::tree::Object;
use crate::units::{hex, uuid};
use crate::{Short, view};

/// What the bits of a combination, or the numbers of command sets, are called.
const COMMAND_SETS: [&str; 4] = ["NVM", "key value", "zoned namespaces", "subsystem local memory"];

const COMBINATION: &[Bits] =
    &[bit(0, COMMAND_SETS[0]), bit(1, COMMAND_SETS[1]), bit(2, COMMAND_SETS[2]), bit(3, COMMAND_SETS[3])];

/// A list of namespaces, active or allocated (Base 2.0, CNS 02h, 10h): `nvme list-ns`.
///
/// # Errors
/// Fewer than 4,096 bytes.
pub fn namespaces(bytes: &[u8]) -> Result<Object, Short> {
    let list: &ActiveNamespaces = view(bytes)?;
    let mut page = Object::page();
    page.list("nsid_list", list.iter().map(nsid));
    Ok(page)
}

pub(crate) fn nsid(nsid: u32) -> Object {
    let mut object = Object::new();
    object.number("nsid", nsid);
    object
}

/// A list of controllers (Base 2.0, CNS 12h, 13h): `nvme list-ctrl`.
///
/// # Errors
/// Fewer than 4,096 bytes.
pub fn controllers(bytes: &[u8]) -> Result<Object, Short> {
    let list: &ControllerList = view(bytes)?;
    let mut page = Object::page();
    page.number("num_ctrl", list.number.get());
    let controller = |cntlid| {
        let mut object = Object::new();
        object.number("ctrl_id", cntlid);
        object
    };
    page.list("ctrl_list", list.iter().map(controller));
    Ok(page)
}

/// The UUIDs that commands mean by their index (Base 2.0, CNS 17h): `nvme id-uuid`.
///
/// # Errors
/// Fewer than 4,096 bytes.
pub fn uuids(bytes: &[u8]) -> Result<Object, Short> {
    let list: &Uuids = view(bytes)?;
    let mut page = Object::page();
    let entry = |entry: &UuidEntry| {
        let mut object = Object::new();
        let vendor = ["does not say", "of the PCI vendor", "of the subsystem's vendor", "reserved"];
        let association = entry.header & 0b11;
        object.number("association", association).means(vendor[usize::from(association)]);
        object.text("uuid", &uuid(&entry.uuid));
        object
    };
    page.list("UUID-list", list.iter().map(entry));
    Ok(page)
}

/// The combinations of command sets that can be enabled (Base 2.0, CNS 1Ch): `nvme id-iocs`.
///
/// # Errors
/// Fewer than 4,096 bytes.
pub fn command_sets(bytes: &[u8]) -> Result<Object, Short> {
    let sets: &CommandSets = view(bytes)?;
    let mut page = Object::page();
    let combination = |bits| {
        let mut object = Object::new();
        object.bits("iocsc", bits, COMBINATION);
        object
    };
    page.list("iocsc_list", sets.iter().map(combination));
    Ok(page)
}

/// The identification descriptors of a namespace (Base 2.0, CNS 03h): `nvme ns-descs`. What is wrong with the list is
/// said behind what is right.
///
/// # Errors
/// Fewer than 4,096 bytes.
pub fn descriptors(bytes: &[u8]) -> Result<Object, Short> {
    let list: &IdDescriptorList = view(bytes)?;
    let mut page = Object::page();
    page.list("ns-descs", list.entries().filter_map(Result::ok).map(descriptor));
    if let Err(error) = list.parse() {
        page.text("wrong", &error.to_string());
    }
    Ok(page)
}

fn descriptor(raw: RawDescriptor<'_>) -> Object {
    let mut object = Object::new();
    object.number("loc", raw.at as u64);
    object.number("nidt", raw.nidt);
    object.number("nidl", raw.nid.len() as u64);
    let (kind, value) = match (raw.nidt, raw.nid) {
        (1, nid) => ("eui64", hex(nid)),
        (2, nid) => ("nguid", hex(nid)),
        (3, nid) => ("uuid", <&[u8; 16]>::try_from(nid).map_or_else(|_| hex(nid), uuid)),
        (4, &[0]) => ("csi", "0".to_owned()),
        (4, &[csi]) => ("csi", format!("{csi:#x}")),
        (_, nid) => ("unknown", hex(nid)),
    };
    object.text("type", kind);
    let csi = (kind == "csi").then(|| COMMAND_SETS.get(usize::from(raw.nid[0])).copied()).flatten();
    object.text(kind, &value).may_mean(csi);
    object
}
