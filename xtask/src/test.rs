//! `cargo xtask test`: everything that has to pass, cheapest first.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::lab::Program;
use crate::report::{Report, Tests, cargo_tests};
use crate::{cargo, fuzz, instructions, lab, sanitize, succeeds, target_dir, windows};

/// What to run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Long campaigns too.
    pub(crate) full: bool,
    /// Only steps whose name contains this.
    only: Option<String>,
}

impl Selection {
    pub(crate) fn parse(words: &[&str]) -> Result<Self, String> {
        let mut selection = Self::default();
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            match word {
                "--full" => selection.full = true,
                "--only" => {
                    let name = words.next().ok_or("--only needs the name of a step, or a part of it")?;
                    selection.only = Some((*name).to_owned());
                }
                _ => return Err(format!("test has no option '{word}': there are --full and --only NAME")),
            }
        }
        Ok(selection)
    }

    /// Whether a step of this name is wanted.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|part| name.contains(part.as_str()))
    }
}

/// Runs the steps, prints the table, and says whether all is well.
pub(crate) fn run(selection: &Selection) -> bool {
    let mut report = Report::new();
    if selection.wants("fmt") {
        component(&mut report, "fmt", "rustfmt", &["fmt", "--all", "--check"]);
    }
    if selection.wants("clippy") {
        let words = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
        component(&mut report, "clippy", "clippy", &words);
    }
    if selection.wants("test") {
        report.counted("test", || counted(cargo().args(["test", "--no-fail-fast", "--workspace"])));
    }
    if selection.wants("test on portable rings") {
        // The tests of the rings themselves run on both kinds anyway.
        let words = ["test", "--no-fail-fast", "--package", "qpair-block", "--package", "qpair-nvmf"];
        let on_portable = |command: &mut Command| counted(command.args(words).env("QPAIR_TEST_RING", "portable"));
        report.counted("test on portable rings", || on_portable(&mut cargo()));
    }
    if selection.wants("loom") {
        report.counted("loom", || counted(&mut loom()));
    }
    if selection.wants("instructions") {
        match instructions::unavailable() {
            None => _ = report.step("instructions", held),
            Some(why) => report.skip("instructions", why),
        }
    }
    windows::run(&mut report, selection);
    let labs = lab::wanted(selection);
    let alone = ["program", "host-kill", "windows peers"].iter().any(|step| selection.wants(step));
    if selection.wants("build") || alone || !labs.is_empty() {
        let built = report.step("build", || {
            passes(cargo().args(["build", "--release", "--quiet", "--package", "qpair"]))?;
            // The library's users in the lab.
            let examples = ["commands", "admin", "protection"].into_iter().flat_map(|name| ["--example", name]);
            passes(cargo().args(["build", "--release", "--quiet", "--package", "qpair-block"]).args(examples))
        });
        let program = Program::on_linux(target_dir().join("release/qpair"));
        if built {
            if selection.wants("program") {
                lab::program(&mut report, &program);
            }
            if selection.wants("host-kill") {
                lab::host_kill(&mut report, &program, selection.full);
            }
            if selection.wants("windows peers") {
                windows::peers(&mut report, &program);
            }
            lab::run(&mut report, labs, &program, selection.full);
        } else {
            report.skip("lab", "qpair did not build");
        }
    }
    if selection.full {
        campaigns(&mut report, selection);
        sanitize::run(&mut report, selection);
    }
    if selection.full && selection.wants("fuzz") {
        fuzz::campaign(&mut report);
    }
    println!("\n{}", report.table().trim_end());
    let Tests { passed, failed, .. } = report.totals();
    if passed + failed == 0 {
        eprintln!("nothing was run: no step has that name");
    }
    failed == 0 && passed > 0
}

/// Runs a cargo command that a toolchain may lack: a component of rustup's.
fn component(report: &mut Report, step: &str, component: &str, words: &[&str]) {
    let mut version = cargo();
    version.args([words[0], "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    if version.status().is_ok_and(|status| status.success()) {
        report.step(step, || passes(cargo().args(words)));
    } else {
        report.skip(step, &format!("{component} is not installed: rustup component add {component}"));
    }
}

fn passes(command: &mut Command) -> Result<(), String> {
    if succeeds(command)? { Ok(()) } else { Err("see above".to_owned()) }
}

/// What the library costs without a device, as it is built for users.
fn held() -> Result<(), String> {
    let example = ["--package", "qpair-block", "--example", "channel_cost"];
    passes(cargo().args(["build", "--release", "--quiet"]).args(example))?;
    instructions::hold(&target_dir().join("release/examples/channel_cost"))
}

/// The modules of `crates/qpair/tests/campaign`.
const CAMPAIGNS: [&str; 3] = ["storm", "stalled", "soak"];

fn campaigns(report: &mut Report, selection: &Selection) {
    for name in CAMPAIGNS {
        let step = format!("campaign: {name}");
        if selection.wants(&step) {
            report.counted(&step, || counted(&mut campaign("qpair", "campaign", name)));
        }
    }
    if selection.wants("campaign: bitflips") {
        report.counted("campaign: bitflips", || counted(&mut campaign("qpair-nvmf", "host", "bitflips")));
    }
    if selection.wants("campaign: power cuts") {
        report.counted("campaign: power cuts", || counted(&mut power_cuts()));
    }
    if selection.wants("campaign: pool") {
        report.counted("campaign: pool", || counted(&mut campaign("qpair", "pool", "killed")));
    }
    let others = [("memcached", "memcached"), ("redis", "resp"), ("redis-py", "redis_py")];
    for (name, module) in others {
        let step = &format!("campaign: {name}");
        if selection.wants(step) {
            report.counted(step, || counted(&mut campaign("qpair-cache", "differential", module)));
        }
    }
}

/// Durable pools on a medium that loses what it may.
fn power_cuts() -> Command {
    let mut command = cargo();
    command.args(["test", "--release", "--package", "qpair-store", "--lib", "crash::"]);
    command.env("QPAIR_CAMPAIGN", "full");
    command
}

/// A module of a test program, or tests of one name, at full size, alone, from a release build.
fn campaign(package: &str, program: &str, name: &str) -> Command {
    let mut command = cargo();
    command.args(["test", "--release", "--package", package, "--test", program, name]);
    command.args(["--", "--nocapture", "--test-threads=1"]).env("QPAIR_CAMPAIGN", "full");
    command
}

/// Preemptions in one interleaving of a model: the bugs of such protocols show with two or three.
const LOOM_PREEMPTIONS: &str = "3";

/// The models of floor 1 in all their interleavings, from a build of its own (`crates/machine/src/sync`).
fn loom() -> Command {
    let mut command = cargo();
    command.args(["test", "--package", "qpair-machine", "--lib", "--no-fail-fast", "models::"]);
    command.env("CARGO_TARGET_DIR", target_dir().join("loom")).env("RUSTFLAGS", "--cfg loom");
    command.env("LOOM_MAX_PREEMPTIONS", LOOM_PREEMPTIONS);
    command
}

/// Runs a `cargo test` and counts, without showing the lines of tests that pass.
pub(crate) fn counted(command: &mut Command) -> (Result<(), String>, Option<Tests>) {
    let mut tests = Tests::default();
    let result = stream_tests(command, &mut tests);
    (result, Some(tests))
}

fn stream_tests(command: &mut Command, tests: &mut Tests) -> Result<(), String> {
    command.stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("cannot run cargo: {e}"))?;
    let output = child.stdout.take().expect("it was asked for");
    let mut failed = Vec::new();
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        cargo_tests(tests, &line);
        failed.extend(line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED")).map(str::to_owned));
        let dull = line.is_empty()
            || line.starts_with("test ") && line.ends_with(" ... ok")
            || line.starts_with("running ")
            || line.starts_with("test result: ok. 0 passed");
        if !dull {
            println!("{line}");
        }
    }
    let status = child.wait().map_err(|e| format!("cannot wait for cargo: {e}"))?;
    match (status.success(), tests.failed) {
        (true, _) => Ok(()),
        (false, 0) => Err("see above".to_owned()),
        (false, _) => Err(failed.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections() {
        assert!(Selection::parse(&[]).is_ok_and(|all| all.wants("fmt") && !all.full));
        let one = Selection::parse(&["--only", "kill", "--full"]);
        assert!(one.is_ok_and(|one| one.wants("lab kill") && !one.wants("fmt") && one.full));
        assert!(Selection::parse(&["--only"]).is_err());
        assert!(Selection::parse(&["--fast"]).is_err());
    }
}
