//! `qpair id`, against a `qpair serve` of its own.

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

    drop(serve);
    let gone = run(&["id", "ctrl"], &uri);
    assert_eq!((gone.status.code(), gone.stdout.len()), (Some(1), 0));
}
