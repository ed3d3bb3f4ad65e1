//! The tests under instruments that see what a test by itself does not: memory used wrongly, threads that race.
//!
//! | step | what | with |
//! |---|---|---|
//! | `asan` | floor 1 and the target under AddressSanitizer | the toolchain at hand; the standard library as it is |
//! | `tsan` | floor 1 under ThreadSanitizer | nightly: it must see inside the standard library, so that is built, too |
//! | `miri` | buffers, slots and parsers in Miri, which knows what a pointer may do | nightly |
//!
//! ThreadSanitizer does not see system calls that go past the C library: an address that one test unmaps and another
//! one maps looks like a race between them. So its tests run one after the other.

use std::process::{Command, Stdio};

use crate::report::Report;
use crate::test::{Selection, counted};
use crate::{cargo, root, target_dir};

/// What Miri runs: the rest needs the kernel (sockets, `io_uring`), or is millions of steps.
const MIRI_TESTS: [&str; 3] = ["region::pool", "region::slot::handle", "region::slot::stock"];

/// Runs the steps that are wanted; all of them are long.
pub(crate) fn run(report: &mut Report, selection: &Selection) {
    if selection.wants("asan") {
        match host() {
            Some(host) => _ = report.counted("asan", || counted(&mut asan(&host))),
            None => report.skip("asan", "rustc does not say what it builds for"),
        }
    }
    if selection.wants("tsan") {
        match host().filter(|_| has_source()) {
            Some(host) => _ = report.counted("tsan", || counted(&mut tsan(&host))),
            None => report.skip("tsan", "no source: rustup toolchain install nightly --component rust-src"),
        }
    }
    if selection.wants("miri") {
        if quietly(nightly().args(["miri", "--version"])).is_some() {
            report.counted("miri", || counted(&mut miri()));
            report.counted("miri: parsers", || counted(&mut miri_parsers()));
        } else {
            report.skip("miri", "not installed: rustup toolchain install nightly --component miri");
        }
    }
}

/// The target must be named, or build scripts would be instrumented, too.
fn asan(host: &str) -> Command {
    let mut command = cargo();
    command.args(["test", "--no-fail-fast", "--target", host, "--package", "qpair-machine", "--package", "qpair-nvmf"]);
    // Tests of how much the process grows: here it does, as what is freed is kept to see who still uses it.
    command.args(["--", "--skip", "never_read"]);
    // Allows the flag on a stable toolchain.
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    command.env("CARGO_TARGET_DIR", target_dir().join("asan"));
    command
}

fn tsan(host: &str) -> Command {
    let mut command = nightly();
    command.args(["test", "-Zbuild-std", "--no-fail-fast", "--target", host, "--package", "qpair-machine", "--lib"]);
    command.args(["--", "--test-threads=1"]).env("RUSTFLAGS", "-Zsanitizer=thread");
    command.env("CARGO_TARGET_DIR", target_dir().join("tsan"));
    command
}

fn miri() -> Command {
    let mut command = nightly();
    command.args(["miri", "test", "--no-fail-fast", "--package", "qpair-machine", "--lib", "--"]).args(MIRI_TESTS);
    // The clock and the environment are the real ones.
    command.env("MIRIFLAGS", "-Zmiri-disable-isolation").env("CARGO_TARGET_DIR", target_dir().join("miri"));
    command
}

/// Floor 0 and what shows its bytes to people. Miri also sees what zerocopy does to make structures of them.
fn miri_parsers() -> Command {
    let mut command = nightly();
    let packages = ["--package", "qpair-wire", "--package", "qpair-describe"];
    command.args(["miri", "test", "--no-fail-fast", "--lib"]).args(packages);
    command.env("MIRIFLAGS", "-Zmiri-disable-isolation").env("CARGO_TARGET_DIR", target_dir().join("miri"));
    // Each case takes seconds here; their number is for the ordinary run.
    command.env("PROPTEST_CASES", "2");
    command
}

/// The nightly toolchain's cargo, through rustup's: the one that runs us is of one toolchain.
fn nightly() -> Command {
    let mut command = Command::new("cargo");
    command.arg("+nightly").current_dir(root()).env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("RUSTC");
    command
}

/// Whether the standard library's source is there to be built.
fn has_source() -> bool {
    let sysroot =
        quietly(Command::new("rustc").args(["+nightly", "--print", "sysroot"]).env_remove("RUSTUP_TOOLCHAIN"));
    sysroot.is_some_and(|path| std::path::Path::new(path.trim()).join("lib/rustlib/src/rust/library").is_dir())
}

/// What this machine is called: `host: ...` of `rustc -vV`.
fn host() -> Option<String> {
    let version = quietly(Command::new("rustc").arg("-vV"))?;
    version.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

/// The output of a command that succeeds.
fn quietly(command: &mut Command) -> Option<String> {
    let done = command.stderr(Stdio::null()).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
}
