//! Key by key against nvme-cli 2.3.
//!
//! `nvme-cli-2.3/` has what that version printed with `-o json` for the pages of `support`, which it was given in place
//! of a device's answers. Everything in there must be in ours, with the same value; ours may have more. The sanitize
//! log is there without the object around it and without its sentence about the status.

mod support;

use std::fs;
use std::path::Path;

use qpair_describe::{Object, controller, lists, log, namespace, resources, zns};
use serde_json::Value;

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
