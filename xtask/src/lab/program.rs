//! The program on the host alone: what a user does first, without a guest.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::scratch::Scratch;
use super::system::Program;
use super::target::Target;
use crate::report::Report;

const NQN: &str = "nqn.2026-01.io.qpair:program";

/// Serves, measures with every read checked, stops; also in the middle of a load.
pub(crate) fn program(report: &mut Report, program: &Program) {
    report.step("program: an image is created, served, verified", || image(program, program));
    report.step("program: a wish to stop under load", || stop_under_load(program, program));
}

/// One serves an image that is not there yet, the other is its host.
pub(super) fn image(served: &Program, host: &Program) -> Result<(), String> {
    let scratch = Scratch::new("program")?;
    let target = start(served, &scratch)?;
    let bytes = std::fs::metadata(scratch.file("disk.img")).map_err(|e| format!("no image: {e}"))?.len();
    if bytes != 64 << 20 {
        return Err(format!("the image has {bytes} bytes, not 64 MiB"));
    }
    for load in [["randwrite", "4k"], ["randrw", "16k"], ["randrw", "128k"]] {
        let status = bench(host, &target, load, "1").status().map_err(|e| e.to_string())?;
        if !status.success() {
            return Err(format!("bench --verify {}: {status}", load.join(" ")));
        }
    }
    target.stop()
}

fn stop_under_load(served: &Program, host: &Program) -> Result<(), String> {
    let scratch = Scratch::new("stop")?;
    let mut target = start(served, &scratch)?;
    let mut load =
        bench(host, &target, ["randrw", "4k"], "30").stderr(Stdio::null()).spawn().map_err(|e| e.to_string())?;
    thread::sleep(Duration::from_millis(1500));
    let running = load.try_wait().is_ok_and(|ended| ended.is_none());
    let stopped = target.check_alive().and_then(|()| target.stop());
    // The load has lost its target; how it ends is its own matter.
    let _ = load.kill();
    let _ = load.wait();
    if running { stopped } else { Err("bench ended early: nothing was proven".to_owned()) }
}

fn start(program: &Program, scratch: &Scratch) -> Result<Target, String> {
    let image = program.names(&scratch.file("disk.img"));
    Target::start(program, &["--size", "64MiB", &image, "--nqn", NQN], &scratch.file("qpair.log"))
}

fn bench(program: &Program, target: &Target, [rw, block]: [&str; 2], seconds: &str) -> Command {
    let mut command = program.command();
    command
        .args(["bench", &format!("nvme-tcp://127.0.0.1:{}/{NQN}?ns=1", target.port())])
        .args(["--rw", rw, "--bs", block, "--qd", "32", "--queues", "2", "--secs", seconds, "--verify", "--json"])
        .stdout(Stdio::null());
    command
}
