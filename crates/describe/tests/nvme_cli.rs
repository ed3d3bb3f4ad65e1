//! Key by key against nvme-cli 2.3.
//!
//! `nvme-cli-2.3/` has what that version printed with `-o json` for the pages of `support`, which it was given in place
//! of a device's answers. Everything in there must be in ours, with the same value; ours may have more. The sanitize
//! log is there without the object around it and without its sentence about the status.

mod support;

use std::fs;
use std::path::Path;

use qpair_describe::{Object, controller, lists, log, namespace, resources, zns};
use serde_json::{Value, json};

#[track_caller]
fn agrees(file: &str, ours: Object) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nvme-cli-2.3").join(file);
    let theirs: Value = serde_json::from_str(&fs::read_to_string(path).expect("it was recorded")).expect("JSON");
    let ours = serde_json::to_value(ours).expect("a tree is JSON");
    let mut differences = Vec::new();
    compare(&theirs, &ours, file, &mut differences);
    assert!(differences.is_empty(), "{differences:#?}");
}

fn compare(theirs: &Value, ours: &Value, at: &str, differences: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (key, value) in theirs {
                match ours.get(key) {
                    Some(ours) => compare(value, ours, &format!("{at}.{key}"), differences),
                    None => differences.push(format!("{at}.{key} is missing")),
                }
            }
        }
        (Value::Array(theirs), Value::Array(ours)) if theirs.len() == ours.len() => {
            for (index, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
                compare(theirs, ours, &format!("{at}[{index}]"), differences);
            }
        }
        _ if theirs == ours => {}
        _ => differences.push(format!("{at}: theirs {theirs}, ours {ours}")),
    }
}

#[test]
fn id_ctrl() {
    agrees("id-ctrl.json", controller::controller(&support::controller()).unwrap());
}

#[test]
fn id_ns() {
    agrees("id-ns.json", namespace::namespace(&support::namespace()).unwrap());
}

#[test]
fn nvm_id_ctrl() {
    agrees("nvm-id-ctrl.json", controller::nvm_controller(&support::pattern(4, 4096)).unwrap());
}

#[test]
fn nvm_id_ns() {
    agrees("nvm-id-ns.json", namespace::nvm_namespace(&support::pattern(3, 4096), 4).unwrap());
}

#[test]
fn cmdset_ind_id_ns() {
    agrees("cmdset-ind-id-ns.json", namespace::independent_namespace(&support::pattern(5, 4096)).unwrap());
}

#[test]
fn list_ns_and_list_ctrl() {
    agrees("list-ns.json", lists::namespaces(&support::front(&[1, 0, 0, 0, 2, 0, 0, 0, 0x77])).unwrap());
    agrees("list-ctrl.json", lists::controllers(&support::front(&[2, 0, 1, 0, 2])).unwrap());
}

#[test]
fn ns_descs() {
    agrees("ns-descs.json", lists::descriptors(&support::descriptors()).unwrap());
}

/// nvme-cli shows command sets as `printf("%#x")` does.
#[test]
fn command_sets_of_descriptors() {
    let csi = |csi: u8| serde_json::to_value(lists::descriptors(&support::front(&[4, 1, 0, 0, csi])).unwrap()).unwrap();
    assert_eq!((&csi(0)["ns-descs"][0]["csi"], &csi(2)["ns-descs"][0]["csi"]), (&"0".into(), &"0x2".into()));
}

#[test]
fn zns_id() {
    agrees("zns-id-ctrl.json", zns::controller(&support::pattern(4, 4096)).unwrap());
    // nvme-cli 2.3 shows the lower half of a zone's size.
    let halves: Vec<_> = (0..4).map(|format| (2816 + 16 * format + 4, &[0; 4][..])).collect();
    agrees("zns-id-ns.json", zns::namespace(&support::page(3, 4096, &halves), 4).unwrap());
}

#[test]
fn id_nvmset_and_primary_ctrl_caps() {
    agrees("id-nvmset.json", resources::nvm_sets(&support::page(27, 4096, &[(0, &[2])])).unwrap());
    agrees("primary-ctrl-caps.json", resources::primary(&support::pattern(28, 4096)).unwrap());
}

/// What was not recorded: the keys are those of its source.
#[test]
fn lists_without_a_record() {
    let value = |object: Object| serde_json::to_value(object).expect("a tree is JSON");
    let zeros = |places: &[(usize, &[u8])]| {
        let mut page = support::front(&[]);
        places.iter().for_each(|(at, with)| page[*at..at + with.len()].copy_from_slice(with));
        page
    };
    let id: Vec<u8> = (1..17).collect();
    let uuids = value(lists::uuids(&zeros(&[(32, &[2]), (48, &id)])).unwrap());
    let uuid = "01020304-0506-0708-090a-0b0c0d0e0f10";
    assert_eq!(uuids["UUID-list"], json!([{"association": 2, "uuid": uuid}]), "zeros end it");
    let controller = [5, 0, 1, 0, 1, 0, 0, 0, 3, 0, 4, 0, 6, 0];
    let secondary = value(resources::secondary(&zeros(&[(0, &[1]), (32, &controller)])).unwrap());
    let entry = json!({
        "secondary-controller-identifier": 5, "primary-controller-identifier": 1, "secondary-controller-state": 1,
        "virtual-function-number": 3, "num-virtual-queues": 4, "num-virtual-interrupts": 6,
    });
    assert_eq!((&secondary["num"], &secondary["secondary-controllers"]), (&json!(1), &json!([entry])));
    let domain: [(usize, &[u8]); 5] = [(0, &[1]), (128, &[7]), (144, &[100]), (160, &[30]), (176, &[20])];
    let domains = value(resources::domains(&zeros(&domain)).unwrap());
    let entry = json!({"dom_id": 7, "dom_cap": "100", "unalloc_dom_cap": "30", "max_egrp_dom_cap": "20"});
    assert_eq!((&domains["num_dom_entries"], &domains["domain_list"]), (&json!(1), &json!([entry])));
    let groups = value(resources::endurance_groups(&support::front(&[2, 0, 1, 0, 3])).unwrap());
    let list = json!([{"endgrp_id": 1}, {"endgrp_id": 3}]);
    assert_eq!((&groups["num_endgrp_id"], &groups["endgrp_list"]), (&json!(2), &list));
}

/// As above: of logs.
#[test]
fn logs_without_a_record() {
    let value = |name: &str, bytes: &[u8]| serde_json::to_value(describe(name, bytes)).expect("a tree is JSON");
    let boot = value("boot-part-log", &[0x15, 0, 0, 0, 4, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!((&boot["count"], &boot["abpid"], &boot["bpsz"]), (&json!(0x15), &json!(1), &json!(4)));
    let mut lost = vec![0; 48];
    (lost[0], lost[4], lost[8], lost[14]) = (48, 1, 9, 3);
    (lost[16], lost[20], lost[24]) = (7, 1, 0x10);
    (lost[32], lost[40]) = (100, 8);
    let lost = value("lba-status-log", &lost);
    let element = json!({"neid": 7, "nlrd": 1, "ratype": 16, "descs": [{"rslba": 100, "rnlb": 8}]});
    assert_eq!(lost["ns_elements"], json!([element]));
    assert_eq!([&lost["lslplen"], &lost["nlslne"], &lost["estulb"], &lost["lsgc"]], [48, 1, 9, 3]);
    let mut header = vec![0; 512];
    (header[0], header[4], header[9], header[16], header[18]) = (0x0d, 5, 2, 2, 236);
    (header[28], header[44], header[372], header[480]) = (77, 3, 6, 0b10_0010);
    let events = value("persistent-event-log", &header);
    for (key, number) in [("log_id", 13), ("total_num_of_events", 5), ("total_log_len", 512), ("log_revision", 2)] {
        assert_eq!(events[key], number, "{key}");
    }
    for (key, number) in [("log_header_len", 236), ("power_cycle_count", 3), ("gen_number", 6), ("pci_vid", 0)] {
        assert_eq!(events[key], number, "{key}");
    }
    assert_eq!(events["power_on_hours"], "77");
    assert_eq!(events["supported_events"], json!([{"event_type": 1}, {"event_type": 5}]));
}

/// A log by the name that nvme-cli has for it.
fn describe(name: &str, bytes: &[u8]) -> Object {
    (log::by_name(name).expect("it is known").describe)(bytes).expect("it is long enough")
}

#[test]
fn logs() {
    for (name, seed, bytes) in [
        ("error-log", 20, 256),
        ("smart-log", 21, 512),
        ("self-test-log", 22, 564),
        ("endurance-log", 23, 512),
        ("sanitize-log", 24, 512),
        ("predictable-lat-log", 26, 512),
        ("resv-notif-log", 25, 64),
    ] {
        agrees(&format!("{name}.json"), describe(name, &support::pattern(seed, bytes)));
    }
}
