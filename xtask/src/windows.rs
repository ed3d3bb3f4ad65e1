//! The workspace built for Windows, and its tests under Wine (`windows/cargo`).
//!
//! Tests that Wine cannot run are in `windows/wine-cannot.txt`, with reasons, and are left out by `windows/wine`.
//! Warnings are errors here, too: not by a flag, which would have the dependencies built again, but by what cargo says.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::lab::Program;
use crate::report::{Outcome, Report};
use crate::test::{Selection, counted};
use crate::{lab, root, succeeds, target_dir};

/// All packages that there are for Windows. With fewer, cargo would build their dependencies with other features again.
const ALL: [&str; 5] = ["test", "--workspace", "--exclude", "xtask", "--no-fail-fast"];
/// Every program with tests in it. Examples are built for Linux, and documentation has the same examples everywhere.
const TESTS: [&str; 3] = ["--lib", "--bins", "--tests"];
/// Those of the devices, of the target and of the cache, which take the kind of ring from `QPAIR_TEST_RING`.
const OF_RINGS: [&str; 15] = [
    "clients",
    "conformance",
    "differential",
    "exclusive",
    "fault",
    "faults",
    "file",
    "greedy",
    "host",
    "hostile",
    "life",
    "medium",
    "memory",
    "pool",
    "reservation",
];

const BUILD: &str = "windows build";
const TEST: &str = "windows test";
const ON_PORTABLE: &str = "windows test on portable rings";

/// Builds and runs the tests, as far as they are wanted.
pub(crate) fn run(report: &mut Report, selection: &Selection) {
    if ![BUILD, TEST, ON_PORTABLE].iter().any(|step| selection.wants(step)) {
        return;
    }
    if let Some(why) = unavailable() {
        return report.skip("windows", &why);
    }
    let tests = [&ALL[..], &TESTS[..]].concat();
    if report.step(BUILD, || without_warnings(windows_cargo(&tests).arg("--no-run"))) {
        if selection.wants(TEST) {
            report.counted(TEST, || counted(windows_cargo(&ALL).args(TESTS)));
        }
        if selection.wants(ON_PORTABLE) {
            let tests = OF_RINGS.iter().flat_map(|name| ["--test", name]);
            report.counted(ON_PORTABLE, || counted(windows_cargo(&ALL).args(tests).env("QPAIR_TEST_RING", "portable")));
        }
    }
    end();
}

/// The program for Windows, as the tests have it; builds it if that has not been done. `None`: there is no Windows
/// here, and the report says so.
///
/// # Errors
/// It does not build.
pub(crate) fn program(report: &mut Report, step: &str) -> Result<Option<Program>, String> {
    if let Some(why) = unavailable() {
        report.skip(step, &why);
        return Ok(None);
    }
    // With a test of its package, so that its dependencies are those of the tests.
    if !succeeds(windows_cargo(&ALL).args(["--quiet", "--no-run", "--test", "show"]))? {
        return Err("qpair.exe did not build, see above".to_owned());
    }
    let path = target_dir().join("windows/build/x86_64-pc-windows-gnu/debug/qpair.exe");
    Ok(Some(Program::on_windows(path)))
}

/// The program here and the one in Wine as each other's peers.
pub(crate) fn peers(report: &mut Report, linux: &Program) {
    match program(report, "windows peers") {
        Ok(Some(windows)) => lab::peers(report, linux, &windows),
        Ok(None) => {}
        Err(why) => report.note("windows peers", Outcome::Failed(why), Duration::ZERO),
    }
    end();
}

/// A command line that runs this program in Wine.
pub(crate) fn wine(program: &Path) -> Command {
    let mut command = windows_cargo(&["--wine"]);
    command.arg(program);
    command
}

/// Ends what is left in Wine: what a test forgot, and Wine's own services.
fn end() {
    // It fails if there is nothing.
    let _ = windows_cargo(&["--end"]).status();
}

/// Why there is no Windows here, if there is none.
fn unavailable() -> Option<String> {
    if cfg!(not(all(target_os = "linux", target_arch = "x86_64"))) {
        return Some("it is built on Linux, on x86-64".to_owned());
    }
    let missing = windows_cargo(&["--missing"]).stderr(Stdio::null()).output().map_err(|e| e.to_string());
    let missing =
        missing.map(|said| String::from_utf8_lossy(&said.stdout).split_whitespace().collect::<Vec<_>>().join(" "));
    match missing {
        Ok(packages) if packages.is_empty() => None,
        Ok(packages) => Some(format!("please install: {packages}")),
        Err(why) => Some(format!("cannot run windows/cargo: {why}")),
    }
}

fn windows_cargo(words: &[&str]) -> Command {
    let mut command = Command::new(root().join("windows/cargo"));
    command.current_dir(root()).args(words).stdin(Stdio::null());
    command
}

/// Runs a build and shows what it says; an error, too, if a crate of ours has warnings.
fn without_warnings(command: &mut Command) -> Result<(), String> {
    let mut child = command.stderr(Stdio::piped()).spawn().map_err(|e| format!("cannot run windows/cargo: {e}"))?;
    let said = child.stderr.take().expect("it was asked for");
    let mut warned = Vec::new();
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        eprintln!("{line}");
        warned.extend(warnings(&line));
    }
    let status = child.wait().map_err(|e| format!("cannot wait for windows/cargo: {e}"))?;
    match (status.success(), warned.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => Err(format!("warnings: {}", warned.join(", "))),
        (false, _) => Err("see above".to_owned()),
    }
}

/// Of which part of which package this line sums the warnings up. Cargo repeats them when nothing has to be built.
fn warnings(line: &str) -> Option<String> {
    let (part, rest) = line.strip_prefix("warning: `")?.split_once(" generated ")?;
    rest.contains("warning").then(|| part.replace('`', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_seen() {
        let line = "warning: `qpair-machine` (lib) generated 4 warnings";
        assert_eq!(warnings(line).as_deref(), Some("qpair-machine (lib)"));
        assert_eq!(
            warnings("warning: `qpair` (lib test) generated 1 warning (1 duplicate)").as_deref(),
            Some("qpair (lib test)")
        );
        assert_eq!(warnings("warning: unused variable: `generated`"), None);
    }
}
