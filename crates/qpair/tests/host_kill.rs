//! kill -9 of the target under verified load of our own host: no request fails, nothing is read that was not written.
//!
//! `cargo xtask test --full --only host-kill` is the long form of this.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use common::{PATIENCE, Serve, eventually, free_port, qpair, signal};
use serde_json::Value;

const NQN: &str = "nqn.2026-01.io.qpair:host-kill-test";
const KILLS: u64 = 3;

/// Serves an image at an address.
fn serve(image: &str, listen: &str) -> Serve {
    Serve::start(&["--size", "16MiB", image, "--nqn", NQN, "--listen", listen])
}

/// The lines of a stream, as they come.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

/// Waits until the host says this.
fn says(said: &Receiver<String>, what: &str) {
    while let Ok(line) = said.recv_timeout(PATIENCE) {
        if line.contains(what) {
            return;
        }
    }
    panic!("the host does not say {what:?}");
}

fn survives(retry: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let image = dir.path().join("disk.img").display().to_string();
    let mut target = serve(&image, &format!("127.0.0.1:{}", free_port()));
    let address = target.address();
    let uri = format!("nvme-tcp://{address}/{NQN}?ns=1&retry={retry}");
    // Until it is asked to end. Where there are no signals it ends by itself, well after all that is done here.
    let secs = if cfg!(unix) { "600" } else { "30" };
    let load = ["bench", &uri, "--rw", "randrw", "--mix", "50", "--qd", "16", "--queues", "2", "--secs", secs];
    let mut bench = qpair(&load);
    bench.args(["--verify", "--json", "--size", "16MiB"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut bench = bench.spawn().expect("it starts");
    let said = lines(bench.stderr.take().expect("it was asked for"));
    eventually("the first writes", || fs::read(&image).expect("an image").iter().any(|byte| *byte != 0));
    for kill in 0..KILLS {
        // Some moment.
        thread::sleep(Duration::from_millis(50 + 70 * kill));
        drop(target);
        assert!(TcpListener::bind(address).is_ok(), "it is dead");
        target = serve(&image, &address.to_string());
        says(&said, "connected again");
    }
    thread::sleep(Duration::from_millis(200));
    if cfg!(unix) {
        signal(bench.id(), "TERM");
    }
    let mut report = String::new();
    bench.stdout.take().expect("it was asked for").read_to_string(&mut report).expect("text");
    let status = bench.wait().expect("it ends");
    let report: Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report:?}"));
    assert!(status.success(), "{status}: {report}");
    assert!(report["total"]["ios"].as_u64() > Some(0), "{report}");
    assert!(report["verify"].is_object(), "{report}");
    target.stop();
}

#[test]
fn killed_targets_cost_time_and_nothing_else() {
    survives("idempotent");
}

#[test]
fn also_when_everything_is_sent_again() {
    survives("all");
}
