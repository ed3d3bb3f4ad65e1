//! A `qpair serve` of its own, what it uses, and the verified load on it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

/// The subsystem.
pub(crate) const NQN: &str = "nqn.2026-01.io.qpair:campaign";

/// A running target; killed when dropped.
pub(crate) struct Served {
    child: Child,
    pub(crate) addr: SocketAddr,
}

/// What a process uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Use {
    pub(crate) rss_bytes: u64,
    pub(crate) files: usize,
}

/// How a load went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) iops: f64,
    pub(crate) p99_us: f64,
}

fn qpair() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qpair"));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

impl Served {
    /// Serves devices on a free port.
    pub(crate) fn start(devices: &[&str], reactors: usize) -> Self {
        let mut command = qpair();
        command.arg("serve").args(devices).args(["--listen", "127.0.0.1:0", "--nqn", NQN, "--json"]);
        command.args(["--reactors", &reactors.to_string()]).stderr(Stdio::null());
        let mut child = command.spawn().expect("qpair starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it says where it is");
        let said: Value = serde_json::from_str(&line).expect("JSON");
        let addr = said["listen"][0].as_str().and_then(|at| at.parse().ok()).expect("an address");
        Self { child, addr }
    }

    pub(crate) fn usage(&self) -> Use {
        let proc = format!("/proc/{}", self.child.id());
        let status = fs::read_to_string(format!("{proc}/status")).expect("the target runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        let files = fs::read_dir(format!("{proc}/fd")).expect("the target runs").count();
        Use { rss_bytes: kib << 10, files }
    }

    /// The address of a namespace, by way of `through`.
    pub(crate) fn uri(through: SocketAddr, nsid: u32) -> String {
        format!("nvme-tcp://{through}/{NQN}?ns={nsid}")
    }

    /// Starts a verified load on a namespace, over two connections, which are there when this returns: who loses them
    /// later connects again.
    pub(crate) fn load(through: SocketAddr, nsid: u32, time: Duration) -> Running {
        let secs = time.as_secs_f64().to_string();
        let mut command = qpair();
        command.args(["bench", &Self::uri(through, nsid), "--rw", "randrw", "--mix", "50", "--size", "16MiB"]);
        command.args(["--qd", "8", "--queues", "2", "--verify", "--secs", &secs, "--json", "-v"]);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("qpair starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let mut said: Vec<String> = Vec::new();
        while !said.last().is_some_and(|line| line.contains("measuring")) {
            let Some(line) = lines.next() else { break };
            said.push(line);
        }
        let stderr = thread::spawn(move || said.into_iter().chain(lines).collect::<Vec<_>>().join("\n"));
        Running { child, stderr }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has seen elsewhere.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A load that is on its way.
pub(crate) struct Running {
    child: Child,
    /// What it says beside its report.
    stderr: JoinHandle<String>,
}

impl Running {
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Waits for its end, which must be without an error or a miscompare.
    pub(crate) fn succeeds(self) -> Load {
        let output = self.child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", self.stderr.join().expect("it only reads"));
        let value: Value = serde_json::from_str(&said).expect("JSON");
        assert!(value["verify"]["checked"].as_u64().is_some_and(|checked| checked > 0), "{said}");
        let number = |value: &Value| value.as_f64().expect("a number");
        Load { iops: number(&value["total"]["iops"]), p99_us: number(&value["total"]["latency_us"]["p99"]) }
    }
}
