//! Namespaces, and the ways to them: changes, asymmetric access, reservations, discovery.

use wire::nvme::ana::{self, AnaGroup, AnaHeader, AnaLog};
use wire::nvme::discovery::{DiscoveryLogEntry, DiscoveryLogHeader, TRTYPE_TCP};
use wire::nvme::identify::text;
use wire::nvme::reservation::NotificationPage;
use wire::nvme::{ActiveNamespaces, NSID_ALL};
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use crate::lists::nsid;
use crate::tree::Object;
use crate::{Short, view};

/// What a transport type is called.
pub(super) const fn transport(trtype: u8) -> Option<&'static str> {
    Some(match trtype {
        0 => "not reported",
        1 => "rdma",
        2 => "fc",
        3 => "tcp",
        254 => "loop",
        _ => return None,
    })
}

/// Changed Namespace List (Base 2.0, LID 04h): `nvme changed-ns-list-log`.
pub(super) fn changed(bytes: &[u8]) -> Result<Object, Short> {
    let log: &ActiveNamespaces = view(bytes)?;
    let mut page = Object::page();
    let all = log.nsid[0].get() == NSID_ALL;
    let field = page.list("nsid_list", log.iter().map(nsid));
    if all {
        field.notes.push("FFFFFFFFh: more namespaces have changed than there is room for".to_owned());
    }
    Ok(page)
}

/// Asymmetric Namespace Access (Base 2.0, LID 0Ch): `nvme ana-log`.
pub(super) fn ana(bytes: &[u8]) -> Result<Object, Short> {
    let log = AnaLog::new(bytes).ok_or(Short { needed: size_of::<AnaHeader>(), given: bytes.len() })?;
    let mut page = Object::page();
    page.number("change_count", log.header.chgcnt.get());
    page.number("number_of_ana_groups", log.header.ngrps.get());
    page.list("ana_desc_list", log.groups().map(|(group, nsids)| ana_group(group, nsids)));
    Ok(page)
}

fn ana_group(group: &AnaGroup, nsids: &[U32]) -> Object {
    let mut object = Object::new();
    object.number("grpid", group.grpid.get());
    object.number("nnsids", group.nnsids.get());
    object.number("chgcnt", group.chgcnt.get());
    object.text("state", ana::state_name(group.state).unwrap_or("reserved"));
    object.list("nsids", nsids.iter().map(|id| nsid(id.get())));
    object
}

/// Reservation Notification (Base 2.0, LID 80h): `nvme resv-notif-log`.
pub(super) fn reservation(bytes: &[u8]) -> Result<Object, Short> {
    let log: &NotificationPage = view(bytes)?;
    let mut page = Object::page();
    page.number("count", log.count.get());
    const KINDS: [&str; 4] = ["empty", "registration preempted", "reservation released", "reservation preempted"];
    page.number("rn_log_type", log.kind).may_mean(KINDS.get(usize::from(log.kind)).copied());
    page.number("num_logs", log.available).means("pages wait behind this one");
    page.number("nsid", log.nsid.get());
    Ok(page)
}

/// Discovery (Base 2.0, LID 70h): `nvme discover`. As many entries as the header counts and as there are bytes for.
pub(super) fn discovery(bytes: &[u8]) -> Result<Object, Short> {
    let header: &DiscoveryLogHeader = view(bytes)?;
    let mut page = Object::page();
    page.number("genctr", header.genctr.get());
    page.number("numrec", header.numrec.get());
    let said = usize::try_from(header.numrec.get()).unwrap_or(usize::MAX);
    let entries = bytes[size_of::<DiscoveryLogHeader>()..].chunks_exact(size_of::<DiscoveryLogEntry>()).take(said);
    let entry = |entry| discovery_entry(DiscoveryLogEntry::ref_from_bytes(entry).expect("an entry has this size"));
    page.list("records", entries.map(entry));
    Ok(page)
}

/// The words of nvme-cli; numbers without one are shown as they are.
fn discovery_entry(entry: &DiscoveryLogEntry) -> Object {
    let mut object = Object::new();
    let word = |words: &[&str], number: u8| match words.get(usize::from(number)) {
        Some(&word) if !word.is_empty() => word.to_owned(),
        _ => number.to_string(),
    };
    object.text("trtype", &transport(entry.trtype).map_or_else(|| entry.trtype.to_string(), str::to_owned));
    object.text("adrfam", &word(&["pci", "ipv4", "ipv6", "ib", "fc"], entry.adrfam));
    let subtypes = ["", "discovery subsystem referral", "nvme subsystem", "current discovery subsystem"];
    object.text("subtype", &word(&subtypes, entry.subtype));
    let treq = ["not specified", "required", "not required", "reserved"][usize::from(entry.treq & 3)];
    let flow = if entry.treq & 4 != 0 { ", sq flow control disable supported" } else { "" };
    object.text("treq", &format!("{treq}{flow}"));
    object.number("portid", entry.portid.get());
    object.text("trsvcid", &text(&entry.trsvcid));
    object.text("subnqn", &text(&entry.subnqn));
    object.text("traddr", &text(&entry.traddr));
    const EFLAGS: [&str; 4] = [
        "none",
        "duplicate discovery information",
        "explicit discovery connections",
        "explicit discovery connections, duplicate discovery information",
    ];
    object.text("eflags", EFLAGS[usize::from(entry.eflags.get() & 3)]);
    if entry.trtype == TRTYPE_TCP {
        // The first byte of TSAS: the security that the port asks for (TCP Transport 1.0).
        object.text("sectype", &word(&["none", "tls", "tls13"], entry.tsas[0]));
    }
    object.hex("cntlid", entry.cntlid.get());
    object.number("asqsz", entry.asqsz.get());
    object
}
