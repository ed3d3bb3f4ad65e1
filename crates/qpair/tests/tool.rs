//! `qpair list`, `info` and `raw` as programs.

mod common;

use std::fs;

use common::{Serve, output, qpair};
use serde_json::{Value, json};

const NQN: &str = "nqn.2026-01.io.qpair:tool-test";

fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = qpair(arguments).output().expect("qpair starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("it ends by itself"), text(&output.stdout), text(&output.stderr))
}

fn json_of(arguments: &[&str]) -> Value {
    serde_json::from_str(&output(&mut qpair(arguments))).expect("JSON")
}

fn serve() -> Serve {
    Serve::start(&["ram:8MiB,bs=4096", "--listen", "127.0.0.1:0", "--nqn", NQN])
}

#[test]
fn this_machine_has_a_list() {
    let list = json_of(&["list", "-o", "json"]);
    assert!(list["Devices"].is_array() && list["BlockDevices"].is_array() && list["schema"].is_number(), "{list}");
    assert!(output(&mut qpair(&["list"])).contains("NVMe namespaces"));
    let details = json_of(&["list", "-v", "-o", "json"]);
    assert!(details["Devices"].is_array(), "{details}");
    assert!(output(&mut qpair(&["list", "-o", "yaml"])).contains("Devices"));
}

#[test]
fn info_of_all_kinds_of_devices() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("disk,1.img");
    fs::write(&path, [0; 8192]).expect("a file");
    let name = path.display().to_string().replace(',', ",,");
    let file = json_of(&["info", &name, "-o", "json"]);
    assert_eq!((&file["kind"], &file["size_bytes"], &file["nvme"]), (&json!("file"), &json!(8192), &json!(false)));
    let works = |path: &str| {
        let ways = file["access_paths"].as_array().expect("a list");
        ways.iter().find(|way| way["Path"] == path).expect("every path is there")["Works"].clone()
    };
    assert_eq!((works("threads"), works("sync"), works("uring-cmd")), (json!(true), json!(true), json!(false)));
    // As a disk of this machine can or cannot: blocks.sh of the lab knows which.
    assert!(works("uring,iopoll").is_boolean() && works("uring-cmd,iopoll") == json!(false));
    assert_eq!(works("uring,sqpoll"), works("uring"));
    let memory = json_of(&["info", "ram:1MiB,bs=4096", "-o", "json"]);
    assert_eq!((&memory["block_bytes"], &memory["features"]["lends"]), (&json!(4096), &json!(true)));
    assert!(memory.get("access_paths").is_none());
    let served = serve();
    let remote = json_of(&["info", &served.uri(NQN, 1), "-o", "json"]);
    assert_eq!((&remote["kind"], &remote["nsid"], &remote["nvme"]), (&json!("nvme-tcp"), &json!(1), &json!(true)));
    let (code, _, said) = run(&["info", "/does/not/exist"]);
    assert!(code == 1 && said.contains("there is no such file"), "{code} {said}");
}

#[test]
fn raw_admin_commands_and_their_status() {
    let served = serve();
    let uri = served.uri(NQN, 1);
    let (code, said, _) = run(&["raw", &uri, "--admin", "--opcode", "6", "--cdw10", "1", "--data-len", "4k"]);
    assert!(code == 0 && said.contains("Successful Completion") && said.contains("qpair   "), "{said}");
    let identify = ["raw", &uri, "--admin", "--opcode", "0x06", "--data-len", "4096", "-o", "json", "--nsid", "1"];
    let namespace = json_of(&identify);
    assert_eq!(namespace["data"].as_str().expect("hexadecimal")[..16], *"0008000000000000", "NSZE: 2048 blocks");
    let (code, said, _) =
        run(&["raw", &uri, "--admin", "--opcode", "6", "--cdw10", "0xee", "--data-len", "4k", "-o", "json"]);
    let answer: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, &answer["status"]["sc"], &answer["status"]["dnr"]), (3, &json!(2), &json!(true)), "{answer}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("id.bin").display().to_string();
    output(&mut qpair(&["raw", &uri, "--admin", "--opcode", "6", "--cdw10", "1", "--data-len", "4k", "--out", &file]));
    assert_eq!(fs::read(&file).expect("a file").len(), 4096);
}

#[test]
fn raw_io_commands_write_and_read() {
    let served = serve();
    let uri = served.uri(NQN, 1);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("block.bin").display().to_string();
    fs::write(&file, [0x5a; 4096]).expect("a file");
    output(&mut qpair(&["raw", &uri, "--opcode", "0x01", "--cdw10", "7", "--in", &file]));
    let read = qpair(&["raw", &uri, "--opcode", "2", "--cdw10", "7", "--data-len", "4k", "--out", "-"]).output();
    let read = read.expect("qpair starts");
    assert!(read.status.success() && read.stdout == [0x5a; 4096], "standard output is the data and nothing else");
    let beyond = ["raw", &uri, "--opcode", "2", "--cdw10", "2048", "--data-len", "4k", "-o", "json"];
    let (code, said, _) = run(&beyond);
    let answer: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, &answer["status"]["name"]), (3, &json!("LBA Out of Range")));
    let (code, said, _) = run(&["raw", &uri, "--opcode", "0x08", "--cdw10", "7", "--dry-run"]);
    assert!(code == 0 && said.contains("would send to the I/O queue") && said.contains("(Write Zeroes)"), "{said}");
    let (code, said, _) = run(&["raw", &uri, "--opcode", "0x00"]);
    assert!(code == 0 && said.contains("result"), "a flush has no data: {said}");
}

#[test]
fn what_is_no_controller_is_not_reset() {
    for verb in ["reset", "rescan"] {
        for device in ["/dev/null", "/does/not/exist", r"\\.\PhysicalDrive0"] {
            let (code, _, said) = run(&[verb, device]);
            assert!(code == 1 && said.contains("no NVMe controller") && said.contains("/dev/nvme0"), "{verb}: {said}");
            assert!(said.contains("On Windows, `"), "{verb}: what there is instead: {said}");
        }
    }
}

#[test]
fn what_has_no_zones_is_told_how_to_find_what_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("disk.img");
    fs::write(&path, [0; 8192]).expect("a file");
    let (code, _, said) = run(&["zones", "report", path.to_str().expect("a name")]);
    assert!(code == 4 && said.contains("has no zones") && said.contains("On Linux `cat"), "{code} {said}");
}

#[test]
fn raw_commands_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("short.bin").display().to_string();
    fs::write(&file, [0; 100]).expect("a file");
    for (line, code, part) in [
        ("--opcode 0", 4, "takes no native NVMe commands"),
        ("--opcode 0 --admin", 4, "takes no native NVMe commands"),
        ("--opcode 0x100", 2, "more than 0xff"),
        ("--opcode 2 --cdw10 0x100000000", 2, "more than 0xffffffff"),
        ("--opcode 0 --data-len 512", 2, "has no data"),
        ("--opcode 1 --data-len 512", 2, "Write --in FILE."),
        ("--opcode 1 --data-len 512 --in FILE", 2, "fewer bytes than the 512"),
        ("--opcode 2 --in FILE", 2, "has data from the device"),
        ("--opcode 3 --data-len 512", 2, "both ways"),
        ("--opcode 2 --data-len 1GiB", 2, "one command may carry"),
        ("--opcode 6 --admin --metadata-len 8", 2, "cannot be used with"),
        ("", 2, "--opcode"),
    ] {
        let line = line.replace("FILE", &file);
        let arguments: Vec<&str> = ["raw", "ram:1MiB"].into_iter().chain(line.split_whitespace()).collect();
        let (found, _, said) = run(&arguments);
        assert!(found == code && said.contains(part), "{line}: {found} {said}");
    }
}
