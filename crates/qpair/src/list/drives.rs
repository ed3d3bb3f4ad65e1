//! The drives of a system that has no sysfs, Windows, as the machine that sysfs would have told of.
//!
//! ```text
//!   os::drives ──┬─ NVMe ───▶ a subsystem with one controller and one namespace each: PhysicalDrive1
//!                │              └─ Identify Controller: serial number, firmware, NQN as the drive has them
//!                └─ others ─▶ disks, with the bus as their kind
//! ```
//!
//! There are no character devices beside them: what is read and written, and what takes admin commands, is the same
//! `\\.\PhysicalDriveN`. Not yet run on a machine with drives.

use std::path::Path;

use block::nvme::kernel::Controller as Asked;
use block::{Nvme, Transfer};
use machine::os::Drive;
use wire::nvme::identify::text;
use wire::nvme::{IdentifyController, Sqe, cns};
use zerocopy::{FromZeros, IntoBytes};

use super::sysfs::{Controller, Disk, Machine, Namespace, Subsystem};

/// The folder of devices.
pub(super) const DEVICES: &str = r"\\.\";

/// What an NVMe drive says of itself, and its namespace, as far as it can be asked.
#[derive(Default)]
pub(super) struct Identified {
    controller: Option<Box<IdentifyController>>,
    nsid: Option<u32>,
}

/// Asks the drive of this name.
pub(super) fn identify(name: &str) -> Identified {
    let Ok(asked) = Asked::open(&Path::new(DEVICES).join(name)) else { return Identified::default() };
    let page = IdentifyController::new_box_zeroed().ok().and_then(|mut page| {
        let sqe = Sqe::identify(cns::CONTROLLER, 0, 0, 0);
        asked.admin(sqe, Transfer::In(page.as_mut_bytes())).ok()?;
        Some(page)
    });
    Identified { controller: page, nsid: asked.nsid() }
}

/// The machine with these drives.
pub(super) fn machine(drives: &[Drive], identify: &dyn Fn(&str) -> Identified) -> Machine {
    let (nvme, others): (Vec<_>, Vec<_>) = drives.iter().partition(|drive| drive.nvme);
    Machine {
        has_nvme: None,
        subsystems: nvme.into_iter().map(|drive| subsystem(drive, &identify(&drive.name))).collect(),
        disks: others.into_iter().map(disk).collect(),
        hostnqn: None,
        hostid: None,
    }
}

fn subsystem(drive: &Drive, Identified { controller: known, nsid }: &Identified) -> Subsystem {
    let known = known.as_deref();
    let told = |field: Option<String>, other: &Option<String>| field.filter(|text| !text.is_empty()).or(other.clone());
    let nqn = told(known.map(|known| text(&known.subnqn)), &None);
    let namespace = Namespace {
        block: Some(drive.name.clone()),
        nsid: nsid.map(u64::from),
        bytes: Some(drive.bytes),
        block_bytes: block_bytes(drive),
        read_only: drive.read_only,
        ..Namespace::default()
    };
    let controller = Controller {
        name: drive.name.clone(),
        cntlid: known.map(|known| known.cntlid.get().into()),
        serial: told(known.map(|known| text(&known.sn)), &drive.serial),
        model: told(known.map(|known| text(&known.mn)), &drive.model),
        firmware: told(known.map(|known| text(&known.fr)), &drive.revision),
        transport: Some("pcie".to_owned()),
        subsysnqn: nqn.clone(),
        namespaces: vec![namespace],
        ..Controller::default()
    };
    Subsystem { nqn, controllers: vec![controller], ..Subsystem::default() }
}

fn disk(drive: &Drive) -> Disk {
    Disk {
        name: drive.name.clone(),
        kind: drive.bus.to_owned(),
        model: drive.model.clone(),
        bytes: drive.bytes,
        block_bytes: block_bytes(drive),
        read_only: drive.read_only,
        partitions: drive.partitions,
    }
}

fn block_bytes(drive: &Drive) -> Option<u64> {
    Some(u64::from(drive.block_bytes)).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::{Value, json};

    use super::*;
    use crate::list::{Roots, shown};
    use crate::show::Format;

    fn drives() -> Vec<Drive> {
        let named = |name: &str| Drive { name: name.to_owned(), ..Drive::default() };
        let text = |text: &str| Some(text.to_owned());
        vec![
            Drive {
                model: text("A DISK"),
                bus: "sata",
                bytes: 1 << 30,
                block_bytes: 512,
                partitions: 3,
                ..named("PhysicalDrive0")
            },
            Drive {
                model: text("FAST"),
                serial: text("0025_3858."),
                revision: text("1.0"),
                bus: "nvme",
                nvme: true,
                bytes: 1 << 40,
                block_bytes: 4096,
                ..named("PhysicalDrive2")
            },
            Drive { bus: "usb", ..named("PhysicalDrive3") },
        ]
    }

    fn roots() -> Roots {
        let none = PathBuf::from("/does/not/exist");
        Roots { sys: none.clone(), dev: PathBuf::from(DEVICES), etc: none }
    }

    fn known(_: &str) -> Identified {
        let mut controller = IdentifyController::new_box_zeroed().expect("memory");
        controller.sn[..4].copy_from_slice(b"S123");
        controller.subnqn[..5].copy_from_slice(b"nqn.x");
        Identified { controller: Some(controller), nsid: Some(1) }
    }

    #[test]
    fn nvme_drives_are_namespaces_and_others_disks() {
        let list = |identify: &dyn Fn(&str) -> Identified| -> Value {
            let text = shown(&machine(&drives(), identify), &roots(), Format::Json, false);
            serde_json::from_str(&text).expect("JSON")
        };
        let path = |name: &str| Path::new(DEVICES).join(name).display().to_string();
        assert_eq!(
            list(&known),
            json!({
                "schema": 1,
                "Devices": [{
                    "NameSpace": 1, "DevicePath": path("PhysicalDrive2"), "Firmware": "1.0", "ModelNumber": "FAST",
                    "SerialNumber": "S123", "MaximumLBA": 1 << 28, "PhysicalSize": 1_u64 << 40, "SectorSize": 4096
                }],
                "BlockDevices": [{
                    "DevicePath": path("PhysicalDrive0"), "Kind": "sata", "ModelNumber": "A DISK",
                    "MaximumLBA": 1 << 21, "PhysicalSize": 1 << 30, "SectorSize": 512, "ReadOnly": false,
                    "Partitions": 3
                }]
            })
        );
        let unasked = list(&|_| Identified::default());
        assert_eq!(unasked["Devices"][0]["SerialNumber"], "0025_3858.", "as the driver has it");
        assert!(unasked["Devices"][0].get("NameSpace").is_none());
    }

    #[test]
    fn text_and_details_say_as_much() {
        let machine = machine(&drives(), &known);
        let text = shown(&machine, &roots(), Format::Text, false);
        assert!(text.contains("PhysicalDrive2") && text.contains("S123") && text.contains("A DISK"), "{text}");
        assert!(text.contains("Without a medium"), "{text}");
        let details: Value = serde_json::from_str(&shown(&machine, &roots(), Format::Json, true)).expect("JSON");
        let subsystem = &details["Devices"][0]["Subsystems"][0];
        assert_eq!(subsystem["SubsystemNQN"], "nqn.x");
        assert_eq!(subsystem["Controllers"][0]["Namespaces"][0]["NSID"], 1);
    }

    #[test]
    fn a_machine_without_drives_has_an_empty_list() {
        let text = shown(&machine(&[], &known), &roots(), Format::Text, false);
        assert!(text.contains("NVMe namespaces") && text.contains("none") && !text.contains("driver"), "{text}");
    }
}
