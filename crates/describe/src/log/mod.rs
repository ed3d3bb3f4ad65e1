//! Log pages: which there are by name, how long they are, and what is in them.

mod health;
mod media;
mod paths;
mod records;
mod supported;

use wire::nvme::lid;

use crate::Short;
use crate::tree::Object;
use crate::zns;

/// A log page that is known by name.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    /// LID.
    pub lid: u8,
    /// What the tool calls it.
    pub name: &'static str,
    /// What nvme-cli calls it.
    pub nvme_cli: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// How long it is.
    pub length: Length,
    /// Reads it; the bytes may be more, or fewer, than the log has.
    pub describe: fn(&[u8]) -> Result<Object, Short>,
}

/// How long a log page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many bytes.
    Bytes(u32),
    /// Entries of so many bytes, ELPE + 1 of them (Identify Controller).
    ErrorEntries(u32),
    /// Until all groups that its header counts are there.
    Groups,
    /// A header, and the entries that it counts.
    Discovery,
    /// As many bytes as its first dword says.
    Stated,
}

/// All that are known by name.
pub const LOGS: &[Log] = &[
    log(
        lid::SUPPORTED_LOG_PAGES,
        "supported-logs",
        "supported-log-pages",
        "Supported Log Pages",
        1024,
        supported::logs,
    ),
    Log {
        lid: lid::ERROR,
        name: "error",
        nvme_cli: "error-log",
        title: "Error Information",
        length: Length::ErrorEntries(64),
        describe: health::errors,
    },
    log(lid::SMART, "smart", "smart-log", "SMART / Health Information", 512, health::smart),
    log(lid::FIRMWARE_SLOT, "firmware", "fw-log", "Firmware Slot Information", 512, health::firmware),
    log(lid::CHANGED_NAMESPACES, "changed-ns", "changed-ns-list-log", "Changed Namespace List", 4096, paths::changed),
    log(lid::COMMAND_EFFECTS, "effects", "effects-log", "Commands Supported and Effects", 4096, supported::commands),
    log(lid::SELF_TEST, "self-test", "self-test-log", "Device Self-test", 564, media::self_test),
    log(
        lid::TELEMETRY_HOST,
        "telemetry-host",
        "telemetry-log",
        "Telemetry Host-Initiated, its header",
        512,
        media::telemetry,
    ),
    log(
        lid::TELEMETRY_CONTROLLER,
        "telemetry-controller",
        "telemetry-log-controller",
        "Telemetry Controller-Initiated, its header",
        512,
        media::telemetry,
    ),
    log(lid::ENDURANCE, "endurance", "endurance-log", "Endurance Group Information", 512, media::endurance),
    log(
        lid::PREDICTABLE_LATENCY,
        "latency",
        "predictable-lat-log",
        "Predictable Latency Per NVM Set",
        512,
        media::latency,
    ),
    Log {
        lid: lid::ANA,
        name: "ana",
        nvme_cli: "ana-log",
        title: "Asymmetric Namespace Access",
        length: Length::Groups,
        describe: paths::ana,
    },
    log(
        lid::PERSISTENT_EVENT,
        "persistent",
        "persistent-event-log",
        "Persistent Event, its header",
        512,
        records::persistent,
    ),
    Log {
        lid: lid::LBA_STATUS,
        name: "lba-status",
        nvme_cli: "lba-status-log",
        title: "LBA Status Information",
        length: Length::Stated,
        describe: records::lba_status,
    },
    log(
        lid::FID_EFFECTS,
        "feature-effects",
        "fid-support-effects-log",
        "Feature Identifiers Supported and Effects",
        1024,
        supported::features,
    ),
    log(
        lid::MI_EFFECTS,
        "mi-effects",
        "mi-cmd-support-effects-log",
        "NVMe-MI Commands Supported and Effects",
        4096,
        supported::management,
    ),
    log(
        lid::BOOT_PARTITION,
        "boot-partition",
        "boot-part-log",
        "Boot Partition, its header",
        16,
        records::boot_partition,
    ),
    Log {
        lid: lid::DISCOVERY,
        name: "discovery",
        nvme_cli: "discover",
        title: "Discovery",
        length: Length::Discovery,
        describe: paths::discovery,
    },
    log(
        lid::RESERVATION_NOTIFICATION,
        "reservation",
        "resv-notif-log",
        "Reservation Notification",
        64,
        paths::reservation,
    ),
    log(lid::SANITIZE, "sanitize", "sanitize-log", "Sanitize Status", 512, media::sanitize),
    log(lid::CHANGED_ZONES, "changed-zones", "changed-zone-list", "Changed Zone List", 4096, zns::changed_zones),
];

const fn log(
    lid: u8,
    name: &'static str,
    nvme_cli: &'static str,
    title: &'static str,
    bytes: u32,
    describe: fn(&[u8]) -> Result<Object, Short>,
) -> Log {
    Log { lid, name, nvme_cli, title, length: Length::Bytes(bytes), describe }
}

/// The log of this name, be it ours or nvme-cli's.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Log> {
    LOGS.iter().find(|log| log.name == name || log.nvme_cli == name)
}

/// The log of this identifier.
#[must_use]
pub fn by_lid(lid: u8) -> Option<&'static Log> {
    LOGS.iter().find(|log| log.lid == lid)
}

/// A part of a log that is not read field by field: its bytes.
#[must_use]
pub fn raw(lid: u8, offset: u64, bytes: &[u8]) -> Object {
    let mut page = Object::page();
    page.hex("lid", lid).may_mean(by_lid(lid).map(|log| log.title));
    page.number("offset", offset);
    page.bytes("data", bytes);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_identifiers_are_there_once() {
        for (index, log) in LOGS.iter().enumerate() {
            assert_eq!(by_lid(log.lid).map(|log| log.name), Some(log.name));
            let taken =
                |other: &Log| [other.name, other.nvme_cli].iter().any(|name| [log.name, log.nvme_cli].contains(name));
            assert!(!LOGS[..index].iter().any(taken), "{}", log.name);
            assert!(index == 0 || LOGS[index - 1].lid < log.lid, "{} is at its place", log.name);
        }
        assert_eq!(by_name("smart-log").map(|log| log.lid), Some(lid::SMART));
        assert!(by_name("smrt").is_none() && by_lid(0xc0).is_none());
    }
}
