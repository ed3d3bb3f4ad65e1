//! Developer commands of the qpair repository.
//!
//! ```text
//! cargo xtask test [--full] [--only NAME]   everything that has to pass, fetching what it needs
//! cargo xtask lab [-- COMMAND...]           the kernel tests; or a command in the guest of lab/vmlab
//! cargo xtask fuzz TARGET [SECONDS]         run one fuzz target
//! cargo xtask bench [OPTIONS...]            bench/run: the figures of the README
//! ```
//!
//! The standard library is enough here on purpose: this program is built before anything else, each time.
#![forbid(unsafe_code)]

mod fuzz;
mod instructions;
mod lab;
mod report;
mod sanitize;
mod test;
mod windows;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "\
usage: cargo xtask VERB

  test [--full] [--only NAME]   run every test; NAME picks the steps whose name contains it
                                (fmt, clippy, test, loom, windows, build, instructions, program, host-kill,
                                lab controller, lab data, lab kill, lab passthru, lab reload, lab reservations,
                                lab vanish, fuzz);
                                --full adds long campaigns: the whole lab on both kinds of ring, 20 kills, 200 with our
                                host on one path and on two, larger fio runs, fuzzing, and the steps asan, tsan, miri
  lab [-- COMMAND...]           the tests against a real Linux kernel; or a command under it (lab/README.md)
  fuzz [TARGET [SECONDS]]       run a fuzz target (60 s unless told otherwise); by itself: list them
  bench [OPTIONS...]            measure against the limit of the wire: bench/run --help
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.split_first() {
        Some((&"test", rest)) => test::Selection::parse(rest).map(|selection| test::run(&selection)),
        Some((&"lab", [])) => test::Selection::parse(&["--only", "lab"]).map(|selection| test::run(&selection)),
        Some((&"lab", ["--", words @ ..] | words)) => lab::shell(words),
        Some((&"fuzz", rest)) => fuzz::verb(rest),
        Some((&"bench", rest)) => succeeds(Command::new(root().join("bench/run")).args(rest)),
        Some((&("help" | "-h" | "--help"), _)) => {
            print!("{USAGE}");
            Ok(true)
        }
        Some((verb, _)) => Err(format!("no verb '{verb}'\n\n{USAGE}")),
        None => Err(USAGE.to_owned()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{}", message.trim_end());
            ExitCode::from(2)
        }
    }
}

/// The top of the repository.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask/ lies in the repository").to_owned()
}

/// Where cargo puts what it builds.
fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The cargo that runs us.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command in view of the user and says whether it succeeded.
fn succeeds(command: &mut Command) -> Result<bool, String> {
    let status = command.status().map_err(|e| format!("cannot run {}: {e}", command.get_program().display()))?;
    Ok(status.success())
}
