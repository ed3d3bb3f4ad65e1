//! `qpair id`, `qpair log` and `qpair feature`, against a `qpair serve` of its own.

mod common;

use std::process::Output;

use serde_json::Value;

use common::{Serve, qpair};

const NQN: &str = "nqn.2026-01.io.qpair:show-test";

/// A target with two namespaces.
fn serve() -> Serve {
    Serve::start(&["--listen", "127.0.0.1:0", "--nqn", NQN, "ram:64MiB", "ram:8MiB,bs=4096"])
}

fn run(arguments: &[&str], uri: &str) -> Output {
    qpair(arguments).arg(uri).output().expect("qpair starts")
}

fn text(arguments: &[&str], uri: &str) -> String {
    let output = run(arguments, uri);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

fn json(arguments: &[&str], uri: &str) -> Value {
    let text = text(&[arguments, &["-o", "json"]].concat(), uri);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_controller_in_every_form() {
    let serve = serve();
    let uri = serve.uri(NQN, 1);
    let id = json(&["id", "ctrl"], &uri);
    assert_eq!((&id["schema"], &id["nn"], &id["oncs"]), (&1.into(), &1024.into(), &0x1af.into()));
    assert_eq!((&id["subnqn"], &id["tnvmcap"]), (&NQN.into(), &"0".into()));
    assert_eq!(id["mn"].as_str().map(str::len), Some(40), "padded as the device has it");
    assert_eq!(id["psds"].as_array().map(Vec::len), Some(1));
    let lines = text(&["id", "ctrl"], &uri);
    for line in [
        "mn        : qpair\n",
        "mdts      : 5        128 KiB, if CAP.MPSMIN is 0\n",
        "ver       : 0x20000  NVMe 2.0\n",
        "              bit 0: Compare and Write\n",
    ] {
        assert!(lines.contains(line), "{line} is not in\n{lines}");
    }
    let yaml = text(&["id", "ctrl", "-o", "yaml"], &uri);
    for line in ["schema: 1\n", "nn: 1024\n", "tnvmcap: \"0\"\n", "psds:\n- max_power: 0\n  flags: 0\n"] {
        assert!(yaml.contains(line), "{line} is not in\n{yaml}");
    }
    let raw = run(&["id", "ctrl", "--raw"], &uri).stdout;
    assert_eq!((raw.len(), &raw[24..29]), (4096, &b"qpair"[..]));
}

#[test]
fn the_device_or_another_namespace() {
    let serve = serve();
    let one = json(&["id", "ns"], &serve.uri(NQN, 1));
    let two = json(&["id", "ns", "--nsid", "2"], &serve.uri(NQN, 1));
    assert_eq!((&one["nsze"], &one["lbafs"][0]["ds"]), (&(64 << 11).into(), &9.into()));
    assert_eq!((&two["nsze"], &two["lbafs"][0]["ds"]), (&(8 << 8).into(), &12.into()));
    assert_eq!(two, json(&["id", "id-ns"], &serve.uri(NQN, 2)));
    assert_eq!(json(&["id", "nvm-ns"], &serve.uri(NQN, 1))["elbafs"][0]["sts"], 0);
    assert_eq!(json(&["id", "ind-ns"], &serve.uri(NQN, 1))["nstat"], 1);
    assert_eq!(json(&["id", "nvm-ctrl"], &serve.uri(NQN, 1))["dmrl"], 0);
}

#[test]
fn lists_of_namespaces() {
    let serve = serve();
    let uri = serve.uri(NQN, 2);
    assert_eq!(text(&["id", "list"], &uri), "nsid_list\n     nsid\n  0  1\n  1  2\n");
    assert_eq!(text(&["id", "list", "--nsid", "1", "-o", "yaml"], &uri), "schema: 1\nnsid_list:\n- nsid: 2\n");
    let who = json(&["id", "descriptors"], &uri);
    let types: Vec<_> = who["ns-descs"].as_array().expect("a list").iter().map(|entry| &entry["type"]).collect();
    assert_eq!(types, ["nguid", "uuid", "csi"]);
    assert_eq!(who["ns-descs"][0]["nguid"], json(&["id", "ns"], &uri)["nguid"]);
    assert_eq!(run(&["id", "csi"], &uri).status.code(), Some(3), "our target has one command set");
    assert_eq!(run(&["id", "ctrl", "--all"], &uri).status.code(), Some(2));
}

#[test]
fn logs_whole_and_in_part() {
    let serve = serve();
    let uri = serve.uri(NQN, 1);
    let smart = json(&["log", "smart"], &uri);
    assert_eq!(
        (&smart["avail_spare"], &smart["power_cycles"], &smart["temperature"]),
        (&100.into(), &"1".into(), &0.into())
    );
    assert_eq!(smart, json(&["log", "0x02"], &uri));
    let lines = text(&["log", "smart"], &uri);
    assert!(lines.contains("\navail_spare                            : 100  %\n"), "{lines}");
    assert_eq!(
        text(&["log", "firmware"], &uri),
        format!("afi  : 0x1\n         bits 2:0 = 1: slot in use\nfrs1 : {}\n", env!("CARGO_PKG_VERSION"))
    );
    let part = json(&["log", "firmware", "--offset", "8", "--len", "8"], &uri);
    assert_eq!(part["data"], "302e312e30202020");
    let effects = run(&["log", "effects", "--raw"], &uri).stdout;
    let end = run(&["log", "effects", "--raw", "--offset", "1024", "--len", "3KiB"], &uri).stdout;
    assert_eq!((effects.len(), &effects[1024..]), (4096, &end[..]));
    assert_eq!(run(&["log", "effects", "--offset", "8192", "--len", "4"], &uri).status.code(), Some(3));
    assert_eq!(run(&["log", "effects", "--offset", "2", "--len", "4"], &uri).status.code(), Some(2));
    let logs = json(&["log", "supported-logs"], &uri);
    let lids: Vec<_> = logs["supported_logs"].as_array().expect("a list").iter().map(|log| &log["lid"]).collect();
    assert_eq!(lids, [0, 1, 2, 3, 4, 5, 0x12, 0x80]);
    assert_eq!(text(&["log", "changed-ns"], &uri), "nsid_list : none\n");
    assert_eq!(json(&["log", "error"], &uri)["errors"].as_array().map(Vec::len), Some(16));
}

#[test]
fn features_are_read_and_set() {
    let serve = serve();
    let uri = serve.uri(NQN, 1);
    let queues = text(&["feature", "get", "queues"], &uri);
    assert_eq!(
        queues,
        "fid   : 0x7  Number of Queues\nname  : queues\nvalue : 0x3f003f\nnsqa  : 63   64 queues\n\
         ncqa  : 63   64 queues\n"
    );
    let can = json(&["feature", "get", "queues", "--select", "supported"], &uri);
    assert_eq!((&can["saveable"], &can["changeable"]), (&false.into(), &true.into()));
    assert_eq!(json(&["feature", "get", "0x0b", "--select", "default"], &uri)["value"], 0);
    assert_eq!(json(&["feature", "set", "events", "--value", "0x100"], &uri)["result"], 0);
    let saved = run(&["feature", "set", "events", "--value", "0", "--save", "-o", "json"], &uri);
    let object: Value = serde_json::from_slice(&saved.stdout).expect("JSON");
    assert_eq!((saved.status.code(), &object["sct"], &object["sc"]), (Some(3), &1.into(), &0x0d.into()));
    assert_eq!(run(&["feature", "get", "keep-alive", "--raw"], &uri).stdout, 5000_u32.to_le_bytes());
}

/// Whose error it is: the exit code, the text and the object agree.
#[test]
fn errors_have_an_owner() {
    let serve = serve();
    let uri = serve.uri(NQN, 1);
    let refused = run(&["id", "ns", "--nsid", "77777", "-o", "json"], &uri);
    let object: Value = serde_json::from_slice(&refused.stdout).expect("JSON");
    assert_eq!(refused.status.code(), Some(3));
    assert_eq!((&object["type"], &object["sct"], &object["sc"]), (&"nvme".into(), &0.into(), &0x0b.into()));
    assert_eq!((&object["dnr"], &object["value"]), (&true.into(), &0x400b.into()));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("status code type 0h, status code 0bh, do not retry (DNR)"), "{said}");

    let other = run(&["id", "ctrl", "-o", "json"], "ram:1MiB");
    let object: Value = serde_json::from_slice(&other.stdout).expect("JSON");
    assert_eq!((other.status.code(), &object["type"]), (Some(4), &"host".into()));
    let said = String::from_utf8_lossy(&other.stderr);
    assert!(said.contains("/dev/ng0n1") && said.contains(r"\\.\PhysicalDrive1"), "{said}");

    drop(serve);
    let gone = run(&["id", "ctrl"], &uri);
    assert_eq!((gone.status.code(), gone.stdout.len()), (Some(1), 0));
}

#[test]
fn a_discovery_controller_is_asked_like_any_other() {
    let serve = serve();
    let uri = serve.uri(NQN, 1);
    let bare = &uri[..uri.rfind('/').expect("an NQN behind the address")];
    let log = json(&["log", "discovery"], bare);
    let records = log["records"].as_array().expect("a list");
    assert!(records.iter().any(|record| record["subnqn"] == NQN && record["subtype"] == "nvme subsystem"), "{log}");
    assert!(records.iter().all(|record| record["trtype"] == "tcp" && record["sectype"] == "none"), "{log}");
    assert_eq!(log["numrec"], records.len());
    let id = json(&["id", "ctrl"], bare);
    assert_eq!(id["subnqn"], "nqn.2014-08.org.nvmexpress.discovery");
    let refused = run(&["log", "smart"], bare);
    assert_eq!(refused.status.code(), Some(3), "it has no such log");
    let usage = run(&["id", "ns"], bare);
    assert_eq!(usage.status.code(), Some(2), "it has no namespaces");
    let nobody = run(&["log", "discovery"], "nvme-tcp://127.0.0.1:1");
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("Nothing listens"), "{nobody:?}");
}
