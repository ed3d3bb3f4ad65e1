//! What a controller has recorded: persistent events, blocks that may be lost, boot partitions.

use wire::nvme::identify::text;
use wire::nvme::records::{
    BootPartitionHeader, LbaStatusElement, LbaStatusElements, LbaStatusHeader, LbaStatusRange, PersistentEventHeader,
};

use crate::tree::Object;
use crate::units::size;
use crate::{Short, view};

/// Types of events, from 1 on.
const EVENTS: [&str; 13] = [
    "SMART / health snapshot",
    "firmware commit",
    "timestamp change",
    "power-on or reset",
    "hardware error",
    "change of a namespace",
    "start of a format",
    "end of a format",
    "start of a sanitize operation",
    "end of a sanitize operation",
    "set feature",
    "telemetry log created",
    "thermal excursion",
];

/// The header of the persistent event log (Base 2.0, LID 0Dh): `nvme persistent-event-log`. The events are in `--raw`.
pub(super) fn persistent(bytes: &[u8]) -> Result<Object, Short> {
    let log: &PersistentEventHeader = view(bytes)?;
    let mut page = Object::page();
    page.number("log_id", log.lid);
    page.number("total_num_of_events", log.tnev.get());
    page.number("total_log_len", log.tll.get()).means(size(log.tll.get().into()));
    page.number("log_revision", log.rv);
    page.number("log_header_len", log.lhl.get());
    page.number("timestamp", log.timestamp.get());
    page.wide("power_on_hours", log.poh);
    page.number("power_cycle_count", log.pcc.get());
    page.hex("pci_vid", log.vid.get());
    page.hex("pci_ssvid", log.ssvid.get());
    page.ascii("sn", &log.sn);
    page.ascii("mn", &log.mn);
    page.text("subnqn", &text(&log.subnqn));
    page.number("gen_number", log.generation.get());
    page.hex("rci", log.rci.get());
    page.list("supported_events", log.events().map(event));
    Ok(page)
}

fn event(kind: u8) -> Object {
    let mut object = Object::new();
    let name = match kind {
        0xde => Some("vendor specific"),
        0xdf => Some("TCG defined"),
        kind => usize::from(kind).checked_sub(1).and_then(|at| EVENTS.get(at)).copied(),
    };
    object.number("event_type", kind).may_mean(name);
    object
}

/// LBA Status Information (Base 2.0, LID 0Eh): `nvme lba-status-log`. As much as its header counts and as there are
/// bytes for.
pub(super) fn lba_status(bytes: &[u8]) -> Result<Object, Short> {
    let log: &LbaStatusHeader = view(bytes)?;
    let mut page = Object::page();
    page.number("lslplen", log.lslplen.get()).means("bytes of the log");
    page.number("nlslne", log.nlslne.get());
    page.number("estulb", log.estulb.get()).means("blocks that cannot be read, by estimate");
    page.number("lsgc", log.lsgc.get());
    let elements = LbaStatusElements::new(log, &bytes[size_of::<LbaStatusHeader>()..]);
    page.list("ns_elements", elements.map(|(element, ranges)| lba_status_element(element, ranges)));
    Ok(page)
}

fn lba_status_element(element: &LbaStatusElement, ranges: &[LbaStatusRange]) -> Object {
    let mut object = Object::new();
    object.number("neid", element.nsid.get()).means("namespace");
    let all = (element.nlrd.get() == u32::MAX).then_some("any of its blocks");
    object.number("nlrd", element.nlrd.get()).may_mean(all);
    object.number("ratype", element.ratype).means("action type for Get LBA Status");
    let range = |range: &LbaStatusRange| {
        let mut object = Object::new();
        object.number("rslba", range.rslba.get());
        object.number("rnlb", range.rnlb.get());
        object
    };
    object.list("descs", ranges.iter().map(range));
    object
}

/// The header of the boot partition log (Base 2.0, LID 15h): `nvme boot-part-log`. The partition is in `--raw`.
pub(super) fn boot_partition(bytes: &[u8]) -> Result<Object, Short> {
    let log: &BootPartitionHeader = view(bytes)?;
    let mut page = Object::page();
    page.number("count", log.lid);
    page.number("abpid", log.active()).means("active partition");
    page.number("bpsz", log.size()).means(size(u128::from(log.size()) * u128::from(BootPartitionHeader::UNIT_BYTES)));
    Ok(page)
}
