//! `qpair doctor` as a program: its table of this system, and what it leaves behind.

mod common;

use std::fs;

use common::{output, qpair};
use serde_json::{Value, json};

#[test]
fn a_system_that_runs_tests_runs_qpair() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().to_str().expect("a name");
    let said = output(&mut qpair(&["doctor", "--dir", dir]));
    assert!(said.starts_with("qpair ") && said.contains("qpair runs here."), "{said}");
    let report: Value = serde_json::from_str(&output(&mut qpair(&["doctor", "--dir", dir, "--json"]))).expect("JSON");
    assert_eq!((&report["schema"], &report["runs"]), (&json!(1), &json!(true)));
    assert!(report["cores"].as_u64() > Some(0) && report["memory_bytes"].as_u64() > Some(1 << 24), "{report}");
    let calls = report["calls"].as_array().expect("a list");
    for call in calls {
        let name = call["name"].as_str().expect("a name");
        assert!(said.contains(&format!("  {name}  ")), "the text has the same: {name}");
        let (works, needed) = (call["works"].as_bool(), call["needed"].as_bool());
        assert_eq!(works == Some(false), call["error"].is_string(), "{call}");
        assert_eq!(needed == Some(true), call["instead"].is_null(), "{call}");
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing is left");
}

/// On Windows Ctrl-C comes from a console, which tests have none of; the rest is the same there.
#[cfg(unix)]
#[test]
fn ctrl_c_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let count = || fs::read_dir(folder.path()).expect("a folder").count();
    let mut doctor = qpair(&["doctor", "--dir", folder.path().to_str().expect("a name")]);
    let mut doctor = doctor.stdout(std::process::Stdio::null()).spawn().expect("it starts");
    let mut ended = None;
    common::eventually("its folder, or its end", || {
        ended = doctor.try_wait().expect("it is ours");
        ended.is_some() || count() > 0
    });
    // If it was that quick, its number may be somebody else's by now.
    if ended.is_none() {
        common::signal(doctor.id(), "INT");
    }
    let status = doctor.wait().expect("it ends");
    assert!(matches!(status.code(), Some(0 | 130)), "{status}");
    assert_eq!(count(), 0, "nothing is left");
}

#[test]
fn a_folder_that_is_none_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let none = folder.path().join("none");
    let done = qpair(&["doctor", "--dir", none.to_str().expect("a name")]).output().expect("qpair starts");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(1) && said.contains("--dir") && done.stdout.is_empty(), "{said}");
}

/// What Wine 8 lacks, and what it has, by its tables of calls.
#[test]
fn wine_lacks_what_is_known_of_it() {
    let report: Value = serde_json::from_str(&output(&mut qpair(&["doctor", "--json"]))).expect("JSON");
    if !report["wine"].as_str().is_some_and(|wine| wine.starts_with("8.")) {
        return;
    }
    let works = |name: &str| {
        let mut calls = report["calls"].as_array().expect("a list").iter();
        calls.find(|call| call["name"] == name).unwrap_or_else(|| panic!("no {name}: {report}"))["works"] == true
    };
    for name in ["GetQueuedCompletionStatusEx", "ReOpenFile", "LockFileEx", "VirtualAlloc2"] {
        assert!(works(name), "{name}: {report}");
    }
    for name in ["FSCTL_SET_ZERO_DATA", "FileAllocationInfo", "FileStorageInfo", "MEM_LARGE_PAGES", "CreateIoRing"] {
        assert!(!works(name), "{name}: {report}");
    }
    assert!(!works("StorageDeviceProperty"), "its drives are folders, and are not asked: {report}");
}
