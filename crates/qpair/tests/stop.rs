//! `qpair stop`: which server is meant, what comes of it, and what is not mistaken for one.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use common::{Serve, eventually, free_port, output, qpair};
use serde_json::Value;
use tempfile::TempDir;

/// A user of their own: nobody else's servers are seen.
struct User(TempDir);

impl User {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        common::as_user(qpair(arguments), self.0.path())
    }

    fn serve(&self, arguments: &[&str]) -> Serve {
        Serve::spawn(self.command(&["serve", "--json", "--listen", "127.0.0.1:0"]).args(arguments))
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it runs")
    }

    /// What `qpair stop` says that it has stopped.
    fn stops(&self, arguments: &[&str]) -> Value {
        let said: Value =
            serde_json::from_str(&output(self.command(&["stop", "--json"]).args(arguments))).expect("JSON");
        assert_eq!((said["ended"].as_str(), &said["error"]), (Some("stopped"), &Value::Null), "{said}");
        said
    }

    /// The command fails and says this.
    fn fails(&self, arguments: &[&str], why: &str) {
        let done = self.run(arguments);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(1) && said.contains(why), "{arguments:?}: {done:?}");
    }

    fn status_file(&self, pid: u32) -> PathBuf {
        self.0.path().join(format!("qpair/serve-{pid}.json"))
    }
}

#[test]
fn one_that_runs_is_stopped_and_none_is_said() {
    let user = User::new();
    user.fails(&["stop"], "there is no such server");
    user.fails(&["reload"], "there is no such server");
    let serve = user.serve(&["ram:1MiB"]);
    assert!(user.status_file(serve.pid()).exists());
    // It has no file, so there is nothing to reload.
    user.fails(&["reload"], "there is no such server");
    assert_eq!(user.stops(&[])["pid"], serve.pid());
    assert!(!user.status_file(serve.pid()).exists());
    serve.ends_well();
    user.fails(&["stop"], "there is no such server");
}

#[test]
fn of_two_one_has_to_be_named() {
    let user = User::new();
    let (one, two) = (user.serve(&["ram:1MiB"]), user.serve(&["ram:1MiB"]));
    let listed = format!("{}  nvme-tcp {}", one.pid(), one.address());
    user.fails(&["stop"], &listed);
    user.fails(&["stop"], &two.pid().to_string());
    user.stops(&[&one.pid().to_string()]);
    one.ends_well();
    assert_eq!(user.stops(&[])["pid"], two.pid());
    two.ends_well();
}

#[test]
fn a_server_is_named_by_its_file() {
    let user = User::new();
    let path = |name: &str| user.0.path().join(name);
    let start = |name: &str| {
        let device =
            "[[subsystem]]\nnqn = \"nqn.2026-01.org.example:a\"\n[[subsystem.namespace]]\ndevice = \"ram:1MiB\"\n";
        fs::write(path(name), format!("[[listener]]\naddress = \"127.0.0.1:0\"\n{device}")).expect("it is written");
        Serve::spawn(user.command(&["serve", "--json", "--config"]).arg(path(name)))
    };
    let (a, b) = (start("a.toml"), start("b.toml"));
    user.fails(&["reload"], "a.toml");
    let (file_a, file_b) = (path("a.toml"), path("b.toml"));
    let (file_a, file_b) = (file_a.to_str().expect("text"), file_b.to_str().expect("text"));
    assert!(output(&mut user.command(&["reload", "--config", file_a])).contains("nothing is different"));
    assert_eq!(user.stops(&["--config", file_b])["pid"], b.pid());
    b.ends_well();
    user.fails(&["stop", "--config", file_b], "there is no such server");
    let pid = a.pid().to_string();
    assert!(output(&mut user.command(&["reload", "--pid", &pid])).contains("nothing is different"));
    user.stops(&[&pid]);
    a.ends_well();
}

#[test]
fn what_a_killed_one_left_is_nobody() {
    let user = User::new();
    let serve = user.serve(&["ram:1MiB"]);
    let left = fs::read_to_string(user.status_file(serve.pid())).expect("it is there");
    drop(serve);
    // Its number is that of another process by now, this one: neither is it asked, nor mistaken for a server.
    let me = std::process::id();
    let mut told: Value = serde_json::from_str(&left).expect("JSON");
    told["pid"] = me.into();
    fs::write(user.status_file(me), told.to_string()).expect("it is written");
    fs::write(user.status_file(me).with_extension("lock"), "").expect("it is written");
    user.fails(&["stop"], "there is no such server");
    user.fails(&["stop", &me.to_string()], "there is no such server");
    assert_eq!(fs::read_dir(user.0.path().join("qpair")).expect("it is there").count(), 0, "nothing is left");
}

#[test]
fn somebody_elses_are_not_seen() {
    let (user, other) = (User::new(), User::new());
    let serve = user.serve(&["ram:1MiB"]);
    other.fails(&["stop"], "there is no such server");
    other.fails(&["stop", &serve.pid().to_string()], "there is no such server");
    other.fails(&["stop", &std::process::id().to_string()], "there is no such server");
    user.stops(&[]);
    serve.ends_well();
}

/// What clients were answered is there after the next start, and the pool was closed.
#[test]
fn a_stop_in_the_middle_of_load_loses_nothing() {
    let user = User::new();
    let pool = user.0.path().join("pool").display().to_string();
    let start = || {
        let listen = ["--listen", "memcache=127.0.0.1:0", "--memory", "16MiB", "--pool", &pool];
        Serve::spawn(user.command(&["cache", "--json"]).args(listen))
    };
    let cache = start();
    let address = cache.listening["memcache"][0].as_str().expect("an address").to_owned();
    let answered = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| store(&mut connect(&address), &answered));
        eventually("the first thousand", || answered.load(Relaxed) >= 1000);
        user.stops(&[]);
        load.join().expect("it ends with the connection");
    });
    cache.ends_well();
    let cache = start();
    assert_eq!(cache.listening["pool"], "closed");
    let mut stream = connect(cache.listening["memcache"][0].as_str().expect("an address"));
    for number in 0..answered.into_inner() {
        stream.get_mut().write_all(format!("mg {number} v\r\n").as_bytes()).expect("it listens");
        assert_eq!(said(&mut stream), "VA 1\r\n", "{number} is gone");
        assert_eq!(said(&mut stream), "x\r\n");
    }
    user.stops(&[]);
    cache.ends_well();
}

fn connect(address: &str) -> BufReader<TcpStream> {
    BufReader::new(TcpStream::connect(address).expect("it listens"))
}

fn said(stream: &mut impl BufRead) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).expect("text");
    line
}

/// Stores items under numbers, one after the other, until the server ends.
fn store(stream: &mut BufReader<TcpStream>, answered: &AtomicU32) {
    loop {
        let line = format!("set {} 0 0 1\r\nx\r\n", answered.load(Relaxed));
        let mut answer = String::new();
        let asked = stream.get_mut().write_all(line.as_bytes()).and_then(|()| stream.read_line(&mut answer));
        if asked.is_err() || answer != "STORED\r\n" {
            return assert!(!answer.contains("ERROR"), "{answer}");
        }
        answered.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_supervisor_ends_with_what_it_supervises() {
    let user = User::new();
    let listen = format!("127.0.0.1:{}", free_port());
    let start = || {
        let arguments = ["serve", "--json", "--supervise", "--listen", &listen, "ram:1MiB"];
        Serve::spawn(&mut user.command(&arguments))
    };
    let guard = start();
    assert_eq!(user.stops(&[])["pid"], guard.pid());
    guard.ends_well();
    // Also while the serving process is the one that is named.
    let guard = start();
    let ward = common::ward_of(user.0.path(), guard.pid()).expect("it serves");
    assert_eq!(user.stops(&[&ward.to_string()])["pid"], guard.pid());
    guard.ends_well();
}
