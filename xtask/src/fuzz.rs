//! `cargo xtask fuzz`: cargo-fuzz on the targets in `fuzz/`. Nothing is installed: what is missing is explained.

use std::process::{Command, Stdio};

use crate::report::Report;
use crate::{root, succeeds};

/// How long a target runs when nothing else is said, in seconds.
const SECONDS: u32 = 60;

const MISSING: &str = "cargo-fuzz is not installed: `cargo install cargo-fuzz`";

/// `fuzz`, `fuzz TARGET`, `fuzz TARGET SECONDS`.
pub(crate) fn verb(words: &[&str]) -> Result<bool, String> {
    let known = targets();
    let (target, seconds) = match words {
        [] => {
            known.iter().for_each(|name| println!("{name}"));
            return Ok(true);
        }
        [target] => (*target, SECONDS),
        [target, seconds] => (*target, seconds.parse().map_err(|_| format!("not a number of seconds: {seconds}"))?),
        _ => return Err("usage: cargo xtask fuzz [TARGET [SECONDS]]".to_owned()),
    };
    if !known.iter().any(|name| name == target) {
        return Err(format!("no fuzz target '{target}'; there are: {}", known.join(", ")));
    }
    if !installed() {
        return Err(MISSING.to_owned());
    }
    fuzz(target, seconds)
}

/// Every target for a while, as steps of `test --full`.
pub(crate) fn campaign(report: &mut Report) {
    if !installed() {
        report.skip("fuzz", MISSING);
        return;
    }
    for target in targets() {
        report.step(&format!("fuzz {target}"), || match fuzz(&target, SECONDS)? {
            true => Ok(()),
            false => Err(format!("see above; the input lies in fuzz/artifacts/{target}")),
        });
    }
}

/// The stable compiler is told to accept the sanitizer's flags: a fuzz build needs no other toolchain.
fn fuzz(target: &str, seconds: u32) -> Result<bool, String> {
    succeeds(
        Command::new("cargo")
            .current_dir(root())
            .env("RUSTC_BOOTSTRAP", "1")
            .args(["fuzz", "run", target, "--", "-timeout=10", "-rss_limit_mb=2048"])
            .arg(format!("-max_total_time={seconds}")),
    )
}

fn installed() -> bool {
    let mut probe = Command::new("cargo");
    probe.args(["fuzz", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

/// The names of the files in `fuzz/fuzz_targets`, sorted.
fn targets() -> Vec<String> {
    let files = std::fs::read_dir(root().join("fuzz/fuzz_targets")).into_iter().flatten().flatten();
    let mut names: Vec<String> = files
        .filter_map(|file| file.file_name().to_str().and_then(|name| name.strip_suffix(".rs")).map(str::to_owned))
        .collect();
    names.sort();
    names
}
