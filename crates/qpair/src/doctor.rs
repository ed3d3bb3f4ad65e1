//! `qpair doctor`: what of the system works here, and what is done instead where something does not.
//!
//! The table is that of floor 1 (`machine::os::probe`): what is tried is what is used.

use std::env;
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use block::size::format_size;
use machine::os::{self, Finding, Outcome, System};
use serde::Serialize;

use crate::show::write;
use crate::signals;

/// Version of the JSON object. Fields may be added; one that changes or goes makes a new version.
const SCHEMA: u32 = 1;

const EXAMPLES: &str = "\
Each call of the system that qpair uses is tried, on files of its own in a folder of its own, which is removed
again, on sockets on loopback, and on memory of its own. Devices are not touched. What a file system can do
differs: name the folder where the files to be served are.

Examples:
  qpair doctor
  qpair doctor --dir /srv/disks
  qpair doctor --json | jq '.calls[] | select(.works | not)'

Exit codes:
  0    qpair runs here, if perhaps not with everything
  1    something is missing that it cannot do without, or nothing could be tried
  130  stopped by Ctrl-C";

/// Try out what of this system works, for bug reports: what qpair uses, and what it does without
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Try files in this folder [default: that for temporary files]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    version: &'static str,
    system: &'static str,
    system_version: &'a str,
    product: Option<&'a str>,
    wine: Option<&'a str>,
    architecture: &'static str,
    cores: usize,
    core_groups: usize,
    memory_bytes: Option<u64>,
    page_bytes: usize,
    folder: &'a Path,
    /// Whether all is there that qpair cannot do without.
    runs: bool,
    calls: Vec<Call<'a>>,
}

#[derive(Serialize)]
struct Call<'a> {
    area: &'a str,
    name: &'a str,
    used_for: &'a str,
    works: bool,
    needed: bool,
    /// What else there is to say of one that works.
    detail: Option<&'a str>,
    /// Of one that does not: the system's text and number.
    error: Option<&'a str>,
    number: Option<i32>,
    instead: Option<&'a str>,
}

/// Runs the command: exit code 0 if nothing is missing that is needed.
///
/// # Errors
/// Nothing can be tried in that folder; standard output that cannot be written.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let folder = args.dir.clone().unwrap_or_else(env::temp_dir);
    // The folder is removed, whoever stops this.
    signals::watch(|| ())?;
    let findings = os::probe(&folder, signals::stop_flag()).map_err(|error| {
        let hint = "--dir names a folder that files can be made in.";
        format!("cannot try files in {}: {error}\n  {hint}", folder.display())
    })?;
    let Some(findings) = findings else { return Ok(ExitCode::from(signals::EXIT_INTERRUPTED)) };
    let report = report(os::this_system(), &folder, &findings);
    let printed = if args.json { serde_json::to_string_pretty(&report)? + "\n" } else { text(&report) };
    write(printed.as_bytes())?;
    Ok(if report.runs { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report<'a>(system: &'a System, folder: &'a Path, findings: &'a [Finding]) -> Report<'a> {
    Report {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        system: system.name,
        system_version: &system.version,
        product: system.product.as_deref(),
        wine: system.wine.as_deref(),
        architecture: env::consts::ARCH,
        cores: os::allowed_cpus().len(),
        core_groups: system.core_groups,
        memory_bytes: os::total_memory(),
        page_bytes: system.page_bytes,
        folder,
        runs: !findings.iter().any(Finding::is_fatal),
        calls: findings.iter().map(call).collect(),
    }
}

fn call(finding: &Finding) -> Call<'_> {
    let &Finding { area, name, used_for, instead, .. } = finding;
    let needed = instead.is_none();
    let (works, detail, error, number) = match &finding.outcome {
        Outcome::Works(detail) => (true, Some(&detail[..]).filter(|detail| !detail.is_empty()), None, None),
        Outcome::Fails { why, number } => (false, None, Some(&why[..]), *number),
    };
    Call { area, name, used_for, works, needed, detail, error, number, instead }
}

/// What somebody sends who reports a bug: one line a call, and another one below what does not work.
fn text(report: &Report<'_>) -> String {
    let mut out = head(report);
    let width = report.calls.iter().map(|call| call.name.len()).max().unwrap_or(0);
    let mut area = "";
    for call in &report.calls {
        if call.area != area {
            area = call.area;
            line(&mut out, format_args!("\n{area}"));
        }
        let (mark, Call { name, used_for, .. }) = (if call.works { "works" } else { "no" }, call);
        let detail = call.detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
        line(&mut out, format_args!("  {mark:<5}  {name:<width$}  {used_for}{detail}"));
        if let Some(error) = call.error {
            line(&mut out, format_args!("         {error}"));
            let instead = call.instead.map_or("qpair cannot do without it".to_owned(), |it| format!("instead: {it}"));
            line(&mut out, format_args!("         {instead}"));
        }
    }
    let missing = report.calls.iter().filter(|call| !call.works).count();
    let all = report.calls.len();
    line(&mut out, format_args!("\n{} of {all} work. {}", all - missing, verdict(report)));
    out
}

fn verdict(report: &Report<'_>) -> String {
    let fatal: Vec<_> = report.calls.iter().filter(|call| !call.works && call.needed).map(|call| call.name).collect();
    if fatal.is_empty() { "qpair runs here.".to_owned() } else { format!("qpair cannot run: {}.", fatal.join(", ")) }
}

/// The program and the machine.
fn head(report: &Report<'_>) -> String {
    let mut out = String::new();
    let Report { version, system, system_version, architecture, cores, folder, .. } = report;
    let product = report.product.map(|product| format!(" ({product})")).unwrap_or_default();
    let wine = report.wine.map(|wine| format!(", which is Wine {wine}")).unwrap_or_default();
    line(&mut out, format_args!("qpair {version}, {architecture}"));
    line(&mut out, format_args!("{system} {system_version}{product}{wine}"));
    let groups = if report.core_groups > 1 { format!(" in {} groups", report.core_groups) } else { String::new() };
    let cores = if *cores == 1 { "1 core".to_owned() } else { format!("{cores} cores{groups}") };
    let memory = report.memory_bytes.map_or("unknown".to_owned(), format_size);
    let page = format_size(report.page_bytes as u64);
    line(&mut out, format_args!("{cores}, {memory} of memory in pages of {page}"));
    line(&mut out, format_args!("files are tried in {}", folder.display()));
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("memory takes it");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(name: &'static str, instead: Option<&'static str>, outcome: Outcome) -> Finding {
        Finding { area: "files", name, used_for: "this", instead, outcome }
    }

    fn fails(number: Option<i32>) -> Outcome {
        Outcome::Fails { why: "It does not.".to_owned(), number }
    }

    fn system() -> System {
        let (version, wine) = ("10.0.19043".to_owned(), Some("8.0".to_owned()));
        System { name: "Windows", version, product: None, wine, page_bytes: 4096, core_groups: 2 }
    }

    #[test]
    fn text_says_what_works_and_what_is_done_instead() {
        let mut findings = vec![
            finding("first", None, Outcome::Works(String::new())),
            finding("the second", Some("that"), fails(Some(50))),
            finding("third", Some("that"), Outcome::Works("of 7".to_owned())),
        ];
        let system = system();
        let here = report(&system, Path::new("x"), &findings);
        assert!(here.runs);
        let said = text(&here);
        let (head, table) = said.split_once("\n\n").expect("a line between them");
        assert!(head.contains("\nWindows 10.0.19043, which is Wine 8.0\n"), "{said}");
        assert!(head.contains(" in pages of 4 KiB\n") && head.ends_with("files are tried in x"), "{said}");
        let want = "\
files
  works  first       this
  no     the second  this
         It does not.
         instead: that
  works  third       this (of 7)

2 of 3 work. qpair runs here.
";
        assert_eq!(table, want);
        findings.push(finding("fourth", None, fails(None)));
        let here = report(&system, Path::new("x"), &findings);
        assert!(!here.runs);
        assert!(text(&here).ends_with("2 of 4 work. qpair cannot run: fourth.\n"), "{}", text(&here));
    }

    #[test]
    fn json_has_the_same() {
        let findings = [finding("a", None, Outcome::Works("so".to_owned())), finding("b", Some("c"), fails(Some(50)))];
        let json = serde_json::to_value(report(&system(), Path::new("x"), &findings)).expect("it is JSON");
        assert_eq!((&json["schema"], &json["runs"], &json["wine"]), (&1.into(), &true.into(), &"8.0".into()));
        let calls = &json["calls"];
        assert_eq!(calls[0]["detail"], "so");
        assert_eq!((&calls[0]["works"], &calls[0]["needed"]), (&true.into(), &true.into()));
        assert_eq!((&calls[1]["works"], &calls[1]["needed"]), (&false.into(), &false.into()));
        assert_eq!((&calls[1]["number"], &calls[1]["instead"]), (&50.into(), &"c".into()));
    }
}
