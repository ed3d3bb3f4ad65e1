//! The tests that run the finished program: on the host alone, and against a real kernel in the guest of lab/vmlab.
//!
//! ```text
//!      host                                        guest (emulated, Linux)
//!      xtask ── starts, kills, stops ──▶ qpair       lab/tests/SCRIPT.sh
//!        │                                 ▲               │ nvme, fio, mkfs, ...
//!        │                                 └── 10.0.2.2 ───┘ kernel: nvme_tcp
//!        └─────── reads `ok ...`, `FAIL ...` ◀─────────────┘ stdout
//! ```
//!
//! A scenario is one boot. To add one: a script beside lab/tests/data.sh and a line in [`SCENARIOS`].

mod guest;
mod host_kill;
mod program;
mod scratch;
mod target;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::guest::{Boot, Unready, set_up, vmlab};
use self::scratch::Scratch;
use self::target::Target;
use crate::report::{Outcome, Report};
use crate::succeeds;
use crate::test::Selection;

pub(crate) use self::host_kill::host_kill;
pub(crate) use self::program::program;

const NQN: &str = "nqn.2026-01.io.qpair:lab";
const GUARDED_NQN: &str = "nqn.2026-01.io.qpair:guarded";
const ALLOWED_HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:11111111-0000-4000-8000-000000000001";

/// Name, and what runs.
type Scenario = (&'static str, fn(&mut Report, &Path, bool) -> Result<(), String>);

const SCENARIOS: [Scenario; 4] =
    [("lab controller", controller), ("lab data", data), ("lab kill", kill), ("lab reload", reload)];

/// How long a target stays away between its death and its return.
const ABSENCE: Duration = Duration::from_secs(1);

/// The scenarios that are wanted.
pub(crate) fn scenarios(selection: &Selection) -> Vec<Scenario> {
    SCENARIOS.into_iter().filter(|(name, _)| selection.wants(name)).collect()
}

/// Sets the lab up and runs the scenarios with the program at `program`.
pub(crate) fn run(report: &mut Report, scenarios: &[Scenario], program: &Path, full: bool) {
    if scenarios.is_empty() {
        return;
    }
    let begun = Instant::now();
    match set_up() {
        Ok(()) => {}
        Err(Unready::Unsuited(why)) => return report.skip("lab", &why),
        Err(Unready::Broken(why)) => return report.note("lab setup", Outcome::Failed(why), begun.elapsed()),
    }
    for (name, scenario) in scenarios {
        println!("\n=== {name}");
        let begun = Instant::now();
        if let Err(why) = scenario(report, program, full) {
            println!("FAIL {name}: {why}");
            report.note(name, Outcome::Failed(why), begun.elapsed());
        }
    }
}

/// `cargo xtask lab -- COMMAND...`: the guest for a person.
pub(crate) fn shell(words: &[&str]) -> Result<bool, String> {
    match set_up() {
        Ok(()) => succeeds(vmlab().args(["run", "--module", "nvme_tcp", "--timeout", "3600", "--"]).args(words)),
        Err(Unready::Unsuited(why) | Unready::Broken(why)) => Err(format!("no lab here: {why}")),
    }
}

/// What the scripts expect: 1 a file, 2 memory with another block size, 3 read-only. The image of 3 is returned too.
fn three_namespaces(program: &Path, scratch: &Scratch) -> Result<(Target, PathBuf), String> {
    let fixed = scratch.file("read-only.img");
    noise(&fixed, 8 << 20)?;
    let file = format!("{},bs=4096,size=128MiB", scratch.file("disk.img").display());
    let read_only = format!("{},ro", fixed.display());
    let arguments = [file.as_str(), "ram:64MiB,bs=512", read_only.as_str(), "--nqn", NQN];
    Ok((Target::start(program, &arguments, &scratch.file("qpair.log"))?, fixed))
}

fn variables(target: &Target) -> Vec<(&'static str, String)> {
    // The guest's 10.0.2.2 is the host's loopback.
    vec![("ADDR", "10.0.2.2".to_owned()), ("PORT", target.port().to_string()), ("NQN", NQN.to_owned())]
}

fn controller(report: &mut Report, program: &Path, _full: bool) -> Result<(), String> {
    let scratch = Scratch::new("controller")?;
    let (mut target, _) = three_namespaces(program, &scratch)?;
    let guarded = ["ram:16MiB", "--nqn", GUARDED_NQN, "--allow-host", ALLOWED_HOST];
    let mut guard = Target::start(program, &guarded, &scratch.file("guard.log"))?;
    let mut variables = variables(&target);
    variables.push(("GUARD_PORT", guard.port().to_string()));
    variables.push(("GUARD_NQN", GUARDED_NQN.to_owned()));
    variables.push(("ALLOWED", ALLOWED_HOST.to_owned()));
    let boot = Boot { script: "controller", variables, shared: None, multipath: true, limit: Duration::from_secs(240) };
    boot.run(report, || target.check_alive().and_then(|()| guard.check_alive()))?;
    report.step("lab controller: SIGTERM ends the targets", || target.stop().and_then(|()| guard.stop()));
    Ok(())
}

fn data(report: &mut Report, program: &Path, full: bool) -> Result<(), String> {
    let scratch = Scratch::new("data")?;
    let (mut target, fixed) = three_namespaces(program, &scratch)?;
    let mut variables = variables(&target);
    variables.push(("READONLY", fixed.display().to_string()));
    variables.push(("FULL", if full { "1".to_owned() } else { String::new() }));
    let limit = Duration::from_secs(if full { 1800 } else { 300 });
    let boot = Boot { script: "data", variables, shared: None, multipath: true, limit };
    boot.run(report, || target.check_alive())?;
    report.step("lab data: SIGTERM ends the target", || target.stop());
    Ok(())
}

fn kill(report: &mut Report, program: &Path, full: bool) -> Result<(), String> {
    let scratch = Scratch::new("kill")?;
    let shared = scratch.file("shared");
    std::fs::create_dir(&shared).map_err(|e| format!("{}: {e}", shared.display()))?;
    let file = format!("{},bs=4096,size=128MiB", scratch.file("disk.img").display());
    let mut target = Target::start(program, &[&file, "--nqn", NQN], &scratch.file("qpair.log"))?;
    let mut variables = variables(&target);
    variables.push(("KILLS", if full { "20" } else { "3" }.to_owned()));
    let limit = Duration::from_secs(if full { 1200 } else { 240 });
    let boot = Boot { script: "kill", variables, shared: Some(&shared), multipath: true, limit };
    boot.run(report, || {
        target.check_alive()?;
        if shared.join("kill").exists() {
            target.kill_and_restart(ABSENCE)?;
            std::fs::rename(shared.join("kill"), shared.join("killed")).map_err(|e| format!("the shared file: {e}"))?;
        }
        Ok(())
    })?;
    report.step("lab kill: SIGTERM ends the target", || target.stop());
    Ok(())
}

/// The target follows a file that the guest has changed while it is connected.
fn reload(report: &mut Report, program: &Path, _full: bool) -> Result<(), String> {
    let scratch = Scratch::new("reload")?;
    let (shared, config) = (scratch.file("shared"), scratch.file("qpair.toml"));
    std::fs::create_dir(&shared).map_err(|e| format!("{}: {e}", shared.display()))?;
    let configure = |name: &str| {
        let text = configuration(name, &scratch.file("disk.img"));
        std::fs::write(&config, text).map_err(|e| format!("{}: {e}", config.display()))
    };
    configure("start")?;
    let mut target = Target::follow(program, &config, &scratch.file("qpair.log"))?;
    let limit = Duration::from_secs(300);
    let boot = Boot { script: "reload", variables: variables(&target), shared: Some(&shared), multipath: false, limit };
    boot.run(report, || {
        target.check_alive()?;
        if let Ok(name) = std::fs::read_to_string(shared.join("reload")) {
            let name = name.trim();
            configure(name)?;
            if target.reload()? == (name == "bad") {
                return Err(format!("the reload of `{name}` ended otherwise than it should"));
            }
            std::fs::rename(shared.join("reload"), shared.join("reloaded"))
                .map_err(|e| format!("the shared file: {e}"))?;
        }
        Ok(())
    })?;
    report.step("lab reload: SIGTERM ends the target", || target.stop());
    Ok(())
}

/// The configurations of lab/tests/reload.sh.
fn configuration(name: &str, image: &Path) -> String {
    let (size, more) = match name {
        "start" => ("size = \"64MiB\"", ""),
        "more" => ("", "device = \"ram:16MiB\""),
        "grown" => ("size = \"96MiB\"", ""),
        _ => ("", "device = \"rma:16MiB\""),
    };
    let more = if more.is_empty() { String::new() } else { format!("[[subsystem.namespace]]\nnsid = 2\n{more}\n") };
    // Without a size, the image keeps the one it has.
    format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[[subsystem]]\nnqn = \"{NQN}\"\n[[subsystem.namespace]]\nnsid = 1\n\
         device = \"{}\"\n{size}\n{more}",
        image.display()
    )
}

/// A file of bytes that nothing else holds.
fn noise(path: &Path, bytes: u64) -> Result<(), String> {
    use std::io::Read as _;
    let copy = || -> std::io::Result<()> {
        let mut source = std::fs::File::open("/dev/urandom")?.take(bytes);
        std::io::copy(&mut source, &mut std::fs::File::create(path)?)?;
        Ok(())
    };
    copy().map_err(|e| format!("{}: {e}", path.display()))
}
