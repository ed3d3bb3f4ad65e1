//! `qpair bench` as a program: on local devices, on files, and against a `qpair serve` of its own.

#[cfg(unix)]
use std::io::Read;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

const NQN: &str = "nqn.2026-01.io.qpair:bench-test";

fn qpair() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qpair"));
    command.stdin(Stdio::null());
    command
}

/// Runs a command line of `qpair bench --json`.
fn bench(targets: &[&str], line: &str) -> (Output, Value) {
    let mut command = qpair();
    command.arg("bench").args(targets).args(line.split_whitespace()).arg("--json");
    let output = command.output().expect("qpair starts");
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    (output, value)
}

fn succeeds(targets: &[&str], line: &str) -> Value {
    let (output, value) = bench(targets, line);
    assert!(output.status.success(), "{targets:?} {line}: {value}");
    value
}

/// A `qpair serve` on a free port; killed when dropped.
struct Served {
    child: Child,
    port: u64,
}

impl Served {
    fn start(devices: &[&str]) -> Self {
        let mut command = qpair();
        command.arg("serve").args(devices).args(["--listen", "127.0.0.1:0", "--nqn", NQN, "--json", "--reactors", "2"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("qpair starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("it says where it is");
        let said: Value = serde_json::from_str(&line).expect("JSON");
        let port = said["listen"][0].as_str().and_then(|at| at.rsplit_once(':')).expect("an address").1;
        Self { port: port.parse().expect("a port"), child }
    }

    fn uri(&self, nsid: u32) -> String {
        format!("nvme-tcp://127.0.0.1:{}/{NQN}?ns={nsid}", self.port)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself, which is what the test then sees elsewhere.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_curve_on_memory_and_nothing() {
    let value = succeeds(&["ram:8MiB", "null:8MiB"], "--qd 1,4 --count 500 --reactors 2 --queues 2");
    let steps = value["steps"].as_array().expect("a curve");
    assert_eq!(steps.len(), 2);
    for (step, depth) in steps.iter().zip([1, 4]) {
        assert_eq!((&step["depth"], &step["total"]["ios"]), (&depth.into(), &500.into()));
        assert_eq!(step["depth_reached"], serde_json::json!([depth, depth, depth, depth]));
        let ios: u64 = (0..2).map(|target| step["by_target"][target]["total"]["ios"].as_u64().expect("a count")).sum();
        assert_eq!(ios, 500);
    }
    assert_eq!(value["targets"][1]["name"], "null:8MiB");
}

#[test]
fn a_file_is_created_and_verified_by_two_reactors() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("disk.img");
    let line = "--size 4MiB --rw randrw --verify --count 2000 --reactors 2 --queues 3 --qd 4";
    let value = succeeds(&[path.to_str().expect("plain letters")], line);
    assert_eq!((&value["verify"]["miscompares"], &value["verify"]["read_back"]), (&0.into(), &true.into()));
    assert_eq!(Path::new(&path).metadata().expect("a file").len(), 4 << 20);
}

/// The paths to files that there are here.
fn paths(image: &str) -> Vec<&'static str> {
    let there = |path: &&str| {
        let output = qpair().args(["bench", image, "--count", "1", "--path", path]).output().expect("qpair starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || error.contains("is not available"), "{path}: {error}");
        output.status.success()
    };
    ["uring", "threads", "aio", "sync"].into_iter().filter(there).collect()
}

#[test]
fn a_file_is_measured_on_the_path_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("disk.img");
    let image = path.to_str().expect("plain letters");
    succeeds(&[&format!("{image},size=4MiB")], "--count 1");
    for path in paths(image) {
        let value = succeeds(&[image], &format!("--path {path} --rw randrw --verify --count 500 --qd 8"));
        assert_eq!((&value["target"]["path"], &value["verify"]["miscompares"]), (&path.into(), &0.into()));
        let value = succeeds(&[&format!("{image},path={path}")], "--path threads --count 10");
        assert_eq!(value["target"]["path"], path, "its own goes first");
    }
    let refused = |target: &str, path: &str| {
        let output = qpair().args(["bench", target, "--path", path]).output().expect("qpair starts");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(refused("ram:1MiB", "uring").contains("needs a file or a drive"));
    assert!(refused("nvme-tcp://127.0.0.1/x?ns=1", "uring").contains("does not lead there"));
    assert!(refused(image, "ioctl").contains("needs an NVMe namespace"));
    let output = qpair().args(["serve", &format!("{image},path=sync")]).output().expect("qpair starts");
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("path sync waits"));
}

#[test]
fn the_paths_of_a_file_are_compared_round_by_round() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("disk.img");
    let image = path.to_str().expect("plain letters");
    let line = "--compare sync,threads --size 4MiB --rw randrw --verify --fill --count 200 --qd 1,4 --rounds 3";
    let value = succeeds(&[image], line);
    assert_eq!((&value["rounds"], &value["workload"]["filled"]), (&3.into(), &true.into()));
    let paths = value["paths"].as_array().expect("two paths");
    assert_eq!(paths.iter().map(|path| &path["path"]).collect::<Vec<_>>(), ["sync", "threads"]);
    for path in paths {
        let steps = path["steps"].as_array().expect("two depths");
        assert_eq!(steps.iter().map(|step| &step["depth"]).collect::<Vec<_>>(), [1, 4]);
        assert!(steps.iter().all(|step| step["by_round"].as_array().is_some_and(|rounds| rounds.len() == 3)));
        assert!(steps.iter().all(|step| step["iops"].as_f64().is_some_and(|iops| iops > 0.0)));
    }
    assert_eq!((&paths[0]["steps"][1]["iops_ratio"], &paths[0]["steps"][0]["cpu_ratio"]), (&1.0.into(), &1.0.into()));

    let text = qpair().args(["bench", image, "--compare", "threads,sync", "--count", "50"]).output().expect("starts");
    let text = String::from_utf8(text.stdout).expect("text");
    assert!(text.contains("of threads") && text.lines().any(|line| line.starts_with("    32  sync ")), "{text}");
    assert!(text.lines().all(|line| line.len() <= 120), "{text}");
    let named = format!("{image},path=sync");
    for (targets, paths, why) in [
        (&[image, "ram:1MiB"][..], "sync,threads", "one target"),
        (&[image], "sync", "several paths"),
        (&[image], "sync,sync", "each of them once"),
        (&[image], "sync,ioctl", "NVMe namespace"),
        (&["ram:1MiB"], "sync,threads", "needs a file or a drive"),
        (&[&named], "sync,threads", "it names its own path, sync"),
    ] {
        let output = qpair().arg("bench").args(targets).args(["--compare", paths]).output().expect("qpair starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(why), "{targets:?} {paths}: {error}");
    }
}

#[test]
fn two_namespaces_of_a_target_are_loaded_together() {
    let served = Served::start(&["ram:8MiB", "ram:8MiB"]);
    let (one, two) = (served.uri(1), served.uri(2));
    let line = "--rw randrw --verify --size 2MiB --reactors 2 --queues 2 --qd 2,8 --count 1000";
    let value = succeeds(&[&one, &two], line);
    assert_eq!((&value["verify"]["miscompares"], &value["ended_by"]), (&0.into(), &"goal".into()));
    assert_eq!(value["depth_reached"], serde_json::json!([8, 8, 8, 8]));
    drop(served);
    let output = qpair().args(["bench", &one, "--count", "1"]).output().expect("qpair starts");
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("127.0.0.1"));
}

/// Runs a command with `-v` and interrupts it once it measures. Its output, and what it said afterwards.
#[cfg(unix)]
fn interrupted(command: &mut Command) -> (Output, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("qpair starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut said = String::new();
    while !said.contains("measuring") {
        assert_ne!(stderr.read_line(&mut said).expect("it is piped"), 0, "it ended: {said}");
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    said.clear();
    stderr.read_to_string(&mut said).expect("text");
    (child.wait_with_output().expect("it ends"), said)
}

#[test]
#[cfg(unix)]
fn an_interrupted_comparison_says_that_there_is_nothing_to_compare() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("disk.img");
    let mut command = qpair();
    command.arg("bench").arg(path).args(["--size", "4MiB", "--compare", "sync,threads", "--secs", "600", "-v"]);
    let (output, said) = interrupted(&mut command);
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(said.contains("interrupted before the first round was over"), "{said}");
}

#[test]
#[cfg(unix)]
fn an_interrupt_ends_all_reactors_with_the_figures_so_far() {
    let mut command = qpair();
    command.args([
        "bench",
        "null:1GiB",
        "null:1GiB",
        "--reactors",
        "2",
        "--secs",
        "600",
        "--warmup",
        "0",
        "--json",
        "-v",
    ]);
    let (output, _) = interrupted(&mut command);
    let value: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert!(output.status.success());
    assert_eq!(value["ended_by"], "interrupt");
}
