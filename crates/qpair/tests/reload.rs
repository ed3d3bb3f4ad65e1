//! A server that follows its configuration file: what changes, what does not, and what a mistake does.

mod common;

use std::fs;
use std::process::Command;

use common::{Serve, as_user, output, qpair, says_of_missing, with_dir};
use serde_json::Value;
use tempfile::TempDir;

const A: &str = "nqn.2026-01.org.example:a";
const B: &str = "nqn.2026-01.org.example:b";

/// A configuration file in a directory of its own, and the server that follows it.
struct Rig {
    dir: TempDir,
    serve: Serve,
}

impl Rig {
    /// Starts a server with this file. `DIR` in it is its directory.
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        write(&dir, config);
        let mut command = as_user(qpair(&["serve", "--json", "--config"]), dir.path());
        let serve = Serve::spawn(command.arg(dir.path().join("qpair.toml")));
        Self { dir, serve }
    }

    /// The name of the image, as the file says it.
    fn image(&self) -> String {
        with_dir("DIR/disk.img", self.dir.path())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        as_user(qpair(arguments), self.dir.path())
    }

    /// Writes the file anew and has it reloaded; what `qpair reload --json` says.
    fn reload(&self, config: &str) -> Value {
        write(&self.dir, config);
        let done = self.command(&["reload", "--json"]).output().expect("it runs");
        let text = String::from_utf8(done.stdout).expect("text");
        let said: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(done.status.success(), said["ok"], "{said}");
        said
    }

    /// The same, and it has to change exactly this.
    fn changes(&self, config: &str, changes: &[String]) {
        let said = self.reload(config);
        assert_eq!(said["changes"], serde_json::json!(changes), "{said}");
    }

    /// The same, and it has to be refused because of this field on this line.
    fn refuses(&self, config: &str, line: u64, field: &str, why: &str) {
        let said = self.reload(config);
        assert_eq!((&said["ok"], &said["changes"]), (&Value::Bool(false), &serde_json::json!([])), "{said}");
        let mistake = &said["mistakes"][0];
        assert_eq!((mistake["line"].as_u64(), mistake["field"].as_str()), (Some(line), Some(field)), "{said}");
        assert!(mistake["why"].as_str().is_some_and(|text| text.contains(why)), "{said}");
    }

    /// Reads a little from a namespace; its size in bytes, if it is there.
    fn size(&self, nqn: &str, nsid: u32) -> Option<u64> {
        let uri = self.serve.uri(nqn, nsid);
        let done = self.command(&["bench", &uri, "--count", "8", "--json"]).output().expect("it runs");
        let report: Value = serde_json::from_slice(&done.stdout).ok()?;
        report["target"]["size_bytes"].as_u64().filter(|_| done.status.success())
    }
}

fn write(dir: &TempDir, config: &str) {
    fs::write(dir.path().join("qpair.toml"), with_dir(config, dir.path())).expect("it is written");
}

/// The head of every file here: any free port, and subsystem A with an image of this size.
fn head(size: &str) -> String {
    format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[[subsystem]]\nnqn = \"{A}\"\n\
         [[subsystem.namespace]]\nnsid = 1\ndevice = \"DIR/disk.img\"\nsize = \"{size}\"\n"
    )
}

#[test]
fn changes_in_the_middle_of_verified_load() {
    let rig = Rig::new(&head("32MiB"));
    let memory = "[[subsystem.namespace]]\nnsid = 7\ndevice = \"ram:8MiB\"\n";
    let other = format!("[[subsystem]]\nnqn = \"{B}\"\n[[subsystem.namespace]]\ndevice = \"null:1GiB\"\n");
    let uri = rig.serve.uri(A, 1);
    let load = ["bench", &uri, "--verify", "--rw", "randrw", "--size", "16MiB", "--secs", "4", "--json"];
    std::thread::scope(|scope| {
        let load = scope.spawn(|| output(&mut rig.command(&load)));
        let mut rounds = 0;
        while !load.is_finished() || rounds == 0 {
            rounds += 1;
            assert_eq!(rig.size(A, 7), None);
            rig.changes(&(head("32MiB") + memory), &[format!("added namespace 7 of {A}: ram:8MiB")]);
            assert_eq!(rig.size(A, 7), Some(8 << 20));
            let both = [format!("added subsystem {B}"), format!("added namespace 1 of {B}: null:1GiB")];
            rig.changes(&(head("32MiB") + memory + &other), &both);
            assert_eq!(rig.size(B, 1), Some(1 << 30));
            let removed = [
                format!("removed subsystem {B}"),
                format!("removed namespace 7 of {A}: ram:8MiB"),
                format!("removed namespace 1 of {B}: null:1GiB"),
            ];
            rig.changes(&head("32MiB"), &removed);
            assert_eq!((rig.size(A, 7), rig.size(B, 1)), (None, None));
        }
        let report: Value = serde_json::from_str(&load.join().expect("it does not panic")).expect("a report");
        assert_eq!((&report["verify"]["miscompares"], &report["ended_by"]), (&0.into(), &"goal".into()), "{report}");
    });
    rig.serve.stop();
}

#[test]
fn images_grow_by_their_size_or_by_themselves() {
    let rig = Rig::new(&head("8MiB"));
    let resized = [format!("resized namespace 1 of {A}: {}", rig.image())];
    assert_eq!(rig.size(A, 1), Some(8 << 20));
    rig.changes(&head("16MiB"), &resized);
    assert_eq!(rig.size(A, 1), Some(16 << 20));
    let without = head("16MiB").replace("size = \"16MiB\"\n", "");
    rig.changes(&without, &[]);
    fs::File::options().write(true).open(rig.image()).and_then(|file| file.set_len(24 << 20)).expect("it is longer");
    rig.changes(&without, &resized);
    assert_eq!(rig.size(A, 1), Some(24 << 20));
    rig.refuses(&head("8MiB"), 8, "subsystem[0].namespace[0].size", "it has 24 MiB, not 8 MiB");
    assert_eq!(rig.size(A, 1), Some(24 << 20));
}

#[test]
fn a_mistake_changes_nothing() {
    let rig = Rig::new(&head("8MiB"));
    let memory = "[[subsystem.namespace]]\nnsid = 2\ndevice = \"ram:8MiB\"\n";
    let more = head("8MiB") + memory;
    rig.refuses(&more.replace("ram:8MiB", "rma:8MiB"), 11, "subsystem[0].namespace[1].device", "no kind of device");
    rig.refuses(&more.replace("nsid = 2", "nsid = 1"), 10, "subsystem[0].namespace[1].nsid", "same namespace ID");
    // Not before it is opened is it known that this is not there; what comes before it is not added, either.
    let missing = format!("{more}[[subsystem.namespace]]\ndevice = \"/nowhere/disk.img\"\n");
    rig.refuses(&missing, 13, "subsystem[0].namespace[2].device", "there is no such file");
    rig.refuses(&format!("reactors = 3\n{more}"), 1, "reactors", "becomes 3 only by a restart");
    rig.refuses(&format!("dedicated = true\n{more}"), 1, "dedicated", "only by a restart");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let listener = format!("[[listener]]\naddress = \"{}\"\n", taken.local_addr().expect("an address"));
    rig.refuses(&format!("{more}{listener}"), 13, "listener[1].address", "cannot listen on");
    rig.refuses(&more.replace("disk.img\"", "disk.img,ro\""), 7, "subsystem[0].namespace[0].device", "other options");
    let file = rig.dir.path().join("qpair.toml");
    fs::remove_file(&file).expect("it was there");
    let gone = rig.command(&["reload", "--json", "--pid", &rig.serve.pid().to_string()]).output().expect("it runs");
    assert!(!gone.status.success());
    assert!(String::from_utf8_lossy(&gone.stdout).contains(&says_of_missing(&file)), "{gone:?}");
    assert_eq!((rig.size(A, 1), rig.size(A, 2)), (Some(8 << 20), None));
    // And then it goes on as if nothing had been.
    rig.changes(&more, &[format!("added namespace 2 of {A}: ram:8MiB")]);
    assert_eq!(rig.size(A, 2), Some(8 << 20));
}

#[test]
fn hosts_come_and_go() {
    let rig = Rig::new(&head("8MiB"));
    let nqn = format!("nqn = \"{A}\"\n");
    let closed = head("8MiB").replace(&nqn, &format!("{nqn}hosts = [\"nqn.2026-01.org.example:other\"]\n"));
    rig.changes(&closed, &[]);
    assert_eq!(rig.size(A, 1), None);
    rig.changes(&head("8MiB"), &[]);
    assert_eq!(rig.size(A, 1), Some(8 << 20));
}

#[test]
fn the_signal_alone_does_it_and_metrics_come_and_go() {
    let mut rig = Rig::new(&head("8MiB"));
    write(&rig.dir, &format!("metrics = \"127.0.0.1:0\"\n{}", head("8MiB")));
    rig.serve.signal("HUP");
    let said = rig.serve.says();
    assert_eq!((said["event"].as_str(), &said["ok"], &said["number"]), (Some("reloaded"), &true.into(), &1.into()));
    write(&rig.dir, &head("8MiB"));
    rig.serve.signal("HUP");
    assert_eq!(rig.serve.says()["number"], 2);
    let other = rig.command(&["reload", "--config", "Cargo.toml"]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&other.stderr).contains("there is no such server"), "{other:?}");
    rig.serve.stop();
    let after = as_user(qpair(&["reload"]), rig.dir.path()).output().expect("it runs");
    assert!(!after.status.success());
}

#[test]
fn a_file_excludes_flags() {
    let done = qpair(&["serve", "--config", "x.toml", "ram:1MiB"]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&done.stderr).contains("cannot be used with"), "{done:?}");
    let done = qpair(&["serve", "--config", "x.toml", "--reactors", "2"]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&done.stderr).contains("cannot be used with"), "{done:?}");
    let done = qpair(&["serve", "--config", "/nowhere/x.toml"]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&done.stderr).contains("/nowhere/x.toml: cannot be read"), "{done:?}");
}
