//! What was found, as trees with the keys of nvme-cli, and as tables for people.

use block::size::format_size;
use describe::{Object, to_text};

use super::Roots;
use super::sysfs::{Controller, Disk, Machine, Namespace, Subsystem};
use super::ways::{Way, ways};

/// The keys of `nvme list -o json`, a namespace each.
pub(super) fn devices(machine: &Machine, roots: &Roots) -> Object {
    let mut page = Object::page();
    page.list("Devices", machine.namespaces().map(|(namespace, controller)| device(namespace, controller, roots)));
    page.list("BlockDevices", machine.disks.iter().filter(|disk| disk.bytes > 0).map(|disk| block(disk, roots)));
    page
}

fn device(namespace: &Namespace, controller: Option<&Controller>, roots: &Roots) -> Object {
    let mut object = Object::new();
    put(&mut object, "NameSpace", namespace.nsid);
    let node = |name: &Option<String>| name.as_ref().map(|name| roots.dev.join(name).display().to_string());
    text(&mut object, "DevicePath", node(&namespace.block).as_deref());
    text(&mut object, "GenericPath", node(&namespace.generic).as_deref());
    text(&mut object, "Firmware", controller.and_then(|one| one.firmware.as_deref()));
    text(&mut object, "ModelNumber", controller.and_then(|one| one.model.as_deref()));
    text(&mut object, "SerialNumber", controller.and_then(|one| one.serial.as_deref()));
    sizes(&mut object, namespace);
    object
}

fn sizes(object: &mut Object, namespace: &Namespace) {
    let Namespace { bytes, block_bytes, used_blocks, .. } = namespace;
    put(object, "UsedBytes", used_blocks.zip(*block_bytes).and_then(|(blocks, bytes)| blocks.checked_mul(bytes)));
    put(object, "MaximumLBA", bytes.zip(*block_bytes).map(|(bytes, block)| bytes / block));
    put(object, "PhysicalSize", *bytes);
    put(object, "SectorSize", *block_bytes);
}

fn block(disk: &Disk, roots: &Roots) -> Object {
    let mut object = Object::new();
    object.text("DevicePath", &roots.dev.join(&disk.name).display().to_string());
    object.text("Kind", &disk.kind);
    text(&mut object, "ModelNumber", disk.model.as_deref());
    put(&mut object, "MaximumLBA", disk.block_bytes.map(|bytes| disk.bytes / bytes));
    put(&mut object, "PhysicalSize", Some(disk.bytes));
    put(&mut object, "SectorSize", disk.block_bytes);
    object.flag("ReadOnly", disk.read_only);
    put(&mut object, "Partitions", Some(disk.partitions as u64));
    object
}

/// Who is connected.
#[derive(PartialEq, Eq)]
struct Host {
    nqn: Option<String>,
    id: Option<String>,
}

/// The keys of `nvme list -v -o json`: hosts, their subsystems, and those' controllers and namespaces.
pub(super) fn details(machine: &Machine, roots: &Roots) -> Object {
    let mut page = Object::page();
    let mut hosts: Vec<(Host, Vec<&Subsystem>)> = Vec::new();
    for subsystem in &machine.subsystems {
        let first = subsystem.controllers.first();
        let nqn = first.and_then(|one| one.hostnqn.clone()).or_else(|| machine.hostnqn.clone());
        let id = first.and_then(|one| one.hostid.clone()).or_else(|| machine.hostid.clone());
        let host = Host { nqn, id };
        match hosts.iter_mut().find(|(known, _)| *known == host) {
            Some((_, list)) => list.push(subsystem),
            None => hosts.push((host, vec![subsystem])),
        }
    }
    page.list(
        "Devices",
        hosts.into_iter().map(|(Host { nqn, id }, subsystems)| {
            let mut object = Object::new();
            text(&mut object, "HostNQN", nqn.as_deref());
            text(&mut object, "HostID", id.as_deref());
            object.list("Subsystems", subsystems.into_iter().map(|one| subsystem(one, roots)));
            object
        }),
    );
    page.list(
        "BlockDevices",
        machine.disks.iter().map(|disk| {
            let mut object = block(disk, roots);
            if disk.bytes > 0 {
                object.list("AccessPaths", ways(&roots.dev, Some(&disk.name), None).iter().map(Way::object));
            }
            object
        }),
    );
    page
}

fn subsystem(subsystem: &Subsystem, roots: &Roots) -> Object {
    let mut object = Object::new();
    text(&mut object, "Subsystem", Some(&subsystem.name).filter(|name| !name.is_empty()).map(String::as_str));
    text(&mut object, "SubsystemNQN", subsystem.nqn.as_deref());
    text(&mut object, "IOPolicy", subsystem.iopolicy.as_deref());
    object.list("Controllers", subsystem.controllers.iter().map(|one| controller(one, roots)));
    object.list("Namespaces", subsystem.namespaces.iter().map(|one| namespace(one, roots)));
    object
}

fn controller(controller: &Controller, roots: &Roots) -> Object {
    let mut object = Object::new();
    object.text("Controller", &controller.name);
    put(&mut object, "Cntlid", controller.cntlid);
    text(&mut object, "SerialNumber", controller.serial.as_deref());
    text(&mut object, "ModelNumber", controller.model.as_deref());
    text(&mut object, "Firmware", controller.firmware.as_deref());
    text(&mut object, "Transport", controller.transport.as_deref());
    text(&mut object, "Address", controller.address.as_deref());
    text(&mut object, "State", controller.state.as_deref());
    object.list("Namespaces", controller.namespaces.iter().map(|one| namespace(one, roots)));
    object.list(
        "Paths",
        controller.paths.iter().map(|(name, state)| {
            let mut path = Object::new();
            path.text("Path", name);
            path.text("ANAState", state);
            path
        }),
    );
    object
}

fn namespace(namespace: &Namespace, roots: &Roots) -> Object {
    let Namespace { block, generic, nsid, uuid, read_only, .. } = namespace;
    let mut object = Object::new();
    text(&mut object, "NameSpace", block.as_deref());
    text(&mut object, "Generic", generic.as_deref());
    put(&mut object, "NSID", *nsid);
    sizes(&mut object, namespace);
    text(&mut object, "UUID", uuid.as_deref());
    object.flag("ReadOnly", *read_only);
    object.list("AccessPaths", ways(&roots.dev, block.as_deref(), generic.as_deref()).iter().map(Way::object));
    object
}

/// Adds what is known.
fn text(object: &mut Object, key: &'static str, value: Option<&str>) {
    if let Some(value) = value {
        object.text(key, value);
    }
}

fn put(object: &mut Object, key: &'static str, value: Option<u64>) {
    if let Some(value) = value {
        object.number(key, value);
    }
}

/// Two tables.
pub(super) fn text_list(machine: &Machine, roots: &Roots) -> String {
    let mut page = Object::new();
    let namespaces: Vec<_> = machine.namespaces().map(|(one, controller)| row(one, controller, roots)).collect();
    if namespaces.is_empty() {
        let why = match machine.has_nvme {
            Some(true) => "none, though the kernel's NVMe driver is loaded",
            Some(false) => "none: the kernel's NVMe driver is not loaded, or there is no controller",
            None => "none",
        };
        page.text("NVMe namespaces", why);
    } else {
        page.list("NVMe namespaces", namespaces);
    }
    let shown = machine.disks.iter().filter(|disk| disk.bytes > 0);
    page.list("Other block devices", shown.map(|disk| disk_row(disk, roots)));
    let empty = machine.disks.iter().filter(|disk| disk.bytes == 0).count();
    if empty > 0 {
        page.text("Without a medium", &format!("{empty} (-v shows them)"));
    }
    to_text(&page)
}

fn row(namespace: &Namespace, controller: Option<&Controller>, roots: &Roots) -> Object {
    let mut object = Object::new();
    let node = |name: &Option<String>| name.as_ref().map(|name| roots.dev.join(name).display().to_string());
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    object.text("device", &dash(node(&namespace.block)));
    object.text("generic", &dash(node(&namespace.generic)));
    object.text("nsid", &dash(namespace.nsid.map(|nsid| nsid.to_string())));
    object.text("size", &dash(namespace.bytes.map(format_size)));
    object.text("block", &dash(namespace.block_bytes.map(|bytes| bytes.to_string())));
    object.text("model", &dash(controller.and_then(|one| one.model.clone())));
    object.text("serial", &dash(controller.and_then(|one| one.serial.clone())));
    object.text("transport", &dash(controller.and_then(|one| one.transport.clone())));
    object
}

fn disk_row(disk: &Disk, roots: &Roots) -> Object {
    let mut object = Object::new();
    object.text("device", &roots.dev.join(&disk.name).display().to_string());
    object.text("size", &format_size(disk.bytes));
    object.text("block", &disk.block_bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string()));
    object.text("partitions", &disk.partitions.to_string());
    object.text("model", disk.model.as_deref().unwrap_or("-"));
    object.remark = disk.read_only.then_some("read-only");
    object
}
