//! `qpair serve --supervise`: whatever ends the serving process but a wish to stop, somebody serves again soon.
//!
//! How soon is printed (`cargo test -p qpair --test supervise -- --nocapture`) and not asserted. What crashes is a
//! device that panics, which is the same on every system.
#![forbid(unsafe_code)]

mod common;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{PATIENCE, Serve, as_user, crash_by, eventually, free_port, qpair, signal, ward_of};
use machine::os::Process;
use tempfile::TempDir;

/// The subsystem here.
const NQN: &str = "nqn.2026-01.org.example:a";

/// A supervised server of a user of its own, whom others do not see.
struct Supervised {
    user: TempDir,
    serve: Serve,
}

/// Starts one on a port of its own; with more arguments.
fn supervised(arguments: &[&str]) -> Supervised {
    let user = tempfile::tempdir().expect("a directory");
    let listen = format!("127.0.0.1:{}", free_port());
    let mut command =
        as_user(qpair(&["serve", "--json", "--supervise", "--nqn", NQN, "--listen", &listen]), user.path());
    Supervised { serve: Serve::spawn(command.args(arguments)), user }
}

/// The serving process: the last that has said so, which may have been killed since.
fn ward(server: &Supervised) -> Option<u32> {
    ward_of(server.user.path(), server.serve.pid())
}

/// Connects as an NVMe/TCP host and exchanges the first PDUs (ICReq, ICResp).
fn greet(server: &Supervised) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(server.serve.address())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = [0; 128];
    // Type 00h, header and PDU of 128 bytes; version 0, no digests.
    (request[2], request[4]) = (128, 128);
    stream.write_all(&request)?;
    let mut response = [0; 128];
    stream.read_exact(&mut response)?;
    assert_eq!(response[0], 1, "it answers with ICResp");
    Ok(stream)
}

/// Ends the serving process under a connection by `end` and waits until another one answers hosts.
fn crash(server: &Supervised, end: impl FnOnce(u32)) {
    let mut connection = greet(server).expect("it serves");
    let old = ward(server).expect("it serves");
    end(old);
    let ended = Instant::now();
    while ward(server).is_none_or(|pid| pid == old) || greet(server).is_err() {
        assert!(ended.elapsed() < PATIENCE, "nobody serves again");
        std::thread::sleep(Duration::from_micros(200));
    }
    println!("serving again after {:.1?}", ended.elapsed());
    assert!(matches!(connection.read(&mut [0]), Ok(0) | Err(_)), "the old connection has ended");
}

#[test]
fn a_crash_is_followed_by_another_start_again_and_again() {
    let server = supervised(&["fault:ram:64MiB,rule=write:panic"]);
    // More than are followed by a start at once.
    for _ in 0..4 {
        crash(&server, |_| crash_by(&server.serve.uri(NQN, 1)));
    }
    // The wish to stop is passed on, and the code is that of the serving process.
    server.serve.signal("TERM");
    server.serve.ends_well();
}

#[test]
fn one_that_somebody_killed_is_started_again() {
    let server = supervised(&["ram:64MiB"]);
    crash(&server, |pid| signal(pid, "KILL"));
    server.serve.signal("TERM");
    server.serve.ends_well();
}

#[test]
fn what_cannot_be_served_is_tried_once() {
    let arguments = ["serve", "--supervise", "/nowhere/disk.img"];
    let done = qpair(&arguments).stdout(Stdio::null()).output().expect("it starts");
    let said = String::from_utf8(done.stderr).expect("text");
    assert_eq!((done.status.code(), said.matches("/nowhere/disk.img").count()), (Some(1), 1), "{said}");
    let done = qpair(&["serve", "--supervise", "ram:1MiB", "--reactors", "0"]).output().expect("it starts");
    assert_eq!(done.status.code(), Some(2));
}

#[test]
fn without_its_supervisor_the_serving_process_ends() {
    let server = supervised(&["ram:1MiB"]);
    let address = server.serve.address();
    let ward = Process::open(ward(&server).expect("it serves")).expect("it runs");
    // Its supervisor is killed.
    drop(server.serve);
    assert!(ward.wait(PATIENCE).expect("it is asked"), "the serving process has ended");
    eventually("its port", || TcpListener::bind(address).is_ok());
}
