//! Instructions of a command, from submit to handler: counted, so that they hold still where times do not.
//!
//! `crates/block/examples/channel_cost.rs` drives the device that does nothing, under valgrind; twice as many commands
//! cost so much more. `bench/instructions` says how many that may be. More fails, and so do clearly fewer: then the
//! file is to be lowered, and what was won is kept.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::root;

/// The file of the ratchet: lines of `WAY DEPTH INSTRUCTIONS`, and remarks after `#`.
const RATCHET: &str = "bench/instructions";

/// Commands of the shorter run.
const COMMANDS: u64 = 20_000;

/// What may be more, in per cent: another patch level of the compiler, another C library.
const MORE: u64 = 3;

/// What may be fewer, in per cent, before the ratchet is to be lowered.
const FEWER: u64 = 6;

/// A line of the ratchet.
#[derive(Debug, PartialEq, Eq)]
struct Row<'a> {
    way: &'a str,
    depth: &'a str,
    allowed: u64,
}

/// Why it cannot be counted here.
pub(crate) fn unavailable() -> Option<&'static str> {
    let mut version = Command::new("valgrind");
    version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    (!version.status().is_ok_and(|status| status.success())).then_some("there is no valgrind: apt-get install valgrind")
}

/// Counts every row with `program`, the built example, and compares.
pub(crate) fn hold(program: &Path) -> Result<(), String> {
    let text = fs::read_to_string(root().join(RATCHET)).map_err(|e| format!("{RATCHET}: {e}"))?;
    let mut wrong = Vec::new();
    for row in rows(&text)? {
        let counted = per_command(program, &row)?;
        println!("{:8}{:>4}  {counted:>6} of {}", row.way, row.depth, row.allowed);
        wrong.extend(verdict(&row, counted));
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{RATCHET}: {}", wrong.join("; "))) }
}

fn rows(text: &str) -> Result<Vec<Row<'_>>, String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| row(line).ok_or_else(|| format!("{RATCHET}: not WAY DEPTH INSTRUCTIONS: {line}"))).collect()
}

fn row(line: &str) -> Option<Row<'_>> {
    let mut words = line.split_whitespace();
    let row = Row { way: words.next()?, depth: words.next()?, allowed: words.next()?.parse().ok()? };
    words.next().is_none().then_some(row)
}

fn verdict(row: &Row<'_>, counted: u64) -> Option<String> {
    let Row { way, depth, allowed } = row;
    if counted * 100 > allowed * (100 + MORE) {
        Some(format!("{way} {depth} takes {counted} instructions, {allowed} are allowed"))
    } else if counted * 100 < allowed * (100 - FEWER) {
        Some(format!("{way} {depth} takes only {counted} instructions: lower its {allowed}"))
    } else {
        None
    }
}

/// What is spent before and after the commands is in both runs.
fn per_command(program: &Path, row: &Row<'_>) -> Result<u64, String> {
    let (short, long) = (count(program, row, COMMANDS)?, count(program, row, 2 * COMMANDS)?);
    Ok(long.saturating_sub(short) / COMMANDS)
}

/// The instructions of one run of the program.
fn count(program: &Path, row: &Row<'_>, commands: u64) -> Result<u64, String> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    command.args([row.way, row.depth, &commands.to_string()]);
    let done = command.output().map_err(|e| format!("cannot run valgrind: {e}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, number)| number.trim());
    match collected.and_then(|number| number.parse().ok()) {
        Some(number) if done.status.success() => Ok(number),
        _ => Err(format!("valgrind with {} ended with {}:\n{said}", program.display(), done.status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_in_both_directions() {
        let row = Row { way: "queue", depth: "16", allowed: 200 };
        assert_eq!(verdict(&row, 200), None);
        assert_eq!(verdict(&row, 206), None);
        assert_eq!(verdict(&row, 188), None);
        assert!(verdict(&row, 207).is_some_and(|why| why.contains("allowed")));
        assert!(verdict(&row, 187).is_some_and(|why| why.contains("lower")));
    }

    #[test]
    fn rows_are_three_words() {
        assert_eq!(rows("# x\n\nqueue 16 200\n"), Ok(vec![Row { way: "queue", depth: "16", allowed: 200 }]));
        for wrong in ["queue 16", "queue 16 many", "queue 16 200 more"] {
            assert!(rows(wrong).is_err_and(|why| why.contains(wrong)), "{wrong}");
        }
    }
}
