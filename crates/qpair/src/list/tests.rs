//! `qpair list` on machines that are folders: none, ordinary, multipath, fabrics, old, odd and hostile ones.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

struct Tree {
    folder: TempDir,
    roots: Roots,
}

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let roots = Roots { sys: at("sys"), dev: at("dev"), etc: at("etc") };
        let tree = Self { folder, roots };
        files.iter().for_each(|(path, text)| tree.file(path, text.as_bytes()));
        tree
    }

    fn file(&self, path: &str, bytes: &[u8]) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }

    fn json(&self, verbose: bool) -> Value {
        serde_json::from_str(&listed(&self.roots, Format::Json, verbose)).expect("JSON")
    }

    /// A device node's name without the folder that stands for `/dev`.
    fn node(&self, name: &str) -> Value {
        self.roots.dev.join(name).display().to_string().into()
    }
}

/// A drive with two namespaces, the second with an ID of its own; a disk, its partition and an empty loop device.
const DRIVE: &[(&str, &str)] = &[
    ("etc/nvme/hostnqn", "nqn.2014-08.org.nvmexpress:uuid:0\n"),
    ("sys/class/nvme/nvme0/model", "QEMU NVMe Ctrl                          \n"),
    ("sys/class/nvme/nvme0/serial", "one                 \n"),
    ("sys/class/nvme/nvme0/firmware_rev", "8.2.1   \n"),
    ("sys/class/nvme/nvme0/transport", "pcie\n"),
    ("sys/class/nvme/nvme0/address", "0000:00:04.0\n"),
    ("sys/class/nvme/nvme0/cntlid", "3\n"),
    ("sys/class/nvme/nvme0/state", "live\n"),
    ("sys/class/nvme/nvme0/nvme0n1/nsid", "1\n"),
    ("sys/class/nvme/nvme0/nvme0n1/size", "2097152\n"),
    ("sys/class/nvme/nvme0/nvme0n1/nuse", "512\n"),
    ("sys/class/nvme/nvme0/nvme0n1/queue/logical_block_size", "4096\n"),
    ("sys/class/nvme/nvme0/ng0n1/dev", "235:0\n"),
    ("sys/class/nvme/nvme0/nvme0n2/nsid", "17\n"),
    ("sys/class/nvme/nvme0/nvme0n2/size", "0\n"),
    ("sys/class/nvme/nvme0/nvme0n2/ro", "1\n"),
    ("sys/class/nvme/nvme0/ng0n2/dev", "235:1\n"),
    ("sys/class/nvme/nvme0/ng0n3/dev", "235:2\n"),
    ("sys/class/nvme-subsystem/nvme-subsys0/subsysnqn", "nqn.2019-08.org.qemu:one\n"),
    ("sys/class/nvme-subsystem/nvme-subsys0/nvme0/x", ""),
    ("sys/class/block/nvme0n1/size", "2097152\n"),
    ("sys/class/block/sda/size", "4096\n"),
    ("sys/class/block/sda/device/model", "A DISK\n"),
    ("sys/class/block/sda/queue/logical_block_size", "512\n"),
    ("sys/class/block/sda/sda1/partition", "1\n"),
    ("sys/class/block/sda1/partition", "1\n"),
    ("sys/class/block/loop0/size", "0\n"),
];

#[test]
fn a_drive_has_the_keys_of_nvme_cli() {
    let tree = Tree::new(DRIVE);
    let node = |name| tree.node(name);
    assert_eq!(
        tree.json(false),
        json!({
            "schema": 1,
            "Devices": [
                {
                    "NameSpace": 1, "DevicePath": node("nvme0n1"), "GenericPath": node("ng0n1"), "Firmware": "8.2.1",
                    "ModelNumber": "QEMU NVMe Ctrl", "SerialNumber": "one", "UsedBytes": 2097152, "MaximumLBA": 262144,
                    "PhysicalSize": 1073741824, "SectorSize": 4096
                },
                {
                    "NameSpace": 17, "DevicePath": node("nvme0n2"), "GenericPath": node("ng0n2"), "Firmware": "8.2.1",
                    "ModelNumber": "QEMU NVMe Ctrl", "SerialNumber": "one", "PhysicalSize": 0
                },
                {
                    "GenericPath": node("ng0n3"), "Firmware": "8.2.1", "ModelNumber": "QEMU NVMe Ctrl",
                    "SerialNumber": "one"
                }
            ],
            "BlockDevices": [{
                "DevicePath": node("sda"), "Kind": "sd", "ModelNumber": "A DISK", "MaximumLBA": 4096,
                "PhysicalSize": 2097152, "SectorSize": 512, "ReadOnly": false, "Partitions": 1
            }]
        })
    );
    // A table as wide as on a machine, wherever temporary folders are.
    let short = Roots { dev: PathBuf::from("/dev"), sys: tree.roots.sys.clone(), etc: tree.roots.etc.clone() };
    let text = shown(&sysfs::Machine::read(&tree.roots), &short, Format::Text, false);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("17 0 B - QEMU NVMe Ctrl one pcie"), "{text}");
    assert!(words.contains("1 GiB 4096 QEMU NVMe Ctrl one pcie") && text.contains("1 (-v shows them)"), "{text}");
}

#[test]
fn details_show_controllers_and_which_paths_work() {
    let tree = Tree::new(DRIVE);
    tree.file("dev/nvme0n1", &[0; 1 << 16]);
    let details = tree.json(true);
    let host = &details["Devices"][0];
    assert_eq!(host["HostNQN"], "nqn.2014-08.org.nvmexpress:uuid:0");
    let subsystem = &host["Subsystems"][0];
    assert_eq!(
        (&subsystem["Subsystem"], &subsystem["SubsystemNQN"]),
        (&json!("nvme-subsys0"), &json!("nqn.2019-08.org.qemu:one"))
    );
    let controller = &subsystem["Controllers"][0];
    assert_eq!(
        (&controller["Cntlid"], &controller["State"], &controller["Transport"]),
        (&json!(3), &json!("live"), &json!("pcie"))
    );
    let namespaces = controller["Namespaces"].as_array().expect("a list");
    assert_eq!(namespaces.iter().map(|one| &one["NSID"]).collect::<Vec<_>>(), [&json!(1), &json!(17), &Value::Null]);
    let way = |namespace: usize, path: &str| {
        let ways = namespaces[namespace]["AccessPaths"].as_array().expect("a list");
        ways.iter().find(|way| way["Path"] == path).expect("every path is there").clone()
    };
    for path in ["threads", "sync"] {
        assert_eq!(way(0, path), json!({"Path": path, "Works": true, "Why": ""}), "its node is a file here");
    }
    assert_eq!(way(0, "uring-cmd")["Works"], false);
    assert_eq!(way(1, "sync")["Works"], false);
    assert!(way(1, "sync")["Why"].as_str().is_some_and(|why| why.contains("no such file")), "{}", way(1, "sync"));
    assert!(way(2, "uring")["Why"].as_str().is_some_and(|why| why.contains("no block device for it")));
    let disks = details["BlockDevices"].as_array().expect("a list");
    assert_eq!(disks.iter().map(|disk| &disk["Kind"]).collect::<Vec<_>>(), ["loop", "sd"]);
    let text = listed(&tree.roots, Format::Text, true);
    assert!(text.contains("HostNQN") && text.contains("AccessPaths") && text.contains("uring-cmd"), "{text}");
    assert!(listed(&tree.roots, Format::Yaml, true).contains("SubsystemNQN"));
}

#[test]
fn multipath_and_fabrics() {
    let tree = Tree::new(&[
        ("sys/class/nvme-subsystem/nvme-subsys3/subsysnqn", "nqn.x\n"),
        ("sys/class/nvme-subsystem/nvme-subsys3/iopolicy", "round-robin\n"),
        ("sys/class/nvme-subsystem/nvme-subsys3/nvme3/x", ""),
        ("sys/class/nvme-subsystem/nvme-subsys3/nvme10/x", ""),
        ("sys/class/nvme-subsystem/nvme-subsys3/nvme3n1/nsid", "5\n"),
        ("sys/class/nvme-subsystem/nvme-subsys3/nvme3n1/size", "8\n"),
        ("sys/class/nvme-subsystem/nvme-subsys3/nvme3n1/queue/logical_block_size", "512\n"),
        ("sys/class/nvme-subsystem/nvme-subsys3/ng3n1/dev", "1:1\n"),
        ("sys/class/nvme/nvme3/transport", "tcp\n"),
        ("sys/class/nvme/nvme3/address", "traddr=127.0.0.1,trsvcid=4420\n"),
        ("sys/class/nvme/nvme3/hostnqn", "nqn.host\n"),
        ("sys/class/nvme/nvme3/nvme3c3n1/x", ""),
        ("sys/class/nvme/nvme10/transport", "tcp\n"),
        ("sys/class/nvme/nvme10/nvme3c10n1/ana_state", "inaccessible\n"),
    ]);
    let devices = tree.json(false);
    assert_eq!(devices["Devices"].as_array().map(Vec::len), Some(1), "one namespace on two ways: {devices}");
    assert_eq!((&devices["Devices"][0]["NameSpace"], &devices["Devices"][0]["MaximumLBA"]), (&json!(5), &json!(8)));
    let details = tree.json(true);
    assert_eq!(details["Devices"][0]["HostNQN"], "nqn.host");
    let subsystem = &details["Devices"][0]["Subsystems"][0];
    assert_eq!((&subsystem["IOPolicy"], &subsystem["Namespaces"][0]["NSID"]), (&json!("round-robin"), &json!(5)));
    let names: Vec<_> = (0..2).map(|at| &subsystem["Controllers"][at]["Controller"]).collect();
    assert_eq!(names, ["nvme3", "nvme10"], "by number");
    assert_eq!(subsystem["Controllers"][0]["Paths"], json!([{"Path": "nvme3c3n1", "ANAState": "optimized"}]));
    assert_eq!(subsystem["Controllers"][1]["Paths"], json!([{"Path": "nvme3c10n1", "ANAState": "inaccessible"}]));
}

#[test]
fn a_machine_without_nvme_and_one_without_sysfs() {
    let tree = Tree::new(&[("sys/class/block/vda/size", "8\n"), ("sys/class/block/vda/ro", "1\n")]);
    let text = listed(&tree.roots, Format::Text, false);
    assert!(text.contains("driver is not loaded") && text.contains("4 KiB") && text.contains("read-only"), "{text}");
    assert_eq!(tree.json(false)["Devices"], json!([]));
    let nothing = Tree::new(&[]);
    assert_eq!(nothing.json(false), json!({"schema": 1, "Devices": [], "BlockDevices": []}));
    assert_eq!(nothing.json(true), json!({"schema": 1, "Devices": [], "BlockDevices": []}));
    assert!(listed(&nothing.roots, Format::Text, false).contains("Other block devices : none"));
}

#[test]
fn kernels_without_subsystems_group_by_name() {
    let tree = Tree::new(&[
        ("sys/class/nvme/nvme0/subsysnqn", "nqn.one\n"),
        ("sys/class/nvme/nvme1/subsysnqn", "nqn.one\n"),
        ("sys/class/nvme/nvme2/model", "x\n"),
        ("sys/class/nvme/nvme3/model", "y\n"),
    ]);
    let details = tree.json(true);
    let subsystems = details["Devices"][0]["Subsystems"].as_array().expect("a list");
    let counts: Vec<_> = subsystems.iter().map(|one| one["Controllers"].as_array().expect("a list").len()).collect();
    assert_eq!(counts, [2, 1, 1], "{details}");
}

#[test]
fn odd_and_hostile_content_is_no_more_than_odd() {
    let tree = Tree::new(&[
        ("sys/class/nvme/nvme0/model/a-folder", ""),
        ("sys/class/nvme/nvme0/serial", "\x1b[2J\u{202e}evil\n"),
        ("sys/class/nvme/nvme0/cntlid", "-1\n"),
        ("sys/class/nvme/nvme0/nvme0n1/nsid", "99999999999999999999\n"),
        ("sys/class/nvme/nvme0/nvme0n1/size", "18446744073709551615\n"),
        ("sys/class/nvme/nvme0/nvme0n1/nuse", "18446744073709551615\n"),
        ("sys/class/nvme/nvme0/nvme0n1/queue/logical_block_size", "0\n"),
        ("sys/class/nvme/nvme0/nvme0n2/nuse", "18446744073709551615\n"),
        ("sys/class/nvme/nvme0/nvme0n2/queue/logical_block_size", "512\n"),
        ("sys/class/nvme/nvme0/nvme0n3p1/size", "8\n"),
        ("sys/class/nvme/nvme/model", "no number\n"),
        ("sys/class/nvme/nvme0n/model", "no number either\n"),
        ("sys/class/nvme-subsystem/odd,name/nvme0/x", ""),
        ("sys/class/block/a,path=uring/size", "8\n"),
        ("dev/a,path=uring", ""),
    ]);
    tree.file("sys/class/nvme/nvme0/firmware_rev", &[0xff; 100_000]);
    for verbose in [false, true] {
        let text = listed(&tree.roots, Format::Text, verbose);
        assert!(text.contains("evil") && !text.contains('\x1b') && text.is_ascii(), "{text}");
        tree.json(verbose);
    }
    let devices = tree.json(false);
    assert_eq!(devices["Devices"].as_array().map(Vec::len), Some(2), "{devices}");
    assert!(devices["Devices"][0].get("PhysicalSize").is_none() && devices["Devices"][1].get("UsedBytes").is_none());
    assert!(devices["Devices"][0]["Firmware"].as_str().is_some_and(|text| text.len() <= 4096));
}
